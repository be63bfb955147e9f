// Task: something to run once a turn. An actor is one; this room knows no more of it.
//
// The seam to the room above, which embeds the struct. A task is in one queue at most,
// or running: whoever submits it must know that it is neither.

#ifndef SCHED_TASK_H
#define SCHED_TASK_H

struct task;
struct worker;

// One turn, on worker's thread; local is the worker's own (sched_options). The task may
// have moved to another worker, or be submitted again, as soon as it has let itself be
// found.
typedef void task_run(struct task *task, struct worker *worker, void *local);

struct task {
    struct task *next; // in the injection queue
    task_run *run;
};

#endif // SCHED_TASK_H
