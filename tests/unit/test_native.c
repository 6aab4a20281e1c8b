/* Every native kernel of every ISA that this machine has, against the reference loops at random odd shapes, strides,
 * addresses and extreme values; and equal rows giving equal bits. Inputs are allocated to the byte, so that
 * AddressSanitizer sees reads past their ends; outputs carry sentinels, which vector stores with masks need. */
#include "tests/unit/native_helpers.h"

static void test_select(void **unused)
{
    (void)unused;
    assert_non_null(native_select(MTL_ISA_GENERIC));
    assert_ptr_equal(native_select(MTL_ISA_AUTO), kernels_of_machine[kernel_count - 1]);
    assert_null(native_select((mtl_isa)99));
    FOR_EACH_ISA(k)
    {
        assert_ptr_equal(native_select(k->isa), k);
        printf("[ ISA      ] %s, %u lanes\n", k->name, k->lanes);
    }
}

/* --- linear --- */

typedef struct layer {
    native_linear call;
    float *x, *y;
    float *w, *bias, *start;
    int32_t *start_rows;
} layer;

static float *new_aligned(size_t n)
{
    float *p = aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64 + 64);
    assert_non_null(p);
    return p;
}

/* Sums begin with nothing, with a row of their own, with one for all, or with one that an index says. */
static void add_start(layer *l)
{
    enum { STARTS = 5 };
    const size_t kind = random_below(4), stride = kind == 2 ? 0 : l->call.n + random_below(3);
    const size_t starts = kind == 1 ? l->call.rows : kind == 2 ? 1 : STARTS;
    if (kind == 0) {
        return;
    }
    l->start = new_floats(starts > 0 ? (starts - 1) * stride + l->call.n : 0, -1, 1);
    l->call.start = l->start;
    l->call.start_stride = stride;
    if (kind == 3) {
        l->start_rows = malloc((l->call.rows + 1) * sizeof *l->start_rows);
        assert_non_null(l->start_rows);
        for (size_t r = 0; r < l->call.rows; r++) {
            l->start_rows[r] = (int32_t)random_below(STARTS);
        }
        l->call.start_rows = l->start_rows;
    }
}

static layer new_layer(size_t rows, size_t k, size_t n, plan_unary act)
{
    layer l = {0};
    const size_t x_stride = k + random_below(3), y_stride = n + random_below(4);
    l.x = new_floats(rows > 0 ? (rows - 1) * x_stride + k : 0, -1, 1);
    l.y = new_output(rows * y_stride);
    l.w = new_aligned(native_panels(k, n));
    l.bias = random_below(3) == 0 ? NULL : new_aligned(native_padded(n));
    for (size_t i = 0; i < native_panels(k, n); i++) {
        const size_t column = i / (k * PLAN_PANEL) * PLAN_PANEL + i % PLAN_PANEL;
        l.w[i] = column < n ? random_float(-1, 1) : 0;
    }
    for (size_t j = 0; l.bias != NULL && j < native_padded(n); j++) {
        l.bias[j] = j < n ? random_float(-1, 1) : 0;
    }
    l.call = (native_linear){l.x, x_stride, l.w, l.bias, l.y, y_stride, rows, k, n, act, 0.25f, 0.5f, 0};
    if (n > PLAN_PANEL && random_below(3) == 0) {
        l.call.act_columns = PLAN_PANEL * (1 + random_below(n / PLAN_PANEL));
    }
    add_start(&l);
    return l;
}

static void free_layer(layer *l)
{
    free_floats(l->x);
    free_floats(l->y);
    free(l->w);
    free(l->bias);
    if (l->start != NULL) {
        free_floats(l->start);
    }
    free(l->start_rows);
}

static void check_layer(const native_kernels *k, layer *l)
{
    const native_linear *c = &l->call;
    native_linear want = *c;
    want.y = new_output(c->rows * c->y_stride);
    k->linear(c);
    native_reference()->linear(&want);
    for (size_t r = 0; r < c->rows; r++) {
        const size_t at = r * c->y_stride;
        for (size_t j = 0; j < c->n; j++) {
            if (!close_to(c->y[at + j], want.y[at + j], 2e-6f * (4 + (float)c->k * 0.3f))) {
                fail_msg("%s linear %zux%zux%zu act %d: row %zu column %zu: got %.9g, want %.9g", k->name, c->rows,
                         c->k, c->n, (int)c->act, r, j, (double)c->y[at + j], (double)want.y[at + j]);
            }
        }
        check_sentinels(c->y + at + c->n, c->y_stride - c->n);
    }
    check_sentinels(c->y + c->rows * c->y_stride, SENTINELS);
    free_floats(want.y);
}

static void test_linear(void **unused)
{
    (void)unused;
    static const plan_unary acts[] = {PLAN_UNARY_none, PLAN_UNARY_relu,       PLAN_UNARY_sigmoid, PLAN_UNARY_gelu,
                                      PLAN_UNARY_tanh, PLAN_UNARY_leaky_relu, PLAN_UNARY_softplus};
    FOR_EACH_ISA(k)
    {
        for (int i = 0; i < 400; i++) {
            layer l = new_layer(random_below(40), 1 + random_below(90), 1 + random_below(200),
                                acts[random_below(sizeof acts / sizeof acts[0])]);
            check_layer(k, &l);
            free_layer(&l);
        }
        for (int i = 0; i < 200; i++) { /* heads */
            layer l = new_layer(random_below(20), 1 + random_below(i % 4 == 0 ? 1100 : 90), 1 + random_below(5),
                                acts[random_below(sizeof acts / sizeof acts[0])]);
            check_layer(k, &l);
            free_layer(&l);
        }
        /* More rows than a cached block, more k than a part. */
        static const size_t large[][3] = {{150, 1100, 70}, {70, 2050, 33}, {3, 3000, 17}, {300, 300, 130}, {5, 0, 20}};
        for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
            layer l = new_layer(large[i][0], large[i][1], large[i][2], acts[i]);
            check_layer(k, &l);
            free_layer(&l);
        }
    }
}

/* A row's result is that of the row alone, at any count and position. */
static void test_linear_bits(void **unused)
{
    (void)unused;
    static const size_t shapes[][2] = {{7, 5},  {64, 48}, {33, 131}, {1500, 50}, {512, 300},
                                       {64, 1}, {101, 2}, {300, 3},  {16, 4},    {1050, 1}};
    FOR_EACH_ISA(k)
    {
        for (size_t i = 0; i < 3 * sizeof shapes / sizeof shapes[0]; i++) {
            const size_t s = i / 3;
            layer l = new_layer(131, shapes[s][0], shapes[s][1], s % 2 == 0 ? PLAN_UNARY_sigmoid : PLAN_UNARY_relu);
            k->linear(&l.call);
            for (int t = 0; t < 20; t++) {
                const size_t first = random_below(131), rows = 1 + random_below(131 - first);
                native_linear part = l.call;
                part.x += first * part.x_stride;
                part.rows = rows;
                if (part.start_rows != NULL) {
                    part.start_rows += first;
                } else if (part.start != NULL) {
                    part.start += first * part.start_stride;
                }
                part.y_stride = part.n;
                part.y = new_output(rows * part.n);
                k->linear(&part);
                for (size_t r = 0; r < rows; r++) {
                    assert_memory_equal(part.y + r * part.n, l.y + (first + r) * l.call.y_stride,
                                        part.n * sizeof(float));
                }
                free_floats(part.y);
            }
            free_layer(&l);
        }
    }
}

static void test_linear_grouped(void **unused)
{
    (void)unused;
    enum { ROWS = 9, GROUPS = 3, K = 13, N = 21 };
    FOR_EACH_ISA(k)
    {
        float *x = new_floats(ROWS * GROUPS * K, -1, 1), *y = new_output(ROWS * GROUPS * N);
        float *w = new_aligned(GROUPS * native_panels(K, N)), *bias = new_aligned(GROUPS * native_padded(N));
        for (size_t i = 0; i < GROUPS * native_panels(K, N); i++) {
            w[i] = random_float(-1, 1);
        }
        for (size_t i = 0; i < GROUPS * native_padded(N); i++) {
            bias[i] = random_float(-1, 1);
        }
        float *start = new_floats(2 * GROUPS * N, -1, 1);
        const int32_t start_rows[ROWS] = {1, 0, 1, 1, 0, 1, 0, 0, 1};
        const native_linear call = {x, GROUPS * K,      w, bias, y, GROUPS * N, ROWS,       K,
                                    N, PLAN_UNARY_none, 0, 0,    0, start,      GROUPS * N, start_rows};
        native_linear_grouped(k, &call, GROUPS, K, N);
        for (size_t g = 0; g < GROUPS; g++) {
            float want[ROWS * N];
            const native_linear one = {x + g * K,
                                       GROUPS * K,
                                       w + g * native_panels(K, N),
                                       bias + g * native_padded(N),
                                       want,
                                       N,
                                       ROWS,
                                       K,
                                       N,
                                       PLAN_UNARY_none,
                                       0,
                                       0,
                                       0,
                                       start + g * N,
                                       GROUPS * N,
                                       start_rows};
            k->linear(&one);
            for (size_t r = 0; r < ROWS; r++) {
                assert_memory_equal(y + (r * GROUPS + g) * N, want + r * N, N * sizeof(float));
            }
        }
        check_sentinels(y + ROWS * GROUPS * N, SENTINELS);
        free_floats(start);
        free_floats(x);
        free_floats(y);
        free(w);
        free(bias);
    }
}

/* --- element-wise --- */

static const struct {
    plan_unary f;
    float a, b;
} unary_cases[] = {
    {PLAN_UNARY_relu, 0, 0},
    {PLAN_UNARY_sigmoid, 0, 0},
    {PLAN_UNARY_tanh, 0, 0},
    {PLAN_UNARY_exp, 0, 0},
    {PLAN_UNARY_log, 0, 0},
    {PLAN_UNARY_sqrt, 0, 0},
    {PLAN_UNARY_reciprocal, 0, 0},
    {PLAN_UNARY_erf, 0, 0},
    {PLAN_UNARY_neg, 0, 0},
    {PLAN_UNARY_abs, 0, 0},
    {PLAN_UNARY_sign, 0, 0},
    {PLAN_UNARY_floor, 0, 0},
    {PLAN_UNARY_ceil, 0, 0},
    {PLAN_UNARY_round, 0, 0},
    {PLAN_UNARY_softplus, 0, 0},
    {PLAN_UNARY_softsign, 0, 0},
    {PLAN_UNARY_mish, 0, 0},
    {PLAN_UNARY_elu, 1.5f, 0},
    {PLAN_UNARY_celu, 0.7f, 0},
    {PLAN_UNARY_selu, 1.6732632f, 1.0507009f},
    {PLAN_UNARY_leaky_relu, 0.01f, 0},
    {PLAN_UNARY_thresholded_relu, 1, 0},
    {PLAN_UNARY_hard_sigmoid, 0.2f, 0.5f},
    {PLAN_UNARY_hard_swish, 0, 0},
    {PLAN_UNARY_swish, 1, 0},
    {PLAN_UNARY_swish, 1.702f, 0},
    {PLAN_UNARY_gelu, 0, 0},
    {PLAN_UNARY_gelu, 1, 0},
    {PLAN_UNARY_clip, -0.5f, 6},
};

static void test_unary(void **unused)
{
    (void)unused;
    enum { MOST = 300 };
    FOR_EACH_ISA(k)
    {
        for (size_t c = 0; c < sizeof unary_cases / sizeof unary_cases[0]; c++) {
            for (size_t n = 0; n < MOST; n += 1 + n / 40) {
                float *x = new_floats(n, -20, 20), *y = new_output(n), want[MOST];
                for (size_t i = 0; i < n; i++) {
                    x[i] = random_below(3) == 0 ? extremes[random_below(EXTREMES)] : x[i];
                }
                k->unary(unary_cases[c].f, unary_cases[c].a, unary_cases[c].b, x, y, n);
                native_reference()->unary(unary_cases[c].f, unary_cases[c].a, unary_cases[c].b, x, want, n);
                for (size_t i = 0; i < n; i++) {
                    if (!close_to(y[i], want[i], 2e-6f * fmaxf(1, fabsf(want[i])))) {
                        fail_msg("%s unary %d of %.9g: got %.9g, want %.9g", k->name, (int)unary_cases[c].f,
                                 (double)x[i], (double)y[i], (double)want[i]);
                    }
                    float alone;
                    k->unary(unary_cases[c].f, unary_cases[c].a, unary_cases[c].b, x + i, &alone, 1);
                    assert_memory_equal(&alone, &y[i], sizeof alone);
                }
                check_sentinels(y + n, SENTINELS);
                k->unary(unary_cases[c].f, unary_cases[c].a, unary_cases[c].b, x, x, n);
                assert_memory_equal(x, y, n * sizeof(float));
                free_floats(x);
                free_floats(y);
            }
        }
    }
}

static double exact(plan_unary f, double x)
{
    return f == PLAN_UNARY_exp       ? exp(x)
           : f == PLAN_UNARY_sigmoid ? 1 / (1 + exp(-x))
           : f == PLAN_UNARY_tanh    ? tanh(x)
                                     : erf(x);
}

/* In units in the last place of the exact result, over normal results. */
static void test_unary_ulps(void **unused)
{
    (void)unused;
    static const plan_unary functions[] = {PLAN_UNARY_exp, PLAN_UNARY_sigmoid, PLAN_UNARY_tanh, PLAN_UNARY_erf};
    enum { N = 1 << 16 };
    float *x = new_floats(N, -88, 88), *y = new_floats(N, 0, 0);
    for (size_t i = 0; i < N; i++) {
        const float range[] = {88, 8, 1, 0.01f};
        x[i] = random_float(-1, 1) * range[i % 4];
    }
    FOR_EACH_ISA(k)
    {
        for (size_t c = 0; c < 4; c++) {
            double worst = 0;
            k->unary(functions[c], 0, 0, x, y, N);
            for (size_t i = 0; i < N; i++) {
                const double want = exact(functions[c], (double)x[i]);
                if (fabs(want) < 0x1p-126 || fabs(want) > 0x1.fffffep127) {
                    continue;
                }
                const double error = fabs((double)y[i] - want) / ldexp(1, ilogb(want) - 23);
                worst = error > worst ? error : worst;
            }
            printf("[ ULPS     ] %s unary %d: %.2f\n", k->name, (int)functions[c], worst);
            assert_true(worst <= 3);
        }
    }
    free_floats(x);
    free_floats(y);
}

static void check_binary(const native_kernels *k, plan_binary f, size_t n, size_t a_step, size_t b_step)
{
    float *a = new_floats(a_step == 1 ? n : 1, -3, 3), *b = new_floats(b_step == 1 ? n : 1, -3, 3);
    float *y = new_output(n), *want = new_output(n);
    uint8_t *flags = calloc(2 * n + 1, 1);
    assert_non_null(flags);
    for (size_t i = 0; i < n / 3; i++) {
        a[a_step * random_below(n)] = extremes[random_below(EXTREMES)];
        b[b_step * random_below(n)] = extremes[random_below(EXTREMES)];
    }
    if (f >= PLAN_BINARY_equal) {
        k->compare(f, a, a_step, b, b_step, flags, n);
        native_reference()->compare(f, a, a_step, b, b_step, flags + n, n);
        assert_memory_equal(flags, flags + n, n);
    } else {
        k->binary(f, a, a_step, b, b_step, y, n);
        native_reference()->binary(f, a, a_step, b, b_step, want, n);
        for (size_t i = 0; i < n; i++) {
            if (!close_to(y[i], want[i], 1e-6f * fabsf(want[i]))) {
                fail_msg("%s binary %d of %.9g, %.9g: got %.9g, want %.9g", k->name, (int)f, (double)a[i * a_step],
                         (double)b[i * b_step], (double)y[i], (double)want[i]);
            }
        }
        check_sentinels(y + n, SENTINELS);
        if (a_step == 1) {
            k->binary(f, a, 1, b, b_step, a, n);
            assert_memory_equal(a, y, n * sizeof(float));
        }
    }
    free(flags);
    free_floats(a);
    free_floats(b);
    free_floats(y);
    free_floats(want);
}

static void test_binary(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(k)
    {
        for (int f = PLAN_BINARY_add; f <= PLAN_BINARY_greater_or_equal; f++) {
            for (size_t n = 1; n < 100; n += 3) {
                for (size_t steps = 0; steps < 4; steps++) {
                    check_binary(k, (plan_binary)f, n, steps & 1, steps >> 1);
                }
            }
        }
    }
}

/* --- along axes --- */

static void check_softmax(const native_kernels *k, plan_softmax f, size_t outer, size_t n, size_t inner, bool wild)
{
    const size_t count = outer * n * inner;
    float *x = new_floats(count, -9, 9), *y = new_output(count), *want = new_output(count);
    for (size_t i = 0; wild && i < count; i++) {
        x[i] = random_below(9) == 0 ? extremes[random_below(EXTREMES)] : x[i];
    }
    k->softmax(f, x, y, outer, n, inner);
    native_reference()->softmax(f, x, want, outer, n, inner);
    for (size_t i = 0; i < count; i++) {
        if (!close_to(y[i], want[i], 4e-6f * fmaxf(1, fabsf(want[i])))) {
            fail_msg("%s softmax %d (%zu, %zu, %zu): element %zu: got %.9g, want %.9g", k->name, (int)f, outer, n,
                     inner, i, (double)y[i], (double)want[i]);
        }
    }
    check_sentinels(y + count, SENTINELS);
    for (size_t o = 0; o < outer; o++) {
        k->softmax(f, x + o * n * inner, want, 1, n, inner);
        assert_memory_equal(want, y + o * n * inner, n * inner * sizeof(float));
    }
    k->softmax(f, x, x, outer, n, inner);
    assert_memory_equal(x, y, count * sizeof(float));
    free_floats(x);
    free_floats(y);
    free_floats(want);
}

static void test_softmax(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(k)
    {
        for (int i = 0; i < 300; i++) {
            const size_t n = 1 + random_below(i % 5 == 0 ? 200 : 20);
            const size_t inner = i % 3 == 0 ? 1 + random_below(40) : 1;
            check_softmax(k, i % 2 == 0 ? PLAN_SOFTMAX_softmax : PLAN_SOFTMAX_log_softmax, 1 + random_below(40), n,
                          inner, i % 4 == 0);
        }
        check_softmax(k, PLAN_SOFTMAX_softmax, 3, 150, 19, false);
    }
}

static void check_reduce(const native_kernels *k, plan_reduce f, size_t outer, size_t n, size_t inner, bool wild)
{
    float *x = new_floats(outer * n * inner, f == PLAN_REDUCE_prod ? 0.8f : -2, f == PLAN_REDUCE_prod ? 1.2f : 2);
    float *y = new_output(outer * inner), *want = new_output(outer * inner);
    for (size_t i = 0; wild && i < outer * n * inner; i++) {
        x[i] = random_below(9) == 0 ? extremes[random_below(EXTREMES)] : x[i];
    }
    k->reduce(f, x, y, outer, n, inner);
    native_reference()->reduce(f, x, want, outer, n, inner);
    const bool exactly = f == PLAN_REDUCE_max || f == PLAN_REDUCE_min;
    for (size_t i = 0; i < outer * inner && (exactly || !wild); i++) {
        if (!close_to(y[i], want[i], exactly ? 0 : 1e-5f * (1 + fabsf(want[i])))) {
            fail_msg("%s reduce %d (%zu, %zu, %zu): element %zu: got %.9g, want %.9g", k->name, (int)f, outer, n, inner,
                     i, (double)y[i], (double)want[i]);
        }
    }
    check_sentinels(y + outer * inner, SENTINELS);
    for (size_t o = 0; o < outer; o++) {
        k->reduce(f, x + o * n * inner, want, 1, n, inner);
        assert_memory_equal(want, y + o * inner, inner * sizeof(float));
    }
    free_floats(x);
    free_floats(y);
    free_floats(want);
}

static void test_reduce(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(k)
    {
        for (int i = 0; i < 500; i++) {
            check_reduce(k, (plan_reduce)(1 + i % 5), 1 + random_below(40), random_below(i % 4 == 0 ? 200 : 20),
                         i % 3 == 0 ? 1 + random_below(40) : 1, i % 7 == 0);
        }
    }
}

static void test_layer_norm(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(k)
    {
        for (int i = 0; i < 100; i++) {
            const size_t outer = 1 + random_below(9), n = 1 + random_below(150);
            float *x = new_floats(outer * n, -3, 5), *y = new_output(outer * n), *want = new_output(outer * n);
            float *scale = i % 3 == 0 ? NULL : new_floats(n, -1, 1), *bias = i % 4 == 0 ? NULL : new_floats(n, -1, 1);
            k->layer_norm(x, scale, bias, 1e-5f, y, outer, n);
            native_reference()->layer_norm(x, scale, bias, 1e-5f, want, outer, n);
            for (size_t j = 0; j < outer * n; j++) {
                assert_true(close_to(y[j], want[j], 2e-5f * fmaxf(1, fabsf(want[j])) * (n < 4 ? 50 : 1)));
            }
            check_sentinels(y + outer * n, SENTINELS);
            for (size_t o = 0; o < outer; o++) {
                k->layer_norm(x + o * n, scale, bias, 1e-5f, want, 1, n);
                assert_memory_equal(want, y + o * n, n * sizeof(float));
            }
            k->layer_norm(x, scale, bias, 1e-5f, x, outer, n);
            assert_memory_equal(x, y, outer * n * sizeof(float));
            free_floats(x);
            free_floats(y);
            free_floats(want);
            free_floats(scale);
            free_floats(bias);
        }
    }
}

static void check_matmul(const native_kernels *kernels, size_t m, size_t k, size_t n)
{
    const size_t a_stride = k + random_below(3), b_stride = n + random_below(3), y_stride = n + random_below(3);
    float *a = new_floats((m - 1) * a_stride + k, -1, 1), *b = new_floats((k - 1) * b_stride + n, -1, 1);
    float *y = new_output(m * y_stride), *want = new_output(m * y_stride);
    kernels->matmul(a, a_stride, b, b_stride, y, y_stride, m, k, n);
    native_reference()->matmul(a, a_stride, b, b_stride, want, y_stride, m, k, n);
    for (size_t r = 0; r < m; r++) {
        for (size_t j = 0; j < n; j++) {
            const size_t at = r * y_stride + j;
            if (!close_to(y[at], want[at], 2e-6f * (1 + (float)k * 0.3f))) {
                fail_msg("%s matmul (%zu, %zu, %zu): row %zu column %zu: got %.9g, want %.9g", kernels->name, m, k, n,
                         r, j, (double)y[at], (double)want[at]);
            }
        }
        check_sentinels(y + r * y_stride + n, y_stride - n);
        kernels->matmul(a + r * a_stride, a_stride, b, b_stride, want, y_stride, 1, k, n);
        assert_memory_equal(want, y + r * y_stride, n * sizeof(float));
    }
    check_sentinels(y + m * y_stride, SENTINELS);
    free_floats(a);
    free_floats(b);
    free_floats(y);
    free_floats(want);
}

static void test_matmul(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(k)
    {
        for (int i = 0; i < 500; i++) {
            check_matmul(k, 1 + random_below(i % 3 == 0 ? 70 : 9), 1 + random_below(40),
                         1 + random_below(i % 2 == 0 ? 150 : 6));
        }
    }
}

/* --- integers, bools, moves: expected values by hand --- */

static void test_integers(void **unused)
{
    (void)unused;
    const int64_t a[] = {7, -7, 7, -7, INT64_MIN, 5, INT64_MAX, 2}, b[] = {3, 3, -3, -3, -1, 0, 1, -1};
    int64_t y[8];
    native_binary_i64(PLAN_BINARY_div, a, 1, b, 1, y, 8);
    assert_memory_equal(y, ((int64_t[]){2, -2, -2, 2, INT64_MIN, 0, INT64_MAX, -2}), sizeof y);
    native_binary_i64(PLAN_BINARY_mod, a, 1, b, 1, y, 8);
    assert_memory_equal(y, ((int64_t[]){1, 2, -2, -1, 0, 0, 0, 0}), sizeof y);
    native_binary_i64(PLAN_BINARY_fmod, a, 1, b, 1, y, 8);
    assert_memory_equal(y, ((int64_t[]){1, -1, 1, -1, 0, 0, 0, 0}), sizeof y);
    native_binary_i64(PLAN_BINARY_pow, a, 1, b, 1, y, 2);
    assert_memory_equal(y, ((int64_t[]){343, -343}), 2 * sizeof y[0]);
    native_binary_i64(PLAN_BINARY_add, a, 1, b, 0, y, 8);
    assert_int_equal(y[6], INT64_MIN + 2);
    native_unary_i64(PLAN_UNARY_abs, a, y, 8);
    assert_memory_equal(y, ((int64_t[]){7, 7, 7, 7, INT64_MIN, 5, INT64_MAX, 2}), sizeof y);
    native_reduce_i64(PLAN_REDUCE_max, a, y, 2, 2, 2);
    assert_memory_equal(y, ((int64_t[]){7, -7, INT64_MAX, 5}), 4 * sizeof y[0]);
    const int32_t c[] = {3, -4, INT32_MIN, 0};
    int32_t z[4];
    native_unary_i32(PLAN_UNARY_sign, c, z, 4);
    assert_memory_equal(z, ((int32_t[]){1, -1, -1, 0}), sizeof z);
    native_reduce_i32(PLAN_REDUCE_mean, c, z, 2, 2, 1);
    assert_memory_equal(z, ((int32_t[]){0, INT32_MIN / 2}), 2 * sizeof z[0]);
    uint8_t flags[4];
    native_compare_i32(PLAN_BINARY_less, c, 1, c, 0, flags, 4);
    assert_memory_equal(flags, ((uint8_t[]){0, 1, 1, 1}), 4);
    native_not(flags, flags, 4);
    assert_memory_equal(flags, ((uint8_t[]){1, 0, 0, 0}), 4);
    native_logic(PLAN_BINARY_xor, flags, 1, flags, 0, flags, 4);
    assert_memory_equal(flags, ((uint8_t[]){0, 0, 0, 0}), 4);
    native_test(PLAN_UNARY_isinf, (const float[]){1, -INFINITY, NAN, INFINITY}, flags, 4);
    assert_memory_equal(flags, ((uint8_t[]){0, 1, 0, 1}), 4);
    native_test(PLAN_UNARY_isnan, (const float[]){1, -INFINITY, NAN, INFINITY}, flags, 4);
    assert_memory_equal(flags, ((uint8_t[]){0, 0, 1, 0}), 4);
}

static void test_bits(void **unused)
{
    (void)unused;
    const int64_t a[] = {-1, INT64_MIN, 0x123456789abcdef0, 5}, b[] = {63, 1, 64, -1};
    int64_t y[4];
    native_binary_i64(PLAN_BINARY_shift_right, a, 1, b, 1, y, 4);
    assert_memory_equal(y, ((int64_t[]){-1, INT64_MIN / 2, 0, 0}), sizeof y);
    native_binary_i64(PLAN_BINARY_shift_right_zero, a, 1, b, 1, y, 4);
    assert_memory_equal(y, ((int64_t[]){1, INT64_C(1) << 62, 0, 0}), sizeof y);
    native_binary_i64(PLAN_BINARY_shift_left, a, 1, b, 1, y, 4);
    assert_memory_equal(y, ((int64_t[]){INT64_MIN, 0, 0, 0}), sizeof y);
    native_binary_i64(PLAN_BINARY_bit_xor, a, 1, b, 1, y, 4);
    assert_memory_equal(y, ((int64_t[]){-64, INT64_MIN + 1, 0x123456789abcdeb0, -6}), sizeof y);
    const int32_t c[] = {-1, INT32_MIN}, d[] = {31, 32};
    int32_t z[2];
    native_binary_i32(PLAN_BINARY_shift_right, c, 1, d, 1, z, 2);
    assert_memory_equal(z, ((int32_t[]){-1, -1}), sizeof z);
    native_binary_i32(PLAN_BINARY_shift_right_zero, c, 1, d, 1, z, 2);
    assert_memory_equal(z, ((int32_t[]){1, 0}), sizeof z);
    native_binary_i32(PLAN_BINARY_bit_and, c, 1, d, 1, z, 2);
    assert_memory_equal(z, ((int32_t[]){31, 0}), sizeof z);
    native_binary_i32(PLAN_BINARY_bit_or, c, 1, d, 1, z, 2);
    assert_memory_equal(z, ((int32_t[]){-1, INT32_MIN + 32}), sizeof z);
}

static void test_moves(void **unused)
{
    (void)unused;
    const float table[4][3] = {{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9, 10, 11}};
    float y[3][3] = {{0}};
    native_take_rows(table, 12, (const int64_t[]){3, NATIVE_ROW_ZERO, 2}, 3, y, 12);
    assert_memory_equal(y, ((const float[]){9, 10, 11, 0, 0, 0, 6, 7, 8}), sizeof y);
    memset(y, 0, sizeof y);
    native_copy_2d(table, 24, y, 12, 2, 8);
    assert_memory_equal(y, ((const float[]){0, 1, 0, 6, 7, 0, 0, 0, 0}), sizeof y);
}

/* Equal elements in order; NaN above all. */
static void test_top_k(void **unused)
{
    (void)unused;
    int64_t y[6];
    const float x[] = {1, NAN, 3, 3, -INFINITY, NAN, 3};
    native_top_k_f32(x, y, 1, 7, 1, 6, true);
    assert_memory_equal(y, ((const int64_t[]){1, 5, 2, 3, 6, 0}), sizeof y);
    native_top_k_f32(x, y, 1, 7, 1, 6, false);
    assert_memory_equal(y, ((const int64_t[]){4, 0, 2, 3, 6, 1}), sizeof y);
    const int32_t n[] = {5, 1, 5, 9, INT32_MIN, 9}; /* two lines of three, interleaved */
    native_top_k_i32(n, y, 1, 3, 2, 2, true);
    assert_memory_equal(y, ((const int64_t[]){0, 1, 1, 2}), 4 * sizeof y[0]);
    const int64_t wide[] = {INT64_MAX, INT64_MIN, 0, 1};
    native_top_k_i64(wide, y, 2, 2, 1, 1, false);
    assert_memory_equal(y, ((const int64_t[]){1, 0}), 2 * sizeof y[0]);
}

/* Two tables of three rows; nothing is written from the first place that is outside on. */
static void test_batch_gather(void **unused)
{
    (void)unused;
    const float data[2][3][2] = {{{0, 1}, {2, 3}, {4, 5}}, {{6, 7}, {8, 9}, {10, 11}}};
    float y[8] = {0};
    assert_int_equal(native_batch_gather_i64(data, (const int64_t[]){2, -3, 1, -1}, y, 2, 3, 8, 2), 4);
    assert_memory_equal(y, ((const float[]){4, 5, 0, 1, 8, 9, 10, 11}), sizeof y);
    assert_int_equal(native_batch_gather_i32(data, (const int32_t[]){0, 3}, y, 2, 3, 8, 1), 1);
    assert_int_equal(native_batch_gather_i64(data, (const int64_t[]){INT64_MIN, 0}, y, 2, 3, 8, 1), 0);
    assert_int_equal(native_batch_gather_i64(data, (const int64_t[]){-1}, y, 1, 0, 8, 1), 0);
}

int main(void)
{
    find_kernels();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_select),         cmocka_unit_test(test_linear),  cmocka_unit_test(test_linear_bits),
        cmocka_unit_test(test_linear_grouped), cmocka_unit_test(test_unary),   cmocka_unit_test(test_unary_ulps),
        cmocka_unit_test(test_binary),         cmocka_unit_test(test_softmax), cmocka_unit_test(test_reduce),
        cmocka_unit_test(test_layer_norm),     cmocka_unit_test(test_matmul),  cmocka_unit_test(test_integers),
        cmocka_unit_test(test_moves),          cmocka_unit_test(test_top_k),   cmocka_unit_test(test_batch_gather),
        cmocka_unit_test(test_bits),
    };
    return cmocka_run_group_tests_name("native", tests, NULL, NULL);
}
