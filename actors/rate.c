// Rate: a token bucket. It looks at the clock when somebody comes, and sets a timer
// only while somebody waits.

#include "gate.h"

#define NS_PER_S 1e9
#define NS_PER_MS 1e6

// Tokens may be there by now.
HARK_MESSAGE(rate_tick)

typedef struct {
    struct gate gate;
    struct line line;
    double per_second, burst;
    double tokens;   // at then_ns
    int64_t then_ns; // 0: not yet
    bool is_ticking; // a timer is set
} rate;

static void
refill(hark_ctx *ctx, rate *self)
{
    int64_t now_ns = hark_now_ns(ctx);

    if (self->then_ns != 0) {
        self->tokens += (double)(now_ns - self->then_ns) / NS_PER_S * self->per_second;
    }
    if (self->tokens > self->burst) {
        self->tokens = self->burst;
    }
    self->then_ns = now_ns;
}

// Nobody would ever look at the clock for them.
static void
fail_all(hark_ctx *ctx, rate *self)
{
    struct visit *first;

    while ((first = hark__gate_first(&self->gate, &self->line)) != NULL) {
        hark__gate_fail(ctx, &self->gate, first, HARK_ENOMEM, "no memory for a timer");
    }
}

// For the first in line.
static void
set_timer(hark_ctx *ctx, rate *self)
{
    const struct visit *first = hark__gate_first(&self->gate, &self->line);

    if (first == NULL || self->is_ticking) {
        return;
    }
    double ms =
        (first->amount - self->tokens) / self->per_second * (NS_PER_S / NS_PER_MS);
    uint32_t delay_ms = ms >= HARK_FOREVER - 1 ? HARK_FOREVER - 1
                        : ms > 0               ? (uint32_t)ms + 1
                                               : 1;
    self->is_ticking =
        hark_send_after(ctx, delay_ms, hark_self(ctx), rate_tick).id != 0;
    if (!self->is_ticking) {
        fail_all(ctx, self);
    }
}

static void
serve(hark_ctx *ctx, rate *self)
{
    const hark_unit unit = {0};
    struct visit *first;

    refill(ctx, self);
    while ((first = hark__gate_first(&self->gate, &self->line)) != NULL
           && first->amount <= self->tokens) {
        double count = first->amount;

        if (hark__gate_admit(ctx, &self->gate, first, &hark_unit_type, &unit)) {
            self->tokens -= count;
        }
    }
    set_timer(ctx, self);
}

HARK_ON(rate, hark_hold) {
    hark__gate_hold(ctx, &self->gate);
}

HARK_ON(rate, hark_take_tokens) {
    const hark_unit unit = {0};
    struct visit *visit = hark__gate_visit(ctx, &self->gate);

    if (visit == NULL) {
        return;
    }
    if (msg->count == 0 || msg->count > self->burst) {
        hark_refuse(ctx, HARK_EINVAL, "rate \"%s\" holds %.0f tokens: %u cannot be had",
                    self->gate.name, self->burst, msg->count);
        return;
    }
    refill(ctx, self);
    visit->amount = msg->count;
    if (self->line.count == 0 && msg->count <= self->tokens) {
        self->tokens -= msg->count;
        (void)hark__gate_admit(ctx, &self->gate, visit, &hark_unit_type, &unit);
    } else if (msg->at_once) {
        hark_refuse(ctx, HARK_ELIMIT, "rate \"%s\": not yet: %.1f tokens, %u wait",
                    self->gate.name, self->tokens, self->line.count);
    } else if (hark__gate_wait(ctx, &self->gate, visit, &self->line)) {
        set_timer(ctx, self);
    }
}

HARK_ON(rate, rate_tick) {
    self->is_ticking = false;
    serve(ctx, self);
}

HARK_ON(rate, gate_gone) {
    struct visit was;

    if (hark__gate_gone(ctx, &self->gate, msg, &was) && was.state == VISIT_LINE) {
        serve(ctx, self);
    }
}

HARK_HOOK(rate, stop) {
    hark__gate_fini(ctx, &self->gate);
}

HARK_ACTOR_WITH(rate, (stop), hark_hold, hark_take_tokens, rate_tick, gate_gone)

hark_ref
hark_rate(hark_ctx *ctx, const hark_rate_options *options)
{
    rate state = {.then_ns = 0};

    if (options == NULL || !(options->per_second > 0)
        || options->per_second > NS_PER_S) {
        hark_error_set(ctx, HARK_EINVAL,
                       "rate \"%.63s\": per_second must be over 0 and at most 1e9",
                       options != NULL && options->name != NULL ? options->name : "");
        return (hark_ref){0, 0};
    }
    state.per_second = options->per_second;
    state.burst = options->burst != 0 ? options->burst : 1;
    state.tokens = state.burst;
    hark__gate_init(&state.gate, "rate", options->name, options->waiting_limit);
    hark__line_init(&state.line);
    return hark_spawn_ref(ctx, &rate_behavior, &state, NULL);
}

static hark_future
take(hark_ctx *ctx, const char *site, uint32_t timeout_ms, hark_ref object,
     const hark_take_tokens *wanted)
{
    return hark__gate_ask(ctx, site, timeout_ms, object, &hark_take_tokens_type,
                          wanted);
}

hark_future
hark_rate_wait_at(hark_ctx *ctx, const char *site, uint32_t timeout_ms, hark_ref object,
                  uint32_t count)
{
    return take(ctx, site, timeout_ms, object, &(hark_take_tokens){.count = count});
}

hark_future
hark_rate_try_at(hark_ctx *ctx, const char *site, hark_ref object, uint32_t count)
{
    return take(ctx, site, 0, object,
                &(hark_take_tokens){.count = count, .at_once = true});
}
