// Circles over two nodes: handlers that wait for each other wildly, exclusively and in the
// mode chain. Every ask ends, well or with HARK_EDEADLK, and none by its clock.

#include "api/world.h"

enum { CROWD = 12, ROUNDS = 4000, AT_ONCE = 16, DEPTH = 5 };

HARK_MESSAGE(work, (u32, seed), (i32, depth), (list, ref, all))
HARK_MESSAGE(result, (i64, leaves))

typedef struct {
    hark_wait mode;
    bool is_busy; // waits exclusively
} anyone;

static uint32_t
draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

// Asks whomever, and so waits in circles now and then.
HARK_ON(anyone, work) {
    uint32_t seed = msg->seed;
    int64_t leaves = 1;

    assert_false(self->is_busy);
    self->is_busy = self->mode == HARK_WAIT_EXCLUSIVE;
    assert_int_equal(hark_wait_mode(ctx, self->mode), HARK_OK);
    for (uint32_t i = msg->depth == 0 ? 0 : draw(&seed) % 3; i > 0; i--) {
        hark_ref next = msg->all.items[draw(&seed) % CROWD];
        hark_future f =
            hark_ask_within(ctx, HARK_SECONDS(90), next, work, .seed = draw(&seed),
                            .depth = msg->depth - 1, .all = msg->all);
        const result *r = hark_await(ctx, f, result);

        if (r == NULL) {
            self->is_busy = false;
            hark_refuse(ctx, hark_error_of(ctx)->code, "%s", hark_error_of(ctx)->text);
            return;
        }
        leaves += r->leaves;
    }
    self->is_busy = false;
    hark_reply(ctx, result, .leaves = leaves);
}
HARK_ACTOR(anyone, work)

static hark_ref all[CROWD];

static hark_wait
mode_of(int which, size_t i)
{
    return which == 2 ? (i % 3 == 0 ? HARK_WAIT_EXCLUSIVE : HARK_WAIT_CHAIN)
                      : (hark_wait)which;
}

// which: a hark_wait, or 2: mixed; with HARK_WAIT_CHAIN for 1.
static void
populate(struct world *w, int which)
{
    for (size_t i = 0; i < CROWD; i++) {
        hark_wait mode = which == 1 ? HARK_WAIT_CHAIN : mode_of(which, i);

        if (i % 2 == 0) {
            all[i] = hark_spawn(w->here, anyone, .mode = mode);
        } else {
            char name[32];

            snprintf(name, sizeof name, "anyone%zu", i);
            all[i] = world_reach(w, name, hark_spawn(w->there, anyone, .mode = mode));
        }
    }
}

// Returns whether f was in no circle.
static bool
ends_well(struct world *w, hark_future f)
{
    const result *r = hark_await(w->here, f, result);
    bool well = r != NULL;

    if (!well && hark_error_of(w->here)->code != HARK_EDEADLK) {
        fail_msg("%s", world_error(w));
    }
    hark_future_drop(w->here, f);
    return well;
}

static void
every_circle_ends(enum reach reach, int which)
{
    struct world *w = world_open(reach, NULL);
    hark_future window[AT_ONCE];
    uint32_t seed = 7;
    int well = 0;

    populate(w, which);
    for (size_t i = 0; i < ROUNDS + AT_ONCE; i++) {
        if (i >= AT_ONCE) {
            well += ends_well(w, window[i % AT_ONCE]);
        }
        if (i < ROUNDS) {
            window[i % AT_ONCE] = hark_ask_within(
                w->here, HARK_SECONDS(90), all[draw(&seed) % CROWD], work,
                .seed = draw(&seed), .depth = DEPTH, .all = {all, CROWD});
        }
    }
    print_message("%d of %d went well\n", well, ROUNDS);
    assert_in_range(well, 1, ROUNDS - 1);
    world_close(w);
}

static void
every_circle_over_memory_ends(void **state)
{
    (void)state;
    every_circle_ends(REACH_MEMORY, HARK_WAIT_EXCLUSIVE);
}

static void
every_circle_over_tcp_ends(void **state)
{
    (void)state;
    every_circle_ends(REACH_TCP, HARK_WAIT_EXCLUSIVE);
}

static void
every_circle_of_chains_ends(void **state)
{
    (void)state;
    every_circle_ends(REACH_MEMORY, 1);
}

static void
every_mixed_circle_ends(void **state)
{
    (void)state;
    every_circle_ends(REACH_MEMORY, 2);
}

static void
every_mixed_circle_on_one_node_ends(void **state)
{
    (void)state;
    every_circle_ends(REACH_LOCAL, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_circle_over_memory_ends),
        cmocka_unit_test(every_circle_over_tcp_ends),
        cmocka_unit_test(every_circle_of_chains_ends),
        cmocka_unit_test(every_mixed_circle_ends),
        cmocka_unit_test(every_mixed_circle_on_one_node_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
