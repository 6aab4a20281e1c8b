/* Steps that compute: products, activations, and reductions along an axis. */
#include <string.h>

#include "runtime/native/native.h"
#include "runtime/nest.h"
#include "runtime/onednn/onednn.h"
#include "runtime/rows.h"

typedef struct linear_state {
    runtime_ref x, w, bias, y, start;
    bool has_bias, has_start;
    bool users; /* the start is the users', one for each */
    runtime_affine rows;
    size_t groups, x_group, y_group;
    size_t parts;      /* of a row, for windows: as many layers with the same weights side by side; else 1 */
    size_t start_part; /* floats from the start of one part to that of the next */
    native_linear call;
    const native_kernels *native;
    const onednn_step *onednn;
} linear_state;

static native_linear linear_call(const linear_state *s, const runtime_frame *frame)
{
    native_linear call = s->call;
    call.x = (const float *)runtime_in(frame, &s->x);
    call.w = (const float *)runtime_in(frame, &s->w);
    call.bias = s->has_bias ? (const float *)runtime_in(frame, &s->bias) : NULL;
    if (s->has_start) {
        call.start = (const float *)runtime_in(frame, &s->start);
        call.start_rows = s->users && frame->user != NULL ? frame->user + frame->first : NULL;
        call.start_stride = s->users && frame->user == NULL ? 0 : call.start_stride;
    }
    call.y = (float *)runtime_out(frame, &s->y);
    call.rows = (size_t)runtime_at(s->rows, frame->rows);
    return call;
}

static mtl_status linear_run(const void *state, const runtime_frame *frame)
{
    const linear_state *s = state;
    native_linear call = linear_call(s, frame);
    s->native->linear(&call);
    return MTL_OK;
}

static mtl_status linear_run_parts(const void *state, const runtime_frame *frame)
{
    const linear_state *s = state;
    native_linear call = linear_call(s, frame);
    for (size_t part = 0; part < s->parts; part++) {
        native_linear_grouped(s->native, &call, s->groups, s->x_group, s->y_group);
        call.x += s->groups * call.k;
        call.y += s->groups * call.n;
        if (call.start != NULL) {
            call.start += s->start_part;
        }
    }
    return MTL_OK;
}

static mtl_status linear_run_grouped(const void *state, const runtime_frame *frame)
{
    const linear_state *s = state;
    native_linear call = linear_call(s, frame);
    native_linear_grouped(s->native, &call, s->groups, s->x_group, s->y_group);
    return MTL_OK;
}

static mtl_status linear_run_columns(const void *state, const runtime_frame *frame, const runtime_part *part)
{
    const linear_state *s = state;
    const native_linear all = linear_call(s, frame);
    native_linear call = native_linear_columns(&all, part->from, part->to);
    call.x += part->group * s->x_group;
    call.w += part->group * native_panels(all.k, all.n);
    call.bias += call.bias != NULL ? part->group * native_padded(all.n) : 0;
    call.start += call.start != NULL ? part->group * all.n : 0;
    call.y += part->group * s->y_group;
    for (size_t i = 0; i < s->parts; i++) {
        s->native->linear(&call);
        call.x += s->groups * all.k;
        call.y += s->groups * all.n;
        call.start += call.start != NULL ? s->start_part : 0;
    }
    return MTL_OK;
}

static mtl_status linear_run_onednn(const void *state, const runtime_frame *frame)
{
    const linear_state *s = state;
    native_linear call = linear_call(s, frame);
    return onednn_run_linear(frame->onednn, s->onednn, &call, frame->diag);
}

static mtl_status linear_onednn(const runtime_context *context, linear_state *s, runtime_step *result)
{
    onednn_linear shape = {
        .k = s->call.k,
        .n = s->call.n,
        .groups = s->groups,
        .x_stride = s->call.x_stride,
        .x_group = s->x_group,
        .y_stride = s->call.y_stride,
        .y_group = s->y_group,
        .w = s->w.storage == PLAN_STORAGE_CONST ? (const float *)(const void *)(context->view->consts + s->w.offset)
                                                : NULL,
    };
    mtl_status status =
        onednn_add_linear(context->plan->onednn, &shape, RUNTIME_ONEDNN_ROWS, context->diag, &s->onednn);
    if (status != MTL_OK) {
        return status == MTL_UNSUPPORTED ? MTL_OK : status;
    }
    result->run = linear_run_onednn;
    result->run_part = NULL;
    result->kernel = runtime_onednn_name(context, s->onednn);
    BASE_TRY_MEMORY(result->kernel, context->diag);
    return MTL_OK;
}

/* Whether the weights are constants of which none is infinite or NaN. */
static bool linear_is_finite(const runtime_context *context, const linear_state *s)
{
    if (s->w.storage != PLAN_STORAGE_CONST) {
        return false;
    }
    const float *w = (const float *)(const void *)(context->view->consts + s->w.offset);
    const size_t count = s->groups * native_panels(s->call.k, s->call.n);
    uint32_t largest = 0; /* of magnitudes, which are ordered as their bits are */
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, w + i, sizeof bits);
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    return largest < 0x7f800000;
}

/* Candidates of windows are a pitch apart; what lies between them and the layer's own axes are parts. */
static void linear_windows(const runtime_context *context, linear_state *s)
{
    const plan_tensor *x = plan_operand(context->view, context->step, 0),
                      *y = plan_result(context->view, context->step);
    s->parts = (size_t)s->rows.per_row;
    s->rows = (runtime_affine){0, 1};
    s->call.x_stride = runtime_pitch(context->view, x) / sizeof(float);
    s->call.y_stride = runtime_pitch(context->view, y) / sizeof(float);
}

/* What the sums begin with. True: it is not one for each row of x, so that candidates are to be taken with a pitch. */
static bool linear_start(const runtime_context *context, linear_state *s)
{
    const plan_view *view = context->view;
    const plan_tensor *start = plan_operand(view, context->step, 3), *y = plan_result(view, context->step);
    const unsigned axes = y->rank - (s->groups > 1 ? 2u : 1u);
    const runtime_affine rows = runtime_elements(view, start, 0, axes);
    s->has_start = true;
    s->start = runtime_ref_of(view, start);
    s->users = runtime_is_users(context, start, &s->start);
    s->call.start_stride = s->groups * s->call.n;
    if (rows.fixed == s->rows.fixed && rows.per_row == s->rows.per_row && (!s->users || rows.per_row == 1)) {
        s->start_part = s->call.start_stride;
        return false;
    }
    /* The candidates lead here: all that is between them and the layer, or one number of it. */
    const size_t parts = (size_t)(rows.fixed + rows.per_row);
    s->start_part = parts == 1 ? 0 : s->call.start_stride;
    s->call.start_stride = rows.per_row == 0 ? 0 : parts * s->call.start_stride;
    return true;
}

mtl_status runtime_prepare_linear(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_step *step = context->step;
    const plan_tensor *x = plan_operand(view, step, 0), *w = plan_operand(view, step, 1);
    const plan_tensor *bias = step->input_count > 2 ? plan_operand(view, step, 2) : NULL;
    linear_state *s = RUNTIME_NEW(context->memory, linear_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->native = context->plan->native;
    s->groups = (size_t)plan_dims(view, w)[0].fixed;
    size_t k = (size_t)plan_dims(view, w)[1].fixed, n = (size_t)plan_dims(view, w)[2].fixed;
    s->x_group = k;
    s->y_group = n;
    s->parts = 1;
    s->call = (native_linear){
        .x_stride = s->groups * k,
        .y_stride = s->groups * n,
        .k = k,
        .n = n,
        .act = (plan_unary)step->function,
        .a = (float)plan_attr_float(view, step, 0),
        .b = (float)plan_attr_float(view, step, 1),
        .act_columns = (size_t)view->attrs[step->attrs + 2],
    };
    s->rows = runtime_elements(view, x, 0, x->rank - (s->groups > 1 ? 2 : 1));
    s->x = runtime_ref_of(view, x);
    s->w = runtime_ref_of(view, w);
    s->call.finite = linear_is_finite(context, s);
    s->y = runtime_ref_of(view, plan_result(view, step));
    s->has_bias = bias != NULL;
    if (bias != NULL) {
        s->bias = runtime_ref_of(view, bias);
    }
    *result = (runtime_step){
        .run = s->groups > 1 ? linear_run_grouped : linear_run, .run_part = linear_run_columns, .state = s};
    const bool starts = step->input_count > 3 && plan_operand(view, step, 3) != NULL;
    const bool apart = starts && linear_start(context, s);
    if (apart || runtime_has_window(context)) {
        if (starts && s->call.start_stride != 0) {
            s->call.start_stride = runtime_pitch(view, plan_operand(view, step, 3)) / sizeof(float);
        }
        linear_windows(context, s);
        if (s->parts != 1) {
            result->run = linear_run_parts;
            return MTL_OK;
        }
    }
    return runtime_choose_onednn(context->plan, PLAN_OP_linear, k, n) ? linear_onednn(context, s, result) : MTL_OK;
}

typedef struct matmul_state {
    runtime_nest nest; /* over the leading axes, in bytes */
    runtime_ref a, b, y;
    runtime_affine m, k, n;
    runtime_affine row[3]; /* floats between rows of y, a, b: k or n, or a window's pitch */
    const native_kernels *native;
} matmul_state;

/* The innermost leading axis, with the extents of this tile. */
typedef struct matmul_batch {
    const native_kernels *native;
    size_t m, k, n, row[3];
} matmul_batch;

static void matmul_inner(const runtime_lane *lane)
{
    const matmul_batch *s = lane->state;
    const unsigned char *a = lane->in[0], *b = lane->in[1];
    unsigned char *y = lane->out;
    for (int64_t i = 0; i < lane->n; i++) {
        s->native->matmul((const float *)a, s->row[1], (const float *)b, s->row[2], (float *)y, s->row[0], s->m, s->k,
                          s->n);
        a += lane->step[1];
        b += lane->step[2];
        y += lane->step[0];
    }
}

static mtl_status matmul_run(const void *state, const runtime_frame *frame)
{
    const matmul_state *s = state;
    matmul_batch batch = {
        .native = s->native,
        .m = (size_t)runtime_at(s->m, frame->rows),
        .k = (size_t)runtime_at(s->k, frame->rows),
        .n = (size_t)runtime_at(s->n, frame->rows),
    };
    for (int i = 0; i < 3; i++) {
        batch.row[i] = (size_t)runtime_at(s->row[i], frame->rows);
    }
    runtime_lane lane = {
        .out = runtime_out(frame, &s->y),
        .in = {runtime_in(frame, &s->a), runtime_in(frame, &s->b)},
        .state = &batch,
    };
    runtime_nest_run(&s->nest, frame->rows, 1, &lane, matmul_inner);
    return MTL_OK;
}

static bool is_one(runtime_affine affine)
{
    return affine.fixed == 1 && affine.per_row == 0;
}

/* The strides of `tensor`'s leading axes, aligned with those of the product; 0 where broadcast. */
static void leading_strides(const plan_view *view, const plan_tensor *tensor, unsigned leading, runtime_affine *strides)
{
    runtime_affine own[MTL_MAX_RANK];
    runtime_strides(view, tensor, own);
    unsigned count = tensor->rank - 2u;
    for (unsigned axis = 0; axis < leading; axis++) {
        strides[axis] = (runtime_affine){0, 0};
        if (axis + count >= leading) {
            unsigned from = axis + count - leading;
            if (!is_one(runtime_extent(view, tensor, from))) {
                strides[axis] = own[from];
            }
        }
    }
}

/* One b for all: the leading axes and the rows of a are rows alike, where their strides allow it. */
static void merge_rows(matmul_state *s)
{
    runtime_affine b = s->nest.stride[2][0];
    if (s->nest.rank != 1 || b.fixed != 0 || b.per_row != 0 || s->m.per_row != 0) {
        return;
    }
    bool single = s->m.fixed == 1; /* then rows may be any number of floats apart */
    for (int i = 0; i < 2; i++) {
        runtime_affine step = s->nest.stride[i][0], row = s->row[i];
        if (single ? step.fixed % 4 != 0 || step.per_row % 4 != 0
                   : step.fixed != 4 * row.fixed * s->m.fixed || step.per_row != 4 * row.per_row * s->m.fixed) {
            return;
        }
    }
    for (int i = 0; i < 2 && single; i++) {
        s->row[i] = (runtime_affine){s->nest.stride[i][0].fixed / 4, s->nest.stride[i][0].per_row / 4};
    }
    s->m = runtime_times(s->m, s->nest.extent[0]);
    s->nest.extent[0] = (runtime_affine){1, 0};
}

/* The strides of the rows. Where the candidates are the columns of b, those of windows are not adjacent: each is a
 * product of its own. */
static void matmul_rows(const plan_view *view, const plan_tensor *const *tensors, matmul_state *s)
{
    for (unsigned i = 0; i < 3; i++) {
        const plan_tensor *tensor = tensors[i];
        s->row[i] = runtime_extent(view, tensor, tensor->rank - 1u);
        if (plan_is_window(tensor) && runtime_extent(view, tensor, tensor->rank - 2u).per_row != 0) {
            s->row[i] = (runtime_affine){tensor->pitch, 0};
        }
    }
    if (s->n.per_row != 0 && (plan_is_window(tensors[0]) || plan_is_window(tensors[2]))) {
        unsigned axis = s->nest.rank++;
        s->nest.extent[axis] = s->n;
        s->nest.stride[0][axis] = (runtime_affine){(int64_t)runtime_pitch(view, tensors[0]), 0};
        s->nest.stride[1][axis] = (runtime_affine){0, 0};
        s->nest.stride[2][axis] = (runtime_affine){(int64_t)runtime_pitch(view, tensors[2]), 0};
        s->n = (runtime_affine){1, 0};
    }
}

/* oneDNN takes one leading axis: each operand has all of it or none. */
static mtl_status matmul_onednn(const runtime_context *context, matmul_state *s, runtime_step *result)
{
    if (s->m.per_row != 0 || s->k.per_row != 0 || s->n.per_row != 0 || s->nest.rank != 1 ||
        runtime_has_window(context)) {
        return MTL_OK;
    }
    onednn_matmul shape = {.m = (size_t)s->m.fixed, .k = (size_t)s->k.fixed, .n = (size_t)s->n.fixed};
    bool per_row[2];
    for (int i = 0; i < 2; i++) {
        runtime_affine stride = s->nest.stride[i + 1][0];
        int64_t dense = 4 * s->k.fixed * (i == 0 ? s->m.fixed : s->n.fixed);
        per_row[i] = stride.fixed != 0;
        if (stride.per_row != 0 || (per_row[i] && stride.fixed != dense)) {
            return MTL_OK;
        }
    }
    shape.a_per_row = per_row[0];
    shape.b_per_row = per_row[1];
    const onednn_step *step;
    mtl_status status = onednn_add_matmul(context->plan->onednn, &shape, RUNTIME_ONEDNN_ROWS, context->diag, &step);
    if (status != MTL_OK) {
        return status == MTL_UNSUPPORTED ? MTL_OK : status;
    }
    const runtime_onednn_operands operands = {
        .inputs = (const runtime_ref[]){s->a, s->b}, .count = 2, .y = s->y, .rows = s->nest.extent[0]};
    return runtime_onednn_call(context, &operands, step, result);
}

mtl_status runtime_prepare_matmul(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *a = plan_operand(view, context->step, 0), *b = plan_operand(view, context->step, 1);
    const plan_tensor *y = plan_result(view, context->step);
    if (y->dtype != MTL_F32) {
        return runtime_fail_step(context, MTL_UNSUPPORTED, "product of %s", mtl_dtype_name((mtl_dtype)y->dtype));
    }
    matmul_state *s = RUNTIME_NEW(context->memory, matmul_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->native = context->plan->native;
    s->a = runtime_ref_of(view, a);
    s->b = runtime_ref_of(view, b);
    s->y = runtime_ref_of(view, y);
    s->m = runtime_extent(view, y, y->rank - 2u);
    s->n = runtime_extent(view, y, y->rank - 1u);
    s->k = runtime_extent(view, a, a->rank - 1u);
    unsigned leading = y->rank - 2u;
    runtime_affine strides[2][MTL_MAX_RANK];
    leading_strides(view, a, leading, strides[0]);
    leading_strides(view, b, leading, strides[1]);
    runtime_nest_begin(&s->nest, view, y);
    s->nest.rank = leading;
    runtime_nest_strided(&s->nest, strides[0]);
    runtime_nest_strided(&s->nest, strides[1]);
    matmul_rows(view, (const plan_tensor *const[]){y, a, b}, s);
    runtime_nest_merge(&s->nest);
    merge_rows(s);
    *result = (runtime_step){.run = matmul_run, .state = s};
    bool onednn = runtime_choose_onednn(context->plan, PLAN_OP_matmul, (size_t)s->k.fixed, (size_t)s->n.fixed);
    return onednn ? matmul_onednn(context, s, result) : MTL_OK;
}

typedef struct unary_state {
    runtime_ref x, y;
    runtime_affine count;
    runtime_rows rows;
    plan_unary function;
    float a, b;
    const native_kernels *native;
    void (*call)(const struct unary_state *state, const void *x, void *y, size_t n);
} unary_state;

static void unary_f32(const unary_state *s, const void *x, void *y, size_t n)
{
    s->native->unary(s->function, s->a, s->b, x, y, n);
}

static void unary_i32(const unary_state *s, const void *x, void *y, size_t n)
{
    native_unary_i32(s->function, x, y, n);
}

static void unary_i64(const unary_state *s, const void *x, void *y, size_t n)
{
    native_unary_i64(s->function, x, y, n);
}

static void unary_not(const unary_state *s, const void *x, void *y, size_t n)
{
    (void)s;
    native_not(x, y, n);
}

static void unary_test(const unary_state *s, const void *x, void *y, size_t n)
{
    native_test(s->function, x, y, n);
}

static void unary_call(const void *state, const runtime_frame *frame, const void *x, void *y, int64_t rows)
{
    (void)frame;
    const unary_state *s = state;
    s->call(s, x, y, (size_t)runtime_at(s->count, rows));
}

static mtl_status unary_run(const void *state, const runtime_frame *frame)
{
    const unary_state *s = state;
    runtime_rows_run(&s->rows, frame, runtime_in(frame, &s->x), runtime_out(frame, &s->y), unary_call, s);
    return MTL_OK;
}

mtl_status runtime_prepare_unary(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *x = plan_operand(view, context->step, 0), *y = plan_result(view, context->step);
    unary_state *s = RUNTIME_NEW(context->memory, unary_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->x = runtime_ref_of(view, x);
    s->y = runtime_ref_of(view, y);
    s->count = runtime_elements(view, x, 0, x->rank);
    s->rows = runtime_rows_of(context);
    s->function = (plan_unary)context->step->function;
    s->a = (float)plan_attr_float(view, context->step, 0);
    s->b = (float)plan_attr_float(view, context->step, 1);
    s->native = context->plan->native;
    bool tests = s->function == PLAN_UNARY_isnan || s->function == PLAN_UNARY_isinf;
    switch (x->dtype) {
    case MTL_F32: s->call = tests ? unary_test : unary_f32; break;
    case MTL_I32: s->call = unary_i32; break;
    case MTL_I64: s->call = unary_i64; break;
    case MTL_BOOL: s->call = unary_not; break;
    default:
        return runtime_fail_step(context, MTL_UNSUPPORTED, "%s of %s", plan_function_name(PLAN_OP_unary, s->function),
                                 mtl_dtype_name((mtl_dtype)x->dtype));
    }
    bool floats = s->call == unary_f32;
    *result = (runtime_step){.run = unary_run, .state = s, .kernel = floats ? NULL : "plain"};
    bool affine = s->count.per_row != 0 && s->count.fixed != 0;
    int64_t n = s->count.per_row != 0 ? s->count.per_row : s->count.fixed;
    if (!floats || affine || n <= 0 || s->rows.x_window || s->rows.y_window ||
        !runtime_choose_onednn(context->plan, PLAN_OP_unary, 0, (size_t)n)) {
        return MTL_OK;
    }
    const onednn_step *step;
    mtl_status status = onednn_add_unary(context->plan->onednn, s->function, s->a, s->b, (size_t)n, RUNTIME_ONEDNN_ROWS,
                                         context->diag, &step);
    if (status != MTL_OK) {
        return status == MTL_UNSUPPORTED ? MTL_OK : status;
    }
    const runtime_onednn_operands operands = {
        .inputs = &s->x, .count = 1, .y = s->y, .rows = {s->count.per_row == 0, s->count.per_row != 0}};
    return runtime_onednn_call(context, &operands, step, result);
}
