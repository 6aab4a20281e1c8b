/* From the records of a plan to prepared steps. */
#include <stdio.h>
#include <string.h>

#include "runtime/internal.h"
#include "runtime/native/native.h"
#include "runtime/onednn/onednn.h"
#include "runtime/span.h"

runtime_affine runtime_extent(const plan_view *view, const plan_tensor *tensor, unsigned axis)
{
    const mtl_dim *dim = &plan_dims(view, tensor)[axis];
    return (runtime_affine){dim->fixed, dim->per_row + dim->per_user}; /* a step grows with one of them */
}

/* plan_check has bounded the extents of a tensor and allows only one axis with per_row, so that the product of two of
 * its extents is affine; unsigned, so that a defect there is not undefined behaviour here. */
runtime_affine runtime_times(runtime_affine a, runtime_affine b)
{
    uint64_t fixed = (uint64_t)a.fixed * (uint64_t)b.fixed;
    uint64_t per_row = (uint64_t)a.fixed * (uint64_t)b.per_row + (uint64_t)a.per_row * (uint64_t)b.fixed;
    return (runtime_affine){(int64_t)fixed, (int64_t)per_row};
}

runtime_affine runtime_elements(const plan_view *view, const plan_tensor *tensor, unsigned from, unsigned to)
{
    runtime_affine elements = {1, 0};
    for (unsigned axis = from; axis < to; axis++) {
        elements = runtime_times(elements, runtime_extent(view, tensor, axis));
    }
    return elements;
}

runtime_ref runtime_ref_of(const plan_view *view, const plan_tensor *tensor)
{
    runtime_ref ref = {.storage = tensor->storage, .index = tensor->index, .offset = tensor->offset};
    if (tensor->storage == PLAN_STORAGE_INPUT || tensor->storage == PLAN_STORAGE_OUTPUT) {
        ref.offset = 0;
        for (unsigned axis = 0; axis < tensor->rank; axis++) {
            runtime_affine extent = runtime_extent(view, tensor, axis);
            if (extent.per_row != 0) {
                runtime_affine inner = runtime_elements(view, tensor, axis + 1, tensor->rank);
                ref.per_row =
                    (uint64_t)extent.per_row * (uint64_t)inner.fixed * mtl_dtype_size((mtl_dtype)tensor->dtype);
            }
        }
    }
    if (tensor->rank > 0 && runtime_extent(view, tensor, 0).per_row == 1) {
        runtime_affine inner = runtime_elements(view, tensor, 1, tensor->rank);
        ref.per_position = (uint64_t)inner.fixed * mtl_dtype_size((mtl_dtype)tensor->dtype);
    }
    if (plan_is_window(tensor)) {
        ref.start = (uint64_t)tensor->start * mtl_dtype_size((mtl_dtype)tensor->dtype);
        ref.per_row = (uint64_t)tensor->pitch * mtl_dtype_size((mtl_dtype)tensor->dtype);
    }
    return ref;
}

bool runtime_is_users(const runtime_context *context, const plan_tensor *tensor, runtime_ref *ref)
{
    bool users = context->number >= context->view->meta->request_step_count &&
                 plan_grows_with_users(plan_dims(context->view, tensor), tensor->rank);
    ref->per_row = users ? 0 : ref->per_row;
    return users;
}

size_t runtime_pitch(const plan_view *view, const plan_tensor *tensor)
{
    size_t size = mtl_dtype_size((mtl_dtype)tensor->dtype);
    return size *
           (plan_is_window(tensor) ? tensor->pitch : (size_t)runtime_elements(view, tensor, 0, tensor->rank).per_row);
}

size_t runtime_row_stride(const plan_view *view, const plan_tensor *tensor)
{
    runtime_affine rows = runtime_extent(view, tensor, 0);
    if (rows.per_row == 1 && rows.fixed == 0) {
        return runtime_pitch(view, tensor) / mtl_dtype_size((mtl_dtype)tensor->dtype);
    }
    bool one = rows.fixed == 1 && rows.per_row == 0;
    return one ? 0 : (size_t)runtime_elements(view, tensor, 1, tensor->rank).fixed;
}

bool runtime_has_window(const runtime_context *context)
{
    for (unsigned i = 0; i <= context->step->input_count; i++) { /* the result is behind the inputs */
        const plan_tensor *tensor = plan_operand(context->view, context->step, i);
        if (tensor != NULL && plan_is_window(tensor)) {
            return true;
        }
    }
    return false;
}

mtl_status runtime_fail_step(const runtime_context *context, mtl_status status, const char *format, ...)
{
    char message[MTL_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return base_fail(context->diag, status, "step %zu (%s, '%s'): %s", context->number, plan_op_name(context->step->op),
                     plan_string(context->view, context->step->label), message);
}

static const runtime_prepare prepare[] = {
#define PLAN_OP(number, name, ...) [number] = runtime_prepare_##name,
#include "plan/ops.def"
#undef PLAN_OP
};

static mtl_status prepare_providers(mtl_plan *plan, base_diag *diag)
{
    size_t length = strlen("native ") + strlen(plan->native->name) + 1;
    char *name = RUNTIME_NEW(&plan->memory, char, length);
    BASE_TRY_MEMORY(name, diag);
    snprintf(name, length, "native %s", plan->native->name);
    plan->native_name = name;
    if (runtime_choose_needs_onednn(plan)) {
        BASE_TRY(onednn_context_create(&plan->allocator, plan->native, diag, &plan->onednn));
    }
    return MTL_OK;
}

/* "native avx512", and why not oneDNN where that has only its reference code: "native avx512; oneDNN would use ref:any". */
static mtl_status name_kernel(const runtime_context *context, runtime_step *step)
{
    static const char between[] = "; oneDNN would use ";
    onednn_context *onednn = context->plan->onednn;
    const char *refused = onednn != NULL ? onednn_refused(onednn, false) : NULL;
    if (step->kernel == NULL) {
        step->kernel = context->plan->native_name;
    }
    if (refused == NULL || strncmp(step->kernel, "onednn", strlen("onednn")) == 0) {
        return MTL_OK;
    }
    size_t length = strlen(step->kernel) + sizeof between + strlen(refused);
    char *name = RUNTIME_NEW(context->memory, char, length);
    BASE_TRY_MEMORY(name, context->diag);
    snprintf(name, length, "%s%s%s", step->kernel, between, refused);
    step->kernel = name;
    return MTL_OK;
}

mtl_status runtime_prepare_steps(mtl_plan *plan, base_diag *diag)
{
    const plan_view *view = &plan->view;
    BASE_TRY(prepare_providers(plan, diag));
    plan->steps = RUNTIME_NEW(&plan->memory, runtime_step, view->step_count);
    BASE_TRY_MEMORY(plan->steps, diag);
    for (size_t i = 0; i < view->step_count; i++) {
        runtime_context context = {.plan = plan, .view = view, .memory = &plan->memory, .diag = diag};
        context.step = &view->steps[i];
        context.number = i;
        if (context.step->op >= sizeof prepare / sizeof prepare[0] || prepare[context.step->op] == NULL) {
            return runtime_fail_step(&context, MTL_INTERNAL, "unknown operation %u", context.step->op);
        }
        if (plan->onednn != NULL) {
            onednn_refused(plan->onednn, true);
        }
        if (plan_span(view, context.step) != NULL && plan_span_kind_of(context.step->op) == PLAN_SPAN_POSITIONS) {
            BASE_TRY(runtime_prepare_positions(&context, prepare[context.step->op], &plan->steps[i]));
        } else {
            BASE_TRY(prepare[context.step->op](&context, &plan->steps[i]));
        }
        BASE_TRY(name_kernel(&context, &plan->steps[i]));
    }
    return MTL_OK;
}
