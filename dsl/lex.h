/* Words of the ranker language. A newline ends a statement, but not inside of ( ) or [ ]. `#` begins a comment. */
#ifndef DSL_LEX_H
#define DSL_LEX_H

#include "dsl/source.h"

typedef enum dsl_token_kind {
    DSL_TOKEN_END,
    DSL_TOKEN_NEWLINE,
    DSL_TOKEN_NAME,
    DSL_TOKEN_KEYWORD,
    DSL_TOKEN_INT,
    DSL_TOKEN_FLOAT,
    DSL_TOKEN_STRING, /* the span has the quotes; what is in them is as written */
    DSL_TOKEN_MARK,   /* one or two characters: ( ) [ ] { } , : = + - * / % == != < <= > >= . .. */
    DSL_TOKEN_BAD     /* an error was noted */
} dsl_token_kind;

typedef struct dsl_token {
    dsl_token_kind kind;
    dsl_span span;
    const char *text; /* NAME, KEYWORD, MARK: the word itself */
    int64_t integer;
    double number; /* INT, too */
} dsl_token;

typedef struct dsl_lexer {
    dsl_sources *sources;
    uint32_t text;
    uint32_t next, end; /* bytes of the text */
    int depth;          /* of open ( and [ */
} dsl_lexer;

void dsl_lex_begin(dsl_lexer *lexer, dsl_sources *sources, dsl_span part);
/* Errors are noted in the sources, and give DSL_TOKEN_BAD. MTL_OUT_OF_MEMORY is the only status but MTL_OK. */
mtl_status dsl_lex_next(dsl_lexer *lexer, base_diag *diag, dsl_token *token);

#endif
