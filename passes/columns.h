/* Columns of a value by whom they belong to: the user of a request or its candidates. Private to passes/. Rates must be
 * inferred (ir_infer_rates) before they are looked for. */
#ifndef PASSES_COLUMNS_H
#define PASSES_COLUMNS_H

#include "passes/pieces.h"

typedef struct passes_span {
    ir_value root;
    int64_t offset, width;
    bool users; /* the same for all candidates of one user */
} passes_span;

/* What a value consists of, in order, seen through slices and concatenations. */
typedef struct passes_columns {
    int axis; /* widths are extents along it; 0: elements of rows, the spans are pieces (passes/pieces.h) */
    passes_span *spans;
    size_t count, capacity;
    int64_t users, candidates; /* widths of the spans of each kind */
} passes_columns;

/* The rates of a graph that has inputs per user; in others nothing: no value is the users'. */
mtl_status passes_infer_users(ir_graph *graph, base_diag *diag);

/* Whether `value` varies with candidates, but not between those of one user. */
bool passes_is_users(const ir_graph *graph, ir_value value);

/* The elements of each row of `value`, which has rows (passes_row_width). `columns` is empty, or of an earlier search, whose memory is
 * used again. */
mtl_status passes_find_row_columns(passes_rewriter *r, ir_value value, passes_columns *columns);
/* The same along an axis, not the first. */
mtl_status passes_find_axis_columns(passes_rewriter *r, ir_value value, int axis, passes_columns *columns);
/* The one of these that finds both kinds: rows, where parts along the axis are in one piece, else along it. */
mtl_status passes_find_columns(passes_rewriter *r, ir_value value, int axis, passes_columns *columns);

/* Appends a span, or makes the last one longer. */
mtl_status passes_add_span(passes_rewriter *r, passes_columns *columns, passes_span span);

/* All spans one after the other as a value of that type, made before `before`. */
mtl_status passes_join_columns(passes_rewriter *r, ir_node before, const passes_columns *columns, const ir_type *type,
                               ir_value *value);
/* The same of the spans of one kind. */
mtl_status passes_pick_columns(passes_rewriter *r, ir_node before, const passes_columns *columns, bool users,
                               const ir_type *type, ir_value *value);

/* A result of a node that the pass inserted: whether it is the users'. */
void passes_set_users(ir_graph *graph, ir_value value, bool users);

#endif
