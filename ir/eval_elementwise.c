/* Reference evaluation of element-wise operations. The maths is that of the ONNX operators of the same names. */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "ir/chain.h"
#include "ir/eval.h"

static double sigmoid(double x)
{
    if (x >= 0) {
        return 1 / (1 + exp(-x));
    }
    double e = exp(x);
    return e / (1 + e);
}

static double softplus(double x)
{
    if (isnan(x)) {
        return x;
    }
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double gelu(double x, bool approximate)
{
    static const double sqrt_2_over_pi = 0.79788456080286535588, sqrt_half = 0.70710678118654752440;
    if (approximate) {
        return 0.5 * x * (1 + tanh(sqrt_2_over_pi * (x + 0.044715 * x * x * x)));
    }
    return 0.5 * x * (1 + erf(x * sqrt_half));
}

/* NaN passes through: min(max(x, low), high) as NumPy's. */
static double clamp(double x, double low, double high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

double ir_eval_unary_float(ir_op op, const ir_node_info *node, double x)
{
    double alpha = ir_attr_float(node, IR_ATTR_alpha), beta = ir_attr_float(node, IR_ATTR_beta);
    switch (op) {
    case IR_OP_neg: return -x;
    case IR_OP_abs: return fabs(x);
    case IR_OP_sign: return isnan(x) ? x : (double)((x > 0) - (x < 0));
    case IR_OP_exp: return exp(x);
    case IR_OP_log: return log(x);
    case IR_OP_sqrt: return sqrt(x);
    case IR_OP_reciprocal: return 1 / x;
    case IR_OP_erf: return erf(x);
    case IR_OP_floor: return floor(x);
    case IR_OP_ceil: return ceil(x);
    case IR_OP_round: return nearbyint(x);
    case IR_OP_relu: return x > 0 || isnan(x) ? x : 0;
    case IR_OP_sigmoid: return sigmoid(x);
    case IR_OP_tanh: return tanh(x);
    case IR_OP_softplus: return softplus(x);
    case IR_OP_softsign: return x / (1 + fabs(x));
    case IR_OP_mish: return x * tanh(softplus(x));
    case IR_OP_elu: return x < 0 ? alpha * expm1(x) : x;
    case IR_OP_celu: return x < 0 ? alpha * expm1(x / alpha) : x;
    case IR_OP_selu: return x <= 0 ? beta * alpha * expm1(x) : beta * x;
    case IR_OP_leaky_relu: return x < 0 ? alpha * x : x;
    case IR_OP_thresholded_relu: return isnan(x) || x > alpha ? x : 0;
    case IR_OP_hard_sigmoid: return clamp(alpha * x + beta, 0, 1);
    case IR_OP_hard_swish: return x * clamp(x / 6 + 0.5, 0, 1);
    case IR_OP_swish: return x * sigmoid(alpha * x);
    case IR_OP_gelu: return gelu(x, ir_attr_int(node, IR_ATTR_approximate) != 0);
    case IR_OP_clip: return clamp(x, ir_attr_float(node, IR_ATTR_low), ir_attr_float(node, IR_ATTR_high));
    default: return x; /* identity; the rest is not on floats */
    }
}

static int64_t negate(int64_t x)
{
    return (int64_t)(0 - (uint64_t)x);
}

/* The bound of a clip on integers: outside of int64 it does not bind. */
static int64_t int_bound(double bound, bool low)
{
    if (isnan(bound) || bound < -9223372036854775808.0) {
        return INT64_MIN;
    }
    if (bound >= 9223372036854775808.0) {
        return INT64_MAX;
    }
    return (int64_t)(low ? ceil(bound) : floor(bound));
}

static int64_t unary_int(const ir_eval_call *call, int64_t x)
{
    bool is_unsigned = call->output->dtype == MTL_U64;
    switch (call->node->op) {
    case IR_OP_neg: return negate(x);
    case IR_OP_abs: return x < 0 && !is_unsigned ? negate(x) : x;
    case IR_OP_sign: return is_unsigned ? x != 0 : (x > 0) - (x < 0);
    case IR_OP_relu: return x < 0 && !is_unsigned ? 0 : x;
    case IR_OP_not: return x == 0;
    case IR_OP_clip: {
        int64_t low = int_bound(ir_attr_float(call->node, IR_ATTR_low), true);
        int64_t high = int_bound(ir_attr_float(call->node, IR_ATTR_high), false);
        x = x < low ? low : x;
        return x > high ? high : x;
    }
    default: return x;
    }
}

mtl_status ir_eval_identity(const ir_eval_call *call)
{
    const ir_tensor *x = call->inputs[0];
    call->output->raw = x->raw;
    call->output->f = x->f;
    call->output->i = x->i;
    return MTL_OK;
}

mtl_status ir_eval_unary(const ir_eval_call *call)
{
    size_t count = call->output->count;
    bool from_float = ir_dtype_is_float(call->inputs[0]->dtype);
    if (from_float && ir_dtype_is_float(call->output->dtype)) {
        const double *x;
        double *y;
        BASE_TRY(ir_eval_floats(call, 0, &x));
        BASE_TRY(ir_eval_new_floats(call, &y));
        for (size_t i = 0; i < count; i++) {
            y[i] = ir_eval_unary_float(call->node->op, call->node, x[i]);
        }
        return MTL_OK;
    }
    int64_t *y;
    BASE_TRY(ir_eval_new_ints(call, &y));
    if (from_float) { /* isnan, isinf */
        const double *x;
        BASE_TRY(ir_eval_floats(call, 0, &x));
        for (size_t i = 0; i < count; i++) {
            y[i] = call->node->op == IR_OP_isnan ? isnan(x[i]) != 0 : isinf(x[i]) != 0;
        }
        return MTL_OK;
    }
    const int64_t *x;
    BASE_TRY(ir_eval_ints(call, 0, &x));
    for (size_t i = 0; i < count; i++) {
        y[i] = ir_wrap_int(unary_int(call, x[i]), call->output->dtype);
    }
    return MTL_OK;
}

/* Truncates. int32 and int64 saturate, and NaN is their least number; narrower integers are cut from that of int64. */
static int64_t int_of_float(double x, mtl_dtype to)
{
    if (to == MTL_I32) {
        return isnan(x) || x < -0x1p31 ? INT32_MIN : x >= 0x1p31 ? INT32_MAX : (int64_t)x;
    }
    if (to == MTL_U64 && x >= 9223372036854775808.0 && x < 18446744073709551616.0) {
        return (int64_t)(uint64_t)x;
    }
    return isnan(x) || x < -0x1p63 ? INT64_MIN : x >= 0x1p63 ? INT64_MAX : (int64_t)x;
}

static double round_float(double x, mtl_dtype to)
{
    switch (to) {
    case MTL_F16: return (double)base_f16_to_f32(base_f16_from_f32((float)x));
    case MTL_BF16: return (double)base_bf16_to_f32(base_bf16_from_f32((float)x));
    default: return x;
    }
}

mtl_status ir_eval_cast(const ir_eval_call *call)
{
    mtl_dtype from = call->inputs[0]->dtype, to = call->output->dtype;
    const double *f = NULL;
    const int64_t *n = NULL;
    if (ir_dtype_is_float(from)) {
        BASE_TRY(ir_eval_floats(call, 0, &f));
    } else {
        BASE_TRY(ir_eval_ints(call, 0, &n));
    }
    if (ir_dtype_is_float(to)) {
        double *y;
        BASE_TRY(ir_eval_new_floats(call, &y));
        for (size_t i = 0; i < call->output->count; i++) {
            double x = f != NULL ? f[i] : from == MTL_U64 ? (double)(uint64_t)n[i] : (double)n[i];
            y[i] = round_float(x, to);
        }
        return MTL_OK;
    }
    int64_t *y;
    BASE_TRY(ir_eval_new_ints(call, &y));
    for (size_t i = 0; i < call->output->count; i++) {
        if (to == MTL_BOOL) {
            y[i] = f != NULL ? f[i] != 0 : n[i] != 0;
        } else {
            y[i] = ir_wrap_int(f != NULL ? int_of_float(f[i], to) : n[i], to);
        }
    }
    return MTL_OK;
}

/* Floats: minimum and maximum let NaN through. */
static double float_min(double a, double b)
{
    return isnan(a) || a < b ? a : b;
}

static double float_max(double a, double b)
{
    return isnan(a) || a > b ? a : b;
}

static double float_mod(const ir_node_info *node, double a, double b)
{
    double rest = fmod(a, b);
    if (ir_attr_int(node, IR_ATTR_fmod) == 0 && rest != 0 && (rest < 0) != (b < 0)) {
        rest += b; /* the sign of the divisor */
    }
    return rest;
}

double ir_eval_binary_float(const ir_node_info *node, double a, double b)
{
    switch (node->op) {
    case IR_OP_add: return a + b;
    case IR_OP_sub: return a - b;
    case IR_OP_mul: return a * b;
    case IR_OP_div: return a / b;
    case IR_OP_pow: return pow(a, b);
    case IR_OP_min: return float_min(a, b);
    case IR_OP_max: return float_max(a, b);
    case IR_OP_mod: return float_mod(node, a, b);
    case IR_OP_prelu: return a < 0 ? a * b : a;
    default: return NAN;
    }
}

static int64_t compare_float(ir_op op, double a, double b)
{
    switch (op) {
    case IR_OP_equal: return a == b;
    case IR_OP_less: return a < b;
    case IR_OP_less_or_equal: return a <= b;
    case IR_OP_greater: return a > b;
    default: return a >= b;
    }
}

/* False: division by zero. */
static bool divide_int(const ir_node_info *node, mtl_dtype dtype, int64_t a, int64_t b, int64_t *result)
{
    bool divide = node->op == IR_OP_div;
    if (b == 0) {
        return false;
    }
    if (dtype == MTL_U64) {
        *result = (int64_t)(divide ? (uint64_t)a / (uint64_t)b : (uint64_t)a % (uint64_t)b);
        return true;
    }
    if (b == -1) { /* the one quotient that overflows is here */
        *result = divide ? negate(a) : 0;
        return true;
    }
    int64_t rest = a % b;
    if (!divide && ir_attr_int(node, IR_ATTR_fmod) == 0 && rest != 0 && (rest < 0) != (b < 0)) {
        rest += b;
    }
    *result = divide ? a / b : rest;
    return true;
}

/* a to the power of b modulo 2^64; negative powers truncate. False: a negative power of 0. */
static bool pow_int(int64_t a, int64_t b, int64_t *result)
{
    if (b < 0) {
        *result = a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
        return a != 0;
    }
    uint64_t product = 1, square = (uint64_t)a;
    for (uint64_t n = (uint64_t)b; n != 0; n >>= 1) {
        if (n & 1) {
            product *= square;
        }
        square *= square;
    }
    *result = (int64_t)product;
    return true;
}

/* On the bits of numbers of that type. */
static int64_t shift_bits(ir_op op, mtl_dtype dtype, int64_t a, int64_t b)
{
    size_t width = 8 * mtl_dtype_size(dtype);
    bool left = op == IR_OP_shift_left,
         is_signed = dtype == MTL_I64 || dtype == MTL_I32 || dtype == MTL_I16 || dtype == MTL_I8;
    if (op == IR_OP_shift_right && is_signed &&
        a < 0) { /* the bits of ~a, which is not negative, come back as -1 - them */
        return (uint64_t)b >= width ? -1 : ~(~a >> b);
    }
    uint64_t bits = width == 64 ? (uint64_t)a : (uint64_t)a & (((uint64_t)1 << width) - 1);
    if ((uint64_t)b >= width) {
        return 0;
    }
    return ir_wrap_int((int64_t)(left ? bits << b : bits >> b), dtype);
}

/* False: division by zero. `dtype` is the operands'. */
static bool binary_int(const ir_node_info *node, mtl_dtype dtype, int64_t a, int64_t b, int64_t *result)
{
    /* Shifts the unsigned order onto the signed one. */
    uint64_t flip = dtype == MTL_U64 ? (uint64_t)1 << 63 : 0;
    int64_t left = (int64_t)((uint64_t)a ^ flip), right = (int64_t)((uint64_t)b ^ flip);
    switch (node->op) {
    case IR_OP_add: *result = (int64_t)((uint64_t)a + (uint64_t)b); return true;
    case IR_OP_sub: *result = (int64_t)((uint64_t)a - (uint64_t)b); return true;
    case IR_OP_mul: *result = (int64_t)((uint64_t)a * (uint64_t)b); return true;
    case IR_OP_div:
    case IR_OP_mod: return divide_int(node, dtype, a, b, result);
    case IR_OP_pow: return pow_int(a, b, result);
    case IR_OP_min: *result = left < right ? a : b; return true;
    case IR_OP_max: *result = left > right ? a : b; return true;
    case IR_OP_prelu: *result = left < (int64_t)flip ? (int64_t)((uint64_t)a * (uint64_t)b) : a; return true;
    case IR_OP_and:
    case IR_OP_bit_and: *result = a & b; return true;
    case IR_OP_or:
    case IR_OP_bit_or: *result = a | b; return true;
    case IR_OP_xor:
    case IR_OP_bit_xor: *result = a ^ b; return true;
    case IR_OP_shift_left:
    case IR_OP_shift_right:
    case IR_OP_shift_right_zero: *result = shift_bits(node->op, dtype, a, b); return true;
    case IR_OP_equal: *result = a == b; return true;
    case IR_OP_less: *result = left < right; return true;
    case IR_OP_less_or_equal: *result = left <= right; return true;
    case IR_OP_greater: *result = left > right; return true;
    default: *result = left >= right; return true;
    }
}

static mtl_status binary_on_floats(const ir_eval_call *call, ir_walk *walk)
{
    const double *a, *b;
    BASE_TRY(ir_eval_floats(call, 0, &a));
    BASE_TRY(ir_eval_floats(call, 1, &b));
    if (ir_dtype_is_float(call->output->dtype)) {
        double *y;
        BASE_TRY(ir_eval_new_floats(call, &y));
        for (size_t i = 0; i < call->output->count; i++, ir_walk_next(walk)) {
            y[i] = ir_eval_binary_float(call->node, a[walk->at[0]], b[walk->at[1]]);
        }
        return MTL_OK;
    }
    int64_t *y;
    BASE_TRY(ir_eval_new_ints(call, &y));
    for (size_t i = 0; i < call->output->count; i++, ir_walk_next(walk)) {
        y[i] = compare_float(call->node->op, a[walk->at[0]], b[walk->at[1]]);
    }
    return MTL_OK;
}

/* pow alone takes operands of two dtypes; the result has the base's. */
static mtl_status mixed_pow(const ir_eval_call *call, ir_walk *walk)
{
    double *f = NULL;
    int64_t *n = NULL;
    if (ir_dtype_is_float(call->output->dtype)) {
        BASE_TRY(ir_eval_new_floats(call, &f));
    } else {
        BASE_TRY(ir_eval_new_ints(call, &n));
    }
    for (size_t i = 0; i < call->output->count; i++, ir_walk_next(walk)) {
        double number =
            pow(ir_tensor_at(call->inputs[0], (size_t)walk->at[0]), ir_tensor_at(call->inputs[1], (size_t)walk->at[1]));
        if (f != NULL) {
            f[i] = number;
        } else {
            n[i] = ir_wrap_int(int_of_float(number, call->output->dtype), call->output->dtype);
        }
    }
    return MTL_OK;
}

mtl_status ir_eval_binary(const ir_eval_call *call)
{
    ir_walk walk;
    ir_walk_start(&walk, call->output);
    ir_walk_broadcast(&walk, 0, call->inputs[0]);
    ir_walk_broadcast(&walk, 1, call->inputs[1]);
    bool a_float = ir_dtype_is_float(call->inputs[0]->dtype), b_float = ir_dtype_is_float(call->inputs[1]->dtype);
    if (a_float && b_float) {
        return binary_on_floats(call, &walk);
    }
    if (a_float || b_float) {
        return mixed_pow(call, &walk);
    }
    const int64_t *a, *b;
    int64_t *y;
    BASE_TRY(ir_eval_ints(call, 0, &a));
    BASE_TRY(ir_eval_ints(call, 1, &b));
    BASE_TRY(ir_eval_new_ints(call, &y));
    for (size_t i = 0; i < call->output->count; i++, ir_walk_next(&walk)) {
        int64_t result;
        if (!binary_int(call->node, call->inputs[0]->dtype, a[walk.at[0]], b[walk.at[1]], &result)) {
            return ir_eval_fail(call, MTL_INVALID_DATA, "division of %lld by zero at element %zu",
                                (long long)a[walk.at[0]], i);
        }
        y[i] = ir_wrap_int(result, call->output->dtype);
    }
    return MTL_OK;
}

mtl_status ir_eval_where(const ir_eval_call *call)
{
    ir_walk walk;
    ir_walk_start(&walk, call->output);
    for (int k = 0; k < 3; k++) {
        ir_walk_broadcast(&walk, k, call->inputs[k]);
    }
    const int64_t *condition;
    BASE_TRY(ir_eval_ints(call, 0, &condition));
    if (ir_dtype_is_float(call->output->dtype)) {
        const double *a, *b;
        double *y;
        BASE_TRY(ir_eval_floats(call, 1, &a));
        BASE_TRY(ir_eval_floats(call, 2, &b));
        BASE_TRY(ir_eval_new_floats(call, &y));
        for (size_t i = 0; i < call->output->count; i++, ir_walk_next(&walk)) {
            y[i] = condition[walk.at[0]] ? a[walk.at[1]] : b[walk.at[2]];
        }
        return MTL_OK;
    }
    const int64_t *a, *b;
    int64_t *y;
    BASE_TRY(ir_eval_ints(call, 1, &a));
    BASE_TRY(ir_eval_ints(call, 2, &b));
    BASE_TRY(ir_eval_new_ints(call, &y));
    for (size_t i = 0; i < call->output->count; i++, ir_walk_next(&walk)) {
        y[i] = condition[walk.at[0]] ? a[walk.at[1]] : b[walk.at[2]];
    }
    return MTL_OK;
}

static mtl_status eval_chain_step(const ir_eval_call *call, ir_chain_step *step, double *y)
{
    const ir_node_info node = ir_chain_node(step);
    if (step->operand == 0) {
        for (size_t i = 0; i < call->output->count; i++) {
            y[i] = ir_eval_unary_float(step->op, &node, y[i]);
        }
        return MTL_OK;
    }
    const double *other;
    ir_walk walk;
    ir_walk_start(&walk, call->output);
    ir_walk_broadcast(&walk, 0, call->inputs[step->operand]);
    BASE_TRY(ir_eval_floats(call, step->operand, &other));
    for (size_t i = 0; i < call->output->count; i++, ir_walk_next(&walk)) {
        double b = other[walk.at[0]];
        y[i] = step->operand_first ? ir_eval_binary_float(&node, b, y[i]) : ir_eval_binary_float(&node, y[i], b);
    }
    return MTL_OK;
}

mtl_status ir_eval_chain(const ir_eval_call *call)
{
    const double *x;
    double *y;
    ir_chain chain;
    size_t at;
    if (!ir_chain_read(ir_find_attr(call->node, IR_ATTR_program)->text, &chain, &at)) {
        return ir_eval_fail(call, MTL_INTERNAL, "its program cannot be read");
    }
    BASE_TRY(ir_eval_floats(call, 0, &x));
    BASE_TRY(ir_eval_new_floats(call, &y));
    if (call->output->count > 0) {
        memcpy(y, x, call->output->count * sizeof *y);
    }
    for (size_t i = 0; i < chain.count; i++) {
        BASE_TRY(eval_chain_step(call, &chain.steps[i], y));
    }
    return MTL_OK;
}
