/* Sums of values with constant weights become mixtures: the cross-stitch unit. Of single columns, such as scores that
 * are fused, they become a layer.
 *
 *     const %a : f32[2, 2]
 *     %u = reshape(%h0)                           : f32[B, 1, 8]
 *     %v = reshape(%h1)                           : f32[B, 1, 8]
 *     %x = concat(%u, %v) axis=1                  : f32[B, 2, 8]
 *     %y = matmul(%a, %x)                         : f32[B, 2, 8]
 *
 * becomes
 *
 *     const %w : f32[1, 2, 2]
 *     %y = mix(%w, %x) function="" index=[0, 1, 0, 1] : f32[B, 2, 8]
 *
 * and so do a linear layer over tasks that are stacked on the last axis, and
 *
 *     %p = mul(%h0, %a00)                         : f32[B, 8]
 *     %q = mul(%h1, %a01)                         : f32[B, 8]
 *     %y = add(%p, %q)                            : f32[B, 8]
 *
 * where a term may also come without a coefficient. A coefficient of 0 stays a term: 0 x inf is not 0. Coefficients of
 * each channel stay multiplications; a note says so.
 */
#include "passes/mixture.h"
#include "passes/passes.h"
#include "passes/sums.h"

static const char fate[] = "part of a sum with constant weights";

static bool fixed_behind_rows(const ir_type *type)
{
    bool fits = ir_dtype_is_float(type->dtype);
    for (int axis = 1; axis < type->rank && fits; axis++) {
        fits = ir_dim_is_const(type->dim[axis]) && type->dim[axis].c >= 1;
    }
    return fits;
}

/* Element i of `turned` weights (E, T), or of (T, E), as the weight of term i. */
static mtl_status read_weights(passes_rewriter *r, const ir_tensor *tensor, int64_t tasks, int64_t experts, bool turned,
                               const double **weights)
{
    double *numbers = BASE_NEW_ARRAY(&r->scratch, double, tensor->count);
    BASE_TRY_MEMORY(numbers, r->diag);
    for (int64_t i = 0; i < tasks * experts; i++) {
        numbers[i] = ir_tensor_at(tensor, (size_t)(turned ? i % experts * tasks + i / experts : i));
    }
    *weights = numbers;
    return MTL_OK;
}

/* --- products ------------------------------------------------------------------------------------------------ */

/* Constant weights (T, E) and x (B, E, H), or x (B, H, E) and constant weights (E, T). */
static mtl_status form_from_product(passes_rewriter *r, ir_node n, ir_value w, ir_value x, bool turned)
{
    const ir_tensor *tensor = ir_info(r->graph, w)->tensor;
    const ir_type *type = ir_type_of(r->graph, x);
    bool fits = type->rank == 3 && fixed_behind_rows(type) &&
                (tensor->rank == 2 || (tensor->rank == 3 && tensor->shape[0] == 1 && !turned));
    int expert = turned ? 2 : 1, column = turned ? 1 : 2;
    int64_t tasks = fits ? tensor->shape[tensor->rank - (turned ? 1 : 2)] : 0;
    int64_t experts = fits ? type->dim[expert].c : 0, width = fits ? type->dim[column].c : 0;
    passes_mixture mixture;
    if (!fits || width == 1 || experts == 1) {
        return MTL_OK;
    }
    BASE_TRY(passes_new_mixture(r, tasks, experts, &mixture, &fits));
    for (int64_t i = 0; i < tasks * experts && fits; i++) {
        passes_strip *strip = &mixture.values[i];
        *strip = (passes_strip){.value = x, .row = 0, .column = column, .length = width};
        strip->at[expert] = i % experts;
        passes_trace_strip(r->graph, strip);
        fits = !turned || strip->value != x; /* a layer over a value that nobody stacked is one */
    }
    if (!fits || (turned && !passes_strips_are_rows(r->graph, mixture.values, (size_t)(tasks * experts)))) {
        return MTL_OK;
    }
    BASE_TRY(read_weights(r, tensor, tasks, experts, turned, &mixture.constant));
    mixture.weights = NULL;
    ir_value mix;
    BASE_TRY(passes_insert_mix(r, n, &mixture, &mix));
    if (!turned) {
        return passes_become(r, n, IR_OP_reshape, &mix, 1, NULL, 0, fate);
    }
    const int64_t *perm = base_arena_copy(r->graph->arena, (int64_t[]){0, 2, 1}, 3 * sizeof *perm);
    BASE_TRY_MEMORY(perm, r->diag);
    ir_attr attr = IR_INTS(perm, perm, 3);
    return passes_become(r, n, IR_OP_transpose, &mix, 1, &attr, 1, fate);
}

/* --- additions ----------------------------------------------------------------------------------------------- */

typedef struct scaled {
    ir_value value;
    double factor;
    bool by_a_number;
} scaled;

static const char by_channel[] = "its coefficients differ between channels, so it stays a multiplication";

/* The term as value x factor. False: it is of another type than the sum, or constant. */
static bool read_scaled(const passes_rewriter *r, ir_value term, const ir_type *type, scaled *s)
{
    ir_graph *graph = r->graph;
    *s = (scaled){.value = term, .factor = 1};
    const ir_node_info *mul = ir_producer_op(graph, term, IR_OP_mul);
    for (uint32_t k = 0; mul != NULL && passes_single_use(r, term) && k < 2 && !s->by_a_number; k++) {
        ir_value x = mul->inputs[1 - k], c = mul->inputs[k];
        if (ir_const_scalar(graph, c, &s->factor) && ir_type_equal(ir_type_of(graph, x), type)) {
            s->value = x;
            s->by_a_number = true;
        } else {
            s->factor = 1;
        }
    }
    return !ir_is_const(graph, s->value) && ir_type_equal(ir_type_of(graph, s->value), type);
}

/* Two terms have coefficients; or one has, and every value is read elsewhere as well, as all are in a unit that keeps
 * some as they are. x + c f(x) is no such sum. */
static bool is_unit(const passes_rewriter *r, const scaled *terms, size_t count)
{
    size_t factors = 0;
    bool shared = true;
    for (size_t i = 0; i < count; i++) {
        factors += terms[i].by_a_number;
        shared = shared && r->uses[terms[i].value] > 1;
    }
    return factors >= 2 || (factors == 1 && shared && count > 1);
}

/* Columns (B, 1) side by side, and a layer with the factors as weights. */
static mtl_status form_layer(passes_rewriter *r, ir_node n, const passes_strip *columns, const double *factors,
                             size_t count)
{
    ir_type type = *ir_type_of(r->graph, ir_node_of(r->graph, n)->outputs[0]);
    const double *numbers = base_arena_copy(r->graph->arena, factors, count * sizeof *factors);
    BASE_TRY_MEMORY(numbers, r->diag);
    ir_tensor tensor = {.dtype = type.dtype, .rank = 2, .shape = {(int64_t)count, 1}, .count = count, .f = numbers};
    ir_value inputs[2], layer;
    BASE_TRY(passes_join_strips(r, n, columns, count, 0, (int64_t)count, &inputs[0]));
    BASE_TRY(passes_add_const(r, "weights", &tensor, &inputs[1]));
    ir_attr act = IR_STRING(act, "");
    BASE_TRY(passes_insert(r, n, IR_OP_linear, NULL, inputs, 2, &act, 1, NULL, &layer));
    return passes_become(r, n, IR_OP_reshape, &layer, 1, NULL, 0, fate);
}

static mtl_status form_from_terms(passes_rewriter *r, ir_node n, const ir_value *leaves, const scaled *terms,
                                  size_t count)
{
    const ir_type *type = ir_type_of(r->graph, ir_node_of(r->graph, n)->outputs[0]);
    int last = type->rank - 1;
    int64_t width = type->dim[last].c;
    double *factors = BASE_NEW_ARRAY(&r->scratch, double, count);
    passes_mixture mixture;
    bool fits;
    BASE_TRY_MEMORY(factors, r->diag);
    BASE_TRY(passes_new_mixture(r, 1, (int64_t)count, &mixture, &fits));
    for (size_t i = 0; i < count; i++) {
        factors[i] = terms[i].factor;
        mixture.values[i] =
            (passes_strip){.value = terms[i].value, .row = 0, .column = width > 1 ? last : -1, .length = width};
        passes_trace_strip(r->graph, &mixture.values[i]);
        if (terms[i].by_a_number) {
            BASE_TRY(passes_take_sources(r, n, ir_info(r->graph, leaves[i])->node));
        }
    }
    if (width == 1) {
        return form_layer(r, n, mixture.values, factors, count);
    }
    mixture.constant = factors;
    mixture.weights = NULL;
    ir_value mix;
    BASE_TRY(passes_insert_mix(r, n, &mixture, &mix));
    return passes_become(r, n, IR_OP_reshape, &mix, 1, NULL, 0, fate);
}

/* mul(x, c) with c a number for each channel, among such terms. */
static void note_channels(passes_rewriter *r, const ir_value *leaves, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const ir_node_info *mul = ir_producer_op(r->graph, leaves[i], IR_OP_mul);
        for (uint32_t k = 0; mul != NULL && k < 2; k++) {
            if (ir_is_const(r->graph, mul->inputs[k]) && ir_info(r->graph, mul->inputs[k])->tensor->count > 1) {
                passes_note(r->graph, mul, by_channel);
            }
        }
    }
}

static mtl_status form_from_additions(passes_rewriter *r, const passes_sums *sums, ir_node n)
{
    ir_value leaves[PASSES_SUM_TERMS];
    scaled terms[PASSES_SUM_TERMS];
    const ir_type *type = ir_type_of(r->graph, ir_node_of(r->graph, n)->outputs[0]);
    bool fits = type->rank >= 2 && fixed_behind_rows(type);
    for (int axis = 1; axis < type->rank - 1 && fits; axis++) {
        fits = ir_dim_is(type->dim[axis], 1);
    }
    size_t count = fits ? passes_flatten_sum(r, sums, n, leaves) : 0;
    for (size_t i = 0; i < count; i++) {
        if (!read_scaled(r, leaves[i], type, &terms[i])) {
            return MTL_OK;
        }
    }
    if (count < 2 || !is_unit(r, terms, count)) {
        note_channels(r, leaves, count);
        return MTL_OK;
    }
    return form_from_terms(r, n, leaves, terms, count);
}

static mtl_status look(passes_rewriter *r, const passes_sums *sums, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    switch (node->op) {
    case IR_OP_matmul:
        return ir_is_const(r->graph, node->inputs[0]) && !ir_is_const(r->graph, node->inputs[1])
                   ? form_from_product(r, n, node->inputs[0], node->inputs[1], false)
                   : MTL_OK;
    case IR_OP_linear:
        return node->input_count == 2 && ir_find_attr(node, IR_ATTR_act)->text[0] == '\0'
                   ? form_from_product(r, n, node->inputs[1], node->inputs[0], true)
                   : MTL_OK;
    case IR_OP_add: return form_from_additions(r, sums, n);
    default: return MTL_OK;
    }
}

mtl_status passes_form_stitch(ir_graph *graph, base_diag *diag)
{
    return passes_each_sum(graph, diag, look);
}
