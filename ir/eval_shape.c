/* Reference evaluation of operations that move elements. */
#include <string.h>

#include "ir/eval.h"

/* Numbers of any dtype: exactly one of the two is not NULL. */
typedef struct numbers {
    const double *f;
    const int64_t *i;
} numbers;

typedef struct new_numbers {
    double *f;
    int64_t *i;
} new_numbers;

static mtl_status read_numbers(const ir_eval_call *call, size_t operand, numbers *x)
{
    *x = (numbers){NULL, NULL};
    return ir_dtype_is_float(call->output->dtype) ? ir_eval_floats(call, operand, &x->f)
                                                  : ir_eval_ints(call, operand, &x->i);
}

static mtl_status make_numbers(const ir_eval_call *call, new_numbers *y)
{
    *y = (new_numbers){NULL, NULL};
    return ir_dtype_is_float(call->output->dtype) ? ir_eval_new_floats(call, &y->f) : ir_eval_new_ints(call, &y->i);
}

static void copy_numbers(new_numbers y, int64_t to, numbers x, int64_t from, int64_t count)
{
    if (count <= 0) {
        return;
    }
    if (y.f != NULL) {
        memcpy(y.f + to, x.f + from, (size_t)count * sizeof *y.f);
    } else {
        memcpy(y.i + to, x.i + from, (size_t)count * sizeof *y.i);
    }
}

/* Fills the result from operand 0 through the walk, which starts at element `start`. */
static mtl_status fill_by_walk(const ir_eval_call *call, ir_walk *walk, int64_t start)
{
    numbers x;
    new_numbers y;
    BASE_TRY(read_numbers(call, 0, &x));
    BASE_TRY(make_numbers(call, &y));
    for (size_t i = 0; i < call->output->count; i++, ir_walk_next(walk)) {
        copy_numbers(y, (int64_t)i, x, start + walk->at[0], 1);
    }
    return MTL_OK;
}

mtl_status ir_eval_shape(const ir_eval_call *call)
{
    int64_t *y;
    BASE_TRY(ir_eval_new_ints(call, &y));
    for (size_t i = 0; i < call->output->count; i++) {
        y[i] = call->inputs[0]->shape[i];
    }
    return MTL_OK;
}

mtl_status ir_eval_copy(const ir_eval_call *call)
{
    const ir_tensor *x = call->inputs[0];
    if (x->count != call->output->count) {
        return ir_eval_fail(call, MTL_INVALID_DATA, "%zu elements cannot be reshaped to %zu", x->count,
                            call->output->count);
    }
    call->output->raw = x->raw;
    call->output->f = x->f;
    call->output->i = x->i;
    return MTL_OK;
}

mtl_status ir_eval_expand(const ir_eval_call *call)
{
    ir_walk walk;
    ir_walk_start(&walk, call->output);
    ir_walk_broadcast(&walk, 0, call->inputs[0]);
    return fill_by_walk(call, &walk, 0);
}

static void strides_of(const ir_tensor *x, int64_t *strides)
{
    int64_t stride = 1;
    for (int i = x->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= x->shape[i];
    }
}

mtl_status ir_eval_transpose(const ir_eval_call *call)
{
    const ir_attr *perm = ir_find_attr(call->node, IR_ATTR_perm);
    int64_t strides[MTL_MAX_RANK] = {0};
    strides_of(call->inputs[0], strides);
    ir_walk walk;
    ir_walk_start(&walk, call->output);
    for (int j = 0; j < walk.rank; j++) {
        walk.stride[0][j] = strides[perm->ints[j]];
    }
    return fill_by_walk(call, &walk, 0);
}

mtl_status ir_eval_slice(const ir_eval_call *call)
{
    const ir_tensor *x = call->inputs[0];
    const ir_attr *starts = ir_find_attr(call->node, IR_ATTR_starts), *steps = ir_find_attr(call->node, IR_ATTR_steps);
    int64_t strides[MTL_MAX_RANK] = {0}, start = 0;
    strides_of(x, strides);
    ir_walk walk;
    ir_walk_start(&walk, call->output);
    if (call->output->count > 0) {
        for (int j = 0; j < walk.rank; j++) {
            int64_t first = starts->ints[j], last, extent = x->shape[j];
            if (__builtin_mul_overflow(steps->ints[j], walk.shape[j] - 1, &last) ||
                __builtin_add_overflow(last, first, &last) || first < 0 || first >= extent || last < 0 ||
                last >= extent) {
                return ir_eval_fail(call, MTL_INVALID_DATA, "axis %d of extent %lld is sliced outside", j,
                                    (long long)extent);
            }
            walk.stride[0][j] = walk.shape[j] == 1 ? 0 : strides[j] * steps->ints[j];
            start += strides[j] * first;
        }
    }
    return fill_by_walk(call, &walk, start);
}

mtl_status ir_eval_concat(const ir_eval_call *call)
{
    int axis = (int)ir_attr_int(call->node, IR_ATTR_axis);
    ir_axis_view all = ir_view_axis(call->output, axis);
    new_numbers y;
    BASE_TRY(make_numbers(call, &y));
    int64_t offset = 0;
    for (uint32_t k = 0; k < call->node->input_count; k++) {
        numbers x;
        BASE_TRY(read_numbers(call, k, &x));
        ir_axis_view part = ir_view_axis(call->inputs[k], axis);
        if (part.outer != all.outer || part.inner != all.inner || part.extent > all.extent - offset) {
            return ir_eval_fail(call, MTL_INVALID_DATA, "operand %u does not fit", k);
        }
        int64_t run = part.extent * part.inner;
        for (int64_t o = 0; o < part.outer; o++) {
            copy_numbers(y, (o * all.extent + offset) * all.inner, x, o * run, run);
        }
        offset += part.extent;
    }
    return MTL_OK;
}

mtl_status ir_eval_batch_gather(const ir_eval_call *call)
{
    const ir_tensor *data = call->inputs[0], *indices = call->inputs[1];
    ir_axis_view view = ir_view_axis(data, (int)ir_attr_int(call->node, IR_ATTR_axis));
    numbers x;
    new_numbers y;
    const int64_t *index;
    BASE_TRY(ir_eval_ints(call, 1, &index));
    BASE_TRY(read_numbers(call, 0, &x));
    BASE_TRY(make_numbers(call, &y));
    int64_t count = view.outer > 0 ? (int64_t)indices->count / view.outer : 0; /* of each outer element */
    for (int64_t n = 0; n < (int64_t)indices->count; n++) {
        int64_t at = index[n] < 0 && index[n] >= -view.extent ? index[n] + view.extent : index[n];
        if (at < 0 || at >= view.extent) {
            return ir_eval_fail(call, MTL_INVALID_DATA, "index %lld at element %lld is out of range for %lld rows",
                                (long long)index[n], (long long)n, (long long)view.extent);
        }
        copy_numbers(y, n * view.inner, x, (n / count * view.extent + at) * view.inner, view.inner);
    }
    return MTL_OK;
}

mtl_status ir_eval_range(const ir_eval_call *call)
{
    numbers start, delta;
    new_numbers y;
    BASE_TRY(read_numbers(call, 0, &start));
    BASE_TRY(read_numbers(call, 2, &delta));
    BASE_TRY(make_numbers(call, &y));
    for (size_t n = 0; n < call->output->count; n++) {
        if (y.f != NULL) {
            y.f[n] = start.f[0] + (double)n * delta.f[0];
        } else {
            y.i[n] =
                ir_wrap_int((int64_t)((uint64_t)start.i[0] + (uint64_t)n * (uint64_t)delta.i[0]), call->output->dtype);
        }
    }
    return MTL_OK;
}
