#define XXH_STATIC_LINKING_ONLY /* the size of XXH3_state_t */
#include "base/hash.h"

#include <xxhash.h>

_Static_assert(sizeof(XXH3_state_t) <= sizeof(base_hash), "a state fits");
_Static_assert(_Alignof(base_hash) >= _Alignof(XXH3_state_t), "a state is aligned");

uint64_t base_hash64(const void *data, size_t size)
{
    return XXH3_64bits(data != NULL ? data : "", size);
}

void base_hash128(const void *data, size_t size, uint64_t hash[static 2])
{
    XXH128_hash_t result = XXH3_128bits(data != NULL ? data : "", size);
    hash[0] = result.low64;
    hash[1] = result.high64;
}

void base_hash_begin(base_hash *hash)
{
    XXH3_state_t *state = (XXH3_state_t *)(void *)hash;
    XXH3_INITSTATE(state);
    XXH3_128bits_reset(state); /* the same state serves both widths */
}

void base_hash_add(base_hash *hash, const void *data, size_t size)
{
    if (size > 0) {
        XXH3_128bits_update((XXH3_state_t *)(void *)hash, data, size);
    }
}

uint64_t base_hash_end64(const base_hash *hash)
{
    return XXH3_64bits_digest((const XXH3_state_t *)(const void *)hash);
}

void base_hash_end128(const base_hash *hash, uint64_t result[static 2])
{
    XXH128_hash_t digest = XXH3_128bits_digest((const XXH3_state_t *)(const void *)hash);
    result[0] = digest.low64;
    result[1] = digest.high64;
}
