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

/* Whether results are the same number: NaN only for NaN, infinities of one sign, else close. */
static void check_special(const char *what, const float *got, const float *want, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const bool same = isnan(want[i])   ? isnan(got[i])
                          : isinf(want[i]) ? got[i] == want[i]
                                           : fabsf(got[i] - want[i]) <= 1e-5f * fmaxf(1, fabsf(want[i]));
        if (!same) {
            fail_msg("%s: element %zu: got %g, want %g", what, i, (double)got[i], (double)want[i]);
        }
    }
}

static size_t copies;

static void check_linear(size_t rows, size_t most, size_t groups, size_t k, size_t n, plan_unary act, bool with_bias)
{
    float *w = new_floats(groups * native_panels(k, n)), *bias = new_floats(groups * native_padded(n));
    const bool may_copy = random_below(2) == 0;
    const onednn_linear shape = {k, n, groups, groups * k, k, groups * n, n, may_copy ? w : NULL};
    rig r = new_rig();
    const mtl_status status = onednn_add_linear(r.context, &shape, most, NULL, &r.step);
    assert_int_equal(status, MTL_OK);
    open_session(&r);
    float *x = new_floats(rows * groups * k), *y = new_floats(rows * groups * n), *want = new_floats(rows * groups * n);
    const size_t copied = onednn_copied_bytes(r.step);
    assert_true(may_copy || copied == 0);
    assert_true(copied == 0 || copied >= groups * k * n * sizeof(float));
    copies += copied > 0;
    native_linear call = {x, groups * k, w, with_bias ? bias : NULL, y, groups * n, rows, k, n, act, 0.1f, 0};
    float *start = new_floats(rows * groups * n + groups * n);
    const size_t kind = random_below(3);
    call.start = kind == 0 ? NULL : start;
    call.start_stride = kind == 1 ? groups * n : 0;
    if (copied > 0) {
        call.w = NULL; /* the copy is used, not the panels */
    }
    for (int again = 0; again < 2; again++) {
        memset(y, 0xff, rows * groups * n * sizeof(float));
        assert_int_equal(onednn_run_linear(r.session, r.step, &call, NULL), MTL_OK);
        native_linear reference = call;
        reference.y = want;
        reference.w = w;
        native_linear_grouped(native_reference(), &reference, groups, k, n);
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
    free(start);
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
    printf("# note oneDNN: %zu of 62 linear layers from a copy of the weights\n", copies);
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
        if (what == REDUCE && n % 3 == 0 && count > 0) {
            x[random_below(count)] = NAN;
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
        check_special(text, y, want, out);
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

/* NaN, infinities and zeros of both signs here and there. */
static void sprinkle(float *x, size_t n)
{
    static const float special[] = {NAN, INFINITY, -INFINITY, -0.0f, 0};
    for (size_t i = 0; i < n; i++) {
        if (random_below(4) == 0) {
            x[i] = special[random_below(5)];
        }
    }
}

static size_t supported_count[PLAN_BINARY_xor + 1];

static size_t offset_of(const onednn_binary *shape, const onednn_extents *e, size_t row, size_t line)
{
    const size_t width = e->n ? shape->n : 1, lines = e->m ? shape->m : 1;
    return (e->rows ? row * lines * width : 0) + (e->m ? line * width : 0);
}

static void want_binary(plan_binary f, const onednn_binary *p, const float *a, const float *b, size_t rows, float *want)
{
    const bool compares = f >= PLAN_BINARY_equal;
    for (size_t row = 0; row < rows; row++) {
        for (size_t line = 0; line < p->m; line++) {
            const float *left = a + offset_of(p, &p->a, row, line), *right = b + offset_of(p, &p->b, row, line);
            float *out = want + (row * p->m + line) * p->n;
            if (compares) {
                uint8_t truth[64];
                native_reference()->compare(f, left, p->a.n, right, p->b.n, truth, p->n);
                for (size_t i = 0; i < p->n; i++) {
                    out[i] = truth[i];
                }
            } else {
                native_reference()->binary(f, left, p->a.n, right, p->b.n, out, p->n);
            }
        }
    }
}

static void check_binary(plan_binary f, const onednn_binary *shape, size_t rows, bool special)
{
    rig r = new_rig();
    const mtl_status status = onednn_add_binary(r.context, f, shape, 16, NULL, &r.step);
    assert_true(status == MTL_OK || status == MTL_UNSUPPORTED);
    if (status == MTL_OK) {
        supported_count[f]++;
        open_session(&r);
        const size_t count = rows * shape->m * shape->n, most = (rows + 1) * shape->m * shape->n;
        float *a = new_floats(most), *b = new_floats(most), *y = new_floats(count + 1), *want = new_floats(count + 1);
        for (size_t i = 0; i < most; i++) {
            b[i] = f < PLAN_BINARY_equal ? b[i] + 2 : random_below(2) == 0 ? a[i] : b[i];
        }
        if (special) {
            sprinkle(a, most);
            if (f != PLAN_BINARY_prelu) { /* a slope that is no finite number makes NaN of what it does not touch */
                sprinkle(b, most);
            }
        }
        assert_int_equal(onednn_run(r.session, r.step, (const float *const[]){a, b}, y, rows, NULL), MTL_OK);
        want_binary(f, shape, a, b, rows, want);
        if (f >= PLAN_BINARY_equal) {
            for (size_t i = count; i-- > 0;) {
                const uint8_t truth = ((const uint8_t *)y)[i];
                assert_true(truth <= 1);
                y[i] = truth;
            }
        }
        char what[80];
        snprintf(what, sizeof what, "binary %d (%zu, %zu, %zu)", (int)f, rows, shape->m, shape->n);
        check_special(what, y, want, count);
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
    memset(supported_count, 0, sizeof supported_count);
    for (int f = PLAN_BINARY_add; f <= PLAN_BINARY_greater_or_equal; f++) {
        for (unsigned bits = 0; bits < 64; bits++) {
            const onednn_binary shape = {
                bits % 3 == 0 ? 1 + random_below(4) : 1,
                1 + random_below(40),
                {bits & 1, bits & 2, bits & 4},
                {bits & 8, bits & 16, bits & 32},
            };
            check_binary((plan_binary)f, &shape, random_below(40), bits % 2 == 0);
            check_binary((plan_binary)f, &shape, random_below(40), true);
        }
    }
    static const plan_binary there[] = {PLAN_BINARY_add,     PLAN_BINARY_sub,
                                        PLAN_BINARY_mul,     PLAN_BINARY_div,
                                        PLAN_BINARY_prelu,   PLAN_BINARY_equal,
                                        PLAN_BINARY_less,    PLAN_BINARY_less_or_equal,
                                        PLAN_BINARY_greater, PLAN_BINARY_greater_or_equal};
    for (size_t i = 0; i < sizeof there / sizeof there[0]; i++) {
        assert_true(supported_count[there[i]] >= 5);
    }
    assert_int_equal(supported_count[PLAN_BINARY_min] + supported_count[PLAN_BINARY_max], 0);
}

static void test_layer_norm(void **unused)
{
    (void)unused;
    for (int i = 0; i < 40; i++) {
        const bool with_scale = i & 1, with_bias = i & 2;
        const size_t n = 1 + random_below(90), rows = 1 + random_below(40);
        rig r = new_rig();
        assert_int_equal(onednn_add_layer_norm(r.context, n, with_scale, with_bias, 1e-5f, 16, NULL, &r.step), MTL_OK);
        open_session(&r);
        float *x = new_floats(rows * n), *scale = new_floats(n), *bias = new_floats(n), *y = new_floats(rows * n);
        float *want = new_floats(rows * n);
        x[random_below(rows * n)] = i % 4 == 0 ? NAN : 0.5f;
        const float *inputs[] = {x, with_scale ? scale : bias, bias};
        assert_int_equal(onednn_run(r.session, r.step, inputs, y, rows, NULL), MTL_OK);
        native_reference()->layer_norm(x, with_scale ? scale : NULL, with_bias ? bias : NULL, 1e-5f, want, rows, n);
        check_special("layer norm", y, want, rows * n);
        free(x);
        free(scale);
        free(bias);
        free(y);
        free(want);
        free_rig(&r);
    }
}

static void test_concat(void **unused)
{
    (void)unused;
    for (int i = 0; i < 30; i++) {
        size_t widths[ONEDNN_SOURCES], sum = 0, at = 0;
        const size_t count = 1 + random_below(ONEDNN_SOURCES), rows = 1 + random_below(40);
        float *inputs[ONEDNN_SOURCES];
        for (size_t j = 0; j < count; j++) {
            widths[j] = 1 + random_below(20);
            sum += widths[j];
            inputs[j] = new_floats(rows * widths[j]);
        }
        rig r = new_rig();
        assert_int_equal(onednn_add_concat(r.context, widths, count, 16, NULL, &r.step), MTL_OK);
        open_session(&r);
        float *y = new_floats(rows * sum);
        assert_int_equal(onednn_run(r.session, r.step, (const float *const *)inputs, y, rows, NULL), MTL_OK);
        for (size_t j = 0; j < count; j++) {
            for (size_t row = 0; row < rows; row++) {
                assert_memory_equal(y + row * sum + at, inputs[j] + row * widths[j], widths[j] * sizeof(float));
            }
            at += widths[j];
            free(inputs[j]);
        }
        free(y);
        free_rig(&r);
    }
}

/* A window of wider rows, transposed or not. */
static void test_move(void **unused)
{
    (void)unused;
    size_t moved = 0;
    for (int i = 0; i < 40; i++) {
        const size_t extents[] = {1 + random_below(9), 1 + random_below(20)}, rows = 1 + random_below(40);
        const bool turned = i % 2 == 0;
        const size_t pitch = 1 + random_below(3), all = extents[0] * extents[1];
        const size_t strides[] = {all * pitch + 3, turned ? pitch : extents[1] * pitch,
                                  turned ? extents[0] * pitch : pitch};
        rig r = new_rig();
        const mtl_status status = onednn_add_move(r.context, extents, 2, strides, 16, NULL, &r.step);
        assert_true(status == MTL_OK || status == MTL_UNSUPPORTED);
        if (status == MTL_OK) {
            moved++;
            open_session(&r);
            float *x = new_floats(rows * strides[0]), *y = new_floats(rows * all);
            sprinkle(x, rows * strides[0]);
            assert_int_equal(onednn_run(r.session, r.step, (const float *const[]){x}, y, rows, NULL), MTL_OK);
            for (size_t e = 0; e < rows * all; e++) {
                const size_t row = e / all, line = e % all / extents[1], column = e % extents[1];
                const float *from = x + row * strides[0] + line * strides[1] + column * strides[2];
                assert_memory_equal(y + e, from, sizeof(float));
            }
            free(x);
            free(y);
        }
        free_rig(&r);
    }
    assert_true(moved > 10);
    const onednn_step *step;
    rig r = new_rig();
    assert_int_equal(onednn_add_move(r.context, (const size_t[]){4}, 1, (const size_t[]){1, 0}, 16, NULL, &step),
                     MTL_UNSUPPORTED);
    free_rig(&r);
}

/* What oneDNN has only reference code for stays with the caller, who can say why. */
static void test_refusals(void **unused)
{
    (void)unused;
    rig r = new_rig();
    assert_null(onednn_refused(r.context, false));
    assert_int_equal(onednn_add_softmax(r.context, PLAN_SOFTMAX_softmax, 4, 16, 16, NULL, &r.step), MTL_UNSUPPORTED);
    const char *why = onednn_refused(r.context, false);
    assert_non_null(why);
    assert_int_equal(strncmp(why, "ref", 3), 0);
    assert_null(onednn_refused(r.context, true));
    /* A function that would lose NaN is not asked for at all. */
    assert_int_equal(onednn_add_reduce(r.context, PLAN_REDUCE_max, 4, 1, 16, NULL, &r.step), MTL_UNSUPPORTED);
    assert_null(onednn_refused(r.context, false));
    free_rig(&r);
}

static void test_sharing(void **unused)
{
    (void)unused;
    const onednn_linear shape = {32, 48, 1, 32, 0, 48, 0, NULL};
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
    assert_int_equal(onednn_add_linear(r.context, &(onednn_linear){0, 4, 1, 0, 0, 4, 0, NULL}, 16, NULL, &other),
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
        cmocka_unit_test(test_linear),     cmocka_unit_test(test_matmul),  cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_reduce),     cmocka_unit_test(test_unary),   cmocka_unit_test(test_binary),
        cmocka_unit_test(test_layer_norm), cmocka_unit_test(test_concat),  cmocka_unit_test(test_move),
        cmocka_unit_test(test_refusals),   cmocka_unit_test(test_sharing), cmocka_unit_test(test_no_threads),
    };
    return cmocka_run_group_tests_name("onednn", tests, NULL, NULL);
}
