/* Any text as a graph: parsing must end in a graph or an error; a graph prints, and its text parses to the same text. */
#define _GNU_SOURCE /* open_memstream */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/support.h"

static mtl_status find(void *context, const char *name, base_arena *arena, base_diag *diag, ir_tensor *tensor)
{
    (void)arena;
    (void)diag;
    const ir_graph *graph = context;
    ir_value value = ir_find_value(graph, name);
    if (!ir_is_const(graph, value)) {
        return MTL_INVALID_DATA;
    }
    *tensor = *ir_info(graph, value)->tensor;
    return MTL_OK;
}

static char *print(const ir_graph *graph, size_t *size)
{
    char *text = NULL;
    FILE *stream = open_memstream(&text, size);
    if (stream == NULL || ir_print(graph, stream) != MTL_OK) {
        abort();
    }
    fclose(stream);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    base_arena arena = {0};
    ir_graph *graph, *again;
    if (ir_parse((const char *)data, size, NULL, &arena, NULL, &graph) == MTL_OK) {
        ir_constants companions = {.context = graph, .find = find};
        size_t first_size, second_size;
        char *first = print(graph, &first_size);
        if (ir_parse(first, first_size, &companions, &arena, NULL, &again) != MTL_OK) {
            abort();
        }
        char *second = print(again, &second_size);
        if (first_size != second_size || memcmp(first, second, first_size) != 0) {
            abort();
        }
        free(first);
        free(second);
        if (ir_verify(graph, NULL) != MTL_OK || ir_verify(again, NULL) != MTL_OK) {
            abort();
        }
    }
    base_arena_free(&arena);
    return 0;
}
