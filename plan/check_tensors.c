/* plan_check, second part: strings, meta, tensor records and the signature. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "plan/check.h"

static size_t place(const plan_view *view, const void *at)
{
    return (size_t)((const char *)at - (const char *)view->header);
}

static bool is_string(const plan_view *view, uint32_t offset)
{
    return offset < view->string_bytes && (offset == 0 || view->strings[offset - 1] == '\0');
}

static mtl_status check_strings(const plan_view *view, base_diag *diag)
{
    size_t size = view->string_bytes;
    if (size == 0 || view->strings[0] != '\0' || view->strings[size - 1] != '\0') {
        return base_fail(diag, MTL_INVALID_DATA, "byte %zu: strings begin with an empty one and end with a NUL",
                         place(view, view->strings));
    }
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)view->strings[i];
        if ((c < 0x20 && c != '\0') || c == 0x7f) {
            return base_fail(diag, MTL_INVALID_DATA, "byte %zu: control character 0x%02x in a string",
                             place(view, view->strings + i), c);
        }
    }
    return MTL_OK;
}

static mtl_status check_meta(const plan_view *view, base_diag *diag)
{
    const plan_meta *meta = view->meta;
    if ((meta->flags & ~(uint32_t)PLAN_FLAG_WHOLE_BATCH) != 0) {
        return base_fail(diag, MTL_INVALID_DATA, "byte %zu: unknown flags 0x%" PRIx32, place(view, &meta->flags),
                         meta->flags);
    }
    if ((uint64_t)meta->input_count + meta->output_count + 2 * (uint64_t)meta->param_count != view->signature_count ||
        meta->output_count == 0) {
        return base_fail(diag, MTL_INVALID_DATA,
                         "byte %zu: %" PRIu32 " inputs, %" PRIu32 " outputs (at least one) and %" PRIu32
                         " params with defaults, but %zu in the signature",
                         place(view, &meta->input_count), meta->input_count, meta->output_count, meta->param_count,
                         view->signature_count);
    }
    if (meta->request_step_count > view->step_count) {
        return base_fail(diag, MTL_INVALID_DATA, "byte %zu: %" PRIu32 " request steps of %zu steps",
                         place(view, &meta->request_step_count), meta->request_step_count, view->step_count);
    }
    if (meta->request_bytes % PLAN_ALIGNMENT != 0 || meta->request_bytes > PLAN_MAX_REQUEST_BYTES) {
        return base_fail(diag, MTL_INVALID_DATA,
                         "byte %zu: %" PRIu64 " bytes of request workspace, expected a multiple of %d below 2^46",
                         place(view, &meta->request_bytes), meta->request_bytes, PLAN_ALIGNMENT);
    }
    if (meta->row_bytes % 4 != 0 || meta->row_bytes > PLAN_MAX_ROW_BYTES) {
        return base_fail(diag, MTL_INVALID_DATA,
                         "byte %zu: %" PRIu64 " bytes of workspace a row, expected a multiple of 4 below 2^40",
                         place(view, &meta->row_bytes), meta->row_bytes);
    }
    if (!is_string(view, meta->model_name) || !is_string(view, meta->producer) || !is_string(view, meta->compiler)) {
        return base_fail(diag, MTL_INVALID_DATA, "byte %zu: the model's name, producer or compiler is no string",
                         place(view, &meta->model_name));
    }
    return MTL_OK;
}

/* "byte 4711: tensor 3 ('logit'): ..." */
static mtl_status fail_tensor(const plan_view *view, const plan_tensor *tensor, base_diag *diag, const char *format,
                              ...) __attribute__((format(printf, 4, 5)));
static mtl_status fail_tensor(const plan_view *view, const plan_tensor *tensor, base_diag *diag, const char *format,
                              ...)
{
    char message[MTL_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return base_fail(diag, MTL_INVALID_DATA, "byte %zu: tensor %zu ('%.100s'): %s", place(view, tensor),
                     (size_t)(tensor - view->tensors),
                     is_string(view, tensor->name) ? plan_string(view, tensor->name) : "?", message);
}

static mtl_status check_dims(const plan_view *view, const plan_tensor *tensor, base_diag *diag)
{
    const mtl_dim *dims = plan_dims(view, tensor);
    uint64_t bytes = mtl_dtype_size(tensor->dtype);
    unsigned growing = 0;
    for (unsigned axis = 0; axis < tensor->rank; axis++) {
        mtl_dim dim = dims[axis];
        const int64_t limit = (int64_t)PLAN_MAX_TENSOR_BYTES;
        if (dim.fixed < 0 || dim.per_row < 0 || dim.per_user < 0 || dim.fixed > limit || dim.per_row > limit ||
            dim.per_user > limit) {
            char text[PLAN_SHAPE_TEXT];
            return fail_tensor(view, tensor, diag, "axis %u has extent %s; coefficients lie in 0..2^48", axis,
                               plan_dim_text(dim, text, sizeof text));
        }
        growing += !plan_dim_is_fixed(dim);
        if (dim.per_row != 0 && dim.per_user != 0) {
            return fail_tensor(view, tensor, diag, "axis %u grows with rows and users, expected one of them", axis);
        }
        if (dim.fixed != 0 && dim.per_row != 0 && plan_is_tiled(view)) {
            return fail_tensor(view, tensor, diag,
                               "axis %u is %" PRId64 "*B+%" PRId64 ", which tiles of rows cannot hold", axis,
                               dim.per_row, dim.fixed);
        }
        /* An extent of 0 counts as 1, so that it hides no overflow of the others. */
        uint64_t once = (uint64_t)plan_dim_once(dim);
        if (__builtin_mul_overflow(bytes, once == 0 ? 1 : once, &bytes) || bytes > PLAN_MAX_TENSOR_BYTES) {
            return fail_tensor(view, tensor, diag, "more than 2^48 bytes for one row");
        }
    }
    if (growing > 1) {
        return fail_tensor(view, tensor, diag, "%u axes grow with rows or users, expected at most one", growing);
    }
    return MTL_OK;
}

/* A window by itself; what it windows is checked by its storage. */
static mtl_status check_window(const plan_view *view, const plan_tensor *tensor, base_diag *diag)
{
    const mtl_dim *dims = plan_dims(view, tensor);
    unsigned axis = plan_row_axis(dims, tensor->rank);
    if (tensor->pitch == 0) {
        return tensor->start == 0 ? MTL_OK
                                  : fail_tensor(view, tensor, diag, "start %" PRIu32 " without a pitch", tensor->start);
    }
    bool placed = tensor->storage == PLAN_STORAGE_INPUT || tensor->storage == PLAN_STORAGE_OUTPUT ||
                  tensor->storage == PLAN_STORAGE_REQUEST || tensor->storage == PLAN_STORAGE_ROW;
    if (!placed || !plan_is_tiled(view)) {
        return fail_tensor(view, tensor, diag, "windows are of inputs, outputs and the workspaces of plans of tiles");
    }
    mtl_dim width = plan_count(dims, axis < tensor->rank ? axis + 1 : axis, tensor->rank);
    if (axis == tensor->rank || !plan_candidates_lead(dims, tensor->rank) || !plan_dim_is_fixed(width)) {
        char text[PLAN_SHAPE_TEXT];
        return fail_tensor(view, tensor, diag, "a window has shape (1, .., 1, B, fixed extents), not %s",
                           plan_shape_text(dims, tensor->rank, text, sizeof text));
    }
    if (!base_range_fits(tensor->start, (uint64_t)width.fixed, tensor->pitch)) {
        return fail_tensor(view, tensor, diag,
                           "%" PRId64 " columns from %" PRIu32 " on of rows of %" PRIu32 " elements", width.fixed,
                           tensor->start, tensor->pitch);
    }
    return MTL_OK;
}

static mtl_status check_record(const plan_view *view, const plan_tensor *tensor, base_diag *diag)
{
    if (!is_string(view, tensor->name)) {
        return fail_tensor(view, tensor, diag, "its name (offset %" PRIu32 ") is no string", tensor->name);
    }
    if (mtl_dtype_size(tensor->dtype) == 0) {
        return fail_tensor(view, tensor, diag, "unknown dtype %d", tensor->dtype);
    }
    if (tensor->rank > MTL_MAX_RANK || !base_range_fits(tensor->dims, tensor->rank, view->dim_count)) {
        return fail_tensor(view, tensor, diag, "rank %d (at most %d) from extent %" PRIu32 " of %zu", tensor->rank,
                           MTL_MAX_RANK, tensor->dims, view->dim_count);
    }
    if (tensor->layout > PLAN_LAYOUT_PADDED) {
        return fail_tensor(view, tensor, diag, "unknown layout %d", tensor->layout);
    }
    if (tensor->layout != PLAN_LAYOUT_DENSE && (tensor->storage != PLAN_STORAGE_CONST || tensor->dtype != MTL_F32)) {
        return fail_tensor(view, tensor, diag, "only float32 constants are packed");
    }
    if (tensor->storage < PLAN_STORAGE_CONST || tensor->storage > PLAN_STORAGE_PARAM) {
        return fail_tensor(view, tensor, diag, "unknown storage %d", tensor->storage);
    }
    bool boundary = tensor->storage == PLAN_STORAGE_INPUT || tensor->storage == PLAN_STORAGE_OUTPUT;
    bool param = tensor->storage == PLAN_STORAGE_PARAM; /* has both: check_param */
    if (!param && (boundary ? tensor->offset != 0 : tensor->index != 0)) {
        return fail_tensor(view, tensor, diag, "index %" PRIu32 " and offset %" PRIu64 " do not fit its storage",
                           tensor->index, tensor->offset);
    }
    BASE_TRY(check_dims(view, tensor, diag));
    return check_window(view, tensor, diag);
}

/* A view of an input or output is the same memory: as many elements, candidates at the same place. */
static mtl_status check_boundary(const plan_view *view, const plan_tensor *tensor, base_diag *diag)
{
    bool input = tensor->storage == PLAN_STORAGE_INPUT;
    uint32_t count = input ? view->meta->input_count : view->meta->output_count;
    if (tensor->index >= count) {
        return fail_tensor(view, tensor, diag, "%s %" PRIu32 " of %" PRIu32, input ? "input" : "output", tensor->index,
                           count);
    }
    const plan_tensor *whole = &view->tensors[view->signature[tensor->index + (input ? 0 : view->meta->input_count)]];
    const mtl_dim *dims = plan_dims(view, tensor), *whole_dims = plan_dims(view, whole);
    unsigned axis = plan_row_axis(dims, tensor->rank), whole_axis = plan_row_axis(whole_dims, whole->rank);
    bool grows = axis < tensor->rank;
    mtl_dim elements = plan_group_elements(view, tensor);
    if (tensor->dtype != whole->dtype || !plan_dim_equal(elements, plan_count(whole_dims, 0, whole->rank)) ||
        (grows && !plan_dim_equal(plan_count(dims, 0, axis), plan_count(whole_dims, 0, whole_axis)))) {
        char text[PLAN_SHAPE_TEXT], whole_text[PLAN_SHAPE_TEXT];
        if (plan_is_window(tensor)) {
            return fail_tensor(view, tensor, diag, "rows of %" PRIu32 " elements are no rows of %s %s", tensor->pitch,
                               mtl_dtype_name(whole->dtype),
                               plan_shape_text(whole_dims, whole->rank, whole_text, sizeof whole_text));
        }
        return fail_tensor(view, tensor, diag, "%s %s views %s %" PRIu32 ", which is %s %s",
                           mtl_dtype_name(tensor->dtype), plan_shape_text(dims, tensor->rank, text, sizeof text),
                           input ? "input" : "output", tensor->index, mtl_dtype_name(whole->dtype),
                           plan_shape_text(whole_dims, whole->rank, whole_text, sizeof whole_text));
    }
    if (input && grows && !plan_dim_is(plan_count(dims, 0, axis), 1)) {
        return fail_tensor(view, tensor, diag, "axes before the candidates' of an input must be 1");
    }
    if (!input && plan_grows_with_users(dims, tensor->rank)) {
        return fail_tensor(view, tensor, diag, "axis %u of an output grows with users", axis);
    }
    return MTL_OK;
}

static mtl_status check_workspace(const plan_view *view, const plan_tensor *tensor, base_diag *diag)
{
    const mtl_dim *dims = plan_dims(view, tensor);
    bool row = tensor->storage == PLAN_STORAGE_ROW;
    uint64_t bytes = plan_tensor_bytes(view, tensor);
    uint64_t room = row ? view->meta->row_bytes : view->meta->request_bytes;
    unsigned alignment = row ? 4 : PLAN_ALIGNMENT;
    for (unsigned axis = 0; axis < tensor->rank; axis++) {
        if (row ? dims[axis].per_user != 0 : dims[axis].per_row != 0) {
            return fail_tensor(view, tensor, diag, "axis %u grows with %s, but the tensor is in the %s workspace", axis,
                               row ? "users" : "rows", row ? "rows'" : "request");
        }
    }
    if (tensor->offset % alignment != 0 || !base_range_fits(tensor->offset, bytes, room)) {
        return fail_tensor(view, tensor, diag,
                           "%" PRIu64 " bytes at offset %" PRIu64 " (a multiple of %u) of a workspace of %" PRIu64,
                           bytes, tensor->offset, alignment, room);
    }
    return MTL_OK;
}

static mtl_status check_const(const plan_view *view, const plan_tensor *tensor, base_diag *diag)
{
    const mtl_dim *dims = plan_dims(view, tensor);
    for (unsigned axis = 0; axis < tensor->rank; axis++) {
        if (!plan_dim_is_fixed(dims[axis])) {
            return fail_tensor(view, tensor, diag, "axis %u of a constant is not fixed", axis);
        }
    }
    uint64_t bytes;
    if (!plan_const_bytes(tensor, dims, &bytes)) {
        return fail_tensor(view, tensor, diag, "rank %d does not fit its layout (panels 3, padded 2)", tensor->rank);
    }
    if (tensor->offset % PLAN_ALIGNMENT != 0 || !base_range_fits(tensor->offset, bytes, view->const_bytes)) {
        return fail_tensor(view, tensor, diag,
                           "%" PRIu64 " bytes at offset %" PRIu64 " (a multiple of %d) of %zu bytes of constants",
                           bytes, tensor->offset, PLAN_ALIGNMENT, view->const_bytes);
    }
    return MTL_OK;
}

/* A param has fixed extents and float32 elements; views of it have as many at the same place. */
static mtl_status check_param(const plan_view *view, const plan_tensor *tensor, base_diag *diag)
{
    if (tensor->index >= view->meta->param_count) {
        return fail_tensor(view, tensor, diag, "param %" PRIu32 " of %" PRIu32, tensor->index, view->meta->param_count);
    }
    const plan_tensor *whole = plan_param(view, tensor->index);
    const mtl_dim *dims = plan_dims(view, tensor), *whole_dims = plan_dims(view, whole);
    for (unsigned axis = 0; axis < tensor->rank; axis++) {
        if (!plan_dim_is_fixed(dims[axis])) {
            return fail_tensor(view, tensor, diag, "axis %u of a param is not fixed", axis);
        }
    }
    if (tensor->dtype != MTL_F32 || tensor->offset != whole->offset ||
        !plan_dim_equal(plan_count(dims, 0, tensor->rank), plan_count(whole_dims, 0, whole->rank))) {
        char text[PLAN_SHAPE_TEXT], whole_text[PLAN_SHAPE_TEXT];
        return fail_tensor(
            view, tensor, diag, "%s %s at %" PRIu64 " views param %" PRIu32 ", which is float32 %s at %" PRIu64,
            mtl_dtype_name(tensor->dtype), plan_shape_text(dims, tensor->rank, text, sizeof text), tensor->offset,
            tensor->index, plan_shape_text(whole_dims, whole->rank, whole_text, sizeof whole_text), whole->offset);
    }
    return MTL_OK;
}

/* The params lie one behind the other, and each has a constant of its shape for a default. */
static mtl_status check_params(const plan_view *view, base_diag *diag)
{
    uint64_t offset = 0;
    for (uint32_t i = 0; i < view->meta->param_count; i++) {
        const plan_tensor *param = plan_param(view, i), *value = plan_param_default(view, i);
        bool same = value->dtype == MTL_F32 && value->layout == PLAN_LAYOUT_DENSE && value->rank == param->rank;
        for (unsigned axis = 0; same && axis < param->rank; axis++) {
            same = plan_dim_equal(plan_dims(view, param)[axis], plan_dims(view, value)[axis]);
        }
        if (!same) {
            return fail_tensor(view, param, diag, "its default, tensor %zu, has another shape, dtype or layout",
                               (size_t)(value - view->tensors));
        }
        if (param->offset != offset) {
            return fail_tensor(view, param, diag, "param %" PRIu32 " begins at %" PRIu64 ", expected %" PRIu64, i,
                               param->offset, offset);
        }
        offset += plan_param_room(view, param);
        if (offset > PLAN_MAX_PARAM_BYTES) {
            return fail_tensor(view, param, diag, "the params end at %" PRIu64 ", beyond 2^46", offset);
        }
    }
    return MTL_OK;
}

mtl_dim plan_group_elements(const plan_view *view, const plan_tensor *tensor)
{
    const mtl_dim *dims = plan_dims(view, tensor);
    if (!plan_is_window(tensor)) {
        return plan_count(dims, 0, tensor->rank);
    }
    return plan_grows_with_users(dims, tensor->rank) ? (mtl_dim){.per_user = tensor->pitch}
                                                     : (mtl_dim){.per_row = tensor->pitch};
}

uint64_t plan_tensor_bytes(const plan_view *view, const plan_tensor *tensor)
{
    const mtl_dim *dims = plan_dims(view, tensor);
    uint64_t bytes = mtl_dtype_size(tensor->dtype);
    if (plan_is_window(tensor)) {
        return bytes * tensor->pitch;
    }
    if (tensor->layout != PLAN_LAYOUT_DENSE) {
        return plan_const_bytes(tensor, dims, &bytes) ? bytes : 0;
    }
    for (unsigned axis = 0; axis < tensor->rank; axis++) {
        bytes *= (uint64_t)plan_dim_once(dims[axis]);
    }
    return bytes;
}

static int by_text(const void *a, const void *b)
{
    const char *left = *(const char *const *)a, *right = *(const char *const *)b;
    return left == right ? 0 : strcmp(left, right);
}

/* Names are how people address tensors: present and different. */
static mtl_status check_names(const plan_view *view, const char *what, size_t from, uint32_t count, base_diag *diag,
                              base_arena *scratch)
{
    const char **names = BASE_NEW_ARRAY(scratch, const char *, count);
    BASE_TRY_MEMORY(names, diag);
    for (uint32_t i = 0; i < count; i++) {
        names[i] = plan_string(view, view->tensors[view->signature[from + i]].name);
    }
    qsort(names, count, sizeof *names, by_text);
    for (uint32_t i = 0; i < count; i++) {
        if (names[i][0] == '\0' || (i > 0 && by_text(&names[i - 1], &names[i]) == 0)) {
            return base_fail(diag, MTL_INVALID_DATA, "byte %zu: two %s are called '%.100s', or one has no name",
                             place(view, view->signature + from), what, names[i]);
        }
    }
    return MTL_OK;
}

/* What entry `i` of the signature is: its storage, and its index among those. */
static const char *signature_entry(const plan_meta *meta, size_t i, plan_storage *storage, size_t *index)
{
    static const char *const names[] = {"input", "output", "param", "default"};
    static const plan_storage storages[] = {PLAN_STORAGE_INPUT, PLAN_STORAGE_OUTPUT, PLAN_STORAGE_PARAM,
                                            PLAN_STORAGE_CONST};
    const size_t counts[] = {meta->input_count, meta->output_count, meta->param_count, meta->param_count};
    size_t list = 0;
    for (; list < 3 && i >= counts[list]; list++) {
        i -= counts[list];
    }
    *storage = storages[list];
    *index = i;
    return names[list];
}

static mtl_status check_signature(const plan_view *view, base_diag *diag, base_arena *scratch)
{
    const plan_meta *meta = view->meta;
    for (size_t i = 0; i < view->signature_count; i++) {
        plan_storage storage;
        size_t index;
        const char *what = signature_entry(meta, i, &storage, &index);
        uint32_t id = view->signature[i];
        if (id >= view->tensor_count || view->tensors[id].storage != storage || plan_is_window(&view->tensors[id]) ||
            (storage != PLAN_STORAGE_CONST && view->tensors[id].index != index)) {
            return base_fail(diag, MTL_INVALID_DATA, "byte %zu: %s %zu is tensor %" PRIu32 ", which is none",
                             place(view, &view->signature[i]), what, index, id);
        }
    }
    BASE_TRY(check_names(view, "inputs", 0, meta->input_count, diag, scratch));
    BASE_TRY(check_names(view, "outputs", meta->input_count, meta->output_count, diag, scratch));
    return check_names(view, "params", (size_t)meta->input_count + meta->output_count, meta->param_count, diag,
                       scratch);
}

/* Each record by itself; together, those of an input are all its columns. */
static mtl_status check_columns(const plan_view *view, base_diag *diag, base_arena *scratch)
{
    uint64_t *sum = BASE_NEW_ARRAY(scratch, uint64_t, view->meta->input_count);
    BASE_TRY_MEMORY(sum, diag);
    for (size_t i = 0; i < view->column_count; i++) {
        const plan_columns *c = &view->columns[i];
        bool named = is_string(view, c->source) && view->strings[c->source] != '\0';
        if (!named || c->input >= view->meta->input_count || c->reserved != 0 || c->count == 0 ||
            !base_range_fits(c->from, c->count, c->width)) {
            return base_fail(diag, MTL_INVALID_DATA,
                             "byte %zu: columns %" PRIu32 "..%" PRIu64 " of %" PRIu32 " are input %" PRIu32
                             "'s of %" PRIu32 ", or have no name",
                             place(view, c), c->from, (uint64_t)c->from + c->count, c->width, c->input,
                             view->meta->input_count);
        }
        sum[c->input] += c->count;
    }
    for (uint32_t i = 0; i < view->meta->input_count; i++) {
        const plan_tensor *input = &view->tensors[view->signature[i]];
        mtl_dim last = input->rank > 0 ? plan_dims(view, input)[input->rank - 1] : plan_dim_fixed(0);
        if (sum[i] != 0 && (input->rank < 2 || !plan_dim_is(last, (int64_t)sum[i]))) {
            return base_fail(diag, MTL_INVALID_DATA, "byte %zu: input %" PRIu32 " does not have %" PRIu64 " columns",
                             place(view, view->columns), i, sum[i]);
        }
    }
    return MTL_OK;
}

mtl_status plan_check_tensors(const plan_view *view, base_diag *diag, base_arena *scratch)
{
    BASE_TRY(check_strings(view, diag));
    BASE_TRY(check_meta(view, diag));
    for (size_t i = 0; i < view->tensor_count; i++) {
        BASE_TRY(check_record(view, &view->tensors[i], diag));
    }
    BASE_TRY(check_signature(view, diag, scratch));
    for (size_t i = 0; i < view->tensor_count; i++) {
        const plan_tensor *tensor = &view->tensors[i];
        switch ((plan_storage)tensor->storage) {
        case PLAN_STORAGE_CONST: BASE_TRY(check_const(view, tensor, diag)); break;
        case PLAN_STORAGE_INPUT:
        case PLAN_STORAGE_OUTPUT: BASE_TRY(check_boundary(view, tensor, diag)); break;
        case PLAN_STORAGE_REQUEST:
        case PLAN_STORAGE_ROW: BASE_TRY(check_workspace(view, tensor, diag)); break;
        case PLAN_STORAGE_PARAM: BASE_TRY(check_param(view, tensor, diag)); break;
        }
    }
    BASE_TRY(check_params(view, diag));
    return check_columns(view, diag, scratch);
}
