#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actor/mailbox.h"

// Fixture: a fresh, idle mailbox and messages for it.
struct fixture {
    struct mailbox box;
    struct hark_message message[6];
};

static int
setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);

    hark__mailbox_init(&f->box);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    test_free(*state);
    return 0;
}

static void
a_new_mailbox_is_idle_and_empty(void **state)
{
    struct fixture *f = *state;

    assert_null(hark__mailbox_next(&f->box, NULL));
    assert_null(hark__mailbox_take_system(&f->box));
    assert_true(hark__mailbox_claim(&f->box));
}

static void
only_the_push_that_finds_it_idle_schedules(void **state)
{
    struct fixture *f = *state;

    assert_true(hark__mailbox_push(&f->box, &f->message[0]));
    assert_false(hark__mailbox_push(&f->box, &f->message[1]));
    assert_false(hark__mailbox_push_system(&f->box, &f->message[2]));
    assert_false(hark__mailbox_claim(&f->box));
}

// Chains messages from..to of the fixture.
static void
chain(struct fixture *f, int from, int to)
{
    for (int i = from; i < to; i++) {
        atomic_store(&f->message[i].next, &f->message[i + 1]);
    }
}

static void
a_chain_comes_in_order_and_schedules_once(void **state)
{
    struct fixture *f = *state;
    struct hark_message *current = NULL;

    chain(f, 0, 1);
    chain(f, 2, 3);
    assert_true(hark__mailbox_push_chain(&f->box, &f->message[0], &f->message[1]));
    assert_false(hark__mailbox_push_chain(&f->box, &f->message[2], &f->message[3]));
    for (int i = 0; i < 4; i++) {
        current = hark__mailbox_next(&f->box, current);
        assert_ptr_equal(current, &f->message[i]);
    }
    assert_null(hark__mailbox_next(&f->box, current));
    assert_int_equal(hark__mailbox_sleep(&f->box, current), MAILBOX_ASLEEP);
}

static void
messages_come_in_the_order_they_were_pushed(void **state)
{
    struct fixture *f = *state;
    struct hark_message *current = NULL;

    for (int i = 0; i < 4; i++) {
        hark__mailbox_push(&f->box, &f->message[i]);
    }
    for (int i = 0; i < 4; i++) {
        current = hark__mailbox_next(&f->box, current);
        assert_ptr_equal(current, &f->message[i]);
    }
    assert_null(hark__mailbox_next(&f->box, current));
}

static void
it_sleeps_once_the_last_message_was_taken_and_wakes_again(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 3; round++) {
        assert_true(hark__mailbox_push(&f->box, &f->message[0]));
        struct hark_message *current = hark__mailbox_next(&f->box, NULL);

        assert_ptr_equal(current, &f->message[0]);
        assert_int_equal(hark__mailbox_sleep(&f->box, current), MAILBOX_ASLEEP);
        assert_null(hark__mailbox_next(&f->box, NULL));
    }
}

static void
it_does_not_sleep_when_a_message_came_behind_the_one_in_hand(void **state)
{
    struct fixture *f = *state;

    hark__mailbox_push(&f->box, &f->message[0]);
    struct hark_message *current = hark__mailbox_next(&f->box, NULL);

    assert_false(hark__mailbox_push(&f->box, &f->message[1]));
    assert_int_equal(hark__mailbox_sleep(&f->box, current), MAILBOX_MORE);
    assert_ptr_equal(hark__mailbox_next(&f->box, current), &f->message[1]);
}

static void
a_reader_without_a_message_in_hand_does_not_sleep_on_a_new_one(void **state)
{
    struct fixture *f = *state;

    assert_true(hark__mailbox_claim(&f->box));
    assert_false(hark__mailbox_push(&f->box, &f->message[0]));
    assert_int_equal(hark__mailbox_sleep(&f->box, NULL), MAILBOX_MORE);
    assert_ptr_equal(hark__mailbox_next(&f->box, NULL), &f->message[0]);
}

static void
who_claims_an_idle_mailbox_is_its_only_reader(void **state)
{
    struct fixture *f = *state;

    assert_true(hark__mailbox_claim(&f->box));
    assert_false(hark__mailbox_claim(&f->box));
    assert_false(hark__mailbox_push(&f->box, &f->message[0]));
    assert_false(hark__mailbox_push_system(&f->box, &f->message[1]));
}

static void
a_claimed_mailbox_can_be_put_to_sleep_again(void **state)
{
    struct fixture *f = *state;

    assert_true(hark__mailbox_claim(&f->box));
    assert_int_equal(hark__mailbox_sleep(&f->box, NULL), MAILBOX_ASLEEP);
    assert_true(hark__mailbox_push(&f->box, &f->message[0]));
}

static void
a_system_message_wakes_an_idle_mailbox_once(void **state)
{
    struct fixture *f = *state;

    assert_true(hark__mailbox_push_system(&f->box, &f->message[0]));
    assert_false(hark__mailbox_push_system(&f->box, &f->message[1]));
    assert_false(hark__mailbox_push(&f->box, &f->message[2]));
    assert_ptr_equal(hark__mailbox_next(&f->box, NULL), &f->message[2]);
}

static void
system_messages_come_oldest_first_and_apart_from_the_others(void **state)
{
    struct fixture *f = *state;

    hark__mailbox_push(&f->box, &f->message[0]);
    for (int i = 1; i < 4; i++) {
        hark__mailbox_push_system(&f->box, &f->message[i]);
    }
    struct hark_message *system = hark__mailbox_take_system(&f->box);
    for (int i = 1; i < 4; i++) {
        assert_ptr_equal(system, &f->message[i]);
        system = atomic_load(&system->next);
    }
    assert_null(system);
    assert_null(hark__mailbox_take_system(&f->box));
    assert_ptr_equal(hark__mailbox_next(&f->box, NULL), &f->message[0]);
}

static void
a_system_message_keeps_the_reader_from_sleeping(void **state)
{
    struct fixture *f = *state;

    hark__mailbox_push(&f->box, &f->message[0]);
    struct hark_message *current = hark__mailbox_next(&f->box, NULL);

    hark__mailbox_push_system(&f->box, &f->message[1]);
    assert_int_equal(hark__mailbox_sleep(&f->box, current), MAILBOX_SYSTEM);
    // The message in hand is out of the chain; the role is still ours.
    assert_false(hark__mailbox_claim(&f->box));
    assert_ptr_equal(hark__mailbox_take_system(&f->box), &f->message[1]);
    assert_int_equal(hark__mailbox_sleep(&f->box, NULL), MAILBOX_ASLEEP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_mailbox_is_idle_and_empty),
        TEST(only_the_push_that_finds_it_idle_schedules),
        TEST(a_chain_comes_in_order_and_schedules_once),
        TEST(messages_come_in_the_order_they_were_pushed),
        TEST(it_sleeps_once_the_last_message_was_taken_and_wakes_again),
        TEST(it_does_not_sleep_when_a_message_came_behind_the_one_in_hand),
        TEST(a_reader_without_a_message_in_hand_does_not_sleep_on_a_new_one),
        TEST(who_claims_an_idle_mailbox_is_its_only_reader),
        TEST(a_claimed_mailbox_can_be_put_to_sleep_again),
        TEST(a_system_message_wakes_an_idle_mailbox_once),
        TEST(system_messages_come_oldest_first_and_apart_from_the_others),
        TEST(a_system_message_keeps_the_reader_from_sleeping),
    };
    return cmocka_run_group_tests_name("actor/mailbox", tests, NULL, NULL);
}
