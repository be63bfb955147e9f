// Timed: delay and timeout. An alarm is a future that nobody answers.

#include "future/combine.h"

// ---- delay ----

struct delay {
    struct computed computed;   // first member
    struct hark_message *reply; // NULL: its time is over first, and it fails
};

static void
delay_ended(struct computed *computed, void *turn, struct input *input,
            struct future *alarm)
{
    struct delay *delay = (struct delay *)computed;
    struct hark_message *reply = delay->reply;

    (void)input;
    (void)alarm;
    if (reply == NULL) {
        hark__computed_fail(computed, turn, HARK_ETIMEOUT, HARK_STAGE_NOT_SENT,
                            "the request's time was over before the delay was");
        return;
    }
    delay->reply = NULL;
    hark__computed_succeed(computed, turn, reply);
}

static void
delay_fini(struct computed *computed, struct pool *pool, void *turn)
{
    struct delay *delay = (struct delay *)computed;

    (void)turn;
    if (delay->reply != NULL) {
        hark__message_free(pool, delay->reply);
    }
}

static const struct computed_ops delay_ops = {delay_ended,   delay_fini, NULL,
                                              NEEDS_NOTHING, false,      "hark_delay"};

struct future *
hark__delay_open(struct futures *futures, struct pool *pool, uint32_t ms,
                 uint32_t limit_ms)
{
    const hark_unit unit = {0};
    bool fails = limit_ms < ms;
    struct delay *delay =
        hark__computed_new(futures, pool, &delay_ops, sizeof *delay, 1);

    if (delay == NULL) {
        return NULL;
    }
    struct future *alarm = hark__future_open(futures, pool, fails ? limit_ms : ms);
    delay->reply = fails ? NULL : hark__message_new(pool, &hark_unit_type, &unit);
    if (alarm == NULL || (delay->reply == NULL && !fails)) {
        if (alarm != NULL) {
            hark__future_close(futures, pool, NULL, alarm);
        }
        hark__future_close(futures, pool, NULL, delay->computed.future);
        return NULL;
    }
    hark__computed_watch(&delay->computed, delay->computed.inputs, alarm);
    return delay->computed.future;
}

// ---- timeout ----

enum { GUARDED, ALARM, INPUTS };

static void
run_out(struct computed *computed, void *turn, const struct future *late,
        const struct future *alarm)
{
    hark_stage stage = HARK_STAGE_NOT_SENT;

    if (late != NULL) {
        hark__future_blame(computed->futures, computed->future, late);
        stage = late->asked != NULL ? HARK_STAGE_SENT : HARK_STAGE_NOT_SENT;
    }
    if (alarm != NULL) {
        struct future *result = computed->future;

        // The coarse clock may have given the input a later start (see start); what is
        // made of others has none.
        if (result->started_ns == 0 || result->started_ns > alarm->started_ns) {
            result->started_ns = alarm->started_ns;
        }
        result->ended_ns = alarm->ended_ns;
    }
    hark__computed_fail(computed, turn, HARK_ETIMEOUT, stage, NULL);
}

static void
timeout_ended(struct computed *computed, void *turn, struct input *input,
              struct future *future)
{
    struct future *guarded =
        hark__future_find(computed->futures, computed->inputs[GUARDED].id);

    // Both may have ended by now: then it was not too late.
    if (input == &computed->inputs[ALARM]
        && (guarded == NULL || guarded->state == FUTURE_OPEN)) {
        run_out(computed, turn, guarded, future);
    } else {
        hark__computed_pass(computed, turn, guarded);
    }
}

static const struct computed_ops timeout_ops = {timeout_ended, NULL,  NULL,
                                                NEEDS_ALL,     false, "hark_timeout"};

struct future *
hark__timeout_open(struct futures *futures, struct pool *pool, struct future *input,
                   uint32_t ms)
{
    struct computed *timeout =
        hark__computed_new(futures, pool, &timeout_ops, sizeof *timeout, INPUTS);

    if (timeout == NULL) {
        return NULL;
    }
    struct future *alarm = hark__future_open(futures, pool, ms);
    if (alarm == NULL) {
        hark__future_close(futures, pool, NULL, timeout->future);
        return NULL;
    }
    timeout->future->trace = input->trace; // as of a step
    hark__computed_watch(timeout, &timeout->inputs[GUARDED], input);
    hark__computed_watch(timeout, &timeout->inputs[ALARM], alarm);
    return timeout->future;
}
