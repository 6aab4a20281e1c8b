/* Steps that only rankers have: gates with their experts, running sums and products. oneDNN has no primitive for either,
 * so that they stay native whatever the provider. */
#include "runtime/internal.h"
#include "runtime/native/native.h"
#include "runtime/rows.h"
#include "runtime/span.h"

typedef struct mix_state {
    runtime_ref weights, values, y;
    runtime_spans spans;
    runtime_affine rows;
    native_mix call;
    const native_kernels *native;
} mix_state;

static native_mix mix_call(const mix_state *s, const runtime_frame *frame)
{
    native_mix call = s->call;
    call.weights = (const float *)runtime_in(frame, &s->weights);
    call.values = (const float *)runtime_in(frame, &s->values);
    call.y = (float *)runtime_out(frame, &s->y);
    call.rows = (size_t)runtime_at(s->rows, frame->rows);
    return call;
}

static mtl_status mix_run(const void *state, const runtime_frame *frame)
{
    const mix_state *s = state;
    const native_mix call = mix_call(s, frame);
    s->native->mix(&call);
    return MTL_OK;
}

static mtl_status mix_run_tasks(const void *state, const runtime_frame *frame, const runtime_part *part)
{
    const mix_state *s = state;
    native_mix call = mix_call(s, frame);
    call.weights += part->from * call.experts;
    call.index += part->from * call.experts;
    call.y += part->from * call.h;
    call.tasks = part->to - part->from;
    s->native->mix(&call);
    return MTL_OK;
}

/* The experts are positions, of which each candidate has those of its span. */
static mtl_status mix_run_span(const void *state, const runtime_frame *frame)
{
    const mix_state *s = state;
    const float *weights = (const float *)runtime_in(frame, &s->weights);
    const float *values = (const float *)runtime_in(frame, &s->values);
    const uint8_t *mask = runtime_in(frame, &s->spans.mask);
    float *y = (float *)runtime_out(frame, &s->y);
    const size_t rows = (size_t)runtime_at(s->rows, frame->rows);
    for (size_t row = 0; row < rows; row++, mask += s->call.experts) {
        const runtime_span span = runtime_span_of(&s->spans, mask);
        native_mix call = s->call; /* its index counts from 0 */
        call.rows = 1;
        call.weights = weights + row * call.weights_stride + span.first;
        call.values = values + row * call.values_stride + span.first * call.h;
        call.y = y + row * call.y_stride;
        call.experts = span.count;
        if (span.count > 0) {
            s->native->mix(&call);
        } else {
            memset(call.y, 0, call.h * sizeof *call.y);
        }
    }
    return MTL_OK;
}

/* Whether all tasks take the same vectors in the same order. */
static bool same_index(const native_mix *call)
{
    for (size_t i = call->experts; i < call->tasks * call->experts; i++) {
        if (call->index[i] != call->index[i - call->experts]) {
            return false;
        }
    }
    return true;
}

mtl_status runtime_prepare_mix(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *weights = plan_operand(view, context->step, 0), *values = plan_operand(view, context->step, 1);
    const plan_tensor *y = plan_result(view, context->step);
    mix_state *s = RUNTIME_NEW(context->memory, mix_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->native = context->plan->native;
    s->weights = runtime_ref_of(view, weights);
    s->values = runtime_ref_of(view, values);
    s->y = runtime_ref_of(view, y);
    s->rows = runtime_extent(view, y, 0);
    s->call = (native_mix){
        .weights_stride = runtime_row_stride(view, weights),
        .values_stride = runtime_row_stride(view, values),
        .index = view->attrs + context->step->attrs,
        .y_stride = runtime_row_stride(view, y),
        .tasks = (size_t)runtime_extent(view, weights, 1).fixed,
        .experts = (size_t)runtime_extent(view, weights, 2).fixed,
        .h = (size_t)runtime_extent(view, values, 2).fixed,
        .function = (plan_mix)context->step->function,
    };
    s->call.same_index = same_index(&s->call);
    *result = (runtime_step){.run = mix_run, .run_part = mix_run_tasks, .state = s};
    if (plan_span(view, context->step) != NULL) {
        s->spans = runtime_spans_of(context);
        *result = (runtime_step){.run = mix_run_span, .state = s};
    }
    return MTL_OK;
}

typedef struct scan_state {
    runtime_ref x, y;
    runtime_affine outer, n, inner;
    runtime_rows rows;
    native_scan call;
    plan_unary act;
    float a, b;
    const native_kernels *native;
    runtime_rows_call run;
} scan_state;

static native_scan scan_call(const scan_state *s, int64_t rows)
{
    native_scan call = s->call;
    call.outer = (size_t)runtime_at(s->outer, rows);
    call.n = (size_t)runtime_at(s->n, rows);
    call.inner = (size_t)runtime_at(s->inner, rows);
    return call;
}

static void scan_f32(const void *state, const runtime_frame *frame, const void *x, void *y, int64_t rows)
{
    (void)frame;
    const scan_state *s = state;
    const native_scan call = scan_call(s, rows);
    s->native->scan(&call, x, y);
    if (s->act != PLAN_UNARY_none) {
        s->native->unary(s->act, s->a, s->b, y, y, call.outer * call.n * call.inner);
    }
}

static void scan_i32(const void *state, const runtime_frame *frame, const void *x, void *y, int64_t rows)
{
    (void)frame;
    const native_scan call = scan_call(state, rows);
    native_scan_i32(&call, x, y);
}

static void scan_i64(const void *state, const runtime_frame *frame, const void *x, void *y, int64_t rows)
{
    (void)frame;
    const native_scan call = scan_call(state, rows);
    native_scan_i64(&call, x, y);
}

static mtl_status scan_run(const void *state, const runtime_frame *frame)
{
    const scan_state *s = state;
    runtime_rows_run(&s->rows, frame, runtime_in(frame, &s->x), runtime_out(frame, &s->y), s->run, s);
    return MTL_OK;
}

mtl_status runtime_prepare_scan(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_step *step = context->step;
    const plan_tensor *x = plan_operand(view, step, 0);
    const int64_t *attrs = view->attrs + step->attrs;
    const unsigned axis = (unsigned)attrs[0];
    scan_state *s = RUNTIME_NEW(context->memory, scan_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->native = context->plan->native;
    s->x = runtime_ref_of(view, x);
    s->y = runtime_ref_of(view, plan_result(view, step));
    s->outer = runtime_elements(view, x, 0, axis);
    s->n = runtime_extent(view, x, axis);
    s->inner = runtime_elements(view, x, axis + 1, x->rank);
    s->call =
        (native_scan){.function = (plan_scan)step->function, .exclusive = attrs[1] != 0, .reverse = attrs[2] != 0};
    s->act = (plan_unary)attrs[3];
    s->a = (float)plan_attr_float(view, step, 4);
    s->b = (float)plan_attr_float(view, step, 5);
    s->rows = runtime_rows_of(context);
    *result = (runtime_step){.run = scan_run, .state = s, .kernel = x->dtype == MTL_F32 ? NULL : "plain"};
    switch (x->dtype) {
    case MTL_F32: s->run = scan_f32; return MTL_OK;
    case MTL_I32: s->run = scan_i32; return MTL_OK;
    case MTL_I64: s->run = scan_i64; return MTL_OK;
    default:
        return runtime_fail_step(context, MTL_UNSUPPORTED, "running %s of %s",
                                 plan_function_name(PLAN_OP_scan, step->function), mtl_dtype_name((mtl_dtype)x->dtype));
    }
}
