#include "future/all.h"

#include <stdlib.h>

struct member {
    struct waiter waiter;
    struct all *all;
    uint64_t id;
};

struct all {
    struct backing backing;
    struct futures *futures;
    struct future *future;      // what was made; NULL while it is being closed
    struct hark_message *reply; // ready for success; NULL once given away
    size_t pending;
    size_t count;
    struct member members[];
};

static struct member *
member_of(struct waiter *waiter)
{
    return CONTAINER_OF(waiter, struct member, waiter);
}

static void
fail(struct all *all, void *turn, const struct future *blame, int code,
     hark_stage stage)
{
    struct future *future = all->future;

    if (future == NULL || future->state == FUTURE_DONE) {
        return;
    }
    future->blame = blame != NULL ? blame->id : 0;
    hark__future_complete(all->futures, turn, future, NULL, code, stage,
                          blame != NULL ? blame->ended_ns : 0);
}

static void
succeed(struct all *all, void *turn)
{
    struct hark_message *reply = all->reply;

    all->reply = NULL;
    hark__future_complete(all->futures, turn, all->future, reply, HARK_OK,
                          HARK_STAGE_RUNNING, 0);
}

static void
member_complete(struct waiter *waiter, void *turn, struct future *future)
{
    struct all *all = member_of(waiter)->all;

    all->pending--;
    if (future->code != HARK_OK) {
        fail(all, turn, future, future->code, (hark_stage)future->stage);
    } else if (all->pending == 0 && all->future->state == FUTURE_OPEN) {
        succeed(all, turn);
    }
}

static void
member_drop(struct waiter *waiter, void *turn, struct future *future)
{
    struct all *all = member_of(waiter)->all;

    (void)future;
    // When the whole table ends, ours is about to be closed too, and only dropped.
    if (!all->futures->ending) {
        fail(all, turn, NULL, HARK_ESTALE, HARK_STAGE_NOT_SENT);
    }
}

static bool
are_free(const struct futures *futures, const hark_future *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct future *future = hark__future_find(futures, members[i].id);

        if (future == NULL || future->waiter != NULL) {
            return false;
        }
    }
    return true;
}

static void
watch_members(struct all *all, const hark_future *members)
{
    for (size_t i = 0; i < all->count; i++) {
        struct future *future = hark__future_find(all->futures, members[i].id);

        all->members[i] =
            (struct member){{member_complete, member_drop}, all, members[i].id};
        if (future->waiter != NULL) { // named twice: the first time counts
            all->pending--;
            continue;
        }
        future->kept = true;
        hark__future_watch(all->futures, future, &all->members[i].waiter);
    }
}

// Closes the members too.
static void
backing_close(struct backing *backing, struct futures *futures, struct pool *pool,
              void *turn)
{
    struct all *all = CONTAINER_OF(backing, struct all, backing);

    all->future = NULL;
    for (size_t i = 0; i < all->count; i++) {
        struct future *future = hark__future_find(futures, all->members[i].id);

        if (future != NULL) {
            hark__future_close(futures, pool, turn, future);
        }
    }
    if (all->reply != NULL) {
        hark__message_free(pool, all->reply);
    }
    free(all);
}

hark_err
hark__all_open(struct futures *futures, struct pool *pool, const hark_future *members,
               size_t count, struct future **out_future)
{
    const hark_all_done done = {.count = (uint32_t)count};

    if (count > UINT32_MAX || !are_free(futures, members, count)) {
        return HARK_ESTALE;
    }
    if (futures->open_count >= futures->limit) {
        return HARK_ELIMIT;
    }
    struct all *all = malloc(sizeof *all + count * sizeof all->members[0]);
    struct hark_message *reply = hark__message_new(pool, &hark_all_done_type, &done);
    struct future *future = hark__future_open(futures, pool, HARK_FOREVER);
    if (all == NULL || reply == NULL || future == NULL) {
        free(all);
        if (reply != NULL) {
            hark__message_free(pool, reply);
        }
        if (future != NULL) {
            hark__future_close(futures, pool, NULL, future);
        }
        return HARK_ENOMEM;
    }
    *all = (struct all){{backing_close, NULL}, futures, future, reply, count, count};
    reply->kind = MESSAGE_REPLY;
    future->backing = &all->backing;
    watch_members(all, members);
    if (count == 0) {
        succeed(all, NULL);
    }
    *out_future = future;
    return HARK_OK;
}
