/* What nobody reads of a packed layer is not computed: experts of tasks that no output needs, columns, whole gates.
 *
 *     %h = linear(%x, %w) act="relu"               : f32[B, 8, 4]     with x (B, 8, 3), w (8, 3, 4)
 *     %a = slice(%h) starts=[0, 0, 0] steps=[1, 1, 1] : f32[B, 2, 4]
 *
 * and no other reader of h becomes
 *
 *     %x' = slice(%x) starts=[0, 0, 0] steps=[1, 1, 1] : f32[B, 2, 3]
 *     %a = linear(%x', %w') act="relu"             : f32[B, 2, 4]
 *
 * A layer loses columns, a batch of layers groups, a mixture tasks and the experts that only these weighed. What is left
 * of %h takes its place through a concatenation with zeros that nobody reads; join_pieces looks through it.
 */
#include <string.h>

#include "passes/passes.h"
#include "passes/pieces.h"

static const char fate[] = "nobody reads it";

typedef struct range {
    int64_t begin, end; /* elements of a row */
} range;

/* The ranges of a value that are read, in no order. */
typedef struct reads {
    range *ranges;
    size_t count, capacity;
} reads;

typedef struct trimmer {
    passes_rewriter r;
    reads *reads;    /* by value */
    size_t capacity; /* of reads */
    bool changed;
} trimmer;

/* A packed result: `units` parts of `width` elements each. */
typedef struct packed {
    int64_t units, width;
    bool *used; /* by unit */
    int64_t used_count;
} packed;

static mtl_status note_read(trimmer *t, ir_value value)
{
    passes_piece piece;
    if (value == 0 || ir_is_const(t->r.graph, value) || !passes_find_piece(&t->r, value, &piece)) {
        return MTL_OK;
    }
    reads *at = &t->reads[piece.root];
    if (at->count == at->capacity) {
        at->capacity = at->capacity == 0 ? 4 : 2 * at->capacity;
        range *ranges = BASE_NEW_ARRAY(&t->r.scratch, range, at->capacity);
        BASE_TRY_MEMORY(ranges, t->r.diag);
        if (at->count > 0) {
            memcpy(ranges, at->ranges, at->count * sizeof *ranges);
        }
        at->ranges = ranges;
    }
    at->ranges[at->count++] = (range){piece.offset, piece.offset + piece.width};
    return MTL_OK;
}

/* A slice or reshape that only says where to find something. */
static bool is_transparent(trimmer *t, const ir_node_info *node)
{
    passes_piece piece;
    switch (node->op) {
    case IR_OP_identity:
    case IR_OP_reshape:
    case IR_OP_slice:
    case IR_OP_gather: break;
    default: return false;
    }
    return passes_find_piece(&t->r, node->outputs[0], &piece) && piece.root != node->outputs[0];
}

static mtl_status find_reads(trimmer *t)
{
    const ir_graph *graph = t->r.graph;
    t->capacity = graph->value_count;
    t->reads = BASE_NEW_ARRAY(&t->r.scratch, reads, t->capacity);
    BASE_TRY_MEMORY(t->reads, t->r.diag);
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        for (uint32_t i = 0; i < node->input_count && !is_transparent(t, node); i++) {
            BASE_TRY(note_read(t, node->inputs[i]));
        }
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        BASE_TRY(note_read(t, graph->outputs[i].value));
    }
    return MTL_OK;
}

/* The parts of the node's result. False: no packed layer on rows. */
static bool read_packed(const ir_graph *graph, const ir_node_info *node, packed *p)
{
    const ir_type *type = ir_type_of(graph, node->outputs[0]);
    int64_t width;
    if ((node->op != IR_OP_linear && node->op != IR_OP_mix) || !passes_row_width(type, &width) ||
        ir_find_attr(node, IR_ATTR_act_columns) != NULL || (node->op == IR_OP_linear && ir_operand(node, 3) != 0)) {
        return false;
    }
    int unit = node->op == IR_OP_linear && ir_type_of(graph, node->inputs[1])->rank == 2 ? 1 : 2;
    for (int axis = 1; axis < type->rank - unit; axis++) {
        if (!ir_dim_is(type->dim[axis], 1)) {
            return false;
        }
    }
    if (type->rank < unit + 1) {
        return false;
    }
    p->width = unit == 1 ? 1 : type->dim[type->rank - 1].c;
    p->units = p->width == 0 ? 0 : width / p->width;
    return p->units > 1;
}

static mtl_status find_used(trimmer *t, ir_value value, packed *p)
{
    p->used = BASE_NEW_ARRAY(&t->r.scratch, bool, (size_t)p->units);
    BASE_TRY_MEMORY(p->used, t->r.diag);
    p->used_count = 0;
    const reads *at = &t->reads[value];
    for (size_t i = 0; i < at->count; i++) {
        for (int64_t unit = at->ranges[i].begin / p->width; unit * p->width < at->ranges[i].end; unit++) {
            p->used_count += !p->used[unit];
            p->used[unit] = true;
        }
    }
    return MTL_OK;
}

/* The used units of a constant (rows x units x width elements) in a constant of that shape. */
static mtl_status keep_constant(trimmer *t, ir_value c, const packed *p, int64_t rows, int64_t width, int rank,
                                const int64_t *shape, ir_value *value)
{
    passes_cut *cuts = BASE_NEW_ARRAY(&t->r.scratch, passes_cut, (size_t)p->used_count);
    BASE_TRY_MEMORY(cuts, t->r.diag);
    size_t count = 0;
    for (int64_t unit = 0; unit < p->units; unit++) {
        if (p->used[unit]) {
            cuts[count++] = (passes_cut){unit * width, width};
        }
    }
    return passes_cut_const(&t->r, c, rows, cuts, count, rank, shape, value);
}

/* The used units, of `width` elements, of rows of `value`, as (first axis, used, width). */
static mtl_status keep_units(trimmer *t, ir_node before, ir_value value, const packed *p, int64_t width, ir_value *kept)
{
    passes_piece *pieces = BASE_NEW_ARRAY(&t->r.scratch, passes_piece, (size_t)p->used_count);
    BASE_TRY_MEMORY(pieces, t->r.diag);
    size_t count = 0;
    for (int64_t unit = 0; unit < p->units; unit++) {
        if (p->used[unit] && !passes_find_part(&t->r, value, unit * width, width, &pieces[count++])) {
            return base_fail(t->r.diag, MTL_INTERNAL, "a packed value has no rows");
        }
    }
    ir_type type = *ir_type_of(t->r.graph, value);
    type.rank = 3;
    type.dim[1] = ir_dim_const(p->used_count);
    type.dim[2] = ir_dim_const(width);
    return passes_pack(&t->r, before, pieces, count, &type, kept);
}

static mtl_status trim_linear(trimmer *t, ir_node n, const packed *p, ir_value *result)
{
    passes_rewriter *r = &t->r;
    const ir_node_info *node = ir_node_of(r->graph, n);
    const ir_tensor *w = ir_info(r->graph, node->inputs[1])->tensor;
    ir_value operands[3] = {node->inputs[0], node->inputs[1], ir_operand(node, 2)}, bias = operands[2];
    bool grouped = w->rank == 3;
    int64_t k = w->shape[w->rank - 2], units = p->used_count;
    if (grouped) {
        BASE_TRY(keep_units(t, n, operands[0], p, k, &operands[0]));
        BASE_TRY(keep_constant(t, operands[1], p, 1, k * p->width, 3, (int64_t[]){units, k, p->width}, &operands[1]));
    } else {
        BASE_TRY(keep_constant(t, operands[1], p, k, 1, 2, (int64_t[]){k, units}, &operands[1]));
    }
    if (bias != 0) {
        BASE_TRY(keep_constant(t, bias, p, 1, p->width, grouped ? 2 : 1, (int64_t[]){units, p->width}, &operands[2]));
    }
    node = ir_node_of(r->graph, n);
    return passes_insert(r, n, IR_OP_linear, NULL, operands, bias != 0 ? 3 : 2, node->attrs, node->attr_count, NULL,
                         result);
}

static mtl_status trim_mix(trimmer *t, ir_node n, const packed *p, ir_value *result)
{
    passes_rewriter *r = &t->r;
    const ir_node_info *node = ir_node_of(r->graph, n);
    const ir_type *weights = ir_type_of(r->graph, node->inputs[0]), *values = ir_type_of(r->graph, node->inputs[1]);
    const char *function = ir_find_attr(node, IR_ATTR_function)->text;
    const ir_attr *index = ir_find_attr(node, IR_ATTR_index);
    int64_t experts = weights->dim[2].c;
    ir_value operands[2] = {node->inputs[0], node->inputs[1]};
    packed left = {.units = values->dim[1].c}; /* the experts that somebody still weighs */
    int64_t *kept = BASE_NEW_ARRAY(&r->scratch, int64_t, index->count);
    int64_t *places = BASE_NEW_ARRAY(&r->scratch, int64_t, (size_t)left.units);
    left.used = BASE_NEW_ARRAY(&r->scratch, bool, (size_t)left.units);
    BASE_TRY_MEMORY(kept, r->diag);
    BASE_TRY_MEMORY(places, r->diag);
    BASE_TRY_MEMORY(left.used, r->diag);
    size_t count = 0;
    for (size_t i = 0; i < index->count; i++) {
        if (p->used[(int64_t)i / experts]) {
            kept[count++] = index->ints[i];
            left.used[index->ints[i]] = true;
        }
    }
    for (int64_t i = 0; i < left.units; i++) {
        places[i] = left.used_count;
        left.used_count += left.used[i];
    }
    for (size_t i = 0; i < count; i++) {
        kept[i] = places[kept[i]];
    }
    if (ir_is_const(r->graph, operands[0])) {
        BASE_TRY(keep_constant(t, operands[0], p, 1, experts, 3, (int64_t[]){1, p->used_count, experts}, &operands[0]));
    } else {
        BASE_TRY(keep_units(t, n, operands[0], p, experts, &operands[0]));
    }
    BASE_TRY(left.used_count == left.units ? MTL_OK : keep_units(t, n, operands[1], &left, p->width, &operands[1]));
    ir_attr attrs[2] = {IR_STRING(function, function), IR_INTS(index, kept, count)};
    return passes_insert(r, n, IR_OP_mix, NULL, operands, 2, attrs, 2, NULL, result);
}

/* What is left in the places where it was, zeros elsewhere. */
static mtl_status spread(trimmer *t, ir_node n, const packed *p, ir_value result)
{
    passes_rewriter *r = &t->r;
    ir_value old = ir_node_of(r->graph, n)->outputs[0], whole;
    ir_type type = *ir_type_of(r->graph, old), flat = type;
    ir_value *parts = BASE_NEW_ARRAY(&r->scratch, ir_value, (size_t)p->units);
    BASE_TRY_MEMORY(parts, r->diag);
    passes_piece piece = {.root = result};
    size_t count = 0;
    flat.rank = 2;
    for (int64_t unit = 0, end; unit < p->units; unit = end) {
        for (end = unit + 1; end < p->units && p->used[end] == p->used[unit]; end++) {
        }
        piece.width = (end - unit) * p->width;
        flat.dim[1] = ir_dim_const(piece.width);
        if (p->used[unit]) {
            BASE_TRY(passes_piece_value(r, n, &piece, &flat, &parts[count++]));
            piece.offset += piece.width;
        } else {
            ir_value zero;
            BASE_TRY(ir_add_const_float(r->graph, 0, type.dtype, r->diag, &zero));
            BASE_TRY(passes_insert(r, n, IR_OP_expand, NULL, &zero, 1, NULL, 0, &flat, &parts[count++]));
        }
    }
    ir_attr axis = IR_INT(axis, 1);
    BASE_TRY(passes_insert(r, n, IR_OP_concat, NULL, parts, count, &axis, 1, NULL, &whole));
    if (!ir_type_equal(ir_type_of(r->graph, whole), &type)) {
        BASE_TRY(passes_insert(r, n, IR_OP_reshape, NULL, &whole, 1, NULL, 0, &type, &whole));
    }
    passes_substitute(r, old, whole, NULL);
    passes_kill(r, n, fate);
    t->changed = true;
    return MTL_OK;
}

static mtl_status visit(trimmer *t, ir_node n)
{
    packed p;
    ir_value result;
    const ir_node_info *node = ir_node_of(t->r.graph, n);
    if (node->outputs[0] >= t->capacity || !read_packed(t->r.graph, node, &p)) {
        return MTL_OK;
    }
    BASE_TRY(find_used(t, node->outputs[0], &p));
    if (p.used_count == 0 || p.used_count == p.units) {
        return MTL_OK;
    }
    BASE_TRY(node->op == IR_OP_linear ? trim_linear(t, n, &p, &result) : trim_mix(t, n, &p, &result));
    return spread(t, n, &p, result);
}

static mtl_status trim(trimmer *t)
{
    BASE_TRY(find_reads(t));
    for (ir_node n = t->r.graph->first_node, next; n != 0; n = next) {
        next = ir_node_of(t->r.graph, n)->next;
        BASE_TRY(visit(t, n));
    }
    return MTL_OK;
}

mtl_status passes_trim_layers(ir_graph *graph, base_diag *diag)
{
    for (bool changed = true; changed;) { /* each round reaches the layers before those that became smaller */
        trimmer t = {.changed = false};
        BASE_TRY(passes_begin(graph, diag, &t.r));
        mtl_status status = trim(&t);
        BASE_TRY(status == MTL_OK ? passes_end(&t.r) : passes_abandon(&t.r, status));
        changed = t.changed;
        if (changed) {
            BASE_TRY(passes_join_pieces(graph, diag));
            BASE_TRY(passes_remove_dead(graph, diag));
        }
    }
    return MTL_OK;
}
