#include "base/env.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)

struct thread {
    pthread_t id;
    void (*run)(void *);
    void *arg;
};

static int64_t
real_now_ns(struct env *env)
{
    struct timespec now;

    (void)env;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

// Updated by the kernel's tick; the lag is its length.
static int64_t
real_now_coarse_ns(struct env *env, int64_t *out_lag_ns)
{
    static _Atomic(int64_t) lag_ns;
    struct timespec now;

    (void)env;
    // relaxed: a constant, whoever writes it first.
    *out_lag_ns = atomic_load_explicit(&lag_ns, memory_order_relaxed);
    if (*out_lag_ns == 0) {
        clock_getres(CLOCK_MONOTONIC_COARSE, &now);
        *out_lag_ns = (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec + 1;
        atomic_store_explicit(&lag_ns, *out_lag_ns, memory_order_relaxed); // as above
    }
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static uint64_t
real_random(struct env *env)
{
    uint64_t bits = 0;

    // Up to 256 bytes come whole or not at all; only a signal early in boot interrupts.
    while (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits) {
        if (errno != EINTR) {
            return (uint64_t)real_now_ns(env) * UINT64_C(0x9E3779B97F4A7C15);
        }
    }
    return bits;
}

static void *
thread_main(void *arg)
{
    struct thread *thread = arg;

    thread->run(thread->arg);
    return NULL;
}

static struct thread *
real_thread_start(struct env *env, const char *name, void (*run)(void *), void *arg)
{
    struct thread *thread = calloc(1, sizeof *thread);

    (void)env;
    if (thread == NULL) {
        return NULL;
    }
    thread->run = run;
    thread->arg = arg;
    if (pthread_create(&thread->id, NULL, thread_main, thread) != 0) {
        free(thread);
        return NULL;
    }
    pthread_setname_np(thread->id, name); // cut at 15 bytes: then it has no name
    return thread;
}

// A thread that nobody has named has the name of who has started it.
static void
real_thread_name(struct env *env, char *out, size_t size)
{
    char name[16]; // as long as names are

    (void)env;
    if (gettid() == getpid()) {
        snprintf(out, size, "main");
    } else if (pthread_getname_np(pthread_self(), name, sizeof name) == 0) {
        snprintf(out, size, "%s", name);
    } else {
        snprintf(out, size, "a thread");
    }
}

static void
real_thread_join(struct env *env, struct thread *thread)
{
    (void)env;
    pthread_join(thread->id, NULL);
    free(thread);
}

static void
real_wait(struct env *env, _Atomic(uint32_t) *word, uint32_t seen, int64_t deadline_ns)
{
    struct timespec until = {
        .tv_sec = (time_t)(deadline_ns / NS_PER_S),
        .tv_nsec = (long)(deadline_ns % NS_PER_S),
    };

    (void)env;
    // BITSET takes an absolute time of CLOCK_MONOTONIC.
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen,
            deadline_ns == INT64_MAX ? NULL : &until, NULL, FUTEX_BITSET_MATCH_ANY);
}

// Tells the processor that this is a loop that waits.
static inline void
relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

// A look each half a microsecond: who sends much in a row is not met by each message. Then
// whoever else wants this processor. Yields only would be slower by far where nobody does,
// and none where the one that we wait for does.
static bool
real_spin(struct env *env, _Atomic(uint32_t) *word, uint32_t seen, int64_t deadline_ns)
{
    enum { PAUSES = 16 };

    do {
        // acquire: pairs with whoever changes it; what came before is seen.
        if (atomic_load_explicit(word, memory_order_acquire) != seen) {
            return true;
        }
        for (int i = 0; i < PAUSES; i++) {
            relax();
        }
        sched_yield();
    } while (hark__env_now(env) < deadline_ns);
    return false;
}

static void
real_wake(struct env *env, _Atomic(uint32_t) *word)
{
    (void)env;
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static int
membarrier(int command)
{
    return (int)syscall(SYS_membarrier, command, 0, 0);
}

static bool
real_barrier(struct env *env)
{
    (void)env;
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0) {
        return true;
    }
    // The first time the process must say that it is going to use it.
    return errno == EPERM && membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0
           && membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0;
}

static const struct env_ops real_ops = {
    .now_ns = real_now_ns,
    .now_coarse_ns = real_now_coarse_ns,
    .random = real_random,
    .thread_start = real_thread_start,
    .thread_name = real_thread_name,
    .thread_join = real_thread_join,
    .wait = real_wait,
    .spin = real_spin,
    .wake = real_wake,
    .barrier = real_barrier,
};

struct env *
hark__env_real(void)
{
    static struct env real = {.ops = &real_ops};

    return &real;
}

unsigned
hark__env_processors(void)
{
    cpu_set_t allowed;

    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) {
        return 1;
    }
    return (unsigned)CPU_COUNT(&allowed);
}
