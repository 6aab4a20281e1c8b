#include "base/names.h"

#include <string.h>

enum { LISTED = 8 }; /* names that an error lists */

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
