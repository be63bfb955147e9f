// Transport: one way to carry frames. Private to the room.
//
// A transport's functions for opening and sending may be called by any thread; poll and
// close by the poller: the one thread that polls just now, or hark__net_close after
// all.

#ifndef NET_TRANSPORT_H
#define NET_TRANSPORT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/list.h"
#include "base/spin.h"
#include "net/net.h"

enum {
    NET_BATCH = 32, // frames of one connection that are taken before others have a turn
    // Or as many as make so many bytes: they are handled while they are in the cache.
    NET_BATCH_BYTES = 128 * 1024,
};

struct transport;

// The head of every transport's pipes.
struct pipe {
    const struct transport *transport;
    struct net *net;
    void *user;
};

// Where an error's one line goes.
struct net_error {
    char *text;
    size_t size;
};

struct transport {
    const char *scheme; // "tcp"
    hark_err (*listen)(struct net *net, const char *endpoint, char *out_bound,
                       size_t out_bound_size, struct net_error *error);
    hark_err (*connect)(struct net *net, const char *endpoint, void *user,
                        struct pipe **out_pipe, struct net_error *error);
    hark_err (*send)(struct pipe *pipe, const uint8_t *data, size_t size);
    hark_err (*give)(struct pipe *pipe, uint8_t *data, size_t size);
    // NULL: it takes no parts.
    hark_err (*send_parts)(struct pipe *pipe, const uint8_t *data, size_t size,
                           const struct net_part *parts, uint32_t count);
    void (*close)(struct pipe *pipe);
};

struct zmq_side;
struct memory_side;

// What epoll's data says of a descriptor; larger ones are the transport's own.
enum net_key { NET_KEY_EVENT, NET_KEY_UNWAIT, NET_KEYS };

struct net {
    struct env *env;
    struct sink *sink;
    size_t frame_limit_bytes;
    struct hark_hub *hub;
    pthread_mutex_t lock; // guards starting of the thread and of the sides
    struct thread *thread;
    struct zmq_side *zmq;       // NULL: not used yet
    struct memory_side *memory; // NULL: no hub
    _Atomic(bool) stopping;     // close has begun

    // Waiting. Both epolls have all descriptors, edge-triggered; the guest's has
    // `unwait` too.
    int own_epoll, guest_epoll;
    int event, unwait;          // eventfds, written and never read
    _Atomic(bool) pending;      // there is something to poll; see hark__net_wake
    _Atomic(bool) kicked;       // a tick is wanted; kickers set, the poller clears
    _Atomic(uint32_t) sleepers; // threads that wait in an epoll, or are about to
    pthread_mutex_t polling;    // held by the thread that polls or ticks
    _Atomic(int64_t) due_ns;    // of the next tick; who ticks writes, who waits reads
    _Atomic(bool) own_polls;    // our own thread holds it, or is about to

    // Guests only, one after the other.
    _Atomic(int64_t)
        waited_ns;    // the last wait that ended with something to poll; or, by
                      // who polls, INT64_MAX: that was no traffic
    struct spin spin; // the guest's

    // Who polls; see poll.c.
    _Atomic(bool) guest_waits;     // the guest writes
    _Atomic(uint32_t) guest_looks; // the guest counts
    _Atomic(bool) watching;        // our own thread looks every WATCH_NS
    _Atomic(uint32_t) duty;        // moved by who wakes our thread while it stands by
};

// Opens the descriptors and starts the thread. HARK_ENOMEM: neither is there.
hark_err hark__net_start(struct net *net);
// Ends and joins the thread, if there is one. The descriptors stay: the sides unwatch
// theirs.
void hark__net_halt(struct net *net);
void hark__net_close_descriptors(struct net *net);
// Makes whoever polls look at the sides once more. Any thread.
void hark__net_wake(struct net *net);
// Puts a descriptor into both epolls, under key. False: no memory.
bool hark__net_watch(struct net *net, int fd, uint64_t key);
void hark__net_unwatch(struct net *net, int fd);

// The two transports' sides of a net. open: NULL is no memory. poll: true if it stopped
// at its batch and there may be more. close: after the thread has ended.
struct zmq_side *hark__zmq_open(struct net *net);
bool hark__zmq_poll(struct zmq_side *side);
// Gives memory back that was kept warm for so long. Gives when to look again;
// INT64_MAX: nothing is kept. Poller.
int64_t hark__zmq_rest(struct zmq_side *side);
// A descriptor that was watched under key has something to say. Any thread.
void hark__zmq_signal(struct zmq_side *side, uint64_t key);
void hark__zmq_close(struct zmq_side *side, uint32_t linger_ms);
struct memory_side *hark__memory_open(struct net *net);
bool hark__memory_poll(struct memory_side *side);
void hark__memory_close(struct memory_side *side);

extern const struct transport hark__transport_tcp, hark__transport_ipc,
    hark__transport_memory;

#endif // NET_TRANSPORT_H
