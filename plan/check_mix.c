/* The rules of mix and scan. */
#include <inttypes.h>

#include "plan/check_steps.h"

/* Input `i`, "weights" or "values", is float32 (B, fixed, fixed). */
static mtl_status check_rows(const plan_step_check *check, unsigned i)
{
    const plan_tensor *tensor = plan_in(check, i);
    BASE_TRY(plan_expect_float_input(check, i, 3));
    const mtl_dim *dims = plan_dims_of(check, tensor);
    if (tensor->rank != 3 || !plan_dim_is_fixed(dims[1]) || !plan_dim_is_fixed(dims[2])) {
        char text[PLAN_SHAPE_TEXT];
        return plan_fail_here(check, "input %u is %s, expected the candidates and two fixed axes", i,
                              plan_shape_text(dims, tensor->rank, text, sizeof text));
    }
    return MTL_OK;
}

/* T x E positions among the M vectors of values. */
static mtl_status check_index(const plan_step_check *check, int64_t tasks, int64_t experts, int64_t vectors)
{
    int64_t count;
    if (__builtin_mul_overflow(tasks, experts, &count) || count != check->step->attr_count) {
        return plan_fail_here(check, "%d attributes, expected one for each of %" PRId64 " x %" PRId64 " weights",
                              check->step->attr_count, tasks, experts);
    }
    for (unsigned i = 0; i < check->step->attr_count; i++) {
        int64_t which = plan_attr(check, i);
        if (which < 0 || which >= vectors) {
            return plan_fail_here(check, "index %u is %" PRId64 " of %" PRId64 " vectors", i, which, vectors);
        }
    }
    return MTL_OK;
}

mtl_status plan_check_mix(const plan_step_check *check)
{
    BASE_TRY(check_rows(check, 0));
    BASE_TRY(check_rows(check, 1));
    const mtl_dim *weights = plan_dims_of(check, plan_in(check, 0)), *values = plan_dims_of(check, plan_in(check, 1));
    BASE_TRY(check_index(check, weights[1].fixed, weights[2].fixed, values[1].fixed));
    plan_shape rows = {.rank = 1, .dims = {weights[0]}};
    const plan_shape other = {.rank = 1, .dims = {values[0]}};
    BASE_TRY(plan_broadcast(check, &rows, &other));
    BASE_TRY(plan_shape_add(check, &rows, weights[1]));
    BASE_TRY(plan_shape_add(check, &rows, values[2]));
    return plan_expect_output(check, MTL_F32, &rows);
}

mtl_status plan_check_scan(const plan_step_check *check)
{
    const plan_tensor *x = plan_in(check, 0);
    unsigned axis;
    BASE_TRY(plan_expect_function(check, false));
    if (!plan_is_number(x->dtype)) {
        return plan_fail_here(check, "input 0 is %s, expected float32, int32 or int64", mtl_dtype_name(x->dtype));
    }
    BASE_TRY(plan_axis(check, 0, x, &axis));
    BASE_TRY(plan_mixes(check, x, axis));
    for (unsigned i = 1; i < 3; i++) {
        if (plan_attr(check, i) != 0 && plan_attr(check, i) != 1) {
            return plan_fail_here(check, "attribute %u is %" PRId64 ", expected 0 or 1", i, plan_attr(check, i));
        }
    }
    int64_t act = plan_attr(check, 3);
    if (act < 0 || act > UINT16_MAX || !plan_is_activation((unsigned)act) || (act != 0 && x->dtype != MTL_F32)) {
        return plan_fail_here(check, "attribute 3 is %" PRId64 ", which is no activation of %s", act,
                              mtl_dtype_name(x->dtype));
    }
    BASE_TRY(plan_expect_parameters(check, (unsigned)act, 4));
    plan_shape shape = plan_shape_of(check, x);
    return plan_expect_output(check, x->dtype, &shape);
}
