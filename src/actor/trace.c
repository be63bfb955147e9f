#include "actor/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/ctx.h"

enum { DEPTH = 64 }; // calls that are printed of one trace

bool
hark__traces_init(struct traces *traces)
{
    *traces = (struct traces){
        .rows = calloc(TRACES, sizeof *traces->rows),
        .table = calloc((size_t)2 * TRACES, sizeof *traces->table),
        .count = 1,
    };
    pthread_mutex_init(&traces->lock, NULL);
    return traces->rows != NULL && traces->table != NULL;
}

void
hark__traces_fini(struct traces *traces)
{
    for (uint32_t i = 1; i < traces->count; i++) {
        free((char *)(uintptr_t)traces->rows[i].site);
    }
    free(traces->rows);
    free(traces->table);
    pthread_mutex_destroy(&traces->lock);
}

// ---- finding ----

static uint32_t
hash_text(const char *text)
{
    uint32_t hash = 2166136261u;

    for (; text != NULL && *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    }
    return hash;
}

static bool
is_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
is_same(const struct trace *a, const struct trace *b)
{
    return a->parent == b->parent && a->in == b->in && is_same_text(a->site, b->site)
           && is_same_text(a->who, b->who);
}

// The lock is held. 0: no room, or no memory.
static uint16_t
add(struct traces *traces, const struct trace *key)
{
    char *site = NULL;

    if (traces->count == TRACES) {
        return 0;
    }
    if (key->site != NULL && (site = strdup(key->site)) == NULL) {
        return 0;
    }
    struct trace *row = &traces->rows[traces->count];
    *row = *key;
    row->site = site;
    return (uint16_t)traces->count++;
}

uint16_t
hark__traces_find(struct traces *traces, const struct trace *key)
{
    uint32_t at = (hash_text(key->site) ^ hash_text(key->who) * 31u
                   ^ (uint32_t)((uintptr_t)key->in >> 4) ^ key->parent * 0x9E3779B9u)
                  % (2 * TRACES);

    pthread_mutex_lock(&traces->lock);
    while (traces->table[at] != 0 && !is_same(&traces->rows[traces->table[at]], key)) {
        at = (at + 1) % (2 * TRACES);
    }
    if (traces->table[at] == 0) {
        traces->table[at] = add(traces, key);
    }
    uint16_t number = traces->table[at];
    pthread_mutex_unlock(&traces->lock);
    return number;
}

// The nearest call of key's parents that is the same call; 0: there is none. So a loop, in
// which each answer makes the next ask, is one way and not a longer one each time.
static uint16_t
find_recurring(const struct traces *traces, const struct trace *key)
{
    uint16_t number = key->parent;

    for (int i = 0; number != 0 && i < DEPTH; i++) {
        const struct trace *row = &traces->rows[number];

        if (row->in == key->in && is_same_text(row->site, key->site)
            && is_same_text(row->who, key->who)) {
            return number;
        }
        number = row->parent;
    }
    return 0;
}

uint16_t
hark__trace_learn(struct traces *traces, struct trace_known *known)
{
    const struct trace key = {
        .site = known->site,
        .who = known->behavior != NULL ? known->behavior->name : NULL,
        .in = known->in,
        .parent = known->parent,
    };

    known->number = find_recurring(traces, &key);
    if (known->number == 0) {
        known->number = hark__traces_find(traces, &key);
    }
    return known->number;
}

// ---- printing ----

void
hark__trace_print(hark_ctx *ctx, uint16_t number, char *out, size_t size, size_t *used)
{
    for (int i = 0; number != 0 && i < DEPTH; i++) {
        const struct trace *row = &ctx->node->traces.rows[number];

        hark__append(out, size, used, "\n  asked by %s",
                     row->who != NULL ? row->who : "a thread");
        if (row->in != NULL) {
            hark__append(out, size, used, " in %s", row->in->name);
        }
        if (row->site != NULL) {
            hark__append(out, size, used, " at %s", row->site);
        }
        number = row->parent;
    }
    if (number != 0) {
        hark__append(out, size, used, "\n  and so on");
    }
}

size_t
hark_error_trace(hark_ctx *ctx, const hark_error *error, char *out, size_t size)
{
    size_t used = hark_error_print(ctx, error, out, size);

    if (ctx != NULL && error != NULL && error->trace < TRACES) {
        hark__trace_print(ctx, (uint16_t)error->trace, out, size, &used);
    }
    return used;
}

size_t
hark_backtrace(hark_ctx *ctx, char *out, size_t size)
{
    const struct hark_message *message = ctx != NULL ? ctx->message : NULL;
    char self[300];
    size_t used = 0;

    if (ctx == NULL || ctx->slot == NULL) {
        hark__append(out, size, &used, "nobody");
        return used;
    }
    hark_ref_print(ctx, ctx->self, self, sizeof self);
    hark__append(out, size, &used, "%s", self);
    if (message != NULL && message->type != NULL) {
        hark__append(out, size, &used, " in %s", message->type->name);
    }
    hark__trace_print(ctx, message != NULL ? message->trace : ctx->trace, out, size,
                      &used);
    if (message != NULL && message->from.node != ctx->node->id
        && message->from.node != 0) {
        hark_ref_print(ctx, message->from, self, sizeof self);
        hark__append(out, size, &used, "\n  asked by %s of another node", self);
    }
    return used;
}
