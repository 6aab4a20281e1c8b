/* Model-local functions: inlined where they are called. */
#include <string.h>

#include "onnx/internal.h"

enum { MAX_FUNCTIONS = 8192 }; /* they are looked up one by one */

static const char *text_of(const char *text)
{
    return text != NULL ? text : "";
}

static bool same(const Onnx__FunctionProto *function, const char *domain, const char *name, const char *overload)
{
    return strcmp(text_of(function->name), name) == 0 && strcmp(onnx_domain(function->domain), domain) == 0 &&
           strcmp(text_of(function->overload), overload) == 0;
}

const Onnx__FunctionProto *onnx_function_find(const onnx_importer *importer, const Onnx__NodeProto *proto)
{
    for (size_t i = 0; i < importer->model->n_functions; i++) {
        if (same(importer->model->functions[i], onnx_domain(proto->domain), text_of(proto->op_type),
                 text_of(proto->overload))) {
            return importer->model->functions[i];
        }
    }
    return NULL;
}

mtl_status onnx_functions_check(const onnx_importer *importer)
{
    const Onnx__ModelProto *model = importer->model;
    if (model->n_functions > MAX_FUNCTIONS) {
        return base_fail(importer->diag, MTL_UNSUPPORTED, "%zu functions, at most %d are supported", model->n_functions,
                         MAX_FUNCTIONS);
    }
    for (size_t i = 0; i < model->n_functions; i++) {
        const Onnx__FunctionProto *function = model->functions[i];
        for (size_t j = 0; j < i; j++) {
            if (same(model->functions[j], onnx_domain(function->domain), text_of(function->name),
                     text_of(function->overload))) {
                return base_fail(importer->diag, MTL_INVALID_DATA, "function '%s' of domain '%s' is there twice",
                                 text_of(function->name), text_of(function->domain));
            }
        }
    }
    return MTL_OK;
}

static mtl_status check_attrs(onnx_node *node, const Onnx__FunctionProto *function)
{
    for (size_t i = 0; i < node->proto->n_attribute; i++) {
        const char *name = text_of(node->proto->attribute[i]->name);
        bool known = false;
        for (size_t j = 0; j < function->n_attribute; j++) {
            known = known || strcmp(function->attribute[j], name) == 0;
        }
        for (size_t j = 0; j < function->n_attribute_proto; j++) {
            known = known || strcmp(text_of(function->attribute_proto[j]->name), name) == 0;
        }
        if (!known) {
            return onnx_fail(node, MTL_INVALID_DATA, "attribute '%s' is not one of the function's", name);
        }
    }
    return MTL_OK;
}

static mtl_status check_call(onnx_node *node, const Onnx__FunctionProto *function)
{
    for (const onnx_frame *frame = node->frame; frame != NULL; frame = frame->call_frame) {
        if (frame->function == function) {
            return onnx_fail(node, MTL_INVALID_DATA, "the function calls itself");
        }
    }
    if (node->input_count > function->n_input || node->output_count > function->n_output) {
        return onnx_fail(node, MTL_INVALID_DATA, "%zu inputs and %zu outputs, the function has %zu and %zu",
                         node->input_count, node->output_count, function->n_input, function->n_output);
    }
    BASE_TRY(check_attrs(node, function));
    const char *where = base_arena_format(node->importer->arena, "node '%s' (%s): the function", node->name, node->op);
    BASE_TRY_MEMORY(where, node->importer->diag);
    return onnx_check_opset(node->importer, function->opset_import, function->n_opset_import, where);
}

static mtl_status inline_body(onnx_node *node, const Onnx__FunctionProto *function)
{
    onnx_importer *importer = node->importer;
    onnx_scope scope = {.arena = importer->arena};
    onnx_frame frame = {.scope = &scope,
                        .opsets = function->opset_import,
                        .opset_count = function->n_opset_import,
                        .function = function,
                        .call = node->proto,
                        .call_frame = node->frame};
    frame.prefix = base_arena_format(importer->arena, "%.256s/", node->name);
    BASE_TRY_MEMORY(frame.prefix, importer->diag);
    for (size_t i = 0; i < function->n_input; i++) {
        bool fresh;
        onnx_scope_entry *entry = onnx_scope_add(&scope, function->input[i], &fresh);
        if (!fresh || function->input[i][0] == '\0') {
            return onnx_fail(node, MTL_INVALID_DATA, "the function has two inputs '%s'", function->input[i]);
        }
        BASE_TRY_MEMORY(entry, importer->diag);
        entry->value = i < node->input_count ? node->inputs[i] : (onnx_value){0};
    }
    BASE_TRY(onnx_import_nodes(importer, &frame, function->node, function->n_node, NULL));
    for (size_t i = 0; i < node->output_count; i++) {
        bool found;
        BASE_TRY(onnx_lookup(importer, &scope, function->output[i], &node->outputs[i], &found));
        if (!found) {
            return onnx_fail(node, MTL_INVALID_DATA, "output '%s' of the function is made by no node",
                             function->output[i]);
        }
    }
    return MTL_OK;
}

mtl_status onnx_function_inline(onnx_node *node, const Onnx__FunctionProto *function)
{
    uint32_t source = node->importer->graph->current_source;
    BASE_TRY(check_call(node, function));
    BASE_TRY(onnx_enter(node));
    mtl_status status = inline_body(node, function);
    onnx_leave(node);
    node->importer->graph->current_source = source;
    return status;
}
