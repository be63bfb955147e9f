// Retry: a job again and again, with pauses, until it succeeds.
//
//           failed, may be tried again
//   TRYING ----------------------------> PAUSED
//      ^  \--- else: the end ---           |
//      \-------------- alarm --------------/       and from both: the budget's alarm

#include <inttypes.h>
#include <stdio.h>

#include "future/combine.h"
#include "message/failure.h"

enum { CURRENT, BUDGET, INPUTS };
enum retry_state { TRYING, PAUSED };
enum { LAST_SIZE = 160 };

struct retry {
    struct computed computed; // first member
    hark_retry_options options;
    struct work work;
    size_t made; // attempts
    double delay_ms;
    enum retry_state state;
    char last[LAST_SIZE]; // the last error, in words
};

static hark_error
error_of_outcome(const struct outcome *outcome)
{
    hark_error error = {
        .code = outcome->code,
        .stage = HARK_STAGE_RUNNING,
        .text = hark_err_text(outcome->code),
        .site = outcome->computed->future->site,
    };

    if (outcome->message != NULL && hark__failure_of(outcome->message) != NULL) {
        error.text = hark__failure_of(outcome->message)->text;
    }
    return error;
}

// False: the result was closed meanwhile.
static bool
judge(struct retry *retry, void *turn, const hark_error *error, bool *out_again)
{
    struct outcome outcome;

    snprintf(retry->last, sizeof retry->last, "%s: %s", hark_err_name(error->code),
             error->text);
    // The user's function may close what it works for, like any other; but it gives
    // nothing.
    hark__outcome_begin(&outcome, &retry->computed, NULL);
    outcome.kind = OUTCOME_FAILURE;
    *out_again = retry->options.is_retryable(error, retry->work.arg);
    outcome.kind = OUTCOME_NONE;
    return hark__outcome_end(&outcome, turn);
}

static uint32_t
next_pause_ms(struct retry *retry)
{
    struct env *env = retry->computed.futures->env;
    double limit_ms = retry->options.max_delay_ms;
    double pause_ms = retry->delay_ms < limit_ms ? retry->delay_ms : limit_ms;

    retry->delay_ms = pause_ms * retry->options.factor;
    if (retry->options.jitter_percent > 0) {
        // 53 bits: what a double holds.
        double part =
            (double)(env->ops->random(env) >> 11) / (double)(UINT64_C(1) << 53);

        pause_ms -= pause_ms * retry->options.jitter_percent / 100 * part;
    }
    return (uint32_t)pause_ms;
}

// False: no memory.
static bool
pause_for_next(struct retry *retry, void *turn)
{
    struct computed *computed = &retry->computed;
    struct pool *pool = hark__turn_pool(computed, turn);
    struct future *alarm =
        hark__future_open(computed->futures, pool, next_pause_ms(retry));

    if (alarm == NULL) {
        return false;
    }
    hark__computed_close_input(computed, &computed->inputs[CURRENT], pool, turn);
    hark__computed_watch(computed, &computed->inputs[CURRENT], alarm);
    retry->state = PAUSED;
    return true;
}

static bool
has_more(const struct retry *retry)
{
    return retry->options.attempts == HARK_FOREVER
           || retry->made < retry->options.attempts;
}

static void
attempt(struct retry *retry, void *turn)
{
    struct computed *computed = &retry->computed;
    struct outcome outcome;
    bool again = false;

    retry->state = TRYING;
    if (!hark__work_run(&retry->work, computed, &computed->inputs[CURRENT],
                        retry->made++, &outcome, turn)) {
        return;
    }
    if (outcome.kind == OUTCOME_REPLY) {
        hark__computed_succeed(computed, turn, outcome.message);
    } else if (outcome.kind == OUTCOME_FAILURE) {
        hark_error error = error_of_outcome(&outcome);

        if (!judge(retry, turn, &error, &again)) {
            return;
        }
        if (again && has_more(retry) && pause_for_next(retry, turn)) {
            hark__outcome_free(&outcome, turn);
        } else {
            hark__outcome_fail(&outcome, turn);
        }
    }
}

// future: NULL: the attempt was dropped by somebody else.
static void
attempt_ended(struct retry *retry, void *turn, struct future *future)
{
    struct computed *computed = &retry->computed;
    hark_error error;
    bool again = false;

    if (future == NULL || future->code == HARK_OK) {
        hark__computed_pass(computed, turn, future);
        return;
    }
    error = hark__future_error(computed->futures, future);
    uint64_t id = future->id;
    if (!judge(retry, turn, &error, &again)) {
        return;
    }
    if (!again || !has_more(retry) || !pause_for_next(retry, turn)) {
        hark__computed_pass(computed, turn, hark__future_find(computed->futures, id));
    }
}

static void
run_out(struct retry *retry, void *turn)
{
    char text[LAST_SIZE + 100];

    snprintf(text, sizeof text,
             "the budget of %" PRIu32 " ms ended in attempt %zu; last error: %s",
             retry->options.budget_ms, retry->made,
             retry->last[0] != '\0' ? retry->last : "none");
    hark__computed_fail(&retry->computed, turn, HARK_ETIMEOUT, HARK_STAGE_SENT, text);
}

static void
ended(struct computed *computed, void *turn, struct input *input, struct future *future)
{
    struct retry *retry = (struct retry *)computed;

    if (input == &computed->inputs[BUDGET]) {
        run_out(retry, turn);
    } else if (retry->state == TRYING) {
        attempt_ended(retry, turn, future);
    } else {
        hark__computed_close_input(computed, input, hark__turn_pool(computed, turn),
                                   turn);
        attempt(retry, turn);
    }
}

static void
fini(struct computed *computed, struct pool *pool, void *turn)
{
    (void)pool;
    (void)turn;
    hark__work_drop(&((struct retry *)computed)->work);
}

static const struct computed_ops ops = {ended,     fini, NULL,
                                        NEEDS_ALL, true, "hark_retry"};

struct future *
hark__retry_open(struct futures *futures, void *turn, const hark_retry_options *options,
                 const hark_job *job, void *arg)
{
    struct pool *pool = futures->host->pool_of(turn);
    struct retry *retry =
        hark__computed_new(futures, pool, &ops, sizeof *retry, INPUTS);

    if (retry == NULL) {
        return NULL;
    }
    struct future *future = retry->computed.future;
    if (options->budget_ms != 0) {
        struct future *alarm = hark__future_open(futures, pool, options->budget_ms);

        if (alarm == NULL) {
            hark__future_close(futures, pool, turn, future);
            return NULL;
        }
        hark__computed_watch(&retry->computed, &retry->computed.inputs[BUDGET], alarm);
    }
    retry->options = *options;
    retry->delay_ms = options->delay_ms;
    retry->work = (struct work){job, arg};
    hark__computed_enter(&retry->computed);
    attempt(retry, turn);
    hark__computed_leave(&retry->computed, turn);
    return future;
}
