/* The kernels as straightforward loops: what the ISA variants are tested against. Every function says what it
 * computes in the fewest words, with libm; speed does not matter here. */
#include <math.h>
#include <string.h>

#include "runtime/native/native.h"

static float activation(plan_unary f, float a, float b, float x)
{
    switch (f) {
    case PLAN_UNARY_none: return x;
    case PLAN_UNARY_relu: return x < 0 ? 0 : x;
    case PLAN_UNARY_sigmoid: return x < 0 ? expf(x) / (1 + expf(x)) : 1 / (1 + expf(-x));
    case PLAN_UNARY_tanh: return tanhf(x);
    case PLAN_UNARY_exp: return expf(x);
    case PLAN_UNARY_log: return logf(x);
    case PLAN_UNARY_sqrt: return sqrtf(x);
    case PLAN_UNARY_reciprocal: return 1 / x;
    case PLAN_UNARY_erf: return erff(x);
    case PLAN_UNARY_neg: return -x;
    case PLAN_UNARY_abs: return fabsf(x);
    case PLAN_UNARY_sign: return x > 0 ? 1 : x < 0 ? -1 : x;
    case PLAN_UNARY_floor: return floorf(x);
    case PLAN_UNARY_ceil: return ceilf(x);
    case PLAN_UNARY_round: return nearbyintf(x);
    case PLAN_UNARY_softplus: return x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x));
    case PLAN_UNARY_softsign: return isinf(x) ? copysignf(1, x) : x / (1 + fabsf(x));
    case PLAN_UNARY_mish: return x == -INFINITY ? 0 : x * tanhf(x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x)));
    case PLAN_UNARY_elu: return x < 0 ? a * expm1f(x) : x;
    case PLAN_UNARY_celu: return fmaxf(0, x) + fminf(0, a * expm1f(x / a)) + (isnan(x) ? x : 0);
    case PLAN_UNARY_selu: return x < 0 ? b * a * expm1f(x) : b * x;
    case PLAN_UNARY_leaky_relu: return x < 0 ? a * x : x;
    case PLAN_UNARY_thresholded_relu: return x <= a ? 0 : x;
    case PLAN_UNARY_hard_sigmoid: return a * x + b < 0 ? 0 : a * x + b > 1 ? 1 : a * x + b;
    case PLAN_UNARY_hard_swish: return x <= -3 ? 0 : x >= 3 ? x : x * (x / 6 + 0.5f);
    case PLAN_UNARY_swish: return x == -INFINITY ? 0 : x / (1 + expf(-a * x));
    case PLAN_UNARY_gelu:
        if (x == -INFINITY) {
            return 0;
        }
        return a != 0 ? 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)))
                      : 0.5f * x * (1 + erff(x * 0.70710678f));
    case PLAN_UNARY_clip: x = x < a ? a : x; return x > b ? b : x;
    case PLAN_UNARY_not:
    case PLAN_UNARY_isnan:
    case PLAN_UNARY_isinf: break;
    }
    return NAN; /* no function of floats to floats */
}

static void unary(plan_unary f, float a, float b, const float *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = activation(f, a, b, x[i]);
    }
}

static void linear(const native_linear *call)
{
    for (size_t r = 0; r < call->rows; r++) {
        for (size_t j = 0; j < call->n; j++) {
            const float *panel = call->w + j / PLAN_PANEL * PLAN_PANEL * call->k + j % PLAN_PANEL;
            float sum = call->bias != NULL ? call->bias[j] : 0;
            sum += call->start != NULL ? native_linear_start(call, r)[j] : 0;
            for (size_t i = 0; i < call->k; i++) {
                sum += call->x[r * call->x_stride + i] * panel[i * PLAN_PANEL];
            }
            bool plain = call->act_columns != 0 && j >= call->act_columns;
            call->y[r * call->y_stride + j] = plain ? sum : activation(call->act, call->a, call->b, sum);
        }
    }
}

static float operation(plan_binary f, float a, float b)
{
    float m;
    switch (f) {
    case PLAN_BINARY_add: return a + b;
    case PLAN_BINARY_sub: return a - b;
    case PLAN_BINARY_mul: return a * b;
    case PLAN_BINARY_div: return a / b;
    case PLAN_BINARY_pow: return powf(a, b);
    case PLAN_BINARY_min: return isnan(a) || isnan(b) ? NAN : a < b ? a : b;
    case PLAN_BINARY_max: return isnan(a) || isnan(b) ? NAN : a > b ? a : b;
    case PLAN_BINARY_mod: m = fmodf(a, b); return m == 0 ? copysignf(0, b) : (m < 0) != (b < 0) ? m + b : m;
    case PLAN_BINARY_fmod: return fmodf(a, b);
    case PLAN_BINARY_prelu: return a < 0 ? a * b : a;
    case PLAN_BINARY_equal: return a == b;
    case PLAN_BINARY_less: return a < b;
    case PLAN_BINARY_less_or_equal: return a <= b;
    case PLAN_BINARY_greater: return a > b;
    case PLAN_BINARY_greater_or_equal: return a >= b;
    default: return NAN; /* no function of floats */
    }
}

static void binary(plan_binary f, const float *a, size_t a_step, const float *b, size_t b_step, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = operation(f, a[i * a_step], b[i * b_step]);
    }
}

static void compare(plan_binary f, const float *a, size_t a_step, const float *b, size_t b_step, uint8_t *y, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = operation(f, a[i * a_step], b[i * b_step]) != 0;
    }
}

static void softmax_one(plan_softmax f, const float *x, float *y, size_t n, size_t step)
{
    float most = -INFINITY, sum = 0;
    for (size_t j = 0; j < n; j++) {
        most = operation(PLAN_BINARY_max, most, x[j * step]);
    }
    for (size_t j = 0; j < n; j++) {
        sum += expf(x[j * step] - most);
    }
    for (size_t j = 0; j < n; j++) {
        const float v = x[j * step] - most;
        y[j * step] = f == PLAN_SOFTMAX_log_softmax ? v - logf(sum) : expf(v) / sum;
    }
}

static void softmax(plan_softmax f, const float *x, float *y, size_t outer, size_t n, size_t inner)
{
    for (size_t o = 0; o < outer; o++) {
        for (size_t i = 0; i < inner; i++) {
            softmax_one(f, x + o * n * inner + i, y + o * n * inner + i, n, inner);
        }
    }
}

static float reduce_one(plan_reduce f, const float *x, size_t n, size_t step)
{
    float s = f == PLAN_REDUCE_prod ? 1 : f == PLAN_REDUCE_max ? -INFINITY : f == PLAN_REDUCE_min ? INFINITY : 0;
    for (size_t j = 0; j < n; j++) {
        const float v = x[j * step];
        switch (f) {
        case PLAN_REDUCE_sum:
        case PLAN_REDUCE_mean: s += v; break;
        case PLAN_REDUCE_max: s = operation(PLAN_BINARY_max, s, v); break;
        case PLAN_REDUCE_min: s = operation(PLAN_BINARY_min, s, v); break;
        case PLAN_REDUCE_prod: s *= v; break;
        }
    }
    return f == PLAN_REDUCE_mean ? s / (float)n : s;
}

static void reduce(plan_reduce f, const float *x, float *y, size_t outer, size_t n, size_t inner)
{
    for (size_t o = 0; o < outer; o++) {
        for (size_t i = 0; i < inner; i++) {
            y[o * inner + i] = reduce_one(f, x + o * n * inner + i, n, inner);
        }
    }
}

static void matmul(const float *a, size_t a_stride, const float *b, size_t b_stride, float *y, size_t y_stride,
                   size_t m, size_t k, size_t n)
{
    for (size_t r = 0; r < m; r++) {
        for (size_t j = 0; j < n; j++) {
            float sum = 0;
            for (size_t i = 0; i < k; i++) {
                sum += a[r * a_stride + i] * b[i * b_stride + j];
            }
            y[r * y_stride + j] = sum;
        }
    }
}

static void layer_norm(const float *x, const float *scale, const float *bias, float epsilon, float *y, size_t outer,
                       size_t n)
{
    for (size_t o = 0; o < outer; o++, x += n, y += n) {
        float mean = 0, variance = 0;
        for (size_t j = 0; j < n; j++) {
            mean += x[j] / (float)n;
        }
        for (size_t j = 0; j < n; j++) {
            variance += (x[j] - mean) * (x[j] - mean) / (float)n;
        }
        for (size_t j = 0; j < n; j++) {
            y[j] = (x[j] - mean) / sqrtf(variance + epsilon) * (scale != NULL ? scale[j] : 1) +
                   (bias != NULL ? bias[j] : 0);
        }
    }
}

static void mix(const native_mix *call)
{
    for (size_t r = 0; r < call->rows; r++) {
        for (size_t t = 0; t < call->tasks; t++) {
            const float *weights = call->weights + r * call->weights_stride + t * call->experts;
            float most = -INFINITY, sum = 0;
            for (size_t e = 0; e < call->experts; e++) {
                most = operation(PLAN_BINARY_max, most, weights[e]);
            }
            for (size_t e = 0; e < call->experts; e++) {
                sum += expf(weights[e] - most);
            }
            for (size_t j = 0; j < call->h; j++) {
                float total = 0;
                for (size_t e = 0; e < call->experts; e++) {
                    const size_t which = (size_t)call->index[t * call->experts + e];
                    const float share = call->function == PLAN_MIX_softmax ? expf(weights[e] - most) / sum : weights[e];
                    total += share * call->values[r * call->values_stride + which * call->h + j];
                }
                call->y[r * call->y_stride + t * call->h + j] = total;
            }
        }
    }
}

/* Column j of h times the panels `w`. */
static float recurrent_sum(const native_gru *call, const float *h, const float *w, size_t j)
{
    const float *panel = w + j / PLAN_PANEL * PLAN_PANEL * call->hidden + j % PLAN_PANEL;
    float sum = 0;
    for (size_t k = 0; h != NULL && k < call->hidden; k++) {
        sum += h[k] * panel[k * PLAN_PANEL];
    }
    return sum;
}

static void gru(const native_gru *call)
{
    const size_t n = call->hidden, panels = native_panels(n, n);
    for (size_t row = 0; row < call->rows; row++) {
        const float *h = call->h != NULL ? call->h + row * call->h_stride : NULL;
        for (size_t i = 0; i < call->steps; i++) {
            const size_t at = call->reverse ? call->steps - 1 - i : i;
            const float *p = call->p + row * call->p_stride + at * 3 * n;
            float *y = call->y + row * call->y_stride + at * n;
            for (size_t j = 0; j < n; j++) {
                const float z = activation(PLAN_UNARY_sigmoid, 0, 0, p[j] + recurrent_sum(call, h, call->r, j));
                const float r =
                    activation(PLAN_UNARY_sigmoid, 0, 0, p[n + j] + recurrent_sum(call, h, call->r + panels, j));
                const float inner =
                    recurrent_sum(call, h, call->r + 2 * panels, j) + (call->bias != NULL ? call->bias[j] : 0);
                const float candidate = tanhf(p[2 * n + j] + r * inner);
                y[j] = (1 - z) * candidate + (h != NULL ? z * h[j] : 0);
            }
            h = y;
        }
    }
}

static void scan(const native_scan *call, const float *x, float *y)
{
    const size_t n = call->n;
    for (size_t i = 0; i < call->outer * call->inner; i++) {
        const size_t first = i / call->inner * n * call->inner + i % call->inner;
        float total = call->function == PLAN_SCAN_prod ? 1 : 0;
        for (size_t j = 0; j < n; j++) {
            const size_t at = first + (call->reverse ? n - 1 - j : j) * call->inner;
            const float v = x[at], next = call->function == PLAN_SCAN_prod ? total * v : total + v;
            y[at] = call->exclusive ? total : next;
            total = next;
        }
    }
}

static void bag(const native_bag *call)
{
    for (size_t j = 0; j < call->k; j++) {
        float y = call->resume ? call->y[j] : call->max ? -INFINITY : 0;
        if (call->max && call->filled) {
            y = isnan(y) || y > call->fill ? y : call->fill;
        }
        for (size_t i = 0; i < call->n; i++) {
            const float x = call->rows[i] < 0 ? 0 : call->table[(size_t)call->rows[i] * call->k + j];
            if (call->max) {
                y = isnan(y) || y > x ? y : x;
            } else {
                y += call->weights != NULL ? call->weights[i] * x : x;
            }
        }
        call->y[j] = y;
    }
}

/* The masked score of query i and key j of head h of row r. */
static float attention_score(const native_attention *call, size_t r, size_t h, size_t i, size_t j)
{
    const float *q = call->q + r * call->q_row + i * call->q_step + h * call->width;
    const float *k = call->k + r * call->k_row + j * call->k_step + h * call->width;
    float score = 0;
    for (size_t c = 0; c < call->width; c++) {
        score += q[c] * k[c];
    }
    score *= call->scale;
    if (call->bias != NULL) {
        score += call->bias[r * call->bias_row + h * call->bias_head + i * call->bias_query + j];
    }
    bool kept = call->keep == NULL || call->keep[r * call->keep_row + h * call->keep_head + i * call->keep_query + j];
    return kept ? score : call->fill;
}

static void attention_query(const native_attention *call, size_t r, size_t h, size_t i)
{
    const float *v = call->v + r * call->v_row + h * call->value_width;
    float *y = call->y + r * call->y_row + i * call->y_step + h * call->value_width;
    float shares[NATIVE_ATTENTION_KEYS], most = -INFINITY, sum = 0;
    for (size_t j = 0; j < call->keys; j++) {
        shares[j] = attention_score(call, r, h, i, j);
        most = operation(PLAN_BINARY_max, most, shares[j]);
    }
    for (size_t j = 0; j < call->keys; j++) {
        sum += shares[j] = expf(shares[j] - most);
    }
    bool zero = (call->empty == NATIVE_EMPTY_IS_ZERO && most == -INFINITY) ||
                (call->empty == NATIVE_EMPTY_NAN_IS_ZERO && isnan(sum));
    for (size_t c = 0; c < call->value_width; c++) {
        float total = 0;
        for (size_t j = 0; j < call->keys && !zero; j++) {
            total += shares[j] / sum * v[j * call->v_step + c];
        }
        y[c] = total;
    }
}

static void attention(const native_attention *call)
{
    for (size_t r = 0; r < call->rows; r++) {
        for (size_t h = 0; h < call->heads; h++) {
            for (size_t i = 0; i < call->queries; i++) {
                attention_query(call, r, h, i);
            }
        }
    }
}

const native_kernels *native_reference(void)
{
    static const native_kernels kernels = {
        .isa = MTL_ISA_GENERIC,
        .name = "reference",
        .lanes = 1,
        .linear = linear,
        .unary = unary,
        .binary = binary,
        .compare = compare,
        .softmax = softmax,
        .reduce = reduce,
        .matmul = matmul,
        .layer_norm = layer_norm,
        .mix = mix,
        .gru = gru,
        .scan = scan,
        .bag = bag,
        .attention = attention,
    };
    return &kernels;
}
