/* What each kind of step is in oneDNN's terms. */
#include <string.h>

#include "runtime/onednn/internal.h"

static mtl_status operand_of(onednn_spec *spec, dnnl_data_type_t type, int rank, const size_t *extents,
                             const size_t *strides, base_diag *diag)
{
    dnnl_dims_t dims, steps;
    size_t dense = 1;
    for (int i = rank - 1; i >= 0; i--) {
        dims[i] = (dnnl_dim_t)extents[i];
        steps[i] = (dnnl_dim_t)(strides != NULL ? strides[i] : dense);
        dense *= extents[i];
    }
    dnnl_memory_desc_t fresh = NULL;
    const dnnl_status_t status = dnnl_memory_desc_create_with_strides(&fresh, rank, dims, type, steps);
    spec->operand[spec->count++] = status == dnnl_success ? fresh : NULL;
    return onednn_check(status, "describing an operand", diag);
}

/* Adds an operand with these extents and strides (NULL: dense) to a spec. */
static mtl_status operand(onednn_spec *spec, int rank, const size_t *extents, const size_t *strides, base_diag *diag)
{
    return operand_of(spec, dnnl_f32, rank, extents, strides, diag);
}

typedef struct row_recipe {
    onednn_spec base; /* all but the operands */
    size_t rows_most;
    /* Adds the operands for so many rows. */
    mtl_status (*operands)(const struct row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag);
    const void *shape;
    const_dnnl_memory_desc_t layout; /* of the weights, for linear with a copy of them */
    size_t columns, panels;          /* of the part at hand, for linear; panels 0: one panel, two-dimensional */
    size_t n, inner;                 /* for softmax, reduce, unary, layer norm */
    bool compares;                   /* for binary: y is bool */
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

static mtl_status copied_operands(const row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag)
{
    const onednn_linear *l = recipe->shape;
    BASE_TRY(operand(spec, 2, (const size_t[]){rows, l->k}, (const size_t[]){l->x_stride, 1}, diag));
    dnnl_memory_desc_t weights = NULL;
    const dnnl_status_t status = dnnl_memory_desc_clone(&weights, recipe->layout);
    spec->operand[spec->count++] = status == dnnl_success ? weights : NULL;
    BASE_TRY(onednn_check(status, "describing an operand", diag));
    return operand(spec, 2, (const size_t[]){rows, l->n}, (const size_t[]){l->y_stride, 1}, diag);
}

/* A copy of the weights in oneDNN's own layout, one for all row counts. */
static mtl_status add_copied(onednn_context *context, row_recipe *recipe, base_diag *diag, onednn_step *step)
{
    const onednn_linear *l = recipe->shape;
    if (l->w == NULL) {
        return MTL_UNSUPPORTED;
    }
    dnnl_memory_desc_t layout;
    BASE_TRY(onednn_own_layout(context, l, recipe->rows_most, diag, &layout));
    recipe->layout = layout;
    recipe->operands = copied_operands;
    step->part_count = 1;
    step->part[0] = (onednn_part){.repeat = 1};
    mtl_status status = add_part(context, recipe, diag, step, &step->part[0]);
    if (status == MTL_OK) {
        status = onednn_copy_weights(context, l, layout, diag, &step->copy);
    }
    dnnl_memory_desc_destroy(layout);
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
    mtl_status status = add_copied(context, &recipe, diag, &built);
    if (status == MTL_UNSUPPORTED) {
        status = add_blocked(context, &recipe, diag, &built);
    }
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
    case PLAN_REDUCE_prod: algorithm = dnnl_reduction_mul; break;
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

static size_t row_elements(const onednn_binary *p, const onednn_extents *e)
{
    return (e->m ? p->m : 1) * (e->n ? p->n : 1);
}

static mtl_status binary_operands(const row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag)
{
    const onednn_binary *p = recipe->shape;
    const onednn_extents all = {true, true, true}, *extents[] = {&p->a, &p->b, &all};
    for (int i = 0; i < 3; i++) {
        const onednn_extents *e = extents[i];
        const size_t shape[] = {e->rows ? rows : 1, e->m ? p->m : 1, e->n ? p->n : 1};
        const size_t flat[] = {shape[0], shape[1] * shape[2]};
        const dnnl_data_type_t type = i == 2 && recipe->compares ? dnnl_u8 : dnnl_f32;
        BASE_TRY(operand_of(spec, type, p->m == 1 ? 2 : 3, p->m == 1 ? flat : shape, NULL, diag));
    }
    return MTL_OK;
}

/* How oneDNN computes a function of ours: `turned`, with its operands in the other order. Its min and max lose NaN, and
 * its greater and greater_or_equal are true for NaN. */
typedef struct binary_form {
    onednn_kind kind;
    dnnl_alg_kind_t algorithm;
    bool commutes, turned, compares;
} binary_form;

static bool find_binary_form(plan_binary f, binary_form *form)
{
    *form = (binary_form){.kind = ONEDNN_BINARY};
    switch (f) {
    case PLAN_BINARY_add: *form = (binary_form){ONEDNN_BINARY, dnnl_binary_add, true, false, false}; return true;
    case PLAN_BINARY_mul: *form = (binary_form){ONEDNN_BINARY, dnnl_binary_mul, true, false, false}; return true;
    case PLAN_BINARY_sub: form->algorithm = dnnl_binary_sub; return true;
    case PLAN_BINARY_div: form->algorithm = dnnl_binary_div; return true;
    case PLAN_BINARY_prelu: form->kind = ONEDNN_PRELU; return true;
    case PLAN_BINARY_equal: *form = (binary_form){ONEDNN_BINARY, dnnl_binary_eq, true, false, true}; return true;
    case PLAN_BINARY_less: *form = (binary_form){ONEDNN_BINARY, dnnl_binary_lt, false, false, true}; return true;
    case PLAN_BINARY_less_or_equal:
        *form = (binary_form){ONEDNN_BINARY, dnnl_binary_le, false, false, true};
        return true;
    case PLAN_BINARY_greater: *form = (binary_form){ONEDNN_BINARY, dnnl_binary_lt, false, true, true}; return true;
    case PLAN_BINARY_greater_or_equal:
        *form = (binary_form){ONEDNN_BINARY, dnnl_binary_le, false, true, true};
        return true;
    default: return false;
    }
}

static bool is_whole(const onednn_binary *p, const onednn_extents *e)
{
    return e->rows && (e->m || p->m == 1) && (e->n || p->n == 1);
}

mtl_status onednn_add_binary(onednn_context *context, plan_binary f, const onednn_binary *shape, size_t max_rows,
                             base_diag *diag, const onednn_step **step)
{
    binary_form form;
    if (shape->m == 0 || shape->n == 0 || !find_binary_form(f, &form)) {
        return MTL_UNSUPPORTED;
    }
    /* oneDNN broadcasts the second operand only. */
    const bool swapped = form.turned || (form.commutes && !is_whole(shape, &shape->a));
    const onednn_binary turned = {shape->m, shape->n, shape->b, shape->a};
    const onednn_binary *used = swapped ? &turned : shape;
    if (!is_whole(used, &used->a)) {
        return MTL_UNSUPPORTED;
    }
    const row_recipe recipe = {
        .base = {.kind = form.kind, .algorithm = form.algorithm},
        .rows_most = max_rows,
        .operands = binary_operands,
        .shape = used,
        .compares = form.compares,
    };
    const size_t all = shape->m * shape->n;
    onednn_step built = {
        .operand_count = 3,
        .swapped = swapped,
        .y_size = form.compares ? 1 : 0,
        .row = {all, used->b.rows ? row_elements(used, &used->b) : 0, all},
    };
    return add_single(context, &recipe, &built, diag, step);
}

static mtl_status layer_norm_operands(const row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag)
{
    const unsigned flags = recipe->base.flags;
    BASE_TRY(operand(spec, 2, (const size_t[]){rows, recipe->n}, NULL, diag));
    for (int i = 0; i < 2; i++) {
        if (flags & (unsigned)(i == 0 ? dnnl_use_scale : dnnl_use_shift)) {
            BASE_TRY(operand(spec, 1, (const size_t[]){recipe->n}, NULL, diag));
        }
    }
    return operand(spec, 2, (const size_t[]){rows, recipe->n}, NULL, diag);
}

mtl_status onednn_add_layer_norm(onednn_context *context, size_t n, bool scale, bool bias, float epsilon,
                                 size_t max_rows, base_diag *diag, const onednn_step **step)
{
    if (n == 0) {
        return MTL_UNSUPPORTED;
    }
    const unsigned flags = (scale ? (unsigned)dnnl_use_scale : 0) | (bias ? (unsigned)dnnl_use_shift : 0);
    const row_recipe recipe = {
        .base = {.kind = ONEDNN_LAYER_NORM, .alpha = epsilon, .flags = flags},
        .rows_most = max_rows,
        .operands = layer_norm_operands,
        .n = n,
    };
    onednn_step built = {.operand_count = 2u + scale + bias, .row = {n}};
    built.row[built.operand_count - 1] = n;
    return add_single(context, &recipe, &built, diag, step);
}

typedef struct concat_shape {
    const size_t *widths;
    size_t count, sum;
} concat_shape;

static mtl_status concat_operands(const row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag)
{
    const concat_shape *p = recipe->shape;
    for (size_t i = 0; i < p->count; i++) {
        BASE_TRY(operand(spec, 2, (const size_t[]){rows, p->widths[i]}, NULL, diag));
    }
    return operand(spec, 2, (const size_t[]){rows, p->sum}, NULL, diag);
}

mtl_status onednn_add_concat(onednn_context *context, const size_t *widths, size_t count, size_t max_rows,
                             base_diag *diag, const onednn_step **step)
{
    if (count == 0 || count > ONEDNN_SOURCES) {
        return MTL_UNSUPPORTED;
    }
    concat_shape shape = {.widths = widths, .count = count};
    onednn_step built = {.operand_count = (unsigned)count + 1};
    for (size_t i = 0; i < count; i++) {
        if (widths[i] == 0) {
            return MTL_UNSUPPORTED;
        }
        built.row[i] = widths[i];
        shape.sum += widths[i];
    }
    built.row[count] = shape.sum;
    const row_recipe recipe = {.base = {.kind = ONEDNN_CONCAT, .axis = 1},
                               .rows_most = max_rows,
                               .operands = concat_operands,
                               .shape = &shape};
    return add_single(context, &recipe, &built, diag, step);
}

typedef struct move_shape {
    const size_t *extents, *strides;
    unsigned rank;
} move_shape;

static mtl_status move_operands(const row_recipe *recipe, size_t rows, onednn_spec *spec, base_diag *diag)
{
    const move_shape *p = recipe->shape;
    size_t extents[MTL_MAX_RANK + 1] = {rows};
    memcpy(extents + 1, p->extents, p->rank * sizeof *extents);
    BASE_TRY(operand(spec, (int)p->rank + 1, extents, p->strides, diag));
    return operand(spec, (int)p->rank + 1, extents, NULL, diag);
}

mtl_status onednn_add_move(onednn_context *context, const size_t *extents, unsigned rank, const size_t *strides,
                           size_t max_rows, base_diag *diag, const onednn_step **step)
{
    size_t all = 1;
    for (unsigned i = 0; i < rank; i++) {
        all *= extents[i];
    }
    for (unsigned i = 0; i <= rank; i++) { /* 0 would repeat an element, which oneDNN has no reorder for */
        all = strides[i] == 0 ? 0 : all;
    }
    if (all == 0 || rank > MTL_MAX_RANK) {
        return MTL_UNSUPPORTED;
    }
    const move_shape shape = {extents, strides, rank};
    const row_recipe recipe = {
        .base = {.kind = ONEDNN_REORDER}, .rows_most = max_rows, .operands = move_operands, .shape = &shape};
    onednn_step built = {.operand_count = 2, .row = {strides[0], all}};
    return add_single(context, &recipe, &built, diag, step);
}

const char *onednn_step_implementation(const onednn_step *step)
{
    return step->part[0].power[step->power_count - 1]->implementation;
}
