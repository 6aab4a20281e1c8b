/* From a file to a graph: an ONNX model, or, when its name ends in ".mtl", a ranker in our language. */
#ifndef COMPILER_IMPORT_H
#define COMPILER_IMPORT_H

#include "mtlc/compiler.h"
#include "onnx/onnx.h"

/* `no_request`: every input is as if it differed between candidates. As of onnx_import_file otherwise: on success the caller
 * calls onnx_close after the last use of the graph's constants. Options that only ONNX has a use for are errors with a
 * ranker in the language. */
mtl_status compiler_import(const char *path, const mtl_compile_options *options, bool no_request, base_arena *arena,
                           base_diag *diag, onnx_model *model);

#endif
