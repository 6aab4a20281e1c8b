/* Handlers of operators that see windows of spatial axes: Conv, Pad, the global poolings. */
#include <string.h>

#include "onnx/internal.h"

/* --- Pad ------------------------------------------------------------------------------------------------------ */

/* `count` more along `axis`, before or after: of `fill` (a scalar), or of the outermost element where fill is 0. */
static mtl_status pad_side(onnx_node *node, int axis, int64_t count, bool before, ir_value fill, ir_value *value)
{
    ir_type type = *ir_type_of(node->importer->graph, *value);
    ir_value edge = fill, parts[2];
    if (fill == 0) {
        int64_t starts[MTL_MAX_RANK] = {0}, steps[MTL_MAX_RANK];
        for (int i = 0; i < type.rank; i++) {
            steps[i] = 1;
        }
        if (!before) {
            if (!ir_dim_is_const(type.dim[axis])) {
                return onnx_fail(node, MTL_UNSUPPORTED, "axis %d of %s is symbolic, its edge cannot be repeated", axis,
                                 onnx_shape_text(node, &type));
            }
            starts[axis] = type.dim[axis].c - 1;
        }
        ir_type one = type;
        one.dim[axis] = ir_dim_const(1);
        ir_attr attrs[] = {IR_INTS(starts, starts, type.rank), IR_INTS(steps, steps, type.rank)};
        BASE_TRY(onnx_emit_typed(node, IR_OP_slice, *value, attrs, 2, &one, &edge));
    }
    type.dim[axis] = ir_dim_const(count);
    if (fill != 0 || count > 1) {
        BASE_TRY(onnx_emit_typed(node, IR_OP_expand, edge, NULL, 0, &type, &edge));
    }
    parts[0] = before ? edge : *value;
    parts[1] = before ? *value : edge;
    ir_attr attr = IR_INT(axis, axis);
    return onnx_emit(node, IR_OP_concat, parts, 2, &attr, 1, value);
}

/* Negative pads take away. */
static mtl_status crop(onnx_node *node, int axis, int64_t before, int64_t after, ir_value *value)
{
    ir_type type = *ir_type_of(node->importer->graph, *value);
    int64_t starts[MTL_MAX_RANK] = {0}, steps[MTL_MAX_RANK];
    for (int i = 0; i < type.rank; i++) {
        steps[i] = 1;
    }
    if (!ir_dim_is_const(type.dim[axis]) || before > type.dim[axis].c - after) {
        return onnx_fail(node, MTL_INVALID_DATA,
                         "axis %d of %s cannot lose %lld elements at its beginning and %lld "
                         "at its end",
                         axis, onnx_shape_text(node, &type), (long long)before, (long long)after);
    }
    type.dim[axis].c -= before + after;
    starts[axis] = ir_dim_is(type.dim[axis], 0) ? 0 : before;
    ir_attr attrs[] = {IR_INTS(starts, starts, type.rank), IR_INTS(steps, steps, type.rank)};
    return onnx_emit_typed(node, IR_OP_slice, *value, attrs, 2, &type, value);
}

enum { MAX_PAD = 1 << 20 };

static mtl_status pad_axis(onnx_node *node, int axis, int64_t before, int64_t after, ir_value fill, ir_value *value)
{
    ir_dim extent = ir_type_of(node->importer->graph, *value)->dim[axis];
    if (before < -MAX_PAD || before > MAX_PAD || after < -MAX_PAD || after > MAX_PAD) {
        return onnx_fail(node, MTL_INVALID_DATA, "pads of %lld and %lld along axis %d, at most %d are supported",
                         (long long)before, (long long)after, axis, MAX_PAD);
    }
    if (before == 0 && after == 0) {
        return MTL_OK;
    }
    if (extent.k[IR_SYMBOL_ROWS] != 0) {
        return onnx_fail(node, MTL_UNSUPPORTED, "it pads axis %d, which holds the candidates", axis);
    }
    if (before < 0 || after < 0) {
        BASE_TRY(crop(node, axis, before < 0 ? -before : 0, after < 0 ? -after : 0, value));
    }
    if (before > 0) {
        BASE_TRY(pad_side(node, axis, before, true, fill, value));
    }
    return after > 0 ? pad_side(node, axis, after, false, fill, value) : MTL_OK;
}

/* Which axes the pads are for: all, or those of operand 3 (since opset 18), in that order. */
static mtl_status read_pads(const onnx_node *node, int rank, int64_t *pads, int32_t *axes, size_t *count)
{
    int64_t numbers[MTL_MAX_RANK];
    size_t pad_count;
    bool set[MTL_MAX_RANK];
    BASE_TRY(onnx_operand_ints(node, 1, pads, 2 * MTL_MAX_RANK, &pad_count));
    *count = (size_t)rank;
    for (int i = 0; i < rank; i++) {
        numbers[i] = i;
    }
    if (onnx_in(node, 3) != 0) {
        BASE_TRY(onnx_operand_ints(node, 3, numbers, MTL_MAX_RANK, count));
    }
    BASE_TRY(onnx_axes(node, numbers, *count, rank, set));
    for (size_t i = 0; i < *count; i++) {
        BASE_TRY(onnx_axis(node, numbers[i], rank, &axes[i]));
    }
    if (pad_count != 2 * *count) {
        return onnx_fail(node, MTL_INVALID_DATA, "%zu pads, expected two for each of %zu axes", pad_count, *count);
    }
    return MTL_OK;
}

mtl_status onnx_import_pad(onnx_node *node)
{
    const ir_type type = *onnx_in_type(node, 0);
    const char *mode = onnx_string(node, "mode");
    int64_t pads[2 * MTL_MAX_RANK];
    int32_t axes[MTL_MAX_RANK];
    size_t count;
    BASE_TRY(read_pads(node, type.rank, pads, axes, &count));
    ir_value fill = 0, value = onnx_in(node, 0);
    if (strcmp(mode, "constant") == 0) {
        ir_type scalar = {.dtype = type.dtype};
        fill = onnx_in(node, 2);
        if (fill == 0 && ir_dtype_is_float(type.dtype)) {
            BASE_TRY(onnx_emit_number(node, 0, &fill));
        } else if (fill == 0) {
            ir_attr to = IR_DTYPE(to, type.dtype);
            BASE_TRY(ir_add_const_ints(node->importer->graph, (int64_t[]){0}, 1, 0, node->importer->diag, &fill));
            BASE_TRY(onnx_emit(node, IR_OP_cast, &fill, 1, &to, 1, &fill));
        } else {
            BASE_TRY(onnx_reshape(node, fill, &scalar, false, &fill));
        }
    } else if (strcmp(mode, "edge") != 0) {
        return onnx_fail(node, MTL_UNSUPPORTED, "mode '%s' is not supported, only constant and edge", mode);
    }
    for (size_t i = 0; i < count; i++) {
        BASE_TRY(pad_axis(node, axes[i], pads[i], pads[count + i], fill, &value));
    }
    return onnx_last_identity(node, value);
}

/* --- Conv ----------------------------------------------------------------------------------------------------- */

enum { MAX_POSITIONS = 1024, MAX_SPATIAL = MTL_MAX_RANK - 4 };

/* x (B, C, S..), w (M, C / groups, K..). By spatial axis: */
typedef struct convolution {
    int spatial;
    int64_t groups, channels, width; /* C / groups and M / groups, */
    int64_t kernel[MAX_SPATIAL], stride[MAX_SPATIAL], dilation[MAX_SPATIAL], before[MAX_SPATIAL], after[MAX_SPATIAL];
    int64_t positions;       /* the product of kernel */
    ir_dim out[MAX_SPATIAL]; /* extents of the result */
} convolution;

/* An attribute of one number for each spatial axis; 1 each where it is not given. */
static mtl_status read_spatial(const onnx_node *node, const char *name, int64_t least, const convolution *c,
                               int64_t *numbers)
{
    size_t count;
    const int64_t *given = onnx_ints(node, name, &count);
    for (int i = 0; i < c->spatial; i++) {
        numbers[i] = 1;
    }
    if (!onnx_has(node, name)) {
        return MTL_OK;
    }
    if (count != (size_t)c->spatial) {
        return onnx_fail(node, MTL_INVALID_DATA, "%s has %zu numbers for %d spatial axes", name, count, c->spatial);
    }
    for (int i = 0; i < c->spatial; i++) {
        if (given[i] < least || given[i] > INT32_MAX) {
            return onnx_fail(node, MTL_INVALID_DATA, "%s has %lld", name, (long long)given[i]);
        }
        numbers[i] = given[i];
    }
    return MTL_OK;
}

/* The pads of axis `i`, and the result's extent along it. */
static mtl_status place_windows(const onnx_node *node, const ir_type *x, const int64_t *pads, convolution *c, int i)
{
    const char *mode = onnx_string(node, "auto_pad");
    ir_dim extent = x->dim[2 + i];
    int64_t reach = c->dilation[i] * (c->kernel[i] - 1) + 1;
    c->before[i] = pads == NULL ? 0 : pads[i];
    c->after[i] = pads == NULL ? 0 : pads[c->spatial + i];
    bool same = strncmp(mode, "SAME_", 5) == 0;
    if (!same && reach == 1 && c->stride[i] == 1 && c->before[i] == 0 && c->after[i] == 0) {
        c->out[i] = extent;
        return MTL_OK;
    }
    if (!ir_dim_is_const(extent) || extent.c > INT32_MAX) {
        return onnx_fail(node, MTL_UNSUPPORTED, "axis %d of %s is symbolic or too long; --dim fixes an extent", 2 + i,
                         onnx_shape_text(node, x));
    }
    if (c->before[i] < 0 || c->before[i] > MAX_PAD || c->after[i] < 0 || c->after[i] > MAX_PAD) {
        return onnx_fail(node, MTL_INVALID_DATA, "pads of %lld and %lld along axis %d, expected 0 to %d",
                         (long long)c->before[i], (long long)c->after[i], 2 + i, MAX_PAD);
    }
    if (same) {
        int64_t all = ((extent.c - 1) / c->stride[i]) * c->stride[i] + reach - extent.c;
        all = all < 0 ? 0 : all;
        c->before[i] = strcmp(mode, "SAME_LOWER") == 0 ? all - all / 2 : all / 2;
        c->after[i] = all - c->before[i];
    }
    int64_t room = extent.c + c->before[i] + c->after[i] - reach;
    if (room < 0) {
        return onnx_fail(node, MTL_INVALID_DATA, "its windows of %lld do not fit into axis %d of %s", (long long)reach,
                         2 + i, onnx_shape_text(node, x));
    }
    c->out[i] = ir_dim_const(room / c->stride[i] + 1);
    return MTL_OK;
}

static mtl_status read_convolution(const onnx_node *node, convolution *c)
{
    const ir_type *x = onnx_in_type(node, 0), *w = onnx_in_type(node, 1);
    *c = (convolution){.spatial = x->rank - 2, .groups = onnx_int(node, "group"), .positions = 1};
    if (x->rank < 3 || c->spatial > MAX_SPATIAL || w->rank != x->rank) {
        return onnx_fail(node, MTL_UNSUPPORTED, "%s by weights %s: from 1 to %d spatial axes are supported",
                         onnx_shape_text(node, x), onnx_shape_text(node, w), MAX_SPATIAL);
    }
    for (int i = 0; i < w->rank; i++) {
        if (!ir_dim_is_const(w->dim[i]) || w->dim[i].c < 1) {
            return onnx_fail(node, MTL_UNSUPPORTED, "weights %s, expected fixed extents", onnx_shape_text(node, w));
        }
    }
    c->channels = w->dim[1].c;
    if (c->groups < 1 || w->dim[0].c % c->groups != 0 || c->channels > INT32_MAX || c->groups > INT32_MAX ||
        !ir_dim_is(x->dim[1], c->channels * c->groups)) {
        return onnx_fail(node, MTL_INVALID_DATA, "%s does not fit weights %s in %lld groups", onnx_shape_text(node, x),
                         onnx_shape_text(node, w), (long long)c->groups);
    }
    c->width = w->dim[0].c / c->groups;
    size_t pad_count = 0;
    const int64_t *pads = onnx_has(node, "pads") ? onnx_ints(node, "pads", &pad_count) : NULL;
    BASE_TRY(read_spatial(node, "strides", 1, c, c->stride));
    BASE_TRY(read_spatial(node, "dilations", 1, c, c->dilation));
    if (pads != NULL && pad_count != 2 * (size_t)c->spatial) {
        return onnx_fail(node, MTL_INVALID_DATA, "%zu pads for %d spatial axes", pad_count, c->spatial);
    }
    for (int i = 0; i < c->spatial; i++) {
        c->kernel[i] = w->dim[2 + i].c;
        if (c->kernel[i] > MAX_POSITIONS / c->positions) {
            return onnx_fail(node, MTL_UNSUPPORTED, "a kernel of more than %d positions: weights %s", MAX_POSITIONS,
                             onnx_shape_text(node, w));
        }
        c->positions *= c->kernel[i];
        BASE_TRY(place_windows(node, x, pads, c, i));
    }
    return MTL_OK;
}

/* x under position `p` of the kernel: (B, C, out..). */
static mtl_status under_position(onnx_node *node, const convolution *c, int64_t p, ir_value x, ir_value *result)
{
    ir_type type = *ir_type_of(node->importer->graph, x);
    int64_t starts[MTL_MAX_RANK] = {0}, steps[MTL_MAX_RANK];
    bool whole = true;
    for (int i = 0; i < type.rank; i++) {
        steps[i] = 1;
    }
    for (int i = c->spatial; i-- > 0; p /= c->kernel[i]) {
        int axis = 2 + i;
        whole = whole && ir_dim_equal(type.dim[axis], c->out[i]);
        starts[axis] = p % c->kernel[i] * c->dilation[i];
        steps[axis] = c->stride[i];
        type.dim[axis] = c->out[i];
    }
    if (whole) {
        *result = x;
        return MTL_OK;
    }
    ir_attr attrs[] = {IR_INTS(starts, starts, type.rank), IR_INTS(steps, steps, type.rank)};
    return onnx_emit_typed(node, IR_OP_slice, x, attrs, 2, &type, result);
}

/* All positions: (B, groups, positions, C / groups, out..), by position and channel on one axis:
 * (B, out.., groups, positions x channels). */
static mtl_status unfold(onnx_node *node, const convolution *c, ir_value x, ir_value *result)
{
    onnx_importer *importer = node->importer;
    ir_value *parts = BASE_NEW_ARRAY(importer->arena, ir_value, (size_t)c->positions);
    BASE_TRY_MEMORY(parts, importer->diag);
    ir_type part = {.dtype = MTL_F32, .rank = c->spatial + 3};
    part.dim[0] = ir_type_of(importer->graph, x)->dim[0];
    part.dim[1] = ir_dim_const(c->groups);
    part.dim[2] = ir_dim_const(c->channels);
    memcpy(&part.dim[3], c->out, (size_t)c->spatial * sizeof c->out[0]);
    for (int64_t p = 0; p < c->positions; p++) {
        BASE_TRY(under_position(node, c, p, x, &parts[p]));
        BASE_TRY(onnx_reshape(node, parts[p], &part, false, &parts[p]));
    }
    ir_value all = parts[0];
    if (c->positions > 1) {
        ir_attr axis = IR_INT(axis, 2);
        BASE_TRY(onnx_emit(node, IR_OP_concat, parts, (size_t)c->positions, &axis, 1, &all));
    }
    int64_t perm[MTL_MAX_RANK] = {0};
    for (int i = 0; i < c->spatial; i++) {
        perm[1 + i] = 3 + i;
    }
    perm[1 + c->spatial] = 1;
    perm[2 + c->spatial] = 2;
    ir_attr attr = IR_INTS(perm, perm, c->spatial + 3);
    return onnx_emit(node, IR_OP_transpose, &all, 1, &attr, 1, result);
}

/* w (M, C / groups, K..) as (groups, positions x channels, M / groups). */
static mtl_status arrange_weights(onnx_node *node, const convolution *c, ir_value *result)
{
    ir_type split = {.dtype = MTL_F32, .rank = 4};
    split.dim[0] = ir_dim_const(c->groups);
    split.dim[1] = ir_dim_const(c->width);
    split.dim[2] = ir_dim_const(c->channels);
    split.dim[3] = ir_dim_const(c->positions);
    static const int64_t perm[] = {0, 3, 2, 1};
    ir_attr attr = IR_INTS(perm, perm, 4);
    BASE_TRY(onnx_reshape(node, onnx_in(node, 1), &split, false, result));
    BASE_TRY(onnx_emit(node, IR_OP_transpose, result, 1, &attr, 1, result));
    ir_type joined = {.dtype = MTL_F32, .rank = 3};
    joined.dim[0] = split.dim[0];
    joined.dim[1] = ir_dim_const(c->positions * c->channels);
    joined.dim[2] = split.dim[1];
    return onnx_reshape(node, *result, &joined, false, result);
}

/* (B, out.., groups, K) by (groups, K, N): one product where there is one group, else a batch of them. */
static mtl_status multiply(onnx_node *node, const convolution *c, ir_value x, ir_value w, ir_value *result)
{
    ir_graph *graph = node->importer->graph;
    ir_type type = *ir_type_of(graph, x), weights = *ir_type_of(graph, w);
    int last = type.rank - 1;
    if (c->groups == 1) { /* without that axis */
        type.dim[last - 1] = type.dim[last];
        type.rank--;
        weights.dim[0] = weights.dim[1];
        weights.dim[1] = weights.dim[2];
        weights.rank = 2;
    } else { /* each a matrix of one row */
        type.dim[last + 1] = type.dim[last];
        type.dim[last] = ir_dim_const(1);
        type.rank++;
    }
    BASE_TRY(onnx_reshape(node, x, &type, false, &x));
    BASE_TRY(onnx_reshape(node, w, &weights, false, &w));
    ir_value operands[] = {x, w};
    BASE_TRY(onnx_emit(node, IR_OP_matmul, operands, 2, NULL, 0, result));
    type = *ir_type_of(graph, *result);
    type.rank = c->spatial + 2;
    type.dim[type.rank - 1] = ir_dim_const(c->groups * c->width);
    return onnx_reshape(node, *result, &type, false, result);
}

/* A product of what the kernel sees with the weights: columns of (position, channel). */
mtl_status onnx_import_conv(onnx_node *node)
{
    convolution c;
    ir_value zero, x = onnx_in(node, 0), w;
    BASE_TRY(read_convolution(node, &c));
    BASE_TRY(onnx_emit_number(node, 0, &zero));
    for (int i = 0; i < c.spatial; i++) {
        BASE_TRY(pad_axis(node, 2 + i, c.before[i], c.after[i], zero, &x));
    }
    BASE_TRY(unfold(node, &c, x, &x));
    BASE_TRY(arrange_weights(node, &c, &w));
    BASE_TRY(multiply(node, &c, x, w, &x));
    if (onnx_in(node, 2) != 0) {
        ir_value sum[] = {x, onnx_in(node, 2)};
        const ir_type *bias = onnx_in_type(node, 2);
        if (bias->rank != 1 || !ir_dim_is(bias->dim[0], c.groups * c.width)) {
            return onnx_fail(node, MTL_INVALID_DATA, "input 2 (B) is %s, expected [%lld]", onnx_shape_text(node, bias),
                             (long long)(c.groups * c.width));
        }
        BASE_TRY(onnx_emit(node, IR_OP_add, sum, 2, NULL, 0, &x));
    }
    int64_t perm[MTL_MAX_RANK] = {0, c.spatial + 1};
    for (int i = 0; i < c.spatial; i++) {
        perm[2 + i] = 1 + i;
    }
    ir_attr attr = IR_INTS(perm, perm, c.spatial + 2);
    return onnx_last(node, IR_OP_transpose, &x, 1, &attr, 1);
}

/* --- global poolings ------------------------------------------------------------------------------------------ */

mtl_status onnx_import_global_pool(onnx_node *node)
{
    const ir_type *type = onnx_in_type(node, 0);
    int64_t axes[MTL_MAX_RANK];
    if (type->rank < 3) {
        return onnx_fail(node, MTL_INVALID_DATA, "%s has no spatial axes", onnx_shape_text(node, type));
    }
    for (int i = 2; i < type->rank; i++) {
        axes[i - 2] = i;
    }
    ir_value x = onnx_in(node, 0);
    ir_attr attrs[] = {IR_INTS(axes, axes, type->rank - 2), IR_INT(keepdims, 1)};
    return onnx_last(node, node->ir, &x, 1, attrs, 2);
}
