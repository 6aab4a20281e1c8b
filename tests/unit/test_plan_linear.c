/* What a plan must say about the start of a layer's sums. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "plan/build.h"
#include "plan/plan.h"

enum { B = -1, U = -2, K = 3, N = 4 };

typedef struct layer {
    const char *expected; /* NULL: a plan */
    int64_t groups;
    int64_t x[4], start[4], y[4]; /* up to the first 0 */
    mtl_dtype dtype;              /* of the start; MTL_F32 where it is 0 */
} layer;

static uint32_t add_const(plan_builder *builder, const int64_t *shape, int rank, plan_layout layout)
{
    static const float zeros[1024];
    mtl_dim dims[3];
    plan_tensor record = {
        .dtype = MTL_F32, .rank = (uint8_t)rank, .storage = PLAN_STORAGE_CONST, .layout = (uint8_t)layout};
    uint32_t index;
    for (int i = 0; i < rank; i++) {
        dims[i] = (mtl_dim){.fixed = shape[i]};
    }
    assert_int_equal(plan_add_const(builder, zeros, sizeof zeros, &record.offset), MTL_OK);
    assert_int_equal(plan_add_tensor(builder, &record, dims, &index), MTL_OK);
    return index;
}

static uint32_t add_boundary(plan_builder *builder, const char *name, const int64_t *shape, mtl_dtype dtype,
                             plan_storage storage, uint32_t number)
{
    mtl_dim dims[4];
    plan_tensor record = {.dtype = (uint8_t)dtype, .storage = (uint8_t)storage, .index = number};
    uint32_t index;
    for (; record.rank < 4 && shape[record.rank] != 0; record.rank++) {
        int64_t extent = shape[record.rank];
        dims[record.rank] = (mtl_dim){
            .fixed = extent > 0 ? extent : 0, .per_row = extent == B ? 1 : 0, .per_user = extent == U ? 1 : 0};
    }
    assert_int_equal(plan_add_string(builder, name, &record.name), MTL_OK);
    assert_int_equal(plan_add_tensor(builder, &record, dims, &index), MTL_OK);
    return index;
}

static mtl_status build(const layer *l, mtl_error *error)
{
    base_arena arena = {0};
    base_diag diag = {.error = error};
    plan_builder *builder;
    uint32_t inputs[4] = {PLAN_NONE, PLAN_NONE, PLAN_NONE, PLAN_NONE};
    assert_int_equal(plan_builder_new(&arena, &diag, &builder), MTL_OK);
    inputs[0] = add_boundary(builder, "x", l->x, MTL_F32, PLAN_STORAGE_INPUT, 0);
    assert_int_equal(plan_add_input(builder, inputs[0]), MTL_OK);
    inputs[1] = add_const(builder, (int64_t[]){l->groups, K, N}, 3, PLAN_LAYOUT_PANELS);
    if (l->start[0] != 0) {
        inputs[3] = add_boundary(builder, "start", l->start, l->dtype, PLAN_STORAGE_INPUT, 1);
        assert_int_equal(plan_add_input(builder, inputs[3]), MTL_OK);
    }
    uint32_t y = add_boundary(builder, "y", l->y, MTL_F32, PLAN_STORAGE_OUTPUT, 0);
    assert_int_equal(plan_add_output(builder, y), MTL_OK);
    assert_int_equal(
        plan_add_step(builder, PLAN_OP_linear, 0, inputs, l->start[0] != 0 ? 4 : 2, y, (int64_t[]){0, 0, 0}, 3, "node"),
        MTL_OK);
    plan_meta meta = {0};
    const void *data;
    size_t size;
    mtl_status status = plan_build(builder, &meta, &data, &size);
    if (status == MTL_OK) {
        assert_int_equal(((const plan_header *)data)->reader_minor, l->start[0] != 0 ? 3 : 1);
    }
    base_arena_free(&arena);
    return status;
}

static const layer layers[] = {
    {NULL, 1, {B, K}, {0}, {B, N}, MTL_F32},
    {NULL, 1, {B, K}, {B, N}, {B, N}, MTL_F32},
    {NULL, 1, {B, K}, {U, N}, {B, N}, MTL_F32},
    {NULL, 1, {B, K}, {1, N}, {B, N}, MTL_F32},
    {NULL, 2, {B, 2, K}, {B, 2, N}, {B, 2, N}, MTL_F32},
    {NULL, 2, {B, 2, K}, {U, 2, N}, {B, 2, N}, MTL_F32},
    {NULL, 1, {B, 2, K}, {U, 2, N}, {B, 2, N}, MTL_F32},
    {NULL, 1, {B, 2, K}, {U, 1, N}, {B, 2, N}, MTL_F32},
    {NULL, 1, {B, 5, 2, K}, {U, 1, 1, N}, {B, 5, 2, N}, MTL_F32},
    {NULL, 2, {B, 5, 2, K}, {1, 5, 2, N}, {B, 5, 2, N}, MTL_F32},
    {NULL, 1, {1, B, K}, {1, U, N}, {1, B, N}, MTL_F32},
    {"input 3 is (B, 2, 1, 4)", 1, {B, 2, 5, K}, {B, 2, 1, N}, {B, 2, 5, N}, MTL_F32},
    {"input 3 is (B, 1, 4), which the result (B, 2, 4) cannot begin with", 2, {B, 2, K}, {B, 1, N}, {B, 2, N}, MTL_F32},
    {"input 3 is (B, 5)", 1, {B, K}, {B, 5}, {B, N}, MTL_F32},
    {"input 3 is (B, 1)", 1, {B, K}, {B, 1}, {B, N}, MTL_F32},
    {"input 3 is (U, 5)", 1, {B, K}, {U, 5}, {B, N}, MTL_F32},
    {"input 3 is (2, 4)", 1, {B, K}, {2, N}, {B, N}, MTL_F32},
    {"input 3 has rank 1, expected at least 2", 1, {B, K}, {N}, {B, N}, MTL_F32},
    {"input 3 is (1, B, 4)", 1, {B, K}, {1, B, N}, {B, N}, MTL_F32},
    {"input 3 is int32, expected float32", 1, {B, K}, {B, N}, {B, N}, MTL_I32},
};

static void each_rule_is_checked(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        mtl_error error = {.message = ""};
        mtl_status status = build(&layers[i], &error);
        const char *expected = layers[i].expected;
        if (expected == NULL ? status != MTL_OK : status == MTL_OK || strstr(error.message, expected) == NULL) {
            print_error("layer %zu: expected '%s', got '%s'\n", i, expected == NULL ? "a plan" : expected,
                        error.message);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}

static void a_start_needs_a_new_reader(void **state)
{
    (void)state;
    assert_int_equal(plan_operands_since(PLAN_OP_linear, 3), 0);
    assert_int_equal(plan_operands_since(PLAN_OP_linear, 4), 3);
    assert_int_equal(plan_operands_since(PLAN_OP_matmul, 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_is_checked),
        cmocka_unit_test(a_start_needs_a_new_reader),
    };
    return cmocka_run_group_tests_name("plan linear", tests, NULL, NULL);
}
