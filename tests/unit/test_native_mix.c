/* The kernels mix and scan of every ISA that this machine has, against the reference loops at random odd shapes,
 * strides and extreme values; rows that are equal give equal bits, and so do a gate and the softmax kernel. */
#include "tests/unit/native_helpers.h"

/* --- mix --- */

typedef struct gates {
    native_mix call;
    float *weights, *values, *y;
    int64_t *index;
    size_t vectors; /* of a row */
} gates;

static size_t stride_of(size_t row, int way)
{
    return way == 0 ? 0 : way == 1 ? row : row + random_below(5);
}

static gates new_gates(size_t rows, size_t tasks, size_t experts, size_t h, plan_mix function)
{
    gates g = {.vectors = experts + random_below(4)};
    const size_t weights_stride = stride_of(tasks * experts, (int)random_below(4));
    const size_t values_stride = stride_of(g.vectors * h, (int)random_below(4));
    const size_t y_stride = tasks * h + random_below(3);
    g.weights = new_floats((rows - 1) * weights_stride + tasks * experts, -4, 4);
    g.values = new_floats((rows - 1) * values_stride + g.vectors * h, -1, 1);
    g.y = new_output(rows * y_stride);
    g.index = malloc(tasks * experts * sizeof *g.index);
    assert_non_null(g.index);
    for (size_t i = 0; i < tasks * experts; i++) {
        g.index[i] = (int64_t)(random_below(3) == 0 ? random_below(g.vectors) : i % experts);
    }
    const bool same = random_below(2) == 0;
    for (size_t i = experts; same && i < tasks * experts; i++) {
        g.index[i] = g.index[i - experts];
    }
    g.call = (native_mix){g.weights, weights_stride, g.values, values_stride, g.index, g.y, y_stride, rows,
                          tasks,     experts,        h,        function,      same};
    return g;
}

static void free_gates(gates *g)
{
    free_floats(g->weights);
    free_floats(g->values);
    free_floats(g->y);
    free(g->index);
}

static void make_wild(gates *g, size_t one_of)
{
    const native_mix *c = &g->call;
    const bool logits = random_below(2) == 0; /* not both: whether a tiny share times infinity is NaN is free */
    for (size_t r = 0; r < c->rows; r++) {
        if (logits && random_below(one_of) == 0) {
            g->weights[r * c->weights_stride + random_below(c->tasks * c->experts)] = extremes[random_below(EXTREMES)];
        }
        if (!logits && random_below(one_of) == 0) {
            g->values[r * c->values_stride + random_below(g->vectors * c->h)] = extremes[random_below(EXTREMES)];
        }
    }
}

/* Where the exact sum is near to overflow, or a share underflows, either may be off by the last bits of a large term. */
static bool near(float got, float want, float largest)
{
    return close_to(got, want, 1e-5f * largest) || (isinf(got) && isinf(want)) || largest > 1e37f;
}

static float largest_term(const native_mix *c, size_t row, size_t task, size_t column)
{
    float largest = 1;
    for (size_t e = 0; e < c->experts; e++) {
        const float v = c->values[row * c->values_stride + (size_t)c->index[task * c->experts + e] * c->h + column];
        const float share =
            c->function == PLAN_MIX_none ? c->weights[row * c->weights_stride + task * c->experts + e] : 1;
        largest = fabsf(v * share) > largest && !isinf(v) && !isinf(share) ? fabsf(v * share) : largest;
    }
    return largest * (1 + (float)c->experts * 0.01f);
}

static void check_gates(const native_kernels *k, const gates *g)
{
    const native_mix *c = &g->call;
    native_mix want = *c;
    want.y = new_output(c->rows * c->y_stride);
    k->mix(c);
    native_reference()->mix(&want);
    for (size_t r = 0; r < c->rows; r++) {
        const size_t at = r * c->y_stride;
        for (size_t i = 0; i < c->tasks * c->h; i++) {
            if (!near(c->y[at + i], want.y[at + i], largest_term(c, r, i / c->h, i % c->h))) {
                fail_msg("%s mix %d (%zu rows, %zu tasks, %zu experts, %zu): row %zu element %zu: got %.9g, want %.9g",
                         k->name, (int)c->function, c->rows, c->tasks, c->experts, c->h, r, i, (double)c->y[at + i],
                         (double)want.y[at + i]);
            }
        }
        check_sentinels(c->y + at + c->tasks * c->h, c->y_stride - c->tasks * c->h);
    }
    check_sentinels(c->y + c->rows * c->y_stride, SENTINELS);
    free_floats(want.y);
}

/* A row's result is that of the row alone, at any count and position. */
static void check_gate_bits(const native_kernels *k, const gates *g)
{
    const native_mix *c = &g->call;
    for (int i = 0; i < 6; i++) {
        const size_t first = random_below(c->rows), rows = 1 + random_below(c->rows - first);
        native_mix part = *c;
        part.weights += first * part.weights_stride;
        part.values += first * part.values_stride;
        part.rows = rows;
        part.same_index = part.same_index && i % 2 == 0; /* a matter of speed alone */
        part.y_stride = c->tasks * c->h;
        part.y = new_output(rows * part.y_stride);
        k->mix(&part);
        for (size_t r = 0; r < rows; r++) {
            assert_memory_equal(part.y + r * part.y_stride, c->y + (first + r) * c->y_stride,
                                part.y_stride * sizeof(float));
        }
        free_floats(part.y);
    }
}

/* The same shares as `softmax` gives, then the sum of them as they are. */
static void check_shares(const native_kernels *k, const gates *g)
{
    const native_mix *c = &g->call;
    native_mix second = *c;
    float *shares = new_output(c->tasks * c->experts), *y = new_output(c->tasks * c->h);
    for (size_t r = 0; r < c->rows; r++) {
        k->softmax(PLAN_SOFTMAX_softmax, c->weights + r * c->weights_stride, shares, c->tasks, c->experts, 1);
        second.weights = shares;
        second.values = c->values + r * c->values_stride;
        second.y = y;
        second.rows = 1;
        second.function = PLAN_MIX_none;
        k->mix(&second);
        assert_memory_equal(y, c->y + r * c->y_stride, c->tasks * c->h * sizeof(float));
    }
    free_floats(shares);
    free_floats(y);
}

static void test_mix(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(k)
    {
        for (int i = 0; i < 600; i++) {
            const size_t rows = 1 + random_below(i % 4 == 0 ? 100 : 20), tasks = 1 + random_below(5);
            const size_t experts = 1 + random_below(i % 5 == 0 ? 70 : 12), h = 1 + random_below(i % 3 == 0 ? 300 : 40);
            gates g = new_gates(rows, tasks, experts, h, i % 6 == 0 ? PLAN_MIX_none : PLAN_MIX_softmax);
            if (i % 7 == 0) {
                make_wild(&g, 4);
            }
            check_gates(k, &g);
            if (i % 7 != 0) {
                check_gate_bits(k, &g);
            }
            if (g.call.function == PLAN_MIX_softmax && i % 7 != 0) {
                check_shares(k, &g);
            }
            free_gates(&g);
        }
    }
}

/* More shares in a row than the buffer holds; more in one gate; the edge itself; nothing. */
static void test_mix_large(void **unused)
{
    (void)unused;
    static const size_t shapes[][4] = {{3, 20, 100, 33}, {2, 3, 300, 17}, {4, 1, 512, 130}, {3, 2, 513, 9},
                                       {2, 3, 1100, 40}, {1, 600, 1, 5},  {1, 1, 1, 1},     {5, 2, 2047, 3}};
    FOR_EACH_ISA(k)
    {
        for (size_t i = 0; i < 2 * (sizeof shapes / sizeof shapes[0]); i++) {
            const size_t *s = shapes[i / 2];
            gates g = new_gates(s[0], s[1], s[2], s[3], i % 2 == 0 ? PLAN_MIX_softmax : PLAN_MIX_none);
            check_gates(k, &g);
            check_gate_bits(k, &g);
            if (i % 2 == 0) {
                check_shares(k, &g);
            }
            free_gates(&g);
        }
        float y[] = {1, 2, 3, 4};
        const native_mix nothing = {.y = y, .y_stride = 2, .rows = 2, .tasks = 1, .h = 2, .function = PLAN_MIX_softmax};
        k->mix(&nothing);
        assert_memory_equal(y, ((const float[]){0, 0, 0, 0}), sizeof y);
    }
}

/* 0 x infinity is NaN, as softmax and a sum give it; a NaN logit makes its task NaN and no other. */
static void test_mix_limits(void **unused)
{
    (void)unused;
    const float weights[] = {0, -INFINITY, NAN, 0, INFINITY, 1, 1, 1}, values[] = {1, INFINITY, 2, 3};
    const int64_t index[] = {0, 1, 2, 3, 0, 2, 2, 3};
    float y[4];
    const native_mix call = {weights, 8, values, 4, index, y, 4, 1, 4, 2, 1, PLAN_MIX_softmax, false};
    FOR_EACH_ISA(k)
    {
        k->mix(&call);
        assert_true(isnan(y[0]) && isnan(y[1]) && isnan(y[2]) && y[3] == 2.5f);
    }
}

/* --- scan --- */

static void check_scan(const native_kernels *k, const native_scan *call, bool wild)
{
    const size_t block = call->n * call->inner, count = call->outer * block;
    const bool product = call->function == PLAN_SCAN_prod;
    float *x = new_floats(count, product ? 0.8f : -2, product ? 1.2f : 2);
    float *y = new_output(count), *want = new_output(count);
    for (size_t i = 0; wild && i < count; i++) {
        x[i] = random_below(9) == 0 ? extremes[random_below(EXTREMES)] : x[i];
    }
    k->scan(call, x, y);
    native_reference()->scan(call, x, want);
    for (size_t i = 0; i < count; i++) {
        if (!close_to(y[i], want[i], 0)) {
            fail_msg("%s scan %d (%zu, %zu, %zu): element %zu: got %.9g, want %.9g", k->name, (int)call->function,
                     call->outer, call->n, call->inner, i, (double)y[i], (double)want[i]);
        }
    }
    check_sentinels(y + count, SENTINELS);
    native_scan one = *call;
    one.outer = 1;
    for (size_t o = 0; o < call->outer; o++) {
        k->scan(&one, x + o * block, want);
        assert_memory_equal(want, y + o * block, block * sizeof(float));
    }
    k->scan(call, x, x);
    assert_memory_equal(x, y, count * sizeof(float));
    free_floats(x);
    free_floats(y);
    free_floats(want);
}

static void test_scan(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(k)
    {
        for (int i = 0; i < 400; i++) {
            const native_scan call = {
                .function = i % 2 == 0 ? PLAN_SCAN_sum : PLAN_SCAN_prod,
                .exclusive = i / 2 % 2 != 0,
                .reverse = i / 4 % 2 != 0,
                .outer = 1 + random_below(30),
                .n = random_below(i % 5 == 0 ? 60 : 8),
                .inner = i % 3 == 0 ? 1 : 1 + random_below(70),
            };
            check_scan(k, &call, i % 7 == 0);
        }
    }
}

static void test_scan_integers(void **unused)
{
    (void)unused;
    int32_t x[] = {INT32_MAX, 1, 2, 3, 4, 5}, y[6];
    int64_t wide[] = {INT64_MAX, 2, 3}, z[3];
    native_scan_i32(&(native_scan){PLAN_SCAN_sum, false, false, 2, 3, 1}, x, y);
    assert_memory_equal(y, ((const int32_t[]){INT32_MAX, INT32_MIN, INT32_MIN + 2, 3, 7, 12}), sizeof y);
    native_scan_i32(&(native_scan){PLAN_SCAN_prod, true, true, 1, 3, 2}, x, y);
    assert_memory_equal(y, ((const int32_t[]){8, 15, 4, 5, 1, 1}), sizeof y);
    native_scan_i32(&(native_scan){PLAN_SCAN_sum, true, false, 1, 3, 2}, x, x);
    assert_memory_equal(x, ((const int32_t[]){0, 0, INT32_MAX, 1, INT32_MIN + 1, 4}), sizeof x);
    native_scan_i64(&(native_scan){PLAN_SCAN_sum, false, true, 1, 3, 1}, wide, z);
    assert_memory_equal(z, ((const int64_t[]){INT64_MIN + 4, 5, 3}), sizeof z);
}

int main(void)
{
    find_kernels();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mix),  cmocka_unit_test(test_mix_large),     cmocka_unit_test(test_mix_limits),
        cmocka_unit_test(test_scan), cmocka_unit_test(test_scan_integers),
    };
    return cmocka_run_group_tests_name("native mix", tests, NULL, NULL);
}
