#include "ir/dim.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "ir/text.h"

ir_dim ir_dim_const(int64_t number)
{
    return (ir_dim){.c = number};
}

ir_dim ir_dim_symbol(int symbol)
{
    ir_dim dim = {0};
    dim.k[symbol] = 1;
    return dim;
}

bool ir_dim_is_const(ir_dim dim)
{
    for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
        if (dim.k[i] != 0) {
            return false;
        }
    }
    return true;
}

bool ir_dim_is(ir_dim dim, int64_t number)
{
    return dim.c == number && ir_dim_is_const(dim);
}

bool ir_dim_equal(ir_dim a, ir_dim b)
{
    if (a.c != b.c) {
        return false;
    }
    for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
        if (a.k[i] != b.k[i]) {
            return false;
        }
    }
    return true;
}

bool ir_dim_add(ir_dim a, ir_dim b, ir_dim *result)
{
    ir_dim sum;
    if (!base_add_i64(a.c, b.c, &sum.c)) {
        return false;
    }
    for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
        if (!base_add_i64(a.k[i], b.k[i], &sum.k[i])) {
            return false;
        }
    }
    *result = sum;
    return true;
}

bool ir_dim_sub(ir_dim a, ir_dim b, ir_dim *result)
{
    ir_dim difference;
    if (!base_sub_i64(a.c, b.c, &difference.c)) {
        return false;
    }
    for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
        if (!base_sub_i64(a.k[i], b.k[i], &difference.k[i])) {
            return false;
        }
    }
    *result = difference;
    return true;
}

static bool scale(ir_dim dim, int64_t factor, ir_dim *result)
{
    ir_dim product;
    if (!base_mul_i64(dim.c, factor, &product.c)) {
        return false;
    }
    for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
        if (!base_mul_i64(dim.k[i], factor, &product.k[i])) {
            return false;
        }
    }
    *result = product;
    return true;
}

bool ir_dim_mul(ir_dim a, ir_dim b, ir_dim *result)
{
    if (ir_dim_is_const(a)) {
        return scale(b, a.c, result);
    }
    return ir_dim_is_const(b) && scale(a, b.c, result);
}

static bool divide_exactly(int64_t a, int64_t b, int64_t *quotient)
{
    if (b == 0 || (a == INT64_MIN && b == -1) || a % b != 0) {
        return false;
    }
    *quotient = a / b;
    return true;
}

bool ir_dim_div(ir_dim a, ir_dim b, ir_dim *result)
{
    if (ir_dim_is_const(b)) {
        ir_dim quotient;
        if (!divide_exactly(a.c, b.c, &quotient.c)) {
            return false;
        }
        for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
            if (!divide_exactly(a.k[i], b.c, &quotient.k[i])) {
                return false;
            }
        }
        *result = quotient;
        return true;
    }
    /* A quotient with a symbol would make the product quadratic, so it is a number: any nonzero coefficient of b
     * tells which, and the product tells whether it is right for the others. */
    int symbol = 0;
    while (b.k[symbol] == 0) {
        symbol++;
    }
    int64_t quotient;
    ir_dim product;
    if (!divide_exactly(a.k[symbol], b.k[symbol], &quotient) || !scale(b, quotient, &product) ||
        !ir_dim_equal(product, a)) {
        return false;
    }
    *result = ir_dim_const(quotient);
    return true;
}

bool ir_dim_compare(ir_dim a, ir_dim b, int *order)
{
    ir_dim d;
    if (!ir_dim_sub(a, b, &d)) {
        return false;
    }
    /* With s = 1 + t, t >= 0, the difference is least + sum k t: its sign is settled when no k pulls the other way. */
    int64_t least = d.c;
    bool up = false, down = false;
    for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
        up = up || d.k[i] > 0;
        down = down || d.k[i] < 0;
        if (!base_add_i64(least, d.k[i], &least)) {
            return false;
        }
    }
    if (!up && !down) {
        *order = (d.c > 0) - (d.c < 0);
        return true;
    }
    if (!down && least > 0) {
        *order = 1;
        return true;
    }
    if (!up && least < 0) {
        *order = -1;
        return true;
    }
    return false;
}

bool ir_dim_eval(ir_dim dim, const int64_t *symbols, int64_t *number)
{
    int64_t sum = dim.c;
    for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
        int64_t term;
        if (dim.k[i] == 0) {
            continue; /* symbols[i] may not exist */
        }
        if (!base_mul_i64(dim.k[i], symbols[i], &term) || !base_add_i64(sum, term, &sum)) {
            return false;
        }
    }
    *number = sum;
    return true;
}

/* "-4*B", "+B"; without the plus for the first term. NULL: no memory. */
static char *term_text(int64_t k, const char *symbol, bool first, base_arena *arena)
{
    const char *plus = first || k < 0 ? "" : "+";
    if (k == 1) {
        return base_arena_format(arena, "%s%s", plus, symbol);
    }
    if (k == -1) {
        return base_arena_format(arena, "-%s", symbol);
    }
    return base_arena_format(arena, "%s%" PRId64 "*%s", plus, k, symbol);
}

char *ir_dim_text(ir_dim dim, const ir_symbols *symbols, base_arena *arena)
{
    char *text = NULL;
    for (int i = 0; i < IR_MAX_SYMBOLS; i++) {
        if (dim.k[i] == 0) {
            continue;
        }
        const char *symbol = i < symbols->count ? ir_text_name(symbols->name[i], arena) : "?";
        char *term = symbol == NULL ? NULL : term_text(dim.k[i], symbol, text == NULL, arena);
        if (term == NULL) {
            return NULL;
        }
        text = text == NULL ? term : base_arena_format(arena, "%s%s", text, term);
        if (text == NULL) {
            return NULL;
        }
    }
    if (text == NULL) {
        return base_arena_format(arena, "%" PRId64, dim.c);
    }
    return dim.c == 0 ? text : base_arena_format(arena, "%s%+" PRId64, text, dim.c);
}
