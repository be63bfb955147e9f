#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/env.h"

#define MS INT64_C(1000000)

static void
the_clock_never_goes_back(void **state)
{
    struct env *env = hark__env_real();
    int64_t before = hark__env_now(env);

    (void)state;
    assert_true(before > 0);
    for (int i = 0; i < 10000; i++) {
        int64_t now = hark__env_now(env);

        assert_true(now >= before);
        before = now;
    }
}

static void
random_numbers_do_not_repeat(void **state)
{
    struct env *env = hark__env_real();
    uint64_t seen[64];

    (void)state;
    for (size_t i = 0; i < 64; i++) {
        seen[i] = env->ops->random(env);
        for (size_t j = 0; j < i; j++) {
            assert_true(seen[i] != seen[j]);
        }
    }
}

static void
there_is_a_processor(void **state)
{
    (void)state;
    assert_true(hark__env_processors() >= 1);
}

static void
a_wait_ends_at_its_deadline_and_not_before(void **state)
{
    struct env *env = hark__env_real();
    _Atomic(uint32_t) word = 5;
    int64_t deadline = hark__env_now(env) + 20 * MS;

    (void)state;
    while (hark__env_now(env) < deadline) { // a wait may end early for no reason
        env->ops->wait(env, &word, 5, deadline);
    }
    assert_true(hark__env_now(env) < deadline + 5000 * MS);
}

static void
a_wait_with_a_deadline_in_the_past_returns_at_once(void **state)
{
    struct env *env = hark__env_real();
    _Atomic(uint32_t) word = 5;

    (void)state;
    env->ops->wait(env, &word, 5, 0);
    env->ops->wait(env, &word, 5, -7);
    env->ops->wait(env, &word, 5, INT64_MIN);
    env->ops->wait(env, &word, 5, hark__env_now(env) - 1);
}

static void
a_wait_on_a_word_that_has_changed_returns_at_once(void **state)
{
    struct env *env = hark__env_real();
    _Atomic(uint32_t) word = 6;

    (void)state;
    env->ops->wait(env, &word, 5, INT64_MAX);
}

// Two words between a test and the thread it started.
struct exchange {
    struct env *env;
    _Atomic(uint32_t) there, back; // tester sets there, thread sets back
};

static void
await(struct env *env, _Atomic(uint32_t) *word)
{
    // acquire: pairs with the release of whoever sets it.
    while (atomic_load_explicit(word, memory_order_acquire) == 0) {
        env->ops->wait(env, word, 0, INT64_MAX);
    }
}

static void
set(struct env *env, _Atomic(uint32_t) *word)
{
    // release: pairs with await.
    atomic_store_explicit(word, 1, memory_order_release);
    env->ops->wake(env, word);
}

static void
answer(void *arg)
{
    struct exchange *exchange = arg;

    await(exchange->env, &exchange->there);
    set(exchange->env, &exchange->back);
}

static void
a_wake_ends_a_wait_in_another_thread(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct exchange exchange = {.env = hark__env_real()};
        struct env *env = exchange.env;
        struct thread *thread =
            env->ops->thread_start(env, "answer", answer, &exchange);

        assert_non_null(thread);
        set(env, &exchange.there);
        await(env, &exchange.back);
        env->ops->thread_join(env, thread);
    }
}

static void
a_wake_without_a_waiter_does_nothing(void **state)
{
    struct env *env = hark__env_real();
    _Atomic(uint32_t) word = 0;

    (void)state;
    env->ops->wake(env, &word);
    assert_int_equal(atomic_load(&word), 0);
}

static void
a_spin_ends_at_its_deadline_and_not_before(void **state)
{
    struct env *env = hark__env_real();
    _Atomic(uint32_t) word = 5;
    int64_t deadline = hark__env_now(env) + 1000000;

    (void)state;
    assert_false(env->ops->spin(env, &word, 5, deadline));
    assert_true(hark__env_now(env) >= deadline);
}

static void
set_after_a_while(void *arg)
{
    struct exchange *exchange = arg;
    struct env *env = exchange->env;

    await(env, &exchange->there); // the other one spins soon, or does already
    // release: pairs with spin's acquire.
    atomic_store_explicit(&exchange->back, 1, memory_order_release);
}

static void
a_spin_sees_what_another_thread_sets_without_a_wake(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct exchange exchange = {.env = hark__env_real()};
        struct env *env = exchange.env;
        struct thread *thread =
            env->ops->thread_start(env, "setter", set_after_a_while, &exchange);

        assert_non_null(thread);
        set(env, &exchange.there);
        assert_true(env->ops->spin(env, &exchange.back, 0, INT64_MAX));
        env->ops->thread_join(env, thread);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_never_goes_back),
        cmocka_unit_test(random_numbers_do_not_repeat),
        cmocka_unit_test(there_is_a_processor),
        cmocka_unit_test(a_wait_ends_at_its_deadline_and_not_before),
        cmocka_unit_test(a_wait_with_a_deadline_in_the_past_returns_at_once),
        cmocka_unit_test(a_wait_on_a_word_that_has_changed_returns_at_once),
        cmocka_unit_test(a_wake_ends_a_wait_in_another_thread),
        cmocka_unit_test(a_wake_without_a_waiter_does_nothing),
        cmocka_unit_test(a_spin_ends_at_its_deadline_and_not_before),
        cmocka_unit_test(a_spin_sees_what_another_thread_sets_without_a_wake),
    };
    return cmocka_run_group_tests_name("base/env", tests, NULL, NULL);
}
