#include "tool/profile.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "tool/json_print.h"

size_t tool_machine_level(const tool_machine *machine, uint64_t bytes)
{
    size_t level = 0;
    while (level + 1 < machine->read_count && bytes > machine->read[level].capacity) {
        level++;
    }
    return level;
}

static json_t *whole(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static double over(double a, double b)
{
    return b > 0 ? a / b : 0;
}

tool_profile_step tool_profile_total(const tool_profile_run *run)
{
    tool_profile_step total = {0};
    for (size_t i = 0; i < run->step_count; i++) {
        const tool_profile_step *s = &run->steps[i];
        total.ns += s->ns;
        total.share += s->share;
        total.least_ns += s->least_ns;
        total.flops += s->flops;
        total.weight_bytes += s->weight_bytes;
        total.activation_bytes += s->activation_bytes;
    }
    total.flops_per_second = over((double)total.flops, total.ns * 1e-9);
    total.bytes_per_second = over((double)total.weight_bytes + (double)total.activation_bytes, total.ns * 1e-9);
    return total;
}

/* Adds all of `from` to `to`, both given up; NULL when either is or memory is out. */
static json_t *join(json_t *to, json_t *from)
{
    if (to == NULL || from == NULL || json_object_update(to, from) != 0) {
        json_decref(to);
        to = NULL;
    }
    json_decref(from);
    return to;
}

/* Appends `entry`, given up; gives up the array too and is NULL when there is no memory. */
static json_t *append(json_t *array, json_t *entry)
{
    if (array == NULL || entry == NULL) {
        json_decref(array);
        json_decref(entry);
        return NULL;
    }
    if (json_array_append_new(array, entry) != 0) {
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *numbers_of(const tool_profile_step *s)
{
    return json_pack("{s:f, s:f, s:o, s:o, s:o, s:o, s:f, s:f, s:f, s:f}", "ns", s->ns, "share", s->share, "flops",
                     whole(s->flops), "bytes", whole(s->weight_bytes + s->activation_bytes), "weight_bytes",
                     whole(s->weight_bytes), "activation_bytes", whole(s->activation_bytes), "gflops_per_second",
                     s->flops_per_second * 1e-9, "gb_per_second", s->bytes_per_second * 1e-9, "least_ns", s->least_ns,
                     "roofline", over(s->least_ns, s->ns));
}

static json_t *step_of(const tool_profile_step *s)
{
    json_t *names = json_pack("{s:I, s:s, s:s, s:s, s:o, s:o, s:s}", "index", (json_int_t)s->index, "program",
                              s->program, "op", s->op, "function", s->function, "label", tool_json_text(s->label),
                              "kernel", tool_json_text(s->kernel), "bound", s->bound_by_bytes ? "bytes" : "flops");
    return join(names, numbers_of(s));
}

static json_t *run_of(const tool_profile_run *run)
{
    json_t *steps = json_array();
    for (size_t i = 0; i < run->step_count; i++) {
        steps = append(steps, step_of(&run->steps[i]));
    }
    tool_profile_step total = tool_profile_total(run);
    json_t *all = numbers_of(&total);
    if (steps == NULL || all == NULL) {
        json_decref(steps);
        json_decref(all);
        return NULL;
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:s, s:o, s:o}", "rows", (json_int_t)run->rows, "tile_rows",
                     (json_int_t)run->tile_rows, "tiles", (json_int_t)run->tiles, "calls", (json_int_t)run->calls,
                     "call_us", run->call_us, "steps_us", run->steps_us, "activation_level", run->activation_level,
                     "total", all, "steps", steps);
}

static json_t *machine_of(const tool_machine *machine)
{
    json_t *read = json_array(), *caches = json_object();
    for (size_t i = 0; i < machine->read_count; i++) {
        read = append(read,
                      json_pack("{s:s, s:o, s:f}", "level", machine->read[i].name, "bytes",
                                whole(machine->read[i].bytes), "bytes_per_second", machine->read[i].bytes_per_second));
        if (machine->read[i].capacity > 0 &&
            json_object_set_new(caches, machine->read[i].name, whole(machine->read[i].capacity)) != 0) {
            json_decref(read);
            read = NULL;
        }
    }
    if (read == NULL || caches == NULL) {
        json_decref(read);
        json_decref(caches);
        return NULL;
    }
    return json_pack("{s:o, s:f, s:o, s:o}", "isa", tool_json_text(machine->isa), "flops", machine->flops, "read", read,
                     "caches", caches);
}

mtl_status tool_machine_print_json(const tool_machine *machine, FILE *out, base_diag *diag)
{
    return tool_json_print(machine_of(machine), out, diag);
}

mtl_status tool_profile_print_json(const tool_profile *profile, FILE *out, base_diag *diag)
{
    json_t *runs = json_array(), *machine = machine_of(profile->machine);
    for (size_t i = 0; i < profile->run_count; i++) {
        runs = append(runs, run_of(&profile->runs[i]));
    }
    if (runs == NULL || machine == NULL) {
        json_decref(runs);
        json_decref(machine);
        return base_fail_memory(diag);
    }
    return tool_json_print(json_pack("{s:o, s:o, s:o, s:o, s:o, s:f, s:o, s:s, s:o}", "plan",
                                     tool_json_text(profile->plan), "only", tool_json_text(profile->only), "provider",
                                     tool_json_text(profile->provider), "isa", tool_json_text(profile->machine->isa),
                                     "version", tool_json_text(profile->version), "clock_ns", profile->clock_ns,
                                     "machine", machine, "weight_level", profile->weight_level, "profiles", runs),
                           out, diag);
}

static mtl_status write_failed(base_diag *diag)
{
    return base_fail(diag, MTL_IO, "cannot write: %s", strerror(errno != 0 ? errno : EIO));
}

mtl_status tool_trace_begin(FILE *out, base_diag *diag)
{
    errno = 0;
    return fputs("{\"displayTimeUnit\": \"ns\", \"traceEvents\": [", out) < 0 ? write_failed(diag) : MTL_OK;
}

static json_t *args_of(const tool_trace_event *event)
{
    json_t *args = json_pack("{s:I}", "rows", (json_int_t)event->rows);
    if (event->tile >= 0) {
        args = join(args, json_pack("{s:I}", "tile", (json_int_t)event->tile));
    }
    if (event->step >= 0) {
        args = join(args, json_pack("{s:I, s:o, s:o, s:o}", "step", (json_int_t)event->step, "label",
                                    tool_json_text(event->name), "op", tool_json_text(event->op), "kernel",
                                    tool_json_text(event->kernel)));
    }
    return args;
}

mtl_status tool_trace_add(const tool_trace_event *event, uint64_t zero, bool first, FILE *out, base_diag *diag)
{
    json_t *args = args_of(event);
    BASE_TRY_MEMORY(args, diag);
    /* Trace times are microseconds. */
    json_t *entry = json_pack("{s:o, s:s, s:s, s:i, s:i, s:f, s:f, s:o}", "name", tool_json_text(event->name), "cat",
                              event->kind, "ph", "X", "pid", 1, "tid", 1, "ts", (double)(event->begin - zero) / 1e3,
                              "dur", (double)(event->end - event->begin) / 1e3, "args", args);
    BASE_TRY_MEMORY(entry, diag);
    errno = 0;
    bool failed =
        fputs(first ? "\n" : ",\n", out) < 0 || json_dumpf(entry, out, JSON_COMPACT | JSON_REAL_PRECISION(15)) != 0;
    json_decref(entry);
    return failed ? write_failed(diag) : MTL_OK;
}

mtl_status tool_trace_end(FILE *out, base_diag *diag)
{
    errno = 0;
    return fputs("\n]}\n", out) < 0 || fflush(out) != 0 ? write_failed(diag) : MTL_OK;
}
