/* Layers that leave out zeros of their rows (`finite`), on every ISA that this machine has: against the reference loops, and bit
 * for bit against the same layer that multiplies them, at random shapes, strides and shares of zeros, with NaN, infinities,
 * zeros of either sign and numbers whose products underflow; a row gives the same bits whatever stands beside it. */
#include "tests/unit/native_helpers.h"

typedef struct layer {
    native_linear call;
    float *x, *y, *w, *bias, *start;
    int32_t *start_rows;
} layer;

static float *new_panels(size_t k, size_t n, float range)
{
    const size_t count = native_panels(k, n);
    float *data = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64 + 64);
    assert_non_null(data);
    for (size_t i = 0; i < count; i++) {
        const size_t column = i / (PLAN_PANEL * k) * PLAN_PANEL + i % PLAN_PANEL;
        data[i] = column < n ? random_float(-range, range) : 0;
    }
    return data;
}

static float some_value(bool wild)
{
    static const float values[] = {-0.0f, 1e-38f, -1e-38f, 1e-42f, -1e-45f, 1e-30f, 3e38f, -3e38f, INFINITY, NAN};
    const bool special = wild && random_below(40) == 0;
    return special ? values[random_below(sizeof values / sizeof values[0])] : random_float(-1, 1);
}

/* Each 64 columns of x have a share of zeros of their own, up to all of them; so have some rows. */
static void fill_rows(float *x, size_t x_stride, size_t rows, size_t k, bool wild)
{
    unsigned shares[64] = {0};
    for (size_t s = 0; s < 64; s++) {
        static const unsigned some[] = {0, 10, 50, 80, 100};
        shares[s] = some[random_below(5)];
    }
    for (size_t r = 0; r < rows; r++) {
        const bool empty = random_below(20) == 0;
        for (size_t i = 0; i < k; i++) {
            const bool zero = empty || random_below(100) < shares[i / 64 % 64];
            x[r * x_stride + i] = !zero ? some_value(wild) : random_below(4) == 0 ? -0.0f : 0.0f;
        }
    }
}

static layer new_layer(size_t rows, size_t k, size_t n, bool wild)
{
    static const plan_unary acts[] = {PLAN_UNARY_none, PLAN_UNARY_relu, PLAN_UNARY_relu, PLAN_UNARY_sigmoid};
    layer l = {.call = {.rows = rows, .k = k, .n = n, .finite = true}};
    native_linear *c = &l.call;
    c->act = acts[random_below(4)];
    c->x_stride = k + random_below(3);
    c->y_stride = n + random_below(4);
    if (n > PLAN_PANEL && random_below(4) == 0) {
        c->act_columns = PLAN_PANEL * (1 + random_below(n / PLAN_PANEL));
    }
    l.x = new_floats(rows > 0 ? (rows - 1) * c->x_stride + k : 0, -1, 1);
    fill_rows(l.x, c->x_stride, rows, k, wild);
    l.w = new_panels(k, n, wild && random_below(3) == 0 ? 1e-38f : 1);
    l.bias = random_below(3) == 0 ? NULL : new_panels(1, n, 1);
    for (size_t j = 0; l.bias != NULL && j < n; j++) {
        l.bias[j] = wild && random_below(2) == 0 ? -0.0f : l.bias[j];
    }
    if (random_below(2) == 0) { /* what sums begin with: one for all rows, one a row, or one a user */
        enum { USERS = 3 };
        c->start_stride = random_below(3) == 0 ? 0 : n + random_below(4);
        l.start = new_floats((rows + USERS) * c->start_stride + n, -1, 1);
        l.start_rows = random_below(2) == 0 ? malloc(rows * sizeof(int32_t) + 1) : NULL;
        for (size_t r = 0; l.start_rows != NULL && r < rows; r++) {
            l.start_rows[r] = (int32_t)random_below(USERS);
        }
        c->start = l.start;
        c->start_rows = l.start_rows;
    }
    l.y = new_output(rows * c->y_stride);
    c->x = l.x;
    c->w = l.w;
    c->bias = l.bias;
    c->y = l.y;
    return l;
}

static void free_layer(layer *l)
{
    free_floats(l->x);
    free_floats(l->y);
    free(l->w);
    free(l->bias);
    free_floats(l->start);
    free(l->start_rows);
}

static bool same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b)); /* which of two NaN survives is nobody's concern */
}

/* `l` has run. */
static void check_against_dense(const native_kernels *k, const layer *l)
{
    const native_linear *c = &l->call;
    native_linear dense = *c;
    dense.finite = false;
    dense.y = new_output(c->rows * c->y_stride);
    k->linear(&dense);
    for (size_t r = 0; r < c->rows; r++) {
        const size_t at = r * c->y_stride;
        for (size_t j = 0; j < c->n; j++) {
            if (!same_bits(c->y[at + j], dense.y[at + j])) {
                fail_msg("%s %zux%zux%zu act %d: row %zu column %zu: got %.9g (%a), with all products %.9g (%a)",
                         k->name, c->rows, c->k, c->n, (int)c->act, r, j, (double)c->y[at + j], (double)c->y[at + j],
                         (double)dense.y[at + j], (double)dense.y[at + j]);
            }
        }
        check_sentinels(c->y + at + c->n, c->y_stride - c->n);
    }
    check_sentinels(c->y + c->rows * c->y_stride, SENTINELS);
    free_floats(dense.y);
}

static void check_against_reference(const native_kernels *k, const layer *l)
{
    const native_linear *c = &l->call;
    native_linear want = *c;
    want.y = new_output(c->rows * c->y_stride);
    native_reference()->linear(&want);
    for (size_t r = 0; r < c->rows; r++) {
        for (size_t j = 0; j < c->n; j++) {
            const size_t at = r * c->y_stride + j;
            if (!close_to(c->y[at], want.y[at], 2e-6f * (4 + (float)c->k * 0.3f))) {
                fail_msg("%s %zux%zux%zu act %d: row %zu column %zu: got %.9g, want %.9g", k->name, c->rows, c->k, c->n,
                         (int)c->act, r, j, (double)c->y[at], (double)want.y[at]);
            }
        }
    }
    free_floats(want.y);
}

static void test_zeros(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(k)
    {
        for (int i = 0; i < 400; i++) {
            const bool wild = i % 2 != 0;
            const size_t deep = i % 8 < 6 ? 200 : 700;
            layer l =
                new_layer(random_below(i % 10 == 0 ? 90 : 20), 1 + random_below(deep), 1 + random_below(300), wild);
            k->linear(&l.call);
            check_against_dense(k, &l);
            if (!wild) {
                check_against_reference(k, &l);
            }
            free_layer(&l);
        }
        /* More rows than the stack has words for, more k than a part, and than there are words. */
        static const size_t large[][3] = {{700, 100, 70}, {1500, 40, 64}, {70, 2050, 100}, {3, 70000, 80}, {5, 0, 80}};
        for (size_t i = 0; i < sizeof large / sizeof large[0]; i++) {
            layer l = new_layer(large[i][0], large[i][1], large[i][2], false);
            k->linear(&l.call);
            check_against_dense(k, &l);
            free_layer(&l);
        }
    }
}

/* A row's result is that of the row alone, at any count and position. */
static void test_zeros_bits(void **unused)
{
    (void)unused;
    enum { ROWS = 131 };
    FOR_EACH_ISA(k)
    {
        for (int s = 0; s < 12; s++) {
            layer l = new_layer(ROWS, 1 + random_below(300), 49 + random_below(150), s % 2 != 0);
            const native_linear *c = &l.call;
            k->linear(c);
            for (int t = 0; t < 25; t++) {
                const size_t first = random_below(ROWS), rows = 1 + random_below(ROWS - first);
                native_linear part = *c;
                part.x += first * c->x_stride;
                part.rows = rows;
                if (part.start_rows != NULL) {
                    part.start_rows += first;
                } else if (part.start != NULL) {
                    part.start += first * part.start_stride;
                }
                part.y_stride = part.n;
                part.y = new_output(rows * part.n);
                k->linear(&part);
                for (size_t i = 0; i < rows * c->n; i++) {
                    assert_true(same_bits(part.y[i], c->y[(first + i / c->n) * c->y_stride + i % c->n]));
                }
                free_floats(part.y);
            }
            free_layer(&l);
        }
    }
}

int main(void)
{
    find_kernels();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_zeros_bits),
    };
    return cmocka_run_group_tests_name("native zeros", tests, NULL, NULL);
}
