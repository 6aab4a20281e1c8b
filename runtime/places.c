#include "runtime/places.h"

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

uint64_t runtime_count_once(const plan_view *view, const plan_tensor *tensor, unsigned from, unsigned to)
{
    uint64_t count = 1;
    for (unsigned axis = from; axis < to; axis++) {
        count *= runtime_extent_once(plan_dims(view, tensor)[axis]);
    }
    return count;
}

unsigned runtime_growing_axis(const plan_view *view, const plan_tensor *tensor)
{
    const mtl_dim *dims = plan_dims(view, tensor);
    unsigned axis = 0;
    while (axis < tensor->rank && dims[axis].per_row == 0 && dims[axis].per_user == 0) {
        axis++;
    }
    return axis;
}

bool runtime_is_regular(const plan_view *view, const plan_tensor *tensor)
{
    unsigned axis = runtime_growing_axis(view, tensor);
    return axis == tensor->rank ||
           (runtime_count_once(view, tensor, 0, axis) == 1 && plan_dims(view, tensor)[axis].fixed == 0);
}

runtime_place runtime_place_of(const runtime_needs *needs, const plan_tensor *tensor)
{
    const plan_view *view = &needs->plan->view;
    runtime_place p = {.size = mtl_dtype_size((mtl_dtype)tensor->dtype)};
    p.begin = tensor->offset + tensor->start * p.size;
    p.width = runtime_count_once(view, tensor, 0, tensor->rank);
    p.regular = runtime_is_regular(view, tensor);
    switch (tensor->storage) {
    case PLAN_STORAGE_ROW: p.bits = needs->row; break;
    case PLAN_STORAGE_REQUEST: p.bits = needs->request; break;
    case PLAN_STORAGE_OUTPUT: p.output = &needs->outputs[tensor->index]; break;
    default: break;
    }
    return p;
}

bool runtime_is_needed(const runtime_place *p, uint64_t from, uint64_t to)
{
    if (p->output != NULL) {
        return *p->output != RUNTIME_UNNEEDED;
    }
    from = p->regular ? from : 0;
    to = p->regular ? to : p->width;
    return p->bits != NULL && any_bits(p->bits, (p->begin + from * p->size) / RUNTIME_GRAIN,
                                       (p->begin + to * p->size + RUNTIME_GRAIN - 1) / RUNTIME_GRAIN);
}

bool runtime_is_all_needed(const runtime_place *p, uint64_t from, uint64_t to)
{
    if (p->output != NULL || !p->regular) {
        return runtime_is_needed(p, from, to);
    }
    return p->bits != NULL && all_bits(p->bits, (p->begin + from * p->size) / RUNTIME_GRAIN,
                                       (p->begin + to * p->size + RUNTIME_GRAIN - 1) / RUNTIME_GRAIN);
}

void runtime_note(const runtime_place *p, uint64_t from, uint64_t to)
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

void runtime_take_needs(const runtime_place *p)
{
    if (p->bits != NULL) {
        take_bits(p->bits, (p->begin + RUNTIME_GRAIN - 1) / RUNTIME_GRAIN,
                  (p->begin + p->width * p->size) / RUNTIME_GRAIN);
    }
}
