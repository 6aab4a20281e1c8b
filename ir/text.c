#include "ir/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ir_text_is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool ir_text_is_name_char(char c)
{
    return ir_text_is_name_start(c) || is_digit(c) || c == '.';
}

bool ir_text_is_name(const char *text)
{
    if (!ir_text_is_name_start(*text)) {
        return false;
    }
    while (ir_text_is_name_char(*text)) {
        text++;
    }
    return *text == '\0';
}

char *ir_text_quote(const char *text, base_arena *arena)
{
    static const char digits[] = "0123456789abcdef";
    size_t length = strlen(text);
    char *quoted = base_arena_alloc_array(arena, length + 1, 4);
    if (quoted == NULL) {
        return NULL;
    }
    char *out = quoted;
    *out++ = '"';
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            *out++ = '\\';
            *out++ = (char)c;
        } else if (c == '\n' || c == '\t') {
            *out++ = '\\';
            *out++ = c == '\n' ? 'n' : 't';
        } else if (c < 0x20 || c == 0x7f) {
            *out++ = '\\';
            *out++ = 'x';
            *out++ = digits[c >> 4];
            *out++ = digits[c & 15];
        } else {
            *out++ = (char)c;
        }
    }
    *out++ = '"';
    *out = '\0'; /* 4 x (length + 1) is enough: two quotes and the end are 3 */
    return quoted;
}

const char *ir_text_name(const char *text, base_arena *arena)
{
    return ir_text_is_name(text) ? text : ir_text_quote(text, arena);
}

/* What this thread's locale writes between the whole and the fraction, as a string. */
static void decimal_point(char *point, size_t size)
{
    char half[16];
    snprintf(half, sizeof half, "%.1f", 0.5); /* "0.5" */
    size_t length = strlen(half);
    snprintf(point, size, "%.*s", length > 2 ? (int)length - 2 : 0, half + 1);
}

/* "%.*g" with a '.' whatever the locale. */
static void format(double number, int precision, char *text, size_t size)
{
    snprintf(text, size, "%.*g", precision, number);
    char *out = text;
    bool point = false;
    for (const char *in = text; *in != '\0'; in++) {
        if (is_digit(*in) || *in == '-' || *in == '+' || *in == 'e') {
            *out++ = *in;
            point = false;
        } else if (!point) {
            *out++ = '.';
            point = true;
        }
    }
    *out = '\0';
}

void ir_text_float(double number, char text[static IR_TEXT_FLOAT_SIZE])
{
    if (isnan(number) || isinf(number)) {
        snprintf(text, IR_TEXT_FLOAT_SIZE, "%s", isnan(number) ? "nan" : number < 0 ? "-inf" : "inf");
        return;
    }
    if (fabs(number) < 1e15 && number == trunc(number)) {
        snprintf(text, IR_TEXT_FLOAT_SIZE, "%.0f", number); /* 100, not 1e+02 */
        return;
    }
    double back;
    bool is_float = fabs(number) <= 0x1.fffffep127 && (double)(float)number == number;
    for (int precision = 1; precision <= 17; precision++) {
        format(number, precision, text, IR_TEXT_FLOAT_SIZE);
        size_t length = strlen(text);
        if (ir_text_to_float(text, length, &back) && back == number) {
            return;
        }
        text[length] = 'f';
        text[length + 1] = '\0';
        if (is_float && ir_text_to_float(text, length + 1, &back) && back == number) {
            return;
        }
    }
}

/* Digits with at most one '.', then an exponent: what strtod would take of C's decimal numbers, and nothing else. */
static bool is_decimal(const char *text, size_t length)
{
    size_t i = 0, digits = 0;
    if (i < length && (text[i] == '-' || text[i] == '+')) {
        i++;
    }
    for (bool point = false; i < length && (is_digit(text[i]) || (text[i] == '.' && !point)); i++) {
        if (text[i] == '.') {
            point = true;
        } else {
            digits++;
        }
    }
    if (digits == 0) {
        return false;
    }
    if (i < length && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        if (i < length && (text[i] == '-' || text[i] == '+')) {
            i++;
        }
        size_t start = i;
        while (i < length && is_digit(text[i])) {
            i++;
        }
        if (i == start) {
            return false;
        }
    }
    return i == length;
}

bool ir_text_to_float(const char *text, size_t length, double *number)
{
    enum { LONGEST = 400 };
    char buffer[LONGEST + 16], point[8];
    bool minus = length > 0 && text[0] == '-';
    size_t sign = minus ? 1 : 0;
    if (length == sign + 3 && memcmp(text + sign, "inf", 3) == 0) {
        *number = minus ? -INFINITY : INFINITY;
        return true;
    }
    if (length == 3 && memcmp(text, "nan", 3) == 0) {
        *number = NAN;
        return true;
    }
    bool single = length > 0 && text[length - 1] == 'f';
    length -= single ? 1 : 0;
    if (length > LONGEST || !is_decimal(text, length)) {
        return false;
    }
    decimal_point(point, sizeof point);
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '.') {
            size_t size = strlen(point);
            memcpy(buffer + used, point, size);
            used += size;
        } else {
            buffer[used++] = text[i];
        }
    }
    buffer[used] = '\0';
    *number = single ? (double)strtof(buffer, NULL) : strtod(buffer, NULL);
    return !isinf(*number);
}
