/* --param NAME: constants of the main graph that hosts set between runs. They become params of the IR where their name
 * is defined, so that nothing relies on their numbers from the start. What can be named, and the help with names that
 * cannot, is in param_names.c. */
#include <stdio.h>
#include <string.h>

#include "onnx/internal.h"

mtl_status onnx_param_fail(const onnx_importer *importer, const char *name, const char *format, ...)
{
    char message[MTL_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return base_fail(importer->diag, MTL_INVALID_ARGUMENT, "--param %.100s: %s", name, message);
}

/* The value that the option's name has just been given becomes a param. A constant or param that goes by another name
 * already, that of the initialiser behind an Identity, keeps its readers and is copied. */
static mtl_status make_param(onnx_importer *importer, const char *name, onnx_value *value)
{
    ir_graph *graph = importer->graph;
    mtl_dtype dtype = onnx_dtype(value->elem);
    const ir_value_info *info = ir_info(graph, value->value);
    if (!ir_dtype_is_float(dtype)) {
        return onnx_param_fail(importer, name,
                               "it is %s; params are floats, as shapes and ids must be known while "
                               "compiling",
                               onnx_elem_name(value->elem));
    }
    if (dtype == MTL_F64 && !importer->options->allow_f32) {
        return onnx_param_fail(importer, name, "it is float64; --allow-f32 computes the model in float32");
    }
    if (info->tensor->count == 0) {
        return onnx_param_fail(importer, name, "it has no elements");
    }
    value->constant = false;
    return strcmp(info->name, name) == 0 ? ir_make_param(graph, value->value, importer->diag)
                                         : ir_add_param(graph, name, info->tensor, importer->diag, &value->value);
}

static bool is_initializer(const Onnx__GraphProto *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_initializer; i++) {
        if (strcmp(graph->initializer[i]->name, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_node_output(const Onnx__GraphProto *graph, const char *name)
{
    for (size_t i = 0; i < graph->n_node; i++) {
        for (size_t j = 0; j < graph->node[i]->n_output; j++) {
            if (strcmp(graph->node[i]->output[j], name) == 0) {
                return true;
            }
        }
    }
    return false;
}

mtl_status onnx_params_begin(onnx_importer *importer, const onnx_scope *scope)
{
    const onnx_options *options = importer->options;
    const Onnx__GraphProto *graph = importer->model->graph;
    if (options->print_params != NULL) {
        BASE_TRY(onnx_param_print(importer, scope, options->print_params));
    }
    for (size_t i = 0; i < options->param_count; i++) {
        const char *name = options->params[i];
        for (size_t j = 0; j < i; j++) {
            if (strcmp(options->params[j], name) == 0) {
                return onnx_param_fail(importer, name, "it is there twice");
            }
        }
        onnx_scope_entry *entry = onnx_scope_find(scope, name);
        if (entry == NULL && (name[0] == '\0' || !is_node_output(graph, name))) {
            return onnx_param_unknown(importer, scope, name);
        }
        if (entry == NULL) {
            continue; /* onnx_param_define */
        }
        if (!is_initializer(graph, name)) {
            return onnx_param_fail(importer, name, "it is an input of the model, which every call gives anyway");
        }
        onnx_value value;
        bool found;
        BASE_TRY(onnx_lookup(importer, scope, name, &value, &found)); /* decodes it */
        BASE_TRY(make_param(importer, name, &value));
        entry->value = value;
    }
    return MTL_OK;
}

mtl_status onnx_param_define(onnx_node *node, const char *name, onnx_value *value)
{
    const onnx_options *options = node->importer->options;
    for (size_t i = 0; i < options->param_count && node->frame->prefix[0] == '\0'; i++) {
        if (strcmp(options->params[i], name) != 0) {
            continue;
        }
        if (value->value == 0 || ir_info(node->importer->graph, value->value)->tensor == NULL) {
            return onnx_param_fail(node->importer, name,
                                   "node '%.100s' (%.40s) computes it; a param is an initializer, or what a Constant "
                                   "gives (--print-params lists them)",
                                   node->name, node->op);
        }
        return make_param(node->importer, name, value);
    }
    return MTL_OK;
}

/* In the order of the options, whatever the file's. */
mtl_status onnx_params_end(const onnx_importer *importer)
{
    ir_graph *graph = importer->graph;
    for (size_t i = 0; i < importer->options->param_count; i++) {
        ir_value value = ir_find_value(graph, importer->options->params[i]);
        if (i >= graph->param_count || ir_info(graph, value)->kind != IR_VALUE_PARAM) {
            return onnx_param_fail(importer, importer->options->params[i], "nothing defines it");
        }
        graph->params[i] = value;
    }
    return MTL_OK;
}

mtl_status onnx_param_explain(const onnx_node *node, mtl_status status)
{
    const onnx_importer *importer = node->importer;
    mtl_error *error = importer->diag != NULL ? importer->diag->error : NULL;
    ir_value param = 0;
    for (size_t i = 0; status == MTL_UNSUPPORTED && error != NULL && i < node->input_count && param == 0; i++) {
        param = ir_param_behind(importer->graph, onnx_in(node, i));
    }
    if (param != 0) {
        size_t used = strlen(error->message);
        snprintf(error->message + used, sizeof error->message - used,
                 "; --param %.100s leaves it open, and it is needed while compiling",
                 ir_info(importer->graph, param)->name);
    }
    return status;
}
