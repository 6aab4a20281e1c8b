/* The inside of libmtlrt: an opened plan, its prepared steps, and the frame that they run in.
 *
 * At open every plan_step becomes a runtime_step: a function and a state in which all that does not depend on the
 * number of rows is worked out. Extents and strides are affine in the rows of the tile at hand, so that a run
 * multiplies a few numbers and calls kernels. The request program is one tile whose rows are the users of the call; a
 * step of the row program that reads a value of theirs finds each candidate's with runtime_users.
 */
#ifndef RUNTIME_INTERNAL_H
#define RUNTIME_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/diag.h"
#include "base/file.h"
#include "mtlc/runtime.h"
#include "plan/plan.h"
#include "runtime/memory.h"

/* fixed + per_row x rows; rows are users in the request program. */
typedef struct runtime_affine {
    int64_t fixed, per_row;
} runtime_affine;

static inline int64_t runtime_at(runtime_affine affine, int64_t rows)
{
    return affine.fixed + affine.per_row * rows;
}

/* Where a tensor starts: see runtime_frame. */
typedef struct runtime_ref {
    uint32_t storage; /* plan_storage */
    uint32_t index;   /* of the input, output or param */
    uint64_t offset;  /* bytes; of ROW: per row of the tile's full height; of REQUEST: per user of the session's most */
    uint64_t start;   /* of a window: bytes, once */
    uint64_t per_row; /* INPUT, OUTPUT: bytes of one candidate, or user */
    uint64_t per_position; /* of steps with a span, whose rows are positions: bytes from one to the next; else unused */
} runtime_ref;

/* One pass over a program: the whole request program, or the row program for one tile. */
typedef struct runtime_frame {
    const unsigned char *consts;
    const unsigned char *params;  /* the session's */
    unsigned char *request, *row; /* the two parts of the workspace */
    const void *const *inputs;
    void *const *outputs;
    int64_t height;          /* rows of a full tile: scales the offsets of ROW */
    int64_t max_users;       /* of the session: scales the offsets of REQUEST */
    int64_t first;           /* the tile's first candidate */
    int64_t rows;            /* candidates in this tile; users in the request program */
    int64_t total_rows;      /* candidates of the call, in both programs */
    int64_t users;           /* of the call, in the row program; 0 in the request program */
    int64_t position, place; /* of steps with a span: the first position among the tile's, among its candidate's */
    const int32_t *user;     /* of each candidate of the call; NULL: all are of user 0 */
    struct onednn_session *onednn;       /* NULL: no step goes there */
    _Atomic uint64_t *outside;           /* the session's counters of ids outside of their tables; NULL: not counted */
    const struct runtime_wanted *wanted; /* NULL: all outputs are; wanted.h */
    const unsigned char *apart; /* by output: 1 where it begins with the tile's first candidate; NULL: none does */
    base_diag *diag;
} runtime_frame;

static inline unsigned char *runtime_out(const runtime_frame *frame, const runtime_ref *ref)
{
    switch (ref->storage) {
    case PLAN_STORAGE_ROW:
        return frame->row + ref->offset * (uint64_t)frame->height + ref->start +
               ref->per_position * (uint64_t)frame->position;
    case PLAN_STORAGE_REQUEST: return frame->request + ref->offset * (uint64_t)frame->max_users + ref->start;
    default: break;
    }
    bool apart = frame->apart != NULL && frame->apart[ref->index] != 0;
    return (unsigned char *)frame->outputs[ref->index] + (apart ? 0 : ref->per_row * (uint64_t)frame->first) +
           ref->start;
}

static inline const unsigned char *runtime_in(const runtime_frame *frame, const runtime_ref *ref)
{
    switch (ref->storage) {
    case PLAN_STORAGE_CONST: return frame->consts + ref->offset + ref->per_position * (uint64_t)frame->place;
    case PLAN_STORAGE_PARAM: return frame->params + ref->offset + ref->per_position * (uint64_t)frame->place;
    case PLAN_STORAGE_INPUT:
        return (const unsigned char *)frame->inputs[ref->index] + ref->per_row * (uint64_t)frame->first + ref->start;
    default: return runtime_out(frame, ref);
    }
}

/* The user of candidate `row` of the tile at hand. */
static inline size_t runtime_user(const runtime_frame *frame, size_t row)
{
    return frame->user == NULL ? 0 : (size_t)frame->user[(size_t)frame->first + row];
}
/* The end of the run of candidates of one user that begins with `row`. */
static inline size_t runtime_user_end(const runtime_frame *frame, size_t row)
{
    size_t rows = (size_t)frame->rows, user = runtime_user(frame, row);
    if (frame->user == NULL) {
        return rows;
    }
    while (++row < rows && runtime_user(frame, row) == user) {
    }
    return row;
}

typedef struct runtime_step runtime_step;
typedef mtl_status (*runtime_step_run)(const void *state, const runtime_frame *frame);

/* Columns [from, to) of a group of a linear layer, as native_linear_columns takes them; tasks [from, to) of a mix. */
typedef struct runtime_part {
    uint32_t group;
    uint32_t from, to;
} runtime_part;
/* Computes that part of the result, with the bits that the whole step gives it. */
typedef mtl_status (*runtime_step_run_part)(const void *state, const runtime_frame *frame, const runtime_part *part);

struct runtime_step {
    runtime_step_run run;
    runtime_step_run_part run_part; /* NULL: the step has no parts */
    const void *state;
    const char *kernel; /* who computes it: "native avx512", "onednn brg:avx512_core", "plain"; NULL while preparing:
                         * the plan's native kernels */
};

struct native_kernels;
struct onednn_context;
struct onednn_session;
struct onednn_step;
typedef struct runtime_wanted runtime_wanted;

struct mtl_plan {
    mtl_allocator allocator;
    base_map map;
    void *copy; /* of the file, when not mapped */
    size_t copy_size;
    plan_view view;
    runtime_memory memory;      /* of everything below */
    mtl_tensor_info *signature; /* inputs, outputs, params, defaults */
    mtl_lookup_info *lookups;   /* those with a policy for ids outside of their table: lookups.h */
    size_t lookup_count;
    runtime_step *steps;
    mtl_provider provider;
    const struct native_kernels *native;
    const char *native_name;       /* "native avx512" */
    struct onednn_context *onednn; /* NULL: no step goes there */
};

struct mtl_session {
    const mtl_plan *plan;
    mtl_allocator allocator;
    mtl_executor executor;         /* of the pool or the host; unused with one thread */
    size_t threads;                /* most of one call, each with a tile of its own */
    size_t bytes, workspace_bytes; /* of this block; of the workspace behind it */
    size_t tile_rows, tile_bytes;
    int64_t max_rows; /* 0: any */
    int64_t max_users;
    int64_t rows_per_thread;        /* fewest that pay for another thread */
    int64_t given_rows_per_thread;  /* 0: by the FLOPs of the wanted outputs */
    unsigned char *params;          /* first in the workspace: the values of params, in order */
    unsigned char *request, *row;   /* the rest: request values, the values of `threads` tiles, oneDNN's scratch */
    _Atomic uint64_t *outside;      /* by lookup of the plan: ids outside of the table so far */
    struct onednn_session **onednn; /* NULL, or one for each thread */
    runtime_wanted *wanted;         /* NULL: the plan has one output */
};

/* Bytes between the start of a session's block and its workspace, or counters, oneDNN's sessions and the choice of
 * outputs if there are some. */
enum { RUNTIME_SESSION_HEADER = 256 };

/* run.c: how the rows of a call are cut into tiles: `tiles` of them, as many for each thread, over which blocks of so
 * many rows are spread evenly. No tile is empty or higher than `height`, a multiple of 16. */
typedef struct runtime_tiling {
    int64_t rows, tiles, block;
} runtime_tiling;
runtime_tiling runtime_cut(int64_t rows, int64_t height, int64_t threads, bool onednn);
/* The first row of a tile; of tile `tiles`: all rows. */
int64_t runtime_tile_begin(const runtime_tiling *tiling, int64_t tile);

/* What a preparing function works from. */
typedef struct runtime_context {
    mtl_plan *plan;
    const plan_view *view;
    runtime_memory *memory;
    base_diag *diag;
    const plan_step *step;
    size_t number; /* of the step */
} runtime_context;

/* Fills `result` for the step at hand. */
typedef mtl_status (*runtime_prepare)(const runtime_context *context, runtime_step *result);

/* The kernel of step `number` of an opened plan, the request program first, or NULL beyond the last. Lives as long as
 * the plan. */
const char *runtime_step_kernel(const mtl_plan *plan, size_t number);

/* run.c: checks the arguments of a call and fills the frame for all its rows (which may be 0: nothing to do). */
mtl_status runtime_begin(const mtl_session *session, const mtl_call *call, base_diag *diag, runtime_frame *frame);
/* The frame of the request program of that call. */
runtime_frame runtime_users_frame(const runtime_frame *call);

/* plan.c: the allocator of the options, or the default. False: an allocator without functions. */
bool runtime_allocator(const mtl_allocator *given, const mtl_allocator *otherwise, mtl_allocator *result);

/* session.c: sets rows_per_thread for the outputs that are wanted. */
void runtime_reset_rows_per_thread(mtl_session *session);

/* params.c: gives a new session the plan's values of its params. */
void runtime_reset_params(mtl_session *session);

/* choose.c: whether the step at hand is to go to oneDNN if that has a primitive for it. k: of products, else 0; n: their
 * columns, or the elements of a row; 0 for moves. */
bool runtime_choose_onednn(const mtl_plan *plan, plan_op op, size_t k, size_t n);
/* Whether any step may. */
bool runtime_choose_needs_onednn(const mtl_plan *plan);

/* steps_onednn.c: makes `result` a call of `step` over `rows`, which is affine in the tile's. */
typedef struct runtime_onednn_operands {
    const runtime_ref *inputs;
    size_t count;
    int64_t start; /* bytes into the first input */
    runtime_ref y;
    runtime_affine rows;
} runtime_onednn_operands;
mtl_status runtime_onednn_call(const runtime_context *context, const runtime_onednn_operands *operands,
                               const struct onednn_step *step, runtime_step *result);
/* "onednn IMPLEMENTATION", with the bytes of a copy of weights, in the plan's memory; NULL: none left. */
const char *runtime_onednn_name(const runtime_context *context, const struct onednn_step *step);
/* Rows of the largest primitive: more are several calls. */
enum { RUNTIME_ONEDNN_ROWS = 256 };

/* prepare.c: chooses and prepares all steps. On failure the plan is to be freed as usual. */
mtl_status runtime_prepare_steps(mtl_plan *plan, base_diag *diag);

/* prepare.c: tensors to references, extents and strides. `elements` is over axes [from, to). */
runtime_ref runtime_ref_of(const plan_view *view, const plan_tensor *tensor);
runtime_affine runtime_extent(const plan_view *view, const plan_tensor *tensor, unsigned axis);
runtime_affine runtime_elements(const plan_view *view, const plan_tensor *tensor, unsigned from, unsigned to);
runtime_affine runtime_times(runtime_affine a, runtime_affine b);
/* Bytes from one candidate of a tensor to the next, 0 for one without candidates; they lead (plan_candidates_lead). */
size_t runtime_pitch(const plan_view *view, const plan_tensor *tensor);
/* An operand that is per user in the row program: `ref` becomes that of user 0, whatever the tile. False: it is not. */
bool runtime_is_users(const runtime_context *context, const plan_tensor *tensor, runtime_ref *ref);
/* Elements from one row of an operand (B, fixed, ..), a window or not, to the next; 0 where it has one row for all. */
size_t runtime_row_stride(const plan_view *view, const plan_tensor *tensor);
/* Whether an operand or the result of the step at hand is a window. */
bool runtime_has_window(const runtime_context *context);
/* "step 12 (linear, 'expert0')" goes before the message; returns `status`. */
mtl_status runtime_fail_step(const runtime_context *context, mtl_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* steps_lookup.c: the tensor that a user knows `tensor`, read by step `before`, by: the input behind casts and moves. */
const plan_tensor *runtime_origin(const plan_view *view, const plan_tensor *tensor, size_t before);

mtl_status runtime_prepare_linear(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_matmul(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_unary(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_binary(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_where(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_cast(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_softmax(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_reduce(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_layer_norm(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_transpose(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_concat(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_slice(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_expand(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_gather(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_batch_gather(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_top_k(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_copy(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_store(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_extents(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_attention(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_mix(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_scan(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_gru(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_chain(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_bag(const runtime_context *context, runtime_step *result);
mtl_status runtime_prepare_spread(const runtime_context *context, runtime_step *result);

#endif
