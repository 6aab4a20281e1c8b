/* From a node to its step: one function a family of ops, one table that says which. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "compiler/lowering.h"
#include "ir/chain.h"
#include "plan/plan.h"

typedef struct step_draft {
    plan_op op;
    unsigned function;
    uint32_t inputs[5], output;
    const uint32_t *many; /* instead of inputs, when there may be more of them */
    size_t input_count;
    int64_t attrs[2 * MTL_MAX_RANK];
    const int64_t *many_attrs; /* instead of attrs, when there may be more of them */
    size_t attr_count;
} step_draft;

/* The code of the function called `name` among those of a plan op, 0 when there is none. */
static unsigned function_code(plan_op op, const char *name)
{
    for (unsigned code = 1; plan_function_name(op, code)[0] != '\0'; code++) {
        if (strcmp(plan_function_name(op, code), name) == 0) {
            return code;
        }
    }
    return 0;
}

/* The two parameters of a unary function, in the order in which ONNX lists them. */
static void set_parameters(const ir_node_info *node, int64_t *attrs)
{
    static const ir_attr_key keys[] = {IR_ATTR_alpha, IR_ATTR_beta, IR_ATTR_low, IR_ATTR_high};
    double parameters[2] = {0, 0};
    size_t count = 0;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0] && count < 2; i++) {
        if (ir_find_attr(node, keys[i]) != NULL) {
            parameters[count++] = ir_attr_float(node, keys[i]);
        }
    }
    if (ir_find_attr(node, IR_ATTR_approximate) != NULL) {
        parameters[0] = (double)ir_attr_int(node, IR_ATTR_approximate);
    }
    attrs[0] = plan_float_attr(parameters[0]);
    attrs[1] = plan_float_attr(parameters[1]);
}

static mtl_status operands(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    for (uint32_t i = 0; i < node->input_count; i++) {
        if (node->inputs[i] == 0) {
            draft->inputs[i] = PLAN_NONE;
        } else {
            BASE_TRY(compiler_tensor(lowering, node->inputs[i], &draft->inputs[i]));
        }
    }
    draft->input_count = node->input_count;
    return MTL_OK;
}

static mtl_status linear_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    const char *act = ir_find_attr(node, IR_ATTR_act)->text;
    draft->function = function_code(PLAN_OP_linear, act);
    set_parameters(node, draft->attrs);
    draft->attr_count = 2;
    int64_t columns = ir_attr_int(node, IR_ATTR_act_columns); /* 0: all */
    if (columns % PLAN_PANEL != 0) {
        return base_fail(lowering->diag, MTL_UNSUPPORTED, "act_columns %" PRId64 ", expected a multiple of %d", columns,
                         PLAN_PANEL);
    }
    draft->attrs[draft->attr_count++] = columns;
    BASE_TRY(compiler_tensor(lowering, node->inputs[0], &draft->inputs[0]));
    BASE_TRY(compiler_panels_tensor(lowering, node->inputs[1], &draft->inputs[1]));
    draft->input_count = 2;
    if (node->input_count > 2 && node->inputs[2] != 0) {
        BASE_TRY(compiler_padded_tensor(lowering, node->inputs[2], &draft->inputs[2]));
        draft->input_count = 3;
    }
    if (ir_operand(node, 3) != 0) {
        draft->inputs[2] = draft->input_count < 3 ? PLAN_NONE : draft->inputs[2];
        BASE_TRY(compiler_tensor(lowering, node->inputs[3], &draft->inputs[3]));
        draft->input_count = 4;
    }
    return MTL_OK;
}

static mtl_status unary_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    draft->function = function_code(PLAN_OP_unary, ir_op_table(node->op)->name);
    set_parameters(node, draft->attrs);
    draft->attr_count = 2;
    return operands(lowering, node, draft);
}

static unsigned binary_code(const ir_node_info *node)
{
    bool dividend = node->op == IR_OP_mod && ir_attr_int(node, IR_ATTR_fmod) != 0;
    return function_code(PLAN_OP_binary, dividend ? "fmod" : ir_op_table(node->op)->name);
}

static mtl_status binary_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    draft->function = binary_code(node);
    return operands(lowering, node, draft);
}

static mtl_status many_operands(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    uint32_t *many = BASE_NEW_ARRAY(lowering->arena, uint32_t, node->input_count);
    BASE_TRY_MEMORY(many, lowering->diag);
    for (uint32_t i = 0; i < node->input_count; i++) {
        BASE_TRY(compiler_tensor(lowering, node->inputs[i], &many[i]));
    }
    draft->many = many;
    draft->input_count = node->input_count;
    return MTL_OK;
}

static mtl_status chain_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    ir_chain chain;
    size_t at;
    if (!ir_chain_read(ir_find_attr(node, IR_ATTR_program)->text, &chain, &at)) {
        return base_fail(lowering->diag, MTL_INTERNAL, "a chain whose program cannot be read");
    }
    int64_t *attrs = BASE_NEW_ARRAY(lowering->arena, int64_t, chain.count * PLAN_CHAIN_ATTRS);
    BASE_TRY_MEMORY(attrs, lowering->diag);
    for (size_t i = 0; i < chain.count; i++) {
        ir_chain_step *step = &chain.steps[i];
        const ir_node_info function = ir_chain_node(step);
        int64_t *link = attrs + i * PLAN_CHAIN_ATTRS;
        link[PLAN_CHAIN_OPERAND] = step->operand;
        link[PLAN_CHAIN_SIDE] = step->operand_first;
        if (step->operand == 0) {
            link[PLAN_CHAIN_FUNCTION] = function_code(PLAN_OP_unary, ir_op_table(step->op)->name);
            set_parameters(&function, &link[PLAN_CHAIN_A]);
        } else {
            link[PLAN_CHAIN_FUNCTION] = binary_code(&function);
        }
    }
    draft->many_attrs = attrs;
    draft->attr_count = chain.count * PLAN_CHAIN_ATTRS;
    return many_operands(lowering, node, draft);
}

/* The plan's result has no place for kept axes of extent 1; the value's readers see them through its own record. */
static mtl_status reduce_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    const ir_attr *axes = ir_find_attr(node, IR_ATTR_axes);
    const ir_type *type = ir_type_of(lowering->graph, node->inputs[0]);
    int64_t first = axes->count > 0 ? axes->ints[0] : 0, end = first + (int64_t)axes->count;
    ir_type result = {.dtype = type->dtype};
    for (int32_t axis = 0; axis < type->rank; axis++) {
        if (axis < first || axis >= end) {
            result.dim[result.rank++] = type->dim[axis];
        }
    }
    draft->function = function_code(PLAN_OP_reduce, ir_op_table(node->op)->name + strlen("reduce_"));
    draft->attrs[0] = first;
    draft->attrs[1] = end;
    draft->attr_count = 2;
    BASE_TRY(operands(lowering, node, draft));
    return compiler_view_tensor(lowering, node->outputs[0], &result, &draft->output);
}

static mtl_status axis_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    if (draft->op == PLAN_OP_softmax) {
        draft->function = function_code(PLAN_OP_softmax, ir_op_table(node->op)->name);
    }
    draft->attrs[0] = ir_attr_int(node, IR_ATTR_axis);
    draft->attr_count = 1;
    return operands(lowering, node, draft);
}

/* What ids outside of the table do: 0 when the node does not say, else `attrs` are the row, the input and the table. */
static mtl_status policy_attrs(compiler_lowering *lowering, const ir_node_info *node, unsigned *policy, int64_t *attrs)
{
    static const ir_attr_key names[] = {IR_ATTR_input, IR_ATTR_table};
    const ir_attr *attr = ir_find_attr(node, IR_ATTR_policy);
    *policy = attr != NULL ? function_code(PLAN_OP_gather, attr->text) : 0;
    attrs[0] = ir_attr_int(node, IR_ATTR_row);
    for (size_t i = 0; i < 2; i++) {
        uint32_t offset = 0;
        attr = ir_find_attr(node, names[i]);
        if (attr != NULL) {
            BASE_TRY(plan_add_string(lowering->builder, attr->text, &offset));
        }
        attrs[1 + i] = offset;
    }
    return MTL_OK;
}

static mtl_status gather_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    draft->attrs[PLAN_GATHER_AXIS] = ir_attr_int(node, IR_ATTR_axis);
    BASE_TRY(policy_attrs(lowering, node, &draft->function, &draft->attrs[PLAN_GATHER_ROW]));
    draft->attr_count = draft->function != 0 ? PLAN_GATHER_ATTRS : 1;
    return operands(lowering, node, draft);
}

static mtl_status bag_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    const ir_attr *padding = ir_find_attr(node, IR_ATTR_padding);
    unsigned policy;
    draft->function = function_code(PLAN_OP_bag, ir_find_attr(node, IR_ATTR_function)->text);
    BASE_TRY(policy_attrs(lowering, node, &policy, &draft->attrs[PLAN_BAG_ROW]));
    draft->attrs[PLAN_BAG_POLICY] = policy;
    draft->attrs[PLAN_BAG_PADDED] = padding != NULL;
    draft->attrs[PLAN_BAG_FIRST] = padding != NULL ? padding->ints[0] : 0;
    draft->attrs[PLAN_BAG_LAST] = padding != NULL ? padding->ints[1] : 0;
    draft->attrs[PLAN_BAG_A] =
        plan_float_attr(ir_attr_float(node, draft->function == PLAN_BAG_max ? IR_ATTR_fill : IR_ATTR_epsilon));
    draft->attrs[PLAN_BAG_B] = plan_float_attr(ir_attr_float(node, IR_ATTR_low));
    draft->attr_count = PLAN_BAG_B + 1;
    return operands(lowering, node, draft);
}

static mtl_status top_k_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    draft->attrs[0] = ir_attr_int(node, IR_ATTR_axis);
    draft->attrs[1] = ir_attr_int(node, IR_ATTR_largest); /* k is the result's extent */
    draft->attr_count = 2;
    return operands(lowering, node, draft);
}

static mtl_status mix_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    const ir_attr *index = ir_find_attr(node, IR_ATTR_index);
    draft->function = function_code(PLAN_OP_mix, ir_find_attr(node, IR_ATTR_function)->text);
    draft->many_attrs = index->ints;
    draft->attr_count = index->count;
    return operands(lowering, node, draft);
}

static mtl_status gru_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    ir_value bias = ir_operand(node, 2), state = ir_operand(node, 3);
    draft->attrs[0] = ir_attr_int(node, IR_ATTR_reverse);
    draft->attr_count = 1;
    draft->input_count = state != 0 ? 4 : bias != 0 ? 3 : 2;
    draft->inputs[2] = PLAN_NONE;
    BASE_TRY(compiler_tensor(lowering, node->inputs[0], &draft->inputs[0]));
    BASE_TRY(compiler_panels_tensor(lowering, node->inputs[1], &draft->inputs[1]));
    if (bias != 0) {
        BASE_TRY(compiler_padded_tensor(lowering, bias, &draft->inputs[2]));
    }
    return state != 0 ? compiler_tensor(lowering, state, &draft->inputs[3]) : MTL_OK;
}

_Static_assert((int)IR_ATTENTION_KEYS == (int)PLAN_ATTENTION_KEYS &&
                   (int)IR_ATTENTION_WIDTH == (int)PLAN_ATTENTION_WIDTH,
               "what the IR calls attention is what a step can do");

static mtl_status attention_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    const int64_t *starts = ir_find_attr(node, IR_ATTR_starts)->ints, *sizes = ir_find_attr(node, IR_ATTR_sizes)->ints;
    const char *empty = ir_find_attr(node, IR_ATTR_empty)->text;
    draft->attrs[PLAN_ATTENTION_HEADS] = ir_attr_int(node, IR_ATTR_heads);
    memcpy(&draft->attrs[PLAN_ATTENTION_Q], starts, 3 * sizeof *starts);
    memcpy(&draft->attrs[PLAN_ATTENTION_SIZE], sizes, 2 * sizeof *sizes);
    draft->attrs[PLAN_ATTENTION_SCALE] = plan_float_attr(ir_attr_float(node, IR_ATTR_scale));
    draft->attrs[PLAN_ATTENTION_FILL] = plan_float_attr(ir_attr_float(node, IR_ATTR_fill));
    draft->attrs[PLAN_ATTENTION_EMPTY] = strcmp(empty, "nan") == 0 ? 0 : strcmp(empty, "nan_is_zero") == 0 ? 1 : 2;
    draft->attr_count = PLAN_ATTENTION_ATTRS;
    return operands(lowering, node, draft);
}

static mtl_status scan_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    draft->function = function_code(PLAN_OP_scan, ir_op_table(node->op)->name + strlen("cum"));
    draft->attrs[0] = ir_attr_int(node, IR_ATTR_axis);
    draft->attrs[1] = ir_attr_int(node, IR_ATTR_exclusive) != 0;
    draft->attrs[2] = ir_attr_int(node, IR_ATTR_reverse) != 0;
    draft->attr_count = 6;
    const ir_attr *act = ir_find_attr(node, IR_ATTR_act);
    if (act != NULL && act->text[0] != '\0') {
        draft->attrs[3] = function_code(PLAN_OP_unary, act->text);
        set_parameters(node, &draft->attrs[4]);
    }
    return operands(lowering, node, draft);
}

static mtl_status layer_norm_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    draft->attrs[0] = ir_attr_int(node, IR_ATTR_axis);
    draft->attrs[1] = plan_float_attr(ir_attr_float(node, IR_ATTR_epsilon));
    draft->attr_count = 2;
    return operands(lowering, node, draft);
}

static mtl_status transpose_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    const ir_attr *perm = ir_find_attr(node, IR_ATTR_perm);
    memcpy(draft->attrs, perm->ints, perm->count * sizeof perm->ints[0]);
    draft->attr_count = perm->count;
    return operands(lowering, node, draft);
}

static mtl_status slice_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    const ir_attr *starts = ir_find_attr(node, IR_ATTR_starts), *steps = ir_find_attr(node, IR_ATTR_steps);
    for (size_t axis = 0; axis < starts->count; axis++) {
        draft->attrs[2 * axis] = starts->ints[axis];
        draft->attrs[2 * axis + 1] = steps->ints[axis];
    }
    draft->attr_count = 2 * starts->count;
    return operands(lowering, node, draft);
}

static mtl_status concat_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    draft->attrs[0] = ir_attr_int(node, IR_ATTR_axis);
    draft->attr_count = 1;
    return many_operands(lowering, node, draft);
}

static mtl_status expand_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    draft->input_count = 1; /* the target's shape is in the result's record */
    return compiler_tensor(lowering, node->inputs[0], &draft->inputs[0]);
}

/* Only where the number of candidates is used as data. */
static mtl_status extents_step(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft)
{
    const ir_type *type = ir_type_of(lowering->graph, node->inputs[0]);
    for (int32_t axis = 0; axis < type->rank; axis++) {
        draft->attrs[2 * axis] = type->dim[axis].c;
        draft->attrs[2 * axis + 1] = type->dim[axis].k[IR_SYMBOL_ROWS];
    }
    draft->attr_count = 2 * (size_t)type->rank;
    return MTL_OK;
}

typedef mtl_status step_function(compiler_lowering *lowering, const ir_node_info *node, step_draft *draft);

/* How a node becomes a step; make NULL: a plan has none for it. */
typedef struct step_rule {
    plan_op op;
    step_function *make;
} step_rule;

static step_rule find_step(ir_op op)
{
    switch (op) {
    case IR_OP_linear: return (step_rule){PLAN_OP_linear, linear_step};
    case IR_OP_reduce_sum:
    case IR_OP_reduce_mean:
    case IR_OP_reduce_max:
    case IR_OP_reduce_min:
    case IR_OP_reduce_prod: return (step_rule){PLAN_OP_reduce, reduce_step};
    case IR_OP_softmax:
    case IR_OP_log_softmax: return (step_rule){PLAN_OP_softmax, axis_step};
    case IR_OP_gather: return (step_rule){PLAN_OP_gather, gather_step};
    case IR_OP_batch_gather: return (step_rule){PLAN_OP_batch_gather, axis_step};
    case IR_OP_top_k: return (step_rule){PLAN_OP_top_k, top_k_step};
    case IR_OP_bag: return (step_rule){PLAN_OP_bag, bag_step};
    case IR_OP_mix: return (step_rule){PLAN_OP_mix, mix_step};
    case IR_OP_gru: return (step_rule){PLAN_OP_gru, gru_step};
    case IR_OP_attention: return (step_rule){PLAN_OP_attention, attention_step};
    case IR_OP_chain: return (step_rule){PLAN_OP_chain, chain_step};
    case IR_OP_cumsum:
    case IR_OP_cumprod: return (step_rule){PLAN_OP_scan, scan_step};
    case IR_OP_layer_norm: return (step_rule){PLAN_OP_layer_norm, layer_norm_step};
    case IR_OP_transpose: return (step_rule){PLAN_OP_transpose, transpose_step};
    case IR_OP_slice: return (step_rule){PLAN_OP_slice, slice_step};
    case IR_OP_concat: return (step_rule){PLAN_OP_concat, concat_step};
    case IR_OP_expand: return (step_rule){PLAN_OP_expand, expand_step};
    case IR_OP_shape: return (step_rule){PLAN_OP_extents, extents_step};
    case IR_OP_matmul: return (step_rule){PLAN_OP_matmul, operands};
    case IR_OP_where: return (step_rule){PLAN_OP_where, operands};
    case IR_OP_cast: return (step_rule){PLAN_OP_cast, operands};
    case IR_OP_reshape: /* one that cannot be a view */
    case IR_OP_identity: return (step_rule){PLAN_OP_copy, operands};
    case IR_OP_spread: return (step_rule){PLAN_OP_spread, operands};
    default: break;
    }
    const char *name = ir_op_table(op)->name;
    if (function_code(PLAN_OP_unary, name) != 0) {
        return (step_rule){PLAN_OP_unary, unary_step};
    }
    bool binary = function_code(PLAN_OP_binary, name) != 0;
    return (step_rule){PLAN_OP_binary, binary ? binary_step : NULL};
}

bool compiler_plan_op(ir_op op, plan_op *result)
{
    step_rule rule = find_step(op);
    *result = rule.op;
    return rule.make != NULL;
}

/* Kernels compute on these; narrower integers and other floats come and go through cast. */
static bool computes_on(mtl_dtype dtype)
{
    return dtype == MTL_F32 || dtype == MTL_I64 || dtype == MTL_I32 || dtype == MTL_BOOL;
}

static mtl_status check_dtypes(const compiler_lowering *lowering, ir_node id)
{
    const ir_node_info *node = ir_node_of(lowering->graph, id);
    if (node->op == IR_OP_cast || node->op == IR_OP_reshape || node->op == IR_OP_identity || node->op == IR_OP_spread) {
        return MTL_OK;
    }
    for (uint32_t i = 0; i < node->input_count + node->output_count; i++) {
        ir_value value = i < node->input_count ? node->inputs[i] : node->outputs[i - node->input_count];
        mtl_dtype dtype = value != 0 ? ir_type_of(lowering->graph, value)->dtype : MTL_F32;
        bool product = node->op == IR_OP_matmul;
        if (product ? dtype != MTL_F32 : !computes_on(dtype)) {
            return ir_fail(lowering->graph, id, lowering->diag, MTL_UNSUPPORTED,
                           "'%s' is %s; only float32%s computed on (cast it first)",
                           ir_info(lowering->graph, value)->name, mtl_dtype_name(dtype),
                           product ? " products are" : ", int64, int32 and bool are");
        }
    }
    return MTL_OK;
}

static int in_source_order(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* The names of the source nodes that a step does the work of, for people: "/gate/Gemm, /gate/Softmax". */
static const char *label_of(const compiler_lowering *lowering, const ir_node_info *node)
{
    enum { LABEL_MAX = 240 };
    const char *label = "";
    uint32_t *sources = base_arena_copy(lowering->arena, node->sources, node->source_count * sizeof *sources);
    if (sources == NULL) {
        return label;
    }
    qsort(sources, node->source_count, sizeof *sources, in_source_order);
    for (uint32_t i = 0; i < node->source_count; i++) {
        const char *name = lowering->graph->sources[sources[i]].name;
        if (strlen(label) + strlen(name) > LABEL_MAX) {
            char *cut = base_arena_format(lowering->arena, "%s%s... (%u)", label, i > 0 ? ", " : "",
                                          (unsigned)node->source_count);
            return cut != NULL ? cut : label;
        }
        char *longer = base_arena_format(lowering->arena, "%s%s%s", label, i > 0 ? ", " : "", name);
        if (longer == NULL) {
            return label;
        }
        label = longer;
    }
    return label;
}

static mtl_status not_supported(const compiler_lowering *lowering, ir_node id)
{
    const ir_graph *graph = lowering->graph;
    const ir_node_info *node = ir_node_of(graph, id);
    ir_value param = 0;
    for (uint32_t i = 0; i < node->input_count && param == 0; i++) {
        param = ir_param_behind(graph, node->inputs[i]);
    }
    const char *op = ir_op_table(node->op)->name;
    if (param != 0) {
        return ir_fail(graph, id, lowering->diag, MTL_UNSUPPORTED,
                       "%s needs its constants while compiling, and --param %.100s leaves one open", op,
                       ir_info(graph, param)->name);
    }
    return ir_fail(graph, id, lowering->diag, MTL_UNSUPPORTED,
                   "%s is not supported on values that are computed at run time", op);
}

/* The mask (B, L) of the span of the step at hand, whose positions are on axis 1 of what it reads last or makes. */
static mtl_status add_span(compiler_lowering *lowering, const ir_node_info *node, ir_value mask)
{
    const ir_type *positions = ir_type_of(lowering->graph, node->op == IR_OP_mix ? node->inputs[1] : node->outputs[0]);
    const ir_type type = {.dtype = MTL_BOOL, .rank = 2, .dim = {positions->dim[0], positions->dim[1]}};
    uint32_t tensor;
    BASE_TRY(compiler_view_tensor(lowering, mask, &type, &tensor));
    plan_add_span(lowering->builder, tensor, compiler_span_is_whole(lowering, mask));
    return MTL_OK;
}

mtl_status compiler_emit_node(compiler_lowering *lowering, ir_node id)
{
    const ir_node_info *node = ir_node_of(lowering->graph, id);
    step_rule rule = find_step(node->op);
    if (rule.make == NULL) {
        return not_supported(lowering, id);
    }
    step_draft draft = {.op = rule.op, .output = PLAN_NONE};
    BASE_TRY(check_dtypes(lowering, id));
    BASE_TRY(rule.make(lowering, node, &draft));
    if (draft.output == PLAN_NONE) {
        BASE_TRY(compiler_tensor(lowering, node->outputs[0], &draft.output));
    }
    BASE_TRY(plan_add_step(lowering->builder, draft.op, draft.function, draft.many != NULL ? draft.many : draft.inputs,
                           draft.input_count, draft.output, draft.many_attrs != NULL ? draft.many_attrs : draft.attrs,
                           draft.attr_count, label_of(lowering, node)));
    return lowering->spans[id] != 0 ? add_span(lowering, node, lowering->spans[id]) : MTL_OK;
}

mtl_status compiler_emit_operand(compiler_lowering *lowering, ir_node id, uint32_t operand)
{
    const ir_node_info *node = ir_node_of(lowering->graph, id);
    ir_value value = node->inputs[operand];
    compiler_slot slot = compiler_slot_of(lowering, node->outputs[0]);
    uint32_t from, to;
    compiler_copies_operand(lowering, id, operand, &slot.window);
    BASE_TRY(compiler_tensor(lowering, value, &from));
    BASE_TRY(compiler_record(lowering, ir_info(lowering->graph, value)->name, ir_type_of(lowering->graph, value), slot,
                             PLAN_LAYOUT_DENSE, &to));
    return plan_add_step(lowering->builder, PLAN_OP_copy, 0, &from, 1, to, NULL, 0, label_of(lowering, node));
}
