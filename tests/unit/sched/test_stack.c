#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sched/stack.h"

enum { BYTES = 32 * 1024, LIMIT = 4096 };

// Fixture: stacks, and what runs on them.
struct fixture {
    struct stacks stacks;
    struct stack_cache cache;
    struct stack home;
    struct stack *stack; // that runs
    struct stack *other; // that is left
    struct stack **all;
    int steps[16];
    int step_count;
};

static struct fixture *running; // what an entry finds: it is given a stack alone

static int
setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);

    assert_true(hark__stacks_init(&f->stacks, BYTES, LIMIT));
    f->all = test_calloc(LIMIT, sizeof *f->all);
    running = f;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    hark__stacks_return(&f->stacks, &f->cache);
    hark__stacks_fini(&f->stacks);
    test_free(f->all);
    test_free(f);
    return 0;
}

static struct stack *
take(struct fixture *f)
{
    return hark__stack_take(&f->stacks, &f->cache);
}

static void
give(struct fixture *f, struct stack *stack)
{
    hark__stack_give(&f->stacks, &f->cache, stack);
}

static void
note(int step)
{
    running->steps[running->step_count++] = step;
}

static void
check_steps(const struct fixture *f, const int *expected, int count)
{
    assert_int_equal(f->step_count, count);
    assert_memory_equal(f->steps, expected, (size_t)count * sizeof *expected);
}

static void
go_home(struct stack *stack)
{
    note(1);
    hark__stack_resume(stack, &running->home);
}

static void
a_stack_is_entered_and_left(void **state)
{
    struct fixture *f = *state;
    struct stack *stack = take(f);

    assert_non_null(stack);
    for (int i = 0; i < 3; i++) {
        hark__stack_enter(&f->home, stack, go_home);
        note(2);
    }
    check_steps(f, (const int[]){1, 2, 1, 2, 1, 2}, 6);
    give(f, stack);
}

// On the second stack: goes on with the first, for good.
static void
go_back(struct stack *stack)
{
    note(2);
    hark__stack_resume(stack, running->other);
}

// On the first stack: leaves it for a second one, and is gone on with.
static void
leave_and_return(struct stack *stack)
{
    volatile char frame[4096];
    struct stack *second = take(running);

    memset((char *)frame, 42, sizeof frame);
    note(1);
    running->other = stack;
    hark__stack_prepare(second, go_back);
    struct stack *left = hark__stack_switch(stack, second);
    note(3);
    for (size_t i = 0; i < sizeof frame; i++) {
        if (frame[i] != 42) {
            note(-1);
        }
    }
    if (left != second) {
        note(-2);
    }
    give(running, left);
    hark__stack_resume(stack, &running->home);
}

static void
a_stack_that_was_left_is_as_it_was(void **state)
{
    struct fixture *f = *state;
    struct stack *stack = take(f);

    hark__stack_enter(&f->home, stack, leave_and_return);
    check_steps(f, (const int[]){1, 2, 3}, 3);
    give(f, stack);
}

// A loop: goes back each time, and is there for whoever takes the stack.
static void
go_back_parked(struct stack *stack)
{
    for (int i = 0;; i++) {
        note(10 + i);
        stack->parked = true;
        (void)hark__stack_switch(stack, running->other);
    }
}

static void
leave_twice(struct stack *stack)
{
    running->other = stack;
    for (int i = 0; i < 2; i++) {
        struct stack *second = take(running);

        note(second->parked);
        if (!second->parked) {
            hark__stack_prepare(second, go_back_parked);
        }
        second->parked = false;
        give(running, hark__stack_switch(stack, second));
    }
    hark__stack_resume(stack, &running->home);
}

static void
a_parked_loop_goes_on_when_its_stack_is_taken(void **state)
{
    struct fixture *f = *state;
    struct stack *stack = take(f);

    hark__stack_enter(&f->home, stack, leave_twice);
    check_steps(f, (const int[]){0, 10, 1, 11}, 4);
    give(f, stack);
}

static void
park(struct stack *stack)
{
    for (;;) {
        stack->parked = true;
        (void)hark__stack_switch(stack, running->other);
    }
}

// Has all that there are parked, and given back; notes how many loops were there.
static void
park_all(struct stack *stack)
{
    int loops = 0;

    running->other = stack;
    for (int i = 0; i < LIMIT - 1; i++) {
        running->all[i] = take(running);
        loops += running->all[i]->parked;
        if (!running->all[i]->parked) {
            hark__stack_prepare(running->all[i], park);
        }
        running->all[i]->parked = false;
        (void)hark__stack_switch(stack, running->all[i]);
    }
    for (int i = 0; i < LIMIT - 1; i++) {
        give(running, running->all[i]);
    }
    note(loops);
    hark__stack_resume(stack, &running->home);
}

static void
a_stack_whose_pages_are_dropped_begins_anew(void **state)
{
    struct fixture *f = *state;
    struct stack *stack = take(f);

    hark__stack_enter(&f->home, stack, park_all);
    assert_int_equal(f->steps[0], 0);
    hark__stack_enter(&f->home, stack, park_all);
    assert_true(f->steps[1] > 0); // they have kept theirs
    assert_true(f->steps[1] < LIMIT - 1);
    give(f, stack);
}

static void
stacks_are_used_again(void **state)
{
    struct fixture *f = *state;
    struct stack *first = take(f);

    give(f, first);
    assert_ptr_equal(take(f), first);
    give(f, first);
    assert_int_equal(f->stacks.made, 1);
}

static void
there_are_as_many_as_the_limit_says(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < LIMIT; i++) {
            f->all[i] = take(f);
            assert_non_null(f->all[i]);
            *(volatile char *)hark__stack_bottom(&f->stacks, f->all[i]) = 1; // its own
        }
        assert_null(take(f));
        for (size_t i = 0; i < LIMIT; i++) {
            give(f, f->all[i]);
        }
    }
}

static void
the_deepest_is_found(void **state)
{
    struct fixture *f = *state;
    struct stack *stack = take(f);
    volatile char *bottom = hark__stack_bottom(&f->stacks, stack);

    assert_in_range(hark__stacks_deepest(&f->stacks), 1, 4096);
    bottom[f->stacks.usable_bytes - 10000] = 1;
    assert_in_range(hark__stacks_deepest(&f->stacks), 10000, 10000 + 4096);
    bottom[0] = 1;
    assert_int_equal(hark__stacks_deepest(&f->stacks), f->stacks.usable_bytes);
    give(f, stack);
}

// In a process of its own. Returns the signal that it ended by.
static int
signal_of_a_write_at(volatile char *place)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGSEGV, SIG_DFL); // a sanitizer's would write a report
        *place = 1;
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void
what_is_below_a_stack_is_closed(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 2; i++) {
        struct stack *stack = take(f);
        volatile char *bottom = hark__stack_bottom(&f->stacks, stack);

        assert_int_equal(signal_of_a_write_at(bottom), 0);
        assert_int_equal(signal_of_a_write_at(bottom - 1), SIGSEGV);
        assert_int_equal(signal_of_a_write_at(bottom - 16 * 1024), SIGSEGV);
        f->stacks.guard = STACK_GUARD_PROTECT; // the next one as on an older kernel
        f->all[i] = stack;
    }
    give(f, f->all[0]);
    give(f, f->all[1]);
}

static void
a_size_is_rounded_up(void **state)
{
    struct stacks stacks;

    (void)state;
    assert_true(hark__stacks_init(&stacks, 1, 128));
    assert_int_equal(stacks.usable_bytes, 16 * 1024 * SANITIZE_STACK_FACTOR);
    hark__stacks_fini(&stacks);
    assert_true(hark__stacks_init(&stacks, 100001, 128));
    assert_int_equal(stacks.usable_bytes % (size_t)sysconf(_SC_PAGESIZE), 0);
    assert_true(stacks.usable_bytes >= 100001);
    hark__stacks_fini(&stacks);
}

static void
more_addresses_than_there_are_give_fewer_stacks(void **state)
{
    struct stacks stacks;

    (void)state;
    assert_true(hark__stacks_init(&stacks, (size_t)1 << 30, UINT32_MAX));
    assert_true(stacks.limit < UINT32_MAX);
    assert_true(stacks.limit > 0);
    hark__stacks_fini(&stacks);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_stack_is_entered_and_left),
        TEST(a_stack_that_was_left_is_as_it_was),
        TEST(a_parked_loop_goes_on_when_its_stack_is_taken),
        TEST(a_stack_whose_pages_are_dropped_begins_anew),
        TEST(stacks_are_used_again),
        TEST(there_are_as_many_as_the_limit_says),
        TEST(the_deepest_is_found),
        TEST(what_is_below_a_stack_is_closed),
        TEST(a_size_is_rounded_up),
        TEST(more_addresses_than_there_are_give_fewer_stacks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
