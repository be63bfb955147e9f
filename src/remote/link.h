// Link: one connection to another node, in both directions.
//
//              HELLO sent                 WELCOME came
//   connect ---------------> CONNECTING --------------> UP ----+
//   a stranger's HELLO came: WELCOME sent -------------> UP ----+--> DOWN (freed)
//                            CONNECTING ----------------------- +
//        silence, gap, GOODBYE, the transport's end, stop
//
// Lookups that were on a link that has gone are asked again on another one to the same
// endpoint, while their time lasts (redial.c): a node that restarts is found.
//
// Senders append envelopes to the outbox, a batch in the making, and send it off at the
// end of their turn; so one frame carries what a turn has sent. Batches are numbered;
// a gap ends the link, since order and delivery cannot be promised any more.
//
// Peer: a node, known by its incarnation. It outlives its links, as refs to it do.
//
// Locks, in this order: remote, peer, link, pendings. Nothing is sent to actors while
// one is held, since that may lead to another peer. A sender takes the link's only. So
// the memory of a link that is gone stays, and serves another one: a sender that was
// late finds under the lock that it is not the peer's link any more.

#ifndef REMOTE_LINK_H
#define REMOTE_LINK_H

#include <pthread.h>

#include "actor/actor.h"
#include "base/list.h"
#include "net/net.h"
#include "remote/callees.h"
#include "remote/pending.h"
#include "remote/remote.h"
#include "remote/traces.h"
#include "remote/types.h"
#include "wire/bytes.h"
#include "wire/frame.h"

enum {
    REMOTE_TEXT = 300,    // bytes of an error's text
    BEFORE_TEXT = 120,    // bytes of why an earlier try ended
    NODE_NAME = 256,      // with its NUL
    ENDPOINT_SIZE = 300,  // with its NUL
    NODES_INTRODUCED = 64 // remembered by a link; more are introduced again
};

struct remote {
    struct node *node;
    struct net *net;
    struct sink sink;
    struct idler idler; // so that idle workers poll the net
    hark_ctx *ctx;      // the poller's: whoever polls the net just now (net.h)
    uint32_t heartbeat_ms, tick_ms, connect_ms;
    size_t link_limit_bytes, frame_limit_bytes;
    struct pendings pendings;
    struct callees callees;
    pthread_mutex_t lock; // guards links, unused, peers, has_begun and endpoint
    struct list links;    // struct link, by_remote
    struct list unused;   // struct link that are gone, by_remote
    struct peer *peers;   // by next; never shrinks
    uint32_t peer_count;
    bool has_begun;               // idle workers know of the net
    bool is_closing;              // under lock: no link is opened any more
    char endpoint[ENDPOINT_SIZE]; // of our first listener; empty: we are a guest
    int64_t ticked_ns, due_ns; // the last tick, and the next; poller only, as the rest
    int64_t next_sweep_ns;
    struct arrival *arrival; // the frame at hand
    // Keep its memory, and that of its parts; NULL: nobody wanted it yet.
    hark_buffer *arrived[1 + NET_PARTS];
    uint32_t untold;                   // peers of whom a loss is untold
    _Atomic(uint64_t) links_up;        // poller writes; statistics read
    _Atomic(uint64_t) frames_rejected; // poller writes; statistics read
};

struct peer {
    struct target target; // what senders see
    struct remote *remote;
    struct peer *next;
    uint64_t incarnation;         // constant
    char name[NODE_NAME];         // constant once target is registered
    char endpoint[ENDPOINT_SIZE]; // constant likewise; empty: a guest
    uint32_t trace_room;          // rows of traces that it may still add; poller only
    uint8_t epoch;                // of the last link that came up; under lock
    bool untold;                  // a link was lost, and not all of its requests are
                                  // cancelled: no memory. Poller only
    pthread_mutex_t lock;         // guards may_dial and the writing of link
    _Atomic(struct link *) link;  // where messages go out; NULL: none. Taken away under
                                  // the link's own lock
    bool may_dial;                // introduced, and never tried
    _Atomic(bool) is_replaced;    // another node answers at its endpoint; poller writes
    _Atomic(uint32_t) room; // moves when a full link has room again; senders wait on it
    _Atomic(uint32_t) waiting; // for room
};

enum link_state { LINK_CONNECTING, LINK_UP, LINK_DOWN };

// What is wrong, in one line.
struct remote_text {
    char text[REMOTE_TEXT];
};

// A frame that is not acknowledged.
struct sent_frame {
    uint32_t bytes;
    uint32_t tells; // messages in it that would be lost in silence
};

// What messages that go the same way have in common: a repeat says none of it
// (wire/entry.h).
struct route {
    uint64_t target;
    hark_ref sender;
    uint64_t chain_id;
    uint32_t remaining_ms, type;
    uint16_t credits, trace;
    uint8_t kind;
};

struct link {
    pthread_mutex_t lock;  // guards what it says below; it outlives the link
    struct list by_remote; // among links, or unused
    struct remote *remote;
    struct pipe *pipe; // NULL: CONNECTING, and the next tick opens it
    bool is_initiator;
    bool is_redial;               // opened in place of one that has gone
    char endpoint[ENDPOINT_SIZE]; // that we connected to; empty: it came to us
    char before[BEFORE_TEXT];     // why the one before ended; empty: there was none
    uint64_t expected; // incarnation of the introduced node we dialled; 0: any
    struct peer *peer; // NULL before HELLO or WELCOME; poller writes under lock
    // Poller only.
    int64_t opened_ns, heard_ns;
    uint8_t epoch; // constant while it is up; see struct target
    uint64_t seq_in;
    size_t unacked_in; // bytes received since we last sent an ack
    struct types_in types_in;
    struct traces_in traces_in;
    bool has_called; // the batch at hand has asked, and our answers are in the outbox

    // Under the lock.
    enum link_state state;
    const char *broken; // why the poller shall take it down; NULL: all is well
    uint32_t heartbeat_ms;
    uint64_t max_frame_bytes; // of the peer
    bool takes_repeats, takes_parts;
    uint64_t seq_out, ack_out, seq_acked;
    bool ack_wanted; // it was full: a HEARTBEAT has asked for an acknowledgement
    int64_t sent_ns;
    uint64_t seq_ticked; // seq_out as the last tick saw it
    bool is_calm;        // nothing but heartbeats has left since the tick before
    struct bytes outbox; // a batch in the making; FRAME_HEAD_SIZE bytes at least
    uint32_t outbox_tells;
    hark_bytes parts[NET_PARTS]; // that go with the batch, each with a reference
    uint32_t part_count;
    size_t part_bytes;
    bool may_repeat;   // last is in the outbox, with no other envelope behind it
    struct route last; // of its last envelope
    const hark_type *last_type; // of the same
    size_t unacked_bytes;       // sent and not acknowledged
    struct sent_frame *sent;    // of seq_acked + 1 ... seq_out; a circular queue
    uint32_t sent_capacity, sent_first;
    struct types_out types_out;
    struct traces_out traces_out;
    struct callees_out callees_out;
    uint64_t introduced[NODES_INTRODUCED];
    uint32_t introduced_count;
};

// What the batch in the making has, with its parts. The lock is held.
static inline size_t
hark__link_batch_bytes(const struct link *link)
{
    return link->outbox.size + link->part_bytes;
}

// ---- remote.c ----

// A net that listens or connects is open: idle workers wait in it from now on. remote's
// lock is held.
void hark__remote_begin(struct remote *remote);

// ---- link.c ----

// Opens a connection and says HELLO. remote's lock is held. NULL: error tells.
struct link *hark__link_dial(struct remote *remote, const char *endpoint,
                             uint64_t expected, hark_err *out_err, char *error,
                             size_t error_size);
// The link that was opened to endpoint, and may still serve; NULL: none. remote's lock
// is held.
struct link *hark__link_find(struct remote *remote, const char *endpoint);
// Gives a link that the next tick opens. remote's lock is held. NULL: no memory.
struct link *hark__link_plan(struct remote *remote, const char *endpoint);
// Opens it. Error: it could not be. Poller.
hark_err hark__link_open_planned(struct link *link, char *error, size_t error_size);
// Tells who waits only for the link that it is up. Poller.
void hark__link_end_connects(struct link *link);
// A stranger said HELLO. Poller, with no lock held. NULL: no memory.
struct link *hark__link_accept(struct remote *remote, struct pipe *pipe);
// The HELLO or WELCOME that came: the link is up. Poller.
hark_err hark__link_up(struct link *link, const struct hello *hello);
// Ends the link, with a GOODBYE if say_goodbye, fails what waits on it, frees it.
// Poller.
void hark__link_down(struct link *link, int code, const char *why, bool say_goodbye);
// Sends the outbox and a GOODBYE; nothing leaves after it. Any thread, while remote's
// lock is held.
void hark__link_goodbye(struct link *link, int code, const char *why);
// Frees all links, whose pipes the net has closed already. The poller and all senders
// have ended.
void hark__links_free(struct remote *remote);
// Our side of HELLO and WELCOME. remote's lock is held.
struct hello hark__link_hello(struct remote *remote);

// ---- redial.c ----

// A link has gone for a reason that another one to the same endpoint need not meet: its
// lookups whose time is not over go on there. Those that stay have failed. Poller, with
// no lock held.
void hark__link_redial(struct link *gone, const char *why);

// ---- outbox.c ----

// Begins a batch, with a head that is stamped when it leaves. Fails without memory.
void hark__outbox_start(struct bytes *batch);
// Gives back a large one's memory, if nothing is in it: it would be held for ever, and
// glibc gives nothing back that lies below it. The link's lock is held.
void hark__outbox_shrink(struct link *link);
// Lets all parts of the batch but the first `count` go. The link's lock is held.
void hark__link_drop_parts(struct link *link, uint32_t count);
// Sends what the outbox holds, if the link is up. The second: the link's lock is held.
void hark__link_flush(struct link *link);
void hark__link_flush_locked(struct link *link);
// A frame has left, or could not: then the poller takes the link down. The link's lock
// is held.
void hark__link_note_sent(struct link *link, hark_err err);
// Has the poller take the link down; why is a constant. The link's lock is held.
void hark__link_break_locked(struct link *link, const char *why);
// The peer has all up to ack. Poller. False: it acknowledges what we never sent.
bool hark__link_acked(struct link *link, uint64_t ack);
// Messages in frames that the peer has not acknowledged, or that never left. The link's
// lock is held.
uint32_t hark__link_lost(const struct link *link);

// ---- heartbeat.c ----

// Sends a HEARTBEAT with the latest acknowledgement, which also asks for one. The
// second: the link's lock is held.
void hark__link_heartbeat(struct link *link);
void hark__link_heartbeat_locked(struct link *link);
// A HEARTBEAT has come. Answers it, unless the other side has just heard from us, or
// `always`. So one side's clock is enough for both.
void hark__link_answer(struct link *link, bool always);
// This node did not look for so long: that was no silence of the other side. Poller.
void hark__link_was_away(struct link *link, int64_t away_ns, int64_t now_ns);
// Something must leave by now. Poller.
bool hark__link_beats(struct link *link, int64_t now_ns);
// One look at a link's clocks. beats: some link of this node sends a heartbeat now, so
// this one may as well. Gives when the next look is due; INT64_MAX: it went down, and
// is gone. Poller.
int64_t hark__link_tick(struct link *link, int64_t now_ns, bool beats);

// ---- outbound.c ----

// Encodes what for actor `to` of the peer into the outbox. Borrows. Nothing is left
// there on error: HARK_ELIMIT (full), HARK_ETOOBIG, HARK_ENOMEM; error tells.
// HARK_EAGAIN: of an ask, no row is ready (hark__pendings_prepare). The link's lock is
// held.
hark_err hark__link_put(struct link *link, hark_ref to, const struct outgoing *what,
                        struct remote_text *error);

// ---- control_out.c ----

// Adds a row that waits for the link, unless it is up already: *out_is_up, and the row's
// lookup is still the caller's. HARK_EAGAIN: no row is ready, here and in the next; then
// it is, too.
hark_err hark__link_await(struct link *link, const struct pending *pending,
                          bool *out_is_up);
// Adds a row, and sends a LOOKUP of name. Takes pending's lookup, but for HARK_EAGAIN.
// HARK_EAGAIN, HARK_ETOOBIG, HARK_ENOMEM.
hark_err hark__link_lookup(struct link *link, const struct pending *pending,
                           hark_str name);
// Sends the LOOKUP of a row that is there.
hark_err hark__link_lookup_again(struct link *link, uint64_t number,
                                 const struct pending *pending);
// A FOUND, the answer to a LOOKUP; called: what the actor is. Without memory the link
// ends, here and in the next.
void hark__link_found(struct link *link, uint64_t correlation, hark_ref found,
                      const char *called);
// Says what our actor is called.
void hark__link_call(struct link *link, uint64_t actor, const char *name);
// A FAILURE, the answer to an ASK or LOOKUP.
void hark__link_fail(struct link *link, uint64_t correlation, int code,
                     hark_stage stage, const char *text);

// ---- peer.c ----

// Gives the peer of that incarnation, new if need be. remote's lock is held. NULL: no
// memory, or too many.
struct peer *hark__peer_get(struct remote *remote, uint64_t incarnation, hark_str name,
                            hark_str endpoint);
// Peer is up at its endpoint: whoever was there before is gone. remote's lock is held.
void hark__peer_replaces(struct remote *remote, const struct peer *peer);
// Without making one.
struct peer *hark__peer_find(struct remote *remote, uint64_t incarnation);
void hark__peer_free(struct peer *peer);
// A link is up, or has gone: messages go out another way. Poller.
void hark__peer_gain(struct peer *peer, struct link *link);
void hark__peer_lose(struct peer *peer, struct link *link);
// A link to the peer has ended: what came over it to be answered is cancelled. False: not all, for
// want of memory. Poller.
bool hark__peer_tell_loss(struct peer *peer);
// The same of all whose loss is untold.
bool hark__peers_tell_losses(struct remote *remote);
// Ends all waits for room.
void hark__peer_has_room(struct peer *peer);

// ---- session.c ----

// The sink's frame function.
void hark__session_frame(struct sink *sink, struct pipe *pipe, struct arrival *arrival);

// ---- inbound.c ----

// Counts a frame that was no good, and makes a dead letter of it.
void hark__inbound_reject(struct remote *remote, int code, const char *text);

// ---- lookup.c ----

// Answers a lookup of this node's own. Takes the row's spare, if it has one: then it is
// answered, or fails, whether or not there is memory.
void hark__lookup_found(hark_ctx *ctx, const struct pending *pending, hark_ref found);

#endif // REMOTE_LINK_H
