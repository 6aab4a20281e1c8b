#include "passes/sums.h"

mtl_status passes_find_sums(passes_rewriter *r, passes_sums *sums)
{
    const ir_graph *graph = r->graph;
    sums->count = graph->value_count;
    sums->inner = BASE_NEW_ARRAY(&r->scratch, bool, sums->count);
    BASE_TRY_MEMORY(sums->inner, r->diag);
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        for (uint32_t i = 0; node->op == IR_OP_add && i < 2; i++) {
            ir_value x = node->inputs[i];
            sums->inner[x] = passes_single_use(r, x) && ir_producer_op(graph, x, IR_OP_add) != NULL &&
                             ir_type_equal(ir_type_of(graph, x), ir_type_of(graph, node->outputs[0]));
        }
    }
    return MTL_OK;
}

static bool is_inner(const passes_sums *sums, ir_value value)
{
    return value < sums->count && sums->inner[value]; /* later ones were inserted by the pass */
}

size_t passes_flatten_sum(const passes_rewriter *r, const passes_sums *sums, ir_node node, ir_value *terms)
{
    ir_value stack[PASSES_SUM_TERMS];
    ir_value root = ir_node_of(r->graph, node)->outputs[0];
    size_t depth = 0, count = 0;
    if (is_inner(sums, root)) {
        return 0;
    }
    stack[depth++] = root;
    while (depth > 0) {
        ir_value value = stack[--depth];
        const ir_node_info *add = ir_producer_op(r->graph, value, IR_OP_add);
        if (add != NULL && (value == root || is_inner(sums, value))) {
            if (depth + 2 > PASSES_SUM_TERMS) {
                return 0;
            }
            stack[depth++] = add->inputs[1];
            stack[depth++] = add->inputs[0];
        } else if (count == PASSES_SUM_TERMS) {
            return 0;
        } else {
            terms[count++] = value;
        }
    }
    return count;
}

mtl_status passes_each_sum(ir_graph *graph, base_diag *diag,
                           mtl_status (*look)(passes_rewriter *r, const passes_sums *sums, ir_node node))
{
    passes_rewriter r;
    passes_sums sums;
    BASE_TRY(passes_begin(graph, diag, &r));
    mtl_status status = passes_find_sums(&r, &sums);
    for (ir_node node = graph->first_node, next; node != 0 && status == MTL_OK; node = next) {
        passes_visit(&r, node);
        next = ir_node_of(graph, node)->next;
        status = look(&r, &sums, node);
    }
    return status == MTL_OK ? passes_end(&r) : passes_abandon(&r, status);
}
