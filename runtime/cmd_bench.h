/* What the files of `mtlrun bench` share. Not part of any library. */
#ifndef RUNTIME_CMD_BENCH_H
#define RUNTIME_CMD_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mtlc/runtime.h"
#include "runtime/cmd.h"

/* `batches` times the inputs of a plan. */
typedef struct runtime_bench_inputs {
    size_t batches, count;
    void **data; /* [batch * count + input] */
} runtime_bench_inputs;

/* Ids that are allowed for each input: those of the smallest table that it reaches; 0 where it reaches none. */
void runtime_bench_limits(const mtl_plan *plan, int64_t *limits);
/* Bytes of a tensor at the boundary. False: too large. */
bool runtime_bench_bytes(const mtl_tensor_info *info, int64_t rows, size_t *bytes);
/* Makes up the inputs; on failure what was made is still to be freed. */
bool runtime_bench_inputs_new(const mtl_plan *plan, int64_t rows, const int64_t *limits, runtime_bench_inputs *inputs);
void runtime_bench_inputs_free(runtime_bench_inputs *inputs);

/* FLOPs of one candidate: of the outputs that are chosen in the session, and of all. */
void runtime_bench_flops(const mtl_session *session, unsigned long long *chosen, unsigned long long *all);

typedef struct runtime_bench_profile_options {
    const char *path, *provider; /* of the plan; as asked for */
    const char *trace;           /* a file to write, or NULL */
    mtl_session_options session;
    const runtime_cmd_params *params;
    const char *only; /* outputs, NULL: all */
    const long long *rows;
    size_t row_counts;
    double seconds; /* for each row count */
    bool json;
    const int64_t *limits;
} runtime_bench_profile_options;

/* cmd_profile.c: times the steps of `plan` and prints. Returns 0, or 1 after one line on standard error. */
int runtime_bench_profile(mtl_plan *plan, const runtime_bench_profile_options *options);

#endif
