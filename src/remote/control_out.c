#include "remote/control.h"

#include <stdlib.h>
#include <string.h>

#include "actor/probe.h"
#include "remote/draft.h"
#include "remote/pressure.h"

// ---- about an ask on its way ----

// Nobody waits for an answer any more. If none has come, and the ask went this way, the
// other side hears of it.
static __attribute__((cold, noinline)) hark_err
put_cancel(struct link *link, hark_ref to, const struct outgoing *what,
           struct remote_text *error)
{
    struct pending row;

    if (!hark__pending_take(&link->remote->pendings, what->correlation, &row)
        || row.link != link) {
        return HARK_OK;
    }
    const struct envelope cancel = {
        .kind = ENVELOPE_CANCEL,
        .target = to.actor,
        .sender = what->from,
        .correlation = what->correlation,
        .type = TYPE_NONE,
    };
    return hark__draft_put(link, &(struct draft){.plain = &cancel}, error->text,
                           sizeof error->text);
}

// The asker of a stream takes more items, if it went this way.
static hark_err
put_credit(struct link *link, hark_ref to, const struct outgoing *what,
           struct remote_text *error)
{
    if (!hark__pending_credit(&link->remote->pendings, what->correlation, link,
                              what->credits)) {
        return HARK_OK;
    }
    const struct envelope credit = {
        .kind = ENVELOPE_CREDIT,
        .target = to.actor,
        .sender = what->from,
        .correlation = what->correlation,
        .credits = what->credits,
        .type = TYPE_NONE,
    };
    hark_err err = hark__draft_put(link, &(struct draft){.plain = &credit}, error->text,
                                   sizeof error->text);
    if (err != HARK_OK) { // they are given again later
        (void)hark__pending_credit(&link->remote->pendings, what->correlation, link,
                                   0u - what->credits);
    }
    return err;
}

// A probe for the ask `asked`, if that went this way and is not answered.
static __attribute__((cold, noinline)) hark_err
put_probe(struct link *link, hark_ref to, const struct outgoing *what,
          struct remote_text *error)
{
    const struct probe *probe = what->value;
    struct pending row;

    if (!hark__pending_read(&link->remote->pendings, probe->asked, &row)
        || row.link != link) {
        return HARK_OK;
    }
    const struct envelope envelope = {
        .kind = ENVELOPE_PROBE,
        .target = to.actor,
        .sender = what->from,
        .correlation = probe->asked,
        .type = TYPE_NONE,
        .found = probe->origin,
        .wait = probe->wait,
        .nonce = probe->nonce,
        .hops = probe->hops,
        .items = probe->items,
        .text = {probe->path, probe->size},
    };
    return hark__draft_put(link, &(struct draft){.plain = &envelope}, error->text,
                           sizeof error->text);
}

hark_err
hark__control_put(struct link *link, hark_ref to, const struct outgoing *what,
                  struct remote_text *error)
{
    if (what->value != NULL) {
        return put_probe(link, to, what, error);
    }
    return what->credits > 0 ? put_credit(link, to, what, error)
                             : put_cancel(link, to, what, error);
}

// ---- about links and names ----

static hark_err
put_own(struct link *link, const struct envelope *envelope)
{
    const struct draft draft = {.plain = envelope};
    char error[REMOTE_TEXT];
    hark_err err = HARK_ENONODE;

    pthread_mutex_lock(&link->lock);
    if (link->broken == NULL) {
        err = hark__draft_put(link, &draft, error, sizeof error);
        hark__draft_done(link);
    }
    hark__pressure_bound_answers(link);
    pthread_mutex_unlock(&link->lock);
    return err;
}

hark_err
hark__link_await(struct link *link, const struct pending *pending, bool *out_is_up)
{
    hark_err err = HARK_OK;

    // Under the lock, so that the link does not come up between the look and the row.
    pthread_mutex_lock(&link->lock);
    *out_is_up = link->state == LINK_UP;
    if (!*out_is_up && hark__pending_add(&link->remote->pendings, pending) == 0) {
        err = HARK_EAGAIN;
    }
    pthread_mutex_unlock(&link->lock);
    return err;
}

// A row of that number is there.
static hark_err
put_lookup(struct link *link, uint64_t number, hark_ref asker, hark_str name)
{
    return put_own(link, &(struct envelope){
                             .kind = ENVELOPE_LOOKUP,
                             .sender = asker,
                             .correlation = number,
                             .remaining_ms = HARK_FOREVER,
                             .type = TYPE_NONE,
                             .text = name,
                         });
}

hark_err
hark__link_lookup(struct link *link, const struct pending *pending, hark_str name)
{
    uint64_t number = hark__pending_add(&link->remote->pendings, pending);
    struct pending dropped;

    if (number == 0) {
        return HARK_EAGAIN;
    }
    hark_err err = put_lookup(link, number, pending->asker, name);
    if (err == HARK_ENONODE) {
        return HARK_OK; // it breaks just now: the row is asked again, or fails then
    }
    if (err != HARK_OK) {
        (void)hark__pending_take(&link->remote->pendings, number, &dropped);
    } else {
        hark__link_flush(link);
    }
    return err;
}

hark_err
hark__link_lookup_again(struct link *link, uint64_t number,
                        const struct pending *pending)
{
    const struct pending_lookup *lookup = pending->lookup;

    return put_lookup(link, number, pending->asker,
                      (hark_str){lookup->name, lookup->size});
}

// Who asked must not wait for ever: the end of the link is an answer, too.
static void
put_answer(struct link *link, const struct envelope *envelope)
{
    if (put_own(link, envelope) == HARK_ENOMEM) {
        pthread_mutex_lock(&link->lock);
        hark__link_break_locked(link, "no memory for an answer");
        pthread_mutex_unlock(&link->lock);
    }
}

void
hark__link_found(struct link *link, uint64_t correlation, hark_ref found,
                 const char *called)
{
    put_answer(link, &(struct envelope){
                         .kind = ENVELOPE_FOUND,
                         .correlation = correlation,
                         .type = TYPE_NONE,
                         .found = found,
                         .text = hark_str_of(called),
                     });
}

// Without memory, or room in a frame, it stays unsaid.
static void
put_called(struct link *link, const struct called_decl *called)
{
    if (hark__link_batch_bytes(link) + CALLEE_ENTRY > link->max_frame_bytes) {
        hark__link_flush_locked(link);
    }
    size_t start = link->outbox.size;

    if (hark__link_batch_bytes(link) + CALLEE_ENTRY <= link->max_frame_bytes) {
        hark__entry_called(&link->outbox, called);
    }
    if (link->outbox.failed) {
        hark__bytes_truncate(&link->outbox, start);
    }
}

void
hark__link_call(struct link *link, uint64_t actor, const char *name)
{
    const struct called_decl called = {
        .actor = actor,
        .name = {name, strnlen(name, CALLED_SIZE - 1)},
    };

    pthread_mutex_lock(&link->lock);
    if (link->state == LINK_UP && link->broken == NULL) {
        put_called(link, &called);
        hark__draft_done(link);
        hark__pressure_bound_answers(link);
    }
    pthread_mutex_unlock(&link->lock);
}

void
hark__link_fail(struct link *link, uint64_t correlation, int code, hark_stage stage,
                const char *text)
{
    put_answer(link, &(struct envelope){
                         .kind = ENVELOPE_FAILURE,
                         .correlation = correlation,
                         .type = TYPE_NONE,
                         .code = code,
                         .stage = stage,
                         .text = hark_str_of(text),
                     });
}
