/* Help with names that nothing has: what there is instead, or what is nearest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "onnx/internal.h"

enum {
    MOST_LISTED = 8,  /* names, when there are no more */
    MOST_NEAREST = 3, /* else */
};

typedef struct near_name {
    const char *name;
    size_t order, distance;
} near_name;

/* A name with the other inside, as exporters put modules in front and numbers behind, is next to it. */
static size_t distance(const char *asked, const char *name)
{
    return *asked != '\0' && strstr(name, asked) != NULL ? 1 : base_name_distance(asked, name);
}

static int by_distance(const void *a, const void *b)
{
    const near_name *left = a, *right = b;
    if (left->distance != right->distance) {
        return left->distance < right->distance ? -1 : 1;
    }
    return left->order < right->order ? -1 : 1;
}

mtl_status onnx_near_names(const onnx_importer *importer, const char *asked, const char *const *names, size_t count,
                           char text[ONNX_NEAR_TEXT], bool *all)
{
    near_name *list = BASE_NEW_ARRAY(importer->arena, near_name, count);
    BASE_TRY_MEMORY(list, importer->diag);
    for (size_t i = 0; i < count; i++) {
        list[i] = (near_name){.name = names[i], .order = i, .distance = distance(asked, names[i])};
    }
    if (count > 1) {
        qsort(list, count, sizeof *list, by_distance);
    }
    size_t listed = 0, near = strlen(asked) / 3 + 1;
    char quoted[ONNX_NEAR_TEXT] = "";
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (count > MOST_LISTED && (listed == MOST_NEAREST || list[i].distance > near)) {
            break;
        }
        if (used + strlen(list[i].name) + 24 < sizeof quoted) { /* comma, space, quotes, NUL, the words in front */
            used +=
                (size_t)snprintf(quoted + used, sizeof quoted - used, "%s'%s'", listed++ > 0 ? ", " : "", list[i].name);
        }
    }
    *all = listed == count;
    snprintf(text, ONNX_NEAR_TEXT, "%s%.230s", *all ? "; there are " : listed > 0 ? "; near it are " : "", quoted);
    return MTL_OK;
}
