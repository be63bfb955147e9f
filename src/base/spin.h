// Spin: whether a thread that waits should look for a while before it sleeps.
//
// A sleeping processor takes 10 to 70 us to wake, longer than most answers take that come
// from the same machine. So who last waited a short time only looks again and again, and
// yields between looks, before it sleeps; if that was in vain some times, it does not for
// many waits (docs/adr/0008). For one thread.

#ifndef BASE_SPIN_H
#define BASE_SPIN_H

#include <stdbool.h>
#include <stdint.h>

#define SPIN_NS INT64_C(100000)     // no longer than that
#define SPIN_AFTER_NS (2 * SPIN_NS) // a short time

enum {
    SPIN_MISSES = 4, // in vain, then a pause of so many waits
    SPIN_PAUSE = 64,
};

struct spin {
    uint32_t misses; // spins in a row that found nothing
    uint32_t pause;  // waits to come that do not spin
};

// Should the caller spin? waited_ns: how long its last wait took. It tells hark__spin_ended.
static inline bool
hark__spin_pays(struct spin *spin, int64_t waited_ns)
{
    if (waited_ns > SPIN_AFTER_NS) {
        return false;
    }
    if (spin->pause > 0) {
        spin->pause--;
        return false;
    }
    return true;
}

static inline void
hark__spin_ended(struct spin *spin, bool found)
{
    spin->misses = found ? 0 : spin->misses + 1;
    if (spin->misses == SPIN_MISSES) {
        *spin = (struct spin){.pause = SPIN_PAUSE};
    }
}

#endif // BASE_SPIN_H
