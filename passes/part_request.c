/* What is computed of columns of the user and columns of the candidate together is computed of each apart, so that the user's
 * part is done once for each user and layers find the two kinds of columns (`split_request`). Element-wise functions:
 *
 *     %x = concat(%u, %c) axis=1                   : f32[B, 512]      with %u (B, 384) per user, %c (B, 128)
 *     %m = mul(%x, %mask)                          : f32[B, 512]      with %mask (B, 512) per user
 *
 * becomes
 *
 *     %mu = mul(%u, %mask[:, :384])                : f32[B, 384]
 *     %mc = mul(%c, %mask[:, 384:])                : f32[B, 128]
 *     %m = concat(%mu, %mc) axis=1                 : f32[B, 512]
 *
 * with the columns of each kind packed, however they are interleaved. And sums, means, products, maxima and minima along the
 * axis on which the user's and the candidate's fields are joined, as in a factorisation machine:
 *
 *     %s = reduce_sum(%f) axes=[1]                 : f32[B, 16]       with %f = concat(%fu, %fc) axis=1
 *
 * becomes
 *
 *     %su = reduce_sum(%fu) axes=[1], %sc = reduce_sum(%fc) axes=[1], %s = add(%su, %sc)
 *
 * Functions are parted where a layer or a reduction reads what they give; else that would only move columns.
 */
#include <string.h>

#include "passes/columns.h"
#include "passes/mixture.h"
#include "passes/passes.h"

enum {
    LEAST_WIDTH = 3, /* of the user's columns, or fields */
    MOST_OPERANDS = 3,
};

static const char fate[] = "computed apart for the columns of the user and of the candidate";
static const char mixes[] =
    "mixes columns of the user and of the candidate: what reads it is computed for each candidate";

typedef struct parter {
    passes_rewriter r;
    bool *wanted;   /* by value */
    uint32_t known; /* values when `wanted` was made */
    passes_columns columns[MOST_OPERANDS];
    passes_columns scratch;
} parter;

/* --- what layers read ------------------------------------------------------------------------------------------ */

static bool is_reduction(ir_op op)
{
    return op == IR_OP_reduce_sum || op == IR_OP_reduce_mean || op == IR_OP_reduce_max || op == IR_OP_reduce_min ||
           op == IR_OP_reduce_prod;
}

static bool is_function(ir_op op)
{
    return ir_op_is_unary(op) || ir_op_is_binary(op) || op == IR_OP_where || op == IR_OP_cast;
}

static bool is_move(ir_op op)
{
    return op == IR_OP_concat || op == IR_OP_slice || op == IR_OP_reshape || op == IR_OP_identity || op == IR_OP_gather;
}

static mtl_status find_wanted(parter *p)
{
    const ir_graph *graph = p->r.graph;
    p->known = graph->value_count;
    p->wanted = BASE_NEW_ARRAY(&p->r.scratch, bool, p->known);
    BASE_TRY_MEMORY(p->wanted, p->r.diag);
    for (ir_node n = graph->last_node; n != 0; n = ir_node_of(graph, n)->previous) {
        const ir_node_info *node = ir_node_of(graph, n);
        bool passes_on = (is_function(node->op) || is_move(node->op)) && p->wanted[node->outputs[0]];
        if (node->op == IR_OP_linear || is_reduction(node->op)) {
            p->wanted[node->inputs[0]] = true;
        }
        for (uint32_t i = 0; passes_on && i < node->input_count; i++) {
            p->wanted[node->inputs[i]] = true;
        }
    }
    return MTL_OK;
}

/* --- element-wise functions ------------------------------------------------------------------------------------ */

/* How an operand meets the columns of the result. */
typedef enum meeting {
    MEETS_COLUMNS, /* it has their type */
    MEETS_VECTOR,  /* a constant for each column */
    MEETS_ALL,     /* one number, or one for each row: as it is */
    MEETS_NOT,
} meeting;

typedef struct function {
    ir_node node;
    ir_type type; /* of the result */
    int axis;     /* of the columns; 0: elements of rows */
    int64_t width;
    uint32_t count;
    meeting meets[MOST_OPERANDS];
    ir_value operands[MOST_OPERANDS];
    passes_columns kinds; /* of the result; root 0 */
} function;

/* A value with one number for each row. */
static bool is_one_a_row(const ir_type *type, const ir_type *result)
{
    int64_t width;
    return type->rank == result->rank && ir_dim_equal(type->dim[0], result->dim[0]) && passes_row_width(type, &width) &&
           width == 1;
}

static meeting meet(const parter *p, const function *f, ir_value operand)
{
    const ir_graph *graph = p->r.graph;
    const ir_type *type = ir_type_of(graph, operand);
    if (ir_is_const(graph, operand)) {
        const ir_tensor *c = ir_info(graph, operand)->tensor;
        int columns = f->axis == 0 ? f->type.rank - 1 : 1;
        if (c->count == 1) {
            return c->rank <= 2 ? MEETS_ALL : MEETS_NOT;
        }
        for (int i = 0; i < c->rank - columns; i++) {
            if (c->shape[i] != 1) {
                return MEETS_NOT;
            }
        }
        return c->rank <= f->type.rank && ir_dtype_is_float(c->dtype) ? MEETS_VECTOR : MEETS_NOT;
    }
    if (ir_info(graph, operand)->rate.kind != IR_RATE_ROW) {
        return MEETS_NOT;
    }
    bool equal = type->rank == f->type.rank;
    for (int i = 0; equal && i < type->rank; i++) {
        equal = ir_dim_equal(type->dim[i], f->type.dim[i]);
    }
    return equal ? MEETS_COLUMNS : f->axis == 0 && is_one_a_row(type, &f->type) ? MEETS_ALL : MEETS_NOT;
}

/* The columns of an operand. */
static mtl_status find(parter *p, const function *f, uint32_t i)
{
    return f->axis == 0 ? passes_find_row_columns(&p->r, f->operands[i], &p->columns[i])
                        : passes_find_axis_columns(&p->r, f->operands[i], f->axis, &p->columns[i]);
}

/* The columns of which all operands are the users', and the others: up to where the first operand changes. */
static mtl_status merge_kinds(parter *p, function *f, bool alone)
{
    size_t at[MOST_OPERANDS] = {0};
    int64_t ends[MOST_OPERANDS] = {0};
    for (int64_t column = 0, end; column < f->width; column = end) {
        bool users = alone;
        end = f->width;
        for (uint32_t i = 0; i < f->count; i++) {
            if (f->meets[i] != MEETS_COLUMNS) {
                continue;
            }
            while (ends[i] <= column) {
                ends[i] += p->columns[i].spans[at[i]++].width;
            }
            users = users && p->columns[i].spans[at[i] - 1].users;
            end = ends[i] < end ? ends[i] : end;
        }
        BASE_TRY(passes_add_span(&p->r, &p->scratch, (passes_span){users ? 1 : 2, column, end - column, users}));
    }
    f->kinds = p->scratch;
    return MTL_OK;
}

/* *fits: columns of both kinds, seen as elements of rows or along `axis`. */
static mtl_status read_function(parter *p, ir_node n, int axis, function *f, bool *fits)
{
    const ir_node_info *node = ir_node_of(p->r.graph, n);
    bool alone = true, any = false;
    *f = (function){.node = n, .type = *ir_type_of(p->r.graph, node->outputs[0]), .axis = axis};
    f->count = node->input_count;
    *fits = false;
    if (axis == 0 ? !passes_row_width(&f->type, &f->width) : !ir_dim_is_const(f->type.dim[axis])) {
        return MTL_OK;
    }
    f->width = axis == 0 ? f->width : f->type.dim[axis].c;
    for (uint32_t i = 0; i < f->count; i++) {
        f->operands[i] = node->inputs[i];
        f->meets[i] = meet(p, f, f->operands[i]);
        if (f->meets[i] == MEETS_NOT) {
            return MTL_OK;
        }
        if (f->meets[i] == MEETS_COLUMNS) {
            BASE_TRY(find(p, f, i));
            any = any || (p->columns[i].users > 0 && p->columns[i].candidates > 0);
        }
        bool rows = f->meets[i] == MEETS_ALL && !ir_is_const(p->r.graph, f->operands[i]);
        alone = alone && (!rows || passes_is_users(p->r.graph, f->operands[i]));
    }
    if (!any || f->width == 0) {
        return MTL_OK;
    }
    p->scratch = (passes_columns){.spans = p->scratch.spans, .capacity = p->scratch.capacity};
    BASE_TRY(merge_kinds(p, f, alone));
    *fits = f->kinds.users >= LEAST_WIDTH && f->kinds.candidates > 0;
    return MTL_OK;
}

/* Constant `c`, one number a column of the result, of the columns of one kind. */
static mtl_status pick_vector(parter *p, const function *f, bool users, ir_value c, ir_value *value)
{
    passes_rewriter *r = &p->r;
    const ir_tensor *old = ir_info(r->graph, c)->tensor;
    double *all = BASE_NEW_ARRAY(&r->scratch, double, (size_t)f->width), *picked;
    ir_tensor tensor = {
        .dtype = old->dtype, .rank = 1, .count = (size_t)(users ? f->kinds.users : f->kinds.candidates)};
    BASE_TRY_MEMORY(all, r->diag);
    picked = BASE_NEW_ARRAY(r->graph->arena, double, tensor.count);
    BASE_TRY_MEMORY(picked, r->diag);
    passes_spread_const(old, &f->type, f->axis == 0 ? 1 : f->axis, all);
    tensor.shape[0] = (int64_t)tensor.count;
    tensor.f = picked;
    for (size_t i = 0; i < f->kinds.count; i++) {
        const passes_span *span = &f->kinds.spans[i];
        if (span->users == users) {
            memcpy(picked, all + span->offset, (size_t)span->width * sizeof *all);
            picked += span->width;
        }
    }
    return passes_add_const(r, ir_info(r->graph, c)->name, &tensor, value);
}

/* Operand `i` for the columns of one kind; `type` is theirs. */
static mtl_status pick_operand(parter *p, const function *f, uint32_t i, bool users, ir_type type, ir_value *value)
{
    passes_rewriter *r = &p->r;
    *value = f->operands[i];
    type.dtype = ir_type_of(r->graph, *value)->dtype;
    if (f->meets[i] == MEETS_VECTOR) {
        return pick_vector(p, f, users, f->operands[i], value);
    }
    if (f->meets[i] == MEETS_ALL) {
        type.dim[1] = ir_dim_const(1);
        bool flat = ir_is_const(r->graph, *value) || ir_type_of(r->graph, *value)->rank == 2;
        return flat ? MTL_OK : passes_insert(r, f->node, IR_OP_reshape, NULL, value, 1, NULL, 0, &type, value);
    }
    passes_columns picked = {.axis = f->axis};
    const passes_columns *columns = &p->columns[i];
    int64_t first = 0;
    for (size_t j = 0, k = 0; j < columns->count; first += columns->spans[j++].width) {
        const passes_span *span = &columns->spans[j];
        for (; k < f->kinds.count && f->kinds.spans[k].offset < first + span->width; k++) {
            const passes_span *kind = &f->kinds.spans[k];
            int64_t from = kind->offset > first ? kind->offset : first, end = kind->offset + kind->width;
            int64_t to = end < first + span->width ? end : first + span->width;
            if (kind->users == users && from < to) {
                BASE_TRY(passes_add_span(r, &picked,
                                         (passes_span){span->root, span->offset + from - first, to - from, users}));
            }
            if (end > first + span->width) {
                break;
            }
        }
    }
    return passes_join_columns(r, f->node, &picked, &type, value);
}

/* The function of the columns of one kind. */
static mtl_status insert_part(parter *p, const function *f, bool users, ir_value *result)
{
    ir_value operands[MOST_OPERANDS];
    ir_type type = f->type;
    int64_t width = users ? f->kinds.users : f->kinds.candidates;
    type.rank = f->axis == 0 ? 2 : type.rank;
    type.dim[f->axis == 0 ? 1 : f->axis] = ir_dim_const(width);
    for (uint32_t i = 0; i < f->count; i++) {
        BASE_TRY(pick_operand(p, f, i, users, type, &operands[i]));
    }
    const ir_node_info *node = ir_node_of(p->r.graph, f->node);
    BASE_TRY(
        passes_insert(&p->r, f->node, node->op, NULL, operands, f->count, node->attrs, node->attr_count, NULL, result));
    passes_set_users(p->r.graph, *result, users);
    return MTL_OK;
}

static mtl_status part_function(parter *p, const function *f)
{
    ir_value parts[2], joined;
    int64_t at[2] = {0};
    BASE_TRY(insert_part(p, f, true, &parts[0]));
    BASE_TRY(insert_part(p, f, false, &parts[1]));
    passes_columns all = {.axis = f->axis};
    for (size_t i = 0; i < f->kinds.count; i++) {
        const passes_span *kind = &f->kinds.spans[i];
        int64_t *offset = &at[kind->users ? 0 : 1];
        BASE_TRY(
            passes_add_span(&p->r, &all, (passes_span){parts[kind->users ? 0 : 1], *offset, kind->width, kind->users}));
        *offset += kind->width;
    }
    BASE_TRY(passes_join_columns(&p->r, f->node, &all, &f->type, &joined));
    passes_substitute(&p->r, ir_node_of(p->r.graph, f->node)->outputs[0], joined, fate);
    passes_kill(&p->r, f->node, NULL);
    return MTL_OK;
}

static mtl_status look_at_function(parter *p, ir_node n)
{
    function f;
    bool fits;
    int rank = ir_type_of(p->r.graph, ir_node_of(p->r.graph, n)->outputs[0])->rank;
    BASE_TRY(read_function(p, n, 0, &f, &fits));
    if (!fits && rank > 2) {
        BASE_TRY(read_function(p, n, rank - 1, &f, &fits));
    }
    return fits ? part_function(p, &f) : MTL_OK;
}

/* --- reductions ------------------------------------------------------------------------------------------------ */

static ir_op combine(ir_op op)
{
    switch (op) {
    case IR_OP_reduce_max: return IR_OP_max;
    case IR_OP_reduce_min: return IR_OP_min;
    case IR_OP_reduce_prod: return IR_OP_mul;
    default: return IR_OP_add;
    }
}

/* The elements that a mean is of, as a constant to divide by. */
static mtl_status add_count(passes_rewriter *r, const ir_type *type, const ir_attr *axes, ir_value *value)
{
    double *count = BASE_NEW(r->graph->arena, double);
    BASE_TRY_MEMORY(count, r->diag);
    *count = 1;
    for (size_t i = 0; i < axes->count; i++) {
        *count *= (double)type->dim[axes->ints[i]].c;
    }
    ir_tensor tensor = {.dtype = type->dtype, .count = 1, .f = count};
    return passes_add_const(r, NULL, &tensor, value);
}

/* `n` reduces the columns of the user and those of the candidate along `axis`, which p->columns[0] has found. */
static mtl_status part_reduction(parter *p, ir_node n, int axis)
{
    passes_rewriter *r = &p->r;
    const ir_node_info *node = ir_node_of(r->graph, n);
    ir_type type = *ir_type_of(r->graph, node->inputs[0]), whole = type;
    const ir_attr axes = *ir_find_attr(node, IR_ATTR_axes);
    bool mean = node->op == IR_OP_reduce_mean;
    ir_op op = node->op;
    ir_value parts[2], divided[2];
    for (int i = 0; i < 2; i++) {
        int64_t width = i == 0 ? p->columns[0].users : p->columns[0].candidates, inner = 1;
        for (int j = axis + 1; p->columns[0].axis == 0 && j < type.rank; j++) {
            inner *= type.dim[j].c;
        }
        type.dim[axis] = ir_dim_const(width / inner);
        BASE_TRY(passes_pick_columns(r, n, &p->columns[0], i == 0, &type, &parts[i]));
        node = ir_node_of(r->graph, n);
        BASE_TRY(passes_insert(r, n, mean ? IR_OP_reduce_sum : op, NULL, &parts[i], 1, node->attrs, node->attr_count,
                               NULL, &parts[i]));
        passes_set_users(r->graph, parts[i], i == 0);
    }
    if (!mean) {
        return passes_become(r, n, combine(op), parts, 2, NULL, 0, fate);
    }
    BASE_TRY(passes_insert(r, n, IR_OP_add, NULL, parts, 2, NULL, 0, NULL, &divided[0]));
    passes_set_users(r->graph, divided[0], false);
    BASE_TRY(add_count(r, &whole, &axes, &divided[1]));
    return passes_become(r, n, IR_OP_div, divided, 2, NULL, 0, fate);
}

static mtl_status look_at_reduction(parter *p, ir_node n)
{
    const ir_node_info *node = ir_node_of(p->r.graph, n);
    const ir_attr *axes = ir_find_attr(node, IR_ATTR_axes);
    ir_value x = node->inputs[0];
    const ir_type *type = ir_type_of(p->r.graph, x);
    if (!ir_dtype_is_float(type->dtype)) {
        return MTL_OK;
    }
    for (size_t i = 0; i < axes->count; i++) {
        int axis = (int)axes->ints[i];
        if (axis < 1) {
            continue;
        }
        BASE_TRY(passes_find_columns(&p->r, x, axis, &p->columns[0]));
        int64_t users = p->columns[0].users;
        for (int j = axis + 1; p->columns[0].axis == 0 && j < type->rank; j++) {
            users /= type->dim[j].c;
        }
        if (users >= LEAST_WIDTH && p->columns[0].candidates > 0) {
            return part_reduction(p, n, axis);
        }
    }
    return MTL_OK;
}

/* --- the pass -------------------------------------------------------------------------------------------------- */

/* Softmax and layer normalisation need all their columns. */
static mtl_status look_at_statistics(parter *p, ir_node n)
{
    const ir_node_info *node = ir_node_of(p->r.graph, n);
    const ir_type *type = ir_type_of(p->r.graph, node->inputs[0]);
    int axis = (int)ir_attr_int(node, IR_ATTR_axis);
    if (axis < 1 || axis >= type->rank) {
        return MTL_OK;
    }
    BASE_TRY(passes_find_columns(&p->r, node->inputs[0], axis, &p->columns[0]));
    if (p->columns[0].users >= LEAST_WIDTH && p->columns[0].candidates > 0) {
        passes_note(p->r.graph, node, mixes);
    }
    return MTL_OK;
}

static mtl_status visit(parter *p, ir_node n)
{
    const ir_node_info *node = ir_node_of(p->r.graph, n);
    ir_value result = node->outputs[0];
    const ir_rate *rate = &ir_info(p->r.graph, result)->rate;
    if (rate->kind != IR_RATE_ROW || rate->axis != 0 || rate->per_user) {
        return MTL_OK;
    }
    if (is_reduction(node->op)) {
        return look_at_reduction(p, n);
    }
    if (node->op == IR_OP_layer_norm || node->op == IR_OP_softmax || node->op == IR_OP_log_softmax) {
        return look_at_statistics(p, n);
    }
    bool wanted = result < p->known && p->wanted[result];
    return wanted && is_function(node->op) && node->input_count <= MOST_OPERANDS ? look_at_function(p, n) : MTL_OK;
}

static mtl_status visit_all(parter *p)
{
    ir_graph *graph = p->r.graph;
    BASE_TRY(find_wanted(p));
    for (ir_node n = graph->first_node, next; n != 0; n = next) {
        passes_visit(&p->r, n);
        next = ir_node_of(graph, n)->next;
        BASE_TRY(visit(p, n));
    }
    return MTL_OK;
}

mtl_status passes_part_request(ir_graph *graph, base_diag *diag)
{
    if (!ir_has_users(graph)) {
        return MTL_OK;
    }
    BASE_TRY(ir_infer_rates(graph, diag));
    parter p = {.wanted = NULL};
    BASE_TRY(passes_begin(graph, diag, &p.r));
    mtl_status status = visit_all(&p);
    return status == MTL_OK ? passes_end(&p.r) : passes_abandon(&p.r, status);
}
