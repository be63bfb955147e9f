// Holding: the end of one future, with another one held meanwhile, and maybe longer.

#include "future/combine.h"

enum { SOURCE, HELD, INPUTS };

struct holding {
    struct computed computed; // first member
    bool keep;
};

// The reply has the held one from now on.
static void
hand_over(struct computed *computed)
{
    struct input *input = &computed->inputs[HELD];
    struct future *held = hark__future_find(computed->futures, input->id);

    if (held != NULL) {
        held->waiter = NULL;
        computed->future->held = held->id;
        input->id = 0;
    }
}

static void
ended(struct computed *computed, void *turn, struct input *input, struct future *future)
{
    const struct holding *holding = (const struct holding *)computed;

    if (input == &computed->inputs[SOURCE] && holding->keep && future != NULL
        && future->code == HARK_OK) {
        hand_over(computed);
    }
    hark__computed_pass(computed, turn, future);
}

static const struct computed_ops ops = {ended,       NULL,  NULL,
                                        NEEDS_FIRST, false, "hark_holding"};

struct future *
hark__holding_open(struct futures *futures, struct pool *pool, struct future *input,
                   struct future *held, bool keep)
{
    struct holding *holding =
        hark__computed_new(futures, pool, &ops, sizeof *holding, INPUTS);

    if (holding == NULL) {
        return NULL;
    }
    holding->keep = keep;
    holding->computed.future->trace = input->trace; // as of a step
    hark__computed_watch(&holding->computed, &holding->computed.inputs[SOURCE], input);
    hark__computed_watch(&holding->computed, &holding->computed.inputs[HELD], held);
    return holding->computed.future;
}
