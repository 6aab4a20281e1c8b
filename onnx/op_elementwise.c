/* Handlers of element-wise operators, constants and casts. */
#include <math.h>
#include <string.h>

#include "onnx/internal.h"

/* Operators whose operands are those of one IR operation, without attributes. */
mtl_status onnx_import_simple(onnx_node *node)
{
    ir_value operands[3] = {onnx_in(node, 0), onnx_in(node, 1), onnx_in(node, 2)};
    return onnx_last(node, node->ir, operands, node->input_count, NULL, 0);
}

/* One operand; alpha and beta where the operation has them. */
mtl_status onnx_import_unary_float(onnx_node *node)
{
    ir_attr attrs[2];
    size_t count = 0;
    uint64_t takes = ir_op_table(node->ir)->required;
    if ((takes & UINT64_C(1) << IR_ATTR_alpha) != 0) {
        attrs[count++] = (ir_attr)IR_FLOAT(alpha, onnx_float(node, "alpha"));
    }
    if ((takes & UINT64_C(1) << IR_ATTR_beta) != 0) {
        attrs[count++] = (ir_attr)IR_FLOAT(beta, onnx_float(node, "beta"));
    }
    ir_value x = onnx_in(node, 0);
    return onnx_last(node, node->ir, &x, 1, attrs, count);
}

mtl_status onnx_import_selu(onnx_node *node)
{
    ir_attr attrs[] = {IR_FLOAT(alpha, onnx_float(node, "alpha")), IR_FLOAT(beta, onnx_float(node, "gamma"))};
    ir_value x = onnx_in(node, 0);
    return onnx_last(node, IR_OP_selu, &x, 1, attrs, 2);
}

mtl_status onnx_import_gelu(onnx_node *node)
{
    const char *form = onnx_string(node, "approximate");
    bool tanh_form = strcmp(form, "tanh") == 0;
    if (!tanh_form && strcmp(form, "none") != 0) {
        return onnx_fail(node, MTL_INVALID_DATA, "attribute 'approximate' is '%s', expected 'none' or 'tanh'", form);
    }
    ir_attr attr = IR_INT(approximate, tanh_form);
    ir_value x = onnx_in(node, 0);
    return onnx_last(node, IR_OP_gelu, &x, 1, &attr, 1);
}

mtl_status onnx_import_isinf(onnx_node *node)
{
    if (onnx_int(node, "detect_negative") == 0 || onnx_int(node, "detect_positive") == 0) {
        return onnx_fail(node, MTL_UNSUPPORTED, "infinities of one sign only are not supported");
    }
    return onnx_import_simple(node);
}

mtl_status onnx_import_mod(onnx_node *node)
{
    ir_attr attr = IR_INT(fmod, onnx_int(node, "fmod") != 0);
    if (attr.i == 0 && node->schema->since < 28 && ir_dtype_is_float(onnx_in_type(node, 0)->dtype)) {
        return onnx_fail(node, MTL_INVALID_DATA, "floats need fmod 1 up to opset 27");
    }
    ir_value operands[] = {onnx_in(node, 0), onnx_in(node, 1)};
    return onnx_last(node, IR_OP_mod, operands, 2, &attr, 1);
}

mtl_status onnx_import_bit_shift(onnx_node *node)
{
    const char *direction = onnx_string(node, "direction");
    bool left = strcmp(direction, "LEFT") == 0;
    if (!left && strcmp(direction, "RIGHT") != 0) {
        return onnx_fail(node, MTL_INVALID_DATA, "direction '%.40s', expected 'LEFT' or 'RIGHT'", direction);
    }
    ir_value operands[] = {onnx_in(node, 0), onnx_in(node, 1)};
    return onnx_last(node, left ? IR_OP_shift_left : IR_OP_shift_right, operands, 2, NULL, 0);
}

/* x xor -1. */
mtl_status onnx_import_bitwise_not(onnx_node *node)
{
    static const int64_t ones = -1;
    mtl_dtype dtype = onnx_in_type(node, 0)->dtype;
    ir_value operands[2] = {onnx_in(node, 0), 0};
    BASE_TRY(ir_add_const_ints(node->importer->graph, &ones, 1, 0, node->importer->diag, &operands[1]));
    BASE_TRY(onnx_emit(node, IR_OP_cast, &operands[1], 1, (ir_attr[]){IR_DTYPE(to, dtype)}, 1, &operands[1]));
    return onnx_last(node, IR_OP_bit_xor, operands, 2, NULL, 0);
}

mtl_status onnx_import_prelu(onnx_node *node)
{
    ir_type x = *onnx_in_type(node, 0);
    BASE_TRY(onnx_import_simple(node));
    if (!ir_type_equal(&x, ir_type_of(node->importer->graph, node->outputs[0].value))) {
        return onnx_fail(node, MTL_INVALID_DATA, "the slope %s does not broadcast to %s",
                         onnx_shape_text(node, onnx_in_type(node, 1)), onnx_shape_text(node, &x));
    }
    return MTL_OK;
}

/* --- Clip ----------------------------------------------------------------------------------------------------- */

mtl_status onnx_import_clip(onnx_node *node)
{
    const ir_graph *graph = node->importer->graph;
    ir_value value = onnx_in(node, 0);
    ir_value low = onnx_in(node, 1);
    ir_value high = onnx_in(node, 2);
    double bounds[2] = {-INFINITY, INFINITY}; /* absent bounds bound nothing, infinities included */
    for (size_t i = 1; i < node->input_count; i++) {
        if (onnx_in(node, i) != 0 && onnx_in_type(node, i)->rank != 0 &&
            !(onnx_in_type(node, i)->rank == 1 && ir_dim_is(onnx_in_type(node, i)->dim[0], 1))) {
            return onnx_fail(node, MTL_INVALID_DATA, "input %zu is %s, expected a scalar", i,
                             onnx_shape_text(node, onnx_in_type(node, i)));
        }
    }
    if (ir_dtype_is_float(onnx_in_type(node, 0)->dtype) && (low == 0 || ir_const_scalar(graph, low, &bounds[0])) &&
        (high == 0 || ir_const_scalar(graph, high, &bounds[1]))) {
        ir_attr attrs[] = {IR_FLOAT(low, bounds[0]), IR_FLOAT(high, bounds[1])};
        return onnx_last(node, IR_OP_clip, &value, 1, attrs, 2);
    }
    if (low == 0 && high == 0) {
        return onnx_last_identity(node, value);
    }
    if (low != 0) {
        ir_value operands[] = {value, low};
        if (high == 0) {
            return onnx_last(node, IR_OP_max, operands, 2, NULL, 0);
        }
        BASE_TRY(onnx_emit(node, IR_OP_max, operands, 2, NULL, 0, &value));
    }
    ir_value operands[] = {value, high};
    return onnx_last(node, IR_OP_min, operands, 2, NULL, 0);
}

/* --- any number of operands ----------------------------------------------------------------------------------- */

/* ((a op b) op c) ...; `last` gives the result the output's name. */
static mtl_status chain(onnx_node *node, bool last, ir_value *result)
{
    ir_value value = onnx_in(node, 0);
    for (size_t i = 1; i < node->input_count; i++) {
        ir_value operands[] = {value, onnx_in(node, i)};
        if (last && i + 1 == node->input_count) {
            return onnx_last(node, node->ir, operands, 2, NULL, 0);
        }
        BASE_TRY(onnx_emit(node, node->ir, operands, 2, NULL, 0, &value));
    }
    *result = value;
    return last ? onnx_last_identity(node, value) : MTL_OK;
}

mtl_status onnx_import_variadic(onnx_node *node)
{
    ir_value result;
    return chain(node, true, &result);
}

mtl_status onnx_import_mean(onnx_node *node)
{
    ir_value operands[2];
    if (node->input_count == 1) {
        return onnx_last_identity(node, onnx_in(node, 0));
    }
    BASE_TRY(chain(node, false, &operands[0]));
    BASE_TRY(onnx_emit_number(node, (double)node->input_count, &operands[1]));
    return onnx_last(node, IR_OP_div, operands, 2, NULL, 0);
}

/* --- identities and casts ------------------------------------------------------------------------------------- */

mtl_status onnx_import_identity(onnx_node *node)
{
    return onnx_last_identity(node, onnx_in(node, 0));
}

mtl_status onnx_import_dropout(onnx_node *node)
{
    if (onnx_in(node, 2) != 0) {
        int64_t training;
        size_t count;
        BASE_TRY(onnx_operand_ints(node, 2, &training, 1, &count));
        if (count != 1 || training != 0) {
            return onnx_fail(node, MTL_UNSUPPORTED, "training_mode is on, the model is not exported for inference");
        }
    }
    onnx_refuse_output(node, 1, "the mask, which is not supported");
    return onnx_last_identity(node, onnx_in(node, 0));
}

static mtl_status cast_to(onnx_node *node, int32_t elem)
{
    mtl_dtype dtype = onnx_dtype(elem);
    if (dtype == 0) {
        return onnx_fail(node, MTL_UNSUPPORTED, "element type %s is not supported", onnx_elem_name(elem));
    }
    node->outputs[0].elem = elem;
    ir_value x = onnx_in(node, 0);
    if (ir_type_of(node->importer->graph, x)->dtype == onnx_compute_dtype(dtype)) {
        return onnx_last_identity(node, x);
    }
    ir_attr to = IR_DTYPE(to, onnx_compute_dtype(dtype));
    return onnx_last(node, IR_OP_cast, &x, 1, &to, 1);
}

mtl_status onnx_import_cast(onnx_node *node)
{
    int64_t to = onnx_int(node, "to");
    return cast_to(node, to >= 0 && to <= INT32_MAX ? (int32_t)to : -1);
}

mtl_status onnx_import_cast_like(onnx_node *node)
{
    return cast_to(node, node->inputs[1].elem);
}

/* --- constants ------------------------------------------------------------------------------------------------ */

static mtl_status define_constant(onnx_node *node, const ir_tensor *tensor, int32_t elem)
{
    onnx_importer *importer = node->importer;
    const char *name = base_arena_format(importer->arena, "%s%.256s", node->frame->prefix, node->proto->output[0]);
    BASE_TRY_MEMORY(name, importer->diag);
    node->outputs[0].elem = elem;
    return ir_add_const(importer->graph, name, tensor, importer->diag, &node->outputs[0].value);
}

static mtl_status constant_floats(onnx_node *node, const float *numbers, size_t count, int rank)
{
    double *copy = BASE_NEW_ARRAY(node->importer->arena, double, count);
    BASE_TRY_MEMORY(copy, node->importer->diag);
    for (size_t i = 0; i < count; i++) {
        copy[i] = (double)numbers[i];
    }
    ir_tensor tensor = {.dtype = MTL_F32, .rank = rank, .shape = {(int64_t)count}, .count = count, .f = copy};
    return define_constant(node, &tensor, onnx_elem_of(MTL_F32));
}

static mtl_status constant_ints(onnx_node *node, const int64_t *numbers, size_t count, int rank)
{
    int64_t *copy = base_arena_copy(node->importer->arena, numbers, count * sizeof *numbers);
    BASE_TRY_MEMORY(copy, node->importer->diag);
    ir_tensor tensor = {.dtype = MTL_I64, .rank = rank, .shape = {(int64_t)count}, .count = count, .i = copy};
    return define_constant(node, &tensor, onnx_elem_of(MTL_I64));
}

mtl_status onnx_import_constant(onnx_node *node)
{
    const Onnx__AttributeProto *attr = NULL;
    for (size_t i = 0; i < node->schema->attr_count; i++) {
        if (node->attrs[i] != NULL) {
            if (attr != NULL) {
                return onnx_fail(node, MTL_INVALID_DATA, "attributes '%s' and '%s' both give the value", attr->name,
                                 node->attrs[i]->name);
            }
            attr = node->attrs[i];
        }
    }
    if (attr == NULL) {
        return onnx_fail(node, MTL_INVALID_DATA, "no attribute gives the value");
    }
    switch ((int)attr->type) {
    case ONNX_ATTR_TENSOR: break;
    case ONNX_ATTR_INT: return constant_ints(node, &attr->i, 1, 0);
    case ONNX_ATTR_INTS: return constant_ints(node, attr->ints, attr->n_ints, 1);
    case ONNX_ATTR_FLOAT: return constant_floats(node, &attr->f, 1, 0);
    case ONNX_ATTR_FLOATS: return constant_floats(node, attr->floats, attr->n_floats, 1);
    default:
        return onnx_fail(node, MTL_UNSUPPORTED, "a value of type %s is not supported",
                         onnx_attr_type_name((int)attr->type));
    }
    const char *what = base_arena_format(node->importer->arena, "node '%s' (%s)", node->name, node->op);
    BASE_TRY_MEMORY(what, node->importer->diag);
    ir_tensor tensor;
    BASE_TRY(onnx_tensor(node->importer, attr->t, what, &tensor));
    return define_constant(node, &tensor, attr->t->data_type);
}

/* Small ones of a fixed shape are constants at once: shape arithmetic begins with them. */
static mtl_status filled_constant(onnx_node *node, const ir_tensor *fill, int32_t elem, const ir_type *type,
                                  size_t count)
{
    ir_tensor tensor = {.dtype = fill->dtype, .rank = type->rank, .count = count};
    double *f = BASE_NEW_ARRAY(node->importer->arena, double, count);
    int64_t *numbers = BASE_NEW_ARRAY(node->importer->arena, int64_t, count);
    BASE_TRY_MEMORY(f, node->importer->diag);
    BASE_TRY_MEMORY(numbers, node->importer->diag);
    bool is_float = ir_dtype_is_float(fill->dtype);
    for (size_t i = 0; i < count; i++) {
        f[i] = is_float ? ir_tensor_at(fill, 0) : 0;
        numbers[i] = is_float ? 0 : ir_tensor_int_at(fill, 0);
    }
    for (int i = 0; i < type->rank; i++) {
        tensor.shape[i] = type->dim[i].c;
    }
    tensor.f = is_float ? f : NULL;
    tensor.i = is_float ? NULL : numbers;
    return define_constant(node, &tensor, elem);
}

mtl_status onnx_import_constant_of_shape(onnx_node *node)
{
    onnx_importer *importer = node->importer;
    static const double zero = 0;
    ir_tensor fill = {.dtype = MTL_F32, .count = 1, .f = &zero};
    int32_t elem = onnx_elem_of(MTL_F32);
    const Onnx__TensorProto *proto = onnx_tensor_attr(node, "value");
    if (proto != NULL) {
        const char *what = base_arena_format(importer->arena, "node '%s' (%s)", node->name, node->op);
        BASE_TRY_MEMORY(what, importer->diag);
        BASE_TRY(onnx_tensor(importer, proto, what, &fill));
        elem = proto->data_type;
    }
    if (fill.count != 1) {
        return onnx_fail(node, MTL_INVALID_DATA, "attribute 'value' has %zu elements, expected one", fill.count);
    }
    fill.rank = 0;
    ir_type type = {.dtype = fill.dtype};
    size_t rank;
    BASE_TRY(onnx_operand_dims(node, 0, type.dim, MTL_MAX_RANK, &rank));
    type.rank = (int32_t)rank;
    ir_dim count = ir_dim_const(1);
    bool countable = ir_type_count(&type, &count);
    for (size_t i = 0; i < rank; i++) {
        if (ir_dim_is_const(type.dim[i]) && type.dim[i].c < 0) {
            return onnx_fail(node, MTL_INVALID_DATA, "the shape has %lld at axis %zu", (long long)type.dim[i].c, i);
        }
    }
    if (ir_type_is_fixed(&type) && countable && count.c <= IR_CONTENT_MAX) {
        return filled_constant(node, &fill, elem, &type, (size_t)count.c);
    }
    ir_value scalar;
    BASE_TRY(ir_add_const(importer->graph, NULL, &fill, importer->diag, &scalar));
    node->outputs[0].elem = elem;
    return onnx_last_typed(node, IR_OP_expand, scalar, NULL, 0, &type);
}
