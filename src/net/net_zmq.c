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
// ends the pipe. A ROUTER's connections are told apart by their descriptor, which libzmq
// gives with each message (ZMQ_SRCFD) and with each event (those of failed handshakes
// carry an error number there, and belong to no pipe).
//
// Messages and events come by two ways. So the end of a connection is noted, and told
// when the messages that may stand before it have been read; and one whose pipe is not
// known yet waits for its first message, until the descriptor has a new owner.
//
// A ROUTER cannot end a connection. So a pipe that was closed is remembered until its
// connection ends, and what still comes from there is thrown away: else each frame of a
// stranger who does not listen would be answered, and the answers would heap up here.

#include <errno.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <zmq.h>

#include "net/transport.h"

enum {
    ID_LIMIT = 255,
    FIRST_BUCKETS = 16,
    RETRY_MS = 100,
    HANDSHAKE_MS = 5000,  // for a connection to say that it speaks ZeroMQ
    RECEIVE_MOST = 1000,  // frames of a connection that wait for us; then it has to
    SOCKETS_MOST = 12288, // of a net; a connection that we open takes three
    HOLD_MOST = 64,       // polls that an ending waits for a socket that never empties
    CLOSE_LINGER_MS = 200,
    TCP_HOST = 200,
};

struct zsocket;

struct zpipe {
    struct pipe pipe; // first
    struct zsocket *socket;
    struct zpipe *next; // in its bucket
    int fd;             // of the connection, as libzmq names it; -1: not known
    bool gone;          // told, or about to be
    bool closed;        // a ROUTER's: only remembered
    uint8_t id_size;    // of a ROUTER's pipe; 0: a DEALER's
    uint8_t id[];
};

// The end of a connection that is not told yet.
struct ending {
    struct zpipe *pipe; // NULL: nothing has come from there yet
    int fd;
    const char *why;
};

struct zsocket {
    struct zmq_side *side;
    uint32_t index, generation; // of its place in the side's table
    pthread_mutex_t lock;       // guards zmq, while it is used
    void *zmq, *monitor;        // monitor: poller only
    bool is_listener;
    bool dead;               // poller only: to be freed when the poll is over
    _Atomic(bool) signalled; // to be looked at: set by anyone, cleared by the poller
    // Poller only:
    struct zpipe **buckets; // listener: pipes by routing id
    uint32_t bucket_count, pipe_count;
    struct zpipe *only; // not a listener: its pipe, or NULL
    struct ending *endings;
    uint32_t ending_count, ending_capacity;
    uint32_t held; // polls in a row that left endings untold
};

// A place of the table; its generation tells the socket that is there from others that
// were.
struct place {
    struct zsocket *socket; // NULL: free
    uint32_t generation;
};

struct zmq_side {
    struct net *net;
    void *context;
    _Atomic(uint32_t) monitors; // how many sockets have been monitored; names the next
    pthread_mutex_t lock;       // guards all below; only the poller frees sockets
    struct place *table;
    uint32_t capacity, first_free;
};

// Has the poller look at the socket. Any thread.
static void
signal_socket(struct zsocket *socket)
{
    // release: pairs with the acquire in hark__zmq_poll.
    atomic_store_explicit(&socket->signalled, true, memory_order_release);
    hark__net_wake(socket->side->net);
}

// ---- errors ----

static hark_err
explain(struct net_error *error, const char *endpoint, int code)
{
    snprintf(error->text, error->size, "endpoint \"%s\": %s", endpoint,
             zmq_strerror(code));
    return code == EADDRINUSE                                   ? HARK_EEXIST
           : code == ENOMEM || code == EMFILE || code == ENFILE ? HARK_ENOMEM
                                                                : HARK_EENDPOINT;
}

static hark_err
malformed(struct net_error *error, const char *endpoint, const char *why)
{
    snprintf(error->text, error->size, "endpoint \"%s\": %s", endpoint, why);
    return HARK_EENDPOINT;
}

// ---- endpoints ----

// Where "tcp://host:port" divides; NULL: error tells.
static const char *
find_port(const char *endpoint, bool to_listen, struct net_error *error)
{
    const char *host = endpoint + strlen("tcp://");
    const char *colon = strrchr(host, ':');
    char *end;

    if (colon == NULL || colon[1] == '\0') {
        malformed(error, endpoint, "the port is missing");
        return NULL;
    }
    if (colon == host || (size_t)(colon - host) >= TCP_HOST) {
        malformed(error, endpoint,
                  colon == host ? "the host is missing" : "the host is too long");
        return NULL;
    }
    unsigned long port = strtoul(colon + 1, &end, 10);
    bool any = to_listen && strcmp(colon + 1, "*") == 0;
    if (!any && (*end != '\0' || colon[1] < '0' || colon[1] > '9' || port > 65535)) {
        malformed(error, endpoint, "the port is not a number from 0 to 65535");
        return NULL;
    }
    if (!to_listen && (port == 0 || host[0] == '*')) {
        malformed(error, endpoint, "that names nobody to connect to");
        return NULL;
    }
    return colon + 1;
}

static hark_err
check_ipc(const char *endpoint, struct net_error *error)
{
    struct sockaddr_un address;
    size_t size = strlen(endpoint) - strlen("ipc://");

    if (size == 0) {
        return malformed(error, endpoint, "the path is missing");
    }
    if (size >= sizeof address.sun_path) {
        return malformed(error, endpoint, "the path is too long for a socket");
    }
    return HARK_OK;
}

// May we bind there? libzmq would remove whatever is at that path: a living process's
// socket as well as a user's file.
static hark_err
check_ipc_free(const char *endpoint, struct net_error *error)
{
    const char *path = endpoint + strlen("ipc://");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    int fd;

    if (path[0] == '@' || lstat(path, &status) != 0) {
        return HARK_OK; // abstract names are refused by the kernel
    }
    if (!S_ISSOCK(status.st_mode)) {
        malformed(error, endpoint, "there is something that is no socket");
        return HARK_EEXIST;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return explain(error, endpoint, errno);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    bool in_use = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0
                  || errno == EAGAIN; // it lives, and is busy
    close(fd);
    return in_use ? explain(error, endpoint, EADDRINUSE) : HARK_OK;
}

// The address of this machine that others may use.
static void
own_address(char *out, size_t size)
{
    struct ifaddrs *all = NULL;

    snprintf(out, size, "127.0.0.1");
    if (getifaddrs(&all) != 0) {
        return;
    }
    for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
        char host[TCP_HOST];

        if (at->ifa_addr != NULL && at->ifa_addr->sa_family == AF_INET
            && getnameinfo(at->ifa_addr, sizeof(struct sockaddr_in), host, sizeof host,
                           NULL, 0, NI_NUMERICHOST)
                   == 0
            && strncmp(host, "127.", 4) != 0) {
            snprintf(out, size, "%s", host);
            break;
        }
    }
    freeifaddrs(all);
}

// What zmq_bind takes for a tcp endpoint: names of the loopback and "any port"
// replaced.
static void
binding_of(const char *endpoint, const char *port, char *out, size_t size)
{
    const char *host = endpoint + strlen("tcp://");
    int host_size = (int)(port - 1 - host);
    bool is_localhost = host_size == 9 && strncmp(host, "localhost", 9) == 0;

    snprintf(out, size, "tcp://%.*s:%s", is_localhost ? 9 : host_size,
             is_localhost ? "127.0.0.1" : host, strcmp(port, "0") == 0 ? "*" : port);
}

// What others connect to, from what libzmq bound: not "any address", nor IPv4 written as
// IPv6.
static void
write_bound(struct zsocket *socket, char *out, size_t size)
{
    static const char mapped[] = "tcp://[::ffff:";
    char last[512] = "";
    size_t last_size = sizeof last;
    char host[TCP_HOST];

    zmq_getsockopt(socket->zmq, ZMQ_LAST_ENDPOINT, last, &last_size);
    const char *end = strchr(last, ']');
    if (strncmp(last, "tcp://0.0.0.0:", 14) == 0
        || strncmp(last, "tcp://[::]:", 11) == 0) {
        own_address(host, sizeof host);
        snprintf(out, size, "tcp://%s%s", host, strrchr(last, ':'));
    } else if (strncmp(last, mapped, sizeof mapped - 1) == 0 && end != NULL) {
        const char *ipv4 = last + sizeof mapped - 1;

        snprintf(out, size, "tcp://%.*s%s", (int)(end - ipv4), ipv4, end + 1);
    } else {
        snprintf(out, size, "%s", last);
    }
}

// ---- pipes ----

static uint32_t
hash_id(const uint8_t *id, size_t size)
{
    uint32_t hash = UINT32_C(0x811c9dc5); // FNV-1a

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ id[i]) * UINT32_C(0x01000193);
    }
    return hash;
}

static struct zpipe **
find_pipe(struct zsocket *socket, const uint8_t *id, size_t size)
{
    struct zpipe **at =
        &socket->buckets[hash_id(id, size) & (socket->bucket_count - 1)];

    while (*at != NULL
           && ((*at)->id_size != size || memcmp((*at)->id, id, size) != 0)) {
        at = &(*at)->next;
    }
    return at;
}

// More buckets. Without memory the old ones serve on.
static void
grow(struct zsocket *socket)
{
    struct zpipe **old = socket->buckets;
    uint32_t old_count = socket->bucket_count;
    struct zpipe **buckets = calloc((size_t)old_count * 2, sizeof(struct zpipe *));

    if (buckets == NULL) {
        return;
    }
    socket->buckets = buckets;
    socket->bucket_count = old_count * 2;
    for (uint32_t i = 0; i < old_count; i++) {
        while (old[i] != NULL) {
            struct zpipe *pipe = old[i];

            old[i] = pipe->next;
            pipe->next = NULL;
            *find_pipe(socket, pipe->id, pipe->id_size) = pipe;
        }
    }
    free((void *)old);
}

static struct zpipe *
pipe_new(struct zsocket *socket, void *user, const uint8_t *id, size_t id_size)
{
    struct net *net = socket->side->net;
    struct zpipe *pipe = calloc(1, sizeof *pipe + id_size);

    if (pipe == NULL) {
        return NULL;
    }
    pipe->pipe = (struct pipe){&hark__transport_tcp, net, user};
    pipe->socket = socket;
    pipe->fd = -1;
    pipe->id_size = (uint8_t)id_size;
    if (id_size > 0) {
        memcpy(pipe->id, id, id_size);
    }
    hark__net_count(net, 1);
    return pipe;
}

static void
pipe_free(struct zpipe *pipe)
{
    if (!pipe->closed) {
        hark__net_count(pipe->pipe.net, -1);
    }
    free(pipe);
}

// ---- sockets ----

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

    // A socket that was closed may keep its name a while longer. relaxed: any number that
    // nobody else gets.
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

// The socket is in no list. Pipes of it are freed too.
static void
socket_free(struct zsocket *socket)
{
    for (uint32_t i = 0; i < socket->bucket_count; i++) {
        while (socket->buckets[i] != NULL) {
            struct zpipe *pipe = socket->buckets[i];

            socket->buckets[i] = pipe->next;
            pipe_free(pipe);
        }
    }
    if (socket->only != NULL) {
        pipe_free(socket->only);
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
        socket_free(socket);
        return NULL;
    }
    return socket;
}

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

// The side's lock is held.
static void
leave_place(struct zsocket *socket)
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
        leave_place(socket);
        ok = false;
    }
    pthread_mutex_unlock(&side->lock);
    if (!ok) {
        return HARK_ENOMEM;
    }
    signal_socket(socket); // what came before the descriptors were watched
    return HARK_OK;
}

static hark_err
listen_at(struct net *net, const char *endpoint, const char *binding, char *out_bound,
          size_t out_bound_size, struct net_error *error)
{
    struct zsocket *socket = socket_new(net, ZMQ_ROUTER);

    if (socket == NULL) {
        return explain(error, endpoint, ENOMEM);
    }
    if (zmq_bind(socket->zmq, binding) != 0) {
        hark_err err = explain(error, endpoint, zmq_errno());
        socket_free(socket);
        return err;
    }
    write_bound(socket, out_bound, out_bound_size);
    if (publish(socket) != HARK_OK) {
        socket_free(socket);
        return explain(error, endpoint, ENOMEM);
    }
    return HARK_OK;
}

static hark_err
tcp_listen(struct net *net, const char *endpoint, char *out_bound,
           size_t out_bound_size, struct net_error *error)
{
    const char *port = find_port(endpoint, true, error);
    char binding[512];

    if (port == NULL) {
        return HARK_EENDPOINT;
    }
    binding_of(endpoint, port, binding, sizeof binding);
    return listen_at(net, endpoint, binding, out_bound, out_bound_size, error);
}

static hark_err
ipc_listen(struct net *net, const char *endpoint, char *out_bound,
           size_t out_bound_size, struct net_error *error)
{
    hark_err err = check_ipc(endpoint, error);

    if (err != HARK_OK) {
        return err;
    }
    err = check_ipc_free(endpoint, error);
    return err != HARK_OK
               ? err
               : listen_at(net, endpoint, endpoint, out_bound, out_bound_size, error);
}

static hark_err
connect_to(struct net *net, const char *endpoint, void *user, struct pipe **out_pipe,
           struct net_error *error)
{
    struct zsocket *socket = socket_new(net, ZMQ_DEALER);

    if (socket == NULL) {
        return explain(error, endpoint, ENOMEM);
    }
    socket->only = pipe_new(socket, user, NULL, 0);
    if (socket->only == NULL || zmq_connect(socket->zmq, endpoint) != 0) {
        hark_err err =
            explain(error, endpoint, socket->only == NULL ? ENOMEM : zmq_errno());
        socket_free(socket);
        return err;
    }
    *out_pipe = &socket->only->pipe; // before the poller can speak of it
    if (publish(socket) != HARK_OK) {
        socket_free(socket);
        return explain(error, endpoint, ENOMEM);
    }
    return HARK_OK;
}

static hark_err
tcp_connect(struct net *net, const char *endpoint, void *user, struct pipe **out_pipe,
            struct net_error *error)
{
    return find_port(endpoint, false, error) == NULL
               ? HARK_EENDPOINT
               : connect_to(net, endpoint, user, out_pipe, error);
}

static hark_err
ipc_connect(struct net *net, const char *endpoint, void *user, struct pipe **out_pipe,
            struct net_error *error)
{
    hark_err err = check_ipc(endpoint, error);

    return err != HARK_OK ? err : connect_to(net, endpoint, user, out_pipe, error);
}

// ---- sending ----

// The lock is held.
static bool
has_input(void *zmq)
{
    int events = 0;
    size_t size = sizeof events;

    return zmq_getsockopt(zmq, ZMQ_EVENTS, &events, &size) == 0
           && (events & ZMQ_POLLIN) != 0;
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

// The lock is held. Takes body. The id's part is the only one that may be refused: a
// ROUTER that has taken it takes the rest too.
static int
send_parts(struct zpipe *pipe, zmq_msg_t *body)
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
    if (code == 0) {
        code = send_part(zmq, body, 0);
    }
    zmq_msg_close(body); // an empty one, if it was sent
    return code;
}

static hark_err
zmq_send_frame(struct pipe *pipe, const uint8_t *data, size_t size)
{
    struct zpipe *zpipe = (struct zpipe *)pipe;
    struct zsocket *socket = zpipe->socket;
    zmq_msg_t body;

    // Made before the lock: the copy is the long part, and then nothing fails half-way.
    if (make_part(&body, data, size) != 0) {
        return HARK_ENOMEM;
    }
    pthread_mutex_lock(&socket->lock);
    int code = send_parts(zpipe, &body);
    bool wake = has_input(socket->zmq);
    pthread_mutex_unlock(&socket->lock);
    if (wake) {
        signal_socket(socket);
    }
    return code == 0              ? HARK_OK
           : code == EHOSTUNREACH ? HARK_ENONODE
           : code == ENOMEM       ? HARK_ENOMEM
                                  : HARK_ELIMIT;
}

// ---- receiving ----

// One message of a socket.
struct received {
    zmq_msg_t body;
    uint8_t id[ID_LIMIT];
    size_t id_size;
    bool is_whole; // it has the parts that it should have
};

static bool
receive_part(void *zmq, zmq_msg_t *part)
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

// Throws the parts that follow away.
static void
skip_parts(void *zmq)
{
    zmq_msg_t part;
    bool more = true;

    while (more && receive_part(zmq, &part)) {
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

// False: nothing there. body must be closed.
static bool
receive_locked(struct zsocket *socket, struct received *received)
{
    received->id_size = 0;
    received->is_whole = true;
    if (!receive_part(socket->zmq, &received->body)) {
        return false;
    }
    if (socket->is_listener) {
        read_id(&received->body, received);
        if (!zmq_msg_more(&received->body)) {
            received->is_whole = false;
            return true;
        }
        zmq_msg_close(&received->body);
        if (!receive_part(socket->zmq, &received->body)) {
            return false;
        }
    }
    if (zmq_msg_more(&received->body)) {
        received->is_whole = false;
        skip_parts(socket->zmq);
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

// ---- whose message it is ----

static void poll_monitor(struct zsocket *socket);

// libzmq's own ids begin with 0 and are given once. One that a peer has chosen may come
// back on a new connection, before we have heard that the old one is over.
static bool
is_from(const struct zpipe *pipe, struct received *received)
{
    return pipe->id_size == 0 || pipe->id[0] == 0
           || pipe->fd == zmq_msg_get(&received->body, ZMQ_SRCFD);
}

static void
drop_ending(struct zsocket *socket, uint32_t index)
{
    socket->endings[index] = socket->endings[--socket->ending_count];
}

// Takes a listener's pipe out of the table, and frees it.
static void
forget(struct zpipe *pipe)
{
    struct zsocket *socket = pipe->socket;

    for (uint32_t i = socket->ending_count; i-- > 0;) {
        if (socket->endings[i].pipe == pipe) {
            drop_ending(socket, i);
        }
    }
    *find_pipe(socket, pipe->id, pipe->id_size) = pipe->next;
    socket->pipe_count--;
    pipe_free(pipe);
}

// The pipe's connection is over. The sink closes the pipe, unless it has before.
static void
end_pipe(struct zpipe *pipe, const char *why)
{
    struct sink *sink = pipe->pipe.net->sink;

    if (pipe->closed) {
        forget(pipe);
    } else if (!pipe->gone) {
        pipe->gone = true;
        sink->gone(sink, &pipe->pipe, why);
    }
}

// A listener's pipe, open or only remembered, over that connection.
static struct zpipe *
pipe_with_fd(struct zsocket *socket, int fd)
{
    for (uint32_t i = 0; fd >= 0 && i < socket->bucket_count; i++) {
        for (struct zpipe *pipe = socket->buckets[i]; pipe != NULL; pipe = pipe->next) {
            if (pipe->fd == fd && !pipe->gone) {
                return pipe;
            }
        }
    }
    return NULL;
}

// A connection's first message. NULL: no memory.
static struct zpipe *
add_pipe(struct zsocket *socket, struct received *received)
{
    struct zpipe *pipe = pipe_new(socket, NULL, received->id, received->id_size);

    if (pipe != NULL) {
        pipe->fd = zmq_msg_get(&received->body, ZMQ_SRCFD);
        if (socket->pipe_count++ >= socket->bucket_count) {
            grow(socket);
        }
        *find_pipe(socket, pipe->id, pipe->id_size) = pipe;
    }
    return pipe;
}

// The pipe of a message; NULL: none.
static struct zpipe *
pipe_of(struct zsocket *socket, struct received *received)
{
    if (!socket->is_listener) {
        return socket->only;
    }
    struct zpipe *pipe = *find_pipe(socket, received->id, received->id_size);
    if (pipe != NULL && is_from(pipe, received)) {
        return pipe;
    }
    // What the monitor says of this descriptor up to now is about an older connection.
    poll_monitor(socket);
    pipe = *find_pipe(socket, received->id, received->id_size);
    if (pipe != NULL) {
        end_pipe(pipe, "another connection took its place");
    }
    // The last words of a connection may have come behind the news of its end.
    pipe = pipe_with_fd(socket, zmq_msg_get(&received->body, ZMQ_SRCFD));
    if (pipe != NULL) {
        end_pipe(pipe, "the connection was lost");
    }
    return *find_pipe(socket, received->id, received->id_size) == NULL
               ? add_pipe(socket, received)
               : NULL;
}

static void
pass_on(struct zsocket *socket, struct received *received)
{
    struct sink *sink = socket->side->net->sink;
    struct zpipe *pipe = pipe_of(socket, received);

    if (pipe != NULL && !pipe->gone && !pipe->closed) {
        // A message of other parts than ours is no frame: an empty one stands for it.
        size_t size = received->is_whole ? zmq_msg_size(&received->body) : 0;

        sink->frame(sink, &pipe->pipe, zmq_msg_data(&received->body), size);
    }
    zmq_msg_close(&received->body);
}

// True: there may be more.
static bool
poll_messages(struct zsocket *socket)
{
    struct received received;

    for (unsigned i = 0; i < NET_BATCH; i++) {
        if (socket->dead || !receive(socket, &received)) {
            return false;
        }
        pass_on(socket, &received);
    }
    return true;
}

// ---- connections that end ----

// Without memory to note it down it is told at once.
static void
note_ending(struct zsocket *socket, const struct ending *ending)
{
    if (socket->ending_count == socket->ending_capacity) {
        uint32_t capacity = socket->ending_count == 0 ? 8 : socket->ending_count * 2;
        struct ending *grown =
            realloc(socket->endings, capacity * sizeof(struct ending));

        if (grown == NULL) {
            if (ending->pipe != NULL) {
                end_pipe(ending->pipe, ending->why);
            }
            return;
        }
        socket->endings = grown;
        socket->ending_capacity = capacity;
    }
    socket->endings[socket->ending_count++] = *ending;
}

// The descriptor has a new owner: what is still said of it is not for us.
static void
forget_ending_of(struct zsocket *socket, int fd)
{
    for (uint32_t i = socket->ending_count; i-- > 0;) {
        if (socket->endings[i].pipe == NULL && socket->endings[i].fd == fd) {
            drop_ending(socket, i);
        }
    }
}

static const char *
reason_of(unsigned event)
{
    return event == ZMQ_EVENT_DISCONNECTED ? "the connection was lost"
           : event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL
               ? "the other side does not speak ZeroMQ"
               : "the other side broke the connection off before it spoke ZeroMQ";
}

static void
take_event(struct zsocket *socket, unsigned event, int value)
{
    struct ending ending = {.why = reason_of(event), .fd = value};

    if (event == ZMQ_EVENT_ACCEPTED) {
        forget_ending_of(socket, value);
    } else if (!socket->is_listener) {
        ending.pipe = socket->only;
        note_ending(socket, &ending);
    } else if (event == ZMQ_EVENT_DISCONNECTED) { // others have never come
        ending.pipe = pipe_with_fd(socket, value);
        note_ending(socket, &ending);
    }
}

static void
poll_monitor(struct zsocket *socket)
{
    zmq_msg_t part;

    while (!socket->dead && receive_part(socket->monitor, &part)) {
        uint16_t event = 0;
        int32_t value = -1;

        if (zmq_msg_size(&part) >= 6) {
            memcpy(&event, zmq_msg_data(&part), sizeof event);
            memcpy(&value, (const uint8_t *)zmq_msg_data(&part) + 2, sizeof value);
        }
        bool more = zmq_msg_more(&part);
        zmq_msg_close(&part);
        if (more) {
            skip_parts(socket->monitor); // the address
        }
        take_event(socket, event, value);
    }
}

// Tells the endings whose pipes are known. The socket's messages have been read.
static void
tell_endings(struct zsocket *socket)
{
    for (uint32_t i = socket->ending_count; i-- > 0 && !socket->dead;) {
        if (i >= socket->ending_count) {
            continue; // others went with the last one
        }
        struct ending ending = socket->endings[i];
        struct zpipe *pipe =
            ending.pipe != NULL ? ending.pipe : pipe_with_fd(socket, ending.fd);

        if (pipe != NULL) {
            drop_ending(socket, i);
            end_pipe(pipe, ending.why);
        }
    }
    socket->held = 0;
}

static void
zmq_close_pipe(struct pipe *pipe)
{
    struct zpipe *zpipe = (struct zpipe *)pipe;
    struct zsocket *socket = zpipe->socket;

    hark__net_count(pipe->net, -1);
    zpipe->closed = true;
    if (!socket->is_listener) {
        socket->dead = true; // the poll that we are in may still look at it
        signal_socket(socket);
    } else if (zpipe->gone || zpipe->fd < 0) { // nobody would tell when to forget it
        forget(zpipe);
    }
}

// ---- the poll ----

void
hark__zmq_signal(struct zmq_side *side, uint64_t key)
{
    uint32_t index = (uint32_t)key - NET_KEYS;

    pthread_mutex_lock(&side->lock);
    if (index < side->capacity && side->table[index].socket != NULL
        && side->table[index].generation == (uint32_t)(key >> 32)) {
        // release: pairs with the acquire in hark__zmq_poll.
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
    leave_place(socket);
    pthread_mutex_unlock(&side->lock);
    socket_free(socket);
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
            // relaxed: a hint; acquire: pairs with who signalled.
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
    poll_monitor(socket);
    bool more = poll_messages(socket);
    if (!more || ++socket->held == HOLD_MOST) {
        tell_endings(socket);
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
            socket_free(socket);
        }
    }
    while (zmq_ctx_term(side->context) != 0 && zmq_errno() == EINTR) {
    }
    pthread_mutex_destroy(&side->lock);
    free(side->table);
    free(side);
}

const struct transport hark__transport_tcp = {
    .scheme = "tcp",
    .listen = tcp_listen,
    .connect = tcp_connect,
    .send = zmq_send_frame,
    .close = zmq_close_pipe,
};

const struct transport hark__transport_ipc = {
    .scheme = "ipc",
    .listen = ipc_listen,
    .connect = ipc_connect,
    .send = zmq_send_frame,
    .close = zmq_close_pipe,
};
