/* The inputs that `mtlrun bench` makes up: normal numbers, and ids within the tables that they reach. */
#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/half.h"
#include "runtime/cmd_bench.h"
#include "runtime/internal.h"

enum {
    BATCHES = 8,             /* prepared inputs, taken in turn */
    BATCH_BYTES = 256 << 20, /* fewer of them when they would be larger than this together */
};

static uint64_t random_next(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u; /* splitmix64, Steele et al. 2014 */
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double random_normal(uint64_t *state)
{
    double u = ((double)(random_next(state) >> 11) + 0.5) * 0x1p-53;
    double v = (double)(random_next(state) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

void runtime_bench_limits(const mtl_plan *plan, int64_t *limits)
{
    const plan_view *view = &plan->view;
    for (size_t i = 0; i < view->step_count; i++) {
        const plan_step *step = &view->steps[i];
        if (step->op != PLAN_OP_gather && step->op != PLAN_OP_bag) {
            continue;
        }
        const plan_tensor *source = runtime_origin(view, plan_operand(view, step, 1), i);
        int64_t axis = step->op == PLAN_OP_gather ? view->attrs[step->attrs + PLAN_GATHER_AXIS] : 0;
        int64_t count = plan_dims(view, plan_operand(view, step, 0))[axis].fixed;
        if (source->storage == PLAN_STORAGE_INPUT && count > 0) {
            int64_t *limit = &limits[source->index];
            *limit = *limit == 0 || count < *limit ? count : *limit;
        }
    }
}

#define FILL(type)                                                                                                     \
    for (size_t i = 0; i < count; i++) {                                                                               \
        ((type *)data)[i] = (type)(random_next(state) % (uint64_t)limit);                                              \
    }                                                                                                                  \
    break

static void fill(mtl_dtype dtype, int64_t limit, uint64_t *state, void *data, size_t count)
{
    switch (dtype) {
    case MTL_F32:
        for (size_t i = 0; i < count; i++) {
            ((float *)data)[i] = (float)random_normal(state);
        }
        break;
    case MTL_F64:
        for (size_t i = 0; i < count; i++) {
            ((double *)data)[i] = random_normal(state);
        }
        break;
    case MTL_F16:
    case MTL_BF16:
        for (size_t i = 0; i < count; i++) {
            float number = (float)random_normal(state);
            ((uint16_t *)data)[i] = dtype == MTL_F16 ? base_f16_from_f32(number) : base_bf16_from_f32(number);
        }
        break;
    case MTL_I64:
    case MTL_U64: FILL(uint64_t);
    case MTL_I32:
    case MTL_U32: FILL(uint32_t);
    case MTL_I16:
    case MTL_U16: FILL(uint16_t);
    case MTL_I8:
    case MTL_U8: FILL(uint8_t);
    case MTL_BOOL: FILL(uint8_t);
    }
}
#undef FILL

/* What an integer input of this dtype may hold, at most `limit` ids; a small range where no table is known. */
static int64_t limit_for(mtl_dtype dtype, int64_t limit)
{
    int64_t most = dtype == MTL_BOOL            ? 2
                   : mtl_dtype_size(dtype) == 1 ? 128
                   : mtl_dtype_size(dtype) == 2 ? 32768
                                                : INT32_MAX;
    limit = limit > 0 ? limit : 2;
    return limit < most ? limit : most;
}

bool runtime_bench_bytes(const mtl_tensor_info *info, int64_t rows, size_t *bytes)
{
    size_t total = mtl_dtype_size(info->dtype);
    for (int axis = 0; axis < info->rank; axis++) {
        if (!base_mul_size(total, (size_t)mtl_dim_extent(info->shape[axis], rows, 1), &total)) {
            return false;
        }
    }
    *bytes = total;
    return total <= PTRDIFF_MAX;
}

void runtime_bench_inputs_free(runtime_bench_inputs *inputs)
{
    for (size_t i = 0; inputs->data != NULL && i < inputs->batches * inputs->count; i++) {
        free(inputs->data[i]);
    }
    free(inputs->data);
    *inputs = (runtime_bench_inputs){0};
}

bool runtime_bench_inputs_new(const mtl_plan *plan, int64_t rows, const int64_t *limits, runtime_bench_inputs *inputs)
{
    size_t once = 0;
    *inputs = (runtime_bench_inputs){.batches = BATCHES, .count = mtl_plan_input_count(plan)};
    for (size_t i = 0; i < inputs->count; i++) {
        size_t bytes;
        if (!runtime_bench_bytes(mtl_plan_input(plan, i), rows, &bytes) || !base_add_size(once, bytes, &once)) {
            return false;
        }
    }
    if (once > BATCH_BYTES / BATCHES) {
        inputs->batches = once > BATCH_BYTES ? 1 : BATCH_BYTES / once;
    }
    inputs->data = calloc(inputs->batches * inputs->count + 1, sizeof *inputs->data);
    uint64_t state = 1;
    for (size_t i = 0; inputs->data != NULL && i < inputs->batches * inputs->count; i++) {
        size_t index = i % inputs->count, bytes = 0;
        const mtl_tensor_info *info = mtl_plan_input(plan, index);
        inputs->data[i] = runtime_bench_bytes(info, rows, &bytes) ? malloc(bytes > 0 ? bytes : 1) : NULL;
        if (inputs->data[i] == NULL) {
            return false;
        }
        fill(info->dtype, limit_for(info->dtype, limits[index]), &state, inputs->data[i],
             bytes / mtl_dtype_size(info->dtype));
    }
    return inputs->data != NULL;
}
