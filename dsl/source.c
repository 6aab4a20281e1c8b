#include "dsl/source.h"

#include <stdarg.h>
#include <string.h>

#include "base/names.h"

mtl_status dsl_add_text(dsl_sources *sources, const char *name, const char *bytes, size_t length, base_diag *diag,
                        uint32_t *text)
{
    if (sources->text_count == DSL_MAX_SOURCES) {
        return base_fail(diag, MTL_UNSUPPORTED, "more than %d files", DSL_MAX_SOURCES);
    }
    if (length > DSL_MAX_TEXT) {
        return base_fail(diag, MTL_UNSUPPORTED, "%s: %zu bytes, expected at most %d", name, length, DSL_MAX_TEXT);
    }
    *text = sources->text_count++;
    sources->texts[*text] = (dsl_text){.name = name, .bytes = bytes, .length = length};
    return MTL_OK;
}

void dsl_wrong(dsl_sources *sources, dsl_span at, const char *format, ...)
{
    char message[MTL_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < sources->error_count; i++) {
        const dsl_error *other = &sources->errors[i];
        if (other->at.text == at.text && other->at.start == at.start && strcmp(other->message, message) == 0) {
            return;
        }
    }
    if (sources->error_count == DSL_MAX_ERRORS) {
        sources->suppressed++;
        return;
    }
    const char *kept = base_arena_string(sources->arena, message);
    dsl_error error = {.at = at, .message = kept != NULL ? kept : "out of memory"};
    size_t i = sources->error_count++;
    for (; i > 0; i--) { /* by place; the library comes first, and has none */
        const dsl_error *before = &sources->errors[i - 1];
        if (before->at.text < at.text || (before->at.text == at.text && before->at.start <= at.start)) {
            break;
        }
        sources->errors[i] = *before;
    }
    sources->errors[i] = error;
}

static const char *line_of(const dsl_text *text, uint32_t start, int *line)
{
    const char *begin = text->bytes;
    *line = 1;
    for (uint32_t i = 0; i < start && i < text->length; i++) {
        if (text->bytes[i] == '\n') {
            ++*line;
            begin = text->bytes + i + 1;
        }
    }
    return begin;
}

static bool begins_character(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

void dsl_place(const dsl_sources *sources, dsl_span at, int *line, int *column)
{
    const dsl_text *text = &sources->texts[at.text];
    const char *begin = line_of(text, at.start, line);
    *column = 1;
    for (const char *c = begin; c < text->bytes + at.start; c++) {
        *column += begins_character(*c);
    }
}

/* The line, with what cannot be shown as a question mark, and carets below the span. */
static void print_line(const dsl_text *text, dsl_span at, FILE *out)
{
    int line;
    const char *begin = line_of(text, at.start, &line), *end = text->bytes + text->length;
    const char *from = text->bytes + at.start, *to = from + at.length;
    fprintf(out, "%5d | ", line);
    const char *c = begin;
    for (; c < end && *c != '\n'; c++) {
        unsigned char byte = (unsigned char)*c;
        fputc(byte == '\t'                                    ? ' '
              : (byte < 0x20 && byte != '\r') || byte == 0x7f ? '?'
              : byte == '\r'                                  ? ' '
                                                              : byte,
              out);
    }
    fputs("\n      | ", out);
    for (const char *d = begin; d < from; d++) {
        if (begins_character(*d)) {
            fputc(' ', out);
        }
    }
    fputc('^', out);
    for (const char *d = from + 1; d < to && d < c; d++) {
        if (begins_character(*d)) {
            fputc('~', out);
        }
    }
    fputc('\n', out);
}

void dsl_print_errors(const dsl_sources *sources, FILE *out)
{
    for (size_t i = 0; i < sources->error_count; i++) {
        const dsl_error *error = &sources->errors[i];
        int line, column;
        dsl_place(sources, error->at, &line, &column);
        fprintf(out, "%s:%d:%d: error: %s\n", sources->texts[error->at.text].name, line, column, error->message);
        print_line(&sources->texts[error->at.text], error->at, out);
    }
    if (sources->suppressed > 0) {
        fprintf(out, "and %zu more\n", sources->suppressed);
    }
}

mtl_status dsl_first_error(const dsl_sources *sources, base_diag *diag)
{
    if (sources->error_count == 0) {
        return MTL_OK;
    }
    const dsl_error *error = &sources->errors[0];
    int line, column;
    dsl_place(sources, error->at, &line, &column);
    base_diag bare = {.error = diag != NULL ? diag->error : NULL};
    size_t more = sources->error_count - 1 + sources->suppressed;
    if (more == 0) {
        return base_fail(&bare, MTL_INVALID_DATA, "%s:%d:%d: %s", sources->texts[error->at.text].name, line, column,
                         error->message);
    }
    return base_fail(&bare, MTL_INVALID_DATA, "%s:%d:%d: %s (and %zu more)", sources->texts[error->at.text].name, line,
                     column, error->message, more);
}

const char *dsl_nearest(const char *wrong, const char *const *names, size_t count)
{
    size_t best = 1 + strlen(wrong) / 3;
    const char *nearest = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t far = base_name_distance(wrong, names[i]);
        if (far < best || (far == best && nearest == NULL)) {
            best = far;
            nearest = names[i];
        }
    }
    return nearest;
}
