/* What is computed from a looked-up row alone becomes a wider look-up: as many rows as the table has are computed, once.
 *
 *     const %t : f32[10, 2]
 *     %e = gather(%t, %region) axis=0             : f32[B, 2]
 *     %h = linear(%e, %w, %b) act="relu"          : f32[B, 8]
 *     %m = linear(%h, %v) act=""                  : f32[B, 3]
 *     %y = mul(%m, %x)                            : f32[B, 3]
 *
 * becomes
 *
 *     const %m.1 : f32[10, 3]
 *     %m.2 = gather(%m.1, %region) axis=0         : f32[B, 3]
 *     %y = mul(%m.2, %x)                          : f32[B, 3]
 *
 * so a mask of features by region costs a look-up. Between the look-up and what is left there must be a product, and the new
 * table must not be larger than what it replaces, or than MOST_BYTES: plans are small, and so are caches. What is computed
 * for a candidate must come from its row alone (ir/rate.c): the table's rows are evaluated as candidates.
 */
#include "base/checked.h"
#include "ir/lookup.h"
#include "passes/mixture.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

enum {
    MOST_ROWS = 1 << 16,
    MOST_BYTES = 256 << 10,
};

typedef struct tables {
    passes_rewriter r;
    ir_node *origin;           /* by value: the look-up that it is computed from, and from nothing else; 0: none */
    uint64_t *replaced;        /* by value: bytes of constants between the look-up and it; 0: no product */
    bool *read;                /* by value: something that is computed from more reads it */
    bool *wanted;              /* by node: a look-up, of which some value becomes a table */
    const ir_tensor **tensors; /* by value: its numbers for each row of the table */
} tables;

/* A look-up of one row of a constant for each candidate: ids (B) or (B, 1). Ids outside of the table are rows of it, or
 * errors, before and after; but what is computed from a row of zeros is not zeros. */
static bool is_lookup(const ir_graph *graph, const ir_node_info *node)
{
    if (node->op != IR_OP_gather || !ir_is_const(graph, node->inputs[0]) || ir_id_policy_of(node) == IR_IDS_ZERO ||
        ir_attr_int(node, IR_ATTR_axis) != 0) {
        return false;
    }
    const ir_tensor *table = ir_info(graph, node->inputs[0])->tensor;
    const ir_type *ids = ir_type_of(graph, node->inputs[1]);
    const ir_rate *rate = &ir_info(graph, node->outputs[0])->rate;
    bool single = ids->rank == 1 || (ids->rank == 2 && ir_dim_is(ids->dim[1], 1));
    return single && table->rank >= 1 && table->count > 0 && table->shape[0] <= MOST_ROWS &&
           ir_dim_equal(ids->dim[0], ir_dim_symbol(IR_SYMBOL_ROWS)) && rate->kind == IR_RATE_ROW && rate->axis == 0 &&
           ir_dtype_is_float(table->dtype);
}

static int64_t rows_of(const tables *t, ir_node lookup)
{
    return ir_info(t->r.graph, ir_node_of(t->r.graph, lookup)->inputs[0])->tensor->shape[0];
}

static uint64_t const_bytes(const ir_graph *graph, ir_value value)
{
    const ir_tensor *tensor = ir_info(graph, value)->tensor;
    return tensor->count * mtl_dtype_size(tensor->dtype);
}

/* The look-up that all of a node's operands but constants come from, 0: none or several. */
static ir_node common_origin(const tables *t, const ir_node_info *node)
{
    ir_node origin = 0;
    for (uint32_t i = 0; i < node->input_count; i++) {
        ir_value input = node->inputs[i];
        if (input == 0 || ir_is_const(t->r.graph, input)) {
            continue;
        }
        if (t->origin[input] == 0 || (origin != 0 && origin != t->origin[input])) {
            return 0;
        }
        origin = t->origin[input];
    }
    return origin;
}

static void trace(tables *t, ir_node n)
{
    const ir_graph *graph = t->r.graph;
    const ir_node_info *node = ir_node_of(graph, n);
    ir_value result = node->outputs[0];
    const ir_value_info *info = ir_info(graph, result);
    if (is_lookup(graph, node)) {
        t->origin[result] = n;
        return;
    }
    ir_node origin = node->output_count == 1 ? common_origin(t, node) : 0;
    bool apart = info->rate.kind == IR_RATE_ROW && info->rate.axis == 0 && info->rate.before == 1 &&
                 info->rate.after == 1 && info->type.rank >= 1 && ir_dtype_is_float(info->type.dtype);
    if (origin == 0 || !apart) {
        return;
    }
    t->origin[result] = origin;
    uint64_t bytes = 0;
    bool product = node->op == IR_OP_linear || node->op == IR_OP_matmul;
    for (uint32_t i = 0; i < node->input_count; i++) {
        ir_value input = node->inputs[i];
        if (input != 0) {
            bytes += ir_is_const(graph, input) ? const_bytes(graph, input) : t->replaced[input];
            product = product || (!ir_is_const(graph, input) && t->replaced[input] > 0);
        }
    }
    t->replaced[result] = product ? bytes : 0;
}

/* Elements of a row of `type`, whose first axis is the candidates. False: a symbol among the others, or too many. */
static bool row_elements(const ir_type *type, int64_t *elements)
{
    *elements = 1;
    for (int i = 1; i < type->rank; i++) {
        if (!ir_dim_is_const(type->dim[i]) || __builtin_mul_overflow(*elements, type->dim[i].c, elements)) {
            return false;
        }
    }
    return *elements > 0 && *elements <= INT32_MAX;
}

/* Whether `value` is the end of what its look-up alone gives, and becomes a table. */
static bool becomes_table(const tables *t, ir_value value)
{
    static const char note[] =
        "computed from a looked-up row alone, but a table of it would be larger than what it saves";
    const ir_graph *graph = t->r.graph;
    int64_t elements;
    if (t->origin[value] == 0 || t->replaced[value] == 0 || !t->read[value] ||
        !row_elements(ir_type_of(graph, value), &elements)) {
        return false;
    }
    uint64_t bytes = (uint64_t)elements * (uint64_t)rows_of(t, t->origin[value]) * sizeof(float);
    if (bytes > MOST_BYTES && bytes > t->replaced[value]) {
        passes_note(t->r.graph, ir_producer(graph, value), note);
        return false;
    }
    return true;
}

/* What reads values that come from a look-up without being one of them, and outputs. */
static void find_readers(tables *t)
{
    const ir_graph *graph = t->r.graph;
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        for (uint32_t i = 0; i < node->input_count; i++) {
            t->read[node->inputs[i]] |= t->origin[node->outputs[0]] == 0 || is_lookup(graph, node);
        }
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        t->read[graph->outputs[i].value] = true;
    }
}

/* The table itself, with the look-up's result's axes. */
static mtl_status read_table(tables *t, ir_node n)
{
    const ir_node_info *node = ir_node_of(t->r.graph, n);
    const ir_type *type = ir_type_of(t->r.graph, node->outputs[0]);
    ir_tensor *tensor = BASE_NEW_ARRAY(&t->r.scratch, ir_tensor, 1);
    BASE_TRY_MEMORY(tensor, t->r.diag);
    *tensor = *ir_info(t->r.graph, node->inputs[0])->tensor;
    tensor->rank = type->rank;
    for (int i = 1; i < type->rank; i++) {
        tensor->shape[i] = type->dim[i].c;
    }
    t->tensors[node->outputs[0]] = tensor;
    return MTL_OK;
}

/* Computes a value for each row of its table. */
static mtl_status evaluate(tables *t, ir_node n)
{
    const ir_graph *graph = t->r.graph;
    const ir_node_info *node = ir_node_of(graph, n);
    ir_node origin = t->origin[node->outputs[0]];
    if (origin == 0 || !t->wanted[origin]) {
        return MTL_OK;
    }
    if (origin == n) {
        return read_table(t, n);
    }
    int64_t symbols[IR_MAX_SYMBOLS] = {1, 1, 1, 1};
    symbols[IR_SYMBOL_ROWS] = rows_of(t, origin);
    const ir_tensor **inputs = BASE_NEW_ARRAY(&t->r.scratch, const ir_tensor *, node->input_count);
    ir_tensor *tensor = BASE_NEW_ARRAY(&t->r.scratch, ir_tensor, 1);
    BASE_TRY_MEMORY(inputs, t->r.diag);
    BASE_TRY_MEMORY(tensor, t->r.diag);
    for (uint32_t i = 0; i < node->input_count; i++) {
        ir_value input = node->inputs[i];
        inputs[i] = input == 0 ? NULL : ir_is_const(graph, input) ? ir_info(graph, input)->tensor : t->tensors[input];
    }
    BASE_TRY(ir_eval_node(graph, n, inputs, symbols, &t->r.scratch, t->r.diag, tensor));
    t->tensors[node->outputs[0]] = tensor;
    return MTL_OK;
}

/* ids (B, 1) as (B). */
static mtl_status flat_ids(tables *t, ir_node before, ir_value *ids)
{
    ir_type type = *ir_type_of(t->r.graph, *ids);
    if (type.rank == 1) {
        return MTL_OK;
    }
    type.rank = 1;
    type.dim[1] = ir_dim_const(0);
    return passes_insert(&t->r, before, IR_OP_reshape, NULL, ids, 1, NULL, 0, &type, ids);
}

static mtl_status replace(tables *t, ir_node n)
{
    ir_value result = ir_node_of(t->r.graph, n)->outputs[0], table, found;
    const ir_node_info *lookup = ir_node_of(t->r.graph, t->origin[result]);
    ir_value ids = lookup->inputs[1];
    ir_tensor copy = *t->tensors[result];
    copy.f = base_arena_copy(t->r.graph->arena, copy.f, copy.count * sizeof *copy.f);
    BASE_TRY_MEMORY(copy.f, t->r.diag);
    BASE_TRY(passes_add_const(&t->r, ir_info(t->r.graph, result)->name, &copy, &table));
    BASE_TRY(flat_ids(t, n, &ids));
    lookup = ir_node_of(t->r.graph, t->origin[result]); /* with its policy */
    BASE_TRY(passes_insert(&t->r, n, IR_OP_gather, NULL, (ir_value[]){table, ids}, 2, lookup->attrs, lookup->attr_count,
                           NULL, &found));
    passes_substitute(&t->r, result, found, "computed once for each row of the table, and looked up");
    return MTL_OK;
}

static mtl_status make_room(tables *t)
{
    const ir_graph *graph = t->r.graph;
    base_arena *arena = &t->r.scratch;
    t->origin = BASE_NEW_ARRAY(arena, ir_node, graph->value_count);
    t->replaced = BASE_NEW_ARRAY(arena, uint64_t, graph->value_count);
    t->read = BASE_NEW_ARRAY(arena, bool, graph->value_count);
    t->tensors = BASE_NEW_ARRAY(arena, const ir_tensor *, graph->value_count);
    t->wanted = BASE_NEW_ARRAY(arena, bool, graph->node_count);
    BASE_TRY_MEMORY(t->origin, t->r.diag);
    BASE_TRY_MEMORY(t->replaced, t->r.diag);
    BASE_TRY_MEMORY(t->read, t->r.diag);
    BASE_TRY_MEMORY(t->tensors, t->r.diag);
    BASE_TRY_MEMORY(t->wanted, t->r.diag);
    return MTL_OK;
}

static mtl_status fold(tables *t)
{
    ir_graph *graph = t->r.graph;
    ir_value end = graph->value_count;
    BASE_TRY(make_room(t));
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        trace(t, n);
    }
    find_readers(t);
    bool *made = BASE_NEW_ARRAY(&t->r.scratch, bool, end);
    BASE_TRY_MEMORY(made, t->r.diag);
    for (ir_value v = 1; v < end; v++) {
        made[v] = t->r.uses[v] > 0 && becomes_table(t, v);
        if (made[v]) {
            t->wanted[t->origin[v]] = true;
        }
    }
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        BASE_TRY(evaluate(t, n));
    }
    for (ir_node n = graph->first_node, next; n != 0; n = next) {
        next = ir_node_of(graph, n)->next;
        passes_visit(&t->r, n);
        if (made[ir_node_of(graph, n)->outputs[0]]) {
            BASE_TRY(replace(t, n));
        }
    }
    return MTL_OK;
}

mtl_status passes_fold_tables(ir_graph *graph, base_diag *diag)
{
    tables t;
    BASE_TRY(ir_infer_rates(graph, diag));
    BASE_TRY(passes_begin(graph, diag, &t.r));
    mtl_status status = fold(&t);
    return status != MTL_OK ? passes_abandon(&t.r, status) : passes_end(&t.r);
}
