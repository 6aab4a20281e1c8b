/* From ids to rows of a table, whatever is to be done about ids outside of it. */
#include "runtime/native/native.h"

enum { LINE = 64, LINES = 4 }; /* bytes of a cache line; most lines of a row that are asked for ahead */

/* The rows of a table that is larger than the caches near the core are asked for before the first of them is read. */
static void prefetch(const native_lookup *lookup, int64_t row)
{
    const char *at = lookup->table + (size_t)row * lookup->row_bytes;
    for (size_t line = 0; line < LINES && line * LINE < lookup->row_bytes; line++) {
        __builtin_prefetch(at + line * LINE);
    }
}

/* The row of an id outside of 0 .. count - 1; NATIVE_ROW_ZERO; or count: refused. */
static int64_t outside_row(const native_lookup *lookup, int64_t id)
{
    switch (lookup->policy) {
    case PLAN_IDS_onnx: return id < 0 && id >= -lookup->count ? id + lookup->count : lookup->count;
    case PLAN_IDS_clamp: return id < 0 ? 0 : lookup->count - 1;
    case PLAN_IDS_zero: return NATIVE_ROW_ZERO;
    case PLAN_IDS_row: return lookup->row;
    case PLAN_IDS_error: break;
    }
    return lookup->count;
}

size_t native_find_rows(const native_lookup *lookup, const int64_t *ids, size_t n, int64_t *rows, uint64_t *outside)
{
    const int64_t count = lookup->count;
    for (size_t i = 0; i < n; i++) {
        int64_t row = ids[i];
        if (row < 0 || row >= count) {
            row = outside_row(lookup, row);
            if (row == count) {
                return i;
            }
            *outside += lookup->policy != PLAN_IDS_onnx;
        }
        rows[i] = row;
        if (lookup->ahead && row >= 0) {
            prefetch(lookup, row);
        }
    }
    return n;
}
