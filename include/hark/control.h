// hark/control.h - how many may do something at once, how often, and when: semaphore,
// mutex, read-write lock, limits, rates, circuit breaker, latch, barrier, single
// flight.
//
// Each object is a stock actor, so it is a ref: it can be named, looked up, sent in a
// message and used from any node. It lives until hark_actor_stop, or the end of its
// system. Whoever wants something of it gets a future; all are served first come, first
// served. No function blocks. Errors name the object by its `name` option, which is no
// registered name.
//
// All are safe to cancel. A future that is dropped, cancelled, timed out or lost with
// its owner or its node leaves the line, and what was granted to it on its way is given
// back: beside each ask there is a second one, a hark_hold, that stays open as long as
// what is wanted is wanted or had, and whose end the object sees. So is what is held by
// an actor that ends, by a thread that detaches and by a node that is lost. A node that
// is only out of reach counts as lost after hark_options.heartbeat_ms: until then what
// it has stays its own, and afterwards it may still believe to have it, as with every
// lock across machines.
//
// name_at(ctx, site, timeout_ms, ...) is told where it was called (site: static, as
// HARK_HERE, or NULL); the macros name(ctx, ...) and name_within(ctx, timeout_ms, ...)
// do so themselves, the first with the default timeout.
// A timeout of 0 is the system's default for asks, 5 s; HARK_FOREVER is none.
//
// Functions that give a ref: a null ref on error, with the reason in
// hark_error_of(ctx): HARK_EINVAL (a null ctx, options that cannot be), or
// hark_spawn_value's. Functions that give a future: {0} as in hark/async.h; else the
// future fails with HARK_EINVAL (a count that can never be had), HARK_ELIMIT (the line
// is full, or nothing is free for a try), HARK_ESTOPPED, HARK_ENOACTOR (the object has
// ended), HARK_ETIMEOUT, HARK_ENOHANDLER (it is another kind of object).

#ifndef HARK_CONTROL_H
#define HARK_CONTROL_H

#include <hark/actor.h>
#include <hark/async.h>
#include <hark/future.h>

HARK_BEGIN_DECLS

// ---- what asks and answers look like ----

// Asked right before each of the asks below, by the same sender, and never answered:
// its end gives back what was granted. The functions here do that.
HARK_MESSAGE(hark_hold)

// A permit, also a lock: the right to go on, until hark_release. Copy it (*msg) to keep
// it. Only the actor or thread that acquired it may release it.
HARK_MESSAGE(hark_permit, (ref, of), (u32, count), (u64, number), (u64, owner),
             (u64, hold))

// Wants a hark_permit. hold is what the asker calls his hark_hold.
HARK_MESSAGE(hark_acquire_permit, (u32, count), (bool, at_once), (u64, owner),
             (u64, hold))

// Gives the permit of that number back; told by hark_release, before it ends the hold,
// so that what its sender asks next finds it free.
HARK_MESSAGE(hark_permit_back, (u64, number))

// How a semaphore, mutex, lock or limit stands: the answer to hark_permits_read.
HARK_MESSAGE(hark_permits_read)
HARK_MESSAGE(hark_permits, (u32, available), (u32, held), (u32, waiting))

// ---- semaphore, mutex, read-write lock ----

// How a semaphore is set up.
typedef struct hark_semaphore_options {
    const char *name; // in errors, cut at 63 bytes. Borrowed for the call; NULL: ""
    uint32_t permits; // how many there are; 0: HARK_EINVAL
    uint32_t waiting_limit; // who may wait at once; 0: 65,536
} hark_semaphore_options;

// Spawns a semaphore. Who waits for many permits is not passed by who wants few.
HARK_API hark_ref hark_semaphore(hark_ctx *ctx, const hark_semaphore_options *options);

// How a lock is set up. All zero is a good default.
typedef struct hark_lock_options {
    const char *name;       // as above
    uint32_t waiting_limit; // as above
} hark_lock_options;

// Spawns a mutex: a semaphore of one permit. It is not recursive: who locks it twice
// waits for himself. options may be NULL.
HARK_API hark_ref hark_mutex(hark_ctx *ctx, const hark_lock_options *options);

// Spawns a read-write lock: any number of readers or one writer. It is fair: who comes
// waits behind all who came before, so a writer waits for the readers that are inside
// and for no later ones, and readers wait behind a writer that waits. A reader must not
// lock again what it has locked. options may be NULL.
HARK_API hark_ref hark_rwlock(hark_ctx *ctx, const hark_lock_options *options);

// All permits of a read-write lock.
#define HARK_WRITE UINT32_MAX

// Gives the future of a hark_permit for count permits. While it is not released or its
// future (or one made of it) is not dropped unseen, the permits are the caller's:
// beyond the handler, and beyond the request for whose sake they were acquired.
HARK_CHECKED hark_future hark_acquire_at(hark_ctx *ctx, const char *site,
                                         uint32_t timeout_ms, hark_ref semaphore,
                                         uint32_t count);
// Also by the names that it has where the semaphore is a lock.
#define hark_acquire(ctx, semaphore, count)                                            \
    hark_acquire_at(ctx, HARK_HERE, 0, semaphore, count)
#define hark_acquire_within(ctx, timeout_ms, semaphore, count)                         \
    hark_acquire_at(ctx, HARK_HERE, timeout_ms, semaphore, count)
#define hark_lock(ctx, mutex) hark_acquire_at(ctx, HARK_HERE, 0, mutex, 1)
#define hark_read_lock(ctx, rwlock) hark_acquire_at(ctx, HARK_HERE, 0, rwlock, 1)
#define hark_write_lock(ctx, rwlock)                                                   \
    hark_acquire_at(ctx, HARK_HERE, 0, rwlock, HARK_WRITE)

// The same, but fails with HARK_ELIMIT if it would have to wait.
HARK_CHECKED hark_future hark_try_acquire_at(hark_ctx *ctx, const char *site,
                                             hark_ref semaphore, uint32_t count);
#define hark_try_acquire(ctx, semaphore, count)                                        \
    hark_try_acquire_at(ctx, HARK_HERE, semaphore, count)

// Releases a permit. Borrows it; nothing is waited for. HARK_ESTALE: it was released
// before, or is another's. HARK_ESTOPPED and others: the semaphore has ended meanwhile,
// or its node was lost, so what it protected was maybe not protected. HARK_EINVAL.
// hark_error_of(ctx) tells more.
HARK_API hark_err hark_release(hark_ctx *ctx, const hark_permit *permit);

// Ends as the job does, which is started (with index 0) once count permits are had, and
// gives them back when it has ended or is dropped. Takes arg, also on error. The
// timeout is that of the waiting.
HARK_CHECKED hark_future hark_with_permit_at(hark_ctx *ctx, const char *site,
                                             uint32_t timeout_ms, hark_ref semaphore,
                                             uint32_t count, const hark_job *job,
                                             void *arg);
// hark_with_permit(ctx, semaphore, count, name, arg): for HARK_JOB(name).
#define hark_with_permit(ctx, semaphore, count, name, ...)                             \
    hark_with_permit_at(ctx, HARK_HERE, 0, semaphore, count, &name##_job, __VA_ARGS__)
#define hark_with_permit_within(ctx, timeout_ms, semaphore, count, name, ...)          \
    hark_with_permit_at(ctx, HARK_HERE, timeout_ms, semaphore, count, &name##_job,     \
                        __VA_ARGS__)

// ---- asks through a guard: in-flight limit, circuit breaker ----

// Wants to be let through: a hark_pass, which names whom to ask. The outcome is told
// unless number is 0.
HARK_MESSAGE(hark_enter)
HARK_MESSAGE(hark_pass, (ref, target), (u64, number))
HARK_MESSAGE(hark_outcome, (u64, number), (i32, code))

// How a limit is set up.
typedef struct hark_limit_options {
    const char *name;       // as above
    hark_ref target;        // whom it guards
    uint32_t at_most;       // asks in flight to it; 0: HARK_EINVAL
    uint32_t waiting_limit; // as above
} hark_limit_options;

// Spawns a limit: of the asks that go through it, at most so many are in flight.
HARK_API hark_ref hark_limit(hark_ctx *ctx, const hark_limit_options *options);

// How a circuit breaker is set up. All zero but the target is a good default.
typedef struct hark_breaker_options {
    const char *name;    // as above
    hark_ref target;     // whom it guards
    uint32_t window;     // looks at so many outcomes, the last ones; 0: 20. At most 64
    uint32_t failures;   // so many failures among them open it; 0: 5
    uint32_t open_ms;    // for so long; 0: 5 s
    bool count_refusals; // refusals with codes from HARK_EUSER on are failures, too
} hark_breaker_options;

// What a breaker does with asks.
typedef enum hark_breaker_mode {
    HARK_BREAKER_CLOSED = 0,    // asks go through
    HARK_BREAKER_OPEN = 1,      // asks are refused at once
    HARK_BREAKER_HALF_OPEN = 2, // open_ms are over: one ask goes through, as a probe
} hark_breaker_mode;

// How a breaker stands: the answer to hark_breaker_read.
HARK_MESSAGE(hark_breaker_read)
HARK_MESSAGE(hark_breaker_state, (u32, mode), (u32, failures), (u32, retry_ms))

// Spawns a circuit breaker. Asks through it are refused with HARK_ELIMIT and a text
// that says when it tries again while it is open. Then one ask is let through; its
// success closes the breaker, its failure opens it again, and if it is dropped the next
// one is the probe. HARK_EINVAL, HARK_ECANCELLED, HARK_ESTALE and refusals (see
// count_refusals) are no failures of the target, and no successes either, but for
// refusals.
HARK_API hark_ref hark_breaker(hark_ctx *ctx, const hark_breaker_options *options);

// Asks a guard's target as hark_ask_at does, when the guard lets it through. The
// timeout is for both; 0: the default for each of the two.
HARK_CHECKED hark_future hark_ask_through_at(hark_ctx *ctx, const char *site,
                                             uint32_t timeout_ms, hark_ref guard,
                                             const hark_type *type, const void *value);
// hark_ask_through(ctx, guard, message, .field = value, ...)
#define hark_ask_through(ctx, guard, ...)                                              \
    hark_ask_through_at(ctx, HARK_HERE, 0, guard, HARK_TYPE_(__VA_ARGS__),             \
                        HARK_VALUE_(__VA_ARGS__))
#define hark_ask_through_within(ctx, timeout_ms, guard, ...)                           \
    hark_ask_through_at(ctx, HARK_HERE, timeout_ms, guard, HARK_TYPE_(__VA_ARGS__),    \
                        HARK_VALUE_(__VA_ARGS__))

// ---- rate limit ----

// Wants tokens: a hark_unit.
HARK_MESSAGE(hark_take_tokens, (u32, count), (bool, at_once))

// How a rate is set up: a token bucket.
typedef struct hark_rate_options {
    const char *name;       // as above
    double per_second;      // tokens that come; over 0, at most a thousand million
    uint32_t burst;         // tokens that it holds, and has at first; 0: 1
    uint32_t waiting_limit; // as above
} hark_rate_options;

// Spawns a rate: who wants tokens waits until they have come.
HARK_API hark_ref hark_rate(hark_ctx *ctx, const hark_rate_options *options);

// Succeeds with a hark_unit when count tokens were taken. Tokens whose taker is gone
// when they come are spent. HARK_ENOMEM: no timer for those who wait.
HARK_CHECKED hark_future hark_rate_wait_at(hark_ctx *ctx, const char *site,
                                           uint32_t timeout_ms, hark_ref rate,
                                           uint32_t count);
#define hark_rate_wait(ctx, rate, count)                                               \
    hark_rate_wait_at(ctx, HARK_HERE, 0, rate, count)
#define hark_rate_wait_within(ctx, timeout_ms, rate, count)                            \
    hark_rate_wait_at(ctx, HARK_HERE, timeout_ms, rate, count)
// The same, but fails with HARK_ELIMIT if it would have to wait.
HARK_CHECKED hark_future hark_rate_try_at(hark_ctx *ctx, const char *site,
                                          hark_ref rate, uint32_t count);
#define hark_rate_try(ctx, rate, count) hark_rate_try_at(ctx, HARK_HERE, rate, count)

// ---- latch, barrier ----

// Counts a latch down: a hark_latch_left, which says how much is left.
HARK_MESSAGE(hark_latch_down, (u32, count))
HARK_MESSAGE(hark_latch_left, (u32, count))
// Waits until it is open: a hark_unit.
HARK_MESSAGE(hark_latch_opens)

// How a latch is set up.
typedef struct hark_latch_options {
    const char *name;       // as above
    uint32_t count;         // to count down; 0: it is open
    uint32_t waiting_limit; // as above
} hark_latch_options;

// Spawns a latch: who waits goes on when it has been counted down to 0, and for ever
// after.
HARK_API hark_ref hark_latch(hark_ctx *ctx, const hark_latch_options *options);

// Counts down. Succeeds with a hark_latch_left; fails with HARK_EINVAL, and changes
// nothing, if that would be below 0 or count is 0.
HARK_CHECKED hark_future hark_count_down_at(hark_ctx *ctx, const char *site,
                                            hark_ref latch, uint32_t count);
#define hark_count_down(ctx, latch, count)                                             \
    hark_count_down_at(ctx, HARK_HERE, latch, count)

// Succeeds with a hark_unit once it is open.
HARK_CHECKED hark_future hark_latch_wait_at(hark_ctx *ctx, const char *site,
                                            uint32_t timeout_ms, hark_ref latch);
#define hark_latch_wait(ctx, latch) hark_latch_wait_at(ctx, HARK_HERE, 0, latch)
#define hark_latch_wait_within(ctx, timeout_ms, latch)                                 \
    hark_latch_wait_at(ctx, HARK_HERE, timeout_ms, latch)

// Arrives at a barrier: a hark_arrived. generation counts from 0, place in order of
// arrival.
HARK_MESSAGE(hark_arrive)
HARK_MESSAGE(hark_arrived, (u64, generation), (u32, place))

// How a barrier is set up.
typedef struct hark_barrier_options {
    const char *name; // as above
    uint32_t parties; // so many go on together; 0: HARK_EINVAL
} hark_barrier_options;

// Spawns a barrier: when parties wait there, all go on, and the next generation begins.
// One that is cancelled, dropped or timed out before that leaves, as if it had never
// come (as in asyncio; Java's breaks the barrier for the others, whom it cannot count
// again).
HARK_API hark_ref hark_barrier(hark_ctx *ctx, const hark_barrier_options *options);

// Succeeds with a hark_arrived when all are there.
HARK_CHECKED hark_future hark_barrier_wait_at(hark_ctx *ctx, const char *site,
                                              uint32_t timeout_ms, hark_ref barrier);
#define hark_barrier_wait(ctx, barrier) hark_barrier_wait_at(ctx, HARK_HERE, 0, barrier)
#define hark_barrier_wait_within(ctx, timeout_ms, barrier)                             \
    hark_barrier_wait_at(ctx, HARK_HERE, timeout_ms, barrier)

// ---- single flight ----

// Joins the flight of a key: the reply of its work.
HARK_MESSAGE(hark_join_flight, (str, key))

// How single flights are set up.
typedef struct hark_flights_options {
    const char *name; // as above
    // Starts the work for a key, in the actor's turn, and gives its future; {0}: the
    // flight fails with hark_error_of(ctx). Must not wait.
    hark_future (*start)(hark_ctx *ctx, hark_str key, void *arg);
    void *arg;              // start's; must outlive the actor
    const hark_type *reply; // what the work's future gives
    uint32_t waiting_limit; // as above
} hark_flights_options;

// Spawns single flights: who joins while the work for a key is under way shares its
// result. Nothing is kept after that. One that is dropped or cancelled does not disturb
// the others; when the last one is gone the work's future is dropped.
HARK_API hark_ref hark_flights(hark_ctx *ctx, const hark_flights_options *options);

// Ends as the flight of key does.
HARK_CHECKED hark_future hark_flight_at(hark_ctx *ctx, const char *site,
                                        uint32_t timeout_ms, hark_ref flights,
                                        hark_str key);
#define hark_flight(ctx, flights, key) hark_flight_at(ctx, HARK_HERE, 0, flights, key)
#define hark_flight_within(ctx, timeout_ms, flights, key)                              \
    hark_flight_at(ctx, HARK_HERE, timeout_ms, flights, key)

HARK_END_DECLS

#endif // HARK_CONTROL_H
