/* Attention becomes one node, however it is written.
 *
 *     %qh = transpose(%q4) perm=[0, 2, 1, 3]      : f32[B, 4, 50, 8]      with q4 (B, 50, 4, 8), a reshape of q
 *     %kh = transpose(%k4) perm=[0, 2, 3, 1]      : f32[B, 4, 8, 50]
 *     %s = matmul(%qh, %kh)                       : f32[B, 4, 50, 50]
 *     %m = where(%keep, %s, %low)                 : f32[B, 4, 50, 50]
 *     %p = softmax(%m) axis=3                     : f32[B, 4, 50, 50]
 *     %y = matmul(%p, %vh)                        : f32[B, 4, 50, 8]
 *
 * becomes
 *
 *     %a = attention(%q, %k, %v, _, %keep)        : f32[B, 50, 32]
 *     %r = reshape(%a)                            : f32[B, 50, 4, 8]
 *     %y = transpose(%r) perm=[0, 2, 1, 3]        : f32[B, 4, 50, 8]
 *
 * whose moves cancel with those that follow. The heads of a position lie side by side in q, k and v, as layers give them;
 * from which columns on is an attribute, so that one layer gives all three: those of one value are joined. Between the products stand any moves, a
 * scale (of the scores, or of q and k), masks that are added or chosen by, and after the softmax what makes zeros of
 * queries without keys. Either product may have its operands the other way round.
 */
#include <math.h>
#include <string.h>

#include "passes/attention.h"
#include "passes/passes.h"

static const char fate[] = "part of an attention";

/* --- from the shares up to the scores ------------------------------------------------------------------------- */

/* Whether `value`, or what it is a function of, is a product of two matrices, through what may stand in between. */
static bool leads_to_product(passes_rewriter *r, ir_value value, int depth)
{
    const ir_node_info *node = ir_producer(r->graph, passes_resolve(r, value));
    if (node == NULL || depth == 0) {
        return false;
    }
    ir_value moved = passes_moved(r->graph, node);
    switch (node->op) {
    case IR_OP_matmul: return true;
    case IR_OP_mul:
    case IR_OP_div:
    case IR_OP_add:
    case IR_OP_sub:
        return leads_to_product(r, node->inputs[0], depth - 1) || leads_to_product(r, node->inputs[1], depth - 1);
    case IR_OP_where:
        return leads_to_product(r, node->inputs[1], depth - 1) || leads_to_product(r, node->inputs[2], depth - 1);
    default: return moved != 0 && leads_to_product(r, moved, depth - 1);
    }
}

static bool of_same_type(const passes_rewriter *r, ir_value a, ir_value b)
{
    return ir_type_equal(ir_type_of(r->graph, a), ir_type_of(r->graph, b));
}

static passes_link *new_link(passes_attention *a, const ir_node_info *node, passes_link_kind kind)
{
    if (a->link_count == PASSES_ATTENTION_LINKS) {
        return NULL;
    }
    passes_link *link = &a->links[a->link_count++];
    *link = (passes_link){.node = node, .result = node->outputs[0], .kind = kind};
    return link;
}

/* The scores behind a mask that is added: one operand leads to the product, the other is the mask. */
static ir_value step_over_sum(passes_rewriter *r, passes_attention *a, const ir_node_info *node)
{
    for (uint32_t k = 0; k < (node->op == IR_OP_add ? 2 : 1); k++) {
        ir_value scores = passes_resolve(r, node->inputs[k]);
        if (of_same_type(r, scores, node->outputs[0]) && leads_to_product(r, scores, PASSES_ATTENTION_LINKS)) {
            passes_link *link = new_link(a, node, PASSES_LINK_BIAS);
            if (link == NULL) {
                return 0;
            }
            link->mask = passes_resolve(r, node->inputs[1 - k]);
            link->negated = node->op == IR_OP_sub;
            return scores;
        }
    }
    return 0;
}

/* The scores behind a choice between them and a number. */
static ir_value step_over_choice(passes_rewriter *r, passes_attention *a, const ir_node_info *node)
{
    for (uint32_t k = 1; k <= 2; k++) {
        double fill;
        ir_value scores = passes_resolve(r, node->inputs[k]);
        if (of_same_type(r, scores, node->outputs[0]) &&
            ir_const_scalar(r->graph, passes_resolve(r, node->inputs[3 - k]), &fill) && !isnan(fill)) {
            passes_link *link = new_link(a, node, PASSES_LINK_KEEP);
            if (link == NULL) {
                return 0;
            }
            link->mask = passes_resolve(r, node->inputs[0]);
            link->negated = k == 2;
            link->number = fill;
            return scores;
        }
    }
    return 0;
}

/* One step up from what `node` makes, which is recorded; 0: there is none. */
static ir_value step_up(passes_rewriter *r, passes_attention *a, const ir_node_info *node)
{
    ir_value operand = passes_moved(r->graph, node);
    double factor;
    if (operand != 0) {
        return new_link(a, node, PASSES_LINK_MOVE) != NULL ? passes_resolve(r, operand) : 0;
    }
    if (passes_scales(r, node, &operand, &factor)) {
        passes_link *link = new_link(a, node, PASSES_LINK_SCALE);
        if (link != NULL) {
            link->number = factor;
        }
        return link != NULL ? operand : 0;
    }
    switch (node->op) {
    case IR_OP_add:
    case IR_OP_sub: return step_over_sum(r, a, node);
    case IR_OP_where: return step_over_choice(r, a, node);
    default: return 0;
    }
}

/* The softmax behind `value`, through moves and one choice that makes zeros of some of the shares. */
static const ir_node_info *find_softmax(passes_rewriter *r, passes_attention *a, ir_value value)
{
    const ir_graph *graph = r->graph;
    const ir_node_info *guard = NULL, *node;
    while ((node = ir_producer(graph, value)) != NULL && node->op != IR_OP_softmax) {
        ir_value moved = passes_moved(graph, node);
        if (moved != 0 && new_link(a, node, PASSES_LINK_MOVE) != NULL) {
            value = passes_resolve(r, moved);
        } else if (guard == NULL && node->op == IR_OP_where &&
                   passes_const_is(graph, passes_resolve(r, node->inputs[1]), 0) &&
                   of_same_type(r, passes_resolve(r, node->inputs[2]), node->outputs[0])) {
            guard = node;
            value = passes_resolve(r, node->inputs[2]);
        } else {
            return NULL;
        }
    }
    a->empty = "nan";
    if (node == NULL || guard == NULL) {
        return node;
    }
    const ir_node_info *test = ir_producer(graph, passes_resolve(r, guard->inputs[0]));
    if (test != NULL && test->op == IR_OP_isnan && passes_resolve(r, test->inputs[0]) == node->outputs[0]) {
        a->empty = "nan_is_zero";
        return node;
    }
    /* equal(reduce_max(scores), -infinity) */
    const ir_node_info *most =
        test != NULL && test->op == IR_OP_equal ? ir_producer(graph, passes_resolve(r, test->inputs[0])) : NULL;
    bool none = most != NULL && most->op == IR_OP_reduce_max && ir_attr_int(most, IR_ATTR_keepdims) != 0 &&
                passes_resolve(r, most->inputs[0]) == passes_resolve(r, node->inputs[0]) &&
                passes_const_is(graph, passes_resolve(r, test->inputs[1]), -INFINITY);
    const ir_attr *axes = none ? ir_find_attr(most, IR_ATTR_axes) : NULL;
    a->empty = "zero";
    return axes != NULL && axes->count == 1 && axes->ints[0] == ir_attr_int(node, IR_ATTR_axis) ? node : NULL;
}

/* All from the shares `p` up to the product of queries and keys. */
static bool find_scores(passes_rewriter *r, passes_attention *a, ir_value p)
{
    const ir_node_info *softmax = find_softmax(r, a, passes_resolve(r, p)), *node;
    if (softmax == NULL || new_link(a, softmax, PASSES_LINK_SOFTMAX) == NULL) {
        return false;
    }
    uint32_t readers = strcmp(a->empty, "nan_is_zero") == 0 ? 2 : 1;
    ir_value value = passes_resolve(r, softmax->inputs[0]);
    if (r->uses[softmax->outputs[0]] != readers || !leads_to_product(r, value, PASSES_ATTENTION_LINKS)) {
        return false;
    }
    while ((node = ir_producer(r->graph, value)) != NULL && node->op != IR_OP_matmul) {
        value = step_up(r, a, node);
        if (value == 0) {
            return false;
        }
    }
    a->product = node;
    a->scores = node != NULL ? node->outputs[0] : 0;
    return node != NULL;
}

/* --- the pass ------------------------------------------------------------------------------------------------- */

/* y (B, L, heads x size) as the result of n, whose batch axes are `a->batch`. */
static mtl_status finish(passes_rewriter *r, ir_node n, const passes_attention *a, ir_value y)
{
    ir_dim rows = ir_type_of(r->graph, y)->dim[0];
    ir_type type = {.dtype = ir_type_of(r->graph, y)->dtype,
                    .rank = 4,
                    .dim = {rows, ir_type_of(r->graph, y)->dim[1], ir_dim_const(a->heads), ir_dim_const(a->sizes[1])}};
    ir_value split, turned;
    BASE_TRY(passes_insert(r, n, IR_OP_reshape, NULL, &y, 1, NULL, 0, &type, &split));
    int64_t perm[4] = {a->heads_lead[1] ? 2 : 0, a->heads_lead[1] ? 0 : 2, a->values_lead ? 3 : 1,
                       a->values_lead ? 1 : 3};
    ir_attr attr = IR_INTS(perm, perm, 4);
    BASE_TRY(passes_insert(r, n, IR_OP_transpose, NULL, &split, 1, &attr, 1, NULL, &turned));
    return passes_become(r, n, IR_OP_reshape, &turned, 1, NULL, 0, fate);
}

static mtl_status form(passes_rewriter *r, ir_node n, passes_attention *a)
{
    ir_value inputs[5] = {0}, y;
    bool fits = true;
    BASE_TRY(passes_attention_operands(r, n, a, inputs, &fits));
    if (!fits) {
        return MTL_OK;
    }
    const ir_attr attrs[] = {IR_INTS(starts, a->starts, 3), IR_INT(heads, a->heads),    IR_INTS(sizes, a->sizes, 2),
                             IR_FLOAT(scale, a->scale),     IR_STRING(empty, a->empty), IR_FLOAT(fill, a->fill)};
    size_t count = inputs[4] != 0 ? 5 : inputs[3] != 0 ? 4 : 3;
    BASE_TRY(passes_insert(r, n, IR_OP_attention, NULL, inputs, count, attrs, 6, NULL, &y));
    ir_node made = ir_info(r->graph, y)->node;
    BASE_TRY(passes_take_sources(r, made, ir_info(r->graph, a->scores)->node));
    for (int i = 0; i < a->link_count; i++) {
        BASE_TRY(passes_take_sources(r, made, ir_info(r->graph, a->links[i].result)->node));
    }
    return finish(r, n, a, y);
}

static mtl_status visit(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    if (node->op != IR_OP_matmul) {
        return MTL_OK;
    }
    for (uint32_t k = 0; k < 2; k++) {
        passes_attention a = {.second = node, .shares = k};
        if (find_scores(r, &a, node->inputs[k]) && passes_attention_read(r, &a)) {
            return form(r, n, &a);
        }
    }
    return MTL_OK;
}

mtl_status passes_form_attention(ir_graph *graph, base_diag *diag)
{
    return passes_each(graph, diag, visit);
}
