/* Which kernels this CPU runs. */
#include "runtime/native/native.h"
#include "runtime/native/tables.h"

/* __builtin_cpu_supports asks the operating system too: it masks what XGETBV says is not saved. */
static const native_kernels *avx512(void)
{
#ifdef NATIVE_HAS_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma")) {
        return &native_kernels_avx512;
    }
#endif
    return NULL;
}

static const native_kernels *avx2(void)
{
#ifdef NATIVE_HAS_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        return &native_kernels_avx2;
    }
#endif
    return NULL;
}

const native_kernels *native_select(mtl_isa isa)
{
    switch (isa) {
    case MTL_ISA_AUTO: {
        const native_kernels *best = avx512();
        best = best != NULL ? best : avx2();
        return best != NULL ? best : &native_kernels_generic;
    }
    case MTL_ISA_GENERIC: return &native_kernels_generic;
    case MTL_ISA_AVX2: return avx2();
    case MTL_ISA_AVX512: return avx512();
    }
    return NULL;
}

void native_linear_grouped(const native_kernels *kernels, const native_linear *call, size_t groups, size_t x_group,
                           size_t y_group)
{
    native_linear one = *call;
    /* Towers' heads have a column or few each: their activation follows for all groups and rows at once. */
    const size_t row = groups * call->n;
    const bool later = call->act != PLAN_UNARY_none && call->act != PLAN_UNARY_relu && y_group == call->n &&
                       call->y_stride == row && call->n < PLAN_PANEL && call->act_columns == 0;
    one.act = later ? PLAN_UNARY_none : call->act;
    for (size_t g = 0; g < groups; g++) {
        kernels->linear(&one);
        one.x += x_group;
        one.y += y_group;
        one.w += native_panels(call->k, call->n);
        if (one.bias != NULL) {
            one.bias += native_padded(call->n);
        }
        if (one.start != NULL) {
            one.start += call->n;
        }
    }
    if (later) {
        kernels->unary(call->act, call->a, call->b, call->y, call->y, call->rows * row);
    }
}

native_linear native_linear_columns(const native_linear *call, size_t from, size_t to)
{
    native_linear part = *call;
    const bool all = call->act_columns == 0;
    part.n = to - from;
    part.w += from * call->k;
    part.y += from;
    part.bias = call->bias != NULL ? call->bias + from : NULL;
    part.start = call->start != NULL ? call->start + from : NULL;
    if (!all && from >= call->act_columns) {
        part.act = PLAN_UNARY_none;
        part.act_columns = 0;
    } else if (!all) { /* a multiple of PLAN_PANEL, or at least all of the part */
        part.act_columns = call->act_columns - from < part.n ? call->act_columns - from : 0;
    }
    return part;
}
