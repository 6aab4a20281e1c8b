/* The program of a `chain`: element-wise functions of floats, one after the other. An accumulator begins as operand 0;
 * each step makes it f(accumulator), or g(accumulator, operand) or g(operand, accumulator).
 *
 *     program="prelu 1; mul 2; 3 sub; clip(-1, 1)"
 *
 * A number behind or before a function's name is that of the operand which stands there; numbers in parentheses are a
 * unary function's attributes, in the order of attrs.def. `mod` with the dividend's sign is written `fmod`.
 */
#ifndef IR_CHAIN_H
#define IR_CHAIN_H

#include "ir/graph.h"

enum { IR_CHAIN_MAX = 32 }; /* steps */

typedef struct ir_chain_step {
    ir_op op;
    ir_attr attrs[2]; /* in the order of attrs.def, without text or ints */
    uint32_t attr_count;
    uint32_t operand;   /* 1 or more: of the node; 0: a unary function */
    bool operand_first; /* g(operand, accumulator) */
} ir_chain_step;

typedef struct ir_chain {
    ir_chain_step steps[IR_CHAIN_MAX];
    size_t count; /* 1 or more */
} ir_chain;

/* Reads a program. False: it is none; *at is then where reading stopped, in bytes. */
bool ir_chain_read(const char *program, ir_chain *chain, size_t *at);
/* The canonical text. NULL: no memory. */
char *ir_chain_text(const ir_chain *chain, base_arena *arena);

/* An element-wise node as a step; the operand of a binary one is to be set. False: a chain has no such step. Types are not
 * looked at. */
bool ir_chain_step_of(const ir_node_info *node, ir_chain_step *step);
/* The other way: op and attributes, which live as long as `step`; no operands and results. */
ir_node_info ir_chain_node(ir_chain_step *step);

/* Whether an operand of that type can meet an accumulator of type `x`: it is of the same type, or the same for all
 * positions of some leading axes, which it lacks or has with extent 1, and fixed. */
bool ir_chain_fits(const ir_type *operand, const ir_type *x);

#endif
