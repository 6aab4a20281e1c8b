#include "runtime/memory.h"

#include <string.h>

#include "base/checked.h"

enum { BLOCK_BYTES = 16384, HEADER_BYTES = 64, ALIGNMENT = 64 };

struct runtime_block {
    runtime_block *next;
    size_t bytes;
};

void *runtime_alloc(runtime_memory *memory, size_t count, size_t size)
{
    size_t bytes;
    if (!base_mul_size(count, size, &bytes) || !base_add_size(bytes, ALIGNMENT - 1, &bytes)) {
        return NULL;
    }
    bytes &= ~(size_t)(ALIGNMENT - 1);
    if (memory->block == NULL || bytes > memory->block->bytes - memory->used) {
        size_t room = BLOCK_BYTES;
        if (bytes > BLOCK_BYTES - HEADER_BYTES && !base_add_size(bytes, HEADER_BYTES, &room)) {
            return NULL;
        }
        runtime_block *block = memory->allocator.allocate(memory->allocator.context, room, ALIGNMENT);
        if (block == NULL) {
            return NULL;
        }
        block->next = memory->block;
        block->bytes = room;
        memory->block = block;
        memory->used = HEADER_BYTES;
    }
    void *result = (unsigned char *)memory->block + memory->used;
    memory->used += bytes;
    return memset(result, 0, bytes);
}

void runtime_free_all(runtime_memory *memory)
{
    while (memory->block != NULL) {
        runtime_block *next = memory->block->next;
        memory->allocator.release(memory->allocator.context, memory->block, memory->block->bytes);
        memory->block = next;
    }
    memory->used = 0;
}
