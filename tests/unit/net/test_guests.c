// Who polls: guests, and the net's own thread when no guest comes. Ticks are a minute
// apart, so that none of them covers up for a lost wake-up.

#include <sched.h>

#include "nets.h"
#include "net/transport.h"

#include "cpu.h"

#define MS INT64_C(1000000)
#define WAIT_NS (NETS_WAIT_S * INT64_C(1000000000))

enum { RARE_TICK_MS = 60000 };

static enum carrier carrier;

// Fixture: two nets; a guest of `there` on its own thread, once it is started.
struct fixture {
    struct nets *nets;
    struct pipe *pipe; // from here to there
    pthread_t thread;
    bool is_started;
    _Atomic(bool) away;  // the guest shall not wait
    _Atomic(bool) left;  // it does not
    _Atomic(bool) flits; // it goes away now and then by itself
    _Atomic(bool) ending;
};

static int64_t
now_ns(void)
{
    return hark__env_now(hark__env_real());
}

// Waits until *flag is value; fails the test when that takes too long.
static void
wait_for_flag(_Atomic(bool) *flag, bool value)
{
    int64_t deadline = now_ns() + WAIT_NS;

    while (atomic_load(flag) != value) {
        assert_true(now_ns() < deadline);
        sched_yield();
    }
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char error[256] = "";

    assert_non_null(f);
    f->nets = calloc(1, sizeof *f->nets);
    assert_non_null(f->nets);
    f->nets->hub = hark__hub_new();
    assert_non_null(f->nets->hub);
    place_open(&f->nets->here, f->nets->hub, RARE_TICK_MS);
    place_open(&f->nets->there, f->nets->hub, RARE_TICK_MS);
    assert_int_equal(hark__net_listen(f->nets->there.net, nets_wish(carrier),
                                      f->nets->endpoint, sizeof f->nets->endpoint,
                                      error, sizeof error),
                     HARK_OK);
    f->pipe = nets_connect(f->nets);
    *state = f;
    return 0;
}

static void
guest_stays_away(struct fixture *f)
{
    hark__net_leave(f->nets->there.net);
    atomic_store(&f->left, true);
    while (atomic_load(&f->away) && !atomic_load(&f->ending)) {
        sched_yield();
    }
    atomic_store(&f->left, false);
}

static void *
guest_main(void *arg)
{
    struct fixture *f = arg;
    struct net *net = f->nets->there.net;
    unsigned turns = 0;

    while (!atomic_load(&f->ending)) {
        if (atomic_load(&f->away)) {
            guest_stays_away(f);
        }
        if (hark__net_wait(net, INT64_MAX)) {
            hark__net_poll(net, f);
        }
        if (atomic_load(&f->flits) && ++turns % 7 == 0) { // a turn of some length
            int64_t until = now_ns() + turns % 4 * MS;

            hark__net_leave(net);
            while (now_ns() < until) {
                sched_yield();
            }
        }
    }
    return NULL;
}

static void
start_guest(struct fixture *f)
{
    assert_int_equal(pthread_create(&f->thread, NULL, guest_main, f), 0);
    f->is_started = true;
}

static void
send_guest_away(struct fixture *f)
{
    atomic_store(&f->away, true);
    hark__net_unwait(f->nets->there.net);
    wait_for_flag(&f->left, true);
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    if (f->is_started) {
        atomic_store(&f->ending, true);
        hark__net_unwait(f->nets->there.net);
        pthread_join(f->thread, NULL);
    }
    nets_close(f->nets);
    free(f);
    return 0;
}

// Sends frame number i and waits until it has come.
static void
send_and_see(struct fixture *f, uint64_t i)
{
    assert_true(place_send(f->pipe, i, 8));
    place_wait(&f->nets->there, &f->nets->there.frames, i + 1);
}

static bool
nobody_watches(const struct net *net)
{
    return !atomic_load(&net->watching) && atomic_load(&net->guest_waits);
}

// Sends frames, the next of which is *sent, until the net's own thread has left all to
// the guest that waits, and sleeps. It may serve beside it until something comes.
static void
send_until_nobody_watches(struct fixture *f, uint64_t *sent)
{
    const struct net *net = f->nets->there.net;
    int64_t deadline = now_ns() + WAIT_NS;

    while (!nobody_watches(net)) {
        assert_true(now_ns() < deadline);
        send_and_see(f, (*sent)++);
        int64_t quiet = now_ns() + 200 * MS;
        while (!nobody_watches(net) && now_ns() < quiet) {
            sched_yield();
        }
    }
}

// ---- who polls ----

static void
guest_gets_the_frames_while_the_own_thread_stands_by(void **state)
{
    enum { IN_A_ROW = 100 };
    struct fixture *f = *state;
    struct place *there = &f->nets->there;
    int64_t deadline = now_ns() + WAIT_NS;
    uint64_t sent = 0;

    start_guest(f);
    // Where the machine is busy, the guest may be late, and the other steps in.
    while (place_get(there, &there->guest_run) < IN_A_ROW) {
        assert_true(now_ns() < deadline);
        send_and_see(f, sent++);
    }
    assert_int_equal(place_get(there, &there->disorder), 0);
}

static void
own_thread_takes_over_when_the_guest_stays_away(void **state)
{
    enum { FRAMES = 200 };
    struct fixture *f = *state;
    struct place *there = &f->nets->there;
    uint64_t sent = 0;

    start_guest(f);
    while (sent < FRAMES) {
        send_and_see(f, sent++);
    }
    send_guest_away(f);
    uint64_t by_guest = place_get(there, &there->guest_frames);
    while (sent < 2 * FRAMES) {
        send_and_see(f, sent++);
    }
    assert_int_equal(place_get(there, &there->guest_frames), by_guest);
    assert_int_equal(place_get(there, &there->disorder), 0);
}

static void
own_thread_that_sleeps_is_called_when_the_guest_leaves(void **state)
{
    struct fixture *f = *state;
    struct place *there = &f->nets->there;
    uint64_t sent = 0;

    start_guest(f);
    for (int round = 0; round < 20; round++) {
        send_until_nobody_watches(f, &sent);
        send_guest_away(f);
        uint64_t by_guest = place_get(there, &there->guest_frames);
        send_and_see(f, sent++);
        assert_int_equal(place_get(there, &there->guest_frames), by_guest);
        atomic_store(&f->away, false);
    }
}

static void
guest_that_waits_hears_of_frames_while_the_own_thread_sleeps(void **state)
{
    struct fixture *f = *state;
    uint64_t sent = 0;

    start_guest(f);
    for (int round = 0; round < 10; round++) {
        send_until_nobody_watches(f, &sent);
        send_and_see(f, sent++); // only the guest is there to wake up
    }
}

static void
nothing_is_lost_over_many_hand_overs(void **state)
{
    enum { FRAMES = 3000 };
    struct fixture *f = *state;
    struct place *there = &f->nets->there;

    start_guest(f);
    atomic_store(&f->flits, true);
    for (uint64_t i = 0; i < FRAMES; i++) {
        send_and_see(f, i); // one at a time: nothing else would wake anybody
        if (i % 50 == 0) {
            hark__net_unwait(there->net);
        }
        if (i % 250 == 249) {
            send_guest_away(f);
            atomic_store(&f->away, false);
        }
    }
    assert_int_equal(place_get(there, &there->disorder), 0);
}

static void
each_kick_is_followed_by_a_tick_whoever_polls(void **state)
{
    struct fixture *f = *state;
    struct place *there = &f->nets->there;

    start_guest(f);
    atomic_store(&f->flits, true);
    for (int i = 0; i < 500; i++) {
        uint64_t ticks = place_get(there, &there->ticks);

        hark__net_kick(there->net);
        place_wait(there, &there->ticks, ticks + 1);
    }
}

// ---- waiting ----

static void
unwait_ends_the_next_wait_too(void **state)
{
    struct fixture *f = *state;
    struct net *net = f->nets->there.net;

    int64_t began = now_ns();
    bool came = true; // something else, such as the connection; that ends a wait, too

    while (came) {
        hark__net_unwait(net);
        came = hark__net_wait(net, began + WAIT_NS);
        hark__net_poll(net, f);
    }
    assert_true(now_ns() < began + WAIT_NS);
}

static void
wait_ends_in_time_and_not_before(void **state)
{
    struct fixture *f = *state;
    struct net *net = f->nets->there.net;
    int64_t until = now_ns() + 20 * MS;

    while (hark__net_wait(net, until)) {
        hark__net_poll(net, f);
    }
    assert_true(now_ns() >= until);
}

// True: there was something, and it is polled.
static bool
wait_a_little(struct fixture *f)
{
    struct net *net = f->nets->there.net;
    bool came = hark__net_wait(net, now_ns() + MS);

    if (came) {
        hark__net_poll(net, f);
    }
    return came;
}

static void
guest_spins_only_while_that_is_worth_it(void **state)
{
    struct fixture *f = *state;
    struct net *net = f->nets->there.net;
    unsigned spins = 0;
    uint32_t pause;

    // Something may still come, of the connection: then that wait says nothing. The last
    // one was long: it sleeps.
    do {
        net->waited_ns = INT64_MAX;
        net->spin.misses = 0;
    } while (wait_a_little(f));
    assert_int_equal(net->spin.misses, 0);

    // They are short: it spins, in vain, and then pauses.
    while (net->spin.pause == 0) {
        net->waited_ns = 0;
        spins = wait_a_little(f) ? 0 : spins + 1;
        assert_true(spins < 10);
    }
    do {
        pause = net->spin.pause;
    } while (wait_a_little(f));
    assert_int_equal(net->spin.pause, pause - 1);

    // What a spin finds makes up for misses.
    net->spin.pause = 0;
    net->spin.misses = 1;
    net->waited_ns = 0;
    hark__net_unwait(net);
    (void)wait_a_little(f);
    assert_int_equal(net->spin.misses, 0);
}

static void
waiting_guest_and_own_thread_use_no_cpu(void **state)
{
    struct fixture *f = *state;
    _Atomic(uint32_t) nothing = 0;
    struct env *env = hark__env_real();
    uint64_t sent = 0;

    start_guest(f);
    while (sent < 100) {
        send_and_see(f, sent++);
    }
    send_until_nobody_watches(f, &sent);
    int64_t used = cpu_used_us();
    int64_t until = now_ns() + 400 * MS;
    while (now_ns() < until) { // to measure over a time
        env->ops->wait(env, &nothing, 0, until);
    }
    assert_true(cpu_used_us() - used < 40000); // who spins uses it all
}

// ---- polling ----

// A sink that keeps what it gets waiting, by who polls.
struct slow_sink {
    struct sink sink; // first
    struct net *net;
    pthread_t guest;
    _Atomic(uint32_t) frames, guest_frames, ticks, guest_ticks;
    _Atomic(bool) held, may_go; // the first frame
    uint32_t kicks_most;        // ticks that ask for another one
};

static void
slow_begin(struct sink *sink, void *where)
{
    (void)sink;
    (void)where;
}

static void
slow_gone(struct sink *sink, struct pipe *pipe, hark_err err, const char *why)
{
    (void)sink;
    (void)err;
    (void)why;
    hark__pipe_close(pipe);
}

static bool
is_guest(const struct slow_sink *slow)
{
    return pthread_equal(pthread_self(), slow->guest) != 0;
}

static void
slow_frame(struct sink *sink, struct pipe *pipe, struct arrival *arrival)
{
    struct slow_sink *slow = (struct slow_sink *)sink;

    (void)pipe;
    (void)arrival;
    if (is_guest(slow)) {
        if (atomic_fetch_add(&slow->guest_frames, 1) == 0) {
            int64_t deadline = now_ns() + WAIT_NS;

            // Until our own thread sleeps, or waits for us to be done.
            while (atomic_load(&slow->net->sleepers) == 0
                   && !atomic_load(&slow->net->own_polls) && now_ns() < deadline) {
                sched_yield();
            }
        }
    } else if (atomic_load(&slow->frames) == 0) {
        atomic_store(&slow->held, true);
        wait_for_flag(&slow->may_go, true);
    } else {
        sched_yield();
    }
    atomic_fetch_add(&slow->frames, 1);
}

static int64_t
slow_tick(struct sink *sink)
{
    struct slow_sink *slow = (struct slow_sink *)sink;

    if (is_guest(slow)) {
        atomic_fetch_add(&slow->guest_ticks, 1);
    }
    if (atomic_fetch_add(&slow->ticks, 1) < slow->kicks_most) {
        hark__net_kick(slow->net);
    }
    return INT64_MAX;
}

static void
slow_open(struct slow_sink *slow, struct hark_hub *hub)
{
    char bound[256], error[256];

    *slow = (struct slow_sink){
        .sink = {slow_begin, slow_frame, slow_gone, slow_tick},
        .guest = pthread_self(),
    };
    slow->net = hark__net_open(&(struct net_options){
        .env = hark__env_real(),
        .sink = &slow->sink,
        .frame_limit_bytes = NETS_LIMIT_BYTES,
        .hub = hub,
    });
    assert_non_null(slow->net);
    assert_int_equal(hark__net_listen(slow->net, "mem://slow", bound, sizeof bound,
                                      error, sizeof error),
                     HARK_OK);
}

static void
wait_for_frames(struct slow_sink *slow, uint32_t least)
{
    int64_t deadline = now_ns() + WAIT_NS;

    while (atomic_load(&slow->frames) < least) {
        assert_true(now_ns() < deadline);
        sched_yield();
    }
}

// One connection with many frames, polled by both. True: the guest had some, and left
// others.
static bool
leave_some(struct nets *nets)
{
    enum { FRAMES = NET_BATCH * 40 };
    struct slow_sink slow;
    struct pipe *pipe;
    char error[256];

    slow_open(&slow, nets->hub);
    assert_int_equal(hark__net_connect(nets->here.net, "mem://slow", NULL, &pipe, error,
                                       sizeof error),
                     HARK_OK);
    assert_true(place_send(pipe, 0, 8));
    wait_for_flag(&slow.held, true);
    for (uint64_t i = 1; i < FRAMES; i++) {
        assert_true(place_send(pipe, i, 8));
    }
    atomic_store(&slow.may_go, true);
    while (atomic_load(&slow.guest_frames) == 0 && atomic_load(&slow.frames) < FRAMES) {
        hark__net_poll(slow.net, &slow);
    }
    bool left = atomic_load(&slow.guest_frames) > 0;
    wait_for_frames(&slow, FRAMES);
    hark__net_close(slow.net, 0);
    return left;
}

static void
what_a_busy_guest_leaves_is_polled_by_the_own_thread(void **state)
{
    struct nets *nets = nets_open(OVER_MEM);
    int left = 0;

    (void)state;
    for (int round = 0; round < 200 && left < 5; round++) {
        left += leave_some(nets);
    }
    nets_close(nets);
    assert_true(left > 0);
}

static void
poll_returns_though_there_is_always_more_to_do(void **state)
{
    enum { KICKS = 20000 };
    struct hark_hub *hub = hark__hub_new();
    struct slow_sink slow;
    uint32_t most = 0;

    (void)state;
    slow_open(&slow, hub);
    slow.kicks_most = KICKS;
    hark__net_kick(slow.net);
    while (atomic_load(&slow.ticks) < KICKS) {
        uint32_t before = atomic_load(&slow.guest_ticks);

        hark__net_poll(slow.net, &slow);
        uint32_t ticks = atomic_load(&slow.guest_ticks) - before;
        most = ticks > most ? ticks : most;
    }
    hark__net_close(slow.net, 0);
    hark__hub_release(hub);
    assert_in_range(most, 0, 100);
}

// ---- the clock ----

// Its next tick is due in so long.
static void
set_clock(struct place *place, int64_t tick_ns)
{
    pthread_mutex_lock(&place->lock);
    place->tick_ns = tick_ns;
    pthread_mutex_unlock(&place->lock);
}

// A thread sleeps, and nobody will wake it but a tick that is due earlier than it knows:
// that of whoever polls on another thread.
static void
earlier_tick_wakes_who_sleeps_by_a_later_one(void **state)
{
    struct nets *nets = nets_open(OVER_MEM);
    struct place *there = &nets->there;

    (void)state;
    for (int round = 0; round < 20; round++) {
        uint64_t ticks = place_get(there, &there->ticks);
        int64_t deadline = now_ns() + WAIT_NS;

        set_clock(there, 60000 * MS);
        hark__net_kick(there->net);
        place_wait(there, &there->ticks, ticks + 1);
        while (atomic_load(&there->net->sleepers) == 0) {
            assert_true(now_ns() < deadline);
            sched_yield();
        }
        set_clock(there, 10 * MS);
        // A kick of which it does not hear, since we poll ourselves.
        atomic_store(&there->net->kicked, true);
        hark__net_poll(there->net, there);
        place_wait(there, &there->ticks, ticks + 4);
    }
    nets_close(nets);
}

static void
guest_that_waits_keeps_the_clock(void **state)
{
    struct fixture *f = *state;
    struct place *there = &f->nets->there;
    uint64_t sent = 0;

    start_guest(f);
    send_until_nobody_watches(f, &sent);
    set_clock(there, 20 * MS);
    hark__net_kick(there->net);
    uint32_t duty = atomic_load(&there->net->duty);
    uint64_t ticks = place_get(there, &there->ticks);
    place_wait(there, &there->ticks, ticks + 10);
    // Our own thread slept, but for the news that the clock goes faster now.
    assert_in_range(atomic_load(&there->net->duty) - duty, 0, 1);
}

static void
own_thread_keeps_the_clock_while_the_guest_is_away(void **state)
{
    struct fixture *f = *state;
    struct place *there = &f->nets->there;
    uint64_t sent = 0;

    start_guest(f);
    send_until_nobody_watches(f, &sent);
    set_clock(there, 20 * MS);
    hark__net_kick(there->net);
    send_guest_away(f);
    uint64_t ticks = place_get(there, &there->ticks);
    place_wait(there, &there->ticks, ticks + 5);
}

#define GUEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    static const char *const names[] = {"guests over mem", "guests over ipc",
                                        "guests over tcp"};
    const struct CMUnitTest tests[] = {
        GUEST(guest_gets_the_frames_while_the_own_thread_stands_by),
        GUEST(own_thread_takes_over_when_the_guest_stays_away),
        GUEST(own_thread_that_sleeps_is_called_when_the_guest_leaves),
        GUEST(guest_that_waits_hears_of_frames_while_the_own_thread_sleeps),
        GUEST(nothing_is_lost_over_many_hand_overs),
        GUEST(each_kick_is_followed_by_a_tick_whoever_polls),
        GUEST(guest_that_waits_keeps_the_clock),
        GUEST(own_thread_keeps_the_clock_while_the_guest_is_away),
        GUEST(unwait_ends_the_next_wait_too),
        GUEST(wait_ends_in_time_and_not_before),
        GUEST(guest_spins_only_while_that_is_worth_it),
        GUEST(waiting_guest_and_own_thread_use_no_cpu),
    };
    const struct CMUnitTest once[] = {
        cmocka_unit_test(what_a_busy_guest_leaves_is_polled_by_the_own_thread),
        cmocka_unit_test(poll_returns_though_there_is_always_more_to_do),
        cmocka_unit_test(earlier_tick_wakes_who_sleeps_by_a_later_one),
    };
    int failed = cmocka_run_group_tests_name("polls", once, NULL, NULL);

    for (carrier = OVER_MEM; carrier <= OVER_TCP; carrier++) {
        failed += cmocka_run_group_tests_name(names[carrier], tests, NULL, NULL);
    }
    return failed;
}
