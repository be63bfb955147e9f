// Step: what a function makes of the end of one future (map, recover, tap, finally).

#include <stdio.h>

#include "future/combine.h"

enum {
    SOURCE,   // what the step looks at
    FOLLOWED, // the future that its function gave
    INPUTS
};

enum { TEXT_SIZE = 600 };

struct step {
    struct computed computed; // first member
    const hark_step *what;
    void *arg;
    bool is_following;
};

static struct future *
source_of(const struct step *step)
{
    return hark__future_find(step->computed.futures, step->computed.inputs[SOURCE].id);
}

static void
fail_type(struct step *step, void *turn, const struct future *source,
          const hark_type *expected)
{
    char text[TEXT_SIZE];

    snprintf(text, sizeof text, "the reply is %s, not %s", source->message->type->name,
             expected->name);
    hark__future_blame(step->computed.futures, step->computed.future, source);
    hark__computed_fail(&step->computed, turn, HARK_ETYPE, HARK_STAGE_REPLY_LOST, text);
}

// The function has run, and given outcome.
static void
use(struct step *step, void *turn, struct outcome *outcome, int code)
{
    struct computed *computed = &step->computed;

    if (outcome->kind == OUTCOME_FAILURE) {
        hark__outcome_fail(outcome, turn);
    } else if (outcome->kind == OUTCOME_FUTURE) {
        step->is_following = true;
        if (!step->what->only_looks) {
            hark__computed_close_input(computed, &computed->inputs[SOURCE],
                                       hark__turn_pool(computed, turn), turn);
        }
    } else if (step->what->only_looks) {
        hark__outcome_free(outcome, turn);
        hark__computed_pass(computed, turn, source_of(step));
    } else if (outcome->kind == OUTCOME_REPLY) {
        hark__computed_succeed(computed, turn, outcome->message);
    } else if (code != HARK_OK) {
        hark__computed_pass(computed, turn, source_of(step));
    } else {
        hark__computed_fail(computed, turn, HARK_ENOREPLY, HARK_STAGE_RUNNING,
                            "the step's function gave no result");
    }
}

static void
run_on_reply(struct step *step, void *turn, struct future *source)
{
    const hark_type *expected = step->what->type;
    struct outcome outcome;

    if (expected != NULL && hark_message_as(source->message, expected) == NULL) {
        fail_type(step, turn, source, expected);
        return;
    }
    if (!step->what->only_looks) {
        hark__future_got(source);
    }
    hark__outcome_begin(&outcome, &step->computed, &step->computed.inputs[FOLLOWED]);
    step->what->on_reply(turn, source->message + 1, step->arg);
    if (hark__outcome_end(&outcome, turn)) {
        use(step, turn, &outcome, HARK_OK);
    }
}

// source: NULL: it was dropped.
static void
run_on_error(struct step *step, void *turn, struct future *source)
{
    hark_error error = {
        .code = HARK_ESTALE,
        .text = "the future was dropped",
        .site = step->computed.future->site,
    };
    struct outcome outcome;

    if (source != NULL) {
        error = hark__future_error(step->computed.futures, source);
    }
    hark__outcome_begin(&outcome, &step->computed, &step->computed.inputs[FOLLOWED]);
    step->what->on_error(turn, &error, step->arg);
    if (hark__outcome_end(&outcome, turn)) {
        use(step, turn, &outcome, error.code);
    }
}

static void
follow(struct step *step, void *turn, struct future *followed)
{
    bool has_failed = followed == NULL || followed->code != HARK_OK;

    hark__computed_pass(&step->computed, turn,
                        step->what->only_looks && !has_failed ? source_of(step)
                                                              : followed);
}

static void
ended(struct computed *computed, void *turn, struct input *input, struct future *future)
{
    struct step *step = (struct step *)computed;

    if (input == &computed->inputs[FOLLOWED]) {
        follow(step, turn, future);
    } else if (step->is_following) {
        return; // the source was dropped after it was looked at
    } else if (future != NULL && future->code == HARK_OK) {
        if (step->what->on_reply != NULL) {
            run_on_reply(step, turn, future);
        } else {
            hark__computed_pass(computed, turn, future);
        }
    } else if (step->what->on_error != NULL) {
        run_on_error(step, turn, future);
    } else {
        hark__computed_pass(computed, turn, future);
    }
}

static void
fini(struct computed *computed, struct pool *pool, void *turn)
{
    struct step *step = (struct step *)computed;

    (void)pool;
    (void)turn;
    if (step->what->drop != NULL) {
        step->what->drop(step->arg);
    }
}

static const struct computed_ops ops = {ended,     fini, NULL,
                                        NEEDS_ALL, true, "hark_map or another step"};

struct future *
hark__step_open(struct futures *futures, struct pool *pool, struct future *input,
                const hark_step *step, void *arg)
{
    struct step *made = hark__computed_new(futures, pool, &ops, sizeof *made, INPUTS);

    if (made == NULL) {
        return NULL;
    }
    made->what = step;
    made->arg = arg;
    made->computed.future->trace = input->trace; // what comes after, comes after that
    hark__computed_watch(&made->computed, &made->computed.inputs[SOURCE], input);
    return made->computed.future;
}
