/* einsum as transposes, reshapes, products and sums.
 *
 * Two operands are contracted at a time, from left to right. Labels fall into four groups: batch (in both and needed
 * later), inner (in both, summed over), m (only left) and n (only right). A constant goes to the right, so that
 * products with weights are x (..., K) @ W (K, N), or with batch labels x (G, M, K) @ W (G, K, N), the forms from which
 * linear layers are made. Where both change, the order with fewer transposes is taken:
 * "be,beh->bh" is (B, 1, E) @ (B, E, H).
 */
#include <string.h>

#include "ir/graph.h"

enum { LETTERS = 52, LABELS = LETTERS + MTL_MAX_RANK /* the axes of the ellipsis, the last one last */ };

/* A value and the label of each of its axes. */
typedef struct operand {
    ir_value value;
    int rank;
    int label[MTL_MAX_RANK];
} operand;

typedef struct list {
    int count;
    int label[LABELS];
} list;

typedef struct builder {
    ir_graph *graph;
    ir_node before;
    base_diag *diag;
    ir_dim extent[LABELS];
    bool known[LABELS];
    int ellipsis;     /* axes of the longest ellipsis */
    int uses[LABELS]; /* operands that have it */
    list output;
    list order; /* the labels of the output, then all others: how results are laid out */
} builder;

static uint64_t bit(int label)
{
    return UINT64_C(1) << label;
}

static uint64_t labels_of(const operand *x)
{
    uint64_t set = 0;
    for (int i = 0; i < x->rank; i++) {
        set |= bit(x->label[i]);
    }
    return set;
}

/* --- the equation ----------------------------------------------------------------------------------------------- */

static int letter_of(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? 26 + c - 'a' : -1;
}

static const char *label_text(int label)
{
    static const char letters[] = "A\0B\0C\0D\0E\0F\0G\0H\0I\0J\0K\0L\0M\0N\0O\0P\0Q\0R\0S\0T\0U\0V\0W\0X\0Y\0Z\0"
                                  "a\0b\0c\0d\0e\0f\0g\0h\0i\0j\0k\0l\0m\0n\0o\0p\0q\0r\0s\0t\0u\0v\0w\0x\0y\0z";
    return label < LETTERS ? letters + (size_t)label * 2 : "...";
}

/* Reads one term up to ',', '-' or the end. `ellipsis` is how many axes "..." stands for, -1: what the rank leaves. */
static mtl_status parse_term(builder *b, const char **text, int rank, int ellipsis, list *term)
{
    const char *start = *text;
    int letters = 0;
    bool dots = false;
    for (const char *p = start; *p != '\0' && *p != ',' && *p != '-'; p++) {
        letters += letter_of(*p) >= 0 ? 1 : 0;
    }
    term->count = 0;
    const char *p = start;
    for (; *p != '\0' && *p != ',' && *p != '-'; p++) {
        int letter = letter_of(*p);
        if (*p == ' ') {
            continue;
        }
        if (letter >= 0 && term->count < LABELS) {
            term->label[term->count++] = letter;
        } else if (!dots && strncmp(p, "...", 3) == 0 && (ellipsis >= 0 || rank - letters >= 0)) {
            int axes = ellipsis >= 0 ? ellipsis : rank - letters;
            for (int i = 0; i < axes && term->count < LABELS; i++) {
                term->label[term->count++] = LABELS - axes + i;
            }
            dots = true;
            p += 2;
        } else {
            return ir_fail(b->graph, 0, b->diag, MTL_INVALID_DATA, "'%.40s' in the equation is no list of labels",
                           start);
        }
    }
    if (dots && ellipsis < 0 && rank - letters > b->ellipsis) {
        b->ellipsis = rank - letters;
    }
    for (int i = 0; i < term->count; i++) {
        for (int j = 0; j < i; j++) {
            if (term->label[i] == term->label[j]) {
                return ir_fail(b->graph, 0, b->diag, MTL_UNSUPPORTED,
                               "label '%s' stands twice in '%.40s': diagonals are not supported",
                               label_text(term->label[i]), start);
            }
        }
    }
    *text = p;
    return MTL_OK;
}

/* The extent of every label: equal everywhere, except that 1 broadcasts. */
static mtl_status note_extents(builder *b, const operand *x, int index)
{
    const ir_type *type = ir_type_of(b->graph, x->value);
    for (int i = 0; i < x->rank; i++) {
        int label = x->label[i];
        b->uses[label]++;
        if (!b->known[label] || ir_dim_is(b->extent[label], 1)) {
            b->extent[label] = type->dim[i];
            b->known[label] = true;
        } else if (!ir_dim_is(type->dim[i], 1) && !ir_dim_equal(type->dim[i], b->extent[label])) {
            const char *found = ir_dim_text(type->dim[i], &b->graph->symbols, b->graph->arena);
            const char *expected = ir_dim_text(b->extent[label], &b->graph->symbols, b->graph->arena);
            return ir_fail(b->graph, 0, b->diag, MTL_INVALID_DATA,
                           "label '%s' has extent %s in operand %d, but %s before", label_text(label),
                           found == NULL ? "?" : found, index, expected == NULL ? "?" : expected);
        }
    }
    return MTL_OK;
}

static mtl_status parse_output(builder *b, const char *text)
{
    if (text == NULL) { /* implicit: the ellipsis, then labels that stand once, in the order of ASCII */
        for (int i = LABELS - b->ellipsis; i < LABELS; i++) {
            b->output.label[b->output.count++] = i;
        }
        for (int i = 0; i < LETTERS; i++) {
            if (b->uses[i] == 1) {
                b->output.label[b->output.count++] = i;
            }
        }
    } else {
        const char *end = text;
        BASE_TRY(parse_term(b, &end, 0, b->ellipsis, &b->output));
        if (*end != '\0') {
            return ir_fail(b->graph, 0, b->diag, MTL_INVALID_DATA, "'%.40s' follows the equation", end);
        }
        if (b->ellipsis > 0 && strstr(text, "...") == NULL) {
            return ir_fail(b->graph, 0, b->diag, MTL_UNSUPPORTED, "the output '%.40s' drops the ellipsis", text);
        }
    }
    uint64_t seen = 0;
    b->order = b->output;
    for (int i = 0; i < b->output.count; i++) {
        seen |= bit(b->output.label[i]);
        if (b->uses[b->output.label[i]] == 0) {
            return ir_fail(b->graph, 0, b->diag, MTL_INVALID_DATA, "label '%s' of the output is in no operand",
                           label_text(b->output.label[i]));
        }
    }
    for (int i = 0; i < LABELS; i++) {
        if ((seen & bit(i)) == 0) {
            b->order.label[b->order.count++] = i;
        }
    }
    if (b->output.count > MTL_MAX_RANK) {
        return ir_fail(b->graph, 0, b->diag, MTL_UNSUPPORTED, "the result has rank %d, at most %d is supported",
                       b->output.count, MTL_MAX_RANK);
    }
    return MTL_OK;
}

static mtl_status parse(builder *b, const char *equation, const ir_value *inputs, size_t count, operand *operands)
{
    const char *text = equation;
    for (size_t i = 0; i < count; i++) {
        list term;
        int rank = ir_type_of(b->graph, inputs[i])->rank;
        BASE_TRY(parse_term(b, &text, rank, -1, &term));
        if (term.count != rank) {
            return ir_fail(b->graph, 0, b->diag, MTL_INVALID_DATA,
                           "operand %zu has rank %d, but %d labels in the equation '%.100s'", i, rank, term.count,
                           equation);
        }
        operands[i] = (operand){.value = inputs[i], .rank = rank};
        memcpy(operands[i].label, term.label, (size_t)rank * sizeof term.label[0]);
        BASE_TRY(note_extents(b, &operands[i], (int)i));
        if (i + 1 < count && *text != ',') {
            return ir_fail(b->graph, 0, b->diag, MTL_INVALID_DATA, "%zu operands, but %zu in the equation '%.100s'",
                           count, i + 1, equation);
        }
        text += i + 1 < count ? 1 : 0;
    }
    if (*text != '\0' && strncmp(text, "->", 2) != 0) {
        return ir_fail(b->graph, 0, b->diag, MTL_INVALID_DATA,
                       "'%.40s' follows the last operand in the equation '%.100s'", text, equation);
    }
    return parse_output(b, *text == '\0' ? NULL : text + 2);
}

/* --- building --------------------------------------------------------------------------------------------------- */

/* The labels of `set` in the order of results. */
static list in_order(const builder *b, uint64_t set)
{
    list labels = {.count = 0};
    for (int i = 0; i < b->order.count; i++) {
        if ((set & bit(b->order.label[i])) != 0) {
            labels.label[labels.count++] = b->order.label[i];
        }
    }
    return labels;
}

static void append(list *to, const list *from)
{
    memcpy(to->label + to->count, from->label, (size_t)from->count * sizeof from->label[0]);
    to->count += from->count;
}

static bool has_order(const operand *x, const list *labels)
{
    return x->rank == labels->count && memcmp(x->label, labels->label, (size_t)x->rank * sizeof x->label[0]) == 0;
}

static mtl_status build_transpose(builder *b, operand *x, const list *labels)
{
    int64_t perm[MTL_MAX_RANK];
    if (has_order(x, labels)) {
        return MTL_OK;
    }
    for (int i = 0; i < x->rank; i++) {
        for (int j = 0; j < x->rank; j++) {
            if (x->label[j] == labels->label[i]) {
                perm[i] = j;
            }
        }
    }
    memcpy(x->label, labels->label, (size_t)x->rank * sizeof x->label[0]);
    return ir_insert(b->graph, b->before, IR_OP_transpose, NULL, &x->value, 1,
                     (ir_attr[]){IR_INTS(perm, perm, x->rank)}, 1, b->diag, &x->value);
}

static mtl_status build_reshape(builder *b, ir_value *value, const ir_dim *dims, int rank)
{
    ir_type type = {.dtype = ir_type_of(b->graph, *value)->dtype, .rank = rank};
    memcpy(type.dim, dims, (size_t)rank * sizeof *dims);
    if (ir_type_equal(&type, ir_type_of(b->graph, *value))) {
        return MTL_OK;
    }
    return ir_insert_typed(b->graph, b->before, IR_OP_reshape, NULL, value, 1, NULL, 0, &type, b->diag, value);
}

static mtl_status product_of(builder *b, const list *labels, ir_dim *product)
{
    *product = ir_dim_const(1);
    for (int i = 0; i < labels->count; i++) {
        if (!ir_dim_mul(*product, b->extent[labels->label[i]], product)) {
            return ir_fail(b->graph, 0, b->diag, MTL_UNSUPPORTED, "the product of extents is not linear");
        }
    }
    return MTL_OK;
}

static mtl_status too_many_axes(builder *b)
{
    return ir_fail(b->graph, 0, b->diag, MTL_UNSUPPORTED, "a product needs more than %d axes", MTL_MAX_RANK);
}

/* Sums over the labels that are not in `keep`. */
static mtl_status build_sum(builder *b, operand *x, uint64_t keep)
{
    int64_t axes[MTL_MAX_RANK];
    int count = 0, rank = 0;
    for (int i = 0; i < x->rank; i++) {
        if ((keep & bit(x->label[i])) != 0) {
            x->label[rank++] = x->label[i];
        } else {
            axes[count++] = i;
        }
    }
    x->rank = rank;
    if (count == 0) {
        return MTL_OK;
    }
    return ir_insert(b->graph, b->before, IR_OP_reduce_sum, NULL, &x->value, 1,
                     (ir_attr[]){IR_INTS(axes, axes, count), IR_INT(keepdims, 0)}, 2, b->diag, &x->value);
}

/* Axes of extent 1 whose label is longer elsewhere are dropped: products broadcast. */
static mtl_status drop_broadcast_axes(builder *b, operand *x)
{
    const ir_type type = *ir_type_of(b->graph, x->value);
    ir_dim dims[MTL_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < x->rank; i++) {
        if (!ir_dim_is(type.dim[i], 1) || ir_dim_is(b->extent[x->label[i]], 1)) {
            dims[rank] = type.dim[i];
            x->label[rank++] = x->label[i];
        }
    }
    x->rank = rank;
    return build_reshape(b, &x->value, dims, rank);
}

/* `x` with the axes of `labels`, 1 where it has none; leading ones are left out. */
static mtl_status align(builder *b, operand *x, const list *labels)
{
    ir_dim dims[MTL_MAX_RANK];
    uint64_t set = labels_of(x);
    list own = in_order(b, set);
    int rank = 0;
    BASE_TRY(build_transpose(b, x, &own));
    for (int i = 0; i < labels->count; i++) {
        bool has = (set & bit(labels->label[i])) != 0;
        if (has || rank > 0) {
            dims[rank++] = has ? b->extent[labels->label[i]] : ir_dim_const(1);
        }
    }
    return build_reshape(b, &x->value, dims, rank);
}

/* The element-wise product over the labels of both. */
static mtl_status build_mul(builder *b, operand *x, operand *y, operand *result)
{
    list labels = in_order(b, labels_of(x) | labels_of(y));
    if (labels.count > MTL_MAX_RANK) {
        return too_many_axes(b);
    }
    BASE_TRY(align(b, x, &labels));
    BASE_TRY(align(b, y, &labels));
    result->rank = labels.count;
    memcpy(result->label, labels.label, (size_t)labels.count * sizeof labels.label[0]);
    return ir_insert(b->graph, b->before, IR_OP_mul, NULL, (ir_value[]){x->value, y->value}, 2, NULL, 0, b->diag,
                     &result->value);
}

/* How x @ y is laid out: groups of labels, and what they give for both operands and the result. */
typedef struct layout {
    list batch, m, inner, n;
    list x, y, result;
} layout;

static layout make_layout(const builder *b, const operand *x, const operand *y, uint64_t keep)
{
    uint64_t both = labels_of(x) & labels_of(y);
    layout l = {.batch = in_order(b, both & keep),
                .m = in_order(b, labels_of(x) & ~both),
                .n = in_order(b, labels_of(y) & ~both)};
    for (int i = 0; i < x->rank; i++) { /* as x has them: y is often a constant, whose transpose costs nothing */
        if ((both & ~keep & bit(x->label[i])) != 0) {
            l.inner.label[l.inner.count++] = x->label[i];
        }
    }
    l.x = l.y = l.result = l.batch;
    append(&l.x, &l.m);
    append(&l.x, &l.inner);
    append(&l.y, &l.inner);
    append(&l.y, &l.n);
    append(&l.result, &l.m);
    append(&l.result, &l.n);
    return l;
}

/* Whether a value is a constant or will be folded to one: exporters put transposes and casts between. */
static bool is_weight(const builder *b, ir_value value, int depth)
{
    const ir_node_info *producer = ir_producer(b->graph, value);
    if (producer == NULL || depth == 0) {
        return ir_is_const(b->graph, value);
    }
    for (uint32_t i = 0; i < producer->input_count; i++) {
        if (producer->inputs[i] != 0 && !is_weight(b, producer->inputs[i], depth - 1)) {
            return false;
        }
    }
    return true;
}

enum { WEIGHT_DEPTH = 4 };

/* Transposes at run time. */
static int cost_of(const builder *b, const layout *l, const operand *x, const operand *y)
{
    uint64_t set = 0;
    for (int i = 0; i < l->result.count; i++) {
        set |= bit(l->result.label[i]);
    }
    list wanted = in_order(b, set);
    bool right = memcmp(wanted.label, l->result.label, (size_t)wanted.count * sizeof wanted.label[0]) == 0;
    return (is_weight(b, x->value, WEIGHT_DEPTH) || has_order(x, &l->x) ? 0 : 1) +
           (is_weight(b, y->value, WEIGHT_DEPTH) || has_order(y, &l->y) ? 0 : 1) + (right ? 0 : 1);
}

static bool should_swap(const builder *b, const operand *x, const operand *y, uint64_t keep)
{
    bool const_x = is_weight(b, x->value, WEIGHT_DEPTH), const_y = is_weight(b, y->value, WEIGHT_DEPTH);
    if (const_x != const_y) {
        return const_x;
    }
    layout here = make_layout(b, x, y, keep), there = make_layout(b, y, x, keep);
    return cost_of(b, &there, y, x) < cost_of(b, &here, x, y);
}

static mtl_status build_matmul(builder *b, operand *x, operand *y, uint64_t keep, operand *result)
{
    if (should_swap(b, x, y, keep)) {
        operand other = *x;
        *x = *y;
        *y = other;
    }
    layout l = make_layout(b, x, y, keep);
    ir_dim m, k, n, dims[LABELS];
    int rank = 0;
    if (l.batch.count + 2 > MTL_MAX_RANK || l.result.count > MTL_MAX_RANK) {
        return too_many_axes(b);
    }
    BASE_TRY(product_of(b, &l.m, &m));
    BASE_TRY(product_of(b, &l.inner, &k));
    BASE_TRY(product_of(b, &l.n, &n));
    BASE_TRY(build_transpose(b, x, &l.x));
    BASE_TRY(build_transpose(b, y, &l.y));
    for (int i = 0; i < l.batch.count; i++) {
        dims[rank++] = b->extent[l.batch.label[i]];
    }
    dims[rank] = k;
    dims[rank + 1] = n;
    BASE_TRY(build_reshape(b, &y->value, dims, rank + 2));
    for (int i = 0; i < l.m.count && l.batch.count == 0; i++) { /* (..., K): the axes of m may stay apart */
        dims[rank++] = b->extent[l.m.label[i]];
    }
    if (l.batch.count > 0 || l.m.count == 0) {
        dims[rank++] = m;
    }
    dims[rank] = k;
    BASE_TRY(build_reshape(b, &x->value, dims, rank + 1));
    BASE_TRY(ir_insert(b->graph, b->before, IR_OP_matmul, NULL, (ir_value[]){x->value, y->value}, 2, NULL, 0, b->diag,
                       &result->value));
    for (int i = 0; i < l.result.count; i++) {
        dims[i] = b->extent[l.result.label[i]];
        result->label[i] = l.result.label[i];
    }
    result->rank = l.result.count;
    return build_reshape(b, &result->value, dims, result->rank);
}

/* *x becomes the product of x and y, summed over what is not in `keep`. */
static mtl_status contract(builder *b, operand *x, operand *y, uint64_t keep)
{
    operand result;
    BASE_TRY(build_sum(b, x, keep | labels_of(y)));
    BASE_TRY(build_sum(b, y, keep | labels_of(x)));
    uint64_t both = labels_of(x) & labels_of(y);
    if ((both & ~keep) == 0 || labels_of(x) == labels_of(y)) {
        BASE_TRY(build_mul(b, x, y, &result));
        BASE_TRY(build_sum(b, &result, keep));
    } else {
        BASE_TRY(build_matmul(b, x, y, keep, &result));
    }
    *x = result;
    return MTL_OK;
}

mtl_status ir_build_einsum(ir_graph *graph, ir_node before, const char *equation, const ir_value *inputs,
                           size_t input_count, base_diag *diag, ir_value *result)
{
    builder b = {.graph = graph, .before = before, .diag = diag};
    if (input_count == 0) {
        return ir_fail(graph, 0, diag, MTL_INVALID_DATA, "no operands");
    }
    operand *operands = BASE_NEW_ARRAY(graph->arena, operand, input_count);
    BASE_TRY_MEMORY(operands, diag);
    BASE_TRY(parse(&b, equation, inputs, input_count, operands));
    for (size_t i = 0; i < input_count; i++) {
        BASE_TRY(drop_broadcast_axes(&b, &operands[i]));
    }
    operand all = operands[0];
    for (size_t i = 0; i < input_count; i++) {
        uint64_t keep = 0;
        for (int j = 0; j < b.output.count; j++) {
            keep |= bit(b.output.label[j]);
        }
        for (size_t j = i + 1; j < input_count; j++) {
            keep |= labels_of(&operands[j]);
        }
        BASE_TRY(i == 0 ? build_sum(&b, &all, keep) : contract(&b, &all, &operands[i], keep));
    }
    BASE_TRY(build_transpose(&b, &all, &b.output));
    *result = all.value;
    return MTL_OK;
}
