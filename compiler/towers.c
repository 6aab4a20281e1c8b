#include "compiler/towers.h"

#include <string.h>

#include "compiler/frontier.h"

const char *const compiler_part_names[COMPILER_PARTS] = {"user", "item", "score"};

enum { USER = COMPILER_SIDE_USER, ITEM = COMPILER_SIDE_ITEM, BOTH = COMPILER_SIDE_BOTH };

typedef struct cutter {
    ir_graph *graph;
    base_diag *diag;
    unsigned char *side; /* by value: USER, ITEM, BOTH; 0: constants, params and what they make */
    bool *read;          /* by value: by what depends on both, or as an output */
    bool *cut;           /* by value */
    size_t numbered;     /* names of the side in hand that are numbers */
} cutter;

mtl_status compiler_find_sides(const ir_graph *graph, base_diag *diag, unsigned char *side)
{
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const ir_value_info *info = ir_info(graph, graph->inputs[i]);
        if (info->rate.kind == IR_RATE_BATCH) {
            return base_fail(diag, MTL_UNSUPPORTED, "--emit-towers: input '%s' has no axis of candidates", info->name);
        }
        bool of_item = info->rate.kind == IR_RATE_ROW && !info->rate.per_user;
        side[graph->inputs[i]] = of_item ? ITEM : USER;
    }
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        ir_value result = node->outputs[0];
        for (uint32_t i = 0; i < node->input_count; i++) {
            side[result] |= side[node->inputs[i]];
        }
        if (ir_info(graph, result)->rate.kind == IR_RATE_BATCH && side[result] != 0) {
            side[result] = BOTH; /* depends on what else is in the call: nothing to store */
        }
    }
    return MTL_OK;
}

static void find_reads(cutter *c)
{
    const ir_graph *graph = c->graph;
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        for (uint32_t i = 0; i < node->input_count && c->side[node->outputs[0]] == BOTH; i++) {
            c->read[node->inputs[i]] = true;
        }
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        c->read[graph->outputs[i].value] = true;
    }
}

/* What costs little to compute again, so that the score may begin before it where that stores less. */
static bool is_cheap(const ir_graph *graph, const ir_node_info *node)
{
    switch (node->op) {
    case IR_OP_reshape:
    case IR_OP_expand:
    case IR_OP_transpose:
    case IR_OP_concat:
    case IR_OP_slice:
    case IR_OP_cast:
    case IR_OP_where:
    case IR_OP_chain: return true;
    case IR_OP_gather: return !ir_is_const(graph, node->inputs[0]); /* columns; else a look-up */
    default: return ir_op_is_unary(node->op) || ir_op_is_binary(node->op);
    }
}

/* Bytes for each candidate, 0: too many. */
static uint64_t bytes_of(const ir_type *type)
{
    uint64_t bytes = mtl_dtype_size(type->dtype);
    for (int i = 0; i < type->rank; i++) {
        uint64_t extent = (uint64_t)type->dim[i].c + (uint64_t)type->dim[i].k[IR_SYMBOL_ROWS];
        if (__builtin_mul_overflow(bytes, extent, &bytes)) {
            return 0;
        }
    }
    return bytes;
}

/* Whether a plan can take it as an input that has one row for each user or item. */
static bool can_be_cut(const ir_graph *graph, ir_value value)
{
    const ir_value_info *info = ir_info(graph, value);
    const ir_type *type = &info->type;
    int first = info->rate.kind == IR_RATE_ROW ? 1 : 0;
    if (info->kind == IR_VALUE_INPUT) {
        return true;
    }
    if (first == 1 && (type->rank == 0 || !ir_dim_equal(type->dim[0], ir_dim_symbol(IR_SYMBOL_ROWS)))) {
        return false;
    }
    for (int i = first; i < type->rank; i++) {
        if (!ir_dim_is_const(type->dim[i])) {
            return false;
        }
    }
    return info->rate.kind != IR_RATE_BATCH;
}

/* Bytes first; among equal ones few values, of rank 2. */
static uint64_t price_of(const ir_graph *graph, ir_value value)
{
    const ir_type *type = ir_type_of(graph, value);
    uint64_t bytes = bytes_of(type), most = (COMPILER_FRONTIER_PRICE >> 12) - 1;
    if (!can_be_cut(graph, value)) {
        return COMPILER_FRONTIER_NEVER;
    }
    bytes = bytes == 0 || bytes > most ? most : bytes;
    return (bytes << 12) + 16 + (uint64_t)(type->rank > 2 ? type->rank - 2 : 2 - type->rank);
}

/* The network of one side: its values, what they are computed from as long as that is cheap. */
typedef struct side_network {
    uint64_t *price;
    bool *is_source, *is_sink, *chosen;
    compiler_arc *arcs;
    size_t arc_count;
    uint32_t *vertex; /* by value */
    ir_value *value;  /* by vertex */
    uint32_t count;
} side_network;

static mtl_status add_vertex(const cutter *c, side_network *n, ir_value value)
{
    const ir_graph *graph = c->graph;
    const ir_node_info *node = ir_producer(graph, value);
    uint32_t vertex = n->count++;
    if (vertex == COMPILER_FRONTIER_MOST) {
        return base_fail(c->diag, MTL_UNSUPPORTED, "--emit-towers: more than %d values on one side",
                         COMPILER_FRONTIER_MOST);
    }
    n->vertex[value] = vertex;
    n->value[vertex] = value;
    n->price[vertex] = price_of(graph, value);
    n->is_sink[vertex] = c->read[value];
    n->is_source[vertex] = node == NULL || (!is_cheap(graph, node) && n->price[vertex] != COMPILER_FRONTIER_NEVER);
    for (uint32_t i = 0; node != NULL && i < node->input_count && !n->is_source[vertex]; i++) {
        if (c->side[node->inputs[i]] != 0) {
            n->arcs[n->arc_count++] = (compiler_arc){.from = n->vertex[node->inputs[i]], .to = vertex};
        }
    }
    return MTL_OK;
}

static mtl_status new_network(const cutter *c, base_arena *arena, side_network *n)
{
    const ir_graph *graph = c->graph;
    size_t arcs = 0;
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        arcs += ir_node_of(graph, node)->input_count;
    }
    *n = (side_network){.price = BASE_NEW_ARRAY(arena, uint64_t, graph->value_count),
                        .is_source = BASE_NEW_ARRAY(arena, bool, graph->value_count),
                        .is_sink = BASE_NEW_ARRAY(arena, bool, graph->value_count),
                        .chosen = BASE_NEW_ARRAY(arena, bool, graph->value_count),
                        .arcs = BASE_NEW_ARRAY(arena, compiler_arc, arcs),
                        .vertex = BASE_NEW_ARRAY(arena, uint32_t, graph->value_count),
                        .value = BASE_NEW_ARRAY(arena, ir_value, graph->value_count)};
    bool there = n->price != NULL && n->is_source != NULL && n->is_sink != NULL && n->chosen != NULL &&
                 n->arcs != NULL && n->vertex != NULL && n->value != NULL;
    return there ? MTL_OK : base_fail_memory(c->diag);
}

static mtl_status cut_side(cutter *c, unsigned char side, base_arena *arena)
{
    const ir_graph *graph = c->graph;
    side_network n;
    BASE_TRY(new_network(c, arena, &n));
    for (uint32_t i = 0; i < graph->input_count; i++) {
        BASE_TRY(c->side[graph->inputs[i]] == side ? add_vertex(c, &n, graph->inputs[i]) : MTL_OK);
    }
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        ir_value result = ir_node_of(graph, node)->outputs[0];
        BASE_TRY(c->side[result] == side ? add_vertex(c, &n, result) : MTL_OK);
    }
    const compiler_network network = {.vertex_count = n.count,
                                      .price = n.price,
                                      .is_source = n.is_source,
                                      .is_sink = n.is_sink,
                                      .arcs = n.arcs,
                                      .arc_count = n.arc_count};
    BASE_TRY(compiler_find_frontier(&network, arena, c->diag, n.chosen));
    for (uint32_t v = 0; v < n.count; v++) {
        c->cut[n.value[v]] = n.chosen[v];
    }
    return MTL_OK;
}

mtl_status compiler_stored_bytes(ir_graph *graph, unsigned char *side, bool *read, base_diag *diag, uint64_t *bytes)
{
    base_arena scratch = {0};
    cutter c = {.graph = graph, .diag = diag, .side = side, .read = read};
    c.cut = BASE_NEW_ARRAY(&scratch, bool, graph->value_count);
    mtl_status status = c.cut != NULL ? cut_side(&c, ITEM, &scratch) : base_fail_memory(diag);
    *bytes = 0;
    for (ir_value value = 1; value < graph->value_count && status == MTL_OK; value++) {
        uint64_t more = c.cut[value] ? bytes_of(ir_type_of(graph, value)) : 0;
        *bytes = *bytes > UINT64_MAX - more ? UINT64_MAX : *bytes + more;
    }
    base_arena_free(&scratch);
    return status;
}

/* --- the parts ------------------------------------------------------------------------------------------------ */

/* Inputs keep their names, and so do outputs of the model; the others are numbered. */
static mtl_status name_cut(cutter *c, ir_value value, compiler_cut_value *cut)
{
    ir_graph *graph = c->graph;
    const ir_value_info *info = ir_info(graph, value);
    cut->name = info->kind == IR_VALUE_INPUT ? info->name : NULL;
    for (uint32_t i = 0; i < graph->output_count && cut->name == NULL; i++) {
        ir_value other = ir_find_value(graph, graph->outputs[i].name);
        cut->name = graph->outputs[i].value == value && (other == 0 || other == value) ? graph->outputs[i].name : NULL;
    }
    if (cut->name == NULL) {
        cut->name = base_arena_format(graph->arena, "%s.%zu", cut->user ? "user" : "item", c->numbered++);
        BASE_TRY_MEMORY(cut->name, c->diag);
        cut->name = ir_find_value(graph, cut->name) == 0 ? cut->name : ir_unique_name(graph, cut->name);
        BASE_TRY_MEMORY(cut->name, c->diag);
    }
    cut->source = "";
    if (info->kind == IR_VALUE_NODE && ir_producer(graph, value)->source_count > 0) {
        const ir_source *source = &graph->sources[ir_producer(graph, value)->sources[0]];
        cut->source = base_arena_format(graph->arena, "'%s' (%s)", source->name, source->op);
        BASE_TRY_MEMORY(cut->source, c->diag);
    }
    return MTL_OK;
}

static mtl_status add_cut(cutter *c, compiler_towers *towers, ir_value value, unsigned char side)
{
    if (!c->cut[value] || c->side[value] != side) {
        return MTL_OK;
    }
    compiler_cut_value cut = {.value = value, .bytes = bytes_of(ir_type_of(c->graph, value)), .user = side == USER};
    BASE_TRY(name_cut(c, value, &cut));
    towers->cuts[towers->cut_count++] = cut;
    towers->user_count += side == USER;
    return MTL_OK;
}

static mtl_status list_cuts(cutter *c, compiler_towers *towers)
{
    const ir_graph *graph = c->graph;
    static const unsigned char sides[] = {USER, ITEM};
    towers->cuts = BASE_NEW_ARRAY(graph->arena, compiler_cut_value, graph->value_count);
    BASE_TRY_MEMORY(towers->cuts, c->diag);
    for (size_t s = 0; s < sizeof sides; s++) {
        c->numbered = 0;
        for (uint32_t i = 0; i < graph->input_count; i++) {
            BASE_TRY(add_cut(c, towers, graph->inputs[i], sides[s]));
        }
        for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
            BASE_TRY(add_cut(c, towers, ir_node_of(graph, n)->outputs[0], sides[s]));
        }
    }
    return MTL_OK;
}

/* "nothing but 'a', 'b' depends on candidates alone; ..." */
static mtl_status no_item_part(const cutter *c, const compiler_towers *towers)
{
    const ir_graph *graph = c->graph;
    const char *held = ir_info(graph, towers->cuts[towers->user_count].value)->name;
    for (ir_node n = graph->first_node; n != 0; n = ir_node_of(graph, n)->next) {
        const ir_node_info *node = ir_node_of(graph, n);
        ir_value of_item = 0, other = 0;
        for (uint32_t i = 0; i < node->input_count && c->side[node->outputs[0]] == BOTH; i++) {
            of_item = c->side[node->inputs[i]] == ITEM ? node->inputs[i] : of_item;
            other = (c->side[node->inputs[i]] & USER) != 0 ? node->inputs[i] : other;
        }
        if (of_item != 0 && other != 0) {
            return ir_fail(graph, n, c->diag, MTL_UNSUPPORTED,
                           "--emit-towers: nothing is worth storing: no layer and no look-up depends on candidates "
                           "alone; here '%.100s' meets '%.100s', which depends on the user",
                           ir_info(graph, of_item)->name, ir_info(graph, other)->name);
        }
    }
    return base_fail(c->diag, MTL_UNSUPPORTED,
                     "--emit-towers: nothing is worth storing: no layer and no look-up depends on candidates alone, "
                     "but '%.100s' itself",
                     held);
}

static mtl_status check_sides(const cutter *c, const compiler_towers *towers)
{
    if (towers->user_count == 0) {
        return base_fail(c->diag, MTL_UNSUPPORTED,
                         "--emit-towers: no output depends on an input that is the same for all candidates of a user; "
                         "--request declares them");
    }
    return towers->user_count < towers->cut_count
               ? MTL_OK
               : base_fail(c->diag, MTL_UNSUPPORTED,
                           "--emit-towers: no output depends on an input that differs between candidates");
}

/* To store what costs nothing to compute is no use. */
static mtl_status check_work(const cutter *c, const compiler_towers *towers)
{
    const ir_graph *item = towers->parts[COMPILER_ITEM];
    for (ir_node n = item->first_node; n != 0; n = ir_node_of(item, n)->next) {
        if (!is_cheap(item, ir_node_of(item, n))) {
            return MTL_OK;
        }
    }
    return no_item_part(c, towers);
}

/* The inputs of one side, then the values that the score reads of it. */
static mtl_status extract_side(const cutter *c, compiler_towers *towers, int part)
{
    const ir_graph *graph = c->graph;
    unsigned char side = part == COMPILER_USER ? USER : ITEM;
    ir_port *inputs = BASE_NEW_ARRAY(graph->arena, ir_port, graph->input_count);
    ir_port *outputs = BASE_NEW_ARRAY(graph->arena, ir_port, towers->cut_count);
    BASE_TRY_MEMORY(inputs, c->diag);
    BASE_TRY_MEMORY(outputs, c->diag);
    size_t input_count = 0, output_count = 0;
    for (uint32_t i = 0; i < graph->input_count; i++) {
        ir_value input = graph->inputs[i];
        if (c->side[input] == side) {
            inputs[input_count++] = (ir_port){.name = ir_info(graph, input)->name, .value = input};
        }
    }
    for (size_t i = 0; i < towers->cut_count; i++) {
        const compiler_cut_value *cut = &towers->cuts[i];
        if (cut->user == (side == USER)) {
            outputs[output_count++] = (ir_port){.name = cut->name, .value = cut->value};
        }
    }
    return ir_extract(graph, graph->name, inputs, input_count, outputs, output_count, c->diag, &towers->parts[part]);
}

static mtl_status extract_score(const cutter *c, compiler_towers *towers)
{
    const ir_graph *graph = c->graph;
    ir_port *inputs = BASE_NEW_ARRAY(graph->arena, ir_port, towers->cut_count);
    ir_port *outputs = BASE_NEW_ARRAY(graph->arena, ir_port, graph->output_count);
    BASE_TRY_MEMORY(inputs, c->diag);
    BASE_TRY_MEMORY(outputs, c->diag);
    for (size_t i = 0; i < towers->cut_count; i++) {
        const compiler_cut_value *cut = &towers->cuts[i];
        bool has_rows = ir_info(graph, cut->value)->rate.kind == IR_RATE_ROW;
        inputs[i] = (ir_port){.name = cut->name, .value = cut->value, .per_user = cut->user && has_rows};
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        outputs[i] = (ir_port){.name = graph->outputs[i].name, .value = graph->outputs[i].value};
    }
    return ir_extract(graph, graph->name, inputs, towers->cut_count, outputs, graph->output_count, c->diag,
                      &towers->parts[COMPILER_SCORE]);
}

static mtl_status cut(cutter *c, base_arena *scratch, compiler_towers *towers)
{
    const ir_graph *graph = c->graph;
    c->side = BASE_NEW_ARRAY(scratch, unsigned char, graph->value_count);
    c->read = BASE_NEW_ARRAY(scratch, bool, graph->value_count);
    c->cut = BASE_NEW_ARRAY(scratch, bool, graph->value_count);
    BASE_TRY_MEMORY(c->side, c->diag);
    BASE_TRY_MEMORY(c->read, c->diag);
    BASE_TRY_MEMORY(c->cut, c->diag);
    BASE_TRY(compiler_find_sides(graph, c->diag, c->side));
    find_reads(c);
    BASE_TRY(cut_side(c, USER, scratch));
    BASE_TRY(cut_side(c, ITEM, scratch));
    BASE_TRY(list_cuts(c, towers));
    BASE_TRY(check_sides(c, towers));
    BASE_TRY(extract_side(c, towers, COMPILER_USER));
    BASE_TRY(extract_side(c, towers, COMPILER_ITEM));
    BASE_TRY(check_work(c, towers));
    return extract_score(c, towers);
}

mtl_status compiler_cut_towers(ir_graph *graph, base_diag *diag, compiler_towers *towers)
{
    base_arena scratch = {0};
    cutter c = {.graph = graph, .diag = diag};
    *towers = (compiler_towers){0};
    BASE_TRY(ir_infer_rates(graph, diag));
    mtl_status status = cut(&c, &scratch, towers);
    base_arena_free(&scratch);
    return status;
}
