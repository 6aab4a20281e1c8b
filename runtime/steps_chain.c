/* Chains: element-wise functions one after the other, over strips that stay in the first cache. The first function reads
 * x and writes y; the others work on y in place, through the same kernels as a step of its own. */
#include <string.h>

#include "runtime/internal.h"
#include "runtime/native/native.h"

enum {
    STRIP = 512,  /* floats */
    NARROW = 128, /* floats of a line: wider ones are taken one by one */
    SPREADS = 4,  /* operands whose columns are spread out once a run; others are for each strip */
};

/* FULL: as many elements as x. COLUMNS: as many as the last axes of x, over and over. */
typedef enum chain_kind { CHAIN_FULL, CHAIN_COLUMNS, CHAIN_NUMBER } chain_kind;

typedef struct chain_operand {
    runtime_ref ref;
    chain_kind kind;
    bool window;
    size_t pitch;  /* floats from a line of a window to the next */
    size_t period; /* COLUMNS: floats */
    int spread;    /* COLUMNS: which buffer, -1: none */
} chain_operand;

typedef struct chain_function {
    unsigned function; /* plan_unary, or plan_binary */
    unsigned operand;  /* 0: unary */
    bool operand_first;
    float a, b;
} chain_function;

/* Elements are lines of equal length: the rows of windows; the longest columns; else single elements. */
typedef struct chain_state {
    const native_kernels *native;
    chain_operand *operands; /* x first */
    chain_function *functions;
    size_t function_count;
    runtime_ref y;
    bool y_window;
    size_t y_pitch;
    runtime_affine elements;
    size_t line;
} chain_state;

/* Part of a line, or some whole ones. */
typedef struct chain_strip {
    size_t line, lines;  /* the first, and how many */
    size_t from, length; /* floats: where in the first it begins, and all of it */
} chain_strip;

typedef struct chain_buffers {
    _Alignas(64) float result[STRIP], operand[STRIP], spread[SPREADS][STRIP];
} chain_buffers;

/* `n` elements of what repeats after `period`, from element `phase` on. */
static void spread_columns(const float *columns, size_t period, size_t phase, float *to, size_t n)
{
    size_t head = period - phase < n ? period - phase : n;
    memcpy(to, columns + phase, head * sizeof *to);
    size_t tail = n - head < phase ? n - head : phase;
    memcpy(to + head, columns, tail * sizeof *to);
    for (size_t done = head + tail; done < n;) { /* a multiple of the period */
        size_t count = done < n - done ? done : n - done;
        memcpy(to + done, to, count * sizeof *to);
        done += count;
    }
}

/* The elements of a window's strip: where they are when that is one run, else copied. */
static const float *window_strip(const chain_state *s, const chain_operand *operand, const float *base,
                                 const chain_strip *strip, float *copy)
{
    const float *from = base + strip->line * operand->pitch + strip->from;
    if (strip->lines == 1) {
        return from;
    }
    size_t bytes = s->line * sizeof *from;
    native_copy_2d(from, operand->pitch * sizeof *from, copy, bytes, strip->lines, bytes);
    return copy;
}

static const float *column_strip(const chain_operand *operand, const float *base, const chain_strip *strip,
                                 chain_buffers *buffers)
{
    size_t phase = strip->from % operand->period;
    if (phase + strip->length <= operand->period) {
        return base + phase;
    }
    if (operand->spread < 0 || strip->lines == 1) {
        spread_columns(base, operand->period, phase, buffers->operand, strip->length);
        return buffers->operand;
    }
    float *spread = buffers->spread[operand->spread];
    if (strip->line == 0) { /* whole lines begin with the first column, and none of the strips is longer */
        spread_columns(base, operand->period, 0, spread, strip->length);
    }
    return spread;
}

/* The elements of an operand for a strip. `copy`: room for those of a window. */
static const float *operand_strip(const chain_state *s, const runtime_frame *frame, unsigned i,
                                  const chain_strip *strip, chain_buffers *buffers, float *copy)
{
    const chain_operand *operand = &s->operands[i];
    const float *base = (const float *)(const void *)runtime_in(frame, &operand->ref);
    switch (operand->kind) {
    case CHAIN_NUMBER: return base;
    case CHAIN_COLUMNS: return column_strip(operand, base, strip, buffers);
    case CHAIN_FULL: break;
    }
    return operand->window ? window_strip(s, operand, base, strip, copy) : base + strip->line * s->line + strip->from;
}

static void chain_strip_run(const chain_state *s, const runtime_frame *frame, const chain_strip *strip,
                            chain_buffers *buffers)
{
    float *out = (float *)(void *)runtime_out(frame, &s->y);
    out += strip->line * (s->y_window ? s->y_pitch : s->line) + strip->from;
    bool scattered = s->y_window && strip->lines > 1;
    float *y = scattered ? buffers->result : out;
    const float *x = operand_strip(s, frame, 0, strip, buffers, buffers->result);
    for (size_t i = 0; i < s->function_count; i++, x = y) {
        const chain_function *f = &s->functions[i];
        if (f->operand == 0) {
            s->native->unary((plan_unary)f->function, f->a, f->b, x, y, strip->length);
            continue;
        }
        const float *other = operand_strip(s, frame, f->operand, strip, buffers, buffers->operand);
        size_t step = s->operands[f->operand].kind != CHAIN_NUMBER;
        if (f->operand_first) {
            s->native->binary((plan_binary)f->function, other, step, x, 1, y, strip->length);
        } else {
            s->native->binary((plan_binary)f->function, x, 1, other, step, y, strip->length);
        }
    }
    if (scattered) {
        size_t bytes = s->line * sizeof *y;
        native_copy_2d(y, bytes, out, s->y_pitch * sizeof *y, strip->lines, bytes);
    }
}

static mtl_status chain_run(const void *state, const runtime_frame *frame)
{
    const chain_state *s = state;
    chain_buffers buffers;
    size_t lines = (size_t)runtime_at(s->elements, frame->rows) / s->line;
    size_t most = s->line < NARROW ? STRIP / s->line : 1;
    chain_strip strip = {.line = 0};
    for (; strip.line < lines; strip.line += strip.lines) {
        strip.lines = lines - strip.line < most ? lines - strip.line : most;
        size_t whole = strip.lines * s->line;
        for (strip.from = 0; strip.from < whole; strip.from += strip.length) {
            strip.length = whole - strip.from < STRIP ? whole - strip.from : STRIP;
            chain_strip_run(s, frame, &strip, &buffers);
        }
    }
    return MTL_OK;
}

static bool same_shape(const plan_view *view, const plan_tensor *a, const plan_tensor *b)
{
    return a->rank == b->rank && memcmp(plan_dims(view, a), plan_dims(view, b), a->rank * sizeof(mtl_dim)) == 0;
}

static chain_operand operand_of(const runtime_context *context, unsigned i)
{
    const plan_view *view = context->view;
    const plan_tensor *tensor = plan_operand(view, context->step, i), *y = plan_result(view, context->step);
    chain_operand operand = {.ref = runtime_ref_of(view, tensor), .kind = CHAIN_FULL, .spread = -1};
    if (same_shape(view, tensor, y)) {
        operand.window = plan_is_window(tensor);
        operand.pitch = operand.window ? tensor->pitch : 0;
        return operand;
    }
    operand.period = (size_t)runtime_elements(view, tensor, 0, tensor->rank).fixed;
    operand.kind = operand.period == 1 ? CHAIN_NUMBER : CHAIN_COLUMNS;
    return operand;
}

static void chain_functions(const runtime_context *context, chain_state *s)
{
    const plan_step *step = context->step;
    for (size_t i = 0; i < s->function_count; i++) {
        unsigned first = (unsigned)i * PLAN_CHAIN_ATTRS;
        const int64_t *attrs = context->view->attrs + step->attrs + first;
        s->functions[i] = (chain_function){
            .function = (unsigned)attrs[PLAN_CHAIN_FUNCTION],
            .operand = (unsigned)attrs[PLAN_CHAIN_OPERAND],
            .operand_first = attrs[PLAN_CHAIN_SIDE] != 0,
            .a = (float)plan_attr_float(context->view, step, first + PLAN_CHAIN_A),
            .b = (float)plan_attr_float(context->view, step, first + PLAN_CHAIN_B),
        };
    }
}

mtl_status runtime_prepare_chain(const runtime_context *context, runtime_step *result)
{
    const plan_view *view = context->view;
    const plan_tensor *y = plan_result(view, context->step);
    size_t operand_count = context->step->input_count;
    chain_state *s = RUNTIME_NEW(context->memory, chain_state, 1);
    BASE_TRY_MEMORY(s, context->diag);
    s->native = context->plan->native;
    s->function_count = context->step->attr_count / PLAN_CHAIN_ATTRS;
    s->operands = RUNTIME_NEW(context->memory, chain_operand, operand_count);
    s->functions = RUNTIME_NEW(context->memory, chain_function, s->function_count);
    BASE_TRY_MEMORY(s->operands, context->diag);
    BASE_TRY_MEMORY(s->functions, context->diag);
    s->y = runtime_ref_of(view, y);
    s->y_window = plan_is_window(y);
    s->y_pitch = y->pitch;
    s->elements = runtime_elements(view, y, 0, y->rank);
    s->line = 1; /* and not 0, when there is nothing to do */
    int spreads = 0;
    for (unsigned i = 0; i < operand_count; i++) {
        s->operands[i] = operand_of(context, i);
        if (s->operands[i].kind == CHAIN_COLUMNS) {
            s->line = s->operands[i].period > s->line ? s->operands[i].period : s->line;
            s->operands[i].spread = spreads < SPREADS ? spreads++ : -1;
        }
    }
    if (runtime_has_window(context) && s->elements.per_row > 0) {
        s->line = (size_t)s->elements.per_row;
    }
    chain_functions(context, s);
    *result = (runtime_step){.run = chain_run, .state = s};
    return MTL_OK;
}
