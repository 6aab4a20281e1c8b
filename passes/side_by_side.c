/* What is equal but for its weights runs side by side: experts, gates, towers, the streams of tasks.
 *
 * Layers that read the same value become one wide layer:
 *
 *     %a = linear(%x, %wa, %ba) act="relu"        : f32[B, 64]
 *     %b = linear(%x, %wb, %bb) act="relu"        : f32[B, 64]
 *
 * becomes
 *
 *     %y = linear(%x, %w, %bias) act="relu"       : f32[B, 128]
 *     %a = slice(%y) starts=[0, 0] steps=[1, 1]   : f32[B, 64]
 *     %b = slice(%y) starts=[0, 64] steps=[1, 1]  : f32[B, 64]
 *
 * Layers of one shape that read neighbouring pieces of one value, or values that can be computed into one, become a
 * batch of products:
 *
 *     %c = linear(%a, %wc)                        : f32[B, 32]
 *     %d = linear(%b, %wd)                        : f32[B, 32]
 *
 * becomes
 *
 *     %x2 = reshape(%y)                           : f32[B, 2, 64]
 *     %y2 = linear(%x2, %w2)                      : f32[B, 2, 32]
 *
 * and its pieces. Element-wise functions between the layers follow their operands. Nothing is merged where that would
 * copy activations, and nothing that is computed once a user with what is computed for each candidate: the user's tower
 * of a model that has two. A layer on (B, 1, K) becomes one on (B, K), merged or not.
 *
 * Merging must not make a cycle. Nodes get a level: layers are one above what they read, other functions are ordered
 * within it. An edge never goes down and nodes of one level do not depend on each other, so whatever is merged within
 * levels, the graph stays one without cycles.
 */
#include "passes/side.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "passes/columns.h"
#include "passes/passes.h"

/* Ordered by layer, then by step. */
typedef struct level {
    uint32_t layer, step;
} level;

typedef struct candidate {
    ir_node node;
    level level;
    bool per_user;
    size_t order;
} candidate;

static bool is_layer(ir_op op)
{
    return op == IR_OP_linear || op == IR_OP_mix;
}

static bool is_view(ir_op op)
{
    switch (op) {
    case IR_OP_identity:
    case IR_OP_reshape:
    case IR_OP_slice:
    case IR_OP_gather:
    case IR_OP_concat: return true;
    default: return false;
    }
}

static bool is_above(level a, level b)
{
    return a.layer != b.layer ? a.layer > b.layer : a.step > b.step;
}

static level level_of(const ir_graph *graph, const ir_node_info *node, const level *levels)
{
    level highest = {0, 0};
    for (uint32_t i = 0; i < node->input_count; i++) {
        ir_node maker = node->inputs[i] != 0 ? ir_info(graph, node->inputs[i])->node : 0;
        if (maker != 0 && is_above(levels[maker], highest)) {
            highest = levels[maker];
        }
    }
    if (is_layer(node->op)) {
        return (level){highest.layer + 1, 0};
    }
    return is_view(node->op) ? highest : (level){highest.layer, highest.step + 1};
}

static int compare_candidates(const void *left, const void *right)
{
    const candidate *a = left, *b = right;
    if (a->level.layer != b->level.layer || a->level.step != b->level.step) {
        return is_above(a->level, b->level) ? 1 : -1;
    }
    if (a->per_user != b->per_user) {
        return a->per_user ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

static mtl_status find_candidates(passes_rewriter *r, candidate **candidates, size_t *count)
{
    const ir_graph *graph = r->graph;
    level *levels = BASE_NEW_ARRAY(&r->scratch, level, graph->node_count);
    *candidates = BASE_NEW_ARRAY(&r->scratch, candidate, graph->node_count);
    BASE_TRY_MEMORY(levels, r->diag);
    BASE_TRY_MEMORY(*candidates, r->diag);
    *count = 0;
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        levels[n] = level_of(graph, node, levels);
        if (is_layer(node->op) || ir_op_is_unary(node->op) || ir_op_is_binary(node->op)) {
            bool per_user = ir_info(graph, node->outputs[0])->rate.per_user;
            (*candidates)[*count] = (candidate){.node = n, .level = levels[n], .per_user = per_user, .order = *count};
            ++*count;
        }
    }
    if (*count > 0) {
        qsort(*candidates, *count, sizeof **candidates, compare_candidates);
    }
    return MTL_OK;
}

mtl_status passes_side_replace(passes_rewriter *r, ir_node before, ir_node member, ir_node into,
                               const passes_piece *piece)
{
    ir_value old = ir_node_of(r->graph, member)->outputs[0], view;
    ir_type type = *ir_type_of(r->graph, old);
    BASE_TRY(passes_piece_value(r, before, piece, &type, &view));
    BASE_TRY(passes_take_sources(r, into, member));
    if (passes_is_users(r->graph, old)) { /* so are all members */
        passes_set_users(r->graph, piece->root, true);
    }
    passes_substitute(r, old, view, NULL);
    return MTL_OK;
}

uint64_t passes_kind_hash(const ir_node_info *node, const ir_type *type)
{
    base_hash hash;
    base_hash_begin(&hash);
    base_hash_add(&hash, &node->op, sizeof node->op);
    base_hash_add(&hash, &type->dtype, sizeof type->dtype);
    base_hash_add(&hash, &type->dim[0].c, sizeof type->dim[0].c);
    passes_hash_attrs(&hash, node);
    return base_hash_end64(&hash);
}

mtl_status passes_number_kinds(passes_rewriter *r, const uint64_t *hashes, size_t count, const void *items,
                               bool (*same)(const ir_graph *graph, const void *items, size_t a, size_t b),
                               size_t *kinds)
{
    size_t room = 16, kind_count = 0;
    while (room < 2 * count) {
        room *= 2;
    }
    size_t *first = BASE_NEW_ARRAY(&r->scratch, size_t, room); /* of each kind, by hash: its number + 1 */
    BASE_TRY_MEMORY(first, r->diag);
    for (size_t i = 0; i < count; i++) {
        size_t slot = (size_t)hashes[i] & (room - 1);
        while (first[slot] != 0 &&
               !(hashes[first[slot] - 1] == hashes[i] && same(r->graph, items, first[slot] - 1, i))) {
            slot = (slot + 1) & (room - 1);
        }
        if (first[slot] == 0) {
            first[slot] = i + 1;
            kinds[i] = kind_count++;
        } else {
            kinds[i] = kinds[first[slot] - 1];
        }
    }
    return MTL_OK;
}

/* The bytes of a part when all parts are still as they came from a file, else its float64 numbers. */
static const unsigned char *part_bytes(const ir_graph *graph, ir_value part, bool raw, base_arena *scratch)
{
    const ir_tensor *tensor = ir_info(graph, part)->tensor;
    return raw ? tensor->raw : (const unsigned char *)ir_tensor_floats(tensor, scratch);
}

mtl_status passes_join_consts(passes_rewriter *r, const ir_value *parts, const int64_t *widths, size_t count,
                              int64_t rows, mtl_dtype dtype, int rank, const int64_t *shape, ir_value *value)
{
    ir_tensor tensor = {.dtype = dtype, .rank = rank, .count = 1};
    for (int i = 0; i < rank; i++) {
        tensor.shape[i] = shape[i];
        tensor.count *= (size_t)shape[i];
    }
    bool raw = true;
    for (size_t i = 0; i < count; i++) {
        raw = raw && (parts[i] == 0 || ir_info(r->graph, parts[i])->tensor->raw != NULL);
    }
    size_t size = raw ? mtl_dtype_size(dtype) : sizeof(double), row = tensor.count / (size_t)rows * size, begin = 0;
    unsigned char *to = base_arena_alloc_array(r->graph->arena, tensor.count, size);
    BASE_TRY_MEMORY(to, r->diag);
    ir_value like = 0;
    for (size_t i = 0; i < count; i++) {
        size_t width = (size_t)widths[i] * size;
        if (parts[i] != 0) {
            like = like == 0 ? parts[i] : like;
            const unsigned char *from = part_bytes(r->graph, parts[i], raw, &r->scratch);
            BASE_TRY_MEMORY(from, r->diag);
            for (size_t j = 0; j < (size_t)rows; j++) {
                memcpy(to + j * row + begin, from + j * width, width);
            }
        }
        begin += width;
    }
    tensor.raw = raw ? to : NULL;
    tensor.f = raw ? NULL : (const double *)(const void *)to;
    return passes_add_const(r, like != 0 ? ir_info(r->graph, like)->name : NULL, &tensor, value);
}

static mtl_status merge_slabs(passes_rewriter *r)
{
    candidate *candidates;
    size_t count = 0;
    BASE_TRY(find_candidates(r, &candidates, &count));
    ir_node *nodes = BASE_NEW_ARRAY(&r->scratch, ir_node, count + 1);
    BASE_TRY_MEMORY(nodes, r->diag);
    for (size_t i = 0; i < count; i++) {
        nodes[i] = candidates[i].node;
    }
    for (size_t first = 0, end; first < count; first = end) {
        level here = candidates[first].level;
        for (end = first + 1; end < count && !is_above(candidates[end].level, here) &&
                              candidates[end].per_user == candidates[first].per_user;
             end++) {
        }
        passes_slab slab = {.nodes = nodes + first, .count = end - first};
        if (here.step == 0) {
            BASE_TRY(passes_side_layers(r, &slab));
            BASE_TRY(passes_side_mixes(r, &slab));
        } else {
            BASE_TRY(passes_side_lanes(r, &slab));
        }
    }
    return passes_sort(r);
}

mtl_status passes_side_by_side(ir_graph *graph, base_diag *diag)
{
    passes_rewriter r;
    BASE_TRY(ir_infer_rates(graph, diag));
    BASE_TRY(passes_begin(graph, diag, &r));
    mtl_status status = merge_slabs(&r);
    return status == MTL_OK ? passes_end(&r) : passes_abandon(&r, status);
}
