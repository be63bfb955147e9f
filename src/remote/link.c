#include "remote/link.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_MS INT64_C(1000000)
#define LINK_GAVE_UP "the transport gave up"

enum {
    FIRST_SENT = 64,
    LEAST_HEARTBEAT_MS = 20,
    GIVE_AT = 8 * 1024,       // bytes of a batch that is not worth a copy
    OUTBOX_MOST = 128 * 1024, // bytes that an outbox has from the start, at most
};

// ---- making and freeing ----

// An empty batch. Its head is stamped when it leaves.
static void
start_batch(struct bytes *batch)
{
    hark__bytes_truncate(batch, 0);
    hark__frame_batch(batch, 0, 0);
}

// Zeroed memory, but for the lock, which somebody who is late may just hold. remote's lock
// is held. NULL: no memory.
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

void
hark__link_drop_parts(struct link *link, uint32_t count)
{
    while (link->part_count > count) {
        hark_bytes *part = &link->parts[--link->part_count];

        link->part_bytes -= part->len;
        hark_buffer_release(part->buffer);
    }
}

// Takes a link that is gone, and in no list. remote's lock is held.
static void
link_retire(struct link *link)
{
    hark__link_drop_parts(link, 0);
    hark__bytes_fini(&link->outbox);
    hark__types_in_fini(&link->types_in);
    hark__types_out_fini(&link->types_out);
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
    link->opened_ns = link->heard_ns = link->sent_ns = hark__env_now(remote->node->env);
    hark__list_init(&link->by_remote);
    hark__bytes_init(&link->outbox);
    start_batch(&link->outbox);
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

struct link *
hark__link_dial(struct remote *remote, const char *endpoint, uint64_t expected,
                hark_err *out_err, char *error, size_t error_size)
{
    struct link *link = link_new(remote);

    *out_err = HARK_ENOMEM;
    if (link == NULL) {
        snprintf(error, error_size, "link to %s: no memory", endpoint);
        return NULL;
    }
    link->is_initiator = true;
    link->expected = expected;
    link->state = LINK_CONNECTING;
    snprintf(link->endpoint, sizeof link->endpoint, "%s", endpoint);
    *out_err =
        hark__net_connect(remote->net, endpoint, link, &link->pipe, error, error_size);
    if (*out_err != HARK_OK) {
        link_retire(link);
        return NULL;
    }
    hark__remote_begin(remote);
    hark__list_append(&remote->links, &link->by_remote);
    *out_err = say_hello(link, FRAME_HELLO);
    if (*out_err != HARK_OK) {
        pthread_mutex_lock(&link->lock);
        link->broken = LINK_GAVE_UP; // the poller takes it down
        pthread_mutex_unlock(&link->lock);
    }
    hark__net_kick(remote->net); // its clocks run from now on
    return link;
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

// Tells who waits only for the link that it is up.
static void
end_connects(struct link *link)
{
    struct remote *remote = link->remote;
    struct pending_filter connects = {.link = link, .connects_only = true};
    struct pending pending;
    uint32_t cursor = 0;

    while (hark__pending_take_next(&remote->pendings, &cursor, &connects, &pending)) {
        hark__inbound_found(remote->ctx, &pending,
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
    end_connects(link);
    hark__net_kick(remote->net); // its clocks are others now
    return HARK_OK;
}

// ---- sending frames ----

// Remembers a frame until it is acknowledged. The link's lock is held.
static bool
remember(struct link *link, uint32_t bytes, uint32_t tells)
{
    uint32_t count = (uint32_t)(link->seq_out - link->seq_acked);

    if (count == link->sent_capacity) {
        uint32_t capacity = count == 0 ? FIRST_SENT : count * 2;
        struct sent_frame *sent = malloc(capacity * sizeof *sent);

        if (sent == NULL) {
            return false;
        }
        for (uint32_t i = 0; i < count; i++) {
            sent[i] = link->sent[(link->sent_first + i) % link->sent_capacity];
        }
        free(link->sent);
        link->sent = sent;
        link->sent_capacity = capacity;
        link->sent_first = 0;
    }
    link->sent[(link->sent_first + count) % link->sent_capacity] =
        (struct sent_frame){bytes, tells};
    return true;
}

void
hark__link_break_locked(struct link *link, const char *why)
{
    link->broken = why;
    hark__net_kick(link->remote->net);
}

// A frame has left, or could not. The link's lock is held.
static void
note_sent(struct link *link, hark_err err)
{
    if (err != HARK_OK) {
        hark__link_break_locked(link, LINK_GAVE_UP);
        return;
    }
    link->sent_ns = hark__env_now(link->remote->node->env);
}

// A batch that is as large as the last one was, so that it need not grow. False: no
// memory.
static bool
open_like(const struct bytes *last, struct bytes *out_batch)
{
    size_t size = last->size + GIVE_AT / 4;

    hark__bytes_init(out_batch);
    if (!hark__bytes_reserve_just(out_batch, size < OUTBOX_MOST ? size : OUTBOX_MOST)) {
        return false;
    }
    start_batch(out_batch);
    return true;
}

// The transport is done with a part.
static void
release_part(void *data, void *buffer)
{
    (void)data;
    hark_buffer_release(buffer);
}

// The parts' references go with them.
static hark_err
send_with_parts(struct link *link)
{
    struct net_part parts[NET_PARTS];
    uint32_t count = link->part_count;

    for (uint32_t i = 0; i < count; i++) {
        const hark_bytes *part = &link->parts[i];

        parts[i] = (struct net_part){part->ptr, part->len, release_part, part->buffer};
    }
    link->part_count = 0;
    link->part_bytes = 0;
    hark_err err = hark__pipe_send_parts(link->pipe, link->outbox.data,
                                         link->outbox.size, parts, count);
    start_batch(&link->outbox);
    return err;
}

// A large batch goes with its memory, unless most of that is empty.
static hark_err
send_outbox(struct link *link)
{
    struct bytes full = link->outbox, next;

    if (link->part_count > 0) {
        return send_with_parts(link);
    }
    if (full.size >= GIVE_AT && full.size >= full.capacity / 2
        && open_like(&full, &next)) {
        link->outbox = next;
        return hark__pipe_give(link->pipe, full.data, full.size);
    }
    hark_err err = hark__pipe_send(link->pipe, full.data, full.size);
    start_batch(&link->outbox);
    return err;
}

void
hark__link_flush_locked(struct link *link)
{
    struct bytes *outbox = &link->outbox;

    if (link->state != LINK_UP || link->broken != NULL
        || outbox->size <= FRAME_HEAD_SIZE) {
        return;
    }
    size_t bytes = hark__link_batch_bytes(link);
    if (!remember(link, (uint32_t)bytes, link->outbox_tells)) {
        note_sent(link, HARK_ENOMEM);
        return;
    }
    link->seq_out++;
    link->unacked_bytes += bytes;
    hark__frame_stamp(outbox->data, link->seq_out, link->ack_out);
    link->outbox_tells = 0;
    link->may_repeat = false;
    note_sent(link, send_outbox(link));
}

void
hark__link_flush(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    hark__link_flush_locked(link);
    pthread_mutex_unlock(&link->lock);
}

void
hark__link_heartbeat_locked(struct link *link)
{
    struct bytes frame;

    hark__bytes_init(&frame);
    if (link->state == LINK_UP && link->broken == NULL) {
        hark__frame_heartbeat(&frame, link->seq_out, link->ack_out);
        note_sent(link, frame.failed
                            ? HARK_ENOMEM
                            : hark__pipe_send(link->pipe, frame.data, frame.size));
    }
    hark__bytes_fini(&frame);
}

void
hark__link_heartbeat(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    hark__link_heartbeat_locked(link);
    pthread_mutex_unlock(&link->lock);
}

bool
hark__link_acked(struct link *link, uint64_t ack)
{
    pthread_mutex_lock(&link->lock);
    if (ack > link->seq_out) {
        pthread_mutex_unlock(&link->lock);
        return false;
    }
    bool had_no_room = link->ack_wanted && ack > link->seq_acked;
    link->ack_wanted = link->ack_wanted && !had_no_room;
    while (link->seq_acked < ack) {
        link->unacked_bytes -= link->sent[link->sent_first].bytes;
        link->sent_first = (link->sent_first + 1) % link->sent_capacity;
        link->seq_acked++;
    }
    pthread_mutex_unlock(&link->lock);
    if (had_no_room && link->peer != NULL) {
        hark__peer_has_room(link->peer);
    }
    return true;
}

// ---- going down ----

static void
say_goodbye_to(struct link *link, int code, const char *why)
{
    struct bytes frame;

    hark__bytes_init(&frame);
    hark__frame_goodbye(&frame, link->seq_out, link->ack_out, code, hark_str_of(why));
    if (!frame.failed) {
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

// Messages in frames that the peer has not acknowledged, or that never left.
static uint32_t
count_lost(const struct link *link)
{
    uint32_t count = (uint32_t)(link->seq_out - link->seq_acked);
    uint32_t lost = link->outbox_tells;

    for (uint32_t i = 0; i < count; i++) {
        lost += link->sent[(link->sent_first + i) % link->sent_capacity].tells;
    }
    return lost;
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
        hark__fail(remote->ctx, pending.asker, pending.correlation, code, stage, text);
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
    uint32_t lost = count_lost(link);
    pthread_mutex_unlock(&link->lock);
    if (say_goodbye) {
        say_goodbye_to(link, code, why);
    }
    hark__pipe_close(link->pipe);
    fail_pendings(link, code, was_up ? HARK_STAGE_SENT : HARK_STAGE_NOT_SENT, text);
    report_lost(link, lost, code, text);
    // relaxed: this thread has written it.
    if (was_up
        && atomic_load_explicit(&link->peer->target.lost, memory_order_relaxed)) {
        hark__node_lost(remote->ctx, link->peer->incarnation);
    }
    pthread_mutex_lock(&remote->lock);
    link_retire(link);
    pthread_mutex_unlock(&remote->lock);
}

// ---- clocks ----

void
hark__link_was_away(struct link *link, int64_t away_ns, int64_t now_ns)
{
    int64_t heard_ns = link->heard_ns + away_ns;

    link->heard_ns = heard_ns < now_ns ? heard_ns : now_ns;
}

// How long a link may be quiet, in parts of the silence that ends it. Who connected beats
// sooner: then the other side, whose answer it is, has no clock of its own to wake for.
static int64_t
beat_after_ns(const struct link *link)
{
    int64_t limit_ns = (int64_t)link->heartbeat_ms * NS_PER_MS;

    return link->is_initiator ? limit_ns * 2 / 5 : limit_ns / 2;
}

// So much sooner is no waste, where it saves a waking of its own.
static int64_t
beat_along_ns(const struct link *link)
{
    return (int64_t)link->heartbeat_ms * NS_PER_MS / 5;
}

bool
hark__link_beats(struct link *link, int64_t now_ns)
{
    pthread_mutex_lock(&link->lock);
    bool beats =
        link->state == LINK_UP && now_ns - link->sent_ns >= beat_after_ns(link);
    pthread_mutex_unlock(&link->lock);
    return beats;
}

void
hark__link_answer(struct link *link, bool always)
{
    int64_t now_ns = hark__env_now(link->remote->node->env);

    pthread_mutex_lock(&link->lock);
    if (always || now_ns - link->sent_ns >= beat_along_ns(link)) {
        hark__link_heartbeat_locked(link);
    }
    bool is_calm = link->is_calm;
    pthread_mutex_unlock(&link->lock);
    if (is_calm) {
        hark__net_calm(link->remote->net);
    }
}

// NULL: all is well. Else why the link ends, by its clocks.
static const char *
find_overdue(const struct link *link, int64_t now_ns, char *text, size_t size)
{
    if (link->state == LINK_CONNECTING) {
        if (now_ns - link->opened_ns <= (int64_t)link->remote->connect_ms * NS_PER_MS) {
            return NULL;
        }
        snprintf(text, size, "nobody answered within %" PRIu32 " ms",
                 link->remote->connect_ms);
        return text;
    }
    if (now_ns - link->heard_ns <= (int64_t)link->heartbeat_ms * NS_PER_MS) {
        return NULL;
    }
    snprintf(text, size, "silent for %" PRIu32 " ms", link->heartbeat_ms);
    return text;
}

// A large outbox goes when nothing is in it: it would be held for ever, and glibc gives
// nothing back that lies below it. The lock is held.
static void
shrink_outbox(struct link *link)
{
    struct bytes small;

    if (link->outbox.capacity <= GIVE_AT) {
        return;
    }
    hark__bytes_init(&small);
    start_batch(&small);
    if (small.failed) {
        hark__bytes_fini(&small);
        return;
    }
    hark__bytes_fini(&link->outbox);
    link->outbox = small;
}

// While there is traffic, or a link may come up, it is looked at each tick_ms: what a
// long turn has put into the outbox shall leave. A calm one has its clocks only. The lock
// is held.
static int64_t
next_look_ns(struct link *link, int64_t now_ns)
{
    bool is_quiet =
        link->seq_ticked == link->seq_out && link->outbox.size <= FRAME_HEAD_SIZE;

    link->seq_ticked = link->seq_out;
    link->is_calm = link->state == LINK_UP && link->broken == NULL && is_quiet;
    if (!link->is_calm) {
        return now_ns + link->remote->tick_ms * NS_PER_MS;
    }
    shrink_outbox(link);
    int64_t silent_ns = link->heard_ns + (int64_t)link->heartbeat_ms * NS_PER_MS + 1;
    int64_t beat_ns = link->sent_ns + beat_after_ns(link);
    int64_t due_ns = silent_ns < beat_ns ? silent_ns : beat_ns;
    return due_ns > now_ns ? due_ns : now_ns + NS_PER_MS;
}

int64_t
hark__link_tick(struct link *link, int64_t now_ns, bool beats)
{
    char text[REMOTE_TEXT];

    pthread_mutex_lock(&link->lock);
    const char *broken = link->broken;
    const char *overdue = find_overdue(link, now_ns, text, sizeof text);
    bool is_up = link->state == LINK_UP;
    pthread_mutex_unlock(&link->lock);
    if (broken != NULL || overdue != NULL) {
        hark__link_down(link, HARK_ENONODE, broken != NULL ? broken : overdue,
                        broken == NULL && is_up);
        return INT64_MAX;
    }
    pthread_mutex_lock(&link->lock);
    hark__link_flush_locked(link);
    bool is_due = now_ns - link->sent_ns >= beat_after_ns(link);
    bool may_join = link->is_initiator && now_ns - link->sent_ns >= beat_along_ns(link);
    if (is_due || (beats && may_join)) {
        hark__link_heartbeat_locked(link);
    }
    int64_t due_ns = next_look_ns(link, now_ns);
    pthread_mutex_unlock(&link->lock);
    return due_ns;
}
