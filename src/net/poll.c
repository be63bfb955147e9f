// Who waits for what comes, and who polls it: a guest, or the net's own thread.

#include "net/transport.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/env.h"

#define WATCH_NS (2 * NS_PER_MS)

enum {
    EVENTS_AT_ONCE = 16,
    LOOKS_AT_ONCE = 4,
    WATCH_QUIET = 1, // looks in a row without a guest's, then nobody watches
};

// ---- polling ----

static bool
poll_sides(struct net *net)
{
    bool more = false;

    pthread_mutex_lock(&net->lock);
    struct zmq_side *zmq = net->zmq;
    struct memory_side *memory = net->memory;
    pthread_mutex_unlock(&net->lock);
    if (zmq != NULL) {
        more = hark__zmq_poll(zmq);
    }
    if (memory != NULL) {
        more = hark__memory_poll(memory) || more;
    }
    return more;
}

// When ZeroMQ's side wants to look again at what it keeps; INT64_MAX: never.
static int64_t
rest_sides(struct net *net)
{
    pthread_mutex_lock(&net->lock);
    struct zmq_side *zmq = net->zmq;
    pthread_mutex_unlock(&net->lock);
    return zmq != NULL ? hark__zmq_rest(zmq) : INT64_MAX;
}

static void
write_event(int event)
{
    const uint64_t one = 1;
    ssize_t written;

    do {
        written = write(event, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
}

// Wakes our own thread while it stands by.
static void
call_to_duty(struct net *net)
{
    // release: pairs with stand_by.
    atomic_fetch_add_explicit(&net->duty, 1, memory_order_release);
    net->env->ops->wake(net->env, &net->duty);
}

// `polling` is held.
static void
tick(struct net *net)
{
    // relaxed: written under the lock that we hold.
    int64_t before_ns = atomic_load_explicit(&net->due_ns, memory_order_relaxed);
    int64_t due_ns = net->sink->tick(net->sink), rest_ns = rest_sides(net);

    due_ns = rest_ns < due_ns ? rest_ns : due_ns;
    // release: pairs with next_tick_ns. Who has read the old time, and sleeps by it or
    // is about to, is woken by what follows.
    atomic_store_explicit(&net->due_ns, due_ns, memory_order_release);
    if (due_ns < before_ns) {
        write_event(net->event);
        call_to_duty(net);
    }
}

static int64_t
next_tick_ns(const struct net *net)
{
    // acquire: pairs with tick.
    return atomic_load_explicit(&net->due_ns, memory_order_acquire);
}

// One look; `polling` is held. True: there is more.
static bool
look(struct net *net, void *where)
{
    bool more = false;

    net->sink->begin(net->sink, where);
    // seq_cst: cleared before we look, and set before anyone leaves it to us.
    if (atomic_exchange_explicit(&net->pending, false, memory_order_seq_cst)) {
        more = poll_sides(net);
    }
    // acq_rel: pairs with kick; what made the caller want a tick is seen by it.
    if (atomic_exchange_explicit(&net->kicked, false, memory_order_acq_rel)) {
        tick(net);
    }
    return more;
}

// There is more, and our caller goes, perhaps for long. Whoever sleeps is told, even if
// pending is set: it may have been by one who found us at it, and relies on us.
static void
leave(struct net *net)
{
    // seq_cst, both: see wait_in.
    atomic_store_explicit(&net->pending, true, memory_order_seq_cst);
    if (atomic_load_explicit(&net->sleepers, memory_order_seq_cst) > 0) {
        write_event(net->event);
    }
}

// Looks while there is something. What another thread is polling is left to it, unless
// the caller may wait.
static void
poll_all(struct net *net, void *where, bool may_wait)
{
    unsigned looks = 0;
    bool filled, more;

    do {
        // The fences: pending was set before we come for the lock, and who has the lock
        // looks at pending when it has let it go; a lock alone does not order that.
        atomic_thread_fence(memory_order_seq_cst);
        if (may_wait) {
            pthread_mutex_lock(&net->polling);
        } else if (pthread_mutex_trylock(&net->polling) != 0) {
            return;
        }
        filled = look(net, where);
        pthread_mutex_unlock(&net->polling);
        atomic_thread_fence(memory_order_seq_cst);
        // relaxed: after the fence.
        more = filled || atomic_load_explicit(&net->pending, memory_order_relaxed);
        // Not for ever: a worker has what came to run, too.
    } while (more && !filled && ++looks < LOOKS_AT_ONCE);
    if (more) {
        leave(net);
    }
}

void
hark__net_poll(struct net *net, void *where)
{
    // relaxed: counted for our thread's sake, which looks again.
    atomic_fetch_add_explicit(&net->guest_looks, 1, memory_order_relaxed);
    poll_all(net, where, false);
}

// ---- waiting ----

// The time left, for epoll_wait: -1 is no limit.
static int
left_ms(struct net *net, int64_t until_ns)
{
    if (until_ns == INT64_MAX) {
        return -1;
    }
    int64_t left_ns = until_ns - hark__env_now(net->env);
    int64_t ms = left_ns <= 0 ? 0 : (left_ns + NS_PER_MS - 1) / NS_PER_MS;

    return ms < INT_MAX ? (int)ms : INT_MAX;
}

// Sleeps until something has come, or until_ns. A signal is no reason to get up; even
// one without a handler ends epoll_wait, when it stops the process and lets it go on.
static int
sleep_in(struct net *net, int epoll, struct epoll_event *events, int64_t until_ns)
{
    int count;

    do {
        count = epoll_wait(epoll, events, EVENTS_AT_ONCE, left_ms(net, until_ns));
    } while (count < 0 && errno == EINTR);
    return count;
}

static void
take_event(struct net *net, uint64_t key)
{
    if (key == NET_KEY_UNWAIT) {
        return;
    }
    if (key >= NET_KEYS) {
        hark__zmq_signal(net->zmq, key);
    }
    // seq_cst: see poll_all.
    atomic_store_explicit(&net->pending, true, memory_order_seq_cst);
}

// Looks without sleeping, for SPIN_NS at most.
static int
spin(struct net *net, int epoll, struct epoll_event *events, int64_t until_ns)
{
    int64_t now = hark__env_now(net->env);
    int64_t end = until_ns - now < SPIN_NS ? until_ns : now + SPIN_NS;

    do {
        int count = epoll_wait(epoll, events, EVENTS_AT_ONCE, 0);

        if (count > 0) {
            return count;
        }
        sched_yield();
    } while (hark__env_now(net->env) < end);
    return 0;
}

// The same for a guest, and only while that is worth it.
static int
guest_spin(struct net *net, struct epoll_event *events, int64_t until_ns)
{
    // relaxed: a hint; here and wherever it is written.
    int64_t waited_ns = atomic_load_explicit(&net->waited_ns, memory_order_relaxed);

    if (!hark__spin_pays(&net->spin, waited_ns)) {
        return 0;
    }
    int count = spin(net, net->guest_epoll, events, until_ns);
    hark__spin_ended(&net->spin, count > 0);
    return count;
}

// True: there is something to poll.
static bool
wait_in(struct net *net, int epoll, int64_t until_ns)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = 0;

    // seq_cst, then the loads: who sets pending, or leaves it to others, looks at
    // sleepers after.
    atomic_fetch_add_explicit(&net->sleepers, 1, memory_order_seq_cst);
    if (!atomic_load_explicit(&net->pending, memory_order_seq_cst)
        || atomic_load_explicit(&net->own_polls, memory_order_seq_cst)) {
        count = epoll == net->guest_epoll ? guest_spin(net, events, until_ns) : 0;
        if (count <= 0) {
            count = sleep_in(net, epoll, events, until_ns);
        }
    }
    // relaxed: who still counts us writes an event in vain.
    atomic_fetch_sub_explicit(&net->sleepers, 1, memory_order_relaxed);
    for (int i = 0; i < count; i++) {
        take_event(net, events[i].data.u64);
    }
    return atomic_load_explicit(&net->pending, memory_order_seq_cst); // as above
}

void
hark__net_wake(struct net *net)
{
    // seq_cst: see wait_in. Who finds it set relies on whoever set it.
    if (!atomic_exchange_explicit(&net->pending, true, memory_order_seq_cst)
        && atomic_load_explicit(&net->sleepers, memory_order_seq_cst) > 0) {
        write_event(net->event);
    }
}

void
hark__net_kick(struct net *net)
{
    // release: pairs with look.
    atomic_store_explicit(&net->kicked, true, memory_order_release);
    hark__net_wake(net);
}

void
hark__net_calm(struct net *net)
{
    // relaxed: see guest_spin.
    atomic_store_explicit(&net->waited_ns, INT64_MAX, memory_order_relaxed);
    // relaxed: for the look that we are in.
    atomic_store_explicit(&net->kicked, true, memory_order_relaxed);
}

bool
hark__net_watch(struct net *net, int fd, uint64_t key)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = key};

    return epoll_ctl(net->own_epoll, EPOLL_CTL_ADD, fd, &event) == 0
           && epoll_ctl(net->guest_epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

void
hark__net_unwatch(struct net *net, int fd)
{
    (void)epoll_ctl(net->own_epoll, EPOLL_CTL_DEL, fd, NULL);
    (void)epoll_ctl(net->guest_epoll, EPOLL_CTL_DEL, fd, NULL);
}

// ---- guests ----

bool
hark__net_wait(struct net *net, int64_t until_ns)
{
    // relaxed: counted for our thread's sake, which looks again.
    atomic_fetch_add_explicit(&net->guest_looks, 1, memory_order_relaxed);
    // seq_cst, twice, and the load in hark__net_leave: we write guest_waits and then
    // look at watching; our own thread writes watching and then looks at guest_waits.
    atomic_store_explicit(&net->guest_waits, true, memory_order_seq_cst);
    int64_t began_ns = hark__env_now(net->env);
    int64_t due_ns = next_tick_ns(net);
    bool came = wait_in(net, net->guest_epoll, due_ns < until_ns ? due_ns : until_ns);
    if (came) {
        atomic_store_explicit(&net->waited_ns, hark__env_now(net->env) - began_ns,
                              memory_order_relaxed);
    } else if (due_ns <= until_ns && due_ns <= hark__env_now(net->env)) {
        // release: pairs with look. Our own thread may sleep: the tick is ours.
        atomic_store_explicit(&net->kicked, true, memory_order_release);
        came = true;
    }
    atomic_store_explicit(&net->guest_waits, false, memory_order_seq_cst); // as above
    return came;
}

void
hark__net_leave(struct net *net)
{
    // seq_cst, all: see hark__net_wait. While another guest waits, leaving is up to it.
    if (!atomic_load_explicit(&net->watching, memory_order_seq_cst)
        && !atomic_load_explicit(&net->guest_waits, memory_order_seq_cst)) {
        atomic_store_explicit(&net->watching, true, memory_order_seq_cst);
        call_to_duty(net);
    }
}

void
hark__net_unwait(struct net *net)
{
    write_event(net->unwait);
}

// ---- the net's own thread ----

// Has the sink for ourselves. A guest does not come back for what is pending meanwhile;
// choose_duty tells it what we have left. seq_cst, both: see wait_in.
static void
own_begin(struct net *net)
{
    atomic_store_explicit(&net->own_polls, true, memory_order_seq_cst);
}

static void
own_end(struct net *net)
{
    atomic_store_explicit(&net->own_polls, false, memory_order_seq_cst);
}

static void
own_poll(struct net *net)
{
    own_begin(net);
    // It waits for a guest that is at it: to come back at once for what is pending
    // would be to spin.
    poll_all(net, NULL, true);
    own_end(net);
}

// What has come, and nobody has looked at, is no silence: it goes before the tick.
static void
own_tick(struct net *net)
{
    (void)wait_in(net, net->own_epoll, 0);
    own_poll(net);
    own_begin(net);
    pthread_mutex_lock(&net->polling);
    net->sink->begin(net->sink, NULL);
    tick(net);
    pthread_mutex_unlock(&net->polling);
    own_end(net);
}

// It serves (waits for events, and polls) while nobody else does. When a guest polls it
// stands by: it looks every WATCH_NS whether guests still come, and when all has been
// quiet, and a guest waits, it sleeps until one leaves.
//
//            a guest polls                      quiet, and a guest waits
//   SERVE ------------------> STAND_BY, watching ------------> STAND_BY, asleep
//     ^---- no guest looks ------/        ^------ a guest leaves ------/
struct own_thread {
    struct net *net;
    bool stands_by;
    uint32_t looks; // guest_looks as last seen
    uint32_t quiet; // looks in a row without a guest's
};

static void
stand_by(struct own_thread *own)
{
    struct net *net = own->net;
    // acquire: pairs with call_to_duty, before we look at what it may be about.
    uint32_t seen = atomic_load_explicit(&net->duty, memory_order_acquire);
    int64_t until_ns = INT64_MAX; // the guest that waits keeps the clock as well

    // seq_cst: see hark__net_wait.
    if (atomic_load_explicit(&net->watching, memory_order_seq_cst)) {
        int64_t look_ns = hark__env_now(net->env) + WATCH_NS;
        int64_t due_ns = next_tick_ns(net);

        until_ns = look_ns < due_ns ? look_ns : due_ns;
    }
    // acquire: pairs with close.
    if (!atomic_load_explicit(&net->stopping, memory_order_acquire)) {
        net->env->ops->wait(net->env, &net->duty, seen, until_ns);
    }
}

static void
tick_if_due(struct own_thread *own)
{
    if (hark__env_now(own->net->env) >= next_tick_ns(own->net)) {
        own_tick(own->net);
    }
}

static void
choose_duty(struct own_thread *own)
{
    struct net *net = own->net;
    // relaxed: a count that is looked at again.
    uint32_t looks = atomic_load_explicit(&net->guest_looks, memory_order_relaxed);
    // seq_cst, here and below: see hark__net_wait.
    bool waits = atomic_load_explicit(&net->guest_waits, memory_order_seq_cst);
    bool helped = looks != own->looks;

    own->looks = looks;
    own->quiet = helped ? 0 : own->quiet + 1;
    own->stands_by = helped || waits;
    if (!own->stands_by) {
        own_poll(net);
    } else if (waits && atomic_load_explicit(&net->pending, memory_order_seq_cst)) {
        write_event(net->event); // what we have found, and leave to the guest
    } else if (own->quiet > WATCH_QUIET) {
        atomic_store_explicit(&net->watching, false, memory_order_seq_cst);
        if (!atomic_load_explicit(&net->guest_waits, memory_order_seq_cst)) {
            atomic_store_explicit(&net->watching, true, memory_order_seq_cst);
        }
    }
}

static void
own_main(void *arg)
{
    struct net *net = arg;
    struct own_thread own = {.net = net};

    // acquire: pairs with close.
    while (!atomic_load_explicit(&net->stopping, memory_order_acquire)) {
        if (own.stands_by) {
            stand_by(&own);
        } else {
            (void)wait_in(net, net->own_epoll, next_tick_ns(net));
        }
        tick_if_due(&own);
        choose_duty(&own);
    }
}

// ---- starting and halting ----

void
hark__net_close_descriptors(struct net *net)
{
    int *const all[] = {&net->own_epoll, &net->guest_epoll, &net->event, &net->unwait};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (*all[i] >= 0) {
            close(*all[i]);
        }
        *all[i] = -1;
    }
}

static bool
open_descriptors(struct net *net)
{
    struct epoll_event unwait = {.events = EPOLLIN | EPOLLET,
                                 .data.u64 = NET_KEY_UNWAIT};

    net->own_epoll = epoll_create1(EPOLL_CLOEXEC);
    net->guest_epoll = epoll_create1(EPOLL_CLOEXEC);
    net->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    net->unwait = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return net->own_epoll >= 0 && net->guest_epoll >= 0 && net->event >= 0
           && net->unwait >= 0 && hark__net_watch(net, net->event, NET_KEY_EVENT)
           && epoll_ctl(net->guest_epoll, EPOLL_CTL_ADD, net->unwait, &unwait) == 0;
}

hark_err
hark__net_start(struct net *net)
{
    if (open_descriptors(net)) {
        net->thread = net->env->ops->thread_start(net->env, "hark-net", own_main, net);
    }
    if (net->thread == NULL) {
        hark__net_close_descriptors(net);
        return HARK_ENOMEM;
    }
    return HARK_OK;
}

void
hark__net_halt(struct net *net)
{
    if (net->thread != NULL) {
        // release: pairs with own_main.
        atomic_store_explicit(&net->stopping, true, memory_order_release);
        hark__net_wake(net);
        call_to_duty(net);
        net->env->ops->thread_join(net->env, net->thread);
    }
}
