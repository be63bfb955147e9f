#include "remote/link.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST_HEARTBEAT_MS = 20 };

// ---- making and freeing ----

// Zeroed memory, but for the lock, which somebody who is late may just hold. remote's
// lock is held. NULL: no memory.
static struct link *
link_alloc(struct remote *remote)
{
    struct link *link;

    if (hark__list_is_empty(&remote->unused)) {
        link = calloc(1, sizeof *link);
        if (link != NULL) {
            pthread_mutex_init(&link->lock, NULL);
        }
        return link;
    }
    link = CONTAINER_OF(remote->unused.next, struct link, by_remote);
    hark__list_remove(&link->by_remote);
    memset(&link->by_remote, 0, sizeof *link - offsetof(struct link, by_remote));
    return link;
}

// Takes a link that is gone, and in no list. remote's lock is held.
static void
link_retire(struct link *link)
{
    hark__link_drop_parts(link, 0);
    hark__bytes_fini(&link->outbox);
    hark__types_in_fini(&link->types_in);
    hark__types_out_fini(&link->types_out);
    hark__traces_in_fini(&link->traces_in);
    hark__traces_out_fini(&link->traces_out);
    hark__callees_out_fini(&link->callees_out);
    free(link->sent);
    link->sent = NULL;
    hark__list_append(&link->remote->unused, &link->by_remote);
}

// remote's lock is held. NULL: no memory.
static struct link *
link_new(struct remote *remote)
{
    struct link *link = link_alloc(remote);

    if (link == NULL) {
        return NULL;
    }
    link->remote = remote;
    link->heartbeat_ms = remote->heartbeat_ms;
    link->max_frame_bytes = remote->frame_limit_bytes;
    link->callees_out.left = CALLEES_AT_ONCE;
    link->opened_ns = link->heard_ns = link->sent_ns = hark__env_now(remote->node->env);
    hark__list_init(&link->by_remote);
    hark__bytes_init(&link->outbox);
    hark__outbox_start(&link->outbox);
    if (link->outbox.failed) { // from here on it keeps the memory for a batch's head
        link_retire(link);
        return NULL;
    }
    return link;
}

// ---- opening ----

struct hello
hark__link_hello(struct remote *remote)
{
    return (struct hello){
        .version_min = WIRE_VERSION,
        .version_max = WIRE_VERSION,
        .node_name = hark_str_of(remote->node->name),
        .incarnation = remote->node->id,
        .flags = HELLO_REPEATS | HELLO_PARTS
                 | (remote->endpoint[0] == '\0' ? HELLO_GUEST : 0u),
        .heartbeat_ms = remote->heartbeat_ms,
        .endpoint = hark_str_of(remote->endpoint),
        .max_frame_bytes = remote->frame_limit_bytes,
    };
}

// remote's lock is held: our endpoint may become known just now.
static hark_err
say_hello(struct link *link, enum frame_kind kind)
{
    struct hello hello = hark__link_hello(link->remote);
    struct bytes frame;
    hark_err err = HARK_ENOMEM;

    hark__bytes_init(&frame);
    hark__frame_hello(&frame, kind, &hello);
    if (!frame.failed) {
        err = hark__pipe_send(link->pipe, frame.data, frame.size);
    }
    hark__bytes_fini(&frame);
    return err;
}

// One of ours, not opened yet. remote's lock is held. NULL: no memory.
static struct link *
link_to(struct remote *remote, const char *endpoint)
{
    struct link *link = link_new(remote);

    if (link != NULL) {
        link->is_initiator = true;
        link->state = LINK_CONNECTING;
        snprintf(link->endpoint, sizeof link->endpoint, "%s", endpoint);
    }
    return link;
}

// Connects and says HELLO. remote's lock is held.
static hark_err
open_link(struct link *link, char *error, size_t error_size)
{
    struct net *net = link->remote->net;
    hark_err err =
        hark__net_connect(net, link->endpoint, link, &link->pipe, error, error_size);

    if (err != HARK_OK) {
        return err;
    }
    hark__remote_begin(link->remote);
    err = say_hello(link, FRAME_HELLO);
    if (err != HARK_OK) {
        pthread_mutex_lock(&link->lock);
        hark__link_note_sent(link, err); // the poller takes it down
        pthread_mutex_unlock(&link->lock);
    }
    return HARK_OK;
}

struct link *
hark__link_dial(struct remote *remote, const char *endpoint, uint64_t expected,
                hark_err *out_err, char *error, size_t error_size)
{
    struct link *link = link_to(remote, endpoint);

    *out_err = HARK_ENOMEM;
    if (link == NULL) {
        snprintf(error, error_size, "link to %s: no memory", endpoint);
        return NULL;
    }
    link->expected = expected;
    *out_err = open_link(link, error, error_size);
    if (*out_err != HARK_OK) {
        link_retire(link);
        return NULL;
    }
    hark__list_append(&remote->links, &link->by_remote);
    hark__net_kick(remote->net); // its clocks run from now on
    return link;
}

struct link *
hark__link_find(struct remote *remote, const char *endpoint)
{
    for (struct list *at = remote->links.next; at != &remote->links; at = at->next) {
        struct link *link = CONTAINER_OF(at, struct link, by_remote);

        if (link->is_initiator && strcmp(link->endpoint, endpoint) == 0) {
            pthread_mutex_lock(&link->lock);
            bool is_good = link->broken == NULL && link->state != LINK_DOWN;
            pthread_mutex_unlock(&link->lock);
            if (is_good) {
                return link;
            }
        }
    }
    return NULL;
}

struct link *
hark__link_plan(struct remote *remote, const char *endpoint)
{
    struct link *link = link_to(remote, endpoint);

    if (link != NULL) {
        hark__list_append(&remote->links, &link->by_remote);
        hark__net_kick(remote->net);
    }
    return link;
}

hark_err
hark__link_open_planned(struct link *link, char *error, size_t error_size)
{
    struct remote *remote = link->remote;
    hark_err err = HARK_OK;

    pthread_mutex_lock(&remote->lock); // as hark__link_dial
    if (!remote->is_closing) {
        err = open_link(link, error, error_size);
    }
    pthread_mutex_unlock(&remote->lock);
    return err;
}

struct link *
hark__link_accept(struct remote *remote, struct pipe *pipe)
{
    pthread_mutex_lock(&remote->lock);
    struct link *link = link_new(remote);
    if (link != NULL) {
        link->pipe = pipe;
        link->state = LINK_CONNECTING;
        hark__pipe_set_user(pipe, link);
        hark__list_append(&remote->links, &link->by_remote);
    }
    pthread_mutex_unlock(&remote->lock);
    return link;
}

void
hark__link_end_connects(struct link *link)
{
    struct remote *remote = link->remote;
    struct pending_filter connects = {.link = link, .connects_only = true};
    struct pending pending;
    uint32_t cursor = 0;

    while (hark__pending_take_next(&remote->pendings, &cursor, &connects, &pending)) {
        hark__lookup_found(remote->ctx, &pending,
                           (hark_ref){link->peer->incarnation, 0});
    }
}

hark_err
hark__link_up(struct link *link, const struct hello *hello)
{
    struct remote *remote = link->remote;

    pthread_mutex_lock(&remote->lock);
    struct peer *peer =
        hark__peer_get(remote, hello->incarnation, hello->node_name, hello->endpoint);
    hark_err err = peer == NULL         ? HARK_ENOMEM
                   : link->is_initiator ? HARK_OK
                                        : say_hello(link, FRAME_WELCOME);
    if (err == HARK_OK) {
        hark__peer_replaces(remote, peer);
    }
    pthread_mutex_unlock(&remote->lock);
    if (err != HARK_OK) {
        return err;
    }
    pthread_mutex_lock(&link->lock);
    link->peer = peer;
    link->state = LINK_UP;
    link->max_frame_bytes = hello->max_frame_bytes;
    link->takes_repeats = (hello->flags & HELLO_REPEATS) != 0;
    link->takes_parts =
        (hello->flags & HELLO_PARTS) != 0 && hark__pipe_takes_parts(link->pipe);
    if (hello->heartbeat_ms < link->heartbeat_ms) {
        link->heartbeat_ms = hello->heartbeat_ms > LEAST_HEARTBEAT_MS
                                 ? hello->heartbeat_ms
                                 : LEAST_HEARTBEAT_MS;
    }
    pthread_mutex_unlock(&link->lock);
    // relaxed: a count with one writer.
    atomic_fetch_add_explicit(&remote->links_up, 1, memory_order_relaxed);
    hark__peer_gain(peer, link);
    hark__link_flush(link);
    hark__link_end_connects(link);
    hark__net_kick(remote->net); // its clocks are others now
    return HARK_OK;
}

// ---- going down ----

static void
say_goodbye_to(struct link *link, int code, const char *why)
{
    struct bytes frame;

    hark__bytes_init(&frame);
    hark__frame_goodbye(&frame, link->seq_out, link->ack_out, code, hark_str_of(why));
    if (!frame.failed && link->pipe != NULL) {
        (void)hark__pipe_send(link->pipe, frame.data, frame.size);
    }
    hark__bytes_fini(&frame);
}

void
hark__link_goodbye(struct link *link, int code, const char *why)
{
    pthread_mutex_lock(&link->lock);
    hark__link_flush_locked(link);
    say_goodbye_to(link, code, why);
    link->state = LINK_DOWN;
    pthread_mutex_unlock(&link->lock);
}

void
hark__links_free(struct remote *remote)
{
    while (!hark__list_is_empty(&remote->links)) {
        struct link *link = CONTAINER_OF(remote->links.next, struct link, by_remote);

        hark__list_remove(&link->by_remote);
        link_retire(link);
    }
    while (!hark__list_is_empty(&remote->unused)) {
        struct link *link = CONTAINER_OF(remote->unused.next, struct link, by_remote);

        hark__list_remove(&link->by_remote);
        pthread_mutex_destroy(&link->lock);
        free(link);
    }
}

static void
report_lost(struct link *link, uint32_t lost, int code, const char *text)
{
    hark_ref to = {link->peer != NULL ? link->peer->incarnation : 0, 0};

    for (uint32_t i = 0; i < lost; i++) {
        hark__letter(link->remote->ctx, to, (hark_ref){0, 0}, NULL, code, text);
    }
}

static void
fail_pendings(struct link *link, int code, hark_stage stage, const char *text)
{
    struct remote *remote = link->remote;
    struct pending_filter all = {.link = link};
    struct pending pending;
    uint32_t cursor = 0;

    while (hark__pending_take_next(&remote->pendings, &cursor, &all, &pending)) {
        hark__fail_surely(remote->ctx, pending.asker, pending.correlation, code, stage,
                          text, pending.spare);
    }
}

static void
unlink_all(struct link *link)
{
    struct remote *remote = link->remote;

    pthread_mutex_lock(&remote->lock);
    hark__list_remove(&link->by_remote);
    pthread_mutex_unlock(&remote->lock);
    if (link->peer != NULL) {
        hark__peer_lose(link->peer, link); // no sender reaches it any more
        // relaxed: a count with one writer.
        atomic_fetch_sub_explicit(&remote->links_up, 1, memory_order_relaxed);
    } else if (link->expected != 0) {
        hark__peer_lose(hark__peer_find(remote, link->expected), link);
    }
}

static void
describe(const struct link *link, const char *why, char *out, size_t size)
{
    if (link->peer != NULL) {
        snprintf(out, size, "link to %s: %s", link->peer->name, why);
    } else {
        snprintf(out, size, "link to %s: %s",
                 link->endpoint[0] != '\0' ? link->endpoint : "a stranger", why);
    }
}

void
hark__link_down(struct link *link, int code, const char *why, bool say_goodbye)
{
    struct remote *remote = link->remote;
    bool was_up = link->peer != NULL;
    char text[REMOTE_TEXT + NODE_NAME + ENDPOINT_SIZE];

    describe(link, why, text, sizeof text);
    unlink_all(link);
    pthread_mutex_lock(&link->lock);
    link->state = LINK_DOWN;
    uint32_t lost = hark__link_lost(link);
    pthread_mutex_unlock(&link->lock);
    if (say_goodbye) {
        say_goodbye_to(link, code, why);
    }
    if (link->pipe != NULL) {
        hark__pipe_close(link->pipe);
    }
    if (code == HARK_ENONODE) {
        hark__link_redial(link, why);
    }
    fail_pendings(link, code, was_up ? HARK_STAGE_SENT : HARK_STAGE_NOT_SENT, text);
    report_lost(link, lost, code, text);
    if (was_up) {
        (void)hark__peer_tell_loss(link->peer); // else the next tick does
    }
    pthread_mutex_lock(&remote->lock);
    link_retire(link);
    pthread_mutex_unlock(&remote->lock);
}
