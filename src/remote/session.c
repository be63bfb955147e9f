// The session: frames from another node, which say hello, carry batches, beat and say
// goodbye. On the net's poller thread; nothing here is trusted.

#include "remote/link.h"

#include <inttypes.h>
#include <stdio.h>

#include "remote/arrival.h"
#include "remote/inbound.h"

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
        hark__link_down(link, HARK_ENONODE,
                        "the node that was meant is gone: another one answers there",
                        true);
        return;
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
        (void)hark__inbound_batch(link, frame, size);
    } else if (frame->kind == FRAME_HEARTBEAT && frame->seq > link->seq_in) {
        hark__link_down(link, HARK_EPROTO, "frames are missing", true);
    } else if (frame->kind == FRAME_HEARTBEAT) {
        hark__link_answer(link, link->unacked_in > 0);
        link->unacked_in = 0;
    }
}

void
hark__session_frame(struct sink *sink, struct pipe *pipe, struct arrival *arrival)
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
        take_frame(link, &frame, hark__arrival_bytes(arrival));
    } else {
        take_stranger(remote, pipe, &frame);
    }
    hark__arrival_forget(remote);
    hark__ctx_flush(remote->ctx);
}
