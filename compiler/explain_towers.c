/* What --emit-towers made of a model. */
#include <inttypes.h>
#include <string.h>

#include "compiler/explain.h"

static void print_tensor(const plan_view *view, uint32_t id, const char *role, const char *source, FILE *out)
{
    const plan_tensor *tensor = &view->tensors[id];
    char shape[PLAN_SHAPE_TEXT];
    fprintf(out, "  %-6s %-24s %-8s %-16s%s%s\n", role, plan_string(view, tensor->name),
            mtl_dtype_name((mtl_dtype)tensor->dtype),
            plan_shape_text(plan_dims(view, tensor), tensor->rank, shape, sizeof shape), *source != '\0' ? " " : "",
            source);
}

/* What computes an output of the user's or item's part. */
static const char *source_of(const compiler_towers *towers, const char *name)
{
    for (size_t i = 0; i < towers->cut_count; i++) {
        if (strcmp(towers->cuts[i].name, name) == 0) {
            return towers->cuts[i].source;
        }
    }
    return "";
}

static void print_part(const compiler_towers *towers, const plan_view *view, int part, FILE *out)
{
    const plan_meta *meta = view->meta;
    fprintf(out, "%s plan:\n", compiler_part_names[part]);
    for (uint32_t i = 0; i < meta->input_count; i++) {
        print_tensor(view, view->signature[i], "input", "", out);
    }
    for (uint32_t i = 0; i < meta->output_count; i++) {
        uint32_t id = view->signature[meta->input_count + i];
        const char *name = plan_string(view, view->tensors[id].name);
        print_tensor(view, id, "output", part != COMPILER_SCORE ? source_of(towers, name) : "", out);
    }
    compiler_explain_steps(view, out);
    fputc('\n', out);
}

mtl_status compiler_explain_towers(const compiler_towers *towers, const plan_view *views, const char *model_path,
                                   base_diag *diag, FILE *out)
{
    uint64_t bytes = 0;
    fprintf(out, "%s (%s): three plans\n\n", model_path, plan_string(&views[0], views[0].meta->producer));
    for (int part = 0; part < COMPILER_PARTS; part++) {
        print_part(towers, &views[part], part, out);
    }
    fprintf(out, "stored an item:");
    for (size_t i = towers->user_count; i < towers->cut_count; i++) {
        fprintf(out, "%s %s %" PRIu64, i > towers->user_count ? "," : "", towers->cuts[i].name, towers->cuts[i].bytes);
        bytes += towers->cuts[i].bytes;
    }
    fprintf(out, "; %" PRIu64 " bytes together\n", bytes);
    return ferror(out) ? base_fail(diag, MTL_IO, "cannot write the explanation") : MTL_OK;
}
