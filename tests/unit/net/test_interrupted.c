// A signal that ends libzmq's calls early: nothing is overlooked for it.

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>

#include <zmq.h>

#include "nets.h"

enum { RARE_TICK_MS = 60000, STOPPER = 0, SENT = 1 };

// The next look at ZMQ_EVENTS that would find something to receive is interrupted.
static _Atomic(bool) is_armed, has_struck;

int __real_zmq_getsockopt(void *zmq, int option, void *value, size_t *size);
int __wrap_zmq_getsockopt(void *zmq, int option, void *value, size_t *size);

int
__wrap_zmq_getsockopt(void *zmq, int option, void *value, size_t *size)
{
    int code = __real_zmq_getsockopt(zmq, option, value, size);
    int events = 0;

    if (option == ZMQ_EVENTS && code == 0) {
        memcpy(&events, value, sizeof events);
    }
    if ((events & ZMQ_POLLIN) != 0 && atomic_exchange(&is_armed, false)) {
        atomic_store(&has_struck, true);
        memset(value, 0, sizeof events);
        errno = EINTR;
        return -1;
    }
    return code;
}

// A sink that stays in the frame numbered STOPPER until it may go.
struct stopper {
    struct sink sink; // first
    struct net *net;
    _Atomic(bool) is_in, may_go;
    _Atomic(int) others;
};

static void
on_begin(struct sink *sink, void *where)
{
    (void)sink;
    (void)where;
}

static void
on_frame(struct sink *sink, struct pipe *pipe, struct arrival *arrival)
{
    struct stopper *stopper = (struct stopper *)sink;
    uint64_t number = UINT64_MAX;

    (void)pipe;
    memcpy(&number, arrival->data, sizeof number);
    if (number != STOPPER) {
        atomic_fetch_add(&stopper->others, 1);
        return;
    }
    atomic_store(&stopper->is_in, true);
    while (!atomic_load(&stopper->may_go)) {
        sched_yield();
    }
}

static void
on_gone(struct sink *sink, struct pipe *pipe, hark_err err, const char *why)
{
    (void)sink;
    (void)err;
    (void)why;
    hark__pipe_close(pipe);
}

static int64_t
on_tick(struct sink *sink)
{
    (void)sink;
    return hark__env_now(hark__env_real()) + RARE_TICK_MS * NS_PER_MS;
}

static void
wait_until(const _Atomic(bool) *flag)
{
    int64_t deadline = hark__env_now(hark__env_real()) + NETS_WAIT_S * 1000 * NS_PER_MS;

    while (!atomic_load(flag)) {
        assert_true(hark__env_now(hark__env_real()) < deadline);
        sched_yield();
    }
}

static struct pipe *
connect_to(struct net *net, const char *endpoint)
{
    struct pipe *pipe = NULL;
    char error[256] = "";

    if (hark__net_connect(net, endpoint, NULL, &pipe, error, sizeof error) != HARK_OK) {
        fail_msg("%s", error);
    }
    return pipe;
}

// While the poller is busy elsewhere, a send finds what has come for it, and so the
// descriptor says nothing more; and its own look is interrupted.
static void
what_an_interrupted_send_has_found_is_polled(void **state)
{
    struct stopper here = {.sink = {on_begin, on_frame, on_gone, on_tick}};
    struct place there;
    char endpoint[256], error[256];

    (void)state;
    memset(&there, 0, sizeof there);
    place_open(&there, NULL, RARE_TICK_MS);
    place_set(&there, &there.echoes);
    assert_int_equal(hark__net_listen(there.net, "tcp://127.0.0.1:0", endpoint,
                                      sizeof endpoint, error, sizeof error),
                     HARK_OK);
    here.net = hark__net_open(
        &(struct net_options){hark__env_real(), &here.sink, NETS_LIMIT_BYTES, NULL});
    assert_non_null(here.net);
    struct pipe *stopping = connect_to(here.net, endpoint);
    struct pipe *pipe = connect_to(here.net, endpoint);
    assert_true(place_send(stopping, STOPPER, 8));
    wait_until(&here.is_in);
    atomic_store(&is_armed, true);
    assert_true(place_send(pipe, SENT, 8));
    place_wait(&there, &there.frames, 2); // and is echoed, as the last one
    place_clear(&there, &there.echoes);
    for (uint64_t sent = 2; !atomic_load(&has_struck); sent++) {
        assert_true(place_send(pipe, SENT, 8));
        place_wait(&there, &there.frames, 1 + sent);
    }
    atomic_store(&here.may_go, true);
    int64_t deadline = hark__env_now(hark__env_real()) + NETS_WAIT_S * 1000 * NS_PER_MS;
    while (atomic_load(&here.others) == 0) {
        assert_true(hark__env_now(hark__env_real()) < deadline);
        sched_yield();
    }
    hark__net_close(here.net, 0);
    place_fini(&there);
}

// ---- waiting ----

static void
on_signal(int signal)
{
    (void)signal;
}

// A guest's waits for 100 ms, which end early only by what comes.
struct wait {
    struct net *net;
    _Atomic(bool) is_over;
    int64_t ended_ns, until_ns;
};

static void *
wait_main(void *arg)
{
    struct wait *wait = arg;

    wait->until_ns = hark__env_now(hark__env_real()) + 100 * NS_PER_MS;
    while (hark__net_wait(wait->net, wait->until_ns)) {
        hark__net_poll(wait->net, wait); // news of the listener
    }
    wait->ended_ns = hark__env_now(hark__env_real());
    atomic_store(&wait->is_over, true);
    return NULL;
}

static void
wait_that_signals_interrupt_ends_in_time_and_not_before(void **state)
{
    struct sigaction old, action = {.sa_handler = on_signal};
    struct wait wait = {.is_over = false};
    struct stopper here = {.sink = {on_begin, on_frame, on_gone, on_tick}};
    char endpoint[256], error[256];
    pthread_t thread;

    (void)state;
    here.net = hark__net_open(
        &(struct net_options){hark__env_real(), &here.sink, NETS_LIMIT_BYTES, NULL});
    assert_non_null(here.net);
    assert_int_equal(hark__net_listen(here.net, "tcp://127.0.0.1:0", endpoint,
                                      sizeof endpoint, error, sizeof error),
                     HARK_OK);
    assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
    wait.net = here.net;
    assert_int_equal(pthread_create(&thread, NULL, wait_main, &wait), 0);
    while (!atomic_load(&wait.is_over)) {
        pthread_kill(thread, SIGUSR1);
        sched_yield();
    }
    pthread_join(thread, NULL);
    assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
    assert_true(wait.ended_ns >= wait.until_ns);
    hark__net_close(here.net, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_an_interrupted_send_has_found_is_polled),
        cmocka_unit_test(wait_that_signals_interrupt_ends_in_time_and_not_before),
    };

    return cmocka_run_group_tests_name("net/interrupted", tests, NULL, NULL);
}
