/* mtlrun score: arrays in, scores out, both .npz. */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "runtime/cmd.h"
#include "runtime/cmd_score.h"
#include "tool/npz.h"

typedef struct score_options {
    const char *plan, *inputs, *outputs;
    mtl_plan_options open;
    mtl_session_options session;
    runtime_cmd_params params;
    runtime_score_request request;
    const char *only; /* outputs, NULL: all */
    size_t threads;   /* of a pool; 0, 1: this thread alone */
} score_options;

/* Shape and memory of an output for so many rows. False: too large, or no memory. The caller frees array->data. */
static bool make_output(const mtl_tensor_info *info, int64_t rows, tool_array *array, void **data)
{
    *array = (tool_array){.name = info->name, .dtype = info->dtype, .rank = info->rank};
    array->bytes = mtl_dtype_size(info->dtype);
    for (int axis = 0; axis < info->rank; axis++) {
        array->shape[axis] = mtl_dim_extent(info->shape[axis], rows, 1);
        if (!base_mul_size(array->bytes, (size_t)array->shape[axis], &array->bytes)) {
            return false;
        }
    }
    *data = calloc(1, array->bytes > 0 ? array->bytes : 1);
    array->data = *data;
    return *data != NULL;
}

static mtl_status write_outputs(const char *path, const tool_array *arrays, size_t count, base_diag *diag)
{
    tool_npz_writer *writer;
    BASE_TRY(tool_npz_writer_new(path, diag, &writer));
    for (size_t i = 0; i < count; i++) {
        mtl_status status = tool_npz_writer_add(writer, &arrays[i]);
        if (status != MTL_OK) {
            tool_npz_writer_discard(writer);
            return status;
        }
    }
    return tool_npz_writer_commit(writer);
}

/* From the arrays, which match has checked, then from the command line. */
static mtl_status set_params(const mtl_plan *plan, mtl_session *session, const score_options *options,
                             const tool_npz *npz, mtl_error *error)
{
    for (size_t i = 0; i < mtl_plan_param_count(plan); i++) {
        const tool_array *array = tool_npz_find(npz, mtl_plan_param_info(plan, i)->name);
        if (array != NULL) {
            BASE_TRY(mtl_session_set_param(session, i, (const float *)array->data, error));
        }
    }
    return runtime_cmd_set_params(plan, session, &options->params, error);
}

/* What policies for ids outside of their tables had to do. */
static void report_outside(const mtl_plan *plan, const mtl_session *session)
{
    static const char *const policies[] = {[MTL_IDS_CLAMP] = "taken as the nearest row",
                                           [MTL_IDS_ZERO] = "taken as zeros",
                                           [MTL_IDS_ROW] = "taken as row "};
    for (size_t i = 0; i < mtl_plan_lookup_count(plan); i++) {
        const mtl_lookup_info *lookup = mtl_plan_lookup(plan, i);
        uint64_t count = mtl_session_outside_ids(session, i);
        char row[24] = "";
        if (lookup->policy == MTL_IDS_ROW) {
            (void)snprintf(row, sizeof row, "%" PRId64, lookup->row);
        }
        if (count > 0) {
            fprintf(stderr, "mtlrun: input '%s', table '%s': ids outside 0..%" PRId64 ": %" PRIu64 ", %s%s\n",
                    lookup->input, lookup->table, lookup->rows - 1, count, policies[lookup->policy], row);
        }
    }
}

/* Chooses the outputs that are asked for and makes places for them: data[i] of output i, NULL for others; and their arrays,
 * `used` of them. */
static mtl_status make_outputs(const mtl_plan *plan, mtl_session *session, const score_options *options, int64_t rows,
                               tool_array *arrays, void **data, size_t *used, mtl_error *error)
{
    base_diag diag = {.error = error};
    size_t count = mtl_plan_output_count(plan);
    unsigned char *wanted = calloc(count, 1);
    *used = 0;
    BASE_TRY_MEMORY(wanted, &diag);
    mtl_status status = runtime_cmd_want(plan, session, options->only, wanted, error);
    for (size_t i = 0; i < count && status == MTL_OK; i++) {
        if (wanted[i] != 0 && !make_output(mtl_plan_output(plan, i), rows, &arrays[(*used)++], &data[i])) {
            status = base_fail_memory(&diag);
        }
    }
    free(wanted);
    return status;
}

static int score_rows(mtl_plan *plan, const score_options *options, const tool_npz *npz, const runtime_score_inputs *in)
{
    int64_t rows = in->rows;
    mtl_error error = {.message = "out of memory"};
    base_diag diag = {.error = &error};
    size_t count = mtl_plan_output_count(plan), used = 0;
    mtl_session_options session_options = options->session;
    if (session_options.max_rows == 0) {
        session_options.max_rows = (size_t)rows; /* read by plans that run whole batches only */
    }
    session_options.max_users = (size_t)(in->users > 0 ? in->users : 1);
    mtl_session *session = NULL;
    mtl_pool_options pool_options = {.struct_size = sizeof pool_options, .threads = options->threads};
    mtl_status status = MTL_OK;
    if (options->threads > 1) {
        status = mtl_pool_create(&pool_options, &session_options.pool, &error);
    }
    if (status == MTL_OK) {
        status = mtl_session_create(plan, &session_options, &session, &error);
    }
    tool_array *arrays = calloc(count, sizeof *arrays);
    void **data = calloc(count, sizeof *data);
    if (status == MTL_OK && (arrays == NULL || data == NULL)) {
        status = MTL_OUT_OF_MEMORY;
    }
    if (status == MTL_OK) {
        status = make_outputs(plan, session, options, rows, arrays, data, &used, &error);
    }
    if (status == MTL_OK) {
        status = set_params(plan, session, options, npz, &error);
    }
    if (status == MTL_OK) {
        const mtl_call call = {.struct_size = sizeof call,
                               .rows = rows,
                               .users = in->users,
                               .user = in->user,
                               .inputs = in->data,
                               .outputs = data};
        status = mtl_session_run_call(session, &call, &error);
        if (status == MTL_INVALID_DATA) { /* an id: the file is the place */
            char message[MTL_ERROR_MESSAGE_SIZE];
            memcpy(message, error.message, sizeof message);
            base_diag again = {.error = &error, .file = options->inputs};
            base_fail(&again, status, "%s", message);
        }
    }
    if (status == MTL_OK) {
        report_outside(plan, session);
        status = write_outputs(options->outputs, arrays, used, &diag);
    }
    for (size_t i = 0; data != NULL && i < count; i++) {
        free(data[i]);
    }
    free(data);
    free(arrays);
    mtl_session_destroy(session);
    mtl_pool_destroy(session_options.pool);
    return status == MTL_OK ? 0 : runtime_cmd_fail("%s", error.message);
}

static int score(const score_options *options)
{
    mtl_error error;
    base_diag diag = {.error = &error};
    mtl_plan *plan;
    if (mtl_plan_open(options->plan, &options->open, &plan, &error) != MTL_OK) {
        return runtime_cmd_fail("%s", error.message);
    }
    int result = 1;
    tool_npz *npz = NULL;
    runtime_score_inputs in = {.count = 0};
    if (tool_npz_open(options->inputs, &diag, &npz) != MTL_OK) {
        runtime_cmd_fail("%s", error.message);
    } else if (runtime_score_inputs_new(plan, npz, options->inputs, &options->request, &in) == 0) {
        result = score_rows(plan, options, npz, &in);
    }
    runtime_score_inputs_free(&in);
    tool_npz_close(npz);
    mtl_plan_close(plan);
    return result;
}

static int read_count(const tool_args *args, const char *name, const char *text, size_t *count)
{
    long long number;
    if (!tool_parse_number(text, 1, INT32_MAX, &number)) {
        return tool_args_fail(args, "--%s is '%s', expected a whole number from 1", name, text);
    }
    *count = (size_t)number;
    return 0;
}

int runtime_cmd_score(int argc, char **argv)
{
    enum {
        OPTION_INPUTS,
        OPTION_OUTPUTS,
        OPTION_ONLY,
        OPTION_PARAM,
        OPTION_PROVIDER,
        OPTION_ISA,
        OPTION_TILE_ROWS,
        OPTION_MAX_ROWS,
        OPTION_THREADS,
        OPTION_ROWS_PER_THREAD,
        OPTION_USERS,
        OPTION_CHECK_REQUEST,
        OPTION_COUNT
    };
    static const tool_option table[OPTION_COUNT] = {
        [OPTION_INPUTS] = {"inputs", 'i', "IN.npz",
                           "one array for every input of the plan, by name; others set params"},
        [OPTION_OUTPUTS] = {"outputs", 'o', "OUT.npz", "written whole or not at all"},
        [OPTION_ONLY] = RUNTIME_CMD_ONLY,
        [OPTION_PARAM] = RUNTIME_CMD_PARAM,
        [OPTION_PROVIDER] = RUNTIME_CMD_PROVIDER,
        [OPTION_ISA] = RUNTIME_CMD_ISA,
        [OPTION_TILE_ROWS] = {"tile-rows", 0, "N", "rows of a tile (default: by the L2 cache)"},
        [OPTION_MAX_ROWS] = {"max-rows", 0, "N", "most rows, for plans that run whole batches (default: those of IN)"},
        [OPTION_THREADS] = {"threads", 0, "N", "threads that work on the rows (default: 1)"},
        [OPTION_ROWS_PER_THREAD] = RUNTIME_CMD_ROWS_PER_THREAD,
        [OPTION_USERS] = {"users", 0, "NAME",
                          "the array in IN that says whose each candidate is, 0.. (default: one user)"},
        [OPTION_CHECK_REQUEST] = {"check-request", 0, NULL,
                                  "inputs of users have a row for each candidate in IN: fail where they differ"},
    };
    tool_args args = {
        .program = "mtlrun score",
        .version = mtl_runtime_version(),
        .usage = "PLAN --inputs IN.npz --outputs OUT.npz [OPTION]...",
        .summary = "Scores the candidates in IN.npz.",
        .options = table,
        .option_count = OPTION_COUNT,
        .argc = argc,
        .argv = argv,
    };
    score_options options = {.open = {.struct_size = sizeof options.open},
                             .session = {.struct_size = sizeof options.session}};
    const char *value;
    int option, failed = 0;
    while (failed == 0 && (option = tool_args_next(&args, &value)) != TOOL_ARGS_END) {
        switch (option) {
        case OPTION_INPUTS: options.inputs = value; break;
        case OPTION_OUTPUTS: options.outputs = value; break;
        case OPTION_ONLY: options.only = value; break;
        case OPTION_PARAM: failed = runtime_cmd_param(&args, value, &options.params); break;
        case OPTION_PROVIDER: failed = runtime_cmd_provider(&args, value, &options.open); break;
        case OPTION_ISA: failed = runtime_cmd_isa(&args, value, &options.open); break;
        case OPTION_TILE_ROWS: failed = read_count(&args, "tile-rows", value, &options.session.tile_rows); break;
        case OPTION_MAX_ROWS: failed = read_count(&args, "max-rows", value, &options.session.max_rows); break;
        case OPTION_THREADS: failed = read_count(&args, "threads", value, &options.threads); break;
        case OPTION_ROWS_PER_THREAD:
            failed = read_count(&args, "rows-per-thread", value, &options.session.rows_per_thread);
            break;
        case OPTION_USERS: options.request.users = value; break;
        case OPTION_CHECK_REQUEST: options.request.check = true; break;
        case TOOL_ARGS_POSITIONAL:
            failed = options.plan != NULL ? tool_args_fail(&args, "one PLAN is expected, '%s' is another", value) : 0;
            options.plan = value;
            break;
        case TOOL_ARGS_DONE: return runtime_cmd_flush();
        default: return 1;
        }
    }
    if (failed == 0 && (options.plan == NULL || options.inputs == NULL || options.outputs == NULL)) {
        failed = tool_args_fail(&args, "expected %s",
                                options.plan == NULL     ? "a PLAN"
                                : options.inputs == NULL ? "--inputs IN.npz"
                                                         : "--outputs OUT.npz");
    }
    return failed != 0 ? 1 : score(&options);
}
