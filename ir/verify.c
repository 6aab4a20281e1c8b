/* The invariants of a graph. What breaks one is our defect, so every failure here is MTL_INTERNAL, also
 * when the function that found it says otherwise to those who build graphs from users' files. */
#include <string.h>

#include "ir/eval.h" /* ir_wrap_int */
#include "ir/graph.h"
#include "ir/names.h"

typedef struct verifier {
    ir_graph *graph;
    base_diag *diag;
    base_arena *arena; /* of this call */
    bool *defined;     /* value_count: defined where the walk is */
    bool *linked;      /* node_count: seen by the walk */
} verifier;

static mtl_status fail_value(verifier *v, ir_value value, const char *what)
{
    const char *name = v->graph->values[value].name;
    return base_fail(v->diag, MTL_INTERNAL, "value '%s' (%u): %s", name != NULL ? name : "", value, what);
}

static mtl_status check_symbols(verifier *v)
{
    const ir_symbols *symbols = &v->graph->symbols;
    if (symbols->count < 1 || symbols->count > IR_MAX_SYMBOLS) {
        return base_fail(v->diag, MTL_INTERNAL, "%d symbols, expected 1 to %d", symbols->count, IR_MAX_SYMBOLS);
    }
    for (int i = 0; i < symbols->count; i++) {
        for (int j = 0; j < i; j++) {
            if (strcmp(symbols->name[i], symbols->name[j]) == 0) {
                return base_fail(v->diag, MTL_INTERNAL, "symbols %d and %d are both called '%s'", j, i,
                                 symbols->name[i]);
            }
        }
    }
    return MTL_OK;
}

static bool symbols_exist(const ir_graph *graph, ir_dim dim)
{
    for (int i = graph->symbols.count; i < IR_MAX_SYMBOLS; i++) {
        if (dim.k[i] != 0) {
            return false;
        }
    }
    return true;
}

static mtl_status check_type(verifier *v, ir_value value)
{
    const ir_value_info *info = &v->graph->values[value];
    const ir_type *type = &info->type;
    if (mtl_dtype_size(type->dtype) == 0 || type->rank < 0 || type->rank > MTL_MAX_RANK) {
        return fail_value(v, value, "its type has no dtype or no rank");
    }
    for (int i = 0; i < type->rank; i++) {
        if (!symbols_exist(v->graph, type->dim[i])) {
            return fail_value(v, value, "an extent has a symbol that the graph does not have");
        }
        if (ir_dim_is_const(type->dim[i]) && type->dim[i].c < 0) {
            return fail_value(v, value, "an extent is negative");
        }
    }
    if (info->content == NULL) {
        return MTL_OK;
    }
    bool fits = type->rank == 0 ? info->content_count == 1
                                : type->rank == 1 && ir_dim_is(type->dim[0], (int64_t)info->content_count);
    if (!fits || ir_dtype_is_float(type->dtype)) {
        return fail_value(v, value, "its content does not fit its type");
    }
    for (size_t i = 0; i < info->content_count; i++) {
        if (!symbols_exist(v->graph, info->content[i])) {
            return fail_value(v, value, "its content has a symbol that the graph does not have");
        }
    }
    return MTL_OK;
}

static mtl_status check_const(verifier *v, ir_value value)
{
    const ir_value_info *info = &v->graph->values[value];
    const ir_tensor *tensor = info->tensor;
    if (tensor == NULL) {
        return fail_value(v, value, "a constant without tensor");
    }
    bool is_float = ir_dtype_is_float(tensor->dtype);
    bool same = tensor->dtype == info->type.dtype && tensor->rank == info->type.rank;
    ir_dim count;
    for (int i = 0; same && i < tensor->rank; i++) {
        same = ir_dim_is(info->type.dim[i], tensor->shape[i]);
    }
    if (!same || !ir_type_count(&info->type, &count) || count.c < 0 || (size_t)count.c != tensor->count) {
        return fail_value(v, value, "its tensor does not fit its type");
    }
    if ((tensor->raw != NULL) + (tensor->f != NULL) + (tensor->i != NULL) != 1 || (tensor->f != NULL && !is_float) ||
        (tensor->i != NULL && is_float)) {
        return fail_value(v, value, "not exactly one of raw, f and i fits its dtype");
    }
    for (size_t i = 0; tensor->i != NULL && i < tensor->count; i++) {
        if (tensor->i[i] != ir_wrap_int(tensor->i[i], tensor->dtype)) {
            return fail_value(v, value, "an element is out of the range of its dtype");
        }
    }
    return MTL_OK;
}

static mtl_status check_param(verifier *v, uint32_t i)
{
    const ir_graph *graph = v->graph;
    ir_value value = graph->params[i];
    if (value == 0 || value >= graph->value_count || graph->values[value].kind != IR_VALUE_PARAM) {
        return base_fail(v->diag, MTL_INTERNAL, "param %u is no param value", i);
    }
    const ir_value_info *info = &graph->values[value];
    if (v->defined[value]) {
        return fail_value(v, value, "a param twice");
    }
    if (info->content != NULL || info->type.dtype != MTL_F32) {
        return fail_value(v, value, "a param is f32 and has no content");
    }
    v->defined[value] = true;
    return check_const(v, value);
}

static mtl_status check_inputs(verifier *v)
{
    const ir_graph *graph = v->graph;
    uint32_t inputs = 0, params = 0;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        ir_value value = graph->inputs[i];
        if (value == 0 || value >= graph->value_count || graph->values[value].kind != IR_VALUE_INPUT) {
            return base_fail(v->diag, MTL_INTERNAL, "input %u is no input value", i);
        }
        if (v->defined[value]) {
            return fail_value(v, value, "an input twice");
        }
        v->defined[value] = true;
    }
    for (uint32_t i = 0; i < graph->param_count; i++) {
        BASE_TRY(check_param(v, i));
    }
    for (ir_value value = 1; value < graph->value_count; value++) {
        const ir_value_info *info = &graph->values[value];
        if (info->name == NULL || *info->name == '\0' || ir_find_value(graph, info->name) != value) {
            return fail_value(v, value, "its name is empty or another value's");
        }
        inputs += info->kind == IR_VALUE_INPUT;
        params += info->kind == IR_VALUE_PARAM;
        if (info->kind == IR_VALUE_CONST) {
            BASE_TRY(check_const(v, value));
            v->defined[value] = true;
        }
        if (info->kind != IR_VALUE_NODE) {
            BASE_TRY(check_type(v, value));
        }
    }
    if (inputs != graph->input_count) {
        return base_fail(v->diag, MTL_INTERNAL, "%u input values, but the graph lists %u", inputs, graph->input_count);
    }
    if (params != graph->param_count) {
        return base_fail(v->diag, MTL_INTERNAL, "%u params, but the graph lists %u", params, graph->param_count);
    }
    return MTL_OK;
}

static mtl_status check_node_form(verifier *v, ir_node node)
{
    const ir_graph *graph = v->graph;
    const ir_node_info *info = &graph->nodes[node];
    if ((unsigned)info->op >= IR_OP_COUNT || info->output_count != (uint32_t)ir_op_table(info->op)->outputs) {
        return base_fail(v->diag, MTL_INTERNAL, "node %u: no op, or not as many results as its op has", node);
    }
    for (uint32_t i = 0; i < info->output_count; i++) {
        ir_value value = info->outputs[i];
        if (value == 0 || value >= graph->value_count || graph->values[value].kind != IR_VALUE_NODE ||
            graph->values[value].node != node || v->defined[value]) {
            return ir_fail(graph, 0, v->diag, MTL_INTERNAL, "node %u (%s): result %u is not its own", node,
                           ir_op_table(info->op)->name, i);
        }
    }
    for (uint32_t i = 0; i < info->attr_count; i++) {
        if ((unsigned)info->attrs[i].key >= IR_ATTR_COUNT || (i > 0 && info->attrs[i].key <= info->attrs[i - 1].key)) {
            return ir_fail(graph, node, v->diag, MTL_INTERNAL, "its attributes are not in order");
        }
    }
    BASE_TRY(ir_check_form(graph, node, v->diag));
    for (uint32_t i = 0; i < info->input_count; i++) {
        if (info->inputs[i] != 0 && !v->defined[info->inputs[i]]) {
            return ir_fail(graph, node, v->diag, MTL_INTERNAL, "operand %u, '%s', is not defined before it", i,
                           graph->values[info->inputs[i]].name);
        }
    }
    if (info->input_count > 0 && info->inputs[info->input_count - 1] == 0) {
        return ir_fail(graph, node, v->diag, MTL_INTERNAL, "its last operand is absent");
    }
    for (uint32_t i = 0; i < info->source_count; i++) {
        if (info->sources[i] >= graph->source_count) {
            return ir_fail(graph, 0, v->diag, MTL_INTERNAL, "node %u (%s): source %u does not exist", node,
                           ir_op_table(info->op)->name, info->sources[i]);
        }
    }
    return MTL_OK;
}

/* Infers the node again and puts back what was there. */
static mtl_status check_inference(verifier *v, ir_node node)
{
    ir_graph *graph = v->graph;
    const ir_node_info *info = &graph->nodes[node];
    ir_value_info *saved = BASE_NEW_ARRAY(v->arena, ir_value_info, info->output_count);
    BASE_TRY_MEMORY(saved, v->diag);
    for (uint32_t i = 0; i < info->output_count; i++) {
        saved[i] = graph->values[info->outputs[i]];
    }
    mtl_status status = ir_infer(graph, node, v->diag);
    for (uint32_t i = 0; i < info->output_count; i++) {
        ir_value_info *value = &graph->values[info->outputs[i]];
        ir_type inferred = value->type;
        *value = saved[i];
        if (status == MTL_OK && !ir_type_equal(&inferred, &value->type)) {
            const char *is = ir_type_text(&value->type, &graph->symbols, v->arena);
            BASE_TRY_MEMORY(is, v->diag);
            const char *expected = ir_type_text(&inferred, &graph->symbols, v->arena);
            BASE_TRY_MEMORY(expected, v->diag);
            return ir_fail(graph, node, v->diag, MTL_INTERNAL, "the result is %s, expected %s", is, expected);
        }
    }
    return status;
}

static mtl_status check_nodes(verifier *v)
{
    const ir_graph *graph = v->graph;
    ir_node previous = 0;
    for (ir_node node = graph->first_node; node != 0; node = graph->nodes[node].next) {
        if (node >= graph->node_count || v->linked[node] || graph->nodes[node].previous != previous) {
            return base_fail(v->diag, MTL_INTERNAL, "the list of nodes is broken behind node %u", previous);
        }
        v->linked[node] = true;
        previous = node;
        BASE_TRY(check_node_form(v, node));
        for (uint32_t i = 0; i < graph->nodes[node].output_count; i++) {
            BASE_TRY(check_type(v, graph->nodes[node].outputs[i]));
            v->defined[graph->nodes[node].outputs[i]] = true;
        }
        BASE_TRY(check_inference(v, node));
    }
    if (graph->last_node != previous) {
        return base_fail(v->diag, MTL_INTERNAL, "the list of nodes ends with node %u, not %u", previous,
                         graph->last_node);
    }
    return MTL_OK;
}

static mtl_status check_outputs(verifier *v)
{
    const ir_graph *graph = v->graph;
    ir_names *names = ir_names_new(v->arena);
    BASE_TRY_MEMORY(names, v->diag);
    for (uint32_t i = 0; i < graph->output_count; i++) {
        const ir_output *output = &graph->outputs[i];
        if (output->value == 0 || output->value >= graph->value_count || !v->defined[output->value]) {
            return base_fail(v->diag, MTL_INTERNAL, "output '%s' has no defined value", output->name);
        }
        if (ir_names_find(names, output->name) != 0) {
            return base_fail(v->diag, MTL_INTERNAL, "output '%s' is there twice", output->name);
        }
        if (!ir_names_add(names, output->name, i + 1, v->arena)) {
            return base_fail_memory(v->diag);
        }
    }
    return MTL_OK;
}

static mtl_status verify(verifier *v)
{
    v->defined = BASE_NEW_ARRAY(v->arena, bool, v->graph->value_count);
    BASE_TRY_MEMORY(v->defined, v->diag);
    v->linked = BASE_NEW_ARRAY(v->arena, bool, v->graph->node_count);
    BASE_TRY_MEMORY(v->linked, v->diag);
    BASE_TRY(check_symbols(v));
    BASE_TRY(check_inputs(v));
    BASE_TRY(check_nodes(v));
    return check_outputs(v);
}

mtl_status ir_verify(ir_graph *graph, base_diag *diag)
{
    base_arena arena = {0};
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    verifier v = {.graph = graph, .diag = &inner, .arena = &arena};
    mtl_status status = verify(&v);
    base_arena_free(&arena);
    if (status == MTL_OK) {
        return MTL_OK;
    }
    return base_fail(diag, status == MTL_OUT_OF_MEMORY ? status : MTL_INTERNAL, "%s", error.message);
}
