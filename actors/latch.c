#include "gate.h"

typedef struct {
    struct gate gate;
    struct line line;
    uint32_t count;
} latch;

static void
open_up(hark_ctx *ctx, latch *self)
{
    const hark_unit unit = {0};
    struct visit *first;

    while ((first = hark__gate_first(&self->gate, &self->line)) != NULL) {
        (void)hark__gate_admit(ctx, &self->gate, first, &hark_unit_type, &unit);
    }
}

HARK_ON(latch, hark_hold) {
    hark__gate_hold(ctx, &self->gate);
}

HARK_ON(latch, hark_latch_opens) {
    const hark_unit unit = {0};
    struct visit *visit = hark__gate_visit(ctx, &self->gate);

    if (visit == NULL) {
        return;
    }
    if (self->count == 0) {
        (void)hark__gate_admit(ctx, &self->gate, visit, &hark_unit_type, &unit);
    } else {
        (void)hark__gate_wait(ctx, &self->gate, visit, &self->line);
    }
}

HARK_ON(latch, hark_latch_down) {
    if (msg->count == 0 || msg->count > self->count) {
        hark_refuse(ctx, HARK_EINVAL,
                    "latch \"%s\" is at %u: it cannot be counted down by %u",
                    self->gate.name, self->count, msg->count);
        return;
    }
    self->count -= msg->count;
    hark_reply(ctx, hark_latch_left, .count = self->count);
    if (self->count == 0) {
        open_up(ctx, self);
    }
}

HARK_ON(latch, gate_gone) {
    struct visit was;

    (void)hark__gate_gone(ctx, &self->gate, msg, &was);
}

HARK_HOOK(latch, stop) {
    hark__gate_fini(ctx, &self->gate);
}

HARK_ACTOR_WITH(latch, (stop), hark_hold, hark_latch_opens, hark_latch_down, gate_gone)

hark_ref
hark_latch(hark_ctx *ctx, const hark_latch_options *options)
{
    latch state = {.count = 0};

    if (options == NULL) {
        hark_error_set(ctx, HARK_EINVAL, "hark_latch: null argument");
        return (hark_ref){0, 0};
    }
    state.count = options->count;
    hark__gate_init(&state.gate, "latch", options->name, options->waiting_limit);
    hark__line_init(&state.line);
    return hark_spawn_ref(ctx, &latch_behavior, &state, NULL);
}

hark_future
hark_count_down_at(hark_ctx *ctx, const char *site, hark_ref object, uint32_t count)
{
    return hark_ask_at(ctx, site, 0, object, &hark_latch_down_type,
                       &(hark_latch_down){.count = count});
}

hark_future
hark_latch_wait_at(hark_ctx *ctx, const char *site, uint32_t timeout_ms,
                   hark_ref object)
{
    const hark_latch_opens opens = {0};

    return hark__gate_ask(ctx, site, timeout_ms, object, &hark_latch_opens_type,
                          &opens);
}
