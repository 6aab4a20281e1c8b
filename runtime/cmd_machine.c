/* mtlrun machine: the speeds that profiles are compared with. */
#include <stdio.h>

#include "runtime/cmd.h"
#include "runtime/machine.h"

static void print_text(const tool_machine *machine)
{
    printf("%s kernels, one thread\n", machine->isa);
    printf("%-8s %14s %14s\n", "", "cache bytes", "read GB/s");
    for (size_t i = 0; i < machine->read_count; i++) {
        char capacity[32] = "-";
        if (machine->read[i].capacity > 0) {
            snprintf(capacity, sizeof capacity, "%llu", (unsigned long long)machine->read[i].capacity);
        }
        printf("%-8s %14s %14.1f\n", machine->read[i].name, capacity, machine->read[i].bytes_per_second * 1e-9);
    }
    printf("products %14s %14.1f GFLOP/s\n", "", machine->flops * 1e-9);
}

int runtime_cmd_machine(int argc, char **argv)
{
    enum { OPTION_JSON, OPTION_ISA, OPTION_COUNT };
    static const tool_option table[OPTION_COUNT] = {
        [OPTION_JSON] = {"json", 0, NULL, "print one JSON object"},
        [OPTION_ISA] = RUNTIME_CMD_ISA,
    };
    tool_args args = {
        .program = "mtlrun machine",
        .version = mtl_runtime_version(),
        .usage = "[--json] [--isa NAME]",
        .summary = "Measures, with one thread, the speed of the best plain product of our kernels, and how fast\n"
                   "each level of the memory is read.",
        .options = table,
        .option_count = OPTION_COUNT,
        .argc = argc,
        .argv = argv,
    };
    mtl_plan_options options = {.struct_size = sizeof options};
    const char *value, *isa = "auto";
    bool json = false;
    int option, failed = 0;
    while (failed == 0 && (option = tool_args_next(&args, &value)) != TOOL_ARGS_END) {
        switch (option) {
        case OPTION_JSON: json = true; break;
        case OPTION_ISA:
            failed = runtime_cmd_isa(&args, value, &options);
            isa = value;
            break;
        case TOOL_ARGS_POSITIONAL: failed = tool_args_fail(&args, "'%s' is not expected", value); break;
        case TOOL_ARGS_DONE: return runtime_cmd_flush();
        default: return 1;
        }
    }
    if (failed != 0) {
        return 1;
    }
    const native_kernels *native = native_select(options.isa);
    if (native == NULL) {
        return runtime_cmd_fail("this CPU or this build has no %s kernels", isa);
    }
    mtl_error error;
    base_diag diag = {.error = &error};
    tool_machine machine;
    mtl_status status = runtime_machine_measure(native, &diag, &machine);
    if (status == MTL_OK && json) {
        status = tool_machine_print_json(&machine, stdout, &diag);
    } else if (status == MTL_OK) {
        print_text(&machine);
    }
    return status == MTL_OK ? runtime_cmd_flush() : runtime_cmd_fail("%s", error.message);
}
