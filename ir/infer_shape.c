/* Types of nodes that move elements: reshape, expand, transpose, concat, slice, range, shape. */
#include <math.h>

#include "ir/infer.h"

mtl_status ir_infer_shape(const ir_infer_context *c, ir_type *type)
{
    *type = (ir_type){.dtype = MTL_I64, .rank = 1, .dim = {ir_dim_const(ir_infer_operand(c, 0)->rank)}};
    return ir_content_shape(c);
}

/* The content of the operand that says the target shape, as extents. */
static mtl_status target_extents(const ir_infer_context *c, const ir_dim **extents, int32_t *rank)
{
    const ir_value_info *target = ir_info(c->graph, c->info->inputs[1]);
    if (!ir_dtype_is_int(target->type.dtype) || target->type.rank != 1) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "the target shape is %s, expected i64[rank]",
                       ir_infer_text(c, &target->type));
    }
    if (ir_dim_is_const(target->type.dim[0]) && target->type.dim[0].c > MTL_MAX_RANK) {
        return ir_fail(c->graph, c->node, c->diag, MTL_UNSUPPORTED,
                       "the target shape has rank %lld, at most %d is supported", (long long)target->type.dim[0].c,
                       MTL_MAX_RANK);
    }
    if (target->content == NULL && !ir_dim_is(target->type.dim[0], 0)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_UNSUPPORTED, "the target shape depends on data");
    }
    *rank = (int32_t)target->content_count;
    *extents = target->content;
    return MTL_OK;
}

static bool multiply_all(const ir_type *type, ir_product *product)
{
    *product = ir_product_one();
    for (int32_t i = 0; i < type->rank; i++) {
        if (!ir_product_multiply(product, type->dim[i])) {
            return false;
        }
    }
    return true;
}

/* Fills in the extent that is -1. */
static mtl_status solve_reshape(const ir_infer_context *c, const ir_dim *extents, ir_type *type)
{
    ir_product all, rest = ir_product_one();
    int32_t open = -1;
    bool linear = multiply_all(ir_infer_operand(c, 0), &all);
    for (int32_t i = 0; i < type->rank; i++) {
        type->dim[i] = extents[i];
        if (!ir_dim_is(extents[i], -1)) {
            linear = linear && ir_product_multiply(&rest, extents[i]);
        } else if (open >= 0) {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "the target shape has -1 at axes %d and %d",
                           (int)open, (int)i);
        } else {
            open = i;
        }
    }
    if (open >= 0 && !(linear && ir_product_divide(&all, &rest, &type->dim[open]))) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                       "%s cannot be reshaped to %s: no extent at axis %d fits for every batch",
                       ir_infer_text(c, ir_infer_operand(c, 0)), ir_infer_text(c, type), (int)open);
    }
    return MTL_OK;
}

mtl_status ir_infer_reshape(const ir_infer_context *c, ir_type *type)
{
    const ir_type *operand = ir_infer_operand(c, 0);
    if (ir_infer_has_operand(c, 1)) {
        const ir_dim *extents;
        ir_type found = {.dtype = operand->dtype};
        BASE_TRY(target_extents(c, &extents, &found.rank));
        BASE_TRY(solve_reshape(c, extents, &found));
        *type = found;
    } else if (type->dtype == 0) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_ARGUMENT, "the target shape is missing");
    }
    ir_product before, after;
    if (type->dtype != operand->dtype || !multiply_all(operand, &before) || !multiply_all(type, &after) ||
        !ir_product_equal(&before, &after)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "%s cannot be reshaped to %s",
                       ir_infer_text(c, operand), ir_infer_text(c, type));
    }
    return ir_content_spread(c, type);
}

mtl_status ir_infer_expand(const ir_infer_context *c, ir_type *type)
{
    const ir_type *operand = ir_infer_operand(c, 0);
    if (ir_infer_has_operand(c, 1)) {
        const ir_dim *extents;
        ir_type target = {.dtype = operand->dtype}, found = *operand;
        BASE_TRY(target_extents(c, &extents, &target.rank));
        for (int32_t i = 0; i < target.rank; i++) {
            target.dim[i] = extents[i];
            if (ir_dim_is_const(extents[i]) && extents[i].c < 0) {
                return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "the target shape has %lld at axis %d",
                               (long long)extents[i].c, (int)i);
            }
        }
        if (ir_infer_join(&(ir_infer_context){.graph = c->graph, .node = c->node, .info = c->info}, &found, &target) !=
            MTL_OK) {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                           "%s does not broadcast with the target shape %s", ir_infer_text(c, operand),
                           ir_infer_text(c, &target));
        }
        *type = found;
        return ir_content_spread(c, type);
    }
    if (type->dtype == 0) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_ARGUMENT, "the target shape is missing");
    }
    bool fits = type->dtype == operand->dtype && type->rank >= operand->rank;
    for (int32_t i = 0; fits && i < operand->rank; i++) {
        fits =
            ir_dim_is(operand->dim[i], 1) || ir_dim_equal(operand->dim[i], type->dim[type->rank - operand->rank + i]);
    }
    if (!fits) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "%s cannot be expanded to %s",
                       ir_infer_text(c, operand), ir_infer_text(c, type));
    }
    return ir_content_spread(c, type);
}

mtl_status ir_infer_transpose(const ir_infer_context *c, ir_type *type)
{
    const ir_type *operand = ir_infer_operand(c, 0);
    const ir_attr *perm = ir_find_attr(c->info, IR_ATTR_perm);
    unsigned seen = 0;
    *type = *operand;
    for (size_t i = 0; i < perm->count && perm->count == (size_t)operand->rank; i++) {
        if (perm->ints[i] >= 0 && perm->ints[i] < operand->rank) {
            seen |= 1u << perm->ints[i];
            type->dim[i] = operand->dim[perm->ints[i]];
        }
    }
    if (perm->count != (size_t)operand->rank || seen != (1u << operand->rank) - 1) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "perm is no permutation of the axes of %s",
                       ir_infer_text(c, operand));
    }
    return operand->rank <= 1 ? ir_content_spread(c, type) : MTL_OK;
}

mtl_status ir_infer_concat(const ir_infer_context *c, ir_type *type)
{
    int64_t axis = ir_attr_int(c->info, IR_ATTR_axis);
    BASE_TRY(ir_infer_check_axis(c, axis, ir_infer_operand(c, 0)->rank));
    BASE_TRY(ir_infer_one_dtype(c));
    *type = *ir_infer_operand(c, 0);
    for (uint32_t i = 1; i < c->info->input_count; i++) {
        const ir_type *operand = ir_infer_operand(c, i);
        bool fits = operand->rank == type->rank;
        for (int32_t j = 0; fits && j < type->rank; j++) {
            fits = j == axis || ir_dim_equal(operand->dim[j], type->dim[j]);
        }
        if (!fits) {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                           "operand %u is %s, which does not fit to %s along axis %lld", (unsigned)i,
                           ir_infer_text(c, operand), ir_infer_text(c, ir_infer_operand(c, 0)), (long long)axis);
        }
        if (!ir_dim_add(type->dim[axis], operand->dim[axis], &type->dim[axis])) {
            return ir_fail(c->graph, c->node, c->diag, MTL_UNSUPPORTED, "the extent of axis %lld overflows",
                           (long long)axis);
        }
    }
    return ir_content_concat(c, type);
}

/* Whether start, start + step, ... (`extent` of them) lie within an axis of extent `dim`. */
static bool slice_fits(ir_dim dim, int64_t start, int64_t step, ir_dim extent)
{
    ir_dim steps, last, zero = ir_dim_const(0), one = ir_dim_const(1);
    if (step == 0 || start < 0 || !ir_dim_at_least(extent, zero)) {
        return false;
    }
    if (ir_dim_is(extent, 0)) {
        return ir_dim_at_least(dim, ir_dim_const(step > 0 ? start : 0));
    }
    if (!ir_dim_sub(extent, one, &steps) || !ir_dim_mul(steps, ir_dim_const(step), &last) ||
        !ir_dim_add(last, ir_dim_const(start), &last)) {
        return false;
    }
    ir_dim high = step > 0 ? last : ir_dim_const(start), low = step > 0 ? zero : last, end;
    return ir_dim_sub(dim, one, &end) && ir_dim_at_least(end, high) && ir_dim_at_least(low, zero);
}

mtl_status ir_infer_slice(const ir_infer_context *c, ir_type *type)
{
    const ir_type *operand = ir_infer_operand(c, 0);
    const ir_attr *starts = ir_find_attr(c->info, IR_ATTR_starts), *steps = ir_find_attr(c->info, IR_ATTR_steps);
    size_t rank = (size_t)operand->rank;
    if (type->dtype == 0) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_ARGUMENT, "the extents of the slice are missing");
    }
    if (starts->count != rank || steps->count != rank || type->rank != operand->rank || type->dtype != operand->dtype) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "%zu starts and %zu steps take no %s from %s",
                       starts->count, steps->count, ir_infer_text(c, type), ir_infer_text(c, operand));
    }
    for (size_t i = 0; i < rank; i++) {
        if (!slice_fits(operand->dim[i], starts->ints[i], steps->ints[i], type->dim[i])) {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                           "start %lld, step %lld and extent %s at axis %zu leave %s", (long long)starts->ints[i],
                           (long long)steps->ints[i], ir_infer_dim_text(c, type->dim[i]), i, ir_infer_text(c, operand));
        }
    }
    return ir_content_slice(c, type);
}

mtl_status ir_infer_batch_gather(const ir_infer_context *c, ir_type *type)
{
    const ir_type *data = ir_infer_operand(c, 0), *indices = ir_infer_operand(c, 1);
    int64_t axis = ir_attr_int(c->info, IR_ATTR_axis);
    BASE_TRY(ir_infer_check_axis(c, axis, data->rank));
    bool fits = axis <= indices->rank;
    for (int32_t i = 0; fits && i < axis; i++) {
        fits = ir_dim_equal(data->dim[i], indices->dim[i]);
    }
    if (!fits || (indices->dtype != MTL_I64 && indices->dtype != MTL_I32)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                       "the indices are %s, expected i32 or i64 with the first %d axes of %s",
                       ir_infer_text(c, indices), (int)axis, ir_infer_text(c, data));
    }
    if (data->rank - 1 + indices->rank - axis > MTL_MAX_RANK) {
        return ir_fail(c->graph, c->node, c->diag, MTL_UNSUPPORTED, "the result has rank %d, at most %d is supported",
                       (int)(data->rank - 1 + indices->rank - axis), MTL_MAX_RANK);
    }
    *type = *indices;
    type->dtype = data->dtype;
    for (int32_t i = (int32_t)axis + 1; i < data->rank; i++) {
        type->dim[type->rank++] = data->dim[i];
    }
    return MTL_OK;
}

/* ceil((limit - start) / delta), at least 0. */
static bool range_count(ir_dim start, ir_dim limit, ir_dim delta, ir_dim *count)
{
    ir_dim length, rounded, zero = ir_dim_const(0), one = ir_dim_const(1);
    if (!ir_dim_sub(limit, start, &length)) {
        return false;
    }
    if (!ir_dim_at_least(delta, one)) { /* downwards: the same with both signs turned */
        if (!ir_dim_at_least(ir_dim_const(-1), delta) || !ir_dim_sub(zero, delta, &delta) ||
            !ir_dim_sub(zero, length, &length)) {
            return false;
        }
    }
    if (ir_dim_at_least(zero, length)) {
        *count = zero;
        return true;
    }
    return ir_dim_at_least(length, zero) && ir_dim_add(length, delta, &rounded) && ir_dim_sub(rounded, one, &rounded) &&
           ir_dim_truncated_div(rounded, delta, count);
}

static bool range_count_float(const ir_infer_context *c, ir_dim *count)
{
    double start, limit, delta;
    if (!ir_const_scalar(c->graph, c->info->inputs[0], &start) ||
        !ir_const_scalar(c->graph, c->info->inputs[1], &limit) ||
        !ir_const_scalar(c->graph, c->info->inputs[2], &delta)) {
        return false;
    }
    double number = ceil((limit - start) / delta);
    if (!(delta != 0) || !(number < 9e15)) {
        return false;
    }
    *count = ir_dim_const(number > 0 ? (int64_t)number : 0);
    return true;
}

mtl_status ir_infer_range(const ir_infer_context *c, ir_type *type)
{
    BASE_TRY(ir_infer_check_numeric(c, 0));
    BASE_TRY(ir_infer_one_dtype(c));
    const ir_dim *content[3];
    bool known = true;
    for (uint32_t i = 0; i < 3; i++) {
        const ir_value_info *operand = ir_info(c->graph, c->info->inputs[i]);
        ir_dim count;
        if (!ir_type_count(&operand->type, &count) || !ir_dim_is(count, 1)) {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "operand %u is %s, expected a scalar",
                           (unsigned)i, ir_infer_text(c, &operand->type));
        }
        content[i] = operand->content;
        known = known && operand->content != NULL;
    }
    ir_type found = {.dtype = ir_infer_operand(c, 0)->dtype, .rank = 1};
    if (ir_dtype_is_float(found.dtype)) {
        known = range_count_float(c, &found.dim[0]);
    } else {
        known = known && range_count(*content[0], *content[1], *content[2], &found.dim[0]);
    }
    if (!known) {
        return ir_fail(c->graph, c->node, c->diag, MTL_UNSUPPORTED, "the number of elements %s",
                       content[0] != NULL && content[1] != NULL && content[2] != NULL ? "is not linear in the symbols"
                                                                                      : "depends on data");
    }
    *type = found;
    return ir_content_range(c, type);
}
