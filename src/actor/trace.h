// Trace: by which way something came about, the asynchronous call stack.
//
// A trace says where an ask was made, a timer armed or an actor spawned, by whom, in
// the handler of which message, and for the sake of which other call: its parent, by
// which that message came. Programs have few such ways, however many asks go them. So
// each way is kept once, for as long as the node lives, and a message carries its
// number in two bytes that it had left. 0 is no trace: nobody knows, or there are
// 65,535 ways already.
//
// Ways of other nodes come over links (remote/traces.h), and are rows like others, with
// their node's name. Those share a half of the table, so that no peer uses up all.
//
// Finding the number is a look into the seat's own few; only a way that is not there
// takes the lock. A row never changes once its number was given out.

#ifndef ACTOR_TRACE_H
#define ACTOR_TRACE_H

#include <pthread.h>
#include <stdint.h>

#include "hark/actor.h"

enum trace_kind {
    TRACE_ASKED,
    TRACE_ARMED,
    TRACE_SPAWNED
}; // the numbers are the wire's

// One call. Texts may be NULL.
struct trace {
    const char *site; // "file:line", as the caller gave it; NULL: unknown
    const char *who;  // the caller's behavior, or a thread's name
    const char *in;   // type of the message that it was handling; NULL: none
    const char *node; // whose; NULL: it is of this node
    uint16_t parent;  // 0: it is the first
    uint8_t kind;     // enum trace_kind, or a later version's
};

enum {
    TRACES = 65536,
    TRACES_FOREIGN = TRACES / 2, // that came over links, of all peers
    TRACE_CACHE = 32,
    TRACE_NAME = 64,  // of a thread, with its NUL
    TRACE_DEPTH = 64, // calls that are looked at, told or printed of one trace
};

#define TRACE_UNKNOWN UINT32_MAX

// What a seat remembers: the caller's own pointers, and the number.
struct trace_known {
    const char *site;
    const hark_behavior *behavior; // NULL: a thread
    const hark_type *in;
    uint32_t about;  // the parent, and the kind above it; TRACE_UNKNOWN: nothing here
    uint16_t number; // 0: none
};

// All of a node.
struct traces {
    pthread_mutex_t lock; // guards counts and table
    struct trace *rows;   // [TRACES]; pages come as they are used
    uint16_t *table;      // [2 * TRACES], by hash; 0: free
    uint32_t count;       // rows in use; row 0 is none
    uint32_t foreign;     // of those, what came over links
};

bool hark__traces_init(struct traces *traces);
void hark__traces_fini(struct traces *traces);
// Gives the number of key, whose texts are copied if it is new. Any thread. 0: no room.
uint16_t hark__traces_find(struct traces *traces, const struct trace *key);
// The same of one that came over a link; if it is new it takes one of *room. 0: none is
// left there, or for links.
uint16_t hark__traces_find_foreign(struct traces *traces, const struct trace *key,
                                   uint32_t *room);
// As hark__traces_find, or the nearest parent that is the same call. So a loop, in
// which each answer makes the next ask, is one way and not a longer one each time.
uint16_t hark__traces_recur(struct traces *traces, const struct trace *key);

// The row of a number that was given out.
static inline const struct trace *
hark__trace_row(const struct traces *traces, uint16_t number)
{
    return &traces->rows[number];
}

// Gives the number of what known says, but for that, and keeps it there. For
// hark__trace_of only.
uint16_t hark__trace_learn(hark_ctx *ctx, struct trace_known *known);
// The general case of hark__trace_cause.
uint16_t hark__trace_outside(const hark_ctx *ctx);

// Appends a line for each call of a trace to out, which has *used bytes, as snprintf
// does. is_own: the first is an ask of ctx's owner.
void hark__trace_print(hark_ctx *ctx, uint16_t number, bool is_own, char *out,
                       size_t size, size_t *used);
// Appends a line for who has spawned ctx's actor, and what led to that; nothing for a
// thread.
void hark__trace_print_birth(hark_ctx *ctx, char *out, size_t size, size_t *used);

#endif // ACTOR_TRACE_H
