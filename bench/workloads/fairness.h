// fairness.h - how long others wait beside an actor that never stops and one whose
// handlers are long: fairness.

#ifndef BENCH_WORKLOADS_FAIRNESS_H
#define BENCH_WORKLOADS_FAIRNESS_H

#include <stdatomic.h>

#include "bench.h"

enum {
    PATIENTS = 8,
    CALLS = 3000,
    CALL_EVERY_US = 1000,
    LONG_HANDLER_MS = 50,
};

// Tells the two disturbers to go on. They end when the flag is set.
HARK_MESSAGE(again)

typedef struct {
    _Atomic(bool) *stop;
    hark_ref owner;
    int64_t turns;
} disturber;

// True: the workload is over, and the owner knows.
static bool
is_over(hark_ctx *ctx, const disturber *self)
{
    // Relaxed: nothing but the flag is read, and any later turn sees it.
    if (!atomic_load_explicit(self->stop, memory_order_relaxed)) {
        return false;
    }
    hark_tell(ctx, self->owner, done, .value = self->turns);
    return true;
}

// Always has a message waiting.
typedef disturber chatterer;

HARK_ON(chatterer, again) {
    self->turns++;
    if (!is_over(ctx, self)) {
        hark_tell(ctx, hark_self(ctx), again);
    }
}

HARK_ACTOR(chatterer, again)

// Keeps its worker for 50 ms at a time.
typedef disturber plodder;

HARK_ON(plodder, again) {
    double until = measure_now() + LONG_HANDLER_MS / 1e3;

    while (measure_now() < until) {
    }
    self->turns++;
    if (!is_over(ctx, self)) {
        hark_tell(ctx, hark_self(ctx), again);
    }
}

HARK_ACTOR(plodder, again)

// A call that a patient answers at once: by calling the next.
HARK_MESSAGE(call, (f64, sent_at), (i64, number), (bool, is_second))

// Microseconds that each call waited.
struct delays {
    double *from_thread_us;
    double *from_actor_us;
};

typedef struct {
    const hark_ref *patients; // all of them
    const struct delays *delays;
    hark_ref owner;
} patient;

HARK_ON(patient, call) {
    double now = measure_now();
    double *delays_us =
        msg->is_second ? self->delays->from_actor_us : self->delays->from_thread_us;

    delays_us[msg->number] = (now - msg->sent_at) * 1e6;
    if (msg->is_second) {
        hark_tell(ctx, self->owner, done, .value = 1);
    } else {
        hark_tell(ctx, self->patients[(msg->number + 1) % PATIENTS], call,
                  .sent_at = now, .number = msg->number, .is_second = true);
    }
}

HARK_ACTOR(patient, call)

static void
add_delays(struct figures *figures, double *delays_us, const char *p50, const char *p99)
{
    qsort(delays_us, CALLS, sizeof *delays_us, compare_doubles);
    figure_add(figures, p50, delays_us[CALLS / 2], "us");
    figure_add(figures, p99, delays_us[CALLS * 99 / 100], "us");
}

static void
run_fairness(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_ref patients[PATIENTS];
    struct delays delays = {new_array(CALLS, sizeof(double)),
                            new_array(CALLS, sizeof(double))};
    _Atomic(bool) stop;
    hark_ref noisy, slow;

    atomic_init(&stop, false);
    noisy = need_actor(
        me, hark_spawn(me, chatterer, .stop = &stop, .owner = hark_self(me)));
    slow =
        need_actor(me, hark_spawn(me, plodder, .stop = &stop, .owner = hark_self(me)));
    for (int i = 0; i < PATIENTS; i++) {
        patients[i] =
            need_actor(me, hark_spawn(me, patient, .patients = patients,
                                      .delays = &delays, .owner = hark_self(me)));
    }
    hark_tell(me, noisy, again);
    hark_tell(me, slow, again);
    for (int64_t i = 0; i < CALLS; i++) {
        usleep(CALL_EVERY_US);
        hark_tell(me, patients[i % PATIENTS], call, .sent_at = measure_now(),
                  .number = i);
    }
    expect_count("calls", await_done(bench, CALLS), CALLS);
    atomic_store(&stop, true);
    if (await_done(bench, 2) < CALLS) {
        fail("the disturbers did hardly anything");
    }
    add_delays(bench->figures, delays.from_thread_us, "from_thread_p50",
               "from_thread_p99");
    add_delays(bench->figures, delays.from_actor_us, "from_actor_p50",
               "from_actor_p99");
    free(delays.from_thread_us);
    free(delays.from_actor_us);
}

#endif // BENCH_WORKLOADS_FAIRNESS_H
