#include "compiler/memory.h"

#include <stdlib.h>

static const uint64_t most_bytes = (uint64_t)1 << 62; /* of all blocks and of each: their ends do not overflow */

static int by_size(const void *a, const void *b)
{
    const compiler_block *left = *(compiler_block *const *)a, *right = *(compiler_block *const *)b;
    if (left->size != right->size) {
        return left->size < right->size ? 1 : -1;
    }
    if (left->first != right->first) {
        return left->first < right->first ? -1 : 1;
    }
    return left < right ? -1 : left > right; /* the caller's order, so that the result is deterministic */
}

static int lifetimes_meet(const compiler_block *a, const compiler_block *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* `placed` is sorted by offset; the first gap between neighbours in time that holds `block` is taken. */
static uint64_t find_offset(compiler_block *const *placed, size_t count, const compiler_block *block)
{
    uint64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        if (!lifetimes_meet(placed[i], block)) {
            continue;
        }
        if (placed[i]->offset >= end && placed[i]->offset - end >= block->size) {
            return end;
        }
        uint64_t next = placed[i]->offset + placed[i]->size;
        end = next > end ? next : end;
    }
    return end;
}

mtl_status compiler_plan_memory(compiler_block *blocks, size_t count, base_arena *arena, base_diag *diag,
                                uint64_t *total)
{
    *total = 0;
    compiler_block **order = BASE_NEW_ARRAY(arena, compiler_block *, count);
    compiler_block **placed = BASE_NEW_ARRAY(arena, compiler_block *, count);
    BASE_TRY_MEMORY(order, diag);
    BASE_TRY_MEMORY(placed, diag);
    for (size_t i = 0; i < count; i++) {
        order[i] = &blocks[i];
    }
    qsort(order, count, sizeof *order, by_size);
    for (size_t i = 0; i < count; i++) {
        compiler_block *block = order[i];
        block->offset = find_offset(placed, i, block);
        size_t at = i;
        while (at > 0 && placed[at - 1]->offset > block->offset) {
            placed[at] = placed[at - 1];
            at--;
        }
        placed[at] = block;
        uint64_t end = block->offset + block->size;
        *total = end > *total ? end : *total;
        if (*total > most_bytes) {
            return base_fail(diag, MTL_UNSUPPORTED, "the workspace needs more than 2^62 bytes");
        }
    }
    return MTL_OK;
}
