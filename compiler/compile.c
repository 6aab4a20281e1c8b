/* mtl_compile_file, mtl_compile_towers: the phases in order. */
#include <string.h>

#include "compiler/explain.h"
#include "compiler/explain_request.h"
#include "compiler/ids.h"
#include "compiler/import.h"
#include "compiler/legalize.h"
#include "compiler/lower.h"
#include "compiler/outputs.h"
#include "compiler/spread_users.h"
#include "compiler/towers.h"
#include "compiler/write.h"
#include "mtlc/compiler.h"
#include "onnx/onnx.h"
#include "passes/passes.h"

typedef struct compilation {
    const mtl_compile_options *options;
    base_arena *arena;
    base_diag *diag;
    onnx_model model;
    size_t passes_done; /* of the graph in hand */
    size_t graphs_done, graph_count;
    size_t print_after; /* passes that are done when the graph is to be printed; 0: never */
} compilation;

const char *mtl_compiler_version(void)
{
    return MTL_VERSION;
}

static void report(const compilation *work, const char *phase, double share)
{
    if (work->options->progress != NULL) {
        work->options->progress(work->options->progress_context, phase, share);
    }
}

static mtl_status hand_out_constant(const compilation *work, const ir_value_info *value)
{
    const ir_tensor *tensor = value->tensor;
    mtl_tensor_info info = {.name = value->name, .dtype = tensor->dtype, .rank = tensor->rank};
    for (int32_t axis = 0; axis < tensor->rank; axis++) {
        info.shape[axis].fixed = tensor->shape[axis];
    }
    void *data = base_arena_alloc_array(work->arena, tensor->count, mtl_dtype_size(tensor->dtype));
    BASE_TRY_MEMORY(data, work->diag);
    ir_tensor_store(tensor, tensor->dtype, data);
    mtl_status status = work->options->print_constant(work->options->print_constant_context, value->name, &info, data);
    return status == MTL_OK ? MTL_OK
                            : base_fail(work->diag, status, "constant '%s' could not be handed out", value->name);
}

static mtl_status print_graph(const compilation *work, ir_graph *graph)
{
    if (ir_print(graph, work->options->print_ir) != MTL_OK || fflush(work->options->print_ir) != 0) {
        return base_fail(work->diag, MTL_IO, "cannot print the graph");
    }
    if (work->options->print_constant == NULL) {
        return MTL_OK;
    }
    uint32_t *uses;
    BASE_TRY(ir_count_uses(graph, work->arena, work->diag, &uses));
    for (ir_value value = 1; value < graph->value_count; value++) {
        const ir_value_info *info = ir_info(graph, value);
        bool printed = info->kind == IR_VALUE_PARAM || (info->kind == IR_VALUE_CONST && uses[value] > 0);
        if (printed && info->tensor->count > IR_CONTENT_MAX) {
            BASE_TRY(hand_out_constant(work, ir_info(graph, value)));
        }
    }
    return MTL_OK;
}

static mtl_status after_pass(void *context, const char *pass, ir_graph *graph)
{
    compilation *work = context;
    double done = (double)work->graphs_done + (double)++work->passes_done / (double)passes_count;
    report(work, pass, 0.2 + 0.5 * done / (double)work->graph_count);
#ifndef NDEBUG
    BASE_TRY(ir_verify(graph, work->diag));
#endif
    return work->passes_done == work->print_after ? print_graph(work, graph) : MTL_OK;
}

/* A pass may stand in the list more than once: what it does is done after the last time. */
static size_t last_run_of(const char *pass)
{
    size_t last = 0;
    for (size_t i = 0; i < passes_count; i++) {
        if (strcmp(passes_list[i].name, pass) == 0) {
            last = i + 1;
        }
    }
    return last;
}

/* A host that sets what nothing reads would wait for an effect for ever. */
static mtl_status check_params(const compilation *work, const ir_graph *graph)
{
    uint32_t *uses;
    BASE_TRY(ir_count_uses(graph, work->arena, work->diag, &uses));
    for (uint32_t i = 0; i < graph->param_count; i++) {
        if (uses[graph->params[i]] == 0) {
            return base_fail(work->diag, MTL_INVALID_ARGUMENT, "--param %.100s: no output depends on it",
                             ir_info(graph, graph->params[i])->name);
        }
    }
    return MTL_OK;
}

static mtl_status optimise(compilation *work, ir_graph *graph)
{
    work->passes_done = 0;
    if (work->options->print_ir != NULL) {
        work->print_after =
            work->options->print_ir_after != NULL ? last_run_of(work->options->print_ir_after) : passes_count;
    }
    BASE_TRY(passes_run(graph, work->diag, after_pass, work));
    BASE_TRY(compiler_legalize(graph, work->diag));
    BASE_TRY(passes_fold_constants(graph, work->diag));
    BASE_TRY(passes_remove_dead(graph, work->diag));
    BASE_TRY(check_params(work, graph));
    BASE_TRY(compiler_spread_users(graph, work->arena, work->diag));
    return ir_infer_rates(graph, work->diag);
}

/* The options that change the graph as imported. */
static mtl_status prepare(compilation *work)
{
    const mtl_compile_options *options = work->options;
    ir_graph *graph = work->model.graph;
    graph->fold_byte_budget = options->fold_byte_budget;
    BASE_TRY(compiler_set_ids(graph, options->ids, options->id_count, work->diag));
    return compiler_keep_outputs(graph, options->outputs, options->output_count, work->diag);
}

static mtl_status make_plan(compilation *work, ir_graph *graph, compiler_lowered *lowered, plan_view *view)
{
    compiler_provenance provenance = {.producer = work->model.producer,
                                      .compiler = "mtlc " MTL_VERSION,
                                      .source_hash = {work->model.hash[0], work->model.hash[1]}};
    BASE_TRY(optimise(work, graph));
    BASE_TRY(compiler_lower(graph, &provenance, work->arena, work->diag, lowered));
    return plan_check(lowered->plan, lowered->plan_size, true, work->diag, view);
}

/* The diag of files that are written: their paths are in their messages. */
static mtl_status write_plans(const compilation *work, const char *const *paths, const compiler_lowered *plans,
                              size_t count)
{
    base_diag diag = {.error = work->diag->error};
    return compiler_write_plans(paths, plans, count, &diag);
}

/* What a plan of the same model costs where every input differs between candidates. */
static mtl_status cost_without_users(compilation *work, const char *model_path, compiler_shares *shares)
{
    compiler_lowered lowered;
    plan_view view;
    BASE_TRY(compiler_import(model_path, work->options, true, work->arena, work->diag, &work->model));
    BASE_TRY(prepare(work));
    BASE_TRY(make_plan(work, work->model.graph, &lowered, &view));
    *shares = compiler_count_shares(&view);
    return MTL_OK;
}

static mtl_status explain(const compilation *work, const compiler_lowered *lowered, const plan_view *view,
                          const char *model_path)
{
    const ir_graph *graph = work->model.graph;
    FILE *out = work->options->explain;
    BASE_TRY(compiler_explain(graph, lowered, view, model_path, work->arena, work->diag, out));
    if (!ir_has_users(graph)) {
        return MTL_OK;
    }
    mtl_compile_options quiet = *work->options;
    quiet.print_ir = quiet.explain = quiet.print_params = NULL;
    quiet.progress = NULL;
    quiet.id_count = 0; /* policies cost nothing, and may name halves of inputs */
    base_arena arena = {0};
    base_diag silent = {0};
    compilation other = {.options = &quiet, .arena = &arena, .diag = &silent, .graph_count = 1};
    compiler_shares without;
    mtl_status status = cost_without_users(&other, model_path, &without);
    onnx_close(&other.model);
    base_arena_free(&arena);
    if (status == MTL_OUT_OF_MEMORY) {
        return base_fail_memory(work->diag);
    }
    return compiler_explain_request(graph, lowered, view, status == MTL_OK ? &without : NULL, work->arena, work->diag,
                                    out);
}

static mtl_status compile(compilation *work, const char *model_path, const char *plan_path)
{
    ir_graph *graph = work->model.graph;
    compiler_lowered lowered;
    plan_view view;
    BASE_TRY(prepare(work));
    report(work, "optimise", 0.2);
    BASE_TRY(make_plan(work, graph, &lowered, &view));
    if (work->options->explain != NULL) {
        BASE_TRY(explain(work, &lowered, &view, model_path));
    }
    report(work, "write", 0.9);
    BASE_TRY(plan_path != NULL ? write_plans(work, &plan_path, &lowered, 1) : MTL_OK);
    report(work, "done", 1.0);
    return MTL_OK;
}

/* The passes before the first that packs layers of different values into one: what they leave can be cut. */
static mtl_status optimise_apart(compilation *work, ir_graph *graph)
{
    for (size_t i = 0; i < passes_count && strcmp(passes_list[i].name, "side_by_side") != 0; i++) {
        BASE_TRY(passes_list[i].run(graph, work->diag));
#ifndef NDEBUG
        BASE_TRY(ir_verify(graph, work->diag));
#endif
    }
    BASE_TRY(passes_remove_dead(graph, work->diag));
    return check_params(work, graph);
}

static mtl_status compile_towers(compilation *work, const char *model_path, const char *prefix)
{
    compiler_towers towers;
    compiler_lowered lowered[COMPILER_PARTS];
    plan_view views[COMPILER_PARTS];
    const char *paths[COMPILER_PARTS];
    BASE_TRY(prepare(work));
    work->graph_count = COMPILER_PARTS;
    report(work, "optimise", 0.2);
    BASE_TRY(optimise_apart(work, work->model.graph));
    BASE_TRY(compiler_split_item_columns(work->model.graph, work->diag));
    BASE_TRY(compiler_cut_towers(work->model.graph, work->diag, &towers));
    for (size_t i = 0; i < COMPILER_PARTS; i++) {
        paths[i] = base_arena_format(work->arena, "%s.%s.plan", prefix != NULL ? prefix : "", compiler_part_names[i]);
        BASE_TRY_MEMORY(paths[i], work->diag);
        work->graphs_done = i;
        BASE_TRY(make_plan(work, towers.parts[i], &lowered[i], &views[i]));
    }
    if (work->options->explain != NULL) {
        BASE_TRY(compiler_explain_towers(&towers, views, model_path, work->diag, work->options->explain));
    }
    report(work, "write", 0.9);
    BASE_TRY(prefix != NULL ? write_plans(work, paths, lowered, COMPILER_PARTS) : MTL_OK);
    report(work, "done", 1.0);
    return MTL_OK;
}

/* Reads the options and the model, and does `what` with it. */
static mtl_status with_model(const char *model_path, const mtl_compile_options *given, mtl_error *error,
                             mtl_status (*what)(compilation *work, const char *model_path, const char *to),
                             const char *to)
{
    base_diag diag = {.error = error, .file = model_path};
    mtl_compile_options options = {0};
    if (model_path == NULL || (given != NULL && given->struct_size < sizeof given->struct_size)) {
        diag.file = NULL;
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "mtl_compile: %s",
                         model_path == NULL ? "no model path" : "struct_size of the options is not set");
    }
    if (given != NULL) { /* a caller of an older version knows fewer fields; what it does not know is 0 */
        memcpy(&options, given, given->struct_size < sizeof options ? given->struct_size : sizeof options);
    }
    if (options.print_ir_after != NULL && passes_find(options.print_ir_after) == NULL) {
        diag.file = NULL;
        return base_fail(&diag, MTL_INVALID_ARGUMENT, "there is no pass '%s'", options.print_ir_after);
    }
    base_arena arena = {0};
    compilation work = {.options = &options, .arena = &arena, .diag = &diag, .graph_count = 1};
    report(&work, "read", 0.0);
    mtl_status status = compiler_import(model_path, &options, false, &arena, &diag, &work.model);
    if (status == MTL_OK) {
        status = what(&work, model_path, to);
        onnx_close(&work.model);
    }
    base_arena_free(&arena);
    return status;
}

mtl_status mtl_compile_file(const char *model_path, const char *plan_path, const mtl_compile_options *options,
                            mtl_error *error)
{
    return with_model(model_path, options, error, compile, plan_path);
}

mtl_status mtl_compile_towers(const char *model_path, const char *prefix, const mtl_compile_options *options,
                              mtl_error *error)
{
    return with_model(model_path, options, error, compile_towers, prefix);
}
