/* What the tests of sessions share: an allocator, and a ranker that has a bit of everything. */
#ifndef TESTS_RUNTIME_RANKER_H
#define TESTS_RUNTIME_RANKER_H

#include "tests/unit/runtime_helpers.h"

/* --- an allocator that counts, and fails on demand --- */

typedef struct counter {
    long calls, live;
    size_t live_bytes, last_bytes;
    long fail_at; /* the call that fails; -1: none */
} counter;

static inline void *counted_allocate(void *context, size_t size, size_t alignment)
{
    counter *c = context;
    if (c->calls++ == c->fail_at) {
        return NULL;
    }
    void *memory = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    assert_non_null(memory);
    memset(memory, 0xa5, size); /* nobody may rely on zeros */
    c->live++;
    c->live_bytes += size;
    c->last_bytes = size;
    return memory;
}

static inline void counted_release(void *context, void *memory, size_t size)
{
    counter *c = context;
    c->live--;
    c->live_bytes -= size;
    free(memory);
}

/* --- plans --- */

enum { FEATURES = 20, HIDDEN = 33, USER = 7, TABLE = 11, WIDTH = 5 };

/* A ranker with a request part: y = sigmoid(linear(concat(x, embedding[id])) + user), z (2, B) = two columns of the
 * hidden layer transposed, n = the number of candidates. */
static inline void build_ranker(maker *m)
{
    uint64_t seed = 42;
    float table[TABLE * WIDTH], w[(FEATURES + WIDTH) * HIDDEN], bias[HIDDEN], w_user[USER * HIDDEN];
    fill_random(&seed, MTL_F32, table, TABLE * WIDTH);
    fill_random(&seed, MTL_F32, w, (FEATURES + WIDTH) * HIDDEN);
    fill_random(&seed, MTL_F32, bias, HIDDEN);
    fill_random(&seed, MTL_F32, w_user, USER * HIDDEN);
    maker_begin(m);
    uint32_t x = maker_input(m, "x", MTL_F32, (int64_t[]){B, FEATURES}, 2);
    uint32_t id = maker_input(m, "item_id", MTL_I32, (int64_t[]){B, 1}, 2);
    uint32_t user = maker_input(m, "user", MTL_F32, (int64_t[]){1, USER}, 2);
    uint32_t projected = maker_request(m, MTL_F32, (int64_t[]){1, HIDDEN}, 2);
    uint32_t wide = maker_row(m, MTL_I64, (int64_t[]){B}, 1);
    plan_tensor view = {.dtype = MTL_I32, .storage = PLAN_STORAGE_INPUT, .index = 1};
    uint32_t flat_id = maker_tensor(m, "item_id_flat", view, (int64_t[]){B}, 1);
    uint32_t embedded = maker_row(m, MTL_F32, (int64_t[]){B, WIDTH}, 2);
    uint32_t joined = maker_row(m, MTL_F32, (int64_t[]){B, FEATURES + WIDTH}, 2);
    uint32_t hidden = maker_row(m, MTL_F32, (int64_t[]){B, HIDDEN}, 2);
    uint32_t summed = maker_row(m, MTL_F32, (int64_t[]){B, HIDDEN}, 2);
    uint32_t part = maker_row(m, MTL_F32, (int64_t[]){B, 2}, 2);
    uint32_t turned = maker_row(m, MTL_F32, (int64_t[]){2, B}, 2);
    uint32_t y = maker_output(m, "y", MTL_F32, (int64_t[]){B, HIDDEN}, 2);
    uint32_t z = maker_output(m, "z", MTL_F32, (int64_t[]){2, B}, 2);
    uint32_t n = maker_output(m, "n", MTL_I64, (int64_t[]){1}, 1);
    uint32_t table_tensor = maker_const(m, MTL_F32, (int64_t[]){TABLE, WIDTH}, 2, table);
    uint32_t w_tensor = maker_weights(m, 1, FEATURES + WIDTH, HIDDEN, w), bias_tensor = maker_bias(m, 1, HIDDEN, bias);
    uint32_t w_user_tensor = maker_weights(m, 1, USER, HIDDEN, w_user);
    const int64_t none[3] = {0, 0, 0};
    maker_step(m, PLAN_OP_linear, 0, (uint32_t[]){user, w_user_tensor}, 2, projected, none, 3);
    maker_step(m, PLAN_OP_extents, 0, NULL, 0, n, (int64_t[]){0, 1}, 2);
    m->meta.request_step_count = 2;
    maker_step(m, PLAN_OP_cast, 0, &flat_id, 1, wide, NULL, 0);
    maker_step(m, PLAN_OP_gather, 0, (uint32_t[]){table_tensor, wide}, 2, embedded, (int64_t[]){0}, 1);
    maker_step(m, PLAN_OP_concat, 0, (uint32_t[]){x, embedded}, 2, joined, (int64_t[]){1}, 1);
    maker_step(m, PLAN_OP_linear, PLAN_UNARY_relu, (uint32_t[]){joined, w_tensor, bias_tensor}, 3, hidden, none, 3);
    maker_step(m, PLAN_OP_binary, PLAN_BINARY_add, (uint32_t[]){hidden, projected}, 2, summed, NULL, 0);
    maker_step(m, PLAN_OP_unary, PLAN_UNARY_sigmoid, &summed, 1, y, none, 2);
    maker_step(m, PLAN_OP_slice, 0, &hidden, 1, part, (int64_t[]){0, 1, 3, 1}, 4);
    maker_step(m, PLAN_OP_transpose, 0, &part, 1, turned, (int64_t[]){1, 0}, 2);
    maker_step(m, PLAN_OP_store, 0, &turned, 1, z, NULL, 0);
    (void)id;
}

#endif
