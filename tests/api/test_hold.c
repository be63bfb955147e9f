// What functions that are built on the others need: errors and a clock of their
// own, to be told of a cancel, and to hold one future along with another.

#include "api/world.h"
static void
an_error_may_be_set(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(hark_error_set(w->here, HARK_EUSER, "%d apples", 3), HARK_EUSER);
    world_assert_error(w, HARK_EUSER, "3 apples");
    assert_int_equal(hark_error_set(w->here, HARK_OK, "nothing"), HARK_OK);
    assert_int_equal(hark_error_set(NULL, HARK_EINVAL, "nobody"), HARK_EINVAL);
    world_assert_error(w, HARK_EUSER, "3 apples");
    assert_int_equal(hark_error_set(w->here, HARK_EINVAL, "%s", text), HARK_EINVAL);
    world_assert_error(w, HARK_EINVAL, "xxx");
    world_close(w);
}

static void
the_clock_goes_forward_and_timers_go_by_it(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);

    (void)state;
    assert_int_equal(hark_now_ns(NULL), 0);
    int64_t begin_ns = hark_now_ns(w->here);
    hark_future f = hark_delay(w->here, 20);
    assert_non_null(hark_await(w->here, f, hark_unit));
    assert_true(hark_now_ns(w->here) - begin_ns >= 20 * INT64_C(1000000));
    world_close(w);
}
HARK_MESSAGE(owe)
HARK_MESSAGE(pay, (i64, n))
HARK_MESSAGE(paid, (i64, n))
HARK_MESSAGE(unwanted, (i64, n))
HARK_MESSAGE(how_many)

typedef struct {
    hark_promise owed[8];
    int64_t count, unwanted; // unwanted: a digit for each, in order
} debtor;

HARK_ON(debtor, owe) {
    hark_promise p = hark_defer(ctx);

    assert_int_equal(hark_promise_watch(ctx, p, unwanted, .n = 9), HARK_OK);
    assert_int_equal(hark_promise_watch(ctx, p, unwanted, .n = self->count + 1),
                     HARK_OK);
    self->owed[self->count++] = p;
}
HARK_ON(debtor, pay) {
    hark_promise p = self->owed[msg->n];

    (void)hark_fulfil(ctx, p, paid, .n = msg->n);
    assert_int_equal(hark_promise_watch(ctx, p, unwanted), HARK_ESTALE);
    hark_reply(ctx, paid);
}
HARK_ON(debtor, unwanted) {
    self->unwanted = self->unwanted * 10 + msg->n;
    assert_true(hark_promise_cancelled(ctx, self->owed[msg->n - 1]));
    assert_int_equal(hark_promise_watch(ctx, self->owed[msg->n - 1], how_many),
                     HARK_OK);
    assert_int_equal(hark_promise_watch_value(ctx, self->owed[msg->n - 1], NULL, NULL),
                     HARK_EINVAL);
    assert_int_equal(hark_break(ctx, self->owed[msg->n - 1], HARK_EUSER, "late"),
                     HARK_ECANCELLED);
}
HARK_ON(debtor, how_many) {
    hark_reply(ctx, paid, .n = self->unwanted);
}
HARK_ACTOR(debtor, owe, pay, unwanted, how_many)

static enum reach reach;

struct fixture {
    struct world *w;
    hark_ctx *me;
    hark_ref debtor; // there, as here sees it
};

static int
setup(void **state)
{
    static struct fixture f;

    f.w = world_open(reach, NULL);
    f.me = f.w->here;
    f.debtor = world_reach(f.w, "debtor", hark_spawn(f.w->there, debtor));
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    world_close(((struct fixture *)*state)->w);
    return 0;
}

static int64_t
ask_n(struct fixture *f, hark_future future)
{
    const paid *reply = hark_await(f->me, future, paid);

    if (reply == NULL) {
        fail_msg("%s", world_error(f->w));
    }
    int64_t n = reply->n;
    hark_future_drop(f->me, future);
    return n;
}

static void
until_unwanted(struct fixture *f, int64_t digits)
{
    while (ask_n(f, hark_ask(f->me, f->debtor, how_many)) != digits) {
    }
}

static void
who_watches_a_promise_is_told_of_its_cancel_once(void **state)
{
    struct fixture *f = *state;
    hark_future a = hark_ask(f->me, f->debtor, owe);
    hark_future b = hark_ask(f->me, f->debtor, owe);
    hark_future c = hark_ask(f->me, f->debtor, owe);
    const hark_promise none = {0, 0};

    (void)ask_n(f, hark_ask(f->me, f->debtor, pay, .n = 1)); // not told of that one
    assert_int_equal(ask_n(f, b), 1);
    assert_int_equal(hark_cancel(f->me, c), HARK_OK);
    until_unwanted(f, 3);
    hark_future_drop(f->me, a);
    until_unwanted(f, 31);
    assert_int_equal(hark_promise_watch(NULL, none, owe), HARK_EINVAL);
    assert_int_equal(hark_promise_watch(f->me, none, owe), HARK_ESTALE);
    hark_future_drop(f->me, c);
}

static void
who_watches_a_promise_is_told_of_its_askers_end(void **state)
{
    struct fixture *f = *state;
    hark_ctx *other = hark_attach(f->w->here_system);

    assert_non_null(other);
    assert_true(hark_ask(other, f->debtor, owe).id != 0);
    assert_non_null(hark_await(other, hark_ask(other, f->debtor, how_many), paid));
    hark_detach(other);
    until_unwanted(f, 1);
}
static void
settle(struct fixture *f, hark_future future)
{
    while (!hark_future_done(f->me, future)) {
        hark_message_free(f->me, hark_receive(f->me, 1));
    }
}

static void
what_is_held_ends_with_the_future(void **state)
{
    struct fixture *f = *state;
    hark_future gate = hark_future_new(f->me);
    hark_future h = hark_holding(f->me, gate, hark_ask(f->me, f->debtor, owe), false);

    (void)ask_n(f, hark_ask(f->me, f->debtor, how_many)); // it is owed by now
    hark_future_complete(f->me, gate, paid, .n = 5);
    assert_int_equal(ask_n(f, h), 5);
    until_unwanted(f, 1);
    gate = hark_future_new(f->me);
    h = hark_holding(f->me, gate, hark_ask(f->me, f->debtor, owe), true);
    (void)ask_n(f, hark_ask(f->me, f->debtor, how_many));
    hark_future_fail(f->me, gate, HARK_EUSER, "no");
    assert_null(hark_await(f->me, h, paid)); // it had nothing to give
    world_assert_error(f->w, HARK_EUSER, "no");
    until_unwanted(f, 12);
    h = hark_holding(f->me, hark_future_new(f->me), hark_ask(f->me, f->debtor, owe),
                     true);
    (void)ask_n(f, hark_ask(f->me, f->debtor, how_many));
    hark_future_drop(f->me, h);
    until_unwanted(f, 123);
}

static void
what_is_held_may_stay_with_who_got_the_reply(void **state)
{
    struct fixture *f = *state;
    hark_future held = hark_ask(f->me, f->debtor, owe);
    hark_future h =
        hark_holding(f->me, hark_future_of(f->me, paid, .n = 4), held, true);

    assert_int_equal(ask_n(f, hark_timeout(f->me, h, 60000)), 4);
    assert_false(hark_future_done(f->me, held));
    (void)ask_n(f, hark_ask(f->me, f->debtor, how_many));
    hark_future_drop(f->me, held);
    until_unwanted(f, 1);
    // Nobody gets this one.
    h = hark_holding(f->me, hark_future_of(f->me, paid),
                     hark_ask(f->me, f->debtor, owe), true);
    h = hark_timeout(f->me, h, 60000);
    settle(f, h);
    assert_int_equal(ask_n(f, hark_ask(f->me, f->debtor, how_many)), 1);
    hark_future_drop(f->me, h);
    until_unwanted(f, 12);
}

static void
what_is_held_may_end_first(void **state)
{
    struct fixture *f = *state;
    hark_future gate = hark_future_new(f->me);
    hark_future h = hark_holding(f->me, gate, hark_ask(f->me, f->debtor, owe), true);

    (void)ask_n(f, hark_ask(f->me, f->debtor, pay, .n = 0));
    assert_int_equal(ask_n(f, h), 0);
    assert_int_equal(hark_future_complete(f->me, gate, paid), HARK_ESTALE);
    gate = hark_future_new(f->me);
    assert_int_equal(hark_holding(f->me, gate, gate, true).id, 0);
    world_assert_error(f->w, HARK_EINVAL, "the same");
    gate = hark_future_new(f->me);
    assert_int_equal(hark_holding(f->me, gate, h, true).id, 0);
    world_assert_error(f->w, HARK_ESTALE, "hark_holding");
    assert_true(hark_future_done(f->me, gate)); // it is taken
    assert_int_equal(hark_holding(NULL, gate, h, true).id, 0);
}
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest once[] = {
        cmocka_unit_test(an_error_may_be_set),
        cmocka_unit_test(the_clock_goes_forward_and_timers_go_by_it),
    };
    const struct CMUnitTest tests[] = {
        TEST(who_watches_a_promise_is_told_of_its_cancel_once),
        TEST(who_watches_a_promise_is_told_of_its_askers_end),
        TEST(what_is_held_ends_with_the_future),
        TEST(what_is_held_may_stay_with_who_got_the_reply),
        TEST(what_is_held_may_end_first),
    };
    int failed = cmocka_run_group_tests_name("hold, alone", once, NULL, NULL);

    for (int i = REACH_LOCAL; i <= REACH_TCP; i++) {
        reach = (enum reach)i;
        failed += cmocka_run_group_tests_name("hold", tests, NULL, NULL);
    }
    return failed;
}
