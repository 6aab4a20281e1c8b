/* `mtlrun info`: what is in a plan, for people and as JSON, from the same data. */
#ifndef TOOL_INFO_H
#define TOOL_INFO_H

#include <stdbool.h>
#include <stdio.h>

#include "plan/plan.h"

/* Prints the plan of `view` (checked), read from `path`, to `out`. `step_kernels` may be NULL, or holds for each step
 * who computes it here ("native avx2", ...; entries may be NULL).
 * Errors: MTL_OUT_OF_MEMORY, MTL_IO (out cannot be written). */
mtl_status tool_info_print(const plan_view *view, const char *path, const char *const *step_kernels, bool json,
                           FILE *out, base_diag *diag);

#endif
