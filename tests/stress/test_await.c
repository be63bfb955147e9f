// Handlers that wait for each other on several workers, while others tell, drop, stop:
// nobody runs twice at once, nothing is lost, every ask ends.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <hark/hark.h>

enum { RANKS = 48, ROUNDS = 20000, WINDOW = 64 };

HARK_MESSAGE(work, (u32, seed), (i32, depth))
HARK_MESSAGE(result, (i64, leaves))
HARK_MESSAGE(note, (i64, n))
HARK_MESSAGE(tally)

// Asks only those of a higher rank, so no two wait for each other.
typedef struct {
    const hark_ref *all;
    uint32_t rank;
    bool interleaves;
    bool busy; // a handler runs, or waits exclusively
    int64_t notes;
    char pad[64]; // a state of its own, outside the slot
} ranked;

static uint32_t
draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

// How many leaves the tree of that seed has, without any actor.
static int64_t
count_leaves(uint32_t rank, uint32_t seed, int32_t depth)
{
    uint32_t asks = depth == 0 || rank + 1 >= RANKS ? 0 : draw(&seed) % 3;
    int64_t leaves = asks == 0;

    for (uint32_t i = 0; i < asks; i++) {
        uint32_t next = rank + 1 + draw(&seed) % (RANKS - rank - 1);

        leaves += count_leaves(next, draw(&seed), depth - 1);
    }
    return leaves;
}

static hark_future
ask_higher(hark_ctx *ctx, const ranked *self, uint32_t *seed, int32_t depth)
{
    uint32_t next = self->rank + 1 + draw(seed) % (RANKS - self->rank - 1);

    hark_tell(ctx, self->all[next], note, .n = 1);
    return hark_ask(ctx, self->all[next], work, .seed = draw(seed), .depth = depth - 1);
}

static int64_t
take_leaves(hark_ctx *ctx, hark_future f)
{
    const result *r = hark_await(ctx, f, result);

    return r != NULL ? r->leaves : INT64_MIN / 4;
}

static void
enter(hark_ctx *ctx, ranked *self)
{
    if (self->interleaves) {
        assert_int_equal(hark_wait_mode(ctx, HARK_WAIT_INTERLEAVE), HARK_OK);
    } else {
        assert_false(self->busy);
        self->busy = true;
    }
}

HARK_ON(ranked, work) {
    uint32_t seed = msg->seed;
    uint32_t asks = msg->depth == 0 || self->rank + 1 >= RANKS ? 0 : draw(&seed) % 3;
    int64_t leaves = asks == 0;
    hark_future f[2];

    enter(ctx, self);
    for (uint32_t i = 0; i < asks; i++) {
        f[i] = ask_higher(ctx, self, &seed, msg->depth);
    }
    for (uint32_t i = asks; i-- > 0;) { // the later one first
        leaves += take_leaves(ctx, f[i]);
    }
    self->busy = false;
    hark_reply(ctx, result, .leaves = leaves);
}
HARK_ON(ranked, note) {
    assert_false(self->busy);
    self->notes += msg->n;
}
HARK_ON(ranked, tally) {
    hark_reply(ctx, result, .leaves = self->notes);
}
HARK_ACTOR(ranked, work, note, tally)

static hark_ref all[RANKS];

static void
everybody_waits_for_everybody(void **state)
{
    hark_system *system = hark_start(&(hark_options){.workers = 3});
    hark_ctx *me = hark_attach(system);
    hark_future window[WINDOW];
    int64_t expected[WINDOW] = {0};
    uint32_t seed = 1;

    (void)state;
    assert_non_null(me);
    for (uint32_t i = 0; i < RANKS; i++) {
        all[i] =
            hark_spawn(me, ranked, .all = all, .rank = i, .interleaves = i % 3 == 0);
    }
    for (size_t i = 0; i < ROUNDS + WINDOW; i++) {
        size_t at = i % WINDOW;

        if (i >= WINDOW) {
            const result *r = hark_await(me, window[at], result);
            if (r == NULL) {
                fail_msg("%s", hark_error_of(me)->text);
            }
            assert_int_equal(r->leaves, expected[at]);
            hark_future_drop(me, window[at]);
        }
        if (i < ROUNDS) {
            uint32_t rank = draw(&seed) % RANKS;
            uint32_t root = draw(&seed);

            expected[at] = count_leaves(rank, root, 6);
            window[at] = hark_ask_within(me, HARK_SECONDS(60), all[rank], work,
                                         .seed = root, .depth = 6);
        }
    }
    assert_int_equal(hark_stop(system, HARK_SECONDS(10)), HARK_OK);
}

// ---- circles ----

enum { CROWD = 12, CIRCLES = 4000, AT_ONCE = 16 };

typedef struct {
    const hark_ref *all;
    bool busy;
} anyone;

// Asks whomever, and so waits in circles now and then.
HARK_ON(anyone, work) {
    uint32_t seed = msg->seed;
    int64_t leaves = 1;

    assert_false(self->busy);
    self->busy = true;
    for (uint32_t i = msg->depth == 0 ? 0 : draw(&seed) % 3; i > 0; i--) {
        hark_ref next = self->all[draw(&seed) % CROWD];
        hark_future f = hark_ask_within(ctx, HARK_SECONDS(60), next, work,
                                        .seed = draw(&seed), .depth = msg->depth - 1);
        const result *r = hark_await(ctx, f, result);

        if (r == NULL) {
            self->busy = false;
            hark_refuse(ctx, hark_error_of(ctx)->code, "%s", hark_error_of(ctx)->text);
            return;
        }
        leaves += r->leaves;
    }
    self->busy = false;
    hark_reply(ctx, result, .leaves = leaves);
}
HARK_ACTOR(anyone, work)

// Returns whether f was in no circle.
static bool
ends_well(hark_ctx *me, hark_future f)
{
    const result *r = hark_await(me, f, result);
    bool well = r != NULL;

    if (!well && hark_error_of(me)->code != HARK_EDEADLK) {
        fail_msg("%s", hark_error_of(me)->text);
    }
    hark_future_drop(me, f);
    return well;
}

static void
every_circle_ends(void **state)
{
    hark_system *system = hark_start(&(hark_options){.workers = 3});
    hark_ctx *me = hark_attach(system);
    hark_future window[AT_ONCE];
    uint32_t seed = 7;
    int well = 0;

    (void)state;
    assert_non_null(me);
    for (uint32_t i = 0; i < CROWD; i++) {
        all[i] = hark_spawn(me, anyone, .all = all);
    }
    for (size_t i = 0; i < CIRCLES + AT_ONCE; i++) {
        if (i >= AT_ONCE) {
            well += ends_well(me, window[i % AT_ONCE]);
        }
        if (i < CIRCLES) {
            window[i % AT_ONCE] =
                hark_ask_within(me, HARK_SECONDS(60), all[draw(&seed) % CROWD], work,
                                .seed = draw(&seed), .depth = 5);
        }
    }
    assert_in_range(well, 1, CIRCLES - 1);
    assert_int_equal(hark_stop(system, HARK_SECONDS(10)), HARK_OK);
}

// ---- stops in the middle ----

HARK_MESSAGE(begin, (ref, whom))

typedef struct {
    int64_t begun;
} brief;

HARK_ON(brief, begin) {
    self->begun++;
    hark_future f = hark_ask(ctx, msg->whom, begin, .whom = hark_self(ctx));
    const result *r = hark_await(ctx, f, result);
    hark_reply(ctx, result,
               .leaves = r != NULL ? r->leaves : -hark_error_of(ctx)->code);
}
HARK_ACTOR(brief, begin)

typedef struct {
    hark_promise owed[8];
    size_t count;
} slow;

HARK_ON(slow, begin) {
    if (self->count < 8) {
        self->owed[self->count++] = hark_defer(ctx);
        return;
    }
    for (size_t i = 0; i < self->count; i++) {
        hark_fulfil(ctx, self->owed[i], result, .leaves = 1);
    }
    self->count = 0;
    hark_reply(ctx, result, .leaves = 1);
}
HARK_ACTOR(slow, begin)

static void
a_stop_in_the_middle_ends_every_ask(void **state)
{
    hark_system *system = hark_start(&(hark_options){.workers = 3});
    hark_ctx *me = hark_attach(system);
    hark_ref whom = hark_spawn(me, slow);
    int64_t ended = 0, stopped = 0;

    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        hark_ref who = hark_spawn(me, brief);
        hark_future f[3];

        for (int j = 0; j < 3; j++) {
            f[j] = hark_ask(me, who, begin, .whom = whom);
        }
        if (i % 3 == 0) {
            (void)hark_future_done(me, f[0]); // looks; the stop comes a little later
        }
        hark_actor_stop(me, who);
        for (int j = 0; j < 3; j++) {
            const result *r = hark_await(me, f[j], result);

            ended++;
            stopped += r == NULL || r->leaves < 0;
            assert_true(r != NULL || hark_error_of(me)->code == HARK_ESTOPPED);
            hark_future_drop(me, f[j]);
        }
    }
    assert_int_equal(ended, 3 * ROUNDS);
    assert_true(stopped > 0);
    assert_int_equal(hark_stop(system, HARK_SECONDS(10)), HARK_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_waits_for_everybody),
        cmocka_unit_test(every_circle_ends),
        cmocka_unit_test(a_stop_in_the_middle_ends_every_ask),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
