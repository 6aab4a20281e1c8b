#include "compiler/legalize.h"

#include <math.h>
#include <string.h>

/* A sum of nothing is 0 and a product 1, the others are not there. */
static mtl_status check_reduced(const ir_graph *graph, ir_node node, base_diag *diag)
{
    const ir_node_info *info = ir_node_of(graph, node);
    const ir_type *type = ir_type_of(graph, info->inputs[0]);
    const ir_attr *axes = ir_find_attr(info, IR_ATTR_axes);
    if (info->op == IR_OP_reduce_sum || info->op == IR_OP_reduce_prod || axes == NULL) {
        return MTL_OK;
    }
    for (size_t i = 0; i < axes->count; i++) {
        if (ir_dim_is(type->dim[axes->ints[i]], 0)) {
            return ir_fail(graph, node, diag, MTL_UNSUPPORTED, "axis %d is empty: it has no %s", (int)axes->ints[i],
                           ir_op_table(info->op)->name + strlen("reduce_"));
        }
    }
    return MTL_OK;
}

/* `result` stands for the node's own from now on, and what makes `work` for its sources. */
static mtl_status put_in_place(ir_graph *graph, ir_node node, ir_value work, ir_value result, base_diag *diag)
{
    BASE_TRY(ir_take_sources(graph, ir_info(graph, work)->node, node, diag));
    ir_replace(graph, ir_node_of(graph, node)->outputs[0], result);
    ir_remove(graph, node);
    return MTL_OK;
}

static bool axes_adjacent(const ir_attr *axes)
{
    for (size_t i = 1; i < axes->count; i++) {
        if (axes->ints[i] != axes->ints[i - 1] + 1) {
            return false;
        }
    }
    return true;
}

/* Kept axes first, in order, then the reduced ones: the reduction is then over the last axes. */
static mtl_status gather_reduced_axes(ir_graph *graph, ir_node node, base_diag *diag)
{
    ir_node_info old = *ir_node_of(graph, node);
    const ir_attr *axes = ir_find_attr(&old, IR_ATTR_axes);
    BASE_TRY(check_reduced(graph, node, diag));
    if (axes == NULL || axes_adjacent(axes)) {
        return MTL_OK;
    }
    ir_type result = *ir_type_of(graph, old.outputs[0]);
    int32_t rank = ir_type_of(graph, old.inputs[0])->rank;
    int64_t perm[MTL_MAX_RANK], last[MTL_MAX_RANK];
    size_t kept = 0, reduced = 0;
    for (int32_t axis = 0; axis < rank; axis++) {
        bool is_reduced = false;
        for (size_t i = 0; i < axes->count; i++) {
            is_reduced |= axes->ints[i] == axis;
        }
        if (is_reduced) {
            perm[(size_t)rank - axes->count + reduced++] = axis;
        } else {
            perm[kept++] = axis;
        }
    }
    for (size_t i = 0; i < axes->count; i++) {
        last[i] = (int64_t)((size_t)rank - axes->count + i);
    }
    ir_value moved, sum, shaped;
    BASE_TRY(ir_insert(graph, node, IR_OP_transpose, NULL, &old.inputs[0], 1, (ir_attr[]){IR_INTS(perm, perm, rank)}, 1,
                       diag, &moved));
    BASE_TRY(ir_insert(graph, node, old.op, NULL, &moved, 1,
                       (ir_attr[]){IR_INTS(axes, last, axes->count), IR_INT(keepdims, 0)}, 2, diag, &sum));
    BASE_TRY(ir_insert_typed(graph, node, IR_OP_reshape, NULL, &sum, 1, NULL, 0, &result, diag, &shaped));
    return put_in_place(graph, node, sum, shaped, diag);
}

/* ONNX MatMul takes vectors on either side (as NumPy does); a plan's matmul takes matrices only. */
static mtl_status widen_vectors(ir_graph *graph, ir_node node, base_diag *diag)
{
    ir_node_info old = *ir_node_of(graph, node);
    ir_type result = *ir_type_of(graph, old.outputs[0]);
    ir_value operands[2] = {old.inputs[0], old.inputs[1]}, product, shaped;
    bool any = false;
    for (int side = 0; side < 2; side++) {
        ir_type type = *ir_type_of(graph, operands[side]);
        if (type.rank != 1) {
            continue;
        }
        any = true;
        ir_dim extent = type.dim[0];
        type.rank = 2;
        type.dim[side] = ir_dim_const(1);
        type.dim[1 - side] = extent;
        BASE_TRY(ir_insert_typed(graph, node, IR_OP_reshape, NULL, &operands[side], 1, NULL, 0, &type, diag,
                                 &operands[side]));
    }
    if (!any) {
        return MTL_OK;
    }
    BASE_TRY(ir_insert(graph, node, IR_OP_matmul, NULL, operands, 2, NULL, 0, diag, &product));
    BASE_TRY(ir_insert_typed(graph, node, IR_OP_reshape, NULL, &product, 1, NULL, 0, &result, diag, &shaped));
    return put_in_place(graph, node, product, shaped, diag);
}

static mtl_status match_exponent(ir_graph *graph, ir_node node, base_diag *diag)
{
    ir_node_info old = *ir_node_of(graph, node);
    mtl_dtype base = ir_type_of(graph, old.inputs[0])->dtype;
    if (ir_type_of(graph, old.inputs[1])->dtype == base) {
        return MTL_OK;
    }
    ir_value operands[2] = {old.inputs[0], 0}, power;
    BASE_TRY(ir_insert(graph, node, IR_OP_cast, NULL, &old.inputs[1], 1, (ir_attr[]){IR_DTYPE(to, base)}, 1, diag,
                       &operands[1]));
    BASE_TRY(ir_insert(graph, node, IR_OP_pow, NULL, operands, 2, NULL, 0, diag, &power));
    return put_in_place(graph, node, power, power, diag);
}

/* A plan's relu is for floats; integers go through max. */
static mtl_status compare_with_zero(ir_graph *graph, ir_node node, base_diag *diag)
{
    ir_node_info old = *ir_node_of(graph, node);
    mtl_dtype dtype = ir_type_of(graph, old.outputs[0])->dtype;
    if (dtype == MTL_F32) {
        return MTL_OK;
    }
    static const int64_t zero = 0;
    ir_value operands[2] = {old.inputs[0], 0}, larger;
    BASE_TRY(ir_add_const_ints(graph, &zero, 1, 0, diag, &operands[1]));
    BASE_TRY(ir_insert(graph, node, IR_OP_cast, NULL, &operands[1], 1, (ir_attr[]){IR_DTYPE(to, dtype)}, 1, diag,
                       &operands[1]));
    BASE_TRY(ir_insert(graph, node, IR_OP_max, NULL, operands, 2, NULL, 0, diag, &larger));
    return put_in_place(graph, node, larger, larger, diag);
}

/* There and back between int64 and uint64, as shifts of hashes have it: the bits are as before. */
static void undo_cast(ir_graph *graph, ir_node node)
{
    const ir_node_info *back = ir_node_of(graph, node);
    const ir_node_info *there = ir_producer_op(graph, back->inputs[0], IR_OP_cast);
    if (there != NULL && ir_type_of(graph, back->outputs[0])->dtype == MTL_I64 &&
        ir_type_of(graph, back->inputs[0])->dtype == MTL_U64 && ir_type_of(graph, there->inputs[0])->dtype == MTL_I64) {
        ir_value before = there->inputs[0];
        ir_set_fate(graph, node, "there and back");
        ir_replace(graph, back->outputs[0], before);
        ir_remove(graph, node);
    }
}

/* Bits are computed on in int64, or int32: others come and go through casts, uint64 as its bits. */
static mtl_status widen_bits(ir_graph *graph, ir_node node, base_diag *diag)
{
    ir_node_info old = *ir_node_of(graph, node);
    mtl_dtype dtype = ir_type_of(graph, old.outputs[0])->dtype;
    if (dtype == MTL_I64 || dtype == MTL_I32) {
        return MTL_OK;
    }
    ir_value operands[2] = {old.inputs[0], old.inputs[1]}, bits, back;
    for (int i = 0; i < 2; i++) {
        BASE_TRY(ir_insert(graph, node, IR_OP_cast, NULL, &operands[i], 1, (ir_attr[]){IR_DTYPE(to, MTL_I64)}, 1, diag,
                           &operands[i]));
        ir_value cast = operands[i];
        const ir_node_info *there = ir_producer_op(graph, ir_producer(graph, cast)->inputs[0], IR_OP_cast);
        if (there != NULL && dtype == MTL_U64 && ir_type_of(graph, there->inputs[0])->dtype == MTL_I64) {
            operands[i] = there->inputs[0];
            ir_remove(graph, ir_info(graph, cast)->node);
        }
    }
    ir_op op = old.op == IR_OP_shift_right && dtype == MTL_U64 ? IR_OP_shift_right_zero : old.op;
    BASE_TRY(ir_insert(graph, node, op, NULL, operands, 2, NULL, 0, diag, &bits));
    BASE_TRY(ir_insert(graph, node, IR_OP_cast, NULL, &bits, 1, (ir_attr[]){IR_DTYPE(to, dtype)}, 1, diag, &back));
    return put_in_place(graph, node, bits, back, diag);
}

/* The importer makes min and max of a Clip of integers. */
static mtl_status check_clip(const ir_graph *graph, ir_node node, base_diag *diag)
{
    mtl_dtype dtype = ir_type_of(graph, ir_node_of(graph, node)->inputs[0])->dtype;
    return dtype == MTL_F32 ? MTL_OK
                            : ir_fail(graph, node, diag, MTL_UNSUPPORTED, "operand 0 is %s, expected float32",
                                      mtl_dtype_name(dtype));
}

static mtl_status check_weights(const ir_graph *graph, ir_node node, base_diag *diag)
{
    const ir_tensor *weights = ir_info(graph, ir_node_of(graph, node)->inputs[1])->tensor;
    return weights->count > 0 ? MTL_OK : ir_fail(graph, node, diag, MTL_UNSUPPORTED, "its weights have no elements");
}

/* Whether a layer's step can begin with `start`: it has all extents of the result, or the candidates lead and it has 1 for all extents
 * between them and the `axes` of the layer, or 1 for them. */
static bool can_begin(const ir_type *start, const ir_type *result, int32_t axes)
{
    int32_t rows = 0, first = result->rank - axes;
    while (rows < first && ir_dim_is(result->dim[rows], 1)) {
        rows++;
    }
    bool leads = rows < first && ir_dim_equal(result->dim[rows], ir_dim_symbol(IR_SYMBOL_ROWS));
    bool equal = true, ones = true;
    for (int32_t i = rows + 1; i < first; i++) {
        equal = equal && ir_dim_equal(start->dim[i], result->dim[i]);
        ones = ones && ir_dim_is(start->dim[i], 1);
    }
    return ir_type_equal(start, result) || (leads && (equal || ones));
}

/* A start that has only some of the result's extents is expanded to all of them. */
static mtl_status expand_start(ir_graph *graph, ir_node node, base_diag *diag)
{
    const ir_node_info *info = ir_node_of(graph, node);
    ir_value start = ir_operand(info, 3);
    const ir_type type = *ir_type_of(graph, info->outputs[0]);
    if (start == 0 || can_begin(ir_type_of(graph, start), &type, ir_type_of(graph, info->inputs[1])->rank - 1)) {
        return MTL_OK;
    }
    BASE_TRY(ir_insert_typed(graph, node, IR_OP_expand, NULL, &start, 1, NULL, 0, &type, diag, &start));
    ir_node_of(graph, node)->inputs[3] = start;
    return MTL_OK;
}

/* The importer unrolls a layer whose weights may not be constants. */
static mtl_status check_recurrence(const ir_graph *graph, ir_node node, base_diag *diag)
{
    const ir_node_info *info = ir_node_of(graph, node);
    ir_value bias = ir_operand(info, 2);
    bool known = ir_is_const(graph, info->inputs[1]) && (bias == 0 || ir_is_const(graph, bias));
    return known && ir_type_of(graph, info->outputs[0])->dtype == MTL_F32
               ? MTL_OK
               : ir_fail(graph, node, diag, MTL_UNSUPPORTED, "its recurrent weights and bias are no float32 constants");
}

/* Where the plan's mix cannot hold it, with more numbers than a step has or an H that is not fixed: softmax, gather and
 * matmul, (B, T, 1, E) by (B, T, E, H). */
static mtl_status spell_out_mix(ir_graph *graph, ir_node node, base_diag *diag)
{
    ir_node_info old = *ir_node_of(graph, node);
    const ir_attr *index = ir_find_attr(&old, IR_ATTR_index);
    if (index->count <= UINT16_MAX && ir_dim_is_const(ir_type_of(graph, old.outputs[0])->dim[2])) {
        return MTL_OK;
    }
    ir_type result = *ir_type_of(graph, old.outputs[0]), weights = *ir_type_of(graph, old.inputs[0]), values = result;
    ir_value p = old.inputs[0], x = old.inputs[1], numbers;
    if (ir_find_attr(&old, IR_ATTR_function)->text[0] != '\0') {
        BASE_TRY(ir_insert(graph, node, IR_OP_softmax, NULL, &p, 1, (ir_attr[]){IR_INT(axis, 2)}, 1, diag, &p));
    }
    values.rank = weights.rank = 4;
    values.dim[3] = values.dim[2];
    values.dim[2] = weights.dim[3] = weights.dim[2];
    weights.dim[2] = ir_dim_const(1);
    BASE_TRY(ir_add_const_ints(graph, index->ints, index->count, 1, diag, &numbers));
    BASE_TRY(ir_insert(graph, node, IR_OP_gather, NULL, (ir_value[]){x, numbers}, 2, (ir_attr[]){IR_INT(axis, 1)}, 1,
                       diag, &x));
    BASE_TRY(ir_insert_typed(graph, node, IR_OP_reshape, NULL, &x, 1, NULL, 0, &values, diag, &x));
    BASE_TRY(ir_insert_typed(graph, node, IR_OP_reshape, NULL, &p, 1, NULL, 0, &weights, diag, &p));
    BASE_TRY(ir_insert(graph, node, IR_OP_matmul, NULL, (ir_value[]){p, x}, 2, NULL, 0, diag, &p));
    BASE_TRY(ir_insert_typed(graph, node, IR_OP_reshape, NULL, &p, 1, NULL, 0, &result, diag, &x));
    return put_in_place(graph, node, p, x, diag);
}

/* Models may carry any bits; what a step computes with must be a number. */
static mtl_status check_numbers(const ir_graph *graph, ir_node node, base_diag *diag)
{
    const ir_node_info *info = ir_node_of(graph, node);
    for (uint32_t i = 0; i < info->attr_count; i++) {
        const ir_attr *attr = &info->attrs[i];
        if (ir_attr_key_kind(attr->key) == IR_KIND_FLOAT && isnan(attr->f)) {
            return ir_fail(graph, node, diag, MTL_UNSUPPORTED, "%s is nan, expected a number", ir_attr_name(attr->key));
        }
        if (attr->key == IR_ATTR_epsilon && !(attr->f >= 0 && isfinite(attr->f))) {
            return ir_fail(graph, node, diag, MTL_UNSUPPORTED, "epsilon is %g, expected a finite number, not negative",
                           attr->f);
        }
    }
    return MTL_OK;
}

mtl_status compiler_legalize(ir_graph *graph, base_diag *diag)
{
    for (ir_node node = graph->first_node, next; node != 0; node = next) {
        next = ir_node_of(graph, node)->next;
        BASE_TRY(check_numbers(graph, node, diag));
        switch (ir_node_of(graph, node)->op) {
        case IR_OP_reduce_sum:
        case IR_OP_reduce_mean:
        case IR_OP_reduce_max:
        case IR_OP_reduce_min:
        case IR_OP_reduce_prod: BASE_TRY(gather_reduced_axes(graph, node, diag)); break;
        case IR_OP_clip: BASE_TRY(check_clip(graph, node, diag)); break;
        case IR_OP_linear:
            BASE_TRY(check_weights(graph, node, diag));
            BASE_TRY(expand_start(graph, node, diag));
            break;
        case IR_OP_gru: BASE_TRY(check_recurrence(graph, node, diag)); break;
        case IR_OP_mix: BASE_TRY(spell_out_mix(graph, node, diag)); break;
        case IR_OP_matmul: BASE_TRY(widen_vectors(graph, node, diag)); break;
        case IR_OP_cast: undo_cast(graph, node); break;
        case IR_OP_bit_and:
        case IR_OP_bit_or:
        case IR_OP_bit_xor:
        case IR_OP_shift_left:
        case IR_OP_shift_right:
        case IR_OP_shift_right_zero: BASE_TRY(widen_bits(graph, node, diag)); break;
        case IR_OP_relu: BASE_TRY(compare_with_zero(graph, node, diag)); break;
        case IR_OP_pow: BASE_TRY(match_exponent(graph, node, diag)); break;
        default: break;
        }
    }
    return MTL_OK;
}
