/* Inputs with a first axis of 1 whose plan has the users there: what they go into, whether it comes to the same, and
 * which inputs are worth it without being declared. */
#include <stdio.h>
#include <string.h>

#include "onnx/once.h"
#include "onnx/request.h"

enum { MOST_FOUND = 16 }; /* inputs that are tried one by one, an import each */

struct onnx_once {
    unsigned char *flags; /* by value */
    uint32_t capacity;
    ir_value values; /* below it flags are there */
    ir_node nodes;   /* below it nodes have been seen */
    bool shaped;     /* the node at hand makes copies for users */
};

/* --- what goes into a value ----------------------------------------------------------------------------------- */

static mtl_status grow(onnx_importer *importer, onnx_once *once)
{
    uint32_t count = importer->graph->value_count;
    if (count > once->capacity) {
        uint32_t capacity = count > UINT32_MAX / 2 ? count : count * 2;
        unsigned char *flags = base_arena_alloc(importer->arena, capacity);
        BASE_TRY_MEMORY(flags, importer->diag);
        if (once->values > 0) {
            memcpy(flags, once->flags, once->values);
        }
        once->flags = flags;
        once->capacity = capacity;
    }
    once->values = count;
    return MTL_OK;
}

static unsigned flags_of_node(const onnx_once *once, const ir_node_info *info)
{
    unsigned flags = 0;
    for (uint32_t i = 0; i < info->input_count; i++) {
        flags |= once->flags[info->inputs[i]]; /* [0]: 0 */
    }
    return flags;
}

/* Nodes are imported in an order in which operands come first. */
static mtl_status update(onnx_importer *importer, onnx_once *once)
{
    const ir_graph *graph = importer->graph;
    BASE_TRY(grow(importer, once));
    for (; once->nodes < graph->node_count; once->nodes++) {
        const ir_node_info *info = ir_node_of(graph, once->nodes);
        for (uint32_t i = 0; i < info->output_count; i++) {
            once->flags[info->outputs[i]] = (unsigned char)flags_of_node(once, info);
        }
    }
    return MTL_OK;
}

mtl_status onnx_once_add(onnx_importer *importer, ir_value input)
{
    if (importer->once == NULL) {
        importer->once = BASE_NEW(importer->arena, onnx_once);
        BASE_TRY_MEMORY(importer->once, importer->diag);
        importer->once->nodes = 1;
        BASE_TRY(grow(importer, importer->once));
        for (uint32_t i = 0; i < importer->graph->input_count; i++) {
            importer->once->flags[importer->graph->inputs[i]] = ONNX_FROM_OTHERS;
        }
    }
    importer->once->flags[input] = ONNX_FROM_ONCE;
    return MTL_OK;
}

mtl_status onnx_once_flags(onnx_importer *importer, ir_value value, unsigned *flags)
{
    *flags = 0;
    if (importer->once != NULL) {
        BASE_TRY(update(importer, importer->once));
        *flags = importer->once->flags[value];
    }
    return MTL_OK;
}

mtl_status onnx_once_mark(onnx_importer *importer, ir_value value)
{
    unsigned flags;
    BASE_TRY(onnx_once_flags(importer, value, &flags));
    importer->once->flags[value] = ONNX_FROM_ONCE;
    return MTL_OK;
}

void onnx_once_shaped(onnx_importer *importer)
{
    importer->once->shaped = true;
}

mtl_status onnx_once_finish(onnx_node *node)
{
    onnx_once *once = node->importer->once;
    if (once == NULL || !once->shaped) {
        return MTL_OK;
    }
    once->shaped = false;
    for (size_t i = 0; i < node->output_count; i++) {
        if (node->outputs[i].value != 0) {
            BASE_TRY(onnx_once_mark(node->importer, node->outputs[i].value));
        }
    }
    return MTL_OK;
}

/* --- whether it comes to the same ----------------------------------------------------------------------------- */

static bool has_rows(const ir_dim *dims, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (dims[i].k[IR_SYMBOL_ROWS] != 0) {
            return true;
        }
    }
    return false;
}

/* Whether a value is ONCE and has users; an extent of it that is a number is the model's. */
static bool has_users(const onnx_importer *importer, ir_value value)
{
    const ir_value_info *info = ir_info(importer->graph, value);
    return importer->once->flags[value] == ONNX_FROM_ONCE &&
           (info->rate.kind >= IR_RATE_ROW || has_rows(info->content, info->content_count));
}

/* A node with an operand that is ONCE. Shapes are judged where they are used. */
static mtl_status check_node(const onnx_importer *importer, ir_node node)
{
    const ir_graph *graph = importer->graph;
    const ir_node_info *info = ir_node_of(graph, node);
    const ir_value_info *result = ir_info(graph, info->outputs[0]);
    if (result->content != NULL) {
        return MTL_OK;
    }
    for (uint32_t i = 0; i < info->input_count; i++) {
        const ir_value_info *operand = ir_info(graph, info->inputs[i]);
        if (importer->once->flags[info->inputs[i]] == ONNX_FROM_ONCE &&
            has_rows(operand->content, operand->content_count)) {
            return ir_fail(graph, node, importer->diag, MTL_UNSUPPORTED, "it computes with the extent 1");
        }
    }
    bool joined = info->op == IR_OP_concat && result->rate.axis == ir_attr_int(info, IR_ATTR_axis);
    if (result->rate.kind != IR_RATE_ROW || joined) {
        return ir_fail(graph, node, importer->diag, MTL_UNSUPPORTED, "it does not keep users apart");
    }
    return MTL_OK;
}

mtl_status onnx_once_check(onnx_importer *importer)
{
    ir_graph *graph = importer->graph;
    if (importer->once == NULL) {
        return MTL_OK;
    }
    BASE_TRY(update(importer, importer->once));
    BASE_TRY(ir_infer_rates(graph, importer->diag));
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        const ir_node_info *info = ir_node_of(graph, node);
        bool once = false;
        for (uint32_t i = 0; i < info->input_count; i++) {
            once = once || has_users(importer, info->inputs[i]);
        }
        if (once) {
            BASE_TRY(check_node(importer, node));
        }
    }
    return MTL_OK;
}

/* --- importing ------------------------------------------------------------------------------------------------ */

/* Imports from the start, with these declarations. */
static mtl_status attempt(onnx_importer *importer, const onnx_request *request, base_diag *diag)
{
    importer->diag = diag;
    importer->request = request;
    importer->once = NULL;
    importer->once_rates = 0;
    importer->frozen = 0;
    importer->node_count = 0;
    importer->depth = 0;
    BASE_TRY(ir_graph_new(importer->arena, diag, &importer->graph));
    const char *name = importer->model->graph->name;
    importer->graph->name = base_arena_string(importer->arena, name != NULL ? name : "");
    BASE_TRY_MEMORY(importer->graph->name, diag);
    BASE_TRY(onnx_import_graph(importer));
    return onnx_once_check(importer);
}

/* The first declared input that the model has once. */
static const onnx_declaration *first_once(const onnx_importer *importer)
{
    const ir_graph *graph = importer->graph;
    for (uint32_t i = 0; importer->once != NULL && i < graph->input_count; i++) {
        for (size_t j = 0; j < importer->request->count; j++) {
            if (importer->once->flags[graph->inputs[i]] == ONNX_FROM_ONCE &&
                onnx_request_names(&importer->request->all[j], ir_info(graph, graph->inputs[i])->name)) {
                return &importer->request->all[j];
            }
        }
    }
    return NULL;
}

/* An import that failed: if it does not without the declarations, says so. */
static mtl_status explain(onnx_importer *importer, mtl_status status)
{
    base_diag *diag = importer->diag;
    const onnx_declaration *by = first_once(importer);
    onnx_request none = {.off = true};
    base_diag silent = {0};
    if (by == NULL || diag == NULL || diag->error == NULL || status == MTL_OUT_OF_MEMORY ||
        attempt(importer, &none, &silent) != MTL_OK) {
        return status;
    }
    char message[MTL_ERROR_MESSAGE_SIZE];
    size_t prefix = diag->file != NULL ? strlen(diag->file) + 2 : 0; /* "FILE: " */
    prefix = prefix < strlen(diag->error->message) ? prefix : 0;
    snprintf(message, sizeof message, "%s", diag->error->message + prefix);
    diag->failed = 0;
    return onnx_request_fail(diag, by, "its first axis cannot be the candidates: %.300s", message);
}

/* --- inputs that nobody declared ------------------------------------------------------------------------------ */

/* Inputs that the graph copies to the candidates: a value that is made of them, with a first axis of 1, is expanded to
 * B. Copies would hide that they are the same for all. */
static mtl_status find_expanded(onnx_importer *importer, const char **names, size_t *count)
{
    ir_graph *graph = importer->graph;
    uint32_t *source = BASE_NEW_ARRAY(importer->arena, uint32_t, graph->value_count); /* 1 + input, of REQUEST values */
    bool *found = BASE_NEW_ARRAY(importer->arena, bool, graph->input_count);
    BASE_TRY_MEMORY(source, importer->diag);
    BASE_TRY_MEMORY(found, importer->diag);
    BASE_TRY(ir_infer_rates(graph, importer->diag));
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const ir_type *type = ir_type_of(graph, graph->inputs[i]);
        source[graph->inputs[i]] = type->rank > 0 && ir_dim_is(type->dim[0], 1) ? i + 1 : 0;
    }
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        const ir_node_info *info = ir_node_of(graph, node);
        uint32_t from = 0;
        for (uint32_t i = 0; i < info->input_count && from == 0; i++) {
            from = source[info->inputs[i]];
        }
        for (uint32_t i = 0; i < info->output_count && from != 0; i++) {
            const ir_value_info *result = ir_info(graph, info->outputs[i]);
            bool kept = result->rate.kind == IR_RATE_REQUEST && result->content == NULL;
            source[info->outputs[i]] = kept ? from : 0;
            found[from - 1] |= info->op == IR_OP_expand && result->rate.kind == IR_RATE_ROW;
        }
    }
    for (uint32_t i = 0; i < graph->input_count; i++) {
        if (found[i] && *count < MOST_FOUND) {
            names[(*count)++] = ir_info(graph, graph->inputs[i])->name;
        }
    }
    return MTL_OK;
}

static bool same_outputs(const ir_graph *a, const ir_graph *b)
{
    bool same = a->output_count == b->output_count;
    for (uint32_t i = 0; same && i < a->output_count; i++) {
        same = ir_type_equal(ir_type_of(a, a->outputs[i].value), ir_type_of(b, b->outputs[i].value));
    }
    return same;
}

/* The declarations and `count` names besides. */
static mtl_status add_names(onnx_importer *importer, const onnx_request *given, const char *const *names, size_t count,
                            onnx_request *request)
{
    *request = (onnx_request){.count = given->count + count};
    request->all = BASE_NEW_ARRAY(importer->arena, onnx_declaration, request->count);
    BASE_TRY_MEMORY(request->all, importer->diag);
    if (given->count > 0) {
        memcpy(request->all, given->all, given->count * sizeof *given->all);
    }
    for (size_t i = 0; i < count; i++) {
        request->all[given->count + i] = (onnx_declaration){
            .text = names[i], .name = names[i], .place = "found to be expanded to the candidates", .found = true};
    }
    return MTL_OK;
}

/* An import with these names besides, if that comes to the same; else the importer is left with another graph. */
static mtl_status try_names(onnx_importer *importer, const onnx_request *given, const char *const *names, size_t count,
                            const ir_graph *model, bool *good)
{
    onnx_request *request = BASE_NEW(importer->arena, onnx_request);
    base_diag silent = {0};
    BASE_TRY_MEMORY(request, importer->diag);
    BASE_TRY(add_names(importer, given, names, count, request));
    base_diag *diag = importer->diag;
    mtl_status status = attempt(importer, request, &silent);
    importer->diag = diag;
    *good = status == MTL_OK && same_outputs(importer->graph, model);
    return status == MTL_OUT_OF_MEMORY ? base_fail_memory(diag) : MTL_OK;
}

/* All that are expanded, else those with which it works. */
static mtl_status take_expanded(onnx_importer *importer)
{
    const onnx_request *given = importer->request;
    const char *names[MOST_FOUND], *kept[MOST_FOUND];
    size_t count = 0, kept_count = 0;
    ir_graph *model = importer->graph, *best = model;
    bool good;
    BASE_TRY(find_expanded(importer, names, &count));
    if (count == 0) {
        return MTL_OK;
    }
    BASE_TRY(try_names(importer, given, names, count, model, &good));
    best = good ? importer->graph : model;
    for (size_t i = 0; i < count && !good && count > 1; i++) {
        bool works;
        kept[kept_count] = names[i];
        BASE_TRY(try_names(importer, given, kept, kept_count + 1, model, &works));
        best = works ? importer->graph : best;
        kept_count += works ? 1 : 0;
    }
    importer->graph = best;
    return MTL_OK;
}

mtl_status onnx_import_users(onnx_importer *importer)
{
    const onnx_options *given = importer->options;
    onnx_options quiet = *given; /* what is printed is printed by the first attempt */
    mtl_status status = attempt(importer, importer->request, importer->diag);
    quiet.print_params = NULL;
    importer->options = &quiet;
    if (status != MTL_OK) {
        status = explain(importer, status);
    } else if (!importer->request->off && !given->batch_axis0) {
        status = take_expanded(importer);
    }
    importer->options = given;
    return status;
}
