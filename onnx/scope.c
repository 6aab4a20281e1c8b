#include <string.h>

#include "base/hash.h"
#include "onnx/internal.h"

static size_t slot_of(const onnx_scope *scope, const char *name)
{
    size_t slot = (size_t)base_hash64(name, strlen(name)) & (scope->capacity - 1);
    while (scope->entries[slot].name != NULL && strcmp(scope->entries[slot].name, name) != 0) {
        slot = (slot + 1) & (scope->capacity - 1);
    }
    return slot;
}

onnx_scope_entry *onnx_scope_find(const onnx_scope *scope, const char *name)
{
    for (; scope != NULL; scope = scope->outer) {
        if (scope->capacity > 0) {
            onnx_scope_entry *entry = &scope->entries[slot_of(scope, name)];
            if (entry->name != NULL) {
                return entry;
            }
        }
    }
    return NULL;
}

static bool grow(onnx_scope *scope)
{
    onnx_scope larger = *scope;
    larger.capacity = scope->capacity == 0 ? 64 : 2 * scope->capacity;
    larger.entries = BASE_NEW_ARRAY(scope->arena, onnx_scope_entry, larger.capacity);
    if (larger.entries == NULL) {
        return false;
    }
    for (size_t i = 0; i < scope->capacity; i++) {
        if (scope->entries[i].name != NULL) {
            larger.entries[slot_of(&larger, scope->entries[i].name)] = scope->entries[i];
        }
    }
    *scope = larger;
    return true;
}

onnx_scope_entry *onnx_scope_add(onnx_scope *scope, const char *name, bool *fresh)
{
    *fresh = onnx_scope_find(scope, name) == NULL;
    if (!*fresh || (2 * (scope->count + 1) > scope->capacity && !grow(scope))) {
        return NULL;
    }
    onnx_scope_entry *entry = &scope->entries[slot_of(scope, name)];
    entry->name = name;
    scope->count++;
    return entry;
}
