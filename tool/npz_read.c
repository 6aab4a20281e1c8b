#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "base/arena.h"
#include "base/checked.h"
#include "tool/npy.h"
#include "tool/npz.h"

/* All arrays of a file together, and how much deflate can expand at most (its format allows 1,032 : 1). */
#define LIMIT_BYTES ((uint64_t)1 << 36)
enum { LIMIT_RATIO = 1040, LIMIT_SLACK = 1024, LIMIT_MEMBERS = 8192 };

struct tool_npz {
    base_arena arena;
    tool_array *arrays;
    size_t count;
};

typedef struct npz_reader {
    const char *path;
    base_diag *diag;
    zip_t *archive;
    tool_npz *npz;
    uint64_t total; /* declared bytes so far */
} npz_reader;

/* The member at hand. */
typedef struct npz_member {
    const npz_reader *from;
    const char *name; /* in the zip file */
    zip_uint64_t index;
    uint64_t size;
    zip_file_t *file;
} npz_member;

/* "FILE: MESSAGE", once even where the diagnostics name the file already. */
static mtl_status fail_file(const npz_reader *reader, mtl_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static mtl_status fail_file(const npz_reader *reader, mtl_status status, const char *format, ...)
{
    char message[MTL_ERROR_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (reader->diag != NULL && reader->diag->file != NULL && strcmp(reader->diag->file, reader->path) == 0) {
        return base_fail(reader->diag, status, "%s", message);
    }
    return base_fail(reader->diag, status, "%s: %s", reader->path, message);
}

static mtl_status fail_member(const npz_member *member, mtl_status status, const char *what)
{
    return fail_file(member->from, status, "'%.200s': %s", member->name, what);
}

/* Reads exactly `size` bytes. */
static mtl_status read_bytes(const npz_member *member, void *data, size_t size)
{
    unsigned char *at = data;
    while (size > 0) {
        size_t piece = size < ((size_t)1 << 30) ? size : (size_t)1 << 30;
        zip_int64_t got = zip_fread(member->file, at, piece);
        if (got <= 0) {
            return fail_member(member, MTL_INVALID_DATA,
                               got < 0 ? zip_error_strerror(zip_file_get_error(member->file))
                                       : "it ends before its declared size");
        }
        at += got;
        size -= (size_t)got;
    }
    return MTL_OK;
}

/* `from` is column-major: copies it in C order to `to`. */
static void to_c_order(const unsigned char *from, const tool_array *array, unsigned char *to)
{
    size_t item = mtl_dtype_size(array->dtype);
    int64_t index[MTL_MAX_RANK] = {0};
    size_t stride[MTL_MAX_RANK] = {0}; /* in elements of `from` */
    for (int32_t axis = 0; axis < array->rank; axis++) {
        stride[axis] = axis == 0 ? 1 : stride[axis - 1] * (size_t)array->shape[axis - 1];
    }
    for (size_t at = 0, source = 0; at < array->bytes; at += item) {
        memcpy(to + at, from + source * item, item);
        for (int32_t axis = array->rank; axis-- > 0;) {
            source += stride[axis];
            if (++index[axis] < array->shape[axis]) {
                break;
            }
            source -= stride[axis] * (size_t)array->shape[axis];
            index[axis] = 0;
        }
    }
}

static mtl_status read_header(const npz_member *member, tool_npy_header *header, size_t *length)
{
    unsigned char prefix[TOOL_NPY_PREFIX];
    char message[TOOL_NPY_MESSAGE] = "";
    size_t have = member->size < sizeof prefix ? (size_t)member->size : sizeof prefix, text_at;
    BASE_TRY(read_bytes(member, prefix, have));
    if (!tool_npy_length(prefix, have, length, &text_at, message)) {
        return fail_member(member, MTL_INVALID_DATA, message);
    }
    if (*length > member->size || *length < have) {
        return fail_member(member, MTL_INVALID_DATA, "it ends inside of its .npy header");
    }
    char *text = malloc(*length);
    BASE_TRY_MEMORY(text, member->from->diag);
    memcpy(text, prefix, have);
    mtl_status status = read_bytes(member, text + have, *length - have);
    if (status == MTL_OK) {
        status = tool_npy_parse(text + text_at, *length - text_at, header, message);
        if (status != MTL_OK) {
            fail_member(member, status, message);
        }
    }
    free(text);
    return status;
}

static mtl_status read_data(const npz_member *member, bool fortran_order, tool_array *array)
{
    const npz_reader *from = member->from;
    unsigned char *data = base_arena_alloc(&from->npz->arena, array->bytes < 64 ? 64 : array->bytes);
    BASE_TRY_MEMORY(data, from->diag);
    BASE_TRY(read_bytes(member, data, array->bytes));
    char more;
    zip_int64_t rest = zip_fread(member->file, &more, 1); /* the end is where libzip compares the CRC */
    if (rest != 0) {
        return fail_member(member, MTL_INVALID_DATA,
                           rest < 0 ? zip_error_strerror(zip_file_get_error(member->file))
                                    : "it goes on behind its declared size");
    }
    for (size_t i = 0; array->dtype == MTL_BOOL && i < array->bytes; i++) {
        data[i] = data[i] != 0;
    }
    if (fortran_order && array->rank > 1 && array->bytes > 0) {
        unsigned char *ordered = base_arena_alloc(&from->npz->arena, array->bytes < 64 ? 64 : array->bytes);
        BASE_TRY_MEMORY(ordered, from->diag);
        to_c_order(data, array, ordered);
        data = ordered;
    }
    array->data = data;
    return MTL_OK;
}

static mtl_status read_array(const npz_member *member)
{
    const npz_reader *from = member->from;
    tool_npy_header header;
    size_t length, bytes;
    BASE_TRY(read_header(member, &header, &length));
    if (!tool_npy_bytes(&header, &bytes) || bytes != member->size - length) {
        return fail_file(from, MTL_INVALID_DATA,
                         "'%.200s': it has %" PRIu64 " bytes behind its header, which its shape and dtype (%s) do not "
                         "explain",
                         member->name, member->size - length, mtl_dtype_name(header.dtype));
    }
    size_t name_length = strlen(member->name) - strlen(".npy");
    tool_array array = {.dtype = header.dtype, .rank = header.rank, .bytes = bytes};
    array.name = base_arena_string_n(&from->npz->arena, member->name, name_length);
    BASE_TRY_MEMORY(array.name, from->diag);
    memcpy(array.shape, header.shape, sizeof array.shape);
    if (tool_npz_find(from->npz, array.name) != NULL) {
        return fail_member(member, MTL_INVALID_DATA, "it is there twice");
    }
    BASE_TRY(read_data(member, header.fortran_order, &array));
    from->npz->arrays[from->npz->count++] = array;
    return MTL_OK;
}

/* What the directory of the zip file says is checked before anything is read or allocated. */
static mtl_status check_member(npz_reader *reader, const npz_member *member, const zip_stat_t *info)
{
    const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    if ((info->valid & needed) != needed) {
        return fail_file(reader, MTL_INVALID_DATA, "member %" PRIu64 ": the zip directory does not describe it",
                         (uint64_t)member->index);
    }
    size_t length = strlen(member->name);
    if (length <= strlen(".npy") || strcmp(member->name + length - strlen(".npy"), ".npy") != 0) {
        return fail_member(member, MTL_INVALID_DATA, "not an array (.npy)");
    }
    if ((info->valid & ZIP_STAT_ENCRYPTION_METHOD) != 0 && info->encryption_method != ZIP_EM_NONE) {
        return fail_member(member, MTL_UNSUPPORTED, "it is encrypted");
    }
    if (info->comp_method != ZIP_CM_STORE && info->comp_method != ZIP_CM_DEFLATE) {
        return fail_file(reader, MTL_UNSUPPORTED, "'%.200s': compression method %d (stored and deflated are supported)",
                         member->name, info->comp_method);
    }
    bool deflated = info->comp_method == ZIP_CM_DEFLATE;
    if (deflated ? info->size / LIMIT_RATIO > info->comp_size + LIMIT_SLACK : info->size != info->comp_size) {
        return fail_file(reader, MTL_INVALID_DATA, "'%.200s': %" PRIu64 " bytes cannot come from %" PRIu64,
                         member->name, (uint64_t)info->size, (uint64_t)info->comp_size);
    }
    if (info->size > LIMIT_BYTES - reader->total) {
        return fail_file(reader, MTL_UNSUPPORTED, "'%.200s': the arrays have more than %" PRIu64 " bytes", member->name,
                         LIMIT_BYTES);
    }
    reader->total += info->size;
    return MTL_OK;
}

static mtl_status read_member(npz_reader *reader, zip_uint64_t index)
{
    zip_stat_t info;
    zip_stat_init(&info);
    if (zip_stat_index(reader->archive, index, 0, &info) != 0) {
        return fail_file(reader, MTL_INVALID_DATA, "member %" PRIu64 ": %s", (uint64_t)index,
                         zip_strerror(reader->archive));
    }
    npz_member member = {.from = reader, .name = info.name, .index = index, .size = info.size};
    BASE_TRY(check_member(reader, &member, &info));
    member.file = zip_fopen_index(reader->archive, index, 0);
    if (member.file == NULL) {
        return fail_member(&member, MTL_INVALID_DATA, zip_strerror(reader->archive));
    }
    mtl_status status = read_array(&member);
    zip_fclose(member.file);
    return status;
}

static mtl_status read_all(npz_reader *reader)
{
    zip_int64_t count = zip_get_num_entries(reader->archive, 0);
    if (count < 0 || count > LIMIT_MEMBERS) {
        return fail_file(reader, MTL_INVALID_DATA, "%" PRId64 " members, expected at most %d", (int64_t)count,
                         LIMIT_MEMBERS);
    }
    reader->npz->arrays = BASE_NEW_ARRAY(&reader->npz->arena, tool_array, (size_t)count);
    BASE_TRY_MEMORY(reader->npz->arrays, reader->diag);
    for (zip_int64_t i = 0; i < count; i++) {
        BASE_TRY(read_member(reader, (zip_uint64_t)i));
    }
    return MTL_OK;
}

mtl_status tool_npz_open(const char *path, base_diag *diag, tool_npz **npz)
{
    int code;
    npz_reader reader = {.path = path, .diag = diag};
    *npz = NULL;
    reader.archive = zip_open(path, ZIP_RDONLY, &code);
    if (reader.archive == NULL) {
        zip_error_t error;
        zip_error_init_with_code(&error, code);
        bool system = code == ZIP_ER_OPEN || code == ZIP_ER_NOENT || code == ZIP_ER_READ;
        mtl_status status = fail_file(&reader, system ? MTL_IO : MTL_INVALID_DATA, "%s: %s",
                                      system ? "cannot open" : "not an .npz file", zip_error_strerror(&error));
        zip_error_fini(&error);
        return status;
    }
    reader.npz = calloc(1, sizeof *reader.npz);
    mtl_status status = reader.npz == NULL ? base_fail_memory(diag) : read_all(&reader);
    zip_discard(reader.archive);
    if (status != MTL_OK) {
        tool_npz_close(reader.npz);
        return status;
    }
    *npz = reader.npz;
    return MTL_OK;
}

void tool_npz_close(tool_npz *npz)
{
    if (npz != NULL) {
        base_arena_free(&npz->arena);
        free(npz);
    }
}

size_t tool_npz_count(const tool_npz *npz)
{
    return npz->count;
}

const tool_array *tool_npz_at(const tool_npz *npz, size_t index)
{
    return index < npz->count ? &npz->arrays[index] : NULL;
}

const tool_array *tool_npz_find(const tool_npz *npz, const char *name)
{
    for (size_t i = 0; i < npz->count; i++) {
        if (strcmp(npz->arrays[i].name, name) == 0) {
            return &npz->arrays[i];
        }
    }
    return NULL;
}
