#define _POSIX_C_SOURCE 200809L /* posix_memalign */
/* What is built is what was meant: records, sharing, packing, names, costs, and the shapes that each op accepts. */
#include "plan_fixture.h"

#include <ctype.h>
#include <stdio.h>

static void a_plan_is_read_back(void **state)
{
    (void)state;
    size_t size;
    mtl_error error;
    base_diag diag = {.error = &error};
    plan_view view;
    unsigned char *file = fixture_plan(&size);
    assert_int_equal(plan_check(file, size, false, &diag, &view), MTL_OK);
    assert_int_equal(view.tensor_count, T_OUT_EXPERTS + 1);
    assert_int_equal(view.step_count, S_COUNT);
    assert_int_equal(view.meta->input_count, 3);
    assert_int_equal(view.meta->output_count, 3);
    assert_string_equal(plan_string(&view, view.meta->producer), "pytorch 2.13");
    assert_int_equal(view.signature[0], T_X);
    assert_int_equal(view.signature[3], T_OUT_USER);
    assert_int_equal((view.consts - file) % PLAN_CONSTS_ALIGNMENT, 0);
    assert_int_equal(view.header->version_minor, PLAN_VERSION_MINOR);
    assert_int_equal(view.header->reader_minor, PLAN_VERSION_MINOR_LEAST); /* nothing in it is newer */
    const plan_step *step = &view.steps[S_LINEAR];
    assert_string_equal(plan_op_name(step->op), "linear");
    assert_string_equal(plan_function_name(step->op, step->function), "leaky_relu");
    assert_string_equal(plan_string(&view, step->label), "gemm0, leaky0");
    assert_true(plan_attr_float(&view, step, 0) == 0.01);
    assert_ptr_equal(plan_operand(&view, step, 1), &view.tensors[T_W1]);
    assert_ptr_equal(plan_result(&view, step), &view.tensors[T_HIDDEN]);
    const float *w1 = (const float *)(const void *)(view.consts + view.tensors[T_W1].offset);
    assert_true(w1[0] == 0 && w1[1] == 1 / 8.f && w1[16] == 20 / 8.f); /* row 1 of panel 0 */
    assert_true(w1[8 * 16 + 3] == 19 / 8.f && w1[8 * 16 + 4] == 0);    /* row 0 of panel 1: columns 16..19, zeros */
    free(file);
}

static void equal_plans_have_equal_bytes(void **state)
{
    (void)state;
    size_t size, again_size;
    unsigned char *file = fixture_plan(&size), *again = fixture_plan(&again_size);
    assert_int_equal(size, again_size);
    assert_memory_equal(file, again, size);
    free(file);
    free(again);
}

static void strings_and_constants_are_shared(void **state)
{
    (void)state;
    base_arena arena = {0};
    plan_builder *builder;
    uint32_t texts[2000], again;
    uint64_t consts[2000], other;
    char text[32];
    assert_int_equal(plan_builder_new(&arena, NULL, &builder), MTL_OK);
    for (int i = 0; i < 2000; i++) {
        snprintf(text, sizeof text, "tensor%d", i);
        assert_int_equal(plan_add_string(builder, text, &texts[i]), MTL_OK);
        assert_int_equal(plan_add_const(builder, text, strlen(text), &consts[i]), MTL_OK);
        assert_int_equal(consts[i], i * PLAN_ALIGNMENT);
    }
    for (int i = 0; i < 2000; i++) {
        snprintf(text, sizeof text, "tensor%d", i);
        assert_int_equal(plan_add_string(builder, text, &again), MTL_OK);
        assert_int_equal(again, texts[i]);
        assert_int_equal(plan_add_const(builder, text, strlen(text), &other), MTL_OK);
        assert_int_equal(other, consts[i]);
    }
    assert_int_equal(plan_add_string(builder, "", &again), MTL_OK);
    assert_int_equal(again, 0);
    assert_int_equal(plan_add_string(builder, "a\nb", &again), MTL_UNSUPPORTED);
    base_arena_free(&arena);
}

static void a_wrong_plan_is_not_built(void **state)
{
    (void)state;
    base_arena arena = {0};
    mtl_error error = {.message = ""};
    base_diag diag = {.error = &error};
    plan_builder *builder;
    plan_meta meta = {.row_bytes = 104};
    const void *data;
    size_t size;
    assert_int_equal(plan_builder_new(&arena, &diag, &builder), MTL_OK);
    assert_int_equal(plan_build(builder, &meta, &data, &size), MTL_INTERNAL);
    assert_non_null(strstr(error.message, "the plan that was built is not valid"));
    base_arena_free(&arena);
}

static void panels_count_overflow(void **state)
{
    (void)state;
    assert_int_equal(plan_panels_count(1, 8, 20), 8 * 32);
    assert_int_equal(plan_panels_count(3, 5, 16), 3 * 5 * 16);
    assert_int_equal(plan_panels_count(SIZE_MAX / 2, 5, 16), 0);
    assert_int_equal(plan_panels_count(1, 1, SIZE_MAX), 0);
}

static void expect_cost(const plan_view *view, size_t step, uint64_t flops_fixed, uint64_t flops_per_row,
                        uint64_t bytes_fixed, uint64_t bytes_per_row)
{
    plan_cost cost = plan_step_cost(view, &view->steps[step]);
    assert_int_equal(cost.flops_fixed, flops_fixed);
    assert_int_equal(cost.flops_per_row, flops_per_row);
    assert_int_equal(cost.bytes_fixed, bytes_fixed);
    assert_int_equal(cost.bytes_per_row, bytes_per_row);
}

static void costs_follow_the_shapes(void **state)
{
    (void)state;
    size_t size;
    plan_view view;
    unsigned char *file = fixture_plan(&size);
    assert_int_equal(plan_check(file, size, false, NULL, &view), MTL_OK);
    expect_cost(&view, S_USER_RELU, 4, 0, 32, 0);
    expect_cost(&view, S_LINEAR, 0, 20 * (2 * 8 + 2), (8 * 32 + 32) * 4, (8 + 20) * 4);
    expect_cost(&view, S_GROUPED, 0, 2 * 3 * 20, 2 * 10 * 16 * 4, (20 + 6) * 4);
    expect_cost(&view, S_SUM, 0, 6, 0, (6 + 3) * 4);
    expect_cost(&view, S_GATHER, 0, 0, 0, 7 * 4 * 2 + 8);
    expect_cost(&view, S_EXPAND, 0, 0, 16, 16);
    free(file);
}

static void names_have_bounds(void **state)
{
    (void)state;
    assert_string_equal(plan_op_name(0), "?");
    assert_string_equal(plan_op_name(99999), "?");
    assert_string_equal(plan_function_name(PLAN_OP_binary, 0), "");
    assert_string_equal(plan_function_name(PLAN_OP_binary, 9999), "");
    assert_string_equal(plan_function_name(PLAN_OP_reduce, PLAN_REDUCE_mean), "mean");
    assert_string_equal(plan_function_name(PLAN_OP_softmax, PLAN_SOFTMAX_log_softmax), "log_softmax");
    assert_string_equal(plan_function_name(PLAN_OP_mix, PLAN_MIX_softmax), "softmax");
    assert_string_equal(plan_function_name(PLAN_OP_scan, PLAN_SCAN_prod), "prod");
    assert_string_equal(plan_function_name(PLAN_OP_copy, 1), "");
    assert_int_equal(plan_op_since(PLAN_OP_extents), 0);
    assert_int_equal(plan_op_since(PLAN_OP_mix), 1);
    assert_int_equal(plan_op_since(PLAN_OP_chain), 1);
    assert_int_equal(plan_op_since(9999), 0);
    assert_int_equal(plan_unary_parameters(PLAN_UNARY_clip), 2);
    assert_int_equal(plan_unary_parameters(12345), 0);
    const int64_t links[] = {PLAN_UNARY_relu,    0, 0, 0, 0, PLAN_BINARY_prelu, 1, 0, 0, 0,
                             PLAN_UNARY_sigmoid, 0, 0, 0, 0};
    const plan_view view = {.attrs = links};
    const plan_step chain = {.op = PLAN_OP_chain, .attr_count = 15};
    char functions[32];
    plan_step_function(&view, &chain, functions, sizeof functions);
    assert_string_equal(functions, "relu, prelu, sigmoid");
    plan_step_function(&view, &chain, functions, 18);
    assert_string_equal(functions, "relu, prelu...");
    plan_step_function(&view, &(plan_step){.op = PLAN_OP_scan, .function = PLAN_SCAN_sum}, functions, sizeof functions);
    assert_string_equal(functions, "sum");
    char text[PLAN_SHAPE_TEXT];
    mtl_dim dims[] = {{.per_row = 4}, {.fixed = 512}, {.fixed = 1, .per_row = 1}, {.per_user = 2}};
    assert_string_equal(plan_shape_text(dims, 4, text, sizeof text), "(4*B, 512, B+1, 2*U)");
    assert_string_equal(plan_shape_text(dims, 1, text, sizeof text), "(4*B,)");
    assert_string_equal(plan_shape_text(dims, 0, text, sizeof text), "()");
    assert_string_equal(plan_shape_text(dims, 4, text, 8), "(4*B, 5");
}

/* One step over inputs into one output, written as text: "f32 2,4B,B+1" ("boo": bool); "i64" is a scalar, "-" an absent input. */
typedef struct op_rule {
    plan_op op;
    unsigned function;
    const char *inputs[5], *output;
    int64_t attrs[10];
    size_t attr_count;
    const char *expected; /* in the message; NULL: accepted */
    bool whole_batch;
} op_rule;

static mtl_dtype parse_dtype(const char *text)
{
    return strncmp(text, "f32", 3) == 0   ? MTL_F32
           : strncmp(text, "i32", 3) == 0 ? MTL_I32
           : strncmp(text, "i64", 3) == 0 ? MTL_I64
           : strncmp(text, "f64", 3) == 0 ? MTL_F64
                                          : MTL_BOOL;
}

static int parse_dims(const char *text, mtl_dim *dims)
{
    int rank = 0;
    for (text += 3; *text == ' ' || *text == ','; rank++) {
        mtl_dim dim = {0};
        do {
            char *end;
            text++;
            int64_t number =
                isdigit((unsigned char)*text) ? strtoll(text, &end, 10) : (end = (char *)(uintptr_t)text, 1);
            text = end;
            if (*text == 'B') {
                dim.per_row += number;
                text++;
            } else {
                dim.fixed += number;
            }
        } while (*text == '+');
        dims[rank] = dim;
    }
    return rank;
}

static uint32_t add_boundary(plan_builder *builder, const char *text, const char *name, plan_storage storage,
                             uint32_t index)
{
    mtl_dim dims[MTL_MAX_RANK];
    uint32_t tensor;
    plan_tensor record = {.dtype = (uint8_t)parse_dtype(text),
                          .rank = (uint8_t)parse_dims(text, dims),
                          .storage = (uint8_t)storage,
                          .index = index};
    assert_int_equal(plan_add_string(builder, name, &record.name), MTL_OK);
    assert_int_equal(plan_add_tensor(builder, &record, dims, &tensor), MTL_OK);
    return tensor;
}

static mtl_status build_rule(const op_rule *rule, mtl_error *error)
{
    base_arena arena = {0};
    base_diag diag = {.error = error};
    plan_builder *builder;
    uint32_t inputs[5] = {PLAN_NONE, PLAN_NONE, PLAN_NONE, PLAN_NONE, PLAN_NONE}, count = 0, index = 0;
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    assert_int_equal(plan_builder_new(&arena, &diag, &builder), MTL_OK);
    for (; count < 5 && rule->inputs[count] != NULL; count++) {
        if (rule->inputs[count][0] != '-') {
            inputs[count] = add_boundary(builder, rule->inputs[count], names[count], PLAN_STORAGE_INPUT, index++);
            assert_int_equal(plan_add_input(builder, inputs[count]), MTL_OK);
        }
    }
    uint32_t output = add_boundary(builder, rule->output, "y", PLAN_STORAGE_OUTPUT, 0);
    assert_int_equal(plan_add_output(builder, output), MTL_OK);
    assert_int_equal(
        plan_add_step(builder, rule->op, rule->function, inputs, count, output, rule->attrs, rule->attr_count, "node"),
        MTL_OK);
    bool grows = strchr(rule->output, 'B') != NULL || rule->whole_batch;
    for (uint32_t i = 0; i < count; i++) {
        grows = grows || strchr(rule->inputs[i], 'B') != NULL;
    }
    plan_meta meta = {.request_step_count = !grows, .flags = rule->whole_batch ? PLAN_FLAG_WHOLE_BATCH : 0};
    const void *data;
    size_t size;
    mtl_status status = plan_build(builder, &meta, &data, &size);
    if (status == MTL_OK) {
        unsigned since = plan_function_since(rule->op, rule->function);
        unsigned least = since > PLAN_VERSION_MINOR_LEAST ? since : PLAN_VERSION_MINOR_LEAST;
        assert_int_equal(((const plan_header *)data)->reader_minor, least);
    }
    base_arena_free(&arena);
    return status;
}

static const op_rule rules[] = {
    {PLAN_OP_matmul, 0, {"f32 B,4,8", "f32 8,3"}, "f32 B,4,3", {0}, 0, NULL, 0},
    {PLAN_OP_matmul, 0, {"f32 B,4,8", "f32 7,3"}, "f32 B,4,3", {0}, 0, "no product of (B, 4, 8) and (7, 3)", 0},
    {PLAN_OP_matmul, 0, {"f32 2,4,8", "f32 3,8,3"}, "f32 2,4,3", {0}, 0, "do not broadcast", 0},
    {PLAN_OP_matmul, 0, {"f32 B,4,8", "f32 8"}, "f32 B,4", {0}, 0, "input 1 has rank 1", 0},
    {PLAN_OP_matmul, 0, {"f32 8,4", "f32 4,8"}, "f32 8,7", {0}, 0, "the output has shape (8, 7), expected (8, 8)", 0},
    {PLAN_OP_matmul, 0, {"i32 8,4", "f32 4,8"}, "f32 8,8", {0}, 0, "input 0 is int32, expected float32", 0},
    {PLAN_OP_unary, PLAN_UNARY_neg, {"i64 B,4"}, "i64 B,4", {0}, 2, NULL, 0},
    {PLAN_OP_unary, PLAN_UNARY_exp, {"i64 B,4"}, "i64 B,4", {0}, 2, "input 0 is int64, expected float32", 0},
    {PLAN_OP_unary, PLAN_UNARY_not, {"boo B"}, "boo B", {0}, 2, NULL, 0},
    {PLAN_OP_unary, PLAN_UNARY_isnan, {"f32 B"}, "boo B", {0}, 2, NULL, 0},
    {PLAN_OP_unary, PLAN_UNARY_relu, {"f32 B,4"}, "f32 B,5", {0}, 2, "the output has shape (B, 5), expected (B, 4)", 0},
    {PLAN_OP_unary, PLAN_UNARY_relu, {"f32 B,4"}, "f32 B,4", {0}, 1, "1 attributes, expected 2", 0},
    {PLAN_OP_unary, 31, {"f32 B,4"}, "f32 B,4", {0}, 2, "function 31 is none", 0},
    {PLAN_OP_binary, PLAN_BINARY_add, {"f32 B,1,4", "f32 3,1"}, "f32 B,3,4", {0}, 0, NULL, 0},
    {PLAN_OP_binary, PLAN_BINARY_add, {"f32 B,2", "f32 3"}, "f32 B,3", {0}, 0, "do not broadcast", 0},
    {PLAN_OP_binary, PLAN_BINARY_add, {"f32 B,2", "i32 2"}, "f32 B,2", {0}, 0, "input 1 is int32, expected float32", 0},
    {PLAN_OP_binary, PLAN_BINARY_add, {"boo B", "boo B"}, "boo B", {0}, 0, "'add' does not take bool", 0},
    {PLAN_OP_binary, PLAN_BINARY_equal, {"boo B", "boo B"}, "boo B", {0}, 0, NULL, 0},
    {PLAN_OP_binary, PLAN_BINARY_less, {"i32 B", "i32 1"}, "boo B", {0}, 0, NULL, 0},
    {PLAN_OP_binary, PLAN_BINARY_less, {"i32 B", "i32 1"}, "i32 B", {0}, 0, "the output is int32, expected bool", 0},
    {PLAN_OP_binary, PLAN_BINARY_and, {"i32 B", "i32 1"}, "boo B", {0}, 0, "'and' does not take int32", 0},
    {PLAN_OP_binary, PLAN_BINARY_mul, {"f64 B", "f64 1"}, "f64 B", {0}, 0, "does not take float64", 0},
    {PLAN_OP_where, 0, {"boo B,1", "f32 1,4", "f32"}, "f32 B,4", {0}, 0, NULL, 0},
    {PLAN_OP_where, 0, {"f32 B,1", "f32 1,4", "f32"}, "f32 B,4", {0}, 0, "input 0 is float32, expected bool", 0},
    {PLAN_OP_where, 0, {"boo B", "f64 B", "f64 B"}, "f64 B", {0}, 0, "input 1 is float64", 0},
    {PLAN_OP_cast, 0, {"f64 B,2"}, "f32 B,2", {0}, 0, NULL, 0},
    {PLAN_OP_cast, 0, {"f64 B,2"}, "f32 2,B", {0}, 0, "the output has shape (2, B)", 0},
    {PLAN_OP_softmax, PLAN_SOFTMAX_softmax, {"f32 B,4"}, "f32 B,4", {1}, 1, NULL, 0},
    {PLAN_OP_softmax, PLAN_SOFTMAX_softmax, {"f32 B,4"}, "f32 B,4", {2}, 1, "axis 2 of an input of rank 2", 0},
    {PLAN_OP_softmax, PLAN_SOFTMAX_softmax, {"f32 B,4"}, "f32 B,4", {0}, 1, "does not mix", 0},
    {PLAN_OP_softmax, PLAN_SOFTMAX_softmax, {"f32 B,4"}, "f32 B,4", {0}, 1, NULL, 1},
    {PLAN_OP_reduce, PLAN_REDUCE_sum, {"f32 B,0"}, "f32 B", {1, 2}, 2, NULL, 0},
    {PLAN_OP_reduce, PLAN_REDUCE_max, {"f32 B,0"}, "f32 B", {1, 2}, 2, "axis 1 is empty: it has no max", 0},
    {PLAN_OP_reduce, PLAN_REDUCE_mean, {"f32 B,2,3"}, "f32 B,2,1", {2, 3}, 2, "expected (B, 2)", 0},
    {PLAN_OP_reduce, PLAN_REDUCE_mean, {"f32 B,2"}, "f32 2", {0, 1}, 2, NULL, 1},
    {PLAN_OP_layer_norm, 0, {"f32 B,2,8", "f32 8", "f32 8"}, "f32 B,2,8", {2, 0}, 2, NULL, 0},
    {PLAN_OP_layer_norm, 0, {"f32 B,2,8", "-", "f32 8"}, "f32 B,2,8", {2, 0}, 2, NULL, 0},
    {PLAN_OP_layer_norm, 0, {"f32 B,2,8", "f32 2"}, "f32 B,2,8", {2, 0}, 2, "input 1 has shape (2,), expected (8,)", 0},
    {PLAN_OP_layer_norm, 0, {"f32 B,8"}, "f32 B,8", {1, -1}, 2, "epsilon", 0},
    {PLAN_OP_transpose, 0, {"i32 B,2,3"}, "i32 B,3,2", {0, 2, 1}, 3, NULL, 0},
    {PLAN_OP_transpose, 0, {"i32 B,2,3"}, "i32 B,3,2", {0, 2}, 2, "2 axes for rank 3", 0},
    {PLAN_OP_concat, 0, {"f32 B,2", "f32 B,3"}, "f32 B,5", {1}, 1, NULL, 0},
    {PLAN_OP_concat, 0, {"f32 B,2", "f32 B,3"}, "f32 B,6", {1}, 1, "expected (B, 5)", 0},
    {PLAN_OP_concat, 0, {"f32 B,2", "f32 3"}, "f32 B,5", {1}, 1, "does not fit", 0},
    {PLAN_OP_slice, 0, {"f32 B,8"}, "f32 B,3", {0, 1, 2, 2}, 4, NULL, 0},
    {PLAN_OP_slice, 0, {"f32 B,8"}, "f32 B,3", {0, 1, 4, 2}, 4, "axis 1: 3 elements from 4 by 2 of 8", 0},
    {PLAN_OP_slice, 0, {"f32 B,8"}, "f32 B,8", {0, 1, 7, -1}, 4, NULL, 0},
    {PLAN_OP_slice, 0, {"f32 B,8"}, "f32 B,8", {0, 1, 6, -1}, 4, "axis 1", 0},
    {PLAN_OP_slice, 0, {"f32 B,8"}, "f32 B,8", {0, 1, 0, 0}, 4, "axis 1", 0},
    {PLAN_OP_slice, 0, {"f32 4B"}, "f32 B", {1, 4}, 2, NULL, 0},
    {PLAN_OP_slice, 0, {"f32 4B"}, "f32 B", {4, 4}, 2, "axis 0", 0},
    {PLAN_OP_slice, 0, {"f32 4B"}, "f32 B", {1, 2}, 2, "does not select", 0},
    {PLAN_OP_slice, 0, {"f32 4B"}, "f32 B", {1, 2}, 2, NULL, 1},
    {PLAN_OP_slice, 0, {"f32 B"}, "f32 2B", {0, 1}, 2, "axis 0", 1},
    {PLAN_OP_slice, 0, {"f32 B+1"}, "f32 B", {1, 1}, 2, NULL, 1},
    {PLAN_OP_slice, 0, {"f32 B+1"}, "f32 B", {2, 1}, 2, "axis 0", 1},
    {PLAN_OP_slice, 0, {"f32 9"}, "f32 2", {INT64_MAX, 5}, 2, "axis 0", 0},
    {PLAN_OP_slice, 0, {"f32 9"}, "f32 2", {3, INT64_MIN}, 2, "axis 0", 0},
    {PLAN_OP_slice, 0, {"f32 9"}, "f32 0", {99, 1}, 2, NULL, 0},
    {PLAN_OP_expand, 0, {"f32 1,4"}, "f32 B,4", {0}, 0, NULL, 0},
    {PLAN_OP_expand, 0, {"f32 B,4"}, "f32 4", {0}, 0, "the output has shape (4,)", 1},
    {PLAN_OP_gather, 0, {"f32 50,8", "i32 B,3"}, "f32 B,3,8", {0}, 1, NULL, 0},
    {PLAN_OP_gather, 0, {"f32 B,8", "i64"}, "f32 B", {1}, 1, NULL, 0},
    {PLAN_OP_gather, 0, {"f32 B,8", "i64 2"}, "f32 2,8", {0}, 1, "does not mix", 0},
    {PLAN_OP_gather, 0, {"f32 50,8", "f32 B"}, "f32 B,8", {0}, 1, "expected int32 or int64", 0},
    {PLAN_OP_gather, 0, {"f32 1,1,1,1,1,1", "i32 1,1,1,1"}, "f32 1", {0}, 1, "more than 8 axes", 0},
    {PLAN_OP_gather, PLAN_IDS_row, {"f32 50,8", "i32 B,3"}, "f32 B,3,8", {0, 49}, 4, NULL, 0},
    {PLAN_OP_gather, PLAN_IDS_error, {"f32 0,8", "i32 B,3"}, "f32 B,3,8", {0}, 4, NULL, 0},
    {PLAN_OP_gather, PLAN_IDS_row, {"f32 50,8", "i32 B"}, "f32 B,8", {0, 50}, 4, "expected a row of the table", 0},
    {PLAN_OP_gather, PLAN_IDS_row, {"f32 50,8", "i32 B"}, "f32 B,8", {0, -1}, 4, "expected a row of the table", 0},
    {PLAN_OP_gather, PLAN_IDS_zero, {"f32 50,8", "i32 B"}, "f32 B,8", {0, 1}, 4, "attribute 1 is 1, expected 0", 0},
    {PLAN_OP_gather, PLAN_IDS_zero, {"f32 50,8", "i32 B"}, "f32 B,8", {0}, 1, "1 attributes, expected 4", 0},
    {PLAN_OP_gather, 0, {"f32 50,8", "i32 B"}, "f32 B,8", {0}, 4, "4 attributes, expected 1", 0},
    {PLAN_OP_gather, PLAN_IDS_clamp, {"f32 0,8", "i32 B"}, "f32 B,8", {0}, 4, "no rows to clamp", 0},
    {PLAN_OP_gather, PLAN_IDS_zero, {"f32 50,8", "i32 B"}, "f32 B,8", {0, 0, 1 << 20}, 4, "which is no string", 0},
    {PLAN_OP_gather, PLAN_IDS_zero, {"f32 50,8", "i32 B"}, "f32 B,8", {0, 0, 0, -1}, 4, "which is no string", 0},
    {PLAN_OP_gather, 5, {"f32 50,8", "i32 B"}, "f32 B,8", {0}, 4, "function 5 is none", 0},
    {PLAN_OP_gather, PLAN_IDS_zero, {"f32 B,8", "i32 2"}, "f32 2,8", {0}, 4, "rows are not fixed", 1},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3"}, "f32 B,8", {0}, 9, NULL, 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,0"}, "f32 B,8", {0}, 9, NULL, 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,2,3", "f32 B,2,3"}, "f32 B,2,8", {0}, 9, NULL, 0},
    {PLAN_OP_bag, PLAN_BAG_max, {"f32 50,8", "i32 3"}, "f32 8", {2, 0, 0, 0, 1, -1, 5}, 9, NULL, 0},
    {PLAN_OP_bag, PLAN_BAG_max, {"f32 50,8", "i32 B,0"}, "f32 B,8", {0}, 9, "for max, not empty", 0},
    {PLAN_OP_bag, 0, {"f32 50,8", "i64 B,3"}, "f32 B,8", {0}, 9, "function 0 is none", 0},
    {PLAN_OP_bag, 4, {"f32 50,8", "i64 B,3"}, "f32 B,8", {0}, 9, "function 4 is none", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"i64 50,8", "i64 B,3"}, "f32 B,8", {0}, 9, "input 0 is int64", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "f32 B,3"}, "f32 B,8", {0}, 9, "expected int32 or int64", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 B,8", "i64 B,3"}, "f32 B,8", {0}, 9, "expected a fixed table", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B"}, "f32 8", {0}, 9, "whose last axis is fixed", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3"}, "f32 B,3", {0}, 9, "expected (B, 8)", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3", "f32 B,4"}, "f32 B,8", {0}, 9, "shape of the ids", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3", "i64 B,3"}, "f32 B,8", {0}, 9, "input 2 is int64", 0},
    {PLAN_OP_bag, PLAN_BAG_mean, {"f32 50,8", "i64 B,3", "f32 B,3"}, "f32 B,8", {0}, 9, "weights go with", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3", "f32 B,3"}, "f32 B,8", {0, 0, 0, 0, 1}, 9, "weights go", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3"}, "f32 B,8", {0, 0, 0, 0, 1, 3, 2}, 9, "no ids to leave out", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3"}, "f32 B,8", {0, 0, 0, 0, 0, 1, 1}, 9, "no ids to leave out", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3"}, "f32 B,8", {0, 0, 0, 0, 2}, 9, "no ids to leave out", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3"}, "f32 B,8", {5}, 9, "nothing to do with ids", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3"}, "f32 B,8", {-1}, 9, "nothing to do with ids", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3"}, "f32 B,8", {4, 50}, 9, "expected a row of the table", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3"}, "f32 B,8", {0, 0, 1}, 9, "used, but not 0", 0},
    {PLAN_OP_bag, PLAN_BAG_sum, {"f32 50,8", "i64 B,3"}, "f32 B,8", {0, 0, 0, 0, 0, 0, 0, 1}, 9, "used, but", 0},
    {PLAN_OP_bag, PLAN_BAG_max, {"f32 50,8", "i64 B,3"}, "f32 B,8", {0, 0, 0, 0, 0, 0, 0, 0, 1}, 9, "used, but", 0},
    {PLAN_OP_bag,
     PLAN_BAG_mean,
     {"f32 50,8", "i64 B,3"},
     "f32 B,8",
     {0, 0, 0, 0, 0, 0, 0, 0, INT64_C(0x7ff8000000000000)},
     9,
     "not a number",
     0},
    {PLAN_OP_batch_gather, 0, {"f32 B,50,8", "i32 B"}, "f32 B,8", {1}, 1, NULL, 0},
    {PLAN_OP_batch_gather, 0, {"i64 B,7,50", "i64 B,7,3"}, "i64 B,7,3", {2}, 1, NULL, 0},
    {PLAN_OP_batch_gather, 0, {"f32 50,8", "i64 B"}, "f32 B,8", {0}, 1, NULL, 0},
    {PLAN_OP_batch_gather, 0, {"f32 B,8", "i64 2"}, "f32 2,8", {0}, 1, "does not mix", 0},
    {PLAN_OP_batch_gather, 0, {"f32 B,50,8", "i64 3"}, "f32 3,8", {1}, 1, "does not have the first 1 axes", 0},
    {PLAN_OP_batch_gather, 0, {"f32 B,7,50", "i64 B"}, "f32 B", {2}, 1, "does not have the first 2 axes", 0},
    {PLAN_OP_batch_gather, 0, {"f32 B,50,8", "f32 B"}, "f32 B,8", {1}, 1, "expected int32 or int64", 0},
    {PLAN_OP_batch_gather, 0, {"f32 B,50,8", "i64 B"}, "f32 B,7", {1}, 1, "expected (B, 8)", 0},
    {PLAN_OP_batch_gather, 0, {"f32 B,50", "i64 B"}, "f32 B", {2}, 1, "axis 2 of an input of rank 2", 0},
    {PLAN_OP_top_k, 0, {"f32 B,9"}, "i64 B,3", {1, 1}, 2, NULL, 0},
    {PLAN_OP_top_k, 0, {"i32 B,9,4"}, "i64 B,9,4", {1, 0}, 2, NULL, 0},
    {PLAN_OP_top_k, 0, {"f32 B,9"}, "i64 B,10", {1, 1}, 2, "it takes 10 of 9 elements along axis 1", 0},
    {PLAN_OP_top_k, 0, {"f32 B,9"}, "i64 B,0", {1, 1}, 2, "it takes 0 of 9", 0},
    {PLAN_OP_top_k, 0, {"f32 B,9"}, "i64 B", {1, 1}, 2, "it takes 0 of 9", 0},
    {PLAN_OP_top_k, 0, {"f32 B,9"}, "i64 3,9", {0, 1}, 2, "does not mix", 0},
    {PLAN_OP_top_k, 0, {"f32 B,9"}, "i64 B,9", {0, 1}, 2, "it takes 0 of 0", 1},
    {PLAN_OP_top_k, 0, {"f32 B,9"}, "i64 B,3", {1, 2}, 2, "attribute 1 is 2, expected 0 or 1", 0},
    {PLAN_OP_top_k, 0, {"f32 B,9"}, "f32 B,3", {1, 1}, 2, "expected int64", 0},
    {PLAN_OP_top_k, 0, {"boo B,9"}, "i64 B,3", {1, 1}, 2, "input 0 is bool", 0},
    {PLAN_OP_copy, 0, {"f32 B,8"}, "f32 4B,2", {0}, 0, NULL, 0},
    {PLAN_OP_copy, 0, {"f32 B,8"}, "f32 4B,3", {0}, 0, "does not have as many elements as", 0},
    {PLAN_OP_store, 0, {"f32 B,8"}, "f32 B,8", {0}, 0, NULL, 0},
    {PLAN_OP_store, 0, {"f32 8"}, "f32 8", {0}, 0, "no axis holds the candidates", 0},
    {PLAN_OP_copy, 0, {"f32 2"}, "f32 2", {0}, 0, NULL, 0},
    {PLAN_OP_reduce, PLAN_REDUCE_mean, {"f32 B,2"}, "f32 2", {0, 1}, 2, "does not mix", 0},
    {PLAN_OP_mix, PLAN_MIX_softmax, {"f32 B,2,3", "f32 B,4,8"}, "f32 B,2,8", {0, 1, 2, 3, 3, 0}, 6, NULL, 0},
    {PLAN_OP_mix, 0, {"f32 1,2,2", "f32 B,2,8"}, "f32 B,2,8", {0, 1, 1, 0}, 4, NULL, 0},
    {PLAN_OP_mix, PLAN_MIX_softmax, {"f32 B,1,2", "f32 1,2,8"}, "f32 B,1,8", {0, 1}, 2, NULL, 0},
    {PLAN_OP_mix, PLAN_MIX_softmax, {"f32 1,1,2", "f32 1,2,8"}, "f32 1,1,8", {0, 1}, 2, NULL, 0},
    {PLAN_OP_mix, 2, {"f32 B,1,2", "f32 B,2,8"}, "f32 B,1,8", {0, 1}, 2, "function 2 is none", 0},
    {PLAN_OP_mix, 0, {"f32 B,1,2", "f32 B,2,8"}, "f32 B,1,8", {0, 2}, 2, "index 1 is 2 of 2 vectors", 0},
    {PLAN_OP_mix, 0, {"f32 B,1,2", "f32 B,2,8"}, "f32 B,1,8", {-1, 1}, 2, "index 0 is -1 of 2 vectors", 0},
    {PLAN_OP_mix, 0, {"f32 B,1,2", "f32 B,2,8"}, "f32 B,1,8", {0}, 1, "one for each of 1 x 2 weights", 0},
    {PLAN_OP_mix, 0, {"f32 B,2", "f32 B,2,8"}, "f32 B,1,8", {0, 1}, 2, "input 0 has rank 2", 0},
    {PLAN_OP_mix, 0, {"f32 B,1,2", "f32 B,2,8,1"}, "f32 B,1,8", {0, 1}, 2, "input 1 is (B, 2, 8, 1), expected", 0},
    {PLAN_OP_mix, 0, {"f32 1,1,2", "f32 1,B,8"}, "f32 1,1,8", {0, 1}, 2, "input 1 is (1, B, 8), expected", 1},
    {PLAN_OP_mix, 0, {"f32 B,1,2", "f32 3,2,8"}, "f32 B,1,8", {0, 1}, 2, "shapes (B,) and (3,) do not broadcast", 0},
    {PLAN_OP_mix, 0, {"f32 B,1,2", "f32 B,2,8"}, "f32 B,8", {0, 1}, 2, "expected (B, 1, 8)", 0},
    {PLAN_OP_mix, 0, {"i64 B,1,2", "f32 B,2,8"}, "f32 B,1,8", {0, 1}, 2, "input 0 is int64, expected float32", 0},
    {PLAN_OP_scan, PLAN_SCAN_sum, {"f32 B,3"}, "f32 B,3", {1, 0, 1, PLAN_UNARY_sigmoid}, 6, NULL, 0},
    {PLAN_OP_scan, PLAN_SCAN_prod, {"i64 B,3"}, "i64 B,3", {1, 1}, 6, NULL, 0},
    {PLAN_OP_scan, 0, {"f32 B,3"}, "f32 B,3", {1}, 6, "function 0 is none", 0},
    {PLAN_OP_scan, PLAN_SCAN_sum, {"f32 B,3"}, "f32 B,3", {2}, 6, "axis 2 of an input of rank 2", 0},
    {PLAN_OP_scan, PLAN_SCAN_sum, {"f32 B,3"}, "f32 B,3", {0}, 6, "does not mix", 0},
    {PLAN_OP_scan, PLAN_SCAN_sum, {"f32 B,3"}, "f32 B,3", {0}, 6, NULL, 1},
    {PLAN_OP_scan, PLAN_SCAN_sum, {"f32 B,3"}, "f32 B,3", {1, 2}, 6, "attribute 1 is 2, expected 0 or 1", 0},
    {PLAN_OP_scan, PLAN_SCAN_sum, {"f32 B,3"}, "f32 B,3", {1, 0, 0, PLAN_UNARY_not}, 6, "no activation of float32", 0},
    {PLAN_OP_scan, PLAN_SCAN_sum, {"f32 B,3"}, "f32 B,3", {1, 0, 0, 31}, 6, "no activation", 0},
    {PLAN_OP_scan, PLAN_SCAN_sum, {"f32 B,3"}, "f32 B,3", {1, 0, 0, -1}, 6, "no activation", 0},
    {PLAN_OP_scan, PLAN_SCAN_sum, {"i64 B,3"}, "i64 B,3", {1, 0, 0, PLAN_UNARY_neg}, 6, "no activation of int64", 0},
    {PLAN_OP_scan, PLAN_SCAN_sum, {"f32 B,3"}, "f32 B,3", {1, 0, 0, 0, 1}, 6, "parameter 0 is not used, but not 0", 0},
    {PLAN_OP_scan, PLAN_SCAN_sum, {"boo B,3"}, "boo B,3", {1}, 6, "input 0 is bool", 0},
    {PLAN_OP_scan, PLAN_SCAN_sum, {"f32 B,3"}, "f32 B,4", {1}, 6, "expected (B, 3)", 0},
    {PLAN_OP_extents, 0, {NULL}, "i64 2", {0, 1, 512, 0}, 4, NULL, 1},
    {PLAN_OP_extents, 0, {NULL}, "i64 3", {0, 1, 512, 0}, 4, "expected (2,)", 1},
    {PLAN_OP_extents, 0, {NULL}, "i64 1", {0, 1, 512}, 3, "expected pairs", 1},
#define CHAIN_RELU PLAN_UNARY_relu, 0, 0, 0, 0
    {PLAN_OP_chain, 0, {"f32 B,3"}, "f32 B,3", {CHAIN_RELU}, 5, NULL, 0},
    {PLAN_OP_chain, 0, {"f32 B,3"}, "f32 B,3", {CHAIN_RELU, PLAN_UNARY_leaky_relu, 0, 0, 1}, 10, NULL, 0},
    {PLAN_OP_chain, 0, {"f32 B,3", "f32 3"}, "f32 B,3", {CHAIN_RELU, PLAN_BINARY_sub, 1, 1}, 10, NULL, 0},
    {PLAN_OP_chain, 0, {"f32 B,2,3", "f32 1,2,3", "f32 1,1"}, "f32 B,2,3", {PLAN_BINARY_prelu, 2}, 5, NULL, 0},
    {PLAN_OP_chain, 0, {"f32 B,3", "f32 B,3", "f32"}, "f32 B,3", {PLAN_BINARY_max, 1}, 5, NULL, 0},
    {PLAN_OP_chain, 0, {"f32 1,B", "f32 1"}, "f32 1,B", {PLAN_BINARY_max, 1}, 5, NULL, 0},
    {PLAN_OP_chain, 0, {"f32"}, "f32", {CHAIN_RELU}, 5, NULL, 0},
    {PLAN_OP_chain, 0, {"f32 B,3"}, "f32 B,3", {0}, 0, "0 attributes, expected 5 for each function", 0},
    {PLAN_OP_chain, 0, {"f32 B,3"}, "f32 B,3", {CHAIN_RELU}, 6, "6 attributes", 0},
    {PLAN_OP_chain, 1, {"f32 B,3"}, "f32 B,3", {CHAIN_RELU}, 5, "function 1 is none", 0},
    {PLAN_OP_chain, 0, {"i32 B,3"}, "i32 B,3", {CHAIN_RELU}, 5, "input 0 is int32, expected float32", 0},
    {PLAN_OP_chain, 0, {"f32 B,3", "i32 3"}, "f32 B,3", {CHAIN_RELU}, 5, "input 1 is int32, expected float32", 0},
    {PLAN_OP_chain,
     0,
     {"f32 B,3", "f32 B,1"},
     "f32 B,3",
     {CHAIN_RELU},
     5,
     "input 1 has shape (B, 1), expected (B, 3)",
     0},
    {PLAN_OP_chain, 0, {"f32 2,3", "f32 2,1"}, "f32 2,3", {CHAIN_RELU}, 5, "input 1 has shape (2, 1), expected", 0},
    {PLAN_OP_chain, 0, {"f32 2,3,4", "f32 2,1,4"}, "f32 2,3,4", {CHAIN_RELU}, 5, "input 1 has shape (2, 1, 4)", 0},
    {PLAN_OP_chain, 0, {"f32 B,3", "f32 2"}, "f32 B,3", {CHAIN_RELU}, 5, "input 1 has shape (2,), expected (B, 3)", 0},
    {PLAN_OP_chain, 0, {"f32 3", "f32 1,3"}, "f32 3", {CHAIN_RELU}, 5, "input 1 has shape (1, 3), expected (3,)", 0},
    {PLAN_OP_chain, 0, {"f32 1,B,3", "f32 B,3"}, "f32 1,B,3", {CHAIN_RELU}, 5, "input 1 has shape (B, 3), expected", 0},
    {PLAN_OP_chain, 0, {"f32 B,3"}, "f32 B,4", {CHAIN_RELU}, 5, "expected (B, 3)", 0},
    {PLAN_OP_chain, 0, {"f32 B,3"}, "i32 B,3", {CHAIN_RELU}, 5, "the output is int32", 0},
    {PLAN_OP_chain, 0, {"f32 B,3"}, "f32 B,3", {PLAN_BINARY_add, 1}, 5, "function 0 takes input 1 of 1", 0},
    {PLAN_OP_chain, 0, {"f32 B,3"}, "f32 B,3", {CHAIN_RELU, PLAN_BINARY_add, -1}, 10, "function 1 takes input -1", 0},
    {PLAN_OP_chain, 0, {"f32 B,3"}, "f32 B,3", {PLAN_UNARY_relu, 0, 1}, 5, "side of function 0 is 1, expected 0", 0},
    {PLAN_OP_chain, 0, {"f32 B", "f32 B"}, "f32 B", {PLAN_BINARY_add, 1, 2}, 5, "function 0 is 2, expected 0 or 1", 0},
    {PLAN_OP_chain, 0, {"f32 B", "f32 B"}, "f32 B", {PLAN_BINARY_add, 1, -1}, 5, "is -1, expected 0 or 1", 0},
    {PLAN_OP_chain, 0, {"f32 B"}, "f32 B", {0}, 5, "function 0 is unary 0, which does not give", 0},
    {PLAN_OP_chain, 0, {"f32 B"}, "f32 B", {PLAN_UNARY_isnan}, 5, "is unary 29, which does not give float32", 0},
    {PLAN_OP_chain, 0, {"f32 B"}, "f32 B", {PLAN_UNARY_not}, 5, "is unary 28", 0},
    {PLAN_OP_chain, 0, {"f32 B"}, "f32 B", {31}, 5, "is unary 31", 0},
    {PLAN_OP_chain, 0, {"f32 B"}, "f32 B", {INT64_C(0x100000001)}, 5, "is unary 4294967297", 0},
    {PLAN_OP_chain, 0, {"f32 B"}, "f32 B", {-1}, 5, "is unary -1", 0},
    {PLAN_OP_chain, 0, {"f32 B", "f32 1"}, "f32 B", {PLAN_BINARY_less, 1}, 5, "is binary 12, which does not give", 0},
    {PLAN_OP_chain, 0, {"f32 B", "f32 1"}, "f32 B", {PLAN_BINARY_or, 1}, 5, "is binary 17", 0},
    {PLAN_OP_chain, 0, {"f32 B", "f32 1"}, "f32 B", {19, 1}, 5, "is binary 19", 0},
    {PLAN_OP_chain, 0, {"f32 B", "f32 1"}, "f32 B", {0, 1}, 5, "is binary 0", 0},
    {PLAN_OP_chain, 0, {"f32 B", "f32 1"}, "f32 B", {PLAN_BINARY_add, 1, 0, 1}, 5, "parameter 0 is not used", 0},
    {PLAN_OP_chain, 0, {"f32 B"}, "f32 B", {CHAIN_RELU, PLAN_UNARY_relu, 0, 0, 0, 1}, 10, "parameter 1 is not used", 0},
    {PLAN_OP_chain,
     0,
     {"f32 B"},
     "f32 B",
     {PLAN_UNARY_elu, 0, 0, INT64_C(0x7ff8000000000000)},
     5,
     "is not a number",
     0},
    {PLAN_OP_chain, 0, {"f32 B", "-"}, "f32 B", {CHAIN_RELU}, 5, "operand 1 is tensor", 0},
#undef CHAIN_RELU
#define ATTENTION(heads, q, k, v, size, value) {heads, q, k, v, size, value, INT64_C(0x3ff0000000000000), 0, 2}, 9
    {PLAN_OP_attention, 0, {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6"}, "f32 B,5,6", ATTENTION(2, 0, 0, 0, 3, 3), NULL, 0},
    {PLAN_OP_attention,
     0,
     {"f32 1,5,9", "f32 B,4,7", "f32 1,4,4", "f32 B,1,1,4", "boo 1,2,5,4"},
     "f32 B,5,2",
     ATTENTION(2, 3, 1, 2, 3, 1),
     NULL,
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6", "-", "boo B,1,5,4"},
     "f32 B,5,6",
     ATTENTION(1, 0, 0, 0, 6, 6),
     NULL,
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6"},
     "f32 B,5,6",
     ATTENTION(2, 1, 0, 0, 3, 3),
     "from column 1 of input 0",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6"},
     "f32 B,5,6",
     ATTENTION(2, 0, -1, 0, 3, 3),
     "from column -1",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6"},
     "f32 B,5,8",
     ATTENTION(2, 0, 0, 0, 3, 4),
     "heads of 4",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6"},
     "f32 B,5,6",
     ATTENTION(INT64_MAX, 0, 0, 0, 3, 3),
     "heads of 3",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6"},
     "f32 B,5,6",
     ATTENTION(0, 0, 0, 0, 3, 3),
     "0 heads",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,999", "f32 B,4,999", "f32 B,4,6"},
     "f32 B,5,6",
     ATTENTION(1, 0, 0, 0, 257, 6),
     "expected 1 to 256",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,3,6"},
     "f32 B,5,6",
     ATTENTION(2, 0, 0, 0, 3, 3),
     "4 keys and 3 values",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,513,6", "f32 B,513,6"},
     "f32 B,5,6",
     ATTENTION(2, 0, 0, 0, 3, 3),
     "at most 512",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,0,6", "f32 B,0,6"},
     "f32 B,5,6",
     ATTENTION(2, 0, 0, 0, 3, 3),
     "input 1 is (B, 0, 6)",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,6", "f32 B,4,6", "f32 B,4,6"},
     "f32 B,5,6",
     ATTENTION(2, 0, 0, 0, 3, 3),
     "input 0 has rank 2",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 1,B,6", "f32 1,4,6", "f32 1,4,6"},
     "f32 1,B,6",
     ATTENTION(2, 0, 0, 0, 3, 3),
     "two fixed axes",
     1},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 2,4,6", "f32 B,4,6"},
     "f32 B,5,6",
     ATTENTION(2, 0, 0, 0, 3, 3),
     "do not broadcast",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6", "f32 B,1,1,1"},
     "f32 B,5,6",
     ATTENTION(2, 0, 0, 0, 3, 3),
     "input 3 is (B, 1, 1, 1), expected",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6", "f32 B,4"},
     "f32 B,5,6",
     ATTENTION(2, 0, 0, 0, 3, 3),
     "input 3 is (B, 4), expected",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6", "boo B,1,1,4"},
     "f32 B,5,6",
     ATTENTION(2, 0, 0, 0, 3, 3),
     "input 3 is bool",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 1,5,6", "f32 1,4,6", "f32 1,4,6", "f32 B,1,1,4"},
     "f32 1,5,6",
     ATTENTION(2, 0, 0, 0, 3, 3),
     "input 3 is (B, 1, 1, 4), expected",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6"},
     "f32 B,5,6",
     {2, 0, 0, 0, 3, 3, INT64_C(0x7ff0000000000000), 0, 0},
     9,
     "scale inf",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6"},
     "f32 B,5,6",
     {2, 0, 0, 0, 3, 3, INT64_C(0x3ff0000000000000), INT64_C(0x7ff8000000000000), 0},
     9,
     "fill nan",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6"},
     "f32 B,5,6",
     {2, 0, 0, 0, 3, 3, INT64_C(0x3ff0000000000000), 0, 3},
     9,
     "or 3 for queries",
     0},
    {PLAN_OP_attention,
     0,
     {"f32 B,5,6", "f32 B,4,6", "f32 B,4,6"},
     "f32 B,5,7",
     ATTENTION(2, 0, 0, 0, 3, 3),
     "expected (B, 5, 6)",
     0},
#undef ATTENTION
};

static void each_op_takes_what_its_rule_says(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        mtl_error error = {.message = ""};
        mtl_status status = build_rule(&rules[i], &error);
        bool right = rules[i].expected == NULL ? status == MTL_OK
                                               : status != MTL_OK && strstr(error.message, rules[i].expected) != NULL;
        if (!right) {
            print_error("rule %zu (%s): expected '%s', got '%s'\n", i, plan_op_name(rules[i].op),
                        rules[i].expected == NULL ? "success" : rules[i].expected, error.message);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void expect_row(const char *manual, int number, const char *name)
{
    char row[96];
    snprintf(row, sizeof row, "\n| %d | `%s` |", number, name);
    if (strstr(manual, row) == NULL) {
        fail_msg("docs/plan-format.md has no row '| %d | `%s` |'", number, name);
    }
}

/* The tests run in the root of the sources. */
static void the_manual_lists_every_op_and_function(void **state)
{
    (void)state;
    FILE *file = fopen("docs/plan-format.md", "rb");
    if (file == NULL) {
        skip();
    }
    char *manual = calloc(1, 1 << 17);
    assert_true(fread(manual, 1, (1 << 17) - 1, file) > 0);
    fclose(file);
#define PLAN_OP(number, name, ...) expect_row(manual, number, #name);
#define PLAN_UNARY(number, name, ...) expect_row(manual, number, #name);
#define PLAN_BINARY(number, name, ...) expect_row(manual, number, #name);
#define PLAN_REDUCE(number, name) expect_row(manual, number, #name);
#define PLAN_SOFTMAX(number, name) expect_row(manual, number, #name);
#define PLAN_MIX(number, name) expect_row(manual, number, #name);
#define PLAN_SCAN(number, name) expect_row(manual, number, #name);
#define PLAN_IDS(number, name) expect_row(manual, number, #name);
#define PLAN_BAG(number, name) expect_row(manual, number, #name);
#include "plan/ops.def"
    free(manual);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_read_back),
        cmocka_unit_test(equal_plans_have_equal_bytes),
        cmocka_unit_test(strings_and_constants_are_shared),
        cmocka_unit_test(a_wrong_plan_is_not_built),
        cmocka_unit_test(panels_count_overflow),
        cmocka_unit_test(costs_follow_the_shapes),
        cmocka_unit_test(names_have_bounds),
        cmocka_unit_test(each_op_takes_what_its_rule_says),
        cmocka_unit_test(the_manual_lists_every_op_and_function),
    };
    return cmocka_run_group_tests_name("plan_build", tests, NULL, NULL);
}
