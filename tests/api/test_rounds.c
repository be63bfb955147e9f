// Rounds: an actor that does the same again and again, by a message to itself, so that
// its turn hardly ever ends; and one that speaks to many nodes in one handler.

#include "api/world.h"
#include "sanitized.h"

HARK_MESSAGE(question, (i64, n))
HARK_MESSAGE(answer, (i64, n))
HARK_MESSAGE(next_round)
HARK_MESSAGE(finished, (i32, code))
HARK_MESSAGE(item, (i64, n))
HARK_MESSAGE(count_items)

enum { ROUNDS = 10000, FUTURES = 8192, ITEMS = 20 };

// More than a turn keeps in mind. A sanitizer has no address space for so many.
enum { NODES = IS_SANITIZED ? 20 : 70 };

typedef struct {
    int64_t items, misplaced;
} server;

HARK_ON(server, question) {
    hark_reply(ctx, answer, .n = msg->n + 1);
}
HARK_ON(server, item) {
    self->misplaced += msg->n != self->items++;
}
HARK_ON(server, count_items) {
    hark_reply(ctx, answer, .n = self->misplaced == 0 ? self->items : -1);
}
HARK_ACTOR(server, question, item, count_items)

// ---- what a handler has awaited ends with it ----

HARK_MAP(add_ten, answer)
{
    hark_result(ctx, answer, .n = msg->n + 10);
}

typedef struct {
    hark_ref server, owner;
    int32_t rounds_left;
} rounder;

static bool
await_some(hark_ctx *ctx, rounder *self)
{
    hark_future both[] = {hark_ask(ctx, self->server, question, .n = 1),
                          hark_ask(ctx, self->server, question, .n = 2)};
    hark_future mapped =
        hark_map(ctx, hark_ask(ctx, self->server, question, .n = 3), add_ten, NULL);
    const answer *a;

    if (hark_await(ctx, hark_all(ctx, both, 2), hark_all_done) == NULL) {
        return false;
    }
    a = hark_future_get(ctx, both[1], answer); // it lives as long as the handler
    if (a == NULL || a->n != 3) {
        return false;
    }
    a = hark_await(ctx, mapped, answer);
    return a != NULL && a->n == 14;
}

HARK_ON(rounder, next_round) {
    if (!await_some(ctx, self)) {
        hark_tell(ctx, self->owner, finished, .code = hark_error_of(ctx)->code);
    } else if (--self->rounds_left == 0) {
        hark_tell(ctx, self->owner, finished);
    } else {
        hark_tell(ctx, hark_self(ctx), next_round);
    }
}
HARK_ACTOR(rounder, next_round)

static void
what_handlers_have_awaited_is_let_go_of_when_they_return(void **state)
{
    struct world *w = world_open(REACH_LOCAL, &(hark_options){.future_limit = FUTURES});
    hark_ref whom = hark_spawn(w->here, server);
    hark_ref who = hark_spawn(w->here, rounder, .server = whom,
                              .owner = hark_self(w->here), .rounds_left = ROUNDS);

    (void)state;
    hark_tell(w->here, who, next_round);
    hark_message *end = hark_receive(w->here, HARK_SECONDS(60));
    assert_non_null(end);
    const finished *f = (const finished *)hark_message_as(end, &finished_type);
    assert_non_null(f);
    assert_int_equal(f->code, HARK_OK);
    hark_message_free(w->here, end);
    world_close(w);
}

// ---- one handler, many nodes ----

typedef struct {
    const hark_ref *servers; // NODES of them
    hark_ref owner;
} sower;

HARK_ON(sower, next_round) {
    for (int64_t n = 0; n < ITEMS; n++) {
        for (int i = 0; i < NODES; i++) {
            hark_tell(ctx, self->servers[i], item, .n = n);
        }
    }
    hark_tell(ctx, self->owner, finished);
}
HARK_ACTOR(sower, next_round)

static hark_system *
open_node(hark_hub *hub, hark_ctx *from, int number, hark_ref *out_server)
{
    hark_system *system = hark_start(&(hark_options){.workers = 1, .hub = hub});
    hark_ctx *there = hark_attach(system);
    char endpoint[64], name[80];

    assert_non_null(there);
    snprintf(endpoint, sizeof endpoint, "mem://node-%d", number);
    snprintf(name, sizeof name, "%s/server", endpoint);
    hark_spawn_with(there, &(hark_spawn_options){.name = "server"}, server);
    assert_int_equal(hark_listen(there, endpoint, NULL, 0), HARK_OK);
    *out_server = hark_lookup(from, name);
    assert_false(hark_ref_is_null(*out_server));
    return system;
}

static void
a_handler_that_tells_many_nodes_by_turns_reaches_each_in_order(void **state)
{
    hark_hub *hub = hark_hub_new();
    hark_system *here = hark_start(&(hark_options){.workers = 1, .hub = hub});
    hark_ctx *me = hark_attach(here);
    hark_system *systems[NODES];
    hark_ref servers[NODES];

    (void)state;
    assert_non_null(me);
    for (int i = 0; i < NODES; i++) {
        systems[i] = open_node(hub, me, i, &servers[i]);
    }
    hark_ref who = hark_spawn(me, sower, .servers = servers, .owner = hark_self(me));
    hark_tell(me, who, next_round);
    hark_message *end = hark_receive(me, HARK_SECONDS(60));
    assert_non_null(end);
    hark_message_free(me, end);
    for (int i = 0; i < NODES; i++) {
        const answer *a = NULL;

        do { // another sender's question may pass the items
            a = hark_await(me, hark_ask(me, servers[i], count_items), answer);
            assert_non_null(a);
        } while (a->n >= 0 && a->n < ITEMS);
        assert_int_equal(a->n, ITEMS);
    }
    for (int i = 0; i < NODES; i++) {
        assert_int_equal(hark_stop(systems[i], HARK_SECONDS(10)), HARK_OK);
    }
    assert_int_equal(hark_stop(here, HARK_SECONDS(10)), HARK_OK);
    hark_hub_free(hub);
}

#define TEST(name) cmocka_unit_test(name)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_handlers_have_awaited_is_let_go_of_when_they_return),
        TEST(a_handler_that_tells_many_nodes_by_turns_reaches_each_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
