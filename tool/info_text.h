/* Private to tool/: the readable view of what `info --json` prints. */
#ifndef TOOL_INFO_TEXT_H
#define TOOL_INFO_TEXT_H

#include "tool/json_print.h"

mtl_status tool_info_print_text(json_t *root, FILE *out, base_diag *diag);

#endif
