// Callees: what actors of other nodes are called, as far as it was heard.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "remote/callees.h"

enum { ROWS = CALLEE_SETS * CALLEES_OF_SET };

static int
setup(void **state)
{
    static struct callees callees;

    hark__callees_init(&callees);
    *state = &callees;
    return 0;
}

static int
teardown(void **state)
{
    hark__callees_fini(*state);
    return 0;
}

static hark_ref
actor(uint64_t node, uint32_t slot)
{
    return (hark_ref){node, UINT64_C(2) << 32 | slot};
}

static void
a_name_is_kept_for_its_actor_only(void **state)
{
    char name[CALLED_SIZE];

    assert_false(hark__callees_find(*state, actor(1, 7), name));
    hark__callees_learn(*state, actor(1, 7), HARK_STR("till"));
    assert_true(hark__callees_find(*state, actor(1, 7), name));
    assert_string_equal(name, "till");
    assert_false(hark__callees_find(*state, actor(2, 7), name));
    assert_false(hark__callees_find(*state, actor(1, 8), name));
    // The next one in that slot.
    assert_false(
        hark__callees_find(*state, (hark_ref){1, UINT64_C(4) << 32 | 7}, name));
}

static void
the_last_name_counts(void **state)
{
    char name[CALLED_SIZE];

    hark__callees_learn(*state, actor(1, 7), HARK_STR("till"));
    hark__callees_learn(*state, actor(1, 7), HARK_STR("account"));
    hark__callees_learn(*state, actor(1, 7), HARK_STR(""));
    assert_true(hark__callees_find(*state, actor(1, 7), name));
    assert_string_equal(name, "account");
}

static void
nobody_has_no_name(void **state)
{
    char name[CALLED_SIZE];

    hark__callees_learn(*state, (hark_ref){1, 0}, HARK_STR("nobody"));
    assert_false(hark__callees_find(*state, (hark_ref){1, 0}, name));
    assert_false(hark__callees_find(*state, (hark_ref){0, 0}, name));
}

static void
what_a_peer_says_is_cut_and_fits_a_line(void **state)
{
    static const char bad[] = "a\nb\x7f\0c\xc3\xa9";
    char name[CALLED_SIZE], lengthy[1000];

    hark__callees_learn(*state, actor(1, 1), (hark_str){bad, sizeof bad - 1});
    assert_true(hark__callees_find(*state, actor(1, 1), name));
    assert_string_equal(name, "a?b??c\xc3\xa9");
    memset(lengthy, 'x', sizeof lengthy);
    hark__callees_learn(*state, actor(1, 2), (hark_str){lengthy, sizeof lengthy});
    assert_true(hark__callees_find(*state, actor(1, 2), name));
    assert_int_equal(strlen(name), CALLED_SIZE - 1);
}

static void
a_full_set_forgets_its_oldest(void **state)
{
    char name[CALLED_SIZE];

    // All of one set.
    for (uint32_t i = 0; i <= CALLEES_OF_SET; i++) {
        hark__callees_learn(*state, actor(1, i * CALLEE_SETS), HARK_STR("till"));
    }
    assert_false(hark__callees_find(*state, actor(1, 0), name));
    for (uint32_t i = 1; i <= CALLEES_OF_SET; i++) {
        assert_true(hark__callees_find(*state, actor(1, i * CALLEE_SETS), name));
    }
    // Who is heard of again is the newest.
    hark__callees_learn(*state, actor(1, CALLEE_SETS), HARK_STR("till"));
    hark__callees_learn(*state, actor(1, 0), HARK_STR("till"));
    assert_true(hark__callees_find(*state, actor(1, CALLEE_SETS), name));
    assert_false(hark__callees_find(*state, actor(1, 2 * CALLEE_SETS), name));
}

static void
actors_of_one_node_use_all_of_the_table(void **state)
{
    char name[CALLED_SIZE];

    for (uint32_t i = 0; i < ROWS; i++) {
        hark__callees_learn(*state, actor(0x1234567890, i), HARK_STR("till"));
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        assert_true(hark__callees_find(*state, actor(0x1234567890, i), name));
    }
}

// ---- asking ----

static void
each_actor_is_asked_for_once(void **state)
{
    struct callees_out out = {.left = CALLEES_AT_ONCE};
    struct bytes bytes;

    (void)state;
    hark__bytes_init(&bytes);
    assert_true(hark__callees_wants(&out, 7));
    assert_false(hark__callees_wants(&out, 0));
    hark__callees_ask(&out, 7, &bytes);
    assert_int_equal(bytes.size, 3);
    assert_false(hark__callees_wants(&out, 7));
    assert_true(hark__callees_wants(&out, 8));
    hark__callees_ask(&out, 7 + CALLEES_ASKED, &bytes); // takes its place
    assert_true(hark__callees_wants(&out, 7));
    hark__bytes_fini(&bytes);
    hark__callees_out_fini(&out);
}

static void
questions_are_bounded(void **state)
{
    struct callees_out out = {.left = CALLEES_AT_ONCE};
    struct bytes bytes;
    uint64_t asked = 0;

    (void)state;
    hark__bytes_init(&bytes);
    for (uint64_t actor = 1; actor <= 10000; actor++) {
        if (hark__callees_wants(&out, actor)) {
            hark__callees_ask(&out, actor, &bytes);
            asked++;
        }
    }
    assert_int_equal(asked, CALLEES_AT_ONCE);
    hark__callees_tick(&out);
    assert_int_equal(out.left, CALLEES_A_TICK);
    for (int i = 0; i < 1000; i++) {
        hark__callees_tick(&out);
    }
    assert_int_equal(out.left, CALLEES_AT_ONCE);
    hark__bytes_fini(&bytes);
    hark__callees_out_fini(&out);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_name_is_kept_for_its_actor_only),
        TEST(the_last_name_counts),
        TEST(nobody_has_no_name),
        TEST(what_a_peer_says_is_cut_and_fits_a_line),
        TEST(a_full_set_forgets_its_oldest),
        TEST(actors_of_one_node_use_all_of_the_table),
        TEST(each_actor_is_asked_for_once),
        TEST(questions_are_bounded),
    };

    return cmocka_run_group_tests_name("remote/callees", tests, NULL, NULL);
}
