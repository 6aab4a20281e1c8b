/* Steps that look ids up: gather, and bag, which adds up or compares the rows that it finds.
 *
 * Ids go in chunks: the rows of a chunk are found first, and asked for ahead where the table is large, then they are
 * read. A bag's next chunk is found before the one at hand is added up. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "runtime/internal.h"
#include "runtime/lookups.h"
#include "runtime/native/native.h"

enum {
    CHUNK = 64,
    LARGE_TABLE = 256 << 10, /* bytes from which on rows are asked for ahead */
};

/* The ids of a step, and what is to be done about them. */
typedef struct id_source {
    runtime_ref ids;
    bool wide; /* int64 */
    size_t pitch;
    native_lookup lookup; /* without table, and count where that depends on the rows */
    uint32_t counter;     /* among the plan's lookups, of a policy that goes on */
    /* For messages: where the ids come from, an input or a value, and their candidates' axis. */
    const char *kind, *name;
    runtime_affine inner; /* elements after that axis */
    runtime_affine extent;
} id_source;

static int64_t id_at(const id_source *s, const unsigned char *ids, size_t i)
{
    return s->wide ? ((const int64_t *)(const void *)ids)[i] : ((const int32_t *)(const void *)ids)[i];
}

static void load_ids(const id_source *s, const unsigned char *from, size_t first, size_t n, int64_t *ids)
{
    for (size_t i = 0; i < n; i++) {
        ids[i] = id_at(s, from, first + i);
    }
}

static void count_outside(const id_source *s, const runtime_frame *frame, uint64_t outside)
{
    if (outside != 0 && frame->outside != NULL) {
        atomic_fetch_add_explicit(&frame->outside[s->counter], outside, memory_order_relaxed);
    }
}

/* `row`: the tile's candidate that the element belongs to, -1: none. */
static mtl_status fail_id(const id_source *s, const runtime_frame *frame, int64_t count, int64_t id, int64_t row,
                          size_t element)
{
    char place[64], end[64] = "";
    if (row >= 0) {
        (void)snprintf(place, sizeof place, "%s %" PRId64, frame->users == 0 ? "user" : "row", frame->first + row);
    } else {
        (void)snprintf(place, sizeof place, "element %zu", element);
    }
    if (s->lookup.policy == PLAN_IDS_onnx) {
        (void)snprintf(end, sizeof end, ", or -%" PRId64 "..-1 from the end", count);
    }
    return base_fail(frame->diag, MTL_INVALID_DATA, "%s '%s': %s: id %" PRId64 " is outside 0..%" PRId64 "%s", s->kind,
                     s->name, place, id, count - 1, end);
}

/* The same where all candidates' ids are one run, of which `element` is at fault. */
static mtl_status fail_element(const id_source *s, const runtime_frame *frame, int64_t count, const unsigned char *ids,
                               size_t element)
{
    int64_t row = -1;
    if (s->extent.per_row != 0) {
        row = (int64_t)element / runtime_at(s->inner, frame->rows) % runtime_at(s->extent, frame->rows) /
              s->extent.per_row;
    }
    return fail_id(s, frame, count, id_at(s, ids, element), row, element);
}

/* Whether `written` holds where `read` begins: columns of one group, or the whole of it. */
static bool same_place(const plan_view *view, const plan_tensor *written, const plan_tensor *read)
{
    uint64_t width = (uint64_t)runtime_elements(view, written, 0, written->rank).per_row;
    bool columns = !plan_is_window(written) || (read->start >= written->start && read->start - written->start < width);
    return written->storage == read->storage && written->index == read->index && written->offset == read->offset &&
           columns;
}

/* The first operand that is neither a constant nor a param, so that a user knows the ids by its name. */
static const plan_tensor *first_computed(const plan_view *view, const plan_step *step)
{
    for (unsigned i = 0; i < step->input_count; i++) {
        const plan_tensor *operand = plan_operand(view, step, i);
        if (operand != NULL && operand->storage != PLAN_STORAGE_CONST && operand->storage != PLAN_STORAGE_PARAM) {
            return operand;
        }
    }
    return NULL;
}

const plan_tensor *runtime_origin(const plan_view *view, const plan_tensor *tensor, size_t before)
{
    while (before-- > 0 && tensor->storage != PLAN_STORAGE_INPUT) {
        const plan_step *step = &view->steps[before];
        if (same_place(view, plan_result(view, step), tensor)) {
            const plan_tensor *first = first_computed(view, step);
            if (first == NULL) {
                break;
            }
            tensor = first;
        }
    }
    return tensor;
}

/* Of operand 1; `count` is the table's axis. */
static id_source id_source_of(const runtime_context *context, plan_ids policy, int64_t row)
{
    const plan_view *view = context->view;
    const plan_tensor *ids = plan_operand(view, context->step, 1);
    id_source s = {.ids = runtime_ref_of(view, ids), .wide = ids->dtype == MTL_I64, .pitch = runtime_pitch(view, ids)};
    s.lookup = (native_lookup){.policy = policy, .row = row};
    for (unsigned axis = 0; axis < ids->rank; axis++) {
        runtime_affine extent = runtime_extent(view, ids, axis);
        if (extent.per_row != 0) {
            s.extent = extent;
            s.inner = runtime_elements(view, ids, axis + 1, ids->rank);
        }
    }
    if (policy != PLAN_IDS_onnx) {
        s.counter = runtime_lookup_of(context->plan, context->step);
        s.kind = "input";
        s.name = context->plan->lookups[s.counter].input;
        return s;
    }
    const plan_tensor *source = runtime_origin(view, ids, context->number);
    bool input = source->storage == PLAN_STORAGE_INPUT;
    s.kind = input ? "input" : "value";
    /* A view of an input may have a name of its own; the signature's is the one that the caller knows. */
    s.name = input ? context->plan->signature[source->index].name : plan_string(view, source->name);
    return s;
}

/* --- gather --- */

typedef struct gather_state {
    id_source source;
    runtime_ref data, y;
    runtime_affine outer, count, bytes, n; /* data (outer, count, a row of `bytes`), n ids */
    size_t data_pitch, y_pitch;            /* bytes between candidates, where one is a window */
} gather_state;

/* The part of a gather that is dense: a whole tile, or one candidate. */
typedef struct gather_part {
    native_lookup lookup; /* of the first of the outer blocks */
    const unsigned char *ids;
    unsigned char *y;
    size_t outer, n;
} gather_part;

static gather_part gather_part_of(const gather_state *s, const runtime_frame *frame, int64_t rows)
{
    gather_part part = {
        .lookup = s->source.lookup,
        .ids = runtime_in(frame, &s->source.ids),
        .y = runtime_out(frame, &s->y),
        .outer = (size_t)runtime_at(s->outer, rows),
        .n = (size_t)runtime_at(s->n, rows),
    };
    part.lookup.table = (const char *)runtime_in(frame, &s->data);
    part.lookup.count = runtime_at(s->count, rows);
    part.lookup.row_bytes = (size_t)runtime_at(s->bytes, rows);
    part.lookup.ahead = (uint64_t)part.lookup.count * part.lookup.row_bytes >= LARGE_TABLE && part.outer == 1;
    return part;
}

/* Returns n, or the position of the first id that is refused. */
static size_t gather_run_part(const gather_state *s, const gather_part *part, uint64_t *outside)
{
    int64_t ids[CHUNK], rows[CHUNK];
    size_t block = (size_t)part->lookup.count * part->lookup.row_bytes, bytes = part->lookup.row_bytes;
    for (size_t at = 0; at < part->n; at += CHUNK) {
        size_t n = part->n - at < CHUNK ? part->n - at : CHUNK;
        load_ids(&s->source, part->ids, at, n, ids);
        size_t found = native_find_rows(&part->lookup, ids, n, rows, outside);
        if (found < n) {
            return at + found;
        }
        if (part->n == 1 && rows[0] >= 0) { /* one id for all of the outer blocks: a strided copy */
            native_copy_2d(part->lookup.table + (size_t)rows[0] * bytes, block, part->y, bytes, part->outer, bytes);
            return 1;
        }
        for (size_t i = 0; i < part->outer; i++) {
            native_take_rows(part->lookup.table + i * block, bytes, rows, n, part->y + (i * part->n + at) * bytes,
                             bytes);
        }
    }
    return part->n;
}

static mtl_status gather_run(const void *state, const runtime_frame *frame)
{
    const gather_state *s = state;
    gather_part part = gather_part_of(s, frame, frame->rows);
    uint64_t outside = 0;
    size_t done = gather_run_part(s, &part, &outside);
    count_outside(&s->source, frame, outside);
    return done == part.n ? MTL_OK : fail_element(&s->source, frame, part.lookup.count, part.ids, done);
}

/* Lookups of a few ids each in a table that all candidates share: a chunk holds those of several candidates. */
static mtl_status gather_run_columns(const gather_state *s, const runtime_frame *frame, const gather_part *part)
{
    int64_t ids[CHUNK], rows[CHUNK];
    size_t bytes = part->lookup.row_bytes, most = CHUNK / part->n, total = (size_t)frame->rows;
    for (size_t row = 0; row < total; row += most) {
        size_t count = total - row < most ? total - row : most;
        uint64_t outside = 0;
        for (size_t i = 0; i < count; i++) {
            load_ids(&s->source, part->ids + (row + i) * s->source.pitch, 0, part->n, ids + i * part->n);
        }
        size_t n = count * part->n, found = native_find_rows(&part->lookup, ids, n, rows, &outside);
        count_outside(&s->source, frame, outside);
        if (found < n) {
            return fail_id(&s->source, frame, part->lookup.count, ids[found], (int64_t)(row + found / part->n),
                           found % part->n);
        }
        unsigned char *y = part->y + row * s->y_pitch;
        if (part->n == 1) {
            native_take_rows(part->lookup.table, bytes, rows, count, y, s->y_pitch);
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            native_take_rows(part->lookup.table, bytes, rows + i * part->n, part->n, y + i * s->y_pitch, bytes);
        }
    }
    return MTL_OK;
}

static mtl_status gather_run_windows(const void *state, const runtime_frame *frame)
{
    const gather_state *s = state;
    gather_part part = gather_part_of(s, frame, 1);
    if (part.n == 0) {
        return MTL_OK;
    }
    if (part.n <= CHUNK && part.outer == 1 && s->data_pitch == 0 && s->source.extent.per_row != 0) {
        return gather_run_columns(s, frame, &part);
    }
    uint64_t outside = 0;
    for (int64_t row = 0; row < frame->rows; row++) {
        size_t done = gather_run_part(s, &part, &outside);
        if (done < part.n) {
            count_outside(&s->source, frame, outside);
            return fail_id(&s->source, frame, part.lookup.count, id_at(&s->source, part.ids, done),
                           s->source.extent.per_row != 0 ? row : -1, done);
        }
        part.lookup.table += s->data_pitch;
        part.ids += s->source.pitch;
        part.y += s->y_pitch;
    }
    count_outside(&s->source, frame, outside);
    return MTL_OK;
}

mtl_status runtime_prepare_gather(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_step *step = context->step;
    const plan_tensor *data = plan_operand(view, step, 0), *ids = plan_operand(view, step, 1);
    const int64_t *attrs = view->attrs + step->attrs;
    unsigned axis = (unsigned)attrs[PLAN_GATHER_AXIS];
    gather_state *s = RUNTIME_NEW(context->memory, gather_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    runtime_affine size = {(int64_t)mtl_dtype_size((mtl_dtype)data->dtype), 0};
    s->source = id_source_of(context, (plan_ids)step->function, step->function != 0 ? attrs[PLAN_GATHER_ROW] : 0);
    s->data = runtime_ref_of(view, data);
    s->y = runtime_ref_of(view, plan_result(view, step));
    s->outer = runtime_elements(view, data, 0, axis);
    s->count = runtime_extent(view, data, axis);
    s->bytes = runtime_times(runtime_elements(view, data, axis + 1, data->rank), size);
    s->n = runtime_elements(view, ids, 0, ids->rank);
    *result = (runtime_step){.run = gather_run, .state = s, .kernel = "plain"};
    if (runtime_has_window(context)) {
        s->data_pitch = runtime_pitch(view, data);
        s->y_pitch = runtime_pitch(view, plan_result(view, step));
        result->run = gather_run_windows;
    }
    return MTL_OK;
}

/* --- bag --- */

typedef struct bag_state {
    id_source source;
    runtime_ref table, weights, y;
    bool has_weights;
    plan_bag function;
    size_t length, k;              /* ids of a bag, columns */
    runtime_affine bags;           /* of all candidates, or of one where one is a window */
    size_t weights_pitch, y_pitch; /* bytes between candidates, where one is a window */
    bool windows;
    bool padded;
    int64_t first, last; /* the ids that are left out */
    float fill;
    double epsilon, low;
    const native_kernels *native;
} bag_state;

/* Some ids of one bag, as rows. */
typedef struct bag_chunk {
    int64_t rows[CHUNK];
    float weights[CHUNK];
    size_t n;
    size_t left_out; /* ids of the chunk that are padding, or whose weight in a maximum is 0 */
    size_t bag;      /* of the tile */
    bool begins, ends;
} bag_chunk;

/* Where the walk over all ids of all bags is. */
typedef struct bag_walk {
    const bag_state *s;
    const runtime_frame *frame;
    native_lookup lookup;
    const unsigned char *ids, *weights;
    size_t bags, bags_each; /* of the tile; of a candidate, where one is a window */
    size_t bag, at;         /* the next id is id `at` of bag `bag` */
    size_t failed;          /* the id of that bag that is refused */
    uint64_t outside;
} bag_walk;

/* Finds the rows of the next chunk. False: an id is refused. */
static bool next_chunk(bag_walk *walk, bag_chunk *chunk)
{
    const bag_state *s = walk->s;
    size_t candidate = walk->bag / walk->bags_each, first = walk->bag % walk->bags_each * s->length + walk->at;
    size_t n = s->length - walk->at < CHUNK ? s->length - walk->at : CHUNK, kept = 0;
    int64_t ids[CHUNK] = {0};
    unsigned char places[CHUNK];
    load_ids(&s->source, walk->ids + candidate * s->source.pitch, first, n, ids);
    const float *weights = (const float *)(const void *)(walk->weights + candidate * s->weights_pitch) + first;
    for (size_t i = 0; i < n; i++) {
        bool out = s->padded && ids[i] >= s->first && ids[i] <= s->last;
        chunk->weights[kept] = s->has_weights ? weights[i] : 1;
        places[kept] = (unsigned char)i;
        ids[kept] = ids[i];
        kept += !out;
    }
    size_t found = native_find_rows(&walk->lookup, ids, kept, chunk->rows, &walk->outside);
    if (found < kept) {
        walk->failed = walk->at + places[found];
        return false;
    }
    chunk->bag = walk->bag;
    chunk->begins = walk->at == 0;
    walk->at += n;
    chunk->ends = walk->at == s->length;
    if (chunk->ends) {
        walk->bag++;
        walk->at = 0;
    }
    chunk->n = kept;
    chunk->left_out = n - kept;
    return true;
}

/* In a maximum, ids of weight 0 are left out, as padding is: but theirs are looked up. */
static void drop_masked(bag_chunk *chunk)
{
    size_t kept = 0;
    for (size_t i = 0; i < chunk->n; i++) {
        chunk->rows[kept] = chunk->rows[i];
        kept += chunk->weights[i] != 0;
    }
    chunk->left_out += chunk->n - kept;
    chunk->n = kept;
}

/* *count: ids of the bag so far that are not left out. */
static void add_chunk(const bag_walk *walk, bag_chunk *chunk, unsigned char *y, size_t *count)
{
    const bag_state *s = walk->s;
    bool max = s->function == PLAN_BAG_max;
    y += chunk->bag / walk->bags_each * s->y_pitch + chunk->bag % walk->bags_each * s->k * sizeof(float);
    if (max && s->has_weights) {
        drop_masked(chunk);
    }
    const native_bag call = {
        .table = (const float *)(const void *)walk->lookup.table,
        .rows = chunk->rows,
        .weights = !max && s->has_weights ? chunk->weights : NULL,
        .y = (float *)(void *)y,
        .k = s->k,
        .n = chunk->n,
        .max = max,
        .resume = !chunk->begins,
        .filled = max && chunk->left_out > 0,
        .fill = s->fill,
    };
    s->native->bag(&call);
    *count = (chunk->begins ? 0 : *count) + chunk->n;
    if (chunk->ends && s->function == PLAN_BAG_mean) {
        double by = (double)*count + s->epsilon;
        const float divisor = (float)(by > s->low ? by : s->low);
        s->native->binary(PLAN_BINARY_div, call.y, 1, &divisor, 0, call.y, s->k);
    }
}

/* Bags of no ids. */
static void fill_empty(const bag_walk *walk, unsigned char *y)
{
    bag_chunk none = {.begins = true, .ends = true};
    size_t count = 0;
    for (; none.bag < walk->bags; none.bag++) {
        add_chunk(walk, &none, y, &count);
    }
}

static mtl_status fail_bag(const bag_walk *walk)
{
    const bag_state *s = walk->s;
    size_t candidate = walk->bag / walk->bags_each, element = walk->bag % walk->bags_each * s->length + walk->failed;
    if (!s->windows) {
        return fail_element(&s->source, walk->frame, walk->lookup.count, walk->ids, element);
    }
    const unsigned char *ids = walk->ids + candidate * s->source.pitch;
    return fail_id(&s->source, walk->frame, walk->lookup.count, id_at(&s->source, ids, element),
                   s->source.extent.per_row != 0 ? (int64_t)candidate : -1, element);
}

static mtl_status bag_run(const void *state, const runtime_frame *frame)
{
    const bag_state *s = state;
    unsigned char *y = runtime_out(frame, &s->y);
    bag_walk walk = {.s = s, .frame = frame, .lookup = s->source.lookup, .ids = runtime_in(frame, &s->source.ids)};
    walk.lookup.table = (const char *)runtime_in(frame, &s->table);
    walk.weights = s->has_weights ? runtime_in(frame, &s->weights) : walk.ids;
    walk.bags_each = (size_t)runtime_at(s->bags, s->windows ? 1 : frame->rows);
    walk.bags = walk.bags_each * (s->windows ? (size_t)frame->rows : 1);
    if (walk.bags == 0 || s->length == 0) {
        fill_empty(&walk, y);
        return MTL_OK;
    }
    bag_chunk chunks[2];
    size_t count = 0;
    bool found = next_chunk(&walk, &chunks[0]);
    for (unsigned at = 0; found; at ^= 1) {
        bool more = walk.bag < walk.bags;
        if (more && !next_chunk(&walk, &chunks[at ^ 1])) {
            found = false;
            break;
        }
        add_chunk(&walk, &chunks[at], y, &count);
        if (!more) {
            break;
        }
    }
    count_outside(&s->source, frame, walk.outside);
    return found ? MTL_OK : fail_bag(&walk);
}

mtl_status runtime_prepare_bag(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_step *step = context->step;
    const plan_tensor *table = plan_operand(view, step, 0), *ids = plan_operand(view, step, 1);
    const plan_tensor *weights = step->input_count > 2 ? plan_operand(view, step, 2) : NULL;
    const int64_t *attrs = view->attrs + step->attrs;
    bag_state *s = RUNTIME_NEW(context->memory, bag_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->native = context->plan->native;
    s->source = id_source_of(context, (plan_ids)attrs[PLAN_BAG_POLICY], attrs[PLAN_BAG_ROW]);
    s->table = runtime_ref_of(view, table);
    s->y = runtime_ref_of(view, plan_result(view, step));
    s->function = (plan_bag)step->function;
    s->length = (size_t)runtime_extent(view, ids, ids->rank - 1u).fixed;
    s->k = (size_t)runtime_extent(view, table, 1).fixed;
    s->bags = runtime_elements(view, ids, 0, ids->rank - 1u);
    s->padded = attrs[PLAN_BAG_PADDED] != 0;
    s->first = attrs[PLAN_BAG_FIRST];
    s->last = attrs[PLAN_BAG_LAST];
    s->fill = (float)plan_attr_float(view, step, PLAN_BAG_A);
    s->epsilon = plan_attr_float(view, step, PLAN_BAG_A);
    s->low = plan_attr_float(view, step, PLAN_BAG_B);
    s->source.lookup.count = runtime_extent(view, table, 0).fixed;
    s->source.lookup.row_bytes = s->k * sizeof(float);
    s->source.lookup.ahead = (uint64_t)s->source.lookup.count * s->source.lookup.row_bytes >= LARGE_TABLE;
    s->windows = runtime_has_window(context);
    s->y_pitch = runtime_pitch(view, plan_result(view, step));
    if (weights != NULL) {
        s->has_weights = true;
        s->weights = runtime_ref_of(view, weights);
        s->weights_pitch = runtime_pitch(view, weights);
    }
    *result = (runtime_step){.run = bag_run, .state = s};
    return MTL_OK;
}
