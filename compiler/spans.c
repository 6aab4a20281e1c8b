/* Which steps get a span: of padded sequences (B, L, ..) no position counts that a mask (B, L) leaves out, when it is
 * masked as a key of attention and left out where the sequence is summed up, so that nobody sees what is computed there.
 *
 *     k = not(equal(ids, 0))                   span k
 *     q = linear x, w                          span k: only a reads it
 *     a = attention q, q, q, keep k            span k: only s reads it, through steps by position
 *     s = mix cast(k), a                       the end: a weight of 0 for what k leaves out
 *
 * Values are walked from the last to the first, each with what its readers need of it: all, or the span of one mask.
 * A step by position passes on to its operands what is needed of its result.
 *
 * What masks leave out counts for nothing here: as a key whose score is `fill` it has a share of 0 (fill is beyond the
 * scores of any model that works, see SPAN_FILL), and a weight of 0 takes away infinities and NaN, too. */
#include <math.h>
#include <string.h>

#include "compiler/lowering.h"
#include "plan/plan.h"

#define SPAN_FILL (-1e8) /* of attention: masks with a number above it are taken at their word */

enum {
    SPAN_LENGTH = 8,     /* positions; finding the span does not pay for fewer, ... */
    SPAN_ELEMENTS = 256, /* ... nor for smaller sequences */
    HOISTED = 16,        /* nodes, at most, that are computed earlier than in the order of the graph for a mask */
};

/* What is needed of a value: nothing so far, or the span of the mask of that value, or all. */
#define NEED_NONE ((ir_value)0)
#define NEED_ALL UINT32_MAX

typedef struct span_finder {
    compiler_lowering *lowering;
    const ir_graph *graph;
    ir_value *need;  /* by value */
    uint32_t *order; /* by node */
} span_finder;

static void add_need(span_finder *f, ir_value value, ir_value need)
{
    if (value != 0 && f->need[value] != need) {
        f->need[value] = f->need[value] == NEED_NONE ? need : NEED_ALL;
    }
}

static bool is_rows(ir_dim dim)
{
    for (int symbol = 0; symbol < IR_MAX_SYMBOLS; symbol++) {
        if (dim.k[symbol] != (symbol == IR_SYMBOL_ROWS)) {
            return false;
        }
    }
    return dim.c == 0;
}

/* (B, L) but for axes of extent 1, with an L that is worth it; its L, else 0. */
static int64_t mask_length(const ir_type *type)
{
    ir_dim rest[MTL_MAX_RANK];
    int32_t count = 0;
    for (int32_t axis = 0; axis < type->rank; axis++) {
        if (!ir_dim_is(type->dim[axis], 1)) {
            rest[count++] = type->dim[axis];
        }
    }
    bool fits = count == 2 && is_rows(rest[0]) && ir_dim_is_const(rest[1]) && rest[1].c >= SPAN_LENGTH;
    return fits ? rest[1].c : 0;
}

/* The bool (B, L) that a value is, as numbers and under other shapes or not; 0: none. */
static ir_value mask_behind(const ir_graph *graph, ir_value value)
{
    int64_t length = value != 0 ? mask_length(ir_type_of(graph, value)) : 0;
    for (const ir_node_info *node; length != 0; value = node->inputs[0]) {
        node = ir_producer(graph, value);
        bool is_bool = ir_type_of(graph, value)->dtype == MTL_BOOL;
        bool same = node != NULL && (node->op == IR_OP_reshape || node->op == IR_OP_identity);
        bool cast = node != NULL && node->op == IR_OP_cast && !is_bool;
        if (!same && !cast) {
            return is_bool && mask_length(ir_type_of(graph, value)) == length ? value : 0;
        }
    }
    return 0;
}

/* Which keys of an attention count: those that a bool (B, L) is true for, or those that it is false for. `fill` is written
 * over the scores of the others, or added to them. */
typedef struct key_mask {
    ir_value mask; /* 0: all of them */
    bool negated;
    double fill;
} key_mask;

/* where(mask, 0, fill), where(padding, fill, 0), padding x fill. */
static key_mask keys_of_bias(const ir_graph *graph, ir_value bias)
{
    const ir_node_info *node = ir_producer(graph, bias);
    double first, second;
    while (node != NULL && (node->op == IR_OP_reshape || node->op == IR_OP_identity)) {
        node = ir_producer(graph, node->inputs[0]);
    }
    for (uint32_t i = 0; node != NULL && node->op == IR_OP_mul && i < 2; i++) {
        if (ir_const_scalar(graph, node->inputs[i], &first)) {
            return (key_mask){mask_behind(graph, node->inputs[1 - i]), true, first};
        }
    }
    if (node != NULL && node->op == IR_OP_where && ir_const_scalar(graph, node->inputs[1], &first) &&
        ir_const_scalar(graph, node->inputs[2], &second) && (first == 0 || second == 0)) {
        return (key_mask){mask_behind(graph, node->inputs[0]), second == 0, first + second};
    }
    return (key_mask){.mask = 0};
}

static key_mask keys_of(const ir_graph *graph, const ir_node_info *attention)
{
    ir_value bias = ir_operand(attention, 3), keep = ir_operand(attention, 4);
    if (keep != 0) {
        return (key_mask){mask_behind(graph, keep), false, ir_attr_float(attention, IR_ATTR_fill)};
    }
    return bias != 0 ? keys_of_bias(graph, bias) : (key_mask){.mask = 0};
}

static bool is_not(const ir_graph *graph, ir_value value, ir_value of)
{
    const ir_node_info *node = ir_producer_op(graph, value, IR_OP_not);
    return node != NULL && mask_behind(graph, node->inputs[0]) == of;
}

/* Whether the keys that count are those that `mask` is true for. */
static bool is_mask(const ir_graph *graph, const key_mask *keys, ir_value mask)
{
    if (keys->mask == 0 || !keys->negated) {
        return keys->mask == mask;
    }
    return is_not(graph, mask, keys->mask) || is_not(graph, keys->mask, mask);
}

/* Whether the queries of a candidate without keys are NaN in an attention masked by `mask`, so that all of its positions
 * make a difference: 0 times NaN. */
static bool is_nan_without_keys(const ir_graph *graph, const ir_node_info *node, ir_value mask)
{
    if (node->op != IR_OP_attention || strcmp(ir_find_attr(node, IR_ATTR_empty)->text, "nan") != 0) {
        return false;
    }
    const key_mask keys = keys_of(graph, node);
    return isinf(keys.fill) && is_mask(graph, &keys, mask);
}

bool compiler_span_is_whole(const compiler_lowering *lowering, ir_value mask)
{
    const ir_graph *graph = lowering->graph;
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        if (is_nan_without_keys(graph, ir_node_of(graph, node), mask)) {
            return true;
        }
    }
    return false;
}

/* A dense float32 (B, L, ..) that lies in the workspace, or an input. */
static bool has_positions(const span_finder *f, ir_value value, int64_t length)
{
    const compiler_lowering *lowering = f->lowering;
    const ir_type *type = ir_type_of(f->graph, value);
    const ir_value_info *root = ir_info(f->graph, lowering->root[value]);
    plan_storage storage = lowering->slots[lowering->root[value]].storage;
    bool placed = root->kind == IR_VALUE_INPUT || (root->kind == IR_VALUE_NODE && storage == 0);
    return placed && root->rate.kind == IR_RATE_ROW && !root->rate.per_user && lowering->windows[value].pitch == 0 &&
           type->dtype == MTL_F32 && type->rank > 2 && is_rows(type->dim[0]) && ir_dim_is(type->dim[1], length);
}

static bool is_worth_it(const span_finder *f, ir_value value)
{
    return compiler_row_elements(ir_type_of(f->graph, value)) >= SPAN_ELEMENTS;
}

static bool is_fixed(const span_finder *f, ir_value value)
{
    ir_value_kind kind = ir_info(f->graph, value)->kind;
    return kind == IR_VALUE_CONST || kind == IR_VALUE_PARAM;
}

/* Counts the nodes that make `value` and come after `node`; false: too many, or `node` is among them. */
static bool count_later(const span_finder *f, ir_value value, ir_node node, uint32_t *count)
{
    ir_node maker = value != 0 ? ir_info(f->graph, value)->node : 0;
    if (maker == 0 || f->order[maker] < f->order[node]) {
        return true;
    }
    if (maker == node || ++*count > HOISTED) {
        return false;
    }
    const ir_node_info *info = ir_node_of(f->graph, maker);
    for (uint32_t i = 0; i < info->input_count; i++) {
        if (!count_later(f, info->inputs[i], node, count)) {
            return false;
        }
    }
    return true;
}

/* Whether a mask can be there before `node`, in the workspace or as an input. */
static bool can_have(const span_finder *f, ir_node node, ir_value mask)
{
    uint32_t count = 0;
    const compiler_lowering *lowering = f->lowering;
    const ir_value_info *root = ir_info(f->graph, lowering->root[mask]);
    plan_storage storage = lowering->slots[lowering->root[mask]].storage;
    bool placed = root->kind == IR_VALUE_INPUT || (root->kind == IR_VALUE_NODE && storage == 0);
    return placed && !root->rate.per_user && lowering->windows[mask].pitch == 0 && count_later(f, mask, node, &count);
}

/* Self-attention whose keys are masked by the mask that its result is needed for. */
static bool attention_fits(const span_finder *f, const ir_node_info *node, ir_value mask, int64_t length)
{
    const key_mask keys = keys_of(f->graph, node);
    bool fits = is_mask(f->graph, &keys, mask) && keys.fill <= SPAN_FILL;
    for (uint32_t i = 0; fits && i < 3; i++) {
        fits = has_positions(f, node->inputs[i], length);
    }
    ir_value bias = ir_operand(node, 3);
    return fits && (bias == 0 || !ir_info(f->graph, bias)->rate.per_user);
}

static bool positions_fit(const span_finder *f, const ir_node_info *node, int64_t length)
{
    bool any = false;
    if ((node->op == IR_OP_layer_norm && ir_attr_int(node, IR_ATTR_axis) < 2) ||
        (node->op == IR_OP_linear && ir_operand(node, 3) != 0)) {
        return false;
    }
    for (uint32_t i = 0; i < node->input_count; i++) {
        bool positions = node->inputs[i] != 0 && has_positions(f, node->inputs[i], length);
        if (node->inputs[i] != 0 && !positions && !is_fixed(f, node->inputs[i])) {
            return false;
        }
        any |= positions;
    }
    return any;
}

/* The mask that says which of the vectors of a mix have weights other than 0, one after the other; 0: none does. */
static ir_value mix_mask(const span_finder *f, const ir_node_info *node)
{
    const ir_attr *index = ir_find_attr(node, IR_ATTR_index);
    ir_value mask = mask_behind(f->graph, node->inputs[0]);
    if (mask == 0 || ir_find_attr(node, IR_ATTR_function)->text[0] != '\0') {
        return 0;
    }
    int64_t length = mask_length(ir_type_of(f->graph, mask));
    const ir_type *weights = ir_type_of(f->graph, node->inputs[0]);
    bool fits = is_rows(weights->dim[0]) && ir_dim_is(weights->dim[1], 1) && index->count == (size_t)length;
    for (size_t i = 0; fits && i < index->count; i++) {
        fits = index->ints[i] == (int64_t)i;
    }
    return fits && has_positions(f, node->inputs[1], length) ? mask : 0;
}

/* The mask of the span of the step of `node`, 0: none. */
static ir_value span_of(const span_finder *f, ir_node id)
{
    const ir_node_info *node = ir_node_of(f->graph, id);
    plan_op op;
    if (f->lowering->in_place[id] || !compiler_plan_op(node->op, &op)) {
        return 0;
    }
    ir_value result = node->outputs[0], mask = f->need[result];
    if (op == PLAN_OP_mix) {
        mask = mix_mask(f, node);
        return mask != 0 && is_worth_it(f, node->inputs[1]) && can_have(f, id, mask) ? mask : 0;
    }
    if (mask == NEED_NONE || mask == NEED_ALL || !is_worth_it(f, result) || !can_have(f, id, mask)) {
        return 0;
    }
    int64_t length = mask_length(ir_type_of(f->graph, mask));
    if (!has_positions(f, result, length)) {
        return 0;
    }
    switch (plan_span_kind_of(op)) {
    case PLAN_SPAN_POSITIONS: return positions_fit(f, node, length) ? mask : 0;
    case PLAN_SPAN_KEYS: return attention_fits(f, node, mask, length) ? mask : 0;
    case PLAN_SPAN_SUM:
    case PLAN_SPAN_NONE: break;
    }
    return 0;
}

/* Another shape of the same positions. */
static bool is_same_positions(const span_finder *f, const ir_node_info *node, ir_value mask)
{
    int64_t length = mask_length(ir_type_of(f->graph, mask));
    return (node->op == IR_OP_reshape || node->op == IR_OP_identity) && has_positions(f, node->outputs[0], length) &&
           has_positions(f, node->inputs[0], length);
}

static void visit(span_finder *f, ir_node id)
{
    const ir_node_info *node = ir_node_of(f->graph, id);
    ir_value result = node->outputs[0], mask = f->need[result], needed = NEED_ALL;
    plan_op op;
    if (f->lowering->viewed[result]) {
        if (mask != NEED_NONE && mask != NEED_ALL && is_same_positions(f, node, mask)) {
            needed = mask;
        }
        add_need(f, node->inputs[0], needed);
        for (uint32_t i = 1; i < node->input_count; i++) {
            add_need(f, node->inputs[i], NEED_ALL);
        }
        return;
    }
    mask = span_of(f, id);
    f->lowering->spans[id] = mask;
    for (uint32_t i = 0; i < node->input_count; i++) {
        bool takes = mask != 0 && compiler_plan_op(node->op, &op) && plan_span_takes(op, i);
        add_need(f, node->inputs[i], takes ? mask : NEED_ALL);
    }
}

mtl_status compiler_find_spans(compiler_lowering *lowering)
{
    const ir_graph *graph = lowering->graph;
    span_finder f = {.lowering = lowering, .graph = graph};
    f.need = BASE_NEW_ARRAY(lowering->arena, ir_value, graph->value_count);
    f.order = BASE_NEW_ARRAY(lowering->arena, uint32_t, graph->node_count);
    BASE_TRY_MEMORY(f.need, lowering->diag);
    BASE_TRY_MEMORY(f.order, lowering->diag);
    if (lowering->whole_batch) {
        return MTL_OK;
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        f.need[graph->outputs[i].value] = NEED_ALL;
    }
    uint32_t count = 0;
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        f.order[node] = count++;
    }
    for (ir_node node = graph->last_node; node != 0; node = ir_node_of(graph, node)->previous) {
        visit(&f, node);
    }
    return MTL_OK;
}
