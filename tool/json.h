/* The JSON that `mtlrun bench --json` prints. */
#ifndef TOOL_JSON_H
#define TOOL_JSON_H

#include <stdio.h>

#include "base/diag.h"

typedef struct tool_bench_result {
    long long rows;
    int threads;              /* of one call */
    double median_us, p99_us; /* a call */
    double rows_per_second;   /* of all callers together */
} tool_bench_result;

typedef struct tool_bench {
    const char *plan;                                    /* its path */
    const char *provider, *isa;                          /* as chosen; may be NULL */
    const char *version;                                 /* of the runtime; may be NULL */
    size_t workspace_bytes, tile_rows;                   /* of one session, with the threads of the last result */
    int callers;                                         /* at once, each with a session */
    const char *only;                                    /* the outputs that are computed, as asked for; NULL: all */
    unsigned long long flops_per_row, all_flops_per_row; /* of those; of all outputs */
    const tool_bench_result *results;
    size_t result_count;
} tool_bench;

/* Prints one object and a newline: the fields above by their names, `results` as an array of objects.
 * Errors: MTL_OUT_OF_MEMORY, MTL_IO. */
mtl_status tool_bench_print_json(const tool_bench *bench, FILE *out, base_diag *diag);

#endif
