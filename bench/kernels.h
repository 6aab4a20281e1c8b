/* What the programs that time kernels share. */
#ifndef BENCH_KERNELS_H
#define BENCH_KERNELS_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double seconds(void)
{
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Aligned; ends the program when there is none. */
static void *allocate(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (p == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    return p;
}

/* Numbers between -0.5 and 0.5. */
static float *new_floats(size_t count)
{
    float *p = allocate(count * sizeof(float));
    for (size_t i = 0; i < count; i++) {
        p[i] = (float)(i * 2654435761u % 1000) / 1000 - 0.5f;
    }
    return p;
}

#endif
