// Sched: workers that run tasks.
//
// A worker looks for work in this order: its run-next place (the task it just woke,
// warm in the cache), its own ring, the injection queue, other workers' rings, timers.
// With nothing to do it parks; a producer wakes one parked worker when it adds surplus
// work and nobody is searching already.
//
//              submit by this worker          submit by others
//                       |                            |
//                  [run-next] --displaced--> [ring]  [injection]
//                       |                      |         |
//                       +------> run <---------+---------+
//                                 ^ steals: ring, and a run-next that stays too long
//
// A run-next place and the first few tasks of a ring are not announced to anyone: on
// its own worker they have their turn in some microseconds, on a warm cache, and actors
// that talk to each other stay together. So that nothing is stuck behind long turns,
// one parked worker is the watcher: while others work it looks every 250 us, or up to 2
// ms while there is nothing to see, for a run-next that has not moved, and for tasks
// that wait long, judged by how many turns their worker had since the last look.
//
// Where work is so fine that it does better on one worker, it is gathered there
// (balance.h): others neither steal nor take, and hand on what they have.
//
// The first worker to park waits in the idler, if there is one, and others on a futex. Who
// has slept shortly only goes on searching for a while before it parks (base/spin.h).

#ifndef SCHED_SCHED_H
#define SCHED_SCHED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/env.h"
#include "base/idler.h"
#include "hark/base.h"
#include "sched/stack.h"
#include "sched/task.h"
#include "sched/wheel.h"

struct sched;

enum { SCHED_MAX_WORKERS = 64 };

struct sched_options {
    struct env *env;
    unsigned workers;    // 1 to SCHED_MAX_WORKERS
    void *const *locals; // one a worker, in order: what hark__worker_local gives
    size_t stack_bytes;  // usable, of each stack that turns run on; 0: 64 KiB
    // Ends the process with a line when a turn overflows its stack, which print_task
    // (NULL: nobody's name) says whose it is. Handles SIGSEGV for that.
    bool reports_overflow;
    void (*print_task)(const struct task *task, char *out, size_t size);
    uint32_t stack_limit; // turns that wait at once, at most; 0: 1 million
    // Called by each worker on its thread, between two turns, once a round
    // (hark__sched_begin_round). NULL: nothing.
    void (*pass)(void *local);
};

struct sched_stats {
    uint64_t steals;
    uint64_t parks;
};

// What tasks see of their worker without a call. Each begins with it.
struct worker_face {
    int64_t now_ns;
    _Atomic(uint64_t) units; // owner counts; see balance.h
    uint32_t grain; // of turns: what tasks do for others may be so many times the usual
};

// Starts the workers. HARK_ENOMEM: no memory, or no threads.
HARK_CHECKED hark_err hark__sched_open(const struct sched_options *options,
                                       struct sched **out_sched);
// Lets the workers finish the turn in hand and ends their threads. Tasks that are still
// queued are not run.
void hark__sched_stop(struct sched *sched);
// After stop. Actions of timers that have not fired go to dropped.
void hark__sched_free(struct sched *sched,
                      void (*dropped)(void *arg, struct timer_action *), void *arg);

// From now on idle workers wait in idler, and busy ones poll it now and then. Once; it
// must work until hark__sched_stop returns. Any thread.
void hark__sched_wait_in(struct sched *sched, struct idler *idler);

// Begins a round: each worker passes a point between two turns, where it has nothing in
// hand but its queues, and calls sched_options.pass there; one that sleeps is woken for
// it. One caller at a time, after the last round is over.
void hark__sched_begin_round(struct sched *sched);
// Tells whether all workers have passed since the last round began: what they did
// before that is seen, and what they do after it sees what came before the round. A
// worker in a long turn has not.
bool hark__sched_has_passed(const struct sched *sched);

// Runs task soon. self: the worker whose thread this is, or NULL.
void hark__sched_submit(struct sched *sched, struct worker *self, struct task *task);
// Runs task after all that waits on self.
void hark__sched_yield(struct worker *self, struct task *task);

// The two halves of hark__sched_suspend. Gives the stack that the worker goes on with.
struct stack *hark__sched_leave(struct worker *self, struct task *task, task_run *rest,
                                struct stack **out_stack);
// On stack again, for which `left` was left: gives the worker.
struct worker *hark__sched_arrive(const struct stack *stack, struct stack *left);

// Leaves the turn of task, which calls it on self's thread, as it is. The worker goes
// on with rest(task, self, local) on another stack, as with a turn. That, or a later
// turn of task, sees to it that this one goes on: *out_stack is for hark__sched_resume.
// Returns then, and gives the worker that it goes on with, which may be another. NULL,
// at once: no stack, by the limit or for lack of memory. What the compiler knows of the
// thread (thread-locals, errno's address) is void afterwards. In its caller's frame;
// see hark__stack_switch.
static inline __attribute__((always_inline)) struct worker *
hark__sched_suspend(struct worker *self, struct task *task, task_run *rest,
                    struct stack **out_stack)
{
    struct stack *other = hark__sched_leave(self, task, rest, out_stack);

    if (other == NULL) {
        return NULL;
    }
    struct stack *mine = *out_stack;
    return hark__sched_arrive(mine, hark__stack_switch(mine, other));
}

// Has self go on with a suspended turn as soon as the one that calls this, of the same
// task, has returned; that holds nothing any more.
void hark__sched_resume(struct worker *self, struct stack *stack);
// The most that a turn has needed of its stack so far, in bytes, whole pages.
size_t hark__sched_stack_deepest(struct sched *sched);

// A task has done so many units of work (messages handled) in its turn. Worker's
// thread.
static inline void
hark__worker_did(struct worker *worker, uint32_t units)
{
    struct worker_face *face = (struct worker_face *)(void *)worker;
    // relaxed, both: one writer, and readers only want a recent value.
    uint64_t before = atomic_load_explicit(&face->units, memory_order_relaxed);

    atomic_store_explicit(&face->units, before + units, memory_order_relaxed);
}
// 1, or more while work is spread: who takes tasks from another processor waits for
// their cache lines, and is to find more to do there each time. Worker's thread.
static inline uint32_t
hark__worker_grain(const struct worker *worker)
{
    return ((const struct worker_face *)(const void *)worker)->grain;
}
void *hark__worker_local(const struct worker *worker);
// The clock as of this worker's last look, at most some turns ago. Worker's thread
// only.
static inline int64_t
hark__worker_now(const struct worker *worker)
{
    return ((const struct worker_face *)(const void *)worker)->now_ns;
}

// As hark__wheel_arm, on self's wheel (NULL: any). The action's poll_arg is the worker
// that fires it. 0: no memory.
uint64_t hark__sched_arm(struct sched *sched, struct worker *self, int64_t deadline_ns,
                         const struct timer_action *action);
// As hark__wheel_arm_reserve: for one action only, whoever arms it.
void hark__sched_arm_reserve(struct sched *sched, struct worker *self,
                             int64_t deadline_ns, const struct timer_action *action);
bool hark__sched_cancel(struct sched *sched, uint64_t timer,
                        struct timer_action *out_action);

void hark__sched_stats_read(struct sched *sched, struct sched_stats *out_stats);

#endif // SCHED_SCHED_H
