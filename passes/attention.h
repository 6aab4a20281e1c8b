/* What form_attention found, and where its operands lie. Private to passes/. */
#ifndef PASSES_ATTENTION_H
#define PASSES_ATTENTION_H

#include "passes/layout.h"

enum { PASSES_ATTENTION_LINKS = 24 };

typedef enum passes_link_kind {
    PASSES_LINK_MOVE,
    PASSES_LINK_SCALE,
    PASSES_LINK_BIAS,
    PASSES_LINK_KEEP,
    PASSES_LINK_SOFTMAX
} passes_link_kind;

/* A node between the product of queries and keys and that of shares and values. */
typedef struct passes_link {
    const ir_node_info *node; /* until the graph changes */
    ir_value result;
    passes_link_kind kind;
    ir_value mask;  /* as it stands; of passes_attention_read: what is to be reshaped to `dims` */
    ir_dim dims[4]; /* of the mask, as passes_score_axis */
    bool negated;   /* minus the mask; not kept where it is true */
    double number;  /* factor; fill */
} passes_link;

/* The axes that scores have, whatever the shape they are in. */
typedef enum passes_score_axis { PASSES_ROW, PASSES_HEAD, PASSES_QUERY, PASSES_KEY } passes_score_axis;

typedef struct passes_attention {
    const ir_node_info *product, *second;      /* the two products, until the graph changes */
    ir_value scores;                           /* of the first */
    uint32_t shares;                           /* which operand of the second has the shares */
    passes_link links[PASSES_ATTENTION_LINKS]; /* from the second product upwards */
    int link_count;
    const char *empty;
    /* of passes_attention_read: */
    uint32_t queries; /* which operand of the first has the queries */
    ir_dim rows;
    int64_t heads, lengths[2]; /* of queries, of keys */
    int64_t sizes[2];          /* columns of a head of q and k, of v */
    struct passes_attention_operand {
        ir_value value;       /* as it stands in its product */
        passes_layout layout; /* of it */
        int position, column; /* its axes */
        bool has_row, has_head;
        passes_atom row, head; /* where its batch axes are in the layout's root */
    } in[3];                   /* q, k, v */
    int64_t starts[3];
    double scale, fill;
    bool heads_lead[2]; /* the batch axes of the first and of the second product are heads, rows */
    bool values_lead;   /* the result has the values' columns before the queries */
} passes_attention;

typedef struct passes_attention_operand passes_attention_operand;

/* Works out all but starts and fill. False: this is no attention that one node can say. */
bool passes_attention_read(passes_rewriter *r, passes_attention *a);

/* Makes q, k, v, bias (0: none) and keep (0: none) of an attention node before `n`, and the starts. *fits false: they cannot be
 * had. */
mtl_status passes_attention_operands(passes_rewriter *r, ir_node n, passes_attention *a, ir_value *inputs, bool *fits);

#endif
