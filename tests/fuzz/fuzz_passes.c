/* Any text as a graph, then through the passes into a plan, which is run: graphs that no exporter
 * makes. Those without outputs no importer makes either. */
#include "tests/fuzz/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    base_arena arena = {0};
    ir_graph *graph;
    if (ir_parse((const char *)data, size, NULL, &arena, NULL, &graph) == MTL_OK && graph->output_count > 0) {
        fuzz_compile(graph, &arena);
    }
    base_arena_free(&arena);
    return 0;
}
