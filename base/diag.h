/* Diagnostics: how an error with its place travels from where it is found to the caller's mtl_error. */
#ifndef BASE_DIAG_H
#define BASE_DIAG_H

#include <stdarg.h>

#include "mtlc/status.h"

/* A sink for one error. `error` may be NULL (nobody listens). The first error wins: what follows from it is noise. */
typedef struct base_diag {
    mtl_error *error;
    const char *file; /* printed before every message as "FILE: "; NULL: nothing. Not owned. */
    int failed;
} base_diag;

/* Records an error (printf format, one line, no full stop needed) and returns `status`, so that
 * `return base_fail(diag, MTL_INVALID_DATA, "node '%s': ...", ...)` reads well. `diag` may be NULL. */
mtl_status base_fail(base_diag *diag, mtl_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));
mtl_status base_fail_v(base_diag *diag, mtl_status status, const char *format, va_list arguments);

/* "out of memory", recorded. */
mtl_status base_fail_memory(base_diag *diag);

/* Returns the status from the calling function when it is not MTL_OK. */
#define BASE_TRY(expression)                                                                                           \
    do {                                                                                                               \
        mtl_status base_try_status_ = (expression);                                                                    \
        if (base_try_status_ != MTL_OK) {                                                                              \
            return base_try_status_;                                                                                   \
        }                                                                                                              \
    } while (0)

/* Fails with MTL_OUT_OF_MEMORY from the calling function when a fresh pointer is NULL. */
#define BASE_TRY_MEMORY(pointer, diag)                                                                                 \
    do {                                                                                                               \
        if ((pointer) == NULL) {                                                                                       \
            return base_fail_memory(diag);                                                                             \
        }                                                                                                              \
    } while (0)

#endif
