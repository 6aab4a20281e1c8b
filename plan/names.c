#include <stdio.h>
#include <string.h>

#include "plan/plan.h"

/* Which list of functions an op takes its function from. */
typedef enum list {
    LIST_NONE,
    LIST_UNARY,
    LIST_BINARY,
    LIST_REDUCE,
    LIST_SOFTMAX,
    LIST_MIX,
    LIST_SCAN,
    LIST_IDS,
    LIST_BAG
} list;

static const struct {
    const char *name;
    list functions;
} ops[] = {
#define PLAN_OP(number, name, min_inputs, max_inputs, attrs, functions) [number] = {#name, LIST_##functions},
#include "plan/ops.def"
#undef PLAN_OP
};

static const struct {
    const char *name;
    unsigned parameters;
} unaries[] = {
#define PLAN_UNARY(number, name, parameters) [number] = {#name, parameters},
#include "plan/ops.def"
#undef PLAN_UNARY
};

static const char *const binaries[] = {
#define PLAN_BINARY(number, name, result) [number] = #name,
#include "plan/ops.def"
#undef PLAN_BINARY
};

static const char *const reduces[] = {
#define PLAN_REDUCE(number, name) [number] = #name,
#include "plan/ops.def"
#undef PLAN_REDUCE
};

static const char *const softmaxes[] = {
#define PLAN_SOFTMAX(number, name) [number] = #name,
#include "plan/ops.def"
#undef PLAN_SOFTMAX
};

static const char *const mixes[] = {
#define PLAN_MIX(number, name) [number] = #name,
#include "plan/ops.def"
#undef PLAN_MIX
};

static const char *const scans[] = {
#define PLAN_SCAN(number, name) [number] = #name,
#include "plan/ops.def"
#undef PLAN_SCAN
};

static const char *const ids[] = {
#define PLAN_IDS(number, name) [number] = #name,
#include "plan/ops.def"
#undef PLAN_IDS
};

static const char *const bags[] = {
#define PLAN_BAG(number, name) [number] = #name,
#include "plan/ops.def"
#undef PLAN_BAG
};

static const unsigned char sinces[] = {
#define PLAN_OP_SINCE(minor, name) [PLAN_OP_##name] = minor,
#include "plan/ops.def"
#undef PLAN_OP_SINCE
};

static const unsigned char function_sinces[] = {
#define PLAN_FUNCTION_SINCE(minor, name) [PLAN_OP_##name] = minor,
#include "plan/ops.def"
#undef PLAN_FUNCTION_SINCE
};

static const struct {
    unsigned char minor;
    size_t inputs;
} operand_sinces[] = {
#define PLAN_OPERANDS_SINCE(minor, name, operands) [PLAN_OP_##name] = {minor, operands},
#include "plan/ops.def"
#undef PLAN_OPERANDS_SINCE
};

static const struct {
    uint32_t inputs; /* a mask */
    bool result;
} windows[] = {
#define ALL UINT32_MAX
#define PLAN_WINDOWS(name, inputs, result) [PLAN_OP_##name] = {inputs, result},
#include "plan/ops.def"
#undef PLAN_WINDOWS
#undef ALL
};

static const uint32_t users[] = {
#define PLAN_USERS(name, inputs) [PLAN_OP_##name] = inputs,
#include "plan/ops.def"
#undef PLAN_USERS
};

static const unsigned char spans[] = {
#define PLAN_SPANS(name, kind) [PLAN_OP_##name] = PLAN_SPAN_##kind,
#include "plan/ops.def"
#undef PLAN_SPANS
};

#define LENGTH(array) (sizeof(array) / sizeof(array)[0])

const char *plan_op_name(unsigned op)
{
    return op < LENGTH(ops) && ops[op].name != NULL ? ops[op].name : "?";
}

static const char *name_at(const char *const *names, size_t count, unsigned number)
{
    return number < count && names[number] != NULL ? names[number] : "";
}

const char *plan_function_name(unsigned op, unsigned function)
{
    switch (op < LENGTH(ops) ? ops[op].functions : LIST_NONE) {
    case LIST_NONE: break;
    case LIST_UNARY: return function < LENGTH(unaries) && unaries[function].name != NULL ? unaries[function].name : "";
    case LIST_BINARY: return name_at(binaries, LENGTH(binaries), function);
    case LIST_REDUCE: return name_at(reduces, LENGTH(reduces), function);
    case LIST_SOFTMAX: return name_at(softmaxes, LENGTH(softmaxes), function);
    case LIST_MIX: return name_at(mixes, LENGTH(mixes), function);
    case LIST_SCAN: return name_at(scans, LENGTH(scans), function);
    case LIST_IDS: return name_at(ids, LENGTH(ids), function);
    case LIST_BAG: return name_at(bags, LENGTH(bags), function);
    }
    return "";
}

void plan_step_function(const plan_view *view, const plan_step *step, char *text, size_t size)
{
    snprintf(text, size, "%s", plan_function_name(step->op, step->function));
    for (unsigned i = 0; step->op == PLAN_OP_chain && i + PLAN_CHAIN_ATTRS <= step->attr_count; i += PLAN_CHAIN_ATTRS) {
        const int64_t *link = view->attrs + step->attrs + i;
        unsigned op = link[PLAN_CHAIN_OPERAND] == 0 ? PLAN_OP_unary : PLAN_OP_binary;
        const char *name = plan_function_name(op, (unsigned)link[PLAN_CHAIN_FUNCTION]);
        size_t used = strlen(text), left = size - used;
        if (strlen(name) + sizeof ", ..." > left) {
            snprintf(text + used, left, "%s", left > strlen("...") ? "..." : "");
            return;
        }
        snprintf(text + used, left, "%s%s", i > 0 ? ", " : "", name);
    }
}

bool plan_takes_window(unsigned op, size_t i)
{
    uint32_t inputs = op < LENGTH(windows) ? windows[op].inputs : 0;
    return inputs == UINT32_MAX || (i < 32 && (inputs >> i & 1) != 0);
}

bool plan_gives_window(unsigned op)
{
    return op < LENGTH(windows) && windows[op].result;
}

bool plan_takes_users(unsigned op, size_t i)
{
    return op < LENGTH(users) && i < 32 && (users[op] >> i & 1) != 0;
}

plan_span_kind plan_span_kind_of(unsigned op)
{
    return op < LENGTH(spans) ? (plan_span_kind)spans[op] : PLAN_SPAN_NONE;
}

bool plan_span_takes(unsigned op, unsigned i)
{
    switch (plan_span_kind_of(op)) {
    case PLAN_SPAN_NONE: break;
    case PLAN_SPAN_POSITIONS: return true; /* the others are constants */
    case PLAN_SPAN_KEYS: return i < 3;     /* not the masks */
    case PLAN_SPAN_SUM: return i == 1;     /* not the weights */
    }
    return false;
}

unsigned plan_unary_parameters(unsigned function)
{
    return function < LENGTH(unaries) ? unaries[function].parameters : 0;
}

unsigned plan_op_since(unsigned op)
{
    return op < LENGTH(sinces) ? sinces[op] : 0;
}

unsigned plan_function_since(unsigned op, unsigned function)
{
    unsigned since = function != 0 && op < LENGTH(function_sinces) ? function_sinces[op] : 0;
    if (op == PLAN_OP_binary && function >= PLAN_BINARY_bit_and) {
        since = 2;
    }
    return since > plan_op_since(op) ? since : plan_op_since(op);
}

unsigned plan_operands_since(unsigned op, size_t inputs)
{
    return op < LENGTH(operand_sinces) && inputs >= operand_sinces[op].inputs ? operand_sinces[op].minor : 0;
}

double plan_attr_float(const plan_view *view, const plan_step *step, unsigned i)
{
    double number;
    memcpy(&number, &view->attrs[step->attrs + i], sizeof number);
    return number;
}
