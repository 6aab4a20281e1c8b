/* A region of memory that is freed as a whole: one a compilation. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

typedef struct base_arena_block base_arena_block;

/* Zero-initialised is empty and ready. Not thread-safe. */
typedef struct base_arena {
    base_arena_block *block; /* newest first */
    size_t used, capacity;   /* of the newest block */
} base_arena;

/* Zeroed memory aligned to 64 bytes for sizes of 64 and more, to 16 below; NULL when there is none. */
void *base_arena_alloc(base_arena *arena, size_t size);
/* `count` x `size` with the product checked. */
void *base_arena_alloc_array(base_arena *arena, size_t count, size_t size);
/* A copy of `size` bytes; of a string; a formatted string. NULL when there is no memory. */
void *base_arena_copy(base_arena *arena, const void *data, size_t size);
char *base_arena_string(base_arena *arena, const char *text);
char *base_arena_string_n(base_arena *arena, const char *text, size_t length);
char *base_arena_format(base_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Frees everything; the arena is empty and ready again. */
void base_arena_free(base_arena *arena);

#define BASE_NEW(arena, type) ((type *)base_arena_alloc((arena), sizeof(type)))
#define BASE_NEW_ARRAY(arena, type, count) ((type *)base_arena_alloc_array((arena), (count), sizeof(type)))

#endif
