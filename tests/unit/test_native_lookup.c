/* From ids to rows whatever the policy, and sums and maxima of rows of every ISA against the reference. */
#include "tests/unit/native_helpers.h"

enum { MOST_ROWS_OF_BAG = 40, MOST_K = 150 };

static native_lookup policy_of(plan_ids policy, int64_t count)
{
    return (native_lookup){.row_bytes = 12, .count = count, .policy = policy, .row = 2};
}

static void test_policies(void **unused)
{
    (void)unused;
    const int64_t ids[] = {0, 3, -1, -4, -5, 4, INT64_MIN, INT64_MAX};
    static const struct {
        plan_ids policy;
        size_t found; /* of the eight */
        uint64_t outside;
        int64_t rows[8];
    } cases[] = {
        {PLAN_IDS_onnx, 4, 0, {0, 3, 3, 0}},
        {PLAN_IDS_error, 2, 0, {0, 3}},
        {PLAN_IDS_clamp, 8, 6, {0, 3, 0, 0, 0, 3, 0, 3}},
        {PLAN_IDS_zero, 8, 6, {0, 3, -1, -1, -1, -1, -1, -1}},
        {PLAN_IDS_row, 8, 6, {0, 3, 2, 2, 2, 2, 2, 2}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t rows[8];
        uint64_t outside = 0;
        native_lookup lookup = policy_of(cases[i].policy, 4);
        assert_int_equal(native_find_rows(&lookup, ids, 8, rows, &outside), cases[i].found);
        assert_memory_equal(rows, cases[i].rows, cases[i].found * sizeof rows[0]);
        assert_int_equal(outside, cases[i].outside);
    }
    int64_t row;
    uint64_t outside = 0;
    for (int policy = PLAN_IDS_onnx; policy <= PLAN_IDS_zero; policy++) { /* a table without rows */
        native_lookup empty = policy_of((plan_ids)policy, 0);
        if (policy != PLAN_IDS_clamp) {
            assert_int_equal(native_find_rows(&empty, ids + 2, 1, &row, &outside), policy == PLAN_IDS_zero);
        }
    }
}

/* A table, some of its rows, and what they came to before. */
typedef struct bag_case {
    float *table, *weights, *before;
    int64_t rows[MOST_ROWS_OF_BAG];
    native_bag call;
} bag_case;

static bag_case new_case(size_t table_rows, size_t k, bool with_extremes)
{
    bag_case c = {.table = new_floats(table_rows * k, -2, 2),
                  .weights = new_floats(MOST_ROWS_OF_BAG, -1, 1),
                  .before = new_floats(k, -2, 2)};
    c.call = (native_bag){.k = k, .n = random_below(MOST_ROWS_OF_BAG), .max = random_below(3) == 0};
    for (size_t i = 0; i < c.call.n; i++) {
        c.rows[i] = random_below(8) == 0 ? NATIVE_ROW_ZERO : (int64_t)random_below(table_rows);
    }
    for (size_t i = 0; with_extremes && c.call.max && i < table_rows * k; i += 1 + random_below(40)) {
        c.table[i] = extremes[random_below(EXTREMES)];
    }
    c.call.resume = random_below(2) == 0;
    c.call.filled = c.call.max && random_below(2) == 0;
    c.call.fill = -1e9f;
    return c;
}

static void free_case(bag_case *c)
{
    free_floats(c->table);
    free_floats(c->weights);
    free_floats(c->before);
}

static void run_bag(const native_kernels *k, bag_case *c, bool weights, float *y)
{
    memcpy(y, c->before, c->call.k * sizeof *y);
    c->call.table = c->table;
    c->call.rows = c->rows;
    c->call.weights = weights && !c->call.max ? c->weights : NULL;
    c->call.y = y;
    k->bag(&c->call);
    check_sentinels(y + c->call.k, SENTINELS);
}

static void test_bag(void **unused)
{
    (void)unused;
    for (int i = 0; i < 600; i++) {
        size_t k = 1 + random_below(MOST_K);
        bag_case c = new_case(1 + random_below(20), k, i % 3 == 0);
        float *got = new_output(k), *want = new_output(k);
        run_bag(native_reference(), &c, i % 2 == 0, want);
        FOR_EACH_ISA(kernels)
        {
            run_bag(kernels, &c, i % 2 == 0, got);
            for (size_t j = 0; j < k; j++) {
                /* A largest number is one of them; sums of ordinary ones are rounded differently. */
                if (!close_to(got[j], want[j], c.call.max ? 0 : 1e-4f)) {
                    fail_msg("%s: k %zu n %zu: column %zu is %.9g, expected %.9g", kernels->name, k, c.call.n, j,
                             (double)got[j], (double)want[j]);
                }
            }
        }
        free_floats(got);
        free_floats(want);
        free_case(&c);
    }
}

/* The bits of a column depend neither on its place nor on how rows are cut into calls that resume. */
static void test_bits(void **unused)
{
    (void)unused;
    FOR_EACH_ISA(kernels)
    {
        for (int i = 0; i < 200; i++) {
            size_t k = 1 + random_below(MOST_K);
            bag_case c = new_case(1 + random_below(20), k, false);
            float *whole = new_output(k), *parts = new_output(k);
            run_bag(kernels, &c, i % 2 == 0, whole);
            size_t n = c.call.n, cut = random_below(n + 1);
            c.call.n = cut;
            run_bag(kernels, &c, i % 2 == 0, parts);
            c.call.rows += cut;
            c.call.weights = c.call.weights != NULL ? c.call.weights + cut : NULL;
            c.call.n = n - cut;
            c.call.resume = true;
            c.call.filled = false;
            kernels->bag(&c.call);
            assert_memory_equal(whole, parts, k * sizeof *whole);
            free_floats(whole);
            free_floats(parts);
            free_case(&c);
        }
    }
}

int main(void)
{
    find_kernels();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_bag),
        cmocka_unit_test(test_bits),
    };
    return cmocka_run_group_tests_name("native lookup", tests, NULL, NULL);
}
