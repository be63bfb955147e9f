// Target: anything that can be told: actors here, or a proxy for those of another node.
//
// The seam to the room above, which embeds the struct and registers one for each node
// that it has ever known. A target stays until the node closes, so a pointer to one
// never dangles; a node that is gone refuses.

#ifndef ACTOR_TARGET_H
#define ACTOR_TARGET_H

#include <pthread.h>
#include <stdatomic.h>

#include "hark/actor.h"
#include "message/message.h"

struct future;

// What is sent, whether or not it stands in a block.
struct outgoing {
    const hark_type *type; // NULL: a failure
    const void *value;     // a struct of type, or a struct failure
    hark_ref from;         // who is answered; null: nobody
    uint64_t correlation;  // as in a message; SYSTEM: the future's number
    // enum message_kind; SYSTEM: a probe (deadlock.h) if there is a value, else a
    // CREDIT, or without any a CANCEL
    uint8_t kind;
    uint16_t credits;      // of an ASK or CREDIT
    uint16_t trace;        // TELL: as in a message. An ASK's is its future's
    struct future *future; // ASK: the asker's, for the answer; else NULL
    const char *call;      // the API's function that sends it, for errors; NULL: none
};

// Borrows message.
static inline struct outgoing
hark__outgoing_of(const struct hark_message *message)
{
    return (struct outgoing){
        .type = message->type,
        .value = message + 1,
        .from = message->from,
        .correlation = message->correlation,
        .kind = message->kind,
        .credits = message->credits,
        .trace = message->trace,
    };
}

enum { CALLED_SIZE = 48 }; // of what an actor is called, with its NUL

struct target {
    const char *node_name; // of its node, for people; constant
    // What the node's actor is called, as far as that is known here. False: it is not.
    // Any thread.
    bool (*call)(struct target *target, hark_ref actor, char out[CALLED_SIZE]);
    // Sends what for `to`; borrows it. An error means that it was not sent, and that
    // the target has accounted for it (a failure to the asker, or a dead letter).
    hark_err (*deliver)(struct target *target, hark_ctx *ctx, hark_ref to,
                        const struct outgoing *what);
    // The caller's turn is over: what deliver has kept back should leave now.
    void (*flush)(struct target *target, hark_ctx *ctx);
    // True while messages can still get there.
    bool (*is_up)(struct target *target);
    // A bit for each link to the node that is up, by its epoch. What came over one that
    // has ended has nobody who waits for it, even if there is another link by now. The
    // room above writes it, any thread reads it.
    _Atomic(uint64_t) live;
};

enum { EPOCHS = 64 };

// Which node is reached through which target. Any thread; locked.
struct targets {
    pthread_mutex_t lock; // guards rows
    struct target_row *rows;
    uint32_t count, capacity;
};

void hark__targets_init(struct targets *targets);
void hark__targets_fini(struct targets *targets);
// Borrows target for good. False: no memory.
bool hark__targets_add(struct targets *targets, uint64_t node, struct target *target);
// NULL: never heard of it.
struct target *hark__targets_find(struct targets *targets, uint64_t node);

#endif // ACTOR_TARGET_H
