/* Loop nests over strided tensors: element-wise operations with broadcasting, and moves.
 *
 * A nest runs over the axes of the output, outermost first; each operand has a stride for every axis (0 where it is
 * broadcast). Axes that are adjacent in all operands are merged when the plan is opened, so that most nests are one
 * loop, and the innermost loop belongs to the operation.
 */
#ifndef RUNTIME_NEST_H
#define RUNTIME_NEST_H

#include "runtime/internal.h"

enum { RUNTIME_NEST_OPERANDS = 4 }; /* the output, and up to three inputs */

typedef struct runtime_nest {
    unsigned rank, operands; /* operand 0 is the output */
    runtime_affine extent[MTL_MAX_RANK];
    runtime_affine stride[RUNTIME_NEST_OPERANDS][MTL_MAX_RANK]; /* bytes */
} runtime_nest;

/* The innermost loop: n elements, operand i `step[i]` bytes apart; and the one around it for those who ask for two: m
 * times that, `across[i]` bytes apart. */
typedef struct runtime_lane {
    unsigned char *out;
    const unsigned char *in[RUNTIME_NEST_OPERANDS - 1];
    int64_t step[RUNTIME_NEST_OPERANDS], across[RUNTIME_NEST_OPERANDS];
    int64_t n, m;
    const void *state;
} runtime_lane;

typedef void (*runtime_inner)(const runtime_lane *lane);

/* Bytes between neighbours along each axis of a tensor; a window's rows are a pitch apart. */
void runtime_strides(const plan_view *view, const plan_tensor *tensor, runtime_affine *strides);

/* Begins a nest over `tensor`, which becomes the output. */
void runtime_nest_begin(runtime_nest *nest, const plan_view *view, const plan_tensor *tensor);
/* Adds an input that broadcasts to the output; its strides. */
void runtime_nest_broadcast(runtime_nest *nest, const plan_view *view, const plan_tensor *tensor);
/* Adds an input with a stride for each axis of the output. */
void runtime_nest_strided(runtime_nest *nest, const runtime_affine *strides);
/* Drops axes of one element and merges neighbours; at least one axis is left. */
void runtime_nest_merge(runtime_nest *nest);

/* Runs `inner` over the nest for a tile of `rows`; it takes the innermost `loops` (1 or 2; m is 1 where there is only
 * one). The caller has set out, in and state of `lane`. */
void runtime_nest_run(const runtime_nest *nest, int64_t rows, unsigned loops, runtime_lane *lane, runtime_inner inner);

#endif
