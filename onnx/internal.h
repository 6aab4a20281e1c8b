/* What the files of this folder share. The map:
 *   wire.c     bytes checked before protobuf-c sees them     schema.c   tables of the standard, generated
 *   model.c    open, unpack, close; opset_import             scope.c    names of values
 *   files.c    external data                                 tensor.c   TensorProto to ir_tensor
 *   inputs.c   graph inputs: symbolic dims, frozen batches   graph.c    a graph's nodes in order, If, functions
 *   request.c  --request: texts of declarations        per_user.c  what they make of inputs
 *   once.c     inputs that the model has once for all candidates   once_shape.c  shapes written for that 1
 *   params.c   --param: constants that stay open       param_names.c  their names     near.c  names like another
 *   node.c     a node against its schema; operands and attributes as the handlers read them
 *   op_*.c     handlers, one a row of operators.def
 */
#ifndef ONNX_INTERNAL_H
#define ONNX_INTERNAL_H

#include "ir/graph.h"
#include "onnx/onnx-ml.pb-c.h"
#include "onnx/onnx.h"
#include "onnx/schema.h"

enum {
    ONNX_MIN_OPSET = 11,
    ONNX_MAX_NODES = 1 << 18,   /* imported, functions inlined: bounds what a small hostile file can ask for */
    ONNX_MAX_INLINE_DEPTH = 64, /* functions and branches within each other */
    ONNX_MAX_TYPE_VARIABLES = 32
};

/* --- names ---------------------------------------------------------------------------------------------------- */

/* What a name of the model stands for. */
typedef struct onnx_value {
    ir_value value;      /* 0: an absent operand, or one that nobody may use (`refused`) */
    int32_t elem;        /* TensorProto.DataType in the model; the IR computes all floats as float32 */
    bool constant;       /* depends on no input */
    const char *refused; /* not NULL: why the value cannot be used ("output 1 of node 'd' (Dropout), ...") */
} onnx_value;

typedef struct onnx_scope onnx_scope;
struct onnx_scope {
    onnx_scope *outer; /* NULL: none; branches of If see the names around them, function bodies do not */
    base_arena *arena;
    struct onnx_scope_entry {
        const char *name;
        onnx_value value;
        const Onnx__TensorProto *pending; /* an initialiser that nobody has used yet */
    } * entries;
    size_t count, capacity; /* a power of two, or 0 */
};

typedef struct onnx_scope_entry onnx_scope_entry;

/* The entry of a name here or in an outer scope; NULL: none. Valid until the next definition. */
onnx_scope_entry *onnx_scope_find(const onnx_scope *scope, const char *name);
/* Adds a name, which must be new here and around: *fresh says whether it was. The name is not copied. NULL: no memory
 * (or not fresh). */
onnx_scope_entry *onnx_scope_add(onnx_scope *scope, const char *name, bool *fresh);

/* --- importing ------------------------------------------------------------------------------------------------ */

typedef struct onnx_files onnx_files;
typedef struct onnx_request onnx_request;
typedef struct onnx_once onnx_once;

typedef struct onnx_importer {
    base_arena *arena;
    base_diag *diag;
    ir_graph *graph;
    const onnx_options *options;
    const onnx_request *request; /* what is declared to be the same for all candidates of one user */
    onnx_once *once;             /* inputs that have 1 in the model and the users in the plan; NULL: none */
    int once_rates;              /* times that rates were found for them */
    const Onnx__ModelProto *model;
    onnx_files *files;
    int64_t frozen; /* the batch size that --batch-axis0 made symbolic; 0: none */
    size_t node_count;
    int depth;
} onnx_importer;

/* Where nodes are being imported: the main graph, a branch of an If, or the body of a function. */
typedef struct onnx_frame {
    onnx_scope *scope;
    const char *prefix; /* of node and value names: "", "call/"; cut at 257 characters so that nesting stays cheap */
    Onnx__OperatorSetIdProto **opsets;
    size_t opset_count;
    const Onnx__FunctionProto *function; /* whose body this is, or (in a branch) around it; NULL: none */
    const Onnx__NodeProto *call;         /* the node that calls it, for attributes by reference */
    const struct onnx_frame *call_frame; /* where that node stands */
} onnx_frame;

typedef struct onnx_node {
    onnx_importer *importer;
    const onnx_frame *frame;
    const Onnx__NodeProto *proto;
    const char *name, *op;
    int64_t opset;
    const onnx_schema *schema;
    const Onnx__AttributeProto **attrs; /* as schema->attrs; NULL: not given */
    onnx_value *inputs;
    size_t input_count;                     /* as written; trailing absent ones are cut */
    onnx_value *outputs;                    /* a handler fills in values; the types are filled in after it */
    size_t output_count;                    /* as written, at least 1 */
    ir_op ir;                               /* of the operator's row */
    int32_t bound[ONNX_MAX_TYPE_VARIABLES]; /* element types that the operands gave the schema's type variables */
    bool constant;                          /* no operand depends on an input */
    bool nested; /* outputs are those of nodes within (If): complete when the handler returns */
} onnx_node;

typedef mtl_status onnx_handler(onnx_node *node);

typedef struct onnx_operator {
    const char *name;
    onnx_handler *import;
    ir_op ir;
} onnx_operator;

/* The row of operators.def, or NULL. */
const onnx_operator *onnx_operator_find(const char *name);

/* Why there is no such row. Never NULL. */
const char *onnx_operator_refusal(const char *name);

#define OPERATOR(name, handler, op, note) onnx_handler onnx_import_##handler;
#include "onnx/operators.def"
#undef OPERATOR

/* --- model, files, tensors ------------------------------------------------------------------------------------ */

/* The version of `domain` ("" for the default one) that `opsets` import; 0: none. */
int64_t onnx_opset(Onnx__OperatorSetIdProto *const *opsets, size_t count, const char *domain);

/* The bytes of external tensor `proto`: `size` of them, in place. Errors name the tensor and the file. */
mtl_status onnx_files_bytes(onnx_files *files, const Onnx__TensorProto *proto, size_t size, base_diag *diag,
                            const void **bytes);

/* The mtl_dtype of a TensorProto.DataType, 0 if it has none. Its name in ONNX's words, never NULL. */
mtl_dtype onnx_dtype(int32_t elem);
const char *onnx_elem_name(int32_t elem);
int32_t onnx_elem_of(mtl_dtype dtype);
/* The dtype that the IR computes in: float32 for all floats. */
mtl_dtype onnx_compute_dtype(mtl_dtype dtype);

/* Decodes a tensor; `what` ("initializer 'w'") begins the errors. Floats become float32 (float64 ones keep their
 * digits until the plan is written); bytes are used in place where their form allows. */
mtl_status onnx_tensor(onnx_importer *importer, const Onnx__TensorProto *proto, const char *what, ir_tensor *tensor);

/* --- graphs --------------------------------------------------------------------------------------------------- */

/* Adds the main graph's inputs (those that no initialiser defines) to the IR and to `scope`. */
mtl_status onnx_import_inputs(onnx_importer *importer, onnx_scope *scope);

/* near.c: what an error says behind a name that nothing has: "; there are 'a', 'b'" when they are few (*all), else those
 * that are near, or "". */
enum { ONNX_NEAR_TEXT = 256 };
mtl_status onnx_near_names(const onnx_importer *importer, const char *asked, const char *const *names, size_t count,
                           char text[ONNX_NEAR_TEXT], bool *all);

/* params.c: makes the initialisers that --param names params. After the inputs, before the nodes. */
mtl_status onnx_params_begin(onnx_importer *importer, const onnx_scope *scope);
/* `value` gets `name` as an output of `node`: a param, if an option of the main graph says so. */
mtl_status onnx_param_define(onnx_node *node, const char *name, onnx_value *value);
/* All options have found their constants; brings the params into the order of the options. */
mtl_status onnx_params_end(const onnx_importer *importer);
/* The status of a node that failed; the error says so when it failed for a param that would have been known. */
mtl_status onnx_param_explain(const onnx_node *node, mtl_status status);
/* "--param NAME: ...", MTL_INVALID_ARGUMENT. */
mtl_status onnx_param_fail(const onnx_importer *importer, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* param_names.c: fails, and tells which names there are. */
mtl_status onnx_param_unknown(const onnx_importer *importer, const onnx_scope *scope, const char *name);
/* One line for each constant that --param can name, smallest first: name, type, shape, its numbers if they are few. */
mtl_status onnx_param_print(onnx_importer *importer, const onnx_scope *scope, FILE *out);

/* Imports the main graph: importer->graph is new and empty. */
mtl_status onnx_import_graph(onnx_importer *importer);

/* Nesting of functions and branches: enter fails beyond ONNX_MAX_INLINE_DEPTH. */
mtl_status onnx_enter(onnx_node *node);
static inline void onnx_leave(onnx_node *node)
{
    node->importer->depth--;
}

/* functions.c: the model-local function that `proto` calls, or NULL; and inlining it. */
const Onnx__FunctionProto *onnx_function_find(const onnx_importer *importer, const Onnx__NodeProto *proto);
mtl_status onnx_functions_check(const onnx_importer *importer);
mtl_status onnx_function_inline(onnx_node *node, const Onnx__FunctionProto *function);

/* Versions of the default domain that we know: 11 to the package's newest. `where` begins the error. */
mtl_status onnx_check_opset(const onnx_importer *importer, Onnx__OperatorSetIdProto *const *opsets, size_t count,
                            const char *where);

/* Imports nodes in `frame`, in that order; NULL: as they stand. */
mtl_status onnx_import_nodes(onnx_importer *importer, const onnx_frame *frame, Onnx__NodeProto *const *nodes,
                             size_t count, const size_t *order);
/* The order in which the outputs need the nodes, as their positions; NULL: they cannot be moved. */
mtl_status onnx_order_nodes(onnx_importer *importer, const Onnx__GraphProto *graph, const size_t **order);
mtl_status onnx_import_initializers(onnx_importer *importer, const onnx_frame *frame, const Onnx__GraphProto *graph);

/* The value of a name. Initialisers are decoded on first use. */
mtl_status onnx_lookup(onnx_importer *importer, const onnx_scope *scope, const char *name, onnx_value *value,
                       bool *found);

/* Finds the node's operands in its frame and makes room for its outputs: all that calls of functions need. */
mtl_status onnx_node_operands(onnx_node *node);
/* Fills in a node's schema and attributes and checks them and the operands. */
mtl_status onnx_node_check(onnx_node *node);
/* Types of the outputs after the handler, and the float64 rule. */
mtl_status onnx_node_finish(onnx_node *node);

/* The attribute itself, or what it refers to in the call of the function; NULL: not given. */
mtl_status onnx_resolve_attr(onnx_node *node, const onnx_frame *frame, const Onnx__AttributeProto *attr,
                             const Onnx__AttributeProto **resolved);

/* --- for handlers --------------------------------------------------------------------------------------------- */

/* "node 'X' (Op): ..." */
mtl_status onnx_fail(const onnx_node *node, mtl_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Operand `index`; 0: absent. */
ir_value onnx_in(const onnx_node *node, size_t index);
const ir_type *onnx_in_type(const onnx_node *node, size_t index);

/* Attributes: as given, else the schema's default, else 0 / NULL. The name must be one of the schema's. */
bool onnx_has(const onnx_node *node, const char *name);
int64_t onnx_int(const onnx_node *node, const char *name);
double onnx_float(const onnx_node *node, const char *name);
const char *onnx_string(const onnx_node *node, const char *name);
const int64_t *onnx_ints(const onnx_node *node, const char *name, size_t *count);
/* The attribute as given, NULL: not. */
const Onnx__AttributeProto *onnx_attr(const onnx_node *node, const char *name);
const Onnx__TensorProto *onnx_tensor_attr(const onnx_node *node, const char *name);

/* `axis` within -rank .. rank-1, made non-negative. */
mtl_status onnx_axis(const onnx_node *node, int64_t axis, int rank, int32_t *result);
/* Axes (an attribute or operand's numbers), each made non-negative; `set[a]` says whether a is among them. */
mtl_status onnx_axes(const onnx_node *node, const int64_t *axes, size_t count, int rank, bool set[MTL_MAX_RANK]);

/* The numbers of an integer operand that must be known while compiling. */
mtl_status onnx_operand_ints(const onnx_node *node, size_t index, int64_t *numbers, size_t capacity, size_t *count);
/* The same where extents may be symbolic. */
mtl_status onnx_operand_dims(const onnx_node *node, size_t index, ir_dim *dims, size_t capacity, size_t *count);

/* Adds an IR node that is an intermediate step; the _last one is named after output 0, which it becomes. */
mtl_status onnx_emit(onnx_node *node, ir_op op, const ir_value *inputs, size_t input_count, const ir_attr *attrs,
                     size_t attr_count, ir_value *result);
mtl_status onnx_emit_typed(onnx_node *node, ir_op op, ir_value input, const ir_attr *attrs, size_t attr_count,
                           const ir_type *type, ir_value *result);
mtl_status onnx_last(onnx_node *node, ir_op op, const ir_value *inputs, size_t input_count, const ir_attr *attrs,
                     size_t attr_count);
mtl_status onnx_last_typed(onnx_node *node, ir_op op, ir_value input, const ir_attr *attrs, size_t attr_count,
                           const ir_type *type);
/* The same for any output. */
mtl_status onnx_output_typed(onnx_node *node, size_t index, ir_op op, ir_value input, const ir_attr *attrs,
                             size_t attr_count, const ir_type *type);
/* `value` under the name of output 0: an identity, or a constant or param itself. */
mtl_status onnx_last_identity(onnx_node *node, ir_value value);
/* A float constant of the operand type. */
mtl_status onnx_emit_number(onnx_node *node, double number, ir_value *result);

/* Reshapes to `type`, last or in between. */
mtl_status onnx_reshape(onnx_node *node, ir_value value, const ir_type *type, bool last, ir_value *result);

/* Product of dims [from, to) of a type. */
mtl_status onnx_product(const onnx_node *node, const ir_type *type, int from, int to, ir_dim *result);
/* "[B, 64]" */
const char *onnx_shape_text(const onnx_node *node, const ir_type *type);

/* known.c: the numbers of an integer value that is computed from constants alone, at most `capacity`. */
bool onnx_known_ints(const onnx_importer *importer, ir_value value, int64_t *numbers, size_t capacity, size_t *count);

/* own_rows.c: whether an integer value is 0, 1, .. along the candidates' axis, of extent `rows`: arange(B). */
bool onnx_counts_rows(const ir_graph *graph, ir_value value, ir_dim rows);
/* Whether gathering `indices` along axis 0 of `flat` lets each candidate take an element of its own: flat is a reshape of
 * data (B, n, ..) to (B n, ..), and indices are index + arange(B) x n. */
bool onnx_find_own_rows(const ir_graph *graph, ir_value flat, ir_value indices, ir_value *data, ir_value *index);

/* Output `index` is not made: using it is an error that says `why`. */
void onnx_refuse_output(onnx_node *node, size_t index, const char *why);

#endif
