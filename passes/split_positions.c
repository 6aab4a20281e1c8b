/* A layer on every position of a sequence, whose columns compare the position with something that all positions share, becomes a
 * layer on what varies: the candidate of target attention (Zhou et al., Deep Interest Network, 2018) beside its user's behaviours.
 *
 *     %q1 = expand(%q)                             : f32[B, 50, 16]   with %q (B, 1, 16), %h (B, 50, 16)
 *     %d = sub(%q1, %h), %p = mul(%q1, %h)         : f32[B, 50, 16]
 *     %x = concat(%q1, %h, %d, %p) axis=2          : f32[B, 50, 64]
 *     %y = linear(%x, %w, %b) act="relu"           : f32[B, 50, 80]
 *
 * becomes, with w in four parts of 16 rows,
 *
 *     %s = linear(%q, w1 + w3) act=""              : f32[B, 1, 80]
 *     %z = concat(%h, %p) axis=2                   : f32[B, 50, 32]
 *     %y = linear(%z, [w2 - w3, w4], %b, %s)       : f32[B, 50, 80]
 *
 * A product with a sum is the sum of two products; what positions share is multiplied once, and columns that are there twice share
 * their weights. Then `split_request` finds that h is the user's. In graphs with users only, and where fewer columns are
 * left to be multiplied for each candidate and position.
 */
#include "passes/columns.h"
#include "passes/passes.h"

enum { MOST_TERMS = 64, MOST_DEPTH = 8 };

static const char fate[] = "what it compares is multiplied apart";

/* Columns of the layer that are `sign` times columns of `value`. */
typedef struct term {
    ir_value value;
    int64_t offset, width;
    int64_t first; /* column of the layer */
    double sign;
    bool shared; /* value has one position for all */
    int64_t at;  /* the first of its columns in the layer to be, for terms of its kind */
} term;

typedef struct terms {
    passes_rewriter *r;
    ir_type type; /* of what the layer reads */
    term *list;
    size_t count;
    bool fits;
    int64_t shared, users, candidates; /* columns to be */
} terms;

/* Whether `value` is (B, 1, .., 1, K), with the layer's candidates. */
static bool is_shared(const terms *t, ir_value value)
{
    const ir_type *type = ir_type_of(t->r->graph, value);
    bool shared = type->rank == t->type.rank && ir_dim_equal(type->dim[0], t->type.dim[0]);
    for (int i = 1; shared && i < type->rank - 1; i++) {
        shared = ir_dim_is(type->dim[i], 1);
    }
    return shared;
}

/* Whether it has the layer's positions. */
static bool is_full(const terms *t, ir_value value)
{
    const ir_type *type = ir_type_of(t->r->graph, value);
    bool full = type->rank == t->type.rank;
    for (int i = 0; full && i < type->rank - 1; i++) {
        full = ir_dim_equal(type->dim[i], t->type.dim[i]);
    }
    return full;
}

static void add_term(terms *t, term new_term)
{
    if (t->count == MOST_TERMS) {
        t->fits = false;
        return;
    }
    bool known = false;
    for (size_t i = 0; i < t->count && !known; i++) {
        const term *old = &t->list[i];
        known = old->value == new_term.value && old->offset == new_term.offset && old->width == new_term.width;
        new_term.at = known ? old->at : 0;
    }
    if (!known) {
        int64_t *columns = new_term.shared                                ? &t->shared
                           : passes_is_users(t->r->graph, new_term.value) ? &t->users
                                                                          : &t->candidates;
        new_term.at = new_term.shared ? t->shared : t->users + t->candidates;
        *columns += new_term.width;
    }
    t->list[t->count++] = new_term;
}

static bool has_columns(const terms *t, ir_value value, ir_value like)
{
    const ir_graph *graph = t->r->graph;
    const ir_type *type = ir_type_of(graph, value), *full = ir_type_of(graph, like);
    return !ir_is_const(graph, value) && type->rank == full->rank &&
           ir_dim_equal(type->dim[type->rank - 1], full->dim[full->rank - 1]) &&
           (is_full(t, value) || is_shared(t, value));
}

/* The value, of the layer's positions or shared, taken apart as far as sums and copies go. */
static void take_apart(terms *t, term whole, int depth)
{
    const ir_graph *graph = t->r->graph;
    whole.value = passes_resolve(t->r, whole.value);
    const ir_node_info *node = ir_producer(graph, whole.value);
    whole.shared = !is_full(t, whole.value);
    if (node != NULL && depth < MOST_DEPTH && !whole.shared && !passes_is_users(graph, whole.value)) {
        ir_value a = passes_resolve(t->r, node->inputs[0]);
        if (node->op == IR_OP_expand && node->input_count == 1 && has_columns(t, a, whole.value)) {
            whole.value = a;
            take_apart(t, whole, depth + 1);
            return;
        }
        ir_value b = node->input_count == 2 ? passes_resolve(t->r, node->inputs[1]) : 0;
        if ((node->op == IR_OP_add || node->op == IR_OP_sub) && has_columns(t, a, whole.value) &&
            has_columns(t, b, whole.value)) {
            term second = whole;
            whole.value = a;
            second.value = b;
            second.sign = node->op == IR_OP_sub ? -whole.sign : whole.sign;
            take_apart(t, whole, depth + 1);
            take_apart(t, second, depth + 1);
            return;
        }
    }
    add_term(t, whole);
}

/* The columns of one kind as a value, and their weights. */
static mtl_status insert_operand(terms *t, ir_node n, bool shared, ir_value *x, ir_value *w)
{
    passes_rewriter *r = t->r;
    const ir_value weights = ir_node_of(r->graph, n)->inputs[1];
    const ir_tensor *old = ir_info(r->graph, weights)->tensor;
    const int64_t columns = shared ? t->shared : t->users + t->candidates, outputs = old->shape[1];
    ir_tensor tensor = {
        .dtype = old->dtype, .rank = 2, .shape = {columns, outputs}, .count = (size_t)(columns * outputs)};
    double *numbers = BASE_NEW_ARRAY(r->graph->arena, double, tensor.count);
    BASE_TRY_MEMORY(numbers, r->diag);
    passes_columns picked = {.axis = t->type.rank - 1};
    int64_t end = 0;
    for (size_t i = 0; i < t->count; i++) {
        const term *part = &t->list[i];
        if (part->shared != shared) {
            continue;
        }
        for (int64_t j = 0; j < part->width * outputs; j++) {
            numbers[part->at * outputs + j] += part->sign * ir_tensor_at(old, (size_t)(part->first * outputs + j));
        }
        if (part->at == end) { /* the first of equal ones */
            bool users = passes_is_users(r->graph, part->value);
            BASE_TRY(passes_add_span(r, &picked, (passes_span){part->value, part->offset, part->width, users}));
            end += part->width;
        }
    }
    tensor.f = numbers;
    BASE_TRY(passes_add_const(r, ir_info(r->graph, weights)->name, &tensor, w));
    ir_type type = t->type;
    type.dim[type.rank - 1] = ir_dim_const(columns);
    return passes_join_columns(r, n, &picked, &type, x);
}

/* Nothing is left to be multiplied for each candidate and position: the users' sums and those of what positions share are
 * added up, and the activation follows. */
static mtl_status add_up(terms *t, ir_node n, ir_value *operands)
{
    passes_rewriter *r = t->r;
    const ir_attr none = IR_STRING(act, "");
    ir_value both[2] = {0, operands[3]}, sum;
    BASE_TRY(passes_insert(r, n, IR_OP_linear, NULL, operands, operands[2] != 0 ? 3 : 2, &none, 1, NULL, &both[0]));
    passes_set_users(r->graph, both[0], true);
    const char *act = ir_find_attr(ir_node_of(r->graph, n), IR_ATTR_act)->text;
    ir_op op = IR_OP_add;
    if (act[0] == '\0') {
        return passes_become(r, n, op, both, 2, NULL, 0, fate);
    }
    if (!ir_op_find(act, &op)) {
        return base_fail(r->diag, MTL_INTERNAL, "unknown activation '%s'", act);
    }
    BASE_TRY(passes_insert(r, n, IR_OP_add, NULL, both, 2, NULL, 0, NULL, &sum));
    passes_set_users(r->graph, sum, false);
    const ir_node_info *node = ir_node_of(r->graph, n);
    ir_attr attrs[IR_ATTR_COUNT];
    size_t count = 0;
    for (uint32_t i = 0; i < node->attr_count; i++) {
        attrs[count] = node->attrs[i];
        count += node->attrs[i].key != IR_ATTR_act;
    }
    return passes_become(r, n, op, &sum, 1, attrs, count, fate);
}

static mtl_status split(terms *t, ir_node n)
{
    passes_rewriter *r = t->r;
    ir_value shared[2] = {0}, operands[4] = {0, 0, ir_operand(ir_node_of(r->graph, n), 2), 0};
    uint32_t count = operands[2] != 0 ? 3 : 2;
    if (t->shared > 0) {
        const ir_attr act = IR_STRING(act, "");
        BASE_TRY(insert_operand(t, n, true, &shared[0], &shared[1]));
        BASE_TRY(passes_insert(r, n, IR_OP_linear, NULL, shared, 2, &act, 1, NULL, &operands[3]));
        passes_set_users(r->graph, operands[3], passes_is_users(r->graph, shared[0]));
        count = 4;
    }
    BASE_TRY(insert_operand(t, n, false, &operands[0], &operands[1]));
    if (t->candidates == 0) {
        return add_up(t, n, operands);
    }
    return passes_set_inputs(r, n, operands, count, fate);
}

static mtl_status visit(passes_rewriter *r, passes_columns *columns, ir_node n)
{
    const ir_node_info *node = ir_node_of(r->graph, n);
    if (node->op != IR_OP_linear || ir_operand(node, 3) != 0) {
        return MTL_OK;
    }
    const ir_value x = node->inputs[0];
    const ir_rate *rate = &ir_info(r->graph, x)->rate;
    terms t = {.r = r, .type = *ir_type_of(r->graph, x), .fits = true};
    if (t.type.rank < 3 || ir_type_of(r->graph, node->inputs[1])->rank != 2 || rate->kind != IR_RATE_ROW ||
        rate->axis != 0 || rate->per_user || !ir_dtype_is_float(t.type.dtype)) {
        return MTL_OK;
    }
    term list[MOST_TERMS];
    t.list = list;
    BASE_TRY(passes_find_axis_columns(r, x, t.type.rank - 1, columns));
    int64_t first = 0;
    for (size_t i = 0; i < columns->count; i++) {
        const passes_span *span = &columns->spans[i];
        take_apart(&t,
                   (term){.value = span->root, .offset = span->offset, .width = span->width, .first = first, .sign = 1},
                   0);
        first += span->width;
    }
    bool fewer = t.candidates < columns->candidates && t.users + t.candidates > 0;
    t.fits = t.fits && (t.candidates > 0 || ir_find_attr(node, IR_ATTR_act_columns) == NULL);
    return t.fits && fewer ? split(&t, n) : MTL_OK;
}

mtl_status passes_split_positions(ir_graph *graph, base_diag *diag)
{
    if (!ir_has_users(graph)) {
        return MTL_OK;
    }
    passes_rewriter r;
    passes_columns columns = {.count = 0};
    BASE_TRY(ir_infer_rates(graph, diag));
    BASE_TRY(passes_begin(graph, diag, &r));
    for (ir_node n = graph->first_node, next; n != 0; n = next) {
        passes_visit(&r, n);
        next = ir_node_of(graph, n)->next;
        mtl_status status = visit(&r, &columns, n);
        if (status != MTL_OK) {
            return passes_abandon(&r, status);
        }
    }
    return passes_end(&r);
}
