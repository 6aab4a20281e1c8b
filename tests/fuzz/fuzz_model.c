/* Any bytes as a model: importing, optimising and lowering must end in a plan or an error, never in a crash. */
#include <stddef.h>
#include <stdint.h>

#include "compiler/legalize.h"
#include "compiler/lower.h"
#include "onnx/onnx.h"
#include "passes/passes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static mtl_status verify_after(void *context, const char *pass, ir_graph *graph)
{
    (void)pass;
    return ir_verify(graph, context);
}

static mtl_status compile(const onnx_model *model, base_arena *arena, base_diag *diag)
{
    const compiler_provenance provenance = {.producer = model->producer, .compiler = "fuzz"};
    compiler_lowered lowered;
    model->graph->fold_byte_budget = 1 << 20;
    BASE_TRY(passes_run(model->graph, diag, verify_after, diag));
    BASE_TRY(compiler_legalize(model->graph, diag));
    BASE_TRY(passes_fold_constants(model->graph, diag));
    BASE_TRY(passes_remove_dead(model->graph, diag));
    BASE_TRY(ir_infer_rates(model->graph, diag));
    return compiler_lower(model->graph, &provenance, arena, diag, &lowered);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    base_arena arena = {0};
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    onnx_model model = {0};
    const onnx_options options = {.batch_axis0 = size > 0 && data[size - 1] % 2 != 0, .allow_f32 = true};
    if (onnx_import_memory(data, size, NULL, &options, &arena, &diag, &model) == MTL_OK) {
        if (compile(&model, &arena, &diag) == MTL_INTERNAL) {
            __builtin_trap(); /* an internal error is a defect, whatever the input */
        }
        onnx_close(&model);
    }
    base_arena_free(&arena);
    return 0;
}
