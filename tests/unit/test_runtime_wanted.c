#define _POSIX_C_SOURCE 200809L /* posix_memalign */
/* mtl_session_want: every choice of outputs gives the bits of all of them, touches no other, computes with nothing that
 * was not computed, and leaves out what it should. */
#include "tests/unit/plan_fixture.h"
#include "tests/unit/runtime_ranker.h"

#include <fenv.h>

#include "runtime/native/native.h"
#include "runtime/wanted.h"

/* Three tasks over packed experts and gates, as the passes lay them out, and what else steps do with them. */
enum {
    X = 20,
    TASKS = 3,
    EXPERTS = 8,
    OWN = 4, /* experts of a gate */
    WIDE = 32,
    PACKED = EXPERTS * WIDE + TASKS * OWN,
    TOWER = 24,
    ITEMS = 11,
    ROWS = 70,
    A = 0, /* outputs: the chances that the steps until here have happened, */
    B_ = 1,
    C = 2,
    PRODUCT, /* a x b, which reads both */
    TURNED,  /* all logits, (TASKS, B) */
    FOUND,   /* of a table */
    COUNT,   /* of rows */
    OUTPUTS,
};

static uint32_t window(maker *m, uint32_t storage, uint32_t index, uint64_t offset, const int64_t *shape, int rank,
                       uint32_t start, uint32_t pitch)
{
    plan_tensor record = {.dtype = MTL_F32,
                          .storage = (uint8_t)storage,
                          .index = index,
                          .offset = offset,
                          .start = start,
                          .pitch = pitch};
    return maker_tensor(m, "window", record, shape, rank);
}

static uint32_t random_weights(maker *m, uint64_t *seed, int64_t g, int64_t k, int64_t n)
{
    float *w = BASE_NEW_ARRAY(&m->arena, float, (size_t)(g * k * n));
    fill_random(seed, MTL_F32, w, (size_t)(g * k * n));
    for (int64_t i = 0; i < g * k * n; i++) {
        w[i] *= 0.1f;
    }
    return maker_weights(m, g, k, n, w);
}

static uint32_t random_bias(maker *m, uint64_t *seed, int64_t g, int64_t n)
{
    float *bias = BASE_NEW_ARRAY(&m->arena, float, (size_t)(g * n));
    fill_random(seed, MTL_F32, bias, (size_t)(g * n));
    return maker_bias(m, g, n, bias);
}

/* Experts and gates in one product, second layers, gates with their experts, towers. Returns (B, TASKS, TOWER). */
static uint32_t build_towers(maker *m, uint64_t *seed, uint32_t x)
{
    const int64_t gates[3 * OWN] = {0, 1, 6, 7, 2, 3, 6, 7, 4, 5, 7, 6};
    const uint64_t at = m->meta.row_bytes;
    uint32_t packed = maker_row(m, MTL_F32, (int64_t[]){B, PACKED}, 2);
    uint32_t experts = window(m, PLAN_STORAGE_ROW, 0, at, (int64_t[]){B, EXPERTS, WIDE}, 3, 0, PACKED);
    uint32_t logits = window(m, PLAN_STORAGE_ROW, 0, at, (int64_t[]){B, TASKS, OWN}, 3, EXPERTS * WIDE, PACKED);
    uint32_t second = maker_row(m, MTL_F32, (int64_t[]){B, EXPERTS, WIDE}, 3);
    uint32_t mixed = maker_row(m, MTL_F32, (int64_t[]){B, TASKS, WIDE}, 3);
    uint32_t towers = maker_row(m, MTL_F32, (int64_t[]){B, TASKS, TOWER}, 3);
    uint32_t normed = maker_row(m, MTL_F32, (int64_t[]){B, TASKS, TOWER}, 3);
    uint32_t chained = maker_row(m, MTL_F32, (int64_t[]){B, TASKS, TOWER}, 3);
    float scale[TOWER];
    fill_random(seed, MTL_F32, scale, TOWER);
    uint32_t scales = maker_const(m, MTL_F32, (int64_t[]){TOWER}, 1, scale);
    maker_step(m, PLAN_OP_linear, PLAN_UNARY_gelu,
               (uint32_t[]){x, random_weights(m, seed, 1, X, PACKED), random_bias(m, seed, 1, PACKED)}, 3, packed,
               (int64_t[]){0, 0, EXPERTS * WIDE}, 3);
    maker_step(m, PLAN_OP_linear, PLAN_UNARY_relu,
               (uint32_t[]){experts, random_weights(m, seed, EXPERTS, WIDE, WIDE), random_bias(m, seed, EXPERTS, WIDE)},
               3, second, (int64_t[]){0, 0, 0}, 3);
    maker_step(m, PLAN_OP_mix, PLAN_MIX_softmax, (uint32_t[]){logits, second}, 2, mixed, gates, 3 * OWN);
    maker_step(m, PLAN_OP_linear, 0, (uint32_t[]){mixed, random_weights(m, seed, TASKS, WIDE, TOWER)}, 2, towers,
               (int64_t[]){0, 0, 0}, 3);
    maker_step(m, PLAN_OP_layer_norm, 0, (uint32_t[]){towers, scales}, 2, normed, (int64_t[]){2, plan_float_attr(1e-5)},
               2);
    const int64_t chain[2 * PLAN_CHAIN_ATTRS] = {PLAN_BINARY_prelu,   1, 0, plan_float_attr(0), plan_float_attr(0),
                                                 PLAN_UNARY_softplus, 0, 0, plan_float_attr(0), plan_float_attr(0)};
    maker_step(m, PLAN_OP_chain, 0, (uint32_t[]){normed, scales}, 2, chained, chain, 2 * PLAN_CHAIN_ATTRS);
    maker_step(m, PLAN_OP_unary, PLAN_UNARY_exp, (uint32_t[]){chained}, 1, normed, (int64_t[]){0, 0}, 2);
    maker_step(m, PLAN_OP_unary, PLAN_UNARY_log, (uint32_t[]){normed}, 1, normed, (int64_t[]){0, 0}, 2);
    return normed;
}

/* A head for each task, into one value; then sums over the tasks so far, through sigmoid. */
static void build_heads(maker *m, uint64_t *seed, uint64_t towers_at, const uint32_t *outputs)
{
    const uint64_t at = m->meta.row_bytes;
    uint32_t logits = maker_row(m, MTL_F32, (int64_t[]){B, TASKS}, 2);
    uint32_t shifted = maker_row(m, MTL_F32, (int64_t[]){B, TASKS}, 2);
    uint32_t chances = maker_row(m, MTL_F32, (int64_t[]){B, TASKS}, 2);
    uint32_t turned = maker_row(m, MTL_F32, (int64_t[]){TASKS, B}, 2);
    float shift[TASKS];
    fill_random(seed, MTL_F32, shift, TASKS);
    for (uint32_t t = 0; t < TASKS; t++) {
        uint32_t tower = window(m, PLAN_STORAGE_ROW, 0, towers_at, (int64_t[]){B, TOWER}, 2, t * TOWER, TASKS * TOWER);
        uint32_t logit = window(m, PLAN_STORAGE_ROW, 0, at, (int64_t[]){B, 1}, 2, t, TASKS);
        maker_step(m, PLAN_OP_linear, 0, (uint32_t[]){tower, random_weights(m, seed, 1, TOWER, 1)}, 2, logit,
                   (int64_t[]){0, 0, 0}, 3);
    }
    maker_step(m, PLAN_OP_binary, PLAN_BINARY_sub,
               (uint32_t[]){logits, maker_const(m, MTL_F32, (int64_t[]){TASKS}, 1, shift)}, 2, shifted, NULL, 0);
    maker_step(m, PLAN_OP_scan, PLAN_SCAN_sum, &shifted, 1, chances, (int64_t[]){1, 0, 0, PLAN_UNARY_sigmoid, 0, 0}, 6);
    for (int64_t t = 0; t < TASKS; t++) {
        maker_step(m, PLAN_OP_slice, 0, &chances, 1, outputs[t], (int64_t[]){0, 1, t, 1}, 4);
    }
    maker_step(m, PLAN_OP_binary, PLAN_BINARY_mul, (uint32_t[]){outputs[A], outputs[B_]}, 2, outputs[PRODUCT], NULL, 0);
    maker_step(m, PLAN_OP_transpose, 0, &logits, 1, turned, (int64_t[]){1, 0}, 2);
    maker_step(m, PLAN_OP_store, 0, &turned, 1, outputs[TURNED], NULL, 0);
}

static void build(maker *m)
{
    uint64_t seed = 3, towers_at;
    float table[ITEMS * WIDTH];
    uint32_t outputs[OUTPUTS];
    static const char *const names[OUTPUTS] = {"a", "b", "c", "product", "turned", "found", "count"};
    maker_begin(m);
    uint32_t x = maker_input(m, "x", MTL_F32, (int64_t[]){B, X}, 2);
    uint32_t id = maker_input(m, "id", MTL_I64, (int64_t[]){B}, 1);
    for (int i = 0; i < OUTPUTS; i++) {
        outputs[i] = i == TURNED  ? maker_output(m, names[i], MTL_F32, (int64_t[]){TASKS, B}, 2)
                     : i == FOUND ? maker_output(m, names[i], MTL_F32, (int64_t[]){B, WIDTH}, 2)
                     : i == COUNT ? maker_output(m, names[i], MTL_I64, (int64_t[]){1}, 1)
                                  : maker_output(m, names[i], MTL_F32, (int64_t[]){B, 1}, 2);
    }
    fill_random(&seed, MTL_F32, table, ITEMS * WIDTH);
    maker_step(m, PLAN_OP_extents, 0, NULL, 0, outputs[COUNT], (int64_t[]){0, 1}, 2);
    m->meta.request_step_count = 1;
    build_towers(m, &seed, x);
    towers_at = m->meta.row_bytes - 2 * sizeof(float) * TASKS * TOWER;
    build_heads(m, &seed, towers_at, outputs);
    maker_step(m, PLAN_OP_gather, 0, (uint32_t[]){maker_const(m, MTL_F32, (int64_t[]){ITEMS, WIDTH}, 2, table), id}, 2,
               outputs[FOUND], (int64_t[]){0}, 1);
}

/* --- calls --- */

typedef struct fixture {
    maker m;
    const void *data;
    size_t size;
    float x[ROWS * X];
    int64_t id[ROWS];
    const void *inputs[2];
} fixture;

enum { MOST_BYTES = ROWS * WIDTH * sizeof(float) };

typedef struct scores {
    _Alignas(8) unsigned char bytes[OUTPUTS][MOST_BYTES];
    void *pointers[OUTPUTS];
} scores;

static size_t bytes_of(int output, int64_t rows)
{
    size_t n = (size_t)rows;
    return output == COUNT    ? sizeof(int64_t)
           : output == TURNED ? n * TASKS * sizeof(float)
           : output == FOUND  ? n * WIDTH * sizeof(float)
                              : n * sizeof(float);
}

static void scores_begin(scores *s)
{
    memset(s->bytes, 0xee, sizeof s->bytes);
    for (int i = 0; i < OUTPUTS; i++) {
        s->pointers[i] = s->bytes[i];
    }
}

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    uint64_t seed = 5;
    build(&f->m);
    maker_finish(&f->m, &f->data, &f->size);
    fill_random(&seed, MTL_F32, f->x, ROWS * X);
    for (int i = 0; i < ROWS; i++) {
        f->id[i] = random_below(&seed, ITEMS);
    }
    f->inputs[0] = f->x;
    f->inputs[1] = f->id;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    base_arena_free(&f->m.arena);
    free(f);
    return 0;
}

static void choose(mtl_session *session, unsigned mask, unsigned char *wanted)
{
    mtl_error error;
    for (int i = 0; i < OUTPUTS; i++) {
        wanted[i] = mask >> i & 1;
    }
    require(mtl_session_want(session, wanted, &error), &error);
}

/* Fills the tiles' values with what raises FE_INVALID in any arithmetic. */
static void poison(mtl_session *session)
{
    uint32_t *at = (uint32_t *)(void *)session->row;
    for (size_t i = 0; i < session->threads * session->tile_bytes / sizeof *at; i++) {
        at[i] = 0x7fa00000; /* a signalling NaN */
    }
}

static void check_choice(const fixture *f, mtl_session *session, int64_t rows, unsigned mask, const scores *want)
{
    unsigned char wanted[OUTPUTS];
    scores got;
    mtl_error error;
    scores_begin(&got);
    choose(session, mask, wanted);
    for (int i = 0; i < OUTPUTS; i++) {
        got.pointers[i] = wanted[i] || (mask + (unsigned)i) % 2 != 0 ? got.bytes[i] : NULL;
    }
    poison(session);
    require(mtl_session_run(session, rows, f->inputs, got.pointers, &error), &error);
    for (int i = 0; i < OUTPUTS; i++) {
        size_t bytes = wanted[i] ? bytes_of(i, rows) : 0;
        assert_memory_equal(got.bytes[i], want->bytes[i], bytes);
        for (size_t j = bytes; j < MOST_BYTES; j++) {
            assert_int_equal(got.bytes[i][j], 0xee);
        }
    }
}

static void every_choice_gives_the_same_bits(void **state)
{
    const fixture *f = *state;
    static const mtl_isa all[] = {MTL_ISA_GENERIC, MTL_ISA_AVX2, MTL_ISA_AVX512};
    static const int64_t counts[] = {1, 6, 17, ROWS};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (native_select(all[i]) == NULL) {
            continue;
        }
        mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, all[i]);
        mtl_session *session = open_session(plan, 16, 0);
        for (size_t j = 0; j < sizeof counts / sizeof counts[0]; j++) {
            scores want;
            mtl_error error;
            scores_begin(&want);
            require(mtl_session_want(session, NULL, &error), &error);
            require(mtl_session_run(session, counts[j], f->inputs, want.pointers, &error), &error);
            for (unsigned mask = 1; mask < 1u << OUTPUTS; mask++) {
                check_choice(f, session, counts[j], mask, &want);
            }
        }
        mtl_session_destroy(session);
        mtl_plan_close(plan);
    }
}

static void and_on_several_threads(void **state)
{
    const fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_pool_options pool_options = {.struct_size = sizeof pool_options, .threads = 3};
    mtl_session_options options = {.struct_size = sizeof options, .tile_rows = 16, .rows_per_thread = 1};
    mtl_session *session;
    mtl_error error;
    scores want;
    require(mtl_pool_create(&pool_options, &options.pool, &error), &error);
    require(mtl_session_create(plan, &options, &session, &error), &error);
    scores_begin(&want);
    require(mtl_session_run(session, ROWS, f->inputs, want.pointers, &error), &error);
    for (unsigned mask = 1; mask < 1u << OUTPUTS; mask++) {
        check_choice(f, session, ROWS, mask, &want);
    }
    mtl_session_destroy(session);
    mtl_pool_destroy(options.pool);
    mtl_plan_close(plan);
}

/* Step by step over a tile of signalling NaN. The lanes of a softmax that are no elements raise it by themselves. */
static void no_step_computes_with_what_was_not_computed(void **state)
{
    const fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_session *session = open_session(plan, 16, 0);
    size_t cleared = 0;
    for (unsigned mask = 1; mask < 1u << OUTPUTS; mask++) {
        unsigned char wanted[OUTPUTS];
        scores got;
        runtime_frame frame;
        mtl_error error;
        base_diag diag = {.error = &error};
        scores_begin(&got);
        choose(session, mask, wanted);
        poison(session);
        const mtl_call call = {.rows = 16, .users = 1, .inputs = f->inputs, .outputs = got.pointers};
        require(runtime_begin(session, &call, &diag, &frame), &error);
        for (size_t i = 0; i < plan->view.step_count; i++) {
            cleared += frame.wanted != NULL && frame.wanted->needs.choices[i].run == RUNTIME_CLEAR;
            feclearexcept(FE_ALL_EXCEPT);
            require(runtime_run_step(plan, i, &frame), &error);
            assert_true(!fetestexcept(FE_INVALID) || plan->view.steps[i].op == PLAN_OP_mix);
        }
    }
    assert_true(cleared > 0);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
}

/* --- what is left out --- */

static size_t step_of(const mtl_plan *plan, plan_op op, int number)
{
    for (size_t i = 0; i < plan->view.step_count; i++) {
        if (plan->view.steps[i].op == op && number-- == 0) {
            return i;
        }
    }
    fail_msg("no such step");
    return 0;
}

static void expect_share(const mtl_session *session, size_t step, uint64_t computed, uint64_t all)
{
    uint64_t got, of;
    runtime_wanted_share(session, step, &got, &of);
    assert_int_equal(got, computed);
    assert_int_equal(of, all);
}

static void the_others_cost_nothing(void **state)
{
    const fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_NATIVE, MTL_ISA_AUTO);
    mtl_session *session = open_session(plan, 16, 0);
    const size_t first = step_of(plan, PLAN_OP_linear, 0), second = step_of(plan, PLAN_OP_linear, 1),
                 mix = step_of(plan, PLAN_OP_mix, 0), towers = step_of(plan, PLAN_OP_linear, 2),
                 gather = step_of(plan, PLAN_OP_gather, 0), product = step_of(plan, PLAN_OP_binary, 1),
                 count = step_of(plan, PLAN_OP_extents, 0);
    unsigned char wanted[OUTPUTS];
    expect_share(session, first, 1, 1);

    choose(session, 1u << A, wanted);
    expect_share(session, first, 4 * WIDE + TASKS * OWN,
                 PACKED); /* two of its own, two that all share, the gates' panel */
    expect_share(session, second, 4 * WIDE, EXPERTS * WIDE);
    expect_share(session, mix, 1, TASKS);
    expect_share(session, towers, TOWER, TASKS * TOWER);
    expect_share(session, step_of(plan, PLAN_OP_linear, 3), 1, 1);
    expect_share(session, step_of(plan, PLAN_OP_linear, 4), 0, 1);
    expect_share(session, gather, 0, 1);
    expect_share(session, product, 0, 1);
    expect_share(session, count, 0, 1);

    choose(session, 1u << PRODUCT, wanted); /* reads a and b */
    expect_share(session, first, 6 * WIDE + TASKS * OWN, PACKED);
    expect_share(session, mix, 2, TASKS);
    expect_share(session, product, 1, 1);

    choose(session, 1u << C, wanted); /* the sum over all tasks */
    expect_share(session, first, 1, 1);
    expect_share(session, mix, 1, 1);
    expect_share(session, product, 0, 1);

    choose(session, 1u << FOUND | 1u << COUNT, wanted);
    expect_share(session, first, 0, 1);
    expect_share(session, mix, 0, 1);
    expect_share(session, gather, 1, 1);
    expect_share(session, count, 1, 1);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
}

/* Another thread is worth its waking for more rows of less work, unless the host has said for how many. */
static void less_work_takes_more_rows_a_thread(void **state)
{
    const fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_NATIVE, MTL_ISA_AUTO);
    for (size_t given = 0; given <= 20; given += 20) {
        mtl_session_options options = {.struct_size = sizeof options, .rows_per_thread = given};
        unsigned char wanted[OUTPUTS];
        mtl_session *session;
        mtl_error error;
        require(mtl_session_create(plan, &options, &session, &error), &error);
        int64_t all = session->rows_per_thread;
        choose(session, 1u << A, wanted);
        int64_t some = session->rows_per_thread;
        choose(session, 1u << FOUND, wanted);
        int64_t few = session->rows_per_thread;
        require(mtl_session_want(session, NULL, &error), &error);
        assert_int_equal(session->rows_per_thread, all);
        assert_true(given != 0 ? all == 20 && some == 20 && few == 20 : some > all && few > 100 * all);
        mtl_session_destroy(session);
    }
    mtl_plan_close(plan);
}

/* An id that only an unwanted output looks up is no matter. */
static void ids_of_others_are_not_looked_up(void **state)
{
    fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_session *session = open_session(plan, 16, 0);
    unsigned char wanted[OUTPUTS];
    scores got;
    mtl_error error;
    int64_t before = f->id[20];
    f->id[20] = ITEMS;
    scores_begin(&got);
    choose(session, 1u << A, wanted);
    require(mtl_session_run(session, ROWS, f->inputs, got.pointers, &error), &error);
    choose(session, 1u << A | 1u << FOUND, wanted);
    assert_int_equal(mtl_session_run(session, ROWS, f->inputs, got.pointers, &error), MTL_INVALID_DATA);
    assert_non_null(strstr(error.message, "row 20"));
    f->id[20] = before;
    require(mtl_session_run(session, ROWS, f->inputs, got.pointers, &error), &error);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
}

static void wrong_choices_are_refused(void **state)
{
    const fixture *f = *state;
    mtl_plan *plan = open_plan(f->data, f->size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_session *session = open_session(plan, 16, 0);
    unsigned char wanted[OUTPUTS];
    static const unsigned char none[OUTPUTS] = {0};
    scores want, got;
    mtl_error error;
    assert_int_equal(mtl_session_want(NULL, none, &error), MTL_INVALID_ARGUMENT);
    assert_string_equal(error.message, "mtl_session_want: session is NULL");
    assert_int_equal(mtl_session_want(NULL, NULL, NULL), MTL_INVALID_ARGUMENT);
    scores_begin(&want);
    require(mtl_session_run(session, ROWS, f->inputs, want.pointers, &error), &error);

    choose(session, 1u << B_, wanted);
    assert_int_equal(mtl_session_want(session, none, &error), MTL_INVALID_ARGUMENT);
    assert_string_equal(error.message, "mtl_session_want: none of the 7 outputs is wanted");
    scores_begin(&got); /* the choice is as before */
    require(mtl_session_run(session, ROWS, f->inputs, got.pointers, &error), &error);
    assert_memory_equal(got.bytes[B_], want.bytes[B_], bytes_of(B_, ROWS));
    assert_int_equal(got.bytes[C][0], 0xee);

    got.pointers[B_] = NULL;
    assert_int_equal(mtl_session_run(session, ROWS, f->inputs, got.pointers, &error), MTL_INVALID_ARGUMENT);
    assert_string_equal(error.message, "output 'b' is NULL");
    require(mtl_session_want(session, NULL, &error), &error);
    scores_begin(&got);
    got.pointers[C] = NULL;
    assert_int_equal(mtl_session_run(session, ROWS, f->inputs, got.pointers, &error), MTL_INVALID_ARGUMENT);
    assert_string_equal(error.message, "output 'c' is NULL");
    mtl_session_destroy(session);
    mtl_plan_close(plan);
}

static void a_plan_of_one_output_has_one_choice(void **state)
{
    (void)state;
    maker m;
    const void *data;
    size_t size;
    mtl_error error;
    maker_begin(&m);
    uint32_t x = maker_input(&m, "x", MTL_F32, (int64_t[]){B, 2}, 2);
    uint32_t y = maker_output(&m, "y", MTL_F32, (int64_t[]){B, 2}, 2);
    maker_step(&m, PLAN_OP_unary, PLAN_UNARY_exp, &x, 1, y, (int64_t[]){0, 0}, 2);
    maker_finish(&m, &data, &size);
    mtl_plan *plan = open_plan(data, size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    mtl_session *session = open_session(plan, 16, 0);
    const unsigned char one = 1, none = 0;
    const float in[2] = {0, 0};
    float out[2] = {0, 0};
    const void *inputs[] = {in};
    void *outputs[] = {out};
    require(mtl_session_want(session, &one, &error), &error);
    assert_int_equal(mtl_session_want(session, &none, &error), MTL_INVALID_ARGUMENT);
    require(mtl_session_run(session, 1, inputs, outputs, &error), &error);
    assert_true(out[0] == 1 && out[1] == 1);
    mtl_session_destroy(session);
    mtl_plan_close(plan);
    base_arena_free(&m.arena);
}

/* Whatever random damage does to the records: of a plan that passes, choices write nothing outside of their memory. */
static void choices_of_damaged_plans_are_safe(void **state)
{
    const fixture *f = *state;
    static const plan_section_kind kinds[] = {PLAN_SECTION_TENSORS,  PLAN_SECTION_DIMS,      PLAN_SECTION_STEPS,
                                              PLAN_SECTION_OPERANDS, PLAN_SECTION_SIGNATURE, PLAN_SECTION_ATTRS};
    void *file;
    uint64_t seed = 13;
    size_t passed = 0;
    enum { ROUNDS = 20000 };
    assert_int_equal(posix_memalign(&file, PLAN_ALIGNMENT, f->size), 0);
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(file, f->data, f->size);
        const plan_section *section = section_of(file, kinds[random_below(&seed, 6)]);
        unsigned char *at = (unsigned char *)file + section->offset + random_below(&seed, (int64_t)section->size);
        *at = (unsigned char)(random_below(&seed, 4) == 0 ? random_u32(&seed) : *at + 1u);
        reseal(file, f->size);
        mtl_plan *plan;
        mtl_session *session;
        if (mtl_plan_open_memory(file, f->size, NULL, &plan, NULL) != MTL_OK) {
            continue;
        }
        if (plan->view.meta->row_bytes < 1 << 20 &&
            mtl_session_create(plan,
                               &(mtl_session_options){.struct_size = sizeof(mtl_session_options), .tile_rows = 16},
                               &session, NULL) == MTL_OK) {
            unsigned char wanted[OUTPUTS];
            for (unsigned mask = 1; mask < 1u << OUTPUTS && mtl_plan_output_count(plan) == OUTPUTS; mask += 7) {
                choose(session, mask, wanted);
            }
            mtl_session_destroy(session);
            passed++;
        }
        mtl_plan_close(plan);
    }
    free(file);
    assert_true(passed > 0 && passed < ROUNDS);
}

/* --- columns of a layer --- */

/* Columns [from, to) computed alone are the bits of the whole layer's. */
static void check_columns(const native_kernels *kernels, uint64_t *seed, size_t rows, size_t k, size_t n)
{
    enum { MOST = 7 * 90 };
    static float x[7 * 90], w[90 * 96], y[MOST], part[MOST];
    static _Alignas(64) float packed[90 * 96], bias[96];
    assert_true(rows * (k > n ? k : n) <= MOST && k * n <= 90 * 96);
    fill_random(seed, MTL_F32, x, rows * k);
    fill_random(seed, MTL_F32, w, k * n);
    fill_random(seed, MTL_F32, bias, n);
    plan_pack_panels(w, 1, k, n, packed);
    native_linear call = {.x = x,
                          .x_stride = k,
                          .w = packed,
                          .bias = bias,
                          .y = y,
                          .y_stride = n,
                          .rows = rows,
                          .k = k,
                          .n = n,
                          .act = PLAN_UNARY_sigmoid};
    for (size_t active = 0; active < n; active += PLAN_PANEL) { /* 0: all */
        call.act_columns = active;
        call.y = y;
        kernels->linear(&call);
        call.y = part;
        for (size_t from = 0; from < n; from += PLAN_PANEL) {
            for (size_t to = from + PLAN_PANEL; to < n + PLAN_PANEL; to += PLAN_PANEL) {
                size_t end = to < n ? to : n;
                if (end == n && end - from <= NATIVE_FEW_COLUMNS && from > 0 && from != active) {
                    continue;
                }
                memset(part, 0xee, sizeof part);
                native_linear columns = native_linear_columns(&call, from, end);
                kernels->linear(&columns);
                for (size_t i = 0; i < rows * n; i++) {
                    bool inside = i % n >= from && i % n < end;
                    static const unsigned char untouched[4] = {0xee, 0xee, 0xee, 0xee};
                    assert_memory_equal(&part[i], inside ? (const void *)&y[i] : untouched, sizeof(float));
                }
            }
        }
    }
}

static void columns_of_a_layer_have_its_bits(void **state)
{
    (void)state;
    static const mtl_isa all[] = {MTL_ISA_GENERIC, MTL_ISA_AVX2, MTL_ISA_AVX512};
    static const size_t widths[] = {1, 3, 4, 5, 16, 17, 20, 35, 36, 37, 64, 66, 90};
    uint64_t seed = 9;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const native_kernels *kernels = native_select(all[i]);
        for (size_t j = 0; kernels != NULL && j < sizeof widths / sizeof widths[0]; j++) {
            check_columns(kernels, &seed, 1, 50, widths[j]);
            check_columns(kernels, &seed, 7, 33, widths[j]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_choice_gives_the_same_bits),
        cmocka_unit_test(and_on_several_threads),
        cmocka_unit_test(no_step_computes_with_what_was_not_computed),
        cmocka_unit_test(the_others_cost_nothing),
        cmocka_unit_test(less_work_takes_more_rows_a_thread),
        cmocka_unit_test(ids_of_others_are_not_looked_up),
        cmocka_unit_test(wrong_choices_are_refused),
        cmocka_unit_test(a_plan_of_one_output_has_one_choice),
        cmocka_unit_test(choices_of_damaged_plans_are_safe),
        cmocka_unit_test(columns_of_a_layer_have_its_bits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
