// How a worker looks for what is not its own, and for how long.

#include "sched/worker.h"

#define LINGER_NS INT64_C(2000) // of who lingers: between looks at others' rings

static struct task *
take_from_others(struct worker *self)
{
    struct task *task = hark__worker_steal(self);

    if (task == NULL && hark__worker_may_take(self)) {
        task = hark__worker_take_injected(self);
    }
    return task;
}

// Not where there is an idler: what comes there would wait for us, and who waits there looks
// for a while, too.
static bool
may_linger(struct worker *self)
{
    return hark__sched_idler(self->sched) == NULL && hark__worker_may_take(self)
           && hark__spin_pays(&self->spin, self->slept_ns);
}

// Goes on looking for a while. Others need wake nobody meanwhile, since self is searching.
static struct task *
linger(struct worker *self)
{
    struct sched *sched = self->sched;
    struct env *env = sched->env;
    struct task *task = NULL;
    int64_t now_ns = hark__env_now(env);
    int64_t timer_ns = hark__wheel_next_ns(self->wheel);
    int64_t end_ns = now_ns + SPIN_NS < timer_ns ? now_ns + SPIN_NS : timer_ns;
    bool came = true; // or the time of a look is over

    // relaxed: who sees it late parks, and is woken by stop.
    while (task == NULL && came && now_ns < end_ns
           && !atomic_load_explicit(&sched->stopping, memory_order_relaxed)) {
        int64_t until_ns = now_ns + LINGER_NS;

        came = env->ops->spin(env, &sched->injected, 0, until_ns);
        now_ns = hark__env_now(env);
        came = came || now_ns >= until_ns;
        task = take_from_others(self);
    }
    hark__spin_ended(&self->spin, task != NULL);
    return task;
}

struct task *
hark__worker_search(struct worker *self)
{
    struct sched *sched = self->sched;

    // seq_cst: pairs with hark__sched_wake_one, which does not wake while we are
    // counted. Whoever stops searching with nothing looks at every queue once more in
    // park_once.
    atomic_fetch_add_explicit(&sched->searching, 1, memory_order_seq_cst);
    struct task *task = take_from_others(self);
    if (task == NULL && may_linger(self)) {
        task = linger(self);
    }
    bool last =
        atomic_fetch_sub_explicit(&sched->searching, 1, memory_order_seq_cst) == 1;
    if (task != NULL && last) {
        // What was announced meanwhile was so to us alone, and so was a turn that wants a
        // watcher.
        if (hark__sched_has_work(sched)) {
            hark__sched_wake_one(sched);
        } else {
            hark__sched_want_watcher(sched);
        }
    }
    return task;
}
