/* Steps that are one call of a oneDNN primitive. */
#include <stdio.h>
#include <string.h>

#include "runtime/internal.h"
#include "runtime/onednn/onednn.h"

typedef struct onednn_state {
    runtime_ref a, b, y;
    bool has_b;
    runtime_affine rows;
    const onednn_step *step;
} onednn_state;

static mtl_status call_run(const void *state, const runtime_frame *frame)
{
    const onednn_state *s = state;
    const float *inputs[2] = {(const float *)runtime_in(frame, &s->a), NULL};
    if (s->has_b) {
        inputs[1] = (const float *)runtime_in(frame, &s->b);
    }
    return onednn_run(frame->onednn, s->step, inputs, (float *)runtime_out(frame, &s->y),
                      (size_t)runtime_at(s->rows, frame->rows), frame->diag);
}

const char *runtime_onednn_name(const runtime_context *context, const onednn_step *step)
{
    const char *implementation = onednn_step_implementation(step);
    size_t length = strlen("onednn ") + strlen(implementation) + 1;
    char *name = RUNTIME_NEW(context->memory, char, length);
    if (name != NULL) {
        snprintf(name, length, "onednn %s", implementation);
    }
    return name;
}

mtl_status runtime_onednn_call(const runtime_context *context, const onednn_step *step, const runtime_ref *a,
                               const runtime_ref *b, const runtime_ref *y, runtime_affine rows, runtime_step *result)
{
    onednn_state *s = RUNTIME_NEW(context->memory, onednn_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    *s = (onednn_state){.a = *a, .y = *y, .has_b = b != NULL, .rows = rows, .step = step};
    if (b != NULL) {
        s->b = *b;
    }
    *result = (runtime_step){.run = call_run, .state = s, .kernel = runtime_onednn_name(context, step)};
    BASE_TRY_MEMORY(result->kernel, context->diag);
    return MTL_OK;
}
