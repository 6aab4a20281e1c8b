/* Names and what they stand for (numbers, not 0): a hash table in an arena. Private to ir/. */
#ifndef IR_NAMES_H
#define IR_NAMES_H

#include <stdint.h>

#include "base/arena.h"

typedef struct ir_names ir_names;

/* NULL: no memory. */
ir_names *ir_names_new(base_arena *arena);
/* What stands behind that name; 0: it is not there. */
uint32_t ir_names_find(const ir_names *names, const char *name);
/* Adds a name that is not there; it is not copied. Zero: no memory. */
int ir_names_add(ir_names *names, const char *name, uint32_t value, base_arena *arena);
/* A name like `wish` that is not there, copied. NULL: no memory. */
const char *ir_names_unique(ir_names *names, const char *wish, base_arena *arena);

#endif
