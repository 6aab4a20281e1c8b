/* Copies of weights in oneDNN's own layout, where it has a kernel that is made for that: once per plan. */
#include <string.h>

#include "base/checked.h"
#include "runtime/onednn/internal.h"

enum { ALIGNMENT = 64 };

_Static_assert(sizeof(onednn_copy) <= ALIGNMENT, "the weights follow the header");

mtl_status onednn_own_layout(onednn_context *context, const onednn_linear *shape, size_t rows, base_diag *diag,
                             dnnl_memory_desc_t *layout)
{
    const dnnl_dim_t m = (dnnl_dim_t)rows, k = (dnnl_dim_t)shape->k, n = (dnnl_dim_t)shape->n;
    dnnl_memory_desc_t x = NULL, w = NULL, y = NULL;
    dnnl_primitive_desc_t description = NULL;
    dnnl_status_t status = dnnl_memory_desc_create_with_strides(&x, 2, (const dnnl_dims_t){m, k}, dnnl_f32,
                                                                (const dnnl_dims_t){(dnnl_dim_t)shape->x_stride, 1});
    if (status == dnnl_success) {
        status = dnnl_memory_desc_create_with_tag(&w, 2, (const dnnl_dims_t){k, n}, dnnl_f32, dnnl_format_tag_any);
    }
    if (status == dnnl_success) {
        status = dnnl_memory_desc_create_with_strides(&y, 2, (const dnnl_dims_t){m, n}, dnnl_f32,
                                                      (const dnnl_dims_t){(dnnl_dim_t)shape->y_stride, 1});
    }
    if (status == dnnl_success) {
        status = dnnl_matmul_primitive_desc_create(&description, context->engine, x, w, NULL, y, NULL);
    }
    const char *implementation = "";
    if (status == dnnl_success) {
        status = dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &implementation);
    }
    if (status == dnnl_success && strncmp(implementation, "brg", 3) != 0) {
        status = dnnl_unimplemented; /* others were measured slower from their own layout than from our panels */
    }
    if (status == dnnl_success) {
        status = dnnl_memory_desc_clone(layout, dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0));
    }
    dnnl_primitive_desc_destroy(description);
    dnnl_memory_desc_destroy(x);
    dnnl_memory_desc_destroy(w);
    dnnl_memory_desc_destroy(y);
    return onednn_check(status, "asking for a layout of weights", diag);
}

/* Row-major weights (k, n) from panels. */
static void unpack(const onednn_linear *shape, const float *panels, float *dense)
{
    for (size_t j = 0; j < shape->n; j++) {
        const float *column = panels + j / PLAN_PANEL * shape->k * PLAN_PANEL + j % PLAN_PANEL;
        for (size_t i = 0; i < shape->k; i++) {
            dense[i * shape->n + j] = column[i * PLAN_PANEL];
        }
    }
}

static dnnl_status_t reorder(const onednn_context *context, const onednn_linear *shape, const float *dense,
                             const_dnnl_memory_desc_t layout, void *to)
{
    dnnl_memory_desc_t plain = NULL;
    dnnl_memory_t from = NULL, into = NULL;
    dnnl_primitive_desc_t description = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_stream_t stream = NULL;
    dnnl_status_t status = dnnl_memory_desc_create_with_tag(
        &plain, 2, (const dnnl_dims_t){(dnnl_dim_t)shape->k, (dnnl_dim_t)shape->n}, dnnl_f32, dnnl_ab);
    if (status == dnnl_success) {
        status = dnnl_memory_create(&from, plain, context->engine, (void *)(uintptr_t)dense);
    }
    if (status == dnnl_success) {
        status = dnnl_memory_create(&into, layout, context->engine, to);
    }
    if (status == dnnl_success) {
        status =
            dnnl_reorder_primitive_desc_create(&description, plain, context->engine, layout, context->engine, NULL);
    }
    if (status == dnnl_success) {
        status = dnnl_primitive_create(&primitive, description);
    }
    if (status == dnnl_success) {
        status = dnnl_stream_create(&stream, context->engine, dnnl_stream_default_flags);
    }
    if (status == dnnl_success) {
        const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, into}};
        status = dnnl_primitive_execute(primitive, stream, 2, args);
    }
    if (status == dnnl_success) {
        status = dnnl_stream_wait(stream);
    }
    dnnl_stream_destroy(stream);
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(description);
    dnnl_memory_destroy(into);
    dnnl_memory_destroy(from);
    dnnl_memory_desc_destroy(plain);
    return status;
}

static mtl_status fill(onednn_context *context, const onednn_linear *shape, const_dnnl_memory_desc_t layout,
                       size_t group_bytes, unsigned char *data, base_diag *diag)
{
    const mtl_allocator *allocator = &context->allocator;
    const size_t bytes = native_panels(shape->k, shape->n) * sizeof(float); /* as many as the plan holds: no overflow */
    float *dense = allocator->allocate(allocator->context, bytes, ALIGNMENT);
    BASE_TRY_MEMORY(dense, diag);
    dnnl_status_t status = dnnl_success;
    const int threads = onednn_quiet();
    for (size_t g = 0; g < shape->groups && status == dnnl_success; g++) {
        unpack(shape, shape->w + g * native_panels(shape->k, shape->n), dense);
        status = reorder(context, shape, dense, layout, data + g * group_bytes);
    }
    onednn_restore(threads);
    allocator->release(allocator->context, dense, bytes);
    return onednn_check(status, "packing weights", diag);
}

mtl_status onednn_copy_weights(onednn_context *context, const onednn_linear *shape, const_dnnl_memory_desc_t layout,
                               base_diag *diag, const onednn_copy **copy)
{
    size_t group = dnnl_memory_desc_get_size(layout), bytes;
    if (!base_add_size(group, ALIGNMENT - 1, &group)) {
        return base_fail_memory(diag);
    }
    group = group / ALIGNMENT * ALIGNMENT;
    if (!base_mul_size(group, shape->groups, &bytes) || !base_add_size(bytes, ALIGNMENT, &bytes)) {
        return base_fail_memory(diag);
    }
    onednn_copy *fresh = context->allocator.allocate(context->allocator.context, bytes, ALIGNMENT);
    BASE_TRY_MEMORY(fresh, diag);
    unsigned char *data = (unsigned char *)fresh + ALIGNMENT;
    *fresh = (onednn_copy){.next = context->copies, .bytes = bytes, .group = group / sizeof(float)};
    fresh->weights = (const float *)(const void *)data;
    const mtl_status status = fill(context, shape, layout, group, data, diag);
    if (status != MTL_OK) {
        context->allocator.release(context->allocator.context, fresh, bytes);
        return status;
    }
    context->copies = fresh;
    *copy = fresh;
    return MTL_OK;
}

size_t onednn_copied_bytes(const onednn_step *step)
{
    return step->copy != NULL ? step->copy->bytes : 0;
}
