/* The loop: the request program once, for all users, then the row program for each tile, on as many threads as the call is worth.
 *
 * Tiles are numbered along the rows and given out in that order by a counter: a thread that was held up takes fewer.
 * How rows are cut into tiles follows from the session and the rows of the call alone, never from who is busy. */
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "runtime/wanted.h"

enum {
    BLOCK_ROWS = 8,        /* of the native kernels' widest blocks: tiles that are a multiple leave none half full */
    BLOCKS_MATTER = 64,    /* rows of a tile from which on that costs less balance than it saves */
    TILES_PER_THREAD = 4,  /* so that a thread that begins late leaves some to the others, */
    SHARED_TILE_ROWS = 64, /* as long as tiles have so many rows: steps of few rows are slower */
    ONEDNN_BLOCK_ROWS = 16 /* its primitives are for powers of two of rows: tails are more calls */
};

static const int64_t most_rows = (int64_t)1 << 40; /* of a call: far beyond memory, far below overflow */

/* Every candidate's user is there. */
static mtl_status check_users(const mtl_session *session, const mtl_call *call, base_diag *diag)
{
    if (call->users < 1 || call->users > session->max_users) {
        return base_fail(diag, MTL_INVALID_ARGUMENT,
                         "users is %" PRId64 ", expected 1 to the session's max_users, %" PRId64, call->users,
                         session->max_users);
    }
    if (call->user == NULL) {
        return call->users == 1
                   ? MTL_OK
                   : base_fail(diag, MTL_INVALID_ARGUMENT,
                               "user is NULL, expected the user of each row of a call of %" PRId64 " users",
                               call->users);
    }
    for (int64_t row = 0; row < call->rows; row++) {
        if (call->user[row] < 0 || call->user[row] >= call->users) {
            return base_fail(diag, MTL_INVALID_DATA, "row %" PRId64 ": user %" PRId32 " is outside 0..%" PRId64, row,
                             call->user[row], call->users - 1);
        }
    }
    return MTL_OK;
}

static mtl_status check_call(const mtl_session *session, const mtl_call *call, base_diag *diag)
{
    const mtl_plan *plan = session->plan;
    int64_t rows = call->rows;
    const void *const *inputs = call->inputs;
    void *const *outputs = call->outputs;
    size_t input_count = mtl_plan_input_count(plan), output_count = mtl_plan_output_count(plan);
    if (rows < 0) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "rows is %" PRId64 ", expected 0 or more", rows);
    }
    if (rows > most_rows) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "rows is %" PRId64 ", expected at most 2^40", rows);
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
        if (outputs[i] == NULL && runtime_is_wanted(session->wanted, i)) {
            return base_fail(diag, MTL_INVALID_ARGUMENT, "output '%s' is NULL", plan->signature[input_count + i].name);
        }
    }
    return check_users(session, call, diag);
}

static mtl_status run_steps(const mtl_plan *plan, size_t from, size_t to, const runtime_frame *frame)
{
    for (size_t i = from; i < to; i++) {
        mtl_status status = runtime_run_step(plan, i, frame);
        if (status != MTL_OK) {
            return status;
        }
    }
    return MTL_OK;
}

/* One call, shared by the threads that work on it. */
typedef struct tiled_call {
    const mtl_session *session;
    const runtime_frame *frame; /* of the whole call */
    void *const *outputs;       /* the caller's */
    runtime_tiling tiling;
    _Atomic int64_t next;   /* the tile to be given out */
    _Atomic int64_t failed; /* the first tile that failed, or `tiles` */
    atomic_size_t finished; /* threads' parts */
} tiled_call;

static int64_t ceiling(int64_t a, int64_t b)
{
    return a / b + (a % b != 0);
}

runtime_tiling runtime_cut(int64_t rows, int64_t height, int64_t threads, bool onednn)
{
    int64_t each = ceiling(ceiling(rows, height), threads), wanted = rows / threads / SHARED_TILE_ROWS;
    wanted = wanted < TILES_PER_THREAD ? wanted : TILES_PER_THREAD;
    int64_t tiles = (threads > 1 && each < wanted ? wanted : each) * threads;
    runtime_tiling tiling = {.rows = rows, .block = 1};
    if (onednn) {
        tiling.block = ONEDNN_BLOCK_ROWS;
    } else if (rows / tiles >= BLOCKS_MATTER) {
        tiling.block = BLOCK_ROWS;
    }
    int64_t blocks = ceiling(rows, tiling.block);
    tiling.tiles = tiles < blocks ? tiles : blocks;
    return tiling;
}

int64_t runtime_tile_begin(const runtime_tiling *tiling, int64_t tile)
{
    int64_t blocks = ceiling(tiling->rows, tiling->block);
    int64_t whole = blocks / tiling->tiles, rest = blocks % tiling->tiles;
    /* The first `rest` tiles have a block more. */
    int64_t begin = (whole * tile + (tile < rest ? tile : rest)) * tiling->block;
    return begin < tiling->rows ? begin : tiling->rows;
}

static mtl_status run_rows(const mtl_session *session, const runtime_frame *frame)
{
    const plan_view *view = &session->plan->view;
    return run_steps(session->plan, view->meta->request_step_count, view->step_count, frame);
}

/* A thread's part: tiles, until none is left or one before it has failed. */
static void run_tiles(void *argument, size_t thread)
{
    tiled_call *call = argument;
    const mtl_session *session = call->session;
    runtime_frame frame = *call->frame;
    frame.row = session->row + thread * session->tile_bytes;
    frame.onednn = session->onednn != NULL ? session->onednn[thread] : NULL;
    frame.diag = NULL;
    if (frame.wanted != NULL) {
        runtime_wanted_outputs(frame.wanted, thread, call->outputs, &frame);
    }
    for (;;) {
        int64_t tile = atomic_fetch_add(&call->next, 1);
        int64_t failed = atomic_load(&call->failed);
        if (tile >= failed) { /* also when none has failed and none is left */
            break;
        }
        frame.first = runtime_tile_begin(&call->tiling, tile);
        frame.rows = runtime_tile_begin(&call->tiling, tile + 1) - frame.first;
        if (run_rows(session, &frame) != MTL_OK) {
            while (tile < failed && !atomic_compare_exchange_weak(&call->failed, &failed, tile)) {
            }
            break;
        }
    }
    atomic_fetch_add(&call->finished, 1);
}

/* Finds the first row of a tile that fails and gives its error, so that neither the height of the tiles nor the threads
 * can be told from it: by halves, in about the time of the tile. */
static mtl_status find_error(const tiled_call *call, const runtime_frame *whole, int64_t tile)
{
    base_diag *diag = whole->diag;
    runtime_frame frame = *whole;
    frame.first = runtime_tile_begin(&call->tiling, tile);
    int64_t rows = runtime_tile_begin(&call->tiling, tile + 1) - frame.first;
    frame.outside = NULL; /* counted already */
    frame.diag = NULL;
    while (rows > 1) { /* one of them fails */
        frame.rows = rows / 2;
        if (run_rows(call->session, &frame) != MTL_OK) {
            rows = frame.rows;
        } else {
            frame.first += frame.rows;
            rows -= frame.rows;
        }
    }
    frame.rows = 1;
    frame.diag = diag;
    mtl_status status = run_rows(call->session, &frame);
    return status != MTL_OK
               ? status
               : base_fail(diag, MTL_INTERNAL,
                           "row %" PRId64 " failed, and then did not: did the inputs change meanwhile?", frame.first);
}

/* Threads that a call of so many rows is worth. */
static int64_t threads_for(const mtl_session *session, int64_t rows)
{
    int64_t worth = rows / session->rows_per_thread, most = (int64_t)session->threads;
    return worth < 1 ? 1 : worth < most ? worth : most;
}

static mtl_status run_tiled(const mtl_session *session, const runtime_frame *frame, void *const *outputs)
{
    int64_t rows = frame->total_rows, threads = threads_for(session, rows);
    tiled_call call = {.session = session, .frame = frame, .outputs = outputs};
    call.tiling = runtime_cut(rows, frame->height, threads, session->onednn != NULL);
    call.failed = call.tiling.tiles;
    threads = threads < call.tiling.tiles ? threads : call.tiling.tiles;
    if (threads == 1) {
        run_tiles(&call, 0);
    } else {
        session->executor.parallel_for(session->executor.context, (size_t)threads, run_tiles, &call);
    }
    if (atomic_load(&call.finished) != (size_t)threads) {
        return base_fail(frame->diag, MTL_INTERNAL, "the executor returned when %zu of %" PRId64 " tasks had run",
                         atomic_load(&call.finished), threads);
    }
    int64_t failed = atomic_load(&call.failed);
    return failed == call.tiling.tiles ? MTL_OK : find_error(&call, frame, failed);
}

mtl_status runtime_begin(const mtl_session *session, const mtl_call *call, base_diag *diag, runtime_frame *frame)
{
    BASE_TRY(check_call(session, call, diag));
    *frame = (runtime_frame){
        .consts = session->plan->view.consts,
        .params = session->params,
        .request = session->request,
        .row = session->row,
        .inputs = call->inputs,
        .outputs = call->outputs,
        .height = (int64_t)session->tile_rows,
        .max_users = session->max_users,
        .rows = call->rows,
        .total_rows = call->rows,
        .users = call->users,
        .user = call->users > 1 ? call->user : NULL,
        .onednn = session->onednn != NULL ? session->onednn[0] : NULL,
        .outside = session->outside,
        .diag = diag,
    };
    if (session->wanted != NULL && session->wanted->some && call->rows > 0) {
        frame->wanted = session->wanted;
        runtime_wanted_outputs(frame->wanted, 0, call->outputs, frame);
    }
    return MTL_OK;
}

runtime_frame runtime_users_frame(const runtime_frame *call)
{
    runtime_frame frame = *call;
    frame.rows = call->users; /* total_rows stays: a step may ask for the rows of the call */
    frame.users = 0;
    frame.user = NULL;
    return frame;
}

static mtl_status run_call(const mtl_session *session, const mtl_call *call, base_diag *diag)
{
    runtime_frame frame;
    BASE_TRY(runtime_begin(session, call, diag, &frame));
    if (call->rows == 0) {
        return MTL_OK;
    }
    const mtl_plan *plan = session->plan;
    runtime_frame users = runtime_users_frame(&frame);
    BASE_TRY(run_steps(plan, 0, plan->view.meta->request_step_count, &users));
    return session->max_rows > 0 ? run_rows(session, &frame) : run_tiled(session, &frame, call->outputs);
}

mtl_status mtl_session_run(mtl_session *session, int64_t rows, const void *const *inputs, void *const *outputs,
                           mtl_error *error)
{
    base_diag diag = {.error = error};
    if (session == NULL) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_session_run: session is NULL");
    }
    const mtl_call call = {.rows = rows, .users = 1, .inputs = inputs, .outputs = outputs};
    return run_call(session, &call, &diag);
}

mtl_status mtl_session_run_call(mtl_session *session, const mtl_call *given, mtl_error *error)
{
    base_diag diag = {.error = error};
    if (session == NULL || given == NULL) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_session_run_call: %s is NULL",
                         session == NULL ? "session" : "call");
    }
    if (given->struct_size < sizeof given->struct_size) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_call.struct_size is %zu, expected %zu", given->struct_size,
                         sizeof *given);
    }
    mtl_call call = {0}; /* a caller of an older version knows fewer fields; what it does not know is 0 */
    memcpy(&call, given, given->struct_size < sizeof call ? given->struct_size : sizeof call);
    return run_call(session, &call, &diag);
}
