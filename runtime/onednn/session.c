/* Sessions: memory objects of their own, and running steps through them. */
#include <string.h>

#include "base/checked.h"
#include "runtime/onednn/internal.h"

typedef struct memories {
    dnnl_memory_t operand[ONEDNN_OPERANDS];
    dnnl_memory_t scratch;
} memories;

struct onednn_session {
    const onednn_context *context;
    mtl_allocator allocator;
    size_t bytes;
    dnnl_stream_t stream;
    memories memories[]; /* by index of the primitive */
};

static mtl_status create_memories(onednn_session *session, void *scratch, base_diag *diag)
{
    const onednn_context *context = session->context;
    for (const onednn_primitive *p = context->primitives; p != NULL; p = p->next) {
        memories *m = &session->memories[p->index];
        for (unsigned i = 0; i < p->spec.count; i++) {
            BASE_TRY(
                onednn_check(dnnl_memory_create(&m->operand[i], p->spec.operand[i], context->engine, DNNL_MEMORY_NONE),
                             "creating a memory object", diag));
        }
        if (p->scratch != NULL) {
            BASE_TRY(onednn_check(dnnl_memory_create(&m->scratch, p->scratch, context->engine, scratch),
                                  "creating a memory object", diag));
        }
    }
    return MTL_OK;
}

mtl_status onednn_session_create(const onednn_context *context, const mtl_allocator *allocator, void *scratch,
                                 base_diag *diag, onednn_session **session)
{
    const mtl_allocator own = allocator != NULL ? *allocator : context->allocator;
    size_t bytes;
    if (!base_mul_size(context->primitive_count, sizeof(memories), &bytes) ||
        !base_add_size(bytes, sizeof(onednn_session), &bytes)) {
        return base_fail_memory(diag);
    }
    onednn_session *fresh = own.allocate(own.context, bytes, 64);
    BASE_TRY_MEMORY(fresh, diag);
    memset(fresh, 0, bytes);
    fresh->context = context;
    fresh->allocator = own;
    fresh->bytes = bytes;
    const int threads = onednn_quiet();
    mtl_status status = onednn_check(dnnl_stream_create(&fresh->stream, context->engine, dnnl_stream_default_flags),
                                     "creating a stream", diag);
    if (status == MTL_OK) {
        status = create_memories(fresh, scratch, diag);
    }
    onednn_restore(threads);
    if (status != MTL_OK) {
        onednn_session_destroy(fresh);
        return status;
    }
    *session = fresh;
    return MTL_OK;
}

void onednn_session_destroy(onednn_session *session)
{
    if (session == NULL) {
        return;
    }
    for (size_t p = 0; p < session->context->primitive_count; p++) {
        memories *m = &session->memories[p];
        for (unsigned i = 0; i < ONEDNN_OPERANDS; i++) {
            if (m->operand[i] != NULL) {
                dnnl_memory_destroy(m->operand[i]);
            }
        }
        if (m->scratch != NULL) {
            dnnl_memory_destroy(m->scratch);
        }
    }
    if (session->stream != NULL) {
        dnnl_stream_destroy(session->stream);
    }
    session->allocator.release(session->allocator.context, session, session->bytes);
}

static int source_argument(const onednn_spec *spec, unsigned i)
{
    switch (spec->kind) {
    case ONEDNN_CONCAT: return DNNL_ARG_MULTIPLE_SRC + (int)i;
    case ONEDNN_LAYER_NORM:
        return i == 0                                               ? DNNL_ARG_SRC
               : i == 1 && (spec->flags & (unsigned)dnnl_use_scale) ? DNNL_ARG_SCALE
                                                                    : DNNL_ARG_SHIFT;
    case ONEDNN_MATMUL:
    case ONEDNN_PRELU: return i == 0 ? DNNL_ARG_SRC : DNNL_ARG_WEIGHTS;
    default: return i == 0 ? DNNL_ARG_SRC : DNNL_ARG_SRC_1;
    }
}

static dnnl_status_t execute(onednn_session *session, const onednn_primitive *p, const void *const *operands)
{
    memories *m = &session->memories[p->index];
    dnnl_exec_arg_t args[ONEDNN_OPERANDS + 1];
    int count = 0;
    for (unsigned i = 0; i < p->spec.count; i++) {
        /* oneDNN's handles are not const; only the destination is written. */
        const dnnl_status_t status = dnnl_memory_set_data_handle(m->operand[i], (void *)(uintptr_t)operands[i]);
        if (status != dnnl_success) {
            return status;
        }
        args[count++] =
            (dnnl_exec_arg_t){i + 1 < p->spec.count ? source_argument(&p->spec, i) : DNNL_ARG_DST, m->operand[i]};
    }
    if (m->scratch != NULL) {
        args[count++] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, m->scratch};
    }
    return dnnl_primitive_execute(p->primitive, session->stream, count, args);
}

/* All parts over all rows, in powers of two, the largest first. */
static dnnl_status_t execute_rows(onednn_session *session, const onednn_step *step, const void *const *operands,
                                  size_t rows)
{
    const unsigned last = step->operand_count - 1;
    const size_t y_size = step->y_size > 0 ? step->y_size : sizeof(float);
    for (size_t row = 0; row < rows;) {
        unsigned power = step->power_count - 1;
        while ((size_t)1 << power > rows - row) {
            power--;
        }
        for (unsigned q = 0; q < step->part_count; q++) {
            const onednn_part *part = &step->part[q];
            for (size_t i = 0; i < part->repeat; i++) {
                const void *at[ONEDNN_OPERANDS] = {NULL};
                for (unsigned o = 0; o <= last; o++) {
                    size_t more = o == last ? part->y_first + i * part->y_step
                                  : o == 1  ? part->w_first + i * part->w_step
                                            : 0;
                    size_t bytes = (row * step->row[o] + more) * (o == last ? y_size : sizeof(float));
                    at[o] = (const unsigned char *)operands[o] + bytes;
                }
                const dnnl_status_t status = execute(session, part->power[power], at);
                if (status != dnnl_success) {
                    return status;
                }
            }
        }
        row += (size_t)1 << power;
    }
    return dnnl_success;
}

static dnnl_status_t execute_quietly(onednn_session *session, const onednn_step *step, const void *const *operands,
                                     size_t rows)
{
    const int threads = onednn_quiet();
    dnnl_status_t status = execute_rows(session, step, operands, rows);
    if (status == dnnl_success) {
        status = dnnl_stream_wait(session->stream);
    }
    onednn_restore(threads);
    return status;
}

/* Refusing to run is a defect whatever the reason. */
static mtl_status ran(dnnl_status_t status, base_diag *diag)
{
    return status == dnnl_success
               ? MTL_OK
               : base_fail(diag, MTL_INTERNAL, "oneDNN: running a primitive failed with status %d", (int)status);
}

mtl_status onednn_run_linear(onednn_session *session, const onednn_step *step, const native_linear *call,
                             base_diag *diag)
{
    const native_kernels *kernels = session->context->kernels;
    const size_t active = call->act_columns != 0 && call->act_columns < step->n ? call->act_columns : step->n;
    const bool dense = step->row[2] == active;
    for (size_t g = 0; g < step->groups; g++) {
        float *y = call->y + g * step->group[2];
        const float *w =
            step->copy != NULL ? step->copy->weights + g * step->copy->group : call->w + g * step->group[1];
        const void *const operands[] = {call->x + g * step->group[0], w, y};
        BASE_TRY(ran(execute_quietly(session, step, operands, call->rows), diag));
        for (size_t r = 0; r < call->rows; r++) {
            float *row = y + r * step->row[2];
            if (call->bias != NULL) {
                kernels->binary(PLAN_BINARY_add, row, 1, call->bias + g * step->bias_group, 1, row, step->n);
            }
            if (call->start != NULL) {
                const float *start = native_linear_start(call, r) + g * step->n;
                kernels->binary(PLAN_BINARY_add, row, 1, start, 1, row, step->n);
            }
            if (call->act != PLAN_UNARY_none && !dense) {
                kernels->unary(call->act, call->a, call->b, row, row, active);
            }
        }
        if (call->act != PLAN_UNARY_none && dense) {
            kernels->unary(call->act, call->a, call->b, y, y, call->rows * active);
        }
    }
    return MTL_OK;
}

mtl_status onednn_run(onednn_session *session, const onednn_step *step, const float *const *inputs, void *y,
                      size_t rows, base_diag *diag)
{
    const void *operands[ONEDNN_OPERANDS];
    for (unsigned i = 0; i + 1 < step->operand_count; i++) {
        operands[step->swapped ? 1 - i : i] = inputs[i];
    }
    operands[step->operand_count - 1] = y;
    return ran(execute_quietly(session, step, operands, rows), diag);
}
