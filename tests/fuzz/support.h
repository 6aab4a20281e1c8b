/* What the targets share: the way from a graph to a plan, and running a plan. */
#ifndef TESTS_FUZZ_SUPPORT_H
#define TESTS_FUZZ_SUPPORT_H

#include <stdint.h>

#include "ir/graph.h"
#include "mtlc/runtime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Optimises and lowers the graph as the compiler does, verifying it after every pass, and scores with the plan. Any
 * error will do except an internal one, which is a defect whatever the input: it prints the message and traps. */
void fuzz_compile(ir_graph *graph, base_arena *arena);

/* Scores with a plan that is aligned to 64, on buffers of the exact sizes, so that whatever the checker lets through,
 * the runtime must survive. Plans that need much memory are only opened. The kernels come from `provider`. */
void fuzz_score(const void *plan, size_t size, mtl_provider provider);

#endif
