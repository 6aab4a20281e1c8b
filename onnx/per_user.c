/* What declarations make of inputs: whole ones that are per user, and columns that become an input of their own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/names.h"
#include "onnx/request.h"

enum { MOST_PAIRS = 1 << 20 }; /* of declarations and inputs */

/* --- which inputs --------------------------------------------------------------------------------------------- */

static mtl_status unknown_name(const onnx_importer *importer, const onnx_declaration *d, const char *const *names,
                               size_t count)
{
    char text[ONNX_NEAR_TEXT];
    bool all;
    BASE_TRY(onnx_near_names(importer, d->name, names, count, text, &all));
    const char *what = strpbrk(d->name, "*?") != NULL ? "it matches no input" : "no input has this name";
    return onnx_request_fail(importer->diag, d, "%s%s", what, text);
}

bool onnx_request_names(const onnx_declaration *declaration, const char *name)
{
    return declaration->found ? strcmp(declaration->name, name) == 0 : base_name_matches(declaration->name, name);
}

/* Notes that `d` names an input. An input may be in several patterns, but whoever names it twice meant another one. */
static mtl_status declare(const onnx_importer *importer, const char *name, const onnx_declaration *d, onnx_declared *of)
{
    bool exact = strcmp(d->name, name) == 0;
    bool twice = d->spans == NULL && exact && of->exact;
    if (of->by != NULL && (of->whole != (d->spans == NULL) || twice)) {
        return onnx_request_fail(importer->diag, d, "input '%.60s' is declared already, by '%.60s'%s", name,
                                 of->by->text, twice ? "" : "; either as a whole, or columns of it");
    }
    of->exact = exact || of->exact;
    of->by = of->by == NULL ? d : of->by;
    if (d->spans == NULL) {
        of->whole = true;
        return MTL_OK;
    }
    if ((of->column_count & (of->column_count - 1)) == 0) { /* full at 0 and powers of two */
        size_t room = of->column_count == 0 ? 1 : 2 * of->column_count;
        const onnx_declaration **columns = BASE_NEW_ARRAY(importer->arena, const onnx_declaration *, room);
        BASE_TRY_MEMORY(columns, importer->diag);
        if (of->column_count > 0) {
            memcpy(columns, of->columns, of->column_count * sizeof *columns);
        }
        of->columns = columns;
    }
    of->columns[of->column_count++] = d;
    return MTL_OK;
}

mtl_status onnx_request_match(const onnx_importer *importer, const char *const *names, size_t count,
                              onnx_declared **declared)
{
    *declared = BASE_NEW_ARRAY(importer->arena, onnx_declared, count);
    BASE_TRY_MEMORY(*declared, importer->diag);
    int pairs = 0;
    for (size_t i = 0; i < importer->request->count; i++) {
        const onnx_declaration *d = &importer->request->all[i];
        bool any = false;
        for (size_t j = 0; j < count; j++) {
            if (onnx_request_names(d, names[j])) {
                if (pairs++ == MOST_PAIRS) {
                    return onnx_request_fail(importer->diag, d, "the declarations name inputs more than %d times",
                                             MOST_PAIRS);
                }
                BASE_TRY(declare(importer, names[j], d, &(*declared)[j]));
                any = true;
            }
        }
        if (!any) {
            return unknown_name(importer, d, names, count);
        }
    }
    return MTL_OK;
}

/* --- which columns -------------------------------------------------------------------------------------------- */

/* A bound as Python counts it, from the end if negative; outside of the input is an error. */
static mtl_status read_bound(base_diag *diag, const onnx_declaration *d, int64_t bound, int64_t extent, int64_t *at)
{
    *at = bound < 0 ? bound + extent : bound;
    if (*at < 0 || *at > extent) {
        return onnx_request_fail(diag, d, "column %lld is outside of 0..%lld", (long long)bound, (long long)extent);
    }
    return MTL_OK;
}

static mtl_status read_columns(base_diag *diag, const onnx_declaration *d, const onnx_span *span, int64_t extent,
                               onnx_columns *found)
{
    *found = (onnx_columns){0, extent};
    if (span->has_from) {
        BASE_TRY(read_bound(diag, d, span->from, extent, &found->from));
    }
    if (span->has_to) {
        BASE_TRY(read_bound(diag, d, span->to, extent, &found->to));
    }
    if (found->from >= found->to) {
        return onnx_request_fail(diag, d, "columns %lld:%lld are empty", (long long)found->from, (long long)found->to);
    }
    return MTL_OK;
}

static mtl_status check_axes(base_diag *diag, const onnx_declaration *d, const char *name, const ir_type *type)
{
    size_t leading = (size_t)(type->rank - 1);
    if (type->rank < 2) {
        return onnx_request_fail(diag, d, "input '%.60s' has 1 axis, columns need 2", name);
    }
    ir_dim last = type->dim[leading];
    if (!ir_dim_is_const(last)) {
        return onnx_request_fail(diag, d, "the last axis of input '%.60s' is not fixed", name);
    }
    bool whole = d->span_count > leading;
    for (size_t i = 0; i < leading && whole; i++) {
        whole = !d->spans[i].has_from && !d->spans[i].has_to;
    }
    if (!whole) {
        return onnx_request_fail(diag, d,
                                 "columns are along the last of the %d axes of input '%.60s': expected %zu x ':' and "
                                 "then slices",
                                 (int)type->rank, name, leading);
    }
    return MTL_OK;
}

static int by_start(const void *a, const void *b)
{
    const onnx_columns *left = a, *right = b;
    return left->from < right->from ? -1 : left->from > right->from;
}

/* All declared columns of an input, in order, those that touch as one piece. */
static mtl_status find_columns(onnx_importer *importer, const char *name, const ir_type *type, onnx_declared *declared)
{
    size_t most = 0, count = 0, leading = (size_t)(type->rank - 1);
    for (size_t i = 0; i < declared->column_count; i++) {
        BASE_TRY(check_axes(importer->diag, declared->columns[i], name, type));
        most += declared->columns[i]->span_count - leading;
    }
    onnx_columns *all = BASE_NEW_ARRAY(importer->arena, onnx_columns, most);
    BASE_TRY_MEMORY(all, importer->diag);
    for (size_t i = 0; i < declared->column_count; i++) {
        const onnx_declaration *d = declared->columns[i];
        for (size_t j = leading; j < d->span_count; j++) {
            BASE_TRY(read_columns(importer->diag, d, &d->spans[j], type->dim[leading].c, &all[count++]));
        }
    }
    qsort(all, count, sizeof *all, by_start);
    declared->pieces = all;
    for (size_t i = 0; i < count; i++) {
        onnx_columns *last = declared->piece_count > 0 ? &all[declared->piece_count - 1] : NULL;
        if (last != NULL && all[i].from < last->to) {
            return onnx_request_fail(importer->diag, declared->by, "column %lld of input '%.60s' is declared twice",
                                     (long long)all[i].from, name);
        }
        if (last != NULL && all[i].from == last->to) {
            last->to = all[i].to;
        } else {
            all[declared->piece_count++] = all[i];
        }
    }
    return MTL_OK;
}

/* --- inputs --------------------------------------------------------------------------------------------------- */

/* The name of one half of an input, which nothing else in the model may have. */
static mtl_status half_name(onnx_importer *importer, const onnx_scope *scope, const char *name, const char *suffix,
                            const onnx_declaration *by, const char **half)
{
    *half = base_arena_format(importer->arena, "%s.%s", name, suffix);
    BASE_TRY_MEMORY(*half, importer->diag);
    if (onnx_scope_find(scope, *half) != NULL) {
        return onnx_request_fail(importer->diag, by,
                                 "the columns of input '%.60s' need the name '%.60s', which is taken", name, *half);
    }
    return MTL_OK;
}

/* Which columns of the model's input each half holds. */
static mtl_status tell_columns(const onnx_importer *importer, const char *name, int64_t width,
                               const onnx_declared *declared)
{
    int64_t at = 0;
    for (size_t i = 0; i <= declared->piece_count; i++) {
        bool last = i == declared->piece_count;
        ir_columns row = {.source = name, .input = declared->row, .from = at, .width = width};
        row.count = (last ? width : declared->pieces[i].from) - at;
        if (row.count > 0) {
            BASE_TRY(ir_add_columns(importer->graph, &row, importer->diag));
        }
        if (!last) {
            const onnx_columns *piece = &declared->pieces[i];
            ir_columns mine = {.source = name, .input = declared->request, .from = piece->from, .width = width};
            mine.count = piece->to - piece->from;
            BASE_TRY(ir_add_columns(importer->graph, &mine, importer->diag));
            at = piece->to;
        }
    }
    return MTL_OK;
}

static mtl_status add_halves(onnx_importer *importer, const onnx_scope *scope, const char *name, const ir_type *type,
                             onnx_declared *declared)
{
    ir_type row = *type, request = *type;
    const char *row_name, *request_name;
    int64_t wide = 0;
    for (size_t i = 0; i < declared->piece_count; i++) {
        wide += declared->pieces[i].to - declared->pieces[i].from;
    }
    row.dim[type->rank - 1].c -= wide;
    request.dim[type->rank - 1].c = wide;
    BASE_TRY(half_name(importer, scope, name, "request", declared->by, &request_name));
    BASE_TRY(half_name(importer, scope, name, "row", declared->by, &row_name));
    BASE_TRY(ir_add_input(importer->graph, request_name, &request, importer->diag, &declared->request));
    BASE_TRY(ir_set_per_user(importer->graph, declared->request, importer->diag));
    BASE_TRY(ir_add_input(importer->graph, row_name, &row, importer->diag, &declared->row));
    return tell_columns(importer, name, type->dim[type->rank - 1].c, declared);
}

/* One leading axis of candidates. */
static mtl_status check_rows(const onnx_importer *importer, const char *name, const ir_type *type,
                             const onnx_declaration *by)
{
    bool good = type->rank > 0 && ir_dim_equal(type->dim[0], ir_dim_symbol(IR_SYMBOL_ROWS));
    for (int i = 1; i < type->rank; i++) {
        good = good && type->dim[i].k[IR_SYMBOL_ROWS] == 0;
    }
    if (good) {
        return MTL_OK;
    }
    const char *text = ir_type_text(type, &importer->graph->symbols, importer->arena);
    BASE_TRY_MEMORY(text, importer->diag);
    return onnx_request_fail(
        importer->diag, by,
        "input '%.60s' is %.80s; expected the candidates, or 1, as its first axis, and nowhere else", name, text);
}

mtl_status onnx_request_add(onnx_importer *importer, const onnx_scope *scope, const char *name, const ir_type *type,
                            onnx_declared *declared)
{
    BASE_TRY(check_rows(importer, name, type, declared->by));
    if (!declared->whole) {
        BASE_TRY(find_columns(importer, name, type, declared));
        const onnx_columns *first = &declared->pieces[0];
        declared->whole = declared->piece_count == 1 && ir_dim_is(type->dim[type->rank - 1], first->to - first->from);
    }
    if (!declared->whole) {
        return add_halves(importer, scope, name, type, declared);
    }
    BASE_TRY(ir_add_input(importer->graph, name, type, importer->diag, &declared->request));
    return ir_set_per_user(importer->graph, declared->request, importer->diag);
}

/* --- what the graph reads ------------------------------------------------------------------------------------- */

/* `count` columns from `start` on of one half. */
static mtl_status slice_columns(onnx_importer *importer, ir_value half, int64_t start, int64_t count, ir_value *piece)
{
    ir_type type = *ir_type_of(importer->graph, half);
    int64_t starts[MTL_MAX_RANK] = {0}, steps[MTL_MAX_RANK];
    if (ir_dim_is(type.dim[type.rank - 1], count)) {
        *piece = half;
        return MTL_OK;
    }
    for (int i = 0; i < type.rank; i++) {
        steps[i] = 1;
    }
    starts[type.rank - 1] = start;
    type.dim[type.rank - 1] = ir_dim_const(count);
    ir_attr attrs[] = {IR_INTS(starts, starts, type.rank), IR_INTS(steps, steps, type.rank)};
    return ir_insert_typed(importer->graph, 0, IR_OP_slice, NULL, &half, 1, attrs, 2, &type, importer->diag, piece);
}

mtl_status onnx_request_join(onnx_importer *importer, const char *name, const onnx_declared *declared, ir_value request,
                             ir_value row, ir_value *value)
{
    const ir_type *type = ir_type_of(importer->graph, request);
    int32_t last = type->rank - 1;
    int64_t total = type->dim[last].c + ir_type_of(importer->graph, row)->dim[last].c;
    int64_t at = 0, taken = 0; /* columns so far, and those of them that are the request's */
    size_t made = 0;
    ir_value *pieces = BASE_NEW_ARRAY(importer->arena, ir_value, 2 * declared->piece_count + 1);
    BASE_TRY_MEMORY(pieces, importer->diag);
    for (size_t i = 0; i <= declared->piece_count; i++) {
        onnx_columns mine = {total, total};
        if (i < declared->piece_count) {
            mine = declared->pieces[i];
        }
        if (mine.from > at) {
            BASE_TRY(slice_columns(importer, row, at - taken, mine.from - at, &pieces[made++]));
        }
        if (mine.to > mine.from) {
            BASE_TRY(slice_columns(importer, request, taken, mine.to - mine.from, &pieces[made++]));
        }
        taken += mine.to - mine.from;
        at = mine.to;
    }
    ir_attr axis = IR_INT(axis, last);
    return ir_insert(importer->graph, 0, IR_OP_concat, name, pieces, made, &axis, 1, importer->diag, value);
}
