#include "passes/bag.h"

#include <math.h>

enum { MOST_NODES = 200 }; /* of an expression: exporters write a dozen */

typedef struct reader {
    const passes_rewriter *r;
    passes_rows *rows;
    int nodes; /* looked at */
} reader;

static bool read_term(reader *in, ir_value value, bool top, passes_term *term);

bool passes_is_lookup(const ir_graph *graph, ir_value value)
{
    const ir_node_info *node = ir_producer_op(graph, value, IR_OP_gather);
    if (node == NULL || ir_attr_int(node, IR_ATTR_axis) != 0) {
        return false;
    }
    const ir_value_info *table = ir_info(graph, node->inputs[0]), *ids = ir_info(graph, node->inputs[1]);
    return (table->kind == IR_VALUE_CONST || table->kind == IR_VALUE_PARAM) && table->type.rank == 2 &&
           table->type.dtype == MTL_F32 && ids->kind != IR_VALUE_CONST && ids->type.rank >= 1;
}

ir_value passes_plain_ids(const ir_graph *graph, ir_value value)
{
    for (const ir_node_info *node; (node = ir_producer(graph, value)) != NULL;) {
        mtl_dtype from = ir_type_of(graph, node->inputs[0])->dtype, to = ir_type_of(graph, value)->dtype;
        bool widens = node->op == IR_OP_cast && to == MTL_I64 && (from == MTL_I32 || from == MTL_I64);
        if (!widens && node->op != IR_OP_identity) {
            break;
        }
        value = node->inputs[0];
    }
    return value;
}

/* As many leading extents as there are ids' axes. */
static bool has_ids_axes(const reader *in, const ir_type *type)
{
    int32_t axes = in->rows->type.rank - 1;
    bool fits = type->rank == axes || type->rank == axes + 1;
    for (int32_t axis = 0; axis < axes && fits; axis++) {
        fits = ir_dim_equal(type->dim[axis], in->rows->type.dim[axis]);
    }
    return fits;
}

/* A type that a term may have: of the ids, of the rows, or of the ids with an extent of 1 behind. */
static bool fits(const reader *in, const ir_type *type)
{
    int32_t last = in->rows->type.rank - 1;
    return has_ids_axes(in, type) && (type->rank == last || ir_dim_is(type->dim[last], 1) ||
                                      ir_dim_equal(type->dim[last], in->rows->type.dim[last]));
}

static passes_term number_term(double number)
{
    return (passes_term){.set = {0, number}, .clear = {0, number}};
}

bool passes_same_mask(const passes_mask *a, const passes_mask *b)
{
    if (a->ids != 0 && b->ids != 0) {
        return a->ids == b->ids && a->first == b->first && a->last == b->last;
    }
    return a->value == b->value && a->inverted == b->inverted;
}

bool passes_is_mask(const passes_term *term)
{
    return term->mask.value != 0 && term->set[0] == 0 && term->set[1] == 1 && term->clear[0] == 0 &&
           term->clear[1] == 0;
}

/* The two terms of one node are about one mask: the same, or one has none. */
static bool join_masks(const passes_term *a, const passes_term *b, passes_term *result)
{
    result->mask = a->mask.value != 0 ? a->mask : b->mask;
    return a->mask.value == 0 || b->mask.value == 0 || passes_same_mask(&a->mask, &b->mask);
}

/* --- masks --------------------------------------------------------------------------------------------------- */

/* `ids` op `number`: which ids it leaves out, and whether it is true for just these. False: too near the end of int64. */
static bool compare_with(ir_op op, int64_t number, passes_mask *mask)
{
    mask->first = op == IR_OP_equal ? number : INT64_MIN;
    mask->last = number;
    if (op == IR_OP_less || op == IR_OP_greater_or_equal) {
        if (number == INT64_MIN) {
            return false;
        }
        mask->last = number - 1;
    }
    mask->inverted = op == IR_OP_equal || op == IR_OP_less || op == IR_OP_less_or_equal;
    return true;
}

static ir_op turned(ir_op op)
{
    switch (op) {
    case IR_OP_less: return IR_OP_greater;
    case IR_OP_less_or_equal: return IR_OP_greater_or_equal;
    case IR_OP_greater: return IR_OP_less;
    case IR_OP_greater_or_equal: return IR_OP_less_or_equal;
    default: return op;
    }
}

static bool is_comparison(ir_op op)
{
    return op == IR_OP_equal || turned(op) != op;
}

static bool is_integer(const reader *in, ir_value value)
{
    mtl_dtype dtype = ir_type_of(in->r->graph, value)->dtype;
    return dtype == MTL_I64 || dtype == MTL_I32;
}

/* A bool that is a comparison of ids with a number says which ids it leaves out. */
static void read_comparison(const reader *in, passes_mask *mask)
{
    const ir_graph *graph = in->r->graph;
    const ir_node_info *node = ir_producer(graph, mask->value);
    passes_mask found = *mask;
    double number;
    bool known = false;
    if (node == NULL) {
        return;
    }
    if (node->op == IR_OP_cast && is_integer(in, node->inputs[0])) { /* to bool: not 0 */
        found.ids = node->inputs[0];
        known = compare_with(IR_OP_equal, 0, &found);
        found.inverted = false;
    }
    for (uint32_t k = 0; is_comparison(node->op) && k < 2 && !known; k++) {
        if (is_integer(in, node->inputs[k]) && ir_const_scalar(graph, node->inputs[1 - k], &number) &&
            fabs(number) < 0x1p53) {
            found.ids = node->inputs[k];
            known = compare_with(k == 0 ? node->op : turned(node->op), (int64_t)number, &found);
        }
    }
    if (known && fits(in, ir_type_of(graph, found.ids))) {
        found.ids = passes_plain_ids(graph, found.ids);
        *mask = found;
    }
}

/* `value` is bool: true or false for each id. */
static bool read_mask(const reader *in, ir_value value, passes_term *term)
{
    bool inverted = false;
    for (const ir_node_info *node; (node = ir_producer_op(in->r->graph, value, IR_OP_not)) != NULL;) {
        inverted = !inverted;
        value = node->inputs[0];
    }
    *term = (passes_term){.mask = {.value = value}};
    read_comparison(in, &term->mask);
    term->set[1] = inverted == term->mask.inverted;
    term->clear[1] = inverted != term->mask.inverted;
    return true;
}

/* --- arithmetic ---------------------------------------------------------------------------------------------- */

/* Whether two operands meet element by element: equal ranks, or one is a number. */
static bool aligned(const reader *in, const ir_node_info *node, uint32_t a, uint32_t b)
{
    double number;
    const ir_graph *graph = in->r->graph;
    return ir_const_scalar(graph, node->inputs[a], &number) || ir_const_scalar(graph, node->inputs[b], &number) ||
           ir_type_of(graph, node->inputs[a])->rank == ir_type_of(graph, node->inputs[b])->rank;
}

static bool multiply(const double *a, const double *b, double *result)
{
    result[0] = a[0] * b[1] + a[1] * b[0];
    result[1] = a[1] * b[1];
    return (a[0] == 0 || b[0] == 0) && !isnan(result[0]) && !isnan(result[1]);
}

static bool add(const double *a, const double *b, double sign, double *result)
{
    result[0] = a[0] + sign * b[0];
    result[1] = a[1] + sign * b[1];
    return !isnan(result[1]);
}

static bool read_binary(reader *in, const ir_node_info *node, passes_term *term)
{
    passes_term a, b;
    if (!aligned(in, node, 0, 1) || !read_term(in, node->inputs[0], false, &a) ||
        !read_term(in, node->inputs[1], false, &b) || !join_masks(&a, &b, term)) {
        return false;
    }
    if (node->op == IR_OP_mul) {
        return multiply(a.set, b.set, term->set) && multiply(a.clear, b.clear, term->clear);
    }
    double sign = node->op == IR_OP_sub ? -1 : 1;
    return add(a.set, b.set, sign, term->set) && add(a.clear, b.clear, sign, term->clear);
}

static bool read_where(reader *in, const ir_node_info *node, passes_term *term)
{
    passes_term condition, yes, no, branches;
    if (!aligned(in, node, 0, 1) || !aligned(in, node, 0, 2) || !read_term(in, node->inputs[0], false, &condition) ||
        !read_term(in, node->inputs[1], false, &yes) || !read_term(in, node->inputs[2], false, &no) ||
        !join_masks(&yes, &no, &branches) || !join_masks(&condition, &branches, term)) {
        return false;
    }
    for (int i = 0; i < 2; i++) {
        term->set[i] = condition.set[1] != 0 ? yes.set[i] : no.set[i];
        term->clear[i] = condition.clear[1] != 0 ? yes.clear[i] : no.clear[i];
    }
    return true;
}

/* Moves of masks: with or without an extent of 1 behind, or with one that repeats them. */
static bool read_move(reader *in, const ir_node_info *node, passes_term *term)
{
    const ir_type *from = ir_type_of(in->r->graph, node->inputs[0]), *to = ir_type_of(in->r->graph, node->outputs[0]);
    bool keeps = fits(in, from) && from->rank == to->rank;
    if (node->op == IR_OP_reshape) {
        const ir_type *longer = from->rank > to->rank ? from : to;
        keeps = fits(in, from) &&
                (ir_type_equal(from, to) || (from->rank != to->rank && ir_dim_is(longer->dim[longer->rank - 1], 1)));
    }
    return keeps && read_term(in, node->inputs[0], false, term) && term->set[0] == 0 && term->clear[0] == 0;
}

/* A number that every type of this graph's holds. */
static bool is_small_integer(double number)
{
    return number == trunc(number) && fabs(number) < 0x1p24;
}

static bool read_node(reader *in, const ir_node_info *node, passes_term *term)
{
    mtl_dtype from;
    switch (node->op) {
    case IR_OP_mul:
    case IR_OP_add:
    case IR_OP_sub: return read_binary(in, node, term);
    case IR_OP_where: return read_where(in, node, term);
    case IR_OP_reshape:
    case IR_OP_expand: return read_move(in, node, term);
    case IR_OP_identity: return read_term(in, node->inputs[0], false, term);
    case IR_OP_cast: /* of a mask to numbers; float32 to float32 is gone by now */
        from = ir_type_of(in->r->graph, node->inputs[0])->dtype;
        return (from == MTL_BOOL || from == MTL_I64 || from == MTL_I32) &&
               read_term(in, node->inputs[0], false, term) && term->set[0] == 0 && term->clear[0] == 0 &&
               is_small_integer(term->set[1]) && is_small_integer(term->clear[1]);
    default: return false;
    }
}

/* `top`: its only reader is who asks. */
static bool read_term(reader *in, ir_value value, bool top, passes_term *term)
{
    const ir_graph *graph = in->r->graph;
    const ir_type *type = ir_type_of(graph, value);
    double number;
    *term = (passes_term){.mask = {0}};
    if (ir_const_scalar(graph, value, &number)) {
        *term = number_term(number);
        return !isnan(number);
    }
    if (!fits(in, type) || ++in->nodes > MOST_NODES) {
        return false;
    }
    if (ir_type_equal(type, &in->rows->type) && passes_is_lookup(graph, value)) {
        bool first = in->rows->rows == 0 || in->rows->rows == value;
        in->rows->rows = value;
        term->set[0] = term->clear[0] = 1;
        return first;
    }
    if (type->dtype == MTL_BOOL) {
        const ir_node_info *node = ir_producer(graph, value);
        bool moved = node != NULL && (node->op == IR_OP_reshape || node->op == IR_OP_expand);
        return moved ? read_node(in, node, term) : read_mask(in, value, term);
    }
    const ir_node_info *node = ir_producer(graph, value);
    bool read = node != NULL && read_node(in, node, term);
    bool has_rows = term->set[0] != 0 || term->clear[0] != 0;
    return read && (top || !has_rows || passes_single_use(in->r, value));
}

bool passes_find_term(const passes_rewriter *r, ir_value value, passes_rows *rows, passes_term *term)
{
    reader in = {.r = r, .rows = rows};
    return read_term(&in, value, true, term);
}
