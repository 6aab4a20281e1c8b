#include "compiler/explain.h"

#include <inttypes.h>
#include <string.h>

enum { NAME_WIDTH = 44, OP_WIDTH = 20, OPERATION_TEXT = 96 };

/* Where the work of each source node is done: the first node of ours that lists it. */
static mtl_status find_workers(const ir_graph *graph, base_arena *arena, base_diag *diag, ir_node **workers)
{
    *workers = BASE_NEW_ARRAY(arena, ir_node, graph->source_count);
    BASE_TRY_MEMORY(*workers, diag);
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        const ir_node_info *info = ir_node_of(graph, node);
        for (uint32_t i = 0; i < info->source_count; i++) {
            if ((*workers)[info->sources[i]] == 0) {
                (*workers)[info->sources[i]] = node;
            }
        }
    }
    return MTL_OK;
}

/* "linear relu"; "softmax" and not "softmax softmax"; "chain prelu, mul"; "linear relu *" in a span. */
static const char *operation_text(const plan_view *view, const plan_step *step, char *text, size_t size)
{
    char function[OPERATION_TEXT / 2];
    const char *op = plan_op_name(step->op);
    plan_step_function(view, step, function, sizeof function);
    bool says_more = function[0] != '\0' && strcmp(op, function) != 0;
    snprintf(text, size, "%s%s%s%s", op, says_more ? " " : "", says_more ? function : "", step->span != 0 ? " *" : "");
    return text;
}

/* Why a node that is there has no step. */
static const char *free_text(ir_op op)
{
    switch (op) {
    case IR_OP_concat: return "in place: its operands are computed, or copied, to where it lies";
    case IR_OP_slice:
    case IR_OP_gather: return "in place: its readers take these columns from its operand";
    default: return "free: the same numbers under another shape";
    }
}

static void print_nodes(const ir_graph *graph, const compiler_lowered *lowered, const plan_view *view,
                        const ir_node *workers, FILE *out)
{
    fprintf(out, "%-*s %-*s %s\n", NAME_WIDTH, "node", OP_WIDTH, "operator", "became");
    for (uint32_t i = 0; i < graph->source_count; i++) {
        const ir_source *source = &graph->sources[i];
        fprintf(out, "%-*s %-*s ", NAME_WIDTH, source->name, OP_WIDTH, source->op);
        uint32_t step = workers[i] != 0 ? lowered->node_step[workers[i]] : COMPILER_NO_STEP;
        if (step != COMPILER_NO_STEP) {
            char text[OPERATION_TEXT];
            fprintf(out, "step %" PRIu32 ": %s\n", step, operation_text(view, &view->steps[step], text, sizeof text));
        } else if (workers[i] != 0) {
            fprintf(out, "%s\n", free_text(ir_node_of(graph, workers[i])->op));
        } else {
            fprintf(out, "%s\n", source->fate != NULL ? source->fate : "shape arithmetic, known at compile time");
        }
    }
}

static const char *shape_text(const plan_view *view, const plan_tensor *tensor, char *text)
{
    return plan_shape_text(plan_dims(view, tensor), tensor->rank, text, PLAN_SHAPE_TEXT);
}

void compiler_explain_steps(const plan_view *view, FILE *out)
{
    plan_cost total = {0};
    size_t spans = 0;
    fprintf(out, "%4s %-8s %-22s %-22s %12s %12s  %s\n", "step", "program", "operation", "result", "FLOPs/row",
            "bytes/row", "does the work of");
    for (size_t i = 0; i < view->step_count; i++) {
        const plan_step *step = &view->steps[i];
        plan_cost cost = plan_step_cost(view, step);
        char operation[OPERATION_TEXT], shape[PLAN_SHAPE_TEXT];
        fprintf(out, "%4zu %-8s %-22s %-22s %12" PRIu64 " %12" PRIu64 "  %s\n", i,
                i < view->meta->request_step_count ? "request" : "row",
                operation_text(view, step, operation, sizeof operation),
                shape_text(view, plan_result(view, step), shape), cost.flops_per_row, cost.bytes_per_row,
                plan_string(view, step->label));
        spans += step->span != 0;
        total.flops_fixed += cost.flops_fixed;
        total.flops_per_row += cost.flops_per_row;
        total.bytes_fixed += cost.bytes_fixed;
        total.bytes_per_row += cost.bytes_per_row;
    }
    if (spans > 0) {
        fprintf(
            out,
            "*: of each sequence only from the first to the last position that its mask keeps, as nothing reads the "
            "others; FLOPs and bytes are those of full sequences\n");
    }
    fprintf(out, "\nFLOPs: %" PRIu64 " + %" PRIu64 " x rows\n", total.flops_fixed, total.flops_per_row);
    fprintf(out, "constants: %zu bytes\n", view->const_bytes);
    if (view->meta->param_count > 0) {
        fprintf(out, "params: %" PRIu32 ", %" PRIu64 " bytes a session\n", view->meta->param_count,
                plan_param_bytes(view));
    }
    fprintf(out, "workspace: %" PRIu64 " bytes + threads x tile rows x %" PRIu64 " bytes\n",
            plan_param_bytes(view) + view->meta->request_bytes, view->meta->row_bytes);
}

mtl_status compiler_explain(const ir_graph *graph, const compiler_lowered *lowered, const plan_view *view,
                            const char *model_path, base_arena *arena, base_diag *diag, FILE *out)
{
    ir_node *workers;
    BASE_TRY(find_workers(graph, arena, diag, &workers));
    fprintf(out, "%s (%s): %" PRIu32 " nodes became %zu steps, a plan of %zu bytes\n\n", model_path,
            plan_string(view, view->meta->producer), graph->source_count, view->step_count, lowered->plan_size);
    print_nodes(graph, lowered, view, workers, out);
    fputc('\n', out);
    compiler_explain_steps(view, out);
    if (lowered->whole_batch != 0) {
        fprintf(
            out,
            "whole batch: '%s' mixes or repeats candidates, so the plan runs all rows at once and its workspace grows "
            "with them\n",
            ir_info(graph, lowered->whole_batch)->name);
    }
    for (uint32_t i = 0; i < graph->source_count; i++) {
        if (graph->sources[i].note != NULL) {
            fprintf(out, "note: %s (%s): %s\n", graph->sources[i].name, graph->sources[i].op, graph->sources[i].note);
        }
    }
    return ferror(out) ? base_fail(diag, MTL_IO, "cannot write the explanation") : MTL_OK;
}
