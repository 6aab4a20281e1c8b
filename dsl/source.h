/* Texts of the ranker language, places in them, and what is wrong there.
 *
 * A compilation reads several texts: the library of blocks, the ranker, the files that it uses. All errors of a compilation
 * are collected, in the order of their places, and printed like a C compiler's:
 *
 *     ranker.mtl:7:14: error: there is no 'experst'; did you mean 'experts'?
 *         7 |     h = mix(g, experst)
 *           |                ^~~~~~~
 */
#ifndef DSL_SOURCE_H
#define DSL_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/diag.h"

enum { DSL_MAX_ERRORS = 20, DSL_MAX_SOURCES = 64, DSL_MAX_TEXT = 1 << 24 };

typedef struct dsl_text {
    const char *name; /* of the file, for messages */
    const char *bytes;
    size_t length;
} dsl_text;

/* Bytes [start, start + length) of a text. */
typedef struct dsl_span {
    uint32_t text, start, length;
} dsl_span;

typedef struct dsl_error {
    dsl_span at;
    const char *message;
} dsl_error;

typedef struct dsl_sources {
    base_arena *arena;
    dsl_text texts[DSL_MAX_SOURCES];
    uint32_t text_count;
    dsl_error errors[DSL_MAX_ERRORS];
    size_t error_count; /* of those kept; more are counted in `suppressed` */
    size_t suppressed;
} dsl_sources;

/* `bytes` must live as long as the sources. */
mtl_status dsl_add_text(dsl_sources *sources, const char *name, const char *bytes, size_t length, base_diag *diag,
                        uint32_t *text);

/* Notes an error (printf format, one line); the compilation goes on to find more. The same error at one place is told once. */
void dsl_wrong(dsl_sources *sources, dsl_span at, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Prints all errors with their lines and carets; to the diag goes the first, in one line. */
void dsl_print_errors(const dsl_sources *sources, FILE *out);
mtl_status dsl_first_error(const dsl_sources *sources, base_diag *diag);

/* Line and column, from 1; columns count characters, not bytes. */
void dsl_place(const dsl_sources *sources, dsl_span at, int *line, int *column);

/* The name among `count` that `wrong` is most like, if it is like one at all; else NULL. */
const char *dsl_nearest(const char *wrong, const char *const *names, size_t count);

static inline dsl_span dsl_span_to(dsl_span from, dsl_span to)
{
    return (dsl_span){from.text, from.start, to.start + to.length - from.start};
}

#endif
