/* A layer normalisation that is spelled out becomes one operation again.
 *
 *     const %two : f32 = 2
 *     const %eps : f32 = 1e-05
 *     %mean = reduce_mean(%x) axes=[1] keepdims=1 : f32[B, 1]
 *     %d = sub(%x, %mean)                         : f32[B, 4]
 *     %p = pow(%d, %two)                          : f32[B, 4]
 *     %v = reduce_mean(%p) axes=[1] keepdims=1    : f32[B, 1]
 *     %e = add(%v, %eps)                          : f32[B, 1]
 *     %s = sqrt(%e)                               : f32[B, 1]
 *     %n = div(%d, %s)                            : f32[B, 4]
 *     %m = mul(%n, %scale)                        : f32[B, 4]
 *     %y = add(%m, %bias)                         : f32[B, 4]
 *
 * becomes
 *
 *     %y = layer_norm(%x, %scale, %bias) axis=1 epsilon=1e-05 : f32[B, 4]
 *
 * The square may be d d, the quotient d times a reciprocal, and scale and bias may be missing or be added to what was
 * a layer normalisation already. Only over the last axes, with one number as epsilon, and when nobody else reads what
 * is in between. A scale of ones and a bias of zeros are dropped. Maths: Ba, Kiros, Hinton 2016; ONNX
 * LayerNormalization.
 */
#include <math.h>
#include <string.h>

#include "passes/passes.h"
#include "passes/rewrite.h"

static const char fate[] = "part of a layer normalisation";

enum { MAX_INNER = 8 };

typedef struct matcher {
    passes_rewriter *r;
    ir_node inner[MAX_INNER]; /* the nodes that the normalisation does the work of */
    int inner_count;
} matcher;

/* The node that makes `value`, when it has this op and `uses` operands read it. */
static const ir_node_info *inner(matcher *m, ir_value value, ir_op op, uint32_t uses)
{
    const ir_node_info *node = ir_producer_op(m->r->graph, value, op);
    if (node == NULL || m->r->uses[value] != uses || m->inner_count == MAX_INNER) {
        return NULL;
    }
    m->inner[m->inner_count++] = ir_info(m->r->graph, value)->node;
    return node;
}

static bool same_type(const matcher *m, ir_value a, ir_value b)
{
    return ir_type_equal(ir_type_of(m->r->graph, a), ir_type_of(m->r->graph, b));
}

static bool is_number(const matcher *m, ir_value value, double number)
{
    double found;
    return ir_const_scalar(m->r->graph, value, &found) && found == number;
}

/* The mean over the last axes, from *axis on, which stay with extent 1. */
static const ir_node_info *mean_over_last(matcher *m, ir_value value, int64_t *axis)
{
    const ir_node_info *node = inner(m, value, IR_OP_reduce_mean, 1);
    if (node == NULL || ir_attr_int(node, IR_ATTR_keepdims) != 1) {
        return NULL;
    }
    const ir_attr *axes = ir_find_attr(node, IR_ATTR_axes);
    *axis = ir_type_of(m->r->graph, value)->rank - (int64_t)axes->count;
    for (size_t i = 0; i < axes->count; i++) {
        if (axes->ints[i] != *axis + (int64_t)i) {
            return NULL;
        }
    }
    return axes->count > 0 ? node : NULL;
}

/* d^2, where d is read by that and once more: *d. */
static bool is_square(matcher *m, ir_value value, ir_value *d, uint32_t *uses)
{
    const ir_node_info *node = inner(m, value, IR_OP_pow, 1);
    if (node != NULL) {
        *d = node->inputs[0];
        *uses = 2;
        return is_number(m, node->inputs[1], 2) && same_type(m, value, *d);
    }
    node = inner(m, value, IR_OP_mul, 1);
    if (node == NULL || node->inputs[0] != node->inputs[1]) {
        return false;
    }
    *d = node->inputs[0];
    *uses = 3;
    return true;
}

/* sqrt(mean(d^2) + epsilon), where d = x - mean(x): the operand of the root, without the root. */
static bool is_variance(matcher *m, ir_value value, ir_value d, ir_value *x, int64_t *axis, double *epsilon)
{
    const ir_node_info *add = inner(m, value, IR_OP_add, 1), *variance = NULL;
    for (uint32_t k = 0; add != NULL && variance == NULL && k < 2; k++) {
        if (ir_const_scalar(m->r->graph, add->inputs[1 - k], epsilon) && same_type(m, add->inputs[k], value)) {
            variance = mean_over_last(m, add->inputs[k], axis);
        }
    }
    ir_value squared;
    uint32_t uses;
    if (variance == NULL || !(*epsilon >= 0) || !isfinite(*epsilon) ||
        !is_square(m, variance->inputs[0], &squared, &uses) || squared != d) {
        return false;
    }
    const ir_node_info *sub = inner(m, d, IR_OP_sub, uses);
    int64_t mean_axis;
    if (sub == NULL || !same_type(m, sub->inputs[0], d)) {
        return false;
    }
    *x = sub->inputs[0];
    const ir_node_info *mean = mean_over_last(m, sub->inputs[1], &mean_axis);
    return mean != NULL && mean->inputs[0] == *x && mean_axis == *axis;
}

/* u, when value = sqrt(u); 0: it is none. */
static ir_value root_of(matcher *m, ir_value value)
{
    int start = m->inner_count;
    const ir_node_info *node = inner(m, value, IR_OP_sqrt, 1);
    if (node == NULL) {
        node = inner(m, value, IR_OP_pow, 1);
        if (node != NULL && (!is_number(m, node->inputs[1], 0.5) || !same_type(m, node->inputs[0], value))) {
            node = NULL;
        }
    }
    m->inner_count = node != NULL ? m->inner_count : start;
    return node != NULL ? node->inputs[0] : 0;
}

/* u, when value = 1 / sqrt(u); 0: it is none. */
static ir_value inverse_root_of(matcher *m, ir_value value)
{
    const ir_node_info *node = inner(m, value, IR_OP_reciprocal, 1);
    if (node != NULL) {
        return root_of(m, node->inputs[0]);
    }
    node = inner(m, value, IR_OP_div, 1);
    if (node != NULL) {
        bool inverse = is_number(m, node->inputs[0], 1) && same_type(m, node->inputs[1], value);
        return inverse ? root_of(m, node->inputs[1]) : 0;
    }
    node = inner(m, value, IR_OP_pow, 1);
    if (node != NULL && is_number(m, node->inputs[1], -0.5) && same_type(m, node->inputs[0], value)) {
        return node->inputs[0];
    }
    return 0;
}

/* `n` is d / root or d x inverse. */
static mtl_status form_norm(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    for (uint32_t k = 0; k < (node->op == IR_OP_mul ? 2 : 1); k++) {
        matcher m = {.r = r};
        ir_value d = node->inputs[k], divisor = node->inputs[1 - k], x;
        ir_value variance = node->op == IR_OP_mul ? inverse_root_of(&m, divisor) : root_of(&m, divisor);
        int64_t axis;
        double epsilon;
        if (variance == 0 || !is_variance(&m, variance, d, &x, &axis, &epsilon) ||
            !ir_dtype_is_float(ir_type_of(r->graph, x)->dtype)) {
            continue;
        }
        for (int i = 0; i < m.inner_count; i++) {
            BASE_TRY(passes_take_sources(r, n, m.inner[i]));
        }
        return passes_become(r, n, IR_OP_layer_norm, &x, 1, (ir_attr[]){IR_INT(axis, axis), IR_FLOAT(epsilon, epsilon)},
                             2, fate);
    }
    return MTL_OK;
}

/* `value` as a scale or bias of `norm`, whose extents are those of x from the axis on: constants may have more or fewer
 * axes of extent 1 in front. 0: it is none. */
static mtl_status as_parameter(passes_rewriter *r, const ir_node_info *norm, ir_value value, ir_value *parameter)
{
    const ir_type *x = ir_type_of(r->graph, norm->inputs[0]), *type = ir_type_of(r->graph, value);
    int axis = (int)ir_attr_int(norm, IR_ATTR_axis), rank = x->rank - axis, offset = type->rank - rank;
    *parameter = 0;
    for (int i = offset < 0 ? offset : 0; i < type->rank; i++) {
        ir_dim one = {.c = 1}, extent = i < 0 ? one : type->dim[i];
        ir_dim wanted = i < offset ? one : x->dim[axis + i - offset];
        if (!ir_dim_equal(extent, wanted)) {
            return MTL_OK;
        }
    }
    *parameter = offset == 0 || ir_is_const(r->graph, value) ? value : 0;
    if (offset == 0 || *parameter == 0) {
        return MTL_OK;
    }
    ir_tensor tensor = *ir_info(r->graph, value)->tensor;
    tensor.rank = rank;
    memset(tensor.shape, 0, sizeof tensor.shape);
    for (int i = 0; i < rank; i++) {
        tensor.shape[i] = x->dim[axis + i].c;
    }
    return passes_add_const(r, ir_info(r->graph, value)->name, &tensor, parameter);
}

/* A scale or a bias behind a normalisation that has none. */
static mtl_status absorb_parameter(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    for (uint32_t k = 0; k < 2; k++) {
        ir_value value = node->inputs[k], other = node->inputs[1 - k], parameter;
        const ir_node_info *norm = ir_producer_op(r->graph, value, IR_OP_layer_norm);
        if (norm == NULL || !passes_single_use(r, value) || ir_operand(norm, 2) != 0 ||
            (node->op == IR_OP_mul && ir_operand(norm, 1) != 0) ||
            !ir_type_equal(ir_type_of(r->graph, value), ir_type_of(r->graph, node->outputs[0]))) {
            continue;
        }
        BASE_TRY(as_parameter(r, norm, other, &parameter));
        if (parameter == 0) {
            continue;
        }
        norm = ir_producer(r->graph, value);
        ir_value inputs[3] = {norm->inputs[0], ir_operand(norm, 1), parameter};
        if (node->op == IR_OP_mul) {
            inputs[1] = parameter;
        }
        BASE_TRY(passes_take_sources(r, n, ir_info(r->graph, value)->node));
        return passes_become(r, n, IR_OP_layer_norm, inputs, node->op == IR_OP_mul ? 2 : 3, norm->attrs, 2, fate);
    }
    return MTL_OK;
}

static bool all_equal(const ir_graph *graph, ir_value value, double number)
{
    if (!ir_is_const(graph, value)) {
        return false;
    }
    const ir_tensor *tensor = ir_info(graph, value)->tensor;
    for (size_t i = 0; i < tensor->count; i++) {
        if (ir_tensor_at(tensor, i) != number) {
            return false;
        }
    }
    return true;
}

static mtl_status drop_parameters(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    ir_value inputs[3] = {node->inputs[0], ir_operand(node, 1), ir_operand(node, 2)};
    if (inputs[1] != 0 && all_equal(r->graph, inputs[1], 1)) {
        inputs[1] = 0;
    }
    if (inputs[2] != 0 && all_equal(r->graph, inputs[2], 0)) {
        inputs[2] = 0;
    }
    if (inputs[1] == ir_operand(node, 1) && inputs[2] == ir_operand(node, 2)) {
        return MTL_OK;
    }
    return passes_set_inputs(r, n, inputs, inputs[2] != 0 ? 3 : inputs[1] != 0 ? 2 : 1, NULL);
}

static mtl_status visit(passes_rewriter *r, ir_node n)
{
    switch (ir_node_of(r->graph, n)->op) {
    case IR_OP_layer_norm: return drop_parameters(r, n);
    case IR_OP_div: return form_norm(r, n);
    case IR_OP_add: return absorb_parameter(r, n);
    case IR_OP_mul: BASE_TRY(form_norm(r, n)); break;
    default: return MTL_OK;
    }
    return ir_node_of(r->graph, n)->op == IR_OP_mul ? absorb_parameter(r, n) : MTL_OK;
}

mtl_status passes_form_layer_norm(ir_graph *graph, base_diag *diag)
{
    return passes_each(graph, diag, visit);
}
