/* The oneDNN provider: steps of a plan as oneDNN primitives, created at load for every power of two of rows up to a
 * tile's height, so that any number of rows is a sum of calls and nothing is created at run.
 *
 * An onednn_context holds the primitives of one plan: filled by one thread while the plan is opened, immutable and
 * shared from then on. An onednn_session holds the memory objects of one session, which oneDNN cannot share between
 * threads. oneDNN's own threads do not appear: where it was built with OpenMP, creating and executing set the calling
 * thread's OpenMP count to 1 and restore it.
 *
 * All tensors are float32, and dense unless strides are given. "Rows" are whatever the first, variable extent counts.
 * A shape that oneDNN has no primitive for, or only its reference code (implementation names "ref..."), is
 * MTL_UNSUPPORTED from onednn_add_*: nothing is added, nothing is said to `diag`, and the caller takes its native
 * kernel. So is one that would hide a NaN (min, max, relu, ...). A softmax over a row with NaN has NaN in that row, not
 * all over it.
 */
#ifndef RUNTIME_ONEDNN_ONEDNN_H
#define RUNTIME_ONEDNN_ONEDNN_H

#include "base/diag.h"
#include "runtime/native/native.h"

typedef struct onednn_context onednn_context;
typedef struct onednn_session onednn_session;
typedef struct onednn_step onednn_step; /* owned by its context */

enum { ONEDNN_SOURCES = 16 }; /* the most inputs of a step */

/* "3.2.0", of the library that is loaded, and what runs its threads ("omp", "tbb", "sequential", "threadpool"). */
void onednn_version(int *major, int *minor, int *patch, const char **threads);

/* `allocator` (copied) gives the context's and the steps' memory, except what oneDNN allocates for itself. `kernels`
 * are for what follows a product (bias, activation). Errors: MTL_OUT_OF_MEMORY, MTL_INTERNAL (oneDNN has no CPU
 * engine). */
mtl_status onednn_context_create(const mtl_allocator *allocator, const native_kernels *kernels, base_diag *diag,
                                 onednn_context **context);
void onednn_context_destroy(onednn_context *context); /* NULL is allowed; after all its sessions */

/* Every onednn_add_* takes the most rows that one primitive shall handle, at least 1 (more rows at run are several
 * calls), and gives a step that lives as long as the context. Equal primitives are shared. Errors: MTL_UNSUPPORTED as
 * above; MTL_OUT_OF_MEMORY, MTL_INTERNAL with a message. */

/* As native_linear_grouped: x (rows, groups, k), y (rows, groups, n) with these strides in elements. w PANELS are read in
 * place, or copied where oneDNN has a faster kernel for a layout of its own: once, when the step is added. */
typedef struct onednn_linear {
    size_t k, n, groups;
    size_t x_stride, x_group, y_stride, y_group;
    const float *w; /* the weights, or NULL: no copy of them is made */
} onednn_linear;
mtl_status onednn_add_linear(onednn_context *context, const onednn_linear *shape, size_t max_rows, base_diag *diag,
                             const onednn_step **step);

/* For each row: y (m, n) = a (m, k) x b (k, n); an operand that is not `_per_row` is the same for all rows. */
typedef struct onednn_matmul {
    size_t m, k, n;
    bool a_per_row, b_per_row;
} onednn_matmul;
mtl_status onednn_add_matmul(onednn_context *context, const onednn_matmul *shape, size_t max_rows, base_diag *diag,
                             const onednn_step **step);

/* x, y (rows, n, inner), along n. In place allowed. Inner 1: oneDNN 3.2 has others as reference code only. */
mtl_status onednn_add_softmax(onednn_context *context, plan_softmax f, size_t n, size_t inner, size_t max_rows,
                              base_diag *diag, const onednn_step **step);

/* x (rows, n, inner), y (rows, inner). Sum, mean, prod; inner 1 (oneDNN 3.2 has others as reference code only). */
mtl_status onednn_add_reduce(onednn_context *context, plan_reduce f, size_t n, size_t inner, size_t max_rows,
                             base_diag *diag, const onednn_step **step);

/* x, y (rows, n). In place allowed. MTL_UNSUPPORTED for functions that oneDNN lacks, or whose NaN
 * it loses (relu, exp, clip, hard_sigmoid). mish, swish, hard_swish, gelu give NaN for -infinity, where ours give 0. */
mtl_status onednn_add_unary(onednn_context *context, plan_unary f, float a, float b, size_t n, size_t max_rows,
                            base_diag *diag, const onednn_step **step);

/* y (rows, m, n); an operand has each of these extents, or 1. In place allowed for one that has all (not for
 * comparisons). add, mul: one operand has all; sub, div: a has all. prelu: a has all, the slopes (b) are not one number.
 * equal, less, less_or_equal: y is bool; a has all (equal: either); greater, greater_or_equal are those turned round: b
 * has all. */
typedef struct onednn_extents {
    bool rows, m, n;
} onednn_extents;
typedef struct onednn_binary {
    size_t m, n;
    onednn_extents a, b;
} onednn_binary;
mtl_status onednn_add_binary(onednn_context *context, plan_binary f, const onednn_binary *shape, size_t max_rows,
                             base_diag *diag, const onednn_step **step);

/* Inputs: x (rows, n), then scale (n) and bias (n) as far as there; y (rows, n). In place allowed. */
mtl_status onednn_add_layer_norm(onednn_context *context, size_t n, bool scale, bool bias, float epsilon,
                                 size_t max_rows, base_diag *diag, const onednn_step **step);

/* y (rows, sum of widths) is the `count` inputs (rows, widths[i]) side by side. */
mtl_status onednn_add_concat(onednn_context *context, const size_t *widths, size_t count, size_t max_rows,
                             base_diag *diag, const onednn_step **step);

/* y (rows, extents...) dense, from x with `rank` + 1 strides in elements, that of the rows first. */
mtl_status onednn_add_move(onednn_context *context, const size_t *extents, unsigned rank, const size_t *strides,
                           size_t max_rows, base_diag *diag, const onednn_step **step);

/* The implementation ("ref:any") for which onednn_add_* refused a shape since the last call with `forget`; or NULL. */
const char *onednn_refused(onednn_context *context, bool forget);

/* Bytes of the copy of a step's weights; 0: it has none. */
size_t onednn_copied_bytes(const onednn_step *step);

/* What oneDNN chose for the most rows ("brg:avx512_core", ...); for `mtlrun info`. Lives as long as the step. */
const char *onednn_step_implementation(const onednn_step *step);

/* A session, after the last onednn_add_*. `scratch` holds onednn_scratch_bytes(context) bytes (may be 0), aligned to
 * 64, and outlives the session; only this session uses it. Memory comes from the context's allocator or `allocator` if
 * not NULL (copied). */
size_t onednn_scratch_bytes(const onednn_context *context);
mtl_status onednn_session_create(const onednn_context *context, const mtl_allocator *allocator, void *scratch,
                                 base_diag *diag, onednn_session **session);
void onednn_session_destroy(onednn_session *session); /* NULL is allowed */

/* Runs a step added by onednn_add_linear: x, w, bias, start, y, rows, act, a, b are read from the call; its strides, k and n
 * are those of the step. Errors: MTL_INTERNAL (oneDNN refused; y is unspecified). */
mtl_status onednn_run_linear(onednn_session *session, const onednn_step *step, const native_linear *call,
                             base_diag *diag);
/* Runs any other step: its inputs in the order of their functions above; y is float32, or bool for a comparison. */
mtl_status onednn_run(onednn_session *session, const onednn_step *step, const float *const *inputs, void *y,
                      size_t rows, base_diag *diag);

#endif
