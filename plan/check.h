/* Private to plan/: the parts of plan_check, in the order in which they run. Each relies on those before it. */
#ifndef PLAN_CHECK_H
#define PLAN_CHECK_H

#include "base/arena.h"
#include "plan/plan.h"
#include "plan/shape.h"

/* Header, section table, checksums: fills the view. Everything after this reads whole records inside of the file. */
mtl_status plan_check_header(const void *data, size_t size, bool lazily, base_diag *diag, plan_view *view);

/* Strings, meta, tensors and their storage, signature: every tensor record is sound by itself. */
mtl_status plan_check_tensors(const plan_view *view, base_diag *diag, base_arena *scratch);

/* Each step by itself: operands, dtypes, function, attributes, shapes. */
mtl_status plan_check_steps(const plan_view *view, base_diag *diag);

/* All steps together: what is read has been written and not been overwritten, every output is written. */
mtl_status plan_check_flow(const plan_view *view, base_diag *diag, base_arena *scratch);

/* Fails with "step NUMBER (OP): " before the message. */
mtl_status plan_fail_step(const plan_view *view, const plan_step *step, base_diag *diag, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Bytes of a tensor for one row and one user, dense; constants in their layout; of a window, what it windows. Of
 * checked tensors. */
uint64_t plan_tensor_bytes(const plan_view *view, const plan_tensor *tensor);

/* Elements of a tensor; of a window, of what it windows. */
mtl_dim plan_group_elements(const plan_view *view, const plan_tensor *tensor);

static inline bool plan_is_tiled(const plan_view *view)
{
    return (view->meta->flags & PLAN_FLAG_WHOLE_BATCH) == 0;
}

#endif
