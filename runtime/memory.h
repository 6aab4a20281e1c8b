/* A region over the host's allocator, freed as a whole: what an opened plan owns besides the file's bytes. */
#ifndef RUNTIME_MEMORY_H
#define RUNTIME_MEMORY_H

#include <stddef.h>

#include "mtlc/runtime.h"

typedef struct runtime_block runtime_block;

typedef struct runtime_memory {
    mtl_allocator allocator;
    runtime_block *block; /* newest first */
    size_t used;          /* of the newest block */
} runtime_memory;

/* Zeroed memory aligned to 64 bytes; NULL when there is none or when count x size overflows. */
void *runtime_alloc(runtime_memory *memory, size_t count, size_t size);
void runtime_free_all(runtime_memory *memory); /* twice is allowed */

#define RUNTIME_NEW(memory, type, count) ((type *)runtime_alloc((memory), (count), sizeof(type)))

#endif
