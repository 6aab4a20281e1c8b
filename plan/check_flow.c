/* plan_check, fourth part: what flows between the steps.
 *
 * Each workspace is followed as a set of live groups: disjoint places of bytes, each with a dtype and a number of
 * elements, as its first write gave them. A group is what a dense tensor writes whole, and what windows write by
 * columns. A write ends the groups that it overlaps, but for one at its own place that is alike; a read must name a
 * live group exactly, and columns that have been written since it began. Written columns are disjoint runs that do not
 * touch, kept like groups by where they start (a row's bytes in the group count as its columns).
 *
 * What a step with a span computes is a group of its mask's span: only steps with a span of the same mask, as it was
 * then, read it, and only where they leave out what it does not have.
 *
 * Groups and runs are kept over the sorted places where any tensor starts, in a bitmap with summaries, so that a whole
 * plan takes O(n log n) whatever it holds. Outputs are groups that never end.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "plan/check.h"

enum { MAX_LEVELS = 5 }; /* 64^5 is beyond the limit on tensors */

/* Some of the places, which are sorted. */
typedef struct live_set {
    uint64_t *places;            /* ascending, different */
    uint64_t *level[MAX_LEVELS]; /* level[0]: a bit for each live place; above: a bit for each word that is not 0 */
    size_t count;
    int levels;
} live_set;

/* A workspace, or all outputs. */
typedef struct space {
    live_set groups, runs;
    uint32_t *writer; /* by place of groups: the tensor that began the group ... */
    uint64_t *time;   /* ... the number of the last write to it ... */
    uint64_t *span;   /* ... and the span that it was computed in: see span_now */
    uint64_t *end;    /* by place of runs */
} space;

typedef struct flow_state {
    const plan_view *view;
    base_diag *diag;
    space request, row, output;
    uint64_t time; /* writes so far */
} flow_state;

/* Where a tensor lies in its space: its group, and its columns. Bytes of a row; of outputs, elements. */
typedef struct extent {
    uint64_t group, group_end, from, to;
} extent;

static extent extent_of(const plan_view *view, const plan_tensor *tensor)
{
    const uint64_t most = (uint64_t)1 << 47;
    uint64_t size = mtl_dtype_size(tensor->dtype), bytes = plan_tensor_bytes(view, tensor);
    extent at = {.group = tensor->offset};
    if (tensor->storage == PLAN_STORAGE_OUTPUT) {
        at.group = (uint64_t)tensor->index << 48; /* there are at most 2^16 */
        bytes = bytes / size > most ? most : bytes / size;
        bytes = bytes == 0 ? 1 : bytes; /* an empty one is written, too */
        size = 1;
    }
    at.group_end = at.group + bytes;
    at.from = at.group;
    at.to = at.group_end;
    if (plan_is_window(tensor)) {
        const mtl_dim *dims = plan_dims(view, tensor);
        uint64_t width = (uint64_t)plan_dim_once(plan_count(dims, 0, tensor->rank));
        at.from = at.group + tensor->start * size;
        at.to = at.from + width * size;
    }
    return at;
}

static int by_number(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* `places`: `count` of them in any order, sorted here. */
static mtl_status make_set(const flow_state *flow, uint64_t *places, size_t count, base_arena *scratch, live_set *set)
{
    size_t different = 0;
    qsort(places, count, sizeof *places, by_number);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || places[i] != places[i - 1]) {
            places[different++] = places[i];
        }
    }
    set->places = places;
    set->count = different;
    size_t words = different;
    do {
        words = (words + 63) / 64;
        set->level[set->levels] = BASE_NEW_ARRAY(scratch, uint64_t, words);
        BASE_TRY_MEMORY(set->level[set->levels], flow->diag);
        set->levels++;
    } while (words > 1);
    return MTL_OK;
}

static mtl_status make_space(const flow_state *flow, plan_storage storage, base_arena *scratch, space *in)
{
    const plan_view *view = flow->view;
    size_t count = 0;
    for (size_t i = 0; i < view->tensor_count; i++) {
        count += view->tensors[i].storage == storage;
    }
    uint64_t *groups = BASE_NEW_ARRAY(scratch, uint64_t, count), *runs = BASE_NEW_ARRAY(scratch, uint64_t, count);
    in->writer = BASE_NEW_ARRAY(scratch, uint32_t, count);
    in->end = BASE_NEW_ARRAY(scratch, uint64_t, count);
    in->time = BASE_NEW_ARRAY(scratch, uint64_t, count);
    in->span = BASE_NEW_ARRAY(scratch, uint64_t, count);
    BASE_TRY_MEMORY(groups, flow->diag);
    BASE_TRY_MEMORY(runs, flow->diag);
    BASE_TRY_MEMORY(in->writer, flow->diag);
    BASE_TRY_MEMORY(in->end, flow->diag);
    BASE_TRY_MEMORY(in->time, flow->diag);
    BASE_TRY_MEMORY(in->span, flow->diag);
    for (size_t i = 0, at = 0; i < view->tensor_count; i++) {
        if (view->tensors[i].storage == storage) {
            extent place = extent_of(view, &view->tensors[i]);
            groups[at] = place.group;
            runs[at++] = place.from;
        }
    }
    BASE_TRY(make_set(flow, groups, count, scratch, &in->groups));
    return make_set(flow, runs, count, scratch, &in->runs);
}

/* The last place that is not behind `place`. */
static size_t find(const live_set *set, uint64_t place)
{
    size_t low = 0, high = set->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (set->places[middle] <= place) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_live(const live_set *set, size_t at)
{
    return (set->level[0][at / 64] >> at % 64 & 1) != 0;
}

static void add(live_set *set, size_t at)
{
    for (int level = 0; level < set->levels; level++, at /= 64) {
        set->level[level][at / 64] |= (uint64_t)1 << at % 64;
    }
}

static void take(live_set *set, size_t at)
{
    for (int level = 0; level < set->levels; level++, at /= 64) {
        set->level[level][at / 64] &= ~((uint64_t)1 << at % 64);
        if (set->level[level][at / 64] != 0) {
            return;
        }
    }
}

/* The nearest live position behind `at` (forward) or before it, or SIZE_MAX. */
static size_t neighbour(const live_set *set, size_t at, bool forward)
{
    for (int level = 0; level < set->levels; level++, at /= 64) {
        uint64_t bit = (uint64_t)1 << at % 64;
        uint64_t others = set->level[level][at / 64] & (forward ? ~(bit | (bit - 1)) : bit - 1);
        if (others == 0) {
            continue;
        }
        at = at / 64 * 64 + (size_t)(forward ? __builtin_ctzll(others) : 63 - __builtin_clzll(others));
        while (level-- > 0) { /* down to the value, along the nearest side */
            uint64_t word = set->level[level][at];
            at = at * 64 + (size_t)(forward ? __builtin_ctzll(word) : 63 - __builtin_clzll(word));
        }
        return at;
    }
    return SIZE_MAX;
}

static bool same_group(const plan_view *view, const plan_tensor *a, const plan_tensor *b)
{
    return a->dtype == b->dtype && plan_dim_equal(plan_group_elements(view, a), plan_group_elements(view, b));
}

/* Adds columns to the runs; those of the group that they overlap or touch become one with them. */
static void add_run(space *in, const extent *columns)
{
    live_set *runs = &in->runs;
    uint64_t to = columns->to;
    size_t at = find(runs, columns->from);
    size_t before = is_live(runs, at) ? at : neighbour(runs, at, false);
    if (before != SIZE_MAX && runs->places[before] >= columns->group && in->end[before] >= columns->from) {
        at = before;
        to = in->end[before] > to ? in->end[before] : to;
    }
    for (size_t next = neighbour(runs, at, true);
         next != SIZE_MAX && runs->places[next] <= to && runs->places[next] < columns->group_end;
         next = neighbour(runs, at, true)) {
        to = in->end[next] > to ? in->end[next] : to;
        take(runs, next);
    }
    in->end[at] = to;
    add(runs, at);
}

static void end_group(const flow_state *flow, space *in, size_t group)
{
    extent of = extent_of(flow->view, &flow->view->tensors[in->writer[group]]);
    take(&in->groups, group);
    size_t at = find(&in->runs, of.group);
    while (at != SIZE_MAX && in->runs.places[at] < of.group_end) {
        if (in->runs.places[at] >= of.group && is_live(&in->runs, at)) {
            take(&in->runs, at);
        }
        at = neighbour(&in->runs, at, true);
    }
}

/* The span of a step: 0 for none, else a number for its mask as it is now. A mask of ROW is known by its last write, which
 * is after those of earlier contents. */
static uint64_t span_now(const flow_state *flow, const plan_step *step)
{
    const plan_tensor *mask = plan_span(flow->view, step);
    if (mask == NULL) {
        return 0;
    }
    const uint64_t whole = (step->span & PLAN_SPAN_WHOLE) != 0 ? 2 : 0;
    if (mask->storage == PLAN_STORAGE_INPUT) {
        return (uint64_t)mask->index << 2 | whole | 1;
    }
    return flow->row.groups.count == 0 ? 0 : flow->row.time[find(&flow->row.groups, mask->offset)] << 2 | whole;
}

/* `span`: of what is written, 0: all of it. */
static void write_value(flow_state *flow, space *in, const plan_tensor *tensor, uint64_t span)
{
    extent to = extent_of(flow->view, tensor);
    if (to.group == to.group_end || to.from == to.to) {
        return;
    }
    size_t at = find(&in->groups, to.group);
    if (!is_live(&in->groups, at) || in->span[at] != 0 ||
        !same_group(flow->view, tensor, &flow->view->tensors[in->writer[at]])) {
        size_t before = neighbour(&in->groups, at, false);
        if (before != SIZE_MAX &&
            extent_of(flow->view, &flow->view->tensors[in->writer[before]]).group_end > to.group) {
            end_group(flow, in, before);
        }
        if (is_live(&in->groups, at)) {
            end_group(flow, in, at);
        }
        for (size_t next = neighbour(&in->groups, at, true); next != SIZE_MAX && in->groups.places[next] < to.group_end;
             next = neighbour(&in->groups, at, true)) {
            end_group(flow, in, next);
        }
        in->writer[at] = (uint32_t)(tensor - flow->view->tensors);
        add(&in->groups, at);
    }
    in->time[at] = ++flow->time;
    in->span[at] = span;
    add_run(in, &to);
}

static bool is_written(const space *in, const extent *columns)
{
    size_t at = find(&in->runs, columns->from);
    if (in->runs.count == 0) {
        return false;
    }
    at = is_live(&in->runs, at) ? at : neighbour(&in->runs, at, false);
    return at != SIZE_MAX && in->end[at] >= columns->to;
}

static const char *name_of(const plan_view *view, const plan_tensor *tensor)
{
    return plan_string(view, tensor->name);
}

/* `span`: the only one that what is read may have been computed in; 0: none. */
static mtl_status read_value(const flow_state *flow, const plan_step *step, const space *in, unsigned i,
                             const plan_tensor *tensor, uint64_t span)
{
    const plan_view *view = flow->view;
    extent from = extent_of(view, tensor);
    if (from.group == from.group_end || from.from == from.to) {
        return MTL_OK;
    }
    size_t at = find(&in->groups, from.group);
    const plan_tensor *writer = is_live(&in->groups, at) ? &view->tensors[in->writer[at]] : NULL;
    if (writer == NULL || (same_group(view, tensor, writer) && !is_written(in, &from))) {
        return plan_fail_step(view, step, flow->diag,
                              "input %u ('%.100s', offset %" PRIu64
                              ") is read before it is written, or was overwritten",
                              i, name_of(view, tensor), tensor->offset);
    }
    if (!same_group(view, tensor, writer)) {
        char read[PLAN_SHAPE_TEXT], written[PLAN_SHAPE_TEXT];
        return plan_fail_step(view, step, flow->diag, "input %u ('%.60s') is %s %s, but %s %s was written there", i,
                              name_of(view, tensor), mtl_dtype_name(tensor->dtype),
                              plan_shape_text(plan_dims(view, tensor), tensor->rank, read, sizeof read),
                              mtl_dtype_name(writer->dtype),
                              plan_shape_text(plan_dims(view, writer), writer->rank, written, sizeof written));
    }
    if (in->span[at] != 0 && in->span[at] != span) {
        return plan_fail_step(view, step, flow->diag,
                              "input %u ('%.100s') was computed in a span only, and is read beyond it", i,
                              name_of(view, tensor));
    }
    return MTL_OK;
}

static bool grows_with_users(const plan_view *view, const plan_tensor *tensor)
{
    return plan_grows_with_users(plan_dims(view, tensor), tensor->rank);
}

static bool grows_with_rows(const plan_view *view, const plan_tensor *tensor)
{
    return plan_row_axis(plan_dims(view, tensor), tensor->rank) < tensor->rank && !grows_with_users(view, tensor);
}

/* An output whose candidates' axis is not in front: in memory, a tile of it is not one piece. */
static bool is_scattered(const plan_view *view, const plan_tensor *tensor)
{
    const mtl_dim *dims = plan_dims(view, tensor);
    unsigned axis = plan_row_axis(dims, tensor->rank);
    return axis < tensor->rank && !plan_dim_is(plan_count(dims, 0, axis), 1);
}

static mtl_status check_program(const flow_state *flow, const plan_step *step, bool row, const char *what, unsigned i,
                                const plan_tensor *tensor)
{
    if (!row && (tensor->storage == PLAN_STORAGE_ROW || grows_with_rows(flow->view, tensor))) {
        return plan_fail_step(flow->view, step, flow->diag, "%s %u ('%.100s') grows with rows in the request program",
                              what, i, name_of(flow->view, tensor));
    }
    bool input = what[0] == 'i';
    if (row && grows_with_users(flow->view, tensor) && !(input && plan_takes_users(step->op, i))) {
        return plan_fail_step(flow->view, step, flow->diag, "%s %u ('%.100s') grows with users in the row program",
                              what, i, name_of(flow->view, tensor));
    }
    return MTL_OK;
}

static mtl_status check_input(const flow_state *flow, const plan_step *step, bool row, unsigned i,
                              const plan_tensor *tensor)
{
    const plan_view *view = flow->view;
    uint64_t span = plan_span_takes(step->op, i) ? span_now(flow, step) : 0;
    BASE_TRY(check_program(flow, step, row, "input", i, tensor));
    switch ((plan_storage)tensor->storage) {
    case PLAN_STORAGE_CONST:
    case PLAN_STORAGE_INPUT:
    case PLAN_STORAGE_PARAM: return MTL_OK;
    case PLAN_STORAGE_REQUEST: return read_value(flow, step, &flow->request, i, tensor, span);
    case PLAN_STORAGE_ROW: return read_value(flow, step, &flow->row, i, tensor, span);
    case PLAN_STORAGE_OUTPUT: break;
    }
    extent columns = extent_of(view, tensor);
    if (!is_written(&flow->output, &columns) || is_scattered(view, tensor)) {
        return plan_fail_step(
            view, step, flow->diag, "input %u ('%.100s') is an output that %s", i, name_of(view, tensor),
            is_scattered(view, tensor) ? "holds the candidates on a later axis" : "has not been written");
    }
    return MTL_OK;
}

/* Elementwise steps may write where they read, element by element; so may a scan, which reads an element once. */
static bool may_replace(const plan_step *step, const extent *in, const extent *out)
{
    bool may = step->op == PLAN_OP_unary || step->op == PLAN_OP_binary || step->op == PLAN_OP_scan;
    return may && in->from == out->from && in->to == out->to;
}

/* In one group other columns are other bytes; in different ones any overlap is one. */
static mtl_status check_overlap(const flow_state *flow, const plan_step *step, unsigned i, const plan_tensor *in,
                                const plan_tensor *out)
{
    const plan_view *view = flow->view;
    if (in->storage != out->storage || in->index != out->index) {
        return MTL_OK;
    }
    extent from = extent_of(view, in), to = extent_of(view, out);
    if (from.group == to.group && same_group(view, in, out)) {
        if (may_replace(step, &from, &to) || from.from >= to.to || to.from >= from.to) {
            return MTL_OK;
        }
    } else if (from.group >= to.group_end || to.group >= from.group_end || from.group == from.group_end ||
               to.group == to.group_end) {
        return MTL_OK;
    }
    return plan_fail_step(view, step, flow->diag,
                          "the output (offset %" PRIu64 ", %" PRIu64 " bytes) overlaps input %u (offset %" PRIu64
                          ", %" PRIu64 " bytes)",
                          out->offset, plan_tensor_bytes(view, out), i, in->offset, plan_tensor_bytes(view, in));
}

static mtl_status check_output(flow_state *flow, const plan_step *step, bool row, const plan_tensor *out)
{
    const plan_view *view = flow->view;
    BASE_TRY(check_program(flow, step, row, "output", 0, out));
    if (out->storage == PLAN_STORAGE_ROW) {
        bool sum = plan_span_kind_of(step->op) == PLAN_SPAN_SUM;
        write_value(flow, &flow->row, out, sum ? 0 : span_now(flow, step));
        return MTL_OK;
    }
    if (out->storage == PLAN_STORAGE_REQUEST) {
        if (row) {
            return plan_fail_step(view, step, flow->diag, "the row program writes a request value ('%.100s')",
                                  name_of(view, out));
        }
        write_value(flow, &flow->request, out, 0);
        return MTL_OK;
    }
    if (is_scattered(view, out) && step->op != PLAN_OP_store) {
        return plan_fail_step(view, step, flow->diag,
                              "output '%.100s' holds the candidates on a later axis: only store writes it",
                              name_of(view, out));
    }
    if (row && plan_is_tiled(view) && !grows_with_rows(view, out)) {
        return plan_fail_step(view, step, flow->diag,
                              "output '%.100s' does not grow with rows: the request program writes it",
                              name_of(view, out));
    }
    write_value(flow, &flow->output, out, 0);
    return MTL_OK;
}

static mtl_status check_step(flow_state *flow, const plan_step *step, bool row)
{
    const plan_tensor *out = plan_result(flow->view, step);
    for (unsigned i = 0; i < step->input_count; i++) {
        const plan_tensor *in = plan_operand(flow->view, step, i);
        if (in != NULL) {
            BASE_TRY(check_input(flow, step, row, i, in));
            BASE_TRY(check_overlap(flow, step, i, in, out));
        }
    }
    const plan_tensor *mask = plan_span(flow->view, step);
    if (mask != NULL) { /* as another input */
        BASE_TRY(check_input(flow, step, row, step->input_count, mask));
        BASE_TRY(check_overlap(flow, step, step->input_count, mask, out));
    }
    return check_output(flow, step, row, out);
}

mtl_status plan_check_flow(const plan_view *view, base_diag *diag, base_arena *scratch)
{
    flow_state flow = {.view = view, .diag = diag};
    BASE_TRY(make_space(&flow, PLAN_STORAGE_REQUEST, scratch, &flow.request));
    BASE_TRY(make_space(&flow, PLAN_STORAGE_ROW, scratch, &flow.row));
    BASE_TRY(make_space(&flow, PLAN_STORAGE_OUTPUT, scratch, &flow.output));
    for (size_t i = 0; i < view->step_count; i++) {
        BASE_TRY(check_step(&flow, &view->steps[i], i >= view->meta->request_step_count));
    }
    for (uint32_t i = 0; i < view->meta->output_count; i++) {
        const plan_tensor *output = &view->tensors[view->signature[view->meta->input_count + i]];
        extent whole = extent_of(view, output);
        if (!is_written(&flow.output, &whole)) {
            return base_fail(diag, MTL_INVALID_DATA, "output %" PRIu32 " ('%.100s') is written by no step", i,
                             name_of(view, output));
        }
    }
    return MTL_OK;
}
