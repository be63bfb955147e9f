// Crowds of actors come and go, and the memory of their slots goes back and comes again,
// while threads and actors go on telling everybody who ever lived.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <pthread.h>

#include <cmocka.h>

#include "actor/ctx.h"
#include "sanitized.h"

enum {
    CROWD = (IS_SANITIZED ? 5 : 9) * CHUNK_SLOTS,
    CROWDS = IS_SANITIZED ? 4 : 6,
};

enum { THREADS = 2, PESTS = 2, BURST = 32, WAIT_SECONDS = 60 };

HARK_MESSAGE(note, (i64, crowd))
HARK_MESSAGE(leave)
HARK_MESSAGE(poke)

// What all see.
static struct {
    hark_system *sys;
    hark_ref refs[CROWDS * CROWD]; // of all who ever lived, in order of birth
    _Atomic(int64_t) known;        // refs that others may tell
    _Atomic(int64_t) dead;         // the first so many have ended
    _Atomic(bool) over;
    _Atomic(uint64_t) told, got; // notes, and leaves
    _Atomic(int) pests;          // that live
} all;

static void
count(_Atomic(uint64_t) *counter)
{
    // relaxed: a count, read when all is quiet.
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

// Lets others do theirs; nobody tells a thread anything.
static void
pause_ms(hark_ctx *me, uint32_t ms)
{
    assert_null(hark_receive(me, ms));
}

// ---- who comes and goes ----

typedef struct {
    int64_t crowd;
} mayfly;

HARK_ON(mayfly, note) {
    (void)ctx;
    if (msg->crowd != self->crowd) {
        fail_msg("a note for somebody else");
    }
    count(&all.got);
}

HARK_ON(mayfly, leave) {
    (void)self;
    count(&all.got);
    hark_exit(ctx);
}

HARK_ACTOR(mayfly, note, leave)

// ---- who goes on telling ----

static uint32_t
roll(uint32_t *random)
{
    *random = *random * 1664525u + 1013904223u;
    return *random >> 8;
}

// A ref of whose end everybody knows must be of nobody for ever.
static void
try_the_dead(hark_ctx *ctx, uint32_t *random)
{
    // acquire: the refs, and their ends, are seen.
    int64_t dead = atomic_load_explicit(&all.dead, memory_order_acquire);

    if (dead > 0) {
        hark_ref ref = all.refs[roll(random) % dead];

        assert_false(hark_is_alive(ctx, ref));
        assert_int_equal(hark_actor_stop(ctx, ref), HARK_ENOACTOR);
        assert_int_equal(hark_register(ctx, "ghost", ref), HARK_ENOACTOR);
    }
}

static void
tell_some(hark_ctx *ctx, uint32_t *random)
{
    // acquire: the refs are seen.
    int64_t known = atomic_load_explicit(&all.known, memory_order_acquire);

    for (int i = 0; i < BURST && known > 0; i++) {
        int64_t at = roll(random) % known;

        count(&all.told);
        if (i == 0) {
            (void)hark_send_after(ctx, 1, all.refs[at], note, .crowd = at / CROWD);
        } else {
            (void)hark_tell(ctx, all.refs[at], note, .crowd = at / CROWD);
        }
    }
    try_the_dead(ctx, random);
}

typedef struct {
    uint32_t random;
} pest;

HARK_ON(pest, poke) {
    tell_some(ctx, &self->random);
    // acquire: pairs with main's release.
    if (atomic_load_explicit(&all.over, memory_order_acquire)) {
        atomic_fetch_sub(&all.pests, 1);
        hark_exit(ctx);
    } else {
        hark_send_after(ctx, 1, hark_self(ctx), poke);
    }
}

HARK_ACTOR(pest, poke)

static void *
pester(void *arg)
{
    hark_ctx *me = hark_attach(all.sys);
    uint32_t random = *(uint32_t *)arg;

    // acquire: as above.
    while (!atomic_load_explicit(&all.over, memory_order_acquire)) {
        tell_some(me, &random);
        pause_ms(me, 1);
    }
    hark_detach(me);
    return NULL;
}

// ---- the crowds ----

static void
wait_for_ends(hark_ctx *me, uint64_t rest)
{
    hark_stats stats;

    do {
        hark_stats_read(all.sys, &stats);
    } while (stats.actors > rest && hark_receive(me, 1) == NULL);
    assert_int_equal(stats.actors, rest);
}

static uint32_t
count_gone(hark_ctx *me)
{
    struct slots *slots = &me->node->slots;
    uint32_t gone = 0;

    pthread_mutex_lock(&slots->lock);
    for (struct list *at = slots->states[CHUNK_GONE].next;
         at != &slots->states[CHUNK_GONE]; at = at->next) {
        gone++;
    }
    pthread_mutex_unlock(&slots->lock);
    return gone;
}

// Has the next slot that is freed ask for a trim, unless one goes on, though few are
// free.
static void
make_eager(hark_ctx *me)
{
    struct slots *slots = &me->node->slots;

    pthread_mutex_lock(&slots->lock);
    slots->ask_free = slots->is_asked ? slots->ask_free : CHUNK_SLOTS;
    pthread_mutex_unlock(&slots->lock);
}

static void
spawn_crowd(hark_ctx *me, int64_t crowd)
{
    for (int64_t i = crowd * CROWD; i < (crowd + 1) * CROWD; i++) {
        all.refs[i] = hark_spawn(me, mayfly, .crowd = crowd);
        assert_false(hark_ref_is_null(all.refs[i]));
        // release: pairs with tell_some.
        atomic_store_explicit(&all.known, i + 1, memory_order_release);
    }
}

static void
end_crowd(hark_ctx *me, int64_t crowd, uint64_t rest)
{
    for (int64_t i = crowd * CROWD; i < (crowd + 1) * CROWD; i++) {
        if (i % 2 == 0) {
            assert_int_equal(hark_actor_stop(me, all.refs[i]), HARK_OK);
        } else {
            count(&all.told);
            assert_int_equal(hark_tell(me, all.refs[i], leave), HARK_OK);
        }
    }
    wait_for_ends(me, rest);
    // release: pairs with try_the_dead.
    atomic_store_explicit(&all.dead, (crowd + 1) * CROWD, memory_order_release);
}

// Some slots are freed, so that a trim may begin that found nothing when it began before.
static void
stir(hark_ctx *me, uint64_t rest)
{
    make_eager(me);
    for (int i = 0; i < 4 * SLOT_CACHE; i++) {
        hark_ref ref = hark_spawn(me, mayfly, .crowd = -1);

        assert_int_equal(hark_actor_stop(me, ref), HARK_OK);
    }
    wait_for_ends(me, rest);
}

static void
wait_until_gone(hark_ctx *me, uint64_t rest)
{
    int64_t until_ns = hark_now_ns(me) + (int64_t)WAIT_SECONDS * 1000000000;

    while (count_gone(me) == 0) {
        assert_true(hark_now_ns(me) < until_ns);
        stir(me, rest);
        pause_ms(me, 50);
    }
}

static int
compare(const void *a, const void *b)
{
    const hark_ref *x = a, *y = b;

    return (x->actor > y->actor) - (x->actor < y->actor);
}

static void
nobody_had_the_ref_of_another(void)
{
    qsort(all.refs, CROWDS * CROWD, sizeof all.refs[0], compare);
    for (int64_t i = 1; i < CROWDS * CROWD; i++) {
        assert_false(hark_ref_equal(all.refs[i - 1], all.refs[i]));
    }
}

// Each note and leave was looked at, or is a dead letter.
static void
nothing_was_lost(hark_ctx *me)
{
    int64_t until_ns = hark_now_ns(me) + (int64_t)WAIT_SECONDS * 1000000000;
    hark_stats stats;

    do {
        hark_stats_read(all.sys, &stats);
        if (hark_now_ns(me) > until_ns) {
            break;
        }
        pause_ms(me, 1);
    } while (atomic_load(&all.got) + stats.dead_letters != atomic_load(&all.told));
    assert_int_equal(atomic_load(&all.got) + stats.dead_letters,
                     atomic_load(&all.told));
}

static void
crowds_come_and_go_with_their_memory_while_all_are_told(void **state)
{
    const hark_options options = {.workers = 3};
    uint32_t seeds[THREADS] = {1, 2};
    pthread_t threads[THREADS];

    (void)state;
    all.sys = hark_start(&options);
    hark_ctx *me = hark_attach(all.sys);
    atomic_store(&all.pests, PESTS);
    for (uint32_t i = 0; i < PESTS; i++) {
        hark_tell(me, hark_spawn(me, pest, .random = i + 10), poke);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, pester, &seeds[i]);
    }
    hark_stats stats;
    do {
        hark_stats_read(all.sys, &stats);
    } while (stats.actors < 1 + PESTS + THREADS && hark_receive(me, 1) == NULL);
    for (int64_t crowd = 0; crowd < CROWDS; crowd++) {
        spawn_crowd(me, crowd);
        make_eager(me);
        end_crowd(me, crowd, 1 + PESTS + THREADS);
        wait_until_gone(me, 1 + PESTS + THREADS);
    }
    // release: pairs with those who look.
    atomic_store_explicit(&all.over, true, memory_order_release);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    wait_for_ends(me, 1);
    nothing_was_lost(me);
    assert_int_equal(hark_stop(all.sys, HARK_SECONDS(60)), HARK_OK);
    nobody_had_the_ref_of_another();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crowds_come_and_go_with_their_memory_while_all_are_told),
    };
    return cmocka_run_group_tests_name("stress/slots", tests, NULL, NULL);
}
