/* The program `mtlrun`: a thin wrapper around libmtlrt. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/cmd.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"score", runtime_cmd_score},
    {"info", runtime_cmd_info},
    {"bench", runtime_cmd_bench},
    {"machine", runtime_cmd_machine},
};

int runtime_cmd_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("mtlrun: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return 1;
}

int runtime_cmd_flush(void)
{
    if (fflush(stdout) != 0 || ferror(stdout)) {
        return runtime_cmd_fail("standard output: cannot write: %s", strerror(errno));
    }
    return 0;
}

/* The place of `text` among `count` names, or -1. */
static int find(const char *const *names, int count, const char *text)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], text) == 0) {
            return i;
        }
    }
    return -1;
}

static const char *const providers[] = {"auto", "native", "onednn"};     /* mtl_provider */
static const char *const isas[] = {"auto", "generic", "avx2", "avx512"}; /* mtl_isa */

int runtime_cmd_provider(const tool_args *args, const char *text, mtl_plan_options *options)
{
    int found = find(providers, 3, text);
    if (found < 0) {
        return tool_args_fail(args, "--provider is '%s', expected auto, native or onednn", text);
    }
    options->provider = (mtl_provider)found;
    return 0;
}

int runtime_cmd_isa(const tool_args *args, const char *text, mtl_plan_options *options)
{
    int found = find(isas, 4, text);
    if (found < 0) {
        return tool_args_fail(args, "--isa is '%s', expected auto, generic, avx2 or avx512", text);
    }
    options->isa = (mtl_isa)found;
    return 0;
}

const char *runtime_cmd_provider_name(mtl_provider provider)
{
    return providers[provider];
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file-size limit is an error of write, with a message */
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    tool_args args = {
        .program = "mtlrun",
        .version = mtl_runtime_version(),
        .usage = "score PLAN --inputs IN.npz --outputs OUT.npz [OPTION]...\n"
                 "info PLAN [--json]\n"
                 "bench PLAN [--rows 1,16,64] [--threads 1] [--json] [OPTION]...\n"
                 "bench PLAN --profile [--trace FILE] [--rows 64] [--json] [OPTION]...\n"
                 "machine [--json]",
        .summary = "Runs plans made by mtlc. `mtlrun COMMAND --help` tells more about a command.",
        .argc = argc,
        .argv = argv,
    };
    const char *value;
    int option = tool_args_next(&args, &value);
    if (option == TOOL_ARGS_DONE) {
        return runtime_cmd_flush();
    }
    if (option == TOOL_ARGS_POSITIONAL) {
        tool_args_fail(&args, "unknown command '%s', expected score, info, bench or machine", value);
    } else if (option == TOOL_ARGS_END) {
        tool_args_fail(&args, "expected a command: score, info, bench or machine");
    }
    return 1;
}
