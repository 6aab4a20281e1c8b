/* Status codes and the error value that every public call of mtlc and libmtlrt returns.
 *
 * A call that can fail returns an mtl_status. Calls that take an `mtl_error *` fill it when they fail: one line of
 * text that names the place (file and node, line and column, byte offset, tensor and row), what was found there and
 * what was expected. The pointer may be NULL. The value is owned by the caller, holds no pointers, and is never
 * written on success.
 */
#ifndef MTLC_STATUS_H
#define MTLC_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define MTL_API __declspec(dllexport)
#else
#define MTL_API __attribute__((visibility("default")))
#endif

typedef enum mtl_status {
    MTL_OK = 0,
    MTL_INVALID_ARGUMENT = 1, /* the caller's arguments contradict the documentation or each other */
    MTL_INVALID_DATA = 2,     /* bytes from outside (model, plan, tensor file, id) are malformed */
    MTL_UNSUPPORTED = 3,      /* well-formed, but outside of what this version does */
    MTL_OUT_OF_MEMORY = 4,
    MTL_IO = 5,       /* the operating system refused to read or write */
    MTL_INTERNAL = 6, /* a defect of ours; please report it */
} mtl_status;

/* Bytes in mtl_error.message, the terminating NUL included; longer texts are cut at the end. */
#define MTL_ERROR_MESSAGE_SIZE 512

typedef struct mtl_error {
    mtl_status status;
    char message[MTL_ERROR_MESSAGE_SIZE];
} mtl_error;

/* A constant English word for a status ("ok", "invalid data", ...). Never NULL. Thread-safe. */
MTL_API const char *mtl_status_name(mtl_status status);

#ifdef __cplusplus
}
#endif
#endif
