/* Packed linear layers. A block of rows x panels of the output is kept in registers while k runs, in order, once: each
 * output element is one chain of multiply-adds that starts at the bias plus the start, whatever block it falls into. */
#ifndef RUNTIME_NATIVE_LINEAR_INC_H
#define RUNTIME_NATIVE_LINEAR_INC_H

#include "runtime/native/elementwise.inc.h"
#include "runtime/native/native.h"
#include "runtime/native/panels.inc.h"
#include "runtime/native/vec.inc.h"
#include "runtime/native/zeros.inc.h"

enum {
#if LANES == 16
    BLOCK_ROWS = 8,
    BLOCK_VECS = 24, /* of 32 registers */
#elif LANES == 8
    BLOCK_ROWS = 6,
    BLOCK_VECS = 12, /* of 16 registers: two more hold weights, one a broadcast of x */
#else
    BLOCK_ROWS = 3,
    BLOCK_VECS = 12,
#endif
    /* Rows of x that stay in L2 while all panels pass by; k that a group of panels stays in L2 for. */
    CACHED_X_BYTES = 256 << 10,
    CACHED_K = 1024,
};

/* ROWS and PANELS are constants after inlining. */
INLINE void linear_block_run(const linear_block *block, const unsigned ROWS, const unsigned PANELS)
{
    const unsigned VECS = PANELS * PANEL_VECS;
    vec sums[BLOCK_ROWS][BLOCK_VECS];
    UNROLL
    for (unsigned r = 0; r < ROWS; r++) {
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            if (block->resume) {
                sums[r][v] = load_columns(block->y + r * block->y_stride, v * LANES, block->columns);
            } else {
                sums[r][v] = block->bias != NULL ? load(block->bias + v * LANES) : splat(0);
            }
        }
    }
    if (block->start != NULL) {
        UNROLL
        for (unsigned r = 0; r < ROWS; r++) {
            const float *start = linear_start(block, r);
            UNROLL
            for (unsigned v = 0; v < VECS; v++) {
                sums[r][v] = sums[r][v] + load_columns(start, v * LANES, block->columns);
            }
        }
    }
    const float *x = block->x, *w = block->w;
    const size_t x_stride = block->x_stride, w_stride = block->w_stride;
    for (size_t i = 0; i < block->k; i++, x++, w += PLAN_PANEL) {
        vec weights[BLOCK_VECS];
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            const float *panel = w + v / PANEL_VECS * w_stride;
            weights[v] = *(const vec *)(panel + v % PANEL_VECS * LANES);
        }
        UNROLL
        for (unsigned r = 0; r < ROWS; r++) {
            const vec xs = splat(x[r * x_stride]);
            UNROLL
            for (unsigned v = 0; v < VECS; v++) {
                sums[r][v] = sums[r][v] + weights[v] * xs;
            }
        }
    }
    const vec least = splat(block->floor);
    UNROLL
    for (unsigned r = 0; r < ROWS; r++) {
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            store_columns(block->y + r * block->y_stride, linear_result(sums[r][v], least), v * LANES, block->columns);
        }
    }
}

/* Blocks by their rows: as many panels as the registers hold, but at most 4 streams of weights: so many the CPU fetches
 * ahead by itself, faster than with a prefetch in the loop, and widths of layers are multiples of 4 panels. */
#define LINEAR_PANELS(rows)                                                                                            \
    (BLOCK_VECS / PANEL_VECS / (rows) > 4   ? 4                                                                        \
     : BLOCK_VECS / PANEL_VECS / (rows) < 1 ? 1                                                                        \
                                            : BLOCK_VECS / PANEL_VECS / (rows))
#define LINEAR_BLOCK(rows)                                                                                             \
    static void linear_rows_##rows(const linear_block *block)                                                          \
    {                                                                                                                  \
        linear_block_run(block, rows, LINEAR_PANELS(rows));                                                            \
    }                                                                                                                  \
    static void linear_rows_##rows##_one_panel(const linear_block *block)                                              \
    {                                                                                                                  \
        linear_block_run(block, rows, 1);                                                                              \
    }
LINEAR_BLOCK(1)
LINEAR_BLOCK(2)
LINEAR_BLOCK(3)
#if LANES >= 8
LINEAR_BLOCK(4)
LINEAR_BLOCK(5)
LINEAR_BLOCK(6)
#endif
#if LANES >= 16
LINEAR_BLOCK(7)
LINEAR_BLOCK(8)
#endif

static const struct {
    size_t panels;
    void (*run)(const linear_block *), (*run_one_panel)(const linear_block *);
} linear_blocks[] = {
#define LINEAR_ROW(rows) [rows] = {LINEAR_PANELS(rows), linear_rows_##rows, linear_rows_##rows##_one_panel}
    LINEAR_ROW(1), LINEAR_ROW(2), LINEAR_ROW(3),
#if LANES >= 8
    LINEAR_ROW(4), LINEAR_ROW(5), LINEAR_ROW(6),
#endif
#if LANES >= 16
    LINEAR_ROW(7), LINEAR_ROW(8),
#endif
};

/* One part of k for rows whose x stays in L2: panels outside, so that each group of panels is read once. */
static void linear_pass(const native_linear *call, linear_block block, size_t rows)
{
    /* Even blocks: 7 rows are 4 and 3, not 6 and 1, which would read all weights for one row. */
    const size_t parts = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
    const size_t largest = (rows + parts - 1) / parts;
    const linear_block all = block;
    size_t group;
    for (size_t first = 0; first < call->n; first += group * PLAN_PANEL) {
        const size_t panels = (call->n - first + PLAN_PANEL - 1) / PLAN_PANEL;
        group = panels < linear_blocks[largest].panels ? 1 : linear_blocks[largest].panels;
        for (size_t part = 0, row = 0; part < parts; part++) {
            const size_t count = (rows - row) / (parts - part);
            block.x = all.x + row * call->x_stride;
            for (size_t p = 0; p < group;) {
                const size_t step = group - p < linear_blocks[count].panels ? 1 : linear_blocks[count].panels;
                const size_t column = first + p * PLAN_PANEL;
                block.w = all.w + column / PLAN_PANEL * all.w_stride;
                block.bias = all.bias != NULL ? all.bias + column : NULL;
                block.y = all.y + row * call->y_stride + column;
                block.columns = call->n - column;
                if (all.start != NULL) {
                    block.start = all.start + column + (all.start_rows == NULL ? row * all.start_stride : 0);
                    block.start_rows = all.start_rows != NULL ? all.start_rows + row : NULL;
                }
                (step == 1 ? linear_blocks[count].run_one_panel : linear_blocks[count].run)(&block);
                p += step;
            }
            row += count;
        }
    }
}

/* As linear_pass, strips of k with many zeros by zeros_pass: features that are concatenated to what comes from a relu have
 * none. Bits are the same, so the first rows may decide for the others. */
static void linear_part(const native_linear *call, linear_block part, size_t rows)
{
    const size_t strips = (part.k + ZEROS_STRIP - 1) / ZEROS_STRIP;
    if (!call->finite || call->n <= (ZEROS_LEAST_PANELS - 1) * PLAN_PANEL || strips == 0 || strips > ZEROS_WORDS) {
        linear_pass(call, part, rows);
        return;
    }
    for (size_t first = 0, next; first < part.k; first = next) {
        linear_block run = part;
        run.x += first;
        run.w += first * PLAN_PANEL;
        bool zeros = false;
        for (next = first; next < part.k;) {
            const size_t k = part.k - next < ZEROS_STRIP ? part.k - next : ZEROS_STRIP;
            linear_block strip = part;
            strip.x += next;
            const bool pay = zeros_pay(&strip, k, rows);
            if (next > first && pay != zeros) {
                break;
            }
            zeros = pay;
            next += k;
        }
        run.k = next - first;
        run.resume = part.resume || first > 0;
        run.start = first > 0 ? NULL : part.start;
        run.floor = next < part.k ? -INFINITY : part.floor;
        if (zeros) {
            zeros_pass(run, rows);
        } else {
            linear_pass(call, run, rows);
        }
    }
}

/* Narrow layers (a head has one column) fill their vectors with several rows. */
static void activate(const native_linear *call, size_t row, size_t rows)
{
    float *y = call->y + row * call->y_stride;
    if (call->y_stride == call->n) {
        unary(call->act, call->a, call->b, y, y, rows * call->n);
        return;
    }
    for (size_t r = 0; r < rows; r++, y += call->y_stride) {
        unary(call->act, call->a, call->b, y, y, call->n);
    }
}

enum {
    HEAD_COLUMNS = NATIVE_FEW_COLUMNS,
    HEAD_WEIGHTS = 1024, /* held on the stack */
    HEAD_ROWS = 4,       /* at a time */
};

static size_t head_height(size_t k)
{
    return (k + LANES - 1) / LANES * LANES;
}

/* Layers of so few columns that most of a panel would be zeros: towers' heads. Their weights are copied out of the
 * panel, a column in one piece, and the lanes go along k. A matter of K and N alone, as sums have another order. */
static bool is_head(size_t k, size_t n)
{
    return n <= HEAD_COLUMNS && k >= 16 && head_height(k) * n <= HEAD_WEIGHTS;
}

/* One column for ROWS rows, a constant after inlining: sums over even and odd vectors of k. */
INLINE void head_block(const native_linear *call, size_t row, size_t column, const float *w, const unsigned ROWS)
{
    const float *x = call->x + row * call->x_stride;
    const size_t whole = call->k / LANES * LANES, x_stride = call->x_stride;
    vec even[HEAD_ROWS], odd[HEAD_ROWS];
    UNROLL
    for (unsigned r = 0; r < ROWS; r++) {
        even[r] = odd[r] = splat(0);
    }
    size_t i = 0;
    for (; i + 2 * LANES <= whole; i += 2 * LANES) {
        UNROLL
        for (unsigned r = 0; r < ROWS; r++) {
            even[r] = even[r] + load(x + r * x_stride + i) * load(w + i);
            odd[r] = odd[r] + load(x + r * x_stride + i + LANES) * load(w + i + LANES);
        }
    }
    for (; i < call->k; i += LANES) {
        UNROLL
        for (unsigned r = 0; r < ROWS; r++) {
            const vec tail = i < whole ? load(x + r * x_stride + i) : load_tail(x + r * x_stride + i, call->k - i);
            even[r] = even[r] + tail * load(w + i);
        }
    }
    const vec least = splat(call->act == PLAN_UNARY_relu ? 0 : -INFINITY);
    const vec bias = splat(call->bias != NULL ? call->bias[column] : 0);
    UNROLL
    for (unsigned r = 0; r < ROWS; r++) {
        vec first = bias;
        if (call->start != NULL) {
            first = first + splat(native_linear_start(call, row + r)[column]);
        }
        const vec sum = max_second(least, sum_everywhere(even[r] + odd[r]) + first);
        call->y[(row + r) * call->y_stride + column] = sum[0];
    }
}

/* k floats PLAN_PANEL apart, and zeros up to a whole vector. */
static void head_column(const float *panel, size_t k, float *w)
{
    size_t i = 0;
    for (; i + 8 <= k; i += 8) {
        UNROLL
        for (size_t j = 0; j < 8; j++) {
            w[i + j] = panel[(i + j) * PLAN_PANEL];
        }
    }
    for (; i < k; i++) {
        w[i] = panel[i * PLAN_PANEL];
    }
    for (; i % LANES != 0; i++) {
        w[i] = 0;
    }
}

static void linear_head(const native_linear *call)
{
    float w[HEAD_WEIGHTS];
    const size_t height = head_height(call->k);
    for (size_t j = 0; j < call->n; j++) {
        head_column(call->w + j, call->k, w + j * height);
    }
    for (size_t row = 0, rows; row < call->rows; row += rows) {
        rows = call->rows - row < HEAD_ROWS ? 1 : HEAD_ROWS;
        for (size_t j = 0; j < call->n; j++) {
            if (rows == 1) {
                head_block(call, row, j, w + j * height, 1);
            } else {
                head_block(call, row, j, w + j * height, HEAD_ROWS);
            }
        }
    }
    if (call->act != PLAN_UNARY_none && call->act != PLAN_UNARY_relu) {
        activate(call, 0, call->rows);
    }
}

static void linear_columns(const native_linear *call)
{
    if (call->n == 0) {
        return;
    }
    if (is_head(call->k, call->n)) {
        linear_head(call);
        return;
    }
    size_t most = CACHED_X_BYTES / sizeof(float) / (call->k > 0 ? call->k : 1);
    most = most < 4 * BLOCK_ROWS ? 4 * BLOCK_ROWS : most;
    for (size_t row = 0, rows; row < call->rows; row += rows) {
        rows = call->rows - row < most ? call->rows - row : most;
        /* Few rows read every weight once anyway. */
        const size_t k_most = rows <= BLOCK_ROWS ? call->k : CACHED_K;
        size_t first = 0;
        do {
            const size_t k = call->k - first < k_most ? call->k - first : k_most;
            const bool last = first + k == call->k;
            const linear_block block = {
                .x = call->x + row * call->x_stride + first,
                .w = call->w + first * PLAN_PANEL,
                .bias = first == 0 ? call->bias : NULL,
                .y = call->y + row * call->y_stride,
                .x_stride = call->x_stride,
                .w_stride = call->k * PLAN_PANEL,
                .y_stride = call->y_stride,
                .k = k,
                .columns = call->n,
                .resume = first > 0,
                .floor = last && call->act == PLAN_UNARY_relu ? 0 : -INFINITY,
                .start = first > 0 || call->start == NULL ? NULL
                         : call->start_rows != NULL       ? call->start
                                                          : call->start + row * call->start_stride,
                .start_stride = call->start_stride,
                .start_rows = call->start_rows != NULL ? call->start_rows + row : NULL,
            };
            linear_part(call, block, rows);
            first += k;
        } while (first < call->k);
        if (call->act != PLAN_UNARY_none && call->act != PLAN_UNARY_relu) {
            activate(call, row, rows);
        }
    }
}

/* Experts with an activation, then gates without: panels of both lie one after the other. */
static void linear(const native_linear *call)
{
    if (call->act_columns == 0 || call->act_columns >= call->n) {
        linear_columns(call);
        return;
    }
    native_linear active = *call, plain = *call;
    active.n = call->act_columns;
    plain.n -= active.n;
    plain.w += active.n * call->k;
    plain.bias = call->bias != NULL ? call->bias + active.n : NULL;
    plain.y += active.n;
    plain.start = call->start != NULL ? call->start + active.n : NULL;
    plain.act = PLAN_UNARY_none;
    linear_columns(&active);
    linear_columns(&plain);
}

#endif
