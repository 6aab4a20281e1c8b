/* The lookups of a plan that have a policy for ids outside of their table, and counters of these in every session. */
#ifndef RUNTIME_LOOKUPS_H
#define RUNTIME_LOOKUPS_H

#include "runtime/internal.h"

/* Lists them in plan->lookups: one for each input, table and policy, however many steps there are. */
mtl_status runtime_find_lookups(mtl_plan *plan, base_diag *diag);

/* The place in that list of a step with a policy. */
uint32_t runtime_lookup_of(const mtl_plan *plan, const plan_step *step);

#endif
