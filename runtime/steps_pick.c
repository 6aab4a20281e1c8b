/* Steps that choose by data: top_k finds places, batch_gather takes what is there. */
#include <inttypes.h>

#include "runtime/internal.h"
#include "runtime/native/native.h"
#include "runtime/rows.h"

/* --- top_k --- */

typedef struct top_k_state {
    runtime_ref x, y;
    runtime_affine outer, inner;
    size_t n, k;
    bool largest;
    uint8_t dtype;
    runtime_rows rows;
} top_k_state;

static void top_k_call(const void *state, const runtime_frame *frame, const void *x, void *y, int64_t rows)
{
    const top_k_state *s = state;
    size_t outer = (size_t)runtime_at(s->outer, rows), inner = (size_t)runtime_at(s->inner, rows);
    (void)frame;
    switch (s->dtype) {
    case MTL_I32: native_top_k_i32(x, y, outer, s->n, inner, s->k, s->largest); break;
    case MTL_I64: native_top_k_i64(x, y, outer, s->n, inner, s->k, s->largest); break;
    default: native_top_k_f32(x, y, outer, s->n, inner, s->k, s->largest); break;
    }
}

static mtl_status top_k_run(const void *state, const runtime_frame *frame)
{
    const top_k_state *s = state;
    runtime_rows_run(&s->rows, frame, runtime_in(frame, &s->x), runtime_out(frame, &s->y), top_k_call, s);
    return MTL_OK;
}

mtl_status runtime_prepare_top_k(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *x = plan_operand(view, context->step, 0), *y = plan_result(view, context->step);
    const int64_t *attrs = view->attrs + context->step->attrs;
    unsigned axis = (unsigned)attrs[0];
    top_k_state *s = RUNTIME_NEW(context->memory, top_k_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->x = runtime_ref_of(view, x);
    s->y = runtime_ref_of(view, y);
    s->outer = runtime_elements(view, x, 0, axis);
    s->inner = runtime_elements(view, x, axis + 1, x->rank);
    s->n = (size_t)runtime_extent(view, x, axis).fixed;
    s->k = (size_t)runtime_extent(view, y, axis).fixed;
    s->largest = attrs[1] != 0;
    s->dtype = x->dtype;
    s->rows = runtime_rows_of(context);
    *result = (runtime_step){.run = top_k_run, .state = s, .kernel = "plain"};
    return MTL_OK;
}

/* --- batch_gather --- */

typedef struct batch_gather_state {
    runtime_ref data, indices, y;
    bool wide, window;                     /* indices are int64; an operand or the result is a window */
    runtime_affine outer, count, bytes, n; /* data (outer, count, a row of `bytes`), indices (outer, n) */
    const char *name;                      /* of the indices */
    size_t data_pitch, index_pitch, y_pitch;
} batch_gather_state;

/* `rows` candidates from the places given. Returns 0, or 1 more than the element whose index is outside. */
static size_t gather_dense(const batch_gather_state *s, int64_t rows, const unsigned char *data,
                           const unsigned char *indices, unsigned char *y)
{
    size_t outer = (size_t)runtime_at(s->outer, rows), count = (size_t)runtime_at(s->count, rows);
    size_t bytes = (size_t)runtime_at(s->bytes, rows), n = (size_t)runtime_at(s->n, rows);
    const void *places = indices;
    size_t done = s->wide ? native_batch_gather_i64(data, places, y, outer, count, bytes, n)
                          : native_batch_gather_i32(data, places, y, outer, count, bytes, n);
    return done < outer * n ? done + 1 : 0;
}

static mtl_status batch_gather_run(const void *state, const runtime_frame *frame)
{
    const batch_gather_state *s = state;
    const unsigned char *data = runtime_in(frame, &s->data), *indices = runtime_in(frame, &s->indices);
    unsigned char *y = runtime_out(frame, &s->y);
    int64_t parts = s->window ? frame->rows : 1, rows = s->window ? 1 : frame->rows;
    for (int64_t part = 0; part < parts; part++) {
        size_t bad = gather_dense(s, rows, data, indices, y);
        if (bad != 0) {
            int64_t id = s->wide ? ((const int64_t *)(const void *)indices)[bad - 1]
                                 : ((const int32_t *)(const void *)indices)[bad - 1];
            int64_t count = runtime_at(s->count, frame->rows);
            return base_fail(frame->diag, MTL_INVALID_DATA,
                             "value '%s', element %" PRId64 " of the rows from %" PRId64 ": index %" PRId64
                             " is outside of [-%" PRId64 ", %" PRId64 "]",
                             s->name, (int64_t)bad - 1, frame->first + part, id, count, count - 1);
        }
        data += s->data_pitch;
        indices += s->index_pitch;
        y += s->y_pitch;
    }
    return MTL_OK;
}

mtl_status runtime_prepare_batch_gather(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *data = plan_operand(view, context->step, 0), *indices = plan_operand(view, context->step, 1);
    const plan_tensor *y = plan_result(view, context->step);
    unsigned axis = (unsigned)view->attrs[context->step->attrs];
    batch_gather_state *s = RUNTIME_NEW(context->memory, batch_gather_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    runtime_affine size = {(int64_t)mtl_dtype_size((mtl_dtype)data->dtype), 0};
    s->data = runtime_ref_of(view, data);
    s->indices = runtime_ref_of(view, indices);
    s->y = runtime_ref_of(view, y);
    s->wide = indices->dtype == MTL_I64;
    s->outer = runtime_elements(view, data, 0, axis);
    s->count = runtime_extent(view, data, axis);
    s->bytes = runtime_times(runtime_elements(view, data, axis + 1, data->rank), size);
    s->n = runtime_elements(view, indices, axis, indices->rank);
    s->name = plan_string(view, indices->name);
    s->window = runtime_has_window(context);
    if (s->window) {
        s->data_pitch = runtime_pitch(view, data);
        s->index_pitch = runtime_pitch(view, indices);
        s->y_pitch = runtime_pitch(view, y);
    }
    *result = (runtime_step){.run = batch_gather_run, .state = s, .kernel = "plain"};
    return MTL_OK;
}
