/* The vector of one ISA and the few operations on it that C's operators lack. Included once by kernels.c, which Meson
 * compiles for each ISA; everything here is static, so that no code of a wider ISA leaks into a narrower one. */
#ifndef RUNTIME_NATIVE_VEC_INC_H
#define RUNTIME_NATIVE_VEC_INC_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float vec __attribute__((vector_size(LANES * 4), may_alias));
typedef float vec_unaligned __attribute__((vector_size(LANES * 4), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * 4), may_alias));
typedef uint32_t uvec __attribute__((vector_size(LANES * 4), may_alias));

#define INLINE static inline __attribute__((always_inline))

/* Before a loop with constant bounds over an array of accumulators, which so become registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

INLINE vec splat(float s)
{
#if LANES == 16
    return (vec){s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s};
#elif LANES == 8
    return (vec){s, s, s, s, s, s, s, s};
#else
    return (vec){s, s, s, s};
#endif
}

INLINE ivec isplat(int32_t s)
{
#if LANES == 16
    return (ivec){s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s};
#elif LANES == 8
    return (ivec){s, s, s, s, s, s, s, s};
#else
    return (ivec){s, s, s, s};
#endif
}

INLINE vec load(const float *p)
{
    return *(const vec_unaligned *)p;
}
INLINE void store(float *p, vec v)
{
    *(vec_unaligned *)p = v;
}

/* Mask of the first `count` lanes. */
INLINE ivec first_lanes(size_t count)
{
    ivec lane = {0};
    UNROLL
    for (int l = 0; l < LANES; l++) {
        lane[l] = l;
    }
    return lane < isplat((int32_t)count);
}

/* The first `count` lanes, 0 < count < LANES; the others are 0 when loaded. Neither touches memory beyond them. */
INLINE vec load_tail(const float *p, size_t count)
{
#if LANES == 16
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), p);
#elif LANES == 8
    return (vec)_mm256_maskload_ps(p, (__m256i)first_lanes(count));
#else
    vec v = splat(0);
    memcpy(&v, p, count * sizeof(float));
    return v;
#endif
}

INLINE void store_tail(float *p, vec v, size_t count)
{
#if LANES == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << count) - 1), (__m512)v);
#elif LANES == 8
    /* In pieces of halving sizes: AVX2's masked stores are slow on many CPUs. */
    __m128 four = _mm256_castps256_ps128((__m256)v);
    if (count & 4) {
        _mm_storeu_ps(p, four);
        four = _mm256_extractf128_ps((__m256)v, 1);
        p += 4;
    }
    if (count & 2) {
        _mm_storel_pi((__m64 *)(void *)p, four);
        four = _mm_movehl_ps(four, four);
        p += 2;
    }
    if (count & 1) {
        _mm_store_ss(p, four);
    }
#else
    memcpy(p, &v, count * sizeof(float));
#endif
}

/* Masks are vectors of 0 and -1, as comparisons give them. Bits of `yes` where the mask is set, else of `no`. */
INLINE vec choose(ivec mask, vec yes, vec no)
{
#if LANES == 16
    return (vec)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)mask), (__m512)no, (__m512)yes);
#elif LANES == 8
    return (vec)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)mask);
#else
    return (vec)((mask & (ivec)yes) | (~mask & (ivec)no));
#endif
}

/* Whether the mask is set in all lanes. */
INLINE bool all_lanes(ivec mask)
{
#if LANES == 16
    return _mm512_movepi32_mask((__m512i)mask) == 0xffff;
#elif LANES == 8
    return _mm256_movemask_ps((__m256)mask) == 0xff;
#else
    return (mask[0] & mask[1] & mask[2] & mask[3]) != 0;
#endif
}

/* max and min of which `b` is the result where either is NaN: one instruction on x86. */
INLINE vec max_second(vec a, vec b)
{
#if LANES == 16
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif LANES == 8
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return choose(a > b, a, b);
#endif
}

INLINE vec min_second(vec a, vec b)
{
#if LANES == 16
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif LANES == 8
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return choose(a < b, a, b);
#endif
}

/* max and min that give NaN where either is NaN. */
INLINE vec max_nan(vec a, vec b)
{
    return choose(a != a, a, max_second(a, b));
}
INLINE vec min_nan(vec a, vec b)
{
    return choose(a != a, a, min_second(a, b));
}
INLINE vec vec_abs(vec v)
{
    return (vec)((ivec)v & isplat(0x7fffffff));
}
/* The magnitude of `v` with the sign of `sign`. */
INLINE vec copy_sign(vec v, vec sign)
{
    return (vec)(((ivec)v & isplat(0x7fffffff)) | ((ivec)sign & isplat(INT32_MIN)));
}

/* As load_tail, but for any count > 0, with the lanes beyond filled. */
INLINE vec load_filled(const float *p, size_t count, float fill)
{
    return count >= LANES ? load(p) : choose(first_lanes(count), load_tail(p, count), splat(fill));
}

INLINE void store_some(float *p, vec v, size_t count)
{
    if (count >= LANES) {
        store(p, v);
    } else {
        store_tail(p, v, count);
    }
}

/* v with lane l where lane l ^ s was. */
#if LANES == 16
#define SWAPPED(v, s)                                                                                                  \
    (vec) __builtin_shufflevector(v, v, 0 ^ (s), 1 ^ (s), 2 ^ (s), 3 ^ (s), 4 ^ (s), 5 ^ (s), 6 ^ (s), 7 ^ (s),        \
                                  8 ^ (s), 9 ^ (s), 10 ^ (s), 11 ^ (s), 12 ^ (s), 13 ^ (s), 14 ^ (s), 15 ^ (s))
#elif LANES == 8
#define SWAPPED(v, s)                                                                                                  \
    (vec) __builtin_shufflevector(v, v, 0 ^ (s), 1 ^ (s), 2 ^ (s), 3 ^ (s), 4 ^ (s), 5 ^ (s), 6 ^ (s), 7 ^ (s))
#else
#define SWAPPED(v, s) (vec) __builtin_shufflevector(v, v, 0 ^ (s), 1 ^ (s), 2 ^ (s), 3 ^ (s))
#endif

/* The sum across lanes, in all of them. */
INLINE vec sum_everywhere(vec v)
{
#if LANES >= 16
    v = v + SWAPPED(v, 8);
#endif
#if LANES >= 8
    v = v + SWAPPED(v, 4);
#endif
    v = v + SWAPPED(v, 2);
    return v + SWAPPED(v, 1);
}

/* Across lanes, in pairs. */
#define ACROSS(name, expression)                                                                                       \
    static float name(vec v)                                                                                           \
    {                                                                                                                  \
        float s[LANES];                                                                                                \
        memcpy(s, &v, sizeof s);                                                                                       \
        for (int half = LANES / 2; half > 0; half /= 2) {                                                              \
            for (int l = 0; l < half; l++) {                                                                           \
                const float a = s[l], b = s[l + half];                                                                 \
                s[l] = (expression);                                                                                   \
            }                                                                                                          \
        }                                                                                                              \
        return s[0];                                                                                                   \
    }

ACROSS(across_sum, a + b)
ACROSS(across_product, a *b)
ACROSS(across_max, a != a ? a : a > b ? a : b)
ACROSS(across_min, a != a ? a : a < b ? a : b)

#endif
