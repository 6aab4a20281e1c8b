/* Layouts: the axes of a value, seen through the moves that made it, as axes of where its elements come from. Private to
 * passes/.
 *
 * A strip (passes/strip.h) is one matrix of a value; a layout is all of it, so that whatever exporters do to split heads
 * and join them again, a pass sees (B, L, columns) behind it. */
#ifndef PASSES_LAYOUT_H
#define PASSES_LAYOUT_H

#include "passes/rewrite.h"

enum { PASSES_LAYOUT_ATOMS = 6, PASSES_LAYOUT_DEPTH = 32, PASSES_REPEATED = -1 };

/* Positions start, start + stride, ... of an axis of the root, `extent` of them. */
typedef struct passes_atom {
    int axis; /* PASSES_REPEATED: the same for all */
    ir_dim extent;
    int64_t stride;
} passes_atom;

/* Each axis of the value is the product of its atoms, the last one running fastest; none: extent 1. */
typedef struct passes_layout {
    ir_value root;
    int rank;
    int count[MTL_MAX_RANK];
    passes_atom atoms[MTL_MAX_RANK][PASSES_LAYOUT_ATOMS];
    int64_t start[MTL_MAX_RANK]; /* of each axis of the root */
    double scale;                /* what the root is multiplied by */
} passes_layout;

/* The layout of a value as itself. */
passes_layout passes_layout_of(const ir_graph *graph, ir_value value);

/* What a move (reshape, transpose, slice, expand, gather of one position, identity) moves; 0: the node is none. */
ir_value passes_moved(const ir_graph *graph, const ir_node_info *node);

/* *layout, of what the node moves, becomes that of its result. False: it cannot be said, *layout is undefined. */
bool passes_layout_move(const ir_graph *graph, const ir_node_info *node, passes_layout *layout);

/* From as far up as moves go. With `scaled`, products with one number are moves, too. */
passes_layout passes_find_layout(passes_rewriter *r, ir_value value, bool scaled);

/* The number that `node` multiplies or divides its operand `*operand` by. False: it does something else. */
bool passes_scales(passes_rewriter *r, const ir_node_info *node, ir_value *operand, double *factor);

#endif
