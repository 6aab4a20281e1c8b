/* Cells of a recurrent layer that are written out, one after the other, become one layer (GRU with the reset gate after the
 * product, as PyTorch's GRUCell).
 *
 *     %a = add(matmul(%x, %w), %b)                : f32[B, 3 H]      one of each for gates r, z, n
 *     %c = add(matmul(%h, %u), %d)                : f32[B, 3 H]
 *     %r = sigmoid(add(%a[0:H], %c[0:H]))
 *     %z = sigmoid(add(%a[H:2H], %c[H:2H]))
 *     %n = tanh(add(%a[2H:], mul(%r, %c[2H:])))
 *     %y = add(mul(sub(%h, %n), %z), %n)          : f32[B, H]        or (1 - z) n + z h
 *
 * becomes
 *
 *     %p = add(matmul(%X, %w'), %b')              : f32[B, L, 3 H]   with X (B, L, I), the x of L cells
 *     %s = gru(%p, %u', %d', %h)                  : f32[B, L, H]
 *     %y = reshape(slice(%s))                     : f32[B, H]
 *
 * The gates may be parts of one product or of several. A cell follows another in a layer when its state is what the other
 * gives, its weights are the same numbers, and what it reads does not depend on the layer.
 */
#include <string.h>

#include "passes/layer.h"
#include "passes/passes.h"

static const char fate[] = "part of a recurrent layer";

enum { Z, R, N, GATES };

/* (B, H): columns [at, at + H) of x w + bias. */
typedef struct part {
    ir_value x, w, bias; /* bias 0: none */
    int64_t at;
} part;

typedef struct cell {
    ir_node node;   /* that gives the next state */
    ir_value state; /* 0: zeros */
    part in[GATES], back[GATES];
    int64_t hidden, width; /* of x */
    uint64_t weights[2];   /* hash of all numbers */
    int64_t layer;         /* that it belongs to */
} cell;

enum { MOST_LAYERS = 64 };

typedef struct finder {
    passes_rewriter r;
    cell *cells;
    size_t count;
    uint64_t *needs;                   /* by value: layers that it is computed from */
    uint32_t *maker;                   /* by value: 1 + the cell that gives it */
    uint64_t layer_needs[MOST_LAYERS]; /* what the cells of a layer read */
    size_t layers;
} finder;

/* --- one cell ------------------------------------------------------------------------------------------------- */

static bool is_zero(const ir_graph *graph, ir_value value)
{
    for (const ir_node_info *node; (node = ir_producer_op(graph, value, IR_OP_expand)) != NULL;) {
        value = node->inputs[0];
    }
    const ir_tensor *tensor = ir_is_const(graph, value) ? ir_info(graph, value)->tensor : NULL;
    for (size_t i = 0; tensor != NULL && i < tensor->count; i++) {
        if (ir_tensor_at(tensor, i) != 0) {
            return false;
        }
    }
    return tensor != NULL;
}

/* A bias of one number a column. */
static bool is_bias(const ir_graph *graph, ir_value value, int64_t columns)
{
    const ir_tensor *tensor = ir_is_const(graph, value) ? ir_info(graph, value)->tensor : NULL;
    return tensor != NULL && tensor->rank >= 1 && (int64_t)tensor->count == columns &&
           tensor->shape[tensor->rank - 1] == columns;
}

static bool read_product(const ir_graph *graph, ir_value value, part *p)
{
    const ir_node_info *node = ir_producer_op(graph, value, IR_OP_matmul);
    if (node == NULL || !ir_is_const(graph, node->inputs[1]) || ir_type_of(graph, node->inputs[0])->rank != 2 ||
        ir_type_of(graph, node->inputs[1])->rank != 2 || !ir_dtype_is_float(ir_type_of(graph, value)->dtype)) {
        return false;
    }
    p->x = node->inputs[0];
    p->w = node->inputs[1];
    return true;
}

static bool read_part(const ir_graph *graph, ir_value value, part *p)
{
    *p = (part){0};
    const ir_node_info *node = ir_producer_op(graph, value, IR_OP_slice);
    if (node != NULL) {
        const ir_attr *starts = ir_find_attr(node, IR_ATTR_starts), *steps = ir_find_attr(node, IR_ATTR_steps);
        if (starts->count != 2 || starts->ints[0] != 0 || steps->ints[0] != 1 || steps->ints[1] != 1) {
            return false;
        }
        p->at = starts->ints[1];
        value = node->inputs[0];
    }
    node = ir_producer_op(graph, value, IR_OP_add);
    if (node == NULL) {
        return read_product(graph, value, p);
    }
    for (int side = 0; side < 2; side++) {
        if (read_product(graph, node->inputs[side], p) &&
            is_bias(graph, node->inputs[1 - side], ir_type_of(graph, p->w)->dim[1].c)) {
            p->bias = node->inputs[1 - side];
            return true;
        }
    }
    return false;
}

static bool is_state(const ir_graph *graph, ir_value value, ir_value state)
{
    return value == state || (is_zero(graph, value) && is_zero(graph, state));
}

/* Which operand is of the input and which of the state. */
static bool read_gate(const ir_graph *graph, const ir_node_info *sum, ir_value state, part *in, part *back)
{
    for (int side = 0; sum != NULL && side < 2; side++) {
        if (read_part(graph, sum->inputs[side], in) && read_part(graph, sum->inputs[1 - side], back) &&
            is_state(graph, back->x, state) && !is_state(graph, in->x, state)) {
            return true;
        }
    }
    return false;
}

/* sigmoid(in + back) */
static bool read_sigmoid(const ir_graph *graph, ir_value value, ir_value state, part *in, part *back)
{
    const ir_node_info *node = ir_producer_op(graph, value, IR_OP_sigmoid);
    return node != NULL && read_gate(graph, ir_producer_op(graph, node->inputs[0], IR_OP_add), state, in, back);
}

/* tanh(in + r back) */
static bool read_candidate(const ir_graph *graph, ir_value value, ir_value state, cell *c)
{
    const ir_node_info *node = ir_producer_op(graph, value, IR_OP_tanh);
    const ir_node_info *sum = node != NULL ? ir_producer_op(graph, node->inputs[0], IR_OP_add) : NULL;
    for (int side = 0; sum != NULL && side < 2; side++) {
        const ir_node_info *mul = ir_producer_op(graph, sum->inputs[side], IR_OP_mul);
        for (int which = 0; mul != NULL && which < 2; which++) {
            if (read_sigmoid(graph, mul->inputs[which], state, &c->in[R], &c->back[R]) &&
                read_part(graph, mul->inputs[1 - which], &c->back[N]) && is_state(graph, c->back[N].x, state) &&
                read_part(graph, sum->inputs[1 - side], &c->in[N])) {
                return true;
            }
        }
    }
    return false;
}

/* The parts of (h - n) z + n: `product` is the first term, n the second. */
static bool read_difference(const ir_graph *graph, ir_value product, ir_value n, cell *c)
{
    const ir_node_info *mul = ir_producer_op(graph, product, IR_OP_mul);
    for (int side = 0; mul != NULL && side < 2; side++) {
        const ir_node_info *sub = ir_producer_op(graph, mul->inputs[side], IR_OP_sub);
        if (sub != NULL && sub->inputs[1] == n && read_candidate(graph, n, sub->inputs[0], c) &&
            read_sigmoid(graph, mul->inputs[1 - side], sub->inputs[0], &c->in[Z], &c->back[Z])) {
            c->state = sub->inputs[0];
            return true;
        }
    }
    return false;
}

/* (1 - z) n and z h, in this order. */
static bool read_shares(const ir_graph *graph, ir_value first, ir_value second, cell *c)
{
    const ir_node_info *a = ir_producer_op(graph, first, IR_OP_mul), *b = ir_producer_op(graph, second, IR_OP_mul);
    for (int i = 0; a != NULL && b != NULL && i < 4; i++) {
        const ir_node_info *sub = ir_producer_op(graph, a->inputs[i & 1], IR_OP_sub);
        ir_value z = b->inputs[i >> 1], h = b->inputs[1 - (i >> 1)];
        double one;
        if (sub != NULL && sub->inputs[1] == z && ir_const_scalar(graph, sub->inputs[0], &one) && one == 1 &&
            read_candidate(graph, a->inputs[1 - (i & 1)], h, c) && read_sigmoid(graph, z, h, &c->in[Z], &c->back[Z])) {
            c->state = h;
            return true;
        }
    }
    return false;
}

/* All gates are as wide as the state and read the same values. */
static bool gates_agree(const ir_graph *graph, cell *c)
{
    const ir_type *type = ir_type_of(graph, ir_node_of(graph, c->node)->outputs[0]);
    if (type->rank != 2 || !ir_dim_is_const(type->dim[1]) || !ir_dim_is_const(ir_type_of(graph, c->in[Z].x)->dim[1])) {
        return false;
    }
    c->hidden = type->dim[1].c;
    c->width = ir_type_of(graph, c->in[Z].x)->dim[1].c;
    for (int g = 0; g < GATES; g++) {
        const part *in = &c->in[g], *back = &c->back[g];
        bool fits = in->x == c->in[Z].x && is_state(graph, back->x, c->state) &&
                    ir_dim_equal(ir_type_of(graph, in->x)->dim[0], type->dim[0]) &&
                    in->at + c->hidden <= ir_type_of(graph, in->w)->dim[1].c &&
                    back->at + c->hidden <= ir_type_of(graph, back->w)->dim[1].c &&
                    ir_dim_is(ir_type_of(graph, back->w)->dim[0], c->hidden);
        if (!fits) {
            return false;
        }
    }
    return c->hidden >= 1 && c->width >= 1;
}

/* A hash of the numbers of a part. */
static void hash_part(const finder *f, base_hash *hash, const part *p, int64_t columns)
{
    const ir_tensor *w = ir_info(f->r.graph, p->w)->tensor;
    for (int64_t row = 0; row < w->shape[0]; row++) {
        for (int64_t j = 0; j < columns; j++) {
            double number = ir_tensor_at(w, (size_t)(row * w->shape[1] + p->at + j));
            base_hash_add(hash, &number, sizeof number);
        }
    }
    for (int64_t j = 0; p->bias != 0 && j < columns; j++) {
        double number = ir_tensor_at(ir_info(f->r.graph, p->bias)->tensor, (size_t)(p->at + j));
        base_hash_add(hash, &number, sizeof number);
    }
}

static bool find_cell(const finder *f, ir_node n, cell *c)
{
    const ir_graph *graph = f->r.graph;
    const ir_node_info *node = ir_node_of(graph, n);
    *c = (cell){.node = n};
    if (node->op != IR_OP_add) {
        return false;
    }
    bool found = false;
    for (int side = 0; side < 2 && !found; side++) {
        ir_value a = node->inputs[side], b = node->inputs[1 - side];
        found = read_difference(graph, a, b, c) || read_shares(graph, a, b, c);
    }
    return found && gates_agree(graph, c);
}

/* --- layers --------------------------------------------------------------------------------------------------- */

static uint64_t closure(const finder *f, uint64_t needs)
{
    for (uint64_t before = 0; before != needs;) {
        before = needs;
        for (size_t i = 0; i < f->layers; i++) {
            needs |= needs >> i & 1 ? f->layer_needs[i] : 0;
        }
    }
    return needs;
}

/* Joins the layer of the cell that gives its state, or begins one. False: there are too many. */
static bool assign_layer(finder *f, cell *c)
{
    uint64_t needs = closure(f, f->needs[c->in[Z].x]);
    uint32_t before = c->state != 0 ? f->maker[c->state] : 0;
    const cell *last = before != 0 ? &f->cells[before - 1] : NULL;
    bool joins = last != NULL && memcmp(last->weights, c->weights, sizeof c->weights) == 0 &&
                 last->hidden == c->hidden && last->width == c->width && (needs >> last->layer & 1) == 0;
    for (size_t i = 0; joins && i < f->count; i++) { /* a state that two cells read is the last of its layer */
        joins = f->cells[i].state != c->state || f->cells[i].layer != last->layer;
    }
    if (!joins && f->layers == MOST_LAYERS) {
        return false;
    }
    c->layer = joins ? last->layer : (int64_t)f->layers++;
    needs |= joins || c->state == 0 ? 0 : closure(f, f->needs[c->state]);
    f->layer_needs[c->layer] |= needs;
    return true;
}

static void take_cell(finder *f, cell *c)
{
    const ir_graph *graph = f->r.graph;
    base_hash hash;
    base_hash_begin(&hash);
    for (int g = 0; g < GATES; g++) {
        hash_part(f, &hash, &c->in[g], c->hidden);
        hash_part(f, &hash, &c->back[g], c->hidden);
    }
    base_hash_end128(&hash, c->weights);
    c->state = is_zero(graph, c->state) ? 0 : c->state;
    if (!assign_layer(f, c)) {
        return;
    }
    ir_value result = ir_node_of(graph, c->node)->outputs[0];
    f->needs[result] |= (uint64_t)1 << c->layer;
    f->cells[f->count++] = *c;
    f->maker[result] = (uint32_t)f->count;
}

/* --- the layer's operands ------------------------------------------------------------------------------------- */

static double bias_at(const finder *f, const part *p, int64_t j)
{
    return p->bias != 0 ? ir_tensor_at(ir_info(f->r.graph, p->bias)->tensor, (size_t)(p->at + j)) : 0;
}

static double weight_at(const finder *f, const part *p, int64_t row, int64_t j)
{
    const ir_tensor *w = ir_info(f->r.graph, p->w)->tensor;
    return ir_tensor_at(w, (size_t)(row * w->shape[1] + p->at + j));
}

/* w' (I, 3 H) and b' (3 H) of the inputs; the biases of the state's products are in b', but for n's. */
static mtl_status add_input_weights(finder *f, const cell *c, ir_value *w, ir_value *b)
{
    const int64_t h = c->hidden, columns = GATES * h;
    double *weights = BASE_NEW_ARRAY(f->r.graph->arena, double, (size_t)(c->width * columns));
    double *bias = BASE_NEW_ARRAY(f->r.graph->arena, double, (size_t)columns);
    BASE_TRY_MEMORY(weights, f->r.diag);
    BASE_TRY_MEMORY(bias, f->r.diag);
    for (int64_t g = 0; g < GATES; g++) {
        for (int64_t j = 0; j < h; j++) {
            bias[g * h + j] = bias_at(f, &c->in[g], j) + (g == N ? 0 : bias_at(f, &c->back[g], j));
            for (int64_t row = 0; row < c->width; row++) {
                weights[row * columns + g * h + j] = weight_at(f, &c->in[g], row, j);
            }
        }
    }
    mtl_dtype dtype = ir_type_of(f->r.graph, c->in[Z].w)->dtype;
    BASE_TRY(passes_add_floats(&f->r, c->in[Z].w, dtype, 2, (int64_t[]){c->width, columns}, weights, w));
    return passes_add_floats(&f->r, c->in[Z].bias != 0 ? c->in[Z].bias : c->in[Z].w, dtype, 1, &columns, bias, b);
}

/* r (3, H, H), and n's bias (H) or 0. */
static mtl_status add_state_weights(finder *f, const cell *c, ir_value *r, ir_value *b)
{
    const int64_t h = c->hidden;
    double *weights = BASE_NEW_ARRAY(f->r.graph->arena, double, (size_t)(GATES * h * h));
    double *bias = BASE_NEW_ARRAY(f->r.graph->arena, double, (size_t)h);
    BASE_TRY_MEMORY(weights, f->r.diag);
    BASE_TRY_MEMORY(bias, f->r.diag);
    for (int64_t j = 0; j < h; j++) {
        bias[j] = bias_at(f, &c->back[N], j);
        for (int64_t g = 0; g < GATES; g++) {
            for (int64_t row = 0; row < h; row++) {
                weights[(g * h + row) * h + j] = weight_at(f, &c->back[g], row, j);
            }
        }
    }
    mtl_dtype dtype = ir_type_of(f->r.graph, c->back[Z].w)->dtype;
    *b = 0;
    BASE_TRY(passes_add_floats(&f->r, c->back[Z].w, dtype, 3, (int64_t[]){GATES, h, h}, weights, r));
    return c->back[N].bias == 0 ? MTL_OK : passes_add_floats(&f->r, c->back[N].bias, dtype, 1, &h, bias, b);
}

/* The inputs of all cells of the layer, (B, L, I). */
static mtl_status stack_inputs(finder *f, int64_t layer, ir_node before, size_t count, ir_value *stack)
{
    ir_value *inputs = BASE_NEW_ARRAY(&f->r.scratch, ir_value, count);
    BASE_TRY_MEMORY(inputs, f->r.diag);
    size_t made = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (f->cells[i].layer != layer) {
            continue;
        }
        ir_value x = passes_resolve(&f->r, f->cells[i].in[Z].x);
        ir_type type = *ir_type_of(f->r.graph, x);
        type.rank = 3;
        type.dim[2] = type.dim[1];
        type.dim[1] = ir_dim_const(1);
        BASE_TRY(passes_insert(&f->r, before, IR_OP_reshape, NULL, &x, 1, NULL, 0, &type, &inputs[made++]));
    }
    *stack = inputs[0];
    return count == 1 ? MTL_OK
                      : passes_insert(&f->r, before, IR_OP_concat, NULL, inputs, count, (ir_attr[]){IR_INT(axis, 1)}, 1,
                                      NULL, stack);
}

/* State `at` of the layer's (B, L, H), as (B, H). */
static mtl_status give_state(finder *f, const cell *c, ir_node before, ir_value all, int64_t at)
{
    ir_value result = ir_node_of(f->r.graph, c->node)->outputs[0], one;
    ir_type part_type = *ir_type_of(f->r.graph, all);
    const ir_type type = *ir_type_of(f->r.graph, result);
    part_type.dim[1] = ir_dim_const(1);
    int64_t starts[] = {0, at, 0}, steps[] = {1, 1, 1};
    ir_attr attrs[] = {IR_INTS(starts, starts, 3), IR_INTS(steps, steps, 3)};
    BASE_TRY(passes_insert(&f->r, before, IR_OP_slice, NULL, &all, 1, attrs, 2, &part_type, &one));
    BASE_TRY(passes_insert(&f->r, before, IR_OP_reshape, NULL, &one, 1, NULL, 0, &type, &one));
    passes_substitute(&f->r, result, one, fate);
    return MTL_OK;
}

static mtl_status make_layer(finder *f, int64_t layer)
{
    const cell *first = NULL, *last = NULL;
    size_t count = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (f->cells[i].layer == layer) {
            first = first == NULL ? &f->cells[i] : first;
            last = &f->cells[i];
            count++;
        }
    }
    if (first == NULL) {
        return MTL_OK;
    }
    ir_node before = last->node;
    ir_value state = first->state != 0 ? passes_resolve(&f->r, first->state) : 0;
    ir_value x, w, b, product, inputs[4] = {0}, all;
    inputs[3] = state;
    BASE_TRY(stack_inputs(f, layer, before, count, &x));
    BASE_TRY(add_input_weights(f, first, &w, &b));
    BASE_TRY(add_state_weights(f, first, &inputs[1], &inputs[2]));
    BASE_TRY(passes_insert(&f->r, before, IR_OP_matmul, NULL, (ir_value[]){x, w}, 2, NULL, 0, NULL, &product));
    BASE_TRY(passes_insert(&f->r, before, IR_OP_add, NULL, (ir_value[]){product, b}, 2, NULL, 0, NULL, &inputs[0]));
    BASE_TRY(passes_insert(&f->r, before, IR_OP_gru, NULL, inputs,
                           state != 0       ? 4
                           : inputs[2] != 0 ? 3
                                            : 2,
                           (ir_attr[]){IR_INT(reverse, 0)}, 1, NULL, &all));
    int64_t at = 0;
    for (size_t i = 0; i < f->count; i++) {
        if (f->cells[i].layer == layer) {
            BASE_TRY(passes_take_sources(&f->r, ir_info(f->r.graph, all)->node, f->cells[i].node));
            BASE_TRY(give_state(f, &f->cells[i], before, all, at++));
        }
    }
    return MTL_OK;
}

static mtl_status form(finder *f)
{
    ir_graph *graph = f->r.graph;
    size_t nodes = 0;
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        nodes += ir_node_of(graph, n)->op == IR_OP_tanh;
    }
    f->cells = BASE_NEW_ARRAY(&f->r.scratch, cell, nodes * 2);
    f->needs = BASE_NEW_ARRAY(&f->r.scratch, uint64_t, graph->value_count);
    f->maker = BASE_NEW_ARRAY(&f->r.scratch, uint32_t, graph->value_count);
    BASE_TRY_MEMORY(f->needs, f->r.diag);
    BASE_TRY_MEMORY(f->maker, f->r.diag);
    if (nodes == 0) {
        return MTL_OK;
    }
    BASE_TRY_MEMORY(f->cells, f->r.diag);
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        cell c;
        for (uint32_t i = 0; i < node->input_count; i++) {
            f->needs[node->outputs[0]] |= f->needs[node->inputs[i]];
        }
        if (f->count < nodes * 2 && find_cell(f, n, &c)) {
            take_cell(f, &c);
        }
    }
    for (size_t layer = 0; layer < f->layers; layer++) {
        BASE_TRY(make_layer(f, (int64_t)layer));
    }
    return f->layers > 0 ? passes_sort(&f->r) : MTL_OK;
}

mtl_status passes_form_gru(ir_graph *graph, base_diag *diag)
{
    finder f = {0};
    BASE_TRY(passes_begin(graph, diag, &f.r));
    mtl_status status = form(&f);
    return status != MTL_OK ? passes_abandon(&f.r, status) : passes_end(&f.r);
}
