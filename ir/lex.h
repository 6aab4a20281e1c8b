/* The words of the text form, one at a time. Private to ir/; the ranker language will read with it too. */
#ifndef IR_LEX_H
#define IR_LEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/diag.h"

typedef enum ir_token_kind {
    IR_TOKEN_END,    /* of the text */
    IR_TOKEN_NAME,   /* relu, B, f32, _ */
    IR_TOKEN_VALUE,  /* %h, %"expert.0/Gemm": `text` is the name without % and quotes */
    IR_TOKEN_STRING, /* "ctr": `text` is what stands between the quotes, escapes resolved */
    IR_TOKEN_NUMBER, /* a digit and what follows it: 12, 0.1f, 1e-5, 3fa9; never a sign */
    IR_TOKEN_MARK,   /* one of ( ) [ ] { } , : = + - * */
} ir_token_kind;

typedef struct ir_token {
    ir_token_kind kind;
    const char *start; /* in the source */
    size_t length;
    int line;               /* from 1 */
    const char *line_start; /* the column, counted in characters, follows from it when somebody asks */
    const char *text;       /* NAME, VALUE, STRING, NUMBER: NUL-terminated, in the arena */
} ir_token;

typedef struct ir_lexer {
    const char *next, *end;
    int line;
    const char *line_start;
    base_arena *arena;
    base_diag *diag;
} ir_lexer;

void ir_lex_begin(ir_lexer *lexer, const char *text, size_t length, base_arena *arena, base_diag *diag);
/* The next token. Spaces, newlines and comments from '#' to the end of the line separate tokens. Errors name line and
 * column: a character that begins no token, a string that does not end on its line, a bad escape. */
mtl_status ir_lex_next(ir_lexer *lexer, ir_token *token);

/* "LINE:COLUMN: " and the message. */
mtl_status ir_lex_fail(base_diag *diag, const ir_token *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "expected WHAT, found ..." at a token. */
mtl_status ir_lex_expected(base_diag *diag, const ir_token *found, const char *what);

#endif
