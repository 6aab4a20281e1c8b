/* Topological order. */
#include "ir/graph.h"

typedef enum mark { NEW, OPEN, PLACED } mark;

typedef struct sorter {
    ir_graph *graph;
    unsigned char *marks; /* by node */
    ir_node *stack;       /* nodes whose operands are being placed */
    uint32_t *operands;   /* how many of their operands are */
    size_t depth;
    ir_node last; /* placed */
} sorter;

static void place(sorter *s, ir_node node)
{
    ir_node_info *info = &s->graph->nodes[node];
    info->previous = s->last;
    info->next = 0;
    if (s->last != 0) {
        s->graph->nodes[s->last].next = node;
    } else {
        s->graph->first_node = node;
    }
    s->last = s->graph->last_node = node;
    s->marks[node] = PLACED;
}

static void push(sorter *s, ir_node node)
{
    s->marks[node] = OPEN;
    s->stack[s->depth] = node;
    s->operands[s->depth++] = 0;
}

/* The next operand of the topmost node whose own node is not placed; 0: none. */
static ir_node next_missing(sorter *s)
{
    const ir_node_info *info = &s->graph->nodes[s->stack[s->depth - 1]];
    for (uint32_t *i = &s->operands[s->depth - 1]; *i < info->input_count; (*i)++) {
        ir_node maker = info->inputs[*i] != 0 ? s->graph->values[info->inputs[*i]].node : 0;
        if (maker != 0 && s->marks[maker] != PLACED) {
            return maker;
        }
    }
    return 0;
}

static mtl_status place_with_operands(sorter *s, ir_node node, base_diag *diag)
{
    push(s, node);
    while (s->depth > 0) {
        ir_node missing = next_missing(s);
        if (missing == 0) {
            place(s, s->stack[--s->depth]);
        } else if (s->marks[missing] == OPEN) {
            return ir_fail(s->graph, missing, diag, MTL_INVALID_DATA, "its result depends on itself");
        } else {
            push(s, missing);
        }
    }
    return MTL_OK;
}

mtl_status ir_sort(ir_graph *graph, base_diag *diag)
{
    base_arena scratch = {0};
    sorter s = {.graph = graph,
                .marks = BASE_NEW_ARRAY(&scratch, unsigned char, graph->node_count),
                .stack = BASE_NEW_ARRAY(&scratch, ir_node, graph->node_count),
                .operands = BASE_NEW_ARRAY(&scratch, uint32_t, graph->node_count)};
    ir_node *order = BASE_NEW_ARRAY(&scratch, ir_node, graph->node_count);
    mtl_status status = MTL_OK;
    if (s.marks == NULL || s.stack == NULL || s.operands == NULL || order == NULL) {
        status = base_fail_memory(diag);
    } else {
        size_t count = 0;
        for (ir_node node = graph->first_node; node != 0; node = graph->nodes[node].next) {
            order[count++] = node;
        }
        for (size_t i = 0; i < count && status == MTL_OK; i++) {
            status = s.marks[order[i]] == NEW ? place_with_operands(&s, order[i], diag) : MTL_OK;
        }
    }
    base_arena_free(&scratch);
    return status;
}
