/* Files: read-only maps, and writing beside then renaming. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>

#include "base/diag.h"

/* A read-only, private map of a whole regular file. Zero-initialised is "none". */
typedef struct base_map {
    const void *data; /* page-aligned; a valid pointer even when size is 0 */
    size_t size;
} base_map;

/* Maps `path`. Errors (MTL_IO) name the path unless diag->file already does. */
mtl_status base_map_file(const char *path, base_diag *diag, base_map *map);
void base_unmap(base_map *map); /* leaves "none"; twice is allowed */

/* A file being written beside `path` (path + ".tmp-PID-N"). Zero-initialised is "none". */
typedef struct base_output base_output;

/* Begins writing; finish with exactly one of commit (flush, fsync, rename over `path`) or discard (unlink).
 * Errors are MTL_IO with the path and the system's reason; after a failed write or commit nothing is left behind. */
mtl_status base_output_open(const char *path, base_diag *diag, base_output **output);
mtl_status base_output_write(base_output *output, const void *data, size_t size);
mtl_status base_output_commit(base_output *output);
void base_output_discard(base_output *output); /* NULL is allowed */

#endif
