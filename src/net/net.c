#include "net/net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "net/transport.h"

#define NS_PER_MS INT64_C(1000000)

enum { ENDPOINT_LIMIT = 255, EVENTS_AT_ONCE = 16 };

// ---- endpoints ----

static const struct transport *const transports[] = {
    &hark__transport_tcp,
    &hark__transport_ipc,
    &hark__transport_memory,
};

static const struct transport *
find_transport(const char *endpoint)
{
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++) {
        size_t size = strlen(transports[i]->scheme);

        if (strncmp(endpoint, transports[i]->scheme, size) == 0
            && strncmp(endpoint + size, "://", 3) == 0) {
            return transports[i];
        }
    }
    return NULL;
}

static hark_err
choose(const char *endpoint, const struct transport **out_transport,
       struct net_error *error)
{
    if (endpoint == NULL || strnlen(endpoint, ENDPOINT_LIMIT + 1) > ENDPOINT_LIMIT) {
        snprintf(error->text, error->size, "endpoint %.40s%s: over %d bytes",
                 endpoint != NULL ? endpoint : "(null)", endpoint != NULL ? "..." : "",
                 ENDPOINT_LIMIT);
        return HARK_EENDPOINT;
    }
    *out_transport = find_transport(endpoint);
    if (*out_transport == NULL) {
        snprintf(error->text, error->size,
                 "endpoint \"%s\": expected tcp://host:port, ipc://path or mem://name",
                 endpoint);
        return HARK_EENDPOINT;
    }
    return HARK_OK;
}

// ---- the poller ----

static void
drain_event(struct net *net)
{
    uint64_t count;

    while (read(net->event, &count, sizeof count) < 0 && errno == EINTR) {
    }
    // Only now: cleared before the read, a wake between the two would leave woken set
    // and nothing to read, and every later wake would rely on it. acq_rel: pairs with
    // wake; who found it set has announced before, and we look after.
    (void)atomic_exchange_explicit(&net->woken, false, memory_order_acq_rel);
}

// Milliseconds until the next tick; -1: nobody needs one.
static int
pause_ms(struct net *net, int64_t next_tick_ns, bool more)
{
    // relaxed: who opens a pipe kicks.
    if (more) {
        return 0;
    }
    if (atomic_load_explicit(&net->pipes, memory_order_relaxed) == 0) {
        return -1;
    }
    int64_t left_ns = next_tick_ns - hark__env_now(net->env);
    return left_ns <= 0 ? 0 : (int)((left_ns + NS_PER_MS - 1) / NS_PER_MS);
}

static void
wait_for_work(struct net *net, int timeout_ms)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(net->epoll, events, EVENTS_AT_ONCE, timeout_ms);

    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == net->event) {
            drain_event(net);
        }
    }
}

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

static void
poller_main(void *arg)
{
    struct net *net = arg;
    int64_t next_tick_ns = hark__env_now(net->env) + net->tick_ms * NS_PER_MS;
    bool more = false;

    // acquire: pairs with close.
    while (!atomic_load_explicit(&net->stopping, memory_order_acquire)) {
        wait_for_work(net, pause_ms(net, next_tick_ns, more));
        more = poll_sides(net);
        int64_t now_ns = hark__env_now(net->env);
        // acq_rel: pairs with kick; what made the caller want a tick is seen by it.
        bool kicked =
            atomic_exchange_explicit(&net->kicked, false, memory_order_acq_rel);
        if (kicked || now_ns >= next_tick_ns) {
            next_tick_ns = now_ns + net->tick_ms * NS_PER_MS;
            net->sink->tick(net->sink);
        }
    }
}

void
hark__net_wake(struct net *net)
{
    const uint64_t one = 1;

    // acq_rel: pairs with drain_event. Who finds it set relies on whoever set it: the
    // poller has not cleared it yet, and will look after it has.
    if (!atomic_exchange_explicit(&net->woken, true, memory_order_acq_rel)) {
        ssize_t written;

        do {
            written = write(net->event, &one, sizeof one);
        } while (written < 0 && errno == EINTR);
    }
}

void
hark__net_kick(struct net *net)
{
    // release: pairs with poller_main.
    atomic_store_explicit(&net->kicked, true, memory_order_release);
    hark__net_wake(net);
}

void
hark__net_count(struct net *net, int more)
{
    // relaxed: only says whether ticks are wanted.
    atomic_fetch_add_explicit(&net->pipes, (uint32_t)more, memory_order_relaxed);
    if (more > 0) {
        hark__net_wake(net); // it may sleep without a clock
    }
}

// ---- opening and closing ----

struct net *
hark__net_open(const struct net_options *options)
{
    struct net *net = calloc(1, sizeof *net);

    if (net == NULL) {
        return NULL;
    }
    net->env = options->env;
    net->sink = options->sink;
    net->tick_ms = options->tick_ms;
    net->frame_limit_bytes = options->frame_limit_bytes;
    net->hub = options->hub != NULL ? hark__hub_retain(options->hub) : NULL;
    net->epoll = net->event = -1;
    pthread_mutex_init(&net->lock, NULL);
    return net;
}

static hark_err
start_poller(struct net *net)
{
    struct epoll_event event = {.events = EPOLLIN};

    net->epoll = epoll_create1(EPOLL_CLOEXEC);
    event.data.fd = net->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (net->epoll >= 0 && net->event >= 0
        && epoll_ctl(net->epoll, EPOLL_CTL_ADD, net->event, &event) == 0) {
        net->thread =
            net->env->ops->thread_start(net->env, "hark-net", poller_main, net);
    }
    if (net->thread != NULL) {
        return HARK_OK;
    }
    if (net->epoll >= 0) {
        close(net->epoll);
    }
    if (net->event >= 0) {
        close(net->event);
    }
    net->epoll = net->event = -1;
    return HARK_ENOMEM;
}

// The thread and the transport's side, with the first use.
static hark_err
prepare(struct net *net, const struct transport *transport, struct net_error *error)
{
    bool is_memory = transport == &hark__transport_memory;
    hark_err err = HARK_OK;

    if (is_memory && net->hub == NULL) {
        snprintf(error->text, error->size,
                 "mem:// endpoints need a hub in the options");
        return HARK_EENDPOINT;
    }
    pthread_mutex_lock(&net->lock);
    if (net->thread == NULL) {
        err = start_poller(net);
    }
    if (err == HARK_OK && is_memory && net->memory == NULL) {
        net->memory = hark__memory_open(net);
        err = net->memory != NULL ? HARK_OK : HARK_ENOMEM;
    } else if (err == HARK_OK && !is_memory && net->zmq == NULL) {
        net->zmq = hark__zmq_open(net);
        err = net->zmq != NULL ? HARK_OK : HARK_ENOMEM;
    }
    pthread_mutex_unlock(&net->lock);
    if (err != HARK_OK) {
        snprintf(error->text, error->size, "no memory or threads for links");
    }
    return err;
}

hark_err
hark__net_listen(struct net *net, const char *endpoint, char *out_bound,
                 size_t out_bound_size, char *error, size_t error_size)
{
    struct net_error to = {error, error_size};
    const struct transport *transport;
    hark_err err = choose(endpoint, &transport, &to);

    if (err == HARK_OK) {
        err = prepare(net, transport, &to);
    }
    return err == HARK_OK
               ? transport->listen(net, endpoint, out_bound, out_bound_size, &to)
               : err;
}

hark_err
hark__net_connect(struct net *net, const char *endpoint, void *user,
                  struct pipe **out_pipe, char *error, size_t error_size)
{
    struct net_error to = {error, error_size};
    const struct transport *transport;
    hark_err err = choose(endpoint, &transport, &to);

    if (err == HARK_OK) {
        err = prepare(net, transport, &to);
    }
    return err == HARK_OK ? transport->connect(net, endpoint, user, out_pipe, &to)
                          : err;
}

void
hark__net_close(struct net *net, uint32_t linger_ms)
{
    if (net->thread != NULL) {
        // release: pairs with poller_main.
        atomic_store_explicit(&net->stopping, true, memory_order_release);
        hark__net_kick(net);
        net->env->ops->thread_join(net->env, net->thread);
    }
    if (net->zmq != NULL) {
        hark__zmq_close(net->zmq, linger_ms);
    }
    if (net->memory != NULL) {
        hark__memory_close(net->memory);
    }
    if (net->epoll >= 0) {
        close(net->epoll);
        close(net->event);
    }
    if (net->hub != NULL) {
        hark__hub_release(net->hub);
    }
    pthread_mutex_destroy(&net->lock);
    free(net);
}

// ---- pipes ----

hark_err
hark__pipe_send(struct pipe *pipe, const uint8_t *data, size_t size)
{
    return pipe->transport->send(pipe, data, size);
}

void
hark__pipe_close(struct pipe *pipe)
{
    pipe->transport->close(pipe);
}

void
hark__pipe_set_user(struct pipe *pipe, void *user)
{
    pipe->user = user;
}

void *
hark__pipe_user(const struct pipe *pipe)
{
    return pipe->user;
}
