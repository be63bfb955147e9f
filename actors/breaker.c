// Circuit breaker.
//
//   CLOSED ---- too many failures in the window ---> OPEN
//   OPEN ------ open_ms over, and an ask comes ----> HALF_OPEN: that ask is its probe
//   HALF_OPEN - the probe has succeeded -----------> CLOSED
//   HALF_OPEN - the probe has failed --------------> OPEN
//
// A probe that ends neither way makes room for the next one.

#include "gate.h"

enum {
    DEFAULT_WINDOW = 20,
    MOST_WINDOW = 64,
    DEFAULT_FAILURES = 5,
    DEFAULT_OPEN_MS = 5000,
    NS_PER_MS = 1000000,
};

typedef struct {
    struct gate gate;
    hark_ref target;
    uint32_t window, limit, open_ms; // limit: of failures
    bool count_refusals;
    hark_breaker_mode mode;
    uint64_t outcomes; // 1: a failure; the newest is the lowest
    int64_t retry_ns;  // OPEN
    uint64_t probe;    // HALF_OPEN: the visit that is let through; 0: none
} breaker;

static uint32_t
failures_of(const breaker *self)
{
    return (uint32_t)__builtin_popcountll(self->outcomes);
}

static uint32_t
retry_ms(hark_ctx *ctx, const breaker *self)
{
    int64_t left_ns = self->retry_ns - hark_now_ns(ctx);

    return self->mode == HARK_BREAKER_OPEN && left_ns > 0
               ? (uint32_t)((left_ns + NS_PER_MS - 1) / NS_PER_MS)
               : 0;
}

// The one function that moves it.
static void
move_to(hark_ctx *ctx, breaker *self, hark_breaker_mode mode)
{
    self->mode = mode;
    self->probe = 0;
    if (mode == HARK_BREAKER_OPEN) {
        self->retry_ns = hark_now_ns(ctx) + (int64_t)self->open_ms * NS_PER_MS;
    } else if (mode == HARK_BREAKER_CLOSED) {
        self->outcomes = 0;
    }
}

static void
note(hark_ctx *ctx, breaker *self, bool has_failed)
{
    uint64_t all =
        self->window == MOST_WINDOW ? UINT64_MAX : (UINT64_C(1) << self->window) - 1;

    self->outcomes = (self->outcomes << 1 | (has_failed ? 1 : 0)) & all;
    if (failures_of(self) >= self->limit) {
        move_to(ctx, self, HARK_BREAKER_OPEN);
    }
}

HARK_ON(breaker, hark_hold) {
    hark__gate_hold(ctx, &self->gate);
}

static void
refuse(hark_ctx *ctx, const breaker *self)
{
    if (self->mode == HARK_BREAKER_OPEN) {
        hark_refuse(ctx, HARK_ELIMIT,
                    "breaker \"%s\" is open after %u failures; it tries again in %u ms",
                    self->gate.name, failures_of(self), retry_ms(ctx, self));
    } else {
        hark_refuse(ctx, HARK_ELIMIT,
                    "breaker \"%s\" is half open: it waits for its probe to end",
                    self->gate.name);
    }
}

HARK_ON(breaker, hark_enter) {
    struct visit *visit = hark__gate_visit(ctx, &self->gate);

    if (visit == NULL) {
        return;
    }
    if (self->mode == HARK_BREAKER_OPEN && retry_ms(ctx, self) == 0) {
        move_to(ctx, self, HARK_BREAKER_HALF_OPEN);
    }
    if (self->mode == HARK_BREAKER_OPEN || self->probe != 0) {
        refuse(ctx, self);
        return;
    }
    uint64_t number = hark__gate_number(&self->gate, visit);
    const hark_pass pass = {self->target, number};
    bool is_probe = self->mode == HARK_BREAKER_HALF_OPEN;
    visit->amount = 1; // its outcome is open
    if (hark__gate_admit(ctx, &self->gate, visit, &hark_pass_type, &pass) && is_probe) {
        self->probe = number;
    }
}

// Codes that say nothing about the target.
static bool
is_neutral(int32_t code)
{
    return code == HARK_EINVAL || code == HARK_ECANCELLED || code == HARK_ESTALE;
}

HARK_ON(breaker, hark_outcome) {
    struct visit *visit = hark__gate_find(ctx, &self->gate, msg->number);
    bool is_failure =
        msg->code != HARK_OK && (msg->code < HARK_EUSER || self->count_refusals);

    if (visit == NULL || visit->amount == 0 || is_neutral(msg->code)) {
        return; // if it was the probe, its end lets the next one through
    }
    visit->amount = 0;
    if (msg->number == self->probe) {
        move_to(ctx, self, is_failure ? HARK_BREAKER_OPEN : HARK_BREAKER_CLOSED);
    } else if (self->mode == HARK_BREAKER_CLOSED) {
        note(ctx, self, is_failure);
    }
}

// Its outcome, if any, came before.
HARK_ON(breaker, gate_gone) {
    struct visit was;

    if (hark__gate_gone(ctx, &self->gate, msg, &was)
        && self->probe == ((uint64_t)msg->generation << 32 | msg->index)) {
        self->probe = 0;
    }
}

HARK_ON(breaker, hark_breaker_read) {
    hark_reply(ctx, hark_breaker_state, .mode = (uint32_t)self->mode,
               .failures = failures_of(self), .retry_ms = retry_ms(ctx, self));
}

HARK_HOOK(breaker, stop) {
    hark__gate_fini(ctx, &self->gate);
}

HARK_ACTOR_WITH(breaker, (stop), hark_hold, hark_enter, hark_outcome, gate_gone,
                hark_breaker_read)

hark_ref
hark_breaker(hark_ctx *ctx, const hark_breaker_options *options)
{
    breaker state = {.mode = HARK_BREAKER_CLOSED};

    if (options == NULL || hark_ref_is_null(options->target)) {
        hark_error_set(ctx, HARK_EINVAL, "hark_breaker: null argument");
        return (hark_ref){0, 0};
    }
    state.target = options->target;
    state.window = options->window != 0 ? options->window : DEFAULT_WINDOW;
    state.limit = options->failures != 0 ? options->failures : DEFAULT_FAILURES;
    state.open_ms = options->open_ms != 0 ? options->open_ms : DEFAULT_OPEN_MS;
    state.count_refusals = options->count_refusals;
    if (state.window > MOST_WINDOW || state.limit > state.window) {
        hark_error_set(ctx, HARK_EINVAL,
                       "breaker \"%.63s\": %u failures in a window of %u cannot be",
                       options->name != NULL ? options->name : "", state.limit,
                       state.window);
        return (hark_ref){0, 0};
    }
    hark__gate_init(&state.gate, "breaker", options->name, 0);
    return hark_spawn_ref(ctx, &breaker_behavior, &state, NULL);
}
