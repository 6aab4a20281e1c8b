/* A line of progress on standard error, for people at a terminal. */
#ifndef TOOL_TERMINAL_H
#define TOOL_TERMINAL_H

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialised is ready. One at a time. */
typedef struct tool_progress {
    bool started, shown;
    bool quiet;           /* standard error is no terminal */
    int64_t begun, drawn; /* milliseconds */
} tool_progress;

/* Draws "phase 42%" over the line, at most ten times a second and only once half a second has passed: short work shows
 * nothing. `context` is a tool_progress: it fits mtl_compile_options.progress. `share` is in 0..1. */
void tool_progress_show(void *context, const char *phase, double share);
/* Clears the line. Call it before anything else is printed there. */
void tool_progress_end(tool_progress *progress);

#endif
