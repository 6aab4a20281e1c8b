/* Reference evaluation of operations along axes. */
#include <math.h>
#include <string.h>

#include "ir/eval.h"

/* Reductions walk the operand; this gives every operand axis its stride in the result, 0 for reduced axes. */
static void start_reduce(const ir_eval_call *call, ir_walk *walk, size_t *group)
{
    const ir_tensor *x = call->inputs[0];
    const ir_attr *axes = ir_find_attr(call->node, IR_ATTR_axes);
    bool reduced[MTL_MAX_RANK] = {false};
    for (size_t k = 0; k < axes->count; k++) {
        reduced[axes->ints[k]] = true;
    }
    ir_walk_start(walk, x);
    *group = 1;
    int64_t stride = 1;
    for (int j = x->rank - 1; j >= 0; j--) {
        if (reduced[j]) {
            *group *= (size_t)x->shape[j];
        } else {
            walk->stride[0][j] = stride;
            stride *= x->shape[j];
        }
    }
}

static double reduce_float_start(ir_op op)
{
    switch (op) {
    case IR_OP_reduce_max: return -INFINITY;
    case IR_OP_reduce_min: return INFINITY;
    case IR_OP_reduce_prod: return 1;
    default: return 0;
    }
}

static mtl_status reduce_floats(const ir_eval_call *call, ir_walk *walk, size_t group)
{
    const double *x;
    double *y;
    BASE_TRY(ir_eval_floats(call, 0, &x));
    BASE_TRY(ir_eval_new_floats(call, &y));
    ir_op op = call->node->op;
    for (size_t i = 0; i < call->output->count; i++) {
        y[i] = reduce_float_start(op);
    }
    for (size_t i = 0; i < call->inputs[0]->count; i++, ir_walk_next(walk)) {
        double *sum = &y[walk->at[0]];
        switch (op) {
        case IR_OP_reduce_max: *sum = isnan(x[i]) || x[i] > *sum ? x[i] : *sum; break;
        case IR_OP_reduce_min: *sum = isnan(x[i]) || x[i] < *sum ? x[i] : *sum; break;
        case IR_OP_reduce_prod: *sum *= x[i]; break;
        default: *sum += x[i]; break;
        }
    }
    if (op == IR_OP_reduce_mean) {
        for (size_t i = 0; i < call->output->count; i++) {
            y[i] /= (double)group;
        }
    }
    return MTL_OK;
}

static int64_t smallest_int(mtl_dtype dtype)
{
    switch (dtype) {
    case MTL_I64: return INT64_MIN;
    case MTL_I32: return INT32_MIN;
    case MTL_I16: return INT16_MIN;
    case MTL_I8: return INT8_MIN;
    default: return 0;
    }
}

static int64_t largest_int(mtl_dtype dtype)
{
    switch (dtype) {
    case MTL_I64: return INT64_MAX;
    case MTL_I32: return INT32_MAX;
    case MTL_I16: return INT16_MAX;
    case MTL_I8: return INT8_MAX;
    case MTL_U32: return UINT32_MAX;
    case MTL_U16: return UINT16_MAX;
    case MTL_U8: return UINT8_MAX;
    case MTL_BOOL: return 1;
    default: return -1; /* all bits of U64 */
    }
}

static mtl_status reduce_ints(const ir_eval_call *call, ir_walk *walk, size_t group)
{
    const int64_t *x;
    int64_t *y;
    BASE_TRY(ir_eval_ints(call, 0, &x));
    BASE_TRY(ir_eval_new_ints(call, &y));
    ir_op op = call->node->op;
    mtl_dtype dtype = call->output->dtype;
    uint64_t flip = dtype == MTL_U64 ? (uint64_t)1 << 63 : 0; /* the unsigned order onto the signed one */
    if (op == IR_OP_reduce_mean && group == 0) {
        return ir_eval_fail(call, MTL_INVALID_DATA, "the mean of no integers");
    }
    for (size_t i = 0; i < call->output->count; i++) {
        y[i] = op == IR_OP_reduce_max   ? smallest_int(dtype)
               : op == IR_OP_reduce_min ? largest_int(dtype)
                                        : op == IR_OP_reduce_prod;
    }
    for (size_t i = 0; i < call->inputs[0]->count; i++, ir_walk_next(walk)) {
        int64_t *sum = &y[walk->at[0]];
        int64_t left = (int64_t)((uint64_t)x[i] ^ flip), right = (int64_t)((uint64_t)*sum ^ flip);
        switch (op) {
        case IR_OP_reduce_max: *sum = left > right ? x[i] : *sum; break;
        case IR_OP_reduce_min: *sum = left < right ? x[i] : *sum; break;
        case IR_OP_reduce_prod: *sum = (int64_t)((uint64_t)*sum * (uint64_t)x[i]); break;
        default: *sum = (int64_t)((uint64_t)*sum + (uint64_t)x[i]); break;
        }
    }
    for (size_t i = 0; i < call->output->count; i++) {
        if (op == IR_OP_reduce_mean) {
            y[i] = dtype == MTL_U64 ? (int64_t)((uint64_t)y[i] / group) : y[i] / (int64_t)group;
        }
        y[i] = ir_wrap_int(y[i], dtype);
    }
    return MTL_OK;
}

mtl_status ir_eval_reduce(const ir_eval_call *call)
{
    ir_walk walk;
    size_t group;
    start_reduce(call, &walk, &group);
    return ir_dtype_is_float(call->output->dtype) ? reduce_floats(call, &walk, group) : reduce_ints(call, &walk, group);
}

/* The activation behind a running sum or product. */
static mtl_status apply_act(const ir_eval_call *call, double *y)
{
    const ir_attr *act = ir_find_attr(call->node, IR_ATTR_act);
    ir_op op;
    if (act == NULL || act->text[0] == '\0') {
        return MTL_OK;
    }
    if (!ir_op_find(act->text, &op)) {
        return ir_eval_fail(call, MTL_INTERNAL, "unknown activation '%s'", act->text);
    }
    for (size_t i = 0; i < call->output->count; i++) {
        y[i] = ir_eval_unary_float(op, call->node, y[i]);
    }
    return MTL_OK;
}

/* Running sums, and for cumprod running products. */
mtl_status ir_eval_cumsum(const ir_eval_call *call)
{
    bool product = call->node->op == IR_OP_cumprod;
    ir_axis_view view = ir_view_axis(call->output, (int)ir_attr_int(call->node, IR_ATTR_axis));
    bool exclusive = ir_attr_int(call->node, IR_ATTR_exclusive) != 0;
    bool reverse = ir_attr_int(call->node, IR_ATTR_reverse) != 0;
    const double *f = NULL;
    const int64_t *n = NULL;
    double *fy = NULL;
    int64_t *ny = NULL;
    if (ir_dtype_is_float(call->output->dtype)) {
        BASE_TRY(ir_eval_floats(call, 0, &f));
        BASE_TRY(ir_eval_new_floats(call, &fy));
    } else {
        BASE_TRY(ir_eval_ints(call, 0, &n));
        BASE_TRY(ir_eval_new_ints(call, &ny));
    }
    for (int64_t line = 0; line < view.outer * view.inner; line++) {
        int64_t base = line / view.inner * view.extent * view.inner + line % view.inner;
        double sum = product ? 1 : 0;
        uint64_t total = product ? 1 : 0;
        for (int64_t k = 0; k < view.extent; k++) {
            int64_t at = base + (reverse ? view.extent - 1 - k : k) * view.inner;
            if (f != NULL) {
                double next = product ? sum * f[at] : sum + f[at];
                fy[at] = exclusive ? sum : next;
                sum = next;
            } else {
                uint64_t next = product ? total * (uint64_t)n[at] : total + (uint64_t)n[at];
                ny[at] = ir_wrap_int((int64_t)(exclusive ? total : next), call->output->dtype);
                total = next;
            }
        }
    }
    return f != NULL ? apply_act(call, fy) : MTL_OK;
}

/* Whether element `a` of a line goes before `b`: it is better, or as good and first. */
static bool goes_before(const double *f, const int64_t *n, bool largest, int64_t a, int64_t b)
{
    int order;
    if (f != NULL) {
        order = isnan(f[a]) || isnan(f[b]) ? isnan(f[a]) - isnan(f[b]) : (f[a] > f[b]) - (f[a] < f[b]);
    } else {
        order = (n[a] > n[b]) - (n[a] < n[b]);
    }
    return order == 0 ? a < b : (order > 0) == largest;
}

mtl_status ir_eval_top_k(const ir_eval_call *call)
{
    int axis = (int)ir_attr_int(call->node, IR_ATTR_axis);
    ir_axis_view x = ir_view_axis(call->inputs[0], axis);
    int64_t k = ir_attr_int(call->node, IR_ATTR_k);
    bool largest = ir_attr_int(call->node, IR_ATTR_largest) != 0;
    const double *f = NULL;
    const int64_t *n = NULL;
    int64_t *y;
    if (ir_dtype_is_float(call->inputs[0]->dtype)) {
        BASE_TRY(ir_eval_floats(call, 0, &f));
    } else {
        BASE_TRY(ir_eval_ints(call, 0, &n));
    }
    BASE_TRY(ir_eval_new_ints(call, &y));
    for (int64_t line = 0; line < x.outer * x.inner; line++) {
        int64_t from = line / x.inner * x.extent * x.inner + line % x.inner;
        int64_t to = line / x.inner * k * x.inner + line % x.inner;
        for (int64_t i = 0; i < x.extent; i++) { /* the rank of each element */
            int64_t rank = 0;
            for (int64_t j = 0; j < x.extent && rank < k; j++) {
                rank += j != i && goes_before(f, n, largest, from + j * x.inner, from + i * x.inner);
            }
            if (rank < k) {
                y[to + rank * x.inner] = i;
            }
        }
    }
    return MTL_OK;
}

mtl_status ir_eval_softmax(const ir_eval_call *call)
{
    ir_axis_view view = ir_view_axis(call->output, (int)ir_attr_int(call->node, IR_ATTR_axis));
    const double *x;
    double *y;
    BASE_TRY(ir_eval_floats(call, 0, &x));
    BASE_TRY(ir_eval_new_floats(call, &y));
    for (int64_t line = 0; line < view.outer * view.inner && view.extent > 0; line++) {
        int64_t base = line / view.inner * view.extent * view.inner + line % view.inner;
        double largest = -INFINITY, sum = 0;
        for (int64_t k = 0; k < view.extent; k++) {
            double number = x[base + k * view.inner];
            largest = isnan(number) || number > largest ? number : largest;
        }
        for (int64_t k = 0; k < view.extent; k++) {
            double shifted = x[base + k * view.inner] - largest;
            y[base + k * view.inner] = call->node->op == IR_OP_softmax ? exp(shifted) : shifted;
            sum += exp(shifted);
        }
        for (int64_t k = 0; k < view.extent; k++) {
            double *number = &y[base + k * view.inner];
            *number = call->node->op == IR_OP_softmax ? *number / sum : *number - log(sum);
        }
    }
    return MTL_OK;
}

/* One optional operand of layer_norm, broadcast to the normalised axes. */
typedef struct affine {
    const double *numbers; /* NULL: absent */
    ir_walk walk;
} affine;

static mtl_status read_affine(const ir_eval_call *call, uint32_t operand, affine *part)
{
    part->numbers = NULL;
    if (operand >= call->node->input_count || call->inputs[operand] == NULL) {
        return MTL_OK;
    }
    ir_walk_start(&part->walk, call->output);
    ir_walk_broadcast(&part->walk, 0, call->inputs[operand]);
    return ir_eval_floats(call, operand, &part->numbers);
}

mtl_status ir_eval_layer_norm(const ir_eval_call *call)
{
    int axis = (int)ir_attr_int(call->node, IR_ATTR_axis);
    double epsilon = ir_attr_float(call->node, IR_ATTR_epsilon);
    ir_axis_view view = ir_view_axis(call->output, axis);
    int64_t width = view.extent * view.inner;
    const double *x;
    double *y;
    affine scale, bias;
    BASE_TRY(read_affine(call, 1, &scale));
    BASE_TRY(read_affine(call, 2, &bias));
    BASE_TRY(ir_eval_floats(call, 0, &x));
    BASE_TRY(ir_eval_new_floats(call, &y));
    for (int64_t row = 0; row < view.outer; row++) {
        const double *in = x + row * width;
        double *out = y + row * width, mean = 0, variance = 0;
        for (int64_t k = 0; k < width; k++) {
            mean += in[k];
        }
        mean /= (double)width;
        for (int64_t k = 0; k < width; k++) {
            variance += (in[k] - mean) * (in[k] - mean);
        }
        double deviation = sqrt(variance / (double)width + epsilon);
        for (int64_t k = 0; k < width; k++) {
            out[k] = (in[k] - mean) / deviation;
            if (scale.numbers != NULL) {
                out[k] *= scale.numbers[scale.walk.at[0]];
                ir_walk_next(&scale.walk);
            }
            if (bias.numbers != NULL) {
                out[k] += bias.numbers[bias.walk.at[0]];
                ir_walk_next(&bias.walk);
            }
        }
    }
    return MTL_OK;
}

mtl_status ir_eval_batch_norm(const ir_eval_call *call)
{
    double epsilon = ir_attr_float(call->node, IR_ATTR_epsilon);
    ir_axis_view view = ir_view_axis(call->output, 1);
    const double *x, *scale, *bias, *mean, *variance;
    double *y;
    BASE_TRY(ir_eval_floats(call, 0, &x));
    BASE_TRY(ir_eval_floats(call, 1, &scale));
    BASE_TRY(ir_eval_floats(call, 2, &bias));
    BASE_TRY(ir_eval_floats(call, 3, &mean));
    BASE_TRY(ir_eval_floats(call, 4, &variance));
    BASE_TRY(ir_eval_new_floats(call, &y));
    for (int64_t i = 0; i < (int64_t)call->output->count; i++) {
        int64_t c = i / view.inner % view.extent;
        y[i] = (x[i] - mean[c]) / sqrt(variance[c] + epsilon) * scale[c] + bias[c];
    }
    return MTL_OK;
}
