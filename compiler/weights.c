#include "compiler/weights.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "tool/safetensors.h"

enum { MOST_TOLD = 8 };

struct compiler_weights {
    tool_npz *npz; /* one of both */
    tool_safetensors *safetensors;
    const tool_array **arrays; /* by name */
    bool *used;
    size_t count;
};

static int by_name(const void *a, const void *b)
{
    const tool_array *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

void compiler_weights_close(compiler_weights *weights)
{
    if (weights != NULL) {
        tool_npz_close(weights->npz);
        tool_safetensors_close(weights->safetensors);
        free(weights->arrays);
        free(weights->used);
        free(weights);
    }
}

static mtl_status open_file(const char *path, compiler_weights *weights, base_diag *diag)
{
    base_map map = {NULL, 0};
    BASE_TRY(base_map_file(path, diag, &map));
    bool safetensors = tool_is_safetensors(map.data, map.size);
    base_unmap(&map);
    if (safetensors) {
        BASE_TRY(tool_safetensors_open(path, diag, &weights->safetensors));
        weights->count = tool_safetensors_count(weights->safetensors);
    } else {
        BASE_TRY(tool_npz_open(path, diag, &weights->npz));
        weights->count = tool_npz_count(weights->npz);
    }
    weights->arrays = calloc(weights->count + 1, sizeof *weights->arrays);
    weights->used = calloc(weights->count + 1, sizeof *weights->used);
    if (weights->arrays == NULL || weights->used == NULL) {
        return base_fail_memory(diag);
    }
    for (size_t i = 0; i < weights->count; i++) {
        weights->arrays[i] = safetensors ? tool_safetensors_at(weights->safetensors, i) : tool_npz_at(weights->npz, i);
    }
    qsort(weights->arrays, weights->count, sizeof *weights->arrays, by_name);
    return MTL_OK;
}

mtl_status compiler_weights_open(const char *path, base_diag *diag, compiler_weights **result)
{
    *result = NULL;
    compiler_weights *weights = calloc(1, sizeof *weights);
    BASE_TRY_MEMORY(weights, diag);
    mtl_status status = open_file(path, weights, diag);
    if (status != MTL_OK) {
        compiler_weights_close(weights);
        return status;
    }
    *result = weights;
    return MTL_OK;
}

mtl_status compiler_weights_find(void *context, const char *name, mtl_tensor_info *info, const void **data)
{
    compiler_weights *weights = context;
    const tool_array wanted = {.name = name}, *key = &wanted;
    const tool_array **found = bsearch(&key, weights->arrays, weights->count, sizeof *weights->arrays, by_name);
    if (found == NULL) {
        return MTL_INVALID_DATA;
    }
    weights->used[found - weights->arrays] = true;
    info->dtype = (*found)->dtype;
    info->rank = (*found)->rank;
    for (int32_t axis = 0; axis < info->rank; axis++) {
        info->shape[axis] = (mtl_dim){.fixed = (*found)->shape[axis]};
    }
    *data = (*found)->data;
    return MTL_OK;
}

void compiler_weights_tell_unused(const compiler_weights *weights, const char *path, FILE *out)
{
    size_t unused = 0;
    for (size_t i = 0; i < weights->count; i++) {
        unused += !weights->used[i];
    }
    if (unused == 0) {
        return;
    }
    fprintf(out, "mtlc: %s: %zu of %zu tensors are not read: ", path, unused, weights->count);
    size_t told = 0;
    for (size_t i = 0; i < weights->count && told < MOST_TOLD; i++) {
        if (!weights->used[i]) {
            fprintf(out, "%s'%.100s'", told++ > 0 ? ", " : "", weights->arrays[i]->name);
        }
    }
    fputs(unused > MOST_TOLD ? ", ...\n" : "\n", out);
}
