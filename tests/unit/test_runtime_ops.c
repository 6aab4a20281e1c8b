/* Every operation of a plan, over random shapes. */
#include "tests/unit/runtime_cases.h"

static operand value(mtl_dtype dtype, int rank, const int64_t *shape)
{
    operand o = {.dtype = dtype, .rank = rank};
    for (int axis = 0; axis < rank; axis++) {
        o.shape[axis] = shape[axis];
    }
    return o;
}

static operand constant(mtl_dtype dtype, int rank, const int64_t *shape)
{
    operand o = value(dtype, rank, shape);
    o.constant = true;
    return o;
}

#define SHAPE(...)                                                                                                     \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[])                                             \
    {                                                                                                                  \
        __VA_ARGS__                                                                                                    \
    }

/* The start of a layer with four operands: for each row, for each candidate, or for all. */
static void begin_sums(op_case *c, uint64_t *seed, int layer_axes)
{
    operand *start = &c->in[3];
    int64_t kind = random_below(seed, 4);
    if (random_below(seed, 2) == 0) {
        c->in[2] = constant(MTL_F32, 0, NULL);
    }
    *start = c->out;
    for (int axis = 0; axis < start->rank - layer_axes && c->out.shape[0] == B; axis++) {
        if (axis == 0 ? kind >= 2 : kind % 2 == 1) {
            start->shape[axis] = 1;
        }
    }
    start->constant = start->shape[0] > 0;
}

static void test_linear(void **state)
{
    (void)state;
    uint64_t seed = 1;
    static const plan_unary acts[] = {PLAN_UNARY_none, PLAN_UNARY_relu, PLAN_UNARY_sigmoid};
    for (int i = 0; i < 72; i++) {
        int64_t g = i % 3 == 0 ? 1 : 1 + random_below(&seed, 5);
        int64_t k = 1 + random_below(&seed, 70), n = 1 + random_below(&seed, 70);
        op_case c = {.op = PLAN_OP_linear,
                     .function = acts[i % 3],
                     .attr_count = 3,
                     .attrs = {0, 0, i % 3 > 0 && n > 16 && i % 2 > 0 ? 16 * (n / 16) : 0},
                     .input_count = 2 + i / 3 % 3,
                     .reference = reference_linear,
                     .tolerance = 1e-5};
        c.in[1] = constant(MTL_F32, SHAPE(g, k, n));
        c.in[2] = constant(MTL_F32, SHAPE(g, n));
        int64_t middle = 1 + i % 4;
        if (g == 1 && middle > 1) {
            c.in[0] = value(MTL_F32, SHAPE(B, middle, k));
            c.out = value(MTL_F32, SHAPE(B, middle, n));
        } else if (g == 1) {
            c.in[0] = value(MTL_F32, SHAPE(rows_times(3), k));
            c.out = value(MTL_F32, SHAPE(rows_times(3), n));
        } else {
            c.in[0] = value(MTL_F32, SHAPE(B, g, k));
            c.out = value(MTL_F32, SHAPE(B, g, n));
        }
        begin_sums(&c, &seed, g > 1 ? 2 : 1);
        check_case(&c, &seed);
    }
}

/* 0 times an infinite weight is NaN: zeros of x may be left out only where no weight is infinite. */
static void test_linear_infinite(void **state)
{
    (void)state;
    enum { K = 70, N = 100, ROWS = 40 };
    static float w[K * N], x[ROWS * K], y[ROWS * N];
    uint64_t seed = 5;
    fill_random(&seed, MTL_F32, w, K * N);
    fill_random(&seed, MTL_F32, x, ROWS * K);
    for (size_t i = 0; i < ROWS * K; i++) {
        x[i] = fmaxf(x[i], 0);
    }
    w[30 * N + 90] = INFINITY;
    w[40 * N + 7] = NAN;
    maker m;
    const void *data;
    size_t size;
    maker_begin(&m);
    const uint32_t in = maker_input(&m, "x", MTL_F32, (int64_t[]){B, K}, 2);
    const uint32_t out = maker_output(&m, "y", MTL_F32, (int64_t[]){B, N}, 2);
    const uint32_t weights = maker_weights(&m, 1, K, N, w);
    maker_step(&m, PLAN_OP_linear, 0, (uint32_t[]){in, weights}, 2, out, (int64_t[]){0, 0, 0}, 3);
    maker_finish(&m, &data, &size);
    mtl_plan *plan = open_plan(data, size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_session *session = open_session(plan, 16, 0);
    mtl_error error;
    require(mtl_session_run(session, ROWS, (const void *[]){x}, (void *[]){y}, &error), &error);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t j = 0; j < N; j++) {
            const float got = y[r * N + j];
            assert_true(j == 7    ? isnan(got)
                        : j == 90 ? isnan(got) == (x[r * K + 30] == 0) && !isfinite(got)
                                  : isfinite(got));
        }
    }
    mtl_session_destroy(session);
    mtl_plan_close(plan);
    base_arena_free(&m.arena);
}

static void test_matmul(void **state)
{
    (void)state;
    uint64_t seed = 2;
    for (int i = 0; i < 30; i++) {
        int64_t m = 1 + random_below(&seed, 6), k = 1 + random_below(&seed, 20), n = 1 + random_below(&seed, 40);
        int64_t e = 2 + random_below(&seed, 3);
        op_case c = {.op = PLAN_OP_matmul, .input_count = 2, .reference = reference_matmul, .tolerance = 1e-5};
        switch (i % 5) {
        case 0: /* a batch of products */
            c.in[0] = value(MTL_F32, SHAPE(B, m, k));
            c.in[1] = value(MTL_F32, SHAPE(B, k, n));
            c.out = value(MTL_F32, SHAPE(B, m, n));
            break;
        case 1: /* one matrix for all */
            c.in[0] = value(MTL_F32, SHAPE(B, m, k));
            c.in[1] = constant(MTL_F32, SHAPE(k, n));
            c.out = value(MTL_F32, SHAPE(B, m, n));
            break;
        case 2: /* candidates as rows of the product */
            c.in[0] = value(MTL_F32, SHAPE(B, k));
            c.in[1] = constant(MTL_F32, SHAPE(e, k, n));
            c.out = value(MTL_F32, SHAPE(e, B, n));
            break;
        case 3: /* broadcast on both sides */
            c.in[0] = value(MTL_F32, SHAPE(B, 1, m, k));
            c.in[1] = constant(MTL_F32, SHAPE(e, k, n));
            c.out = value(MTL_F32, SHAPE(B, e, m, n));
            break;
        default: /* a constant on the left */
            c.in[0] = constant(MTL_F32, SHAPE(m, k));
            c.in[1] = value(MTL_F32, SHAPE(B, k, n));
            c.out = value(MTL_F32, SHAPE(B, m, n));
            break;
        }
        check_case(&c, &seed);
    }
}

static void test_unary(void **state)
{
    (void)state;
    uint64_t seed = 3;
    static const double parameters[][2] = {
        [PLAN_UNARY_elu] = {0.7},
        [PLAN_UNARY_celu] = {1.3},
        [PLAN_UNARY_selu] = {1.67, 1.05},
        [PLAN_UNARY_leaky_relu] = {0.01},
        [PLAN_UNARY_thresholded_relu] = {0.5},
        [PLAN_UNARY_hard_sigmoid] = {0.2, 0.5},
        [PLAN_UNARY_swish] = {1.5},
        [PLAN_UNARY_gelu] = {1},
        [PLAN_UNARY_clip] = {-0.5, 1.25},
        [PLAN_UNARY_isinf] = {0},
    };
    for (unsigned f = PLAN_UNARY_relu; f <= PLAN_UNARY_isinf; f++) {
        int64_t n = 1 + random_below(&seed, 50);
        op_case c = {.op = PLAN_OP_unary,
                     .function = f,
                     .attr_count = 2,
                     .input_count = 1,
                     .reference = reference_unary,
                     .tolerance = 1e-5,
                     .positive = f == PLAN_UNARY_log || f == PLAN_UNARY_sqrt || f == PLAN_UNARY_reciprocal};
        for (int i = 0; i < 2; i++) {
            c.attrs[i] = parameters[f][i] == 0 ? 0 : plan_float_attr(parameters[f][i]);
        }
        bool tests = f == PLAN_UNARY_isnan || f == PLAN_UNARY_isinf;
        mtl_dtype dtype = f == PLAN_UNARY_not ? MTL_BOOL : MTL_F32;
        c.in[0] = value(dtype, SHAPE(B, 2, n));
        c.out = value(tests ? MTL_BOOL : dtype, SHAPE(B, 2, n));
        check_case(&c, &seed);
        if (f == PLAN_UNARY_neg || f == PLAN_UNARY_abs || f == PLAN_UNARY_sign) {
            c.in[0].dtype = c.out.dtype = MTL_I32;
            check_case(&c, &seed);
            c.in[0].dtype = c.out.dtype = MTL_I64;
            check_case(&c, &seed);
        }
    }
}

/* Shapes of a, b, y for all the ways in which operands meet. */
static void broadcast_case(op_case *c, int way, uint64_t *seed)
{
    int64_t n = 2 + random_below(seed, 40), e = 2 + random_below(seed, 4);
    mtl_dtype a = c->in[0].dtype, y = c->out.dtype;
    c->in[0] = value(a, SHAPE(B, e, n));
    c->out = value(y, SHAPE(B, e, n));
    switch (way % 7) {
    case 0: c->in[1] = value(a, SHAPE(B, e, n)); break;
    case 1: c->in[1] = constant(a, SHAPE(n)); break;
    case 2: c->in[1] = constant(a, 0, NULL); break;
    case 3: c->in[1] = value(a, SHAPE(B, e, 1)); break;
    case 4: c->in[1] = value(a, SHAPE(B, 1, n)); break;
    case 5: c->in[1] = constant(a, SHAPE(e, 1)); break;
    default:
        c->in[0] = value(a, SHAPE(B, 1, n, 1));
        c->in[1] = value(a, SHAPE(B, e, 1, 3));
        c->out = value(y, SHAPE(B, e, n, 3));
        break;
    }
}

static void test_binary(void **state)
{
    (void)state;
    uint64_t seed = 4;
    static const mtl_dtype dtypes[] = {MTL_F32, MTL_I32, MTL_I64};
    for (unsigned f = PLAN_BINARY_add; f <= PLAN_BINARY_xor; f++) {
        for (int way = 0; way < 7; way++) {
            mtl_dtype dtype = f >= PLAN_BINARY_and ? MTL_BOOL : dtypes[way % 3];
            op_case c = {.op = PLAN_OP_binary,
                         .function = f,
                         .input_count = 2,
                         .reference = reference_binary,
                         .tolerance = 1e-5,
                         .positive = f == PLAN_BINARY_pow || f == PLAN_BINARY_div || f == PLAN_BINARY_mod ||
                                     f == PLAN_BINARY_fmod};
            if (f == PLAN_BINARY_pow && dtype != MTL_F32) {
                c.id_limit = 6; /* small numbers: exact in double */
            }
            c.in[0].dtype = dtype;
            c.out.dtype = f >= PLAN_BINARY_equal ? MTL_BOOL : dtype;
            broadcast_case(&c, way + (int)f, &seed);
            if (f != PLAN_BINARY_mod && f != PLAN_BINARY_fmod) {
                check_case(&c, &seed);
            } else if (dtype != MTL_F32) { /* a float remainder may differ by a whole divisor: its own test below */
                check_case(&c, &seed);
            }
        }
    }
    for (unsigned f = PLAN_BINARY_bit_and; f <= PLAN_BINARY_shift_right; f++) { /* of small numbers: exact in double */
        for (int way = 0; way < 4; way++) {
            op_case c = {.op = PLAN_OP_binary, .function = f, .input_count = 2, .reference = reference_binary};
            c.id_limit = 20;
            c.in[0].dtype = c.out.dtype = way % 2 == 0 ? MTL_I64 : MTL_I32;
            broadcast_case(&c, way, &seed);
            check_case(&c, &seed);
        }
    }
    op_case equal = {
        .op = PLAN_OP_binary, .function = PLAN_BINARY_equal, .input_count = 2, .reference = reference_binary};
    equal.in[0].dtype = equal.out.dtype = MTL_BOOL;
    broadcast_case(&equal, 3, &seed);
    check_case(&equal, &seed);
}

static void test_where(void **state)
{
    (void)state;
    uint64_t seed = 5;
    static const mtl_dtype dtypes[] = {MTL_F32, MTL_I32, MTL_I64, MTL_BOOL};
    for (int i = 0; i < 12; i++) {
        int64_t n = 1 + random_below(&seed, 20);
        mtl_dtype dtype = dtypes[i % 4];
        op_case c = {.op = PLAN_OP_where, .input_count = 3, .reference = reference_where};
        c.in[0] = i % 3 == 0 ? value(MTL_BOOL, SHAPE(B, 1)) : value(MTL_BOOL, SHAPE(B, n));
        c.in[1] = i % 3 == 1 ? constant(dtype, SHAPE(n)) : value(dtype, SHAPE(B, n));
        c.in[2] = i % 3 == 2 ? constant(dtype, 0, NULL) : value(dtype, SHAPE(B, n));
        c.out = value(dtype, SHAPE(B, n));
        check_case(&c, &seed);
    }
}

static void test_cast(void **state)
{
    (void)state;
    uint64_t seed = 6;
    static const mtl_dtype dtypes[] = {MTL_F32, MTL_F64, MTL_I32, MTL_I64, MTL_BOOL};
    for (int i = 0; i < 25; i++) {
        op_case c = {.op = PLAN_OP_cast, .input_count = 1, .reference = reference_cast};
        int64_t n = 1 + random_below(&seed, 9);
        c.in[0] = value(dtypes[i % 5], SHAPE(B, n));
        c.out = value(dtypes[i / 5], SHAPE(B, n));
        check_case(&c, &seed);
    }
}

static void test_softmax(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (int i = 0; i < 16; i++) {
        op_case c = {.op = PLAN_OP_softmax,
                     .function = i % 2 == 0 ? PLAN_SOFTMAX_softmax : PLAN_SOFTMAX_log_softmax,
                     .attr_count = 1,
                     .attrs = {1 + i / 2 % 2},
                     .input_count = 1,
                     .reference = reference_softmax,
                     .tolerance = 1e-5};
        int64_t n = 1 + random_below(&seed, 20), inner = 1 + random_below(&seed, 20);
        c.in[0] = c.out = value(MTL_F32, SHAPE(B, n, inner));
        check_case(&c, &seed);
    }
}

static void test_reduce(void **state)
{
    (void)state;
    uint64_t seed = 8;
    static const mtl_dtype dtypes[] = {MTL_F32, MTL_I32, MTL_I64};
    for (int i = 0; i < 45; i++) {
        op_case c = {.op = PLAN_OP_reduce,
                     .function = (unsigned)(PLAN_REDUCE_sum + i % 5),
                     .attr_count = 2,
                     .input_count = 1,
                     .reference = reference_reduce,
                     .tolerance = 1e-5};
        mtl_dtype dtype = dtypes[i / 15];
        int64_t n = 1 + random_below(&seed, 6), inner = 1 + random_below(&seed, 30);
        c.in[0] = value(dtype, SHAPE(B, n, 2, inner));
        int way = i / 5 % 3;
        c.attrs[0] = way == 2 ? 3 : 1;
        c.attrs[1] = way == 0 ? 2 : way == 1 ? 3 : 4;
        if (c.function == PLAN_REDUCE_prod && (dtype != MTL_F32 || way == 2)) {
            c.in[0] = value(dtype, SHAPE(B, 2, 2, 3)); /* products that a double holds exactly */
        }
        int64_t *in = c.in[0].shape;
        c.out = way == 0   ? value(dtype, SHAPE(B, in[2], in[3]))
                : way == 1 ? value(dtype, SHAPE(B, in[3]))
                           : value(dtype, SHAPE(B, in[1], in[2]));
        check_case(&c, &seed);
    }
}

static void test_layer_norm(void **state)
{
    (void)state;
    uint64_t seed = 9;
    for (int i = 0; i < 12; i++) {
        op_case c = {.op = PLAN_OP_layer_norm,
                     .attr_count = 2,
                     .attrs = {1 + i % 2, plan_float_attr(1e-5)},
                     .input_count = 1 + i / 2 % 3,
                     .reference = reference_layer_norm,
                     .tolerance = 1e-5};
        int64_t n = 1 + random_below(&seed, 4), inner = 3 + random_below(&seed, 40);
        c.in[0] = c.out = value(MTL_F32, SHAPE(B, n, inner));
        c.in[1] = c.in[2] = i % 2 == 0 ? constant(MTL_F32, SHAPE(n, inner)) : constant(MTL_F32, SHAPE(inner));
        check_case(&c, &seed);
    }
}

static void test_transpose(void **state)
{
    (void)state;
    uint64_t seed = 10;
    static const mtl_dtype dtypes[] = {MTL_F32, MTL_I64, MTL_BOOL};
    static const int64_t perms[][4] = {{0, 2, 1, 3}, {0, 3, 2, 1}, {1, 0, 2, 3}, {3, 2, 1, 0}, {0, 1, 3, 2}};
    for (int i = 0; i < 15; i++) {
        op_case c = {.op = PLAN_OP_transpose, .attr_count = 4, .input_count = 1, .reference = reference_transpose};
        int64_t shape[4] = {B, 1 + random_below(&seed, 5), 1 + random_below(&seed, 5), 1 + random_below(&seed, 9)};
        memcpy(c.attrs, perms[i % 5], sizeof perms[0]);
        c.in[0] = c.out = value(dtypes[i % 3], 4, shape);
        for (int axis = 0; axis < 4; axis++) {
            c.out.shape[axis] = shape[c.attrs[axis]];
        }
        check_case(&c, &seed);
    }
}

static void test_slice(void **state)
{
    (void)state;
    uint64_t seed = 11;
    static const mtl_dtype dtypes[] = {MTL_F32, MTL_I64, MTL_BOOL, MTL_I32};
    for (int i = 0; i < 20; i++) {
        op_case c = {
            .op = PLAN_OP_slice, .attr_count = 6, .attrs = {0, 1}, .input_count = 1, .reference = reference_slice};
        int64_t a = 2 + random_below(&seed, 6), b = 2 + random_below(&seed, 30);
        c.in[0] = value(dtypes[i % 4], SHAPE(B, a, b));
        int64_t start = random_below(&seed, b), step = 1 + random_below(&seed, 3);
        c.attrs[2] = i % 2 == 0 ? a - 1 : 0; /* backwards, or all of it */
        c.attrs[3] = i % 2 == 0 ? -1 : 1;
        c.attrs[4] = start;
        c.attrs[5] = step;
        c.out = value(dtypes[i % 4], SHAPE(B, a, (b - start + step - 1) / step));
        check_case(&c, &seed);
    }
}

static void test_concat(void **state)
{
    (void)state;
    uint64_t seed = 12;
    for (int i = 0; i < 12; i++) {
        op_case c = {.op = PLAN_OP_concat,
                     .attr_count = 1,
                     .attrs = {1 + i % 2},
                     .input_count = 1 + i % 4,
                     .reference = reference_concat};
        mtl_dtype dtype = i % 3 == 0 ? MTL_I64 : MTL_F32;
        c.out = value(dtype, SHAPE(B, 3, 5));
        int axis = (int)c.attrs[0];
        c.out.shape[axis] = 0;
        for (int part = 0; part < c.input_count; part++) {
            c.in[part] = value(dtype, SHAPE(B, 3, 5));
            c.in[part].shape[axis] = 1 + random_below(&seed, 20);
            c.out.shape[axis] += c.in[part].shape[axis];
        }
        check_case(&c, &seed);
    }
}

static void test_expand(void **state)
{
    (void)state;
    uint64_t seed = 13;
    for (int i = 0; i < 8; i++) {
        op_case c = {.op = PLAN_OP_expand, .input_count = 1, .reference = reference_expand};
        int64_t n = 1 + random_below(&seed, 9), e = 1 + random_below(&seed, 5);
        mtl_dtype dtype = i % 2 == 0 ? MTL_F32 : MTL_I64;
        c.in[0] = i < 4 ? value(dtype, SHAPE(B, 1, n)) : value(dtype, SHAPE(B, e, 1));
        c.out = value(dtype, SHAPE(B, e, n));
        check_case(&c, &seed);
    }
}

static void test_bag(void **state)
{
    (void)state;
    uint64_t seed = 15;
    for (int i = 0; i < 24; i++) {
        op_case c = {
            .op = PLAN_OP_bag, .attr_count = 9, .input_count = 2, .reference = reference_bag, .tolerance = 1e-5};
        int64_t n = 1 + random_below(&seed, 30), k = 1 + random_below(&seed, 70), length = 1 + random_below(&seed, 90);
        mtl_dtype ids = i % 2 == 0 ? MTL_I64 : MTL_I32;
        bool fields = i % 5 == 4;
        c.function = PLAN_BAG_sum + (unsigned)i % 3;
        c.id_limit = n;
        c.in[0] = constant(MTL_F32, SHAPE(n, k));
        c.in[1] = fields ? value(ids, SHAPE(B, 3, length)) : value(ids, SHAPE(B, length));
        c.out = fields ? value(MTL_F32, SHAPE(B, 3, k)) : value(MTL_F32, SHAPE(B, k));
        if (i % 4 == 1 && c.function != PLAN_BAG_mean) {
            c.in[c.input_count] = c.in[1];
            c.in[c.input_count++].dtype = MTL_F32;
        } else if (i % 4 != 2) {
            c.attrs[PLAN_BAG_PADDED] = 1;
            c.attrs[PLAN_BAG_LAST] = random_below(&seed, (uint32_t)n);
        }
        c.attrs[PLAN_BAG_POLICY] = i % 8 < 4 ? 0 : PLAN_IDS_zero;
        if (c.function == PLAN_BAG_max && (c.attrs[PLAN_BAG_PADDED] != 0 || c.input_count > 2)) {
            c.attrs[PLAN_BAG_A] = plan_float_attr(-3);
        }
        if (c.function == PLAN_BAG_mean) {
            c.attrs[PLAN_BAG_A] = plan_float_attr(i % 4 == 0 ? 0.5 : 0);
            c.attrs[PLAN_BAG_B] = plan_float_attr(1);
        }
        check_case(&c, &seed);
    }
}

static void test_gather(void **state)
{
    (void)state;
    uint64_t seed = 14;
    for (int i = 0; i < 16; i++) {
        op_case c = {.op = PLAN_OP_gather, .attr_count = 1, .input_count = 2, .reference = reference_gather};
        int64_t count = 1 + random_below(&seed, 30), d = 1 + random_below(&seed, 20), l = 1 + random_below(&seed, 5);
        mtl_dtype ids = i % 2 == 0 ? MTL_I64 : MTL_I32;
        c.id_limit = count;
        if (i % 4 < 2) { /* a table */
            c.in[0] = constant(MTL_F32, SHAPE(count, d));
            c.in[1] = value(ids, SHAPE(B, l));
            c.out = value(MTL_F32, SHAPE(B, l, d));
        } else { /* some parts of every candidate */
            c.attrs[0] = 1;
            c.in[0] = value(MTL_F32, SHAPE(B, count, d));
            c.in[1] = i < 8 ? constant(ids, 0, NULL) : constant(ids, SHAPE(l));
            c.out = i < 8 ? value(MTL_F32, SHAPE(B, d)) : value(MTL_F32, SHAPE(B, l, d));
        }
        check_case(&c, &seed);
    }
}

static void test_batch_gather(void **state)
{
    (void)state;
    uint64_t seed = 18;
    for (int i = 0; i < 20; i++) {
        op_case c = {.op = PLAN_OP_batch_gather, .attr_count = 1, .attrs = {1 + i % 2}, .input_count = 2};
        c.reference = reference_batch_gather;
        int64_t count = 1 + random_below(&seed, 30), d = 1 + random_below(&seed, 20), l = 1 + random_below(&seed, 5);
        mtl_dtype ids = i % 4 < 2 ? MTL_I64 : MTL_I32, dtype = i % 5 == 0 ? MTL_I64 : MTL_F32;
        c.id_limit = count;
        if (i % 2 == 0) { /* (B, count, d) by (B) or (B, l) */
            c.in[0] = value(dtype, SHAPE(B, count, d));
            c.in[1] = i % 8 < 4 ? value(ids, SHAPE(B)) : value(ids, SHAPE(B, l));
            c.out = i % 8 < 4 ? value(dtype, SHAPE(B, d)) : value(dtype, SHAPE(B, l, d));
        } else { /* (B, d, count) by (B, d, l) */
            c.in[0] = value(dtype, SHAPE(B, d, count));
            c.in[1] = value(ids, SHAPE(B, d, l));
            c.out = value(dtype, SHAPE(B, d, l));
        }
        check_case(&c, &seed);
    }
}

static void test_top_k(void **state)
{
    (void)state;
    uint64_t seed = 19;
    static const mtl_dtype dtypes[] = {MTL_F32, MTL_I32, MTL_I64};
    for (int i = 0; i < 30; i++) {
        mtl_dtype dtype = dtypes[i % 3];
        int64_t n = 1 + random_below(&seed, 30), k = 1 + random_below(&seed, (uint64_t)n);
        int64_t inner = i % 4 == 0 ? 1 + random_below(&seed, 20) : 1;
        op_case c = {.op = PLAN_OP_top_k, .attr_count = 2, .attrs = {1, i / 2 % 2}, .input_count = 1};
        c.reference = reference_top_k;
        c.id_limit = 6; /* of integers: many equal ones */
        c.in[0] = value(dtype, SHAPE(B, n, inner));
        c.out = value(MTL_I64, SHAPE(B, k, inner));
        check_case(&c, &seed);
    }
}

static void test_mix(void **state)
{
    (void)state;
    uint64_t seed = 15;
    for (int i = 0; i < 16; i++) {
        int64_t tasks = 1 + random_below(&seed, 3), experts = 1 + random_below(&seed, 5);
        int64_t vectors = 1 + random_below(&seed, 6), h = 1 + random_below(&seed, 40);
        op_case c = {.op = PLAN_OP_mix,
                     .function = i % 4 == 3 ? PLAN_MIX_none : PLAN_MIX_softmax,
                     .attr_count = (int)(tasks * experts),
                     .input_count = 2,
                     .reference = reference_mix,
                     .tolerance = 1e-5};
        bool same = i % 2 == 0;
        for (int64_t e = 0; e < tasks * experts; e++) {
            c.attrs[e] = same && e >= experts ? c.attrs[e - experts] : random_below(&seed, vectors);
        }
        c.in[0] = i % 4 > 1 ? constant(MTL_F32, SHAPE(1, tasks, experts)) : value(MTL_F32, SHAPE(B, tasks, experts));
        c.in[1] = i % 8 == 0 ? constant(MTL_F32, SHAPE(1, vectors, h)) : value(MTL_F32, SHAPE(B, vectors, h));
        c.out = value(MTL_F32, SHAPE(B, tasks, h));
        check_case(&c, &seed);
    }
}

static void test_gru(void **state)
{
    (void)state;
    uint64_t seed = 18;
    for (int i = 0; i < 12; i++) {
        int64_t steps = 1 + random_below(&seed, 5), hidden = 1 + random_below(&seed, 40);
        op_case c = {.op = PLAN_OP_gru,
                     .attr_count = 1,
                     .attrs = {i / 2 % 2},
                     .input_count = i % 2 == 0 ? 4 : 3,
                     .reference = reference_gru,
                     .tolerance = 1e-4};
        c.in[0] = value(MTL_F32, SHAPE(B, steps, 3 * hidden));
        c.in[1] = constant(MTL_F32, SHAPE(3, hidden, hidden));
        c.in[2] = constant(MTL_F32, SHAPE(1, hidden));
        c.in[3] = value(MTL_F32, SHAPE(B, hidden));
        c.out = value(MTL_F32, SHAPE(B, steps, hidden));
        check_case(&c, &seed);
    }
}

static void test_scan(void **state)
{
    (void)state;
    uint64_t seed = 16;
    static const mtl_dtype dtypes[] = {MTL_F32, MTL_I32, MTL_I64};
    for (int i = 0; i < 24; i++) {
        mtl_dtype dtype = dtypes[i % 3];
        op_case c = {.op = PLAN_OP_scan,
                     .function = i % 2 == 0 ? PLAN_SCAN_sum : PLAN_SCAN_prod,
                     .attr_count = 6,
                     .attrs = {1, i / 2 % 2, i / 4 % 2, i % 6 == 0 ? PLAN_UNARY_sigmoid : 0},
                     .input_count = 1,
                     .reference = reference_scan,
                     .tolerance = 1e-5};
        int64_t n = 1 + random_below(&seed, 3), inner = i / 8 == 0 ? 1 : 1 + random_below(&seed, 40);
        c.id_limit = 6; /* of integers: products that a double holds exactly */
        c.in[0] = c.out = value(dtype, SHAPE(B, n, inner));
        check_case(&c, &seed);
    }
}

/* Random functions over all elements, columns of the last axes and of the last one, and single numbers. */
static void test_chain(void **state)
{
    (void)state;
    uint64_t seed = 17;
    static const plan_unary unaries[] = {PLAN_UNARY_relu, PLAN_UNARY_sigmoid, PLAN_UNARY_leaky_relu};
    static const plan_binary binaries[] = {PLAN_BINARY_add, PLAN_BINARY_sub, PLAN_BINARY_mul, PLAN_BINARY_max,
                                           PLAN_BINARY_prelu};
    static const int64_t widths[] = {1, 3, 8, 17, 40, 127, 128, 300, 700};
    for (int i = 0; i < 54; i++) {
        int64_t g = 1 + random_below(&seed, 3), n = widths[i % 9];
        int functions = 1 + (int)random_below(&seed, 4);
        op_case c = {.op = PLAN_OP_chain,
                     .attr_count = functions * PLAN_CHAIN_ATTRS,
                     .input_count = 4,
                     .reference = reference_chain,
                     .tolerance = 1e-5};
        for (int64_t *link = c.attrs; link < c.attrs + c.attr_count; link += PLAN_CHAIN_ATTRS) {
            bool binary = random_below(&seed, 3) > 0;
            link[PLAN_CHAIN_FUNCTION] = binary ? (int64_t)binaries[random_below(&seed, 5)] : (int64_t)unaries[i % 3];
            link[PLAN_CHAIN_OPERAND] = binary ? 1 + random_below(&seed, 3) : 0;
            link[PLAN_CHAIN_SIDE] = binary ? random_below(&seed, 2) : 0;
            double alpha = 0.25;
            memcpy(&link[PLAN_CHAIN_A], &alpha, !binary && unaries[i % 3] == PLAN_UNARY_leaky_relu ? sizeof alpha : 0);
        }
        c.out = i % 2 == 0 ? value(MTL_F32, SHAPE(B, g, n)) : value(MTL_F32, SHAPE(rows_times(g), n));
        c.in[0] = c.in[1] = c.out;
        c.in[2] = i % 2 == 0 ? constant(MTL_F32, SHAPE(1, g, n)) : constant(MTL_F32, SHAPE(n));
        c.in[3] = i % 4 < 2 ? constant(MTL_F32, SHAPE(1)) : constant(MTL_F32, SHAPE(n));
        check_case(&c, &seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),       cmocka_unit_test(test_linear_infinite),
        cmocka_unit_test(test_matmul),       cmocka_unit_test(test_unary),
        cmocka_unit_test(test_binary),       cmocka_unit_test(test_where),
        cmocka_unit_test(test_cast),         cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_reduce),       cmocka_unit_test(test_layer_norm),
        cmocka_unit_test(test_transpose),    cmocka_unit_test(test_slice),
        cmocka_unit_test(test_concat),       cmocka_unit_test(test_expand),
        cmocka_unit_test(test_gather),       cmocka_unit_test(test_bag),
        cmocka_unit_test(test_mix),          cmocka_unit_test(test_gru),
        cmocka_unit_test(test_scan),         cmocka_unit_test(test_chain),
        cmocka_unit_test(test_batch_gather), cmocka_unit_test(test_top_k),
    };
    return cmocka_run_group_tests_name("runtime ops", tests, NULL, NULL);
}
