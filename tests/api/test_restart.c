// A node that restarts at its endpoint: whoever looks it up meanwhile finds the new one,
// and refs of the old one say that it is gone.

#include "api/world.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

static enum reach reach;

HARK_MESSAGE(get_balance)
HARK_MESSAGE(balance, (i64, amount))

typedef struct {
    int64_t amount;
} account;

HARK_ON(account, get_balance) {
    hark_reply(ctx, balance, .amount = self->amount);
}
HARK_ACTOR(account, get_balance)

// ---- a node that comes and goes ----

struct server {
    hark_system *system;
    char endpoint[256]; // empty: it has not listened yet
};

// Another incarnation, at the endpoint of the one before; its account has that amount.
static void
server_start(struct server *server, hark_hub *hub, int64_t amount)
{
    server->system =
        hark_start(&(hark_options){.hub = hub, .name = "bank", .workers = 1});
    assert_non_null(server->system);
    hark_ctx *me = hark_attach(server->system);
    assert_non_null(me);
    const char *wish =
        server->endpoint[0] != '\0' ? server->endpoint : world_wish(reach, "bank");
    assert_false(hark_ref_is_null(hark_spawn_with(
        me, &(hark_spawn_options){.name = "account"}, account, .amount = amount)));
    while (hark_listen(me, wish, server->endpoint, sizeof server->endpoint)
           != HARK_OK) { // the one before may have it for some time yet
        assert_int_equal(hark_error_of(me)->code, HARK_EEXIST);
        sched_yield();
    }
    hark_detach(me);
}

static void
server_stop(struct server *server)
{
    assert_int_equal(hark_stop(server->system, HARK_SECONDS(30)), HARK_OK);
}

struct client {
    hark_hub *hub;
    hark_system *system;
    hark_ctx *me;
    struct server server;
    char name[300];
    char error[1024];
};

static int
setup(void **state)
{
    static struct client client;

    client = (struct client){.hub = hark_hub_new()};
    assert_non_null(client.hub);
    client.system = hark_start(&(hark_options){.hub = client.hub,
                                               .name = "client",
                                               .workers = 1,
                                               .connect_ms = HARK_SECONDS(55),
                                               .ask_timeout_ms = HARK_SECONDS(55)});
    client.me = hark_attach(client.system);
    assert_non_null(client.me);
    server_start(&client.server, client.hub, 0);
    snprintf(client.name, sizeof client.name, "%s/account", client.server.endpoint);
    *state = &client;
    return 0;
}

static int
teardown(void **state)
{
    struct client *client = *state;

    server_stop(&client->server);
    assert_int_equal(hark_stop(client->system, HARK_SECONDS(30)), HARK_OK);
    hark_hub_free(client->hub);
    return 0;
}

static const char *
error_of(struct client *client)
{
    hark_error_print(client->me, hark_error_of(client->me), client->error,
                     sizeof client->error);
    return client->error;
}

// ---- lookups ----

enum { RESTARTS = 12 };

struct restarter {
    struct client *client;
    _Atomic(int) seen;     // lookups that found somebody; the other thread adds
    _Atomic(bool) is_over; // that thread has seen one that did not
    _Atomic(bool) is_done;
};

// Each incarnation lives until somebody has found it.
static void *
restart(void *arg)
{
    struct restarter *restarter = arg;
    struct client *client = restarter->client;

    for (int64_t i = 1; i <= RESTARTS && !atomic_load(&restarter->is_over); i++) {
        int seen = atomic_load(&restarter->seen);

        while (atomic_load(&restarter->seen) == seen
               && !atomic_load(&restarter->is_over)) {
            sched_yield();
        }
        server_stop(&client->server);
        server_start(&client->server, client->hub, i);
    }
    atomic_store(&restarter->is_done, true);
    return NULL;
}

// In memory nobody can be waited for who does not listen yet.
static bool
is_excused(struct client *client)
{
    return reach == REACH_MEMORY
           && strstr(hark_error_of(client->me)->text, "nobody listens there") != NULL;
}

static bool
find(struct client *client)
{
    return !hark_ref_is_null(hark_lookup(client->me, client->name));
}

static bool
reach_it(struct client *client)
{
    return hark_connect(client->me, client->server.endpoint) == HARK_OK;
}

// Tries again and again, while the node restarts: no try may fail.
static void
try_meanwhile(struct client *client, bool (*try_once)(struct client *))
{
    struct restarter restarter = {.client = client};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, restart, &restarter), 0);
    while (!atomic_load(&restarter.is_done)) {
        if (try_once(client)) {
            atomic_fetch_add(&restarter.seen, 1);
        } else if (!is_excused(client)) {
            atomic_store(&restarter.is_over, true);
            break;
        }
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    if (atomic_load(&restarter.is_over)) {
        fail_msg("%s", error_of(client));
    }
}

static void
lookups_succeed_while_a_node_restarts(void **state)
{
    struct client *client = *state;

    try_meanwhile(client, find);
    hark_ref found = hark_lookup(client->me, client->name);
    const balance *b =
        hark_await(client->me, hark_ask(client->me, found, get_balance), balance);
    if (b == NULL) {
        fail_msg("ask: %s", error_of(client));
    }
    assert_int_equal(b->amount, RESTARTS);
}

static void
connects_succeed_while_a_node_restarts(void **state)
{
    try_meanwhile(*state, reach_it);
}

// ---- refs of the old one ----

static void
ask_of_the_old_node_says_that_another_one_is_there(void **state)
{
    struct client *client = *state;
    hark_ref old = hark_lookup(client->me, client->name);

    assert_false(hark_ref_is_null(old));
    server_stop(&client->server);
    server_start(&client->server, client->hub, 1);
    hark_ref new = hark_lookup(client->me, client->name);
    if (hark_ref_is_null(new)) {
        fail_msg("lookup: %s", error_of(client));
    }
    assert_false(hark_ref_equal(old, new));
    assert_false(hark_is_alive(client->me, old));
    assert_null(
        hark_await(client->me, hark_ask(client->me, old, get_balance), balance));
    const hark_error *error = hark_error_of(client->me);
    assert_int_equal(error->code, HARK_ENONODE);
    assert_int_equal(error->stage, HARK_STAGE_NOT_SENT);
    assert_non_null(strstr(error->text, "node bank is down: another one is at "));
    assert_non_null(strstr(error->text, "look the actor up again"));
    assert_non_null(strstr(error_of(client), "ask get_balance to account<"));
    assert_int_equal(hark_tell(client->me, old, get_balance), HARK_ENONODE);
    const balance *b =
        hark_await(client->me, hark_ask(client->me, new, get_balance), balance);
    if (b == NULL) {
        fail_msg("ask: %s", error_of(client));
    }
    assert_int_equal(b->amount, 1);
}

static int
run(enum reach way, const char *name)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(lookups_succeed_while_a_node_restarts),
        TEST(connects_succeed_while_a_node_restarts),
        TEST(ask_of_the_old_node_says_that_another_one_is_there),
    };

    reach = way;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int
main(void)
{
    int failed = run(REACH_MEMORY, "restart/memory");

    failed += run(REACH_TCP, "restart/tcp");
    failed += run(REACH_IPC, "restart/ipc");
    return failed;
}
