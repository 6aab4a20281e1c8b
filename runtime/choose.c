/* Which provider computes a step: chosen once, when a plan is opened, from the operation, K, N and the CPU, never from
 * the number of rows.
 *
 * AUTO goes by the table, which is made from measurements. A row of it names oneDNN only where that is faster and keeps
 * what the default configuration promises: equal rows have equal bits whatever stands beside them, and a run allocates
 * nothing.
 */
#include "runtime/internal.h"
#include "runtime/native/native.h"

typedef struct rule {
    plan_op op;
    mtl_isa isa;             /* of the native kernels */
    size_t least_k, least_n; /* K of products, else 0; N: columns, or elements of a row */
    mtl_provider provider;
} rule;

/* The first row that fits decides; none: native. */
static const rule rules[] = {
#define PROVIDER(op, isa, k, n, provider) {PLAN_OP_##op, MTL_ISA_##isa, k, n, MTL_PROVIDER_##provider},
#include "runtime/providers.def"
#undef PROVIDER
};

enum { RULES = sizeof rules / sizeof rules[0] };

bool runtime_choose_needs_onednn(const mtl_plan *plan)
{
    if (plan->provider != MTL_PROVIDER_AUTO) {
        return plan->provider == MTL_PROVIDER_ONEDNN;
    }
    for (size_t i = 0; i < RULES; i++) {
        if (rules[i].isa == plan->native->isa && rules[i].provider == MTL_PROVIDER_ONEDNN) {
            return true;
        }
    }
    return false;
}

bool runtime_choose_onednn(const mtl_plan *plan, plan_op op, size_t k, size_t n)
{
    if (plan->provider != MTL_PROVIDER_AUTO) {
        return plan->provider == MTL_PROVIDER_ONEDNN;
    }
    for (size_t i = 0; i < RULES; i++) {
        const rule *r = &rules[i];
        if (r->op == op && r->isa == plan->native->isa && k >= r->least_k && n >= r->least_n) {
            return r->provider == MTL_PROVIDER_ONEDNN;
        }
    }
    return false;
}
