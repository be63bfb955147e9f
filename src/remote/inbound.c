// Inbound: frames from other nodes, on the net's poller thread. Nothing here is
// trusted: a bad entry harms itself, a bad frame its link.

#include "remote/link.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actor/chain_id.h"
#include "actor/names.h"
#include "actor/probe.h"
#include "message/buffer.h"
#include "message/failure.h"
#include "wire/entry.h"
#include "wire/payload.h"

#define NS_PER_MS INT64_C(1000000)

enum {
    ACK_EVERY = 256 * 1024,  // bytes received that make us acknowledge at once
    NOBODY = -1,             // the actor word of a guest that gave no ref
    EXPANSION = 8,           // a decoded message may be this much larger than a frame
    SHARE_LEAST = 32 * 1024, // bytes of a message that are not copied out of the frame
};

// ---- answers to requests of ours ----

void
hark__inbound_found(hark_ctx *ctx, const struct pending *pending, hark_ref found)
{
    struct hark_message *message = hark__message_new(
        hark__ctx_pool(ctx), &hark_found_type, &(hark_found){.actor = found});

    if (message != NULL) { // else the asker's clock ends it
        message->kind = MESSAGE_REPLY;
        message->correlation = pending->correlation;
        (void)hark__send(ctx, pending->asker, message);
    }
}

// Takes the row that an answer is for, if the answer's peer is the one that was asked.
static bool
take_row(struct link *link, const struct envelope *envelope,
         struct pending *out_pending)
{
    struct pendings *pendings = &link->remote->pendings;

    return hark__pending_read(pendings, envelope->correlation, out_pending)
           && out_pending->link->peer == link->peer
           && hark__pending_take(pendings, envelope->correlation, out_pending);
}

// An answer of a kind that does not answer the request: the request ends all the same.
static __attribute__((cold, noinline)) void
refuse_answer(struct link *link, const struct pending *pending)
{
    hark__fail(link->remote->ctx, pending->asker, pending->correlation, HARK_EPROTO,
               HARK_STAGE_REPLY_LOST, "the other side answered another question");
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

// The buffer that keeps a part of the frame at hand in memory, of that size; 0: the frame
// itself. NULL: it cannot be kept.
static hark_buffer *
share_part(struct remote *remote, uint32_t part, size_t size)
{
    struct arrival *arrival = remote->arrival;
    struct kept kept;

    if (remote->arrived[part] == NULL) {
        hark_buffer *buffer = hark_buffer_new(0);

        if (buffer != NULL && arrival->keep(arrival, part, &kept)) {
            hark__buffer_lend(buffer, kept.data, size, kept.release, kept.handle);
            remote->arrived[part] = buffer;
        } else {
            hark_buffer_release(buffer);
        }
    }
    return remote->arrived[part];
}

static hark_buffer *
share_arrival(void *remote)
{
    return share_part(remote, 0, ((struct remote *)remote)->arrival->size);
}

// Who declares large bytes a part gets them shared; few are copied, since they may keep
// more memory than they take.
static bool
find_part(void *arg, uint16_t number, hark_bytes *out_bytes)
{
    struct remote *remote = arg;

    if (number == 0 || number > remote->arrival->part_count) {
        return false;
    }
    const struct arrived_part *part = &remote->arrival->parts[number - 1];

    *out_bytes = (hark_bytes){.ptr = part->data, .len = part->size};
    if (part->size >= SHARE_LEAST) {
        out_bytes->buffer = share_part(remote, number, part->size);
    }
    return true;
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
        .share = share_arrival,
        .share_arg = remote,
        .find_part = remote->arrival->part_count > 0 ? find_part : NULL,
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

// The asker of an ASK from this peer. A guest need not have a ref.
static hark_ref
asker_of(const struct link *link, const struct envelope *envelope)
{
    uint64_t actor = envelope->sender.actor;

    return (hark_ref){link->peer->incarnation, actor != 0 ? actor : (uint64_t)NOBODY};
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

static void
take_cancel(struct link *link, const struct envelope *envelope)
{
    struct remote *remote = link->remote;

    hark__cancel_from(remote->ctx, (hark_ref){remote->node->id, envelope->target},
                      asker_of(link, envelope), envelope->correlation);
}

// As a message holds them.
static uint16_t
credits_of(const struct envelope *envelope)
{
    return envelope->credits < UINT16_MAX ? (uint16_t)envelope->credits : UINT16_MAX;
}

static void
take_credit(struct link *link, const struct envelope *envelope)
{
    struct remote *remote = link->remote;

    hark__credit_from(remote->ctx, (hark_ref){remote->node->id, envelope->target},
                      asker_of(link, envelope), envelope->correlation,
                      credits_of(envelope));
}

// The chain that a TELL or ASK says it is of. 0: it says none.
static inline uint64_t
chain_of(const struct envelope *envelope)
{
    uint64_t chain_id = envelope->chain & ~CHAIN_UNSEEN;

    return chain_id != 0 ? chain_id | CHAIN_UNSEEN : 0;
}

static void
take_probe(struct link *link, const struct envelope *envelope)
{
    struct remote *remote = link->remote;
    const struct probe probe = {
        .origin = envelope->found,
        .wait = envelope->wait,
        .nonce = envelope->nonce,
        .asked = envelope->correlation,
        .hops = envelope->hops,
    };

    hark__probe_from(remote->ctx, (hark_ref){remote->node->id, envelope->target},
                     asker_of(link, envelope), &probe, envelope->text);
}

// Makes message, which was read, the TELL or ASK that it is.
static inline void
address(struct batch *batch, struct hark_message *message, uint64_t chain_id)
{
    const struct envelope *envelope = &batch->entry.envelope;

    message->from = batch->from;
    message->credits = credits_of(envelope);
    message->trace = batch->trace;
    message->deadline_ns = deadline_ns(batch->link, envelope->remaining_ms);
    if (envelope->kind == ENVELOPE_TELL) {
        message->correlation = chain_id; // kind is MESSAGE_TELL, 0
        return;
    }
    message->kind = MESSAGE_ASK;
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
        batch->from = is_ask ? asker_of(batch->link, envelope) : envelope->sender;
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

static void
take_reply(struct batch *batch)
{
    struct link *link = batch->link;
    const struct envelope *envelope = &batch->entry.envelope;
    hark_ctx *ctx = link->remote->ctx;
    struct pending pending;
    hark_err err;

    if (!take_row(link, envelope, &pending)) {
        send_chain(batch);
        late(link);
        return;
    }
    if (pending.kind > PENDING_STREAM) {
        send_chain(batch);
        refuse_answer(link, &pending);
        return;
    }
    struct hark_message *message = read_message(batch, &err);
    if (message == NULL) {
        hark__fail(ctx, pending.asker, pending.correlation, err, HARK_STAGE_REPLY_LOST,
                   batch->why);
        return;
    }
    message->kind = MESSAGE_REPLY;
    message->from = envelope->sender;
    message->correlation = pending.correlation;
    hark__chain_add(ctx, &batch->chain, pending.asker, message);
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
        refuse_answer(link, pending);
        return false;
    }
    if (pending->credits == 0) {
        send_chain(batch);
        hark__fail(link->remote->ctx, pending->asker, pending->correlation, HARK_EPROTO,
                   HARK_STAGE_REPLY_LOST, "more items came than it has credits for");
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
        hark__fail(ctx, pending.asker, pending.correlation, err, HARK_STAGE_REPLY_LOST,
                   batch->why);
        return;
    }
    message->kind = MESSAGE_ITEM;
    message->from = envelope->sender;
    message->correlation = pending.correlation;
    hark__chain_add(ctx, &batch->chain, pending.asker, message);
}

static void
take_failure(struct link *link, const struct envelope *envelope)
{
    hark_ctx *ctx = link->remote->ctx;
    struct pending pending;
    char text[1001];
    // It left us, even if no mailbox there took it.
    hark_stage stage = envelope->stage > HARK_STAGE_NOT_SENT
                               && envelope->stage <= HARK_STAGE_REPLY_LOST
                           ? (hark_stage)envelope->stage
                           : HARK_STAGE_SENT;
    int code = envelope->code > 0 ? envelope->code : HARK_EPROTO;

    if (!take_row(link, envelope, &pending)) {
        return; // too late; a failure says nothing new
    }
    snprintf(
        text, sizeof text, "%.*s",
        (int)(envelope->text.len < sizeof text ? envelope->text.len : sizeof text - 1),
        envelope->text.len > 0 ? envelope->text.ptr : "");
    hark__fail(ctx, pending.asker, pending.correlation, code, stage, text);
}

// ---- names ----

static void
take_lookup(struct link *link, const struct envelope *envelope)
{
    hark_ref found = hark__names_find(link->remote->node->names, envelope->text.ptr,
                                      envelope->text.len);

    if (!hark_ref_is_null(found)) {
        hark__link_found(link, envelope->correlation, found);
    } else {
        char text[REMOTE_TEXT];

        snprintf(text, sizeof text, "no actor is named \"%.*s\" at node %s",
                 (int)(envelope->text.len < 200 ? envelope->text.len : 200),
                 envelope->text.len > 0 ? envelope->text.ptr : "",
                 link->remote->node->name);
        hark__link_fail(link, envelope->correlation, HARK_ENONAME, HARK_STAGE_RUNNING,
                        text);
    }
    hark__link_flush(link);
}

static void
take_found(struct link *link, const struct envelope *envelope)
{
    struct pending pending;

    if (!take_row(link, envelope, &pending)) {
        return;
    }
    if (pending.kind == PENDING_LOOKUP) {
        hark__inbound_found(link->remote->ctx, &pending, envelope->found);
    } else {
        refuse_answer(link, &pending);
    }
}

static void
take_node(struct link *link, const struct node_decl *node)
{
    struct remote *remote = link->remote;

    if (node->incarnation == 0 || node->incarnation == remote->node->id) {
        return;
    }
    pthread_mutex_lock(&remote->lock);
    bool is_new = hark__peer_find(remote, node->incarnation) == NULL;
    struct peer *peer =
        hark__peer_get(remote, node->incarnation, node->name, node->endpoint);
    if (peer != NULL && is_new && node->endpoint.len > 0) {
        pthread_mutex_lock(&peer->lock);
        peer->may_dial = true;
        pthread_mutex_unlock(&peer->lock);
    }
    pthread_mutex_unlock(&remote->lock);
}

static void
take_trace(struct link *link, const struct trace_decl *trace)
{
    const struct trace_source source = {
        .traces = &link->remote->node->traces,
        .here = link->remote->node->name,
        .there = link->peer->name,
        .room = &link->peer->trace_room,
    };

    hark__traces_in_declare(&link->traces_in, &source, trace);
}

// ---- batches ----

// An envelope of the runtime's own.
static __attribute__((noinline)) void
take_own(struct batch *batch)
{
    const struct envelope *envelope = &batch->entry.envelope;

    send_chain(batch);
    switch (envelope->kind) {
    case ENVELOPE_FAILURE:
        take_failure(batch->link, envelope);
        break;
    case ENVELOPE_LOOKUP:
        take_lookup(batch->link, envelope);
        break;
    case ENVELOPE_FOUND:
        take_found(batch->link, envelope);
        break;
    case ENVELOPE_CANCEL:
        take_cancel(batch->link, envelope);
        break;
    case ENVELOPE_CREDIT:
        take_credit(batch->link, envelope);
        break;
    case ENVELOPE_PROBE:
        take_probe(batch->link, envelope);
        break;
    default: // reserved, or of a later version
        break;
    }
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

// An entry that is no envelope. HARK_OK, or why the link must end.
static __attribute__((noinline)) hark_err
take_other(struct batch *batch)
{
    struct link *link = batch->link;

    switch (batch->entry.kind) {
    case ENTRY_TYPES:
        return hark__types_in_declare(&link->types_in, link->remote->node->registry,
                                      &batch->entry.types);
    case ENTRY_NODE:
        take_node(link, &batch->entry.node);
        return HARK_OK;
    case ENTRY_TRACE:
        take_trace(link, &batch->entry.trace);
        return HARK_OK;
    default:
        return HARK_OK;
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
    } else if (take_other(batch) != HARK_OK) {
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
    return fault;
}

static bool
take_batch(struct link *link, struct frame *frame, size_t size)
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

// ---- the session ----

static void
refuse(struct pipe *pipe, int code, const char *text)
{
    struct bytes frame;

    hark__bytes_init(&frame);
    hark__frame_goodbye(&frame, 0, 0, code, hark_str_of(text));
    if (!frame.failed) {
        (void)hark__pipe_send(pipe, frame.data, frame.size);
    }
    hark__bytes_fini(&frame);
    hark__pipe_close(pipe);
}

void
hark__inbound_reject(struct remote *remote, int code, const char *text)
{
    // relaxed: a count with one writer.
    atomic_fetch_add_explicit(&remote->frames_rejected, 1, memory_order_relaxed);
    hark__letter(remote->ctx, (hark_ref){remote->node->id, 0}, (hark_ref){0, 0}, NULL,
                 code, text);
}

// NULL: we can talk. Else why not.
static const char *
find_fault(struct remote *remote, const struct hello *hello, char *text, size_t size)
{
    const struct hello ours = {.version_min = WIRE_VERSION,
                               .version_max = WIRE_VERSION};

    if (hello->incarnation == remote->node->id) {
        return "a node cannot link to itself";
    }
    if (hark__version_choose(&ours, hello) == 0) {
        snprintf(text, size,
                 "no common protocol version: %s speaks %u to %u, the other "
                 "side %" PRIu32 " to %" PRIu32,
                 remote->node->name, WIRE_VERSION, WIRE_VERSION, hello->version_min,
                 hello->version_max);
        return text;
    }
    return NULL;
}

static void
take_stranger(struct remote *remote, struct pipe *pipe, const struct frame *frame)
{
    char text[REMOTE_TEXT];

    if (frame->kind != FRAME_HELLO) {
        if (frame->kind != FRAME_GOODBYE) { // its last word after we had forgotten it
            hark__inbound_reject(remote, HARK_EPROTO,
                                 "a stranger did not say HELLO first");
            refuse(pipe, HARK_EPROTO, "say HELLO first");
        } else {
            hark__pipe_close(pipe);
        }
        return;
    }
    const char *fault = find_fault(remote, &frame->hello, text, sizeof text);
    if (fault != NULL) {
        hark__inbound_reject(remote, HARK_EPROTO, fault);
        refuse(pipe, HARK_EPROTO, fault);
        return;
    }
    struct link *link = hark__link_accept(remote, pipe);
    if (link == NULL) {
        refuse(pipe, HARK_ENOMEM, "no memory");
        return;
    }
    hark_err err = hark__link_up(link, &frame->hello);
    if (err != HARK_OK) {
        hark__link_down(link, err, hark_err_text(err), true);
    }
}

static void
take_welcome(struct link *link, const struct frame *frame)
{
    char text[REMOTE_TEXT];
    const char *fault = find_fault(link->remote, &frame->hello, text, sizeof text);

    if (fault == NULL && link->expected != 0
        && link->expected != frame->hello.incarnation) {
        fault = "another node answers there now";
    }
    if (fault != NULL) {
        hark__link_down(link, HARK_EPROTO, fault, true);
        return;
    }
    hark_err err = hark__link_up(link, &frame->hello);
    if (err != HARK_OK) {
        hark__link_down(link, err, hark_err_text(err), true);
    }
}

static void
take_goodbye(struct link *link, const struct frame *frame)
{
    char text[REMOTE_TEXT];
    int code = frame->code == HARK_EPROTO ? HARK_EPROTO : HARK_ENONODE;

    snprintf(text, sizeof text, "the other side said goodbye: %.*s",
             (int)(frame->text.len < 200 ? frame->text.len : 200),
             frame->text.len > 0 ? frame->text.ptr : "");
    hark__link_down(link, code, text, false);
}

static void
take_frame(struct link *link, struct frame *frame, size_t size)
{
    bool is_up = link->peer != NULL;

    link->heard_ns = hark__env_now(link->remote->node->env);
    if (frame->kind == FRAME_GOODBYE) {
        take_goodbye(link, frame);
    } else if (frame->kind == FRAME_WELCOME && !is_up && link->is_initiator) {
        take_welcome(link, frame);
    } else if (!is_up || frame->kind <= FRAME_WELCOME) {
        hark__link_down(link, HARK_EPROTO, "a frame came out of order", true);
    } else if (!hark__link_acked(link, frame->ack)) {
        hark__link_down(link, HARK_EPROTO, "it acknowledges what was never sent", true);
    } else if (frame->kind == FRAME_BATCH) {
        (void)take_batch(link, frame, size);
    } else if (frame->kind == FRAME_HEARTBEAT && frame->seq > link->seq_in) {
        hark__link_down(link, HARK_EPROTO, "frames are missing", true);
    } else if (frame->kind == FRAME_HEARTBEAT) {
        hark__link_answer(link, link->unacked_in > 0);
        link->unacked_in = 0;
    }
}

// Gives the bytes of a frame with its parts.
static size_t
whole_size(const struct arrival *arrival)
{
    size_t size = arrival->size;

    for (uint32_t i = 0; i < arrival->part_count; i++) {
        size += arrival->parts[i].size;
    }
    return size;
}

static void
forget_arrival(struct remote *remote)
{
    for (uint32_t i = 0; i <= remote->arrival->part_count; i++) {
        hark_buffer_release(remote->arrived[i]);
        remote->arrived[i] = NULL;
    }
    remote->arrival = NULL;
}

void
hark__inbound_frame(struct sink *sink, struct pipe *pipe, struct arrival *arrival)
{
    struct remote *remote = CONTAINER_OF(sink, struct remote, sink);
    struct link *link = hark__pipe_user(pipe);
    struct frame frame;
    char error[REMOTE_TEXT];
    hark_err err =
        hark__frame_decode(arrival->data, arrival->size, &frame, error, sizeof error);

    if (err == HARK_OK && arrival->part_count > 0 && frame.kind != FRAME_BATCH) {
        err = HARK_EPROTO;
        snprintf(error, sizeof error, "only a batch has parts");
    }
    remote->arrival = arrival;
    if (link != NULL && link->peer == NULL) {
        // Whoever dialled holds the lock until the link is whole.
        pthread_mutex_lock(&remote->lock);
        pthread_mutex_unlock(&remote->lock);
    }
    if (err != HARK_OK) {
        hark__inbound_reject(remote, err, error);
        if (link != NULL) {
            hark__link_down(link, HARK_EPROTO, error, true);
        } else {
            refuse(pipe, HARK_EPROTO, error);
        }
    } else if (link != NULL) {
        take_frame(link, &frame, whole_size(arrival));
    } else {
        take_stranger(remote, pipe, &frame);
    }
    forget_arrival(remote);
    hark__ctx_flush(remote->ctx);
}
