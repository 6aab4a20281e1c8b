/* Command lines of our programs: one table of options is parsed and printed as --help. */
#ifndef TOOL_ARGS_H
#define TOOL_ARGS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct tool_option {
    const char *name;  /* "dim", for --dim; NULL: a heading, printed as `help` above what follows */
    char letter;       /* 'o', for -o; 0: none */
    const char *value; /* "NAME=NUMBER": it takes a value, called so; "[=PASS]": it may follow; NULL: a flag */
    const char *help;  /* '\n' begins a new line */
} tool_option;

typedef struct tool_args {
    const char *program; /* "mtlc" */
    const char *version;
    const char *usage;          /* what follows "usage: mtlc " ; '\n' begins another usage */
    const char *summary;        /* printed below; may be NULL */
    const tool_option *options; /* --help and --version are added to them */
    size_t option_count;

    char **argv; /* parsed from argv[1] on */
    int argc;
    int at;             /* the next argument */
    bool only;          /* after "--" nothing is an option */
    const char *within; /* the rest of "-abc" */
} tool_args;

enum {
    TOOL_ARGS_END = -1,        /* nothing is left */
    TOOL_ARGS_POSITIONAL = -2, /* *value is an argument that is no option */
    TOOL_ARGS_DONE = -3,       /* --help or --version has been printed on standard output: exit with 0 */
    TOOL_ARGS_ERROR = -4,      /* one line has been printed on standard error: exit with 1 */
};

/* The next argument: the index of an option (its value, NULL for none, in *value), or one of the numbers above.
 * Accepts --name VALUE, --name=VALUE, -n VALUE, -nVALUE and joined flags, in any order with positional arguments. */
int tool_args_next(tool_args *args, const char **value);

/* Prints "PROGRAM: MESSAGE (see PROGRAM --help)" on standard error and returns TOOL_ARGS_ERROR. */
int tool_args_fail(const tool_args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whole numbers from `least` to `most`: one; or "1,16,64" of at most `limit`, *count of them. False: it is none. */
bool tool_parse_number(const char *text, long long least, long long most, long long *number);
bool tool_parse_numbers(const char *text, long long least, long long most, long long *numbers, size_t limit,
                        size_t *count);

#endif
