#include "gate.h"

typedef struct {
    struct gate gate;
    struct line line;
    uint32_t parties;
    uint64_t generation;
} barrier;

static void
go_on(hark_ctx *ctx, barrier *self)
{
    hark_arrived arrived = {.generation = self->generation++};
    struct visit *first;

    while ((first = hark__gate_first(&self->gate, &self->line)) != NULL) {
        (void)hark__gate_admit(ctx, &self->gate, first, &hark_arrived_type, &arrived);
        arrived.place++;
    }
}

HARK_ON(barrier, hark_hold) {
    hark__gate_hold(ctx, &self->gate);
}

HARK_ON(barrier, hark_arrive) {
    struct visit *visit = hark__gate_visit(ctx, &self->gate);

    if (visit == NULL || !hark__gate_wait(ctx, &self->gate, visit, &self->line)
        || self->line.count < self->parties) {
        return;
    }
    hark__gate_prune(ctx, &self->gate, &self->line);
    if (self->line.count == self->parties) {
        go_on(ctx, self);
    }
}

HARK_ON(barrier, gate_gone) {
    struct visit was;

    (void)hark__gate_gone(ctx, &self->gate, msg, &was);
}

HARK_HOOK(barrier, stop) {
    hark__gate_fini(ctx, &self->gate);
}

HARK_ACTOR_WITH(barrier, (stop), hark_hold, hark_arrive, gate_gone)

hark_ref
hark_barrier(hark_ctx *ctx, const hark_barrier_options *options)
{
    barrier state = {.generation = 0};

    if (options == NULL || options->parties == 0) {
        hark_error_set(ctx, HARK_EINVAL, "barrier \"%.63s\": no parties",
                       options != NULL && options->name != NULL ? options->name : "");
        return (hark_ref){0, 0};
    }
    state.parties = options->parties;
    hark__gate_init(&state.gate, "barrier", options->name, options->parties);
    hark__line_init(&state.line);
    return hark_spawn_ref(ctx, &barrier_behavior, &state, NULL);
}

hark_future
hark_barrier_wait_at(hark_ctx *ctx, const char *site, uint32_t timeout_ms,
                     hark_ref object)
{
    const hark_arrive arrive = {0};

    return hark__gate_ask(ctx, site, timeout_ms, object, &hark_arrive_type, &arrive);
}
