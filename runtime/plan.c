/* Opening a plan: the bytes, the allocator, the checks, the signature; then prepare.c. */
#define _GNU_SOURCE /* aligned_alloc beside POSIX */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/internal.h"
#include "runtime/lookups.h"
#include "runtime/native/native.h"
#include "runtime/onednn/onednn.h"

enum { ALIGNMENT = 64 };

static void *default_allocate(void *context, size_t size, size_t alignment)
{
    (void)context;
    if (size > SIZE_MAX - alignment) {
        return NULL;
    }
    size_t rounded = (size + alignment - 1) & ~(alignment - 1);
    return aligned_alloc(alignment, rounded > 0 ? rounded : alignment);
}

static void default_release(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    free(memory);
}

bool runtime_allocator(const mtl_allocator *given, const mtl_allocator *otherwise, mtl_allocator *result)
{
    static const mtl_allocator standard = {NULL, default_allocate, default_release};
    *result = given != NULL ? *given : otherwise != NULL ? *otherwise : standard;
    return result->allocate != NULL && result->release != NULL;
}

const char *mtl_runtime_version(void)
{
    return MTL_VERSION;
}

/* Options of an older or newer caller: what both know, zeros for the rest. */
static mtl_status read_options(const mtl_plan_options *given, base_diag *diag, mtl_plan_options *options)
{
    *options = (mtl_plan_options){.struct_size = sizeof *options};
    if (given == NULL) {
        return MTL_OK;
    }
    if (given->struct_size < sizeof given->struct_size) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "mtl_plan_options.struct_size is %zu, expected %zu",
                         given->struct_size, sizeof *options);
    }
    memcpy(options, given, given->struct_size < sizeof *options ? given->struct_size : sizeof *options);
    if ((unsigned)options->provider > MTL_PROVIDER_ONEDNN) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "mtl_plan_options.provider is %d, expected 0 to 2",
                         (int)options->provider);
    }
    if ((unsigned)options->isa > MTL_ISA_AVX512) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "mtl_plan_options.isa is %d, expected 0 to 3", (int)options->isa);
    }
    return MTL_OK;
}

static mtl_status read_signature(mtl_plan *plan, base_diag *diag)
{
    const plan_view *view = &plan->view;
    plan->signature = RUNTIME_NEW(&plan->memory, mtl_tensor_info, view->signature_count);
    BASE_TRY_MEMORY(plan->signature, diag);
    for (size_t i = 0; i < view->signature_count; i++) {
        const plan_tensor *tensor = &view->tensors[view->signature[i]];
        mtl_tensor_info *info = &plan->signature[i];
        info->name = plan_string(view, tensor->name);
        info->dtype = (mtl_dtype)tensor->dtype;
        info->rank = tensor->rank;
        memcpy(info->shape, plan_dims(view, tensor), tensor->rank * sizeof info->shape[0]);
    }
    return MTL_OK;
}

static mtl_status plan_new(const mtl_plan_options *options, base_diag *diag, mtl_plan **result)
{
    mtl_allocator allocator;
    if (!runtime_allocator(options->allocator, NULL, &allocator)) {
        return base_fail(diag, MTL_INVALID_ARGUMENT, "an allocator needs both allocate and release");
    }
    const native_kernels *native = native_select(options->isa);
    if (native == NULL) {
        static const char *const names[] = {"auto", "generic", "avx2", "avx512"};
        return base_fail(diag, MTL_UNSUPPORTED, "this CPU or this build has no %s kernels", names[options->isa]);
    }
    mtl_plan *plan = allocator.allocate(allocator.context, sizeof *plan, ALIGNMENT);
    BASE_TRY_MEMORY(plan, diag);
    *plan = (mtl_plan){.allocator = allocator, .provider = options->provider, .native = native};
    plan->memory.allocator = allocator;
    *result = plan;
    return MTL_OK;
}

void mtl_plan_close(mtl_plan *plan)
{
    if (plan == NULL) {
        return;
    }
    mtl_allocator allocator = plan->allocator;
    onednn_context_destroy(plan->onednn);
    runtime_free_all(&plan->memory);
    if (plan->copy != NULL) {
        allocator.release(allocator.context, plan->copy, plan->copy_size);
    }
    base_unmap(&plan->map);
    allocator.release(allocator.context, plan, sizeof *plan);
}

static mtl_status take_copy(mtl_plan *plan, const void *data, size_t size, base_diag *diag)
{
    plan->copy_size = size > 0 ? size : 1;
    plan->copy = plan->allocator.allocate(plan->allocator.context, plan->copy_size, ALIGNMENT);
    BASE_TRY_MEMORY(plan->copy, diag);
    if (size > 0) {
        memcpy(plan->copy, data, size);
    }
    return MTL_OK;
}

static mtl_status open_bytes(mtl_plan *plan, const void *data, size_t size, const mtl_plan_options *options,
                             base_diag *diag)
{
    BASE_TRY(plan_check(data, size, options->verify_lazily != 0, diag, &plan->view));
    BASE_TRY(read_signature(plan, diag));
    BASE_TRY(runtime_find_lookups(plan, diag));
    return runtime_prepare_steps(plan, diag);
}

static mtl_status open_path(mtl_plan *plan, const char *path, const mtl_plan_options *options, base_diag *diag)
{
    BASE_TRY(base_map_file(path, diag, &plan->map));
    const void *data = plan->map.data;
    size_t size = plan->map.size;
    if (options->private_copy != 0) {
        BASE_TRY(take_copy(plan, data, size, diag));
        base_unmap(&plan->map);
        data = plan->copy;
    }
    return open_bytes(plan, data, size, options, diag);
}

mtl_status mtl_plan_verify(const mtl_plan *plan, mtl_error *error)
{
    base_diag diag = {.error = error};
    if (plan == NULL) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_plan_verify: plan is NULL");
    }
    return plan_check_consts(&plan->view, &diag);
}

mtl_status mtl_plan_open(const char *path, const mtl_plan_options *given, mtl_plan **result, mtl_error *error)
{
    base_diag diag = {.error = error, .file = path};
    if (result == NULL || path == NULL) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_plan_open: %s is NULL", path == NULL ? "path" : "plan");
    }
    *result = NULL;
    mtl_plan_options options;
    mtl_plan *plan = NULL;
    BASE_TRY(read_options(given, &diag, &options));
    BASE_TRY(plan_new(&options, &diag, &plan));
    mtl_status status = open_path(plan, path, &options, &diag);
    if (status != MTL_OK) {
        mtl_plan_close(plan);
        return status;
    }
    *result = plan;
    return MTL_OK;
}

mtl_status mtl_plan_open_memory(const void *data, size_t size, const mtl_plan_options *given, mtl_plan **result,
                                mtl_error *error)
{
    base_diag diag = {.error = error};
    if (result == NULL || data == NULL) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_plan_open_memory: %s is NULL",
                         data == NULL ? "data" : "plan");
    }
    *result = NULL;
    mtl_plan_options options;
    mtl_plan *plan = NULL;
    BASE_TRY(read_options(given, &diag, &options));
    if (options.private_copy == 0 && (uintptr_t)data % ALIGNMENT != 0) {
        return base_fail(&diag, MTL_INVALID_ARGUMENT,
                         "mtl_plan_open_memory: data is not aligned to 64 bytes (private_copy takes any alignment)");
    }
    BASE_TRY(plan_new(&options, &diag, &plan));
    mtl_status status = MTL_OK;
    if (options.private_copy != 0) {
        status = take_copy(plan, data, size, &diag);
        data = plan->copy;
    }
    if (status == MTL_OK) {
        status = open_bytes(plan, data, size, &options, &diag);
    }
    if (status != MTL_OK) {
        mtl_plan_close(plan);
        return status;
    }
    *result = plan;
    return MTL_OK;
}

size_t mtl_plan_input_count(const mtl_plan *plan)
{
    return plan->view.meta->input_count;
}

size_t mtl_plan_output_count(const mtl_plan *plan)
{
    return plan->view.meta->output_count;
}

const mtl_tensor_info *mtl_plan_input(const mtl_plan *plan, size_t index)
{
    return index < mtl_plan_input_count(plan) ? &plan->signature[index] : NULL;
}

const mtl_tensor_info *mtl_plan_output(const mtl_plan *plan, size_t index)
{
    return index < mtl_plan_output_count(plan) ? &plan->signature[mtl_plan_input_count(plan) + index] : NULL;
}

size_t mtl_plan_columns_count(const mtl_plan *plan)
{
    return plan->view.column_count;
}

int mtl_plan_columns(const mtl_plan *plan, size_t index, mtl_columns_info *columns)
{
    if (index >= plan->view.column_count) {
        return 0;
    }
    const plan_columns *record = &plan->view.columns[index];
    *columns = (mtl_columns_info){.source = plan_string(&plan->view, record->source),
                                  .input = record->input,
                                  .from = record->from,
                                  .count = record->count,
                                  .width = record->width};
    return 1;
}

int64_t mtl_dim_extent(mtl_dim dim, int64_t rows, int64_t users)
{
    return dim.fixed + dim.per_row * rows + dim.per_user * users;
}

const char *runtime_step_kernel(const mtl_plan *plan, size_t number)
{
    return number < plan->view.step_count ? plan->steps[number].kernel : NULL;
}
