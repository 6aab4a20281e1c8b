/* Small products of two activations. Each output is one chain over k in order that starts at 0, so that its bits depend
 * on its row of a and its column of b alone. */
#ifndef RUNTIME_NATIVE_MATMUL_INC_H
#define RUNTIME_NATIVE_MATMUL_INC_H

#include "runtime/native/native.h"
#include "runtime/native/vec.inc.h"

enum {
    MATMUL_ROWS = LANES == 16  ? 4
                  : LANES == 8 ? 3
                               : 2,
    MATMUL_VECS = 4, /* of columns; ROWS x VECS sums in registers */
};

typedef struct matmul_block {
    const float *a, *b;
    float *y;
    size_t a_stride, b_stride, y_stride, k;
    size_t columns; /* of the last vector, 1 to LANES */
} matmul_block;

/* ROWS and VECS are constants after inlining. */
INLINE void matmul_block_run(const matmul_block *block, const unsigned ROWS, const unsigned VECS, const bool WHOLE)
{
    vec sums[MATMUL_ROWS][MATMUL_VECS];
    UNROLL
    for (unsigned r = 0; r < ROWS; r++) {
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            sums[r][v] = splat(0);
        }
    }
    for (size_t i = 0; i < block->k; i++) {
        const float *b = block->b + i * block->b_stride;
        vec bs[MATMUL_VECS];
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            bs[v] = WHOLE || v + 1 < VECS ? load(b + v * LANES) : load_tail(b + v * LANES, block->columns);
        }
        UNROLL
        for (unsigned r = 0; r < ROWS; r++) {
            const vec as = splat(block->a[r * block->a_stride + i]);
            UNROLL
            for (unsigned v = 0; v < VECS; v++) {
                sums[r][v] = sums[r][v] + bs[v] * as;
            }
        }
    }
    UNROLL
    for (unsigned r = 0; r < ROWS; r++) {
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            float *y = block->y + r * block->y_stride + v * LANES;
            if (WHOLE || v + 1 < VECS) {
                store(y, sums[r][v]);
            } else {
                store_tail(y, sums[r][v], block->columns);
            }
        }
    }
}

static void matmul_one_row(const matmul_block *block, size_t vecs)
{
    const bool whole = block->columns == LANES;
    switch (vecs * 2 + whole) {
    case 2: matmul_block_run(block, 1, 1, false); break;
    case 3: matmul_block_run(block, 1, 1, true); break;
    case 4: matmul_block_run(block, 1, 2, false); break;
    case 5: matmul_block_run(block, 1, 2, true); break;
    case 6: matmul_block_run(block, 1, 3, false); break;
    case 7: matmul_block_run(block, 1, 3, true); break;
    case 8: matmul_block_run(block, 1, 4, false); break;
    default: matmul_block_run(block, 1, 4, true); break;
    }
}

static void matmul_rows(const matmul_block *block, size_t vecs)
{
    const bool whole = block->columns == LANES;
    switch (vecs * 2 + whole) {
    case 2: matmul_block_run(block, MATMUL_ROWS, 1, false); break;
    case 3: matmul_block_run(block, MATMUL_ROWS, 1, true); break;
    case 4: matmul_block_run(block, MATMUL_ROWS, 2, false); break;
    case 5: matmul_block_run(block, MATMUL_ROWS, 2, true); break;
    case 6: matmul_block_run(block, MATMUL_ROWS, 3, false); break;
    case 7: matmul_block_run(block, MATMUL_ROWS, 3, true); break;
    case 8: matmul_block_run(block, MATMUL_ROWS, 4, false); break;
    default: matmul_block_run(block, MATMUL_ROWS, 4, true); break;
    }
}

/* Few columns (a gate's weighted sum with the experts along k): one row of a a lane. */
static void matmul_narrow(const float *a, size_t a_stride, const float *b, size_t b_stride, float *y, size_t y_stride,
                          size_t m, size_t k, size_t n)
{
    for (size_t row = 0; row < m; row += LANES) {
        const size_t rows = m - row < LANES ? m - row : LANES;
        vec sums[MATMUL_VECS];
        for (size_t j = 0; j < n; j++) {
            sums[j] = splat(0);
        }
        vec columns[LANES];
        for (size_t first = 0; first < k; first += LANES) {
            const size_t count = k - first < LANES ? k - first : LANES;
            float *out = (float *)columns;
            for (size_t l = 0; l < LANES; l++) {
                const float *in = a + (row + (l < rows ? l : 0)) * a_stride + first;
                for (size_t i = 0; i < count; i++) {
                    out[i * LANES + l] = in[i];
                }
            }
            for (size_t j = 0; j < n; j++) {
                for (size_t i = 0; i < count; i++) {
                    sums[j] = sums[j] + columns[i] * splat(b[(first + i) * b_stride + j]);
                }
            }
        }
        for (size_t j = 0; j < n; j++) {
            for (size_t l = 0; l < rows; l++) {
                y[(row + l) * y_stride + j] = sums[j][l];
            }
        }
    }
}

static void matmul(const float *a, size_t a_stride, const float *b, size_t b_stride, float *y, size_t y_stride,
                   size_t m, size_t k, size_t n)
{
    if (n <= MATMUL_VECS && m > 1) {
        matmul_narrow(a, a_stride, b, b_stride, y, y_stride, m, k, n);
        return;
    }
    for (size_t column = 0; column < n; column += MATMUL_VECS * LANES) {
        const size_t left = n - column;
        const size_t vecs = left < MATMUL_VECS * LANES ? (left + LANES - 1) / LANES : MATMUL_VECS;
        const size_t columns = left < vecs * LANES ? left - (vecs - 1) * LANES : LANES;
        for (size_t row = 0; row < m;) {
            const matmul_block block = {
                a + row * a_stride, b + column, y + row * y_stride + column, a_stride, b_stride, y_stride, k, columns};
            if (m - row >= MATMUL_ROWS) {
                matmul_rows(&block, vecs);
                row += MATMUL_ROWS;
            } else {
                matmul_one_row(&block, vecs);
                row++;
            }
        }
    }
}

#endif
