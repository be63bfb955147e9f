// crowd.h - many actors at once: fjthrput, fjcreate, spawn, big, chameneos.
//
// The definitions and sizes are those of the Savina suite as our peer programs use it.

#ifndef BENCH_WORKLOADS_CROWD_H
#define BENCH_WORKLOADS_CROWD_H

#include <math.h>
#include <stdatomic.h>

#include "bench.h"

// ---- fjthrput: one actor gives work to 60 others, by turns ----

enum { FORKS = 60, FORK_MESSAGES = 200000 };

HARK_MESSAGE(work)

typedef struct {
    hark_ref owner;
    int64_t worked;
} laborer;

// The suite's piece of work: the square of sin(37.2). Volatile, or the compiler does it
// once, before we start.
static void
do_piece_of_work(void)
{
    volatile double angle = 37.2;
    volatile double sink;
    double sine = sin(angle);

    sink = sine * sine;
    (void)sink;
}

HARK_ON(laborer, work) {
    do_piece_of_work();
    if (++self->worked == FORK_MESSAGES) {
        hark_tell(ctx, self->owner, done, .value = self->worked);
    }
}

HARK_ACTOR(laborer, work)

typedef struct {
    const hark_ref *laborers; // FORKS of them
    int64_t rounds_left;
} foreman;

// One message to each: about a SLICE.
HARK_ON(foreman, go) {
    for (int i = 0; i < FORKS; i++) {
        hark_tell(ctx, self->laborers[i], work);
    }
    if (--self->rounds_left > 0) {
        hark_tell(ctx, hark_self(ctx), go);
    }
}

HARK_ACTOR(foreman, go)

static void
run_fjthrput(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_ref laborers[FORKS];
    hark_ref head;
    double began;

    for (int i = 0; i < FORKS; i++) {
        laborers[i] = need_actor(me, hark_spawn(me, laborer, .owner = hark_self(me)));
    }
    head = need_actor(me, hark_spawn(me, foreman, .laborers = laborers,
                                     .rounds_left = FORK_MESSAGES));
    began = measure_now();
    hark_tell(me, head, go);
    expect_count("work done", await_done(bench, FORKS), FORKS * FORK_MESSAGES);
    figure_add_rate(bench->figures, FORKS * FORK_MESSAGES, began, "msg/s");
}

// ---- spawn: actors are born, get one message, and end ----

enum { SPAWNS = 1000000 };

// What all of them share.
struct brood {
    _Atomic(int64_t) left; // every mayfly takes one off; the last one tells the owner
    hark_ref owner;
};

typedef struct {
    struct brood *brood;
} mayfly;

HARK_ON(mayfly, go) {
    // Relaxed: the count is all that is shared, and `done` orders what comes after.
    if (atomic_fetch_sub_explicit(&self->brood->left, 1, memory_order_relaxed) == 1) {
        hark_tell(ctx, self->brood->owner, done, .value = SPAWNS);
    }
    hark_exit(ctx);
}

HARK_ACTOR(mayfly, go)

typedef struct {
    struct brood *brood;
    int64_t unborn;
} breeder;

HARK_ON(breeder, go) {
    for (int i = 0; i < SLICE && self->unborn > 0; i++) {
        hark_ref child = need_actor(ctx, hark_spawn(ctx, mayfly, .brood = self->brood));

        hark_tell(ctx, child, go);
        self->unborn--;
    }
    if (self->unborn > 0) {
        hark_tell(ctx, hark_self(ctx), go);
    }
}

HARK_ACTOR(breeder, go)

static void
run_spawn(struct bench *bench)
{
    hark_ctx *me = bench->me;
    struct brood brood = {.owner = hark_self(me)};
    hark_ref source =
        need_actor(me, hark_spawn(me, breeder, .brood = &brood, .unborn = SPAWNS));
    double began;

    atomic_init(&brood.left, SPAWNS);
    began = measure_now();
    hark_tell(me, source, go);
    await_done(bench, 1);
    figure_add_rate(bench->figures, SPAWNS, began, "actor/s");
    // Relaxed: nobody writes it any more, and `done` came from the last who did.
    expect_count("unborn", atomic_load_explicit(&brood.left, memory_order_relaxed), 0);
}

// ---- fjcreate: each piece of work gets an actor of its own ----

enum { FJ_ACTORS = 40000, FJ_REPEATS = 25 };

typedef struct {
    hark_ref parent;
} forked;

HARK_ON(forked, work) {
    do_piece_of_work();
    hark_tell(ctx, self->parent, done, .value = 1);
    hark_exit(ctx);
}

HARK_ACTOR(forked, work)

// Forks FJ_ACTORS, joins them all, and does so again.
typedef struct {
    hark_ref owner;
    int64_t unforked; // of this repeat
    int64_t unjoined;
    int64_t joined; // ever
    int64_t repeats_left;
} forker;

HARK_ON(forker, go) {
    for (int i = 0; i < SLICE && self->unforked > 0; i++) {
        hark_ref child =
            need_actor(ctx, hark_spawn(ctx, forked, .parent = hark_self(ctx)));

        hark_tell(ctx, child, work);
        self->unforked--;
    }
    if (self->unforked > 0) {
        hark_tell(ctx, hark_self(ctx), go);
    }
}

HARK_ON(forker, done) {
    self->joined += msg->value;
    if (--self->unjoined > 0) {
        return;
    }
    if (--self->repeats_left == 0) {
        hark_tell(ctx, self->owner, done, .value = self->joined);
        return;
    }
    self->unforked = self->unjoined = FJ_ACTORS;
    hark_tell(ctx, hark_self(ctx), go);
}

HARK_ACTOR(forker, go, done)

static void
run_fjcreate(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_ref root = need_actor(
        me, hark_spawn(me, forker, .owner = hark_self(me), .unforked = FJ_ACTORS,
                       .unjoined = FJ_ACTORS, .repeats_left = FJ_REPEATS));
    double began = measure_now();

    hark_tell(me, root, go);
    expect_count("actors joined", await_done(bench, 1), FJ_ACTORS * FJ_REPEATS);
    figure_add_rate(bench->figures, FJ_ACTORS * FJ_REPEATS, began, "actor/s");
}

// ---- big: everybody talks to anybody ----

enum { TALKERS = 120, HAILS = 20000 };

HARK_MESSAGE(hail)
HARK_MESSAGE(hail_back)

typedef struct {
    const hark_ref *talkers; // all of them, this one too
    hark_ref owner;
    uint32_t random; // state of the generator
    int64_t hailed_back;
} talker;

static void
hail_anybody(hark_ctx *ctx, talker *self)
{
    self->random = self->random * 1664525u + 1013904223u; // low bits are poor
    hark_tell(ctx, self->talkers[(self->random >> 8) % TALKERS], hail);
}

HARK_ON(talker, go) {
    hail_anybody(ctx, self);
}

HARK_ON(talker, hail) {
    hark_tell(ctx, hark_sender(ctx), hail_back);
}

HARK_ON(talker, hail_back) {
    if (++self->hailed_back == HAILS) {
        hark_tell(ctx, self->owner, done, .value = self->hailed_back);
    } else {
        hail_anybody(ctx, self);
    }
}

HARK_ACTOR(talker, go, hail, hail_back)

static void
run_big(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_ref talkers[TALKERS];
    double began;

    for (uint32_t i = 0; i < TALKERS; i++) {
        talkers[i] =
            need_actor(me, hark_spawn(me, talker, .talkers = talkers,
                                      .owner = hark_self(me), .random = i + 1));
    }
    began = measure_now();
    for (int i = 0; i < TALKERS; i++) {
        hark_tell(me, talkers[i], go);
    }
    expect_count("hails back", await_done(bench, TALKERS), TALKERS * HAILS);
    figure_add_rate(bench->figures, 2.0 * TALKERS * HAILS, began, "msg/s");
}

// ---- chameneos: creatures meet in pairs, at one place, and change colour ----

enum { CREATURES = 100, MEETINGS = 2000000, COLORS = 3 };

HARK_MESSAGE(arrive, (i32, color))
HARK_MESSAGE(meet, (ref, other), (i32, color))
HARK_MESSAGE(recolor, (i32, color))
HARK_MESSAGE(closing)
HARK_MESSAGE(farewell, (i64, meetings))

// The place: pairs whoever comes, and closes when it has seen enough.
typedef struct {
    hark_ref owner;
    hark_ref waiting; // null: nobody
    int64_t meetings_left;
    int64_t meetings_seen; // by creatures: two a meeting
    int creatures_left;
} mall;

HARK_ON(mall, arrive) {
    if (self->meetings_left == 0) {
        hark_tell(ctx, hark_sender(ctx), closing);
    } else if (hark_ref_is_null(self->waiting)) {
        self->waiting = hark_sender(ctx);
    } else {
        self->meetings_left--;
        hark_tell(ctx, self->waiting, meet, .other = hark_sender(ctx),
                  .color = msg->color);
        self->waiting = (hark_ref){0};
    }
}

HARK_ON(mall, farewell) {
    self->meetings_seen += msg->meetings;
    if (--self->creatures_left == 0) {
        hark_tell(ctx, self->owner, done, .value = self->meetings_seen);
    }
}

HARK_ACTOR(mall, arrive, farewell)

typedef struct {
    hark_ref place;
    int64_t meetings;
    int32_t color;
} creature;

// Equal colours stay, different ones both become the third.
static int32_t
mix_colors(int32_t a, int32_t b)
{
    return a == b ? a : COLORS - a - b;
}

HARK_ON(creature, go) {
    hark_tell(ctx, self->place, arrive, .color = self->color);
}

HARK_ON(creature, meet) {
    self->color = mix_colors(self->color, msg->color);
    self->meetings++;
    hark_tell(ctx, msg->other, recolor, .color = self->color);
    hark_tell(ctx, self->place, arrive, .color = self->color);
}

HARK_ON(creature, recolor) {
    self->color = msg->color;
    self->meetings++;
    hark_tell(ctx, self->place, arrive, .color = self->color);
}

HARK_ON(creature, closing) {
    hark_tell(ctx, self->place, farewell, .meetings = self->meetings);
    hark_exit(ctx);
}

HARK_ACTOR(creature, go, meet, recolor, closing)

static void
run_chameneos(struct bench *bench)
{
    hark_ctx *me = bench->me;
    double began = measure_now();
    hark_ref place = need_actor(me, hark_spawn(me, mall, .owner = hark_self(me),
                                               .meetings_left = MEETINGS,
                                               .creatures_left = CREATURES));

    for (int32_t i = 0; i < CREATURES; i++) {
        hark_ref guest = need_actor(
            me, hark_spawn(me, creature, .place = place, .color = i % COLORS));

        hark_tell(me, guest, go);
    }
    expect_count("meetings seen", await_done(bench, 1), 2 * MEETINGS);
    figure_add_rate(bench->figures, MEETINGS, began, "meeting/s");
}

#endif // BENCH_WORKLOADS_CROWD_H
