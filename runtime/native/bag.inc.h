/* Sums and maxima of rows of a table: a block of the result's columns stays in registers while the rows pass by, in order. */
#ifndef RUNTIME_NATIVE_BAG_INC_H
#define RUNTIME_NATIVE_BAG_INC_H

#include <math.h>

#include "runtime/native/native.h"
#include "runtime/native/vec.inc.h"

enum { BAG_VECS = 8 };

/* VECS, MAX, WEIGHTS and WHOLE are constants after inlining; `columns`: of the one vector, where it is not whole. */
INLINE void bag_block(const native_bag *call, size_t first, const unsigned VECS, const bool MAX, const bool WEIGHTS,
                      const bool WHOLE, size_t columns)
{
    vec sums[BAG_VECS];
    float *y = call->y + first;
    UNROLL
    for (unsigned v = 0; v < VECS; v++) {
        vec before = splat(MAX ? -INFINITY : 0);
        if (call->resume) {
            before = WHOLE ? load(y + v * LANES) : load_tail(y, columns);
        }
        sums[v] = MAX && call->filled ? max_nan(before, splat(call->fill)) : before;
    }
    for (size_t i = 0; i < call->n; i++) {
        const int64_t row = call->rows[i];
        if (row < 0) { /* zeros: nothing for a sum */
            UNROLL
            for (unsigned v = 0; v < VECS && MAX; v++) {
                sums[v] = max_nan(sums[v], splat(0));
            }
            continue;
        }
        const float *x = call->table + (size_t)row * call->k + first;
        const vec weight = WEIGHTS ? splat(call->weights[i]) : splat(1);
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            const vec value = WHOLE ? load(x + v * LANES) : load_tail(x, columns);
            if (MAX) {
                sums[v] = max_nan(sums[v], value);
            } else {
                sums[v] = WEIGHTS ? sums[v] + value * weight : sums[v] + value;
            }
        }
    }
    UNROLL
    for (unsigned v = 0; v < VECS; v++) {
        if (WHOLE) {
            store(y + v * LANES, sums[v]);
        } else {
            store_tail(y, sums[v], columns);
        }
    }
}

INLINE void bag_columns(const native_bag *call, const bool MAX, const bool WEIGHTS)
{
    size_t at = 0;
    for (; call->k - at >= 8 * LANES; at += 8 * LANES) {
        bag_block(call, at, 8, MAX, WEIGHTS, true, 0);
    }
    for (; call->k - at >= 4 * LANES; at += 4 * LANES) {
        bag_block(call, at, 4, MAX, WEIGHTS, true, 0);
    }
    for (; call->k - at >= 2 * LANES; at += 2 * LANES) {
        bag_block(call, at, 2, MAX, WEIGHTS, true, 0);
    }
    for (; call->k - at >= LANES; at += LANES) {
        bag_block(call, at, 1, MAX, WEIGHTS, true, 0);
    }
    if (at < call->k) {
        bag_block(call, at, 1, MAX, WEIGHTS, false, call->k - at);
    }
}

static void bag(const native_bag *call)
{
    if (call->max) {
        bag_columns(call, true, false);
    } else if (call->weights != NULL) {
        bag_columns(call, false, true);
    } else {
        bag_columns(call, false, false);
    }
}

#endif
