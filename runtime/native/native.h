/* The native kernels: what rankers are made of, written once with the compiler's vector extensions and built for
 * each ISA (docs/kernels.md).
 *
 * Contract of all kernels. Pure functions of their arguments: no state, no allocation, any number of threads. Tensors
 * need only the alignment of their elements, except weights in PANELS and bias in PADDED (plan/format.h), which are
 * aligned to 64. Nothing is read or written beyond the extents given. An extent of 0 is allowed and means nothing to do
 * (a reduction over 0 elements gives its neutral element; 0 / 0 for mean). Each output element comes from
 * the same sequence of operations whatever the number of rows, its position, or the address: equal rows give equal
 * bits. Extents and numbers of functions are trusted: plan_check has seen them. Strides and counts are in elements
 * unless a name says bytes. y may be the same tensor as an operand of equal extents (in place) where that is said, and
 * overlaps nothing else.
 *
 * Floats follow IEEE 754: NaN propagates (relu, clip, min, max and reductions included), infinities and overflow give
 * what the mathematical limit is. exp, sigmoid, tanh, erf: within 3 ulp, results below 2^-126 may be flushed to 0.
 */
#ifndef RUNTIME_NATIVE_NATIVE_H
#define RUNTIME_NATIVE_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mtlc/runtime.h"
#include "plan/format.h"

/* y[r, j] = act(bias[j] + start[r, j] + sum over i of x[r, i] * w[i, j]) for r < rows, j < n. */
typedef struct native_linear {
    const float *x; /* (rows, k), rows x_stride apart */
    size_t x_stride;
    const float *w;    /* PANELS (k, n): ceil(n / 16) panels of k x 16 */
    const float *bias; /* PADDED (n), or NULL */
    float *y;          /* (rows, n), rows y_stride apart */
    size_t y_stride;
    size_t rows, k, n;
    plan_unary act; /* of float32 to float32, or PLAN_UNARY_none */
    float a, b;     /* its parameters, as in `unary` */
    /* act is for so many of the n columns, the first ones: a multiple of 16; 0: for all. */
    size_t act_columns;
    /* What the sums of row r begin with, besides the bias: n floats at start + start_stride * (start_rows != NULL ?
     * start_rows[r] : r), so that a stride of 0 has one for all rows. NULL: 0. */
    const float *start;
    size_t start_stride;
    const int32_t *start_rows;
    bool finite; /* all of w is finite: where x is 0, w need not be read. Changes no bit of y. */
} native_linear;

/* Shares of vectors: every gate of a ranker with its experts, or a cross-stitch unit.
 * y[r, t, j] = sum over e of p[r, t, e] * values[r, index[t * experts + e], j], e in order, where p are the weights or
 * their softmax over e, whose bits are those of `softmax` with inner 1. */
typedef struct native_mix {
    const float *weights; /* (rows, tasks, experts), rows weights_stride apart; 0: one row for all */
    size_t weights_stride;
    const float *values; /* (rows, ., h): vectors of a row are adjacent, rows values_stride apart; 0: one row for all */
    size_t values_stride;
    const int64_t *index; /* (tasks, experts): which vector of a row, 0 or more; any of them any number of times */
    float *y;             /* (rows, tasks, h), rows y_stride apart */
    size_t y_stride;
    size_t rows, tasks, experts, h;
    plan_mix function;
    bool same_index; /* allowed where all tasks have the same index: they then share the reading of the vectors */
} native_mix;

/* x, y (outer, n, inner): y[., j, .] = the sum or product of x[., 0..j, .]; of x[., j..n-1, .] when in reverse; without
 * element j itself when exclusive. */
typedef struct native_scan {
    plan_scan function;
    bool exclusive, reverse;
    size_t outer, n, inner;
} native_scan;

/* All states of a recurrent layer: for each step, of each row,
 * z = sigmoid(p_z + h r_z), s = sigmoid(p_r + h r_r), n = tanh(p_n + s (h r_n + bias)), h = (1 - z) n + z h
 * (Cho et al. 2014, with the reset gate after the product as in cuDNN, PyTorch and ONNX's linear_before_reset). */
typedef struct native_gru {
    const float *p; /* (rows, steps, 3, hidden): gates z, r, n; rows p_stride apart */
    size_t p_stride;
    const float *r;    /* PANELS (3, hidden, hidden) */
    const float *bias; /* PADDED (hidden), or NULL */
    const float *h;    /* the state before (rows, hidden), rows h_stride apart; NULL: zeros */
    size_t h_stride;
    float *y; /* (rows, steps, hidden), rows y_stride apart */
    size_t y_stride;
    size_t rows, steps, hidden;
    bool reverse; /* begins with the last step */
} native_gru;

/* y[j] = the sum over i of weights[i] * table[rows[i], j], or the largest table[rows[i], j], i in order. */
typedef struct native_bag {
    const float *table;   /* rows of k */
    const int64_t *rows;  /* n of them; NATIVE_ROW_ZERO: a row of zeros */
    const float *weights; /* n; NULL: 1 each. Not with max */
    float *y;             /* k */
    size_t k, n;
    bool max;
    bool resume; /* y holds what rows before these gave; else it begins with 0, or minus infinity */
    bool filled; /* max: a row of `fill` comes first */
    float fill;
} native_bag;

/* What attention gives for a query whose keys are all masked with -infinity. */
typedef enum native_empty {
    NATIVE_EMPTY_IS_NAN = 0,      /* what softmax gives */
    NATIVE_EMPTY_NAN_IS_ZERO = 1, /* shares that are NaN, for whatever reason, count as 0 */
    NATIVE_EMPTY_IS_ZERO = 2,     /* zeros where the largest score is -infinity */
} native_empty;

enum {
    NATIVE_ATTENTION_KEYS = PLAN_ATTENTION_KEYS,
    NATIVE_ATTENTION_WIDTH = PLAN_ATTENTION_WIDTH,
};

/* Attention of each head h of each row r: y[r, i, h] = sum over j of p[i, j] v[r, j, h], p the softmax over j of
 * s[i, j] = scale q[r, i, h] . k[r, j, h] + bias[r, h, i, j], or fill where keep[r, h, i, j] is 0. The heads of a position
 * are adjacent, `width` (`value_width`) floats each. */
typedef struct native_attention {
    const float *q, *k, *v;
    size_t q_row, k_row, v_row;             /* floats between rows; 0: one for all */
    size_t q_step, k_step, v_step;          /* floats between positions */
    const float *bias;                      /* keys are adjacent; NULL: none */
    size_t bias_row, bias_head, bias_query; /* 0: one for all */
    const uint8_t *keep;                    /* 0, 1; as bias */
    size_t keep_row, keep_head, keep_query;
    float *y;
    size_t y_row, y_step;
    size_t rows, heads, queries;
    size_t keys;  /* 1 .. NATIVE_ATTENTION_KEYS */
    size_t width; /* 1 .. NATIVE_ATTENTION_WIDTH */
    size_t value_width;
    float scale, fill;
    native_empty empty;
} native_attention;

/* One ISA. `f` is a number of the list in plan/ops.def that the comment names. */
typedef struct native_kernels {
    mtl_isa isa;
    const char *name; /* "generic", "avx2", "avx512"; "reference" */
    unsigned lanes;   /* floats of its vectors */

    /* y overlaps nothing. */
    void (*linear)(const native_linear *call);

    /* y[i] = f(x[i]), PLAN_UNARY of float32 to float32 (all but not, isnan, isinf); in place allowed. Parameters a, b:
     * elu, celu, leaky_relu, thresholded_relu, swish: alpha; selu: alpha, gamma; hard_sigmoid: alpha, beta;
     * gelu: 1 is the tanh form; clip: low, high. Others ignore them. */
    void (*unary)(plan_unary f, float a, float b, const float *x, float *y, size_t n);

    /* y[i] = f(a[i * a_step], b[i * b_step]), steps 0 (a scalar) or 1. In place allowed where the step is 1.
     * `binary`: PLAN_BINARY add .. prelu; `compare`: equal .. greater_or_equal, y 0 or 1. */
    void (*binary)(plan_binary f, const float *a, size_t a_step, const float *b, size_t b_step, float *y, size_t n);
    void (*compare)(plan_binary f, const float *a, size_t a_step, const float *b, size_t b_step, uint8_t *y, size_t n);

    /* x, y (outer, n, inner), along n. In place allowed. */
    void (*softmax)(plan_softmax f, const float *x, float *y, size_t outer, size_t n, size_t inner);

    /* x (outer, n, inner), y (outer, inner). y overlaps nothing. */
    void (*reduce)(plan_reduce f, const float *x, float *y, size_t outer, size_t n, size_t inner);

    /* y (m, n) = a (m, k) x b (k, n); elements of a row are adjacent, rows are a_stride, b_stride, y_stride apart (0 is
     * allowed for a and b: one row for all). For one element of a batch: m, k, n are small. y overlaps nothing. */
    void (*matmul)(const float *a, size_t a_stride, const float *b, size_t b_stride, float *y, size_t y_stride,
                   size_t m, size_t k, size_t n);

    /* x, y (outer, n): (x - mean) / sqrt(variance + epsilon) * scale + bias over each row; scale, bias (n) or NULL. In
     * place allowed. */
    void (*layer_norm)(const float *x, const float *scale, const float *bias, float epsilon, float *y, size_t outer,
                       size_t n);

    /* y overlaps nothing. 0 experts: zeros. */
    void (*mix)(const native_mix *call);

    /* y overlaps nothing. */
    void (*gru)(const native_gru *call);

    /* One element after the other, from the neutral element on. In place allowed. */
    void (*scan)(const native_scan *call, const float *x, float *y);

    /* y overlaps nothing. */
    void (*bag)(const native_bag *call);
    /* y overlaps nothing. */
    void (*attention)(const native_attention *call);
} native_kernels;

/* The kernels of one ISA; NULL when this build or this CPU (its operating system included) lacks it. AUTO: the best
 * that there is, never NULL. Thread-safe. */
const native_kernels *native_select(mtl_isa isa);

/* The same functions as straightforward C loops with libm, for tests; `isa` is GENERIC. */
const native_kernels *native_reference(void);

/* The numbers that the sums of row r begin with; the call has a start. */
static inline const float *native_linear_start(const native_linear *call, size_t r)
{
    return call->start + call->start_stride * (call->start_rows != NULL ? (size_t)call->start_rows[r] : r);
}

/* A grouped linear layer: x (rows, groups, k), rows call->x_stride and groups x_group apart; y likewise. w, bias hold
 * the groups one after the other: `groups` x panels, `groups` x padded n. start (rows, groups, n), groups n apart. */
void native_linear_grouped(const native_kernels *kernels, const native_linear *call, size_t groups, size_t x_group,
                           size_t y_group);

/* Layers of at most so many columns may be summed in another order than panels of wider ones. */
enum { NATIVE_FEW_COLUMNS = 4 };

/* Columns [from, to) of a linear layer with the bits that they have when all are computed: from a multiple of
 * PLAN_PANEL, to one or n. Where to is n, more than NATIVE_FEW_COLUMNS, unless from is 0 or act_columns. */
native_linear native_linear_columns(const native_linear *call, size_t from, size_t to);

/* Floats of PANELS (k, n), of PADDED (n). */
static inline size_t native_padded(size_t n)
{
    return (n + PLAN_PANEL - 1) / PLAN_PANEL * PLAN_PANEL;
}
static inline size_t native_panels(size_t k, size_t n)
{
    return native_padded(n) * k;
}

/* --- Other dtypes and moves: plain C, the same for every ISA. --- */

/* PLAN_UNARY neg, abs, sign; the smallest number is its own negative. In place allowed. */
void native_unary_i32(plan_unary f, const int32_t *x, int32_t *y, size_t n);
void native_unary_i64(plan_unary f, const int64_t *x, int64_t *y, size_t n);
/* PLAN_UNARY not (bool to bool; in place allowed); isnan, isinf (float32 to bool). */
void native_not(const uint8_t *x, uint8_t *y, size_t n);
void native_test(plan_unary f, const float *x, uint8_t *y, size_t n);

/* As in native_kernels, and bit_and .. shift_right_zero. Integers wrap; division and modulo by zero give 0; pow with a negative exponent truncates (0
 * for base 0). prelu: x < 0 ? slope * x : x. */
void native_binary_i32(plan_binary f, const int32_t *a, size_t a_step, const int32_t *b, size_t b_step, int32_t *y,
                       size_t n);
void native_binary_i64(plan_binary f, const int64_t *a, size_t a_step, const int64_t *b, size_t b_step, int64_t *y,
                       size_t n);
void native_compare_i32(plan_binary f, const int32_t *a, size_t a_step, const int32_t *b, size_t b_step, uint8_t *y,
                        size_t n);
void native_compare_i64(plan_binary f, const int64_t *a, size_t a_step, const int64_t *b, size_t b_step, uint8_t *y,
                        size_t n);
/* PLAN_BINARY and, or, xor, equal on bools. In place allowed. */
void native_logic(plan_binary f, const uint8_t *a, size_t a_step, const uint8_t *b, size_t b_step, uint8_t *y,
                  size_t n);

/* x (outer, n, inner), y (outer, inner). Sums and products wrap; mean truncates; max, min of nothing are the least and
 * the greatest number. */
void native_reduce_i32(plan_reduce f, const int32_t *x, int32_t *y, size_t outer, size_t n, size_t inner);
void native_reduce_i64(plan_reduce f, const int64_t *x, int64_t *y, size_t outer, size_t n, size_t inner);

/* As in native_kernels; sums and products wrap. In place allowed. */
void native_scan_i32(const native_scan *call, const int32_t *x, int32_t *y);
void native_scan_i64(const native_scan *call, const int64_t *x, int64_t *y);

#define NATIVE_ROW_ZERO ((int64_t)-1) /* instead of the number of a row: zeros */

/* A table, and what ids outside of 0 .. count - 1 do. */
typedef struct native_lookup {
    const char *table;
    size_t row_bytes;
    int64_t count;   /* rows */
    plan_ids policy; /* onnx: ids below 0 count from the end */
    int64_t row;     /* of policy `row` */
    bool ahead;      /* ask for the rows now: for tables that no cache near the core holds */
} native_lookup;

/* The rows of n ids; *outside grows by those that a policy found one for. Returns n, or the position of the first id that
 * is refused; rows before it are there. */
size_t native_find_rows(const native_lookup *lookup, const int64_t *ids, size_t n, int64_t *rows, uint64_t *outside);

/* y[i] = row rows[i] of the table, or zeros for NATIVE_ROW_ZERO; rows of y are y_stride_bytes apart. */
void native_take_rows(const void *table, size_t row_bytes, const int64_t *rows, size_t n, void *y,
                      size_t y_stride_bytes);

/* top_k of x (outer, n, inner), contiguous: y (outer, k, inner), k <= n, gets the places along n of the k largest (else
 * smallest) elements, best first; of equal ones the first. NaN counts as larger than all numbers. */
void native_top_k_f32(const float *x, int64_t *y, size_t outer, size_t n, size_t inner, size_t k, bool largest);
void native_top_k_i32(const int32_t *x, int64_t *y, size_t outer, size_t n, size_t inner, size_t k, bool largest);
void native_top_k_i64(const int64_t *x, int64_t *y, size_t outer, size_t n, size_t inner, size_t k, bool largest);

/* data (outer, count, row_bytes), indices (outer, n), y (outer, n, row_bytes), contiguous: y[o, i] is row indices[o, i] of
 * data[o], negative ones from the end. Returns outer x n, or the position of the first index that is outside. */
size_t native_batch_gather_i32(const void *data, const int32_t *indices, void *y, size_t outer, size_t count,
                               size_t row_bytes, size_t n);
size_t native_batch_gather_i64(const void *data, const int64_t *indices, void *y, size_t outer, size_t count,
                               size_t row_bytes, size_t n);

/* Copies `rows` rows of `row_bytes`; rows are x_stride_bytes and y_stride_bytes apart. */
void native_copy_2d(const void *x, size_t x_stride_bytes, void *y, size_t y_stride_bytes, size_t rows,
                    size_t row_bytes);

#endif
