#include "actor/blocking.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "actor/chain_id.h"
#include "actor/ctx.h"
#include "actor/owed.h"
#include "sched/blocking.h"

struct hark_executor {
    struct list by_node; // in node->executors
    struct node *node;
    struct blocking *pool;
    uint32_t threads, queue;
    bool is_freed;          // by its user; under the node's lock
    _Atomic(uint32_t) jobs; // that point here: added by callers, taken off by release
    char name[];
};

struct job {
    struct blocking_task task;
    struct backing backing; // of the future
    hark_executor *executor;
    const hark_blocking_work *work;
    void *arg;
    hark_ref owner;             // whose future it is
    uint64_t future;            // which
    struct hark_message *spare; // by which it fails without memory (owed.h); of who
                                // holds the task. NULL: it was used, or given back
    int64_t deadline_ns;        // of it
    uint64_t chain_id;          // of it
    uint16_t trace;             // of it
    _Atomic(uint32_t) refs;     // of future and thread: who lets go last frees
    _Atomic(bool) begun;        // by the thread; read by the owner
    _Atomic(bool) cancelled;    // by the owner; read by the thread
};

// ---- jobs ----

static void
release(struct job *job)
{
    // acq_rel: what the other has done with it is over.
    if (atomic_fetch_sub_explicit(&job->refs, 1, memory_order_acq_rel) == 1) {
        hark_executor *executor = job->executor;

        free(job);
        // release: pairs with collect.
        atomic_fetch_sub_explicit(&executor->jobs, 1, memory_order_release);
    }
}

static void
drop_arg(const hark_blocking_work *work, void *arg)
{
    if (work != NULL && work->drop != NULL) {
        work->drop(arg);
    }
}

static struct job *
job_of(struct backing *backing)
{
    return CONTAINER_OF(backing, struct job, backing);
}

static void
drop_spare(hark_ctx *ctx, struct job *job)
{
    if (job->spare != NULL) {
        hark__message_free(ctx_pool(ctx), job->spare);
        job->spare = NULL;
    }
}

// Takes a task that is not run (any more): its argument, and its hold on the job.
static void
drop_task(hark_ctx *ctx, struct job *job)
{
    drop_spare(ctx, job);
    drop_arg(job->work, job->arg);
    release(job);
}

// Nobody waits for it any more. Returns how far it has got.
static hark_stage
cancel(hark_ctx *ctx, struct job *job)
{
    // relaxed: tells nothing but itself.
    atomic_store_explicit(&job->cancelled, true, memory_order_relaxed);
    // relaxed: what it has begun is no concern of ours.
    if (atomic_load_explicit(&job->begun, memory_order_relaxed)) {
        return HARK_STAGE_RUNNING;
    }
    if (hark__blocking_withdraw(job->executor->pool, &job->task)) {
        drop_task(ctx, job);
    }
    return HARK_STAGE_QUEUED;
}

static hark_stage
backing_cancel(struct backing *backing, void *turn)
{
    return cancel(turn, job_of(backing));
}

static void
backing_close(struct backing *backing, void *turn)
{
    struct job *job = job_of(backing);

    (void)cancel(turn, job);
    release(job);
}

// ---- on a thread ----

// Gives a seat for one piece of work. Without memory it is the last one, which they
// take in turns: who has it must not be long. That is *out_is_last.
static struct seat *
take_seat(struct node *node, bool *out_is_last)
{
    pthread_mutex_lock(&node->lock);
    struct seat *seat = node->spare_seats;
    if (seat != NULL) {
        node->spare_seats = seat->next_spare;
    }
    pthread_mutex_unlock(&node->lock);
    if (seat == NULL) {
        seat = hark__seat_open(node);
    }
    *out_is_last = seat == NULL;
    if (seat == NULL) {
        pthread_mutex_lock(&node->last_seat_lock);
        seat = node->last_seat;
    }
    return seat;
}

static void
put_seat(struct seat *seat)
{
    struct node *node = seat->node;

    if (seat == node->last_seat) {
        pthread_mutex_unlock(&node->last_seat_lock);
        return;
    }
    pthread_mutex_lock(&node->lock);
    seat->next_spare = node->spare_seats;
    node->spare_seats = seat;
    pthread_mutex_unlock(&node->lock);
}

static HARK_PRINTF(5, 6) void fail_job(hark_ctx *ctx, struct job *job, hark_err err,
                                       hark_stage stage, const char *format, ...)
{
    char text[ERROR_TEXT];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct hark_message *spare = job->spare;
    job->spare = NULL;
    hark__fail_surely(ctx, job->owner, job->future, err, stage, text, spare);
}

const char *
hark__job_name(const struct job *job)
{
    return job->work->name;
}

static bool
is_cancelled(const struct job *job)
{
    // relaxed: see cancel.
    return atomic_load_explicit(&job->cancelled, memory_order_relaxed);
}

// It was refused without memory: its own spare is what the ask's block is elsewhere.
static void
send_owed(hark_ctx *ctx, struct job *job, const struct hark_message *ask)
{
    struct hark_message *spare = job->spare;

    job->spare = NULL;
    hark__owed_send(ctx, job->owner, job->future, hark__owed_code(ask),
                    hark__owed_stage(ask), spare, spare->size_class);
}

static void
run_with(hark_ctx *ctx, struct job *job)
{
    struct hark_message ask = {
        .kind = MESSAGE_ASK,
        .from = job->owner,
        .correlation = job->future,
        .deadline_ns = job->deadline_ns,
        .trace = job->trace,
    };

    // relaxed: see cancel.
    atomic_store_explicit(&job->begun, true, memory_order_relaxed);
    ctx->message = &ask;
    ctx->chain_id = job->chain_id;
    ctx->owes_answer = true;
    job->work->run(ctx, job->arg);
    bool owed = ctx->owes_answer;
    ctx->owes_answer = false;
    if (owed && ctx->request != NULL) { // it has asked others
        (void)hark__request_answered(ctx);
    }
    if (ask.flags & MESSAGE_OWED) {
        send_owed(ctx, job, &ask);
    } else if (owed && !is_cancelled(job)) {
        bool is_starved = ask.generation == ASK_STARVED;

        fail_job(ctx, job, is_starved ? HARK_ENOMEM : HARK_ENOREPLY, HARK_STAGE_RUNNING,
                 is_starved ? "no memory for the answer of %s"
                            : "%s returned without an answer",
                 job->work->name);
    }
    if (ctx->scopes != NULL) {
        hark__scopes_leave(ctx);
    }
    hark__request_let_go(ctx, NULL);
    ctx->message = NULL;
}

// No ctx for the job: the system stops, or has no room for another.
static void
refuse(struct seat *seat, struct job *job)
{
    struct node *node = seat->node;
    hark_ctx ctx = {.node = node, .seat = seat};

    // seq_cst as in claim of attached.c, though any order would do.
    if (atomic_load_explicit(&node->stopping, memory_order_seq_cst)) {
        fail_job(&ctx, job, HARK_ESTOPPED, HARK_STAGE_QUEUED, "the system stops");
    } else {
        fail_job(&ctx, job, HARK_ELIMIT, HARK_STAGE_QUEUED,
                 "%s: no room for its ctx: the actor limit, or no memory",
                 job->work->name);
    }
    hark__ctx_flush(&ctx);
    hark__scratch_free(&ctx);
}

static void
run_job(struct task *task, struct worker *worker, void *local)
{
    struct job *job = CONTAINER_OF(task, struct job, task.task);
    bool is_last;
    struct seat *seat = take_seat(job->executor->node, &is_last);
    hark_ctx *ctx = NULL;

    (void)worker;
    (void)local;
    if (!is_cancelled(job)) {
        ctx = !is_last ? hark__thread_sit(seat, job) : NULL;
        if (ctx != NULL) {
            run_with(ctx, job);
        } else {
            refuse(seat, job);
        }
    }
    drop_spare(&(hark_ctx){.node = seat->node, .seat = seat}, job);
    if (is_last) {
        put_seat(seat);
    }
    drop_arg(job->work, job->arg);
    if (ctx != NULL) {
        hark__thread_rise(ctx); // node_stop may go on from here, but not beyond us
    }
    if (!is_last) {
        put_seat(seat);
    }
    release(job);
}

bool
hark_blocking_cancelled(const hark_ctx *ctx)
{
    const struct job *job = ctx != NULL ? hark__thread_job(ctx) : NULL;

    // seq_cst as in claim of attached.c, though any order would do.
    return job != NULL
           && (is_cancelled(job)
               || atomic_load_explicit(&ctx->node->stopping, memory_order_seq_cst));
}

// ---- submitting ----

static struct job *
job_new(hark_ctx *ctx, hark_executor *executor, const hark_blocking_work *work,
        void *arg, const struct future *future)
{
    struct job *job = malloc(sizeof *job);
    struct hark_message *spare =
        job != NULL ? hark__message_alloc(ctx_pool(ctx), NULL, 0) : NULL;

    if (spare == NULL) {
        free(job);
        return NULL;
    }
    *job = (struct job){
        .task.task.run = run_job,
        .backing = {backing_close, backing_cancel, work->name},
        .executor = executor,
        .work = work,
        .arg = arg,
        .owner = ctx->self,
        .future = future->id,
        .spare = spare,
        .deadline_ns = future->expires_ns,
        .chain_id = hark__chain_of_future(ctx->self, future),
        .trace = future->trace,
        .refs = 2,
    };
    // relaxed: the caller may use the executor, so it is there.
    atomic_fetch_add_explicit(&executor->jobs, 1, memory_order_relaxed);
    return job;
}

// Says why the executor does not take job.
static void
explain(hark_ctx *ctx, struct job *job, hark_err err)
{
    const hark_executor *executor = job->executor;
    const char *name = job->work->name;

    switch (err) {
    case HARK_ELIMIT:
        fail_job(ctx, job, err, HARK_STAGE_NOT_SENT,
                 "%s: executor \"%s\" is full: %" PRIu32
                 " threads are busy, and %" PRIu32 " wait",
                 name, executor->name, executor->threads, executor->queue);
        return;
    case HARK_ESTOPPED:
        fail_job(ctx, job, err, HARK_STAGE_NOT_SENT, "%s: executor \"%s\" stops", name,
                 executor->name);
        return;
    default:
        fail_job(ctx, job, err, HARK_STAGE_NOT_SENT,
                 "%s: executor \"%s\" has no thread, and could start none", name,
                 executor->name);
        return;
    }
}

// Takes arg. The future is ctx's, and open.
static void
submit(hark_ctx *ctx, hark_executor *executor, const hark_blocking_work *work,
       void *arg, struct future *future)
{
    struct job *job = job_new(ctx, executor, work, arg, future);

    if (job == NULL) {
        hark__fail(ctx, ctx->self, future->id, HARK_ENOMEM, HARK_STAGE_NOT_SENT, NULL);
        drop_arg(work, arg);
        return;
    }
    hark_err err = hark__blocking_submit(executor->pool, &job->task);
    if (err == HARK_OK) {
        future->backing = &job->backing;
        return;
    }
    explain(ctx, job, err);
    drop_task(ctx, job);
    release(job);
}

hark_future
hark_blocking_at(hark_ctx *ctx, const char *site, const hark_blocking_options *options,
                 const hark_blocking_work *work, void *arg)
{
    static const hark_blocking_options defaults;
    hark_future name = {0, 0};

    options = options != NULL ? options : &defaults;
    if (ctx != NULL) {
        name = hark__ask_open(ctx, (hark_ref){0, 0}, NULL, options->timeout_ms, site);
    }
    if (name.id == 0) {
        drop_arg(work, arg);
        return name;
    }
    hark_executor *executor =
        options->executor != NULL ? options->executor : ctx->node->executor;
    if (work == NULL || work->run == NULL || executor->node != ctx->node) {
        hark__fail(ctx, ctx->self, name.id, HARK_EINVAL, HARK_STAGE_NOT_SENT,
                   "hark_blocking: no function, or an executor of another system");
        drop_arg(work, arg);
        return name;
    }
    submit(ctx, executor, work, arg, hark__ctx_future(ctx, name));
    return name;
}

// ---- executors ----

static struct blocking *
open_pool(struct node *node, const hark_executor_options *options)
{
    return hark__blocking_open(&(struct blocking_options){
        .env = node->env,
        .name = options->name,
        .thread_limit = options->threads,
        .queue_limit = options->queue == HARK_NO_QUEUE ? 0 : options->queue,
        .idle_ns = (int64_t)options->idle_ms * NS_PER_MS,
    });
}

// The pool is over, and nobody else knows the executor any more.
static void
close_executor(hark_executor *executor)
{
    hark__blocking_close(executor->pool);
    free(executor);
}

// Adds it to the node. False: that stops.
static bool
enlist(struct node *node, hark_executor *executor)
{
    pthread_mutex_lock(&node->lock);
    // seq_cst: set by node_stop before it takes the lock and looks at the executors.
    bool stopping = atomic_load_explicit(&node->stopping, memory_order_seq_cst);
    if (!stopping) {
        hark__list_append(&node->executors, &executor->by_node);
    }
    pthread_mutex_unlock(&node->lock);
    return !stopping;
}

// The lock is held. One that was freed by its user and is over; NULL: there is none.
static hark_executor *
take_over(struct node *node)
{
    for (struct list *link = node->executors.next; link != &node->executors;
         link = link->next) {
        hark_executor *executor = CONTAINER_OF(link, struct hark_executor, by_node);

        // acquire: pairs with release; nobody points here any more.
        if (executor->is_freed
            && atomic_load_explicit(&executor->jobs, memory_order_acquire) == 0
            && hark__blocking_is_over(executor->pool)) {
            struct blocking_stats stats;

            hark__blocking_stats_read(executor->pool, &stats);
            node->blocking_started += stats.started;
            hark__list_remove(link);
            return executor;
        }
    }
    return NULL;
}

// Closes executors that their users have freed, as far as they are over.
static void
collect(struct node *node)
{
    hark_executor *executor;

    do {
        pthread_mutex_lock(&node->lock);
        executor = take_over(node);
        pthread_mutex_unlock(&node->lock);
        if (executor != NULL) {
            close_executor(executor);
        }
    } while (executor != NULL);
}

hark_executor *
hark__executor_new(struct node *node, const hark_executor_options *options)
{
    size_t size = strlen(options->name) + 1;
    hark_executor *executor = calloc(1, sizeof *executor + size);

    collect(node);
    if (executor == NULL) {
        return NULL;
    }
    executor->node = node;
    executor->threads = options->threads;
    executor->queue = options->queue == HARK_NO_QUEUE ? 0 : options->queue;
    memcpy(executor->name, options->name, size);
    executor->pool = open_pool(node, options);
    if (executor->pool == NULL) {
        free(executor);
        return NULL;
    }
    if (!enlist(node, executor)) {
        struct list none;

        hark__list_init(&none);
        hark__blocking_stop(executor->pool, &none);
        close_executor(executor);
        return NULL;
    }
    return executor;
}

// Takes jobs that were never run.
static void
fail_queued(hark_ctx *ctx, struct list *queued, const char *text)
{
    while (!hark__list_is_empty(queued)) {
        struct job *job = CONTAINER_OF(queued->next, struct job, task.by_queue);

        hark__list_remove(&job->task.by_queue);
        fail_job(ctx, job, HARK_ESTOPPED, HARK_STAGE_QUEUED, "%s: %s", job->work->name,
                 text);
        drop_task(ctx, job);
    }
}

void
hark_executor_free(hark_executor *executor)
{
    struct list queued;

    if (executor == NULL) {
        return;
    }
    struct node *node = executor->node;
    bool is_last;
    struct seat *seat = take_seat(node, &is_last);
    hark_ctx ctx = {.node = node, .seat = seat};
    hark__list_init(&queued);
    hark__blocking_stop(executor->pool, &queued);
    fail_queued(&ctx, &queued, "its executor was freed");
    hark__ctx_flush(&ctx);
    hark__scratch_free(&ctx);
    put_seat(seat);
    pthread_mutex_lock(&node->lock);
    executor->is_freed = true;
    pthread_mutex_unlock(&node->lock);
    collect(node);
}

void
hark__executors_stop(hark_ctx *ctx)
{
    struct node *node = ctx->node;
    struct list queued;

    hark__list_init(&queued);
    pthread_mutex_lock(&node->lock);
    for (struct list *link = node->executors.next; link != &node->executors;
         link = link->next) {
        hark_executor *executor = CONTAINER_OF(link, struct hark_executor, by_node);

        hark__blocking_stop(executor->pool, &queued);
    }
    pthread_mutex_unlock(&node->lock);
    fail_queued(ctx, &queued, "the system stops");
}

void
hark__executors_close(struct node *node)
{
    struct list queued;

    hark__list_init(&queued); // stays empty: who could have queued anything?
    while (!hark__list_is_empty(&node->executors)) {
        hark_executor *executor =
            CONTAINER_OF(node->executors.next, struct hark_executor, by_node);

        hark__list_remove(&executor->by_node);
        hark__blocking_stop(executor->pool, &queued);
        close_executor(executor);
    }
}

void
hark__executors_stats(struct node *node, hark_stats *out_stats)
{
    pthread_mutex_lock(&node->lock);
    out_stats->blocking_started = node->blocking_started;
    for (struct list *link = node->executors.next; link != &node->executors;
         link = link->next) {
        struct blocking_stats stats;

        hark__blocking_stats_read(
            CONTAINER_OF(link, struct hark_executor, by_node)->pool, &stats);
        out_stats->blocking_threads += stats.threads;
        out_stats->blocking_started += stats.started;
        out_stats->blocking_waiting += stats.waiting;
    }
    pthread_mutex_unlock(&node->lock);
}
