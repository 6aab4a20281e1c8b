/* The last rewrite before lowering: every node becomes one that a plan has a step for. */
#ifndef COMPILER_LEGALIZE_H
#define COMPILER_LEGALIZE_H

#include "ir/graph.h"

/*     %y = reduce_sum %x {axes=[0, 2]}       ->  %t = transpose %x {perm=[1, 0, 2]}; %y = reduce_sum %t {axes=[1, 2]}
 *     %y = matmul %vector, %w                ->  reshape to a matrix, matmul, reshape back
 *     %y = relu %int                         ->  max with 0
 *     %y = pow %float, %int                  ->  cast of the exponent, pow
 * A node that no plan can express is MTL_UNSUPPORTED, by name. */
mtl_status compiler_legalize(ir_graph *graph, base_diag *diag);

#endif
