#define _POSIX_C_SOURCE 200809L
#include "runtime/profile.h"

#include <string.h>
#include <time.h>

#include "runtime/wanted.h"

uint64_t runtime_profile_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t runtime_profile_clock_ns(void)
{
    enum { READS = 64, TIMES = 31 };
    uint64_t times[TIMES];
    for (int i = 0; i < TIMES; i++) {
        uint64_t begin = runtime_profile_now();
        for (int j = 1; j < READS; j++) {
            (void)runtime_profile_now();
        }
        uint64_t took = (runtime_profile_now() - begin) / READS;
        int at = i;
        for (; at > 0 && times[at - 1] > took; at--) {
            times[at] = times[at - 1];
        }
        times[at] = took;
    }
    return times[TIMES / 2];
}

/* Steps [from, to) for one tile; *now is the time at which they begin, and at which they ended. */
static mtl_status run_steps(const mtl_plan *plan, size_t from, size_t to, int64_t tile, const runtime_frame *frame,
                            runtime_profile *profile, uint64_t *now)
{
    for (size_t i = from; i < to; i++) {
        uint64_t begin = *now;
        BASE_TRY(runtime_run_step(plan, i, frame));
        *now = runtime_profile_now();
        uint64_t took = *now - begin;
        profile->step_ns[i] += took > profile->clock_ns ? took - profile->clock_ns : 0;
        if (profile->event_count < profile->event_capacity) {
            profile->events[profile->event_count++] = (runtime_profile_event){
                .begin = begin, .end = *now, .step = (uint32_t)i, .tile = tile, .rows = frame->rows};
        }
    }
    return MTL_OK;
}

runtime_tiling runtime_profile_tiling(const mtl_session *session, int64_t rows)
{
    if (session->max_rows > 0) { /* whole batches */
        return (runtime_tiling){.rows = rows, .tiles = 1, .block = 1};
    }
    return runtime_cut(rows, (int64_t)session->tile_rows, 1, session->onednn != NULL);
}

mtl_status runtime_profile_run(mtl_session *session, int64_t rows, const void *const *inputs, void *const *outputs,
                               runtime_profile *profile, mtl_error *error)
{
    base_diag diag = {.error = error};
    runtime_frame frame;
    const mtl_call call = {.rows = rows, .users = 1, .inputs = inputs, .outputs = outputs};
    BASE_TRY(runtime_begin(session, &call, &diag, &frame));
    runtime_frame users = runtime_users_frame(&frame);
    const mtl_plan *plan = session->plan;
    size_t request_steps = plan->view.meta->request_step_count;
    memset(profile->step_ns, 0, plan->view.step_count * sizeof *profile->step_ns);
    profile->begin = runtime_profile_now();
    uint64_t now = profile->begin;
    BASE_TRY(run_steps(plan, 0, request_steps, -1, &users, profile, &now));
    runtime_tiling tiling = runtime_profile_tiling(session, rows);
    for (int64_t tile = 0; tile < tiling.tiles; tile++) {
        frame.first = runtime_tile_begin(&tiling, tile);
        frame.rows = runtime_tile_begin(&tiling, tile + 1) - frame.first;
        BASE_TRY(run_steps(plan, request_steps, plan->view.step_count, tile, &frame, profile, &now));
    }
    profile->end = now;
    return MTL_OK;
}
