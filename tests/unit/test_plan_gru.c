/* What a plan must say about a recurrent layer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "plan/build.h"
#include "plan/plan.h"

typedef struct layer {
    const char *expected; /* NULL: a plan */
    int64_t p[3], r[3], bias[2], h[2], y[3];
    int64_t reverse;
    bool dense_r, dense_bias, rows_inside; /* the candidates' axis of p is the second */
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

/* `axis` has the candidates. */
static uint32_t add_boundary(plan_builder *builder, const char *name, const int64_t *shape, int rank, int axis,
                             plan_storage storage, uint32_t number)
{
    mtl_dim dims[3];
    plan_tensor record = {.dtype = MTL_F32, .rank = (uint8_t)rank, .storage = (uint8_t)storage, .index = number};
    uint32_t index;
    for (int i = 0; i < rank; i++) {
        dims[i] = i == axis ? (mtl_dim){.per_row = 1} : (mtl_dim){.fixed = shape[i]};
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
    inputs[0] = add_boundary(builder, "p", l->p, 3, l->rows_inside, PLAN_STORAGE_INPUT, 0);
    assert_int_equal(plan_add_input(builder, inputs[0]), MTL_OK);
    inputs[1] = add_const(builder, l->r, 3, l->dense_r ? PLAN_LAYOUT_DENSE : PLAN_LAYOUT_PANELS);
    if (l->bias[1] != 0) {
        inputs[2] = add_const(builder, l->bias, 2, l->dense_bias ? PLAN_LAYOUT_DENSE : PLAN_LAYOUT_PADDED);
    }
    if (l->h[1] != 0) {
        inputs[3] = add_boundary(builder, "h", l->h, 2, 0, PLAN_STORAGE_INPUT, 1);
        assert_int_equal(plan_add_input(builder, inputs[3]), MTL_OK);
    }
    uint32_t y = add_boundary(builder, "y", l->y, 3, l->rows_inside, PLAN_STORAGE_OUTPUT, 0);
    assert_int_equal(plan_add_output(builder, y), MTL_OK);
    assert_int_equal(plan_add_step(builder, PLAN_OP_gru, 0, inputs, l->h[1] != 0 ? 4 : 3, y, &l->reverse, 1, "node"),
                     MTL_OK);
    plan_meta meta = {0};
    const void *data;
    size_t size;
    mtl_status status = plan_build(builder, &meta, &data, &size);
    if (status == MTL_OK) {
        assert_int_equal(((const plan_header *)data)->reader_minor, 2);
    }
    base_arena_free(&arena);
    return status;
}

static const layer layers[] = {
    {NULL, {0, 2, 12}, {3, 4, 4}, {1, 4}, {0, 4}, {0, 2, 4}, 0, false, false, false},
    {NULL, {0, 2, 12}, {3, 4, 4}, {0, 0}, {0, 0}, {0, 2, 4}, 1, false, false, false},
    {NULL, {0, 0, 12}, {3, 4, 4}, {0, 0}, {0, 4}, {0, 0, 4}, 1, false, false, false},
    {"attribute 0 is 2", {0, 2, 12}, {3, 4, 4}, {1, 4}, {0, 4}, {0, 2, 4}, 2, false, false, false},
    {"input 0 is (B, 2, 11)", {0, 2, 11}, {3, 4, 4}, {1, 4}, {0, 4}, {0, 2, 4}, 0, false, false, false},
    {"a fixed length", {1, 0, 12}, {3, 4, 4}, {1, 4}, {0, 4}, {1, 0, 4}, 0, false, false, true},
    {"is (2, 4, 4), expected (3, H, H)", {0, 2, 12}, {2, 4, 4}, {1, 4}, {0, 4}, {0, 2, 4}, 0, false, false, false},
    {"is (3, 4, 5), expected (3, H, H)", {0, 2, 12}, {3, 4, 5}, {1, 4}, {0, 4}, {0, 2, 4}, 0, false, false, false},
    {"input 1 is not in panels", {0, 2, 12}, {3, 4, 4}, {1, 4}, {0, 4}, {0, 2, 4}, 0, true, false, false},
    {"input 2 is (1, 5)", {0, 2, 12}, {3, 4, 4}, {1, 5}, {0, 4}, {0, 2, 4}, 0, false, false, false},
    {"input 2 is (2, 4)", {0, 2, 12}, {3, 4, 4}, {2, 4}, {0, 4}, {0, 2, 4}, 0, false, false, false},
    {"not a padded bias", {0, 2, 12}, {3, 4, 4}, {1, 4}, {0, 4}, {0, 2, 4}, 0, false, true, false},
    {"input 3 is (B, 5)", {0, 2, 12}, {3, 4, 4}, {1, 4}, {0, 5}, {0, 2, 4}, 0, false, false, false},
    {"expected (B, 2, 4)", {0, 2, 12}, {3, 4, 4}, {1, 4}, {0, 4}, {0, 2, 5}, 0, false, false, false},
    {"expected (B, 2, 4)", {0, 2, 12}, {3, 4, 4}, {1, 4}, {0, 4}, {0, 3, 4}, 0, false, false, false},
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_rule_is_checked)};
    return cmocka_run_group_tests_name("plan gru", tests, NULL, NULL);
}
