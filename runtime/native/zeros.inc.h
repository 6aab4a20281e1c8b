/* Packed layers behind relu, whose rows are zeros for a good part. A product with 0 adds nothing to a sum, so its weights
 * need not even be read: results have the bits of linear.inc.h, and which of both runs may depend on anything. Weights must be
 * finite.
 *
 * Rows have their zeros in different places, so they go one by one, with as many panels as the registers hold, and each
 * multiply-add reads its weights. What keeps that in the first cache is that k comes in strips: 64 x 6 panels are 24 KiB,
 * 6 of the 8 lines of every set wherever the panels lie. Sums rest in y between strips. */
#ifndef RUNTIME_NATIVE_ZEROS_INC_H
#define RUNTIME_NATIVE_ZEROS_INC_H

#include "runtime/native/panels.inc.h"

enum {
    ZEROS_STRIP = 64, /* k: bits of a word */
#if LANES >= 8
    ZEROS_PANELS = 6,
#else
    ZEROS_PANELS = 3,
#endif
    ZEROS_LEAST_PANELS = 4, /* of a layer: fewer sums of one row cannot hide the latency of a multiply-add */
    ZEROS_WORDS = 1024,     /* of rows x strips, on the stack */
    ZEROS_SAMPLE = 12,      /* rows that tell how many zeros there are: 2, 3, 4 or 6 steps of a sequence count alike */
};

typedef struct zeros_block {
    linear_block part;     /* k: up to ZEROS_STRIP */
    const uint64_t *found; /* a word for each row: the k that are not 0 */
    size_t rows;
} zeros_block;

/* Bit i of the result: x[i] is not 0 (NaN is not), i < k <= 64. */
static uint64_t zeros_find(const float *x, size_t k)
{
    uint64_t found = 0;
    size_t i = 0;
    for (; i + LANES <= k; i += LANES) {
#if LANES == 16
        found |= (uint64_t)_mm512_cmp_ps_mask((__m512)load(x + i), _mm512_setzero_ps(), _CMP_NEQ_UQ) << i;
#elif LANES == 8
        found |= (uint64_t)(uint32_t)_mm256_movemask_ps((__m256)(load(x + i) != splat(0))) << i;
#else
        const ivec some = load(x + i) != splat(0);
        found |= (uint64_t)((some[0] & 1) | (some[1] & 2) | (some[2] & 4) | (some[3] & 8)) << i;
#endif
    }
    for (; i < k; i++) {
        found |= (uint64_t)(x[i] != 0) << i;
    }
    return found;
}

/* *x in all lanes. */
INLINE vec zeros_splat(const float *x)
{
#if LANES == 16
    /* By way of an integer register: the ports that load vectors have all the weights to load. */
    int32_t bits;
    memcpy(&bits, x, sizeof bits);
    __asm__("" : "+r"(bits));
    return (vec)_mm512_set1_epi32(bits);
#else
    return splat(*x);
#endif
}

/* PANELS, and WHOLE, whether the last of them has all its columns, are constants after inlining. */
INLINE void zeros_block_run(const zeros_block *block, const unsigned PANELS, const bool WHOLE)
{
    const unsigned VECS = PANELS * PANEL_VECS;
    const linear_block part = block->part;
    const size_t columns = WHOLE ? (size_t)PANELS * PLAN_PANEL : part.columns;
    const vec least = splat(part.floor);
    const float *x = part.x, *panel[ZEROS_PANELS];
    UNROLL
    for (unsigned p = 0; p < PANELS; p++) {
        panel[p] = part.w + p * part.w_stride;
        /* A register each: else gcc makes them from one another by a chain of additions for each k. */
        __asm__("" : "+r"(panel[p]));
    }
    float *y = part.y;
    for (size_t r = 0; r < block->rows; r++, x += part.x_stride, y += part.y_stride) {
        const float *from = part.resume ? y : part.bias;
        vec sums[ZEROS_PANELS * PANEL_VECS];
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            sums[v] = from != NULL ? load_columns(from, v * LANES, columns) : splat(0);
        }
        if (part.start != NULL) {
            from = linear_start(&part, r);
            UNROLL
            for (unsigned v = 0; v < VECS; v++) {
                sums[v] = sums[v] + load_columns(from, v * LANES, columns);
            }
        }
        for (uint64_t found = block->found[r]; found != 0; found &= found - 1) {
            const size_t i = (size_t)__builtin_ctzll(found);
            const vec xs = zeros_splat(x + i);
            UNROLL
            for (unsigned v = 0; v < VECS; v++) {
                const float *w = panel[v / PANEL_VECS] + i * PLAN_PANEL + v % PANEL_VECS * LANES;
                sums[v] = sums[v] + *(const vec *)w * xs;
            }
        }
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            store_columns(y, linear_result(sums[v], least), v * LANES, columns);
        }
    }
}

#define ZEROS_BLOCK(panels)                                                                                            \
    static void zeros_panels_##panels(const zeros_block *block)                                                        \
    {                                                                                                                  \
        if (block->part.columns >= panels * PLAN_PANEL) {                                                              \
            zeros_block_run(block, panels, true);                                                                      \
        } else {                                                                                                       \
            zeros_block_run(block, panels, false);                                                                     \
        }                                                                                                              \
    }
ZEROS_BLOCK(2)
ZEROS_BLOCK(3)
#if LANES >= 8
ZEROS_BLOCK(4)
ZEROS_BLOCK(5)
ZEROS_BLOCK(6)
#endif

/* By panels: ZEROS_LEAST_PANELS and more, divided evenly, never leave one alone. */
static void (*const zeros_blocks[ZEROS_PANELS + 1])(const zeros_block *) = {
    [2] = zeros_panels_2, [3] = zeros_panels_3,
#if LANES >= 8
    [4] = zeros_panels_4, [5] = zeros_panels_5, [6] = zeros_panels_6,
#endif
};

/* Rows x strips of up to ZEROS_WORDS. */
static void zeros_rows(const linear_block *part, size_t rows, size_t strips)
{
    uint64_t found[ZEROS_WORDS];
    for (size_t r = 0; r < rows; r++) {
        for (size_t s = 0; s < strips; s++) {
            const size_t k = part->k - s * ZEROS_STRIP;
            found[s * rows + r] =
                zeros_find(part->x + r * part->x_stride + s * ZEROS_STRIP, k < ZEROS_STRIP ? k : ZEROS_STRIP);
        }
    }
    const size_t panels = (part->columns + PLAN_PANEL - 1) / PLAN_PANEL;
    const size_t groups = (panels + ZEROS_PANELS - 1) / ZEROS_PANELS;
    for (size_t g = 0, panel = 0, count; g < groups; g++, panel += count) {
        count = (panels - panel) / (groups - g);
        for (size_t s = 0; s < strips; s++) {
            zeros_block block = {*part, found + s * rows, rows};
            block.part.x += s * ZEROS_STRIP;
            block.part.w += panel * part->w_stride + s * ZEROS_STRIP * PLAN_PANEL;
            block.part.bias = part->bias != NULL ? part->bias + panel * PLAN_PANEL : NULL;
            block.part.y += panel * PLAN_PANEL;
            block.part.columns -= panel * PLAN_PANEL;
            block.part.resume = part->resume || s > 0;
            block.part.start = part->start != NULL && s == 0 ? part->start + panel * PLAN_PANEL : NULL;
            block.part.floor = s + 1 < strips ? -INFINITY : part->floor;
            zeros_blocks[count](&block);
        }
    }
}

/* As linear_pass, for up to ZEROS_WORDS strips: `part` begins at the first row and column. */
static void zeros_pass(linear_block part, size_t rows)
{
    const size_t strips = (part.k + ZEROS_STRIP - 1) / ZEROS_STRIP, most = ZEROS_WORDS / strips;
    for (size_t row = 0, count; row < rows; row += count) {
        count = rows - row < most ? rows - row : most;
        zeros_rows(&part, count, strips);
        part.x += count * part.x_stride;
        part.y += count * part.y_stride;
        if (part.start_rows != NULL) {
            part.start_rows += count;
        } else if (part.start != NULL) {
            part.start += count * part.start_stride;
        }
    }
}

/* Whether so many of the first k of x, in the first rows, are 0 that zeros_pass is the faster one: a quarter, as a
 * multiply-add of zeros_pass takes 1.25 (6 panels) to 1.45 (4) times as long. */
static bool zeros_pay(const linear_block *part, size_t k, size_t rows)
{
    const size_t sample = rows < ZEROS_SAMPLE ? rows : ZEROS_SAMPLE;
    size_t count = 0;
    for (size_t r = 0; r < sample; r++) {
        count += (size_t)__builtin_popcountll(zeros_find(part->x + r * part->x_stride, k));
    }
    return count * 4 <= sample * k * 3;
}

#endif
