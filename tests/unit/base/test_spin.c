#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/spin.h"

static void
nobody_spins_after_a_long_wait(void **state)
{
    struct spin spin = {0};

    (void)state;
    assert_false(hark__spin_pays(&spin, INT64_MAX)); // nor before the first
    assert_false(hark__spin_pays(&spin, SPIN_AFTER_NS + 1));
    assert_true(hark__spin_pays(&spin, SPIN_AFTER_NS));
    assert_true(hark__spin_pays(&spin, 0));
}

static void
some_spins_in_vain_are_followed_by_waits_that_do_not_spin(void **state)
{
    struct spin spin = {0};

    (void)state;
    for (int i = 0; i < SPIN_MISSES; i++) {
        assert_true(hark__spin_pays(&spin, 0));
        hark__spin_ended(&spin, false);
    }
    for (int i = 0; i < SPIN_PAUSE; i++) {
        assert_false(hark__spin_pays(&spin, 0));
    }
    assert_true(hark__spin_pays(&spin, 0));
}

static void
a_spin_that_finds_something_makes_up_for_misses(void **state)
{
    struct spin spin = {0};

    (void)state;
    for (int i = 0; i < 10 * SPIN_MISSES; i++) {
        assert_true(hark__spin_pays(&spin, 0));
        hark__spin_ended(&spin, i % SPIN_MISSES == SPIN_MISSES - 1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_spins_after_a_long_wait),
        cmocka_unit_test(some_spins_in_vain_are_followed_by_waits_that_do_not_spin),
        cmocka_unit_test(a_spin_that_finds_something_makes_up_for_misses),
    };
    return cmocka_run_group_tests_name("base/spin", tests, NULL, NULL);
}
