/* NumPy's .npz files: named arrays in a zip file. Reads what numpy.savez and savez_compressed write, and writes what
 * numpy.load reads. */
#ifndef TOOL_NPZ_H
#define TOOL_NPZ_H

#include "base/diag.h"
#include "mtlc/runtime.h"

typedef struct tool_array {
    const char *name; /* without ".npy" */
    mtl_dtype dtype;
    int32_t rank;
    int64_t shape[MTL_MAX_RANK];
    const void *data; /* row-major, native byte order, aligned to 64 */
    size_t bytes;
} tool_array;

typedef struct tool_npz tool_npz;

/* Reads all arrays of the file at `path` into memory: stored or deflated members; headers of .npy 1.0, 2.0 and 3.0;
 * little-endian numbers and bool, bfloat16 as ml_dtypes writes it (descr '<V2', '|V2' or 'bfloat16'); Fortran order is
 * brought into C order. On success the caller owns *npz; on failure it is NULL.
 * Errors name file, member and what is wrong: MTL_IO, MTL_INVALID_DATA, MTL_UNSUPPORTED (big-endian, other dtypes,
 * more than MTL_MAX_RANK axes), MTL_OUT_OF_MEMORY. */
mtl_status tool_npz_open(const char *path, base_diag *diag, tool_npz **npz);
void tool_npz_close(tool_npz *npz); /* NULL is allowed */
size_t tool_npz_count(const tool_npz *npz);
/* In the order of the file. NULL: out of range; no array of that name. They live as long as `npz`. */
const tool_array *tool_npz_at(const tool_npz *npz, size_t index);
const tool_array *tool_npz_find(const tool_npz *npz, const char *name);

typedef struct tool_npz_writer tool_npz_writer;

/* Begins a file; finish with exactly one of commit and discard. Nothing appears at `path` before commit, which writes
 * beside it and renames. */
mtl_status tool_npz_writer_new(const char *path, base_diag *diag, tool_npz_writer **writer);
/* Adds a row-major array of `shape`; `bytes` must fit it. `data` must live until commit; the name is copied. bfloat16 is
 * written as '<V2'. */
mtl_status tool_npz_writer_add(tool_npz_writer *writer, const tool_array *array);
mtl_status tool_npz_writer_commit(tool_npz_writer *writer); /* frees it in any case */
void tool_npz_writer_discard(tool_npz_writer *writer);      /* NULL is allowed */

#endif
