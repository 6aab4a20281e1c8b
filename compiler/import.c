#include "compiler/import.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/hash.h"
#include "dsl/dsl.h"

/* --- weights ---------------------------------------------------------------------------------------------------- */

typedef struct weights {
    const mtl_compile_options *options;
} weights;

static mtl_status given_weight(void *context, const char *name, const ir_type *type, base_arena *arena, base_diag *diag,
                               ir_tensor *tensor)
{
    const mtl_compile_options *options = ((const weights *)context)->options;
    mtl_tensor_info info = {.name = name};
    const void *data = NULL;
    (void)type;
    (void)arena;
    if (options->find_weight(options->find_weight_context, name, &info, &data) != MTL_OK) {
        return base_fail(diag, MTL_INVALID_DATA, "there is no weight '%s'", name);
    }
    bool good = mtl_dtype_size(info.dtype) > 0 && info.rank >= 0 && info.rank <= MTL_MAX_RANK;
    *tensor = (ir_tensor){.dtype = info.dtype, .rank = info.rank, .count = 1, .raw = data};
    for (int32_t axis = 0; good && axis < info.rank; axis++) {
        tensor->shape[axis] = info.shape[axis].fixed;
        good = tensor->shape[axis] >= 0 && base_mul_size(tensor->count, (size_t)tensor->shape[axis], &tensor->count);
    }
    return good ? MTL_OK
                : base_fail(diag, MTL_INVALID_ARGUMENT, "weight '%s' has no dtype or shape that can be had", name);
}

/* Uniform in +-1 / sqrt(fan in), as layers of PyTorch begin; the same for the same seed and name. */
static mtl_status made_up_weight(void *context, const char *name, const ir_type *type, base_arena *arena,
                                 base_diag *diag, ir_tensor *tensor)
{
    uint64_t state = base_hash64(name, strlen(name)) ^ (uint64_t)((const weights *)context)->options->init_seed;
    *tensor = (ir_tensor){.dtype = type->dtype, .rank = type->rank, .count = 1};
    for (int32_t axis = 0; axis < type->rank; axis++) {
        tensor->shape[axis] = type->dim[axis].c;
        tensor->count *= (size_t)type->dim[axis].c; /* extents came from a list that was checked; the array is, too */
    }
    double *numbers = base_arena_alloc_array(arena, tensor->count, sizeof *numbers);
    BASE_TRY_MEMORY(numbers, diag);
    double scale =
        type->rank > 0 && type->dim[type->rank - 1].c > 0 ? 1 / sqrt((double)type->dim[type->rank - 1].c) : 1;
    for (size_t i = 0; i < tensor->count; i++) { /* splitmix64 */
        uint64_t z = state += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        z ^= z >> 31;
        numbers[i] = (float)(((double)(z >> 11) * 0x1p-52 - 1) * scale);
    }
    tensor->f = numbers;
    return MTL_OK;
}

/* --- the language ----------------------------------------------------------------------------------------------- */

static bool is_ranker(const char *path)
{
    size_t length = strlen(path), suffix = strlen(".mtl");
    return length > suffix && strcmp(path + length - suffix, ".mtl") == 0;
}

static const char *onnx_only(const mtl_compile_options *options)
{
    return options->dim_count > 0       ? "--dim"
           : options->batch_axis0 != 0  ? "--batch-axis0"
           : options->request_count > 0 ? "--request (write 'request' behind the input instead)"
           : options->param_count > 0   ? "--param"
           : options->print_params != 0 ? "--print-params"
                                        : NULL;
}

static mtl_status import_ranker(const char *path, const mtl_compile_options *options, bool no_request,
                                base_arena *arena, base_diag *diag, onnx_model *model)
{
    base_map map;
    weights context = {options};
    const char *wrong = onnx_only(options);
    if (wrong != NULL) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "a ranker in the language takes no %s", wrong);
    }
    const dsl_weights given = {&context, options->find_weight != NULL ? given_weight : made_up_weight};
    const dsl_options language = {.weights = options->find_weight != NULL || options->init_weights != 0 ? &given : NULL,
                                  .errors = options->errors};
    BASE_TRY(base_map_file(path, diag, &map));
    *model = (onnx_model){.producer = "mtl"};
    base_hash128(map.data, map.size, model->hash);
    char *text = base_arena_string_n(arena, map.data, map.size);
    mtl_status status = text == NULL ? base_fail_memory(diag)
                                     : dsl_compile(path, text, map.size, &language, arena, diag, &model->graph);
    base_unmap(&map);
    for (uint32_t i = 0; status == MTL_OK && no_request && i < model->graph->input_count; i++) {
        model->graph->values[model->graph->inputs[i]].per_user = false;
    }
    return status;
}

mtl_status compiler_import(const char *path, const mtl_compile_options *options, bool no_request, base_arena *arena,
                           base_diag *diag, onnx_model *model)
{
    onnx_options import = {.dims = options->dims,
                           .dim_count = options->dim_count,
                           .batch_axis0 = options->batch_axis0 != 0,
                           .allow_f32 = options->allow_f32 != 0,
                           .params = options->params,
                           .param_count = options->param_count,
                           .print_params = options->print_params,
                           .request = options->request,
                           .request_count = options->request_count,
                           .no_request = no_request};
    if (is_ranker(path)) {
        return import_ranker(path, options, no_request, arena, diag, model);
    }
    if (options->find_weight != NULL || options->init_weights != 0) {
        return base_fail(diag, MTL_INVALID_ARGUMENT,
                         "an ONNX model has its weights: --weights and --init are for "
                         "rankers in the language (.mtl)");
    }
    return onnx_import_file(path, &import, arena, diag, model);
}
