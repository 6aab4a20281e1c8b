/* The rule of spans: a step with one computes, of each candidate, only the positions from the first to the last that its
 * mask is true for. What flows from such steps to others is checked with the rest of the flow. */
#include <inttypes.h>

#include "plan/check_steps.h"

/* bool (B, L), as this tile's part of an input or as a step left it. */
static mtl_status check_mask(const plan_step_check *check, mtl_dim *length)
{
    const plan_view *view = check->view;
    if (view->header->reader_minor < PLAN_SPAN_SINCE) {
        return plan_fail_here(check, "spans are of format 1.%d, but the plan is said to be for readers of 1.%d",
                              PLAN_SPAN_SINCE, view->header->reader_minor);
    }
    const uint32_t number = check->step->span & ~PLAN_SPAN_WHOLE;
    if (number == 0 || number > view->tensor_count) {
        return plan_fail_here(check, "the span's mask is tensor %" PRIu32 " of %zu", number - 1, view->tensor_count);
    }
    const plan_tensor *mask = plan_span(view, check->step);
    const mtl_dim *dims = plan_dims_of(check, mask);
    bool rows = mask->rank == 2 && plan_dim_equal(dims[0], (mtl_dim){.per_row = 1}) && plan_dim_is_fixed(dims[1]);
    if (!plan_is_tiled(view) || mask->dtype != MTL_BOOL || !rows || plan_is_window(mask) ||
        (mask->storage != PLAN_STORAGE_ROW && mask->storage != PLAN_STORAGE_INPUT)) {
        char text[PLAN_SHAPE_TEXT];
        return plan_fail_here(check, "the span's mask is %s %s, expected a dense bool (B, L) of the rows of a tile",
                              mtl_dtype_name(mask->dtype), plan_shape_text(dims, mask->rank, text, sizeof text));
    }
    *length = dims[1];
    return MTL_OK;
}

static bool is_positions(const plan_step_check *check, const plan_tensor *tensor, mtl_dim length)
{
    const mtl_dim *dims = plan_dims_of(check, tensor);
    return tensor->rank > 2 && plan_dim_equal(dims[0], (mtl_dim){.per_row = 1}) && plan_dim_equal(dims[1], length) &&
           !plan_is_window(tensor) && (tensor->storage == PLAN_STORAGE_ROW || tensor->storage == PLAN_STORAGE_INPUT);
}

static bool is_fixed(const plan_tensor *tensor)
{
    return tensor->storage == PLAN_STORAGE_CONST || tensor->storage == PLAN_STORAGE_PARAM;
}

static mtl_status check_result(const plan_step_check *check, mtl_dim length)
{
    const plan_tensor *out = plan_out(check);
    if (out->dtype != MTL_F32 || !is_positions(check, out, length)) {
        char text[PLAN_SHAPE_TEXT];
        return plan_fail_here(check, "the output is %s %s, expected a dense float32 (B, %" PRId64 ", ..) of a tile",
                              mtl_dtype_name(out->dtype),
                              plan_shape_text(plan_dims_of(check, out), out->rank, text, sizeof text), length.fixed);
    }
    return MTL_OK;
}

/* What differs from position to position has them in front; the rest are constants, which do not know the candidate. */
static mtl_status check_positions(const plan_step_check *check, mtl_dim length)
{
    BASE_TRY(check_result(check, length));
    for (unsigned i = 0; i < check->step->input_count; i++) {
        const plan_tensor *in = plan_in(check, i);
        if (in != NULL && !is_positions(check, in, length) && !is_fixed(in)) {
            return plan_fail_here(check, "input %u has neither the positions of the span nor is it a constant", i);
        }
    }
    if (check->step->op == PLAN_OP_linear && check->step->input_count > 3) {
        return plan_fail_here(check, "sums that begin with what is given have no span");
    }
    if (check->step->op == PLAN_OP_layer_norm && plan_attr(check, 0) < 2) {
        return plan_fail_here(check, "axis %" PRId64 " is not one of a position by itself", plan_attr(check, 0));
    }
    return MTL_OK;
}

static mtl_status check_keys(const plan_step_check *check, mtl_dim length)
{
    BASE_TRY(check_result(check, length));
    for (unsigned i = 0; i < 3; i++) {
        if (!is_positions(check, plan_in(check, i), length)) {
            return plan_fail_here(check, "input %u does not have the positions of the span", i);
        }
    }
    for (unsigned i = 3; i < check->step->input_count; i++) {
        const plan_tensor *mask = plan_in(check, i);
        if (mask != NULL && plan_dims_of(check, mask)[0].per_user != 0) {
            return plan_fail_here(check, "input %u is per user, which nothing of a span is", i);
        }
    }
    return MTL_OK;
}

static mtl_status check_sum(const plan_step_check *check, mtl_dim length)
{
    const mtl_dim *weights = plan_dims_of(check, plan_in(check, 0));
    bool in_order = check->step->function == 0 && plan_dim_equal(weights[0], (mtl_dim){.per_row = 1}) &&
                    plan_dim_is(weights[1], 1) && plan_dim_equal(weights[2], length);
    for (unsigned i = 0; in_order && i < check->step->attr_count; i++) {
        in_order = plan_attr(check, i) == i;
    }
    if (!in_order || !is_positions(check, plan_in(check, 1), length)) {
        return plan_fail_here(check, "a sum over a span has a weight of its own for each position, in their order");
    }
    return MTL_OK;
}

mtl_status plan_check_span(const plan_step_check *check)
{
    mtl_dim length;
    if (check->step->span == 0) {
        return MTL_OK;
    }
    BASE_TRY(check_mask(check, &length));
    switch (plan_span_kind_of(check->step->op)) {
    case PLAN_SPAN_POSITIONS: return check_positions(check, length);
    case PLAN_SPAN_KEYS: return check_keys(check, length);
    case PLAN_SPAN_SUM: return check_sum(check, length);
    case PLAN_SPAN_NONE: break;
    }
    return plan_fail_here(check, "this operation has no span");
}
