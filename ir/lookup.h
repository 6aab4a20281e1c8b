/* Lookups: what an id gives that is outside of its table, in gather and bag. */
#ifndef IR_LOOKUP_H
#define IR_LOOKUP_H

#include "ir/graph.h"

typedef enum ir_id_policy {
    IR_IDS_ONNX,  /* no policy: below 0 from the end, others fail */
    IR_IDS_ERROR, /* fails, below 0 too */
    IR_IDS_CLAMP, /* the nearest row */
    IR_IDS_ZERO,  /* a row of zeros */
    IR_IDS_ROW,   /* the row that attribute `row` says */
} ir_id_policy;

/* By the name in attribute `policy`. False: none has it. */
bool ir_id_policy_find(const char *name, ir_id_policy *policy);
ir_id_policy ir_id_policy_of(const ir_node_info *node);

/* Whether the policy's attributes suit a table of so many rows (-1: unknown). Fails naming the node. */
mtl_status ir_check_lookup(const ir_graph *graph, ir_node node, int64_t rows, base_diag *diag);

#define IR_ROW_ZERO (-1)    /* a row of zeros */
#define IR_ROW_OUTSIDE (-2) /* the lookup fails */
/* The row that `id` gives of a table of `rows` rows. */
int64_t ir_lookup_row(const ir_node_info *node, int64_t id, int64_t rows);

#endif
