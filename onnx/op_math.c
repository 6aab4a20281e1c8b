/* Handlers of products, normalisations, Softmax and what works along axes. */
#include <string.h>

#include "onnx/internal.h"

/* --- products ------------------------------------------------------------------------------------------------- */

static mtl_status transpose_matrix(onnx_node *node, ir_value *value)
{
    static const int64_t swapped[] = {1, 0};
    ir_attr attr = IR_INTS(perm, swapped, 2);
    return onnx_emit(node, IR_OP_transpose, value, 1, &attr, 1, value);
}

static mtl_status scale(onnx_node *node, double factor, bool last, ir_value *value)
{
    ir_value operands[] = {*value, 0};
    if (!ir_dtype_is_float(onnx_in_type(node, 0)->dtype)) {
        return onnx_fail(node, MTL_UNSUPPORTED, "alpha and beta other than 1 are not supported on integers");
    }
    BASE_TRY(onnx_emit_number(node, factor, &operands[1]));
    return last ? onnx_last(node, IR_OP_mul, operands, 2, NULL, 0)
                : onnx_emit(node, IR_OP_mul, operands, 2, NULL, 0, value);
}

/* alpha * A' * B' + beta * C */
mtl_status onnx_import_gemm(onnx_node *node)
{
    ir_graph *graph = node->importer->graph;
    ir_value operands[] = {onnx_in(node, 0), onnx_in(node, 1)};
    double alpha = onnx_float(node, "alpha");
    double beta = onnx_float(node, "beta");
    bool has_c = onnx_in(node, 2) != 0 && beta != 0;
    for (size_t i = 0; i < 2; i++) {
        if (onnx_in_type(node, i)->rank != 2) {
            return onnx_fail(node, MTL_INVALID_DATA, "input %zu is %s, expected rank 2", i,
                             onnx_shape_text(node, onnx_in_type(node, i)));
        }
        if (onnx_int(node, i == 0 ? "transA" : "transB") != 0) {
            BASE_TRY(transpose_matrix(node, &operands[i]));
        }
    }
    if (!has_c && alpha == 1) {
        return onnx_last(node, IR_OP_matmul, operands, 2, NULL, 0);
    }
    ir_value product;
    BASE_TRY(onnx_emit(node, IR_OP_matmul, operands, 2, NULL, 0, &product));
    if (alpha != 1) {
        BASE_TRY(scale(node, alpha, !has_c, &product));
    }
    if (!has_c) {
        return MTL_OK;
    }
    ir_value sum[] = {product, onnx_in(node, 2)};
    ir_type type = *ir_type_of(graph, product);
    if (beta != 1) {
        BASE_TRY(scale(node, beta, false, &sum[1]));
    }
    BASE_TRY(onnx_last(node, IR_OP_add, sum, 2, NULL, 0));
    if (!ir_type_equal(&type, ir_type_of(graph, node->outputs[0].value))) {
        return onnx_fail(node, MTL_INVALID_DATA, "input 2 (C) %s does not broadcast to %s",
                         onnx_shape_text(node, onnx_in_type(node, 2)), onnx_shape_text(node, &type));
    }
    return MTL_OK;
}

mtl_status onnx_import_einsum(onnx_node *node)
{
    onnx_importer *importer = node->importer;
    ir_value *operands = BASE_NEW_ARRAY(importer->arena, ir_value, node->input_count);
    BASE_TRY_MEMORY(operands, importer->diag);
    for (size_t i = 0; i < node->input_count; i++) {
        operands[i] = onnx_in(node, i);
    }
    return ir_build_einsum(importer->graph, 0, onnx_string(node, "equation"), operands, node->input_count,
                           importer->diag, &node->outputs[0].value);
}

/* --- Softmax -------------------------------------------------------------------------------------------------- */

mtl_status onnx_import_softmax(onnx_node *node)
{
    const ir_type type = *onnx_in_type(node, 0);
    ir_value x = onnx_in(node, 0);
    int32_t axis;
    BASE_TRY(onnx_axis(node, onnx_int(node, "axis"), type.rank, &axis));
    bool direct = node->schema->since >= 13;
    if (!direct) { /* before, all axes from `axis` on were one: the same thing where those behind it are 1 */
        direct = true;
        for (int i = axis + 1; i < type.rank; i++) {
            direct = direct && ir_dim_is(type.dim[i], 1);
        }
    }
    ir_attr attr = IR_INT(axis, direct ? axis : 1);
    if (direct) {
        return onnx_last(node, node->ir, &x, 1, &attr, 1);
    }
    ir_type flat = {.dtype = type.dtype, .rank = 2};
    BASE_TRY(onnx_product(node, &type, 0, axis, &flat.dim[0]));
    BASE_TRY(onnx_product(node, &type, axis, type.rank, &flat.dim[1]));
    BASE_TRY(onnx_reshape(node, x, &flat, false, &x));
    BASE_TRY(onnx_emit(node, node->ir, &x, 1, &attr, 1, &x));
    return onnx_reshape(node, x, &type, true, NULL);
}

/* --- normalisations ------------------------------------------------------------------------------------------- */

mtl_status onnx_import_batch_norm(onnx_node *node)
{
    if (onnx_int(node, "training_mode") != 0) {
        return onnx_fail(node, MTL_UNSUPPORTED, "training_mode is 1, the model is not exported for inference");
    }
    for (size_t i = 1; i < node->output_count; i++) {
        onnx_refuse_output(node, i, "which training only makes");
    }
    ir_value operands[5];
    for (size_t i = 0; i < 5; i++) {
        operands[i] = onnx_in(node, i);
    }
    ir_attr attr = IR_FLOAT(epsilon, onnx_float(node, "epsilon"));
    return onnx_last(node, IR_OP_batch_norm, operands, 5, &attr, 1);
}

mtl_status onnx_import_layer_norm(onnx_node *node)
{
    int32_t axis;
    BASE_TRY(onnx_axis(node, onnx_int(node, "axis"), onnx_in_type(node, 0)->rank, &axis));
    ir_attr attrs[] = {IR_INT(axis, axis), IR_FLOAT(epsilon, onnx_float(node, "epsilon"))};
    ir_value operands[] = {onnx_in(node, 0), onnx_in(node, 1), onnx_in(node, 2)};
    return onnx_last(node, IR_OP_layer_norm, operands, node->input_count, attrs, 2);
}

/* x / sqrt(mean(x * x over axis..) + epsilon) * scale */
mtl_status onnx_import_rms_norm(onnx_node *node)
{
    const ir_type type = *onnx_in_type(node, 0);
    int32_t axis;
    BASE_TRY(onnx_axis(node, onnx_int(node, "axis"), type.rank, &axis));
    int64_t axes[MTL_MAX_RANK] = {0};
    for (int32_t i = axis; i < type.rank; i++) {
        axes[i - axis] = i;
    }
    ir_value x = onnx_in(node, 0);
    ir_value square[] = {x, x};
    ir_value sum[2], quotient[2], product[2];
    ir_attr attrs[] = {IR_INTS(axes, axes, type.rank - axis), IR_INT(keepdims, 1)};
    BASE_TRY(onnx_emit(node, IR_OP_mul, square, 2, NULL, 0, &sum[0]));
    BASE_TRY(onnx_emit(node, IR_OP_reduce_mean, &sum[0], 1, attrs, 2, &sum[0]));
    BASE_TRY(onnx_emit_number(node, onnx_float(node, "epsilon"), &sum[1]));
    BASE_TRY(onnx_emit(node, IR_OP_add, sum, 2, NULL, 0, &sum[0]));
    quotient[0] = x;
    BASE_TRY(onnx_emit(node, IR_OP_sqrt, &sum[0], 1, NULL, 0, &quotient[1]));
    BASE_TRY(onnx_emit(node, IR_OP_div, quotient, 2, NULL, 0, &product[0]));
    product[1] = onnx_in(node, 1);
    BASE_TRY(onnx_last(node, IR_OP_mul, product, 2, NULL, 0));
    if (!ir_type_equal(&type, ir_type_of(node->importer->graph, node->outputs[0].value))) {
        return onnx_fail(node, MTL_INVALID_DATA, "input 1 (scale) %s does not broadcast to %s",
                         onnx_shape_text(node, onnx_in_type(node, 1)), onnx_shape_text(node, &type));
    }
    return MTL_OK;
}

/* --- reductions ----------------------------------------------------------------------------------------------- */

typedef struct reduction {
    int64_t axes[MTL_MAX_RANK];
    size_t count;
    bool keepdims;
    bool nothing; /* no axes, and that means none rather than all */
} reduction;

static mtl_status read_reduction(const onnx_node *node, reduction *r)
{
    int rank = onnx_in_type(node, 0)->rank;
    int64_t numbers[MTL_MAX_RANK];
    size_t count = 0;
    bool set[MTL_MAX_RANK];
    *r = (reduction){.keepdims = onnx_int(node, "keepdims") != 0};
    if (onnx_schema_attr_find(node->schema, "axes") != NULL) {
        const int64_t *given = onnx_ints(node, "axes", &count);
        if (count > MTL_MAX_RANK) {
            return onnx_fail(node, MTL_INVALID_DATA, "%zu axes for rank %d", count, rank);
        }
        if (count > 0) {
            memcpy(numbers, given, count * sizeof *numbers);
        }
    } else if (onnx_in(node, 1) != 0) {
        BASE_TRY(onnx_operand_ints(node, 1, numbers, MTL_MAX_RANK, &count));
    }
    BASE_TRY(onnx_axes(node, numbers, count, rank, set));
    r->nothing = count == 0 && onnx_int(node, "noop_with_empty_axes") != 0;
    for (int i = 0; i < rank; i++) {
        if (count == 0 || set[i]) {
            r->axes[r->count++] = i;
        }
    }
    return MTL_OK;
}

/* `value` reduced by `op`; a scalar is its own reduction. */
static mtl_status reduce_by(onnx_node *node, ir_op op, const reduction *r, bool last, ir_value value, ir_value *result)
{
    if (r->count == 0) {
        *result = value;
        return last ? onnx_last_identity(node, value) : MTL_OK;
    }
    ir_attr attrs[] = {IR_INTS(axes, r->axes, r->count), IR_INT(keepdims, r->keepdims)};
    return last ? onnx_last(node, op, &value, 1, attrs, 2) : onnx_emit(node, op, &value, 1, attrs, 2, result);
}

mtl_status onnx_import_reduce(onnx_node *node)
{
    reduction r;
    ir_value result;
    BASE_TRY(read_reduction(node, &r));
    if (r.nothing) {
        return onnx_last_identity(node, onnx_in(node, 0));
    }
    return reduce_by(node, node->ir, &r, true, onnx_in(node, 0), &result);
}

/* Reductions with something before or after the sum: whether that is done when there is nothing to reduce changed
 * between versions of the standard's text, so that case is refused. */
static mtl_status read_composite(const onnx_node *node, reduction *r)
{
    BASE_TRY(read_reduction(node, r));
    if (r->nothing) {
        return onnx_fail(node, MTL_UNSUPPORTED, "noop_with_empty_axes 1 without axes is not supported");
    }
    return MTL_OK;
}

mtl_status onnx_import_reduce_l1(onnx_node *node)
{
    reduction r;
    ir_value value = onnx_in(node, 0);
    BASE_TRY(read_composite(node, &r));
    BASE_TRY(onnx_emit(node, IR_OP_abs, &value, 1, NULL, 0, &value));
    return reduce_by(node, IR_OP_reduce_sum, &r, true, value, &value);
}

static mtl_status sum_square(onnx_node *node, bool last, ir_value *value)
{
    reduction r;
    ir_value operands[] = {onnx_in(node, 0), onnx_in(node, 0)};
    BASE_TRY(read_composite(node, &r));
    BASE_TRY(onnx_emit(node, IR_OP_mul, operands, 2, NULL, 0, value));
    return reduce_by(node, IR_OP_reduce_sum, &r, last, *value, value);
}

mtl_status onnx_import_reduce_sum_square(onnx_node *node)
{
    ir_value value;
    return sum_square(node, true, &value);
}

mtl_status onnx_import_reduce_l2(onnx_node *node)
{
    ir_value value;
    BASE_TRY(sum_square(node, false, &value));
    return onnx_last(node, IR_OP_sqrt, &value, 1, NULL, 0);
}

mtl_status onnx_import_reduce_log_sum(onnx_node *node)
{
    reduction r;
    ir_value value = onnx_in(node, 0);
    BASE_TRY(read_composite(node, &r));
    BASE_TRY(reduce_by(node, IR_OP_reduce_sum, &r, false, value, &value));
    return onnx_last(node, IR_OP_log, &value, 1, NULL, 0);
}

/* The largest element along the axes, 0 where that is infinite: what exp may safely be taken relative to. */
static mtl_status safe_maximum(onnx_node *node, const reduction *r, ir_value x, ir_value *result)
{
    ir_value operands[3];
    BASE_TRY(reduce_by(node, IR_OP_reduce_max, r, false, x, &operands[2]));
    BASE_TRY(onnx_emit(node, IR_OP_isinf, &operands[2], 1, NULL, 0, &operands[0]));
    BASE_TRY(onnx_emit_number(node, 0, &operands[1]));
    return onnx_emit(node, IR_OP_where, operands, 3, NULL, 0, result);
}

/* log(sum(exp(x - m))) + m */
mtl_status onnx_import_reduce_log_sum_exp(onnx_node *node)
{
    reduction r;
    BASE_TRY(read_composite(node, &r));
    reduction kept = r;
    kept.keepdims = true;
    ir_value difference[2] = {onnx_in(node, 0), 0};
    ir_value sum[2], value;
    BASE_TRY(safe_maximum(node, &kept, difference[0], &difference[1]));
    BASE_TRY(onnx_emit(node, IR_OP_sub, difference, 2, NULL, 0, &value));
    BASE_TRY(onnx_emit(node, IR_OP_exp, &value, 1, NULL, 0, &value));
    BASE_TRY(reduce_by(node, IR_OP_reduce_sum, &r, false, value, &value));
    BASE_TRY(onnx_emit(node, IR_OP_log, &value, 1, NULL, 0, &sum[0]));
    ir_type type = *ir_type_of(node->importer->graph, sum[0]);
    BASE_TRY(onnx_reshape(node, difference[1], &type, false, &sum[1]));
    return onnx_last(node, IR_OP_add, sum, 2, NULL, 0);
}

mtl_status onnx_import_cumsum(onnx_node *node)
{
    int64_t number;
    size_t count;
    int32_t axis;
    BASE_TRY(onnx_operand_ints(node, 1, &number, 1, &count));
    if (count != 1) {
        return onnx_fail(node, MTL_INVALID_DATA, "input 1 (axis) has %zu elements, expected one", count);
    }
    BASE_TRY(onnx_axis(node, number, onnx_in_type(node, 0)->rank, &axis));
    ir_attr attrs[] = {IR_INT(axis, axis), IR_INT(exclusive, onnx_int(node, "exclusive") != 0),
                       IR_INT(reverse, onnx_int(node, "reverse") != 0)};
    ir_value x = onnx_in(node, 0);
    return onnx_last(node, IR_OP_cumsum, &x, 1, attrs, 3);
}
