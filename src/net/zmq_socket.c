// Sockets: their options, monitors, descriptors, and places in the side's table.

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/zmq_endpoint.h"
#include "net/zmq_side.h"

enum {
    FIRST_BUCKETS = 16,
    RETRY_MS = 100,
    HANDSHAKE_MS = 5000,  // for a connection to say that it speaks ZeroMQ
    RECEIVE_MOST = 1000,  // frames of a connection that wait for us; then it has to
    SOCKETS_MOST = 12288, // of a net; a connection that we open takes three
    CLOSE_LINGER_MS = 200,
};

// ---- options ----

static bool
set_int(void *zmq, int option, int value)
{
    return zmq_setsockopt(zmq, option, &value, sizeof value) == 0;
}

static bool
set_options(const struct net *net, void *zmq)
{
    const int64_t largest = (int64_t)net->frame_limit_bytes;

    // What we send is bounded by the room above; so no send is ever refused here.
    return set_int(zmq, ZMQ_SNDHWM, 0) && set_int(zmq, ZMQ_RCVHWM, RECEIVE_MOST)
           && set_int(zmq, ZMQ_LINGER, CLOSE_LINGER_MS)
           && set_int(zmq, ZMQ_RECONNECT_IVL, RETRY_MS)
           && set_int(zmq, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS) && set_int(zmq, ZMQ_IPV6, 1)
           && zmq_setsockopt(zmq, ZMQ_MAXMSGSIZE, &largest, sizeof largest) == 0;
}

static bool
open_monitor(struct zsocket *socket)
{
    char address[64];

    // A socket that was closed may keep its name a while longer. relaxed: any number
    // that nobody else gets.
    snprintf(
        address, sizeof address, "inproc://monitor-%" PRIu32,
        atomic_fetch_add_explicit(&socket->side->monitors, 1, memory_order_relaxed));
    if (zmq_socket_monitor(socket->zmq, address,
                           ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED
                               | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL
                               | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
        != 0) {
        return false;
    }
    socket->monitor = zmq_socket(socket->side->context, ZMQ_PAIR);
    // No limit: libzmq's own thread would wait for us to read.
    return socket->monitor != NULL && set_int(socket->monitor, ZMQ_RCVHWM, 0)
           && set_int(socket->monitor, ZMQ_LINGER, 0)
           && zmq_connect(socket->monitor, address) == 0;
}

// ---- descriptors ----

void
hark__zsocket_signal(struct zsocket *socket)
{
    // release: pairs with the acquire in next_signalled, net_zmq.c.
    atomic_store_explicit(&socket->signalled, true, memory_order_release);
    hark__net_wake(socket->side->net);
}

// The socket's descriptors, its monitor's too, speak of it by this.
static uint64_t
key_of(const struct zsocket *socket)
{
    return (uint64_t)socket->generation << 32 | (socket->index + NET_KEYS);
}

static bool
watch(struct zsocket *socket, void *zmq)
{
    int fd = -1;
    size_t size = sizeof fd;

    return zmq_getsockopt(zmq, ZMQ_FD, &fd, &size) == 0
           && hark__net_watch(socket->side->net, fd, key_of(socket));
}

static void
unwatch(struct zsocket *socket, void *zmq)
{
    int fd = -1;
    size_t size = sizeof fd;

    if (zmq_getsockopt(zmq, ZMQ_FD, &fd, &size) == 0) {
        hark__net_unwatch(socket->side->net, fd);
    }
}

// ---- sockets ----

void
hark__zsocket_free(struct zsocket *socket)
{
    for (uint32_t i = 0; i < socket->bucket_count; i++) {
        while (socket->buckets[i] != NULL) {
            struct zpipe *pipe = socket->buckets[i];

            socket->buckets[i] = pipe->next;
            hark__zpipe_free(pipe);
        }
    }
    if (socket->only != NULL) {
        hark__zpipe_free(socket->only);
    }
    if (socket->monitor != NULL) {
        (void)zmq_socket_monitor(socket->zmq, NULL, 0);
        unwatch(socket, socket->monitor);
        zmq_close(socket->monitor);
    }
    if (socket->zmq != NULL) {
        unwatch(socket, socket->zmq);
        zmq_close(socket->zmq);
    }
    pthread_mutex_destroy(&socket->lock);
    free((void *)socket->buckets);
    free(socket->endings);
    free(socket);
}

static struct zsocket *
socket_new(struct net *net, int type)
{
    struct zsocket *socket = calloc(1, sizeof *socket);

    if (socket == NULL) {
        return NULL;
    }
    socket->side = net->zmq;
    socket->is_listener = type == ZMQ_ROUTER;
    pthread_mutex_init(&socket->lock, NULL);
    socket->zmq = zmq_socket(net->zmq->context, type);
    bool ok = socket->zmq != NULL && set_options(net, socket->zmq);
    if (ok && socket->is_listener) {
        ok = set_int(socket->zmq, ZMQ_ROUTER_MANDATORY, 1);
        socket->buckets = calloc(FIRST_BUCKETS, sizeof(struct zpipe *));
        socket->bucket_count = socket->buckets != NULL ? FIRST_BUCKETS : 0;
        ok = ok && socket->buckets != NULL;
    }
    if (!ok || !open_monitor(socket)) {
        hark__zsocket_free(socket);
        return NULL;
    }
    return socket;
}

// ---- the side's table ----

// Gives the socket a place in the table. The side's lock is held. False: no memory.
static bool
take_place(struct zsocket *socket)
{
    struct zmq_side *side = socket->side;

    while (side->first_free < side->capacity
           && side->table[side->first_free].socket != NULL) {
        side->first_free++;
    }
    if (side->first_free == side->capacity) {
        uint32_t capacity = side->capacity == 0 ? 16 : side->capacity * 2;
        struct place *grown = realloc(side->table, capacity * sizeof(struct place));

        if (grown == NULL) {
            return false;
        }
        for (uint32_t i = side->capacity; i < capacity; i++) {
            grown[i] = (struct place){NULL, 0};
        }
        side->table = grown;
        side->capacity = capacity;
    }
    socket->index = side->first_free;
    socket->generation = ++side->table[socket->index].generation;
    side->table[socket->index].socket = socket;
    return true;
}

void
hark__zsocket_leave_place(struct zsocket *socket)
{
    struct zmq_side *side = socket->side;

    side->table[socket->index].socket = NULL;
    side->first_free =
        socket->index < side->first_free ? socket->index : side->first_free;
}

// From here on the poller sees it.
static hark_err
publish(struct zsocket *socket)
{
    struct zmq_side *side = socket->side;

    pthread_mutex_lock(&side->lock);
    bool ok = take_place(socket);
    if (ok && (!watch(socket, socket->zmq) || !watch(socket, socket->monitor))) {
        hark__zsocket_leave_place(socket);
        ok = false;
    }
    pthread_mutex_unlock(&side->lock);
    if (!ok) {
        return HARK_ENOMEM;
    }
    hark__zsocket_signal(socket); // what came before the descriptors were watched
    return HARK_OK;
}

// ---- opening ----

hark_err
hark__zsocket_listen(struct net *net, const char *endpoint, const char *binding,
                     char *out_bound, size_t out_bound_size, struct net_error *error)
{
    struct zsocket *socket = socket_new(net, ZMQ_ROUTER);

    if (socket == NULL) {
        return hark__endpoint_explain(error, endpoint, ENOMEM);
    }
    if (zmq_bind(socket->zmq, binding) != 0) {
        hark_err err = hark__endpoint_explain(error, endpoint, zmq_errno());
        hark__zsocket_free(socket);
        return err;
    }
    hark__endpoint_bound(socket->zmq, out_bound, out_bound_size);
    if (publish(socket) != HARK_OK) {
        hark__zsocket_free(socket);
        return hark__endpoint_explain(error, endpoint, ENOMEM);
    }
    return HARK_OK;
}

hark_err
hark__zsocket_connect(struct net *net, const char *endpoint, void *user,
                      struct pipe **out_pipe, struct net_error *error)
{
    struct zsocket *socket = socket_new(net, ZMQ_DEALER);

    if (socket == NULL) {
        return hark__endpoint_explain(error, endpoint, ENOMEM);
    }
    socket->only = hark__zpipe_new(socket, user, NULL, 0);
    if (socket->only == NULL || zmq_connect(socket->zmq, endpoint) != 0) {
        hark_err err = hark__endpoint_explain(
            error, endpoint, socket->only == NULL ? ENOMEM : zmq_errno());
        hark__zsocket_free(socket);
        return err;
    }
    *out_pipe = &socket->only->pipe; // before the poller can speak of it
    if (publish(socket) != HARK_OK) {
        hark__zsocket_free(socket);
        return hark__endpoint_explain(error, endpoint, ENOMEM);
    }
    return HARK_OK;
}

// ---- a net's side ----

struct zmq_side *
hark__zmq_open(struct net *net)
{
    struct zmq_side *side = calloc(1, sizeof *side);

    if (side == NULL) {
        return NULL;
    }
    side->net = net;
    side->context = zmq_ctx_new();
    if (side->context == NULL) {
        free(side);
        return NULL;
    }
    (void)zmq_ctx_set(side->context, ZMQ_MAX_SOCKETS, SOCKETS_MOST);
    pthread_mutex_init(&side->lock, NULL);
    return side;
}

void
hark__zmq_close(struct zmq_side *side, uint32_t linger_ms)
{
    const int linger = (int)linger_ms;

    for (uint32_t i = 0; i < side->capacity; i++) {
        struct zsocket *socket = side->table[i].socket;

        if (socket != NULL) {
            zmq_setsockopt(socket->zmq, ZMQ_LINGER, &linger, sizeof linger);
            hark__zsocket_free(socket);
        }
    }
    hark__anchors_drop(&side->anchors);
    while (zmq_ctx_term(side->context) != 0 && zmq_errno() == EINTR) {
    }
    pthread_mutex_destroy(&side->lock);
    free(side->table);
    free(side);
}
