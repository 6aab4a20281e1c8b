/* The memory plan: random lifetimes never collide, the result is no larger than need be on cases with a known answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compiler/memory.h"

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static void live_blocks_never_overlap(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (int round = 0; round < 200; round++) {
        base_arena arena = {0};
        compiler_block blocks[60];
        size_t count = 1 + next_random(&seed) % 60;
        uint64_t total, peak = 0;
        for (size_t i = 0; i < count; i++) {
            uint32_t first = next_random(&seed) % 40;
            blocks[i] = (compiler_block){
                .size = 64 * (next_random(&seed) % 50), .first = first, .last = first + next_random(&seed) % 12};
        }
        assert_int_equal(compiler_plan_memory(blocks, count, &arena, NULL, &total), MTL_OK);
        for (size_t i = 0; i < count; i++) {
            assert_true(blocks[i].offset % 64 == 0 && blocks[i].offset + blocks[i].size <= total);
            for (size_t j = 0; j < i; j++) {
                int meet = blocks[i].first <= blocks[j].last && blocks[j].first <= blocks[i].last;
                int apart = blocks[i].offset + blocks[i].size <= blocks[j].offset ||
                            blocks[j].offset + blocks[j].size <= blocks[i].offset;
                assert_true(!meet || apart || blocks[i].size == 0 || blocks[j].size == 0);
            }
        }
        for (uint32_t step = 0; step < 60; step++) {
            uint64_t live = 0;
            for (size_t i = 0; i < count; i++) {
                live += blocks[i].first <= step && step <= blocks[i].last ? blocks[i].size : 0;
            }
            peak = live > peak ? live : peak;
        }
        assert_true(total >= peak && total <= 2 * peak);
        base_arena_free(&arena);
    }
}

static void a_chain_needs_two_blocks(void **state)
{
    (void)state;
    base_arena arena = {0};
    compiler_block blocks[9];
    uint64_t total;
    for (uint32_t i = 0; i < 9; i++) {
        blocks[i] = (compiler_block){.size = 64, .first = i, .last = i + 1};
    }
    assert_int_equal(compiler_plan_memory(blocks, 9, &arena, NULL, &total), MTL_OK);
    assert_int_equal(total, 128);
    base_arena_free(&arena);
}

static void equal_calls_give_equal_plans(void **state)
{
    (void)state;
    base_arena arena = {0};
    compiler_block a[30], b[30];
    uint64_t total_a, total_b;
    for (uint32_t i = 0; i < 30; i++) {
        a[i] = (compiler_block){.size = 64 * (i % 4), .first = i / 3, .last = i / 3 + i % 5};
    }
    memcpy(b, a, sizeof a);
    assert_int_equal(compiler_plan_memory(a, 30, &arena, NULL, &total_a), MTL_OK);
    assert_int_equal(compiler_plan_memory(b, 30, &arena, NULL, &total_b), MTL_OK);
    assert_int_equal(total_a, total_b);
    for (size_t i = 0; i < 30; i++) {
        assert_int_equal(a[i].offset, b[i].offset);
    }
    base_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(live_blocks_never_overlap),
        cmocka_unit_test(a_chain_needs_two_blocks),
        cmocka_unit_test(equal_calls_give_equal_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
