// Random graphs of handlers that wait, held against a plain oracle: each circle is found
// while nothing else can end it, and none is found that is not there.
//
// An actor has one handler that waits (its base), in its mode, for one or more edges. An
// edge is an ask to another actor, or by way of others that interleave and pass it on. It
// is blocked if the last one lets it not in before its own base ends. All bases begin at
// one gate, so that each finds the others waiting; those without edges wait for another
// gate, which opens when no circle is left.

#include "api/world.h"

enum { MOST = 8, EDGES = 3, HOPS = 3, ROUNDS = 400, PATIENCE_MS = 20 * 1000 };

HARK_MESSAGE(hold)
HARK_MESSAGE(let_go)
HARK_MESSAGE(tally)
HARK_MESSAGE(number, (i64, n))
HARK_MESSAGE(hop, (list, ref, rest))
HARK_MESSAGE(feed)
HARK_MESSAGE(base, (i32, mode), (i32, kind), (ref, begin), (ref, end), (ref, ready),
             (list, i32, lengths), (list, ref, way))
HARK_MESSAGE(outcome, (i32, code), (str, text))

// By what a base waits for its edges.
enum kind { ONE, ALL, ANY, RACE, MAP, SCOPE, STREAM, KINDS };

// ---- the actors ----

typedef struct {
    hark_promise held[MOST];
    size_t count;
} gate;
HARK_ON(gate, hold) {
    self->held[self->count++] = hark_defer(ctx);
}
HARK_ON(gate, let_go) {
    while (self->count > 0) {
        hark_fulfil(ctx, self->held[--self->count], number, .n = 1);
    }
}
HARK_ON(gate, tally) {
    hark_reply(ctx, number, .n = (int64_t)self->count);
}
HARK_ACTOR(gate, hold, let_go, tally)

typedef struct {
    int64_t nothing;
} vertex;

static void
report(hark_ctx *ctx, bool well)
{
    const hark_error *error = hark_error_of(ctx);

    if (well) {
        hark_reply(ctx, outcome, .code = 0);
    } else {
        hark_reply(ctx, outcome, .code = error->code, .text = hark_str_of(error->text));
    }
}

static hark_future
ask_along(hark_ctx *ctx, const base *msg, size_t edge)
{
    size_t at = 0;

    for (size_t i = 0; i < edge; i++) {
        at += (size_t)msg->lengths.items[i];
    }
    return hark_ask(
        ctx, msg->way.items[at], hop,
        .rest = {msg->way.items + at + 1, (size_t)msg->lengths.items[edge] - 1});
}

HARK_MAP(go_on, number)
{
    hark_result_future(ctx, ask_along(ctx, arg, 0));
}

static bool
wait_for_scope(hark_ctx *ctx, const base *msg)
{
    hark_scope scope = hark_scope_open(ctx, NULL);

    for (size_t i = 0; i < msg->lengths.count; i++) {
        hark_scope_add(ctx, scope, ask_along(ctx, msg, i));
    }
    return hark_scope_join(ctx, scope) == HARK_OK;
}

static bool
wait_for_item(hark_ctx *ctx, const base *msg)
{
    hark_stream s = hark_stream_open(ctx, msg->way.items[0], feed);

    return hark_stream_await(ctx, s, number) != NULL;
}

static bool
wait_for_several(hark_ctx *ctx, const base *msg)
{
    hark_future f[EDGES];
    size_t count = msg->lengths.count;

    for (size_t i = 0; i < count; i++) {
        f[i] = ask_along(ctx, msg, i);
    }
    switch (msg->kind) {
    case ALL:
        return hark_await(ctx, hark_all(ctx, f, count), hark_all_done) != NULL;
    case ANY:
        return hark_await(ctx, hark_any(ctx, f, count), number) != NULL;
    default:
        return hark_await(ctx, hark_race(ctx, f, count), number) != NULL;
    }
}

static bool
wait_for_edges(hark_ctx *ctx, const base *msg)
{
    hark_future f;

    if (msg->lengths.count == 0) {
        return hark_await(ctx, hark_ask(ctx, msg->end, hold), number) != NULL;
    }
    switch (msg->kind) {
    case ONE:
        return hark_await(ctx, ask_along(ctx, msg, 0), number) != NULL;
    case MAP:
        f = hark_ask(ctx, msg->ready, tally);
        f = hark_map(ctx, f, go_on, (void *)(uintptr_t)msg);
        return hark_await(ctx, f, number) != NULL;
    case SCOPE:
        return wait_for_scope(ctx, msg);
    case STREAM:
        return wait_for_item(ctx, msg);
    default:
        return wait_for_several(ctx, msg);
    }
}

HARK_ON(vertex, base) {
    const number *n = hark_await(ctx, hark_ask(ctx, msg->begin, hold), number);

    if (n == NULL) { // the round is over: nobody can go on who has not yet begun
        assert_int_equal(hark_error_of(ctx)->code, HARK_ECANCELLED);
        return;
    }
    assert_int_equal(hark_wait_mode(ctx, (hark_wait)msg->mode), HARK_OK);
    report(ctx, wait_for_edges(ctx, msg));
}
HARK_ON(vertex, hop) {
    if (msg->rest.count == 0) {
        hark_reply(ctx, number, .n = 1);
        return;
    }
    assert_int_equal(hark_wait_mode(ctx, HARK_WAIT_INTERLEAVE), HARK_OK);
    hark_future f = hark_ask(ctx, msg->rest.items[0], hop,
                             .rest = {msg->rest.items + 1, msg->rest.count - 1});
    if (hark_await(ctx, f, number) != NULL) {
        hark_reply(ctx, number, .n = 1);
    } else {
        hark_refuse(ctx, hark_error_of(ctx)->code, "%s", hark_error_of(ctx)->text);
    }
}
HARK_ON(vertex, feed) {
    hark_sink out = hark_stream_begin(ctx);

    (void)hark_stream_write(ctx, out, number, .n = 1);
    hark_stream_end(ctx, out);
}
HARK_ACTOR(vertex, base, hop, feed)

// ---- a graph, and what is true of it ----

struct graph {
    size_t size;
    struct {
        hark_wait mode;
        enum kind kind;
        size_t edges;
        size_t lengths[EDGES];
        size_t ways[EDGES][HOPS]; // of vertices
        bool has_ended;
    } at[MOST];
};

static uint32_t
draw(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % below;
}

static void
draw_edge(struct graph *g, size_t from, size_t edge, uint32_t *seed)
{
    size_t length = 0;

    for (;;) {
        size_t to = draw(seed, (uint32_t)g->size);
        bool passes_on = g->at[to].mode == HARK_WAIT_INTERLEAVE
                         && g->at[from].kind != STREAM && length + 1 < HOPS;

        g->at[from].ways[edge][length++] = to;
        if (!passes_on) {
            break;
        }
    }
    g->at[from].lengths[edge] = length;
}

static void
draw_graph(struct graph *g, uint32_t *seed)
{
    static const hark_wait modes[] = {HARK_WAIT_EXCLUSIVE, HARK_WAIT_EXCLUSIVE,
                                      HARK_WAIT_INTERLEAVE, HARK_WAIT_CHAIN};

    *g = (struct graph){.size = 2 + draw(seed, MOST - 1)};
    for (size_t i = 0; i < g->size; i++) {
        g->at[i].mode = modes[draw(seed, 4)];
        g->at[i].kind = (enum kind)draw(seed, KINDS);
    }
    for (size_t i = 0; i < g->size; i++) {
        enum kind kind = g->at[i].kind;
        bool has_one = kind == ONE || kind == MAP || kind == STREAM;

        if (draw(seed, 5) == 0) {
            continue; // it waits for the gate
        }
        g->at[i].edges = has_one ? 1 : 1 + draw(seed, EDGES);
        for (size_t e = 0; e < g->at[i].edges; e++) {
            draw_edge(g, i, e, seed);
        }
    }
}

// The base that blocks an edge; SIZE_MAX: none does.
static size_t
blocked_by(const struct graph *g, size_t from, size_t edge)
{
    size_t last = g->at[from].ways[edge][g->at[from].lengths[edge] - 1];
    bool lets_in = g->at[last].mode == HARK_WAIT_INTERLEAVE
                   || (g->at[last].mode == HARK_WAIT_CHAIN && last == from);

    return lets_in || g->at[last].has_ended ? SIZE_MAX : last;
}

static bool
needs_one(const struct graph *g, size_t i)
{
    return g->at[i].kind == ANY || g->at[i].kind == RACE;
}

// Those that can never go on by themselves: the greatest set in which each is blocked by
// others of it.
static void
find_dead(const struct graph *g, bool *dead)
{
    bool changed = true;

    for (size_t i = 0; i < g->size; i++) {
        dead[i] = !g->at[i].has_ended && g->at[i].edges > 0;
    }
    while (changed) {
        changed = false;
        for (size_t i = 0; i < g->size; i++) {
            size_t count = 0;

            for (size_t e = 0; e < g->at[i].edges && dead[i]; e++) {
                size_t by = blocked_by(g, i, e);
                count += by != SIZE_MAX && dead[by];
            }
            if (dead[i] && (needs_one(g, i) ? count < g->at[i].edges : count == 0)) {
                dead[i] = false;
                changed = true;
            }
        }
    }
}

// Does the way from i, along waits that need all of theirs, lead to `to`?
static bool
leads_to(const struct graph *g, size_t i, size_t to, bool *seen)
{
    if (i == to) {
        return true;
    }
    if (i == SIZE_MAX || seen[i] || needs_one(g, i)) {
        return false;
    }
    seen[i] = true;
    for (size_t e = 0; e < g->at[i].edges; e++) {
        if (leads_to(g, blocked_by(g, i, e), to, seen)) {
            return true;
        }
    }
    return false;
}

// Is there a circle that is promised to be found: with one choice at most?
static bool
has_circle(const struct graph *g)
{
    for (size_t i = 0; i < g->size; i++) {
        size_t count = 0;

        for (size_t e = 0; e < g->at[i].edges && !g->at[i].has_ended; e++) {
            bool seen[MOST] = {false};

            count += leads_to(g, blocked_by(g, i, e), i, seen);
        }
        if (needs_one(g, i) ? count > 0 && count == g->at[i].edges : count > 0) {
            return true;
        }
    }
    return false;
}

// ---- a round ----

static hark_ref gate_of[3]; // begin, end, and one that answers
static hark_ref all[MOST];
static struct world *w;

static void
until_held(hark_ref whom, int64_t count)
{
    const number *n;

    do {
        hark_future f = hark_ask(w->here, whom, tally);
        n = hark_await(w->here, f, number);
        assert_non_null(n);
    } while (n->n < count);
}

static hark_future
begin(const struct graph *g, size_t i)
{
    int32_t lengths[EDGES];
    hark_ref way[EDGES * HOPS];
    size_t count = 0;

    for (size_t e = 0; e < g->at[i].edges; e++) {
        lengths[e] = (int32_t)g->at[i].lengths[e];
        for (size_t h = 0; h < g->at[i].lengths[e]; h++) {
            way[count++] = all[g->at[i].ways[e][h]];
        }
    }
    return hark_ask(w->here, all[i], base, .mode = g->at[i].mode,
                    .kind = (int32_t)g->at[i].kind, .begin = gate_of[0],
                    .end = gate_of[1], .ready = gate_of[2],
                    .lengths = {lengths, g->at[i].edges}, .way = {way, count});
}

static void
show(const struct graph *g)
{
    for (size_t i = 0; i < g->size; i++) {
        print_message("%zu: mode %d kind %d%s:", i, (int)g->at[i].mode,
                      (int)g->at[i].kind, g->at[i].has_ended ? " (has ended)" : "");
        for (size_t e = 0; e < g->at[i].edges; e++) {
            print_message(" ");
            for (size_t h = 0; h < g->at[i].lengths[e]; h++) {
                print_message("%s%zu", h > 0 ? ">" : "", g->at[i].ways[e][h]);
            }
        }
        print_message("\n");
    }
}

// Takes what has ended. A circle that was told must be one of the graph as it was drawn.
static void
collect(struct graph *g, hark_future *f, const bool *dead, int *told)
{
    for (size_t i = 0; i < g->size; i++) {
        if (g->at[i].has_ended || !hark_future_done(w->here, f[i])) {
            continue;
        }
        const outcome *o = hark_future_get(w->here, f[i], outcome);
        if (o == NULL || (o->code != 0 && (o->code != HARK_EDEADLK || !dead[i]))) {
            show(g);
            fail_msg("%zu: %s", i, o != NULL ? o->text.ptr : world_error(w));
        }
        *told += o->code == HARK_EDEADLK;
        g->at[i].has_ended = true;
        hark_future_drop(w->here, f[i]);
    }
}

static size_t
left_of(const struct graph *g)
{
    size_t left = 0;

    for (size_t i = 0; i < g->size; i++) {
        left += !g->at[i].has_ended;
    }
    return left;
}

// Collects until no circle is left (or, with all, nothing that may go on).
static void
collect_until(struct graph *g, hark_future *f, const bool *dead, bool is_open,
              int *told)
{
    int64_t until_ns = hark_now_ns(w->here) + (int64_t)PATIENCE_MS * 1000 * 1000;

    for (;;) {
        bool stuck[MOST];
        size_t free_ones = 0;

        collect(g, f, dead, told);
        find_dead(g, stuck);
        for (size_t i = 0; i < g->size; i++) {
            free_ones += !g->at[i].has_ended && !stuck[i];
        }
        if (!has_circle(g) && (!is_open || free_ones == 0)) {
            return;
        }
        if (hark_now_ns(w->here) > until_ns) {
            static char text[1 << 15];

            show(g);
            (void)hark_dump(w->here, text, sizeof text);
            print_message("%s", text);
            fail_msg("a circle was not found");
        }
        assert_non_null(hark_await(w->here, hark_delay(w->here, 1), hark_unit));
    }
}

static void
run_graph(struct graph *g, int *told, int *circles, int *unseen)
{
    hark_future f[MOST];
    bool dead[MOST];

    find_dead(g, dead);
    *circles += has_circle(g);
    for (size_t i = 0; i < g->size; i++) {
        f[i] = begin(g, i);
    }
    until_held(gate_of[0], (int64_t)g->size);
    hark_tell(w->here, gate_of[0], let_go);
    collect_until(g, f, dead, false, told);
    size_t leaves = 0;
    for (size_t i = 0; i < g->size; i++) {
        leaves += g->at[i].edges == 0;
    }
    until_held(gate_of[1], (int64_t)leaves);
    hark_tell(w->here, gate_of[1], let_go);
    collect_until(g, f, dead, true, told);
    *unseen += (int)left_of(g);
    for (size_t i = 0; i < g->size; i++) { // choices in a circle with other choices
        if (!g->at[i].has_ended) {
            hark_future_drop(w->here, f[i]);
        }
    }
}

static void
check(enum reach reach)
{
    uint32_t seed = 11;
    int told = 0, circles = 0, unseen = 0;

    w = world_open(reach, NULL);
    for (int i = 0; i < 3; i++) {
        gate_of[i] = hark_spawn(w->here, gate);
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct graph g;

        draw_graph(&g, &seed);
        for (size_t i = 0; i < g.size; i++) {
            char name[64];

            snprintf(name, sizeof name, "vertex%d.%zu", round, i);
            all[i] = i % 2 == 0 ? hark_spawn(w->here, vertex)
                                : world_reach(w, name, hark_spawn(w->there, vertex));
        }
        run_graph(&g, &told, &circles, &unseen);
    }
    print_message("%d graphs, %d with circles, %d told, %d handlers left to clocks\n",
                  ROUNDS, circles, told, unseen);
    assert_in_range(circles, ROUNDS / 10, ROUNDS - ROUNDS / 10);
    world_close(w);
}

static void
every_circle_on_one_node_is_found_and_no_other(void **state)
{
    (void)state;
    check(REACH_LOCAL);
}

static void
every_circle_over_memory_is_found_and_no_other(void **state)
{
    (void)state;
    check(REACH_MEMORY);
}

static void
every_circle_over_tcp_is_found_and_no_other(void **state)
{
    (void)state;
    check(REACH_TCP);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_circle_on_one_node_is_found_and_no_other),
        cmocka_unit_test(every_circle_over_memory_is_found_and_no_other),
        cmocka_unit_test(every_circle_over_tcp_is_found_and_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
