/* mtlrun score: which arrays are the plan's inputs, how many candidates and users they hold, and whose each candidate is. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/plan.h"
#include "runtime/cmd.h"
#include "runtime/cmd_score.h"

/* All that does not fit, in one line. */
typedef struct mismatches {
    char text[4096];
    size_t used;
} mismatches;

static void mismatch(mismatches *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void mismatch(mismatches *m, const char *format, ...)
{
    if (m->used > 0 && m->used + 2 < sizeof m->text) {
        memcpy(m->text + m->used, "; ", 3);
        m->used += 2;
    }
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(m->text + m->used, sizeof m->text - m->used, format, arguments);
    va_end(arguments);
    if (more > 0) {
        m->used += (size_t)more;
        m->used = m->used < sizeof m->text ? m->used : sizeof m->text - 1;
    }
}

/* "[rows, 512]", "[4*rows, 1]", "[users, 8]" */
static const char *expected_shape(const mtl_tensor_info *info, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int axis = 0; axis < info->rank && used < size; axis++) {
        mtl_dim dim = info->shape[axis];
        int64_t times = dim.per_row + dim.per_user; /* one of them is 0 */
        const char *comma = axis == 0 ? "" : ", ", *what = dim.per_row != 0 ? "rows" : "users";
        int more;
        if (times == 0) {
            more = snprintf(text + used, size - used, "%s%" PRId64, comma, dim.fixed);
        } else if (times == 1) {
            more = snprintf(text + used, size - used, "%s%s", comma, what);
        } else {
            more = snprintf(text + used, size - used, "%s%" PRId64 "*%s", comma, times, what);
        }
        used += more > 0 ? (size_t)more : 0;
        if (times != 0 && dim.fixed != 0 && used < size) {
            more = snprintf(text + used, size - used, "+%" PRId64, dim.fixed);
            used += more > 0 ? (size_t)more : 0;
        }
    }
    return text;
}

static const char *found_shape(const tool_array *array, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int axis = 0; axis < array->rank && used < size; axis++) {
        int more = snprintf(text + used, size - used, "%s%" PRId64, axis == 0 ? "" : ", ", array->shape[axis]);
        used += more > 0 ? (size_t)more : 0;
    }
    return text;
}

/* Whether the input has a row for each user. */
static bool is_per_user(const mtl_tensor_info *info)
{
    return plan_grows_with_users(info->shape, (unsigned)info->rank);
}

/* Whether the array is what the signature says for some number of rows, or users; *count -1: for any. */
static bool fits(const mtl_tensor_info *info, const tool_array *array, int64_t *count)
{
    *count = -1;
    if (array->dtype != info->dtype || array->rank != info->rank) {
        return false;
    }
    for (int axis = 0; axis < info->rank; axis++) {
        mtl_dim dim = info->shape[axis];
        int64_t times = dim.per_row + dim.per_user, rest = array->shape[axis] - dim.fixed;
        if (times == 0 ? rest != 0 : rest < 0 || rest % times != 0) {
            return false;
        }
        *count = times == 0 ? *count : rest / times;
    }
    return true;
}

/* What is no input may be a param. */
static void match_param(const mtl_plan *plan, const tool_array *array, mismatches *wrong)
{
    const mtl_tensor_info *info = mtl_plan_param_info(plan, mtl_plan_find_param(plan, array->name));
    int64_t rows;
    char found[256], expected[256];
    if (info == NULL) {
        mismatch(wrong, "'%s' is no input of the plan", array->name);
    } else if (!fits(info, array, &rows)) {
        mismatch(wrong, "param '%s' is %s [%s], expected %s [%s]", info->name, mtl_dtype_name(array->dtype),
                 found_shape(array, found, sizeof found), mtl_dtype_name(info->dtype),
                 expected_shape(info, expected, sizeof expected));
    }
}

/* How many rows, or users, the inputs hold: of the first that tells. */
typedef struct tally {
    int64_t count; /* -1: none has told yet */
    const char *from;
    const char *what;
} tally;

static void agree(tally *t, const char *name, int64_t own, mismatches *wrong)
{
    if (own < 0) {
        return;
    }
    if (t->from != NULL && own != t->count) {
        mismatch(wrong, "input '%s' has %" PRId64 " %s, but input '%s' has %" PRId64, name, own, t->what, t->from,
                 t->count);
        return;
    }
    t->count = own;
    t->from = name;
}

static bool is_input(const mtl_plan *plan, const char *name)
{
    for (size_t i = 0; i < mtl_plan_input_count(plan); i++) {
        if (strcmp(mtl_plan_input(plan, i)->name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether the arrays hold the model's input that `input` has columns of, with them and all its others; then *data, which the
 * caller frees, is what the plan takes: those columns of each row. 1 after one line. */
static int cut_columns(const mtl_plan *plan, const tool_npz *npz, size_t input, const tool_array **whole, void **data)
{
    const mtl_tensor_info *info = mtl_plan_input(plan, input);
    size_t size = mtl_dtype_size(info->dtype), done = 0,
           mine = (size_t)info->shape[info->rank > 0 ? info->rank - 1 : 0].fixed;
    mtl_columns_info c;
    *whole = NULL;
    for (size_t i = 0; mtl_plan_columns(plan, i, &c); i++) {
        const tool_array *array = c.input == input ? tool_npz_find(npz, c.source) : NULL;
        if (array == NULL || array->dtype != info->dtype || array->rank != info->rank ||
            array->shape[array->rank - 1] != c.width) {
            continue;
        }
        size_t rows = array->bytes / size / (size_t)c.width;
        if (*whole == NULL && (*data = malloc(rows * mine * size + 1)) == NULL) {
            return runtime_cmd_fail("out of memory");
        }
        *whole = array;
        for (size_t row = 0; row < rows; row++) {
            memcpy((char *)*data + (row * mine + done) * size,
                   (const char *)array->data + (row * (size_t)c.width + (size_t)c.from) * size, (size_t)c.count * size);
        }
        done += (size_t)c.count;
    }
    return 0;
}

/* With `check_request`, inputs that were taken apart may come whole. The shape is that of the part. */
static int find_array(const mtl_plan *plan, const tool_npz *npz, const runtime_score_request *request, size_t input,
                      runtime_score_inputs *in, const tool_array **array, tool_array *part)
{
    const mtl_tensor_info *info = mtl_plan_input(plan, input);
    const tool_array *whole = NULL;
    *array = tool_npz_find(npz, info->name);
    if (*array != NULL || !request->check) {
        return 0;
    }
    if (cut_columns(plan, npz, input, &whole, &in->owned[input]) != 0) {
        return 1;
    }
    if (whole != NULL) {
        *part = *whole;
        part->data = in->owned[input];
        part->shape[part->rank - 1] = info->shape[info->rank - 1].fixed;
        *array = part;
    }
    return 0;
}

static bool is_source(const mtl_plan *plan, const char *name)
{
    mtl_columns_info columns;
    for (size_t i = 0; mtl_plan_columns(plan, i, &columns); i++) {
        if (strcmp(columns.source, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Finds every input of the plan among the arrays. With `check_request`, inputs of users have a row for each candidate. */
static int match_inputs(const mtl_plan *plan, const tool_npz *npz, const runtime_score_request *request,
                        runtime_score_inputs *in, mismatches *wrong)
{
    tally rows = {.count = -1, .what = "rows"}, users = {.count = -1, .what = "users"};
    for (size_t i = 0; i < mtl_plan_input_count(plan); i++) {
        const mtl_tensor_info *info = mtl_plan_input(plan, i);
        const tool_array *array;
        tool_array part;
        int64_t own;
        char found[256], expected[256];
        if (find_array(plan, npz, request, i, in, &array, &part) != 0) {
            return 1;
        }
        if (array == NULL) {
            mismatch(wrong, "input '%s' is missing, expected %s [%s]", info->name, mtl_dtype_name(info->dtype),
                     expected_shape(info, expected, sizeof expected));
        } else if (!fits(info, array, &own)) {
            mismatch(wrong, "input '%s' is %s [%s], expected %s [%s]", info->name, mtl_dtype_name(array->dtype),
                     found_shape(array, found, sizeof found), mtl_dtype_name(info->dtype),
                     expected_shape(info, expected, sizeof expected));
        } else {
            bool theirs = is_per_user(info) && !request->check;
            agree(theirs ? &users : &rows, info->name, own, wrong);
            in->data[i] = array->data;
        }
    }
    in->rows = rows.count >= 0 ? rows.count : 1; /* when no input tells */
    in->users = users.count >= 0 ? users.count : 1;
    for (size_t i = 0; i < tool_npz_count(npz); i++) {
        const char *name = tool_npz_at(npz, i)->name;
        bool index = request->users != NULL && strcmp(request->users, name) == 0;
        if (!index && !is_input(plan, name) && !(request->check && is_source(plan, name))) {
            match_param(plan, tool_npz_at(npz, i), wrong);
        }
    }
    return 0;
}

/* The array that says whose each candidate is, as int32. Numbers beyond int32 become -1, which the run refuses. */
static int read_index(const tool_npz *npz, const runtime_score_request *request, const char *path,
                      runtime_score_inputs *in)
{
    const tool_array *array = tool_npz_find(npz, request->users);
    if (array == NULL) {
        return runtime_cmd_fail("%s: there is no array '%s', which --users names", path, request->users);
    }
    if ((array->dtype != MTL_I32 && array->dtype != MTL_I64) || array->rank != 1 || array->shape[0] != in->rows) {
        char found[256];
        return runtime_cmd_fail("%s: '%s' is %s [%s], expected int32 or int64 [%" PRId64 "], the user of each row",
                                path, request->users, mtl_dtype_name(array->dtype),
                                found_shape(array, found, sizeof found), in->rows);
    }
    in->user = calloc((size_t)in->rows + 1, sizeof *in->user);
    if (in->user == NULL) {
        return runtime_cmd_fail("out of memory");
    }
    for (int64_t row = 0; row < in->rows; row++) {
        int64_t user =
            array->dtype == MTL_I32 ? ((const int32_t *)array->data)[row] : ((const int64_t *)array->data)[row];
        in->user[row] = user < 0 || user > INT32_MAX ? -1 : (int32_t)user;
    }
    return 0;
}

/* The first candidate of each user, in the memory that it returns; NULL after one line. */
static int64_t *first_rows(const char *path, runtime_score_inputs *in)
{
    in->users = 1;
    for (int64_t row = 0; row < in->rows && in->user != NULL; row++) {
        if (in->user[row] < 0 || in->user[row] >= in->rows) {
            runtime_cmd_fail("%s: row %" PRId64 ": user %" PRId32 " is outside 0..%" PRId64, path, row, in->user[row],
                             in->rows - 1);
            return NULL;
        }
        in->users = in->user[row] >= in->users ? (int64_t)in->user[row] + 1 : in->users;
    }
    int64_t *first = calloc((size_t)in->users, sizeof *first);
    if (first == NULL) {
        runtime_cmd_fail("out of memory");
        return NULL;
    }
    for (int64_t row = in->rows; row-- > 0;) {
        first[in->user == NULL ? 0 : in->user[row]] = row + 1;
    }
    for (int64_t user = 0; user < in->users; user++) {
        if (first[user]-- == 0) {
            runtime_cmd_fail("%s: user %" PRId64 " of %" PRId64 " has no candidate", path, user, in->users);
            free(first);
            return NULL;
        }
    }
    return first;
}

/* Compares the rows of one input with the first of the same user, and keeps one of each. */
static int take_users(const mtl_tensor_info *info, const char *path, const int64_t *first, runtime_score_inputs *in,
                      size_t i)
{
    size_t size = mtl_dtype_size(info->dtype), bytes = size;
    for (int axis = 0; axis < info->rank; axis++) {
        bytes *= (size_t)mtl_dim_extent(info->shape[axis], 1, 1); /* the array has as many, so nothing overflows */
    }
    const unsigned char *all = in->data[i];
    for (int64_t row = 0; row < in->rows; row++) {
        int64_t same = first[in->user == NULL ? 0 : in->user[row]];
        const unsigned char *mine = all + (size_t)row * bytes, *other = all + (size_t)same * bytes;
        for (size_t at = 0; at < bytes; at += size) {
            if (memcmp(mine + at, other + at, size) != 0) {
                return runtime_cmd_fail(
                    "%s: input '%s' differs between candidates of one user: element %zu of row %" PRId64
                    " is not that of row %" PRId64,
                    path, info->name, at / size, row, same);
            }
        }
    }
    unsigned char *kept = malloc((size_t)in->users * bytes + 1);
    if (kept == NULL) {
        return runtime_cmd_fail("out of memory");
    }
    for (int64_t user = 0; user < in->users; user++) {
        memcpy(kept + (size_t)user * bytes, all + (size_t)first[user] * bytes, bytes);
    }
    free(in->owned[i]);
    in->owned[i] = kept;
    in->data[i] = kept;
    return 0;
}

static int check_request(const mtl_plan *plan, const char *path, runtime_score_inputs *in)
{
    int64_t *first = first_rows(path, in);
    int failed = first == NULL;
    for (size_t i = 0; i < mtl_plan_input_count(plan) && !failed; i++) {
        const mtl_tensor_info *info = mtl_plan_input(plan, i);
        failed = is_per_user(info) && take_users(info, path, first, in, i) != 0;
    }
    free(first);
    return failed;
}

int runtime_score_inputs_new(const mtl_plan *plan, const tool_npz *npz, const char *path,
                             const runtime_score_request *request, runtime_score_inputs *in)
{
    mismatches wrong = {.used = 0};
    *in = (runtime_score_inputs){.count = mtl_plan_input_count(plan)};
    in->data = calloc(in->count + 1, sizeof *in->data);
    in->owned = calloc(in->count + 1, sizeof *in->owned);
    if (in->data == NULL || in->owned == NULL) {
        return runtime_cmd_fail("out of memory");
    }
    if (match_inputs(plan, npz, request, in, &wrong) != 0) {
        return 1;
    }
    if (wrong.used > 0) {
        return runtime_cmd_fail("%s: %s", path, wrong.text);
    }
    if (request->users != NULL && read_index(npz, request, path, in) != 0) {
        return 1;
    }
    if (request->check && in->rows > 0) {
        return check_request(plan, path, in);
    }
    return in->users > 1 && in->user == NULL
               ? runtime_cmd_fail("%s: the inputs have %" PRId64 " users, but no --users says whose each row is", path,
                                  in->users)
               : 0;
}

void runtime_score_inputs_free(runtime_score_inputs *in)
{
    for (size_t i = 0; in->owned != NULL && i < in->count; i++) {
        free(in->owned[i]);
    }
    free(in->owned);
    free(in->data);
    free(in->user);
}
