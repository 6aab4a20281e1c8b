/* The rule of attention. */
#include <inttypes.h>
#include <math.h>

#include "plan/check_steps.h"

/* Input `i` is float32 (B, fixed, fixed), nothing but B of another extent and nothing empty; its columns from attribute
 * `first` on hold `heads` times `size`. */
static mtl_status check_operand(const plan_step_check *check, unsigned i, unsigned first, int64_t heads, int64_t size)
{
    const plan_tensor *tensor = plan_in(check, i);
    BASE_TRY(plan_expect_float_input(check, i, 3));
    const mtl_dim *dims = plan_dims_of(check, tensor);
    if (tensor->rank != 3 || !plan_dim_is_fixed(dims[1]) || !plan_dim_is_fixed(dims[2]) || dims[1].fixed < 1) {
        char text[PLAN_SHAPE_TEXT];
        return plan_fail_here(check, "input %u is %s, expected the candidates and two fixed axes", i,
                              plan_shape_text(dims, tensor->rank, text, sizeof text));
    }
    int64_t start = plan_attr(check, first), columns;
    if (start < 0 || __builtin_mul_overflow(heads, size, &columns) || columns > dims[2].fixed ||
        start > dims[2].fixed - columns) {
        return plan_fail_here(
            check, "%" PRId64 " heads of %" PRId64 " from column %" PRId64 " of input %u, which has %" PRId64, heads,
            size, start, i, dims[2].fixed);
    }
    return MTL_OK;
}

/* Input `i`, a bias or a mask: (B, H, L, M), or 1 for any but M. */
static mtl_status check_mask(const plan_step_check *check, unsigned i, mtl_dtype dtype, const mtl_dim *wanted)
{
    static const char *const names[] = {"input 3", "input 4"};
    const plan_tensor *tensor = i < check->step->input_count ? plan_in(check, i) : NULL;
    if (tensor == NULL) {
        return MTL_OK;
    }
    BASE_TRY(plan_expect_dtype(check, names[i - 3], tensor, dtype));
    mtl_dim seen[MTL_MAX_RANK];
    const mtl_dim *dims = plan_seen_dims(check, i, seen);
    bool fits = tensor->rank == 4;
    for (unsigned axis = 0; fits && axis < 4; axis++) {
        fits = plan_dim_equal(dims[axis], wanted[axis]) || (axis < 3 && plan_dim_is(dims[axis], 1));
    }
    if (!fits) {
        char found[PLAN_SHAPE_TEXT], expected[PLAN_SHAPE_TEXT];
        return plan_fail_here(check, "input %u is %s, expected %s", i,
                              plan_shape_text(dims, tensor->rank, found, sizeof found),
                              plan_shape_text(wanted, 4, expected, sizeof expected));
    }
    return MTL_OK;
}

static mtl_status check_numbers(const plan_step_check *check)
{
    int64_t heads = plan_attr(check, PLAN_ATTENTION_HEADS), size = plan_attr(check, PLAN_ATTENTION_SIZE);
    int64_t value_size = plan_attr(check, PLAN_ATTENTION_VALUE_SIZE), empty = plan_attr(check, PLAN_ATTENTION_EMPTY);
    double scale = plan_attr_float(check->view, check->step, PLAN_ATTENTION_SCALE);
    double fill = plan_attr_float(check->view, check->step, PLAN_ATTENTION_FILL);
    if (heads < 1 || size < 1 || size > PLAN_ATTENTION_WIDTH || value_size < 1) {
        return plan_fail_here(check, "%" PRId64 " heads of %" PRId64 " and %" PRId64 " columns, expected 1 to %d",
                              heads, size, value_size, PLAN_ATTENTION_WIDTH);
    }
    if (!isfinite(scale) || isnan(fill) || empty < 0 || empty > 2) {
        return plan_fail_here(check, "scale %g, fill %g, or %" PRId64 " for queries without keys", scale, fill, empty);
    }
    return MTL_OK;
}

mtl_status plan_check_attention(const plan_step_check *check)
{
    BASE_TRY(check_numbers(check));
    int64_t heads = plan_attr(check, PLAN_ATTENTION_HEADS), size = plan_attr(check, PLAN_ATTENTION_SIZE);
    int64_t value_size = plan_attr(check, PLAN_ATTENTION_VALUE_SIZE);
    plan_shape rows = {.rank = 0};
    for (unsigned i = 0; i < 3; i++) {
        BASE_TRY(check_operand(check, i, PLAN_ATTENTION_Q + i, heads, i < 2 ? size : value_size));
        mtl_dim seen[MTL_MAX_RANK];
        const plan_shape one = {.rank = 1, .dims = {plan_seen_dims(check, i, seen)[0]}};
        BASE_TRY(plan_broadcast(check, &rows, &one));
    }
    const mtl_dim *q = plan_dims_of(check, plan_in(check, 0)), *k = plan_dims_of(check, plan_in(check, 1));
    const mtl_dim *v = plan_dims_of(check, plan_in(check, 2));
    if (!plan_dim_equal(k[1], v[1]) || k[1].fixed > PLAN_ATTENTION_KEYS) {
        return plan_fail_here(check, "%" PRId64 " keys and %" PRId64 " values, expected as many, at most %d",
                              k[1].fixed, v[1].fixed, PLAN_ATTENTION_KEYS);
    }
    const mtl_dim wanted[4] = {rows.dims[0], plan_dim_fixed(heads), q[1], k[1]};
    BASE_TRY(check_mask(check, 3, MTL_F32, wanted));
    BASE_TRY(check_mask(check, 4, MTL_BOOL, wanted));
    BASE_TRY(plan_shape_add(check, &rows, q[1]));
    BASE_TRY(plan_shape_add(check, &rows, plan_dim_fixed(heads * value_size)));
    return plan_expect_output(check, MTL_F32, &rows);
}
