/* Moves of bytes: rows of tables, copies of strided blocks. */
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

void native_take_rows(const void *table, size_t row_bytes, const int64_t *rows, size_t n, void *y,
                      size_t y_stride_bytes)
{
    for (size_t i = 0; i < n; i++) {
        char *to = (char *)y + i * y_stride_bytes;
        if (rows[i] < 0) {
            memset(to, 0, row_bytes);
        } else {
            copy_row(to, (const char *)table + (size_t)rows[i] * row_bytes, row_bytes);
        }
    }
}

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
