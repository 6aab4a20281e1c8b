/* Lookups with a policy, as hosts see them: what a plan lists, what a session counts while it runs, and nothing of a
 * neighbour's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/runtime_helpers.h"

enum { ROWS = 500, N = 7, K = 3 };

static const float table[N * K] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};

/* Two lookups by one input in one table, which share a counter, and one by another, whose ids fail; then a bag. */
static mtl_plan *new_plan(maker *m)
{
    uint32_t user, item, name;
    const int64_t shape[] = {N, K}, rows[] = {rows_times(1), K}, ids[] = {rows_times(1)}, bag[] = {rows_times(1), 1};
    maker_begin(m);
    require(plan_add_string(m->builder, "user", &user), &m->error);
    require(plan_add_string(m->builder, "item", &item), &m->error);
    require(plan_add_string(m->builder, "table", &name), &m->error);
    uint32_t data = maker_const(m, MTL_F32, shape, 2, table);
    uint32_t users = maker_input(m, "user", MTL_I64, ids, 1), items = maker_input(m, "item", MTL_I32, bag, 2);
    const int64_t zero[] = {0, 0, user, name}, by_row[] = {PLAN_IDS_row, 2, item, name, 1, -1, -1, 0, 0};
    for (int i = 0; i < 2; i++) {
        uint32_t y = maker_output(m, i == 0 ? "a" : "b", MTL_F32, rows, 2);
        maker_step(m, PLAN_OP_gather, PLAN_IDS_zero, (uint32_t[]){data, users}, 2, y, zero, 4);
    }
    uint32_t y = maker_output(m, "c", MTL_F32, rows, 2);
    maker_step(m, PLAN_OP_bag, PLAN_BAG_sum, (uint32_t[]){data, items}, 2, y, by_row, 9);
    const void *bytes;
    size_t size;
    maker_finish(m, &bytes, &size);
    return open_plan(bytes, size, MTL_PROVIDER_NATIVE, MTL_ISA_AUTO);
}

static size_t find(const mtl_plan *plan, const char *input)
{
    size_t i = 0;
    while (strcmp(mtl_plan_lookup(plan, i)->input, input) != 0) {
        i++;
    }
    return i;
}

static void a_plan_lists_them(void **state)
{
    (void)state;
    maker m;
    mtl_plan *plan = new_plan(&m);
    assert_int_equal(mtl_plan_lookup_count(plan), 2);
    assert_null(mtl_plan_lookup(plan, 2));
    const mtl_lookup_info *user = mtl_plan_lookup(plan, find(plan, "user"));
    const mtl_lookup_info *item = mtl_plan_lookup(plan, find(plan, "item"));
    assert_int_equal(user->policy, MTL_IDS_ZERO);
    assert_int_equal(item->policy, MTL_IDS_ROW);
    assert_int_equal(user->rows, N);
    assert_int_equal(user->row, 0);
    assert_int_equal(item->row, 2);
    assert_string_equal(item->table, "table");
    mtl_plan_close(plan);
    base_arena_free(&m.arena);
}

static void run(mtl_session *session, int64_t outside_every, float *outputs)
{
    static int64_t users[ROWS];
    static int32_t items[ROWS];
    for (int i = 0; i < ROWS; i++) {
        users[i] = i % outside_every == 0 ? INT64_MIN + i : i % N;
        items[i] = i % 5 == 0 ? -1 : i % 5 == 1 ? INT32_MAX : i % N; /* -1 is left out */
    }
    const void *in[] = {users, items};
    void *out[] = {outputs, outputs + ROWS * K, outputs + 2 * ROWS * K};
    mtl_error error;
    require(mtl_session_run(session, ROWS, in, out, &error), &error);
    for (int i = 0; i < ROWS; i++) {
        for (int k = 0; k < K; k++) {
            float row = i % outside_every == 0 ? 0 : table[i % N * K + k];
            float sum = i % 5 == 0 ? 0 : table[(i % 5 == 1 ? 2 : i % N) * K + k];
            assert_true(outputs[i * K + k] == row && outputs[(ROWS + i) * K + k] == row);
            assert_true(outputs[(2 * ROWS + i) * K + k] == sum);
        }
    }
}

static void sessions_count_for_themselves(void **state)
{
    (void)state;
    static float outputs[3 * ROWS * K];
    maker m;
    mtl_plan *plan = new_plan(&m);
    mtl_error error;
    mtl_pool *pool;
    mtl_session *alone = open_session(plan, 16, 0), *pooled;
    require(mtl_pool_create(&(mtl_pool_options){.struct_size = sizeof(mtl_pool_options), .threads = 3}, &pool, &error),
            &error);
    const mtl_session_options options = {
        .struct_size = sizeof options, .tile_rows = 16, .pool = pool, .rows_per_thread = 1};
    require(mtl_session_create(plan, &options, &pooled, &error), &error);
    size_t user = find(plan, "user"), item = find(plan, "item");
    assert_int_equal(mtl_session_outside_ids(alone, user), 0);
    run(alone, 10, outputs);
    assert_int_equal(mtl_session_outside_ids(alone, user), 2 * ROWS / 10); /* in two lookups */
    assert_int_equal(mtl_session_outside_ids(alone, item), ROWS / 5);
    assert_int_equal(mtl_session_outside_ids(alone, 2), 0);
    assert_int_equal(mtl_session_outside_ids(pooled, user), 0);
    for (int i = 1; i <= 20; i++) {
        run(pooled, 5, outputs);
        assert_int_equal(mtl_session_outside_ids(pooled, user), 2 * i * ROWS / 5);
        assert_int_equal(mtl_session_outside_ids(pooled, item), i * ROWS / 5);
    }
    assert_int_equal(mtl_session_outside_ids(alone, user), 2 * ROWS / 10);
    mtl_session_destroy(alone);
    mtl_session_destroy(pooled);
    mtl_pool_destroy(pool);
    mtl_plan_close(plan);
    base_arena_free(&m.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_lists_them),
        cmocka_unit_test(sessions_count_for_themselves),
    };
    return cmocka_run_group_tests_name("runtime lookups", tests, NULL, NULL);
}
