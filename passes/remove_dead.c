/* Nodes that no output needs are removed.
 *
 *     %h = relu(%x)                               : f32[B, 4]
 *     %g = softmax(%x) axis=1                     : f32[B, 4]
 *     return %h
 *
 * becomes
 *
 *     %h = relu(%x)                               : f32[B, 4]
 *     return %h
 *
 * Inputs stay: they are the model's signature.
 */
#include "passes/passes.h"
#include "passes/rewrite.h"

mtl_status passes_remove_dead(ir_graph *graph, base_diag *diag)
{
    passes_rewriter r;
    BASE_TRY(passes_begin(graph, diag, &r));
    for (ir_node n = graph->last_node, previous; n != 0; n = previous) {
        const ir_node_info *node = ir_node_of(graph, n);
        previous = node->previous;
        bool used = false;
        for (uint32_t j = 0; j < node->output_count; j++) {
            used = used || r.uses[node->outputs[j]] > 0;
        }
        if (!used) {
            passes_kill(&r, n, "no output needs it");
        }
    }
    return passes_end(&r);
}
