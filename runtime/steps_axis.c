/* Steps along axes: softmax, reduce, layer_norm. Each sees its tensor as (outer, n, inner). */
#include "runtime/internal.h"
#include "runtime/native/native.h"
#include "runtime/onednn/onednn.h"
#include "runtime/rows.h"

typedef struct axis_state {
    runtime_ref x, y, scale, bias;
    bool has_scale, has_bias;
    runtime_affine outer, n, inner;
    runtime_rows rows;
    unsigned function;
    float epsilon;
    const native_kernels *native;
    runtime_rows_call call;
} axis_state;

static mtl_status axis_run(const void *state, const runtime_frame *frame)
{
    const axis_state *s = state;
    runtime_rows_run(&s->rows, frame, runtime_in(frame, &s->x), runtime_out(frame, &s->y), s->call, s);
    return MTL_OK;
}

static mtl_status axis_new(const runtime_context *context, unsigned from, unsigned to, runtime_rows_call call,
                           axis_state **state, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *x = plan_operand(view, context->step, 0);
    axis_state *s = RUNTIME_NEW(context->memory, axis_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->x = runtime_ref_of(view, x);
    s->y = runtime_ref_of(view, plan_result(view, context->step));
    s->outer = runtime_elements(view, x, 0, from);
    s->n = runtime_elements(view, x, from, to);
    s->inner = runtime_elements(view, x, to, x->rank);
    s->function = context->step->function;
    s->native = context->plan->native;
    s->rows = runtime_rows_of(context);
    s->call = call;
    *result = (runtime_step){.run = axis_run, .state = s};
    *state = s;
    return MTL_OK;
}

/* What `status`, of onednn_add_*, means for the step: MTL_UNSUPPORTED keeps the native kernel. */
static mtl_status axis_onednn(const runtime_context *context, mtl_status status, const onednn_step *step,
                              const axis_state *s, runtime_step *result)
{
    if (status != MTL_OK) {
        return status == MTL_UNSUPPORTED ? MTL_OK : status;
    }
    runtime_ref inputs[3] = {s->x};
    size_t count = 1;
    if (s->has_scale) {
        inputs[count++] = s->scale;
    }
    if (s->has_bias) {
        inputs[count++] = s->bias;
    }
    const runtime_onednn_operands operands = {.inputs = inputs, .count = count, .y = s->y, .rows = s->outer};
    return runtime_onednn_call(context, &operands, step, result);
}

static bool wants_onednn(const runtime_context *context, plan_op op, const axis_state *s)
{
    return !s->rows.x_window && !s->rows.y_window && s->n.per_row == 0 && s->inner.per_row == 0 && s->n.fixed > 0 &&
           s->inner.fixed > 0 && runtime_choose_onednn(context->plan, op, 0, (size_t)s->n.fixed);
}

static void softmax_call(const void *state, const runtime_frame *frame, const void *x, void *y, int64_t rows)
{
    (void)frame;
    const axis_state *s = state;
    s->native->softmax((plan_softmax)s->function, x, y, (size_t)runtime_at(s->outer, rows),
                       (size_t)runtime_at(s->n, rows), (size_t)runtime_at(s->inner, rows));
}

mtl_status runtime_prepare_softmax(const runtime_context *context, runtime_step *result)
{
    axis_state *s;
    unsigned axis = (unsigned)context->view->attrs[context->step->attrs];
    BASE_TRY(axis_new(context, axis, axis + 1, softmax_call, &s, result));
    if (!wants_onednn(context, PLAN_OP_softmax, s)) {
        return MTL_OK;
    }
    const onednn_step *step = NULL;
    mtl_status status = onednn_add_softmax(context->plan->onednn, (plan_softmax)s->function, (size_t)s->n.fixed,
                                           (size_t)s->inner.fixed, RUNTIME_ONEDNN_ROWS, context->diag, &step);
    return axis_onednn(context, status, step, s, result);
}

#define REDUCE_CALL(name, kernel)                                                                                      \
    static void name(const void *state, const runtime_frame *frame, const void *x, void *y, int64_t rows)              \
    {                                                                                                                  \
        (void)frame;                                                                                                   \
        const axis_state *s = state;                                                                                   \
        kernel((plan_reduce)s->function, x, y, (size_t)runtime_at(s->outer, rows), (size_t)runtime_at(s->n, rows),     \
               (size_t)runtime_at(s->inner, rows));                                                                    \
    }
REDUCE_CALL(reduce_call, s->native->reduce)
REDUCE_CALL(reduce_call_i32, native_reduce_i32)
REDUCE_CALL(reduce_call_i64, native_reduce_i64)
#undef REDUCE_CALL

mtl_status runtime_prepare_reduce(const runtime_context *context, runtime_step *result)
{
    const int64_t *attrs = context->view->attrs + context->step->attrs;
    uint8_t dtype = plan_operand(context->view, context->step, 0)->dtype;
    axis_state *s;
    BASE_TRY(axis_new(context, (unsigned)attrs[0], (unsigned)attrs[1], reduce_call, &s, result));
    switch (dtype) {
    case MTL_F32: break;
    case MTL_I32:
        s->call = reduce_call_i32;
        result->kernel = "plain";
        return MTL_OK;
    case MTL_I64:
        s->call = reduce_call_i64;
        result->kernel = "plain";
        return MTL_OK;
    default: return runtime_fail_step(context, MTL_UNSUPPORTED, "reduction of %s", mtl_dtype_name((mtl_dtype)dtype));
    }
    if (!wants_onednn(context, PLAN_OP_reduce, s)) {
        return MTL_OK;
    }
    const onednn_step *step = NULL;
    mtl_status status = onednn_add_reduce(context->plan->onednn, (plan_reduce)s->function, (size_t)s->n.fixed,
                                          (size_t)s->inner.fixed, RUNTIME_ONEDNN_ROWS, context->diag, &step);
    return axis_onednn(context, status, step, s, result);
}

static void layer_norm_call(const void *state, const runtime_frame *frame, const void *x, void *y, int64_t rows)
{
    const axis_state *s = state;
    const float *scale = s->has_scale ? (const float *)runtime_in(frame, &s->scale) : NULL;
    const float *bias = s->has_bias ? (const float *)runtime_in(frame, &s->bias) : NULL;
    s->native->layer_norm(x, scale, bias, s->epsilon, y, (size_t)runtime_at(s->outer, rows),
                          (size_t)runtime_at(s->n, rows));
}

mtl_status runtime_prepare_layer_norm(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_step *step = context->step;
    const plan_tensor *x = plan_operand(view, step, 0);
    const plan_tensor *scale = step->input_count > 1 ? plan_operand(view, step, 1) : NULL;
    const plan_tensor *bias = step->input_count > 2 ? plan_operand(view, step, 2) : NULL;
    axis_state *s;
    BASE_TRY(axis_new(context, (unsigned)view->attrs[step->attrs], x->rank, layer_norm_call, &s, result));
    s->epsilon = (float)plan_attr_float(view, step, 1);
    s->has_scale = scale != NULL;
    s->has_bias = bias != NULL;
    if (scale != NULL) {
        s->scale = runtime_ref_of(view, scale);
    }
    if (bias != NULL) {
        s->bias = runtime_ref_of(view, bias);
    }
    if (!wants_onednn(context, PLAN_OP_layer_norm, s)) {
        return MTL_OK;
    }
    const onednn_step *call = NULL;
    mtl_status status = onednn_add_layer_norm(context->plan->onednn, (size_t)s->n.fixed, s->has_scale, s->has_bias,
                                              s->epsilon, RUNTIME_ONEDNN_ROWS, context->diag, &call);
    return axis_onednn(context, status, call, s, result);
}
