/* What mtlrun score reads. Private to cmd_score*.c. */
#ifndef RUNTIME_CMD_SCORE_H
#define RUNTIME_CMD_SCORE_H

#include <stdbool.h>

#include "mtlc/runtime.h"
#include "tool/npz.h"

typedef struct runtime_score_request {
    const char *users; /* the array that says whose each candidate is; NULL: all are of one user */
    bool check;        /* inputs of users come with a row for each candidate, and are compared */
} runtime_score_request;

typedef struct runtime_score_inputs {
    size_t count;
    const void **data; /* by input of the plan; in the arrays, or owned */
    void **owned;
    int64_t rows, users;
    int32_t *user; /* of each row; NULL: all are of user 0 */
} runtime_score_inputs;

/* Matches the arrays with the plan's inputs and params. `in` refers to the arrays and is to be freed whatever the result
 * is: 0, or 1 after one line on standard error. */
int runtime_score_inputs_new(const mtl_plan *plan, const tool_npz *npz, const char *path,
                             const runtime_score_request *request, runtime_score_inputs *in);
void runtime_score_inputs_free(runtime_score_inputs *in);

#endif
