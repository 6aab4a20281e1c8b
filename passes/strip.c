#include "passes/strip.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

/* --- up through the moves ------------------------------------------------------------------------------------ */

/* Row-major strides of the axes behind `row`; 0 in front. *width is how many elements they have. False: some extent is
 * not fixed. */
static bool strides_behind(const ir_type *type, int row, int64_t *strides, int64_t *width)
{
    *width = 1;
    for (int axis = type->rank - 1; axis >= 0; axis--) {
        strides[axis] = axis > row ? *width : 0;
        if (axis > row && (!ir_dim_is_const(type->dim[axis]) || !base_mul_i64(*width, type->dim[axis].c, width))) {
            return false;
        }
    }
    return *width > 0 && row < type->rank;
}

static int64_t offset_of(const passes_strip *strip, const int64_t *strides, int rank)
{
    int64_t offset = 0;
    for (int axis = 0; axis < rank; axis++) {
        offset += axis == strip->row ? 0 : strip->at[axis] * strides[axis];
    }
    return offset;
}

/* The axes up to the row are those of `x`, apart from extents of 1. */
static bool match_front(const ir_type *x, const ir_type *y, const passes_strip *strip, passes_strip *up)
{
    int j = 0;
    for (int i = 0; i <= strip->row; i++) {
        bool one = ir_dim_is(y->dim[i], 1);
        if (one && i < strip->row) {
            continue;
        }
        while (j < x->rank && !one && ir_dim_is(x->dim[j], 1)) {
            j++;
        }
        if (j == x->rank || !ir_dim_equal(x->dim[j], y->dim[i])) {
            return false;
        }
        up->at[j] = strip->at[i];
        up->column = i == strip->column ? j : up->column;
        up->row = j++;
    }
    return true;
}

static bool through_reshape(const ir_graph *graph, const ir_node_info *node, passes_strip *strip)
{
    const ir_type *x = ir_type_of(graph, node->inputs[0]), *y = ir_type_of(graph, node->outputs[0]);
    int64_t behind_x[MTL_MAX_RANK] = {0}, behind_y[MTL_MAX_RANK] = {0}, width_x, width_y;
    passes_strip up = {.value = node->inputs[0], .column = -1, .length = strip->length};
    if (!match_front(x, y, strip, &up) || !strides_behind(x, up.row, behind_x, &width_x) ||
        !strides_behind(y, strip->row, behind_y, &width_y) || width_x != width_y) {
        return false;
    }
    int64_t rest = offset_of(strip, behind_y, y->rank);
    for (int axis = up.row + 1; axis < x->rank; axis++) {
        up.at[axis] = rest / behind_x[axis];
        rest %= behind_x[axis];
        bool fits = strip->column > strip->row && behind_x[axis] == behind_y[strip->column] &&
                    up.at[axis] + strip->length <= x->dim[axis].c;
        up.column = fits ? axis : up.column;
    }
    if (strip->length > 1 && up.column < 0) {
        return false;
    }
    *strip = up;
    return true;
}

static bool through_transpose(const ir_graph *graph, const ir_node_info *node, passes_strip *strip)
{
    const int64_t *perm = ir_find_attr(node, IR_ATTR_perm)->ints;
    passes_strip up = {.value = node->inputs[0], .column = -1, .length = strip->length};
    for (int axis = 0; axis < ir_type_of(graph, node->inputs[0])->rank; axis++) {
        up.at[perm[axis]] = strip->at[axis];
        up.row = axis == strip->row ? (int)perm[axis] : up.row;
        up.column = axis == strip->column ? (int)perm[axis] : up.column;
    }
    *strip = up;
    return true;
}

static bool through_concat(const ir_graph *graph, const ir_node_info *node, passes_strip *strip)
{
    int axis = (int)ir_attr_int(node, IR_ATTR_axis);
    int64_t first = strip->at[axis], length = axis == strip->column ? strip->length : 1;
    for (uint32_t i = 0; i < node->input_count && axis != strip->row; i++) {
        ir_dim extent = ir_type_of(graph, node->inputs[i])->dim[axis];
        if (!ir_dim_is_const(extent)) {
            return false;
        }
        if (first < extent.c) {
            strip->value = first + length <= extent.c ? node->inputs[i] : strip->value;
            strip->at[axis] = first + length <= extent.c ? first : strip->at[axis];
            return first + length <= extent.c;
        }
        first -= extent.c;
    }
    return false;
}

static bool through_slice(const ir_graph *graph, const ir_node_info *node, passes_strip *strip)
{
    const int64_t *starts = ir_find_attr(node, IR_ATTR_starts)->ints, *steps = ir_find_attr(node, IR_ATTR_steps)->ints;
    const ir_type *x = ir_type_of(graph, node->inputs[0]), *y = ir_type_of(graph, node->outputs[0]);
    for (int axis = 0; axis < x->rank; axis++) {
        bool whole = starts[axis] == 0 && steps[axis] == 1 && ir_dim_equal(x->dim[axis], y->dim[axis]);
        if ((axis == strip->row && !whole) || (axis == strip->column && steps[axis] != 1)) {
            return false;
        }
    }
    for (int axis = 0; axis < x->rank; axis++) {
        strip->at[axis] = axis == strip->row ? 0 : starts[axis] + steps[axis] * strip->at[axis];
    }
    strip->value = node->inputs[0];
    return true;
}

/* Element `i` of constant indices along an axis; -1: not within it. */
static int64_t index_at(const ir_tensor *indices, int64_t i, ir_dim extent)
{
    int64_t index = ir_tensor_int_at(indices, (size_t)i);
    index += index < 0 && ir_dim_is_const(extent) ? extent.c : 0;
    return ir_dim_is_const(extent) && index < extent.c ? index : -1;
}

static bool through_gather(const ir_graph *graph, const ir_node_info *node, passes_strip *strip)
{
    int axis = (int)ir_attr_int(node, IR_ATTR_axis);
    const ir_type *x = ir_type_of(graph, node->inputs[0]);
    const ir_tensor *indices = ir_info(graph, node->inputs[1])->tensor;
    if (!ir_is_const(graph, node->inputs[1]) || indices->rank > 1 || (indices->rank == 1 && axis == strip->row)) {
        return false;
    }
    int shift = 1 - indices->rank; /* a single index drops the axis */
    passes_strip up = {.value = node->inputs[0], .column = -1, .length = strip->length};
    up.row = strip->row >= axis ? strip->row + shift : strip->row;
    up.column = strip->column >= axis ? strip->column + shift : strip->column;
    for (int i = 0; i < x->rank; i++) {
        up.at[i] = i == axis ? 0 : strip->at[i > axis ? i - shift : i];
    }
    int64_t first = indices->rank == 1 ? strip->at[axis] : 0;
    int64_t length = indices->rank == 1 && axis == strip->column ? strip->length : 1;
    up.at[axis] = index_at(indices, first, x->dim[axis]);
    for (int64_t i = 1; i < length; i++) {
        if (index_at(indices, first + i, x->dim[axis]) != up.at[axis] + i) {
            return false;
        }
    }
    if (up.at[axis] < 0) {
        return false;
    }
    *strip = up;
    return true;
}

static bool through_expand(const ir_graph *graph, const ir_node_info *node, passes_strip *strip)
{
    const ir_type *x = ir_type_of(graph, node->inputs[0]), *y = ir_type_of(graph, node->outputs[0]);
    int shift = y->rank - x->rank;
    passes_strip up = {.value = node->inputs[0], .row = strip->row - shift, .column = -1, .length = strip->length};
    up.column = strip->column >= 0 ? strip->column - shift : -1;
    if (up.row < 0 || !ir_dim_equal(x->dim[up.row], y->dim[strip->row]) ||
        (strip->column >= 0 && (up.column < 0 || !ir_dim_equal(x->dim[up.column], y->dim[strip->column])))) {
        return false;
    }
    for (int axis = 0; axis < x->rank; axis++) {
        up.at[axis] = ir_dim_equal(x->dim[axis], y->dim[axis + shift]) ? strip->at[axis + shift] : 0;
    }
    *strip = up;
    return true;
}

static bool through(const ir_graph *graph, passes_strip *strip)
{
    const ir_node_info *node = ir_producer(graph, strip->value);
    if (node == NULL) {
        return false;
    }
    switch (node->op) {
    case IR_OP_reshape: return node->input_count == 1 && through_reshape(graph, node, strip);
    case IR_OP_transpose: return through_transpose(graph, node, strip);
    case IR_OP_concat: return through_concat(graph, node, strip);
    case IR_OP_slice: return through_slice(graph, node, strip);
    case IR_OP_gather: return through_gather(graph, node, strip);
    case IR_OP_expand: return node->input_count == 1 && through_expand(graph, node, strip);
    default: return false;
    }
}

bool passes_strip_is_fixed(const ir_graph *graph, const passes_strip *strip)
{
    const ir_type *type = ir_type_of(graph, strip->value);
    for (int axis = 0; axis < type->rank; axis++) {
        if (axis != strip->row && (!ir_dim_is_const(type->dim[axis]) || type->dim[axis].c < 1)) {
            return false;
        }
    }
    return strip->row < type->rank;
}

static bool go_up(const ir_graph *graph, passes_strip *strip)
{
    passes_strip up = *strip;
    if (!through(graph, &up) || !passes_strip_is_fixed(graph, &up)) {
        return false;
    }
    *strip = up;
    return true;
}

int passes_trace_strip(const ir_graph *graph, passes_strip *strip)
{
    enum { DEEP = 64 }; /* no exporter comes near it; a made-up chain of moves must not cost more for every strip */
    int moves = 0;
    for (int depth = 0; depth < DEEP; depth++) {
        bool is_reshape = ir_producer_op(graph, strip->value, IR_OP_reshape) != NULL;
        if (!go_up(graph, strip)) {
            break;
        }
        moves += is_reshape ? 0 : 1;
    }
    return moves;
}

/* --- planes -------------------------------------------------------------------------------------------------- */

/* A value as a matrix (B, width): its row axis first, the others in order, and `column`, if not -1, last. A part of it
 * is the columns [start, end). */
typedef struct part {
    ir_value value;
    int row, column;
    int64_t start, end, width;
    size_t strip; /* whose part it is */
} part;

static void plane_order(int rank, int row, int column, int64_t *perm)
{
    int count = 0;
    perm[count++] = row;
    for (int axis = 0; axis < rank; axis++) {
        if (axis != row && axis != column) {
            perm[count++] = axis;
        }
    }
    if (column >= 0) {
        perm[count++] = column;
    }
}

/* False: some extent is not fixed. */
static bool find_part(const ir_graph *graph, const passes_strip *strip, part *p)
{
    const ir_type *type = ir_type_of(graph, strip->value);
    int64_t strides[MTL_MAX_RANK] = {0}, perm[MTL_MAX_RANK];
    *p = (part){.value = strip->value, .row = strip->row, .column = -1};
    bool leads = true;
    for (int axis = 0; axis < strip->row; axis++) {
        leads = leads && ir_dim_is(type->dim[axis], 1);
    }
    if (leads && strides_behind(type, strip->row, strides, &p->width) &&
        (strip->length == 1 || strides[strip->column] == 1)) {
        p->start = offset_of(strip, strides, type->rank);
        p->end = p->start + strip->length;
        return true;
    }
    p->column = strip->length > 1 ? strip->column : -1;
    plane_order(type->rank, p->row, p->column, perm);
    p->width = 1;
    for (int i = type->rank - 1; i > 0; i--) {
        ir_dim extent = type->dim[perm[i]];
        p->start += strip->at[perm[i]] * p->width;
        if (!ir_dim_is_const(extent) || !base_mul_i64(p->width, extent.c, &p->width)) {
            return false;
        }
    }
    p->end = p->start + strip->length;
    return true;
}

bool passes_strips_are_rows(const ir_graph *graph, const passes_strip *strips, size_t count)
{
    bool rows = true;
    for (size_t i = 0; i < count && rows; i++) {
        part p;
        rows = find_part(graph, &strips[i], &p) && p.column < 0;
    }
    return rows;
}

static bool same_plane(const part *a, const part *b)
{
    return a->value == b->value && a->row == b->row && a->column == b->column;
}

bool passes_strips_are_joined(const ir_graph *graph, const passes_strip *strips, size_t count)
{
    part first, next;
    bool joined = find_part(graph, &strips[0], &first) && first.column < 0;
    for (size_t i = 1; i < count && joined; i++) {
        joined = find_part(graph, &strips[i], &next) && same_plane(&first, &next) && next.start == first.end;
        first.end = next.end;
    }
    return joined;
}

static mtl_status insert_reshape(passes_rewriter *r, ir_node before, const ir_type *type, ir_value *value)
{
    return ir_type_equal(ir_type_of(r->graph, *value), type)
               ? MTL_OK
               : passes_insert(r, before, IR_OP_reshape, NULL, value, 1, NULL, 0, type, value);
}

/* The part as a value (B, outer, inner), or (B, inner) when outer is 0. */
static mtl_status insert_part(passes_rewriter *r, ir_node before, const part *p, int64_t outer, int64_t inner,
                              ir_value *value)
{
    ir_type type = *ir_type_of(r->graph, p->value);
    ir_type flat = {.dtype = type.dtype, .rank = 2, .dim = {type.dim[p->row], ir_dim_const(p->width)}};
    int64_t perm[MTL_MAX_RANK];
    bool moves = p->column >= 0;
    for (int axis = 0; axis < p->row; axis++) {
        moves |= !ir_dim_is(type.dim[axis], 1);
    }
    *value = p->value;
    if (moves) {
        plane_order(type.rank, p->row, p->column, perm);
        ir_attr attr = IR_INTS(perm, perm, type.rank);
        BASE_TRY(passes_insert(r, before, IR_OP_transpose, NULL, value, 1, &attr, 1, NULL, value));
    }
    if (p->end - p->start < p->width) {
        BASE_TRY(insert_reshape(r, before, &flat, value));
        flat.dim[1] = ir_dim_const(p->end - p->start);
        ir_attr attrs[2] = {IR_INTS(starts, ((int64_t[]){0, p->start}), 2), IR_INTS(steps, ((int64_t[]){1, 1}), 2)};
        BASE_TRY(passes_insert(r, before, IR_OP_slice, NULL, value, 1, attrs, 2, &flat, value));
    }
    ir_type result = {.dtype = type.dtype, .rank = 2, .dim = {flat.dim[0], ir_dim_const(inner)}};
    if (outer > 0) {
        result =
            (ir_type){.dtype = type.dtype, .rank = 3, .dim = {flat.dim[0], ir_dim_const(outer), ir_dim_const(inner)}};
    }
    return insert_reshape(r, before, &result, value);
}

static mtl_status insert_concat(passes_rewriter *r, ir_node before, const ir_value *parts, size_t count,
                                ir_value *value)
{
    ir_attr axis = IR_INT(axis, 1);
    *value = parts[0];
    return count == 1 ? MTL_OK : passes_insert(r, before, IR_OP_concat, NULL, parts, count, &axis, 1, NULL, value);
}

static int compare_parts(const void *left, const void *right)
{
    const part *a = left, *b = right;
    if (a->value != b->value) {
        return a->value < b->value ? -1 : 1;
    }
    if (a->row != b->row || a->column != b->column) {
        return a->row != b->row ? a->row - b->row : a->column - b->column;
    }
    return a->start != b->start ? (a->start < b->start ? -1 : 1) : a->strip < b->strip ? -1 : a->strip > b->strip;
}

static mtl_status find_parts(passes_rewriter *r, const passes_strip *strips, size_t count, part **parts)
{
    *parts = BASE_NEW_ARRAY(&r->scratch, part, count);
    BASE_TRY_MEMORY(*parts, r->diag);
    for (size_t i = 0; i < count; i++) {
        if (!find_part(r->graph, &strips[i], &(*parts)[i])) {
            return base_fail(r->diag, MTL_INTERNAL, "a strip of extents that are not fixed");
        }
        (*parts)[i].strip = i;
    }
    return MTL_OK;
}

/* All in one plane that falls into pieces of that length. */
static bool is_one_stack(const part *parts, size_t count, int64_t length)
{
    bool one = parts[0].width % length == 0;
    for (size_t i = 0; i < count && one; i++) {
        one = same_plane(&parts[i], &parts[0]) && parts[i].start % length == 0;
    }
    return one;
}

mtl_status passes_stack_strips(passes_rewriter *r, ir_node before, const passes_strip *strips, size_t count,
                               ir_value *stack, int64_t *numbers)
{
    int64_t length = strips[0].length, placed = 0;
    part *parts;
    BASE_TRY(find_parts(r, strips, count, &parts));
    if (is_one_stack(parts, count, length)) {
        part whole = parts[0];
        whole.start = 0;
        whole.end = whole.width;
        for (size_t i = 0; i < count; i++) {
            numbers[i] = parts[i].start / length;
        }
        return insert_part(r, before, &whole, whole.width / length, length, stack);
    }
    /* The same order whatever the gates' is, so that gates with the same experts share one stack. */
    qsort(parts, count, sizeof *parts, compare_parts);
    ir_value *values = BASE_NEW_ARRAY(&r->scratch, ir_value, count);
    BASE_TRY_MEMORY(values, r->diag);
    size_t value_count = 0;
    for (size_t i = 0; i < count;) {
        part run = parts[i];
        for (; i < count && same_plane(&parts[i], &run) && (parts[i].end == run.end || parts[i].start == run.end);
             i++) {
            run.end = parts[i].end;
            numbers[parts[i].strip] = placed + (parts[i].start - run.start) / length;
        }
        int64_t pieces = (run.end - run.start) / length;
        BASE_TRY(insert_part(r, before, &run, pieces, length, &values[value_count++]));
        placed += pieces;
    }
    return insert_concat(r, before, values, value_count, stack);
}

mtl_status passes_join_strips(passes_rewriter *r, ir_node before, const passes_strip *strips, size_t count,
                              int64_t outer, int64_t inner, ir_value *joined)
{
    part *parts;
    BASE_TRY(find_parts(r, strips, count, &parts));
    ir_value *values = BASE_NEW_ARRAY(&r->scratch, ir_value, count);
    BASE_TRY_MEMORY(values, r->diag);
    size_t value_count = 0;
    for (size_t i = 0; i < count;) {
        part run = parts[i++];
        for (; i < count && same_plane(&parts[i], &run) && parts[i].start == run.end; i++) {
            run.end = parts[i].end;
        }
        if (run.end - run.start == (outer > 0 ? outer : 1) * inner) {
            return insert_part(r, before, &run, outer, inner, joined);
        }
        BASE_TRY(insert_part(r, before, &run, 0, run.end - run.start, &values[value_count++]));
    }
    BASE_TRY(insert_concat(r, before, values, value_count, joined));
    if (outer == 0) {
        return MTL_OK;
    }
    const ir_type *flat = ir_type_of(r->graph, *joined);
    ir_type type = {.dtype = flat->dtype, .rank = 3, .dim = {flat->dim[0], ir_dim_const(outer), ir_dim_const(inner)}};
    return insert_reshape(r, before, &type, joined);
}

/* --- runs ---------------------------------------------------------------------------------------------------- */

/* The one axis along which strips of one value differ; -1: there is none, or more. */
static int varying_axis(const ir_graph *graph, const passes_strip *strips, size_t count)
{
    int varying = -1;
    for (size_t i = 1; i < count; i++) {
        if (strips[i].value != strips[0].value || strips[i].row != strips[0].row) {
            return -1;
        }
        for (int axis = 0; axis < ir_type_of(graph, strips[0].value)->rank; axis++) {
            if (axis != strips[0].row && strips[i].at[axis] != strips[0].at[axis]) {
                if (varying >= 0 && varying != axis) {
                    return -1;
                }
                varying = axis;
            }
        }
    }
    return varying;
}

bool passes_find_run(const ir_graph *graph, const passes_strip *strips, size_t count, passes_strip *run, int64_t *order)
{
    *run = strips[0];
    order[0] = 0;
    if (count == 1) {
        return true;
    }
    int axis = varying_axis(graph, strips, count);
    if (axis < 0) {
        return false;
    }
    int64_t first = strips[0].at[axis];
    for (size_t i = 1; i < count; i++) {
        first = strips[i].at[axis] < first ? strips[i].at[axis] : first;
    }
    run->at[axis] = first;
    run->column = axis;
    run->length = (int64_t)count;
    for (size_t i = 0; i < count; i++) { /* each once: within [0, count), and no two equal */
        order[i] = strips[i].at[axis] - first;
        if (order[i] >= (int64_t)count) {
            return false;
        }
        for (size_t k = 0; k < i; k++) {
            if (order[k] == order[i]) {
                return false;
            }
        }
    }
    return true;
}
