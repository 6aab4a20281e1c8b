#include "tool/info.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "tool/info_text.h"

enum { MOST_NUMBERS = 16 }; /* shown of a param */

static json_t *number(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

/* Adds `value` to `object`; a NULL value (no memory) makes *ok false. */
static void put(json_t *object, const char *key, json_t *value, bool *ok)
{
    *ok = json_object_set_new(object, key, value) == 0 && *ok;
}

static void append(json_t *array, json_t *value, bool *ok)
{
    *ok = json_array_append_new(array, value) == 0 && *ok;
}

/* Fixed extents are numbers, others texts: ["4*B", 512]. */
static json_t *shape_of(const plan_view *view, const plan_tensor *tensor, bool *ok)
{
    json_t *shape = json_array();
    const mtl_dim *dims = plan_dims(view, tensor);
    for (unsigned axis = 0; axis < tensor->rank; axis++) {
        char text[64];
        bool fixed = dims[axis].per_row == 0 && dims[axis].per_user == 0;
        append(shape,
               fixed ? json_integer(dims[axis].fixed) : json_string(plan_dim_text(dims[axis], text, sizeof text)), ok);
    }
    return shape;
}

static json_t *tensor_of(const plan_view *view, const plan_tensor *tensor, bool with_storage, bool *ok)
{
    static const char *const storages[] = {
        [PLAN_STORAGE_CONST] = "const",     [PLAN_STORAGE_INPUT] = "input", [PLAN_STORAGE_OUTPUT] = "output",
        [PLAN_STORAGE_REQUEST] = "request", [PLAN_STORAGE_ROW] = "row",     [PLAN_STORAGE_PARAM] = "param",
    };
    static const char *const layouts[] = {"dense", "panels", "padded"};
    if (tensor == NULL) {
        return json_null();
    }
    json_t *object = json_object();
    put(object, "name", tool_json_text(plan_string(view, tensor->name)), ok);
    put(object, "dtype", json_string(mtl_dtype_name(tensor->dtype)), ok);
    put(object, "shape", shape_of(view, tensor, ok), ok);
    if (with_storage) {
        bool boundary = tensor->storage == PLAN_STORAGE_INPUT || tensor->storage == PLAN_STORAGE_OUTPUT ||
                        tensor->storage == PLAN_STORAGE_PARAM;
        put(object, "storage", json_string(storages[tensor->storage]), ok);
        put(object, boundary ? "index" : "offset", number(boundary ? tensor->index : tensor->offset), ok);
        put(object, "layout", json_string(layouts[tensor->layout]), ok);
        if (plan_is_window(tensor)) {
            put(object, "start", number(tensor->start), ok);
            put(object, "pitch", number(tensor->pitch), ok);
        }
    }
    return object;
}

static json_t *signature_of(const plan_view *view, uint32_t from, uint32_t count, bool *ok)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++) {
        append(array, tensor_of(view, &view->tensors[view->signature[from + i]], false, ok), ok);
    }
    return array;
}

/* JSON has no infinity: it becomes a text. */
static json_t *real_of(double value)
{
    return isfinite(value) ? json_real(value) : json_string(isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
}

/* With the numbers that they have until a host sets others; of large ones the first few are none's business. */
static json_t *params_of(const plan_view *view, bool *ok)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < view->meta->param_count; i++) {
        const plan_tensor *param = plan_param(view, i);
        json_t *object = tensor_of(view, param, false, ok);
        int64_t count = 1;
        for (unsigned axis = 0; axis < param->rank; axis++) {
            count *= plan_dims(view, param)[axis].fixed;
        }
        if (count <= MOST_NUMBERS) {
            json_t *numbers = json_array();
            const unsigned char *at = view->consts + plan_param_default(view, i)->offset;
            for (int64_t j = 0; j < count; j++) {
                float value;
                memcpy(&value, at + (size_t)j * sizeof value, sizeof value);
                append(numbers, real_of((double)value), ok);
            }
            put(object, "default", numbers, ok);
        }
        append(array, object, ok);
    }
    return array;
}

static json_t *attrs_of(const plan_view *view, const plan_step *step, bool *ok)
{
    json_t *array = json_array();
    bool unary = step->op == PLAN_OP_unary || step->op == PLAN_OP_linear;
    unsigned count = unary ? plan_unary_parameters(step->function) : step->attr_count;
    for (unsigned i = 0; i < count; i++) {
        bool chain = step->op == PLAN_OP_chain && i % PLAN_CHAIN_ATTRS >= PLAN_CHAIN_A;
        bool attention = step->op == PLAN_OP_attention && (i == PLAN_ATTENTION_SCALE || i == PLAN_ATTENTION_FILL);
        bool real = unary || chain || attention || (step->op == PLAN_OP_bag && i >= PLAN_BAG_A) ||
                    (step->op == PLAN_OP_layer_norm && i == 1) || (step->op == PLAN_OP_scan && i >= 4);
        append(array, real ? real_of(plan_attr_float(view, step, i)) : json_integer(view->attrs[step->attrs + i]), ok);
    }
    return array;
}

/* What a program costs in all. */
typedef struct total {
    json_int_t steps;
    plan_cost cost;
} total;

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static void count_step(total *program, const plan_cost *cost)
{
    program->steps++;
    program->cost.flops_fixed = add(program->cost.flops_fixed, cost->flops_fixed);
    program->cost.flops_per_row = add(program->cost.flops_per_row, cost->flops_per_row);
    program->cost.bytes_fixed = add(program->cost.bytes_fixed, cost->bytes_fixed);
    program->cost.bytes_per_row = add(program->cost.bytes_per_row, cost->bytes_per_row);
}

static void put_cost(json_t *object, const plan_cost *cost, bool *ok)
{
    put(object, "flops_fixed", number(cost->flops_fixed), ok);
    put(object, "flops_per_row", number(cost->flops_per_row), ok);
    put(object, "bytes_fixed", number(cost->bytes_fixed), ok);
    put(object, "bytes_per_row", number(cost->bytes_per_row), ok);
}

static json_t *step_of(const plan_view *view, size_t i, const char *kernel, total *program, bool *ok)
{
    const plan_step *step = &view->steps[i];
    plan_cost cost = plan_step_cost(view, step);
    json_t *object = json_object(), *inputs = json_array();
    for (unsigned input = 0; input < step->input_count; input++) {
        append(inputs, tensor_of(view, plan_operand(view, step, input), true, ok), ok);
    }
    put(object, "index", number(i), ok);
    put(object, "program", json_string(i < view->meta->request_step_count ? "request" : "row"), ok);
    put(object, "op", json_string(plan_op_name(step->op)), ok);
    char function[256];
    plan_step_function(view, step, function, sizeof function);
    put(object, "function", json_string(function), ok);
    if (step->op == PLAN_OP_linear && view->attrs[step->attrs + 2] != 0) { /* the rest of the columns has none */
        put(object, "function_columns", json_integer(view->attrs[step->attrs + 2]), ok);
    }
    put(object, "attrs", attrs_of(view, step, ok), ok);
    put(object, "inputs", inputs, ok);
    put(object, "output", tensor_of(view, plan_result(view, step), true, ok), ok);
    if (plan_span(view, step) != NULL) {
        put(object, "span", tensor_of(view, plan_span(view, step), true, ok), ok);
    }
    put_cost(object, &cost, ok);
    put(object, "label", tool_json_text(plan_string(view, step->label)), ok);
    if (kernel != NULL) {
        put(object, "kernel", tool_json_text(kernel), ok);
    }
    count_step(program, &cost);
    return object;
}

/* The attributes of a step's policy for ids outside of its table, from the row on; NULL: it has none. */
static const int64_t *policy_of(const plan_view *view, const plan_step *step, unsigned *policy)
{
    const int64_t *attrs = view->attrs + step->attrs;
    if (step->op == PLAN_OP_gather && step->function != 0) {
        *policy = step->function;
        return attrs + PLAN_GATHER_ROW;
    }
    if (step->op == PLAN_OP_bag && attrs[PLAN_BAG_POLICY] != 0) {
        *policy = (unsigned)attrs[PLAN_BAG_POLICY];
        return attrs + PLAN_BAG_ROW;
    }
    return NULL;
}

/* What ids outside of their table do, by step. */
static json_t *ids_of(const plan_view *view, bool *ok)
{
    json_t *array = json_array();
    for (size_t i = 0; i < view->step_count && *ok; i++) {
        const plan_step *step = &view->steps[i];
        unsigned policy = 0;
        const int64_t *row = policy_of(view, step, &policy);
        if (row == NULL) {
            continue;
        }
        json_t *object = json_object();
        const mtl_dim *dims = plan_dims(view, plan_operand(view, step, 0));
        int64_t axis = step->op == PLAN_OP_gather ? view->attrs[step->attrs + PLAN_GATHER_AXIS] : 0;
        char text[32];
        int used = snprintf(text, sizeof text, "%s", plan_function_name(PLAN_OP_gather, policy));
        if (policy == PLAN_IDS_row) {
            (void)snprintf(text + used, sizeof text - (size_t)used, ":%" PRId64, row[0]);
        }
        put(object, "step", number(i), ok);
        put(object, "input", tool_json_text(plan_string(view, (uint32_t)row[1])), ok);
        put(object, "table", tool_json_text(plan_string(view, (uint32_t)row[2])), ok);
        put(object, "rows", json_integer(dims[axis].fixed), ok);
        put(object, "policy", json_string(text), ok);
        append(array, object, ok);
    }
    return array;
}

static void put_steps(json_t *root, const plan_view *view, const char *const *kernels, bool *ok)
{
    total programs[2] = {{0}, {0}}; /* request, row */
    static const char *const names[] = {"request", "row"};
    json_t *steps = json_array(), *totals = json_object();
    for (size_t i = 0; i < view->step_count && *ok; i++) {
        total *program = &programs[i >= view->meta->request_step_count];
        append(steps, step_of(view, i, kernels != NULL ? kernels[i] : NULL, program, ok), ok);
    }
    for (int i = 0; i < 2; i++) {
        json_t *program = json_object();
        put(program, "steps", json_integer(programs[i].steps), ok);
        put_cost(program, &programs[i].cost, ok);
        put(totals, names[i], program, ok);
    }
    put(root, "steps", steps, ok);
    put(root, "totals", totals, ok);
}

static void put_origin(json_t *root, const plan_view *view, const char *path, bool *ok)
{
    const plan_meta *meta = view->meta;
    char text[64];
    put(root, "file", tool_json_text(path), ok);
    snprintf(text, sizeof text, "%u.%u", view->header->version_major, view->header->version_minor);
    put(root, "format", json_string(text), ok);
    put(root, "file_bytes", number(view->header->file_size), ok);
    put(root, "model", tool_json_text(plan_string(view, meta->model_name)), ok);
    put(root, "producer", tool_json_text(plan_string(view, meta->producer)), ok);
    put(root, "compiler", tool_json_text(plan_string(view, meta->compiler)), ok);
    snprintf(text, sizeof text, "%016" PRIx64 "%016" PRIx64, meta->source_hash[1], meta->source_hash[0]);
    put(root, "source_xxh128", json_string(text), ok);
    put(root, "whole_batch", json_boolean((meta->flags & PLAN_FLAG_WHOLE_BATCH) != 0), ok);
}

/* Whether a call may have more than one user. */
static bool has_users(const plan_view *view)
{
    for (uint32_t i = 0; i < view->meta->input_count; i++) {
        const plan_tensor *input = &view->tensors[view->signature[i]];
        if (plan_grows_with_users(plan_dims(view, input), input->rank)) {
            return true;
        }
    }
    return false;
}

static void put_memory(json_t *root, const plan_view *view, bool *ok)
{
    const plan_meta *meta = view->meta;
    char text[128];
    json_t *workspace = json_object();
    const char *users = has_users(view) ? "users x " : "";
    const char *rows = (meta->flags & PLAN_FLAG_WHOLE_BATCH) != 0 ? "rows" : "threads x tile rows";
    uint64_t param_bytes = plan_param_bytes(view);
    int used = param_bytes > 0 ? snprintf(text, sizeof text, "%" PRIu64 " + ", param_bytes) : 0;
    snprintf(text + used, sizeof text - (size_t)used, "%s%" PRIu64 " + %s x %" PRIu64, users, meta->request_bytes, rows,
             meta->row_bytes);
    put(workspace, "param_bytes", number(param_bytes), ok);
    put(workspace, "request_bytes", number(meta->request_bytes), ok);
    put(workspace, "row_bytes", number(meta->row_bytes), ok);
    put(workspace, "per_user", json_boolean(users[0] != '\0'), ok);
    put(workspace, "formula", json_string(text), ok);
    put(root, "constant_bytes", number(view->const_bytes), ok);
    put(root, "workspace", workspace, ok);
}

mtl_status tool_info_print(const plan_view *view, const char *path, const char *const *step_kernels, bool json,
                           FILE *out, base_diag *diag)
{
    const plan_meta *meta = view->meta;
    json_t *root = json_object();
    BASE_TRY_MEMORY(root, diag);
    bool ok = true;
    put_origin(root, view, path, &ok);
    put(root, "inputs", signature_of(view, 0, meta->input_count, &ok), &ok);
    put(root, "outputs", signature_of(view, meta->input_count, meta->output_count, &ok), &ok);
    if (meta->param_count > 0) {
        put(root, "params", params_of(view, &ok), &ok);
    }
    json_t *ids = ids_of(view, &ok);
    if (json_array_size(ids) > 0) {
        put(root, "ids", ids, &ok);
    } else {
        json_decref(ids);
    }
    put_memory(root, view, &ok);
    put_steps(root, view, step_kernels, &ok);
    if (!ok) {
        json_decref(root);
        return base_fail_memory(diag);
    }
    if (json) {
        return tool_json_print(root, out, diag);
    }
    mtl_status status = tool_info_print_text(root, out, diag);
    json_decref(root);
    return status;
}
