// Wheel: timers, set and cancelled in constant time.
//
// A hierarchical timing wheel (Varghese and Lauck, "Hashed and Hierarchical Timing
// Wheels", SOSP 1987): 6 levels of 64 lists, the lowest one millisecond apart. A timer
// whose list comes up on a higher level moves down. Timer records are of one type for
// ever and carry a generation, so a stale timer id is harmless.
//
// Any thread; each wheel has its lock. Actions run outside the lock.

#ifndef SCHED_WHEEL_H
#define SCHED_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

struct wheel;

// What happens when a timer fires. Plain data, copied.
struct timer_action {
    // Called with the wheel's user argument of hark__wheel_poll.
    void (*fire)(void *poll_arg, struct timer_action *action);
    void *data;
    uint64_t word;
    uint64_t more;
};

// Gives a wheel whose clock starts at now_ns; NULL: no memory.
struct wheel *hark__wheel_open(int64_t now_ns);
// Gives each action that has not fired to `dropped` (NULL: none).
void hark__wheel_close(struct wheel *wheel,
                       void (*dropped)(void *arg, struct timer_action *), void *arg);

// Fires at the first tick not before deadline_ns. Gives an id whose upper six bits are
// clear; 0: no memory. *out_earlier: it is now
// the earliest, so whoever sleeps for this wheel must look again.
uint64_t hark__wheel_arm(struct wheel *wheel, int64_t deadline_ns,
                         const struct timer_action *action, bool *out_earlier);
// The same without memory: each wheel has one record for it. If that is armed, it fires
// at the earlier of both deadlines, with the action of that. It has no id. Returns what
// *out_earlier is above.
bool hark__wheel_arm_reserve(struct wheel *wheel, int64_t deadline_ns,
                             const struct timer_action *action);
// True: it will not fire, and *out_action is what was armed.
bool hark__wheel_cancel(struct wheel *wheel, uint64_t id,
                        struct timer_action *out_action);

// Not later than the earliest deadline, INT64_MAX if there is none. One atomic load.
int64_t hark__wheel_next_ns(const struct wheel *wheel);

// Fires all that is due at now_ns. Returns how many.
unsigned hark__wheel_poll(struct wheel *wheel, int64_t now_ns, void *poll_arg);

#endif // SCHED_WHEEL_H
