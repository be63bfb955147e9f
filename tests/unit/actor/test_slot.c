#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actor/slot.h"

enum { LIMIT = 200 };

// Fixture: few slots, and the stock of one thread.
struct fixture {
    struct slots slots;
    struct slot_cache cache, other;
    struct slot *claimed[LIMIT];
};

static int
setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);

    *state = f;
    return hark__slots_init(&f->slots, LIMIT) ? 0 : -1;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    hark__slots_fini(&f->slots);
    test_free(f);
    return 0;
}

static void
claim_all(struct fixture *f)
{
    for (uint32_t i = 0; i < LIMIT; i++) {
        f->claimed[i] = hark__slot_claim(&f->slots, &f->cache);
        assert_non_null(f->claimed[i]);
    }
}

// As an actor's end does it, with an empty mailbox.
static void
die(struct fixture *f, struct slot_cache *cache, struct slot *slot)
{
    assert_int_equal(hark__mailbox_sleep(&slot->box, NULL), MAILBOX_ASLEEP);
    hark__slot_free(&f->slots, cache, slot);
}

static void
every_slot_up_to_the_limit_can_be_claimed_once(void **state)
{
    struct fixture *f = *state;

    claim_all(f);
    assert_null(hark__slot_claim(&f->slots, &f->cache));
    for (uint32_t i = 0; i < LIMIT; i++) {
        assert_in_range(f->claimed[i]->index, 0, LIMIT - 1);
        assert_ptr_equal(hark__slot_at(&f->slots, f->claimed[i]->index), f->claimed[i]);
        for (uint32_t j = 0; j < i; j++) {
            assert_ptr_not_equal(f->claimed[i], f->claimed[j]);
        }
    }
}

static void
a_fresh_slot_is_free_aligned_and_nobodys(void **state)
{
    struct fixture *f = *state;
    struct slot *slot = hark__slot_claim(&f->slots, &f->cache);

    assert_int_equal((uintptr_t)slot % 64, 0);
    assert_int_equal(slot->life, SLOT_FREE);
    assert_false(hark__generation_lives(atomic_load(&slot->generation)));
}

static void
a_claimed_slot_is_awake_so_a_push_schedules_nobody(void **state)
{
    struct fixture *f = *state;
    struct hark_message message = {.size = 0};
    struct slot *slot = hark__slot_claim(&f->slots, &f->cache);

    assert_false(hark__mailbox_push(&slot->box, &message));
}

static void
a_slot_that_never_was_is_not_found(void **state)
{
    struct fixture *f = *state;

    assert_null(hark__slot_at(&f->slots, 0));
    hark__slot_claim(&f->slots, &f->cache);
    assert_non_null(hark__slot_at(&f->slots, 0));
    assert_non_null(hark__slot_at(&f->slots, LIMIT - 1));
    assert_null(hark__slot_at(&f->slots, LIMIT));
    assert_null(hark__slot_at(&f->slots, UINT32_MAX));
}

static void
a_freed_slot_serves_again(void **state)
{
    struct fixture *f = *state;

    claim_all(f);
    die(f, &f->cache, f->claimed[77]);
    assert_ptr_equal(hark__slot_claim(&f->slots, &f->cache), f->claimed[77]);
}

static void
slots_freed_by_one_thread_serve_another(void **state)
{
    struct fixture *f = *state;

    for (int round = 0; round < 20; round++) {
        claim_all(f);
        for (uint32_t i = 0; i < LIMIT; i++) {
            die(f, &f->other, f->claimed[i]);
        }
        // What the other thread keeps in stock is bounded.
        assert_true(f->other.count <= SLOT_CACHE);
        while (f->other.count > 0) {
            uint32_t index = f->other.indices[--f->other.count];
            hark__slot_free(&f->slots, &f->cache, hark__slot_at(&f->slots, index));
        }
    }
}

static void
a_slot_that_is_being_drained_is_skipped(void **state)
{
    struct fixture *f = *state;
    struct hark_message message = {.size = 0};

    claim_all(f);
    struct slot *busy = f->claimed[10];
    die(f, &f->cache, f->claimed[11]);
    die(f, &f->cache, busy);
    assert_true(hark__mailbox_push(&busy->box, &message)); // somebody still had its ref

    assert_ptr_equal(hark__slot_claim(&f->slots, &f->cache), f->claimed[11]);
    assert_null(hark__slot_claim(&f->slots, &f->cache));

    struct hark_message *current = hark__mailbox_next(&busy->box, NULL);
    assert_ptr_equal(current, &message);
    assert_int_equal(hark__mailbox_sleep(&busy->box, current), MAILBOX_ASLEEP);
    assert_ptr_equal(hark__slot_claim(&f->slots, &f->cache), busy);
}

static void
a_slot_whose_generation_would_wrap_retires(void **state)
{
    struct fixture *f = *state;

    claim_all(f);
    atomic_store(&f->claimed[5]->generation, UINT32_MAX - 1);
    die(f, &f->cache, f->claimed[5]);
    assert_null(hark__slot_claim(&f->slots, &f->cache));
}

static void
an_actors_name_holds_its_slot_and_generation(void **state)
{
    (void)state;
    uint64_t name = hark__slot_name(0x89ABCDEF, 0x01234568);

    assert_true(name == UINT64_C(0x0123456889ABCDEF));
    assert_true(hark__generation_lives(0x01234567));
    assert_false(hark__generation_lives(0x01234568));
    assert_false(hark__generation_lives(0)); // of a page that is not there
}

static void
slots_grow_by_small_and_large_steps(void **state)
{
    enum { MANY = 100000 + 5 };
    struct slots slots;
    struct slot_cache cache = {.count = 0};

    (void)state;
    assert_true(hark__slots_init(&slots, MANY));
    for (uint32_t i = 0; i < MANY; i++) {
        struct slot *slot = hark__slot_claim(&slots, &cache);

        assert_non_null(slot);
        slot->life = SLOT_ACTOR;
    }
    assert_null(hark__slot_claim(&slots, &cache));
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(hark__slot_at(&slots, i)->life, SLOT_ACTOR);
        assert_int_equal(hark__slot_at(&slots, i)->index, i);
    }
    hark__slots_fini(&slots);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_slot_up_to_the_limit_can_be_claimed_once),
        TEST(a_fresh_slot_is_free_aligned_and_nobodys),
        TEST(a_claimed_slot_is_awake_so_a_push_schedules_nobody),
        TEST(a_slot_that_never_was_is_not_found),
        TEST(a_freed_slot_serves_again),
        TEST(slots_freed_by_one_thread_serve_another),
        TEST(a_slot_that_is_being_drained_is_skipped),
        TEST(a_slot_whose_generation_would_wrap_retires),
        TEST(an_actors_name_holds_its_slot_and_generation),
        cmocka_unit_test(slots_grow_by_small_and_large_steps),
    };
    return cmocka_run_group_tests_name("actor/slot", tests, NULL, NULL);
}
