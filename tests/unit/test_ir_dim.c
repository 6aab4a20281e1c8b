/* ir/dim.c: linear expressions, against brute force over small numbers, and at the edges of int64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ir/dim.h"

static ir_dim linear(int64_t c, int64_t k0, int64_t k1)
{
    return (ir_dim){.c = c, .k = {k0, k1}};
}

static int64_t at(ir_dim dim, int64_t s0, int64_t s1)
{
    int64_t symbols[IR_MAX_SYMBOLS] = {s0, s1, 1, 1}, number = -999999;
    assert_true(ir_dim_eval(dim, symbols, &number));
    return number;
}

static void test_arithmetic(void **state)
{
    (void)state;
    for (int64_t i = 0; i < 7 * 7 * 7; i++) {
        ir_dim a = linear(i % 7 - 3, i / 7 % 7 - 3, i / 49 - 3);
        for (int64_t j = 0; j < 7 * 7 * 7; j++) {
            ir_dim b = linear(j % 7 - 3, j / 7 % 7 - 3, j / 49 - 3), r;
            assert_true(ir_dim_add(a, b, &r));
            assert_int_equal(at(r, 5, 11), at(a, 5, 11) + at(b, 5, 11));
            assert_true(ir_dim_sub(a, b, &r));
            assert_int_equal(at(r, 5, 11), at(a, 5, 11) - at(b, 5, 11));
            if (ir_dim_mul(a, b, &r)) {
                assert_int_equal(at(r, 5, 11), at(a, 5, 11) * at(b, 5, 11));
            } else {
                assert_false(ir_dim_is_const(a) || ir_dim_is_const(b));
            }
            if (ir_dim_div(a, b, &r)) {
                ir_dim product;
                assert_true(ir_dim_mul(b, r, &product));
                assert_true(ir_dim_equal(product, a));
            }
        }
    }
}

static void test_compare(void **state)
{
    (void)state;
    for (int64_t i = 0; i < 9 * 9 * 9; i++) {
        ir_dim a = linear(i % 9 - 4, i / 9 % 9 - 4, i / 81 - 4);
        int order = 77, seen = 0; /* bits: less, equal, greater */
        for (int64_t s = 1; s < 12; s++) {
            for (int64_t t = 1; t < 12; t++) {
                int64_t difference = at(a, s, t);
                seen |= difference < 0 ? 1 : difference == 0 ? 2 : 4;
            }
        }
        if (ir_dim_compare(a, ir_dim_const(0), &order)) {
            assert_int_equal(seen, order < 0 ? 1 : order == 0 ? 2 : 4);
        } else {
            assert_int_not_equal(seen & (seen - 1), 0); /* it really depends on the symbols */
        }
    }
}

static void test_division(void **state)
{
    (void)state;
    ir_dim r;
    assert_true(ir_dim_div(linear(8, 4, 0), ir_dim_const(4), &r) && ir_dim_equal(r, linear(2, 1, 0)));
    assert_true(ir_dim_div(linear(8, 4, 0), linear(2, 1, 0), &r) && ir_dim_is(r, 4));
    assert_false(ir_dim_div(linear(9, 4, 0), linear(2, 1, 0), &r));
    assert_false(ir_dim_div(linear(0, 4, 0), ir_dim_const(0), &r));
    assert_false(ir_dim_div(linear(0, 3, 0), ir_dim_const(2), &r));
    assert_true(ir_dim_div(ir_dim_const(0), linear(0, 1, 0), &r) && ir_dim_is(r, 0));
}

static void test_overflow(void **state)
{
    (void)state;
    ir_dim large = ir_dim_const(INT64_MAX), small = ir_dim_const(INT64_MIN), r;
    int64_t number, symbols[IR_MAX_SYMBOLS] = {3, 1, 1, 1};
    int order;
    assert_false(ir_dim_add(large, ir_dim_const(1), &r));
    assert_false(ir_dim_sub(small, ir_dim_const(1), &r));
    assert_false(ir_dim_mul(large, linear(0, 2, 0), &r));
    assert_false(ir_dim_div(small, ir_dim_const(-1), &r));
    assert_false(ir_dim_div(linear(0, INT64_MIN, 0), linear(0, -1, 0), &r));
    assert_false(ir_dim_compare(small, ir_dim_const(1), &order));
    assert_false(ir_dim_eval(linear(0, INT64_MAX, 0), symbols, &number));
    assert_false(ir_dim_eval(linear(INT64_MAX, 1, 0), symbols, &number));
}

static void test_text(void **state)
{
    (void)state;
    base_arena arena = {0};
    ir_symbols symbols = {.name = {"B", "seq len"}, .count = 2};
    static const struct {
        ir_dim dim;
        const char *text;
    } cases[] = {
        {{.c = 512}, "512"},
        {{.c = 0}, "0"},
        {{.k = {1}}, "B"},
        {{.c = 1, .k = {4}}, "4*B+1"},
        {{.c = -3, .k = {-1, 2}}, "-B+2*\"seq len\"-3"},
        {{.c = INT64_MIN, .k = {1, -1}}, "B-\"seq len\"-9223372036854775808"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(ir_dim_text(cases[i].dim, &symbols, &arena), cases[i].text);
    }
    base_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arithmetic), cmocka_unit_test(test_compare), cmocka_unit_test(test_division),
        cmocka_unit_test(test_overflow),   cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
