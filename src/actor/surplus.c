// Memory that many actors had, and nobody wants any more, goes back to the operating
// system: when much of it has been free for a second, a worker gives it back, a little
// at a time between turns.

#include "actor/ctx.h"

#define LOOK_NS INT64_C(1000000000)
#define STEP_NS INT64_C(1000000)
#define BUDGET_NS INT64_C(500000) // of a step

static void trim_some(void *poll_arg, struct timer_action *action);

// Without memory for the timer nothing is given back, and no harm done.
static void
trim_in(struct node *node, int64_t delay_ns)
{
    const struct timer_action action = {.fire = trim_some};

    (void)hark__sched_arm(node->sched, NULL, hark__env_now(node->env) + delay_ns,
                          &action);
}

// On the thread of worker poll_arg.
static void
trim_some(void *poll_arg, struct timer_action *action)
{
    const struct seat *seat = hark__worker_local(poll_arg);
    struct node *node = seat->node;
    int64_t until_ns = hark__env_now(node->env) + BUDGET_NS;
    enum depot_trim trim;

    (void)action;
    do {
        trim = hark__depot_trim(node->depot);
    } while (trim == DEPOT_TRIMS && hark__env_now(node->env) < until_ns);
    if (trim != DEPOT_TRIMMED) {
        trim_in(node, trim == DEPOT_TRIMS ? STEP_NS : LOOK_NS);
    }
}

static void
on_surplus(void *arg)
{
    trim_in(arg, LOOK_NS);
}

void
hark__node_watch_surplus(struct node *node)
{
    hark__depot_watch(node->depot, on_surplus, node);
}
