/* The rules of gru. */
#include <inttypes.h>

#include "plan/check_steps.h"

/* r (3, H, H) in panels, a padded bias (1, H): *hidden is H. */
static mtl_status check_recurrence(const plan_step_check *check, mtl_dim *hidden)
{
    const plan_tensor *r = plan_in(check, 1), *bias = check->step->input_count > 2 ? plan_in(check, 2) : NULL;
    if (r->layout != PLAN_LAYOUT_PANELS) {
        return plan_fail_here(check, "input 1 is not in panels");
    }
    const mtl_dim *dims = plan_dims_of(check, r);
    if (dims[0].fixed != 3 || dims[1].fixed == 0 || dims[1].fixed != dims[2].fixed) {
        return plan_fail_here(check, "input 1 is (%" PRId64 ", %" PRId64 ", %" PRId64 "), expected (3, H, H)",
                              dims[0].fixed, dims[1].fixed, dims[2].fixed);
    }
    *hidden = dims[1];
    if (bias == NULL) {
        return MTL_OK;
    }
    if (bias->layout != PLAN_LAYOUT_PADDED) {
        return plan_fail_here(check, "input 2 is not a padded bias");
    }
    const mtl_dim *bias_dims = plan_dims_of(check, bias);
    if (bias_dims[0].fixed != 1 || bias_dims[1].fixed != hidden->fixed) {
        return plan_fail_here(check, "input 2 is (%" PRId64 ", %" PRId64 "), expected (1, %" PRId64 ")",
                              bias_dims[0].fixed, bias_dims[1].fixed, hidden->fixed);
    }
    return MTL_OK;
}

mtl_status plan_check_gru(const plan_step_check *check)
{
    mtl_dim hidden;
    int64_t columns;
    char text[PLAN_SHAPE_TEXT];
    BASE_TRY(check_recurrence(check, &hidden));
    BASE_TRY(plan_expect_float_input(check, 0, 3));
    plan_shape shape = plan_shape_of(check, plan_in(check, 0));
    if (shape.rank != 3 || !plan_dim_is_fixed(shape.dims[1]) ||
        __builtin_mul_overflow(hidden.fixed, INT64_C(3), &columns) || !plan_dim_is(shape.dims[2], columns)) {
        return plan_fail_here(check, "input 0 is %s, expected the candidates, a fixed length, and 3 x %" PRId64,
                              plan_shape_text(shape.dims, shape.rank, text, sizeof text), hidden.fixed);
    }
    const plan_tensor *h = check->step->input_count > 3 ? plan_in(check, 3) : NULL;
    if (h != NULL) {
        BASE_TRY(plan_expect_float_input(check, 3, 2));
        const mtl_dim *dims = plan_dims_of(check, h);
        if (h->rank != 2 || !plan_dim_equal(dims[0], shape.dims[0]) || !plan_dim_equal(dims[1], hidden)) {
            return plan_fail_here(check, "input 3 is %s, expected the candidates and %" PRId64,
                                  plan_shape_text(dims, h->rank, text, sizeof text), hidden.fixed);
        }
    }
    if (plan_attr(check, 0) != 0 && plan_attr(check, 0) != 1) {
        return plan_fail_here(check, "attribute 0 is %" PRId64 ", expected 0 or 1", plan_attr(check, 0));
    }
    shape.dims[2] = hidden;
    return plan_expect_output(check, MTL_F32, &shape);
}
