/* Any bytes as a ranker in the language: parsed, run, and printed when a graph comes out. Its weights are one number. */
#include <stdio.h>

#include "dsl/dsl.h"

static mtl_status find(void *context, const char *name, const ir_type *type, base_arena *arena, base_diag *diag,
                       ir_tensor *tensor)
{
    enum { MOST = 1 << 16 };
    *tensor = (ir_tensor){.dtype = type->dtype, .rank = type->rank, .count = 1};
    (void)context;
    (void)name;
    for (int32_t axis = 0; axis < type->rank; axis++) {
        tensor->shape[axis] = type->dim[axis].c;
        tensor->count *= (size_t)type->dim[axis].c;
    }
    if (tensor->count > MOST) {
        return MTL_INVALID_DATA;
    }
    tensor->f = base_arena_alloc_array(arena, tensor->count, sizeof(double));
    return tensor->f != NULL ? MTL_OK : base_fail_memory(diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere;
    if (nowhere == NULL) {
        nowhere = fopen("/dev/null", "w");
    }
    base_arena arena = {0};
    mtl_error error;
    base_diag diag = {.error = &error};
    const dsl_weights weights = {.find = find};
    const dsl_options options = {.weights = &weights, .errors = nowhere};
    ir_graph *graph;
    if (dsl_compile("fuzz.mtl", (const char *)data, size, &options, &arena, &diag, &graph) == MTL_OK) {
        ir_verify(graph, &diag);
        ir_print(graph, nowhere);
    }
    base_arena_free(&arena);
    return 0;
}
