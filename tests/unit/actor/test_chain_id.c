// Chain ids: what both ends of an ask derive, and what descends from it.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actor/chain_id.h"
#include "actor/chains.h"
#include "hark/hark.h"

HARK_MESSAGE(three, (i64, a), (str, b), (u8, c))

static const hark_ref asker = {UINT64_C(0x1122334455667788), UINT64_C(0x200000001)};

static void
the_name_of_a_chain_is_that_of_the_protocol(void **state)
{
    (void)state;
    // By the formula of docs/wire.md, in another language.
    assert_true(hark__chain_mix(asker, 7) == UINT64_C(0x31b7da61eb682517));
    assert_true(hark__chain_mix((hark_ref){1, UINT64_MAX}, 0)
                == UINT64_C(0x2a5e872acfcdd774));
}

static void
both_ends_derive_the_same(void **state)
{
    const struct future here = {.id = 5};
    const struct future there = {.id = 5, .number = 9};
    const struct future child = {.id = 6, .number = 10, .chain_id = 77};
    struct hark_message ask = {.kind = MESSAGE_ASK, .from = asker, .correlation = 5};

    (void)state;
    assert_true(hark__chain_of_future(asker, &here)
                == hark__chain_of(&ask, asker.node));
    ask.correlation = 9;
    uint64_t chain_id = hark__chain_of(&ask, 1);
    assert_true(chain_id & CHAIN_UNSEEN);
    assert_true(hark__chain_is_same(hark__chain_of_future(asker, &there), chain_id));
    assert_true(hark__chain_of_future(asker, &child) == 77);
}

static void
the_same_number_here_and_on_the_wire_is_not_the_same_chain(void **state)
{
    const struct future here = {.id = 5};
    const struct future there = {.id = 6, .number = 5};

    (void)state;
    assert_false(hark__chain_is_same(hark__chain_of_future(asker, &here),
                                     hark__chain_of_future(asker, &there)));
}

static void
none_is_the_same_as_nothing(void **state)
{
    (void)state;
    assert_false(hark__chain_is_same(0, 0));
    assert_false(hark__chain_is_same(CHAIN_UNSEEN, CHAIN_UNSEEN));
    assert_true(hark__chain_is_same(3, 3 | CHAIN_UNSEEN));
    assert_false(hark__chain_is_same(3, 2));
}

static void
a_message_has_room_for_an_id_behind_its_payload(void **state)
{
    struct depot *depot = hark__depot_open();
    struct pool *pool = hark__pool_open(depot);
    const three value = {.a = 1, .b = HARK_STR("some text of odd length"), .c = 3};
    struct hark_message *message = hark__message_new(pool, &three_type, &value);

    (void)state;
    message->kind = MESSAGE_ASK;
    message->from = asker;
    message->correlation = 4;
    message->deadline_ns = 5;
    message->trace = 6;
    message->credits = 7;
    message = hark__message_roomy(pool, message);
    assert_non_null(message);
    hark__message_put_chain_id(message, UINT64_C(0x0123456789abcdef));
    const three *copy = hark_message_as(message, &three_type);
    assert_true(copy->a == 1 && copy->c == 3 && hark_str_equal(copy->b, value.b));
    assert_true(hark__chain_of(message, asker.node) == UINT64_C(0x0123456789abcdef));
    assert_true(message->deadline_ns == 5 && message->trace == 6
                && message->credits == 7);
    hark__message_free(pool, message);
    hark__pool_close(pool);
    hark__depot_close(depot);
}

static void
chains_are_counted(void **state)
{
    enum { IDS = 3000 };
    static uint32_t counts[IDS];
    struct chains chains = {0};
    uint32_t seed = 1;

    (void)state;
    assert_true(hark__chains_begin(&chains));
    for (int i = 0; i < 200000; i++) {
        uint32_t at = (seed = seed * 1664525u + 1013904223u) >> 16;
        // Half of them fall on the same place.
        uint64_t id = (uint64_t)(at % IDS + 1) << (at % IDS % 2 == 0 ? 20 : 0);
        uint32_t *count = &counts[at % IDS];

        assert_int_equal(hark__chains_have(&chains, id), *count > 0);
        if (*count > 0 && (seed >> 8) % 5 < 2) {
            hark__chains_remove(&chains, id | CHAIN_UNSEEN);
            (*count)--;
        } else if ((seed >> 8) % 5 > 2) {
            hark__chains_add(&chains, id);
            (*count)++;
        }
    }
    hark__chains_add(&chains, 0);
    assert_false(hark__chains_have(&chains, 0));
    hark__chains_end(&chains);
    assert_false(hark__chains_are_kept(&chains));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_name_of_a_chain_is_that_of_the_protocol),
        cmocka_unit_test(both_ends_derive_the_same),
        cmocka_unit_test(the_same_number_here_and_on_the_wire_is_not_the_same_chain),
        cmocka_unit_test(none_is_the_same_as_nothing),
        cmocka_unit_test(chains_are_counted),
        cmocka_unit_test(a_message_has_room_for_an_id_behind_its_payload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
