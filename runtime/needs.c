#include "runtime/needs.h"

#include <string.h>

#include "runtime/native/native.h"
#include "runtime/places.h"

enum {
    MOST_CLEARED = 64,      /* runs of columns that a step has to clear; with more it needs all of its inputs */
    MOST_COLUMNS = 1 << 24, /* of a step that has parts */
};

static void need_all(const runtime_needs *needs, const plan_tensor *tensor)
{
    runtime_place p = runtime_place_of(needs, tensor);
    runtime_note(&p, 0, p.width);
}

/* Of `count` elements of x those whose counterpart in y is needed. */
static void need_same(const runtime_place *y, uint64_t y_from, const runtime_place *x, uint64_t x_from, uint64_t count)
{
    if (runtime_is_all_needed(y, y_from, y_from + count)) {
        runtime_note(x, x_from, x_from + count);
        return;
    }
    for (uint64_t i = 0; i < count; i++) {
        if (runtime_is_needed(y, y_from + i, y_from + i + 1)) {
            runtime_note(x, x_from + i, x_from + i + 1);
        }
    }
}

/* --- the step at hand --- */

typedef struct step_needs {
    runtime_needs *needs;
    const plan_view *view;
    const plan_step *step;
    const plan_tensor *out;
    runtime_place y;
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
    l.parts = columns > 0 ? runtime_count_once(view, y, 0, y->rank) / columns : 0;
    l.boundary = act_columns < l.n ? act_columns : 0;
    return l;
}

static bool column_is_needed(const step_needs *s, const layer *l, uint64_t group, uint64_t column)
{
    uint64_t end = column + PLAN_PANEL < l->n ? column + PLAN_PANEL : l->n;
    for (uint64_t part = 0; part < l->parts; part++) {
        uint64_t at = (part * l->groups + group) * l->n;
        if (runtime_is_needed(&s->y, at + column, at + end)) {
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
    const runtime_place x = runtime_place_of(s->needs, input_of(s, 0));
    for (uint64_t part = 0; part < l->parts; part++) {
        uint64_t at = part * l->groups + group;
        runtime_note(&x, at * l->k, (at + 1) * l->k);
    }
    if (given == NULL) {
        return;
    }
    const runtime_place start = runtime_place_of(s->needs, given);
    const uint64_t parts = start.width == l->groups * l->n ? 1 : l->parts; /* one for all of them */
    for (uint64_t part = 0; part < parts; part++) {
        uint64_t at = (part * l->groups + group) * l->n;
        for (size_t r = 0; r < count; r++) {
            runtime_note(&start, at + runs[r].from, at + runs[r].to);
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

/* A row of the workspace may be some rows of the mixture (3 x B of them, say), whose weights or values may be one for all. */
typedef struct mixture {
    uint64_t rows, tasks, experts, h;
    runtime_place weights, values;
    uint64_t weights_row, values_row; /* elements from a row to the next; 0: one for all */
    const int64_t *index;
} mixture;

static mixture mixture_of(const step_needs *s)
{
    const plan_tensor *weights = input_of(s, 0), *values = input_of(s, 1);
    const mtl_dim *w = plan_dims(s->view, weights), *v = plan_dims(s->view, values);
    mixture m = {
        .rows = runtime_extent_once(plan_dims(s->view, s->out)[0]),
        .tasks = runtime_extent_once(w[1]),
        .experts = runtime_extent_once(w[2]),
        .h = runtime_extent_once(v[2]),
        .weights = runtime_place_of(s->needs, weights),
        .values = runtime_place_of(s->needs, values),
        .index = s->view->attrs + s->step->attrs,
    };
    m.weights_row = runtime_extent_once(w[0]) == m.rows ? m.tasks * m.experts : 0;
    m.values_row = runtime_extent_once(v[0]) == m.rows ? runtime_extent_once(v[1]) * m.h : 0;
    return m;
}

static bool task_is_needed(const step_needs *s, const mixture *m, uint64_t task)
{
    for (uint64_t row = 0; row < m->rows; row++) {
        uint64_t at = (row * m->tasks + task) * m->h;
        if (runtime_is_needed(&s->y, at, at + m->h)) {
            return true;
        }
    }
    return false;
}

static void need_task(const mixture *m, uint64_t task)
{
    for (uint64_t row = 0; row < m->rows; row++) {
        uint64_t gate = row * m->weights_row + task * m->experts;
        runtime_note(&m->weights, gate, gate + m->experts);
        for (uint64_t e = 0; e < m->experts; e++) {
            uint64_t vector = row * m->values_row + (uint64_t)m->index[task * m->experts + e] * m->h;
            runtime_note(&m->values, vector, vector + m->h);
        }
    }
}

static void need_mix(const step_needs *s)
{
    const mixture m = mixture_of(s);
    uint64_t computed = 0;
    for (uint64_t task = 0; task < m.tasks; task++) {
        if (!task_is_needed(s, &m, task)) {
            continue;
        }
        runtime_part *last = s->choice->count > 0 ? &s->needs->parts[s->needs->part_count - 1] : NULL;
        if (last != NULL && last->to == task) {
            last->to++;
        } else {
            add_part(s, 0, task, task + 1);
        }
        computed++;
        need_task(&m, task);
    }
    s->choice->run = computed == m.tasks ? RUNTIME_RUN : RUNTIME_PARTS;
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
        stride *= runtime_extent_once(plan_dims(view, x)[axis]);
    }
}

static strided strided_over(const step_needs *s)
{
    strided by = {.rank = s->out->rank};
    for (unsigned axis = 0; axis < by.rank; axis++) {
        by.extent[axis] = runtime_extent_once(plan_dims(s->view, s->out)[axis]);
    }
    return by;
}

static void need_strided(const step_needs *s, const runtime_place *x, const strided *by)
{
    for (uint64_t i = 0; i < s->y.width; i++) {
        if (!runtime_is_needed(&s->y, i, i + 1)) {
            continue;
        }
        uint64_t rest = i, at = by->offset;
        for (unsigned axis = by->rank; axis-- > 0; rest /= by->extent[axis]) {
            at += rest % by->extent[axis] * (uint64_t)by->stride[axis];
        }
        if (at < x->width) {
            runtime_note(x, at, at + 1);
        }
    }
}

/* Whether axis `axis` of y is the one that grows in x, or x has none that grows: candidates stay candidates. */
static bool grow_alike(const step_needs *s, const plan_tensor *x, unsigned skipped)
{
    unsigned of_x = runtime_growing_axis(s->view, x);
    return of_x == x->rank || of_x + skipped == runtime_growing_axis(s->view, s->out);
}

static void need_broadcast(const step_needs *s, const plan_tensor *x)
{
    runtime_place p = runtime_place_of(s->needs, x);
    unsigned skipped = s->out->rank - x->rank;
    if (!runtime_is_noted(&p)) {
        return;
    }
    if (!p.regular || !grow_alike(s, x, skipped) || runtime_is_all_needed(&s->y, 0, s->y.width)) {
        runtime_note(&p, 0, p.width);
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
        bool one = runtime_extent_once(plan_dims(s->view, x)[axis]) == 1;
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
    const runtime_place p = runtime_place_of(s->needs, x);
    int64_t strides[MTL_MAX_RANK];
    strided by = strided_over(s);
    if (!runtime_is_noted(&p) || !p.regular || runtime_is_all_needed(&s->y, 0, s->y.width)) {
        runtime_note(&p, 0, p.width);
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
    const runtime_place p = runtime_place_of(s->needs, x);
    const unsigned grows = runtime_growing_axis(s->view, x);
    bool exact = runtime_is_noted(&p) && p.regular && grow_alike(s, x, 0);
    if (grows < x->rank) {
        exact = exact && attrs[2 * grows] == 0 && attrs[2 * grows + 1] == 1;
    }
    if (!exact) {
        runtime_note(&p, 0, p.width);
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
    const runtime_place p = runtime_place_of(s->needs, input_of(s, 0));
    if (p.regular && s->y.regular && p.width == s->y.width) {
        need_same(&s->y, 0, &p, 0, p.width);
    } else {
        runtime_note(&p, 0, p.width);
    }
}

static void need_concat(const step_needs *s)
{
    const unsigned axis = (unsigned)s->view->attrs[s->step->attrs];
    const uint64_t outer = runtime_count_once(s->view, s->out, 0, axis);
    const uint64_t block = runtime_count_once(s->view, s->out, axis, s->out->rank);
    uint64_t at = 0;
    if (!s->y.regular || runtime_growing_axis(s->view, s->out) >= axis) {
        need_inputs(s, 0);
        return;
    }
    for (unsigned i = 0; i < s->step->input_count; i++) {
        const plan_tensor *x = input_of(s, i);
        const runtime_place p = runtime_place_of(s->needs, x);
        const uint64_t own = runtime_count_once(s->view, x, axis, x->rank);
        for (uint64_t o = 0; o < outer && runtime_is_noted(&p); o++) {
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
    unsigned grows = runtime_growing_axis(s->view, x);
    return (lines){
        .outer = runtime_count_once(s->view, x, 0, first),
        .n = runtime_count_once(s->view, x, first, last),
        .inner = runtime_count_once(s->view, x, last, x->rank),
        .exact = s->y.regular && runtime_is_regular(s->view, x) && (grows < first || grows == x->rank) &&
                 !runtime_is_all_needed(&s->y, 0, s->y.width),
    };
}

/* A line of x is needed where any of its m elements in y is: y has as many lines. */
static void need_lines(const step_needs *s, const lines *l, uint64_t m)
{
    const runtime_place p = runtime_place_of(s->needs, input_of(s, 0));
    if (!runtime_is_noted(&p) || !l->exact) {
        runtime_note(&p, 0, p.width);
        return;
    }
    for (uint64_t o = 0; o < l->outer; o++) {
        for (uint64_t i = 0; i < l->inner; i++) {
            bool needed = false;
            for (uint64_t j = 0; j < m && !needed; j++) {
                needed = runtime_is_needed(&s->y, (o * m + j) * l->inner + i, (o * m + j) * l->inner + i + 1);
            }
            for (uint64_t j = 0; needed && j < l->n; j++) {
                runtime_note(&p, (o * l->n + j) * l->inner + i, (o * l->n + j) * l->inner + i + 1);
            }
        }
    }
}

/* Of a running sum all that comes before the last element that is needed (behind the first, in reverse). */
static void need_scan(const step_needs *s)
{
    const int64_t *attrs = s->view->attrs + s->step->attrs;
    const runtime_place p = runtime_place_of(s->needs, input_of(s, 0));
    const lines l = lines_of(s, (unsigned)attrs[0], (unsigned)attrs[0] + 1);
    const bool reverse = attrs[2] != 0;
    if (!runtime_is_noted(&p) || !l.exact) {
        runtime_note(&p, 0, p.width);
        return;
    }
    for (uint64_t o = 0; o < l.outer; o++) {
        for (uint64_t i = 0; i < l.inner; i++) {
            bool needed = false;
            for (uint64_t turn = l.n; turn-- > 0;) {
                uint64_t at = (o * l.n + (reverse ? l.n - 1 - turn : turn)) * l.inner + i;
                needed = needed || runtime_is_needed(&s->y, at, at + 1);
                if (needed) {
                    runtime_note(&p, at, at + 1);
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
            (mtl_dtype_size((mtl_dtype)x->dtype) % RUNTIME_GRAIN == 0 && runtime_is_regular(view, x) &&
             runtime_growing_axis(view, x) < x->rank && runtime_count_once(view, x, 0, x->rank) <= UINT32_MAX));
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
        const runtime_place p = runtime_place_of(s->needs, x);
        if (runtime_is_all_needed(&p, 0, p.width)) {
            continue;
        }
        for (uint64_t from = 0, to; from < p.width; from = to) {
            to = from + 1;
            if (runtime_is_needed(&p, from, to)) {
                continue;
            }
            while (to < p.width && !runtime_is_needed(&p, to, to + 1)) {
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
    return plan->steps[number].run_part != NULL && runtime_count_once(view, y, 0, y->rank) <= MOST_COLUMNS &&
           runtime_count_once(view, last, 0, last->rank - 1u) <= MOST_COLUMNS;
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
            const runtime_place p = runtime_place_of(s->needs, x);
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
    s.y = runtime_place_of(needs, s.out);
    if (!runtime_is_needed(&s.y, 0, s.y.width)) {
        return;
    }
    s.choice->run = RUNTIME_RUN;
    find_inputs(&s, number);
    if (plan_span(view, step) != NULL) {
        need_all(needs, plan_span(view, step));
    }
    if (!is_in_place(&s)) {
        runtime_take_needs(&s.y);
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
