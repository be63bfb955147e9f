#include "sched/wheel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

enum {
    LEVELS = 6,
    LEVEL_BITS = 6,
    LEVEL_SIZE = 1 << LEVEL_BITS,
    CHUNK_BITS = 10,
    CHUNK_SIZE = 1 << CHUNK_BITS,
    MAX_CHUNKS = (1 << 14) - 1,
    FIRE_BATCH = 32,
    GENERATION_BITS = 26, // leaves six bits of an id to whoever has many wheels
};

#define TICK_NS INT64_C(1000000)
// The furthest a timer can stand from now, in ticks: 2 years and more.
#define HORIZON ((UINT64_C(1) << (LEVELS * LEVEL_BITS)) - 1)
#define NONE UINT32_MAX
// The record that is there without memory: it stands in a chunk of its own, the last.
#define RESERVE ((uint32_t)MAX_CHUNKS << CHUNK_BITS)

struct record {
    struct timer_action action;
    uint64_t tick;       // when it fires
    uint32_t next;       // in its list or the free list; NONE ends it
    uint32_t prev;       // in its list; the first one's is the last one
    uint32_t generation; // odd while armed; GENERATION_BITS wide
    uint8_t level, place;
};

struct wheel {
    pthread_spinlock_t lock;  // guards all but next_ns
    _Atomic(int64_t) next_ns; // written under the lock, read by anyone
    uint64_t now;             // all ticks up to this one have fired
    uint32_t lists[LEVELS][LEVEL_SIZE];
    uint64_t filled[LEVELS]; // which lists are not empty
    struct record reserve;
    struct record *chunks[MAX_CHUNKS + 1];
    uint32_t chunk_count;
    uint32_t free;
};

static struct record *
at(struct wheel *wheel, uint32_t index)
{
    return &wheel->chunks[index >> CHUNK_BITS][index & (CHUNK_SIZE - 1)];
}

// Held for some tens of nanoseconds, and hardly ever by two: a wheel is mostly its worker's
// own. A mutex costs two locked instructions each time, this one. Whoever finds it held
// does not spin, since its holder may be waiting for this processor.
static void
lock(struct wheel *wheel)
{
    while (pthread_spin_trylock(&wheel->lock) != 0) {
        sched_yield();
    }
}

static void
unlock(struct wheel *wheel)
{
    pthread_spin_unlock(&wheel->lock);
}

struct wheel *
hark__wheel_open(int64_t now_ns)
{
    struct wheel *wheel = calloc(1, sizeof *wheel);

    if (wheel == NULL) {
        return NULL;
    }
    pthread_spin_init(&wheel->lock, PTHREAD_PROCESS_PRIVATE);
    atomic_init(&wheel->next_ns, INT64_MAX);
    wheel->now = (uint64_t)(now_ns / TICK_NS);
    wheel->free = NONE;
    wheel->chunks[MAX_CHUNKS] = &wheel->reserve;
    for (int level = 0; level < LEVELS; level++) {
        for (int place = 0; place < LEVEL_SIZE; place++) {
            wheel->lists[level][place] = NONE;
        }
    }
    return wheel;
}

void
hark__wheel_close(struct wheel *wheel,
                  void (*dropped)(void *arg, struct timer_action *), void *arg)
{
    for (uint32_t i = 0; i < wheel->chunk_count * (uint32_t)CHUNK_SIZE; i++) {
        struct record *record = at(wheel, i);

        if (record->generation % 2 == 1 && dropped != NULL) {
            dropped(arg, &record->action);
        }
    }
    for (uint32_t i = 0; i < wheel->chunk_count; i++) {
        free(wheel->chunks[i]);
    }
    pthread_spin_destroy(&wheel->lock);
    free(wheel);
}

static bool
grow(struct wheel *wheel)
{
    if (wheel->chunk_count == MAX_CHUNKS) {
        return false;
    }
    struct record *chunk = calloc(CHUNK_SIZE, sizeof *chunk);
    if (chunk == NULL) {
        return false;
    }
    uint32_t base = wheel->chunk_count << CHUNK_BITS;
    wheel->chunks[wheel->chunk_count++] = chunk;
    for (uint32_t i = CHUNK_SIZE; i-- > 0;) {
        chunk[i].next = wheel->free;
        wheel->free = base + i;
    }
    return true;
}

static void
link_record(struct wheel *wheel, uint32_t index)
{
    struct record *record = at(wheel, index);
    uint64_t ahead = record->tick - wheel->now;
    int level = ahead != 0 ? (63 - __builtin_clzll(ahead)) / LEVEL_BITS : 0;

    uint8_t place = (uint8_t)((record->tick >> (LEVEL_BITS * level)) % LEVEL_SIZE);
    uint32_t *list = &wheel->lists[level][place];
    record->level = (uint8_t)level;
    record->place = place;
    record->next = NONE;
    if (*list == NONE) {
        record->prev = index;
        *list = index;
    } else {
        struct record *first = at(wheel, *list);

        record->prev = first->prev;
        at(wheel, first->prev)->next = index;
        first->prev = index;
    }
    wheel->filled[level] |= UINT64_C(1) << place;
}

static void
unlink_record(struct wheel *wheel, uint32_t index)
{
    struct record *record = at(wheel, index);
    uint32_t *list = &wheel->lists[record->level][record->place];

    if (*list == index) {
        *list = record->next;
    } else {
        at(wheel, record->prev)->next = record->next;
    }
    if (record->next != NONE) {
        at(wheel, record->next)->prev = record->prev;
    } else if (*list != NONE) {
        at(wheel, *list)->prev = record->prev;
    }
    if (*list == NONE) {
        wheel->filled[record->level] &= ~(UINT64_C(1) << record->place);
    }
}

static void
bump(struct record *record)
{
    record->generation = (record->generation + 1) % (UINT32_C(1) << GENERATION_BITS);
}

static void
release(struct wheel *wheel, uint32_t index)
{
    struct record *record = at(wheel, index);

    bump(record);
    if (index != RESERVE) {
        record->next = wheel->free;
        wheel->free = index;
    }
}

// The first tick after now at which a list of this level comes up; UINT64_MAX: none.
// The place where now itself stands comes up last, a whole round later, except that it
// cannot hold anything on the lowest level.
static uint64_t
next_of_level(const struct wheel *wheel, int level)
{
    if (wheel->filled[level] == 0) {
        return UINT64_MAX;
    }
    unsigned shift = (unsigned)(LEVEL_BITS * level);
    uint64_t here = wheel->now >> shift;
    unsigned from = (unsigned)((here + 1) % LEVEL_SIZE);
    uint64_t filled = wheel->filled[level];
    uint64_t turned =
        from == 0 ? filled : (filled >> from) | (filled << (LEVEL_SIZE - from));

    return (here + 1 + (unsigned)__builtin_ctzll(turned)) << shift;
}

static uint64_t
next_tick(const struct wheel *wheel)
{
    uint64_t next = UINT64_MAX;

    for (int level = 0; level < LEVELS; level++) {
        uint64_t tick = next_of_level(wheel, level);
        next = tick < next ? tick : next;
    }
    return next;
}

static void
publish_next(struct wheel *wheel)
{
    uint64_t next = next_tick(wheel);

    // seq_cst: pairs with a worker that writes until when it sleeps and then reads
    // this.
    atomic_store_explicit(&wheel->next_ns,
                          next == UINT64_MAX ? INT64_MAX : (int64_t)next * TICK_NS,
                          memory_order_seq_cst);
}

// Any deadline will do: a long past one is tick 0.
static uint64_t
tick_at_or_after(int64_t deadline_ns)
{
    if (deadline_ns <= 0) {
        return 0;
    }
    return (uint64_t)(deadline_ns / TICK_NS) + (deadline_ns % TICK_NS != 0);
}

// Arms a free record. The lock is held. True: it fires before all others.
static inline __attribute__((always_inline)) bool
arm(struct wheel *wheel, uint32_t index, uint64_t tick,
    const struct timer_action *action)
{
    struct record *record = at(wheel, index);

    record->action = *action;
    bump(record);
    record->tick = tick <= wheel->now ? wheel->now + 1 : tick;
    if (record->tick - wheel->now > HORIZON) {
        record->tick = wheel->now + HORIZON;
    }
    link_record(wheel, index);
    // relaxed: written under this lock only.
    int64_t before = atomic_load_explicit(&wheel->next_ns, memory_order_relaxed);
    bool is_earlier = (int64_t)record->tick * TICK_NS < before;
    if (is_earlier) {
        publish_next(wheel);
    }
    return is_earlier;
}

uint64_t
hark__wheel_arm(struct wheel *wheel, int64_t deadline_ns,
                const struct timer_action *action, bool *out_earlier)
{
    uint64_t tick = tick_at_or_after(deadline_ns);

    lock(wheel);
    if (wheel->free == NONE && !grow(wheel)) {
        unlock(wheel);
        return 0;
    }
    uint32_t index = wheel->free;
    struct record *record = at(wheel, index);
    wheel->free = record->next;
    *out_earlier = arm(wheel, index, tick, action);
    // Ids are unique over 2^25 uses of a record; index + 1 keeps 0 free.
    uint64_t id = (uint64_t)record->generation << 32 | (index + 1);
    unlock(wheel);
    return id;
}

bool
hark__wheel_arm_reserve(struct wheel *wheel, int64_t deadline_ns,
                        const struct timer_action *action)
{
    const struct record *reserve = &wheel->reserve;
    uint64_t tick = tick_at_or_after(deadline_ns);
    bool is_earlier = false;

    lock(wheel);
    bool is_armed = reserve->generation % 2 == 1;
    if (is_armed && tick < reserve->tick) {
        unlink_record(wheel, RESERVE);
        release(wheel, RESERVE);
    }
    if (!is_armed || tick < reserve->tick) {
        is_earlier = arm(wheel, RESERVE, tick, action);
    }
    unlock(wheel);
    return is_earlier;
}

bool
hark__wheel_cancel(struct wheel *wheel, uint64_t id, struct timer_action *out_action)
{
    uint32_t index = (uint32_t)id - 1;
    uint32_t generation = (uint32_t)(id >> 32);
    bool found = false;

    lock(wheel);
    if (index >> CHUNK_BITS < wheel->chunk_count) {
        struct record *record = at(wheel, index);

        if (record->generation == generation && generation % 2 == 1) {
            *out_action = record->action;
            unlink_record(wheel, index);
            release(wheel, index);
            found = true; // next_ns may now be early: it is a lower bound
        }
    }
    unlock(wheel);
    return found;
}

int64_t
hark__wheel_next_ns(const struct wheel *wheel)
{
    // seq_cst: see publish_next.
    return atomic_load_explicit(&wheel->next_ns, memory_order_seq_cst);
}

// Moves the lists of higher levels that come up at this tick down.
static void
cascade(struct wheel *wheel)
{
    for (int level = 1; level < LEVELS; level++) {
        if (wheel->now % (UINT64_C(1) << (LEVEL_BITS * level)) != 0) {
            return;
        }
        unsigned place = (unsigned)((wheel->now >> (LEVEL_BITS * level)) % LEVEL_SIZE);
        uint32_t index = wheel->lists[level][place];

        wheel->lists[level][place] = NONE;
        wheel->filled[level] &= ~(UINT64_C(1) << place);
        while (index != NONE) {
            uint32_t next = at(wheel, index)->next;

            link_record(wheel, index);
            index = next;
        }
    }
}

// Takes up to FIRE_BATCH due actions. True: there may be more.
static bool
collect(struct wheel *wheel, uint64_t until, struct timer_action *out,
        unsigned *out_count)
{
    *out_count = 0;
    for (;;) {
        uint32_t *list = &wheel->lists[0][wheel->now % LEVEL_SIZE];

        while (*list != NONE) {
            uint32_t index = *list;

            if (*out_count == FIRE_BATCH) {
                return true;
            }
            out[(*out_count)++] = at(wheel, index)->action;
            unlink_record(wheel, index);
            release(wheel, index);
        }
        uint64_t next = next_tick(wheel);
        if (next > until) {
            if (until > wheel->now) {
                wheel->now = until;
            }
            return false;
        }
        wheel->now = next;
        cascade(wheel);
    }
}

unsigned
hark__wheel_poll(struct wheel *wheel, int64_t now_ns, void *poll_arg)
{
    struct timer_action due[FIRE_BATCH];
    unsigned fired = 0;
    unsigned count;
    bool more;

    do {
        lock(wheel);
        more = collect(wheel, (uint64_t)(now_ns / TICK_NS), due, &count);
        publish_next(wheel);
        unlock(wheel);
        for (unsigned i = 0; i < count; i++) {
            due[i].fire(poll_arg, &due[i]);
        }
        fired += count;
    } while (more);
    return fired;
}
