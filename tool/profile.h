/* What `mtlrun machine` and `mtlrun bench --profile` found out, as JSON and as a trace. */
#ifndef TOOL_PROFILE_H
#define TOOL_PROFILE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/diag.h"

enum { TOOL_MACHINE_LEVELS = 4 };

/* Speeds of one thread. */
typedef struct tool_machine {
    const char *isa;
    double flops; /* a second, of the best plain product */
    struct {
        const char *name;  /* "L1", "L2", "L3", "memory" */
        uint64_t capacity; /* bytes; 0 for memory */
        uint64_t bytes;    /* of the buffer that was read */
        double bytes_per_second;
    } read[TOOL_MACHINE_LEVELS]; /* the smallest first; memory is the last */
    size_t read_count;
} tool_machine;

/* The level that holds `bytes`: an index of `read`. */
size_t tool_machine_level(const tool_machine *machine, uint64_t bytes);

typedef struct tool_profile_step {
    size_t index;
    const char *program; /* "request" or "row" */
    const char *op, *function, *label, *kernel;
    double ns;                                 /* a call, all tiles together */
    double share;                              /* of all steps */
    uint64_t flops;                            /* a call */
    uint64_t weight_bytes, activation_bytes;   /* a call; weights once for each tile */
    double flops_per_second, bytes_per_second; /* achieved */
    double least_ns;                           /* what the machine needs at its best */
    bool bound_by_bytes;                       /* least_ns is that of the bytes, not of the FLOPs */
} tool_profile_step;

typedef struct tool_profile_run {
    long long rows;
    size_t tile_rows, tiles, calls;
    double call_us;               /* a call without timestamps */
    double steps_us;              /* all steps together */
    const char *activation_level; /* whose bandwidth counts */
    const tool_profile_step *steps;
    size_t step_count;
} tool_profile_run;

typedef struct tool_profile {
    const char *plan, *provider, *version; /* as in tool_bench */
    const char *only;                      /* as in tool_bench */
    double clock_ns;                       /* taken off each step */
    const tool_machine *machine;
    const char *weight_level; /* whose bandwidth counts */
    const tool_profile_run *runs;
    size_t run_count;
} tool_profile;

/* FLOPs, bytes and time of all steps. */
tool_profile_step tool_profile_total(const tool_profile_run *run);

/* Print one object and a newline. Errors: MTL_OUT_OF_MEMORY, MTL_IO. */
mtl_status tool_machine_print_json(const tool_machine *machine, FILE *out, base_diag *diag);
mtl_status tool_profile_print_json(const tool_profile *profile, FILE *out, base_diag *diag);

/* A complete event ("ph": "X"); times in nanoseconds. */
typedef struct tool_trace_event {
    const char *name, *kind; /* kind: "call", "tile" or "step" */
    const char *kernel;      /* of a step, else NULL */
    const char *op;          /* of a step, else NULL */
    int64_t step;            /* its index; below 0: none */
    int64_t tile;            /* below 0: not of one tile */
    int64_t rows;
    uint64_t begin, end;
} tool_trace_event;

/* Chrome trace JSON. Begin, any number of events of one thread, end. Errors: MTL_OUT_OF_MEMORY, MTL_IO. */
mtl_status tool_trace_begin(FILE *out, base_diag *diag);
mtl_status tool_trace_add(const tool_trace_event *event, uint64_t zero, bool first, FILE *out, base_diag *diag);
mtl_status tool_trace_end(FILE *out, base_diag *diag);

#endif
