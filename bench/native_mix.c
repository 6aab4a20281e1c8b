/* Speed of the gates with their experts, ns a row on one core: the mix kernel beside the steps that it replaces (softmax
 * of the gates, then one small product a row of shares and experts), and narrow linear layers (towers' heads).
 *
 *     native_mix
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench/kernels.h"
#include "runtime/native/native.h"

static const size_t row_counts[] = {1, 4, 16, 64, 256};
enum { COUNTS = sizeof row_counts / sizeof row_counts[0], MOST = 256 };

typedef struct shape {
    size_t tasks, experts, h;
} shape;

typedef struct subject {
    const native_kernels *kernels;
    shape of;
    float *logits, *shares, *values, *y;
    int64_t *index;
} subject;

static void run_mix(const subject *s, size_t rows)
{
    const shape *o = &s->of;
    const native_mix call = {s->logits, o->tasks * o->experts, s->values, o->experts * o->h, s->index,
                             s->y,      o->tasks * o->h,       rows,      o->tasks,          o->experts,
                             o->h,      PLAN_MIX_softmax,      true};
    s->kernels->mix(&call);
}

static void run_softmax(const subject *s, size_t rows)
{
    s->kernels->softmax(PLAN_SOFTMAX_softmax, s->logits, s->shares, rows * s->of.tasks, s->of.experts, 1);
}

static void run_steps(const subject *s, size_t rows)
{
    const shape *o = &s->of;
    run_softmax(s, rows);
    for (size_t r = 0; r < rows; r++) {
        s->kernels->matmul(s->shares + r * o->tasks * o->experts, o->experts, s->values + r * o->experts * o->h, o->h,
                           s->y + r * o->tasks * o->h, o->h, o->tasks, o->experts, o->h);
    }
}

/* h is K here, experts N; the weights are the values'. */
static void run_linear(const subject *s, size_t rows)
{
    const size_t k = s->of.h, n = s->of.experts;
    const native_linear call = {s->logits, k, s->values, NULL, s->y, n, rows, k, n, PLAN_UNARY_none, 0, 0};
    s->kernels->linear(&call);
}

static void run_grouped(const subject *s, size_t rows)
{
    const size_t k = s->of.h, n = s->of.experts, groups = s->of.tasks;
    const native_linear call = {s->logits, groups * k, s->values,       NULL, s->y, groups * n, rows,
                                k,         n,          PLAN_UNARY_none, 0,    0};
    native_linear_grouped(s->kernels, &call, groups, k, n);
}

static void run_matmul(const subject *s, size_t rows)
{
    const size_t k = s->of.h, n = s->of.experts;
    s->kernels->matmul(s->logits, k, s->values, n, s->y, n, rows, k, n);
}

/* Best of many portions of calls, as the machine has other things to do. */
static void measure(const char *name, void (*run)(const subject *, size_t), const subject *s)
{
    printf("  %-8s %-22s", s->kernels->name, name);
    for (size_t c = 0; c < COUNTS; c++) {
        double best = 1e9;
        const size_t calls = 1 + 1000 / row_counts[c];
        const double until = seconds() + 0.05;
        for (int i = 0; i < 10 || seconds() < until; i++) {
            const double start = seconds();
            for (size_t call = 0; call < calls; call++) {
                run(s, row_counts[c]);
            }
            const double took = (seconds() - start) / (double)(calls * row_counts[c]);
            best = took < best ? took : best;
        }
        printf(" %8.1f", best * 1e9);
        fflush(stdout);
    }
    puts("");
}

static subject new_subject(shape of)
{
    const size_t gates = of.tasks * of.experts, wide = of.tasks * of.h;
    subject s = {.of = of};
    s.logits = new_floats(MOST * (gates > wide ? gates : wide));
    s.shares = new_floats(MOST * gates);
    s.values = new_floats(MOST * of.experts * of.h + native_panels(wide, of.experts));
    s.y = new_floats(MOST * (gates > wide ? gates : wide));
    s.index = allocate(gates * sizeof *s.index);
    for (size_t i = 0; i < gates; i++) {
        s.index[i] = (int64_t)(i % of.experts);
    }
    return s;
}

static void free_subject(subject *s)
{
    free(s->logits);
    free(s->shares);
    free(s->values);
    free(s->y);
    free(s->index);
}

int main(void)
{
    static const shape gates[] = {{3, 8, 128}, {1, 8, 32}, {3, 6, 64}, {2, 4, 128}};
    static const shape heads[] = {{1, 1, 64}, {3, 1, 64}, {3, 1, 256}, {1, 2, 128}, {1, 4, 128}, {1, 24, 512}};
    printf("ns a row at rows %33s", "");
    for (size_t c = 0; c < COUNTS; c++) {
        printf(" %6zu  ", row_counts[c]);
    }
    for (size_t i = 0; i < (sizeof gates + sizeof heads) / sizeof gates[0]; i++) {
        const bool head = i >= sizeof gates / sizeof gates[0];
        const shape of = head ? heads[i - sizeof gates / sizeof gates[0]] : gates[i];
        subject s = new_subject(of);
        printf(head ? "\n%zu heads, N %zu, K %zu\n" : "\n%zu gates, %zu experts of %zu\n", of.tasks, of.experts, of.h);
        for (int isa = MTL_ISA_GENERIC; isa <= MTL_ISA_AVX512; isa++) {
            s.kernels = native_select((mtl_isa)isa);
            if (s.kernels != NULL && !head) {
                measure("mix", run_mix, &s);
                measure("softmax, products", run_steps, &s);
                measure("softmax alone", run_softmax, &s);
            } else if (s.kernels != NULL) {
                measure(of.tasks > 1 ? "grouped linear" : "linear", of.tasks > 1 ? run_grouped : run_linear, &s);
                measure("matmul (one head)", run_matmul, &s);
            }
        }
        free_subject(&s);
    }
    return 0;
}
