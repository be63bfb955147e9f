#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "actor/trace.h"

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
    struct trace key = {.site = "bank.c:61", .who = "teller", .in = "transfer"};
    uint16_t number = hark__traces_find(traces, &key);

    assert_int_not_equal(number, 0);
    key.site = site;
    assert_int_equal(hark__traces_find(traces, &key), number);
    site[0] = 'r';
    assert_int_not_equal(hark__traces_find(traces, &key), number);
    assert_string_equal(hark__trace_row(traces, number)->site, "bank.c:61");
    assert_string_equal(hark__trace_row(traces, number)->who, "teller");
    assert_string_equal(hark__trace_row(traces, number)->in, "transfer");
    assert_null(hark__trace_row(traces, number)->node);
}

static void
each_part_tells_ways_apart(void **state)
{
    struct traces *traces = *state;
    const struct trace key = {.site = "a", .who = "b", .in = "c", .node = "d"};
    uint16_t number = hark__traces_find(traces, &key);
    struct trace others[] = {key, key, key, key, key, key, {0}};

    others[0].site = NULL;
    others[1].who = "a";
    others[2].in = NULL;
    others[3].node = NULL;
    others[4].kind = TRACE_ARMED;
    others[5].parent = number;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        // Each is new: so all of them differ.
        assert_int_equal(hark__traces_find(traces, &others[i]), number + 1 + i);
        assert_int_equal(hark__traces_find(traces, &others[i]), number + 1 + i);
    }
    assert_int_equal(hark__traces_find(traces, &key), number);
}

static void
a_way_that_goes_in_circles_does_not_get_longer(void **state)
{
    struct traces *traces = *state;
    struct trace ping = {.site = "a.c:1", .who = "ping", .in = "ball"};
    struct trace pong = {.site = "b.c:2", .who = "pong", .in = "ball"};

    for (int i = 0; i < 1000; i++) {
        pong.parent = hark__traces_recur(traces, &ping);
        ping.parent = hark__traces_recur(traces, &pong);
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
        const struct trace key = {.site = site, .who = "teller"};

        assert_int_equal(hark__traces_find(traces, &key), i < TRACES ? i : 0);
    }
    const struct trace old = {.site = "a.c:7", .who = "teller"};
    assert_int_equal(hark__traces_find(traces, &old), 7);
}

static void
ways_of_others_share_a_half_of_the_table(void **state)
{
    struct traces *traces = *state;
    uint32_t room = 3, endless = UINT32_MAX;
    char site[32];

    for (uint32_t i = 1; i <= TRACES_FOREIGN + 10; i++) {
        snprintf(site, sizeof site, "a.c:%u", (unsigned)i);
        const struct trace key = {.site = site, .node = "east"};

        assert_int_equal(
            hark__traces_find_foreign(traces, &key, i <= 10 ? &room : &endless),
            i <= 3                    ? i
            : i <= 10                 ? 0
            : i <= TRACES_FOREIGN + 7 ? i - 7
                                      : 0);
    }
    assert_int_equal(room, 0);
    // Those that are there need no room; and this node has its own half.
    const struct trace old = {.site = "a.c:2", .node = "east"};
    assert_int_equal(hark__traces_find_foreign(traces, &old, &room), 2);
    const struct trace own = {.site = "a.c:2"};
    assert_int_equal(hark__traces_find(traces, &own), TRACES_FOREIGN + 1);
    assert_int_equal(hark__traces_find_foreign(traces, &own, &room),
                     TRACES_FOREIGN + 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_way_is_kept_once),
        TEST(each_part_tells_ways_apart),
        TEST(a_way_that_goes_in_circles_does_not_get_longer),
        TEST(more_ways_than_there_is_room_for_are_unknown),
        TEST(ways_of_others_share_a_half_of_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
