#include "remote/remote.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remote/link.h"

enum { TICKS_A_HEARTBEAT = 8, MOST_TICK_MS = 250, SWEEP_MS = 1000, LINGER_MS = 200 };

// Between two looks at a link that is not calm.
static uint32_t
tick_ms(uint32_t heartbeat_ms)
{
    uint32_t tick = heartbeat_ms / TICKS_A_HEARTBEAT;

    return tick < 5 ? 5 : tick > MOST_TICK_MS ? MOST_TICK_MS : tick;
}

// ---- who polls ----

static bool
idler_wait(struct idler *idler, int64_t until_ns)
{
    return hark__net_wait(CONTAINER_OF(idler, struct remote, idler)->net, until_ns);
}

static void
idler_poll(struct idler *idler, struct worker *worker)
{
    hark__net_poll(CONTAINER_OF(idler, struct remote, idler)->net, worker);
}

static void
idler_wake(struct idler *idler)
{
    hark__net_unwait(CONTAINER_OF(idler, struct remote, idler)->net);
}

void
hark__remote_begin(struct remote *remote)
{
    if (!remote->has_begun) {
        remote->has_begun = true;
        hark__node_wait_in(remote->node, &remote->idler);
    }
}

static void
idler_leave(struct idler *idler)
{
    hark__net_leave(CONTAINER_OF(idler, struct remote, idler)->net);
}

// ---- the sink ----

// What we send from here goes to that worker first.
static void
on_begin(struct sink *sink, void *where)
{
    hark__service_enter(CONTAINER_OF(sink, struct remote, sink)->ctx, where);
}

static void
on_gone(struct sink *sink, struct pipe *pipe, hark_err err, const char *why)
{
    struct remote *remote = CONTAINER_OF(sink, struct remote, sink);

    // Whoever dialled holds the lock until the link is whole.
    pthread_mutex_lock(&remote->lock);
    pthread_mutex_unlock(&remote->lock);
    struct link *link = hark__pipe_user(pipe);
    if (link != NULL) {
        hark__link_down(link, err, why, false);
        hark__ctx_flush(remote->ctx);
    } else {
        hark__pipe_close(pipe);
    }
}

// Gives the link behind that one (NULL: the first); NULL: there is none. Only this
// thread takes links out; those that others add meanwhile come last, with a kick.
static struct link *
next_link(struct remote *remote, const struct link *link)
{
    pthread_mutex_lock(&remote->lock);
    struct list *at = link != NULL ? link->by_remote.next : remote->links.next;
    bool is_end = at == &remote->links;
    pthread_mutex_unlock(&remote->lock);
    return is_end ? NULL : CONTAINER_OF(at, struct link, by_remote);
}

// Rows whose asker's own clock has ended the request long ago.
static void
sweep(struct remote *remote, int64_t now_ns)
{
    struct pending_filter expired = {.now_ns = now_ns};
    struct pending pending;
    uint32_t cursor = 0;

    if (now_ns < remote->next_sweep_ns) {
        return;
    }
    remote->next_sweep_ns = now_ns + SWEEP_MS * NS_PER_MS;
    while (hark__pending_take_next(&remote->pendings, &cursor, &expired, &pending)) {
        hark__fail_surely(remote->ctx, pending.asker, pending.correlation,
                          HARK_ETIMEOUT, HARK_STAGE_SENT, NULL, pending.spare);
    }
    hark__pendings_trim(&remote->pendings, hark__ctx_pool(remote->ctx));
}

// Time since the last tick in which this node did not run, if this one is late: it was
// stopped, or the machine was busy. Who sent meanwhile was not silent, even if it has
// not come to us yet. Since when it did not run it cannot tell: all but tick_ms is
// forgiven.
static int64_t
time_away_ns(struct remote *remote, int64_t now_ns)
{
    int64_t tick_ns = (int64_t)remote->tick_ms * NS_PER_MS;
    int64_t gap_ns = now_ns - remote->ticked_ns;

    remote->ticked_ns = now_ns;
    return now_ns - remote->due_ns > tick_ns ? gap_ns - tick_ns : 0;
}

// Who has to beat has company: one waking serves all links.
static bool
some_link_beats(struct remote *remote, int64_t now_ns)
{
    bool beats = false;

    for (struct link *link = next_link(remote, NULL); link != NULL && !beats;
         link = next_link(remote, link)) {
        beats = hark__link_beats(link, now_ns);
    }
    return beats;
}

// A link that goes down takes itself out, and no other.
static int64_t
tick_links(struct remote *remote, int64_t now_ns, int64_t away_ns)
{
    bool beats = some_link_beats(remote, now_ns);
    int64_t due_ns = INT64_MAX;

    for (struct link *link = next_link(remote, NULL); link != NULL;) {
        struct link *next = next_link(remote, link);

        hark__link_was_away(link, away_ns, now_ns);
        int64_t link_ns = hark__link_tick(link, now_ns, beats);
        due_ns = link_ns < due_ns ? link_ns : due_ns;
        link = next;
    }
    return due_ns;
}

static int64_t
on_tick(struct sink *sink)
{
    struct remote *remote = CONTAINER_OF(sink, struct remote, sink);
    int64_t now_ns = hark__env_now(remote->node->env);
    int64_t away_ns = time_away_ns(remote, now_ns);
    int64_t due_ns = tick_links(remote, now_ns, away_ns);

    if (!hark__peers_tell_losses(remote)) {
        int64_t again_ns = now_ns + remote->tick_ms * NS_PER_MS;

        due_ns = again_ns < due_ns ? again_ns : due_ns;
    }
    sweep(remote, now_ns);
    hark__ctx_flush(remote->ctx);
    remote->due_ns = due_ns;
    return due_ns;
}

// ---- opening and closing ----

hark_err
hark__remote_open(const struct remote_options *options, struct remote **out_remote)
{
    struct remote *remote = calloc(1, sizeof *remote);

    if (remote == NULL) {
        return HARK_ENOMEM;
    }
    remote->node = options->node;
    remote->sink = (struct sink){on_begin, hark__session_frame, on_gone, on_tick};
    remote->idler = (struct idler){idler_wait, idler_poll, idler_wake, idler_leave};
    remote->heartbeat_ms = options->heartbeat_ms;
    remote->tick_ms = tick_ms(options->heartbeat_ms);
    remote->due_ns = INT64_MAX;
    remote->connect_ms = options->connect_ms;
    remote->link_limit_bytes = options->link_limit_bytes;
    remote->frame_limit_bytes = options->frame_limit_bytes;
    pthread_mutex_init(&remote->lock, NULL);
    hark__list_init(&remote->links);
    hark__list_init(&remote->unused);
    hark__pendings_init(&remote->pendings);
    hark__callees_init(&remote->callees);
    remote->ctx = hark__service_open(options->node);
    struct net_options net = {
        .env = options->node->env,
        .sink = &remote->sink,
        .frame_limit_bytes = options->frame_limit_bytes,
        .hub = options->hub,
    };
    remote->net = remote->ctx != NULL ? hark__net_open(&net) : NULL;
    options->node->remote = remote;
    if (remote->net == NULL) {
        hark__remote_close(remote);
        return HARK_ENOMEM;
    }
    *out_remote = remote;
    return HARK_OK;
}

// Ends every link from outside the poller, and then the poller.
static void
close_links(struct remote *remote)
{
    pthread_mutex_lock(&remote->lock); // no link is freed meanwhile
    remote->is_closing = true;
    for (struct list *at = remote->links.next; at != &remote->links; at = at->next) {
        hark__link_goodbye(CONTAINER_OF(at, struct link, by_remote), HARK_ESTOPPED,
                           "it stops");
    }
    pthread_mutex_unlock(&remote->lock);
    hark__net_close(remote->net, LINGER_MS);
    hark__links_free(remote);
}

void
hark__remote_close(struct remote *remote)
{
    remote->node->remote = NULL;
    if (remote->net != NULL) {
        close_links(remote);
    }
    while (remote->peers != NULL) {
        struct peer *peer = remote->peers;

        remote->peers = peer->next;
        hark__peer_free(peer);
    }
    hark__pendings_fini(&remote->pendings,
                        remote->ctx != NULL ? hark__ctx_pool(remote->ctx) : NULL);
    if (remote->ctx != NULL) {
        hark__service_enter(remote->ctx, NULL);
        hark__service_close(remote->ctx);
    }
    hark__callees_fini(&remote->callees);
    pthread_mutex_destroy(&remote->lock);
    free(remote);
}

void
hark__remote_stats(struct remote *remote, hark_stats *out_stats)
{
    // relaxed, both: counts of the recent past.
    out_stats->links = atomic_load_explicit(&remote->links_up, memory_order_relaxed);
    out_stats->frames_rejected =
        atomic_load_explicit(&remote->frames_rejected, memory_order_relaxed);
}
