/* The cheapest set of vertices that every way from the sources to the sinks of a network goes through. */
#ifndef COMPILER_FRONTIER_H
#define COMPILER_FRONTIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/diag.h"

#define COMPILER_FRONTIER_NEVER UINT64_MAX          /* the price of a vertex that cannot be chosen */
enum { COMPILER_FRONTIER_MOST = 1 << 16 };          /* vertices */
#define COMPILER_FRONTIER_PRICE ((uint64_t)1 << 44) /* most that one costs: sums of them do not overflow */

typedef struct compiler_arc {
    uint32_t from, to; /* vertices */
} compiler_arc;

typedef struct compiler_network {
    uint32_t vertex_count;
    const uint64_t *price;           /* by vertex: up to COMPILER_FRONTIER_PRICE, or NEVER */
    const bool *is_source, *is_sink; /* by vertex */
    const compiler_arc *arcs;
    size_t arc_count;
} compiler_network;

/* chosen[v] (vertex_count, all false): the vertices of least price together; of several such sets the one nearest to the
 * sinks. Every source and sink must have a vertex with a price on each way (MTL_INTERNAL). A minimum cut by Dinic's
 * algorithm, every vertex an arc from its front to its back. */
mtl_status compiler_find_frontier(const compiler_network *network, base_arena *arena, base_diag *diag, bool *chosen);

#endif
