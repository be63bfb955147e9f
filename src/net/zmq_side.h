// ZeroMQ's side of a net: its sockets, their pipes, and what the files of the ZeroMQ
// transport share. Private to them.
//
// net_zmq.c tells how it works; it sends, receives and polls. zmq_socket.c opens
// sockets and keeps the table of them; zmq_pipe.c knows which pipe a message or an
// event belongs to, and when a pipe ends; zmq_anchor.c keeps libzmq's memory warm;
// zmq_endpoint.c reads and writes endpoints.

#ifndef NET_ZMQ_SIDE_H
#define NET_ZMQ_SIDE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <zmq.h>

#include "net/transport.h"

enum {
    ID_LIMIT = 255, // bytes of a routing id
    ANCHORS = 8,
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
    hark_err err;
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

// Frames that are held so that their memory stays warm; see zmq_anchor.c. Poller only.
struct anchors {
    zmq_msg_t held[ANCHORS];   // by region of addresses
    const void *data[ANCHORS]; // of held; NULL: none
    uint32_t count;
    int64_t due_ns; // when they go; 0: the clock does not run yet
};

struct zmq_side {
    struct net *net;
    struct anchors anchors;
    void *context;
    _Atomic(uint32_t) monitors; // how many sockets have been monitored; names the next
    pthread_mutex_t lock;       // guards all below; only the poller frees sockets
    struct place *table;
    uint32_t capacity, first_free;
};

// One message of a socket.
struct received {
    zmq_msg_t body;
    zmq_msg_t parts[NET_PARTS]; // that come with it
    uint32_t part_count;
    uint8_t id[ID_LIMIT];
    size_t id_size;
    bool is_whole; // it has the parts that it should have, and no more
};

// ---- net_zmq.c ----

// Any thread that may use the socket just now. False: nothing there.
bool hark__zmq_receive_part(void *zmq, zmq_msg_t *part);
// Throws the parts that follow away.
void hark__zmq_skip_parts(void *zmq);

// ---- zmq_anchor.c ----

// A message has come: its memory may be worth keeping. Poller.
void hark__anchors_hold(struct zmq_side *side, zmq_msg_t *message);
void hark__anchors_drop(struct anchors *anchors);

// ---- zmq_socket.c ----

// Listens at what zmq_bind takes, binding. HARK_EEXIST, HARK_EENDPOINT, HARK_ENOMEM;
// error names the endpoint.
hark_err hark__zsocket_listen(struct net *net, const char *endpoint,
                              const char *binding, char *out_bound,
                              size_t out_bound_size, struct net_error *error);
// Gives the pipe of a connection in the making. Errors as above.
hark_err hark__zsocket_connect(struct net *net, const char *endpoint, void *user,
                               struct pipe **out_pipe, struct net_error *error);
// Has the poller look at the socket. Any thread.
void hark__zsocket_signal(struct zsocket *socket);
// The side's lock is held.
void hark__zsocket_leave_place(struct zsocket *socket);
// Takes the socket, which is in no list, and its pipes.
void hark__zsocket_free(struct zsocket *socket);

// ---- zmq_pipe.c ----

// Gives a pipe, in no table yet. id_size 0: a DEALER's. NULL: no memory.
struct zpipe *hark__zpipe_new(struct zsocket *socket, void *user, const uint8_t *id,
                              size_t id_size);
// Takes the pipe, which is in no table any more.
void hark__zpipe_free(struct zpipe *pipe);

// The rest is the poller's.

// The pipe of a message; NULL: none. A listener's new connection gets one.
struct zpipe *hark__zpipe_of(struct zsocket *socket, struct received *received);
// Takes a listener's pipe out of the table, and frees it.
void hark__zpipe_forget(struct zpipe *pipe);
// Notes what the monitor has to say.
void hark__zsocket_poll_monitor(struct zsocket *socket);
// Tells the endings whose pipes are known. The socket's messages have been read.
void hark__zsocket_tell_endings(struct zsocket *socket);

#endif // NET_ZMQ_SIDE_H
