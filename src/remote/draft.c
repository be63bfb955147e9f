#include "remote/draft.h"

#include <inttypes.h>
#include <stdio.h>

#include "message/failure.h"
#include "remote/strangers.h"
#include "wire/entry.h"
#include "wire/payload.h"

// ---- going back ----

// What to return to when an envelope cannot be finished.
struct mark {
    size_t size;  // of the outbox
    size_t bytes; // of the batch
    uint32_t types;
    uint32_t parts;
    uint32_t introduced;
};

static struct mark
mark(const struct link *link)
{
    return (struct mark){
        .size = link->outbox.size,
        .bytes = hark__link_batch_bytes(link),
        .types = link->types_out.count,
        .parts = link->part_count,
        .introduced = link->introduced_count,
    };
}

static void
go_back(struct link *link, struct mark to)
{
    hark__bytes_truncate(&link->outbox, to.size);
    hark__link_drop_parts(link, to.parts);
    hark__types_out_truncate(&link->types_out, to.types);
    link->introduced_count = to.introduced;
    link->may_repeat = false;
}

// ---- envelopes ----

// The peer knows the route from the last envelope.
static bool
is_repeat(const struct link *link, const struct route *route)
{
    const struct route *last = &link->last;

    return link->may_repeat && route->target == last->target
           && draft_is_same_ref(route->sender, last->sender)
           && route->type == last->type && route->kind == last->kind
           && route->remaining_ms == last->remaining_ms
           && route->chain_id == last->chain_id && route->credits == last->credits
           && route->trace == last->trace;
}

// An envelope up to its payload. A call, so that repeats need no room for one.
static __attribute__((noinline)) void
begin_envelope(struct link *link, const struct route *route, const struct draft *draft)
{
    hark__envelope_begin(&link->outbox, &(struct envelope){
                                            .kind = route->kind,
                                            .target = route->target,
                                            .sender = route->sender,
                                            .correlation = draft->correlation,
                                            .remaining_ms = route->remaining_ms,
                                            .trace = route->trace,
                                            .credits = route->credits,
                                            .chain = route->chain_id,
                                            .type = route->type,
                                        });
    link->last = *route;
    link->last_type = draft->what->type;
    link->may_repeat = link->takes_repeats;
}

static hark_err
put_payload(struct link *link, const struct route *route, const struct draft *draft,
            struct strangers *strangers)
{
    struct ref_watch watch = {hark__strangers_ref, strangers, hark__strangers_bytes};

    if (is_repeat(link, route)) {
        hark__entry_repeat(&link->outbox, draft->correlation);
    } else {
        begin_envelope(link, route, draft);
    }
    return hark__payload_encode(&link->outbox, draft->what->type, draft->what->value,
                                &watch);
}

// An envelope with a typed payload, behind what it needs to be understood. After an
// error the caller goes back.
static hark_err
put_typed(struct link *link, struct route *route, const struct draft *draft)
{
    struct strangers strangers;

    strangers.link = link;
    strangers.count = 0;
    hark_err err = hark__types_out_number(&link->types_out, &link->outbox,
                                          draft->what->type, &route->type);
    size_t start = link->outbox.size;
    uint32_t parts = link->part_count;

    if (err == HARK_OK) {
        err = put_payload(link, route, draft, &strangers);
    }
    if (err == HARK_OK
        && strangers.count > 0) { // introduce them first, and write it again
        hark__bytes_truncate(&link->outbox, start);
        hark__link_drop_parts(link, parts);
        link->may_repeat = false;
        hark__strangers_introduce(link, &strangers);
        err = put_payload(link, route, draft, &strangers);
    }
    return err;
}

// One of the runtime's own.
static void
put_plain(struct link *link, const struct envelope *envelope)
{
    hark__envelope_encode(&link->outbox, envelope);
    link->may_repeat = false;
}

static void
put_failure(struct link *link, const struct draft *draft)
{
    const struct failure *failure = draft->what->value;

    put_plain(link, &(struct envelope){
                        .kind = ENVELOPE_FAILURE,
                        .sender = draft->what->from,
                        .correlation = draft->correlation,
                        .type = TYPE_NONE,
                        .code = failure->code,
                        .stage = failure->stage,
                        .text = {failure->text, failure->size},
                    });
}

static hark_err
put_envelope(struct link *link, const struct draft *draft)
{
    const struct outgoing *what = draft->what;

    if (draft->plain != NULL) {
        put_plain(link, draft->plain);
        return HARK_OK;
    }
    if (what->kind == MESSAGE_FAILURE) {
        put_failure(link, draft);
        return HARK_OK;
    }

    struct route route = {
        .target = what->kind <= MESSAGE_ASK ? draft->to.actor : 0,
        .sender = what->from,
        .chain_id = draft_chain_id(what),
        .remaining_ms = draft_remaining_ms(what),
        .credits = what->credits,
        .trace = draft->trace,
        .kind = draft_kind(what),
    };

    return put_typed(link, &route, draft);
}

// ---- the outbox ----

// Says why nothing was put into the outbox.
static __attribute__((cold, noinline)) void
explain(const struct link *link, hark_err err, size_t size, char *error,
        size_t error_size)
{
    if (err == HARK_ETOOBIG) {
        snprintf(error, error_size,
                 "%zu bytes are more than the peer's limit of %" PRIu64
                 " (hark_options.frame_limit_bytes there)",
                 size, link->max_frame_bytes);
    } else {
        snprintf(error, error_size, "%s",
                 err == HARK_EINVAL   ? "a field has a length and a null pointer"
                 : err == HARK_ELIMIT ? "it does not fit behind what waits already"
                                      : hark_err_text(err));
    }
}

// Encodes it behind what is in the outbox; or, if both do not fit into one frame, lets
// that leave first. What was encoded is for the caller to take back on error.
static hark_err
put_fitting(struct link *link, const struct draft *draft, struct mark *from)
{
    hark_err err = put_envelope(link, draft);

    if (err != HARK_OK || link->outbox.failed
        || hark__link_batch_bytes(link) <= link->max_frame_bytes
        || from->size <= FRAME_HEAD_SIZE) {
        return err;
    }
    go_back(link, *from);
    hark__link_flush_locked(link);
    *from = mark(link);
    return from->size <= FRAME_HEAD_SIZE ? put_envelope(link, draft) : HARK_ELIMIT;
}

hark_err
hark__draft_put(struct link *link, const struct draft *draft, char *error,
                size_t error_size)
{
    struct mark from = mark(link);
    hark_err err = put_fitting(link, draft, &from);
    size_t size = hark__link_batch_bytes(link) - from.bytes;

    if (err == HARK_OK && link->outbox.failed) {
        err = HARK_ENOMEM;
    }
    if (err == HARK_OK && size + FRAME_HEAD_SIZE > link->max_frame_bytes) {
        err = HARK_ETOOBIG;
    }
    if (err != HARK_OK) {
        explain(link, err, size, error, error_size);
        go_back(link, from);
        return err;
    }
    return HARK_OK;
}
