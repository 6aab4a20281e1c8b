/* Lowering: from a legal graph with rates to the bytes of a plan. */
#ifndef COMPILER_LOWER_H
#define COMPILER_LOWER_H

#include "ir/graph.h"
#include "plan/build.h"

/* Who made the model: goes into the plan's provenance. */
typedef struct compiler_provenance {
    const char *producer, *compiler;
    uint64_t source_hash[2];
} compiler_provenance;

#define COMPILER_NO_STEP UINT32_MAX

typedef struct compiler_lowered {
    const void *plan; /* in the arena */
    size_t plan_size;
    uint32_t *node_step;  /* by ir_node: its step, or COMPILER_NO_STEP for views, concatenations in place
                           * and removed nodes */
    ir_value whole_batch; /* the first value that mixes candidates, 0: none */
} compiler_lowered;

/* `graph` has been through compiler_legalize and ir_infer_rates. Errors name the node or tensor. */
mtl_status compiler_lower(const ir_graph *graph, const compiler_provenance *provenance, base_arena *arena,
                          base_diag *diag, compiler_lowered *result);

#endif
