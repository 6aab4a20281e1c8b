/* Private to the files of lowering: schedule.c orders and places, tensors.c writes tensors, steps.c writes steps. */
#ifndef COMPILER_LOWERING_H
#define COMPILER_LOWERING_H

#include "compiler/lower.h"

/* One step to be: a node, or the copy of a value into output `output`. */
typedef struct compiler_item {
    ir_node node;   /* 0: a copy */
    int32_t output; /* -1: a node */
    bool row;       /* in the row program, else in the request program */
} compiler_item;

/* Where the values of one storage group (a value and its free views) lie. */
typedef struct compiler_slot {
    plan_storage storage; /* 0: not placed yet */
    uint32_t index;       /* INPUT, OUTPUT, PARAM */
    uint64_t offset;      /* REQUEST, ROW, PARAM; CONST */
} compiler_slot;

typedef struct compiler_lowering {
    const ir_graph *graph;
    base_arena *arena;
    base_diag *diag;
    plan_builder *builder;
    bool whole_batch;
    ir_value whole_batch_value;
    compiler_item *items; /* the request program, then the row program */
    uint32_t item_count, request_count;
    ir_value *root;       /* by value: the value whose storage it views */
    compiler_slot *slots; /* by root value */
    int32_t *direct;      /* by output: nonzero when its value is computed in place, without a copy */
    uint32_t *tensors;    /* by value: its dense tensor record, or PLAN_NONE */
    uint64_t row_bytes, request_bytes;
} compiler_lowering;

/* Orders the steps, finds views, and places every value that a step makes. */
mtl_status compiler_schedule(compiler_lowering *lowering);

/* Whether a node costs nothing: its result is its operand under another shape. */
bool compiler_is_view(const compiler_lowering *lowering, ir_node node);
/* Whether all extents before the candidates' axis are 1, so that a tile of it is one piece of memory. */
bool compiler_rows_lead(const ir_type *type);

/* A record of the given shape on a given place. */
mtl_status compiler_record(compiler_lowering *lowering, const char *name, const ir_type *type, compiler_slot slot,
                           plan_layout layout, uint32_t *tensor);
/* The record of a value's own shape (constants: dense bytes). */
mtl_status compiler_tensor(compiler_lowering *lowering, ir_value value, uint32_t *tensor);
/* The record of the constant that a param is until a host sets another. */
mtl_status compiler_default_tensor(compiler_lowering *lowering, ir_value param, uint32_t *tensor);
/* A record with another shape on the storage of `value`, which no constant is. */
mtl_status compiler_view_tensor(compiler_lowering *lowering, ir_value value, const ir_type *type, uint32_t *tensor);
/* Weights (K, N) or (G, K, N) in panels; a bias (N) or (G, N) padded. Both float32. */
mtl_status compiler_panels_tensor(compiler_lowering *lowering, ir_value weights, uint32_t *tensor);
mtl_status compiler_padded_tensor(compiler_lowering *lowering, ir_value bias, uint32_t *tensor);

/* Appends the step of a node. */
mtl_status compiler_emit_node(compiler_lowering *lowering, ir_node node);

#endif
