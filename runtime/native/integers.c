/* Integer and bool kernels, in plain C: they wrap, and are the same for every ISA. Arithmetic goes through unsigned
 * numbers, where wrapping is defined. */
#include <math.h>

#include "runtime/native/native.h"

void native_not(const uint8_t *x, uint8_t *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = x[i] == 0;
    }
}

void native_test(plan_unary f, const float *x, uint8_t *y, size_t n)
{
    if (f == PLAN_UNARY_isnan) {
        for (size_t i = 0; i < n; i++) {
            y[i] = x[i] != x[i];
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            y[i] = fabsf(x[i]) == INFINITY;
        }
    }
}

#define LOOP(expression)                                                                                               \
    for (size_t i = 0; i < n; i++, a += a_step, b += b_step) {                                                         \
        y[i] = (expression);                                                                                           \
    }                                                                                                                  \
    break

#define INTEGERS(bits)                                                                                                 \
    typedef int##bits##_t i##bits;                                                                                     \
    typedef uint##bits##_t u##bits;                                                                                    \
    void native_unary_i##bits(plan_unary f, const i##bits *x, i##bits *y, size_t n)                                    \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            const i##bits v = x[i], negated = (i##bits)(0 - (u##bits)v);                                               \
            y[i] = f == PLAN_UNARY_neg ? negated : f == PLAN_UNARY_abs ? (v < 0 ? negated : v) : (v > 0) - (v < 0);    \
        }                                                                                                              \
    }                                                                                                                  \
    /* The least number divided by -1 wraps to itself. */                                                              \
    static i##bits divide_i##bits(i##bits p, i##bits q)                                                                \
    {                                                                                                                  \
        return q == 0 ? 0 : q == -1 ? (i##bits)(0 - (u##bits)p) : p / q;                                               \
    }                                                                                                                  \
    static i##bits remainder_i##bits(i##bits p, i##bits q)                                                             \
    {                                                                                                                  \
        return q == 0 || q == -1 ? 0 : p % q;                                                                          \
    }                                                                                                                  \
    static i##bits modulo_i##bits(i##bits p, i##bits q)                                                                \
    {                                                                                                                  \
        const i##bits r = remainder_i##bits(p, q);                                                                     \
        return r != 0 && (r < 0) != (q < 0) ? r + q : r;                                                               \
    }                                                                                                                  \
    static i##bits power_i##bits(i##bits base, i##bits exponent)                                                       \
    {                                                                                                                  \
        if (exponent < 0) {                                                                                            \
            return base == 1 ? 1 : base == -1 ? (exponent % 2 != 0 ? -1 : 1) : 0;                                      \
        }                                                                                                              \
        u##bits result = 1, square = (u##bits)base;                                                                    \
        for (; exponent > 0; exponent >>= 1, square *= square) {                                                       \
            result *= exponent & 1 ? square : 1;                                                                       \
        }                                                                                                              \
        return (i##bits)result;                                                                                        \
    }                                                                                                                  \
    void native_binary_i##bits(plan_binary f, const i##bits *a, size_t a_step, const i##bits *b, size_t b_step,        \
                               i##bits *y, size_t n)                                                                   \
    {                                                                                                                  \
        switch (f) {                                                                                                   \
        case PLAN_BINARY_add: LOOP((i##bits)((u##bits) * a + (u##bits) * b));                                          \
        case PLAN_BINARY_sub: LOOP((i##bits)((u##bits) * a - (u##bits) * b));                                          \
        case PLAN_BINARY_mul: LOOP((i##bits)((u##bits) * a * (u##bits) * b));                                          \
        case PLAN_BINARY_div: LOOP(divide_i##bits(*a, *b));                                                            \
        case PLAN_BINARY_pow: LOOP(power_i##bits(*a, *b));                                                             \
        case PLAN_BINARY_min: LOOP(*a < *b ? *a : *b);                                                                 \
        case PLAN_BINARY_max: LOOP(*a > *b ? *a : *b);                                                                 \
        case PLAN_BINARY_mod: LOOP(modulo_i##bits(*a, *b));                                                            \
        case PLAN_BINARY_fmod: LOOP(remainder_i##bits(*a, *b));                                                        \
        case PLAN_BINARY_prelu: LOOP(*a < 0 ? (i##bits)((u##bits) * a * (u##bits) * b) : *a);                          \
        case PLAN_BINARY_bit_and: LOOP((i##bits)((u##bits) * a & (u##bits) * b));                                      \
        case PLAN_BINARY_bit_or: LOOP((i##bits)((u##bits) * a | (u##bits) * b));                                       \
        case PLAN_BINARY_bit_xor: LOOP((i##bits)((u##bits) * a ^ (u##bits) * b));                                      \
        case PLAN_BINARY_shift_left: LOOP((u##bits) * b < bits ? (i##bits)((u##bits) * a << *b) : 0);                  \
        case PLAN_BINARY_shift_right: LOOP((u##bits) * b < bits ? *a >> *b : -(*a < 0));                               \
        case PLAN_BINARY_shift_right_zero: LOOP((u##bits) * b < bits ? (i##bits)((u##bits) * a >> *b) : 0);                 \
        default: break;                                                                                                \
        }                                                                                                              \
    }                                                                                                                  \
    void native_compare_i##bits(plan_binary f, const i##bits *a, size_t a_step, const i##bits *b, size_t b_step,       \
                                uint8_t *y, size_t n)                                                                  \
    {                                                                                                                  \
        switch (f) {                                                                                                   \
        case PLAN_BINARY_equal: LOOP(*a == *b);                                                                        \
        case PLAN_BINARY_less: LOOP(*a < *b);                                                                          \
        case PLAN_BINARY_less_or_equal: LOOP(*a <= *b);                                                                \
        case PLAN_BINARY_greater: LOOP(*a > *b);                                                                       \
        case PLAN_BINARY_greater_or_equal: LOOP(*a >= *b);                                                             \
        default: break;                                                                                                \
        }                                                                                                              \
    }                                                                                                                  \
    static i##bits fold_i##bits(plan_reduce f, const i##bits *x, size_t n, size_t step)                                \
    {                                                                                                                  \
        u##bits s = f == PLAN_REDUCE_prod  ? 1                                                                         \
                    : f == PLAN_REDUCE_max ? (u##bits)INT##bits##_MIN                                                  \
                    : f == PLAN_REDUCE_min ? (u##bits)INT##bits##_MAX                                                  \
                                           : 0;                                                                        \
        for (size_t j = 0; j < n; j++) {                                                                               \
            const i##bits v = x[j * step];                                                                             \
            switch (f) {                                                                                               \
            case PLAN_REDUCE_sum:                                                                                      \
            case PLAN_REDUCE_mean: s += (u##bits)v; break;                                                             \
            case PLAN_REDUCE_max: s = v > (i##bits)s ? (u##bits)v : s; break;                                          \
            case PLAN_REDUCE_min: s = v < (i##bits)s ? (u##bits)v : s; break;                                          \
            case PLAN_REDUCE_prod: s *= (u##bits)v; break;                                                             \
            }                                                                                                          \
        }                                                                                                              \
        return f == PLAN_REDUCE_mean ? (n == 0 ? 0 : (i##bits)s / (i##bits)n) : (i##bits)s;                            \
    }                                                                                                                  \
    void native_reduce_i##bits(plan_reduce f, const i##bits *x, i##bits *y, size_t outer, size_t n, size_t inner)      \
    {                                                                                                                  \
        for (size_t o = 0; o < outer; o++) {                                                                           \
            for (size_t i = 0; i < inner; i++) {                                                                       \
                y[o * inner + i] = fold_i##bits(f, x + o * n * inner + i, n, inner);                                   \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    void native_scan_i##bits(const native_scan *call, const i##bits *x, i##bits *y)                                    \
    {                                                                                                                  \
        const size_t n = call->n;                                                                                      \
        for (size_t i = 0; i < call->outer * call->inner; i++) {                                                       \
            const size_t first = i / call->inner * n * call->inner + i % call->inner;                                  \
            u##bits total = call->function == PLAN_SCAN_prod;                                                          \
            for (size_t j = 0; j < n; j++) {                                                                           \
                const size_t at = first + (call->reverse ? n - 1 - j : j) * call->inner;                               \
                const u##bits v = (u##bits)x[at];                                                                      \
                const u##bits next = call->function == PLAN_SCAN_prod ? total * v : total + v;                         \
                y[at] = (i##bits)(call->exclusive ? total : next);                                                     \
                total = next;                                                                                          \
            }                                                                                                          \
        }                                                                                                              \
    }

INTEGERS(32)
INTEGERS(64)

void native_logic(plan_binary f, const uint8_t *a, size_t a_step, const uint8_t *b, size_t b_step, uint8_t *y, size_t n)
{
    switch (f) {
    case PLAN_BINARY_and: LOOP(*a != 0 && *b != 0);
    case PLAN_BINARY_or: LOOP(*a != 0 || *b != 0);
    case PLAN_BINARY_xor: LOOP((*a != 0) != (*b != 0));
    case PLAN_BINARY_equal: LOOP((*a != 0) == (*b != 0));
    default: break;
    }
}
