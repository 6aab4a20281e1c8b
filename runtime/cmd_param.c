/* --param NAME=NUMBERS of score and bench. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "runtime/cmd.h"

int runtime_cmd_param(const tool_args *args, const char *text, runtime_cmd_params *params)
{
    const char *equals = strrchr(text, '='); /* names may hold one, numbers do not */
    if (equals == NULL || equals == text || equals[1] == '\0') {
        return tool_args_fail(args, "--param is '%s', expected NAME=NUMBER,NUMBER,...", text);
    }
    if (params->count == RUNTIME_CMD_MOST_PARAMS) {
        return tool_args_fail(args, "more than %d --param", RUNTIME_CMD_MOST_PARAMS);
    }
    params->texts[params->count++] = text;
    return 0;
}

static size_t elements(const mtl_tensor_info *info)
{
    size_t count = 1;
    for (int axis = 0; axis < info->rank; axis++) {
        count *= (size_t)info->shape[axis].fixed; /* its default is in memory: it fits */
    }
    return count;
}

/* The numbers of "0.5,0.3": at most `limit` are stored, all are counted. False: something else stands there. */
static bool parse_floats(const char *text, float *numbers, size_t limit, size_t *count)
{
    for (*count = 0;; text++) {
        char *end;
        errno = 0;
        double number = strtod(text, &end);
        float rounded = (float)number;
        if (end == text || (*end != ',' && *end != '\0') || (isinf(rounded) && isfinite(number)) ||
            (errno == ERANGE && fabs(number) > 1)) {
            return false;
        }
        if (*count < limit) {
            numbers[*count] = rounded;
        }
        ++*count;
        if (*end == '\0') {
            return true;
        }
        text = end;
    }
}

/* The plan's params in quotes, for a name that is none. */
static const char *param_names(const mtl_plan *plan, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < mtl_plan_param_count(plan); i++) {
        const char *name = mtl_plan_param_info(plan, i)->name;
        if (used + strlen(name) + 5 < size) {
            used += (size_t)snprintf(text + used, size - used, "%s'%s'", used > 0 ? ", " : "", name);
        }
    }
    return text;
}

static mtl_status set_param(const mtl_plan *plan, mtl_session *session, const char *text, base_diag *diag)
{
    const char *equals = strrchr(text, '=');
    char *name = strndup(text, (size_t)(equals - text));
    BASE_TRY_MEMORY(name, diag);
    size_t index = mtl_plan_find_param(plan, name), count;
    free(name);
    if (index == MTL_NO_PARAM) {
        char names[256];
        param_names(plan, names, sizeof names);
        return base_fail(diag, MTL_INVALID_ARGUMENT, "--param %.100s: the plan has no such param; %s%s", text,
                         names[0] != '\0' ? "there are " : "it was compiled without mtlc --param", names);
    }
    size_t expected = elements(mtl_plan_param_info(plan, index));
    float *numbers = calloc(expected, sizeof *numbers);
    BASE_TRY_MEMORY(numbers, diag);
    mtl_status status;
    if (!parse_floats(equals + 1, numbers, expected, &count)) {
        status =
            base_fail(diag, MTL_INVALID_ARGUMENT, "--param %.200s: expected NAME=NUMBER,NUMBER,... in float32", text);
    } else if (count != expected) {
        status = base_fail(diag, MTL_INVALID_ARGUMENT, "--param %.200s: %zu number%s, expected %zu", text, count,
                           count == 1 ? "" : "s", expected);
    } else {
        status = mtl_session_set_param(session, index, numbers, diag->error);
    }
    free(numbers);
    return status;
}

mtl_status runtime_cmd_set_params(const mtl_plan *plan, mtl_session *session, const runtime_cmd_params *params,
                                  mtl_error *error)
{
    base_diag diag = {.error = error};
    for (size_t i = 0; i < params->count; i++) {
        BASE_TRY(set_param(plan, session, params->texts[i], &diag));
    }
    return MTL_OK;
}
