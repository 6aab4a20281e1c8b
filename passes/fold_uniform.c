/* Values that are the same for every candidate, though they have the candidates' axis, are computed once: exporters expand
 * parameters to the batch before they compute with them.
 *
 *     const %c : f32[1, 2] = [1, 3]
 *     %e = expand(%c)                             : f32[B, 2]
 *     %s = softmax(%e) axis=1                     : f32[B, 2]
 *     %y = mul(%x, %s)                            : f32[B, 2]
 *
 * becomes
 *
 *     const %s.1 : f32[1, 2] = [0.119, 0.881]
 *     %s.2 = expand(%s.1)                         : f32[B, 2]
 *     %y = mul(%x, %s.2)                          : f32[B, 2]
 *
 * and readers that broadcast then do without the expand (`remove_identities`). What depends on constants only, and whose
 * elements belong to one candidate each (ir/rate.c), is evaluated for a batch of one. Where the axis is a x B x c, the
 * candidate's a x c numbers are spread before the two meet. A recurrent layer whose state before the first
 * step is zeros does without it.
 */
#include <string.h>

#include "passes/passes.h"
#include "passes/rewrite.h"

typedef struct uniform {
    passes_rewriter r;
    const ir_tensor **tensors; /* by value: its numbers for a batch of one; NULL: not the same for all */
    bool *needed;              /* by value: something that stays reads it */
} uniform;

static const size_t most_elements = (size_t)1 << 24; /* of one candidate */

/* The type for a batch of one is fixed and not large. */
static bool fits(const ir_type *type)
{
    size_t count = 1;
    for (int i = 0; i < type->rank; i++) {
        int64_t extent;
        static const int64_t one[IR_MAX_SYMBOLS] = {[IR_SYMBOL_ROWS] = 1};
        for (int s = 0; s < IR_MAX_SYMBOLS; s++) {
            if (s != IR_SYMBOL_ROWS && type->dim[i].k[s] != 0) {
                return false;
            }
        }
        if (!ir_dim_eval(type->dim[i], one, &extent) || extent < 1 ||
            __builtin_mul_overflow(count, (size_t)extent, &count) || count > most_elements) {
            return false;
        }
    }
    return true;
}

static const ir_tensor *numbers_of(const uniform *u, ir_value value)
{
    return ir_is_const(u->r.graph, value) ? ir_info(u->r.graph, value)->tensor : u->tensors[value];
}

/* Evaluates a node for one candidate, if all that it reads is the same for all. */
static mtl_status evaluate(uniform *u, ir_node n)
{
    static const int64_t one[IR_MAX_SYMBOLS] = {1, 1, 1, 1};
    const ir_graph *graph = u->r.graph;
    const ir_node_info *node = ir_node_of(graph, n);
    const ir_value_info *result = ir_info(graph, node->outputs[0]);
    if (node->output_count != 1 || node->input_count == 0 || result->rate.kind != IR_RATE_ROW || !fits(&result->type)) {
        return MTL_OK;
    }
    const ir_tensor **inputs = BASE_NEW_ARRAY(&u->r.scratch, const ir_tensor *, node->input_count);
    BASE_TRY_MEMORY(inputs, u->r.diag);
    for (uint32_t i = 0; i < node->input_count; i++) {
        inputs[i] = node->inputs[i] != 0 ? numbers_of(u, node->inputs[i]) : NULL;
        if (node->inputs[i] != 0 && (inputs[i] == NULL || !fits(ir_type_of(graph, node->inputs[i])))) {
            return MTL_OK;
        }
    }
    ir_tensor *tensor = BASE_NEW_ARRAY(&u->r.scratch, ir_tensor, 1);
    BASE_TRY_MEMORY(tensor, u->r.diag);
    BASE_TRY(ir_eval_node(graph, n, inputs, one, &u->r.scratch, u->r.diag, tensor));
    u->tensors[node->outputs[0]] = tensor;
    return MTL_OK;
}

static bool is_zero(const ir_tensor *tensor)
{
    for (size_t i = 0; i < tensor->count; i++) {
        if (ir_tensor_at(tensor, i) != 0) {
            return false;
        }
    }
    return true;
}

static mtl_status drop_zero_state(uniform *u, ir_node n)
{
    const ir_node_info *node = ir_node_of(u->r.graph, n);
    ir_value state = node->op == IR_OP_gru ? ir_operand(node, 3) : 0;
    if (state == 0 || numbers_of(u, state) == NULL || !is_zero(numbers_of(u, state))) {
        return MTL_OK;
    }
    ir_value inputs[3] = {node->inputs[0], node->inputs[1], node->inputs[2]};
    return passes_set_inputs(&u->r, n, inputs, inputs[2] != 0 ? 3 : 2, "a state of zeros");
}

/* A constant of the numbers for a batch of one, with the extents around the candidates' axis apart where `wide`. */
static mtl_status add_numbers(uniform *u, ir_value like, bool wide, ir_value *value)
{
    ir_tensor copy = *u->tensors[like];
    const ir_rate *rate = &ir_info(u->r.graph, like)->rate;
    base_arena *arena = u->r.graph->arena;
    if (copy.f != NULL) {
        copy.f = base_arena_copy(arena, copy.f, copy.count * sizeof *copy.f);
        BASE_TRY_MEMORY(copy.f, u->r.diag);
    } else if (copy.i != NULL) {
        copy.i = base_arena_copy(arena, copy.i, copy.count * sizeof *copy.i);
        BASE_TRY_MEMORY(copy.i, u->r.diag);
    }
    if (wide) {
        memmove(&copy.shape[rate->axis + 3], &copy.shape[rate->axis + 1],
                (size_t)(copy.rank - rate->axis - 1) * sizeof copy.shape[0]);
        copy.shape[rate->axis] = rate->before;
        copy.shape[rate->axis + 1] = 1;
        copy.shape[rate->axis + 2] = rate->after;
        copy.rank += 2;
    }
    return passes_add_const(&u->r, ir_info(u->r.graph, like)->name, &copy, value);
}

/* The numbers of `result` for all candidates: (.., a x c, ..) for one becomes (.., a x B x c, ..). */
static mtl_status spread(uniform *u, ir_node before, ir_value result, ir_value *value)
{
    const ir_type type = *ir_type_of(u->r.graph, result);
    const ir_rate rate = ir_info(u->r.graph, result)->rate;
    bool wide = rate.before != 1 || rate.after != 1;
    ir_value numbers;
    BASE_TRY(add_numbers(u, result, wide, &numbers));
    if (!wide) {
        return passes_insert(&u->r, before, IR_OP_expand, NULL, &numbers, 1, NULL, 0, &type, value);
    }
    ir_type apart = *ir_type_of(u->r.graph, numbers);
    apart.dim[rate.axis + 1] = ir_dim_symbol(IR_SYMBOL_ROWS);
    BASE_TRY(passes_insert(&u->r, before, IR_OP_expand, NULL, &numbers, 1, NULL, 0, &apart, &numbers));
    return passes_insert(&u->r, before, IR_OP_reshape, NULL, &numbers, 1, NULL, 0, &type, value);
}

/* An expand of a constant is the form that others get; so is the reshape behind it. */
static bool is_spread(const ir_graph *graph, const ir_node_info *node)
{
    if (node->op == IR_OP_reshape && ir_producer_op(graph, node->inputs[0], IR_OP_expand) != NULL) {
        node = ir_producer(graph, node->inputs[0]);
    }
    return node->op == IR_OP_expand && node->input_count == 1 && ir_is_const(graph, node->inputs[0]);
}

/* From the last node to the first: what stays needs its operands; of the rest, what is needed becomes numbers. */
static mtl_status settle(uniform *u, ir_node n)
{
    ir_graph *graph = u->r.graph;
    BASE_TRY(drop_zero_state(u, n));
    const ir_node_info *node = ir_node_of(graph, n);
    ir_value result = node->outputs[0], value;
    const ir_rate *rate = &ir_info(graph, result)->rate;
    bool known = u->tensors[result] != NULL && !is_spread(graph, node) &&
                 (ir_type_of(graph, result)->rank + 2 <= MTL_MAX_RANK || (rate->before == 1 && rate->after == 1));
    if (!known) {
        for (uint32_t i = 0; i < node->input_count; i++) {
            u->needed[node->inputs[i]] = true;
        }
        return MTL_OK;
    }
    if (!u->needed[result]) {
        return MTL_OK;
    }
    BASE_TRY(spread(u, n, result, &value));
    passes_substitute(&u->r, result, value, "the same for all candidates, computed once");
    return MTL_OK;
}

static mtl_status fold(uniform *u)
{
    ir_graph *graph = u->r.graph;
    u->tensors = BASE_NEW_ARRAY(&u->r.scratch, const ir_tensor *, graph->value_count);
    BASE_TRY_MEMORY(u->tensors, u->r.diag);
    u->needed = BASE_NEW_ARRAY(&u->r.scratch, bool, graph->value_count);
    BASE_TRY_MEMORY(u->needed, u->r.diag);
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        BASE_TRY(evaluate(u, n));
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        u->needed[graph->outputs[i].value] = true;
    }
    for (ir_node n = graph->last_node, previous; n != 0; n = previous) {
        previous = ir_node_of(graph, n)->previous;
        BASE_TRY(settle(u, n));
    }
    return MTL_OK;
}

mtl_status passes_fold_uniform(ir_graph *graph, base_diag *diag)
{
    uniform u;
    BASE_TRY(ir_infer_rates(graph, diag));
    BASE_TRY(passes_begin(graph, diag, &u.r));
    mtl_status status = fold(&u);
    return status != MTL_OK ? passes_abandon(&u.r, status) : passes_end(&u.r);
}
