/* The rules of gather and bag: lookups in tables. */
#include <inttypes.h>

#include "plan/check_steps.h"

static mtl_status check_ids(const plan_step_check *check, unsigned i)
{
    const plan_tensor *ids = plan_in(check, i);
    if (ids->dtype != MTL_I32 && ids->dtype != MTL_I64) {
        return plan_fail_here(check, "input %u is %s, expected int32 or int64", i, mtl_dtype_name(ids->dtype));
    }
    return MTL_OK;
}

static mtl_status check_string(const plan_step_check *check, unsigned i)
{
    const plan_view *view = check->view;
    int64_t at = plan_attr(check, i);
    if (at < 0 || (uint64_t)at >= view->string_bytes || (at != 0 && view->strings[at - 1] != '\0')) {
        return plan_fail_here(check, "attribute %u is %" PRId64 ", which is no string", i, at);
    }
    return MTL_OK;
}

/* What `policy` says of ids outside of `rows`, in attributes from `first` on: a row, and two names. */
static mtl_status check_policy(const plan_step_check *check, unsigned policy, unsigned first, mtl_dim rows)
{
    int64_t row = plan_attr(check, first);
    if (policy != 0 && !plan_dim_is_fixed(rows)) {
        return plan_fail_here(check, "ids outside of a table whose rows are not fixed");
    }
    if (policy == PLAN_IDS_row ? row < 0 || row >= rows.fixed : row != 0) {
        return plan_fail_here(check, "attribute %u is %" PRId64 ", expected %s", first, row,
                              policy == PLAN_IDS_row ? "a row of the table" : "0");
    }
    if (policy == PLAN_IDS_clamp && rows.fixed == 0) {
        return plan_fail_here(check, "the table has no rows to clamp ids to");
    }
    for (unsigned i = first + 1; i < first + 3; i++) {
        BASE_TRY(check_string(check, i));
        if (policy == 0 && plan_attr(check, i) != 0) {
            return plan_fail_here(check, "attribute %u is used, but not 0", i);
        }
    }
    return MTL_OK;
}

mtl_status plan_check_gather(const plan_step_check *check)
{
    const plan_tensor *data = plan_in(check, 0), *indices = plan_in(check, 1);
    const plan_step *step = check->step;
    plan_shape shape = plan_shape_of(check, data);
    unsigned axis;
    int expected = step->function == 0 ? 1 : PLAN_GATHER_ATTRS;
    if (step->attr_count != expected) {
        return plan_fail_here(check, "%d attributes, expected %d", step->attr_count, expected);
    }
    BASE_TRY(check_ids(check, 1));
    BASE_TRY(plan_axis(check, PLAN_GATHER_AXIS, data, &axis));
    BASE_TRY(plan_mixes(check, data, axis));
    if (step->function != 0) {
        BASE_TRY(check_policy(check, step->function, PLAN_GATHER_ROW, shape.dims[axis]));
    }
    shape.rank = axis;
    for (unsigned i = 0; i < indices->rank; i++) {
        BASE_TRY(plan_shape_add(check, &shape, plan_dims_of(check, indices)[i]));
    }
    for (unsigned i = axis + 1; i < data->rank; i++) {
        BASE_TRY(plan_shape_add(check, &shape, plan_dims_of(check, data)[i]));
    }
    return plan_expect_output(check, data->dtype, &shape);
}

/* NULL: a bag has none. */
static const plan_tensor *weights_of(const plan_step_check *check)
{
    return check->step->input_count > 2 ? plan_in(check, 2) : NULL;
}

/* The ids that are left out, and the two numbers. */
static mtl_status check_bag_attrs(const plan_step_check *check)
{
    unsigned function = check->step->function;
    int64_t padded = plan_attr(check, PLAN_BAG_PADDED), first = plan_attr(check, PLAN_BAG_FIRST),
            last = plan_attr(check, PLAN_BAG_LAST);
    if ((padded != 0 && padded != 1) || (padded == 0 && (first != 0 || last != 0)) || first > last) {
        return plan_fail_here(check, "%" PRId64 " to %" PRId64 " are no ids to leave out", first, last);
    }
    for (unsigned i = PLAN_BAG_A; i <= PLAN_BAG_B; i++) {
        double number = plan_attr_float(check->view, check->step, i);
        bool used = function == PLAN_BAG_mean || (function == PLAN_BAG_max && i == PLAN_BAG_A);
        if (used ? number != number : plan_attr(check, i) != 0) {
            return plan_fail_here(check, "attribute %u is %s", i, used ? "not a number" : "used, but not 0");
        }
    }
    if (weights_of(check) != NULL && (padded != 0 || function == PLAN_BAG_mean)) {
        return plan_fail_here(check, "weights go with sum and max, and with no ids to leave out");
    }
    return MTL_OK;
}

mtl_status plan_check_bag(const plan_step_check *check)
{
    const plan_tensor *table = plan_in(check, 0), *ids = plan_in(check, 1), *weights = weights_of(check);
    const mtl_dim *rows = plan_dims_of(check, table), *of_ids = plan_dims_of(check, ids);
    int64_t policy = plan_attr(check, PLAN_BAG_POLICY);
    BASE_TRY(plan_expect_function(check, false));
    BASE_TRY(plan_expect_float_input(check, 0, 2));
    BASE_TRY(check_ids(check, 1));
    if (table->rank != 2 || !plan_dim_is_fixed(rows[0]) || !plan_dim_is_fixed(rows[1]) || ids->rank < 1 ||
        !plan_dim_is_fixed(of_ids[ids->rank - 1]) ||
        (check->step->function == PLAN_BAG_max && plan_dim_is(of_ids[ids->rank - 1], 0))) {
        return plan_fail_here(check,
                              "expected a fixed table (N, K), and ids whose last axis is fixed (for max, not empty)");
    }
    if (policy < 0 || policy > UINT16_MAX ||
        (policy != 0 && plan_function_name(PLAN_OP_gather, (unsigned)policy)[0] == '\0')) {
        return plan_fail_here(check, "attribute %d is %" PRId64 ", which is nothing to do with ids", PLAN_BAG_POLICY,
                              policy);
    }
    BASE_TRY(check_policy(check, (unsigned)policy, PLAN_BAG_ROW, rows[0]));
    BASE_TRY(check_bag_attrs(check));
    plan_shape shape = plan_shape_of(check, ids);
    if (weights != NULL) {
        BASE_TRY(plan_expect_float_input(check, 2, 1));
        bool equal = weights->rank == ids->rank;
        for (unsigned axis = 0; equal && axis < ids->rank; axis++) {
            equal = plan_dim_equal(plan_dims_of(check, weights)[axis], shape.dims[axis]);
        }
        if (!equal) {
            return plan_fail_here(check, "the weights do not have the shape of the ids");
        }
    }
    shape.dims[shape.rank - 1] = rows[1];
    return plan_expect_output(check, MTL_F32, &shape);
}
