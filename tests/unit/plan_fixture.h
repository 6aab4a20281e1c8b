/* A small plan that has everything: constants in all layouts, both programs, all storages, a scattered output. */
#ifndef TESTS_PLAN_FIXTURE_H
#define TESTS_PLAN_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "plan/build.h"
#include "plan/plan.h"

enum fixture_tensor {
    T_X,
    T_USER,
    T_IDS,
    T_W1,
    T_B1,
    T_W2,
    T_TABLE,
    T_USER_RELU,
    T_HIDDEN,
    T_HIDDEN_GROUPS,
    T_EXPERTS,
    T_SUM,
    T_TILED,
    T_CONCAT,
    T_PICKED,
    T_SCATTERED,
    T_OUT_USER,
    T_OUT_Y,
    T_OUT_EXPERTS,
};

enum fixture_step {
    S_USER_RELU,
    S_USER_COPY,
    S_LINEAR,
    S_GROUPED,
    S_SIGMOID,
    S_SUM,
    S_EXPAND,
    S_CONCAT,
    S_GATHER,
    S_ADD,
    S_TRANSPOSE,
    S_STORE,
    S_COUNT,
};

static mtl_dim fixed(int64_t n)
{
    return (mtl_dim){.fixed = n};
}
static mtl_dim rows(int64_t n)
{
    return (mtl_dim){.per_row = n};
}

/* Adds a tensor whose index must be `expected`. `at`: the offset, or the index of an input or output. */
static void add_tensor(plan_builder *builder, uint32_t expected, const char *name, mtl_dtype dtype,
                       plan_storage storage, plan_layout layout, uint64_t at, int rank, mtl_dim a, mtl_dim b, mtl_dim c)
{
    mtl_dim dims[] = {a, b, c};
    bool boundary = storage == PLAN_STORAGE_INPUT || storage == PLAN_STORAGE_OUTPUT;
    plan_tensor record = {.dtype = (uint8_t)dtype,
                          .rank = (uint8_t)rank,
                          .storage = (uint8_t)storage,
                          .layout = (uint8_t)layout,
                          .index = boundary ? (uint32_t)at : 0,
                          .offset = boundary ? 0 : at};
    uint32_t index;
    assert_int_equal(plan_add_string(builder, name, &record.name), MTL_OK);
    assert_int_equal(plan_add_tensor(builder, &record, dims, &index), MTL_OK);
    assert_int_equal(index, expected);
}

static void add_step(plan_builder *builder, plan_op op, unsigned function, const uint32_t *inputs, size_t count,
                     uint32_t output, int64_t attr0, int64_t attr1, int64_t attr2, size_t attrs, const char *label)
{
    int64_t numbers[] = {attr0, attr1, attr2};
    assert_int_equal(plan_add_step(builder, op, function, inputs, count, output, numbers, attrs, label), MTL_OK);
}

static void fixture_tensors(plan_builder *builder)
{
    float numbers[512];
    float packed[1024];
    uint64_t w1, b1, w2, table;
    for (int i = 0; i < 512; i++) {
        numbers[i] = (float)i / 8;
    }
    plan_pack_panels(numbers, 1, 8, 20, packed);
    assert_int_equal(plan_add_const(builder, packed, plan_panels_count(1, 8, 20) * 4, &w1), MTL_OK);
    plan_pack_padded(numbers, 1, 20, packed);
    assert_int_equal(plan_add_const(builder, packed, 32 * 4, &b1), MTL_OK);
    plan_pack_panels(numbers, 2, 10, 3, packed);
    assert_int_equal(plan_add_const(builder, packed, plan_panels_count(2, 10, 3) * 4, &w2), MTL_OK);
    assert_int_equal(plan_add_const(builder, numbers, 50 * 7 * 4, &table), MTL_OK);
    mtl_dim none = fixed(0);
    add_tensor(builder, T_X, "x", MTL_F32, PLAN_STORAGE_INPUT, 0, 0, 2, rows(1), fixed(8), none);
    add_tensor(builder, T_USER, "user", MTL_F32, PLAN_STORAGE_INPUT, 0, 1, 1, fixed(4), none, none);
    add_tensor(builder, T_IDS, "ids", MTL_I64, PLAN_STORAGE_INPUT, 0, 2, 1, rows(1), none, none);
    add_tensor(builder, T_W1, "w1", MTL_F32, PLAN_STORAGE_CONST, PLAN_LAYOUT_PANELS, w1, 3, fixed(1), fixed(8),
               fixed(20));
    add_tensor(builder, T_B1, "b1", MTL_F32, PLAN_STORAGE_CONST, PLAN_LAYOUT_PADDED, b1, 2, fixed(1), fixed(20), none);
    add_tensor(builder, T_W2, "w2", MTL_F32, PLAN_STORAGE_CONST, PLAN_LAYOUT_PANELS, w2, 3, fixed(2), fixed(10),
               fixed(3));
    add_tensor(builder, T_TABLE, "table", MTL_F32, PLAN_STORAGE_CONST, 0, table, 2, fixed(50), fixed(7), none);
    add_tensor(builder, T_USER_RELU, "user_relu", MTL_F32, PLAN_STORAGE_REQUEST, 0, 0, 1, fixed(4), none, none);
    add_tensor(builder, T_HIDDEN, "hidden", MTL_F32, PLAN_STORAGE_ROW, 0, 0, 2, rows(1), fixed(20), none);
    add_tensor(builder, T_HIDDEN_GROUPS, "", MTL_F32, PLAN_STORAGE_ROW, 0, 0, 3, rows(1), fixed(2), fixed(10));
    add_tensor(builder, T_EXPERTS, "experts", MTL_F32, PLAN_STORAGE_ROW, 0, 80, 3, rows(1), fixed(2), fixed(3));
    add_tensor(builder, T_SUM, "sum", MTL_F32, PLAN_STORAGE_ROW, 0, 0, 2, rows(1), fixed(3), none);
    add_tensor(builder, T_TILED, "user_tiled", MTL_F32, PLAN_STORAGE_ROW, 0, 12, 2, rows(1), fixed(4), none);
    add_tensor(builder, T_CONCAT, "concat", MTL_F32, PLAN_STORAGE_ROW, 0, 28, 2, rows(1), fixed(7), none);
    add_tensor(builder, T_PICKED, "picked", MTL_F32, PLAN_STORAGE_ROW, 0, 0, 2, rows(1), fixed(7), none);
    add_tensor(builder, T_SCATTERED, "scattered", MTL_F32, PLAN_STORAGE_ROW, 0, 0, 3, fixed(2), rows(1), fixed(3));
    add_tensor(builder, T_OUT_USER, "profile", MTL_F32, PLAN_STORAGE_OUTPUT, 0, 0, 1, fixed(4), none, none);
    add_tensor(builder, T_OUT_Y, "y", MTL_F32, PLAN_STORAGE_OUTPUT, 0, 1, 2, rows(1), fixed(7), none);
    add_tensor(builder, T_OUT_EXPERTS, "experts", MTL_F32, PLAN_STORAGE_OUTPUT, 0, 2, 3, fixed(2), rows(1), fixed(3));
}

#define INPUTS(...) (const uint32_t[]){__VA_ARGS__}, sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)

static void fixture_steps(plan_builder *builder)
{
    add_step(builder, PLAN_OP_unary, PLAN_UNARY_relu, INPUTS(T_USER), T_USER_RELU, 0, 0, 0, 2, "relu_user");
    add_step(builder, PLAN_OP_copy, 0, INPUTS(T_USER_RELU), T_OUT_USER, 0, 0, 0, 0, "");
    add_step(builder, PLAN_OP_linear, PLAN_UNARY_leaky_relu, INPUTS(T_X, T_W1, T_B1), T_HIDDEN, plan_float_attr(0.01),
             0, 0, 3, "gemm0, leaky0");
    add_step(builder, PLAN_OP_linear, 0, INPUTS(T_HIDDEN_GROUPS, T_W2), T_EXPERTS, 0, 0, 0, 3, "bmm");
    add_step(builder, PLAN_OP_unary, PLAN_UNARY_sigmoid, INPUTS(T_EXPERTS), T_EXPERTS, 0, 0, 0, 2, "sigmoid");
    add_step(builder, PLAN_OP_reduce, PLAN_REDUCE_sum, INPUTS(T_EXPERTS), T_SUM, 1, 2, 0, 2, "sum");
    add_step(builder, PLAN_OP_expand, 0, INPUTS(T_USER_RELU), T_TILED, 0, 0, 0, 0, "expand");
    add_step(builder, PLAN_OP_concat, 0, INPUTS(T_SUM, T_TILED), T_CONCAT, 1, 0, 0, 1, "concat");
    add_step(builder, PLAN_OP_gather, 0, INPUTS(T_TABLE, T_IDS), T_PICKED, 0, 0, 0, 1, "embedding");
    add_step(builder, PLAN_OP_binary, PLAN_BINARY_add, INPUTS(T_CONCAT, T_PICKED), T_OUT_Y, 0, 0, 0, 0, "add");
    add_step(builder, PLAN_OP_transpose, 0, INPUTS(T_EXPERTS), T_SCATTERED, 1, 0, 2, 3, "transpose");
    add_step(builder, PLAN_OP_store, 0, INPUTS(T_SCATTERED), T_OUT_EXPERTS, 0, 0, 0, 0, "");
}

/* The plan in memory of exactly its size, to be freed; *size bytes. */
static inline unsigned char *fixture_plan(size_t *size)
{
    base_arena arena = {0};
    mtl_error error = {.message = ""};
    base_diag diag = {.error = &error};
    plan_builder *builder;
    assert_int_equal(plan_builder_new(&arena, &diag, &builder), MTL_OK);
    fixture_tensors(builder);
    fixture_steps(builder);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(plan_add_input(builder, T_X + i), MTL_OK);
        assert_int_equal(plan_add_output(builder, T_OUT_USER + i), MTL_OK);
    }
    for (uint32_t i = 0; i < 2; i++) { /* of x: columns 0..2 and 7..11 of 12 */
        const plan_columns columns = {.from = 7 * i, .count = 3 + 2 * i, .width = 12};
        assert_int_equal(plan_add_columns(builder, "whole", &columns), MTL_OK);
    }
    plan_meta meta = {.request_step_count = 2, .request_bytes = 64, .row_bytes = 104, .source_hash = {1, 2}};
    assert_int_equal(plan_add_string(builder, "fixture", &meta.model_name), MTL_OK);
    assert_int_equal(plan_add_string(builder, "pytorch 2.13", &meta.producer), MTL_OK);
    assert_int_equal(plan_add_string(builder, "mtlc test", &meta.compiler), MTL_OK);
    const void *data;
    mtl_status status = plan_build(builder, &meta, &data, size);
    if (status != MTL_OK) {
        fail_msg("%s", error.message);
    }
    void *copy;
    assert_int_equal(posix_memalign(&copy, PLAN_ALIGNMENT, *size), 0);
    memcpy(copy, data, *size);
    base_arena_free(&arena);
    return copy;
}

static inline plan_section *section_of(unsigned char *file, plan_section_kind kind)
{
    return (plan_section *)(void *)(file + sizeof(plan_header)) + (kind - 1);
}

/* Makes all checksums right again: what then fails is behind them. */
static inline void reseal(unsigned char *file, size_t size)
{
    plan_header *header = (plan_header *)(void *)file;
    int sections = header->section_count == PLAN_SECTION_COUNT ? PLAN_SECTION_COUNT : PLAN_SECTION_MOST;
    for (int kind = 1; kind <= sections; kind++) {
        plan_section *section = section_of(file, kind);
        if (section->offset <= size && section->size <= size - section->offset) {
            section->checksum = base_hash64(file + section->offset, (size_t)section->size);
        }
    }
    header->checksum = 0;
    header->checksum = base_hash64(file, sizeof *header + (size_t)sections * sizeof(plan_section));
}

#endif
