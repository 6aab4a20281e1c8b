#include "passes/columns.h"

#include <string.h>

mtl_status passes_infer_users(ir_graph *graph, base_diag *diag)
{
    return ir_has_users(graph) ? ir_infer_rates(graph, diag) : MTL_OK;
}

bool passes_is_users(const ir_graph *graph, ir_value value)
{
    const ir_rate *rate = &ir_info(graph, value)->rate;
    return rate->kind == IR_RATE_ROW && rate->per_user;
}

void passes_set_users(ir_graph *graph, ir_value value, bool users)
{
    graph->values[value].rate = (ir_rate){.kind = IR_RATE_ROW, .before = 1, .after = 1, .per_user = users};
}

mtl_status passes_add_span(passes_rewriter *r, passes_columns *columns, passes_span span)
{
    *(span.users ? &columns->users : &columns->candidates) += span.width;
    passes_span *last = columns->count > 0 ? &columns->spans[columns->count - 1] : NULL;
    if (last != NULL && last->root == span.root && last->offset + last->width == span.offset) {
        last->width += span.width;
        return MTL_OK;
    }
    if (columns->count == columns->capacity) {
        size_t capacity = 2 * columns->capacity + 16;
        passes_span *spans = BASE_NEW_ARRAY(&r->scratch, passes_span, capacity);
        BASE_TRY_MEMORY(spans, r->diag);
        if (columns->count > 0) {
            memcpy(spans, columns->spans, columns->count * sizeof *spans);
        }
        columns->spans = spans;
        columns->capacity = capacity;
    }
    columns->spans[columns->count++] = span;
    return MTL_OK;
}

static void begin(passes_columns *columns, int axis)
{
    *columns = (passes_columns){.axis = axis, .spans = columns->spans, .capacity = columns->capacity};
}

/* Elements [offset, offset + width) of each row of `value`, appended. */
static mtl_status add_rows(passes_rewriter *r, passes_columns *columns, ir_value value, int64_t offset, int64_t width)
{
    passes_piece piece;
    if (!passes_find_part(r, value, offset, width, &piece)) {
        return base_fail(r->diag, MTL_INTERNAL, "a part of a row without rows");
    }
    const ir_node_info *node = ir_producer(r->graph, piece.root);
    if (node == NULL || node->op != IR_OP_concat ||
        !passes_cuts_rows(ir_type_of(r->graph, piece.root), (int)ir_attr_int(node, IR_ATTR_axis))) {
        return passes_add_span(
            r, columns, (passes_span){piece.root, piece.offset, piece.width, passes_is_users(r->graph, piece.root)});
    }
    int64_t first = 0, each, end = piece.offset + piece.width;
    for (uint32_t i = 0; i < node->input_count && first < end; i++, first += each) {
        if (!passes_row_width(ir_type_of(r->graph, node->inputs[i]), &each)) {
            return base_fail(r->diag, MTL_INTERNAL, "a part of a row without rows");
        }
        int64_t from = piece.offset > first ? piece.offset : first, to = end < first + each ? end : first + each;
        if (from < to) {
            BASE_TRY(add_rows(r, columns, node->inputs[i], from - first, to - from));
        }
    }
    return MTL_OK;
}

mtl_status passes_find_row_columns(passes_rewriter *r, ir_value value, passes_columns *columns)
{
    int64_t width = 0;
    begin(columns, 0);
    return passes_row_width(ir_type_of(r->graph, value), &width) && width > 0 ? add_rows(r, columns, value, 0, width)
                                                                              : MTL_OK;
}

/* Whether a slice cuts along `axis` alone, one element after the other. */
static bool cuts_axis(const ir_graph *graph, const ir_node_info *node, int axis)
{
    const ir_attr *starts = ir_find_attr(node, IR_ATTR_starts), *steps = ir_find_attr(node, IR_ATTR_steps);
    const ir_type *from = ir_type_of(graph, node->inputs[0]), *to = ir_type_of(graph, node->outputs[0]);
    for (int i = 0; i < from->rank; i++) {
        if (steps->ints[i] != 1 || (i != axis && (starts->ints[i] != 0 || !ir_dim_equal(from->dim[i], to->dim[i])))) {
            return false;
        }
    }
    return true;
}

static mtl_status add_along(passes_rewriter *r, passes_columns *columns, ir_value value, int64_t offset, int64_t width)
{
    value = passes_resolve(r, value);
    const ir_node_info *node = ir_producer(r->graph, value);
    while (node != NULL && node->op == IR_OP_slice && cuts_axis(r->graph, node, columns->axis)) {
        offset += ir_find_attr(node, IR_ATTR_starts)->ints[columns->axis];
        value = passes_resolve(r, node->inputs[0]);
        node = ir_producer(r->graph, value);
    }
    if (node == NULL || node->op != IR_OP_concat || ir_attr_int(node, IR_ATTR_axis) != columns->axis) {
        return passes_add_span(r, columns, (passes_span){value, offset, width, passes_is_users(r->graph, value)});
    }
    int64_t first = 0, each, end = offset + width;
    for (uint32_t i = 0; i < node->input_count && first < end; i++, first += each) {
        each = ir_type_of(r->graph, node->inputs[i])->dim[columns->axis].c;
        int64_t from = offset > first ? offset : first, to = end < first + each ? end : first + each;
        if (from < to) {
            BASE_TRY(add_along(r, columns, node->inputs[i], from - first, to - from));
        }
    }
    return MTL_OK;
}

mtl_status passes_find_axis_columns(passes_rewriter *r, ir_value value, int axis, passes_columns *columns)
{
    const ir_dim extent = ir_type_of(r->graph, value)->dim[axis];
    begin(columns, axis);
    return ir_dim_is_const(extent) && extent.c > 0 ? add_along(r, columns, value, 0, extent.c) : MTL_OK;
}

/* From elements of rows to extents along an axis; false: spans are not made of whole ones. */
static bool count_along(const ir_type *type, int axis, passes_columns *columns)
{
    int64_t inner = 1;
    for (int i = axis + 1; i < type->rank; i++) {
        inner *= type->dim[i].c;
    }
    for (size_t i = 0; i < columns->count; i++) {
        if (columns->spans[i].width % inner != 0) {
            return false;
        }
    }
    return true;
}

mtl_status passes_find_columns(passes_rewriter *r, ir_value value, int axis, passes_columns *columns)
{
    const ir_type *type = ir_type_of(r->graph, value);
    int64_t width;
    if (passes_row_width(type, &width) && passes_cuts_rows(type, axis)) {
        BASE_TRY(passes_find_row_columns(r, value, columns));
        if (columns->users > 0 && columns->candidates > 0 && count_along(type, axis, columns)) {
            return MTL_OK;
        }
    }
    return passes_find_axis_columns(r, value, axis, columns);
}

/* A span as a value of its own, along the axis. */
static mtl_status cut_span(passes_rewriter *r, ir_node before, const passes_span *span, int axis, ir_value *value)
{
    ir_type type = *ir_type_of(r->graph, span->root);
    *value = span->root;
    if (ir_dim_is(type.dim[axis], span->width)) {
        return MTL_OK;
    }
    int64_t starts[MTL_MAX_RANK] = {0}, steps[MTL_MAX_RANK];
    for (int i = 0; i < type.rank; i++) {
        steps[i] = 1;
    }
    starts[axis] = span->offset;
    type.dim[axis] = ir_dim_const(span->width);
    const ir_attr attrs[2] = {IR_INTS(starts, starts, (size_t)type.rank), IR_INTS(steps, steps, (size_t)type.rank)};
    BASE_TRY(passes_insert(r, before, IR_OP_slice, NULL, &span->root, 1, attrs, 2, &type, value));
    r->graph->nodes[ir_info(r->graph, *value)->node].source_count = 0; /* it does nobody's work */
    passes_set_users(r->graph, *value, span->users);
    return MTL_OK;
}

/* Spans one after the other along an axis. */
static mtl_status join_along(passes_rewriter *r, ir_node before, const passes_columns *columns, ir_value *value)
{
    ir_value *parts = BASE_NEW_ARRAY(&r->scratch, ir_value, columns->count);
    BASE_TRY_MEMORY(parts, r->diag);
    for (size_t i = 0; i < columns->count; i++) {
        BASE_TRY(cut_span(r, before, &columns->spans[i], columns->axis, &parts[i]));
    }
    *value = parts[0];
    ir_attr axis = IR_INT(axis, columns->axis);
    return columns->count > 1
               ? passes_insert(r, before, IR_OP_concat, NULL, parts, columns->count, &axis, 1, NULL, value)
               : MTL_OK;
}

mtl_status passes_join_columns(passes_rewriter *r, ir_node before, const passes_columns *columns, const ir_type *type,
                               ir_value *value)
{
    const ir_value first = r->graph->value_count;
    bool users = true;
    for (size_t i = 0; i < columns->count; i++) {
        users = users && passes_is_users(r->graph, columns->spans[i].root);
    }
    if (columns->axis != 0) {
        BASE_TRY(join_along(r, before, columns, value));
    } else {
        passes_piece *pieces = BASE_NEW_ARRAY(&r->scratch, passes_piece, columns->count);
        BASE_TRY_MEMORY(pieces, r->diag);
        for (size_t i = 0; i < columns->count; i++) {
            const passes_span *span = &columns->spans[i];
            pieces[i] = (passes_piece){span->root, span->offset, span->width};
        }
        BASE_TRY(passes_pack(r, before, pieces, columns->count, type, value));
    }
    if (*value >= first) {
        passes_set_users(r->graph, *value, users);
    }
    return MTL_OK;
}

mtl_status passes_pick_columns(passes_rewriter *r, ir_node before, const passes_columns *columns, bool users,
                               const ir_type *type, ir_value *value)
{
    passes_columns picked = {.axis = columns->axis};
    for (size_t i = 0; i < columns->count; i++) {
        if (columns->spans[i].users == users) {
            BASE_TRY(passes_add_span(r, &picked, columns->spans[i]));
        }
    }
    return passes_join_columns(r, before, &picked, type, value);
}
