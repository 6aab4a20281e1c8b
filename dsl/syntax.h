/* The syntax tree of the ranker language, and its parser. docs/language.md has the grammar.
 *
 * One struct for all nodes: a kind, a place, and children in the order that the kind says. */
#ifndef DSL_SYNTAX_H
#define DSL_SYNTAX_H

#include "dsl/source.h"

typedef enum dsl_kind {
    /* Expressions. */
    DSL_NAME,   /* text */
    DSL_INT,    /* integer */
    DSL_FLOAT,  /* number */
    DSL_WORD,   /* text: true, false, none */
    DSL_PIECE,  /* text: letters of a string */
    DSL_STRING, /* pieces and expressions in braces, in order */
    DSL_LIST,   /* items */
    DSL_EACH,   /* [item for names in source if condition]: item, source, condition or NULL, names */
    DSL_CALL,   /* what is called, arguments */
    DSL_NAMED,  /* text = child: an argument by name */
    DSL_INDEX,  /* of what, then an index or DSL_SLICE for each axis */
    DSL_SLICE,  /* from, to; NULL: open */
    DSL_DOT,    /* child.text */
    DSL_UNARY,  /* text: -, not; operand */
    DSL_BINARY, /* text: + - * / % == != < <= > >= and or; operands */
    DSL_RANGE,  /* from .. to */
    DSL_CHOICE, /* then if condition else otherwise: condition, then, otherwise or NULL */
    /* Statements. */
    DSL_ASSIGN, /* value, names */
    DSL_FOR,    /* source, body, names */
    DSL_IF,     /* condition, body, other body or NULL */
    DSL_RETURN, /* values */
    DSL_OUTPUT, /* name, value */
    DSL_DO,     /* an expression for what it does: check(...) */
    DSL_BODY,   /* statements */
    /* Declarations, at the top of a file. */
    DSL_RANKER, /* text */
    DSL_TASKS,  /* DSL_NAMED: a task and its kind, or NULL */
    DSL_INPUT,  /* text; kind; `request` */
    DSL_BLOCK,  /* text; body, then DSL_NAMED: parameters and their defaults, or NULL */
    DSL_USE,    /* text: a file */
    DSL_FILE    /* declarations and statements */
} dsl_kind;

typedef struct dsl_node {
    dsl_kind kind;
    dsl_span span;
    const char *text;
    int64_t integer;
    double number;
    bool request; /* DSL_INPUT: the same for all candidates of a user */
    struct dsl_node **child;
    size_t count;
} dsl_node;

/* Parses a whole text. Errors are noted in the sources; what could be read is in *file (a DSL_FILE) all the same, so that
 * later phases find more. The status is MTL_OK or MTL_OUT_OF_MEMORY. */
mtl_status dsl_parse(dsl_sources *sources, uint32_t text, base_diag *diag, dsl_node **file);

#endif
