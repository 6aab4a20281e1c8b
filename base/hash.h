/* XXH3, the one hash of the project: of files, plan sections, tensors and tables in memory. Not for security. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH3-64 with seed 0. `data` may be NULL when `size` is 0. */
uint64_t base_hash64(const void *data, size_t size);
/* XXH3-128 with seed 0: hash[0] is the low word. */
void base_hash128(const void *data, size_t size, uint64_t hash[static 2]);

/* The same hashes of bytes that come in parts: begin, add..., end. Any split gives the same hash. */
typedef struct base_hash {
    _Alignas(64) unsigned char state[640];
} base_hash;

void base_hash_begin(base_hash *hash);
void base_hash_add(base_hash *hash, const void *data, size_t size);
uint64_t base_hash_end64(const base_hash *hash);
void base_hash_end128(const base_hash *hash, uint64_t result[static 2]);

#endif
