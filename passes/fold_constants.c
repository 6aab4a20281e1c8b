/* What depends on constants only is computed, once, by the reference evaluator.
 *
 *     const %a : f32[] = 2
 *     const %w : f32[2] = [1, 3]
 *     %v = mul(%a, %w)                            : f32[2]
 *     %y = add(%x, %v)                            : f32[B, 2]
 *
 * becomes
 *
 *     const %v : f32[2] = [2, 6]
 *     %y = add(%x, %v)                            : f32[B, 2]
 *
 * Floats stay float64 until the plan is written. A result of more than ir_graph.fold_byte_budget bytes is left as it
 * is: an expand may cost megabytes that its readers do not need.
 */
#include "base/checked.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

static const size_t default_budget = (size_t)256 << 20;

static bool is_foldable(const ir_graph *graph, const ir_node_info *node)
{
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (node->inputs[i] != 0 && !ir_is_const(graph, node->inputs[i])) {
            return false;
        }
    }
    const ir_type *type = ir_type_of(graph, node->outputs[0]);
    size_t bytes = mtl_dtype_size(type->dtype);
    size_t budget = graph->fold_byte_budget != 0 ? graph->fold_byte_budget : default_budget;
    if (node->input_count == 0 || !ir_type_is_fixed(type)) {
        return false;
    }
    for (int i = 0; i < type->rank; i++) {
        if (!base_mul_size(bytes, (size_t)type->dim[i].c, &bytes)) {
            return false;
        }
    }
    return bytes <= budget;
}

/* The evaluator's result lies in the scratch arena, unless it is an operand's data. */
static mtl_status keep_numbers(passes_rewriter *r, const ir_tensor *const *inputs, size_t count, ir_tensor *result)
{
    for (size_t i = 0; i < count; i++) {
        if (inputs[i] != NULL && result->raw == inputs[i]->raw && result->f == inputs[i]->f &&
            result->i == inputs[i]->i) {
            return MTL_OK;
        }
    }
    if (result->f != NULL) {
        result->f = base_arena_copy(r->graph->arena, result->f, result->count * sizeof *result->f);
        BASE_TRY_MEMORY(result->f, r->diag);
    } else {
        result->i = base_arena_copy(r->graph->arena, result->i, result->count * sizeof *result->i);
        BASE_TRY_MEMORY(result->i, r->diag);
    }
    return MTL_OK;
}

static mtl_status fold_in(passes_rewriter *r, ir_node n, base_arena *arena)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    const ir_tensor **inputs = BASE_NEW_ARRAY(arena, const ir_tensor *, node->input_count);
    BASE_TRY_MEMORY(inputs, r->diag);
    for (uint32_t i = 0; i < node->input_count; i++) {
        inputs[i] = node->inputs[i] == 0 ? NULL : ir_info(r->graph, node->inputs[i])->tensor;
    }
    ir_tensor result;
    BASE_TRY(ir_eval_node(r->graph, n, inputs, NULL, arena, r->diag, &result));
    BASE_TRY(keep_numbers(r, inputs, node->input_count, &result));
    return passes_make_const(r, n, &result, "folded to a constant");
}

mtl_status passes_fold_constants(ir_graph *graph, base_diag *diag)
{
    passes_rewriter r;
    BASE_TRY(passes_begin(graph, diag, &r));
    for (ir_node n = graph->first_node, next; n != 0; n = next) {
        const ir_node_info *node = ir_node_of(graph, n);
        next = node->next;
        if (!is_foldable(graph, node)) {
            continue;
        }
        base_arena arena = {NULL, 0, 0}; /* of one node: intermediates of a large fold are freed at once */
        mtl_status status = fold_in(&r, n, &arena);
        base_arena_free(&arena);
        if (status != MTL_OK) {
            return passes_abandon(&r, status);
        }
    }
    return passes_end(&r);
}
