/* For tests/onnx/: imports a model and prints its graph, or evaluates it with the reference evaluator.
 *
 *     import_probe MODEL [--dim TEXT]... [--batch-axis0] [--allow-f32] [--request TEXT]... [--sources] [--eval FOLDER ROWS]
 *
 * --eval reads FOLDER/in.N (dense bytes of input N, with ROWS candidates), writes FOLDER/out.N (rounded to the output's
 * dtype) and prints one line "NAME DTYPE EXTENT..." an output. Exit status 1 with the error on stderr. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/onnx.h"

typedef struct arguments {
    const char *model, *folder;
    const char *dims[16], *request[16];
    onnx_options options;
    int64_t rows;
    bool sources;
} arguments;

static bool parse(int argc, char **argv, arguments *a)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--dim") == 0 && i + 1 < argc && a->options.dim_count < 16) {
            a->dims[a->options.dim_count++] = argv[++i];
        } else if (strcmp(argv[i], "--request") == 0 && i + 1 < argc && a->options.request_count < 16) {
            a->request[a->options.request_count++] = argv[++i];
        } else if (strcmp(argv[i], "--batch-axis0") == 0) {
            a->options.batch_axis0 = true;
        } else if (strcmp(argv[i], "--allow-f32") == 0) {
            a->options.allow_f32 = true;
        } else if (strcmp(argv[i], "--sources") == 0) {
            a->sources = true;
        } else if (strcmp(argv[i], "--eval") == 0 && i + 2 < argc) {
            a->folder = argv[++i];
            a->rows = atoll(argv[++i]);
        } else if (a->model == NULL) {
            a->model = argv[i];
        } else {
            return false;
        }
    }
    a->options.dims = a->dims;
    a->options.request = a->request;
    return a->model != NULL;
}

static bool read_input(const ir_graph *graph, const arguments *a, uint32_t index, base_arena *arena, ir_tensor *tensor)
{
    const ir_type *type = ir_type_of(graph, graph->inputs[index]);
    const int64_t symbols[IR_MAX_SYMBOLS] = {a->rows, a->rows, a->rows, a->rows};
    *tensor = (ir_tensor){.dtype = type->dtype, .rank = type->rank, .count = 1};
    for (int i = 0; i < type->rank; i++) {
        if (!ir_dim_eval(type->dim[i], symbols, &tensor->shape[i])) {
            return false;
        }
        tensor->count *= (size_t)tensor->shape[i];
    }
    size_t size = tensor->count * mtl_dtype_size(type->dtype);
    const char *path = base_arena_format(arena, "%s/in.%u", a->folder, index);
    void *bytes = base_arena_alloc(arena, size);
    FILE *file = path != NULL && bytes != NULL ? fopen(path, "rb") : NULL;
    bool good = file != NULL && fread(bytes, 1, size, file) == size && fgetc(file) == EOF;
    if (file != NULL) {
        fclose(file);
    }
    tensor->raw = bytes;
    return good;
}

static bool write_output(const ir_graph *graph, const arguments *a, uint32_t index, base_arena *arena,
                         const ir_tensor *tensor)
{
    size_t size = tensor->count * mtl_dtype_size(tensor->dtype);
    const char *path = base_arena_format(arena, "%s/out.%u", a->folder, index);
    void *bytes = base_arena_alloc(arena, size);
    FILE *file = path != NULL && bytes != NULL ? fopen(path, "wb") : NULL;
    if (file == NULL) {
        return false;
    }
    ir_tensor_store(tensor, tensor->dtype, bytes);
    bool good = fwrite(bytes, 1, size, file) == size;
    good = fclose(file) == 0 && good;
    printf("%s %s", graph->outputs[index].name, mtl_dtype_name(tensor->dtype));
    for (int i = 0; i < tensor->rank; i++) {
        printf(" %lld", (long long)tensor->shape[i]);
    }
    printf("\n");
    return good;
}

static int evaluate(const ir_graph *graph, const arguments *a, base_arena *arena, base_diag *diag)
{
    ir_tensor *inputs = BASE_NEW_ARRAY(arena, ir_tensor, graph->input_count);
    ir_tensor *outputs = BASE_NEW_ARRAY(arena, ir_tensor, graph->output_count);
    for (uint32_t i = 0; i < graph->input_count; i++) {
        if (inputs == NULL || !read_input(graph, a, i, arena, &inputs[i])) {
            fprintf(stderr, "cannot read input %u\n", i);
            return 2;
        }
    }
    if (outputs == NULL || ir_eval(graph, inputs, arena, diag, outputs) != MTL_OK) {
        fprintf(stderr, "%s\n", diag->error->message);
        return 1;
    }
    for (uint32_t i = 0; i < graph->output_count; i++) {
        if (!write_output(graph, a, i, arena, &outputs[i])) {
            return 2;
        }
    }
    return 0;
}

static int run(const arguments *a, base_arena *arena)
{
    mtl_error error = {0};
    base_diag diag = {.error = &error, .file = a->model};
    onnx_model model;
    if (onnx_import_file(a->model, &a->options, arena, &diag, &model) != MTL_OK ||
        ir_verify(model.graph, &diag) != MTL_OK) {
        fprintf(stderr, "%s: %s\n", mtl_status_name(error.status), error.message);
        return 1;
    }
    int status = 0;
    if (a->folder != NULL) {
        status = evaluate(model.graph, a, arena, &diag);
    } else {
        status = ir_print(model.graph, stdout) == MTL_OK ? 0 : 2;
    }
    for (uint32_t i = 0; a->sources && i < model.graph->source_count; i++) {
        const ir_source *source = &model.graph->sources[i];
        printf("source %s %s %s\n", source->name, source->op,
               source->fate != NULL   ? source->fate
               : source->note != NULL ? source->note
                                      : "-");
    }
    onnx_close(&model);
    return status;
}

int main(int argc, char **argv)
{
    arguments a = {0};
    if (!parse(argc, argv, &a)) {
        fprintf(stderr, "usage: import_probe MODEL [options]\n");
        return 2;
    }
    base_arena arena = {0};
    int status = run(&a, &arena);
    base_arena_free(&arena);
    return status;
}
