#include "ir/names.h"

#include <string.h>

#include "base/hash.h"

typedef struct entry {
    const char *name; /* NULL: free */
    uint32_t value;
    uint32_t next; /* the number to try first for another name like this one, so that a thousand wishes are cheap */
} entry;

struct ir_names {
    entry *entries;
    size_t capacity; /* a power of two, at least twice `count` */
    size_t count;
};

enum { FIRST_CAPACITY = 64 };

static entry *slot(entry *entries, size_t capacity, const char *name)
{
    size_t i = (size_t)base_hash64(name, strlen(name)) & (capacity - 1);
    while (entries[i].name != NULL && strcmp(entries[i].name, name) != 0) {
        i = (i + 1) & (capacity - 1);
    }
    return &entries[i];
}

ir_names *ir_names_new(base_arena *arena)
{
    ir_names *names = BASE_NEW(arena, ir_names);
    entry *entries = BASE_NEW_ARRAY(arena, entry, FIRST_CAPACITY);
    if (names == NULL || entries == NULL) {
        return NULL;
    }
    *names = (ir_names){.entries = entries, .capacity = FIRST_CAPACITY};
    return names;
}

uint32_t ir_names_find(const ir_names *names, const char *name)
{
    return slot(names->entries, names->capacity, name)->value;
}

int ir_names_add(ir_names *names, const char *name, uint32_t value, base_arena *arena)
{
    if (names->count * 2 >= names->capacity) {
        size_t capacity = names->capacity * 2;
        entry *entries = BASE_NEW_ARRAY(arena, entry, capacity);
        if (entries == NULL) {
            return 0;
        }
        for (size_t i = 0; i < names->capacity; i++) {
            if (names->entries[i].name != NULL) {
                *slot(entries, capacity, names->entries[i].name) = names->entries[i];
            }
        }
        names->entries = entries;
        names->capacity = capacity;
    }
    *slot(names->entries, names->capacity, name) = (entry){.name = name, .value = value, .next = 1};
    names->count++;
    return 1;
}

const char *ir_names_unique(ir_names *names, const char *wish, base_arena *arena)
{
    entry *taken = slot(names->entries, names->capacity, wish);
    if (taken->name == NULL) {
        return base_arena_string(arena, wish);
    }
    for (;;) {
        char *name = base_arena_format(arena, "%s.%u", wish, taken->next);
        if (name == NULL || slot(names->entries, names->capacity, name)->name == NULL) {
            return name; /* `next` stays: the name may never be used */
        }
        taken->next++;
    }
}
