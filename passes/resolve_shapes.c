/* Shape operands become part of the result types.
 *
 *     %s = shape(%x)                              : i64[2]
 *     %n = gather(%s, %zero) axis=0               : i64[]
 *     %t = concat(%n', %c) axis=0                 : i64[3]
 *     %y = reshape(%x, %t)                        : f32[B, 4, 8]
 *
 * becomes, since inference has evaluated %t to (B, 4, 8),
 *
 *     %y = reshape(%x)                            : f32[B, 4, 8]
 *
 * and an integer value whose elements are all known numbers becomes a constant. What stays is shape arithmetic that
 * data depend on.
 */
#include "passes/passes.h"
#include "passes/rewrite.h"

static const char fate[] = "shape arithmetic, known at compile time";

/* Whether the content of a value is numbers only; then they are a tensor in the graph's arena. */
static mtl_status known_tensor(passes_rewriter *r, const ir_value_info *value, bool *known, ir_tensor *tensor)
{
    *known = false;
    if (value->kind != IR_VALUE_NODE || value->content == NULL || !ir_type_is_fixed(&value->type)) {
        return MTL_OK;
    }
    for (size_t i = 0; i < value->content_count; i++) {
        if (!ir_dim_is_const(value->content[i])) {
            return MTL_OK;
        }
    }
    int64_t *numbers = BASE_NEW_ARRAY(r->graph->arena, int64_t, value->content_count);
    BASE_TRY_MEMORY(numbers, r->diag);
    for (size_t i = 0; i < value->content_count; i++) {
        numbers[i] = value->content[i].c;
    }
    *tensor =
        (ir_tensor){.dtype = value->type.dtype, .rank = value->type.rank, .count = value->content_count, .i = numbers};
    for (int i = 0; i < value->type.rank; i++) {
        tensor->shape[i] = value->type.dim[i].c;
    }
    *known = true;
    return MTL_OK;
}

static mtl_status resolve_node(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    bool known;
    ir_tensor tensor;
    BASE_TRY(known_tensor(r, ir_info(r->graph, node->outputs[0]), &known, &tensor));
    if (known) {
        return passes_make_const(r, n, &tensor, fate);
    }
    if ((node->op == IR_OP_reshape || node->op == IR_OP_expand) && node->input_count == 2) {
        ir_value x = node->inputs[0];
        return passes_set_inputs(r, n, &x, 1, fate);
    }
    return MTL_OK;
}

mtl_status passes_resolve_shapes(ir_graph *graph, base_diag *diag)
{
    passes_rewriter r;
    BASE_TRY(passes_begin(graph, diag, &r));
    for (ir_node n = graph->first_node, next; n != 0; n = next) {
        next = ir_node_of(graph, n)->next;
        mtl_status status = resolve_node(&r, n);
        if (status != MTL_OK) {
            return passes_abandon(&r, status);
        }
    }
    return passes_end(&r);
}
