/* mtlrun bench --profile: the time of each step beside what the machine could do, and a trace. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cmd.h"
#include "runtime/cmd_bench.h"
#include "runtime/machine.h"
#include "runtime/profile.h"
#include "runtime/wanted.h"

enum {
    WARM_UP_CALLS = 5,
    LEAST_CALLS = 3,
    MOST_CALLS = 10000,
    MOST_SAMPLES = 1 << 22, /* of all steps */
    TRACE_CALLS = 3,        /* of each row count */
    MOST_EVENTS = 1 << 18,  /* of each call: a trace of more opens in no viewer */
};

/* What is at work for one row count. */
typedef struct profile_work {
    mtl_plan *plan;
    const runtime_bench_profile_options *options;
    const tool_machine *machine;
    int64_t rows;
    mtl_session *session;
    runtime_bench_inputs inputs;
    void **outputs;
    runtime_profile profile;
    float *samples; /* [call * steps + step], nanoseconds */
    float *plain;   /* [call], nanoseconds of a call without timestamps */
    float *scratch; /* [call] */
    size_t calls, most_calls;
    FILE *trace; /* or NULL */
    uint64_t *zero;
    mtl_error error;
} profile_work;

static int by_value(const void *a, const void *b)
{
    float left = *(const float *)a, right = *(const float *)b;
    return (left > right) - (left < right);
}

/* The mean of the middle half of `count` numbers that are `stride` apart: as robust as a median, and finer than the
 * clock's own steps. */
static double middle(profile_work *w, const float *numbers, size_t count, size_t stride)
{
    double sum = 0;
    size_t from = count / 4, to = count - count / 4;
    for (size_t i = 0; i < count; i++) {
        w->scratch[i] = numbers[i * stride];
    }
    qsort(w->scratch, count, sizeof *w->scratch, by_value);
    for (size_t i = from; i < to; i++) {
        sum += (double)w->scratch[i];
    }
    return sum / (double)(to - from);
}

static const void *const *turn(const profile_work *w, size_t call)
{
    return (const void *const *)(w->inputs.data + call % w->inputs.batches * w->inputs.count);
}

static void work_free(profile_work *w)
{
    for (size_t i = 0; w->outputs != NULL && i < mtl_plan_output_count(w->plan); i++) {
        free(w->outputs[i]);
    }
    free(w->outputs);
    free(w->samples);
    free(w->plain);
    free(w->scratch);
    free(w->profile.step_ns);
    free(w->profile.events);
    runtime_bench_inputs_free(&w->inputs);
    mtl_session_destroy(w->session);
}

/* Everything for `w->rows`; on failure what was made is still to be freed. */
static mtl_status work_new(profile_work *w)
{
    size_t steps = w->plan->view.step_count, count = mtl_plan_output_count(w->plan);
    mtl_session_options options = w->options->session;
    base_diag diag = {.error = &w->error};
    options.max_rows = (size_t)w->rows;
    BASE_TRY(mtl_session_create(w->plan, &options, &w->session, &w->error));
    BASE_TRY(runtime_cmd_set_params(w->plan, w->session, w->options->params, &w->error));
    unsigned char *wanted = calloc(count, 1);
    BASE_TRY_MEMORY(wanted, &diag);
    mtl_status chosen = runtime_cmd_want(w->plan, w->session, w->options->only, wanted, &w->error);
    free(wanted);
    BASE_TRY(chosen);
    w->most_calls = steps > 0 ? MOST_SAMPLES / steps : MOST_CALLS;
    w->most_calls = w->most_calls < LEAST_CALLS ? LEAST_CALLS : w->most_calls;
    w->most_calls = w->most_calls > MOST_CALLS ? MOST_CALLS : w->most_calls;
    w->samples = malloc((w->most_calls * steps + 1) * sizeof *w->samples);
    w->plain = malloc(w->most_calls * sizeof *w->plain);
    w->scratch = malloc(w->most_calls * sizeof *w->scratch);
    w->profile.step_ns = calloc(steps + 1, sizeof *w->profile.step_ns);
    w->outputs = calloc(count + 1, sizeof *w->outputs);
    bool made = w->samples != NULL && w->plain != NULL && w->scratch != NULL && w->profile.step_ns != NULL &&
                w->outputs != NULL && runtime_bench_inputs_new(w->plan, w->rows, w->options->limits, &w->inputs);
    for (size_t i = 0; made && i < count; i++) {
        size_t bytes;
        made = runtime_bench_bytes(mtl_plan_output(w->plan, i), w->rows, &bytes) &&
               (w->outputs[i] = malloc(bytes > 0 ? bytes : 1)) != NULL;
    }
    if (made && w->trace != NULL) {
        w->profile.events = calloc(MOST_EVENTS, sizeof *w->profile.events);
        made = w->profile.events != NULL;
    }
    return made ? MTL_OK : base_fail_memory(&diag);
}

static mtl_status plain_call(profile_work *w, size_t call)
{
    return mtl_session_run(w->session, w->rows, turn(w, call), w->outputs, &w->error);
}

static mtl_status profiled_call(profile_work *w, size_t call)
{
    return runtime_profile_run(w->session, w->rows, turn(w, call), w->outputs, &w->profile, &w->error);
}

/* Calls with and without timestamps in turn, so that both see the same weather. */
static mtl_status take_samples(profile_work *w)
{
    size_t steps = w->plan->view.step_count;
    w->profile.clock_ns = runtime_profile_clock_ns();
    for (size_t i = 0; i < WARM_UP_CALLS; i++) {
        BASE_TRY(plain_call(w, i));
    }
    uint64_t until = runtime_profile_now() + (uint64_t)(w->options->seconds * 1e9), now = 0;
    while (w->calls < w->most_calls && (w->calls < LEAST_CALLS || now < until)) {
        uint64_t begin = runtime_profile_now();
        BASE_TRY(plain_call(w, w->calls));
        w->plain[w->calls] = (float)(runtime_profile_now() - begin);
        BASE_TRY(profiled_call(w, w->calls));
        for (size_t i = 0; i < steps; i++) {
            w->samples[w->calls * steps + i] = (float)w->profile.step_ns[i];
        }
        now = w->profile.end;
        w->calls++;
    }
    return MTL_OK;
}

/* --- what the steps cost --- */

static uint64_t affine(uint64_t fixed, uint64_t per_row, uint64_t times, uint64_t rows)
{
    uint64_t a, b, sum;
    bool over = __builtin_mul_overflow(fixed, times, &a) || __builtin_mul_overflow(per_row, rows, &b) ||
                __builtin_add_overflow(a, b, &sum);
    return over ? UINT64_MAX : sum;
}

/* Constants that a plan reads whole, and values of a tile: what has to stay in a cache between two uses. */
static uint64_t bytes_of_weights(const plan_view *view)
{
    uint64_t total = 0;
    for (size_t i = 0; i < view->step_count; i++) {
        total = affine(total, plan_step_cost(view, &view->steps[i]).weight_bytes, 1, 1);
    }
    return total;
}

static uint64_t bytes_of_values(const plan_view *view, uint64_t rows)
{
    return affine(view->meta->request_bytes, view->meta->row_bytes, 1, rows);
}

void runtime_bench_flops(const mtl_session *session, unsigned long long *chosen, unsigned long long *all)
{
    const plan_view *view = &session->plan->view;
    *chosen = *all = 0;
    for (size_t i = 0; i < view->step_count; i++) {
        uint64_t flops = plan_step_cost(view, &view->steps[i]).flops_per_row, computed, whole;
        runtime_wanted_share(session, i, &computed, &whole);
        *chosen += runtime_share(flops, computed, whole);
        *all += flops;
    }
}

static void fill_step(const profile_work *w, size_t i, uint64_t tiles, size_t level, tool_profile_step *s)
{
    const plan_view *view = &w->plan->view;
    const plan_step *step = &view->steps[i];
    plan_cost cost = plan_step_cost(view, step);
    bool request = i < view->meta->request_step_count;
    uint64_t times = request ? 1 : tiles, rows = (uint64_t)w->rows;
    s->index = i;
    s->program = request ? "request" : "row";
    s->op = plan_op_name(step->op);
    s->function = plan_function_name(step->op, step->function);
    s->label = plan_string(view, step->label);
    s->kernel = runtime_step_kernel(w->plan, i);
    uint64_t computed, all;
    runtime_wanted_share(w->session, i, &computed, &all);
    s->flops = runtime_share(affine(cost.flops_fixed, cost.flops_per_row, times, rows), computed, all);
    s->weight_bytes = runtime_share(affine(cost.weight_bytes, 0, times, rows), computed, all);
    s->activation_bytes =
        runtime_share(affine(cost.bytes_fixed - cost.weight_bytes, cost.bytes_per_row, times, rows), computed, all);
    const tool_machine *m = w->machine;
    size_t weights = tool_machine_level(m, bytes_of_weights(view));
    double compute = (double)s->flops / m->flops;
    double move = (double)s->weight_bytes / m->read[weights].bytes_per_second +
                  (double)s->activation_bytes / m->read[level].bytes_per_second;
    s->bound_by_bytes = move > compute;
    s->least_ns = (s->bound_by_bytes ? move : compute) * 1e9;
}

static void summarise(profile_work *w, tool_profile_step *steps, tool_profile_run *run)
{
    size_t count = w->plan->view.step_count;
    *run = (tool_profile_run){
        .rows = w->rows,
        .tile_rows = mtl_session_tile_rows(w->session),
        .calls = w->calls,
        .call_us = middle(w, w->plain, w->calls, 1) * 1e-3,
        .steps = steps,
        .step_count = count,
    };
    runtime_tiling tiling = runtime_profile_tiling(w->session, w->rows);
    uint64_t held = (uint64_t)runtime_tile_begin(&tiling, 1); /* the first tile is the highest */
    size_t level = tool_machine_level(w->machine, bytes_of_values(&w->plan->view, held));
    run->activation_level = w->machine->read[level].name;
    run->tiles = (size_t)tiling.tiles;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        fill_step(w, i, run->tiles, level, &steps[i]);
        steps[i].ns = middle(w, w->samples + i, w->calls, count);
        sum += steps[i].ns;
    }
    run->steps_us = sum * 1e-3;
    for (size_t i = 0; i < count; i++) {
        tool_profile_step *s = &steps[i];
        double seconds = s->ns * 1e-9;
        s->share = sum > 0 ? s->ns / sum : 0;
        s->flops_per_second = seconds > 0 ? (double)s->flops / seconds : 0;
        s->bytes_per_second = seconds > 0 ? ((double)s->weight_bytes + (double)s->activation_bytes) / seconds : 0;
    }
}

/* --- the trace --- */

static mtl_status trace_event(profile_work *w, const tool_trace_event *event, base_diag *diag)
{
    bool first = *w->zero == 0;
    *w->zero = first ? event->begin : *w->zero;
    return tool_trace_add(event, *w->zero, first, w->trace, diag);
}

/* The steps of one tile, or of the request program, with an event around them; *next is the first event behind. */
static mtl_status trace_tile(profile_work *w, size_t from, size_t *next, base_diag *diag)
{
    const runtime_profile *p = &w->profile;
    const plan_view *view = &w->plan->view;
    const runtime_profile_event *e = &p->events[from];
    size_t to = from;
    while (to < p->event_count && p->events[to].tile == e->tile) {
        to++;
    }
    char name[48] = "request";
    if (e->tile >= 0) {
        snprintf(name, sizeof name, "tile %lld", (long long)e->tile);
    }
    BASE_TRY(trace_event(w,
                         &(tool_trace_event){.name = name,
                                             .kind = "tile",
                                             .step = -1,
                                             .tile = e->tile,
                                             .rows = e->rows,
                                             .begin = e->begin,
                                             .end = p->events[to - 1].end},
                         diag));
    for (size_t i = from; i < to; i++) {
        e = &p->events[i];
        const plan_step *step = &view->steps[e->step];
        BASE_TRY(trace_event(w,
                             &(tool_trace_event){.name = plan_string(view, step->label),
                                                 .kind = "step",
                                                 .kernel = runtime_step_kernel(w->plan, e->step),
                                                 .op = plan_op_name(step->op),
                                                 .step = e->step,
                                                 .tile = e->tile,
                                                 .rows = e->rows,
                                                 .begin = e->begin,
                                                 .end = e->end},
                             diag));
    }
    *next = to;
    return MTL_OK;
}

static mtl_status trace_calls(profile_work *w)
{
    base_diag diag = {.error = &w->error, .file = w->options->trace};
    char name[48];
    snprintf(name, sizeof name, "%lld rows", (long long)w->rows);
    for (size_t call = 0; call < TRACE_CALLS; call++) {
        BASE_TRY(plain_call(w, call)); /* writing the last one has cooled the caches */
        w->profile.event_count = 0;
        w->profile.event_capacity = MOST_EVENTS;
        BASE_TRY(profiled_call(w, call));
        BASE_TRY(trace_event(w,
                             &(tool_trace_event){.name = name,
                                                 .kind = "call",
                                                 .step = -1,
                                                 .tile = -1,
                                                 .rows = w->rows,
                                                 .begin = w->profile.begin,
                                                 .end = w->profile.end},
                             &diag));
        for (size_t next = 0; next < w->profile.event_count;) {
            BASE_TRY(trace_tile(w, next, &next, &diag));
        }
        if (w->profile.event_count == MOST_EVENTS) {
            break; /* this call filled the buffer: its first steps are there, and one such call is enough */
        }
    }
    return MTL_OK;
}

/* --- the command --- */

static void print_run(const tool_profile_run *run)
{
    printf("\n%lld rows: %.2f us a call, %.2f us in steps, %zu tile%s of up to %zu rows, activations in %s, mean of "
           "the middle half of %zu calls\n",
           run->rows, run->call_us, run->steps_us, run->tiles, run->tiles == 1 ? "" : "s", run->tile_rows,
           run->activation_level, run->calls);
    printf("%4s %-8s %-12s %12s %6s %14s %12s %12s %8s %8s %9s  %-22s %s\n", "step", "program", "op", "ns", "share",
           "FLOPs", "weights", "activations", "GFLOP/s", "GB/s", "of peak", "kernel", "label");
    tool_profile_step total = tool_profile_total(run);
    for (size_t i = 0; i <= run->step_count; i++) {
        bool last = i == run->step_count;
        const tool_profile_step *s = last ? &total : &run->steps[i];
        char index[24] = "all";
        if (!last) {
            snprintf(index, sizeof index, "%zu", i);
        }
        printf("%4s %-8s %-12s %12.0f %5.1f%% %14llu %12llu %12llu %8.1f %8.1f %4.0f%% %-4s", index,
               last ? "" : s->program, last ? "" : s->op, s->ns, s->share * 100, (unsigned long long)s->flops,
               (unsigned long long)s->weight_bytes, (unsigned long long)s->activation_bytes, s->flops_per_second * 1e-9,
               s->bytes_per_second * 1e-9, s->ns > 0 ? s->least_ns / s->ns * 100 : 0,
               last                ? ""
               : s->bound_by_bytes ? "GB"
                                   : "GF");
        printf("  %-22s %s\n", last ? "" : s->kernel, last ? "" : s->label);
    }
}

static void print_text(const tool_profile *profile)
{
    const tool_machine *m = profile->machine;
    printf("%s: %s kernels for %s; peak of one thread %.1f GFLOP/s; read GB/s:", profile->plan, profile->provider,
           m->isa, m->flops * 1e-9);
    for (size_t i = 0; i < m->read_count; i++) {
        printf("%s %s %.1f", i > 0 ? "," : "", m->read[i].name, m->read[i].bytes_per_second * 1e-9);
    }
    printf("\nweights are read from %s; %.0f ns for the clock are taken off each step\n", profile->weight_level,
           profile->clock_ns);
    if (profile->only != NULL) {
        printf("only what %s needs: FLOPs and bytes are those of the parts that are computed\n", profile->only);
    }
    for (size_t i = 0; i < profile->run_count; i++) {
        print_run(&profile->runs[i]);
    }
}

static int profile_rows(profile_work *w, tool_profile_step *steps, tool_profile_run *run)
{
    mtl_status status = work_new(w);
    status = status == MTL_OK ? take_samples(w) : status;
    if (status == MTL_OK) {
        summarise(w, steps, run);
    }
    if (status == MTL_OK && w->trace != NULL) {
        status = trace_calls(w);
    }
    int failed = status != MTL_OK ? runtime_cmd_fail("%s: %s", w->options->path, w->error.message) : 0;
    work_free(w);
    return failed;
}

static int profile_all(mtl_plan *plan, const runtime_bench_profile_options *options, FILE *trace,
                       tool_profile_step *steps, tool_profile_run *runs)
{
    mtl_error error;
    base_diag diag = {.error = &error, .file = options->trace};
    tool_machine machine;
    uint64_t zero = 0;
    const plan_view *view = &plan->view;
    if (runtime_machine_measure(plan->native, &diag, &machine) != MTL_OK ||
        (trace != NULL && tool_trace_begin(trace, &diag) != MTL_OK)) {
        return runtime_cmd_fail("%s", error.message);
    }
    for (size_t i = 0; i < options->row_counts; i++) {
        profile_work w = {.plan = plan,
                          .options = options,
                          .machine = &machine,
                          .rows = options->rows[i],
                          .trace = trace,
                          .zero = &zero};
        if (profile_rows(&w, steps + i * view->step_count, &runs[i]) != 0) {
            return 1;
        }
    }
    if (trace != NULL && tool_trace_end(trace, &diag) != MTL_OK) {
        return runtime_cmd_fail("%s", error.message);
    }
    tool_profile profile = {
        .plan = options->path,
        .provider = options->provider,
        .version = mtl_runtime_version(),
        .only = options->only,
        .clock_ns = (double)runtime_profile_clock_ns(),
        .machine = &machine,
        .weight_level = machine.read[tool_machine_level(&machine, bytes_of_weights(view))].name,
        .runs = runs,
        .run_count = options->row_counts,
    };
    if (!options->json) {
        print_text(&profile);
        return 0;
    }
    diag.file = NULL;
    return tool_profile_print_json(&profile, stdout, &diag) == MTL_OK ? 0 : runtime_cmd_fail("%s", error.message);
}

int runtime_bench_profile(mtl_plan *plan, const runtime_bench_profile_options *options)
{
    tool_profile_step *steps = calloc(options->row_counts * plan->view.step_count + 1, sizeof *steps);
    tool_profile_run *runs = calloc(options->row_counts, sizeof *runs);
    FILE *trace = options->trace != NULL ? fopen(options->trace, "w") : NULL;
    int failed;
    if (options->trace != NULL && trace == NULL) {
        failed = runtime_cmd_fail("%s: cannot write: %s", options->trace, strerror(errno));
    } else if (steps == NULL || runs == NULL) {
        failed = runtime_cmd_fail("out of memory");
    } else {
        failed = profile_all(plan, options, trace, steps, runs);
    }
    if (trace != NULL && fclose(trace) != 0 && failed == 0) {
        failed = runtime_cmd_fail("%s: cannot write: %s", options->trace, strerror(errno));
    }
    free(steps);
    free(runs);
    return failed;
}
