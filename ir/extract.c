/* A part of a graph as a graph of its own. */
#include "ir/graph.h"

#include <string.h>

typedef struct extraction {
    const ir_graph *from;
    ir_graph *to;
    base_diag *diag;
    bool *needed;     /* by node */
    ir_value *mapped; /* by value of `from`: the same in `to`, 0: not there */
} extraction;

/* From the last node to the first: what an output or a needed node reads, up to the inputs of the part. */
static mtl_status find_needed(extraction *e, const ir_port *outputs, size_t output_count)
{
    const ir_graph *from = e->from;
    bool *read = BASE_NEW_ARRAY(from->arena, bool, from->value_count);
    BASE_TRY_MEMORY(read, e->diag);
    for (size_t i = 0; i < output_count; i++) {
        read[outputs[i].value] = true;
    }
    for (ir_node n = from->last_node; n != 0; n = ir_node_of(from, n)->previous) {
        const ir_node_info *node = ir_node_of(from, n);
        for (uint32_t i = 0; i < node->output_count; i++) {
            e->needed[n] |= read[node->outputs[i]] && e->mapped[node->outputs[i]] == 0;
        }
        for (uint32_t i = 0; i < node->input_count && e->needed[n]; i++) {
            read[node->inputs[i]] = true;
        }
    }
    for (uint32_t i = 0; i < from->param_count; i++) { /* in their order; a part has those that it reads */
        const ir_value_info *param = ir_info(from, from->params[i]);
        if (read[from->params[i]]) {
            BASE_TRY(ir_add_param(e->to, param->name, param->tensor, e->diag, &e->mapped[from->params[i]]));
        }
    }
    return MTL_OK;
}

static mtl_status copy_sources(extraction *e)
{
    const ir_graph *from = e->from;
    e->to->sources = base_arena_copy(from->arena, from->sources, from->source_count * sizeof *from->sources);
    BASE_TRY_MEMORY(e->to->sources, e->diag);
    e->to->source_count = e->to->source_capacity = from->source_count;
    return MTL_OK;
}

static mtl_status map_operand(extraction *e, ir_value value, ir_value *mapped)
{
    if (value != 0 && e->mapped[value] == 0) {
        const ir_value_info *info = ir_info(e->from, value);
        if (info->kind != IR_VALUE_CONST) {
            return base_fail(e->diag, MTL_INTERNAL, "a part of the graph lacks '%s'", info->name);
        }
        BASE_TRY(ir_add_const(e->to, info->name, info->tensor, e->diag, &e->mapped[value]));
    }
    *mapped = e->mapped[value];
    return MTL_OK;
}

static mtl_status copy_node(extraction *e, ir_node n)
{
    const ir_node_info *node = ir_node_of(e->from, n);
    const ir_value_info *result = ir_info(e->from, node->outputs[0]);
    ir_value *inputs = BASE_NEW_ARRAY(e->to->arena, ir_value, node->input_count);
    BASE_TRY_MEMORY(inputs, e->diag);
    for (uint32_t i = 0; i < node->input_count; i++) {
        BASE_TRY(map_operand(e, node->inputs[i], &inputs[i]));
    }
    BASE_TRY(ir_insert_typed(e->to, 0, node->op, result->name, inputs, node->input_count, node->attrs, node->attr_count,
                             &result->type, e->diag, &e->mapped[node->outputs[0]]));
    return ir_set_sources(e->to, e->to->last_node, node->sources, node->source_count, e->diag);
}

static mtl_status fill(extraction *e, const ir_port *inputs, size_t input_count, const ir_port *outputs,
                       size_t output_count)
{
    const ir_graph *from = e->from;
    for (size_t i = 0; i < input_count; i++) {
        ir_value *mapped = &e->mapped[inputs[i].value];
        BASE_TRY(ir_add_input(e->to, inputs[i].name, ir_type_of(from, inputs[i].value), e->diag, mapped));
        BASE_TRY(inputs[i].per_user ? ir_set_per_user(e->to, *mapped, e->diag) : MTL_OK);
    }
    BASE_TRY(find_needed(e, outputs, output_count));
    BASE_TRY(copy_sources(e));
    for (ir_node n = from->first_node; n != 0; n = ir_node_of(from, n)->next) {
        BASE_TRY(e->needed[n] ? copy_node(e, n) : MTL_OK);
    }
    for (size_t i = 0; i < output_count; i++) {
        ir_value value;
        BASE_TRY(map_operand(e, outputs[i].value, &value));
        BASE_TRY(ir_add_output(e->to, outputs[i].name, value, e->diag));
    }
    return MTL_OK;
}

mtl_status ir_extract(const ir_graph *graph, const char *name, const ir_port *inputs, size_t input_count,
                      const ir_port *outputs, size_t output_count, base_diag *diag, ir_graph **part)
{
    extraction e = {.from = graph, .diag = diag};
    e.needed = BASE_NEW_ARRAY(graph->arena, bool, graph->node_count);
    BASE_TRY_MEMORY(e.needed, diag);
    e.mapped = BASE_NEW_ARRAY(graph->arena, ir_value, graph->value_count);
    BASE_TRY_MEMORY(e.mapped, diag);
    BASE_TRY(ir_graph_new(graph->arena, diag, &e.to));
    e.to->name = name;
    e.to->symbols = graph->symbols;
    e.to->fold_byte_budget = graph->fold_byte_budget;
    BASE_TRY(fill(&e, inputs, input_count, outputs, output_count));
    *part = e.to;
    return MTL_OK;
}
