/* Mixtures side by side: the gates of all tasks that weigh as many experts become one mix over all of their experts.
 *
 *     %z0 = mix(%g0, %v0) index=[0, 1]            : f32[B, 1, 8]     with v0 the concatenation of %own0, %shared
 *     %z1 = mix(%g1, %v1) index=[0, 1]            : f32[B, 1, 8]     with v1 that of %own1, %shared
 *
 * becomes
 *
 *     %z = mix(%g, %v) index=[0, 2, 1, 2]         : f32[B, 2, 8]     with v own0, own1, shared: no copy
 *
 * when the weights and the experts are neighbours or can become so. See side_by_side.c. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "passes/side.h"

typedef struct side_mix {
    ir_node node;
    passes_piece weights; /* root 0: constants */
    int64_t tasks, experts, width;
    ir_value constants;
    passes_piece *values; /* of every weight: tasks x experts */
    size_t order;
    size_t kind; /* mixes of one kind: the same function, extents and dtypes */
} side_mix;

/* The expert of each weight, looked up through what packs them. */
static mtl_status find_values(passes_rewriter *r, side_mix *mix, const ir_node_info *node, bool *found)
{
    const ir_attr *index = ir_find_attr(node, IR_ATTR_index);
    mix->values = BASE_NEW_ARRAY(&r->scratch, passes_piece, index->count);
    BASE_TRY_MEMORY(mix->values, r->diag);
    *found = true;
    for (size_t i = 0; i < index->count; i++) {
        *found =
            *found && passes_find_part(r, node->inputs[1], index->ints[i] * mix->width, mix->width, &mix->values[i]);
    }
    return MTL_OK;
}

static mtl_status read_mix(passes_rewriter *r, ir_node n, side_mix *mix, bool *found)
{
    const ir_graph *graph = r->graph;
    const ir_node_info *node = ir_node_of(graph, n);
    *found = false;
    if (node->op != IR_OP_mix) {
        return MTL_OK;
    }
    ir_value weights = passes_resolve(r, node->inputs[0]);
    const ir_type *type = ir_type_of(graph, weights), *result = ir_type_of(graph, node->outputs[0]);
    *mix = (side_mix){.node = n, .tasks = type->dim[1].c, .experts = type->dim[2].c};
    if (!ir_dim_is_const(result->dim[2])) {
        return MTL_OK;
    }
    mix->width = result->dim[2].c;
    if (ir_is_const(graph, weights)) {
        mix->constants = weights;
    } else if (!ir_dim_equal(type->dim[0], result->dim[0]) || !passes_find_piece(r, weights, &mix->weights)) {
        return MTL_OK; /* one gate for all candidates */
    }
    return find_values(r, mix, node, found);
}

static bool same_kind(const ir_graph *graph, const void *mixes, size_t i, size_t j)
{
    const side_mix *a = (const side_mix *)mixes + i, *b = (const side_mix *)mixes + j;
    const ir_node_info *x = ir_node_of(graph, a->node), *y = ir_node_of(graph, b->node);
    const ir_type *left = ir_type_of(graph, x->outputs[0]), *right = ir_type_of(graph, y->outputs[0]);
    return a->experts == b->experts && a->width == b->width && (a->constants == 0) == (b->constants == 0) &&
           strcmp(ir_find_attr(x, IR_ATTR_function)->text, ir_find_attr(y, IR_ATTR_function)->text) == 0 &&
           left->dtype == right->dtype && ir_dim_equal(left->dim[0], right->dim[0]);
}

static mtl_status find_kinds(passes_rewriter *r, side_mix *mixes, size_t count)
{
    uint64_t *hashes = BASE_NEW_ARRAY(&r->scratch, uint64_t, count);
    size_t *kinds = BASE_NEW_ARRAY(&r->scratch, size_t, count);
    BASE_TRY_MEMORY(hashes, r->diag);
    BASE_TRY_MEMORY(kinds, r->diag);
    for (size_t i = 0; i < count; i++) {
        const int64_t sizes[3] = {mixes[i].experts, mixes[i].width, mixes[i].constants == 0};
        hashes[i] = base_hash64(sizes, sizeof sizes);
    }
    BASE_TRY(passes_number_kinds(r, hashes, count, mixes, same_kind, kinds));
    for (size_t i = 0; i < count; i++) {
        mixes[i].kind = kinds[i];
    }
    return MTL_OK;
}

static int by_weights(const void *left, const void *right)
{
    const side_mix *a = left, *b = right;
    if (a->kind != b->kind) {
        return a->kind < b->kind ? -1 : 1;
    }
    int order = passes_compare_pieces(&a->weights, &b->weights);
    return order != 0 ? order : a->order < b->order ? -1 : 1;
}

static int compare_pieces(const void *left, const void *right)
{
    return passes_compare_pieces(left, right);
}

/* The experts of all mixes, each once, in the order in which they lie. */
static mtl_status collect_values(passes_rewriter *r, const side_mix *mixes, size_t count, passes_piece **values,
                                 size_t *value_count)
{
    size_t total = 0, kept = 0;
    for (size_t i = 0; i < count; i++) {
        total += (size_t)(mixes[i].tasks * mixes[i].experts);
    }
    *values = BASE_NEW_ARRAY(&r->scratch, passes_piece, total);
    BASE_TRY_MEMORY(*values, r->diag);
    total = 0;
    for (size_t i = 0; i < count; i++) {
        size_t own = (size_t)(mixes[i].tasks * mixes[i].experts);
        memcpy(*values + total, mixes[i].values, own * sizeof **values);
        total += own;
    }
    qsort(*values, total, sizeof **values, compare_pieces);
    for (size_t i = 0; i < total; i++) {
        if (kept == 0 || passes_compare_pieces(&(*values)[kept - 1], &(*values)[i]) != 0) {
            (*values)[kept++] = (*values)[i];
        }
    }
    *value_count = kept;
    return MTL_OK;
}

static mtl_status pack_weights(passes_rewriter *r, const side_mix *mixes, size_t count, ir_node before, int64_t tasks,
                               ir_value *value)
{
    passes_piece *pieces = BASE_NEW_ARRAY(&r->scratch, passes_piece, count);
    ir_value *constants = BASE_NEW_ARRAY(&r->scratch, ir_value, count);
    int64_t *widths = BASE_NEW_ARRAY(&r->scratch, int64_t, count);
    BASE_TRY_MEMORY(pieces, r->diag);
    BASE_TRY_MEMORY(constants, r->diag);
    BASE_TRY_MEMORY(widths, r->diag);
    for (size_t i = 0; i < count; i++) {
        pieces[i] = mixes[i].weights;
        constants[i] = mixes[i].constants;
        widths[i] = mixes[i].tasks * mixes[i].experts;
    }
    if (mixes[0].constants != 0) {
        return passes_join_consts(r, constants, widths, count, 1, ir_type_of(r->graph, constants[0])->dtype, 3,
                                  (int64_t[]){1, tasks, mixes[0].experts}, value);
    }
    ir_type type = *ir_type_of(r->graph, pieces[0].root);
    type.rank = 3;
    type.dim[1] = ir_dim_const(tasks);
    type.dim[2] = ir_dim_const(mixes[0].experts);
    return passes_pack(r, before, pieces, count, &type, value);
}

/* One mix for all, over `values`. */
static mtl_status merge(passes_rewriter *r, const side_mix *mixes, size_t count, const passes_piece *values,
                        size_t value_count)
{
    ir_node before = mixes[count - 1].node;
    int64_t tasks = 0, experts = mixes[0].experts;
    for (size_t i = 0; i < count; i++) {
        tasks += mixes[i].tasks;
    }
    int64_t *index = BASE_NEW_ARRAY(&r->scratch, int64_t, (size_t)(tasks * experts));
    BASE_TRY_MEMORY(index, r->diag);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        for (int64_t j = 0; j < mixes[i].tasks * experts; j++) {
            const passes_piece *value =
                bsearch(&mixes[i].values[j], values, value_count, sizeof *values, compare_pieces);
            index[at++] = value - values;
        }
    }
    ir_type type = *ir_type_of(r->graph, values[0].root);
    type.rank = 3;
    type.dim[1] = ir_dim_const((int64_t)value_count);
    type.dim[2] = ir_dim_const(mixes[0].width);
    ir_value operands[2], y;
    BASE_TRY(pack_weights(r, mixes, count, before, tasks, &operands[0]));
    BASE_TRY(passes_pack(r, before, values, value_count, &type, &operands[1]));
    const char *function = ir_find_attr(ir_node_of(r->graph, mixes[0].node), IR_ATTR_function)->text;
    ir_attr attrs[2] = {IR_STRING(function, function), IR_INTS(index, index, at)};
    BASE_TRY(passes_insert(r, before, IR_OP_mix, NULL, operands, 2, attrs, 2, NULL, &y));
    passes_piece piece = {.root = y};
    for (size_t i = 0; i < count; i++) {
        piece.width = mixes[i].tasks * mixes[i].width;
        BASE_TRY(passes_side_replace(r, before, mixes[i].node, ir_info(r->graph, y)->node, &piece));
        piece.offset += piece.width;
    }
    for (size_t i = 0; i < count; i++) { /* last: `before` is one of them */
        passes_kill(r, mixes[i].node, "part of a mixture of all tasks");
    }
    return MTL_OK;
}

/* Whether the mix reads its experts where they lie already. */
static bool is_packed(passes_rewriter *r, const side_mix *mix, const passes_piece *values, size_t value_count)
{
    const ir_node_info *node = ir_node_of(r->graph, mix->node);
    passes_piece whole;
    return passes_find_piece(r, node->inputs[1], &whole) && passes_compare_pieces(&whole, &values[0]) == 0 &&
           whole.width == mix->width * (int64_t)value_count;
}

/* Merges what can be merged for free, else orders the experts of each mix. */
static mtl_status merge_if_free(passes_rewriter *r, const side_mix *mixes, size_t count)
{
    passes_piece *values, *weights = BASE_NEW_ARRAY(&r->scratch, passes_piece, count);
    size_t value_count = 0;
    BASE_TRY_MEMORY(weights, r->diag);
    for (size_t i = 0; i < count; i++) {
        weights[i] = mixes[i].weights;
    }
    BASE_TRY(collect_values(r, mixes, count, &values, &value_count));
    bool free = passes_pack_is_free(r, values, value_count) &&
                (mixes[0].constants != 0 || passes_pack_is_free(r, weights, count));
    if (free && (count > 1 || !is_packed(r, mixes, values, value_count))) {
        return merge(r, mixes, count, values, value_count);
    }
    for (size_t i = 0; i < count && count > 1; i++) {
        BASE_TRY(merge_if_free(r, &mixes[i], 1));
    }
    return MTL_OK;
}

mtl_status passes_side_mixes(passes_rewriter *r, const passes_slab *slab)
{
    side_mix *mixes = BASE_NEW_ARRAY(&r->scratch, side_mix, slab->count);
    BASE_TRY_MEMORY(mixes, r->diag);
    size_t count = 0;
    for (size_t i = 0; i < slab->count; i++) {
        bool found;
        BASE_TRY(read_mix(r, slab->nodes[i], &mixes[count], &found));
        if (found) {
            mixes[count].order = i;
            count++;
        }
    }
    BASE_TRY(find_kinds(r, mixes, count));
    qsort(mixes, count, sizeof *mixes, by_weights);
    for (size_t first = 0, end; first < count; first = end) {
        for (end = first + 1; end < count && mixes[end].kind == mixes[first].kind; end++) {
        }
        BASE_TRY(merge_if_free(r, &mixes[first], end - first));
    }
    return MTL_OK;
}
