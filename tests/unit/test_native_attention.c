/* The attention kernel of every ISA that this machine has, against the reference loops at random odd shapes, strides, masks
 * and extreme values; rows and queries that are equal give equal bits. */
#include "tests/unit/native_helpers.h"

typedef struct problem {
    native_attention call;
    float *q, *k, *v, *bias, *y;
    uint8_t *keep;
} problem;

static size_t row_of(size_t positions, size_t step)
{
    return random_below(4) == 0 ? 0 : positions * step + random_below(4);
}

static size_t floats_of(size_t rows, size_t row, size_t positions, size_t step)
{
    return (rows - 1) * row + positions * step;
}

/* The strides of a mask that has each axis or one for all; returns its elements. */
static size_t mask_strides(const native_attention *c, size_t *row, size_t *head, size_t *query)
{
    size_t count = c->keys;
    *query = random_below(2) == 0 ? 0 : c->keys;
    count *= *query != 0 ? c->queries : 1;
    *head = random_below(2) == 0 ? 0 : count;
    count *= *head != 0 ? c->heads : 1;
    *row = random_below(3) == 0 ? 0 : count;
    return count * (*row != 0 ? c->rows : 1);
}

static problem new_problem(bool large)
{
    problem p = {.call = {
                     .rows = 1 + random_below(6),
                     .heads = 1 + random_below(5),
                     .queries = 1 + random_below(large ? 150 : 25),
                     .keys = 1 + random_below(large ? NATIVE_ATTENTION_KEYS : 60),
                     .width = 1 + random_below(large ? NATIVE_ATTENTION_WIDTH : 20),
                     .value_width = 1 + random_below(large ? 100 : 33),
                     .fill = random_below(2) == 0 ? -INFINITY : -1e9f,
                     .empty = (native_empty)random_below(3),
                 }};
    native_attention *c = &p.call;
    c->scale = 1 / sqrtf((float)c->width);
    c->q_step = c->heads * c->width + random_below(5);
    c->k_step = c->heads * c->width + random_below(5);
    c->v_step = c->heads * c->value_width + random_below(5);
    c->y_step = c->heads * c->value_width;
    c->q_row = row_of(c->queries, c->q_step);
    c->k_row = row_of(c->keys, c->k_step);
    c->v_row = row_of(c->keys, c->v_step);
    c->y_row = c->queries * c->y_step + random_below(3);
    c->q = p.q = new_floats(floats_of(c->rows, c->q_row, c->queries, c->q_step), -2, 2);
    c->k = p.k = new_floats(floats_of(c->rows, c->k_row, c->keys, c->k_step), -2, 2);
    c->v = p.v = new_floats(floats_of(c->rows, c->v_row, c->keys, c->v_step), -1, 1);
    c->y = p.y = new_output(c->rows * c->y_row);
    if (random_below(2) == 0) {
        c->bias = p.bias = new_floats(mask_strides(c, &c->bias_row, &c->bias_head, &c->bias_query), -3, 3);
    }
    if (random_below(2) == 0) {
        const size_t count = mask_strides(c, &c->keep_row, &c->keep_head, &c->keep_query);
        c->keep = p.keep = malloc(count);
        assert_non_null(p.keep);
        for (size_t i = 0; i < count; i++) {
            p.keep[i] = random_below(3) != 0;
        }
        if (random_below(2) == 0) {
            memset(p.keep, 0, c->keys < count ? c->keys : count); /* a query without keys */
        }
    }
    return p;
}

static void free_problem(problem *p)
{
    free_floats(p->q);
    free_floats(p->k);
    free_floats(p->v);
    free_floats(p->bias);
    free_floats(p->y);
    free(p->keep);
}

static void make_wild(problem *p)
{
    static const float numbers[] = {INFINITY, -INFINITY, NAN, 1e30f, -1e30f};
    const float number = numbers[random_below(5)];
    if (p->bias != NULL) {
        p->bias[random_below(p->call.keys)] = number;
    } else {
        p->k[random_below(p->call.width)] = number;
    }
}

static void check_problem(const native_kernels *k, const problem *p)
{
    const native_attention *c = &p->call;
    native_attention want = *c;
    float *y = want.y = new_output(c->rows * c->y_row);
    k->attention(c);
    native_reference()->attention(&want);
    const size_t row = c->queries * c->y_step;
    for (size_t r = 0; r < c->rows; r++) {
        for (size_t i = 0; i < row; i++) {
            const float got = c->y[r * c->y_row + i];
            if (!close_to(got, y[r * c->y_row + i], 2e-5f)) {
                fail_msg("%s: %zu heads, %zu queries, %zu keys, %zu, %zu, empty %d: row %zu element %zu: got %.9g, "
                         "want %.9g",
                         k->name, c->heads, c->queries, c->keys, c->width, c->value_width, (int)c->empty, r, i,
                         (double)got, (double)y[r * c->y_row + i]);
            }
        }
        check_sentinels(c->y + r * c->y_row + row, c->y_row - row);
    }
    check_sentinels(c->y + c->rows * c->y_row, SENTINELS);
    free_floats(y);
}

/* Any rows of it by themselves. */
static void check_bits(const native_kernels *k, const problem *p)
{
    const native_attention *c = &p->call;
    const size_t row = c->queries * c->y_step;
    for (int i = 0; i < 4; i++) {
        const size_t first = random_below(c->rows);
        native_attention part = *c;
        part.rows = 1 + random_below(c->rows - first);
        part.q += first * c->q_row;
        part.k += first * c->k_row;
        part.v += first * c->v_row;
        part.bias = c->bias != NULL ? c->bias + first * c->bias_row : NULL;
        part.keep = c->keep != NULL ? c->keep + first * c->keep_row : NULL;
        part.y_row = row;
        float *y = part.y = new_output(part.rows * row);
        k->attention(&part);
        for (size_t r = 0; r < part.rows; r++) {
            assert_memory_equal(y + r * row, c->y + (first + r) * c->y_row, row * sizeof(float));
        }
        free_floats(y);
    }
}

static void run(int count, bool large)
{
    FOR_EACH_ISA(k)
    {
        for (int i = 0; i < count; i++) {
            problem p = new_problem(large);
            bool wild = i % 7 == 0;
            if (wild) {
                make_wild(&p);
            }
            check_problem(k, &p);
            if (!wild) {
                check_bits(k, &p);
            }
            free_problem(&p);
        }
    }
}

static void test_attention(void **unused)
{
    (void)unused;
    run(600, false);
}

static void test_attention_large(void **unused)
{
    (void)unused;
    run(12, true);
}

/* A query is the same at every place among others, in whatever block it falls. */
static void test_equal_queries(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(k)
    {
        for (int i = 0; i < 50; i++) {
            problem p = new_problem(false);
            native_attention *c = &p.call;
            c->bias = NULL;
            c->keep = NULL;
            for (size_t r = 0; r < c->rows; r++) {
                for (size_t q = 1; q < c->queries; q++) {
                    memcpy(p.q + r * c->q_row + q * c->q_step, p.q + r * c->q_row, c->heads * c->width * sizeof(float));
                }
            }
            k->attention(c);
            for (size_t r = 0; r < c->rows; r++) {
                for (size_t q = 1; q < c->queries; q++) {
                    assert_memory_equal(c->y + r * c->y_row + q * c->y_step, c->y + r * c->y_row,
                                        c->y_step * sizeof(float));
                }
            }
            free_problem(&p);
        }
    }
}

int main(void)
{
    find_kernels();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_attention_large),
        cmocka_unit_test(test_equal_queries),
    };
    return cmocka_run_group_tests_name("native attention", tests, NULL, NULL);
}
