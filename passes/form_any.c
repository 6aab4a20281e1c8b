/* Whether any of some truths holds, in one spelling: that of a count, which a mean over the same mask needs, too.
 *
 *     %i = cast(%mask) to=i64                     : i64[B, 12]        with mask bool
 *     %m = reduce_max(%i) axes=[1], keepdims=1    : i64[B, 1]
 *     %a = cast(%m) to=bool                       : bool[B, 1]
 *
 * becomes
 *
 *     %s = reduce_sum(%i) axes=[1], keepdims=1    : i64[B, 1]
 *     %a = greater(%s, 0)                         : bool[B, 1]
 *
 * PyTorch's dynamo exporter writes any() in the first way, its TorchScript exporter in the second.
 */
#include "passes/passes.h"
#include "passes/rewrite.h"

static const char fate[] = "any is a count of more than 0";

static bool is_integer(mtl_dtype dtype)
{
    return dtype == MTL_I32 || dtype == MTL_I64;
}

/* The node of that operation that makes `value`, as an integer; NULL: another. */
static const ir_node_info *made_by(const ir_graph *graph, ir_value value, ir_op op)
{
    const ir_node node = ir_info(graph, value)->node;
    const bool found = node != 0 && ir_node_of(graph, node)->op == op && is_integer(ir_type_of(graph, value)->dtype);
    return found ? ir_node_of(graph, node) : NULL;
}

/* Of no truths at all the maximum is no number, and the count 0. */
static bool is_empty(const ir_type *type)
{
    for (int axis = 0; axis < type->rank; axis++) {
        if (ir_dim_is(type->dim[axis], 0)) {
            return true;
        }
    }
    return false;
}

static mtl_status look(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    if (node->op != IR_OP_cast || ir_type_of(r->graph, node->outputs[0])->dtype != MTL_BOOL) {
        return MTL_OK;
    }
    const ir_node_info *most = made_by(r->graph, node->inputs[0], IR_OP_reduce_max);
    const ir_node_info *count = most != NULL ? made_by(r->graph, most->inputs[0], IR_OP_cast) : NULL;
    if (count == NULL || ir_type_of(r->graph, count->inputs[0])->dtype != MTL_BOOL ||
        is_empty(ir_type_of(r->graph, count->inputs[0]))) {
        return MTL_OK;
    }
    static const int64_t none = 0;
    static const int32_t none_short = 0;
    const ir_type type = *ir_type_of(r->graph, most->outputs[0]);
    const void *zero = type.dtype == MTL_I64 ? (const void *)&none : (const void *)&none_short;
    const ir_tensor tensor = {.dtype = type.dtype, .count = 1, .raw = zero};
    ir_value operands[2];
    BASE_TRY(passes_insert(r, n, IR_OP_reduce_sum, NULL, most->inputs, 1, most->attrs, most->attr_count, &type,
                           &operands[0]));
    BASE_TRY(passes_add_const(r, "none", &tensor, &operands[1]));
    return passes_become(r, n, IR_OP_greater, operands, 2, NULL, 0, fate);
}

mtl_status passes_form_any(ir_graph *graph, base_diag *diag)
{
    return passes_each(graph, diag, look);
}
