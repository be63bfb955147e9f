#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/ring.h"

enum { TASKS = 40 * RING_SIZE };

// Fixture: two rings and tasks that are told apart by where they stand in an array.
struct fixture {
    struct ring ring, other;
    struct task tasks[TASKS];
};

// The rings' counters start at `start`.
static int
setup_at(void **state, uint32_t start)
{
    static struct fixture fixture; // aligned, unlike test_calloc's memory
    struct fixture *f = &fixture;

    hark__ring_init(&f->ring);
    hark__ring_init(&f->other);
    atomic_init(&f->ring.head, start);
    atomic_init(&f->ring.tail, start);
    atomic_init(&f->other.head, start + 17);
    atomic_init(&f->other.tail, start + 17);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    hark__ring_fini(&f->ring);
    hark__ring_fini(&f->other);
    return 0;
}

static int
setup(void **state)
{
    return setup_at(state, 0);
}

static int
setup_near_wrap(void **state)
{
    return setup_at(state, UINT32_MAX - 100);
}

static void
push_range(struct fixture *f, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        assert_true(hark__ring_push(&f->ring, &f->tasks[i]));
    }
}

static void
assert_pops(struct fixture *f, struct ring *ring, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        assert_ptr_equal(hark__ring_pop(ring), &f->tasks[i]);
    }
}

static void
an_empty_ring_gives_nothing(void **state)
{
    struct fixture *f = *state;

    assert_true(hark__ring_is_empty(&f->ring));
    assert_null(hark__ring_pop(&f->ring));
    assert_null(hark__ring_steal(&f->ring, &f->other));
}

static void
tasks_come_out_in_the_order_they_went_in(void **state)
{
    struct fixture *f = *state;

    push_range(f, 0, 10);
    assert_false(hark__ring_is_empty(&f->ring));
    assert_pops(f, &f->ring, 0, 5);
    push_range(f, 10, 5);
    assert_pops(f, &f->ring, 5, 10);
    assert_true(hark__ring_is_empty(&f->ring));
}

static void
a_full_ring_refuses_and_takes_again_after_a_pop(void **state)
{
    struct fixture *f = *state;

    push_range(f, 0, RING_SIZE);
    assert_false(hark__ring_push(&f->ring, &f->tasks[RING_SIZE]));
    assert_pops(f, &f->ring, 0, 1);
    assert_true(hark__ring_push(&f->ring, &f->tasks[RING_SIZE]));
    assert_pops(f, &f->ring, 1, RING_SIZE);
    assert_null(hark__ring_pop(&f->ring));
}

static void
order_holds_over_many_rounds_of_places(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 50; round++) {
        push_range(f, 0, 200);
        assert_pops(f, &f->ring, 0, 200);
    }
}

static void
a_thief_takes_a_lone_task(void **state)
{
    struct fixture *f = *state;

    push_range(f, 0, 1);
    assert_ptr_equal(hark__ring_steal(&f->ring, &f->other), &f->tasks[0]);
    assert_true(hark__ring_is_empty(&f->ring));
    assert_true(hark__ring_is_empty(&f->other));
}

static void
a_thief_takes_the_older_half_rounded_up(void **state)
{
    struct fixture *f = *state;

    push_range(f, 0, 7);
    assert_ptr_equal(hark__ring_steal(&f->ring, &f->other), &f->tasks[0]);
    assert_pops(f, &f->other, 1, 3);
    assert_null(hark__ring_pop(&f->other));
    assert_pops(f, &f->ring, 4, 3);
    assert_null(hark__ring_pop(&f->ring));
}

static void
a_thief_takes_half_of_a_full_ring(void **state)
{
    struct fixture *f = *state;

    push_range(f, 0, RING_SIZE);
    assert_ptr_equal(hark__ring_steal(&f->ring, &f->other), &f->tasks[0]);
    assert_pops(f, &f->other, 1, RING_SIZE / 2 - 1);
    assert_null(hark__ring_pop(&f->other));
    push_range(f, RING_SIZE, RING_SIZE / 2);
    assert_pops(f, &f->ring, RING_SIZE / 2, RING_SIZE);
}

// Pushes as a worker does.
static void
push_and_grow(struct fixture *f, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        if (!hark__ring_push(&f->ring, &f->tasks[i])) {
            assert_true(hark__ring_grow(&f->ring));
            assert_true(hark__ring_push(&f->ring, &f->tasks[i]));
        }
    }
}

static void
a_ring_that_has_grown_keeps_the_order(void **state)
{
    struct fixture *f = *state;

    push_range(f, 0, 100);
    assert_pops(f, &f->ring, 0, 90); // what is left does not start a row
    push_and_grow(f, 100, TASKS - 100);
    assert_int_equal(hark__ring_count(&f->ring), TASKS - 90);
    assert_pops(f, &f->ring, 90, TASKS - 90);
    assert_null(hark__ring_pop(&f->ring));
}

static void
an_empty_ring_is_as_short_as_a_new_one(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 3; round++) {
        push_and_grow(f, 0, TASKS);
        assert_pops(f, &f->ring, 0, TASKS);
        assert_null(hark__ring_pop(&f->ring));
        push_range(f, 0, RING_SIZE);
        assert_false(hark__ring_push(&f->ring, &f->tasks[RING_SIZE]));
        hark__ring_trim(&f->ring);
        assert_pops(f, &f->ring, 0, RING_SIZE);
    }
}

static void
a_thief_takes_a_bounded_share_of_a_long_ring(void **state)
{
    struct fixture *f = *state;
    const size_t own = 10 * RING_SIZE;

    push_and_grow(f, 0, own);
    assert_ptr_equal(hark__ring_steal(&f->ring, &f->other), &f->tasks[0]);
    assert_pops(f, &f->other, 1, RING_STEAL - 1);
    assert_null(hark__ring_pop(&f->other));
    assert_pops(f, &f->ring, RING_STEAL, own - RING_STEAL);
}

// Room for 300,000 tasks is more than stays warm.
static void
trimming_leaves_what_a_long_ring_holds(void **state)
{
    struct fixture *f = *state;
    const size_t laps = 300000 / TASKS;

    for (size_t lap = 0; lap < laps; lap++) {
        push_and_grow(f, 0, TASKS);
    }
    hark__ring_trim(&f->ring);
    for (size_t lap = 0; lap < laps; lap++) {
        assert_pops(f, &f->ring, 0, TASKS);
    }
    assert_null(hark__ring_pop(&f->ring));
    hark__ring_trim(&f->ring);
    assert_int_equal(f->ring.longest, 8);
    for (size_t lap = 0; lap < laps; lap++) { // and what was trimmed serves again
        push_and_grow(f, 0, TASKS);
    }
    for (size_t lap = 0; lap < laps; lap++) {
        assert_pops(f, &f->ring, 0, TASKS);
    }
}

static void
a_thief_takes_no_more_than_it_has_room_for(void **state)
{
    struct fixture *f = *state;

    push_range(f, 0, 200);
    for (unsigned i = 0; i < RING_SIZE - 3; i++) {
        assert_true(hark__ring_push(&f->other, &f->tasks[200 + i]));
    }
    // One in hand, three in the ring.
    assert_ptr_equal(hark__ring_steal(&f->ring, &f->other), &f->tasks[0]);
    assert_pops(f, &f->other, 200, RING_SIZE - 3);
    assert_pops(f, &f->other, 1, 3);
    assert_null(hark__ring_pop(&f->other));
    assert_pops(f, &f->ring, 4, 196);
}

static void
stolen_tasks_can_be_stolen_back(void **state)
{
    struct fixture *f = *state;

    push_range(f, 0, 8);
    assert_ptr_equal(hark__ring_steal(&f->ring, &f->other), &f->tasks[0]);
    assert_pops(f, &f->ring, 4, 4);
    assert_ptr_equal(hark__ring_steal(&f->other, &f->ring), &f->tasks[1]);
    assert_pops(f, &f->ring, 2, 1);
    assert_pops(f, &f->other, 3, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_WRAP(name)                                                                \
    {                                                                                  \
        "near wrap: " #name, name, setup_near_wrap, teardown, NULL                     \
    }

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_ring_gives_nothing),
        TEST(tasks_come_out_in_the_order_they_went_in),
        TEST(a_full_ring_refuses_and_takes_again_after_a_pop),
        TEST(order_holds_over_many_rounds_of_places),
        TEST(a_thief_takes_a_lone_task),
        TEST(a_thief_takes_the_older_half_rounded_up),
        TEST(a_thief_takes_half_of_a_full_ring),
        TEST(a_thief_takes_no_more_than_it_has_room_for),
        TEST(a_ring_that_has_grown_keeps_the_order),
        TEST(an_empty_ring_is_as_short_as_a_new_one),
        TEST(a_thief_takes_a_bounded_share_of_a_long_ring),
        TEST(trimming_leaves_what_a_long_ring_holds),
        TEST(stolen_tasks_can_be_stolen_back),
        TEST_WRAP(a_full_ring_refuses_and_takes_again_after_a_pop),
        TEST_WRAP(order_holds_over_many_rounds_of_places),
        TEST_WRAP(a_thief_takes_half_of_a_full_ring),
        TEST_WRAP(a_ring_that_has_grown_keeps_the_order),
        TEST_WRAP(a_thief_takes_a_bounded_share_of_a_long_ring),
        TEST_WRAP(stolen_tasks_can_be_stolen_back),
    };
    return cmocka_run_group_tests_name("sched/ring", tests, NULL, NULL);
}
