/* Names of inputs and outputs, as options give them and errors list them. */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* Whether `pattern` is `name`, or matches all of it: '*' stands for any characters, or none, '?' for one. */
bool base_name_matches(const char *pattern, const char *name);

/* Letters to change, add, leave out, or swap with their neighbour between two names, of which up to 100 letters count. */
size_t base_name_distance(const char *a, const char *b);

/* A list of names for an error. */
typedef struct base_name_list {
    char text[400]; /* "'ctr', 'cvr'", with ", ..." where there are more than fit */
    size_t used, count;
    bool full;
} base_name_list;

/* Appends `name`. The list begins as {0}. */
void base_list_name(base_name_list *list, const char *name);

#endif
