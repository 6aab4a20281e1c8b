/* Shapes that exporters wrote for the model's 1, where the users are now. */
#include "onnx/once.h"

enum { MOST_RATES = 256 }; /* times that all rates are found: bounds what a hostile file can ask for */

static bool has_rows(ir_dim dim)
{
    return dim.k[IR_SYMBOL_ROWS] != 0;
}

/* Elements of a value for one user, and those in front of the users' place in row-major order. False: not known. */
static mtl_status find_place(onnx_importer *importer, ir_value value, int64_t *elements, int64_t *before, bool *found)
{
    ir_graph *graph = importer->graph;
    const ir_type type = *ir_type_of(graph, value);
    int axis = 0;
    *found = false;
    *elements = *before = 1;
    while (axis < type.rank && !has_rows(type.dim[axis])) {
        axis++;
    }
    for (int i = 0; i < type.rank; i++) {
        ir_dim dim = type.dim[i];
        int64_t extent = i == axis ? dim.k[IR_SYMBOL_ROWS] : dim.c;
        dim.k[IR_SYMBOL_ROWS] = i == axis ? 0 : dim.k[IR_SYMBOL_ROWS];
        if (!ir_dim_is_const(dim) || (i == axis && dim.c != 0) || __builtin_mul_overflow(*elements, extent, elements)) {
            return MTL_OK;
        }
        *before = i < axis ? *elements : *before;
    }
    if (axis == type.rank) {
        return MTL_OK;
    }
    if (type.dim[axis].k[IR_SYMBOL_ROWS] != 1) {
        if (importer->once_rates++ >= MOST_RATES) {
            return MTL_OK;
        }
        BASE_TRY(ir_infer_rates(graph, importer->diag));
        const ir_rate *rate = &ir_info(graph, value)->rate;
        if (rate->kind != IR_RATE_ROW || rate->axis != axis) {
            return MTL_OK;
        }
        *before *= rate->before; /* a factor of the extent */
    }
    *found = *elements > 0;
    return MTL_OK;
}

/* The axis of a target without users that their place is in, or next to: where it has a 1 there, that; a matrix's rows;
 * else the axis that begins there, or that it lies in. -1: none. */
static int find_axis(const ir_type *to, int64_t before)
{
    int64_t elements = 1;
    for (int i = 0; i < to->rank; i++) {
        if (elements == before) {
            if (ir_dim_is(to->dim[i], 1)) {
                return i;
            }
            return to->rank == 2 && i == 1 ? 0 : i;
        }
        elements *= to->dim[i].c; /* of a product that was checked */
        if (elements > before) {
            return i;
        }
    }
    return to->rank - 1;
}

mtl_status onnx_once_target(onnx_importer *importer, ir_value value, ir_type *to)
{
    unsigned flags;
    int64_t elements, before, others = 1;
    int open = -1;
    bool found = false;
    BASE_TRY(onnx_once_flags(importer, value, &flags));
    if (flags == ONNX_FROM_ONCE) {
        BASE_TRY(find_place(importer, value, &elements, &before, &found));
    }
    for (int i = 0; i < to->rank && found; i++) {
        found = ir_dim_is_const(to->dim[i]) && to->dim[i].c != 0;
        open = found && to->dim[i].c < 0 ? i : open;
        found = found && (to->dim[i].c < 0 || !__builtin_mul_overflow(others, to->dim[i].c, &others));
    }
    if (!found || (open >= 0 ? elements % others != 0 : elements != others)) {
        return MTL_OK; /* an error, if it is one, is found where it always is */
    }
    if (open >= 0) {
        to->dim[open] = ir_dim_const(elements / others);
    }
    int axis = find_axis(to, before);
    if (axis >= 0 && !ir_dim_mul(to->dim[axis], ir_dim_symbol(IR_SYMBOL_ROWS), &to->dim[axis])) {
        return base_fail(importer->diag, MTL_UNSUPPORTED, "a shape is too large");
    }
    return MTL_OK;
}

mtl_status onnx_once_widen(onnx_node *node, size_t index, int axis)
{
    onnx_importer *importer = node->importer;
    unsigned flags;
    BASE_TRY(onnx_once_flags(importer, onnx_in(node, index), &flags));
    ir_type type = *onnx_in_type(node, index);
    if (importer->once == NULL || flags != 0 || axis >= type.rank || !ir_dim_is(type.dim[axis], 1)) {
        return MTL_OK;
    }
    type.dim[axis] = ir_dim_symbol(IR_SYMBOL_ROWS);
    BASE_TRY(onnx_emit_typed(node, IR_OP_expand, onnx_in(node, index), NULL, 0, &type, &node->inputs[index].value));
    return onnx_once_mark(importer, node->inputs[index].value);
}
