// Peer: the target that stands for all actors of one other node.

#include "remote/link.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PEERS_LIMIT = 65536 };

#define ROOM_WAIT_NS INT64_C(100000000)

// ---- sending ----

// Gives the link, locked; NULL: there is none.
static struct link *
lock_link(struct peer *peer)
{
    struct link *link;

    // acquire: pairs with the stores in dial and hark__peer_gain; the link is whole.
    while ((link = atomic_load_explicit(&peer->link, memory_order_acquire)) != NULL) {
        pthread_mutex_lock(&link->lock);
        // relaxed: it is taken away under this lock. Another link of ours, in the same
        // memory, would do as well.
        if (atomic_load_explicit(&peer->link, memory_order_relaxed) == link) {
            return link;
        }
        pthread_mutex_unlock(&link->lock);
    }
    return NULL;
}

// Opens the link to a node that was introduced to us and never tried. False: there is
// none, then or now.
static bool
dial(struct peer *peer)
{
    struct remote *remote = peer->remote;
    char error[REMOTE_TEXT];
    hark_err err;

    pthread_mutex_lock(&peer->lock);
    bool wanted = peer->may_dial;
    pthread_mutex_unlock(&peer->lock);
    if (!wanted) { // relaxed: another thread has dialled, or nobody may
        return atomic_load_explicit(&peer->link, memory_order_relaxed) != NULL;
    }
    pthread_mutex_lock(&remote->lock);
    pthread_mutex_lock(&peer->lock);
    // relaxed: written under the lock that we hold.
    struct link *link = atomic_load_explicit(&peer->link, memory_order_relaxed);
    if (peer->may_dial && link == NULL) {
        link = hark__link_dial(remote, peer->endpoint, peer->incarnation, &err, error,
                               sizeof error);
        // release: pairs with lock_link.
        atomic_store_explicit(&peer->link, link, memory_order_release);
    }
    peer->may_dial = false;
    pthread_mutex_unlock(&peer->lock);
    pthread_mutex_unlock(&remote->lock);
    return link != NULL;
}

// One try to put a message into the outbox.
struct attempt {
    uint32_t seen; // peer's `room` before it
    bool has_link;
    hark_err err;
    struct remote_text error;
};

static __attribute__((cold, noinline)) void
explain_down(const struct peer *peer, struct remote_text *error)
{
    // relaxed: a hint, for the text only.
    if (atomic_load_explicit(&peer->is_replaced, memory_order_relaxed)) {
        snprintf(error->text, sizeof error->text,
                 "node %.80s is down: another one is at %.120s now, so look the actor "
                 "up again",
                 peer->name, peer->endpoint);
    } else {
        snprintf(error->text, sizeof error->text, "node %s is down", peer->name);
    }
}

static inline hark_err
try_put(struct peer *peer, hark_ref to, const struct outgoing *what,
        struct remote_text *error, bool *out_has_link)
{
    struct link *link = lock_link(peer);

    *out_has_link = link != NULL;
    if (link == NULL) {
        explain_down(peer, error);
        return HARK_ENONODE;
    }
    hark_err err = hark__link_put(link, to, what, error);
    pthread_mutex_unlock(&link->lock);
    return err;
}

// An attached thread waits for room on a full link.
static void
wait_for_room(struct peer *peer, uint32_t seen)
{
    struct env *env = peer->remote->node->env;

    // relaxed: a hint of how many to wake; the clock wakes who was overlooked.
    atomic_fetch_add_explicit(&peer->waiting, 1, memory_order_relaxed);
    env->ops->wait(env, &peer->room, seen, hark__env_now(env) + ROOM_WAIT_NS);
    atomic_fetch_sub_explicit(&peer->waiting, 1, memory_order_relaxed); // as above
}

// Does what another try needs. False: there is no use in one.
static bool
make_way(struct peer *peer, hark_ctx *ctx, struct attempt *attempt)
{
    if (attempt->err == HARK_ELIMIT && hark__ctx_is_thread(ctx)) {
        wait_for_room(peer, attempt->seen);
        return true;
    }
    if (attempt->err != HARK_EAGAIN) {
        return false;
    }
    if (!hark__pendings_prepare(&peer->remote->pendings, hark__ctx_pool(ctx))) {
        attempt->err = HARK_ENOMEM;
        snprintf(attempt->error.text, sizeof attempt->error.text, "%s",
                 hark_err_text(HARK_ENOMEM));
        return false;
    }
    return true;
}

// It could not be put, when `room` was as seen. Dials if there is no link, and waits
// for room if ctx may wait.
static __attribute__((noinline)) hark_err
put_later(struct peer *peer, hark_ctx *ctx, hark_ref to, const struct outgoing *what,
          struct attempt *attempt)
{
    for (;;) {
        bool has_new_link = !attempt->has_link && dial(peer);

        if (!has_new_link && !make_way(peer, ctx, attempt)) {
            return attempt->err;
        }
        // acquire: as in deliver.
        attempt->seen = atomic_load_explicit(&peer->room, memory_order_acquire);
        attempt->err = try_put(peer, to, what, &attempt->error, &attempt->has_link);
        if (attempt->err == HARK_OK) {
            return HARK_OK;
        }
    }
}

// A peer that waits for an answer must not wait for ever, nor hold what its asker has
// let go of: the end of the link ends both.
static __attribute__((cold, noinline)) void
break_link(struct peer *peer, const char *why)
{
    struct link *link = lock_link(peer);

    if (link != NULL) {
        hark__link_break_locked(link, why);
        pthread_mutex_unlock(&link->lock);
    }
}

static bool
is_cancel(const struct outgoing *what)
{
    return what->kind == MESSAGE_SYSTEM && what->value == NULL && what->credits == 0;
}

static hark_err
deliver(struct target *target, hark_ctx *ctx, hark_ref to, const struct outgoing *what)
{
    struct peer *peer = CONTAINER_OF(target, struct peer, target);
    struct attempt attempt;

    // acquire: pairs with has_room; read before we find the link full.
    attempt.seen = atomic_load_explicit(&peer->room, memory_order_acquire);
    attempt.err = try_put(peer, to, what, &attempt.error, &attempt.has_link);
    if (attempt.err == HARK_OK) {
        return HARK_OK;
    }
    hark_err err = put_later(peer, ctx, to, what, &attempt);
    if (err != HARK_OK) {
        hark__bounce(ctx, to, what, err, HARK_STAGE_NOT_SENT, attempt.error.text);
        if (what->kind == MESSAGE_REPLY && err != HARK_ENONODE) {
            hark__fail(ctx, to, what->correlation, err, HARK_STAGE_REPLY_LOST,
                       attempt.error.text);
        }
        if (what->kind == MESSAGE_FAILURE && err == HARK_ENOMEM) {
            break_link(peer, "no memory for an answer");
        }
        if (is_cancel(what) && err == HARK_ENOMEM) {
            break_link(peer, "no memory for a cancel");
        }
    }
    return err;
}

static void
flush(struct target *target, hark_ctx *ctx)
{
    struct link *link = lock_link(CONTAINER_OF(target, struct peer, target));

    (void)ctx;
    if (link != NULL) {
        hark__link_flush_locked(link);
        pthread_mutex_unlock(&link->lock);
    }
}

static bool
is_up(struct target *target)
{
    struct peer *peer = CONTAINER_OF(target, struct peer, target);

    pthread_mutex_lock(&peer->lock);
    // relaxed: written under the lock that we hold.
    bool up = atomic_load_explicit(&peer->link, memory_order_relaxed) != NULL
              || peer->may_dial;
    pthread_mutex_unlock(&peer->lock);
    return up;
}

static bool
call(struct target *target, hark_ref actor, char out[CALLED_SIZE])
{
    const struct peer *peer = CONTAINER_OF(target, struct peer, target);

    return hark__callees_find(&peer->remote->callees, actor, out);
}

// ---- the directory ----

struct peer *
hark__peer_find(struct remote *remote, uint64_t incarnation)
{
    struct target *target = hark__targets_find(&remote->node->targets, incarnation);

    return target != NULL ? CONTAINER_OF(target, struct peer, target) : NULL;
}

static void
copy_text(char *out, size_t size, hark_str text)
{
    snprintf(out, size, "%.*s", (int)(text.len < size ? text.len : size - 1), text.ptr);
}

static struct peer *
peer_new(struct remote *remote, uint64_t incarnation, hark_str name, hark_str endpoint)
{
    struct peer *peer = calloc(1, sizeof *peer);

    if (peer == NULL) {
        return NULL;
    }
    peer->target.deliver = deliver;
    peer->target.flush = flush;
    peer->target.is_up = is_up;
    peer->target.call = call;
    peer->target.node_name = peer->name;
    peer->remote = remote;
    peer->incarnation = incarnation;
    peer->trace_room = TRACES_OF_PEER;
    copy_text(peer->name, sizeof peer->name, name);
    copy_text(peer->endpoint, sizeof peer->endpoint, endpoint);
    pthread_mutex_init(&peer->lock, NULL);
    return peer;
}

struct peer *
hark__peer_get(struct remote *remote, uint64_t incarnation, hark_str name,
               hark_str endpoint)
{
    struct peer *peer = hark__peer_find(remote, incarnation);

    if (peer != NULL || remote->peer_count == PEERS_LIMIT) {
        return peer;
    }
    peer = peer_new(remote, incarnation, name, endpoint);
    if (peer == NULL
        || !hark__targets_add(&remote->node->targets, incarnation, &peer->target)) {
        hark__peer_free(peer);
        return NULL;
    }
    peer->next = remote->peers;
    remote->peers = peer;
    remote->peer_count++;
    return peer;
}

void
hark__peer_replaces(struct remote *remote, const struct peer *peer)
{
    if (peer->endpoint[0] == '\0') {
        return; // a guest
    }
    for (struct peer *other = remote->peers; other != NULL; other = other->next) {
        if (other != peer && strcmp(other->endpoint, peer->endpoint) == 0) {
            // relaxed: see explain_down.
            atomic_store_explicit(&other->is_replaced, true, memory_order_relaxed);
        }
    }
}

void
hark__peer_free(struct peer *peer)
{
    if (peer != NULL) {
        pthread_mutex_destroy(&peer->lock);
        free(peer);
    }
}

// ---- links that come and go ----

// Gives an epoch that no link to the peer has, if there is one, and makes it live. The
// peer's lock is held.
static uint8_t
begin_epoch(struct peer *peer)
{
    // relaxed: written under the lock that we hold.
    uint64_t live = atomic_load_explicit(&peer->target.live, memory_order_relaxed);
    uint8_t epoch = peer->epoch;

    do {
        epoch = (epoch + 1) % EPOCHS;
    } while ((live >> epoch & 1) != 0 && epoch != peer->epoch);
    peer->epoch = epoch;
    // seq_cst: as in end_epoch.
    atomic_fetch_or_explicit(&peer->target.live, UINT64_C(1) << epoch,
                             memory_order_seq_cst);
    return epoch;
}

static void
end_epoch(struct peer *peer, uint8_t epoch)
{
    // seq_cst: hark__node_lost comes behind it.
    atomic_fetch_and_explicit(&peer->target.live, ~(UINT64_C(1) << epoch),
                              memory_order_seq_cst);
}

void
hark__peer_gain(struct peer *peer, struct link *link)
{
    pthread_mutex_lock(&peer->lock);
    // relaxed: written under the lock that we hold. One way out at a time keeps the
    // order.
    if (atomic_load_explicit(&peer->link, memory_order_relaxed) == NULL) {
        // release: pairs with lock_link.
        atomic_store_explicit(&peer->link, link, memory_order_release);
    }
    peer->may_dial = false;
    link->epoch = begin_epoch(peer);
    pthread_mutex_unlock(&peer->lock);
}

// Another link to the same peer that is up; remote's lock is held.
static struct link *
other_link(const struct peer *peer, const struct link *gone)
{
    struct remote *remote = peer->remote;

    for (struct list *at = remote->links.next; at != &remote->links; at = at->next) {
        struct link *link = CONTAINER_OF(at, struct link, by_remote);

        if (link != gone && link->peer == peer && link->state == LINK_UP) {
            return link;
        }
    }
    return NULL;
}

void
hark__peer_lose(struct peer *peer, struct link *link)
{
    struct remote *remote = peer->remote;

    pthread_mutex_lock(&remote->lock);
    pthread_mutex_lock(&peer->lock);
    pthread_mutex_lock(&link->lock); // no sender uses it, or takes it to be ours later
    // relaxed: written under locks that we hold.
    if (atomic_load_explicit(&peer->link, memory_order_relaxed) == link) {
        struct link *other = other_link(peer, link);

        // release: pairs with lock_link.
        atomic_store_explicit(&peer->link, other, memory_order_release);
    }
    if (link->peer == peer) { // it was up
        end_epoch(peer, link->epoch);
    }
    pthread_mutex_unlock(&link->lock);
    pthread_mutex_unlock(&peer->lock);
    pthread_mutex_unlock(&remote->lock);
    hark__peer_has_room(peer); // who waits for it must look again
}

// ---- losses ----

static void
set_untold(struct peer *peer, bool untold)
{
    peer->remote->untold += (untold ? 1 : 0) - (peer->untold ? 1u : 0u);
    peer->untold = untold;
}

bool
hark__peer_tell_loss(struct peer *peer)
{
    bool is_told = hark__node_lost(peer->remote->ctx, peer->incarnation);

    set_untold(peer, !is_told);
    return is_told;
}

bool
hark__peers_tell_losses(struct remote *remote)
{
    if (remote->untold == 0) {
        return true;
    }
    pthread_mutex_lock(&remote->lock);
    struct peer *peer = remote->peers; // later ones are put before it
    pthread_mutex_unlock(&remote->lock);
    for (; peer != NULL; peer = peer->next) {
        if (peer->untold) {
            (void)hark__peer_tell_loss(peer);
        }
    }
    return remote->untold == 0;
}

// ---- room ----

void
hark__peer_has_room(struct peer *peer)
{
    struct env *env = peer->remote->node->env;

    // release: pairs with the acquire in put.
    atomic_fetch_add_explicit(&peer->room, 1, memory_order_release);
    // relaxed: see wait_for_room.
    for (uint32_t i = atomic_load_explicit(&peer->waiting, memory_order_relaxed); i > 0;
         i--) {
        env->ops->wake(env, &peer->room);
    }
}
