/* libmtlc: compiles a model into a plan. The program `mtlc` is a thin wrapper around this header. */
#ifndef MTLC_COMPILER_H
#define MTLC_COMPILER_H

#include <stddef.h>
#include <stdio.h>

#include "mtlc/runtime.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mtl_compile_options {
    size_t struct_size; /* sizeof(mtl_compile_options), for growth */

    /* "NAME=NUMBER" fixes the symbolic dim NAME; "NAME=row" separates NAME from other symbolic first axes and makes
     * it the candidates. Each text must outlive the call. */
    const char *const *dims;
    size_t dim_count;

    int batch_axis0;         /* not 0: fixed first axes of the inputs become the candidates */
    int allow_f32;           /* not 0: a float64 graph is computed in float32 */
    size_t fold_byte_budget; /* largest constant that folding may create, bytes; 0: 256 MiB */

    /* Where to print: NULL prints nothing. `print_ir` is printed to as text after the pass `print_ir_after`, or
     * after the last pass if that is NULL; `explain` gets the report of what became of every node. */
    FILE *print_ir;
    const char *print_ir_after;
    FILE *explain;

    /* Called for every constant that the printed graph names by its hash only, in order; may be NULL. `data` is dense,
     * row-major, and lives until the call returns. What is not MTL_OK ends the compilation with that status. */
    mtl_status (*print_constant)(void *context, const char *name, const mtl_tensor_info *info, const void *data);
    void *print_constant_context;

    /* Called now and then from the compiling thread with a constant phase name and a share in 0..1; may be NULL. */
    void (*progress)(void *context, const char *phase, double share);
    void *progress_context;

    /* Constants of the graph, initialisers or outputs of Constant nodes by their exact names, that stay open: hosts set
     * them for each session with mtl_session_set_param, and the model's numbers are their defaults. Floats of a fixed
     * shape; the order is the plan's. A name that is none, an integer, a constant that compiling needs and one that no
     * output depends on are errors (MTL_INVALID_ARGUMENT, MTL_UNSUPPORTED). Each text must outlive the call. */
    const char *const *params;
    size_t param_count;
    FILE *print_params; /* gets the names that `params` may hold, with types and shapes; NULL: prints nothing */

    /* What ids outside of their tables do: "NAME=error", "NAME=clamp", "NAME=zero" or "NAME=row:NUMBER". NAME is an input of
     * the model whose ids are looked up, else a table (the constant's name in the model), else "*" for every lookup; one of
     * these goes before the next. Lookups without a policy do what ONNX says: ids below 0 count from the end, others
     * outside fail the run. A name that no lookup has is an error (MTL_INVALID_ARGUMENT). Each text must outlive the call. */
    const char *const *ids;
    size_t id_count;

    /* Outputs that the plan has, in the model's order, by their names, in which '*' stands for any characters and '?' for one. None: all. What only
     * the others need is left out: towers, gates, private experts. Inputs stay, those too that nothing reads any more.
     * A text that no output matches is an error (MTL_INVALID_ARGUMENT). Each text must outlive the call. */
    const char *const *outputs;
    size_t output_count;

    /* What is the same for all candidates of one user: "NAME", globs over input names with * and ?, columns of an input's
     * last axis as Python's slices "x[:,0:128,256:]", several between commas, "@FILE" for a file of them (a line each, #
     * begins a comment), or "none" alone. The plan takes such an input with the users on its first axis (by default 1);
     * of columns, the two inputs x.request and x.row in the place of x. Without any, the model's metadata
     * "mtlc.request" says them. Unless it is "none", inputs with a first axis of 1 that the graph copies to all candidates are
     * taken as declared, where that comes to the same. A name or pattern that no input has, and an input that cannot be so, are errors
     * (MTL_INVALID_ARGUMENT). Each text must outlive the call. */
    const char *const *request;
    size_t request_count;

    /* Weights of a ranker in the language (MODEL.mtl). `find_weight` gives the tensor called `name`: dtype, rank and extents
     * (`fixed`) in *info, and its dense row-major data, which lives until the call returns; another status than MTL_OK says
     * that there is none. NULL: no weights, unless `init_weights` is not 0: then they are made up, the same ones for equal
     * names and `init_seed`. `errors` gets all errors of the ranker with their lines, while mtl_error has the first. */
    mtl_status (*find_weight)(void *context, const char *name, mtl_tensor_info *info, const void **data);
    void *find_weight_context;
    int init_weights;
    unsigned long long init_seed;
    FILE *errors;
} mtl_compile_options;

/* Version of the library, "MAJOR.MINOR.PATCH". */
MTL_API const char *mtl_compiler_version(void);

/* Compiles the ONNX model at `model_path` and writes the plan to `plan_path`: beside it first, then by rename, so
 * that on failure nothing is there or the old file is. Equal inputs give byte-identical plans. `plan_path` NULL
 * compiles without writing. Options may be NULL. Thread-safe; memory is bounded by a few times the model's size.
 * Errors: MTL_IO, MTL_INVALID_DATA (not a valid model), MTL_UNSUPPORTED (an operator, type or shape that we do not
 * compile: names the node), MTL_INVALID_ARGUMENT (options), MTL_OUT_OF_MEMORY. */
MTL_API mtl_status mtl_compile_file(const char *model_path, const char *plan_path, const mtl_compile_options *options,
                                    mtl_error *error);

/* Cuts a twin-tower model and compiles it into three plans: PREFIX.user.plan, of the inputs that are per_user and those
 * without candidates, whose rows are users; PREFIX.item.plan, of the others; and PREFIX.score.plan, of the outputs of both,
 * the user's declared per_user, which has the model's outputs. The item plan's outputs do not change until the item or the
 * model does, so that a service may store them, one row an item. All three files are written or none: beside first, then
 * by rename; when that fails halfway no file of the three is left. `prefix` NULL compiles without writing. Scores equal those
 * of the whole plan to float32's rounding. Errors as of mtl_compile_file; a model without per_user inputs, and one in which
 * nothing that is worth storing depends on the others alone, are MTL_UNSUPPORTED and name what holds it back. */
MTL_API mtl_status mtl_compile_towers(const char *model_path, const char *prefix, const mtl_compile_options *options,
                                      mtl_error *error);

#ifdef __cplusplus
}
#endif
#endif
