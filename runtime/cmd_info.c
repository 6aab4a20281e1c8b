/* mtlrun info: what is in a plan, and which kernels this CPU gets. */
#include <stdio.h>
#include <stdlib.h>

#include "runtime/cmd.h"
#include "runtime/internal.h"
#include "tool/info.h"

static int print_info(const mtl_plan *plan, const char *path, bool json)
{
    mtl_error error;
    base_diag diag = {.error = &error, .file = path};
    size_t count = plan->view.step_count;
    const char **kernels = calloc(count + 1, sizeof *kernels);
    if (kernels == NULL) {
        return runtime_cmd_fail("%s: out of memory", path);
    }
    for (size_t i = 0; i < count; i++) {
        kernels[i] = runtime_step_kernel(plan, i);
    }
    mtl_status status = tool_info_print(&plan->view, path, kernels, json, stdout, &diag);
    free(kernels);
    return status == MTL_OK ? runtime_cmd_flush() : runtime_cmd_fail("%s", error.message);
}

int runtime_cmd_info(int argc, char **argv)
{
    enum { OPTION_JSON, OPTION_PROVIDER, OPTION_ISA, OPTION_COUNT };
    static const tool_option table[OPTION_COUNT] = {
        [OPTION_JSON] = {"json", 0, NULL, "print one JSON object"},
        [OPTION_PROVIDER] = RUNTIME_CMD_PROVIDER,
        [OPTION_ISA] = RUNTIME_CMD_ISA,
    };
    tool_args args = {
        .program = "mtlrun info",
        .version = mtl_runtime_version(),
        .usage = "PLAN [--json] [OPTION]...",
        .summary = "Prints a plan's signature, steps and sizes, and the kernel that each step gets here.",
        .options = table,
        .option_count = OPTION_COUNT,
        .argc = argc,
        .argv = argv,
    };
    mtl_plan_options options = {.struct_size = sizeof options};
    const char *path = NULL, *value;
    bool json = false;
    int option, failed = 0;
    while (failed == 0 && (option = tool_args_next(&args, &value)) != TOOL_ARGS_END) {
        switch (option) {
        case OPTION_JSON: json = true; break;
        case OPTION_PROVIDER: failed = runtime_cmd_provider(&args, value, &options); break;
        case OPTION_ISA: failed = runtime_cmd_isa(&args, value, &options); break;
        case TOOL_ARGS_POSITIONAL:
            failed = path != NULL ? tool_args_fail(&args, "one PLAN is expected, '%s' is another", value) : 0;
            path = value;
            break;
        case TOOL_ARGS_DONE: return runtime_cmd_flush();
        default: return 1;
        }
    }
    if (failed == 0 && path == NULL) {
        failed = tool_args_fail(&args, "expected a PLAN");
    }
    if (failed != 0) {
        return 1;
    }
    mtl_error error;
    mtl_plan *plan;
    if (mtl_plan_open(path, &options, &plan, &error) != MTL_OK) {
        return runtime_cmd_fail("%s", error.message);
    }
    int status = print_info(plan, path, json);
    mtl_plan_close(plan);
    return status;
}
