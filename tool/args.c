#define _POSIX_C_SOURCE 200809L
#include "tool/args.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of every program; their indices follow those of the table. */
static const tool_option common[] = {
    {"help", 'h', NULL, "print this and exit"},
    {"version", 'V', NULL, "print the version and exit"},
};

enum { COMMON_HELP, COMMON_VERSION, COMMON_COUNT };

static const tool_option *option_at(const tool_args *args, size_t i)
{
    return i < args->option_count ? &args->options[i] : &common[i - args->option_count];
}

static size_t option_total(const tool_args *args)
{
    return args->option_count + COMMON_COUNT;
}

static bool value_is_optional(const tool_option *option)
{
    return option->value != NULL && option->value[0] == '[';
}

int tool_args_fail(const tool_args *args, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s: ", args->program);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, " (see %s --help)\n", args->program);
    va_end(arguments);
    return TOOL_ARGS_ERROR;
}

/* "  -o, --output PLAN" into `text`; its length. */
static int option_text(const tool_option *option, char *text, size_t size)
{
    char letter[8] = "    ";
    if (option->letter != 0) {
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    }
    return snprintf(text, size, "  %s--%s%s%s", letter, option->name,
                    option->value == NULL || value_is_optional(option) ? "" : " ",
                    option->value == NULL ? "" : option->value);
}

/* Prints `text`, every line after the first behind `indent` spaces and `lead`. */
static void print_lines(const char *text, int indent, const char *lead)
{
    for (; *text != '\0'; text++) {
        putchar(*text);
        if (*text == '\n') {
            printf("%*s%s", indent, "", lead);
        }
    }
    putchar('\n');
}

static void print_help(const tool_args *args)
{
    int width = 0;
    char text[128], lead[64];
    for (size_t i = 0; i < option_total(args); i++) {
        if (option_at(args, i)->name != NULL) {
            int length = option_text(option_at(args, i), text, sizeof text);
            width = length > width ? length : width;
        }
    }
    snprintf(lead, sizeof lead, "%s ", args->program);
    printf("usage: %s", lead);
    print_lines(args->usage, (int)strlen("usage: "), lead);
    if (args->summary != NULL) {
        printf("\n%s\n", args->summary);
    }
    putchar('\n');
    for (size_t i = 0; i < option_total(args); i++) {
        const tool_option *option = option_at(args, i);
        if (option->name == NULL) {
            printf("%s%s\n", i == 0 ? "" : "\n", option->help);
            continue;
        }
        option_text(option, text, sizeof text);
        printf("%-*s  ", width, text);
        print_lines(option->help, width + 2, "");
    }
}

static int found(const tool_args *args, size_t i)
{
    if (i == args->option_count + COMMON_HELP) {
        print_help(args);
        return TOOL_ARGS_DONE;
    }
    if (i == args->option_count + COMMON_VERSION) {
        printf("%s %s\n", args->program, args->version);
        return TOOL_ARGS_DONE;
    }
    return (int)i;
}

static int next_long(tool_args *args, const char *text, const char **value)
{
    size_t length = strcspn(text, "=");
    for (size_t i = 0; i < option_total(args); i++) {
        const tool_option *option = option_at(args, i);
        if (option->name == NULL || strlen(option->name) != length || strncmp(option->name, text, length) != 0) {
            continue;
        }
        if (text[length] == '=') {
            if (option->value == NULL) {
                return tool_args_fail(args, "option '--%s' takes no value", option->name);
            }
            *value = text + length + 1;
        } else if (option->value != NULL && !value_is_optional(option)) {
            if (args->at >= args->argc) {
                return tool_args_fail(args, "option '--%s' needs a value: %s", option->name, option->value);
            }
            *value = args->argv[args->at++];
        }
        return found(args, i);
    }
    return tool_args_fail(args, "unknown option '--%.*s'", (int)length, text);
}

/* args->within is at a letter. */
static int next_short(tool_args *args, const char **value)
{
    char letter = *args->within++;
    for (size_t i = 0; i < option_total(args); i++) {
        const tool_option *option = option_at(args, i);
        if (option->name == NULL || option->letter != letter) {
            continue;
        }
        if (option->value != NULL && !value_is_optional(option)) {
            if (*args->within == '\0' && args->at >= args->argc) {
                return tool_args_fail(args, "option '-%c' needs a value: %s", letter, option->value);
            }
            *value = *args->within != '\0' ? args->within : args->argv[args->at++];
            args->within = NULL;
        }
        return found(args, i);
    }
    return tool_args_fail(args, "unknown option '-%c'", letter);
}

int tool_args_next(tool_args *args, const char **value)
{
    *value = NULL;
    if (args->within != NULL && *args->within != '\0') {
        return next_short(args, value);
    }
    args->within = NULL;
    if (args->at == 0) {
        args->at = 1;
    }
    if (args->at >= args->argc) {
        return TOOL_ARGS_END;
    }
    const char *argument = args->argv[args->at++];
    if (args->only || argument[0] != '-' || argument[1] == '\0') { /* "-" alone names a stream */
        *value = argument;
        return TOOL_ARGS_POSITIONAL;
    }
    if (argument[1] != '-') {
        args->within = argument + 1;
        return next_short(args, value);
    }
    if (argument[2] == '\0') {
        args->only = true;
        return tool_args_next(args, value);
    }
    return next_long(args, argument + 2, value);
}

bool tool_parse_number(const char *text, long long least, long long most, long long *number)
{
    size_t count;
    return tool_parse_numbers(text, least, most, number, 1, &count);
}

bool tool_parse_numbers(const char *text, long long least, long long most, long long *numbers, size_t limit,
                        size_t *count)
{
    size_t found_count = 0;
    for (const char *at = text;; at++) {
        char *end;
        errno = 0;
        if (found_count == limit || !(*at == '-' || (*at >= '0' && *at <= '9'))) {
            return false;
        }
        long long number = strtoll(at, &end, 10);
        if (errno != 0 || end == at || number < least || number > most || (*end != '\0' && *end != ',')) {
            return false;
        }
        numbers[found_count++] = number;
        at = end;
        if (*end == '\0') {
            *count = found_count;
            return true;
        }
    }
}
