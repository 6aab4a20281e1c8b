/* Rows that are looked up only to be added up, averaged or compared become a bag: nothing of (B, L, K) is left.
 *
 *     %rows = gather(%table, %ids) axis=0             : f32[B, 5, 8]      with ids (B, 5)
 *     %is = equal(%ids, 0), %some = not(%is), %m = reshape(cast(%some)) : f32[B, 5, 1]
 *     %kept = mul(%rows, %m)                          : f32[B, 5, 8]
 *     %sum = reduce_sum(%kept) axes=[1] keepdims=0    : f32[B, 8]
 *     %n = reduce_sum(%m) axes=[1] keepdims=0         : f32[B, 1]
 *     %at_least = clip(%n) low=1                      : f32[B, 1]
 *     %y = div(%sum, %at_least)                       : f32[B, 8]
 *
 * becomes
 *
 *     %y = bag(%table, %ids) function="mean" padding=[0, 0] low=1 : f32[B, 8]
 *
 * What lies between lookup and reduction may be any arithmetic of the rows, numbers and one mask (passes/bag.h) that
 * leaves a row as it is where the mask is set, and, elsewhere, makes zeros of it for a sum, or a number for a maximum. A mask
 * that is no comparison of the ids, a length's, becomes the weights of the bag, as do weights that a sum or a product of
 * matrices, (B, 1, L) by (B, L, K), has. A mean may count the ids that are kept where the table's row of padding is zeros.
 * Only where all readers of the lookup are such: else its rows are there anyway.
 */
#include <math.h>
#include <string.h>

#include "passes/bag.h"
#include "passes/passes.h"

static const char fate[] = "part of a bag of embeddings";

/* A reduction over rows that a lookup gives. */
typedef struct match {
    ir_value rows;    /* the gather's result */
    passes_mask mask; /* value 0: none */
    bool kept_if_set; /* the rows that are kept; without a mask all are */
    double fill;      /* max: instead of others */
    ir_value weights; /* float, of the ids' axes, with or without others of extent 1; 0: none */
    bool mean, max;
} match;

typedef struct former {
    passes_rewriter r;
    uint32_t capacity; /* of the arrays: values that were there at the beginning */
    uint32_t *found;   /* by gather's result: readers that become bags */
    uint32_t *readers; /* by value: at the beginning */
} former;

/* --- what is there ------------------------------------------------------------------------------------------- */

/* Whether x - 1e9 and the like, of every number x of a constant table's row, is one float32: then it is that number. */
static bool swallows(const ir_graph *graph, ir_value table, int64_t row, double number, double *fill)
{
    const ir_value_info *info = ir_info(graph, table);
    int64_t rows = info->type.dim[0].c, width = info->type.dim[1].c;
    if (info->kind != IR_VALUE_CONST || row < 0 || row >= rows || width == 0) {
        return false;
    }
    *fill = (double)(float)number;
    for (int64_t k = 0; k < width; k++) {
        double x = ir_tensor_at(info->tensor, (size_t)(row * width + k));
        if ((float)(x + number) != (float)number) {
            return false;
        }
    }
    return true;
}

static ir_value ids_of(const ir_graph *graph, ir_value rows)
{
    return passes_plain_ids(graph, ir_producer(graph, rows)->inputs[1]);
}

/* Which rows a term keeps, and what it makes of the others. */
static bool read_kept(const ir_graph *graph, const passes_term *term, match *m)
{
    const double *set = term->set, *clear = term->clear;
    m->mask = term->mask;
    if (term->mask.value == 0) {
        return set[0] == 1 && set[1] == 0;
    }
    m->kept_if_set = set[0] == 1 && set[1] == 0;
    const double *kept = m->kept_if_set ? set : clear, *others = m->kept_if_set ? clear : set;
    if (kept[0] != 1 || kept[1] != 0) {
        return false;
    }
    m->fill = others[1];
    if (others[0] == 0) {
        return m->max || others[1] == 0;
    }
    return m->max && others[0] == 1 && m->kept_if_set && m->mask.ids == ids_of(graph, m->rows) &&
           m->mask.first == m->mask.last &&
           swallows(graph, ir_producer(graph, m->rows)->inputs[0], m->mask.first, others[1], &m->fill);
}

/* `a` is rows alone and `b` a number for each id. */
static bool is_weighted(const former *f, ir_value a, ir_value b, match *m)
{
    const ir_graph *graph = f->r.graph;
    const ir_type *rows = ir_type_of(graph, a), *weights = ir_type_of(graph, b);
    bool per_id = weights->rank == rows->rank && ir_dim_is(weights->dim[rows->rank - 1], 1);
    for (int32_t axis = 0; axis < rows->rank - 1 && per_id; axis++) {
        per_id = ir_dim_equal(rows->dim[axis], weights->dim[axis]);
    }
    if (!per_id || !passes_is_lookup(graph, a)) {
        return false;
    }
    m->rows = a;
    m->weights = b;
    return true;
}

/* Whether the ids themselves say which are left out: *padding. */
static bool find_padding(const former *f, const match *m, int64_t *padding)
{
    if (m->mask.value == 0 || m->mask.ids != ids_of(f->r.graph, m->rows)) {
        return false;
    }
    padding[0] = m->mask.first;
    padding[1] = m->mask.last;
    if (m->kept_if_set) {
        return true;
    }
    /* Kept are those within: the others are one run only when it reaches an end. */
    if (m->mask.first == INT64_MIN && m->mask.last < INT64_MAX) {
        padding[0] = m->mask.last + 1;
        padding[1] = INT64_MAX;
        return true;
    }
    return false;
}

static bool match_reduction(const former *f, const ir_node_info *node, match *m)
{
    const ir_graph *graph = f->r.graph;
    const ir_type *type = ir_type_of(graph, node->inputs[0]);
    const ir_attr *axes = ir_find_attr(node, IR_ATTR_axes);
    if (type->dtype != MTL_F32 || type->rank < 2 || axes->count != 1 || axes->ints[0] != type->rank - 2 ||
        !ir_dim_is_const(type->dim[type->rank - 2]) || ir_dim_is(type->dim[type->rank - 2], 0)) {
        return false;
    }
    passes_rows rows = {.type = *type};
    passes_term term;
    bool alone = passes_is_lookup(graph, node->inputs[0]) || passes_single_use(&f->r, node->inputs[0]);
    *m = (match){.mean = node->op == IR_OP_reduce_mean, .max = node->op == IR_OP_reduce_max};
    if (alone && passes_find_term(&f->r, node->inputs[0], &rows, &term) && rows.rows != 0) {
        int64_t padding[2];
        m->rows = rows.rows;
        return read_kept(graph, &term, m) && /* a mean has no weights */
               (!m->mean || m->mask.value == 0 || find_padding(f, m, padding));
    }
    const ir_node_info *mul = ir_producer_op(graph, node->inputs[0], IR_OP_mul);
    return alone && mul != NULL && !m->max && !m->mean &&
           (is_weighted(f, mul->inputs[0], mul->inputs[1], m) || is_weighted(f, mul->inputs[1], mul->inputs[0], m));
}

/* (.., 1, L) by (.., L, K). */
static bool match_product(const former *f, const ir_node_info *node, match *m)
{
    const ir_graph *graph = f->r.graph;
    const ir_type *a = ir_type_of(graph, node->inputs[0]), *rows = ir_type_of(graph, node->inputs[1]);
    bool fits = a->rank == rows->rank && rows->rank >= 3 && ir_dim_is(a->dim[a->rank - 2], 1) &&
                ir_dim_is_const(rows->dim[rows->rank - 2]) && passes_is_lookup(graph, node->inputs[1]);
    for (int32_t axis = 0; axis < rows->rank - 2 && fits; axis++) {
        fits = ir_dim_equal(a->dim[axis], rows->dim[axis]);
    }
    *m = (match){.rows = node->inputs[1], .weights = node->inputs[0]};
    return fits;
}

static bool find_match(const former *f, ir_node n, match *m)
{
    const ir_node_info *node = ir_node_of(f->r.graph, n);
    switch (node->op) {
    case IR_OP_reduce_sum:
    case IR_OP_reduce_mean:
    case IR_OP_reduce_max: return match_reduction(f, node, m);
    case IR_OP_matmul: return match_product(f, node, m);
    default: return false;
    }
}

/* --- forming ------------------------------------------------------------------------------------------------- */

/* A value of the ids' axes from one with others of extent 1. */
static mtl_status with_ids_type(former *f, ir_node before, ir_value ids, ir_value *value)
{
    ir_type type = *ir_type_of(f->r.graph, ids);
    type.dtype = ir_type_of(f->r.graph, *value)->dtype;
    if (ir_type_equal(&type, ir_type_of(f->r.graph, *value))) {
        return MTL_OK;
    }
    return passes_insert(&f->r, before, IR_OP_reshape, NULL, value, 1, NULL, 0, &type, value);
}

/* The mask as weights: 1 for what is kept. */
static mtl_status mask_weights(former *f, ir_node before, ir_value ids, const match *m, ir_value *weights)
{
    *weights = m->mask.value;
    if (m->kept_if_set == m->mask.inverted) {
        BASE_TRY(passes_insert(&f->r, before, IR_OP_not, NULL, weights, 1, NULL, 0, NULL, weights));
    }
    BASE_TRY(passes_insert(&f->r, before, IR_OP_cast, NULL, weights, 1, (ir_attr[]){IR_DTYPE(to, MTL_F32)}, 1, NULL,
                           weights));
    return with_ids_type(f, before, ids, weights);
}

/* What a bag computes beside its operands. */
typedef struct bag_kind {
    const char *function;
    double epsilon, low;
    const int64_t *padding; /* NULL: none */
    const double *fill;     /* NULL: none */
} bag_kind;

enum { MOST_ATTRS = 9 };

/* Attributes in the order of attrs.def; the policy for ids outside of the table is that of `lookup`. */
static size_t bag_attrs(const bag_kind *kind, const ir_node_info *lookup, ir_attr *attrs)
{
    static const ir_attr_key policy[] = {IR_ATTR_policy, IR_ATTR_row, IR_ATTR_input, IR_ATTR_table};
    size_t count = 0;
    if (kind->epsilon != 0) {
        attrs[count++] = (ir_attr)IR_FLOAT(epsilon, kind->epsilon);
    }
    if (kind->low != 0) {
        attrs[count++] = (ir_attr)IR_FLOAT(low, kind->low);
    }
    attrs[count++] = (ir_attr)IR_STRING(function, kind->function);
    if (kind->padding != NULL) {
        attrs[count++] = (ir_attr)IR_INTS(padding, kind->padding, 2);
    }
    if (kind->fill != NULL) {
        attrs[count++] = (ir_attr)IR_FLOAT(fill, *kind->fill);
    }
    for (size_t i = 0; i < sizeof policy / sizeof policy[0]; i++) {
        const ir_attr *attr = ir_find_attr(lookup, policy[i]);
        if (attr != NULL) {
            attrs[count++] = *attr;
        }
    }
    return count;
}

static mtl_status form(former *f, ir_node n, const match *m)
{
    passes_rewriter *r = &f->r;
    ir_node lookup = ir_info(r->graph, m->rows)->node;
    ir_node_info gather = *ir_node_of(r->graph, lookup);
    ir_type result = *ir_type_of(r->graph, ir_node_of(r->graph, n)->outputs[0]);
    ir_type type = *ir_type_of(r->graph, gather.inputs[1]);
    ir_value inputs[3] = {gather.inputs[0], gather.inputs[1], m->weights};
    int64_t *padding = BASE_NEW_ARRAY(r->graph->arena, int64_t, 2);
    BASE_TRY_MEMORY(padding, r->diag);
    bool padded = find_padding(f, m, padding);
    if (m->mask.value != 0 && !padded) {
        BASE_TRY(mask_weights(f, n, gather.inputs[1], m, &inputs[2]));
    } else if (inputs[2] != 0) {
        BASE_TRY(with_ids_type(f, n, gather.inputs[1], &inputs[2]));
    }
    bag_kind kind = {.function = m->mean  ? "mean"
                                 : m->max ? "max"
                                          : "sum",
                     .padding = padded ? padding : NULL,
                     .fill = m->max && m->mask.value != 0 ? &m->fill : NULL};
    if (m->mean) { /* over all of them, whatever is left out */
        kind.low = (double)type.dim[type.rank - 1].c;
    }
    ir_attr attrs[MOST_ATTRS];
    size_t attr_count = bag_attrs(&kind, &gather, attrs);
    uint32_t input_count = inputs[2] != 0 ? 3 : 2;
    BASE_TRY(passes_take_sources(r, n, lookup));
    type.dtype = result.dtype;
    type.dim[type.rank - 1] = ir_type_of(r->graph, gather.inputs[0])->dim[1];
    if (ir_type_equal(&type, &result)) {
        return passes_become(r, n, IR_OP_bag, inputs, input_count, attrs, attr_count, fate);
    }
    ir_value bag;
    BASE_TRY(passes_insert(r, n, IR_OP_bag, NULL, inputs, input_count, attrs, attr_count, NULL, &bag));
    r->graph->nodes[n].source_count = 0; /* --explain names the bag */
    return passes_become(r, n, IR_OP_reshape, &bag, 1, NULL, 0, fate);
}

/* --- means --------------------------------------------------------------------------------------------------- */

/* max(count + epsilon, low), where count is how often a mask of ids is set. */
typedef struct divisor {
    passes_mask mask;
    double epsilon, low;
} divisor;

/* The sum of a mask over the last axis of `ids`. */
static bool read_count(const former *f, const ir_node_info *sum, ir_value ids, divisor *d)
{
    const ir_graph *graph = f->r.graph;
    const ir_attr *axes = ir_find_attr(sum, IR_ATTR_axes);
    passes_rows rows = {.type = *ir_type_of(graph, ids)};
    const ir_type *type = ir_type_of(graph, sum->inputs[0]);
    passes_term term;
    if (rows.type.rank == MTL_MAX_RANK || axes->count != 1 || axes->ints[0] != rows.type.rank - 1) {
        return false;
    }
    rows.type.dim[rows.type.rank] = type->rank > rows.type.rank ? type->dim[rows.type.rank] : ir_dim_const(1);
    rows.type.rank++;
    if (!passes_find_term(&f->r, sum->inputs[0], &rows, &term) || rows.rows != 0 || !passes_is_mask(&term)) {
        return false;
    }
    d->mask = term.mask;
    return true;
}

/* One step from the divisor to the count: *value becomes its operand. */
static bool read_divisor_step(const former *f, const ir_node_info *node, ir_value *value, divisor *d)
{
    const ir_graph *graph = f->r.graph;
    double number;
    switch (node->op) {
    case IR_OP_cast:
    case IR_OP_identity:
    case IR_OP_reshape:
    case IR_OP_expand: break;
    case IR_OP_clip:
        d->low = fmax(d->low, ir_attr_float(node, IR_ATTR_low) + d->epsilon);
        if (!(ir_attr_float(node, IR_ATTR_high) >= 0x1p31)) {
            return false;
        }
        break;
    case IR_OP_max:
    case IR_OP_add:
        for (uint32_t k = 0; k < 2; k++) {
            if (!ir_const_scalar(graph, node->inputs[k], &number)) {
                continue;
            }
            *value = node->inputs[1 - k];
            if (node->op == IR_OP_max) {
                d->low = fmax(d->low, number + d->epsilon);
            } else {
                d->epsilon += number;
            }
            return number >= 0 && isfinite(number);
        }
        return false;
    default: return false;
    }
    *value = node->inputs[0];
    return true;
}

/* The divisor of sums of (.., K), made of a count for each bag. */
static bool read_divisor(const former *f, ir_value value, ir_value ids, divisor *d)
{
    enum { STEPS = 16 };
    const ir_graph *graph = f->r.graph;
    int32_t axes = ir_type_of(graph, ids)->rank - 1; /* of the bags */
    *d = (divisor){.epsilon = 0};
    for (int step = 0; step < STEPS; step++) {
        const ir_node_info *node = ir_producer(graph, value);
        const ir_type *type = ir_type_of(graph, value);
        if (node == NULL || type->rank < axes || type->rank > axes + 2) {
            return false;
        }
        for (int32_t axis = 0; axis < axes; axis++) { /* so that no move can mix the bags */
            if (!ir_dim_equal(type->dim[axis], ir_type_of(graph, ids)->dim[axis])) {
                return false;
            }
        }
        if (node->op == IR_OP_reduce_sum) {
            return read_count(f, node, ids, d);
        }
        if (!read_divisor_step(f, node, &value, d)) {
            return false;
        }
    }
    return false;
}

/* Whether the padding of the count adds nothing to a sum over all ids: the row is zeros. */
static bool row_is_zeros(const ir_graph *graph, const ir_node_info *bag, const passes_mask *mask)
{
    double fill;
    return mask->first == mask->last && swallows(graph, bag->inputs[0], mask->first, 0, &fill);
}

/* n divides a sum, which a bag makes, by how many it adds up. */
static mtl_status form_mean(former *f, ir_node n)
{
    passes_rewriter *r = &f->r;
    ir_graph *graph = r->graph;
    const ir_node_info *div = ir_node_of(graph, n);
    ir_value sum = div->inputs[0], made = sum;
    const ir_node_info *reshape = ir_producer_op(graph, sum, IR_OP_reshape);
    if (reshape != NULL && passes_single_use(r, sum)) { /* kept axes */
        made = reshape->inputs[0];
    }
    const ir_node_info *bag = ir_producer_op(graph, made, IR_OP_bag);
    divisor d;
    if (bag == NULL || !passes_single_use(r, made) || !passes_single_use(r, sum) || ir_operand(bag, 2) != 0 ||
        strcmp(ir_find_attr(bag, IR_ATTR_function)->text, "sum") != 0 ||
        !ir_type_equal(ir_type_of(graph, sum), ir_type_of(graph, div->outputs[0])) ||
        ir_type_of(graph, div->inputs[1])->rank != ir_type_of(graph, sum)->rank ||
        !read_divisor(f, div->inputs[1], bag->inputs[1], &d) || d.mask.ids != passes_plain_ids(graph, bag->inputs[1])) {
        return MTL_OK;
    }
    const ir_attr *padding = ir_find_attr(bag, IR_ATTR_padding);
    if (padding != NULL ? padding->ints[0] != d.mask.first || padding->ints[1] != d.mask.last
                        : !row_is_zeros(graph, bag, &d.mask)) {
        return MTL_OK;
    }
    int64_t *left_out = base_arena_copy(graph->arena, ((int64_t[]){d.mask.first, d.mask.last}), 2 * sizeof *left_out);
    BASE_TRY_MEMORY(left_out, r->diag);
    bag_kind kind = {.function = "mean", .epsilon = d.epsilon, .low = d.low, .padding = left_out};
    ir_value inputs[2] = {bag->inputs[0], bag->inputs[1]};
    ir_attr attrs[MOST_ATTRS];
    ir_node node = ir_info(graph, made)->node;
    size_t count = bag_attrs(&kind, bag, attrs);
    BASE_TRY(passes_take_sources(r, node, n));
    BASE_TRY(passes_become(r, node, IR_OP_bag, inputs, 2, attrs, count, fate));
    passes_substitute(r, ir_node_of(graph, n)->outputs[0], sum, fate);
    return MTL_OK;
}

/* --- the pass ------------------------------------------------------------------------------------------------ */

static mtl_status count_readers(former *f)
{
    passes_rewriter *r = &f->r;
    f->capacity = r->graph->value_count;
    f->found = BASE_NEW_ARRAY(&r->scratch, uint32_t, f->capacity);
    BASE_TRY_MEMORY(f->found, r->diag);
    f->readers = base_arena_copy(&r->scratch, r->uses, f->capacity * sizeof *r->uses);
    BASE_TRY_MEMORY(f->readers, r->diag);
    for (ir_node n = r->graph->first_node; n != 0; n = ir_node_of(r->graph, n)->next) {
        match m;
        if (find_match(f, n, &m)) {
            f->found[m.rows]++;
        }
    }
    return MTL_OK;
}

static mtl_status form_all(former *f)
{
    passes_rewriter *r = &f->r;
    BASE_TRY(count_readers(f));
    for (ir_node n = r->graph->first_node, next; n != 0; n = next) {
        match m;
        next = ir_node_of(r->graph, n)->next;
        passes_visit(r, n);
        if (ir_node_of(r->graph, n)->op == IR_OP_div) {
            BASE_TRY(form_mean(f, n));
        } else if (find_match(f, n, &m) && m.rows < f->capacity && f->found[m.rows] == f->readers[m.rows]) {
            BASE_TRY(form(f, n, &m));
        }
    }
    return MTL_OK;
}

mtl_status passes_form_bag(ir_graph *graph, base_diag *diag)
{
    former f = {.capacity = 0};
    BASE_TRY(passes_begin(graph, diag, &f.r));
    mtl_status status = form_all(&f);
    return status == MTL_OK ? passes_end(&f.r) : passes_abandon(&f.r, status);
}
