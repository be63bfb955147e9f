#include "future/combine.h"

struct all {
    struct computed computed;   // first member
    struct hark_message *reply; // ready for success; NULL once given away
    size_t pending;
    uint32_t failed;
    enum all_mode mode;
};

static struct all *
all_of(struct computed *computed)
{
    return (struct all *)computed;
}

static void
fail(struct all *all, const struct future *blame)
{
    struct future *future = all->computed.future;

    future->blame = blame != NULL ? blame->id : 0;
    hark__future_settle(all->computed.futures, future, NULL,
                        blame != NULL ? blame->code : HARK_ESTALE,
                        blame != NULL ? (hark_stage)blame->stage : HARK_STAGE_NOT_SENT,
                        blame != NULL ? blame->ended_ns : 0);
}

static void
succeed(struct all *all)
{
    struct hark_message *reply = all->reply;

    ((hark_all_done *)hark__message_payload(reply))->count -= all->failed;
    all->reply = NULL;
    hark__future_settle(all->computed.futures, all->computed.future, reply, HARK_OK,
                        HARK_STAGE_RUNNING, 0);
}

static void
close_open_members(struct all *all, void *turn)
{
    struct computed *computed = &all->computed;

    for (size_t i = 0; i < computed->input_count; i++) {
        const struct future *future =
            hark__future_find(computed->futures, computed->inputs[i].id);

        if (future != NULL && future->state == FUTURE_OPEN) {
            hark__computed_close_input(computed, &computed->inputs[i],
                                       hark__turn_pool(computed, turn), turn);
        }
    }
}

static void
ended(struct computed *computed, void *turn, struct input *input, struct future *future)
{
    struct all *all = all_of(computed);
    bool has_failed = future == NULL || future->code != HARK_OK;

    (void)input;
    all->pending--;
    all->failed += has_failed;
    if (has_failed && all->mode != ALL_SETTLED) {
        fail(all, future);
        if (all->mode == ALL_CANCEL) {
            close_open_members(all, turn);
        }
    } else if (all->pending == 0) {
        succeed(all);
    }
}

static void
fini(struct computed *computed, struct pool *pool, void *turn)
{
    (void)turn;
    if (all_of(computed)->reply != NULL) {
        hark__message_free(pool, all_of(computed)->reply);
    }
}

static uint64_t
member(const struct computed *computed, size_t index)
{
    return index < computed->input_count ? computed->inputs[index].id : 0;
}

static const struct computed_ops ops = {
    ended, fini, member, NEEDS_ALL, false, "hark_all or hark_all_settled"};

hark_err
hark__all_open(struct futures *futures, struct pool *pool, const hark_future *members,
               size_t count, enum all_mode mode, struct future **out_future)
{
    const hark_all_done done = {.count = (uint32_t)count};

    if (count > UINT32_MAX || !hark__futures_are_free(futures, members, count)) {
        return HARK_ESTALE;
    }
    if (futures->open_count >= futures->limit) {
        return HARK_ELIMIT;
    }
    struct hark_message *reply = hark__message_new(pool, &hark_all_done_type, &done);
    if (reply == NULL) {
        return HARK_ENOMEM;
    }
    struct all *all = hark__computed_new(futures, pool, &ops, sizeof *all, count);
    if (all == NULL) {
        hark__message_free(pool, reply);
        return HARK_ENOMEM;
    }
    reply->kind = MESSAGE_REPLY;
    all->reply = reply;
    all->mode = mode;
    all->pending = hark__computed_watch_all(&all->computed, members);
    if (count == 0) {
        succeed(all);
    }
    *out_future = all->computed.future;
    return HARK_OK;
}
