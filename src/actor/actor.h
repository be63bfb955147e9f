// Actor: what the rooms above may ask of this one beside the public API.
//
// A service thread (the link's poller) speaks with a ctx of its own, which has no
// actor: it sends for others, and is told nothing.

#ifndef ACTOR_ACTOR_H
#define ACTOR_ACTOR_H

#include "actor/node.h"
#include "base/idler.h"
#include "hark/future.h"
#include "message/message.h"

// Gives a ctx for a service thread. NULL: no memory.
hark_ctx *hark__service_open(struct node *node);
// Closes it with its seat.
void hark__service_close(hark_ctx *ctx);

// Lets idle workers wait in idler, and call its poll. Once; see base/idler.h.
void hark__node_wait_in(struct node *node, struct idler *idler);
// A service's ctx speaks on that worker's thread now (NULL: on another), until this is
// called again.
void hark__service_enter(hark_ctx *ctx, struct worker *worker);

struct node *hark__ctx_node(const hark_ctx *ctx);
// The pool of whoever speaks; valid until the turn ends.
struct pool *hark__ctx_pool(const hark_ctx *ctx);
// True in an attached thread, which may block.
bool hark__ctx_is_thread(const hark_ctx *ctx);
// Lets every target that was sent to by ctx send what it has kept back.
void hark__ctx_flush(hark_ctx *ctx);

// Takes message, also on error; an error means that it has been accounted for. `from`,
// `kind` and `correlation` are set.
hark_err hark__send(hark_ctx *ctx, hark_ref to, struct hark_message *message);

// Messages for one actor here that reach its mailbox together. Starts as {0}; whoever
// fills it sends it before sending anything else, and before long.
struct chain {
    hark_ref to; // null: nothing is here
    struct hark_message *first, *last;
    uint32_t room; // for more
};

// The general case of hark__chain_add.
void hark__chain_begin(hark_ctx *ctx, struct chain *chain, hark_ref to,
                       struct hark_message *message);
// Sends what is in the chain, and empties it.
void hark__chain_send(hark_ctx *ctx, struct chain *chain);

// As hark__send, but it may be kept in the chain. Any error has been accounted for.
static inline void
hark__chain_add(hark_ctx *ctx, struct chain *chain, hark_ref to,
                struct hark_message *message)
{
    if (chain->room == 0 || to.actor != chain->to.actor || to.node != chain->to.node) {
        hark__chain_begin(ctx, chain, to, message);
        return;
    }
    message->generation = chain->first->generation;
    // relaxed: published when the chain is pushed.
    atomic_store_explicit(&chain->last->next, message, memory_order_relaxed);
    chain->last = message;
    chain->room--;
}

// Borrows what could not be delivered to `to`: an ask fails with code at its asker,
// anything else becomes a dead letter. text may be NULL.
void hark__bounce(hark_ctx *ctx, hark_ref to, const struct outgoing *what, int code,
                  hark_stage stage, const char *text);
// The same of a message, which is freed next: an ask may be marked (owed.h).
void hark__bounce_message(hark_ctx *ctx, hark_ref to, struct hark_message *message,
                          int code, hark_stage stage, const char *text);

// Tells the subscribers of dead letters of one that has no message any more (what came
// over a link and could not be read), and counts it.
void hark__letter(hark_ctx *ctx, hark_ref to, hark_ref from, const char *type, int code,
                  const char *text);

// As hark__send, of what stands in no block yet: borrows it.
hark_err hark__send_value(hark_ctx *ctx, hark_ref to, const struct outgoing *what);

// Fails the ask `correlation` of `asker`, on whatever node. text may be NULL. False:
// there is no memory to say so, and nothing of ctx's that would do.
bool hark__fail(hark_ctx *ctx, hark_ref asker, uint64_t correlation, int code,
                hark_stage stage, const char *text);

// The same whether or not there is memory, of an asker of this node: takes spare, an
// empty block that will do if there is none. spare may be NULL: then it is the same.
void hark__fail_surely(hark_ctx *ctx, hark_ref asker, uint64_t correlation, int code,
                       hark_stage stage, const char *text, struct hark_message *spare);

// A link by which a node asked actors here has ended, and its target says so: cancels
// these requests. Looks at every slot. False: some were not told, for want of
// memory; may be called again.
bool hark__node_lost(hark_ctx *ctx, uint64_t node);
// A cancel came from another node: of what asker asked `to`, by this correlation.
// False: `to` cannot be told, for want of memory, here and in the next.
bool hark__cancel_from(hark_ctx *ctx, hark_ref to, hark_ref asker,
                       uint64_t correlation);
// As above: it takes more items of the stream that answers it.
bool hark__credit_from(hark_ctx *ctx, hark_ref to, hark_ref asker, uint64_t correlation,
                       uint16_t credits);

// What an actor, or thread, of this node is called. NULL: there is none of that word.
// Any thread.
const char *hark__called_here(struct node *node, uint64_t actor);

// Opens a future of ctx's owner for a request that the room above makes itself. site is
// static or NULL. Its id is the correlation. {0}: no memory, or the limit; the error of
// ctx is set.
hark_future hark__ask_open(hark_ctx *ctx, hark_ref to, const hark_type *asked,
                           uint32_t timeout_ms, const char *site);

// Sets what hark_error_of gives, and returns code.
hark_err hark__ctx_error(hark_ctx *ctx, int code, const char *format, ...)
    HARK_PRINTF(3, 4);

#endif // ACTOR_ACTOR_H
