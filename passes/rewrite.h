/* What passes share: replacing values and dropping nodes in linear time. Private to passes/.
 *
 * A pass walks the nodes in order, calls passes_visit on each and looks at it. Replaced values are remembered and
 * readers are redirected when they are visited; passes_end redirects the rest and unlinks what died. Between begin and
 * end the use counts are those of the graph as it will be, and the graph is changed only through these functions
 * (operands and attributes of the visited node may be written directly when the counts are kept). */
#ifndef PASSES_REWRITE_H
#define PASSES_REWRITE_H

#include "base/hash.h"
#include "ir/graph.h"

typedef struct passes_rewriter {
    ir_graph *graph;
    base_diag *diag;
    uint32_t capacity;      /* of the arrays below, by value */
    uint32_t *uses;         /* by operands and graph outputs */
    ir_value *replaced;     /* 0: by nothing */
    const char **fates;     /* of the node that makes the value, if it dies; NULL: another pass' business */
    bool *owned;            /* constants whose float64 numbers this pass made and may change while they have one use */
    uint32_t substitutions; /* so far */
    struct passes_output_pieces *outputs; /* of passes/pieces.h, as of some number of substitutions; NULL: not yet */
    base_arena scratch;                   /* freed by passes_end and passes_abandon */
} passes_rewriter;

mtl_status passes_begin(ir_graph *graph, base_diag *diag, passes_rewriter *r);
/* Applies what was remembered. Frees the rewriter on success and failure. */
mtl_status passes_end(passes_rewriter *r);
/* Frees the rewriter after an error; returns `status`. */
mtl_status passes_abandon(passes_rewriter *r, mtl_status status);

/* What readers of `value` read by now. */
ir_value passes_resolve(passes_rewriter *r, ir_value value);
/* For passes that replace values by later ones: applies what was remembered and puts the nodes into topological order.
 * To be called before passes_end. */
mtl_status passes_sort(passes_rewriter *r);

/* Redirects the operands of `node`. */
void passes_visit(passes_rewriter *r, ir_node node);

/* A whole pass that looks at every node once: begin, visit each in order and give it to `look` (which may remove it and
 * insert before it), end; abandoned at the first error. */
mtl_status passes_each(ir_graph *graph, base_diag *diag, mtl_status (*look)(passes_rewriter *r, ir_node node));

/* All readers of `old` will read `new_value`, which is defined before them. The node of `old` dies with `fate` once
 * nobody reads its results. */
void passes_substitute(passes_rewriter *r, ir_value old, ir_value new_value, const char *fate);
/* Unlinks a node whose results have no uses (any more). `fate` may be NULL when another node took its sources. What made
 * its operands dies with `fate` when this was the last reader. */
void passes_kill(passes_rewriter *r, ir_node node, const char *fate);
/* The result of `node` becomes a constant of the same name; the node is unlinked. The tensor is copied, its numbers must
 * live as long as the graph. */
mtl_status passes_make_const(passes_rewriter *r, ir_node node, const ir_tensor *tensor, const char *fate);

/* `into` does the work of `from` from now on; of a node that stands for too many sources already, they get a fate. */
mtl_status passes_take_sources(passes_rewriter *r, ir_node into, ir_node from);

/* Changes operand `i` of a node. What made the former one dies with `fate` when this was its last reader. */
void passes_set_input(passes_rewriter *r, ir_node node, uint32_t i, ir_value value, const char *fate);
/* Gives a node all its operands anew (copied). */
mtl_status passes_set_inputs(passes_rewriter *r, ir_node node, const ir_value *inputs, uint32_t count,
                             const char *fate);

/* Inserts a node before `before` that shares its sources and, when `name` is NULL, has a name like it; ir_insert_typed when `type` is not NULL. Pointers to nodes
 * and values are stale after it. */
mtl_status passes_insert(passes_rewriter *r, ir_node before, ir_op op, const char *name, const ir_value *inputs,
                         size_t input_count, const ir_attr *attrs, size_t attr_count, const ir_type *type,
                         ir_value *result);
/* Adds a constant; `tensor` and its data must live as long as the graph. */
mtl_status passes_add_const(passes_rewriter *r, const char *name, const ir_tensor *tensor, ir_value *value);

/* Elements of a row that follow each other. */
typedef struct passes_cut {
    int64_t begin, width;
} passes_cut;
/* Adds a constant of this shape: of each of the `rows` rows of constant `c` these elements, one cut after the other. */
mtl_status passes_cut_const(passes_rewriter *r, ir_value c, int64_t rows, const passes_cut *cuts, size_t count,
                            int rank, const int64_t *shape, ir_value *value);

/* Gives `node` another operation in place: same results, other operands and attributes (copied; in the order of
 * attrs.def). */
mtl_status passes_become(passes_rewriter *r, ir_node node, ir_op op, const ir_value *inputs, uint32_t input_count,
                         const ir_attr *attrs, size_t attr_count, const char *fate);

static inline bool passes_single_use(const passes_rewriter *r, ir_value value)
{
    return r->uses[value] == 1;
}

/* The numbers of constant `c`, which broadcasts to a value of that type, for each element of the value's axes from `first`
 * on, whose extents are fixed; along the axes before, c has extent 1 or is not there. */
void passes_spread_const(const ir_tensor *c, const ir_type *type, int first, double *numbers);

/* The same attributes, bit for bit. */
bool passes_equal_attrs(const ir_node_info *a, const ir_node_info *b);
/* Equal attributes have equal hashes. */
void passes_hash_attrs(base_hash *hash, const ir_node_info *node);

/* A constant whose elements all equal `number` (+0 and -0 differ). */
bool passes_const_is(const ir_graph *graph, ir_value value, double number);

#endif
