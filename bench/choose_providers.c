/* Makes runtime/providers.def, the table of who computes a step by default: measures both providers over operations,
 * K, N, row counts and ISAs, each ISA in a process of its own, as oneDNN's can be limited only once.
 *
 *     OMP_NUM_THREADS=1 choose_providers YYYY-MM-DD >runtime/providers.def
 *
 * A cell goes to oneDNN only where that is faster (geometric mean over the row counts), gives a row the same bits at
 * every row count, and allocates nothing at run: the default configuration promises the last two.
 */
#define _GNU_SOURCE /* fork */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oneapi/dnnl/dnnl.h"

#include "bench/kernels.h"
#include "runtime/onednn/onednn.h"

static const size_t row_counts[] = {1, 4, 16, 64, 256, 1024};
enum { COUNTS = sizeof row_counts / sizeof row_counts[0], MOST = 1024, MOST_WIDTH = 1024, PRIMITIVE_ROWS = 256 };

#define FASTER 1.05 /* less is noise */

/* --- how often oneDNN allocates --- */

static long allocations;

#if defined(__GLIBC__)
void *__libc_malloc(size_t size);
void *__libc_memalign(size_t alignment, size_t size);
#pragma GCC visibility push(default)
void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    allocations++;
    *memory = __libc_memalign(alignment, size);
    return *memory != NULL ? 0 : ENOMEM;
}
#pragma GCC visibility pop
#endif

/* --- what is measured --- */

/* The extents of an operation; the first of each is printed as 0, so that every shape has a cell. */
typedef struct family {
    plan_op op;
    const char *name, *of; /* of: the function that is measured */
    size_t k[4], n[4];     /* ascending, ended by 0; k is 0 where there is none */
} family;

static const family families[] = {
    {PLAN_OP_linear, "linear", "no activation", {64, 256, 1024}, {16, 128, 512, 0}},
    {PLAN_OP_matmul, "matmul", "1 x K times K x N a row", {4, 16}, {32, 128}},
    {PLAN_OP_softmax, "softmax", "softmax", {0}, {4, 16, 64}},
    {PLAN_OP_reduce, "reduce", "sum", {0}, {4, 64}},
    {PLAN_OP_layer_norm, "layer_norm", "scale and bias", {0}, {64, 512}},
    {PLAN_OP_unary, "unary", "sigmoid", {0}, {16, 256}},
    {PLAN_OP_binary, "binary", "add", {0}, {16, 256}},
};

typedef struct cell {
    const native_kernels *native;
    const family *family;
    size_t k, n;
    onednn_context *context;
    onednn_session *session;
    const onednn_step *step;
    void *scratch;
} cell;

static float *a, *b, *c, *y; /* a, b, y: MOST rows; c: weights, or what goes with every row */

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

static native_linear linear_call(const cell *s, const float *x, float *out, size_t rows)
{
    return (native_linear){x, s->k, c, NULL, out, s->n, rows, s->k, s->n, PLAN_UNARY_none, 0, 0};
}

static void run_native(const cell *s, size_t rows)
{
    const native_kernels *kernels = s->native;
    const size_t k = s->k, n = s->n;
    switch (s->family->op) {
    case PLAN_OP_linear: {
        const native_linear call = linear_call(s, a, y, rows);
        kernels->linear(&call);
        break;
    }
    case PLAN_OP_matmul:
        for (size_t r = 0; r < rows; r++) {
            kernels->matmul(a + r * k, k, b + r * k * n, n, y + r * n, n, 1, k, n);
        }
        break;
    case PLAN_OP_softmax: kernels->softmax(PLAN_SOFTMAX_softmax, a, y, rows, n, 1); break;
    case PLAN_OP_reduce: kernels->reduce(PLAN_REDUCE_sum, a, y, rows, n, 1); break;
    case PLAN_OP_layer_norm: kernels->layer_norm(a, c, c + n, 1e-5f, y, rows, n); break;
    case PLAN_OP_unary: kernels->unary(PLAN_UNARY_sigmoid, 0, 0, a, y, rows * n); break;
    default: kernels->binary(PLAN_BINARY_add, a, 1, b, 1, y, rows * n); break;
    }
}

/* Floats of a row of a, b and y. */
static void row_widths(const cell *s, size_t *widths)
{
    const plan_op op = s->family->op;
    widths[0] = op == PLAN_OP_linear || op == PLAN_OP_matmul ? s->k : s->n;
    widths[1] = op == PLAN_OP_matmul ? s->k * s->n : op == PLAN_OP_binary ? s->n : 0;
    widths[2] = op == PLAN_OP_reduce ? 1 : s->n;
}

/* Rows from `first` on. */
static void run_onednn(const cell *s, size_t first, size_t rows)
{
    size_t widths[3];
    row_widths(s, widths);
    const float *x = a + first * widths[0];
    float *out = y + first * widths[2];
    mtl_status status;
    if (s->family->op == PLAN_OP_linear) {
        const native_linear call = linear_call(s, x, out, rows);
        status = onednn_run_linear(s->session, s->step, &call, NULL);
    } else {
        const bool norm = s->family->op == PLAN_OP_layer_norm;
        const float *const inputs[] = {x, norm ? c : b + first * widths[1], c + s->n};
        status = onednn_run(s->session, s->step, inputs, out, rows, NULL);
    }
    if (status != MTL_OK) {
        fputs("oneDNN failed\n", stderr);
        exit(1);
    }
}

static mtl_status add_step(cell *s)
{
    const size_t k = s->k, n = s->n;
    const onednn_linear linear = {k, n, 1, k, 0, n, 0, c};
    const onednn_matmul matmul = {1, k, n, true, true};
    const onednn_binary binary = {1, n, {true, true, true}, {true, true, true}};
    switch (s->family->op) {
    case PLAN_OP_linear: return onednn_add_linear(s->context, &linear, PRIMITIVE_ROWS, NULL, &s->step);
    case PLAN_OP_matmul: return onednn_add_matmul(s->context, &matmul, PRIMITIVE_ROWS, NULL, &s->step);
    case PLAN_OP_softmax:
        return onednn_add_softmax(s->context, PLAN_SOFTMAX_softmax, n, 1, PRIMITIVE_ROWS, NULL, &s->step);
    case PLAN_OP_reduce: return onednn_add_reduce(s->context, PLAN_REDUCE_sum, n, 1, PRIMITIVE_ROWS, NULL, &s->step);
    case PLAN_OP_layer_norm:
        return onednn_add_layer_norm(s->context, n, true, true, 1e-5f, PRIMITIVE_ROWS, NULL, &s->step);
    case PLAN_OP_unary:
        return onednn_add_unary(s->context, PLAN_UNARY_sigmoid, 0, 0, n, PRIMITIVE_ROWS, NULL, &s->step);
    default: return onednn_add_binary(s->context, PLAN_BINARY_add, &binary, PRIMITIVE_ROWS, NULL, &s->step);
    }
}

static bool cell_new(cell *s)
{
    const mtl_allocator allocator = {NULL, give, release};
    if (onednn_context_create(&allocator, s->native, NULL, &s->context) != MTL_OK) {
        return false;
    }
    if (add_step(s) != MTL_OK) {
        return false;
    }
    s->scratch = allocate(onednn_scratch_bytes(s->context) + 64);
    return s->scratch != NULL && onednn_session_create(s->context, NULL, s->scratch, NULL, &s->session) == MTL_OK;
}

static void cell_free(cell *s)
{
    onednn_session_destroy(s->session);
    onednn_context_destroy(s->context);
    free(s->scratch);
}

/* --- the measurements --- */

/* Seconds of a call of both: the best of many samples taken in turn, as the machine has other things to do. */
static void measure(const cell *s, size_t rows, double best[2])
{
    enum { WARM_UP = 3 };
    size_t repeat = 1;
    const double until = seconds() + 0.2;
    for (int i = 0; i < 40 || seconds() < until; i++) {
        if (i <= WARM_UP) {
            best[0] = best[1] = 1e9;
        }
        for (int which = 0; which < 2; which++) {
            const double start = seconds();
            for (size_t j = 0; j < repeat; j++) {
                if (which == 0) {
                    run_native(s, rows);
                } else {
                    run_onednn(s, 0, rows);
                }
            }
            const double took = (seconds() - start) / (double)repeat;
            best[which] = took < best[which] ? took : best[which];
        }
        if (i == WARM_UP - 1) { /* samples of some 20 us, for the clock's sake */
            const double least = best[0] > 20e-9 ? best[0] : 20e-9;
            repeat = least < 20e-6 ? (size_t)(20e-6 / least) + 1 : 1;
        }
    }
}

/* Whether a row has the same bits in a call of one row, of few, and of all. */
static bool equal_bits(const cell *s)
{
    static const size_t splits[] = {1, 2, 3, 5, 16, 63, 256};
    size_t widths[3];
    row_widths(s, widths);
    const size_t rows = 300, count = rows * widths[2];
    float *whole = new_floats(count);
    run_onednn(s, 0, rows);
    memcpy(whole, y, count * sizeof(float));
    bool equal = true;
    for (size_t i = 0; i < sizeof splits / sizeof splits[0] && equal; i++) {
        for (size_t first = 0; first < rows; first += splits[i]) {
            run_onednn(s, first, rows - first < splits[i] ? rows - first : splits[i]);
        }
        equal = memcmp(whole, y, count * sizeof(float)) == 0;
    }
    free(whole);
    return equal;
}

static long allocations_of_call(const cell *s)
{
    run_onednn(s, 0, 1);
    const long before = allocations;
    run_onednn(s, 0, 1);
    return allocations - before;
}

static void print_cell(cell *s, const char *isa, size_t least_k, size_t least_n)
{
    printf("PROVIDER(%s, %s, %zu, %zu, ", s->family->name, isa, least_k, least_n);
    if (!cell_new(s)) {
        puts("NATIVE) /* oneDNN has only reference code */");
        cell_free(s);
        return;
    }
    const long each = allocations_of_call(s);
    const bool equal = equal_bits(s);
    double ratio[COUNTS], product = 1;
    for (size_t i = 0; i < COUNTS; i++) {
        double best[2];
        measure(s, row_counts[i], best);
        ratio[i] = best[0] / best[1];
        product *= ratio[i];
    }
    const double mean = pow(product, 1.0 / COUNTS);
    printf("%s) /* %.2f:", mean >= FASTER && equal && each == 0 ? "ONEDNN" : "NATIVE", mean);
    for (size_t i = 0; i < COUNTS; i++) {
        printf(" %.2f", ratio[i]);
    }
    printf("; %s; %ld; %s */\n", equal ? "equal" : "others", each, onednn_step_implementation(s->step));
    fflush(stdout);
    cell_free(s);
}

static void measure_isa(mtl_isa isa, const char *name, dnnl_cpu_isa_t limit)
{
    const native_kernels *native = native_select(isa);
    if (native == NULL || dnnl_set_max_cpu_isa(limit) != dnnl_success) {
        printf("/* %s: not on this machine */\n", name);
        return;
    }
    a = new_floats((size_t)MOST * MOST_WIDTH);
    b = new_floats((size_t)MOST * 16 * 128);
    c = new_floats((size_t)MOST_WIDTH * MOST_WIDTH);
    y = new_floats((size_t)MOST * MOST_WIDTH);
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        const family *fam = &families[f];
        size_t k_count = 0, n_count = 0;
        while (k_count < 4 && fam->k[k_count] > 0) {
            k_count++;
        }
        while (n_count < 4 && fam->n[n_count] > 0) {
            n_count++;
        }
        /* The first row that fits decides: the largest extents first. */
        for (size_t i = k_count > 0 ? k_count : 1; i-- > 0;) {
            for (size_t j = n_count; j-- > 0;) {
                cell s = {.native = native, .family = fam, .k = fam->k[i], .n = fam->n[j]};
                print_cell(&s, name, i > 0 ? fam->k[i] : 0, j > 0 ? fam->n[j] : 0);
            }
        }
    }
}

static void print_head(const char *date)
{
    char line[256], model[200] = "unknown";
    FILE *info = fopen("/proc/cpuinfo", "r");
    while (info != NULL && fgets(line, sizeof line, info) != NULL) {
        if (sscanf(line, "model name : %199[^\n]", model) == 1) {
            break;
        }
    }
    if (info != NULL) {
        fclose(info);
    }
    int major, minor, patch;
    const char *threads;
    onednn_version(&major, &minor, &patch, &threads);
    printf("/* Who computes a step by default: the first row that fits its operation, ISA, K and N, never its rows; "
           "where\n"
           " * none fits, native. Made by bench/choose_providers.c, not by hand, on %s:\n"
           " * one thread of %s, oneDNN %d.%d.%d (%s).\n"
           " *\n"
           " *     PROVIDER(OP, ISA of the native kernels, LEAST_K, LEAST_N, NATIVE or ONEDNN)\n"
           " *\n"
           " * Behind each: how many times as fast as ours oneDNN is, as a mean and at",
           date, model, major, minor, patch, threads);
    for (size_t i = 0; i < COUNTS; i++) {
        printf("%s %zu", i > 0 ? "," : "", row_counts[i]);
    }
    puts(" rows; whether a row\n"
         " * has equal or other bits in calls of other row counts; allocations of a call; oneDNN's implementation. "
         "Only what\n"
         " * is faster, has equal bits and allocates nothing goes to oneDNN. Measured as:");
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        printf(" * %s: %s%s\n", families[f].name, families[f].of,
               f + 1 < sizeof families / sizeof families[0] ? ";" : ".");
    }
    puts(" */");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct {
        mtl_isa isa;
        const char *name;
        dnnl_cpu_isa_t limit;
    } isas[] = {
        {MTL_ISA_AVX512, "AVX512", dnnl_cpu_isa_default},
        {MTL_ISA_AVX2, "AVX2", dnnl_cpu_isa_avx2},
        {MTL_ISA_GENERIC, "GENERIC", dnnl_cpu_isa_sse41},
    };
    if (argc != 2 || strlen(argv[1]) != 10) {
        fputs("usage: OMP_NUM_THREADS=1 choose_providers YYYY-MM-DD >runtime/providers.def\n", stderr);
        return 1;
    }
    print_head(argv[1]);
    for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++) {
        const pid_t child = fork();
        if (child == 0) {
            measure_isa(isas[i].isa, isas[i].name, isas[i].limit);
            fflush(stdout);
            _exit(0);
        }
        int status = 1;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            fprintf(stderr, "measuring %s failed\n", isas[i].name);
            return 1;
        }
    }
    return 0;
}
