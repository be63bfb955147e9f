#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/wheel.h"

#define MS INT64_C(1000000)
// A start that stands at no round number on any level.
#define START (INT64_C(123456789) * MS + 345678)

// Fixture: a wheel, and what fired.
struct fixture {
    struct wheel *wheel;
    int64_t now;
    uint64_t fired;   // how many
    uint64_t last;    // the word of the latest
    uint64_t dropped; // how many went to `dropped`
};

static int
setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);

    f->now = START;
    f->wheel = hark__wheel_open(START);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    hark__wheel_close(f->wheel, NULL, NULL);
    test_free(f);
    return 0;
}

static void
note(void *poll_arg, struct timer_action *action)
{
    struct fixture *f = poll_arg;

    f->fired++;
    f->last = action->word;
}

static void
note_dropped(void *arg, struct timer_action *action)
{
    struct fixture *f = arg;

    assert_ptr_equal(action->data, f);
    f->dropped++;
}

static uint64_t
arm(struct fixture *f, int64_t deadline, uint64_t word)
{
    const struct timer_action action = {.fire = note, .data = f, .word = word};
    bool earlier;
    uint64_t id = hark__wheel_arm(f->wheel, deadline, &action, &earlier);

    assert_int_not_equal(id, 0);
    assert_int_equal(id >> 58, 0);
    return id;
}

static unsigned
poll_at(struct fixture *f, int64_t now)
{
    f->now = now;
    return hark__wheel_poll(f->wheel, now, f);
}

// The first tick at or after a moment.
static int64_t
tick_from(int64_t at)
{
    return (at + MS - 1) / MS * MS;
}

static void
an_empty_wheel_has_no_deadline_and_fires_nothing(void **state)
{
    struct fixture *f = *state;

    assert_true(hark__wheel_next_ns(f->wheel) == INT64_MAX);
    assert_int_equal(poll_at(f, START + 3600000 * MS), 0);
    assert_true(hark__wheel_next_ns(f->wheel) == INT64_MAX);
}

static void
a_timer_fires_at_the_first_tick_after_its_deadline(void **state)
{
    struct fixture *f = *state;
    // One on each level, and where levels meet.
    static const int64_t delays_ms[] = {1,      2,      62,       63,        64,
                                        65,     100,    4095,     4096,      4097,
                                        262143, 262144, 16777216, 1073741824};

    for (size_t i = 0; i < sizeof delays_ms / sizeof delays_ms[0]; i++) {
        int64_t deadline = f->now + delays_ms[i] * MS + 17;
        int64_t tick = tick_from(deadline);

        arm(f, deadline, i);
        assert_int_equal(poll_at(f, tick - 1), 0);
        assert_true(hark__wheel_next_ns(f->wheel) <= tick);
        assert_int_equal(poll_at(f, tick), 1);
        assert_int_equal(f->last, i);
    }
}

static void
a_deadline_on_a_tick_fires_at_that_tick(void **state)
{
    struct fixture *f = *state;
    int64_t deadline = tick_from(START) + 70 * MS;

    arm(f, deadline, 1);
    assert_int_equal(poll_at(f, deadline - 1), 0);
    assert_int_equal(poll_at(f, deadline), 1);
}

static void
a_past_deadline_fires_at_the_next_tick(void **state)
{
    struct fixture *f = *state;
    static const int64_t past[] = {START, START - 5000 * MS, 0, -1, INT64_MIN};

    for (size_t i = 0; i < sizeof past / sizeof past[0]; i++) {
        arm(f, past[i], i);
    }
    assert_int_equal(poll_at(f, START + MS), 5);
}

static void
a_deadline_at_the_end_of_time_does_not_fire(void **state)
{
    struct fixture *f = *state;

    arm(f, INT64_MAX, 1);
    assert_int_equal(poll_at(f, START + INT64_C(365) * 24 * 3600000 * MS), 0);
}

static void
arming_says_whether_it_is_the_earliest(void **state)
{
    struct fixture *f = *state;
    const struct timer_action action = {.fire = note, .data = f};
    bool earlier = false;

    hark__wheel_arm(f->wheel, START + 50 * MS, &action, &earlier);
    assert_true(earlier);
    hark__wheel_arm(f->wheel, START + 60 * MS, &action, &earlier);
    assert_false(earlier);
    hark__wheel_arm(f->wheel, START + 40 * MS, &action, &earlier);
    assert_true(earlier);
    assert_true(hark__wheel_next_ns(f->wheel) == tick_from(START + 40 * MS));
}

static void
a_cancelled_timer_does_not_fire_and_gives_its_action_back(void **state)
{
    struct fixture *f = *state;
    struct timer_action action = {0};
    uint64_t id = arm(f, START + 100 * MS, 42);

    assert_true(hark__wheel_cancel(f->wheel, id, &action));
    assert_int_equal(action.word, 42);
    assert_ptr_equal(action.data, f);
    assert_int_equal(poll_at(f, START + 1000 * MS), 0);
}

static void
one_of_several_at_a_tick_can_be_cancelled(void **state)
{
    struct fixture *f = *state;
    struct timer_action action;

    for (int which = 0; which < 3; which++) { // the first, a middle one, the last
        int64_t deadline = f->now + 200 * MS;
        uint64_t ids[3];

        for (uint64_t i = 0; i < 3; i++) {
            ids[i] = arm(f, deadline, i);
        }
        assert_true(hark__wheel_cancel(f->wheel, ids[which], &action));
        arm(f, deadline, 3);
        assert_int_equal(poll_at(f, deadline + MS), 3);
        assert_int_equal(f->last, 3);
    }
}

static void
an_id_is_stale_once_it_fired_or_was_cancelled(void **state)
{
    struct fixture *f = *state;
    struct timer_action action;
    uint64_t fired = arm(f, START + MS, 1);
    uint64_t cancelled = arm(f, START + 9 * MS, 2);

    assert_true(hark__wheel_cancel(f->wheel, cancelled, &action));
    assert_int_equal(poll_at(f, START + 2 * MS), 1);
    assert_false(hark__wheel_cancel(f->wheel, fired, &action));
    assert_false(hark__wheel_cancel(f->wheel, cancelled, &action));

    // Their records serve again, under other ids.
    uint64_t third = arm(f, START + 20 * MS, 3);
    uint64_t fourth = arm(f, START + 20 * MS, 4);
    assert_false(hark__wheel_cancel(f->wheel, fired, &action));
    assert_false(hark__wheel_cancel(f->wheel, cancelled, &action));
    assert_true(hark__wheel_cancel(f->wheel, third, &action));
    assert_true(hark__wheel_cancel(f->wheel, fourth, &action));
}

static void
an_id_that_never_was_is_refused(void **state)
{
    struct fixture *f = *state;
    struct timer_action action;

    assert_false(hark__wheel_cancel(f->wheel, 0, &action));
    assert_false(hark__wheel_cancel(f->wheel, 77, &action));
    arm(f, START + 20 * MS, 3);
    assert_false(hark__wheel_cancel(f->wheel, 1, &action));
    assert_false(hark__wheel_cancel(f->wheel, UINT64_MAX, &action));
}

static void
timers_fire_in_the_order_of_their_ticks(void **state)
{
    struct fixture *f = *state;

    for (uint64_t i = 0; i < 500; i++) { // in no order, over three levels
        arm(f, START + (int64_t)(i * 7919 % 500 + 1) * 17 * MS, i);
    }
    for (int64_t step = 1; step <= 500; step++) {
        assert_int_equal(poll_at(f, tick_from(START + step * 17 * MS)), 1);
        assert_int_equal((int64_t)(f->last * 7919 % 500 + 1), step);
    }
}

static void
a_late_poll_fires_all_that_is_due(void **state)
{
    struct fixture *f = *state;

    for (int64_t i = 1; i <= 1000; i++) {
        arm(f, START + i * i * MS, 1);
    }
    assert_int_equal(poll_at(f, START + 500 * 500 * MS + MS), 500);
    assert_int_equal(poll_at(f, START + 1000 * 1000 * MS + MS), 500);
    assert_true(hark__wheel_next_ns(f->wheel) == INT64_MAX);
}

static void
arm_again(void *poll_arg, struct timer_action *action)
{
    struct fixture *f = poll_arg;
    struct timer_action again = *action;
    bool earlier;

    f->fired++;
    if (again.word-- > 0) {
        hark__wheel_arm(f->wheel, f->now + 10 * MS, &again, &earlier);
    }
}

static void
an_action_may_arm_the_wheel_that_fires_it(void **state)
{
    struct fixture *f = *state;
    const struct timer_action action = {.fire = arm_again, .word = 2};
    bool earlier;

    hark__wheel_arm(f->wheel, START + MS, &action, &earlier);
    assert_int_equal(poll_at(f, START + 2 * MS), 1);
    assert_int_equal(poll_at(f, START + 13 * MS), 1);
    assert_int_equal(poll_at(f, START + 24 * MS), 1);
    assert_int_equal(poll_at(f, START + 35 * MS), 0);
}

// ---- many, over all levels, in virtual time ----

enum { MANY = 1 << 18, ROUNDS = 8 };

struct many {
    struct fixture *f;
    int64_t *deadlines; // by word
    int64_t before;     // the time of the poll before this one
};

static void
check_moment(void *poll_arg, struct timer_action *action)
{
    struct many *many = action->data;
    int64_t tick = tick_from(many->deadlines[action->word]);

    (void)poll_arg;
    if (many->f->now < tick) {
        fail_msg("fired %ld ns before its tick", (long)(tick - many->f->now));
    }
    if (many->before >= tick) {
        fail_msg("fired %ld ns too late", (long)(many->before - tick));
    }
    many->f->fired++;
}

static uint64_t
next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void
arm_many(struct many *many, uint64_t *ids, uint64_t *seed)
{
    for (uint64_t i = 0; i < MANY; i++) {
        const struct timer_action action = {
            .fire = check_moment, .data = many, .word = i};
        bool earlier;
        // Up to 2^(10..53) ns: every level has its share.
        uint64_t delay = next_random(seed) >> (11 + next_random(seed) % 43);

        many->deadlines[i] = many->f->now + 1 + (int64_t)delay;
        ids[i] = hark__wheel_arm(many->f->wheel, many->deadlines[i], &action, &earlier);
        assert_int_not_equal(ids[i], 0);
    }
}

static uint64_t
cancel_every_third(struct many *many, const uint64_t *ids)
{
    uint64_t cancelled = 0;

    for (uint64_t i = 0; i < MANY; i += 3) {
        struct timer_action action;

        assert_true(hark__wheel_cancel(many->f->wheel, ids[i], &action));
        assert_int_equal(action.word, i);
        cancelled++;
    }
    return cancelled;
}

static void
millions_of_timers_fire_at_their_moment(void **state)
{
    struct fixture *f = *state;
    struct many many = {.f = f, .deadlines = test_calloc(MANY, sizeof(int64_t))};
    uint64_t *ids = test_calloc(MANY, sizeof *ids);
    uint64_t seed = 0x9E3779B97F4A7C15;

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t expected = f->fired + MANY;

        arm_many(&many, ids, &seed);
        expected -= cancel_every_third(&many, ids);
        // Time goes from one deadline to the next, as for a worker that sleeps well.
        while (hark__wheel_next_ns(f->wheel) != INT64_MAX) {
            many.before = f->now;
            poll_at(f, hark__wheel_next_ns(f->wheel));
        }
        assert_true(f->fired == expected);
    }
    test_free(ids);
    test_free(many.deadlines);
}

static void
closing_drops_what_has_not_fired(void **state)
{
    struct fixture *f = *state;
    struct wheel *wheel = f->wheel;
    struct timer_action action;

    arm(f, START + MS, 1);
    for (int64_t i = 0; i < 3000; i++) {
        arm(f, START + (i + 10) * MS, 2);
    }
    assert_true(hark__wheel_cancel(wheel, arm(f, START + 5 * MS, 3), &action));
    assert_int_equal(poll_at(f, START + 2 * MS), 1);
    hark__wheel_close(wheel, note_dropped, f);
    assert_int_equal(f->dropped, 3000);
    f->wheel = hark__wheel_open(START);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void
the_reserve_fires_once_at_the_earliest_deadline_it_was_given(void **state)
{
    struct fixture *f = *state;
    struct timer_action action = {.fire = note, .data = f, .word = 7};

    assert_true(hark__wheel_arm_reserve(f->wheel, START + 300 * MS, &action));
    assert_true(hark__wheel_arm_reserve(f->wheel, START + 100 * MS, &action));
    assert_false(hark__wheel_arm_reserve(f->wheel, START + 200 * MS, &action));
    arm(f, START + 150 * MS, 8);
    assert_int_equal(poll_at(f, START + 99 * MS), 0);
    assert_int_equal(poll_at(f, START + 102 * MS), 1);
    assert_int_equal(f->last, 7);
    assert_int_equal(poll_at(f, START + 400 * MS), 1);
    assert_int_equal(f->last, 8);
    // It may be used again, and takes no other's record.
    (void)hark__wheel_arm_reserve(f->wheel, START + 500 * MS, &action);
    arm(f, START + 500 * MS, 9);
    assert_int_equal(poll_at(f, START + 502 * MS), 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_wheel_has_no_deadline_and_fires_nothing),
        TEST(a_timer_fires_at_the_first_tick_after_its_deadline),
        TEST(a_deadline_on_a_tick_fires_at_that_tick),
        TEST(a_past_deadline_fires_at_the_next_tick),
        TEST(a_deadline_at_the_end_of_time_does_not_fire),
        TEST(arming_says_whether_it_is_the_earliest),
        TEST(a_cancelled_timer_does_not_fire_and_gives_its_action_back),
        TEST(one_of_several_at_a_tick_can_be_cancelled),
        TEST(an_id_is_stale_once_it_fired_or_was_cancelled),
        TEST(an_id_that_never_was_is_refused),
        TEST(timers_fire_in_the_order_of_their_ticks),
        TEST(a_late_poll_fires_all_that_is_due),
        TEST(an_action_may_arm_the_wheel_that_fires_it),
        TEST(millions_of_timers_fire_at_their_moment),
        TEST(the_reserve_fires_once_at_the_earliest_deadline_it_was_given),
        TEST(closing_drops_what_has_not_fired),
    };
    return cmocka_run_group_tests_name("sched/wheel", tests, NULL, NULL);
}
