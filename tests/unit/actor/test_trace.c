#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "actor/trace.h"

static const hark_type transfer = {.name = "transfer"};
static const hark_type balance = {.name = "balance"};

static int
setup(void **state)
{
    struct traces *traces = test_calloc(1, sizeof *traces);

    assert_true(hark__traces_init(traces));
    *state = traces;
    return 0;
}

static int
teardown(void **state)
{
    hark__traces_fini(*state);
    test_free(*state);
    return 0;
}

static void
a_way_is_kept_once(void **state)
{
    struct traces *traces = *state;
    char site[] = "bank.c:61"; // another address each time, and later other words
    struct trace key = {"bank.c:61", "teller", &transfer, 0};
    uint16_t number = hark__traces_find(traces, &key);

    assert_int_not_equal(number, 0);
    key.site = site;
    assert_int_equal(hark__traces_find(traces, &key), number);
    site[0] = 'r';
    assert_int_not_equal(hark__traces_find(traces, &key), number);
    assert_string_equal(traces->rows[number].site, "bank.c:61");
    key = (struct trace){"bank.c:61", "teller", &balance, 0};
    assert_int_not_equal(hark__traces_find(traces, &key), number);
    key = (struct trace){"bank.c:61", "teller", &transfer, number};
    assert_int_not_equal(hark__traces_find(traces, &key), number);
    key = (struct trace){NULL, NULL, NULL, 0};
    assert_int_not_equal(hark__traces_find(traces, &key), 0);
}

static void
a_way_that_goes_in_circles_does_not_get_longer(void **state)
{
    struct traces *traces = *state;
    static const hark_behavior ping = {.name = "ping"}, pong = {.name = "pong"};
    uint16_t number = 0;

    for (int i = 0; i < 1000; i++) {
        struct trace_known known = {i % 2 == 0 ? "a.c:1" : "b.c:2",
                                    i % 2 == 0 ? &ping : &pong, &transfer, number, 0};
        number = hark__trace_learn(traces, &known);
        assert_int_equal(known.number, number);
    }
    assert_int_equal(traces->count, 3);
}

static void
more_ways_than_there_is_room_for_are_unknown(void **state)
{
    struct traces *traces = *state;
    char site[32];

    for (uint32_t i = 1; i < TRACES + 10; i++) {
        snprintf(site, sizeof site, "a.c:%u", (unsigned)i);
        const struct trace key = {site, "teller", NULL, 0};

        assert_int_equal(hark__traces_find(traces, &key), i < TRACES ? i : 0);
    }
    const struct trace old = {"a.c:7", "teller", NULL, 0};
    assert_int_equal(hark__traces_find(traces, &old), 7);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_way_is_kept_once),
        TEST(a_way_that_goes_in_circles_does_not_get_longer),
        TEST(more_ways_than_there_is_room_for_are_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
