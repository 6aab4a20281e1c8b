/* Rates: which values are constant, which belong to the request, and which carry the candidates, one each.
 *
 * ROW is a proof: element (a, b, c) of the row axis, read as (before, B, after), depends on candidate b alone. Where no
 * rule below proves it the rate is BATCH, which is never wrong, only slower.
 */
#include "ir/infer.h"

static const ir_rate rate_const = {.kind = IR_RATE_CONST};
static const ir_rate rate_request = {.kind = IR_RATE_REQUEST};
static const ir_rate rate_batch = {.kind = IR_RATE_BATCH};

/* The rate of the node's result. `type` is the result's. Operands' rates are there already. */
typedef ir_rate rate_function(const ir_infer_context *c, const ir_type *type);

static const ir_rate *rate_of(const ir_infer_context *c, uint32_t operand)
{
    return &c->graph->values[c->info->inputs[operand]].rate;
}

static bool is_row(const ir_infer_context *c, uint32_t operand)
{
    return ir_infer_has_operand(c, operand) && rate_of(c, operand)->kind == IR_RATE_ROW;
}

static bool depends_on_rows(ir_dim dim)
{
    return dim.k[IR_SYMBOL_ROWS] != 0;
}

/* k when dim is k x B with k >= 1, else 0. */
static int64_t rows_factor(ir_dim dim)
{
    int64_t k = dim.k[IR_SYMBOL_ROWS];
    dim.k[IR_SYMBOL_ROWS] = 0;
    return k >= 1 && ir_dim_is(dim, 0) ? k : 0;
}

/* The rate of the operand that changes most often among those that are not ROW. */
static ir_rate_kind plain_kind(const ir_infer_context *c)
{
    ir_rate_kind kind = IR_RATE_CONST;
    for (uint32_t i = 0; i < c->info->input_count; i++) {
        if (ir_infer_has_operand(c, i) && !is_row(c, i) && rate_of(c, i)->kind > kind) {
            kind = rate_of(c, i)->kind;
        }
    }
    return kind;
}

static ir_rate plain_rate(const ir_infer_context *c)
{
    return (ir_rate){.kind = plain_kind(c)};
}

/* Whether operand 0 is ROW and no other operand is ROW or BATCH. */
static bool only_first_is_row(const ir_infer_context *c)
{
    for (uint32_t i = 1; i < c->info->input_count; i++) {
        if (is_row(c, i)) {
            return false;
        }
    }
    return is_row(c, 0) && plain_kind(c) != IR_RATE_BATCH;
}

static bool any_row(const ir_infer_context *c)
{
    for (uint32_t i = 0; i < c->info->input_count; i++) {
        if (is_row(c, i)) {
            return true;
        }
    }
    return false;
}

static ir_rate row(int32_t axis, int64_t before, int64_t after)
{
    return (ir_rate){.kind = IR_RATE_ROW, .axis = axis, .before = before, .after = after};
}

/* The result has the axes of operand 0; other operands are parameters. */
static ir_rate ir_rate_elementwise(const ir_infer_context *c, const ir_type *type)
{
    (void)type;
    if (!any_row(c)) {
        return plain_rate(c);
    }
    return only_first_is_row(c) ? *rate_of(c, 0) : rate_batch;
}

/* Merges the rate of an operand whose row axis is `axis` in the result. */
static bool merge_row(ir_rate *merged, const ir_rate *operand, int32_t axis)
{
    if (merged->kind != IR_RATE_ROW) {
        *merged = row(axis, operand->before, operand->after);
        return true;
    }
    return merged->axis == axis && merged->before == operand->before && merged->after == operand->after;
}

static ir_rate ir_rate_broadcast(const ir_infer_context *c, const ir_type *type)
{
    ir_rate merged = plain_rate(c);
    if (merged.kind == IR_RATE_BATCH) {
        return rate_batch;
    }
    for (uint32_t i = 0; i < c->info->input_count; i++) {
        if (is_row(c, i) &&
            !merge_row(&merged, rate_of(c, i), rate_of(c, i)->axis + type->rank - ir_infer_operand(c, i)->rank)) {
            return rate_batch;
        }
    }
    return merged;
}

static ir_rate ir_rate_shape(const ir_infer_context *c, const ir_type *type)
{
    const ir_type *operand = ir_infer_operand(c, 0);
    ir_rate rate = rate_const;
    (void)type;
    for (int32_t i = 0; i < operand->rank; i++) {
        if (depends_on_rows(operand->dim[i])) {
            return rate_batch;
        }
        rate = ir_dim_is_const(operand->dim[i]) ? rate : rate_request;
    }
    return rate;
}

/* Elements before and after position (axis, before, after) of a dense tensor. */
static bool around_rows(const ir_type *type, const ir_rate *rate, ir_dim *outer, ir_dim *inner)
{
    *outer = ir_dim_const(rate->before);
    *inner = ir_dim_const(rate->after);
    for (int32_t i = 0; i < type->rank; i++) {
        ir_dim *side = i < rate->axis ? outer : inner;
        if (i != rate->axis && !ir_dim_mul(*side, type->dim[i], side)) {
            return false;
        }
    }
    return true;
}

/* The elements of one candidate stay where they are in row-major order: the new row axis is the one that has the
 * symbol, and its factors are what is left of the elements around it. */
static ir_rate ir_rate_reshape(const ir_infer_context *c, const ir_type *type)
{
    ir_dim outer, inner, new_outer, new_inner, before, after;
    const ir_rate *operand = rate_of(c, 0);
    if (operand->kind != IR_RATE_ROW) {
        return *operand;
    }
    int32_t axis = 0;
    while (axis < type->rank && !depends_on_rows(type->dim[axis])) {
        axis++;
    }
    ir_rate one = row(axis, 1, 1);
    if (axis == type->rank || !around_rows(ir_infer_operand(c, 0), operand, &outer, &inner) ||
        !around_rows(type, &one, &new_outer, &new_inner) || !ir_dim_div(outer, new_outer, &before) ||
        !ir_dim_div(inner, new_inner, &after) || !ir_dim_is_const(before) || !ir_dim_is_const(after)) {
        return rate_batch;
    }
    return row(axis, before.c, after.c);
}

static ir_rate ir_rate_expand(const ir_infer_context *c, const ir_type *type)
{
    const ir_rate *operand = rate_of(c, 0);
    int32_t shift = type->rank - ir_infer_operand(c, 0)->rank;
    if (operand->kind == IR_RATE_BATCH) {
        return rate_batch;
    }
    if (operand->kind == IR_RATE_ROW) {
        return row(operand->axis + shift, operand->before, operand->after);
    }
    for (int32_t i = 0; i < type->rank; i++) {
        if (depends_on_rows(type->dim[i])) { /* copies: any split into candidates will do */
            return row(i, 1, rows_factor(type->dim[i]));
        }
    }
    return *operand;
}

static ir_rate ir_rate_transpose(const ir_infer_context *c, const ir_type *type)
{
    ir_rate rate = *rate_of(c, 0);
    const ir_attr *perm = ir_find_attr(c->info, IR_ATTR_perm);
    (void)type;
    for (size_t i = 0; i < perm->count && rate.kind == IR_RATE_ROW; i++) {
        if (perm->ints[i] == rate_of(c, 0)->axis) {
            rate.axis = (int32_t)i;
        }
    }
    return rate;
}

/* Along the row axis (candidates, candidates again, ...) the copies come one after the other: `before` adds up. */
static ir_rate ir_rate_concat(const ir_infer_context *c, const ir_type *type)
{
    (void)type;
    if (!any_row(c)) {
        return plain_rate(c);
    }
    ir_rate merged = *rate_of(c, 0);
    for (uint32_t i = 0; i < c->info->input_count; i++) {
        const ir_rate *operand = rate_of(c, i);
        if (!is_row(c, i) || operand->axis != merged.axis || operand->after != merged.after) {
            return rate_batch;
        }
        if (i > 0 && merged.axis == ir_attr_int(c->info, IR_ATTR_axis)) {
            merged.before += operand->before; /* the sum of extents was checked, and this is less */
        } else if (operand->before != merged.before) {
            return rate_batch;
        }
    }
    return merged;
}

static ir_rate ir_rate_slice(const ir_infer_context *c, const ir_type *type)
{
    const ir_rate *operand = rate_of(c, 0);
    if (operand->kind != IR_RATE_ROW) {
        return *operand;
    }
    bool whole = ir_find_attr(c->info, IR_ATTR_starts)->ints[operand->axis] == 0 &&
                 ir_find_attr(c->info, IR_ATTR_steps)->ints[operand->axis] == 1 &&
                 ir_dim_equal(type->dim[operand->axis], ir_infer_operand(c, 0)->dim[operand->axis]);
    return whole ? *operand : rate_batch;
}

static ir_rate ir_rate_gather(const ir_infer_context *c, const ir_type *type)
{
    const ir_rate *data = rate_of(c, 0), *indices = rate_of(c, 1);
    int32_t axis = (int32_t)ir_attr_int(c->info, IR_ATTR_axis);
    (void)type;
    if (!any_row(c)) {
        return plain_rate(c);
    }
    if (plain_kind(c) == IR_RATE_BATCH || (is_row(c, 0) && is_row(c, 1))) {
        return rate_batch;
    }
    if (is_row(c, 1)) { /* one lookup for each candidate */
        return row(axis + indices->axis, indices->before, indices->after);
    }
    if (data->axis == axis) { /* picks candidates */
        return rate_batch;
    }
    int32_t shift = data->axis < axis ? 0 : ir_infer_operand(c, 1)->rank - 1;
    return row(data->axis + shift, data->before, data->after);
}

/* A bag reads the last axis of its ids and weights as a whole; the axes before it are the result's. */
static ir_rate ir_rate_bag(const ir_infer_context *c, const ir_type *type)
{
    ir_rate merged = plain_rate(c);
    if (merged.kind == IR_RATE_BATCH || is_row(c, 0)) {
        return rate_batch;
    }
    for (uint32_t i = 1; i < c->info->input_count; i++) {
        if (is_row(c, i) &&
            (rate_of(c, i)->axis == type->rank - 1 || !merge_row(&merged, rate_of(c, i), rate_of(c, i)->axis))) {
            return rate_batch;
        }
    }
    return merged;
}

static ir_rate ir_rate_batch_gather(const ir_infer_context *c, const ir_type *type)
{
    const ir_rate *data = rate_of(c, 0), *indices = rate_of(c, 1);
    int32_t axis = (int32_t)ir_attr_int(c->info, IR_ATTR_axis);
    (void)type;
    if (!any_row(c)) {
        return plain_rate(c);
    }
    if (plain_kind(c) == IR_RATE_BATCH) {
        return rate_batch;
    }
    if (is_row(c, 0) && is_row(c, 1)) { /* each from its own data */
        bool same = data->axis == indices->axis && data->before == indices->before && data->after == indices->after;
        return same && data->axis < axis ? *data : rate_batch;
    }
    if (is_row(c, 1)) {
        return indices->axis >= axis ? *indices : rate_batch;
    }
    int32_t shift = ir_infer_operand(c, 1)->rank - axis - 1;
    return data->axis > axis ? row(data->axis + shift, data->before, data->after) : rate_batch;
}

static ir_rate ir_rate_range(const ir_infer_context *c, const ir_type *type)
{
    (void)type;
    return any_row(c) ? rate_batch : plain_rate(c);
}

static ir_rate ir_rate_reduce(const ir_infer_context *c, const ir_type *type)
{
    ir_rate rate = *rate_of(c, 0);
    const ir_attr *axes = ir_find_attr(c->info, IR_ATTR_axes);
    bool keepdims = ir_attr_int(c->info, IR_ATTR_keepdims) != 0;
    (void)type;
    for (size_t i = 0; i < axes->count && rate.kind == IR_RATE_ROW; i++) {
        int32_t row_axis = rate_of(c, 0)->axis;
        if (axes->ints[i] == row_axis) {
            return rate_batch;
        }
        rate.axis -= !keepdims && axes->ints[i] < row_axis ? 1 : 0;
    }
    return rate;
}

static ir_rate ir_rate_along_axis(const ir_infer_context *c, const ir_type *type)
{
    (void)type;
    bool mixes = is_row(c, 0) && rate_of(c, 0)->axis == ir_attr_int(c->info, IR_ATTR_axis);
    return mixes ? rate_batch : *rate_of(c, 0);
}

static ir_rate ir_rate_layer_norm(const ir_infer_context *c, const ir_type *type)
{
    bool mixes = is_row(c, 0) && rate_of(c, 0)->axis >= ir_attr_int(c->info, IR_ATTR_axis);
    return mixes ? rate_batch : ir_rate_elementwise(c, type);
}

/* Where axis `axis` of an operand (0: left, 1: right) of a matrix product is in the result, -1: it is summed over. */
static int32_t product_axis(const ir_infer_context *c, uint32_t operand, int32_t axis)
{
    int32_t rank[2] = {ir_infer_operand(c, 0)->rank, ir_infer_operand(c, 1)->rank};
    int32_t leading = (rank[0] > rank[1] ? rank[0] : rank[1]) - 2, mine = rank[operand] - 2;
    leading = leading < 0 ? 0 : leading;
    if (rank[operand] == 1 || axis == mine + (operand == 0 ? 1 : 0)) {
        return -1;
    }
    if (axis < mine) { /* a leading axis, aligned from the right */
        return axis + leading - mine;
    }
    return operand == 0 ? leading : leading + (rank[0] > 1 ? 1 : 0);
}

static ir_rate ir_rate_matmul(const ir_infer_context *c, const ir_type *type)
{
    ir_rate merged = plain_rate(c);
    (void)type;
    if (merged.kind == IR_RATE_BATCH) {
        return rate_batch;
    }
    for (uint32_t i = 0; i < 2; i++) {
        int32_t axis = is_row(c, i) ? product_axis(c, i, rate_of(c, i)->axis) : 0;
        /* Rows in M meeting rows in N or in another leading axis differ in `axis`, so they do not merge. */
        if (axis < 0 || (is_row(c, i) && !merge_row(&merged, rate_of(c, i), axis))) {
            return rate_batch;
        }
    }
    return merged;
}

static ir_rate ir_rate_linear(const ir_infer_context *c, const ir_type *type)
{
    bool mixes = is_row(c, 0) && rate_of(c, 0)->axis == ir_infer_operand(c, 0)->rank - 1;
    ir_rate merged = plain_rate(c);
    (void)type;
    if (mixes || merged.kind == IR_RATE_BATCH) {
        return rate_batch;
    }
    for (uint32_t i = 0; i < 4; i += 3) { /* x and start have the result's axes, weights and bias are constants */
        if (i < c->info->input_count && is_row(c, i) && !merge_row(&merged, rate_of(c, i), rate_of(c, i)->axis)) {
            return rate_batch;
        }
    }
    return merged;
}

/* Along axis 0 everything stays apart; what mixes are the other two. */
static ir_rate ir_rate_mix(const ir_infer_context *c, const ir_type *type)
{
    for (uint32_t i = 0; i < 2; i++) {
        if (is_row(c, i) && rate_of(c, i)->axis != 0) {
            return rate_batch;
        }
    }
    return ir_rate_broadcast(c, type);
}

/* Candidates are apart along axis 0 of what is read step by step and of the state before; weights are the same for all. */
static ir_rate ir_rate_gru(const ir_infer_context *c, const ir_type *type)
{
    ir_rate merged = plain_rate(c);
    (void)type;
    for (uint32_t i = 0; i < c->info->input_count; i++) {
        if (is_row(c, i) && (i == 1 || i == 2 || rate_of(c, i)->axis != 0 || !merge_row(&merged, rate_of(c, i), 0))) {
            return rate_batch;
        }
    }
    return merged;
}

/* So does attention; its masks have another rank than its result. */
static ir_rate ir_rate_attention(const ir_infer_context *c, const ir_type *type)
{
    ir_rate merged = plain_rate(c);
    (void)type;
    if (merged.kind == IR_RATE_BATCH) {
        return rate_batch;
    }
    for (uint32_t i = 0; i < c->info->input_count; i++) {
        if (is_row(c, i) && (rate_of(c, i)->axis != 0 || !merge_row(&merged, rate_of(c, i), 0))) {
            return rate_batch;
        }
    }
    return merged;
}

static rate_function *const functions[IR_OP_COUNT] = {
#define OP(name, min, max, outputs, infer, rate, eval, attrs) [IR_OP_##name] = ir_rate_##rate,
#include "ir/ops.def"
#undef OP
};

/* What holds for every rate, whatever the rule said: only ROW and BATCH have the rows in their shape, and ROW exactly
 * on its axis. */
static ir_rate checked(ir_rate rate, const ir_type *type)
{
    if (rate.kind == IR_RATE_BATCH) {
        return rate_batch;
    }
    for (int32_t i = 0; i < type->rank; i++) {
        if (rate.kind == IR_RATE_ROW && i == rate.axis) {
            int64_t factor = rows_factor(type->dim[i]);
            if (rate.before < 1 || rate.after < 1 || factor % rate.before != 0 || factor / rate.before != rate.after) {
                return rate_batch;
            }
        } else if (depends_on_rows(type->dim[i])) {
            return rate_batch;
        } else if (rate.kind == IR_RATE_CONST && !ir_dim_is_const(type->dim[i])) {
            rate.kind = IR_RATE_REQUEST;
        }
    }
    return rate;
}

static ir_rate rate_of_input(const ir_type *type)
{
    for (int32_t i = 0; i < type->rank; i++) {
        if (depends_on_rows(type->dim[i])) {
            return checked(row(i, 1, 1), type);
        }
    }
    return rate_request;
}

/* A value whose elements inference knows does not depend on what it was computed from: the extent 64 of a tensor
 * of B x 64 is a constant. One that grows with B is the same for all candidates, but not for all batches. */
static ir_rate rate_of_content(const ir_value_info *value)
{
    ir_rate rate = rate_const;
    for (size_t i = 0; i < value->content_count; i++) {
        if (depends_on_rows(value->content[i])) {
            return rate_batch;
        }
        rate = ir_dim_is_const(value->content[i]) ? rate : rate_request;
    }
    return rate;
}

/* Whether no operand differs between candidates of one user: where none has candidates, the result is copies. */
static bool all_per_user(const ir_infer_context *c)
{
    for (uint32_t i = 0; i < c->info->input_count; i++) {
        if (is_row(c, i) && !rate_of(c, i)->per_user) {
            return false;
        }
    }
    return true;
}

mtl_status ir_infer_rates(ir_graph *graph, base_diag *diag)
{
    bool users = ir_has_users(graph);
    for (ir_value v = 1; v < graph->value_count; v++) {
        ir_value_info *value = &graph->values[v];
        switch (value->kind) {
        case IR_VALUE_NODE: break;
        case IR_VALUE_INPUT:
            value->rate = rate_of_input(&value->type);
            value->rate.per_user = value->per_user && value->rate.kind == IR_RATE_ROW;
            break;
        case IR_VALUE_CONST: value->rate = rate_const; break;
        case IR_VALUE_PARAM: value->rate = rate_request; break;
        }
    }
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        ir_infer_context c = {.graph = graph, .node = node, .info = ir_node_of(graph, node), .diag = diag};
        ir_value_info *result = &graph->values[c.info->outputs[0]];
        result->rate = result->content != NULL ? rate_of_content(result)
                                               : checked(functions[c.info->op](&c, &result->type), &result->type);
        result->rate.per_user =
            users && result->rate.kind == IR_RATE_ROW && c.info->op != IR_OP_spread && all_per_user(&c);
    }
    return MTL_OK;
}
