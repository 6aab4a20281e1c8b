#include "runtime/lookups.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The attributes of a policy, those of gather from ROW on and those of bag, are alike. */
_Static_assert(PLAN_GATHER_INPUT - PLAN_GATHER_ROW == PLAN_BAG_INPUT - PLAN_BAG_ROW &&
                   PLAN_GATHER_TABLE - PLAN_GATHER_ROW == PLAN_BAG_TABLE - PLAN_BAG_ROW,
               "row, input, table");

static bool has_policy(const plan_view *view, const plan_step *step)
{
    return (step->op == PLAN_OP_gather && step->function != 0) ||
           (step->op == PLAN_OP_bag && view->attrs[step->attrs + PLAN_BAG_POLICY] != 0);
}

static mtl_lookup_info lookup_at(const plan_view *view, const plan_step *step)
{
    bool gather = step->op == PLAN_OP_gather;
    const int64_t *attrs = view->attrs + step->attrs, *row = attrs + (gather ? PLAN_GATHER_ROW : PLAN_BAG_ROW);
    const mtl_dim *dims = plan_dims(view, plan_operand(view, step, 0));
    return (mtl_lookup_info){
        .input = plan_string(view, (uint32_t)row[PLAN_GATHER_INPUT - PLAN_GATHER_ROW]),
        .table = plan_string(view, (uint32_t)row[PLAN_GATHER_TABLE - PLAN_GATHER_ROW]),
        .rows = dims[gather ? attrs[PLAN_GATHER_AXIS] : 0].fixed,
        .policy = (mtl_id_policy)(gather ? step->function : attrs[PLAN_BAG_POLICY]),
        .row = row[0],
    };
}

/* Strings are there once, and the first ones come first. */
static int compare(const void *left, const void *right)
{
    const mtl_lookup_info *a = left, *b = right;
    if (a->input != b->input) {
        return a->input < b->input ? -1 : 1;
    }
    if (a->table != b->table) {
        return a->table < b->table ? -1 : 1;
    }
    if (a->rows != b->rows) {
        return a->rows < b->rows ? -1 : 1;
    }
    if (a->policy != b->policy) {
        return a->policy < b->policy ? -1 : 1;
    }
    return (a->row > b->row) - (a->row < b->row);
}

mtl_status runtime_find_lookups(mtl_plan *plan, base_diag *diag)
{
    const plan_view *view = &plan->view;
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < view->step_count; i++) {
        count += has_policy(view, &view->steps[i]);
    }
    if (count == 0) {
        return MTL_OK;
    }
    mtl_lookup_info *lookups = RUNTIME_NEW(&plan->memory, mtl_lookup_info, count);
    BASE_TRY_MEMORY(lookups, diag);
    count = 0;
    for (size_t i = 0; i < view->step_count; i++) {
        if (has_policy(view, &view->steps[i])) {
            lookups[count++] = lookup_at(view, &view->steps[i]);
        }
    }
    qsort(lookups, count, sizeof *lookups, compare);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare(&lookups[kept - 1], &lookups[i]) != 0) {
            lookups[kept++] = lookups[i];
        }
    }
    plan->lookups = lookups;
    plan->lookup_count = kept;
    return MTL_OK;
}

uint32_t runtime_lookup_of(const mtl_plan *plan, const plan_step *step)
{
    mtl_lookup_info wanted = lookup_at(&plan->view, step);
    const mtl_lookup_info *found = bsearch(&wanted, plan->lookups, plan->lookup_count, sizeof wanted, compare);
    return (uint32_t)(found - plan->lookups);
}

size_t mtl_plan_lookup_count(const mtl_plan *plan)
{
    return plan->lookup_count;
}

const mtl_lookup_info *mtl_plan_lookup(const mtl_plan *plan, size_t index)
{
    return index < plan->lookup_count ? &plan->lookups[index] : NULL;
}

uint64_t mtl_session_outside_ids(const mtl_session *session, size_t lookup)
{
    return lookup < session->plan->lookup_count ? atomic_load_explicit(&session->outside[lookup], memory_order_relaxed)
                                                : 0;
}
