/* The outputs that a session's runs are to give (mtl_session_want), and what of the plan's steps they take. */
#ifndef RUNTIME_WANTED_H
#define RUNTIME_WANTED_H

#include "runtime/needs.h"

struct runtime_wanted {
    bool some;              /* not all: what follows holds */
    runtime_needs needs;    /* outputs, choices, parts */
    unsigned char *apart;   /* by output: 1 where what steps write of it goes to `tiles` */
    unsigned char *read;    /* by output: 1 where some step reads it */
    void **tables;          /* by thread and output: where a call's outputs are */
    unsigned char *tiles;   /* by thread: a tile of each output that grows with rows and that some step reads */
    unsigned char *request; /* the others that some step reads */
    size_t tile_bytes;      /* of a thread */
    size_t tile_rows;
};

/* Bytes of what a session of that plan, tile height and number of threads holds for its choice, a multiple of 64; 0 for
 * plans of one output. False: more than can be addressed. */
bool runtime_wanted_bytes(const mtl_plan *plan, size_t tile_rows, size_t threads, size_t *bytes);
/* All outputs are wanted; in so many bytes at `memory`, aligned to 64. */
runtime_wanted *runtime_wanted_new(const mtl_plan *plan, size_t tile_rows, size_t threads, void *memory);

static inline bool runtime_is_wanted(const runtime_wanted *wanted, size_t output)
{
    return wanted == NULL || !wanted->some || wanted->needs.outputs[output] == RUNTIME_WANTED;
}

/* Gives the frame of thread `thread` its outputs: the caller's that are wanted, and the session's own places for those
 * that only steps need. For frames with `wanted`. */
void runtime_wanted_outputs(const runtime_wanted *wanted, size_t thread, void *const *outputs, runtime_frame *frame);

/* What frame->wanted says of step `number`. */
mtl_status runtime_wanted_run(const mtl_plan *plan, size_t number, const runtime_frame *frame);

/* Runs the step, or what of it is wanted. */
static inline mtl_status runtime_run_step(const mtl_plan *plan, size_t number, const runtime_frame *frame)
{
    const runtime_step *step = &plan->steps[number];
    return frame->wanted == NULL ? step->run(step->state, frame) : runtime_wanted_run(plan, number, frame);
}

/* How much of step `number` a run of the session computes: *computed of *all, 0 of 1 or 1 of 1 for steps without
 * parts. */
void runtime_wanted_share(const mtl_session *session, size_t number, uint64_t *computed, uint64_t *all);
static inline uint64_t runtime_share(uint64_t number, uint64_t computed, uint64_t all)
{
    return computed == all ? number : (uint64_t)((double)number / (double)all * (double)computed);
}

#endif
