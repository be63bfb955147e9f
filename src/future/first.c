// First: the first end (race), or the first success (any), of many.

#include <stdio.h>
#include <string.h>

#include "future/combine.h"

enum { FAULTS_SIZE = 400 };

struct first {
    struct computed computed; // first member
    enum first_mode mode;
    size_t total; // without those that were named twice
    size_t failed;
    size_t told;              // bytes of faults
    char faults[FAULTS_SIZE]; // the first errors, in words; cut
};

static const hark_error dropped = {
    .code = HARK_ESTALE,
    .text = "it was dropped",
};

static void
note(struct first *first, const hark_error *error)
{
    size_t room = sizeof first->faults - first->told;
    int size = snprintf(first->faults + first->told, room, "; %s: %s",
                        hark_err_name(error->code), error->text);

    if (size > 0) {
        first->told += (size_t)size < room ? (size_t)size : room - 1;
    }
}

static void
fail(struct first *first, void *turn, const hark_error *last,
     const struct future *blame)
{
    struct computed *computed = &first->computed;
    char text[FAULTS_SIZE + 40];

    if (blame != NULL) {
        hark__future_blame(computed->futures, computed->future, blame);
    }
    snprintf(text, sizeof text, "all %zu failed%s", first->total, first->faults);
    hark__computed_fail(computed, turn, last->code, last->stage, text);
}

static void
ended(struct computed *computed, void *turn, struct input *input, struct future *future)
{
    struct first *first = (struct first *)computed;

    if (first->mode == FIRST_END || (future != NULL && future->code == HARK_OK)) {
        hark__computed_pass(computed, turn, future);
        return;
    }
    hark_error error =
        future != NULL ? hark__future_error(computed->futures, future) : dropped;
    note(first, &error);
    if (++first->failed == first->total) {
        fail(first, turn, &error, future);
    } else {
        hark__computed_close_input(computed, input, hark__turn_pool(computed, turn),
                                   turn);
    }
}

static const struct computed_ops ops = {ended,     NULL,  NULL,
                                        NEEDS_ONE, false, "hark_any or hark_race"};

hark_err
hark__first_open(struct futures *futures, void *turn, const hark_future *members,
                 size_t count, enum first_mode mode, struct future **out_future)
{
    if (!hark__futures_are_free(futures, members, count)) {
        return HARK_ESTALE;
    }
    if (futures->open_count >= futures->limit) {
        return HARK_ELIMIT;
    }
    struct first *first = hark__computed_new(futures, futures->host->pool_of(turn),
                                             &ops, sizeof *first, count);
    if (first == NULL) {
        return HARK_ENOMEM;
    }
    *out_future = first->computed.future;
    first->mode = mode;
    first->total = hark__computed_watch_all(&first->computed, members);
    if (count == 0) {
        hark__computed_fail(&first->computed, turn, HARK_EINVAL, HARK_STAGE_NOT_SENT,
                            "there are no futures to choose from");
    }
    return HARK_OK;
}
