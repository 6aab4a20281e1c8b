/* Element-wise functions of floats, one after the other, become one step.
 *
 *     %p = prelu(%x, %slope)                      : f32[B, 4]
 *     %m = mul(%p, %scale)                        : f32[B, 4]
 *     %y = add(%r, %m)                            : f32[B, 4]
 *
 * becomes
 *
 *     %y = chain(%x, %slope, %scale, %r) program="prelu 1; mul 2; 3 add" : f32[B, 4]
 *
 * when each value in between has one reader, and all have one shape. The other operands have that shape, too, or they
 * are columns that broadcast along the rows, or single numbers; constants of other shapes are spread out to columns. A
 * function alone stays what it is. The bits are those of the single steps.
 *
 * A unary function behind a running sum or product is its activation, as that of a linear layer:
 *
 *     %c = cumsum(%x) axis=1 exclusive=0 reverse=0 : f32[B, 3]
 *     %y = sigmoid(%c)                            : f32[B, 3]
 *
 * becomes
 *
 *     %y = cumsum(%x) axis=1 exclusive=0 reverse=0 act="sigmoid" : f32[B, 3]
 */
#include <string.h>

#include "ir/chain.h"
#include "passes/columns.h"
#include "passes/passes.h"
#include "passes/rewrite.h"

enum { MAX_OPERANDS = IR_CHAIN_MAX + 1 };

/* A node as a chain: the accumulator begins as operands[0]. */
typedef struct lane {
    ir_chain chain;
    ir_value operands[MAX_OPERANDS];
    uint32_t operand_count;
} lane;

static bool is_f32(const ir_graph *graph, ir_value value)
{
    return ir_type_of(graph, value)->dtype == MTL_F32;
}

static bool same_type(const ir_graph *graph, ir_value a, ir_value b)
{
    return ir_type_equal(ir_type_of(graph, a), ir_type_of(graph, b));
}

/* --- other operands ------------------------------------------------------------------------------------------ */

/* The first of the axes of a result that a constant operand tells apart, its rank: none. They and those behind it are fixed
 * or the constant cannot be spread to them: then -1. */
static int32_t first_column(const ir_type *own, const ir_type *result)
{
    int32_t offset = result->rank - own->rank, axis = offset;
    while (axis < result->rank && ir_dim_is(own->dim[axis - offset], 1)) {
        axis++;
    }
    for (int32_t i = axis; i < result->rank; i++) {
        if (!ir_dim_is_const(result->dim[i])) {
            return -1;
        }
    }
    return axis;
}

/* Whether an operand can meet the accumulator as it is or, of a constant, spread out to columns. */
static bool can_meet(const ir_graph *graph, ir_value operand, const ir_type *result)
{
    const ir_type *own = ir_type_of(graph, operand);
    if (ir_chain_fits(own, result)) {
        return true;
    }
    return ir_is_const(graph, operand) && own->dtype == result->dtype && own->rank <= result->rank &&
           first_column(own, result) >= 0;
}

/* A constant that broadcasts to the last axes of the result becomes one that has them. */
static mtl_status spread(passes_rewriter *r, ir_value operand, const ir_type *result, ir_value *columns)
{
    const ir_tensor *from = ir_info(r->graph, operand)->tensor;
    int32_t first = first_column(ir_type_of(r->graph, operand), result);
    ir_tensor to = {.dtype = from->dtype, .rank = result->rank - first, .count = 1};
    for (int32_t i = 0; i < to.rank; i++) {
        to.shape[i] = result->dim[first + i].c;
        if (__builtin_mul_overflow(to.count, (size_t)to.shape[i], &to.count)) {
            return base_fail_memory(r->diag);
        }
    }
    double *numbers = BASE_NEW_ARRAY(r->graph->arena, double, to.count);
    BASE_TRY_MEMORY(numbers, r->diag);
    passes_spread_const(from, result, first, numbers);
    to.f = numbers;
    return passes_add_const(r, ir_info(r->graph, operand)->name, &to, columns);
}

/* --- chains -------------------------------------------------------------------------------------------------- */

/* An element-wise node as a step, when a chain can have it, and the number of operands that its accumulator can be:
 * bit i for operand i. */
static unsigned read_node(const ir_graph *graph, const ir_node_info *node, ir_chain_step *step)
{
    unsigned starts = 0;
    if (!is_f32(graph, node->outputs[0]) || !ir_chain_step_of(node, step)) {
        return 0;
    }
    const ir_type *result = ir_type_of(graph, node->outputs[0]);
    for (uint32_t i = 0; i < node->input_count; i++) {
        ir_value value = node->inputs[i], other = node->input_count > 1 ? node->inputs[1 - i] : 0;
        bool meets = other == 0 || (is_f32(graph, other) && can_meet(graph, other, result));
        starts |= (unsigned)(!ir_is_const(graph, value) && same_type(graph, value, node->outputs[0]) && meets) << i;
    }
    return starts;
}

/* Puts a step behind a chain; `other`: its operand, 0 for a unary one. False: there is no room. */
static bool append(lane *l, ir_chain_step step, ir_value other, bool other_first)
{
    if (l->chain.count == IR_CHAIN_MAX) {
        return false;
    }
    if (other != 0) {
        uint32_t at = 1;
        while (at < l->operand_count && l->operands[at] != other) {
            at++;
        }
        if (at == MAX_OPERANDS) {
            return false;
        }
        l->operand_count = at == l->operand_count ? at + 1 : l->operand_count;
        l->operands[at] = other;
        step.operand = at;
        step.operand_first = other_first;
    }
    l->chain.steps[l->chain.count++] = step;
    return true;
}

/* The node behind a value that only one other reads, as a chain; of one step when it is no chain yet. */
static bool read_lane(const passes_rewriter *r, ir_value value, lane *l)
{
    const ir_graph *graph = r->graph;
    const ir_node_info *node = ir_producer(graph, value);
    ir_chain_step step;
    size_t at;
    if (node == NULL || !passes_single_use(r, value)) {
        return false;
    }
    if (node->op == IR_OP_chain) {
        l->operand_count = node->input_count;
        memcpy(l->operands, node->inputs,
               (node->input_count < MAX_OPERANDS ? node->input_count : MAX_OPERANDS) * sizeof *node->inputs);
        return node->input_count <= MAX_OPERANDS && is_f32(graph, value) &&
               ir_chain_read(ir_find_attr(node, IR_ATTR_program)->text, &l->chain, &at);
    }
    unsigned starts = read_node(graph, node, &step);
    if (starts == 0) {
        return false;
    }
    uint32_t x = (starts & 1) != 0 ? 0 : 1;
    l->chain.count = 0;
    l->operands[0] = node->inputs[x];
    l->operand_count = 1;
    return append(l, step, node->input_count > 1 ? node->inputs[1 - x] : 0, x == 1);
}

/* Gives the chain its constants as columns, and `n` the chain. */
static mtl_status finish(passes_rewriter *r, ir_node n, ir_value before, lane *l)
{
    ir_type result = *ir_type_of(r->graph, ir_node_of(r->graph, n)->outputs[0]);
    for (uint32_t i = 1; i < l->operand_count; i++) {
        if (!ir_chain_fits(ir_type_of(r->graph, l->operands[i]), &result)) {
            BASE_TRY(spread(r, l->operands[i], &result, &l->operands[i]));
        }
    }
    ir_node inner = ir_info(r->graph, before)->node;
    char *program = ir_chain_text(&l->chain, r->graph->arena);
    BASE_TRY_MEMORY(program, r->diag);
    BASE_TRY(passes_take_sources(r, n, inner));
    BASE_TRY(passes_become(r, n, IR_OP_chain, l->operands, l->operand_count, (ir_attr[]){IR_STRING(program, program)},
                           1, NULL));
    passes_kill(r, inner, NULL);
    return MTL_OK;
}

/* The longest chain that an operand of `n` is made by takes `n` in. */
static mtl_status form_chain(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    ir_chain_step step;
    unsigned starts = read_node(r->graph, node, &step);
    lane found[2];
    int best = -1;
    bool users = passes_is_users(r->graph, node->outputs[0]); /* what is the user's is done once for each user */
    for (uint32_t i = 0; i < node->input_count && starts != 0; i++) {
        if ((starts >> i & 1) != 0 && passes_is_users(r->graph, node->inputs[i]) == users &&
            read_lane(r, node->inputs[i], &found[i]) &&
            append(&found[i], step, node->input_count > 1 ? node->inputs[1 - i] : 0, i == 1) &&
            (best < 0 || found[i].chain.count > found[best].chain.count)) {
            best = (int)i;
        }
    }
    return best < 0 ? MTL_OK : finish(r, n, node->inputs[best], &found[best]);
}

/* --- scans --------------------------------------------------------------------------------------------------- */

static int by_key(const ir_attr *a, const ir_attr *b)
{
    return (a->key > b->key) - (a->key < b->key);
}

/* A running sum or product without activation, which only `n` reads, takes in `n`. */
static mtl_status absorb_into_scan(passes_rewriter *r, ir_node n, bool *done)
{
    const ir_graph *graph = r->graph;
    const ir_node_info *node = ir_node_of(graph, n), *scan = ir_producer(graph, node->inputs[0]);
    ir_chain_step step;
    *done = false;
    if (node->input_count != 1 || scan == NULL || (scan->op != IR_OP_cumsum && scan->op != IR_OP_cumprod) ||
        scan->attr_count != 3 || !passes_single_use(r, node->inputs[0]) || read_node(graph, node, &step) == 0) {
        return MTL_OK;
    }
    ir_attr attrs[6];
    size_t count = 0;
    for (uint32_t i = 0; i < 3; i++) {
        attrs[count++] = scan->attrs[i];
    }
    for (uint32_t i = 0; i < step.attr_count; i++) {
        attrs[count++] = step.attrs[i];
    }
    attrs[count++] = (ir_attr)IR_STRING(act, ir_op_table(node->op)->name);
    for (size_t i = 1; i < count; i++) { /* into the order of attrs.def */
        for (size_t j = i; j > 0 && by_key(&attrs[j - 1], &attrs[j]) > 0; j--) {
            ir_attr moved = attrs[j];
            attrs[j] = attrs[j - 1];
            attrs[j - 1] = moved;
        }
    }
    ir_node inner = ir_info(graph, node->inputs[0])->node;
    ir_value x = scan->inputs[0];
    *done = true;
    BASE_TRY(passes_take_sources(r, n, inner));
    BASE_TRY(passes_become(r, n, scan->op, &x, 1, attrs, count, NULL));
    passes_kill(r, inner, NULL);
    return MTL_OK;
}

static mtl_status look(passes_rewriter *r, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    bool done = false;
    if (!ir_op_is_float_function(node->op)) {
        return MTL_OK;
    }
    BASE_TRY(absorb_into_scan(r, n, &done));
    return done ? MTL_OK : form_chain(r, n);
}

mtl_status passes_form_lanes(ir_graph *graph, base_diag *diag)
{
    BASE_TRY(passes_infer_users(graph, diag));
    return passes_each(graph, diag, look);
}
