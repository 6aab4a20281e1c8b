/* The loop: the request program once, then the row program for each tile. */
#include <inttypes.h>

#include "runtime/internal.h"

static mtl_status check_call(const mtl_session *session, int64_t rows, const void *const *inputs, void *const *outputs,
                             base_diag *diag)
{
    const mtl_plan *plan = session->plan;
    size_t input_count = mtl_plan_input_count(plan), output_count = mtl_plan_output_count(plan);
    if (rows < 0) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "rows is %" PRId64 ", expected 0 or more", rows);
    }
    if (session->max_rows > 0 && rows > session->max_rows) {
        return base_fail(diag, MTL_INVALID_ARGUMENT,
                         "rows is %" PRId64 ", expected at most the session's max_rows, %" PRId64
                         " (this plan mixes candidates and runs whole batches)",
                         rows, session->max_rows);
    }
    if (rows == 0) {
        return MTL_OK;
    }
    if ((input_count > 0 && inputs == NULL) || (output_count > 0 && outputs == NULL)) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "%s is NULL",
                         input_count > 0 && inputs == NULL ? "inputs" : "outputs");
    }
    for (size_t i = 0; i < input_count; i++) {
        if (inputs[i] == NULL) {
            return base_fail(diag, MTL_INVALID_ARGUMENT, "input '%s' is NULL", plan->signature[i].name);
        }
    }
    for (size_t i = 0; i < output_count; i++) {
        if (outputs[i] == NULL) {
            return base_fail(diag, MTL_INVALID_ARGUMENT, "output '%s' is NULL", plan->signature[input_count + i].name);
        }
    }
    return MTL_OK;
}

static mtl_status run_steps(const runtime_step *steps, size_t count, const runtime_frame *frame)
{
    for (size_t i = 0; i < count; i++) {
        mtl_status status = steps[i].run(steps[i].state, frame);
        if (status != MTL_OK) {
            return status;
        }
    }
    return MTL_OK;
}

mtl_status mtl_session_run(mtl_session *session, int64_t rows, const void *const *inputs, void *const *outputs,
                           mtl_error *error)
{
    base_diag diag = {.error = error};
    if (session == NULL) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_session_run: session is NULL");
    }
    BASE_TRY(check_call(session, rows, inputs, outputs, &diag));
    if (rows == 0) {
        return MTL_OK;
    }
    const mtl_plan *plan = session->plan;
    size_t request_steps = plan->view.meta->request_step_count;
    runtime_frame frame = {
        .consts = plan->view.consts,
        .params = session->params,
        .request = session->request,
        .row = session->row,
        .inputs = inputs,
        .outputs = outputs,
        .height = (int64_t)session->tile_rows,
        .rows = rows,
        .total_rows = rows,
        .onednn = session->onednn,
        .diag = &diag,
    };
    BASE_TRY(run_steps(plan->steps, request_steps, &frame));
    for (int64_t first = 0; first < rows; first += frame.height) {
        frame.first = first;
        frame.rows = rows - first < frame.height ? rows - first : frame.height;
        BASE_TRY(run_steps(plan->steps + request_steps, plan->view.step_count - request_steps, &frame));
    }
    return MTL_OK;
}
