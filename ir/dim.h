/* Symbolic extents: linear expressions c + sum k_i s_i over a few named symbols, each a whole number >= 1. */
#ifndef IR_DIM_H
#define IR_DIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

enum {
    IR_MAX_SYMBOLS = 4,
    IR_SYMBOL_ROWS = 0, /* the candidates, always there */
};

typedef struct ir_symbols {
    const char *name[IR_MAX_SYMBOLS];
    int count;
} ir_symbols;

typedef struct ir_dim {
    int64_t c;
    int64_t k[IR_MAX_SYMBOLS];
} ir_dim;

ir_dim ir_dim_const(int64_t number);
ir_dim ir_dim_symbol(int symbol);
bool ir_dim_is_const(ir_dim dim);
bool ir_dim_is(ir_dim dim, int64_t number);
bool ir_dim_equal(ir_dim a, ir_dim b);
/* False: overflow, or not linear. */
bool ir_dim_add(ir_dim a, ir_dim b, ir_dim *result);
bool ir_dim_sub(ir_dim a, ir_dim b, ir_dim *result);
bool ir_dim_mul(ir_dim a, ir_dim b, ir_dim *result);
/* Exact quotient: a == b x result for all symbols. */
bool ir_dim_div(ir_dim a, ir_dim b, ir_dim *result);
/* -1, 0, 1 when a < b, a == b, a > b for all symbols >= 1; false when that depends on them. */
bool ir_dim_compare(ir_dim a, ir_dim b, int *order);
/* The number for given symbols; false: overflow. */
bool ir_dim_eval(ir_dim dim, const int64_t *symbols, int64_t *number);
/* "512", "B", "4*B+1". NULL: no memory. */
char *ir_dim_text(ir_dim dim, const ir_symbols *symbols, base_arena *arena);

#endif
