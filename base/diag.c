#include "base/diag.h"

#include <stdio.h>
#include <string.h>

const char *mtl_status_name(mtl_status status)
{
    switch (status) {
    case MTL_OK: return "ok";
    case MTL_INVALID_ARGUMENT: return "invalid argument";
    case MTL_INVALID_DATA: return "invalid data";
    case MTL_UNSUPPORTED: return "unsupported";
    case MTL_OUT_OF_MEMORY: return "out of memory";
    case MTL_IO: return "input/output error";
    case MTL_INTERNAL: return "internal error";
    }
    return "unknown status";
}

/* Names come from untrusted files: a newline or an escape sequence in one must not break "one line". */
static void make_printable(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
}

mtl_status base_fail_v(base_diag *diag, mtl_status status, const char *format, va_list arguments)
{
    if (diag == NULL || diag->failed) {
        return status;
    }
    diag->failed = 1;
    if (diag->error == NULL) {
        return status;
    }
    mtl_error *error = diag->error;
    error->status = status;
    int used = 0;
    if (diag->file != NULL) {
        used = snprintf(error->message, sizeof error->message, "%s: ", diag->file);
        if (used < 0 || (size_t)used >= sizeof error->message) {
            used = (int)sizeof error->message - 1;
        }
    }
    vsnprintf(error->message + used, sizeof error->message - (size_t)used, format, arguments);
    make_printable(error->message);
    return status;
}

mtl_status base_fail(base_diag *diag, mtl_status status, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    base_fail_v(diag, status, format, arguments);
    va_end(arguments);
    return status;
}

mtl_status base_fail_memory(base_diag *diag)
{
    return base_fail(diag, MTL_OUT_OF_MEMORY, "out of memory");
}
