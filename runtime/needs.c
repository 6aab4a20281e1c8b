#include "runtime/needs.h"

#include <string.h>

#include "runtime/native/native.h"

enum {
    MOST_CLEARED = 64,      /* runs of columns that a step has to clear; with more it needs all of its inputs */
    MOST_COLUMNS = 1 << 24, /* of a step that has parts */
};

/* --- bits --- */

/* The bits of a word that are in [from, to), which begins in it. */
static uint64_t word_mask(uint64_t from, uint64_t to)
{
    uint64_t above = to - from / 64 * 64; /* at least 1 */
    uint64_t mask = UINT64_MAX << from % 64;
    return above < 64 ? mask & ~(UINT64_MAX << above) : mask;
}

static void set_bits(uint64_t *bits, uint64_t from, uint64_t to)
{
    for (; from < to; from = (from / 64 + 1) * 64) {
        bits[from / 64] |= word_mask(from, to);
    }
}

static void take_bits(uint64_t *bits, uint64_t from, uint64_t to)
{
    for (; from < to; from = (from / 64 + 1) * 64) {
        bits[from / 64] &= ~word_mask(from, to);
    }
}

static bool any_bits(const uint64_t *bits, uint64_t from, uint64_t to)
{
    for (; from < to; from = (from / 64 + 1) * 64) {
        if ((bits[from / 64] & word_mask(from, to)) != 0) {
            return true;
        }
    }
    return false;
}

static bool all_bits(const uint64_t *bits, uint64_t from, uint64_t to)
{
    for (; from < to; from = (from / 64 + 1) * 64) {
        if ((~bits[from / 64] & word_mask(from, to)) != 0) {
            return false;
        }
    }
    return true;
}

/* --- tensors: elements of one candidate (or user) --- */

static uint64_t extent_once(mtl_dim dim)
{
    return (uint64_t)dim.fixed + (uint64_t)dim.per_row + (uint64_t)dim.per_user;
}

static uint64_t count_once(const plan_view *view, const plan_tensor *tensor, unsigned from, unsigned to)
{
    uint64_t count = 1;
    for (unsigned axis = from; axis < to; axis++) {
        count *= extent_once(plan_dims(view, tensor)[axis]);
    }
    return count;
}

/* The axis that grows, or the rank. */
static unsigned growing_axis(const plan_view *view, const plan_tensor *tensor)
{
    const mtl_dim *dims = plan_dims(view, tensor);
    unsigned axis = 0;
    while (axis < tensor->rank && dims[axis].per_row == 0 && dims[axis].per_user == 0) {
        axis++;
    }
    return axis;
}

/* Whether the elements of a candidate (or user) are one piece, or there is one of all: then element j of a row is at the
 * same place in every row, and what holds for the one row that is looked at holds for all. */
static bool is_regular(const plan_view *view, const plan_tensor *tensor)
{
    unsigned axis = growing_axis(view, tensor);
    return axis == tensor->rank || (count_once(view, tensor, 0, axis) == 1 && plan_dims(view, tensor)[axis].fixed == 0);
}

/* Where a tensor's needs are noted: bits, or an output, or nowhere. */
typedef struct place {
    uint64_t *bits;
    unsigned char *output;
    uint64_t begin, size, width; /* bytes; elements */
    bool regular;                /* else needed whole or not at all */
} place;

static place place_of(const runtime_needs *needs, const plan_tensor *tensor)
{
    const plan_view *view = &needs->plan->view;
    place p = {.size = mtl_dtype_size((mtl_dtype)tensor->dtype)};
    p.begin = tensor->offset + tensor->start * p.size;
    p.width = count_once(view, tensor, 0, tensor->rank);
    p.regular = is_regular(view, tensor);
    switch (tensor->storage) {
    case PLAN_STORAGE_ROW: p.bits = needs->row; break;
    case PLAN_STORAGE_REQUEST: p.bits = needs->request; break;
    case PLAN_STORAGE_OUTPUT: p.output = &needs->outputs[tensor->index]; break;
    default: break;
    }
    return p;
}

static bool is_noted(const place *p)
{
    return p->bits != NULL || p->output != NULL;
}

static bool is_needed(const place *p, uint64_t from, uint64_t to)
{
    if (p->output != NULL) {
        return *p->output != RUNTIME_UNNEEDED;
    }
    from = p->regular ? from : 0;
    to = p->regular ? to : p->width;
    return p->bits != NULL && any_bits(p->bits, (p->begin + from * p->size) / RUNTIME_GRAIN,
                                       (p->begin + to * p->size + RUNTIME_GRAIN - 1) / RUNTIME_GRAIN);
}

/* Whether all of them are: so much is quick to see, and mostly so. */
static bool is_all_needed(const place *p, uint64_t from, uint64_t to)
{
    if (p->output != NULL || !p->regular) {
        return is_needed(p, from, to);
    }
    return p->bits != NULL && all_bits(p->bits, (p->begin + from * p->size) / RUNTIME_GRAIN,
                                       (p->begin + to * p->size + RUNTIME_GRAIN - 1) / RUNTIME_GRAIN);
}

static void need(const place *p, uint64_t from, uint64_t to)
{
    if (p->output != NULL) {
        *p->output = *p->output == RUNTIME_UNNEEDED ? RUNTIME_NEEDED : *p->output;
    }
    from = p->regular ? from : 0;
    to = p->regular ? to : p->width;
    if (p->bits != NULL && from < to) {
        set_bits(p->bits, (p->begin + from * p->size) / RUNTIME_GRAIN,
                 (p->begin + to * p->size + RUNTIME_GRAIN - 1) / RUNTIME_GRAIN);
    }
}

static void need_all(const runtime_needs *needs, const plan_tensor *tensor)
{
    place p = place_of(needs, tensor);
    need(&p, 0, p.width);
}

/* Of `count` elements of x those whose counterpart in y is needed. */
static void need_same(const place *y, uint64_t y_from, const place *x, uint64_t x_from, uint64_t count)
{
    if (is_all_needed(y, y_from, y_from + count)) {
        need(x, x_from, x_from + count);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (is_needed(y, y_from + i, y_from + i + 1)) {
            need(x, x_from + i, x_from + i + 1);
        }
    }
}

/* --- the step at hand --- */

typedef struct step_needs {
    runtime_needs *needs;
    const plan_view *view;
    const plan_step *step;
    const plan_tensor *out;
    place y;
    runtime_choice *choice;
} step_needs;

static const plan_tensor *input_of(const step_needs *s, unsigned i)
{
    return i < s->step->input_count ? plan_operand(s->view, s->step, i) : NULL;
}

static void need_inputs(const step_needs *s, unsigned from)
{
    for (unsigned i = from; i < s->step->input_count; i++) {
        if (input_of(s, i) != NULL) {
            need_all(s->needs, input_of(s, i));
        }
    }
}

static void add_part(const step_needs *s, uint64_t group, uint64_t from, uint64_t to)
{
    s->needs->parts[s->needs->part_count++] = (runtime_part){(uint32_t)group, (uint32_t)from, (uint32_t)to};
    s->choice->count++;
}

/* --- linear: groups, and panels of columns --- */

typedef struct layer {
    uint64_t groups, k, n, parts; /* parts: of a row, each a layer with the same weights */
    uint64_t boundary;            /* columns from here on have no activation and are a product of their own; or 0 */
} layer;

static layer layer_of(const plan_view *view, const plan_step *step)
{
    const mtl_dim *w = plan_dims(view, plan_operand(view, step, 1));
    const plan_tensor *y = plan_result(view, step);
    layer l = {.groups = (uint64_t)w[0].fixed, .k = (uint64_t)w[1].fixed, .n = (uint64_t)w[2].fixed};
    uint64_t columns = l.groups * l.n, act_columns = (uint64_t)view->attrs[step->attrs + 2];
    l.parts = columns > 0 ? count_once(view, y, 0, y->rank) / columns : 0;
    l.boundary = act_columns < l.n ? act_columns : 0;
    return l;
}

static bool column_is_needed(const step_needs *s, const layer *l, uint64_t group, uint64_t column)
{
    uint64_t end = column + PLAN_PANEL < l->n ? column + PLAN_PANEL : l->n;
    for (uint64_t part = 0; part < l->parts; part++) {
        uint64_t at = (part * l->groups + group) * l->n;
        if (is_needed(&s->y, at + column, at + end)) {
            return true;
        }
    }
    return false;
}

/* The first column of a run that ends at `to`: a panel more where the kernel would take what is left of a layer for one
 * of few columns, whose sums have another order (native_linear_columns). */
static uint64_t widen(const layer *l, uint64_t from, uint64_t to)
{
    bool few = to == l->n && to - from <= NATIVE_FEW_COLUMNS;
    return few && from > 0 && from != l->boundary ? from - PLAN_PANEL : from;
}

/* What a group's runs of columns are computed from: its columns of x in each part, and those of what its sums begin with. */
static void need_group(const step_needs *s, const layer *l, uint64_t group, const runtime_part *runs, size_t count)
{
    const plan_tensor *given = input_of(s, 3);
    const place x = place_of(s->needs, input_of(s, 0));
    for (uint64_t part = 0; part < l->parts; part++) {
        uint64_t at = part * l->groups + group;
        need(&x, at * l->k, (at + 1) * l->k);
    }
    if (given == NULL) {
        return;
    }
    const place start = place_of(s->needs, given);
    const uint64_t parts = start.width == l->groups * l->n ? 1 : l->parts; /* one for all of them */
    for (uint64_t part = 0; part < parts; part++) {
        uint64_t at = (part * l->groups + group) * l->n;
        for (size_t r = 0; r < count; r++) {
            need(&start, at + runs[r].from, at + runs[r].to);
        }
    }
}

static void need_linear(const step_needs *s)
{
    const layer l = layer_of(s->view, s->step);
    uint64_t computed = 0;
    for (uint64_t group = 0; group < l.groups; group++) {
        const uint32_t before = s->choice->count;
        for (uint64_t column = 0; column < l.n;) {
            uint64_t from = column;
            while (column < l.n && column_is_needed(s, &l, group, column)) {
                column += PLAN_PANEL;
            }
            uint64_t to = column < l.n ? column : l.n;
            if (from < to) {
                add_part(s, group, widen(&l, from, to), to);
                computed += to - from;
            } else {
                column += PLAN_PANEL;
            }
        }
        if (s->choice->count > before) {
            need_group(s, &l, group, s->needs->parts + s->choice->first + before, s->choice->count - before);
        }
    }
    s->choice->run = computed == l.groups * l.n ? RUNTIME_RUN : RUNTIME_PARTS;
}

/* --- mix: tasks --- */

static void need_mix(const step_needs *s)
{
    const plan_tensor *weights = input_of(s, 0), *values = input_of(s, 1);
    const int64_t *index = s->view->attrs + s->step->attrs;
    const uint64_t tasks = extent_once(plan_dims(s->view, weights)[1]);
    const uint64_t experts = extent_once(plan_dims(s->view, weights)[2]);
    const uint64_t h = extent_once(plan_dims(s->view, values)[2]);
    const place w = place_of(s->needs, weights), v = place_of(s->needs, values);
    uint64_t computed = 0;
    for (uint64_t task = 0; task < tasks; task++) {
        if (!is_needed(&s->y, task * h, (task + 1) * h)) {
            continue;
        }
        runtime_part *last = s->choice->count > 0 ? &s->needs->parts[s->needs->part_count - 1] : NULL;
        if (last != NULL && last->to == task) {
            last->to++;
        } else {
            add_part(s, 0, task, task + 1);
        }
        computed++;
        need(&w, task * experts, (task + 1) * experts);
        for (uint64_t e = 0; e < experts; e++) {
            uint64_t at = (uint64_t)index[task * experts + e];
            need(&v, at * h, (at + 1) * h);
        }
    }
    s->choice->run = computed == tasks ? RUNTIME_RUN : RUNTIME_PARTS;
}

/* --- by element --- */

/* An input's elements by strides over the result's axes. */
typedef struct strided {
    uint64_t extent[MTL_MAX_RANK], offset;
    int64_t stride[MTL_MAX_RANK];
    unsigned rank;
} strided;

static void row_strides(const plan_view *view, const plan_tensor *x, int64_t *strides)
{
    uint64_t stride = 1;
    for (unsigned axis = x->rank; axis-- > 0;) {
        strides[axis] = (int64_t)stride;
        stride *= extent_once(plan_dims(view, x)[axis]);
    }
}

static strided strided_over(const step_needs *s)
{
    strided by = {.rank = s->out->rank};
    for (unsigned axis = 0; axis < by.rank; axis++) {
        by.extent[axis] = extent_once(plan_dims(s->view, s->out)[axis]);
    }
    return by;
}

static void need_strided(const step_needs *s, const place *x, const strided *by)
{
    for (uint64_t i = 0; i < s->y.width; i++) {
        if (!is_needed(&s->y, i, i + 1)) {
            continue;
        }
        uint64_t rest = i, at = by->offset;
        for (unsigned axis = by->rank; axis-- > 0; rest /= by->extent[axis]) {
            at += rest % by->extent[axis] * (uint64_t)by->stride[axis];
        }
        if (at < x->width) {
            need(x, at, at + 1);
        }
    }
}

/* Whether axis `axis` of y is the one that grows in x, or x has none that grows: candidates stay candidates. */
static bool grow_alike(const step_needs *s, const plan_tensor *x, unsigned skipped)
{
    unsigned of_x = growing_axis(s->view, x);
    return of_x == x->rank || of_x + skipped == growing_axis(s->view, s->out);
}

static void need_broadcast(const step_needs *s, const plan_tensor *x)
{
    place p = place_of(s->needs, x);
    unsigned skipped = s->out->rank - x->rank;
    if (!is_noted(&p)) {
        return;
    }
    if (!p.regular || !grow_alike(s, x, skipped) || is_all_needed(&s->y, 0, s->y.width)) {
        need(&p, 0, p.width);
        return;
    }
    if (p.width == s->y.width) {
        need_same(&s->y, 0, &p, 0, p.width);
        return;
    }
    int64_t strides[MTL_MAX_RANK];
    strided by = strided_over(s);
    row_strides(s->view, x, strides);
    for (unsigned axis = 0; axis < x->rank; axis++) {
        bool one = extent_once(plan_dims(s->view, x)[axis]) == 1;
        by.stride[axis + skipped] = one ? 0 : strides[axis];
    }
    need_strided(s, &p, &by);
}

static void need_broadcasts(const step_needs *s)
{
    for (unsigned i = 0; i < s->step->input_count; i++) {
        need_broadcast(s, input_of(s, i));
    }
}

static void need_transpose(const step_needs *s)
{
    const plan_tensor *x = input_of(s, 0);
    const place p = place_of(s->needs, x);
    int64_t strides[MTL_MAX_RANK];
    strided by = strided_over(s);
    if (!is_noted(&p) || !p.regular || is_all_needed(&s->y, 0, s->y.width)) {
        need(&p, 0, p.width);
        return;
    }
    row_strides(s->view, x, strides);
    for (unsigned axis = 0; axis < by.rank; axis++) {
        by.stride[axis] = strides[s->view->attrs[s->step->attrs + axis]];
    }
    need_strided(s, &p, &by);
}

static void need_slice(const step_needs *s)
{
    const plan_tensor *x = input_of(s, 0);
    const int64_t *attrs = s->view->attrs + s->step->attrs; /* (start, step) of each axis */
    const place p = place_of(s->needs, x);
    const unsigned grows = growing_axis(s->view, x);
    bool exact = is_noted(&p) && p.regular && grow_alike(s, x, 0);
    if (grows < x->rank) {
        exact = exact && attrs[2 * grows] == 0 && attrs[2 * grows + 1] == 1;
    }
    if (!exact) {
        need(&p, 0, p.width);
        return;
    }
    int64_t strides[MTL_MAX_RANK];
    strided by = strided_over(s);
    row_strides(s->view, x, strides);
    for (unsigned axis = 0; axis < by.rank; axis++) {
        by.offset += (uint64_t)(attrs[2 * axis] * strides[axis]);
        by.stride[axis] = attrs[2 * axis + 1] * strides[axis];
    }
    need_strided(s, &p, &by);
}

static void need_copy(const step_needs *s)
{
    const place p = place_of(s->needs, input_of(s, 0));
    if (p.regular && s->y.regular && p.width == s->y.width) {
        need_same(&s->y, 0, &p, 0, p.width);
    } else {
        need(&p, 0, p.width);
    }
}

static void need_concat(const step_needs *s)
{
    const unsigned axis = (unsigned)s->view->attrs[s->step->attrs];
    const uint64_t outer = count_once(s->view, s->out, 0, axis);
    const uint64_t block = count_once(s->view, s->out, axis, s->out->rank);
    uint64_t at = 0;
    if (!s->y.regular || growing_axis(s->view, s->out) >= axis) {
        need_inputs(s, 0);
        return;
    }
    for (unsigned i = 0; i < s->step->input_count; i++) {
        const plan_tensor *x = input_of(s, i);
        const place p = place_of(s->needs, x);
        const uint64_t own = count_once(s->view, x, axis, x->rank);
        for (uint64_t o = 0; o < outer && is_noted(&p); o++) {
            need_same(&s->y, o * block + at, &p, o * own, own);
        }
        at += own;
    }
}

/* --- along axes --- */

/* x (outer, n, inner): axes [first, last) of the first input. */
typedef struct lines {
    uint64_t outer, n, inner;
    bool exact; /* candidates are among the outer ones, and not all is needed */
} lines;

static lines lines_of(const step_needs *s, unsigned first, unsigned last)
{
    const plan_tensor *x = input_of(s, 0);
    unsigned grows = growing_axis(s->view, x);
    return (lines){
        .outer = count_once(s->view, x, 0, first),
        .n = count_once(s->view, x, first, last),
        .inner = count_once(s->view, x, last, x->rank),
        .exact = s->y.regular && is_regular(s->view, x) && (grows < first || grows == x->rank) &&
                 !is_all_needed(&s->y, 0, s->y.width),
    };
}

/* A line of x is needed where any of its m elements in y is: y has as many lines. */
static void need_lines(const step_needs *s, const lines *l, uint64_t m)
{
    const place p = place_of(s->needs, input_of(s, 0));
    if (!is_noted(&p) || !l->exact) {
        need(&p, 0, p.width);
        return;
    }
    for (uint64_t o = 0; o < l->outer; o++) {
        for (uint64_t i = 0; i < l->inner; i++) {
            bool needed = false;
            for (uint64_t j = 0; j < m && !needed; j++) {
                needed = is_needed(&s->y, (o * m + j) * l->inner + i, (o * m + j) * l->inner + i + 1);
            }
            for (uint64_t j = 0; needed && j < l->n; j++) {
                need(&p, (o * l->n + j) * l->inner + i, (o * l->n + j) * l->inner + i + 1);
            }
        }
    }
}

/* Of a running sum all that comes before the last element that is needed (behind the first, in reverse). */
static void need_scan(const step_needs *s)
{
    const int64_t *attrs = s->view->attrs + s->step->attrs;
    const place p = place_of(s->needs, input_of(s, 0));
    const lines l = lines_of(s, (unsigned)attrs[0], (unsigned)attrs[0] + 1);
    const bool reverse = attrs[2] != 0;
    if (!is_noted(&p) || !l.exact) {
        need(&p, 0, p.width);
        return;
    }
    for (uint64_t o = 0; o < l.outer; o++) {
        for (uint64_t i = 0; i < l.inner; i++) {
            bool needed = false;
            for (uint64_t turn = l.n; turn-- > 0;) {
                uint64_t at = (o * l.n + (reverse ? l.n - 1 - turn : turn)) * l.inner + i;
                needed = needed || is_needed(&s->y, at, at + 1);
                if (needed) {
                    need(&p, at, at + 1);
                }
            }
        }
    }
}

/* --- rules --- */

/* Steps that compute all of their result whatever is needed of it: their inputs' other columns have to be cleared. */
static bool is_by_element(unsigned op)
{
    switch ((plan_op)op) {
    case PLAN_OP_unary:
    case PLAN_OP_binary:
    case PLAN_OP_where:
    case PLAN_OP_cast:
    case PLAN_OP_softmax:
    case PLAN_OP_reduce:
    case PLAN_OP_layer_norm:
    case PLAN_OP_scan:
    case PLAN_OP_chain: return true;
    default: return false;
    }
}

/* Whether an input's columns can be cleared: those of a tile's values, in whole grains. Others hold no values that were
 * not computed, or are to be needed whole. */
static bool is_clearable(const plan_view *view, const plan_tensor *x)
{
    return x->storage != PLAN_STORAGE_REQUEST &&
           (x->storage != PLAN_STORAGE_ROW ||
            (mtl_dtype_size((mtl_dtype)x->dtype) % RUNTIME_GRAIN == 0 && is_regular(view, x) &&
             growing_axis(view, x) < x->rank && count_once(view, x, 0, x->rank) <= UINT32_MAX));
}

static bool are_clearable(const step_needs *s)
{
    for (unsigned i = 0; i < s->step->input_count; i++) {
        if (input_of(s, i) != NULL && !is_clearable(s->view, input_of(s, i))) {
            return false;
        }
    }
    return true;
}

static void need_by_element(const step_needs *s)
{
    const int64_t *attrs = s->view->attrs + s->step->attrs;
    const unsigned rank = input_of(s, 0)->rank;
    lines l;
    switch ((plan_op)s->step->op) {
    case PLAN_OP_softmax:
        l = lines_of(s, (unsigned)attrs[0], (unsigned)attrs[0] + 1);
        need_lines(s, &l, l.n);
        break;
    case PLAN_OP_layer_norm:
        l = lines_of(s, (unsigned)attrs[0], rank);
        need_lines(s, &l, l.n);
        need_inputs(s, 1);
        break;
    case PLAN_OP_reduce:
        l = lines_of(s, (unsigned)attrs[0], (unsigned)attrs[1]);
        need_lines(s, &l, 1);
        break;
    case PLAN_OP_scan: need_scan(s); break;
    default: need_broadcasts(s); break;
    }
}

/* The columns of its inputs that nothing from here on needs, as parts. False: too many. */
static bool find_cleared(const step_needs *s)
{
    for (unsigned i = 0; i < s->step->input_count; i++) {
        const plan_tensor *x = input_of(s, i);
        if (x == NULL || x->storage != PLAN_STORAGE_ROW) {
            continue;
        }
        const place p = place_of(s->needs, x);
        if (is_all_needed(&p, 0, p.width)) {
            continue;
        }
        for (uint64_t from = 0, to; from < p.width; from = to) {
            to = from + 1;
            if (is_needed(&p, from, to)) {
                continue;
            }
            while (to < p.width && !is_needed(&p, to, to + 1)) {
                to++;
            }
            if (s->choice->count == MOST_CLEARED) {
                return false;
            }
            add_part(s, i, from, to);
        }
    }
    return true;
}

static void need_whole_step(const step_needs *s)
{
    s->needs->part_count -= s->choice->count;
    s->choice->count = 0;
    s->choice->run = RUNTIME_RUN;
    need_inputs(s, 0);
}

/* Whether the step can be run in part. */
static bool has_parts(const mtl_plan *plan, size_t number)
{
    const plan_view *view = &plan->view;
    const plan_step *step = &view->steps[number];
    const plan_tensor *y = plan_result(view, step), *last = plan_operand(view, step, step->input_count > 1);
    return plan->steps[number].run_part != NULL && count_once(view, y, 0, y->rank) <= MOST_COLUMNS &&
           count_once(view, last, 0, last->rank - 1u) <= MOST_COLUMNS;
}

static void find_inputs(const step_needs *s, size_t number)
{
    switch ((plan_op)s->step->op) {
    case PLAN_OP_linear:
        if (has_parts(s->needs->plan, number)) {
            need_linear(s);
            return;
        }
        break;
    case PLAN_OP_mix:
        if (has_parts(s->needs->plan, number)) {
            need_mix(s);
            return;
        }
        break;
    case PLAN_OP_copy: need_copy(s); return;
    case PLAN_OP_concat: need_concat(s); return;
    case PLAN_OP_slice: need_slice(s); return;
    case PLAN_OP_transpose: need_transpose(s); return;
    case PLAN_OP_expand:
    case PLAN_OP_spread: need_broadcasts(s); return;
    default:
        if (is_by_element(s->step->op) && are_clearable(s)) {
            need_by_element(s);
            return;
        }
    }
    need_whole_step(s);
}

/* Whether the step writes where it reads: then its result's bits have become its input's. */
static bool is_in_place(const step_needs *s)
{
    for (unsigned i = 0; i < s->step->input_count; i++) {
        const plan_tensor *x = input_of(s, i);
        if (x != NULL && x->storage == s->out->storage) {
            const place p = place_of(s->needs, x);
            if (p.bits != NULL && p.begin == s->y.begin) {
                return true;
            }
        }
    }
    return false;
}

static void find_step(runtime_needs *needs, size_t number)
{
    const plan_view *view = &needs->plan->view;
    const plan_step *step = &view->steps[number];
    step_needs s = {.needs = needs, .view = view, .step = step, .out = plan_result(view, step)};
    s.choice = &needs->choices[number];
    *s.choice = (runtime_choice){.run = RUNTIME_SKIP, .first = needs->part_count};
    s.y = place_of(needs, s.out);
    if (!is_needed(&s.y, 0, s.y.width)) {
        return;
    }
    s.choice->run = RUNTIME_RUN;
    find_inputs(&s, number);
    if (plan_span(view, step) != NULL) {
        need_all(needs, plan_span(view, step));
    }
    if (s.y.bits != NULL && !is_in_place(&s)) {
        take_bits(s.y.bits, (s.y.begin + RUNTIME_GRAIN - 1) / RUNTIME_GRAIN,
                  (s.y.begin + s.y.width * s.y.size) / RUNTIME_GRAIN);
    }
    if (s.choice->run == RUNTIME_RUN && is_by_element(step->op) && are_clearable(&s)) {
        if (!find_cleared(&s)) {
            need_whole_step(&s);
        } else if (s.choice->count > 0) {
            s.choice->run = RUNTIME_CLEAR;
        }
    }
    if (s.choice->run == RUNTIME_RUN) {
        needs->part_count = s.choice->first;
        s.choice->count = 0;
    }
}

void runtime_find_needs(runtime_needs *needs)
{
    const plan_view *view = &needs->plan->view;
    needs->part_count = 0;
    memset(needs->row, 0, runtime_needs_words(view->meta->row_bytes) * sizeof *needs->row);
    memset(needs->request, 0, runtime_needs_words(view->meta->request_bytes) * sizeof *needs->request);
    for (size_t i = view->step_count; i-- > 0;) {
        find_step(needs, i);
    }
}

size_t runtime_most_parts(const mtl_plan *plan, size_t number)
{
    const plan_view *view = &plan->view;
    const plan_step *step = &view->steps[number];
    if (step->op == PLAN_OP_linear && has_parts(plan, number)) {
        const layer l = layer_of(view, step);
        return (size_t)(l.groups * ((l.n + PLAN_PANEL - 1) / PLAN_PANEL + 1) / 2 + l.groups);
    }
    if (step->op == PLAN_OP_mix && has_parts(plan, number)) {
        return (size_t)plan_dims(view, plan_operand(view, step, 0))[1].fixed / 2 + 1;
    }
    return is_by_element(step->op) ? MOST_CLEARED : 0;
}

void runtime_part_share(const mtl_plan *plan, size_t number, const runtime_part *parts, size_t count,
                        uint64_t *computed, uint64_t *all)
{
    const plan_view *view = &plan->view;
    const plan_step *step = &view->steps[number];
    *computed = 0;
    for (size_t i = 0; i < count; i++) {
        *computed += parts[i].to - parts[i].from;
    }
    if (step->op == PLAN_OP_linear) {
        const layer l = layer_of(view, step);
        *all = l.groups * l.n;
    } else {
        *all = (uint64_t)plan_dims(view, plan_operand(view, step, 0))[1].fixed;
    }
}
