// Attached threads: a slot whose reader is a thread of the application.
//
// While the thread runs its own code it stays the reader of its mailbox, so that
// senders find it "running" and need no system call. Only when it rests does it go
// idle; whoever then finds it idle sets its token and wakes it.
//
//   RUNNING --rest: mailbox asleep--> RESTING --token--------------> RUNNING
//                                        \----time is up, claim----> RUNNING
//
// attached.c has its life, thread.c what it takes in and waits for.

#ifndef ACTOR_ATTACHED_H
#define ACTOR_ATTACHED_H

#include <pthread.h>

#include "actor/ctx.h"
#include "base/spin.h"

enum token {
    TOKEN_NONE, // we sleep, or soon will
    TOKEN_SET,
    TOKEN_SEEN, // we look at it, and need no wake
};

struct attached {
    hark_ctx ctx;
    struct list by_node; // in node->threads
    pthread_t id;
    bool stopping;   // the system stops: waits end
    struct job *job; // on a thread of an executor; NULL: attached by its user
    struct hark_message *first, *last; // told, and not received yet; chained by next
    struct last_error last_error;
    struct thread_wait wait; // of hark_await or hark_receive, the innermost
    struct spin spin;
    int64_t waited_ns;       // how long the last wait took; INT64_MAX: none ended
    _Atomic(uint32_t) token; // enum token; set by who found us idle
};

static inline struct attached *
attached_of(const hark_ctx *ctx)
{
    return ctx->slot->state.attached;
}

// thread.c

// The message in hand (NULL: none) leaves the chain: what was told waits for
// hark_receive.
void hark__attached_let_go(struct attached *attached, struct hark_message *message);
// Takes in all that is there; what is in hand leaves the chain, so that nothing told is
// overlooked.
void hark__attached_settle(struct attached *attached);

#endif // ACTOR_ATTACHED_H
