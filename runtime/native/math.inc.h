/* exp and its relatives on vectors. Coefficients: minimax fits (Lawson's iteration) of the functions named beside
 * them, rounded to float32. All give the limits at infinities and pass NaN on. */
#ifndef RUNTIME_NATIVE_MATH_INC_H
#define RUNTIME_NATIVE_MATH_INC_H

#include "runtime/native/native.h"
#include "runtime/native/vec.inc.h"

/* x = k ln 2 + r, |r| <= ln(2) / 2. The last bits of x / ln 2 + 1.5 x 2^23 are k. */
typedef struct reduced {
    vec r;
    ivec k;
} reduced;

INLINE reduced reduce_exp(vec x)
{
    const vec shift = splat(0x1.8p23f);
    const vec t = x * splat(0x1.715476p0f) + shift;
    const vec k = t - shift;
    /* ln 2 in two parts; the first has so few bits that k times it is exact. */
    vec r = x - k * splat(0x1.63p-1f);
    r = r - k * splat(-0x1.bd0106p-13f);
    return (reduced){r, (ivec)((uvec)t - (uvec)isplat(0x4b400000))};
}

/* 2^k for k in -126..127. */
INLINE vec power_of_two(ivec k)
{
    return (vec)((uvec)(k + 127) << 23);
}

/* exp(r) - 1 on the reduced range: r + r^2 p(r). */
INLINE vec exp_minus_1_reduced(vec r)
{
    vec p = splat(1.991992176e-04f);
    p = p * r + splat(1.394721214e-03f);
    p = p * r + splat(8.333261125e-03f);
    p = p * r + splat(4.166625440e-02f);
    p = p * r + splat(1.666666716e-01f);
    p = p * r + splat(5.000000000e-01f);
    return (p * r) * r + r;
}

/* Below, vec_exp is 0. */
#define EXP_LEAST (-87.3365f)

INLINE vec vec_exp(vec x)
{
    /* Below the first the result is less than 2^-126: 0, and not by way of a product that underflows, which takes CPUs a
     * hundred cycles. Beyond the second it is infinity anyway. NaN is the second operand and stays. */
    const vec least = splat(EXP_LEAST);
    const reduced e = reduce_exp(max_second(least, min_second(splat(90.0f), x)));
    const ivec half = e.k >> 1; /* 2^k alone would overflow where the result does not */
    const vec result = ((exp_minus_1_reduced(e.r) + splat(1.0f)) * power_of_two(half)) * power_of_two(e.k - half);
    return (vec)((ivec)result & ~(x < least));
}

/* exp(x) for EXP_LEAST <= x <= 0 and NaN, anything else below: callers put 0 there. Relative error 2^-23 + |x| 2^-26. */
INLINE vec vec_exp_negative(vec x)
{
    const vec shift = splat(0x1.8p23f), log2_e = splat(0x1.715476p0f);
    const vec t = x * log2_e + shift;
    const vec r = x * log2_e - (t - shift);
    vec p = splat(1.535336196e-04f); /* (2^r - 1) / r, |r| <= 1/2 */
    p = p * r + splat(1.339887385e-03f);
    p = p * r + splat(9.618436918e-03f);
    p = p * r + splat(5.550332367e-02f);
    p = p * r + splat(2.402264774e-01f);
    p = p * r + splat(6.931471825e-01f);
    p = p * r + splat(1.0f);
    return p * (vec)(((uvec)t - (uvec)isplat(0x4b400000 - 127)) << 23);
}

/* exp(x) - 1 for x <= 0. */
INLINE vec vec_expm1_negative(vec x)
{
    const reduced e = reduce_exp(max_second(splat(-87.0f), x));
    const vec scale = power_of_two(e.k);
    return exp_minus_1_reduced(e.r) * scale + (scale - splat(1.0f));
}

INLINE vec vec_sigmoid(vec x)
{
    return splat(1.0f) / (splat(1.0f) + vec_exp(-x));
}

INLINE vec vec_tanh(vec x)
{
    const vec t = vec_abs(x), z = x * x;
    const vec large = splat(1.0f) - splat(2.0f) / (vec_exp(t + t) + splat(1.0f));
    vec p = splat(-5.717045162e-03f); /* (tanh(x) / x - 1) / x^2 in x^2, |x| < 0.625 */
    p = p * z + splat(2.065058798e-02f);
    p = p * z + splat(-5.374349654e-02f);
    p = p * z + splat(1.333149076e-01f);
    p = p * z + splat(-3.333328366e-01f);
    const vec small = (p * z) * x + x;
    return choose(t < splat(0.625f), small, copy_sign(large, x));
}

INLINE vec vec_erf(vec x)
{
    const vec t = min_second(splat(4.0f), vec_abs(x)), z = x * x;
    vec q = splat(-1.076315220e-05f); /* log(1 - erf(t)) / t, 0.9 < t < 4 */
    q = q * t + splat(3.180594940e-04f);
    q = q * t + splat(-3.622917924e-03f);
    q = q * t + splat(2.372018434e-02f);
    q = q * t + splat(-1.061876118e-01f);
    q = q * t + splat(-6.351814866e-01f);
    q = q * t + splat(-1.286410093e-01f); /* and -1, below, for its bits */
    const vec large = splat(1.0f) - vec_exp(q * t - t);
    vec p = splat(-5.976896500e-04f); /* erf(x) / x - 1 in x^2, |x| < 0.93 */
    p = p * z + splat(4.990980960e-03f);
    p = p * z + splat(-2.676556818e-02f);
    p = p * z + splat(1.128180251e-01f);
    p = p * z + splat(-3.761249483e-01f);
    p = p * z + splat(1.283791512e-01f);
    const vec small = p * x + x;
    return choose(t < splat(0.92f), small, copy_sign(large, x));
}

#endif
