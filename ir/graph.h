/* The IR: a graph of nodes over values, in topological order. Arrays with 32-bit ids, no pointers between nodes.
 *
 * A graph and everything in it lives in one arena, which its maker owns. Not thread-safe.
 * The map of this folder:
 *   ops.def attrs.def  the tables         graph.c    nodes, values, constants: build, replace, remove
 *   tables.c           the tables as data tensor.c   elements of constants
 *   read.c             questions, errors  names.c    names of values
 *   sort.c             topological order
 *   dim.c              symbolic extents   infer*.c   types and symbolic contents of a node's results
 *   rate.c             rates of values    eval*.c    reference evaluator (float64, int64)
 *   print.c parse.c    the text form      verify.c   the invariants below
 *   lex.c text.c       its words              chain.c    the program of a chain
 *   params.c           which param a value is made of   lookup.c   ids outside of their table
 *   extract.c          a part as a graph of its own
 *   attention.c        attention: inference, evaluation
 *   einsum.c           einsum by transpose, reshape, matmul
 */
#ifndef IR_GRAPH_H
#define IR_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/diag.h"
#include "ir/dim.h"
#include "mtlc/runtime.h" /* mtl_dtype, MTL_MAX_RANK */

typedef enum ir_op {
#define OP(name, ...) IR_OP_##name,
#include "ir/ops.def"
#undef OP
    IR_OP_COUNT
} ir_op;

typedef enum ir_attr_key {
#define ATTR(name, kind) IR_ATTR_##name,
#include "ir/attrs.def"
#undef ATTR
    IR_ATTR_COUNT
} ir_attr_key;

typedef enum ir_attr_kind { IR_KIND_INT, IR_KIND_FLOAT, IR_KIND_INTS, IR_KIND_STRING, IR_KIND_DTYPE } ir_attr_kind;

/* 0 is no value and no node. */
typedef uint32_t ir_value;
typedef uint32_t ir_node;

typedef struct ir_attr {
    ir_attr_key key;
    int64_t i;           /* INT, DTYPE */
    double f;            /* FLOAT */
    const int64_t *ints; /* INTS */
    size_t count;        /* INTS */
    const char *text;    /* STRING */
} ir_attr;

/* For lists of attributes at a call of ir_insert: (ir_attr[]){IR_INT(axis, 1), IR_INTS(perm, p, 3)}. */
#define IR_INT(name, value)                                                                                            \
    {                                                                                                                  \
        .key = IR_ATTR_##name, .i = (value)                                                                            \
    }
#define IR_FLOAT(name, value)                                                                                          \
    {                                                                                                                  \
        .key = IR_ATTR_##name, .f = (value)                                                                            \
    }
#define IR_INTS(name, values, n)                                                                                       \
    {                                                                                                                  \
        .key = IR_ATTR_##name, .ints = (values), .count = (size_t)(n)                                                  \
    }
#define IR_STRING(name, value)                                                                                         \
    {                                                                                                                  \
        .key = IR_ATTR_##name, .text = (value)                                                                         \
    }
#define IR_DTYPE(name, value)                                                                                          \
    {                                                                                                                  \
        .key = IR_ATTR_##name, .i = (int64_t)(value)                                                                   \
    }

/* Every value has a known dtype, rank and symbolic shape: there is no "unknown" in a graph. */
typedef struct ir_type {
    mtl_dtype dtype;
    int32_t rank; /* 0 .. MTL_MAX_RANK */
    ir_dim dim[MTL_MAX_RANK];
} ir_type;

/* A dense row-major tensor with a fixed shape. Floats that we computed are float64 (`f`) and integers and booleans
 * int64 (`i`), whatever `dtype` says they stand for: constants are rounded once, when the plan is written. A constant
 * that came from a file stays as its bytes (`raw`) until somebody asks; exactly one of raw, f, i is not NULL. */
typedef struct ir_tensor {
    mtl_dtype dtype;
    int32_t rank;
    int64_t shape[MTL_MAX_RANK];
    size_t count; /* elements */
    const void *raw;
    const double *f;
    const int64_t *i;
} ir_tensor;

/* How often a value changes. ROW: axis `axis` carries the candidates, its extent is before x B x after, and element
 * (a, b, c) of that axis, read as (before, B, after), belongs to candidate b. A ROW value that is PER_USER is the same
 * for all candidates of one user: no input that differs between them goes into it. It keeps its shape with B in the
 * graph; lowering makes it a value of the request program, with the users in the place of the candidates. */
typedef enum ir_rate_kind { IR_RATE_CONST, IR_RATE_REQUEST, IR_RATE_ROW, IR_RATE_BATCH } ir_rate_kind;

typedef struct ir_rate {
    ir_rate_kind kind;
    int32_t axis;
    int64_t before, after;
    bool per_user;
} ir_rate;

/* A PARAM is a constant that the host may change between runs: it has numbers, but nobody may rely on them. */
typedef enum ir_value_kind { IR_VALUE_NODE, IR_VALUE_INPUT, IR_VALUE_CONST, IR_VALUE_PARAM } ir_value_kind;

typedef struct ir_value_info {
    ir_value_kind kind;
    const char *name; /* unique in the graph; never NULL */
    ir_type type;
    ir_node node;            /* NODE: the one that makes it */
    const ir_tensor *tensor; /* CONST; PARAM: the value until the host sets another */
    /* Integers (and booleans) of rank 0 or 1 whose elements inference knows as symbolic expressions: `content_count`
     * of them, else NULL. Constants of up to IR_CONTENT_MAX elements have it too. */
    const ir_dim *content;
    size_t content_count;
    ir_rate rate;  /* valid after ir_infer_rates, until the graph changes */
    bool per_user; /* INPUT: declared to be the same for all candidates of one user */
} ir_value_info;

enum { IR_CONTENT_MAX = 64 };

/* What `attention` takes: short sequences. */
enum { IR_ATTENTION_KEYS = 512, IR_ATTENTION_WIDTH = 256 };

typedef struct ir_node_info {
    ir_op op;
    ir_node previous, next; /* topological order; 0 at the ends */
    uint32_t input_count, output_count, attr_count;
    ir_value *inputs; /* 0: an absent optional operand */
    ir_value *outputs;
    ir_attr *attrs;
    /* Nodes of the source model that this one does the work of: indices into ir_graph.sources. */
    uint32_t source_count;
    uint32_t *sources;
} ir_node_info;

/* A node of the source model and what became of it, for --explain. */
typedef struct ir_source {
    const char *name;
    const char *op;   /* in the source's words: "Gemm" */
    const char *fate; /* why no node of ours does its work any more ("folded to a constant"); NULL: one does */
    const char *note; /* what --explain says about it besides; NULL: nothing. A constant string. */
} ir_source;

/* Columns of an input of the model that the graph takes apart: the next `count` columns of `input` are those from `from` on
 * of the model's `source`, whose last axis has `width`. For people and their tools: nothing is computed from it, and the
 * text form does not have it. */
typedef struct ir_columns {
    const char *source;
    ir_value input;
    int64_t from, count, width;
} ir_columns;

typedef struct ir_output {
    const char *name;
    ir_value value;
} ir_output;

typedef struct ir_graph {
    base_arena *arena;
    const char *name;
    ir_symbols symbols;    /* of all dims; symbol IR_SYMBOL_ROWS is the candidates */
    ir_value_info *values; /* [1 .. value_count) */
    uint32_t value_count, value_capacity;
    ir_node_info *nodes; /* [1 .. node_count), removed ones included: walk with first_node and next */
    uint32_t node_count, node_capacity;
    ir_node first_node, last_node;
    ir_value *inputs;
    uint32_t input_count;
    ir_value *params;
    uint32_t param_count;
    ir_output *outputs;
    uint32_t output_count;
    ir_columns *columns; /* those of an input in order */
    uint32_t column_count;
    ir_source *sources;
    uint32_t source_count, source_capacity;
    uint32_t current_source; /* given to nodes that are inserted; UINT32_MAX: none */
    size_t fold_byte_budget; /* largest constant that folding may create, bytes; 0: 256 MiB */
    void *names;             /* names in use, of values and outputs; private to graph.c */
} ir_graph;

/* --- tables ------------------------------------------------------------------------------------------------- */

typedef struct ir_op_info {
    const char *name;
    int min_inputs, max_inputs, outputs;
    uint64_t required, optional; /* bit 1 << ir_attr_key */
} ir_op_info;

const ir_op_info *ir_op_table(ir_op op);
bool ir_op_find(const char *name, ir_op *op);
bool ir_op_is_unary(ir_op op);  /* element-wise on one operand of one dtype: what `act` of linear may name if float */
bool ir_op_is_binary(ir_op op); /* element-wise on two operands */
bool ir_op_is_float_function(ir_op op); /* one of both, and floats to floats: a step of a chain */
const char *ir_attr_name(ir_attr_key key);
ir_attr_kind ir_attr_key_kind(ir_attr_key key);
bool ir_attr_find(const char *name, ir_attr_key *key);
const char *ir_dtype_name(mtl_dtype dtype); /* the text form's: "f32", "i64", "bool"; "?" for no dtype */
bool ir_dtype_find(const char *name, mtl_dtype *dtype);

/* --- errors --------------------------------------------------------------------------------------------------- */

/* base_fail with the node's place in front: "node '/gate/Gemm' (Gemm): " after its first source, else after the graph's
 * current source, else "node 'h' (linear): " after its result and op. Node 0: only the current source, or no prefix. */
mtl_status ir_fail(const ir_graph *graph, ir_node node, base_diag *diag, mtl_status status, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* --- building ----------------------------------------------------------------------------------------------- */

mtl_status ir_graph_new(base_arena *arena, base_diag *diag, ir_graph **graph);

/* A name like `wish` that no value has yet ("wish", "wish.1", ...); NULL wish: "v". Copied. NULL: no memory. */
const char *ir_unique_name(ir_graph *graph, const char *wish);

mtl_status ir_add_input(ir_graph *graph, const char *name, const ir_type *type, base_diag *diag, ir_value *value);
/* Says which columns of the model's input come next in `input`. The text is copied. */
mtl_status ir_add_columns(ir_graph *graph, const ir_columns *columns, base_diag *diag);
/* Declares that all candidates of one user have the same rows in an input, whose first axis is the candidates (1 x B). */
mtl_status ir_set_per_user(ir_graph *graph, ir_value input, base_diag *diag);
/* Data is not copied and must live as long as the graph. */
mtl_status ir_add_const(ir_graph *graph, const char *name, const ir_tensor *tensor, base_diag *diag, ir_value *value);
/* The same for a param, whose name must be free: hosts know it by that. A float32 tensor of at least one element. */
mtl_status ir_add_param(ir_graph *graph, const char *name, const ir_tensor *tensor, base_diag *diag, ir_value *value);
/* Makes a constant that nothing has read yet a param. */
mtl_status ir_make_param(ir_graph *graph, ir_value value, base_diag *diag);
/* Copies the numbers into the arena. */
mtl_status ir_add_const_ints(ir_graph *graph, const int64_t *values, size_t count, int rank, base_diag *diag,
                             ir_value *value);
mtl_status ir_add_const_float(ir_graph *graph, double number, mtl_dtype dtype, base_diag *diag, ir_value *value);
mtl_status ir_add_output(ir_graph *graph, const char *name, ir_value value, base_diag *diag);

/* Inserts a node before `before` (0: at the end), infers the types of its results and returns the first. Operands and
 * attributes are copied. `name` is a wish for the result's name and may be NULL. The node does the work of
 * graph->current_source. Errors name the node and the operands' types. */
mtl_status ir_insert(ir_graph *graph, ir_node before, ir_op op, const char *name, const ir_value *inputs,
                     size_t input_count, const ir_attr *attrs, size_t attr_count, base_diag *diag, ir_value *result);

/* The same for ops whose result type is part of the node (reshape, expand, slice with given extents). Fails when the
 * type contradicts the operands. */
mtl_status ir_insert_typed(ir_graph *graph, ir_node before, ir_op op, const char *name, const ir_value *inputs,
                           size_t input_count, const ir_attr *attrs, size_t attr_count, const ir_type *type,
                           base_diag *diag, ir_value *result);

/* Every use of `old` (operands and graph outputs) becomes `new`, which must be defined before them. When `old` is
 * a graph output's value and `new` has a made-up name, nothing is renamed: outputs carry their own names. */
void ir_replace(ir_graph *graph, ir_value old, ir_value new_value);

/* Operands and attributes against the op's row of ops.def; ir_insert and ir_verify do it. */
mtl_status ir_check_form(const ir_graph *graph, ir_node node, base_diag *diag);

/* Unlinks a node; its results must have no uses left. */
void ir_remove(ir_graph *graph, ir_node node);

/* Puts the nodes into topological order, close to the one they have. Fails (MTL_INVALID_DATA) on a cycle. */
mtl_status ir_sort(ir_graph *graph, base_diag *diag);

/* `into` takes over the sources of `from` (before `from` is removed because `into` now does its work). */
mtl_status ir_take_sources(ir_graph *graph, ir_node into, ir_node from, base_diag *diag);
/* Gives a node these sources (copied) instead of those it has. */
mtl_status ir_set_sources(ir_graph *graph, ir_node node, const uint32_t *sources, uint32_t count, base_diag *diag);
/* Says why the sources of `node` will have no node any more. `fate` is a constant string. */
void ir_set_fate(ir_graph *graph, ir_node node, const char *fate);
mtl_status ir_add_source(ir_graph *graph, const char *name, const char *op, base_diag *diag, uint32_t *source);

/* The value of that name; 0: none. */
ir_value ir_find_value(const ir_graph *graph, const char *name);

/* Uses of every value, operands and graph outputs, as an array of value_count from the arena. */
mtl_status ir_count_uses(const ir_graph *graph, base_arena *arena, base_diag *diag, uint32_t **uses);

/* A value of a graph that is an input or output of a part of it. */
typedef struct ir_port {
    const char *name; /* must live as long as the part */
    ir_value value;
    bool per_user; /* an input: declared so */
} ir_port;

/* A new graph in the arena of `graph`: what `outputs` need, with the values `inputs` as its inputs. Constants share their
 * elements with `graph`, params that are needed stay params, nodes keep their names and sources. No value may be an input
 * twice, and every input that is needed must be there. */
mtl_status ir_extract(const ir_graph *graph, const char *name, const ir_port *inputs, size_t input_count,
                      const ir_port *outputs, size_t output_count, base_diag *diag, ir_graph **part);

/* --- reading ------------------------------------------------------------------------------------------------- */

static inline const ir_value_info *ir_info(const ir_graph *graph, ir_value value)
{
    return &graph->values[value];
}
static inline const ir_type *ir_type_of(const ir_graph *graph, ir_value value)
{
    return &graph->values[value].type;
}
static inline const ir_node_info *ir_node_of(const ir_graph *graph, ir_node node)
{
    return &graph->nodes[node];
}
/* The node that makes `value`, or NULL for inputs, params and constants. */
const ir_node_info *ir_producer(const ir_graph *graph, ir_value value);
/* The same, only when it has this op. */
const ir_node_info *ir_producer_op(const ir_graph *graph, ir_value value, ir_op op);
/* Operand `index`, 0 when it is absent or beyond the end: trailing absent operands are not stored. */
static inline ir_value ir_operand(const ir_node_info *node, uint32_t index)
{
    return index < node->input_count ? node->inputs[index] : 0;
}
static inline bool ir_is_const(const ir_graph *graph, ir_value value)
{
    return value != 0 && graph->values[value].kind == IR_VALUE_CONST;
}
/* A param that `value` is computed from, if nothing of it comes from an input: but for the param, it were a constant.
 * For errors; 0: none, or no memory. */
ir_value ir_param_behind(const ir_graph *graph, ir_value value);
/* A constant of one element and its number as float64. */
bool ir_const_scalar(const ir_graph *graph, ir_value value, double *number);
/* Whether some input is the same for all candidates of one user. */
bool ir_has_users(const ir_graph *graph);
/* An integer constant or known content without symbols, all elements. */
bool ir_content_ints(const ir_graph *graph, ir_value value, int64_t *numbers, size_t capacity, size_t *count);

const ir_attr *ir_find_attr(const ir_node_info *node, ir_attr_key key); /* NULL: not there */
int64_t ir_attr_int(const ir_node_info *node, ir_attr_key key);         /* 0 when not there */
double ir_attr_float(const ir_node_info *node, ir_attr_key key);        /* 0 when not there */

bool ir_dtype_is_float(mtl_dtype dtype);
bool ir_dtype_is_int(mtl_dtype dtype); /* not BOOL */
bool ir_type_equal(const ir_type *a, const ir_type *b);
bool ir_type_is_fixed(const ir_type *type);             /* no symbols */
bool ir_type_count(const ir_type *type, ir_dim *count); /* product of the extents, if linear */
/* "f32[B, 512]", "i64" for rank 0. NULL: no memory. */
char *ir_type_text(const ir_type *type, const ir_symbols *symbols, base_arena *arena);

/* --- tensors ------------------------------------------------------------------------------------------------- */

/* The numbers of a tensor as float64 (floats) or int64 (integers, booleans), converted into the arena when they are
 * raw. NULL: no memory. */
const double *ir_tensor_floats(const ir_tensor *tensor, base_arena *arena);
const int64_t *ir_tensor_ints(const ir_tensor *tensor, base_arena *arena);
/* Element `index` as float64, for any dtype. */
double ir_tensor_at(const ir_tensor *tensor, size_t index);
/* Element `index` as int64: integers (uint64 as its bits), booleans as 0 or 1, floats towards zero. */
int64_t ir_tensor_int_at(const ir_tensor *tensor, size_t index);
/* Writes all elements as `dtype` in plan byte order, rounding once (floats: to nearest even; f16/bf16 constants of a
 * graph that computes in f32 are exact). `out` holds count x size bytes. */
void ir_tensor_store(const ir_tensor *tensor, mtl_dtype dtype, void *out);
/* XXH3-64 of dtype (uint32), rank (uint32), extents (int64 each) and the bytes as ir_tensor_store gives them in the
 * tensor's own dtype. */
void ir_tensor_hash(const ir_tensor *tensor, uint64_t *hash);

/* --- the rest of the folder ---------------------------------------------------------------------------------- */

/* Types (and contents) of a node's results from its operands'. `node` is linked already; for reshape, expand and slice
 * without shape operand the result's type must be there and is checked. */
mtl_status ir_infer(ir_graph *graph, ir_node node, base_diag *diag);

/* Rates of all values. Inputs whose first axis is the candidates are ROW, fixed ones REQUEST. Nothing is an error here:
 * what mixes candidates is BATCH. */
mtl_status ir_infer_rates(ir_graph *graph, base_diag *diag);

/* Checks every invariant of the graph: ids, order, arity, attributes, types equal to inference, unique names. */
mtl_status ir_verify(ir_graph *graph, base_diag *diag);

/* Evaluates one node: inputs[i] (NULL: absent) to outputs[j], in float64 and int64, results in the arena.
 * `symbols` are numbers for the graph's symbols; NULL when all types are fixed. */
mtl_status ir_eval_node(const ir_graph *graph, ir_node node, const ir_tensor *const *inputs, const int64_t *symbols,
                        base_arena *arena, base_diag *diag, ir_tensor *outputs);

/* Evaluates the graph: inputs[] as ir_graph.inputs, outputs[] as ir_graph.outputs. Symbols are read off the inputs. */
mtl_status ir_eval(const ir_graph *graph, const ir_tensor *inputs, base_arena *arena, base_diag *diag,
                   ir_tensor *outputs);

/* The text form (docs/ir.md). Large constants are printed by name, type and hash, and parsed back through `find`,
 * which may be NULL when there are none. Errors name line and column. */
#include <stdio.h>
mtl_status ir_print(const ir_graph *graph, FILE *out);
typedef struct ir_constants {
    void *context;
    /* The tensor called `name`, or MTL_INVALID_DATA. */
    mtl_status (*find)(void *context, const char *name, base_arena *arena, base_diag *diag, ir_tensor *tensor);
} ir_constants;
mtl_status ir_parse(const char *text, size_t length, const ir_constants *constants, base_arena *arena, base_diag *diag,
                    ir_graph **graph);

/* Builds einsum (ONNX's, explicit or implicit output, no ellipsis within letters' repetition on one operand) from
 * transpose, reshape, matmul and friends before `before`. */
mtl_status ir_build_einsum(ir_graph *graph, ir_node before, const char *equation, const ir_value *inputs,
                           size_t input_count, base_diag *diag, ir_value *result);

#endif
