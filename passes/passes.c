#include "passes/passes.h"

#include <string.h>

const passes_entry passes_list[] = {
#define PASS(name, summary) {#name, summary, passes_##name},
#include "passes/list.def"
#undef PASS
};

const size_t passes_count = sizeof passes_list / sizeof passes_list[0];

mtl_status passes_run(ir_graph *graph, base_diag *diag,
                      mtl_status (*after)(void *context, const char *pass, ir_graph *graph), void *context)
{
    for (size_t i = 0; i < passes_count; i++) {
        BASE_TRY(passes_list[i].run(graph, diag));
        if (after != NULL) {
            BASE_TRY(after(context, passes_list[i].name, graph));
        }
    }
    return MTL_OK;
}

const passes_entry *passes_find(const char *name)
{
    for (size_t i = 0; i < passes_count; i++) {
        if (strcmp(passes_list[i].name, name) == 0) {
            return &passes_list[i];
        }
    }
    return NULL;
}
