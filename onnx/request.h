/* Which inputs, and which columns of them, are the same for all candidates of one user: --request, files of it, and the
 * model's own hint. request.c reads the texts, per_user.c applies them to the inputs. Private to onnx/. */
#ifndef ONNX_REQUEST_H
#define ONNX_REQUEST_H

#include "onnx/internal.h"

/* One item between commas in the brackets: FROM:TO, either may be absent; N is N:N+1. */
typedef struct onnx_span {
    int64_t from, to;
    bool has_from, has_to;
} onnx_span;

/* "NAME", "user_*", "x[:,0:128,256:384]". */
typedef struct onnx_declaration {
    const char *text;  /* as written */
    const char *place; /* "--request", "--request @FILE:3", "metadata mtlc.request:1" */
    const char *name;  /* with * and ? */
    onnx_span *spans;  /* NULL: the whole input */
    size_t span_count;
    bool from_model; /* the model's hint, not the caller's word */
    bool found;      /* nobody's word: `name` is a name, not a pattern */
} onnx_declaration;

struct onnx_request {
    onnx_declaration *all;
    size_t count;
    bool off; /* "none": nothing is declared, nothing is looked for */
};

/* Reads options->request, or the hint of the model when there are none. */
mtl_status onnx_request_read(const onnx_options *options, const Onnx__ModelProto *model, base_arena *arena,
                             base_diag *diag, onnx_request *request);

/* "PLACE 'TEXT': ..." */
mtl_status onnx_request_fail(base_diag *diag, const onnx_declaration *declaration, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Columns [from, to) of an input's last axis. */
typedef struct onnx_columns {
    int64_t from, to;
} onnx_columns;

/* What is declared of one input. */
typedef struct onnx_declared {
    const onnx_declaration *by; /* the first that names it; NULL: none does */
    bool whole;                 /* all of it */
    bool exact;                 /* one of them is its name itself */
    const onnx_declaration **columns;
    size_t column_count;

    /* After onnx_request_add: the input, or if it is not whole, its halves and the columns that are the request's. */
    ir_value request, row;
    onnx_columns *pieces; /* in order; apart from each other */
    size_t piece_count;
} onnx_declared;

/* Whether a declaration names this input. */
bool onnx_request_names(const onnx_declaration *declaration, const char *name);

/* What is declared of inputs of these names: one onnx_declared each. */
mtl_status onnx_request_match(const onnx_importer *importer, const char *const *names, size_t count,
                              onnx_declared **declared);

/* Adds an input of which something is declared to the graph, per user; or its columns as NAME.request and NAME.row. */
mtl_status onnx_request_add(onnx_importer *importer, const onnx_scope *scope, const char *name, const ir_type *type,
                            onnx_declared *declared);

/* The input that the graph reads: slices of the halves in the order of its columns, concatenated. */
mtl_status onnx_request_join(onnx_importer *importer, const char *name, const onnx_declared *declared, ir_value request,
                             ir_value row, ir_value *value);

#endif
