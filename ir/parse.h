/* Private to parse.c and parse_const.c. Every function of the parser stands at its first token and leaves the token
 * behind what it read; none calls itself. */
#ifndef IR_PARSE_H
#define IR_PARSE_H

#include "ir/graph.h"
#include "ir/lex.h"

typedef struct ir_parser {
    ir_lexer lexer;
    ir_token token; /* the next one */
    ir_graph *graph;
    base_arena *arena;
    base_diag *diag;
    const ir_constants *constants;
    ir_value *operands;
    size_t operand_capacity;
} ir_parser;

mtl_status ir_parse_next(ir_parser *p);
bool ir_parse_at(const ir_parser *p, char mark);
mtl_status ir_parse_mark(ir_parser *p, char mark);
/* Behind an element of a list: takes a comma and sets *more, or takes `close` and clears it. */
mtl_status ir_parse_comma(ir_parser *p, char close, bool *more);
/* A whole number in the range of `dtype`, an integer type; uint64 as its bits. */
mtl_status ir_parse_int(ir_parser *p, mtl_dtype dtype, int64_t *number);
mtl_status ir_parse_float(ir_parser *p, double *number);
/* An error from elsewhere gets line and column of `at` in front. Returns `status`. */
mtl_status ir_parse_wrap(ir_parser *p, const ir_token *at, mtl_status status, const mtl_error *inner);

/* The elements of a constant: in full, or as a hash with the bytes from p->constants. `name` is its name. */
mtl_status ir_parse_tensor(ir_parser *p, const ir_token *name, const ir_type *type, ir_tensor *tensor);

#endif
