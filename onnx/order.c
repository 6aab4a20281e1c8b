/* The order in which the nodes of the main graph are imported: that in which the outputs need them, and what no output
 * needs behind it. Exporters write independent nodes in any order; it shall not show in the plan. */
#include "onnx/internal.h"

typedef struct orderer {
    const Onnx__GraphProto *graph;
    onnx_scope makers; /* the number of the node that makes a name, in `value` */
    size_t *order, count;
    bool *done;
    struct visit {
        size_t node, operand; /* the next operand to look at */
    } * stack;
} orderer;

static size_t maker_of(const orderer *o, const char *name)
{
    const onnx_scope_entry *entry = onnx_scope_find(&o->makers, name);
    return entry != NULL ? entry->value.value : SIZE_MAX;
}

static bool has_branches(const Onnx__NodeProto *node)
{
    for (size_t i = 0; i < node->n_attribute; i++) {
        if (node->attribute[i]->g != NULL || node->attribute[i]->n_graphs > 0) {
            return true;
        }
    }
    return false;
}

/* Whether the nodes say all there is about their order: no branches, which read more than the node's operands, and no
 * mistakes, which the import will find where they stand. */
static mtl_status find_makers(orderer *o, base_diag *diag, bool *sound)
{
    const Onnx__GraphProto *graph = o->graph;
    *sound = true;
    for (size_t i = 0; i < graph->n_node && *sound; i++) {
        *sound = !has_branches(graph->node[i]);
        for (size_t j = 0; j < graph->node[i]->n_output && *sound; j++) {
            bool fresh = true;
            if (graph->node[i]->output[j][0] != '\0') {
                onnx_scope_entry *entry = onnx_scope_add(&o->makers, graph->node[i]->output[j], &fresh);
                if (entry == NULL && fresh) {
                    return base_fail(diag, MTL_OUT_OF_MEMORY, "out of memory");
                }
                if (entry != NULL) {
                    entry->value.value = (ir_value)i;
                }
            }
            *sound = fresh;
        }
    }
    for (size_t i = 0; i < graph->n_node && *sound; i++) {
        for (size_t j = 0; j < graph->node[i]->n_input && *sound; j++) {
            size_t maker = maker_of(o, graph->node[i]->input[j]);
            *sound = maker == SIZE_MAX || maker < i;
        }
    }
    return MTL_OK;
}

/* Operands before the node, the first one first. */
static void visit(orderer *o, size_t node)
{
    size_t depth = 0;
    if (!o->done[node]) {
        o->done[node] = true;
        o->stack[depth++] = (struct visit){.node = node};
    }
    while (depth > 0) {
        struct visit *top = &o->stack[depth - 1];
        const Onnx__NodeProto *proto = o->graph->node[top->node];
        if (top->operand == proto->n_input) {
            o->order[o->count++] = top->node;
            depth--;
            continue;
        }
        size_t maker = maker_of(o, proto->input[top->operand++]);
        if (maker != SIZE_MAX && !o->done[maker]) {
            o->done[maker] = true;
            o->stack[depth++] = (struct visit){.node = maker};
        }
    }
}

mtl_status onnx_order_nodes(onnx_importer *importer, const Onnx__GraphProto *graph, const size_t **order)
{
    orderer o = {.graph = graph,
                 .makers = {.arena = importer->arena},
                 .order = BASE_NEW_ARRAY(importer->arena, size_t, graph->n_node + 1),
                 .done = BASE_NEW_ARRAY(importer->arena, bool, graph->n_node + 1),
                 .stack = BASE_NEW_ARRAY(importer->arena, struct visit, graph->n_node + 1)};
    bool sound = false;
    BASE_TRY_MEMORY(o.order, importer->diag);
    BASE_TRY_MEMORY(o.done, importer->diag);
    BASE_TRY_MEMORY(o.stack, importer->diag);
    *order = NULL;
    if (graph->n_node > ONNX_MAX_NODES) {
        return MTL_OK;
    }
    BASE_TRY(find_makers(&o, importer->diag, &sound));
    if (!sound) {
        return MTL_OK;
    }
    for (size_t i = 0; i < graph->n_output; i++) {
        size_t maker = graph->output[i]->name != NULL ? maker_of(&o, graph->output[i]->name) : SIZE_MAX;
        if (maker != SIZE_MAX) {
            visit(&o, maker);
        }
    }
    for (size_t i = 0; i < graph->n_node; i++) {
        visit(&o, i);
    }
    *order = o.order;
    return MTL_OK;
}
