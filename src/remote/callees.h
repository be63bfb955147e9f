// Callees: what actors of other nodes are called, so that errors can say it.
//
// With the first message to an actor over a link goes a question, what that is; the
// answer comes with whatever comes next. A lookup's answer says it at once. What was
// heard is kept in one table for all peers, of a fixed size: of a full set the oldest
// goes, and is unknown again. Nothing is trusted, and nothing else depends on it.
//
// callees: any thread; locked. callees_out: under its link's lock.

#ifndef REMOTE_CALLEES_H
#define REMOTE_CALLEES_H

#include <pthread.h>

#include "actor/target.h"
#include "wire/bytes.h"
#include "wire/entry.h"

enum {
    CALLEE_SETS = 1024,
    CALLEES_OF_SET = 4,
    CALLEES_ASKED = 256,   // a link remembers so many of those that it has asked for
    CALLEES_AT_ONCE = 256, // questions on a link, until its next looks at the clock
    CALLEES_A_TICK = 16,   // further ones for each of these
    CALLEE_ENTRY = 64,     // bytes that a question or an answer takes at most
};

struct callee {
    hark_ref actor; // null: free
    char name[CALLED_SIZE];
};

// What we have heard.
struct callees {
    pthread_mutex_t lock; // guards rows
    struct callee *rows;  // sets, one behind the other; NULL: nothing heard yet
};

void hark__callees_init(struct callees *callees);
void hark__callees_fini(struct callees *callees);
// Keeps what its own node says that actor is called. Without memory, or of an empty
// name, nothing.
void hark__callees_learn(struct callees *callees, hark_ref actor, hark_str name);
// False: it is not known.
bool hark__callees_find(struct callees *callees, hark_ref actor, char out[CALLED_SIZE]);

// What we have asked on a link.
struct callees_out {
    uint64_t *asked; // actor words, by their slots; NULL: none yet
    uint32_t left;   // questions that may still be asked
};

void hark__callees_out_fini(struct callees_out *out);
// A message goes to that actor: it was not asked for, as far as we remember.
static inline bool
hark__callees_wants(const struct callees_out *out, uint64_t actor)
{
    return out->left > 0 && actor != 0
           && (out->asked == NULL || out->asked[actor % CALLEES_ASKED] != actor);
}
// Appends the question.
void hark__callees_ask(struct callees_out *out, uint64_t actor, struct bytes *bytes);
// Time has passed: more may be asked.
static inline void
hark__callees_tick(struct callees_out *out)
{
    uint32_t left = out->left + CALLEES_A_TICK;

    out->left = left < CALLEES_AT_ONCE ? left : CALLEES_AT_ONCE;
}

#endif // REMOTE_CALLEES_H
