/* Handlers of operators that choose by data: OneHot, ArgMax, TopK, GatherElements, GatherND; and Trilu. */
#include "onnx/internal.h"

static bool is_rows(ir_dim dim)
{
    return dim.k[IR_SYMBOL_ROWS] != 0;
}

/* With the axes `a` and `b` swapped. */
static mtl_status swap_axes(onnx_node *node, int a, int b, bool last, ir_value *value)
{
    int rank = ir_type_of(node->importer->graph, *value)->rank;
    int64_t perm[MTL_MAX_RANK] = {0};
    for (int i = 0; i < rank; i++) {
        perm[i] = i == a ? b : i == b ? a : i;
    }
    ir_attr attr = IR_INTS(perm, perm, rank);
    return last ? onnx_last(node, IR_OP_transpose, value, 1, &attr, 1)
                : onnx_emit(node, IR_OP_transpose, value, 1, &attr, 1, value);
}

/* An integer constant of the dtype of `like`. */
static mtl_status emit_integer(onnx_node *node, int64_t number, ir_value like, ir_value *result)
{
    ir_graph *graph = node->importer->graph;
    mtl_dtype dtype = ir_type_of(graph, like)->dtype;
    BASE_TRY(ir_add_const_ints(graph, &number, 1, 0, node->importer->diag, result));
    ir_attr to = IR_DTYPE(to, dtype);
    return dtype == MTL_I64 ? MTL_OK : onnx_emit(node, IR_OP_cast, result, 1, &to, 1, result);
}

/* --- elements by index ---------------------------------------------------------------------------------------- */

/* Element by element along `axis`: the axes but that one are alike, and become outer ones. */
static mtl_status gather_elements(onnx_node *node, int axis, ir_value data, ir_value indices)
{
    int end = ir_type_of(node->importer->graph, data)->rank - 1;
    ir_attr attr = IR_INT(axis, end);
    ir_value operands[] = {data, indices}, result;
    if (axis == end) {
        return onnx_last(node, IR_OP_batch_gather, operands, 2, &attr, 1);
    }
    BASE_TRY(swap_axes(node, axis, end, false, &operands[0]));
    BASE_TRY(swap_axes(node, axis, end, false, &operands[1]));
    BASE_TRY(onnx_emit(node, IR_OP_batch_gather, operands, 2, &attr, 1, &result));
    return swap_axes(node, axis, end, true, &result);
}

mtl_status onnx_import_gather_elements(onnx_node *node)
{
    const ir_type data = *onnx_in_type(node, 0), indices = *onnx_in_type(node, 1);
    int64_t starts[MTL_MAX_RANK] = {0}, steps[MTL_MAX_RANK];
    int32_t axis;
    BASE_TRY(onnx_axis(node, onnx_int(node, "axis"), data.rank, &axis));
    ir_type kept = data; /* of the others, as many as there are indices */
    bool fits = indices.rank == data.rank, whole = true;
    for (int i = 0; fits && i < data.rank; i++) {
        steps[i] = 1;
        if (i == axis || ir_dim_equal(indices.dim[i], data.dim[i])) {
            continue;
        }
        fits = ir_dim_is_const(indices.dim[i]) && ir_dim_is_const(data.dim[i]) && indices.dim[i].c <= data.dim[i].c;
        kept.dim[i] = indices.dim[i];
        whole = false;
    }
    if (!fits) {
        return onnx_fail(node, MTL_INVALID_DATA, "indices %s do not fit data %s", onnx_shape_text(node, &indices),
                         onnx_shape_text(node, &data));
    }
    if (is_rows(data.dim[axis])) {
        return onnx_fail(node, MTL_UNSUPPORTED, "it picks among the candidates, along axis %d of %s", axis,
                         onnx_shape_text(node, &data));
    }
    ir_value x = onnx_in(node, 0);
    if (!whole) {
        ir_attr attrs[] = {IR_INTS(starts, starts, data.rank), IR_INTS(steps, steps, data.rank)};
        BASE_TRY(onnx_emit_typed(node, IR_OP_slice, x, attrs, 2, &kept, &x));
    }
    return gather_elements(node, axis, x, onnx_in(node, 1));
}

mtl_status onnx_import_top_k(onnx_node *node)
{
    const ir_type type = *onnx_in_type(node, 0);
    int64_t k;
    size_t count;
    int32_t axis;
    BASE_TRY(onnx_axis(node, onnx_int(node, "axis"), type.rank, &axis));
    BASE_TRY(onnx_operand_ints(node, 1, &k, 1, &count));
    if (count != 1) {
        return onnx_fail(node, MTL_INVALID_DATA, "input 1 (K) has %zu elements, expected one", count);
    }
    if (is_rows(type.dim[axis])) {
        return onnx_fail(node, MTL_UNSUPPORTED, "it sorts the candidates, along axis %d of %s", axis,
                         onnx_shape_text(node, &type));
    }
    ir_value x = onnx_in(node, 0), places;
    ir_attr attrs[] = {IR_INT(axis, axis), IR_INT(k, k), IR_INT(largest, onnx_int(node, "largest") != 0)};
    BASE_TRY(onnx_emit(node, IR_OP_top_k, &x, 1, attrs, 3, &places));
    if (node->output_count > 1) {
        node->outputs[1].value = places;
    }
    return gather_elements(node, axis, x, places);
}

/* The place of the best element; the last one of equals is the first from the end. */
mtl_status onnx_import_arg(onnx_node *node)
{
    ir_type type = *onnx_in_type(node, 0);
    bool from_end = onnx_int(node, "select_last_index") != 0, keep = onnx_int(node, "keepdims") != 0;
    int32_t axis;
    BASE_TRY(onnx_axis(node, onnx_int(node, "axis"), type.rank, &axis));
    if (!ir_dim_is_const(type.dim[axis])) {
        return onnx_fail(node, MTL_UNSUPPORTED, "axis %d of %s is symbolic", axis, onnx_shape_text(node, &type));
    }
    int64_t last = type.dim[axis].c - 1;
    ir_value x = onnx_in(node, 0);
    if (from_end) {
        int64_t starts[MTL_MAX_RANK] = {0}, steps[MTL_MAX_RANK];
        for (int i = 0; i < type.rank; i++) {
            steps[i] = i == axis ? -1 : 1;
        }
        starts[axis] = last;
        ir_attr attrs[] = {IR_INTS(starts, starts, type.rank), IR_INTS(steps, steps, type.rank)};
        BASE_TRY(onnx_emit_typed(node, IR_OP_slice, x, attrs, 2, &type, &x));
    }
    /* The IR op of the operator's row says which: max or min. */
    ir_attr attrs[] = {IR_INT(axis, axis), IR_INT(k, 1), IR_INT(largest, node->ir == IR_OP_max)};
    BASE_TRY(onnx_emit(node, IR_OP_top_k, &x, 1, attrs, 3, &x));
    if (from_end) {
        ir_value operands[] = {0, x};
        BASE_TRY(emit_integer(node, last, x, &operands[0]));
        BASE_TRY(onnx_emit(node, IR_OP_sub, operands, 2, NULL, 0, &x));
    }
    type = *ir_type_of(node->importer->graph, x);
    for (int i = axis; !keep && i + 1 < type.rank; i++) {
        type.dim[i] = type.dim[i + 1];
    }
    type.rank -= !keep;
    return onnx_reshape(node, x, &type, true, NULL);
}

/* --- GatherND ------------------------------------------------------------------------------------------------- */

/* Component `i` of the indices (.., depth): their shape without the last axis. */
static mtl_status component(onnx_node *node, int64_t i, ir_value *result)
{
    ir_type type = *onnx_in_type(node, 1);
    int64_t starts[MTL_MAX_RANK] = {0}, steps[MTL_MAX_RANK];
    for (int j = 0; j < type.rank; j++) {
        steps[j] = 1;
    }
    starts[type.rank - 1] = i;
    type.dim[type.rank - 1] = ir_dim_const(1);
    ir_attr attrs[] = {IR_INTS(starts, starts, type.rank), IR_INTS(steps, steps, type.rank)};
    BASE_TRY(onnx_emit_typed(node, IR_OP_slice, onnx_in(node, 1), attrs, 2, &type, result));
    type.rank--;
    return onnx_reshape(node, *result, &type, false, result);
}

/* `index` of an axis of `extent`, from the beginning; one that is outside becomes `outside`. */
static mtl_status normalise(onnx_node *node, int64_t extent, int64_t outside, ir_value *index)
{
    ir_value numbers[3], compare[2] = {*index}, sum[2] = {*index}, choice[3];
    BASE_TRY(emit_integer(node, extent, *index, &numbers[0]));
    BASE_TRY(emit_integer(node, 0, *index, &numbers[1]));
    BASE_TRY(emit_integer(node, outside, *index, &numbers[2]));
    compare[1] = numbers[1];
    BASE_TRY(onnx_emit(node, IR_OP_less, compare, 2, NULL, 0, &choice[0]));
    sum[1] = numbers[0];
    BASE_TRY(onnx_emit(node, IR_OP_add, sum, 2, NULL, 0, &choice[1]));
    choice[2] = *index;
    BASE_TRY(onnx_emit(node, IR_OP_where, choice, 3, NULL, 0, index));
    ir_value low[] = {*index, numbers[1]}, high[] = {*index, numbers[0]}, either[2];
    BASE_TRY(onnx_emit(node, IR_OP_less, low, 2, NULL, 0, &either[0]));
    BASE_TRY(onnx_emit(node, IR_OP_greater_or_equal, high, 2, NULL, 0, &either[1]));
    BASE_TRY(onnx_emit(node, IR_OP_or, either, 2, NULL, 0, &choice[0]));
    choice[1] = numbers[2];
    choice[2] = *index;
    return onnx_emit(node, IR_OP_where, choice, 3, NULL, 0, index);
}

/* One index for the axes from `first` on, `depth` of them, of which the components from `skip` on are; data becomes
 * (.., their product, ..). */
static mtl_status join_components(onnx_node *node, int first, int64_t depth, int64_t skip, ir_value *data,
                                  ir_value *index)
{
    ir_type type = *ir_type_of(node->importer->graph, *data);
    ir_value part, all = 0;
    int64_t product = 1;
    for (int64_t i = 0; i < depth; i++) {
        ir_dim extent = type.dim[first + i];
        if (!ir_dim_is_const(extent) || __builtin_mul_overflow(product, extent.c, &product) || product > INT32_MAX) {
            return onnx_fail(node, MTL_UNSUPPORTED, "axes %d to %d of %s, expected fixed ones of at most %d elements",
                             first, first + (int)depth - 1, onnx_shape_text(node, &type), INT32_MAX);
        }
    }
    for (int64_t i = 0; i < depth; i++) {
        BASE_TRY(component(node, skip + i, &part));
        if (depth > 1) { /* a product outside stays outside, whatever is added to it */
            BASE_TRY(normalise(node, type.dim[first + i].c, INT32_MAX, &part));
        }
        if (all != 0) {
            ir_value scaled[] = {all, 0}, sum[] = {0, part};
            BASE_TRY(emit_integer(node, type.dim[first + i].c, all, &scaled[1]));
            BASE_TRY(onnx_emit(node, IR_OP_mul, scaled, 2, NULL, 0, &sum[0]));
            BASE_TRY(onnx_emit(node, IR_OP_add, sum, 2, NULL, 0, &part));
        }
        all = part;
    }
    ir_type joined = {.dtype = type.dtype};
    for (int i = 0; i < type.rank; i++) {
        if (i <= first || i >= first + depth) {
            joined.dim[joined.rank++] = i == first ? ir_dim_const(product) : type.dim[i];
        }
    }
    *index = all;
    return onnx_reshape(node, *data, &joined, false, data);
}

mtl_status onnx_import_gather_nd(onnx_node *node)
{
    const ir_type data = *onnx_in_type(node, 0), indices = *onnx_in_type(node, 1);
    int64_t batch = onnx_int(node, "batch_dims");
    ir_dim last = indices.rank > 0 ? indices.dim[indices.rank - 1] : ir_dim_const(0);
    if (indices.rank < 1 || !ir_dim_is_const(last) || last.c < 1 || batch < 0 || batch >= indices.rank ||
        last.c > data.rank - batch) {
        return onnx_fail(node, MTL_INVALID_DATA, "indices %s with batch_dims %lld do not fit data %s",
                         onnx_shape_text(node, &indices), (long long)batch, onnx_shape_text(node, &data));
    }
    int64_t depth = last.c, skip = 0;
    ir_value operands[2] = {onnx_in(node, 0)};
    if (batch == 0 && depth > 1 && is_rows(data.dim[0])) { /* x[arange(B), i]: each candidate takes its own */
        BASE_TRY(component(node, 0, &operands[1]));
        if (!onnx_counts_rows(node->importer->graph, operands[1], data.dim[0])) {
            return onnx_fail(node, MTL_UNSUPPORTED, "it picks among the candidates, along axis 0 of %s",
                             onnx_shape_text(node, &data));
        }
        batch = skip = 1;
    }
    BASE_TRY(join_components(node, (int)batch, depth - skip, skip, &operands[0], &operands[1]));
    ir_attr attr = IR_INT(axis, batch);
    return onnx_last(node, batch > 0 ? IR_OP_batch_gather : IR_OP_gather, operands, 2, &attr, 1);
}

/* --- OneHot, Trilu -------------------------------------------------------------------------------------------- */

/* where(indices = 0 .. depth - 1, on, off); negative ones count from the end. */
mtl_status onnx_import_one_hot(onnx_node *node)
{
    ir_type type = *onnx_in_type(node, 0);
    ir_value index = onnx_in(node, 0), values[2], numbers[3];
    int64_t depth;
    size_t count;
    int32_t axis;
    double number;
    if (ir_const_scalar(node->importer->graph, onnx_in(node, 1), &number)) { /* of any type */
        count = number >= 1 && number <= INT32_MAX;
        depth = count == 1 ? (int64_t)number : 0;
    } else {
        BASE_TRY(onnx_operand_ints(node, 1, &depth, 1, &count));
    }
    BASE_TRY(onnx_axis(node, onnx_int(node, "axis"), type.rank + 1, &axis));
    const ir_type *pair = onnx_in_type(node, 2);
    if (count != 1 || depth < 1 || depth > INT32_MAX || type.rank == MTL_MAX_RANK || pair->rank != 1 ||
        !ir_dim_is(pair->dim[0], 2)) {
        return onnx_fail(node, MTL_INVALID_DATA, "one depth of at least 1, and two values (off, on), are expected");
    }
    if (type.dtype != MTL_I64) {
        ir_attr to = IR_DTYPE(to, MTL_I64);
        BASE_TRY(onnx_emit(node, IR_OP_cast, &index, 1, &to, 1, &index));
        type.dtype = MTL_I64;
    }
    for (int i = type.rank++; i > axis; i--) {
        type.dim[i] = type.dim[i - 1];
    }
    type.dim[axis] = ir_dim_const(1);
    BASE_TRY(onnx_reshape(node, index, &type, false, &index));
    BASE_TRY(normalise(node, depth, depth, &index));
    ir_graph *graph = node->importer->graph;
    int64_t bounds[] = {0, depth, 1};
    for (size_t i = 0; i < 3; i++) {
        BASE_TRY(ir_add_const_ints(graph, &bounds[i], 1, 0, node->importer->diag, &numbers[i]));
    }
    ir_value compare[] = {index, 0}, choice[3];
    BASE_TRY(onnx_emit(node, IR_OP_range, numbers, 3, NULL, 0, &compare[1]));
    ir_type along = {.dtype = MTL_I64, .rank = type.rank - axis};
    for (int i = 0; i < along.rank; i++) {
        along.dim[i] = ir_dim_const(i == 0 ? depth : 1);
    }
    BASE_TRY(onnx_reshape(node, compare[1], &along, false, &compare[1]));
    BASE_TRY(onnx_emit(node, IR_OP_equal, compare, 2, NULL, 0, &choice[0]));
    for (int64_t i = 0; i < 2; i++) {
        ir_type one = {.dtype = pair->dtype, .rank = 1, .dim = {ir_dim_const(1)}}, scalar = {.dtype = pair->dtype};
        int64_t steps[] = {1};
        ir_attr attrs[] = {IR_INTS(starts, &i, 1), IR_INTS(steps, steps, 1)};
        BASE_TRY(onnx_emit_typed(node, IR_OP_slice, onnx_in(node, 2), attrs, 2, &one, &values[i]));
        BASE_TRY(onnx_reshape(node, values[i], &scalar, false, &values[i]));
        pair = onnx_in_type(node, 2);
    }
    choice[1] = values[1];
    choice[2] = values[0];
    return onnx_last(node, IR_OP_where, choice, 3, NULL, 0);
}

/* where(column - row >= k, x, 0) for the upper triangle, <= k for the lower one. */
mtl_status onnx_import_trilu(onnx_node *node)
{
    onnx_importer *importer = node->importer;
    const ir_type type = *onnx_in_type(node, 0);
    int64_t k = 0;
    size_t count = 1;
    if (onnx_in(node, 1) != 0) {
        BASE_TRY(onnx_operand_ints(node, 1, &k, 1, &count));
    }
    ir_dim rows = type.rank < 2 ? ir_dim_const(-1) : type.dim[type.rank - 2];
    ir_dim columns = type.rank < 2 ? ir_dim_const(-1) : type.dim[type.rank - 1];
    size_t elements;
    if (count != 1 || !ir_dim_is_const(rows) || !ir_dim_is_const(columns) || rows.c < 1 || columns.c < 1 ||
        __builtin_mul_overflow((size_t)rows.c, (size_t)columns.c, &elements) || elements > (size_t)1 << 24) {
        return onnx_fail(node, MTL_UNSUPPORTED, "%s, expected matrices of fixed extents and at most 2^24 elements",
                         onnx_shape_text(node, &type));
    }
    bool upper = onnx_int(node, "upper") != 0;
    int64_t *mask = BASE_NEW_ARRAY(importer->arena, int64_t, elements);
    BASE_TRY_MEMORY(mask, importer->diag);
    for (int64_t i = 0; i < (int64_t)elements; i++) {
        int64_t distance = i % columns.c - i / columns.c;
        mask[i] = upper ? distance >= k : distance <= k;
    }
    ir_tensor tensor = {.dtype = MTL_BOOL, .rank = 2, .shape = {rows.c, columns.c}, .count = elements, .i = mask};
    ir_value choice[3] = {0, onnx_in(node, 0)};
    BASE_TRY(ir_add_const(importer->graph, NULL, &tensor, importer->diag, &choice[0]));
    if (ir_dtype_is_float(type.dtype)) {
        BASE_TRY(onnx_emit_number(node, 0, &choice[2]));
    } else {
        BASE_TRY(emit_integer(node, 0, choice[1], &choice[2]));
    }
    return onnx_last(node, IR_OP_where, choice, 3, NULL, 0);
}
