/* Reading declarations of what is the same for all candidates of one user: texts, files and the model's hint. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "onnx/request.h"

enum {
    MOST_DECLARATIONS = 4096, /* each is compared with every input */
    MOST_SPANS = 4096         /* of one declaration */
};

static const char hint_key[] = "mtlc.request";

typedef struct reader {
    base_arena *arena;
    base_diag *diag;
    onnx_request *request;
    size_t capacity;
    const char *place;
    bool from_model;
} reader;

mtl_status onnx_request_fail(base_diag *diag, const onnx_declaration *declaration, const char *format, ...)
{
    char message[MTL_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return base_fail(diag, declaration->from_model ? MTL_INVALID_DATA : MTL_INVALID_ARGUMENT, "%.200s '%.100s': %s",
                     declaration->place, declaration->text, message);
}

/* --- one declaration ------------------------------------------------------------------------------------------ */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static const char *skip_spaces(const char *text)
{
    while (is_space(*text)) {
        text++;
    }
    return text;
}

/* A number of at most 18 digits, with a sign; false: there is none. */
static bool read_number(const char **text, int64_t *number)
{
    const char *digits = *text + (**text == '-' || **text == '+' ? 1 : 0);
    size_t length = strspn(digits, "0123456789");
    if (length == 0 || length > 18) {
        return false;
    }
    *number = (int64_t)strtoll(*text, NULL, 10);
    *text = skip_spaces(digits + length);
    return true;
}

/* FROM:TO, FROM:, :TO, ":" or N, up to the comma or bracket behind it. */
static bool read_span(const char **text, onnx_span *span)
{
    *span = (onnx_span){0};
    *text = skip_spaces(*text);
    span->has_from = read_number(text, &span->from);
    if (**text != ':') { /* -1 is -1: and not -1:0 */
        span->to = span->from + 1;
        span->has_to = span->to != 0;
        return span->has_from;
    }
    *text = skip_spaces(*text + 1);
    span->has_to = read_number(text, &span->to);
    return true;
}

/* What stands between the brackets; `text` is behind the opening one. */
static mtl_status read_spans(const reader *r, const char *text, onnx_declaration *d)
{
    size_t most = 1;
    for (const char *at = text; *at != '\0'; at++) {
        most += *at == ',' ? 1 : 0;
    }
    if (most > MOST_SPANS) {
        return onnx_request_fail(r->diag, d, "more than %d slices", MOST_SPANS);
    }
    d->spans = BASE_NEW_ARRAY(r->arena, onnx_span, most);
    BASE_TRY_MEMORY(d->spans, r->diag);
    for (bool more = true; more; text++) {
        bool read = read_span(&text, &d->spans[d->span_count++]);
        more = *text == ',';
        if (!read || (!more && (*text != ']' || text[1] != '\0'))) {
            return onnx_request_fail(r->diag, d,
                                     "expected NAME or NAME[:,FROM:TO,...], with the columns as Python's slices "
                                     "without a step");
        }
    }
    return MTL_OK;
}

static mtl_status grow(reader *r)
{
    size_t capacity = r->capacity == 0 ? 16 : r->capacity * 2;
    onnx_declaration *all = BASE_NEW_ARRAY(r->arena, onnx_declaration, capacity);
    BASE_TRY_MEMORY(all, r->diag);
    if (r->request->count > 0) {
        memcpy(all, r->request->all, r->request->count * sizeof *all);
    }
    r->request->all = all;
    r->capacity = capacity;
    return MTL_OK;
}

static mtl_status read_declaration(reader *r, const char *text, size_t length)
{
    while (length > 0 && is_space(text[0])) {
        text++;
        length--;
    }
    while (length > 0 && is_space(text[length - 1])) {
        length--;
    }
    if (r->request->count == MOST_DECLARATIONS) {
        return base_fail(r->diag, r->from_model ? MTL_INVALID_DATA : MTL_INVALID_ARGUMENT,
                         "%.200s: more than %d declarations", r->place, MOST_DECLARATIONS);
    }
    if (r->request->count == r->capacity) {
        BASE_TRY(grow(r));
    }
    onnx_declaration *d = &r->request->all[r->request->count++];
    *d = (onnx_declaration){.place = r->place, .from_model = r->from_model};
    d->text = base_arena_string_n(r->arena, text, length);
    BASE_TRY_MEMORY(d->text, r->diag);
    const char *bracket = strchr(d->text, '[');
    d->name = bracket == NULL ? d->text : base_arena_string_n(r->arena, d->text, (size_t)(bracket - d->text));
    BASE_TRY_MEMORY(d->name, r->diag);
    if (d->name[0] == '\0') {
        return onnx_request_fail(r->diag, d, "expected the name of an input");
    }
    return bracket != NULL ? read_spans(r, bracket + 1, d) : MTL_OK;
}

/* --- texts ---------------------------------------------------------------------------------------------------- */

/* Declarations between commas, but for those in brackets. */
static mtl_status read_list(reader *r, const char *text, size_t length)
{
    size_t start = 0;
    bool inside = false;
    for (size_t i = 0; i <= length; i++) {
        if (i == length || (text[i] == ',' && !inside)) {
            BASE_TRY(read_declaration(r, text + start, i - start));
            start = i + 1;
        } else {
            inside = text[i] == '[' || (inside && text[i] != ']');
        }
    }
    return MTL_OK;
}

/* Lines; # begins a comment at the start of a line or behind a space. `name` is where they stand: NAME:LINE. */
static mtl_status read_lines(reader *r, const char *name, const char *text, size_t length)
{
    size_t line = 1;
    for (size_t start = 0; start < length; line++) {
        const char *end = memchr(text + start, '\n', length - start);
        size_t next = end != NULL ? (size_t)(end - text) + 1 : length;
        size_t stop = start, last = start; /* behind the last letter that is no space */
        while (stop < next && (text[stop] != '#' || (stop > start && !is_space(text[stop - 1])))) {
            last = is_space(text[stop]) ? last : stop + 1;
            stop++;
        }
        if (last > start) {
            r->place = base_arena_format(r->arena, "%.180s:%zu", name, line);
            BASE_TRY_MEMORY(r->place, r->diag);
            BASE_TRY(read_list(r, text + start, last - start));
        }
        start = next;
    }
    return MTL_OK;
}

static mtl_status read_file(reader *r, const char *path)
{
    base_map map;
    base_diag diag = {.error = r->diag != NULL ? r->diag->error : NULL}; /* the error is the file's, not the model's */
    BASE_TRY(base_map_file(path, &diag, &map));
    const char *name = base_arena_format(r->arena, "--request @%s", path);
    mtl_status status = MTL_OK;
    if (memchr(map.data, '\0', map.size) != NULL) {
        status = base_fail(&diag, MTL_INVALID_DATA, "%s: expected text, found a byte 0", path);
    } else {
        status = name != NULL ? read_lines(r, name, map.data, map.size) : base_fail_memory(r->diag);
    }
    base_unmap(&map);
    return status;
}

static mtl_status read_hint(reader *r, const Onnx__ModelProto *model)
{
    static const char name[] = "metadata mtlc.request";
    r->from_model = true;
    for (size_t i = 0; i < model->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *entry = model->metadata_props[i];
        if (entry->key != NULL && strcmp(entry->key, hint_key) == 0 && entry->value != NULL) {
            BASE_TRY(read_lines(r, name, entry->value, strlen(entry->value)));
        }
    }
    return MTL_OK;
}

mtl_status onnx_request_read(const onnx_options *options, const Onnx__ModelProto *model, base_arena *arena,
                             base_diag *diag, onnx_request *request)
{
    reader r = {.arena = arena, .diag = diag, .request = request, .place = "--request"};
    *request = (onnx_request){0};
    if (options->no_request) {
        request->off = true;
        return MTL_OK;
    }
    if (options->request_count == 0) {
        return read_hint(&r, model);
    }
    for (size_t i = 0; i < options->request_count; i++) {
        const char *text = options->request[i];
        if (strcmp(text, "none") == 0) {
            request->off = true;
        } else if (text[0] == '@') {
            BASE_TRY(read_file(&r, text + 1));
        } else {
            r.place = "--request";
            BASE_TRY(read_list(&r, text, strlen(text)));
        }
    }
    if (request->off && options->request_count > 1) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "--request none goes alone");
    }
    return MTL_OK;
}
