// Outbound: messages into a link's outbox.

#include "remote/link.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "actor/chain_id.h"
#include "actor/probe.h"
#include "future/future.h"
#include "message/failure.h"
#include "wire/entry.h"
#include "wire/payload.h"

#define NS_PER_MS INT64_C(1000000)

enum {
    SEND_AT = 64 * 1024, // bytes in the outbox that leave without waiting for the turn
    CONNECTING_LIMIT = 1024 * 1024, // bytes that wait for a link to open
    PENDING_EXTRA_MS = 2000,        // a row outlives its asker's clock by this
    PART_LEAST = 32 * 1024,         // bytes that are worth a part of their own
    NODES_MOST = 16, // new third nodes in one message; others need a link of their own
    ANSWERS_SHARE = 4, // answers may make a link this much fuller than messages,
    ANSWERS_LEAST = 16 * 1024 * 1024, // and at least this full, bytes
};

// ---- going back ----

// What to return to when an envelope cannot be finished.
struct mark {
    size_t size;  // of the outbox
    size_t bytes; // of the batch
    uint32_t types;
    uint32_t parts;
    uint32_t introduced;
};

static struct mark
mark(const struct link *link)
{
    return (struct mark){
        .size = link->outbox.size,
        .bytes = hark__link_batch_bytes(link),
        .types = link->types_out.count,
        .parts = link->part_count,
        .introduced = link->introduced_count,
    };
}

static void
go_back(struct link *link, struct mark to)
{
    hark__bytes_truncate(&link->outbox, to.size);
    hark__link_drop_parts(link, to.parts);
    hark__types_out_truncate(&link->types_out, to.types);
    link->introduced_count = to.introduced;
    link->may_repeat = false;
}

// ---- third nodes ----

// Nodes of refs in one message that the peer may not know.
struct strangers {
    struct link *link;
    uint64_t nodes[NODES_MOST];
    uint32_t count;
};

static bool
is_known(const struct strangers *strangers, uint64_t node)
{
    const struct link *link = strangers->link;

    if (node == 0 || node == link->remote->node->id
        || (link->peer != NULL && node == link->peer->incarnation)) {
        return true;
    }
    for (uint32_t i = 0; i < link->introduced_count; i++) {
        if (link->introduced[i] == node) {
            return true;
        }
    }
    for (uint32_t i = 0; i < strangers->count; i++) {
        if (strangers->nodes[i] == node) {
            return true;
        }
    }
    return false;
}

static void
on_ref(void *arg, hark_ref ref)
{
    struct strangers *strangers = arg;

    if (strangers->count < NODES_MOST && !is_known(strangers, ref.node)) {
        strangers->nodes[strangers->count++] = ref.node;
    }
}

// Large bytes that have a buffer go as they are.
static uint16_t
on_bytes(void *arg, const hark_bytes *bytes)
{
    struct link *link = ((struct strangers *)arg)->link;

    if (!link->takes_parts || bytes->len < PART_LEAST
        || link->part_count == NET_PARTS) {
        return 0;
    }
    hark_buffer_retain(bytes->buffer);
    link->parts[link->part_count++] = *bytes;
    link->part_bytes += bytes->len;
    return (uint16_t)link->part_count;
}

static void
introduce(struct link *link, const struct peer *peer)
{
    hark__entry_node(&link->outbox, &(struct node_decl){
                                        .incarnation = peer->incarnation,
                                        .name = hark_str_of(peer->name),
                                        .endpoint = hark_str_of(peer->endpoint),
                                    });
    if (link->introduced_count < NODES_INTRODUCED) {
        link->introduced[link->introduced_count++] = peer->incarnation;
    }
}

// A peer is a target, and targets stay: no lock but theirs is needed to find one.
static void
introduce_all(struct link *link, const struct strangers *strangers)
{
    for (uint32_t i = 0; i < strangers->count; i++) {
        struct target *target =
            hark__targets_find(&link->remote->node->targets, strangers->nodes[i]);

        if (target != NULL) {
            introduce(link, CONTAINER_OF(target, struct peer, target));
        }
    }
}

// ---- envelopes ----

// What an envelope is made of.
struct draft {
    const struct envelope *plain; // one of the runtime's own; NULL: what follows
    const struct outgoing *what;
    hark_ref to;
    uint64_t correlation;
    uint16_t trace; // declared, or 0
};

static bool
is_same_ref(hark_ref a, hark_ref b)
{
    return a.node == b.node && a.actor == b.actor;
}

// The peer knows the route from the last envelope.
static bool
is_repeat(const struct link *link, const struct route *route)
{
    const struct route *last = &link->last;

    return link->may_repeat && route->target == last->target
           && is_same_ref(route->sender, last->sender) && route->type == last->type
           && route->kind == last->kind && route->remaining_ms == last->remaining_ms
           && route->chain_id == last->chain_id && route->credits == last->credits
           && route->trace == last->trace;
}

// An envelope up to its payload. A call, so that repeats need no room for one.
static __attribute__((noinline)) void
begin_envelope(struct link *link, const struct route *route, const struct draft *draft)
{
    hark__envelope_begin(&link->outbox, &(struct envelope){
                                            .kind = route->kind,
                                            .target = route->target,
                                            .sender = route->sender,
                                            .correlation = draft->correlation,
                                            .remaining_ms = route->remaining_ms,
                                            .trace = route->trace,
                                            .credits = route->credits,
                                            .chain = route->chain_id,
                                            .type = route->type,
                                        });
    link->last = *route;
    link->last_type = draft->what->type;
    link->may_repeat = link->takes_repeats;
}

static hark_err
put_payload(struct link *link, const struct route *route, const struct draft *draft,
            struct strangers *strangers)
{
    struct ref_watch watch = {on_ref, strangers, on_bytes};

    if (is_repeat(link, route)) {
        hark__entry_repeat(&link->outbox, draft->correlation);
    } else {
        begin_envelope(link, route, draft);
    }
    return hark__payload_encode(&link->outbox, draft->what->type, draft->what->value,
                                &watch);
}

// An envelope with a typed payload, behind what it needs to be understood. After an error
// the caller goes back.
static hark_err
put_typed(struct link *link, struct route *route, const struct draft *draft)
{
    struct strangers strangers;

    strangers.link = link;
    strangers.count = 0;
    hark_err err = hark__types_out_number(&link->types_out, &link->outbox,
                                          draft->what->type, &route->type);
    size_t start = link->outbox.size;
    uint32_t parts = link->part_count;

    if (err == HARK_OK) {
        err = put_payload(link, route, draft, &strangers);
    }
    if (err == HARK_OK
        && strangers.count > 0) { // introduce them first, and write it again
        hark__bytes_truncate(&link->outbox, start);
        hark__link_drop_parts(link, parts);
        link->may_repeat = false;
        introduce_all(link, &strangers);
        err = put_payload(link, route, draft, &strangers);
    }
    return err;
}

// One of the runtime's own.
static void
put_plain(struct link *link, const struct envelope *envelope)
{
    hark__envelope_encode(&link->outbox, envelope);
    link->may_repeat = false;
}

static void
put_failure(struct link *link, const struct draft *draft)
{
    const struct failure *failure = draft->what->value;

    put_plain(link, &(struct envelope){
                        .kind = ENVELOPE_FAILURE,
                        .sender = draft->what->from,
                        .correlation = draft->correlation,
                        .type = TYPE_NONE,
                        .code = failure->code,
                        .stage = failure->stage,
                        .text = {failure->text, failure->size},
                    });
}

static const uint8_t kinds[] = {
    [MESSAGE_TELL] = ENVELOPE_TELL,
    [MESSAGE_ASK] = ENVELOPE_ASK,
    [MESSAGE_REPLY] = ENVELOPE_REPLY,
    [MESSAGE_ITEM] = ENVELOPE_ITEM,
};

// Of an ask.
static inline uint32_t
remaining_ms(const struct outgoing *what)
{
    return what->future != NULL ? what->future->timeout_ms : 0;
}

// Of an ask or tell; 0: it is of none, or an ask that begins one.
static inline uint64_t
chain_id(const struct outgoing *what)
{
    if (what->kind == MESSAGE_TELL) {
        return what->correlation & ~CHAIN_UNSEEN;
    }
    return what->future != NULL ? what->future->chain_id & ~CHAIN_UNSEEN : 0;
}

// Of an ask, or a timer's tell. 0: none.
static inline uint16_t
trace_of(const struct outgoing *what)
{
    return what->future != NULL ? what->future->trace : what->trace;
}

static hark_err
put_envelope(struct link *link, const struct draft *draft)
{
    const struct outgoing *what = draft->what;

    if (draft->plain != NULL) {
        put_plain(link, draft->plain);
        return HARK_OK;
    }
    if (what->kind == MESSAGE_FAILURE) {
        put_failure(link, draft);
        return HARK_OK;
    }

    struct route route = {
        .target = what->kind <= MESSAGE_ASK ? draft->to.actor : 0,
        .sender = what->from,
        .chain_id = chain_id(what),
        .remaining_ms = remaining_ms(what),
        .credits = what->credits,
        .trace = draft->trace,
        .kind = kinds[what->kind],
    };

    return put_typed(link, &route, draft);
}

// ---- the outbox ----

static bool
is_full(const struct link *link)
{
    if (link->state == LINK_CONNECTING && link->outbox.size > CONNECTING_LIMIT) {
        return true;
    }
    return link->unacked_bytes + hark__link_batch_bytes(link)
           > link->remote->link_limit_bytes;
}

// The link is full. The peer answers a HEARTBEAT when it has something to acknowledge.
static void
want_ack(struct link *link)
{
    if (!link->ack_wanted) {
        link->ack_wanted = true;
        hark__link_flush_locked(link);
        hark__link_heartbeat_locked(link);
    }
}

// Answers go out over a full link, too. But who asks on and on, and acknowledges none of
// them, must not fill our memory.
static void
bound_answers(struct link *link)
{
    size_t bytes = link->unacked_bytes + hark__link_batch_bytes(link);

    if (link->state != LINK_UP || link->broken != NULL || !is_full(link)) {
        return;
    }
    want_ack(link);
    if (bytes > ANSWERS_LEAST
        && bytes / ANSWERS_SHARE > link->remote->link_limit_bytes) {
        hark__link_break_locked(link, "it acknowledges none of our answers");
    }
}

// Says why nothing was put into the outbox.
static __attribute__((cold, noinline)) void
explain(const struct link *link, hark_err err, size_t size, char *error,
        size_t error_size)
{
    if (err == HARK_ETOOBIG) {
        snprintf(error, error_size,
                 "%zu bytes are more than the peer's limit of %" PRIu64, size,
                 link->max_frame_bytes);
    } else {
        snprintf(error, error_size, "%s",
                 err == HARK_EINVAL   ? "a field has a length and a null pointer"
                 : err == HARK_ELIMIT ? "it does not fit behind what waits already"
                                      : hark_err_text(err));
    }
}

// Encodes it behind what is in the outbox; or, if both do not fit into one frame, lets
// that leave first. What was encoded is for the caller to take back on error.
static hark_err
put_fitting(struct link *link, const struct draft *draft, struct mark *from)
{
    hark_err err = put_envelope(link, draft);

    if (err != HARK_OK || link->outbox.failed
        || hark__link_batch_bytes(link) <= link->max_frame_bytes
        || from->size <= FRAME_HEAD_SIZE) {
        return err;
    }
    go_back(link, *from);
    hark__link_flush_locked(link);
    *from = mark(link);
    return from->size <= FRAME_HEAD_SIZE ? put_envelope(link, draft) : HARK_ELIMIT;
}

// The whole entry, or nothing and an error. The lock is held.
static hark_err
put_entry(struct link *link, const struct draft *draft, char *error, size_t error_size)
{
    struct mark from = mark(link);
    hark_err err = put_fitting(link, draft, &from);
    size_t size = hark__link_batch_bytes(link) - from.bytes;

    if (err == HARK_OK && link->outbox.failed) {
        err = HARK_ENOMEM;
    }
    if (err == HARK_OK && size + FRAME_HEAD_SIZE > link->max_frame_bytes) {
        err = HARK_ETOOBIG;
    }
    if (err != HARK_OK) {
        explain(link, err, size, error, error_size);
        go_back(link, from);
        return err;
    }
    return HARK_OK;
}

// A message was put, and is counted: sends the frame if it is large, and sees to it that
// somebody looks at the link.
static inline void
put_done(struct link *link)
{
    if (hark__link_batch_bytes(link) >= SEND_AT) {
        hark__link_flush_locked(link);
    }
    if (link->is_calm) { // else its next look comes soon
        link->is_calm = false;
        hark__net_kick(link->remote->net);
    }
}

// ---- the same way again ----

// The message goes where the last one in the outbox goes, and is of its type. (A failure
// has none.)
static inline bool
is_again(const struct link *link, hark_ref to, const struct outgoing *what)
{
    const struct route *last = &link->last;

    return link->may_repeat && what->type == link->last_type
           && kinds[what->kind] == last->kind
           && (to.actor == last->target || what->kind > MESSAGE_ASK)
           && is_same_ref(what->from, last->sender)
           && remaining_ms(what) == last->remaining_ms
           && chain_id(what) == last->chain_id && what->credits == last->credits
           && trace_of(what) == last->trace;
}

// What most messages of a turn need, and no more. False: nothing was put; put_entry knows
// what to do, or what is wrong.
static inline bool
put_again(struct link *link, const struct outgoing *what, uint64_t correlation)
{
    struct bytes *outbox = &link->outbox;
    size_t start = outbox->size;
    struct strangers strangers;
    struct ref_watch watch = {on_ref, &strangers, on_bytes};
    uint32_t parts = link->part_count;

    strangers.link = link;
    strangers.count = 0;
    hark__entry_repeat(outbox, correlation);
    if (hark__payload_encode(outbox, what->type, what->value, &watch) != HARK_OK
        || strangers.count > 0
        || hark__link_batch_bytes(link) > link->max_frame_bytes) {
        hark__bytes_truncate(outbox, start);
        hark__link_drop_parts(link, parts);
        return false;
    }
    return true;
}

// ---- messages ----

static int64_t
expiry_ns(const struct link *link, uint32_t timeout_ms)
{
    struct env *env = link->remote->node->env;
    int64_t lag_ns;

    return timeout_ms == HARK_FOREVER
               ? INT64_MAX
               : env->ops->now_coarse_ns(env, &lag_ns)
                     + ((int64_t)timeout_ms + PENDING_EXTRA_MS) * NS_PER_MS;
}

static uint64_t
add_ask(struct link *link, const struct outgoing *what)
{
    return hark__pending_add(
        &link->remote->pendings,
        &(struct pending){
            .kind = what->credits > 0 ? PENDING_STREAM : PENDING_ASK,
            .link = link,
            .asker = what->from,
            .correlation = what->correlation,
            .expiry_ns = expiry_ns(link, what->future->timeout_ms),
            .credits = what->credits,
        });
}

// Nobody waits for an answer any more. If none has come, and the ask went this way, the
// other side hears of it.
static __attribute__((cold, noinline)) hark_err
put_cancel(struct link *link, hark_ref to, const struct outgoing *what,
           struct remote_text *error)
{
    struct pending row;

    if (!hark__pending_take(&link->remote->pendings, what->correlation, &row)
        || row.link != link) {
        return HARK_OK;
    }
    const struct envelope cancel = {
        .kind = ENVELOPE_CANCEL,
        .target = to.actor,
        .sender = what->from,
        .correlation = what->correlation,
        .type = TYPE_NONE,
    };
    return put_entry(link, &(struct draft){.plain = &cancel}, error->text,
                     sizeof error->text);
}

// The asker of a stream takes more items, if it went this way.
static hark_err
put_credit(struct link *link, hark_ref to, const struct outgoing *what,
           struct remote_text *error)
{
    if (!hark__pending_credit(&link->remote->pendings, what->correlation, link,
                              what->credits)) {
        return HARK_OK;
    }
    const struct envelope credit = {
        .kind = ENVELOPE_CREDIT,
        .target = to.actor,
        .sender = what->from,
        .correlation = what->correlation,
        .credits = what->credits,
        .type = TYPE_NONE,
    };
    return put_entry(link, &(struct draft){.plain = &credit}, error->text,
                     sizeof error->text);
}

// A probe for the ask `asked`, if that went this way and is not answered.
static __attribute__((cold, noinline)) hark_err
put_probe(struct link *link, hark_ref to, const struct outgoing *what,
          struct remote_text *error)
{
    const struct probe *probe = what->value;
    struct pending row;

    if (!hark__pending_read(&link->remote->pendings, probe->asked, &row)
        || row.link != link) {
        return HARK_OK;
    }
    const struct envelope envelope = {
        .kind = ENVELOPE_PROBE,
        .target = to.actor,
        .sender = what->from,
        .correlation = probe->asked,
        .type = TYPE_NONE,
        .found = probe->origin,
        .wait = probe->wait,
        .nonce = probe->nonce,
        .hops = probe->hops,
        .text = {probe->path, probe->size},
    };
    return put_entry(link, &(struct draft){.plain = &envelope}, error->text,
                     sizeof error->text);
}

// What the runtime of an actor says to that of another one.
static hark_err
put_system(struct link *link, hark_ref to, const struct outgoing *what,
           struct remote_text *error)
{
    if (what->value != NULL) {
        return put_probe(link, to, what, error);
    }
    return what->credits > 0 ? put_credit(link, to, what, error)
                             : put_cancel(link, to, what, error);
}

// Declares what the peer needs to know of a trace, in front of the message, and gives its
// number there. 0: there is no room for that now; then the message goes without.
static uint16_t
introduce_trace(struct link *link, uint16_t number)
{
    const struct traces *traces = &link->remote->node->traces;

    if (number == 0 || hark__traces_out_has(&link->traces_out, number)) {
        return number;
    }
    size_t most =
        (size_t)TRACE_ENTRY * hark__traces_out_count(&link->traces_out, traces, number);
    if (link->outbox.size + most > link->max_frame_bytes) {
        hark__link_flush_locked(link);
    }
    return link->outbox.size + most <= link->max_frame_bytes
                   && hark__traces_out_declare(&link->traces_out, traces, number,
                                               &link->outbox)
               ? number
               : 0;
}

// Anything but what put_again has done.
static __attribute__((noinline)) hark_err
put_message(struct link *link, hark_ref to, const struct outgoing *what,
            uint64_t correlation, struct remote_text *error)
{
    const struct draft draft = {
        .what = what,
        .to = to,
        .correlation = correlation,
        .trace = introduce_trace(link, trace_of(what)),
    };
    struct pending dropped;
    hark_err err = put_entry(link, &draft, error->text, sizeof error->text);

    if (err != HARK_OK && what->kind == MESSAGE_ASK) {
        (void)hark__pending_take(&link->remote->pendings, correlation, &dropped);
    }
    return err;
}

// The link takes no message now.
static __attribute__((cold, noinline)) hark_err
refuse(struct link *link, struct remote_text *error)
{
    if (link->broken != NULL) {
        snprintf(error->text, sizeof error->text, "%s", link->broken);
        return HARK_ENONODE;
    }
    snprintf(error->text, sizeof error->text,
             "%zu bytes to this node are not acknowledged yet",
             link->unacked_bytes + hark__link_batch_bytes(link));
    want_ack(link);
    return HARK_ELIMIT;
}

hark_err
hark__link_put(struct link *link, hark_ref to, const struct outgoing *what,
               struct remote_text *error)
{
    uint64_t correlation = what->kind != MESSAGE_TELL ? what->correlation : 0;

    if (link->broken != NULL || (what->kind <= MESSAGE_ASK && is_full(link))) {
        return refuse(link, error);
    }
    if (what->kind == MESSAGE_SYSTEM) {
        hark_err err = put_system(link, to, what, error);

        put_done(link);
        return err;
    }
    if (what->kind == MESSAGE_ASK && (correlation = add_ask(link, what)) == 0) {
        snprintf(error->text, sizeof error->text, "%s", hark_err_text(HARK_ENOMEM));
        return HARK_ENOMEM;
    }
    if (!is_again(link, to, what) || !put_again(link, what, correlation)) {
        hark_err err = put_message(link, to, what, correlation, error);

        if (err != HARK_OK) {
            return err;
        }
    }
    if (what->kind == MESSAGE_ASK) {
        what->future->number = correlation;
    }
    link->outbox_tells += what->kind == MESSAGE_TELL;
    put_done(link);
    if (what->kind > MESSAGE_ASK) {
        bound_answers(link);
    }
    return HARK_OK;
}

// ---- the runtime's own envelopes ----

static hark_err
put_own(struct link *link, const struct envelope *envelope)
{
    const struct draft draft = {.plain = envelope};
    char error[REMOTE_TEXT];
    hark_err err = HARK_ENONODE;

    pthread_mutex_lock(&link->lock);
    if (link->broken == NULL) {
        err = put_entry(link, &draft, error, sizeof error);
        put_done(link);
    }
    bound_answers(link);
    pthread_mutex_unlock(&link->lock);
    return err;
}

hark_err
hark__link_await(struct link *link, const struct pending *pending, bool *out_is_up)
{
    hark_err err = HARK_OK;

    // Under the lock, so that the link does not come up between the look and the row.
    pthread_mutex_lock(&link->lock);
    *out_is_up = link->state == LINK_UP;
    if (!*out_is_up && hark__pending_add(&link->remote->pendings, pending) == 0) {
        err = HARK_ENOMEM;
    }
    pthread_mutex_unlock(&link->lock);
    return err;
}

hark_err
hark__link_lookup(struct link *link, const struct pending *pending, hark_str name)
{
    uint64_t number = hark__pending_add(&link->remote->pendings, pending);
    struct pending dropped;

    if (number == 0) {
        return HARK_ENOMEM;
    }
    hark_err err = put_own(link, &(struct envelope){
                                     .kind = ENVELOPE_LOOKUP,
                                     .sender = pending->asker,
                                     .correlation = number,
                                     .remaining_ms = HARK_FOREVER,
                                     .type = TYPE_NONE,
                                     .text = name,
                                 });
    if (err != HARK_OK) {
        (void)hark__pending_take(&link->remote->pendings, number, &dropped);
    } else {
        hark__link_flush(link);
    }
    return err;
}

void
hark__link_found(struct link *link, uint64_t correlation, hark_ref found)
{
    // Without memory the asker's clock ends it.
    (void)put_own(link, &(struct envelope){
                            .kind = ENVELOPE_FOUND,
                            .correlation = correlation,
                            .type = TYPE_NONE,
                            .found = found,
                        });
}

void
hark__link_fail(struct link *link, uint64_t correlation, int code, hark_stage stage,
                const char *text)
{
    // As above.
    (void)put_own(link, &(struct envelope){
                            .kind = ENVELOPE_FAILURE,
                            .correlation = correlation,
                            .type = TYPE_NONE,
                            .code = code,
                            .stage = stage,
                            .text = hark_str_of(text),
                        });
}
