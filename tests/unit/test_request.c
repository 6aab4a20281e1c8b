/* Declarations of what is the same for all candidates of one user: their texts, and what they match. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "onnx/request.h"

typedef struct lab {
    base_arena arena;
    mtl_error error;
    base_diag diag;
    Onnx__ModelProto model;
    onnx_request request;
} lab;

static void open_lab(lab *l)
{
    *l = (lab){0};
    l->diag.error = &l->error;
    onnx__model_proto__init(&l->model);
}

static mtl_status read_texts(lab *l, const char *const *texts, size_t count)
{
    onnx_options options = {.request = texts, .request_count = count};
    l->diag.failed = 0;
    return onnx_request_read(&options, &l->model, &l->arena, &l->diag, &l->request);
}

static mtl_status read_text(lab *l, const char *text)
{
    return read_texts(l, &text, 1);
}

/* "name:from..to,from..to" of each declaration, '_' for a bound that is not there. */
static const char *text_of(const onnx_request *request, char text[256])
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < request->count; i++) {
        const onnx_declaration *d = &request->all[i];
        used += (size_t)snprintf(text + used, 256 - used, "%s%s", i > 0 ? ";" : "", d->name);
        for (size_t j = 0; j < d->span_count; j++) {
            char from[24] = "_", to[24] = "_";
            if (d->spans[j].has_from) {
                snprintf(from, sizeof from, "%lld", (long long)d->spans[j].from);
            }
            if (d->spans[j].has_to) {
                snprintf(to, sizeof to, "%lld", (long long)d->spans[j].to);
            }
            used += (size_t)snprintf(text + used, 256 - used, "%s%s..%s", j == 0 ? ":" : ",", from, to);
        }
    }
    return text;
}

static void texts(void **state)
{
    static const struct {
        const char *text, *read;
    } cases[] = {
        {"user", "user"},
        {"a,b*,?c", "a;b*;?c"},
        {" a , b ", "a;b"},
        {"x[:,0:384]", "x:_.._,0..384"},
        {"x[:,0:128,256:384],y", "x:_.._,0..128,256..384;y"},
        {"x[ : , -3 : -1 , 5 ]", "x:_.._,-3..-1,5..6"},
        {"x[:,-1]", "x:_.._,-1.._"},
        {"x[:,:,1:]", "x:_.._,_.._,1.._"},
        {"x[+1]", "x:1..2"},
        {"x[999999999999999999]", "x:999999999999999999..1000000000000000000"},
        {"# nobody", "# nobody"}, /* a name: comments are a file's */
    };
    lab l;
    char text[256];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_lab(&l);
        assert_int_equal(read_text(&l, cases[i].text), MTL_OK);
        assert_string_equal(text_of(&l.request, text), cases[i].read);
        assert_string_equal(l.request.all[0].place, "--request");
        base_arena_free(&l.arena);
    }
}

static void bad_texts(void **state)
{
    static const char *const cases[] = {"",
                                        ",",
                                        "a,",
                                        ",a",
                                        "[:,0]",
                                        "x[",
                                        "x[]",
                                        "x[:",
                                        "x[,]",
                                        "x[0,]",
                                        "x[a]",
                                        "x[0:1]y",
                                        "x[--1]",
                                        "x[0:1:1]",
                                        "x[1 2]",
                                        "x[0x1]",
                                        "x]",
                                        "x[:]]",
                                        "x[:][0]",
                                        "x[-]",
                                        "x[1.5]",
                                        "x[1e3]",
                                        "x[:,0,:,",
                                        "@/nowhere/at/all",
                                        "x[9999999999999999999]"};
    lab l;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_lab(&l);
        mtl_status status = read_text(&l, cases[i]);
        if (strcmp(cases[i], "x]") == 0) { /* a name */
            assert_int_equal(status, MTL_OK);
        } else {
            assert_true(status == MTL_INVALID_ARGUMENT || status == MTL_IO);
            assert_true(l.error.message[0] != '\0' && strchr(l.error.message, '\n') == NULL);
        }
        base_arena_free(&l.arena);
    }
}

static void none(void **state)
{
    const char *const both[] = {"none", "x"}, *const alone[] = {"none"};
    lab l;
    (void)state;
    open_lab(&l);
    assert_int_equal(read_texts(&l, alone, 1), MTL_OK);
    assert_true(l.request.off && l.request.count == 0);
    assert_int_equal(read_texts(&l, both, 2), MTL_INVALID_ARGUMENT);
    base_arena_free(&l.arena);
}

static Onnx__StringStringEntryProto entry(char *key, char *value)
{
    Onnx__StringStringEntryProto made = ONNX__STRING_STRING_ENTRY_PROTO__INIT;
    made.key = key;
    made.value = value;
    return made;
}

/* The model's own words go where the caller has none; they read no files and turn nothing off. */
static void hints(void **state)
{
    char key[] = "mtlc.request", other_key[] = "author", words[] = "# mine\n\n user_* ,x[:,0] # rest\r\nnone\n@f#g";
    Onnx__StringStringEntryProto entries[] = {entry(other_key, words), entry(key, words), entry(key, NULL),
                                              entry(NULL, words)};
    Onnx__StringStringEntryProto *list[] = {&entries[0], &entries[1], &entries[2], &entries[3]};
    lab l;
    char text[256];
    (void)state;
    open_lab(&l);
    l.model.metadata_props = list;
    l.model.n_metadata_props = 4;
    assert_int_equal(read_texts(&l, NULL, 0), MTL_OK);
    assert_string_equal(text_of(&l.request, text), "user_*;x:_.._,0..1;none;@f#g");
    assert_string_equal(l.request.all[1].place, "metadata mtlc.request:3");
    assert_true(l.request.all[1].from_model && !l.request.off);
    assert_int_equal(read_text(&l, "y"), MTL_OK);
    assert_string_equal(text_of(&l.request, text), "y");
    entries[1].value = key + strlen(key); /* "" */
    assert_int_equal(read_texts(&l, NULL, 0), MTL_OK);
    assert_int_equal(l.request.count, 0);
    char bad[] = "x[:,0";
    entries[1].value = bad;
    assert_int_equal(read_texts(&l, NULL, 0), MTL_INVALID_DATA);
    base_arena_free(&l.arena);
}

static void matches(void **state)
{
    static const char *const names[] = {"user_id", "user_age", "x", "a*"};
    lab l;
    onnx_declared *declared;
    (void)state;
    open_lab(&l);
    onnx_importer importer = {.arena = &l.arena, .diag = &l.diag, .request = &l.request};
    assert_int_equal(read_text(&l, "user_*,user_id,x[:,0],x[:,2:]"), MTL_OK);
    assert_int_equal(onnx_request_match(&importer, names, 4, &declared), MTL_OK);
    assert_true(declared[0].whole && declared[0].exact && declared[1].whole && !declared[1].exact);
    assert_true(!declared[2].whole && declared[2].column_count == 2);
    assert_null(declared[3].by);
    assert_int_equal(read_text(&l, "a*"), MTL_OK); /* the name of one, a pattern of others */
    assert_int_equal(onnx_request_match(&importer, names, 4, &declared), MTL_OK);
    assert_true(declared[3].exact && declared[0].by == NULL);
    l.request.all[0].found = true; /* what is found is a name alone */
    assert_int_equal(onnx_request_match(&importer, names, 3, &declared), MTL_INVALID_ARGUMENT);
    assert_non_null(strstr(l.error.message, "there are "));
    base_arena_free(&l.arena);
}

/* Any text is read or refused; what is read has names, and as many slices as commas. */
static void any_text(void **state)
{
    static const char letters[] = "ax*?[]:,,-+019 \t\n#@";
    unsigned seed = 1;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        lab l;
        char text[32];
        size_t length = 0;
        open_lab(&l);
        for (seed = seed * 1103515245U + 12345U; length < (seed >> 16) % sizeof text; length++) {
            seed = seed * 1103515245U + 12345U;
            text[length] = letters[(seed >> 16) % (sizeof letters - 1)];
        }
        length = length < sizeof text ? length : sizeof text - 1;
        text[length] = '\0';
        if (text[0] != '@' && read_text(&l, text) == MTL_OK) {
            for (size_t j = 0; j < l.request.count; j++) {
                assert_true(l.request.all[j].name[0] != '\0');
                assert_true((l.request.all[j].spans == NULL) == (l.request.all[j].span_count == 0));
            }
        }
        base_arena_free(&l.arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts), cmocka_unit_test(bad_texts), cmocka_unit_test(none),
        cmocka_unit_test(hints), cmocka_unit_test(matches),   cmocka_unit_test(any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
