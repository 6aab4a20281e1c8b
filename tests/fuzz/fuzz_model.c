/* Any bytes as a model: importing, optimising, lowering and scoring must end in scores or an error, never in a crash.
 * The first bit of the last byte makes fixed first axes the candidates. */
#include "onnx/onnx.h"
#include "tests/fuzz/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    base_arena arena = {0};
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    onnx_model model = {0};
    const onnx_options options = {.batch_axis0 = size > 0 && data[size - 1] % 2 != 0, .allow_f32 = true};
    mtl_status status = onnx_import_memory(data, size, NULL, &options, &arena, &diag, &model);
    if (status == MTL_INTERNAL) {
        __builtin_trap();
    }
    if (status == MTL_OK) {
        fuzz_compile(model.graph, &arena);
        onnx_close(&model);
    }
    base_arena_free(&arena);
    return 0;
}
