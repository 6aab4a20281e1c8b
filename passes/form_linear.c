/* Products with constant weights become linear layers, with bias and activation.
 *
 *     %m = matmul(%x, %w)                         : f32[B, 4]
 *     %s = add(%m, %b)                            : f32[B, 4]
 *     %y = relu(%s)                               : f32[B, 4]
 *
 * becomes
 *
 *     %y = linear(%x, %w, %b) act="relu"          : f32[B, 4]
 *
 * Multiplications by a number or a vector of columns, and further additions, go into weights and bias as well. They are
 * found behind transposes and reshapes too, when each of their elements belongs to one column.
 *
 * Weights (G, K, N) are a batch of products. On an operand that has the axis G,
 *
 *     %y = matmul(%x, %w)                         : f32[G, B, N]      with x (G, B, K)
 *
 * becomes
 *
 *     %t = transpose(%x) perm=[1, 0, 2]           : f32[B, G, K]
 *     %l = linear(%t, %w) act=""                  : f32[B, G, N]
 *     %y = transpose(%l) perm=[1, 0, 2]           : f32[G, B, N]
 *
 * and on one that all G share, x (B, K), it is one wide layer:
 *
 *     %l = linear(%x, %w') act=""                 : f32[B, G*N]
 *     %r = reshape(%l)                            : f32[B, G, N]
 *     %y = transpose(%r) perm=[1, 0, 2]           : f32[G, B, N]
 *
 * A constant on the left of single columns is a layer of rows,
 *
 *     %y = matmul(%w, %x)                         : f32[B, M, 1]      with w (M, K), x (B, K, 1)
 *
 * becomes
 *
 *     %r = reshape(%x)                            : f32[B, K]
 *     %l = linear(%r, %w') act=""                 : f32[B, M]
 *     %y = reshape(%l)                            : f32[B, M, 1]
 *
 * and so is a batch of them, w (G, M, K) and x (B, G, K, 1). On the left of wider operands it is left alone.
 */
#include <math.h>
#include <string.h>

#include "passes/layer.h"
#include "passes/passes.h"

static const ir_attr no_activation = IR_STRING(act, "");

/* --- products ------------------------------------------------------------------------------------------------ */

/* The constant with other extents, the same elements. */
static mtl_status reshape_const(passes_rewriter *r, ir_value c, int rank, const int64_t *shape, ir_value *result)
{
    ir_tensor tensor = *ir_info(r->graph, c)->tensor;
    tensor.rank = rank;
    memset(tensor.shape, 0, sizeof tensor.shape);
    memcpy(tensor.shape, shape, (size_t)rank * sizeof *shape);
    return passes_add_const(r, ir_info(r->graph, c)->name, &tensor, result);
}

/* (G, K, N) to (K, G x N), in whatever form the elements are. */
static mtl_status widen_weights(passes_rewriter *r, ir_value c, const int64_t *shape, ir_value *result)
{
    ir_tensor tensor = *ir_info(r->graph, c)->tensor;
    size_t g = (size_t)shape[0], k = (size_t)shape[1], n = (size_t)shape[2];
    size_t size = tensor.raw != NULL ? mtl_dtype_size(tensor.dtype) : sizeof(double);
    const unsigned char *from = tensor.raw != NULL ? tensor.raw : (const void *)tensor.f;
    unsigned char *to = base_arena_alloc_array(r->graph->arena, tensor.count, size);
    BASE_TRY_MEMORY(to, r->diag);
    for (size_t group = 0; group < g; group++) {
        for (size_t row = 0; row < k; row++) {
            memcpy(to + (row * g + group) * n * size, from + (group * k + row) * n * size, n * size);
        }
    }
    if (tensor.raw != NULL) {
        tensor.raw = to;
    } else {
        tensor.f = (const double *)(const void *)to;
    }
    tensor.rank = 2;
    tensor.shape[0] = shape[1];
    tensor.shape[1] = shape[0] * shape[2];
    tensor.shape[2] = 0;
    return passes_add_const(r, ir_info(r->graph, c)->name, &tensor, result);
}

/* `n` becomes the linear layer of x and w, or its reshape when the product has another shape. */
static mtl_status finish_plain(passes_rewriter *r, ir_node n, ir_value x, ir_value w)
{
    ir_value inputs[2] = {x, w};
    ir_type type = *ir_type_of(r->graph, x);
    type.dim[type.rank - 1] = ir_type_of(r->graph, w)->dim[1];
    if (ir_type_equal(&type, ir_type_of(r->graph, ir_node_of(r->graph, n)->outputs[0]))) {
        return passes_become(r, n, IR_OP_linear, inputs, 2, &no_activation, 1, NULL);
    }
    ir_value layer;
    BASE_TRY(passes_insert(r, n, IR_OP_linear, NULL, inputs, 2, &no_activation, 1, NULL, &layer));
    return passes_become(r, n, IR_OP_reshape, &layer, 1, NULL, 0, NULL);
}

/* The permutation that exchanges axes rank - 3 and rank - 2. */
static void swap_groups(int rank, int64_t *perm)
{
    for (int i = 0; i < rank; i++) {
        perm[i] = i;
    }
    perm[rank - 3] = rank - 2;
    perm[rank - 2] = rank - 3;
}

static mtl_status finish_grouped(passes_rewriter *r, ir_node n, ir_value x, ir_value w)
{
    int64_t perm[MTL_MAX_RANK];
    int rank = ir_type_of(r->graph, x)->rank;
    swap_groups(rank, perm);
    ir_attr attr = IR_INTS(perm, perm, rank);
    ir_value turned, layer;
    BASE_TRY(passes_insert(r, n, IR_OP_transpose, NULL, &x, 1, &attr, 1, NULL, &turned));
    BASE_TRY(passes_insert(r, n, IR_OP_linear, NULL, (ir_value[]){turned, w}, 2, &no_activation, 1, NULL, &layer));
    attr.ints = ir_find_attr(ir_producer(r->graph, turned), IR_ATTR_perm)->ints; /* in the graph's arena */
    return passes_become(r, n, IR_OP_transpose, &layer, 1, &attr, 1, NULL);
}

/* x (..., 1, M, K) or (M, K). The reshape that splits the columns drops the axis of extent 1, too. */
static mtl_status finish_wide(passes_rewriter *r, ir_node n, ir_value x, ir_value w, const int64_t *shape)
{
    ir_type result = *ir_type_of(r->graph, ir_node_of(r->graph, n)->outputs[0]);
    ir_value wide, layer, split;
    BASE_TRY(widen_weights(r, w, shape, &wide));
    BASE_TRY(passes_insert(r, n, IR_OP_linear, NULL, (ir_value[]){x, wide}, 2, &no_activation, 1, NULL, &layer));
    int64_t perm[MTL_MAX_RANK];
    swap_groups(result.rank, perm);
    ir_dim groups = result.dim[result.rank - 3];
    result.dim[result.rank - 3] = result.dim[result.rank - 2];
    result.dim[result.rank - 2] = groups;
    BASE_TRY(passes_insert(r, n, IR_OP_reshape, NULL, &layer, 1, NULL, 0, &result, &split));
    const int64_t *kept = base_arena_copy(r->graph->arena, perm, (size_t)result.rank * sizeof *perm);
    BASE_TRY_MEMORY(kept, r->diag);
    ir_attr attr = IR_INTS(perm, kept, result.rank);
    return passes_become(r, n, IR_OP_transpose, &split, 1, &attr, 1, NULL);
}

/* (G, M, K) to (G, K, M), in whatever form the elements are; without the axis of groups where there is one. */
static mtl_status turn_weights(passes_rewriter *r, ir_value c, const int64_t *shape, ir_value *result)
{
    ir_tensor tensor = *ir_info(r->graph, c)->tensor;
    size_t g = (size_t)shape[0], m = (size_t)shape[1], k = (size_t)shape[2];
    size_t size = tensor.raw != NULL ? mtl_dtype_size(tensor.dtype) : sizeof(double);
    const unsigned char *from = tensor.raw != NULL ? tensor.raw : (const void *)tensor.f;
    unsigned char *to = base_arena_alloc_array(r->graph->arena, tensor.count, size);
    BASE_TRY_MEMORY(to, r->diag);
    for (size_t i = 0; i < g * m; i++) {
        for (size_t j = 0; j < k; j++) {
            memcpy(to + ((i / m * k + j) * m + i % m) * size, from + (i * k + j) * size, size);
        }
    }
    if (tensor.raw != NULL) {
        tensor.raw = to;
    } else {
        tensor.f = (const double *)(const void *)to;
    }
    tensor.rank = shape[0] == 1 ? 2 : 3;
    memset(tensor.shape, 0, sizeof tensor.shape);
    tensor.shape[0] = shape[0];
    tensor.shape[tensor.rank - 2] = shape[2];
    tensor.shape[tensor.rank - 1] = shape[1];
    return passes_add_const(r, ir_info(r->graph, c)->name, &tensor, result);
}

/* A constant on the left of single columns. */
static mtl_status form_layer_of_columns(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    ir_value w = node->inputs[0], x = node->inputs[1], layer;
    const ir_tensor *tensor = ir_info(r->graph, w)->tensor;
    ir_type type = *ir_type_of(r->graph, x);
    if (!ir_dtype_is_float(type.dtype) || tensor->rank < 2 || tensor->rank > 3 || tensor->count == 0 || type.rank < 3 ||
        type.rank < tensor->rank || !ir_dim_is(type.dim[type.rank - 1], 1)) {
        return MTL_OK;
    }
    int64_t shape[] = {tensor->rank == 3 ? tensor->shape[0] : 1, tensor->shape[tensor->rank - 2],
                       tensor->shape[tensor->rank - 1]};
    if (shape[0] != 1 && (type.rank < 4 || !ir_dim_is(type.dim[type.rank - 3], shape[0]))) {
        return MTL_OK; /* columns that all groups share, or no others than theirs */
    }
    type.rank--;
    BASE_TRY(turn_weights(r, w, shape, &w));
    BASE_TRY(passes_insert(r, n, IR_OP_reshape, NULL, &x, 1, NULL, 0, &type, &x));
    BASE_TRY(passes_insert(r, n, IR_OP_linear, NULL, (ir_value[]){x, w}, 2, &no_activation, 1, NULL, &layer));
    return passes_become(r, n, IR_OP_reshape, &layer, 1, NULL, 0, NULL);
}

static mtl_status form_layer(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    ir_value x = node->inputs[0], w = node->inputs[1];
    if (ir_is_const(r->graph, x) && !ir_is_const(r->graph, w)) {
        return form_layer_of_columns(r, n);
    }
    if (!ir_is_const(r->graph, w) || ir_is_const(r->graph, x) || !ir_dtype_is_float(ir_type_of(r->graph, w)->dtype)) {
        return MTL_OK;
    }
    const ir_tensor *tensor = ir_info(r->graph, w)->tensor;
    const ir_type *type = ir_type_of(r->graph, x);
    int64_t shape[3] = {1, tensor->rank >= 2 ? tensor->shape[tensor->rank - 2] : tensor->shape[0],
                        tensor->rank >= 2 ? tensor->shape[tensor->rank - 1] : 1};
    for (int i = 0; i < tensor->rank - 3; i++) {
        if (tensor->shape[i] != 1 || type->rank < tensor->rank) {
            return MTL_OK; /* several axes of products, or leading ones that the operand lacks */
        }
    }
    shape[0] = tensor->rank >= 3 ? tensor->shape[tensor->rank - 3] : 1;
    bool grouped = shape[0] != 1;
    if (tensor->count == 0 || (grouped && type->rank < 2)) {
        return MTL_OK; /* without weights there is nothing to pack */
    }
    if (tensor->rank != (grouped ? 3 : 2)) {
        BASE_TRY(reshape_const(r, w, grouped ? 3 : 2, grouped ? shape : shape + 1, &w));
        type = ir_type_of(r->graph, x);
    }
    if (!grouped) {
        return finish_plain(r, n, x, w);
    }
    bool shared = type->rank == 2 || ir_dim_is(type->dim[type->rank - 3], 1);
    return shared ? finish_wide(r, n, x, w, shape) : finish_grouped(r, n, x, w);
}

/* --- what follows a layer ------------------------------------------------------------------------------------ */

static mtl_status absorb_constant(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    for (uint32_t k = 0; k < 2; k++) {
        ir_value value = node->inputs[k], c = node->inputs[1 - k];
        passes_layer layer;
        if (!ir_is_const(r->graph, c) || !passes_find_layer(r, value, &layer) ||
            !ir_type_equal(ir_type_of(r->graph, value), ir_type_of(r->graph, node->outputs[0]))) {
            continue;
        }
        int64_t columns = layer.groups * layer.n;
        double *vector, *ones = BASE_NEW_ARRAY(&r->scratch, double, (size_t)columns);
        const double *scale, *shift;
        BASE_TRY_MEMORY(ones, r->diag);
        BASE_TRY(passes_layer_vector(r, &layer, c, &vector));
        if (vector != NULL && passes_as_affine(node->op, k == 0, vector, columns, ones, &scale, &shift)) {
            return passes_absorb_affine(r, &layer, n, scale, shift, c);
        }
    }
    return MTL_OK;
}

static mtl_status absorb_function(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    passes_layer layer;
    if (!ir_op_is_unary(node->op) || node->op == IR_OP_not ||
        !ir_dtype_is_float(ir_type_of(r->graph, node->outputs[0])->dtype) ||
        !passes_find_layer(r, node->inputs[0], &layer)) {
        return MTL_OK;
    }
    return passes_absorb_activation(r, &layer, n);
}

static mtl_status visit(passes_rewriter *r, ir_node n)
{
    switch (ir_node_of(r->graph, n)->op) {
    case IR_OP_matmul: return form_layer(r, n);
    case IR_OP_mul:
    case IR_OP_add:
    case IR_OP_sub:
    case IR_OP_div: return absorb_constant(r, n);
    default: return absorb_function(r, n);
    }
}

mtl_status passes_form_linear(ir_graph *graph, base_diag *diag)
{
    return passes_each(graph, diag, visit);
}
