/* The generated tables of the standard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "onnx/schema.h"

static const onnx_schema *find(const char *name, int64_t opset)
{
    int32_t known;
    return onnx_schema_find("", name, opset, &known);
}

static void test_versions(void **state)
{
    (void)state;
    assert_int_equal(find("Softmax", 11)->since, 11);
    assert_int_equal(find("Softmax", 12)->since, 11);
    assert_int_equal(find("Softmax", 13)->since, 13);
    assert_int_equal(find("Softmax", 1000)->since, 13);
    assert_int_equal(find("Relu", 13)->since, 13);
    int32_t known = -1;
    assert_null(onnx_schema_find("", "Gelu", 19, &known));
    assert_int_equal(known, 20);
    assert_null(onnx_schema_find("", "Frobnicate", 19, &known));
    assert_int_equal(known, 0);
    assert_null(onnx_schema_find("com.microsoft", "Gelu", 1, &known));
    assert_non_null(onnx_schema_find("ai.onnx.ml", "Scaler", 1, &known));
    assert_true(onnx_schema_newest_opset >= 28);
}

static void test_order(void **state)
{
    (void)state;
    for (size_t i = 1; i < onnx_schema_count; i++) {
        const onnx_schema *a = &onnx_schemas[i - 1], *b = &onnx_schemas[i];
        int order = strcmp(a->domain, b->domain);
        order = order != 0 ? order : strcmp(a->name, b->name);
        assert_true(order < 0 || (order == 0 && a->since < b->since));
        assert_true(b->attr_count == 0 || b->attrs != NULL);
        assert_true(b->max_inputs == 0 || b->input_count > 0);
    }
}

static void test_attributes(void **state)
{
    (void)state;
    const onnx_schema *gemm = find("Gemm", 13);
    const onnx_schema_attr *alpha = onnx_schema_attr_find(gemm, "alpha");
    assert_int_equal(alpha->type, ONNX_ATTR_FLOAT);
    assert_true(alpha->has_default && !alpha->required && alpha->f == 1.0);
    assert_true(onnx_schema_attr_find(find("Concat", 13), "axis")->required);
    assert_int_equal(onnx_schema_attr_find(find("Softmax", 12), "axis")->i, 1);
    assert_int_equal(onnx_schema_attr_find(find("Softmax", 13), "axis")->i, -1);
    assert_string_equal(onnx_schema_attr_find(find("Gelu", 20), "approximate")->s, "none");
    assert_true(onnx_schema_attr_find(find("Selu", 6), "alpha")->f == (double)1.6732631921768188f);
    assert_null(onnx_schema_attr_find(gemm, "gamma"));
}

static void test_operands(void **state)
{
    (void)state;
    const onnx_schema *gemm = find("Gemm", 13);
    assert_int_equal(gemm->min_inputs, 2);
    assert_int_equal(gemm->max_inputs, 3);
    assert_int_equal(onnx_schema_input(gemm, 2)->option, ONNX_OPTIONAL);
    assert_int_equal(onnx_schema_input(gemm, 0)->variable, onnx_schema_output(gemm, 0)->variable);
    assert_true(onnx_schema_input(gemm, 0)->types >> 1 & 1);  /* float */
    assert_false(onnx_schema_input(gemm, 0)->types >> 3 & 1); /* int8 */
    const onnx_schema *concat = find("Concat", 13);
    assert_int_equal(concat->max_inputs, INT32_MAX);
    assert_int_equal(onnx_schema_input(concat, 99)->option, ONNX_VARIADIC);
    assert_null(onnx_schema_input(find("Constant", 13), 0));
}

static void test_domains(void **state)
{
    (void)state;
    assert_string_equal(onnx_domain(NULL), "");
    assert_string_equal(onnx_domain("ai.onnx"), "");
    assert_string_equal(onnx_domain("ai.onnx.ml"), "ai.onnx.ml");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions), cmocka_unit_test(test_order),   cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_operands), cmocka_unit_test(test_domains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
