/* Types of nodes that work along axes: reductions, layer and batch normalisation. */
#include "ir/infer.h"

mtl_status ir_infer_reduce(const ir_infer_context *c, ir_type *type)
{
    const ir_type *operand = ir_infer_operand(c, 0);
    const ir_attr *axes = ir_find_attr(c->info, IR_ATTR_axes);
    unsigned reduced = 0;
    BASE_TRY(ir_infer_check_numeric(c, 0));
    for (size_t i = 0; i < axes->count; i++) {
        BASE_TRY(ir_infer_check_axis(c, axes->ints[i], operand->rank));
        if (i > 0 && axes->ints[i] <= axes->ints[i - 1]) {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "axis %lld follows axis %lld",
                           (long long)axes->ints[i], (long long)axes->ints[i - 1]);
        }
        reduced |= 1u << axes->ints[i];
    }
    ir_type found = {.dtype = operand->dtype};
    for (int32_t i = 0; i < operand->rank; i++) {
        if ((reduced >> i & 1u) == 0) {
            found.dim[found.rank++] = operand->dim[i];
        } else if (ir_attr_int(c->info, IR_ATTR_keepdims) != 0) {
            found.dim[found.rank++] = ir_dim_const(1);
        }
    }
    *type = found;
    return ir_content_reduce(c, type);
}

mtl_status ir_infer_layer_norm(const ir_infer_context *c, ir_type *type)
{
    const ir_type *x = ir_infer_operand(c, 0);
    int64_t axis = ir_attr_int(c->info, IR_ATTR_axis);
    BASE_TRY(ir_infer_check_float(c, 0));
    BASE_TRY(ir_infer_check_axis(c, axis, x->rank));
    BASE_TRY(ir_infer_one_dtype(c));
    ir_type expected = {.dtype = x->dtype};
    for (int32_t i = (int32_t)axis; i < x->rank; i++) {
        expected.dim[expected.rank++] = x->dim[i];
    }
    for (uint32_t i = 1; i < c->info->input_count; i++) {
        if (ir_infer_has_operand(c, i) && !ir_type_equal(ir_infer_operand(c, i), &expected)) {
            return ir_fail(c->graph, c->node, c->diag, MTL_UNSUPPORTED, "%s is %s, expected %s",
                           i == 1 ? "the scale" : "the bias", ir_infer_text(c, ir_infer_operand(c, i)),
                           ir_infer_text(c, &expected));
        }
    }
    *type = *x;
    return MTL_OK;
}

mtl_status ir_infer_batch_norm(const ir_infer_context *c, ir_type *type)
{
    static const char *const names[] = {"x", "the scale", "the bias", "the mean", "the variance"};
    const ir_type *x = ir_infer_operand(c, 0);
    BASE_TRY(ir_infer_check_float(c, 0));
    BASE_TRY(ir_infer_one_dtype(c));
    if (x->rank < 2) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "x is %s, which has no axis of channels",
                       ir_infer_text(c, x));
    }
    ir_type expected = {.dtype = x->dtype, .rank = 1, .dim = {x->dim[1]}};
    for (uint32_t i = 1; i < c->info->input_count; i++) {
        if (!ir_type_equal(ir_infer_operand(c, i), &expected)) {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "%s is %s, expected %s for x %s", names[i],
                           ir_infer_text(c, ir_infer_operand(c, i)), ir_infer_text(c, &expected), ir_infer_text(c, x));
        }
    }
    *type = *x;
    return MTL_OK;
}
