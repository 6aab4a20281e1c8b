/* The part of --explain about users and candidates. */
#ifndef COMPILER_EXPLAIN_REQUEST_H
#define COMPILER_EXPLAIN_REQUEST_H

#include <stdio.h>

#include "compiler/lower.h"
#include "plan/plan.h"

/* What a plan costs, as call + user x users + candidate x rows. Weights are read once a call. */
enum { COMPILER_A_CALL, COMPILER_A_USER, COMPILER_A_CANDIDATE, COMPILER_SHARES };

typedef struct compiler_shares {
    uint64_t flops[COMPILER_SHARES], bytes[COMPILER_SHARES];
} compiler_shares;

compiler_shares compiler_count_shares(const plan_view *view);

/* `graph` as it was lowered; `without` is what the model's plan costs where nothing is declared, NULL: it has none. */
mtl_status compiler_explain_request(const ir_graph *graph, const compiler_lowered *lowered, const plan_view *view,
                                    const compiler_shares *without, base_arena *arena, base_diag *diag, FILE *out);

#endif
