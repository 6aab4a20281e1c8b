/* --emit-towers: a twin-tower model as three graphs, of the user, of the item, and of the score of both. */
#ifndef COMPILER_TOWERS_H
#define COMPILER_TOWERS_H

#include "ir/graph.h"

enum { COMPILER_USER, COMPILER_ITEM, COMPILER_SCORE, COMPILER_PARTS };

/* What a value depends on, of what may differ between calls. */
enum {
    COMPILER_SIDE_USER = 1,                                       /* inputs that are per_user or have no candidates */
    COMPILER_SIDE_ITEM = 2,                                       /* other inputs */
    COMPILER_SIDE_BOTH = COMPILER_SIDE_USER | COMPILER_SIDE_ITEM, /* and what mixes candidates; 0: constants, params */
};

/* side[v] (value_count, all 0) of a graph with rates. */
mtl_status compiler_find_sides(const ir_graph *graph, base_diag *diag, unsigned char *side);

/* Least bytes an item that must be stored so that the values marked in `read`, all of the item's side, can be had without a
 * layer or look-up. */
mtl_status compiler_stored_bytes(ir_graph *graph, unsigned char *side, bool *read, base_diag *diag, uint64_t *bytes);

/* item_columns.c: products of item columns apart, where storing what they give takes no more than what the columns
 * are made of. To be done right before the cut. */
mtl_status compiler_split_item_columns(ir_graph *graph, base_diag *diag);

/* A value where the model is cut. */
typedef struct compiler_cut_value {
    const char *name;   /* of the output of one part and the input of the score's */
    const char *source; /* what computes it, in the source's words: "'/item/Gemm' (Gemm)"; "" for an input */
    uint64_t bytes;     /* for each item, or user */
    ir_value value;     /* in the graph that was cut */
    bool user;          /* made by the user's part, else by the item's */
} compiler_cut_value;

typedef struct compiler_towers {
    ir_graph *parts[COMPILER_PARTS];
    compiler_cut_value *cuts; /* the user's, then the items', each in topological order */
    size_t cut_count, user_count;
} compiler_towers;

extern const char *const compiler_part_names[COMPILER_PARTS]; /* "user", "item", "score" */

/* Cuts `graph`, in which some inputs are per_user and no layer has been packed with another yet. What depends on per_user
 * inputs (and those without candidates) alone is the user's, what depends on the others alone the item's; what reads both is
 * the score's, with what it needs that costs nothing to compute again and less to store. The parts share arena and
 * constants with `graph`, their outputs and inputs of one name are the same value. Errors are MTL_UNSUPPORTED and
 * MTL_INVALID_ARGUMENT: no per_user input, nothing that depends on one side, an item side without work. */
mtl_status compiler_cut_towers(ir_graph *graph, base_diag *diag, compiler_towers *towers);

#endif
