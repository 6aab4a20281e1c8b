/* The kernel gru of every ISA that this machine has, against the reference loops at random odd shapes, strides, states and
 * directions; a row gives the same bits whatever stands beside it. */
#include "tests/unit/native_helpers.h"

typedef struct layer {
    native_gru call;
    float *p, *h, *y, *r, *bias;
} layer;

/* Panels and biases are aligned to 64 and padded by zeros. */
static float *new_panels(size_t groups, size_t k, size_t n, float range)
{
    const size_t count = groups * native_panels(k, n);
    float *data = aligned_alloc(64, (count * sizeof(float) + 63) / 64 * 64);
    assert_non_null(data);
    for (size_t i = 0; i < count; i++) {
        const size_t column = i % native_panels(k, n) / (PLAN_PANEL * k) * PLAN_PANEL + i % PLAN_PANEL;
        data[i] = column < n ? random_float(-range, range) : 0;
    }
    return data;
}

static layer new_layer(size_t rows, size_t steps, size_t hidden)
{
    layer l = {.call = {.rows = rows, .steps = steps, .hidden = hidden, .reverse = random_below(2) != 0}};
    native_gru *c = &l.call;
    c->p_stride = steps * 3 * hidden + (random_below(2) != 0 ? random_below(9) : 0);
    c->y_stride = steps * hidden + (random_below(2) != 0 ? random_below(9) : 0);
    c->h_stride = hidden + random_below(4);
    l.p = new_floats((rows - 1) * c->p_stride + steps * 3 * hidden, -2, 2);
    l.y = new_output(rows * c->y_stride);
    l.r = new_panels(3, hidden, hidden, 1.5f / sqrtf((float)hidden));
    l.bias = random_below(3) != 0 ? new_panels(1, 1, hidden, 1) : NULL;
    l.h = random_below(2) != 0 ? new_floats((rows - 1) * c->h_stride + hidden, -1, 1) : NULL;
    c->p = l.p;
    c->r = l.r;
    c->bias = l.bias;
    c->h = l.h;
    c->y = l.y;
    return l;
}

static void free_layer(layer *l)
{
    free_floats(l->p);
    free_floats(l->h);
    free_floats(l->y);
    free(l->r);
    free(l->bias);
}

static void check_against_reference(const native_kernels *k, const layer *l)
{
    const native_gru *c = &l->call;
    const size_t width = c->steps * c->hidden;
    native_gru want = *c;
    want.y = new_output(c->rows * c->y_stride);
    k->gru(c);
    native_reference()->gru(&want);
    for (size_t row = 0; row < c->rows; row++) {
        const size_t at = row * c->y_stride;
        for (size_t i = 0; i < width; i++) {
            if (!close_to(c->y[at + i], want.y[at + i], 3e-6f)) {
                fail_msg("%s gru (%zu rows, %zu steps of %zu): row %zu element %zu: got %.9g, want %.9g", k->name,
                         c->rows, c->steps, c->hidden, row, i, (double)c->y[at + i], (double)want.y[at + i]);
            }
        }
        check_sentinels(c->y + at + width, c->y_stride - width);
    }
    check_sentinels(c->y + c->rows * c->y_stride, SENTINELS);
    free_floats(want.y);
}

static void check_bits(const native_kernels *k, const layer *l)
{
    const native_gru *c = &l->call;
    for (int i = 0; i < 4; i++) {
        const size_t first = random_below(c->rows);
        native_gru part = *c;
        part.rows = 1 + random_below(c->rows - first);
        part.p += first * part.p_stride;
        part.h = part.h != NULL ? part.h + first * part.h_stride : NULL;
        part.y_stride = c->steps * c->hidden;
        part.y = new_output(part.rows * part.y_stride);
        k->gru(&part);
        for (size_t row = 0; row < part.rows; row++) {
            assert_memory_equal(part.y + row * part.y_stride, c->y + (first + row) * c->y_stride,
                                part.y_stride * sizeof(float));
        }
        free_floats(part.y);
    }
}

static void test_random_shapes(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(k)
    {
        for (int i = 0; i < 300; i++) {
            const size_t rows = 1 + random_below(i % 4 == 0 ? 70 : 12), steps = 1 + random_below(i % 5 == 0 ? 20 : 5);
            layer l = new_layer(rows, steps, 1 + random_below(i % 3 == 0 ? 150 : 40));
            check_against_reference(k, &l);
            check_bits(k, &l);
            free_layer(&l);
        }
    }
}

/* Gates that are shut or open, and a state that is not a number: in its row, from its step on. */
static void test_limits(void **unused)
{
    (void)unused;
    enum { HIDDEN = 19, ROWS = 3 };
    FOR_EACH_ISA(k)
    {
        layer l = new_layer(ROWS, 2, HIDDEN);
        l.call.reverse = false;
        l.call.h = NULL;
        for (size_t i = 0; i < HIDDEN; i++) {
            l.p[i] = 200;                                                 /* z: the state stays, zero */
            l.p[l.call.p_stride + i] = -200;                              /* z of row 1: the candidate */
            l.p[l.call.p_stride + 2 * HIDDEN + i] = i % 2 ? 200 : -200;   /* which is 1 or -1 */
            l.p[2 * l.call.p_stride + 3 * HIDDEN + i] = i == 7 ? NAN : 0; /* z of row 2, step 1 */
        }
        k->gru(&l.call);
        for (size_t i = 0; i < HIDDEN; i++) {
            assert_true(fabsf(l.call.y[i]) < 1e-15f);
            assert_true(fabsf(l.call.y[l.call.y_stride + i] - (i % 2 ? 1.0f : -1.0f)) < 1e-6f);
            assert_true(isnan(l.call.y[2 * l.call.y_stride + HIDDEN + i]) == (i == 7));
            assert_false(isnan(l.call.y[2 * l.call.y_stride + i]));
        }
        free_layer(&l);
    }
}

static void test_nothing_to_do(void **unused)
{
    (void)unused;
    float y[] = {1, 2};
    FOR_EACH_ISA(k)
    {
        k->gru(&(native_gru){.y = y, .rows = 0, .steps = 1, .hidden = 2});
        k->gru(&(native_gru){.y = y, .rows = 2, .steps = 0, .hidden = 2});
        assert_true(y[0] == 1 && y[1] == 2);
    }
}

int main(void)
{
    find_kernels();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_nothing_to_do),
    };
    return cmocka_run_group_tests_name("native gru", tests, NULL, NULL);
}
