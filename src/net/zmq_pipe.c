// Pipes: which one a message or an event belongs to, and when one ends.

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "net/zmq_side.h"

// ---- a listener's table ----

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

// ---- pipes ----

struct zpipe *
hark__zpipe_new(struct zsocket *socket, void *user, const uint8_t *id, size_t id_size)
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
    return pipe;
}

void
hark__zpipe_free(struct zpipe *pipe)
{
    free(pipe);
}

// ---- whose message it is ----

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

void
hark__zpipe_forget(struct zpipe *pipe)
{
    struct zsocket *socket = pipe->socket;

    for (uint32_t i = socket->ending_count; i-- > 0;) {
        if (socket->endings[i].pipe == pipe) {
            drop_ending(socket, i);
        }
    }
    *find_pipe(socket, pipe->id, pipe->id_size) = pipe->next;
    socket->pipe_count--;
    hark__zpipe_free(pipe);
}

// The pipe's connection is over. The sink closes the pipe, unless it has before.
static void
end_pipe(struct zpipe *pipe, hark_err err, const char *why)
{
    struct sink *sink = pipe->pipe.net->sink;

    if (pipe->closed) {
        hark__zpipe_forget(pipe);
    } else if (!pipe->gone) {
        pipe->gone = true;
        sink->gone(sink, &pipe->pipe, err, why);
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
    struct zpipe *pipe = hark__zpipe_new(socket, NULL, received->id, received->id_size);

    if (pipe != NULL) {
        pipe->fd = zmq_msg_get(&received->body, ZMQ_SRCFD);
        if (socket->pipe_count++ >= socket->bucket_count) {
            grow(socket);
        }
        *find_pipe(socket, pipe->id, pipe->id_size) = pipe;
    }
    return pipe;
}

// libzmq's own ids are a 0 and a number that it counts up with each connection.
static bool
is_of_older_connection(const struct received *received, const struct zpipe *pipe)
{
    uint32_t theirs, its;

    if (received->id_size != 1 + sizeof theirs || pipe->id_size != received->id_size
        || received->id[0] != 0 || pipe->id[0] != 0) {
        return false;
    }
    memcpy(&theirs, received->id + 1, sizeof theirs);
    memcpy(&its, pipe->id + 1, sizeof its);
    return (int32_t)(be32toh(theirs) - be32toh(its)) < 0; // it may wrap
}

struct zpipe *
hark__zpipe_of(struct zsocket *socket, struct received *received)
{
    if (!socket->is_listener) {
        return socket->only;
    }
    struct zpipe *pipe = *find_pipe(socket, received->id, received->id_size);
    if (pipe != NULL && is_from(pipe, received)) {
        return pipe;
    }
    // What the monitor says of this descriptor up to now is about an older connection.
    hark__zsocket_poll_monitor(socket);
    pipe = *find_pipe(socket, received->id, received->id_size);
    if (pipe != NULL) {
        end_pipe(pipe, HARK_ENONODE, "another connection took its place");
    }
    // The last words of a connection may have come behind the news of its end.
    pipe = pipe_with_fd(socket, zmq_msg_get(&received->body, ZMQ_SRCFD));
    if (pipe != NULL && is_of_older_connection(received, pipe)) {
        // And its descriptor is the pipe's now: a ROUTER reads them by turns.
        return NULL;
    }
    if (pipe != NULL) {
        end_pipe(pipe, HARK_ENONODE, "the connection was lost");
    }
    return *find_pipe(socket, received->id, received->id_size) == NULL
               ? add_pipe(socket, received)
               : NULL;
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
                end_pipe(ending->pipe, ending->err, ending->why);
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
    struct ending ending = {
        .why = reason_of(event),
        .err =
            event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL ? HARK_EPROTO : HARK_ENONODE,
        .fd = value,
    };

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

void
hark__zsocket_poll_monitor(struct zsocket *socket)
{
    zmq_msg_t part;

    while (!socket->dead && hark__zmq_receive_part(socket->monitor, &part)) {
        uint16_t event = 0;
        int32_t value = -1;

        if (zmq_msg_size(&part) >= 6) {
            memcpy(&event, zmq_msg_data(&part), sizeof event);
            memcpy(&value, (const uint8_t *)zmq_msg_data(&part) + 2, sizeof value);
        }
        bool more = zmq_msg_more(&part);
        zmq_msg_close(&part);
        if (more) {
            hark__zmq_skip_parts(socket->monitor); // the address
        }
        take_event(socket, event, value);
    }
}

void
hark__zsocket_tell_endings(struct zsocket *socket)
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
            end_pipe(pipe, ending.err, ending.why);
        }
    }
    socket->held = 0;
}
