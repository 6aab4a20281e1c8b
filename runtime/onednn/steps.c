/* What each kind of step is in oneDNN's terms. */
#include <string.h>

#include "runtime/onednn/internal.h"

/* Adds an operand with these extents and strides (NULL: dense) to a spec. */
static mtl_status operand(onednn_spec *spec, int rank, const size_t *extents, const size_t *strides, base_diag *diag)
{
    dnnl_dims_t dims, steps;
    size_t dense = 1;
    for (int i = rank - 1; i >= 0; i--) {
        dims[i] = (dnnl_dim_t)extents[i];
        steps[i] = (dnnl_dim_t)(strides != NULL ? strides[i] : dense);
        dense *= extents[i];
    }
    dnnl_memory_desc_t fresh = NULL;
    const dnnl_status_t status = dnnl_memory_desc_create_with_strides(&fresh, rank, dims, dnnl_f32, steps);
    spec->operand[spec->count++] = status == dnnl_success ? fresh : NULL;
    return onednn_check(status, "describing an operand", diag);
}

typedef struct row_recipe {
    onednn_spec base; /* all but the operands */
    size_t rows_most;
    /* Adds the operands for so many rows. */
    mtl_status (*operands)(const struct row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag);
    const void *shape;
    size_t columns, panels; /* of the part at hand, for linear; panels 0: one panel, two-dimensional */
    size_t n, inner;        /* for softmax, reduce, unary */
} row_recipe;

static mtl_status add_part(onednn_context *context, const row_recipe *recipe, base_diag *diag, onednn_step *step,
                           onednn_part *part)
{
    step->power_count = 0;
    for (size_t rows = 1; rows <= recipe->rows_most && step->power_count < ONEDNN_POWERS; rows *= 2) {
        onednn_spec spec = recipe->base;
        mtl_status status = recipe->operands(recipe, rows, &spec, diag);
        if (status == MTL_OK) {
            status = onednn_find(context, &spec, diag, &part->power[step->power_count]);
        } else {
            for (unsigned i = 0; i < spec.count; i++) {
                if (spec.operand[i] != NULL) {
                    dnnl_memory_desc_destroy(spec.operand[i]);
                }
            }
        }
        BASE_TRY(status);
        step->power_count++;
    }
    return MTL_OK;
}

/* Keeps the step that was built on the caller's stack. */
static mtl_status keep(onednn_context *context, const onednn_step *built, base_diag *diag, const onednn_step **step)
{
    onednn_step *fresh = context->allocator.allocate(context->allocator.context, sizeof *fresh, 64);
    BASE_TRY_MEMORY(fresh, diag);
    *fresh = *built;
    fresh->next = context->steps;
    context->steps = fresh;
    *step = fresh;
    return MTL_OK;
}

static mtl_status add_single(onednn_context *context, const row_recipe *recipe, onednn_step *built, base_diag *diag,
                             const onednn_step **step)
{
    built->part_count = 1;
    built->part[0].repeat = 1;
    BASE_TRY(add_part(context, recipe, diag, built, &built->part[0]));
    return keep(context, built, diag, step);
}

/* All panels as one matrix in the layout of oneDNN's own kernels: blocks of 16 columns outside, k in blocks of 16
 * inside are our panels when k is a multiple of 16. */
static mtl_status blocked_operands(const row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag)
{
    const onednn_linear *l = recipe->shape;
    BASE_TRY(operand(spec, 2, (const size_t[]){rows, l->k}, (const size_t[]){l->x_stride, 1}, diag));
    dnnl_memory_desc_t weights = NULL;
    const dnnl_dims_t dims = {(dnnl_dim_t)l->k, (dnnl_dim_t)l->n};
    const dnnl_status_t status = dnnl_memory_desc_create_with_tag(&weights, 2, dims, dnnl_f32, dnnl_BA16a16b);
    spec->operand[spec->count++] = status == dnnl_success ? weights : NULL;
    BASE_TRY(onednn_check(status, "describing an operand", diag));
    return operand(spec, 2, (const size_t[]){rows, l->n}, (const size_t[]){l->y_stride, 1}, diag);
}

/* The panels as a batch that x is broadcast to: src (1, rows, k), weights (panels, k, 16), dst (panels, rows, 16) with
 * panels 16 apart. */
static mtl_status panels_operands(const row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag)
{
    const onednn_linear *l = recipe->shape;
    const size_t columns = recipe->columns;
    BASE_TRY(
        operand(spec, 3, (const size_t[]){1, rows, l->k}, (const size_t[]){rows * l->x_stride, l->x_stride, 1}, diag));
    BASE_TRY(operand(spec, 3, (const size_t[]){recipe->panels, l->k, columns},
                     (const size_t[]){l->k * PLAN_PANEL, PLAN_PANEL, 1}, diag));
    return operand(spec, 3, (const size_t[]){recipe->panels, rows, columns},
                   (const size_t[]){PLAN_PANEL, l->y_stride, 1}, diag);
}

/* One panel, or the first columns of it: src (rows, k), weights (k, columns), dst (rows, columns). */
static mtl_status panel_operands(const row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag)
{
    const onednn_linear *l = recipe->shape;
    BASE_TRY(operand(spec, 2, (const size_t[]){rows, l->k}, (const size_t[]){l->x_stride, 1}, diag));
    BASE_TRY(operand(spec, 2, (const size_t[]){l->k, recipe->columns}, (const size_t[]){PLAN_PANEL, 1}, diag));
    return operand(spec, 2, (const size_t[]){rows, recipe->columns}, (const size_t[]){l->y_stride, 1}, diag);
}

static mtl_status add_blocked(onednn_context *context, row_recipe *recipe, base_diag *diag, onednn_step *step)
{
    const onednn_linear *l = recipe->shape;
    if (l->k % PLAN_PANEL != 0) {
        return MTL_UNSUPPORTED;
    }
    recipe->operands = blocked_operands;
    step->part_count = 1;
    step->part[0] = (onednn_part){.repeat = 1};
    return add_part(context, recipe, diag, step, &step->part[0]);
}

/* Whole panels as one batch; where oneDNN has that only as reference code, panel by panel. */
static mtl_status add_panels(onednn_context *context, row_recipe *recipe, size_t panels, base_diag *diag,
                             onednn_step *step)
{
    const onednn_linear *l = recipe->shape;
    onednn_part *part = &step->part[step->part_count++];
    recipe->columns = PLAN_PANEL;
    recipe->panels = panels;
    recipe->operands = panels > 1 ? panels_operands : panel_operands;
    *part = (onednn_part){.repeat = 1};
    mtl_status status = add_part(context, recipe, diag, step, part);
    if (status == MTL_UNSUPPORTED && panels > 1) {
        recipe->operands = panel_operands;
        *part = (onednn_part){.repeat = panels, .w_step = l->k * PLAN_PANEL, .y_step = PLAN_PANEL};
        status = add_part(context, recipe, diag, step, part);
    }
    return status;
}

mtl_status onednn_add_linear(onednn_context *context, const onednn_linear *shape, size_t max_rows, base_diag *diag,
                             const onednn_step **step)
{
    const size_t panels = shape->n / PLAN_PANEL, tail = shape->n % PLAN_PANEL;
    if (shape->k == 0 || shape->n == 0) {
        return MTL_UNSUPPORTED;
    }
    onednn_step built = {
        .operand_count = 3,
        .row = {shape->x_stride, 0, shape->y_stride},
        .n = shape->n,
        .groups = shape->groups,
        .group = {shape->x_group, native_panels(shape->k, shape->n), shape->y_group},
        .bias_group = native_padded(shape->n),
    };
    row_recipe recipe = {.base = {.kind = ONEDNN_MATMUL}, .rows_most = max_rows, .shape = shape};
    const mtl_status status = add_blocked(context, &recipe, diag, &built);
    if (status != MTL_UNSUPPORTED) {
        return status == MTL_OK ? keep(context, &built, diag, step) : status;
    }
    built.part_count = 0;
    if (panels > 0) {
        BASE_TRY(add_panels(context, &recipe, panels, diag, &built));
    }
    if (tail > 0) {
        onednn_part *part = &built.part[built.part_count++];
        *part = (onednn_part){.repeat = 1, .w_first = panels * shape->k * PLAN_PANEL, .y_first = panels * PLAN_PANEL};
        recipe.columns = tail;
        recipe.operands = panel_operands;
        BASE_TRY(add_part(context, &recipe, diag, &built, part));
    }
    return keep(context, &built, diag, step);
}

static mtl_status matmul_operands(const row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag)
{
    const onednn_matmul *p = recipe->shape;
    BASE_TRY(operand(spec, 3, (const size_t[]){p->a_per_row ? rows : 1, p->m, p->k}, NULL, diag));
    BASE_TRY(operand(spec, 3, (const size_t[]){p->b_per_row ? rows : 1, p->k, p->n}, NULL, diag));
    return operand(spec, 3, (const size_t[]){rows, p->m, p->n}, NULL, diag);
}

mtl_status onednn_add_matmul(onednn_context *context, const onednn_matmul *shape, size_t max_rows, base_diag *diag,
                             const onednn_step **step)
{
    if (shape->m == 0 || shape->k == 0 || shape->n == 0 || (!shape->a_per_row && !shape->b_per_row)) {
        return MTL_UNSUPPORTED;
    }
    onednn_step built = {
        .operand_count = 3,
        .row = {shape->a_per_row ? shape->m * shape->k : 0, shape->b_per_row ? shape->k * shape->n : 0,
                shape->m * shape->n},
    };
    const row_recipe recipe = {
        .base = {.kind = ONEDNN_MATMUL}, .rows_most = max_rows, .operands = matmul_operands, .shape = shape};
    return add_single(context, &recipe, &built, diag, step);
}

static mtl_status same_operands(const row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag)
{
    const int rank = recipe->inner == 1 ? 2 : 3;
    for (int i = 0; i < 2; i++) {
        BASE_TRY(operand(spec, rank, (const size_t[]){rows, recipe->n, recipe->inner}, NULL, diag));
    }
    return MTL_OK;
}

mtl_status onednn_add_softmax(onednn_context *context, plan_softmax f, size_t n, size_t inner, size_t max_rows,
                              base_diag *diag, const onednn_step **step)
{
    if (n == 0 || inner == 0) {
        return MTL_UNSUPPORTED;
    }
    onednn_step built = {.operand_count = 2, .row = {n * inner, n * inner}};
    const row_recipe recipe = {
        .base = {.kind = ONEDNN_SOFTMAX,
                 .algorithm = f == PLAN_SOFTMAX_softmax ? dnnl_softmax_accurate : dnnl_softmax_log,
                 .axis = 1},
        .rows_most = max_rows,
        .operands = same_operands,
        .n = n,
        .inner = inner,
    };
    return add_single(context, &recipe, &built, diag, step);
}

static mtl_status reduce_operands(const row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag)
{
    const int rank = recipe->inner == 1 ? 2 : 3; /* a last extent of 1 would take oneDNN to its reference code */
    BASE_TRY(operand(spec, rank, (const size_t[]){rows, recipe->n, recipe->inner}, NULL, diag));
    return operand(spec, rank, (const size_t[]){rows, 1, recipe->inner}, NULL, diag);
}

mtl_status onednn_add_reduce(onednn_context *context, plan_reduce f, size_t n, size_t inner, size_t max_rows,
                             base_diag *diag, const onednn_step **step)
{
    dnnl_alg_kind_t algorithm;
    switch (f) {
    case PLAN_REDUCE_sum: algorithm = dnnl_reduction_sum; break;
    case PLAN_REDUCE_mean: algorithm = dnnl_reduction_mean; break;
    default: return MTL_UNSUPPORTED; /* its max and min lose NaN */
    }
    if (n < 2 || inner == 0) {
        return MTL_UNSUPPORTED; /* nothing to reduce is an error for oneDNN */
    }
    onednn_step built = {.operand_count = 2, .row = {n * inner, inner}};
    const row_recipe recipe = {
        .base = {.kind = ONEDNN_REDUCTION, .algorithm = algorithm},
        .rows_most = max_rows,
        .operands = reduce_operands,
        .n = n,
        .inner = inner,
    };
    return add_single(context, &recipe, &built, diag, step);
}

/* False: oneDNN has no such function, or one that loses NaN (relu, exp, hard_sigmoid, clip). */
static bool eltwise(plan_unary f, float a, float b, onednn_spec *spec)
{
    static const struct {
        plan_unary f;
        dnnl_alg_kind_t algorithm;
    } functions[] = {
        {PLAN_UNARY_leaky_relu, dnnl_eltwise_relu},    {PLAN_UNARY_sigmoid, dnnl_eltwise_logistic},
        {PLAN_UNARY_tanh, dnnl_eltwise_tanh},          {PLAN_UNARY_log, dnnl_eltwise_log},
        {PLAN_UNARY_sqrt, dnnl_eltwise_sqrt},          {PLAN_UNARY_abs, dnnl_eltwise_abs},
        {PLAN_UNARY_round, dnnl_eltwise_round},        {PLAN_UNARY_elu, dnnl_eltwise_elu},
        {PLAN_UNARY_swish, dnnl_eltwise_swish},        {PLAN_UNARY_mish, dnnl_eltwise_mish},
        {PLAN_UNARY_softplus, dnnl_eltwise_soft_relu}, {PLAN_UNARY_hard_swish, dnnl_eltwise_hardswish},
        {PLAN_UNARY_gelu, dnnl_eltwise_gelu_erf},
    };
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        if (functions[i].f == f && (f != PLAN_UNARY_leaky_relu || a != 0)) {
            spec->algorithm = f == PLAN_UNARY_gelu && a != 0 ? dnnl_eltwise_gelu_tanh : functions[i].algorithm;
            spec->alpha = f == PLAN_UNARY_gelu ? 0 : a;
            spec->beta = b;
            if (f == PLAN_UNARY_softplus) {
                spec->alpha = 1;
            } else if (f == PLAN_UNARY_hard_swish) {
                spec->alpha = 1.0f / 6;
                spec->beta = 0.5f;
            }
            return true;
        }
    }
    return false;
}

mtl_status onednn_add_unary(onednn_context *context, plan_unary f, float a, float b, size_t n, size_t max_rows,
                            base_diag *diag, const onednn_step **step)
{
    row_recipe recipe = {
        .base = {.kind = ONEDNN_ELTWISE}, .rows_most = max_rows, .operands = same_operands, .n = n, .inner = 1};
    if (n == 0 || !eltwise(f, a, b, &recipe.base)) {
        return MTL_UNSUPPORTED;
    }
    onednn_step built = {.operand_count = 2, .row = {n, n}};
    return add_single(context, &recipe, &built, diag, step);
}

static mtl_status binary_operands(const row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag)
{
    const onednn_binary *p = recipe->shape;
    BASE_TRY(operand(spec, 2, (const size_t[]){p->a_per_row ? rows : 1, p->a_full ? p->n : 1}, NULL, diag));
    BASE_TRY(operand(spec, 2, (const size_t[]){p->b_per_row ? rows : 1, p->b_full ? p->n : 1}, NULL, diag));
    return operand(spec, 2, (const size_t[]){rows, p->n}, NULL, diag);
}

mtl_status onednn_add_binary(onednn_context *context, plan_binary f, const onednn_binary *shape, size_t max_rows,
                             base_diag *diag, const onednn_step **step)
{
    row_recipe recipe = {.base = {.kind = ONEDNN_BINARY}, .rows_most = max_rows, .operands = binary_operands};
    switch (f) {
    case PLAN_BINARY_add: recipe.base.algorithm = dnnl_binary_add; break;
    case PLAN_BINARY_sub: recipe.base.algorithm = dnnl_binary_sub; break;
    case PLAN_BINARY_mul: recipe.base.algorithm = dnnl_binary_mul; break;
    case PLAN_BINARY_div: recipe.base.algorithm = dnnl_binary_div; break;
    default: return MTL_UNSUPPORTED; /* its min and max lose NaN */
    }
    /* oneDNN broadcasts the second operand only. */
    const bool a_whole = shape->a_per_row && (shape->a_full || shape->n == 1);
    const bool b_whole = shape->b_per_row && (shape->b_full || shape->n == 1);
    const bool commutes = f != PLAN_BINARY_sub && f != PLAN_BINARY_div;
    if (shape->n == 0 || (!a_whole && !(b_whole && commutes))) {
        return MTL_UNSUPPORTED;
    }
    const onednn_binary swapped = {shape->n, shape->b_per_row, shape->b_full, shape->a_per_row, shape->a_full};
    const onednn_binary *used = a_whole ? shape : &swapped;
    recipe.shape = used;
    onednn_step built = {
        .operand_count = 3,
        .swapped = !a_whole,
        .row = {shape->n, used->b_per_row ? (used->b_full ? shape->n : 1) : 0, shape->n},
    };
    return add_single(context, &recipe, &built, diag, step);
}

const char *onednn_step_implementation(const onednn_step *step)
{
    return step->part[0].power[step->power_count - 1]->implementation;
}
