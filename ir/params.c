/* Which param a value is made of. */
#include "ir/graph.h"

typedef struct search {
    const ir_graph *graph;
    bool *seen;
    ir_value *stack;
    size_t depth;
} search;

static void visit(search *s, ir_value value)
{
    if (value != 0 && !s->seen[value]) {
        s->seen[value] = true;
        s->stack[s->depth++] = value; /* each value once: there is room */
    }
}

ir_value ir_param_behind(const ir_graph *graph, ir_value value)
{
    if (graph->param_count == 0) {
        return 0;
    }
    search s = {.graph = graph,
                .seen = BASE_NEW_ARRAY(graph->arena, bool, graph->value_count),
                .stack = BASE_NEW_ARRAY(graph->arena, ir_value, graph->value_count)};
    if (s.seen == NULL || s.stack == NULL) {
        return 0;
    }
    ir_value param = 0;
    for (visit(&s, value); s.depth > 0;) {
        ir_value at = s.stack[--s.depth];
        ir_value_kind kind = ir_info(graph, at)->kind;
        if (kind == IR_VALUE_INPUT) {
            return 0;
        }
        param = param == 0 && kind == IR_VALUE_PARAM ? at : param;
        const ir_node_info *producer = ir_producer(graph, at);
        for (uint32_t i = 0; producer != NULL && i < producer->input_count; i++) {
            visit(&s, producer->inputs[i]);
        }
    }
    return param;
}
