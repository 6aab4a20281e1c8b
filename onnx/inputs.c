/* Graph inputs: which symbolic dims are the candidates, which are fixed by --dim, and frozen batch sizes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "onnx/once.h"
#include "onnx/request.h"

/* One "--dim KEY=row" or "--dim KEY=NUMBER". KEY is a dim's name or INPUT:AXIS. */
typedef struct dim_option {
    const char *text, *key;
    int64_t number; /* 0: row */
    bool used;
} dim_option;

/* One dim of one input. */
typedef struct axis_info {
    int64_t fixed;    /* > 0: the number in the model */
    const char *name; /* the dim's name in the model; NULL: fixed, or symbolic without a name */
    dim_option *option;
    bool rows; /* a first axis that is the candidates */
} axis_info;

typedef struct input_info {
    const char *name;
    int32_t elem;
    int rank;
    axis_info axis[MTL_MAX_RANK];
    onnx_declared *declared;
} input_info;

typedef struct inputs {
    onnx_importer *importer;
    input_info *all;
    size_t count;
    dim_option *options;
    size_t option_count;
    const char *rows_name; /* the dim name that all candidates share; NULL: none, or more than one */
} inputs;

/* --- options -------------------------------------------------------------------------------------------------- */

static mtl_status parse_option(inputs *in, const char *text, dim_option *option)
{
    const char *equals = strrchr(text, '=');
    base_diag *diag = in->importer->diag;
    *option = (dim_option){.text = text};
    if (equals != NULL && equals != text) {
        option->key = base_arena_string_n(in->importer->arena, text, (size_t)(equals - text));
        BASE_TRY_MEMORY(option->key, diag);
        if (strcmp(equals + 1, "row") == 0) {
            return MTL_OK;
        }
        const char *digits = equals + 1;
        size_t length = strspn(digits, "0123456789");
        if (length > 0 && length < 19 && digits[length] == '\0' && atoll(digits) > 0) {
            option->number = atoll(digits);
            return MTL_OK;
        }
    }
    return base_fail(diag, MTL_INVALID_ARGUMENT,
                     "--dim %s: expected NAME=NUMBER, INPUT:AXIS=NUMBER or NAME=row, with a number of at least 1",
                     text);
}

static mtl_status parse_options(inputs *in)
{
    const onnx_options *options = in->importer->options;
    in->option_count = options->dim_count;
    in->options = BASE_NEW_ARRAY(in->importer->arena, dim_option, options->dim_count);
    BASE_TRY_MEMORY(in->options, in->importer->diag);
    for (size_t i = 0; i < options->dim_count; i++) {
        BASE_TRY(parse_option(in, options->dims[i], &in->options[i]));
    }
    return MTL_OK;
}

/* The option for an axis: INPUT:AXIS beats the dim's name. */
static dim_option *find_option(const inputs *in, const input_info *input, int axis)
{
    dim_option *found = NULL;
    size_t length = strlen(input->name);
    for (size_t i = 0; i < in->option_count; i++) {
        const char *key = in->options[i].key;
        const char *name = input->axis[axis].name;
        if (strncmp(key, input->name, length) == 0 && key[length] == ':' && key[length + 1] == '0' + axis &&
            key[length + 2] == '\0') {
            in->options[i].used = true;
            return &in->options[i];
        }
        if (name != NULL && strcmp(key, name) == 0) {
            in->options[i].used = true;
            found = &in->options[i];
        }
    }
    return found;
}

/* --- reading -------------------------------------------------------------------------------------------------- */

static mtl_status read_axis(inputs *in, const input_info *input, int index,
                            const Onnx__TensorShapeProto__Dimension *proto, axis_info *axis)
{
    if (proto->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE) {
        axis->fixed = proto->dim_value;
        if (axis->fixed < 1) {
            return base_fail(in->importer->diag, MTL_INVALID_DATA, "input '%s': axis %d has extent %lld", input->name,
                             index, (long long)axis->fixed);
        }
    } else if (proto->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM &&
               proto->dim_param[0] != '\0') {
        axis->name = proto->dim_param;
    }
    return MTL_OK;
}

static mtl_status read_input(inputs *in, const Onnx__ValueInfoProto *info, input_info *input)
{
    base_diag *diag = in->importer->diag;
    const Onnx__TypeProto *type = info->type;
    input->name = info->name;
    if (type == NULL || type->value_case == ONNX__TYPE_PROTO__VALUE__NOT_SET) {
        return base_fail(diag, MTL_INVALID_DATA, "input '%s' has no type", input->name);
    }
    if (type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) {
        return base_fail(diag, MTL_UNSUPPORTED, "input '%s' is no tensor", input->name);
    }
    input->elem = type->tensor_type->has_elem_type ? type->tensor_type->elem_type : 0;
    if (onnx_dtype(input->elem) == 0) {
        return base_fail(diag, MTL_UNSUPPORTED, "input '%s': element type %s is not supported", input->name,
                         onnx_elem_name(input->elem));
    }
    if (onnx_dtype(input->elem) == MTL_F64 && !in->importer->options->allow_f32) {
        return base_fail(diag, MTL_UNSUPPORTED, "input '%s' is float64; --allow-f32 computes the model in float32",
                         input->name);
    }
    const Onnx__TensorShapeProto *shape = type->tensor_type->shape;
    if (shape == NULL) {
        return base_fail(diag, MTL_UNSUPPORTED, "input '%s' has no shape, its rank must be known", input->name);
    }
    if (shape->n_dim > MTL_MAX_RANK) {
        return base_fail(diag, MTL_UNSUPPORTED, "input '%s' has rank %zu, at most %d is supported", input->name,
                         shape->n_dim, MTL_MAX_RANK);
    }
    input->rank = (int)shape->n_dim;
    for (int i = 0; i < input->rank; i++) {
        BASE_TRY(read_axis(in, input, i, shape->dim[i], &input->axis[i]));
    }
    for (int i = 0; i < input->rank; i++) {
        input->axis[i].option = find_option(in, input, i);
    }
    return MTL_OK;
}

static mtl_status read_inputs(inputs *in, onnx_scope *scope)
{
    const Onnx__GraphProto *graph = in->importer->model->graph;
    in->all = BASE_NEW_ARRAY(in->importer->arena, input_info, graph->n_input);
    BASE_TRY_MEMORY(in->all, in->importer->diag);
    for (size_t i = 0; i < graph->n_input; i++) {
        const char *name = graph->input[i]->name;
        if (name == NULL || name[0] == '\0') {
            return base_fail(in->importer->diag, MTL_INVALID_DATA, "graph input %zu has no name", i);
        }
        const onnx_scope_entry *entry = onnx_scope_find(scope, name);
        if (entry != NULL && entry->pending != NULL) {
            continue; /* an initialiser with a place among the inputs: a constant */
        }
        bool fresh;
        onnx_scope_entry *added = onnx_scope_add(scope, name, &fresh);
        if (!fresh) {
            return base_fail(in->importer->diag, MTL_INVALID_DATA, "input '%s': the name is taken", name);
        }
        BASE_TRY_MEMORY(added, in->importer->diag);
        BASE_TRY(read_input(in, graph->input[i], &in->all[in->count]));
        in->count++;
    }
    return MTL_OK;
}

/* Inputs that are declared to be the same for all candidates of one user. */
static mtl_status match_request(inputs *in)
{
    const char **names = BASE_NEW_ARRAY(in->importer->arena, const char *, in->count);
    onnx_declared *declared;
    BASE_TRY_MEMORY(names, in->importer->diag);
    for (size_t i = 0; i < in->count; i++) {
        names[i] = in->all[i].name;
    }
    BASE_TRY(onnx_request_match(in->importer, names, in->count, &declared));
    for (size_t i = 0; i < in->count; i++) {
        in->all[i].declared = &declared[i];
    }
    return MTL_OK;
}

static bool is_declared(const input_info *input)
{
    return input->declared->by != NULL;
}

/* Whether an input's first axis is the users' and nothing else. */
static bool is_users(const input_info *input)
{
    return is_declared(input) && input->declared->column_count == 0;
}

/* --- the candidates ------------------------------------------------------------------------------------------- */

static mtl_status check_options_used(const inputs *in)
{
    for (size_t i = 0; i < in->option_count; i++) {
        if (!in->options[i].used) {
            return base_fail(in->importer->diag, MTL_INVALID_ARGUMENT, "--dim %s: no input has a dim '%s'",
                             in->options[i].text, in->options[i].key);
        }
    }
    return MTL_OK;
}

static bool any_row_option(const inputs *in)
{
    for (size_t i = 0; i < in->option_count; i++) {
        if (in->options[i].number == 0) {
            return true;
        }
    }
    return false;
}

/* Marks the first axes that are the candidates. */
static void mark_rows(inputs *in)
{
    bool chosen = any_row_option(in);
    bool frozen = in->importer->options->batch_axis0;
    for (size_t i = 0; i < in->count; i++) {
        axis_info *first = &in->all[i].axis[0];
        if (in->all[i].rank == 0) {
            continue;
        }
        bool fits = first->fixed == 0 || frozen;
        first->rows = fits && (chosen ? first->option != NULL && first->option->number == 0 : first->option == NULL);
        if (is_users(&in->all[i]) && (first->fixed == 0 || first->fixed == 1)) { /* whatever the model calls them */
            first->rows = first->option == NULL || first->option->number == 0;
        }
    }
}

static mtl_status unequal_batches(const inputs *in, const input_info *a, const input_info *b)
{
    const input_info *user = a->axis[0].fixed == 1 ? a : b->axis[0].fixed == 1 ? b : NULL;
    return base_fail(in->importer->diag, MTL_INVALID_ARGUMENT,
                     "--batch-axis0: the first axes of inputs '%s' (%lld) and '%s' (%lld) differ; keep one fixed "
                     "with --dim %s:0=%lld%s%s",
                     a->name, (long long)a->axis[0].fixed, b->name, (long long)b->axis[0].fixed, b->name,
                     (long long)b->axis[0].fixed, user != NULL ? ", or if the 1 is a user, use --request " : "",
                     user != NULL ? user->name : "");
}

/* The one batch size that --batch-axis0 makes symbolic. */
static mtl_status find_frozen(inputs *in)
{
    const input_info *first = NULL;
    for (size_t i = 0; i < in->count; i++) {
        const input_info *input = &in->all[i];
        if (!input->axis[0].rows || input->axis[0].fixed == 0 || (is_users(input) && input->axis[0].fixed == 1)) {
            continue;
        }
        if (first != NULL && first->axis[0].fixed != input->axis[0].fixed) {
            return unequal_batches(in, first, input);
        }
        first = input;
        in->importer->frozen = input->axis[0].fixed;
    }
    return MTL_OK;
}

static mtl_status no_rows(const inputs *in)
{
    for (size_t i = 0; i < in->count; i++) {
        if (in->all[i].rank > 0 && in->all[i].axis[0].fixed > 0) {
            return base_fail(
                in->importer->diag, MTL_UNSUPPORTED,
                "no input has a first axis for the candidates: that of input '%s' is fixed at %lld; export "
                "with a dynamic batch, or use --batch-axis0",
                in->all[i].name, (long long)in->all[i].axis[0].fixed);
        }
    }
    return base_fail(in->importer->diag, MTL_UNSUPPORTED, "no input has a first axis for the candidates");
}

/* Dim names like "2*s0" or "s0 + 1" are expressions, not names. */
static bool is_expression(const char *name)
{
    return strpbrk(name, "*+()%") != NULL || strstr(name, "//") != NULL || strstr(name, " - ") != NULL;
}

static bool is_identifier(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    size_t start = strspn(name, letters);
    return start > 0 && name[start + strspn(name + start, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
                                                          "0123456789")] == '\0';
}

/* Names the symbol after the candidates' dim, and finds out whether all share one name. */
static mtl_status name_rows(inputs *in)
{
    bool any = false;
    bool several = false;
    for (size_t i = 0; i < in->count; i++) {
        const axis_info *first = &in->all[i].axis[0];
        any = any || first->rows;
        if (!first->rows || is_users(&in->all[i]) || first->name == NULL || is_expression(first->name)) {
            continue;
        }
        if (in->rows_name == NULL) {
            in->rows_name = first->name;
            if (is_identifier(first->name)) {
                in->importer->graph->symbols.name[IR_SYMBOL_ROWS] = first->name;
            }
        }
        several = several || strcmp(in->rows_name, first->name) != 0;
    }
    if (several) {
        in->rows_name = NULL;
    }
    return any ? MTL_OK : no_rows(in);
}

/* "4*NAME" or "NAME*4" with the candidates' name. */
static bool parse_multiple(const inputs *in, const char *name, ir_dim *dim)
{
    const char *rows = in->rows_name;
    const char *digits = name;
    const char *star = strchr(name, '*');
    if (rows == NULL || star == NULL) {
        return false;
    }
    size_t length = strlen(rows);
    if (strcmp(star + 1, rows) != 0) {
        digits = star + 1;
        if ((size_t)(star - name) != length || strncmp(name, rows, length) != 0) {
            return false;
        }
    }
    size_t count = strspn(digits, "0123456789");
    if (count == 0 || count > 9 || (digits[count] != '\0' && digits[count] != '*')) {
        return false;
    }
    return ir_dim_mul(ir_dim_symbol(IR_SYMBOL_ROWS), ir_dim_const(atoll(digits)), dim);
}

/* --- the IR's types ------------------------------------------------------------------------------------------- */

static mtl_status solve_axis(const inputs *in, const input_info *input, int index, ir_dim *dim)
{
    const axis_info *axis = &input->axis[index];
    base_diag *diag = in->importer->diag;
    if (axis->option != NULL && axis->option->number > 0) {
        *dim = ir_dim_const(axis->option->number);
        if (axis->fixed > 0 && axis->fixed != axis->option->number) {
            return base_fail(diag, MTL_INVALID_ARGUMENT, "--dim %s: axis %d of input '%s' is fixed at %lld",
                             axis->option->text, index, input->name, (long long)axis->fixed);
        }
        return MTL_OK;
    }
    bool expression = axis->name != NULL && is_expression(axis->name);
    if (axis->rows && !expression) {
        *dim = ir_dim_symbol(IR_SYMBOL_ROWS);
        return MTL_OK;
    }
    if (axis->fixed > 0 && axis->option == NULL) {
        *dim = ir_dim_const(axis->fixed);
        return MTL_OK;
    }
    if (axis->name != NULL && in->rows_name != NULL && strcmp(axis->name, in->rows_name) == 0) {
        *dim = ir_dim_symbol(IR_SYMBOL_ROWS);
        return MTL_OK;
    }
    if (expression && parse_multiple(in, axis->name, dim)) {
        return MTL_OK;
    }
    if (axis->option != NULL) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "--dim %s: axis %d of input '%s' cannot be the candidates",
                         axis->option->text, index, input->name);
    }
    if (axis->name != NULL) {
        return base_fail(diag, MTL_UNSUPPORTED,
                         "input '%s': axis %d is the symbolic dim '%s'; fix it with --dim %s=NUMBER", input->name,
                         index, axis->name, axis->name);
    }
    return base_fail(diag, MTL_UNSUPPORTED,
                     "input '%s': axis %d is symbolic without a name; fix it with --dim %s:%d=NUMBER", input->name,
                     index, input->name, index);
}

static mtl_status add_input(const inputs *in, onnx_scope *scope, const input_info *input)
{
    ir_type type = {.dtype = onnx_dtype(input->elem), .rank = input->rank};
    onnx_value *value = &onnx_scope_find(scope, input->name)->value;
    value->elem = input->elem;
    for (int i = 0; i < input->rank; i++) {
        BASE_TRY(solve_axis(in, input, i, &type.dim[i]));
    }
    if (is_declared(input)) {
        return onnx_request_add(in->importer, scope, input->name, &type, input->declared);
    }
    return ir_add_input(in->importer->graph, input->name, &type, in->importer->diag, &value->value);
}

/* Inputs of other float types become float32 where they enter. */
static mtl_status cast_input(onnx_importer *importer, ir_value *value)
{
    const ir_value_info *info = ir_info(importer->graph, *value);
    mtl_dtype dtype = onnx_compute_dtype(info->type.dtype);
    if (dtype == info->type.dtype) {
        return MTL_OK;
    }
    ir_attr to = IR_DTYPE(to, dtype);
    return ir_insert(importer->graph, 0, IR_OP_cast, info->name, value, 1, &to, 1, importer->diag, value);
}

/* Whether the model has an input once for all candidates, or may: its first axis is not theirs. */
static bool is_once(const inputs *in, const input_info *input)
{
    const axis_info *first = &input->axis[0];
    if (!is_users(input) || in->importer->frozen == 1) {
        return false;
    }
    return first->fixed == 1 ||
           (first->name != NULL && in->rows_name != NULL && strcmp(first->name, in->rows_name) != 0);
}

/* What the graph reads of an input. */
static mtl_status define_input(onnx_importer *importer, onnx_scope *scope, const input_info *input)
{
    ir_value *value = &onnx_scope_find(scope, input->name)->value.value;
    const onnx_declared *declared = input->declared;
    if (!is_declared(input)) {
        return cast_input(importer, value);
    }
    ir_value row = declared->row;
    *value = declared->request;
    BASE_TRY(cast_input(importer, value));
    if (declared->whole) {
        return MTL_OK;
    }
    BASE_TRY(cast_input(importer, &row));
    return onnx_request_join(importer, input->name, declared, *value, row, value);
}

/* Somebody must be left to rank. */
static mtl_status check_candidates(const inputs *in)
{
    const ir_graph *graph = in->importer->graph;
    const onnx_declaration *by = NULL;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const ir_value_info *info = ir_info(graph, graph->inputs[i]);
        if (!info->per_user && info->type.rank > 0 && info->type.dim[0].k[IR_SYMBOL_ROWS] != 0) {
            return MTL_OK;
        }
    }
    for (size_t i = 0; i < in->count && by == NULL; i++) {
        by = in->all[i].declared->by;
    }
    return by != NULL ? onnx_request_fail(in->importer->diag, by, "then no input differs between candidates") : MTL_OK;
}

mtl_status onnx_import_inputs(onnx_importer *importer, onnx_scope *scope)
{
    inputs in = {.importer = importer};
    BASE_TRY(parse_options(&in));
    BASE_TRY(read_inputs(&in, scope));
    BASE_TRY(check_options_used(&in));
    BASE_TRY(match_request(&in));
    mark_rows(&in);
    BASE_TRY(find_frozen(&in));
    BASE_TRY(name_rows(&in));
    for (size_t i = 0; i < in.count; i++) {
        BASE_TRY(add_input(&in, scope, &in.all[i]));
    }
    BASE_TRY(check_candidates(&in));
    for (size_t i = 0; i < in.count; i++) {
        if (is_once(&in, &in.all[i])) {
            BASE_TRY(onnx_once_add(importer, in.all[i].declared->request));
        }
    }
    for (size_t i = 0; i < in.count; i++) {
        BASE_TRY(define_input(importer, scope, &in.all[i]));
    }
    return MTL_OK;
}
