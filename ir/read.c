/* Questions about a graph, and errors that name a node of it. */
#include <stdio.h>
#include <string.h>

#include "ir/graph.h"

mtl_status ir_fail(const ir_graph *graph, ir_node node, base_diag *diag, mtl_status status, const char *format, ...)
{
    char message[MTL_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    const ir_node_info *info = &graph->nodes[node];
    uint32_t source = graph->current_source;
    if (node != 0) {
        source = info->source_count > 0 ? info->sources[0] : UINT32_MAX;
    }
    if (source < graph->source_count) {
        const ir_source *place = &graph->sources[source];
        return base_fail(diag, status, "node '%s' (%s): %s", place->name, place->op, message);
    }
    if (node != 0) {
        const char *name = info->output_count > 0 ? graph->values[info->outputs[0]].name : "?";
        return base_fail(diag, status, "node '%s' (%s): %s", name, ir_op_table(info->op)->name, message);
    }
    return base_fail(diag, status, "%s", message);
}

const ir_node_info *ir_producer(const ir_graph *graph, ir_value value)
{
    const ir_value_info *info = &graph->values[value];
    return value != 0 && info->kind == IR_VALUE_NODE ? &graph->nodes[info->node] : NULL;
}

const ir_node_info *ir_producer_op(const ir_graph *graph, ir_value value, ir_op op)
{
    const ir_node_info *node = ir_producer(graph, value);
    return node != NULL && node->op == op ? node : NULL;
}

bool ir_has_users(const ir_graph *graph)
{
    for (uint32_t i = 0; i < graph->input_count; i++) {
        if (ir_info(graph, graph->inputs[i])->per_user) {
            return true;
        }
    }
    return false;
}

bool ir_const_scalar(const ir_graph *graph, ir_value value, double *number)
{
    if (!ir_is_const(graph, value) || graph->values[value].tensor->count != 1) {
        return false;
    }
    *number = ir_tensor_at(graph->values[value].tensor, 0);
    return true;
}

bool ir_content_ints(const ir_graph *graph, ir_value value, int64_t *numbers, size_t capacity, size_t *count)
{
    if (value == 0) {
        return false;
    }
    const ir_value_info *info = &graph->values[value];
    if (info->content != NULL) {
        if (info->content_count > capacity) {
            return false;
        }
        for (size_t i = 0; i < info->content_count; i++) {
            if (!ir_dim_is_const(info->content[i])) {
                return false;
            }
            numbers[i] = info->content[i].c;
        }
        *count = info->content_count;
        return true;
    }
    const ir_tensor *tensor = info->tensor;
    if (info->kind != IR_VALUE_CONST || ir_dtype_is_float(tensor->dtype) || tensor->count > capacity) {
        return false;
    }
    for (size_t i = 0; i < tensor->count; i++) {
        numbers[i] = ir_tensor_int_at(tensor, i);
        if (tensor->dtype == MTL_U64 && numbers[i] < 0) {
            return false;
        }
    }
    *count = tensor->count;
    return true;
}

const ir_attr *ir_find_attr(const ir_node_info *node, ir_attr_key key)
{
    for (uint32_t i = 0; i < node->attr_count; i++) {
        if (node->attrs[i].key == key) {
            return &node->attrs[i];
        }
    }
    return NULL;
}

int64_t ir_attr_int(const ir_node_info *node, ir_attr_key key)
{
    const ir_attr *attr = ir_find_attr(node, key);
    return attr != NULL ? attr->i : 0;
}

double ir_attr_float(const ir_node_info *node, ir_attr_key key)
{
    const ir_attr *attr = ir_find_attr(node, key);
    return attr != NULL ? attr->f : 0;
}

mtl_status ir_count_uses(const ir_graph *graph, base_arena *arena, base_diag *diag, uint32_t **result)
{
    uint32_t *uses = BASE_NEW_ARRAY(arena, uint32_t, graph->value_count);
    BASE_TRY_MEMORY(uses, diag);
    for (ir_node node = graph->first_node; node != 0; node = graph->nodes[node].next) {
        const ir_node_info *info = &graph->nodes[node];
        for (uint32_t i = 0; i < info->input_count; i++) {
            uses[info->inputs[i]]++;
        }
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        uses[graph->outputs[i].value]++;
    }
    uses[0] = 0; /* absent operands */
    *result = uses;
    return MTL_OK;
}
