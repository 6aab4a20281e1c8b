#include "runtime/nest.h"

static bool is_one(runtime_affine affine)
{
    return affine.fixed == 1 && affine.per_row == 0;
}

void runtime_strides(const plan_view *view, const plan_tensor *tensor, runtime_affine *strides)
{
    runtime_affine stride = {(int64_t)mtl_dtype_size((mtl_dtype)tensor->dtype), 0};
    for (unsigned axis = tensor->rank; axis-- > 0;) {
        runtime_affine extent = runtime_extent(view, tensor, axis);
        if (plan_is_window(tensor) && extent.per_row != 0) {
            stride = (runtime_affine){(int64_t)runtime_pitch(view, tensor), 0};
        }
        strides[axis] = stride;
        stride = runtime_times(stride, extent);
    }
}

void runtime_nest_begin(runtime_nest *nest, const plan_view *view, const plan_tensor *tensor)
{
    *nest = (runtime_nest){.rank = tensor->rank, .operands = 1};
    for (unsigned axis = 0; axis < tensor->rank; axis++) {
        nest->extent[axis] = runtime_extent(view, tensor, axis);
    }
    runtime_strides(view, tensor, nest->stride[0]);
}

void runtime_nest_broadcast(runtime_nest *nest, const plan_view *view, const plan_tensor *tensor)
{
    runtime_affine strides[MTL_MAX_RANK];
    runtime_strides(view, tensor, strides);
    runtime_affine *aligned = nest->stride[nest->operands++];
    unsigned missing = nest->rank - tensor->rank;
    for (unsigned axis = missing; axis < nest->rank; axis++) {
        if (!is_one(runtime_extent(view, tensor, axis - missing))) {
            aligned[axis] = strides[axis - missing];
        }
    }
}

void runtime_nest_strided(runtime_nest *nest, const runtime_affine *strides)
{
    runtime_affine *own = nest->stride[nest->operands++];
    for (unsigned axis = 0; axis < nest->rank; axis++) {
        own[axis] = strides[axis];
    }
}

/* Whether a step along `outer` is, in all operands and for any number of rows, a whole loop over `inner`. */
static bool mergeable(const runtime_nest *nest, unsigned outer, unsigned inner)
{
    runtime_affine extent = nest->extent[inner];
    if (extent.per_row != 0 && nest->extent[outer].per_row != 0) {
        return false;
    }
    for (unsigned i = 0; i < nest->operands; i++) {
        runtime_affine stride = nest->stride[i][inner];
        if (extent.per_row != 0 && stride.per_row != 0) {
            return false;
        }
        runtime_affine loop = runtime_times(extent, stride);
        if (nest->stride[i][outer].fixed != loop.fixed || nest->stride[i][outer].per_row != loop.per_row) {
            return false;
        }
    }
    return true;
}

void runtime_nest_merge(runtime_nest *nest)
{
    unsigned kept = 0;
    for (unsigned axis = 0; axis < nest->rank; axis++) {
        if (is_one(nest->extent[axis])) {
            continue;
        }
        unsigned target = kept;
        runtime_affine extent = nest->extent[axis];
        if (kept > 0 && mergeable(nest, kept - 1, axis)) {
            target = kept - 1;
            extent = runtime_times(extent, nest->extent[target]);
        } else {
            kept++;
        }
        nest->extent[target] = extent;
        for (unsigned i = 0; i < nest->operands; i++) {
            nest->stride[i][target] = nest->stride[i][axis];
        }
    }
    if (kept == 0) {
        nest->extent[0] = (runtime_affine){1, 0};
        for (unsigned i = 0; i < nest->operands; i++) {
            nest->stride[i][0] = (runtime_affine){0, 0};
        }
        kept = 1;
    }
    nest->rank = kept;
}

/* Moves all operands by `count` steps along `axis`. */
static void move(const runtime_nest *nest, int64_t (*stride)[MTL_MAX_RANK], unsigned axis, int64_t count,
                 runtime_lane *lane)
{
    lane->out += stride[0][axis] * count;
    for (unsigned i = 1; i < nest->operands; i++) {
        lane->in[i - 1] += stride[i][axis] * count;
    }
}

/* Fills the loops that belong to the operation; returns how many axes are left around them. */
static unsigned set_loops(const runtime_nest *nest, const int64_t *extent, int64_t (*stride)[MTL_MAX_RANK],
                          unsigned loops, runtime_lane *lane)
{
    unsigned last = nest->rank - 1;
    bool two = loops > 1 && last > 0;
    lane->n = extent[last];
    lane->m = two ? extent[last - 1] : 1;
    for (unsigned i = 0; i < nest->operands; i++) {
        lane->step[i] = stride[i][last];
        lane->across[i] = two ? stride[i][last - 1] : 0;
    }
    return two ? last - 1 : last;
}

void runtime_nest_run(const runtime_nest *nest, int64_t rows, unsigned loops, runtime_lane *lane, runtime_inner inner)
{
    int64_t extent[MTL_MAX_RANK], stride[RUNTIME_NEST_OPERANDS][MTL_MAX_RANK];
    if (nest->rank == 1) { /* most are: quickly */
        lane->n = runtime_at(nest->extent[0], rows);
        lane->m = 1;
        for (unsigned i = 0; i < nest->operands; i++) {
            lane->step[i] = runtime_at(nest->stride[i][0], rows);
        }
        if (lane->n > 0) {
            inner(lane);
        }
        return;
    }
    for (unsigned axis = 0; axis < nest->rank; axis++) {
        extent[axis] = runtime_at(nest->extent[axis], rows);
        if (extent[axis] <= 0) {
            return;
        }
        for (unsigned i = 0; i < nest->operands; i++) {
            stride[i][axis] = runtime_at(nest->stride[i][axis], rows);
        }
    }
    unsigned outer = set_loops(nest, extent, stride, loops, lane);
    int64_t counter[MTL_MAX_RANK] = {0};
    for (;;) {
        inner(lane);
        unsigned axis = outer;
        for (; axis > 0; axis--) {
            if (++counter[axis - 1] < extent[axis - 1]) {
                move(nest, stride, axis - 1, 1, lane);
                break;
            }
            move(nest, stride, axis - 1, 1 - extent[axis - 1], lane);
            counter[axis - 1] = 0;
        }
        if (axis == 0) {
            return;
        }
    }
}
