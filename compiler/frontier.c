#include "compiler/frontier.h"

#include <string.h>

#define NO_END ((uint64_t)1 << 62) /* room of an arc that no cut goes through */

/* Arc 2i is one of the network, arc 2i + 1 its way back. */
typedef struct arc {
    uint32_t to;
    uint32_t next; /* of the same origin; NONE: the last */
    uint64_t room;
} arc;

#define NONE UINT32_MAX

typedef struct flow {
    arc *arcs;
    size_t arc_count;
    uint32_t *first; /* by node: its arcs */
    uint32_t *at;    /* by node: the next one to try */
    uint32_t *level; /* by node: arcs from the source, NONE: not reached */
    uint32_t *queue; /* of nodes */
    uint32_t *way;   /* of arcs, from the source on */
    uint32_t node_count, source, sink;
} flow;

static uint32_t front(uint32_t vertex)
{
    return 2 * vertex;
}

static uint32_t back(uint32_t vertex)
{
    return 2 * vertex + 1;
}

static void add_arc(flow *f, uint32_t from, uint32_t to, uint64_t room)
{
    uint32_t id = (uint32_t)f->arc_count;
    f->arcs[id] = (arc){.to = to, .next = f->first[from], .room = room};
    f->arcs[id + 1] = (arc){.to = from, .next = f->first[to]};
    f->first[from] = id;
    f->first[to] = id + 1;
    f->arc_count += 2;
}

static mtl_status build(flow *f, const compiler_network *n, base_arena *arena, base_diag *diag)
{
    f->node_count = 2 * n->vertex_count + 2;
    f->source = f->node_count - 2;
    f->sink = f->node_count - 1;
    f->arcs = BASE_NEW_ARRAY(arena, arc, 2 * (n->arc_count + 3 * (size_t)n->vertex_count));
    f->first = BASE_NEW_ARRAY(arena, uint32_t, f->node_count);
    f->at = BASE_NEW_ARRAY(arena, uint32_t, f->node_count);
    f->level = BASE_NEW_ARRAY(arena, uint32_t, f->node_count);
    f->queue = BASE_NEW_ARRAY(arena, uint32_t, f->node_count);
    f->way = BASE_NEW_ARRAY(arena, uint32_t, f->node_count);
    BASE_TRY_MEMORY(f->arcs, diag);
    BASE_TRY_MEMORY(f->first, diag);
    BASE_TRY_MEMORY(f->at, diag);
    BASE_TRY_MEMORY(f->level, diag);
    BASE_TRY_MEMORY(f->queue, diag);
    BASE_TRY_MEMORY(f->way, diag);
    memset(f->first, 0xff, f->node_count * sizeof *f->first);
    for (uint32_t v = 0; v < n->vertex_count; v++) {
        add_arc(f, front(v), back(v), n->price[v] == COMPILER_FRONTIER_NEVER ? NO_END : n->price[v]);
        if (n->is_source[v]) {
            add_arc(f, f->source, front(v), NO_END);
        }
        if (n->is_sink[v]) {
            add_arc(f, back(v), f->sink, NO_END);
        }
    }
    for (size_t i = 0; i < n->arc_count; i++) {
        add_arc(f, back(n->arcs[i].from), front(n->arcs[i].to), NO_END);
    }
    return MTL_OK;
}

/* Levels by breadth-first search over arcs with room. False: the sink is not reached any more. */
static bool find_levels(flow *f)
{
    uint32_t begin = 0, end = 0;
    memset(f->level, 0xff, f->node_count * sizeof *f->level);
    f->level[f->source] = 0;
    f->queue[end++] = f->source;
    while (begin < end) {
        uint32_t node = f->queue[begin++];
        for (uint32_t a = f->first[node]; a != NONE; a = f->arcs[a].next) {
            if (f->arcs[a].room > 0 && f->level[f->arcs[a].to] == NONE) {
                f->level[f->arcs[a].to] = f->level[node] + 1;
                f->queue[end++] = f->arcs[a].to;
            }
        }
    }
    return f->level[f->sink] != NONE;
}

/* Sends what has room along f->way, of `length` arcs. */
static uint64_t push(flow *f, uint32_t length)
{
    uint64_t room = NO_END;
    for (uint32_t i = 0; i < length; i++) {
        room = f->arcs[f->way[i]].room < room ? f->arcs[f->way[i]].room : room;
    }
    for (uint32_t i = 0; i < length; i++) {
        f->arcs[f->way[i]].room -= room;
        f->arcs[f->way[i] ^ 1].room += room;
    }
    return room;
}

/* Fills all shortest ways: depth first, each arc is left for good once nothing goes through it. False: a way has no end. */
static bool fill_ways(flow *f)
{
    uint32_t node = f->source, length = 0;
    memcpy(f->at, f->first, f->node_count * sizeof *f->at);
    for (;;) {
        if (node == f->sink) {
            if (push(f, length) > NO_END / 4) { /* all prices together are less */
                return false;
            }
            node = f->source; /* simple, and ways are short */
            length = 0;
            continue;
        }
        uint32_t a = f->at[node];
        while (a != NONE && (f->arcs[a].room == 0 || f->level[f->arcs[a].to] != f->level[node] + 1)) {
            a = f->arcs[a].next;
        }
        f->at[node] = a;
        if (a != NONE) {
            f->way[length++] = a;
            node = f->arcs[a].to;
        } else if (length > 0) {
            node = f->arcs[f->way[--length] ^ 1].to;
            f->at[node] = f->arcs[f->at[node]].next;
        } else {
            return true;
        }
    }
}

/* Marks in f->level what reaches the sink over arcs with room. */
static void find_sink_side(flow *f)
{
    uint32_t begin = 0, end = 0;
    memset(f->level, 0xff, f->node_count * sizeof *f->level);
    f->level[f->sink] = 0;
    f->queue[end++] = f->sink;
    while (begin < end) {
        uint32_t node = f->queue[begin++];
        for (uint32_t a = f->first[node]; a != NONE; a = f->arcs[a].next) {
            if (f->arcs[a ^ 1].room > 0 && f->level[f->arcs[a].to] == NONE) {
                f->level[f->arcs[a].to] = 0;
                f->queue[end++] = f->arcs[a].to;
            }
        }
    }
}

mtl_status compiler_find_frontier(const compiler_network *network, base_arena *arena, base_diag *diag, bool *chosen)
{
    flow f = {0};
    BASE_TRY(build(&f, network, arena, diag));
    while (find_levels(&f)) {
        if (!fill_ways(&f)) {
            return base_fail(diag, MTL_INTERNAL, "no frontier: a way has no vertex with a price");
        }
    }
    find_sink_side(&f);
    for (uint32_t v = 0; v < network->vertex_count; v++) {
        chosen[v] = f.level[front(v)] == NONE && f.level[back(v)] != NONE;
    }
    return MTL_OK;
}
