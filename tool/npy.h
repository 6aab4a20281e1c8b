/* Private to tool/: the header of one .npy array. */
#ifndef TOOL_NPY_H
#define TOOL_NPY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/diag.h"
#include "mtlc/runtime.h"

typedef struct tool_npy_header {
    mtl_dtype dtype;
    bool fortran_order;
    int32_t rank;
    int64_t shape[MTL_MAX_RANK];
} tool_npy_header;

enum {
    TOOL_NPY_PREFIX = 12,          /* bytes that tell the header's length, as far as they are there */
    TOOL_NPY_HEADER_LIMIT = 65536, /* NumPy's own headers have some hundred bytes */
    TOOL_NPY_MESSAGE = 160,
};

/* The length of the whole header, prefix included, from the first `size` bytes (at least 10, TOOL_NPY_PREFIX if there
 * are as many). False: not a header, or larger than the limit; `message` says why. */
bool tool_npy_length(const unsigned char *bytes, size_t size, size_t *length, size_t *text_at, char *message);

/* Parses the text of a header: a Python dict of 'descr', 'fortran_order' and 'shape'. MTL_OK, MTL_INVALID_DATA or
 * MTL_UNSUPPORTED with `message` filled. */
mtl_status tool_npy_parse(const char *text, size_t size, tool_npy_header *header, char *message);

/* Writes a header of version 1.0, padded to a multiple of 64: at most TOOL_NPY_WRITTEN bytes; its length. */
enum { TOOL_NPY_WRITTEN = 384 };
size_t tool_npy_write(const tool_npy_header *header, unsigned char *bytes);

/* Bytes of the array's data. False: overflow, or a negative extent. */
bool tool_npy_bytes(const tool_npy_header *header, size_t *bytes);

#endif
