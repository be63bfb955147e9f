// Blocking: threads beside the workers, for tasks that block.
//
// A thread starts when a task comes and no thread is idle, up to a limit. Beyond it
// tasks wait, first come first served, up to another limit. A thread with nothing to do
// sleeps on a futex of its own; the one that has slept least is given the next task, so
// that the others sleep on, and end after a while.
//
//             idle or new thread                 run
//   submit ------------------------> (running) ------> (the task's own)
//     |                                  ^
//     +-- all threads busy --> QUEUED ---+--- withdraw, stop --> (the caller's again)
//
// Tasks wait only while every thread that may be is busy; so an idle thread is given
// its task directly, and passes nobody. Any thread; one lock, under which a thread is
// started but nothing else waits.

#ifndef SCHED_BLOCKING_H
#define SCHED_BLOCKING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/env.h"
#include "base/list.h"
#include "hark/base.h"
#include "sched/task.h"

struct blocking;

// A task with its place in the queue; whoever submits it embeds it. It is run with no
// worker and no local.
struct blocking_task {
    struct task task;
    struct list by_queue;
    bool is_queued; // under the pool's lock
};

struct blocking_options {
    struct env *env;
    const char *name;      // of the threads; copied, cut at 15 bytes
    uint32_t thread_limit; // at least 1
    uint32_t queue_limit;  // 0: none waits
    int64_t idle_ns;       // after which a thread ends
};

struct blocking_stats {
    uint64_t threads; // alive
    uint64_t started; // ever
    uint64_t waiting; // tasks in the queue
};

// Gives a pool without threads; NULL: no memory.
struct blocking *hark__blocking_open(const struct blocking_options *options);

// Runs task on one of the threads, once. HARK_ELIMIT: the queue is full. HARK_ESTOPPED.
// HARK_ENOMEM: there is no thread, and none could be started. On error it stays the
// caller's.
HARK_CHECKED hark_err hark__blocking_submit(struct blocking *pool,
                                            struct blocking_task *task);
// True: it was still in the queue, and is the caller's again.
bool hark__blocking_withdraw(struct blocking *pool, struct blocking_task *task);

// Takes no more tasks. Gives those that wait, by_queue at the end of out_queued; those
// that run are left to end. May be called again.
void hark__blocking_stop(struct blocking *pool, struct list *out_queued);
// True after stop: nothing runs any more, and close does not wait.
bool hark__blocking_is_over(struct blocking *pool);
// After stop: waits for what still runs, joins the threads and frees the pool.
void hark__blocking_close(struct blocking *pool);

void hark__blocking_stats_read(struct blocking *pool, struct blocking_stats *out_stats);

#endif // SCHED_BLOCKING_H
