/* Element-wise functions side by side: the same function on neighbouring pieces is one function on all of them. Constant
 * operands become one vector. See side_by_side.c. */
#include <stdlib.h>

#include "passes/side.h"

typedef struct side_lane {
    ir_node node;
    int64_t width;          /* of the result's rows */
    passes_piece pieces[2]; /* of the operands that are no constants */
    bool is_const[2];
    size_t order;
    size_t kind; /* lanes of one kind: the same function, the same kinds of operands */
} side_lane;

/* Constants broadcast along the rows. */
static bool is_const_lane(const ir_graph *graph, ir_value c, const ir_type *result)
{
    const ir_type *type = ir_type_of(graph, c);
    return type->rank < result->rank || (type->rank == result->rank && ir_dim_is(type->dim[0], 1));
}

static bool read_lane(passes_rewriter *r, ir_node n, side_lane *lane)
{
    const ir_graph *graph = r->graph;
    const ir_node_info *node = ir_node_of(graph, n);
    const ir_type *result = ir_type_of(graph, node->outputs[0]);
    bool known = ir_op_is_unary(node->op) || ir_op_is_binary(node->op);
    *lane = (side_lane){.node = n};
    if (!known || !ir_dtype_is_float(result->dtype) || !passes_row_width(result, &lane->width) ||
        passes_is_output(r, node->outputs[0])) {
        return false;
    }
    size_t pieces = 0;
    for (uint32_t i = 0; i < node->input_count; i++) {
        ir_value operand = passes_resolve(r, node->inputs[i]);
        lane->is_const[i] = ir_is_const(graph, operand);
        if (lane->is_const[i]) {
            if (!is_const_lane(graph, operand, result)) {
                return false;
            }
        } else if (!ir_type_equal(ir_type_of(graph, operand), result) ||
                   !passes_find_piece(r, operand, &lane->pieces[i])) {
            return false;
        } else {
            pieces++;
        }
    }
    return pieces > 0;
}

static bool same_kind(const ir_graph *graph, const void *lanes, size_t i, size_t j)
{
    const side_lane *a = (const side_lane *)lanes + i, *b = (const side_lane *)lanes + j;
    const ir_node_info *x = ir_node_of(graph, a->node), *y = ir_node_of(graph, b->node);
    const ir_type *left = ir_type_of(graph, x->outputs[0]), *right = ir_type_of(graph, y->outputs[0]);
    return x->op == y->op && passes_equal_attrs(x, y) && a->is_const[0] == b->is_const[0] &&
           a->is_const[1] == b->is_const[1] && left->dtype == right->dtype && ir_dim_equal(left->dim[0], right->dim[0]);
}

static mtl_status find_kinds(passes_rewriter *r, side_lane *lanes, size_t count)
{
    uint64_t *hashes = BASE_NEW_ARRAY(&r->scratch, uint64_t, count);
    size_t *kinds = BASE_NEW_ARRAY(&r->scratch, size_t, count);
    BASE_TRY_MEMORY(hashes, r->diag);
    BASE_TRY_MEMORY(kinds, r->diag);
    for (size_t i = 0; i < count; i++) {
        const ir_node_info *node = ir_node_of(r->graph, lanes[i].node);
        hashes[i] = passes_kind_hash(node, ir_type_of(r->graph, node->outputs[0]));
    }
    BASE_TRY(passes_number_kinds(r, hashes, count, lanes, same_kind, kinds));
    for (size_t i = 0; i < count; i++) {
        lanes[i].kind = kinds[i];
    }
    return MTL_OK;
}

static int by_operand(const void *left, const void *right)
{
    const side_lane *a = left, *b = right;
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    int first = a->is_const[0] ? 1 : 0, order = passes_compare_pieces(&a->pieces[first], &b->pieces[first]);
    return order != 0 ? order : a->order < b->order ? -1 : 1;
}

/* Whether all operands of `next` begin where those of `lane` end. */
static bool continues(const side_lane *lane, const side_lane *next, uint32_t operands)
{
    if (lane->kind != next->kind) {
        return false;
    }
    for (uint32_t i = 0; i < operands; i++) {
        if (!lane->is_const[i] && !passes_follows(&lane->pieces[i], &next->pieces[i])) {
            return false;
        }
    }
    return true;
}

static mtl_status join_constants(passes_rewriter *r, const side_lane *lanes, size_t count, uint32_t operand,
                                 int64_t width, ir_value *value)
{
    double *numbers = BASE_NEW_ARRAY(r->graph->arena, double, (size_t)width);
    BASE_TRY_MEMORY(numbers, r->diag);
    ir_value like = 0;
    for (size_t i = 0, begin = 0; i < count; begin += (size_t)lanes[i++].width) {
        const ir_node_info *node = ir_node_of(r->graph, lanes[i].node);
        like = passes_resolve(r, node->inputs[operand]);
        passes_spread_const(ir_info(r->graph, like)->tensor, ir_type_of(r->graph, node->outputs[0]), 1,
                            numbers + begin);
    }
    ir_tensor tensor = {
        .dtype = ir_type_of(r->graph, like)->dtype, .rank = 1, .shape = {width}, .count = (size_t)width, .f = numbers};
    return passes_add_const(r, ir_info(r->graph, like)->name, &tensor, value);
}

static mtl_status merge(passes_rewriter *r, const side_lane *lanes, size_t count)
{
    const ir_node_info *node = ir_node_of(r->graph, lanes[0].node);
    ir_node before = lanes[count - 1].node;
    ir_type type = *ir_type_of(r->graph, node->outputs[0]);
    int64_t width = 0;
    for (size_t i = 0; i < count; i++) {
        width += lanes[i].width;
    }
    type.rank = 2;
    type.dim[1] = ir_dim_const(width);
    ir_value operands[2] = {0, 0}, y;
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (lanes[0].is_const[i]) {
            BASE_TRY(join_constants(r, lanes, count, i, width, &operands[i]));
        } else {
            passes_piece run = lanes[0].pieces[i];
            run.width = width;
            BASE_TRY(passes_piece_value(r, before, &run, &type, &operands[i]));
        }
        node = ir_node_of(r->graph, lanes[0].node);
    }
    BASE_TRY(
        passes_insert(r, before, node->op, NULL, operands, node->input_count, node->attrs, node->attr_count, NULL, &y));
    passes_piece piece = {.root = y};
    for (size_t i = 0; i < count; i++) {
        piece.width = lanes[i].width;
        BASE_TRY(passes_side_replace(r, before, lanes[i].node, ir_info(r->graph, y)->node, &piece));
        piece.offset += piece.width;
    }
    for (size_t i = 0; i < count; i++) { /* last: `before` is one of them */
        passes_kill(r, lanes[i].node, NULL);
    }
    return MTL_OK;
}

mtl_status passes_side_lanes(passes_rewriter *r, const passes_slab *slab)
{
    side_lane *lanes = BASE_NEW_ARRAY(&r->scratch, side_lane, slab->count);
    BASE_TRY_MEMORY(lanes, r->diag);
    size_t count = 0;
    for (size_t i = 0; i < slab->count; i++) {
        if (read_lane(r, slab->nodes[i], &lanes[count])) {
            lanes[count].order = i;
            count++;
        }
    }
    BASE_TRY(find_kinds(r, lanes, count));
    qsort(lanes, count, sizeof *lanes, by_operand);
    for (size_t first = 0, end; first < count; first = end) {
        uint32_t operands = ir_node_of(r->graph, lanes[first].node)->input_count;
        for (end = first + 1; end < count && continues(&lanes[end - 1], &lanes[end], operands); end++) {
        }
        BASE_TRY(end - first > 1 ? merge(r, &lanes[first], end - first) : MTL_OK);
    }
    return MTL_OK;
}
