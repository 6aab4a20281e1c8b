#include "plan/check.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/hash.h"

mtl_status plan_check(const void *data, size_t size, bool lazily, base_diag *diag, plan_view *view)
{
    base_arena scratch = {0};
    mtl_status status = plan_check_header(data, size, lazily, diag, view);
    if (status == MTL_OK) {
        status = plan_check_tensors(view, diag, &scratch);
    }
    if (status == MTL_OK) {
        status = plan_check_steps(view, diag);
    }
    if (status == MTL_OK) {
        status = plan_check_flow(view, diag, &scratch);
    }
    base_arena_free(&scratch);
    return status;
}

mtl_status plan_check_consts(const plan_view *view, base_diag *diag)
{
    if (base_hash64(view->consts, view->const_bytes) != view->const_checksum) {
        return base_fail(diag, MTL_INVALID_DATA, "byte %zu: the constants (%zu bytes) do not match their checksum",
                         (size_t)(view->consts - (const unsigned char *)view->header), view->const_bytes);
    }
    return MTL_OK;
}

mtl_status plan_fail_step(const plan_view *view, const plan_step *step, base_diag *diag, const char *format, ...)
{
    char message[MTL_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return base_fail(diag, MTL_INVALID_DATA, "step %zu (%s): %s", (size_t)(step - view->steps), plan_op_name(step->op),
                     message);
}
