#include "base/names.h"

#include <string.h>

enum {
    LISTED = 8,   /* names that an error lists */
    LETTERS = 100 /* of a name that is compared */
};

bool base_name_matches(const char *pattern, const char *name)
{
    if (strcmp(pattern, name) == 0) {
        return true;
    }
    const char *star = NULL, *again = NULL; /* the last '*', and where what it stands for ends so far */
    while (*name != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            again = name;
        } else if (*pattern == '?' || *pattern == *name) {
            pattern++;
            name++;
        } else if (star != NULL) {
            pattern = star + 1;
            name = ++again;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return *pattern == '\0';
}

size_t base_name_distance(const char *a, const char *b)
{
    size_t rows[3][LETTERS + 1], length = strnlen(a, LETTERS), width = strnlen(b, LETTERS);
    for (size_t j = 0; j <= width; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= length; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3], *higher = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t least = (above[j] < row[j - 1] ? above[j] : row[j - 1]) + 1;
            size_t changed = above[j - 1] + (a[i - 1] != b[j - 1]);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            least = changed < least ? changed : least;
            row[j] = swapped && higher[j - 2] + 1 < least ? higher[j - 2] + 1 : least;
        }
    }
    return rows[length % 3][width];
}

void base_list_name(base_name_list *list, const char *name)
{
    static const char more[] = ", ...";
    const char *parts[] = {list->count > 0 ? ", '" : "'", name, "'"};
    size_t room = sizeof list->text - sizeof more - list->used;
    if (list->full) {
        return;
    }
    list->full = list->count == LISTED || strlen(parts[0]) + strlen(name) + 1 > room;
    if (list->full) {
        memcpy(list->text + list->used, list->count > 0 ? more : more + 2, list->count > 0 ? sizeof more : 4);
        return;
    }
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        size_t length = strlen(parts[i]);
        memcpy(list->text + list->used, parts[i], length + 1);
        list->used += length;
    }
    list->count++;
}
