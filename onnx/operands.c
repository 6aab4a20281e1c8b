/* Operands and attributes as the handlers read them, and what they emit. */
#include <string.h>

#include "onnx/once.h"

/* --- attributes ----------------------------------------------------------------------------------------------- */

static const Onnx__AttributeProto *given(const onnx_node *node, const char *name, const onnx_schema_attr **row)
{
    *row = onnx_schema_attr_find(node->schema, name);
    return *row == NULL ? NULL : node->attrs[*row - node->schema->attrs];
}

const Onnx__AttributeProto *onnx_attr(const onnx_node *node, const char *name)
{
    const onnx_schema_attr *row;
    return given(node, name, &row);
}

bool onnx_has(const onnx_node *node, const char *name)
{
    const onnx_schema_attr *row;
    return given(node, name, &row) != NULL;
}

int64_t onnx_int(const onnx_node *node, const char *name)
{
    const onnx_schema_attr *row;
    const Onnx__AttributeProto *attr = given(node, name, &row);
    return attr != NULL ? attr->i : row != NULL ? row->i : 0;
}

double onnx_float(const onnx_node *node, const char *name)
{
    const onnx_schema_attr *row;
    const Onnx__AttributeProto *attr = given(node, name, &row);
    return attr != NULL ? (double)attr->f : row != NULL ? row->f : 0;
}

const char *onnx_string(const onnx_node *node, const char *name)
{
    const onnx_schema_attr *row;
    const Onnx__AttributeProto *attr = given(node, name, &row);
    if (attr != NULL) {
        const char *text = base_arena_string_n(node->importer->arena, (const char *)attr->s.data, attr->s.len);
        return text != NULL ? text : "";
    }
    return row != NULL && row->s != NULL ? row->s : "";
}

const int64_t *onnx_ints(const onnx_node *node, const char *name, size_t *count)
{
    const onnx_schema_attr *row;
    const Onnx__AttributeProto *attr = given(node, name, &row);
    if (attr != NULL) {
        *count = attr->n_ints;
        return attr->ints;
    }
    *count = row != NULL ? row->count : 0;
    return row != NULL ? row->ints : NULL;
}

const Onnx__TensorProto *onnx_tensor_attr(const onnx_node *node, const char *name)
{
    const onnx_schema_attr *row;
    const Onnx__AttributeProto *attr = given(node, name, &row);
    return attr != NULL ? attr->t : NULL;
}

/* --- operands ------------------------------------------------------------------------------------------------- */

ir_value onnx_in(const onnx_node *node, size_t index)
{
    return index < node->input_count ? node->inputs[index].value : 0;
}

const ir_type *onnx_in_type(const onnx_node *node, size_t index)
{
    return ir_type_of(node->importer->graph, onnx_in(node, index));
}

mtl_status onnx_axis(const onnx_node *node, int64_t axis, int rank, int32_t *result)
{
    if (axis < -rank || axis >= rank) {
        return onnx_fail(node, MTL_INVALID_DATA, "axis %lld is out of range for rank %d", (long long)axis, rank);
    }
    *result = (int32_t)(axis < 0 ? axis + rank : axis);
    return MTL_OK;
}

mtl_status onnx_axes(const onnx_node *node, const int64_t *axes, size_t count, int rank, bool set[MTL_MAX_RANK])
{
    memset(set, 0, MTL_MAX_RANK * sizeof *set);
    for (size_t i = 0; i < count; i++) {
        int32_t axis = 0;
        BASE_TRY(onnx_axis(node, axes[i], rank, &axis));
        if (set[axis]) {
            return onnx_fail(node, MTL_INVALID_DATA, "axis %lld is there twice", (long long)axes[i]);
        }
        set[axis] = true;
    }
    return MTL_OK;
}

/* A shape that was 1 in the model and is the candidates now means the same for what has changed with it alone, and for
 * constants, which are copied. */
static mtl_status check_once(const onnx_node *node, size_t index)
{
    onnx_importer *importer = node->importer;
    const ir_value_info *info = ir_info(importer->graph, onnx_in(node, index));
    unsigned shape, data = 0;
    BASE_TRY(onnx_once_flags(importer, onnx_in(node, index), &shape));
    if (index > 0) {
        BASE_TRY(onnx_once_flags(importer, onnx_in(node, 0), &data));
    }
    bool changed = shape > ONNX_FROM_ONCE;
    for (size_t i = 0; i < info->content_count && shape == ONNX_FROM_ONCE; i++) {
        changed = changed || info->content[i].k[IR_SYMBOL_ROWS] != 0;
    }
    if ((shape & ONNX_FROM_ONCE) == 0 || !changed || data == ONNX_FROM_ONCE) {
        return MTL_OK;
    }
    if (shape == ONNX_FROM_ONCE && data == 0) {
        onnx_once_shaped(importer);
        return MTL_OK;
    }
    return onnx_fail(node, MTL_UNSUPPORTED, "input %zu (%s) is computed from the extent 1", index,
                     onnx_schema_input(node->schema, index)->name);
}

mtl_status onnx_operand_dims(const onnx_node *node, size_t index, ir_dim *dims, size_t capacity, size_t *count)
{
    const ir_value_info *info = ir_info(node->importer->graph, onnx_in(node, index));
    const char *name = onnx_schema_input(node->schema, index)->name;
    if (ir_dtype_is_float(info->type.dtype) || info->type.rank > 1) {
        return onnx_fail(node, MTL_INVALID_DATA, "input %zu (%s) has rank %d, expected integers of rank 0 or 1", index,
                         name, info->type.rank);
    }
    if (info->type.rank == 1 && ir_dim_is(info->type.dim[0], 0)) {
        *count = 0;
        return MTL_OK;
    }
    int64_t numbers[IR_CONTENT_MAX];
    if (info->content == NULL &&
        onnx_known_ints(node->importer, onnx_in(node, index), numbers, sizeof numbers / sizeof numbers[0], count) &&
        *count <= capacity) {
        for (size_t i = 0; i < *count; i++) {
            dims[i] = ir_dim_const(numbers[i]);
        }
        return MTL_OK;
    }
    if (info->content == NULL) {
        return onnx_fail(node, MTL_UNSUPPORTED, "input %zu (%s) depends on data, it must be known while compiling",
                         index, name);
    }
    if (info->content_count > capacity) {
        return onnx_fail(node, MTL_UNSUPPORTED, "input %zu (%s) has %zu elements, at most %zu are supported", index,
                         name, info->content_count, capacity);
    }
    memcpy(dims, info->content, info->content_count * sizeof *dims);
    *count = info->content_count;
    return check_once(node, index);
}

mtl_status onnx_operand_ints(const onnx_node *node, size_t index, int64_t *numbers, size_t capacity, size_t *count)
{
    ir_dim dims[IR_CONTENT_MAX];
    BASE_TRY(onnx_operand_dims(node, index, dims, capacity < IR_CONTENT_MAX ? capacity : IR_CONTENT_MAX, count));
    for (size_t i = 0; i < *count; i++) {
        if (!ir_dim_is_const(dims[i])) {
            return onnx_fail(node, MTL_UNSUPPORTED, "input %zu (%s) depends on the number of candidates", index,
                             onnx_schema_input(node->schema, index)->name);
        }
        numbers[i] = dims[i].c;
    }
    return MTL_OK;
}

mtl_status onnx_product(const onnx_node *node, const ir_type *type, int from, int to, ir_dim *result)
{
    *result = ir_dim_const(1);
    for (int i = from; i < to; i++) {
        if (!ir_dim_mul(*result, type->dim[i], result)) {
            return onnx_fail(node, MTL_UNSUPPORTED, "the number of elements of %s is not linear in the candidates",
                             onnx_shape_text(node, type));
        }
    }
    return MTL_OK;
}

const char *onnx_shape_text(const onnx_node *node, const ir_type *type)
{
    base_arena *arena = node->importer->arena;
    const char *text = "[";
    for (int i = 0; i < type->rank && text != NULL; i++) {
        const char *dim = ir_dim_text(type->dim[i], &node->importer->graph->symbols, arena);
        text = dim == NULL ? NULL : base_arena_format(arena, "%s%s%s", text, i == 0 ? "" : ", ", dim);
    }
    text = text == NULL ? NULL : base_arena_format(arena, "%s]", text);
    return text == NULL ? "(no memory)" : text;
}

/* --- emitting ------------------------------------------------------------------------------------------------- */

enum { INTERMEDIATE = -1 };

/* A new IR node, named after output `index` or as a step towards output 0. */
static mtl_status insert(onnx_node *node, int index, ir_op op, const ir_value *inputs, size_t input_count,
                         const ir_attr *attrs, size_t attr_count, const ir_type *type, ir_value *result)
{
    onnx_importer *importer = node->importer;
    const char *name = node->output_count == 0 ? "" : node->proto->output[index < 0 ? 0 : index];
    const char *wish = base_arena_format(importer->arena, "%s%.256s%s%s", node->frame->prefix, name,
                                         index < 0 ? "." : "", index < 0 ? ir_op_table(op)->name : "");
    BASE_TRY_MEMORY(wish, importer->diag);
    if (type != NULL) {
        return ir_insert_typed(importer->graph, 0, op, wish, inputs, input_count, attrs, attr_count, type,
                               importer->diag, result);
    }
    return ir_insert(importer->graph, 0, op, wish, inputs, input_count, attrs, attr_count, importer->diag, result);
}

mtl_status onnx_emit(onnx_node *node, ir_op op, const ir_value *inputs, size_t input_count, const ir_attr *attrs,
                     size_t attr_count, ir_value *result)
{
    return insert(node, INTERMEDIATE, op, inputs, input_count, attrs, attr_count, NULL, result);
}

mtl_status onnx_emit_typed(onnx_node *node, ir_op op, ir_value input, const ir_attr *attrs, size_t attr_count,
                           const ir_type *type, ir_value *result)
{
    return insert(node, INTERMEDIATE, op, &input, 1, attrs, attr_count, type, result);
}

mtl_status onnx_last(onnx_node *node, ir_op op, const ir_value *inputs, size_t input_count, const ir_attr *attrs,
                     size_t attr_count)
{
    return insert(node, 0, op, inputs, input_count, attrs, attr_count, NULL, &node->outputs[0].value);
}

mtl_status onnx_last_typed(onnx_node *node, ir_op op, ir_value input, const ir_attr *attrs, size_t attr_count,
                           const ir_type *type)
{
    return onnx_output_typed(node, 0, op, input, attrs, attr_count, type);
}

mtl_status onnx_output_typed(onnx_node *node, size_t index, ir_op op, ir_value input, const ir_attr *attrs,
                             size_t attr_count, const ir_type *type)
{
    return insert(node, (int)index, op, &input, 1, attrs, attr_count, type, &node->outputs[index].value);
}

mtl_status onnx_last_identity(onnx_node *node, ir_value value)
{
    if (ir_info(node->importer->graph, value)->tensor != NULL) {
        node->outputs[0].value = value;
        return MTL_OK;
    }
    return onnx_last(node, IR_OP_identity, &value, 1, NULL, 0);
}

mtl_status onnx_emit_number(onnx_node *node, double number, ir_value *result)
{
    return ir_add_const_float(node->importer->graph, number, MTL_F32, node->importer->diag, result);
}

mtl_status onnx_reshape(onnx_node *node, ir_value value, const ir_type *type, bool last, ir_value *result)
{
    if (ir_type_equal(type, ir_type_of(node->importer->graph, value))) {
        if (last) {
            return onnx_last_identity(node, value);
        }
        *result = value;
        return MTL_OK;
    }
    return insert(node, last ? 0 : INTERMEDIATE, IR_OP_reshape, &value, 1, NULL, 0, type,
                  last ? &node->outputs[0].value : result);
}

void onnx_refuse_output(onnx_node *node, size_t index, const char *why)
{
    if (index < node->output_count) {
        const char *text = base_arena_format(node->importer->arena, "output %zu of node '%s' (%s), %s", index,
                                             node->name, node->op, why);
        node->outputs[index].refused = text != NULL ? text : why;
    }
}
