/* The rules of the ops that move elements: dtypes, shapes, attributes. See ops.def and docs/plan-format.md. */
#include <inttypes.h>

#include "base/checked.h"
#include "plan/check_steps.h"

mtl_status plan_check_transpose(const plan_step_check *check)
{
    const plan_tensor *x = plan_in(check, 0);
    plan_shape shape = {.rank = 0};
    unsigned seen = 0;
    if (check->step->attr_count != x->rank) {
        return plan_fail_here(check, "a permutation of %d axes for rank %d", check->step->attr_count, x->rank);
    }
    for (unsigned i = 0; i < x->rank; i++) {
        unsigned axis;
        BASE_TRY(plan_axis(check, i, x, &axis));
        if ((seen >> axis & 1) != 0) {
            return plan_fail_here(check, "the permutation has axis %u twice", axis);
        }
        seen |= 1U << axis;
        BASE_TRY(plan_shape_add(check, &shape, plan_dims_of(check, x)[axis]));
    }
    return plan_expect_output(check, x->dtype, &shape);
}

mtl_status plan_check_concat(const plan_step_check *check)
{
    const plan_tensor *first = plan_in(check, 0);
    plan_shape shape = plan_shape_of(check, first);
    unsigned axis;
    BASE_TRY(plan_axis(check, 0, first, &axis));
    for (unsigned i = 1; i < check->step->input_count; i++) {
        const plan_tensor *next = plan_in(check, i);
        const mtl_dim *dims = plan_dims_of(check, next);
        bool fits = next->dtype == first->dtype && next->rank == first->rank;
        for (unsigned other = 0; fits && other < shape.rank; other++) {
            fits = other == axis || plan_dim_equal(dims[other], shape.dims[other]);
        }
        if (!fits) {
            char found[PLAN_SHAPE_TEXT], expected[PLAN_SHAPE_TEXT];
            return plan_fail_here(check, "input %u is %s %s, which does not fit %s %s on axis %u", i,
                                  mtl_dtype_name(next->dtype), plan_shape_text(dims, next->rank, found, sizeof found),
                                  mtl_dtype_name(first->dtype),
                                  plan_shape_text(shape.dims, shape.rank, expected, sizeof expected), axis);
        }
        shape.dims[axis].fixed += dims[axis].fixed; /* at most 2^16 times 2^48 */
        shape.dims[axis].per_row += dims[axis].per_row;
        shape.dims[axis].per_user += dims[axis].per_user;
    }
    return plan_expect_output(check, first->dtype, &shape);
}

/* Whether start, start + step, ... (`out` of them) lie in [0, in) for any numbers of rows and users. */
static bool slice_fits(int64_t start, int64_t step, mtl_dim in, mtl_dim out)
{
    if (plan_dim_is(out, 0)) {
        return true;
    }
    if (step < 0) {
        /* The first is the highest; the last falls with the extent, which must be fixed. */
        int64_t way, last;
        return plan_dim_is_fixed(out) && start < plan_dim_once(in) && base_mul_i64(out.fixed - 1, step, &way) &&
               base_add_i64(start, way, &last) && last >= 0;
    }
    /* (last + 1) - in is a linear form: it must not grow, and be at most 0 for one row and one user. */
    int64_t rows, users, last;
    return start >= 0 && base_mul_i64(out.per_row, step, &rows) && rows <= in.per_row &&
           base_mul_i64(out.per_user, step, &users) && users <= in.per_user &&
           base_mul_i64(plan_dim_once(out) - 1, step, &last) && base_add_i64(last, start, &last) &&
           last < plan_dim_once(in);
}

mtl_status plan_check_slice(const plan_step_check *check)
{
    const plan_tensor *x = plan_in(check, 0), *out = plan_out(check);
    if (check->step->attr_count != 2 * x->rank || out->rank != x->rank) {
        return plan_fail_here(check, "%d attributes and an output of rank %d for rank %d", check->step->attr_count,
                              out->rank, x->rank);
    }
    for (unsigned axis = 0; axis < x->rank; axis++) {
        int64_t start = plan_attr(check, 2 * axis), step = plan_attr(check, 2 * axis + 1);
        mtl_dim in = plan_dims_of(check, x)[axis], result = plan_dims_of(check, out)[axis];
        if (step == 0 || !slice_fits(start, step, in, result)) {
            char from[64], to[64];
            return plan_fail_here(check, "axis %u: %s elements from %" PRId64 " by %" PRId64 " of %s", axis,
                                  plan_dim_text(result, to, sizeof to), start, step,
                                  plan_dim_text(in, from, sizeof from));
        }
        /* What a candidate keeps must be its own. */
        if (plan_is_tiled(check->view) && in.per_row != 0 && (start >= step || result.per_row * step != in.per_row)) {
            return plan_fail_here(check, "axis %u holds the candidates, which a plan of tiles does not select", axis);
        }
    }
    return plan_expect_dtype(check, "the output", out, x->dtype);
}

mtl_status plan_check_expand(const plan_step_check *check)
{
    const plan_tensor *x = plan_in(check, 0);
    plan_shape shape = plan_shape_of(check, x), result = plan_shape_of(check, plan_out(check));
    BASE_TRY(plan_broadcast(check, &shape, &result));
    return plan_expect_output(check, x->dtype, &shape);
}

mtl_status plan_check_batch_gather(const plan_step_check *check)
{
    const plan_tensor *data = plan_in(check, 0), *indices = plan_in(check, 1);
    plan_shape shape = plan_shape_of(check, indices);
    unsigned axis;
    if (indices->dtype != MTL_I32 && indices->dtype != MTL_I64) {
        return plan_fail_here(check, "input 1 is %s, expected int32 or int64", mtl_dtype_name(indices->dtype));
    }
    BASE_TRY(plan_axis(check, 0, data, &axis));
    BASE_TRY(plan_mixes(check, data, axis));
    bool fits = axis <= indices->rank;
    for (unsigned i = 0; fits && i < axis; i++) {
        fits = plan_dim_equal(plan_dims_of(check, data)[i], plan_dims_of(check, indices)[i]);
    }
    if (!fits) {
        return plan_fail_here(check, "input 1 does not have the first %u axes of input 0", axis);
    }
    for (unsigned i = axis + 1; i < data->rank; i++) {
        BASE_TRY(plan_shape_add(check, &shape, plan_dims_of(check, data)[i]));
    }
    return plan_expect_output(check, data->dtype, &shape);
}

mtl_status plan_check_top_k(const plan_step_check *check)
{
    const plan_tensor *x = plan_in(check, 0), *out = plan_out(check);
    plan_shape shape = plan_shape_of(check, x);
    unsigned axis;
    if (!plan_is_number(x->dtype)) {
        return plan_fail_here(check, "input 0 is %s, expected float32, int32 or int64", mtl_dtype_name(x->dtype));
    }
    BASE_TRY(plan_axis(check, 0, x, &axis));
    BASE_TRY(plan_mixes(check, x, axis));
    if (plan_attr(check, 1) != 0 && plan_attr(check, 1) != 1) {
        return plan_fail_here(check, "attribute 1 is %" PRId64 ", expected 0 or 1", plan_attr(check, 1));
    }
    mtl_dim extent = shape.dims[axis], k = axis < out->rank ? plan_dims_of(check, out)[axis] : (mtl_dim){0, 0};
    if (!plan_dim_is_fixed(extent) || !plan_dim_is_fixed(k) || k.fixed < 1 || k.fixed > extent.fixed) {
        return plan_fail_here(check, "it takes %" PRId64 " of %" PRId64 " elements along axis %u", (int64_t)k.fixed,
                              (int64_t)extent.fixed, axis);
    }
    shape.dims[axis] = k;
    return plan_expect_output(check, MTL_I64, &shape);
}

mtl_status plan_check_copy(const plan_step_check *check)
{
    const plan_tensor *x = plan_in(check, 0), *out = plan_out(check);
    const mtl_dim *from = plan_dims_of(check, x), *to = plan_dims_of(check, out);
    BASE_TRY(plan_expect_dtype(check, "the output", out, x->dtype));
    if (!plan_dim_equal(plan_count(from, 0, x->rank), plan_count(to, 0, out->rank))) {
        char left[PLAN_SHAPE_TEXT], right[PLAN_SHAPE_TEXT];
        return plan_fail_here(check, "%s does not have as many elements as %s",
                              plan_shape_text(from, x->rank, left, sizeof left),
                              plan_shape_text(to, out->rank, right, sizeof right));
    }
    return MTL_OK;
}

mtl_status plan_check_store(const plan_step_check *check)
{
    const plan_tensor *x = plan_in(check, 0), *out = plan_out(check);
    plan_shape shape = plan_shape_of(check, x);
    if (out->storage != PLAN_STORAGE_OUTPUT || x->storage == PLAN_STORAGE_OUTPUT) {
        return plan_fail_here(check, "it does not go from the workspace to an output");
    }
    if (plan_row_axis(shape.dims, shape.rank) == shape.rank) {
        return plan_fail_here(check, "no axis holds the candidates");
    }
    return plan_expect_output(check, x->dtype, &shape);
}

mtl_status plan_check_extents(const plan_step_check *check)
{
    int count = check->step->attr_count;
    if (count % 2 != 0) {
        return plan_fail_here(check, "%d attributes, expected pairs", count);
    }
    for (int i = 0; i < count; i++) {
        int64_t number = plan_attr(check, (unsigned)i);
        if (number > (int64_t)PLAN_MAX_TENSOR_BYTES || number < -(int64_t)PLAN_MAX_TENSOR_BYTES) {
            return plan_fail_here(check, "attribute %d is %" PRId64 ", beyond 2^48", i, number);
        }
    }
    plan_shape shape = {.rank = 1, .dims = {plan_dim_fixed(count / 2)}};
    return plan_expect_output(check, MTL_I64, &shape);
}

mtl_status plan_check_spread(const plan_step_check *check)
{
    const plan_tensor *x = plan_in(check, 0);
    plan_shape shape = plan_shape_of(check, x);
    unsigned axis = plan_row_axis(shape.dims, shape.rank);
    bool leads = axis < shape.rank && plan_dim_is(plan_count(shape.dims, 0, axis), 1);
    if (!leads || shape.dims[axis].per_user == 0 || shape.dims[axis].fixed != 0) {
        char text[PLAN_SHAPE_TEXT];
        return plan_fail_here(check, "input 0 is %s, expected (1, .., 1, U or a multiple, fixed extents)",
                              plan_shape_text(shape.dims, shape.rank, text, sizeof text));
    }
    shape.dims[axis] = (mtl_dim){.per_row = shape.dims[axis].per_user};
    return plan_expect_output(check, x->dtype, &shape);
}
