#include "passes/layout.h"

#include <math.h>
#include <string.h>

passes_layout passes_layout_of(const ir_graph *graph, ir_value value)
{
    const ir_type *type = ir_type_of(graph, value);
    passes_layout layout = {.root = value, .rank = type->rank, .scale = 1};
    for (int axis = 0; axis < type->rank; axis++) {
        if (!ir_dim_is(type->dim[axis], 1)) {
            layout.atoms[axis][layout.count[axis]++] = (passes_atom){axis, type->dim[axis], 1};
        }
    }
    return layout;
}

/* --- one move ------------------------------------------------------------------------------------------------- */

/* A constant index of one position, made non-negative. */
static bool one_position(const ir_graph *graph, const ir_node_info *node, int64_t *position)
{
    ir_value indices = node->inputs[1];
    ir_dim extent = ir_type_of(graph, node->inputs[0])->dim[ir_attr_int(node, IR_ATTR_axis)];
    if (!ir_is_const(graph, indices) || ir_info(graph, indices)->tensor->count != 1 ||
        ir_type_of(graph, indices)->rank > 1) {
        return false;
    }
    *position = ir_tensor_int_at(ir_info(graph, indices)->tensor, 0);
    if (*position < 0) {
        *position += ir_dim_is_const(extent) ? extent.c : 0;
    }
    return *position >= 0;
}

ir_value passes_moved(const ir_graph *graph, const ir_node_info *node)
{
    int64_t position;
    switch (node->op) {
    case IR_OP_identity:
    case IR_OP_transpose:
    case IR_OP_slice: return node->inputs[0];
    case IR_OP_reshape:
    case IR_OP_expand: return node->input_count == 1 ? node->inputs[0] : 0;
    case IR_OP_gather: return one_position(graph, node, &position) ? node->inputs[0] : 0;
    default: return 0;
    }
}

static bool push(passes_layout *layout, int axis, passes_atom atom)
{
    int *count = &layout->count[axis];
    if (ir_dim_is(atom.extent, 1)) {
        return true;
    }
    if (*count > 0) { /* one run with the one before? */
        passes_atom *last = &layout->atoms[axis][*count - 1];
        int64_t stride;
        bool same = last->axis == atom.axis && ir_dim_is_const(atom.extent) &&
                    !__builtin_mul_overflow(atom.stride, atom.extent.c, &stride) &&
                    (atom.axis == PASSES_REPEATED || last->stride == stride);
        if (same && ir_dim_mul(last->extent, atom.extent, &last->extent)) {
            last->stride = atom.stride;
            return true;
        }
    }
    if (*count == PASSES_LAYOUT_ATOMS) {
        return false;
    }
    layout->atoms[axis][(*count)++] = atom;
    return true;
}

/* Fills an axis of extent `want` from the atoms behind *next, of which the one at hand may be cut in two. */
static bool fill_axis(passes_layout *layout, int axis, ir_dim want, passes_atom *atoms, int count, int *next)
{
    ir_dim have = ir_dim_const(1), product, outer, inner, rest;
    while (!ir_dim_equal(have, want)) {
        if (*next == count || !ir_dim_mul(have, atoms[*next].extent, &product)) {
            return false;
        }
        if (ir_dim_div(want, product, &rest)) {
            have = product;
            if (!push(layout, axis, atoms[(*next)++])) {
                return false;
            }
            continue;
        }
        passes_atom *atom = &atoms[*next];
        if (!ir_dim_div(want, have, &outer) || !ir_dim_div(atom->extent, outer, &inner) || !ir_dim_is_const(inner)) {
            return false;
        }
        passes_atom cut = {atom->axis, outer, atom->stride * inner.c};
        atom->extent = inner;
        have = want;
        if (!push(layout, axis, cut)) {
            return false;
        }
    }
    return true;
}

static bool move_reshape(passes_layout *layout, const ir_type *type)
{
    passes_atom atoms[MTL_MAX_RANK * PASSES_LAYOUT_ATOMS];
    int count = 0, next = 0;
    for (int axis = 0; axis < layout->rank; axis++) {
        memcpy(atoms + count, layout->atoms[axis], (size_t)layout->count[axis] * sizeof *atoms);
        count += layout->count[axis];
    }
    layout->rank = type->rank;
    memset(layout->count, 0, sizeof layout->count);
    for (int axis = 0; axis < type->rank; axis++) {
        if (ir_dim_is(type->dim[axis], 0) || !fill_axis(layout, axis, type->dim[axis], atoms, count, &next)) {
            return false;
        }
    }
    return next == count;
}

static void move_transpose(passes_layout *layout, const ir_attr *perm)
{
    const passes_layout old = *layout;
    for (size_t i = 0; i < perm->count; i++) {
        layout->count[i] = old.count[perm->ints[i]];
        memcpy(layout->atoms[i], old.atoms[perm->ints[i]], sizeof old.atoms[0]);
    }
}

/* `extent` positions of an axis from `start` on. */
static bool cut_axis(passes_layout *layout, int axis, ir_dim before, int64_t start, int64_t step, ir_dim extent)
{
    if (start == 0 && step == 1 && ir_dim_equal(before, extent)) {
        return true;
    }
    if (layout->count[axis] == 0 || !ir_dim_is_const(extent) || extent.c < 1) {
        return layout->count[axis] == 0 && ir_dim_is(extent, 1);
    }
    int64_t inner = 1;
    for (int i = 1; i < layout->count[axis]; i++) {
        ir_dim part = layout->atoms[axis][i].extent;
        if (!ir_dim_is_const(part) || __builtin_mul_overflow(inner, part.c, &inner)) {
            return false;
        }
    }
    passes_atom *atom = &layout->atoms[axis][0];
    bool whole = inner == 1 || (step == 1 && start % inner == 0 && extent.c % inner == 0);
    if (!whole) {
        return false;
    }
    if (atom->axis != PASSES_REPEATED) {
        layout->start[atom->axis] += start / inner * atom->stride;
    }
    atom->stride *= step;
    atom->extent = ir_dim_const(extent.c / inner);
    if (ir_dim_is(atom->extent, 1)) {
        memmove(atom, atom + 1, (size_t)--layout->count[axis] * sizeof *atom);
    }
    return true;
}

static bool move_slice(const ir_graph *graph, const ir_node_info *node, passes_layout *layout)
{
    const ir_type *from = ir_type_of(graph, node->inputs[0]), *to = ir_type_of(graph, node->outputs[0]);
    const int64_t *starts = ir_find_attr(node, IR_ATTR_starts)->ints, *steps = ir_find_attr(node, IR_ATTR_steps)->ints;
    for (int axis = 0; axis < from->rank; axis++) {
        if (!cut_axis(layout, axis, from->dim[axis], starts[axis], steps[axis], to->dim[axis])) {
            return false;
        }
    }
    return true;
}

static bool move_gather(const ir_graph *graph, const ir_node_info *node, passes_layout *layout)
{
    int axis = (int)ir_attr_int(node, IR_ATTR_axis);
    int64_t position;
    if (!one_position(graph, node, &position) ||
        !cut_axis(layout, axis, ir_type_of(graph, node->inputs[0])->dim[axis], position, 1, ir_dim_const(1))) {
        return false;
    }
    if (ir_type_of(graph, node->inputs[1])->rank == 0) {
        layout->rank--;
        for (int i = axis; i < layout->rank; i++) {
            layout->count[i] = layout->count[i + 1];
            memcpy(layout->atoms[i], layout->atoms[i + 1], sizeof layout->atoms[0]);
        }
    }
    return true;
}

static bool move_expand(const ir_graph *graph, const ir_node_info *node, passes_layout *layout)
{
    const ir_type *from = ir_type_of(graph, node->inputs[0]), *to = ir_type_of(graph, node->outputs[0]);
    const passes_layout old = *layout;
    layout->rank = to->rank;
    for (int axis = to->rank - 1; axis >= 0; axis--) {
        int own = axis - (to->rank - from->rank);
        bool repeated = (own < 0 || ir_dim_is(from->dim[own], 1)) && !ir_dim_is(to->dim[axis], 1);
        layout->count[axis] = repeated ? 1 : own < 0 ? 0 : old.count[own];
        if (repeated) {
            layout->atoms[axis][0] = (passes_atom){PASSES_REPEATED, to->dim[axis], 0};
        } else if (own >= 0) {
            memcpy(layout->atoms[axis], old.atoms[own], sizeof old.atoms[0]);
        }
    }
    return true;
}

bool passes_layout_move(const ir_graph *graph, const ir_node_info *node, passes_layout *layout)
{
    switch (node->op) {
    case IR_OP_identity: return true;
    case IR_OP_reshape: return move_reshape(layout, ir_type_of(graph, node->outputs[0]));
    case IR_OP_transpose: move_transpose(layout, ir_find_attr(node, IR_ATTR_perm)); return true;
    case IR_OP_slice: return move_slice(graph, node, layout);
    case IR_OP_gather: return move_gather(graph, node, layout);
    case IR_OP_expand: return move_expand(graph, node, layout);
    default: return false;
    }
}

/* --- all moves ------------------------------------------------------------------------------------------------ */

bool passes_scales(passes_rewriter *r, const ir_node_info *node, ir_value *operand, double *factor)
{
    if (node->op != IR_OP_mul && node->op != IR_OP_div) {
        return false;
    }
    for (uint32_t k = 0; k < (node->op == IR_OP_mul ? 2 : 1); k++) {
        ir_value x = passes_resolve(r, node->inputs[k]);
        bool fits = ir_const_scalar(r->graph, passes_resolve(r, node->inputs[1 - k]), factor) &&
                    ir_type_equal(ir_type_of(r->graph, x), ir_type_of(r->graph, node->outputs[0]));
        *factor = fits && node->op == IR_OP_div ? 1 / *factor : *factor;
        if (fits && isfinite(*factor)) {
            *operand = x;
            return true;
        }
    }
    return false;
}

passes_layout passes_find_layout(passes_rewriter *r, ir_value value, bool scaled)
{
    const ir_graph *graph = r->graph;
    const ir_node_info *moves[PASSES_LAYOUT_DEPTH], *node;
    int depth = 0;
    value = passes_resolve(r, value);
    for (double factor; depth < PASSES_LAYOUT_DEPTH && (node = ir_producer(graph, value)) != NULL; depth++) {
        ir_value operand = passes_moved(graph, node);
        if (operand == 0 && !(scaled && passes_scales(r, node, &operand, &factor))) {
            break;
        }
        moves[depth] = node;
        value = passes_resolve(r, operand);
    }
    passes_layout layout = passes_layout_of(graph, value);
    while (depth-- > 0) {
        double factor;
        ir_value operand;
        if (passes_moved(graph, moves[depth]) == 0 && passes_scales(r, moves[depth], &operand, &factor)) {
            layout.scale *= factor;
        } else if (!passes_layout_move(graph, moves[depth], &layout)) {
            layout = passes_layout_of(graph, moves[depth]->outputs[0]);
        }
    }
    return layout;
}
