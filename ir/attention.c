/* attention: the type of its result, and its evaluation in float64. */
#include <math.h>
#include <string.h>

#include "ir/eval.h"
#include "ir/infer.h"

/* --- inference ------------------------------------------------------------------------------------------------ */

static mtl_status misfit(const ir_infer_context *c)
{
    return ir_fail(
        c->graph, c->node, c->diag, MTL_INVALID_DATA,
        "%s, expected q (B, L, .), k (B, M, .), v (B, M, .) with fixed L, M up to %d, as many columns as the heads "
        "take, up to %d a head, and masks (B, H, L, M)",
        ir_infer_operands_text(c), IR_ATTENTION_KEYS, IR_ATTENTION_WIDTH);
}

/* Operand `i` holds `count` columns from `start` on. */
static bool holds(const ir_infer_context *c, uint32_t i, int64_t start, int64_t heads, int64_t size)
{
    const ir_type *type = ir_infer_operand(c, i);
    int64_t count, end;
    return type->rank == 3 && ir_dim_is_const(type->dim[1]) && type->dim[1].c >= 1 && ir_dim_is_const(type->dim[2]) &&
           start >= 0 && heads >= 1 && size >= 1 && !__builtin_mul_overflow(heads, size, &count) &&
           !__builtin_add_overflow(start, count, &end) && end <= type->dim[2].c;
}

/* *rows becomes the extent that both have, or the one that is not 1. */
static bool join_rows(ir_dim *rows, ir_dim dim)
{
    bool fits = ir_dim_equal(*rows, dim) || ir_dim_is(*rows, 1) || ir_dim_is(dim, 1);
    *rows = ir_dim_is(*rows, 1) ? dim : *rows;
    return fits;
}

/* Whether operand `i` is absent, or a mask of that dtype for these extents. */
static bool is_mask(const ir_infer_context *c, uint32_t i, mtl_dtype dtype, const ir_dim *wanted)
{
    if (!ir_infer_has_operand(c, i)) {
        return true;
    }
    const ir_type *type = ir_infer_operand(c, i);
    bool fits = type->rank == 4 && type->dtype == dtype && ir_dim_equal(type->dim[3], wanted[3]);
    for (int axis = 0; fits && axis < 3; axis++) {
        fits = ir_dim_is(type->dim[axis], 1) || ir_dim_equal(type->dim[axis], wanted[axis]);
    }
    return fits;
}

static bool is_policy(const char *text)
{
    return text != NULL && (strcmp(text, "nan") == 0 || strcmp(text, "zero") == 0 || strcmp(text, "nan_is_zero") == 0);
}

mtl_status ir_infer_attention(const ir_infer_context *c, ir_type *type)
{
    const ir_attr *starts = ir_find_attr(c->info, IR_ATTR_starts), *sizes = ir_find_attr(c->info, IR_ATTR_sizes);
    int64_t heads = ir_attr_int(c->info, IR_ATTR_heads);
    if (starts->count != 3 || sizes->count != 2 || !isfinite(ir_attr_float(c->info, IR_ATTR_scale)) ||
        isnan(ir_attr_float(c->info, IR_ATTR_fill)) || !is_policy(ir_find_attr(c->info, IR_ATTR_empty)->text)) {
        return ir_fail(c->graph, c->node, c->diag, MTL_INVALID_DATA,
                       "expected three starts, two sizes, a finite scale, a number to fill, and 'nan', 'zero' or "
                       "'nan_is_zero' for what is empty");
    }
    ir_dim rows = ir_dim_const(1);
    for (uint32_t i = 0; i < 3; i++) {
        BASE_TRY(ir_infer_check_float(c, i));
        if (!holds(c, i, starts->ints[i], heads, sizes->ints[i / 2]) ||
            ir_infer_operand(c, i)->dtype != ir_infer_operand(c, 0)->dtype ||
            !join_rows(&rows, ir_infer_operand(c, i)->dim[0])) {
            return misfit(c);
        }
    }
    const ir_type *q = ir_infer_operand(c, 0), *k = ir_infer_operand(c, 1);
    const ir_dim wanted[4] = {rows, ir_dim_const(heads), q->dim[1], k->dim[1]};
    if (!ir_dim_equal(k->dim[1], ir_infer_operand(c, 2)->dim[1]) || k->dim[1].c > IR_ATTENTION_KEYS ||
        sizes->ints[0] > IR_ATTENTION_WIDTH || !is_mask(c, 3, q->dtype, wanted) || !is_mask(c, 4, MTL_BOOL, wanted)) {
        return misfit(c);
    }
    *type = (ir_type){.dtype = q->dtype, .rank = 3, .dim = {rows, q->dim[1], ir_dim_const(heads * sizes->ints[1])}};
    return MTL_OK;
}

/* --- evaluation ----------------------------------------------------------------------------------------------- */

typedef struct attention_numbers {
    const double *floats[4]; /* q, k, v, bias; NULL: none */
    const int64_t *keep;
    double *shares; /* of one query */
    int64_t heads, queries, keys, size, value_size;
} attention_numbers;

/* Element (row, head, query, key) of operand `i`, in which an extent of 1 stands for any. */
static int64_t mask_at(const ir_tensor *mask, const int64_t *index)
{
    int64_t at = 0;
    for (int axis = 0; axis < 4; axis++) {
        at = at * mask->shape[axis] + (mask->shape[axis] == 1 ? 0 : index[axis]);
    }
    return at;
}

/* The columns of a head of operand `i` at a position. */
static const double *head_at(const ir_eval_call *call, const attention_numbers *a, int i, int64_t row, int64_t position,
                             int64_t head)
{
    const ir_tensor *tensor = call->inputs[i];
    int64_t start = ir_find_attr(call->node, IR_ATTR_starts)->ints[i];
    int64_t line = (tensor->shape[0] == 1 ? 0 : row) * tensor->shape[1] + position;
    return a->floats[i] + line * tensor->shape[2] + start + head * (i < 2 ? a->size : a->value_size);
}

static double score_of(const ir_eval_call *call, const attention_numbers *a, const int64_t *index)
{
    const double *q = head_at(call, a, 0, index[0], index[2], index[1]);
    const double *k = head_at(call, a, 1, index[0], index[3], index[1]);
    double score = 0;
    for (int64_t i = 0; i < a->size; i++) {
        score += q[i] * k[i];
    }
    score *= ir_attr_float(call->node, IR_ATTR_scale);
    if (a->floats[3] != NULL) {
        score += a->floats[3][mask_at(call->inputs[3], index)];
    }
    bool kept = a->keep == NULL || a->keep[mask_at(call->inputs[4], index)] != 0;
    return kept ? score : ir_attr_float(call->node, IR_ATTR_fill);
}

/* Row, head and query of `index`: its sum of values. */
static void attend(const ir_eval_call *call, const attention_numbers *a, int64_t *index, double *y)
{
    const char *empty = ir_find_attr(call->node, IR_ATTR_empty)->text;
    double most = -INFINITY, sum = 0;
    for (index[3] = 0; index[3] < a->keys; index[3]++) {
        double score = a->shares[index[3]] = score_of(call, a, index);
        most = isnan(score) || score > most ? score : most;
    }
    for (int64_t j = 0; j < a->keys; j++) {
        sum += a->shares[j] = exp(a->shares[j] - most);
    }
    bool zero = (strcmp(empty, "zero") == 0 && most == -INFINITY) || (strcmp(empty, "nan_is_zero") == 0 && isnan(sum));
    for (int64_t j = 0; j < a->keys && !zero; j++) {
        const double *v = head_at(call, a, 2, index[0], j, index[1]);
        for (int64_t i = 0; i < a->value_size; i++) {
            y[i] += a->shares[j] / sum * v[i];
        }
    }
}

mtl_status ir_eval_attention(const ir_eval_call *call)
{
    const int64_t *sizes = ir_find_attr(call->node, IR_ATTR_sizes)->ints;
    attention_numbers a = {.heads = ir_attr_int(call->node, IR_ATTR_heads),
                           .queries = call->inputs[0]->shape[1],
                           .keys = call->inputs[1]->shape[1],
                           .size = sizes[0],
                           .value_size = sizes[1]};
    double *y;
    for (uint32_t i = 0; i < 4 && i < call->node->input_count; i++) {
        if (call->inputs[i] != NULL) {
            BASE_TRY(ir_eval_floats(call, i, &a.floats[i]));
        }
    }
    if (call->node->input_count > 4 && call->inputs[4] != NULL) {
        BASE_TRY(ir_eval_ints(call, 4, &a.keep));
    }
    a.shares = BASE_NEW_ARRAY(call->arena, double, (size_t)a.keys);
    BASE_TRY_MEMORY(a.shares, call->diag);
    BASE_TRY(ir_eval_new_floats(call, &y));
    int64_t index[4] = {0};
    for (index[0] = 0; index[0] < call->output->shape[0]; index[0]++) {
        for (index[2] = 0; index[2] < a.queries; index[2]++) {
            for (index[1] = 0; index[1] < a.heads; index[1]++, y += a.value_size) {
                attend(call, &a, index, y);
            }
        }
    }
    return MTL_OK;
}
