/* --emit-towers: the cheapest frontier against all sets of vertices, and the text of the parts. */
#define _POSIX_C_SOURCE 200809L /* open_memstream */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "compiler/frontier.h"
#include "compiler/towers.h"

/* --- the frontier --------------------------------------------------------------------------------------------- */

enum { VERTICES = 9, ARCS = 40 };

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Vertices that a source reaches, itself included, without passing through one of `set`. */
static bool separates(const compiler_network *n, uint32_t set)
{
    bool reached[VERTICES];
    for (uint32_t v = 0; v < n->vertex_count; v++) {
        reached[v] = n->is_source[v] && (set >> v & 1) == 0;
    }
    for (size_t i = 0; i < n->arc_count; i++) { /* arcs go up, in order of `from` */
        bool open = (set >> n->arcs[i].to & 1) == 0;
        reached[n->arcs[i].to] |= reached[n->arcs[i].from] && open;
    }
    for (uint32_t v = 0; v < n->vertex_count; v++) {
        if (reached[v] && n->is_sink[v]) {
            return false;
        }
    }
    return true;
}

static uint64_t price_of(const compiler_network *n, uint32_t set)
{
    uint64_t sum = 0;
    for (uint32_t v = 0; v < n->vertex_count; v++) {
        if ((set >> v & 1) != 0) {
            sum = n->price[v] == COMPILER_FRONTIER_NEVER ? COMPILER_FRONTIER_NEVER : sum + n->price[v];
        }
        if (sum == COMPILER_FRONTIER_NEVER) {
            return sum;
        }
    }
    return sum;
}

static void a_frontier_is_the_cheapest(void **state)
{
    (void)state;
    uint32_t seed = 7;
    for (int round = 0; round < 3000; round++) {
        uint64_t price[VERTICES], best = COMPILER_FRONTIER_NEVER;
        bool is_source[VERTICES], is_sink[VERTICES], chosen[VERTICES] = {false};
        compiler_arc arcs[ARCS];
        size_t count = 0;
        for (uint32_t v = 0; v < VERTICES; v++) {
            is_source[v] = next_random(&seed) % 3 == 0 || v == 0;
            is_sink[v] = next_random(&seed) % 4 == 0 || v == VERTICES - 1;
            bool never = next_random(&seed) % 5 == 0 && !(is_source[v] || is_sink[v]);
            price[v] = never ? COMPILER_FRONTIER_NEVER : 1 + next_random(&seed) % 9;
            for (uint32_t to = v + 1; to < VERTICES && count < ARCS; to++) {
                if (next_random(&seed) % 3 == 0) {
                    arcs[count++] = (compiler_arc){.from = v, .to = to};
                }
            }
        }
        const compiler_network n = {.vertex_count = VERTICES,
                                    .price = price,
                                    .is_source = is_source,
                                    .is_sink = is_sink,
                                    .arcs = arcs,
                                    .arc_count = count};
        for (uint32_t set = 0; set < 1u << VERTICES; set++) {
            uint64_t of_set = price_of(&n, set);
            best = of_set < best && separates(&n, set) ? of_set : best;
        }
        base_arena arena = {0};
        assert_int_equal(compiler_find_frontier(&n, &arena, NULL, chosen), MTL_OK);
        uint32_t set = 0;
        for (uint32_t v = 0; v < VERTICES; v++) {
            set |= (uint32_t)chosen[v] << v;
        }
        assert_true(separates(&n, set));
        assert_int_equal(price_of(&n, set), best);
        base_arena_free(&arena);
    }
}

static void among_equal_ones_the_last_is_taken(void **state)
{
    (void)state;
    base_arena arena = {0};
    bool chosen[3] = {false};
    const compiler_network n = {.vertex_count = 3,
                                .price = (const uint64_t[]){5, 5, 5},
                                .is_source = (const bool[]){true, false, false},
                                .is_sink = (const bool[]){false, false, true},
                                .arcs = (const compiler_arc[]){{0, 1}, {1, 2}},
                                .arc_count = 2};
    assert_int_equal(compiler_find_frontier(&n, &arena, NULL, chosen), MTL_OK);
    assert_true(!chosen[0] && !chosen[1] && chosen[2]);
    base_arena_free(&arena);
}

static void a_way_without_a_price_is_an_error(void **state)
{
    (void)state;
    base_arena arena = {0};
    bool chosen[2] = {false};
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    const compiler_network n = {.vertex_count = 2,
                                .price = (const uint64_t[]){COMPILER_FRONTIER_NEVER, COMPILER_FRONTIER_NEVER},
                                .is_source = (const bool[]){true, false},
                                .is_sink = (const bool[]){false, true},
                                .arcs = (const compiler_arc[]){{0, 1}},
                                .arc_count = 1};
    assert_int_equal(compiler_find_frontier(&n, &arena, &diag, chosen), MTL_INTERNAL);
    base_arena_free(&arena);
}

/* --- the parts ------------------------------------------------------------------------------------------------ */

static mtl_status cut(const char *text, base_arena *arena, mtl_error *error, compiler_towers *towers)
{
    base_diag diag = {.error = error};
    ir_graph *graph;
    if (ir_parse(text, strlen(text), NULL, arena, &diag, &graph) != MTL_OK) {
        fail_msg("%s", error->message);
    }
    return compiler_cut_towers(graph, &diag, towers);
}

static void check_part(ir_graph *part, const char *want)
{
    char *text = NULL;
    size_t size = 0;
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(ir_print(part, out), MTL_OK);
    fclose(out);
    assert_string_equal(text, want);
    if (ir_verify(part, &diag) != MTL_OK) {
        fail_msg("%s", error.message);
    }
    free(text);
}

/* The item's layer is read through an expand and a tanh with a concatenation: it is stored before them, in rank 2. The param
 * goes to the user's part alone. */
static void a_graph_is_cut_where_it_is_narrow(void **state)
{
    (void)state;
    base_arena arena = {0};
    mtl_error error = {0};
    compiler_towers towers;
    mtl_status status = cut("graph \"g\" (B) {\n"
                            "  input %x : f32[B, 2]\n"
                            "  input %u : f32[B, 3] per_user\n"
                            "  param %heat : f32[1] = [2]\n"
                            "  const %w : f32[2, 2] = [1, 2, 3, 4]\n"
                            "  const %k : f32[3, 2] = [1, 2, 3, 4, 5, 6]\n"
                            "  const %one : f32[1] = [1]\n"
                            "  %v : f32[B, 2] = linear %x, %w {act=\"relu\"}\n"
                            "  %h : f32[B, 2] = linear %u, %k {act=\"\"}\n"
                            "  %a : f32[B, 2] = softmax %h {axis=1}\n"
                            "  %m : f32[B, 2] = mul %a, %heat\n"
                            "  %r : f32[B, 1, 2] = reshape %v\n"
                            "  %e : f32[B, 5, 2] = expand %r\n"
                            "  %p : f32[B, 1, 2] = reshape %m\n"
                            "  %y : f32[B, 5, 2] = mul %e, %p\n"
                            "  %t : f32[B, 2] = tanh %v\n"
                            "  %q : f32[B, 4] = concat %v, %t {axis=1}\n"
                            "  %n : f32[B, 4] = concat %m, %m {axis=1}\n"
                            "  %z : f32[B, 4] = mul %q, %n\n"
                            "  output \"y\" = %y\n"
                            "  output \"z\" = %z\n"
                            "  output \"price\" = %x\n"
                            "}\n",
                            &arena, &error, &towers);
    if (status != MTL_OK) {
        fail_msg("%s", error.message);
    }
    assert_int_equal(towers.user_count, 1);
    assert_int_equal(towers.cut_count, 3);
    assert_int_equal(towers.cuts[1].bytes, 8);
    check_part(towers.parts[COMPILER_USER], "graph \"g\" (B) {\n"
                                            "  input %u : f32[B, 3]\n"
                                            "  param %heat : f32[1] = [2]\n"
                                            "  const %k : f32[3, 2] = [1, 2, 3, 4, 5, 6]\n"
                                            "  %h : f32[B, 2] = linear %u, %k {act=\"\"}\n"
                                            "  %a : f32[B, 2] = softmax %h {axis=1}\n"
                                            "  %m : f32[B, 2] = mul %a, %heat\n"
                                            "  output \"user.0\" = %m\n"
                                            "}\n");
    check_part(towers.parts[COMPILER_ITEM], "graph \"g\" (B) {\n"
                                            "  input %x : f32[B, 2]\n"
                                            "  const %w : f32[2, 2] = [1, 2, 3, 4]\n"
                                            "  %v : f32[B, 2] = linear %x, %w {act=\"relu\"}\n"
                                            "  output \"x\" = %x\n"
                                            "  output \"item.0\" = %v\n"
                                            "}\n");
    check_part(towers.parts[COMPILER_SCORE], "graph \"g\" (B) {\n"
                                             "  input %user.0 : f32[B, 2] per_user\n"
                                             "  input %x : f32[B, 2]\n"
                                             "  input %item.0 : f32[B, 2]\n"
                                             "  %r : f32[B, 1, 2] = reshape %item.0\n"
                                             "  %e : f32[B, 5, 2] = expand %r\n"
                                             "  %p : f32[B, 1, 2] = reshape %user.0\n"
                                             "  %y : f32[B, 5, 2] = mul %e, %p\n"
                                             "  %t : f32[B, 2] = tanh %item.0\n"
                                             "  %q : f32[B, 4] = concat %item.0, %t {axis=1}\n"
                                             "  %n : f32[B, 4] = concat %user.0, %user.0 {axis=1}\n"
                                             "  %z : f32[B, 4] = mul %q, %n\n"
                                             "  output \"y\" = %y\n"
                                             "  output \"z\" = %z\n"
                                             "  output \"price\" = %x\n"
                                             "}\n");
    base_arena_free(&arena);
}

/* A value whose candidates are not its first axis cannot be stored a row an item: what it is made of is. */
static void what_is_stored_has_a_row_an_item(void **state)
{
    (void)state;
    base_arena arena = {0};
    mtl_error error = {0};
    compiler_towers towers;
    mtl_status status = cut("graph \"g\" (B) {\n"
                            "  input %x : f32[B, 2]\n"
                            "  input %u : f32[B, 2] per_user\n"
                            "  const %w : f32[2, 2] = [1, 2, 3, 4]\n"
                            "  %v : f32[B, 2] = linear %x, %w {act=\"\"}\n"
                            "  %t : f32[2, B] = transpose %v {perm=[1, 0]}\n"
                            "  %s : f32[2, B] = softmax %t {axis=0}\n"
                            "  %f : f32[B, 2] = transpose %s {perm=[1, 0]}\n"
                            "  %n : f32[2, B] = transpose %u {perm=[1, 0]}\n"
                            "  %y : f32[2, B] = mul %s, %n\n"
                            "  %m : f32[B, 2] = softmax %v {axis=0}\n"
                            "  output \"y\" = %y\n"
                            "  output \"f\" = %f\n"
                            "  output \"m\" = %m\n"
                            "}\n",
                            &arena, &error, &towers);
    if (status != MTL_OK) {
        fail_msg("%s", error.message);
    }
    check_part(towers.parts[COMPILER_ITEM], "graph \"g\" (B) {\n"
                                            "  input %x : f32[B, 2]\n"
                                            "  const %w : f32[2, 2] = [1, 2, 3, 4]\n"
                                            "  %v : f32[B, 2] = linear %x, %w {act=\"\"}\n"
                                            "  output \"item.0\" = %v\n"
                                            "}\n");
    base_arena_free(&arena);
}

/* Names that the model has are not given twice. */
static void names_are_free(void **state)
{
    (void)state;
    base_arena arena = {0};
    mtl_error error = {0};
    compiler_towers towers;
    mtl_status status = cut("graph \"g\" (B) {\n"
                            "  input %item.0 : f32[B, 2]\n"
                            "  input %x : f32[B, 2]\n"
                            "  input %u : f32[B, 2] per_user\n"
                            "  const %w : f32[2, 2] = [1, 2, 3, 4]\n"
                            "  %v : f32[B, 2] = linear %x, %w {act=\"\"}\n"
                            "  %r : f32[B, 2] = softmax %v {axis=1}\n"
                            "  %y : f32[B, 2] = mul %v, %u\n"
                            "  %z : f32[B, 2] = mul %y, %item.0\n"
                            "  output \"z\" = %z\n"
                            "  output \"x\" = %r\n"
                            "}\n",
                            &arena, &error, &towers);
    if (status != MTL_OK) {
        fail_msg("%s", error.message);
    }
    static const char *const names[] = {"u", "item.0", "item.0.1", "item.1"};
    assert_int_equal(towers.cut_count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(towers.cuts[i].name, names[i]);
    }
    base_arena_free(&arena);
}

static void check_refusal(const char *text, const char *message)
{
    base_arena arena = {0};
    mtl_error error = {0};
    compiler_towers towers;
    assert_int_equal(cut(text, &arena, &error, &towers), MTL_UNSUPPORTED);
    if (strstr(error.message, message) == NULL) {
        fail_msg("expected '%s', found '%s'", message, error.message);
    }
    base_arena_free(&arena);
}

static void what_cannot_be_cut_is_an_error(void **state)
{
    (void)state;
    check_refusal("graph \"g\" (B) {\n"
                  "  input %x : f32[B, 2]\n"
                  "  input %u : f32[B, 2] per_user\n"
                  "  const %w : f32[4, 2] = [1, 2, 3, 4, 5, 6, 7, 8]\n"
                  "  %t : f32[B, 2] = tanh %x\n"
                  "  %c : f32[B, 4] = concat %t, %u {axis=1}\n"
                  "  %y : f32[B, 2] = linear %c, %w {act=\"\"}\n"
                  "  output \"y\" = %y\n"
                  "}\n",
                  "node 'c' (concat): --emit-towers: nothing is worth storing: no layer and no look-up depends on "
                  "candidates alone; here 't' meets 'u', which depends on the user");
    check_refusal("graph \"g\" (B) {\n"
                  "  input %x : f32[B, 2]\n"
                  "  input %u : f32[B, 2] per_user\n"
                  "  output \"x\" = %x\n"
                  "  output \"u\" = %u\n"
                  "}\n",
                  "nothing is worth storing: no layer and no look-up depends on candidates alone, but 'x' itself");
    check_refusal("graph \"g\" (B) {\n"
                  "  input %x : f32[B, 2]\n"
                  "  output \"x\" = %x\n"
                  "}\n",
                  "no output depends on an input that is the same for all candidates of a user");
    check_refusal("graph \"g\" (B) {\n"
                  "  input %x : f32[B+1, 2]\n"
                  "  input %u : f32[B, 2] per_user\n"
                  "  output \"x\" = %x\n"
                  "  output \"u\" = %u\n"
                  "}\n",
                  "input 'x' has no axis of candidates");
}

/* --- columns of the item's ------------------------------------------------------------------------------------- */

static void check_split(const char *text, const char *want)
{
    base_arena arena = {0};
    mtl_error error = {0};
    base_diag diag = {.error = &error};
    ir_graph *graph;
    if (ir_parse(text, strlen(text), NULL, &arena, &diag, &graph) != MTL_OK ||
        compiler_split_item_columns(graph, &diag) != MTL_OK) {
        fail_msg("%s", error.message);
    }
    check_part(graph, want);
    base_arena_free(&arena);
}

static void item_columns_have_their_product(void **state)
{
    (void)state;
    check_split("graph \"g\" (B) {\n"
                "  input %u : f32[B, 1] per_user\n"
                "  input %x : f32[B, 2]\n"
                "  input %z : f32[B, 1]\n"
                "  const %w : f32[4, 2] = [1, 2, 3, 4, 5, 6, 7, 8]\n"
                "  const %k : f32[4, 1] = [11, 12, 13, 14]\n"
                "  const %b : f32[1] = [9]\n"
                "  %c : f32[B, 4] = concat %x, %u, %z {axis=1}\n"
                "  %h : f32[B, 2] = linear %c, %w {act=\"elu\", alpha=2}\n"
                "  %g : f32[B, 1] = linear %c, %k, %b {act=\"\"}\n"
                "  %y : f32[B, 2] = mul %h, %g\n"
                "  output \"y\" = %y\n"
                "}\n",
                "graph \"g\" (B) {\n"
                "  input %u : f32[B, 1] per_user\n"
                "  input %x : f32[B, 2]\n"
                "  input %z : f32[B, 1]\n"
                "  const %c.1 : f32[1, 3] = [5, 6, 13]\n"
                "  const %c.2 : f32[3] = [0, 0, 9]\n"
                "  const %c.3 : f32[3, 3] = [1, 2, 11, 3, 4, 12, 7, 8, 14]\n"
                "  %h.1 : f32[B, 3] = linear %u, %c.1, %c.2 {act=\"\"}\n"
                "  %h.2 : f32[B, 3] = concat %x, %z {axis=1}\n"
                "  %h.3 : f32[B, 3] = linear %h.2, %c.3 {act=\"\"}\n"
                "  %h.4 : f32[B, 3] = add %h.1, %h.3\n"
                "  %h.5 : f32[B, 2] = slice %h.4 {starts=[0, 0], steps=[1, 1]}\n"
                "  %h.6 : f32[B, 2] = elu %h.5 {alpha=2}\n"
                "  %g.1 : f32[B, 1] = slice %h.4 {starts=[0, 2], steps=[1, 1]}\n"
                "  %y : f32[B, 2] = mul %h.6, %g.1\n"
                "  output \"y\" = %y\n"
                "}\n");
}

/* Wider than the columns, wider than what they are made of, read by something else, or not of the item alone. */
static void other_layers_stay(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "  const %w : f32[3, 3] = [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
        "  %c : f32[B, 3] = concat %u, %x {axis=1}\n"
        "  %y : f32[B, 3] = linear %c, %w {act=\"\"}\n"
        "  output \"y\" = %y\n",
        "  const %w : f32[5, 3] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]\n"
        "  %t : f32[B, 4] = concat %x, %x {axis=1}\n"
        "  %c : f32[B, 5] = concat %u, %t {axis=1}\n"
        "  %y : f32[B, 3] = linear %c, %w {act=\"\"}\n"
        "  output \"y\" = %y\n",
        "  const %w : f32[3, 1] = [1, 2, 3]\n"
        "  %c : f32[B, 3] = concat %u, %x {axis=1}\n"
        "  %y : f32[B, 1] = linear %c, %w {act=\"\"}\n"
        "  output \"y\" = %y\n"
        "  output \"c\" = %c\n",
        "  const %w : f32[3, 1] = [1, 2, 3]\n"
        "  %c : f32[B, 3] = concat %u, %x {axis=1}\n"
        "  %y : f32[B, 1] = linear %c, %w {act=\"\"}\n"
        "  output \"x\" = %x\n"
        "  output \"y\" = %y\n",
        "  const %w : f32[3, 1] = [1, 2, 3]\n"
        "  %m : f32[B, 2] = softmax %x {axis=0}\n"
        "  %c : f32[B, 3] = concat %u, %m {axis=1}\n"
        "  %y : f32[B, 1] = linear %c, %w {act=\"\"}\n"
        "  output \"y\" = %y\n",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char text[1024];
        (void)snprintf(text, sizeof text,
                       "graph \"g\" (B) {\n"
                       "  input %%u : f32[B, 1] per_user\n"
                       "  input %%x : f32[B, 2]\n"
                       "%s}\n",
                       bodies[i]);
        check_split(text, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frontier_is_the_cheapest),
        cmocka_unit_test(among_equal_ones_the_last_is_taken),
        cmocka_unit_test(a_way_without_a_price_is_an_error),
        cmocka_unit_test(a_graph_is_cut_where_it_is_narrow),
        cmocka_unit_test(what_is_stored_has_a_row_an_item),
        cmocka_unit_test(names_are_free),
        cmocka_unit_test(what_cannot_be_cut_is_an_error),
        cmocka_unit_test(item_columns_have_their_product),
        cmocka_unit_test(other_layers_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
