/* One user, many candidates: plans whose inputs are declared per user, against the reference evaluator on a graph in which
 * every candidate brings its user's rows, in float64; and equal bits whatever else is in a call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "compiler/legalize.h"
#include "compiler/lower.h"
#include "compiler/spread_users.h"
#include "passes/passes.h"
#include "plan/plan.h"

enum { MOST = 16, USERS = 5, ROWS = 70, IDS = 6 };

/* A compiled graph; `whole` is what it was compiled from. */
typedef struct lab {
    base_arena arena;
    mtl_error error;
    base_diag diag;
    ir_graph *whole;
    void *bytes; /* of the plan */
    mtl_plan *plan;
    void *users[MOST], *rows[MOST]; /* by input: what the plan takes, and with every candidate's rows */
    double *expected[MOST];
    size_t expected_count[MOST];
    int32_t user[ROWS];
} lab;

static void require(const lab *t, mtl_status status)
{
    if (status != MTL_OK) {
        fail_msg("%s: %s", mtl_status_name(status), t->error.message);
    }
}

static void lab_compile(lab *t, const char *text)
{
    const compiler_provenance provenance = {.producer = "test", .compiler = "test"};
    ir_graph *graph;
    compiler_lowered lowered;
    memset(t, 0, sizeof *t);
    t->diag.error = &t->error;
    require(t, ir_parse(text, strlen(text), NULL, &t->arena, &t->diag, &t->whole));
    require(t, ir_parse(text, strlen(text), NULL, &t->arena, &t->diag, &graph));
    require(t, passes_run(graph, &t->diag, NULL, NULL));
    require(t, compiler_legalize(graph, &t->diag));
    require(t, compiler_spread_users(graph, &t->arena, &t->diag));
    require(t, ir_verify(graph, &t->diag));
    require(t, ir_infer_rates(graph, &t->diag));
    require(t, compiler_lower(graph, &provenance, &t->arena, &t->diag, &lowered));
    t->bytes = aligned_alloc(64, (lowered.plan_size + 63) / 64 * 64);
    assert_non_null(t->bytes);
    memcpy(t->bytes, lowered.plan, lowered.plan_size);
    require(t, mtl_plan_open_memory(t->bytes, lowered.plan_size, NULL, &t->plan, &t->error));
}

static size_t count_of(const ir_type *type, int64_t rows)
{
    size_t count = 1;
    for (int32_t axis = 0; axis < type->rank; axis++) {
        count *= (size_t)(type->dim[axis].c + type->dim[axis].k[IR_SYMBOL_ROWS] * rows);
    }
    return count;
}

/* `each` bytes for each of the users, and for each candidate those of its user. */
static void fill(lab *t, size_t input, const ir_value_info *info)
{
    size_t users = info->per_user ? USERS : ROWS, each = count_of(&info->type, 1) * mtl_dtype_size(info->type.dtype);
    unsigned char *own = malloc(users * each), *all = malloc(ROWS * each);
    assert_true(own != NULL && all != NULL);
    for (size_t i = 0; i < users * each / mtl_dtype_size(info->type.dtype); i++) {
        switch (info->type.dtype) {
        case MTL_F32: ((float *)(void *)own)[i] = (float)(rand() % 2001 - 1000) / 1000; break;
        case MTL_I64: ((int64_t *)(void *)own)[i] = rand() % IDS; break;
        default: own[i] = rand() % 4 != 0; break; /* bool */
        }
    }
    for (size_t row = 0; row < ROWS; row++) {
        memcpy(all + row * each, own + (info->per_user ? (size_t)t->user[row] : row) * each, each);
    }
    t->users[input] = own;
    t->rows[input] = all;
}

static void lab_fill(lab *t)
{
    ir_graph *graph = t->whole;
    ir_tensor inputs[MOST], outputs[MOST];
    assert_true(graph->input_count <= MOST && graph->output_count <= MOST);
    for (int row = 0; row < ROWS; row++) {
        t->user[row] = rand() % 3 == 0 || row == 0 ? rand() % USERS : t->user[row - 1];
    }
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const ir_value_info *info = ir_info(graph, graph->inputs[i]);
        fill(t, i, info);
        inputs[i] = (ir_tensor){.dtype = info->type.dtype, .rank = info->type.rank, .raw = t->rows[i]};
        inputs[i].count = count_of(&info->type, ROWS);
        for (int32_t axis = 0; axis < info->type.rank; axis++) {
            inputs[i].shape[axis] = info->type.dim[axis].c + info->type.dim[axis].k[IR_SYMBOL_ROWS] * ROWS;
        }
    }
    require(t, ir_eval(graph, inputs, &t->arena, &t->diag, outputs));
    for (uint32_t i = 0; i < graph->output_count; i++) {
        t->expected_count[i] = outputs[i].count;
        t->expected[i] = calloc(outputs[i].count, sizeof(double));
        assert_non_null(t->expected[i]);
        for (size_t j = 0; j < outputs[i].count; j++) {
            t->expected[i][j] = ir_tensor_at(&outputs[i], j);
        }
    }
}

static void lab_close(lab *t)
{
    mtl_plan_close(t->plan);
    for (size_t i = 0; i < MOST; i++) {
        free(t->users[i]);
        free(t->rows[i]);
        free(t->expected[i]);
    }
    free(t->bytes);
    base_arena_free(&t->arena);
}

static mtl_session *new_session(lab *t, size_t tile_rows, size_t users)
{
    mtl_session *session;
    const mtl_session_options options = {.struct_size = sizeof options, .tile_rows = tile_rows, .max_users = users};
    require(t, mtl_session_create(t->plan, &options, &session, &t->error));
    return session;
}

/* All candidates in one call; outputs are float32. */
static void run_all(lab *t, size_t tile_rows, float **outputs)
{
    mtl_session *session = new_session(t, tile_rows, USERS + 2);
    const void *inputs[MOST];
    void *results[MOST];
    for (size_t i = 0; i < MOST; i++) {
        inputs[i] = t->users[i];
        results[i] = outputs[i] = calloc(t->expected_count[i] + 1, sizeof(float));
        assert_non_null(outputs[i]);
    }
    const mtl_call call = {.struct_size = sizeof call,
                           .rows = ROWS,
                           .users = USERS,
                           .user = t->user,
                           .inputs = inputs,
                           .outputs = results};
    require(t, mtl_session_run_call(session, &call, &t->error));
    mtl_session_destroy(session);
}

/* Each candidate alone, with its user alone. */
static void check_alone(lab *t, float *const *outputs)
{
    mtl_session *session = new_session(t, 0, 0);
    for (size_t row = 0; row < ROWS; row++) {
        const void *inputs[MOST];
        void *results[MOST];
        for (size_t i = 0; i < mtl_plan_input_count(t->plan); i++) {
            const ir_value_info *info = ir_info(t->whole, t->whole->inputs[i]);
            size_t each = count_of(&info->type, 1) * mtl_dtype_size(info->type.dtype);
            inputs[i] = (char *)t->users[i] + (info->per_user ? (size_t)t->user[row] : row) * each;
        }
        for (size_t i = 0; i < mtl_plan_output_count(t->plan); i++) {
            results[i] = calloc(t->expected_count[i] / ROWS, sizeof(float));
        }
        require(t, mtl_session_run(session, 1, inputs, results, &t->error));
        for (size_t i = 0; i < mtl_plan_output_count(t->plan); i++) {
            size_t each = t->expected_count[i] / ROWS;
            assert_memory_equal(results[i], outputs[i] + row * each, each * sizeof(float));
            free(results[i]);
        }
    }
    mtl_session_destroy(session);
}

static void check(const char *text)
{
    lab t;
    float *first[MOST], *second[MOST];
    srand(7);
    lab_compile(&t, text);
    lab_fill(&t);
    run_all(&t, 16, first);
    run_all(&t, 64, second);
    for (size_t i = 0; i < mtl_plan_output_count(t.plan); i++) {
        for (size_t j = 0; j < t.expected_count[i]; j++) {
            double expected = t.expected[i][j], most = 1e-5 * fmax(1, fabs(expected));
            if (!(fabs((double)first[i][j] - expected) <= most)) {
                fail_msg("output %zu, element %zu: %g, expected %g\n%s", i, j, (double)first[i][j], expected, text);
            }
        }
        assert_memory_equal(first[i], second[i], t.expected_count[i] * sizeof(float));
    }
    check_alone(&t, first);
    for (size_t i = 0; i < MOST; i++) {
        free(first[i]);
        free(second[i]);
    }
    lab_close(&t);
}

static void values_meet(void **state)
{
    (void)state;
    check("graph \"mask\" (B) {\n"
          "  input %x : f32[B, 3]\n"
          "  input %u : f32[B, 3] per_user\n"
          "  %m : f32[B, 3] = sigmoid %u\n"
          "  %y : f32[B, 3] = mul %x, %m\n"
          "  %c : f32[B, 9] = concat %m, %y, %u {axis=1}\n"
          "  output \"y\" = %y\n"
          "  output \"m\" = %m\n"
          "  output \"c\" = %c\n"
          "  output \"u\" = %u\n"
          "}\n");
    check("graph \"layers\" (B) {\n"
          "  input %x : f32[B, 2]\n"
          "  input %u : f32[B, 3] per_user\n"
          "  const %w : f32[3, 2] = [0.5, -1, 0.25, 2, -0.75, 1]\n"
          "  %h : f32[B, 2] = linear %u, %w {act=\"relu\"}\n"
          "  %a : f32[B, 2] = add %h, %x\n"
          "  %p : f32[B, 5] = concat %u, %a {axis=1}\n"
          "  %s : f32[B, 5] = softmax %p {axis=1}\n"
          "  output \"s\" = %s\n"
          "}\n");
}

static void lookups(void **state)
{
    (void)state;
    check("graph \"ids\" (B) {\n"
          "  input %item : i64[B]\n"
          "  input %user : i64[B] per_user\n"
          "  input %history : i64[B, 4] per_user\n"
          "  const %t : f32[6, 2] = [0, 0, 1, -1, 0.5, 2, -0.5, 0.25, 3, 1, -2, 0.125]\n"
          "  %i : f32[B, 2] = gather %t, %item {axis=0}\n"
          "  %u : f32[B, 2] = gather %t, %user {axis=0}\n"
          "  %h : f32[B, 4, 2] = gather %t, %history {axis=0}\n"
          "  %s : f32[B, 2] = reduce_sum %h {axes=[1], keepdims=0}\n"
          "  %p : f32[B, 2] = mul %u, %s\n"
          "  %y : f32[B, 2] = mul %p, %i\n"
          "  output \"y\" = %y\n"
          "}\n");
}

/* A candidate looks at its user's history; masks and keys are the user's. */
static void target_attention(void **state)
{
    (void)state;
    check("graph \"attention\" (B) {\n"
          "  input %x : f32[B, 1, 4]\n"
          "  input %h : f32[B, 3, 4] per_user\n"
          "  input %k : bool[B, 1, 1, 3] per_user\n"
          "  %t : f32[B, 3, 4] = tanh %h\n"
          "  %y : f32[B, 1, 4] = attention %x, %t, %h, _, %k {starts=[0, 0, 0], heads=2, sizes=[2, 2], scale=0.5, "
          "fill=-10000, empty=\"nan\"}\n"
          "  output \"y\" = %y\n"
          "}\n");
    check("graph \"own\" (B) {\n"
          "  input %x : f32[B, 3, 4]\n"
          "  input %h : f32[B, 3, 4] per_user\n"
          "  %a : f32[B, 3, 4] = attention %h, %h, %h {starts=[0, 0, 0], heads=1, sizes=[4, 4], scale=0.5, fill=0, "
          "empty=\"nan\"}\n"
          "  %y : f32[B, 3, 4] = attention %a, %x, %h {starts=[0, 0, 0], heads=1, sizes=[4, 4], scale=0.5, fill=0, "
          "empty=\"nan\"}\n"
          "  output \"y\" = %y\n"
          "}\n");
}

/* The users' part of a layer, begun with for each candidate: in groups, in parts of wider rows, for positions of a
 * sequence or one for all of them. */
static void starts(void **state)
{
    (void)state;
    check("graph \"parts\" (B) {\n"
          "  input %x : f32[B, 2]\n"
          "  input %u : f32[B, 3] per_user\n"
          "  const %v : f32[3, 4] = [0.5, -1, 0.25, 2, -0.75, 1, 1, 0.5, -2, 0.75, 0.25, -0.5]\n"
          "  const %w : f32[2, 2] = [1, -0.5, 0.25, 0.75]\n"
          "  const %b : f32[2] = [0.5, -0.25]\n"
          "  %h : f32[B, 4] = linear %u, %v {act=\"\"}\n"
          "  %s : f32[B, 2] = slice %h {starts=[0, 0], steps=[1, 1]}\n"
          "  %t : f32[B, 2] = slice %h {starts=[0, 2], steps=[1, 1]}\n"
          "  %y : f32[B, 2] = linear %x, %w, %b, %s {act=\"relu\"}\n"
          "  %z : f32[B, 2] = linear %y, %w, _, %t {act=\"\"}\n"
          "  output \"y\" = %y\n"
          "  output \"z\" = %z\n"
          "}\n");
    check("graph \"groups\" (B) {\n"
          "  input %x : f32[B, 2, 1]\n"
          "  input %u : f32[B, 2, 3] per_user\n"
          "  const %w : f32[2, 1, 3] = [1, -0.5, 0.25, 0.75, -1.5, 2]\n"
          "  %y : f32[B, 2, 3] = linear %x, %w, _, %u {act=\"tanh\"}\n"
          "  output \"y\" = %y\n"
          "}\n");
    check("graph \"positions\" (B) {\n"
          "  input %x : f32[B, 3, 2]\n"
          "  input %u : f32[B, 3, 2] per_user\n"
          "  input %v : f32[B, 1, 2] per_user\n"
          "  input %r : f32[B, 1, 2]\n"
          "  const %w : f32[2, 2] = [1, -0.5, 0.25, 0.75]\n"
          "  const %b : f32[2] = [0.5, -0.25]\n"
          "  const %c : f32[1, 3, 2] = [0.5, -0.25, 1, 2, 3, 4]\n"
          "  %e : f32[B, 3, 2] = exp %u\n"
          "  %y : f32[B, 3, 2] = linear %x, %w, %b, %e {act=\"\"}\n"
          "  %z : f32[B, 3, 2] = linear %y, %w, _, %v {act=\"relu\"}\n"
          "  %a : f32[B, 3, 2] = linear %z, %w, _, %r {act=\"\"}\n"
          "  %d : f32[B, 3, 2] = linear %a, %w, _, %c {act=\"\"}\n"
          "  output \"y\" = %y\n"
          "  output \"z\" = %z\n"
          "  output \"d\" = %d\n"
          "}\n");
}

/* Starts that a step does not take as they are. */
static void other_starts(void **state)
{
    (void)state;
    check("graph \"some\" (B) {\n"
          "  input %x : f32[B, 2, 3, 2]\n"
          "  input %u : f32[B, 2, 1, 2] per_user\n"
          "  const %w : f32[2, 2] = [1, -0.5, 0.25, 0.75]\n"
          "  %y : f32[B, 2, 3, 2] = linear %x, %w, _, %u {act=\"relu\"}\n"
          "  output \"y\" = %y\n"
          "}\n");
    check("graph \"behind\" (B) {\n"
          "  input %x : f32[B, 2, 2]\n"
          "  input %u : f32[B, 1, 2] per_user\n"
          "  const %w : f32[2, 2] = [1, -0.5, 0.25, 0.75]\n"
          "  %a : f32[2, B, 2] = transpose %x {perm=[1, 0, 2]}\n"
          "  %b : f32[1, B, 2] = transpose %u {perm=[1, 0, 2]}\n"
          "  %c : f32[2, B, 2] = linear %a, %w, _, %b {act=\"relu\"}\n"
          "  %y : f32[B, 2, 2] = transpose %c {perm=[1, 0, 2]}\n"
          "  output \"y\" = %y\n"
          "}\n");
}

/* Candidates that do not lead, and several rows each. */
static void layouts(void **state)
{
    (void)state;
    check("graph \"behind\" (B) {\n"
          "  input %x : f32[B, 2, 3]\n"
          "  input %u : f32[B, 2, 3] per_user\n"
          "  %e : f32[B, 2, 3] = exp %u\n"
          "  %a : f32[2, B, 3] = transpose %e {perm=[1, 0, 2]}\n"
          "  %b : f32[2, B, 3] = transpose %x {perm=[1, 0, 2]}\n"
          "  %s : f32[2, B, 3] = mul %a, %b\n"
          "  %y : f32[B, 2, 3] = transpose %s {perm=[1, 0, 2]}\n"
          "  output \"y\" = %y\n"
          "}\n");
    check("graph \"several\" (B) {\n"
          "  input %x : f32[B, 2, 3]\n"
          "  input %u : f32[B, 2, 3] per_user\n"
          "  %a : f32[2*B, 3] = reshape %x\n"
          "  %e : f32[B, 2, 3] = exp %u\n"
          "  %b : f32[2*B, 3] = reshape %e\n"
          "  %s : f32[2*B, 3] = mul %a, %b\n"
          "  %y : f32[B, 6] = reshape %s\n"
          "  output \"y\" = %y\n"
          "}\n");
}

static void expect_error(lab *t, mtl_session *session, const mtl_call *call, mtl_status status, const char *message)
{
    t->error.message[0] = '\0';
    assert_int_equal(mtl_session_run_call(session, call, &t->error), status);
    if (strstr(t->error.message, message) == NULL) {
        fail_msg("expected '%s', found '%s'", message, t->error.message);
    }
}

static void wrong_calls(void **state)
{
    lab t;
    (void)state;
    lab_compile(&t, "graph \"ids\" (B) {\n"
                    "  input %x : f32[B, 2]\n"
                    "  input %user : i64[B] per_user\n"
                    "  const %t : f32[6, 2] = [0, 0, 1, -1, 0.5, 2, -0.5, 0.25, 3, 1, -2, 0.125]\n"
                    "  %u : f32[B, 2] = gather %t, %user {axis=0}\n"
                    "  %y : f32[B, 2] = mul %u, %x\n"
                    "  output \"y\" = %y\n"
                    "}\n");
    mtl_session *session = new_session(&t, 0, 2);
    const mtl_tensor_info *info = mtl_plan_input(t.plan, 1);
    assert_int_equal(info->shape[0].per_user, 1);
    assert_int_equal(info->shape[0].per_row, 0);
    float x[6] = {1, 2, 3, 4, 5, 6}, y[6];
    int64_t user[2] = {1, 2};
    int32_t index[3] = {0, 1, 1};
    const void *inputs[] = {x, user};
    void *outputs[] = {y};
    mtl_call call = {
        .struct_size = sizeof call, .rows = 3, .users = 2, .user = index, .inputs = inputs, .outputs = outputs};
    require(&t, mtl_session_run_call(session, &call, &t.error));
    static const float expected[6] = {1, -2, 1.5f, 8, 2.5f, 12};
    assert_memory_equal(y, expected, sizeof y);
    index[2] = 2;
    expect_error(&t, session, &call, MTL_INVALID_DATA, "row 2: user 2 is outside 0..1");
    index[2] = -1;
    expect_error(&t, session, &call, MTL_INVALID_DATA, "row 2: user -1 is outside 0..1");
    index[2] = 0;
    call.user = NULL;
    expect_error(&t, session, &call, MTL_INVALID_ARGUMENT, "user is NULL, expected the user of each row");
    call.users = 3;
    expect_error(&t, session, &call, MTL_INVALID_ARGUMENT, "users is 3, expected 1 to the session's max_users, 2");
    call.users = 0;
    expect_error(&t, session, &call, MTL_INVALID_ARGUMENT, "users is 0, expected 1 to");
    call.users = 2;
    call.user = index;
    user[1] = 6;
    expect_error(&t, session, &call, MTL_INVALID_DATA, "input 'user': user 1: id 6 is outside 0..5");
    call.struct_size = 1;
    expect_error(&t, session, &call, MTL_INVALID_ARGUMENT, "struct_size");
    expect_error(&t, session, NULL, MTL_INVALID_ARGUMENT, "call is NULL");
    mtl_session_destroy(session);
    const mtl_session_options many = {.struct_size = sizeof many, .max_users = (size_t)1 << 21};
    assert_int_equal(mtl_session_create(t.plan, &many, &session, &t.error), MTL_INVALID_ARGUMENT);
    lab_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_meet), cmocka_unit_test(lookups),      cmocka_unit_test(target_attention),
        cmocka_unit_test(starts),      cmocka_unit_test(other_starts), cmocka_unit_test(layouts),
        cmocka_unit_test(wrong_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
