#include "passes/pieces.h"

#include <stdlib.h>

bool passes_row_width(const ir_type *type, int64_t *width)
{
    *width = 1;
    if (type->rank < 1) {
        return false;
    }
    for (int axis = 1; axis < type->rank; axis++) {
        if (!ir_dim_is_const(type->dim[axis]) || __builtin_mul_overflow(*width, type->dim[axis].c, width)) {
            return false;
        }
    }
    return true;
}

int passes_compare_pieces(const passes_piece *a, const passes_piece *b)
{
    if (a->root != b->root) {
        return a->root < b->root ? -1 : 1;
    }
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

/* Elements of a row behind `axis`. */
static int64_t inner_width(const ir_type *type, int axis)
{
    int64_t width = 1;
    for (int i = axis + 1; i < type->rank; i++) {
        width *= type->dim[i].c;
    }
    return width;
}

bool passes_cuts_rows(const ir_type *type, int axis)
{
    for (int i = 1; i < axis; i++) {
        if (!ir_dim_is(type->dim[i], 1)) {
            return false;
        }
    }
    return axis >= 1;
}

/* Where the result of a slice begins in the rows of its operand; false: in no single place. */
static bool slice_offset(const ir_type *from, const ir_type *to, const ir_node_info *node, int64_t *offset)
{
    const ir_attr *starts = ir_find_attr(node, IR_ATTR_starts), *steps = ir_find_attr(node, IR_ATTR_steps);
    int cut = 0;
    for (int axis = 0; axis < from->rank; axis++) {
        bool whole = starts->ints[axis] == 0 && steps->ints[axis] == 1 && ir_dim_equal(from->dim[axis], to->dim[axis]);
        if (!whole && (cut > 0 || steps->ints[axis] != 1 || axis == 0)) {
            return false;
        }
        cut = whole ? cut : axis;
    }
    *offset = cut == 0 ? 0 : starts->ints[cut] * inner_width(from, cut);
    return cut == 0 || passes_cuts_rows(from, cut);
}

/* The same for picking one index of an axis. */
static bool pick_offset(const ir_graph *graph, const ir_type *from, const ir_node_info *node, int64_t *offset)
{
    int axis = (int)ir_attr_int(node, IR_ATTR_axis);
    ir_value index = node->inputs[1];
    if (!ir_is_const(graph, index) || ir_info(graph, index)->tensor->count != 1 || !passes_cuts_rows(from, axis)) {
        return false;
    }
    int64_t at = ir_tensor_int_at(ir_info(graph, index)->tensor, 0), extent = from->dim[axis].c;
    at = at < 0 ? at + extent : at;
    *offset = at * inner_width(from, axis);
    return at >= 0 && at < extent;
}

/* The operand of a concatenation that holds the whole piece; 0: none. `offset` becomes that in the operand. */
static ir_value holding_operand(const ir_graph *graph, const ir_node_info *node, passes_piece *piece)
{
    int axis = (int)ir_attr_int(node, IR_ATTR_axis);
    if (!passes_cuts_rows(ir_type_of(graph, node->outputs[0]), axis)) {
        return 0;
    }
    int64_t begin = 0;
    for (uint32_t i = 0; i < node->input_count; i++) {
        int64_t width;
        if (!passes_row_width(ir_type_of(graph, node->inputs[i]), &width)) {
            return 0;
        }
        if (piece->offset >= begin && piece->offset + piece->width <= begin + width) {
            piece->offset -= begin;
            return node->inputs[i];
        }
        begin += width;
    }
    return 0;
}

/* The value that `piece->root` is a view of, and the piece's place in it; 0: none. */
static ir_value step_back(const ir_graph *graph, passes_piece *piece)
{
    const ir_node_info *node = ir_producer(graph, piece->root);
    if (node == NULL) {
        return 0;
    }
    ir_value source = node->inputs[0];
    const ir_type *from = ir_type_of(graph, source), *to = ir_type_of(graph, piece->root);
    int64_t width, offset = 0;
    switch (node->op) {
    case IR_OP_identity: break;
    case IR_OP_reshape:
        if (from->rank < 1 || !ir_dim_equal(from->dim[0], to->dim[0])) {
            return 0;
        }
        break;
    case IR_OP_slice:
        if (!slice_offset(from, to, node, &offset)) {
            return 0;
        }
        break;
    case IR_OP_gather:
        if (!pick_offset(graph, from, node, &offset)) {
            return 0;
        }
        break;
    case IR_OP_concat: return holding_operand(graph, node, piece);
    default: return 0;
    }
    if (!passes_row_width(from, &width)) {
        return 0;
    }
    piece->offset += offset;
    return source;
}

bool passes_find_piece(passes_rewriter *r, ir_value value, passes_piece *piece)
{
    int64_t width;
    return passes_row_width(ir_type_of(r->graph, passes_resolve(r, value)), &width) &&
           passes_find_part(r, value, 0, width, piece);
}

bool passes_find_part(passes_rewriter *r, ir_value value, int64_t offset, int64_t width, passes_piece *piece)
{
    int64_t row;
    *piece = (passes_piece){.root = passes_resolve(r, value), .offset = offset, .width = width};
    if (!passes_row_width(ir_type_of(r->graph, piece->root), &row)) {
        return false;
    }
    for (ir_value source; (source = step_back(r->graph, piece)) != 0;) {
        piece->root = passes_resolve(r, source);
    }
    return true;
}

/* A node that only says where something is. It does nobody's work: --explain names those that compute. */
static mtl_status insert_view(passes_rewriter *r, ir_node before, ir_op op, const ir_attr *attrs, size_t attr_count,
                              const ir_type *type, ir_value *value)
{
    BASE_TRY(passes_insert(r, before, op, NULL, value, 1, attrs, attr_count, type, value));
    r->graph->nodes[ir_info(r->graph, *value)->node].source_count = 0;
    return MTL_OK;
}

mtl_status passes_piece_value(passes_rewriter *r, ir_node before, const passes_piece *piece, const ir_type *type,
                              ir_value *value)
{
    const ir_type *root = ir_type_of(r->graph, piece->root);
    ir_type flat = {.dtype = root->dtype, .rank = 2, .dim = {root->dim[0]}};
    int64_t width = 1;
    passes_row_width(root, &width);
    flat.dim[1] = ir_dim_const(width);
    *value = piece->root;
    if (piece->width != width) {
        ir_attr attrs[2] = {IR_INTS(starts, ((int64_t[]){0, piece->offset}), 2),
                            IR_INTS(steps, ((int64_t[]){1, 1}), 2)};
        if (root->rank != 2) {
            BASE_TRY(insert_view(r, before, IR_OP_reshape, NULL, 0, &flat, value));
        }
        flat.dim[1] = ir_dim_const(piece->width);
        BASE_TRY(insert_view(r, before, IR_OP_slice, attrs, 2, &flat, value));
    }
    if (ir_type_equal(ir_type_of(r->graph, *value), type)) {
        return MTL_OK;
    }
    return insert_view(r, before, IR_OP_reshape, NULL, 0, type, value);
}

/* Pieces from `i` on that are neighbours, as one; returns the position of the first that is not. */
static size_t next_run(const passes_piece *pieces, size_t count, size_t i, passes_piece *run)
{
    *run = pieces[i++];
    while (i < count && passes_follows(run, &pieces[i])) {
        run->width += pieces[i++].width;
    }
    return i;
}

mtl_status passes_pack(passes_rewriter *r, ir_node before, const passes_piece *pieces, size_t count,
                       const ir_type *type, ir_value *value)
{
    ir_value *parts = BASE_NEW_ARRAY(&r->scratch, ir_value, count);
    BASE_TRY_MEMORY(parts, r->diag);
    size_t part_count = 0;
    for (size_t i = 0; i < count;) {
        passes_piece run;
        size_t first = i;
        i = next_run(pieces, count, i, &run);
        if (first == 0 && i == count) {
            return passes_piece_value(r, before, &run, type, value);
        }
        ir_type flat = *ir_type_of(r->graph, run.root);
        flat.rank = 2;
        flat.dim[1] = ir_dim_const(run.width);
        BASE_TRY(passes_piece_value(r, before, &run, &flat, &parts[part_count++]));
    }
    ir_attr axis = IR_INT(axis, 1);
    BASE_TRY(passes_insert(r, before, IR_OP_concat, NULL, parts, part_count, &axis, 1, NULL, value));
    if (ir_type_equal(ir_type_of(r->graph, *value), type)) {
        return MTL_OK;
    }
    return insert_view(r, before, IR_OP_reshape, NULL, 0, type, value);
}

/* Where the outputs' elements lie, in order. */
struct passes_output_pieces {
    passes_piece *pieces;
    size_t count;
    uint32_t substitutions; /* since then, other values may have taken their places */
};

static int by_place(const void *left, const void *right)
{
    const passes_piece *a = left, *b = right;
    int order = passes_compare_pieces(a, b);
    return order != 0 ? order : a->width < b->width ? -1 : a->width > b->width;
}

static struct passes_output_pieces *output_pieces(passes_rewriter *r)
{
    struct passes_output_pieces *outputs = r->outputs;
    if (outputs == NULL) {
        outputs = BASE_NEW(&r->scratch, struct passes_output_pieces);
        passes_piece *pieces = BASE_NEW_ARRAY(&r->scratch, passes_piece, r->graph->output_count + 1);
        if (outputs == NULL || pieces == NULL) {
            return NULL;
        }
        outputs->pieces = pieces;
        outputs->substitutions = r->substitutions - 1;
        r->outputs = outputs;
    }
    if (outputs->substitutions != r->substitutions) {
        outputs->substitutions = r->substitutions;
        outputs->count = 0;
        for (uint32_t i = 0; i < r->graph->output_count; i++) {
            passes_piece *piece = &outputs->pieces[outputs->count];
            outputs->count += passes_find_piece(r, r->graph->outputs[i].value, piece);
        }
        qsort(outputs->pieces, outputs->count, sizeof *outputs->pieces, by_place);
    }
    return outputs;
}

/* Without memory everything is one: then nothing moves. */
static bool is_output_piece(passes_rewriter *r, const passes_piece *piece)
{
    const struct passes_output_pieces *outputs = output_pieces(r);
    return outputs == NULL ||
           bsearch(piece, outputs->pieces, outputs->count, sizeof *outputs->pieces, by_place) != NULL;
}

bool passes_is_output(passes_rewriter *r, ir_value value)
{
    passes_piece piece;
    return passes_find_piece(r, value, &piece) && is_output_piece(r, &piece);
}

bool passes_is_whole_result(passes_rewriter *r, const passes_piece *run)
{
    int64_t width;
    return ir_producer(r->graph, run->root) != NULL && passes_row_width(ir_type_of(r->graph, run->root), &width) &&
           width == run->width && !is_output_piece(r, run);
}

bool passes_pack_is_free(passes_rewriter *r, const passes_piece *pieces, size_t count)
{
    ir_value last = 0; /* what is there twice, side by side when pieces are in order, must be copied */
    for (size_t i = 0; i < count;) {
        passes_piece run;
        size_t first = i;
        i = next_run(pieces, count, i, &run);
        if (first == 0 && i == count) {
            return true;
        }
        if (run.root == last || !passes_is_whole_result(r, &run)) {
            return false;
        }
        last = run.root;
    }
    return true;
}
