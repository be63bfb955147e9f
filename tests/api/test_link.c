// Links between nodes: how they open, what they refuse, how they end.

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "api/world.h"

HARK_MESSAGE(hello_you, (str, text))
HARK_MESSAGE(hello_back, (str, text))
HARK_MESSAGE(no_answer)
HARK_MESSAGE(give_ref)
HARK_MESSAGE(here_is, (ref, whom))
HARK_MESSAGE(bulk, (bytes, data))
HARK_MESSAGE(count_bulk)
HARK_MESSAGE(counted, (u64, n))
HARK_MESSAGE(linger)

typedef struct {
    hark_ref friend;
    uint64_t bulk;
    hark_promise open;
} host;

HARK_ON(host, hello_you) {
    hark_reply(ctx, hello_back, .text = msg->text);
}
HARK_ON(host, no_answer) {
    self->open = hark_defer(ctx);
}
HARK_ON(host, give_ref) {
    hark_reply(ctx, here_is, .whom = self->friend);
}
HARK_ON(host, bulk) {
    self->bulk += msg->data.len;
}
HARK_ON(host, count_bulk) {
    hark_reply(ctx, counted, .n = self->bulk);
}
HARK_ACTOR(host, hello_you, no_answer, give_ref, bulk, count_bulk)

// Counts what it gets, which must come in order.
HARK_MESSAGE(numbered, (u64, n))
HARK_MESSAGE(how_many)
HARK_MESSAGE(so_many, (u64, n), (u64, late))

typedef struct {
    uint64_t count, next, late;
} counter;

HARK_ON(counter, numbered) {
    self->count++;
    self->late += msg->n < self->next;
    self->next = msg->n + 1;
}
HARK_ON(counter, how_many) {
    hark_reply(ctx, so_many, .n = self->count, .late = self->late);
}
HARK_ACTOR(counter, numbered, how_many)

// Tells one actor, or two by turns, so many messages in one turn of its own.
HARK_MESSAGE(burst, (ref, first), (ref, second), (u64, count))

typedef struct {
    char unused;
} burster;

HARK_ON(burster, burst) {
    for (uint64_t i = 0; i < msg->count; i++) {
        hark_ref to =
            i / 3 % 2 == 0 || hark_ref_is_null(msg->second) ? msg->first : msg->second;

        (void)hark_tell(ctx, to, numbered, .n = i);
    }
}
HARK_ACTOR(burster, burst)

// Two actors of one system: the first stays in a handler until the second has ended, so
// until the system stops.
static _Atomic(bool) witness_has_ended;

typedef struct {
    char unused;
} lingerer;

HARK_ON(lingerer, linger) {
    while (!atomic_load(&witness_has_ended)) {
        sched_yield();
    }
}
HARK_ON(lingerer, hello_you) {
    hark_reply(ctx, hello_back, .text = msg->text);
}
HARK_ACTOR(lingerer, linger, hello_you)

typedef struct {
    char unused;
} witness;

HARK_ON(witness, linger) {
}
HARK_HOOK(witness, stop) {
    atomic_store(&witness_has_ended, true);
}
HARK_ACTOR_WITH(witness, (stop), linger)

static enum reach reach;

static int
setup(void **state)
{
    *state = world_open(reach, NULL);
    return 0;
}

// For what takes as long as a limit.
static int
setup_impatient(void **state)
{
    *state = world_open(reach, &(hark_options){.connect_ms = 300, .heartbeat_ms = 800});
    return 0;
}

// For what takes as long as the link's silence; it is looked up without hurry.
static int
setup_quiet(void **state)
{
    *state = world_open(reach, &(hark_options){.heartbeat_ms = 800});
    return 0;
}

static void
malformed_endpoints_are_named_in_the_error(void **state)
{
    static const char *const bad[] = {
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://:80",
        "tcp://h:65536",
        "tcp://127.0.0.1:http",
        "tcp://127.0.0.1:1x",
        "http://h:80",
        "127.0.0.1:7000",
        "",
        "ipc://",
        "mem://",
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(hark_listen(w->here, bad[i], NULL, 0), HARK_EENDPOINT);
        world_assert_error(w, HARK_EENDPOINT, bad[i]);
        hark_err err = hark_connect(w->here, bad[i]);
        assert_true(err == HARK_EENDPOINT || err == HARK_ENONODE);
    }
    assert_int_equal(hark_listen(w->here, NULL, NULL, 0), HARK_EINVAL);
    assert_int_equal(hark_connect(w->here, NULL), HARK_EINVAL);
}

static void
endpoint_in_use_is_refused(void **state)
{
    struct world *w = *state;

    assert_int_equal(hark_listen(w->here, w->endpoint, NULL, 0), HARK_EEXIST);
    world_assert_error(w, HARK_EEXIST, w->endpoint);
}

static void
names_without_an_actor_are_refused(void **state)
{
    struct world *w = *state;
    char name[300];

    snprintf(name, sizeof name, "%s/", w->endpoint);
    assert_true(hark_ref_is_null(hark_lookup(w->here, name)));
    world_assert_error(w, HARK_EENDPOINT, "names no actor");
    assert_true(hark_ref_is_null(hark_lookup(w->here, "tcp://nowhere")));
    world_assert_error(w, HARK_EENDPOINT, "tcp://nowhere");
}

static void
connecting_to_nobody_ends_in_time_and_names_the_endpoint(void **state)
{
    struct world *w = *state;
    const char *nobody =
        reach == REACH_TCP ? "tcp://127.0.0.1:1" : world_wish(reach, "nobody");

    assert_int_equal(hark_connect(w->here, nobody), HARK_ENONODE);
    world_assert_error(w, HARK_ENONODE, nobody);
}

static void
connect_opens_one_link_and_finds_it_again(void **state)
{
    struct world *w = *state;
    hark_stats stats;

    assert_int_equal(hark_connect(w->here, w->endpoint), HARK_OK);
    assert_int_equal(hark_connect(w->here, w->endpoint), HARK_OK);
    hark_stats_read(w->here_system, &stats);
    assert_int_equal(stats.links, 1);
}

static void
node_does_not_link_to_itself(void **state)
{
    struct world *w = *state;

    assert_int_equal(hark_connect(w->there, w->endpoint), HARK_EPROTO);
    assert_non_null(strstr(hark_error_of(w->there)->text, "itself"));
}

static void
stop_of_the_other_node_ends_open_asks_at_once(void **state)
{
    struct world *w = *state;
    hark_ref h = world_reach(w, "host", hark_spawn(w->there, host));
    hark_future f = hark_ask_within(w->here, HARK_FOREVER, h, no_answer);
    hark_future g = hark_ask(w->here, h, hello_you);

    assert_non_null(hark_await(w->here, g, hello_back)); // f is in its hands
    assert_int_equal(hark_stop(w->there_system, HARK_SECONDS(10)), HARK_OK);
    w->there_system = NULL;
    assert_null(hark_await(w->here, f, hello_back));
    int code = hark_error_of(w->here)->code;
    assert_true(code == HARK_ESTOPPED || code == HARK_ENONODE);
    // Everything later fails without waiting.
    do {
        f = hark_ask_within(w->here, HARK_SECONDS(60), h, hello_you);
        assert_null(hark_await(w->here, f, hello_back));
    } while (hark_is_alive(w->here, h));
    f = hark_ask(w->here, h, hello_you);
    assert_null(hark_await(w->here, f, hello_back));
    world_assert_error(w, HARK_ENONODE, "there is down");
    assert_int_equal(hark_error_of(w->here)->stage, HARK_STAGE_NOT_SENT);
}

// The actor has ended, and so the system may close, while its last turn still sends back
// what waited in its mailbox.
static void
stop_ends_all_asks_that_wait_in_a_mailbox(void **state)
{
    enum { ASKS = 20 * 1000 };
    // A slow machine is not taken for a dead node.
    struct world *w =
        world_open(reach, &(hark_options){.heartbeat_ms = HARK_SECONDS(600)});
    hark_ref busy = world_reach(w, "lingerer", hark_spawn(w->there, lingerer));
    hark_ref other = world_reach(w, "host", hark_spawn(w->there, host));
    hark_future *asks = calloc(ASKS, sizeof *asks);

    assert_non_null(asks);
    atomic_store(&witness_has_ended, false);
    assert_false(hark_ref_is_null(hark_spawn(w->there, witness)));
    assert_int_equal(hark_tell(w->here, busy, linger), HARK_OK);
    for (int i = 0; i < ASKS; i++) {
        asks[i] = hark_ask_within(w->here, HARK_SECONDS(60), busy, hello_you);
    }
    hark_future f = hark_ask_within(w->here, HARK_SECONDS(60), other, hello_you);
    assert_non_null(hark_await(w->here, f, hello_back)); // so all are over there
    assert_int_equal(hark_stop(w->there_system, HARK_SECONDS(60)), HARK_OK);
    w->there_system = NULL;
    for (int i = 0; i < ASKS; i++) {
        assert_null(hark_await(w->here, asks[i], hello_back));
        int code = hark_error_of(w->here)->code;
        assert_true(code == HARK_ESTOPPED || code == HARK_ENONODE);
    }
    free(asks);
    world_close(w);
    (void)state;
}

static void
node_that_comes_back_is_another_one(void **state)
{
    struct world *w = *state;
    hark_ref old = world_reach(w, "host", hark_spawn(w->there, host));
    char endpoint[256];

    assert_int_equal(hark_stop(w->there_system, HARK_SECONDS(10)), HARK_OK);
    while (hark_is_alive(w->here, old)) {
        hark_future f = hark_ask(w->here, old, hello_you);
        assert_null(hark_await(w->here, f, hello_back));
    }
    w->there_system = hark_start(&(hark_options){.hub = w->hub,
                                                 .name = "there",
                                                 .workers = 1,
                                                 .heartbeat_ms = WORLD_PATIENCE_MS});
    w->there = hark_attach(w->there_system);
    assert_int_equal(hark_listen(w->there, w->endpoint, endpoint, sizeof endpoint),
                     HARK_OK);
    hark_ref new = world_reach(w, "host", hark_spawn(w->there, host));
    assert_false(hark_ref_equal(old, new));
    assert_true(hark_is_alive(w->here, new));
    assert_false(hark_is_alive(w->here, old));
    hark_future f = hark_ask(w->here, new, hello_you, .text = HARK_STR("again"));
    assert_non_null(hark_await(w->here, f, hello_back));
}

static void
ref_of_a_third_node_is_dialled_when_used(void **state)
{
    struct world *w = *state;
    hark_system *third = hark_start(&(hark_options){.hub = w->hub,
                                                    .name = "third",
                                                    .workers = 1,
                                                    .connect_ms = WORLD_PATIENCE_MS,
                                                    .heartbeat_ms = WORLD_PATIENCE_MS});
    hark_ctx *me = hark_attach(third);
    char endpoint[256];
    char name[300];

    assert_int_equal(
        hark_listen(me, world_wish(reach, "third"), endpoint, sizeof endpoint),
        HARK_OK);
    hark_ref far = hark_spawn_with(me, &(hark_spawn_options){.name = "far"}, host);
    snprintf(name, sizeof name, "%s/far", endpoint);
    hark_ref far_seen = hark_lookup(w->there, name);
    assert_true(hark_ref_equal(far, far_seen));
    hark_ref h = world_reach(w, "host", hark_spawn(w->there, host, .friend = far_seen));
    hark_future f = hark_ask(w->here, h, give_ref);
    const here_is *reply = hark_await(w->here, f, here_is);
    assert_non_null(reply);
    assert_true(hark_ref_equal(reply->whom, far));
    hark_future g = hark_ask(w->here, reply->whom, hello_you, .text = HARK_STR("far"));
    const hello_back *back = hark_await(w->here, g, hello_back);
    if (back == NULL) {
        fail_msg("%s", world_error(w));
    }
    assert_string_equal(back->text.ptr, "far");
    assert_int_equal(hark_stop(third, HARK_SECONDS(10)), HARK_OK);
}

static void
actors_find_remote_names_without_blocking(void **state)
{
    struct world *w = *state;

    (void)world_reach(w, "host", hark_spawn(w->there, host));
    hark_future f = hark_lookup_ask(w->here, world_name(w, "host"), 0);
    const hark_found *found = hark_await(w->here, f, hark_found);
    assert_non_null(found);
    assert_false(hark_ref_is_null(found->actor));
    f = hark_lookup_ask(w->here, world_name(w, "ghost"), 0);
    assert_null(hark_await(w->here, f, hark_found));
    world_assert_error(w, HARK_ENONAME, "ghost");
}

static void
message_over_the_peers_limit_fails_alone(void **state)
{
    (void)state;
    struct world *w =
        world_open(reach, &(hark_options){.frame_limit_bytes = 100 * 1024});
    hark_ref h = world_reach(w, "host", hark_spawn(w->there, host));
    static const char data[200 * 1024];
    hark_future f = hark_ask(w->here, h, bulk, .data = {data, sizeof data, NULL});

    assert_null(hark_await(w->here, f, hello_back));
    world_assert_error(w, HARK_ETOOBIG, "limit of 102400");
    for (int i = 0; i < 50; i++) { // many that fit share frames that fit
        assert_int_equal(hark_tell(w->here, h, bulk, .data = {data, 10 * 1024, NULL}),
                         HARK_OK);
    }
    f = hark_ask(w->here, h, count_bulk);
    const counted *c = hark_await(w->here, f, counted);
    assert_non_null(c);
    assert_int_equal(c->n, 50 * 10 * 1024);
    world_close(w);
}

static void
full_link_makes_threads_wait_and_loses_nothing(void **state)
{
    (void)state;
    struct world *w =
        world_open(reach, &(hark_options){.link_limit_bytes = 256 * 1024});
    hark_ref h = world_reach(w, "host", hark_spawn(w->there, host));
    static const char data[16 * 1024];

    for (int i = 0; i < 1000; i++) {
        assert_int_equal(hark_tell(w->here, h, bulk, .data = {data, sizeof data, NULL}),
                         HARK_OK);
    }
    hark_future f = hark_ask(w->here, h, count_bulk);
    const counted *c = hark_await(w->here, f, counted);
    assert_non_null(c);
    assert_int_equal(c->n, 1000 * sizeof data);
    world_close(w);
}

static void
shared_bytes_count_for_the_limits_of_link_and_frame(void **state)
{
    enum { TELLS = 300, SIZE = 60 * 1024 };
    (void)state;
    struct world *w =
        world_open(reach, &(hark_options){.link_limit_bytes = 256 * 1024,
                                          .frame_limit_bytes = 100 * 1024});
    hark_ref h = world_reach(w, "host", hark_spawn(w->there, host));
    hark_buffer *small = hark_buffer_new(SIZE), *large = hark_buffer_new(100 * 1024);

    assert_true(small != NULL && large != NULL);
    memset(hark_buffer_data(small), 'x', SIZE);
    memset(hark_buffer_data(large), 'x', 100 * 1024);
    for (int i = 0; i < TELLS; i++) { // waits for room
        assert_int_equal(
            hark_tell(w->here, h, bulk, .data = hark_bytes_of_buffer(small)), HARK_OK);
    }
    assert_int_equal(hark_tell(w->here, h, bulk, .data = hark_bytes_of_buffer(large)),
                     HARK_ETOOBIG);
    hark_buffer_release(small);
    hark_buffer_release(large);
    hark_future f = hark_ask(w->here, h, count_bulk);
    const counted *c = hark_await(w->here, f, counted);
    assert_non_null(c);
    assert_int_equal(c->n, TELLS * SIZE);
    world_close(w);
}

// ---- bursts ----

enum { BURST = 1000 };

static void
send_burst(struct world *w, hark_ref first, hark_ref second)
{
    hark_ref from = hark_spawn(w->here, burster);

    assert_int_equal(hark_tell(w->here, from, burst, .first = first, .second = second,
                               .count = BURST),
                     HARK_OK);
}

// Waits until the counters, and the dead letters of there, make up for a burst.
static void
await_burst(struct world *w, const hark_ref *counters, int count)
{
    hark_stats stats;
    uint64_t sum;

    do {
        hark_stats_read(w->there_system, &stats);
        sum = stats.dead_letters;
        for (int i = 0; i < count; i++) {
            hark_future f = hark_ask(w->here, counters[i], how_many);
            const so_many *c = hark_await(w->here, f, so_many);

            assert_true(c != NULL || hark_error_of(w->here)->code == HARK_ELIMIT);
            sum += c != NULL ? c->n : 0;
            assert_true(c == NULL || c->late == 0);
            hark_future_drop(w->here, f);
        }
        assert_true(sum <= BURST);
    } while (sum < BURST);
}

static void
burst_arrives_in_order_at_each_actor(void **state)
{
    struct world *w = *state;
    hark_ref both[] = {world_reach(w, "a", hark_spawn(w->there, counter)),
                       world_reach(w, "b", hark_spawn(w->there, counter))};

    send_burst(w, both[0], both[1]);
    await_burst(w, both, 2);
}

static void
burst_that_does_not_fit_a_mailbox_is_a_dead_letter_each(void **state)
{
    struct world *w = *state;
    hark_ref local =
        hark_spawn_with(w->there, &(hark_spawn_options){.mailbox_limit = 8}, counter);
    hark_ref far = world_reach(w, "a", local);

    send_burst(w, far, (hark_ref){0, 0});
    await_burst(w, &far, 1);
}

static void
burst_for_an_actor_that_has_ended_is_a_dead_letter_each(void **state)
{
    struct world *w = *state;
    hark_ref local = hark_spawn(w->there, counter);
    hark_ref far = world_reach(w, "a", local);
    hark_ref other = world_reach(w, "b", hark_spawn(w->there, counter));

    assert_int_equal(hark_actor_stop(w->there, local), HARK_OK);
    send_burst(w, far, other);
    await_burst(w, &other, 1);
}

// ---- links that stay ----

static void
idle_link_stays_up(void **state)
{
    struct world *w = *state;
    hark_ref h = world_reach(w, "host", hark_spawn(w->there, host));
    hark_stats stats;

    assert_null(hark_receive(w->here, 2400)); // three times the heartbeat limit
    hark_stats_read(w->here_system, &stats);
    assert_int_equal(stats.links, 1);
    hark_future f = hark_ask(w->here, h, hello_you);
    assert_non_null(hark_await(w->here, f, hello_back));
}

static void
ask_of_an_actor_that_has_ended_there_was_sent(void **state)
{
    struct world *w = *state;
    hark_ref local = hark_spawn(w->there, host);
    hark_ref h = world_reach(w, "host", local);

    assert_int_equal(hark_actor_stop(w->there, local), HARK_OK);
    do { // while it ends
        hark_future f = hark_ask(w->here, h, no_answer);
        assert_null(hark_await(w->here, f, hello_back));
    } while (hark_error_of(w->here)->code == HARK_ESTOPPED);
    assert_int_equal(hark_error_of(w->here)->code, HARK_ENOACTOR);
    assert_int_equal(hark_error_of(w->here)->stage, HARK_STAGE_SENT);
}

// ---- types that differ ----

static const hark_field other_fields[] = {{"words", HARK_KIND_i64, 0, 0, NULL}};
static const hark_type other_hello_you = {"hello_you", 8, 1, true, other_fields};

static void
type_with_other_fields_fails_its_message_and_not_the_link(void **state)
{
    struct world *w = *state;
    // A node of its own, which knows hello_you otherwise than the rest of this program.
    const hark_type *types[] = {&other_hello_you, &hello_back_type};
    hark_options options = {.hub = w->hub, .name = "odd", .workers = 1};
    hark_system *odd = hark_start_with(&options, types, types + 2);
    hark_ctx *me = hark_attach(odd);

    assert_int_equal(hark_register(w->there, "host", hark_spawn(w->there, host)),
                     HARK_OK);
    hark_ref h = hark_lookup(me, world_name(w, "host"));
    assert_false(hark_ref_is_null(h));
    hark_future f = hark_ask_value(me, h, &other_hello_you, &(int64_t){5}, NULL);
    assert_null(hark_await(me, f, hello_back));
    assert_int_equal(hark_error_of(me)->code, HARK_ETYPE);
    assert_non_null(strstr(hark_error_of(me)->text, "hello_you"));
    f = hark_ask_value(me, h, &hello_you_type, &(hello_you){.text = HARK_STR("x")},
                       NULL);
    assert_non_null(hark_await(me, f, hello_back));
    assert_int_equal(hark_stop(odd, HARK_SECONDS(10)), HARK_OK);
}

static const hark_type unknown_there = {"only_here", 8, 1, true, other_fields};

static void
type_unknown_at_the_peer_fails_its_message_and_not_the_link(void **state)
{
    struct world *w = *state;
    hark_ref h = world_reach(w, "host", hark_spawn(w->there, host));
    hark_future f = hark_ask_value(w->here, h, &unknown_there, &(int64_t){5}, NULL);
    hark_stats stats;

    assert_null(hark_await(w->here, f, hello_back));
    world_assert_error(w, HARK_ETYPE, "only_here");
    assert_int_equal(hark_tell_value(w->here, h, &unknown_there, &(int64_t){5}),
                     HARK_OK);
    f = hark_ask(w->here, h, hello_you);
    assert_non_null(hark_await(w->here, f, hello_back));
    hark_stats_read(w->there_system, &stats);
    assert_int_equal(stats.dead_letters, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)
#define IMPATIENT(name)                                                                \
    cmocka_unit_test_setup_teardown(name, setup_impatient, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(malformed_endpoints_are_named_in_the_error),
        TEST(endpoint_in_use_is_refused),
        TEST(names_without_an_actor_are_refused),
        IMPATIENT(connecting_to_nobody_ends_in_time_and_names_the_endpoint),
        TEST(connect_opens_one_link_and_finds_it_again),
        TEST(node_does_not_link_to_itself),
        TEST(stop_of_the_other_node_ends_open_asks_at_once),
        cmocka_unit_test(stop_ends_all_asks_that_wait_in_a_mailbox),
        TEST(node_that_comes_back_is_another_one),
        TEST(ref_of_a_third_node_is_dialled_when_used),
        TEST(actors_find_remote_names_without_blocking),
        TEST(burst_arrives_in_order_at_each_actor),
        TEST(burst_that_does_not_fit_a_mailbox_is_a_dead_letter_each),
        TEST(burst_for_an_actor_that_has_ended_is_a_dead_letter_each),
        cmocka_unit_test(message_over_the_peers_limit_fails_alone),
        cmocka_unit_test(full_link_makes_threads_wait_and_loses_nothing),
        cmocka_unit_test(shared_bytes_count_for_the_limits_of_link_and_frame),
        cmocka_unit_test_setup_teardown(idle_link_stays_up, setup_quiet,
                                        world_teardown),
        TEST(ask_of_an_actor_that_has_ended_there_was_sent),
        TEST(type_with_other_fields_fails_its_message_and_not_the_link),
        TEST(type_unknown_at_the_peer_fails_its_message_and_not_the_link),
    };
    static const char *const names[] = {"", "link/memory", "link/tcp", "link/ipc"};
    int failed = 0;

    for (reach = REACH_MEMORY; reach <= REACH_IPC; reach++) {
        failed += cmocka_run_group_tests_name(names[reach], tests, NULL, NULL);
    }
    return failed;
}
