/* Reductions, and layer norm, whose mean and variance are two. */
#ifndef RUNTIME_NATIVE_REDUCE_INC_H
#define RUNTIME_NATIVE_REDUCE_INC_H

#include "runtime/native/lanes.inc.h"
#include "runtime/native/native.h"
#include "runtime/native/vec.inc.h"

/* FOLD, of vectors a and b; ACROSS_LANES, of one; START, its neutral element; FINISH, of float s and n elements. */
#define REDUCE(name, start, fold, across_lanes, finish)                                                                \
    static float reduce_row_##name(const float *x, size_t n)                                                           \
    {                                                                                                                  \
        vec s0 = splat(start), s1 = s0;                                                                                \
        for (size_t i = 0; i < n; i += 2 * LANES) {                                                                    \
            vec a = s0, b = load_filled(x + i, n - i, start);                                                          \
            s0 = (fold);                                                                                               \
            if (n - i > LANES) {                                                                                       \
                a = s1, b = load_filled(x + i + LANES, n - i - LANES, start);                                          \
                s1 = (fold);                                                                                           \
            }                                                                                                          \
        }                                                                                                              \
        const vec a = s0, b = s1;                                                                                      \
        const float s = across_lanes(fold);                                                                            \
        return (finish);                                                                                               \
    }                                                                                                                  \
    static void reduce_lanes_##name(const lane_set *set, const float *x, float *y, size_t n, size_t inner)             \
    {                                                                                                                  \
        vec columns[REDUCE_COLUMNS], a = splat(start);                                                                 \
        for (size_t first = 0; first < n; first += REDUCE_COLUMNS) {                                                   \
            const size_t count = n - first < REDUCE_COLUMNS ? n - first : REDUCE_COLUMNS;                              \
            lanes_load(set, x, first, count, inner, columns);                                                          \
            for (size_t j = 0; j < count; j++) {                                                                       \
                const vec b = columns[j];                                                                              \
                a = (fold);                                                                                            \
            }                                                                                                          \
        }                                                                                                              \
        float sums[LANES];                                                                                             \
        memcpy(sums, &a, sizeof sums);                                                                                 \
        for (size_t l = 0; l < set->count; l++) {                                                                      \
            const float s = sums[l];                                                                                   \
            y[l] = (finish);                                                                                           \
        }                                                                                                              \
    }

enum { REDUCE_COLUMNS = 32 }; /* held on the stack at a time */

REDUCE(sum, 0, a + b, across_sum, s)
REDUCE(mean, 0, a + b, across_sum, s / (float)n)
REDUCE(max, -INFINITY, max_nan(a, b), across_max, s)
REDUCE(min, INFINITY, min_nan(a, b), across_min, s)
REDUCE(prod, 1, a *b, across_product, s)

static void reduce(plan_reduce f, const float *x, float *y, size_t outer, size_t n, size_t inner)
{
    static float (*const rows[])(const float *, size_t) = {
#define PLAN_REDUCE(number, name) [number] = reduce_row_##name,
#include "plan/ops.def"
#undef PLAN_REDUCE
    };
    static void (*const lanes[])(const lane_set *, const float *, float *, size_t, size_t) = {
#define PLAN_REDUCE(number, name) [number] = reduce_lanes_##name,
#include "plan/ops.def"
#undef PLAN_REDUCE
    };
    if (inner == 0) {
        return;
    }
    if (along_lanes(n, inner)) {
        for (size_t o = 0; o < outer; o++) {
            y[o] = rows[f](x + o * n, n);
        }
        return;
    }
    for (size_t pair = 0, pairs = outer * inner; pair < pairs; pair += LANES) {
        const lane_set set = lanes_at(pair, pairs, n, inner);
        lanes[f](&set, x, y + pair, n, inner);
    }
}

enum { NORM_VECS = 8 }; /* of a row that stays in registers */

/* Rows of VECS vectors, a constant after inlining, the last one perhaps with a tail: each is read and written once. */
INLINE void layer_norm_short(const float *x, const float *scale, const float *bias, float epsilon, float *y,
                             size_t outer, size_t n, const unsigned VECS)
{
    const size_t last = n - (VECS - 1) * LANES;
    const ivec there = first_lanes(last);
    const float share = 1 / (float)n;
    for (size_t o = 0; o < outer; o++, x += n, y += n) {
        vec v[NORM_VECS], sum = splat(0), squares = splat(0);
        UNROLL
        for (unsigned i = 0; i < VECS; i++) {
            v[i] = i + 1 < VECS ? load(x + i * LANES) : load_filled(x + i * LANES, last, 0);
            sum = sum + v[i];
        }
        const vec mean = sum_everywhere(sum) * splat(share);
        UNROLL
        for (unsigned i = 0; i < VECS; i++) {
            v[i] = v[i] - mean;
            if (i + 1 == VECS) {
                v[i] = (vec)((ivec)v[i] & there);
            }
            squares = squares + v[i] * v[i];
        }
        const vec factor = splat(1 / sqrtf(sum_everywhere(squares)[0] * share + epsilon));
        UNROLL
        for (unsigned i = 0; i < VECS; i++) {
            const size_t count = i + 1 < VECS ? LANES : last;
            v[i] = v[i] * factor;
            if (scale != NULL) {
                v[i] = v[i] * load_filled(scale + i * LANES, count, 0);
            }
            if (bias != NULL) {
                v[i] = v[i] + load_filled(bias + i * LANES, count, 0);
            }
            store_some(y + i * LANES, v[i], count);
        }
    }
}

static void layer_norm(const float *x, const float *scale, const float *bias, float epsilon, float *y, size_t outer,
                       size_t n)
{
    switch ((n + LANES - 1) / LANES) {
    case 1: layer_norm_short(x, scale, bias, epsilon, y, outer, n, 1); return;
    case 2: layer_norm_short(x, scale, bias, epsilon, y, outer, n, 2); return;
    case 3: layer_norm_short(x, scale, bias, epsilon, y, outer, n, 3); return;
    case 4: layer_norm_short(x, scale, bias, epsilon, y, outer, n, 4); return;
#if LANES < 16
    case 5: layer_norm_short(x, scale, bias, epsilon, y, outer, n, 5); return;
    case 6: layer_norm_short(x, scale, bias, epsilon, y, outer, n, 6); return;
    case 7: layer_norm_short(x, scale, bias, epsilon, y, outer, n, 7); return;
    case 8: layer_norm_short(x, scale, bias, epsilon, y, outer, n, 8); return;
#endif
    default: break;
    }
    for (size_t o = 0; o < outer; o++, x += n, y += n) {
        const vec mean = splat(reduce_row_mean(x, n));
        vec squares = splat(0);
        for (size_t i = 0; i < n; i += LANES) {
            const vec v = load_filled(x + i, n - i, mean[0]) - mean;
            squares = squares + v * v;
        }
        const vec factor = splat(1 / sqrtf(across_sum(squares) / (float)n + epsilon));
        for (size_t i = 0; i < n; i += LANES) {
            vec v = (load_filled(x + i, n - i, 0) - mean) * factor;
            if (scale != NULL) {
                v = v * load_filled(scale + i, n - i, 0);
            }
            if (bias != NULL) {
                v = v + load_filled(bias + i, n - i, 0);
            }
            store_some(y + i, v, n - i);
        }
    }
}

#endif
