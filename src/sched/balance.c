#include "sched/balance.h"

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

#define SETTLE_NS (1 * NS_PER_MS) // after a change
#define WINDOW_NS (3 * NS_PER_MS) // of one measurement
#define FIRST_HOLD_NS (16 * NS_PER_MS)
#define LONGEST_HOLD_NS (1000 * NS_PER_MS)

enum {
    // Units a second and worker from which on work is fine: it is no use to gather what
    // takes longer.
    FINE_RATE = 2000000,
    // Gathered work may be this much slower, in percent: it leaves processors free.
    WORTH = 97,
};

static void
enter(struct balance *balance, enum balance_state state, int64_t now_ns,
      int64_t length_ns)
{
    balance->state = state;
    balance->settled_ns = now_ns + SETTLE_NS;
    balance->until_ns = now_ns + SETTLE_NS + length_ns;
    balance->measured = 0;
    balance->measured_ns = 0;
}

static void
hold(struct balance *balance, enum balance_state state, int64_t now_ns)
{
    enter(balance, state, now_ns, balance->hold_ns);
    balance->hold_ns =
        balance->hold_ns * 2 < LONGEST_HOLD_NS ? balance->hold_ns * 2 : LONGEST_HOLD_NS;
}

void
hark__balance_init(struct balance *balance, int64_t now_ns)
{
    *balance = (struct balance){.since_ns = now_ns, .hold_ns = FIRST_HOLD_NS};
    enter(balance, BALANCE_SPREAD, now_ns, WINDOW_NS);
}

void
hark__balance_spread(struct balance *balance, int64_t now_ns)
{
    balance->hold_ns = FIRST_HOLD_NS;
    hold(balance, BALANCE_SPREAD, now_ns);
}

// What was done since the last sample; *out_active: by how many workers.
static uint64_t
take(struct balance *balance, const uint64_t *units, unsigned count,
     unsigned *out_active)
{
    uint64_t sum = 0;

    *out_active = 0;
    for (unsigned i = 0; i < count; i++) {
        uint64_t more = units[i] - balance->seen[i];

        balance->seen[i] = units[i];
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

// The end of a state.
static void
conclude(struct balance *balance, int64_t now_ns, unsigned active)
{
    uint64_t measured = rate(balance->measured, balance->measured_ns);

    switch (balance->state) {
    case BALANCE_SPREAD:
        if (active > 1 && measured / active >= FINE_RATE) {
            enter(balance, TRY_SPREAD, now_ns, WINDOW_NS);
        } else {
            enter(balance, BALANCE_SPREAD, now_ns, WINDOW_NS);
        }
        break;
    case TRY_SPREAD:
        balance->spread_rate = measured;
        enter(balance, TRY_GATHERED, now_ns, WINDOW_NS);
        break;
    case TRY_GATHERED:
        hold(balance,
             measured * 100 >= balance->spread_rate * WORTH ? BALANCE_GATHERED
                                                            : BALANCE_SPREAD,
             now_ns);
        break;
    case BALANCE_GATHERED:
        enter(balance, TRY_SPREAD, now_ns, WINDOW_NS);
        break;
    }
}

bool
hark__balance_sample(struct balance *balance, int64_t now_ns, const uint64_t *units,
                     unsigned count)
{
    unsigned active;
    int64_t elapsed_ns = now_ns - balance->since_ns;
    uint64_t done = take(balance, units, count, &active);

    balance->since_ns = now_ns;
    if (balance->since_ns - elapsed_ns >= balance->settled_ns) {
        balance->measured += done;
        balance->measured_ns += elapsed_ns;
    }
    if (balance->state == BALANCE_GATHERED && rate(done, elapsed_ns) < FINE_RATE) {
        hark__balance_spread(balance, now_ns);
    } else if (now_ns >= balance->until_ns) {
        conclude(balance, now_ns, active);
    }
    return hark__balance_is_gathered(balance);
}
