/* --only NAME,... of score and bench. */
#define _POSIX_C_SOURCE 200809L /* strdup */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "base/names.h"
#include "runtime/cmd.h"

static mtl_status unknown(const mtl_plan *plan, const char *pattern, base_diag *diag)
{
    base_name_list list = {0};
    for (size_t i = 0; i < mtl_plan_output_count(plan); i++) {
        base_list_name(&list, mtl_plan_output(plan, i)->name);
    }
    return base_fail(diag, MTL_INVALID_ARGUMENT, "--only %.100s: the plan has no such output, but %s", pattern,
                     list.text);
}

static mtl_status mark(const mtl_plan *plan, const char *pattern, unsigned char *wanted, base_diag *diag)
{
    bool found = false;
    for (size_t i = 0; i < mtl_plan_output_count(plan); i++) {
        if (base_name_matches(pattern, mtl_plan_output(plan, i)->name)) {
            wanted[i] = 1;
            found = true;
        }
    }
    return found ? MTL_OK : unknown(plan, pattern, diag);
}

mtl_status runtime_cmd_want(const mtl_plan *plan, mtl_session *session, const char *only, unsigned char *wanted,
                            mtl_error *error)
{
    base_diag diag = {.error = error};
    size_t count = mtl_plan_output_count(plan);
    if (only == NULL) {
        memset(wanted, 1, count);
        return MTL_OK;
    }
    char *patterns = strdup(only);
    BASE_TRY_MEMORY(patterns, &diag);
    mtl_status status = MTL_OK;
    memset(wanted, 0, count);
    for (char *at = patterns, *comma; status == MTL_OK && at != NULL; at = comma) {
        comma = strchr(at, ',');
        if (comma != NULL) {
            *comma++ = '\0';
        }
        status = mark(plan, at, wanted, &diag);
    }
    free(patterns);
    return status == MTL_OK ? mtl_session_want(session, wanted, error) : status;
}
