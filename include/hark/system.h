// hark/system.h - start a system, attach threads, listen, observe, stop.
//
// A process may hold many systems. All functions may be called from any thread, except
// that a hark_ctx belongs to its thread, and nothing may be called once hark_stop began
// but by threads that it waits for.

#ifndef HARK_SYSTEM_H
#define HARK_SYSTEM_H

#include <hark/base.h>
#include <hark/future.h>
#include <hark/message.h>

HARK_BEGIN_DECLS

// Lets systems of one process reach each other by mem:// endpoints. Opaque; counted.
typedef struct hark_hub hark_hub;
// Gives a hub; NULL: no memory.
HARK_CHECKED hark_hub *hark_hub_new(void);
// Drops the caller's reference; systems that use it hold their own.
HARK_API void hark_hub_free(hark_hub *hub);

// Told of a future that failed and was let go of with nobody having looked: once each,
// with the place that made it (error->site). Runs in the turn of its owner, whose ctx
// it gets, on any thread; it may tell, but should be quick. error is borrowed.
typedef void hark_unseen_failure(hark_ctx *ctx, const hark_error *error, void *arg);

// How a system is set up. All zero is a good default.
typedef struct hark_options {
    uint32_t workers;        // threads that run actors; 0: one a processor; at most 64
    const char *name;        // of this node, in errors; NULL: as node-70c4, by its
                             // incarnation, as refs are printed
    uint32_t actor_limit;    // actors and attached threads alive at once; above 1,024
                             // a thread may hold back 0.2 %. 0: 16 million
    uint32_t mailbox_limit;  // default of each actor; 0: no limit
    uint32_t ask_timeout_ms; // default of each ask; 0: 5 s
    uint32_t future_limit;   // open futures an actor or thread; 0: 4 million
    uint32_t waiting_limit;  // handlers that wait in hark_await at once; 0: 1 million
    size_t stack_bytes;      // of the stack that a handler runs on, at least 16 KiB, in
                             // whole pages, taken from the system as it is touched;
                             // 0: 64 KiB
    bool report_overflow;    // handle SIGSEGV while this system lives: a handler that
                             // overflows its stack ends the process with a line that
                             // names its actor. Other faults go where they went before.
                             // false: no signal is touched, and it ends without a word
    uint32_t heartbeat_ms;   // silence after which a node is down; 0: 3 s. Time in
                             // which this process did not run is no silence
    uint32_t connect_ms;     // wait for a new link to open; 0: 5 s
    size_t link_limit_bytes; // unacknowledged bytes to one peer; 0: 256 MiB. Answers
                             // are not held back: at four times as much, or 16 MiB,
                             // the link is down
    size_t frame_limit_bytes;      // largest frame from a peer; 0: 64 MiB
    hark_hub *hub;                 // for mem:// endpoints; NULL: none
    const hark_type *const *types; // further message types to know; NULL: none
    size_t type_count;
    hark_unseen_failure *on_unseen_failure; // NULL: they are only counted
    void *on_unseen_failure_arg;            // for it; must outlive the system

    // For blocking work that names no executor, and what executors default to
    // (hark/blocking.h).
    uint32_t blocking_limit;       // threads at once; 0: 64
    uint32_t blocking_queue_limit; // work that waits for one; HARK_NO_QUEUE: none;
                                   // 0: 65,536
    uint32_t blocking_idle_ms;     // after which a thread without work ends; 0: 5 s
} hark_options;

// As hark_start, with the program's types given as a range.
HARK_CHECKED hark_system *hark_start_with(const hark_options *options,
                                          const hark_type *const *types_begin,
                                          const hark_type *const *types_end);

// The ends of this program's, or shared object's, section of types; the linker makes
// them.
extern const hark_type *const __start_hark_types[]
    __attribute__((weak, visibility("hidden")));
extern const hark_type *const __stop_hark_types[]
    __attribute__((weak, visibility("hidden")));

// Gives a running system that knows every message type of the calling program or shared
// object. options may be NULL. NULL: errno says why: ENOMEM (no memory or threads) or
// EINVAL (an option that cannot be, or two types of one name with other fields).
static inline hark_system *
hark_start(const hark_options *options)
{
    return hark_start_with(options, __start_hark_types, __stop_hark_types);
}

// Stops every actor, ends every open ask with HARK_ESTOPPED, closes links, joins
// threads and frees all memory. Detaches the calling thread first, as often as it is
// attached: its ctx and what that gave are gone, whatever is returned. Other attached
// threads find their waits ended with HARK_ESTOPPED and must detach themselves. Must
// not be called in an actor, nor in blocking work. HARK_ETIMEOUT: a handler or blocking
// work did not return, or a thread did not detach, within timeout_ms (HARK_FOREVER: no
// limit); then the system is left stopping and may be stopped again. HARK_ENOMEM
// likewise. NULL is allowed.
HARK_API hark_err hark_stop(hark_system *system, uint32_t timeout_ms);

// Gives a ctx for the calling thread, which may have several, of one system or of many.
// NULL: no system, no memory, the actor limit, or the system stops.
HARK_CHECKED hark_ctx *hark_attach(hark_system *system);
// Takes ctx. Drops its futures and replies; what was told to it and not received
// becomes dead letters. Must be the thread that attached. NULL is allowed.
HARK_API void hark_detach(hark_ctx *ctx);

// Waits for a message that was told to this thread (hark_self). Gives it: the caller
// frees it with hark_message_free. Continuations of the thread's futures run meanwhile.
// NULL, with the reason in hark_error_of(ctx): HARK_ETIMEOUT (timeout_ms passed; 0: do
// not wait), HARK_ESTOPPED (the system stops), HARK_ENOTSUP (in an actor). An ask to a
// thread fails with HARK_ENOHANDLER once the thread receives or awaits.
HARK_CHECKED hark_message *hark_receive(hark_ctx *ctx, uint32_t timeout_ms);

// Lets other nodes reach this one at "tcp://host:port", "ipc://path" or "mem://name".
// out_bound (of size bytes, may be NULL) gets the endpoint that others use: port 0
// becomes the port chosen. Off loopback the link is neither encrypted nor
// authenticated. HARK_EENDPOINT, HARK_EEXIST, HARK_ENOMEM, HARK_EINVAL;
// hark_error_of(ctx) tells more.
HARK_CHECKED hark_err hark_listen(hark_ctx *ctx, const char *endpoint, char *out_bound,
                                  size_t size);

// Opens the link to the node at endpoint, or finds the one that is open. Blocks for up
// to connect_ms and a little more; only in an attached thread. HARK_EENDPOINT,
// HARK_ENONODE (nobody answered), HARK_EPROTO (it does not speak hark, or no version of
// ours), HARK_ENOTSUP; hark_error_of(ctx) tells more.
HARK_CHECKED hark_err hark_connect(hark_ctx *ctx, const char *endpoint);

// Why a message was not delivered. Told to the subscribers of dead letters.
HARK_MESSAGE(hark_dead_letter, (i32, code), (str, reason), (str, type), (str, text),
             (ref, to), (ref, from))

// Tells each later dead letter to subscriber (an actor, or an attached thread), until
// it ends. Dead letters about dead letters are only counted. At most 16 subscribers:
// HARK_ELIMIT. HARK_EINVAL. hark_error_of(ctx) tells more.
HARK_CHECKED hark_err hark_dead_letters_subscribe(hark_ctx *ctx, hark_ref subscriber);

// Counts since the start. Each is exact once the system is quiet.
typedef struct hark_stats {
    uint64_t actors;          // alive now; attached threads and blocking work too
    uint64_t spawned;         // ever
    uint64_t dead_letters;    // messages that nobody got
    uint64_t failures_unseen; // futures that failed with nobody looking
    uint64_t links;           // up now
    uint64_t frames_rejected; // from outside: malformed, foreign or out of order
    uint64_t steals;          // tasks that moved between workers
    uint64_t parks;           // times that a worker went to sleep
    uint64_t cancelled;       // asks not run, since nobody waited for them any more
    uint64_t expired;         // asks not run, since their time ran out before

    // Of all executors (hark/blocking.h).
    uint64_t blocking_threads; // alive now
    uint64_t blocking_started; // threads ever started
    uint64_t blocking_waiting; // pieces of work that wait for a thread now
} hark_stats;

// Fills *out_stats; all zero for no system. Borrows; any thread.
HARK_API void hark_stats_read(hark_system *system, hark_stats *out_stats);

// The most stack that any handler has needed so far: bytes, in whole pages. For setting
// hark_options.stack_bytes. Looks at each stack: some microseconds a stack. 0 for no
// system. Borrows; any thread.
HARK_API size_t hark_stack_deepest(hark_system *system);

HARK_END_DECLS

#endif // HARK_SYSTEM_H
