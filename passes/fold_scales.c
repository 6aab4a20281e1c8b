/* Constant masks, scales and shifts, and columns in another order, go into the weights of the layers that read them.
 *
 *     %m = mul(%x, %mask)                          : f32[B, 4]        with mask (4)
 *     %s = add(%m, %shift)                         : f32[B, 4]
 *     %g = gather(%s, %order) axis=1               : f32[B, 4]        with order a permutation
 *     %y = linear(%g, %w, %b) act="relu"           : f32[B, 2]
 *
 * becomes
 *
 *     %y = linear(%x, %w', %b') act="relu"         : f32[B, 2]
 *
 * with W' = diag(mask) P W and b' = shift P W + b: exactly the same sums. Only when all readers are layers, so that the
 * operation disappears, and when the layer does not become larger. A mask of 0 still passes NaN on, as the
 * multiplication does. A shift that is large to the layer stays an operation of its own (PASSES_NEAR).
 */
#include <math.h>
#include <string.h>

#include "passes/layer.h"
#include "passes/passes.h"

static const char fate[] = "its order is that of the weights of the layers that read it";

typedef struct folder {
    passes_rewriter r;
    bool *vanishes; /* by node: all readers can take it over */
    double *reach;  /* by value: the largest factor by which a layer will read it */
} folder;

/* The operand that is no constant, and the constant; false: not that form. */
static bool split_operands(const ir_graph *graph, const ir_node_info *node, uint32_t *x)
{
    bool divides = node->op == IR_OP_div;
    if (node->op != IR_OP_mul && node->op != IR_OP_add && node->op != IR_OP_sub && !divides) {
        return false;
    }
    *x = ir_is_const(graph, node->inputs[0]) ? 1 : 0;
    return ir_is_const(graph, node->inputs[1 - *x]) && !ir_is_const(graph, node->inputs[*x]) && !(divides && *x == 1);
}

/* Whether the constant varies along the last `columns` axes only, and all its numbers are finite (and no divisor is 0). */
static bool is_row_constant(const ir_tensor *c, int columns, bool divides)
{
    for (int i = 0; i < c->rank - columns; i++) {
        if (c->shape[i] != 1) {
            return false;
        }
    }
    for (size_t i = 0; i < c->count; i++) {
        double number = ir_tensor_at(c, i);
        if (!isfinite(divides ? 1 / number : number)) {
            return false;
        }
    }
    return true;
}

/* A gather that reads every column of its operand once. */
static bool is_permutation(const ir_graph *graph, const ir_node_info *node, base_arena *scratch)
{
    const ir_type *x = ir_type_of(graph, node->inputs[0]);
    if (node->op != IR_OP_gather || ir_attr_int(node, IR_ATTR_axis) != x->rank - 1 ||
        !ir_is_const(graph, node->inputs[1])) {
        return false;
    }
    const ir_tensor *index = ir_info(graph, node->inputs[1])->tensor;
    int64_t extent = x->dim[x->rank - 1].c;
    bool *seen = BASE_NEW_ARRAY(scratch, bool, (size_t)extent + 1);
    if (seen == NULL || !ir_dim_is_const(x->dim[x->rank - 1]) || index->rank != 1 || index->count != (size_t)extent) {
        return false;
    }
    for (size_t i = 0; i < index->count; i++) {
        int64_t at = ir_tensor_int_at(index, i);
        at = at < 0 ? at + extent : at;
        if (at < 0 || at >= extent || seen[at]) {
            return false;
        }
        seen[at] = true;
    }
    return true;
}

/* The largest factor by which layers will read what `node`, an operation with constant c, reads, if they read its result
 * with `reach`. */
static double reach_of(const ir_node_info *node, const ir_tensor *c, double reach)
{
    double largest = 0;
    for (size_t i = 0; i < c->count; i++) {
        double number = fabs(ir_tensor_at(c, i));
        largest = fmax(largest, node->op == IR_OP_div ? 1 / number : number);
    }
    return node->op == IR_OP_mul || node->op == IR_OP_div ? reach * largest : reach;
}

static bool is_near(const ir_node_info *node, const ir_tensor *c, double reach)
{
    for (size_t i = 0; i < c->count && (node->op == IR_OP_add || node->op == IR_OP_sub); i++) {
        if (fabs(ir_tensor_at(c, i)) * reach > PASSES_NEAR) {
            return false;
        }
    }
    return true;
}

/* Whether a layer whose rows are the last `columns` axes can do the work of `node`. */
static bool can_fold(const ir_graph *graph, const ir_node_info *node, int columns, double reach, base_arena *scratch)
{
    uint32_t x;
    if (split_operands(graph, node, &x)) {
        return is_near(node, ir_info(graph, node->inputs[1 - x])->tensor, reach) &&
               ir_type_equal(ir_type_of(graph, node->inputs[x]), ir_type_of(graph, node->outputs[0])) &&
               is_row_constant(ir_info(graph, node->inputs[1 - x])->tensor, columns, node->op == IR_OP_div);
    }
    return is_permutation(graph, node, scratch);
}

/* Marks what vanishes, readers before what they read. */
static mtl_status mark(folder *f)
{
    const ir_graph *graph = f->r.graph;
    uint32_t *taken = BASE_NEW_ARRAY(&f->r.scratch, uint32_t, graph->value_count); /* by layers */
    int *columns = BASE_NEW_ARRAY(&f->r.scratch, int, graph->value_count);         /* of these layers; 0: none yet */
    f->vanishes = BASE_NEW_ARRAY(&f->r.scratch, bool, graph->node_count);
    BASE_TRY_MEMORY(taken, f->r.diag);
    BASE_TRY_MEMORY(columns, f->r.diag);
    f->reach = BASE_NEW_ARRAY(&f->r.scratch, double, graph->value_count);
    BASE_TRY_MEMORY(f->vanishes, f->r.diag);
    BASE_TRY_MEMORY(f->reach, f->r.diag);
    for (ir_node n = graph->last_node; n != 0; n = ir_node_of(graph, n)->previous) {
        const ir_node_info *node = ir_node_of(graph, n);
        ir_value y = node->outputs[0], x = node->inputs != NULL ? node->inputs[0] : 0;
        uint32_t operand = 0;
        int own = 0;
        double reach = 1;
        if (node->op == IR_OP_linear) {
            own = ir_type_of(graph, node->inputs[1])->rank - 1;
        } else if (columns[y] > 0 && taken[y] == f->r.uses[y] &&
                   can_fold(graph, node, columns[y], f->reach[y], &f->r.scratch)) {
            f->vanishes[n] = true;
            own = columns[y];
            reach = f->reach[y];
            if (split_operands(graph, node, &operand)) {
                x = node->inputs[operand];
                reach = reach_of(node, ir_info(graph, node->inputs[1 - operand])->tensor, reach);
            }
        }
        if (own > 0) { /* a constant per column must not meet layers that see the columns as groups */
            columns[x] = columns[x] == 0 || own < columns[x] ? own : columns[x];
            f->reach[x] = fmax(f->reach[x], reach);
            taken[x]++;
        }
    }
    return MTL_OK;
}

/* The layer's operand is x with a constant added, multiplied, ... */
static mtl_status fold_constant(passes_rewriter *r, ir_node n, ir_node maker)
{
    const ir_node_info *layer = ir_node_of(r->graph, n), *node = ir_node_of(r->graph, maker);
    const ir_tensor *w = ir_info(r->graph, layer->inputs[1])->tensor;
    const ir_type *type = ir_type_of(r->graph, layer->inputs[0]);
    size_t rows = w->count / (size_t)w->shape[w->rank - 1];
    double *vector = BASE_NEW_ARRAY(&r->scratch, double, rows), *ones = BASE_NEW_ARRAY(&r->scratch, double, rows);
    BASE_TRY_MEMORY(vector, r->diag);
    BASE_TRY_MEMORY(ones, r->diag);
    const double *scale, *shift;
    uint32_t x;
    split_operands(r->graph, node, &x);
    ir_value c = node->inputs[1 - x];
    passes_spread_const(ir_info(r->graph, c)->tensor, type, type->rank - (w->rank - 1), vector);
    if (!passes_as_affine(node->op, x == 0, vector, (int64_t)rows, ones, &scale, &shift)) {
        return base_fail(r->diag, MTL_INTERNAL, "a constant that was found to fold does not");
    }
    return passes_feed_affine(r, n, maker, node->inputs[x], scale, shift, c);
}

/* The layer's operand is x with its columns in the order of `index`. */
static mtl_status fold_order(passes_rewriter *r, ir_node n, ir_node maker)
{
    const ir_node_info *layer = ir_node_of(r->graph, n), *node = ir_node_of(r->graph, maker);
    const ir_tensor *w = ir_info(r->graph, layer->inputs[1])->tensor;
    const ir_tensor *index = ir_info(r->graph, node->inputs[1])->tensor;
    size_t columns = (size_t)w->shape[w->rank - 1], k = (size_t)w->shape[w->rank - 2];
    double *numbers = BASE_NEW_ARRAY(r->graph->arena, double, w->count);
    BASE_TRY_MEMORY(numbers, r->diag);
    for (size_t i = 0; i < w->count; i++) {
        size_t row = i / columns;
        int64_t at = ir_tensor_int_at(index, row % k);
        size_t to = row / k * k + (size_t)(at < 0 ? at + (int64_t)k : at);
        numbers[to * columns + i % columns] = ir_tensor_at(w, i);
    }
    ir_value weights;
    BASE_TRY(passes_add_floats(r, layer->inputs[1], w->dtype, w->rank, w->shape, numbers, &weights));
    layer = ir_node_of(r->graph, n);
    BASE_TRY(passes_take_sources(r, n, maker));
    ir_value inputs[4] = {ir_node_of(r->graph, maker)->inputs[0], weights, ir_operand(layer, 2), ir_operand(layer, 3)};
    return passes_set_inputs(r, n, inputs, passes_layer_operands(inputs), fate);
}

/* The layer `n` takes over what makes its operand. */
static mtl_status fold(passes_rewriter *r, ir_node n, ir_node maker)
{
    return ir_node_of(r->graph, maker)->op == IR_OP_gather ? fold_order(r, n, maker) : fold_constant(r, n, maker);
}

static mtl_status fold_all(folder *f)
{
    passes_rewriter *r = &f->r;
    BASE_TRY(mark(f));
    for (ir_node n = r->graph->first_node; n != 0; n = ir_node_of(r->graph, n)->next) {
        ir_node maker;
        while (ir_node_of(r->graph, n)->op == IR_OP_linear &&
               (maker = ir_info(r->graph, ir_node_of(r->graph, n)->inputs[0])->node) != 0 && f->vanishes[maker]) {
            BASE_TRY(fold(r, n, maker));
        }
    }
    return MTL_OK;
}

mtl_status passes_fold_scales(ir_graph *graph, base_diag *diag)
{
    folder f = {.vanishes = NULL};
    BASE_TRY(passes_begin(graph, diag, &f.r));
    mtl_status status = fold_all(&f);
    return status == MTL_OK ? passes_end(&f.r) : passes_abandon(&f.r, status);
}
