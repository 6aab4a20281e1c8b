#include "runtime/wanted.h"

#include <string.h>

#include "base/checked.h"

enum { ALIGNMENT = 64 };

/* Offsets into a session's memory, in this order. */
typedef struct layout {
    size_t outputs, apart, read, choices, parts, row, request_bits, tables, request, tiles;
    size_t tile_bytes, bytes;
} layout;

static bool round_up(size_t *size)
{
    return base_add_size(*size, ALIGNMENT - 1, size) && (*size &= ~(size_t)(ALIGNMENT - 1), true);
}

/* Puts count x size bytes behind what there is. */
static bool put(layout *l, size_t count, size_t size, size_t *at)
{
    *at = l->bytes;
    return base_mul_size(count, size, &size) && base_add_size(l->bytes, size, &l->bytes) && round_up(&l->bytes);
}

static const plan_tensor *output_of(const plan_view *view, size_t output)
{
    return &view->tensors[view->signature[view->meta->input_count + output]];
}

static bool is_read(const plan_view *view, size_t output)
{
    for (size_t i = 0; i < view->step_count; i++) {
        for (unsigned j = 0; j < view->steps[i].input_count; j++) {
            const plan_tensor *input = plan_operand(view, &view->steps[i], j);
            if (input != NULL && input->storage == PLAN_STORAGE_OUTPUT && input->index == output) {
                return true;
            }
        }
    }
    return false;
}

/* Bytes of an output for so many rows, rounded up. *grows: with rows. */
static bool output_bytes(const plan_view *view, size_t output, size_t rows, size_t *bytes, bool *grows)
{
    const plan_tensor *tensor = output_of(view, output);
    *bytes = mtl_dtype_size((mtl_dtype)tensor->dtype);
    *grows = false;
    for (unsigned axis = 0; axis < tensor->rank; axis++) {
        const mtl_dim dim = plan_dims(view, tensor)[axis];
        size_t extent;
        if (!base_mul_size((size_t)dim.per_row, rows, &extent) || !base_add_size(extent, (size_t)dim.fixed, &extent) ||
            !base_mul_size(*bytes, extent, bytes)) {
            return false;
        }
        *grows = *grows || dim.per_row != 0;
    }
    return round_up(bytes);
}

/* Places for the outputs that steps read. */
static bool lay_out_read(const plan_view *view, size_t tile_rows, size_t threads, layout *l)
{
    size_t fixed = 0, tiles;
    for (size_t i = 0; i < view->meta->output_count; i++) {
        size_t bytes;
        bool grows;
        if (is_read(view, i) &&
            (!output_bytes(view, i, tile_rows, &bytes, &grows) ||
             !base_add_size(bytes, grows ? l->tile_bytes : fixed, grows ? &l->tile_bytes : &fixed))) {
            return false;
        }
    }
    return put(l, fixed, 1, &l->request) && base_mul_size(l->tile_bytes, threads, &tiles) &&
           put(l, tiles, 1, &l->tiles);
}

static bool lay_out(const mtl_plan *plan, size_t tile_rows, size_t threads, layout *l)
{
    const plan_view *view = &plan->view;
    const size_t outputs = view->meta->output_count;
    size_t parts = 0, tables, at;
    *l = (layout){.bytes = 0};
    for (size_t i = 0; i < view->step_count; i++) {
        if (!base_add_size(parts, runtime_most_parts(plan, i), &parts)) {
            return false;
        }
    }
    return put(l, 1, sizeof(runtime_wanted), &at) && put(l, outputs, 1, &l->outputs) && put(l, outputs, 1, &l->apart) &&
           put(l, outputs, 1, &l->read) && put(l, view->step_count, sizeof(runtime_choice), &l->choices) &&
           put(l, parts, sizeof(runtime_part), &l->parts) &&
           put(l, runtime_needs_words(view->meta->row_bytes), sizeof(uint64_t), &l->row) &&
           put(l, runtime_needs_words(view->meta->request_bytes), sizeof(uint64_t), &l->request_bits) &&
           base_mul_size(threads, outputs, &tables) && put(l, tables, sizeof(void *), &l->tables) &&
           lay_out_read(view, tile_rows, threads, l);
}

bool runtime_wanted_bytes(const mtl_plan *plan, size_t tile_rows, size_t threads, size_t *bytes)
{
    layout l = {.bytes = 0};
    bool fits = mtl_plan_output_count(plan) <= 1 || lay_out(plan, tile_rows, threads, &l);
    *bytes = l.bytes;
    return fits;
}

runtime_wanted *runtime_wanted_new(const mtl_plan *plan, size_t tile_rows, size_t threads, void *memory)
{
    layout l;
    unsigned char *base = memory;
    if (mtl_plan_output_count(plan) <= 1 || !lay_out(plan, tile_rows, threads, &l)) {
        return NULL;
    }
    runtime_wanted *w = memory;
    *w = (runtime_wanted){
        .needs = {.plan = plan,
                  .row = (uint64_t *)(void *)(base + l.row),
                  .request = (uint64_t *)(void *)(base + l.request_bits),
                  .outputs = base + l.outputs,
                  .choices = (runtime_choice *)(void *)(base + l.choices),
                  .parts = (runtime_part *)(void *)(base + l.parts)},
        .apart = base + l.apart,
        .read = base + l.read,
        .tables = (void **)(void *)(base + l.tables),
        .tiles = base + l.tiles,
        .request = base + l.request,
        .tile_bytes = l.tile_bytes,
        .tile_rows = tile_rows,
    };
    for (size_t i = 0; i < mtl_plan_output_count(plan); i++) {
        w->read[i] = is_read(&plan->view, i);
    }
    return w;
}

void runtime_wanted_outputs(const runtime_wanted *wanted, size_t thread, void *const *outputs, runtime_frame *frame)
{
    const mtl_plan *plan = wanted->needs.plan;
    const size_t count = mtl_plan_output_count(plan);
    void **table = wanted->tables + thread * count;
    unsigned char *tile = wanted->tiles + thread * wanted->tile_bytes, *request = wanted->request;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = 0;
        bool grows = false;
        table[i] = wanted->needs.outputs[i] == RUNTIME_WANTED ? outputs[i] : NULL;
        if (!wanted->read[i]) {
            continue;
        }
        output_bytes(&plan->view, i, wanted->tile_rows, &bytes, &grows);
        if (wanted->needs.outputs[i] == RUNTIME_NEEDED) {
            table[i] = grows ? tile : request;
        }
        tile += grows ? bytes : 0;
        request += grows ? 0 : bytes;
    }
    frame->outputs = table;
    frame->apart = wanted->apart;
}

/* Zeros in columns [from, to) of an input of the step that holds values of the tile. */
static void clear_columns(const mtl_plan *plan, size_t number, const runtime_part *part, const runtime_frame *frame)
{
    const plan_view *view = &plan->view;
    const plan_tensor *x = plan_operand(view, &view->steps[number], part->group);
    const runtime_ref ref = runtime_ref_of(view, x);
    const size_t size = mtl_dtype_size((mtl_dtype)x->dtype), pitch = runtime_pitch(view, x);
    const size_t bytes = (part->to - part->from) * size;
    unsigned char *at = runtime_out(frame, &ref) + part->from * size;
    for (int64_t row = 0; row < frame->rows; row++, at += pitch) {
        memset(at, 0, bytes);
    }
}

mtl_status runtime_wanted_run(const mtl_plan *plan, size_t number, const runtime_frame *frame)
{
    const runtime_needs *needs = &frame->wanted->needs;
    const runtime_choice *choice = &needs->choices[number];
    const runtime_part *parts = needs->parts + choice->first;
    const runtime_step *step = &plan->steps[number];
    switch ((runtime_extent_run)choice->run) {
    case RUNTIME_SKIP: return MTL_OK;
    case RUNTIME_RUN: break;
    case RUNTIME_PARTS:
        for (uint32_t i = 0; i < choice->count; i++) {
            BASE_TRY(step->run_part(step->state, frame, &parts[i]));
        }
        return MTL_OK;
    case RUNTIME_CLEAR:
        for (uint32_t i = 0; i < choice->count; i++) {
            clear_columns(plan, number, &parts[i], frame);
        }
        break;
    }
    return step->run(step->state, frame);
}

void runtime_wanted_share(const mtl_session *session, size_t number, uint64_t *computed, uint64_t *all)
{
    const runtime_wanted *wanted = session->wanted;
    *computed = *all = 1;
    if (wanted == NULL || !wanted->some) {
        return;
    }
    const runtime_choice *choice = &wanted->needs.choices[number];
    if (choice->run == RUNTIME_PARTS) {
        runtime_part_share(session->plan, number, wanted->needs.parts + choice->first, choice->count, computed, all);
    } else {
        *computed = choice->run != RUNTIME_SKIP;
    }
}

mtl_status mtl_session_want(mtl_session *session, const unsigned char *wanted, mtl_error *error)
{
    base_diag diag = {.error = error};
    if (session == NULL) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_session_want: session is NULL");
    }
    runtime_wanted *own = session->wanted;
    const size_t count = mtl_plan_output_count(session->plan);
    size_t chosen = 0;
    for (size_t i = 0; i < count; i++) {
        chosen += wanted == NULL || wanted[i] != 0;
    }
    if (chosen == 0) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_session_want: none of the %zu outputs is wanted", count);
    }
    if (own == NULL) { /* one output */
        return MTL_OK;
    }
    own->some = chosen < count;
    for (size_t i = 0; i < count && own->some; i++) {
        own->needs.outputs[i] = wanted[i] != 0 ? RUNTIME_WANTED : RUNTIME_UNNEEDED;
    }
    if (own->some) {
        runtime_find_needs(&own->needs);
    }
    for (size_t i = 0; i < count && own->some; i++) {
        own->apart[i] = own->needs.outputs[i] == RUNTIME_NEEDED;
    }
    runtime_reset_rows_per_thread(session);
    return MTL_OK;
}
