#include "ir/lookup.h"

#include <string.h>

static const char *const names[] = {
    [IR_IDS_ERROR] = "error", [IR_IDS_CLAMP] = "clamp", [IR_IDS_ZERO] = "zero", [IR_IDS_ROW] = "row"};

bool ir_id_policy_find(const char *name, ir_id_policy *policy)
{
    for (size_t i = IR_IDS_ERROR; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            *policy = (ir_id_policy)i;
            return true;
        }
    }
    return false;
}

ir_id_policy ir_id_policy_of(const ir_node_info *node)
{
    const ir_attr *attr = ir_find_attr(node, IR_ATTR_policy);
    ir_id_policy policy = IR_IDS_ONNX;
    if (attr != NULL && attr->text != NULL) {
        ir_id_policy_find(attr->text, &policy);
    }
    return policy;
}

mtl_status ir_check_lookup(const ir_graph *graph, ir_node node, int64_t rows, base_diag *diag)
{
    const ir_node_info *info = ir_node_of(graph, node);
    const ir_attr *policy = ir_find_attr(info, IR_ATTR_policy), *row = ir_find_attr(info, IR_ATTR_row);
    ir_id_policy found = IR_IDS_ONNX;
    if (policy != NULL && (policy->text == NULL || !ir_id_policy_find(policy->text, &found))) {
        return ir_fail(graph, node, diag, MTL_INVALID_DATA, "policy '%s', expected 'error', 'clamp', 'zero' or 'row'",
                       policy->text == NULL ? "" : policy->text);
    }
    if ((found == IR_IDS_ROW) != (row != NULL)) {
        return ir_fail(graph, node, diag, MTL_INVALID_DATA, "attribute row %s policy 'row'",
                       row != NULL ? "without" : "is missing for");
    }
    bool named = ir_find_attr(info, IR_ATTR_input) != NULL || ir_find_attr(info, IR_ATTR_table) != NULL;
    if (policy == NULL && named) {
        return ir_fail(graph, node, diag, MTL_INVALID_DATA, "attributes input and table go with a policy");
    }
    if (found == IR_IDS_ROW && (row->i < 0 || (rows >= 0 && row->i >= rows))) {
        return ir_fail(graph, node, diag, MTL_INVALID_DATA, "row %lld is outside of a table of %lld rows",
                       (long long)row->i, (long long)rows);
    }
    if (found == IR_IDS_CLAMP && rows == 0) {
        return ir_fail(graph, node, diag, MTL_INVALID_DATA, "policy 'clamp' of a table without rows");
    }
    return MTL_OK;
}

int64_t ir_lookup_row(const ir_node_info *node, int64_t id, int64_t rows)
{
    if (id >= 0 && id < rows) {
        return id;
    }
    switch (ir_id_policy_of(node)) {
    case IR_IDS_ONNX: return id < 0 && id >= -rows ? id + rows : IR_ROW_OUTSIDE;
    case IR_IDS_ERROR: break;
    case IR_IDS_CLAMP: return id < 0 ? 0 : rows - 1;
    case IR_IDS_ZERO: return IR_ROW_ZERO;
    case IR_IDS_ROW: return ir_attr_int(node, IR_ATTR_row);
    }
    return IR_ROW_OUTSIDE;
}
