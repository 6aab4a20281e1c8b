/* einsum: the numbers against the definition, the operations that it becomes, and what it refuses. */
#include <math.h>

#include "infer_helpers.h"

enum { ROWS = 3, USERS = 2, OPERANDS = 3 };

typedef struct einsum_case {
    const char *equation, *plain; /* plain: with output and letters for the ellipsis; NULL: the same */
    const char *types[OPERANDS];  /* "w " in front: a constant */
    const char *want, *ops;
} einsum_case;

static const einsum_case cases[] = {
    /* one operand */
    {"ij->ji", NULL, {"f32[B,4]"}, "f32[4, B]", "transpose"},
    {"ij->ij", NULL, {"f32[B,4]"}, "f32[B, 4]", ""},
    {"ij", "ij->ij", {"f32[B,4]"}, "f32[B, 4]", ""},
    {"ba", "ba->ab", {"f32[B,4]"}, "f32[4, B]", "transpose"},
    {"bij->b", NULL, {"f32[B,4,5]"}, "f32[B]", "reduce_sum"},
    {"ij->", NULL, {"f32[B,4]"}, "f32", "reduce_sum"},
    {" b i j -> j b ", "bij->jb", {"f32[B,4,5]"}, "f32[5, B]", "reduce_sum transpose"},
    /* x and a weight: one product (..., K) @ (K, N) */
    {"bd,dh->bh", NULL, {"f32[B,4]", "w f32[4,5]"}, "f32[B, 5]", "matmul"},
    {"bd,hd->bh", NULL, {"f32[B,4]", "w f32[5,4]"}, "f32[B, 5]", "transpose matmul"},
    {"bd,edh->beh", NULL, {"f32[B,4]", "w f32[2,4,5]"}, "f32[B, 2, 5]", "transpose reshape matmul reshape"},
    {"edh,bd->beh", NULL, {"w f32[2,4,5]", "f32[B,4]"}, "f32[B, 2, 5]", "transpose reshape matmul reshape"},
    {"bd,edh->ebh", NULL, {"f32[B,4]", "w f32[2,4,5]"}, "f32[2, B, 5]", "transpose reshape matmul reshape transpose"},
    {"btd,dh->bth", NULL, {"f32[B,3,4]", "w f32[4,5]"}, "f32[B, 3, 5]", "matmul"},
    {"bd,d->b", NULL, {"f32[B,4]", "w f32[4]"}, "f32[B]", "reshape matmul reshape"},
    {"bte,e->bt", NULL, {"f32[B,3,4]", "w f32[4]"}, "f32[B, 3]", "reshape matmul reshape"},
    {"ij,bjd->bid", NULL, {"w f32[3,3]", "f32[B,3,4]"}, "f32[B, 3, 4]", "transpose transpose matmul transpose"},
    {"bcd,cdh->bh", NULL, {"f32[B,2,4]", "w f32[2,4,5]"}, "f32[B, 5]", "reshape reshape matmul"},
    {"d,dh->h", NULL, {"f32[4]", "w f32[4,5]"}, "f32[5]", "reshape matmul reshape"},
    /* experts of their own input: a batch of products over e */
    {"bed,edh->beh", NULL, {"f32[B,2,4]", "w f32[2,4,5]"}, "f32[B, 2, 5]", "transpose matmul transpose"},
    {"edh,bed->beh", NULL, {"w f32[2,4,5]", "f32[B,2,4]"}, "f32[B, 2, 5]", "transpose matmul transpose"},
    {"bed,ed->be", NULL, {"f32[B,2,4]", "w f32[2,4]"}, "f32[B, 2]", "transpose reshape matmul reshape transpose"},
    {"bted,edh->bteh",
     NULL,
     {"f32[B,3,2,4]", "w f32[2,4,5]"},
     "f32[B, 3, 2, 5]",
     "transpose reshape matmul reshape transpose"},
    /* gates and experts: a batch of products over the candidates */
    {"be,beh->bh", NULL, {"f32[B,4]", "f32[B,4,5]"}, "f32[B, 5]", "reshape matmul reshape"},
    {"beh,be->bh", NULL, {"f32[B,4,5]", "f32[B,4]"}, "f32[B, 5]", "reshape matmul reshape"},
    {"bte,beh->bth", NULL, {"f32[B,3,4]", "f32[B,4,5]"}, "f32[B, 3, 5]", "matmul"},
    {"beh,bte->bth", NULL, {"f32[B,4,5]", "f32[B,3,4]"}, "f32[B, 3, 5]", "matmul"},
    {"bet,beh->bth", NULL, {"f32[B,4,3]", "f32[B,4,5]"}, "f32[B, 3, 5]", "transpose matmul"},
    {"bthd,bshd->bhts", NULL, {"f32[B,3,2,4]", "f32[B,5,2,4]"}, "f32[B, 2, 3, 5]", "transpose transpose matmul"},
    {"bhts,bshd->bthd", NULL, {"f32[B,2,3,5]", "f32[B,5,2,4]"}, "f32[B, 3, 2, 4]", "transpose matmul transpose"},
    {"bd,bd->b", NULL, {"f32[B,4]", "f32[B,4]"}, "f32[B]", "mul reduce_sum"},
    {"bd,bd->", NULL, {"f32[B,4]", "f32[B,4]"}, "f32", "mul reduce_sum"},
    {"ld,bd->bl", NULL, {"f32[U,4]", "f32[B,4]"}, "f32[B, U]", "transpose matmul"},
    /* nothing is summed over */
    {"be,beh->beh", NULL, {"f32[B,4]", "f32[B,4,5]"}, "f32[B, 4, 5]", "reshape mul"},
    {"bi,bj->bij", NULL, {"f32[B,4]", "f32[B,5]"}, "f32[B, 4, 5]", "reshape reshape mul"},
    {"i,j->ji", NULL, {"f32[4]", "f32[5]"}, "f32[5, 4]", "reshape mul"},
    {"bd,->bd", NULL, {"f32[B,4]", "w f32"}, "f32[B, 4]", "mul"},
    {"bd,eh->bd", NULL, {"f32[B,4]", "w f32[2,3]"}, "f32[B, 4]", "reduce_sum mul"},
    /* ellipsis and broadcasting */
    {"...d,dh->...h", "xyd,dh->xyh", {"f32[B,3,4]", "w f32[4,5]"}, "f32[B, 3, 5]", "matmul"},
    {"...ij,...jk", "xij,xjk->xik", {"f32[B,3,4]", "f32[B,4,5]"}, "f32[B, 3, 5]", "matmul"},
    {"...ij,...jk", "xij,jk->xik", {"f32[B,3,4]", "f32[4,5]"}, "f32[B, 3, 5]", "matmul"},
    {"b...,b...->b...", "bxy,by->bxy", {"f32[B,3,4]", "f32[B,4]"}, "f32[B, 3, 4]", "reshape mul"},
    {"...", "xy->xy", {"f32[B,3]"}, "f32[B, 3]", ""},
    {"be,beh->bh", "be,eh->bh", {"f32[B,4]", "f32[1,4,5]"}, "f32[B, 5]", "reshape matmul"},
    {"bk,bk->b", "b,bk->b", {"f32[B,1]", "f32[B,4]"}, "f32[B]", "reshape reduce_sum mul"},
    /* three */
    {"bt,bte,beh->bh",
     NULL,
     {"f32[B,3]", "f32[B,3,4]", "f32[B,4,5]"},
     "f32[B, 5]",
     "reshape matmul reshape reshape matmul reshape"},
    {"bd,dk,kh->bh", NULL, {"f32[B,4]", "w f32[4,2]", "w f32[2,5]"}, "f32[B, 5]", "matmul matmul"},
};

/* An operand's numbers for a definition in which its axes of extent 1 that are not in `labels` are left out. */
static void fill(lab *t, ir_value value, ir_tensor *tensor)
{
    const int64_t symbols[IR_MAX_SYMBOLS] = {ROWS, USERS, 1, 1};
    const ir_value_info *info = ir_info(t->graph, value);
    if (info->kind == IR_VALUE_CONST) {
        *tensor = *info->tensor;
        return;
    }
    *tensor = (ir_tensor){.dtype = info->type.dtype, .rank = info->type.rank, .count = 1};
    for (int32_t i = 0; i < info->type.rank; i++) {
        assert_true(ir_dim_eval(info->type.dim[i], symbols, &tensor->shape[i]));
        tensor->count *= (size_t)tensor->shape[i];
    }
    double *f = BASE_NEW_ARRAY(&t->arena, double, tensor->count);
    for (size_t i = 0; i < tensor->count; i++) {
        f[i] = (double)((i * 5 + value) % 9) - 3.5;
    }
    tensor->f = f;
}

/* Element `index` (one number a letter) of the operand whose term is `term`. */
static double element(const ir_tensor *tensor, const char *term, size_t length, const int64_t *index)
{
    int64_t at = 0;
    int32_t axis = 0;
    for (size_t i = 0; i < length; i++) {
        while (axis < tensor->rank && tensor->shape[axis] == 1) { /* a broadcast axis, absent in the term */
            axis++;
        }
        at = at * tensor->shape[axis++] + index[(unsigned char)term[i]];
    }
    return tensor->f[at];
}

/* The definition: a loop over all letters. `letters` are those of the output, then the others. */
static void by_definition(const char *plain, const ir_tensor *inputs, size_t count, double *out)
{
    char letters[32] = {0};
    int64_t extent[128] = {0}, index[128] = {0};
    const char *output = strstr(plain, "->") + 2, *term[OPERANDS];
    size_t length[OPERANDS], outer = strlen(output);
    strcpy(letters, output);
    for (size_t i = 0, at = 0; i < count; i++, at++) {
        term[i] = plain + at;
        length[i] = strspn(term[i], "abcdefghijklmnopqrstuvwxyz");
        int32_t axis = 0;
        for (size_t j = 0; j < length[i]; j++, at++) {
            while (axis < inputs[i].rank && inputs[i].shape[axis] == 1) {
                axis++;
            }
            extent[(unsigned char)term[i][j]] = inputs[i].shape[axis++];
            if (strchr(letters, term[i][j]) == NULL) {
                letters[strlen(letters)] = term[i][j];
            }
        }
    }
    for (bool more = true; more;) {
        double product = 1;
        int64_t at = 0;
        for (size_t i = 0; i < count; i++) {
            product *= element(&inputs[i], term[i], length[i], index);
        }
        for (size_t i = 0; i < outer; i++) {
            at = at * extent[(unsigned char)output[i]] + index[(unsigned char)output[i]];
        }
        out[at] += product;
        more = false;
        for (size_t i = strlen(letters); i-- > 0 && !more;) {
            unsigned char letter = (unsigned char)letters[i];
            more = ++index[letter] < extent[letter];
            index[letter] = more ? index[letter] : 0;
        }
    }
}

static void expect_ops(lab *t, const char *equation, const char *want)
{
    char found[512] = {0};
    for (ir_node n = t->graph->first_node; n != 0; n = ir_node_of(t->graph, n)->next) {
        size_t used = strlen(found);
        snprintf(found + used, sizeof found - used, "%s%s", used == 0 ? "" : " ",
                 ir_op_table(ir_node_of(t->graph, n)->op)->name);
    }
    if (strcmp(found, want) != 0) {
        fail_msg("%s: %s, expected %s", equation, found, want);
    }
}

static void check_case(const einsum_case *c)
{
    lab t;
    ir_value values[OPERANDS], result = 0;
    ir_tensor operands[OPERANDS], inputs[OPERANDS], output;
    size_t count = 0, input_count = 0;
    lab_open(&t);
    for (; count < OPERANDS && c->types[count] != NULL; count++) {
        bool weight = c->types[count][0] == 'w';
        values[count] = weight ? add_weights(&t, c->types[count] + 2) : add_input(&t, c->types[count]);
        fill(&t, values[count], &operands[count]);
        if (!weight) {
            inputs[input_count++] = operands[count];
        }
    }
    if (ir_build_einsum(t.graph, 0, c->equation, values, count, &t.diag, &result) != MTL_OK) {
        fail_msg("%s: %s", c->equation, t.error.message);
    }
    expect_type(&t, result, c->want);
    expect_ops(&t, c->equation, c->ops);
    assert_int_equal(ir_add_output(t.graph, "y", result, &t.diag), MTL_OK);
    if (ir_verify(t.graph, &t.diag) != MTL_OK || ir_eval(t.graph, inputs, &t.arena, &t.diag, &output) != MTL_OK) {
        fail_msg("%s: %s", c->equation, t.error.message);
    }
    double *want = BASE_NEW_ARRAY(&t.arena, double, output.count);
    by_definition(c->plain == NULL ? c->equation : c->plain, operands, count, want);
    for (size_t i = 0; i < output.count; i++) {
        if (fabs(output.f[i] - want[i]) > 1e-9 * fmax(1, fabs(want[i]))) {
            fail_msg("%s: element %zu is %g, expected %g", c->equation, i, output.f[i], want[i]);
        }
    }
    lab_close(&t);
}

static void numbers_and_operations(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_case(&cases[i]);
    }
}

static void candidates_stay_apart(void **state)
{
    static const struct {
        const char *equation, *types[2];
        ir_rate_kind kind;
        int32_t axis;
    } rates[] = {
        {"bd,edh->beh", {"f32[B,4]", "w f32[2,4,5]"}, IR_RATE_ROW, 0},
        {"bd,edh->ebh", {"f32[B,4]", "w f32[2,4,5]"}, IR_RATE_ROW, 1},
        {"bed,edh->beh", {"f32[B,2,4]", "w f32[2,4,5]"}, IR_RATE_ROW, 0},
        {"bted,edh->bteh", {"f32[B,3,2,4]", "w f32[2,4,5]"}, IR_RATE_ROW, 0},
        {"be,beh->bh", {"f32[B,4]", "f32[B,4,5]"}, IR_RATE_ROW, 0},
        {"bthd,bshd->bhts", {"f32[B,3,2,4]", "f32[B,5,2,4]"}, IR_RATE_ROW, 0},
        {"ld,bd->bl", {"f32[50,4]", "f32[B,4]"}, IR_RATE_ROW, 0},
        {"bd,bh->dh", {"f32[B,4]", "f32[B,5]"}, IR_RATE_BATCH, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        lab t;
        ir_value values[2], result = 0;
        lab_open(&t);
        for (size_t j = 0; j < 2; j++) {
            bool weight = rates[i].types[j][0] == 'w';
            values[j] = weight ? add_weights(&t, rates[i].types[j] + 2) : add_input(&t, rates[i].types[j]);
        }
        assert_int_equal(ir_build_einsum(t.graph, 0, rates[i].equation, values, 2, &t.diag, &result), MTL_OK);
        assert_int_equal(ir_infer_rates(t.graph, &t.diag), MTL_OK);
        assert_int_equal(ir_info(t.graph, result)->rate.kind, rates[i].kind);
        assert_int_equal(ir_info(t.graph, result)->rate.axis, rates[i].axis);
        lab_close(&t);
    }
}

static void refusals(void **state)
{
    static const struct {
        const char *equation, *types[2], *message;
        mtl_status status;
    } bad[] = {
        {"ii->i", {"f32[4,4]"}, "label 'i' stands twice", MTL_UNSUPPORTED},
        {"ij->ii", {"f32[4,4]"}, "label 'i' stands twice", MTL_UNSUPPORTED},
        {"ij->ik", {"f32[4,4]"}, "label 'k' of the output is in no operand", MTL_INVALID_DATA},
        {"ijk->i", {"f32[4,4]"}, "operand 0 has rank 2, but 3 labels", MTL_INVALID_DATA},
        {"ij,jk->ik", {"f32[B,4]", "f32[5,6]"}, "label 'j' has extent 5 in operand 1, but 4 before", MTL_INVALID_DATA},
        {"bi,bj->ij", {"f32[B,4]", "f32[3,6]"}, "label 'b' has extent 3 in operand 1, but B before", MTL_INVALID_DATA},
        {"ij->i", {"f32[4,4]", "f32[4]"}, "2 operands, but 1 in the equation", MTL_INVALID_DATA},
        {"ij,j->i", {"f32[4,4]"}, "follows the last operand", MTL_INVALID_DATA},
        {"i?->i", {"f32[4,4]"}, "no list of labels", MTL_INVALID_DATA},
        {"ij->i,j", {"f32[4,4]"}, "follows the equation", MTL_INVALID_DATA},
        {"ij-i", {"f32[4,4]"}, "follows the last operand", MTL_INVALID_DATA},
        {"i..->i", {"f32[4,4]"}, "no list of labels", MTL_INVALID_DATA},
        {"......->", {"f32[4,4]"}, "no list of labels", MTL_INVALID_DATA},
        {"...abc->...", {"f32[4,4]"}, "no list of labels", MTL_INVALID_DATA},
        {"...i->i", {"f32[4,4]"}, "drops the ellipsis", MTL_UNSUPPORTED},
        {"abcdef,ghijkl->", {"f32[2,2,2,2,2,2]", "f32[2,2,2,2,2,2]"}, NULL, MTL_OK},
        {"abcdef,ghijkl->abcdefghijkl", {"f32[2,2,2,2,2,2]", "f32[2,2,2,2,2,2]"}, "rank 12", MTL_UNSUPPORTED},
        {"abcdefgh,zh->abcdefg", {"f32[2,2,2,2,2,2,2,2]", "f32[3,2]"}, NULL, MTL_OK},
        {"abcdefgh,zzh->abcdefg", {"f32[2,2,2,2,2,2,2,2]", "f32[3,3,2]"}, "twice", MTL_UNSUPPORTED},
        {"ij,jk->ik", {"f32[2,4]", "i64[4,2]"}, "differ in type", MTL_INVALID_DATA},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        lab t;
        ir_value values[2], result = 0;
        size_t count = 0;
        lab_open(&t);
        for (; count < 2 && bad[i].types[count] != NULL; count++) {
            values[count] = add_input(&t, bad[i].types[count]);
        }
        mtl_status status = ir_build_einsum(t.graph, 0, bad[i].equation, values, count, &t.diag, &result);
        if (status != bad[i].status || (status != MTL_OK && strstr(t.error.message, bad[i].message) == NULL)) {
            fail_msg("%s: %d '%s'", bad[i].equation, (int)status, t.error.message);
        }
        lab_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_operations),
        cmocka_unit_test(candidates_stay_apart),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
