// Owed: failures that find no memory, and so go by a block that is there already.
//
// An ask ends exactly once, whatever memory there is (contract 3). The block of the ask
// in hand cannot leave before the mailbox lets go of it; so it is marked, and whoever
// would free it sends it to its asker instead. An answer that is owed by a promise goes
// by the block of its request (hand.h).

#ifndef ACTOR_OWED_H
#define ACTOR_OWED_H

#include "actor/ctx.h"

// The generation of an ask in hand whose answer found no memory, and that is owed one
// still: of no actor that lives.
#define ASK_STARVED UINT32_MAX

// An answer to this name found no memory. True: it is that of the ask in hand, which
// owes one still, and fails with HARK_ENOMEM if none comes.
bool hark__answer_starved(hark_ctx *ctx, hark_ref asker, uint64_t correlation);
// Fails an ask that its receiver has in hand, or that could not be pushed; borrows it.
// Without memory it is marked, and fails when it is freed by what follows.
void hark__fail_ask(hark_ctx *ctx, struct hark_message *ask, int code, hark_stage stage,
                    const char *text);
// Sends what is owed to its asker. Takes the block, whose first bytes alone are used.
void hark__owed_send(hark_ctx *ctx, hark_ref asker, uint64_t correlation, int code,
                     hark_stage stage, void *block, uint8_t size_class);
// What a marked ask fails with.
int hark__owed_code(const struct hark_message *ask);
hark_stage hark__owed_stage(const struct hark_message *ask);
// Takes a marked ask: it fails.
__attribute__((cold)) void hark__ask_send_owed(hark_ctx *ctx, struct hark_message *ask);
// As hark__message_unchain, of a message that is marked or that somebody keeps.
__attribute__((cold)) void hark__ask_unchain(hark_ctx *ctx,
                                             struct hark_message *message);

// As hark__message_free, of what may be a marked ask.
static inline void
hark__ask_free(hark_ctx *ctx, struct hark_message *message)
{
    if (message->flags & MESSAGE_OWED) {
        hark__ask_send_owed(ctx, message);
    } else {
        hark__message_free(ctx_pool(ctx), message);
    }
}

// As hark__message_drop, of the same.
static inline void
hark__ask_drop(hark_ctx *ctx, struct hark_message *message)
{
    if ((message->flags & (MESSAGE_CHAINED | MESSAGE_OWED)) == MESSAGE_OWED) {
        hark__ask_send_owed(ctx, message);
    } else {
        hark__message_drop(ctx_pool(ctx), message);
    }
}

#endif // ACTOR_OWED_H
