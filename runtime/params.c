/* Params: constants of the model that a host sets, each session its own. */
#include <inttypes.h>
#include <string.h>

#include "runtime/internal.h"

static size_t first_param(const mtl_plan *plan)
{
    return (size_t)plan->view.meta->input_count + plan->view.meta->output_count;
}

static size_t bytes_of(const mtl_plan *plan, size_t index)
{
    uint64_t bytes = 0;
    const plan_tensor *param = plan_param(&plan->view, index);
    plan_const_bytes(param, plan_dims(&plan->view, param), &bytes); /* of a checked plan: it fits */
    return (size_t)bytes;
}

size_t mtl_plan_param_count(const mtl_plan *plan)
{
    return plan->view.meta->param_count;
}

const mtl_tensor_info *mtl_plan_param_info(const mtl_plan *plan, size_t index)
{
    return index < mtl_plan_param_count(plan) ? &plan->signature[first_param(plan) + index] : NULL;
}

const float *mtl_plan_param_default(const mtl_plan *plan, size_t index)
{
    if (index >= mtl_plan_param_count(plan)) {
        return NULL;
    }
    return (const float *)(const void *)(plan->view.consts + plan_param_default(&plan->view, index)->offset);
}

size_t mtl_plan_find_param(const mtl_plan *plan, const char *name)
{
    for (size_t i = 0; name != NULL && i < mtl_plan_param_count(plan); i++) {
        if (strcmp(mtl_plan_param_info(plan, i)->name, name) == 0) {
            return i;
        }
    }
    return MTL_NO_PARAM;
}

static void copy_param(mtl_session *session, size_t index, const float *data)
{
    const mtl_plan *plan = session->plan;
    memcpy(session->params + plan_param(&plan->view, index)->offset, data, bytes_of(plan, index));
}

void runtime_reset_params(mtl_session *session)
{
    for (size_t i = 0; i < mtl_plan_param_count(session->plan); i++) {
        copy_param(session, i, mtl_plan_param_default(session->plan, i));
    }
}

mtl_status mtl_session_set_param(mtl_session *session, size_t index, const float *data, mtl_error *error)
{
    base_diag diag = {.error = error};
    if (session == NULL) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_session_set_param: session is NULL");
    }
    const mtl_plan *plan = session->plan;
    if (index == MTL_NO_PARAM) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT,
                         "mtl_session_set_param: the plan has no param of that name (it has %zu)",
                         mtl_plan_param_count(plan));
    }
    if (index >= mtl_plan_param_count(plan)) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_session_set_param: there is no param %zu, the plan has %zu",
                         index, mtl_plan_param_count(plan));
    }
    if (data == NULL) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_session_set_param: the values of param '%s' are NULL",
                         mtl_plan_param_info(plan, index)->name);
    }
    copy_param(session, index, data);
    return MTL_OK;
}
