/* Parts are read where their numbers are, and not from a copy; they are columns of a matrix with the candidates in front.
 *
 *     %t = transpose(%m) perm=[1, 0, 2]           : f32[2, B, 8]      with m (B, 2, 8)
 *     %z = gather(%t, 1) axis=0                   : f32[B, 8]
 *
 * becomes
 *
 *     %f = reshape(%m)                            : f32[B, 16]
 *     %s = slice(%f) starts=[0, 8] steps=[1, 1]   : f32[B, 8]
 *     %z = reshape(%s)                            : f32[B, 8]
 *
 * and a part of a concatenation that lies in one operand is a part of that operand. Where the numbers do not lie in one
 * piece of a row, nothing changes.
 */
#include "passes/passes.h"
#include "passes/strip.h"

static const char fate[] = "its part is read in place";

/* The result as one strip: the candidates along one axis, and one other axis of more than 1. */
static bool as_strip(const ir_graph *graph, ir_value value, passes_strip *strip)
{
    const ir_type *type = ir_type_of(graph, value);
    *strip = (passes_strip){.value = value, .row = -1, .column = -1, .length = 1};
    for (int axis = 0; axis < type->rank; axis++) {
        if (!ir_dim_is_const(type->dim[axis])) {
            if (strip->row >= 0) {
                return false;
            }
            strip->row = axis;
        } else if (type->dim[axis].c != 1) {
            if (strip->column >= 0 || type->dim[axis].c < 1) {
                return false;
            }
            strip->column = axis;
            strip->length = type->dim[axis].c;
        }
    }
    return strip->row >= 0;
}

static mtl_status look(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    passes_strip strip;
    if ((node->op != IR_OP_slice && node->op != IR_OP_gather) || !as_strip(r->graph, node->outputs[0], &strip)) {
        return MTL_OK;
    }
    int moves = passes_trace_strip(r->graph, &strip);
    bool straight = node->op == IR_OP_slice && ir_type_of(r->graph, node->inputs[0])->rank == 2 && moves == 1;
    if (moves == 0 || straight || !passes_strips_are_rows(r->graph, &strip, 1)) {
        return MTL_OK;
    }
    ir_value part;
    BASE_TRY(passes_join_strips(r, n, &strip, 1, 0, strip.length, &part));
    return passes_become(r, n, IR_OP_reshape, &part, 1, NULL, 0, fate);
}

mtl_status passes_straighten_slices(ir_graph *graph, base_diag *diag)
{
    return passes_each(graph, diag, look);
}
