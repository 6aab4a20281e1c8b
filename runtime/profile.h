/* One call with a timestamp around every step: mtl_session_run's loop, which has no branch for this. Only in our own
 * programs and tests, not in libmtlrt. */
#ifndef RUNTIME_PROFILE_H
#define RUNTIME_PROFILE_H

#include "runtime/internal.h"

/* One step of one tile. Times are of CLOCK_MONOTONIC in nanoseconds; an event ends where the next one begins. */
typedef struct runtime_profile_event {
    uint64_t begin, end;
    uint32_t step;
    int64_t tile; /* -1: the request program */
    int64_t rows; /* candidates of the tile */
} runtime_profile_event;

typedef struct runtime_profile {
    uint64_t clock_ns; /* runtime_profile_clock_ns(): taken off every step */
    uint64_t *step_ns; /* out, one for each step of the plan: nanoseconds in this call, all tiles together */
    uint64_t begin, end;
    /* Events are added while there is room. */
    runtime_profile_event *events;
    size_t event_count, event_capacity;
} runtime_profile;

uint64_t runtime_profile_now(void);
/* What one reading of the clock costs: the median of many, in nanoseconds. */
uint64_t runtime_profile_clock_ns(void);

/* The tiles of a call on one thread; `rows` is above 0. */
runtime_tiling runtime_profile_tiling(const mtl_session *session, int64_t rows);

/* As mtl_session_run on one thread; `rows` is above 0. */
mtl_status runtime_profile_run(mtl_session *session, int64_t rows, const void *const *inputs, void *const *outputs,
                               runtime_profile *profile, mtl_error *error);

#endif
