#include "ir/chain.h"

#include <math.h>
#include <string.h>

#include "ir/text.h"

/* --- steps --------------------------------------------------------------------------------------------------- */

static bool is_plain_number(double number, ir_attr_kind kind)
{
    return !isnan(number) && (kind == IR_KIND_FLOAT || (number == trunc(number) && fabs(number) < 0x1p53));
}

bool ir_chain_step_of(const ir_node_info *node, ir_chain_step *step)
{
    *step = (ir_chain_step){.op = node->op};
    if (!ir_op_is_float_function(node->op) || node->attr_count > 2) {
        return false;
    }
    for (uint32_t i = 0; i < node->attr_count; i++) {
        ir_attr_kind kind = ir_attr_key_kind(node->attrs[i].key);
        bool number = kind == IR_KIND_INT || kind == IR_KIND_FLOAT;
        if (!number || (kind == IR_KIND_FLOAT && isnan(node->attrs[i].f))) {
            return false;
        }
        step->attrs[step->attr_count++] = node->attrs[i];
    }
    return true;
}

ir_node_info ir_chain_node(ir_chain_step *step)
{
    return (ir_node_info){.op = step->op, .attrs = step->attrs, .attr_count = step->attr_count};
}

bool ir_chain_fits(const ir_type *operand, const ir_type *x)
{
    if (ir_type_equal(operand, x)) {
        return true;
    }
    if (operand->dtype != x->dtype || operand->rank > x->rank || !ir_type_is_fixed(operand)) {
        return false;
    }
    bool columns = true;
    for (int32_t i = 1; i <= operand->rank; i++) {
        ir_dim own = operand->dim[operand->rank - i];
        columns = columns && ir_dim_equal(own, x->dim[x->rank - i]);
        if (!columns && !ir_dim_is(own, 1)) {
            return false;
        }
    }
    return true;
}

/* --- text ---------------------------------------------------------------------------------------------------- */

static const char *step_name(const ir_chain_step *step)
{
    return step->op == IR_OP_mod && step->attrs[0].i != 0 ? "fmod" : ir_op_table(step->op)->name;
}

static char *parameters_text(const ir_chain_step *step, base_arena *arena)
{
    char *text = base_arena_format(arena, "%s", step_name(step));
    for (uint32_t i = 0; i < step->attr_count && text != NULL; i++) {
        char number[IR_TEXT_FLOAT_SIZE];
        const ir_attr *attr = &step->attrs[i];
        ir_text_float(ir_attr_key_kind(attr->key) == IR_KIND_INT ? (double)attr->i : attr->f, number);
        text = base_arena_format(arena, "%s%s%s", text, i == 0 ? "(" : ", ", number);
    }
    return text == NULL || step->attr_count == 0 ? text : base_arena_format(arena, "%s)", text);
}

char *ir_chain_text(const ir_chain *chain, base_arena *arena)
{
    char *text = base_arena_format(arena, "%s", "");
    for (size_t i = 0; i < chain->count && text != NULL; i++) {
        const ir_chain_step *step = &chain->steps[i];
        const char *between = i == 0 ? "" : "; ";
        if (step->operand == 0) {
            const char *unary = parameters_text(step, arena);
            text = unary == NULL ? NULL : base_arena_format(arena, "%s%s%s", text, between, unary);
        } else if (step->operand_first) {
            text = base_arena_format(arena, "%s%s%u %s", text, between, (unsigned)step->operand, step_name(step));
        } else {
            text = base_arena_format(arena, "%s%s%s %u", text, between, step_name(step), (unsigned)step->operand);
        }
    }
    return text;
}

typedef struct reader {
    const char *text;
    size_t at;
} reader;

static bool take(reader *r, const char *wanted)
{
    size_t length = strlen(wanted);
    if (strncmp(r->text + r->at, wanted, length) != 0) {
        return false;
    }
    r->at += length;
    return true;
}

/* A whole number from 1 on. */
static bool take_operand(reader *r, uint32_t *operand)
{
    size_t start = r->at;
    uint32_t number = 0;
    while (r->text[r->at] >= '0' && r->text[r->at] <= '9' && number < 1000000) {
        number = number * 10 + (uint32_t)(r->text[r->at++] - '0');
    }
    *operand = number;
    return number > 0 && r->text[start] != '0';
}

static bool take_name(reader *r, ir_chain_step *step)
{
    enum { LONGEST = 32 };
    char name[LONGEST];
    size_t length = 0;
    while (ir_text_is_name_char(r->text[r->at + length]) && length + 1 < LONGEST) {
        name[length] = r->text[r->at + length];
        length++;
    }
    name[length] = '\0';
    bool dividend = strcmp(name, "fmod") == 0;
    *step = (ir_chain_step){.operand = step->operand};
    if (!ir_op_find(dividend ? "mod" : name, &step->op) || !ir_op_is_float_function(step->op)) {
        return false;
    }
    if (step->op == IR_OP_mod) {
        step->attrs[step->attr_count++] = (ir_attr)IR_INT(fmod, dividend);
    }
    r->at += length;
    return true;
}

static bool take_number(reader *r, ir_attr *attr)
{
    size_t length = strcspn(r->text + r->at, ",)");
    double number;
    ir_attr_kind kind = ir_attr_key_kind(attr->key);
    if (!ir_text_to_float(r->text + r->at, length, &number) || !is_plain_number(number, kind)) {
        return false;
    }
    attr->f = kind == IR_KIND_FLOAT ? number : 0;
    attr->i = kind == IR_KIND_FLOAT ? 0 : (int64_t)number;
    r->at += length;
    return true;
}

/* The attributes that the function's row of ops.def asks for. */
static bool take_parameters(reader *r, ir_chain_step *step)
{
    uint64_t wanted = ir_op_table(step->op)->required;
    for (unsigned key = 0; key < IR_ATTR_COUNT; key++) {
        if ((wanted >> key & 1) == 0) {
            continue;
        }
        ir_attr attr = {.key = (ir_attr_key)key};
        if (step->attr_count == 2 || !take(r, step->attr_count == 0 ? "(" : ", ") || !take_number(r, &attr)) {
            return false;
        }
        step->attrs[step->attr_count++] = attr;
    }
    return step->attr_count == 0 || take(r, ")");
}

static bool take_step(reader *r, ir_chain_step *step)
{
    *step = (ir_chain_step){0};
    if (r->text[r->at] >= '0' && r->text[r->at] <= '9') {
        if (!take_operand(r, &step->operand) || !take(r, " ") || !take_name(r, step) || !ir_op_is_binary(step->op)) {
            return false;
        }
        step->operand_first = true;
        return true;
    }
    if (!take_name(r, step)) {
        return false;
    }
    return ir_op_is_binary(step->op) ? take(r, " ") && take_operand(r, &step->operand) : take_parameters(r, step);
}

bool ir_chain_read(const char *program, ir_chain *chain, size_t *at)
{
    reader r = {.text = program != NULL ? program : ""};
    bool good = true;
    chain->count = 0;
    do {
        good = chain->count < IR_CHAIN_MAX && take_step(&r, &chain->steps[chain->count]);
        chain->count += good;
    } while (good && take(&r, "; "));
    *at = r.at;
    return good && r.text[r.at] == '\0';
}
