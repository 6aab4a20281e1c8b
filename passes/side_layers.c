/* Linear layers side by side: one product for those that read the same value, a batch of products for those of one
 * shape. See side_by_side.c. */
#include <stdlib.h>
#include <string.h>

#include "passes/columns.h"
#include "passes/side.h"

typedef struct side_layer {
    ir_node node;
    passes_piece x;
    int64_t groups, k, n;
    ir_value w, bias; /* bias 0: none */
    int64_t users;    /* columns of what it reads that are the same for all candidates of one user */
    size_t order;
    size_t kind; /* layers of one kind have equal first axes, dtypes, activations and users */
} side_layer;

/* A layer on rows: nothing but axes of extent 1 between the candidates and the columns. */
static bool read_layer(passes_rewriter *r, ir_node n, side_layer *layer)
{
    const ir_graph *graph = r->graph;
    const ir_node_info *node = ir_node_of(graph, n);
    if (node->op != IR_OP_linear || ir_find_attr(node, IR_ATTR_act_columns) != NULL || ir_operand(node, 3) != 0) {
        return false;
    }
    ir_value x = passes_resolve(r, node->inputs[0]);
    const ir_type *type = ir_type_of(graph, x), *w = ir_type_of(graph, node->inputs[1]);
    int columns = w->rank - 1; /* the axes that a row consists of */
    for (int axis = 1; axis < type->rank - columns; axis++) {
        if (!ir_dim_is(type->dim[axis], 1)) {
            return false;
        }
    }
    *layer = (side_layer){.node = n,
                          .groups = w->rank == 3 ? w->dim[0].c : 1,
                          .k = w->dim[w->rank - 2].c,
                          .n = w->dim[w->rank - 1].c,
                          .w = passes_resolve(r, node->inputs[1]),
                          .bias = passes_resolve(r, ir_operand(node, 2))};
    return type->rank > columns && passes_find_piece(r, x, &layer->x);
}

/* Layers on the user's columns stay apart from those on the candidate's, and layers on both do when they have unequal numbers
 * of them: in a batch, the user's part would be computed for each candidate (split_request). */
static mtl_status count_users(passes_rewriter *r, passes_columns *columns, side_layer *layer)
{
    if (ir_has_users(r->graph)) {
        BASE_TRY(passes_find_row_columns(r, ir_node_of(r->graph, layer->node)->inputs[0], columns));
        layer->users = columns->users;
    }
    return MTL_OK;
}

static bool same_kind(const ir_graph *graph, const void *layers, size_t i, size_t j)
{
    const side_layer *a = (const side_layer *)layers + i, *b = (const side_layer *)layers + j;
    const ir_type *x = ir_type_of(graph, a->x.root), *y = ir_type_of(graph, b->x.root);
    return a->users == b->users && x->dtype == y->dtype && ir_dim_equal(x->dim[0], y->dim[0]) &&
           passes_equal_attrs(ir_node_of(graph, a->node), ir_node_of(graph, b->node));
}

static mtl_status find_kinds(passes_rewriter *r, side_layer *layers, size_t count)
{
    uint64_t *hashes = BASE_NEW_ARRAY(&r->scratch, uint64_t, count);
    size_t *kinds = BASE_NEW_ARRAY(&r->scratch, size_t, count);
    BASE_TRY_MEMORY(hashes, r->diag);
    BASE_TRY_MEMORY(kinds, r->diag);
    for (size_t i = 0; i < count; i++) {
        const ir_node_info *node = ir_node_of(r->graph, layers[i].node);
        hashes[i] = passes_kind_hash(node, ir_type_of(r->graph, layers[i].x.root));
    }
    BASE_TRY(passes_number_kinds(r, hashes, count, layers, same_kind, kinds));
    for (size_t i = 0; i < count; i++) {
        layers[i].kind = kinds[i];
    }
    return MTL_OK;
}

static int compare_sizes(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

/* Those that read the same rows are neighbours; among these, those of one width: gates of as many experts, say, which one
 * mixture reads. */
static int by_operand(const void *left, const void *right)
{
    const side_layer *a = left, *b = right;
    int order = compare_sizes((int64_t)a->kind, (int64_t)b->kind);
    order = order != 0 ? order : compare_sizes(a->groups > 1, b->groups > 1);
    order = order != 0 ? order : passes_compare_pieces(&a->x, &b->x);
    order = order != 0 ? order : compare_sizes(a->x.width, b->x.width);
    order = order != 0 ? order : compare_sizes(a->n, b->n);
    return order != 0 ? order : compare_sizes((int64_t)a->order, (int64_t)b->order);
}

/* Those of one shape are neighbours, in the order of what they read. */
static int by_shape(const void *left, const void *right)
{
    const side_layer *a = left, *b = right;
    int order = compare_sizes((int64_t)a->kind, (int64_t)b->kind);
    order = order != 0 ? order : compare_sizes(a->k, b->k);
    order = order != 0 ? order : compare_sizes(a->n, b->n);
    order = order != 0 ? order : passes_compare_pieces(&a->x, &b->x);
    return order != 0 ? order : compare_sizes((int64_t)a->order, (int64_t)b->order);
}

static ir_node last_of(const side_layer *layers, size_t count)
{
    size_t last = 0;
    for (size_t i = 1; i < count; i++) {
        last = layers[i].order > layers[last].order ? i : last;
    }
    return layers[last].node;
}

/* Weights and bias of all layers as constants of these shapes, `rows` rows of weights. */
static mtl_status join_operands(passes_rewriter *r, const side_layer *layers, size_t count, int rank,
                                const int64_t *shape, ir_value *operands, uint32_t *operand_count)
{
    ir_value *parts = BASE_NEW_ARRAY(&r->scratch, ir_value, 2 * count);
    int64_t *widths = BASE_NEW_ARRAY(&r->scratch, int64_t, 2 * count);
    BASE_TRY_MEMORY(parts, r->diag);
    BASE_TRY_MEMORY(widths, r->diag);
    bool wide = rank == 2, has_bias = false;
    for (size_t i = 0; i < count; i++) {
        parts[i] = layers[i].w;
        widths[i] = wide ? layers[i].n : layers[i].groups * layers[i].k * layers[i].n;
        parts[count + i] = layers[i].bias;
        widths[count + i] = layers[i].groups * layers[i].n;
        has_bias = has_bias || layers[i].bias != 0;
    }
    mtl_dtype dtype = ir_type_of(r->graph, layers[0].w)->dtype;
    const int64_t bias_shape[2] = {shape[0], shape[rank - 1]};
    *operand_count = 2;
    BASE_TRY(passes_join_consts(r, parts, widths, count, wide ? shape[0] : 1, dtype, rank, shape, &operands[1]));
    if (has_bias) {
        *operand_count = 3;
        BASE_TRY(passes_join_consts(r, parts + count, widths + count, count, 1, dtype, rank - 1,
                                    wide ? shape + 1 : bias_shape, &operands[2]));
    }
    return MTL_OK;
}

/* The merged layer, and its pieces in the places of the members. `act_columns`: of the merged one; 0: all. */
static mtl_status finish(passes_rewriter *r, const side_layer *layers, size_t count, const ir_value *operands,
                         uint32_t operand_count, int64_t act_columns, ir_node before, side_layer *merged)
{
    const ir_node_info *like = ir_node_of(r->graph, layers[0].node);
    ir_attr attrs[IR_ATTR_COUNT] = {0};
    uint32_t attr_count = like->attr_count;
    memcpy(attrs, like->attrs, attr_count * sizeof *attrs);
    if (act_columns != 0) {
        attrs[attr_count++] = (ir_attr)IR_INT(act_columns, act_columns); /* the last one of attrs.def */
    }
    ir_value y;
    BASE_TRY(passes_insert(r, before, IR_OP_linear, NULL, operands, operand_count, attrs, attr_count, NULL, &y));
    passes_piece piece = {.root = y};
    size_t order = 0;
    for (size_t i = 0; i < count; i++) {
        order = layers[i].order > order ? layers[i].order : order;
        piece.width = layers[i].groups * layers[i].n;
        BASE_TRY(passes_side_replace(r, before, layers[i].node, ir_info(r->graph, y)->node, &piece));
        piece.offset += piece.width;
    }
    merged->node = ir_info(r->graph, y)->node;
    merged->order = order;
    merged->w = operands[1];
    merged->bias = operand_count > 2 ? operands[2] : 0;
    for (size_t i = 0; i < count; i++) { /* last: `before` may be one of them */
        passes_kill(r, layers[i].node, NULL);
    }
    return MTL_OK;
}

/* All layers read the same rows. */
static mtl_status join(passes_rewriter *r, const side_layer *layers, size_t count, int64_t act_columns,
                       side_layer *merged)
{
    ir_node before = last_of(layers, count);
    *merged = layers[0];
    merged->n = 0;
    for (size_t i = 0; i < count; i++) {
        merged->n += layers[i].n;
    }
    ir_type type = *ir_type_of(r->graph, layers[0].x.root);
    type.rank = 2;
    type.dim[1] = ir_dim_const(layers[0].k);
    ir_value operands[3];
    uint32_t operand_count = 0;
    BASE_TRY(passes_piece_value(r, before, &layers[0].x, &type, &operands[0]));
    BASE_TRY(join_operands(r, layers, count, 2, (int64_t[]){merged->k, merged->n}, operands, &operand_count));
    return finish(r, layers, count, operands, operand_count, act_columns, before, merged);
}

/* All layers have the same k and n. */
static mtl_status batch(passes_rewriter *r, const side_layer *layers, size_t count)
{
    ir_node before = last_of(layers, count);
    side_layer merged = layers[0];
    passes_piece *pieces = BASE_NEW_ARRAY(&r->scratch, passes_piece, count);
    BASE_TRY_MEMORY(pieces, r->diag);
    merged.groups = 0;
    for (size_t i = 0; i < count; i++) {
        pieces[i] = layers[i].x;
        merged.groups += layers[i].groups;
    }
    ir_type type = *ir_type_of(r->graph, layers[0].x.root);
    type.rank = 3;
    type.dim[1] = ir_dim_const(merged.groups);
    type.dim[2] = ir_dim_const(merged.k);
    ir_value operands[3];
    uint32_t operand_count = 0;
    BASE_TRY(passes_pack(r, before, pieces, count, &type, &operands[0]));
    BASE_TRY(
        join_operands(r, layers, count, 3, (int64_t[]){merged.groups, merged.k, merged.n}, operands, &operand_count));
    return finish(r, layers, count, operands, operand_count, 0, before, &merged);
}

/* A layer on (B, 1, K) is one on (B, K): that its operand was cut from a stack shall not show in the plan. */
static mtl_status flatten(passes_rewriter *r, side_layer *layer)
{
    const ir_node_info *node = ir_node_of(r->graph, layer->node);
    ir_value x = passes_resolve(r, node->inputs[0]), y;
    ir_type type = *ir_type_of(r->graph, x);
    int columns = ir_type_of(r->graph, layer->w)->rank - 1;
    if (type.rank == columns + 1) {
        return MTL_OK;
    }
    ir_value operands[3] = {0, layer->w, layer->bias};
    type.dim[1] = ir_dim_const(columns == 1 ? layer->k : layer->groups);
    type.dim[2] = ir_dim_const(layer->k);
    type.rank = columns + 1;
    BASE_TRY(passes_piece_value(r, layer->node, &layer->x, &type, &operands[0]));
    node = ir_node_of(r->graph, layer->node);
    BASE_TRY(passes_insert(r, layer->node, IR_OP_linear, NULL, operands, layer->bias != 0 ? 3 : 2, node->attrs,
                           node->attr_count, NULL, &y));
    ir_node flat = ir_info(r->graph, y)->node;
    passes_piece piece = {.root = y, .width = layer->groups * layer->n};
    BASE_TRY(passes_side_replace(r, layer->node, layer->node, flat, &piece));
    passes_kill(r, layer->node, NULL);
    layer->node = flat;
    return MTL_OK;
}

/* Joins what reads the same; `layers` becomes shorter. */
static mtl_status join_all(passes_rewriter *r, side_layer *layers, size_t *count)
{
    qsort(layers, *count, sizeof *layers, by_operand);
    size_t kept = 0;
    for (size_t first = 0, end; first < *count; first = end) {
        const side_layer *layer = &layers[first];
        for (end = first + 1;
             end < *count && layer->groups == 1 && layers[end].groups == 1 && layers[end].kind == layer->kind &&
             layers[end].x.width == layer->x.width && passes_compare_pieces(&layers[end].x, &layer->x) == 0;
             end++) {
        }
        side_layer merged = *layer;
        if (end - first > 1) {
            BASE_TRY(join(r, layer, end - first, 0, &merged));
        }
        layers[kept++] = merged;
    }
    *count = kept;
    return MTL_OK;
}

/* Layers whose results are all straight for the caller stay apart: one result would have to be copied out. */
static bool all_outputs(passes_rewriter *r, const side_layer *layers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!passes_is_output(r, ir_node_of(r->graph, layers[i].node)->outputs[0])) {
            return false;
        }
    }
    return true;
}

static const char would_copy[] =
    "stays apart from the layers of its shape: what they read does not lie side by side and would have to be copied";
static const char all_are_outputs[] =
    "stays apart from the layers of its shape: their results are outputs, each computed straight into its place";

/* For --explain, at the last of the sources: earlier ones may be what moved into the layer. */
static void note_once(ir_graph *graph, const ir_node_info *node, const char *note)
{
    ir_source *last = NULL;
    for (uint32_t i = 0; i < node->source_count; i++) {
        ir_source *source = &graph->sources[node->sources[i]];
        last = last == NULL || source > last ? source : last;
    }
    if (last != NULL && last->note == NULL) {
        last->note = note;
    }
}

/* Part of the layers of one shape. */
static mtl_status batch_if_free(passes_rewriter *r, const side_layer *layers, size_t count)
{
    bool outputs = count > 1 && all_outputs(r, layers, count);
    if (count > 1 && !outputs) {
        return batch(r, layers, count);
    }
    for (size_t i = 0; i < count; i++) {
        note_once(r->graph, ir_node_of(r->graph, layers[i].node), outputs ? all_are_outputs : would_copy);
    }
    return MTL_OK;
}

/* Layers of one shape. What is whole results goes into one batch, wherever it lies; each other run of neighbours into
 * one of its own. */
static mtl_status batch_shape(passes_rewriter *r, const side_layer *layers, size_t count)
{
    side_layer *movable = BASE_NEW_ARRAY(&r->scratch, side_layer, count);
    BASE_TRY_MEMORY(movable, r->diag);
    size_t movable_count = 0;
    for (size_t first = 0, end; first < count; first = end) {
        passes_piece run = layers[first].x;
        for (end = first + 1; end < count && passes_follows(&run, &layers[end].x); end++) {
            run.width += layers[end].x.width;
        }
        bool again = movable_count > 0 && movable[movable_count - 1].x.root == run.root; /* would be there twice */
        if (end - first < count && !again && passes_is_whole_result(r, &run)) {
            memcpy(&movable[movable_count], &layers[first], (end - first) * sizeof *layers);
            movable_count += end - first;
        } else {
            BASE_TRY(batch_if_free(r, &layers[first], end - first));
        }
    }
    return batch_if_free(r, movable, movable_count);
}

static mtl_status batch_all(passes_rewriter *r, side_layer *layers, size_t count)
{
    qsort(layers, count, sizeof *layers, by_shape);
    for (size_t first = 0, end; first < count; first = end) {
        const side_layer *layer = &layers[first];
        for (end = first + 1;
             end < count && layers[end].kind == layer->kind && layers[end].k == layer->k && layers[end].n == layer->n;
             end++) {
        }
        BASE_TRY(end - first > 1 ? batch_shape(r, layer, end - first) : MTL_OK);
    }
    return MTL_OK;
}

/* Those that read the same rows are neighbours, whatever they are; wide ones first. */
static int by_rows(const void *left, const void *right)
{
    const side_layer *a = left, *b = right;
    int order = passes_compare_pieces(&a->x, &b->x);
    order = order != 0 ? order : compare_sizes(a->x.width, b->x.width);
    order = order != 0 ? order : compare_sizes(b->n, a->n);
    return order != 0 ? order : compare_sizes((int64_t)a->order, (int64_t)b->order);
}

/* A layer of its own still, with an activation or without. */
static bool is_free(passes_rewriter *r, const side_layer *layer, bool active)
{
    const ir_node_info *node = ir_node_of(r->graph, layer->node);
    ir_value y = node->outputs[0];
    return layer->groups == 1 && (ir_find_attr(node, IR_ATTR_act)->text[0] != '\0') == active &&
           passes_resolve(r, y) == y && !passes_is_output(r, y);
}

/* The gates, which have no activation, go behind the experts that read the same: one product. In panels, where the
 * activation ends must be where a panel ends. */
static mtl_status add_gates(passes_rewriter *r, side_layer *layers, size_t count)
{
    enum { PANEL = 16 };
    qsort(layers, count, sizeof *layers, by_rows);
    for (size_t first = 0, end; first < count; first = end) {
        const side_layer *experts = NULL, *gates = NULL;
        for (end = first; end < count && layers[end].x.width == layers[first].x.width &&
                          passes_compare_pieces(&layers[end].x, &layers[first].x) == 0;
             end++) {
            if (experts == NULL && layers[end].n % PANEL == 0 && is_free(r, &layers[end], true)) {
                experts = &layers[end];
            } else if (gates == NULL && is_free(r, &layers[end], false)) {
                gates = &layers[end];
            }
        }
        if (experts != NULL && gates != NULL) {
            side_layer pair[2] = {*experts, *gates}, merged;
            BASE_TRY(join(r, pair, 2, experts->n, &merged));
        }
    }
    return MTL_OK;
}

mtl_status passes_side_layers(passes_rewriter *r, const passes_slab *slab)
{
    side_layer *layers = BASE_NEW_ARRAY(&r->scratch, side_layer, slab->count);
    BASE_TRY_MEMORY(layers, r->diag);
    passes_columns columns = {.count = 0};
    size_t count = 0;
    for (size_t i = 0; i < slab->count; i++) {
        if (read_layer(r, slab->nodes[i], &layers[count])) {
            BASE_TRY(flatten(r, &layers[count]));
            BASE_TRY(count_users(r, &columns, &layers[count]));
            layers[count].order = i;
            count++;
        }
    }
    BASE_TRY(find_kinds(r, layers, count));
    BASE_TRY(join_all(r, layers, &count));
    BASE_TRY(batch_all(r, layers, count));
    return add_gates(r, layers, count);
}
