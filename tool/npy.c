#include "tool/npy.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

/* NumPy's codes, without the byte order. The first code of a dtype is the one that we write. */
static const struct {
    const char *code;
    mtl_dtype dtype;
} codes[] = {
    {"f4", MTL_F32}, {"f8", MTL_F64}, {"f2", MTL_F16}, {"V2", MTL_BF16}, {"bfloat16", MTL_BF16},
    {"i8", MTL_I64}, {"i4", MTL_I32}, {"i2", MTL_I16}, {"i1", MTL_I8},   {"u8", MTL_U64},
    {"u4", MTL_U32}, {"u2", MTL_U16}, {"u1", MTL_U8},  {"b1", MTL_BOOL}, {"?", MTL_BOOL},
};

static bool say(char *message, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool say(char *message, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, TOOL_NPY_MESSAGE, format, arguments);
    va_end(arguments);
    return false;
}

bool tool_npy_length(const unsigned char *bytes, size_t size, size_t *length, size_t *text_at, char *message)
{
    if (size < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0) {
        return say(message, "not an array in NumPy's .npy format");
    }
    if (bytes[6] < 1 || bytes[6] > 3) {
        return say(message, "version %d.%d of the .npy format is unknown (1.0, 2.0 and 3.0 are known)", bytes[6],
                   bytes[7]);
    }
    *text_at = bytes[6] == 1 ? 10 : TOOL_NPY_PREFIX;
    if (size < *text_at) {
        return say(message, "it ends inside of the .npy header");
    }
    size_t text = bytes[8] | (size_t)bytes[9] << 8;
    if (bytes[6] > 1) {
        text |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    }
    if (text > TOOL_NPY_HEADER_LIMIT) {
        return say(message, "its .npy header has %zu bytes, expected at most %d", text, TOOL_NPY_HEADER_LIMIT);
    }
    *length = *text_at + text;
    return true;
}

/* What is left of the text. */
typedef struct cursor {
    const char *at, *end;
    char *message;
} cursor;

static void skip_blanks(cursor *text)
{
    while (text->at < text->end && (*text->at == ' ' || *text->at == '\n' || *text->at == '\t' || *text->at == '\r')) {
        text->at++;
    }
}

static bool accept(cursor *text, char c)
{
    skip_blanks(text);
    if (text->at == text->end || *text->at != c) {
        return false;
    }
    text->at++;
    return true;
}

static bool accept_word(cursor *text, const char *word)
{
    skip_blanks(text);
    size_t length = strlen(word);
    if ((size_t)(text->end - text->at) < length || memcmp(text->at, word, length) != 0) {
        return false;
    }
    text->at += length;
    return true;
}

/* 'text' or "text" without escapes, cut to what `size` holds. */
static bool parse_string(cursor *text, char *result, size_t size)
{
    skip_blanks(text);
    if (text->at == text->end || (*text->at != '\'' && *text->at != '"')) {
        return say(text->message, "its .npy header has no string where one is expected");
    }
    char quote = *text->at++;
    const char *close = memchr(text->at, quote, (size_t)(text->end - text->at));
    if (close == NULL) {
        return say(text->message, "a string in its .npy header does not end");
    }
    snprintf(result, size, "%.*s", close - text->at > 200 ? 200 : (int)(close - text->at), text->at);
    text->at = close + 1;
    return true;
}

static mtl_status parse_descr(cursor *text, mtl_dtype *dtype)
{
    char descr[64];
    skip_blanks(text);
    if (text->at < text->end && *text->at == '[') {
        say(text->message, "records (structured dtypes) are not supported");
        return MTL_UNSUPPORTED;
    }
    if (!parse_string(text, descr, sizeof descr)) {
        return MTL_INVALID_DATA;
    }
    const char *code = strchr("<>|=", descr[0]) != NULL && descr[0] != '\0' ? descr + 1 : descr;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (strcmp(code, codes[i].code) != 0) {
            continue;
        }
        if (descr[0] == '>' && mtl_dtype_size(codes[i].dtype) > 1) {
            say(text->message, "dtype '%s' is big-endian; save it as little-endian (x.astype('<%s'))", descr, code);
            return MTL_UNSUPPORTED;
        }
        *dtype = codes[i].dtype;
        return MTL_OK;
    }
    say(text->message, "dtype '%s' is not supported", descr);
    return MTL_UNSUPPORTED;
}

static bool parse_extent(cursor *text, int64_t *extent)
{
    skip_blanks(text);
    const char *begin = text->at;
    int64_t number = 0;
    for (; text->at < text->end && *text->at >= '0' && *text->at <= '9'; text->at++) {
        if (!base_mul_i64(number, 10, &number) || !base_add_i64(number, *text->at - '0', &number)) {
            return say(text->message, "an extent of its shape is too large");
        }
    }
    if (text->at == begin) {
        return say(text->message, "its shape is not a tuple of whole numbers");
    }
    (void)(text->at < text->end && *text->at == 'L' && text->at++); /* Python 2 wrote long integers so */
    *extent = number;
    return true;
}

static mtl_status parse_shape(cursor *text, tool_npy_header *header)
{
    if (!accept(text, '(')) {
        say(text->message, "its shape is not a tuple");
        return MTL_INVALID_DATA;
    }
    for (header->rank = 0; !accept(text, ')');) {
        int64_t extent = 0;
        if (!parse_extent(text, &extent)) {
            return MTL_INVALID_DATA;
        }
        if (header->rank == MTL_MAX_RANK) {
            say(text->message, "it has more than %d axes", MTL_MAX_RANK);
            return MTL_UNSUPPORTED;
        }
        header->shape[header->rank++] = extent;
        bool more = accept(text, ',');
        skip_blanks(text);
        if (!more && (text->at == text->end || *text->at != ')')) {
            say(text->message, "its shape is not a tuple of whole numbers");
            return MTL_INVALID_DATA;
        }
    }
    return MTL_OK;
}

/* One 'key': value; *seen gets the key's bit. */
static mtl_status parse_item(cursor *text, tool_npy_header *header, unsigned *seen)
{
    char key[32];
    mtl_status status = MTL_OK;
    if (!parse_string(text, key, sizeof key)) {
        return MTL_INVALID_DATA;
    }
    unsigned bit = strcmp(key, "descr") == 0           ? 1
                   : strcmp(key, "fortran_order") == 0 ? 2
                   : strcmp(key, "shape") == 0         ? 4
                                                       : 0;
    if (bit == 0 || (*seen & bit) != 0 || !accept(text, ':')) {
        say(text->message, "its .npy header has an unexpected key '%s'", key);
        return MTL_INVALID_DATA;
    }
    *seen |= bit;
    if (bit == 1) {
        status = parse_descr(text, &header->dtype);
    } else if (bit == 4) {
        status = parse_shape(text, header);
    } else if (accept_word(text, "True")) {
        header->fortran_order = true;
    } else if (!accept_word(text, "False")) {
        say(text->message, "fortran_order is neither True nor False");
        status = MTL_INVALID_DATA;
    }
    return status;
}

mtl_status tool_npy_parse(const char *text, size_t size, tool_npy_header *header, char *message)
{
    cursor rest = {.at = text, .end = text + size, .message = message};
    unsigned seen = 0;
    *header = (tool_npy_header){0};
    bool open = accept(&rest, '{');
    while (open && !accept(&rest, '}')) {
        BASE_TRY(parse_item(&rest, header, &seen));
        if (!accept(&rest, ',')) {
            open = accept(&rest, '}');
            break;
        }
    }
    if (!open || seen != 7) {
        say(message, "its .npy header is not a dict of 'descr', 'fortran_order' and 'shape'");
        return MTL_INVALID_DATA;
    }
    return MTL_OK;
}

size_t tool_npy_write(const tool_npy_header *header, unsigned char *bytes)
{
    const char *code = "";
    for (size_t i = sizeof codes / sizeof codes[0]; i-- > 0;) {
        code = codes[i].dtype == header->dtype ? codes[i].code : code;
    }
    char text[TOOL_NPY_WRITTEN];
    char order = mtl_dtype_size(header->dtype) == 1 ? '|' : '<';
    int length = snprintf(text, sizeof text, "{'descr': '%c%s', 'fortran_order': False, 'shape': (", order, code);
    for (int32_t axis = 0; axis < header->rank; axis++) { /* 8 extents of at most 20 characters fit */
        length += snprintf(text + length, sizeof text - (size_t)length, "%lld%s", (long long)header->shape[axis],
                           header->rank == 1         ? ","
                           : axis + 1 < header->rank ? ", "
                                                     : "");
    }
    length += snprintf(text + length, sizeof text - (size_t)length, "), }");
    size_t whole = (10 + (size_t)length + 1 + 63) / 64 * 64;
    memset(bytes, ' ', whole);
    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    bytes[8] = (unsigned char)((whole - 10) & 0xff);
    bytes[9] = (unsigned char)((whole - 10) >> 8);
    memcpy(bytes + 10, text, (size_t)length);
    bytes[whole - 1] = '\n';
    return whole;
}

bool tool_npy_bytes(const tool_npy_header *header, size_t *bytes)
{
    size_t total = mtl_dtype_size(header->dtype);
    bool empty = false;
    for (int32_t axis = 0; axis < header->rank; axis++) {
        if (header->shape[axis] < 0 || (uint64_t)header->shape[axis] > SIZE_MAX) {
            return false;
        }
        empty |= header->shape[axis] == 0;
        size_t extent = header->shape[axis] == 0 ? 1 : (size_t)header->shape[axis]; /* a 0 hides no overflow */
        if (!base_mul_size(total, extent, &total)) {
            return false;
        }
    }
    *bytes = empty ? 0 : total;
    return true;
}
