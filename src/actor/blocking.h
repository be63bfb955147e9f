// Blocking work: a piece of it is an ask that a thread of an executor answers.
//
// The piece ("job") is held by two: its future, as what stands behind it, and whoever
// is to run it, which is the executor's queue or one of its threads. Whoever takes it
// from there drops its arg; so that happens once.
//
//                      a thread takes it             returns
//   submit --> QUEUED --------------------> BEGUN -------------> (arg dropped)
//                |
//                +-- its future ends, executor or system stops --> (arg dropped)
//
// While it runs the thread has a ctx as an attached thread has, with a slot of its own
// for each piece: what is sent to one piece can never reach the next. Its seat is kept
// for the next one.

#ifndef ACTOR_BLOCKING_H
#define ACTOR_BLOCKING_H

#include "actor/node.h"
#include "hark/blocking.h"

struct job;

// What it is called in errors.
const char *hark__job_name(const struct job *job);

// Gives an executor of node; every option is set. NULL: no memory, or the node stops.
hark_executor *hark__executor_new(struct node *node,
                                  const hark_executor_options *options);
// The node stops: no executor takes more, and what waits fails. ctx is a service's.
void hark__executors_stop(hark_ctx *ctx);
// Waits for the threads, and frees all executors of a node that has stopped.
void hark__executors_close(struct node *node);
void hark__executors_stats(struct node *node, hark_stats *out_stats);

#endif // ACTOR_BLOCKING_H
