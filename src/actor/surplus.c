// Memory that many actors had, and nobody wants any more, goes back to the operating
// system: when much of it has been free for a second, a worker gives it back, a little
// at a time between turns. Blocks are the pool's affair (pool_trim.c), slots are ours:
//
//            free for a second         all have passed       nobody is at one any more
//   RESTS ---------------> RECALLS ------------------> CLOSES -----------------> GOES
//     ^                       | no chunk is whole                                  |
//     +-----------------------+---------------- all that could go has -------------+
//
// RECALLS: each worker passes a point between two turns, and hands back its stock of
// free slots. CLOSES: whole chunks have retired, and whoever may have found an actor
// alive there before gets through with its push: each worker passes once more; a thread
// that is no worker says when it is at others' slots (hark__seat_enter), by plain
// stores, so we have every thread pass a barrier (as in sched/next.h) before we look.
//
//     such a thread                    we
//     calls = odd                      (chunks have retired: all is dead there)
//     (compiler barrier)               (barrier in every thread)
//     dead? -> leave it                calls is odd? -> wait till it is another
//     push
//     calls = even
//
// One that was at it before the barrier is seen to be; one that begins after it sees
// that all is dead there. Without such a barrier in the system slots stay.

#include "actor/ctx.h"

#define LOOK_NS INT64_C(1000000000)
#define STEP_NS INT64_C(1000000)
#define BUDGET_NS INT64_C(500000)  // of a step
#define PAUSE_NS INT64_C(64000000) // the longest, for who is slow to pass

enum trimming { TRIMMING_RESTS, TRIMMING_RECALLS, TRIMMING_CLOSES, TRIMMING_GOES };

// Without memory for the timer nothing is given back, and no harm done.
static void
fire_in(struct node *node, int64_t delay_ns,
        void (*fire)(void *poll_arg, struct timer_action *action))
{
    const struct timer_action action = {.fire = fire};

    (void)hark__sched_arm(node->sched, NULL, hark__env_now(node->env) + delay_ns,
                          &action);
}

static struct node *
node_of(const struct worker *worker)
{
    const struct seat *seat = hark__worker_local(worker);

    return seat->node;
}

// ---- blocks ----

// On the thread of worker poll_arg.
static void
trim_blocks(void *poll_arg, struct timer_action *action)
{
    struct node *node = node_of(poll_arg);
    int64_t until_ns = hark__env_now(node->env) + BUDGET_NS;
    enum depot_trim trim;

    (void)action;
    do {
        trim = hark__depot_trim(node->depot);
    } while (trim == DEPOT_TRIMS && hark__env_now(node->env) < until_ns);
    if (trim != DEPOT_TRIMMED) {
        fire_in(node, trim == DEPOT_TRIMS ? STEP_NS : LOOK_NS, trim_blocks);
    }
}

static void
on_blocks(void *arg)
{
    fire_in(arg, LOOK_NS, trim_blocks);
}

// ---- slots: who must be through ----

void
hark__seat_pass(void *seat)
{
    struct seat *own = seat;

    hark__slots_return(&own->node->slots, &own->cache);
}

// Those of seats that nobody has.
static void
recall_spare(struct node *node)
{
    pthread_mutex_lock(&node->lock);
    for (struct seat *seat = node->spare_seats; seat != NULL; seat = seat->next_spare) {
        hark__slots_return(&node->slots, &seat->cache);
    }
    pthread_mutex_unlock(&node->lock);
}

// Chunks have retired. False: there is no barrier.
static bool
begin_closing(struct node *node)
{
    if (!node->env->ops->barrier(node->env)) {
        return false;
    }
    pthread_mutex_lock(&node->lock);
    for (struct seat *seat = node->seats; seat != NULL; seat = seat->next) {
        // acquire: pairs with seat_leave.
        seat->calls_seen = atomic_load_explicit(&seat->calls, memory_order_acquire);
    }
    pthread_mutex_unlock(&node->lock);
    hark__sched_begin_round(node->sched);
    return true;
}

// Seats that were opened since begin have never been seen at it.
static bool
have_threads_left(struct node *node)
{
    bool left = true;

    pthread_mutex_lock(&node->lock);
    for (struct seat *seat = node->seats; seat != NULL && left; seat = seat->next) {
        // acquire: as above.
        left = seat->calls_seen % 2 == 0
               || atomic_load_explicit(&seat->calls, memory_order_acquire)
                      != seat->calls_seen;
    }
    pthread_mutex_unlock(&node->lock);
    return left;
}

// ---- slots: step by step ----

static void trim_slots(void *poll_arg, struct timer_action *action);

static void
next_in(struct node *node, enum trimming trimming, int64_t delay_ns)
{
    node->trimming = (uint8_t)trimming;
    node->trimming_pause_ns = delay_ns;
    fire_in(node, delay_ns, trim_slots);
}

// Somebody is not through yet: the longer that takes, the longer we wait.
static void
wait_longer(struct node *node, enum trimming trimming)
{
    int64_t pause_ns = 2 * node->trimming_pause_ns;

    next_in(node, trimming, pause_ns < PAUSE_NS ? pause_ns : PAUSE_NS);
}

static void
begin(struct node *node)
{
    switch (hark__slots_look(&node->slots)) {
    case SLOTS_TRIMMED:
        return;
    case SLOTS_WAIT:
        next_in(node, TRIMMING_RESTS, LOOK_NS);
        return;
    case SLOTS_TRIM:
        recall_spare(node);
        hark__sched_begin_round(node->sched);
        next_in(node, TRIMMING_RECALLS, STEP_NS);
        return;
    }
}

static void
close_chunks(struct node *node)
{
    if (!hark__sched_has_passed(node->sched)) {
        wait_longer(node, TRIMMING_RECALLS);
        return;
    }
    node->trimming = TRIMMING_RESTS; // first: where nothing retires, all may begin anew
    if (hark__slots_retire(&node->slots) && begin_closing(node)) {
        next_in(node, TRIMMING_CLOSES, STEP_NS);
    } // without a barrier they stay retired, and serve when slots are wanted
}

static void
let_chunks_go(struct node *node)
{
    int64_t until_ns = hark__env_now(node->env) + BUDGET_NS;
    enum slots_trimmed trimmed;
    bool again = false;

    node->trimming = TRIMMING_RESTS; // first: when all are gone, it may begin anew
    do {
        trimmed = hark__slots_let_go(&node->slots, &again);
    } while (trimmed == SLOTS_TRIM && hark__env_now(node->env) < until_ns);
    if (trimmed == SLOTS_WAIT) {
        wait_longer(node, TRIMMING_GOES);
    } else if (trimmed == SLOTS_TRIM) {
        next_in(node, TRIMMING_GOES, STEP_NS);
    } else if (again) {
        next_in(node, TRIMMING_RESTS, LOOK_NS);
    }
}

// On the thread of worker poll_arg.
static void
trim_slots(void *poll_arg, struct timer_action *action)
{
    struct node *node = node_of(poll_arg);

    (void)action;
    switch ((enum trimming)node->trimming) {
    case TRIMMING_RESTS:
        begin(node);
        return;
    case TRIMMING_RECALLS:
        close_chunks(node);
        return;
    case TRIMMING_CLOSES:
        if (!hark__sched_has_passed(node->sched) || !have_threads_left(node)) {
            wait_longer(node, TRIMMING_CLOSES);
            return;
        }
        let_chunks_go(node);
        return;
    case TRIMMING_GOES:
        let_chunks_go(node);
        return;
    }
}

static void
on_slots(void *arg)
{
    struct node *node = arg;

    next_in(node, TRIMMING_RESTS, LOOK_NS);
}

// ---- both ----

void
hark__node_watch_surplus(struct node *node)
{
    hark__depot_watch(node->depot, on_blocks, node);
    if (node->env->ops->barrier(node->env)) {
        hark__slots_watch(&node->slots, on_slots, node);
    }
}

void
hark__node_unwatch_surplus(struct node *node)
{
    hark__depot_watch(node->depot, NULL, NULL);
    hark__slots_watch(&node->slots, NULL, NULL);
}
