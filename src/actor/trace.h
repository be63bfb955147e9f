// Trace: by which way an ask came about, the asynchronous call stack.
//
// A trace says where an ask was made, by what kind of actor, in the handler of which
// message, and for the sake of which other ask: its parent, by which that message came.
// Programs have few such ways, however many asks go them. So each way is kept once, for as
// long as the node lives, and an ask carries its number in two bytes that its message had
// left. 0 is no trace: nobody knows, or there are 65,535 ways already.
//
// Finding the number is a look into the seat's own few; only a way that is not there takes
// the lock. A row never changes once its number was given out.

#ifndef ACTOR_TRACE_H
#define ACTOR_TRACE_H

#include <pthread.h>
#include <stdint.h>

#include "hark/actor.h"

// One call.
struct trace {
    const char *site;    // "file:line", as the ask gave it; a copy here
    const char *who;     // the asker's behavior; static
    const hark_type *in; // what it was handling; NULL: nothing
    uint16_t parent;     // 0: it is the first
};

enum { TRACES = 65536, TRACE_CACHE = 32 };

// What a seat remembers: the caller's own pointers, and the number.
struct trace_known {
    const char *site;
    const hark_behavior *behavior;
    const hark_type *in;
    uint16_t parent;
    uint16_t number; // 0: none
};

// All of a node.
struct traces {
    pthread_mutex_t lock; // guards count and table
    struct trace *rows;   // [TRACES]; pages come as they are used
    uint16_t *table;      // [2 * TRACES], by hash; 0: free
    uint32_t count;       // rows in use; row 0 is none
};

bool hark__traces_init(struct traces *traces);
void hark__traces_fini(struct traces *traces);
// Gives the number of key, which is copied if it is new. Any thread. 0: no room.
uint16_t hark__traces_find(struct traces *traces, const struct trace *key);

// Gives the number of what known says, but for that, and keeps it there.
uint16_t hark__trace_learn(struct traces *traces, struct trace_known *known);
// Appends a line for each call of a trace to text, which has *used bytes, as snprintf
// does.
void hark__trace_print(hark_ctx *ctx, uint16_t number, char *out, size_t size,
                       size_t *used);

#endif // ACTOR_TRACE_H
