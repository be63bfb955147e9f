#include "gate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_PLACES = 4 };

// ---- lines ----

void
hark__line_init(struct line *line)
{
    *line = (struct line){GATE_NONE, GATE_NONE, 0};
}

static void
append(struct gate *gate, struct line *line, uint32_t index)
{
    struct visit *visit = &gate->visits[index];

    visit->line = line;
    visit->prev = line->last;
    visit->next = GATE_NONE;
    if (line->last == GATE_NONE) {
        line->first = index;
    } else {
        gate->visits[line->last].next = index;
    }
    line->last = index;
    line->count++;
}

static void
take_out(struct gate *gate, struct visit *visit)
{
    struct line *line = visit->line;

    if (visit->prev == GATE_NONE) {
        line->first = visit->next;
    } else {
        gate->visits[visit->prev].next = visit->next;
    }
    if (visit->next == GATE_NONE) {
        line->last = visit->prev;
    } else {
        gate->visits[visit->next].prev = visit->prev;
    }
    line->count--;
    visit->line = NULL;
}

struct visit *
hark__gate_first(struct gate *gate, const struct line *line)
{
    return line->first != GATE_NONE ? &gate->visits[line->first] : NULL;
}

// ---- the gate ----

void
hark__gate_init(struct gate *gate, const char *kind, const char *name, uint32_t limit)
{
    *gate = (struct gate){
        .free = GATE_NONE,
        .limit = limit != 0 ? limit : GATE_LIMIT,
        .here = {GATE_NONE, GATE_NONE, 0},
        .kind = kind,
    };
    snprintf(gate->name, sizeof gate->name, "%s", name != NULL ? name : "");
}

void
hark__gate_fini(hark_ctx *ctx, struct gate *gate)
{
    for (uint32_t i = 0; i < gate->count; i++) {
        if (gate->visits[i].state == VISIT_LINE) {
            (void)hark_break(ctx, gate->visits[i].ask, HARK_ESTOPPED,
                             "%s \"%s\" has ended", gate->kind, gate->name);
        }
    }
    free(gate->visits);
    gate->visits = NULL;
    gate->count = 0;
}

static bool
grow(struct gate *gate)
{
    uint32_t count = gate->count == 0 ? FIRST_PLACES : gate->count * 2;
    struct visit *visits =
        count > gate->count ? realloc(gate->visits, count * sizeof *visits) : NULL;

    if (visits == NULL) {
        return false;
    }
    for (uint32_t i = count; i-- > gate->count;) {
        visits[i] = (struct visit){.generation = 1, .next = gate->free};
        gate->free = i;
    }
    gate->visits = visits;
    gate->count = count;
    return true;
}

void
hark__gate_hold(hark_ctx *ctx, struct gate *gate)
{
    hark_ref who = hark_sender(ctx);

    if (gate->free == GATE_NONE && !grow(gate)) {
        hark_refuse(ctx, HARK_ENOMEM, "%s \"%s\": no memory", gate->kind, gate->name);
        return;
    }
    uint32_t index = gate->free;
    struct visit *visit = &gate->visits[index];
    hark_promise hold = hark_defer(ctx);
    if (hold.id == 0) { // it was told, or there is no memory
        (void)hark_refuse(ctx, HARK_ENOMEM, "%s \"%s\": no memory", gate->kind,
                          gate->name);
        return;
    }
    if (hark_promise_watch(ctx, hold, gate_gone, .index = index,
                           .generation = visit->generation)
        != HARK_OK) {
        hark_break(ctx, hold, HARK_ENOMEM, "%s \"%s\": no memory", gate->kind,
                   gate->name);
        return;
    }
    gate->free = visit->next;
    visit->who = who;
    visit->hold = hold;
    visit->tag = 0;
    visit->amount = 0;
    visit->state = VISIT_HERE;
    append(gate, &gate->here, index);
}

// The newest of the sender: what it has sent in between was not run.
struct visit *
hark__gate_visit(hark_ctx *ctx, struct gate *gate)
{
    hark_ref who = hark_sender(ctx);
    uint32_t index = gate->here.last;

    while (index != GATE_NONE && !hark_ref_equal(gate->visits[index].who, who)) {
        index = gate->visits[index].prev;
    }
    if (index == GATE_NONE) {
        hark_refuse(ctx, HARK_EINVAL, "%s \"%s\": an ask without a hark_hold before it",
                    gate->kind, gate->name);
        return NULL;
    }
    return &gate->visits[index];
}

bool
hark__gate_wait(hark_ctx *ctx, struct gate *gate, struct visit *visit,
                struct line *line)
{
    if (gate->waiting >= gate->limit) {
        hark_refuse(ctx, HARK_ELIMIT, "%s \"%s\": %u wait already", gate->kind,
                    gate->name, gate->limit);
        return false;
    }
    hark_promise ask = hark_defer(ctx);
    if (ask.id == 0) {
        hark_refuse(ctx, HARK_ENOMEM, "%s \"%s\": no memory", gate->kind, gate->name);
        return false;
    }
    take_out(gate, visit);
    visit->ask = ask;
    visit->state = VISIT_LINE;
    gate->waiting++;
    append(gate, line, (uint32_t)(visit - gate->visits));
    return true;
}

// It has no more to get, and its hold is still to end.
static void
be_done(struct gate *gate, struct visit *visit)
{
    take_out(gate, visit);
    gate->waiting--;
    visit->state = VISIT_INSIDE;
    visit->amount = 0;
}

void
hark__gate_prune(hark_ctx *ctx, struct gate *gate, struct line *line)
{
    uint32_t next;

    for (uint32_t i = line->first; i != GATE_NONE; i = next) {
        struct visit *visit = &gate->visits[i];

        next = visit->next;
        if (hark_promise_cancelled(ctx, visit->hold)) {
            be_done(gate, visit);
            (void)hark_break(ctx, visit->ask, HARK_ECANCELLED, "it was let go of");
        }
    }
}

bool
hark__gate_admit(hark_ctx *ctx, struct gate *gate, struct visit *visit,
                 const hark_type *type, const void *value)
{
    hark_err err;

    take_out(gate, visit);
    if (visit->state == VISIT_LINE) {
        gate->waiting--;
        err = hark_fulfil_value(ctx, visit->ask, type, value);
    } else {
        err = hark_reply_value(ctx, type, value);
    }
    visit->state = VISIT_INSIDE;
    if (err != HARK_OK) {
        visit->amount = 0;
    }
    return err == HARK_OK;
}

void
hark__gate_fail(hark_ctx *ctx, struct gate *gate, struct visit *visit, int code,
                const char *text)
{
    be_done(gate, visit);
    (void)hark_break(ctx, visit->ask, code, "%s", text);
}

uint64_t
hark__gate_number(const struct gate *gate, const struct visit *visit)
{
    return (uint64_t)visit->generation << 32 | (uint32_t)(visit - gate->visits);
}

struct visit *
hark__gate_find(hark_ctx *ctx, struct gate *gate, uint64_t number)
{
    uint32_t index = (uint32_t)number;
    struct visit *visit = index < gate->count ? &gate->visits[index] : NULL;

    return visit != NULL && visit->state != VISIT_NONE
                   && visit->generation == (uint32_t)(number >> 32)
                   && hark_ref_equal(visit->who, hark_sender(ctx))
               ? visit
               : NULL;
}

bool
hark__gate_gone(hark_ctx *ctx, struct gate *gate, const gate_gone *gone,
                struct visit *out_was)
{
    struct visit *visit =
        hark__gate_find(ctx, gate, (uint64_t)gone->generation << 32 | gone->index);

    // One that is told by the visitor itself does not count.
    if (visit == NULL || !hark_promise_cancelled(ctx, visit->hold)) {
        return false;
    }
    *out_was = *visit;
    if (visit->state != VISIT_INSIDE) {
        take_out(gate, visit);
    }
    if (visit->state == VISIT_LINE) {
        gate->waiting--;
        (void)hark_break(ctx, visit->ask, HARK_ECANCELLED, "the hold was let go of");
    }
    (void)hark_break(ctx, visit->hold, HARK_ECANCELLED, "it was let go of");
    visit->state = VISIT_NONE;
    visit->generation += visit->generation == UINT32_MAX ? 2 : 1; // never 0
    visit->next = gate->free;
    gate->free = gone->index;
    return true;
}

// ---- the asking side ----

hark_future
hark__gate_ask_hold(hark_ctx *ctx, const char *site, hark_ref object)
{
    const hark_hold hold = {0};
    hark_future none = {0, 0};

    // What is held is let go of by its holder, not by the end of the request for whose
    // sake it was asked for.
    if (hark_shield(ctx, HARK_FOREVER) != HARK_OK) {
        return none;
    }
    hark_future future =
        hark_ask_at(ctx, site, HARK_FOREVER, object, &hark_hold_type, &hold);
    hark_shield_end(ctx);
    return future;
}

hark_future
hark__gate_ask(hark_ctx *ctx, const char *site, uint32_t timeout_ms, hark_ref object,
               const hark_type *type, const void *value)
{
    hark_future hold = hark__gate_ask_hold(ctx, site, object);
    hark_future future = hark_ask_at(ctx, site, timeout_ms, object, type, value);

    return hark_holding_at(ctx, site, future, hold, false);
}
