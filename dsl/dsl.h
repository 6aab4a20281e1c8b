/* The ranker language: a ranker in twenty lines, with weights from a checkpoint. docs/language.md is its manual.
 *
 *     ranker mmoe
 *     tasks click, cart, order
 *     input x: dense(512)
 *     experts = [mlp(x, [256, 128], "experts.{e}") for e in 0..8]
 *     for t in tasks {
 *         h = mix(gate(x, 8, "gates.{t.index}"), experts)
 *         output t = sigmoid(linear(h, 1, "towers.{t.index}"))
 *     }
 */
#ifndef DSL_DSL_H
#define DSL_DSL_H

#include <stdio.h>

#include "base/arena.h"
#include "ir/graph.h"

/* Where weights come from. */
typedef struct dsl_weights {
    void *context;
    /* The tensor called `name`, which is to be of a type of fixed extents (the shape is checked by the caller; made-up
     * weights take it from there). Its data lives as long as the graph. MTL_INVALID_DATA: there is none, and the diag says
     * what there is instead. */
    mtl_status (*find)(void *context, const char *name, const ir_type *type, base_arena *arena, base_diag *diag,
                       ir_tensor *tensor);
} dsl_weights;

typedef struct dsl_options {
    const dsl_weights *weights; /* NULL: weights are an error */
    FILE *errors;               /* all errors with their lines, when there are any; NULL: only the first, to the diag */
} dsl_options;

/* Compiles `length` bytes of a ranker, called `name` in messages, to a graph in the arena. */
mtl_status dsl_compile(const char *name, const char *text, size_t length, const dsl_options *options, base_arena *arena,
                       base_diag *diag, ir_graph **graph);

#endif
