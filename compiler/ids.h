/* --ids: what ids outside of their tables do. */
#ifndef COMPILER_IDS_H
#define COMPILER_IDS_H

#include "ir/graph.h"

/* Gives the lookups of a graph as imported the policies of mtl_compile_options.ids: gathers from what depends on no input
 * by what does. Errors name the option. */
mtl_status compiler_set_ids(ir_graph *graph, const char *const *ids, size_t count, base_diag *diag);

#endif
