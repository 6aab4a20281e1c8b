/* Recurrent layers (GRU whose reset gate follows the product). The state of a block of rows is multiplied by the panels of
 * all three gates at the same columns, so that the sums never leave the registers before the gates are done; each sum is one
 * chain in order of k that starts at what the step reads, whatever block it falls into. */
#ifndef RUNTIME_NATIVE_GRU_INC_H
#define RUNTIME_NATIVE_GRU_INC_H

#include "runtime/native/linear.inc.h"
#include "runtime/native/math.inc.h"
#include "runtime/native/native.h"
#include "runtime/native/vec.inc.h"

enum {
    GRU_GATES = 3,
    GRU_UNITS = 4, /* vectors of columns of each gate, at most */
    GRU_ROWS = BLOCK_VECS / GRU_GATES,
};

/* One step of some rows, at some columns. */
typedef struct gru_block {
    const float *p, *w, *bias, *h; /* w: of gate z; bias, h NULL: zeros; all but h begin at the columns at hand */
    const float *before;           /* h at the columns at hand */
    float *y;
    size_t p_row, h_row, y_row;
    size_t gate, panel; /* floats from one gate's panels to the next's; of a panel */
    size_t hidden;
    size_t columns; /* that there are from here on */
} gru_block;

/* exp(x) of a gate's sum, 2^(k + f) with |f| <= 1/2. Beyond 42 a gate is 0 or 1 as far as floats go; two such numbers can be
 * multiplied and divided by. The error grows with |x|, where the gate is flat. 2^f: a minimax fit, 9e-8, that is 1 at 0. */
INLINE vec exp_of_gate(vec x)
{
    const vec shift = splat(0x1.8p23f);
    const vec scaled = max_second(splat(-62), min_second(splat(62), x * splat(0x1.715476p0f)));
    const vec t = scaled + shift;
    const vec f = scaled - (t - shift);
    vec p = splat(1.326472725e-03f);
    p = p * f + splat(9.671512786e-03f);
    p = p * f + splat(5.550733744e-02f);
    p = p * f + splat(2.402224208e-01f);
    p = p * f + splat(6.931469776e-01f);
    p = p * f + splat(1);
    return p * (vec)(((uvec)t << 23) + (uvec)isplat(0x3f800000));
}

/* The next state from the sums of z, of the reset gate, and of n's product; `p` is what n's product is added to. With
 * a = exp(-z'), b = exp(-r'), both gates come from one division: 1 / (1 + a) = (1 + b) / ((1 + a) (1 + b)); and
 * (1 - z) n + z h = z (a n + h). Errors are those of a few roundings of numbers up to 1. */
INLINE vec gru_gates(vec z_sum, vec r_sum, vec product, vec p, vec h)
{
    const vec one = splat(1);
    const vec a = exp_of_gate(-z_sum), b = exp_of_gate(-r_sum);
    const vec both = one / ((one + a) * (one + b));
    const vec x = p + (both * (one + a)) * product;
    const vec e = exp_of_gate(splat(-2) * x);
    const vec n = (one - e) / (one + e);
    return (both * (one + b)) * (a * n + h);
}

/* `sums`: rows x units of the sums of three gates. One copy for all blocks. */
static void gru_finish(const gru_block *block, const vec *sums, unsigned rows, unsigned units)
{
    for (unsigned r = 0; r < rows; r++) {
        for (unsigned u = 0; u < units; u++) {
            const vec *s = sums + (r * units + u) * GRU_GATES;
            const size_t column = u * LANES;
            const vec p = load_columns(block->p + r * block->p_row + 2 * block->hidden, column, block->columns);
            const vec h =
                block->h != NULL ? load_columns(block->before + r * block->h_row, column, block->columns) : splat(0);
            store_columns(block->y + r * block->y_row, gru_gates(s[0], s[1], s[2], p, h), column, block->columns);
        }
    }
}

/* ROWS and UNITS are constants after inlining. */
INLINE void gru_block_run(const gru_block *block, const unsigned ROWS, const unsigned UNITS)
{
    vec sums[GRU_ROWS * GRU_GATES * GRU_UNITS];
    UNROLL
    for (unsigned i = 0; i < ROWS * UNITS; i++) {
        const float *p = block->p + i / UNITS * block->p_row;
        const size_t column = i % UNITS * LANES;
        sums[i * GRU_GATES] = load_columns(p, column, block->columns);
        sums[i * GRU_GATES + 1] = load_columns(p + block->hidden, column, block->columns);
        sums[i * GRU_GATES + 2] = block->bias != NULL ? load(block->bias + column) : splat(0);
    }
    const float *h = block->h, *w = block->w;
    const size_t h_row = block->h_row, gate = block->gate, panel = block->panel;
    for (size_t k = h != NULL ? block->hidden : 0; k > 0; k--, h++, w += PLAN_PANEL) {
        vec weights[GRU_GATES * GRU_UNITS];
        UNROLL
        for (unsigned v = 0; v < UNITS * GRU_GATES; v++) {
            const unsigned unit = v / GRU_GATES;
            weights[v] =
                *(const vec *)(w + v % GRU_GATES * gate + unit / PANEL_VECS * panel + unit % PANEL_VECS * LANES);
        }
        UNROLL
        for (unsigned r = 0; r < ROWS; r++) {
            const vec hs = splat(h[r * h_row]);
            UNROLL
            for (unsigned v = 0; v < UNITS * GRU_GATES; v++) {
                vec *sum = &sums[r * UNITS * GRU_GATES + v];
                *sum = *sum + weights[v] * hs;
            }
        }
    }
    gru_finish(block, sums, ROWS, UNITS);
}

#define GRU_BLOCK(rows, units)                                                                                         \
    static void gru_rows_##rows##_##units(const gru_block *block)                                                      \
    {                                                                                                                  \
        gru_block_run(block, rows, units);                                                                             \
    }
GRU_BLOCK(1, 4)
GRU_BLOCK(1, 2)
GRU_BLOCK(1, 1)
GRU_BLOCK(2, 2)
GRU_BLOCK(2, 1)
GRU_BLOCK(3, 1)
GRU_BLOCK(4, 1)
#if LANES >= 16
GRU_BLOCK(2, 4)
GRU_BLOCK(3, 2)
GRU_BLOCK(4, 2)
GRU_BLOCK(5, 1)
GRU_BLOCK(6, 1)
GRU_BLOCK(7, 1)
GRU_BLOCK(8, 1)
#endif

/* By rows and by the logarithm of the units. */
static void (*const gru_blocks[GRU_ROWS + 1][3])(const gru_block *) = {
#if LANES >= 16
    [1] = {gru_rows_1_1, gru_rows_1_2, gru_rows_1_4},
    [2] = {gru_rows_2_1, gru_rows_2_2, gru_rows_2_4},
    [3] = {gru_rows_3_1, gru_rows_3_2},
    [4] = {gru_rows_4_1, gru_rows_4_2},
    [5] = {gru_rows_5_1},
    [6] = {gru_rows_6_1},
    [7] = {gru_rows_7_1},
    [8] = {gru_rows_8_1},
#else
    [1] = {gru_rows_1_1, gru_rows_1_2, gru_rows_1_4},
    [2] = {gru_rows_2_1, gru_rows_2_2},
    [3] = {gru_rows_3_1},
    [4] = {gru_rows_4_1},
#endif
};

/* All rows, one step: `block` begins at the first row and column. Columns outside, so that panels are read once. */
static void gru_step(gru_block block, size_t rows)
{
    const size_t parts = (rows + GRU_ROWS - 1) / GRU_ROWS, largest = (rows + parts - 1) / parts;
    const gru_block first = block;
    unsigned most = 2;
    while (gru_blocks[largest][most] == NULL) {
        most--;
    }
    for (size_t column = 0, width; column < first.hidden; column += width) {
        const size_t units = (first.hidden - column + LANES - 1) / LANES;
        unsigned size = most;
        while ((size_t)1 << size > units) {
            size--;
        }
        width = (size_t)LANES << size;
        for (size_t part = 0, row = 0; part < parts; part++) {
            const size_t count = (rows - row) / (parts - part);
            block.p = first.p + row * first.p_row + column;
            block.w = first.w + column / PLAN_PANEL * first.panel + column % PLAN_PANEL;
            block.bias = first.bias != NULL ? first.bias + column : NULL;
            block.h = first.h != NULL ? first.h + row * first.h_row : NULL;
            block.before = first.h != NULL ? block.h + column : NULL;
            block.y = first.y + row * first.y_row + column;
            block.columns = first.hidden - column;
            gru_blocks[count][size](&block);
            row += count;
        }
    }
}

static void gru(const native_gru *call)
{
    if (call->rows == 0 || call->hidden == 0) {
        return;
    }
    gru_block block = {
        .w = call->r,
        .bias = call->bias,
        .h = call->h,
        .p_row = call->p_stride,
        .h_row = call->h_stride,
        .y_row = call->y_stride,
        .gate = native_panels(call->hidden, call->hidden),
        .panel = call->hidden * PLAN_PANEL,
        .hidden = call->hidden,
    };
    for (size_t i = 0; i < call->steps; i++) {
        const size_t at = call->reverse ? call->steps - 1 - i : i;
        block.p = call->p + at * GRU_GATES * call->hidden;
        block.y = call->y + at * call->hidden;
        gru_step(block, call->rows);
        block.h = block.y;
        block.h_row = call->y_stride;
    }
}

#endif
