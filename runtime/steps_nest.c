/* Steps that are a loop nest: binary and where (broadcasting), transpose, slice and expand (moves). */
#include <string.h>

#include "runtime/native/native.h"
#include "runtime/nest.h"
#include "runtime/onednn/onednn.h"

typedef struct binary_state {
    runtime_nest nest;
    runtime_ref a, b, y;
    plan_binary function;
    const native_kernels *native;
    void (*call)(const struct binary_state *state, const void *a, size_t a_step, const void *b, size_t b_step, void *y,
                 size_t n);
    size_t size, out_size; /* bytes of an element of a and b, of y */
} binary_state;

static void binary_f32(const binary_state *s, const void *a, size_t a_step, const void *b, size_t b_step, void *y,
                       size_t n)
{
    s->native->binary(s->function, a, a_step, b, b_step, y, n);
}

static void compare_f32(const binary_state *s, const void *a, size_t a_step, const void *b, size_t b_step, void *y,
                        size_t n)
{
    s->native->compare(s->function, a, a_step, b, b_step, y, n);
}

#define PLAIN_BINARY(name)                                                                                             \
    static void plain_##name(const binary_state *s, const void *a, size_t a_step, const void *b, size_t b_step,        \
                             void *y, size_t n)                                                                        \
    {                                                                                                                  \
        native_##name(s->function, a, a_step, b, b_step, y, n);                                                        \
    }
PLAIN_BINARY(binary_i32)
PLAIN_BINARY(binary_i64)
PLAIN_BINARY(compare_i32)
PLAIN_BINARY(compare_i64)
PLAIN_BINARY(logic)
#undef PLAIN_BINARY

/* Copies n elements of `size` bytes, `step` bytes apart, into a dense buffer. */
static void gather_strided(const unsigned char *from, int64_t step, size_t size, void *to, int64_t n)
{
    unsigned char *out = to;
    switch (size) {
    case 1:
        for (int64_t i = 0; i < n; i++) {
            out[i] = from[i * step];
        }
        break;
    case 2:
        for (int64_t i = 0; i < n; i++) {
            memcpy(out + 2 * i, from + i * step, 2);
        }
        break;
    case 4:
        for (int64_t i = 0; i < n; i++) {
            memcpy(out + 4 * i, from + i * step, 4);
        }
        break;
    default:
        for (int64_t i = 0; i < n; i++) {
            memcpy(out + 8 * i, from + i * step, 8);
        }
        break;
    }
}

/* The other way: n elements of a dense buffer, to `step` bytes apart. */
static void scatter_strided(const void *from, size_t size, unsigned char *to, int64_t step, int64_t n)
{
    const unsigned char *in = from;
    for (int64_t i = 0; i < n; i++) {
        switch (size) {
        case 1: to[i * step] = in[i]; break;
        case 2: memcpy(to + i * step, in + 2 * i, 2); break;
        case 4: memcpy(to + i * step, in + 4 * i, 4); break;
        default: memcpy(to + i * step, in + 8 * i, 8); break;
        }
    }
}

/* Elements of a buffer; innermost loops shorter than SHORT are worth one. */
enum { CHUNK = 256, SHORT = 40 };

/* The kernels take steps of 0 and 1 elements; other strides go through a small buffer, so that the arithmetic of an
 * element is the same on all ways. */
static void binary_line(const binary_state *s, const unsigned char *const *in, const int64_t *step, unsigned char *out,
                        int64_t out_step, int64_t n)
{
    int64_t size = (int64_t)s->size;
    bool plain[2] = {step[0] == 0 || step[0] == size, step[1] == 0 || step[1] == size};
    bool dense = out_step == (int64_t)s->out_size;
    if (plain[0] && plain[1] && dense) {
        s->call(s, in[0], step[0] != 0, in[1], step[1] != 0, out, (size_t)n);
        return;
    }
    int64_t buffer[3][CHUNK];
    for (int64_t done = 0; done < n; done += CHUNK) {
        int64_t count = n - done < CHUNK ? n - done : CHUNK;
        const void *at[2];
        for (int i = 0; i < 2; i++) {
            at[i] = in[i] + done * step[i];
            if (!plain[i]) {
                gather_strided(at[i], step[i], s->size, buffer[i], count);
                at[i] = buffer[i];
            }
        }
        void *to = dense ? (void *)(out + done * out_step) : buffer[2];
        s->call(s, at[0], step[0] != 0, at[1], step[1] != 0, to, (size_t)count);
        if (!dense) {
            scatter_strided(to, s->out_size, out + done * out_step, out_step, count);
        }
    }
}

/* Copies m x n elements into a dense buffer. */
static void gather_block(const unsigned char *from, int64_t across, int64_t step, size_t size, void *to, int64_t m,
                         int64_t n)
{
    unsigned char *out = to;
    for (int64_t i = 0; i < m; i++) {
        if (size == 4 && step == 0) { /* one number for a line: the gates of experts */
            uint32_t number;
            memcpy(&number, from, 4);
            for (int64_t j = 0; j < n; j++) {
                memcpy(out + 4 * j, &number, 4);
            }
        } else {
            gather_strided(from, step, size, out, n);
        }
        from += across;
        out += (size_t)n * size;
    }
}

/* Short lines, several at a time: an operand that is not dense over both loops is spread out in a buffer. */
static void binary_short(const binary_state *s, const runtime_lane *lane)
{
    int64_t buffer[3][CHUNK], size = (int64_t)s->size, out_size = (int64_t)s->out_size, lines = CHUNK / lane->n;
    bool out_dense = lane->step[0] == out_size && lane->across[0] == out_size * lane->n;
    bool dense[2], single[2];
    for (int i = 0; i < 2; i++) {
        dense[i] = lane->step[i + 1] == size && lane->across[i + 1] == size * lane->n;
        single[i] = lane->step[i + 1] == 0 && lane->across[i + 1] == 0;
    }
    for (int64_t done = 0; done < lane->m; done += lines) {
        int64_t count = lane->m - done < lines ? lane->m - done : lines;
        const void *at[2];
        for (int i = 0; i < 2; i++) {
            at[i] = lane->in[i] + done * lane->across[i + 1];
            /* What is the same for every line was spread out for the first ones. */
            if (!dense[i] && !single[i]) {
                if (done == 0 || lane->across[i + 1] != 0) {
                    gather_block(at[i], lane->across[i + 1], lane->step[i + 1], s->size, buffer[i], count, lane->n);
                }
                at[i] = buffer[i];
            }
        }
        unsigned char *out = lane->out + done * lane->across[0];
        void *to = out_dense ? (void *)out : buffer[2];
        s->call(s, at[0], !single[0], at[1], !single[1], to, (size_t)(count * lane->n));
        for (int64_t i = 0; i < count && !out_dense; i++) {
            scatter_strided((unsigned char *)to + i * out_size * lane->n, s->out_size, out + i * lane->across[0],
                            lane->step[0], lane->n);
        }
    }
}

static void binary_inner(const runtime_lane *lane)
{
    const binary_state *s = lane->state;
    if (lane->m > 1 && lane->n < SHORT) {
        binary_short(s, lane);
        return;
    }
    const unsigned char *in[2] = {lane->in[0], lane->in[1]};
    for (int64_t i = 0; i < lane->m; i++) {
        binary_line(s, in, lane->step + 1, lane->out + i * lane->across[0], lane->step[0], lane->n);
        in[0] += lane->across[1];
        in[1] += lane->across[2];
    }
}

static mtl_status binary_run(const void *state, const runtime_frame *frame)
{
    const binary_state *s = state;
    runtime_lane lane = {
        .out = runtime_out(frame, &s->y),
        .in = {runtime_in(frame, &s->a), runtime_in(frame, &s->b)},
        .state = s,
    };
    runtime_nest_run(&s->nest, frame->rows, 2, &lane, binary_inner);
    return MTL_OK;
}

/* Whether operand `i` of the nest, with elements of `size` bytes, is dense over those of (rows, m, n) that it has. */
static bool onednn_operand(const runtime_nest *nest, unsigned i, int64_t size, const onednn_binary *shape,
                           onednn_extents *extents)
{
    runtime_affine inner = nest->stride[i][nest->rank - 1], middle = {0, 0}, outer = {0, 0};
    if (nest->rank >= 2) {
        outer = nest->stride[i][0];
    } else if (nest->extent[0].per_row != 0) {
        outer = runtime_times(inner, (runtime_affine){(int64_t)shape->n, 0});
    }
    if (nest->rank == 3) {
        middle = nest->stride[i][1];
    }
    *extents = (onednn_extents){outer.fixed != 0, middle.fixed != 0 || nest->rank < 3, inner.fixed != 0};
    int64_t line = extents->n ? size * (int64_t)shape->n : size;
    int64_t block = extents->m ? line * (int64_t)shape->m : line;
    return inner.per_row == 0 && middle.per_row == 0 && outer.per_row == 0 &&
           (inner.fixed == 0 || inner.fixed == size) && (middle.fixed == 0 || middle.fixed == line) &&
           (outer.fixed == 0 || outer.fixed == block);
}

/* The nest as rows (affine) x m x n. False: it has another form. */
static bool onednn_shape(const runtime_nest *nest, onednn_binary *shape, runtime_affine *rows)
{
    runtime_affine inner = nest->extent[nest->rank - 1];
    *shape = (onednn_binary){.m = 1, .n = (size_t)inner.fixed};
    *rows = nest->rank > 1 ? nest->extent[0] : (runtime_affine){1, 0};
    if (nest->rank == 1 && inner.per_row != 0) {
        *rows = (runtime_affine){0, 1};
        shape->n = (size_t)inner.per_row;
        return inner.fixed == 0;
    }
    if (nest->rank == 3) {
        shape->m = (size_t)nest->extent[1].fixed;
    }
    return inner.per_row == 0 && nest->rank <= 3 && (nest->rank < 3 || nest->extent[1].per_row == 0);
}

static mtl_status binary_onednn(const runtime_context *context, const binary_state *s, bool compares,
                                runtime_step *result)
{
    const runtime_nest *nest = &s->nest;
    runtime_affine rows;
    onednn_binary shape;
    onednn_extents y;
    if (runtime_has_window(context) || !onednn_shape(nest, &shape, &rows) || shape.m == 0 || shape.n == 0 ||
        !onednn_operand(nest, 0, compares ? 1 : 4, &shape, &y) || !onednn_operand(nest, 1, 4, &shape, &shape.a) ||
        !onednn_operand(nest, 2, 4, &shape, &shape.b) ||
        !runtime_choose_onednn(context->plan, PLAN_OP_binary, 0, shape.m * shape.n)) {
        return MTL_OK;
    }
    const onednn_step *step;
    mtl_status status =
        onednn_add_binary(context->plan->onednn, s->function, &shape, RUNTIME_ONEDNN_ROWS, context->diag, &step);
    if (status != MTL_OK) {
        return status == MTL_UNSUPPORTED ? MTL_OK : status;
    }
    const runtime_onednn_operands operands = {
        .inputs = (const runtime_ref[]){s->a, s->b}, .count = 2, .y = s->y, .rows = rows};
    return runtime_onednn_call(context, &operands, step, result);
}

mtl_status runtime_prepare_binary(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *a = plan_operand(view, context->step, 0), *b = plan_operand(view, context->step, 1);
    const plan_tensor *y = plan_result(view, context->step);
    binary_state *s = RUNTIME_NEW(context->memory, binary_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->function = (plan_binary)context->step->function;
    s->native = context->plan->native;
    s->size = mtl_dtype_size((mtl_dtype)a->dtype);
    s->out_size = mtl_dtype_size((mtl_dtype)y->dtype);
    s->a = runtime_ref_of(view, a);
    s->b = runtime_ref_of(view, b);
    s->y = runtime_ref_of(view, y);
    bool compares = y->dtype == MTL_BOOL;
    switch (a->dtype) {
    case MTL_F32: s->call = compares ? compare_f32 : binary_f32; break;
    case MTL_I32: s->call = compares ? plain_compare_i32 : plain_binary_i32; break;
    case MTL_I64: s->call = compares ? plain_compare_i64 : plain_binary_i64; break;
    case MTL_BOOL: s->call = plain_logic; break;
    default:
        return runtime_fail_step(context, MTL_UNSUPPORTED, "%s of %s", plan_function_name(PLAN_OP_binary, s->function),
                                 mtl_dtype_name((mtl_dtype)a->dtype));
    }
    runtime_nest_begin(&s->nest, view, y);
    runtime_nest_broadcast(&s->nest, view, a);
    runtime_nest_broadcast(&s->nest, view, b);
    runtime_nest_merge(&s->nest);
    *result = (runtime_step){.run = binary_run, .state = s, .kernel = a->dtype == MTL_F32 ? NULL : "plain"};
    return a->dtype == MTL_F32 && context->plan->onednn != NULL ? binary_onednn(context, s, compares, result) : MTL_OK;
}

typedef struct where_state {
    runtime_nest nest;
    runtime_ref condition, a, b, y;
    size_t size;
} where_state;

#define WHERE_LOOP(bytes)                                                                                              \
    for (int64_t i = 0; i < lane->n; i++) {                                                                            \
        const unsigned char *from =                                                                                    \
            lane->in[0][i * lane->step[1]] ? lane->in[1] + i * lane->step[2] : lane->in[2] + i * lane->step[3];        \
        memcpy(lane->out + i * lane->step[0], from, (bytes));                                                          \
    }

static void where_inner(const runtime_lane *lane)
{
    const where_state *s = lane->state;
    switch (s->size) {
    case 1: WHERE_LOOP(1) break;
    case 2: WHERE_LOOP(2) break;
    case 4: WHERE_LOOP(4) break;
    default: WHERE_LOOP(8) break;
    }
}
#undef WHERE_LOOP

static mtl_status where_run(const void *state, const runtime_frame *frame)
{
    const where_state *s = state;
    runtime_lane lane = {
        .out = runtime_out(frame, &s->y),
        .in = {runtime_in(frame, &s->condition), runtime_in(frame, &s->a), runtime_in(frame, &s->b)},
        .state = s,
    };
    runtime_nest_run(&s->nest, frame->rows, 1, &lane, where_inner);
    return MTL_OK;
}

mtl_status runtime_prepare_where(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *y = plan_result(view, context->step);
    where_state *s = RUNTIME_NEW(context->memory, where_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->y = runtime_ref_of(view, y);
    s->size = mtl_dtype_size((mtl_dtype)y->dtype);
    runtime_ref *refs[3] = {&s->condition, &s->a, &s->b};
    runtime_nest_begin(&s->nest, view, y);
    for (unsigned i = 0; i < 3; i++) {
        const plan_tensor *operand = plan_operand(view, context->step, i);
        *refs[i] = runtime_ref_of(view, operand);
        runtime_nest_broadcast(&s->nest, view, operand);
    }
    runtime_nest_merge(&s->nest);
    *result = (runtime_step){.run = where_run, .state = s, .kernel = "plain"};
    return MTL_OK;
}

/* A move: both sides may be strided, the input begins `start` bytes after its first element. */
typedef struct move_state {
    runtime_nest nest;
    runtime_ref x, y;
    runtime_affine start;
    size_t size;
} move_state;

static void move_inner(const runtime_lane *lane)
{
    const move_state *s = lane->state;
    int64_t size = (int64_t)s->size;
    if (lane->step[0] != size) {
        for (int64_t i = 0; i < lane->n; i++) {
            scatter_strided(lane->in[0] + i * lane->step[1], s->size, lane->out + i * lane->step[0], 0, 1);
        }
    } else if (lane->step[1] == size) {
        memcpy(lane->out, lane->in[0], (size_t)(lane->n * size));
    } else {
        gather_strided(lane->in[0], lane->step[1], s->size, lane->out, lane->n);
    }
}

static mtl_status move_run(const void *state, const runtime_frame *frame)
{
    const move_state *s = state;
    runtime_lane lane = {
        .out = runtime_out(frame, &s->y),
        .in = {runtime_in(frame, &s->x) + runtime_at(s->start, frame->rows)},
        .state = s,
    };
    runtime_nest_run(&s->nest, frame->rows, 1, &lane, move_inner);
    return MTL_OK;
}

/* The parts that all moves share; `s->nest` has its output. */
static mtl_status move_new(const runtime_context *context, move_state **state, runtime_step *result)
{
    move_state *s = RUNTIME_NEW(context->memory, move_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    const plan_tensor *y = plan_result(context->view, context->step);
    s->x = runtime_ref_of(context->view, plan_operand(context->view, context->step, 0));
    s->y = runtime_ref_of(context->view, y);
    s->size = mtl_dtype_size((mtl_dtype)y->dtype);
    runtime_nest_begin(&s->nest, context->view, y);
    *result = (runtime_step){.run = move_run, .state = s, .kernel = "plain"};
    *state = s;
    return MTL_OK;
}

/* A move of floats as a reorder of oneDNN, once its nest is merged. */
static mtl_status move_onednn(const runtime_context *context, const move_state *s, runtime_step *result)
{
    const runtime_nest *nest = &s->nest;
    const plan_tensor *y = plan_result(context->view, context->step);
    if (y->dtype != MTL_F32 || plan_is_window(y) || s->start.per_row != 0 ||
        !runtime_choose_onednn(context->plan, (plan_op)context->step->op, 0, 0)) {
        return MTL_OK;
    }
    size_t extents[MTL_MAX_RANK], strides[MTL_MAX_RANK];
    for (unsigned axis = 0; axis < nest->rank; axis++) {
        runtime_affine extent = nest->extent[axis], stride = nest->stride[1][axis];
        if ((axis > 0 && extent.per_row != 0) || stride.per_row != 0 || stride.fixed <= 0 || stride.fixed % 4 != 0) {
            return MTL_OK;
        }
        extents[axis] = (size_t)extent.fixed;
        strides[axis] = (size_t)stride.fixed / 4;
    }
    const onednn_step *step;
    mtl_status status = onednn_add_move(context->plan->onednn, extents + 1, nest->rank - 1, strides,
                                        RUNTIME_ONEDNN_ROWS, context->diag, &step);
    if (status != MTL_OK) {
        return status == MTL_UNSUPPORTED ? MTL_OK : status;
    }
    const runtime_onednn_operands operands = {
        .inputs = &s->x, .count = 1, .start = s->start.fixed, .y = s->y, .rows = nest->extent[0]};
    return runtime_onednn_call(context, &operands, step, result);
}

mtl_status runtime_prepare_transpose(const runtime_context *context, runtime_step *result)
{
    const plan_tensor *x = plan_operand(context->view, context->step, 0);
    const int64_t *perm = context->view->attrs + context->step->attrs;
    runtime_affine from[MTL_MAX_RANK], strides[MTL_MAX_RANK];
    move_state *s;
    BASE_TRY(move_new(context, &s, result));
    runtime_strides(context->view, x, from);
    for (unsigned axis = 0; axis < x->rank; axis++) {
        strides[axis] = from[perm[axis]];
    }
    runtime_nest_strided(&s->nest, strides);
    runtime_nest_merge(&s->nest);
    return move_onednn(context, s, result);
}

mtl_status runtime_prepare_slice(const runtime_context *context, runtime_step *result)
{
    const plan_tensor *x = plan_operand(context->view, context->step, 0);
    const int64_t *attrs = context->view->attrs + context->step->attrs;
    runtime_affine strides[MTL_MAX_RANK];
    move_state *s;
    BASE_TRY(move_new(context, &s, result));
    runtime_strides(context->view, x, strides);
    for (unsigned axis = 0; axis < x->rank; axis++) {
        runtime_affine stride = strides[axis];
        s->start.fixed += attrs[2 * axis] * stride.fixed;
        s->start.per_row += attrs[2 * axis] * stride.per_row;
        strides[axis] = runtime_times(stride, (runtime_affine){attrs[2 * axis + 1], 0});
    }
    runtime_nest_strided(&s->nest, strides);
    runtime_nest_merge(&s->nest);
    return move_onednn(context, s, result);
}

mtl_status runtime_prepare_expand(const runtime_context *context, runtime_step *result)
{
    move_state *s;
    BASE_TRY(move_new(context, &s, result));
    runtime_nest_broadcast(&s->nest, context->view, plan_operand(context->view, context->step, 0));
    runtime_nest_merge(&s->nest);
    return MTL_OK;
}
