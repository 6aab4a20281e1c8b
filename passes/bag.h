/* What becomes of rows that are looked up on their way into a sum or a maximum. Private to form_bag. */
#ifndef PASSES_BAG_H
#define PASSES_BAG_H

#include "passes/rewrite.h"

/* Ids (.., L), and rows (.., L, K) that a gather makes of them: `type` is that of the rows. */
typedef struct passes_rows {
    ir_type type;
    ir_value rows; /* 0: not met yet */
} passes_rows;

/* A condition on each id. It is set where `value` is true; if that compares ids with a number, where they are outside of
 * [first, last], and then `value` may be what is true elsewhere. */
typedef struct passes_mask {
    ir_value value; /* bool, one for each id; 0: no mask */
    ir_value ids;   /* 0: no such comparison */
    bool inverted;  /* `value` is true where the mask is not set */
    int64_t first, last;
} passes_mask;

/* A value in terms of the rows x and a mask: set[0] x + set[1] where it is set, clear[0] x + clear[1] elsewhere. */
typedef struct passes_term {
    passes_mask mask;
    double set[2], clear[2];
} passes_term;

/* What `value` is, element by element. It has the type of the rows, or for a term without x that of the ids, with or without one
 * axis behind, which repeats it. `rows` finds the gather; nodes between it and `value` have no other readers. False:
 * something else. */
bool passes_find_term(const passes_rewriter *r, ir_value value, passes_rows *rows, passes_term *term);

/* Whether the term is 1 where the mask is set, and 0 elsewhere: a mask as a number. */
bool passes_is_mask(const passes_term *term);

bool passes_same_mask(const passes_mask *a, const passes_mask *b);

/* The same integers, seen through casts that lose nothing. */
ir_value passes_plain_ids(const ir_graph *graph, ir_value value);

/* Lookups whose rows a bag can take: rows of a constant or a param. */
bool passes_is_lookup(const ir_graph *graph, ir_value value);

#endif
