/* Opening a model: map, check the wire format, unpack, import; and closing it. */
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/hash.h"
#include "onnx/files.h"
#include "onnx/internal.h"
#include "onnx/once.h"
#include "onnx/request.h"
#include "onnx/wire.h"

/* What the unpacked form may take: a wire byte becomes at most some 16 bytes in real models (small numbers in typed
 * fields: 8), and small ones have room for their fixed part. */
enum { UNPACK_FACTOR = 16, UNPACK_BASE = 64 << 20 };

/* Counts what protobuf-c holds, so that a small hostile file cannot ask for much. */
typedef struct budget {
    size_t left;
    bool exhausted, out_of_memory;
} budget;

enum { BLOCK_HEADER = 16 }; /* the size of a block, in front of it; keeps malloc's alignment */

static void *budget_alloc(void *context, size_t size)
{
    budget *b = context;
    size_t bytes;
    if (!base_add_size(size, BLOCK_HEADER, &bytes) || bytes > b->left) {
        b->exhausted = true;
        return NULL;
    }
    char *block = malloc(bytes);
    if (block == NULL) {
        b->out_of_memory = true;
        return NULL;
    }
    b->left -= bytes;
    memcpy(block, &bytes, sizeof bytes);
    return block + BLOCK_HEADER;
}

static void budget_free(void *context, void *memory)
{
    budget *b = context;
    if (memory != NULL) {
        char *block = (char *)memory - BLOCK_HEADER;
        size_t bytes;
        memcpy(&bytes, block, sizeof bytes);
        b->left += bytes;
        free(block);
    }
}

/* What onnx_model.maps points to. */
typedef struct holdings {
    onnx_files files;
    budget budget;
    ProtobufCAllocator allocator;
    Onnx__ModelProto *model;
} holdings;

static void close_holdings(holdings *h)
{
    if (h->model != NULL) {
        onnx__model_proto__free_unpacked(h->model, &h->allocator);
        h->model = NULL;
    }
    onnx_files_close(&h->files);
}

void onnx_close(onnx_model *model)
{
    if (model->maps != NULL) {
        close_holdings(model->maps);
    }
    model->maps = NULL;
}

int64_t onnx_opset(Onnx__OperatorSetIdProto *const *opsets, size_t count, const char *domain)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(onnx_domain(opsets[i]->domain), domain) == 0) {
            return opsets[i]->has_version ? opsets[i]->version : 0;
        }
    }
    return 0;
}

mtl_status onnx_check_opset(const onnx_importer *importer, Onnx__OperatorSetIdProto *const *opsets, size_t count,
                            const char *where)
{
    for (size_t i = 0; i < count; i++) {
        int64_t version = opsets[i]->has_version ? opsets[i]->version : 0;
        if (onnx_domain(opsets[i]->domain)[0] != '\0') {
            continue; /* a node of such a domain is an error of its own */
        }
        if (version != onnx_opset(opsets, count, "")) {
            return base_fail(importer->diag, MTL_INVALID_DATA, "%s imports two versions of the default domain", where);
        }
        if (version < ONNX_MIN_OPSET) {
            return base_fail(importer->diag, MTL_UNSUPPORTED, "%s is of opset %lld, supported is %d to %d", where,
                             (long long)version, ONNX_MIN_OPSET, onnx_schema_newest_opset);
        }
        if (version > onnx_schema_newest_opset) {
            return base_fail(importer->diag, MTL_UNSUPPORTED,
                             "%s is of opset %lld, newer than %d, the newest that %s knows", where, (long long)version,
                             onnx_schema_newest_opset, onnx_schema_package);
        }
    }
    return MTL_OK;
}

static mtl_status unpack(holdings *h, const void *data, size_t size, base_diag *diag)
{
    size_t room;
    if (!base_mul_size(size, UNPACK_FACTOR, &room) || !base_add_size(room, UNPACK_BASE, &room)) {
        return base_fail(diag, MTL_INVALID_DATA, "%zu bytes are too large a model", size);
    }
    h->budget = (budget){.left = room};
    h->allocator = (ProtobufCAllocator){budget_alloc, budget_free, &h->budget};
    BASE_TRY(onnx_wire_check(data, size, &onnx__model_proto__descriptor, diag));
    h->model = onnx__model_proto__unpack(&h->allocator, size, data);
    if (h->model == NULL && h->budget.out_of_memory) {
        return base_fail_memory(diag);
    }
    if (h->model == NULL && h->budget.exhausted) {
        return base_fail(diag, MTL_INVALID_DATA, "the model unpacks to more than %zu bytes", room);
    }
    if (h->model == NULL) {
        return base_fail(diag, MTL_INVALID_DATA, "not an ONNX model (protobuf-c does not decode it)");
    }
    if (h->model->graph == NULL) {
        return base_fail(diag, MTL_INVALID_DATA, "not an ONNX model: it has no graph");
    }
    return MTL_OK;
}

static mtl_status import(holdings *h, const void *data, size_t size, const onnx_options *options, base_arena *arena,
                         base_diag *diag, onnx_model *model)
{
    static const onnx_options none;
    onnx_request request;
    base_hash128(data, size, model->hash);
    BASE_TRY(unpack(h, data, size, diag));
    BASE_TRY(onnx_request_read(options != NULL ? options : &none, h->model, arena, diag, &request));
    onnx_importer importer = {.arena = arena,
                              .diag = diag,
                              .options = options != NULL ? options : &none,
                              .request = &request,
                              .model = h->model,
                              .files = &h->files};
    const char *producer = h->model->producer_name != NULL ? h->model->producer_name : "";
    const char *version = h->model->producer_version != NULL ? h->model->producer_version : "";
    model->producer = base_arena_format(arena, "%s%s%s", producer, producer[0] && version[0] ? " " : "", version);
    BASE_TRY_MEMORY(model->producer, diag);
    BASE_TRY(onnx_import_users(&importer));
    model->graph = importer.graph;
    return MTL_OK;
}

static mtl_status open_model(const void *data, size_t size, const char *path, const char *directory,
                             const onnx_options *options, base_arena *arena, base_diag *diag, onnx_model *model)
{
    *model = (onnx_model){0};
    holdings *h = BASE_NEW(arena, holdings);
    BASE_TRY_MEMORY(h, diag);
    mtl_status status = onnx_files_open(&h->files, path, directory, arena, diag);
    if (status == MTL_OK) {
        status = import(h, data, size, options, arena, diag, model);
    }
    if (status != MTL_OK) {
        close_holdings(h);
        *model = (onnx_model){0};
        return status;
    }
    model->maps = h;
    return MTL_OK;
}

mtl_status onnx_import_memory(const void *data, size_t size, const char *directory, const onnx_options *options,
                              base_arena *arena, base_diag *diag, onnx_model *model)
{
    return open_model(data, size, NULL, directory, options, arena, diag, model);
}

mtl_status onnx_import_file(const char *path, const onnx_options *options, base_arena *arena, base_diag *diag,
                            onnx_model *model)
{
    *model = (onnx_model){0};
    base_map map;
    BASE_TRY(base_map_file(path, diag, &map));
    /* Everything is decoded into memory of its own: the map is needed no longer than the unpacking. */
    mtl_status status = open_model(map.data, map.size, path, NULL, options, arena, diag, model);
    base_unmap(&map);
    return status;
}
