#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actor/slot.h"

enum {
    CHUNKS = 14,
    MANY = CHUNKS * CHUNK_SLOTS - 3, // the last chunk is shorter
    LEFT = 3,                        // chunks that stay: the first, and two for others
};

// Fixture: many slots, all claimed, and who would trim was asked so often.
struct fixture {
    struct slots slots;
    struct slot_cache cache;
    int asked;
};

static void
count_asked(void *arg)
{
    struct fixture *f = arg;

    f->asked++;
}

static int
setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);

    *state = f;
    if (!hark__slots_init(&f->slots, MANY)) {
        return -1;
    }
    hark__slots_watch(&f->slots, count_asked, f);
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    hark__slots_fini(&f->slots);
    test_free(f);
    return 0;
}

static struct slot *
claim(struct fixture *f)
{
    return hark__slot_claim(&f->slots, &f->cache);
}

static void
live(struct slot *slot)
{
    slot->life = SLOT_ACTOR;
    atomic_fetch_add(&slot->generation, 1);
    assert_true(hark__generation_lives(atomic_load(&slot->generation)));
}

static void
die(struct fixture *f, struct slot *slot)
{
    slot->life = SLOT_FREE;
    atomic_fetch_add(&slot->generation, 1);
    assert_int_equal(hark__mailbox_sleep(&slot->box, NULL), MAILBOX_ASLEEP);
    hark__slot_free(&f->slots, &f->cache, slot);
}

static void
fill(struct fixture *f)
{
    struct slot *slot;
    uint32_t count = 0;

    while ((slot = claim(f)) != NULL) {
        live(slot);
        count++;
    }
    assert_int_equal(count, MANY);
}

static void
empty(struct fixture *f)
{
    for (uint32_t i = 0; i < MANY; i++) {
        die(f, hark__slot_at(&f->slots, i));
    }
    hark__slots_return(&f->slots, &f->cache);
}

static uint32_t
count_state(struct fixture *f, enum chunk_state state)
{
    uint32_t count = 0;

    for (int i = 0; i < CHUNKS; i++) {
        count += atomic_load(&f->slots.chunks[i].state) == state;
    }
    return count;
}

static void
trim_to_the_end(struct fixture *f)
{
    bool again;
    enum slots_trimmed trimmed;

    while ((trimmed = hark__slots_let_go(&f->slots, &again)) != SLOTS_TRIMMED) {
        assert_int_equal(trimmed, SLOTS_TRIM);
    }
    assert_false(again);
}

static void
retire(struct fixture *f)
{
    assert_int_equal(f->asked, 1);
    assert_int_equal(hark__slots_look(&f->slots), SLOTS_TRIM);
    assert_true(hark__slots_retire(&f->slots));
}

static void
what_was_wanted_since_the_last_look_waits(void **state)
{
    struct fixture *f = *state;

    fill(f);
    empty(f);
    fill(f);
    empty(f);
    assert_int_equal(f->asked, 1);
    assert_int_equal(hark__slots_look(&f->slots), SLOTS_WAIT);
    assert_int_equal(hark__slots_look(&f->slots), SLOTS_TRIM);
    fill(f);
    assert_int_equal(hark__slots_look(&f->slots), SLOTS_TRIMMED); // and may ask again
    empty(f);
    assert_int_equal(f->asked, 2);
}

static void
chunks_of_free_slots_go_and_read_as_nobody(void **state)
{
    struct fixture *f = *state;

    fill(f);
    assert_int_equal(f->asked, 0);
    empty(f);
    retire(f);
    trim_to_the_end(f);
    assert_int_equal(count_state(f, CHUNK_GONE), CHUNKS - LEFT);
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t generation = atomic_load(&hark__slot_at(&f->slots, i)->generation);
        bool gone = atomic_load(&f->slots.chunks[i / CHUNK_SLOTS].state) == CHUNK_GONE;

        assert_int_equal(generation, gone ? 0 : 2);
        assert_false(hark__generation_lives(generation));
    }
}

static void
slots_that_come_back_are_older_than_all_that_went(void **state)
{
    struct fixture *f = *state;

    fill(f);
    struct slot *old = hark__slot_at(&f->slots, 5 * CHUNK_SLOTS + 7);
    atomic_store(&old->generation, 1001);
    empty(f);
    retire(f);
    trim_to_the_end(f);
    fill(f);
    assert_int_equal(count_state(f, CHUNK_FULL), CHUNKS);
    for (uint32_t i = 0; i < MANY; i++) {
        struct slot *slot = hark__slot_at(&f->slots, i);

        assert_int_equal(slot->index, i);
        assert_int_equal(atomic_load(&slot->generation),
                         i / CHUNK_SLOTS == 5 ? 1003 : 3);
    }
}

static void
a_chunk_with_one_that_lives_or_is_in_stock_stays(void **state)
{
    struct fixture *f = *state;
    const uint32_t lives = 4 * CHUNK_SLOTS, in_stock = 9 * CHUNK_SLOTS + 1;

    fill(f);
    for (uint32_t i = 0; i < MANY; i++) {
        if (i != lives && i != in_stock) {
            die(f, hark__slot_at(&f->slots, i));
        }
    }
    hark__slots_return(&f->slots, &f->cache);
    die(f, hark__slot_at(&f->slots, in_stock));
    retire(f);
    trim_to_the_end(f);
    assert_int_equal(count_state(f, CHUNK_GONE), CHUNKS - LEFT - 2);
    assert_int_equal(atomic_load(&f->slots.chunks[4].state), CHUNK_PARTIAL);
    assert_int_equal(atomic_load(&f->slots.chunks[9].state), CHUNK_PARTIAL);
}

static void
retired_chunks_serve_when_slots_are_wanted(void **state)
{
    struct fixture *f = *state;
    bool again;

    fill(f);
    empty(f);
    retire(f);
    assert_int_equal(count_state(f, CHUNK_RETIRING), CHUNKS - LEFT);
    assert_int_equal(hark__slots_let_go(&f->slots, &again), SLOTS_TRIM); // has begun
    fill(f);
    trim_to_the_end(f);
    assert_int_equal(count_state(f, CHUNK_FULL), CHUNKS);
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(atomic_load(&hark__slot_at(&f->slots, i)->generation), 3);
    }
}

static void
a_chunk_waits_for_the_messages_of_its_slots(void **state)
{
    struct fixture *f = *state;
    struct hark_message message = {.size = 0};
    enum slots_trimmed trimmed;
    bool again;

    fill(f);
    empty(f);
    retire(f);
    struct slot *busy = hark__slot_at(&f->slots, 6 * CHUNK_SLOTS + 5);
    assert_true(hark__mailbox_push(&busy->box, &message)); // seen alive before
    while ((trimmed = hark__slots_let_go(&f->slots, &again)) == SLOTS_TRIM) {
    }
    assert_int_equal(trimmed, SLOTS_WAIT);
    assert_int_equal(hark__slots_let_go(&f->slots, &again), SLOTS_WAIT);
    struct hark_message *current = hark__mailbox_next(&busy->box, NULL);
    assert_ptr_equal(current, &message);
    assert_int_equal(hark__mailbox_sleep(&busy->box, current), MAILBOX_ASLEEP);
    trim_to_the_end(f);
    assert_int_equal(count_state(f, CHUNK_GONE), CHUNKS - LEFT);
}

static void
a_chunk_whose_slot_stays_busy_or_is_worn_stays(void **state)
{
    struct fixture *f = *state;
    struct hark_message message = {.size = 0};
    enum slots_trimmed trimmed;
    bool again;

    fill(f);
    atomic_store(&hark__slot_at(&f->slots, 8 * CHUNK_SLOTS)->generation, 0x40000001);
    empty(f);
    retire(f);
    struct slot *busy = hark__slot_at(&f->slots, 6 * CHUNK_SLOTS + 5);
    assert_true(hark__mailbox_push(&busy->box, &message));
    while ((trimmed = hark__slots_let_go(&f->slots, &again)) != SLOTS_TRIMMED) {
    }
    assert_int_equal(count_state(f, CHUNK_GONE), CHUNKS - LEFT - 2);
    assert_int_equal(atomic_load(&f->slots.chunks[6].state), CHUNK_WHOLE);
    assert_int_equal(atomic_load(&f->slots.chunks[8].state), CHUNK_PARTIAL);
}

static void
scattered_free_slots_ask_once_and_not_for_each(void **state)
{
    struct fixture *f = *state;

    fill(f);
    for (uint32_t i = 0; i < MANY; i++) {
        if (i % 3 != 0) {
            die(f, hark__slot_at(&f->slots, i));
        }
        if (f->asked == 1 && f->slots.is_asked) {
            assert_int_equal(hark__slots_look(&f->slots), SLOTS_TRIM);
            assert_false(hark__slots_retire(&f->slots)); // none is whole
        }
    }
    assert_int_equal(f->asked, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_wanted_since_the_last_look_waits),
        TEST(chunks_of_free_slots_go_and_read_as_nobody),
        TEST(slots_that_come_back_are_older_than_all_that_went),
        TEST(a_chunk_with_one_that_lives_or_is_in_stock_stays),
        TEST(retired_chunks_serve_when_slots_are_wanted),
        TEST(a_chunk_waits_for_the_messages_of_its_slots),
        TEST(a_chunk_whose_slot_stays_busy_or_is_worn_stays),
        TEST(scattered_free_slots_ask_once_and_not_for_each),
    };
    return cmocka_run_group_tests_name("actor/slot_trim", tests, NULL, NULL);
}
