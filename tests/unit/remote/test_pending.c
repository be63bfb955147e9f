// Pending: requests by number, and who takes them out.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "remote/pending.h"

// Only their addresses matter.
static char links[2];
#define LINK(i) ((struct link *)(void *)&links[i])

static struct depot *depot;
static struct pool *pool;

static int
setup(void **state)
{
    static struct pendings pendings;

    depot = hark__depot_open();
    assert_non_null(depot);
    pool = hark__pool_open(depot);
    assert_non_null(pool);
    hark__pendings_init(&pendings);
    *state = &pendings;
    return 0;
}

static int
teardown(void **state)
{
    hark__pendings_fini(*state, pool);
    hark__pool_close(pool);
    hark__depot_close(depot);
    return 0;
}

static struct pending
row(enum pending_kind kind, unsigned link, uint64_t correlation, int64_t expiry_ns)
{
    return (struct pending){.kind = kind,
                            .link = LINK(link),
                            .asker = {1, correlation},
                            .correlation = correlation,
                            .expiry_ns = expiry_ns};
}

static uint64_t
add(struct pendings *pendings, struct pending pending)
{
    uint64_t number = hark__pending_add(pendings, &pending);

    if (number == 0) {
        assert_true(hark__pendings_prepare(pendings, pool));
        number = hark__pending_add(pendings, &pending);
    }
    assert_int_not_equal(number, 0);
    return number;
}

static void
a_row_is_found_by_its_number_and_taken_once(void **state)
{
    struct pending got;
    uint64_t number = add(*state, row(PENDING_ASK, 0, 7, 0));

    assert_true(hark__pending_read(*state, number, &got));
    assert_int_equal(got.correlation, 7);
    assert_true(hark__pending_take(*state, number, &got));
    assert_int_equal(got.kind, PENDING_ASK);
    assert_ptr_equal(got.link, LINK(0));
    assert_int_equal(got.correlation, 7);
    assert_int_equal(got.asker.actor, 7);
    assert_false(hark__pending_take(*state, number, &got));
    assert_false(hark__pending_read(*state, number, &got));
}

static void
numbers_that_were_never_given_name_nothing(void **state)
{
    struct pending got;
    uint64_t number;

    assert_false(hark__pending_take(*state, 0, &got));
    assert_false(hark__pending_take(*state, UINT64_C(1) << 32, &got));
    number = add(*state, row(PENDING_ASK, 0, 7, 0));
    assert_false(hark__pending_take(*state, number + 1, &got));       // a free row
    assert_false(hark__pending_take(*state, number + 1000000, &got)); // no row
    assert_false(hark__pending_take(*state, (uint32_t)number, &got)); // no generation
    assert_true(hark__pending_take(*state, number, &got));
}

static void
a_row_used_again_has_another_number(void **state)
{
    struct pending got;
    uint64_t first = add(*state, row(PENDING_ASK, 0, 7, 0));

    assert_true(hark__pending_take(*state, first, &got));
    uint64_t second = add(*state, row(PENDING_ASK, 0, 8, 0));
    assert_int_equal((uint32_t)second, (uint32_t)first); // the same row
    assert_int_not_equal(second, first);
    assert_false(hark__pending_take(*state, first, &got));
    assert_true(hark__pending_take(*state, second, &got));
    assert_int_equal(got.correlation, 8);
}

static void
thousands_of_rows_are_kept_apart(void **state)
{
    enum { COUNT = 5000 };
    static uint64_t numbers[COUNT];
    struct pending got;

    for (uint64_t i = 0; i < COUNT; i++) {
        numbers[i] = add(*state, row(PENDING_ASK, i & 1, i, 0));
    }
    for (uint64_t i = COUNT; i-- > 0;) {
        assert_true(hark__pending_take(*state, numbers[i], &got));
        assert_int_equal(got.correlation, i);
    }
}

static void
items_are_taken_while_a_stream_has_credits(void **state)
{
    struct pending got;
    struct pending stream = row(PENDING_STREAM, 0, 7, 0);

    stream.credits = 2;
    uint64_t number = add(*state, stream);
    uint64_t plain = add(*state, row(PENDING_ASK, 0, 8, 0));
    for (uint32_t left = 2; left > 0; left--) {
        assert_true(hark__pending_spend(*state, number, &got));
        assert_int_equal(got.credits, left);
    }
    assert_true(hark__pending_spend(*state, number, &got));
    assert_int_equal(got.credits, 0);
    assert_true(hark__pending_credit(*state, number, LINK(0), 5));
    assert_true(hark__pending_spend(*state, number, &got));
    assert_int_equal(got.credits, 5);
    assert_false(hark__pending_credit(*state, number, LINK(1), 5)); // another way
    assert_false(hark__pending_credit(*state, plain, LINK(0), 5));  // no stream
    assert_true(hark__pending_take(*state, number, &got));
    assert_int_equal(got.credits, 4);
    assert_false(hark__pending_spend(*state, number, &got));
    assert_false(hark__pending_credit(*state, number, LINK(0), 5));
}

static unsigned
take_all(struct pendings *pendings, struct pending_filter filter, uint64_t *out_sum)
{
    struct pending got;
    uint32_t cursor = 0;
    unsigned count = 0;

    *out_sum = 0;
    while (hark__pending_take_next(pendings, &cursor, &filter, &got)) {
        assert_non_null(got.spare);
        hark__message_free(pool, got.spare);
        *out_sum += got.correlation;
        count++;
    }
    return count;
}

static void
a_links_end_takes_its_rows_and_no_others(void **state)
{
    uint64_t sum;

    add(*state, row(PENDING_ASK, 0, 1, 0));
    add(*state, row(PENDING_LOOKUP, 0, 2, 0));
    add(*state, row(PENDING_CONNECT, 0, 4, 0));
    add(*state, row(PENDING_ASK, 1, 8, 0));
    assert_int_equal(take_all(*state, (struct pending_filter){.link = LINK(0)}, &sum),
                     3);
    assert_int_equal(sum, 7);
    assert_int_equal(take_all(*state, (struct pending_filter){.link = LINK(0)}, &sum),
                     0);
    assert_int_equal(take_all(*state, (struct pending_filter){.link = LINK(1)}, &sum),
                     1);
    assert_int_equal(sum, 8);
}

static void
a_link_that_is_up_takes_those_who_waited_for_it(void **state)
{
    struct pending_filter connects = {.link = LINK(0), .connects_only = true};
    uint64_t sum;

    add(*state, row(PENDING_ASK, 0, 1, 0));
    add(*state, row(PENDING_CONNECT, 0, 2, 0));
    add(*state, row(PENDING_CONNECT, 1, 4, 0));
    assert_int_equal(take_all(*state, connects, &sum), 1);
    assert_int_equal(sum, 2);
}

static void
a_sweep_takes_what_has_expired_on_any_link(void **state)
{
    uint64_t sum;

    add(*state, row(PENDING_ASK, 0, 1, 100));
    add(*state, row(PENDING_ASK, 1, 2, 200));
    add(*state, row(PENDING_ASK, 0, 4, 300));
    add(*state, row(PENDING_ASK, 0, 8, INT64_MAX)); // waits for ever
    assert_int_equal(take_all(*state, (struct pending_filter){.now_ns = 100}, &sum), 0);
    assert_int_equal(take_all(*state, (struct pending_filter){.now_ns = 201}, &sum), 2);
    assert_int_equal(sum, 3);
    assert_int_equal(
        take_all(*state, (struct pending_filter){.now_ns = INT64_MAX}, &sum), 1);
    assert_int_equal(sum, 4);
}

static struct pending_lookup *
lookup(const char *name)
{
    struct pending_lookup *made = malloc(sizeof *made + strlen(name));

    assert_non_null(made);
    made->started_ns = 0;
    made->size = (uint32_t)strlen(name);
    memcpy(made->name, name, made->size);
    return made;
}

static void
lookups_move_to_another_link(void **state)
{
    struct pending_filter lookups = {.link = LINK(0), .lookups_only = true};
    struct pending moving = row(PENDING_LOOKUP, 0, 1, 0), seen;
    uint64_t number, seen_number = 0, sum;
    uint32_t cursor = 0;

    moving.lookup = lookup("till");
    add(*state, row(PENDING_LOOKUP, 0, 2, 0)); // without what it takes
    add(*state, row(PENDING_ASK, 0, 4, 0));
    number = add(*state, moving);
    assert_true(hark__pending_see_next(*state, &cursor, &lookups, &seen_number, &seen));
    assert_int_equal(seen_number, number);
    assert_memory_equal(seen.lookup->name, "till", 4);
    hark__pending_move(*state, number, LINK(1));
    assert_false(
        hark__pending_see_next(*state, &cursor, &lookups, &seen_number, &seen));
    assert_int_equal(take_all(*state, (struct pending_filter){.link = LINK(0)}, &sum),
                     2);
    assert_true(hark__pending_take(*state, number, &seen)); // by the same number
    assert_ptr_equal(seen.link, LINK(1));
    assert_null(seen.lookup);
    hark__pending_move(*state, number, LINK(0)); // none any more: nothing happens
    assert_int_equal(take_all(*state, (struct pending_filter){.link = LINK(0)}, &sum),
                     0);
}

static void
lookups_go_with_their_table(void **state)
{
    struct pending left = row(PENDING_CONNECT, 0, 1, 0);

    left.lookup = lookup("");
    add(*state, left);
}

static void
a_row_is_given_out_only_with_a_spare(void **state)
{
    struct pending ask = row(PENDING_ASK, 0, 7, 0);
    struct pending got;

    assert_int_equal(hark__pending_add(*state, &ask), 0);
    uint64_t number = add(*state, ask);
    assert_true(hark__pending_take_to_fail(*state, number, &got));
    assert_int_equal(got.correlation, 7);
    assert_non_null(got.spare);
    assert_false(hark__pending_take_to_fail(*state, number, &got));
    hark__message_free(pool, got.spare);
    // That row has none now, so none of the next is it.
    for (int i = 0; i < 200; i++) {
        add(*state, ask);
    }
    unsigned count = 0;
    uint32_t cursor = 0;
    struct pending_filter all = {.link = LINK(0)};
    while (hark__pending_take_next(*state, &cursor, &all, &got)) {
        assert_non_null(got.spare);
        hark__message_free(pool, got.spare);
        count++;
    }
    assert_int_equal(count, 200);
}

static void
a_spare_is_taken_once_and_the_row_stays(void **state)
{
    uint64_t number = add(*state, row(PENDING_STREAM, 0, 7, 0));
    struct hark_message *spare = hark__pending_take_spare(*state, number);
    struct pending got;

    assert_non_null(spare);
    hark__message_free(pool, spare);
    assert_null(hark__pending_take_spare(*state, number));
    assert_true(hark__pending_take(*state, number, &got));
    assert_null(hark__pending_take_spare(*state, number));
}

static unsigned
count_ready(struct pendings *pendings)
{
    struct pending ask = row(PENDING_ASK, 0, 7, 0);
    unsigned count = 0;
    uint64_t sum;

    while (hark__pending_add(pendings, &ask) != 0) {
        count++;
    }
    (void)take_all(pendings, (struct pending_filter){.link = LINK(0)}, &sum);
    return count;
}

static void
spares_of_rows_that_are_free_for_long_go_back(void **state)
{
    enum { COUNT = 2000 };
    static uint64_t numbers[COUNT];
    struct pending got;

    for (uint64_t i = 0; i < COUNT; i++) {
        numbers[i] = add(*state, row(PENDING_ASK, 0, i, 0));
    }
    hark__pendings_trim(*state, pool); // they are in use
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_true(hark__pending_take(*state, numbers[i], &got));
    }
    for (int i = 0; i < 20; i++) {
        hark__pendings_trim(*state, pool);
    }
    assert_in_range(count_ready(*state), 1, COUNT / 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_row_is_found_by_its_number_and_taken_once),
        TEST(numbers_that_were_never_given_name_nothing),
        TEST(a_row_used_again_has_another_number),
        TEST(items_are_taken_while_a_stream_has_credits),
        TEST(thousands_of_rows_are_kept_apart),
        TEST(a_links_end_takes_its_rows_and_no_others),
        TEST(a_link_that_is_up_takes_those_who_waited_for_it),
        TEST(a_sweep_takes_what_has_expired_on_any_link),
        TEST(lookups_move_to_another_link),
        TEST(lookups_go_with_their_table),
        TEST(a_row_is_given_out_only_with_a_spare),
        TEST(a_spare_is_taken_once_and_the_row_stays),
        TEST(spares_of_rows_that_are_free_for_long_go_back),
    };
    return cmocka_run_group_tests_name("remote/pending", tests, NULL, NULL);
}
