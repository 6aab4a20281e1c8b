/* Moves of bytes: gathers of rows, copies of strided blocks. */
#include <string.h>

#include "runtime/native/native.h"

/* Constant sizes become a few instructions; rows of embeddings are mostly these. */
static inline void copy_row(void *to, const void *from, size_t bytes)
{
    switch (bytes) {
    case 4: memcpy(to, from, 4); break;
    case 8: memcpy(to, from, 8); break;
    case 16: memcpy(to, from, 16); break;
    case 32: memcpy(to, from, 32); break;
    case 64: memcpy(to, from, 64); break;
    case 128: memcpy(to, from, 128); break;
    default: memcpy(to, from, bytes); break;
    }
}

#define GATHER(name, type)                                                                                             \
    size_t name(const void *data, size_t count, size_t data_stride_bytes, size_t row_bytes, const type *indices,       \
                size_t n, void *y, size_t y_stride_bytes)                                                              \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            const int64_t index = indices[i];                                                                          \
            /* Two's complement: from the end, and anything outside becomes at least `count`. */                       \
            const uint64_t row = (uint64_t)index + (index < 0 ? (uint64_t)count : 0);                                  \
            if (row >= count) {                                                                                        \
                return i;                                                                                              \
            }                                                                                                          \
            copy_row((char *)y + i * y_stride_bytes, (const char *)data + row * data_stride_bytes, row_bytes);         \
        }                                                                                                              \
        return n;                                                                                                      \
    }

GATHER(native_gather_i32, int32_t)
GATHER(native_gather_i64, int64_t)

void native_copy_2d(const void *x, size_t x_stride_bytes, void *y, size_t y_stride_bytes, size_t rows, size_t row_bytes)
{
    if (rows == 0 || row_bytes == 0) {
        return;
    }
    if (x_stride_bytes == row_bytes && y_stride_bytes == row_bytes) {
        memcpy(y, x, rows * row_bytes);
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        copy_row((char *)y + r * y_stride_bytes, (const char *)x + r * x_stride_bytes, row_bytes);
    }
}
