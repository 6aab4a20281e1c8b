/* The part of --explain about users and candidates: what is computed how often, what candidates read of their user, and
 * what keeps the rest from being computed once per user. */
#include "compiler/explain_request.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LISTED = 8, REQUEST_ROWS = 256, NAME_WIDTH = 36, OPERATION_TEXT = 96 };

static bool is_users(const plan_view *view, const plan_tensor *tensor)
{
    return tensor != NULL && plan_grows_with_users(plan_dims(view, tensor), tensor->rank);
}

static uint64_t bytes_of(const plan_view *view, const plan_tensor *tensor)
{
    uint64_t elements = 1;
    for (unsigned axis = 0; axis < tensor->rank; axis++) {
        mtl_dim dim = plan_dims(view, tensor)[axis];
        elements *= (uint64_t)(dim.fixed + dim.per_user); /* the checker has bounded it */
    }
    return elements * mtl_dtype_size(tensor->dtype);
}

/* What a step of the candidates reads of the user, which its cost has once; `spread` reads a user's row a candidate. */
static uint64_t users_bytes(const plan_view *view, const plan_step *step)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < step->input_count && step->op != PLAN_OP_spread; i++) {
        const plan_tensor *tensor = plan_operand(view, step, i);
        bytes += is_users(view, tensor) ? bytes_of(view, tensor) : 0;
    }
    return bytes;
}

compiler_shares compiler_count_shares(const plan_view *view)
{
    compiler_shares sum = {0};
    for (size_t i = 0; i < view->step_count; i++) {
        const plan_step *step = &view->steps[i];
        plan_cost cost = plan_step_cost(view, step);
        int once = is_users(view, plan_result(view, step)) ? COMPILER_A_USER : COMPILER_A_CALL;
        uint64_t mine = i >= view->meta->request_step_count ? users_bytes(view, step) : 0;
        uint64_t fixed = cost.bytes_fixed - cost.weight_bytes;
        mine = mine < fixed ? mine : fixed;
        sum.flops[once] += cost.flops_fixed;
        sum.flops[COMPILER_A_CANDIDATE] += cost.flops_per_row;
        sum.bytes[COMPILER_A_CALL] += cost.weight_bytes;
        sum.bytes[once] += fixed - mine;
        sum.bytes[COMPILER_A_CANDIDATE] += cost.bytes_per_row + mine;
    }
    return sum;
}

/* --- inputs and sums ------------------------------------------------------------------------------------------ */

static void print_inputs(const plan_view *view, FILE *out)
{
    size_t count = 0;
    for (size_t i = 0; i < view->meta->input_count; i++) {
        count += is_users(view, &view->tensors[view->signature[i]]) ? 1 : 0;
    }
    fprintf(out, "\nrequest: %zu of %" PRIu32 " inputs are the same for all candidates of one user\n", count,
            view->meta->input_count);
    for (size_t i = 0; i < view->meta->input_count; i++) {
        const plan_tensor *tensor = &view->tensors[view->signature[i]];
        char shape[PLAN_SHAPE_TEXT];
        if (is_users(view, tensor)) {
            fprintf(out, "  %-*s %-8s %-20s %8" PRIu64 " bytes\n", NAME_WIDTH, plan_string(view, tensor->name),
                    mtl_dtype_name(tensor->dtype),
                    plan_shape_text(plan_dims(view, tensor), tensor->rank, shape, sizeof shape),
                    bytes_of(view, tensor));
        }
    }
}

static void print_shares(const char *name, const compiler_shares *shares, FILE *out)
{
    fprintf(out, "  %-16s", name);
    for (int i = 0; i < COMPILER_SHARES; i++) {
        fprintf(out, " %17" PRIu64, shares->flops[i]);
    }
    for (int i = 0; i < COMPILER_SHARES; i++) {
        fprintf(out, " %17" PRIu64, shares->bytes[i]);
    }
    fputc('\n', out);
}

/* FLOPs of a request: one user and REQUEST_ROWS candidates. */
static uint64_t request_flops(const compiler_shares *shares)
{
    return shares->flops[COMPILER_A_CALL] + shares->flops[COMPILER_A_USER] +
           shares->flops[COMPILER_A_CANDIDATE] * REQUEST_ROWS;
}

static void print_sums(const plan_view *view, const compiler_shares *without, FILE *out)
{
    static const char *const units[] = {"a call", "a user", "a candidate"};
    compiler_shares with = compiler_count_shares(view);
    fprintf(out, "  %-16s", "");
    for (int i = 0; i < 2 * COMPILER_SHARES; i++) {
        char heading[32];
        snprintf(heading, sizeof heading, "%s %s", i < COMPILER_SHARES ? "FLOPs" : "bytes", units[i % COMPILER_SHARES]);
        fprintf(out, " %17s", heading);
    }
    fputc('\n', out);
    print_shares("this plan", &with, out);
    if (without == NULL) {
        return;
    }
    print_shares("nothing declared", without, out);
    double less = (double)request_flops(without) / (double)(request_flops(&with) + (request_flops(&with) == 0));
    fprintf(out, "  1 user with %d candidates: %" PRIu64 " FLOPs, %.2f times less than where nothing is declared\n",
            REQUEST_ROWS, request_flops(&with), less);
}

/* --- what candidates read of their user ----------------------------------------------------------------------- */

static void print_crossing(const plan_view *view, FILE *out)
{
    bool any = false;
    for (size_t i = view->meta->request_step_count; i < view->step_count; i++) {
        const plan_step *step = &view->steps[i];
        for (unsigned j = 0; j < step->input_count; j++) {
            const plan_tensor *tensor = plan_operand(view, step, j);
            char shape[PLAN_SHAPE_TEXT];
            if (!is_users(view, tensor)) {
                continue;
            }
            if (!any) {
                fprintf(out, "read of the user for each candidate:\n");
            }
            any = true;
            fprintf(out, "  %-*s %-20s %8" PRIu64 " bytes, by step %zu (%s)\n", NAME_WIDTH,
                    plan_string(view, tensor->name),
                    plan_shape_text(plan_dims(view, tensor), tensor->rank, shape, sizeof shape), bytes_of(view, tensor),
                    i, plan_op_name(step->op));
        }
    }
}

/* --- what holds the rest back --------------------------------------------------------------------------------- */

enum { SEVERAL = -1 };

typedef struct holder {
    const ir_graph *graph;
    const compiler_lowered *lowered;
    const plan_view *view;
    int32_t *source; /* by value: 1 + the one input that makes it differ between candidates; 0: none; SEVERAL */
    uint32_t *mine;  /* by value: columns of the last axis that are the user's, copied to the candidate */
} holder;

/* A row node with a step, and its FLOPs a candidate. */
typedef struct work {
    ir_node node;
    uint64_t flops;
} work;

static int by_flops(const void *a, const void *b)
{
    const work *left = a, *right = b;
    if (left->flops != right->flops) {
        return left->flops > right->flops ? -1 : 1;
    }
    return left->node < right->node ? -1 : 1;
}

static uint32_t width_of(const ir_graph *graph, ir_value value)
{
    const ir_type *type = ir_type_of(graph, value);
    ir_dim last = type->rank > 0 ? type->dim[type->rank - 1] : ir_dim_const(0);
    return ir_dim_is_const(last) && last.c < UINT32_MAX ? (uint32_t)last.c : 0;
}

static uint32_t mine_of(const holder *h, const ir_node_info *info)
{
    uint32_t mine = 0;
    if (info->op == IR_OP_spread) {
        return width_of(h->graph, info->outputs[0]);
    }
    int64_t last = ir_type_of(h->graph, info->outputs[0])->rank - 1;
    for (uint32_t i = 0; i < info->input_count && info->op == IR_OP_concat; i++) {
        uint32_t part = h->mine[info->inputs[i]];
        mine = ir_attr_int(info, IR_ATTR_axis) == last ? mine + part : part > mine ? part : mine;
    }
    return mine;
}

static int32_t source_of(const holder *h, const ir_node_info *info)
{
    int32_t source = 0;
    for (uint32_t i = 0; i < info->input_count; i++) {
        int32_t other = h->source[info->inputs[i]];
        if (other != 0) {
            source = source == 0 || source == other ? other : SEVERAL;
        }
    }
    return source;
}

/* By input, and for several, the FLOPs of steps that nothing else keeps from being the user's. */
static void print_holders(const holder *h, uint64_t *flops, uint64_t several, FILE *out)
{
    uint32_t listed = 0;
    fprintf(out, "computed for each candidate, in FLOPs, because of\n");
    for (; listed < MOST_LISTED; listed++) {
        uint32_t most = 0;
        for (uint32_t i = 1; i < h->graph->input_count; i++) {
            most = flops[i] > flops[most] ? i : most;
        }
        if (flops[most] == 0) {
            break;
        }
        fprintf(out, "  %-*s %14" PRIu64 "\n", NAME_WIDTH, ir_info(h->graph, h->graph->inputs[most])->name,
                flops[most]);
        flops[most] = 0;
    }
    if (several > 0) {
        fprintf(out, "  %-*s %14" PRIu64 "\n", NAME_WIDTH, "several inputs", several);
    }
}

/* Why a node is not split; NULL: no pass says. Notes about other things speak of no user. */
static const char *reason_of(const ir_graph *graph, const ir_node_info *info)
{
    for (uint32_t i = 0; i < info->source_count; i++) {
        const char *note = graph->sources[info->sources[i]].note;
        if (note != NULL && strstr(note, "user") != NULL) {
            return note;
        }
    }
    return NULL;
}

/* What sums over columns, and so could begin with the sums of the user's. */
static bool is_product(ir_op op)
{
    return op == IR_OP_linear || op == IR_OP_matmul || op == IR_OP_gru || op == IR_OP_attention;
}

static void print_unsplit(const holder *h, const work *all, uint32_t count, FILE *out)
{
    uint32_t listed = 0;
    for (uint32_t i = 0; i < count && listed < MOST_LISTED; i++) {
        const ir_node_info *info = ir_node_of(h->graph, all[i].node);
        ir_value widest = 0;
        for (uint32_t j = 0; j < info->input_count; j++) {
            widest = h->mine[info->inputs[j]] > h->mine[widest] ? info->inputs[j] : widest;
        }
        if (widest == 0 || all[i].flops == 0 || !is_product(info->op)) {
            continue;
        }
        if (listed++ == 0) {
            fprintf(out, "products for each candidate though columns are the user's:\n");
        }
        uint32_t step = h->lowered->node_step[all[i].node];
        const char *reason = reason_of(h->graph, info);
        fprintf(out, "  step %" PRIu32 ": %s (%.80s): %" PRIu32 " of %" PRIu32 " columns, %" PRIu64 " FLOPs%s%s\n",
                step, plan_op_name(h->view->steps[step].op), plan_string(h->view, h->view->steps[step].label),
                h->mine[widest], width_of(h->graph, widest), all[i].flops, reason != NULL ? "; " : "",
                reason != NULL ? reason : "");
    }
}

static mtl_status print_rest(holder *h, base_arena *arena, base_diag *diag, FILE *out)
{
    const ir_graph *graph = h->graph;
    uint64_t *flops = BASE_NEW_ARRAY(arena, uint64_t, graph->input_count), several = 0;
    work *all = BASE_NEW_ARRAY(arena, work, graph->node_count);
    uint32_t count = 0;
    BASE_TRY_MEMORY(flops, diag);
    BASE_TRY_MEMORY(all, diag);
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        const ir_node_info *info = ir_node_of(graph, node);
        int32_t source = source_of(h, info);
        for (uint32_t i = 0; i < info->output_count; i++) {
            h->source[info->outputs[i]] = source;
        }
        h->mine[info->outputs[0]] = mine_of(h, info);
        uint32_t step = h->lowered->node_step[node];
        if (step != COMPILER_NO_STEP && step >= h->view->meta->request_step_count) {
            uint64_t cost = plan_step_cost(h->view, &h->view->steps[step]).flops_per_row;
            all[count++] = (work){node, cost};
            *(source > 0 ? &flops[source - 1] : &several) += cost;
        }
    }
    qsort(all, count, sizeof *all, by_flops);
    print_unsplit(h, all, count, out);
    print_holders(h, flops, several, out);
    return MTL_OK;
}

mtl_status compiler_explain_request(const ir_graph *graph, const compiler_lowered *lowered, const plan_view *view,
                                    const compiler_shares *without, base_arena *arena, base_diag *diag, FILE *out)
{
    holder h = {.graph = graph, .lowered = lowered, .view = view};
    h.source = BASE_NEW_ARRAY(arena, int32_t, graph->value_count);
    h.mine = BASE_NEW_ARRAY(arena, uint32_t, graph->value_count);
    BASE_TRY_MEMORY(h.source, diag);
    BASE_TRY_MEMORY(h.mine, diag);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        const ir_value_info *info = ir_info(graph, graph->inputs[i]);
        h.source[graph->inputs[i]] = info->rate.kind == IR_RATE_ROW && !info->per_user ? (int32_t)i + 1 : 0;
    }
    print_inputs(view, out);
    print_sums(view, without, out);
    print_crossing(view, out);
    return print_rest(&h, arena, diag, out);
}
