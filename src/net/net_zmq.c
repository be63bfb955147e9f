// The ZeroMQ transport: a ROUTER for each listener, a DEALER for each connection made.
//
// A socket is used by one thread at a time, under its lock, which is also the full
// fence that libzmq asks for between threads: senders send on their own thread, the
// poller receives. The poller learns of traffic through the socket's ZMQ_FD. That
// descriptor says "look at ZMQ_EVENTS", and any call on the socket may consume what it
// says; so a sender that leaves the socket with something to receive marks it and wakes
// the poller. Whoever holds the lock last has looked at ZMQ_EVENTS last, so nothing is
// overlooked.
//
// A connection is one pipe. libzmq would connect again by itself when one breaks, and
// nobody would know what was lost; so each socket is monitored, and a disconnection
// ends the pipe. A ROUTER's connections are told apart by their descriptor, which
// libzmq gives with each message (ZMQ_SRCFD) and with each event (those of failed
// handshakes carry an error number there, and belong to no pipe).
//
// Messages and events come by two ways. So the end of a connection is noted, and told
// when the messages that may stand before it have been read; and one whose pipe is not
// known yet waits for its first message, until the descriptor has a new owner.
//
// A ROUTER cannot end a connection. So a pipe that was closed is remembered until its
// connection ends, and what still comes from there is thrown away: else each frame of a
// stranger who does not listen would be answered, and the answers would heap up here.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/handed.h"
#include "net/zmq_endpoint.h"
#include "net/zmq_side.h"

enum {
    HOLD_MOST = 64, // polls that an ending waits for a socket that never empties
};

// ---- opening ----

static hark_err
tcp_listen(struct net *net, const char *endpoint, char *out_bound,
           size_t out_bound_size, struct net_error *error)
{
    const char *port = hark__endpoint_port(endpoint, true, error);
    char binding[512];

    if (port == NULL) {
        return HARK_EENDPOINT;
    }
    hark__endpoint_binding(endpoint, port, binding, sizeof binding);
    return hark__zsocket_listen(net, endpoint, binding, out_bound, out_bound_size,
                                error);
}

static hark_err
ipc_listen(struct net *net, const char *endpoint, char *out_bound,
           size_t out_bound_size, struct net_error *error)
{
    hark_err err = hark__endpoint_check_ipc(endpoint, error);

    if (err != HARK_OK) {
        return err;
    }
    err = hark__endpoint_check_free(endpoint, error);
    return err != HARK_OK ? err
                          : hark__zsocket_listen(net, endpoint, endpoint, out_bound,
                                                 out_bound_size, error);
}

static hark_err
tcp_connect(struct net *net, const char *endpoint, void *user, struct pipe **out_pipe,
            struct net_error *error)
{
    return hark__endpoint_port(endpoint, false, error) == NULL
               ? HARK_EENDPOINT
               : hark__zsocket_connect(net, endpoint, user, out_pipe, error);
}

static hark_err
ipc_connect(struct net *net, const char *endpoint, void *user, struct pipe **out_pipe,
            struct net_error *error)
{
    hark_err err = hark__endpoint_check_ipc(endpoint, error);

    return err != HARK_OK ? err
                          : hark__zsocket_connect(net, endpoint, user, out_pipe, error);
}

// ---- sending ----

// The lock is held. A signal may end the look when the send before it has consumed
// what the descriptor said: then nobody else would hear of it.
static bool
has_input(void *zmq)
{
    int events = 0;
    size_t size = sizeof events;
    int code;

    do {
        code = zmq_getsockopt(zmq, ZMQ_EVENTS, &events, &size);
    } while (code != 0 && zmq_errno() == EINTR);
    return code == 0 && (events & ZMQ_POLLIN) != 0;
}

// 0, or an error number.
static int
send_part(void *zmq, zmq_msg_t *part, int flags)
{
    int size;

    do {
        size = zmq_msg_send(part, zmq, flags | ZMQ_DONTWAIT);
    } while (size < 0 && zmq_errno() == EINTR);
    return size < 0 ? zmq_errno() : 0;
}

static int
make_part(zmq_msg_t *part, const void *data, size_t size)
{
    if (zmq_msg_init_size(part, size) != 0) {
        return ENOMEM;
    }
    memcpy(zmq_msg_data(part), data, size);
    return 0;
}

// The lock is held. Takes the messages, which go together. The first part, an id's if
// there is one, is the only one that may be refused: who has taken it takes the rest
// too.
static int
send_parts(struct zpipe *pipe, zmq_msg_t *messages, uint32_t count)
{
    void *zmq = pipe->socket->zmq;
    zmq_msg_t id;
    int code = 0;

    if (pipe->id_size > 0) {
        code = make_part(&id, pipe->id, pipe->id_size);
        if (code == 0 && (code = send_part(zmq, &id, ZMQ_SNDMORE)) != 0) {
            zmq_msg_close(&id);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        if (code == 0) {
            code = send_part(zmq, &messages[i], i + 1 < count ? ZMQ_SNDMORE : 0);
        }
        zmq_msg_close(&messages[i]); // an empty one, if it was sent
    }
    return code;
}

// Takes the messages of one frame, which were made before the lock: then nothing fails
// half-way, and senders do not wait for each other's copies.
static hark_err
send_messages(struct zpipe *pipe, zmq_msg_t *messages, uint32_t count)
{
    struct zsocket *socket = pipe->socket;

    pthread_mutex_lock(&socket->lock);
    int code = send_parts(pipe, messages, count);
    bool wake = has_input(socket->zmq);
    pthread_mutex_unlock(&socket->lock);
    if (wake) {
        hark__zsocket_signal(socket);
    }
    return code == 0              ? HARK_OK
           : code == EHOSTUNREACH ? HARK_ENONODE
           : code == ENOMEM       ? HARK_ENOMEM
                                  : HARK_ELIMIT;
}

static hark_err
zmq_send_frame(struct pipe *pipe, const uint8_t *data, size_t size)
{
    zmq_msg_t body;

    return make_part(&body, data, size) == 0
               ? send_messages((struct zpipe *)pipe, &body, 1)
               : HARK_ENOMEM;
}

// libzmq is done with a frame; on a thread of its own.
static void
free_given(void *data, void *hint)
{
    (void)hint;
    hark__handed_back(data);
    free(data);
}

static hark_err
zmq_give_frame(struct pipe *pipe, uint8_t *data, size_t size)
{
    zmq_msg_t body;

    hark__handed_over(data);
    if (zmq_msg_init_data(&body, data, size, free_given, NULL) != 0) {
        free(data);
        return HARK_ENOMEM;
    }
    return send_messages((struct zpipe *)pipe, &body, 1);
}

// A message over a part's bytes. Takes the part in every outcome.
static bool
lend_part(zmq_msg_t *message, const struct net_part *part)
{
    void *data = (void *)(uintptr_t)part->data; // libzmq reads it only

    hark__handed_over(data);
    if (zmq_msg_init_data(message, data, part->size, part->release, part->handle)
        == 0) {
        return true;
    }
    part->release(data, part->handle);
    return false;
}

static hark_err
zmq_send_parts(struct pipe *pipe, const uint8_t *data, size_t size,
               const struct net_part *parts, uint32_t count)
{
    zmq_msg_t messages[1 + NET_PARTS];
    uint32_t made = 0;
    bool ok = make_part(&messages[0], data, size) == 0;

    made += ok;
    for (uint32_t i = 0; i < count; i++) {
        if (!ok) {
            parts[i].release((void *)(uintptr_t)parts[i].data, parts[i].handle);
        } else if ((ok = lend_part(&messages[made], &parts[i]))) {
            made++;
        }
    }
    if (ok) {
        return send_messages((struct zpipe *)pipe, messages, made);
    }
    while (made > 0) {
        zmq_msg_close(&messages[--made]);
    }
    return HARK_ENOMEM;
}

// ---- receiving ----

bool
hark__zmq_receive_part(void *zmq, zmq_msg_t *part)
{
    zmq_msg_init(part);
    int size;

    do {
        size = zmq_msg_recv(part, zmq, ZMQ_DONTWAIT);
    } while (size < 0 && zmq_errno() == EINTR);
    if (size < 0) {
        zmq_msg_close(part);
    }
    return size >= 0;
}

void
hark__zmq_skip_parts(void *zmq)
{
    zmq_msg_t part;
    bool more = true;

    while (more && hark__zmq_receive_part(zmq, &part)) {
        more = zmq_msg_more(&part);
        zmq_msg_close(&part);
    }
}

static void
read_id(zmq_msg_t *part, struct received *received)
{
    received->id_size = zmq_msg_size(part) < ID_LIMIT ? zmq_msg_size(part) : ID_LIMIT;
    memcpy(received->id, zmq_msg_data(part), received->id_size);
    // libzmq's own are 5 bytes; a longer one is no ZeroMQ, and not to be answered.
    received->is_whole = zmq_msg_size(part) <= ID_LIMIT;
}

// Takes the parts that come with a body. More than a frame may have, in number or
// bytes, are thrown away.
static void
receive_parts(struct zsocket *socket, struct received *received)
{
    size_t limit = socket->side->net->frame_limit_bytes;
    size_t body = zmq_msg_size(&received->body), left = body < limit ? limit - body : 0;
    bool more = zmq_msg_more(&received->body);
    zmq_msg_t *part = received->parts;

    for (; more && received->part_count < NET_PARTS; part++) {
        if (!hark__zmq_receive_part(socket->zmq, part)) {
            received->is_whole = false;
            return;
        }
        received->part_count++;
        received->is_whole = received->is_whole && zmq_msg_size(part) <= left;
        left -= zmq_msg_size(part) <= left ? zmq_msg_size(part) : left;
        more = zmq_msg_more(part);
    }
    if (more) {
        received->is_whole = false;
        hark__zmq_skip_parts(socket->zmq);
    }
}

// False: nothing there. The body and parts must be closed.
static bool
receive_locked(struct zsocket *socket, struct received *received)
{
    received->id_size = 0;
    received->part_count = 0;
    received->is_whole = true;
    if (!hark__zmq_receive_part(socket->zmq, &received->body)) {
        return false;
    }
    if (socket->is_listener) {
        read_id(&received->body, received);
        if (!zmq_msg_more(&received->body)) {
            received->is_whole = false;
            return true;
        }
        zmq_msg_close(&received->body);
        if (!hark__zmq_receive_part(socket->zmq, &received->body)) {
            return false;
        }
    }
    if (zmq_msg_more(&received->body)) {
        receive_parts(socket, received);
    }
    return true;
}

static bool
receive(struct zsocket *socket, struct received *received)
{
    pthread_mutex_lock(&socket->lock);
    bool got = receive_locked(socket, received);
    pthread_mutex_unlock(&socket->lock);
    return got;
}

// ---- the poll ----

// A frame in libzmq's memory.
struct zarrival {
    struct arrival arrival;
    struct received *received;
};

static void
release_body(void *handle)
{
    zmq_msg_t *body = handle;

    zmq_msg_close(body);
    free(body);
}

static bool
keep_message(struct arrival *arrival, uint32_t part, struct kept *out_kept)
{
    struct received *received = ((struct zarrival *)arrival)->received;
    zmq_msg_t *body = part > 0 ? &received->parts[part - 1] : &received->body;
    const void *data = zmq_msg_data(body);
    zmq_msg_t *held = malloc(sizeof *held);

    if (held == NULL) {
        return false;
    }
    zmq_msg_init(held);
    zmq_msg_move(held, body);
    if (zmq_msg_data(held) != data) { // a small one stands in the zmq_msg_t
        zmq_msg_move(body, held);
        release_body(held);
        return false;
    }
    *out_kept = (struct kept){zmq_msg_data(held), held, release_body};
    return true;
}

// Gives how much the sink has made of it.
static size_t
tell_sink(struct zpipe *pipe, struct received *received)
{
    struct sink *sink = pipe->socket->side->net->sink;
    struct arrived_part parts[NET_PARTS];
    // A message of other parts than ours is no frame: an empty one stands for it.
    struct zarrival frame = {
        .arrival = {.data = zmq_msg_data(&received->body),
                    .size = received->is_whole ? zmq_msg_size(&received->body) : 0,
                    .parts = parts,
                    .part_count = received->is_whole ? received->part_count : 0,
                    .keep = keep_message},
        .received = received,
    };

    for (uint32_t i = 0; i < frame.arrival.part_count; i++) {
        parts[i] = (struct arrived_part){zmq_msg_data(&received->parts[i]),
                                         zmq_msg_size(&received->parts[i])};
    }
    sink->frame(sink, &pipe->pipe, &frame.arrival);
    return frame.arrival.made_bytes;
}

// As above, if anyone is to be told.
static size_t
pass_on(struct zsocket *socket, struct received *received)
{
    size_t made_bytes = 0;
    struct zpipe *pipe = hark__zpipe_of(socket, received);

    hark__anchors_hold(socket->side, &received->body);
    for (uint32_t i = 0; i < received->part_count; i++) {
        hark__anchors_hold(socket->side, &received->parts[i]);
    }
    if (pipe != NULL && !pipe->gone && !pipe->closed) {
        made_bytes = tell_sink(pipe, received);
    }
    zmq_msg_close(&received->body);
    for (uint32_t i = 0; i < received->part_count; i++) {
        zmq_msg_close(&received->parts[i]);
    }
    return made_bytes;
}

// True: there may be more.
static bool
poll_messages(struct zsocket *socket)
{
    struct received received;
    size_t made_bytes = 0;

    for (unsigned i = 0; i < NET_BATCH && made_bytes < NET_BATCH_BYTES; i++) {
        if (socket->dead || !receive(socket, &received)) {
            return false;
        }
        made_bytes += pass_on(socket, &received);
    }
    return true;
}

void
hark__zmq_signal(struct zmq_side *side, uint64_t key)
{
    uint32_t index = (uint32_t)key - NET_KEYS;

    pthread_mutex_lock(&side->lock);
    if (index < side->capacity && side->table[index].socket != NULL
        && side->table[index].generation == (uint32_t)(key >> 32)) {
        // release: pairs with the acquire in next_signalled.
        atomic_store_explicit(&side->table[index].socket->signalled, true,
                              memory_order_release);
    }
    pthread_mutex_unlock(&side->lock);
}

static void
bury(struct zsocket *socket)
{
    struct zmq_side *side = socket->side;

    pthread_mutex_lock(&side->lock);
    hark__zsocket_leave_place(socket);
    pthread_mutex_unlock(&side->lock);
    hark__zsocket_free(socket);
}

// The next socket from *at on that has something to look at; NULL: none.
static struct zsocket *
next_signalled(struct zmq_side *side, uint32_t *at)
{
    struct zsocket *found = NULL;

    pthread_mutex_lock(&side->lock);
    while (found == NULL && *at < side->capacity) {
        struct zsocket *socket = side->table[(*at)++].socket;

        if (socket != NULL
            // relaxed: a hint; acquire: pairs with hark__zmq_signal and
            // hark__zsocket_signal.
            && atomic_load_explicit(&socket->signalled, memory_order_relaxed)
            && atomic_exchange_explicit(&socket->signalled, false,
                                        memory_order_acquire)) {
            found = socket;
        }
    }
    pthread_mutex_unlock(&side->lock);
    return found;
}

// True: it has more.
static bool
poll_socket(struct zsocket *socket)
{
    // Events before messages: what came before a connection ended is not lost with it.
    hark__zsocket_poll_monitor(socket);
    bool more = poll_messages(socket);
    if (!more || ++socket->held == HOLD_MOST) {
        hark__zsocket_tell_endings(socket);
    }
    if (more) {
        // relaxed: for ourselves.
        atomic_store_explicit(&socket->signalled, true, memory_order_relaxed);
    }
    return more;
}

bool
hark__zmq_poll(struct zmq_side *side)
{
    struct zsocket *socket;
    uint32_t at = 0;
    bool more = false;

    while ((socket = next_signalled(side, &at)) != NULL) {
        more = poll_socket(socket) || more;
        if (socket->dead) {
            bury(socket);
        }
    }
    return more;
}

// ---- the transports ----

static void
zmq_close_pipe(struct pipe *pipe)
{
    struct zpipe *zpipe = (struct zpipe *)pipe;
    struct zsocket *socket = zpipe->socket;

    zpipe->closed = true;
    if (!socket->is_listener) {
        socket->dead = true; // the poll that we are in may still look at it
        hark__zsocket_signal(socket);
    } else if (zpipe->gone || zpipe->fd < 0) { // nobody would tell when to forget it
        hark__zpipe_forget(zpipe);
    }
}

const struct transport hark__transport_tcp = {
    .scheme = "tcp",
    .listen = tcp_listen,
    .connect = tcp_connect,
    .send = zmq_send_frame,
    .give = zmq_give_frame,
    .send_parts = zmq_send_parts,
    .close = zmq_close_pipe,
};

const struct transport hark__transport_ipc = {
    .scheme = "ipc",
    .listen = ipc_listen,
    .connect = ipc_connect,
    .send = zmq_send_frame,
    .give = zmq_give_frame,
    .send_parts = zmq_send_parts,
    .close = zmq_close_pipe,
};
