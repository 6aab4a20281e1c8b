/* softmax and log_softmax; the largest element is subtracted first. */
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

/* One row along the lanes. In place allowed. */
static void softmax_row(bool log_form, const float *x, float *y, size_t n)
{
    vec most = splat(-INFINITY), sums = splat(0);
    for (size_t i = 0; i < n; i += LANES) {
        most = max_nan(most, load_filled(x + i, n - i, -INFINITY));
    }
    most = splat(across_max(most));
    for (size_t i = 0; i < n; i += LANES) {
        const vec v = load_filled(x + i, n - i, -INFINITY) - most, e = vec_exp(v);
        sums = sums + e;
        if (log_form) {
            store_some(y + i, v, n - i);
        } else {
            store_some(y + i, e, n - i);
        }
    }
    const float sum = across_sum(sums);
    const vec divisor = splat(log_form ? logf(sum) : sum);
    for (size_t i = 0; i < n; i += LANES) {
        const vec v = load_filled(y + i, n - i, 0);
        store_some(y + i, scaled(log_form, v, divisor), n - i);
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
