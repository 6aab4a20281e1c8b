/* safetensors files: named tensors behind a JSON header, as PyTorch's state_dict is saved by the library of that name.
 * https://github.com/huggingface/safetensors describes the format. */
#ifndef TOOL_SAFETENSORS_H
#define TOOL_SAFETENSORS_H

#include <stdbool.h>

#include "tool/npz.h"

typedef struct tool_safetensors tool_safetensors;

/* Whether a file that begins with these bytes may be one: 8 bytes of length, then '{'. */
bool tool_is_safetensors(const void *bytes, size_t size);

/* Maps the file at `path` and reads its header: every tensor lies inside of the file, with as many bytes as its dtype and
 * shape say. On success the caller owns *file; on failure it is NULL. Errors name file and tensor: MTL_IO,
 * MTL_INVALID_DATA, MTL_UNSUPPORTED (a dtype that is no mtl_dtype, more than MTL_MAX_RANK axes), MTL_OUT_OF_MEMORY. */
mtl_status tool_safetensors_open(const char *path, base_diag *diag, tool_safetensors **file);
void tool_safetensors_close(tool_safetensors *file); /* NULL is allowed */
size_t tool_safetensors_count(const tool_safetensors *file);
/* In the order of the header. NULL: out of range. Data is aligned to its elements and lives as long as `file`. */
const tool_array *tool_safetensors_at(const tool_safetensors *file, size_t index);

#endif
