#include "actor/attached.h"

#include <stdlib.h>

#include "actor/blocking.h"
#include "actor/owed.h"
#include "actor/request.h"

// ---- attaching ----

static struct slot *
claim(struct node *node, struct seat *seat)
{
    struct slot *slot = hark__slot_claim(&node->slots, &seat->cache);

    if (slot == NULL) {
        return NULL;
    }
    // seq_cst, both: a birth, see announce in spawn.c.
    uint64_t born = atomic_load_explicit(&seat->born, memory_order_relaxed); // ours
    atomic_store_explicit(&seat->born, born + 1, memory_order_seq_cst);
    if (!atomic_load_explicit(&node->stopping, memory_order_seq_cst)) {
        return slot;
    }
    hark__seat_count(&seat->ended);
    hark__slot_free(&node->slots, &seat->cache, slot);
    if (hark__mailbox_sleep(&slot->box, NULL) != MAILBOX_ASLEEP) {
        slot->task.run = hark__actor_run;
        hark__sched_submit(node->sched, NULL, &slot->task);
    }
    return NULL;
}

static void
be_born(struct attached *attached, struct node *node, struct seat *seat,
        struct slot *slot)
{
    // relaxed: only the reader, which we are, writes it.
    uint32_t generation =
        atomic_load_explicit(&slot->generation, memory_order_relaxed) + 1;

    slot->task.run = hark__thread_run;
    slot->state.attached = attached;
    slot->life = SLOT_THREAD;
    // relaxed, both: see give_birth in spawn.c.
    atomic_store_explicit(&slot->limit, 0, memory_order_relaxed);
    atomic_store_explicit(&slot->behavior, NULL, memory_order_relaxed);
    // release: as in give_birth.
    atomic_store_explicit(&slot->generation, generation, memory_order_release);
    attached->id = pthread_self();
    attached->ctx = (hark_ctx){
        .node = node,
        .seat = seat,
        .slot = slot,
        .self = {node->id, hark__slot_name(slot->index, generation)},
        .is_thread = true,
        .last_error = &attached->last_error,
    };
    attached->last_error.error.text = hark_err_text(HARK_OK);
}

hark_ctx *
hark__thread_sit(struct seat *seat, struct job *job)
{
    struct node *node = seat->node;
    struct attached *attached = calloc(1, sizeof *attached);
    struct slot *slot = attached != NULL ? claim(node, seat) : NULL;

    if (slot == NULL) {
        free(attached);
        return NULL;
    }
    attached->job = job;
    attached->waited_ns = INT64_MAX;
    be_born(attached, node, seat, slot);
    hark__list_init(&attached->by_node);
    return &attached->ctx;
}

struct job *
hark__thread_job(const hark_ctx *ctx)
{
    return ctx->is_thread ? attached_of(ctx)->job : NULL;
}

const char *
hark__thread_name(hark_ctx *ctx, char *out, size_t size)
{
    const struct job *job = hark__thread_job(ctx);

    if (job != NULL) {
        return hark__job_name(job);
    }
    ctx->node->env->ops->thread_name(ctx->node->env, out, size);
    return out;
}

hark_ctx *
hark__thread_attach(struct node *node)
{
    struct seat *seat = hark__seat_open(node);
    hark_ctx *ctx = seat != NULL ? hark__thread_sit(seat, NULL) : NULL;

    if (ctx == NULL) {
        if (seat != NULL) {
            hark__seat_close(seat);
        }
        return NULL;
    }
    pthread_mutex_lock(&node->lock);
    hark__list_append(&node->threads, &attached_of(ctx)->by_node);
    pthread_mutex_unlock(&node->lock);
    return ctx;
}

// ---- detaching ----

static void
free_inbox(struct attached *attached)
{
    hark_ctx *ctx = &attached->ctx;

    while (attached->first != NULL) {
        struct hark_message *message = attached->first;

        // relaxed: ours alone.
        attached->first = atomic_load_explicit(&message->next, memory_order_relaxed);
        hark__bounce_message(ctx, ctx->self, message, HARK_ESTOPPED, HARK_STAGE_QUEUED,
                             "the thread detached before it received the message");
        hark__ask_free(ctx, message);
    }
}

// The slot is free now; who sends to it has a worker drain it.
static void
abandon_slot(struct attached *attached)
{
    struct slot *slot = attached->ctx.slot;
    struct hark_message *last = slot->current;

    slot->state.attached = NULL;
    slot->task.run = hark__actor_run;
    slot->current = NULL;
    hark__seat_enter(attached->ctx.seat); // it has been free for a while
    enum mailbox_end end = hark__mailbox_sleep(&slot->box, last);
    if (end == MAILBOX_MORE) {
        slot->current = last; // the worker lets go of it
    }
    if (end != MAILBOX_ASLEEP) {
        hark__schedule(&attached->ctx, slot);
    }
    hark__seat_leave(attached->ctx.seat);
    if (end != MAILBOX_MORE) {
        hark__attached_let_go(attached, last);
    }
}

// Ends all but the seat.
static void
leave(hark_ctx *ctx)
{
    struct attached *attached = attached_of(ctx);

    if (ctx->scopes != NULL) {
        hark__scopes_leave(ctx);
    }
    hark__attached_settle(attached);
    free_inbox(attached);
    hark__request_let_go(ctx, NULL); // shields
    hark__slot_vacate(ctx);
    hark__ctx_flush(ctx);
    hark__scratch_free(ctx);
    if (attached->job == NULL) {
        pthread_mutex_lock(&ctx->node->lock);
        hark__list_remove(&attached->by_node);
        pthread_mutex_unlock(&ctx->node->lock);
    }
    hark__slot_free(&ctx->node->slots, &ctx->seat->cache, ctx->slot);
    abandon_slot(attached);
    free(attached);
}

void
hark_detach(hark_ctx *ctx)
{
    if (ctx == NULL || hark__thread_job(ctx) != NULL || !ctx->is_thread) {
        return;
    }
    struct seat *seat = ctx->seat;

    leave(ctx);
    hark__seat_retire(seat); // last: node_stop may go on from here
}

void
hark__thread_rise(hark_ctx *ctx)
{
    struct seat *seat = ctx->seat;

    leave(ctx);
    hark__seat_count_end(seat); // last, as in hark_detach
}

// Gives one ctx of the calling thread, which may have attached more than once; NULL: it
// has none.
static hark_ctx *
find_own(struct node *node)
{
    pthread_t self = pthread_self();
    hark_ctx *own = NULL;

    pthread_mutex_lock(&node->lock);
    for (struct list *link = node->threads.next; link != &node->threads;
         link = link->next) {
        struct attached *attached = CONTAINER_OF(link, struct attached, by_node);

        if (pthread_equal(attached->id, self)) {
            own = &attached->ctx;
        }
    }
    pthread_mutex_unlock(&node->lock);
    return own;
}

void
hark__thread_detach_own(struct node *node)
{
    hark_ctx *own;

    while ((own = find_own(node)) != NULL) {
        hark_detach(own);
    }
}
