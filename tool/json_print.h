/* Private to tool/: what its JSON printers share. */
#ifndef TOOL_JSON_PRINT_H
#define TOOL_JSON_PRINT_H

#include <jansson.h>
#include <stdio.h>

#include "base/diag.h"

/* Prints `value` and a newline, and gives `value` back. NULL: out of memory. */
mtl_status tool_json_print(json_t *value, FILE *out, base_diag *diag);
/* A string, null for NULL; a placeholder for what is not UTF-8. */
json_t *tool_json_text(const char *text);

#endif
