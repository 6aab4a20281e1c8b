/* Strips: what a value consists of, seen through the moves that made it. Private to passes/. */
#ifndef PASSES_STRIP_H
#define PASSES_STRIP_H

#include "passes/rewrite.h"

/* The matrix (B, length) in a value: B along one axis, columns along another, every other axis standing still. Mixtures
 * and chains are found as strips, so it does not matter whether an expert is a module's result, a part of a wide layer,
 * or a slice of a stack of them. */
typedef struct passes_strip {
    ir_value value;
    int row, column; /* axes; the column is -1 when length is 1 */
    int64_t length;
    int64_t at[MTL_MAX_RANK]; /* along column: of the first; along row: 0 */
} passes_strip;

/* Whether all axes but the row have fixed extents, none of them 0: what is called with other strips gives errors. */
bool passes_strip_is_fixed(const ir_graph *graph, const passes_strip *strip);

/* The same numbers as far up as moves go: reshape, transpose, concat, slice, gather by constants, expand. Returns how many
 * moves other than reshapes there were. */
int passes_trace_strip(const ir_graph *graph, passes_strip *strip);

/* Whether the rows of all these strips lie in one piece each, so that stacking them turns nothing. */
bool passes_strips_are_rows(const ir_graph *graph, const passes_strip *strips, size_t count);

/* `count` strips of equal length, none NULL, as one value (B, m, length). Strips that are there more than once are taken
 * once, and what is one value already is not copied. numbers[i] is where strip i is. */
mtl_status passes_stack_strips(passes_rewriter *r, ir_node before, const passes_strip *strips, size_t count,
                               ir_value *stack, int64_t *numbers);

/* Strips side by side, in their order, as one value (B, outer, inner): the lengths add up to outer x inner. Or, with outer
 * 0, as (B, inner). */
mtl_status passes_join_strips(passes_rewriter *r, ir_node before, const passes_strip *strips, size_t count,
                              int64_t outer, int64_t inner, ir_value *joined);

/* Whether that would copy nothing: they follow each other in one value. */
bool passes_strips_are_joined(const ir_graph *graph, const passes_strip *strips, size_t count);

/* Whether strips of one column each are `count` columns of one value along one axis, each once, without gaps: these
 * become *run, and strip i is its column order[i]. */
bool passes_find_run(const ir_graph *graph, const passes_strip *strips, size_t count, passes_strip *run,
                     int64_t *order);

#endif
