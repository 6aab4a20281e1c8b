/* The oneDNN provider against the reference loops, at random shapes and row counts; and its threads, which must not
 * appear. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>

#include "runtime/onednn/onednn.h"

static uint64_t state = 88172645463325252u;

static size_t random_below(size_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state >> 32) % n;
}

static long long allocated;

static void *allocate(void *context, size_t size, size_t alignment)
{
    (void)context;
    allocated += (long long)size;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void release(void *context, void *memory, size_t size)
{
    (void)context;
    allocated -= (long long)size;
    free(memory);
}

static const mtl_allocator allocator = {NULL, allocate, release};

static float *new_floats(size_t n)
{
    float *p = allocate(NULL, n * sizeof(float) + 64, 64);
    assert_non_null(p);
    allocated -= (long long)(n * sizeof(float) + 64);
    for (size_t i = 0; i < n; i++) {
        p[i] = (float)random_below(2001) / 1000 - 1;
    }
    return p;
}

/* A context with one step, and a session for it. */
typedef struct rig {
    onednn_context *context;
    onednn_session *session;
    const onednn_step *step;
    void *scratch;
} rig;

static rig new_rig(void)
{
    rig r = {0};
    assert_int_equal(onednn_context_create(&allocator, native_select(MTL_ISA_AUTO), NULL, &r.context), MTL_OK);
    return r;
}

static void open_session(rig *r)
{
    r->scratch = onednn_scratch_bytes(r->context) > 0 ? new_floats(onednn_scratch_bytes(r->context) / 4 + 1) : NULL;
    assert_int_equal(onednn_session_create(r->context, NULL, r->scratch, NULL, &r->session), MTL_OK);
}

static void free_rig(rig *r)
{
    onednn_session_destroy(r->session);
    onednn_context_destroy(r->context);
    free(r->scratch);
    assert_int_equal(allocated, 0);
}

static void check(const char *what, const float *got, const float *want, size_t n, float tolerance)
{
    for (size_t i = 0; i < n; i++) {
        if (!(fabsf(got[i] - want[i]) <= tolerance * fmaxf(1, fabsf(want[i])))) {
            fail_msg("%s: element %zu: got %.9g, want %.9g", what, i, (double)got[i], (double)want[i]);
        }
    }
}

static void check_linear(size_t rows, size_t most, size_t groups, size_t k, size_t n, plan_unary act, bool with_bias)
{
    const onednn_linear shape = {k, n, groups, groups * k, k, groups * n, n};
    rig r = new_rig();
    const mtl_status status = onednn_add_linear(r.context, &shape, most, NULL, &r.step);
    assert_int_equal(status, MTL_OK);
    open_session(&r);
    float *x = new_floats(rows * groups * k), *y = new_floats(rows * groups * n), *want = new_floats(rows * groups * n);
    float *w = new_floats(groups * native_panels(k, n)), *bias = new_floats(groups * native_padded(n));
    native_linear call = {x, groups * k, w, with_bias ? bias : NULL, y, groups * n, rows, k, n, act, 0.1f, 0};
    for (int again = 0; again < 2; again++) {
        memset(y, 0xff, rows * groups * n * sizeof(float));
        assert_int_equal(onednn_run_linear(r.session, r.step, &call, NULL), MTL_OK);
        call.y = want;
        native_linear_grouped(native_reference(), &call, groups, k, n);
        call.y = y;
        char what[160];
        snprintf(what, sizeof what, "linear rows %zu of %zu, %zu groups, %zux%zu (%s)", rows, most, groups, k, n,
                 onednn_step_implementation(r.step));
        check(what, y, want, rows * groups * n, 2e-6f * (4 + (float)k * 0.3f));
    }
    free_rig(&r);
    free(x);
    free(y);
    free(want);
    free(w);
    free(bias);
}

static void test_linear(void **unused)
{
    (void)unused;
    for (int i = 0; i < 60; i++) {
        check_linear(random_below(70), 1 + random_below(64), i % 3 == 0 ? 1 + random_below(4) : 1, 1 + random_below(90),
                     1 + random_below(100), i % 2 == 0 ? PLAN_UNARY_relu : PLAN_UNARY_none, i % 4 != 0);
    }
    check_linear(100, 64, 1, 512, 2048, PLAN_UNARY_sigmoid, true);
    check_linear(64, 64, 1, 512, 1, PLAN_UNARY_sigmoid, true);
}

static void test_matmul(void **unused)
{
    (void)unused;
    for (int i = 0; i < 40; i++) {
        const onednn_matmul shape = {1 + random_below(9), 1 + random_below(30), 1 + random_below(70), i % 3 != 0,
                                     i % 3 != 1};
        const size_t rows = random_below(40), a_step = shape.a_per_row ? shape.m * shape.k : 0;
        const size_t b_step = shape.b_per_row ? shape.k * shape.n : 0;
        rig r = new_rig();
        const mtl_status status = onednn_add_matmul(r.context, &shape, 1 + random_below(32), NULL, &r.step);
        assert_true(status == MTL_OK || status == MTL_UNSUPPORTED);
        if (status == MTL_OK) {
            open_session(&r);
            float *a = new_floats((rows + 1) * shape.m * shape.k), *b = new_floats((rows + 1) * shape.k * shape.n);
            float *y = new_floats(rows * shape.m * shape.n), *want = new_floats(rows * shape.m * shape.n);
            assert_int_equal(onednn_run(r.session, r.step, (const float *const[]){a, b}, y, rows, NULL), MTL_OK);
            for (size_t row = 0; row < rows; row++) {
                native_reference()->matmul(a + row * a_step, shape.k, b + row * b_step, shape.n,
                                           want + row * shape.m * shape.n, shape.n, shape.m, shape.k, shape.n);
            }
            check("matmul", y, want, rows * shape.m * shape.n, 2e-5f);
            free(a);
            free(b);
            free(y);
            free(want);
        }
        free_rig(&r);
    }
}

/* Softmax, reductions and unary functions: one operand, (rows, n, inner). */
typedef enum family { SOFTMAX, REDUCE, UNARY } family;

static void check_axis(family what, unsigned f, float p, float q, size_t n, size_t inner, size_t rows)
{
    rig r = new_rig();
    const mtl_status status =
        what == SOFTMAX  ? onednn_add_softmax(r.context, (plan_softmax)f, n, inner, 16, NULL, &r.step)
        : what == REDUCE ? onednn_add_reduce(r.context, (plan_reduce)f, n, inner, 16, NULL, &r.step)
                         : onednn_add_unary(r.context, (plan_unary)f, p, q, n * inner, 16, NULL, &r.step);
    if (status == MTL_OK) {
        open_session(&r);
        const size_t count = rows * n * inner, out = what == REDUCE ? rows * inner : count;
        float *x = new_floats(count), *y = new_floats(out), *want = new_floats(out);
        for (size_t i = 0; i < count; i++) {
            x[i] *= 6;
        }
        assert_int_equal(onednn_run(r.session, r.step, (const float *const[]){x}, y, rows, NULL), MTL_OK);
        char text[80];
        snprintf(text, sizeof text, "family %d function %u (%zu, %zu, %zu)", (int)what, f, rows, n, inner);
        if (what == SOFTMAX) {
            native_reference()->softmax((plan_softmax)f, x, want, rows, n, inner);
        } else if (what == REDUCE) {
            native_reference()->reduce((plan_reduce)f, x, want, rows, n, inner);
        } else {
            for (size_t i = 0; i < count; i++) {
                x[i] = f == PLAN_UNARY_log || f == PLAN_UNARY_sqrt ? fabsf(x[i]) + 0.01f : x[i];
            }
            assert_int_equal(onednn_run(r.session, r.step, (const float *const[]){x}, y, rows, NULL), MTL_OK);
            native_reference()->unary((plan_unary)f, p, q, x, want, count);
        }
        check(text, y, want, out, 1e-5f);
        free(x);
        free(y);
        free(want);
    } else {
        assert_int_equal(status, MTL_UNSUPPORTED);
    }
    free_rig(&r);
}

static void test_softmax(void **unused)
{
    (void)unused;
    for (int i = 0; i < 40; i++) {
        check_axis(SOFTMAX, 1 + (unsigned)(i % 2), 0, 0, 1 + random_below(40), i % 3 == 0 ? 1 + random_below(20) : 1,
                   random_below(40));
    }
}

static void test_reduce(void **unused)
{
    (void)unused;
    for (int i = 0; i < 50; i++) {
        check_axis(REDUCE, 1 + (unsigned)(i % 5), 0, 0, 1 + random_below(40), i % 3 == 0 ? 1 + random_below(20) : 1,
                   random_below(40));
    }
}

static void test_unary(void **unused)
{
    (void)unused;
    for (unsigned f = 1; f < PLAN_UNARY_not; f++) {
        const float p = f == PLAN_UNARY_clip ? -0.5f : f == PLAN_UNARY_swish || f == PLAN_UNARY_gelu ? 1 : 0.3f;
        check_axis(UNARY, f, p, f == PLAN_UNARY_clip ? 2 : 0.5f, 33, 1, 21);
    }
    check_axis(UNARY, PLAN_UNARY_gelu, 0, 0, 33, 1, 21);
}

static size_t supported_count;

static void check_binary(plan_binary f, const onednn_binary *shape, size_t rows)
{
    rig r = new_rig();
    const mtl_status status = onednn_add_binary(r.context, f, shape, 16, NULL, &r.step);
    assert_true(status == MTL_OK || status == MTL_UNSUPPORTED);
    if (status == MTL_OK) {
        supported_count++;
        open_session(&r);
        const size_t a_row = shape->a_full ? shape->n : 1, b_row = shape->b_full ? shape->n : 1;
        float *a = new_floats((rows + 1) * shape->n), *b = new_floats((rows + 1) * shape->n);
        float *y = new_floats(rows * shape->n), *want = new_floats(rows * shape->n);
        for (size_t i = 0; i < (rows + 1) * shape->n; i++) {
            b[i] += 2;
        }
        assert_int_equal(onednn_run(r.session, r.step, (const float *const[]){a, b}, y, rows, NULL), MTL_OK);
        for (size_t row = 0; row < rows; row++) {
            native_reference()->binary(f, a + (shape->a_per_row ? row * a_row : 0), shape->a_full,
                                       b + (shape->b_per_row ? row * b_row : 0), shape->b_full, want + row * shape->n,
                                       shape->n);
        }
        check("binary", y, want, rows * shape->n, 1e-6f);
        free(a);
        free(b);
        free(y);
        free(want);
    }
    free_rig(&r);
}

static void test_binary(void **unused)
{
    (void)unused;
    for (int f = PLAN_BINARY_add; f <= PLAN_BINARY_prelu; f++) {
        for (unsigned bits = 0; bits < 16; bits++) {
            const onednn_binary shape = {1 + random_below(40), bits & 1, bits & 2, bits & 4, bits & 8};
            check_binary((plan_binary)f, &shape, random_below(40));
        }
    }
    assert_true(supported_count > 20);
}

static void test_sharing(void **unused)
{
    (void)unused;
    const onednn_linear shape = {32, 48, 1, 32, 0, 48, 0};
    rig r = new_rig();
    const onednn_step *other = NULL;
    assert_int_equal(onednn_add_linear(r.context, &shape, 16, NULL, &r.step), MTL_OK);
    const long long before = allocated;
    assert_int_equal(onednn_add_linear(r.context, &shape, 16, NULL, &other), MTL_OK);
    assert_ptr_not_equal(r.step, other);
    /* Only the step itself is new. */
    const long long step = allocated - before;
    assert_int_equal(onednn_add_linear(r.context, &shape, 16, NULL, &other), MTL_OK);
    assert_int_equal(allocated, before + 2 * step);
    open_session(&r);
    assert_int_equal(onednn_add_linear(r.context, &(onednn_linear){0, 4, 1, 0, 0, 4, 0}, 16, NULL, &other),
                     MTL_UNSUPPORTED);
    free_rig(&r);
}

static size_t threads_of_process(void)
{
    size_t count = 0;
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL) {
        return 1; /* not Linux: nothing to count */
    }
    while (readdir(tasks) != NULL) {
        count++;
    }
    closedir(tasks);
    return count - 2;
}

/* Last: everything above has run, large products included. */
static void test_no_threads(void **unused)
{
    (void)unused;
    int major, minor, patch;
    const char *threads;
    onednn_version(&major, &minor, &patch, &threads);
    printf("[ ONEDNN   ] %d.%d.%d, %s\n", major, minor, patch, threads);
    assert_int_equal(threads_of_process(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),  cmocka_unit_test(test_matmul),     cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_reduce),  cmocka_unit_test(test_unary),      cmocka_unit_test(test_binary),
        cmocka_unit_test(test_sharing), cmocka_unit_test(test_no_threads),
    };
    return cmocka_run_group_tests_name("onednn", tests, NULL, NULL);
}
