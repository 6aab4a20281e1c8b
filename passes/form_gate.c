/* A softmax and the weighted sum of experts that it is for become one mixture.
 *
 *     %g = softmax(%l) axis=1                     : f32[B, 2]
 *     %r = reshape(%g)                            : f32[B, 1, 2]
 *     %a = reshape(%e0)                           : f32[B, 1, 8]
 *     %b = reshape(%e1)                           : f32[B, 1, 8]
 *     %x = concat(%a, %b) axis=1                  : f32[B, 2, 8]
 *     %m = matmul(%r, %x)                         : f32[B, 1, 8]
 *     %y = reshape(%m)                            : f32[B, 8]
 *
 * and
 *
 *     %g = softmax(%l) axis=1                     : f32[B, 2]
 *     %p = slice(%g) starts=[0, 0] steps=[1, 1]   : f32[B, 1]
 *     %q = slice(%g) starts=[0, 1] steps=[1, 1]   : f32[B, 1]
 *     %u = mul(%p, %e0)                           : f32[B, 8]
 *     %v = mul(%e1, %q)                           : f32[B, 8]
 *     %y = add(%u, %v)                            : f32[B, 8]
 *
 * become
 *
 *     %w = reshape(%l)                            : f32[B, 1, 2]
 *     %x = concat(%a, %b) axis=1                  : f32[B, 2, 8]
 *     %m = mix(%w, %x) function="softmax" index=[0, 1] : f32[B, 1, 8]
 *     %y = reshape(%m)                            : f32[B, 8]
 *
 * and so do sums over an axis of products that broadcast, products of a transposed stack, and products for all tasks at
 * once, (B, T, E) by (B, E, H). The terms may come in any order. A softmax with other readers stays besides. Weights
 * that are no softmax over just the experts of one task, such as sigmoids, or a router that shares its probabilities
 * among all tasks, make a mixture with function "", of what they are.
 *
 * Left alone: candidates on another axis, integers, more than PASSES_MIXTURE_TERMS terms.
 */
#include <string.h>

#include "passes/mixture.h"
#include "passes/passes.h"
#include "passes/sums.h"

static const char fate[] = "part of a mixture of experts";

/* Rows along axis 0, columns along `column` where there are several, the first element of all other axes. */
static passes_strip strip_of(ir_value value, int column, int64_t length)
{
    return (passes_strip){.value = value, .row = 0, .column = length > 1 ? column : -1, .length = length};
}

/* --- products ------------------------------------------------------------------------------------------------ */

/* Axis 0, then axes of extent 1, then two. */
static bool is_batch_of_matrices(const ir_type *type)
{
    bool fits = type->rank >= 3 && ir_dtype_is_float(type->dtype);
    for (int axis = 1; axis < type->rank && fits; axis++) {
        fits = ir_dim_is_const(type->dim[axis]) && type->dim[axis].c >= 1 &&
               (axis >= type->rank - 2 || type->dim[axis].c == 1);
    }
    return fits;
}

/* The mixture that a product is. On the left, weights are (B, T, E) and values (B, E, H); on the right, values are
 * (B, H, E) and weights (B, E, T). */
static mtl_status read_product(passes_rewriter *r, const ir_node_info *node, bool left, passes_mixture *mixture,
                               bool *fits)
{
    ir_value w = node->inputs[left ? 0 : 1], x = node->inputs[left ? 1 : 0];
    const ir_type *weights = ir_type_of(r->graph, w), *values = ir_type_of(r->graph, x);
    int rank = weights->rank, task = left ? rank - 2 : rank - 1, expert = left ? rank - 1 : rank - 2;
    int of_values = left ? rank - 2 : rank - 1, column = left ? rank - 1 : rank - 2;
    int64_t tasks = weights->dim[task].c, experts = weights->dim[expert].c;
    BASE_TRY(passes_new_mixture(r, tasks, experts, mixture, fits));
    for (int64_t i = 0; *fits && i < tasks * experts; i++) {
        passes_strip *weight = &mixture->weights[i], *value = &mixture->values[i];
        *weight = strip_of(w, -1, 1);
        weight->at[task] = i / experts; /* for one task and one expert both are 0 */
        weight->at[expert] = i % experts;
        *value = strip_of(x, column, values->dim[column].c);
        value->at[of_values] = i % experts;
        passes_trace_strip(r->graph, weight);
        passes_trace_strip(r->graph, value);
    }
    return MTL_OK;
}

/* A sum for one task with weights that are no softmax: a dot product of two vectors is none, nor is attention. */
static bool is_plain_mixture(const passes_mixture *mixture)
{
    enum { EXPERTS = 64 };
    return mixture->tasks == 1 && mixture->experts > 1 && mixture->experts <= EXPERTS && mixture->values[0].length > 1;
}

/* The mix takes the place of `n`, of its result (B, T, H) or, if turned, (B, H, T), in whatever shape. */
static mtl_status finish(passes_rewriter *r, ir_node n, const passes_mixture *mixture, bool turned)
{
    ir_value mix, back;
    BASE_TRY(passes_insert_mix(r, n, mixture, &mix));
    if (turned && mixture->tasks > 1 && mixture->values[0].length > 1) {
        ir_attr perm = IR_INTS(perm, ((int64_t[]){0, 2, 1}), 3);
        BASE_TRY(passes_insert(r, n, IR_OP_transpose, NULL, &mix, 1, &perm, 1, NULL, &back));
        mix = back;
    }
    return passes_become(r, n, IR_OP_reshape, &mix, 1, NULL, 0, fate);
}

static mtl_status form_from_product(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    const ir_type *a = ir_type_of(r->graph, node->inputs[0]), *b = ir_type_of(r->graph, node->inputs[1]);
    if (!is_batch_of_matrices(a) || !is_batch_of_matrices(b) || a->rank != b->rank ||
        !ir_dim_equal(a->dim[0], b->dim[0]) || ir_is_const(r->graph, node->inputs[0]) ||
        ir_is_const(r->graph, node->inputs[1])) {
        return MTL_OK;
    }
    passes_mixture mixture[2];
    bool fits[2];
    for (int side = 0; side < 2; side++) {
        BASE_TRY(read_product(r, node, side == 0, &mixture[side], &fits[side]));
        if (fits[side] && passes_mixture_is_softmax(r->graph, &mixture[side])) {
            return finish(r, n, &mixture[side], side == 1);
        }
    }
    for (int side = 0; side < 2; side++) {
        if (fits[side] && is_plain_mixture(&mixture[side])) {
            return finish(r, n, &mixture[side], side == 1);
        }
    }
    return MTL_OK;
}

/* --- sums over an axis --------------------------------------------------------------------------------------- */

/* Axes of the terms: the rows, first or behind the experts; the tasks, in order, each in the weights too; the experts;
 * the columns. */
typedef struct sum_axes {
    int row, experts, column;
    int64_t tasks;
} sum_axes;

static bool read_axes(const ir_type *terms, const ir_type *weights, const ir_type *values, int along, sum_axes *axes)
{
    *axes = (sum_axes){.row = along == 0 ? 1 : 0, .experts = along, .column = -1, .tasks = 1};
    bool fits = weights->rank == terms->rank && values->rank == terms->rank;
    for (int axis = 0; axis < terms->rank && fits; axis++) {
        bool in_weights = ir_dim_equal(weights->dim[axis], terms->dim[axis]);
        bool in_values = ir_dim_equal(values->dim[axis], terms->dim[axis]);
        fits = axis == axes->row || (ir_dim_is_const(terms->dim[axis]) && terms->dim[axis].c >= 1);
        if (axis == axes->row || axis == along) {
            fits = fits && in_weights && in_values;
        } else if (!in_weights) {
            fits = fits && in_values && axes->column < 0;
            axes->column = axis;
        } else if (fits && terms->dim[axis].c > 1) {
            fits = terms->dim[axis].c <= PASSES_MIXTURE_TERMS / axes->tasks;
            axes->tasks *= fits ? terms->dim[axis].c : 1;
        }
    }
    for (int axis = axes->column + 1; axis < terms->rank && fits && axes->tasks > 1; axis++) {
        fits = axis == along || ir_dim_is(terms->dim[axis], 1); /* (B, T, H) and not (B, H, T) */
    }
    return fits && axes->column >= 0;
}

static mtl_status read_sum(passes_rewriter *r, ir_value weights, ir_value values, const ir_type *terms,
                           const sum_axes *axes, passes_mixture *mixture, bool *fits)
{
    int64_t experts = terms->dim[axes->experts].c;
    const ir_type *value_type = ir_type_of(r->graph, values);
    BASE_TRY(passes_new_mixture(r, axes->tasks, experts, mixture, fits));
    for (int64_t i = 0; *fits && i < axes->tasks * experts; i++) {
        passes_strip *weight = &mixture->weights[i], *value = &mixture->values[i];
        *weight = strip_of(weights, -1, 1);
        *value = strip_of(values, axes->column, terms->dim[axes->column].c);
        weight->row = value->row = axes->row;
        int64_t task = i / experts;
        for (int axis = terms->rank - 1; axis >= 0; axis--) {
            if (axis == axes->row || axis == axes->column || ir_dim_is(terms->dim[axis], 1)) {
                continue;
            }
            int64_t at = axis == axes->experts ? i % experts : task % terms->dim[axis].c;
            task = axis == axes->experts ? task : task / terms->dim[axis].c;
            weight->at[axis] = at;
            value->at[axis] = ir_dim_is(value_type->dim[axis], 1) ? 0 : at;
        }
        passes_trace_strip(r->graph, weight);
        passes_trace_strip(r->graph, value);
    }
    return MTL_OK;
}

static mtl_status form_from_sum(passes_rewriter *r, ir_node n)
{
    const ir_node_info *sum = ir_node_of(r->graph, n);
    const ir_node_info *mul = ir_producer_op(r->graph, sum->inputs[0], IR_OP_mul);
    const ir_attr *along = ir_find_attr(sum, IR_ATTR_axes);
    const ir_type *terms = ir_type_of(r->graph, sum->inputs[0]);
    if (mul == NULL || !passes_single_use(r, sum->inputs[0]) || along->count != 1 || !ir_dtype_is_float(terms->dtype)) {
        return MTL_OK;
    }
    for (uint32_t k = 0; k < 2; k++) {
        ir_value w = mul->inputs[k], x = mul->inputs[1 - k];
        sum_axes axes;
        passes_mixture mixture;
        bool fits;
        if (ir_is_const(r->graph, w) || ir_is_const(r->graph, x) ||
            !read_axes(terms, ir_type_of(r->graph, w), ir_type_of(r->graph, x), (int)along->ints[0], &axes)) {
            continue;
        }
        BASE_TRY(read_sum(r, w, x, terms, &axes, &mixture, &fits));
        if (fits && (passes_mixture_is_softmax(r->graph, &mixture) || is_plain_mixture(&mixture))) {
            return finish(r, n, &mixture, false);
        }
    }
    return MTL_OK;
}

/* --- one addition an expert ---------------------------------------------------------------------------------- */

/* One of the values that a tree of additions adds up, weight x value if it can be one of a mixture. */
typedef struct term {
    ir_value leaf;
    bool weighted, taken;
    passes_strip weight, value;
    ir_value mix; /* what stands for it and for others, at the first of them */
} term;

/* Rows along axis 0, columns along the last one, and nothing else. */
static bool is_matrix(const ir_type *type)
{
    bool fits = type->rank >= 2 && ir_dtype_is_float(type->dtype) && ir_dim_is_const(type->dim[type->rank - 1]) &&
                type->dim[type->rank - 1].c >= 1;
    for (int axis = 1; axis < type->rank - 1 && fits; axis++) {
        fits = ir_dim_is(type->dim[axis], 1);
    }
    return fits;
}

static void read_term(const passes_rewriter *r, const ir_type *type, term *t)
{
    const ir_node_info *mul = ir_producer_op(r->graph, t->leaf, IR_OP_mul);
    if (mul == NULL || !passes_single_use(r, t->leaf) || !ir_type_equal(ir_type_of(r->graph, t->leaf), type)) {
        return;
    }
    int last = type->rank - 1;
    for (uint32_t k = 0; k < 2; k++) {
        ir_value w = mul->inputs[k], x = mul->inputs[1 - k];
        ir_type column = *type;
        column.dim[last] = ir_dim_const(1);
        if (ir_is_const(r->graph, w) || ir_is_const(r->graph, x) || !ir_type_equal(ir_type_of(r->graph, w), &column) ||
            !ir_type_equal(ir_type_of(r->graph, x), type)) {
            continue;
        }
        passes_strip weight = strip_of(w, -1, 1);
        passes_trace_strip(r->graph, &weight);
        if (!t->weighted || ir_producer_op(r->graph, weight.value, IR_OP_softmax) != NULL) {
            t->weighted = true;
            t->weight = weight;
            t->value = strip_of(x, last, type->dim[last].c);
            passes_trace_strip(r->graph, &t->value);
        }
    }
}

/* Columns of one value; of one softmax, when `axis` is not -1, that runs along that axis. */
static bool same_gate(const ir_graph *graph, const passes_strip *a, const passes_strip *b, int axis)
{
    bool same = a->value == b->value && a->row == b->row;
    for (int i = 0; i < ir_type_of(graph, a->value)->rank && same && axis >= 0; i++) {
        same = i == axis || a->at[i] == b->at[i];
    }
    return same;
}

/* The terms whose weights stand with those of term `first`, as one mix. */
static mtl_status take_gate(passes_rewriter *r, ir_node n, term *terms, size_t count, size_t first, bool softmax,
                            bool *found)
{
    const ir_node_info *node = ir_producer_op(r->graph, terms[first].weight.value, IR_OP_softmax);
    int axis = softmax && node != NULL ? (int)ir_attr_int(node, IR_ATTR_axis) : -1;
    size_t members[PASSES_SUM_TERMS], experts = 0;
    for (size_t i = first; i < count; i++) {
        if (terms[i].weighted && !terms[i].taken && same_gate(r->graph, &terms[i].weight, &terms[first].weight, axis)) {
            members[experts++] = i;
        }
    }
    passes_mixture mixture;
    passes_strip run;
    int64_t order[PASSES_SUM_TERMS];
    bool fits;
    BASE_TRY(passes_new_mixture(r, 1, (int64_t)experts, &mixture, &fits));
    for (size_t i = 0; fits && i < experts; i++) {
        mixture.weights[i] = terms[members[i]].weight;
        mixture.values[i] = terms[members[i]].value;
    }
    fits = fits &&
           (softmax ? axis >= 0 && passes_mixture_is_softmax(r->graph, &mixture)
                    : is_plain_mixture(&mixture) && passes_find_run(r->graph, mixture.weights, experts, &run, order));
    if (!fits) {
        return MTL_OK;
    }
    for (size_t i = 0; i < experts; i++) {
        terms[members[i]].taken = true;
        BASE_TRY(passes_take_sources(r, n, ir_info(r->graph, terms[members[i]].leaf)->node));
    }
    *found = true;
    return passes_insert_mix(r, n, &mixture, &terms[first].mix);
}

/* `n`, the sum of the terms, adds up what stands for them. */
static mtl_status add_up(passes_rewriter *r, ir_node n, const term *terms, size_t count)
{
    ir_type type = *ir_type_of(r->graph, ir_node_of(r->graph, n)->outputs[0]);
    ir_value parts[PASSES_SUM_TERMS];
    size_t part_count = 0;
    for (size_t i = 0; i < count; i++) {
        ir_value value = terms[i].taken ? terms[i].mix : terms[i].leaf;
        if (value != 0 && !passes_const_is(r->graph, value, 0)) { /* the 0 that a loop begins with: a mix does too */
            parts[part_count++] = value;
        }
    }
    if (part_count == 1) {
        return passes_become(r, n, IR_OP_reshape, parts, 1, NULL, 0, fate);
    }
    ir_value sum = 0;
    for (size_t i = 0; i < part_count; i++) {
        ir_value part = parts[i];
        if (ir_producer_op(r->graph, part, IR_OP_mix) != NULL && !ir_type_equal(ir_type_of(r->graph, part), &type)) {
            BASE_TRY(passes_insert(r, n, IR_OP_reshape, NULL, &parts[i], 1, NULL, 0, &type, &part));
        }
        if (i == part_count - 1) {
            return passes_become(r, n, IR_OP_add, (ir_value[]){sum, part}, 2, NULL, 0, fate);
        }
        if (i == 0) {
            sum = part;
        } else {
            BASE_TRY(passes_insert(r, n, IR_OP_add, NULL, (ir_value[]){sum, part}, 2, NULL, 0, NULL, &sum));
        }
    }
    return MTL_OK;
}

static mtl_status form_from_terms(passes_rewriter *r, ir_node n, term *terms, size_t count, const ir_type *type,
                                  bool *found)
{
    for (size_t i = 0; i < count; i++) {
        read_term(r, type, &terms[i]);
    }
    for (int softmax = 1; softmax >= 0; softmax--) {
        for (size_t i = 0; i < count; i++) {
            if (terms[i].weighted && !terms[i].taken) {
                BASE_TRY(take_gate(r, n, terms, count, i, softmax != 0, found));
            }
        }
    }
    return MTL_OK;
}

static mtl_status form_from_additions(passes_rewriter *r, const passes_sums *sums, ir_node n)
{
    ir_value leaves[PASSES_SUM_TERMS];
    term terms[PASSES_SUM_TERMS];
    ir_type type = *ir_type_of(r->graph, ir_node_of(r->graph, n)->outputs[0]);
    bool found = false;
    size_t count = is_matrix(&type) ? passes_flatten_sum(r, sums, n, leaves) : 0;
    for (size_t i = 0; i < count; i++) {
        terms[i] = (term){.leaf = leaves[i]};
    }
    BASE_TRY(form_from_terms(r, n, terms, count, &type, &found));
    return found ? add_up(r, n, terms, count) : MTL_OK;
}

/* The same terms, stacked along an axis and summed over it: (B, E, H) or (E, B, H). */
static mtl_status form_from_stack(passes_rewriter *r, ir_node n)
{
    const ir_node_info *sum = ir_node_of(r->graph, n);
    const ir_attr *along = ir_find_attr(sum, IR_ATTR_axes);
    const ir_type *stack = ir_type_of(r->graph, sum->inputs[0]);
    if (ir_producer_op(r->graph, sum->inputs[0], IR_OP_concat) == NULL || along->count != 1 || stack->rank != 3 ||
        along->ints[0] == 2 || !passes_single_use(r, sum->inputs[0]) || !ir_dim_is_const(stack->dim[2])) {
        return MTL_OK;
    }
    int axis = (int)along->ints[0], row = 1 - axis;
    ir_type type = {.dtype = stack->dtype, .rank = 2, .dim = {stack->dim[row], stack->dim[2]}};
    int64_t count = ir_dim_is_const(stack->dim[axis]) ? stack->dim[axis].c : 0;
    term terms[PASSES_SUM_TERMS];
    if (!is_matrix(&type) || count > PASSES_SUM_TERMS) {
        return MTL_OK;
    }
    for (int64_t i = 0; i < count; i++) {
        passes_strip strip = strip_of(sum->inputs[0], 2, type.dim[1].c);
        strip.row = row;
        strip.at[axis] = i;
        passes_trace_strip(r->graph, &strip);
        if (!ir_type_equal(ir_type_of(r->graph, strip.value), &type)) {
            return MTL_OK;
        }
        terms[i] = (term){.leaf = strip.value};
    }
    bool found = false;
    BASE_TRY(form_from_terms(r, n, terms, (size_t)count, &type, &found));
    return found ? add_up(r, n, terms, (size_t)count) : MTL_OK;
}

/* --- the pass ------------------------------------------------------------------------------------------------ */

static mtl_status look(passes_rewriter *r, const passes_sums *sums, ir_node n)
{
    switch (ir_node_of(r->graph, n)->op) {
    case IR_OP_matmul: return form_from_product(r, n);
    case IR_OP_reduce_sum:
        BASE_TRY(form_from_sum(r, n));
        return ir_node_of(r->graph, n)->op == IR_OP_reduce_sum ? form_from_stack(r, n) : MTL_OK;
    case IR_OP_add: return form_from_additions(r, sums, n);
    default: return MTL_OK;
    }
}

mtl_status passes_form_gate(ir_graph *graph, base_diag *diag)
{
    return passes_each_sum(graph, diag, look);
}
