/* From the syntax tree to a graph: a ranker is a program that runs while compiling and leaves behind the operations that it
 * applied to tensors. Private to dsl/.
 *
 * Blocks are functions of the language, most of them in its own library (dsl/blocks.mtl); what they end in are the
 * operations of the IR by their names, and the few functions of functions.c. Loops run over lists, so that every program
 * ends; steps, calls inside of each other and lists are bounded. */
#ifndef DSL_ELABORATE_H
#define DSL_ELABORATE_H

#include "dsl/dsl.h"
#include "dsl/syntax.h"
#include "ir/graph.h"

enum { DSL_MAX_STEPS = 1 << 20, DSL_MAX_CALLS = 64, DSL_MAX_LIST = 1 << 16, DSL_MAX_NODES = 1 << 20 };
#define DSL_MAX_ELEMENTS ((int64_t)1 << 31) /* of one weight */

typedef enum dsl_type {
    DSL_T_BAD, /* of what an error was noted already: passes through everything silently */
    DSL_T_NONE,
    DSL_T_BOOL,
    DSL_T_INT,
    DSL_T_FLOAT,
    DSL_T_TEXT,
    DSL_T_LIST,
    DSL_T_TENSOR,
    DSL_T_TASK,
    DSL_T_KIND, /* of an input or a task: dense(512), binary */
    DSL_T_BLOCK,
} dsl_type;

/* What an input or a task is. */
typedef struct dsl_shape_kind {
    const char *name; /* "dense", "id", "bag", "sequence"; "binary", "regression", "classes" */
    int64_t size;     /* rows of the table; classes; of dense, the width */
    int64_t length;   /* of bags and sequences */
} dsl_shape_kind;

typedef struct dsl_value {
    dsl_type type;
    int64_t integer;  /* INT, BOOL; TASK: its number */
    double number;    /* FLOAT, INT */
    const char *text; /* TEXT; TASK: its name */
    ir_value tensor;
    const dsl_shape_kind *kind; /* KIND, TASK; TENSOR: of an input */
    struct dsl_value *items;    /* LIST */
    size_t count;
    const dsl_node *block;
} dsl_value;

/* Names of one call, or of the file. A name can be given a new value. */
typedef struct dsl_scope {
    const char **names;
    dsl_value *values;
    size_t count, capacity;
} dsl_scope;

typedef struct dsl_elaborator {
    dsl_sources *sources;
    base_arena *arena;
    base_diag *diag;
    ir_graph *graph;
    const dsl_weights *weights;
    mtl_status status; /* no memory, or what the graph says: ends everything */
    dsl_scope file;    /* of the ranker: tasks, inputs, blocks, names */
    uint32_t library;   /* texts up to this one are the library */
    dsl_span site;      /* where the ranker's own text called into the library */
    const char *inside; /* the block of the library that was called there; NULL: none */
    size_t wrong;       /* errors so far, but for weights that are missing */
    int steps, calls;
} dsl_elaborator;

/* Arguments of one call, in order; names are NULL for those without. */
typedef struct dsl_arguments {
    dsl_span at;
    const char *const *names;
    const dsl_value *values;
    const dsl_span *spans;
    size_t count;
} dsl_arguments;

/* Notes an error at `at`, or, if that is in the library, where it was called from. Gives the bad value. */
dsl_value dsl_bad(dsl_elaborator *e, dsl_span at, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same for a status of the graph, whose error is in `inner`. */
dsl_value dsl_failed(dsl_elaborator *e, dsl_span at, mtl_status status, const base_diag *inner);

dsl_value dsl_int(int64_t integer);
dsl_value dsl_float(double number);
dsl_value dsl_text_value(const char *text);
dsl_value dsl_tensor(ir_value tensor);
/* "a list", "the tensor f32[B, 8]" */
const char *dsl_describe(const dsl_elaborator *e, const dsl_value *value);
/* The newest of that name in this scope alone, NULL: none. */
dsl_value *dsl_look_up(const dsl_scope *scope, const char *name);
/* Gives a name a value, anew if it has one. */
void dsl_set(dsl_elaborator *e, dsl_scope *scope, const char *name, dsl_value value);
/* elaborate.c: an expression's value; a statement at the top of the ranker. */
dsl_value dsl_evaluate(dsl_elaborator *e, dsl_scope *scope, const dsl_node *node);
void dsl_run(dsl_elaborator *e, const dsl_node *statement);
/* Room for a list of so many; NULL and a bad status: too many, or no memory. */
dsl_value dsl_list(dsl_elaborator *e, dsl_span at, size_t count);

/* The library's text, dsl/blocks.mtl. */
extern const char dsl_blocks[];

/* functions.c: the function of that name, applied. False: there is none. */
bool dsl_call_function(dsl_elaborator *e, const char *name, const dsl_arguments *arguments, dsl_value *result);
/* Its names, for suggestions; up to `most`. */
size_t dsl_function_names(const char **names, size_t most);

/* tensors.c: operations of the IR, by name; arithmetic; parts. */
bool dsl_call_op(dsl_elaborator *e, const char *name, const dsl_arguments *arguments, dsl_value *result);
dsl_value dsl_arithmetic(dsl_elaborator *e, dsl_span at, const char *word, const dsl_value *left,
                         const dsl_value *right);
typedef struct dsl_part {
    bool whole, single; /* single: the index `from` */
    int64_t from, to;
    bool has_from, has_to;
} dsl_part;
dsl_value dsl_part_of(dsl_elaborator *e, dsl_span at, const dsl_value *tensor, const dsl_part *parts, size_t count);
/* Whether the first axis is the candidates. */
bool dsl_has_rows(const dsl_elaborator *e, ir_value tensor);

#endif
