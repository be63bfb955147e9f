#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actor/mailbox.h"
#include "actor/request.h"

// Fixture: a table, and messages that stand for a mailbox.
struct fixture {
    struct depot *depot;
    struct pool *pool;
    struct requests *requests;
    struct hark_message messages[4];
};

static struct request_name
name(uint64_t correlation)
{
    return (struct request_name){{1, 2}, correlation};
}

static int
setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);

    f->depot = hark__depot_open();
    f->pool = hark__pool_open(f->depot);
    f->requests = hark__requests_new();
    for (uint64_t i = 0; i < 4; i++) {
        f->messages[i] = (struct hark_message){
            .kind = MESSAGE_ASK, .from = {1, 2}, .correlation = i};
    }
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    hark__requests_free(f->requests, f->pool);
    hark__pool_close(f->pool);
    hark__depot_close(f->depot);
    test_free(f);
    return 0;
}

static bool
miss(struct fixture *f, uint64_t correlation, int newest)
{
    return hark__requests_miss(f->requests, f->pool, name(correlation),
                               &f->messages[newest]);
}

// As the actor's turn does; newest -1: nothing else waits.
static bool
look_at(struct fixture *f, int which, int newest)
{
    struct hark_message *message = &f->messages[which];

    if (message->flags & MESSAGE_MARKED) {
        hark__requests_see(f->requests, message, NULL);
    }
    return hark__requests_are_missing(f->requests)
           && hark__requests_meet(f->requests, f->pool, message,
                                  newest < 0 ? NULL : &f->messages[newest]);
}

static void
requests_are_found_by_name_until_they_are_let_go(void **state)
{
    enum { MANY = 1000 };
    struct fixture *f = *state;
    static struct request *requests[MANY];

    assert_null(hark__requests_find(NULL, name(1)));
    assert_null(hark__requests_find(f->requests, name(1)));
    for (uint64_t i = 0; i < MANY; i++) {
        requests[i] = hark__request_new(f->pool, name(i), INT64_MAX);
        assert_true(hark__requests_add(f->requests, requests[i]));
    }
    for (uint64_t i = 0; i < MANY; i++) {
        assert_ptr_equal(hark__requests_find(f->requests, name(i)), requests[i]);
    }
    assert_null(hark__requests_find(f->requests, name(MANY)));
    for (uint64_t i = 0; i < MANY; i++) {
        hark__request_hold(requests[i]);
        hark__request_release(f->requests, f->pool, requests[i]);
        assert_ptr_equal(hark__requests_find(f->requests, name(i)), requests[i]);
        hark__request_release(f->requests, f->pool, requests[i]);
        assert_null(hark__requests_find(f->requests, name(i)));
    }
}

static int
longest_bucket(const struct requests *requests)
{
    int longest = 0;

    for (uint32_t i = 0; i < requests->capacity; i++) {
        int length = 0;

        for (const struct request *r = requests->buckets[i]; r != NULL; r = r->next) {
            length++;
        }
        longest = length > longest ? length : longest;
    }
    return longest;
}

// Who drops what he has asked uses the same few places of his table again and again; and
// many askers have the same numbers.
static void
names_of_a_few_places_used_often_are_spread(void **state)
{
    enum { PLACES = 8, USES = 2000, ASKERS = 4, ALL = PLACES * USES * ASKERS };
    struct fixture *f = *state;
    struct request **requests = test_calloc(ALL, sizeof(struct request *));
    int count = 0;

    for (uint64_t asker = 1; asker <= ASKERS; asker++) {
        for (uint64_t use = 1; use <= USES; use++) {
            for (uint64_t place = 0; place < PLACES; place++) {
                const struct request_name of = {{1, asker << 32 | 1},
                                                use << 32 | place};

                requests[count] = hark__request_new(f->pool, of, INT64_MAX);
                assert_true(hark__requests_add(f->requests, requests[count++]));
            }
        }
    }
    assert_in_range(longest_bucket(f->requests), 1, 3 * PLACES);
    while (count > 0) {
        hark__request_release(f->requests, f->pool, requests[--count]);
    }
    test_free(requests);
}

static void
missing_ask_is_met_once(void **state)
{
    struct fixture *f = *state;

    assert_true(miss(f, 1, 2));
    assert_true(hark__requests_are_missing(f->requests));
    assert_false(look_at(f, 0, 2));
    assert_true(look_at(f, 1, 2));
    assert_false(hark__requests_are_missing(f->requests));
}

static void
marked_message_itself_may_be_the_missing_one(void **state)
{
    struct fixture *f = *state;

    assert_true(miss(f, 2, 2));
    assert_true(look_at(f, 2, -1));
    assert_false(hark__requests_are_missing(f->requests));
}

static void
what_has_not_come_when_the_mark_is_passed_is_forgotten(void **state)
{
    struct fixture *f = *state;

    assert_true(miss(f, 77, 0));
    assert_false(look_at(f, 0, 1));
    assert_false(hark__requests_are_missing(f->requests));
    // A later one of that name is another one.
    f->messages[1].correlation = 77;
    assert_false(look_at(f, 1, -1));
}

static void
cancels_that_come_while_a_mark_is_out_wait_for_the_next(void **state)
{
    struct fixture *f = *state;

    assert_true(miss(f, 77, 0));
    assert_true(miss(f, 2, 2));
    assert_true(miss(f, 78, 2));
    assert_false(look_at(f, 0, 2)); // 77 is forgotten, and 2 marked
    assert_null(hark__requests_find(f->requests, name(77)));
    assert_non_null(hark__requests_find(f->requests, name(78)));
    assert_false(look_at(f, 1, 2));
    assert_true(look_at(f, 2, 3));
    assert_null(hark__requests_find(f->requests, name(78)));
    assert_false(hark__requests_are_missing(f->requests));
}

static void
mark_that_no_ask_shows_is_noticed_with_the_next_cancel(void **state)
{
    struct fixture *f = *state;

    assert_true(miss(f, 77, 0));
    hark__requests_see(f->requests, &f->messages[0], NULL); // it was a TELL, say
    assert_true(miss(f, 2, 3));
    assert_null(hark__requests_find(f->requests, name(77)));
    assert_false(look_at(f, 1, 3));
    assert_true(look_at(f, 2, 3));
}

static void
mark_that_passes_what_is_set_aside_is_put_there(void **state)
{
    struct fixture *f = *state;

    assert_true(miss(f, 0, 3));
    hark__requests_see(f->requests, &f->messages[3], &f->messages[1]);
    assert_true(miss(f, 9, 2)); // forgets nothing
    assert_true(look_at(f, 0, 2));
    assert_false(look_at(f, 1, 2));
    assert_false(look_at(f, 2, -1)); // now 9 may be forgotten
    assert_null(hark__requests_find(f->requests, name(9)));
}

static void
mark_of_somebody_who_lived_here_before_is_none(void **state)
{
    struct fixture *f = *state;

    f->messages[0].flags = MESSAGE_MARKED;
    assert_true(miss(f, 2, 3));
    assert_false(look_at(f, 0, 3));
    assert_true(look_at(f, 2, 3));
}

static void
flood_of_unknown_cancels_is_gone_after_one_pass(void **state)
{
    struct fixture *f = *state;

    for (uint64_t i = 100; i < 10000; i++) {
        assert_true(miss(f, i, 0));
    }
    assert_false(look_at(f, 0, 1));
    assert_false(look_at(f, 1, -1));
    assert_int_equal(f->requests->count, 0);
}

static void
newest_message_of_a_mailbox_is_not_the_one_in_hand(void **state)
{
    struct fixture *f = *state;
    struct mailbox box;

    hark__mailbox_init(&box);
    assert_null(hark__mailbox_newest(&box, NULL));
    assert_true(hark__mailbox_push(&box, &f->messages[0]));
    assert_ptr_equal(hark__mailbox_newest(&box, NULL), &f->messages[0]);
    assert_ptr_equal(hark__mailbox_next(&box, NULL), &f->messages[0]);
    assert_null(hark__mailbox_newest(&box, &f->messages[0]));
    assert_false(hark__mailbox_push(&box, &f->messages[1]));
    assert_ptr_equal(hark__mailbox_newest(&box, &f->messages[0]), &f->messages[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(requests_are_found_by_name_until_they_are_let_go),
        TEST(names_of_a_few_places_used_often_are_spread),
        TEST(missing_ask_is_met_once),
        TEST(marked_message_itself_may_be_the_missing_one),
        TEST(what_has_not_come_when_the_mark_is_passed_is_forgotten),
        TEST(cancels_that_come_while_a_mark_is_out_wait_for_the_next),
        TEST(mark_that_no_ask_shows_is_noticed_with_the_next_cancel),
        TEST(mark_that_passes_what_is_set_aside_is_put_there),
        TEST(mark_of_somebody_who_lived_here_before_is_none),
        TEST(flood_of_unknown_cancels_is_gone_after_one_pass),
        TEST(newest_message_of_a_mailbox_is_not_the_one_in_hand),
    };
    return cmocka_run_group_tests_name("actor/request", tests, NULL, NULL);
}
