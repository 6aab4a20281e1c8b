/* External data: files beside the model that hold tensors' bytes, mapped once each. */
#ifndef ONNX_FILES_H
#define ONNX_FILES_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/file.h"

typedef struct onnx_file onnx_file;
struct onnx_file {
    onnx_file *next;
    const char *location;
    base_map map;
};

typedef struct onnx_files {
    base_arena *arena; /* of the compilation */
    /* Where locations begin, NULL: external data is refused. A model that is reached by a symlink has two such folders
     * (caches of model hubs link each file): the one of the path as given, then the one of the canonical path. What is
     * found must lie in `folder`, the folder of the canonical model. */
    const char *directory, *folder;
    onnx_file *first;
} onnx_files;

/* Sets up for a model at `model_path`, or (model_path NULL) for `directory`, which may be NULL. */
mtl_status onnx_files_open(onnx_files *files, const char *model_path, const char *directory, base_arena *arena,
                           base_diag *diag);
void onnx_files_close(onnx_files *files);

#endif
