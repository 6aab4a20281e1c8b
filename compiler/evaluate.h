/* `mtlc --evaluate`: a model's outputs by the reference evaluator, without passes, plan or kernels. */
#ifndef COMPILER_EVALUATE_H
#define COMPILER_EVALUATE_H

#include "mtlc/compiler.h"

/* Reads the inputs (keys are their names; those of params may be there too) from the npz at `inputs_path`, evaluates the model as imported in float64 and
 * int64, and writes the outputs (float64, int64) to the npz at `outputs_path`. Errors name file and tensor. */
mtl_status compiler_evaluate(const char *model_path, const char *inputs_path, const char *outputs_path,
                             const mtl_compile_options *options, mtl_error *error);

#endif
