/* mtlrun bench: microseconds a call, for some row counts and threads, on made-up inputs. A call runs on a pool of so
 * many threads; some callers at once share it, each with a session of its own. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/cmd.h"
#include "runtime/cmd_bench.h"
#include "runtime/internal.h"
#include "runtime/native/native.h"
#include "tool/json.h"

enum {
    MOST_ROW_COUNTS = 64,
    MOST_THREADS = 1024,
    MOST_SAMPLES = 1 << 20, /* calls of one measurement of one thread */
    WARM_UP_CALLS = 5,
};

typedef struct bench_options {
    const char *plan;
    mtl_plan_options open;
    mtl_session_options session;
    runtime_cmd_params params;
    const char *only; /* outputs, NULL: all */
    long long rows[MOST_ROW_COUNTS], threads[MOST_ROW_COUNTS];
    size_t row_counts, thread_counts, callers;
    double seconds;
    bool json, profile;
    const char *trace; /* a file for the trace of the profile, or NULL */
} bench_options;

/* --- one measurement --- */

typedef struct bench_worker {
    mtl_plan *plan;
    const bench_options *options;
    const runtime_bench_inputs *inputs;
    int64_t rows;
    pthread_barrier_t *start;
    mtl_pool *pool; /* NULL: the caller's thread alone */
    mtl_session *session;
    void **outputs;
    float *samples; /* microseconds a call */
    size_t calls;
    double elapsed; /* seconds of all calls */
    mtl_status status;
    mtl_error error;
} bench_worker;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static mtl_status call(bench_worker *w, size_t turn)
{
    const runtime_bench_inputs *inputs = w->inputs;
    const void *const *data = (const void *const *)(inputs->data + turn % inputs->batches * inputs->count);
    return mtl_session_run(w->session, w->rows, data, w->outputs, &w->error);
}

static void *work(void *argument)
{
    bench_worker *w = argument;
    for (size_t i = 0; i < WARM_UP_CALLS && w->status == MTL_OK; i++) {
        w->status = call(w, i);
    }
    pthread_barrier_wait(w->start);
    double begin = now(), before = begin;
    while (w->status == MTL_OK && w->calls < MOST_SAMPLES && (w->calls < 3 || before - begin < w->options->seconds)) {
        w->status = call(w, w->calls);
        double after = now();
        w->samples[w->calls++] = (float)((after - before) * 1e6);
        before = after;
    }
    w->elapsed = before - begin;
    return NULL;
}

static void worker_free(bench_worker *w)
{
    for (size_t i = 0; w->outputs != NULL && i < mtl_plan_output_count(w->plan); i++) {
        free(w->outputs[i]);
    }
    free(w->outputs);
    free(w->samples);
    mtl_session_destroy(w->session);
}

static void worker_new(bench_worker *w)
{
    size_t count = mtl_plan_output_count(w->plan);
    mtl_session_options options = w->options->session;
    options.max_rows = (size_t)w->rows;
    options.pool = w->pool;
    w->status = mtl_session_create(w->plan, &options, &w->session, &w->error);
    if (w->status == MTL_OK) {
        w->status = runtime_cmd_set_params(w->plan, w->session, &w->options->params, &w->error);
    }
    unsigned char *wanted = calloc(count, 1);
    if (w->status == MTL_OK && wanted != NULL) {
        w->status = runtime_cmd_want(w->plan, w->session, w->options->only, wanted, &w->error);
    }
    w->outputs = calloc(count, sizeof *w->outputs);
    w->samples = malloc(MOST_SAMPLES * sizeof *w->samples);
    bool made = w->outputs != NULL && w->samples != NULL && wanted != NULL;
    free(wanted);
    for (size_t i = 0; made && i < count; i++) {
        size_t bytes;
        made = runtime_bench_bytes(mtl_plan_output(w->plan, i), w->rows, &bytes) &&
               (w->outputs[i] = malloc(bytes > 0 ? bytes : 1)) != NULL;
    }
    if (w->status == MTL_OK && !made) {
        base_diag diag = {.error = &w->error};
        w->status = base_fail_memory(&diag);
    }
}

static int by_time(const void *a, const void *b)
{
    float left = *(const float *)a, right = *(const float *)b;
    return (left > right) - (left < right);
}

/* Median and 99th percentile over the calls of all callers together. */
static bool summarise(bench_worker *workers, size_t callers, tool_bench_result *result)
{
    size_t total = 0, used = 0;
    for (size_t i = 0; i < callers; i++) {
        total += workers[i].calls;
        result->rows_per_second += (double)workers[i].calls * (double)result->rows / workers[i].elapsed;
    }
    float *all = malloc(total * sizeof *all);
    if (all == NULL) {
        return false;
    }
    for (size_t i = 0; i < callers; i++) {
        memcpy(all + used, workers[i].samples, workers[i].calls * sizeof *all);
        used += workers[i].calls;
    }
    qsort(all, total, sizeof *all, by_time);
    result->median_us = (double)all[total / 2];
    result->p99_us = (double)all[(total - 1) * 99 / 100];
    free(all);
    return true;
}

enum { START_FAILED = 2 };

/* All workers are ready: starts them, but the first, which is this thread. */
static int run_workers(bench_worker *workers, size_t callers)
{
    pthread_t ids[MOST_THREADS];
    pthread_barrier_t start;
    if (pthread_barrier_init(&start, NULL, (unsigned)callers) != 0) {
        return runtime_cmd_fail("cannot make a barrier for %zu callers", callers);
    }
    size_t started = 1;
    for (size_t i = 0; i < callers; i++) {
        workers[i].start = &start;
    }
    while (started < callers && pthread_create(&ids[started], NULL, work, &workers[started]) == 0) {
        started++;
    }
    if (started < callers) { /* those that run wait at the barrier for ever: end with the process */
        runtime_cmd_fail("cannot start %zu callers", callers);
        return START_FAILED;
    }
    work(&workers[0]);
    for (size_t i = 1; i < callers; i++) {
        pthread_join(ids[i], NULL);
    }
    pthread_barrier_destroy(&start);
    return 0;
}

static int tell_failure(const bench_worker *workers, const bench_options *options)
{
    for (size_t i = 0; i < options->callers; i++) {
        if (workers[i].status != MTL_OK) {
            return runtime_cmd_fail("%s: %s", options->plan, workers[i].error.message);
        }
    }
    return 0;
}

/* All callers' sessions and one measurement on them; what was made is still to be freed, but after START_FAILED. */
static int measure_workers(bench_worker *workers, const bench_options *options, tool_bench *bench)
{
    for (size_t i = 0; i < options->callers; i++) {
        worker_new(&workers[i]);
    }
    int failed = tell_failure(workers, options);
    if (failed == 0) {
        bench->workspace_bytes = mtl_session_workspace_size(workers[0].session);
        bench->tile_rows = mtl_session_tile_rows(workers[0].session);
        runtime_bench_flops(workers[0].session, &bench->flops_per_row, &bench->all_flops_per_row);
        failed = run_workers(workers, options->callers);
    }
    return failed != 0 ? failed : tell_failure(workers, options);
}

static int measure(mtl_plan *plan, const bench_options *options, const runtime_bench_inputs *inputs,
                   tool_bench_result *result, tool_bench *bench)
{
    mtl_pool *pool = NULL;
    mtl_error error;
    mtl_pool_options pool_options = {.struct_size = sizeof pool_options, .threads = (size_t)result->threads};
    if (result->threads > 1 && mtl_pool_create(&pool_options, &pool, &error) != MTL_OK) {
        return runtime_cmd_fail("%s", error.message);
    }
    bench_worker *workers = calloc(options->callers, sizeof *workers);
    int failed = workers == NULL ? runtime_cmd_fail("out of memory") : 0;
    for (size_t i = 0; failed == 0 && i < options->callers; i++) {
        workers[i] =
            (bench_worker){.plan = plan, .options = options, .inputs = inputs, .rows = result->rows, .pool = pool};
    }
    if (failed == 0) {
        failed = measure_workers(workers, options, bench);
        if (failed == START_FAILED) {
            return failed;
        }
    }
    if (failed == 0 && !summarise(workers, options->callers, result)) {
        failed = runtime_cmd_fail("out of memory");
    }
    for (size_t i = 0; workers != NULL && i < options->callers; i++) {
        worker_free(&workers[i]);
    }
    free(workers);
    mtl_pool_destroy(pool);
    return failed;
}

/* An offset that the plan adds to ids, say, makes the limits of its tables too wide: halves them until calls pass. */
static mtl_status fit_limits(mtl_plan *plan, const bench_options *options, int64_t *limits)
{
    bench_worker w = {.plan = plan, .options = options, .rows = options->rows[0]}; /* of one thread */
    for (size_t i = 1; i < options->row_counts; i++) {
        w.rows = options->rows[i] > w.rows ? options->rows[i] : w.rows;
    }
    worker_new(&w);
    mtl_status status = w.status;
    for (int attempt = 0; attempt < 64 && status == MTL_OK; attempt++) {
        runtime_bench_inputs inputs;
        bool made = runtime_bench_inputs_new(plan, w.rows, limits, &inputs);
        w.inputs = &inputs;
        status = MTL_OK;
        for (size_t i = 0; made && i < inputs.batches && status == MTL_OK; i++) {
            status = call(&w, i);
        }
        runtime_bench_inputs_free(&inputs);
        if (!made || status != MTL_INVALID_DATA) {
            break;
        }
        status = MTL_OK;
        for (size_t i = 0; i < mtl_plan_input_count(plan); i++) {
            limits[i] = limits[i] > 1 ? limits[i] / 2 : 1;
        }
    }
    worker_free(&w);
    return status;
}

/* --- the command --- */

static void print_table(const tool_bench *bench)
{
    if (bench->callers > 1) {
        printf("%d callers at once; rows/s of all together\n", bench->callers);
    }
    printf("%s: %zu bytes of workspace, tiles of %zu rows, %s kernels for %s\n", bench->plan, bench->workspace_bytes,
           bench->tile_rows, bench->provider, bench->isa);
    if (bench->only != NULL) {
        printf("only %s: %llu of %llu FLOPs a row\n", bench->only, bench->flops_per_row, bench->all_flops_per_row);
    }
    printf("%8s %8s %12s %12s %14s\n", "rows", "threads", "median us", "p99 us", "rows/s");
    for (size_t i = 0; i < bench->result_count; i++) {
        const tool_bench_result *r = &bench->results[i];
        printf("%8lld %8d %12.2f %12.2f %14.0f\n", r->rows, r->threads, r->median_us, r->p99_us, r->rows_per_second);
    }
}

static int bench_all(mtl_plan *plan, const bench_options *options, const int64_t *limits, tool_bench_result *results,
                     tool_bench *bench)
{
    for (size_t i = 0; i < options->row_counts; i++) {
        runtime_bench_inputs inputs;
        int failed = 0;
        if (!runtime_bench_inputs_new(plan, options->rows[i], limits, &inputs)) {
            failed = runtime_cmd_fail("out of memory for the inputs of %lld rows", options->rows[i]);
        }
        for (size_t j = 0; j < options->thread_counts && failed == 0; j++) {
            tool_bench_result *result = &results[bench->result_count];
            *result = (tool_bench_result){.rows = options->rows[i], .threads = (int)options->threads[j]};
            failed = measure(plan, options, &inputs, result, bench);
            bench->result_count++;
        }
        runtime_bench_inputs_free(&inputs);
        if (failed != 0) {
            return failed;
        }
    }
    return 0;
}

static int profile_plan(mtl_plan *plan, const bench_options *options, const int64_t *limits)
{
    return runtime_bench_profile(plan, &(runtime_bench_profile_options){
                                           .path = options->plan,
                                           .provider = runtime_cmd_provider_name(options->open.provider),
                                           .trace = options->trace,
                                           .session = options->session,
                                           .params = &options->params,
                                           .only = options->only,
                                           .rows = options->rows,
                                           .row_counts = options->row_counts,
                                           .seconds = options->seconds,
                                           .json = options->json,
                                           .limits = limits,
                                       });
}

static int bench_plan(mtl_plan *plan, const bench_options *options)
{
    tool_bench_result *results = calloc(options->row_counts * options->thread_counts, sizeof *results);
    int64_t *limits = calloc(mtl_plan_input_count(plan) + 1, sizeof *limits);
    int failed = results == NULL || limits == NULL;
    if (failed) {
        runtime_cmd_fail("out of memory");
    } else {
        runtime_bench_limits(plan, limits);
        mtl_error error;
        base_diag diag = {.error = &error};
        tool_bench bench = {
            .plan = options->plan,
            .provider = runtime_cmd_provider_name(options->open.provider),
            .isa = plan->native->name,
            .version = mtl_runtime_version(),
            .callers = (int)options->callers,
            .only = options->only,
            .results = results,
        };
        fit_limits(plan, options, limits); /* what still fails is told by the measurement */
        if (options->profile) {
            failed = profile_plan(plan, options, limits);
        } else {
            failed = bench_all(plan, options, limits, results, &bench);
        }
        if (options->profile) {
            /* has been printed */
        } else if (failed == 0 && options->json) {
            failed = tool_bench_print_json(&bench, stdout, &diag) != MTL_OK && runtime_cmd_fail("%s", error.message);
        } else if (failed == 0) {
            print_table(&bench);
        }
    }
    free(limits);
    free(results);
    return failed != 0 ? 1 : runtime_cmd_flush();
}

static int read_seconds(const tool_args *args, const char *text, double *seconds)
{
    char *end;
    *seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(*seconds > 0 && *seconds <= 3600)) {
        return tool_args_fail(args, "--seconds is '%s', expected a number above 0, at most 3600", text);
    }
    return 0;
}

static int read_list(const tool_args *args, const char *name, const char *text, long long most, long long *numbers,
                     size_t *count)
{
    if (!tool_parse_numbers(text, 1, most, numbers, MOST_ROW_COUNTS, count)) {
        return tool_args_fail(args, "--%s is '%s', expected up to %d whole numbers from 1 to %lld, like 1,16,64", name,
                              text, MOST_ROW_COUNTS, most);
    }
    return 0;
}

enum {
    OPTION_ROWS,
    OPTION_THREADS,
    OPTION_CALLERS,
    OPTION_ROWS_PER_THREAD,
    OPTION_SECONDS,
    OPTION_JSON,
    OPTION_PROFILE,
    OPTION_TRACE,
    OPTION_ONLY,
    OPTION_PARAM,
    OPTION_PROVIDER,
    OPTION_ISA,
    OPTION_TILE_ROWS,
    OPTION_COUNT
};

static const tool_option option_table[OPTION_COUNT] = {
    [OPTION_ROWS] = {"rows", 0, "LIST", "candidates a call (default: 1,16,64)"},
    [OPTION_THREADS] = {"threads", 0, "LIST", "threads that work on one call (default: 1)"},
    [OPTION_CALLERS] = {"callers", 0, "N",
                        "threads that call at once, each with a session of its own, and share those\n"
                        "that work on calls (default: 1)"},
    [OPTION_ROWS_PER_THREAD] = RUNTIME_CMD_ROWS_PER_THREAD,
    [OPTION_SECONDS] = {"seconds", 0, "S", "time of one measurement (default: 1)"},
    [OPTION_JSON] = {"json", 0, NULL, "print one JSON object"},
    [OPTION_PROFILE] = {"profile", 0, NULL,
                        "tell the time, FLOPs and bytes of each step, and its share of\nwhat this machine can do"},
    [OPTION_TRACE] = {"trace", 0, "FILE",
                      "with --profile (implied): write Chrome trace JSON, for Perfetto\nor about://tracing"},
    [OPTION_ONLY] = RUNTIME_CMD_ONLY,
    [OPTION_PARAM] = RUNTIME_CMD_PARAM,
    [OPTION_PROVIDER] = RUNTIME_CMD_PROVIDER,
    [OPTION_ISA] = RUNTIME_CMD_ISA,
    [OPTION_TILE_ROWS] = {"tile-rows", 0, "N", "rows of a tile (default: by the L2 cache)"},
};

static int read_count(const tool_args *args, const char *name, const char *text, long long most, size_t *count)
{
    long long number;
    if (!tool_parse_number(text, 1, most, &number)) {
        return tool_args_fail(args, "--%s is '%s', expected a whole number from 1 to %lld", name, text, most);
    }
    *count = (size_t)number;
    return 0;
}

/* TOOL_ARGS_END when all is read; TOOL_ARGS_DONE; or TOOL_ARGS_ERROR. */
static int read_arguments(tool_args *args, bench_options *options)
{
    const char *value;
    int option, failed = 0;
    while (failed == 0 && (option = tool_args_next(args, &value)) != TOOL_ARGS_END) {
        switch (option) {
        case OPTION_ROWS:
            failed = read_list(args, "rows", value, INT32_MAX, options->rows, &options->row_counts);
            break;
        case OPTION_THREADS:
            failed = read_list(args, "threads", value, MOST_THREADS, options->threads, &options->thread_counts);
            break;
        case OPTION_CALLERS: failed = read_count(args, "callers", value, MOST_THREADS, &options->callers); break;
        case OPTION_ROWS_PER_THREAD:
            failed = read_count(args, "rows-per-thread", value, INT32_MAX, &options->session.rows_per_thread);
            break;
        case OPTION_SECONDS: failed = read_seconds(args, value, &options->seconds); break;
        case OPTION_JSON: options->json = true; break;
        case OPTION_TRACE: options->trace = value; /* fallthrough */
        case OPTION_PROFILE: options->profile = true; break;
        case OPTION_ONLY: options->only = value; break;
        case OPTION_PARAM: failed = runtime_cmd_param(args, value, &options->params); break;
        case OPTION_PROVIDER: failed = runtime_cmd_provider(args, value, &options->open); break;
        case OPTION_ISA: failed = runtime_cmd_isa(args, value, &options->open); break;
        case OPTION_TILE_ROWS:
            failed = read_count(args, "tile-rows", value, INT32_MAX, &options->session.tile_rows);
            break;
        case TOOL_ARGS_POSITIONAL:
            failed = options->plan != NULL ? tool_args_fail(args, "one PLAN is expected, '%s' is another", value) : 0;
            options->plan = value;
            break;
        default: return option;
        }
    }
    if (failed == 0 && options->plan == NULL) {
        failed = tool_args_fail(args, "expected a PLAN");
    }
    if (failed == 0 && options->profile &&
        (options->thread_counts != 1 || options->threads[0] != 1 || options->callers != 1)) {
        failed = tool_args_fail(args, "--profile times the steps of one thread, expected --threads 1 and --callers 1");
    }
    return failed == 0 ? TOOL_ARGS_END : TOOL_ARGS_ERROR;
}

int runtime_cmd_bench(int argc, char **argv)
{
    tool_args args = {
        .program = "mtlrun bench",
        .version = mtl_runtime_version(),
        .usage = "PLAN [OPTION]...",
        .summary = "Times a plan on made-up inputs: normal numbers, and ids within each table.",
        .options = option_table,
        .option_count = OPTION_COUNT,
        .argc = argc,
        .argv = argv,
    };
    bench_options options = {
        .open = {.struct_size = sizeof options.open},
        .session = {.struct_size = sizeof options.session},
        .rows = {1, 16, 64},
        .row_counts = 3,
        .threads = {1},
        .thread_counts = 1,
        .callers = 1,
        .seconds = 1,
    };
    int read = read_arguments(&args, &options);
    if (read != TOOL_ARGS_END) {
        return read == TOOL_ARGS_DONE ? runtime_cmd_flush() : 1;
    }
    mtl_error error;
    mtl_plan *plan;
    if (mtl_plan_open(options.plan, &options.open, &plan, &error) != MTL_OK) {
        return runtime_cmd_fail("%s", error.message);
    }
    int failed = bench_plan(plan, &options);
    mtl_plan_close(plan);
    return failed;
}
