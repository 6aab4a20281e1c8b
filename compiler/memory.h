/* The memory plan: where each value lies while it lives. A pure function of sizes and lifetimes. */
#ifndef COMPILER_MEMORY_H
#define COMPILER_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/diag.h"

/* One value: `size` units (multiples of the alignment already), written by step `first` and last read by step `last`
 * (both inclusive: a step never writes what it reads). `offset` is the result. */
typedef struct compiler_block {
    uint64_t size;
    uint32_t first, last;
    uint64_t offset;
} compiler_block;

/* Gives every block an offset such that blocks whose lifetimes meet do not overlap, largest first, lowest hole first.
 * *total is the end of the highest block. Deterministic. `arena` is scratch.
 * Sizes are at most 2^62; a total beyond that is MTL_UNSUPPORTED. */
mtl_status compiler_plan_memory(compiler_block *blocks, size_t count, base_arena *arena, base_diag *diag,
                                uint64_t *total);

#endif
