#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "base/arena.h"
#include "base/file.h"
#include "tool/npy.h"
#include "tool/npz.h"

/* libzip builds the file in memory, so that writing it beside `path` and renaming is base_output's business. */
struct tool_npz_writer {
    base_arena arena;
    const char *path;
    base_diag *diag;
    zip_t *archive;
    zip_source_t *memory;
};

static mtl_status fail(const tool_npz_writer *writer, const char *reason)
{
    if (writer->diag != NULL && writer->diag->file != NULL && strcmp(writer->diag->file, writer->path) == 0) {
        return base_fail(writer->diag, MTL_IO, "cannot make an .npz file: %s", reason);
    }
    return base_fail(writer->diag, MTL_IO, "%s: cannot make an .npz file: %s", writer->path, reason);
}

static mtl_status open_archive(tool_npz_writer *writer)
{
    zip_error_t error;
    zip_error_init(&error);
    mtl_status status = MTL_OK;
    writer->memory = zip_source_buffer_create(NULL, 0, 0, &error);
    if (writer->memory != NULL) {
        zip_source_keep(writer->memory); /* the archive takes one reference, reading the result needs another */
        writer->archive = zip_open_from_source(writer->memory, ZIP_CREATE | ZIP_TRUNCATE, &error);
        if (writer->archive == NULL) {
            zip_source_free(writer->memory);
        }
    }
    if (writer->archive == NULL) {
        status = fail(writer, zip_error_strerror(&error));
    }
    zip_error_fini(&error);
    return status;
}

mtl_status tool_npz_writer_new(const char *path, base_diag *diag, tool_npz_writer **writer)
{
    *writer = NULL;
    tool_npz_writer *made = calloc(1, sizeof *made);
    BASE_TRY_MEMORY(made, diag);
    made->diag = diag;
    made->path = base_arena_string(&made->arena, path);
    mtl_status status = made->path == NULL ? base_fail_memory(diag) : open_archive(made);
    if (status != MTL_OK) {
        tool_npz_writer_discard(made);
        return status;
    }
    *writer = made;
    return MTL_OK;
}

mtl_status tool_npz_writer_add(tool_npz_writer *writer, const tool_array *array)
{
    tool_npy_header header = {.dtype = array->dtype, .rank = array->rank};
    size_t bytes = 0;
    if (array->rank < 0 || array->rank > MTL_MAX_RANK || mtl_dtype_size(array->dtype) == 0) {
        return base_fail(writer->diag, MTL_INVALID_ARGUMENT, "'%s' has rank %d and dtype %d", array->name,
                         (int)array->rank, (int)array->dtype);
    }
    memcpy(header.shape, array->shape, (size_t)array->rank * sizeof header.shape[0]);
    if (!tool_npy_bytes(&header, &bytes) || bytes != array->bytes) {
        return base_fail(writer->diag, MTL_INVALID_ARGUMENT, "'%s' has %zu bytes, its shape says %zu", array->name,
                         array->bytes, bytes);
    }
    unsigned char *head = base_arena_alloc(&writer->arena, TOOL_NPY_WRITTEN);
    char *name = base_arena_format(&writer->arena, "%s.npy", array->name);
    BASE_TRY_MEMORY(head, writer->diag);
    BASE_TRY_MEMORY(name, writer->diag);
    zip_buffer_fragment_t *parts = BASE_NEW_ARRAY(&writer->arena, zip_buffer_fragment_t, 2);
    BASE_TRY_MEMORY(parts, writer->diag);
    parts[0] = (zip_buffer_fragment_t){.data = head, .length = tool_npy_write(&header, head)};
    /* libzip only reads it; its type has no const. */
    parts[1] = (zip_buffer_fragment_t){.data = (zip_uint8_t *)(uintptr_t)array->data, .length = bytes};
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_buffer_fragment_create(parts, bytes > 0 ? 2 : 1, 0, &error);
    zip_error_fini(&error);
    BASE_TRY_MEMORY(source, writer->diag);
    zip_int64_t index = zip_file_add(writer->archive, name, source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
        zip_source_free(source);
        return fail(writer, zip_strerror(writer->archive));
    }
    /* 1980-01-01 00:00, so that equal arrays give equal files. */
    if (zip_set_file_compression(writer->archive, (zip_uint64_t)index, ZIP_CM_STORE, 0) != 0 ||
        zip_file_set_dostime(writer->archive, (zip_uint64_t)index, 0, 0x21, 0) != 0) {
        return fail(writer, zip_strerror(writer->archive));
    }
    return MTL_OK;
}

static mtl_status copy_out(const tool_npz_writer *writer, base_output *output)
{
    unsigned char *piece = malloc(1 << 20);
    BASE_TRY_MEMORY(piece, writer->diag);
    mtl_status status = MTL_OK;
    zip_int64_t got;
    do {
        got = zip_source_read(writer->memory, piece, 1 << 20);
        if (got < 0) {
            status = fail(writer, zip_error_strerror(zip_source_error(writer->memory)));
        } else if (got > 0) {
            status = base_output_write(output, piece, (size_t)got);
        }
    } while (status == MTL_OK && got > 0);
    free(piece);
    return status;
}

static mtl_status write_file(tool_npz_writer *writer)
{
    base_output *output;
    if (zip_source_open(writer->memory) != 0) {
        return fail(writer, zip_error_strerror(zip_source_error(writer->memory)));
    }
    mtl_status status = base_output_open(writer->path, writer->diag, &output);
    if (status == MTL_OK) {
        status = copy_out(writer, output);
        if (status == MTL_OK) {
            status = base_output_commit(output);
        } else {
            base_output_discard(output);
        }
    }
    zip_source_close(writer->memory);
    return status;
}

mtl_status tool_npz_writer_commit(tool_npz_writer *writer)
{
    if (zip_close(writer->archive) != 0) {
        mtl_status status = fail(writer, zip_strerror(writer->archive));
        tool_npz_writer_discard(writer);
        return status;
    }
    writer->archive = NULL;
    mtl_status status = write_file(writer);
    tool_npz_writer_discard(writer);
    return status;
}

void tool_npz_writer_discard(tool_npz_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    if (writer->archive != NULL) {
        zip_discard(writer->archive);
    }
    zip_source_free(writer->memory);
    base_arena_free(&writer->arena);
    free(writer);
}
