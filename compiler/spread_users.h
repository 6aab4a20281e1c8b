/* The seam between the request program and the row program. */
#ifndef COMPILER_SPREAD_USERS_H
#define COMPILER_SPREAD_USERS_H

#include "ir/graph.h"

/*     %y = mul %row, %users                  ->  %s = spread %users; %y = mul %row, %s
 *     output "y" = %users                    ->  %s = spread %users; output "y" = %s
 * `graph` is legal. Scratch from `arena`. Rates are to be inferred anew. */
mtl_status compiler_spread_users(ir_graph *graph, base_arena *arena, base_diag *diag);

#endif
