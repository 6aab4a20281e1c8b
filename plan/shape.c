#include "plan/shape.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/checked.h"

mtl_dim plan_count(const mtl_dim *dims, unsigned from, unsigned to)
{
    mtl_dim count = plan_dim_fixed(1);
    for (unsigned axis = from; axis < to; axis++) {
        mtl_dim by = dims[axis];
        if (!plan_dim_is_fixed(by)) { /* the only one: what came before is fixed */
            mtl_dim so_far = count;
            count = by;
            by = so_far;
        }
        count.fixed *= by.fixed;
        count.per_row *= by.fixed;
        count.per_user *= by.fixed;
    }
    return count;
}

bool plan_candidates_lead(const mtl_dim *dims, unsigned rank)
{
    unsigned axis = plan_row_axis(dims, rank);
    return axis == rank ||
           (plan_dim_is(plan_count(dims, 0, axis), 1) && (plan_dim_equal(dims[axis], (mtl_dim){.per_row = 1}) ||
                                                          plan_dim_equal(dims[axis], (mtl_dim){.per_user = 1})));
}

unsigned plan_row_axis(const mtl_dim *dims, unsigned rank)
{
    unsigned axis = 0;
    while (axis < rank && plan_dim_is_fixed(dims[axis])) {
        axis++;
    }
    return axis;
}

bool plan_grows_with_users(const mtl_dim *dims, unsigned rank)
{
    unsigned axis = plan_row_axis(dims, rank);
    return axis < rank && dims[axis].per_user != 0;
}

/* Appends to the text of `size` bytes whose end is at `used`; what does not fit is cut. */
static size_t add_text(char *text, size_t size, size_t used, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static size_t add_text(char *text, size_t size, size_t used, const char *format, ...)
{
    if (used >= size) {
        return used;
    }
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(text + used, size - used, format, arguments);
    va_end(arguments);
    return more < 0 ? used : used + (size_t)more;
}

static size_t add_term(char *text, size_t size, size_t used, int64_t times, const char *symbol, bool first)
{
    if (times == 0) {
        return used;
    }
    used = add_text(text, size, used, "%s", first || times < 0 ? "" : "+");
    return times == 1 ? add_text(text, size, used, "%s", symbol)
                      : add_text(text, size, used, "%" PRId64 "*%s", times, symbol);
}

static size_t add_dim(char *text, size_t size, size_t used, mtl_dim dim)
{
    used = add_term(text, size, used, dim.per_row, "B", true);
    used = add_term(text, size, used, dim.per_user, "U", dim.per_row == 0);
    bool alone = dim.per_row == 0 && dim.per_user == 0;
    if (alone || dim.fixed != 0) {
        used = add_text(text, size, used, "%s%" PRId64, alone || dim.fixed < 0 ? "" : "+", dim.fixed);
    }
    return used;
}

const char *plan_shape_text(const mtl_dim *dims, unsigned rank, char *text, size_t size)
{
    size_t used = add_text(text, size, 0, "(");
    for (unsigned axis = 0; axis < rank; axis++) {
        used = add_text(text, size, used, "%s", axis == 0 ? "" : ", ");
        used = add_dim(text, size, used, dims[axis]);
    }
    add_text(text, size, used, rank == 1 ? ",)" : ")");
    return text;
}

const char *plan_dim_text(mtl_dim dim, char *text, size_t size)
{
    add_dim(text, size, 0, dim);
    return text;
}

uint64_t plan_param_bytes(const plan_view *view)
{
    if (view->meta->param_count == 0) {
        return 0;
    }
    const plan_tensor *last = plan_param(view, view->meta->param_count - 1);
    return last->offset + plan_param_room(view, last);
}

uint64_t plan_param_room(const plan_view *view, const plan_tensor *param)
{
    uint64_t bytes = 0;
    plan_const_bytes(param, plan_dims(view, param), &bytes); /* plan_check has bounded its extents */
    return (bytes + PLAN_ALIGNMENT - 1) & ~(uint64_t)(PLAN_ALIGNMENT - 1);
}

bool plan_const_bytes(const plan_tensor *tensor, const mtl_dim *dims, uint64_t *bytes)
{
    uint64_t total = mtl_dtype_size(tensor->dtype);
    unsigned rank = tensor->layout == PLAN_LAYOUT_PANELS ? 3 : tensor->layout == PLAN_LAYOUT_PADDED ? 2 : tensor->rank;
    if (tensor->rank != rank) {
        return false;
    }
    for (unsigned axis = 0; axis < rank; axis++) {
        int64_t extent = dims[axis].fixed;
        bool padded = tensor->layout != PLAN_LAYOUT_DENSE && axis + 1 == rank;
        if (extent < 0 || (padded && !base_add_i64(extent, PLAN_PANEL - 1, &extent))) {
            return false;
        }
        extent = padded ? extent / PLAN_PANEL * PLAN_PANEL : extent;
        if (__builtin_mul_overflow(total, (uint64_t)extent, &total)) {
            return false;
        }
    }
    *bytes = total;
    return true;
}
