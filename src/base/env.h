// Environment: the only way to the clock, to chance and to threads.
//
// The rest of src/ asks a struct env for them, so that another environment (a virtual
// clock, seeded chance, one thread) can stand in. Any thread.

#ifndef BASE_ENV_H
#define BASE_ENV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hark/base.h"

#define NS_PER_MS INT64_C(1000000)

struct env;
struct thread;

struct env_ops {
    // Nanoseconds since some fixed moment; never goes back.
    int64_t (*now_ns)(struct env *env);
    // 64 random bits; unpredictable in the real environment.
    uint64_t (*random)(struct env *env);
    // The clock at least as of now - *out_lag_ns; cheaper than now_ns.
    int64_t (*now_coarse_ns)(struct env *env, int64_t *out_lag_ns);
    // Starts run(arg) in a thread of its own. NULL: the system has no more threads.
    struct thread *(*thread_start)(struct env *env, const char *name,
                                   void (*run)(void *), void *arg);
    // Writes what people call the calling thread, and a NUL: "main", or its name.
    void (*thread_name)(struct env *env, char *out, size_t size);
    // Waits for its end and frees it.
    void (*thread_join)(struct env *env, struct thread *thread);
    // Waits until *word is not seen, or until deadline_ns (INT64_MAX: no limit). May
    // return early for no reason.
    void (*wait)(struct env *env, _Atomic(uint32_t) *word, uint32_t seen,
                 int64_t deadline_ns);
    // Looks until *word is not seen, or until deadline_ns, and lets others run between looks.
    // True: it is not. It may give up early.
    bool (*spin)(struct env *env, _Atomic(uint32_t) *word, uint32_t seen,
                 int64_t deadline_ns);
    // Ends one wait on word. The caller has changed *word before.
    void (*wake)(struct env *env, _Atomic(uint32_t) *word);
    // Every thread of this process that runs passes a full memory barrier meanwhile;
    // those that do not run pass one before they do. Some microseconds. False: the
    // system cannot.
    bool (*barrier)(struct env *env);
};

struct env {
    const struct env_ops *ops;
};

// The machine's own clock, chance and threads. Constant; never closed.
struct env *hark__env_real(void);

// How many processors this process may use; at least 1.
unsigned hark__env_processors(void);

static inline int64_t
hark__env_now(struct env *env)
{
    return env->ops->now_ns(env);
}

// When timeout_ms will be over. INT64_MAX, for HARK_FOREVER: never.
static inline int64_t
hark__env_deadline(struct env *env, uint32_t timeout_ms)
{
    return timeout_ms == HARK_FOREVER
               ? INT64_MAX
               : hark__env_now(env) + (int64_t)timeout_ms * NS_PER_MS;
}

#endif // BASE_ENV_H
