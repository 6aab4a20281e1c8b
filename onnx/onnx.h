/* Importing an ONNX model into the IR. Only this folder knows protobuf. */
#ifndef ONNX_ONNX_H
#define ONNX_ONNX_H

#include <stdio.h>

#include "ir/graph.h"

typedef struct onnx_options {
    const char *const *dims; /* as mtl_compile_options.dims */
    size_t dim_count;
    bool batch_axis0, allow_f32;
    const char *const *params; /* as mtl_compile_options.params */
    size_t param_count;
    FILE *print_params;         /* as mtl_compile_options.print_params */
    const char *const *request; /* as mtl_compile_options.request */
    size_t request_count;
    bool no_request; /* every input is as the model has it, whatever is declared, hinted or found */
} onnx_options;

typedef struct onnx_model {
    ir_graph *graph;      /* in the caller's arena; constants point into `maps` */
    const char *producer; /* "pytorch 2.13.0" */
    uint64_t hash[2];     /* XXH3-128 of the file */
    void *maps;           /* what onnx_close unmaps */
} onnx_model;

/* Reads the model at `path`. diag->file should be `path`. On success the caller calls onnx_close after the last use of
 * the graph's constants. Errors name the node, initialiser or byte. */
mtl_status onnx_import_file(const char *path, const onnx_options *options, base_arena *arena, base_diag *diag,
                            onnx_model *model);
void onnx_close(onnx_model *model);

/* For tests and fuzzing: the same from memory; external data is looked for beside `directory` (NULL: refused). */
mtl_status onnx_import_memory(const void *data, size_t size, const char *directory, const onnx_options *options,
                              base_arena *arena, base_diag *diag, onnx_model *model);

#endif
