#include "passes/mixture.h"

#include <string.h>

mtl_status passes_new_mixture(passes_rewriter *r, int64_t tasks, int64_t experts, passes_mixture *mixture, bool *fits)
{
    *fits = tasks >= 1 && experts >= 1 && experts <= PASSES_MIXTURE_TERMS && tasks <= PASSES_MIXTURE_TERMS / experts;
    if (!*fits) {
        return MTL_OK;
    }
    size_t terms = (size_t)(tasks * experts);
    *mixture = (passes_mixture){.tasks = tasks,
                                .experts = experts,
                                .weights = BASE_NEW_ARRAY(&r->scratch, passes_strip, terms),
                                .values = BASE_NEW_ARRAY(&r->scratch, passes_strip, terms)};
    BASE_TRY_MEMORY(mixture->weights, r->diag);
    BASE_TRY_MEMORY(mixture->values, r->diag);
    return MTL_OK;
}

void passes_note(ir_graph *graph, const ir_node_info *node, const char *note)
{
    for (uint32_t i = 0; i < node->source_count; i++) {
        ir_source *source = &graph->sources[node->sources[i]];
        source->note = source->note == NULL ? note : source->note;
    }
}

/* The logits of a gate as a strip, when columns [0, experts) of `run` are all that a softmax has along its axis. */
static bool through_softmax(const ir_graph *graph, passes_strip *run, ir_node *softmax)
{
    const ir_node_info *node = ir_producer_op(graph, run->value, IR_OP_softmax);
    if (node == NULL) {
        return false;
    }
    int axis = (int)ir_attr_int(node, IR_ATTR_axis);
    bool whole = axis != run->row && run->at[axis] == 0 && (run->length == 1 || axis == run->column) &&
                 ir_dim_is(ir_type_of(graph, run->value)->dim[axis], run->length);
    if (whole) {
        *softmax = ir_info(graph, run->value)->node;
        run->value = node->inputs[0];
        run->column = run->length == 1 ? -1 : axis;
        passes_trace_strip(graph, run);
    }
    return whole;
}

/* A gate: its logits, where the weight of each term is in them, and the node that makes shares of them. */
static bool find_gate(const ir_graph *graph, const passes_mixture *mixture, int64_t task, passes_strip *logits,
                      int64_t *order, ir_node *softmax)
{
    const passes_strip *own = mixture->weights + task * mixture->experts;
    return passes_find_run(graph, own, (size_t)mixture->experts, logits, order) &&
           through_softmax(graph, logits, softmax);
}

bool passes_mixture_is_softmax(const ir_graph *graph, const passes_mixture *mixture)
{
    int64_t order[PASSES_MIXTURE_TERMS];
    passes_strip logits;
    ir_node softmax;
    bool all = mixture->weights != NULL;
    for (int64_t task = 0; task < mixture->tasks && all; task++) {
        all = find_gate(graph, mixture, task, &logits, order, &softmax);
    }
    return all;
}

/* The logits of all gates side by side. */
static mtl_status join_logits(passes_rewriter *r, ir_node before, const passes_mixture *mixture, int64_t *order,
                              ir_node *softmaxes, ir_value *weights)
{
    size_t tasks = (size_t)mixture->tasks;
    passes_strip *logits = BASE_NEW_ARRAY(&r->scratch, passes_strip, tasks);
    BASE_TRY_MEMORY(logits, r->diag);
    for (size_t task = 0; task < tasks; task++) {
        if (!find_gate(r->graph, mixture, (int64_t)task, &logits[task], order + task * (size_t)mixture->experts,
                       &softmaxes[task])) {
            return base_fail(r->diag, MTL_INTERNAL, "a gate that is none");
        }
    }
    return passes_join_strips(r, before, logits, tasks, mixture->tasks, mixture->experts, weights);
}

static void explain_refusal(ir_graph *graph, ir_value weights)
{
    const ir_node_info *node = ir_producer(graph, weights);
    if (node != NULL && node->op == IR_OP_softmax) {
        passes_note(graph, node,
                    "stays a step: it does not run over just the experts of one task, so it is no part of the mixture "
                    "that reads it");
    } else if (node != NULL && node->op == IR_OP_cast && ir_producer_op(graph, node->inputs[0], IR_OP_softmax)) {
        passes_note(graph, node,
                    "rounds the softmax before it, which therefore is no part of the mixture that follows");
    }
}

/* The weights as they are: the columns of one value where they are that, else each for itself. */
static mtl_status join_weights(passes_rewriter *r, ir_node before, const passes_mixture *mixture, int64_t *order,
                               ir_value *weights)
{
    size_t experts = (size_t)mixture->experts, count = 0;
    passes_strip *pieces = BASE_NEW_ARRAY(&r->scratch, passes_strip, (size_t)mixture->tasks * experts);
    BASE_TRY_MEMORY(pieces, r->diag);
    for (size_t task = 0; task < (size_t)mixture->tasks; task++) {
        const passes_strip *own = mixture->weights + task * experts;
        explain_refusal(r->graph, own->value);
        if (passes_find_run(r->graph, own, experts, &pieces[count], order + task * experts)) {
            count++;
            continue;
        }
        for (size_t e = 0; e < experts; e++) {
            pieces[count++] = own[e];
            order[task * experts + e] = (int64_t)e;
        }
    }
    return passes_join_strips(r, before, pieces, count, mixture->tasks, mixture->experts, weights);
}

static mtl_status constant_weights(passes_rewriter *r, const passes_mixture *mixture, mtl_dtype dtype, int64_t *order,
                                   ir_value *weights)
{
    size_t terms = (size_t)(mixture->tasks * mixture->experts);
    const double *numbers = base_arena_copy(r->graph->arena, mixture->constant, terms * sizeof *numbers);
    BASE_TRY_MEMORY(numbers, r->diag);
    ir_tensor tensor = {
        .dtype = dtype, .rank = 3, .shape = {1, mixture->tasks, mixture->experts}, .count = terms, .f = numbers};
    for (size_t i = 0; i < terms; i++) {
        order[i] = (int64_t)(i % (size_t)mixture->experts);
    }
    return passes_add_const(r, "weights", &tensor, weights);
}

mtl_status passes_insert_mix(passes_rewriter *r, ir_node before, const passes_mixture *mixture, ir_value *result)
{
    size_t terms = (size_t)(mixture->tasks * mixture->experts), experts = (size_t)mixture->experts;
    bool softmax = passes_mixture_is_softmax(r->graph, mixture);
    int64_t *order = BASE_NEW_ARRAY(&r->scratch, int64_t, terms);
    int64_t *numbers = BASE_NEW_ARRAY(&r->scratch, int64_t, terms),
            *index = BASE_NEW_ARRAY(&r->scratch, int64_t, terms);
    ir_node *softmaxes = BASE_NEW_ARRAY(&r->scratch, ir_node, (size_t)mixture->tasks);
    BASE_TRY_MEMORY(order, r->diag);
    BASE_TRY_MEMORY(numbers, r->diag);
    BASE_TRY_MEMORY(index, r->diag);
    BASE_TRY_MEMORY(softmaxes, r->diag);
    ir_value operands[2];
    if (softmax) {
        BASE_TRY(join_logits(r, before, mixture, order, softmaxes, &operands[0]));
    } else if (mixture->weights != NULL) {
        BASE_TRY(join_weights(r, before, mixture, order, &operands[0]));
    } else {
        mtl_dtype dtype = ir_type_of(r->graph, mixture->values[0].value)->dtype;
        BASE_TRY(constant_weights(r, mixture, dtype, order, &operands[0]));
    }
    BASE_TRY(passes_stack_strips(r, before, mixture->values, terms, &operands[1], numbers));
    for (size_t i = 0; i < terms; i++) {
        index[i / experts * experts + (size_t)order[i]] = numbers[i];
    }
    ir_attr attrs[2] = {IR_STRING(function, softmax ? "softmax" : ""), IR_INTS(index, index, terms)};
    BASE_TRY(passes_insert(r, before, IR_OP_mix, NULL, operands, 2, attrs, 2, NULL, result));
    for (int64_t task = 0; softmax && task < mixture->tasks; task++) {
        BASE_TRY(passes_take_sources(r, ir_info(r->graph, *result)->node, softmaxes[task]));
    }
    return MTL_OK;
}
