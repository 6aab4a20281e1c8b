#include "compiler/outputs.h"

#include "base/names.h"
#include "passes/passes.h"

static mtl_status unknown(const ir_graph *graph, const char *pattern, base_diag *diag)
{
    base_name_list list = {0};
    for (uint32_t i = 0; i < graph->output_count; i++) {
        base_list_name(&list, graph->outputs[i].name);
    }
    return base_fail(diag, MTL_INVALID_ARGUMENT, "--outputs %.100s: the model has no such output, but %s", pattern,
                     list.text);
}

/* Marks what a pattern names. */
static mtl_status mark(const ir_graph *graph, const char *pattern, bool *wanted, base_diag *diag)
{
    bool found = false;
    for (uint32_t i = 0; i < graph->output_count; i++) {
        bool matches = base_name_matches(pattern, graph->outputs[i].name);
        wanted[i] |= matches;
        found |= matches;
    }
    return found ? MTL_OK : unknown(graph, pattern, diag);
}

mtl_status compiler_keep_outputs(ir_graph *graph, const char *const *patterns, size_t count, base_diag *diag)
{
    if (count == 0) {
        return MTL_OK;
    }
    bool *wanted = BASE_NEW_ARRAY(graph->arena, bool, graph->output_count);
    BASE_TRY_MEMORY(wanted, diag);
    for (size_t i = 0; i < count; i++) {
        BASE_TRY(mark(graph, patterns[i], wanted, diag));
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < graph->output_count; i++) {
        if (wanted[i]) {
            graph->outputs[kept++] = graph->outputs[i];
        }
    }
    graph->output_count = kept;
    return passes_remove_dead(graph, diag); /* at once: passes ask how many readers a value has */
}
