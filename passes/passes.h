/* The passes: each rewrites the graph in place and leaves it valid (ir_verify). One file a pass; passes/list.def is the
 * order. A pass that finds nothing to do leaves the graph unchanged, byte for byte in the text form. */
#ifndef PASSES_PASSES_H
#define PASSES_PASSES_H

#include "ir/graph.h"

typedef mtl_status passes_function(ir_graph *graph, base_diag *diag);

#define PASS(name, summary) passes_function passes_##name;
#include "passes/list.def"
#undef PASS

typedef struct passes_entry {
    const char *name, *summary;
    passes_function *run;
} passes_entry;

/* The pipeline in order. */
extern const passes_entry passes_list[];
extern const size_t passes_count;

/* Runs all passes. `after` (may be NULL) is called after each with its name. */
mtl_status passes_run(ir_graph *graph, base_diag *diag,
                      mtl_status (*after)(void *context, const char *pass, ir_graph *graph), void *context);
const passes_entry *passes_find(const char *name); /* NULL: none of that name */

#endif
