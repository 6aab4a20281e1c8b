/* Steps that move whole blocks: concat, copy, store; and extents. */
#include <string.h>

#include "runtime/internal.h"
#include "runtime/native/native.h"
#include "runtime/onednn/onednn.h"

/* --- copy, store --- */

/* x (outer, its extent, inner) into y (outer, its extent, inner); `copy` is one block. */
typedef struct block_state {
    runtime_ref x, y;
    runtime_affine outer;
    runtime_affine bytes;    /* of a block of x */
    runtime_affine y_stride; /* between blocks of y, for all rows of the call */
    size_t x_pitch, y_pitch; /* bytes between candidates, where one is a window */
} block_state;

static mtl_status copy_run(const void *state, const runtime_frame *frame)
{
    const block_state *s = state;
    const unsigned char *x = runtime_in(frame, &s->x);
    unsigned char *y = runtime_out(frame, &s->y);
    if (x != y) {
        memcpy(y, x, (size_t)runtime_at(s->bytes, frame->rows));
    }
    return MTL_OK;
}

static mtl_status copy_run_windows(const void *state, const runtime_frame *frame)
{
    const block_state *s = state;
    native_copy_2d(runtime_in(frame, &s->x), s->x_pitch, runtime_out(frame, &s->y), s->y_pitch, (size_t)frame->rows,
                   (size_t)s->bytes.per_row);
    return MTL_OK;
}

mtl_status runtime_prepare_copy(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *x = plan_operand(view, context->step, 0);
    block_state *s = RUNTIME_NEW(context->memory, block_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    runtime_affine size = {(int64_t)mtl_dtype_size((mtl_dtype)x->dtype), 0};
    s->x = runtime_ref_of(view, x);
    s->y = runtime_ref_of(view, plan_result(view, context->step));
    s->bytes = runtime_times(runtime_elements(view, x, 0, x->rank), size);
    *result = (runtime_step){.run = copy_run, .state = s, .kernel = "plain"};
    if (runtime_has_window(context)) {
        s->x_pitch = runtime_pitch(view, x);
        s->y_pitch = runtime_pitch(view, plan_result(view, context->step));
        result->run = copy_run_windows;
    }
    return MTL_OK;
}

/* --- spread --- */

static mtl_status spread_run(const void *state, const runtime_frame *frame)
{
    const block_state *s = state;
    const unsigned char *x = runtime_in(frame, &s->x);
    unsigned char *y = runtime_out(frame, &s->y);
    for (size_t row = 0, end; row < (size_t)frame->rows; row = end) {
        end = runtime_user_end(frame, row);
        native_copy_2d(x + runtime_user(frame, row) * s->x_pitch, 0, y + row * s->y_pitch, s->y_pitch, end - row,
                       (size_t)s->bytes.per_row);
    }
    return MTL_OK;
}

mtl_status runtime_prepare_spread(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *x = plan_operand(view, context->step, 0), *y = plan_result(view, context->step);
    block_state *s = RUNTIME_NEW(context->memory, block_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    runtime_affine size = {(int64_t)mtl_dtype_size((mtl_dtype)x->dtype), 0};
    s->x = runtime_ref_of(view, x);
    s->y = runtime_ref_of(view, y);
    s->x_pitch = runtime_is_users(context, x, &s->x) ? runtime_pitch(view, x) : 0;
    s->y_pitch = runtime_pitch(view, y);
    s->bytes = runtime_times(runtime_elements(view, x, 0, x->rank), size);
    *result = (runtime_step){.run = spread_run, .state = s, .kernel = "plain"};
    return MTL_OK;
}

static mtl_status store_run(const void *state, const runtime_frame *frame)
{
    const block_state *s = state;
    size_t bytes = (size_t)runtime_at(s->bytes, frame->rows);
    native_copy_2d(runtime_in(frame, &s->x), bytes, runtime_out(frame, &s->y),
                   (size_t)runtime_at(s->y_stride, frame->total_rows), (size_t)runtime_at(s->outer, frame->rows),
                   bytes);
    return MTL_OK;
}

mtl_status runtime_prepare_store(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *x = plan_operand(view, context->step, 0), *y = plan_result(view, context->step);
    block_state *s = RUNTIME_NEW(context->memory, block_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    unsigned axis = 0; /* the candidates' */
    while (axis < y->rank && runtime_extent(view, y, axis).per_row == 0) {
        axis++;
    }
    axis = axis == y->rank ? 0 : axis;
    runtime_affine size = {(int64_t)mtl_dtype_size((mtl_dtype)x->dtype), 0};
    s->x = runtime_ref_of(view, x);
    s->y = runtime_ref_of(view, y);
    s->outer = runtime_elements(view, y, 0, axis);
    s->bytes = runtime_times(runtime_elements(view, x, axis, x->rank), size);
    s->y_stride = runtime_times(runtime_elements(view, y, axis, y->rank), size);
    *result = (runtime_step){.run = store_run, .state = s, .kernel = "plain"};
    return MTL_OK;
}

/* --- concat --- */

typedef struct concat_part {
    runtime_ref x;
    runtime_affine bytes; /* of one block */
    size_t pitch;         /* bytes between candidates, where one is a window */
} concat_part;

typedef struct concat_state {
    runtime_ref y;
    runtime_affine outer;
    runtime_affine stride; /* bytes of a block of y */
    size_t pitch;          /* bytes between candidates of y, where one is a window */
    size_t count;
    concat_part *parts;
} concat_state;

static mtl_status concat_run(const void *state, const runtime_frame *frame)
{
    const concat_state *s = state;
    unsigned char *y = runtime_out(frame, &s->y);
    size_t outer = (size_t)runtime_at(s->outer, frame->rows);
    size_t stride = (size_t)runtime_at(s->stride, frame->rows);
    for (size_t i = 0; i < s->count; i++) {
        size_t bytes = (size_t)runtime_at(s->parts[i].bytes, frame->rows);
        native_copy_2d(runtime_in(frame, &s->parts[i].x), bytes, y, stride, outer, bytes);
        y += bytes;
    }
    return MTL_OK;
}

/* Candidate by candidate: the blocks of one are those of a tile of one row. */
static mtl_status concat_run_windows(const void *state, const runtime_frame *frame)
{
    const concat_state *s = state;
    unsigned char *y = runtime_out(frame, &s->y);
    size_t outer = (size_t)runtime_at(s->outer, 1), stride = (size_t)runtime_at(s->stride, 1),
           rows = (size_t)frame->rows;
    for (size_t i = 0; i < s->count; i++) {
        size_t bytes = (size_t)runtime_at(s->parts[i].bytes, 1);
        const unsigned char *x = runtime_in(frame, &s->parts[i].x);
        for (size_t block = 0; block < outer; block++) {
            native_copy_2d(x + block * bytes, s->parts[i].pitch, y + block * stride, s->pitch, rows, bytes);
        }
        y += bytes;
    }
    return MTL_OK;
}

/* oneDNN takes blocks whose width no number of rows changes. */
static mtl_status concat_onednn(const runtime_context *context, const concat_state *s, runtime_step *result)
{
    size_t widths[ONEDNN_SOURCES];
    runtime_ref inputs[ONEDNN_SOURCES];
    if (s->count > ONEDNN_SOURCES || runtime_has_window(context) || s->stride.per_row != 0) {
        return MTL_OK;
    }
    for (size_t i = 0; i < s->count; i++) {
        widths[i] = (size_t)s->parts[i].bytes.fixed / sizeof(float);
        inputs[i] = s->parts[i].x;
    }
    const onednn_step *step;
    mtl_status status =
        onednn_add_concat(context->plan->onednn, widths, s->count, RUNTIME_ONEDNN_ROWS, context->diag, &step);
    if (status != MTL_OK) {
        return status == MTL_UNSUPPORTED ? MTL_OK : status;
    }
    const runtime_onednn_operands operands = {.inputs = inputs, .count = s->count, .y = s->y, .rows = s->outer};
    return runtime_onednn_call(context, &operands, step, result);
}

mtl_status runtime_prepare_concat(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_step *step = context->step;
    const plan_tensor *y = plan_result(view, step);
    unsigned axis = (unsigned)view->attrs[step->attrs];
    concat_state *s = RUNTIME_NEW(context->memory, concat_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->parts = RUNTIME_NEW(context->memory, concat_part, step->input_count);
    BASE_TRY_MEMORY(s->parts, context->diag);
    runtime_affine size = {(int64_t)mtl_dtype_size((mtl_dtype)y->dtype), 0};
    s->y = runtime_ref_of(view, y);
    s->outer = runtime_elements(view, y, 0, axis);
    s->stride = runtime_times(runtime_elements(view, y, axis, y->rank), size);
    s->count = step->input_count;
    for (unsigned i = 0; i < step->input_count; i++) {
        const plan_tensor *x = plan_operand(view, step, i);
        s->parts[i].x = runtime_ref_of(view, x);
        s->parts[i].bytes = runtime_times(runtime_elements(view, x, axis, x->rank), size);
        s->parts[i].pitch = runtime_pitch(view, x);
    }
    s->pitch = runtime_pitch(view, y);
    *result = (runtime_step){
        .run = runtime_has_window(context) ? concat_run_windows : concat_run, .state = s, .kernel = "plain"};
    return y->dtype == MTL_F32 && runtime_choose_onednn(context->plan, PLAN_OP_concat, 0, 0)
               ? concat_onednn(context, s, result)
               : MTL_OK;
}

/* --- extents --- */

typedef struct extents_state {
    runtime_ref y;
    size_t count;
    const int64_t *attrs; /* (fixed, per_row) of each element */
} extents_state;

/* Extents are those of the whole call: a graph that computes with its batch size means all candidates. */
static mtl_status extents_run(const void *state, const runtime_frame *frame)
{
    const extents_state *s = state;
    int64_t *y = (int64_t *)(void *)runtime_out(frame, &s->y);
    for (size_t i = 0; i < s->count; i++) {
        y[i] = s->attrs[2 * i] + s->attrs[2 * i + 1] * frame->total_rows;
    }
    return MTL_OK;
}

mtl_status runtime_prepare_extents(const runtime_context *context, runtime_step *result)
{
    extents_state *s = RUNTIME_NEW(context->memory, extents_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->y = runtime_ref_of(context->view, plan_result(context->view, context->step));
    s->attrs = context->view->attrs + context->step->attrs;
    s->count = context->step->attr_count / 2;
    *result = (runtime_step){.run = extents_run, .state = s, .kernel = "plain"};
    return MTL_OK;
}
