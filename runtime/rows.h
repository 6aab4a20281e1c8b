/* Steps over windows: kernels want dense rows. */
#ifndef RUNTIME_ROWS_H
#define RUNTIME_ROWS_H

#include "runtime/internal.h"

/* How the candidates' rows of a step's x and y lie. */
typedef struct runtime_rows {
    bool x_window, y_window;
    size_t x_bytes, y_bytes; /* of a row */
    size_t x_pitch, y_pitch; /* bytes from a row to the next */
} runtime_rows;

/* Computes `rows` candidates from dense x into dense y; they overlap only where the step's own do. */
typedef void (*runtime_rows_call)(const void *state, const runtime_frame *frame, const void *x, void *y, int64_t rows);

/* For the first input and the result of the step at hand. */
runtime_rows runtime_rows_of(const runtime_context *context);

/* Calls `call` once for all of the tile's rows when there is no window; else for a few at a time, of which narrow ones
 * go through a buffer on the stack. */
void runtime_rows_run(const runtime_rows *rows, const runtime_frame *frame, const unsigned char *x, unsigned char *y,
                      runtime_rows_call call, const void *state);

#endif
