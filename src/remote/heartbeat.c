// Heartbeat: what a link does by its clocks.
//
// One that is quiet for longer than the silence that both sides have agreed on has
// ended. So each side says something before; and as a HEARTBEAT is answered, one side's
// clock is enough for both (docs/adr/0011-idle-links-share-a-clock.md).

#include "remote/link.h"

#include <inttypes.h>
#include <stdio.h>

void
hark__link_heartbeat_locked(struct link *link)
{
    struct bytes frame;

    hark__bytes_init(&frame);
    if (link->state == LINK_UP && link->broken == NULL) {
        hark__frame_heartbeat(&frame, link->seq_out, link->ack_out);
        hark__link_note_sent(
            link, frame.failed ? HARK_ENOMEM
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

void
hark__link_was_away(struct link *link, int64_t away_ns, int64_t now_ns)
{
    int64_t heard_ns = link->heard_ns + away_ns;

    link->heard_ns = heard_ns < now_ns ? heard_ns : now_ns;
}

// How long a link may be quiet, in parts of the silence that ends it. Who connected
// beats sooner: then the other side, whose answer it is, has no clock of its own to
// wake for.
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
        bool has_before = link->before[0] != '\0';

        snprintf(text, size, "nobody answered within %" PRIu32 " ms%s%s%s",
                 link->remote->connect_ms, has_before ? " (before: " : "", link->before,
                 has_before ? ")" : "");
        return text;
    }
    if (now_ns - link->heard_ns <= (int64_t)link->heartbeat_ms * NS_PER_MS) {
        return NULL;
    }
    snprintf(text, size, "silent for %" PRIu32 " ms", link->heartbeat_ms);
    return text;
}

// While there is traffic, or a link may come up, it is looked at each tick_ms: what a
// long turn has put into the outbox shall leave. A calm one has its clocks only. The
// lock is held.
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
    hark__outbox_shrink(link);
    int64_t silent_ns = link->heard_ns + (int64_t)link->heartbeat_ms * NS_PER_MS + 1;
    int64_t beat_ns = link->sent_ns + beat_after_ns(link);
    int64_t due_ns = silent_ns < beat_ns ? silent_ns : beat_ns;
    return due_ns > now_ns ? due_ns : now_ns + NS_PER_MS;
}

// Opens the link if that is still to be done. False: it is gone.
static bool
open_if_planned(struct link *link)
{
    char error[REMOTE_TEXT];

    if (link->pipe != NULL) {
        return true;
    }
    hark_err err = hark__link_open_planned(link, error, sizeof error);
    if (err != HARK_OK) {
        hark__link_down(link, err, error, false);
    }
    return err == HARK_OK;
}

int64_t
hark__link_tick(struct link *link, int64_t now_ns, bool beats)
{
    char text[REMOTE_TEXT];

    if (!open_if_planned(link)) {
        return INT64_MAX;
    }
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
    hark__callees_tick(&link->callees_out);
    bool is_due = now_ns - link->sent_ns >= beat_after_ns(link);
    bool may_join = link->is_initiator && now_ns - link->sent_ns >= beat_along_ns(link);
    if (is_due || (beats && may_join)) {
        hark__link_heartbeat_locked(link);
    }
    int64_t due_ns = next_look_ns(link, now_ns);
    pthread_mutex_unlock(&link->lock);
    return due_ns;
}
