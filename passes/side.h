/* The pass `side_by_side`: what its files share. Private to passes/.
 *
 *   side_by_side.c   which nodes may run side by side, and the order in which they are merged
 *   side_layers.c    linear layers
 *   side_mixes.c     mixtures of experts
 *   side_lanes.c     element-wise functions
 */
#ifndef PASSES_SIDE_H
#define PASSES_SIDE_H

#include "passes/pieces.h"

/* The nodes of one slab: none of them depends on another. In the graph's order. */
typedef struct passes_slab {
    const ir_node *nodes;
    size_t count;
} passes_slab;

mtl_status passes_side_layers(passes_rewriter *r, const passes_slab *slab);
mtl_status passes_side_mixes(passes_rewriter *r, const passes_slab *slab);
mtl_status passes_side_lanes(passes_rewriter *r, const passes_slab *slab);

/* `member`'s result is `piece` from now on: its readers read that, `into` does its work. */
mtl_status passes_side_replace(passes_rewriter *r, ir_node before, ir_node member, ir_node into,
                               const passes_piece *piece);

/* What is equal of nodes of one kind: the hash of a node's operation and attributes, and of a type's dtype and rows. */
uint64_t passes_kind_hash(const ir_node_info *node, const ir_type *type);

/* Numbers the kinds of items 0 to count - 1, in the order of their first ones. Items are of one kind when `same` says so,
 * and then have equal hashes. */
mtl_status passes_number_kinds(passes_rewriter *r, const uint64_t *hashes, size_t count, const void *items,
                               bool (*same)(const ir_graph *graph, const void *items, size_t a, size_t b),
                               size_t *kinds);

/* Constants, or zeros where there is none (0), side by side: `rows` rows, of which part i holds `widths[i]` elements. */
mtl_status passes_join_consts(passes_rewriter *r, const ir_value *parts, const int64_t *widths, size_t count,
                              int64_t rows, mtl_dtype dtype, int rank, const int64_t *shape, ir_value *value);

#endif
