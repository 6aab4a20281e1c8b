/* `mtlc --explain`: what became of every node of the model, and what the plan costs. */
#ifndef COMPILER_EXPLAIN_H
#define COMPILER_EXPLAIN_H

#include <stdio.h>

#include "compiler/lower.h"
#include "compiler/towers.h"
#include "plan/plan.h"

mtl_status compiler_explain(const ir_graph *graph, const compiler_lowered *lowered, const plan_view *view,
                            const char *model_path, base_arena *arena, base_diag *diag, FILE *out);

/* The steps of a plan, FLOPs, bytes of constants and the workspace formula. */
void compiler_explain_steps(const plan_view *view, FILE *out);

/* `views`: of the plans of towers->parts. */
mtl_status compiler_explain_towers(const compiler_towers *towers, const plan_view *views, const char *model_path,
                                   base_diag *diag, FILE *out);

#endif
