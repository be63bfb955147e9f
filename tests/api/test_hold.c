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
int
main(void)
{
    const struct CMUnitTest once[] = {
        cmocka_unit_test(an_error_may_be_set),
        cmocka_unit_test(the_clock_goes_forward_and_timers_go_by_it),
    };

    return cmocka_run_group_tests_name("hold", once, NULL, NULL);
}
