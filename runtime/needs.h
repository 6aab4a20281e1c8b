/* What a choice of outputs leaves of a plan: the steps that they need, and of layers that lie side by side the parts.
 *
 * An analysis of liveness, from the last step to the first. Which bytes of a workspace's row later steps will read is a
 * bit for each RUNTIME_GRAIN of them; a step takes the bits of what it writes, and sets those of what it reads for
 * that. What lies where is as plan/check_flow.c says, which has proved that each byte that is read has been written since its group
 * began: so no bit outlives its group. Wherever a step's rule is not exact it needs more, never less. */
#ifndef RUNTIME_NEEDS_H
#define RUNTIME_NEEDS_H

#include "runtime/internal.h"

enum { RUNTIME_GRAIN = 4 }; /* bytes */

/* What a call does of a step. */
typedef enum runtime_extent_run {
    RUNTIME_SKIP = 0,
    RUNTIME_RUN = 1,   /* all of it */
    RUNTIME_PARTS = 2, /* its parts, by run_part */
    /* All of it, after the elements that its parts name became 0: `group` is the input, whose rows have columns [from,
     * to) that were not computed. So no step computes with what it finds in memory. */
    RUNTIME_CLEAR = 3,
} runtime_extent_run;

typedef struct runtime_choice {
    uint32_t run;   /* runtime_extent_run */
    uint32_t count; /* of its parts */
    size_t first;   /* of them */
} runtime_choice;

/* An output that nobody needs; that the caller wants; that steps need, or could need, but the caller does not want. */
typedef enum runtime_need { RUNTIME_UNNEEDED = 0, RUNTIME_WANTED = 1, RUNTIME_NEEDED = 2 } runtime_need;

typedef struct runtime_needs {
    const mtl_plan *plan;
    uint64_t *row, *request; /* bits of what is needed: runtime_needs_words() of each workspace */
    unsigned char *outputs;  /* runtime_need by output: in, those that are wanted; out, the needed ones too */
    runtime_choice *choices; /* out, by step */
    runtime_part *parts;     /* out: room for the sum of runtime_most_parts */
    size_t part_count;       /* out */
} runtime_needs;

/* 64-bit words of bits for a workspace of so many bytes a row. */
static inline uint64_t runtime_needs_words(uint64_t bytes)
{
    return bytes / RUNTIME_GRAIN / 64 + 1;
}

/* The most parts that a choice of a step has. */
size_t runtime_most_parts(const mtl_plan *plan, size_t step);

/* Allocates nothing. O(elements of a row of all tensors). */
void runtime_find_needs(runtime_needs *needs);

/* How much of a step's arithmetic its parts are: computed of all columns (or tasks). */
void runtime_part_share(const mtl_plan *plan, size_t step, const runtime_part *parts, size_t count, uint64_t *computed,
                        uint64_t *all);

#endif
