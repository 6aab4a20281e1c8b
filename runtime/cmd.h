/* `mtlrun`: its commands, and what they share. Not part of any library. */
#ifndef RUNTIME_CMD_H
#define RUNTIME_CMD_H

#include "mtlc/runtime.h"
#include "tool/args.h"

/* argv[0] is the command's name. They return the exit status: 0, or 1 after one line on standard error. */
int runtime_cmd_score(int argc, char **argv);
int runtime_cmd_info(int argc, char **argv);
int runtime_cmd_bench(int argc, char **argv);
int runtime_cmd_machine(int argc, char **argv);

/* --provider and --isa: texts to options. TOOL_ARGS_ERROR after one line on standard error. */
int runtime_cmd_provider(const tool_args *args, const char *text, mtl_plan_options *options);
int runtime_cmd_isa(const tool_args *args, const char *text, mtl_plan_options *options);
const char *runtime_cmd_provider_name(mtl_provider provider);

/* --param options: kept as they are until there is a plan to read them by. */
enum { RUNTIME_CMD_MOST_PARAMS = 256 };
typedef struct runtime_cmd_params {
    const char *texts[RUNTIME_CMD_MOST_PARAMS];
    size_t count;
} runtime_cmd_params;

/* Adds "NAME=NUMBERS". TOOL_ARGS_ERROR after one line on standard error. */
int runtime_cmd_param(const tool_args *args, const char *text, runtime_cmd_params *params);
/* Sets them in a session of the plan, in order. Errors: MTL_INVALID_ARGUMENT, MTL_OUT_OF_MEMORY. */
mtl_status runtime_cmd_set_params(const mtl_plan *plan, mtl_session *session, const runtime_cmd_params *params,
                                  mtl_error *error);

/* --only: the outputs that the names and patterns in `only`, with commas between them, match; NULL: all. Chooses them in a session
 * of the plan, and tells in wanted[output], 0 or 1. Errors: MTL_INVALID_ARGUMENT, MTL_OUT_OF_MEMORY. */
mtl_status runtime_cmd_want(const mtl_plan *plan, mtl_session *session, const char *only, unsigned char *wanted,
                            mtl_error *error);

#define RUNTIME_CMD_ONLY                                                                                               \
    {                                                                                                                  \
        "only", 0, "NAME,...",                                                                                         \
            "only these outputs, without what the others alone need;\n'*' is any characters, '?' one (default: all)"   \
    }
#define RUNTIME_CMD_PARAM                                                                                              \
    {                                                                                                                  \
        "param", 0, "NAME=NUMBERS", "set a param of the plan: NUMBER,NUMBER,... row-major; may be repeated"            \
    }
#define RUNTIME_CMD_PROVIDER                                                                                           \
    {                                                                                                                  \
        "provider", 0, "NAME", "whose kernels: auto (default), native or onednn"                                       \
    }
#define RUNTIME_CMD_ISA                                                                                                \
    {                                                                                                                  \
        "isa", 0, "NAME", "of the native kernels: auto (default), generic, avx2 or avx512"                             \
    }

#define RUNTIME_CMD_ROWS_PER_THREAD                                                                                    \
    {                                                                                                                  \
        "rows-per-thread", 0, "N", "rows that another thread is used for (default: by the plan's FLOPs)"               \
    }

/* Prints "mtlrun: MESSAGE" and returns 1. */
int runtime_cmd_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Returns 0, or 1 after saying that standard output could not be written. */
int runtime_cmd_flush(void);

#endif
