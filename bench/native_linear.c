/* Speed of the packed linear layer, GFLOP/s on one core: our kernels of each ISA, the oneDNN provider (which reads our
 * panels in place), and oneDNN's own matmul with plain and with its own packed weights.
 *
 *     native_linear [K N]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oneapi/dnnl/dnnl.h"

#include "bench/kernels.h"
#include "runtime/onednn/onednn.h"

static const size_t row_counts[] = {1, 2, 4, 8, 16, 64, 256, 1024};
enum { COUNTS = sizeof row_counts / sizeof row_counts[0], MOST = 1024 };

static size_t k = 512, n = 2048;
static float *x, *w, *y;

static void *give(void *context, size_t size, size_t alignment)
{
    (void)context;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void release(void *context, void *memory, size_t size)
{
    (void)context, (void)size;
    free(memory);
}

/* Best of many calls, as the machine has other things to do. */
static void measure(const char *name, void (*run)(void *, size_t), void *what)
{
    printf("%-34s", name);
    for (size_t c = 0; c < COUNTS; c++) {
        double best = 1e9;
        const double until = seconds() + 0.3;
        for (int i = 0; i < 10 || seconds() < until; i++) {
            const double start = seconds();
            run(what, row_counts[c]);
            const double took = seconds() - start;
            best = took < best ? took : best;
        }
        printf(" %6.1f", 2.0 * (double)(row_counts[c] * k * n) / best * 1e-9);
        fflush(stdout);
    }
    puts("");
}

static native_linear call_of(size_t rows)
{
    return (native_linear){x, k, w, NULL, y, n, rows, k, n, PLAN_UNARY_none, 0, 0};
}

static void run_native(void *kernels, size_t rows)
{
    const native_linear call = call_of(rows);
    ((const native_kernels *)kernels)->linear(&call);
}

typedef struct provider {
    onednn_session *session;
    const onednn_step *step;
} provider;

static void run_provider(void *what, size_t rows)
{
    const provider *p = what;
    const native_linear call = call_of(rows);
    onednn_run_linear(p->session, p->step, &call, NULL);
}

static void measure_provider(bool copied)
{
    const mtl_allocator allocator = {NULL, give, release};
    onednn_context *context;
    provider p;
    const onednn_linear shape = {k, n, 1, k, 0, n, 0, copied ? w : NULL};
    if (onednn_context_create(&allocator, native_select(MTL_ISA_AUTO), NULL, &context) != MTL_OK) {
        return;
    }
    if (onednn_add_linear(context, &shape, MOST, NULL, &p.step) == MTL_OK) {
        void *scratch = new_floats(onednn_scratch_bytes(context) / sizeof(float) + 16);
        if (onednn_session_create(context, NULL, scratch, NULL, &p.session) == MTL_OK) {
            char name[64];
            snprintf(name, sizeof name, "onednn provider%s, %s", onednn_copied_bytes(p.step) > 0 ? ", copied" : "",
                     onednn_step_implementation(p.step));
            measure(name, run_provider, &p);
            onednn_session_destroy(p.session);
        }
        free(scratch);
    }
    onednn_context_destroy(context);
}

/* oneDNN's matmul (rows, k) x (k, n), one primitive a row count. */
typedef struct matmuls {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive[COUNTS];
    dnnl_exec_arg_t args[COUNTS][3];
    const char *name;
} matmuls;

static void run_matmul(void *what, size_t rows)
{
    matmuls *m = what;
    size_t c = 0;
    while (row_counts[c] != rows) {
        c++;
    }
    dnnl_primitive_execute(m->primitive[c], m->stream, 3, m->args[c]);
}

static bool create_matmul(matmuls *m, size_t c, bool packed)
{
    const dnnl_dim_t rows = (dnnl_dim_t)row_counts[c], kd = (dnnl_dim_t)k, nd = (dnnl_dim_t)n;
    dnnl_memory_desc_t source, weights, result;
    dnnl_memory_desc_create_with_tag(&source, 2, (const dnnl_dims_t){rows, kd}, dnnl_f32, dnnl_ab);
    dnnl_memory_desc_create_with_tag(&weights, 2, (const dnnl_dims_t){kd, nd}, dnnl_f32,
                                     packed ? dnnl_format_tag_any : dnnl_ab);
    dnnl_memory_desc_create_with_tag(&result, 2, (const dnnl_dims_t){rows, nd}, dnnl_f32, dnnl_ab);
    dnnl_primitive_desc_t description;
    if (dnnl_matmul_primitive_desc_create(&description, m->engine, source, weights, NULL, result, NULL) !=
        dnnl_success) {
        return false;
    }
    dnnl_primitive_create(&m->primitive[c], description);
    dnnl_primitive_desc_query(description, dnnl_query_impl_info_str, 0, &m->name);
    const_dnnl_memory_desc_t chosen = dnnl_primitive_desc_query_md(description, dnnl_query_weights_md, 0);
    void *storage = new_floats(dnnl_memory_desc_get_size(chosen) / sizeof(float) + 16);
    dnnl_exec_arg_t *args = m->args[c];
    args[0].arg = DNNL_ARG_SRC;
    args[1].arg = DNNL_ARG_WEIGHTS;
    args[2].arg = DNNL_ARG_DST;
    return dnnl_memory_create(&args[0].memory, source, m->engine, x) == dnnl_success &&
           dnnl_memory_create(&args[1].memory, chosen, m->engine, storage) == dnnl_success &&
           dnnl_memory_create(&args[2].memory, result, m->engine, y) == dnnl_success;
}

static void measure_matmul(bool packed)
{
    matmuls m;
    dnnl_engine_create(&m.engine, dnnl_cpu, 0);
    dnnl_stream_create(&m.stream, m.engine, dnnl_stream_default_flags);
    for (size_t c = 0; c < COUNTS; c++) {
        if (!create_matmul(&m, c, packed)) {
            puts("oneDNN matmul: not there");
            return;
        }
    }
    char name[64];
    snprintf(name, sizeof name, "oneDNN matmul %s, %s", packed ? "packed" : "plain", m.name);
    measure(name, run_matmul, &m);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        k = strtoull(argv[1], NULL, 10);
        n = strtoull(argv[2], NULL, 10);
    }
    if ((argc != 1 && argc != 3) || k == 0 || n == 0 || k > 1 << 16 || n > 1 << 16) {
        fputs("usage: OMP_NUM_THREADS=1 native_linear [K N]\n", stderr);
        return 1;
    }
    x = new_floats(MOST * k);
    w = new_floats(native_panels(k, n));
    y = new_floats(MOST * n);
    printf("K %zu, N %zu, GFLOP/s at rows:       ", k, n);
    for (size_t c = 0; c < COUNTS; c++) {
        printf(" %6zu", row_counts[c]);
    }
    puts("");
    for (int isa = MTL_ISA_GENERIC; isa <= MTL_ISA_AVX512; isa++) {
        const native_kernels *kernels = native_select((mtl_isa)isa);
        if (kernels != NULL) {
            char name[64];
            native_kernels copy = *kernels;
            snprintf(name, sizeof name, "native %s", kernels->name);
            measure(name, run_native, &copy);
        }
    }
    measure_provider(false);
    measure_provider(true);
    measure_matmul(false);
    measure_matmul(true);
    free(x);
    free(w);
    free(y);
    return 0;
}
