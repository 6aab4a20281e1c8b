/* Types of element-wise nodes: one operand, or several that broadcast. */
#include "ir/chain.h"
#include "ir/infer.h"

mtl_status ir_infer_same(const ir_infer_context *c, ir_type *type)
{
    const ir_type *operand = ir_infer_operand(c, 0);
    if (c->info->op != IR_OP_identity && c->info->op != IR_OP_spread) {
        BASE_TRY(ir_infer_check_numeric(c, 0));
    }
    bool is_unsigned =
        operand->dtype == MTL_U64 || operand->dtype == MTL_U32 || operand->dtype == MTL_U16 || operand->dtype == MTL_U8;
    if (c->info->op == IR_OP_neg && is_unsigned) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "operand 0 is %s, expected signed numbers",
                       ir_infer_text(c, operand));
    }
    if (ir_find_attr(c->info, IR_ATTR_axis) != NULL) {
        BASE_TRY(ir_infer_check_axis(c, ir_attr_int(c->info, IR_ATTR_axis), operand->rank));
    }
    *type = *operand;
    return ir_content_elementwise(c, type);
}

mtl_status ir_infer_same_float(const ir_infer_context *c, ir_type *type)
{
    BASE_TRY(ir_infer_check_float(c, 0));
    return ir_infer_same(c, type);
}

mtl_status ir_infer_same_bool(const ir_infer_context *c, ir_type *type)
{
    BASE_TRY(ir_infer_check_bool(c, 0));
    *type = *ir_infer_operand(c, 0);
    return ir_content_elementwise(c, type);
}

mtl_status ir_infer_to_bool(const ir_infer_context *c, ir_type *type)
{
    BASE_TRY(ir_infer_check_float(c, 0));
    *type = *ir_infer_operand(c, 0);
    type->dtype = MTL_BOOL;
    return MTL_OK;
}

mtl_status ir_infer_cast(const ir_infer_context *c, ir_type *type)
{
    int64_t to = ir_attr_int(c->info, IR_ATTR_to);
    if (to < MTL_F32 || to > MTL_BOOL) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "%lld is no element type", (long long)to);
    }
    *type = *ir_infer_operand(c, 0);
    type->dtype = (mtl_dtype)to;
    return ir_content_cast(c, type);
}

static mtl_status join_operands(const ir_infer_context *c, ir_type *type)
{
    *type = *ir_infer_operand(c, 0);
    for (uint32_t i = 1; i < c->info->input_count; i++) {
        BASE_TRY(ir_infer_join(c, type, ir_infer_operand(c, i)));
    }
    return MTL_OK;
}

mtl_status ir_infer_broadcast(const ir_infer_context *c, ir_type *type)
{
    BASE_TRY(ir_infer_check_numeric(c, 0));
    BASE_TRY(ir_infer_one_dtype(c));
    BASE_TRY(join_operands(c, type));
    if (c->info->op == IR_OP_prelu && !ir_type_equal(type, ir_infer_operand(c, 0))) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "%s: the slope does not broadcast to the operand",
                       ir_infer_operands_text(c));
    }
    return ir_content_elementwise(c, type);
}

mtl_status ir_infer_pow(const ir_infer_context *c, ir_type *type)
{
    BASE_TRY(ir_infer_check_numeric(c, 0));
    BASE_TRY(ir_infer_check_numeric(c, 1));
    return join_operands(c, type);
}

mtl_status ir_infer_broadcast_int(const ir_infer_context *c, ir_type *type)
{
    if (!ir_dtype_is_int(ir_infer_operand(c, 0)->dtype)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "operand 0 is %s, expected integers",
                       ir_infer_text(c, ir_infer_operand(c, 0)));
    }
    BASE_TRY(ir_infer_one_dtype(c));
    return join_operands(c, type);
}

mtl_status ir_infer_broadcast_bool(const ir_infer_context *c, ir_type *type)
{
    BASE_TRY(ir_infer_check_bool(c, 0));
    BASE_TRY(ir_infer_check_bool(c, 1));
    BASE_TRY(join_operands(c, type));
    return ir_content_elementwise(c, type);
}

mtl_status ir_infer_compare(const ir_infer_context *c, ir_type *type)
{
    if (c->info->op != IR_OP_equal) {
        BASE_TRY(ir_infer_check_numeric(c, 0));
    }
    BASE_TRY(ir_infer_one_dtype(c));
    BASE_TRY(join_operands(c, type));
    type->dtype = MTL_BOOL;
    return ir_content_elementwise(c, type);
}

mtl_status ir_infer_where(const ir_infer_context *c, ir_type *type)
{
    BASE_TRY(ir_infer_check_bool(c, 0));
    if (ir_infer_operand(c, 1)->dtype != ir_infer_operand(c, 2)->dtype) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "%s: the two values differ in type",
                       ir_infer_operands_text(c));
    }
    BASE_TRY(join_operands(c, type));
    type->dtype = ir_infer_operand(c, 1)->dtype;
    return ir_content_where(c, type);
}

/* A chain takes no operand of another shape than its first, but for columns. */
static mtl_status check_chain_operand(const ir_infer_context *c, uint32_t i, const ir_type *type)
{
    if (ir_chain_fits(ir_infer_operand(c, i), type)) {
        return MTL_OK;
    }
    return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "operand %u is %s, expected %s or its last axes",
                   (unsigned)i, ir_infer_text(c, ir_infer_operand(c, i)), ir_infer_text(c, type));
}

mtl_status ir_infer_chain(const ir_infer_context *c, ir_type *type)
{
    const char *program = ir_find_attr(c->info, IR_ATTR_program)->text;
    ir_chain chain;
    size_t at;
    BASE_TRY(ir_infer_check_float(c, 0));
    *type = *ir_infer_operand(c, 0);
    for (uint32_t i = 1; i < c->info->input_count; i++) {
        BASE_TRY(check_chain_operand(c, i, type));
    }
    if (!ir_chain_read(program, &chain, &at)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                       "program '%.100s': at character %zu, expected a function, as in 'mul 1; relu'",
                       program != NULL ? program : "", at + 1);
    }
    for (size_t i = 0; i < chain.count; i++) {
        if (chain.steps[i].operand >= c->info->input_count) {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "program '%.100s' has operand %u of %u",
                           program, (unsigned)chain.steps[i].operand, (unsigned)c->info->input_count);
        }
    }
    return MTL_OK;
}

mtl_status ir_infer_top_k(const ir_infer_context *c, ir_type *type)
{
    const ir_type *x = ir_infer_operand(c, 0);
    int64_t axis = ir_attr_int(c->info, IR_ATTR_axis), k = ir_attr_int(c->info, IR_ATTR_k);
    int64_t largest = ir_attr_int(c->info, IR_ATTR_largest);
    BASE_TRY(ir_infer_check_numeric(c, 0));
    BASE_TRY(ir_infer_check_axis(c, axis, x->rank));
    if (k < 1 || !ir_dim_is_const(x->dim[axis]) || x->dim[axis].c < k || (largest != 0 && largest != 1)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                       "k %lld, largest %lld: expected 0 or 1, and at least one of the fixed extent of axis %lld of %s",
                       (long long)k, (long long)largest, (long long)axis, ir_infer_text(c, x));
    }
    *type = *x;
    type->dtype = MTL_I64;
    type->dim[axis] = ir_dim_const(k);
    return MTL_OK;
}

mtl_status ir_infer_cumsum(const ir_infer_context *c, ir_type *type)
{
    BASE_TRY(ir_infer_same(c, type));
    BASE_TRY(ir_infer_check_act(c));
    const ir_attr *act = ir_find_attr(c->info, IR_ATTR_act);
    return act != NULL && act->text[0] != '\0' ? ir_infer_check_float(c, 0) : MTL_OK;
}
