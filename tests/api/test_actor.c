// Actors of one node: birth, names, timers, limits, the end.

#include "api/world.h"
#include "sanitized.h"

HARK_MESSAGE(get)
HARK_MESSAGE(value, (i64, n))
HARK_MESSAGE(add, (i64, n))
HARK_MESSAGE(quit)
HARK_MESSAGE(told, (str, what))
HARK_MESSAGE(let_go)
HARK_MESSAGE(grow, (u32, height), (ref, gardener))

typedef struct {
    int64_t n;
    hark_ref reports; // who is told of start and stop; null: nobody
} cell;

HARK_HOOK(cell, start) {
    if (!hark_ref_is_null(self->reports)) {
        hark_tell(ctx, self->reports, told, .what = HARK_STR("start"));
    }
}
HARK_HOOK(cell, stop) {
    if (!hark_ref_is_null(self->reports)) {
        hark_tell(ctx, self->reports, told, .what = HARK_STR("stop"));
    }
}
HARK_ON(cell, get) {
    hark_reply(ctx, value, .n = self->n);
}
HARK_ON(cell, add) {
    self->n += msg->n;
}
HARK_ON(cell, quit) {
    hark_exit(ctx);
}
HARK_ACTOR_WITH(cell, (start, stop), get, add, quit)

// A tree: each branch spawns two of its own kind, and each leaf tells the gardener.
typedef struct {
    char unused;
} branch;

HARK_ACTOR_DECLARE(branch)
HARK_ON(branch, grow) {
    if (msg->height == 0) {
        hark_tell(ctx, msg->gardener, value, .n = 1);
    }
    for (int i = 0; i < 2 && msg->height > 0; i++) {
        hark_tell(ctx, hark_spawn(ctx, branch), grow, .height = msg->height - 1,
                  .gardener = msg->gardener);
    }
    hark_exit(ctx);
}
HARK_ACTOR(branch, grow)

static int
setup(void **state)
{
    *state = world_open(REACH_LOCAL, NULL);
    return 0;
}

static int64_t
read_cell(struct world *w, hark_ref c)
{
    hark_future f = hark_ask(w->here, c, get);
    const value *v = hark_await(w->here, f, value);

    if (v == NULL) {
        fail_msg("%s", world_error(w));
    }
    int64_t n = v->n;
    hark_future_drop(w->here, f);
    return n;
}

static void
assert_told(struct world *w, const char *what)
{
    hark_message *m = hark_receive(w->here, HARK_SECONDS(10));

    assert_non_null(m);
    const told *t = hark_message_as(m, &told_type);
    assert_non_null(t);
    assert_string_equal(t->what.ptr, what);
    hark_message_free(w->here, m);
}

static void
state_starts_with_the_values_given_and_zero_elsewhere(void **state)
{
    struct world *w = *state;

    assert_int_equal(read_cell(w, hark_spawn(w->here, cell, .n = 10)), 10);
    assert_int_equal(read_cell(w, hark_spawn(w->here, cell)), 0);
}

static void
start_runs_before_the_first_message_and_stop_last(void **state)
{
    struct world *w = *state;
    hark_ref c = hark_spawn(w->here, cell, .reports = hark_self(w->here));

    assert_told(w, "start");
    hark_tell(w->here, c, quit);
    assert_told(w, "stop");
    assert_null(hark_await(w->here, hark_ask(w->here, c, get), value));
    assert_false(hark_is_alive(w->here, c));
}

static void
actor_spawns_others_of_its_own_kind(void **state)
{
    struct world *w = *state;
    hark_ref me = hark_self(w->here);

    hark_tell(w->here, hark_spawn(w->here, branch), grow, .height = 10, .gardener = me);
    for (int leaf = 0; leaf < 1024; leaf++) {
        hark_message *m = hark_receive(w->here, HARK_SECONDS(10));

        assert_non_null(m);
        assert_non_null(hark_message_as(m, &value_type));
        hark_message_free(w->here, m);
    }
    assert_null(hark_receive(w->here, 0));
}

static void
another_can_stop_it_and_only_once(void **state)
{
    struct world *w = *state;
    hark_ref c = hark_spawn(w->here, cell, .reports = hark_self(w->here));

    assert_told(w, "start");
    assert_true(hark_is_alive(w->here, c));
    assert_int_equal(hark_actor_stop(w->here, c), HARK_OK);
    assert_told(w, "stop");
    while (hark_is_alive(w->here, c)) {
        assert_null(hark_await(w->here, hark_ask(w->here, c, get), value));
    }
    assert_int_equal(hark_actor_stop(w->here, c), HARK_ENOACTOR);
}

static void
slots_are_used_again_with_other_refs(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 20000; i++) {
        hark_ref c = hark_spawn(w->here, cell, .n = i);

        assert_false(hark_ref_is_null(c));
        assert_int_equal(hark_actor_stop(w->here, c), HARK_OK);
        if (i % 1000 == 0) {
            hark_ref other = hark_spawn(w->here, cell, .n = -1);
            assert_false(hark_ref_equal(c, other));
            assert_int_equal(read_cell(w, other), -1);
        }
    }
}

static void
names_are_found_taken_and_freed(void **state)
{
    struct world *w = *state;
    hark_ref c = hark_spawn_with(w->here, &(hark_spawn_options){.name = "till"}, cell);

    assert_true(hark_ref_equal(hark_lookup(w->here, "till"), c));
    assert_int_equal(hark_register(w->here, "till", c), HARK_EEXIST);
    assert_non_null(strstr(hark_error_of(w->here)->text, "\"till\""));
    assert_int_equal(hark_register(w->here, "cashier", c), HARK_OK);
    assert_int_equal(hark_unregister(w->here, "till"), HARK_OK);
    assert_int_equal(hark_unregister(w->here, "till"), HARK_ENONAME);
    assert_true(hark_ref_is_null(hark_lookup(w->here, "till")));
    assert_true(hark_ref_equal(hark_lookup(w->here, "cashier"), c));
    hark_tell(w->here, c, quit);
    while (hark_is_alive(w->here, c)) {
        assert_null(hark_await(w->here, hark_ask(w->here, c, get), value));
    }
    // The name goes with the actor, in the same turn as its end.
    assert_int_equal(hark_actor_stop(w->here, c), HARK_ENOACTOR);
    for (int i = 0; i < 1000 && !hark_ref_is_null(hark_lookup(w->here, "cashier"));
         i++) {
        (void)read_cell(w, hark_spawn(w->here, cell));
    }
    assert_true(hark_ref_is_null(hark_lookup(w->here, "cashier")));
}

static void
malformed_names_are_refused(void **state)
{
    struct world *w = *state;
    hark_ref c = hark_spawn(w->here, cell);
    char longest[300];

    memset(longest, 'x', sizeof longest);
    longest[256] = '\0';
    assert_int_equal(hark_register(w->here, "", c), HARK_EINVAL);
    assert_int_equal(hark_register(w->here, "a/b", c), HARK_EINVAL);
    assert_int_equal(hark_register(w->here, longest, c), HARK_EINVAL);
    longest[255] = '\0';
    assert_int_equal(hark_register(w->here, longest, c), HARK_OK);
    assert_int_equal(hark_register(w->here, "nobody", (hark_ref){0, 0}), HARK_ENOACTOR);
}

static void
spawn_under_a_taken_name_fails_and_never_starts(void **state)
{
    struct world *w = *state;
    hark_ref first =
        hark_spawn_with(w->here, &(hark_spawn_options){.name = "one"}, cell);
    hark_ref second = hark_spawn_with(w->here, &(hark_spawn_options){.name = "one"},
                                      cell, .reports = hark_self(w->here));

    assert_false(hark_ref_is_null(first));
    assert_true(hark_ref_is_null(second));
    assert_int_equal(hark_error_of(w->here)->code, HARK_EEXIST);
    assert_null(hark_receive(w->here, 50));
}

static void
timer_sends_its_message_not_before_its_time(void **state)
{
    struct world *w = *state;
    hark_timer late = hark_send_after(w->here, 60, hark_self(w->here), told,
                                      .what = HARK_STR("late"));
    hark_timer soon = hark_send_after(w->here, 20, hark_self(w->here), told,
                                      .what = HARK_STR("soon"));

    assert_true(late.id != 0 && soon.id != 0);
    assert_told(w, "soon");
    assert_told(w, "late");
    assert_false(hark_timer_cancel(w->here, soon));
}

static void
cancelled_timer_does_not_fire(void **state)
{
    struct world *w = *state;
    hark_timer t = hark_send_after(w->here, 30, hark_self(w->here), told,
                                   .what = HARK_STR("cancelled"));

    assert_true(hark_timer_cancel(w->here, t));
    assert_false(hark_timer_cancel(w->here, t));
    assert_false(hark_timer_cancel(w->here, (hark_timer){0}));
    assert_false(hark_timer_cancel(w->here, (hark_timer){UINT64_MAX}));
    hark_send_after(w->here, 60, hark_self(w->here), told, .what = HARK_STR("after"));
    assert_told(w, "after");
}

typedef struct {
    hark_promise held;
    int64_t handled;
} gate;

HARK_ON(gate, add) {
    self->handled++;
}
HARK_ON(gate, get) {
    hark_reply(ctx, value, .n = self->handled);
}
HARK_ACTOR(gate, add, get)

static void
full_mailbox_refuses_and_counts_and_serves_on(void **state)
{
    struct world *w = *state;
    hark_ref g =
        hark_spawn_with(w->here, &(hark_spawn_options){.mailbox_limit = 8}, gate);
    int64_t accepted = 0;
    hark_stats stats;

    for (int i = 0; i < 100000; i++) {
        hark_err err = hark_tell(w->here, g, add);
        assert_true(err == HARK_OK || err == HARK_ELIMIT);
        accepted += err == HARK_OK;
    }
    for (;;) { // the question may meet a full mailbox too
        hark_future f = hark_ask(w->here, g, get);
        const value *v = hark_await(w->here, f, value);
        if (v != NULL && v->n == accepted) {
            break;
        }
        assert_true(v != NULL || hark_error_of(w->here)->code == HARK_ELIMIT);
        hark_future_drop(w->here, f);
    }
    hark_stats_read(w->here_system, &stats);
    assert_true(stats.dead_letters >= (uint64_t)(100000 - accepted));
}

static void
dead_letters_reach_their_subscriber_with_the_reason(void **state)
{
    struct world *w = *state;
    hark_ref c = hark_spawn(w->here, cell);

    assert_int_equal(hark_dead_letters_subscribe(w->here, hark_self(w->here)), HARK_OK);
    assert_int_equal(hark_tell(w->here, c, let_go), HARK_OK); // no handler
    hark_message *m = hark_receive(w->here, HARK_SECONDS(10));
    assert_non_null(m);
    const hark_dead_letter *letter = hark_message_as(m, &hark_dead_letter_type);
    assert_non_null(letter);
    assert_int_equal(letter->code, HARK_ENOHANDLER);
    assert_string_equal(letter->type.ptr, "let_go");
    assert_string_equal(letter->text.ptr, "let_go{}");
    assert_true(hark_ref_equal(letter->to, c));
    assert_true(hark_ref_equal(letter->from, hark_self(w->here)));
    hark_message_free(w->here, m);

    assert_int_equal(hark_tell(w->here, ((hark_ref){0, 0}), add, .n = 3),
                     HARK_ENOACTOR);
    m = hark_receive(w->here, HARK_SECONDS(10));
    assert_non_null(m);
    letter = hark_message_as(m, &hark_dead_letter_type);
    assert_string_equal(letter->text.ptr, "add{n: 3}");
    hark_message_free(w->here, m);
}

static void
subscribers_of_dead_letters_are_limited(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 16; i++) {
        assert_int_equal(
            hark_dead_letters_subscribe(w->here, hark_spawn(w->here, cell)), HARK_OK);
    }
    assert_int_equal(hark_dead_letters_subscribe(w->here, hark_self(w->here)),
                     HARK_ELIMIT);
    assert_int_equal(hark_dead_letters_subscribe(w->here, (hark_ref){0, 0}),
                     HARK_EINVAL);
}

static void
null_arguments_are_errors(void **state)
{
    struct world *w = *state;
    hark_ref c = hark_spawn(w->here, cell);
    hark_ref out;

    assert_int_equal(hark_spawn_value(NULL, &cell_behavior, NULL, NULL, &out),
                     HARK_EINVAL);
    assert_int_equal(hark_spawn_value(w->here, NULL, NULL, NULL, &out), HARK_EINVAL);
    assert_int_equal(hark_spawn_value(w->here, &cell_behavior, NULL, NULL, NULL),
                     HARK_EINVAL);
    assert_int_equal(hark_tell_value(NULL, c, &get_type, &(get){0}), HARK_EINVAL);
    assert_int_equal(hark_tell_value(w->here, c, NULL, &(get){0}), HARK_EINVAL);
    assert_int_equal(hark_tell_value(w->here, c, &get_type, NULL), HARK_EINVAL);
    assert_int_equal(hark_send(w->here, c, NULL), HARK_EINVAL);
    assert_int_equal(hark_register(w->here, NULL, c), HARK_EINVAL);
    assert_true(hark_ref_is_null(hark_lookup(w->here, NULL)));
    assert_int_equal(hark_reply_value(w->here, &get_type, &(get){0}), HARK_ENOASK);
    assert_int_equal(hark_actor_stop(w->here, (hark_ref){0, 0}), HARK_EINVAL);
    assert_int_equal(hark_ask_value(NULL, c, &get_type, &(get){0}, NULL).id, 0);
    hark_future f = hark_ask_value(w->here, c, NULL, NULL, NULL);
    assert_null(hark_await(w->here, f, value));
    assert_int_equal(hark_error_of(w->here)->code, HARK_EINVAL);
    assert_null(hark_message_new(w->here, NULL, NULL));
    assert_int_equal(hark_stop(NULL, 0), HARK_OK);
    hark_detach(NULL);
    hark_message_free(w->here, NULL);
    assert_null(hark_attach(NULL));
}

static void
actor_limit_is_kept_and_freed_slots_count_again(void **state)
{
    (void)state;
    hark_system *sys = hark_start(&(hark_options){.workers = 1, .actor_limit = 10});
    hark_ctx *me = hark_attach(sys);
    hark_ref last = {0, 0};
    int count = 0;

    for (hark_ref c; !hark_ref_is_null(c = hark_spawn(me, cell)); last = c) {
        count++;
    }
    assert_int_equal(count, 9); // and this thread
    assert_int_equal(hark_error_of(me)->code, HARK_ELIMIT);
    assert_int_equal(hark_actor_stop(me, last), HARK_OK);
    hark_ref again;
    do { // it has to end first
        again = hark_spawn(me, cell);
    } while (hark_ref_is_null(again));
    assert_int_equal(hark_stop(sys, HARK_SECONDS(10)), HARK_OK);
}

static void
refs_print_readably(void **state)
{
    struct world *w = *state;
    hark_ref c = hark_spawn(w->here, cell);
    char told_text[200];
    char text[100];

    hark_ref_print(w->here, c, text, sizeof text);
    assert_int_equal(strncmp(text, "cell<", 5), 0);
    hark_ref_print(NULL, c, text, sizeof text); // as in a message that is printed
    hark_print(told_text, sizeof told_text, &grow_type, &(grow){.gardener = c});
    assert_non_null(strstr(told_text, text));
    hark_ref_print(w->here, (hark_ref){0, 0}, text, sizeof text);
    assert_string_equal(text, "nobody");
    assert_int_equal(hark_ref_print(w->here, c, NULL, 0),
                     strlen("cell<") + 4 + strlen(".")
                         + (size_t)snprintf(NULL, 0, "%u.%u>", (unsigned)c.actor,
                                            (unsigned)(c.actor >> 32)));
}

static void
million_actors_live_at_once_and_all_answer(void **state)
{
    (void)state;
    enum { COUNT = IS_SANITIZED ? 50 * 1000 : 1000 * 1000 };
    hark_system *sys = hark_start(NULL);
    hark_ctx *me = hark_attach(sys);
    hark_ref *cells = malloc(COUNT * sizeof *cells);
    hark_stats stats;
    int64_t sum = 0;

    assert_non_null(cells);
    for (int64_t i = 0; i < COUNT; i++) {
        cells[i] = hark_spawn(me, cell, .n = i);
        assert_false(hark_ref_is_null(cells[i]));
    }
    hark_stats_read(sys, &stats);
    assert_int_equal(stats.actors, COUNT + 1);
    for (int64_t i = 0; i < COUNT; i++) {
        hark_tell(me, cells[i], add, .n = 1);
    }
    for (int64_t i = 0; i < COUNT; i += 997) {
        hark_future f = hark_ask(me, cells[i], get);
        const value *v = hark_await(me, f, value);
        assert_non_null(v);
        sum += v->n - i;
        hark_future_drop(me, f);
    }
    assert_int_equal(sum, (COUNT + 996) / 997);
    free(cells);
    assert_int_equal(hark_stop(sys, HARK_SECONDS(60)), HARK_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(state_starts_with_the_values_given_and_zero_elsewhere),
        TEST(start_runs_before_the_first_message_and_stop_last),
        TEST(actor_spawns_others_of_its_own_kind),
        TEST(another_can_stop_it_and_only_once),
        TEST(slots_are_used_again_with_other_refs),
        TEST(names_are_found_taken_and_freed),
        TEST(malformed_names_are_refused),
        TEST(spawn_under_a_taken_name_fails_and_never_starts),
        TEST(timer_sends_its_message_not_before_its_time),
        TEST(cancelled_timer_does_not_fire),
        TEST(full_mailbox_refuses_and_counts_and_serves_on),
        TEST(dead_letters_reach_their_subscriber_with_the_reason),
        TEST(subscribers_of_dead_letters_are_limited),
        TEST(null_arguments_are_errors),
        cmocka_unit_test(actor_limit_is_kept_and_freed_slots_count_again),
        TEST(refs_print_readably),
        cmocka_unit_test(million_actors_live_at_once_and_all_answer),
    };
    return cmocka_run_group_tests_name("api/actor", tests, NULL, NULL);
}
