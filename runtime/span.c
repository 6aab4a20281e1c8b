/* Steps that compute each position of (B, L, ..) by itself: the operation is prepared as if positions were candidates,
 * (B x L, ..), and runs once for every run of positions that spans leave. */
#include "runtime/span.h"

typedef struct positions_state {
    runtime_step step; /* over positions */
    runtime_spans spans;
    bool joins; /* a run may go from one candidate's last position on to the next one's first */
} positions_state;

/* Computes `count` positions from `begin` on, all of them of one candidate, or of several in full. */
static mtl_status run_positions(const positions_state *s, const runtime_frame *frame, int64_t begin, int64_t count)
{
    const int64_t length = (int64_t)s->spans.length;
    runtime_frame part = *frame;
    part.position = begin;
    part.place = begin % length;
    part.first = frame->first * length + begin;
    part.rows = count;
    return s->step.run(s->step.state, &part);
}

static mtl_status positions_run(const void *state, const runtime_frame *frame)
{
    const positions_state *s = state;
    const uint8_t *mask = runtime_in(frame, &s->spans.mask);
    const int64_t length = (int64_t)s->spans.length;
    int64_t begin = 0, end = 0;
    for (int64_t row = 0; row < frame->rows; row++, mask += length) {
        const runtime_span span = runtime_span_of(&s->spans, mask);
        const int64_t first = row * length + (int64_t)span.first;
        if (span.count == 0) {
            continue;
        }
        if (!s->joins || first != end) {
            if (end > begin) {
                BASE_TRY(run_positions(s, frame, begin, end - begin));
            }
            begin = first;
        }
        end = first + (int64_t)span.count;
    }
    return end > begin ? run_positions(s, frame, begin, end - begin) : MTL_OK;
}

/* The one plan_step of a view of its own. */
typedef struct positions_view {
    plan_view view;
    plan_step step;
    plan_tensor *tensors;
    uint32_t *operands;
    mtl_dim *dims; /* MTL_MAX_RANK for each tensor */
    int64_t *attrs;
} positions_view;

static mtl_status view_new(const runtime_context *context, positions_view **result)
{
    const size_t count = (size_t)context->step->input_count + 1;
    positions_view *view = RUNTIME_NEW(context->memory, positions_view, 1);
    BASE_TRY_MEMORY(view, context->diag);
    view->tensors = RUNTIME_NEW(context->memory, plan_tensor, count);
    view->operands = RUNTIME_NEW(context->memory, uint32_t, count);
    view->dims = RUNTIME_NEW(context->memory, mtl_dim, count * MTL_MAX_RANK);
    view->attrs = RUNTIME_NEW(context->memory, int64_t, (size_t)context->step->attr_count + 1);
    BASE_TRY_MEMORY(view->tensors, context->diag);
    BASE_TRY_MEMORY(view->operands, context->diag);
    BASE_TRY_MEMORY(view->dims, context->diag);
    BASE_TRY_MEMORY(view->attrs, context->diag);
    memcpy(view->attrs, context->view->attrs + context->step->attrs, context->step->attr_count * sizeof *view->attrs);
    view->view = *context->view;
    view->step = *context->step;
    view->view.tensors = view->tensors;
    view->view.operands = view->operands;
    view->view.dims = view->dims;
    view->view.attrs = view->attrs;
    view->step.operands = view->step.attrs = view->step.span = 0;
    *result = view;
    return MTL_OK;
}

/* Operand `i` with positions in the place of (B, L); of constants in the place of L, aligned with the result at the end.
 * True: a constant that differs from position to position. */
static bool set_operand(const runtime_context *context, positions_view *view, unsigned i)
{
    const plan_tensor *from = plan_operand(context->view, context->step, i);
    const plan_tensor *result = plan_result(context->view, context->step);
    view->operands[i] = from == NULL ? PLAN_NONE : i;
    if (from == NULL) {
        return false;
    }
    const mtl_dim *dims = plan_dims(context->view, from), length = plan_dims(context->view, result)[1];
    const mtl_dim positions = {.per_row = 1};
    const bool fixed = from->storage == PLAN_STORAGE_CONST || from->storage == PLAN_STORAGE_PARAM;
    const bool aligned = context->step->op == PLAN_OP_binary || context->step->op == PLAN_OP_chain;
    unsigned skipped = 0; /* axes before that of the positions */
    bool differs = true;
    if (fixed) {
        skipped = from->rank == result->rank ? 1 : 0;
        differs = aligned && from->rank + 1 >= result->rank && dims[skipped].fixed == length.fixed;
        skipped = aligned ? skipped : 0;
    } else {
        skipped = 1;
    }
    plan_tensor *to = &view->tensors[i];
    *to = *from;
    to->dims = i * MTL_MAX_RANK;
    to->rank = (uint8_t)(from->rank - skipped);
    memcpy(view->dims + to->dims, dims + skipped, to->rank * sizeof *dims);
    if (differs) {
        view->dims[to->dims] = positions;
    }
    return fixed && differs;
}

mtl_status runtime_prepare_positions(const runtime_context *context, runtime_prepare prepare, runtime_step *result)
{
    positions_view *view = NULL;
    BASE_TRY(view_new(context, &view));
    positions_state *s = RUNTIME_NEW(context->memory, positions_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->joins = true;
    for (unsigned i = 0; i <= context->step->input_count; i++) {
        s->joins = !set_operand(context, view, i) && s->joins;
    }
    if (context->step->op == PLAN_OP_layer_norm) {
        view->attrs[0]--; /* its axis */
    }
    s->spans = runtime_spans_of(context);
    runtime_context over_positions = *context;
    over_positions.view = &view->view;
    over_positions.step = &view->step;
    BASE_TRY(prepare(&over_positions, &s->step));
    *result = (runtime_step){.run = positions_run, .state = s, .kernel = s->step.kernel};
    return MTL_OK;
}
