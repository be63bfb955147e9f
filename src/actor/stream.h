// Stream: many answers to one ask.
//
//   consumer                                        producer
//   future of the ask  <---- ITEM, ITEM, ... ----   promise, with its request
//     struct stream    ---- SYSTEM_CREDIT ------>     struct producer
//                      <---- FAILURE (the end) --
//
// A stream is an ask whose message carries credits: so many ITEMs its asker takes
// before its one end, a FAILURE, of which HARK_EEND is the good one. Ends, cancels,
// lost nodes and dead actors are those of any ask. An ITEM goes where a reply goes, so
// it is never refused by a mailbox's bound; the credits bound them. They come back in
// parts of half a window, in the system lane, so that a handler that waits for them
// gets them.
//
// A stream is its future's waiter, from its opening until the future is closed. Futures
// for its items (nexts) know only its id, in waiter_arg as long as nobody continues
// them: it holds their ids, and passes by those that have ended.
//
// Only the owner's turn touches any of this.

#ifndef ACTOR_STREAM_H
#define ACTOR_STREAM_H

#include "actor/ctx.h"
#include "actor/request.h"

// A queue that grows; starts as {0}.
struct queue {
    union queued {
        uint64_t id;
        struct hark_message *message;
    } * places;
    uint32_t capacity; // a power of 2, or 0
    uint32_t first, count;
};

// False: no memory.
bool hark__queue_push(struct queue *queue, union queued what);
// It is not empty.
union queued hark__queue_pop(struct queue *queue);
void hark__queue_free(struct queue *queue);

// ---- stream.c ----

// The ask that next, which waits for an item, is served by. out_items: how many have
// come. NULL: the stream is over.
const struct future *hark__item_ask(const hark_ctx *ctx, const struct future *next,
                                    uint32_t *out_items);
// An ITEM came, and is in hand.
void hark__item_came(hark_ctx *ctx, struct hark_message *message);
// The handler or continuation is over: closes what it has opened and not kept.
void hark__streams_close_opened(hark_ctx *ctx);

// ---- sink.c ----

// The stream that answers request is over, or its actor.
void hark__producer_free(hark_ctx *ctx, struct request *request);
// How many items it has sent.
uint32_t hark__producer_sent(const struct request *request);
// Its consumer takes more.
void hark__producer_credit(hark_ctx *ctx, struct request *request, uint16_t credits);

#endif // ACTOR_STREAM_H
