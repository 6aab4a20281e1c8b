/* Types of matrix products. */
#include "ir/infer.h"

#include <string.h>

static mtl_status no_product(const ir_infer_context *c)
{
    return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "%s have no matrix product",
                   ir_infer_operands_text(c));
}

/* As numpy.matmul: operands of rank 1 are a row on the left and a column on the right, leading axes broadcast. */
mtl_status ir_infer_matmul(const ir_infer_context *c, ir_type *type)
{
    const ir_type *a = ir_infer_operand(c, 0), *b = ir_infer_operand(c, 1);
    BASE_TRY(ir_infer_check_numeric(c, 0));
    BASE_TRY(ir_infer_one_dtype(c));
    if (a->rank < 1 || b->rank < 1) {
        return no_product(c);
    }
    int32_t k = b->rank == 1 ? 0 : b->rank - 2;
    if (!ir_dim_equal(a->dim[a->rank - 1], b->dim[k])) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "%s have inner extents %s and %s",
                       ir_infer_operands_text(c), ir_infer_dim_text(c, a->dim[a->rank - 1]),
                       ir_infer_dim_text(c, b->dim[k]));
    }
    ir_type found = *a, batch = *b;
    found.rank = a->rank > 2 ? a->rank - 2 : 0;
    batch.rank = b->rank > 2 ? b->rank - 2 : 0;
    BASE_TRY(ir_infer_join(c, &found, &batch));
    if (a->rank > 1) {
        found.dim[found.rank++] = a->dim[a->rank - 2];
    }
    if (b->rank > 1) {
        found.dim[found.rank++] = b->dim[b->rank - 1];
    }
    *type = found;
    return MTL_OK;
}

/* The function that follows a linear layer of n columns. */
static mtl_status check_act(const ir_infer_context *c, ir_dim n)
{
    const ir_attr *columns = ir_find_attr(c->info, IR_ATTR_act_columns);
    if (columns != NULL && (columns->i < 1 || columns->i > n.c)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "act_columns %lld, expected 1 to %s",
                       (long long)columns->i, ir_infer_dim_text(c, n));
    }
    return ir_infer_check_act(c);
}

/* What the sums begin with: of the result's type, or broadcast to it along axes before those of the layer. */
static mtl_status check_start(const ir_infer_context *c, const ir_type *result, int32_t layer_axes)
{
    if (!ir_infer_has_operand(c, 3)) {
        return MTL_OK;
    }
    const ir_type *start = ir_infer_operand(c, 3);
    bool fits = start->rank == result->rank;
    for (int32_t i = 0; fits && i < start->rank; i++) {
        fits = ir_dim_equal(start->dim[i], result->dim[i]) ||
               (i < start->rank - layer_axes && ir_dim_is(start->dim[i], 1));
    }
    if (!fits) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                       "the start is %s, expected %s, or 1 for extents before the last %d", ir_infer_text(c, start),
                       ir_infer_text(c, result), (int)layer_axes);
    }
    return MTL_OK;
}

mtl_status ir_infer_linear(const ir_infer_context *c, ir_type *type)
{
    const ir_type *x = ir_infer_operand(c, 0), *w = ir_infer_operand(c, 1);
    BASE_TRY(ir_infer_check_float(c, 0));
    BASE_TRY(ir_infer_one_dtype(c));
    for (uint32_t i = 1; i < c->info->input_count && i < 3; i++) {
        if (ir_infer_has_operand(c, i) && !ir_is_const(c->graph, c->info->inputs[i])) {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "operand %u is not a constant", (unsigned)i);
        }
    }
    bool grouped = w->rank == 3;
    if ((w->rank != 2 && !grouped) || x->rank < w->rank - 1 ||
        !ir_dim_equal(x->dim[x->rank - 1], w->dim[w->rank - 2]) ||
        (grouped && !ir_dim_equal(x->dim[x->rank - 2], w->dim[0]))) {
        return no_product(c);
    }
    BASE_TRY(check_act(c, w->dim[w->rank - 1]));
    ir_type bias = {.dtype = x->dtype, .rank = w->rank - 1, .dim = {w->dim[0]}};
    bias.dim[bias.rank - 1] = w->dim[w->rank - 1];
    if (ir_infer_has_operand(c, 2) && !ir_type_equal(ir_infer_operand(c, 2), &bias)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "the bias is %s, expected %s",
                       ir_infer_text(c, ir_infer_operand(c, 2)), ir_infer_text(c, &bias));
    }
    ir_type result = *x;
    result.dim[result.rank - 1] = w->dim[w->rank - 1];
    BASE_TRY(check_start(c, &result, w->rank - 1));
    *type = result;
    return MTL_OK;
}

/* The numbers of values that the weights belong to. */
static mtl_status check_index(const ir_infer_context *c, const ir_type *weights, const ir_type *values)
{
    const ir_attr *index = ir_find_attr(c->info, IR_ATTR_index);
    ir_dim count;
    if (!ir_dim_mul(weights->dim[1], weights->dim[2], &count) || !ir_dim_is(count, (int64_t)index->count)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "%zu numbers in index, expected %s x %s",
                       index->count, ir_infer_dim_text(c, weights->dim[1]), ir_infer_dim_text(c, weights->dim[2]));
    }
    for (size_t i = 0; i < index->count; i++) {
        if (index->ints[i] < 0 || index->ints[i] >= values->dim[1].c) {
            return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "index %lld is out of range for %s values",
                           (long long)index->ints[i], ir_infer_dim_text(c, values->dim[1]));
        }
    }
    return MTL_OK;
}

mtl_status ir_infer_mix(const ir_infer_context *c, ir_type *type)
{
    const ir_type *weights = ir_infer_operand(c, 0), *values = ir_infer_operand(c, 1);
    const char *function = ir_find_attr(c->info, IR_ATTR_function)->text;
    BASE_TRY(ir_infer_check_float(c, 0));
    BASE_TRY(ir_infer_one_dtype(c));
    if (function == NULL || (function[0] != '\0' && strcmp(function, "softmax") != 0)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "function '%s', expected 'softmax' or ''",
                       function == NULL ? "" : function);
    }
    if (weights->rank != 3 || values->rank != 3 ||
        (!ir_dim_is(weights->dim[0], 1) && !ir_dim_equal(weights->dim[0], values->dim[0])) ||
        !ir_dim_is_const(weights->dim[1]) || !ir_dim_is_const(weights->dim[2]) || !ir_dim_is_const(values->dim[1])) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                       "%s, expected weights (B, T, E) or (1, T, E) and values (B, M, H), with fixed T, E and M",
                       ir_infer_operands_text(c));
    }
    BASE_TRY(check_index(c, weights, values));
    *type = *values;
    type->dim[1] = weights->dim[1];
    return MTL_OK;
}

mtl_status ir_infer_gru(const ir_infer_context *c, ir_type *type)
{
    const ir_type *p = ir_infer_operand(c, 0), *r = ir_infer_operand(c, 1);
    BASE_TRY(ir_infer_check_float(c, 0));
    BASE_TRY(ir_infer_one_dtype(c));
    int64_t reverse = ir_attr_int(c->info, IR_ATTR_reverse), columns;
    bool fits = p->rank == 3 && r->rank == 3 && (reverse == 0 || reverse == 1) && ir_dim_is(r->dim[0], 3) &&
                ir_dim_is_const(r->dim[1]) && ir_dim_equal(r->dim[1], r->dim[2]) && ir_dim_is_const(p->dim[1]) &&
                !__builtin_mul_overflow(r->dim[2].c, 3, &columns) && ir_dim_is(p->dim[2], columns);
    if (fits && ir_infer_has_operand(c, 2)) {
        const ir_type *b = ir_infer_operand(c, 2);
        fits = b->rank == 1 && ir_dim_equal(b->dim[0], r->dim[2]);
    }
    if (fits && ir_infer_has_operand(c, 3)) {
        const ir_type *h = ir_infer_operand(c, 3);
        fits = h->rank == 2 && ir_dim_equal(h->dim[0], p->dim[0]) && ir_dim_equal(h->dim[1], r->dim[2]);
    }
    if (!fits) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                       "%s, expected (B, L, 3 H), (3, H, H), (H) and (B, H), with fixed L and H, and reverse 0 or 1",
                       ir_infer_operands_text(c));
    }
    *type = *p;
    type->dim[2] = r->dim[2];
    return MTL_OK;
}
