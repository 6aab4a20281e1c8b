#include "ir/eval.h"

#include <stdio.h>
#include <string.h>

#include "base/checked.h"

static ir_eval_function *const evaluators[IR_OP_COUNT] = {
#define OP(name, min_inputs, max_inputs, outputs, infer, rate, eval, attrs) [IR_OP_##name] = ir_eval_##eval,
#include "ir/ops.def"
#undef OP
};

mtl_status ir_eval_fail(const ir_eval_call *call, mtl_status status, const char *format, ...)
{
    char text[MTL_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return ir_fail(call->graph, call->id, call->diag, status, "%s", text);
}

mtl_status ir_eval_floats(const ir_eval_call *call, size_t i, const double **numbers)
{
    *numbers = ir_tensor_floats(call->inputs[i], call->arena);
    BASE_TRY_MEMORY(*numbers, call->diag);
    return MTL_OK;
}

mtl_status ir_eval_ints(const ir_eval_call *call, size_t i, const int64_t **numbers)
{
    *numbers = ir_tensor_ints(call->inputs[i], call->arena);
    BASE_TRY_MEMORY(*numbers, call->diag);
    return MTL_OK;
}

mtl_status ir_eval_new_floats(const ir_eval_call *call, double **numbers)
{
    *numbers = BASE_NEW_ARRAY(call->arena, double, call->output->count);
    BASE_TRY_MEMORY(*numbers, call->diag);
    call->output->f = *numbers;
    return MTL_OK;
}

mtl_status ir_eval_new_ints(const ir_eval_call *call, int64_t **numbers)
{
    *numbers = BASE_NEW_ARRAY(call->arena, int64_t, call->output->count);
    BASE_TRY_MEMORY(*numbers, call->diag);
    call->output->i = *numbers;
    return MTL_OK;
}

void ir_walk_start(ir_walk *walk, const ir_tensor *shape)
{
    memset(walk, 0, sizeof *walk);
    walk->rank = shape->rank;
    memcpy(walk->shape, shape->shape, sizeof walk->shape);
}

void ir_walk_broadcast(ir_walk *walk, int k, const ir_tensor *tensor)
{
    int64_t stride = 1;
    for (int i = tensor->rank - 1, j = walk->rank - 1; i >= 0 && j >= 0; i--, j--) {
        walk->stride[k][j] = tensor->shape[i] == 1 ? 0 : stride;
        stride *= tensor->shape[i];
    }
}

void ir_walk_next(ir_walk *walk)
{
    for (int j = walk->rank - 1; j >= 0; j--) {
        if (++walk->index[j] < walk->shape[j]) {
            for (int k = 0; k < IR_WALK_OPERANDS; k++) {
                walk->at[k] += walk->stride[k][j];
            }
            return;
        }
        walk->index[j] = 0;
        for (int k = 0; k < IR_WALK_OPERANDS; k++) {
            walk->at[k] -= walk->stride[k][j] * (walk->shape[j] - 1);
        }
    }
}

ir_axis_view ir_view_axis(const ir_tensor *tensor, int axis)
{
    ir_axis_view view = {.outer = 1, .extent = 1, .inner = 1};
    for (int i = 0; i < tensor->rank; i++) {
        if (i < axis) {
            view.outer *= tensor->shape[i];
        } else if (i == axis) {
            view.extent = tensor->shape[i];
        } else {
            view.inner *= tensor->shape[i];
        }
    }
    return view;
}

int64_t ir_wrap_int(int64_t number, mtl_dtype dtype)
{
    switch (dtype) {
    case MTL_BOOL: return number != 0;
    case MTL_I8: return (int8_t)number;
    case MTL_I16: return (int16_t)number;
    case MTL_I32: return (int32_t)number;
    case MTL_U8: return (uint8_t)number;
    case MTL_U16: return (uint16_t)number;
    case MTL_U32: return (uint32_t)number;
    default: return number;
    }
}

/* The shape of a type for given symbols; the number of elements must fit. */
static mtl_status shape_of_type(const ir_eval_call *call, const ir_type *type, const int64_t *symbols,
                                ir_tensor *tensor)
{
    *tensor = (ir_tensor){.dtype = type->dtype, .rank = type->rank, .count = 1};
    size_t product = 1; /* of the extents that are not 0: strides are computed from partial products */
    for (int i = 0; i < type->rank; i++) {
        int64_t extent = 0;
        if (!ir_dim_is_const(type->dim[i]) && symbols == NULL) {
            return ir_eval_fail(call, MTL_INTERNAL, "axis %d has no known extent", i);
        }
        if (ir_dim_is_const(type->dim[i])) {
            extent = type->dim[i].c;
        } else if (!ir_dim_eval(type->dim[i], symbols, &extent)) {
            return ir_eval_fail(call, MTL_INVALID_DATA, "the extent of axis %d is too large", i);
        }
        if (extent < 0) {
            return ir_eval_fail(call, MTL_INVALID_DATA, "axis %d has the negative extent %lld", i, (long long)extent);
        }
        tensor->shape[i] = extent;
        if (extent == 0) {
            tensor->count = 0;
        } else if (!base_mul_size(product, (size_t)extent, &product) || product > SIZE_MAX / 16) {
            return ir_eval_fail(call, MTL_INVALID_DATA, "the tensor is too large");
        }
    }
    tensor->count = tensor->count == 0 ? 0 : product;
    return MTL_OK;
}

static bool tensor_has_shape(const ir_tensor *tensor, const ir_tensor *wanted)
{
    if (tensor->dtype != wanted->dtype || tensor->rank != wanted->rank || tensor->count != wanted->count) {
        return false;
    }
    for (int i = 0; i < wanted->rank; i++) {
        if (tensor->shape[i] != wanted->shape[i]) {
            return false;
        }
    }
    return true;
}

mtl_status ir_eval_node(const ir_graph *graph, ir_node node, const ir_tensor *const *inputs, const int64_t *symbols,
                        base_arena *arena, base_diag *diag, ir_tensor *outputs)
{
    const ir_node_info *info = ir_node_of(graph, node);
    ir_eval_call call = {
        .graph = graph, .id = node, .node = info, .inputs = inputs, .arena = arena, .diag = diag, .output = outputs};
    for (uint32_t i = 0; i < info->input_count; i++) {
        if (inputs[i] == NULL) {
            continue;
        }
        ir_tensor wanted;
        BASE_TRY(shape_of_type(&call, ir_type_of(graph, info->inputs[i]), symbols, &wanted));
        if (!tensor_has_shape(inputs[i], &wanted)) {
            return ir_eval_fail(&call, MTL_INVALID_ARGUMENT, "operand %u has not the dtype and shape of its type", i);
        }
    }
    for (uint32_t j = 0; j < info->output_count; j++) {
        BASE_TRY(shape_of_type(&call, ir_type_of(graph, info->outputs[j]), symbols, &outputs[j]));
    }
    return evaluators[info->op](&call);
}

/* Finds the symbols from the shapes of the inputs, and checks those. */
static mtl_status read_symbols(const ir_graph *graph, const ir_tensor *inputs, base_diag *diag, int64_t *symbols)
{
    bool known[IR_MAX_SYMBOLS] = {false};
    for (int s = 0; s < IR_MAX_SYMBOLS; s++) {
        symbols[s] = 1;
    }
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const ir_type *type = ir_type_of(graph, graph->inputs[i]);
        for (int axis = 0; axis < type->rank && axis < inputs[i].rank; axis++) {
            int symbol = -1, count = 0;
            for (int s = 0; s < IR_MAX_SYMBOLS; s++) {
                if (type->dim[axis].k[s] != 0) {
                    symbol = s;
                    count++;
                }
            }
            int64_t rest;
            if (count == 1 && !known[symbol] && base_sub_i64(inputs[i].shape[axis], type->dim[axis].c, &rest)) {
                symbols[symbol] = rest / type->dim[axis].k[symbol];
                known[symbol] = true;
            }
        }
    }
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const ir_value_info *info = ir_info(graph, graph->inputs[i]);
        const ir_tensor *tensor = &inputs[i];
        if (tensor->dtype != info->type.dtype || tensor->rank != info->type.rank) {
            return base_fail(diag, MTL_INVALID_ARGUMENT, "input '%s': %s of rank %d, expected %s of rank %d",
                             info->name, mtl_dtype_name(tensor->dtype), tensor->rank, mtl_dtype_name(info->type.dtype),
                             info->type.rank);
        }
        for (int axis = 0; axis < tensor->rank; axis++) {
            int64_t wanted = 0;
            if (!ir_dim_eval(info->type.dim[axis], symbols, &wanted) || wanted != tensor->shape[axis]) {
                return base_fail(diag, MTL_INVALID_ARGUMENT, "input '%s': axis %d has extent %lld, expected %lld",
                                 info->name, axis, (long long)tensor->shape[axis], (long long)wanted);
            }
        }
    }
    return MTL_OK;
}

mtl_status ir_eval(const ir_graph *graph, const ir_tensor *inputs, base_arena *arena, base_diag *diag,
                   ir_tensor *outputs)
{
    int64_t symbols[IR_MAX_SYMBOLS];
    BASE_TRY(read_symbols(graph, inputs, diag, symbols));
    const ir_tensor **tensors = BASE_NEW_ARRAY(arena, const ir_tensor *, graph->value_count);
    BASE_TRY_MEMORY(tensors, diag);
    for (uint32_t v = 1; v < graph->value_count; v++) {
        tensors[v] = graph->values[v].tensor; /* of constants and params */
    }
    for (uint32_t i = 0; i < graph->input_count; i++) {
        tensors[graph->inputs[i]] = &inputs[i];
    }
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        const ir_tensor **operands = BASE_NEW_ARRAY(arena, const ir_tensor *, node->input_count);
        ir_tensor *results = BASE_NEW_ARRAY(arena, ir_tensor, node->output_count);
        BASE_TRY_MEMORY(operands, diag);
        BASE_TRY_MEMORY(results, diag);
        for (uint32_t i = 0; i < node->input_count; i++) {
            operands[i] = node->inputs[i] == 0 ? NULL : tensors[node->inputs[i]];
        }
        BASE_TRY(ir_eval_node(graph, n, operands, symbols, arena, diag, results));
        for (uint32_t j = 0; j < node->output_count; j++) {
            tensors[node->outputs[j]] = &results[j];
        }
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        outputs[i] = *tensors[graph->outputs[i].value];
    }
    return MTL_OK;
}
