/* Attention over short sequences. The scores of a block of queries stay in the first cache: products, masks, softmax and
 * the sum of the values follow each other there.
 *
 * Many queries: the lanes are queries, so that the softmax, along the keys, crosses no lanes. Queries are turned to
 * (width, queries) first, keys and values are read where they lie, an element broadcast to all lanes. Few queries (one, of
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
    float *turned; /* (width, VECS x LANES) */
    float *scores; /* (keys, VECS x LANES) */
} attention_block;

/* The queries, scaled, with zeros in lanes that have none. */
static void attention_turn(const attention_block *b, size_t height)
{
    const native_attention *call = b->call;
    for (size_t c = 0; c < call->width; c++) {
        float *to = b->turned + c * height;
        for (size_t i = 0; i < b->queries; i++) {
            to[i] = b->q[i * call->q_step + c] * call->scale;
        }
        for (size_t i = b->queries; i < height; i++) {
            to[i] = 0;
        }
    }
}

/* sums[n] += w[n * w_stride] x of COUNT scalars for each of `steps` vectors of x; COUNT and VECS are constants after inlining. */
INLINE void attention_product(const float *w, size_t w_step, size_t w_stride, const float *x, size_t steps, float *y,
                              size_t y_stride, const unsigned COUNT, const unsigned VECS)
{
    vec sums[ATTENTION_BLOCK][ATTENTION_VECS];
    UNROLL
    for (unsigned n = 0; n < COUNT; n++) {
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            sums[n][v] = splat(0);
        }
    }
    for (size_t s = 0; s < steps; s++, w += w_step, x += VECS * LANES) {
        vec xs[ATTENTION_VECS];
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            xs[v] = load(x + v * LANES);
        }
        UNROLL
        for (unsigned n = 0; n < COUNT; n++) {
            const vec ws = splat(w[n * w_stride]);
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
            store(y + n * y_stride + v * LANES, sums[n][v]);
        }
    }
}

/* y (count, VECS x LANES): y[n] = the sum over s < steps of w[s * w_step + n * w_stride] x[s]. In even blocks of n. */
INLINE void attention_products(const float *w, size_t w_step, size_t w_stride, const float *x, size_t steps, float *y,
                               size_t count, const unsigned VECS)
{
    const size_t height = VECS * LANES, parts = (count + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK;
    for (size_t part = 0, n = 0; part < parts; part++) {
        const size_t some = (count - n) / (parts - part);
        const float *from = w + n * w_stride;
        float *to = y + n * height;
        switch (some) {
        case 1: attention_product(from, w_step, w_stride, x, steps, to, height, 1, VECS); break;
        case 2: attention_product(from, w_step, w_stride, x, steps, to, height, 2, VECS); break;
        case 3: attention_product(from, w_step, w_stride, x, steps, to, height, 3, VECS); break;
        case 4: attention_product(from, w_step, w_stride, x, steps, to, height, 4, VECS); break;
        case 5: attention_product(from, w_step, w_stride, x, steps, to, height, 5, VECS); break;
        default: attention_product(from, w_step, w_stride, x, steps, to, height, 6, VECS); break;
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

/* Masks the scores and finds each query's largest; then the exponentials, and their sums. */
INLINE void attention_softmax(const attention_block *b, vec *most, vec *sums, const unsigned VECS)
{
    const size_t keys = b->call->keys;
    const bool masked = b->bias != NULL || b->keep != NULL;
    UNROLL
    for (unsigned v = 0; v < VECS; v++) {
        most[v] = splat(-INFINITY);
        sums[v] = splat(0);
    }
    for (size_t j = 0; j < keys; j++) {
        float *at = b->scores + j * VECS * LANES;
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            vec s = load(at + v * LANES);
            if (masked) {
                s = attention_mask(b, s, j, v * LANES);
                store(at + v * LANES, s);
            }
            most[v] = max_nan(most[v], s);
        }
    }
    for (size_t j = 0; j < keys; j++) {
        float *at = b->scores + j * VECS * LANES;
        UNROLL
        for (unsigned v = 0; v < VECS; v++) {
            const vec e = vec_exp(load(at + v * LANES) - most[v]);
            store(at + v * LANES, e);
            sums[v] = sums[v] + e;
        }
    }
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

INLINE void attention_queries(const attention_block *b, const unsigned VECS)
{
    const native_attention *call = b->call;
    const size_t height = VECS * LANES;
    vec most[ATTENTION_VECS], sums[ATTENTION_VECS];
    attention_turn(b, height);
    attention_products(b->k, 1, call->k_step, b->turned, call->width, b->scores, call->keys, VECS);
    attention_softmax(b, most, sums, VECS);
    for (size_t c = 0, count; c < call->value_width; c += count) {
        float block[4 * ATTENTION_BLOCK * ATTENTION_VECS * LANES];
        const size_t whole = sizeof block / sizeof *block / height;
        count = call->value_width - c < whole ? call->value_width - c : whole;
        attention_products(b->v + c, call->v_step, 1, b->scores, call->keys, block, count, VECS);
        for (size_t n = 0; n < count; n++) {
            UNROLL
            for (unsigned v = 0; v < VECS; v++) {
                float *at = block + n * height + v * LANES;
                store(at, attention_divide(call, load(at), most[v], sums[v]));
            }
        }
        for (size_t i = 0; i < b->queries; i++) {
            for (size_t n = 0; n < count; n++) {
                b->y[i * call->y_step + c + n] = block[n * height + i];
            }
        }
    }
}

static void attention_one(const attention_block *b)
{
    attention_queries(b, 1);
}

static void attention_two(const attention_block *b)
{
    attention_queries(b, 2);
}

#if LANES >= 16
static void attention_four(const attention_block *b)
{
    attention_queries(b, 4);
}
#endif

/* All queries of a head, in blocks of VECS vectors or fewer. `b` is of the first one. */
static void attention_many(attention_block b, size_t queries)
{
    const native_attention *call = b.call;
    float turned[ATTENTION_QUERIES], scores[ATTENTION_SCORES];
    const size_t larger = call->width > call->keys ? call->width : call->keys;
    b.turned = turned;
    b.scores = scores;
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
static void attention_scores(const attention_block *b, float *scores)
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
        attention_scores(&b, scores);
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
