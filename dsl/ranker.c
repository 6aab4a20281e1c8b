/* A ranker as a whole: its declarations in order, the files that it uses, and the graph that comes out. */
#include <string.h>

#include "base/file.h"
#include "dsl/elaborate.h"

/* --- declarations ---------------------------------------------------------------------------------------------- */

static void declare_tasks(dsl_elaborator *e, const dsl_node *node)
{
    static const dsl_shape_kind binary_kind = {.name = "binary"};
    const dsl_value *so_far = dsl_look_up(&e->file, "tasks");
    size_t before = so_far != NULL ? so_far->count : 0;
    dsl_value list = dsl_list(e, node->span, before + node->count);
    if (list.type != DSL_T_LIST) {
        return;
    }
    for (size_t i = 0; i < before; i++) {
        list.items[i] = so_far->items[i];
    }
    for (size_t i = 0; i < node->count; i++) {
        const dsl_node *task = node->child[i];
        dsl_value value = {
            .type = DSL_T_TASK, .integer = (int64_t)(before + i), .text = task->text, .kind = &binary_kind};
        if (task->child[0] != NULL) {
            dsl_value kind = dsl_evaluate(e, &e->file, task->child[0]);
            if (kind.type != DSL_T_KIND && kind.type != DSL_T_BAD) {
                dsl_bad(e, task->child[0]->span, "expected the task's kind: binary(), regression() or classes(COUNT)");
            }
            value.kind = kind.type == DSL_T_KIND ? kind.kind : value.kind;
        }
        if (dsl_look_up(&e->file, task->text) != NULL) {
            dsl_bad(e, task->span, "'%.60s' is declared twice", task->text);
        }
        list.items[before + i] = value;
        dsl_set(e, &e->file, task->text, value);
    }
    dsl_set(e, &e->file, "tasks", list);
}

static void declare_input(dsl_elaborator *e, const dsl_node *node)
{
    dsl_value kind = dsl_evaluate(e, &e->file, node->child[0]);
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    if (kind.type != DSL_T_KIND) {
        if (kind.type != DSL_T_BAD) {
            dsl_bad(e, node->child[0]->span,
                    "expected the input's kind: dense(WIDTH), id(SIZE), bag(SIZE, LENGTH) or "
                    "sequence(SIZE, LENGTH)");
        }
        dsl_set(e, &e->file, node->text, (dsl_value){.type = DSL_T_BAD});
        return;
    }
    ir_type type = {.rank = 1, .dim = {ir_dim_symbol(IR_SYMBOL_ROWS)}};
    bool dense = strcmp(kind.kind->name, "dense") == 0;
    type.dtype = dense ? MTL_F32 : MTL_I64;
    if (dense || kind.kind->length > 0) {
        type.dim[type.rank++] = ir_dim_const(dense ? kind.kind->size : kind.kind->length);
    }
    dsl_value value = {.type = DSL_T_TENSOR, .kind = kind.kind};
    mtl_status status = ir_add_input(e->graph, node->text, &type, &inner, &value.tensor);
    if (status == MTL_OK && node->request) {
        status = ir_set_per_user(e->graph, value.tensor, &inner);
    }
    if (status != MTL_OK) {
        dsl_failed(e, node->span, status, &inner);
        return;
    }
    if (dsl_look_up(&e->file, node->text) != NULL) {
        dsl_bad(e, node->span, "'%.60s' is declared twice", node->text);
    }
    dsl_set(e, &e->file, node->text, value);
}

static void declare(dsl_elaborator *e, const dsl_node *node)
{
    switch (node->kind) {
    case DSL_RANKER: e->graph->name = node->text; break;
    case DSL_TASKS: declare_tasks(e, node); break;
    case DSL_INPUT: declare_input(e, node); break;
    case DSL_BLOCK:
    case DSL_USE: break; /* before everything */
    case DSL_RETURN: dsl_bad(e, node->span, "'return' stands in a block"); break;
    default: dsl_run(e, node); break;
    }
}

static void declare_blocks(dsl_elaborator *e, const dsl_node *file)
{
    for (size_t i = 0; i < file->count; i++) {
        const dsl_node *node = file->child[i];
        if (node->kind == DSL_BLOCK) { /* one of the ranker's own takes the place of one of the library */
            const dsl_value *old = dsl_look_up(&e->file, node->text);
            if (old != NULL && old->block->span.text == node->span.text) {
                dsl_bad(e, node->span, "there are two blocks '%.60s'", node->text);
            }
            dsl_set(e, &e->file, node->text, (dsl_value){.type = DSL_T_BLOCK, .block = node});
        }
    }
}

/* --- files ------------------------------------------------------------------------------------------------------ */

/* The texts of a compilation, by number: the library, the ranker, and what they use. */
typedef struct file_list {
    dsl_node *files[DSL_MAX_SOURCES];
    const char *names[DSL_MAX_SOURCES];
} file_list;

/* Files are named from where the one is that uses them. */
static const char *beside(dsl_elaborator *e, const char *user, const char *name)
{
    const char *slash = strrchr(user, '/');
    if (slash == NULL || *name == '/') {
        return name;
    }
    return base_arena_format(e->arena, "%.*s/%s", (int)(slash - user), user, name);
}

static mtl_status use_file(dsl_elaborator *e, file_list *list, const dsl_node *use)
{
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    base_map map;
    uint32_t text;
    const char *path = beside(e, list->names[use->span.text], use->text);
    BASE_TRY_MEMORY(path, e->diag);
    for (uint32_t i = 0; i < e->sources->text_count; i++) {
        if (strcmp(list->names[i], path) == 0) {
            return MTL_OK; /* it is there already */
        }
    }
    if (base_map_file(path, &inner, &map) != MTL_OK) {
        dsl_bad(e, use->span, "%s", error.message);
        return MTL_OK;
    }
    char *kept = base_arena_string_n(e->arena, map.data, map.size);
    mtl_status status =
        kept == NULL ? base_fail_memory(e->diag) : dsl_add_text(e->sources, path, kept, map.size, &inner, &text);
    base_unmap(&map);
    if (status == MTL_UNSUPPORTED) {
        dsl_bad(e, use->span, "%s", error.message);
        return MTL_OK;
    }
    BASE_TRY(status);
    list->names[text] = path;
    BASE_TRY(dsl_parse(e->sources, text, e->diag, &list->files[text]));
    for (size_t i = 0; i < list->files[text]->count; i++) {
        const dsl_node *node = list->files[text]->child[i];
        if (node != NULL && node->kind != DSL_BLOCK && node->kind != DSL_USE) {
            dsl_bad(e, node->span, "a file that is used holds blocks alone");
        }
    }
    return MTL_OK;
}

/* Files that are read while this goes on are looked at, too. */
static mtl_status use_files(dsl_elaborator *e, file_list *list)
{
    for (uint32_t text = e->library; text < e->sources->text_count; text++) {
        for (size_t i = 0; i < list->files[text]->count; i++) {
            const dsl_node *node = list->files[text]->child[i];
            if (node != NULL && node->kind == DSL_USE && node->text != NULL) {
                BASE_TRY(use_file(e, list, node));
            }
        }
    }
    return MTL_OK;
}

/* The ranker itself, when all texts could be read. */
static mtl_status run_ranker(dsl_elaborator *e, const file_list *list)
{
    declare_blocks(e, list->files[0]);
    for (uint32_t text = e->sources->text_count; text-- > e->library;) { /* the ranker's own blocks come last */
        declare_blocks(e, list->files[text]);
    }
    const dsl_node *own = list->files[e->library];
    for (size_t i = 0; i < own->count && e->status == MTL_OK; i++) {
        declare(e, own->child[i]);
    }
    BASE_TRY(e->status);
    if (e->sources->error_count == 0 && e->graph->output_count == 0) {
        dsl_wrong(e->sources, (dsl_span){e->library, (uint32_t)e->sources->texts[e->library].length, 0},
                  "the ranker has no outputs");
    }
    return MTL_OK;
}

mtl_status dsl_compile(const char *name, const char *text, size_t length, const dsl_options *options, base_arena *arena,
                       base_diag *diag, ir_graph **graph)
{
    dsl_sources sources = {.arena = arena};
    file_list list = {.names = {"blocks.mtl", name}};
    uint32_t library;
    dsl_elaborator e = {.sources = &sources, .arena = arena, .diag = diag, .weights = options->weights};
    BASE_TRY(dsl_add_text(&sources, "blocks.mtl", dsl_blocks, strlen(dsl_blocks), diag, &library));
    BASE_TRY(dsl_add_text(&sources, name, text, length, diag, &e.library));
    BASE_TRY(dsl_parse(&sources, library, diag, &list.files[library]));
    BASE_TRY(dsl_parse(&sources, e.library, diag, &list.files[e.library]));
    BASE_TRY(ir_graph_new(arena, diag, &e.graph));
    e.graph->name = name;
    BASE_TRY(use_files(&e, &list));
    if (sources.error_count == 0) {
        BASE_TRY(run_ranker(&e, &list));
    }
    if (options->errors != NULL) {
        dsl_print_errors(&sources, options->errors);
    }
    *graph = e.graph;
    return dsl_first_error(&sources, diag);
}
