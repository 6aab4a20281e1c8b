/* The text form, read: statements, types and nodes. docs/ir.md says what it means; constants are in parse_const.c. */
#include "ir/parse.h"

#include <string.h>

#include "base/checked.h"
#include "ir/text.h"

/* --- words --------------------------------------------------------------------------------------------------- */

mtl_status ir_parse_next(ir_parser *p)
{
    return ir_lex_next(&p->lexer, &p->token);
}

bool ir_parse_at(const ir_parser *p, char mark)
{
    return p->token.kind == IR_TOKEN_MARK && *p->token.start == mark;
}

mtl_status ir_parse_mark(ir_parser *p, char mark)
{
    if (!ir_parse_at(p, mark)) {
        char what[] = "'?'";
        what[1] = mark;
        return ir_lex_expected(p->diag, &p->token, what);
    }
    return ir_parse_next(p);
}

static bool at_word(const ir_parser *p, const char *word)
{
    return p->token.kind == IR_TOKEN_NAME && strcmp(p->token.text, word) == 0;
}

mtl_status ir_parse_comma(ir_parser *p, char close, bool *more)
{
    *more = ir_parse_at(p, ',');
    if (*more) {
        return ir_parse_next(p);
    }
    if (!ir_parse_at(p, close)) {
        char what[] = "',' or '?'";
        what[8] = close;
        return ir_lex_expected(p->diag, &p->token, what);
    }
    return ir_parse_next(p);
}

mtl_status ir_parse_wrap(ir_parser *p, const ir_token *at, mtl_status status, const mtl_error *inner)
{
    if (status != MTL_OK) {
        ir_lex_fail(p->diag, at, "%s", inner->message); /* always says MTL_INVALID_DATA */
        if (p->diag != NULL && p->diag->error != NULL) {
            p->diag->error->status = status;
        }
    }
    return status;
}

/* --- numbers ------------------------------------------------------------------------------------------------- */

/* The decimal digits of a NUMBER token. */
static mtl_status parse_magnitude(ir_parser *p, const ir_token *at, uint64_t *magnitude)
{
    *magnitude = 0;
    for (const char *c = at->text; *c != '\0'; c++) {
        if (*c < '0' || *c > '9') {
            return ir_lex_expected(p->diag, at, "a whole number");
        }
        uint64_t digit = (uint64_t)(*c - '0');
        if (*magnitude > (UINT64_MAX - digit) / 10) {
            return ir_lex_fail(p->diag, at, "%s is out of range", at->text);
        }
        *magnitude = *magnitude * 10 + digit;
    }
    return MTL_OK;
}

/* An optional '-' and the token behind it, which `at` becomes. */
static mtl_status parse_sign(ir_parser *p, bool *minus, ir_token *at)
{
    *minus = ir_parse_at(p, '-');
    if (*minus) {
        BASE_TRY(ir_parse_next(p));
    }
    *at = p->token;
    return MTL_OK;
}

mtl_status ir_parse_int(ir_parser *p, mtl_dtype dtype, int64_t *number)
{
    bool minus;
    ir_token at;
    BASE_TRY(parse_sign(p, &minus, &at));
    if (at.kind != IR_TOKEN_NUMBER) {
        return ir_lex_expected(p->diag, &at, "a whole number");
    }
    uint64_t magnitude;
    BASE_TRY(parse_magnitude(p, &at, &magnitude));
    unsigned bits = (unsigned)mtl_dtype_size(dtype) * 8;
    bool is_unsigned = dtype == MTL_U64 || dtype == MTL_U32 || dtype == MTL_U16 || dtype == MTL_U8;
    uint64_t largest = UINT64_MAX >> (64 - bits + (is_unsigned ? 0 : 1));
    if (magnitude > (!minus ? largest : is_unsigned ? 0 : largest + 1)) {
        return ir_lex_fail(p->diag, &at, "%s%s is out of range for %s", minus ? "-" : "", at.text,
                           ir_dtype_name(dtype));
    }
    *number = (int64_t)(minus ? 0 - magnitude : magnitude);
    return ir_parse_next(p);
}

mtl_status ir_parse_float(ir_parser *p, double *number)
{
    bool minus;
    ir_token at;
    BASE_TRY(parse_sign(p, &minus, &at));
    if ((at.kind != IR_TOKEN_NUMBER && at.kind != IR_TOKEN_NAME) ||
        !ir_text_to_float(at.text, strlen(at.text), number)) {
        return ir_lex_expected(p->diag, &at, "a number");
    }
    if (minus) {
        *number = -*number;
    }
    return ir_parse_next(p);
}

/* --- types --------------------------------------------------------------------------------------------------- */

static mtl_status parse_symbol(ir_parser *p, ir_dim *dim)
{
    if (p->token.kind != IR_TOKEN_NAME && p->token.kind != IR_TOKEN_STRING) {
        return ir_lex_expected(p->diag, &p->token, "an extent");
    }
    for (int i = 0; i < p->graph->symbols.count; i++) {
        if (strcmp(p->graph->symbols.name[i], p->token.text) == 0) {
            *dim = ir_dim_symbol(i);
            return ir_parse_next(p);
        }
    }
    return ir_lex_fail(p->diag, &p->token, "symbol '%s' is not in the list behind the graph's name", p->token.text);
}

/* 512, B, 4*B */
static mtl_status parse_term(ir_parser *p, bool minus, ir_dim *term)
{
    ir_token at = p->token;
    int64_t factor = minus ? -1 : 1;
    if (at.kind == IR_TOKEN_NUMBER) {
        uint64_t magnitude;
        BASE_TRY(parse_magnitude(p, &at, &magnitude));
        if (magnitude > (uint64_t)INT64_MAX + (minus ? 1 : 0)) {
            return ir_lex_fail(p->diag, &at, "%s is out of range", at.text);
        }
        factor = (int64_t)(minus ? 0 - magnitude : magnitude);
        BASE_TRY(ir_parse_next(p));
        if (!ir_parse_at(p, '*')) {
            *term = ir_dim_const(factor);
            return MTL_OK;
        }
        BASE_TRY(ir_parse_next(p));
    }
    ir_dim symbol = {0};
    BASE_TRY(parse_symbol(p, &symbol));
    if (!ir_dim_mul(symbol, ir_dim_const(factor), term)) {
        return ir_lex_fail(p->diag, &at, "the extent is out of range"); /* cannot happen: the factor fits */
    }
    return MTL_OK;
}

static mtl_status parse_dim(ir_parser *p, ir_dim *dim)
{
    ir_token start = p->token;
    *dim = ir_dim_const(0);
    bool minus = ir_parse_at(p, '-');
    if (minus) {
        BASE_TRY(ir_parse_next(p));
    }
    for (;;) {
        ir_dim term = {0};
        BASE_TRY(parse_term(p, minus, &term));
        if (!ir_dim_add(*dim, term, dim)) {
            return ir_lex_fail(p->diag, &start, "the extent is out of range");
        }
        minus = ir_parse_at(p, '-');
        if (!minus && !ir_parse_at(p, '+')) {
            break;
        }
        BASE_TRY(ir_parse_next(p));
    }
    if (ir_dim_is_const(*dim) && dim->c < 0) {
        return ir_lex_fail(p->diag, &start, "the extent is %lld, expected 0 or more", (long long)dim->c);
    }
    return MTL_OK;
}

static mtl_status parse_dtype(ir_parser *p, mtl_dtype *dtype)
{
    if (p->token.kind != IR_TOKEN_NAME || !ir_dtype_find(p->token.text, dtype)) {
        return ir_lex_expected(p->diag, &p->token, "an element type (f32, i64, bool, ...)");
    }
    return ir_parse_next(p);
}

static mtl_status parse_type(ir_parser *p, ir_type *type)
{
    *type = (ir_type){0};
    BASE_TRY(parse_dtype(p, &type->dtype));
    if (!ir_parse_at(p, '[')) {
        return MTL_OK;
    }
    bool more = true;
    BASE_TRY(ir_parse_next(p));
    while (more) {
        if (type->rank == MTL_MAX_RANK) {
            return ir_lex_fail(p->diag, &p->token, "more than %d axes", MTL_MAX_RANK);
        }
        BASE_TRY(parse_dim(p, &type->dim[type->rank++]));
        BASE_TRY(ir_parse_comma(p, ']', &more));
    }
    return MTL_OK;
}

/* --- statements ---------------------------------------------------------------------------------------------- */

/* "%h : f32[B, 512]" of a value that is not there yet; `at` is its name. */
static mtl_status parse_typed(ir_parser *p, ir_token *at, ir_type *type)
{
    *at = p->token;
    if (at->kind != IR_TOKEN_VALUE) {
        return ir_lex_expected(p->diag, at, "a value (%name)");
    }
    if (ir_find_value(p->graph, at->text) != 0) {
        return ir_lex_fail(p->diag, at, "value '%s' is defined twice", at->text);
    }
    BASE_TRY(ir_parse_next(p));
    BASE_TRY(ir_parse_mark(p, ':'));
    return parse_type(p, type);
}

/* A value that is defined above. */
static mtl_status parse_use(ir_parser *p, ir_value *value)
{
    if (p->token.kind != IR_TOKEN_VALUE) {
        return ir_lex_expected(p->diag, &p->token, "a value (%name)");
    }
    *value = ir_find_value(p->graph, p->token.text);
    if (*value == 0) {
        return ir_lex_fail(p->diag, &p->token, "value '%s' is not defined above", p->token.text);
    }
    return ir_parse_next(p);
}

static mtl_status parse_input(ir_parser *p)
{
    ir_token at;
    ir_type type;
    ir_value value = 0;
    BASE_TRY(ir_parse_next(p));
    BASE_TRY(parse_typed(p, &at, &type));
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    BASE_TRY(ir_parse_wrap(p, &at, ir_add_input(p->graph, at.text, &type, &inner, &value), &error));
    if (!at_word(p, "per_user")) {
        return MTL_OK;
    }
    BASE_TRY(ir_parse_wrap(p, &p->token, ir_set_per_user(p->graph, value, &inner), &error));
    return ir_parse_next(p);
}

static mtl_status parse_output(ir_parser *p)
{
    BASE_TRY(ir_parse_next(p));
    ir_token at = p->token;
    if (at.kind != IR_TOKEN_STRING) {
        return ir_lex_expected(p->diag, &at, "the output's name in quotes");
    }
    ir_value value = 0;
    BASE_TRY(ir_parse_next(p));
    BASE_TRY(ir_parse_mark(p, '='));
    BASE_TRY(parse_use(p, &value));
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    return ir_parse_wrap(p, &at, ir_add_output(p->graph, at.text, value, &inner), &error);
}

/* const %w : f32[2] = [1, 2]; a param likewise. */
static mtl_status parse_const(ir_parser *p, bool param)
{
    ir_token at;
    ir_type type;
    ir_tensor tensor;
    ir_value value;
    BASE_TRY(ir_parse_next(p));
    BASE_TRY(parse_typed(p, &at, &type));
    BASE_TRY(ir_parse_mark(p, '='));
    BASE_TRY(ir_parse_tensor(p, &at, &type, &tensor));
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    mtl_status status = param ? ir_add_param(p->graph, at.text, &tensor, &inner, &value)
                              : ir_add_const(p->graph, at.text, &tensor, &inner, &value);
    return ir_parse_wrap(p, &at, status, &error);
}

static mtl_status parse_ints(ir_parser *p, ir_attr *attr)
{
    size_t capacity = 0;
    int64_t *ints = NULL;
    BASE_TRY(ir_parse_mark(p, '['));
    bool more = !ir_parse_at(p, ']');
    if (!more) {
        BASE_TRY(ir_parse_next(p));
    }
    while (more) {
        if (attr->count == capacity) {
            capacity = capacity == 0 ? 8 : capacity * 2;
            int64_t *larger = BASE_NEW_ARRAY(p->arena, int64_t, capacity);
            BASE_TRY_MEMORY(larger, p->diag);
            if (attr->count > 0) {
                memcpy(larger, ints, attr->count * sizeof *ints);
            }
            ints = larger;
        }
        BASE_TRY(ir_parse_int(p, MTL_I64, &ints[attr->count++]));
        BASE_TRY(ir_parse_comma(p, ']', &more));
    }
    attr->ints = ints;
    return MTL_OK;
}

/* perm=[1, 0] */
static mtl_status parse_attr(ir_parser *p, ir_attr *attr)
{
    *attr = (ir_attr){0};
    if (p->token.kind != IR_TOKEN_NAME || !ir_attr_find(p->token.text, &attr->key)) {
        return ir_lex_expected(p->diag, &p->token, "an attribute's name");
    }
    BASE_TRY(ir_parse_next(p));
    BASE_TRY(ir_parse_mark(p, '='));
    mtl_dtype dtype;
    switch (ir_attr_key_kind(attr->key)) {
    case IR_KIND_INT: return ir_parse_int(p, MTL_I64, &attr->i);
    case IR_KIND_FLOAT: return ir_parse_float(p, &attr->f);
    case IR_KIND_INTS: return parse_ints(p, attr);
    case IR_KIND_STRING:
        if (p->token.kind != IR_TOKEN_STRING) {
            return ir_lex_expected(p->diag, &p->token, "a string");
        }
        attr->text = p->token.text;
        return ir_parse_next(p);
    case IR_KIND_DTYPE:
        BASE_TRY(parse_dtype(p, &dtype));
        attr->i = (int64_t)dtype;
        return MTL_OK;
    }
    return MTL_INTERNAL;
}

static mtl_status parse_attrs(ir_parser *p, ir_attr attrs[static IR_ATTR_COUNT], size_t *count)
{
    *count = 0;
    if (!ir_parse_at(p, '{')) {
        return MTL_OK;
    }
    bool more = true;
    BASE_TRY(ir_parse_next(p));
    while (more) {
        ir_token at = p->token;
        ir_attr attr;
        BASE_TRY(parse_attr(p, &attr));
        for (size_t i = 0; i < *count; i++) {
            if (attrs[i].key == attr.key) {
                return ir_lex_fail(p->diag, &at, "attribute %s is there twice", at.text);
            }
        }
        attrs[(*count)++] = attr; /* different keys: at most IR_ATTR_COUNT of them */
        BASE_TRY(ir_parse_comma(p, '}', &more));
    }
    return MTL_OK;
}

/* %x, _, %b into p->operands, which is used again for every node. */
static mtl_status parse_operands(ir_parser *p, size_t *count)
{
    *count = 0;
    for (;;) {
        if (*count == p->operand_capacity) {
            size_t capacity = p->operand_capacity == 0 ? 16 : p->operand_capacity * 2;
            ir_value *larger = BASE_NEW_ARRAY(p->arena, ir_value, capacity);
            BASE_TRY_MEMORY(larger, p->diag);
            if (*count > 0) {
                memcpy(larger, p->operands, *count * sizeof *larger);
            }
            p->operands = larger;
            p->operand_capacity = capacity;
        }
        ir_value value = 0;
        if (at_word(p, "_")) {
            BASE_TRY(ir_parse_next(p));
        } else {
            BASE_TRY(parse_use(p, &value));
        }
        p->operands[(*count)++] = value;
        if (!ir_parse_at(p, ',')) {
            return MTL_OK;
        }
        BASE_TRY(ir_parse_next(p));
    }
}

/* %h : f32[B, 256] = linear %x, %w, %b {act="relu"} */
static mtl_status parse_node(ir_parser *p)
{
    ir_token name;
    ir_type type;
    ir_op op;
    size_t input_count, attr_count;
    ir_attr attrs[IR_ATTR_COUNT];
    BASE_TRY(parse_typed(p, &name, &type));
    BASE_TRY(ir_parse_mark(p, '='));
    ir_token at = p->token;
    if (at.kind != IR_TOKEN_NAME || !ir_op_find(at.text, &op)) {
        return ir_lex_expected(p->diag, &at, "an operation");
    }
    BASE_TRY(ir_parse_next(p));
    BASE_TRY(parse_operands(p, &input_count));
    BASE_TRY(parse_attrs(p, attrs, &attr_count));
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    ir_value value;
    return ir_parse_wrap(
        p, &at,
        ir_insert_typed(p->graph, 0, op, name.text, p->operands, input_count, attrs, attr_count, &type, &inner, &value),
        &error);
}

static mtl_status parse_statement(ir_parser *p)
{
    if (p->token.kind == IR_TOKEN_VALUE) {
        return parse_node(p);
    }
    if (at_word(p, "input")) {
        return parse_input(p);
    }
    if (at_word(p, "const") || at_word(p, "param")) {
        return parse_const(p, at_word(p, "param"));
    }
    if (at_word(p, "output")) {
        return parse_output(p);
    }
    return ir_lex_expected(p->diag, &p->token, "input, param, const, output, a value (%name) or '}'");
}

/* graph "mmoe" (B, L) { */
static mtl_status parse_head(ir_parser *p)
{
    ir_symbols *symbols = &p->graph->symbols;
    if (!at_word(p, "graph")) {
        return ir_lex_expected(p->diag, &p->token, "graph");
    }
    BASE_TRY(ir_parse_next(p));
    if (p->token.kind != IR_TOKEN_STRING) {
        return ir_lex_expected(p->diag, &p->token, "the graph's name in quotes");
    }
    p->graph->name = p->token.text;
    BASE_TRY(ir_parse_next(p));
    BASE_TRY(ir_parse_mark(p, '('));
    symbols->count = 0;
    bool more = true;
    while (more) {
        if (p->token.kind != IR_TOKEN_NAME && p->token.kind != IR_TOKEN_STRING) {
            return ir_lex_expected(p->diag, &p->token, "the name of an extent");
        }
        if (symbols->count == IR_MAX_SYMBOLS) {
            return ir_lex_fail(p->diag, &p->token, "more than %d symbols", IR_MAX_SYMBOLS);
        }
        for (int i = 0; i < symbols->count; i++) {
            if (strcmp(symbols->name[i], p->token.text) == 0) {
                return ir_lex_fail(p->diag, &p->token, "symbol '%s' is there twice", p->token.text);
            }
        }
        symbols->name[symbols->count++] = p->token.text;
        BASE_TRY(ir_parse_next(p));
        BASE_TRY(ir_parse_comma(p, ')', &more));
    }
    return ir_parse_mark(p, '{');
}

mtl_status ir_parse(const char *text, size_t length, const ir_constants *constants, base_arena *arena, base_diag *diag,
                    ir_graph **graph)
{
    ir_parser p = {.arena = arena, .diag = diag, .constants = constants};
    ir_lex_begin(&p.lexer, text, length, arena, diag);
    BASE_TRY(ir_graph_new(arena, diag, &p.graph));
    BASE_TRY(ir_lex_next(&p.lexer, &p.token));
    BASE_TRY(parse_head(&p));
    while (!ir_parse_at(&p, '}')) {
        BASE_TRY(parse_statement(&p));
    }
    BASE_TRY(ir_parse_next(&p));
    if (p.token.kind != IR_TOKEN_END) {
        return ir_lex_expected(diag, &p.token, "the end of the text");
    }
    *graph = p.graph;
    return MTL_OK;
}
