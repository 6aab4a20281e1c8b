/* `mtlc --explain`: what became of every node of the model, and what the plan costs. */
#ifndef COMPILER_EXPLAIN_H
#define COMPILER_EXPLAIN_H

#include <stdio.h>

#include "compiler/lower.h"
#include "plan/plan.h"

mtl_status compiler_explain(const ir_graph *graph, const compiler_lowered *lowered, const plan_view *view,
                            const char *model_path, base_arena *arena, base_diag *diag, FILE *out);

#endif
