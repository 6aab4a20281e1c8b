/* Contexts, and the primitives that steps share. */
#include <stdio.h>
#include <string.h>

#include "runtime/onednn/internal.h"

#ifdef ONEDNN_OPENMP
/* Of the OpenMP API; not every compiler that can link the library has its omp.h. */
int omp_get_max_threads(void);
void omp_set_num_threads(int threads);

int onednn_quiet(void)
{
    if (dnnl_version()->cpu_runtime != DNNL_RUNTIME_OMP) {
        return 0;
    }
    const int threads = omp_get_max_threads();
    if (threads != 1) {
        omp_set_num_threads(1);
    }
    return threads;
}

void onednn_restore(int threads)
{
    if (threads > 1) {
        omp_set_num_threads(threads);
    }
}
#else
int onednn_quiet(void)
{
    return 0;
}

void onednn_restore(int threads)
{
    (void)threads;
}
#endif

void onednn_version(int *major, int *minor, int *patch, const char **threads)
{
    const dnnl_version_t *version = dnnl_version();
    *major = version->major;
    *minor = version->minor;
    *patch = version->patch;
    switch (version->cpu_runtime) {
    case DNNL_RUNTIME_SEQ: *threads = "sequential"; break;
    case DNNL_RUNTIME_OMP: *threads = "omp"; break;
    case DNNL_RUNTIME_TBB: *threads = "tbb"; break;
    case DNNL_RUNTIME_THREADPOOL: *threads = "threadpool"; break;
    default: *threads = "?"; break;
    }
}

mtl_status onednn_check(dnnl_status_t status, const char *what, base_diag *diag)
{
    switch (status) {
    case dnnl_success: return MTL_OK;
    case dnnl_unimplemented: return MTL_UNSUPPORTED;
    case dnnl_out_of_memory: return base_fail_memory(diag);
    default: return base_fail(diag, MTL_INTERNAL, "oneDNN: %s failed with status %d", what, (int)status);
    }
}

mtl_status onednn_context_create(const mtl_allocator *allocator, const native_kernels *kernels, base_diag *diag,
                                 onednn_context **context)
{
    onednn_context *fresh = allocator->allocate(allocator->context, sizeof *fresh, 64);
    BASE_TRY_MEMORY(fresh, diag);
    memset(fresh, 0, sizeof *fresh);
    fresh->allocator = *allocator;
    fresh->kernels = kernels;
    const int threads = onednn_quiet();
    mtl_status status = onednn_check(dnnl_engine_create(&fresh->engine, dnnl_cpu, 0), "creating an engine", diag);
    onednn_restore(threads);
    if (status == MTL_UNSUPPORTED) {
        status = base_fail(diag, MTL_INTERNAL, "oneDNN: this build of it has no CPU engine");
    }
    if (status != MTL_OK) {
        fresh->engine = NULL;
        onednn_context_destroy(fresh);
        return status;
    }
    *context = fresh;
    return MTL_OK;
}

static void drop_spec(onednn_spec *spec)
{
    for (unsigned i = 0; i < spec->count; i++) {
        if (spec->operand[i] != NULL) {
            dnnl_memory_desc_destroy(spec->operand[i]);
        }
    }
}

static void drop_primitive(onednn_context *context, onednn_primitive *primitive)
{
    drop_spec(&primitive->spec);
    if (primitive->primitive != NULL) {
        dnnl_primitive_destroy(primitive->primitive);
    }
    if (primitive->scratch != NULL) {
        dnnl_memory_desc_destroy(primitive->scratch);
    }
    context->allocator.release(context->allocator.context, primitive, sizeof *primitive);
}

void onednn_context_destroy(onednn_context *context)
{
    if (context == NULL) {
        return;
    }
    const mtl_allocator allocator = context->allocator;
    while (context->steps != NULL) {
        onednn_step *step = context->steps;
        context->steps = step->next;
        allocator.release(allocator.context, step, sizeof *step);
    }
    while (context->copies != NULL) {
        onednn_copy *copy = context->copies;
        context->copies = copy->next;
        allocator.release(allocator.context, copy, copy->bytes);
    }
    while (context->primitives != NULL) {
        onednn_primitive *primitive = context->primitives;
        context->primitives = primitive->next;
        drop_primitive(context, primitive);
    }
    if (context->engine != NULL) {
        dnnl_engine_destroy(context->engine);
    }
    allocator.release(allocator.context, context, sizeof *context);
}

static bool same_spec(const onednn_spec *a, const onednn_spec *b)
{
    if (a->kind != b->kind || a->algorithm != b->algorithm || memcmp(&a->alpha, &b->alpha, sizeof a->alpha) != 0 ||
        memcmp(&a->beta, &b->beta, sizeof a->beta) != 0 || a->axis != b->axis || a->flags != b->flags ||
        a->count != b->count) {
        return false;
    }
    for (unsigned i = 0; i < a->count; i++) {
        if (!dnnl_memory_desc_equal(a->operand[i], b->operand[i])) {
            return false;
        }
    }
    return true;
}

/* Mean and variance stay inside; they have the extents of x but the last. Scale and shift are always (n). */
static dnnl_status_t describe_layer_norm(dnnl_engine_t engine, const onednn_spec *s, dnnl_primitive_attr_t attributes,
                                         dnnl_primitive_desc_t *description)
{
    const dnnl_dims_t *dims;
    dnnl_memory_desc_t statistics;
    dnnl_status_t status = dnnl_memory_desc_query(s->operand[0], dnnl_query_dims, (void *)&dims);
    if (status == dnnl_success) {
        status = dnnl_memory_desc_create_with_tag(&statistics, 1, *dims, dnnl_f32, dnnl_a);
    }
    if (status != dnnl_success) {
        return status;
    }
    status = dnnl_layer_normalization_forward_primitive_desc_create(description, engine, dnnl_forward_inference,
                                                                    s->operand[0], s->operand[s->count - 1], statistics,
                                                                    s->alpha, s->flags, attributes);
    dnnl_memory_desc_destroy(statistics);
    return status;
}

static dnnl_status_t describe(dnnl_engine_t engine, const onednn_spec *s, dnnl_primitive_attr_t attributes,
                              dnnl_primitive_desc_t *description)
{
    const dnnl_memory_desc_t *o = s->operand;
    switch (s->kind) {
    case ONEDNN_MATMUL:
        return dnnl_matmul_primitive_desc_create(description, engine, o[0], o[1], NULL, o[2], attributes);
    case ONEDNN_SOFTMAX:
        return dnnl_softmax_forward_primitive_desc_create(description, engine, dnnl_forward_inference, s->algorithm,
                                                          o[0], o[1], s->axis, attributes);
    case ONEDNN_REDUCTION:
        return dnnl_reduction_primitive_desc_create(description, engine, s->algorithm, o[0], o[1], s->alpha, s->beta,
                                                    attributes);
    case ONEDNN_ELTWISE:
        return dnnl_eltwise_forward_primitive_desc_create(description, engine, dnnl_forward_inference, s->algorithm,
                                                          o[0], o[1], s->alpha, s->beta, attributes);
    case ONEDNN_BINARY:
        return dnnl_binary_primitive_desc_create(description, engine, s->algorithm, o[0], o[1], o[2], attributes);
    case ONEDNN_PRELU:
        return dnnl_prelu_forward_primitive_desc_create(description, engine, dnnl_forward_inference, o[0], o[1], o[2],
                                                        attributes);
    case ONEDNN_LAYER_NORM: return describe_layer_norm(engine, s, attributes, description);
    case ONEDNN_CONCAT:
        return dnnl_concat_primitive_desc_create(description, engine, o[s->count - 1], (int)s->count - 1, s->axis,
                                                 (const_dnnl_memory_desc_t const *)o, attributes);
    case ONEDNN_REORDER: return dnnl_reorder_primitive_desc_create(description, o[0], engine, o[1], engine, attributes);
    }
    return dnnl_unimplemented;
}

/* Fills in the rest of `primitive` from its description; reference code is refused. */
static mtl_status realise(onednn_context *context, onednn_primitive *primitive, dnnl_primitive_desc_t description,
                          base_diag *diag)
{
    const char *implementation = NULL;
    BASE_TRY(onednn_check(dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &implementation),
                          "asking for an implementation's name", diag));
    if (strncmp(implementation, "ref", 3) == 0) {
        snprintf(context->refused, sizeof context->refused, "%s", implementation);
        return MTL_UNSUPPORTED;
    }
    const_dnnl_memory_desc_t scratch = dnnl_primitive_desc_query_md(description, dnnl_query_scratchpad_md, 0);
    primitive->scratch_bytes = scratch != NULL ? dnnl_memory_desc_get_size(scratch) : 0;
    if (primitive->scratch_bytes > 0) {
        BASE_TRY(onednn_check(dnnl_memory_desc_clone(&primitive->scratch, scratch), "copying a descriptor", diag));
    }
    BASE_TRY(onednn_check(dnnl_primitive_create(&primitive->primitive, description), "creating a primitive", diag));
    /* The description's text goes with it; the primitive's own copy lives as long as the primitive. */
    const_dnnl_primitive_desc_t own = NULL;
    BASE_TRY(
        onednn_check(dnnl_primitive_get_primitive_desc(primitive->primitive, &own), "asking for a description", diag));
    return onednn_check(dnnl_primitive_desc_query(own, dnnl_query_impl_info_str, 0, &primitive->implementation),
                        "asking for an implementation's name", diag);
}

static mtl_status create(onednn_context *context, onednn_primitive *primitive, base_diag *diag)
{
    dnnl_primitive_attr_t attributes = NULL;
    BASE_TRY(onednn_check(dnnl_primitive_attr_create(&attributes), "creating attributes", diag));
    mtl_status status = onednn_check(dnnl_primitive_attr_set_scratchpad_mode(attributes, dnnl_scratchpad_mode_user),
                                     "setting the scratchpad's mode", diag);
    dnnl_primitive_desc_t description = NULL;
    if (status == MTL_OK) {
        status = onednn_check(describe(context->engine, &primitive->spec, attributes, &description),
                              "describing a primitive", diag);
    }
    if (status == MTL_OK) {
        status = realise(context, primitive, description, diag);
        dnnl_primitive_desc_destroy(description);
    }
    dnnl_primitive_attr_destroy(attributes);
    return status;
}

mtl_status onednn_find(onednn_context *context, onednn_spec *spec, base_diag *diag, const onednn_primitive **found)
{
    for (const onednn_primitive *p = context->primitives; p != NULL; p = p->next) {
        if (same_spec(&p->spec, spec)) {
            drop_spec(spec);
            *found = p;
            return MTL_OK;
        }
    }
    onednn_primitive *fresh = context->allocator.allocate(context->allocator.context, sizeof *fresh, 64);
    if (fresh == NULL) {
        drop_spec(spec);
        return base_fail_memory(diag);
    }
    memset(fresh, 0, sizeof *fresh);
    fresh->spec = *spec;
    const int threads = onednn_quiet();
    const mtl_status status = create(context, fresh, diag);
    onednn_restore(threads);
    if (status != MTL_OK) {
        drop_primitive(context, fresh);
        return status;
    }
    fresh->index = context->primitive_count++;
    fresh->next = context->primitives;
    context->primitives = fresh;
    if (fresh->scratch_bytes > context->scratch_bytes) {
        context->scratch_bytes = fresh->scratch_bytes;
    }
    *found = fresh;
    return MTL_OK;
}

const char *onednn_refused(onednn_context *context, bool forget)
{
    if (forget) {
        context->refused[0] = '\0';
    }
    return context->refused[0] != '\0' ? context->refused : NULL;
}

size_t onednn_scratch_bytes(const onednn_context *context)
{
    return context->scratch_bytes;
}
