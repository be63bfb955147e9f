// Net: frames of bytes between nodes, whatever carries them.
//
// A net has any number of listeners, and pipes. A pipe is one connection that carries
// whole frames in both directions, in order, or ends. It comes from net_connect, or
// appears at a listener with the first frame of a stranger. The net knows nothing of
// what frames mean and promises nothing about loss: the remote room numbers its frames
// and watches for silence.
//
//   sender's thread --send--> [transport] ~~~ [transport] --whoever polls--> sink
//
// One thread at a time polls, and calls the sink: a guest, which is some thread that
// has nothing else to do (hark__net_wait, hark__net_poll); or the net's own thread,
// which steps in when no guest has looked for a millisecond or two. Who waits keeps the
// clock. Everything else here may be called by any thread.

#ifndef NET_NET_H
#define NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "hark/base.h"

struct hark_hub;
struct net;
struct pipe;

enum {
    NET_PARTS = 16, // in a frame at most, besides its own bytes
};

// Bytes that go with a frame, and are not copied. release(data, handle) gives them
// back, on any thread.
struct net_part {
    const void *data;
    size_t size;
    void (*release)(void *data, void *handle);
    void *handle;
};

// Memory that a sink has kept; release(handle) gives it back, on any thread.
struct kept {
    void *data;
    void *handle;
    void (*release)(void *handle);
};

// Bytes that have come with a frame.
struct arrived_part {
    const void *data;
    size_t size;
};

// A frame that has come. Its bytes, and its parts, are there until the sink returns.
struct arrival {
    const uint8_t *data;
    size_t size;
    const struct arrived_part *parts;
    uint32_t part_count; // NET_PARTS at most
    // 0 at first; the sink says how many bytes of memory it has filled with what the
    // frame holds. After many its thread has a turn before more come.
    size_t made_bytes;
    // Has the bytes of a part, from 1 on, or of the frame itself (0) stay where they
    // are until *out_kept is released. Once each, and before the sink returns. False:
    // it cannot be done (no memory, or they are few).
    bool (*keep)(struct arrival *arrival, uint32_t part, struct kept *out_kept);
};

// Where bytes arrive: the seam to the room above, which owns the struct.
struct sink {
    // What follows is called on this thread; where is what hark__net_poll was given, or
    // NULL.
    void (*begin)(struct sink *sink, void *where);
    // A frame came on pipe. The pipe's own word (hark__pipe_user) is NULL for a
    // stranger's first frame.
    void (*frame)(struct sink *sink, struct pipe *pipe, struct arrival *arrival);
    // The other side is gone (the transport saw it, with the text why). No frame comes
    // after it. The pipe must still be closed. err: HARK_ENONODE, or HARK_EPROTO if
    // what is there does not speak the transport's protocol.
    void (*gone)(struct sink *sink, struct pipe *pipe, hark_err err, const char *why);
    // Called after hark__net_kick, and when what it gave last time has come: the time
    // of the next tick (INT64_MAX: only a kick's).
    int64_t (*tick)(struct sink *sink);
};

struct net_options {
    struct env *env;
    struct sink *sink;
    size_t frame_limit_bytes; // larger frames from outside are dropped by the transport
    struct hark_hub *hub;     // for mem:// endpoints; NULL: none
};

// Gives a net and starts its poller thread lazily, with the first listen or connect.
// NULL: no memory.
struct net *hark__net_open(const struct net_options *options);
// Closes every pipe and listener and joins the thread; frames that were sent get up to
// linger_ms to leave. The sink is not called any more once it returns.
void hark__net_close(struct net *net, uint32_t linger_ms);

// Lets nets of one process reach each other by mem:// endpoints. Counted; any thread.
struct hark_hub *hark__hub_new(void);
struct hark_hub *hark__hub_retain(struct hark_hub *hub);
void hark__hub_release(struct hark_hub *hub);

// Endpoints: "tcp://host:port" (port 0 or * picks one; host * binds all), "ipc://path",
// "ipc://@abstract", "mem://name" (this process only, across systems).
// Writes the endpoint that others can connect to. HARK_EENDPOINT (malformed, unknown
// scheme, unusable address), HARK_EEXIST (in use), HARK_ENOMEM; error gets one line
// that names the endpoint and the reason.
hark_err hark__net_listen(struct net *net, const char *endpoint, char *out_bound,
                          size_t out_bound_size, char *error, size_t error_size);

// Gives a pipe; it may not be connected yet, frames wait in it. For mem:// an absent
// listener is HARK_ENONODE at once; others notice by silence. HARK_EENDPOINT,
// HARK_ENOMEM; error as above. user is the pipe's word.
hark_err hark__net_connect(struct net *net, const char *endpoint, void *user,
                           struct pipe **out_pipe, char *error, size_t error_size);

// Sends one frame: copies data, never blocks. HARK_ENONODE: the other side is gone.
// HARK_ELIMIT: the transport's own queue is full. HARK_ENOMEM.
hark_err hark__pipe_send(struct pipe *pipe, const uint8_t *data, size_t size);
// The same, but takes data, a block of malloc's, in every outcome: a transport that can
// sends it without a copy.
hark_err hark__pipe_give(struct pipe *pipe, uint8_t *data, size_t size);

// Sends a frame with parts: copies data, and takes the parts in every outcome. At most
// NET_PARTS. Only on a pipe that takes parts. Errors as above.
hark_err hark__pipe_send_parts(struct pipe *pipe, const uint8_t *data, size_t size,
                               const struct net_part *parts, uint32_t count);
bool hark__pipe_takes_parts(const struct pipe *pipe);

// Nothing comes from its connection any more. Only in the poller thread, in a sink
// function; and nobody may be sending on it, then or later. Frames sent before still
// leave. The connection itself ends at once if we opened it, else when its other side
// wants.
void hark__pipe_close(struct pipe *pipe);

// The word of the pipe's owner. Set and read in the poller thread, or before the first
// frame can come.
void hark__pipe_set_user(struct pipe *pipe, void *user);
void *hark__pipe_user(const struct pipe *pipe);

// ---- guests ----

// Waits until there is something to poll, hark__net_unwait, or until_ns (INT64_MAX: no
// limit). One guest at a time. True: there is, and the caller polls. Under traffic it
// spins for up to 100 us before it sleeps (ADR 8).
bool hark__net_wait(struct net *net, int64_t until_ns);
// The guest that waited has something to do, perhaps for long: not after each wait, but
// before it goes. Else nobody looks for what comes meanwhile.
void hark__net_leave(struct net *net);
// Ends a guest's wait, or its next one.
void hark__net_unwait(struct net *net);
// Tells the sink what has come. Never waits: what another thread is polling is left to
// it. where goes to the sink's begin.
void hark__net_poll(struct net *net, void *where);

// What has come was no traffic: who waits next need not spin for more, and may wait
// longer, by what a tick says that follows at once. In the sink's frame function.
void hark__net_calm(struct net *net);

// Makes the poller call tick soon. Any thread; cheap when it is already due.
void hark__net_kick(struct net *net);

#endif // NET_NET_H
