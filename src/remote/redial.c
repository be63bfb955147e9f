// Redial: lookups that met the end of a link are asked again.
//
// A node that has restarted at its endpoint is there, while the link to the one before
// it is still dying: whoever looks it up just then means the new one. So a lookup (or a
// connect) whose time is not over goes on with a new link to the same endpoint. It asks
// only for a name: it may well be asked twice.
//
// The first link in place of one that was up is opened at once. If that goes as well,
// the next ones are opened by a tick each, so that nobody who accepts and hangs up
// keeps us busy. A node of another protocol or version is not asked again.

#include "remote/link.h"

#include <stdio.h>

// Rows of `gone` that may be asked again, by their time. Gives when the oldest of them
// was; INT64_MAX: there are none.
static int64_t
find_oldest(const struct link *gone, int64_t now_ns)
{
    struct remote *remote = gone->remote;
    struct pending_filter lookups = {.link = gone, .lookups_only = true};
    int64_t patience_ns = (int64_t)remote->connect_ms * NS_PER_MS;
    int64_t oldest_ns = INT64_MAX;
    struct pending pending;
    uint32_t cursor = 0;
    uint64_t number;

    while (hark__pending_see_next(&remote->pendings, &cursor, &lookups, &number,
                                  &pending)) {
        int64_t started_ns = pending.lookup->started_ns;

        if (now_ns - started_ns < patience_ns && started_ns < oldest_ns) {
            oldest_ns = started_ns;
        }
    }
    return oldest_ns;
}

// Has those rows wait for link, from oldest_ns on.
static void
move_rows(const struct link *gone, struct link *link, int64_t oldest_ns)
{
    struct pendings *pendings = &gone->remote->pendings;
    struct pending_filter lookups = {.link = gone, .lookups_only = true};
    struct pending pending;
    uint32_t cursor = 0;
    uint64_t number;

    while (hark__pending_see_next(pendings, &cursor, &lookups, &number, &pending)) {
        hark_err err = HARK_OK;

        if (pending.lookup->started_ns < oldest_ns) {
            continue; // its time is over
        }
        if (pending.kind == PENDING_LOOKUP) {
            err = hark__link_lookup_again(link, number, &pending);
        }
        if (err == HARK_OK || err == HARK_ENONODE) { // then that one goes as well
            hark__pending_move(pendings, number, link);
        }
    }
}

// It never came up, in all its time.
static bool
is_overdue(const struct link *gone)
{
    const struct remote *remote = gone->remote;

    return gone->peer == NULL
           && hark__env_now(remote->node->env) - gone->opened_ns
                  > (int64_t)remote->connect_ms * NS_PER_MS;
}

// Why there is no other link.
struct fault {
    hark_err err; // HARK_OK: nothing is to be said
    char text[REMOTE_TEXT];
};

// Another link to the endpoint of gone. remote's lock is held. NULL: there is none.
static struct link *
other_link(const struct link *gone, int64_t oldest_ns, const char *why,
           struct fault *fault)
{
    struct remote *remote = gone->remote;
    struct link *link = hark__link_find(remote, gone->endpoint);

    if (link != NULL) {
        return link;
    }
    bool at_once = gone->peer != NULL && !gone->is_redial;
    link = at_once ? hark__link_dial(remote, gone->endpoint, 0, &fault->err,
                                     fault->text, sizeof fault->text)
                   : hark__link_plan(remote, gone->endpoint);
    if (link != NULL) {
        link->is_redial = true;
        link->opened_ns = oldest_ns; // it has the time that they have
        // That nobody answered in its time is what the next one says, too.
        snprintf(link->before, sizeof link->before, "%s",
                 is_overdue(gone) ? gone->before : why);
    }
    return link;
}

// Nobody can be asked again: lookups fail for that reason.
static void
fail_lookups(const struct link *gone, const struct fault *fault)
{
    struct remote *remote = gone->remote;
    struct pending_filter lookups = {.link = gone, .lookups_only = true};
    struct pending pending;
    uint32_t cursor = 0;

    while (hark__pending_take_next(&remote->pendings, &cursor, &lookups, &pending)) {
        hark__fail_surely(remote->ctx, pending.asker, pending.correlation, fault->err,
                          HARK_STAGE_NOT_SENT, fault->text, pending.spare);
    }
}

void
hark__link_redial(struct link *gone, const char *why)
{
    struct remote *remote = gone->remote;
    int64_t oldest_ns = gone->is_initiator
                            ? find_oldest(gone, hark__env_now(remote->node->env))
                            : INT64_MAX;
    struct fault fault = {.err = HARK_OK};
    struct link *link = NULL;

    if (oldest_ns == INT64_MAX) {
        return;
    }
    pthread_mutex_lock(&remote->lock);
    if (!remote->is_closing) {
        link = other_link(gone, oldest_ns, why, &fault);
    }
    if (link != NULL) {
        move_rows(gone, link, oldest_ns);
    }
    pthread_mutex_unlock(&remote->lock);
    if (link == NULL) {
        if (fault.err != HARK_OK) {
            fail_lookups(gone, &fault);
        }
        return;
    }
    hark__link_flush(link);
    if (link->peer != NULL) { // another one that was up
        hark__link_end_connects(link);
    }
}
