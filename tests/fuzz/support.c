#include "tests/fuzz/support.h"

#include <stdio.h>
#include <stdlib.h>

#include "compiler/legalize.h"
#include "compiler/lower.h"
#include "passes/passes.h"
#include "plan/plan.h"

enum { ROWS = 19, MOST_BYTES = 1 << 18 };

static mtl_status verify_after(void *context, const char *pass, ir_graph *graph)
{
    (void)pass;
    return ir_verify(graph, context);
}

static mtl_status compile(ir_graph *graph, base_arena *arena, base_diag *diag, compiler_lowered *lowered)
{
    const compiler_provenance provenance = {.producer = "fuzz", .compiler = "fuzz"};
    graph->fold_byte_budget = MOST_BYTES;
    BASE_TRY(passes_run(graph, diag, verify_after, diag));
    BASE_TRY(compiler_legalize(graph, diag));
    BASE_TRY(ir_verify(graph, diag));
    BASE_TRY(passes_fold_constants(graph, diag));
    BASE_TRY(passes_remove_dead(graph, diag));
    BASE_TRY(ir_infer_rates(graph, diag));
    return compiler_lower(graph, &provenance, arena, diag, lowered);
}

void fuzz_compile(ir_graph *graph, base_arena *arena)
{
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    compiler_lowered lowered;
    mtl_status status = compile(graph, arena, &diag, &lowered);
    if (status == MTL_INTERNAL) {
        fprintf(stderr, "%s\n", error.message);
        __builtin_trap();
    }
    if (status == MTL_OK) {
        fuzz_score(lowered.plan, lowered.plan_size, MTL_PROVIDER_AUTO);
    }
}

static void *tensor_memory(const mtl_tensor_info *info)
{
    size_t bytes = mtl_dtype_size(info->dtype);
    for (int32_t axis = 0; axis < info->rank; axis++) {
        int64_t extent = mtl_dim_extent(info->shape[axis], ROWS, 1);
        if (extent < 0 || __builtin_mul_overflow(bytes, (size_t)extent, &bytes) || bytes > MOST_BYTES) {
            return NULL;
        }
    }
    return calloc(bytes > 0 ? bytes : 1, 1);
}

/* Each of the first outputs alone. */
static void run_each(mtl_session *session, size_t count, void *const *inputs, void *const *outputs)
{
    enum { MOST = 4 };
    unsigned char *wanted = calloc(count, 1);
    for (size_t i = 0; wanted != NULL && i < count && i < MOST; i++) {
        wanted[i] = 1;
        mtl_session_want(session, wanted, NULL);
        mtl_session_run(session, ROWS, (const void *const *)inputs, outputs, NULL);
        wanted[i] = 0;
    }
    free(wanted);
}

static void run(mtl_plan *plan, mtl_session *session)
{
    size_t inputs = mtl_plan_input_count(plan), outputs = mtl_plan_output_count(plan);
    void **tensors = calloc(inputs + outputs + 1, sizeof *tensors);
    int ready = tensors != NULL;
    for (size_t i = 0; ready && i < inputs + outputs; i++) {
        tensors[i] = tensor_memory(i < inputs ? mtl_plan_input(plan, i) : mtl_plan_output(plan, i - inputs));
        ready = tensors[i] != NULL;
    }
    if (ready) {
        mtl_session_run(session, ROWS, (const void *const *)tensors, tensors + inputs, NULL);
        run_each(session, outputs, tensors, tensors + inputs);
    }
    for (size_t i = 0; tensors != NULL && i < inputs + outputs; i++) {
        free(tensors[i]);
    }
    free(tensors);
}

void fuzz_score(const void *data, size_t size, mtl_provider provider)
{
    const mtl_plan_options options = {.struct_size = sizeof options, .provider = provider};
    const mtl_session_options most = {.struct_size = sizeof most, .tile_rows = 16, .max_rows = ROWS};
    mtl_plan *plan = NULL;
    mtl_session *session = NULL;
    plan_view view;
    if (plan_check(data, size, false, NULL, &view) == MTL_OK && view.meta->row_bytes < MOST_BYTES &&
        view.meta->request_bytes < MOST_BYTES && mtl_plan_open_memory(data, size, &options, &plan, NULL) == MTL_OK &&
        mtl_session_create(plan, &most, &session, NULL) == MTL_OK) {
        run(plan, session);
    }
    mtl_session_destroy(session);
    mtl_plan_close(plan);
}
