#include "remote/inbound.h"

#include <inttypes.h>
#include <stdio.h>

#include "actor/chain_id.h"
#include "remote/arrival.h"
#include "remote/control.h"
#include "wire/entry.h"
#include "wire/payload.h"

enum {
    ACK_EVERY = 256 * 1024, // bytes received that make us acknowledge at once
    EXPANSION = 8,          // a decoded message may be this much larger than a frame
};

void
hark__inbound_fail(struct link *link, const struct envelope *envelope, int code,
                   hark_stage stage, const char *text)
{
    struct pending row;

    if (hark__pending_take_to_fail(&link->remote->pendings, envelope->correlation,
                                   &row)) {
        hark__fail_surely(link->remote->ctx, row.asker, row.correlation, code, stage,
                          text, row.spare);
    }
}

void
hark__inbound_refuse_answer(struct link *link, const struct envelope *envelope)
{
    hark__inbound_fail(link, envelope, HARK_EPROTO, HARK_STAGE_REPLY_LOST,
                       "the other side answered another question");
}

static void
late(struct link *link)
{
    hark__letter(link->remote->ctx, (hark_ref){link->remote->node->id, 0},
                 (hark_ref){link->peer->incarnation, 0}, NULL, HARK_ESTALE,
                 "an answer came that nobody waits for");
}

// ---- messages ----

// What the entries of one batch have in common.
struct batch {
    struct link *link;
    struct pool *pool;
    struct chain chain; // messages that are about to be sent
    struct entry entry;
    hark_ref from;     // of the last TELL or ASK
    uint16_t trace;    // of the same, here
    size_t made_bytes; // of messages
    struct payload_options options;
    char why[REMOTE_TEXT]; // what is wrong with an entry
};

// Says why a payload of that type cannot be read. NULL: never declared.
static __attribute__((cold, noinline)) void
explain_type(struct batch *batch, const struct type_in *type, uint32_t number)
{
    char *why = batch->why;
    size_t size = sizeof batch->why;

    if (type != NULL) {
        snprintf(why, size, "message type %.100s at node %.50s: %.100s", type->name,
                 batch->link->remote->node->name, type->why);
    } else if (number == TYPE_NONE) {
        snprintf(why, size, "it names no type");
    } else {
        snprintf(why, size, "type %" PRIu32 " was never declared", number);
    }
}

static void
batch_begin(struct batch *batch, struct link *link)
{
    struct remote *remote = link->remote;
    size_t half = remote->arrival->size / 2;

    batch->link = link;
    batch->pool = hark__ctx_pool(remote->ctx);
    batch->chain = (struct chain){.room = 0};
    batch->made_bytes = 0;
    batch->entry.is_repeatable = false; // no more of {0} is needed
    batch->entry.is_open = false;
    batch->options = (struct payload_options){
        .limit_bytes = remote->frame_limit_bytes * EXPANSION,
        .error = batch->why,
        .error_size = sizeof batch->why,
        // What is shared keeps all of the frame: not for less than a half of it.
        .share_least = half > SHARE_LEAST ? half : SHARE_LEAST,
        .share = hark__arrival_share,
        .share_arg = remote,
        .find_part = remote->arrival->part_count > 0 ? hark__arrival_find_part : NULL,
        .part_arg = remote,
    };
}

// What was read so far is sent before anything else is done.
static inline void
send_chain(struct batch *batch)
{
    hark__chain_send(batch->link->remote->ctx, &batch->chain);
}

// Gives the message of the envelope at hand. NULL: *out_err and batch->why say what is
// wrong, and the chain is sent.
static inline struct hark_message *
read_message(struct batch *batch, hark_err *out_err)
{
    struct envelope *envelope = &batch->entry.envelope;
    struct type_in *type = hark__types_in_find(&batch->link->types_in, envelope->type);
    struct hark_message *message = NULL;

    if (type == NULL || type->local == NULL) {
        explain_type(batch, type, envelope->type);
        *out_err = HARK_ETYPE;
    } else {
        batch->options.guess = &type->guess;
        *out_err = hark__payload_decode(batch->pool, type->local, &envelope->payload,
                                        &batch->options, &message);
    }
    if (message == NULL) {
        if (*out_err == HARK_ENOMEM) {
            snprintf(batch->why, sizeof batch->why, "no memory");
        }
        send_chain(batch);
        return NULL;
    }
    batch->made_bytes += sizeof *message + message->size;
    return message;
}

static int64_t
deadline_ns(const struct link *link, uint32_t remaining_ms)
{
    return remaining_ms == HARK_FOREVER
               ? INT64_MAX
               : link->heard_ns + (int64_t)remaining_ms * NS_PER_MS;
}

// A TELL or ASK that cannot be read.
static __attribute__((cold, noinline)) void
refuse_user(struct batch *batch, hark_ref to, hark_err err)
{
    struct remote *remote = batch->link->remote;
    const struct envelope *envelope = &batch->entry.envelope;

    if (envelope->kind == ENVELOPE_ASK) {
        hark__fail(remote->ctx, batch->from, envelope->correlation, err,
                   HARK_STAGE_SENT, batch->why);
    } else {
        const struct type_in *type =
            hark__types_in_find(&batch->link->types_in, envelope->type);

        hark__letter(remote->ctx, to, batch->from, type != NULL ? type->name : NULL,
                     err, batch->why);
    }
}

// The chain that a TELL or ASK says it is of. 0: it says none.
static inline uint64_t
chain_of(const struct envelope *envelope)
{
    uint64_t chain_id = envelope->chain & ~CHAIN_UNSEEN;

    return chain_id != 0 ? chain_id | CHAIN_UNSEEN : 0;
}

// Makes message, which was read, the TELL or ASK that it is.
static inline void
address(struct batch *batch, struct hark_message *message, uint64_t chain_id)
{
    const struct envelope *envelope = &batch->entry.envelope;

    message->from = batch->from;
    message->credits = inbound_credits(envelope);
    message->trace = batch->trace;
    message->deadline_ns = deadline_ns(batch->link, envelope->remaining_ms);
    if (envelope->kind == ENVELOPE_TELL) {
        message->correlation = chain_id; // kind is MESSAGE_TELL, 0
        return;
    }
    message->kind = MESSAGE_ASK;
    message->epoch = batch->link->epoch;
    message->correlation = envelope->correlation;
    if (chain_id != 0) {
        hark__message_put_chain_id(message, chain_id);
    }
}

static inline void
take_user(struct batch *batch)
{
    struct remote *remote = batch->link->remote;
    const struct envelope *envelope = &batch->entry.envelope;
    bool is_ask = envelope->kind == ENVELOPE_ASK;
    hark_ref to = {remote->node->id, envelope->target};
    uint64_t chain_id = chain_of(envelope);
    hark_err err;

    batch->options.room = chain_id != 0 && is_ask ? MESSAGE_CHAIN_ROOM : 0;
    if (!batch->entry.is_repeat) {
        batch->from = is_ask ? inbound_asker(batch->link, envelope) : envelope->sender;
        batch->trace = hark__traces_in_find(&batch->link->traces_in, envelope->trace);
    }
    struct hark_message *message = read_message(batch, &err);
    if (message == NULL) {
        refuse_user(batch, to, err);
        return;
    }
    address(batch, message, chain_id);
    hark__chain_add(remote->ctx, &batch->chain, to, message);
}

// The row stays until its reply has been read: it may have to fail.
static void
take_reply(struct batch *batch)
{
    struct link *link = batch->link;
    const struct envelope *envelope = &batch->entry.envelope;
    struct pending pending;
    hark_err err;

    if (!inbound_find_row(link, envelope, &pending)) {
        send_chain(batch);
        late(link);
        return;
    }
    if (pending.kind > PENDING_STREAM) {
        send_chain(batch);
        hark__inbound_refuse_answer(link, envelope);
        return;
    }
    struct hark_message *message = read_message(batch, &err);
    if (message == NULL) {
        hark__inbound_fail(link, envelope, err, HARK_STAGE_REPLY_LOST, batch->why);
        return;
    }
    // If its asker has just let go of it, that finds no future there.
    (void)hark__pending_take(&link->remote->pendings, envelope->correlation, &pending);
    message->kind = MESSAGE_REPLY;
    message->from = envelope->sender;
    message->correlation = pending.correlation;
    hark__chain_add(link->remote->ctx, &batch->chain, pending.asker, message);
}

// The stream fails. Its row stays until its asker has heard of that, so that his CANCEL
// can name it.
static void
fail_stream(struct batch *batch, const struct pending *pending, int code,
            const char *text)
{
    struct remote *remote = batch->link->remote;
    uint64_t number = batch->entry.envelope.correlation;

    hark__fail_surely(remote->ctx, pending->asker, pending->correlation, code,
                      HARK_STAGE_REPLY_LOST, text,
                      hark__pending_take_spare(&remote->pendings, number));
}

// The row that an ITEM is for; false: there is none, or it takes no ITEM, and that is
// accounted for. A row stays until its end: then a CANCEL can still name it.
static bool
find_row(struct batch *batch, struct pending *out_pending)
{
    struct link *link = batch->link;
    const struct envelope *envelope = &batch->entry.envelope;
    const struct pending *pending = out_pending;

    if (!hark__pending_spend(&link->remote->pendings, envelope->correlation,
                             out_pending)
        || pending->link->peer != link->peer) {
        send_chain(batch);
        late(link);
        return false;
    }
    if (pending->kind != PENDING_STREAM) {
        send_chain(batch);
        hark__inbound_refuse_answer(link, envelope);
        return false;
    }
    if (pending->credits == 0) {
        send_chain(batch);
        fail_stream(batch, pending, HARK_EPROTO,
                    "more items came than it has credits for");
        return false;
    }
    return true;
}

static void
take_item(struct batch *batch)
{
    hark_ctx *ctx = batch->link->remote->ctx;
    const struct envelope *envelope = &batch->entry.envelope;
    struct pending pending;
    hark_err err;

    if (!find_row(batch, &pending)) {
        return;
    }
    struct hark_message *message = read_message(batch, &err);
    if (message == NULL) {
        fail_stream(batch, &pending, err, batch->why);
        return;
    }
    message->kind = MESSAGE_ITEM;
    message->from = envelope->sender;
    message->correlation = pending.correlation;
    hark__chain_add(ctx, &batch->chain, pending.asker, message);
}

// ---- batches ----

// An envelope of the runtime's own.
static __attribute__((noinline)) void
take_own(struct batch *batch)
{
    const struct envelope *envelope = &batch->entry.envelope;

    send_chain(batch);
    hark__control_take(batch->link, envelope);
}

static inline void
take_envelope(struct batch *batch)
{
    if (batch->entry.envelope.kind <= ENVELOPE_ASK) {
        take_user(batch);
    } else if (batch->entry.envelope.kind == ENVELOPE_REPLY) {
        take_reply(batch);
    } else if (batch->entry.envelope.kind == ENVELOPE_ITEM) {
        take_item(batch);
    } else {
        take_own(batch);
    }
}

// Takes one entry, of which err tells whether it could be read. NULL: all is well. Else
// why the link must end.
static inline const char *
take_entry(struct batch *batch, hark_err err)
{
    if (err != HARK_OK) {
        send_chain(batch);
        hark__inbound_reject(batch->link->remote, err, batch->why);
    } else if (batch->entry.kind == ENTRY_ENVELOPE) {
        take_envelope(batch);
    } else if (hark__control_declare(batch->link, &batch->entry) != HARK_OK) {
        return "its declarations of types are out of order, or too many";
    }
    return NULL;
}

// As above, of all.
static const char *
take_entries(struct link *link, struct reader *entries)
{
    const char *fault = NULL;
    struct batch batch;
    hark_err err;

    batch_begin(&batch, link);
    while (
        fault == NULL
        && hark__entry_next(entries, &batch.entry, &err, batch.why, sizeof batch.why)) {
        fault = take_entry(&batch, err);
    }
    send_chain(&batch);
    link->remote->arrival->made_bytes = batch.made_bytes;
    if (link->has_called) {
        link->has_called = false;
        hark__link_flush(link);
    }
    return fault;
}

bool
hark__inbound_batch(struct link *link, struct frame *frame, size_t size)
{
    const char *why = NULL;

    if (frame->seq <= link->seq_in) {
        return true; // we have it already
    }
    if (frame->seq != link->seq_in + 1) {
        why = "frames are missing";
    } else {
        link->seq_in = frame->seq;
        link->unacked_in += size;
        pthread_mutex_lock(&link->lock);
        link->ack_out = frame->seq;
        pthread_mutex_unlock(&link->lock);
        why = take_entries(link, &frame->entries);
    }
    if (why != NULL) {
        hark__link_down(link, HARK_EPROTO, why, true);
        return false;
    }
    if (link->unacked_in > ACK_EVERY) {
        link->unacked_in = 0;
        hark__link_heartbeat(link);
    }
    return true;
}

void
hark__inbound_reject(struct remote *remote, int code, const char *text)
{
    // relaxed: a count with one writer.
    atomic_fetch_add_explicit(&remote->frames_rejected, 1, memory_order_relaxed);
    hark__letter(remote->ctx, (hark_ref){remote->node->id, 0}, (hark_ref){0, 0}, NULL,
                 code, text);
}
