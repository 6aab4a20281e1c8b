/* softmax and log_softmax; the largest element is subtracted first. Which way an element goes depends on the function,
 * n and inner alone. Rows of at most LANES elements, the gates of rankers, lie in runs of lanes side by side: exp, the
 * dearest part, then works on full vectors even where there is one row of a few gates. */
#ifndef RUNTIME_NATIVE_SOFTMAX_INC_H
#define RUNTIME_NATIVE_SOFTMAX_INC_H

#include "runtime/native/lanes.inc.h"
#include "runtime/native/math.inc.h"
#include "runtime/native/native.h"
#include "runtime/native/vec.inc.h"

/* What follows the sum of the exponentials. */
static vec softmax_divisor(bool log_form, vec sum)
{
    if (!log_form) {
        return sum;
    }
    float s[LANES];
    memcpy(s, &sum, sizeof s);
    for (int l = 0; l < LANES; l++) {
        s[l] = logf(s[l]);
    }
    return load(s);
}

INLINE vec scaled(bool log_form, vec v, vec divisor)
{
    if (log_form) {
        return v - divisor;
    }
    return v / divisor;
}

/* The parts of a long row, n > 0. Each keeps what it makes in memory, so that the compiler fuses nothing across them
 * and whoever calls them in whatever portions (multiples of LANES, but for the last) gets the same bits. */
static __attribute__((noinline)) float softmax_most(const float *x, size_t n)
{
    vec most = splat(-INFINITY);
    for (size_t i = 0; i < n; i += LANES) {
        most = max_nan(most, load_filled(x + i, n - i, -INFINITY));
    }
    return across_max(most);
}

/* e = exp(x - most). In place allowed. */
static __attribute__((noinline)) void softmax_exp(const float *x, float *e, size_t n, float most)
{
    for (size_t i = 0; i < n; i += LANES) {
        store_some(e + i, vec_exp(load_filled(x + i, n - i, -INFINITY) - splat(most)), n - i);
    }
}

static __attribute__((noinline)) vec softmax_add(vec sums, const float *e, size_t n)
{
    for (size_t i = 0; i < n; i += LANES) {
        sums = sums + load_filled(e + i, n - i, 0);
    }
    return sums;
}

static void softmax_divide(float *e, size_t n, vec divisor)
{
    for (size_t i = 0; i < n; i += LANES) {
        store_some(e + i, load_filled(e + i, n - i, 0) / divisor, n - i);
    }
}

enum { SOFTMAX_PART = 256 }; /* floats held on the stack at a time; a multiple of LANES */

/* One row along the lanes. In place allowed. */
static void softmax_row(bool log_form, const float *x, float *y, size_t n)
{
    const float most = softmax_most(x, n);
    vec sums = splat(0);
    if (!log_form) {
        softmax_exp(x, y, n, most);
        softmax_divide(y, n, splat(across_sum(softmax_add(sums, y, n))));
        return;
    }
    for (size_t first = 0; first < n; first += SOFTMAX_PART) {
        const size_t count = n - first < SOFTMAX_PART ? n - first : SOFTMAX_PART;
        float e[SOFTMAX_PART];
        softmax_exp(x + first, e, count, most);
        sums = softmax_add(sums, e, count);
    }
    const vec log_sum = splat(logf(across_sum(sums)));
    for (size_t i = 0; i < n; i += LANES) {
        store_some(y + i, (load_filled(x + i, n - i, 0) - splat(most)) - log_sum, n - i);
    }
}

/* Softmax over each run of WIDTH lanes, a power of two; lanes that hold no element are -infinity. A NaN or an infinity
 * that the maximum may lose comes back with the sum. WIDTH is a constant after inlining. */
INLINE vec softmax_runs(vec v, const unsigned WIDTH)
{
    vec most = v;
    if (WIDTH > 1) {
        most = max_second(most, SWAPPED(most, 1));
    }
    if (WIDTH > 2) {
        most = max_second(most, SWAPPED(most, 2));
    }
#if LANES >= 8
    if (WIDTH > 4) {
        most = max_second(most, SWAPPED(most, 4));
    }
#endif
#if LANES >= 16
    if (WIDTH > 8) {
        most = max_second(most, SWAPPED(most, 8));
    }
#endif
    const vec e = vec_exp(v - most);
    vec sum = e;
    if (WIDTH > 1) {
        sum = sum + SWAPPED(sum, 1);
    }
    if (WIDTH > 2) {
        sum = sum + SWAPPED(sum, 2);
    }
#if LANES >= 8
    if (WIDTH > 4) {
        sum = sum + SWAPPED(sum, 4);
    }
#endif
#if LANES >= 16
    if (WIDTH > 8) {
        sum = sum + SWAPPED(sum, 8);
    }
#endif
    return e / sum;
}

/* Lane l is lane from[l] of v. */
INLINE vec permuted(vec v, ivec from)
{
#if LANES == 16
    return (vec)_mm512_permutexvar_ps((__m512i)from, (__m512)v);
#elif LANES == 8
    return (vec)_mm256_permutevar8x32_ps((__m256)v, (__m256i)from);
#else
    vec to = v;
    for (int l = 0; l < LANES; l++) {
        to[l] = v[from[l]];
    }
    return to;
#endif
}

/* Several rows of n < WIDTH elements: lanes that no element is for are put between them, and taken out again. */
INLINE void softmax_spread(const float *x, float *y, size_t outer, size_t n, const unsigned WIDTH)
{
    const size_t together = LANES / WIDTH;
    ivec spread = {0}, taken = {0}, holds = {0};
    for (size_t r = 0, i = 0; r < together; r++) {
        for (size_t j = 0; j < WIDTH; j++) {
            spread[r * WIDTH + j] = (int32_t)(j < n ? i : 0);
            holds[r * WIDTH + j] = j < n ? -1 : 0;
            if (j < n) {
                taken[i++] = (int32_t)(r * WIDTH + j);
            }
        }
    }
    for (size_t o = 0; o < outer; o += together) {
        const size_t count = (outer - o < together ? outer - o : together) * n;
        const vec v = permuted(load_tail(x + o * n, count), spread);
        store_tail(y + o * n, permuted(softmax_runs(choose(holds, v, splat(-INFINITY)), WIDTH), taken), count);
    }
}

/* Rows of n <= WIDTH <= LANES elements, as many a vector as fit. In place allowed. */
INLINE void softmax_packed(const float *x, float *y, size_t outer, size_t n, const unsigned WIDTH)
{
    if (n == WIDTH) {
        for (size_t i = 0, count = outer * n; i < count; i += LANES) {
            store_some(y + i, softmax_runs(load_filled(x + i, count - i, -INFINITY), WIDTH), count - i);
        }
    } else if (WIDTH == LANES) {
        for (size_t o = 0; o < outer; o++) {
            store_tail(y + o * n, softmax_runs(load_filled(x + o * n, n, -INFINITY), WIDTH), n);
        }
    } else {
        softmax_spread(x, y, outer, n, WIDTH);
    }
}

static void softmax_short_rows(const float *x, float *y, size_t outer, size_t n)
{
    if (n == 1) {
        softmax_packed(x, y, outer, n, 1);
    } else if (n == 2) {
        softmax_packed(x, y, outer, n, 2);
    } else if (n <= 4) {
        softmax_packed(x, y, outer, n, 4);
#if LANES >= 8
    } else if (n <= 8) {
        softmax_packed(x, y, outer, n, 8);
#endif
#if LANES >= 16
    } else if (n <= 16) {
        softmax_packed(x, y, outer, n, 16);
#endif
    }
}

enum { SOFTMAX_COLUMNS = 64 }; /* held on the stack at a time */

/* One softmax a lane, of up to SOFTMAX_COLUMNS elements. */
static void softmax_lanes_short(bool log_form, vec *columns, size_t n)
{
    vec most = columns[0], sum = splat(0);
    for (size_t j = 1; j < n; j++) {
        most = max_nan(most, columns[j]);
    }
    for (size_t j = 0; j < n; j++) {
        const vec v = columns[j] - most, e = vec_exp(v);
        sum = sum + e;
        columns[j] = v;
        if (!log_form) {
            columns[j] = e;
        }
    }
    const vec divisor = softmax_divisor(log_form, sum);
    for (size_t j = 0; j < n; j++) {
        columns[j] = scaled(log_form, columns[j], divisor);
    }
}

/* The same for any n: in parts, through y. */
static void softmax_lanes_long(bool log_form, const lane_set *set, const float *x, float *y, size_t n, size_t inner)
{
    vec columns[SOFTMAX_COLUMNS], most = splat(-INFINITY), sum = splat(0), divisor = splat(0);
    for (int pass = 0; pass < 3; pass++) {
        for (size_t first = 0; first < n; first += SOFTMAX_COLUMNS) {
            const size_t count = n - first < SOFTMAX_COLUMNS ? n - first : SOFTMAX_COLUMNS;
            lanes_load(set, pass < 2 ? x : y, first, count, inner, columns);
            for (size_t j = 0; j < count; j++) {
                const vec v = columns[j];
                if (pass == 0) {
                    most = max_nan(most, v);
                } else if (pass == 1) {
                    const vec e = vec_exp(v - most);
                    sum = sum + e;
                    columns[j] = v - most;
                    if (!log_form) {
                        columns[j] = e;
                    }
                } else {
                    columns[j] = scaled(log_form, v, divisor);
                }
            }
            if (pass > 0) {
                lanes_store(set, columns, y, first, count, inner);
            }
        }
        if (pass == 1) {
            divisor = softmax_divisor(log_form, sum);
        }
    }
}

static void softmax(plan_softmax f, const float *x, float *y, size_t outer, size_t n, size_t inner)
{
    const bool log_form = f == PLAN_SOFTMAX_log_softmax;
    if (n == 0 || inner == 0) {
        return;
    }
    if (!log_form && inner == 1 && n <= LANES) {
        softmax_short_rows(x, y, outer, n);
        return;
    }
    if (along_lanes(n, inner)) {
        for (size_t o = 0; o < outer; o++) {
            softmax_row(log_form, x + o * n, y + o * n, n);
        }
        return;
    }
    vec columns[SOFTMAX_COLUMNS];
    for (size_t pair = 0, pairs = outer * inner; pair < pairs; pair += LANES) {
        const lane_set set = lanes_at(pair, pairs, n, inner);
        if (n <= SOFTMAX_COLUMNS) {
            lanes_load(&set, x, 0, n, inner, columns);
            softmax_lanes_short(log_form, columns, n);
            lanes_store(&set, columns, y, 0, n, inner);
        } else {
            softmax_lanes_long(log_form, &set, x, y, n, inner);
        }
    }
}

#endif
