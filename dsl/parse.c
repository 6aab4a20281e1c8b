/* A recursive-descent parser. In a statement the first error ends it; the parser goes on with the next one. */
#include <stdarg.h>
#include <string.h>

#include "dsl/lex.h"
#include "dsl/syntax.h"

enum { DEPTH = 200 }; /* of expressions and blocks inside of each other */

typedef struct parser {
    dsl_lexer lexer;
    dsl_sources *sources;
    base_diag *diag;
    mtl_status status; /* no memory */
    dsl_token token;
    dsl_span last; /* of the token before */
    int depth;
    bool lost; /* an error was noted in this statement */
} parser;

static dsl_node *expression(parser *p);
static dsl_node *body(parser *p);

static void next(parser *p)
{
    p->last = p->token.span;
    mtl_status status = dsl_lex_next(&p->lexer, p->diag, &p->token);
    if (status != MTL_OK) {
        p->status = status;
        p->token.kind = DSL_TOKEN_END;
    }
    p->lost = p->lost || p->token.kind == DSL_TOKEN_BAD;
}

static bool is(const parser *p, const char *word)
{
    return (p->token.kind == DSL_TOKEN_MARK || p->token.kind == DSL_TOKEN_KEYWORD) && strcmp(p->token.text, word) == 0;
}

static bool accept(parser *p, const char *word)
{
    if (!is(p, word)) {
        return false;
    }
    next(p);
    return true;
}

static void lose(parser *p, dsl_span at, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void lose(parser *p, dsl_span at, const char *format, ...)
{
    char message[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (!p->lost) {
        dsl_wrong(p->sources, at, "%s", message);
    }
    p->lost = true;
}

static void expected(parser *p, const char *what)
{
    const dsl_token *t = &p->token;
    const char *bytes = p->sources->texts[t->span.text].bytes + t->span.start;
    int shown = t->span.length > 40 ? 40 : (int)t->span.length;
    switch (t->kind) {
    case DSL_TOKEN_END: lose(p, t->span, "expected %s, found the end of the text", what); break;
    case DSL_TOKEN_NEWLINE: lose(p, t->span, "expected %s, found the end of the line", what); break;
    case DSL_TOKEN_KEYWORD: lose(p, t->span, "expected %s, found the word '%s'", what, t->text); break;
    default: lose(p, t->span, "expected %s, found %.*s", what, shown, bytes); break;
    }
}

static bool expect(parser *p, const char *word)
{
    if (accept(p, word)) {
        return true;
    }
    char what[8];
    snprintf(what, sizeof what, "'%s'", word);
    expected(p, what);
    return false;
}

/* What closes the bracket at `open`. One that is missed is rather told of where it was opened. */
static void close_bracket(parser *p, dsl_span open, const char *with)
{
    if (p->lost || accept(p, with)) {
        return;
    }
    const char *bytes = p->sources->texts[open.text].bytes;
    bool far =
        p->token.kind == DSL_TOKEN_END || memchr(bytes + open.start, '\n', p->token.span.start - open.start) != NULL;
    if (far) {
        lose(p, open, "this '%c' has no '%s'", bytes[open.start], with);
    } else {
        expect(p, with);
    }
}

static dsl_node *new_node(parser *p, dsl_kind kind, dsl_span span)
{
    dsl_node *node = BASE_NEW(p->sources->arena, dsl_node);
    if (node == NULL) {
        p->status = base_fail_memory(p->diag);
        p->lost = true;
        return NULL;
    }
    node->kind = kind;
    node->span = span;
    return node;
}

/* Children may be NULL: what is absent. The array doubles. */
static void add(parser *p, dsl_node *to, dsl_node *child)
{
    if (to == NULL || p->status != MTL_OK) {
        return;
    }
    if ((to->count & (to->count - 1)) == 0) { /* 0, 1, 2, 4, ..: full */
        dsl_node **more = BASE_NEW_ARRAY(p->sources->arena, dsl_node *, to->count == 0 ? 1 : 2 * to->count);
        if (more == NULL) {
            p->status = base_fail_memory(p->diag);
            return;
        }
        if (to->count > 0) {
            memcpy(more, to->child, to->count * sizeof *more);
        }
        to->child = more;
    }
    to->child[to->count++] = child;
}

/* A node over what was read since `from`, with up to three children, ended by the caller. */
static dsl_node *over(parser *p, dsl_kind kind, dsl_span from, const char *text)
{
    dsl_node *node = new_node(p, kind, dsl_span_to(from, p->last));
    if (node != NULL) {
        node->text = text;
    }
    return node;
}

static bool enter(parser *p)
{
    if (p->depth == DEPTH) {
        lose(p, p->token.span, "more than %d levels inside of each other", DEPTH);
        return false;
    }
    p->depth++;
    return true;
}

static dsl_node *name(parser *p, const char *what)
{
    if (p->token.kind != DSL_TOKEN_NAME) {
        expected(p, what);
        return NULL;
    }
    dsl_node *node = new_node(p, DSL_NAME, p->token.span);
    if (node != NULL) {
        node->text = p->token.text;
    }
    next(p);
    return node;
}

/* --- strings --------------------------------------------------------------------------------------------------- */

/* The letters of a string up to `to`, without backslashes. */
static void add_piece(parser *p, dsl_node *string, uint32_t from, uint32_t to)
{
    if (from == to) {
        return;
    }
    const char *bytes = p->sources->texts[string->span.text].bytes;
    dsl_node *piece = new_node(p, DSL_PIECE, (dsl_span){string->span.text, from, to - from});
    char *text = base_arena_string_n(p->sources->arena, bytes + from, to - from);
    if (piece == NULL || text == NULL) {
        p->status = piece == NULL ? p->status : base_fail_memory(p->diag);
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (text[i] == '\\') {
            i++;
            bool known = text[i] == '"' || text[i] == '\\' || text[i] == '{' || text[i] == '}';
            if (!known) {
                lose(p, (dsl_span){string->span.text, from + (uint32_t)i - 1, 2},
                     "behind a backslash stands one of \" \\ { }");
            }
        }
        text[kept++] = text[i];
    }
    text[kept] = '\0';
    piece->text = text;
    add(p, string, piece);
}

/* An expression in braces, read by a parser of its own over that part of the text. */
static void add_inserted(parser *p, dsl_node *string, dsl_span part)
{
    parser inner = {.sources = p->sources, .diag = p->diag, .depth = p->depth + 1};
    dsl_lex_begin(&inner.lexer, p->sources, part);
    next(&inner);
    dsl_node *value = inner.depth < DEPTH ? expression(&inner) : NULL;
    if (inner.token.kind != DSL_TOKEN_END) {
        expected(&inner, "'}'");
    }
    p->status = p->status == MTL_OK ? inner.status : p->status;
    p->lost = p->lost || inner.lost;
    add(p, string, value);
}

static dsl_node *string(parser *p)
{
    dsl_span span = p->token.span;
    dsl_node *node = new_node(p, DSL_STRING, span);
    const char *bytes = p->sources->texts[span.text].bytes;
    uint32_t from = span.start + 1, end = span.start + span.length - 1, i = from;
    next(p);
    while (node != NULL && i < end) {
        if (bytes[i] == '\\') {
            i += 2;
        } else if (bytes[i] == '{') {
            add_piece(p, node, from, i);
            uint32_t close = i + 1;
            while (close < end && bytes[close] != '}') {
                close++;
            }
            if (close == end) {
                lose(p, (dsl_span){span.text, i, 1}, "this '{' has no '}' in its string");
                return node;
            }
            add_inserted(p, node, (dsl_span){span.text, i + 1, close - i - 1});
            i = from = close + 1;
        } else if (bytes[i] == '}') {
            lose(p, (dsl_span){span.text, i, 1}, "this '}' has no '{' before it; a brace itself is \\}");
            return node;
        } else {
            i++;
        }
    }
    add_piece(p, node, from, end);
    return node;
}

/* --- expressions ----------------------------------------------------------------------------------------------- */

/* `names in source if condition`, of a comprehension or a loop: adds them behind what the node has. */
static void each(parser *p, dsl_node *of, bool filtered)
{
    dsl_node *names[8];
    size_t count = 0;
    do {
        if (count == sizeof names / sizeof names[0]) {
            lose(p, p->token.span, "more than %zu names", count);
            return;
        }
        names[count++] = name(p, "a name");
    } while (!p->lost && accept(p, ","));
    if (!p->lost && expect(p, "in")) {
        add(p, of, expression(p));
        if (filtered) {
            add(p, of, accept(p, "if") ? expression(p) : NULL);
        }
    }
    for (size_t i = 0; i < count && of != NULL; i++) {
        add(p, of, names[i]);
    }
}

static dsl_node *list(parser *p)
{
    dsl_span from = p->token.span;
    next(p);
    dsl_node *node = new_node(p, DSL_LIST, from);
    while (!p->lost && !is(p, "]")) {
        add(p, node, expression(p));
        if (!p->lost && is(p, "for") && node != NULL && node->count == 1) {
            next(p);
            node->kind = DSL_EACH;
            each(p, node, true);
            break;
        }
        if (!accept(p, ",")) {
            break;
        }
    }
    close_bracket(p, from, "]");
    if (node != NULL) {
        node->span = dsl_span_to(from, p->last);
    }
    return node;
}

static dsl_node *atom(parser *p)
{
    dsl_token t = p->token;
    dsl_node *node = NULL;
    switch (t.kind) {
    case DSL_TOKEN_NAME: return name(p, "a name");
    case DSL_TOKEN_STRING: return string(p);
    case DSL_TOKEN_INT:
    case DSL_TOKEN_FLOAT:
        node = new_node(p, t.kind == DSL_TOKEN_INT ? DSL_INT : DSL_FLOAT, t.span);
        if (node != NULL) {
            node->integer = t.integer;
            node->number = t.number;
        }
        next(p);
        return node;
    default: break;
    }
    if (is(p, "tasks")) { /* the list of them */
        next(p);
        return over(p, DSL_NAME, t.span, t.text);
    }
    if (is(p, "true") || is(p, "false") || is(p, "none")) {
        next(p);
        return over(p, DSL_WORD, t.span, t.text);
    }
    if (is(p, "[")) {
        return list(p);
    }
    if (accept(p, "(")) {
        node = expression(p);
        close_bracket(p, t.span, ")");
        return node;
    }
    expected(p, "a value");
    return NULL;
}

/* name = value, or a value; those with names come last. */
static dsl_node *argument(parser *p)
{
    dsl_node *value = expression(p);
    if (p->lost || value == NULL || value->kind != DSL_NAME || !is(p, "=")) {
        return value;
    }
    next(p);
    dsl_node *given = expression(p);
    dsl_node *named = over(p, DSL_NAMED, value->span, value->text);
    add(p, named, given);
    return named;
}

static dsl_node *call(parser *p, dsl_node *callee)
{
    dsl_node *node = new_node(p, DSL_CALL, callee->span);
    bool by_name = false;
    dsl_span open = p->token.span;
    add(p, node, callee);
    next(p);
    while (!p->lost && !is(p, ")")) {
        dsl_node *given = argument(p);
        if (!p->lost && given != NULL) {
            if (by_name && given->kind != DSL_NAMED) {
                lose(p, given->span, "an argument without a name stands before those with one");
            }
            by_name = by_name || given->kind == DSL_NAMED;
        }
        add(p, node, given);
        if (!accept(p, ",")) {
            break;
        }
    }
    close_bracket(p, open, ")");
    if (node != NULL) {
        node->span = dsl_span_to(callee->span, p->last);
    }
    return node;
}

static dsl_node *axis(parser *p)
{
    dsl_span from = p->token.span;
    dsl_node *first = is(p, ":") ? NULL : expression(p);
    if (p->lost || !accept(p, ":")) {
        return first;
    }
    dsl_node *to = is(p, ",") || is(p, "]") ? NULL : expression(p);
    dsl_node *node = over(p, DSL_SLICE, from, NULL);
    add(p, node, first);
    add(p, node, to);
    return node;
}

static dsl_node *index_of(parser *p, dsl_node *of)
{
    dsl_node *node = new_node(p, DSL_INDEX, of->span);
    dsl_span open = p->token.span;
    add(p, node, of);
    next(p);
    do {
        add(p, node, axis(p));
    } while (!p->lost && accept(p, ",") && !is(p, "]"));
    close_bracket(p, open, "]");
    if (node != NULL) {
        node->span = dsl_span_to(of->span, p->last);
    }
    return node;
}

static dsl_node *postfix(parser *p)
{
    dsl_node *node = atom(p);
    while (!p->lost && node != NULL) {
        if (is(p, "(")) {
            node = call(p, node);
        } else if (is(p, "[")) {
            node = index_of(p, node);
        } else if (accept(p, ".")) {
            dsl_node *field = name(p, "a name behind '.'");
            dsl_node *dot = over(p, DSL_DOT, node->span, field != NULL ? field->text : NULL);
            add(p, dot, node);
            node = dot;
        } else {
            break;
        }
    }
    return node;
}

static dsl_node *unary(parser *p)
{
    dsl_token t = p->token;
    if (!is(p, "-")) {
        return postfix(p);
    }
    if (!enter(p)) {
        return NULL;
    }
    next(p);
    dsl_node *operand = unary(p);
    dsl_node *node = over(p, DSL_UNARY, t.span, t.text);
    add(p, node, operand);
    p->depth--;
    return node;
}

/* Tighter ones further down. Comparisons and ranges do not chain: a < b < c is an error. */
static const struct {
    const char *words[8];
    bool chains;
} levels[] = {
    {{"or"}, true},  {{"and"}, true},    {{"==", "!=", "<", "<=", ">", ">="}, false},
    {{".."}, false}, {{"+", "-"}, true}, {{"*", "/", "%"}, true},
};

enum { LEVELS = sizeof levels / sizeof levels[0], NOT_ABOVE = 2 };

static const char *operator_at(const parser *p, int level)
{
    for (int i = 0; levels[level].words[i] != NULL; i++) {
        if (is(p, levels[level].words[i])) {
            return levels[level].words[i];
        }
    }
    return NULL;
}

static dsl_node *binary(parser *p, int level)
{
    if (level == LEVELS) {
        return unary(p);
    }
    if (level == NOT_ABOVE && is(p, "not")) {
        dsl_token t = p->token;
        next(p);
        dsl_node *operand = enter(p) ? binary(p, NOT_ABOVE) : NULL;
        dsl_node *node = over(p, DSL_UNARY, t.span, t.text);
        add(p, node, operand);
        p->depth--;
        return node;
    }
    dsl_node *left = binary(p, level + 1);
    const char *word;
    while (!p->lost && left != NULL && (word = operator_at(p, level)) != NULL) {
        next(p);
        dsl_node *right = binary(p, level + 1);
        dsl_node *node = over(p, strcmp(word, "..") == 0 ? DSL_RANGE : DSL_BINARY, left->span, word);
        add(p, node, left);
        add(p, node, right);
        left = node;
        if (!levels[level].chains && !p->lost && operator_at(p, level) != NULL) {
            lose(p, p->token.span, "'%s' cannot follow '%s': use parentheses, or 'and'", p->token.text, word);
        }
    }
    return left;
}

static dsl_node *expression(parser *p)
{
    if (!enter(p)) {
        return NULL;
    }
    dsl_node *node = binary(p, 0);
    bool chosen = !p->lost && node != NULL && is(p, "if");
    if (chosen) { /* x if condition else y; without else, none */
        next(p);
        dsl_node *condition = binary(p, 0);
        dsl_node *otherwise = !p->lost && accept(p, "else") ? expression(p) : NULL;
        dsl_node *choice = over(p, DSL_CHOICE, node->span, NULL);
        add(p, choice, condition);
        add(p, choice, node);
        add(p, choice, otherwise);
        node = choice;
    }
    p->depth--;
    return node;
}

/* --- statements ------------------------------------------------------------------------------------------------ */

static dsl_node *for_statement(parser *p)
{
    dsl_span from = p->token.span;
    next(p);
    dsl_node *node = new_node(p, DSL_FOR, from);
    dsl_node *head = new_node(p, DSL_FOR, from);
    each(p, head, false);
    dsl_node *inside = p->lost ? NULL : body(p);
    if (head != NULL && head->count > 0) {
        add(p, node, head->child[0]);
        add(p, node, inside);
        for (size_t i = 1; i < head->count; i++) {
            add(p, node, head->child[i]);
        }
    }
    return node;
}

static dsl_node *if_statement(parser *p)
{
    dsl_span from = p->token.span;
    next(p);
    dsl_node *condition = expression(p), *otherwise = NULL;
    dsl_node *then = p->lost ? NULL : body(p);
    if (!p->lost && accept(p, "else")) {
        otherwise = is(p, "if") ? if_statement(p) : body(p);
    }
    dsl_node *node = over(p, DSL_IF, from, NULL);
    add(p, node, condition);
    add(p, node, then);
    add(p, node, otherwise);
    return node;
}

static dsl_node *return_statement(parser *p)
{
    dsl_span from = p->token.span;
    next(p);
    dsl_node *node = new_node(p, DSL_RETURN, from);
    do {
        add(p, node, expression(p));
    } while (!p->lost && accept(p, ","));
    return node;
}

/* output NAME = value, or output "name" = value: names of tasks stand for the tasks. */
static dsl_node *output_statement(parser *p)
{
    dsl_span from = p->token.span;
    next(p);
    dsl_node *what = p->token.kind == DSL_TOKEN_STRING ? string(p) : name(p, "the output's name");
    dsl_node *value = !p->lost && expect(p, "=") ? expression(p) : NULL;
    dsl_node *node = over(p, DSL_OUTPUT, from, NULL);
    add(p, node, what);
    add(p, node, value);
    return node;
}

/* What stands behind '=': an expression, or several, which are a list. */
static dsl_node *values(parser *p)
{
    dsl_node *first = expression(p);
    if (p->lost || first == NULL || !is(p, ",")) {
        return first;
    }
    dsl_node *list = new_node(p, DSL_LIST, first->span);
    add(p, list, first);
    while (!p->lost && accept(p, ",")) {
        add(p, list, expression(p));
    }
    return list;
}

/* a, b = value; a, b = value, value; or an expression. */
static dsl_node *assignment(parser *p)
{
    dsl_span from = p->token.span;
    dsl_node *node = new_node(p, DSL_ASSIGN, from), *first = expression(p);
    if (p->lost || first == NULL) {
        return NULL;
    }
    if (!is(p, "=") && !is(p, ",")) {
        dsl_node *alone = over(p, DSL_DO, from, NULL);
        add(p, alone, first);
        return alone;
    }
    dsl_node *names = new_node(p, DSL_LIST, from);
    add(p, names, first);
    while (!p->lost && accept(p, ",")) {
        add(p, names, name(p, "a name"));
    }
    if (first->kind != DSL_NAME) {
        lose(p, first->span, "expected a name before '='");
    }
    if (!p->lost && expect(p, "=")) {
        add(p, node, values(p));
        for (size_t i = 0; names != NULL && i < names->count; i++) {
            add(p, node, names->child[i]);
        }
    }
    return node;
}

static dsl_node *statement(parser *p)
{
    if (is(p, "for")) {
        return for_statement(p);
    }
    if (is(p, "if")) {
        return if_statement(p);
    }
    if (is(p, "return")) {
        return return_statement(p);
    }
    return is(p, "output") ? output_statement(p) : assignment(p);
}

/* Up to the end of the statement in which an error was found: a newline, or what closes the body around it. */
static void recover(parser *p)
{
    int braces = 0;
    p->lexer.depth = 0; /* a bracket that was never closed hides no more newlines */
    while (p->token.kind != DSL_TOKEN_END) {
        if (braces == 0 && (p->token.kind == DSL_TOKEN_NEWLINE || is(p, "}"))) {
            break;
        }
        braces += is(p, "{") ? 1 : is(p, "}") ? -1 : 0;
        next(p);
    }
    p->lost = false;
}

static void end_statement(parser *p)
{
    if (!p->lost && p->token.kind != DSL_TOKEN_NEWLINE && p->token.kind != DSL_TOKEN_END && !is(p, "}")) {
        expected(p, "the end of the line");
    }
    if (p->lost) {
        recover(p);
    }
}

static void skip_newlines(parser *p)
{
    while (p->token.kind == DSL_TOKEN_NEWLINE) {
        next(p);
    }
}

static dsl_node *body(parser *p)
{
    dsl_span from = p->token.span;
    if (!expect(p, "{") || !enter(p)) {
        return NULL;
    }
    int outside = p->lexer.depth;
    p->lexer.depth = 0;
    dsl_node *node = new_node(p, DSL_BODY, from);
    skip_newlines(p);
    while (p->status == MTL_OK && p->token.kind != DSL_TOKEN_END && !is(p, "}")) {
        add(p, node, statement(p));
        end_statement(p);
        skip_newlines(p);
    }
    p->lexer.depth = outside;
    if (!is(p, "}")) {
        lose(p, from, "this '{' has no '}'");
    } else {
        next(p);
    }
    p->depth--;
    return node;
}

/* --- declarations ---------------------------------------------------------------------------------------------- */

static dsl_node *tasks(parser *p)
{
    dsl_node *node = new_node(p, DSL_TASKS, p->token.span);
    next(p);
    do {
        dsl_node *task = name(p, "a task's name");
        if (task == NULL) {
            break;
        }
        task->kind = DSL_NAMED;
        add(p, task, accept(p, ":") ? expression(p) : NULL);
        add(p, node, task);
    } while (!p->lost && accept(p, ","));
    return node;
}

static dsl_node *input(parser *p)
{
    dsl_span from = p->token.span;
    next(p);
    dsl_node *what = name(p, "the input's name");
    dsl_node *kind = !p->lost && expect(p, ":") ? expression(p) : NULL;
    dsl_node *node = over(p, DSL_INPUT, from, what != NULL ? what->text : NULL);
    add(p, node, kind);
    /* `request` is a word only here, so that it may be a name elsewhere. */
    if (node != NULL && !p->lost && p->token.kind == DSL_TOKEN_NAME && strcmp(p->token.text, "request") == 0) {
        node->request = true;
        next(p);
    }
    return node;
}

static dsl_node *block(parser *p)
{
    dsl_span from = p->token.span;
    next(p);
    dsl_node *called = name(p, "the block's name");
    dsl_node *params = new_node(p, DSL_LIST, from);
    if (!p->lost && expect(p, "(")) {
        while (!p->lost && !is(p, ")")) {
            dsl_node *param = name(p, "a parameter's name");
            if (param == NULL) {
                break;
            }
            param->kind = DSL_NAMED;
            add(p, param, accept(p, "=") ? expression(p) : NULL);
            add(p, params, param);
            if (!accept(p, ",")) {
                break;
            }
        }
        if (!p->lost) {
            expect(p, ")");
        }
    }
    dsl_node *node = over(p, DSL_BLOCK, from, called != NULL ? called->text : NULL);
    add(p, node, p->lost ? NULL : body(p));
    for (size_t i = 0; params != NULL && i < params->count; i++) {
        add(p, node, params->child[i]);
    }
    return node;
}

/* ranker NAME, use "file.mtl" */
static dsl_node *title(parser *p, dsl_kind kind)
{
    dsl_span from = p->token.span;
    next(p);
    if (kind == DSL_RANKER) {
        dsl_node *called = name(p, "the ranker's name");
        return over(p, kind, from, called != NULL ? called->text : NULL);
    }
    if (p->token.kind != DSL_TOKEN_STRING) {
        expected(p, "a file's name in quotes");
        return NULL;
    }
    dsl_node *file = string(p);
    bool plain = file != NULL && file->count == 1 && file->child[0]->kind == DSL_PIECE;
    if (!p->lost && !plain) {
        lose(p, p->last, "expected a file's name without braces");
    }
    return over(p, kind, from, plain ? file->child[0]->text : NULL);
}

static dsl_node *declaration(parser *p)
{
    if (is(p, "ranker")) {
        return title(p, DSL_RANKER);
    }
    if (is(p, "use")) {
        return title(p, DSL_USE);
    }
    if (is(p, "tasks")) {
        return tasks(p);
    }
    if (is(p, "input")) {
        return input(p);
    }
    return is(p, "block") ? block(p) : statement(p);
}

mtl_status dsl_parse(dsl_sources *sources, uint32_t text, base_diag *diag, dsl_node **file)
{
    parser p = {.sources = sources, .diag = diag};
    dsl_span whole = {text, 0, (uint32_t)sources->texts[text].length};
    dsl_lex_begin(&p.lexer, sources, whole);
    next(&p);
    dsl_node *node = new_node(&p, DSL_FILE, whole);
    skip_newlines(&p);
    while (p.status == MTL_OK && p.token.kind != DSL_TOKEN_END) {
        if (!is(&p, "}")) {
            add(&p, node, declaration(&p));
            end_statement(&p);
        }
        if (is(&p, "}")) {
            lose(&p, p.token.span, "this '}' closes nothing");
            next(&p);
            p.lost = false;
        }
        skip_newlines(&p);
    }
    *file = node;
    return p.status;
}
