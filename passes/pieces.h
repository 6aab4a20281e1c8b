/* Values as pieces of others: what slices, reshapes and concatenations along the columns only say where to find.
 * Private to passes/.
 *
 * Every value with a leading axis is read as rows of `width` elements. A piece is the same run of elements of each row
 * of its root, which is no such view itself: the experts of a packed layer, the tasks of a running sum.
 */
#ifndef PASSES_PIECES_H
#define PASSES_PIECES_H

#include "passes/rewrite.h"

typedef struct passes_piece {
    ir_value root;
    int64_t offset, width; /* elements of a row */
} passes_piece;

/* Elements of a row: the product of the axes behind the first. False: rank 0, or a symbol among them. */
bool passes_row_width(const ir_type *type, int64_t *width);

/* Whether parts of a row that are cut on `axis`, or joined on it, are in one piece each. */
bool passes_cuts_rows(const ir_type *type, int axis);

/* Where the elements of `value` lie. False when it has no rows. */
bool passes_find_piece(passes_rewriter *r, ir_value value, passes_piece *piece);

/* The same for the `width` elements from `offset` on of each row of `value`. */
bool passes_find_part(passes_rewriter *r, ir_value value, int64_t offset, int64_t width, passes_piece *piece);

/* Whether `next` begins where `piece` ends. */
static inline bool passes_follows(const passes_piece *piece, const passes_piece *next)
{
    return piece->root == next->root && piece->offset + piece->width == next->offset;
}
/* By root, then by offset: for qsort-like comparisons. */
int passes_compare_pieces(const passes_piece *a, const passes_piece *b);

/* The piece as a value of that type (first axis as the root's), made before `before` from at most one slice. */
mtl_status passes_piece_value(passes_rewriter *r, ir_node before, const passes_piece *piece, const ir_type *type,
                              ir_value *value);

/* The pieces one after the other as a value of that type: a piece of their root where they are neighbours, else a
 * concatenation of runs of neighbours. */
mtl_status passes_pack(passes_rewriter *r, ir_node before, const passes_piece *pieces, size_t count,
                       const ir_type *type, ir_value *value);

/* Whether the value is what the caller gets, as it is or reshaped: to be computed straight into the caller's memory. */
bool passes_is_output(passes_rewriter *r, ir_value value);

/* Whether the piece is all that a node computes, and not what the caller gets: then it can be computed elsewhere. */
bool passes_is_whole_result(passes_rewriter *r, const passes_piece *piece);

/* Whether packing moves nothing: one run, or runs that are whole results and so can be written into their place. */
bool passes_pack_is_free(passes_rewriter *r, const passes_piece *pieces, size_t count);

#endif
