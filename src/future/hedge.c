// Hedge: a job again beside itself, if it takes long; the first success counts.

#include "future/combine.h"

struct hedge {
    struct computed computed; // first member; the last input is the alarm
    struct work work;
    size_t attempts; // at most
    size_t started;
    size_t failed;
    uint32_t delay_ms;
};

static struct input *
alarm_of(const struct hedge *hedge)
{
    return &hedge->computed.inputs[hedge->attempts];
}

// Without memory for it the next attempt waits until one has failed.
static void
arm(struct hedge *hedge, void *turn)
{
    struct computed *computed = &hedge->computed;
    struct pool *pool = hark__turn_pool(computed, turn);

    hark__computed_close_input(computed, alarm_of(hedge), pool, turn);
    if (hedge->started < hedge->attempts) {
        struct future *alarm =
            hark__future_open(computed->futures, pool, hedge->delay_ms);

        if (alarm != NULL) {
            hark__computed_watch(computed, alarm_of(hedge), alarm);
        }
    }
}

// Starts attempts until one is on its way.
static void
start(struct hedge *hedge, void *turn)
{
    struct computed *computed = &hedge->computed;
    struct outcome outcome;

    for (;;) {
        size_t index = hedge->started++;

        if (!hark__work_run(&hedge->work, computed, &computed->inputs[index], index,
                            &outcome, turn)) {
            return;
        }
        if (outcome.kind == OUTCOME_FUTURE) {
            arm(hedge, turn);
            return;
        }
        if (outcome.kind == OUTCOME_REPLY) {
            hark__computed_succeed(computed, turn, outcome.message);
            return;
        }
        if (++hedge->failed == hedge->attempts) {
            hark__outcome_fail(&outcome, turn);
            return;
        }
        hark__outcome_free(&outcome, turn);
        if (hedge->started == hedge->attempts) {
            return; // others are on their way
        }
    }
}

static void
ended(struct computed *computed, void *turn, struct input *input, struct future *future)
{
    struct hedge *hedge = (struct hedge *)computed;

    if (input != alarm_of(hedge)) {
        if ((future != NULL && future->code == HARK_OK)
            || ++hedge->failed == hedge->attempts) {
            hark__computed_pass(computed, turn, future);
            return;
        }
        hark__computed_close_input(computed, input, hark__turn_pool(computed, turn),
                                   turn);
    }
    if (computed->future != NULL && hedge->started < hedge->attempts) {
        start(hedge, turn);
    }
}

static void
fini(struct computed *computed, struct pool *pool, void *turn)
{
    (void)pool;
    (void)turn;
    hark__work_drop(&((struct hedge *)computed)->work);
}

static const struct computed_ops ops = {ended,         fini, NULL,
                                        NEEDS_NOTHING, true, "hark_hedge"};

struct future *
hark__hedge_open(struct futures *futures, void *turn, const hark_hedge_options *options,
                 const hark_job *job, void *arg)
{
    struct hedge *hedge =
        hark__computed_new(futures, futures->host->pool_of(turn), &ops, sizeof *hedge,
                           (size_t)options->attempts + 1);

    if (hedge == NULL) {
        return NULL;
    }
    struct future *future = hedge->computed.future;
    hedge->work = (struct work){job, arg};
    hedge->attempts = options->attempts;
    hedge->delay_ms = options->delay_ms;
    hark__computed_enter(&hedge->computed);
    start(hedge, turn);
    hark__computed_leave(&hedge->computed, turn);
    return future;
}
