#include "runtime/rows.h"

#include "runtime/native/native.h"

enum {
    BUFFER = 8192, /* bytes, of x and of y */
    NARROW = 256,  /* bytes of a row: wider ones fill the vectors by themselves */
};

runtime_rows runtime_rows_of(const runtime_context *context)
{
    const plan_view *view = context->view;
    const plan_tensor *x = plan_operand(view, context->step, 0), *y = plan_result(view, context->step);
    runtime_rows rows = {.x_window = plan_is_window(x), .y_window = plan_is_window(y)};
    if (!rows.x_window && !rows.y_window) {
        return rows;
    }
    rows.x_bytes = mtl_dtype_size((mtl_dtype)x->dtype) * (size_t)runtime_elements(view, x, 0, x->rank).per_row;
    rows.y_bytes = mtl_dtype_size((mtl_dtype)y->dtype) * (size_t)runtime_elements(view, y, 0, y->rank).per_row;
    rows.x_pitch = runtime_pitch(view, x);
    rows.y_pitch = runtime_pitch(view, y);
    return rows;
}

static int64_t rows_at_once(const runtime_rows *rows)
{
    size_t widest = rows->x_bytes > rows->y_bytes ? rows->x_bytes : rows->y_bytes;
    return widest >= NARROW || widest == 0 ? 1 : (int64_t)(BUFFER / widest);
}

void runtime_rows_run(const runtime_rows *rows, const runtime_frame *frame, const unsigned char *x, unsigned char *y,
                      runtime_rows_call call, const void *state)
{
    if (!rows->x_window && !rows->y_window) {
        call(state, frame, x, y, frame->rows);
        return;
    }
    _Alignas(64) unsigned char x_buffer[BUFFER], y_buffer[BUFFER];
    int64_t most = rows_at_once(rows), count;
    for (int64_t row = 0; row < frame->rows; row += count) {
        count = frame->rows - row < most ? frame->rows - row : most;
        const unsigned char *from = x + (size_t)row * rows->x_pitch;
        unsigned char *to = y + (size_t)row * rows->y_pitch;
        if (count == 1) {
            call(state, frame, from, to, 1);
            continue;
        }
        if (rows->x_window) {
            native_copy_2d(from, rows->x_pitch, x_buffer, rows->x_bytes, (size_t)count, rows->x_bytes);
            from = x_buffer;
        }
        call(state, frame, from, rows->y_window ? y_buffer : to, count);
        if (rows->y_window) {
            native_copy_2d(y_buffer, rows->y_bytes, to, rows->y_pitch, (size_t)count, rows->y_bytes);
        }
    }
}
