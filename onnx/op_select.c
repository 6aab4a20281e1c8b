/* Handlers of operators that take parts and put parts together: Slice, Split, Gather, Concat. */
#include <string.h>

#include "onnx/once.h"

/* With --batch-axis0 a constant choice along the candidates was a choice within the frozen batch. */
static mtl_status check_frozen(const onnx_node *node, ir_dim dim)
{
    if (node->importer->frozen != 0 && dim.k[IR_SYMBOL_ROWS] != 0) {
        return onnx_fail(node, MTL_UNSUPPORTED, "it picks among the candidates that --batch-axis0 makes of the batch");
    }
    return MTL_OK;
}

/* Constants beside what the model has once, such as the vector in front of a sequence, have 1 where the users are now. */
static mtl_status widen_constants(onnx_node *node, int32_t axis)
{
    for (size_t i = 0; i < node->input_count; i++) {
        unsigned flags;
        const ir_type type = *onnx_in_type(node, i);
        BASE_TRY(onnx_once_flags(node->importer, onnx_in(node, i), &flags));
        for (int a = 0; a < type.rank && flags == ONNX_FROM_ONCE; a++) {
            bool users = a != axis && ir_dim_equal(type.dim[a], ir_dim_symbol(IR_SYMBOL_ROWS));
            for (size_t j = 0; j < node->input_count && users; j++) {
                BASE_TRY(onnx_once_widen(node, j, a));
            }
        }
    }
    return MTL_OK;
}

mtl_status onnx_import_concat(onnx_node *node)
{
    int32_t axis;
    BASE_TRY(onnx_axis(node, onnx_int(node, "axis"), onnx_in_type(node, 0)->rank, &axis));
    ir_value *operands = BASE_NEW_ARRAY(node->importer->arena, ir_value, node->input_count);
    BASE_TRY_MEMORY(operands, node->importer->diag);
    BASE_TRY(node->importer->once != NULL ? widen_constants(node, axis) : MTL_OK);
    for (size_t i = 0; i < node->input_count; i++) {
        operands[i] = onnx_in(node, i);
    }
    if (node->input_count == 1) {
        return onnx_last_identity(node, operands[0]);
    }
    ir_attr attr = IR_INT(axis, axis);
    return onnx_last(node, IR_OP_concat, operands, node->input_count, &attr, 1);
}

/* Where each candidate takes elements of its own. What is beyond them would be another candidate's: an error then. */
static mtl_status gather_own(onnx_node *node, ir_value data, ir_value index)
{
    ir_graph *graph = node->importer->graph;
    const ir_type from = *ir_type_of(graph, data), flat = *onnx_in_type(node, 0);
    ir_type to = *ir_type_of(graph, index);
    ir_value numbers[2], compare[2] = {index}, choice[3] = {0, 0, index};
    ir_attr dtype = IR_DTYPE(to, to.dtype);
    for (size_t i = 0; i < 2; i++) {
        int64_t number = i == 0 ? 0 : from.dim[1].c;
        BASE_TRY(ir_add_const_ints(graph, &number, 1, 0, node->importer->diag, &numbers[i]));
        if (to.dtype != MTL_I64) {
            BASE_TRY(onnx_emit(node, IR_OP_cast, &numbers[i], 1, &dtype, 1, &numbers[i]));
        }
    }
    compare[1] = numbers[0];
    BASE_TRY(onnx_emit(node, IR_OP_less, compare, 2, NULL, 0, &choice[0]));
    choice[1] = numbers[1];
    BASE_TRY(onnx_emit(node, IR_OP_where, choice, 3, NULL, 0, &index));
    ir_value operands[] = {data, index}, result;
    ir_attr attr = IR_INT(axis, 1);
    BASE_TRY(onnx_emit(node, IR_OP_batch_gather, operands, 2, &attr, 1, &result));
    to.dtype = flat.dtype;
    for (int i = 1; i < flat.rank; i++) {
        to.dim[to.rank++] = flat.dim[i];
    }
    return onnx_reshape(node, result, &to, true, NULL);
}

mtl_status onnx_import_gather(onnx_node *node)
{
    int32_t axis;
    ir_value own, index;
    const ir_type *data = onnx_in_type(node, 0);
    BASE_TRY(onnx_axis(node, onnx_int(node, "axis"), data->rank, &axis));
    BASE_TRY(check_frozen(node, data->dim[axis]));
    if (axis == 0 && onnx_find_own_rows(node->importer->graph, onnx_in(node, 0), onnx_in(node, 1), &own, &index)) {
        return gather_own(node, own, index);
    }
    ir_attr attr = IR_INT(axis, axis);
    ir_value operands[] = {onnx_in(node, 0), onnx_in(node, 1)};
    return onnx_last(node, IR_OP_gather, operands, 2, &attr, 1);
}

/* --- Slice ---------------------------------------------------------------------------------------------------- */

/* The smallest that an extent can be: all symbols are at least 1. False: unknown. */
static bool smallest(ir_dim dim, int64_t *number)
{
    static const int64_t ones[IR_MAX_SYMBOLS] = {1, 1, 1, 1};
    for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
        if (dim.k[i] < 0) {
            return false;
        }
    }
    return ir_dim_eval(dim, ones, number);
}

/* Whether a <= b for every batch. */
static bool at_most(ir_dim a, ir_dim b)
{
    ir_dim rest;
    int64_t number;
    return ir_dim_sub(b, a, &rest) && smallest(rest, &number) && number >= 0;
}

/* A position from the operand (negative: from the end) clamped to 0 .. extent, where that is the same expression for
 * every batch. Exporters write "to the end" as one of the largest int32 or int64. */
static bool clamp_position(ir_dim position, ir_dim extent, ir_dim *result)
{
    ir_dim zero = ir_dim_const(0);
    if (ir_dim_is_const(position) && position.c >= INT32_MAX) {
        *result = extent;
        return true;
    }
    if (ir_dim_is_const(position) && position.c < 0) {
        if (position.c <= -INT32_MAX) {
            *result = zero;
            return true;
        }
        if (!ir_dim_add(position, extent, &position)) {
            return false;
        }
    }
    *result = at_most(position, zero) ? zero : at_most(extent, position) ? extent : position;
    return at_most(zero, *result) && at_most(*result, extent);
}

/* ceil(length / step), at least 0. */
static bool count_steps(ir_dim length, int64_t step, ir_dim *count)
{
    if (at_most(length, ir_dim_const(0))) {
        *count = ir_dim_const(0);
        return true;
    }
    if (ir_dim_is_const(length)) {
        *count = ir_dim_const((length.c - 1) / step + 1);
        return true;
    }
    return at_most(ir_dim_const(0), length) && ir_dim_div(length, ir_dim_const(step), count);
}

typedef struct axis_slice {
    int64_t start, step;
    ir_dim extent;
} axis_slice;

static bool slice_backwards(ir_dim from, ir_dim to, int64_t step, ir_dim extent, axis_slice *slice)
{
    if (!ir_dim_is_const(from) || !ir_dim_is_const(to) || !ir_dim_is_const(extent) || step == INT64_MIN) {
        return false;
    }
    int64_t last = extent.c - 1;
    int64_t start = from.c < 0 ? (from.c < -extent.c ? -1 : from.c + extent.c) : from.c;
    int64_t end = to.c < 0 ? (to.c < -extent.c ? -1 : to.c + extent.c) : to.c;
    start = start > last ? last : start;
    end = end > last ? last : end;
    slice->extent = ir_dim_const(start > end ? (start - end - 1) / -step + 1 : 0);
    slice->start = start < 0 || start <= end ? 0 : start;
    return true;
}

/* One axis; false: what it takes is no linear expression in the candidates. */
static bool slice_axis(ir_dim from, ir_dim to, int64_t step, ir_dim extent, axis_slice *slice)
{
    ir_dim start, end, length;
    slice->step = step;
    if (step < 0) {
        return slice_backwards(from, to, step, extent, slice);
    }
    if (!clamp_position(from, extent, &start) || !clamp_position(to, extent, &end) ||
        !ir_dim_sub(end, start, &length) || !count_steps(length, step, &slice->extent)) {
        return false;
    }
    if (ir_dim_is(slice->extent, 0)) {
        start = ir_dim_const(0);
    }
    slice->start = start.c;
    return ir_dim_is_const(start);
}

static mtl_status read_slices(const onnx_node *node, const ir_type *type, axis_slice slices[MTL_MAX_RANK])
{
    ir_dim starts[MTL_MAX_RANK], ends[MTL_MAX_RANK];
    int64_t axes[MTL_MAX_RANK], steps[MTL_MAX_RANK];
    size_t count, end_count, axis_count, step_count;
    bool set[MTL_MAX_RANK];
    BASE_TRY(onnx_operand_dims(node, 1, starts, MTL_MAX_RANK, &count));
    BASE_TRY(onnx_operand_dims(node, 2, ends, MTL_MAX_RANK, &end_count));
    axis_count = step_count = count;
    for (size_t i = 0; i < count; i++) {
        axes[i] = (int64_t)i;
        steps[i] = 1;
    }
    if (onnx_in(node, 3) != 0) {
        BASE_TRY(onnx_operand_ints(node, 3, axes, MTL_MAX_RANK, &axis_count));
    }
    if (onnx_in(node, 4) != 0) {
        BASE_TRY(onnx_operand_ints(node, 4, steps, MTL_MAX_RANK, &step_count));
    }
    if (count != end_count || count != axis_count || count != step_count) {
        return onnx_fail(node, MTL_INVALID_DATA,
                         "%zu starts, %zu ends, %zu axes and %zu steps, expected as many of each", count, end_count,
                         axis_count, step_count);
    }
    BASE_TRY(onnx_axes(node, axes, count, type->rank, set));
    for (int i = 0; i < type->rank; i++) {
        slices[i] = (axis_slice){.step = 1, .extent = type->dim[i]};
    }
    for (size_t i = 0; i < count; i++) {
        int32_t axis;
        BASE_TRY(onnx_axis(node, axes[i], type->rank, &axis));
        if (steps[i] == 0) {
            return onnx_fail(node, MTL_INVALID_DATA, "the step of axis %d is 0", axis);
        }
        if (!slice_axis(starts[i], ends[i], steps[i], type->dim[axis], &slices[axis])) {
            return onnx_fail(node, MTL_UNSUPPORTED, "the slice along axis %d of %s depends on the number of candidates",
                             axis, onnx_shape_text(node, type));
        }
        if (!ir_dim_equal(slices[axis].extent, type->dim[axis])) {
            BASE_TRY(check_frozen(node, type->dim[axis]));
        }
    }
    return MTL_OK;
}

static mtl_status emit_slice(onnx_node *node, size_t output, const axis_slice *slices)
{
    const ir_type from = *onnx_in_type(node, 0);
    ir_type to = from;
    int64_t starts[MTL_MAX_RANK] = {0}, steps[MTL_MAX_RANK] = {0};
    bool whole = true;
    for (int i = 0; i < from.rank; i++) {
        starts[i] = slices[i].start;
        steps[i] = slices[i].step;
        to.dim[i] = slices[i].extent;
        whole = whole && starts[i] == 0 && (steps[i] == 1 || ir_dim_is(from.dim[i], 1));
    }
    if (whole && output == 0 && ir_type_equal(&from, &to)) {
        return onnx_last_identity(node, onnx_in(node, 0));
    }
    ir_attr attrs[] = {IR_INTS(starts, starts, from.rank), IR_INTS(steps, steps, from.rank)};
    return onnx_output_typed(node, output, IR_OP_slice, onnx_in(node, 0), attrs, 2, &to);
}

mtl_status onnx_import_slice(onnx_node *node)
{
    axis_slice slices[MTL_MAX_RANK];
    BASE_TRY(read_slices(node, onnx_in_type(node, 0), slices));
    return emit_slice(node, 0, slices);
}

/* --- Split ---------------------------------------------------------------------------------------------------- */

/* Sizes of the parts when none are given: equal ones, since opset 18 a smaller last one. */
static mtl_status equal_sizes(const onnx_node *node, int64_t extent, int64_t *sizes)
{
    int64_t parts = (int64_t)node->output_count;
    if (onnx_has(node, "num_outputs") && onnx_int(node, "num_outputs") != parts) {
        return onnx_fail(node, MTL_INVALID_DATA, "num_outputs is %lld, but it has %lld outputs",
                         (long long)onnx_int(node, "num_outputs"), (long long)parts);
    }
    int64_t size = (extent + parts - 1) / parts;
    if (extent % parts != 0 && (!onnx_has(node, "num_outputs") || extent - size * (parts - 1) < 1)) {
        return onnx_fail(node, MTL_INVALID_DATA, "an extent of %lld cannot be split into %lld parts", (long long)extent,
                         (long long)parts);
    }
    for (int64_t i = 0; i < parts; i++) {
        sizes[i] = i + 1 < parts ? size : extent - size * (parts - 1);
    }
    return MTL_OK;
}

static mtl_status given_sizes(const onnx_node *node, int64_t *sizes, bool *given)
{
    size_t count = node->output_count;
    *given = true;
    if (onnx_in(node, 1) != 0) {
        BASE_TRY(onnx_operand_ints(node, 1, sizes, node->output_count, &count));
    } else if (onnx_has(node, "split")) {
        const int64_t *numbers = onnx_ints(node, "split", &count);
        if (count == node->output_count) {
            memcpy(sizes, numbers, count * sizeof *sizes);
        }
    } else {
        *given = false;
    }
    if (count != node->output_count) {
        return onnx_fail(node, MTL_INVALID_DATA, "%zu sizes for %zu outputs", count, node->output_count);
    }
    return MTL_OK;
}

mtl_status onnx_import_split(onnx_node *node)
{
    const ir_type type = *onnx_in_type(node, 0);
    int64_t *sizes = BASE_NEW_ARRAY(node->importer->arena, int64_t, node->output_count);
    BASE_TRY_MEMORY(sizes, node->importer->diag);
    int32_t axis;
    bool given;
    BASE_TRY(onnx_axis(node, onnx_int(node, "axis"), type.rank, &axis));
    if (!ir_dim_is_const(type.dim[axis])) {
        return onnx_fail(node, MTL_UNSUPPORTED, "axis %d of %s is symbolic, it cannot be split", axis,
                         onnx_shape_text(node, &type));
    }
    BASE_TRY(given_sizes(node, sizes, &given));
    if (!given) {
        BASE_TRY(equal_sizes(node, type.dim[axis].c, sizes));
    }
    axis_slice slices[MTL_MAX_RANK];
    for (int i = 0; i < type.rank; i++) {
        slices[i] = (axis_slice){.step = 1, .extent = type.dim[i]};
    }
    int64_t start = 0;
    for (size_t i = 0; i < node->output_count; i++) {
        if (sizes[i] < 0 || sizes[i] > type.dim[axis].c - start) {
            return onnx_fail(node, MTL_INVALID_DATA, "its sizes do not add up to the extent %lld of axis %d",
                             (long long)type.dim[axis].c, axis);
        }
        slices[axis] = (axis_slice){.start = sizes[i] > 0 ? start : 0, .step = 1, .extent = ir_dim_const(sizes[i])};
        if (node->proto->output[i][0] != '\0') {
            BASE_TRY(emit_slice(node, i, slices));
        }
        start += sizes[i];
    }
    if (start != type.dim[axis].c) {
        return onnx_fail(node, MTL_INVALID_DATA, "its sizes add up to %lld, the extent of axis %d is %lld",
                         (long long)start, axis, (long long)type.dim[axis].c);
    }
    return MTL_OK;
}
