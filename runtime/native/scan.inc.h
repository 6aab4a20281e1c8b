/* Running sums and products along an axis: one chain from the neutral element on for each element beside the axis, so
 * that bits do not depend on what stands beside them. */
#ifndef RUNTIME_NATIVE_SCAN_INC_H
#define RUNTIME_NATIVE_SCAN_INC_H

#include "runtime/native/native.h"
#include "runtime/native/vec.inc.h"

/* (n, inner) from the axis's first element in the order of the walk on, `step` floats from one to the next. Every
 * operation is one correctly rounded one, so that vectors and scalars agree. */
#define SCAN(name, start, fold)                                                                                        \
    static void scan_one_##name(bool exclusive, const float *x, float *y, size_t n, ptrdiff_t step)                    \
    {                                                                                                                  \
        float a = start;                                                                                               \
        for (; n > 0; n--, x += step, y += step) {                                                                     \
            const float b = *x, next = (fold);                                                                         \
            *y = exclusive ? a : next;                                                                                 \
            a = next;                                                                                                  \
        }                                                                                                              \
    }                                                                                                                  \
    static void scan_vec_##name(bool exclusive, const float *x, float *y, size_t n, ptrdiff_t step, size_t columns)    \
    {                                                                                                                  \
        vec a = splat(start);                                                                                          \
        for (; n > 0; n--, x += step, y += step) {                                                                     \
            const vec b = columns >= LANES ? load(x) : load_tail(x, columns), next = (fold);                           \
            store_some(y, exclusive ? a : next, columns);                                                              \
            a = next;                                                                                                  \
        }                                                                                                              \
    }

SCAN(sum, 0, a + b)
SCAN(prod, 1, a *b)

static void scan(const native_scan *call, const float *x, float *y)
{
    static void (*const one[])(bool, const float *, float *, size_t, ptrdiff_t) = {
#define PLAN_SCAN(number, name) [number] = scan_one_##name,
#include "plan/ops.def"
#undef PLAN_SCAN
    };
    static void (*const vectors[])(bool, const float *, float *, size_t, ptrdiff_t, size_t) = {
#define PLAN_SCAN(number, name) [number] = scan_vec_##name,
#include "plan/ops.def"
#undef PLAN_SCAN
    };
    const size_t n = call->n, inner = call->inner, first = call->reverse && n > 0 ? (n - 1) * inner : 0;
    const ptrdiff_t step = call->reverse ? -(ptrdiff_t)inner : (ptrdiff_t)inner;
    for (size_t o = 0; o < call->outer; o++, x += n * inner, y += n * inner) {
        if (inner == 1) {
            one[call->function](call->exclusive, x + first, y + first, n, step);
            continue;
        }
        for (size_t i = 0; i < inner; i += LANES) {
            vectors[call->function](call->exclusive, x + first + i, y + first + i, n, step, inner - i);
        }
    }
}

#endif
