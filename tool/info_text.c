#include "tool/info_text.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"

/* A table whose columns are as wide as their widest cell. */
enum { COLUMNS = 8, CELL_LIMIT = 60 };

typedef struct row {
    const char *cell[COLUMNS];
} row;

typedef struct table {
    base_arena *arena;
    row *rows;
    size_t count;
    bool failed; /* out of memory */
} table;

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* Keeps `text`; NULL says that there was no memory. */
static const char *keep(table *of, const char *text)
{
    of->failed |= text == NULL;
    return text != NULL ? text : "";
}

/* "1,234,567" */
static const char *grouped(table *of, json_int_t number)
{
    char digits[32], text[48];
    int length = snprintf(digits, sizeof digits, "%" JSON_INTEGER_FORMAT, number), at = 0;
    for (int i = 0; i < length; i++) {
        text[at++] = digits[i];
        if (digits[i] != '-' && (length - 1 - i) % 3 == 0 && i + 1 < length) {
            text[at++] = ',';
        }
    }
    text[at] = '\0';
    return keep(of, base_arena_string(of->arena, text));
}

/* "1,024 + 2,048/row" */
static const char *cost_text(table *of, const json_t *object, const char *fixed_key, const char *per_row_key)
{
    json_int_t fixed = number_of(object, fixed_key), per_row = number_of(object, per_row_key);
    if (per_row == 0) {
        return grouped(of, fixed);
    }
    const char *rows = grouped(of, per_row);
    return fixed == 0 ? keep(of, base_arena_format(of->arena, "%s/row", rows))
                      : keep(of, base_arena_format(of->arena, "%s + %s/row", grouped(of, fixed), rows));
}

/* "relu", "relu of 128": of the first 128 columns. */
static const char *function_text(table *of, const json_t *step)
{
    const char *function = text_of(step, "function");
    if (json_object_get(step, "function_columns") == NULL) {
        return function;
    }
    return keep(of,
                base_arena_format(of->arena, "%s of %s", function, grouped(of, number_of(step, "function_columns"))));
}

/* "(4*B, 512)"; "(B, 8)@16/64" is columns 16 to 23 of rows of 64. */
static const char *shape_text(table *of, const json_t *tensor)
{
    const char *text = "(";
    const json_t *shape = json_object_get(tensor, "shape");
    size_t rank = json_array_size(shape);
    for (size_t i = 0; i < rank; i++) {
        const json_t *extent = json_array_get(shape, i);
        const char *between = i == 0 ? "" : ", ";
        text = json_is_string(extent)
                   ? keep(of, base_arena_format(of->arena, "%s%s%s", text, between, json_string_value(extent)))
                   : keep(of, base_arena_format(of->arena, "%s%s%" JSON_INTEGER_FORMAT, text, between,
                                                json_integer_value(extent)));
    }
    const json_t *start = json_object_get(tensor, "start"), *pitch = json_object_get(tensor, "pitch");
    text = keep(of, base_arena_format(of->arena, rank == 1 ? "%s,)" : "%s)", text));
    return pitch == NULL ? text /* else columns of wider rows */
                         : keep(of, base_arena_format(of->arena, "%s@%" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT,
                                                      text, json_integer_value(start), json_integer_value(pitch)));
}

/* "(B, 64) (1, 64, 32) -> (B, 32)"; a long list of inputs is cut. "in span" of those positions alone. */
static const char *operands_text(table *of, const json_t *step)
{
    const char *text = "";
    const json_t *inputs = json_object_get(step, "inputs");
    size_t count = json_array_size(inputs);
    for (size_t i = 0; i < count; i++) {
        const json_t *input = json_array_get(inputs, i);
        if (i == 4 && count > 5) {
            text = keep(of, base_arena_format(of->arena, "%s... (%zu) ", text, count));
            break;
        }
        text = keep(of, base_arena_format(of->arena, "%s%s ", text, json_is_null(input) ? "-" : shape_text(of, input)));
    }
    const char *span = json_object_get(step, "span") != NULL ? " in span" : "";
    return keep(of,
                base_arena_format(of->arena, "%s-> %s%s", text, shape_text(of, json_object_get(step, "output")), span));
}

static void print_table(const table *of, size_t columns, unsigned right, FILE *out)
{
    size_t width[COLUMNS] = {0};
    for (size_t i = 0; i < of->count; i++) {
        for (size_t column = 0; column < columns; column++) {
            size_t length = strlen(of->rows[i].cell[column]);
            length = length < CELL_LIMIT ? length : CELL_LIMIT;
            width[column] = length > width[column] ? length : width[column];
        }
    }
    for (size_t i = 0; i < of->count; i++) {
        for (size_t column = 0; column < columns; column++) {
            const char *cell = of->rows[i].cell[column];
            int wide = column + 1 == columns ? 0 : (int)width[column];
            if (width[column] > 0 && (wide > 0 || cell[0] != '\0')) {
                fprintf(out, "  %*s", (right >> column & 1) != 0 ? wide : -wide, cell);
            }
        }
        fputc('\n', out);
    }
}

static void print_origin(table *of, const json_t *root, FILE *out)
{
    fprintf(out, "%s: plan format %s, %s bytes\n", text_of(root, "file"), text_of(root, "format"),
            grouped(of, number_of(root, "file_bytes")));
    static const char *const keys[][2] = {
        {"model", "model"}, {"producer", "producer"}, {"compiler", "compiler"}, {"source_xxh128", "source"}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const char *text = text_of(root, keys[i][0]);
        if (text[0] != '\0') {
            fprintf(out, "  %-10s %s\n", keys[i][1], text);
        }
    }
    const json_t *workspace = json_object_get(root, "workspace");
    fprintf(out, "  %-10s %s bytes\n", "constants", grouped(of, number_of(root, "constant_bytes")));
    json_int_t params = number_of(workspace, "param_bytes"), request = number_of(workspace, "request_bytes");
    bool users = json_is_true(json_object_get(workspace, "per_user"));
    fprintf(out, "  %-10s ", "workspace");
    if (users && params > 0) {
        fprintf(out, "%s bytes + ", grouped(of, params));
    }
    fprintf(
        out, "%s%s bytes + %s x %s bytes\n", users ? "users x " : "", grouped(of, users ? request : params + request),
        json_is_true(json_object_get(root, "whole_batch")) ? "rows (some steps mix candidates)" : "threads x tile rows",
        grouped(of, number_of(workspace, "row_bytes")));
}

static mtl_status reserve(table *of, size_t count, base_diag *diag)
{
    of->rows = BASE_NEW_ARRAY(of->arena, row, count);
    of->count = 0;
    BASE_TRY_MEMORY(of->rows, diag);
    return MTL_OK;
}

/* "0.5,0.3,0.2", as --param takes them; "" when there are none or too many. */
static const char *numbers_text(table *of, const json_t *tensor)
{
    const char *text = "";
    const json_t *numbers = json_object_get(tensor, "default");
    for (size_t i = 0; i < json_array_size(numbers); i++) {
        const json_t *number = json_array_get(numbers, i);
        const char *between = i == 0 ? "" : ",";
        text = json_is_string(number)
                   ? keep(of, base_arena_format(of->arena, "%s%s%s", text, between, json_string_value(number)))
                   : keep(of, base_arena_format(of->arena, "%s%s%.9g", text, between, json_real_value(number)));
    }
    return text;
}

static mtl_status print_signature(table *of, const json_t *root, const char *key, FILE *out, base_diag *diag)
{
    const json_t *tensors = json_object_get(root, key);
    BASE_TRY(reserve(of, json_array_size(tensors), diag));
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *tensor = json_array_get(tensors, i);
        of->rows[of->count++] = (row){
            {text_of(tensor, "name"), text_of(tensor, "dtype"), shape_text(of, tensor), numbers_text(of, tensor)}};
    }
    fprintf(out, "\n%s\n", key);
    print_table(of, 4, 0, out);
    return MTL_OK;
}

/* What ids outside of their tables do. */
static mtl_status print_ids(table *of, const json_t *root, FILE *out, base_diag *diag)
{
    const json_t *ids = json_object_get(root, "ids");
    BASE_TRY(reserve(of, json_array_size(ids) + 1, diag));
    of->rows[of->count++] = (row){{"step", "input", "table", "rows", "policy"}};
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *lookup = json_array_get(ids, i);
        of->rows[of->count++] =
            (row){{grouped(of, number_of(lookup, "step")), text_of(lookup, "input"), text_of(lookup, "table"),
                   grouped(of, number_of(lookup, "rows")), text_of(lookup, "policy")}};
    }
    fprintf(out, "\nids outside of their tables\n");
    print_table(of, 5, 1U << 0 | 1U << 3, out);
    return MTL_OK;
}

static mtl_status print_program(table *of, const json_t *root, const char *program, FILE *out, base_diag *diag)
{
    const json_t *steps = json_object_get(root, "steps");
    const json_t *totals = json_object_get(json_object_get(root, "totals"), program);
    fprintf(out, "\n%s program: %s steps", program, grouped(of, number_of(totals, "steps")));
    if (number_of(totals, "steps") == 0) {
        fputc('\n', out);
        return MTL_OK;
    }
    fprintf(out, ", FLOPs %s, bytes %s\n", cost_text(of, totals, "flops_fixed", "flops_per_row"),
            cost_text(of, totals, "bytes_fixed", "bytes_per_row"));
    BASE_TRY(reserve(of, json_array_size(steps) + 1, diag));
    of->rows[of->count++] = (row){{"step", "op", "function", "shapes", "FLOPs", "bytes", "kernel", "from"}};
    bool kernels = false;
    for (size_t i = 0; i < json_array_size(steps); i++) {
        const json_t *step = json_array_get(steps, i);
        if (strcmp(text_of(step, "program"), program) != 0) {
            continue;
        }
        kernels |= json_object_get(step, "kernel") != NULL;
        of->rows[of->count++] = (row){
            {grouped(of, number_of(step, "index")), text_of(step, "op"), function_text(of, step),
             operands_text(of, step), cost_text(of, step, "flops_fixed", "flops_per_row"),
             cost_text(of, step, "bytes_fixed", "bytes_per_row"), text_of(step, "kernel"), text_of(step, "label")}};
    }
    of->rows[0].cell[6] = kernels ? "kernel" : "";
    print_table(of, 8, 1U << 0 | 1U << 4 | 1U << 5, out);
    return MTL_OK;
}

static mtl_status print_all(table *of, const json_t *root, FILE *out, base_diag *diag)
{
    print_origin(of, root, out);
    BASE_TRY(print_signature(of, root, "inputs", out, diag));
    BASE_TRY(print_signature(of, root, "outputs", out, diag));
    if (json_object_get(root, "params") != NULL) {
        BASE_TRY(print_signature(of, root, "params", out, diag));
    }
    if (json_object_get(root, "ids") != NULL) {
        BASE_TRY(print_ids(of, root, out, diag));
    }
    BASE_TRY(print_program(of, root, "request", out, diag));
    BASE_TRY(print_program(of, root, "row", out, diag));
    if (of->failed) {
        return base_fail_memory(diag);
    }
    if (fflush(out) != 0 || ferror(out)) {
        return base_fail(diag, MTL_IO, "cannot print: %s", strerror(errno != 0 ? errno : EIO));
    }
    return MTL_OK;
}

mtl_status tool_info_print_text(json_t *root, FILE *out, base_diag *diag)
{
    base_arena arena = {0};
    table cells = {.arena = &arena};
    errno = 0;
    mtl_status status = print_all(&cells, root, out, diag);
    base_arena_free(&arena);
    return status;
}
