#include "tool/json.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "tool/json_print.h"

mtl_status tool_json_print(json_t *value, FILE *out, base_diag *diag)
{
    if (value == NULL) {
        return base_fail_memory(diag);
    }
    errno = 0;
    int failed = json_dumpf(value, out, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) != 0 || fputc('\n', out) == EOF ||
                 fflush(out) != 0;
    json_decref(value);
    if (failed) {
        return base_fail(diag, MTL_IO, "cannot print: %s", strerror(errno != 0 ? errno : EIO));
    }
    return MTL_OK;
}

json_t *tool_json_text(const char *text)
{
    if (text == NULL) {
        return json_null();
    }
    json_t *string = json_string(text);
    return string != NULL ? string : json_string("(not UTF-8)");
}

mtl_status tool_bench_print_json(const tool_bench *bench, FILE *out, base_diag *diag)
{
    json_t *results = json_array();
    for (size_t i = 0; results != NULL && i < bench->result_count; i++) {
        const tool_bench_result *result = &bench->results[i];
        json_t *entry = json_pack("{s:I, s:i, s:f, s:f, s:f}", "rows", (json_int_t)result->rows, "threads",
                                  result->threads, "median_us", result->median_us, "p99_us", result->p99_us,
                                  "rows_per_second", result->rows_per_second);
        if (entry == NULL || json_array_append_new(results, entry) != 0) {
            json_decref(results);
            results = NULL;
        }
    }
    if (results == NULL) {
        return base_fail_memory(diag);
    }
    return tool_json_print(json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:i, s:o, s:I, s:I, s:o}", "plan",
                                     tool_json_text(bench->plan), "provider", tool_json_text(bench->provider), "isa",
                                     tool_json_text(bench->isa), "version", tool_json_text(bench->version),
                                     "workspace_bytes", (json_int_t)bench->workspace_bytes, "tile_rows",
                                     (json_int_t)bench->tile_rows, "callers", bench->callers, "only",
                                     tool_json_text(bench->only), "flops_per_row", (json_int_t)bench->flops_per_row,
                                     "all_flops_per_row", (json_int_t)bench->all_flops_per_row, "results", results),
                           out, diag);
}
