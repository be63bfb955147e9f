#include "remote/pressure.h"

enum {
    ANSWERS_SHARE = 4, // answers may make a link this much fuller than messages,
    ANSWERS_LEAST = 16 * 1024 * 1024, // and at least this full, bytes
};

// The link is full. The peer answers a HEARTBEAT when it has something to acknowledge.
void
hark__pressure_want_ack(struct link *link)
{
    if (!link->ack_wanted) {
        link->ack_wanted = true;
        hark__link_flush_locked(link);
        hark__link_heartbeat_locked(link);
    }
}

// Answers go out over a full link, too. But who asks on and on, and acknowledges none
// of them, must not fill our memory.
void
hark__pressure_bound_answers(struct link *link)
{
    size_t bytes = link->unacked_bytes + hark__link_batch_bytes(link);

    if (link->state != LINK_UP || link->broken != NULL
        || !hark__pressure_is_full(link)) {
        return;
    }
    hark__pressure_want_ack(link);
    if (bytes > ANSWERS_LEAST
        && bytes / ANSWERS_SHARE > link->remote->link_limit_bytes) {
        hark__link_break_locked(link, "it acknowledges none of our answers");
    }
}
