/* Steps that are one call of a oneDNN primitive. */
#include <stdio.h>
#include <string.h>

#include "runtime/internal.h"
#include "runtime/onednn/onednn.h"

typedef struct onednn_state {
    runtime_ref y;
    runtime_affine rows;
    const onednn_step *step;
    int64_t start; /* bytes into the first input */
    size_t count;
    runtime_ref inputs[]; /* `count` of them */
} onednn_state;

static mtl_status call_run(const void *state, const runtime_frame *frame)
{
    const onednn_state *s = state;
    const float *inputs[ONEDNN_SOURCES] = {NULL};
    for (size_t i = 0; i < s->count; i++) {
        inputs[i] = (const float *)(const void *)(runtime_in(frame, &s->inputs[i]) + (i == 0 ? s->start : 0));
    }
    return onednn_run(frame->onednn, s->step, inputs, runtime_out(frame, &s->y),
                      (size_t)runtime_at(s->rows, frame->rows), frame->diag);
}

const char *runtime_onednn_name(const runtime_context *context, const onednn_step *step)
{
    const char *implementation = onednn_step_implementation(step);
    enum { WORDS = 64 }; /* all that is not the implementation, and more */
    size_t copied = onednn_copied_bytes(step), length = strlen(implementation) + WORDS;
    char *name = RUNTIME_NEW(context->memory, char, length);
    if (name != NULL && copied > 0) {
        snprintf(name, length, "onednn %s, weights copied: %zu bytes", implementation, copied);
    } else if (name != NULL) {
        snprintf(name, length, "onednn %s", implementation);
    }
    return name;
}

mtl_status runtime_onednn_call(const runtime_context *context, const runtime_onednn_operands *operands,
                               const onednn_step *step, runtime_step *result)
{
    unsigned char *memory =
        RUNTIME_NEW(context->memory, unsigned char, sizeof(onednn_state) + operands->count * sizeof(runtime_ref));
    BASE_TRY_MEMORY(memory, context->diag);
    onednn_state *s = (void *)memory;
    *s = (onednn_state){
        .y = operands->y, .rows = operands->rows, .step = step, .start = operands->start, .count = operands->count};
    memcpy(s->inputs, operands->inputs, operands->count * sizeof(runtime_ref));
    *result = (runtime_step){.run = call_run, .state = s, .kernel = runtime_onednn_name(context, step)};
    BASE_TRY_MEMORY(result->kernel, context->diag);
    return MTL_OK;
}
