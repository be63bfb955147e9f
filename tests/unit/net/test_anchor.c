// Anchors: which frames are held, and for how long.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "net/zmq_side.h"

enum { FRAME = 40000, SECOND_NS = 1000000000, FRAMES = 20 };

// An environment whose clock the test sets.
static int64_t now_ns;

static int64_t
set_clock(struct env *env)
{
    (void)env;
    return now_ns;
}

static const struct env_ops ops = {.now_ns = set_clock};
static struct env env = {&ops};

static void
count_free(void *data, void *hint)
{
    (void)data;
    ++*(unsigned *)hint;
}

struct bench {
    struct zmq_side side;
    struct sink sink;
    unsigned freed; // messages that nobody holds any more
};

static int
setup(void **state)
{
    static struct bench bench;

    memset(&bench, 0, sizeof bench);
    now_ns = 5;
    bench.side.net =
        hark__net_open(&(struct net_options){.env = &env, .sink = &bench.sink});
    *state = &bench;
    return bench.side.net == NULL;
}

static int
teardown(void **state)
{
    struct bench *bench = *state;

    hark__anchors_drop(&bench->side.anchors);
    hark__net_close(bench->side.net, 0);
    return 0;
}

// A message over size bytes at `data` has come, and is done with.
static void
come_and_go(struct bench *bench, void *data, size_t size)
{
    zmq_msg_t message;

    assert_int_equal(zmq_msg_init_data(&message, data, size, count_free, &bench->freed),
                     0);
    hark__anchors_hold(&bench->side, &message);
    zmq_msg_close(&message);
}

static void
the_highest_of_a_region_is_held(void **state)
{
    static char region[FRAMES * FRAME];
    struct bench *bench = *state;
    // The half that lies in one region.
    uintptr_t first = (uintptr_t)region, middle = first + sizeof region / 2;
    size_t start = first >> 26 == (middle - 1) >> 26 ? 0 : FRAMES / 2;
    unsigned come = 0;

    for (size_t i = start; i < start + FRAMES / 2; i++) { // each a new record
        come_and_go(bench, region + i * FRAME, FRAME);
        assert_int_equal(bench->freed, come++);
    }
    come_and_go(bench, region + start * FRAME, FRAME); // lower
    assert_int_equal(bench->freed, come);
    hark__anchors_drop(&bench->side.anchors);
    assert_int_equal(bench->freed, come + 1);
}

static void
small_and_very_large_frames_are_not_held(void **state)
{
    static char data[1 << 20];
    struct bench *bench = *state;

    come_and_go(bench, data, 1000);
    come_and_go(bench, data, 128 * 1024);
    come_and_go(bench, data, sizeof data);
    assert_int_equal(bench->freed, 3);
    assert_true(hark__zmq_rest(&bench->side) == INT64_MAX);
}

static void
anchors_go_after_a_second_and_come_again(void **state)
{
    static char data[FRAME];
    struct bench *bench = *state;
    int64_t due_ns;

    for (unsigned round = 0; round < 3; round++) {
        bench->freed = 0;
        come_and_go(bench, data, FRAME);
        due_ns = now_ns + SECOND_NS;
        assert_true(hark__zmq_rest(&bench->side) == due_ns);
        come_and_go(bench, data, FRAME); // does not make it longer
        assert_int_equal(bench->freed, 1);
        now_ns += SECOND_NS - 1;
        assert_true(hark__zmq_rest(&bench->side) == due_ns);
        assert_int_equal(bench->freed, 1);
        now_ns++;
        assert_true(hark__zmq_rest(&bench->side) == INT64_MAX);
        assert_int_equal(bench->freed, 2);
        assert_true(hark__zmq_rest(&bench->side) == INT64_MAX);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_highest_of_a_region_is_held),
        TEST(small_and_very_large_frames_are_not_held),
        TEST(anchors_go_after_a_second_and_come_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
