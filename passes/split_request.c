/* A layer that reads columns of the user and columns of the candidate becomes two: the users' part is computed once for
 * each user, and the candidates' sums begin with it.
 *
 *     %x = concat(%u, %c) axis=1                   : f32[B, 512]      with %u (B, 384) per user, %c (B, 128)
 *     %y = linear(%x, %w, %b) act="relu"           : f32[B, 1024]
 *
 * becomes
 *
 *     %s = linear(%u, %w', %b) act=""              : f32[B, 1024]
 *     %y = linear(%c, %w'', _, %s) act="relu"      : f32[B, 1024]
 *
 * where w' and w'' are the rows of w that belong to the columns of either kind, in whatever order these stand in x: the same
 * sums, in another order. So are layers on more axes, (B, L, K), and batches of layers, (B, G, K), as long as all groups
 * have as many columns of the users.
 *
 * A split saves the products of the users' columns for each candidate, and costs a step for each user and a row of sums
 * read for each candidate: it is done from LEAST_COLUMNS columns and LEAST_WORK multiplications on.
 */
#include <string.h>

#include "passes/columns.h"
#include "passes/mixture.h"
#include "passes/passes.h"

enum {
    LEAST_COLUMNS = 3,
    LEAST_BESIDE_START = 8, /* where the two starts are added up for each candidate */
    LEAST_WORK = 48,
};

static const char fate[] = "its columns of the user and of the candidate are read apart";
static const char too_small[] = "stays one product: too few of its columns are the user's";
static const char uneven[] = "stays one product: its groups have unequal numbers of the user's columns";

typedef struct splitter {
    passes_rewriter r;
    passes_columns columns;
} splitter;

typedef struct layer {
    ir_value x, w, bias, start; /* bias, start 0: none */
    int rank;                   /* of w */
    int64_t groups, k, n;
    int64_t users;  /* columns of each group */
    int64_t *order; /* of each group: the columns of the users, then those of the candidates; groups x k */
} layer;

/* Which columns of each group are the users', from spans over all of them or over those of each group. False: groups have
 * unequal numbers of them. */
static bool order_columns(const passes_columns *columns, layer *l)
{
    int64_t period = columns->axis == 0 ? l->groups * l->k : l->k;
    for (int64_t group = 0; group < l->groups; group++) {
        int64_t *order = l->order + group * l->k, at = 0, found = 0, others = 0;
        int64_t first = group * l->k % period, end = first + l->k;
        for (int pass = 0; pass < 2; pass++) { /* the users', then the others */
            at = 0;
            for (size_t i = 0; i < columns->count; i++) {
                const passes_span *span = &columns->spans[i];
                int64_t from = at > first ? at : first, to = at + span->width < end ? at + span->width : end;
                for (int64_t column = from; column < to && span->users == (pass == 0); column++) {
                    order[found + others] = column - first;
                    *(pass == 0 ? &found : &others) += 1;
                }
                at += span->width;
            }
        }
        if (group > 0 && found != l->users) {
            return false;
        }
        l->users = found;
    }
    return true;
}

/* The rows of weights for columns [first, first + count) of each group's order. */
static mtl_status pick_weights(passes_rewriter *r, const layer *l, int64_t first, int64_t count, ir_value *weights)
{
    int64_t shape[MTL_MAX_RANK];
    passes_cut *rows = BASE_NEW_ARRAY(&r->scratch, passes_cut, (size_t)(l->groups * count));
    BASE_TRY_MEMORY(rows, r->diag);
    size_t found = 0;
    for (int64_t group = 0; group < l->groups; group++) {
        for (int64_t i = first; i < first + count; i++) {
            rows[found++] = (passes_cut){(group * l->k + l->order[group * l->k + i]) * l->n, l->n};
        }
    }
    memcpy(shape, ir_info(r->graph, l->w)->tensor->shape, sizeof shape);
    shape[l->rank - 2] = count;
    return passes_cut_const(r, l->w, 1, rows, found, l->rank, shape, weights);
}

static bool read_layer(const ir_graph *graph, const ir_node_info *node, layer *l)
{
    if (node->op != IR_OP_linear) {
        return false;
    }
    const ir_type *w = ir_type_of(graph, node->inputs[1]);
    *l = (layer){.x = node->inputs[0],
                 .w = node->inputs[1],
                 .bias = ir_operand(node, 2),
                 .start = ir_operand(node, 3),
                 .rank = w->rank,
                 .groups = w->rank == 3 ? w->dim[0].c : 1,
                 .k = w->dim[w->rank - 2].c,
                 .n = w->dim[w->rank - 1].c};
    const ir_rate *rate = &ir_info(graph, l->x)->rate;
    return rate->kind == IR_RATE_ROW && !rate->per_user && rate->axis < ir_type_of(graph, l->x)->rank - l->rank + 1;
}

/* The columns of the layer's groups: all groups' where they lie in one piece, else those that each group has. */
static mtl_status find_columns(splitter *s, layer *l, const char **note)
{
    passes_rewriter *r = &s->r;
    const ir_type *type = ir_type_of(r->graph, l->x);
    bool rows = type->rank == l->rank;
    *note = NULL;
    l->order = BASE_NEW_ARRAY(&r->scratch, int64_t, (size_t)(l->groups * l->k));
    BASE_TRY_MEMORY(l->order, r->diag);
    if (rows) {
        BASE_TRY(passes_find_row_columns(r, l->x, &s->columns));
        if (s->columns.users > 0 && s->columns.candidates > 0) {
            *note = order_columns(&s->columns, l) ? NULL : uneven;
            return MTL_OK;
        }
    }
    if (!rows || l->rank == 3) {
        BASE_TRY(passes_find_axis_columns(r, l->x, type->rank - 1, &s->columns));
        (void)order_columns(&s->columns, l);
    }
    return MTL_OK;
}

static mtl_status split(splitter *s, ir_node n, const layer *l)
{
    passes_rewriter *r = &s->r;
    ir_type type = *ir_type_of(r->graph, l->x);
    ir_value users[3] = {0, 0, l->bias}, candidates[4] = {0};
    ir_attr none = IR_STRING(act, "");
    type.dim[type.rank - 1] = ir_dim_const(l->users);
    BASE_TRY(passes_pick_columns(r, n, &s->columns, true, &type, &users[0]));
    BASE_TRY(pick_weights(r, l, 0, l->users, &users[1]));
    BASE_TRY(passes_insert(r, n, IR_OP_linear, NULL, users, l->bias != 0 ? 3 : 2, &none, 1, NULL, &candidates[3]));
    passes_set_users(r->graph, candidates[3], true);
    if (l->start != 0) {
        ir_value both[2] = {candidates[3], l->start};
        bool users_alone = passes_is_users(r->graph, l->start);
        BASE_TRY(passes_insert(r, n, IR_OP_add, NULL, both, 2, NULL, 0, NULL, &candidates[3]));
        passes_set_users(r->graph, candidates[3], users_alone);
    }
    type.dim[type.rank - 1] = ir_dim_const(l->k - l->users);
    BASE_TRY(passes_pick_columns(r, n, &s->columns, false, &type, &candidates[0]));
    BASE_TRY(pick_weights(r, l, l->users, l->k - l->users, &candidates[1]));
    return passes_set_inputs(r, n, candidates, 4, fate);
}

static mtl_status visit(splitter *s, ir_node n)
{
    layer l;
    const char *note;
    const ir_node_info *node = ir_node_of(s->r.graph, n);
    if (!read_layer(s->r.graph, node, &l) || l.k == 0) {
        return MTL_OK;
    }
    BASE_TRY(find_columns(s, &l, &note));
    if (s->columns.users == 0 || s->columns.candidates == 0) {
        return MTL_OK;
    }
    int64_t least = l.start != 0 ? LEAST_BESIDE_START : LEAST_COLUMNS;
    bool small = l.users < least || l.users * l.n * l.groups < LEAST_WORK;
    note = note == NULL && small ? too_small : note;
    if (note != NULL) {
        passes_note(s->r.graph, node, note);
        return MTL_OK;
    }
    return split(s, n, &l);
}

static mtl_status visit_all(splitter *s)
{
    ir_graph *graph = s->r.graph;
    for (ir_node n = graph->first_node, next; n != 0; n = next) {
        passes_visit(&s->r, n);
        next = ir_node_of(graph, n)->next;
        BASE_TRY(visit(s, n));
    }
    return MTL_OK;
}

mtl_status passes_split_request(ir_graph *graph, base_diag *diag)
{
    if (!ir_has_users(graph)) {
        return MTL_OK;
    }
    BASE_TRY(ir_infer_rates(graph, diag));
    splitter s = {.columns = {.count = 0}};
    BASE_TRY(passes_begin(graph, diag, &s.r));
    mtl_status status = visit_all(&s);
    return status == MTL_OK ? passes_end(&s.r) : passes_abandon(&s.r, status);
}
