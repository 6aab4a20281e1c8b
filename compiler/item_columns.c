/* Layers over a concatenation of user and item columns give the item a product of its own, for --emit-towers.
 *
 *     %c = concat(%u, %x) axis=1                  : f32[B, 44]    u (B, 12), x (B, 32)
 *     %y = linear(%c, %w, %b) act="relu"          : f32[B, 16]
 *
 * becomes
 *
 *     %i = linear(%x, %w'')                       : f32[B, 16]
 *     %r = linear(%u, %w', %b)                    : f32[B, 16]
 *     %s = add(%r, %i)                            : f32[B, 16]
 *     %y = relu(%s)                               : f32[B, 16]
 *
 * where i can be stored, and r is computed once a user. All layers that read the concatenation are taken together, with one
 * product each side. Only where they are together not wider than what the item's columns are made of without a layer: else
 * storing that takes less.
 */
#include <string.h>

#include "compiler/towers.h"
#include "passes/rewrite.h"

static const char fate[] = "its item's columns have a product of their own";

typedef struct splitter {
    passes_rewriter r;
    unsigned char *side;
    uint32_t *first; /* by value, and one more: where its readers begin in .. */
    ir_node *readers;
} splitter;

/* One concatenation and the layers that read it. */
typedef struct group {
    const ir_value *inputs;
    bool *of_item; /* by input */
    const ir_node *layers;
    uint32_t input_count, layer_count;
    int64_t k, n;   /* columns that are read, and that are made */
    int64_t item_k; /* of k */
} group;

static mtl_status find_readers(splitter *s)
{
    const ir_graph *graph = s->r.graph;
    size_t operands = 0;
    s->first = BASE_NEW_ARRAY(&s->r.scratch, uint32_t, (size_t)graph->value_count + 1);
    BASE_TRY_MEMORY(s->first, s->r.diag);
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        operands += node->input_count;
        for (uint32_t i = 0; i < node->input_count; i++) {
            s->first[node->inputs[i]]++;
        }
    }
    s->readers = BASE_NEW_ARRAY(&s->r.scratch, ir_node, operands);
    BASE_TRY_MEMORY(s->readers, s->r.diag);
    for (uint32_t v = 1; v <= graph->value_count; v++) {
        s->first[v] += s->first[v - 1];
    }
    for (ir_node n = graph->last_node; n != 0; n = ir_node_of(graph, n)->previous) {
        const ir_node_info *node = ir_node_of(graph, n);
        for (uint32_t i = 0; i < node->input_count; i++) {
            s->readers[--s->first[node->inputs[i]]] = n;
        }
    }
    return MTL_OK;
}

/* A layer on rows of columns, with or without bias and activation. */
static bool is_plain_layer(const ir_graph *graph, ir_node n, ir_value x)
{
    const ir_node_info *node = ir_node_of(graph, n);
    return node->op == IR_OP_linear && node->inputs[0] == x && node->input_count <= 3 &&
           ir_is_const(graph, node->inputs[1]) && ir_type_of(graph, node->inputs[1])->rank == 2 &&
           (ir_operand(node, 2) == 0 || ir_is_const(graph, node->inputs[2])) &&
           ir_find_attr(node, IR_ATTR_act_columns) == NULL;
}

/* Whether the node is a concatenation that is worth splitting. */
static mtl_status find_group(splitter *s, ir_node n, group *g, bool *found)
{
    const ir_graph *graph = s->r.graph;
    const ir_node_info *node = ir_node_of(graph, n);
    ir_value x = node->outputs[0];
    const ir_type *type = ir_type_of(graph, x);
    *found = false;
    if (node->op != IR_OP_concat || s->side[x] != COMPILER_SIDE_BOTH || type->rank != 2 || type->dtype != MTL_F32 ||
        ir_attr_int(node, IR_ATTR_axis) != 1 || !ir_dim_is_const(type->dim[1])) {
        return MTL_OK;
    }
    *g = (group){.inputs = node->inputs,
                 .input_count = node->input_count,
                 .layers = s->readers + s->first[x],
                 .layer_count = s->first[x + 1] - s->first[x],
                 .k = type->dim[1].c,
                 .of_item = BASE_NEW_ARRAY(&s->r.scratch, bool, node->input_count)};
    BASE_TRY_MEMORY(g->of_item, s->r.diag);
    for (uint32_t i = 0; i < g->layer_count; i++) {
        if (!is_plain_layer(graph, g->layers[i], x)) {
            return MTL_OK;
        }
        g->n += ir_type_of(graph, ir_node_of(graph, g->layers[i])->outputs[0])->dim[1].c;
    }
    bool *read = BASE_NEW_ARRAY(&s->r.scratch, bool, graph->value_count);
    BASE_TRY_MEMORY(read, s->r.diag);
    for (uint32_t i = 0; i < node->input_count; i++) {
        g->of_item[i] = s->side[node->inputs[i]] == COMPILER_SIDE_ITEM && passes_single_use(&s->r, node->inputs[i]);
        g->item_k += g->of_item[i] ? ir_type_of(graph, node->inputs[i])->dim[1].c : 0;
        read[node->inputs[i]] |= g->of_item[i];
    }
    if (g->layer_count == 0 || g->layer_count != s->r.uses[x] || g->n == 0 || g->n > g->item_k) {
        return MTL_OK;
    }
    uint64_t bytes;
    BASE_TRY(compiler_stored_bytes(s->r.graph, s->side, read, s->r.diag, &bytes));
    *found = (uint64_t)g->n * sizeof(float) <= bytes;
    return MTL_OK;
}

/* The weights of all layers for one side's columns, side by side: (k, n). */
static mtl_status pick_weights(splitter *s, const group *g, bool of_item, int64_t k, ir_value *value)
{
    const ir_graph *graph = s->r.graph;
    double *w = base_arena_alloc_array(graph->arena, (size_t)k, (size_t)g->n * sizeof *w);
    BASE_TRY_MEMORY(w, s->r.diag);
    int64_t column = 0;
    for (uint32_t j = 0; j < g->layer_count; j++) {
        const ir_tensor *part = ir_info(graph, ir_node_of(graph, g->layers[j])->inputs[1])->tensor;
        const double *from = ir_tensor_floats(part, &s->r.scratch);
        BASE_TRY_MEMORY(from, s->r.diag);
        int64_t n = part->shape[1], row = 0;
        for (uint32_t i = 0; i < g->input_count; i++) {
            int64_t width = ir_type_of(graph, g->inputs[i])->dim[1].c;
            for (int64_t line = 0; line < width; line++, from += n) {
                if (g->of_item[i] == of_item) {
                    memcpy(w + row++ * g->n + column, from, (size_t)n * sizeof *w);
                }
            }
        }
        column += n;
    }
    const ir_tensor tensor = {.dtype = MTL_F32, .rank = 2, .shape = {k, g->n}, .count = (size_t)(k * g->n), .f = w};
    return passes_add_const(&s->r, NULL, &tensor, value);
}

/* The biases of all layers side by side; 0 when there are none. */
static mtl_status pick_bias(splitter *s, const group *g, ir_value *value)
{
    const ir_graph *graph = s->r.graph;
    double *b = BASE_NEW_ARRAY(graph->arena, double, (size_t)g->n);
    BASE_TRY_MEMORY(b, s->r.diag);
    bool any = false;
    int64_t column = 0;
    for (uint32_t j = 0; j < g->layer_count; j++) {
        const ir_node_info *layer = ir_node_of(graph, g->layers[j]);
        int64_t n = ir_type_of(graph, layer->outputs[0])->dim[1].c;
        ir_value bias = ir_operand(layer, 2);
        if (bias != 0) {
            const double *from = ir_tensor_floats(ir_info(graph, bias)->tensor, &s->r.scratch);
            BASE_TRY_MEMORY(from, s->r.diag);
            memcpy(b + column, from, (size_t)n * sizeof *b);
            any = true;
        }
        column += n;
    }
    const ir_tensor tensor = {.dtype = MTL_F32, .rank = 1, .shape = {g->n}, .count = (size_t)g->n, .f = b};
    *value = 0;
    return any ? passes_add_const(&s->r, NULL, &tensor, value) : MTL_OK;
}

static mtl_status make_product(splitter *s, const group *g, bool of_item, ir_value *result)
{
    static const ir_attr no_activation = IR_STRING(act, ""), last_axis = IR_INT(axis, 1);
    passes_rewriter *r = &s->r;
    ir_node before = g->layers[0];
    ir_value operands[3], *columns = BASE_NEW_ARRAY(&r->scratch, ir_value, g->input_count);
    BASE_TRY_MEMORY(columns, r->diag);
    size_t count = 0;
    for (uint32_t i = 0; i < g->input_count; i++) {
        if (g->of_item[i] == of_item) {
            columns[count++] = passes_resolve(r, g->inputs[i]);
        }
    }
    operands[0] = columns[0];
    BASE_TRY(pick_weights(s, g, of_item, of_item ? g->item_k : g->k - g->item_k, &operands[1]));
    operands[2] = 0;
    BASE_TRY(of_item ? MTL_OK : pick_bias(s, g, &operands[2]));
    if (count > 1) {
        BASE_TRY(passes_insert(r, before, IR_OP_concat, NULL, columns, count, &last_axis, 1, NULL, &operands[0]));
    }
    return passes_insert(r, before, IR_OP_linear, NULL, operands, 3, &no_activation, 1, NULL, result);
}

/* What one layer gave: its columns of the sum, and its activation. */
static mtl_status finish_layer(splitter *s, ir_node n, ir_value sum, int64_t column)
{
    passes_rewriter *r = &s->r;
    ir_value old = ir_node_of(r->graph, n)->outputs[0], value = sum;
    const ir_type type = *ir_type_of(r->graph, old);
    if (!ir_type_equal(ir_type_of(r->graph, sum), &type)) {
        const ir_attr attrs[2] = {IR_INTS(starts, ((int64_t[]){0, column}), 2), IR_INTS(steps, ((int64_t[]){1, 1}), 2)};
        BASE_TRY(passes_insert(r, n, IR_OP_slice, NULL, &sum, 1, attrs, 2, &type, &value));
    }
    const ir_node_info *layer = ir_node_of(r->graph, n);
    const char *act = ir_find_attr(layer, IR_ATTR_act)->text;
    if (act[0] != '\0') {
        ir_op op;
        ir_attr *attrs = BASE_NEW_ARRAY(&r->scratch, ir_attr, layer->attr_count);
        BASE_TRY_MEMORY(attrs, r->diag);
        size_t count = 0;
        for (uint32_t i = 0; i < layer->attr_count; i++) {
            if (layer->attrs[i].key != IR_ATTR_act) {
                attrs[count++] = layer->attrs[i];
            }
        }
        if (!ir_op_find(act, &op)) {
            return ir_fail(r->graph, n, r->diag, MTL_INTERNAL, "no activation '%s'", act);
        }
        BASE_TRY(passes_insert(r, n, op, NULL, &value, 1, attrs, count, NULL, &value));
    }
    passes_substitute(r, old, value, fate);
    return MTL_OK;
}

static mtl_status split(splitter *s, const group *g)
{
    ir_value parts[2], sum;
    int64_t column = 0;
    BASE_TRY(make_product(s, g, false, &parts[0]));
    BASE_TRY(make_product(s, g, true, &parts[1]));
    BASE_TRY(passes_insert(&s->r, g->layers[0], IR_OP_add, NULL, parts, 2, NULL, 0, NULL, &sum));
    for (uint32_t i = 0; i < g->layer_count; i++) {
        int64_t n = ir_type_of(s->r.graph, ir_node_of(s->r.graph, g->layers[i])->outputs[0])->dim[1].c;
        BASE_TRY(finish_layer(s, g->layers[i], sum, column));
        column += n;
    }
    return MTL_OK;
}

static mtl_status split_all(splitter *s)
{
    const ir_graph *graph = s->r.graph;
    group *groups = BASE_NEW_ARRAY(&s->r.scratch, group, graph->node_count);
    BASE_TRY_MEMORY(groups, s->r.diag);
    s->side = BASE_NEW_ARRAY(&s->r.scratch, unsigned char, graph->value_count);
    BASE_TRY_MEMORY(s->side, s->r.diag);
    BASE_TRY(compiler_find_sides(graph, s->r.diag, s->side));
    BASE_TRY(find_readers(s));
    size_t count = 0;
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        bool found;
        BASE_TRY(find_group(s, n, &groups[count], &found));
        count += found;
    }
    for (size_t i = 0; i < count; i++) {
        BASE_TRY(split(s, &groups[i]));
    }
    return MTL_OK;
}

mtl_status compiler_split_item_columns(ir_graph *graph, base_diag *diag)
{
    splitter s;
    BASE_TRY(ir_infer_rates(graph, diag));
    BASE_TRY(passes_begin(graph, diag, &s.r));
    mtl_status status = split_all(&s);
    return status != MTL_OK ? passes_abandon(&s.r, status) : passes_end(&s.r);
}
