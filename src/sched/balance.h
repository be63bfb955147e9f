// Balance: whether the workers' tasks do better spread out, or gathered on one worker.
//
// Actors that do little for each message and talk to each other all the time get slower
// on several processors: each message costs some fetches of cache lines from afar, more
// than its handler. No rule tells beforehand, so it is tried: the messages handled a
// second by all workers together are measured once spread and once gathered, and the
// better way is kept for a while; then it is tried again, ever more seldom. (The thread
// pool of .NET finds its number of threads by such hill climbing: Hellerstein, Morrison
// and Eilebrecht, "Optimizing concurrency levels in the .NET ThreadPool", 2008.)
//
//               fine work, a window is over           gathered
//   SPREAD ----------> TRY_SPREAD ------> TRY_GATHERED --is no worse--> GATHERED
//     ^  ^-----------------------------------/  is worse                  |
//     |                  ^------------------- its time is over -----------+
//     +------- the work is not fine any more, or something waits ---------+
//
// Pure: the clock and the counts are given. One thread at a time.

#ifndef SCHED_BALANCE_H
#define SCHED_BALANCE_H

#include <stdbool.h>
#include <stdint.h>

enum { BALANCE_WORKERS = 64 };

// Time between two samples, at least.
#define BALANCE_SAMPLE_NS INT64_C(1000000)

enum balance_state { BALANCE_SPREAD, TRY_SPREAD, TRY_GATHERED, BALANCE_GATHERED };

struct balance {
    enum balance_state state;
    int64_t since_ns;   // of the last sample
    int64_t settled_ns; // what is before it is not measured
    int64_t until_ns;   // the state's end
    int64_t hold_ns;    // how long the next verdict is kept
    uint64_t measured;  // units since settled_ns
    int64_t measured_ns;
    uint64_t spread_rate; // units a second
    uint64_t seen[BALANCE_WORKERS];
};

void hark__balance_init(struct balance *balance, int64_t now_ns);

// Takes a sample: units[i] is what worker i has done since it started (messages
// handled). True: the tasks should be gathered from now on.
bool hark__balance_sample(struct balance *balance, int64_t now_ns,
                          const uint64_t *units, unsigned count);

// Something has waited too long for the one worker: spread out at once.
void hark__balance_spread(struct balance *balance, int64_t now_ns);

static inline bool
hark__balance_is_gathered(const struct balance *balance)
{
    return balance->state == TRY_GATHERED || balance->state == BALANCE_GATHERED;
}

#endif // SCHED_BALANCE_H
