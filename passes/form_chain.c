/* Running sums over tasks become one cumsum, running products one cumprod.
 *
 *     %s2 = add(%a1, %a2)                         : f32[B, 1]
 *     %s3 = add(%s2, %a3)                         : f32[B, 1]
 *
 * with other readers of %s2 becomes
 *
 *     %x = concat(%a1, %a2, %a3) axis=1           : f32[B, 3]
 *     %c = cumsum(%x) axis=1 exclusive=0 reverse=0 : f32[B, 3]
 *     %p = slice(%c) starts=[0, 1] steps=[1, 1]   : f32[B, 1]
 *     %q = slice(%c) starts=[0, 2] steps=[1, 1]   : f32[B, 1]
 *
 * with %p for %s2 and %q for %s3; of wider values, (B, H), along axis 1 of (B, T, H). The order of the additions is the one
 * that was written. The two never mix: a chain of additions is no chain of multiplications, whatever follows or precedes.
 *
 * Two values are a chain only when they are columns that stand side by side already: concat and cumprod shall not
 * replace the one multiplication of a click and a conversion. Where one value has two successors, the first is the chain's
 * and the other begins a chain of its own. No chain: a term that needs a partial sum, as in residual blocks; constants; terms
 * that are there twice; products of wide values; the second of two chains whose terms need partial sums of each other.
 *
 * Of three and more terms whose partial sums nobody reads, and which are results of layers or lie in one value, the sum is
 *
 *     %s = reduce_sum(%x) axes=[1] keepdims=0     : f32[B, H]
 */
#include <string.h>

#include "passes/passes.h"
#include "passes/strip.h"
#include "passes/sums.h"

static const char fate[] = "part of a chain over tasks";

enum { MAX_CHAIN = 256, MAX_VISITS = 1 << 24 };

/* What is known of a node that is a link: value = previous partial result (op) element. */
typedef struct link {
    ir_node first, previous, next; /* links of its chain; itself, 0 and 0 where there is no other */
    ir_value start, element;       /* what the first one begins with; what this one adds */
    uint32_t count;                /* of the links up to here */
} link;

typedef struct chains {
    passes_rewriter *r;
    link *links;        /* by node */
    uint32_t *position; /* by node */
    uint32_t *seen;     /* by node: the last search that came by */
    ir_node *stack;
    uint32_t search, node_count;
    uint32_t capacity; /* of seen and stack: scans add nodes */
    size_t visits;     /* left to all searches: a graph made to be slow has fewer chains */
} chains;

static int64_t width_of(const ir_type *type)
{
    return type->dim[type->rank - 1].c;
}

/* (B, H), with axes of extent 1 between the two or without. */
static bool is_link_type(const ir_type *type)
{
    bool fits = type->rank >= 2 && ir_dtype_is_float(type->dtype) && !ir_dim_is_const(type->dim[0]) &&
                ir_dim_is_const(type->dim[type->rank - 1]) && width_of(type) >= 1;
    for (int axis = 1; axis < type->rank - 1 && fits; axis++) {
        fits = ir_dim_is(type->dim[axis], 1);
    }
    return fits;
}

/* Whether `value` needs a result of the chain that begins with `first`. */
static bool depends_on(chains *c, ir_value value, ir_node first)
{
    const ir_graph *graph = c->r->graph;
    size_t depth = 0;
    ir_node start = ir_info(graph, value)->node;
    c->search++;
    if (start != 0 && c->position[start] >= c->position[first]) {
        c->stack[depth++] = start;
        c->seen[start] = c->search;
    }
    while (depth > 0) {
        ir_node n = c->stack[--depth];
        const ir_node_info *node = ir_node_of(graph, n);
        if (c->links[n].first == first || c->visits == 0) {
            return true;
        }
        c->visits--;
        for (uint32_t i = 0; i < node->input_count; i++) {
            ir_node maker = node->inputs[i] != 0 ? ir_info(graph, node->inputs[i])->node : 0;
            if (maker != 0 && c->seen[maker] != c->search && c->position[maker] >= c->position[first]) {
                c->seen[maker] = c->search;
                c->stack[depth++] = maker;
            }
        }
    }
    return false;
}

static mtl_status grow(chains *c)
{
    uint32_t count = c->r->graph->node_count;
    if (count <= c->capacity) {
        return MTL_OK;
    }
    c->capacity = count < UINT32_MAX / 2 ? 2 * count : UINT32_MAX;
    c->seen = BASE_NEW_ARRAY(&c->r->scratch, uint32_t, c->capacity);
    c->stack = BASE_NEW_ARRAY(&c->r->scratch, ir_node, c->capacity);
    BASE_TRY_MEMORY(c->seen, c->r->diag);
    BASE_TRY_MEMORY(c->stack, c->r->diag);
    c->search = 0;
    return MTL_OK;
}

/* Whether one of the values needs `goal`, or a link of the chain that begins with `first`, in the graph as it is by now:
 * of two chains that need partial results of each other, only one can be a scan, which needs all its terms at once. */
static mtl_status needs(chains *c, const ir_value *values, size_t count, ir_node first, ir_node goal, bool *found)
{
    const ir_graph *graph = c->r->graph;
    size_t depth = 0, next = 0;
    BASE_TRY(grow(c));
    c->search++;
    *found = false;
    while (!*found && (depth > 0 || next < count)) {
        ir_node n = depth > 0 ? c->stack[--depth] : ir_info(graph, passes_resolve(c->r, values[next++]))->node;
        if (n == 0) {
            continue;
        }
        *found = n == goal || (first != 0 && n < c->node_count && c->links[n].first == first) || c->visits == 0;
        c->visits -= c->visits > 0;
        const ir_node_info *node = ir_node_of(graph, n);
        for (uint32_t i = 0; i < node->input_count; i++) {
            ir_value operand = node->inputs[i] != 0 ? passes_resolve(c->r, node->inputs[i]) : 0;
            ir_node maker = operand != 0 ? ir_info(graph, operand)->node : 0;
            if (maker != 0 && c->seen[maker] != c->search) {
                c->seen[maker] = c->search;
                c->stack[depth++] = maker;
            }
        }
    }
    return MTL_OK;
}

/* Operand k of `n` is the last partial result of a chain that the other operand can continue. */
static bool continues(chains *c, ir_node n, uint32_t k)
{
    const ir_graph *graph = c->r->graph;
    const ir_node_info *node = ir_node_of(graph, n);
    const ir_node_info *before = ir_producer_op(graph, node->inputs[k], node->op);
    if (before == NULL) {
        return false;
    }
    ir_node previous = ir_info(graph, node->inputs[k])->node;
    const link *last = &c->links[previous];
    return last->first != 0 && last->next == 0 && last->count < MAX_CHAIN - 1 &&
           !depends_on(c, node->inputs[1 - k], last->first);
}

static void read_link(chains *c, ir_node n)
{
    const ir_graph *graph = c->r->graph;
    const ir_node_info *node = ir_node_of(graph, n);
    const ir_type *type = ir_type_of(graph, node->outputs[0]);
    for (uint32_t i = 0; i < 2; i++) {
        if (ir_is_const(graph, node->inputs[i]) || !ir_type_equal(ir_type_of(graph, node->inputs[i]), type)) {
            return;
        }
    }
    for (uint32_t k = 0; k < 2; k++) {
        if (continues(c, n, k)) {
            ir_node previous = ir_info(graph, node->inputs[k])->node;
            c->links[n] = c->links[previous];
            c->links[n].previous = previous;
            c->links[n].element = node->inputs[1 - k];
            c->links[n].count++;
            c->links[previous].next = n;
            return;
        }
    }
    /* What is read elsewhere too is the first task's: of two it makes no difference to the numbers. */
    bool second = c->r->uses[node->inputs[1]] > 1 && c->r->uses[node->inputs[0]] == 1;
    c->links[n] = (link){.first = n, .start = node->inputs[second], .element = node->inputs[!second], .count = 1};
}

static mtl_status find_chains(chains *c)
{
    const ir_graph *graph = c->r->graph;
    c->node_count = c->capacity = graph->node_count;
    c->visits = MAX_VISITS;
    c->links = BASE_NEW_ARRAY(&c->r->scratch, link, c->node_count);
    c->position = BASE_NEW_ARRAY(&c->r->scratch, uint32_t, c->node_count);
    c->seen = BASE_NEW_ARRAY(&c->r->scratch, uint32_t, c->node_count);
    c->stack = BASE_NEW_ARRAY(&c->r->scratch, ir_node, c->node_count);
    BASE_TRY_MEMORY(c->links, c->r->diag);
    BASE_TRY_MEMORY(c->position, c->r->diag);
    BASE_TRY_MEMORY(c->seen, c->r->diag);
    BASE_TRY_MEMORY(c->stack, c->r->diag);
    uint32_t position = 0;
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        c->position[n] = position++;
        if ((node->op == IR_OP_add || node->op == IR_OP_mul) && is_link_type(ir_type_of(graph, node->outputs[0]))) {
            read_link(c, n);
        }
    }
    return MTL_OK;
}

/* --- one chain ----------------------------------------------------------------------------------------------- */

static void make_strips(const ir_graph *graph, const ir_value *values, size_t count, passes_strip *strips)
{
    for (size_t i = 0; i < count; i++) {
        const ir_type *type = ir_type_of(graph, values[i]);
        int64_t width = width_of(type);
        strips[i] =
            (passes_strip){.value = values[i], .row = 0, .column = width > 1 ? type->rank - 1 : -1, .length = width};
        passes_trace_strip(graph, &strips[i]);
    }
}

/* (B, T, H), or (B, T) of single columns. */
static mtl_status insert_stack(passes_rewriter *r, ir_node before, const passes_strip *strips, size_t count,
                               ir_value *stack)
{
    int64_t terms = (int64_t)count, width = strips[0].length;
    return width > 1 ? passes_join_strips(r, before, strips, count, terms, width, stack)
                     : passes_join_strips(r, before, strips, count, 0, terms, stack);
}

/* What the chain begins with is element 0 of the scan for its other readers too, so that the layers that read partial
 * results find all of them side by side. The layer that computes it becomes another node, which only the stack reads. */
static mtl_status detach_start(chains *c, const ir_value *elements, size_t count, passes_strip *strip, bool *detached)
{
    passes_rewriter *r = c->r;
    ir_value start = elements[0];
    const ir_node_info *layer = ir_producer(r->graph, start);
    bool direct = strip->value == start, needed = true;
    *detached = r->uses[start] > 1 && layer != NULL && (!direct || layer->op == IR_OP_linear);
    if (*detached) {
        BASE_TRY(needs(c, elements + 1, count - 1, 0, ir_info(r->graph, start)->node, &needed));
        *detached = !needed; /* a residual block: what it adds is computed from the start */
    }
    if (!*detached || !direct) {
        return MTL_OK;
    }
    layer = ir_producer(r->graph, start);
    return passes_insert(r, ir_info(r->graph, start)->node, IR_OP_linear, NULL, layer->inputs, layer->input_count,
                         layer->attrs, layer->attr_count, NULL, &strip->value);
}

/* The partial results: elements 1 and further of the scan, in place of the links; element 0 in place of `start`, if that
 * is not 0. */
static mtl_status replace_links(passes_rewriter *r, const ir_node *links, size_t count, ir_value scan, int64_t width,
                                ir_value start)
{
    ir_type flat = *ir_type_of(r->graph, scan);
    flat.rank = 2;
    flat.dim[1] = ir_dim_const(width * (int64_t)(count + 1));
    if (width > 1) {
        ir_value x = scan;
        BASE_TRY(passes_insert(r, links[0], IR_OP_reshape, NULL, &x, 1, NULL, 0, &flat, &scan));
    }
    flat.dim[1] = ir_dim_const(width);
    ir_attr attrs[2] = {IR_INTS(starts, ((int64_t[]){0, 0}), 2), IR_INTS(steps, ((int64_t[]){1, 1}), 2)};
    ir_value part, first = 0;
    if (start != 0) {
        ir_type type = *ir_type_of(r->graph, start);
        BASE_TRY(passes_insert(r, links[0], IR_OP_slice, NULL, &scan, 1, attrs, 2, &flat, &part));
        BASE_TRY(passes_insert(r, links[0], IR_OP_reshape, NULL, &part, 1, NULL, 0, &type, &first));
    }
    for (size_t i = 0; i < count; i++) {
        attrs[0] = (ir_attr)IR_INTS(starts, ((int64_t[]){0, width * (int64_t)(i + 1)}), 2);
        BASE_TRY(passes_insert(r, links[i], IR_OP_slice, NULL, &scan, 1, attrs, 2, &flat, &part));
        BASE_TRY(passes_become(r, links[i], IR_OP_reshape, &part, 1, NULL, 0, fate));
    }
    if (start != 0) { /* now that the links read it no more */
        passes_substitute(r, start, first, fate);
    }
    return MTL_OK;
}

static mtl_status form_scan(chains *c, const ir_node *links, size_t count, const ir_value *elements,
                            passes_strip *strips)
{
    passes_rewriter *r = c->r;
    bool detached;
    BASE_TRY(detach_start(c, elements, count + 1, &strips[0], &detached));
    ir_op op = ir_node_of(r->graph, links[0])->op == IR_OP_add ? IR_OP_cumsum : IR_OP_cumprod;
    ir_attr attrs[3] = {IR_INT(axis, 1), IR_INT(exclusive, 0), IR_INT(reverse, 0)};
    ir_value stack, scan;
    BASE_TRY(insert_stack(r, links[0], strips, count + 1, &stack));
    BASE_TRY(passes_insert(r, links[0], op, NULL, &stack, 1, attrs, 3, NULL, &scan));
    for (size_t i = 1; i < count; i++) {
        BASE_TRY(passes_take_sources(r, ir_info(r->graph, scan)->node, links[i]));
    }
    return replace_links(r, links, count, scan, strips[0].length, detached ? elements[0] : 0);
}

/* Partial results, the last one apart, that are read by more than the next link. */
static size_t count_read(const passes_rewriter *r, const ir_node *links, size_t count)
{
    size_t read = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        read += r->uses[ir_node_of(r->graph, links[i])->outputs[0]] > 1;
    }
    return read;
}

/* Terms that lie side by side already; or three and more, of which wide ones are computed and not somebody's memory: what
 * computes them can do so in place. Products are of probabilities, a column each. Nothing is a term twice. */
static bool is_worth_it(const ir_graph *graph, ir_op op, const ir_value *elements, const passes_strip *strips,
                        size_t count)
{
    bool computed = count > 2;
    for (size_t i = 0; i < count; i++) {
        if (op == IR_OP_mul && strips[i].length > 1) {
            return false;
        }
        for (size_t k = 0; k < i; k++) {
            if (elements[k] == elements[i]) {
                return false;
            }
        }
        computed = computed && (strips[i].length == 1 || ir_producer(graph, strips[i].value) != NULL);
    }
    return computed || passes_strips_are_joined(graph, strips, count);
}

/* `last` is the last link of its chain. */
static mtl_status form_chain(chains *c, ir_node last, bool *formed)
{
    passes_rewriter *r = c->r;
    ir_node links[MAX_CHAIN];
    ir_value elements[MAX_CHAIN];
    passes_strip strips[MAX_CHAIN];
    size_t count = c->links[last].count;
    ir_node n = last;
    for (size_t i = count; i-- > 0; n = c->links[n].previous) {
        links[i] = n;
        elements[i + 1] = c->links[n].element;
    }
    elements[0] = c->links[last].start;
    bool pair = count == 1 && r->uses[elements[0]] > 1 && width_of(ir_type_of(r->graph, elements[0])) == 1;
    if (!pair && count_read(r, links, count) == 0) {
        return MTL_OK;
    }
    make_strips(r->graph, elements, count + 1, strips);
    if (!is_worth_it(r->graph, ir_node_of(r->graph, last)->op, elements, strips, count + 1)) {
        return MTL_OK;
    }
    bool needed;
    BASE_TRY(needs(c, elements, count + 1, c->links[last].first, 0, &needed));
    if (needed) {
        return MTL_OK;
    }
    *formed = true;
    return form_scan(c, links, count, elements, strips);
}

/* --- the last sum -------------------------------------------------------------------------------------------- */

static bool is_of_layer(const ir_graph *graph, const passes_strip *strip)
{
    const ir_node_info *node = ir_producer(graph, strip->value);
    return node != NULL && (node->op == IR_OP_linear || node->op == IR_OP_mix);
}

static mtl_status form_last_sum(passes_rewriter *r, const passes_sums *sums, ir_node n)
{
    ir_value terms[PASSES_SUM_TERMS];
    passes_strip strips[PASSES_SUM_TERMS];
    const ir_type *type = ir_type_of(r->graph, ir_node_of(r->graph, n)->outputs[0]);
    size_t count = is_link_type(type) ? passes_flatten_sum(r, sums, n, terms) : 0;
    bool fits = count >= 3;
    for (size_t i = 0; i < count && fits; i++) {
        fits = !ir_is_const(r->graph, terms[i]) && ir_type_equal(ir_type_of(r->graph, terms[i]), type);
    }
    if (!fits) {
        return MTL_OK;
    }
    make_strips(r->graph, terms, count, strips);
    for (size_t i = 0; i < count && fits; i++) {
        fits = is_of_layer(r->graph, &strips[i]);
    }
    if (!fits && !passes_strips_are_joined(r->graph, strips, count)) {
        return MTL_OK;
    }
    ir_value stack;
    BASE_TRY(passes_join_strips(r, n, strips, count, (int64_t)count, strips[0].length, &stack));
    const int64_t *axis = base_arena_copy(r->graph->arena, (int64_t[]){1}, sizeof *axis);
    BASE_TRY_MEMORY(axis, r->diag);
    ir_attr attrs[2] = {IR_INTS(axes, axis, 1), IR_INT(keepdims, 0)};
    return passes_become(r, n, IR_OP_reduce_sum, &stack, 1, attrs, 2, fate);
}

/* --- the pass ------------------------------------------------------------------------------------------------ */

static mtl_status form_chains(passes_rewriter *r, bool *formed)
{
    chains c = {.r = r};
    BASE_TRY(find_chains(&c));
    for (ir_node n = r->graph->first_node; n != 0; n = ir_node_of(r->graph, n)->next) {
        if (n < c.node_count && c.links[n].first != 0 && c.links[n].next == 0) {
            BASE_TRY(form_chain(&c, n, formed));
        }
    }
    return MTL_OK;
}

static mtl_status look(passes_rewriter *r, const passes_sums *sums, ir_node n)
{
    return ir_node_of(r->graph, n)->op == IR_OP_add ? form_last_sum(r, sums, n) : MTL_OK;
}

mtl_status passes_form_chain(ir_graph *graph, base_diag *diag)
{
    passes_rewriter r;
    bool formed = false;
    BASE_TRY(passes_begin(graph, diag, &r));
    mtl_status status = form_chains(&r, &formed);
    BASE_TRY(status == MTL_OK ? passes_end(&r) : passes_abandon(&r, status));
    if (formed) { /* readers of a partial result can stand above what the chain ends with */
        BASE_TRY(ir_sort(graph, diag));
    }
    return passes_each_sum(graph, diag, look);
}
