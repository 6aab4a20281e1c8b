/* Handlers of GRU, LSTM and RNN. A layer is one product of all steps with W, then the recurrence of each direction: the
 * operation `gru` where PyTorch's kind of it is asked for, else a cell a step, unrolled. */
#include <string.h>
#include <strings.h>

#include "onnx/once.h"

enum {
    MAX_STEPS = 512, /* that are unrolled */
    MAX_GATES = 4,
};

typedef enum cell_kind { GRU = 3, LSTM = 4, RNN = 1 } cell_kind; /* its number of gates */

/* One node; operands as the standard orders them: X, W, R, B, sequence_lens, initial_h, initial_c, P. */
typedef struct layer {
    onnx_node *node;
    cell_kind kind;
    int64_t steps, directions, input, hidden;
    ir_dim batch;
    bool batch_first, reset_after; /* layout; linear_before_reset */
    bool whole;                    /* one `gru` for all steps */
    ir_op acts[2][3];
    ir_value x; /* (B, steps, input) */
} layer;

/* One direction's numbers, as products read them. */
typedef struct direction {
    bool reverse;
    const ir_op *acts;
    ir_value p;      /* (B, steps, gates x hidden): x W + bias */
    ir_value r;      /* (hidden, gates x hidden); whole: (3, hidden, hidden) */
    ir_value reset;  /* (hidden): the candidate's recurrent bias, inside of the reset product; 0: none */
    ir_value state;  /* h before the first step, (B, hidden); 0: zeros */
    ir_value memory; /* LSTM's c */
} direction;

/* What a direction gives: (B, steps, hidden), (B, hidden), (B, hidden). */
typedef struct result {
    ir_value y, last, memory;
} result;

static ir_type floats(int rank, ir_dim a, int64_t b, int64_t c)
{
    return (ir_type){.dtype = MTL_F32, .rank = rank, .dim = {a, ir_dim_const(b), ir_dim_const(c)}};
}

/* --- what the node says ---------------------------------------------------------------------------------------- */

static mtl_status check_shape(const layer *l, size_t input, const char *name, int rank, const ir_dim *dims)
{
    const ir_type *type = onnx_in_type(l->node, input);
    ir_type want = {.dtype = type->dtype, .rank = rank};
    memcpy(want.dim, dims, (size_t)rank * sizeof *dims);
    if (ir_type_equal(type, &want)) {
        return MTL_OK;
    }
    return onnx_fail(l->node, MTL_INVALID_DATA, "input %zu (%s) is %s, expected %s", input, name,
                     onnx_shape_text(l->node, type), onnx_shape_text(l->node, &want));
}

/* A constant state for the one sequence of the model is that of each user's. */
static mtl_status widen_state(const layer *l, size_t input)
{
    unsigned flags;
    BASE_TRY(onnx_once_flags(l->node->importer, onnx_in(l->node, 0), &flags));
    bool users = flags == ONNX_FROM_ONCE && ir_dim_equal(l->batch, ir_dim_symbol(IR_SYMBOL_ROWS));
    return users ? onnx_once_widen(l->node, input, l->batch_first ? 0 : 1) : MTL_OK;
}

static mtl_status check_shapes(const layer *l)
{
    ir_dim d = ir_dim_const(l->directions), h = ir_dim_const(l->hidden), gates = ir_dim_const(l->kind * l->hidden);
    BASE_TRY(check_shape(l, 1, "W", 3, (ir_dim[]){d, gates, ir_dim_const(l->input)}));
    BASE_TRY(check_shape(l, 2, "R", 3, (ir_dim[]){d, gates, h}));
    if (onnx_in(l->node, 3) != 0) {
        BASE_TRY(check_shape(l, 3, "B", 2, (ir_dim[]){d, ir_dim_const(2 * l->kind * l->hidden)}));
    }
    for (size_t i = 5; i < (l->kind == LSTM ? 7u : 6u); i++) {
        if (onnx_in(l->node, i) != 0) {
            BASE_TRY(widen_state(l, i));
            BASE_TRY(check_shape(l, i, i == 5 ? "initial_h" : "initial_c", 3,
                                 (ir_dim[]){l->batch_first ? l->batch : d, l->batch_first ? d : l->batch, h}));
        }
    }
    return MTL_OK;
}

/* Lengths that are all the whole sequence say nothing; others are another computation. */
static mtl_status check_lengths(const layer *l)
{
    ir_value lengths = onnx_in(l->node, 4);
    const ir_graph *graph = l->node->importer->graph;
    if (lengths == 0) {
        return MTL_OK;
    }
    for (const ir_node_info *from; (from = ir_producer(graph, lengths)) != NULL && from->op == IR_OP_expand;) {
        lengths = from->inputs[0];
    }
    const ir_tensor *tensor = ir_is_const(graph, lengths) ? ir_info(graph, lengths)->tensor : NULL;
    bool whole = tensor != NULL;
    for (size_t i = 0; whole && i < tensor->count; i++) {
        whole = ir_tensor_int_at(tensor, i) == l->steps;
    }
    return whole ? MTL_OK
                 : onnx_fail(l->node, MTL_UNSUPPORTED,
                             "input 4 (sequence_lens) is not the constant %lld, the length of the sequence",
                             (long long)l->steps);
}

static mtl_status read_activations(layer *l)
{
    static const char *const names[] = {"Sigmoid", "Tanh", "Relu"};
    static const ir_op ops[] = {IR_OP_sigmoid, IR_OP_tanh, IR_OP_relu};
    size_t count = 0, each = l->kind == LSTM ? 3 : l->kind == GRU ? 2 : 1;
    const Onnx__AttributeProto *given = onnx_attr(l->node, "activations");
    for (size_t d = 0; d < 2; d++) {
        l->acts[d][0] = l->kind == RNN ? IR_OP_tanh : IR_OP_sigmoid;
        l->acts[d][1] = l->acts[d][2] = IR_OP_tanh;
    }
    if (given == NULL) {
        return MTL_OK;
    }
    count = given->n_strings;
    if (count != each * (size_t)l->directions) {
        return onnx_fail(l->node, MTL_INVALID_DATA, "%zu activations, expected %zu", count,
                         each * (size_t)l->directions);
    }
    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (k < 3 && (given->strings[i].len != strlen(names[k]) ||
                         strncasecmp((const char *)given->strings[i].data, names[k], strlen(names[k])) != 0)) {
            k++;
        }
        if (k == 3) {
            return onnx_fail(l->node, MTL_UNSUPPORTED, "activation %zu is none of Sigmoid, Tanh, Relu", i);
        }
        l->acts[i / each][i % each] = ops[k];
    }
    return MTL_OK;
}

static mtl_status read_direction(layer *l)
{
    const char *text = onnx_string(l->node, "direction");
    if (text == NULL ||
        (strcmp(text, "forward") != 0 && strcmp(text, "reverse") != 0 && strcmp(text, "bidirectional") != 0)) {
        return onnx_fail(l->node, MTL_INVALID_DATA, "direction is '%s', expected forward, reverse or bidirectional",
                         text == NULL ? "" : text);
    }
    l->directions = text[0] == 'b' ? 2 : 1;
    return MTL_OK;
}

static mtl_status refuse_rest(const layer *l)
{
    if (onnx_has(l->node, "clip")) {
        return onnx_fail(l->node, MTL_UNSUPPORTED, "clip is not supported");
    }
    if (l->kind == LSTM && onnx_int(l->node, "input_forget") != 0) {
        return onnx_fail(l->node, MTL_UNSUPPORTED, "input_forget 1 is not supported");
    }
    return l->kind == LSTM && onnx_in(l->node, 7) != 0
               ? onnx_fail(l->node, MTL_UNSUPPORTED, "input 7 (P, peepholes) is not supported")
               : MTL_OK;
}

static mtl_status read_layer(layer *l)
{
    const ir_type *x = onnx_in_type(l->node, 0), *r = onnx_in_type(l->node, 2);
    l->batch_first = onnx_schema_attr_find(l->node->schema, "layout") != NULL && onnx_int(l->node, "layout") != 0;
    if (x->rank != 3 || r->rank != 3 || !ir_dim_is_const(x->dim[l->batch_first ? 1 : 0]) ||
        !ir_dim_is_const(x->dim[2]) || !ir_dim_is_const(r->dim[2])) {
        return onnx_fail(l->node, MTL_UNSUPPORTED, "inputs 0 and 2 are %s and %s, expected rank 3 with a fixed length",
                         onnx_shape_text(l->node, x), onnx_shape_text(l->node, r));
    }
    l->steps = x->dim[l->batch_first ? 1 : 0].c;
    l->batch = x->dim[l->batch_first ? 0 : 1];
    l->input = x->dim[2].c;
    l->hidden = r->dim[2].c;
    l->reset_after = l->kind == GRU && onnx_int(l->node, "linear_before_reset") != 0;
    if (l->steps == 0 || l->hidden == 0 || l->hidden > INT32_MAX ||
        (onnx_has(l->node, "hidden_size") && onnx_int(l->node, "hidden_size") != l->hidden)) {
        return onnx_fail(l->node, MTL_INVALID_DATA, "%lld steps of hidden_size %lld with R %s", (long long)l->steps,
                         (long long)onnx_int(l->node, "hidden_size"), onnx_shape_text(l->node, r));
    }
    BASE_TRY(read_direction(l));
    BASE_TRY(check_shapes(l));
    BASE_TRY(check_lengths(l));
    BASE_TRY(read_activations(l));
    BASE_TRY(refuse_rest(l));
    bool constant = l->node->inputs[2].constant && (onnx_in(l->node, 3) == 0 || l->node->inputs[3].constant);
    l->whole = l->reset_after && constant;
    for (int64_t d = 0; d < l->directions; d++) {
        l->whole = l->whole && l->acts[d][0] == IR_OP_sigmoid && l->acts[d][1] == IR_OP_tanh;
    }
    return l->whole || l->steps <= MAX_STEPS
               ? MTL_OK
               : onnx_fail(l->node, MTL_UNSUPPORTED, "%lld steps to unroll, expected at most %d", (long long)l->steps,
                           MAX_STEPS);
}

/* --- pieces ---------------------------------------------------------------------------------------------------- */

/* Element `at` .. of one axis, without the axis where `drop`. */
static mtl_status cut(onnx_node *node, ir_value value, int axis, int64_t at, int64_t count, bool drop, ir_value *part)
{
    ir_type type = *ir_type_of(node->importer->graph, value);
    int64_t starts[MTL_MAX_RANK] = {0}, steps[MTL_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1};
    starts[axis] = at;
    *part = value;
    if (!ir_dim_is(type.dim[axis], count)) {
        ir_attr attrs[] = {IR_INTS(starts, starts, type.rank), IR_INTS(steps, steps, type.rank)};
        type.dim[axis] = ir_dim_const(count);
        BASE_TRY(onnx_emit_typed(node, IR_OP_slice, value, attrs, 2, &type, part));
    }
    if (drop) {
        type.rank--;
        memmove(&type.dim[axis], &type.dim[axis + 1], (size_t)(type.rank - axis) * sizeof type.dim[0]);
        type.dim[type.rank] = ir_dim_const(0);
        BASE_TRY(onnx_reshape(node, *part, &type, false, part));
    }
    return MTL_OK;
}

static mtl_status turn(onnx_node *node, const int64_t *perm, int rank, ir_value *value)
{
    ir_attr attr = IR_INTS(perm, perm, rank);
    return onnx_emit(node, IR_OP_transpose, value, 1, &attr, 1, value);
}

static mtl_status apply(onnx_node *node, ir_op op, ir_value a, ir_value b, ir_value *value)
{
    return onnx_emit(node, op, (ir_value[]){a, b}, b != 0 ? 2 : 1, NULL, 0, value);
}

static mtl_status join(onnx_node *node, int64_t axis, const ir_value *parts, size_t count, ir_value *value)
{
    ir_attr attr = IR_INT(axis, axis);
    *value = parts[0];
    return count == 1 ? MTL_OK : onnx_emit(node, IR_OP_concat, parts, count, &attr, 1, value);
}

/* --- one direction --------------------------------------------------------------------------------------------- */

/* Both biases in one, but for the part that the reset gate multiplies. */
static mtl_status add_biases(const layer *l, ir_value both, direction *d, ir_value *bias)
{
    onnx_node *node = l->node;
    int64_t gates = l->kind * l->hidden, kept = gates - (l->reset_after ? l->hidden : 0);
    ir_value w, r, parts[2];
    BASE_TRY(cut(node, both, 0, 0, kept, false, &w));
    BASE_TRY(cut(node, both, 0, gates, kept, false, &r));
    BASE_TRY(apply(node, IR_OP_add, w, r, &parts[0]));
    *bias = parts[0];
    if (!l->reset_after) {
        return MTL_OK;
    }
    BASE_TRY(cut(node, both, 0, gates + kept, l->hidden, false, &d->reset));
    BASE_TRY(cut(node, both, 0, kept, l->hidden, false, &parts[1]));
    return join(node, 0, parts, 2, bias);
}

/* R (gates x hidden, hidden) as the products read it. */
static mtl_status read_recurrence(const layer *l, ir_value *r)
{
    static const int64_t swapped[] = {1, 0}, gates_first[] = {0, 2, 1};
    if (!l->whole) {
        return turn(l->node, swapped, 2, r);
    }
    ir_type type = floats(3, ir_dim_const(l->kind), l->hidden, l->hidden);
    BASE_TRY(onnx_reshape(l->node, *r, &type, false, r));
    return turn(l->node, gates_first, 3, r);
}

static mtl_status read_weights(const layer *l, int64_t which, direction *d)
{
    static const int64_t swapped[] = {1, 0};
    onnx_node *node = l->node;
    ir_value w;
    *d = (direction){.reverse = which == 1 || strcmp(onnx_string(node, "direction"), "reverse") == 0,
                     .acts = l->acts[which]};
    BASE_TRY(cut(node, onnx_in(node, 1), 0, which, 1, true, &w));
    BASE_TRY(turn(node, swapped, 2, &w));
    BASE_TRY(apply(node, IR_OP_matmul, l->x, w, &d->p));
    BASE_TRY(cut(node, onnx_in(node, 2), 0, which, 1, true, &d->r));
    BASE_TRY(read_recurrence(l, &d->r));
    if (onnx_in(node, 3) != 0) {
        ir_value both, bias;
        BASE_TRY(cut(node, onnx_in(node, 3), 0, which, 1, true, &both));
        BASE_TRY(add_biases(l, both, d, &bias));
        BASE_TRY(apply(node, IR_OP_add, d->p, bias, &d->p));
    }
    for (size_t i = 5; i < (l->kind == LSTM ? 7u : 6u); i++) {
        if (onnx_in(node, i) != 0) {
            BASE_TRY(
                cut(node, onnx_in(node, i), l->batch_first ? 1 : 0, which, 1, true, i == 5 ? &d->state : &d->memory));
        }
    }
    return MTL_OK;
}

/* `value` x + `more`, either of which may be absent: 0. */
static mtl_status add_to(onnx_node *node, ir_value more, ir_value *value)
{
    if (*value == 0 || more == 0) {
        *value = *value == 0 ? more : *value;
        return MTL_OK;
    }
    return apply(node, IR_OP_add, *value, more, value);
}

/* The recurrent product of gates [from, to), 0 while the state is zero. */
static mtl_status recur(const layer *l, const direction *d, ir_value state, int64_t from, int64_t to, ir_value *product)
{
    ir_value r;
    *product = 0;
    if (state == 0) {
        return MTL_OK;
    }
    BASE_TRY(cut(l->node, d->r, 1, from * l->hidden, (to - from) * l->hidden, false, &r));
    return apply(l->node, IR_OP_matmul, state, r, product);
}

/* act(p[gate] + product[at]) */
static mtl_status gate(const layer *l, ir_op act, ir_value p, int64_t which, ir_value product, int64_t at,
                       ir_value *value)
{
    ir_value part = 0;
    BASE_TRY(cut(l->node, p, 1, which * l->hidden, l->hidden, false, value));
    if (product != 0) {
        BASE_TRY(cut(l->node, product, 1, at * l->hidden, l->hidden, false, &part));
    }
    BASE_TRY(add_to(l->node, part, value));
    return apply(l->node, act, *value, 0, value);
}

static mtl_status rnn_cell(const layer *l, direction *d, ir_value p)
{
    ir_value product;
    BASE_TRY(recur(l, d, d->state, 0, 1, &product));
    return gate(l, d->acts[0], p, 0, product, 0, &d->state);
}

/* Gates z, r, h: h' = z h + (1 - z) act(p_h + r (h R_h + b)), or act(p_h + (r h) R_h). */
static mtl_status gru_cell(const layer *l, direction *d, ir_value p)
{
    onnx_node *node = l->node;
    ir_value product, z, r, inner = 0, candidate, rest, one;
    BASE_TRY(recur(l, d, d->state, 0, l->reset_after ? 3 : 2, &product));
    BASE_TRY(gate(l, d->acts[0], p, 0, product, 0, &z));
    BASE_TRY(gate(l, d->acts[0], p, 1, product, 1, &r));
    BASE_TRY(cut(node, p, 1, 2 * l->hidden, l->hidden, false, &candidate));
    if (l->reset_after) {
        if (product != 0) {
            BASE_TRY(cut(node, product, 1, 2 * l->hidden, l->hidden, false, &inner));
        }
        BASE_TRY(add_to(node, d->reset, &inner));
        if (inner != 0) {
            BASE_TRY(apply(node, IR_OP_mul, r, inner, &inner));
        }
    } else if (d->state != 0) {
        BASE_TRY(apply(node, IR_OP_mul, r, d->state, &inner));
        BASE_TRY(recur(l, d, inner, 2, 3, &inner));
    }
    BASE_TRY(add_to(node, inner, &candidate));
    BASE_TRY(apply(node, d->acts[1], candidate, 0, &candidate));
    BASE_TRY(onnx_emit_number(node, 1, &one));
    BASE_TRY(apply(node, IR_OP_sub, one, z, &rest));
    BASE_TRY(apply(node, IR_OP_mul, rest, candidate, &rest));
    if (d->state != 0) {
        BASE_TRY(apply(node, IR_OP_mul, z, d->state, &d->state));
    }
    return add_to(node, rest, &d->state);
}

/* Gates i, o, f, c: c' = f c + i act(c), h' = o act(c'). */
static mtl_status lstm_cell(const layer *l, direction *d, ir_value p)
{
    onnx_node *node = l->node;
    ir_value product, gates[MAX_GATES], shown;
    BASE_TRY(recur(l, d, d->state, 0, MAX_GATES, &product));
    for (int64_t i = 0; i < MAX_GATES; i++) {
        BASE_TRY(gate(l, d->acts[i == 3 ? 1 : 0], p, i, product, i, &gates[i]));
    }
    BASE_TRY(apply(node, IR_OP_mul, gates[0], gates[3], &shown));
    if (d->memory != 0) {
        BASE_TRY(apply(node, IR_OP_mul, gates[2], d->memory, &d->memory));
    }
    BASE_TRY(add_to(node, shown, &d->memory));
    BASE_TRY(apply(node, d->acts[2], d->memory, 0, &shown));
    return apply(node, IR_OP_mul, gates[1], shown, &d->state);
}

static mtl_status unroll(const layer *l, direction *d, result *out)
{
    onnx_node *node = l->node;
    ir_value *steps = BASE_NEW_ARRAY(node->importer->arena, ir_value, (size_t)l->steps);
    BASE_TRY_MEMORY(steps, node->importer->diag);
    ir_type step = floats(3, l->batch, 1, l->hidden);
    for (int64_t i = 0; i < l->steps; i++) {
        int64_t at = d->reverse ? l->steps - 1 - i : i;
        ir_value p;
        BASE_TRY(cut(node, d->p, 1, at, 1, true, &p));
        BASE_TRY(l->kind == GRU ? gru_cell(l, d, p) : l->kind == LSTM ? lstm_cell(l, d, p) : rnn_cell(l, d, p));
        BASE_TRY(onnx_reshape(node, d->state, &step, false, &steps[at]));
    }
    out->last = d->state;
    out->memory = d->memory;
    return join(node, 1, steps, (size_t)l->steps, &out->y);
}

static mtl_status run_direction(const layer *l, int64_t which, result *out)
{
    direction d;
    BASE_TRY(read_weights(l, which, &d));
    if (!l->whole) {
        return unroll(l, &d, out);
    }
    ir_attr attr = IR_INT(reverse, d.reverse);
    size_t count = d.state != 0 ? 4 : d.reset != 0 ? 3 : 2;
    BASE_TRY(onnx_emit(l->node, IR_OP_gru, (ir_value[]){d.p, d.r, d.reset, d.state}, count, &attr, 1, &out->y));
    return cut(l->node, out->y, 1, d.reverse ? 0 : l->steps - 1, 1, true, &out->last);
}

/* --- outputs --------------------------------------------------------------------------------------------------- */

static bool wanted(const onnx_node *node, size_t output)
{
    return output < node->output_count && node->proto->output[output][0] != '\0';
}

/* Y: (steps, directions, B, hidden), or (B, steps, directions, hidden). */
static mtl_status give_sequence(const layer *l, const result *results)
{
    static const int64_t steps_first[] = {1, 0, 2};
    onnx_node *node = l->node;
    ir_value parts[2] = {0, 0}, all;
    ir_type type = {.dtype = MTL_F32, .rank = 4};
    const ir_dim steps = ir_dim_const(l->steps);
    type.dim[0] = l->batch_first ? l->batch : steps;
    type.dim[1] = l->batch_first ? steps : ir_dim_const(1);
    type.dim[2] = l->batch_first ? ir_dim_const(1) : l->batch;
    type.dim[3] = ir_dim_const(l->hidden);
    for (int64_t d = 0; d < l->directions; d++) {
        parts[d] = results[d].y;
        if (!l->batch_first) {
            BASE_TRY(turn(node, steps_first, 3, &parts[d]));
        }
        BASE_TRY(onnx_reshape(node, parts[d], &type, false, &parts[d]));
    }
    BASE_TRY(join(node, l->batch_first ? 2 : 1, parts, (size_t)l->directions, &all));
    type = *ir_type_of(node->importer->graph, all);
    return onnx_output_typed(node, 0, IR_OP_reshape, all, NULL, 0, &type);
}

/* Y_h, Y_c: (directions, B, hidden), or (B, directions, hidden). */
static mtl_status give_last(const layer *l, size_t output, const ir_value *last)
{
    onnx_node *node = l->node;
    ir_value parts[2] = {0, 0}, all;
    ir_type type = floats(3, l->batch, 1, l->hidden);
    if (!l->batch_first) {
        type.dim[1] = l->batch;
        type.dim[0] = ir_dim_const(1);
    }
    for (int64_t d = 0; d < l->directions; d++) {
        BASE_TRY(onnx_reshape(node, last[d], &type, false, &parts[d]));
    }
    BASE_TRY(join(node, l->batch_first ? 1 : 0, parts, (size_t)l->directions, &all));
    type = *ir_type_of(node->importer->graph, all);
    return onnx_output_typed(node, output, IR_OP_reshape, all, NULL, 0, &type);
}

static mtl_status import_layer(onnx_node *node, cell_kind kind)
{
    static const int64_t batch_first[] = {1, 0, 2};
    layer l = {.node = node, .kind = kind, .x = onnx_in(node, 0)};
    result results[2] = {{0}, {0}};
    BASE_TRY(read_layer(&l));
    if (!l.batch_first) {
        BASE_TRY(turn(node, batch_first, 3, &l.x));
    }
    for (int64_t d = 0; d < l.directions; d++) {
        BASE_TRY(run_direction(&l, d, &results[d]));
    }
    if (wanted(node, 0)) {
        BASE_TRY(give_sequence(&l, results));
    }
    if (wanted(node, 1)) {
        BASE_TRY(give_last(&l, 1, (ir_value[]){results[0].last, results[1].last}));
    }
    return kind == LSTM && wanted(node, 2) ? give_last(&l, 2, (ir_value[]){results[0].memory, results[1].memory})
                                           : MTL_OK;
}

mtl_status onnx_import_gru(onnx_node *node)
{
    return import_layer(node, GRU);
}

mtl_status onnx_import_lstm(onnx_node *node)
{
    return import_layer(node, LSTM);
}

mtl_status onnx_import_rnn(onnx_node *node)
{
    return import_layer(node, RNN);
}
