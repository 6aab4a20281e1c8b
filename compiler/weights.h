/* `mtlc --weights FILE`: tensors of a safetensors or npz file, for rankers in the language. Part of the program. */
#ifndef COMPILER_WEIGHTS_H
#define COMPILER_WEIGHTS_H

#include "mtlc/compiler.h"
#include "tool/npz.h"

typedef struct compiler_weights compiler_weights;

/* On success the caller owns *weights; on failure it is NULL. Errors name the file and the tensor. */
mtl_status compiler_weights_open(const char *path, base_diag *diag, compiler_weights **weights);
void compiler_weights_close(compiler_weights *weights); /* NULL is allowed */

/* For mtl_compile_options.find_weight, with the weights as its context. */
mtl_status compiler_weights_find(void *context, const char *name, mtl_tensor_info *info, const void **data);

/* One line on `out` about the tensors that nobody asked for, if there are some. */
void compiler_weights_tell_unused(const compiler_weights *weights, const char *path, FILE *out);

#endif
