/* Where the needs of a tensor are noted, for runtime/needs.c. Elements are those of one candidate (or user). */
#ifndef RUNTIME_PLACES_H
#define RUNTIME_PLACES_H

#include "runtime/needs.h"

static inline uint64_t runtime_extent_once(mtl_dim dim)
{
    return (uint64_t)dim.fixed + (uint64_t)dim.per_row + (uint64_t)dim.per_user;
}

/* The product of extents [from, to). */
uint64_t runtime_count_once(const plan_view *view, const plan_tensor *tensor, unsigned from, unsigned to);
/* The axis that grows with rows or users, or the rank. */
unsigned runtime_growing_axis(const plan_view *view, const plan_tensor *tensor);
/* Whether the elements of a candidate (or user) are one piece, or there is one of all: then element j of a row is at the
 * same place in every row, and what holds for the one row that is looked at holds for all. */
bool runtime_is_regular(const plan_view *view, const plan_tensor *tensor);

/* Where a tensor's needs are noted: bits, or an output, or nowhere. */
typedef struct runtime_place {
    uint64_t *bits;
    unsigned char *output;
    uint64_t begin, size, width; /* bytes; elements */
    bool regular;                /* else needed whole or not at all */
} runtime_place;

runtime_place runtime_place_of(const runtime_needs *needs, const plan_tensor *tensor);

static inline bool runtime_is_noted(const runtime_place *p)
{
    return p->bits != NULL || p->output != NULL;
}

/* Whether any of elements [from, to) is needed. */
bool runtime_is_needed(const runtime_place *p, uint64_t from, uint64_t to);
/* Whether all of them are: so much is quick to see, and mostly so. */
bool runtime_is_all_needed(const runtime_place *p, uint64_t from, uint64_t to);
/* Notes that they are. */
void runtime_note(const runtime_place *p, uint64_t from, uint64_t to);
/* Takes the bits of all elements. */
void runtime_take_needs(const runtime_place *p);

#endif
