/* Names of inputs and outputs, as options give them and errors list them. */
#ifndef BASE_NAMES_H
#define BASE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* Whether `pattern` is `name`, or matches all of it: '*' stands for any characters, or none, '?' for one. */
bool base_name_matches(const char *pattern, const char *name);

/* A list of names for an error. */
typedef struct base_name_list {
    char text[400]; /* "'ctr', 'cvr'", with ", ..." where there are more than fit */
    size_t used, count;
    bool full;
} base_name_list;

/* Appends `name`. The list begins as {0}. */
void base_list_name(base_name_list *list, const char *name);

#endif
