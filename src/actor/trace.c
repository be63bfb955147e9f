#include "actor/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/ctx.h"
#include "future/combine.h"

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

enum { TEXTS = 4 };

// A row's texts. Of its own copies the first that is there begins their block.
static void
list_texts(const struct trace *row, const char *out_texts[TEXTS])
{
    out_texts[0] = row->site;
    out_texts[1] = row->who;
    out_texts[2] = row->in;
    out_texts[3] = row->node;
}

static void
free_texts(const struct trace *row)
{
    const char *texts[TEXTS];

    list_texts(row, texts);
    for (int i = 0; i < TEXTS; i++) {
        if (texts[i] != NULL) {
            free((char *)(uintptr_t)texts[i]);
            return;
        }
    }
}

void
hark__traces_fini(struct traces *traces)
{
    for (uint32_t i = 1; i < traces->count; i++) {
        free_texts(&traces->rows[i]);
    }
    free(traces->rows);
    free(traces->table);
    pthread_mutex_destroy(&traces->lock);
}

// ---- finding ----

static uint32_t
hash_text(uint32_t hash, const char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    }
    return hash * 31u;
}

static uint32_t
hash_key(const struct trace *key)
{
    const char *texts[TEXTS];
    uint32_t hash = 2166136261u;

    list_texts(key, texts);
    for (int i = 0; i < TEXTS; i++) {
        hash = hash_text(hash, texts[i]);
    }
    return hash ^ (key->parent + (uint32_t)key->kind * TRACES) * 0x9E3779B9u;
}

static bool
is_same_text(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool
is_same_call(const struct trace *a, const struct trace *b)
{
    return a->kind == b->kind && is_same_text(a->site, b->site)
           && is_same_text(a->in, b->in) && is_same_text(a->who, b->who)
           && is_same_text(a->node, b->node);
}

// *at is where the copy is to stand, and moves behind it.
static const char *
copy_text(char **at, const char *text)
{
    char *copy = *at;

    if (text == NULL) {
        return NULL;
    }
    *at = stpcpy(copy, text) + 1;
    return copy;
}

// False: no memory.
static bool
copy_row(struct trace *row, const struct trace *key)
{
    const char *texts[TEXTS];
    size_t size = 0;

    list_texts(key, texts);
    for (int i = 0; i < TEXTS; i++) {
        size += texts[i] != NULL ? strlen(texts[i]) + 1 : 0;
    }
    char *block = size > 0 ? malloc(size) : NULL;
    if (size > 0 && block == NULL) {
        return false;
    }
    *row = *key;
    row->site = copy_text(&block, key->site);
    row->who = copy_text(&block, key->who);
    row->in = copy_text(&block, key->in);
    row->node = copy_text(&block, key->node);
    return true;
}

// The lock is held. room: NULL: it is of this node. 0: no room, or no memory.
static uint16_t
add(struct traces *traces, const struct trace *key, uint32_t *room)
{
    bool is_full = room != NULL && (*room == 0 || traces->foreign == TRACES_FOREIGN);

    if (is_full || traces->count == TRACES
        || !copy_row(&traces->rows[traces->count], key)) {
        return 0;
    }
    if (room != NULL) {
        traces->foreign++;
        --*room;
    }
    return (uint16_t)traces->count++;
}

static uint16_t
find(struct traces *traces, const struct trace *key, uint32_t *room)
{
    uint32_t at = hash_key(key) % (2 * TRACES);

    pthread_mutex_lock(&traces->lock);
    for (uint16_t number; (number = traces->table[at]) != 0;
         at = (at + 1) % (2 * TRACES)) {
        const struct trace *row = &traces->rows[number];

        if (row->parent == key->parent && is_same_call(row, key)) {
            break;
        }
    }
    if (traces->table[at] == 0) {
        traces->table[at] = add(traces, key, room);
    }
    uint16_t number = traces->table[at];
    pthread_mutex_unlock(&traces->lock);
    return number;
}

uint16_t
hark__traces_find(struct traces *traces, const struct trace *key)
{
    return find(traces, key, NULL);
}

uint16_t
hark__traces_find_foreign(struct traces *traces, const struct trace *key,
                          uint32_t *room)
{
    return find(traces, key, room);
}

uint16_t
hark__traces_recur(struct traces *traces, const struct trace *key)
{
    uint16_t number = key->parent;

    for (int i = 0; number != 0 && i < TRACE_DEPTH; i++) {
        const struct trace *row = hark__trace_row(traces, number);

        if (is_same_call(row, key)) {
            return number;
        }
        number = row->parent;
    }
    return hark__traces_find(traces, key);
}

uint16_t
hark__trace_learn(hark_ctx *ctx, struct trace_known *known)
{
    char name[TRACE_NAME];
    const struct trace key = {
        .site = known->site,
        .who = known->behavior != NULL ? known->behavior->name
                                       : hark__thread_name(ctx, name, sizeof name),
        .in = known->in != NULL ? known->in->name : NULL,
        .parent = (uint16_t)known->about,
        .kind = (uint8_t)(known->about >> 16),
    };

    known->number = hark__traces_recur(&ctx->node->traces, &key);
    if (known->number == 0) {
        known->about = TRACE_UNKNOWN; // no memory now, perhaps later
    }
    return known->number;
}

// A combinator's callback works for the sake of who has made that.
uint16_t
hark__trace_outside(const hark_ctx *ctx)
{
    const struct futures *futures = ctx_futures(ctx);
    const struct future *made = futures != NULL && futures->outcome != NULL
                                    ? futures->outcome->computed->future
                                    : NULL;

    return made != NULL ? made->trace : 0;
}

// ---- printing ----

static const char *
word_for(uint8_t kind)
{
    static const char *const words[] = {
        [TRACE_ASKED] = "asked", [TRACE_ARMED] = "armed", [TRACE_SPAWNED] = "spawned"};

    return kind < sizeof words / sizeof words[0] ? words[kind] : "called";
}

// "asked by teller in transfer at bank.c:61, node east"; who: instead of the row's.
static void
print_call(const struct trace *row, const char *who, char *out, size_t size,
           size_t *used)
{
    if (who == NULL) {
        who = row->who != NULL ? row->who : "somebody";
    }
    hark__append(out, size, used, "%s by %s", word_for(row->kind), who);
    if (row->in != NULL) {
        hark__append(out, size, used, " in %s", row->in);
    }
    if (row->site != NULL) {
        hark__append(out, size, used, " at %s", row->site);
    }
    if (row->node != NULL) {
        hark__append(out, size, used, ", node %s", row->node);
    }
}

static const char *
own_behavior(const hark_ctx *ctx)
{
    // relaxed: its writer is the reader of the mailbox, which we are.
    const hark_behavior *behavior =
        ctx->slot != NULL
            ? atomic_load_explicit(&ctx->slot->behavior, memory_order_relaxed)
            : NULL;

    return behavior != NULL ? behavior->name : NULL;
}

static bool
is_by_owner(const hark_ctx *ctx, const struct trace *row)
{
    const char *own = own_behavior(ctx);

    return own != NULL && row->kind == TRACE_ASKED && row->node == NULL
           && is_same_text(own, row->who);
}

void
hark__trace_print(hark_ctx *ctx, uint16_t number, bool is_own, char *out, size_t size,
                  size_t *used)
{
    char self[REF_TEXT];
    const char *who = NULL;

    for (int i = 0; number != 0 && i < TRACE_DEPTH; i++) {
        const struct trace *row = hark__trace_row(&ctx->node->traces, number);

        if (i == 0 && is_own && is_by_owner(ctx, row)) {
            hark_ref_print(ctx, ctx->self, self, sizeof self);
            who = self;
        }
        hark__append(out, size, used, "\n  ");
        print_call(row, who, out, size, used);
        number = row->parent;
        who = NULL;
    }
    if (number != 0) {
        hark__append(out, size, used, "\n  and so on");
    }
}

void
hark__trace_print_birth(hark_ctx *ctx, char *out, size_t size, size_t *used)
{
    const char *own = own_behavior(ctx);
    uint16_t number = own != NULL ? ctx->slot->spawned : 0;

    if (number != 0) {
        const struct trace *row = hark__trace_row(&ctx->node->traces, number);

        hark__append(out, size, used, "\n  %s was ", own);
        print_call(row, NULL, out, size, used);
        hark__trace_print(ctx, row->parent, false, out, size, used);
    }
}

size_t
hark_error_print(hark_ctx *ctx, const hark_error *error, char *out, size_t size)
{
    const struct trace *row =
        ctx != NULL && error != NULL && error->trace != 0 && error->trace < TRACES
            ? hark__trace_row(&ctx->node->traces, (uint16_t)error->trace)
            : NULL;
    if (row != NULL && row->site == NULL && row->in == NULL && row->parent == 0) {
        row = NULL; // of a thread, who knows where: that says nothing
    }
    // The first call tells its site, if it is that of the ask.
    bool tells_site = row == NULL || !is_same_text(row->site, error->site);
    size_t used = hark__error_head(ctx, error, tells_site, out, size);

    if (row != NULL) {
        hark__trace_print(ctx, (uint16_t)error->trace, true, out, size, &used);
    }
    return used;
}

// Who runs on another node cannot be told but by a trace.
static void
print_foreign_asker(hark_ctx *ctx, const struct hark_message *message, char *out,
                    size_t size, size_t *used)
{
    if (message != NULL && message->trace == 0 && message->from.node != 0
        && message->from.node != ctx->node->id) {
        hark__append(out, size, used, "\n  %s by ",
                     message->kind == MESSAGE_ASK ? "asked" : "told");
        hark__append_whom(ctx, message->from, out, size, used);
    }
}

size_t
hark_backtrace(hark_ctx *ctx, char *out, size_t size)
{
    const struct hark_message *message = ctx != NULL ? ctx->message : NULL;
    char self[REF_TEXT];
    size_t used = 0;

    if (ctx == NULL || ctx->slot == NULL) {
        hark__append(out, size, &used, "nobody");
        return used;
    }
    uint16_t trace = hark__trace_cause(ctx);
    hark_ref_print(ctx, ctx->self, self, sizeof self);
    hark__append(out, size, &used, "%s", self);
    if (message != NULL && message->type != NULL) {
        hark__append(out, size, &used, " in %s", message->type->name);
    }
    hark__trace_print(ctx, trace, false, out, size, &used);
    print_foreign_asker(ctx, message, out, size, &used);
    if (message != NULL || trace == 0 || trace != ctx->slot->spawned) {
        hark__trace_print_birth(ctx, out, size, &used); // in hooks it is the cause
    }
    return used;
}
