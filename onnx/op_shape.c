/* Handlers of operators that give elements another shape: Reshape and its kin, Transpose, Expand, Tile, Shape. */
#include <string.h>

#include "onnx/once.h"

static bool holds_rows(ir_dim dim)
{
    return dim.k[IR_SYMBOL_ROWS] != 0;
}

/* --- Reshape -------------------------------------------------------------------------------------------------- */

/* Products of the extents before and after the one axis that holds the candidates; false: there is not exactly one,
 * or an extent beside it is symbolic. */
static bool split_at_rows(const ir_type *type, int64_t *before, int64_t *factor, int64_t *after)
{
    int found = -1;
    *before = *after = 1;
    for (int i = 0; i < type->rank; i++) {
        if (holds_rows(type->dim[i])) {
            if (found >= 0 || type->dim[i].c != 0) {
                return false;
            }
            found = i;
            *factor = type->dim[i].k[IR_SYMBOL_ROWS];
        } else if (!ir_dim_is_const(type->dim[i]) ||
                   __builtin_mul_overflow(found < 0 ? *before : *after, type->dim[i].c, found < 0 ? before : after)) {
            return false;
        }
    }
    return found >= 0 && *before > 0 && *after > 0;
}

/* With --batch-axis0 a number in a shape may be the batch size that the exporter froze; where the numbers still fit,
 * as [32, -1] does, the candidates would silently be cut up. */
static mtl_status check_frozen(const onnx_node *node, const ir_type *from, const ir_type *to, ir_dim first)
{
    int64_t frozen = node->importer->frozen;
    int64_t before[2], factor[2], after[2];
    bool rows = false;
    for (int i = 0; i < from->rank; i++) {
        rows = rows || holds_rows(from->dim[i]);
    }
    if (frozen == 0 || !rows) {
        return MTL_OK;
    }
    bool mixed = ir_dim_is(first, frozen) || !split_at_rows(from, &before[0], &factor[0], &after[0]) ||
                 !split_at_rows(to, &before[1], &factor[1], &after[1]);
    if (!mixed && factor[0] == 1) {
        mixed = before[0] % before[1] != 0 || after[0] % after[1] != 0;
    }
    if (mixed) {
        return onnx_fail(
            node, MTL_UNSUPPORTED,
            "its shape %s has the batch size %lld that --batch-axis0 replaces; export with a dynamic batch",
            onnx_shape_text(node, to), (long long)frozen);
    }
    return MTL_OK;
}

/* The extent of the axis that is -1: the operand's elements over those of the other axes. Equal extents cancel first,
 * so that products that are not linear do not matter. */
static mtl_status solve_open(const onnx_node *node, const ir_type *from, ir_type *to, int open)
{
    bool used[MTL_MAX_RANK] = {false};
    ir_dim rest = ir_dim_const(1);
    bool good = true;
    for (int i = 0; i < to->rank; i++) {
        int j = 0;
        while (j < from->rank && (used[j] || i == open || !ir_dim_equal(from->dim[j], to->dim[i]))) {
            j++;
        }
        if (j < from->rank) {
            used[j] = true;
        } else if (i != open) {
            good = good && ir_dim_mul(rest, to->dim[i], &rest);
        }
    }
    ir_dim all = ir_dim_const(1);
    for (int j = 0; j < from->rank; j++) {
        good = good && (used[j] || ir_dim_mul(all, from->dim[j], &all));
    }
    if (good && !ir_dim_is(rest, 0) && ir_dim_div(all, rest, &to->dim[open])) {
        return MTL_OK;
    }
    return onnx_fail(node, MTL_INVALID_DATA, "%s cannot be reshaped to %s: no extent of axis %d fits",
                     onnx_shape_text(node, from), onnx_shape_text(node, to), open);
}

mtl_status onnx_import_reshape(onnx_node *node)
{
    const ir_type from = *onnx_in_type(node, 0);
    ir_type to = {.dtype = from.dtype};
    size_t rank;
    BASE_TRY(onnx_operand_dims(node, 1, to.dim, MTL_MAX_RANK, &rank));
    to.rank = (int32_t)rank;
    ir_dim first = rank > 0 ? to.dim[0] : ir_dim_const(0);
    bool allow_zero = onnx_int(node, "allowzero") != 0;
    int open = -1;
    for (int i = 0; i < to.rank; i++) {
        if (ir_dim_is(to.dim[i], 0) && !allow_zero) {
            if (i >= from.rank) {
                return onnx_fail(node, MTL_INVALID_DATA, "the shape copies axis %d of %s", i,
                                 onnx_shape_text(node, &from));
            }
            to.dim[i] = from.dim[i];
        } else if (ir_dim_is_const(to.dim[i]) && to.dim[i].c < 0) {
            if (open >= 0 || to.dim[i].c != -1) {
                return onnx_fail(node, MTL_INVALID_DATA, "the shape %s has %s", onnx_shape_text(node, &to),
                                 open >= 0 ? "two extents of -1" : "a negative extent");
            }
            open = i;
        }
    }
    BASE_TRY(onnx_once_target(node->importer, onnx_in(node, 0), &to));
    if (open >= 0 && ir_dim_is(to.dim[open], -1)) {
        BASE_TRY(solve_open(node, &from, &to, open));
    }
    BASE_TRY(check_frozen(node, &from, &to, first));
    return onnx_reshape(node, onnx_in(node, 0), &to, true, NULL);
}

mtl_status onnx_import_flatten(onnx_node *node)
{
    const ir_type from = *onnx_in_type(node, 0);
    ir_type to = {.dtype = from.dtype, .rank = 2};
    int64_t axis = onnx_int(node, "axis");
    if (axis < -from.rank || axis > from.rank) {
        return onnx_fail(node, MTL_INVALID_DATA, "axis %lld is out of range for rank %d", (long long)axis, from.rank);
    }
    axis += axis < 0 ? from.rank : 0;
    BASE_TRY(onnx_product(node, &from, 0, (int)axis, &to.dim[0]));
    BASE_TRY(onnx_product(node, &from, (int)axis, from.rank, &to.dim[1]));
    return onnx_reshape(node, onnx_in(node, 0), &to, true, NULL);
}

/* The axes of Squeeze and Unsqueeze: an attribute up to opset 12, an operand since. *given: whether there are any. */
static mtl_status read_axes(const onnx_node *node, int64_t axes[MTL_MAX_RANK], size_t *count, bool *given)
{
    *count = 0;
    if (onnx_schema_attr_find(node->schema, "axes") != NULL) {
        const int64_t *numbers = onnx_ints(node, "axes", count);
        *given = onnx_has(node, "axes");
        if (*count > MTL_MAX_RANK) {
            return onnx_fail(node, MTL_INVALID_DATA, "%zu axes, at most %d are supported", *count, MTL_MAX_RANK);
        }
        if (*count > 0) {
            memcpy(axes, numbers, *count * sizeof *axes);
        }
        return MTL_OK;
    }
    *given = onnx_in(node, 1) != 0;
    return *given ? onnx_operand_ints(node, 1, axes, MTL_MAX_RANK, count) : MTL_OK;
}

/* PyTorch's squeeze leaves an axis of another extent alone, and its dynamo exporter writes a Squeeze then, too. */
static bool keeps_squeezed(const onnx_node *node, ir_dim dim)
{
    const char *producer = node->importer->model->producer_name;
    return ir_dim_is_const(dim) && dim.c != 1 && producer != NULL && strcmp(producer, "pytorch") == 0;
}

mtl_status onnx_import_squeeze(onnx_node *node)
{
    const ir_type from = *onnx_in_type(node, 0);
    ir_type to = {.dtype = from.dtype};
    int64_t axes[MTL_MAX_RANK];
    size_t count;
    bool given;
    bool squeezed[MTL_MAX_RANK];
    BASE_TRY(read_axes(node, axes, &count, &given));
    BASE_TRY(onnx_axes(node, axes, count, from.rank, squeezed));
    ir_graph *graph = node->importer->graph;
    unsigned flags;
    BASE_TRY(onnx_once_flags(node->importer, onnx_in(node, 0), &flags));
    for (int i = 0; i < from.rank; i++) {
        if (flags == ONNX_FROM_ONCE && holds_rows(from.dim[i]) && (!given || squeezed[i])) {
            return onnx_fail(node, MTL_UNSUPPORTED, "it takes away the axis %d of extent 1", i);
        }
        if (!given && holds_rows(from.dim[i])) {
            graph->sources[graph->current_source].note = "without axes: keeps that of the candidates, even for one";
        }
        /* Without axes: what is 1 for every batch. A symbolic extent, the candidates' above all, never is. */
        squeezed[i] = given ? squeezed[i] : ir_dim_is(from.dim[i], 1);
        if (!squeezed[i]) {
            to.dim[to.rank++] = from.dim[i];
        } else if (keeps_squeezed(node, from.dim[i])) {
            graph->sources[graph->current_source].note = "keeps an axis that is not of extent 1, as PyTorch does";
            to.dim[to.rank++] = from.dim[i];
        } else if (!ir_dim_is(from.dim[i], 1)) {
            return onnx_fail(node, MTL_INVALID_DATA, "axis %d of %s is not of extent 1", i,
                             onnx_shape_text(node, &from));
        }
    }
    return onnx_reshape(node, onnx_in(node, 0), &to, true, NULL);
}

mtl_status onnx_import_unsqueeze(onnx_node *node)
{
    const ir_type from = *onnx_in_type(node, 0);
    ir_type to = {.dtype = from.dtype};
    int64_t axes[MTL_MAX_RANK];
    size_t count;
    bool given;
    bool fresh[MTL_MAX_RANK];
    BASE_TRY(read_axes(node, axes, &count, &given));
    to.rank = from.rank + (int32_t)count;
    if (to.rank > MTL_MAX_RANK) {
        return onnx_fail(node, MTL_UNSUPPORTED, "the result has rank %d, at most %d is supported", to.rank,
                         MTL_MAX_RANK);
    }
    BASE_TRY(onnx_axes(node, axes, count, to.rank, fresh));
    for (int i = 0, next = 0; i < to.rank; i++) {
        to.dim[i] = fresh[i] ? ir_dim_const(1) : from.dim[next++];
    }
    return onnx_reshape(node, onnx_in(node, 0), &to, true, NULL);
}

/* --- Transpose, Expand, Tile ---------------------------------------------------------------------------------- */

mtl_status onnx_import_transpose(onnx_node *node)
{
    int rank = onnx_in_type(node, 0)->rank;
    int64_t perm[MTL_MAX_RANK] = {0};
    size_t count;
    const int64_t *numbers = onnx_ints(node, "perm", &count);
    bool given = onnx_has(node, "perm");
    if (given && count != (size_t)rank) {
        return onnx_fail(node, MTL_INVALID_DATA, "perm has %zu axes, the operand %d", count, rank);
    }
    bool set[MTL_MAX_RANK];
    if (given) {
        BASE_TRY(onnx_axes(node, numbers, count, rank, set));
    }
    for (int i = 0; i < rank; i++) {
        perm[i] = !given ? rank - 1 - i : numbers[i] < 0 ? numbers[i] + rank : numbers[i];
    }
    ir_attr attr = IR_INTS(perm, perm, rank);
    ir_value x = onnx_in(node, 0);
    return onnx_last(node, IR_OP_transpose, &x, 1, &attr, 1);
}

mtl_status onnx_import_expand(onnx_node *node)
{
    const ir_type from = *onnx_in_type(node, 0);
    ir_dim shape[MTL_MAX_RANK];
    size_t count;
    BASE_TRY(onnx_operand_dims(node, 1, shape, MTL_MAX_RANK, &count));
    ir_type to = {.dtype = from.dtype, .rank = from.rank > (int32_t)count ? from.rank : (int32_t)count};
    for (int i = 0; i < to.rank; i++) {
        int a = i - (to.rank - from.rank);
        int b = i - (to.rank - (int)count);
        ir_dim mine = a < 0 ? ir_dim_const(1) : from.dim[a];
        ir_dim wanted = b < 0 ? ir_dim_const(1) : shape[b];
        to.dim[i] = ir_dim_is(mine, 1) ? wanted : mine;
        bool negative = ir_dim_is_const(wanted) && wanted.c < 0;
        if (negative || (!ir_dim_is(mine, 1) && !ir_dim_is(wanted, 1) && !ir_dim_equal(mine, wanted))) {
            ir_type target = {.rank = (int32_t)count};
            memcpy(target.dim, shape, count * sizeof *shape);
            return onnx_fail(node, MTL_INVALID_DATA, "%s cannot be expanded to %s", onnx_shape_text(node, &from),
                             onnx_shape_text(node, &target));
        }
    }
    if (ir_type_equal(&from, &to)) {
        return onnx_last_identity(node, onnx_in(node, 0));
    }
    return onnx_last_typed(node, IR_OP_expand, onnx_in(node, 0), NULL, 0, &to);
}

/* Repeats axis `axis`: (.., d, ..) to (.., 1, d, ..), expanded to (.., r, d, ..), to (.., r d, ..). */
static mtl_status tile_axis(onnx_node *node, int axis, ir_dim repeats, ir_value *value)
{
    ir_type type = *ir_type_of(node->importer->graph, *value);
    ir_type result = type;
    if (type.rank == MTL_MAX_RANK || !ir_dim_mul(repeats, type.dim[axis], &result.dim[axis])) {
        return onnx_fail(node, MTL_UNSUPPORTED, "axis %d of %s cannot be repeated", axis, onnx_shape_text(node, &type));
    }
    memmove(&type.dim[axis + 1], &type.dim[axis], (size_t)(type.rank - axis) * sizeof type.dim[0]);
    type.rank++;
    type.dim[axis] = ir_dim_const(1);
    BASE_TRY(onnx_reshape(node, *value, &type, false, value));
    type.dim[axis] = repeats;
    BASE_TRY(onnx_emit_typed(node, IR_OP_expand, *value, NULL, 0, &type, value));
    return onnx_reshape(node, *value, &result, false, value);
}

/* Whether Tile makes as many of axis 0 as there are candidates, where the users are already. */
static mtl_status copies_users(onnx_node *node, ir_dim repeats, bool *copies)
{
    unsigned flags;
    const ir_type *type = onnx_in_type(node, 0);
    ir_dim rows = ir_dim_symbol(IR_SYMBOL_ROWS);
    BASE_TRY(onnx_once_flags(node->importer, onnx_in(node, 0), &flags));
    *copies = flags == ONNX_FROM_ONCE && ir_dim_equal(type->dim[0], rows) && ir_dim_equal(repeats, rows);
    return MTL_OK;
}

mtl_status onnx_import_tile(onnx_node *node)
{
    ir_type type = *onnx_in_type(node, 0);
    ir_value value = onnx_in(node, 0);
    ir_dim repeats[MTL_MAX_RANK];
    size_t count;
    BASE_TRY(onnx_operand_dims(node, 1, repeats, MTL_MAX_RANK, &count));
    if (count != (size_t)type.rank) {
        return onnx_fail(node, MTL_INVALID_DATA, "%zu repeats for rank %d", count, type.rank);
    }
    bool ones = false, copies = false; /* axes of extent 1 only grow */
    if (type.rank > 0) {
        BASE_TRY(copies_users(node, repeats[0], &copies));
        repeats[0] = copies ? ir_dim_const(1) : repeats[0];
    }
    for (int i = 0; i < type.rank; i++) {
        if (ir_dim_is_const(repeats[i]) && repeats[i].c < 0) {
            return onnx_fail(node, MTL_INVALID_DATA, "repeats of axis %d are %lld", i, (long long)repeats[i].c);
        }
        if (ir_dim_is(type.dim[i], 1) && !ir_dim_is(repeats[i], 1)) {
            type.dim[i] = repeats[i];
            repeats[i] = ir_dim_const(1);
            ones = true;
        }
    }
    if (ones) {
        BASE_TRY(onnx_emit_typed(node, IR_OP_expand, value, NULL, 0, &type, &value));
    }
    for (int i = 0; i < type.rank; i++) {
        if (!ir_dim_is(repeats[i], 1)) {
            BASE_TRY(tile_axis(node, i, repeats[i], &value));
        }
    }
    return onnx_last_identity(node, value);
}

/* --- Shape, Size ---------------------------------------------------------------------------------------------- */

mtl_status onnx_import_shape(onnx_node *node)
{
    ir_value x = onnx_in(node, 0);
    int64_t rank = onnx_in_type(node, 0)->rank;
    int64_t start = onnx_int(node, "start");
    int64_t end = onnx_has(node, "end") ? onnx_int(node, "end") : rank;
    start += start < 0 ? rank : 0;
    end += end < 0 ? rank : 0;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < start ? start : end > rank ? rank : end;
    if (start == 0 && end == rank) {
        return onnx_last(node, IR_OP_shape, &x, 1, NULL, 0);
    }
    static const int64_t one = 1;
    ir_value whole;
    BASE_TRY(onnx_emit(node, IR_OP_shape, &x, 1, NULL, 0, &whole));
    ir_attr attrs[] = {IR_INTS(starts, &start, 1), IR_INTS(steps, &one, 1)};
    ir_type type = {.dtype = MTL_I64, .rank = 1, .dim = {ir_dim_const(end - start)}};
    return onnx_last_typed(node, IR_OP_slice, whole, attrs, 2, &type);
}

mtl_status onnx_import_size(onnx_node *node)
{
    onnx_importer *importer = node->importer;
    static const int64_t zero = 0, one = 1;
    ir_value x = onnx_in(node, 0);
    if (onnx_in_type(node, 0)->rank == 0) {
        return ir_add_const_ints(importer->graph, &one, 1, 0, importer->diag, &node->outputs[0].value);
    }
    ir_value shape;
    BASE_TRY(onnx_emit(node, IR_OP_shape, &x, 1, NULL, 0, &shape));
    ir_attr attrs[] = {IR_INTS(axes, &zero, 1), IR_INT(keepdims, 0)};
    return onnx_last(node, IR_OP_reduce_prod, &shape, 1, attrs, 2);
}
