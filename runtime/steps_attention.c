/* Attention over short sequences; native whatever the provider: oneDNN's products of so few rows and columns, and its
 * softmax beside them, would write all scores to memory and read them again. */
#include "runtime/internal.h"
#include "runtime/native/native.h"
#include "runtime/span.h"

typedef struct attention_state {
    runtime_ref q, k, v, bias, keep, y;
    runtime_affine rows;
    native_attention call; /* all but addresses and rows */
    size_t start[3];       /* the first columns of q, k, v */
    bool has_bias, has_keep;
    size_t user_k, user_v, user_bias, user_keep; /* elements from user to user of operands that are per user, else 0 */
    runtime_spans spans;
    const native_kernels *native;
} attention_state;

static native_attention attention_call(const attention_state *s, const runtime_frame *frame)
{
    native_attention call = s->call;
    call.q = (const float *)runtime_in(frame, &s->q) + s->start[0];
    call.k = (const float *)runtime_in(frame, &s->k) + s->start[1];
    call.v = (const float *)runtime_in(frame, &s->v) + s->start[2];
    call.bias = s->has_bias ? (const float *)runtime_in(frame, &s->bias) : NULL;
    call.keep = s->has_keep ? runtime_in(frame, &s->keep) : NULL;
    call.y = (float *)runtime_out(frame, &s->y);
    call.rows = (size_t)runtime_at(s->rows, frame->rows);
    return call;
}

static mtl_status attention_run(const void *state, const runtime_frame *frame)
{
    const attention_state *s = state;
    const native_attention call = attention_call(s, frame);
    s->native->attention(&call);
    return MTL_OK;
}

/* The same where keys, values or masks are the users': candidates of one user after the other share them, as if there was one
 * row for all. */
static mtl_status attention_run_users(const void *state, const runtime_frame *frame)
{
    const attention_state *s = state;
    const float *q = (const float *)runtime_in(frame, &s->q) + s->start[0];
    const float *k = (const float *)runtime_in(frame, &s->k) + s->start[1];
    const float *v = (const float *)runtime_in(frame, &s->v) + s->start[2];
    const float *bias = s->has_bias ? (const float *)runtime_in(frame, &s->bias) : NULL;
    const unsigned char *keep = s->has_keep ? runtime_in(frame, &s->keep) : NULL;
    float *y = (float *)runtime_out(frame, &s->y);
    native_attention call = s->call;
    for (size_t row = 0, end; row < (size_t)frame->rows; row = end) {
        size_t user = runtime_user(frame, row);
        end = runtime_user_end(frame, row);
        call.q = q + row * call.q_row;
        call.k = k + user * s->user_k + row * call.k_row;
        call.v = v + user * s->user_v + row * call.v_row;
        call.bias = bias == NULL ? NULL : bias + user * s->user_bias + row * call.bias_row;
        call.keep = keep == NULL ? NULL : keep + user * s->user_keep + row * call.keep_row;
        call.y = y + row * call.y_row;
        call.rows = end - row;
        s->native->attention(&call);
    }
    return MTL_OK;
}

/* The positions of the span are all queries and keys that there are. */
static mtl_status attention_run_span(const void *state, const runtime_frame *frame)
{
    const attention_state *s = state;
    const native_attention all = attention_call(s, frame);
    const uint8_t *mask = runtime_in(frame, &s->spans.mask);
    for (size_t row = 0; row < all.rows; row++, mask += all.keys) {
        const runtime_span span = runtime_span_of(&s->spans, mask);
        if (span.count == 0) {
            continue;
        }
        native_attention call = all;
        call.rows = 1;
        call.queries = call.keys = span.count;
        call.q += row * all.q_row + span.first * all.q_step;
        call.k += row * all.k_row + span.first * all.k_step;
        call.v += row * all.v_row + span.first * all.v_step;
        call.y += row * all.y_row + span.first * all.y_step;
        call.bias = all.bias != NULL ? all.bias + row * all.bias_row + span.first * (all.bias_query + 1) : NULL;
        call.keep = all.keep != NULL ? all.keep + row * all.keep_row + span.first * (all.keep_query + 1) : NULL;
        s->native->attention(&call);
    }
    return MTL_OK;
}

/* `row`, the stride of an operand, becomes `user` if it is per user. */
static bool take_users(const runtime_context *context, unsigned i, runtime_ref *ref, size_t *row, size_t *user)
{
    const plan_tensor *tensor = i < context->step->input_count ? plan_operand(context->view, context->step, i) : NULL;
    if (tensor == NULL || !runtime_is_users(context, tensor, ref)) {
        return false;
    }
    *user = *row;
    *row = 0;
    return true;
}

/* An operand and its strides. */
static runtime_ref operand_of(const runtime_context *context, unsigned i, size_t *row, size_t *step)
{
    const plan_tensor *tensor = plan_operand(context->view, context->step, i);
    runtime_ref ref = runtime_ref_of(context->view, tensor);
    *row = runtime_row_stride(context->view, tensor);
    *step = (size_t)runtime_extent(context->view, tensor, 2).fixed;
    return ref;
}

/* A mask and its strides; false: there is none. */
static bool mask_of(const runtime_context *context, unsigned i, runtime_ref *ref, size_t *row, size_t *head,
                    size_t *query)
{
    const plan_view *view = context->view;
    const plan_tensor *tensor = i < context->step->input_count ? plan_operand(view, context->step, i) : NULL;
    if (tensor == NULL) {
        return false;
    }
    *ref = runtime_ref_of(view, tensor);
    *row = runtime_row_stride(view, tensor);
    bool one_head = runtime_extent(view, tensor, 1).fixed == 1, one_query = runtime_extent(view, tensor, 2).fixed == 1;
    *head = one_head ? 0 : (size_t)runtime_elements(view, tensor, 2, 4).fixed;
    *query = one_query ? 0 : (size_t)runtime_extent(view, tensor, 3).fixed;
    return true;
}

mtl_status runtime_prepare_attention(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_step *step = context->step;
    const plan_tensor *y = plan_result(view, step);
    const int64_t *attrs = view->attrs + step->attrs;
    attention_state *s = RUNTIME_NEW(context->memory, attention_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    native_attention *call = &s->call;
    *call = (native_attention){
        .y_row = runtime_row_stride(view, y),
        .y_step = (size_t)runtime_extent(view, y, 2).fixed,
        .heads = (size_t)attrs[PLAN_ATTENTION_HEADS],
        .queries = (size_t)runtime_extent(view, y, 1).fixed,
        .keys = (size_t)runtime_extent(view, plan_operand(view, step, 1), 1).fixed,
        .width = (size_t)attrs[PLAN_ATTENTION_SIZE],
        .value_width = (size_t)attrs[PLAN_ATTENTION_VALUE_SIZE],
        .scale = (float)plan_attr_float(view, step, PLAN_ATTENTION_SCALE),
        .fill = (float)plan_attr_float(view, step, PLAN_ATTENTION_FILL),
        .empty = (native_empty)attrs[PLAN_ATTENTION_EMPTY],
    };
    for (unsigned i = 0; i < 3; i++) {
        s->start[i] = (size_t)attrs[PLAN_ATTENTION_Q + i];
    }
    s->native = context->plan->native;
    s->q = operand_of(context, 0, &call->q_row, &call->q_step);
    s->k = operand_of(context, 1, &call->k_row, &call->k_step);
    s->v = operand_of(context, 2, &call->v_row, &call->v_step);
    s->has_bias = mask_of(context, 3, &s->bias, &call->bias_row, &call->bias_head, &call->bias_query);
    s->has_keep = mask_of(context, 4, &s->keep, &call->keep_row, &call->keep_head, &call->keep_query);
    s->y = runtime_ref_of(view, y);
    s->rows = runtime_extent(view, y, 0);
    bool users = take_users(context, 1, &s->k, &call->k_row, &s->user_k);
    users |= take_users(context, 2, &s->v, &call->v_row, &s->user_v);
    users |= take_users(context, 3, &s->bias, &call->bias_row, &s->user_bias);
    users |= take_users(context, 4, &s->keep, &call->keep_row, &s->user_keep);
    *result = (runtime_step){.run = users ? attention_run_users : attention_run, .state = s};
    if (plan_span(view, step) != NULL) {
        s->spans = runtime_spans_of(context);
        result->run = attention_run_span;
    }
    return MTL_OK;
}
