#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <malloc.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/pool.h"

enum { TRADED = 110 }; // blocks, at once, between a pool and the depot

// Fixture: a depot and two pools, as of two threads.
struct fixture {
    struct depot *depot;
    struct pool *here, *there;
};

struct held {
    unsigned char *block;
    uint8_t size_class;
};

static int
setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);

    f->depot = hark__depot_open();
    f->here = hark__pool_open(f->depot);
    f->there = hark__pool_open(f->depot);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    hark__pool_close(f->here);
    hark__pool_close(f->there);
    hark__depot_close(f->depot);
    test_free(f);
    return 0;
}

static unsigned char
pattern(size_t i)
{
    return (unsigned char)(i * 31 + 7);
}

// Allocates count blocks of size and fills each with a pattern of its own.
static void
fill(struct pool *pool, struct held *held, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        held[i].block = hark__pool_alloc(pool, size, &held[i].size_class);
        assert_non_null(held[i].block);
        memset(held[i].block, pattern(i), size);
    }
}

static void
assert_untouched(const struct held *held, size_t count, size_t size)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t at = 0; at < size; at++) {
            if (held[i].block[at] != pattern(i)) {
                fail_msg("block %zu of size %zu changed at %zu", i, size, at);
            }
        }
    }
}

static void
free_all(struct pool *pool, const struct held *held, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        hark__pool_free(pool, held[i].block, held[i].size_class);
    }
}

static void
blocks_of_every_size_are_aligned_and_apart(void **state)
{
    struct fixture *f = *state;
    struct held held[8];

    for (size_t size = 1; size <= 200000; size += size < 2100 ? 1 : 1009) {
        fill(f->here, held, 8, size);
        for (size_t i = 0; i < 8; i++) {
            assert_int_equal((uintptr_t)held[i].block % 16, 0);
        }
        assert_untouched(held, 8, size);
        free_all(f->here, held, 8);
    }
}

static void
a_block_of_no_bytes_can_be_had_and_freed(void **state)
{
    struct fixture *f = *state;
    uint8_t size_class;
    void *block = hark__pool_alloc(f->here, 0, &size_class);

    assert_non_null(block);
    hark__pool_free(f->here, block, size_class);
}

static void
a_large_block_is_whole_and_freed_by_either_pool(void **state)
{
    struct fixture *f = *state;
    struct held held[2];

    fill(f->here, held, 2, 1 << 20);
    assert_untouched(held, 2, 1 << 20);
    free_all(f->here, &held[0], 1);
    free_all(f->there, &held[1], 1);
}

static void
blocks_survive_while_rows_spill(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 5 * TRADED + 3 };
    struct held *held = test_calloc(COUNT, sizeof *held);

    for (int round = 0; round < 6; round++) {
        // Freed elsewhere and in part, so that batches go through the depot.
        fill(f->here, held, COUNT, 96);
        assert_untouched(held, COUNT, 96);
        free_all(f->there, held, COUNT / 2);
        free_all(f->here, held + COUNT / 2, COUNT - COUNT / 2);
    }
    test_free(held);
}

static void
live_blocks_stay_apart_while_others_come_and_go(void **state)
{
    struct fixture *f = *state;
    enum { KEPT = 2 * TRADED, PASSING = 3 * TRADED };
    struct held *kept = test_calloc(KEPT, sizeof *kept);
    struct held *passing = test_calloc(PASSING, sizeof *passing);

    fill(f->here, kept, KEPT, 64);
    for (int round = 0; round < 4; round++) {
        fill(f->there, passing, PASSING, 64);
        free_all(f->here, passing, PASSING);
        fill(f->here, passing, PASSING, 64);
        free_all(f->there, passing, PASSING);
    }
    assert_untouched(kept, KEPT, 64);
    free_all(f->there, kept, KEPT);
    test_free(kept);
    test_free(passing);
}

static int
by_address(const void *a, const void *b)
{
    uintptr_t left = (uintptr_t)((const struct held *)a)->block;
    uintptr_t right = (uintptr_t)((const struct held *)b)->block;

    return (left > right) - (left < right);
}

static uint8_t
class_of(struct pool *pool, size_t size)
{
    uint8_t size_class = 0;
    void *block = hark__pool_alloc(pool, size, &size_class);

    hark__pool_free(pool, block, size_class);
    return size_class;
}

// False in sanitizer builds, where every block is malloc's (pool_malloc.c).
static bool
has_classes(struct pool *pool)
{
    return class_of(pool, 1) != class_of(pool, 900);
}

static void
an_impossible_size_is_refused(void **state)
{
    struct fixture *f = *state;
    // Volatile: the compiler would warn of such a malloc.
    volatile size_t impossible = PTRDIFF_MAX;
    uint8_t size_class;

    if (has_classes(f->here)) { // a sanitizer's malloc ends the program instead
        assert_null(hark__pool_alloc(f->here, impossible, &size_class));
    }
}

// malloc would give them back to the operating system, page for page.
static void
large_blocks_are_used_again(void **state)
{
    struct fixture *f = *state;
    struct held first[4], again[4];

    if (!has_classes(f->here)) {
        return;
    }
    for (size_t size = 1025; size <= 131072; size = size * 5 / 4) {
        fill(f->here, first, 4, size);
        free_all(f->here, first, 4);
        fill(f->here, again, 4, size);
        qsort(first, 4, sizeof first[0], by_address);
        qsort(again, 4, sizeof again[0], by_address);
        for (int i = 0; i < 4; i++) {
            assert_ptr_equal(first[i].block, again[i].block);
        }
        free_all(f->there, again, 4);
    }
}

// Their pages are worth more than those of any other block, and no pool keeps them from
// the others.
static void
huge_blocks_are_used_again_by_whoever_wants_one(void **state)
{
    struct fixture *f = *state;
    struct held first[4], again[4];

    if (!has_classes(f->here)) {
        return;
    }
    for (size_t size = 140000; size <= 1120000; size *= 8) {
        fill(f->here, first, 4, size);
        free_all(f->there, first, 4);
        fill(f->here, again, 4, size);
        qsort(first, 4, sizeof first[0], by_address);
        qsort(again, 4, sizeof again[0], by_address);
        for (int i = 0; i < 4; i++) {
            assert_ptr_equal(first[i].block, again[i].block);
        }
        free_all(f->here, again, 4);
    }
}

static size_t
bytes_of_malloc(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static void
large_blocks_that_nobody_uses_are_bounded(void **state)
{
    enum { BLOCKS = 500, BYTES = 120000, ROUNDS = 3 };
    struct fixture *f = *state;
    static struct held held[BLOCKS];
    size_t before = bytes_of_malloc();

    if (!has_classes(f->here)) {
        return;
    }
    for (int round = 0; round < ROUNDS; round++) {
        fill(f->here, held, BLOCKS, BYTES);
        assert_true(bytes_of_malloc() > before + (size_t)BLOCKS * BYTES);
        free_all(f->there, held, BLOCKS);
        assert_true(bytes_of_malloc() < before + (18 << 20));
    }
    hark__pool_close(f->there);
    f->there = hark__pool_open(f->depot);
    assert_true(bytes_of_malloc() < before + (18 << 20));
    hark__pool_close(f->here);
    hark__pool_close(f->there);
    hark__depot_close(f->depot);
    assert_true(bytes_of_malloc() < before + (1 << 20));
    f->depot = hark__depot_open();
    f->here = hark__pool_open(f->depot);
    f->there = hark__pool_open(f->depot);
}

static void
what_a_closed_pool_held_serves_another(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 4 * TRADED };
    struct held *first = test_calloc(COUNT, sizeof *first);
    struct held *second = test_calloc(COUNT, sizeof *second);
    struct pool *passing = hark__pool_open(f->depot);
    bool reuses = has_classes(f->there);

    fill(passing, first, COUNT, 200);
    qsort(first, COUNT, sizeof *first, by_address);
    free_all(passing, first, COUNT);
    hark__pool_close(passing);
    fill(f->there, second, COUNT, 200);
    for (size_t i = 0; reuses && i < COUNT; i++) {
        assert_non_null(bsearch(&second[i], first, COUNT, sizeof *first, by_address));
    }
    free_all(f->there, second, COUNT);
    test_free(first);
    test_free(second);
}

static void
sizes_of_one_class_share_their_blocks(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(class_of(f->here, 65), class_of(f->here, 128));
    if (has_classes(f->here)) {
        assert_int_not_equal(class_of(f->here, 128), class_of(f->here, 129));
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

// ---- giving back ----

enum { MANY = 400000, MANY_BYTES = 200 };

static void
count_calls(void *arg)
{
    ++*(unsigned *)arg;
}

// Takes and gives MANY blocks; what is at the places that keep(i) stays in use.
static void
take_and_give(struct fixture *f, struct held *held, size_t keep_every)
{
    fill(f->here, held, MANY, MANY_BYTES);
    for (size_t i = 0; i < MANY; i++) {
        if (keep_every == 0 || i % keep_every != 0) {
            hark__pool_free(f->there, held[i].block, held[i].size_class);
            held[i].block = NULL;
        }
    }
}

static size_t
resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long all = 0, resident = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &all, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

// As a worker would, until all is given back.
static void
trim(struct depot *depot)
{
    enum depot_trim state;
    unsigned waits = 0;

    while ((state = hark__depot_trim(depot)) != DEPOT_TRIMMED) {
        waits += state == DEPOT_WAITS;
        assert_in_range(waits, 0, 2);
    }
}

static void
free_blocks_go_back_to_the_operating_system(void **state)
{
    struct fixture *f = *state;
    struct held *held = test_calloc(MANY, sizeof *held);
    unsigned calls = 0;

    hark__depot_watch(f->depot, count_calls, &calls);
    for (unsigned round = 1; round <= 3; round++) {
        size_t before = resident_bytes();

        take_and_give(f, held, 0);
        if (calls == 0) {
            break; // malloc's, in sanitizer builds
        }
        assert_int_equal(calls, round);
        trim(f->depot);
        assert_true(resident_bytes() < before + MANY * MANY_BYTES / 4);
    }
    test_free(held);
}

static void
blocks_in_use_keep_their_memory_and_others_are_used_again(void **state)
{
    enum { KEEP_EVERY = 5000 };
    struct fixture *f = *state;
    struct held *held = test_calloc(MANY, sizeof *held);
    struct held *more = test_calloc(MANY, sizeof *more);
    unsigned calls = 0;

    hark__depot_watch(f->depot, count_calls, &calls);
    take_and_give(f, held, KEEP_EVERY);
    trim(f->depot);
    // No block is given twice, and none that is gone.
    fill(f->here, more, MANY, MANY_BYTES);
    assert_untouched(more, MANY, MANY_BYTES);
    for (size_t i = 0; i < MANY; i++) {
        hark__pool_free(f->here, more[i].block, more[i].size_class);
        if (held[i].block != NULL) {
            for (size_t at = 0; at < MANY_BYTES; at++) {
                assert_int_equal(held[i].block[at], pattern(i));
            }
            hark__pool_free(f->here, held[i].block, held[i].size_class);
        }
    }
    trim(f->depot);
    test_free(more);
    test_free(held);
}

// Blocks come and go on two threads at every step of trims.
static void *
take_and_give_for_a_while(void *arg)
{
    enum { ROUNDS = 300, AT_ONCE = 20000 };
    struct pool *pool = arg;
    struct held *held = calloc(AT_ONCE, sizeof *held);

    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t size = 64 + round % 7 * 64;

        for (size_t i = 0; i < AT_ONCE; i++) {
            held[i].block = hark__pool_alloc(pool, size, &held[i].size_class);
            memset(held[i].block, pattern(i), size);
        }
        for (size_t i = 0; i < AT_ONCE; i++) {
            if (held[i].block[0] != pattern(i)
                || held[i].block[size - 1] != pattern(i)) {
                abort();
            }
            hark__pool_free(pool, held[i].block, held[i].size_class);
        }
    }
    free(held);
    return NULL;
}

static void
trims_go_on_beside_threads_that_take_and_give(void **state)
{
    struct fixture *f = *state;
    struct held *held = test_calloc(MANY, sizeof *held);
    unsigned calls = 0;
    pthread_t thread;

    hark__depot_watch(f->depot, count_calls, &calls);
    take_and_give(f, held, 0);
    assert_int_equal(pthread_create(&thread, NULL, take_and_give_for_a_while, f->here),
                     0);
    for (unsigned i = 0; i < 20000; i++) {
        (void)hark__depot_trim(f->depot);
    }
    pthread_join(thread, NULL);
    test_free(held);
}

static void
depot_closes_in_the_middle_of_a_trim(void **state)
{
    struct held *held = test_calloc(MANY, sizeof *held);

    (void)state;
    for (unsigned steps = 1; steps < 400; steps = steps * 3 / 2 + 1) {
        struct fixture *f = NULL;
        unsigned calls = 0;

        setup((void **)&f);
        hark__depot_watch(f->depot, count_calls, &calls);
        take_and_give(f, held, 0);
        for (unsigned i = 0; i < steps; i++) {
            (void)hark__depot_trim(f->depot);
        }
        teardown((void **)&f);
    }
    test_free(held);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blocks_of_every_size_are_aligned_and_apart),
        TEST(a_block_of_no_bytes_can_be_had_and_freed),
        TEST(a_large_block_is_whole_and_freed_by_either_pool),
        TEST(an_impossible_size_is_refused),
        TEST(large_blocks_are_used_again),
        TEST(huge_blocks_are_used_again_by_whoever_wants_one),
        TEST(large_blocks_that_nobody_uses_are_bounded),
        TEST(blocks_survive_while_rows_spill),
        TEST(live_blocks_stay_apart_while_others_come_and_go),
        TEST(what_a_closed_pool_held_serves_another),
        TEST(sizes_of_one_class_share_their_blocks),
        cmocka_unit_test_setup_teardown(free_blocks_go_back_to_the_operating_system,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            blocks_in_use_keep_their_memory_and_others_are_used_again, setup, teardown),
        cmocka_unit_test_setup_teardown(trims_go_on_beside_threads_that_take_and_give,
                                        setup, teardown),
        cmocka_unit_test(depot_closes_in_the_middle_of_a_trim),
    };
    return cmocka_run_group_tests_name("base/pool", tests, NULL, NULL);
}
