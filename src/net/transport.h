// Transport: one way to carry frames. Private to the room.
//
// A transport's functions for opening and sending may be called by any thread; poll and
// close by the net's poller thread, or by hark__net_close after it has ended.

#ifndef NET_TRANSPORT_H
#define NET_TRANSPORT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/list.h"
#include "net/net.h"

enum { NET_ERROR = 256, NET_BATCH = 256 };

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
    void (*close)(struct pipe *pipe);
};

struct zmq_side;
struct memory_side;

struct net {
    struct env *env;
    struct sink *sink;
    uint32_t tick_ms;
    size_t frame_limit_bytes;
    struct hark_hub *hub;
    pthread_mutex_t lock; // guards starting of the thread and of the sides
    struct thread *thread;
    int epoll, event; // event: an eventfd that wakes the poller
    _Atomic(bool)
        woken; // event is (about to be) written; wakers set, the poller clears
    _Atomic(bool) kicked;       // a tick is wanted; kickers set, the poller clears
    _Atomic(bool) stopping;     // close has begun
    _Atomic(uint32_t) pipes;    // open ones; ticks are for them
    struct zmq_side *zmq;       // NULL: not used yet
    struct memory_side *memory; // NULL: no hub
};

// Makes the poller look at its sides once more. Any thread.
void hark__net_wake(struct net *net);
// A pipe has come, or gone.
void hark__net_count(struct net *net, int more);

// The two transports' sides of a net. open: NULL is no memory. poll: true if it stopped
// at its batch and there may be more. close: after the thread has ended.
struct zmq_side *hark__zmq_open(struct net *net);
bool hark__zmq_poll(struct zmq_side *side);
void hark__zmq_close(struct zmq_side *side, uint32_t linger_ms);
struct memory_side *hark__memory_open(struct net *net);
bool hark__memory_poll(struct memory_side *side);
void hark__memory_close(struct memory_side *side);

extern const struct transport hark__transport_tcp, hark__transport_ipc,
    hark__transport_memory;

#endif // NET_TRANSPORT_H
