/* For tests of libmtlrt: plans made by hand, and random tensors. Everything aborts on an unexpected error, through
 * cmocka's assertions, so that the tests read as what they test. */
#ifndef TESTS_RUNTIME_HELPERS_H
#define TESTS_RUNTIME_HELPERS_H

/* cmocka.h wants these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mtlc/runtime.h"
#include "plan/build.h"

enum { B = -1, NO_BIAS = -1 }; /* an extent that is the rows; an absent operand */

/* A plan in the making. The row workspace grows with every `row` tensor; nothing is reused. */
typedef struct maker {
    base_arena arena;
    mtl_error error;
    base_diag diag;
    plan_builder *builder;
    plan_meta meta;
    uint32_t inputs, outputs;
} maker;

static inline void require(mtl_status status, const mtl_error *error)
{
    if (status != MTL_OK) {
        fail_msg("%s: %s", mtl_status_name(status), error->message);
    }
}

static inline void maker_begin(maker *m)
{
    memset(m, 0, sizeof *m);
    m->diag.error = &m->error;
    require(plan_builder_new(&m->arena, &m->diag, &m->builder), &m->error);
}

/* An extent: B is 1 per row, B * f - below B - is f per row (write rows_times(f)). */
static inline int64_t rows_times(int64_t factor)
{
    return -factor;
}

static inline uint32_t maker_tensor(maker *m, const char *name, plan_tensor record, const int64_t *shape, int rank)
{
    mtl_dim dims[MTL_MAX_RANK] = {{0}};
    for (int i = 0; i < rank; i++) {
        dims[i] = shape[i] < 0 ? (mtl_dim){.per_row = -shape[i]} : (mtl_dim){.fixed = shape[i]};
    }
    record.rank = (uint8_t)rank;
    uint32_t index;
    require(plan_add_string(m->builder, name, &record.name), &m->error);
    require(plan_add_tensor(m->builder, &record, dims, &index), &m->error);
    return index;
}

static inline size_t bytes_once(mtl_dtype dtype, const int64_t *shape, int rank, int64_t rows)
{
    size_t bytes = mtl_dtype_size(dtype);
    for (int i = 0; i < rank; i++) {
        bytes *= (size_t)(shape[i] < 0 ? -shape[i] * rows : shape[i]);
    }
    return bytes;
}

static inline uint32_t maker_input(maker *m, const char *name, mtl_dtype dtype, const int64_t *shape, int rank)
{
    uint32_t tensor = maker_tensor(
        m, name, (plan_tensor){.dtype = (uint8_t)dtype, .storage = PLAN_STORAGE_INPUT, .index = m->inputs++}, shape,
        rank);
    require(plan_add_input(m->builder, tensor), &m->error);
    return tensor;
}

static inline uint32_t maker_output(maker *m, const char *name, mtl_dtype dtype, const int64_t *shape, int rank)
{
    uint32_t tensor = maker_tensor(
        m, name, (plan_tensor){.dtype = (uint8_t)dtype, .storage = PLAN_STORAGE_OUTPUT, .index = m->outputs++}, shape,
        rank);
    require(plan_add_output(m->builder, tensor), &m->error);
    return tensor;
}

static inline uint32_t maker_row(maker *m, mtl_dtype dtype, const int64_t *shape, int rank)
{
    uint64_t offset = m->meta.row_bytes;
    m->meta.row_bytes += (bytes_once(dtype, shape, rank, 1) + 3) / 4 * 4;
    return maker_tensor(
        m, "value", (plan_tensor){.dtype = (uint8_t)dtype, .storage = PLAN_STORAGE_ROW, .offset = offset}, shape, rank);
}

static inline uint32_t maker_request(maker *m, mtl_dtype dtype, const int64_t *shape, int rank)
{
    uint64_t offset = m->meta.request_bytes;
    m->meta.request_bytes += (bytes_once(dtype, shape, rank, 1) + 63) / 64 * 64;
    return maker_tensor(m, "request",
                        (plan_tensor){.dtype = (uint8_t)dtype, .storage = PLAN_STORAGE_REQUEST, .offset = offset},
                        shape, rank);
}

static inline uint32_t maker_const(maker *m, mtl_dtype dtype, const int64_t *shape, int rank, const void *data)
{
    plan_tensor record = {.dtype = (uint8_t)dtype, .storage = PLAN_STORAGE_CONST};
    require(plan_add_const(m->builder, data, bytes_once(dtype, shape, rank, 1), &record.offset), &m->error);
    return maker_tensor(m, "constant", record, shape, rank);
}

/* w (g, k, n) and bias (g, n), packed. */
static inline uint32_t maker_weights(maker *m, int64_t g, int64_t k, int64_t n, const float *w)
{
    size_t count = plan_panels_count((size_t)g, (size_t)k, (size_t)n);
    float *packed = BASE_NEW_ARRAY(&m->arena, float, count);
    plan_pack_panels(w, (size_t)g, (size_t)k, (size_t)n, packed);
    plan_tensor record = {.dtype = MTL_F32, .storage = PLAN_STORAGE_CONST, .layout = PLAN_LAYOUT_PANELS};
    require(plan_add_const(m->builder, packed, count * sizeof(float), &record.offset), &m->error);
    return maker_tensor(m, "w", record, (int64_t[]){g, k, n}, 3);
}

static inline uint32_t maker_bias(maker *m, int64_t g, int64_t n, const float *bias)
{
    size_t count = plan_panels_count((size_t)g, 1, (size_t)n);
    float *packed = BASE_NEW_ARRAY(&m->arena, float, count);
    plan_pack_padded(bias, (size_t)g, (size_t)n, packed);
    plan_tensor record = {.dtype = MTL_F32, .storage = PLAN_STORAGE_CONST, .layout = PLAN_LAYOUT_PADDED};
    require(plan_add_const(m->builder, packed, count * sizeof(float), &record.offset), &m->error);
    return maker_tensor(m, "bias", record, (int64_t[]){g, n}, 2);
}

static inline void maker_step(maker *m, plan_op op, unsigned function, const uint32_t *inputs, size_t input_count,
                              uint32_t output, const int64_t *attrs, size_t attr_count)
{
    require(plan_add_step(m->builder, op, function, inputs, input_count, output, attrs, attr_count, "node"), &m->error);
}

static inline void maker_finish(maker *m, const void **data, size_t *size)
{
    require(plan_build(m->builder, &m->meta, data, size), &m->error);
}

static inline mtl_plan *open_plan(const void *data, size_t size, mtl_provider provider, mtl_isa isa)
{
    mtl_plan_options options = {.struct_size = sizeof options, .provider = provider, .isa = isa};
    mtl_error error;
    mtl_plan *plan;
    require(mtl_plan_open_memory(data, size, &options, &plan, &error), &error);
    return plan;
}

static inline mtl_session *open_session(mtl_plan *plan, size_t tile_rows, size_t max_rows)
{
    mtl_session_options options = {.struct_size = sizeof options, .tile_rows = tile_rows, .max_rows = max_rows};
    mtl_error error;
    mtl_session *session;
    require(mtl_session_create(plan, &options, &session, &error), &error);
    return session;
}

/* A small generator of our own, so that a failure is the same everywhere. */
static inline uint32_t random_u32(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static inline int64_t random_below(uint64_t *state, int64_t n)
{
    return (int64_t)(random_u32(state) % (uint64_t)n);
}

static inline float random_float(uint64_t *state)
{
    return (float)random_below(state, 20001) / 5000.0f - 2.0f;
}

static inline void fill_random(uint64_t *state, mtl_dtype dtype, void *data, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        switch (dtype) {
        case MTL_F32: ((float *)data)[i] = random_float(state); break;
        case MTL_F64: ((double *)data)[i] = (double)random_float(state); break;
        case MTL_I64: ((int64_t *)data)[i] = random_below(state, 41) - 20; break;
        case MTL_I32: ((int32_t *)data)[i] = (int32_t)random_below(state, 41) - 20; break;
        case MTL_BOOL: ((uint8_t *)data)[i] = (uint8_t)random_below(state, 2); break;
        default: fail_msg("no random %s", mtl_dtype_name(dtype));
        }
    }
}

static inline double number_at(mtl_dtype dtype, const void *data, size_t i)
{
    switch (dtype) {
    case MTL_F32: return (double)((const float *)data)[i];
    case MTL_F64: return ((const double *)data)[i];
    case MTL_I64: return (double)((const int64_t *)data)[i];
    case MTL_I32: return (double)((const int32_t *)data)[i];
    case MTL_BOOL: return (double)((const uint8_t *)data)[i];
    default: return 0;
    }
}

#endif
