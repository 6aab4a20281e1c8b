/* The timed run is the plain run with a clock: same scores, every step of every tile, in order. */
#include "tests/unit/runtime_helpers.h"

#include "runtime/profile.h"

enum { WIDTH = 7, WIDE = 20, ROWS = 100, TILE = 48, STEPS = 3, EVENTS = 64 };

static void build(maker *m)
{
    uint64_t seed = 7;
    float w[WIDTH * WIDE], bias[WIDE];
    fill_random(&seed, MTL_F32, w, sizeof w / sizeof w[0]);
    fill_random(&seed, MTL_F32, bias, WIDE);
    maker_begin(m);
    uint32_t x = maker_input(m, "x", MTL_F32, (int64_t[]){B, WIDTH}, 2);
    uint32_t user = maker_input(m, "user", MTL_F32, (int64_t[]){1, WIDE}, 2);
    uint32_t halved = maker_request(m, MTL_F32, (int64_t[]){1, WIDE}, 2);
    uint32_t hidden = maker_row(m, MTL_F32, (int64_t[]){B, WIDE}, 2);
    uint32_t y = maker_output(m, "y", MTL_F32, (int64_t[]){B, WIDE}, 2);
    uint32_t weights = maker_weights(m, 1, WIDTH, WIDE, w), biases = maker_bias(m, 1, WIDE, bias);
    const int64_t none[3] = {0, 0, 0};
    maker_step(m, PLAN_OP_unary, PLAN_UNARY_sigmoid, &user, 1, halved, none, 2);
    m->meta.request_step_count = 1;
    maker_step(m, PLAN_OP_linear, PLAN_UNARY_relu, (uint32_t[]){x, weights, biases}, 3, hidden, none, 3);
    maker_step(m, PLAN_OP_binary, PLAN_BINARY_add, (uint32_t[]){hidden, halved}, 2, y, NULL, 0);
}

typedef struct rig {
    maker m;
    mtl_plan *plan;
    mtl_session *session;
    float x[ROWS * WIDTH], user[WIDE], y[ROWS * WIDE];
    const void *inputs[2];
    void *outputs[1];
    uint64_t step_ns[STEPS];
    runtime_profile_event events[EVENTS];
    runtime_profile profile;
} rig;

static int set_up(void **state)
{
    rig *r = calloc(1, sizeof *r);
    assert_non_null(r);
    const void *data;
    size_t size;
    uint64_t seed = 1;
    build(&r->m);
    maker_finish(&r->m, &data, &size);
    r->plan = open_plan(data, size, MTL_PROVIDER_AUTO, MTL_ISA_AUTO);
    r->session = open_session(r->plan, TILE, 0);
    fill_random(&seed, MTL_F32, r->x, ROWS * WIDTH);
    fill_random(&seed, MTL_F32, r->user, WIDE);
    r->inputs[0] = r->x;
    r->inputs[1] = r->user;
    r->outputs[0] = r->y;
    r->profile = (runtime_profile){.step_ns = r->step_ns, .events = r->events, .event_capacity = EVENTS};
    *state = r;
    return 0;
}

static int tear_down(void **state)
{
    rig *r = *state;
    mtl_session_destroy(r->session);
    mtl_plan_close(r->plan);
    base_arena_free(&r->m.arena);
    free(r);
    return 0;
}

static void gives_the_same_scores(void **state)
{
    rig *r = *state;
    mtl_error error;
    float plain[ROWS * WIDE];
    require(mtl_session_run(r->session, ROWS, r->inputs, (void *[]){plain}, &error), &error);
    require(runtime_profile_run(r->session, ROWS, r->inputs, r->outputs, &r->profile, &error), &error);
    assert_memory_equal(plain, r->y, sizeof plain);
}

static void times_every_step_of_every_tile(void **state)
{
    rig *r = *state;
    mtl_error error;
    require(runtime_profile_run(r->session, ROWS, r->inputs, r->outputs, &r->profile, &error), &error);
    /* The request program once, for one user, and two steps for each of the tiles of 34, 33 and 33 rows. */
    assert_int_equal(r->profile.event_count, 7);
    static const uint32_t steps[7] = {0, 1, 2, 1, 2, 1, 2};
    static const int64_t tiles[7] = {-1, 0, 0, 1, 1, 2, 2}, rows[7] = {1, 34, 34, 33, 33, 33, 33};
    uint64_t sums[STEPS] = {0}, at = r->profile.begin;
    for (int i = 0; i < 7; i++) {
        const runtime_profile_event *e = &r->events[i];
        assert_int_equal(e->step, steps[i]);
        assert_int_equal(e->tile, tiles[i]);
        assert_int_equal(e->rows, rows[i]);
        assert_int_equal(e->begin, at);
        assert_true(e->end >= e->begin);
        at = e->end;
        sums[e->step] += e->end - e->begin;
    }
    assert_int_equal(at, r->profile.end);
    for (int i = 0; i < STEPS; i++) { /* clock_ns is 0 here: nothing is taken off */
        assert_int_equal(r->step_ns[i], sums[i]);
    }
}

static void takes_off_what_the_clock_costs(void **state)
{
    rig *r = *state;
    mtl_error error;
    uint64_t clock_ns = runtime_profile_clock_ns();
    assert_true(clock_ns < 100000);
    r->profile.clock_ns = UINT64_MAX / 2; /* more than any step: nothing is left, and nothing wraps */
    require(runtime_profile_run(r->session, ROWS, r->inputs, r->outputs, &r->profile, &error), &error);
    for (int i = 0; i < STEPS; i++) {
        assert_int_equal(r->step_ns[i], 0);
    }
}

static void keeps_to_its_buffer(void **state)
{
    rig *r = *state;
    mtl_error error;
    r->profile.event_capacity = 3;
    r->events[3].rows = 12345;
    require(runtime_profile_run(r->session, ROWS, r->inputs, r->outputs, &r->profile, &error), &error);
    assert_int_equal(r->profile.event_count, 3);
    assert_int_equal(r->events[3].rows, 12345);
}

static void refuses_what_a_run_refuses(void **state)
{
    rig *r = *state;
    mtl_error error;
    const void *missing[2] = {r->x, NULL};
    assert_int_equal(runtime_profile_run(r->session, ROWS, missing, r->outputs, &r->profile, &error),
                     MTL_INVALID_ARGUMENT);
    assert_non_null(strstr(error.message, "input 'user' is NULL"));
    assert_int_equal(runtime_profile_run(r->session, -1, r->inputs, r->outputs, &r->profile, &error),
                     MTL_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gives_the_same_scores, set_up, tear_down),
        cmocka_unit_test_setup_teardown(times_every_step_of_every_tile, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_off_what_the_clock_costs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_to_its_buffer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_what_a_run_refuses, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("runtime_profile", tests, NULL, NULL);
}
