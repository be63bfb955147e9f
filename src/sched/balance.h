// Balance: whether the workers' tasks do better spread out, or gathered on one worker.
//
// Actors that do little for each message and talk to each other all the time get slower
// on several processors: each message costs some fetches of cache lines from afar, more
// than its handler. No rule tells beforehand, so it is tried: the messages handled a
// second by all workers together are measured once spread and once gathered, and the
// better way is kept for a while; then the other one is tried again, ever more seldom.
// (The thread pool of .NET finds its number of threads by such hill climbing:
// Hellerstein, Morrison and Eilebrecht, "Optimizing concurrency levels in the .NET
// ThreadPool", 2008.)
//
//            fine work of several workers               is no worse
//       LAZY -------------------------------> TRY_GATHERED --------> GATHERED
//         |                                    ^        |              |    ^
//         | fine work of one worker,           |        | is worse     |    | is no
//         | and some of it waits       its time is over |     its time is   | better
//         |                                    |        v       over   v    |
//         +--------------------------------> SPREAD <------- TRY_SPREAD ----+
//                             (TRY_SPREAD)           is better
//
// From each state back to LAZY: the work is not fine any more, or something waits long.
// While it is spread by a verdict the workers are eager: they share what waits for a
// moment only, which a lazy one keeps (SURPLUS, worker.h).
//
// Pure: the clock and the counts are given. One thread at a time.

#ifndef SCHED_BALANCE_H
#define SCHED_BALANCE_H

#include <stdbool.h>
#include <stdint.h>

enum { BALANCE_WORKERS = 64 };

// Time between two samples, at least.
#define BALANCE_SAMPLE_NS INT64_C(1000000)

enum balance_state {
    BALANCE_LAZY,
    TRY_GATHERED,
    BALANCE_GATHERED,
    TRY_SPREAD,
    BALANCE_SPREAD,
};

struct balance {
    enum balance_state state;
    int64_t since_ns;   // of the last sample
    int64_t settled_ns; // what is before it is not measured
    int64_t until_ns;   // the state's end; of LAZY the earliest
    int64_t hold_ns;    // how long the next verdict is kept
    int64_t grace_ns;   // how long it was left lazy since something had waited
    uint64_t measured;  // units since settled_ns, or since recent_rate was taken
    int64_t measured_ns;
    uint64_t recent_rate; // units a second: of the state's last whole windows; 0: none
    uint64_t other_rate;  // of the way that this one is tried against
    bool shared;          // TRY_SPREAD: several workers did something
    unsigned tryable;     // LAZY: samples in a row that are worth a try
    unsigned coarse;      // GATHERED, SPREAD: those in a row that were not fine
    uint64_t seen[BALANCE_WORKERS];
};

// What the workers have done so far, and have to do.
struct balance_sample {
    const uint64_t *units; // by each worker since it started: messages handled
    unsigned count;        // workers
    bool waits;            // some task waits while another one runs
};

void hark__balance_init(struct balance *balance, int64_t now_ns);

// Takes a sample. What is to be done from now on: is_gathered, is_eager.
void hark__balance_sample(struct balance *balance, int64_t now_ns,
                          const struct balance_sample *sample);

// Something has waited too long for the one worker: spread out at once.
void hark__balance_spread(struct balance *balance, int64_t now_ns);

static inline bool
hark__balance_is_gathered(const struct balance *balance)
{
    return balance->state == TRY_GATHERED || balance->state == BALANCE_GATHERED;
}

static inline bool
hark__balance_is_eager(const struct balance *balance)
{
    return balance->state == TRY_SPREAD || balance->state == BALANCE_SPREAD;
}

#endif // SCHED_BALANCE_H
