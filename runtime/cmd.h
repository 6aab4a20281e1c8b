/* `mtlrun`: its commands, and what they share. Not part of any library. */
#ifndef RUNTIME_CMD_H
#define RUNTIME_CMD_H

#include "mtlc/runtime.h"
#include "tool/args.h"

/* argv[0] is the command's name. They return the exit status: 0, or 1 after one line on standard error. */
int runtime_cmd_score(int argc, char **argv);
int runtime_cmd_info(int argc, char **argv);
int runtime_cmd_bench(int argc, char **argv);

/* --provider and --isa: texts to options. TOOL_ARGS_ERROR after one line on standard error. */
int runtime_cmd_provider(const tool_args *args, const char *text, mtl_plan_options *options);
int runtime_cmd_isa(const tool_args *args, const char *text, mtl_plan_options *options);
const char *runtime_cmd_provider_name(mtl_provider provider);

#define RUNTIME_CMD_PROVIDER                                                                                           \
    {                                                                                                                  \
        "provider", 0, "NAME", "whose kernels: auto (default), native or onednn"                                       \
    }
#define RUNTIME_CMD_ISA                                                                                                \
    {                                                                                                                  \
        "isa", 0, "NAME", "of the native kernels: auto (default), generic, avx2 or avx512"                             \
    }

/* Prints "mtlrun: MESSAGE" and returns 1. */
int runtime_cmd_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Returns 0, or 1 after saying that standard output could not be written. */
int runtime_cmd_flush(void);

#endif
