#include "remote/control.h"

#include <stdio.h>

#include "actor/names.h"
#include "actor/probe.h"
#include "remote/inbound.h"

// ---- about asks ----

// What the other side says can be told to nobody: it must not go on as if it had been.
static __attribute__((cold, noinline)) void
end_link(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    hark__link_break_locked(link, "no memory for what it says of its asks");
    pthread_mutex_unlock(&link->lock);
}

static void
take_cancel(struct link *link, const struct envelope *envelope)
{
    struct remote *remote = link->remote;

    if (!hark__cancel_from(remote->ctx, (hark_ref){remote->node->id, envelope->target},
                           inbound_asker(link, envelope), envelope->correlation)) {
        end_link(link);
    }
}

static void
take_credit(struct link *link, const struct envelope *envelope)
{
    struct remote *remote = link->remote;

    if (!hark__credit_from(remote->ctx, (hark_ref){remote->node->id, envelope->target},
                           inbound_asker(link, envelope), envelope->correlation,
                           inbound_credits(envelope))) {
        end_link(link);
    }
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
        .items = envelope->items,
    };

    if (!hark__probe_from(remote->ctx, (hark_ref){remote->node->id, envelope->target},
                          inbound_asker(link, envelope), &probe, envelope->text)) {
        end_link(link);
    }
}

static void
take_failure(struct link *link, const struct envelope *envelope)
{
    struct pending pending;
    char text[1001];
    // It left us, even if no mailbox there took it.
    hark_stage stage = envelope->stage > HARK_STAGE_NOT_SENT
                               && envelope->stage <= HARK_STAGE_REPLY_LOST
                           ? (hark_stage)envelope->stage
                           : HARK_STAGE_SENT;
    int code = envelope->code > 0 ? envelope->code : HARK_EPROTO;

    if (!inbound_find_row(link, envelope, &pending)) {
        return; // too late; a failure says nothing new
    }
    snprintf(
        text, sizeof text, "%.*s",
        (int)(envelope->text.len < sizeof text ? envelope->text.len : sizeof text - 1),
        envelope->text.len > 0 ? envelope->text.ptr : "");
    hark__inbound_fail(link, envelope, code, stage, text);
}

// ---- names ----

static void
take_lookup(struct link *link, const struct envelope *envelope)
{
    struct node *node = link->remote->node;
    hark_ref found =
        hark__names_find(node->names, envelope->text.ptr, envelope->text.len);

    // Who stops has no names any more: its GOODBYE answers, and whoever looks us up
    // may find the next of us then. relaxed: a hint.
    if (hark_ref_is_null(found)
        && atomic_load_explicit(&node->stopping, memory_order_relaxed)) {
        return;
    }
    if (!hark_ref_is_null(found)) {
        hark__link_found(link, envelope->correlation, found,
                         hark__called_here(node, found.actor));
    } else {
        char text[REMOTE_TEXT];

        snprintf(text, sizeof text, "no actor is named \"%.*s\" at node %s",
                 (int)(envelope->text.len < 200 ? envelope->text.len : 200),
                 envelope->text.len > 0 ? envelope->text.ptr : "", node->name);
        hark__link_fail(link, envelope->correlation, HARK_ENONAME, HARK_STAGE_RUNNING,
                        text);
    }
    hark__link_flush(link);
}

// A node says what an actor is called: believed of its own.
static void
learn(struct link *link, hark_ref actor, hark_str name)
{
    if (actor.node == link->peer->incarnation) {
        hark__callees_learn(&link->remote->callees, actor, name);
    }
}

static void
take_found(struct link *link, const struct envelope *envelope)
{
    struct remote *remote = link->remote;
    struct pending pending;

    if (!inbound_find_row(link, envelope, &pending)) {
        return;
    }
    if (pending.kind != PENDING_LOOKUP) {
        hark__inbound_refuse_answer(link, envelope);
    } else if (hark__pending_take_to_fail(&remote->pendings, envelope->correlation,
                                          &pending)) {
        learn(link, envelope->found, envelope->text);
        hark__lookup_found(remote->ctx, &pending, envelope->found);
    }
}

void
hark__control_take(struct link *link, const struct envelope *envelope)
{
    switch (envelope->kind) {
    case ENVELOPE_FAILURE:
        take_failure(link, envelope);
        break;
    case ENVELOPE_LOOKUP:
        take_lookup(link, envelope);
        break;
    case ENVELOPE_FOUND:
        take_found(link, envelope);
        break;
    case ENVELOPE_CANCEL:
        take_cancel(link, envelope);
        break;
    case ENVELOPE_CREDIT:
        take_credit(link, envelope);
        break;
    case ENVELOPE_PROBE:
        take_probe(link, envelope);
        break;
    default: // reserved, or of a later version
        break;
    }
}

// ---- declarations ----

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

// Of an actor that has ended nothing is known: then nothing is said.
static void
take_who(struct link *link, uint64_t actor)
{
    const char *name = hark__called_here(link->remote->node, actor);

    if (name != NULL) {
        hark__link_call(link, actor, name);
        link->has_called = true;
    }
}

hark_err
hark__control_declare(struct link *link, struct entry *entry)
{
    switch (entry->kind) {
    case ENTRY_TYPES:
        return hark__types_in_declare(&link->types_in, link->remote->node->registry,
                                      &entry->types);
    case ENTRY_NODE:
        take_node(link, &entry->node);
        return HARK_OK;
    case ENTRY_TRACE:
        take_trace(link, &entry->trace);
        return HARK_OK;
    case ENTRY_WHO:
        take_who(link, entry->called.actor);
        return HARK_OK;
    case ENTRY_CALLED:
        learn(link, (hark_ref){link->peer->incarnation, entry->called.actor},
              entry->called.name);
        return HARK_OK;
    default:
        return HARK_OK;
    }
}
