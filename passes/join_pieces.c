/* Moves of columns become the shortest that say the same.
 *
 *     %a = slice(%y) starts=[0, 0] steps=[1, 1]    : f32[B, 4]
 *     %b = slice(%y) starts=[0, 4] steps=[1, 1]    : f32[B, 8]
 *     %c = concat(%a, %b) axis=1                   : f32[B, 12]
 *     %d = slice(%c) starts=[0, 4] steps=[1, 1]    : f32[B, 8]
 *
 * becomes, with y (B, 16),
 *
 *     %c = slice(%y) starts=[0, 0] steps=[1, 1]    : f32[B, 12]
 *     %d = slice(%y) starts=[0, 4] steps=[1, 1]    : f32[B, 8]
 *
 * A concatenation of neighbours is a slice of what they are pieces of, or that itself; a slice of a slice, or of a
 * concatenation, is one slice. Reshapes that keep the first axis are seen through; picking one index of an axis is a
 * slice. Each result is written as at most one reshape, one slice and one reshape of its root.
 */
#include "passes/passes.h"
#include "passes/pieces.h"

static const char fate[] = "its numbers are read where they lie";

/* How many nodes say where `value` lies, from its root on; -1: not only reshapes and slices. */
static int moves_between(const ir_graph *graph, ir_value value, ir_value root)
{
    int moves = 0;
    for (; value != root; moves++) {
        const ir_node_info *node = ir_producer(graph, value);
        if (node->op != IR_OP_reshape && node->op != IR_OP_slice) {
            return -1;
        }
        value = node->inputs[0];
    }
    return moves;
}

/* How many are needed. */
static int moves_needed(const ir_graph *graph, const passes_piece *piece, const ir_type *type)
{
    const ir_type *root = ir_type_of(graph, piece->root);
    int64_t width;
    if (passes_row_width(root, &width) && width == piece->width) {
        return ir_type_equal(root, type) ? 0 : 1;
    }
    return (root->rank != 2) + 1 + (type->rank != 2);
}

static mtl_status replace_by(passes_rewriter *r, ir_node n, ir_value value)
{
    ir_value old = ir_node_of(r->graph, n)->outputs[0];
    const ir_node_info *maker = ir_producer(r->graph, value);
    bool moves = maker != NULL && (maker->op == IR_OP_reshape || maker->op == IR_OP_slice || maker->op == IR_OP_concat);
    if (moves) {
        BASE_TRY(passes_take_sources(r, ir_info(r->graph, value)->node, n));
    }
    passes_substitute(r, old, value, fate);
    passes_kill(r, n, moves ? NULL : fate);
    return MTL_OK;
}

static mtl_status shorten(passes_rewriter *r, ir_node n)
{
    ir_value result = ir_node_of(r->graph, n)->outputs[0], value;
    ir_type type = *ir_type_of(r->graph, result);
    passes_piece piece;
    if (!passes_find_piece(r, result, &piece) || piece.root == result) {
        return MTL_OK;
    }
    int moves = moves_between(r->graph, result, piece.root);
    if (moves >= 0 && moves <= moves_needed(r->graph, &piece, &type)) {
        return MTL_OK;
    }
    BASE_TRY(passes_piece_value(r, n, &piece, &type, &value));
    return replace_by(r, n, value);
}

static mtl_status join(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    ir_type type = *ir_type_of(r->graph, node->outputs[0]);
    passes_piece *pieces = BASE_NEW_ARRAY(&r->scratch, passes_piece, node->input_count);
    BASE_TRY_MEMORY(pieces, r->diag);
    size_t runs = 0;
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (!passes_cuts_rows(&type, (int)ir_attr_int(node, IR_ATTR_axis)) ||
            !passes_find_piece(r, node->inputs[i], &pieces[i])) {
            return MTL_OK;
        }
        runs += i == 0 || !passes_follows(&pieces[i - 1], &pieces[i]);
    }
    if (runs == node->input_count) {
        return MTL_OK;
    }
    ir_value value;
    BASE_TRY(passes_pack(r, n, pieces, node->input_count, &type, &value));
    return replace_by(r, n, value);
}

static mtl_status visit(passes_rewriter *r, ir_node n)
{
    switch (ir_node_of(r->graph, n)->op) {
    case IR_OP_reshape:
    case IR_OP_slice:
    case IR_OP_gather: return shorten(r, n);
    case IR_OP_concat: return join(r, n);
    default: return MTL_OK;
    }
}

mtl_status passes_join_pieces(ir_graph *graph, base_diag *diag)
{
    return passes_each(graph, diag, visit);
}
