#include "sched/balance.h"

#include "base/env.h"

#define NS_PER_S INT64_C(1000000000)

#define SETTLE_NS (1 * NS_PER_MS) // after a change
#define WINDOW_NS (3 * NS_PER_MS) // of one measurement
#define FIRST_HOLD_NS (32 * NS_PER_MS)
#define LONGEST_HOLD_NS (1000 * NS_PER_MS)
#define FIRST_GRACE_NS (16 * NS_PER_MS)

enum {
    // Units a second and worker from which on work is fine: it is no use to gather what
    // takes longer.
    FINE_RATE = 2000000,
    // In percent of the other way's rate: what the one that is tried must reach to be
    // kept. Gathered work leaves processors free, so it may be a little slower, and
    // what is spread must be faster.
    GATHERED_LEAST = 97,
    SPREAD_LEAST = 120,
    // What is slower than that is not tried any longer. A trial may do harm for a while
    // after: a flooded mailbox outgrows the caches.
    GATHERED_HOPELESS = 75,
    SPREAD_HOPELESS = 100,
    TRYABLE_LEAST = 2, // samples in a row
    COARSE_LEAST = 3, // the same: fine work of a worker that was preempted looks coarse
    DECAY = 8,        // windows until a rate that was better is mostly forgotten
    GROWTH = 2,       // of the time that verdicts are kept, with each of them,
    CLEAR_GROWTH = 4, // and after one that was clear at once
};

// ---- measuring ----

// What was done since the last sample; *out_active: by how many workers.
static uint64_t
take(struct balance *balance, const struct balance_sample *sample, unsigned *out_active)
{
    uint64_t sum = 0;

    *out_active = 0;
    for (unsigned i = 0; i < sample->count; i++) {
        uint64_t more = sample->units[i] - balance->seen[i];

        balance->seen[i] = sample->units[i];
        sum += more;
        *out_active += more > 0;
    }
    return sum;
}

static uint64_t
rate(uint64_t units, int64_t ns)
{
    return ns > 0 ? units * (uint64_t)NS_PER_S / (uint64_t)ns : 0;
}

static uint64_t
measured_rate(const struct balance *balance)
{
    return rate(balance->measured, balance->measured_ns);
}

static void
start_window(struct balance *balance)
{
    balance->measured = 0;
    balance->measured_ns = 0;
}

// A busy machine takes the processor away for a while, which makes a rate worse and
// never better. So a worse one counts little at first.
static void
note_window(struct balance *balance, uint64_t rate)
{
    uint64_t recent = balance->recent_rate;

    balance->recent_rate = rate >= recent ? rate : recent - (recent - rate) / DECAY;
}

static void
measure(struct balance *balance, int64_t began_ns, int64_t elapsed_ns, uint64_t done)
{
    if (began_ns < balance->settled_ns) {
        return;
    }
    balance->measured += done;
    balance->measured_ns += elapsed_ns;
    if (balance->measured_ns >= WINDOW_NS) {
        note_window(balance, measured_rate(balance));
        start_window(balance);
    }
}

// ---- states ----

static void
enter(struct balance *balance, enum balance_state state, int64_t now_ns,
      int64_t length_ns)
{
    balance->state = state;
    balance->settled_ns = now_ns + SETTLE_NS;
    balance->until_ns = now_ns + SETTLE_NS + length_ns;
    balance->recent_rate = 0;
    balance->tryable = 0;
    balance->coarse = 0;
    start_window(balance);
}

static void
be_lazy(struct balance *balance, int64_t now_ns, int64_t at_least_ns)
{
    enter(balance, BALANCE_LAZY, now_ns, at_least_ns);
    balance->settled_ns = now_ns; // nothing changes for work that is not fine
}

static void
try(struct balance *balance, enum balance_state state, int64_t now_ns,
    uint64_t other_rate)
{
    enter(balance, state, now_ns, WINDOW_NS);
    balance->other_rate = other_rate;
    balance->shared = false;
}

// A verdict, after which the next one is kept `growth` times as long.
static void
hold(struct balance *balance, enum balance_state state, int64_t now_ns, int64_t growth)
{
    int64_t next_ns = balance->hold_ns * growth;

    enter(balance, state, now_ns, balance->hold_ns);
    balance->hold_ns = next_ns < LONGEST_HOLD_NS ? next_ns : LONGEST_HOLD_NS;
}

void
hark__balance_init(struct balance *balance, int64_t now_ns)
{
    *balance = (struct balance){.since_ns = now_ns, .hold_ns = FIRST_HOLD_NS};
    be_lazy(balance, now_ns, 0);
}

void
hark__balance_spread(struct balance *balance, int64_t now_ns)
{
    int64_t grace_ns = balance->grace_ns * 2;

    balance->grace_ns = grace_ns < FIRST_GRACE_NS    ? FIRST_GRACE_NS
                        : grace_ns < LONGEST_HOLD_NS ? grace_ns
                                                     : LONGEST_HOLD_NS;
    balance->hold_ns = FIRST_HOLD_NS;
    be_lazy(balance, now_ns, balance->grace_ns);
}

static void
while_lazy(struct balance *balance, int64_t now_ns, bool is_tryable, unsigned active,
           uint64_t rate)
{
    if (!is_tryable || now_ns < balance->until_ns) {
        balance->tryable = 0;
        balance->recent_rate = 0;
        return;
    }
    note_window(balance, rate); // the first one may have begun before the work did
    if (++balance->tryable >= TRYABLE_LEAST) {
        // One worker that does it all is what gathered work looks like.
        try(balance, active > 1 ? TRY_GATHERED : TRY_SPREAD, now_ns,
            balance->recent_rate);
    }
}

static void
while_trying(struct balance *balance, int64_t now_ns, unsigned active)
{
    bool is_gathered = balance->state == TRY_GATHERED;
    enum balance_state tried = is_gathered ? BALANCE_GATHERED : BALANCE_SPREAD;
    enum balance_state other = is_gathered ? BALANCE_SPREAD : BALANCE_GATHERED;
    unsigned hopeless = is_gathered ? GATHERED_HOPELESS : SPREAD_HOPELESS;
    unsigned least = is_gathered ? GATHERED_LEAST : SPREAD_LEAST;
    uint64_t own =
        balance->measured_ns > 0 ? measured_rate(balance) : balance->recent_rate;

    balance->shared = balance->shared || active > 1;
    if (own > 0 && own * 100 < balance->other_rate * hopeless) {
        hold(balance, other, now_ns, CLEAR_GROWTH);
    } else if (now_ns >= balance->until_ns) {
        // One worker alone says nothing for two.
        bool is_better = (is_gathered || balance->shared)
                         && own * 100 >= balance->other_rate * least;

        hold(balance, is_better ? tried : other, now_ns, GROWTH);
    }
}

// A verdict's time is over.
static void
try_the_other(struct balance *balance, int64_t now_ns)
{
    balance->grace_ns /= 2; // all went well
    try(balance, balance->state == BALANCE_GATHERED ? TRY_SPREAD : TRY_GATHERED, now_ns,
        balance->recent_rate);
}

void
hark__balance_sample(struct balance *balance, int64_t now_ns,
                     const struct balance_sample *sample)
{
    unsigned active;
    int64_t elapsed_ns = now_ns - balance->since_ns;
    uint64_t done = take(balance, sample, &active);
    bool is_fine = active > 0 && rate(done, elapsed_ns) / active >= FINE_RATE;

    measure(balance, balance->since_ns, elapsed_ns, done);
    balance->since_ns = now_ns;
    switch (balance->state) {
    case BALANCE_LAZY:
        while_lazy(balance, now_ns, is_fine && (active > 1 || sample->waits), active,
                   rate(done, elapsed_ns));
        break;
    case TRY_GATHERED:
    case TRY_SPREAD:
        while_trying(balance, now_ns, active);
        break;
    case BALANCE_GATHERED:
    case BALANCE_SPREAD:
        balance->coarse = is_fine ? 0 : balance->coarse + 1;
        if (balance->coarse >= COARSE_LEAST) {
            be_lazy(balance, now_ns, 0);
        } else if (now_ns >= balance->until_ns) {
            try_the_other(balance, now_ns);
        }
        break;
    }
}
