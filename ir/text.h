/* Words of the text form that more than one file writes or reads: names, strings, numbers. Private to ir/. */
#ifndef IR_TEXT_H
#define IR_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

/* Plain names: a letter or '_', then letters, digits, '_' and '.' (ASCII). Others are quoted. */
bool ir_text_is_name_start(char c);
bool ir_text_is_name_char(char c);
bool ir_text_is_name(const char *text);

/* `text` in double quotes with \" \\ \n \t and \xHH for other control characters. NULL: no memory. */
char *ir_text_quote(const char *text, base_arena *arena);
/* `text` itself when it is a plain name, else quoted. NULL: no memory. */
const char *ir_text_name(const char *text, base_arena *arena);

/* A finite or infinite number or NaN as the shortest text that ir_text_to_float reads back to the same bits (of a NaN:
 * to a NaN). With a final 'f' it is the nearest float32 of the digits ("0.1f"), else the nearest float64. The same in
 * every locale. */
enum { IR_TEXT_FLOAT_SIZE = 40 };
void ir_text_float(double number, char text[static IR_TEXT_FLOAT_SIZE]);
/* All of `length` characters as a number; false: they are none. Too large is infinite, and false as well. */
bool ir_text_to_float(const char *text, size_t length, double *number);

#endif
