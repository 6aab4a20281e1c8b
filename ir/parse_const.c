/* Constants of the text form: 0.5, [1, 2, 3], xxh3:0123456789abcdef. */
#include <inttypes.h>
#include <string.h>

#include "base/checked.h"
#include "ir/parse.h"

static mtl_status parse_bool(ir_parser *p, int64_t *number)
{
    if (p->token.kind != IR_TOKEN_NAME || (strcmp(p->token.text, "true") != 0 && strcmp(p->token.text, "false") != 0)) {
        return ir_lex_expected(p->diag, &p->token, "true or false");
    }
    *number = p->token.text[0] == 't';
    return ir_parse_next(p);
}

static mtl_status parse_element(ir_parser *p, mtl_dtype dtype, size_t index, double *floats, int64_t *ints)
{
    if (floats != NULL) {
        return ir_parse_float(p, &floats[index]);
    }
    return dtype == MTL_BOOL ? parse_bool(p, &ints[index]) : ir_parse_int(p, dtype, &ints[index]);
}

/* The elements in row-major order, without brackets inside: the type says the shape. */
static mtl_status parse_elements(ir_parser *p, ir_tensor *tensor)
{
    ir_token at = p->token;
    /* Every element takes a character: this bounds the memory before any is taken. */
    if (tensor->count > (size_t)(p->lexer.end - at.start)) {
        return ir_lex_fail(p->diag, &at, "expected %zu elements, found fewer", tensor->count);
    }
    double *floats = NULL;
    int64_t *ints = NULL;
    if (ir_dtype_is_float(tensor->dtype)) {
        floats = BASE_NEW_ARRAY(p->arena, double, tensor->count);
        BASE_TRY_MEMORY(floats, p->diag);
    } else {
        ints = BASE_NEW_ARRAY(p->arena, int64_t, tensor->count);
        BASE_TRY_MEMORY(ints, p->diag);
    }
    tensor->f = floats;
    tensor->i = ints;
    if (tensor->rank == 0) {
        return parse_element(p, tensor->dtype, 0, floats, ints);
    }
    BASE_TRY(ir_parse_mark(p, '['));
    size_t count = 0;
    bool more = !ir_parse_at(p, ']');
    if (!more) {
        BASE_TRY(ir_parse_next(p));
    }
    while (more) {
        if (count == tensor->count) {
            return ir_lex_fail(p->diag, &p->token, "expected %zu elements, found more", count);
        }
        BASE_TRY(parse_element(p, tensor->dtype, count++, floats, ints));
        BASE_TRY(ir_parse_comma(p, ']', &more));
    }
    if (count != tensor->count) {
        return ir_lex_fail(p->diag, &at, "expected %zu elements, found %zu", tensor->count, count);
    }
    return MTL_OK;
}

/* The 16 hexadecimal digits behind "xxh3:". They may look like a number or like a name. */
static mtl_status parse_hash(ir_parser *p, uint64_t *hash)
{
    const ir_token *at = &p->token;
    bool fits = (at->kind == IR_TOKEN_NUMBER || at->kind == IR_TOKEN_NAME) && at->length == 16;
    *hash = 0;
    for (size_t i = 0; fits && i < at->length; i++) {
        const char *digits = "0123456789abcdef", *digit = strchr(digits, at->start[i]);
        fits = digit != NULL;
        *hash = *hash << 4 | (fits ? (uint64_t)(digit - digits) : 0);
    }
    return fits ? ir_parse_next(p) : ir_lex_expected(p->diag, at, "16 hexadecimal digits");
}

static mtl_status find_tensor(ir_parser *p, const ir_token *name, const ir_token *at, ir_tensor *tensor)
{
    ir_tensor wanted = *tensor;
    uint64_t hash, found;
    BASE_TRY(ir_parse_next(p));
    BASE_TRY(ir_parse_mark(p, ':'));
    BASE_TRY(parse_hash(p, &hash));
    if (p->constants == NULL || p->constants->find == NULL) {
        return ir_lex_fail(p->diag, at, "the elements of '%s' are not in the text, and no constants came with it",
                           name->text);
    }
    mtl_error error = {0};
    base_diag inner = {.error = &error};
    BASE_TRY(
        ir_parse_wrap(p, at, p->constants->find(p->constants->context, name->text, p->arena, &inner, tensor), &error));
    bool same = tensor->dtype == wanted.dtype && tensor->rank == wanted.rank && tensor->count == wanted.count;
    for (int i = 0; same && i < wanted.rank; i++) {
        same = tensor->shape[i] == wanted.shape[i];
    }
    if (!same) {
        return ir_lex_fail(p->diag, at, "the constant that came for '%s' has another type", name->text);
    }
    ir_tensor_hash(tensor, &found);
    if (found != hash) {
        return ir_lex_fail(p->diag, at, "the constant that came for '%s' has hash %016" PRIx64 ", expected %016" PRIx64,
                           name->text, found, hash);
    }
    return MTL_OK;
}

mtl_status ir_parse_tensor(ir_parser *p, const ir_token *name, const ir_type *type, ir_tensor *tensor)
{
    *tensor = (ir_tensor){.dtype = type->dtype, .rank = type->rank, .count = 1};
    for (int i = 0; i < type->rank; i++) {
        tensor->shape[i] = type->dim[i].c;
        if (!ir_dim_is_const(type->dim[i])) {
            return ir_lex_fail(p->diag, name, "constant '%s' has a symbol in its type", name->text);
        }
        if (!base_mul_size(tensor->count, (size_t)tensor->shape[i], &tensor->count)) {
            return ir_lex_fail(p->diag, name, "constant '%s' is too large", name->text);
        }
    }
    ir_token at = p->token;
    if (at.kind == IR_TOKEN_NAME && strcmp(at.text, "xxh3") == 0) {
        return find_tensor(p, name, &at, tensor);
    }
    return parse_elements(p, tensor);
}
