#include "ir/lex.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ir/text.h"

void ir_lex_begin(ir_lexer *lexer, const char *text, size_t length, base_arena *arena, base_diag *diag)
{
    *lexer =
        (ir_lexer){.next = text, .end = text + length, .line = 1, .line_start = text, .arena = arena, .diag = diag};
}

static int column(const ir_token *token)
{
    int characters = 1;
    for (const char *c = token->line_start; c < token->start; c++) {
        characters += ((unsigned char)*c & 0xc0) != 0x80; /* bytes that continue a character do not count */
    }
    return characters;
}

mtl_status ir_lex_fail(base_diag *diag, const ir_token *at, const char *format, ...)
{
    char message[MTL_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return base_fail(diag, MTL_INVALID_DATA, "%d:%d: %s", at->line, column(at), message);
}

mtl_status ir_lex_expected(base_diag *diag, const ir_token *found, const char *what)
{
    if (found->kind == IR_TOKEN_END) {
        return ir_lex_fail(diag, found, "expected %s, found the end of the text", what);
    }
    int shown = found->length > 60 ? 60 : (int)found->length;
    return ir_lex_fail(diag, found, "expected %s, found %.*s%s", what, shown, found->start,
                       found->length > 60 ? "..." : "");
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_digit(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void skip_blanks(ir_lexer *lexer)
{
    for (; lexer->next < lexer->end; lexer->next++) {
        char c = *lexer->next;
        if (c == '\n') {
            lexer->line++;
            lexer->line_start = lexer->next + 1;
        } else if (c == '#') {
            while (lexer->next + 1 < lexer->end && lexer->next[1] != '\n') {
                lexer->next++;
            }
        } else if (c != ' ' && c != '\t' && c != '\r') {
            return;
        }
    }
}

/* One character of a string behind a backslash: its byte, or -1. */
static int escape(ir_lexer *lexer)
{
    if (lexer->next == lexer->end) {
        return -1;
    }
    char c = *lexer->next++;
    switch (c) {
    case '"':
    case '\\': return (unsigned char)c;
    case 'n': return '\n';
    case 't': return '\t';
    case 'x':
        if (lexer->end - lexer->next >= 2 && hex_digit(lexer->next[0]) >= 0 && hex_digit(lexer->next[1]) >= 0) {
            int byte = hex_digit(lexer->next[0]) * 16 + hex_digit(lexer->next[1]);
            lexer->next += 2;
            return byte != 0 ? byte : -1; /* names and strings end at a zero byte */
        }
        return -1;
    default: return -1;
    }
}

/* What stands between the quotes; lexer->next is behind the first one. */
static mtl_status lex_string(ir_lexer *lexer, ir_token *token)
{
    const char *close = lexer->next;
    while (close < lexer->end && *close != '"' && *close != '\n') {
        close += *close == '\\' && close + 1 < lexer->end ? 2 : 1;
    }
    if (close >= lexer->end || *close != '"') {
        return ir_lex_fail(lexer->diag, token, "expected \" at the end of the string, found the end of the line");
    }
    char *text = base_arena_alloc(lexer->arena, (size_t)(close - lexer->next) + 1);
    BASE_TRY_MEMORY(text, lexer->diag);
    token->text = text;
    while (lexer->next < close) {
        char c = *lexer->next++;
        if (c == '\\') {
            int byte = escape(lexer);
            if (byte < 0) {
                return ir_lex_fail(lexer->diag, token,
                                   "expected \\\" \\\\ \\n \\t or \\x01 to \\xff in the string, "
                                   "found another escape");
            }
            c = (char)byte;
        } else if (c == '\0') {
            return ir_lex_fail(lexer->diag, token, "expected no zero byte in the string");
        }
        *text++ = c;
    }
    lexer->next = close + 1;
    return MTL_OK;
}

static mtl_status lex_word(ir_lexer *lexer, ir_token *token)
{
    const char *start = lexer->next;
    while (lexer->next < lexer->end && ir_text_is_name_char(*lexer->next)) {
        lexer->next++;
    }
    token->text = base_arena_string_n(lexer->arena, start, (size_t)(lexer->next - start));
    BASE_TRY_MEMORY(token->text, lexer->diag);
    return MTL_OK;
}

/* A digit, then digits, letters and points, and a sign behind the e of an exponent. */
static mtl_status lex_number(ir_lexer *lexer, ir_token *token)
{
    const char *start = lexer->next;
    bool decimal = true;
    while (lexer->next < lexer->end) {
        char c = *lexer->next;
        bool exponent = (c == 'e' || c == 'E') && decimal;
        if (!ir_text_is_name_char(c)) {
            break;
        }
        decimal = decimal && (is_digit(c) || c == '.');
        lexer->next++;
        if (exponent && lexer->end - lexer->next >= 2 && (*lexer->next == '-' || *lexer->next == '+') &&
            is_digit(lexer->next[1])) {
            lexer->next++;
        }
    }
    token->text = base_arena_string_n(lexer->arena, start, (size_t)(lexer->next - start));
    BASE_TRY_MEMORY(token->text, lexer->diag);
    return MTL_OK;
}

static mtl_status lex_value(ir_lexer *lexer, ir_token *token)
{
    lexer->next++;
    if (lexer->next < lexer->end && *lexer->next == '"') {
        lexer->next++;
        BASE_TRY(lex_string(lexer, token));
    } else if (lexer->next < lexer->end && ir_text_is_name_start(*lexer->next)) {
        BASE_TRY(lex_word(lexer, token));
    } else {
        return ir_lex_fail(lexer->diag, token, "expected a name behind %%");
    }
    if (*token->text == '\0') {
        return ir_lex_fail(lexer->diag, token, "expected a name, found %%\"\"");
    }
    return MTL_OK;
}

mtl_status ir_lex_next(ir_lexer *lexer, ir_token *token)
{
    skip_blanks(lexer);
    *token =
        (ir_token){.kind = IR_TOKEN_END, .start = lexer->next, .line = lexer->line, .line_start = lexer->line_start};
    if (lexer->next == lexer->end) {
        return MTL_OK;
    }
    char c = *lexer->next;
    if (c == '%') {
        token->kind = IR_TOKEN_VALUE;
        BASE_TRY(lex_value(lexer, token));
    } else if (c == '"') {
        token->kind = IR_TOKEN_STRING;
        lexer->next++;
        BASE_TRY(lex_string(lexer, token));
    } else if (ir_text_is_name_start(c)) {
        token->kind = IR_TOKEN_NAME;
        BASE_TRY(lex_word(lexer, token));
    } else if (is_digit(c)) {
        token->kind = IR_TOKEN_NUMBER;
        BASE_TRY(lex_number(lexer, token));
    } else if (c != '\0' && strchr("()[]{},:=+-*", c) != NULL) {
        token->kind = IR_TOKEN_MARK;
        lexer->next++;
    } else {
        unsigned char byte = (unsigned char)c;
        if (byte > 0x20 && byte < 0x7f) {
            return ir_lex_fail(lexer->diag, token, "expected a word of the text form, found %c", c);
        }
        return ir_lex_fail(lexer->diag, token, "expected a word of the text form, found byte 0x%02x", byte);
    }
    token->length = (size_t)(lexer->next - token->start);
    return MTL_OK;
}
