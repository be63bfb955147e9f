// Each: a job for each of many inputs, few at a time.
//
// The inputs of the computed are the lanes, as many as may be in flight; a lane's tag
// is the index that it works on, or the next free lane. The ends that are kept stand in
// ids.

#include <stdlib.h>

#include "future/combine.h"

#define NO_LANE UINT64_MAX

struct each {
    struct computed computed; // first member
    struct each_range range;
    struct work work;
    struct hark_message *reply; // ready for success; NULL once given away
    uint64_t *ids;              // of the ends; NULL: they are not kept
    size_t started;
    size_t ended;
    size_t failed;
    uint64_t free_lane;
};

static bool
is_over(const struct each *each)
{
    return each->computed.future == NULL || each->computed.future->state == FUTURE_DONE;
}

// What is still in flight is closed.
static void
give_up(struct each *each, void *turn)
{
    struct computed *computed = &each->computed;

    for (size_t i = 0; i < computed->input_count; i++) {
        hark__computed_close_input(computed, &computed->inputs[i],
                                   hark__turn_pool(computed, turn), turn);
    }
    hark__work_drop(&each->work);
}

static void
succeed(struct each *each, void *turn)
{
    struct hark_message *reply = each->reply;
    hark_each_done *done = hark__message_payload(reply);

    done->count = each->ended;
    done->failed = each->failed;
    each->reply = NULL;
    if (each->ids == NULL) {
        hark__computed_succeed(&each->computed, turn, reply);
        return;
    }
    hark__future_settle(each->computed.futures, each->computed.future, reply, HARK_OK,
                        HARK_STAGE_RUNNING, 0);
    hark__work_drop(&each->work);
}

// end: the one that failed; NULL: it was dropped.
static void
fail(struct each *each, void *turn, struct future *end)
{
    struct computed *computed = &each->computed;

    if (each->ids == NULL || end == NULL) {
        hark__computed_pass(computed, turn, end);
        return;
    }
    computed->future->blame = end->id;
    hark__future_settle(computed->futures, computed->future, NULL, end->code,
                        (hark_stage)end->stage, end->ended_ns);
    give_up(each, turn);
}

static void
free_lane(struct each *each, struct input *lane)
{
    lane->id = 0;
    lane->tag = each->free_lane;
    each->free_lane = (uint64_t)(lane - each->computed.inputs);
}

// A future that holds what a job gave at once; NULL: no memory, or the limit.
static struct future *
hold(struct each *each, void *turn, struct outcome *outcome)
{
    struct futures *futures = each->computed.futures;
    struct future *future = hark__future_open(
        futures, hark__turn_pool(&each->computed, turn), HARK_FOREVER);

    if (future == NULL) {
        return NULL;
    }
    if (outcome->message != NULL && outcome->kind == OUTCOME_REPLY) {
        outcome->message->kind = MESSAGE_REPLY;
    }
    future->kept = true;
    future->looked_at = true;
    future->site = each->computed.future->site;
    hark__future_settle(futures, future, outcome->message,
                        outcome->kind == OUTCOME_REPLY ? HARK_OK : outcome->code,
                        HARK_STAGE_RUNNING, 0);
    outcome->message = NULL;
    return future;
}

// The job for index gave its result at once.
static void
take_at_once(struct each *each, void *turn, size_t index, struct outcome *outcome)
{
    bool has_failed = outcome->kind == OUTCOME_FAILURE;
    struct future *end = each->ids != NULL ? hold(each, turn, outcome) : NULL;

    each->ended++;
    if (each->ids != NULL && end == NULL) {
        hark__outcome_free(outcome, turn);
        hark__computed_fail(&each->computed, turn, HARK_ENOMEM, HARK_STAGE_RUNNING,
                            "no memory, or too many futures, for a result");
        return;
    }
    if (end != NULL) {
        each->ids[index] = end->id;
    }
    each->failed += has_failed;
    if (!has_failed || each->range.keep_going) {
        hark__outcome_free(outcome, turn);
    } else if (end != NULL) {
        fail(each, turn, end);
    } else {
        hark__outcome_fail(outcome, turn);
    }
}

// Starts as many as may be. Ends it if all have ended.
static void
fill(struct each *each, void *turn)
{
    struct outcome outcome;

    while (!is_over(each) && each->started < each->range.count
           && each->free_lane != NO_LANE) {
        struct input *lane = &each->computed.inputs[each->free_lane];
        size_t index = each->started++;

        if (!hark__work_run(&each->work, &each->computed, lane, index, &outcome,
                            turn)) {
            return;
        }
        if (outcome.kind == OUTCOME_FUTURE) {
            each->free_lane = lane->tag;
            lane->tag = index;
            if (each->ids != NULL) {
                each->ids[index] = lane->id;
            }
        } else {
            take_at_once(each, turn, index, &outcome);
        }
    }
    if (!is_over(each) && each->ended == each->range.count) {
        succeed(each, turn);
    }
}

static void
ended(struct computed *computed, void *turn, struct input *lane, struct future *end)
{
    struct each *each = (struct each *)computed;
    bool has_failed = end == NULL || end->code != HARK_OK;

    each->ended++;
    each->failed += has_failed;
    if (has_failed && !each->range.keep_going) {
        if (each->ids != NULL) {
            lane->id = 0; // it stays among the ends
        }
        fail(each, turn, end);
        return;
    }
    if (each->ids == NULL) {
        hark__computed_close_input(computed, lane, hark__turn_pool(computed, turn),
                                   turn);
    }
    free_lane(each, lane);
    fill(each, turn);
}

static void
fini(struct computed *computed, struct pool *pool, void *turn)
{
    struct each *each = (struct each *)computed;

    for (size_t i = 0; each->ids != NULL && i < each->started; i++) {
        struct future *end = hark__future_find(computed->futures, each->ids[i]);

        if (end != NULL) {
            hark__future_close(computed->futures, pool, turn, end);
        }
    }
    free(each->ids);
    if (each->reply != NULL) {
        hark__message_free(pool, each->reply);
    }
    hark__work_drop(&each->work);
}

static uint64_t
member(const struct computed *computed, size_t index)
{
    const struct each *each = (const struct each *)computed;

    return each->ids != NULL && index < each->started ? each->ids[index] : 0;
}

static const struct computed_ops ops = {
    ended, fini, member, NEEDS_ALL, true, "hark_for_each or hark_map_each"};

// Gives the ids and the reply. False: no memory; fini frees what is there.
static bool
prepare(struct each *each, struct pool *pool)
{
    const hark_each_done none = {0};
    size_t count = each->range.count;

    if (each->range.keep_ends) {
        each->ids = calloc(count > 0 ? count : 1, sizeof *each->ids);
    }
    each->reply = hark__message_new(pool, &hark_each_done_type, &none);
    if (each->reply == NULL || (each->range.keep_ends && each->ids == NULL)) {
        return false;
    }
    each->reply->kind = MESSAGE_REPLY;
    return true;
}

struct future *
hark__each_open(struct futures *futures, void *turn, const struct each_range *range,
                const hark_job *job, void *arg)
{
    struct pool *pool = futures->host->pool_of(turn);
    size_t lanes = range->count < range->at_most ? range->count : range->at_most;
    struct each *each = hark__computed_new(futures, pool, &ops, sizeof *each, lanes);

    if (each == NULL) {
        return NULL;
    }
    struct future *future = each->computed.future;
    each->range = *range;
    if (!prepare(each, pool)) {
        hark__future_close(futures, pool, turn, future);
        return NULL;
    }
    each->work = (struct work){job, arg};
    each->free_lane = NO_LANE;
    for (size_t i = lanes; i-- > 0;) {
        free_lane(each, &each->computed.inputs[i]);
    }
    hark__computed_enter(&each->computed);
    fill(each, turn);
    hark__computed_leave(&each->computed, turn);
    return future;
}
