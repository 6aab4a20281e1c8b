/* Types of lookups in tables: gather and bag. */
#include <string.h>

#include "ir/infer.h"
#include "ir/lookup.h"

static mtl_status check_ids(const ir_infer_context *c, uint32_t operand)
{
    const ir_type *ids = ir_infer_operand(c, operand);
    if (ids->dtype != MTL_I64 && ids->dtype != MTL_I32) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "the indices are %s, expected i32 or i64",
                       ir_infer_text(c, ids));
    }
    return MTL_OK;
}

static int64_t rows_of(ir_dim extent)
{
    return ir_dim_is_const(extent) ? extent.c : -1;
}

mtl_status ir_infer_gather(const ir_infer_context *c, ir_type *type)
{
    const ir_type *data = ir_infer_operand(c, 0), *indices = ir_infer_operand(c, 1);
    int64_t axis = ir_attr_int(c->info, IR_ATTR_axis);
    BASE_TRY(ir_infer_check_axis(c, axis, data->rank));
    BASE_TRY(check_ids(c, 1));
    BASE_TRY(ir_check_lookup(c->graph, c->node, rows_of(data->dim[axis]), c->diag));
    if (data->rank - 1 + indices->rank > MTL_MAX_RANK) {
        return ir_fail(c->graph, c->node, c->diag, MTL_UNSUPPORTED, "the result has rank %d, at most %d is supported",
                       (int)(data->rank - 1 + indices->rank), MTL_MAX_RANK);
    }
    ir_type found = {.dtype = data->dtype};
    for (int32_t i = 0; i < data->rank; i++) {
        if (i != axis) {
            found.dim[found.rank++] = data->dim[i];
            continue;
        }
        for (int32_t j = 0; j < indices->rank; j++) {
            found.dim[found.rank++] = indices->dim[j];
        }
    }
    *type = found;
    return ir_find_attr(c->info, IR_ATTR_policy) == NULL ? ir_content_gather(c, type) : MTL_OK;
}

/* Which of the optional attributes and operands go together. */
static mtl_status check_function(const ir_infer_context *c)
{
    const char *function = ir_find_attr(c->info, IR_ATTR_function)->text;
    const ir_attr *padding = ir_find_attr(c->info, IR_ATTR_padding);
    bool mean = function != NULL && strcmp(function, "mean") == 0,
         max = function != NULL && strcmp(function, "max") == 0;
    if (!mean && !max && (function == NULL || strcmp(function, "sum") != 0)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA, "function '%s', expected 'sum', 'mean' or 'max'",
                       function == NULL ? "" : function);
    }
    if (padding != NULL && (padding->count != 2 || padding->ints[0] > padding->ints[1])) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                       "padding is not the first and the last of some ids");
    }
    bool weights = ir_infer_has_operand(c, 2),
         divides = ir_find_attr(c->info, IR_ATTR_epsilon) != NULL || ir_find_attr(c->info, IR_ATTR_low) != NULL;
    if ((weights && (mean || padding != NULL)) || (divides && !mean) ||
        (ir_find_attr(c->info, IR_ATTR_fill) != NULL && !max)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                       "weights go with sum and max and without padding, epsilon and low with mean, fill with max");
    }
    return MTL_OK;
}

mtl_status ir_infer_bag(const ir_infer_context *c, ir_type *type)
{
    const ir_type *table = ir_infer_operand(c, 0), *ids = ir_infer_operand(c, 1);
    BASE_TRY(ir_infer_check_float(c, 0));
    BASE_TRY(check_ids(c, 1));
    BASE_TRY(check_function(c));
    bool max = strcmp(ir_find_attr(c->info, IR_ATTR_function)->text, "max") == 0;
    bool fits = table->rank == 2 && ids->rank >= 1 && ir_dim_is_const(ids->dim[ids->rank - 1]) &&
                !(max && ir_dim_is(ids->dim[ids->rank - 1], 0));
    if (fits && ir_infer_has_operand(c, 2)) {
        ir_type weights = *ids;
        weights.dtype = table->dtype;
        fits = ir_type_equal(ir_infer_operand(c, 2), &weights);
    }
    if (!fits) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                       "%s, expected a table (N, K), ids (..., L) of a fixed L and weights of their shape",
                       ir_infer_operands_text(c));
    }
    BASE_TRY(ir_check_lookup(c->graph, c->node, rows_of(table->dim[0]), c->diag));
    *type = *ids;
    type->dtype = table->dtype;
    type->dim[ids->rank - 1] = table->dim[1];
    return MTL_OK;
}
