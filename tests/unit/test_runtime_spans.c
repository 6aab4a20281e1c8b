/* Steps in spans, against the same steps over all positions: every ISA of this CPU, both providers, masks of every kind,
 * and no bit that depends on rows, tiles, or on what lies outside of the spans. */
#include "tests/unit/runtime_helpers.h"

enum { LENGTH = 21, IN = 5, WIDTH = 12, HEADS = 3, MOST_ROWS = 40 };

typedef struct batch {
    float x[MOST_ROWS * LENGTH * IN], weights[MOST_ROWS * LENGTH];
    uint8_t mask[MOST_ROWS * LENGTH];
} batch;

typedef struct plan_maker {
    maker m;
    bool spans, whole;
    uint32_t mask;
    uint64_t seed;
} plan_maker;

static uint32_t positions(plan_maker *p)
{
    return maker_row(&p->m, MTL_F32, (int64_t[]){B, LENGTH, WIDTH}, 3);
}

static uint32_t constant(plan_maker *p, int64_t rows, int64_t columns, int rank)
{
    float numbers[LENGTH * WIDTH];
    fill_random(&p->seed, MTL_F32, numbers, (size_t)(rows * columns));
    const int64_t shape[] = {rows, columns};
    return maker_const(&p->m, MTL_F32, shape + 2 - rank, rank, numbers);
}

static uint32_t step(plan_maker *p, plan_op op, unsigned function, const uint32_t *inputs, size_t count,
                     uint32_t output, const int64_t *attrs, size_t attr_count)
{
    maker_step(&p->m, op, function, inputs, count, output, attrs, attr_count);
    if (p->spans) {
        plan_add_span(p->m.builder, p->mask, p->whole);
    }
    return output;
}

static uint32_t linear(plan_maker *p, uint32_t x, int64_t k)
{
    float w[WIDTH * WIDTH], bias[WIDTH];
    fill_random(&p->seed, MTL_F32, w, (size_t)(k * WIDTH));
    fill_random(&p->seed, MTL_F32, bias, WIDTH);
    for (int64_t i = 0; i < k * WIDTH; i++) {
        w[i] *= 0.3f;
    }
    const uint32_t inputs[] = {x, maker_weights(&p->m, 1, k, WIDTH, w), maker_bias(&p->m, 1, WIDTH, bias)};
    return step(p, PLAN_OP_linear, PLAN_UNARY_relu, inputs, 3, positions(p), (int64_t[3]){0}, 3);
}

/* A block of a Transformer, with everything that a span may have, and the sum of its positions. */
static void build(plan_maker *p, bool spans, bool whole, const void **data, size_t *size)
{
    *p = (plan_maker){.seed = 7};
    maker *m = &p->m;
    maker_begin(m);
    const uint32_t x = maker_input(m, "x", MTL_F32, (int64_t[]){B, LENGTH, IN}, 3);
    p->mask = maker_input(m, "mask", MTL_BOOL, (int64_t[]){B, LENGTH}, 2);
    const uint32_t shares = maker_input(m, "shares", MTL_F32, (int64_t[]){B, 1, LENGTH}, 3);
    const uint32_t y = maker_output(m, "y", MTL_F32, (int64_t[]){B, 1, WIDTH}, 3);
    const plan_tensor view = {.dtype = MTL_BOOL, .storage = PLAN_STORAGE_INPUT, .index = 1};
    const uint32_t keep = maker_tensor(m, "keep", view, (int64_t[]){B, 1, 1, LENGTH}, 4);
    /* One mask in the callers' memory, one in the workspace. */
    const uint32_t inverse = maker_row(m, MTL_BOOL, (int64_t[]){B, LENGTH}, 2);
    const uint32_t again = maker_row(m, MTL_BOOL, (int64_t[]){B, LENGTH}, 2);
    maker_step(m, PLAN_OP_unary, PLAN_UNARY_not, &p->mask, 1, inverse, (int64_t[2]){0}, 2);
    maker_step(m, PLAN_OP_unary, PLAN_UNARY_not, &inverse, 1, again, (int64_t[2]){0}, 2);
    p->mask = again;
    p->spans = spans;
    p->whole = whole;
    uint32_t u = linear(p, x, IN), norm;
    u = step(p, PLAN_OP_unary, PLAN_UNARY_tanh, &u, 1, u, (int64_t[2]){0}, 2);
    u = step(p, PLAN_OP_binary, PLAN_BINARY_add, (uint32_t[]){constant(p, LENGTH, WIDTH, 2), u}, 2, positions(p), NULL,
             0);
    int64_t attrs[PLAN_ATTENTION_ATTRS] = {HEADS, 0, 0, 0, WIDTH / HEADS, WIDTH / HEADS, 0, 0, whole ? 0 : 2};
    attrs[PLAN_ATTENTION_SCALE] = plan_float_attr(0.5);
    attrs[PLAN_ATTENTION_FILL] = plan_float_attr((double)-INFINITY);
    const uint32_t a = step(p, PLAN_OP_attention, 0, (uint32_t[]){u, u, u, PLAN_NONE, keep}, 5, positions(p), attrs,
                            PLAN_ATTENTION_ATTRS);
    u = step(p, PLAN_OP_binary, PLAN_BINARY_mul, (uint32_t[]){a, constant(p, 1, WIDTH, 1)}, 2, positions(p), NULL, 0);
    const int64_t chain[2 * PLAN_CHAIN_ATTRS] = {PLAN_BINARY_add, 1, 0, 0, 0, PLAN_BINARY_sub, 2, 1, 0, 0};
    u = step(p, PLAN_OP_chain, 0, (uint32_t[]){u, a, constant(p, 1, WIDTH, 1)}, 3, positions(p), chain,
             2 * PLAN_CHAIN_ATTRS);
    const int64_t places[PLAN_CHAIN_ATTRS] = {PLAN_BINARY_mul, 1, 0, 0, 0};
    u = step(p, PLAN_OP_chain, 0, (uint32_t[]){u, constant(p, LENGTH, WIDTH, 2)}, 2, positions(p), places,
             PLAN_CHAIN_ATTRS);
    norm = step(p, PLAN_OP_layer_norm, 0, (uint32_t[]){u, constant(p, 1, WIDTH, 1), constant(p, 1, WIDTH, 1)}, 3,
                positions(p), (int64_t[]){2, plan_float_attr(1e-5)}, 2);
    u = linear(p, norm, WIDTH);
    int64_t index[LENGTH];
    for (int i = 0; i < LENGTH; i++) {
        index[i] = i;
    }
    step(p, PLAN_OP_mix, 0, (uint32_t[]){shares, u}, 2, y, index, LENGTH);
    maker_finish(m, data, size);
}

/* Sequences that begin or end with padding, that have holes, that are full or empty. */
static void fill_batch(uint64_t *seed, batch *b)
{
    fill_random(seed, MTL_F32, b->x, sizeof b->x / sizeof b->x[0]);
    for (int row = 0; row < MOST_ROWS; row++) {
        const int64_t kind = random_below(seed, 6), first = random_below(seed, LENGTH);
        const int64_t last = first + random_below(seed, LENGTH - first);
        for (int i = 0; i < LENGTH; i++) {
            const bool keeps[] = {i <= last, i >= first, i >= first && i <= last,
                                  true,      false,      random_below(seed, 3) == 0};
            b->mask[row * LENGTH + i] = keeps[kind];
            b->weights[row * LENGTH + i] = keeps[kind] ? 1.0f : 0.0f;
        }
    }
}

/* Puts NaN outside of the spans, but not where all positions count for a candidate without keys. */
static void spoil(batch *b, bool whole)
{
    for (int row = 0; row < MOST_ROWS; row++) {
        int first = 0, last = LENGTH;
        const uint8_t *mask = &b->mask[row * LENGTH];
        while (first < LENGTH && mask[first] == 0) {
            first++;
        }
        while (last > first && mask[last - 1] == 0) {
            last--;
        }
        for (int i = 0; i < LENGTH && (last > 0 || !whole); i++) {
            for (int column = 0; column < IN && (i < first || i >= last); column++) {
                b->x[(row * LENGTH + i) * IN + column] = NAN;
            }
        }
    }
}

static void score(mtl_plan *plan, size_t tile_rows, const batch *b, int64_t first, int64_t rows, float *y)
{
    mtl_error error;
    mtl_session *session = open_session(plan, tile_rows, 0);
    const void *const inputs[] = {b->x + first * LENGTH * IN, b->mask + first * LENGTH, b->weights + first * LENGTH};
    require(mtl_session_run(session, rows, inputs, (void *[]){y}, &error), &error);
    mtl_session_destroy(session);
}

static void check_plans(mtl_plan *spans, mtl_plan *all, bool whole, bool same_bits, uint64_t *seed)
{
    batch *b = malloc(sizeof *b);
    float expected[MOST_ROWS * WIDTH], found[MOST_ROWS * WIDTH], one[WIDTH];
    assert_non_null(b);
    fill_batch(seed, b);
    score(all, 16, b, 0, MOST_ROWS, expected);
    spoil(b, whole);
    score(spans, 16, b, 0, MOST_ROWS, found);
    for (int i = 0; i < MOST_ROWS * WIDTH; i++) {
        const float scale = fmaxf(1, fabsf(expected[i]));
        const bool nan = isnan(found[i]) && isnan(expected[i]); /* of a candidate without keys */
        if (!nan && !(fabsf(found[i] - expected[i]) <= 2e-5f * scale)) {
            fail_msg("row %d, column %d: %.9g, expected %.9g", i / WIDTH, i % WIDTH, (double)found[i],
                     (double)expected[i]);
        }
    }
    for (int row = 0; same_bits && row < MOST_ROWS; row++) {
        score(spans, 16, b, row, 1, one);
        assert_memory_equal(one, found + row * WIDTH, sizeof one);
    }
    if (same_bits) {
        score(spans, 32, b, 0, MOST_ROWS, expected);
        assert_memory_equal(expected, found, sizeof found);
    }
    free(b);
}

/* `whole`: what the spans are of candidates without keys. */
static void check_spans(bool whole)
{
    static const mtl_isa isas[] = {MTL_ISA_GENERIC, MTL_ISA_AVX2, MTL_ISA_AVX512};
    static const mtl_provider providers[] = {MTL_PROVIDER_AUTO, MTL_PROVIDER_ONEDNN};
    plan_maker p, q;
    const void *data[2];
    size_t size[2];
    uint64_t seed = 11;
    build(&p, true, whole, &data[0], &size[0]);
    build(&q, false, whole, &data[1], &size[1]);
    for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
        mtl_plan_options options = {.struct_size = sizeof options, .isa = isas[i]};
        mtl_plan *plan;
        if (mtl_plan_open_memory(data[0], size[0], &options, &plan, NULL) == MTL_UNSUPPORTED) {
            continue; /* not an ISA of this CPU */
        }
        mtl_plan_close(plan);
        for (size_t j = 0; j < sizeof providers / sizeof providers[0]; j++) {
            mtl_plan *spans = open_plan(data[0], size[0], providers[j], isas[i]);
            mtl_plan *all = open_plan(data[1], size[1], providers[j], isas[i]);
            for (int round = 0; round < 5; round++) {
                check_plans(spans, all, whole, providers[j] != MTL_PROVIDER_ONEDNN, &seed);
            }
            mtl_plan_close(spans);
            mtl_plan_close(all);
        }
    }
    base_arena_free(&p.m.arena);
    base_arena_free(&q.m.arena);
}

static void positions_outside_count_for_nothing(void **state)
{
    (void)state;
    check_spans(false);
}

static void candidates_without_keys_are_nan(void **state)
{
    (void)state;
    check_spans(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(positions_outside_count_for_nothing),
        cmocka_unit_test(candidates_without_keys_are_nan),
    };
    return cmocka_run_group_tests_name("runtime_spans", tests, NULL, NULL);
}
