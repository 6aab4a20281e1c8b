/* Graphs: initialisers, nodes in order, If, outputs. */
#include <string.h>

#include "onnx/internal.h"

/* --- names ---------------------------------------------------------------------------------------------------- */

static mtl_status decode_initializer(onnx_importer *importer, onnx_scope_entry *entry)
{
    const Onnx__TensorProto *proto = entry->pending;
    const char *what = base_arena_format(importer->arena, "initializer '%s'", entry->name);
    BASE_TRY_MEMORY(what, importer->diag);
    ir_tensor tensor;
    BASE_TRY(onnx_tensor(importer, proto, what, &tensor));
    BASE_TRY(ir_add_const(importer->graph, entry->name, &tensor, importer->diag, &entry->value.value));
    entry->value.elem = proto->data_type;
    entry->value.constant = true;
    entry->pending = NULL;
    return MTL_OK;
}

mtl_status onnx_lookup(onnx_importer *importer, const onnx_scope *scope, const char *name, onnx_value *value,
                       bool *found)
{
    onnx_scope_entry *entry = onnx_scope_find(scope, name);
    *found = entry != NULL;
    if (entry == NULL) {
        return MTL_OK;
    }
    if (entry->pending != NULL) {
        BASE_TRY(decode_initializer(importer, entry));
    }
    *value = entry->value;
    return MTL_OK;
}

mtl_status onnx_import_initializers(onnx_importer *importer, const onnx_frame *frame, const Onnx__GraphProto *graph)
{
    if (graph->n_sparse_initializer > 0) {
        const Onnx__TensorProto *values = graph->sparse_initializer[0]->values;
        return base_fail(importer->diag, MTL_UNSUPPORTED, "sparse initializer '%s' is not supported",
                         values != NULL && values->name != NULL ? values->name : "");
    }
    for (size_t i = 0; i < graph->n_initializer; i++) {
        const Onnx__TensorProto *tensor = graph->initializer[i];
        if (tensor->name == NULL || tensor->name[0] == '\0') {
            return base_fail(importer->diag, MTL_INVALID_DATA, "initializer %zu has no name", i);
        }
        bool fresh;
        onnx_scope_entry *entry = onnx_scope_add(frame->scope, tensor->name, &fresh);
        if (!fresh) {
            return base_fail(importer->diag, MTL_INVALID_DATA, "initializer '%s': the name is taken", tensor->name);
        }
        BASE_TRY_MEMORY(entry, importer->diag);
        entry->pending = tensor;
    }
    return MTL_OK;
}

/* --- nodes ---------------------------------------------------------------------------------------------------- */

static mtl_status define_outputs(onnx_node *node)
{
    for (size_t i = 0; i < node->output_count; i++) {
        const char *name = node->proto->output[i];
        if (name[0] == '\0') {
            continue;
        }
        if (node->outputs[i].value == 0 && node->outputs[i].refused == NULL) {
            onnx_refuse_output(node, i, "which is not supported");
        }
        bool fresh;
        onnx_scope_entry *entry = onnx_scope_add(node->frame->scope, name, &fresh);
        if (!fresh) {
            return onnx_fail(node, MTL_INVALID_DATA, "output %zu '%s': the name is taken", i, name);
        }
        BASE_TRY_MEMORY(entry, node->importer->diag);
        BASE_TRY(onnx_param_define(node, name, &node->outputs[i]));
        entry->value = node->outputs[i];
    }
    return MTL_OK;
}

static mtl_status run_handler(onnx_node *node)
{
    const onnx_operator *row = onnx_operator_find(node->op);
    if (row == NULL) {
        return onnx_fail(node, MTL_UNSUPPORTED, "%s", onnx_operator_refusal(node->op));
    }
    node->ir = row->ir;
    BASE_TRY(row->import(node));
    return onnx_node_finish(node);
}

/* For --explain: nodes that left none of ours behind. */
static void set_fate(const onnx_node *node, uint32_t source, uint32_t nodes_before)
{
    ir_graph *graph = node->importer->graph;
    if (graph->node_count == nodes_before && node->output_count > 0 && graph->sources[source].fate == NULL) {
        graph->sources[source].fate = ir_is_const(graph, node->outputs[0].value) ? "a constant" : "passed through";
    }
}

static mtl_status import_node(onnx_importer *importer, const onnx_frame *frame, const Onnx__NodeProto *proto,
                              size_t index)
{
    onnx_node node = {.importer = importer, .frame = frame, .proto = proto};
    node.op = proto->op_type != NULL ? proto->op_type : "";
    bool named = proto->name != NULL && proto->name[0] != '\0';
    node.name = named ? base_arena_format(importer->arena, "%s%.256s", frame->prefix, proto->name)
                      : base_arena_format(importer->arena, "%s%.256s_%zu", frame->prefix, node.op, index);
    BASE_TRY_MEMORY(node.name, importer->diag);
    if (++importer->node_count > ONNX_MAX_NODES) {
        return onnx_fail(&node, MTL_UNSUPPORTED, "more than %d nodes, functions inlined", ONNX_MAX_NODES);
    }
    uint32_t source;
    BASE_TRY(ir_add_source(importer->graph, node.name, node.op, importer->diag, &source));
    importer->graph->current_source = source;
    uint32_t nodes_before = importer->graph->node_count;
    const Onnx__FunctionProto *function = onnx_function_find(importer, proto);
    if (function != NULL) {
        BASE_TRY(onnx_node_operands(&node));
        BASE_TRY(onnx_function_inline(&node, function));
        importer->graph->sources[source].fate = "inlined";
    } else {
        if (onnx_domain(proto->domain)[0] == '\0' && onnx_operator_find(node.op) == NULL) {
            int32_t known; /* a better message than what its operands would give */
            if (onnx_schema_find("", node.op, onnx_schema_newest_opset, &known) != NULL) {
                return onnx_fail(&node, MTL_UNSUPPORTED, "%s", onnx_operator_refusal(node.op));
            }
        }
        BASE_TRY(onnx_node_operands(&node));
        BASE_TRY(onnx_node_check(&node));
        mtl_status status = run_handler(&node);
        if (status != MTL_OK) {
            return onnx_param_explain(&node, status);
        }
    }
    set_fate(&node, source, nodes_before);
    return define_outputs(&node);
}

mtl_status onnx_import_nodes(onnx_importer *importer, const onnx_frame *frame, Onnx__NodeProto *const *nodes,
                             size_t count, const size_t *order)
{
    for (size_t i = 0; i < count; i++) {
        size_t next = order != NULL ? order[i] : i;
        BASE_TRY(import_node(importer, frame, nodes[next], next));
    }
    return MTL_OK;
}

mtl_status onnx_enter(onnx_node *node)
{
    if (node->importer->depth >= ONNX_MAX_INLINE_DEPTH) {
        return onnx_fail(node, MTL_UNSUPPORTED, "functions and branches nest deeper than %d", ONNX_MAX_INLINE_DEPTH);
    }
    node->importer->depth++;
    return MTL_OK;
}

/* The outputs of the taken branch become those of the If. */
static mtl_status import_branch(onnx_node *node, const Onnx__GraphProto *branch)
{
    onnx_importer *importer = node->importer;
    uint32_t source = importer->graph->current_source;
    onnx_scope scope = {.outer = node->frame->scope, .arena = importer->arena};
    onnx_frame frame = *node->frame;
    frame.scope = &scope;
    frame.prefix = base_arena_format(importer->arena, "%.256s/", node->name);
    BASE_TRY_MEMORY(frame.prefix, importer->diag);
    if (branch->n_input > 0 || branch->n_output != node->output_count) {
        return onnx_fail(node, MTL_INVALID_DATA, "its branch has %zu inputs and %zu outputs, expected 0 and %zu",
                         branch->n_input, branch->n_output, node->output_count);
    }
    BASE_TRY(onnx_import_initializers(importer, &frame, branch));
    BASE_TRY(onnx_import_nodes(importer, &frame, branch->node, branch->n_node, NULL));
    importer->graph->current_source = source;
    for (size_t i = 0; i < branch->n_output; i++) {
        const char *name = branch->output[i]->name != NULL ? branch->output[i]->name : "";
        bool found;
        BASE_TRY(onnx_lookup(importer, &scope, name, &node->outputs[i], &found));
        if (!found) {
            return onnx_fail(node, MTL_INVALID_DATA, "output '%s' of its branch is made by no node", name);
        }
    }
    node->nested = true;
    importer->graph->sources[source].fate = "the branch that its constant condition takes";
    return MTL_OK;
}

mtl_status onnx_import_conditional(onnx_node *node)
{
    int64_t condition;
    size_t count;
    if (!ir_content_ints(node->importer->graph, onnx_in(node, 0), &condition, 1, &count) || count != 1) {
        return onnx_fail(node, MTL_UNSUPPORTED, "its condition depends on data, it must be known while compiling");
    }
    const char *name = condition != 0 ? "then_branch" : "else_branch";
    const Onnx__AttributeProto *attr = node->attrs[onnx_schema_attr_find(node->schema, name) - node->schema->attrs];
    BASE_TRY(onnx_enter(node));
    mtl_status status = import_branch(node, attr->g);
    onnx_leave(node);
    return status;
}

/* --- the main graph ------------------------------------------------------------------------------------------- */

static mtl_status declared_elem(const onnx_importer *importer, const Onnx__ValueInfoProto *info, int32_t *elem)
{
    const Onnx__TypeProto *type = info->type;
    *elem = 0;
    if (type == NULL || type->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET) {
        return MTL_OK;
    }
    if (type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
        return base_fail(importer->diag, MTL_UNSUPPORTED, "output '%s' is no tensor", info->name);
    }
    *elem = type->tensor_type->has_elem_type ? type->tensor_type->elem_type : 0;
    return MTL_OK;
}

static mtl_status import_output(onnx_importer *importer, onnx_scope *scope, const Onnx__ValueInfoProto *info)
{
    ir_graph *graph = importer->graph;
    bool found;
    onnx_value value;
    int32_t elem;
    if (info->name == NULL || info->name[0] == '\0') {
        return base_fail(importer->diag, MTL_INVALID_DATA, "a graph output has no name");
    }
    BASE_TRY(declared_elem(importer, info, &elem));
    BASE_TRY(onnx_lookup(importer, scope, info->name, &value, &found));
    if (!found) {
        return base_fail(importer->diag, MTL_INVALID_DATA, "output '%s' is made by no input, initializer or node",
                         info->name);
    }
    if (value.refused != NULL) {
        return base_fail(importer->diag, MTL_UNSUPPORTED, "output '%s' is %s", info->name, value.refused);
    }
    elem = elem != 0 ? elem : value.elem;
    mtl_dtype dtype = onnx_dtype(elem);
    mtl_dtype computed = ir_type_of(graph, value.value)->dtype;
    if (dtype == 0 || onnx_compute_dtype(dtype) != computed) {
        return base_fail(importer->diag, MTL_INVALID_DATA, "output '%s' is declared as %s, but its value is %s",
                         info->name, onnx_elem_name(elem), onnx_elem_name(value.elem));
    }
    if (dtype == MTL_F64 && !importer->options->allow_f32) {
        return base_fail(importer->diag, MTL_UNSUPPORTED,
                         "output '%s' is float64; --allow-f32 computes the model in float32", info->name);
    }
    if (dtype != computed) {
        ir_attr to = IR_DTYPE(to, dtype);
        BASE_TRY(ir_insert(graph, 0, IR_OP_cast, info->name, &value.value, 1, &to, 1, importer->diag, &value.value));
    }
    return ir_add_output(graph, info->name, value.value, importer->diag);
}

mtl_status onnx_import_graph(onnx_importer *importer)
{
    const Onnx__ModelProto *model = importer->model;
    const Onnx__GraphProto *graph = model->graph;
    onnx_scope scope = {.arena = importer->arena};
    onnx_frame frame = {
        .scope = &scope, .prefix = "", .opsets = model->opset_import, .opset_count = model->n_opset_import};
    BASE_TRY(onnx_check_opset(importer, model->opset_import, model->n_opset_import, "the model"));
    BASE_TRY(onnx_functions_check(importer));
    BASE_TRY(onnx_import_initializers(importer, &frame, graph));
    BASE_TRY(onnx_import_inputs(importer, &scope));
    BASE_TRY(onnx_params_begin(importer, &scope));
    const size_t *order;
    BASE_TRY(onnx_order_nodes(importer, graph, &order));
    BASE_TRY(onnx_import_nodes(importer, &frame, graph->node, graph->n_node, order));
    BASE_TRY(onnx_params_end(importer));
    importer->graph->current_source = UINT32_MAX;
    if (graph->n_output == 0) {
        return base_fail(importer->diag, MTL_INVALID_DATA, "the graph has no outputs");
    }
    for (size_t i = 0; i < graph->n_output; i++) {
        BASE_TRY(import_output(importer, &scope, graph->output[i]));
    }
    return MTL_OK;
}
