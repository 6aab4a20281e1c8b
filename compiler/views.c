/* Which values lie in the storage of others and need no step:
 *
 * - a reshape, or an identity, is its operand under another shape;
 * - a slice (or a gather of one constant index) that keeps one run of each candidate's elements is a window of its
 *   operand;
 * - a concatenation of such runs is done in place: what computes an operand writes into a window of the result, and
 *   operands that cannot be computed there are copied into it.
 *
 * A window needs steps that take it (plan/ops.def), both where it is written and where it is read; a plan of whole
 * batches has none. */
#include "compiler/lowering.h"
#include "plan/plan.h"

typedef struct use {
    ir_node node;
    uint32_t operand;
} use;

typedef enum verdict { UNKNOWN, FITS, DOES_NOT } verdict;

typedef struct finder {
    compiler_lowering *lowering;
    const ir_graph *graph;
    uint32_t *first_use; /* by value: of `uses`, up to that of the next value */
    use *uses;
    bool *is_output;
    /* By value: the value whose storage it reads, from which element of a candidate on, and whether that is a window. */
    ir_value *base;
    uint64_t *start;
    bool *window;
    ir_value *first_view, *next_view; /* by base: the other values that read its storage */
    ir_value *into;                   /* by base: the concatenation that it is computed into, 0: none ... */
    uint64_t *at;                     /* ... and where */
    verdict *movable;                 /* by base: whether it may be computed into a window */
    ir_value *stack;                  /* scratch */
} finder;

static ir_value result_of(const finder *f, ir_node node)
{
    return ir_node_of(f->graph, node)->outputs[0];
}

static bool is_shape_change(const finder *f, ir_node node)
{
    ir_op op = ir_node_of(f->graph, node)->op;
    return op == IR_OP_reshape || op == IR_OP_identity;
}

/* The axis of the candidates, or the rank. */
static int32_t row_axis(const ir_type *type)
{
    int32_t axis = 0;
    while (axis < type->rank && type->dim[axis].k[IR_SYMBOL_ROWS] == 0) {
        axis++;
    }
    return axis;
}

/* As plan_candidates_lead: no candidates, or (1, .., 1, B, ..). */
static bool candidates_lead(const ir_type *type)
{
    int32_t axis = row_axis(type);
    return axis == type->rank ||
           (type->dim[axis].k[IR_SYMBOL_ROWS] == 1 && type->dim[axis].c == 0 && compiler_rows_lead(type));
}

/* The elements of a candidate, of a type whose candidates lead. */
static uint64_t width_of(const ir_type *type)
{
    uint64_t width = 1;
    for (int32_t axis = row_axis(type) + 1; axis < type->rank; axis++) {
        if (__builtin_mul_overflow(width, (uint64_t)type->dim[axis].c, &width)) {
            return UINT64_MAX;
        }
    }
    return width;
}

/* Whether the elements of each candidate are one run, so that some of them, or they among others, can be a window. */
static bool is_run(const finder *f, ir_value value)
{
    const ir_value_info *info = ir_info(f->graph, value);
    const ir_rate *rate = &info->rate;
    int32_t axis = row_axis(&info->type);
    if (rate->kind != IR_RATE_ROW || rate->before != 1 || rate->after != 1 || axis == info->type.rank ||
        rate->axis != axis || !candidates_lead(&info->type)) {
        return false;
    }
    uint64_t width = width_of(&info->type);
    return width > 0 && width <= UINT32_MAX;
}

/* With a window among its operands, a step needs the candidates in front everywhere. */
static bool all_lead(const finder *f, const ir_node_info *node)
{
    for (uint32_t i = 0; i < node->input_count + node->output_count; i++) {
        ir_value value = i < node->input_count ? node->inputs[i] : node->outputs[i - node->input_count];
        if (value != 0 && !candidates_lead(ir_type_of(f->graph, value))) {
            return false;
        }
    }
    return true;
}

static bool takes_window(const finder *f, use by)
{
    const ir_node_info *node = ir_node_of(f->graph, by.node);
    plan_op op;
    return node->op == IR_OP_shape || /* reads no element */
           (compiler_plan_op(node->op, &op) && plan_takes_window(op, by.operand) && all_lead(f, node));
}

static bool gives_window(const finder *f, ir_node node)
{
    plan_op op;
    return compiler_plan_op(ir_node_of(f->graph, node)->op, &op) && plan_gives_window(op) &&
           all_lead(f, ir_node_of(f->graph, node));
}

/* Whether all that reads `value`, also under other shapes, takes a window. */
static bool readers_take_windows(const finder *f, ir_value value)
{
    size_t depth = 0;
    f->stack[depth++] = value;
    while (depth > 0) {
        ir_value next = f->stack[--depth];
        if (!is_run(f, next)) {
            return false;
        }
        for (uint32_t i = f->first_use[next]; i < f->first_use[next + 1]; i++) {
            if (is_shape_change(f, f->uses[i].node) && f->uses[i].operand == 0) {
                f->stack[depth++] = result_of(f, f->uses[i].node);
            } else if (!takes_window(f, f->uses[i])) {
                return false;
            }
        }
    }
    return true;
}

static void add_view(finder *f, ir_value view, ir_value of, uint64_t start, bool window)
{
    ir_value base = f->base[of];
    f->base[view] = base;
    f->start[view] = f->start[of] + start;
    f->window[view] = window || f->window[of];
    f->next_view[view] = f->first_view[base];
    f->first_view[base] = view;
}

/* Reshape is free unless it would scatter a tile of the caller's own memory. */
static void view_shape_change(finder *f, ir_node node)
{
    ir_value operand = ir_node_of(f->graph, node)->inputs[0], result = result_of(f, node);
    const ir_rate *rate = &ir_info(f->graph, result)->rate;
    bool repeats = rate->kind == IR_RATE_ROW && rate->before > 1;
    bool one_piece = compiler_rows_lead(ir_type_of(f->graph, result)) && !repeats;
    if (ir_info(f->graph, f->base[operand])->kind != IR_VALUE_INPUT || one_piece) {
        add_view(f, result, operand, 0, false);
    }
}

/* Whether a slice keeps one run of each candidate's elements: after the first axis of which it keeps more than one,
 * all of each. */
static bool slice_run(const finder *f, ir_node node, uint64_t *start)
{
    const ir_node_info *info = ir_node_of(f->graph, node);
    const ir_type *from = ir_type_of(f->graph, info->inputs[0]), *to = ir_type_of(f->graph, info->outputs[0]);
    const ir_attr *starts = ir_find_attr(info, IR_ATTR_starts), *steps = ir_find_attr(info, IR_ATTR_steps);
    if (!is_run(f, info->inputs[0]) || !is_run(f, info->outputs[0]) || row_axis(from) != row_axis(to)) {
        return false;
    }
    uint64_t stride = 1;
    bool whole = true; /* all of the axes behind */
    *start = 0;
    for (int32_t axis = from->rank - 1; axis > row_axis(from); axis--) {
        int64_t kept = to->dim[axis].c, extent = from->dim[axis].c, first = starts->ints[axis];
        if (first < 0 || first + kept > extent || (kept > 1 && (!whole || steps->ints[axis] != 1))) {
            return false;
        }
        *start += (uint64_t)first * stride;
        stride *= (uint64_t)extent;
        whole = whole && kept == extent;
    }
    return starts->ints[row_axis(from)] == 0 && steps->ints[row_axis(from)] == 1;
}

/* The same for a gather of one constant index: x[:, 2]. */
static bool gather_run(const finder *f, ir_node node, uint64_t *start)
{
    const ir_node_info *info = ir_node_of(f->graph, node);
    const ir_type *from = ir_type_of(f->graph, info->inputs[0]);
    int64_t axis = ir_attr_int(info, IR_ATTR_axis), index;
    size_t count;
    if (!is_run(f, info->inputs[0]) || !is_run(f, info->outputs[0]) || axis <= row_axis(from) ||
        !ir_content_ints(f->graph, info->inputs[1], &index, 1, &count) || count != 1) {
        return false;
    }
    for (int64_t between = row_axis(from) + 1; between < axis; between++) {
        if (!ir_dim_is(from->dim[between], 1)) {
            return false;
        }
    }
    int64_t extent = from->dim[axis].c;
    index += index < 0 ? extent : 0;
    *start = (uint64_t)index * width_of(ir_type_of(f->graph, info->outputs[0]));
    return index >= 0 && index < extent;
}

static void view_part(finder *f, ir_node node)
{
    ir_op op = ir_node_of(f->graph, node)->op;
    uint64_t start;
    bool run = (op == IR_OP_slice && slice_run(f, node, &start)) || (op == IR_OP_gather && gather_run(f, node, &start));
    if (run && readers_take_windows(f, result_of(f, node))) {
        add_view(f, result_of(f, node), ir_node_of(f->graph, node)->inputs[0], start, true);
    }
}

/* Whether what reads the storage of a computed value, and what computes it, takes windows, and the caller does not. */
static bool is_movable(finder *f, ir_value base)
{
    if (f->movable[base] != UNKNOWN) {
        return f->movable[base] == FITS;
    }
    f->movable[base] = DOES_NOT;
    const ir_value_info *info = ir_info(f->graph, base);
    if (info->kind != IR_VALUE_NODE || !gives_window(f, info->node)) {
        return false;
    }
    ir_value view = base;
    while (view != 0) {
        bool placed_by_caller = f->is_output[view] && !f->window[view];
        if (!is_run(f, view) || placed_by_caller) {
            return false;
        }
        for (uint32_t i = f->first_use[view]; i < f->first_use[view + 1]; i++) {
            ir_value result = result_of(f, f->uses[i].node);
            bool viewed = result != 0 && f->base[result] == base && f->uses[i].operand == 0 && result != base;
            if (!viewed && !takes_window(f, f->uses[i])) {
                return false;
            }
        }
        view = view == base ? f->first_view[base] : f->next_view[view];
    }
    f->movable[base] = FITS;
    return true;
}

/* Whether each operand gives a run of each candidate's elements: nothing varies between their axis and that of the
 * concatenation. */
static bool concatenates_runs(const finder *f, ir_node node)
{
    const ir_type *type = ir_type_of(f->graph, result_of(f, node));
    int64_t axis = ir_attr_int(ir_node_of(f->graph, node), IR_ATTR_axis);
    if (!is_run(f, result_of(f, node)) || axis <= row_axis(type)) {
        return false;
    }
    for (int32_t between = row_axis(type) + 1; between < axis; between++) {
        if (!ir_dim_is(type->dim[between], 1)) {
            return false;
        }
    }
    return true;
}

static void place_concat(finder *f, ir_node node)
{
    const ir_node_info *info = ir_node_of(f->graph, node);
    if (!concatenates_runs(f, node)) {
        return;
    }
    uint64_t offset = 0;
    for (uint32_t i = 0; i < info->input_count; i++) {
        ir_value base = f->base[info->inputs[i]];
        bool one_program = ir_info(f->graph, base)->rate.per_user == ir_info(f->graph, info->outputs[0])->rate.per_user;
        if (one_program && !f->window[info->inputs[i]] && f->into[base] == 0 && is_movable(f, base)) {
            f->into[base] = info->outputs[0];
            f->at[base] = offset;
            f->lowering->in_place[node] = true;
        }
        offset += width_of(ir_type_of(f->graph, info->inputs[i]));
    }
}

/* Follows the concatenations to the storage that is left: they come after what is computed into them. */
static void resolve(finder *f)
{
    compiler_lowering *lowering = f->lowering;
    for (ir_value value = 1; value < f->graph->value_count; value++) {
        lowering->root[value] = value;
    }
    for (ir_node node = f->graph->last_node; node != 0; node = ir_node_of(f->graph, node)->previous) {
        ir_value value = result_of(f, node), into = f->into[value];
        if (into != 0) {
            lowering->root[value] = lowering->root[into];
            f->at[value] += f->at[into];
        }
    }
    for (ir_value value = 1; value < f->graph->value_count; value++) {
        ir_value base = f->base[value];
        if (base != value) {
            lowering->root[value] = lowering->root[base];
            lowering->viewed[value] = true;
        }
        if (!f->window[value] && f->into[base] == 0) {
            continue;
        }
        uint64_t width = width_of(ir_type_of(f->graph, value));
        uint64_t pitch = compiler_row_elements(ir_type_of(f->graph, lowering->root[value]));
        if (width < pitch) { /* else it is all of it */
            lowering->windows[value] = (compiler_window){(uint32_t)(f->at[base] + f->start[value]), (uint32_t)pitch};
        }
    }
}

static mtl_status list_uses(finder *f)
{
    const ir_graph *graph = f->graph;
    compiler_lowering *lowering = f->lowering;
    size_t total = 0;
    f->first_use = BASE_NEW_ARRAY(lowering->arena, uint32_t, (size_t)graph->value_count + 2);
    BASE_TRY_MEMORY(f->first_use, lowering->diag);
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        const ir_node_info *info = ir_node_of(graph, node);
        for (uint32_t i = 0; i < info->input_count; i++) {
            f->first_use[info->inputs[i] + 2] += 1; /* those of value v are counted two further on, ... */
            total++;
        }
    }
    for (ir_value value = 2; value < graph->value_count + 2; value++) {
        f->first_use[value] += f->first_use[value - 1];
    }
    f->uses = BASE_NEW_ARRAY(lowering->arena, use, total);
    BASE_TRY_MEMORY(f->uses, lowering->diag);
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        const ir_node_info *info = ir_node_of(graph, node);
        for (uint32_t i = 0; i < info->input_count; i++) { /* ... so that filling leaves the first ones in place */
            f->uses[f->first_use[info->inputs[i] + 1]++] = (use){node, i};
        }
    }
    return MTL_OK;
}

static mtl_status finder_new(finder *f)
{
    base_arena *arena = f->lowering->arena;
    size_t count = f->graph->value_count;
    f->is_output = BASE_NEW_ARRAY(arena, bool, count);
    f->base = BASE_NEW_ARRAY(arena, ir_value, count);
    f->start = BASE_NEW_ARRAY(arena, uint64_t, count);
    f->window = BASE_NEW_ARRAY(arena, bool, count);
    f->first_view = BASE_NEW_ARRAY(arena, ir_value, count);
    f->next_view = BASE_NEW_ARRAY(arena, ir_value, count);
    f->into = BASE_NEW_ARRAY(arena, ir_value, count);
    f->at = BASE_NEW_ARRAY(arena, uint64_t, count);
    f->movable = BASE_NEW_ARRAY(arena, verdict, count);
    f->stack = BASE_NEW_ARRAY(arena, ir_value, count);
    if (f->is_output == NULL || f->base == NULL || f->start == NULL || f->window == NULL || f->first_view == NULL ||
        f->next_view == NULL || f->into == NULL || f->at == NULL || f->movable == NULL || f->stack == NULL) {
        return base_fail_memory(f->lowering->diag);
    }
    for (ir_value value = 1; value < f->graph->value_count; value++) {
        f->base[value] = value;
    }
    for (uint32_t i = 0; i < f->graph->output_count; i++) {
        f->is_output[f->graph->outputs[i].value] = true;
    }
    return list_uses(f);
}

mtl_status compiler_find_views(compiler_lowering *lowering)
{
    const ir_graph *graph = lowering->graph;
    finder f = {.lowering = lowering, .graph = graph};
    BASE_TRY(finder_new(&f));
    for (ir_node node = graph->first_node; node != 0; node = ir_node_of(graph, node)->next) {
        if (is_shape_change(&f, node)) {
            view_shape_change(&f, node);
        } else if (!lowering->whole_batch) {
            view_part(&f, node);
        }
    }
    for (ir_node node = graph->first_node; node != 0 && !lowering->whole_batch; node = ir_node_of(graph, node)->next) {
        if (ir_node_of(graph, node)->op == IR_OP_concat) {
            place_concat(&f, node);
        }
    }
    resolve(&f);
    return MTL_OK;
}

bool compiler_copies_operand(const compiler_lowering *lowering, ir_node node, uint32_t operand, compiler_window *to)
{
    const ir_graph *graph = lowering->graph;
    const ir_node_info *info = ir_node_of(graph, node);
    ir_value result = info->outputs[0];
    *to = lowering->windows[result];
    uint64_t start = to->start;
    for (uint32_t i = 0; i < operand; i++) {
        start += width_of(ir_type_of(graph, info->inputs[i]));
    }
    ir_value value = info->inputs[operand];
    uint64_t pitch = compiler_row_elements(ir_type_of(graph, lowering->root[result]));
    *to = (compiler_window){(uint32_t)start, (uint32_t)pitch};
    bool there = lowering->root[value] == lowering->root[result] && lowering->windows[value].start == start;
    uint64_t width = width_of(ir_type_of(graph, value));
    if (width == pitch) {
        *to = (compiler_window){0, 0};
    }
    return !there && width > 0;
}
