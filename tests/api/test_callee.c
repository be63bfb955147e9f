// Errors name whom they are about, on other nodes too: "account<3f9a.17.4> of node there".

#include "api/world.h"

#include <sched.h>

static enum reach reach;

HARK_MESSAGE(get_balance)
HARK_MESSAGE(balance, (i64, amount))
HARK_MESSAGE(open_account)
HARK_MESSAGE(opened, (ref, account))
HARK_MESSAGE(hold)

typedef struct {
    hark_promise held;
} account;

HARK_ON(account, get_balance) {
    hark_reply(ctx, balance, .amount = 1);
}
HARK_ON(account, hold) {
    self->held = hark_defer(ctx); // and is never redeemed
}
HARK_ACTOR(account, get_balance, hold)

typedef struct {
    hark_ref last;
} bank;

HARK_ON(bank, open_account) {
    self->last = hark_spawn(ctx, account);
    hark_reply(ctx, opened, .account = self->last);
}
HARK_ACTOR(bank, open_account)

static int
setup(void **state)
{
    *state = world_open(reach, NULL);
    return 0;
}

// The error of an ask that is not answered.
static const char *
error_of_timeout(struct world *w, hark_ref to)
{
    hark_future f = hark_ask_within(w->here, 1, to, hold);

    assert_null(hark_await(w->here, f, balance));
    world_assert_error(w, HARK_ETIMEOUT, "");
    hark_future_drop(w->here, f);
    return world_error(w);
}

static void
assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("expected \"%s\" in: %s", part, text);
    }
}

static void
a_ref_that_was_looked_up_is_named_at_once(void **state)
{
    struct world *w = *state;
    hark_ref a = world_reach(w, "till", hark_spawn(w->there, account));
    char line[1024], ref[300];

    assert_has(error_of_timeout(w, a), "ask hold to account<");
    assert_has(world_error(w), "> of node there");
    hark_error_line(w->here, hark_error_of(w->here), line, sizeof line);
    assert_has(line, "> of node there at ");
    hark_ref_print(w->here, a, ref, sizeof ref);
    assert_int_equal(strncmp(ref, "account<", 8), 0);
}

// Its name comes with the first answers.
static void
a_ref_from_a_message_is_named_once_it_was_asked(void **state)
{
    struct world *w = *state;
    hark_ref b = world_reach(w, "bank", hark_spawn(w->there, bank));
    hark_future f = hark_ask(w->here, b, open_account);
    const opened *o = hark_await(w->here, f, opened);
    char ref[300];

    assert_non_null(o);
    hark_ref_print(w->here, o->account, ref, sizeof ref);
    assert_int_equal(strncmp(ref, "actor<", 6), 0); // unknown so far
    do {
        hark_future g = hark_ask(w->here, o->account, get_balance);

        assert_non_null(hark_await(w->here, g, balance));
        hark_future_drop(w->here, g);
        hark_ref_print(w->here, o->account, ref, sizeof ref);
    } while (strncmp(ref, "account<", 8) != 0);
    assert_has(error_of_timeout(w, o->account), "ask hold to account<");
}

static void
an_actor_of_a_third_node_is_named(void **state)
{
    struct world *w = *state;
    hark_system *third =
        hark_start(&(hark_options){.hub = w->hub, .name = "third", .workers = 1});
    hark_ctx *me = hark_attach(third);
    char endpoint[256], name[300], ref[300];

    assert_int_equal(
        hark_listen(me, world_wish(reach, "third"), endpoint, sizeof endpoint),
        HARK_OK);
    hark_ref far = hark_spawn_with(me, &(hark_spawn_options){.name = "far"}, account);
    snprintf(name, sizeof name, "%s/far", endpoint);
    hark_ref seen = hark_lookup(w->there, name);
    assert_true(hark_ref_equal(far, seen));
    // Here hears of it by a message only.
    hark_ref b = world_reach(w, "bank", hark_spawn(w->there, bank));
    assert_non_null(hark_await(w->here, hark_ask(w->here, b, open_account), opened));
    assert_int_equal(hark_tell(w->there, hark_self(w->here), opened, .account = seen),
                     HARK_OK);
    hark_message *told = hark_receive(w->here, HARK_SECONDS(55));
    assert_non_null(told);
    do {
        hark_future f = hark_ask(w->here, far, get_balance);

        assert_non_null(hark_await(w->here, f, balance));
        hark_future_drop(w->here, f);
        hark_ref_print(w->here, far, ref, sizeof ref);
    } while (strncmp(ref, "account<", 8) != 0);
    assert_has(error_of_timeout(w, far), "> of node third");
    hark_message_free(w->here, told);
    assert_int_equal(hark_stop(third, HARK_SECONDS(10)), HARK_OK);
}

// It is known still when the node is not there any more.
static void
an_actor_of_a_node_that_is_down_is_named(void **state)
{
    struct world *w = *state;
    hark_ref a = world_reach(w, "till", hark_spawn(w->there, account));

    assert_int_equal(hark_stop(w->there_system, HARK_SECONDS(10)), HARK_OK);
    w->there_system = NULL;
    while (hark_is_alive(w->here, a)) {
        sched_yield();
    }
    hark_future f = hark_ask(w->here, a, get_balance);
    assert_null(hark_await(w->here, f, balance));
    world_assert_error(w, HARK_ENONODE, "node there is down");
    assert_has(world_error(w), "ask get_balance to account<");
    assert_has(world_error(w), "> of node there");
}

static void
a_thread_of_another_node_is_named(void **state)
{
    struct world *w = *state;
    hark_ref a = world_reach(w, "me", hark_self(w->there));

    assert_has(error_of_timeout(w, a), "ask hold to thread<");
}

// Each of many is asked for once, and those that are not known do no harm.
static void
many_actors_are_asked_and_answer(void **state)
{
    enum { ACCOUNTS = 3000 };
    struct world *w = *state;
    hark_ref b = world_reach(w, "bank", hark_spawn(w->there, bank));

    for (int round = 0; round < ACCOUNTS; round++) {
        hark_future f = hark_ask(w->here, b, open_account);
        const opened *o = hark_await(w->here, f, opened);

        assert_non_null(o);
        for (int again = 0; again < 2; again++) {
            hark_future g = hark_ask(w->here, o->account, get_balance);
            assert_non_null(hark_await(w->here, g, balance));
            hark_future_drop(w->here, g);
        }
        hark_future_drop(w->here, f);
    }
    assert_int_equal(world_stats(w->here_system).frames_rejected, 0);
    assert_int_equal(world_stats(w->there_system).frames_rejected, 0);
    world_assert_no_dead_letters(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_ref_that_was_looked_up_is_named_at_once),
        TEST(a_ref_from_a_message_is_named_once_it_was_asked),
        TEST(an_actor_of_a_third_node_is_named),
        TEST(an_actor_of_a_node_that_is_down_is_named),
        TEST(a_thread_of_another_node_is_named),
        TEST(many_actors_are_asked_and_answer),
    };
    static const char *const names[] = {"", "callee/memory", "callee/tcp"};
    int failed = 0;

    for (reach = REACH_MEMORY; reach <= REACH_TCP; reach++) {
        failed += cmocka_run_group_tests_name(names[reach], tests, NULL, NULL);
    }
    return failed;
}
