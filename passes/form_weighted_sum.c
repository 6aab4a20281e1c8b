/* A weighted sum that is spelled as a multiplication and a sum becomes a product of matrices.
 *
 *     %m = mul(%x, %g)                            : f32[B, 4, 12]     with x (B, 4, 12), g (B, 4, 1)
 *     %y = reduce_sum(%m) axes=[1] keepdims=0     : f32[B, 12]
 *
 * becomes
 *
 *     %t = reshape(%g)                            : f32[B, 1, 4]
 *     %p = matmul(%t, %x)                         : f32[B, 1, 12]
 *     %y = reshape(%p)                            : f32[B, 12]
 *
 * and a sum over the last axis, of x (B, 12, 4) and g (B, 1, 4), becomes matmul(x, g) with g as (B, 4, 1). So a gate's
 * mixture of experts is one thing, however it was written. Constant weights, the same for all candidates, become (1, 4) or
 * (4, 1). Only when nobody else reads the terms, when their number is
 * fixed, and when nothing but the weights broadcasts.
 */
#include <string.h>

#include "passes/passes.h"
#include "passes/rewrite.h"

static const char fate[] = "part of a weighted sum";

/* Terms along axis `along`; the weights are the same for all of axis `across`. */
static bool is_weighted(const ir_type *weights, const ir_type *x, const ir_type *terms, int along, int across)
{
    if (weights->rank != terms->rank || !ir_type_equal(x, terms) || !ir_dim_is_const(terms->dim[along])) {
        return false;
    }
    for (int axis = 0; axis < terms->rank; axis++) {
        bool fits =
            axis == across ? ir_dim_is(weights->dim[axis], 1) : ir_dim_equal(weights->dim[axis], terms->dim[axis]);
        if (!fits) {
            return false;
        }
    }
    return true;
}

/* Constant weights that broadcast along all axes but `along`. */
static bool is_weighted_by_const(const ir_graph *graph, ir_value weights, const ir_type *x, const ir_type *terms,
                                 int along)
{
    const ir_tensor *tensor = ir_is_const(graph, weights) ? ir_info(graph, weights)->tensor : NULL;
    int axis = tensor != NULL ? along - (terms->rank - tensor->rank) : -1;
    return axis >= 0 && ir_type_equal(x, terms) && tensor->count > 1 && (int64_t)tensor->count == tensor->shape[axis];
}

/* The weights (B, E, 1) as (B, 1, E), or the other way round. */
static mtl_status turn_weights(passes_rewriter *r, ir_node n, ir_value weights, int along, int across, ir_value *turned)
{
    ir_type type = *ir_type_of(r->graph, weights);
    type.dim[across] = type.dim[along];
    type.dim[along] = ir_dim_const(1);
    BASE_TRY(passes_insert(r, n, IR_OP_reshape, NULL, &weights, 1, NULL, 0, &type, turned));
    r->graph->nodes[ir_info(r->graph, *turned)->node].source_count = 0; /* --explain shall name the product instead */
    return MTL_OK;
}

static mtl_status turn_const(passes_rewriter *r, ir_value weights, bool last, ir_value *turned)
{
    ir_tensor tensor = *ir_info(r->graph, weights)->tensor;
    const int64_t count = (int64_t)tensor.count;
    tensor.rank = 2;
    memset(tensor.shape, 0, sizeof tensor.shape);
    tensor.shape[0] = last ? count : 1;
    tensor.shape[1] = last ? 1 : count;
    return passes_add_const(r, ir_info(r->graph, weights)->name, &tensor, turned);
}

/* `w`: the weights as the product reads them. */
static mtl_status become_matmul(passes_rewriter *r, ir_node n, ir_value w, ir_value x, int along)
{
    ir_type product = *ir_type_of(r->graph, x);
    ir_type result = *ir_type_of(r->graph, ir_node_of(r->graph, n)->outputs[0]);
    product.dim[along] = ir_dim_const(1);
    bool last = along == product.rank - 1;
    ir_value y;
    ir_value operands[2] = {last ? x : w, last ? w : x};
    if (ir_type_equal(&product, &result)) {
        return passes_become(r, n, IR_OP_matmul, operands, 2, NULL, 0, fate);
    }
    BASE_TRY(passes_insert(r, n, IR_OP_matmul, NULL, operands, 2, NULL, 0, NULL, &y));
    return passes_become(r, n, IR_OP_reshape, &y, 1, NULL, 0, fate);
}

static mtl_status form(passes_rewriter *r, ir_node n)
{
    const ir_node_info *sum = ir_node_of(r->graph, n);
    const ir_node_info *mul = ir_producer_op(r->graph, sum->inputs[0], IR_OP_mul);
    const ir_attr *axes = ir_find_attr(sum, IR_ATTR_axes);
    const ir_type *terms = ir_type_of(r->graph, sum->inputs[0]);
    if (mul == NULL || !passes_single_use(r, sum->inputs[0]) || axes->count != 1 || terms->rank < 3 ||
        axes->ints[0] < terms->rank - 2 || !ir_dtype_is_float(terms->dtype)) {
        return MTL_OK;
    }
    int along = (int)axes->ints[0], across = along == terms->rank - 1 ? along - 1 : along + 1;
    for (uint32_t k = 0; k < 2; k++) {
        ir_value weights = mul->inputs[k], x = mul->inputs[1 - k];
        if (is_weighted(ir_type_of(r->graph, weights), ir_type_of(r->graph, x), terms, along, across)) {
            BASE_TRY(passes_take_sources(r, n, ir_info(r->graph, sum->inputs[0])->node));
            BASE_TRY(turn_weights(r, n, weights, along, across, &weights));
            return become_matmul(r, n, weights, x, along);
        }
        if (is_weighted_by_const(r->graph, weights, ir_type_of(r->graph, x), terms, along)) {
            BASE_TRY(passes_take_sources(r, n, ir_info(r->graph, sum->inputs[0])->node));
            BASE_TRY(turn_const(r, weights, along == terms->rank - 1, &weights));
            return become_matmul(r, n, weights, x, along);
        }
    }
    return MTL_OK;
}

static mtl_status visit(passes_rewriter *r, ir_node n)
{
    return ir_node_of(r->graph, n)->op == IR_OP_reduce_sum ? form(r, n) : MTL_OK;
}

mtl_status passes_form_weighted_sum(ir_graph *graph, base_diag *diag)
{
    return passes_each(graph, diag, visit);
}
