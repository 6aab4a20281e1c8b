/* What the kernels of packed layers share: a block of rows x panels of one layer, and its columns, of which the last panel
 * may have fewer. */
#ifndef RUNTIME_NATIVE_PANELS_INC_H
#define RUNTIME_NATIVE_PANELS_INC_H

#include "plan/format.h"
#include "runtime/native/vec.inc.h"

enum { PANEL_VECS = PLAN_PANEL / LANES };

typedef struct linear_block {
    const float *x, *w, *bias; /* bias NULL: none, or not the first part of k */
    float *y;
    size_t x_stride, w_stride, y_stride; /* w_stride: floats of a panel */
    size_t k;
    size_t columns;     /* that may be written; panels beyond are not touched */
    bool resume;        /* y holds the sums over the k before */
    const float *start; /* of column 0 of row 0; NULL: none, or not the first part of k */
    size_t start_stride;
    const int32_t *start_rows; /* from row 0 on; NULL: rows follow each other */
    float floor;               /* 0: relu; -infinity: none */
} linear_block;

INLINE vec load_columns(const float *p, size_t column, size_t columns)
{
    if (column + LANES <= columns) {
        return load(p + column);
    }
    return column < columns ? load_tail(p + column, columns - column) : splat(0);
}

INLINE void store_columns(float *p, vec v, size_t column, size_t columns)
{
    if (column + LANES <= columns) {
        store(p + column, v);
    } else if (column < columns) {
        store_tail(p + column, v, columns - column);
    }
}

INLINE const float *linear_start(const linear_block *block, size_t row)
{
    return block->start + block->start_stride * (block->start_rows != NULL ? (size_t)block->start_rows[row] : row);
}

/* A block's sum with the floor. -0 becomes 0, so that what products with zeros add to a sum (0 or -0) is never seen. */
INLINE vec linear_result(vec sum, vec least)
{
    return max_second(least, sum + splat(0));
}

#endif
