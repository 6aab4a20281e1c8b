/* --outputs: the outputs that a plan has. */
#ifndef COMPILER_OUTPUTS_H
#define COMPILER_OUTPUTS_H

#include "ir/graph.h"

/* Leaves the outputs of a graph as imported that one of mtl_compile_options.outputs names, in the graph's order, and the
 * nodes that these need. Inputs and params stay. Errors name the option. */
mtl_status compiler_keep_outputs(ir_graph *graph, const char *const *patterns, size_t count, base_diag *diag);

#endif
