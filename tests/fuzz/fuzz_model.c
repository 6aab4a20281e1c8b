/* Any bytes as a model: importing, optimising, lowering and scoring must end in scores or an error, never in a crash.
 * What is refused as it is gets a second try with fixed first axes made the candidates; what is not, one in which the first
 * column of every input is the user's. */
#include "onnx/onnx.h"
#include "tests/fuzz/support.h"

static mtl_status try_model(const uint8_t *data, size_t size, bool batch_axis0, bool columns)
{
    base_arena arena = {0};
    onnx_model model = {0};
    static const char *const first[] = {"*[:,0]"};
    const onnx_options options = {
        .batch_axis0 = batch_axis0, .allow_f32 = true, .request = first, .request_count = columns ? 1 : 0};
    mtl_status status = onnx_import_memory(data, size, NULL, &options, &arena, NULL, &model);
    if (status == MTL_OK) {
        fuzz_compile(model.graph, &arena);
        onnx_close(&model);
    }
    base_arena_free(&arena);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mtl_status status = try_model(data, size, false, false);
    if (status == MTL_OK) {
        status = try_model(data, size, false, true);
    } else if (status != MTL_INTERNAL) {
        status = try_model(data, size, true, false);
    }
    if (status == MTL_INTERNAL) {
        __builtin_trap(); /* a defect, whatever the input */
    }
    return 0;
}
