/* Inputs that the model has once for all candidates, with a first axis of 1, and that the plan takes once a user: their
 * first axis is imported as the candidates. once.c keeps account of what that changes. Private to onnx/. */
#ifndef ONNX_ONCE_H
#define ONNX_ONCE_H

#include "onnx/internal.h"

/* What goes into a value. ONCE alone: in the model, the candidates' axis of this value is 1. */
enum { ONNX_FROM_ONCE = 1, ONNX_FROM_OTHERS = 2 };

/* `input` has been added in this way. */
mtl_status onnx_once_add(onnx_importer *importer, ir_value input);
/* ONNX_FROM_ flags of a value; 0 while there are no such inputs. */
mtl_status onnx_once_flags(onnx_importer *importer, ir_value value, unsigned *flags);

/* `value`, which is made of constants alone, has copies where the users are: in the model, 1. */
mtl_status onnx_once_mark(onnx_importer *importer, ir_value value);

/* once_shape.c: `to` is what a value is reshaped to, with one extent of -1 at most. If the value is ONCE and `to` has the
 * elements of one user, puts the users where they are in row-major order. Else leaves it as it is. */
mtl_status onnx_once_target(onnx_importer *importer, ir_value value, ir_type *to);
/* Operand `index`, if it is made of constants alone and has 1 on `axis`, where another has users, gets copies for them. */
mtl_status onnx_once_widen(onnx_node *node, size_t index, int axis);
/* `node`, whose data are constants, takes a shape in which the 1 is the users now: its results are marked, when done. */
void onnx_once_shaped(onnx_importer *importer);
mtl_status onnx_once_finish(onnx_node *node);

/* Fails at the first node where an axis of candidates and the model's 1 do not come to the same.
 * The proof: nodes without operands that are ONCE do what they did, as their operands are the same; what the others make
 * is ROW, so that candidate b's part depends on candidate b's alone, and what they make for one candidate is what the
 * model makes. */
mtl_status onnx_once_check(onnx_importer *importer);

/* Imports the main graph with what is declared and what is found to be there once. */
mtl_status onnx_import_users(onnx_importer *importer);

#endif
