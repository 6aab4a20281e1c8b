/* Recurrent layers. */
#include "runtime/internal.h"
#include "runtime/native/native.h"

typedef struct gru_state {
    runtime_ref p, r, bias, h, y;
    bool has_bias, has_h;
    runtime_affine rows;
    native_gru call;
    const native_kernels *native;
} gru_state;

static mtl_status gru_run(const void *state, const runtime_frame *frame)
{
    const gru_state *s = state;
    native_gru call = s->call;
    call.p = (const float *)runtime_in(frame, &s->p);
    call.r = (const float *)runtime_in(frame, &s->r);
    call.bias = s->has_bias ? (const float *)runtime_in(frame, &s->bias) : NULL;
    call.h = s->has_h ? (const float *)runtime_in(frame, &s->h) : NULL;
    call.y = (float *)runtime_out(frame, &s->y);
    call.rows = (size_t)runtime_at(s->rows, frame->rows);
    s->native->gru(&call);
    return MTL_OK;
}

mtl_status runtime_prepare_gru(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_step *step = context->step;
    const plan_tensor *p = plan_operand(view, step, 0), *r = plan_operand(view, step, 1);
    const plan_tensor *bias = step->input_count > 2 ? plan_operand(view, step, 2) : NULL;
    const plan_tensor *h = step->input_count > 3 ? plan_operand(view, step, 3) : NULL;
    const plan_tensor *y = plan_result(view, step);
    gru_state *s = RUNTIME_NEW(context->memory, gru_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    *s = (gru_state){
        .p = runtime_ref_of(view, p),
        .r = runtime_ref_of(view, r),
        .y = runtime_ref_of(view, y),
        .has_bias = bias != NULL,
        .has_h = h != NULL,
        .rows = runtime_extent(view, p, 0),
        .native = context->plan->native,
    };
    if (bias != NULL) {
        s->bias = runtime_ref_of(view, bias);
    }
    if (h != NULL) {
        s->h = runtime_ref_of(view, h);
    }
    s->call = (native_gru){
        .p_stride = runtime_row_stride(view, p),
        .h_stride = h != NULL ? runtime_row_stride(view, h) : 0,
        .y_stride = runtime_row_stride(view, y),
        .steps = (size_t)runtime_extent(view, p, 1).fixed,
        .hidden = (size_t)runtime_extent(view, y, 2).fixed,
        .reverse = view->attrs[step->attrs] != 0,
    };
    *result = (runtime_step){.run = gru_run, .state = s};
    return MTL_OK;
}
