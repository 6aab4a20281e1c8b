/* Mixtures: weighted sums of values, whichever nodes they were written in, on their way to `mix`. Private to passes/. */
#ifndef PASSES_MIXTURE_H
#define PASSES_MIXTURE_H

#include "passes/strip.h"

/* More terms are no gate. */
enum { PASSES_MIXTURE_TERMS = 1024 };

/* y[b, t, :] = sum over e of weights[t * experts + e][b] * values[t * experts + e][b, :]. Strips are traced. */
typedef struct passes_mixture {
    int64_t tasks, experts;
    passes_strip *weights;  /* one column each; NULL: the weights are constants */
    const double *constant; /* then these */
    passes_strip *values;   /* of one length each */
} passes_mixture;

/* Room for a mixture, in the scratch arena. False: too many terms, or none. */
mtl_status passes_new_mixture(passes_rewriter *r, int64_t tasks, int64_t experts, passes_mixture *mixture, bool *fits);

/* Whether the weights of every task are one softmax over just its experts. */
bool passes_mixture_is_softmax(const ir_graph *graph, const passes_mixture *mixture);

/* Inserts the mix, (B, tasks, length of the values). Nodes that make what it reads are inserted too, and merge with each
 * other in merge_equal. Says with a note, where a softmax makes the weights and cannot be part of it, why. */
mtl_status passes_insert_mix(passes_rewriter *r, ir_node before, const passes_mixture *mixture, ir_value *result);

/* `note` is what --explain says about the node. A constant string. */
void passes_note(ir_graph *graph, const ir_node_info *node, const char *note);

#endif
