/* A wide layer in front of a batch of layers runs in parts, each followed by its part of the batch, so that what lies
 * between the two is still in the core's own cache when it is read: the hidden values of 16 experts of 256 are 16 KB a
 * candidate, a megabyte a tile.
 *
 *     %h = linear(%x, %w) act="relu"            : f32[B, 4096]
 *     %s = reshape(%h)                          : f32[B, 16, 256]
 *     %y = linear(%s, %w2) act="relu"           : f32[B, 16, 128]
 *
 * becomes
 *
 *     %h0 = linear(%x, %w') act="relu"          : f32[B, 2048]
 *     %s0 = reshape(%h0)                        : f32[B, 8, 256]
 *     %y0 = linear(%s0, %w2') act="relu"        : f32[B, 8, 128]
 *
 * the same for the other half, and %y = concat(%y0, %y1), which is written in place. Columns behind those that the batch
 * reads, gates say, stay with the last part. Every product is the one it was: only its place in time changes.
 */
#include <string.h>

#include "passes/layer.h"
#include "passes/passes.h"
#include "passes/pieces.h"

enum {
    PART = 2048, /* numbers a candidate between the two layers: 512 KB for a tile of 64, half of an L2 cache */
    PANEL = 16,  /* an activation ends where a panel of weights does */
};

static const char fate[] = "runs in parts whose values stay in cache";

typedef struct layer {
    ir_node node;
    ir_value x, w, bias, start; /* bias, start 0: none */
    int rank;                   /* of w */
    int64_t groups, k, n;
} layer;

typedef struct pair {
    layer wide, batch;
    int64_t rest; /* columns of `wide` behind those that `batch` reads */
    int64_t parts;
} pair;

static bool read_layer(passes_rewriter *r, ir_node n, layer *l)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    if (node->op != IR_OP_linear) {
        return false;
    }
    const ir_type *w = ir_type_of(r->graph, node->inputs[1]);
    *l = (layer){.node = n,
                 .x = passes_resolve(r, node->inputs[0]),
                 .w = node->inputs[1],
                 .bias = ir_operand(node, 2),
                 .start = passes_resolve(r, ir_operand(node, 3)),
                 .rank = w->rank,
                 .groups = w->rank == 3 ? w->dim[0].c : 1,
                 .k = w->dim[w->rank - 2].c,
                 .n = w->dim[w->rank - 1].c};
    return ir_type_of(r->graph, l->x)->rank == w->rank && ir_is_const(r->graph, l->w) &&
           (l->bias == 0 || ir_is_const(r->graph, l->bias)) &&
           (l->start == 0 || ir_type_equal(ir_type_of(r->graph, l->start), ir_type_of(r->graph, node->outputs[0])));
}

/* As few parts as make one at most PART numbers wide, or one group; whole groups in each. */
static int64_t choose_parts(const pair *p)
{
    int64_t width = p->batch.groups * p->batch.k;
    int64_t least = (width + PART - 1) / PART;
    for (int64_t parts = least < p->batch.groups ? least : p->batch.groups; parts <= p->batch.groups; parts++) {
        bool whole = p->wide.rank == 2 ? width / parts % PANEL == 0 : p->wide.groups % parts == 0;
        if (p->batch.groups % parts == 0 && whole) {
            return parts;
        }
    }
    return 1;
}

static bool find_pair(passes_rewriter *r, ir_node n, pair *p)
{
    passes_piece piece;
    int64_t width;
    if (!read_layer(r, n, &p->batch) || p->batch.rank != 3 || !passes_find_piece(r, p->batch.x, &piece) ||
        piece.offset != 0 || piece.width <= PART || ir_producer(r->graph, piece.root) == NULL ||
        passes_is_output(r, piece.root) || !passes_row_width(ir_type_of(r->graph, piece.root), &width) ||
        !read_layer(r, ir_info(r->graph, piece.root)->node, &p->wide)) {
        return false;
    }
    p->rest = width - piece.width;
    const ir_attr *active = ir_find_attr(ir_node_of(r->graph, p->wide.node), IR_ATTR_act_columns);
    if ((p->wide.rank == 3 && (p->rest != 0 || !passes_find_piece(r, p->wide.x, &piece))) ||
        (active != NULL && active->i != width - p->rest)) {
        return false;
    }
    p->parts = choose_parts(p);
    return p->parts > 1;
}

/* Elements of each row of a layer's start, as a value with the axes of the layer's result: `extent` of them along axis 1. */
static mtl_status cut_start(passes_rewriter *r, ir_node before, ir_value start, int64_t extent, passes_cut elements,
                            ir_value *value)
{
    ir_type type = *ir_type_of(r->graph, start);
    passes_piece piece;
    type.dim[1] = ir_dim_const(extent);
    if (!passes_find_part(r, start, elements.begin, elements.width, &piece)) {
        return base_fail(r->diag, MTL_INTERNAL, "the start of a layer has no rows");
    }
    return passes_piece_value(r, before, &piece, &type, value);
}

/* Groups `first` to first + count - 1 of a batch of layers that reads `x` (B, count, k). */
static mtl_status insert_groups(passes_rewriter *r, ir_node before, const layer *l, int64_t first, int64_t count,
                                ir_value x, ir_value *y)
{
    ir_value operands[4] = {x, 0, 0, 0};
    int64_t weights = l->k * l->n;
    const passes_cut w = {first * weights, count * weights}, bias = {first * l->n, count * l->n};
    BASE_TRY(passes_cut_const(r, l->w, 1, &w, 1, 3, (int64_t[]){count, l->k, l->n}, &operands[1]));
    if (l->bias != 0) {
        BASE_TRY(passes_cut_const(r, l->bias, 1, &bias, 1, 2, (int64_t[]){count, l->n}, &operands[2]));
    }
    if (l->start != 0) {
        BASE_TRY(cut_start(r, before, l->start, count, (passes_cut){first * l->n, count * l->n}, &operands[3]));
    }
    const ir_node_info *node = ir_node_of(r->graph, l->node);
    BASE_TRY(passes_insert(r, before, IR_OP_linear, NULL, operands, passes_layer_operands(operands), node->attrs,
                           node->attr_count, NULL, y));
    return passes_take_sources(r, ir_info(r->graph, *y)->node, l->node);
}

/* Columns `first` to first + count - 1 of a layer and the last `rest` ones, which are not for the batch. */
static mtl_status insert_columns(passes_rewriter *r, ir_node before, const layer *l, int64_t first, int64_t count,
                                 int64_t rest, ir_value *y)
{
    ir_value operands[4] = {l->x, 0, 0, 0};
    const passes_cut columns[2] = {{first, count}, {l->n - rest, rest}};
    int64_t width = count + rest;
    BASE_TRY(passes_cut_const(r, l->w, l->k, columns, 2, 2, (int64_t[]){l->k, width}, &operands[1]));
    if (l->bias != 0) {
        BASE_TRY(passes_cut_const(r, l->bias, 1, columns, 2, 1, &width, &operands[2]));
    }
    if (l->start != 0) { /* the rest goes with the columns before it */
        BASE_TRY(cut_start(r, before, l->start, width, (passes_cut){first, width}, &operands[3]));
    }
    const ir_node_info *node = ir_node_of(r->graph, l->node);
    ir_attr attrs[IR_ATTR_COUNT];
    uint32_t attr_count = 0;
    for (uint32_t i = 0; i < node->attr_count; i++) {
        bool all = node->attrs[i].key == IR_ATTR_act_columns && rest == 0;
        attrs[attr_count] = node->attrs[i];
        attrs[attr_count].i = node->attrs[i].key == IR_ATTR_act_columns ? count : node->attrs[i].i;
        attr_count += !all;
    }
    BASE_TRY(passes_insert(r, before, IR_OP_linear, NULL, operands, passes_layer_operands(operands), attrs, attr_count,
                           NULL, y));
    return passes_take_sources(r, ir_info(r->graph, *y)->node, l->node);
}

static mtl_status insert_wide(passes_rewriter *r, const pair *p, int64_t part, ir_value *h)
{
    const layer *l = &p->wide;
    if (l->rank == 2) {
        int64_t count = p->batch.groups * p->batch.k / p->parts;
        return insert_columns(r, p->batch.node, l, part * count, count, part + 1 == p->parts ? p->rest : 0, h);
    }
    int64_t count = l->groups / p->parts;
    ir_type type = *ir_type_of(r->graph, l->x);
    type.dim[1] = ir_dim_const(count);
    passes_piece piece;
    ir_value x;
    if (!passes_find_part(r, l->x, part * count * l->k, count * l->k, &piece)) {
        return base_fail(r->diag, MTL_INTERNAL, "the operand of a batch has no rows");
    }
    BASE_TRY(passes_piece_value(r, p->batch.node, &piece, &type, &x));
    return insert_groups(r, p->batch.node, l, part * count, count, x, h);
}

/* `old` is the pieces one after the other from now on. */
static mtl_status replace(passes_rewriter *r, ir_node before, ir_value old, const passes_piece *pieces, size_t count)
{
    ir_type type = *ir_type_of(r->graph, old);
    ir_value joined;
    BASE_TRY(passes_pack(r, before, pieces, count, &type, &joined));
    passes_substitute(r, old, joined, fate);
    return MTL_OK;
}

static mtl_status split(passes_rewriter *r, const pair *p)
{
    ir_node before = p->batch.node;
    ir_value wide = ir_node_of(r->graph, p->wide.node)->outputs[0], y = ir_node_of(r->graph, before)->outputs[0];
    size_t parts = (size_t)p->parts, all_parts = parts + (p->rest != 0);
    passes_piece *hidden = BASE_NEW_ARRAY(&r->scratch, passes_piece, parts + 1);
    passes_piece *results = BASE_NEW_ARRAY(&r->scratch, passes_piece, parts);
    BASE_TRY_MEMORY(hidden, r->diag);
    BASE_TRY_MEMORY(results, r->diag);
    int64_t groups = p->batch.groups / p->parts, width = groups * p->batch.k;
    ir_type type = *ir_type_of(r->graph, p->batch.x);
    type.dim[1] = ir_dim_const(groups);
    for (size_t i = 0; i < parts; i++) {
        ir_value x;
        hidden[i].width = width;
        results[i].width = groups * p->batch.n;
        BASE_TRY(insert_wide(r, p, (int64_t)i, &hidden[i].root));
        BASE_TRY(passes_piece_value(r, before, &hidden[i], &type, &x));
        BASE_TRY(insert_groups(r, before, &p->batch, (int64_t)i * groups, groups, x, &results[i].root));
    }
    hidden[parts] = (passes_piece){.root = hidden[parts - 1].root, .offset = width, .width = p->rest};
    BASE_TRY(replace(r, before, y, results, parts));
    return replace(r, before, wide, hidden, all_parts);
}

mtl_status passes_split_wide(ir_graph *graph, base_diag *diag)
{
    passes_rewriter r;
    BASE_TRY(passes_begin(graph, diag, &r));
    for (ir_node n = graph->first_node, next; n != 0; n = next) {
        passes_visit(&r, n);
        next = ir_node_of(graph, n)->next;
        pair p;
        mtl_status status = find_pair(&r, n, &p) ? split(&r, &p) : MTL_OK;
        if (status != MTL_OK) {
            return passes_abandon(&r, status);
        }
    }
    BASE_TRY(passes_end(&r));
    return ir_sort(graph,
                   diag); /* what is gone by now must not keep its place: it would call parts before their turn */
}
