/* Gates with their experts: softmax over a task's logits, and the sum of the experts' vectors that they weigh.
 *
 * Shares of as many rows as fit are made first, by the softmax kernel itself and so with its bits, into a buffer on
 * the stack; then a block of a task's vector stays in registers while its experts pass by in order. More experts than
 * the buffer holds come in parts, with the sums kept in y between them. */
#ifndef RUNTIME_NATIVE_MIX_INC_H
#define RUNTIME_NATIVE_MIX_INC_H

#include "runtime/native/native.h"
#include "runtime/native/softmax.inc.h"
#include "runtime/native/vec.inc.h"

enum {
    MIX_TASKS = LANES == 16  ? 4
                : LANES == 8 ? 3
                             : 2, /* at a time, where they read the same vectors */
    MIX_VECS = 4,                 /* of a vector of the values: TASKS x VECS sums in registers */
    MIX_VECS_ALONE = 8,           /* where tasks go one by one */
    MIX_SHARES = 512,             /* held on the stack; a multiple of LANES, for the parts of a long gate */
};

/* One task of one row, or several that read the same vectors. */
typedef struct mix_task {
    const float *shares, *values;
    const int64_t *index;
    float *y;
    size_t experts, h;
    size_t between; /* shares of one task and the next's */
    bool resume;    /* y holds the sums over the experts before */
} mix_task;

/* TASKS, VECS and WHOLE are constants after inlining; `columns`: of the one vector, where it is not whole. */
INLINE void mix_block(const mix_task *task, size_t first, const unsigned TASKS, const unsigned VECS, const bool WHOLE,
                      size_t columns)
{
    vec sums[MIX_TASKS * MIX_VECS_ALONE];
    UNROLL
    for (unsigned s = 0; s < TASKS * VECS; s++) {
        const float *y = task->y + s / VECS * task->h + first + s % VECS * LANES;
        sums[s] = !task->resume ? splat(0) : WHOLE ? load(y) : load_tail(y, columns);
    }
    for (size_t e = 0; e < task->experts; e++) {
        const float *values = task->values + (size_t)task->index[e] * task->h + first;
        vec share[MIX_TASKS];
        UNROLL
        for (unsigned t = 0; t < TASKS; t++) {
            share[t] = splat(task->shares[t * task->between + e]);
        }
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            const vec value = WHOLE ? load(values + v * LANES) : load_tail(values + v * LANES, columns);
            UNROLL
            for (unsigned t = 0; t < TASKS; t++) {
                sums[t * VECS + v] = sums[t * VECS + v] + value * share[t];
            }
        }
    }
    UNROLL
    for (unsigned s = 0; s < TASKS * VECS; s++) {
        float *y = task->y + s / VECS * task->h + first + s % VECS * LANES;
        if (WHOLE) {
            store(y, sums[s]);
        } else {
            store_tail(y, sums[s], columns);
        }
    }
}

/* All of the vectors in blocks of MOST vectors of the ISA, then fewer. */
INLINE void mix_blocks(const mix_task *task, const unsigned TASKS, const unsigned MOST)
{
    size_t first = 0;
    for (; task->h - first >= MOST * LANES; first += MOST * LANES) {
        mix_block(task, first, TASKS, MOST, true, LANES);
    }
    if (MOST > 4 && task->h - first >= 4 * LANES) {
        mix_block(task, first, TASKS, 4, true, LANES);
        first += 4 * LANES;
    }
    if (task->h - first >= 2 * LANES) {
        mix_block(task, first, TASKS, 2, true, LANES);
        first += 2 * LANES;
    }
    if (task->h - first >= LANES) {
        mix_block(task, first, TASKS, 1, true, LANES);
        first += LANES;
    }
    if (task->h > first) {
        mix_block(task, first, TASKS, 1, false, task->h - first);
    }
}

static void mix_one(const mix_task *task)
{
    mix_blocks(task, 1, MIX_VECS_ALONE);
}

static void mix_two(const mix_task *task)
{
    mix_blocks(task, 2, MIX_VECS);
}

#if LANES >= 8
static void mix_three(const mix_task *task)
{
    mix_blocks(task, 3, MIX_VECS);
}
#endif

#if LANES >= 16
static void mix_four(const mix_task *task)
{
    mix_blocks(task, 4, MIX_VECS);
}
#endif

/* `rows` rows from `row` on, whose shares are rows of `stride`. */
static void mix_rows(const native_mix *call, size_t row, size_t rows, const float *shares, size_t stride)
{
    static void (*const together[])(const mix_task *) = {
        [1] = mix_one,
        [2] = mix_two,
#if LANES >= 8
        [3] = mix_three,
#endif
#if LANES >= 16
        [4] = mix_four,
#endif
    };
    for (size_t r = 0; r < rows; r++) {
        mix_task task = {
            .shares = shares + r * stride,
            .values = call->values + (row + r) * call->values_stride,
            .index = call->index,
            .y = call->y + (row + r) * call->y_stride,
            .experts = call->experts,
            .h = call->h,
            .between = call->experts,
        };
        for (size_t t = 0, count; t < call->tasks; t += count) {
            count = !call->same_index ? 1 : call->tasks - t < MIX_TASKS ? call->tasks - t : MIX_TASKS;
            together[count](&task);
            task.shares += count * call->experts;
            task.index += count * call->experts;
            task.y += count * call->h;
        }
    }
}

/* Shares of whole rows at a time; of one row for all when all have the same weights. */
static void mix_short(const native_mix *call)
{
    float shares[MIX_SHARES];
    const size_t gates = call->tasks * call->experts;
    const bool shared = call->weights_stride == 0;
    /* Without the division where one call of the softmax does: it is a good part of the time of one row. */
    const bool together = shared || (call->rows <= MIX_SHARES && call->rows * gates <= MIX_SHARES);
    const size_t most = together ? call->rows : MIX_SHARES / gates;
    for (size_t row = 0, rows; row < call->rows; row += rows) {
        rows = call->rows - row < most ? call->rows - row : most;
        const size_t different = shared ? 1 : rows;
        const float *weights = call->weights + row * call->weights_stride;
        if (call->weights_stride != gates) { /* in place then, one after the other */
            for (size_t r = 0; r < different; r++) {
                memcpy(shares + r * gates, weights + r * call->weights_stride, gates * sizeof(float));
            }
            weights = shares;
        }
        softmax(PLAN_SOFTMAX_softmax, weights, shares, different * call->tasks, call->experts, 1);
        mix_rows(call, row, rows, shares, shared ? 0 : gates);
    }
}

/* One gate of more than MIX_SHARES experts: as softmax_row, with the shares of a part at a time in the buffer. */
static void mix_long_gate(const float *weights, mix_task *task, float *shares)
{
    const size_t experts = task->experts;
    vec sums = splat(0);
    const float most = softmax_most(weights, experts);
    for (size_t first = 0; first < experts; first += MIX_SHARES) {
        const size_t count = experts - first < MIX_SHARES ? experts - first : MIX_SHARES;
        softmax_exp(weights + first, shares, count, most);
        sums = softmax_add(sums, shares, count);
    }
    const vec divisor = splat(across_sum(sums));
    for (size_t first = 0; first < experts; first += task->experts) {
        task->experts = experts - first < MIX_SHARES ? experts - first : MIX_SHARES;
        softmax_exp(weights + first, shares, task->experts, most);
        softmax_divide(shares, task->experts, divisor);
        task->resume = first > 0;
        mix_one(task);
        task->index += task->experts;
    }
}

/* More shares in a row than the buffer holds: task by task. */
static void mix_long(const native_mix *call)
{
    for (size_t row = 0; row < call->rows; row++) {
        for (size_t t = 0; t < call->tasks; t++) {
            const float *weights = call->weights + row * call->weights_stride + t * call->experts;
            float shares[MIX_SHARES];
            mix_task task = {
                .shares = shares,
                .values = call->values + row * call->values_stride,
                .index = call->index + t * call->experts,
                .y = call->y + row * call->y_stride + t * call->h,
                .experts = call->experts,
                .h = call->h,
            };
            if (call->experts > MIX_SHARES) {
                mix_long_gate(weights, &task, shares);
                continue;
            }
            softmax(PLAN_SOFTMAX_softmax, weights, shares, 1, call->experts, 1);
            mix_one(&task);
        }
    }
}

static void mix(const native_mix *call)
{
    if (call->function == PLAN_MIX_none || call->experts == 0) {
        mix_rows(call, 0, call->rows, call->weights, call->weights_stride);
    } else if (call->tasks == 0) {
        return;
    } else if (call->experts <= MIX_SHARES && call->tasks <= MIX_SHARES && call->tasks * call->experts <= MIX_SHARES) {
        mix_short(call);
    } else {
        mix_long(call);
    }
}

#endif
