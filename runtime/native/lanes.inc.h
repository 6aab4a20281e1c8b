/* How softmax and reductions walk x (outer, n, inner). Short or narrow ones take one (outer, inner) pair a lane, so
 * that even a softmax over 4 experts fills its vectors; long rows with inner 1 lie along the lanes. Which of the two
 * depends on n and inner only, so that equal rows give equal bits. */
#ifndef RUNTIME_NATIVE_LANES_INC_H
#define RUNTIME_NATIVE_LANES_INC_H

#include "runtime/native/native.h"
#include "runtime/native/vec.inc.h"

static bool along_lanes(size_t n, size_t inner)
{
    return inner == 1 && n > 2 * LANES;
}

/* Up to LANES pairs (outer, inner) in order, from pair `first` on. */
typedef struct lane_set {
    size_t offset[LANES]; /* of their first elements in x; those beyond `count` repeat the first */
    size_t count;
    bool adjacent; /* offsets ascend by 1 */
} lane_set;

static lane_set lanes_at(size_t first, size_t pairs, size_t n, size_t inner)
{
    lane_set set = {.count = pairs - first < LANES ? pairs - first : LANES};
    size_t o = first / inner, i = first % inner;
    set.adjacent = i + set.count <= inner && inner > 1;
    for (size_t l = 0; l < LANES; l++) {
        set.offset[l] = l < set.count ? o * n * inner + i : set.offset[0];
        if (++i == inner) {
            i = 0;
            o++;
        }
    }
    return set;
}

/* columns[j] = elements first + j, j < n, of each lane. */
static void lanes_load(const lane_set *set, const float *x, size_t first, size_t n, size_t inner, vec *columns)
{
    if (set->adjacent) {
        for (size_t j = 0; j < n; j++) {
            columns[j] = load_filled(x + set->offset[0] + (first + j) * inner, set->count, 0);
        }
        return;
    }
    float *out = (float *)columns;
    for (size_t l = 0; l < LANES; l++) {
        const float *in = x + set->offset[l] + first * inner;
        for (size_t j = 0; j < n; j++) {
            out[j * LANES + l] = in[j * inner];
        }
    }
}

static void lanes_store(const lane_set *set, const vec *columns, float *y, size_t first, size_t n, size_t inner)
{
    if (set->adjacent) {
        for (size_t j = 0; j < n; j++) {
            store_some(y + set->offset[0] + (first + j) * inner, columns[j], set->count);
        }
        return;
    }
    const float *in = (const float *)columns;
    for (size_t l = 0; l < set->count; l++) {
        float *out = y + set->offset[l] + first * inner;
        for (size_t j = 0; j < n; j++) {
            out[j * inner] = in[j * LANES + l];
        }
    }
}

#endif
