/* Integers that are known while compiling though inference does not follow them: small tensors of any rank, computed
 * from constants by operators other than those of shapes. The TorchScript exporter writes the pads of F.pad so. */
#include "onnx/internal.h"

enum { MAX_ELEMENTS = 4096, MAX_DEPTH = 64, MAX_NODES = 256 };

typedef struct knowledge {
    const onnx_importer *importer;
    int nodes; /* left to evaluate */
} knowledge;

static bool is_small(const ir_type *type)
{
    int64_t elements = 1;
    for (int i = 0; i < type->rank; i++) {
        if (!ir_dim_is_const(type->dim[i]) || type->dim[i].c > MAX_ELEMENTS ||
            (elements *= type->dim[i].c) > MAX_ELEMENTS) {
            return false;
        }
    }
    return true;
}

/* Content without symbols, as a tensor. False: there is none. */
static bool from_content(const knowledge *k, const ir_value_info *info, ir_tensor *tensor)
{
    int64_t *numbers = BASE_NEW_ARRAY(k->importer->arena, int64_t, info->content_count);
    if (info->content == NULL || numbers == NULL) {
        return false;
    }
    for (size_t i = 0; i < info->content_count; i++) {
        if (!ir_dim_is_const(info->content[i])) {
            return false;
        }
        numbers[i] = info->content[i].c;
    }
    *tensor =
        (ir_tensor){.dtype = info->type.dtype, .rank = info->type.rank, .count = info->content_count, .i = numbers};
    tensor->shape[0] = (int64_t)info->content_count;
    return true;
}

static bool find_tensor(knowledge *k, ir_value value, int depth, ir_tensor *tensor)
{
    const ir_graph *graph = k->importer->graph;
    const ir_value_info *info = ir_info(graph, value);
    if (!is_small(&info->type) || (info->kind != IR_VALUE_CONST && info->kind != IR_VALUE_NODE)) {
        return false;
    }
    if (info->kind == IR_VALUE_CONST) {
        *tensor = *info->tensor;
        return true;
    }
    if (from_content(k, info, tensor)) {
        return true;
    }
    const ir_node_info *node = ir_node_of(graph, info->node);
    ir_tensor *operands = BASE_NEW_ARRAY(k->importer->arena, ir_tensor, node->input_count);
    const ir_tensor **inputs = BASE_NEW_ARRAY(k->importer->arena, const ir_tensor *, node->input_count);
    if (depth == 0 || k->nodes-- == 0 || node->input_count == 0 || operands == NULL || inputs == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < node->input_count; i++) {
        inputs[i] = node->inputs[i] != 0 ? &operands[i] : NULL;
        if (node->inputs[i] != 0 && !find_tensor(k, node->inputs[i], depth - 1, &operands[i])) {
            return false;
        }
    }
    base_diag quiet = {0}; /* the pass that folds constants will say it */
    return ir_eval_node(graph, info->node, inputs, NULL, k->importer->arena, &quiet, tensor) == MTL_OK;
}

bool onnx_known_ints(const onnx_importer *importer, ir_value value, int64_t *numbers, size_t capacity, size_t *count)
{
    knowledge k = {importer, MAX_NODES};
    ir_tensor tensor;
    if (!is_small(ir_type_of(importer->graph, value)) || !find_tensor(&k, value, MAX_DEPTH, &tensor) ||
        tensor.count > capacity || ir_dtype_is_float(tensor.dtype)) {
        return false;
    }
    const int64_t *found = ir_tensor_ints(&tensor, importer->arena);
    if (found == NULL) {
        return false;
    }
    for (size_t i = 0; i < tensor.count; i++) {
        numbers[i] = found[i];
    }
    *count = tensor.count;
    return true;
}
