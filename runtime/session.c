/* Sessions: the height of a tile, the threads, and the workspace. */
#define _GNU_SOURCE /* _SC_LEVEL2_CACHE_SIZE */
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "runtime/internal.h"
#include "runtime/onednn/onednn.h"
#include "runtime/pool.h"
#include "runtime/wanted.h"

enum {
    ALIGNMENT = 64,
    MOST_THREADS = 1024,
    MOST_USERS = 1 << 20,
    TILE_STEP = 16,
    TILE_MOST = 256,
    TILE_STREAMED = 64,
    L2_DEFAULT = 512 * 1024, /* where the system does not tell */
    DEFAULT_MAX_ROWS = 1024,
    /* What pays for waking a thread, in FLOPs and bytes of values read and written: 60 us at the 100 GFLOP/s of an AVX2
     * core. A thread that slept was at work 30 to 60 us after the call that woke it (virtual machine with 2 CPUs). */
    WORK_PER_THREAD = 3 << 21,
    ROWS_PER_THREAD = 8, /* and at least so many rows: fewer take as long, as all weights are read for them */
};

_Static_assert(sizeof(struct mtl_session) <= RUNTIME_SESSION_HEADER, "the workspace begins behind the session");

static mtl_status read_options(const mtl_session_options *given, base_diag *diag, mtl_session_options *options)
{
    *options = (mtl_session_options){.struct_size = sizeof *options};
    if (given == NULL) {
        return MTL_OK;
    }
    if (given->struct_size < sizeof given->struct_size) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "mtl_session_options.struct_size is %zu, expected %zu",
                         given->struct_size, sizeof *options);
    }
    memcpy(options, given, given->struct_size < sizeof *options ? given->struct_size : sizeof *options);
    return MTL_OK;
}

/* What the row program's products read besides values, for every tile. */
static uint64_t weight_bytes(const plan_view *view)
{
    uint64_t bytes = 0;
    for (size_t i = view->meta->request_step_count; i < view->step_count; i++) {
        if (__builtin_add_overflow(bytes, plan_step_cost(view, &view->steps[i]).weight_bytes, &bytes)) {
            return UINT64_MAX;
        }
    }
    return bytes;
}

/* The values of a tile fill about half of the core's L2 cache; weights stream through the rest. Weights that are larger
 * than the cache come from further away for every tile: then a tile has TILE_STREAMED rows to share them, even if some
 * values leave the cache. */
static size_t height_for_cache(const plan_view *view)
{
    long size = -1;
#ifdef _SC_LEVEL2_CACHE_SIZE
    size = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    uint64_t cache = (uint64_t)(size > 0 ? size : L2_DEFAULT), row_bytes = view->meta->row_bytes;
    uint64_t rows = row_bytes > 0 ? cache / 2 / row_bytes : TILE_MOST;
    if (rows < TILE_STREAMED && row_bytes <= 2 * cache / TILE_STREAMED && weight_bytes(view) > cache) {
        rows = TILE_STREAMED;
    }
    rows = rows > TILE_MOST ? TILE_MOST : rows / TILE_STEP * TILE_STEP;
    return rows < TILE_STEP ? TILE_STEP : (size_t)rows;
}

/* What a session's block holds, in this order, each from a multiple of 64 bytes: the session, its counters of ids, the
 * table of oneDNN's sessions if it is forced, its choice of outputs (wanted.h); and the workspace: params, request values, the tiles, oneDNN's scratch beside each tile. */
typedef struct layout {
    size_t counters, table, wanted; /* bytes */
    size_t tile, scratch;           /* of one thread */
    size_t request;                 /* of all users */
    size_t tiles, workspace, block; /* of all */
} layout;

static bool round_up(size_t size, size_t *rounded)
{
    return base_add_size(size, ALIGNMENT - 1, &size) && (*rounded = size & ~(size_t)(ALIGNMENT - 1), true);
}

/* params' bytes + users x request_bytes + threads x (tile_rows x row_bytes), and scratch. False: too large. */
static bool lay_out(const mtl_plan *plan, size_t tile_rows, size_t threads, size_t users, layout *l)
{
    const plan_meta *meta = plan->view.meta;
    size_t scratch = plan->onednn != NULL ? onednn_scratch_bytes(plan->onednn) : 0, all_scratch;
    uint64_t param_bytes = plan_param_bytes(&plan->view);
    return meta->row_bytes <= SIZE_MAX && meta->request_bytes <= SIZE_MAX && param_bytes <= SIZE_MAX &&
           round_up(scratch, &l->scratch) && round_up(plan->lookup_count * sizeof(uint64_t), &l->counters) &&
           round_up(plan->onednn != NULL ? threads * sizeof(struct onednn_session *) : 0, &l->table) &&
           base_mul_size(tile_rows, (size_t)meta->row_bytes, &l->tile) && base_mul_size(l->tile, threads, &l->tiles) &&
           base_mul_size(l->scratch, threads, &all_scratch) &&
           base_mul_size((size_t)meta->request_bytes, users, &l->request) &&
           base_add_size(l->tiles, l->request, &l->workspace) &&
           base_add_size(l->workspace, (size_t)param_bytes, &l->workspace) &&
           base_add_size(l->workspace, all_scratch, &l->workspace) &&
           base_add_size(l->workspace, RUNTIME_SESSION_HEADER, &l->block) &&
           base_add_size(l->block, l->counters, &l->block) && base_add_size(l->block, l->table, &l->block) &&
           runtime_wanted_bytes(plan, tile_rows, threads, &l->wanted) && base_add_size(l->block, l->wanted, &l->block);
}

static mtl_status choose_height(const mtl_plan *plan, const mtl_session_options *options, base_diag *diag,
                                size_t *tile_rows, int64_t *max_rows)
{
    bool whole = (plan->view.meta->flags & PLAN_FLAG_WHOLE_BATCH) != 0;
    size_t rows = whole ? options->max_rows : options->tile_rows;
    if (rows == 0) {
        rows = whole ? DEFAULT_MAX_ROWS : height_for_cache(&plan->view);
    }
    if (rows > (size_t)INT64_MAX - TILE_STEP) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "%s of %zu is too large", whole ? "max_rows" : "tile_rows", rows);
    }
    *max_rows = whole ? (int64_t)rows : 0;
    *tile_rows = (rows + TILE_STEP - 1) / TILE_STEP * TILE_STEP;
    return MTL_OK;
}

/* The executor, and how many threads it may bring. */
static mtl_status choose_threads(const mtl_plan *plan, const mtl_session_options *options, base_diag *diag,
                                 mtl_executor *executor, size_t *threads)
{
    const mtl_executor *given = options->executor;
    size_t pooled = options->pool != NULL ? mtl_pool_threads(options->pool) : 0;
    *executor = (mtl_executor){.context = options->pool, .parallel_for = runtime_pool_parallel_for};
    *threads = options->threads;
    if (options->pool != NULL && given != NULL) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "a session takes a pool or an executor, not both");
    }
    if (given != NULL && given->parallel_for == NULL) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "an executor needs parallel_for");
    }
    if (given != NULL && *threads == 0) {
        return base_fail(diag, MTL_INVALID_ARGUMENT,
                         "mtl_session_options.threads is 0, expected a number with an executor");
    }
    if (given == NULL && options->pool == NULL && *threads > 1) {
        return base_fail(diag, MTL_INVALID_ARGUMENT,
                         "mtl_session_options.threads is %zu, but there is neither a pool nor an executor", *threads);
    }
    if (*threads > MOST_THREADS) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "mtl_session_options.threads is %zu, expected at most %d",
                         *threads, MOST_THREADS);
    }
    if (given != NULL) {
        *executor = *given;
    } else if (*threads == 0 || *threads > pooled) {
        *threads = pooled > 0 ? pooled : 1;
    }
    if ((plan->view.meta->flags & PLAN_FLAG_WHOLE_BATCH) != 0) {
        *threads = 1;
    }
    return MTL_OK;
}

void runtime_reset_rows_per_thread(mtl_session *session)
{
    const plan_view *view = &session->plan->view;
    uint64_t work = 1; /* of a row */
    session->rows_per_thread = session->given_rows_per_thread;
    for (size_t i = view->meta->request_step_count; i < view->step_count && session->rows_per_thread == 0; i++) {
        const plan_cost cost = plan_step_cost(view, &view->steps[i]);
        uint64_t computed, all;
        runtime_wanted_share(session, i, &computed, &all);
        if (__builtin_add_overflow(work, runtime_share(cost.flops_per_row, computed, all), &work) ||
            __builtin_add_overflow(work, runtime_share(cost.bytes_per_row, computed, all), &work)) {
            session->rows_per_thread = ROWS_PER_THREAD;
        }
    }
    if (session->rows_per_thread == 0) {
        int64_t rows = (int64_t)(WORK_PER_THREAD / work) + 1;
        session->rows_per_thread = rows > ROWS_PER_THREAD ? rows : ROWS_PER_THREAD;
    }
}

static mtl_status session_new(mtl_plan *plan, const mtl_allocator *allocator, size_t tile_rows, size_t threads,
                              size_t users, base_diag *diag, mtl_session **result)
{
    layout l;
    if (!lay_out(plan, tile_rows, threads, users, &l)) {
        return base_fail(diag, MTL_OUT_OF_MEMORY,
                         "the workspace of %zu rows, %zu threads and %zu users is too large to address", tile_rows,
                         threads, users);
    }
    mtl_session *session = allocator->allocate(allocator->context, l.block, ALIGNMENT);
    BASE_TRY_MEMORY(session, diag);
    *session = (mtl_session){
        .plan = plan,
        .allocator = *allocator,
        .threads = threads,
        .bytes = l.block,
        .workspace_bytes = l.workspace,
        .tile_rows = tile_rows,
        .tile_bytes = l.tile,
        .max_users = (int64_t)users,
    };
    unsigned char *counters = (unsigned char *)session + RUNTIME_SESSION_HEADER, *table = counters + l.counters;
    session->outside = (_Atomic uint64_t *)(void *)counters;
    for (size_t i = 0; i < plan->lookup_count; i++) {
        atomic_init(&session->outside[i], 0);
    }
    session->wanted = runtime_wanted_new(plan, tile_rows, threads, table + l.table);
    session->params = table + l.table + l.wanted;
    session->request = session->params + plan_param_bytes(&plan->view);
    session->row = session->request + l.request;
    runtime_reset_params(session);
    *result = session;
    if (plan->onednn == NULL) {
        return MTL_OK;
    }
    session->onednn = memset(table, 0, l.table);
    for (size_t i = 0; i < threads; i++) {
        unsigned char *scratch = session->row + l.tiles + i * l.scratch;
        BASE_TRY(onednn_session_create(plan->onednn, allocator, scratch, diag, &session->onednn[i]));
    }
    return MTL_OK;
}

mtl_status mtl_session_create(mtl_plan *plan, const mtl_session_options *given, mtl_session **result, mtl_error *error)
{
    base_diag diag = {.error = error};
    if (result == NULL || plan == NULL) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_session_create: %s is NULL",
                         plan == NULL ? "plan" : "session");
    }
    *result = NULL;
    mtl_session_options options;
    mtl_allocator allocator;
    mtl_executor executor;
    size_t tile_rows = 0, threads = 1;
    int64_t max_rows = 0;
    mtl_session *session = NULL;
    BASE_TRY(read_options(given, &diag, &options));
    if (!runtime_allocator(options.allocator, &plan->allocator, &allocator)) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "an allocator needs both allocate and release");
    }
    BASE_TRY(choose_height(plan, &options, &diag, &tile_rows, &max_rows));
    BASE_TRY(choose_threads(plan, &options, &diag, &executor, &threads));
    size_t users = options.max_users > 0 ? options.max_users : 1;
    if (users > MOST_USERS) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_session_options.max_users is %zu, expected at most %d",
                         users, MOST_USERS);
    }
    mtl_status status = session_new(plan, &allocator, tile_rows, threads, users, &diag, &session);
    if (status != MTL_OK) {
        mtl_session_destroy(session);
        return status;
    }
    session->max_rows = max_rows;
    session->given_rows_per_thread = options.rows_per_thread < INT64_MAX ? (int64_t)options.rows_per_thread : INT64_MAX;
    runtime_reset_rows_per_thread(session);
    session->executor = executor;
    *result = session;
    return MTL_OK;
}

void mtl_session_destroy(mtl_session *session)
{
    if (session == NULL) {
        return;
    }
    for (size_t i = 0; session->onednn != NULL && i < session->threads; i++) {
        onednn_session_destroy(session->onednn[i]);
    }
    mtl_allocator allocator = session->allocator;
    allocator.release(allocator.context, session, session->bytes);
}

size_t mtl_session_workspace_size(const mtl_session *session)
{
    return session->workspace_bytes;
}

size_t mtl_session_tile_rows(const mtl_session *session)
{
    return session->tile_rows;
}

size_t mtl_session_threads(const mtl_session *session)
{
    return session->threads;
}
