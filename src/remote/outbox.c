// Outbox: the batch that a link is making, and those that have left and are not
// acknowledged.
//
// A batch leaves as one frame, with a number. Until the peer has acknowledged that
// number, the link remembers how many bytes are under way, which bounds its senders,
// and how many messages would be lost without a word if it ended.

#include "remote/link.h"

#include <stdlib.h>

#include "base/handed.h"

enum {
    FIRST_SENT = 64,
    GIVE_AT = 8 * 1024,       // bytes of a batch that is not worth a copy
    OUTBOX_MOST = 128 * 1024, // bytes that an outbox has from the start, at most
};

// ---- one batch ----

void
hark__outbox_start(struct bytes *batch)
{
    hark__bytes_truncate(batch, 0);
    hark__frame_batch(batch, 0, 0);
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

void
hark__outbox_shrink(struct link *link)
{
    struct bytes small;

    if (link->outbox.capacity <= GIVE_AT) {
        return;
    }
    hark__bytes_init(&small);
    hark__outbox_start(&small);
    if (small.failed) {
        hark__bytes_fini(&small);
        return;
    }
    hark__bytes_fini(&link->outbox);
    link->outbox = small;
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
    hark__outbox_start(out_batch);
    return true;
}

// The transport is done with a part; perhaps on libzmq's thread.
static void
release_part(void *data, void *buffer)
{
    hark__handed_back(data);
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
    hark__outbox_start(&link->outbox);
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
    hark__outbox_start(&link->outbox);
    return err;
}

// ---- what is under way ----

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

void
hark__link_note_sent(struct link *link, hark_err err)
{
    if (err != HARK_OK) {
        hark__link_break_locked(link, "the transport gave up");
        return;
    }
    link->sent_ns = hark__env_now(link->remote->node->env);
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
        hark__link_note_sent(link, HARK_ENOMEM);
        return;
    }
    link->seq_out++;
    link->unacked_bytes += bytes;
    hark__frame_stamp(outbox->data, link->seq_out, link->ack_out);
    link->outbox_tells = 0;
    link->may_repeat = false;
    hark__link_note_sent(link, send_outbox(link));
}

void
hark__link_flush(struct link *link)
{
    pthread_mutex_lock(&link->lock);
    hark__link_flush_locked(link);
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

uint32_t
hark__link_lost(const struct link *link)
{
    uint32_t count = (uint32_t)(link->seq_out - link->seq_acked);
    uint32_t lost = link->outbox_tells;

    for (uint32_t i = 0; i < count; i++) {
        lost += link->sent[(link->sent_first + i) % link->sent_capacity].tells;
    }
    return lost;
}
