#include "compiler/evaluate.h"

#include "compiler/ids.h"
#include "compiler/import.h"
#include "compiler/outputs.h"

#include <string.h>

#include "onnx/onnx.h"
#include "tool/npz.h"

static mtl_status read_input(const ir_graph *graph, ir_value input, const tool_npz *npz, base_diag *diag,
                             ir_tensor *tensor)
{
    const ir_value_info *info = ir_info(graph, input);
    const tool_array *array = tool_npz_find(npz, info->name);
    if (array == NULL) {
        return base_fail(diag, MTL_INVALID_DATA, "there is no array for input '%s'", info->name);
    }
    if (array->dtype != info->type.dtype || array->rank != info->type.rank) {
        return base_fail(diag, MTL_INVALID_DATA, "input '%s' is %s with %d axes, expected %s with %d", info->name,
                         mtl_dtype_name(array->dtype), (int)array->rank, mtl_dtype_name(info->type.dtype),
                         (int)info->type.rank);
    }
    *tensor = (ir_tensor){.dtype = array->dtype,
                          .rank = array->rank,
                          .count = array->bytes / mtl_dtype_size(array->dtype),
                          .raw = array->data};
    memcpy(tensor->shape, array->shape, sizeof tensor->shape);
    return MTL_OK;
}

/* A param has the model's numbers unless the file has others. */
static mtl_status read_param(const ir_graph *graph, ir_value param, const tool_npz *npz, base_arena *arena,
                             base_diag *diag)
{
    ir_value_info *info = &graph->values[param];
    const tool_array *array = tool_npz_find(npz, info->name);
    if (array == NULL) {
        return MTL_OK;
    }
    if (array->dtype != info->type.dtype || array->rank != info->type.rank ||
        memcmp(array->shape, info->tensor->shape, (size_t)array->rank * sizeof array->shape[0]) != 0) {
        return base_fail(diag, MTL_INVALID_DATA, "param '%s' has another type or shape in the model", info->name);
    }
    ir_tensor *tensor = base_arena_copy(arena, info->tensor, sizeof *tensor);
    BASE_TRY_MEMORY(tensor, diag);
    tensor->f = NULL;
    tensor->raw = array->data;
    info->tensor = tensor;
    return MTL_OK;
}

static mtl_status write_outputs(const ir_graph *graph, const ir_tensor *outputs, const char *path, base_diag *diag)
{
    tool_npz_writer *writer;
    BASE_TRY(tool_npz_writer_new(path, diag, &writer));
    for (uint32_t i = 0; i < graph->output_count; i++) {
        const ir_tensor *tensor = &outputs[i];
        tool_array array = {.name = graph->outputs[i].name,
                            .dtype = tensor->f != NULL ? MTL_F64 : MTL_I64,
                            .rank = tensor->rank,
                            .data = tensor->f != NULL ? (const void *)tensor->f : tensor->i,
                            .bytes = tensor->count * 8};
        memcpy(array.shape, tensor->shape, sizeof array.shape);
        mtl_status status = tool_npz_writer_add(writer, &array);
        if (status != MTL_OK) {
            tool_npz_writer_discard(writer);
            return status;
        }
    }
    return tool_npz_writer_commit(writer);
}

static mtl_status run(const ir_graph *graph, const tool_npz *npz, const char *outputs_path, base_arena *arena,
                      base_diag *diag)
{
    ir_tensor *inputs = BASE_NEW_ARRAY(arena, ir_tensor, graph->input_count);
    ir_tensor *outputs = BASE_NEW_ARRAY(arena, ir_tensor, graph->output_count);
    BASE_TRY_MEMORY(inputs, diag);
    BASE_TRY_MEMORY(outputs, diag);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        BASE_TRY(read_input(graph, graph->inputs[i], npz, diag, &inputs[i]));
    }
    for (uint32_t i = 0; i < graph->param_count; i++) {
        BASE_TRY(read_param(graph, graph->params[i], npz, arena, diag));
    }
    BASE_TRY(ir_eval(graph, inputs, arena, diag, outputs));
    for (uint32_t i = 0; i < graph->output_count; i++) { /* an output that is an input or constant may be raw */
        if (ir_dtype_is_float(outputs[i].dtype)) {
            outputs[i].f = ir_tensor_floats(&outputs[i], arena);
            BASE_TRY_MEMORY(outputs[i].f, diag);
        } else {
            outputs[i].i = ir_tensor_ints(&outputs[i], arena);
            BASE_TRY_MEMORY(outputs[i].i, diag);
        }
    }
    diag->file = NULL;
    return write_outputs(graph, outputs, outputs_path, diag);
}

mtl_status compiler_evaluate(const char *model_path, const char *inputs_path, const char *outputs_path,
                             const mtl_compile_options *options, mtl_error *error)
{
    base_arena arena = {0};
    base_diag diag = {.error = error, .file = model_path};
    onnx_model model;
    /* A declaration of users changes which inputs a plan takes, not what is computed. */
    mtl_status status = compiler_import(model_path, options, true, &arena, &diag, &model);
    if (status == MTL_OK) {
        tool_npz *npz = NULL;
        status = compiler_set_ids(model.graph, options->ids, options->id_count, &diag);
        status = status == MTL_OK ? compiler_keep_outputs(model.graph, options->outputs, options->output_count, &diag)
                                  : status;
        diag.file = NULL;
        status = status == MTL_OK ? tool_npz_open(inputs_path, &diag, &npz) : status;
        if (status == MTL_OK) {
            diag.file = inputs_path;
            status = run(model.graph, npz, outputs_path, &arena, &diag);
            tool_npz_close(npz);
        }
        onnx_close(&model);
    }
    base_arena_free(&arena);
    return status;
}
