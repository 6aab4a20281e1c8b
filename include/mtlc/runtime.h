/* libmtlrt: executes plans made by `mtlc` inside a host process.
 *
 *     mtl_error e;
 *     mtl_plan *plan;       mtl_plan_open("plan.bin", NULL, &plan, &e);
 *     mtl_session *session; mtl_session_create(plan, NULL, &session, &e);
 *     const void *in[] = {x};          // float x[rows][512]
 *     void *out[] = {ctr, cvr};        // float ctr[rows][1], cvr[rows][1]
 *     mtl_session_run(session, rows, in, out, &e);
 *
 * Threads. A plan is immutable once opened and may be shared by any number of threads. A session is used by one
 * thread at a time; make one session a thread. A run uses the calling thread alone unless its session was given a pool
 * or the host's executor (see mtl_session_options); functions on different sessions never synchronise but for the
 * pool that they share. Scores are the same bits with any number of threads in the default configuration.
 *
 * Params. Constants that `mtlc --param NAME` left open (score-fusion weights, the temperature of a gate) are the
 * plan's params: each session has its own values of them, at first the model's, set with mtl_session_set_param between
 * two runs.
 *
 * Memory. mtl_session_run allocates nothing in the default configuration: everything is sized when the session is
 * created. All memory that lives on comes from the allocator in the options, except the map of the plan file and what
 * oneDNN allocates for itself under MTL_PROVIDER_ONEDNN; the verification at open takes scratch from malloc.
 */
#ifndef MTLC_RUNTIME_H
#define MTLC_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include "mtlc/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element types of tensors at the boundary. The numbers are part of the plan format and never change. */
typedef enum mtl_dtype {
    MTL_F32 = 1,
    MTL_F64 = 2,
    MTL_F16 = 3,
    MTL_BF16 = 4,
    MTL_I64 = 5,
    MTL_I32 = 6,
    MTL_I16 = 7,
    MTL_I8 = 8,
    MTL_U64 = 9,
    MTL_U32 = 10,
    MTL_U16 = 11,
    MTL_U8 = 12,
    MTL_BOOL = 13, /* one byte, 0 or 1 */
} mtl_dtype;

/* Bytes of one element, 0 for a number that is no mtl_dtype. */
MTL_API size_t mtl_dtype_size(mtl_dtype dtype);
/* NumPy's word for it ("float32", "int64", "bool", ...; "bfloat16" for MTL_BF16), or "?" . */
MTL_API const char *mtl_dtype_name(mtl_dtype dtype);

#define MTL_MAX_RANK 8

/* An extent that grows with the number of candidates (rows) and of users: fixed + per_row x rows + per_user x users. */
typedef struct mtl_dim {
    int64_t fixed;
    int64_t per_row;
    int64_t per_user;
} mtl_dim;

/* One input or output of a plan. Tensors are dense and row-major. `name` lives as long as the plan. */
typedef struct mtl_tensor_info {
    const char *name;
    mtl_dtype dtype;
    int32_t rank;
    mtl_dim shape[MTL_MAX_RANK];
} mtl_tensor_info;

/* The host's allocator. `allocate` returns memory aligned to `alignment` (a power of two, at least 64) or NULL;
 * `release` takes what `allocate` gave. Both must be callable from any thread that opens plans or makes sessions. */
typedef struct mtl_allocator {
    void *context;
    void *(*allocate)(void *context, size_t size, size_t alignment);
    void (*release)(void *context, void *memory, size_t size);
} mtl_allocator;

/* Where kernels come from. AUTO is the default configuration with its guarantees (bit-identical rows, no
 * allocation); ONEDNN runs every step that oneDNN has a primitive for through it; NATIVE never calls oneDNN. */
typedef enum mtl_provider {
    MTL_PROVIDER_AUTO = 0,
    MTL_PROVIDER_NATIVE = 1,
    MTL_PROVIDER_ONEDNN = 2,
} mtl_provider;

/* Instruction sets of the native kernels. AUTO takes the best that this CPU has. */
typedef enum mtl_isa {
    MTL_ISA_AUTO = 0,
    MTL_ISA_GENERIC = 1, /* plain C for the baseline of the build */
    MTL_ISA_AVX2 = 2,    /* AVX2 and FMA */
    MTL_ISA_AVX512 = 3,  /* AVX-512 F, VL, BW, DQ */
} mtl_isa;

typedef struct mtl_plan_options {
    size_t struct_size;             /* sizeof(mtl_plan_options), for growth */
    const mtl_allocator *allocator; /* NULL: aligned_alloc and free; copied */
    mtl_provider provider;
    mtl_isa isa;
    int private_copy; /* not 0: read the file into memory instead of mapping it */
    int verify_lazily; /* not 0: the checksum of the constants is left to mtl_plan_verify; all else is verified at open */
} mtl_plan_options;

typedef struct mtl_pool mtl_pool; /* threads that work on the calls of any number of sessions */

typedef struct mtl_pool_options {
    size_t struct_size;             /* sizeof(mtl_pool_options), for growth */
    const mtl_allocator *allocator; /* NULL: aligned_alloc and free; copied. Stacks come from the system */
    /* Threads that work on one call, the calling one included: a pool starts one fewer. 1 to 1,024; 0: the CPUs in the
     * affinity mask of the thread that makes the pool, and no more than whole CPUs of the cgroup's quota (v1 and v2;
     * files in /proc and /sys are read once, here). A number is taken as it is. */
    size_t threads;
} mtl_pool_options;

/* The host's own way to run the parts of a call side by side. parallel_for(context, count, task, argument) must call
 * task(argument, index) exactly once for each index below `count`, and return when all have returned; what they wrote
 * must then be visible to the calling thread, and what the calling thread wrote before to them. Order and threads are
 * free: one after the other, in reverse, or on the calling thread will do, and one thread may run several. A task
 * never waits for another one, blocks on nothing, and does not call back; the native kernels need a stack of 64 KiB.
 * Tasks are as many as the session's `threads` at most, each takes tiles until none is left, so that late ones end at
 * once. parallel_for is called from the thread that calls mtl_session_run, and from several at once when their sessions
 * share it. */
typedef struct mtl_executor {
    void *context;
    void (*parallel_for)(void *context, size_t count, void (*task)(void *argument, size_t index), void *argument);
} mtl_executor;

typedef struct mtl_session_options {
    size_t struct_size;             /* sizeof(mtl_session_options), for growth */
    const mtl_allocator *allocator; /* NULL: the plan's; copied */
    /* Rows of one tile, rounded up to a multiple of 16; 0: chosen from the size of the core's L2 cache. Scores do
     * not depend on it. */
    size_t tile_rows;
    /* Most rows of one call. Only plans with whole-batch steps need it (their workspace grows with it; 0: 1,024);
     * tiled plans take any number of rows in the same workspace and ignore it. */
    size_t max_rows;
    /* Who works on a call beside the calling thread: nobody when both are NULL; both at once is an error. The pool
     * and the executor's context must outlive the session's runs; the executor is copied. */
    mtl_pool *pool;
    const mtl_executor *executor;
    /* Most threads of one call, the calling one included, and tiles in the workspace: at most 1,024. 0: the pool's,
     * which is also the most with a pool; an executor needs a number. Plans with whole-batch steps always use one. */
    size_t threads;
    /* A call uses another thread for every so many rows. 0: from the plan's FLOPs, for threads that have to be woken;
     * a host whose executor wakes nobody may want fewer. */
    size_t rows_per_thread;
    /* Most users of one call, at most 2^20: the workspace has their values side by side. 0: 1. */
    size_t max_users;
} mtl_session_options;

typedef struct mtl_plan mtl_plan;       /* an opened, verified plan: immutable, shareable between threads */
typedef struct mtl_session mtl_session; /* the workspace of one call at a time */

/* Version of the library, "MAJOR.MINOR.PATCH". */
MTL_API const char *mtl_runtime_version(void);

/* Opens the plan file at `path`: maps it (see private_copy), verifies all of it, and chooses kernels for this CPU.
 * Options may be NULL. On success the caller owns *plan and gives it back with mtl_plan_close; on failure *plan is
 * NULL. The file may be replaced by rename while it is open, but must not be changed in place.
 * Errors: MTL_IO, MTL_INVALID_DATA (not a plan, truncated, damaged), MTL_UNSUPPORTED (a newer format, an ISA or
 * provider that is not here), MTL_OUT_OF_MEMORY, MTL_INVALID_ARGUMENT. */
MTL_API mtl_status mtl_plan_open(const char *path, const mtl_plan_options *options, mtl_plan **plan, mtl_error *error);

/* The same from `size` bytes at `data`, which is aligned to 64 and must outlive the plan; with private_copy any
 * alignment and lifetime will do. */
MTL_API mtl_status mtl_plan_open_memory(const void *data, size_t size, const mtl_plan_options *options, mtl_plan **plan,
                                        mtl_error *error);

/* Verifies the checksum of the constants: for plans opened with verify_lazily, when it suits the host (reads them all). Any thread, at any time, also while sessions run. Errors: MTL_INVALID_DATA. */
MTL_API mtl_status mtl_plan_verify(const mtl_plan *plan, mtl_error *error);

/* Closes a plan. All its sessions must have been destroyed. NULL is allowed. */
MTL_API void mtl_plan_close(mtl_plan *plan);

/* The signature, in the order in which mtl_session_run takes and gives tensors. `index` out of range gives NULL. */
MTL_API size_t mtl_plan_input_count(const mtl_plan *plan);
MTL_API size_t mtl_plan_output_count(const mtl_plan *plan);
MTL_API const mtl_tensor_info *mtl_plan_input(const mtl_plan *plan, size_t index);
MTL_API const mtl_tensor_info *mtl_plan_output(const mtl_plan *plan, size_t index);

/* Where inputs NAME.request and NAME.row come from, into which `mtlc --request 'NAME[:,FROM:TO]'` takes an input of the model
 * apart: the next `count` columns of the last axis of input `input` are columns from..from + count - 1 of the model's input
 * `source`, of whose last axis `width` is the extent. Those of one input are in order. `source` lives as long as the plan. */
typedef struct mtl_columns_info {
    const char *source;
    size_t input;
    int64_t from, count, width;
} mtl_columns_info;

/* Pieces of inputs of the model, by input of the plan; 0 where none was taken apart. `index` out of range: false, and
 * *columns is not written. */
MTL_API size_t mtl_plan_columns_count(const mtl_plan *plan);
MTL_API int mtl_plan_columns(const mtl_plan *plan, size_t index, mtl_columns_info *columns);

/* The params: float32 tensors of a fixed shape, in the order of mtlc's --param options. `index` out of range gives
 * NULL. `mtl_plan_param_default` is the model's own value, dense and row-major; it lives as long as the plan. */
MTL_API size_t mtl_plan_param_count(const mtl_plan *plan);
MTL_API const mtl_tensor_info *mtl_plan_param_info(const mtl_plan *plan, size_t index);
MTL_API const float *mtl_plan_param_default(const mtl_plan *plan, size_t index);
/* The index of the param of that name, MTL_NO_PARAM if there is none. */
#define MTL_NO_PARAM ((size_t)-1)
MTL_API size_t mtl_plan_find_param(const mtl_plan *plan, const char *name);

/* What an id outside of 0 .. rows - 1 of its table does, as `mtlc --ids` chose it: the run fails, it is taken as the
 * nearest row (0 or the last), as a row of zeros, or as row `row`. The numbers never change. Without --ids, ids are
 * what the model says: below 0 they count from the end, and others outside fail the run (docs/ids.md). */
typedef enum mtl_id_policy {
    MTL_IDS_ERROR = 1,
    MTL_IDS_CLAMP = 2,
    MTL_IDS_ZERO = 3,
    MTL_IDS_ROW = 4,
} mtl_id_policy;

/* Lookups with a policy: the ids of one input in one table. Names live as long as the plan. */
typedef struct mtl_lookup_info {
    const char *input; /* that the ids come from, through whatever computation */
    const char *table; /* the model's name of it */
    int64_t rows;      /* of the table */
    mtl_id_policy policy;
    int64_t row; /* of MTL_IDS_ROW, else 0 */
} mtl_lookup_info;

/* The lookups that have a policy, in no special order, the same in every process. `index` out of range gives NULL. */
MTL_API size_t mtl_plan_lookup_count(const mtl_plan *plan);
MTL_API const mtl_lookup_info *mtl_plan_lookup(const mtl_plan *plan, size_t index);

/* Elements of `dim` for a call with so many rows and users. */
MTL_API int64_t mtl_dim_extent(mtl_dim dim, int64_t rows, int64_t users);

/* Makes a pool and starts its threads. Threads without work sleep, after 5 microseconds of looking for more; a caller
 * whose call is finished but for a part that another thread is at work on looks for 50 before it sleeps. Threads are
 * named "mtlrt-1", "mtlrt-2", ... and block all signals. Options may be NULL. The caller owns *pool.
 * One pool may serve any number of sessions, called from any number of threads at once. The calling thread always
 * works on its own call, and waits only for parts that another thread has begun: when all of the pool is busy, it does
 * all of the work alone.
 * A pool does not survive fork: a child process must neither use nor destroy its parent's pool, nor run sessions on it.
 * Errors: MTL_OUT_OF_MEMORY (also when the system starts no more threads), MTL_INVALID_ARGUMENT. */
MTL_API mtl_status mtl_pool_create(const mtl_pool_options *options, mtl_pool **pool, mtl_error *error);
/* Ends and joins the threads, after the last run of a session on the pool; the sessions themselves may be destroyed
 * later. NULL is allowed. */
MTL_API void mtl_pool_destroy(mtl_pool *pool);
/* Threads that work on one call, the calling one included. */
MTL_API size_t mtl_pool_threads(const mtl_pool *pool);

/* Makes a session: allocates its workspace, exactly mtl_session_workspace_size bytes plus a small fixed header,
 * a counter for each lookup with a policy (mtl_plan_lookup), and for plans of several outputs what mtl_session_want
 * works in: 1/32 of a row of the workspace, tables of the steps' parts, and a tile of each output that
 * another one is computed from.
 * Options may be NULL. The caller owns *session; the plan must outlive it. Errors: MTL_OUT_OF_MEMORY,
 * MTL_INVALID_ARGUMENT (options that contradict each other). */
MTL_API mtl_status mtl_session_create(mtl_plan *plan, const mtl_session_options *options, mtl_session **session,
                                      mtl_error *error);
MTL_API void mtl_session_destroy(mtl_session *session); /* NULL is allowed */

/* Bytes of the workspace (users x request bytes + threads x tile bytes), most rows of one tile, and most threads of a
 * call. */
MTL_API size_t mtl_session_workspace_size(const mtl_session *session);
MTL_API size_t mtl_session_tile_rows(const mtl_session *session);
MTL_API size_t mtl_session_threads(const mtl_session *session);

/* Gives the session its own value of a param: as many floats at `data` as mtl_plan_param_info(plan, index) has elements,
 * row-major, copied into the workspace. Holds for the runs that follow until it is set again;
 * mtl_plan_param_default(plan, index) for `data` takes the model's value back. Other sessions do not see it. Like a
 * run it uses the session, so no run of the same session may be under way; it allocates nothing. Any float is taken,
 * NaN and infinities too: they do what they would have done as constants of the model.
 * Errors: MTL_INVALID_ARGUMENT (NULL session or data, index out of range or MTL_NO_PARAM); the value is as before. */
MTL_API mtl_status mtl_session_set_param(mtl_session *session, size_t index, const float *data, mtl_error *error);

/* Chooses the outputs that the runs that follow give: wanted[i] 0 leaves output i out, and with it all that no other one
 * needs, as far as the plan's steps have it apart: towers, gates, private experts, and their lookups (whose ids are then
 * neither refused nor counted). One byte for each output of the plan; NULL: all of them, as of a new session. The outputs that
 * are left out may be NULL in a run; if given they are not touched. Those that are wanted get the same bits as without
 * the choice. Like a run it uses the session, so no run of the same session may be under way; it allocates nothing and
 * takes microseconds.
 * Errors: MTL_INVALID_ARGUMENT (NULL session, no output wanted); the choice is as before. */
MTL_API mtl_status mtl_session_want(mtl_session *session, const unsigned char *wanted, mtl_error *error);

/* Ids outside of the table that lookup `lookup` of the plan has met in this session, all threads and runs together; 0 for
 * an index out of range. Each use of an id counts: one that is looked up in two tables counts in both. Never reset: a
 * service that wants rates takes differences. Any thread may ask at any time, also while the session runs, and waits for
 * nobody; ids of a run that has returned are all in. Of a run that failed, some are. */
MTL_API uint64_t mtl_session_outside_ids(const mtl_session *session, size_t lookup);

/* Scores `rows` candidates (0 is allowed and does nothing). inputs[i] and outputs[i] are dense row-major tensors of
 * mtl_plan_input(plan, i) and mtl_plan_output(plan, i) with `rows` filled in and one user, aligned to their
 * element size. Outputs must overlap neither inputs nor each other. Without pool and executor it uses only the calling
 * thread, allocates nothing, takes no lock and makes no system call.
 * Errors: MTL_INVALID_ARGUMENT (NULL tensor, but for outputs that are not wanted, negative rows, more rows than max_rows of a whole-batch plan),
 * MTL_INVALID_DATA (an id outside of its table: names input, row, value), MTL_INTERNAL (an executor that returned
 * before all of its tasks had run). The error is that of the first row that fails, whatever the threads. After
 * an error the outputs are unspecified and the session is usable. */
MTL_API mtl_status mtl_session_run(mtl_session *session, int64_t rows, const void *const *inputs, void *const *outputs,
                                   mtl_error *error);

/* A call for the candidates of one or more users. Inputs that `mtlc --request` declared to be the same for all candidates of a
 * user have extents with per_user in the signature: they hold a row for each user, and what depends on them alone is
 * computed once for each. */
typedef struct mtl_call {
    size_t struct_size; /* sizeof(mtl_call), for growth */
    int64_t rows;       /* candidates, 0 or more */
    int64_t users;      /* 1 to the session's max_users */
    /* user[i], 0 .. users - 1, is the user of candidate i. Any order; candidates of one user are faster one after the
     * other. NULL: all are of the one user. */
    const int32_t *user;
    const void *const *inputs; /* as of mtl_session_run, with `users` filled in where that has one */
    void *const *outputs;
} mtl_call;

/* Scores the candidates of a call, as mtl_session_run does for those of one user. Scores are the same bits whatever other
 * candidates and users are in the call. Errors: as of mtl_session_run; MTL_INVALID_ARGUMENT (users out of range, no
 * `user` for several users), MTL_INVALID_DATA (a user that is not there: names the row). */
MTL_API mtl_status mtl_session_run_call(mtl_session *session, const mtl_call *call, mtl_error *error);

#ifdef __cplusplus
}
#endif
#endif
