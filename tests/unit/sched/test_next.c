#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>

#include <cmocka.h>

#include "sched/next.h"

// An environment that has no barrier, or that meets somebody in the middle of one.
struct odd_env {
    struct env env; // first
    struct env_ops ops;
    struct next *next;
    unsigned barriers; // how many were asked for
    bool can;
};

static bool
odd_barrier(struct env *env)
{
    struct odd_env *odd = (struct odd_env *)env;

    odd->barriers++;
    if (odd->next != NULL) { // as an owner that is in the middle of a swap
        atomic_store(&odd->next->busy, true);
    }
    return odd->can;
}

static struct odd_env
odd_env_of(bool can)
{
    struct odd_env odd = {.ops = {.barrier = odd_barrier}, .can = can};

    return odd;
}

static void
nothing(struct task *task, struct worker *worker, void *local)
{
    (void)task;
    (void)worker;
    (void)local;
}

// Opens a place that holds the task, its steals by this machine's barrier.
static void
open_with(struct next *next, struct task *task)
{
    hark__next_init(next, hark__env_real());
    (void)hark__next_swap(next, task);
}

static void
swap_gives_what_stood_there(void **state)
{
    struct task a = {.run = nothing}, b = {.run = nothing};
    struct next next;

    (void)state;
    hark__next_init(&next, hark__env_real());
    assert_null(hark__next_peek(&next));
    assert_null(hark__next_swap(&next, &a));
    assert_ptr_equal(hark__next_peek(&next), &a);
    assert_ptr_equal(hark__next_swap(&next, &b), &a);
    assert_ptr_equal(hark__next_swap(&next, NULL), &b);
    assert_null(hark__next_peek(&next));
    assert_null(hark__next_swap(&next, NULL));
    hark__next_fini(&next);
}

static void
steal_takes_the_task_once(void **state)
{
    struct task a = {.run = nothing};
    struct next next;

    (void)state;
    open_with(&next, &a);
    assert_true(hark__next_steal(&next, hark__env_real(), &a));
    assert_null(hark__next_peek(&next));
    assert_false(hark__next_steal(&next, hark__env_real(), &a));
    assert_null(hark__next_swap(&next, NULL));
    hark__next_fini(&next);
}

static void
steal_leaves_another_task(void **state)
{
    struct task a = {.run = nothing}, b = {.run = nothing};
    struct next next;

    (void)state;
    open_with(&next, &b);
    assert_false(hark__next_steal(&next, hark__env_real(), &a));
    assert_ptr_equal(hark__next_swap(&next, NULL), &b);
    hark__next_fini(&next);
}

static void
place_serves_its_owner_without_the_lock_after_a_steal(void **state)
{
    struct task a = {.run = nothing};
    struct next next;

    (void)state;
    open_with(&next, &a);
    assert_true(hark__next_steal(&next, hark__env_real(), &a));
    pthread_mutex_lock(&next.lock); // a swap that wanted it would never end
    assert_null(hark__next_swap(&next, &a));
    assert_ptr_equal(hark__next_swap(&next, NULL), &a);
    pthread_mutex_unlock(&next.lock);
    hark__next_fini(&next);
}

static void
steal_gives_up_while_the_owner_is_at_it(void **state)
{
    struct task a = {.run = nothing};
    struct odd_env odd = odd_env_of(true);
    struct next next;

    (void)state;
    open_with(&next, &a);
    odd.env.ops = &odd.ops;
    odd.next = &next;
    assert_false(hark__next_steal(&next, &odd.env, &a));
    assert_int_equal(odd.barriers, 1);
    atomic_store(&next.busy, false);
    assert_ptr_equal(hark__next_swap(&next, NULL), &a);
    hark__next_fini(&next);
}

static void
steal_gives_up_when_the_barrier_fails(void **state)
{
    struct task a = {.run = nothing};
    struct odd_env odd = odd_env_of(false);
    struct next next;

    (void)state;
    odd.env.ops = &odd.ops;
    open_with(&next, &a);
    assert_false(hark__next_steal(&next, &odd.env, &a));
    assert_ptr_equal(hark__next_swap(&next, NULL), &a);
    hark__next_fini(&next);
}

static void
place_stays_revoked_where_there_is_no_barrier(void **state)
{
    struct task a = {.run = nothing}, b = {.run = nothing};
    struct odd_env odd = odd_env_of(false);
    struct next next;

    (void)state;
    odd.env.ops = &odd.ops;
    hark__next_init(&next, &odd.env);
    assert_int_equal(odd.barriers, 1);
    assert_true(atomic_load(&next.revoked));
    assert_null(hark__next_swap(&next, &a));
    assert_ptr_equal(hark__next_swap(&next, &b), &a);
    assert_false(hark__next_steal(&next, &odd.env, &a));
    assert_true(hark__next_steal(&next, &odd.env, &b));
    assert_null(hark__next_swap(&next, &a));
    assert_true(atomic_load(&next.revoked));
    assert_false(atomic_load(&next.busy));
    assert_ptr_equal(hark__next_swap(&next, NULL), &a);
    assert_int_equal(odd.barriers, 1); // nobody asks in vain
    hark__next_fini(&next);
}

// Owner's side of a place that is always revoked: it waits for the lock.
struct waiting_owner {
    struct next *next;
    struct task *task;
    _Atomic(bool) swapped;
};

static void *
owner_main(void *arg)
{
    struct waiting_owner *owner = arg;

    (void)hark__next_swap(owner->next, owner->task);
    atomic_store(&owner->swapped, true);
    return NULL;
}

static void
owner_waits_for_a_watcher_that_has_revoked_the_place(void **state)
{
    struct task a = {.run = nothing};
    struct odd_env odd = odd_env_of(false);
    struct next next;
    struct waiting_owner owner = {.next = &next, .task = &a};
    pthread_t thread;

    (void)state;
    odd.env.ops = &odd.ops;
    hark__next_init(&next, &odd.env);
    pthread_mutex_lock(&next.lock); // as a watcher would
    assert_int_equal(pthread_create(&thread, NULL, owner_main, &owner), 0);
    for (int i = 0; i < 1000; i++) {
        assert_null(hark__next_peek(&next));
        assert_false(atomic_load(&owner.swapped));
    }
    pthread_mutex_unlock(&next.lock);
    pthread_join(thread, NULL);
    assert_ptr_equal(hark__next_peek(&next), &a);
    hark__next_fini(&next);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(swap_gives_what_stood_there),
        cmocka_unit_test(steal_takes_the_task_once),
        cmocka_unit_test(steal_leaves_another_task),
        cmocka_unit_test(place_serves_its_owner_without_the_lock_after_a_steal),
        cmocka_unit_test(steal_gives_up_while_the_owner_is_at_it),
        cmocka_unit_test(steal_gives_up_when_the_barrier_fails),
        cmocka_unit_test(place_stays_revoked_where_there_is_no_barrier),
        cmocka_unit_test(owner_waits_for_a_watcher_that_has_revoked_the_place),
    };
    return cmocka_run_group_tests_name("sched/next", tests, NULL, NULL);
}
