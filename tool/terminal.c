#define _POSIX_C_SOURCE 200809L
#include "tool/terminal.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE = 500, INTERVAL = 100 }; /* milliseconds */

static int64_t milliseconds(void)
{
    struct timespec now;
    return clock_gettime(CLOCK_MONOTONIC, &now) == 0 ? (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 : 0;
}

void tool_progress_show(void *context, const char *phase, double share)
{
    tool_progress *progress = context;
    if (!progress->started) {
        progress->started = true;
        progress->quiet = isatty(STDERR_FILENO) == 0;
        progress->begun = milliseconds();
    }
    if (progress->quiet) {
        return;
    }
    int64_t now = milliseconds();
    if (now - progress->begun < PATIENCE || (progress->shown && now - progress->drawn < INTERVAL)) {
        return;
    }
    share = share > 0 ? (share < 1 ? share : 1) : 0;
    fprintf(stderr, "\r\033[K%.60s %d%%", phase, (int)(share * 100));
    fflush(stderr);
    progress->shown = true;
    progress->drawn = now;
}

void tool_progress_end(tool_progress *progress)
{
    if (progress->shown) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        progress->shown = false;
    }
}
