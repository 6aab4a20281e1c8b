/* What chooses by data, in plain C: the places of the best elements of each line, and the elements at given places. */
#include <math.h>
#include <string.h>

#include "runtime/native/native.h"

static inline bool above_f32(float a, float b)
{
    return isnan(a) ? !isnan(b) : a > b;
}

static inline bool above_i32(int32_t a, int32_t b)
{
    return a > b;
}

static inline bool above_i64(int64_t a, int64_t b)
{
    return a > b;
}

/* Lines are short, and so is the list of the best so far, into which each element is inserted. */
#define TOP_K(suffix, type)                                                                                            \
    static void line_##suffix(const type *x, int64_t *y, size_t n, size_t step, size_t k, bool largest)                \
    {                                                                                                                  \
        size_t found = 0;                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                                               \
            const type v = x[i * step];                                                                                \
            size_t place = found;                                                                                      \
            for (; place > 0; place--) { /* equal ones before it stay there */                                         \
                const type other = x[(size_t)y[(place - 1) * step] * step];                                            \
                if (!(largest ? above_##suffix(v, other) : above_##suffix(other, v))) {                                \
                    break;                                                                                             \
                }                                                                                                      \
            }                                                                                                          \
            if (place == k) {                                                                                          \
                continue;                                                                                              \
            }                                                                                                          \
            found += found < k;                                                                                        \
            for (size_t j = found - 1; j > place; j--) {                                                               \
                y[j * step] = y[(j - 1) * step];                                                                       \
            }                                                                                                          \
            y[place * step] = (int64_t)i;                                                                              \
        }                                                                                                              \
    }                                                                                                                  \
    void native_top_k_##suffix(const type *x, int64_t *y, size_t outer, size_t n, size_t inner, size_t k,              \
                               bool largest)                                                                           \
    {                                                                                                                  \
        for (size_t i = 0; i < outer * inner; i++) {                                                                   \
            line_##suffix(x + i / inner * n * inner + i % inner, y + i / inner * k * inner + i % inner, n, inner, k,   \
                          largest);                                                                                    \
        }                                                                                                              \
    }

TOP_K(f32, float)
TOP_K(i32, int32_t)
TOP_K(i64, int64_t)

#define BATCH_GATHER(suffix, type)                                                                                     \
    size_t native_batch_gather_##suffix(const void *data, const type *indices, void *y, size_t outer, size_t count,    \
                                        size_t row_bytes, size_t n)                                                    \
    {                                                                                                                  \
        for (size_t i = 0; i < outer * n; i++) {                                                                       \
            /* Two's complement: from the end, and anything outside becomes at least `count`. */                       \
            const int64_t index = indices[i];                                                                          \
            const uint64_t row = (uint64_t)index + (index < 0 ? (uint64_t)count : 0);                                  \
            if (row >= count) {                                                                                        \
                return i;                                                                                              \
            }                                                                                                          \
            memcpy((char *)y + i * row_bytes, (const char *)data + (i / n * count + row) * row_bytes, row_bytes);      \
        }                                                                                                              \
        return outer * n;                                                                                              \
    }

BATCH_GATHER(i32, int32_t)
BATCH_GATHER(i64, int64_t)
