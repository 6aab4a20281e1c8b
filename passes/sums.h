/* Trees of additions, seen as one sum. Private to passes/. */
#ifndef PASSES_SUMS_H
#define PASSES_SUMS_H

#include "passes/rewrite.h"

enum { PASSES_SUM_TERMS = 256 };

typedef struct passes_sums {
    bool *inner; /* by value: the result of an addition that one other addition of its type reads, and nobody else */
    uint32_t count;
} passes_sums;

/* In the scratch arena; for the graph as it is now. */
mtl_status passes_find_sums(passes_rewriter *r, passes_sums *sums);

/* The terms of the sum that addition `node` is the last of, from left to right. 0: it is not the last one, or there are
 * more than PASSES_SUM_TERMS, which is room in `terms`. */
size_t passes_flatten_sum(const passes_rewriter *r, const passes_sums *sums, ir_node node, ir_value *terms);

/* As passes_each, for a `look` that flattens sums. */
mtl_status passes_each_sum(ir_graph *graph, base_diag *diag,
                           mtl_status (*look)(passes_rewriter *r, const passes_sums *sums, ir_node node));

#endif
