// Outbound: messages into a link's outbox.

#include "remote/link.h"

#include <stdio.h>

#include "remote/control.h"
#include "remote/draft.h"
#include "remote/pressure.h"
#include "remote/strangers.h"
#include "wire/entry.h"
#include "wire/payload.h"

enum {
    PENDING_EXTRA_MS = 2000, // a row outlives its asker's clock by this
};

// ---- the same way again ----

// The message goes where the last one in the outbox goes, and is of its type. (A
// failure has none.)
static inline bool
is_again(const struct link *link, hark_ref to, const struct outgoing *what)
{
    const struct route *last = &link->last;

    return link->may_repeat && what->type == link->last_type
           && draft_kind(what) == last->kind
           && (to.actor == last->target || what->kind > MESSAGE_ASK)
           && draft_is_same_ref(what->from, last->sender)
           && draft_remaining_ms(what) == last->remaining_ms
           && draft_chain_id(what) == last->chain_id && what->credits == last->credits
           && draft_trace(what) == last->trace;
}

// What most messages of a turn need, and no more. False: nothing was put;
// hark__draft_put knows what to do, or what is wrong.
static inline bool
put_again(struct link *link, const struct outgoing *what, uint64_t correlation)
{
    struct bytes *outbox = &link->outbox;
    size_t start = outbox->size;
    struct strangers strangers;
    struct ref_watch watch = {hark__strangers_ref, &strangers, hark__strangers_bytes};
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

// Declares what the peer needs to know of a trace, in front of the message, and gives
// its number there. 0: there is no room for that now; then the message goes without.
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

// Asks what the target of a message is called, behind it, if nobody has.
static __attribute__((noinline)) void
ask_who(struct link *link, uint64_t actor)
{
    if (hark__link_batch_bytes(link) + CALLEE_ENTRY <= link->max_frame_bytes) {
        hark__callees_ask(&link->callees_out, actor, &link->outbox);
    }
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
        .trace = introduce_trace(link, draft_trace(what)),
    };
    struct pending dropped;
    hark_err err = hark__draft_put(link, &draft, error->text, sizeof error->text);

    if (err != HARK_OK && what->kind == MESSAGE_ASK) {
        (void)hark__pending_take(&link->remote->pendings, correlation, &dropped);
    }
    if (err == HARK_OK && what->kind <= MESSAGE_ASK
        && hark__callees_wants(&link->callees_out, to.actor)) {
        ask_who(link, to.actor);
    }
    return err;
}

static const char *
whom(const struct link *link)
{
    return link->peer != NULL ? link->peer->name : link->endpoint;
}

// The link takes no message now.
static __attribute__((cold, noinline)) hark_err
refuse(struct link *link, struct remote_text *error)
{
    if (link->broken != NULL) {
        snprintf(error->text, sizeof error->text, "link to %.150s: %s", whom(link),
                 link->broken);
        return HARK_ENONODE;
    }
    snprintf(error->text, sizeof error->text,
             "the link to %.150s is full: %zu bytes are not acknowledged yet "
             "(hark_options.link_limit_bytes)",
             whom(link), link->unacked_bytes + hark__link_batch_bytes(link));
    hark__pressure_want_ack(link);
    return HARK_ELIMIT;
}

hark_err
hark__link_put(struct link *link, hark_ref to, const struct outgoing *what,
               struct remote_text *error)
{
    uint64_t correlation = what->kind != MESSAGE_TELL ? what->correlation : 0;

    if (link->broken != NULL
        || (what->kind <= MESSAGE_ASK && hark__pressure_is_full(link))) {
        return refuse(link, error);
    }
    if (what->kind == MESSAGE_SYSTEM) {
        hark_err err = hark__control_put(link, to, what, error);

        hark__draft_done(link);
        return err;
    }
    if (what->kind == MESSAGE_ASK && (correlation = add_ask(link, what)) == 0) {
        return HARK_EAGAIN;
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
    hark__draft_done(link);
    if (what->kind > MESSAGE_ASK) {
        hark__pressure_bound_answers(link);
    }
    return HARK_OK;
}
