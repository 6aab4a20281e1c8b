/* The program `mtlc`: options in, one call, one line when it fails. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "compiler/evaluate.h"
#include "compiler/weights.h"
#include "mtlc/compiler.h"
#include "passes/passes.h"
#include "tool/args.h"
#include "tool/npz.h"
#include "tool/terminal.h"

enum { MOST_DIMS = 64, MOST_PARAMS = 256, MOST_IDS = 1024, MOST_OUTPUTS = 1024, MOST_REQUESTS = 1024 };

enum {
    OPTION_OUTPUT,
    OPTION_EXPLAIN,
    OPTION_PRINT_IR,
    OPTION_CONSTANTS,
    OPTION_HEADING_PART,
    OPTION_OUTPUTS,
    OPTION_HEADING_SHAPES,
    OPTION_DIM,
    OPTION_BATCH_AXIS0,
    OPTION_ALLOW_F32,
    OPTION_HEADING_LANGUAGE,
    OPTION_WEIGHTS,
    OPTION_INIT,
    OPTION_HEADING_REQUEST,
    OPTION_REQUEST,
    OPTION_EMIT_TOWERS,
    OPTION_HEADING_PARAMS,
    OPTION_PARAM,
    OPTION_PRINT_PARAMS,
    OPTION_HEADING_IDS,
    OPTION_IDS,
    OPTION_HEADING_MORE,
    OPTION_FOLD_LIMIT,
    OPTION_EVALUATE,
    OPTION_LIST_PASSES,
};

static const tool_option options[] = {
    [OPTION_OUTPUT] = {"output", 'o', "PLAN", "write the plan here; without it the model is only checked"},
    [OPTION_EXPLAIN] = {"explain", 0, NULL,
                        "print what became of every node, FLOPs, bytes and the workspace\nformula on standard output"},
    [OPTION_PRINT_IR] = {"print-ir", 0, "[=after-PASS]",
                         "print the graph as text on standard output, after the last\npass or after PASS"},
    [OPTION_CONSTANTS] = {"constants", 0, "OUT.npz", "write the constants that --print-ir shows as a hash only"},
    [OPTION_HEADING_PART] = {NULL, 0, NULL, "A part of the model:"},
    [OPTION_OUTPUTS] =
        {"outputs", 0, "NAME,...",
         "only these outputs; '*' is any characters, '?' one. What the others alone\nneed is left out; may be "
         "repeated"},
    [OPTION_HEADING_SHAPES] = {NULL, 0, NULL, "Shapes and types:"},
    [OPTION_DIM] = {"dim", 0, "NAME=NUMBER",
                    "fix the symbolic dim NAME (INPUT:AXIS=NUMBER for one without a\nname); NAME=row makes NAME the "
                    "candidates where first axes differ"},
    [OPTION_BATCH_AXIS0] = {"batch-axis0", 0, NULL, "the fixed first axes of the inputs are the candidates"},
    [OPTION_ALLOW_F32] = {"allow-f32", 0, NULL, "compute a float64 graph in float32"},
    [OPTION_HEADING_LANGUAGE] = {NULL, 0, NULL, "Weights of rankers in the language (RANKER.mtl):"},
    [OPTION_WEIGHTS] = {"weights", 0, "FILE", "take them from this file, .safetensors or .npz"},
    [OPTION_INIT] = {"init", 0, "SEED", "make them up, to plan capacity before training"},
    [OPTION_HEADING_REQUEST] = {NULL, 0, NULL, "One user, many candidates:"},
    [OPTION_REQUEST] = {"request", 0, "NAME,...",
                        "these inputs are the same for all candidates of one user: computed once\na user, not once a "
                        "candidate. Names, globs (user_*), columns of an\ninput (x[:,0:128,256:]: the plan takes "
                        "x.request and x.row instead of x),\n@FILE with one a line; may be repeated. Without it the "
                        "model's metadata\n'mtlc.request' says. What the model has once and copies to all "
                        "candidates\nis found; none: neither"},
    [OPTION_EMIT_TOWERS] = {"emit-towers", 0, "PREFIX",
                            "cut a twin-tower model whose user inputs --request names: write\nPREFIX.user.plan, "
                            "PREFIX.item.plan, whose outputs can be stored, and\nPREFIX.score.plan, which reads the "
                            "outputs of both; goes without -o"},
    [OPTION_HEADING_PARAMS] = {NULL, 0, NULL, "Constants that services tune:"},
    [OPTION_PARAM] = {"param", 0, "NAME",
                      "leave the constant NAME (score-fusion weights, say) open: settable for\neach session, the "
                      "model's numbers by default; may be repeated"},
    [OPTION_PRINT_PARAMS] = {"print-params", 0, NULL, "print the constants that --param can name, the smallest first"},
    [OPTION_HEADING_IDS] = {NULL, 0, NULL, "Ids outside of their tables:"},
    [OPTION_IDS] =
        {"ids", 0, "NAME=POLICY",
         "what they do in lookups by the input NAME, in the table NAME, or '*':\nerror (the run fails; below "
         "0, too), clamp (the nearest row), zero (a row\nof zeros), row:N (row N); counted for each session; "
         "may be repeated.\nWithout it ids below 0 count from the end and others fail the run"},
    [OPTION_HEADING_MORE] = {NULL, 0, NULL, "Limits and checks:"},
    [OPTION_FOLD_LIMIT] = {"fold-limit", 0, "BYTES", "largest constant that folding may create (default 268435456)"},
    [OPTION_EVALUATE] = {"evaluate", 0, "IN.npz",
                         "compute the model's outputs in float64 by the reference evaluator,\nwithout passes or plan, "
                         "into the npz of --output"},
    [OPTION_LIST_PASSES] = {"list-passes", 0, NULL, "print the passes in order"},
};

typedef struct command_line {
    const char *model, *plan, *towers, *evaluate, *constants, *weights;
    const char *dims[MOST_DIMS], *params[MOST_PARAMS], *ids[MOST_IDS], *outputs[MOST_OUTPUTS], *requests[MOST_REQUESTS];
    base_arena arena; /* of names in lists */
    mtl_compile_options compile;
} command_line;

static int print_passes(void)
{
    for (size_t i = 0; i < passes_count; i++) {
        printf("%-20s %s\n", passes_list[i].name, passes_list[i].summary);
    }
    return TOOL_ARGS_DONE;
}

/* "ctr,cvr" */
static int add_outputs(const tool_args *args, const char *value, command_line *command)
{
    char *names = base_arena_string(&command->arena, value);
    if (names == NULL) {
        return tool_args_fail(args, "out of memory");
    }
    for (char *name = names, *comma; name != NULL; name = comma) {
        comma = strchr(name, ',');
        if (comma != NULL) {
            *comma++ = '\0';
        }
        if (*name == '\0') {
            return tool_args_fail(args, "--outputs %s: expected NAME,...", value);
        }
        if (command->compile.output_count == MOST_OUTPUTS) {
            return tool_args_fail(args, "more than %d --outputs", MOST_OUTPUTS);
        }
        command->outputs[command->compile.output_count++] = name;
    }
    return 0;
}

/* Applies one option; a TOOL_ARGS_ code when it ends the program, else 0. */
static int apply(tool_args *args, int option, const char *value, command_line *command)
{
    mtl_compile_options *compile = &command->compile;
    long long number;
    switch (option) {
    case TOOL_ARGS_POSITIONAL:
        if (command->model != NULL) {
            return tool_args_fail(args, "one model at a time: '%s' and '%s'", command->model, value);
        }
        command->model = value;
        return 0;
    case OPTION_OUTPUT: command->plan = value; return 0;
    case OPTION_EXPLAIN: compile->explain = stdout; return 0;
    case OPTION_PRINT_IR:
        compile->print_ir = stdout;
        if (value != NULL && strncmp(value, "after-", 6) != 0) {
            return tool_args_fail(args, "--print-ir=%s: expected after-PASS", value);
        }
        compile->print_ir_after = value != NULL ? value + 6 : NULL;
        return 0;
    case OPTION_CONSTANTS: command->constants = value; return 0;
    case OPTION_DIM:
        if (compile->dim_count == MOST_DIMS) {
            return tool_args_fail(args, "more than %d --dim", MOST_DIMS);
        }
        command->dims[compile->dim_count++] = value;
        return 0;
    case OPTION_REQUEST:
        if (compile->request_count == MOST_REQUESTS) {
            return tool_args_fail(args, "more than %d --request", MOST_REQUESTS);
        }
        command->requests[compile->request_count++] = value;
        return 0;
    case OPTION_PARAM:
        if (compile->param_count == MOST_PARAMS) {
            return tool_args_fail(args, "more than %d --param", MOST_PARAMS);
        }
        command->params[compile->param_count++] = value;
        return 0;
    case OPTION_IDS:
        if (compile->id_count == MOST_IDS) {
            return tool_args_fail(args, "more than %d --ids", MOST_IDS);
        }
        command->ids[compile->id_count++] = value;
        return 0;
    case OPTION_PRINT_PARAMS: compile->print_params = stdout; return 0;
    case OPTION_BATCH_AXIS0: compile->batch_axis0 = 1; return 0;
    case OPTION_ALLOW_F32: compile->allow_f32 = 1; return 0;
    case OPTION_FOLD_LIMIT:
        if (!tool_parse_number(value, 1, INT64_MAX, &number)) {
            return tool_args_fail(args, "--fold-limit %s: expected a number of bytes", value);
        }
        compile->fold_byte_budget = (size_t)number;
        return 0;
    case OPTION_WEIGHTS: command->weights = value; return 0;
    case OPTION_INIT:
        if (!tool_parse_number(value, 0, INT64_MAX, &number)) {
            return tool_args_fail(args, "--init %s: expected a whole number", value);
        }
        compile->init_weights = 1;
        compile->init_seed = (unsigned long long)number;
        return 0;
    case OPTION_EVALUATE: command->evaluate = value; return 0;
    case OPTION_EMIT_TOWERS: command->towers = value; return 0;
    case OPTION_OUTPUTS: return add_outputs(args, value, command);
    case OPTION_LIST_PASSES: return print_passes();
    default: return option;
    }
}

static int parse(tool_args *args, command_line *command)
{
    const char *value;
    for (int option; (option = tool_args_next(args, &value)) != TOOL_ARGS_END;) {
        int code = apply(args, option, value, command);
        if (code != 0) {
            return code;
        }
    }
    if (command->model == NULL) {
        return tool_args_fail(args, "no model");
    }
    if (command->weights != NULL && command->compile.init_weights != 0) {
        return tool_args_fail(args, "--weights goes without --init");
    }
    if (command->evaluate != NULL && command->plan == NULL) {
        return tool_args_fail(args, "--evaluate goes with --output OUT.npz");
    }
    if (command->towers != NULL && (command->plan != NULL || command->constants != NULL)) {
        return tool_args_fail(args, "--emit-towers goes without --output, --evaluate and --constants");
    }
    if (command->constants != NULL && command->compile.print_ir == NULL) {
        return tool_args_fail(args, "--constants goes with --print-ir");
    }
    return 0;
}

/* The npz writer wants its data until it commits; the compiler lends a constant for one call only. */
typedef struct constants_file {
    base_arena arena;
    tool_npz_writer *writer;
} constants_file;

static mtl_status keep_constant(void *context, const char *name, const mtl_tensor_info *info, const void *data)
{
    constants_file *file = context;
    tool_array array = {.name = name, .dtype = info->dtype, .rank = info->rank, .bytes = mtl_dtype_size(info->dtype)};
    for (int32_t axis = 0; axis < info->rank; axis++) {
        array.shape[axis] = info->shape[axis].fixed;
        array.bytes *= (size_t)info->shape[axis].fixed;
    }
    array.data = base_arena_copy(&file->arena, data, array.bytes);
    return array.data == NULL ? MTL_OUT_OF_MEMORY : tool_npz_writer_add(file->writer, &array);
}

static mtl_status compile(command_line *command, mtl_error *error)
{
    base_diag diag = {.error = error};
    constants_file constants = {.writer = NULL};
    tool_progress progress = {0};
    command->compile.progress = tool_progress_show;
    command->compile.progress_context = &progress;
    if (command->constants != NULL) {
        BASE_TRY(tool_npz_writer_new(command->constants, &diag, &constants.writer));
        command->compile.print_constant = keep_constant;
        command->compile.print_constant_context = &constants;
    }
    mtl_status status = command->towers != NULL
                            ? mtl_compile_towers(command->model, command->towers, &command->compile, error)
                            : mtl_compile_file(command->model, command->plan, &command->compile, error);
    tool_progress_end(&progress);
    if (status == MTL_OK && constants.writer != NULL) {
        status = tool_npz_writer_commit(constants.writer);
    } else {
        tool_npz_writer_discard(constants.writer);
    }
    base_arena_free(&constants.arena);
    return status;
}

static int fail(const char *message)
{
    fprintf(stderr, "mtlc: %s\n", message);
    return EXIT_FAILURE;
}

static int run(tool_args *args, command_line *command)
{
    int code = parse(args, command);
    if (code != 0) {
        return code == TOOL_ARGS_DONE && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    compiler_weights *weights = NULL;
    if (command->weights != NULL) {
        if (compiler_weights_open(command->weights, &diag, &weights) != MTL_OK) {
            return fail(error.message);
        }
        command->compile.find_weight = compiler_weights_find;
        command->compile.find_weight_context = weights;
    }
    command->compile.errors = stderr;
    mtl_status status = command->evaluate != NULL ? compiler_evaluate(command->model, command->evaluate, command->plan,
                                                                      &command->compile, &error)
                                                  : compile(command, &error);
    if (status == MTL_OK && weights != NULL) {
        compiler_weights_tell_unused(weights, command->weights, stderr);
    }
    compiler_weights_close(weights);
    if (status != MTL_OK) {
        return fail(error.message);
    }
    return fflush(stdout) == 0 ? EXIT_SUCCESS : fail("cannot write to standard output");
}

int main(int argc, char **argv)
{
    tool_args args = {.program = "mtlc",
                      .version = mtl_compiler_version(),
                      .usage = "MODEL.onnx|RANKER.mtl -o PLAN [OPTIONS]",
                      .summary = "Compiles a multi-task ranker into a plan for libmtlrt.",
                      .options = options,
                      .option_count = sizeof options / sizeof options[0],
                      .argv = argv,
                      .argc = argc,
                      .at = 1};
    command_line command = {.compile = {.struct_size = sizeof command.compile}};
    command.compile.dims = command.dims;
    command.compile.params = command.params;
    command.compile.ids = command.ids;
    command.compile.outputs = command.outputs;
    command.compile.request = command.requests;
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit is a failed write like any other */
    int code = run(&args, &command);
    base_arena_free(&command.arena);
    return code;
}
