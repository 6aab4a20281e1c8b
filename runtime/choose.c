/* Which provider computes a step: chosen once, when a plan is opened, from the operation, K, N and the CPU, never from
 * the number of rows.
 *
 * The table is what AUTO does. A row may name oneDNN only where equal rows keep equal bits whatever stands beside them;
 * oneDNN does not promise that of any primitive here, and its products were measured slower at ranker shapes on AVX2
 * (K 512, N 2048: 46 and 71 GFLOP/s at 4 and 16 rows, native 97 and 94), so that the table sends nothing there yet.
 */
#include "runtime/internal.h"
#include "runtime/native/native.h"

typedef struct rule {
    plan_op op;
    mtl_isa isa;         /* of the native kernels; AUTO: any */
    size_t min_k, min_n; /* of products */
    mtl_provider provider;
} rule;

/* The first row that fits decides; none: native. */
static const rule rules[] = {
    {PLAN_OP_linear, MTL_ISA_AVX512, 0, 0, MTL_PROVIDER_NATIVE},
    {PLAN_OP_linear, MTL_ISA_AVX2, 0, 0, MTL_PROVIDER_NATIVE},
    {PLAN_OP_linear, MTL_ISA_GENERIC, 0, 0, MTL_PROVIDER_NATIVE},
};

bool runtime_choose_onednn(const mtl_plan *plan, plan_op op, size_t k, size_t n)
{
    if (plan->provider != MTL_PROVIDER_AUTO) {
        return plan->provider == MTL_PROVIDER_ONEDNN;
    }
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        const rule *r = &rules[i];
        if (r->op == op && (r->isa == MTL_ISA_AUTO || r->isa == plan->native->isa) && k >= r->min_k && n >= r->min_n) {
            return r->provider == MTL_PROVIDER_ONEDNN;
        }
    }
    return false;
}

bool runtime_choose_needs_onednn(const mtl_plan *plan)
{
    return plan->provider == MTL_PROVIDER_ONEDNN;
}
