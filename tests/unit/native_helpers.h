/* For tests of the native kernels: random tensors that are allocated to the byte, sentinels behind outputs, and the
 * kernels of every ISA that this machine has. */
#ifndef TESTS_NATIVE_HELPERS_H
#define TESTS_NATIVE_HELPERS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/native/native.h"

static uint64_t state = 0x9e3779b97f4a7c15u;

static uint32_t random_bits(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32);
}

static size_t random_below(size_t n)
{
    return random_bits() % n;
}

static float random_float(float low, float high)
{
    return low + (high - low) * ((float)(random_bits() >> 8) * 0x1p-24f);
}

static const float sentinel = 12345.678f;
enum { SENTINELS = 20 };

/* `n` floats that start at 4 modulo 16 bytes and end where the allocation ends. Freed as data - 1. */
static float *new_floats(size_t n, float low, float high)
{
    float *base = malloc((n + 1) * sizeof(float));
    assert_non_null(base);
    base[0] = 0;
    for (size_t i = 0; i < n; i++) {
        base[1 + i] = random_float(low, high);
    }
    return base + 1;
}

static float *new_output(size_t n)
{
    float *y = new_floats(n + SENTINELS, 0, 1);
    for (size_t i = 0; i < n + SENTINELS; i++) {
        y[i] = sentinel;
    }
    return y;
}

static void free_floats(float *data)
{
    if (data != NULL) {
        free(data - 1);
    }
}

static void check_sentinels(const float *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        assert_memory_equal(&p[i], &sentinel, sizeof sentinel);
    }
}

static bool close_to(float got, float want, float tolerance)
{
    if (isnan(want) || isinf(want)) {
        return isnan(want) ? isnan(got) : got == want;
    }
    return fabsf(got - want) <= tolerance;
}

static const float extremes[] = {0.0f,    -0.0f,  1,     -1,     0.5f,  -0.5f,  1.5f,     2.5f,      50,   -50,
                                 87,      -87,    88.7f, -88.7f, 89,    -89,    100,      -100,      -104, 1e-30f,
                                 -1e-30f, 1e-42f, 3e38f, -3e38f, 1e10f, -1e10f, INFINITY, -INFINITY, NAN};
enum { EXTREMES = sizeof extremes / sizeof extremes[0] };

static const native_kernels *kernels_of_machine[3];
static size_t kernel_count;

#define FOR_EACH_ISA(k)                                                                                                \
    for (const native_kernels *const *k##_at = kernels_of_machine, *k;                                                 \
         k##_at < kernels_of_machine + kernel_count && (k = *k##_at, true); k##_at++)

/* Before the tests. */
static void find_kernels(void)
{
    for (int isa = MTL_ISA_GENERIC; isa <= MTL_ISA_AVX512; isa++) {
        if (native_select((mtl_isa)isa) != NULL) {
            kernels_of_machine[kernel_count++] = native_select((mtl_isa)isa);
        }
    }
}

#endif
