/* Spans: of each candidate the positions from the first to the last that a mask (B, L) is true for. Steps with a span
 * compute nothing else. */
#ifndef RUNTIME_SPAN_H
#define RUNTIME_SPAN_H

#include <string.h>

#include "runtime/internal.h"

typedef struct runtime_span {
    size_t first, count;
} runtime_span;

/* Where a step's spans are from. */
typedef struct runtime_spans {
    runtime_ref mask;
    size_t length; /* positions of a candidate */
    bool whole;    /* where the mask is false everywhere, all positions are in the span; else none */
} runtime_spans;

/* Of the step at hand, which has a span. */
static inline runtime_spans runtime_spans_of(const runtime_context *context)
{
    const plan_tensor *mask = plan_span(context->view, context->step);
    return (runtime_spans){.mask = runtime_ref_of(context->view, mask),
                           .length = (size_t)plan_dims(context->view, mask)[1].fixed,
                           .whole = (context->step->span & PLAN_SPAN_WHOLE) != 0};
}

/* Of one candidate's elements of the mask; most often sequences fill their positions from one end. */
static inline runtime_span runtime_span_of(const runtime_spans *spans, const uint8_t *mask)
{
    const size_t length = spans->length;
    size_t first = 0, end = length;
    uint64_t eight = 0;
    while (first < length && mask[first] == 0) {
        first++;
    }
    if (first == length) {
        return (runtime_span){0, spans->whole ? length : 0};
    }
    while (end - first >= sizeof eight) {
        memcpy(&eight, mask + end - sizeof eight, sizeof eight);
        if (eight != 0) {
            break;
        }
        end -= sizeof eight;
    }
    while (end > first && mask[end - 1] == 0) {
        end--;
    }
    return (runtime_span){first, end - first};
}

/* Prepares a step that computes each position by itself and has a span, by the `prepare` of its operation. */
mtl_status runtime_prepare_positions(const runtime_context *context, runtime_prepare prepare, runtime_step *result);

#endif
