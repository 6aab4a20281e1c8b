#define _GNU_SOURCE /* realpath */
#include "onnx/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "onnx/internal.h"

/* The folder part of a path, "." if it has none. NULL: no memory. */
static char *folder_of(base_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return base_arena_string(arena, ".");
    }
    return base_arena_string_n(arena, path, slash == path ? 1 : (size_t)(slash - path));
}

mtl_status onnx_files_open(onnx_files *files, const char *model_path, const char *directory, base_arena *arena,
                           base_diag *diag)
{
    *files = (onnx_files){.arena = arena, .directory = directory};
    if (model_path != NULL) {
        files->directory = folder_of(arena, model_path);
        BASE_TRY_MEMORY(files->directory, diag);
    }
    if (files->directory != NULL) {
        char *canonical = realpath(model_path != NULL ? model_path : directory, NULL);
        if (canonical != NULL) { /* else `folder` is NULL and everything lies outside of it */
            files->folder = model_path != NULL ? folder_of(arena, canonical) : base_arena_string(arena, canonical);
            free(canonical);
            BASE_TRY_MEMORY(files->folder, diag);
        }
    }
    return MTL_OK;
}

void onnx_files_close(onnx_files *files)
{
    for (onnx_file *file = files->first; file != NULL; file = file->next) {
        base_unmap(&file->map);
    }
    files->first = NULL;
}

/* Whether a relative path climbs above its start at any point. */
static bool climbs_out(const char *path)
{
    int depth = 0;
    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        if (length == 2 && path[0] == '.' && path[1] == '.') {
            if (--depth < 0) {
                return true;
            }
        } else if (length > 0 && !(length == 1 && path[0] == '.')) {
            depth++;
        }
        path += length;
        path += *path == '/';
    }
    return false;
}

static bool lies_in(const char *path, const char *folder)
{
    size_t length = folder != NULL ? strlen(folder) : 0;
    if (length == 0 || strncmp(path, folder, length) != 0) {
        return false;
    }
    return folder[length - 1] == '/' || path[length] == '/';
}

static const char *tensor_name(const Onnx__TensorProto *proto)
{
    return proto->name != NULL ? proto->name : "";
}

/* The canonical path of a location, in the arena. */
static mtl_status find_file(const onnx_files *files, const char *location, const char *tensor, base_diag *diag,
                            char **result)
{
    const char *path = base_arena_format(files->arena, "%s/%s", files->directory, location);
    BASE_TRY_MEMORY(path, diag);
    char *canonical = realpath(path, NULL);
    if (canonical == NULL && errno == ENOENT && files->folder != NULL) {
        const char *other = base_arena_format(files->arena, "%s/%s", files->folder, location);
        BASE_TRY_MEMORY(other, diag);
        canonical = realpath(other, NULL);
    }
    if (canonical == NULL) {
        return base_fail(diag, errno == ENOMEM ? MTL_OUT_OF_MEMORY : MTL_IO, "tensor '%s': external data file '%s': %s",
                         tensor, path, strerror(errno));
    }
    *result = base_arena_string(files->arena, canonical);
    free(canonical);
    BASE_TRY_MEMORY(*result, diag);
    return MTL_OK;
}

static mtl_status map_new(onnx_files *files, const char *location, const char *tensor, base_diag *diag,
                          onnx_file **result)
{
    if (files->directory == NULL) {
        return base_fail(diag, MTL_INVALID_DATA, "tensor '%s': external data '%s' of a model without a folder", tensor,
                         location);
    }
    if (location[0] == '\0' || location[0] == '/' || climbs_out(location)) {
        return base_fail(diag, MTL_INVALID_DATA,
                         "tensor '%s': external data location '%s' is outside of the model's folder", tensor, location);
    }
    char *path;
    BASE_TRY(find_file(files, location, tensor, diag, &path));
    if (!lies_in(path, files->folder)) {
        return base_fail(diag, MTL_INVALID_DATA,
                         "tensor '%s': external data location '%s' leads outside of the model's folder", tensor,
                         location);
    }
    onnx_file *file = BASE_NEW(files->arena, onnx_file);
    BASE_TRY_MEMORY(file, diag);
    file->location = location;
    mtl_error error = {0};
    base_diag inner = {.error = &error, .file = path};
    mtl_status status = base_map_file(path, &inner, &file->map);
    if (status != MTL_OK) {
        return base_fail(diag, status, "tensor '%s': external data: %s", tensor, error.message);
    }
    file->next = files->first;
    files->first = file;
    *result = file;
    return MTL_OK;
}

static bool parse_number(const char *text, uint64_t *number)
{
    uint64_t result = 0;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c < '0' || *c > '9' || __builtin_mul_overflow(result, (uint64_t)10, &result) ||
            __builtin_add_overflow(result, (uint64_t)(*c - '0'), &result)) {
            return false;
        }
    }
    *number = result;
    return text[0] != '\0';
}

typedef struct place {
    const char *location;
    uint64_t offset, length;
    bool has_length;
} place;

static mtl_status read_place(const Onnx__TensorProto *proto, base_diag *diag, place *result)
{
    *result = (place){0};
    for (size_t i = 0; i < proto->n_external_data; i++) {
        const char *key = proto->external_data[i]->key;
        const char *value = proto->external_data[i]->value;
        if (key == NULL || value == NULL) {
            continue;
        }
        bool good = true;
        if (strcmp(key, "location") == 0) {
            result->location = value;
        } else if (strcmp(key, "offset") == 0) {
            good = parse_number(value, &result->offset);
        } else if (strcmp(key, "length") == 0) {
            good = parse_number(value, &result->length);
            result->has_length = true;
        }
        if (!good) {
            return base_fail(diag, MTL_INVALID_DATA, "tensor '%s': external data %s '%s' is not a whole number",
                             tensor_name(proto), key, value);
        }
    }
    if (result->location == NULL) {
        return base_fail(diag, MTL_INVALID_DATA, "tensor '%s': external data without a location", tensor_name(proto));
    }
    return MTL_OK;
}

mtl_status onnx_files_bytes(onnx_files *files, const Onnx__TensorProto *proto, size_t size, base_diag *diag,
                            const void **bytes)
{
    const char *tensor = tensor_name(proto);
    place at;
    BASE_TRY(read_place(proto, diag, &at));
    if (at.has_length && at.length != size) {
        return base_fail(diag, MTL_INVALID_DATA,
                         "tensor '%s': external data has length %llu, its shape and type need %zu", tensor,
                         (unsigned long long)at.length, size);
    }
    onnx_file *file = files->first;
    while (file != NULL && strcmp(file->location, at.location) != 0) {
        file = file->next;
    }
    if (file == NULL) {
        BASE_TRY(map_new(files, at.location, tensor, diag, &file));
    }
    if (!base_range_fits(at.offset, size, file->map.size)) {
        return base_fail(diag, MTL_INVALID_DATA,
                         "tensor '%s': %zu bytes at offset %llu reach beyond the end of '%s' (%zu bytes)", tensor, size,
                         (unsigned long long)at.offset, at.location, file->map.size);
    }
    *bytes = (const char *)file->map.data + at.offset;
    return MTL_OK;
}
