/* Sessions: the height of a tile, and the workspace. */
#define _GNU_SOURCE /* _SC_LEVEL2_CACHE_SIZE */
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "runtime/internal.h"
#include "runtime/onednn/onednn.h"

enum {
    ALIGNMENT = 64,
    TILE_STEP = 16,
    TILE_MOST = 256,
    L2_DEFAULT = 512 * 1024, /* where the system does not tell */
    DEFAULT_MAX_ROWS = 1024,
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

/* The values of a tile fill about half of the core's L2 cache; weights stream through the rest. */
static size_t height_for_cache(uint64_t row_bytes)
{
    long cache = -1;
#ifdef _SC_LEVEL2_CACHE_SIZE
    cache = sysconf(_SC_LEVEL2_CACHE_SIZE);
#endif
    uint64_t half = (uint64_t)(cache > 0 ? cache : L2_DEFAULT) / 2;
    uint64_t rows = row_bytes > 0 ? half / row_bytes : TILE_MOST;
    rows = rows > TILE_MOST ? TILE_MOST : rows / TILE_STEP * TILE_STEP;
    return rows < TILE_STEP ? TILE_STEP : (size_t)rows;
}

/* The params, request_bytes and tile_rows x row_bytes, plus what oneDNN's primitives need beside them if it is forced. */
static bool sizes(const mtl_plan *plan, size_t tile_rows, size_t *row_bytes, size_t *workspace, size_t *block)
{
    const plan_meta *meta = plan->view.meta;
    size_t scratch = plan->onednn != NULL ? onednn_scratch_bytes(plan->onednn) : 0;
    uint64_t param_bytes = plan_param_bytes(&plan->view);
    return meta->row_bytes <= SIZE_MAX && meta->request_bytes <= SIZE_MAX && param_bytes <= SIZE_MAX &&
           base_mul_size(tile_rows, (size_t)meta->row_bytes, row_bytes) &&
           base_add_size(*row_bytes, (size_t)meta->request_bytes, workspace) &&
           base_add_size(*workspace, (size_t)param_bytes, workspace) && base_add_size(*workspace, scratch, workspace) &&
           base_add_size(*workspace, RUNTIME_SESSION_HEADER, block);
}

static mtl_status choose_height(const mtl_plan *plan, const mtl_session_options *options, base_diag *diag,
                                size_t *tile_rows, int64_t *max_rows)
{
    bool whole = (plan->view.meta->flags & PLAN_FLAG_WHOLE_BATCH) != 0;
    size_t rows = whole ? options->max_rows : options->tile_rows;
    if (rows == 0) {
        rows = whole ? DEFAULT_MAX_ROWS : height_for_cache(plan->view.meta->row_bytes);
    }
    if (rows > (size_t)INT64_MAX - TILE_STEP) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "%s of %zu is too large", whole ? "max_rows" : "tile_rows", rows);
    }
    *max_rows = whole ? (int64_t)rows : 0;
    *tile_rows = (rows + TILE_STEP - 1) / TILE_STEP * TILE_STEP;
    return MTL_OK;
}

/* Order in the block: the session, params, request values, tile values, oneDNN's scratch. Each starts at a multiple of
 * 64 bytes: the params' bytes and request_bytes are one, the tile's height is one of 16 rows, and row_bytes one of 4. */
static mtl_status session_new(mtl_plan *plan, const mtl_allocator *allocator, size_t tile_rows, base_diag *diag,
                              mtl_session **result)
{
    size_t row_bytes, workspace, block;
    if (!sizes(plan, tile_rows, &row_bytes, &workspace, &block)) {
        return base_fail(diag, MTL_OUT_OF_MEMORY, "the workspace of %zu rows is too large to address", tile_rows);
    }
    mtl_session *session = allocator->allocate(allocator->context, block, ALIGNMENT);
    BASE_TRY_MEMORY(session, diag);
    *session = (mtl_session){
        .plan = plan,
        .allocator = *allocator,
        .bytes = block,
        .workspace_bytes = workspace,
        .tile_rows = tile_rows,
    };
    session->params = (unsigned char *)session + RUNTIME_SESSION_HEADER;
    session->request = session->params + plan_param_bytes(&plan->view);
    session->row = session->request + plan->view.meta->request_bytes;
    session->scratch = session->row + row_bytes;
    runtime_reset_params(session);
    *result = session;
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
    size_t tile_rows = 0;
    int64_t max_rows = 0;
    mtl_session *session = NULL;
    BASE_TRY(read_options(given, &diag, &options));
    if (!runtime_allocator(options.allocator, &plan->allocator, &allocator)) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "an allocator needs both allocate and release");
    }
    BASE_TRY(choose_height(plan, &options, &diag, &tile_rows, &max_rows));
    BASE_TRY(session_new(plan, &allocator, tile_rows, &diag, &session));
    session->max_rows = max_rows;
    if (plan->onednn != NULL) {
        mtl_status status = onednn_session_create(plan->onednn, &allocator, session->scratch, &diag, &session->onednn);
        if (status != MTL_OK) {
            mtl_session_destroy(session);
            return status;
        }
    }
    *result = session;
    return MTL_OK;
}

void mtl_session_destroy(mtl_session *session)
{
    if (session == NULL) {
        return;
    }
    onednn_session_destroy(session->onednn);
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
