/* Private to the files of lowering: views.c finds what needs no step, spans.c what padding leaves out, schedule.c orders and places, tensors.c writes tensors, steps.c writes steps. */
#ifndef COMPILER_LOWERING_H
#define COMPILER_LOWERING_H

#include "compiler/lower.h"

/* One step to be: a node, the copy of one operand of a concatenation into its place, or of a value into an output. */
typedef struct compiler_item {
    ir_node node;    /* 0: into output `output` */
    int32_t output;  /* -1: a node, ... */
    int32_t operand; /* ... of which this one is copied; -1: all of its work */
    bool row;        /* in the row program, else in the request program */
} compiler_item;

/* Columns of wider rows, in elements, as in plan_tensor; pitch 0: the whole storage. */
typedef struct compiler_window {
    uint32_t start, pitch;
} compiler_window;

/* Where the values of one storage group (a value, its free views, and what is computed into it) lie. */
typedef struct compiler_slot {
    plan_storage storage;   /* 0: not placed yet */
    uint32_t index;         /* INPUT, OUTPUT, PARAM */
    uint64_t offset;        /* REQUEST, ROW, PARAM; CONST */
    compiler_window window; /* of one value; none in compiler_lowering.slots */
    bool per_user;          /* of one value: its candidates are users */
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
    ir_value *root;           /* by value: the value whose storage it lies in, ... */
    compiler_window *windows; /* ... and where */
    bool *viewed;             /* by value: no step makes it, it reads another's storage */
    ir_value *spans;          /* by node: the mask of its step's span, 0: it has none */
    bool *in_place;           /* by node: a concatenation that some operand is computed into; the others are copied */
    compiler_slot *slots;     /* by root value */
    int32_t *direct;          /* by output: nonzero when its value is computed in place, without a copy */
    uint32_t *tensors;        /* by value: its dense tensor record, or PLAN_NONE */
    uint64_t row_bytes, request_bytes;
} compiler_lowering;

/* Orders the steps and places every value that a step makes. */
mtl_status compiler_schedule(compiler_lowering *lowering);

/* Fills root, windows, viewed and in_place. After whole_batch is known. */
mtl_status compiler_find_views(compiler_lowering *lowering);
/* Whether operand `operand` of a concatenation in place is to be copied, and where to. */
bool compiler_copies_operand(const compiler_lowering *lowering, ir_node node, uint32_t operand, compiler_window *to);
/* The elements of one candidate, UINT64_MAX: too many. */
uint64_t compiler_row_elements(const ir_type *type);
/* The slot of one value: that of its root, and its window. */
compiler_slot compiler_slot_of(const compiler_lowering *lowering, ir_value value);
/* Whether all extents before the candidates' axis are 1, so that a tile of it is one piece of memory. */
bool compiler_rows_lead(const ir_type *type);

/* Fills spans. After the views, and when the callers' memory is placed. */
mtl_status compiler_find_spans(compiler_lowering *lowering);

/* Whether all positions count for a candidate of whom a mask of spans keeps none. */
bool compiler_span_is_whole(const compiler_lowering *lowering, ir_value mask);

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

/* The operation of the step that computes a node of this op. False: a plan has none. */
bool compiler_plan_op(ir_op op, plan_op *result);
/* Appends the step of a node. */
mtl_status compiler_emit_node(compiler_lowering *lowering, ir_node node);
/* Appends the copy of an operand of a concatenation in place. */
mtl_status compiler_emit_operand(compiler_lowering *lowering, ir_node node, uint32_t operand);

#endif
