/* plan_check, fourth part: what flows between the steps.
 *
 * Each workspace is followed as a set of live values: disjoint intervals of bytes, each written by one step and not
 * overwritten since. A write kills the values that it overlaps and adds one; a read must name one exactly. Values are
 * kept by offset, over the sorted offsets of all tensors, in a bitmap with summaries, so that a whole plan takes
 * O(n log n) whatever it holds.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "plan/check.h"

enum { MAX_LEVELS = 5 }; /* 64^5 is beyond the limit on tensors */

typedef struct live_set {
    uint64_t *offsets;           /* ascending, different */
    uint32_t *writer;            /* by position in offsets: the tensor that was written there */
    uint64_t *level[MAX_LEVELS]; /* level[0]: a bit for each live position; above: a bit for each word that is not 0 */
    size_t count;
    int levels;
} live_set;

typedef struct flow_state {
    const plan_view *view;
    base_diag *diag;
    live_set request, row;
    unsigned char *written; /* by output */
} flow_state;

static int by_number(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static mtl_status make_set(const flow_state *flow, plan_storage storage, base_arena *scratch, live_set *set)
{
    const plan_view *view = flow->view;
    size_t count = 0, different = 0;
    for (size_t i = 0; i < view->tensor_count; i++) {
        count += view->tensors[i].storage == storage;
    }
    set->offsets = BASE_NEW_ARRAY(scratch, uint64_t, count);
    set->writer = BASE_NEW_ARRAY(scratch, uint32_t, count);
    BASE_TRY_MEMORY(set->offsets, flow->diag);
    BASE_TRY_MEMORY(set->writer, flow->diag);
    for (size_t i = 0, at = 0; i < view->tensor_count; i++) {
        if (view->tensors[i].storage == storage) {
            set->offsets[at++] = view->tensors[i].offset;
        }
    }
    qsort(set->offsets, count, sizeof *set->offsets, by_number);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || set->offsets[i] != set->offsets[i - 1]) {
            set->offsets[different++] = set->offsets[i];
        }
    }
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

static size_t find(const live_set *set, uint64_t offset)
{
    size_t low = 0, high = set->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (set->offsets[middle] <= offset) {
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

static uint64_t live_end(const flow_state *flow, const live_set *set, size_t at)
{
    return set->offsets[at] + plan_tensor_bytes(flow->view, &flow->view->tensors[set->writer[at]]);
}

static void write_value(const flow_state *flow, live_set *set, const plan_tensor *tensor)
{
    uint64_t end = tensor->offset + plan_tensor_bytes(flow->view, tensor);
    if (end == tensor->offset) {
        return;
    }
    size_t at = find(set, tensor->offset);
    size_t before = neighbour(set, at, false);
    if (before != SIZE_MAX && live_end(flow, set, before) > tensor->offset) {
        take(set, before);
    }
    for (size_t next = neighbour(set, at, true); next != SIZE_MAX && set->offsets[next] < end;
         next = neighbour(set, at, true)) {
        take(set, next);
    }
    set->writer[at] = (uint32_t)(tensor - flow->view->tensors);
    add(set, at);
}

static mtl_dim elements(const plan_view *view, const plan_tensor *tensor)
{
    return plan_count(plan_dims(view, tensor), 0, tensor->rank);
}

static bool same_value(const plan_view *view, const plan_tensor *a, const plan_tensor *b)
{
    return a->dtype == b->dtype && plan_dim_equal(elements(view, a), elements(view, b));
}

static const char *name_of(const plan_view *view, const plan_tensor *tensor)
{
    return plan_string(view, tensor->name);
}

static mtl_status read_value(const flow_state *flow, const plan_step *step, const live_set *set, unsigned i,
                             const plan_tensor *tensor)
{
    const plan_view *view = flow->view;
    if (plan_tensor_bytes(view, tensor) == 0) {
        return MTL_OK;
    }
    size_t at = find(set, tensor->offset);
    if (!is_live(set, at)) {
        return plan_fail_step(view, step, flow->diag,
                              "input %u ('%.100s', offset %" PRIu64
                              ") is read before it is written, or was overwritten",
                              i, name_of(view, tensor), tensor->offset);
    }
    const plan_tensor *writer = &view->tensors[set->writer[at]];
    if (!same_value(view, tensor, writer)) {
        char read[PLAN_SHAPE_TEXT], written[PLAN_SHAPE_TEXT];
        return plan_fail_step(view, step, flow->diag, "input %u ('%.60s') is %s %s, but %s %s was written there", i,
                              name_of(view, tensor), mtl_dtype_name(tensor->dtype),
                              plan_shape_text(plan_dims(view, tensor), tensor->rank, read, sizeof read),
                              mtl_dtype_name(writer->dtype),
                              plan_shape_text(plan_dims(view, writer), writer->rank, written, sizeof written));
    }
    return MTL_OK;
}

static bool grows_with_rows(const plan_view *view, const plan_tensor *tensor)
{
    return plan_row_axis(plan_dims(view, tensor), tensor->rank) < tensor->rank;
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
    return MTL_OK;
}

static mtl_status check_input(const flow_state *flow, const plan_step *step, bool row, unsigned i,
                              const plan_tensor *tensor)
{
    const plan_view *view = flow->view;
    BASE_TRY(check_program(flow, step, row, "input", i, tensor));
    switch ((plan_storage)tensor->storage) {
    case PLAN_STORAGE_CONST:
    case PLAN_STORAGE_INPUT:
    case PLAN_STORAGE_PARAM: return MTL_OK;
    case PLAN_STORAGE_REQUEST: return read_value(flow, step, &flow->request, i, tensor);
    case PLAN_STORAGE_ROW: return read_value(flow, step, &flow->row, i, tensor);
    case PLAN_STORAGE_OUTPUT: break;
    }
    if (!flow->written[tensor->index] || is_scattered(view, tensor)) {
        return plan_fail_step(
            view, step, flow->diag, "input %u ('%.100s') is an output that %s", i, name_of(view, tensor),
            is_scattered(view, tensor) ? "holds the candidates on a later axis" : "has not been written");
    }
    return MTL_OK;
}

/* Elementwise steps may write where they read, element by element; so may a scan, which reads an element once. */
static bool may_replace(const plan_view *view, const plan_step *step, const plan_tensor *in, const plan_tensor *out)
{
    bool may = step->op == PLAN_OP_unary || step->op == PLAN_OP_binary || step->op == PLAN_OP_scan;
    return may && in->offset == out->offset && same_value(view, in, out);
}

static mtl_status check_overlap(const flow_state *flow, const plan_step *step, unsigned i, const plan_tensor *in,
                                const plan_tensor *out)
{
    const plan_view *view = flow->view;
    if (in->storage != out->storage || in->index != out->index || may_replace(view, step, in, out)) {
        return MTL_OK;
    }
    uint64_t in_bytes = plan_tensor_bytes(view, in), out_bytes = plan_tensor_bytes(view, out);
    if (in_bytes > 0 && out_bytes > 0 && in->offset < out->offset + out_bytes && out->offset < in->offset + in_bytes) {
        return plan_fail_step(view, step, flow->diag,
                              "the output (offset %" PRIu64 ", %" PRIu64 " bytes) overlaps input %u (offset %" PRIu64
                              ", %" PRIu64 " bytes)",
                              out->offset, out_bytes, i, in->offset, in_bytes);
    }
    return MTL_OK;
}

static mtl_status check_output(flow_state *flow, const plan_step *step, bool row, const plan_tensor *out)
{
    const plan_view *view = flow->view;
    BASE_TRY(check_program(flow, step, row, "output", 0, out));
    if (out->storage == PLAN_STORAGE_ROW) {
        write_value(flow, &flow->row, out);
        return MTL_OK;
    }
    if (out->storage == PLAN_STORAGE_REQUEST) {
        if (row) {
            return plan_fail_step(view, step, flow->diag, "the row program writes a request value ('%.100s')",
                                  name_of(view, out));
        }
        write_value(flow, &flow->request, out);
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
    flow->written[out->index] = 1;
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
    return check_output(flow, step, row, out);
}

mtl_status plan_check_flow(const plan_view *view, base_diag *diag, base_arena *scratch)
{
    flow_state flow = {.view = view, .diag = diag};
    BASE_TRY(make_set(&flow, PLAN_STORAGE_REQUEST, scratch, &flow.request));
    BASE_TRY(make_set(&flow, PLAN_STORAGE_ROW, scratch, &flow.row));
    flow.written = BASE_NEW_ARRAY(scratch, unsigned char, view->meta->output_count);
    BASE_TRY_MEMORY(flow.written, diag);
    for (size_t i = 0; i < view->step_count; i++) {
        BASE_TRY(check_step(&flow, &view->steps[i], i >= view->meta->request_step_count));
    }
    for (uint32_t i = 0; i < view->meta->output_count; i++) {
        if (!flow.written[i]) {
            const plan_tensor *output = &view->tensors[view->signature[view->meta->input_count + i]];
            return base_fail(diag, MTL_INVALID_DATA, "output %" PRIu32 " ('%.100s') is written by no step", i,
                             name_of(view, output));
        }
    }
    return MTL_OK;
}
