// What pipes promise, over each transport.

#include <dirent.h>

#include "nets.h"

#include "cpu.h"

static enum carrier carrier;

static int
setup(void **state)
{
    *state = nets_open(carrier);
    return 0;
}

static int
teardown(void **state)
{
    nets_close(*state);
    return 0;
}

static void
frames_arrive_in_order_in_both_directions(void **state)
{
    enum { FRAMES = 3000 };
    struct nets *n = *state;
    struct pipe *pipe = nets_connect(n);

    place_set(&n->there, &n->there.echoes);
    for (uint64_t i = 0; i < FRAMES; i++) {
        assert_true(place_send(pipe, i, 8 + i % 300));
    }
    place_wait(&n->there, &n->there.frames, FRAMES);
    place_wait(&n->here, &n->here.frames, FRAMES);
    assert_int_equal(place_get(&n->there, &n->there.disorder), 0);
    assert_int_equal(place_get(&n->here, &n->here.disorder), 0);
    assert_int_equal(
        place_get(&n->here, &n->here.bad) + place_get(&n->there, &n->there.bad), 0);
    assert_int_equal(place_get(&n->here, &n->here.frames), FRAMES);
}

static void
large_frame_arrives_whole_between_small_ones(void **state)
{
    enum { LARGE = 16 * 1024 * 1024 };
    struct nets *n = *state;
    struct pipe *pipe = nets_connect(n);

    place_set(&n->there, &n->there.echoes);
    assert_true(place_send(pipe, 0, 8));
    assert_true(place_send(pipe, 1, LARGE));
    assert_true(place_send(pipe, 2, 8));
    place_wait(&n->here, &n->here.frames, 3);
    assert_int_equal(place_get(&n->here, &n->here.disorder), 0);
    assert_int_equal(place_get(&n->here, &n->here.bad), 0);
    assert_int_equal(place_get(&n->here, &n->here.bytes), LARGE + 16);
}

static void
oversized_frame_is_refused_or_ends_its_pipe_only(void **state)
{
    struct nets *n = *state;
    struct pipe *other = nets_connect(n);
    struct pipe *pipe = nets_connect(n);

    assert_true(place_send(other, 0, 8));
    place_wait(&n->there, &n->there.frames, 1);
    assert_true(place_send(pipe, 1, 8));
    place_wait(&n->there, &n->there.frames, 2);
    if (place_send(pipe, 2, NETS_LIMIT_BYTES + 1)) {
        place_wait(&n->here, &n->here.gone, 1);
        place_wait(&n->there, &n->there.gone, 1);
    }
    assert_int_equal(place_get(&n->there, &n->there.frames), 2);
    assert_true(place_send(other, 2, 8));
    place_wait(&n->there, &n->there.frames, 3);
    assert_int_equal(place_get(&n->there, &n->there.disorder), 0);
}

static void
close_of_one_end_is_told_to_the_other(void **state)
{
    struct nets *n = *state;
    struct pipe *pipe = nets_connect(n);

    assert_true(place_send(pipe, 0, 8));
    assert_true(place_send(pipe, 1, 100));
    place_end(&n->here, pipe);
    place_wait(&n->there, &n->there.gone, 1);
    assert_int_equal(place_get(&n->there, &n->there.frames),
                     2); // what was sent before still came
    assert_true(strlen(n->there.why) > 0);
}

static void
end_of_the_other_net_is_told(void **state)
{
    struct nets *n = *state;
    struct pipe *pipe = nets_connect(n);

    assert_true(place_send(pipe, 0, 8));
    place_wait(&n->there, &n->there.frames, 1);
    place_close(&n->there);
    place_wait(&n->here, &n->here.gone, 1);
    assert_int_equal(place_get(&n->here, &n->here.frames), 0);
}

static void
frames_sent_before_the_net_closes_still_leave(void **state)
{
    enum { FRAMES = 200 };
    struct nets *n = *state;
    struct pipe *pipe = nets_connect(n);

    assert_true(place_send(pipe, 0, 8));
    place_wait(&n->there, &n->there.frames, 1);
    for (uint64_t i = 1; i < FRAMES; i++) {
        assert_true(place_send(pipe, i, 1000));
    }
    place_close(&n->here);
    place_wait(&n->there, &n->there.frames, FRAMES);
    assert_int_equal(place_get(&n->there, &n->there.disorder), 0);
    place_wait(&n->there, &n->there.gone, 1);
}

static void
listener_hears_no_more_of_a_pipe_that_it_closed(void **state)
{
    struct nets *n = *state;
    struct pipe *pipe = nets_connect(n);

    place_set(&n->there, &n->there.closes);
    place_set(&n->here, &n->here.keeps); // we go on sending
    assert_true(place_send(pipe, 0, 8));
    place_wait(&n->there, &n->there.frames, 1);
    for (uint64_t i = 0; i < 100; i++) {
        (void)place_send(pipe, i, 8);
    }
    place_end(&n->here, pipe);
    struct pipe *other = nets_connect(n); // a new connection is heard
    place_expect(&n->there, 7);
    assert_true(place_send(other, 7, 8));
    place_wait(&n->there, &n->there.frames, 2);
    assert_int_equal(place_get(&n->there, &n->there.frames), 2);
    assert_int_equal(place_get(&n->there, &n->there.disorder), 0);
    assert_int_equal(place_get(&n->there, &n->there.gone), 0);
}

static void
sending_to_a_side_that_is_gone_does_no_harm(void **state)
{
    struct nets *n = *state;
    struct pipe *pipe = nets_connect(n);

    assert_true(place_send(pipe, 0, 8));
    place_wait(&n->there, &n->there.frames, 1);
    struct pipe *back = place_pipe(&n->there);
    // The other end goes; until we are told, our sends may or may not be taken.
    place_end(&n->here, pipe);
    pthread_mutex_lock(&n->there.lock); // holds the news of the end back
    for (uint64_t i = 0; i < 20 && n->there.gone == 0; i++) {
        (void)place_send(back, i, 8);
    }
    pthread_mutex_unlock(&n->there.lock);
    place_wait(&n->there, &n->there.gone, 1);
}

// ---- many threads ----

enum { SENDERS = 4, EACH = 500 };

struct sender {
    struct pipe *pipe;
    size_t size;
};

static void *
send_many(void *arg)
{
    struct sender *sender = arg;

    for (uint64_t i = 0; i < EACH; i++) {
        if (!place_send(sender->pipe, i, sender->size)) {
            return arg;
        }
    }
    return NULL;
}

static void
many_threads_may_send_on_one_pipe(void **state)
{
    struct nets *n = *state;
    struct pipe *pipe = nets_connect(n);
    pthread_t threads[SENDERS];
    struct sender senders[SENDERS];
    uint64_t bytes = 0;

    place_set(&n->there,
              &n->there.echoes); // traffic comes back on the socket that is sent on
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){pipe, (size_t)8 << (2 * i)};
        bytes += EACH * senders[i].size;
        assert_int_equal(pthread_create(&threads[i], NULL, send_many, &senders[i]), 0);
    }
    for (int i = 0; i < SENDERS; i++) {
        void *failed;

        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    place_wait(&n->there, &n->there.frames, SENDERS * EACH);
    place_wait(&n->here, &n->here.frames, SENDERS * EACH);
    assert_int_equal(
        place_get(&n->there, &n->there.bad) + place_get(&n->here, &n->here.bad), 0);
    assert_int_equal(place_get(&n->there, &n->there.bytes), bytes);
    assert_int_equal(place_get(&n->here, &n->here.bytes), bytes);
}

// Each frame waits for the answer to the last: one lost wake-up stops it.
static void
no_wake_up_is_lost_in_ping_pong(void **state)
{
    enum { ROUNDS = 2000 };
    struct nets *n = *state;
    struct pipe *pipe = nets_connect(n);

    place_set(&n->there, &n->there.echoes);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        assert_true(place_send(pipe, i, 8));
        place_wait(&n->here, &n->here.frames, i + 1);
    }
}

static void *
kick_many(void *arg)
{
    for (int i = 0; i < 20000; i++) {
        hark__net_kick(arg);
    }
    return NULL;
}

static void
each_kick_is_followed_by_a_tick(void **state)
{
    struct place quiet = {0};
    pthread_t threads[2];
    char bound[64], error[256];

    (void)state;
    place_open(&quiet, NULL, 3600 * 1000); // no tick comes by itself
    assert_int_equal(hark__net_listen(quiet.net, "tcp://127.0.0.1:0", bound,
                                      sizeof bound, error, sizeof error),
                     HARK_OK);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 2; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, kick_many, quiet.net),
                             0);
        }
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        pthread_mutex_lock(&quiet.lock);
        uint64_t ticks = quiet.ticks;
        pthread_mutex_unlock(&quiet.lock);
        // The last kick's tick may have been; this one's has not.
        hark__net_kick(quiet.net);
        place_wait(&quiet, &quiet.ticks, ticks + 1);
    }
    place_fini(&quiet);
}

// ---- what is left ----

static unsigned
open_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");

    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

static void
no_descriptor_is_left_after_close(void **state)
{
    unsigned before;
    (void)state;

    nets_close(nets_open(carrier)); // what libraries keep for ever
    before = open_descriptors();
    for (int round = 0; round < 3; round++) {
        struct nets *n = nets_open(carrier);
        struct pipe *pipes[4];

        for (int i = 0; i < 4; i++) {
            pipes[i] = nets_connect(n);
            assert_true(place_send(pipes[i], (uint64_t)i, 8));
        }
        place_wait(&n->there, &n->there.frames, 4);
        place_end(&n->here, pipes[0]);
        place_wait(&n->there, &n->there.gone, 1);
        nets_close(n);
    }
    assert_int_equal(open_descriptors(), before);
}

// A connection that was closed leaves no descriptor while the net lives.
static void
closed_pipes_free_their_descriptors(void **state)
{
    struct nets *n = *state;
    unsigned most = 0;

    for (uint64_t i = 0; i < 40; i++) {
        struct pipe *pipe = nets_connect(n);

        assert_true(place_send(pipe, i, 8));
        place_wait(&n->there, &n->there.frames, i + 1);
        place_end(&n->here, pipe);
        place_wait(&n->there, &n->there.gone, i + 1);
        if (i == 9) {
            most = open_descriptors();
        }
    }
    assert_true(open_descriptors() <= most + 8); // libzmq's own thread may be behind
}

static void
idle_nets_use_no_cpu(void **state)
{
    struct nets *n = *state;
    struct pipe *pipe = nets_connect(n);

    place_set(&n->there, &n->there.echoes);
    for (uint64_t i = 0; i < 100; i++) {
        assert_true(place_send(pipe, i, 8));
    }
    place_wait(&n->here, &n->here.frames, 100);
    place_wait(&n->here, &n->here.ticks, place_get(&n->here, &n->here.ticks) + 2);
    int64_t cpu = cpu_used_us();
    int64_t began_ns = hark__env_now(hark__env_real());
    uint64_t ticks = place_get(&n->here, &n->here.ticks);
    place_wait(&n->here, &n->here.ticks, ticks + 10); // 500 ms
    assert_true(cpu_used_us() - cpu < 100000);        // a spinning poller uses it all
    ticks = place_get(&n->here, &n->here.ticks) - ticks;
    uint64_t most =
        (uint64_t)(hark__env_now(hark__env_real()) - began_ns) / (TICK_MS * 1000000)
        + 2;
    assert_true(ticks <= most);
}

int
main(void)
{
    static const char *const names[] = {"pipes over mem", "pipes over ipc",
                                        "pipes over tcp"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_arrive_in_order_in_both_directions,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(large_frame_arrives_whole_between_small_ones,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            oversized_frame_is_refused_or_ends_its_pipe_only, setup, teardown),
        cmocka_unit_test_setup_teardown(close_of_one_end_is_told_to_the_other, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(end_of_the_other_net_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_sent_before_the_net_closes_still_leave,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(listener_hears_no_more_of_a_pipe_that_it_closed,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(sending_to_a_side_that_is_gone_does_no_harm,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(many_threads_may_send_on_one_pipe, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(no_wake_up_is_lost_in_ping_pong, setup,
                                        teardown),
        cmocka_unit_test(no_descriptor_is_left_after_close),
        cmocka_unit_test_setup_teardown(closed_pipes_free_their_descriptors, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(idle_nets_use_no_cpu, setup, teardown),
    };
    const struct CMUnitTest once[] = {
        cmocka_unit_test(each_kick_is_followed_by_a_tick),
    };
    int failed = cmocka_run_group_tests_name("kicks", once, NULL, NULL);

    for (carrier = OVER_MEM; carrier <= OVER_TCP; carrier++) {
        failed += cmocka_run_group_tests_name(names[carrier], tests, NULL, NULL);
    }
    return failed;
}
