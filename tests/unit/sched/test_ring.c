#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/ring.h"

enum { TASKS = 3 * RING_SIZE };

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

    *f = (struct fixture){0};
    atomic_init(&f->ring.head, start);
    atomic_init(&f->ring.tail, start);
    atomic_init(&f->other.head, start + 17);
    atomic_init(&f->other.tail, start + 17);
    *state = f;
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

#define TEST(name) cmocka_unit_test_setup(name, setup)
#define TEST_WRAP(name)                                                                \
    {                                                                                  \
        "near wrap: " #name, name, setup_near_wrap, NULL, NULL                         \
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
        TEST(stolen_tasks_can_be_stolen_back),
        TEST_WRAP(a_full_ring_refuses_and_takes_again_after_a_pop),
        TEST_WRAP(order_holds_over_many_rounds_of_places),
        TEST_WRAP(a_thief_takes_half_of_a_full_ring),
        TEST_WRAP(stolen_tasks_can_be_stolen_back),
    };
    return cmocka_run_group_tests_name("sched/ring", tests, NULL, NULL);
}
