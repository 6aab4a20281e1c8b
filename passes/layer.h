/* What comes after a linear layer and can become part of it: scales, shifts, an activation. Private to passes/. */
#ifndef PASSES_LAYER_H
#define PASSES_LAYER_H

#include "passes/rewrite.h"

enum { PASSES_LAYER_DEPTH = 16 };

/* An axis of a value: along a column axis the columns of the layer vary, column = index x stride + ... */
typedef struct passes_axis {
    bool column;
    int64_t stride;
} passes_axis;

/* A linear node without activation, seen through the transposes and reshapes that follow it. */
typedef struct passes_layer {
    ir_node node;
    int64_t groups, k, n;           /* of its weights; columns are groups x n */
    ir_value value;                 /* the last of the moves, or the layer's own result */
    int depth;                      /* moves between the two */
    bool tracked;                   /* whether `axes` are known */
    passes_axis axes[MTL_MAX_RANK]; /* of `value` */
} passes_layer;

/* Whether `value` is what a linear layer without activation or start gives, moved or not, and nobody else reads that. */
bool passes_find_layer(const passes_rewriter *r, ir_value value, passes_layer *layer);

/* The constant `c`, broadcast to the type of layer->value, as one number a column (in the scratch arena). *vector is
 * NULL when the constant varies along other axes or would enlarge the value. */
mtl_status passes_layer_vector(passes_rewriter *r, const passes_layer *layer, ir_value c, double **vector);

/* `reader`, which reads layer->value, computes value x scale + shift (a number a column; NULL: 1 and 0): from now on the
 * layer does that itself, and `reader` is gone or is the layer. A first bias is named after `like`. */
mtl_status passes_absorb_affine(passes_rewriter *r, const passes_layer *layer, ir_node reader, const double *scale,
                                const double *shift, ir_value like);
/* The same for a `reader` that applies a unary function. */
mtl_status passes_absorb_activation(passes_rewriter *r, const passes_layer *layer, ir_node reader);

/* `vector`, the constant operand of `op`, as scale and shift of the other one, a number each (`ones` is room for as many).
 * `constant_last`: it is the second operand. False: the operation is no such thing. */
bool passes_as_affine(ir_op op, bool constant_last, double *vector, int64_t count, double *ones, const double **scale,
                      const double **shift);

/* The operand of `layer`, which `maker` makes, is x scale + shift (a number for each of the layer's groups x k rows of weights;
 * NULL: 1 and 0): from now on the layer reads x, W' = diag(scale) W, b' = shift W + b. A first bias is named after
 * `like`. */
mtl_status passes_feed_affine(passes_rewriter *r, ir_node layer, ir_node maker, ir_value x, const double *scale,
                              const double *shift, ir_value like);

/* How many of a linear node's four operands are to be written: absent ones at the end are not. */
uint32_t passes_layer_operands(const ir_value *operands);

/* A constant of float64 numbers in the graph's arena, named after `like`. The numbers belong to it alone: the pass may
 * change them in place. */
mtl_status passes_add_floats(passes_rewriter *r, ir_value like, mtl_dtype dtype, int rank, const int64_t *shape,
                             const double *numbers, ir_value *value);

/* How large a shift of rows may be, in units of what a layer reads, to go into its bias: in x W + t W the digits cancel that
 * x + t keeps. Inputs that are normalised by a mean far from 0 are shifted before the product. */
#define PASSES_NEAR 16.0

#endif
