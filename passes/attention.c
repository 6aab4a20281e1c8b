/* form_attention: how the scores' axes run through what stands between the products, and where q, k, v and the masks lie
 * as (B, L, columns) and (B, H, L, M). */
#include "passes/attention.h"
#include "passes/side.h"

#include <math.h>
#include <string.h>

/* Along the way the scores have a layout whose root is no value: its axes are those of passes_score_axis. Until the
 * softmax has said which are the keys, QUERY is the rows of the first product and KEY its columns. */

static const ir_type *type_of(const passes_rewriter *r, ir_value value)
{
    return ir_type_of(r->graph, value);
}

/* --- the first product ---------------------------------------------------------------------------------------- */

/* Axis `i` of the product's batch axes in an operand's layout; -1: the operand has one for all there. */
static int batch_axis(const passes_rewriter *r, const ir_node_info *product, const passes_layout *layout, int i)
{
    int axis = i - (type_of(r, product->outputs[0])->rank - layout->rank);
    return axis >= 0 && layout->count[axis] > 0 ? axis : -1;
}

/* Names an atom of a batch axis: the candidates or the heads, each once. */
static bool name_atom(passes_attention *a, passes_layout *scores, int axis, ir_dim extent)
{
    bool rows = !ir_dim_is_const(extent);
    if (rows ? !ir_dim_is(a->rows, 1) : a->heads != 1) {
        return false;
    }
    if (rows) {
        a->heads_lead[0] = a->heads != 1;
        a->rows = extent;
    } else {
        a->heads = extent.c;
    }
    scores->atoms[axis][scores->count[axis]++] = (passes_atom){rows ? PASSES_ROW : PASSES_HEAD, extent, 1};
    return true;
}

static bool name_scores(passes_rewriter *r, passes_attention *a, passes_layout *scores)
{
    const ir_type *type = type_of(r, a->product->outputs[0]);
    passes_layout in[2];
    for (uint32_t k = 0; k < 2; k++) {
        in[k] = passes_find_layout(r, a->product->inputs[k], true);
        if (in[k].rank < 2) {
            return false;
        }
    }
    *scores = (passes_layout){.rank = type->rank, .scale = 1};
    a->rows = ir_dim_const(1);
    a->heads = 1;
    for (int i = 0; i < type->rank - 2; i++) {
        int left = batch_axis(r, a->product, &in[0], i), right = batch_axis(r, a->product, &in[1], i);
        const passes_layout *from = left >= 0 ? &in[0] : &in[1];
        int axis = left >= 0 ? left : right;
        for (int j = 0; axis >= 0 && j < from->count[axis]; j++) {
            if (!name_atom(a, scores, i, from->atoms[axis][j].extent)) {
                return false;
            }
        }
    }
    for (int k = 0; k < 2; k++) {
        int axis = type->rank - 2 + k;
        if (!ir_dim_is(type->dim[axis], 1)) {
            scores->atoms[axis][scores->count[axis]++] = (passes_atom){PASSES_QUERY + k, type->dim[axis], 1};
        }
    }
    return true;
}

/* --- masks ---------------------------------------------------------------------------------------------------- */

/* Pairs an axis of the scores with the one that a mask has there: found[n] is where axis n of the scores is in the mask's root. */
static bool pair_axis(const passes_layout *scores, int axis, const passes_layout *mask, int own, passes_atom *found)
{
    passes_atom atoms[PASSES_LAYOUT_ATOMS];
    int count = mask->count[own], next = 0;
    memcpy(atoms, mask->atoms[own], sizeof atoms);
    for (int i = 0; i < scores->count[axis]; i++) {
        const passes_atom *score = &scores->atoms[axis][i];
        ir_dim inner;
        if (next == count || !ir_dim_div(atoms[next].extent, score->extent, &inner) || !ir_dim_is_const(inner)) {
            return false;
        }
        found[score->axis] = (passes_atom){atoms[next].axis, score->extent, atoms[next].stride * inner.c};
        atoms[next].extent = inner;
        next += ir_dim_is(inner, 1);
    }
    return next == count;
}

/* Whether these atoms, one after the other, are all of the root in its order. */
static bool covers_root(const ir_type *root, const passes_layout *mask, const passes_atom *found)
{
    int axis = 0;
    ir_dim rest = ir_dim_const(1);
    for (int name = 0; name < 4; name++) {
        if (found[name].axis == PASSES_REPEATED) {
            continue;
        }
        while (ir_dim_is(rest, 1) && axis < root->rank) {
            rest = root->dim[axis++];
        }
        ir_dim inner;
        if (found[name].axis != axis - 1 || mask->start[axis - 1] != 0 ||
            !ir_dim_div(rest, found[name].extent, &inner) || !ir_dim_is(inner, found[name].stride)) {
            return false;
        }
        rest = inner;
    }
    for (; axis < root->rank; axis++) {
        if (!ir_dim_is(root->dim[axis], 1)) {
            return false;
        }
    }
    return ir_dim_is(rest, 1);
}

static bool place_mask(passes_rewriter *r, const passes_attention *a, const passes_layout *scores,
                       const passes_layout *mask, passes_link *link)
{
    passes_atom found[4];
    for (int name = 0; name < 4; name++) {
        found[name] = (passes_atom){PASSES_REPEATED, ir_dim_const(1), 0};
    }
    for (int axis = 0; axis < scores->rank; axis++) {
        int own = axis - (scores->rank - mask->rank);
        if (own >= 0 && mask->count[own] > 0 && !pair_axis(scores, axis, mask, own, found)) {
            return false;
        }
    }
    if (a->queries == 1) {
        passes_atom columns = found[PASSES_KEY];
        found[PASSES_KEY] = found[PASSES_QUERY];
        found[PASSES_QUERY] = columns;
    }
    if (found[PASSES_KEY].axis == PASSES_REPEATED || !covers_root(type_of(r, mask->root), mask, found)) {
        return false;
    }
    link->mask = mask->root;
    for (int name = 0; name < 4; name++) {
        link->dims[name] = found[name].axis == PASSES_REPEATED ? ir_dim_const(1) : found[name].extent;
    }
    return true;
}

static bool read_mask(passes_rewriter *r, const passes_attention *a, const passes_layout *scores, passes_link *link)
{
    const passes_layout traced = passes_find_layout(r, link->mask, false);
    const passes_layout given = passes_layout_of(r->graph, link->mask);
    return place_mask(r, a, scores, &traced, link) || place_mask(r, a, scores, &given, link);
}

/* --- from the first product to the second ----------------------------------------------------------------------- */

/* Whether the axis of the softmax is the rows or the columns of the first product, alone and whole. */
static bool read_softmax(const passes_layout *scores, const ir_node_info *node, passes_attention *a)
{
    int axis = (int)ir_attr_int(node, IR_ATTR_axis);
    if (scores->count[axis] != 1 || scores->atoms[axis][0].axis < PASSES_QUERY) {
        return false;
    }
    a->queries = scores->atoms[axis][0].axis == PASSES_KEY ? 0 : 1;
    return true;
}

/* Follows the scores down to the second product; the first time finds the softmax, the second time the masks, which it
 * must know for. */
static bool follow(passes_rewriter *r, passes_attention *a, passes_layout *scores, bool masks)
{
    bool seen = false, kept = false; /* a mask or the softmax; a choice */
    a->scale = 1;
    for (int i = a->link_count - 1; i >= 0; i--) {
        passes_link *link = &a->links[i];
        switch (link->kind) {
        case PASSES_LINK_MOVE:
            if (!passes_layout_move(r->graph, link->node, scores)) {
                return false;
            }
            break;
        case PASSES_LINK_SCALE:
            if (seen) {
                return false;
            }
            a->scale *= link->number;
            break;
        case PASSES_LINK_SOFTMAX:
            if (!masks && !read_softmax(scores, link->node, a)) {
                return false;
            }
            seen = true;
            break;
        default:
            if ((link->kind == PASSES_LINK_BIAS && kept) || (kept && link->number != a->fill) ||
                (masks && !read_mask(r, a, scores, link))) {
                return false;
            }
            seen = true;
            kept = link->kind == PASSES_LINK_KEEP;
            a->fill = kept ? link->number : 0;
            break;
        }
    }
    return true;
}

/* --- q, k and v ------------------------------------------------------------------------------------------------- */

/* Where the rows and heads of an operand are, by what its batch axes meet in the other one. */
static bool read_batch(const passes_layout *scores, passes_attention_operand *in)
{
    passes_atom found[4];
    for (int name = 0; name < 4; name++) {
        found[name] = (passes_atom){PASSES_REPEATED, ir_dim_const(1), 0};
    }
    for (int own = 0; own < in->layout.rank - 2; own++) {
        int axis = own + scores->rank - in->layout.rank;
        if (in->layout.count[own] > 0 && (axis < 0 || !pair_axis(scores, axis, &in->layout, own, found))) {
            return false;
        }
    }
    in->has_row = !ir_dim_is(found[PASSES_ROW].extent, 1);
    in->has_head = !ir_dim_is(found[PASSES_HEAD].extent, 1);
    in->row = found[PASSES_ROW];
    in->head = found[PASSES_HEAD];
    return true;
}

static bool read_operand(passes_rewriter *r, const ir_node_info *product, uint32_t operand, bool rows_are_positions,
                         bool scaled, const passes_layout *scores, passes_attention_operand *in)
{
    in->value = passes_resolve(r, product->inputs[operand]);
    in->layout = passes_find_layout(r, in->value, scaled);
    int rank = in->layout.rank;
    in->position = rows_are_positions ? rank - 2 : rank - 1;
    in->column = rows_are_positions ? rank - 1 : rank - 2;
    return rank >= 2 && read_batch(scores, in);
}

/* The shares as they stand in the second product: whole queries and keys behind batch axes. */
static bool read_shares(passes_attention *a, const passes_layout *shares)
{
    int first = shares->rank - 2, query = first + (a->shares == 0 ? 0 : 1), key = first + (a->shares == 0 ? 1 : 0);
    int query_name = a->queries == 0 ? PASSES_QUERY : PASSES_KEY,
        key_name = a->queries == 0 ? PASSES_KEY : PASSES_QUERY;
    if (shares->rank < 2 || shares->count[key] != 1 || shares->atoms[key][0].axis != key_name ||
        !ir_dim_is(shares->atoms[key][0].extent, a->lengths[1])) {
        return false;
    }
    bool one = a->lengths[0] == 1;
    if (shares->count[query] != !one || (!one && shares->atoms[query][0].axis != query_name)) {
        return false;
    }
    int names[2], count = 0;
    for (int axis = 0; axis < first; axis++) {
        for (int i = 0; i < shares->count[axis]; i++) {
            if (count == 2) {
                return false;
            }
            names[count++] = shares->atoms[axis][i].axis;
        }
    }
    a->heads_lead[1] = count == 2 && names[0] == PASSES_HEAD;
    a->values_lead = a->shares == 1;
    return true;
}

static bool read_lengths(passes_rewriter *r, passes_attention *a)
{
    const ir_type *scores = type_of(r, a->product->outputs[0]), *result = type_of(r, a->second->outputs[0]);
    const ir_type *left = type_of(r, a->product->inputs[0]);
    ir_dim query = scores->dim[scores->rank - 2 + (int)a->queries],
           key = scores->dim[scores->rank - 1 - (int)a->queries];
    ir_dim size = left->dim[left->rank - 1], value = result->dim[result->rank - 1 - (int)a->shares];
    if (!ir_dim_is_const(query) || !ir_dim_is_const(key) || !ir_dim_is_const(size) || !ir_dim_is_const(value)) {
        return false;
    }
    a->lengths[0] = query.c;
    a->lengths[1] = key.c;
    a->sizes[0] = size.c;
    a->sizes[1] = value.c;
    return query.c >= 1 && key.c >= 2 && key.c <= IR_ATTENTION_KEYS && size.c >= 1 && size.c <= IR_ATTENTION_WIDTH &&
           value.c >= 1 && scores->dtype == MTL_F32;
}

bool passes_attention_read(passes_rewriter *r, passes_attention *a)
{
    passes_layout scores, start;
    if (!name_scores(r, a, &start)) {
        return false;
    }
    scores = start;
    if (!follow(r, a, &scores, false) || !read_lengths(r, a)) {
        return false;
    }
    scores = start;
    if (!follow(r, a, &scores, true) || !read_shares(a, &scores)) {
        return false;
    }
    bool turned = a->queries == 1;
    return read_operand(r, a->product, a->queries, !turned, true, &start, &a->in[0]) &&
           read_operand(r, a->product, 1 - a->queries, turned, true, &start, &a->in[1]) &&
           read_operand(r, a->second, 1 - a->shares, a->shares == 0, false, &scores, &a->in[2]);
}

/* --- making the operands ---------------------------------------------------------------------------------------- */

/* Elements of the axes behind `axis`; false: not fixed. */
static bool width_behind(const ir_type *type, int axis, int64_t *width)
{
    *width = 1;
    for (int i = axis + 1; i < type->rank; i++) {
        if (!ir_dim_is_const(type->dim[i]) || __builtin_mul_overflow(*width, type->dim[i].c, width)) {
            return false;
        }
    }
    return true;
}

/* An atom among the columns of a root whose axes from `first` on are one; *stride in elements. */
static bool among_columns(const ir_type *root, int first, const passes_atom *atom, int64_t *stride)
{
    int64_t inner;
    if (atom->axis < first || !width_behind(root, atom->axis, &inner)) {
        return false;
    }
    *stride = atom->stride * inner;
    return true;
}

/* Whether an operand's root, read as (rows, positions, columns), has them in place; *turned: as (positions, rows, columns). */
static bool lies_straight(const passes_rewriter *r, const passes_attention *a, int which, int64_t *start, bool *turned)
{
    const passes_attention_operand *in = &a->in[which];
    const passes_layout *layout = &in->layout;
    const ir_type *root = type_of(r, layout->root);
    int64_t size = a->sizes[which / 2], inner, stride;
    const int positions = layout->count[in->position], columns = layout->count[in->column];
    int first = positions == 0 ? 1 : 2; /* of the columns */
    if (root->rank < first + 1 || positions > 1 || columns > 1 || (a->heads > 1 && !in->has_head)) {
        return false;
    }
    const passes_atom *position = &layout->atoms[in->position][0];
    *turned = positions == 1 && position->axis == 0;
    int row = *turned ? 1 : 0;
    bool rows = in->has_row ? in->row.axis == row && in->row.stride == 1 && ir_dim_equal(in->row.extent, root->dim[row])
                            : ir_dim_is(root->dim[row], 1);
    if (!rows || layout->start[row] != 0) {
        return false;
    }
    if (positions == 1 && (position->axis != 1 - row || position->stride != 1 || layout->start[1 - row] != 0 ||
                           !ir_dim_equal(position->extent, root->dim[1 - row]))) {
        return false;
    }
    if (columns == 1 && (!among_columns(root, first, &layout->atoms[in->column][0], &stride) || stride != 1)) {
        return false;
    }
    if (a->heads > 1 && (!among_columns(root, first, &in->head, &stride) || stride != size)) {
        return false;
    }
    *start = 0;
    for (int axis = first; axis < root->rank; axis++) {
        if (!width_behind(root, axis, &inner)) {
            return false;
        }
        *start += layout->start[axis] * inner;
    }
    return width_behind(root, first - 1, &inner);
}

static mtl_status reshape_to(passes_rewriter *r, ir_node n, int rank, const ir_dim *dims, ir_value *value)
{
    ir_type type = {.dtype = type_of(r, *value)->dtype, .rank = rank};
    memcpy(type.dim, dims, (size_t)rank * sizeof *dims);
    if (ir_type_equal(&type, type_of(r, *value))) {
        return MTL_OK;
    }
    return passes_insert(r, n, IR_OP_reshape, NULL, value, 1, NULL, 0, &type, value);
}

static mtl_status turn(passes_rewriter *r, ir_node n, int rank, const int64_t *perm, ir_value *value)
{
    ir_attr attr = IR_INTS(perm, perm, rank);
    return passes_insert(r, n, IR_OP_transpose, NULL, value, 1, &attr, 1, NULL, value);
}

/* The root of an operand that lies straight. */
static mtl_status take_root(passes_rewriter *r, ir_node n, const passes_attention_operand *in, bool turned,
                            ir_value *value)
{
    const ir_type root = *type_of(r, in->layout.root);
    bool positions = in->layout.count[in->position] > 0;
    int64_t columns = 1;
    (void)width_behind(&root, positions ? 1 : 0, &columns);
    const ir_dim dims[3] = {root.dim[0], positions ? root.dim[1] : ir_dim_const(1), ir_dim_const(columns)};
    *value = in->layout.root;
    BASE_TRY(reshape_to(r, n, 3, dims, value));
    return turned ? turn(r, n, 3, (const int64_t[]){1, 0, 2}, value) : MTL_OK;
}

/* An operand as it stands in its product, brought to (rows, positions, heads x size). */
static mtl_status bring(passes_rewriter *r, ir_node n, const passes_attention *a, int which, ir_value *value,
                        bool *fits)
{
    const passes_attention_operand *in = &a->in[which];
    bool heads_lead = a->heads_lead[which == 2];
    const ir_dim rows = in->has_row ? a->rows : ir_dim_const(1), heads = ir_dim_const(a->heads);
    const ir_dim length = ir_dim_const(a->lengths[which > 0]), size = ir_dim_const(a->sizes[which / 2]);
    bool columns_last = in->column > in->position;
    *fits = a->heads == 1 || in->has_head;
    if (!*fits) {
        return MTL_OK;
    }
    const ir_dim split[4] = {heads_lead ? heads : rows, heads_lead ? rows : heads, columns_last ? length : size,
                             columns_last ? size : length};
    const int64_t perm[4] = {heads_lead ? 1 : 0, columns_last ? 2 : 3, heads_lead ? 0 : 1, columns_last ? 3 : 2};
    const ir_dim joined[3] = {rows, length, ir_dim_const(a->heads * a->sizes[which / 2])};
    *value = in->value;
    BASE_TRY(reshape_to(r, n, 4, split, value));
    BASE_TRY(turn(r, n, 4, perm, value));
    return reshape_to(r, n, 3, joined, value);
}

/* The masks of one kind, joined. */
static mtl_status make_masks(passes_rewriter *r, ir_node n, const passes_attention *a, passes_link_kind kind,
                             ir_value *mask)
{
    *mask = 0;
    for (int i = a->link_count - 1; i >= 0; i--) {
        const passes_link *link = &a->links[i];
        if (link->kind != kind) {
            continue;
        }
        ir_value one = link->mask;
        const ir_node_info *node = ir_producer(r->graph, one);
        if (link->negated && node != NULL && node->op == IR_OP_not) {
            one = passes_resolve(r, node->inputs[0]);
        } else if (link->negated) {
            BASE_TRY(passes_insert(r, n, kind == PASSES_LINK_KEEP ? IR_OP_not : IR_OP_neg, NULL, &one, 1, NULL, 0, NULL,
                                   &one));
        }
        BASE_TRY(reshape_to(r, n, 4, link->dims, &one));
        if (*mask != 0) {
            BASE_TRY(passes_insert(r, n, kind == PASSES_LINK_KEEP ? IR_OP_and : IR_OP_add, NULL,
                                   (ir_value[]){*mask, one}, 2, NULL, 0, NULL, &one));
        }
        *mask = one;
    }
    return MTL_OK;
}

/* Whether an operand is what a layer without activation gives, to this attention alone. */
static bool is_own_layer(passes_rewriter *r, const ir_value *inputs, int i)
{
    const ir_node_info *node = ir_producer_op(r->graph, inputs[i], IR_OP_linear);
    uint32_t uses = 0;
    for (int j = 0; j < 3; j++) {
        uses += inputs[j] == inputs[i];
    }
    return node != NULL && ir_operand(node, 3) == 0 && ir_type_of(r->graph, node->inputs[1])->rank == 2 &&
           r->uses[inputs[i]] == uses && ir_find_attr(node, IR_ATTR_act)->text[0] == '\0';
}

/* The layers of `members`, which read the same, as one: its value and where each begins. */
static mtl_status join_members(passes_rewriter *r, ir_node n, passes_attention *a, ir_value *inputs, const int *members,
                               size_t count)
{
    ir_value parts[6], operands[3] = {0}, y;
    int64_t widths[3], total = 0;
    ir_node nodes[3];
    bool bias = false;
    for (size_t i = 0; i < count; i++) {
        const ir_node_info *node = ir_producer(r->graph, inputs[members[i]]);
        nodes[i] = ir_info(r->graph, inputs[members[i]])->node;
        operands[0] = passes_resolve(r, node->inputs[0]);
        parts[i] = node->inputs[1];
        parts[3 + i] = ir_operand(node, 2);
        bias = bias || parts[3 + i] != 0;
        widths[i] = type_of(r, parts[i])->dim[1].c;
        a->starts[members[i]] += total;
        total += widths[i];
    }
    const ir_type *w = type_of(r, parts[0]);
    const int64_t shape[2] = {w->dim[0].c, total};
    const mtl_dtype dtype = w->dtype;
    BASE_TRY(passes_join_consts(r, parts, widths, count, shape[0], dtype, 2, shape, &operands[1]));
    if (bias) {
        BASE_TRY(passes_join_consts(r, parts + 3, widths, count, 1, dtype, 1, shape + 1, &operands[2]));
    }
    const ir_attr act = IR_STRING(act, "");
    BASE_TRY(passes_insert(r, n, IR_OP_linear, NULL, operands, bias ? 3 : 2, &act, 1, NULL, &y));
    for (size_t i = 0; i < count; i++) {
        BASE_TRY(passes_take_sources(r, ir_info(r->graph, y)->node, nodes[i]));
        inputs[members[i]] = y;
    }
    return MTL_OK;
}

/* Queries, keys and values that layers make of one value come from one layer. */
static mtl_status join_layers(passes_rewriter *r, ir_node n, passes_attention *a, ir_value *inputs)
{
    bool own[3];
    for (int i = 0; i < 3; i++) {
        own[i] = is_own_layer(r, inputs, i);
    }
    for (int first = 0; first < 2; first++) {
        int members[3];
        size_t count = 0;
        for (int i = first; i < 3 && own[first]; i++) {
            if (own[i] && passes_resolve(r, ir_producer(r->graph, inputs[i])->inputs[0]) ==
                              passes_resolve(r, ir_producer(r->graph, inputs[first])->inputs[0])) {
                members[count++] = i;
            }
        }
        bool distinct = inputs[0] != inputs[1] && inputs[1] != inputs[2] && inputs[0] != inputs[2];
        if (count > 1 && distinct) {
            return join_members(r, n, a, inputs, members, count);
        }
    }
    return MTL_OK;
}

mtl_status passes_attention_operands(passes_rewriter *r, ir_node n, passes_attention *a, ir_value *inputs, bool *fits)
{
    for (int i = 0; i < 3 && *fits; i++) {
        bool turned;
        if (lies_straight(r, a, i, &a->starts[i], &turned)) {
            a->scale *= i < 2 ? a->in[i].layout.scale : 1;
            BASE_TRY(take_root(r, n, &a->in[i], turned, &inputs[i]));
        } else {
            a->starts[i] = 0;
            BASE_TRY(bring(r, n, a, i, &inputs[i], fits));
        }
    }
    *fits = *fits && isfinite(a->scale);
    if (*fits) {
        BASE_TRY(join_layers(r, n, a, inputs));
        BASE_TRY(make_masks(r, n, a, PASSES_LINK_BIAS, &inputs[3]));
        BASE_TRY(make_masks(r, n, a, PASSES_LINK_KEEP, &inputs[4]));
    }
    return MTL_OK;
}
