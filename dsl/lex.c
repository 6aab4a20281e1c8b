#include "dsl/lex.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const keywords[] = {"ranker", "tasks",  "input", "output", "block", "use",  "for",   "in",  "if",
                                       "else",   "return", "and",   "or",     "not",   "true", "false", "none"};

/* Longer ones first. */
static const char *const marks[] = {"==", "!=", "<=", ">=", "..", "(", ")", "[", "]", "{", "}",
                                    ",",  ":",  "=",  "+",  "-",  "*", "/", "%", "<", ">", "."};

enum { KEYWORDS = sizeof keywords / sizeof keywords[0], MARKS = sizeof marks / sizeof marks[0] };

void dsl_lex_begin(dsl_lexer *lexer, dsl_sources *sources, dsl_span part)
{
    *lexer = (dsl_lexer){.sources = sources, .text = part.text, .next = part.start, .end = part.start + part.length};
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static const char *bytes_of(const dsl_lexer *lexer)
{
    return lexer->sources->texts[lexer->text].bytes;
}

static char at(const dsl_lexer *lexer, uint32_t offset)
{
    return offset < lexer->end ? bytes_of(lexer)[offset] : '\0';
}

/* Blanks and comments, and newlines where they end nothing. */
static void skip_blanks(dsl_lexer *lexer)
{
    while (lexer->next < lexer->end) {
        char c = at(lexer, lexer->next);
        if (c == '#') {
            while (lexer->next < lexer->end && at(lexer, lexer->next) != '\n') {
                lexer->next++;
            }
        } else if (c == ' ' || c == '\t' || c == '\r' || (c == '\n' && lexer->depth > 0)) {
            lexer->next++;
        } else {
            return;
        }
    }
}

static void read_word(dsl_lexer *lexer, dsl_token *token)
{
    while (is_letter(at(lexer, lexer->next)) || is_digit(at(lexer, lexer->next))) {
        lexer->next++;
    }
    token->kind = DSL_TOKEN_NAME;
    token->span.length = lexer->next - token->span.start;
    for (int i = 0; i < KEYWORDS; i++) {
        bool same = strlen(keywords[i]) == token->span.length &&
                    memcmp(bytes_of(lexer) + token->span.start, keywords[i], token->span.length) == 0;
        if (same) {
            token->kind = DSL_TOKEN_KEYWORD;
            token->text = keywords[i];
        }
    }
}

static void bad(dsl_lexer *lexer, dsl_token *token, const char *what)
{
    token->kind = DSL_TOKEN_BAD;
    token->span.length = lexer->next - token->span.start;
    dsl_wrong(lexer->sources, token->span, "%s", what);
}

/* 12, 1_000, 0.5, 1e-5. Two dots behind a whole number begin a range. */
static mtl_status read_number(dsl_lexer *lexer, base_diag *diag, dsl_token *token)
{
    bool whole = true;
    uint32_t start = lexer->next;
    for (;; lexer->next++) {
        char c = at(lexer, lexer->next);
        bool sign = (c == '+' || c == '-') && lexer->next > start &&
                    (at(lexer, lexer->next - 1) == 'e' || at(lexer, lexer->next - 1) == 'E');
        bool dot = c == '.' && at(lexer, lexer->next + 1) != '.';
        if (!is_digit(c) && !is_letter(c) && !dot && !sign) {
            break;
        }
        whole = whole && (is_digit(c) || c == '_');
    }
    token->span.length = lexer->next - start;
    char *digits = base_arena_string_n(lexer->sources->arena, bytes_of(lexer) + start, token->span.length), *end;
    BASE_TRY_MEMORY(digits, diag);
    size_t kept = 0;
    for (size_t i = 0; digits[i] != '\0'; i++) {
        if (digits[i] != '_') {
            digits[kept++] = digits[i];
        }
    }
    digits[kept] = '\0';
    errno = 0;
    token->kind = whole ? DSL_TOKEN_INT : DSL_TOKEN_FLOAT;
    token->number = strtod(digits, &end);
    bool fits = errno == 0 && *end == '\0';
    if (whole && fits) {
        token->integer = strtoll(digits, &end, 10);
        fits = errno == 0;
    }
    if (!fits || strpbrk(digits, "xXpP") != NULL) {
        bad(lexer, token, "this is no number that can be had");
    }
    return MTL_OK;
}

static void read_string(dsl_lexer *lexer, dsl_token *token)
{
    lexer->next++;
    while (at(lexer, lexer->next) != '"') {
        if (lexer->next >= lexer->end || at(lexer, lexer->next) == '\n') {
            bad(lexer, token, "this string has no end on its line");
            return;
        }
        lexer->next += at(lexer, lexer->next) == '\\' && lexer->next + 1 < lexer->end ? 2 : 1;
    }
    lexer->next++;
    token->kind = DSL_TOKEN_STRING;
    token->span.length = lexer->next - token->span.start;
}

static void read_mark(dsl_lexer *lexer, dsl_token *token)
{
    for (int i = 0; i < MARKS; i++) {
        size_t length = strlen(marks[i]);
        if (lexer->end - lexer->next >= length && memcmp(bytes_of(lexer) + lexer->next, marks[i], length) == 0) {
            token->kind = DSL_TOKEN_MARK;
            token->text = marks[i];
            lexer->next += (uint32_t)length;
            token->span.length = (uint32_t)length;
            lexer->depth += *marks[i] == '(' || *marks[i] == '[' ? 1 : 0;
            lexer->depth -= (*marks[i] == ')' || *marks[i] == ']') && lexer->depth > 0 ? 1 : 0;
            return;
        }
    }
    do {
        lexer->next++; /* all bytes of a character */
    } while (lexer->next < lexer->end && ((unsigned char)at(lexer, lexer->next) & 0xc0) == 0x80);
    bad(lexer, token, "this character has no meaning here");
}

mtl_status dsl_lex_next(dsl_lexer *lexer, base_diag *diag, dsl_token *token)
{
    skip_blanks(lexer);
    *token = (dsl_token){.kind = DSL_TOKEN_END, .span = {lexer->text, lexer->next, 0}};
    if (lexer->next >= lexer->end) {
        return MTL_OK;
    }
    char c = at(lexer, lexer->next);
    if (c == '\n') {
        token->kind = DSL_TOKEN_NEWLINE;
        token->span.length = 1;
        lexer->next++;
    } else if (is_letter(c)) {
        read_word(lexer, token);
    } else if (is_digit(c)) {
        return read_number(lexer, diag, token);
    } else if (c == '"') {
        read_string(lexer, token);
    } else {
        read_mark(lexer, token);
    }
    if (token->kind == DSL_TOKEN_NAME) {
        token->text =
            base_arena_string_n(lexer->sources->arena, bytes_of(lexer) + token->span.start, token->span.length);
        BASE_TRY_MEMORY(token->text, diag);
    }
    return MTL_OK;
}
