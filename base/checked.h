/* Arithmetic that says when it overflows. All return nonzero on success; *result is written only then. */
#ifndef BASE_CHECKED_H
#define BASE_CHECKED_H

#include <stddef.h>
#include <stdint.h>

static inline int base_add_size(size_t a, size_t b, size_t *result)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return 0;
    }
    *result = sum;
    return 1;
}

static inline int base_mul_size(size_t a, size_t b, size_t *result)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product)) {
        return 0;
    }
    *result = product;
    return 1;
}

static inline int base_add_i64(int64_t a, int64_t b, int64_t *result)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return 0;
    }
    *result = sum;
    return 1;
}

static inline int base_sub_i64(int64_t a, int64_t b, int64_t *result)
{
    int64_t difference;
    if (__builtin_sub_overflow(a, b, &difference)) {
        return 0;
    }
    *result = difference;
    return 1;
}

static inline int base_mul_i64(int64_t a, int64_t b, int64_t *result)
{
    int64_t product;
    if (__builtin_mul_overflow(a, b, &product)) {
        return 0;
    }
    *result = product;
    return 1;
}

/* Whether [offset, offset + size) lies in [0, available). Never overflows. */
static inline int base_range_fits(uint64_t offset, uint64_t size, uint64_t available)
{
    return offset <= available && size <= available - offset;
}

#endif
