#include "tool/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"

enum { PREFIX = 8, HEADER_MOST = 100 << 20 }; /* as the library has it */

struct tool_safetensors {
    base_map map;
    json_t *header;
    tool_array *arrays;
    void **copies; /* by array: of data that is not aligned in the file, else NULL */
    size_t count;
};

static uint64_t header_size(const unsigned char *bytes)
{
    uint64_t size = 0;
    for (int i = 0; i < PREFIX; i++) {
        size |= (uint64_t)bytes[i] << 8 * i; /* little-endian */
    }
    return size;
}

bool tool_is_safetensors(const void *bytes, size_t size)
{
    return size > PREFIX && ((const unsigned char *)bytes)[PREFIX] == '{';
}

void tool_safetensors_close(tool_safetensors *file)
{
    if (file == NULL) {
        return;
    }
    for (size_t i = 0; file->copies != NULL && i < file->count; i++) {
        free(file->copies[i]);
    }
    free(file->copies);
    free(file->arrays);
    json_decref(file->header);
    base_unmap(&file->map);
    free(file);
}

static mtl_status read_dtype(const json_t *entry, const char *name, base_diag *diag, mtl_dtype *dtype)
{
    static const struct {
        const char *text;
        mtl_dtype dtype;
    } known[] = {{"F32", MTL_F32}, {"F64", MTL_F64}, {"F16", MTL_F16},  {"BF16", MTL_BF16}, {"I64", MTL_I64},
                 {"I32", MTL_I32}, {"I16", MTL_I16}, {"I8", MTL_I8},    {"U64", MTL_U64},   {"U32", MTL_U32},
                 {"U16", MTL_U16}, {"U8", MTL_U8},   {"BOOL", MTL_BOOL}};
    const char *text = json_string_value(json_object_get(entry, "dtype"));
    for (size_t i = 0; text != NULL && i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].text, text) == 0) {
            *dtype = known[i].dtype;
            return MTL_OK;
        }
    }
    return base_fail(diag, text == NULL ? MTL_INVALID_DATA : MTL_UNSUPPORTED, "tensor '%.100s': dtype %.20s", name,
                     text == NULL ? "is missing" : text);
}

static mtl_status read_shape(const json_t *entry, tool_array *array, base_diag *diag)
{
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape)) {
        return base_fail(diag, MTL_INVALID_DATA, "tensor '%.100s': no shape", array->name);
    }
    if (json_array_size(shape) > MTL_MAX_RANK) {
        return base_fail(diag, MTL_UNSUPPORTED, "tensor '%.100s': %zu axes, at most %d are supported", array->name,
                         json_array_size(shape), MTL_MAX_RANK);
    }
    array->rank = (int32_t)json_array_size(shape);
    array->bytes = mtl_dtype_size(array->dtype);
    for (int32_t axis = 0; axis < array->rank; axis++) {
        const json_t *extent = json_array_get(shape, (size_t)axis);
        array->shape[axis] = json_integer_value(extent);
        if (!json_is_integer(extent) || array->shape[axis] < 0 ||
            !base_mul_size(array->bytes, (size_t)array->shape[axis], &array->bytes)) {
            return base_fail(diag, MTL_INVALID_DATA, "tensor '%.100s': axis %d has no extent that can be had",
                             array->name, (int)axis);
        }
    }
    return MTL_OK;
}

/* Where its bytes are, behind the header. */
static mtl_status read_place(const json_t *entry, tool_safetensors *file, size_t i, size_t data, base_diag *diag)
{
    tool_array *array = &file->arrays[i];
    const json_t *offsets = json_object_get(entry, "data_offsets");
    json_int_t from = json_integer_value(json_array_get(offsets, 0)),
               to = json_integer_value(json_array_get(offsets, 1));
    bool good = json_array_size(offsets) == 2 && from >= 0 && to >= from &&
                (uint64_t)to - (uint64_t)from == array->bytes &&
                base_range_fits((uint64_t)from, array->bytes, file->map.size - data);
    if (!good) {
        return base_fail(diag, MTL_INVALID_DATA,
                         "tensor '%.100s': bytes %" JSON_INTEGER_FORMAT "..%" JSON_INTEGER_FORMAT
                         " of %zu, expected %zu of them",
                         array->name, from, to, file->map.size - data, array->bytes);
    }
    const unsigned char *at = (const unsigned char *)file->map.data + data + (size_t)from;
    array->data = at;
    if ((uintptr_t)at % mtl_dtype_size(array->dtype) != 0) {
        file->copies[i] = malloc(array->bytes > 0 ? array->bytes : 1);
        BASE_TRY_MEMORY(file->copies[i], diag);
        array->data = memcpy(file->copies[i], at, array->bytes);
    }
    return MTL_OK;
}

static mtl_status read_tensors(tool_safetensors *file, size_t data, base_diag *diag)
{
    const char *name;
    json_t *entry;
    size_t most = json_object_size(file->header);
    file->arrays = calloc(most + 1, sizeof *file->arrays);
    file->copies = calloc(most + 1, sizeof *file->copies);
    if (file->arrays == NULL || file->copies == NULL) {
        return base_fail_memory(diag);
    }
    json_object_foreach(file->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0) {
            continue;
        }
        tool_array *array = &file->arrays[file->count];
        array->name = name;
        if (!json_is_object(entry)) {
            return base_fail(diag, MTL_INVALID_DATA, "tensor '%.100s': expected dtype, shape and data_offsets", name);
        }
        BASE_TRY(read_dtype(entry, name, diag, &array->dtype));
        BASE_TRY(read_shape(entry, array, diag));
        file->count++;
        BASE_TRY(read_place(entry, file, file->count - 1, data, diag));
    }
    return MTL_OK;
}

static mtl_status read_file(tool_safetensors *file, base_diag *diag)
{
    const unsigned char *bytes = file->map.data;
    if (!tool_is_safetensors(bytes, file->map.size)) {
        return base_fail(diag, MTL_INVALID_DATA, "not a safetensors file: no header");
    }
    uint64_t size = header_size(bytes);
    if (size > HEADER_MOST || size > file->map.size - PREFIX) {
        return base_fail(diag, MTL_INVALID_DATA, "a header of %" PRIu64 " bytes in a file of %zu, expected at most %d",
                         size, file->map.size, HEADER_MOST);
    }
    json_error_t error;
    file->header = json_loadb((const char *)bytes + PREFIX, (size_t)size, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(file->header)) {
        return base_fail(diag, MTL_INVALID_DATA, "byte %d of the header: %.100s", error.position,
                         file->header == NULL ? error.text : "expected an object");
    }
    return read_tensors(file, PREFIX + (size_t)size, diag);
}

mtl_status tool_safetensors_open(const char *path, base_diag *diag, tool_safetensors **result)
{
    base_diag named = {.error = diag != NULL ? diag->error : NULL, .file = path};
    *result = NULL;
    tool_safetensors *file = calloc(1, sizeof *file);
    BASE_TRY_MEMORY(file, diag);
    mtl_status status = base_map_file(path, &named, &file->map);
    if (status == MTL_OK) {
        status = read_file(file, &named);
    }
    if (status != MTL_OK) {
        tool_safetensors_close(file);
        return status;
    }
    *result = file;
    return MTL_OK;
}

size_t tool_safetensors_count(const tool_safetensors *file)
{
    return file->count;
}

const tool_array *tool_safetensors_at(const tool_safetensors *file, size_t index)
{
    return index < file->count ? &file->arrays[index] : NULL;
}
