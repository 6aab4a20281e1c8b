/* One operation of a plan against plain loops in double: rows 1 to 100, several heights of the tile, both providers,
 * every ISA of this CPU; and the same bits for a row wherever it stands. For test_runtime_ops.c. */
#ifndef TESTS_RUNTIME_CASES_H
#define TESTS_RUNTIME_CASES_H

#include "tests/unit/runtime_helpers.h"

enum { MOST_ROWS = 100, MOST_INPUTS = 4 };

typedef struct operand {
    mtl_dtype dtype;
    bool constant;
    int rank;
    int64_t shape[MTL_MAX_RANK]; /* negative: rows times that */
} operand;

typedef struct op_case op_case;
struct op_case {
    plan_op op;
    unsigned function;
    int attr_count;
    int64_t attrs[4 * PLAN_CHAIN_ATTRS];
    int input_count;
    operand in[MOST_INPUTS], out;
    void (*reference)(const op_case *c, int64_t rows, void *const *in, double *out);
    double tolerance;
    int64_t id_limit; /* of int inputs that are indices; 0: no limit */
    bool positive;
};

static size_t count_of(const operand *o, int64_t rows)
{
    return bytes_once(o->dtype, o->shape, o->rank, rows) / mtl_dtype_size(o->dtype);
}

static int64_t extent_of(const operand *o, int axis, int64_t rows)
{
    return o->shape[axis] < 0 ? -o->shape[axis] * rows : o->shape[axis];
}

/* Splits position `at` of the output into coordinates. */
static void coordinates(const operand *o, int64_t rows, size_t at, int64_t *result)
{
    for (int axis = o->rank; axis-- > 0;) {
        int64_t extent = extent_of(o, axis, rows);
        result[axis] = (int64_t)at % extent;
        at /= (size_t)extent;
    }
}

static size_t position(const operand *o, int64_t rows, const int64_t *at)
{
    size_t result = 0;
    for (int axis = 0; axis < o->rank; axis++) {
        result = result * (size_t)extent_of(o, axis, rows) + (size_t)at[axis];
    }
    return result;
}

/* The element of an operand that broadcasts to coordinates of an output of `rank` axes. */
static double broadcast_at(const operand *o, int64_t rows, const void *data, const int64_t *at, int rank)
{
    int64_t own[MTL_MAX_RANK];
    for (int axis = 0; axis < o->rank; axis++) {
        own[axis] = o->shape[axis] == 1 ? 0 : at[axis + rank - o->rank];
    }
    return number_at(o->dtype, data, position(o, rows, own));
}

static void build_case(const op_case *c, void *const *data, maker *m)
{
    maker_begin(m);
    uint32_t inputs[MOST_INPUTS];
    for (int i = 0; i < c->input_count; i++) {
        const operand *o = &c->in[i];
        char name[16];
        snprintf(name, sizeof name, "x%d", i);
        if ((c->op == PLAN_OP_linear || c->op == PLAN_OP_gru) && i == 1) {
            inputs[i] = maker_weights(m, o->shape[0], o->shape[1], o->shape[2], data[i]);
        } else if (c->op == PLAN_OP_linear && i == 2 && o->rank == 0) {
            inputs[i] = PLAN_NONE; /* no bias, but a start */
        } else if ((c->op == PLAN_OP_linear || c->op == PLAN_OP_gru) && i == 2) {
            inputs[i] = maker_bias(m, o->shape[0], o->shape[1], data[i]);
        } else if (o->constant) {
            inputs[i] = maker_const(m, o->dtype, o->shape, o->rank, data[i]);
        } else {
            uint32_t input = maker_input(m, name, o->dtype, o->shape, o->rank);
            inputs[i] = maker_row(m, o->dtype, o->shape, o->rank);
            maker_step(m, PLAN_OP_copy, 0, &input, 1, inputs[i], NULL, 0);
        }
    }
    uint32_t result = maker_row(m, c->out.dtype, c->out.shape, c->out.rank);
    maker_step(m, c->op, c->function, inputs, (size_t)c->input_count, result, c->attrs, (size_t)c->attr_count);
    uint32_t output = maker_output(m, "y", c->out.dtype, c->out.shape, c->out.rank);
    maker_step(m, PLAN_OP_store, 0, &result, 1, output, NULL, 0);
}

/* Runs `rows` rows beginning with `first` into `y`. */
static void run_case(const op_case *c, mtl_session *session, void *const *data, int64_t first, int64_t rows, void *y)
{
    const void *inputs[MOST_INPUTS];
    int count = 0;
    for (int i = 0; i < c->input_count; i++) {
        const operand *o = &c->in[i];
        if (!o->constant) {
            inputs[count++] = (const char *)data[i] + bytes_once(o->dtype, o->shape, o->rank, 1) * (size_t)first;
        }
    }
    mtl_error error;
    require(mtl_session_run(session, rows, inputs, (void *[]){y}, &error), &error);
}

static void compare_case(const op_case *c, const char *what, const double *expected, const void *y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        double got = number_at(c->out.dtype, y, i), difference = fabs(got - expected[i]);
        double allowed = c->tolerance * fmax(1, fabs(expected[i]));
        if (!(difference <= allowed) && !(isnan(got) && isnan(expected[i])) && got != expected[i]) {
            fail_msg("op %d function %u (%s): element %zu is %.9g, expected %.9g", (int)c->op, c->function, what, i,
                     got, expected[i]);
        }
    }
}

/* Equal bits for any height, count and position. Outputs whose candidates are not on the first axis that is not 1 are
 * compared with the reference only. */
static void check_bits(const op_case *c, mtl_plan *plan, void *const *data, const void *whole, void *y)
{
    size_t row = bytes_once(c->out.dtype, c->out.shape, c->out.rank, 1);
    for (size_t height = 16; height <= 48; height += 16) {
        mtl_session *session = open_session(plan, height, 0);
        assert_int_equal(mtl_session_tile_rows(session), height);
        for (int64_t rows = 1; rows <= MOST_ROWS; rows += rows < 18 ? 1 : 13) {
            int64_t first = rows * 7 % (MOST_ROWS - rows + 1);
            run_case(c, session, data, first, rows, y);
            assert_memory_equal(y, (const char *)whole + row * (size_t)first, row * (size_t)rows);
        }
        mtl_session_destroy(session);
    }
}

static bool rows_first(const operand *o)
{
    int axis = 0;
    while (axis < o->rank && o->shape[axis] == 1) {
        axis++;
    }
    return axis < o->rank && o->shape[axis] < 0;
}

static void check_providers(const op_case *c, const void *plan_data, size_t size, void *const *data,
                            const double *expected, void *y, void *whole)
{
    size_t count = count_of(&c->out, MOST_ROWS);
    static const mtl_isa isas[] = {MTL_ISA_GENERIC, MTL_ISA_AVX2, MTL_ISA_AVX512};
    for (size_t i = 0; i < 3; i++) {
        mtl_plan_options options = {.struct_size = sizeof options, .isa = isas[i]};
        mtl_plan *plan;
        if (mtl_plan_open_memory(plan_data, size, &options, &plan, NULL) == MTL_UNSUPPORTED) {
            continue;
        }
        mtl_session *session = open_session(plan, 32, 0);
        run_case(c, session, data, 0, MOST_ROWS, whole);
        mtl_session_destroy(session);
        compare_case(c, "native", expected, whole, count);
        if (rows_first(&c->out)) {
            check_bits(c, plan, data, whole, y);
        }
        mtl_plan_close(plan);
    }
    mtl_plan *plan = open_plan(plan_data, size, MTL_PROVIDER_ONEDNN, MTL_ISA_AUTO);
    mtl_session *session = open_session(plan, 48, 0);
    run_case(c, session, data, 0, MOST_ROWS, y);
    compare_case(c, "onednn", expected, y, count);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
}

static void check_case(const op_case *c, uint64_t *seed)
{
    void *data[MOST_INPUTS] = {0};
    for (int i = 0; i < c->input_count; i++) {
        const operand *o = &c->in[i];
        size_t count = count_of(o, MOST_ROWS);
        data[i] = malloc(count * mtl_dtype_size(o->dtype) + 64);
        fill_random(seed, o->dtype, data[i], count);
        for (size_t j = 0; j < count && c->id_limit > 0; j++) {
            if (o->dtype == MTL_I64) {
                ((int64_t *)data[i])[j] = random_below(seed, 2 * c->id_limit) - c->id_limit;
            } else if (o->dtype == MTL_I32) {
                ((int32_t *)data[i])[j] = (int32_t)(random_below(seed, 2 * c->id_limit) - c->id_limit);
            }
        }
        for (size_t j = 0; j < count && c->positive && o->dtype == MTL_F32; j++) {
            ((float *)data[i])[j] = fabsf(((float *)data[i])[j]) + 0.125f;
        }
    }
    maker m;
    const void *plan_data;
    size_t size, count = count_of(&c->out, MOST_ROWS);
    build_case(c, data, &m);
    maker_finish(&m, &plan_data, &size);
    double *expected = malloc(count * sizeof *expected + 64);
    void *y = malloc(count * 8 + 64), *whole = malloc(count * 8 + 64);
    c->reference(c, MOST_ROWS, data, expected);
    check_providers(c, plan_data, size, data, expected, y, whole);
    free(expected);
    free(y);
    free(whole);
    for (int i = 0; i < c->input_count; i++) {
        free(data[i]);
    }
    base_arena_free(&m.arena);
}

/* --- references --- */

static void reference_linear(const op_case *c, int64_t rows, void *const *in, double *out)
{
    int64_t g = c->in[1].shape[0], k = c->in[1].shape[1], n = c->in[1].shape[2];
    const float *x = in[0], *w = in[1], *bias = c->input_count > 2 && c->in[2].rank > 0 ? in[2] : NULL;
    size_t blocks = count_of(&c->in[0], rows) / (size_t)k;
    for (size_t block = 0; block < blocks; block++) {
        size_t group = g > 1 ? block % (size_t)g : 0;
        for (int64_t j = 0; j < n; j++) {
            double sum = bias != NULL ? (double)bias[group * (size_t)n + (size_t)j] : 0;
            if (c->input_count > 3) {
                int64_t at[MTL_MAX_RANK];
                coordinates(&c->out, rows, block * (size_t)n + (size_t)j, at);
                sum += broadcast_at(&c->in[3], rows, in[3], at, c->out.rank);
            }
            for (int64_t i = 0; i < k; i++) {
                sum += (double)x[block * (size_t)k + (size_t)i] *
                       (double)w[(group * (size_t)k + (size_t)i) * (size_t)n + (size_t)j];
            }
            bool plain = c->attrs[2] != 0 && j >= c->attrs[2];
            out[block * (size_t)n + (size_t)j] = plain                               ? sum
                                                 : c->function == PLAN_UNARY_relu    ? fmax(sum, 0)
                                                 : c->function == PLAN_UNARY_sigmoid ? 1 / (1 + exp(-sum))
                                                                                     : sum;
        }
    }
}

static void reference_matmul(const op_case *c, int64_t rows, void *const *in, double *out)
{
    int rank = c->out.rank;
    int64_t k = extent_of(&c->in[0], c->in[0].rank - 1, rows);
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        int64_t at[MTL_MAX_RANK];
        coordinates(&c->out, rows, i, at);
        double sum = 0;
        for (int64_t j = 0; j < k; j++) {
            int64_t a[MTL_MAX_RANK], b[MTL_MAX_RANK];
            memcpy(a, at, sizeof a);
            memcpy(b, at, sizeof b);
            a[rank - 1] = b[rank - 2] = j;
            sum += broadcast_at(&c->in[0], rows, in[0], a, rank) * broadcast_at(&c->in[1], rows, in[1], b, rank);
        }
        out[i] = sum;
    }
}

static double binary_number(plan_binary f, double a, double b, bool integer)
{
    switch (f) {
    case PLAN_BINARY_add: return a + b;
    case PLAN_BINARY_sub: return a - b;
    case PLAN_BINARY_mul: return a * b;
    case PLAN_BINARY_div: return !integer ? a / b : b == 0 ? 0 : trunc(a / b);
    case PLAN_BINARY_pow: return integer ? (b < 0 && a == 0 ? 0 : trunc(pow(a, b))) : pow(a, b);
    case PLAN_BINARY_min: return fmin(a, b);
    case PLAN_BINARY_max: return fmax(a, b);
    case PLAN_BINARY_mod: return integer && b == 0 ? 0 : a - b * floor(a / b);
    case PLAN_BINARY_fmod: return integer && b == 0 ? 0 : fmod(a, b);
    case PLAN_BINARY_prelu: return a < 0 ? a * b : a;
    case PLAN_BINARY_equal: return a == b;
    case PLAN_BINARY_less: return a < b;
    case PLAN_BINARY_less_or_equal: return a <= b;
    case PLAN_BINARY_greater: return a > b;
    case PLAN_BINARY_greater_or_equal: return a >= b;
    case PLAN_BINARY_and: return a != 0 && b != 0;
    case PLAN_BINARY_or: return a != 0 || b != 0;
    case PLAN_BINARY_xor: return (a != 0) != (b != 0);
    case PLAN_BINARY_bit_and: return (double)((int64_t)a & (int64_t)b);
    case PLAN_BINARY_bit_or: return (double)((int64_t)a | (int64_t)b);
    case PLAN_BINARY_bit_xor: return (double)((int64_t)a ^ (int64_t)b);
    case PLAN_BINARY_shift_left: return b < 0 ? 0 : a * pow(2, b); /* of small numbers */
    case PLAN_BINARY_shift_right: return floor(b < 0 ? (a < 0 ? -1 : 0) : a / pow(2, b));
    case PLAN_BINARY_shift_right_zero: return 0; /* tests/unit/test_native.c */
    }
    return 0;
}

static void reference_binary(const op_case *c, int64_t rows, void *const *in, double *out)
{
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        int64_t at[MTL_MAX_RANK];
        coordinates(&c->out, rows, i, at);
        out[i] = binary_number((plan_binary)c->function, broadcast_at(&c->in[0], rows, in[0], at, c->out.rank),
                               broadcast_at(&c->in[1], rows, in[1], at, c->out.rank), c->in[0].dtype != MTL_F32);
    }
}

static void reference_where(const op_case *c, int64_t rows, void *const *in, double *out)
{
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        int64_t at[MTL_MAX_RANK];
        coordinates(&c->out, rows, i, at);
        int chosen = broadcast_at(&c->in[0], rows, in[0], at, c->out.rank) != 0 ? 1 : 2;
        out[i] = broadcast_at(&c->in[chosen], rows, in[chosen], at, c->out.rank);
    }
}

static void reference_expand(const op_case *c, int64_t rows, void *const *in, double *out)
{
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        int64_t at[MTL_MAX_RANK];
        coordinates(&c->out, rows, i, at);
        out[i] = broadcast_at(&c->in[0], rows, in[0], at, c->out.rank);
    }
}

static double unary_number(const op_case *c, double x)
{
    double a, b;
    memcpy(&a, &c->attrs[0], sizeof a);
    memcpy(&b, &c->attrs[1], sizeof b);
    switch ((plan_unary)c->function) {
    case PLAN_UNARY_none: return x;
    case PLAN_UNARY_relu: return fmax(x, 0);
    case PLAN_UNARY_sigmoid: return 1 / (1 + exp(-x));
    case PLAN_UNARY_tanh: return tanh(x);
    case PLAN_UNARY_exp: return exp(x);
    case PLAN_UNARY_log: return log(x);
    case PLAN_UNARY_sqrt: return sqrt(x);
    case PLAN_UNARY_reciprocal: return 1 / x;
    case PLAN_UNARY_erf: return erf(x);
    case PLAN_UNARY_neg: return -x;
    case PLAN_UNARY_abs: return fabs(x);
    case PLAN_UNARY_sign: return (x > 0) - (x < 0);
    case PLAN_UNARY_floor: return floor(x);
    case PLAN_UNARY_ceil: return ceil(x);
    case PLAN_UNARY_round: return nearbyint(x);
    case PLAN_UNARY_softplus: return log1p(exp(x));
    case PLAN_UNARY_softsign: return x / (1 + fabs(x));
    case PLAN_UNARY_mish: return x * tanh(log1p(exp(x)));
    case PLAN_UNARY_elu: return x < 0 ? a * (exp(x) - 1) : x;
    case PLAN_UNARY_celu: return fmax(0, x) + fmin(0, a * (exp(x / a) - 1));
    case PLAN_UNARY_selu: return x <= 0 ? b * (a * exp(x) - a) : b * x;
    case PLAN_UNARY_leaky_relu: return x < 0 ? a * x : x;
    case PLAN_UNARY_thresholded_relu: return x > a ? x : 0;
    case PLAN_UNARY_hard_sigmoid: return fmax(0, fmin(1, a * x + b));
    case PLAN_UNARY_hard_swish: return x * fmax(0, fmin(1, x / 6 + 0.5));
    case PLAN_UNARY_swish: return x / (1 + exp(-a * x));
    case PLAN_UNARY_gelu:
        return a != 0 ? 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))
                      : 0.5 * x * (1 + erf(x * 0.7071067811865476));
    case PLAN_UNARY_clip: return fmin(fmax(x, a), b);
    case PLAN_UNARY_not: return x == 0;
    case PLAN_UNARY_isnan: return isnan(x);
    case PLAN_UNARY_isinf: return isinf(x);
    }
    return 0;
}

static void reference_unary(const op_case *c, int64_t rows, void *const *in, double *out)
{
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        out[i] = unary_number(c, number_at(c->in[0].dtype, in[0], i));
    }
}

/* (outer, n, inner) of the first input around axes [from, to). */
static void split(const operand *o, int64_t rows, int from, int to, size_t *parts)
{
    parts[0] = parts[1] = parts[2] = 1;
    for (int axis = 0; axis < o->rank; axis++) {
        parts[axis < from ? 0 : axis < to ? 1 : 2] *= (size_t)extent_of(o, axis, rows);
    }
}

static void reference_softmax(const op_case *c, int64_t rows, void *const *in, double *out)
{
    size_t p[3];
    const float *x = in[0];
    split(&c->in[0], rows, (int)c->attrs[0], (int)c->attrs[0] + 1, p);
    for (size_t i = 0; i < p[0] * p[2]; i++) {
        size_t start = i / p[2] * p[1] * p[2] + i % p[2];
        double sum = 0;
        for (size_t j = 0; j < p[1]; j++) {
            sum += exp((double)x[start + j * p[2]]);
        }
        for (size_t j = 0; j < p[1]; j++) {
            double share = exp((double)x[start + j * p[2]]) / sum;
            out[start + j * p[2]] = c->function == PLAN_SOFTMAX_softmax ? share : log(share);
        }
    }
}

static void reference_reduce(const op_case *c, int64_t rows, void *const *in, double *out)
{
    size_t p[3];
    split(&c->in[0], rows, (int)c->attrs[0], (int)c->attrs[1], p);
    for (size_t i = 0; i < p[0] * p[2]; i++) {
        size_t start = i / p[2] * p[1] * p[2] + i % p[2];
        double value = number_at(c->in[0].dtype, in[0], start);
        for (size_t j = 1; j < p[1]; j++) {
            double next = number_at(c->in[0].dtype, in[0], start + j * p[2]);
            value = c->function == PLAN_REDUCE_max    ? fmax(value, next)
                    : c->function == PLAN_REDUCE_min  ? fmin(value, next)
                    : c->function == PLAN_REDUCE_prod ? value * next
                                                      : value + next;
        }
        value = c->function == PLAN_REDUCE_mean ? value / (double)p[1] : value;
        out[i] = c->in[0].dtype == MTL_F32 ? value : trunc(value);
    }
}

static void reference_layer_norm(const op_case *c, int64_t rows, void *const *in, double *out)
{
    size_t p[3];
    const float *x = in[0];
    double epsilon;
    memcpy(&epsilon, &c->attrs[1], sizeof epsilon);
    split(&c->in[0], rows, (int)c->attrs[0], c->in[0].rank, p);
    for (size_t i = 0; i < p[0]; i++) {
        double mean = 0, variance = 0;
        for (size_t j = 0; j < p[1]; j++) {
            mean += (double)x[i * p[1] + j] / (double)p[1];
        }
        for (size_t j = 0; j < p[1]; j++) {
            variance += pow((double)x[i * p[1] + j] - mean, 2) / (double)p[1];
        }
        for (size_t j = 0; j < p[1]; j++) {
            double scale = c->input_count > 1 ? (double)((const float *)in[1])[j] : 1;
            double bias = c->input_count > 2 ? (double)((const float *)in[2])[j] : 0;
            out[i * p[1] + j] = ((double)x[i * p[1] + j] - mean) / sqrt(variance + epsilon) * scale + bias;
        }
    }
}

static void reference_transpose(const op_case *c, int64_t rows, void *const *in, double *out)
{
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        int64_t at[MTL_MAX_RANK], from[MTL_MAX_RANK];
        coordinates(&c->out, rows, i, at);
        for (int axis = 0; axis < c->out.rank; axis++) {
            from[c->attrs[axis]] = at[axis];
        }
        out[i] = number_at(c->in[0].dtype, in[0], position(&c->in[0], rows, from));
    }
}

static void reference_slice(const op_case *c, int64_t rows, void *const *in, double *out)
{
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        int64_t at[MTL_MAX_RANK];
        coordinates(&c->out, rows, i, at);
        for (int axis = 0; axis < c->out.rank; axis++) {
            at[axis] = c->attrs[2 * axis] + at[axis] * c->attrs[2 * axis + 1];
        }
        out[i] = number_at(c->in[0].dtype, in[0], position(&c->in[0], rows, at));
    }
}

static void reference_concat(const op_case *c, int64_t rows, void *const *in, double *out)
{
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        int64_t at[MTL_MAX_RANK];
        int axis = (int)c->attrs[0], part = 0;
        coordinates(&c->out, rows, i, at);
        while (at[axis] >= extent_of(&c->in[part], axis, rows)) {
            at[axis] -= extent_of(&c->in[part++], axis, rows);
        }
        out[i] = number_at(c->in[part].dtype, in[part], position(&c->in[part], rows, at));
    }
}

static void reference_gather(const op_case *c, int64_t rows, void *const *in, double *out)
{
    int axis = (int)c->attrs[0], index_rank = c->in[1].rank;
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        int64_t at[MTL_MAX_RANK], from[MTL_MAX_RANK];
        coordinates(&c->out, rows, i, at);
        double id = number_at(c->in[1].dtype, in[1], position(&c->in[1], rows, at + axis));
        for (int own = 0; own < c->in[0].rank; own++) {
            from[own] = own < axis ? at[own] : own == axis ? (int64_t)id : at[own + index_rank - 1];
        }
        from[axis] += from[axis] < 0 ? extent_of(&c->in[0], axis, rows) : 0;
        out[i] = number_at(c->in[0].dtype, in[0], position(&c->in[0], rows, from));
    }
}

/* Attributes as plan_bag_attr; ids outside of the table only under `zero`. */
static void reference_bag(const op_case *c, int64_t rows, void *const *in, double *out)
{
    const int64_t n = c->in[0].shape[0], k = c->in[0].shape[1], length = c->in[1].shape[c->in[1].rank - 1];
    double a, b;
    memcpy(&a, &c->attrs[PLAN_BAG_A], sizeof a);
    memcpy(&b, &c->attrs[PLAN_BAG_B], sizeof b);
    bool max = c->function == PLAN_BAG_max;
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        double y = max ? -INFINITY : 0, count = 0;
        for (int64_t j = 0; j < length; j++) {
            size_t at = i / (size_t)k * (size_t)length + (size_t)j;
            int64_t id = (int64_t)number_at(c->in[1].dtype, in[1], at);
            double weight = c->input_count > 2 ? number_at(MTL_F32, in[2], at) : 1;
            bool left_out =
                (c->attrs[PLAN_BAG_PADDED] != 0 && id >= c->attrs[PLAN_BAG_FIRST] && id <= c->attrs[PLAN_BAG_LAST]) ||
                (max && weight == 0);
            id += id < 0 && c->attrs[PLAN_BAG_POLICY] == 0 ? n : 0;
            double x = id < 0 || id >= n ? 0 : number_at(MTL_F32, in[0], (size_t)id * (size_t)k + i % (size_t)k);
            count += !left_out;
            y = max ? fmax(y, left_out ? a : x) : left_out ? y : y + weight * x;
        }
        out[i] = c->function == PLAN_BAG_mean ? y / fmax(count + a, b) : y;
    }
}

static void reference_batch_gather(const op_case *c, int64_t rows, void *const *in, double *out)
{
    int axis = (int)c->attrs[0], more = c->in[1].rank - axis; /* axes of the indices behind the outer ones */
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        int64_t at[MTL_MAX_RANK], from[MTL_MAX_RANK];
        coordinates(&c->out, rows, i, at);
        double id = number_at(c->in[1].dtype, in[1], position(&c->in[1], rows, at));
        for (int own = 0; own < c->in[0].rank; own++) {
            from[own] = own < axis ? at[own] : own == axis ? (int64_t)id : at[own + more - 1];
        }
        from[axis] += from[axis] < 0 ? extent_of(&c->in[0], axis, rows) : 0;
        out[i] = number_at(c->in[0].dtype, in[0], position(&c->in[0], rows, from));
    }
}

/* The rank of an element is how many are better, or as good and before it. */
static void reference_top_k(const op_case *c, int64_t rows, void *const *in, double *out)
{
    size_t p[3], k = (size_t)c->out.shape[c->attrs[0]];
    split(&c->in[0], rows, (int)c->attrs[0], (int)c->attrs[0] + 1, p);
    for (size_t i = 0; i < p[0] * p[2]; i++) {
        size_t first = i / p[2] * p[1] * p[2] + i % p[2];
        for (size_t j = 0; j < p[1]; j++) {
            double v = number_at(c->in[0].dtype, in[0], first + j * p[2]);
            size_t rank = 0;
            for (size_t other = 0; other < p[1]; other++) {
                double w = number_at(c->in[0].dtype, in[0], first + other * p[2]);
                rank += (c->attrs[1] != 0 ? w > v : w < v) || (w == v && other < j);
            }
            if (rank < k) {
                out[(i / p[2] * k + rank) * p[2] + i % p[2]] = (double)j;
            }
        }
    }
}

static void reference_mix(const op_case *c, int64_t rows, void *const *in, double *out)
{
    const int64_t *weights = c->in[0].shape, *values = c->in[1].shape;
    int64_t tasks = weights[1], experts = weights[2], h = values[2];
    for (int64_t i = 0; i < rows * tasks; i++) {
        int64_t row = i / tasks, task = i % tasks;
        const float *logits = (const float *)in[0] + ((weights[0] < 0 ? row : 0) * tasks + task) * experts;
        const float *vectors = (const float *)in[1] + (values[0] < 0 ? row : 0) * values[1] * h;
        double sum = 0;
        for (int64_t e = 0; e < experts; e++) {
            sum += exp((double)logits[e]);
        }
        for (int64_t j = 0; j < h; j++) {
            double total = 0;
            for (int64_t e = 0; e < experts; e++) {
                double share = c->function == PLAN_MIX_softmax ? exp((double)logits[e]) / sum : (double)logits[e];
                total += share * (double)vectors[c->attrs[task * experts + e] * h + j];
            }
            out[i * h + j] = total;
        }
    }
}

static double logistic(double x)
{
    return 1 / (1 + exp(-x));
}

/* Column j of h times r (H, H), in double; h NULL: 0. */
static double recurrent_product(const double *h, const float *r, int64_t hidden, int64_t j)
{
    double sum = 0;
    for (int64_t k = 0; h != NULL && k < hidden; k++) {
        sum += h[k] * (double)r[k * hidden + j];
    }
    return sum;
}

static void reference_gru(const op_case *c, int64_t rows, void *const *in, double *out)
{
    int64_t steps = c->out.shape[1], n = c->out.shape[2];
    const float *r = in[1], *bias = in[2];
    for (int64_t row = 0; row < rows; row++) {
        double before[64], *h = NULL;
        for (int64_t j = 0; c->input_count > 3 && j < n; j++) {
            before[j] = (double)((const float *)in[3])[row * n + j];
            h = before;
        }
        for (int64_t i = 0; i < steps; i++) {
            int64_t at = row * steps + (c->attrs[0] != 0 ? steps - 1 - i : i);
            const float *p = (const float *)in[0] + at * 3 * n;
            double *y = out + at * n;
            for (int64_t j = 0; j < n; j++) {
                double z = logistic((double)p[j] + recurrent_product(h, r, n, j));
                double reset = logistic((double)p[n + j] + recurrent_product(h, r + n * n, n, j));
                double inner = recurrent_product(h, r + 2 * n * n, n, j) + (double)bias[j];
                y[j] = (1 - z) * tanh((double)p[2 * n + j] + reset * inner) + (h != NULL ? z * h[j] : 0);
            }
            h = y;
        }
    }
}

static void reference_scan(const op_case *c, int64_t rows, void *const *in, double *out)
{
    size_t p[3];
    split(&c->in[0], rows, (int)c->attrs[0], (int)c->attrs[0] + 1, p);
    for (size_t i = 0; i < p[0] * p[2]; i++) {
        double total = c->function == PLAN_SCAN_prod ? 1 : 0;
        for (size_t j = 0; j < p[1]; j++) {
            size_t at = i / p[2] * p[1] * p[2] + (c->attrs[2] != 0 ? p[1] - 1 - j : j) * p[2] + i % p[2];
            double v = number_at(c->in[0].dtype, in[0], at);
            double next = c->function == PLAN_SCAN_prod ? total * v : total + v;
            out[at] = c->attrs[1] != 0 ? total : next;
            out[at] = c->attrs[3] == PLAN_UNARY_sigmoid ? 1 / (1 + exp(-out[at])) : out[at];
            total = next;
        }
    }
}

static double chain_function(bool binary, int64_t function, double a, double b)
{
    switch (binary ? 100 + function : function) {
    case PLAN_UNARY_relu: return fmax(a, 0);
    case PLAN_UNARY_sigmoid: return 1 / (1 + exp(-a));
    case PLAN_UNARY_leaky_relu: return a < 0 ? b * a : a;
    case 100 + PLAN_BINARY_add: return a + b;
    case 100 + PLAN_BINARY_sub: return a - b;
    case 100 + PLAN_BINARY_mul: return a * b;
    case 100 + PLAN_BINARY_max: return fmax(a, b);
    case 100 + PLAN_BINARY_prelu: return a < 0 ? a * b : a;
    default: return NAN;
    }
}

static void reference_chain(const op_case *c, int64_t rows, void *const *in, double *out)
{
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        int64_t at[MTL_MAX_RANK];
        coordinates(&c->out, rows, i, at);
        double value = (double)((const float *)in[0])[i];
        for (const int64_t *link = c->attrs; link < c->attrs + c->attr_count; link += PLAN_CHAIN_ATTRS) {
            int64_t input = link[PLAN_CHAIN_OPERAND];
            double b;
            memcpy(&b, &link[PLAN_CHAIN_A], sizeof b);
            b = input == 0 ? b : broadcast_at(&c->in[input], rows, in[input], at, c->out.rank);
            bool swapped = link[PLAN_CHAIN_SIDE] != 0;
            value = chain_function(input != 0, link[PLAN_CHAIN_FUNCTION], swapped ? b : value, swapped ? value : b);
        }
        out[i] = value;
    }
}

static void reference_cast(const op_case *c, int64_t rows, void *const *in, double *out)
{
    for (size_t i = 0; i < count_of(&c->out, rows); i++) {
        double x = number_at(c->in[0].dtype, in[0], i);
        bool float_out = c->out.dtype == MTL_F32 || c->out.dtype == MTL_F64;
        out[i] = c->out.dtype == MTL_BOOL ? x != 0 : float_out ? x : trunc(x);
    }
}

#endif
