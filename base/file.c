#define _GNU_SOURCE /* O_CLOEXEC, strdup */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static mtl_status fail_path(base_diag *diag, const char *path, const char *what, int error)
{
    if (diag != NULL && diag->file != NULL && strcmp(diag->file, path) == 0) {
        return base_fail(diag, MTL_IO, "%s: %s", what, strerror(error));
    }
    return base_fail(diag, MTL_IO, "%s: %s: %s", path, what, strerror(error));
}

mtl_status base_map_file(const char *path, base_diag *diag, base_map *map)
{
    *map = (base_map){0};
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return fail_path(diag, path, "cannot open", errno);
    }
    struct stat info;
    if (fstat(descriptor, &info) != 0) {
        int error = errno;
        close(descriptor);
        return fail_path(diag, path, "cannot stat", error);
    }
    if (!S_ISREG(info.st_mode)) {
        close(descriptor);
        return fail_path(diag, path, "not a regular file", S_ISDIR(info.st_mode) ? EISDIR : EINVAL);
    }
    size_t size = (size_t)info.st_size;
    void *data = mmap(NULL, size > 0 ? size : 1, PROT_READ, MAP_PRIVATE, descriptor, 0);
    int error = errno;
    close(descriptor);
    if (data == MAP_FAILED) {
        return fail_path(diag, path, "cannot map", error);
    }
    map->data = data;
    map->size = size;
    return MTL_OK;
}

void base_unmap(base_map *map)
{
    if (map->data != NULL) {
        munmap((void *)(uintptr_t)map->data, map->size > 0 ? map->size : 1);
    }
    *map = (base_map){0};
}

enum { TEMPORARY_SUFFIX = 48 }; /* ".tmp-", two numbers, NUL */

struct base_output {
    int descriptor;
    base_diag *diag;
    char *path, *temporary;
};

static void output_free(base_output *output)
{
    if (output->descriptor >= 0) {
        close(output->descriptor);
    }
    free(output->path);
    free(output->temporary);
    free(output);
}

mtl_status base_output_open(const char *path, base_diag *diag, base_output **result)
{
    *result = NULL;
    base_output *output = calloc(1, sizeof *output);
    if (output == NULL || (output->path = strdup(path)) == NULL ||
        (output->temporary = malloc(strlen(path) + TEMPORARY_SUFFIX)) == NULL) {
        if (output != NULL) {
            output->descriptor = -1;
            output_free(output);
        }
        return base_fail_memory(diag);
    }
    output->diag = diag;
    output->descriptor = -1;
    for (int attempt = 0; output->descriptor < 0 && attempt < 1000; attempt++) {
        snprintf(output->temporary, strlen(path) + TEMPORARY_SUFFIX, "%s.tmp-%ld-%d", path, (long)getpid(), attempt);
        output->descriptor = open(output->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (output->descriptor < 0 && errno != EEXIST) {
            break;
        }
    }
    if (output->descriptor < 0) {
        mtl_status status = fail_path(diag, path, "cannot write beside it", errno);
        output_free(output);
        return status;
    }
    *result = output;
    return MTL_OK;
}

mtl_status base_output_write(base_output *output, const void *data, size_t size)
{
    const char *bytes = data;
    while (size > 0) {
        ssize_t written = write(output->descriptor, bytes, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return fail_path(output->diag, output->path, "cannot write", errno);
        }
        bytes += written;
        size -= (size_t)written;
    }
    return MTL_OK;
}

mtl_status base_output_commit(base_output *output)
{
    const char *what = NULL;
    int error = 0;
    if (fsync(output->descriptor) != 0) {
        what = "cannot finish writing";
        error = errno;
    } else if (rename(output->temporary, output->path) != 0) {
        what = "cannot rename into place";
        error = errno;
    }
    if (what == NULL) {
        output_free(output);
        return MTL_OK;
    }
    mtl_status status = fail_path(output->diag, output->path, what, error);
    base_output_discard(output);
    return status;
}

void base_output_discard(base_output *output)
{
    if (output != NULL) {
        unlink(output->temporary);
        output_free(output);
    }
}
