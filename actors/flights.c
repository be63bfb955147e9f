// Single flights: one piece of work for each key, and a line of those who wait for it.

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "gate.h"

enum { BUCKETS = 64 };

struct flight {
    hark_continuation continuation; // first member: each flight has its own
    struct flight *next;            // in its bucket
    struct line line;
    hark_future work;
    struct gate *gate;
    struct flight **bucket;
    hark_str key; // its bytes follow the struct
};

typedef struct {
    struct gate gate;
    hark_flights_options options;
    struct flight *buckets[BUCKETS];
} flights;

static struct flight **
bucket_of(flights *self, hark_str key)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (size_t i = 0; i < key.len; i++) {
        hash = (hash ^ (unsigned char)key.ptr[i]) * UINT64_C(1099511628211);
    }
    return &self->buckets[(hash >> 32) % BUCKETS];
}

static struct flight *
find(flights *self, hark_str key)
{
    struct flight *flight = *bucket_of(self, key);

    while (flight != NULL && !hark_str_equal(flight->key, key)) {
        flight = flight->next;
    }
    return flight;
}

// Nobody joins it any more. It is freed with its continuation.
static void
take_out(struct flight *flight)
{
    struct flight **at = flight->bucket;

    while (*at != flight) {
        at = &(*at)->next;
    }
    *at = flight->next;
}

static void
landed(hark_ctx *ctx, void *state, const void *reply, void *arg)
{
    struct flight *flight = arg;
    struct visit *first;

    (void)state;
    take_out(flight);
    while ((first = hark__gate_first(flight->gate, &flight->line)) != NULL) {
        (void)hark__gate_admit(ctx, flight->gate, first, flight->continuation.type,
                               reply);
    }
}

static void
crashed(hark_ctx *ctx, void *state, const hark_error *error, void *arg)
{
    struct flight *flight = arg;
    struct visit *first;

    (void)state;
    take_out(flight);
    while ((first = hark__gate_first(flight->gate, &flight->line)) != NULL) {
        hark__gate_fail(ctx, flight->gate, first, error->code, error->text);
    }
}

static void
fail_start(hark_ctx *ctx, const flights *self)
{
    const hark_error *error = hark_error_of(ctx);

    hark_refuse(ctx, error->code != HARK_OK ? error->code : HARK_EINVAL,
                "flights \"%s\": no work was started: %s", self->gate.name,
                error->text);
}

// NULL: the ask in hand is refused.
static struct flight *
start(hark_ctx *ctx, flights *self, hark_str key)
{
    struct flight *flight = calloc(1, sizeof *flight + key.len + 1);

    if (flight == NULL) {
        hark_refuse(ctx, HARK_ENOMEM, "flights \"%s\": no memory", self->gate.name);
        return NULL;
    }
    char *copy = (char *)(flight + 1);
    if (key.len > 0) {
        memcpy(copy, key.ptr, key.len);
    }
    flight->key = (hark_str){.ptr = copy, .len = key.len};
    flight->continuation = (hark_continuation){
        .type = self->options.reply,
        .on_reply = landed,
        .on_failure = crashed,
        .drop = free,
    };
    flight->gate = &self->gate;
    hark__line_init(&flight->line);
    // The work is everybody's, and not a part of the first one's request.
    if (hark_shield(ctx, HARK_FOREVER) != HARK_OK) {
        free(flight);
        fail_start(ctx, self);
        return NULL;
    }
    flight->work = self->options.start(ctx, flight->key, self->options.arg);
    hark_shield_end(ctx);
    flight->bucket = bucket_of(self, key);
    if (flight->work.id == 0) {
        fail_start(ctx, self);
        free(flight);
        return NULL;
    }
    if (hark_then_value(ctx, flight->work, &flight->continuation, flight) != HARK_OK) {
        fail_start(ctx, self); // the flight is freed
        return NULL;
    }
    flight->next = *flight->bucket;
    *flight->bucket = flight;
    return flight;
}

// Nobody waits for it.
static void
call_off(hark_ctx *ctx, struct flight *flight)
{
    take_out(flight);
    hark_future_drop(ctx, flight->work); // frees it
}

HARK_ON(flights, hark_hold) {
    hark__gate_hold(ctx, &self->gate);
}

HARK_ON(flights, hark_join_flight) {
    struct visit *visit = hark__gate_visit(ctx, &self->gate);

    if (visit == NULL) {
        return;
    }
    struct flight *flight = find(self, msg->key);
    if (flight == NULL) {
        flight = start(ctx, self, msg->key);
    }
    if (flight == NULL) {
        return;
    }
    visit->tag = (uintptr_t)flight;
    if (!hark__gate_wait(ctx, &self->gate, visit, &flight->line)
        && flight->line.count == 0) {
        call_off(ctx, flight);
    }
}

HARK_ON(flights, gate_gone) {
    struct visit was;

    if (hark__gate_gone(ctx, &self->gate, msg, &was) && was.state == VISIT_LINE
        && ((struct flight *)(uintptr_t)was.tag)->line.count == 0) {
        call_off(ctx, (struct flight *)(uintptr_t)was.tag);
    }
}

HARK_HOOK(flights, stop) {
    hark__gate_fini(ctx, &self->gate);
}

HARK_ACTOR_WITH(flights, (stop), hark_hold, hark_join_flight, gate_gone)

hark_ref
hark_flights(hark_ctx *ctx, const hark_flights_options *options)
{
    flights state = {.gate = {.count = 0}};

    if (options == NULL || options->start == NULL || options->reply == NULL) {
        hark_error_set(ctx, HARK_EINVAL, "hark_flights: null argument");
        return (hark_ref){0, 0};
    }
    state.options = *options;
    state.options.name = NULL; // borrowed for the call
    hark__gate_init(&state.gate, "flights", options->name, options->waiting_limit);
    return hark_spawn_ref(ctx, &flights_behavior, &state, NULL);
}

hark_future
hark_flight_at(hark_ctx *ctx, const char *site, uint32_t timeout_ms, hark_ref object,
               hark_str key)
{
    return hark__gate_ask(ctx, site, timeout_ms, object, &hark_join_flight_type,
                          &(hark_join_flight){.key = key});
}
