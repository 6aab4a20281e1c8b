#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum { BLOCK_SIZE = 1 << 18, HEADER_SIZE = 64 };

struct base_arena_block {
    base_arena_block *next;
};

void *base_arena_alloc(base_arena *arena, size_t size)
{
    if (size == 0) {
        size = 1;
    }
    size_t alignment = size >= 64 ? 64 : 16;
    size_t start = (arena->used + alignment - 1) & ~(alignment - 1);
    if (arena->block == NULL || size > arena->capacity || start > arena->capacity - size) {
        size_t room = size > BLOCK_SIZE - HEADER_SIZE ? size : BLOCK_SIZE - HEADER_SIZE;
        size_t bytes;
        if (!base_add_size(room, HEADER_SIZE + 63, &bytes)) {
            return NULL;
        }
        bytes &= ~(size_t)63;
        base_arena_block *block = aligned_alloc(64, bytes);
        if (block == NULL) {
            return NULL;
        }
        block->next = arena->block;
        arena->block = block;
        arena->capacity = bytes;
        start = HEADER_SIZE;
    }
    void *memory = (char *)arena->block + start;
    arena->used = start + size;
    return memset(memory, 0, size);
}

void *base_arena_alloc_array(base_arena *arena, size_t count, size_t size)
{
    size_t bytes;
    return base_mul_size(count, size, &bytes) ? base_arena_alloc(arena, bytes) : NULL;
}

void *base_arena_copy(base_arena *arena, const void *data, size_t size)
{
    void *copy = base_arena_alloc(arena, size);
    if (copy != NULL && size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

char *base_arena_string_n(base_arena *arena, const char *text, size_t length)
{
    char *copy = base_arena_alloc(arena, length + 1);
    if (copy != NULL && length > 0) {
        memcpy(copy, text, length);
    }
    return copy;
}

char *base_arena_string(base_arena *arena, const char *text)
{
    return base_arena_string_n(arena, text, strlen(text));
}

char *base_arena_format(base_arena *arena, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    char *text = length < 0 ? NULL : base_arena_alloc(arena, (size_t)length + 1);
    if (text != NULL) {
        vsnprintf(text, (size_t)length + 1, format, again);
    }
    va_end(again);
    va_end(arguments);
    return text;
}

void base_arena_free(base_arena *arena)
{
    while (arena->block != NULL) {
        base_arena_block *next = arena->block->next;
        free(arena->block);
        arena->block = next;
    }
    arena->used = arena->capacity = 0;
}
