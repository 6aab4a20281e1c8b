/* Shared by the files of this folder; the only place that includes oneDNN's header. */
#ifndef RUNTIME_ONEDNN_INTERNAL_H
#define RUNTIME_ONEDNN_INTERNAL_H

#include "oneapi/dnnl/dnnl.h"

#include "runtime/onednn/onednn.h"

enum {
    ONEDNN_OPERANDS = ONEDNN_SOURCES + 1, /* the most that a primitive has: the destination is the last */
    ONEDNN_POWERS = 32,                   /* row counts 2^0 .. 2^31 */
    ONEDNN_PARTS = 2,                     /* a linear layer's whole panels, and its last, narrower one */
};

enum { ONEDNN_REFUSED = 64 }; /* bytes */

typedef enum onednn_kind {
    ONEDNN_MATMUL,
    ONEDNN_SOFTMAX,
    ONEDNN_REDUCTION,
    ONEDNN_ELTWISE,
    ONEDNN_BINARY,
    ONEDNN_PRELU,
    ONEDNN_LAYER_NORM,
    ONEDNN_CONCAT,
    ONEDNN_REORDER
} onednn_kind;

/* What a primitive is made from; equal ones are one primitive. */
typedef struct onednn_spec {
    onednn_kind kind;
    dnnl_alg_kind_t algorithm;
    float alpha, beta;
    int axis;
    unsigned flags;                              /* layer norm: dnnl_use_scale, dnnl_use_shift */
    unsigned count;                              /* operands; the last is the destination */
    dnnl_memory_desc_t operand[ONEDNN_OPERANDS]; /* owned */
} onednn_spec;

typedef struct onednn_primitive onednn_primitive;
struct onednn_primitive {
    onednn_primitive *next;
    onednn_spec spec;
    dnnl_primitive_t primitive;
    dnnl_memory_desc_t scratch;
    size_t scratch_bytes;
    size_t index; /* of its memory objects in a session */
    const char *implementation;
};

/* A part covers rows x columns of the output: for each power of two of rows a primitive, called `repeat` times. */
typedef struct onednn_part {
    const onednn_primitive *power[ONEDNN_POWERS];
    size_t repeat, w_step, y_step; /* floats from one repetition to the next */
    size_t w_first, y_first;       /* floats, of the first */
} onednn_part;

/* Weights in a layout of oneDNN's, all groups of a step; the block begins with this. */
typedef struct onednn_copy onednn_copy;
struct onednn_copy {
    onednn_copy *next;
    size_t bytes; /* of the block */
    size_t group; /* floats from one group to the next */
    const float *weights;
};

struct onednn_step {
    onednn_step *next;
    onednn_part part[ONEDNN_PARTS];
    unsigned part_count, power_count, operand_count;
    bool swapped;                /* its two sources, for oneDNN */
    const onednn_copy *copy;     /* linear: weights to use instead of the call's; or NULL */
    size_t y_size;               /* bytes of an element of y; 0: 4 */
    size_t row[ONEDNN_OPERANDS]; /* floats from one row of an operand to the next; 0: the same for all */
    size_t n, groups, group[ONEDNN_OPERANDS], bias_group; /* linear only; floats between groups */
};

struct onednn_context {
    mtl_allocator allocator;
    const native_kernels *kernels;
    dnnl_engine_t engine;
    onednn_primitive *primitives;
    onednn_step *steps;
    onednn_copy *copies;
    size_t primitive_count, scratch_bytes;
    char refused[ONEDNN_REFUSED]; /* see onednn_refused */
};

/* The calling thread's OpenMP count is 1 between the two; `quiet` gives what `restore` takes. */
int onednn_quiet(void);
void onednn_restore(int threads);

/* MTL_OK, or what a oneDNN status is for us; `what` is for the message. */
mtl_status onednn_check(dnnl_status_t status, const char *what, base_diag *diag);

/* The layout of weights that oneDNN likes best for so many rows, which the caller destroys; MTL_UNSUPPORTED where our
 * panels are as good. */
mtl_status onednn_own_layout(onednn_context *context, const onednn_linear *shape, size_t rows, base_diag *diag,
                             dnnl_memory_desc_t *layout);
/* A copy of `shape->w`, owned by the context. */
mtl_status onednn_copy_weights(onednn_context *context, const onednn_linear *shape, const_dnnl_memory_desc_t layout,
                               base_diag *diag, const onednn_copy **copy);

/* The primitive for `spec`, made or found. Takes over the spec's descriptors in any case. */
mtl_status onednn_find(onednn_context *context, onednn_spec *spec, base_diag *diag, const onednn_primitive **found);

#endif
