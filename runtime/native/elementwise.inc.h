/* Element-wise functions of float32. Those with arithmetic that a compiler may contract, or with polynomials, go
 * through whole vectors, tails too, in one loop: an element's bits depend neither on its position nor on n. Those of
 * one correctly rounded operation, or of one call of libm, are plain loops. */
#ifndef RUNTIME_NATIVE_ELEMENTWISE_INC_H
#define RUNTIME_NATIVE_ELEMENTWISE_INC_H

#include "runtime/native/math.inc.h"
#include "runtime/native/native.h"
#include "runtime/native/vec.inc.h"

/* v, a, b are vectors in the expression. */
#define UNARY_VECTORS(name, expression)                                                                                \
    static void unary_##name(float a_, float b_, const float *x, float *y, size_t n)                                   \
    {                                                                                                                  \
        const vec a = splat(a_), b = splat(b_);                                                                        \
        (void)a, (void)b;                                                                                              \
        for (size_t i = 0; i < n; i += LANES) {                                                                        \
            const vec v = n - i >= LANES ? load(x + i) : load_tail(x + i, n - i);                                      \
            store_some(y + i, (expression), n - i);                                                                    \
        }                                                                                                              \
    }
/* v, a, b are floats in the expression. */
#define UNARY_FLOATS(name, expression)                                                                                 \
    static void unary_##name(float a, float b, const float *x, float *y, size_t n)                                     \
    {                                                                                                                  \
        (void)a, (void)b;                                                                                              \
        for (size_t i = 0; i < n; i++) {                                                                               \
            const float v = x[i];                                                                                      \
            y[i] = (expression);                                                                                       \
        }                                                                                                              \
    }

/* x f where f is 0 for x = -infinity. */
INLINE vec gated(vec x, vec f)
{
    return choose(f == splat(0), copy_sign(splat(0), x), x * f);
}

INLINE vec vec_gelu(vec x, int tanh_form)
{
    /* The result is 0 from about -14 on; infinity times 0 would be NaN. */
    const vec v = max_second(splat(-20.0f), x), half = splat(0.5f) * v;
    const vec f = tanh_form ? vec_tanh((splat(0.79788456f) * v) * ((splat(0.044715f) * v) * v + splat(1.0f)))
                            : vec_erf(v * splat(0.70710678f));
    return half * f + half;
}

/* log(1 + exp(x)) */
static float softplus(float x)
{
    return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x)));
}

static float mish(float x)
{
    if (x < -110) {
        return -0.0f; /* -infinity times 0 would be NaN */
    }
    return x * tanhf(softplus(x));
}

static float celu(float x, float alpha)
{
    return x > 0 ? x : x == 0 ? 0 : alpha * expm1f(x / alpha);
}

UNARY_VECTORS(relu, max_second(splat(0), v))
UNARY_VECTORS(sigmoid, vec_sigmoid(v))
UNARY_VECTORS(tanh, vec_tanh(v))
UNARY_VECTORS(exp, vec_exp(v))
UNARY_FLOATS(log, logf(v))
UNARY_FLOATS(sqrt, sqrtf(v))
UNARY_FLOATS(reciprocal, 1 / v)
UNARY_VECTORS(erf, vec_erf(v))
UNARY_FLOATS(neg, -v)
UNARY_FLOATS(abs, fabsf(v))
UNARY_VECTORS(sign, choose(v > splat(0), splat(1), choose(v < splat(0), splat(-1), v)))
UNARY_FLOATS(floor, floorf(v))
UNARY_FLOATS(ceil, ceilf(v))
UNARY_FLOATS(round, rintf(v))
UNARY_FLOATS(softplus, softplus(v))
UNARY_VECTORS(softsign, choose(vec_abs(v) == splat(INFINITY), copy_sign(splat(1), v), v / (splat(1) + vec_abs(v))))
UNARY_FLOATS(mish, mish(v))
UNARY_VECTORS(elu, choose(v < splat(0), a *vec_expm1_negative(v), v))
UNARY_FLOATS(celu, celu(v, a))
UNARY_VECTORS(selu, b *choose(v < splat(0), a *vec_expm1_negative(v), v))
UNARY_VECTORS(leaky_relu, choose(v < splat(0), a *v, v))
UNARY_VECTORS(thresholded_relu, choose(v <= a, splat(0), v))
UNARY_VECTORS(hard_sigmoid, min_second(splat(1), max_second(splat(0), a *v + b)))
UNARY_VECTORS(hard_swish, gated(v, min_second(splat(1), max_second(splat(0), v *splat(1.0f / 6) + splat(0.5f)))))
UNARY_VECTORS(swish, gated(v, vec_sigmoid(a *v)))
UNARY_VECTORS(gelu, vec_gelu(v, a_ != 0))
UNARY_VECTORS(clip, min_second(b, max_second(a, v)))

static void unary(plan_unary f, float a, float b, const float *x, float *y, size_t n)
{
#define unary_not NULL
#define unary_isnan NULL
#define unary_isinf NULL
    static void (*const functions[])(float, float, const float *, float *, size_t) = {
#define PLAN_UNARY(number, name, parameters) [number] = unary_##name,
#include "plan/ops.def"
#undef PLAN_UNARY
    };
    functions[f](a, b, x, y, n);
}

static float power(float a, float b)
{
    return b == 2 ? a * a : powf(a, b);
}

static float modulo(float a, float b)
{
    const float m = fmodf(a, b);
    return m != 0 ? ((m < 0) != (b < 0) ? m + b : m) : copysignf(0, b);
}

/* One loop for each pair of steps, so that all of them become vectors. */
#define BINARY_FLOATS(name, result, expression)                                                                        \
    static void binary_##name(const float *a, size_t a_step, const float *b, size_t b_step, result *y, size_t n)       \
    {                                                                                                                  \
        if (n > 0 && a_step == 0) {                                                                                    \
            const float p = a[0];                                                                                      \
            for (size_t i = 0; i < n; i++) {                                                                           \
                const float q = b[i * b_step];                                                                         \
                y[i] = (expression);                                                                                   \
            }                                                                                                          \
        } else if (n > 0 && b_step == 0) {                                                                             \
            const float q = b[0];                                                                                      \
            for (size_t i = 0; i < n; i++) {                                                                           \
                const float p = a[i];                                                                                  \
                y[i] = (expression);                                                                                   \
            }                                                                                                          \
        } else {                                                                                                       \
            for (size_t i = 0; i < n; i++) {                                                                           \
                const float p = a[i], q = b[i];                                                                        \
                y[i] = (expression);                                                                                   \
            }                                                                                                          \
        }                                                                                                              \
    }

BINARY_FLOATS(add, float, p + q)
BINARY_FLOATS(sub, float, p - q)
BINARY_FLOATS(mul, float, p *q)
BINARY_FLOATS(div, float, p / q)
BINARY_FLOATS(pow, float, power(p, q))
BINARY_FLOATS(min, float, p != p ? p : p < q ? p : q)
BINARY_FLOATS(max, float, p != p ? p : p > q ? p : q)
BINARY_FLOATS(mod, float, modulo(p, q))
BINARY_FLOATS(fmod, float, fmodf(p, q))
BINARY_FLOATS(prelu, float, p < 0 ? p * q : p)
BINARY_FLOATS(equal, uint8_t, p == q)
BINARY_FLOATS(less, uint8_t, p < q)
BINARY_FLOATS(less_or_equal, uint8_t, p <= q)
BINARY_FLOATS(greater, uint8_t, p > q)
BINARY_FLOATS(greater_or_equal, uint8_t, p >= q)

/* The lists differ in the type of the result: one of the two macros keeps a row, the other drops it. */
#define KEEP(number, name) [number] = binary_##name,
#define DROP(number, name)
static void binary(plan_binary f, const float *a, size_t a_step, const float *b, size_t b_step, float *y, size_t n)
{
    static void (*const functions[])(const float *, size_t, const float *, size_t, float *, size_t) = {
#define RESULT_SAME KEEP
#define RESULT_BOOL DROP
#define RESULT_LOGIC DROP
#define RESULT_BITS DROP
#define PLAN_BINARY(number, name, result) RESULT_##result(number, name)
#include "plan/ops.def"
#undef RESULT_SAME
#undef RESULT_BOOL
    };
    functions[f](a, a_step, b, b_step, y, n);
}

static void compare(plan_binary f, const float *a, size_t a_step, const float *b, size_t b_step, uint8_t *y, size_t n)
{
    static void (*const functions[])(const float *, size_t, const float *, size_t, uint8_t *, size_t) = {
#define RESULT_SAME DROP
#define RESULT_BOOL KEEP
#include "plan/ops.def"
#undef PLAN_BINARY
#undef RESULT_SAME
#undef RESULT_BOOL
#undef RESULT_LOGIC
#undef RESULT_BITS
    };
    functions[f](a, a_step, b, b_step, y, n);
}

#endif
