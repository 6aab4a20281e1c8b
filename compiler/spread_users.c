/* Where what is computed once per user meets what is computed for each candidate.
 *
 * In the graph a per-user value has all candidates' rows, which are equal for those of one user. Lowering puts such values
 * into the request program, with a row for each user. A node of the row program reads them as they are where its step
 * finds each candidate's user (PLAN_USERS in plan/ops.def); to all others they are given by `spread`, a step that copies.
 * Spread takes values whose candidates lead; one that it does not take is computed for each candidate after all, from
 * operands that are spread. */
#include "compiler/spread_users.h"
#include "compiler/lowering.h"
#include "plan/plan.h"

typedef struct spreader {
    ir_graph *graph;
    base_diag *diag;
    bool *read_by_rows; /* by value: a node of the row program, or an output, reads it row by row */
    bool *demoted;      /* by value: it looks like the users', but is computed for each candidate */
    ir_value *spread;   /* by value: what spread makes of it, 0: nothing yet */
} spreader;

static bool is_users(const spreader *s, ir_value value)
{
    return value != 0 && ir_info(s->graph, value)->rate.per_user && !s->demoted[value];
}

static bool spreads(const spreader *s, ir_value value)
{
    const ir_value_info *info = ir_info(s->graph, value);
    return compiler_rows_lead(&info->type) && info->rate.before == 1;
}

/* Whether the step of `node` finds the users' rows of operand `i` itself. */
static bool reads_users(const spreader *s, const ir_node_info *node, uint32_t i)
{
    plan_op op;
    const ir_type *type = ir_type_of(s->graph, node->inputs[i]);
    return compiler_plan_op(node->op, &op) && plan_takes_users(op, i) && type->rank > 0 &&
           ir_dim_equal(type->dim[0], ir_dim_symbol(IR_SYMBOL_ROWS));
}

static void look_at(spreader *s, const ir_node_info *node)
{
    ir_value result = node->outputs[0];
    if (is_users(s, result) && (!s->read_by_rows[result] || spreads(s, result))) {
        return;
    }
    s->demoted[result] = true;
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (is_users(s, node->inputs[i]) && !reads_users(s, node, i)) {
            s->read_by_rows[node->inputs[i]] = true;
        }
    }
}

/* Before `before` (0: at the end), unless it is there already. */
static mtl_status spread_value(spreader *s, ir_node before, ir_value value, ir_value *result)
{
    if (s->spread[value] == 0) {
        BASE_TRY(ir_insert(s->graph, before, IR_OP_spread, ir_info(s->graph, value)->name, &value, 1, NULL, 0, s->diag,
                           &s->spread[value]));
    }
    *result = s->spread[value];
    return MTL_OK;
}

static mtl_status change_operands(spreader *s, ir_node node)
{
    const ir_node_info *info = ir_node_of(s->graph, node);
    if (!s->demoted[info->outputs[0]]) {
        return MTL_OK;
    }
    for (uint32_t i = 0; i < info->input_count; i++) {
        if (is_users(s, info->inputs[i]) && !reads_users(s, info, i)) {
            ir_value rows;
            BASE_TRY(spread_value(s, node, info->inputs[i], &rows));
            info = ir_node_of(s->graph, node);
            info->inputs[i] = rows;
        }
    }
    return MTL_OK;
}

mtl_status compiler_spread_users(ir_graph *graph, base_arena *arena, base_diag *diag)
{
    if (!ir_has_users(graph)) {
        return MTL_OK;
    }
    BASE_TRY(ir_infer_rates(graph, diag));
    spreader s = {.graph = graph, .diag = diag};
    s.read_by_rows = BASE_NEW_ARRAY(arena, bool, graph->value_count);
    s.demoted = BASE_NEW_ARRAY(arena, bool, graph->value_count);
    s.spread = BASE_NEW_ARRAY(arena, ir_value, graph->value_count);
    BASE_TRY_MEMORY(s.read_by_rows, diag);
    BASE_TRY_MEMORY(s.demoted, diag);
    BASE_TRY_MEMORY(s.spread, diag);
    for (uint32_t i = 0; i < graph->output_count; i++) {
        s.read_by_rows[graph->outputs[i].value] = true;
    }
    for (ir_node node = graph->last_node; node != 0; node = ir_node_of(graph, node)->previous) {
        look_at(&s, ir_node_of(graph, node));
    }
    for (ir_node node = graph->first_node, next; node != 0; node = next) {
        next = ir_node_of(graph, node)->next;
        BASE_TRY(change_operands(&s, node));
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        if (is_users(&s, graph->outputs[i].value)) {
            BASE_TRY(spread_value(&s, 0, graph->outputs[i].value, &graph->outputs[i].value));
        }
    }
    return MTL_OK;
}
