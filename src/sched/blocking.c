#include "sched/blocking.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREAD_NAME = 16 }; // what the kernel keeps, with its NUL

// One thread.
struct hand {
    struct list by_pool; // in pool->hands, until it is in pool->ended
    struct list by_idle; // in pool->idle, or alone
    struct blocking *pool;
    struct thread *thread;
    struct blocking_task *task; // given to it; NULL: the pool stops
    _Atomic(uint32_t) token;    // set by who gives, after task; cleared by the hand
};

struct blocking {
    struct env *env;
    uint32_t thread_limit;
    uint32_t queue_limit;
    int64_t idle_ns;
    char name[THREAD_NAME];
    pthread_mutex_t lock; // guards all below, and each hand's links
    struct list queue;    // of struct blocking_task, oldest first
    uint32_t queue_count;
    struct list hands;
    struct list idle;    // who has slept least comes first
    uint32_t hand_count; // alive
    uint64_t started;
    struct hand *ended; // the last one that has ended, to be joined; NULL: none
    bool stopping;
};

struct blocking *
hark__blocking_open(const struct blocking_options *options)
{
    struct blocking *pool = calloc(1, sizeof *pool);

    if (pool == NULL) {
        return NULL;
    }
    pool->env = options->env;
    pool->thread_limit = options->thread_limit;
    pool->queue_limit = options->queue_limit;
    pool->idle_ns = options->idle_ns;
    snprintf(pool->name, sizeof pool->name, "%s", options->name);
    pthread_mutex_init(&pool->lock, NULL);
    hark__list_init(&pool->queue);
    hark__list_init(&pool->hands);
    hark__list_init(&pool->idle);
    return pool;
}

// ---- hands ----

static void
join(struct blocking *pool, struct hand *hand)
{
    pool->env->ops->thread_join(pool->env, hand->thread);
    free(hand);
}

// The lock is held. The oldest in the queue; NULL: it is empty.
static struct blocking_task *
take_queued(struct blocking *pool)
{
    if (hark__list_is_empty(&pool->queue)) {
        return NULL;
    }
    struct blocking_task *task =
        CONTAINER_OF(pool->queue.next, struct blocking_task, by_queue);
    hark__list_remove(&task->by_queue);
    task->is_queued = false;
    pool->queue_count--;
    return task;
}

// The lock is held. Each hand that ends joins the one before it, so one at most is left
// over. Once the pool stops, close does.
static struct hand *
end_hand(struct blocking *pool, struct hand *hand)
{
    struct hand *before = NULL;

    pool->hand_count--;
    if (!pool->stopping) {
        before = pool->ended;
        pool->ended = hand;
        hark__list_remove(&hand->by_pool);
    }
    return before;
}

// Sleeps until a task is given, or until it has slept for long: NULL.
static struct blocking_task *
sleep_for_task(struct blocking *pool, struct hand *hand)
{
    struct env *env = pool->env;
    int64_t until_ns = hark__env_now(env) + pool->idle_ns;

    // acquire: pairs with give.
    while (atomic_load_explicit(&hand->token, memory_order_acquire) == 0) {
        if (hark__env_now(env) >= until_ns) {
            return NULL;
        }
        env->ops->wait(env, &hand->token, 0, until_ns);
    }
    return hand->task;
}

// The hand has slept for long, or the pool stops. Gives what it was given at the last
// moment; NULL: nothing, and it has ended.
static struct blocking_task *
wake_late(struct blocking *pool, struct hand *hand)
{
    struct blocking_task *task = NULL;
    struct hand *before = NULL;

    pthread_mutex_lock(&pool->lock);
    // relaxed: it is written under the lock.
    if (atomic_load_explicit(&hand->token, memory_order_relaxed) != 0) {
        task = hand->task;
    }
    if (task == NULL) {
        hark__list_remove(&hand->by_idle);
        before = end_hand(pool, hand);
    }
    pthread_mutex_unlock(&pool->lock);
    if (before != NULL) {
        join(pool, before);
    }
    return task;
}

// Gives the next task of the hand, which has none. NULL: it has ended.
static struct blocking_task *
next_task(struct blocking *pool, struct hand *hand)
{
    bool over = false;

    pthread_mutex_lock(&pool->lock);
    struct blocking_task *task = take_queued(pool);
    if (task == NULL && !pool->stopping) {
        // relaxed: who finds us idle comes by the lock.
        atomic_store_explicit(&hand->token, 0, memory_order_relaxed);
        hark__list_append(pool->idle.next, &hand->by_idle); // in front of the first
    } else if (task == NULL) {
        end_hand(pool, hand);
        over = true;
    }
    pthread_mutex_unlock(&pool->lock);
    if (task != NULL || over) {
        return task;
    }
    task = sleep_for_task(pool, hand);
    return task != NULL ? task : wake_late(pool, hand);
}

static void
run_hand(void *arg)
{
    struct hand *hand = arg;
    struct blocking *pool = hand->pool;
    struct blocking_task *task = hand->task;

    while (task != NULL) {
        task->task.run(&task->task, NULL, NULL); // which may free it
        task = next_task(pool, hand);
    }
}

// ---- submitting ----

// The lock is held. False: no memory, or no more threads.
static bool
start_hand(struct blocking *pool, struct blocking_task *task)
{
    struct hand *hand = calloc(1, sizeof *hand);

    if (hand == NULL) {
        return false;
    }
    hand->pool = pool;
    hand->task = task;
    hark__list_init(&hand->by_idle);
    hand->thread = pool->env->ops->thread_start(pool->env, pool->name, run_hand, hand);
    if (hand->thread == NULL) {
        free(hand);
        return false;
    }
    hark__list_append(&pool->hands, &hand->by_pool);
    pool->hand_count++;
    pool->started++;
    return true;
}

// The lock is held. An idle hand has its task; NULL: that the pool stops.
static void
give(struct blocking *pool, struct hand *hand, struct blocking_task *task)
{
    hark__list_remove(&hand->by_idle);
    hand->task = task;
    // release: pairs with sleep_for_task.
    atomic_store_explicit(&hand->token, 1, memory_order_release);
    // Under the lock, since the hand may end, and be freed, as soon as it is not held.
    pool->env->ops->wake(pool->env, &hand->token);
}

// The lock is held.
static hark_err
enqueue(struct blocking *pool, struct blocking_task *task)
{
    if (pool->hand_count == 0) {
        return HARK_ENOMEM; // who would come for it?
    }
    if (pool->queue_count >= pool->queue_limit) {
        return HARK_ELIMIT;
    }
    hark__list_append(&pool->queue, &task->by_queue);
    task->is_queued = true;
    pool->queue_count++;
    return HARK_OK;
}

// The lock is held.
static hark_err
place(struct blocking *pool, struct blocking_task *task)
{
    if (pool->stopping) {
        return HARK_ESTOPPED;
    }
    if (!hark__list_is_empty(&pool->idle)) {
        give(pool, CONTAINER_OF(pool->idle.next, struct hand, by_idle), task);
        return HARK_OK;
    }
    if (pool->hand_count < pool->thread_limit && start_hand(pool, task)) {
        return HARK_OK;
    }
    return enqueue(pool, task);
}

hark_err
hark__blocking_submit(struct blocking *pool, struct blocking_task *task)
{
    hark__list_init(&task->by_queue);
    task->is_queued = false;
    pthread_mutex_lock(&pool->lock);
    hark_err err = place(pool, task);
    pthread_mutex_unlock(&pool->lock);
    return err;
}

bool
hark__blocking_withdraw(struct blocking *pool, struct blocking_task *task)
{
    pthread_mutex_lock(&pool->lock);
    bool was_queued = task->is_queued;
    if (was_queued) {
        hark__list_remove(&task->by_queue);
        task->is_queued = false;
        pool->queue_count--;
    }
    pthread_mutex_unlock(&pool->lock);
    return was_queued;
}

// ---- the end ----

void
hark__blocking_stop(struct blocking *pool, struct list *out_queued)
{
    struct blocking_task *task;

    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    while ((task = take_queued(pool)) != NULL) {
        hark__list_append(out_queued, &task->by_queue);
    }
    while (!hark__list_is_empty(&pool->idle)) {
        give(pool, CONTAINER_OF(pool->idle.next, struct hand, by_idle), NULL);
    }
    pthread_mutex_unlock(&pool->lock);
}

bool
hark__blocking_is_over(struct blocking *pool)
{
    pthread_mutex_lock(&pool->lock);
    bool is_over = pool->stopping && pool->hand_count == 0;
    pthread_mutex_unlock(&pool->lock);
    return is_over;
}

// One that has ended, or will; NULL: none is left.
static struct hand *
take_hand(struct blocking *pool)
{
    struct hand *hand = NULL;

    pthread_mutex_lock(&pool->lock);
    if (!hark__list_is_empty(&pool->hands)) {
        hand = CONTAINER_OF(pool->hands.next, struct hand, by_pool);
        hark__list_remove(&hand->by_pool);
    } else {
        hand = pool->ended;
        pool->ended = NULL;
    }
    pthread_mutex_unlock(&pool->lock);
    return hand;
}

void
hark__blocking_close(struct blocking *pool)
{
    struct hand *hand;

    while ((hand = take_hand(pool)) != NULL) {
        join(pool, hand);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void
hark__blocking_stats_read(struct blocking *pool, struct blocking_stats *out_stats)
{
    pthread_mutex_lock(&pool->lock);
    *out_stats = (struct blocking_stats){
        .threads = pool->hand_count,
        .started = pool->started,
        .waiting = pool->queue_count,
    };
    pthread_mutex_unlock(&pool->lock);
}
