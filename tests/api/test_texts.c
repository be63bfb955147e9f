// What errors say: what has failed, whose, where, why, and what bound it met.

#include "api/world.h"

#include <sched.h>

static enum reach reach;

HARK_MESSAGE(get_balance)
HARK_MESSAGE(balance, (i64, amount))
HARK_MESSAGE(receipt, (str, text))
HARK_MESSAGE(hold)
HARK_MESSAGE(forget)
HARK_MESSAGE(withdraw, (i64, amount))
HARK_MESSAGE(audit)

typedef struct {
    hark_promise held;
} account;

HARK_ON(account, get_balance) {
    hark_reply(ctx, balance, .amount = 1);
}
HARK_ON(account, hold) {
    self->held = hark_defer(ctx); // and is never redeemed
}
HARK_ON(account, forget) {
    (void)self;
}
HARK_ON(account, withdraw) {
    hark_refuse(ctx, HARK_EUSER + 7, "would overdraw by %d", (int)msg->amount);
}
HARK_ACTOR(account, get_balance, hold, forget, withdraw)

static int
setup(void **state)
{
    *state = world_open(reach, NULL);
    return 0;
}

// ---- what is checked ----

static char line[2048];

// Whom an ask was for, as its error says it.
static const char *
whom(void)
{
    return reach == REACH_LOCAL ? ">" : "> of node there";
}

static void
assert_has(const char *part)
{
    if (strstr(line, part) == NULL) {
        fail_msg("expected \"%s\" in: %s", part, line);
    }
}

// The last error of ctx, as one line, begins that way.
static void
assert_line(hark_ctx *ctx, const char *start)
{
    hark_error_line(ctx, hark_error_of(ctx), line, sizeof line);
    if (strncmp(line, start, strlen(start)) != 0) {
        fail_msg("expected \"%s...\", got: %s", start, line);
    }
}

// f fails; the error says why, then what was asked, and how far that got.
static void
assert_fails(struct world *w, hark_future f, const char *start, const char *asked,
             const char *stage)
{
    char part[200];

    assert_null(hark_await(w->here, f, balance));
    assert_line(w->here, start);
    snprintf(part, sizeof part, " ms: ask %s to account<", asked);
    assert_has(part);
    assert_has(whom());
    assert_has("test_texts.c:");
    snprintf(part, sizeof part, ", stage: %s", stage);
    assert_has(part);
    hark_future_drop(w->here, f);
}

// ---- asks ----

static void
a_failed_ask_says_what_whom_where_and_how_far(void **state)
{
    struct world *w = *state;
    hark_ref a = world_reach(w, "till", hark_spawn(w->there, account));

    assert_fails(w, hark_ask_within(w->here, 20, a, hold),
                 "HARK_ETIMEOUT: timed out after ", "hold",
                 reach == REACH_LOCAL ? "queued" : "sent");
    assert_fails(w, hark_ask(w->here, a, forget),
                 "HARK_ENOREPLY: handler returned without answering after ", "forget",
                 "running");
    assert_fails(w, hark_ask(w->here, a, audit),
                 "HARK_ENOHANDLER: no handler for this message after ", "audit",
                 "running");
    assert_fails(w, hark_ask(w->here, a, withdraw, .amount = 5),
                 "1007: would overdraw by 5 after ", "withdraw", "running");
}

static void
a_reply_of_another_type_says_whose_it_is(void **state)
{
    struct world *w = *state;
    hark_ref a = world_reach(w, "till", hark_spawn(w->there, account));
    hark_future f = hark_ask(w->here, a, get_balance);

    assert_null(hark_await(w->here, f, receipt));
    assert_line(w->here, "HARK_ETYPE: the reply is balance, not receipt after ");
    assert_has("ask get_balance to account<");
    assert_has(whom());
    assert_has("test_texts.c:");
    assert_has("stage: reply lost");
}

static void
a_full_mailbox_tells_its_limit(void **state)
{
    struct world *w = *state;
    hark_ref a = world_reach(
        w, "till",
        hark_spawn_with(w->there, &(hark_spawn_options){.mailbox_limit = 2}, account));
    hark_future f = {0, 0};

    // It may look between two of them; then the next ones fill it.
    do {
        for (int i = 0; i < 1000; i++) {
            hark_tell(w->here, a, forget);
        }
        hark_future_drop(w->here, f);
        f = hark_ask(w->here, a, get_balance);
    } while (hark_await(w->here, f, balance) != NULL);
    assert_line(w->here, "HARK_ELIMIT: its mailbox is full: its limit is 2 waiting "
                         "messages after ");
    assert_has("ask get_balance to account<");
}

static void
an_ended_actor_and_nobody_are_told_apart(void **state)
{
    struct world *w = *state;
    hark_ref a = world_reach(w, "till", hark_spawn(w->there, account));

    assert_int_equal(hark_actor_stop(w->there, a), HARK_OK);
    while (hark_is_alive(w->there, a)) {
        sched_yield();
    }
    assert_null(hark_await(w->here, hark_ask(w->here, a, hold), balance));
    assert_line(w->here, "HARK_ENOACTOR: no such actor after ");
    assert_null(
        hark_await(w->here, hark_ask(w->here, ((hark_ref){0, 0}), hold), balance));
    assert_line(w->here, "HARK_ENOACTOR: the target is a null ref after ");
    assert_null(
        hark_await(w->here, hark_ask(w->here, ((hark_ref){77, 5}), hold), balance));
    assert_line(w->here, "HARK_ENONODE: its node has never been heard of here after ");
}

// ---- other calls ----

static void
names_that_cannot_be_given_say_why(void **state)
{
    struct world *w = *state;
    hark_ref a = hark_spawn(w->there, account);
    hark_ref far = world_reach(w, "till", a), ended = hark_spawn(w->there, account);
    char taken[300], start[400];

    hark_ref_print(w->there, a, taken, sizeof taken);
    snprintf(start, sizeof start, "HARK_EEXIST: name \"till\": already taken, by %s",
             taken);
    assert_int_equal(hark_register(w->there, "till", a), HARK_EEXIST);
    assert_line(w->there, start);
    assert_true(hark_ref_is_null(
        hark_spawn_with(w->there, &(hark_spawn_options){.name = "till"}, account)));
    assert_line(w->there, start);
    assert_int_equal(hark_actor_stop(w->there, ended), HARK_OK);
    while (hark_is_alive(w->there, ended)) {
        sched_yield();
    }
    assert_int_equal(hark_register(w->there, "gone", ended), HARK_ENOACTOR);
    assert_line(w->there, "HARK_ENOACTOR: hark_register: actor<");
    assert_has("> has ended, or never was");
    assert_int_equal(hark_actor_stop(w->there, ended), HARK_ENOACTOR);
    assert_line(w->there, "HARK_ENOACTOR: hark_actor_stop: actor<");
    assert_int_equal(hark_register(w->here, NULL, far), HARK_EINVAL);
    assert_line(w->here, "HARK_EINVAL: hark_register: null argument");
    if (reach != REACH_LOCAL) {
        assert_int_equal(hark_register(w->here, "far", far), HARK_EINVAL);
        assert_line(w->here, "HARK_EINVAL: hark_register: account<");
        assert_has("> of node there is not of this node");
        assert_int_equal(hark_actor_stop(w->here, far), HARK_ENOTSUP);
        assert_line(w->here, "HARK_ENOTSUP: hark_actor_stop: account<");
        assert_has("> of node there cannot be stopped from another node");
    }
}

static void
waits_say_how_long_they_were(void **state)
{
    struct world *w = *state;

    assert_null(hark_receive(w->here, 3));
    assert_line(w->here, "HARK_ETIMEOUT: hark_receive: nothing came within 3 ms");
    hark_future f = hark_lookup_ask(w->here, "tcp://127.0.0.1:1/nobody", 5);
    assert_null(hark_await(w->here, f, hark_found));
    assert_line(w->here, "HARK_ETIMEOUT: timed out after ");
}

static void
limits_name_their_options(void **state)
{
    hark_system *system =
        hark_start(&(hark_options){.workers = 1, .actor_limit = 3, .future_limit = 2});
    hark_ctx *me = hark_attach(system);
    hark_ref last = {0, 0}, next;
    hark_future f = {1, 1};

    assert_non_null(me);
    while (!hark_ref_is_null(next = hark_spawn(me, account))) {
        last = next;
    }
    assert_line(me, "HARK_ELIMIT: hark_spawn: account: the limit of 3 actors");
    assert_has("hark_options.actor_limit");
    for (int i = 0; i < 3; i++) {
        f = hark_ask(me, last, hold);
    }
    assert_int_equal(f.id, 0);
    assert_line(me, "HARK_ELIMIT: too many open futures: the limit of one actor or "
                    "thread is 2 (hark_options.future_limit)");
    assert_int_equal(hark_stop(system, HARK_SECONDS(10)), HARK_OK);
    (void)state;
}

static void
a_node_that_is_down_is_named(void **state)
{
    struct world *w = *state;
    hark_ref a = world_reach(w, "till", hark_spawn(w->there, account));

    if (reach == REACH_LOCAL) {
        return;
    }
    assert_int_equal(hark_stop(w->there_system, HARK_SECONDS(10)), HARK_OK);
    w->there_system = NULL;
    while (hark_is_alive(w->here, a)) {
        sched_yield();
    }
    assert_fails(w, hark_ask(w->here, a, hold),
                 "HARK_ENONODE: node there is down after ", "hold", "not sent");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_failed_ask_says_what_whom_where_and_how_far),
        TEST(a_reply_of_another_type_says_whose_it_is),
        TEST(a_full_mailbox_tells_its_limit),
        TEST(an_ended_actor_and_nobody_are_told_apart),
        TEST(names_that_cannot_be_given_say_why),
        TEST(waits_say_how_long_they_were),
        cmocka_unit_test(limits_name_their_options),
        TEST(a_node_that_is_down_is_named),
    };
    static const char *const names[] = {"texts/local", "texts/memory", "texts/tcp"};
    int failed = 0;

    for (reach = REACH_LOCAL; reach <= REACH_TCP; reach++) {
        failed += cmocka_run_group_tests_name(names[reach], tests, NULL, NULL);
    }
    return failed;
}
