// A million actors alive at once, in one process.

#include "api/world.h"
#include "sanitized.h"

HARK_MESSAGE(add, (i64, n))
HARK_MESSAGE(added, (i64, sum))

enum { ACTORS = IS_SANITIZED ? 50 * 1000 : 1000 * 1000 };

enum { AT_ONCE = 10 * 1000 }; // asks that are open at a time

typedef struct {
    int64_t sum;
} counter;

HARK_ON(counter, add) {
    self->sum += msg->n;
    hark_reply(ctx, added, .sum = self->sum); // HARK_ENOASK when it was told
}
HARK_ACTOR(counter, add)

static void
assert_alive(hark_system *sys, uint64_t count)
{
    hark_stats stats;

    hark_stats_read(sys, &stats);
    assert_int_equal(stats.actors, count + 1); // and this thread
}

// Each is told n once and then asked for its sum. Returns the sum of the sums.
static int64_t
tell_and_ask_all(hark_ctx *me, const hark_ref *actors)
{
    static hark_future open[AT_ONCE];
    int64_t sum = 0;

    for (int i = 0; i < ACTORS; i++) {
        assert_int_equal(hark_tell(me, actors[i], add, .n = i), HARK_OK);
    }
    for (int first = 0; first < ACTORS; first += AT_ONCE) {
        for (int i = 0; i < AT_ONCE; i++) {
            open[i] =
                hark_ask_within(me, HARK_SECONDS(100), actors[first + i], add, .n = 1);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            const added *answer = hark_await(me, open[i], added);

            assert_non_null(answer);
            assert_int_equal(answer->sum, first + i + 1);
            sum += answer->sum;
            hark_future_drop(me, open[i]);
        }
    }
    return sum;
}

static void
million_actors_each_answer_and_stop(void **state)
{
    (void)state;
    hark_system *sys = hark_start(NULL);
    hark_ctx *me = hark_attach(sys);
    hark_ref *actors = calloc(ACTORS, sizeof *actors);
    hark_stats stats;

    assert_non_null(actors);
    for (int i = 0; i < ACTORS; i++) {
        actors[i] = hark_spawn(me, counter);
        assert_false(hark_ref_is_null(actors[i]));
    }
    assert_alive(sys, ACTORS);
    assert_int_equal(tell_and_ask_all(me, actors),
                     (int64_t)ACTORS * (ACTORS - 1) / 2 + ACTORS);
    assert_alive(sys, ACTORS);
    for (int i = 0; i < ACTORS; i++) {
        assert_int_equal(hark_actor_stop(me, actors[i]), HARK_OK);
    }
    do { // the last of them are still at it
        hark_stats_read(sys, &stats);
    } while (stats.actors > 1 && hark_receive(me, 1) == NULL);
    assert_alive(sys, 0);
    assert_int_equal(stats.spawned, ACTORS + 1);
    assert_int_equal(stats.dead_letters, 0);
    for (int i = 0; i < ACTORS; i += 1000) {
        assert_false(hark_is_alive(me, actors[i]));
        assert_int_equal(hark_tell(me, actors[i], add, .n = 1), HARK_ENOACTOR);
    }
    free(actors);
    assert_int_equal(hark_stop(sys, HARK_SECONDS(60)), HARK_OK);
}

static void
million_actors_stop_with_their_system(void **state)
{
    (void)state;
    hark_system *sys = hark_start(NULL);
    hark_ctx *me = hark_attach(sys);

    for (int i = 0; i < ACTORS; i++) {
        assert_false(hark_ref_is_null(hark_spawn(me, counter)));
    }
    assert_alive(sys, ACTORS);
    assert_int_equal(hark_stop(sys, HARK_SECONDS(60)), HARK_OK);
}

// ---- memory ----

enum { CROWD = 2 * ACTORS, SPARE_MB = 40, TRIM_SECONDS = 30 };

static double
resident_mb(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long whole = 0, resident = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &whole, &resident), 2);
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static void
two_million_actors_give_their_memory_back(void **state)
{
    (void)state;
    if (ACTORS < 1000 * 1000) {
        skip(); // a sanitizer keeps what was freed
    }
    hark_system *sys = hark_start(NULL);
    hark_ctx *me = hark_attach(sys);
    hark_ref *actors = malloc(CROWD * sizeof *actors);

    assert_non_null(actors);
    memset(actors, 1, CROWD * sizeof *actors);
    double before_mb = resident_mb();
    for (int i = 0; i < CROWD; i++) {
        actors[i] = hark_spawn(me, counter);
        assert_int_equal(hark_tell(me, actors[i], add, .n = 1), HARK_OK);
    }
    assert_true(resident_mb() > before_mb + CROWD * 128 / 1e6);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(hark_actor_stop(me, actors[i]), HARK_OK);
    }
    int64_t until_ns = hark_now_ns(me) + TRIM_SECONDS * INT64_C(1000000000);
    hark_stats stats;
    do {
        hark_stats_read(sys, &stats);
        assert_true(hark_now_ns(me) < until_ns);
        assert_null(hark_receive(me, 20));
    } while (stats.actors > 1 || resident_mb() > before_mb + SPARE_MB);
    for (int i = 0; i < CROWD; i += 1000) {
        assert_int_equal(hark_tell(me, actors[i], add, .n = 1), HARK_ENOACTOR);
    }
    free(actors);
    assert_int_equal(hark_stop(sys, HARK_SECONDS(60)), HARK_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(million_actors_each_answer_and_stop),
        cmocka_unit_test(million_actors_stop_with_their_system),
        cmocka_unit_test(two_million_actors_give_their_memory_back),
    };
    return cmocka_run_group_tests_name("api/scale", tests, NULL, NULL);
}
