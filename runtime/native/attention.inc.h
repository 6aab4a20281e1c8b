/* Attention over short sequences. The scores of a block of queries stay in the first cache: products, masks, softmax and
 * the sum of the values follow each other there.
 *
 * Many queries: the lanes are queries, so that the softmax, along the keys, crosses no lanes. Queries are turned to
 * (width, queries) first, keys and values are read where they lie, an element broadcast to all lanes. Keys that no query of
 * the block gives a share above 0 are skipped: padding costs next to nothing. Few queries (one, of
 * target attention): the lanes go along the width for the scores, the keys for the softmax, the width again for the
 * values. Which of the two follows from the number of queries alone, and a block's height from the plan. */
#ifndef RUNTIME_NATIVE_ATTENTION_INC_H
#define RUNTIME_NATIVE_ATTENTION_INC_H

#include "runtime/native/native.h"
#include "runtime/native/softmax.inc.h"
#include "runtime/native/vec.inc.h"

enum {
    ATTENTION_VECS = LANES == 16 ? 4 : 2, /* of queries in a block, at most */
    ATTENTION_BLOCK = 6,      /* keys, or columns of the values, at a time: VECS x BLOCK sums in registers */
    ATTENTION_SCORES = 8192,  /* of a block, on the stack */
    ATTENTION_QUERIES = 8192, /* floats of a block's queries, on the stack */
};

/* One head of one row, a block of queries. */
typedef struct attention_block {
    const native_attention *call;
    const float *q, *k, *v, *bias; /* bias, keep: of the block's first query, or NULL */
    const uint8_t *keep;
    float *y;
    size_t queries;
    float *turned;  /* (width, VECS x LANES) */
    float *scores;  /* (count, VECS x LANES) */
    uint16_t *keys; /* those that the scores are of, in order */
    size_t count;
    bool chosen; /* keys are those that keep leaves, which so needs no more regard */
} attention_block;

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));

/* y[j, i] = x[i, j] x scale for i < rows, j < columns, in squares of four; rows lie x_stride and y_stride apart. */
INLINE void attention_transpose(const float *x, size_t x_stride, float *y, size_t y_stride, size_t rows, size_t columns,
                                float scale)
{
    const four scales = {scale, scale, scale, scale};
    const size_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
    for (size_t i = 0; i < whole_rows; i += 4) {
        for (size_t j = 0; j < whole_columns; j += 4) {
            const float *from = x + i * x_stride + j;
            float *to = y + j * y_stride + i;
            const four a = *(const four *)from, b = *(const four *)(from + x_stride);
            const four c = *(const four *)(from + 2 * x_stride), d = *(const four *)(from + 3 * x_stride);
            const four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            const four ef = __builtin_shufflevector(a, b, 2, 6, 3, 7), gh = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            *(four *)to = __builtin_shufflevector(ab, cd, 0, 1, 4, 5) * scales;
            *(four *)(to + y_stride) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7) * scales;
            *(four *)(to + 2 * y_stride) = __builtin_shufflevector(ef, gh, 0, 1, 4, 5) * scales;
            *(four *)(to + 3 * y_stride) = __builtin_shufflevector(ef, gh, 2, 3, 6, 7) * scales;
        }
    }
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = i < whole_rows ? whole_columns : 0; j < columns; j++) {
            y[j * y_stride + i] = x[i * x_stride + j] * scale;
        }
    }
}

/* The queries, scaled, with zeros in lanes that have none. */
static void attention_turn(const attention_block *b, size_t height)
{
    const native_attention *call = b->call;
    for (size_t i = 0; i < call->width * height && b->queries < height; i += LANES) {
        store(b->turned + i, splat(0));
    }
    attention_transpose(b->q, call->q_step, b->turned, height, b->queries, call->width, call->scale);
}

/* y[n] = the sum over s < steps of w[place(s, n)] x[s], COUNT vectors of VECS; both are constants after inlining. Either the
 * results (columns of the values: n follows) or the terms (keys of the scores: s follows) are listed. */
typedef struct attention_factor {
    const float *w;
    const uint16_t *results, *terms; /* one of them; NULL: 0, 1, 2, .. */
    size_t result_stride, term_stride;
} attention_factor;

INLINE void attention_product(const attention_factor *f, size_t first, const float *x, size_t steps, float *y,
                              const unsigned COUNT, const unsigned VECS)
{
    vec sums[ATTENTION_BLOCK][ATTENTION_VECS];
    const float *from[ATTENTION_BLOCK];
    UNROLL
    for (unsigned n = 0; n < COUNT; n++) {
        from[n] = f->w + (f->results != NULL ? f->results[first + n] : first + n) * f->result_stride;
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            sums[n][v] = splat(0);
        }
    }
    for (size_t s = 0; s < steps; s++, x += VECS * LANES) {
        const size_t at = (f->terms != NULL ? f->terms[s] : s) * f->term_stride;
        vec xs[ATTENTION_VECS];
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            xs[v] = load(x + v * LANES);
        }
        UNROLL
        for (unsigned n = 0; n < COUNT; n++) {
            const vec ws = splat(from[n][at]);
            UNROLL
            for (unsigned v = 0; v < VECS; v++) {
                sums[n][v] = sums[n][v] + xs[v] * ws;
            }
        }
    }
    UNROLL
    for (unsigned n = 0; n < COUNT; n++) {
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            store(y + (n * VECS + v) * LANES, sums[n][v]);
        }
    }
}

/* `count` results from `first` on, in even blocks. */
INLINE void attention_products(const attention_factor *f, size_t first, size_t count, const float *x, size_t steps,
                               float *y, const unsigned VECS)
{
    const size_t parts = (count + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK;
    for (size_t part = 0, n = 0; part < parts; part++) {
        const size_t some = (count - n) / (parts - part), at = first + n;
        float *to = y + n * VECS * LANES;
        switch (some) {
        case 1: attention_product(f, at, x, steps, to, 1, VECS); break;
        case 2: attention_product(f, at, x, steps, to, 2, VECS); break;
        case 3: attention_product(f, at, x, steps, to, 3, VECS); break;
        case 4: attention_product(f, at, x, steps, to, 4, VECS); break;
        case 5: attention_product(f, at, x, steps, to, 5, VECS); break;
        default: attention_product(f, at, x, steps, to, 6, VECS); break;
        }
        n += some;
    }
}

/* Bias and mask of key j for the block's queries from `first` on, in the lanes. */
INLINE vec attention_mask(const attention_block *b, vec scores, size_t j, size_t first)
{
    const native_attention *call = b->call;
    if (b->bias != NULL && call->bias_query == 0) {
        scores = scores + splat(b->bias[j]);
    } else if (b->bias != NULL) {
        vec bias = splat(0);
        for (size_t l = 0; l < LANES && first + l < b->queries; l++) {
            bias[l] = b->bias[(first + l) * call->bias_query + j];
        }
        scores = scores + bias;
    }
    if (b->chosen) {
        return scores;
    }
    if (b->keep != NULL && call->keep_query == 0) {
        scores = b->keep[j] != 0 ? scores : splat(call->fill);
    } else if (b->keep != NULL) {
        ivec keep = isplat(0);
        for (size_t l = 0; l < LANES && first + l < b->queries; l++) {
            keep[l] = -(b->keep[(first + l) * call->keep_query + j] != 0);
        }
        scores = choose(keep, scores, splat(call->fill));
    }
    return scores;
}

/* Masks the scores and finds each query's largest. */
INLINE void attention_most(const attention_block *b, vec *most, const unsigned VECS)
{
    const bool masked = b->bias != NULL || (b->keep != NULL && !b->chosen);
    UNROLL
    for (unsigned v = 0; v < VECS; v++) {
        most[v] = splat(-INFINITY);
    }
    for (size_t n = 0; n < b->count; n++) {
        float *at = b->scores + n * VECS * LANES;
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            vec s = load(at + v * LANES);
            if (masked) {
                s = attention_mask(b, s, b->keys[n], v * LANES);
                store(at + v * LANES, s);
            }
            most[v] = max_nan(most[v], s);
        }
    }
}

/* The exponentials, and their sums. Keys whose exponentials are 0 for all queries are left out from then on. */
INLINE void attention_exp(attention_block *b, const vec *most, vec *sums, const unsigned VECS)
{
    size_t kept = 0;
    UNROLL
    for (unsigned v = 0; v < VECS; v++) {
        sums[v] = splat(0);
    }
    for (size_t n = 0; n < b->count; n++) {
        const float *from = b->scores + n * VECS * LANES;
        float *to = b->scores + kept * VECS * LANES;
        vec x[ATTENTION_VECS];
        ivec below[ATTENTION_VECS], none = isplat(-1);
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            x[v] = load(from + v * LANES) - most[v];
            below[v] = x[v] < splat(EXP_LEAST);
            none &= below[v];
        }
        if (all_lanes(none)) {
            continue;
        }
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            const vec e = (vec)((ivec)vec_exp_negative(x[v]) & ~below[v]);
            store(to + v * LANES, e);
            sums[v] = sums[v] + e;
        }
        b->keys[kept++] = b->keys[n];
    }
    b->count = kept;
}

/* All keys; or, where padding is masked, those that are kept, if there are any. */
static void attention_list(attention_block *b, bool choose_kept)
{
    const native_attention *call = b->call;
    b->count = 0;
    b->chosen = choose_kept && b->keep != NULL && call->keep_query == 0;
    for (size_t j = 0; b->chosen && j < call->keys; j++) {
        b->keys[b->count] = (uint16_t)j;
        b->count += b->keep[j] != 0;
    }
    if (b->count == 0) {
        b->chosen = false;
        for (size_t j = 0; j < call->keys; j++) {
            b->keys[j] = (uint16_t)j;
        }
        b->count = call->keys;
    }
}

/* Scores of the listed keys, and each query's largest. */
INLINE void attention_score(attention_block *b, vec *most, const unsigned VECS)
{
    const native_attention *call = b->call;
    const attention_factor k = {.w = b->k, .results = b->keys, .result_stride = call->k_step, .term_stride = 1};
    attention_products(&k, 0, b->count, b->turned, call->width, b->scores, VECS);
    attention_most(b, most, VECS);
}

/* What is divided by the sum of the exponentials; zeros where the policy for queries without keys says so. */
INLINE vec attention_divide(const native_attention *call, vec y, vec most, vec sum)
{
    const vec shares = y / sum;
    switch (call->empty) {
    case NATIVE_EMPTY_NAN_IS_ZERO: return choose(sum == sum, shares, splat(0));
    case NATIVE_EMPTY_IS_ZERO: return choose(most == splat(-INFINITY), splat(0), shares);
    default: return shares;
    }
}

INLINE void attention_queries(attention_block *b, const unsigned VECS)
{
    const native_attention *call = b->call;
    const size_t height = VECS * LANES;
    vec most[ATTENTION_VECS], sums[ATTENTION_VECS];
    attention_turn(b, height);
    attention_list(b, true);
    attention_score(b, most, VECS);
    if (b->chosen) { /* right, if the exponentials of what is left out are 0 */
        ivec far = isplat(-1);
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            far &= splat(call->fill) - most[v] < splat(EXP_LEAST);
        }
        if (!all_lanes(far)) {
            attention_list(b, false);
            attention_score(b, most, VECS);
        }
    }
    attention_exp(b, most, sums, VECS);
    const attention_factor values = {.w = b->v, .terms = b->keys, .result_stride = 1, .term_stride = call->v_step};
    for (size_t c = 0, count; c < call->value_width; c += count) {
        float block[4 * ATTENTION_BLOCK * ATTENTION_VECS * LANES];
        const size_t whole = sizeof block / sizeof *block / height;
        count = call->value_width - c < whole ? call->value_width - c : whole;
        attention_products(&values, c, count, b->scores, b->count, block, VECS);
        for (size_t n = 0; n < count; n++) {
            UNROLL
            for (unsigned v = 0; v < VECS; v++) {
                float *at = block + n * height + v * LANES;
                store(at, attention_divide(call, load(at), most[v], sums[v]));
            }
        }
        attention_transpose(block, height, b->y + c, call->y_step, count, b->queries, 1);
    }
}

static void attention_one(attention_block *b)
{
    attention_queries(b, 1);
}

static void attention_two(attention_block *b)
{
    attention_queries(b, 2);
}

#if LANES >= 16
static void attention_four(attention_block *b)
{
    attention_queries(b, 4);
}
#endif

/* All queries of a head, in blocks of VECS vectors or fewer. `b` is of the first one. */
static void attention_many(attention_block b, size_t queries)
{
    const native_attention *call = b.call;
    float turned[ATTENTION_QUERIES], scores[ATTENTION_SCORES];
    uint16_t keys[NATIVE_ATTENTION_KEYS];
    const size_t larger = call->width > call->keys ? call->width : call->keys;
    b.turned = turned;
    b.scores = scores;
    b.keys = keys;
    while (queries > 0) {
        unsigned vecs = ATTENTION_VECS;
        while (vecs > 1 && (vecs * LANES * larger > ATTENTION_SCORES || (vecs / 2) * LANES >= queries)) {
            vecs /= 2;
        }
        b.queries = queries < vecs * LANES ? queries : vecs * LANES;
        switch (vecs) {
        case 1: attention_one(&b); break;
        case 2: attention_two(&b); break;
#if LANES >= 16
        default: attention_four(&b); break;
#endif
        }
        queries -= b.queries;
        b.q += b.queries * call->q_step;
        b.y += b.queries * call->y_step;
        b.bias = b.bias != NULL ? b.bias + b.queries * call->bias_query : NULL;
        b.keep = b.keep != NULL ? b.keep + b.queries * call->keep_query : NULL;
    }
}

/* The scores of one query, in order of the keys. */
static void attention_scores_of_one(const attention_block *b, float *scores)
{
    const native_attention *call = b->call;
    const size_t width = call->width;
    float q[NATIVE_ATTENTION_WIDTH];
    for (size_t c = 0; c < width; c++) {
        q[c] = b->q[c] * call->scale;
    }
    for (size_t j = 0; j < call->keys; j++) {
        const float *k = b->k + j * call->k_step;
        vec sum = splat(0);
        for (size_t c = 0; c < width; c += LANES) {
            sum = sum + load_filled(k + c, width - c, 0) * load_filled(q + c, width - c, 0);
        }
        float score = sum_everywhere(sum)[0];
        score = b->bias != NULL ? score + b->bias[j] : score;
        scores[j] = b->keep != NULL && b->keep[j] == 0 ? call->fill : score;
    }
}

static void attention_few(attention_block b, size_t queries)
{
    const native_attention *call = b.call;
    float scores[NATIVE_ATTENTION_KEYS];
    for (size_t i = 0; i < queries; i++) {
        attention_scores_of_one(&b, scores);
        const float most = softmax_most(scores, call->keys);
        softmax_exp(scores, scores, call->keys, most);
        const vec sum = splat(across_sum(softmax_add(splat(0), scores, call->keys)));
        for (size_t c = 0; c < call->value_width; c += LANES) {
            const size_t count = call->value_width - c;
            vec y = splat(0);
            for (size_t j = 0; j < call->keys; j++) {
                y = y + load_filled(b.v + j * call->v_step + c, count, 0) * splat(scores[j]);
            }
            store_some(b.y + c, attention_divide(call, y, splat(most), sum), count);
        }
        b.q += call->q_step;
        b.y += call->y_step;
        b.bias = b.bias != NULL ? b.bias + call->bias_query : NULL;
        b.keep = b.keep != NULL ? b.keep + call->keep_query : NULL;
    }
}

static void attention(const native_attention *call)
{
    const bool few = call->queries < LANES / 2;
    for (size_t r = 0; r < call->rows; r++) {
        for (size_t h = 0; h < call->heads; h++) {
            const attention_block b = {
                .call = call,
                .q = call->q + r * call->q_row + h * call->width,
                .k = call->k + r * call->k_row + h * call->width,
                .v = call->v + r * call->v_row + h * call->value_width,
                .bias = call->bias != NULL ? call->bias + r * call->bias_row + h * call->bias_head : NULL,
                .keep = call->keep != NULL ? call->keep + r * call->keep_row + h * call->keep_head : NULL,
                .y = call->y + r * call->y_row + h * call->value_width,
            };
            (few ? attention_few : attention_many)(b, call->queries);
        }
    }
}

#endif
