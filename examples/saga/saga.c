// A saga: several steps at different services, none of which can take part in a common
// transaction. If one fails, those that were done are undone, the last one first.
//
//     saga [TRAVELLERS]      that many trips at once, 20 by default
//
// A trip books a flight, a room and a car, each with a service that has few of them,
// and pays. Its handler reads from top to bottom, since it waits (hark_await) where it
// stands. The trip has a deadline (the time its asker gives it); undoing has one of its
// own, under a shield, since it must also happen when nobody waits for the trip any
// more.

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <hark/hark.h>

enum { STEPS = 3, UNDO_MS = 2000, MAX_TRAVELLERS = 10000 };

HARK_MESSAGE(book, (str, who))
HARK_MESSAGE(booked, (i64, number))
HARK_MESSAGE(unbook, (i64, number))
HARK_MESSAGE(unbooked)
HARK_MESSAGE(pay, (str, who), (i64, cents))
HARK_MESSAGE(paid)
HARK_MESSAGE(get_free)
HARK_MESSAGE(free_places, (i64, count))
HARK_MESSAGE(take_trip, (str, who), (i64, cents))
HARK_MESSAGE(trip, (i64, flight), (i64, room), (i64, car))

// ---- services ----

typedef struct {
    int64_t free;
    int64_t last;
} service;

HARK_ON(service, book) {
    if (self->free == 0) {
        hark_refuse(ctx, HARK_EUSER, "nothing left for %s", msg->who.ptr);
        return;
    }
    self->free--;
    hark_reply(ctx, booked, .number = ++self->last);
}
HARK_ON(service, unbook) {
    self->free++;
    hark_reply(ctx, unbooked);
}
HARK_ON(service, get_free) {
    hark_reply(ctx, free_places, .count = self->free);
}
HARK_ACTOR(service, book, unbook, get_free)

typedef struct {
    int64_t earned;
} bank;

HARK_ON(bank, pay) {
    if (msg->cents < 30000) {
        hark_refuse(ctx, HARK_EUSER, "%s has only %" PRId64 " cents", msg->who.ptr,
                    msg->cents);
        return;
    }
    self->earned += 30000;
    hark_reply(ctx, paid);
}
HARK_ACTOR(bank, pay)

// ---- the saga ----

typedef struct {
    hark_ref services[STEPS]; // in the order in which they are booked
    hark_ref bank;
} agent;

// Undoes the first `done` steps, the last one first. What cannot be undone is said aloud:
// somebody must look after it.
static void
undo(hark_ctx *ctx, const agent *self, const int64_t *numbers, int done)
{
    if (hark_shield(ctx, UNDO_MS) != HARK_OK) {
        fprintf(stderr, "saga: no memory to undo a trip\n");
        return;
    }
    while (done-- > 0) {
        hark_future undone =
            hark_ask(ctx, self->services[done], unbook, .number = numbers[done]);

        if (hark_await(ctx, undone, unbooked) == NULL) {
            fprintf(stderr, "saga: booking %" PRId64 " was not undone: %s\n",
                    numbers[done], hark_error_of(ctx)->text);
        }
    }
    hark_shield_end(ctx);
}

// Gives up: undoes what was done and refuses with the error that stopped the trip.
static void
give_up(hark_ctx *ctx, const agent *self, const int64_t *numbers, int done)
{
    const hark_error *error = hark_error_of(ctx);
    int code = error->code;
    hark_str why = hark_format(ctx, "%s", error->text);

    undo(ctx, self, numbers, done);
    hark_refuse(ctx, code, "%s", why.ptr);
}

HARK_ON(agent, take_trip) {
    int64_t numbers[STEPS];

    for (int i = 0; i < STEPS; i++) {
        const booked *b = hark_await(
            ctx, hark_ask(ctx, self->services[i], book, .who = msg->who), booked);

        if (b == NULL) {
            give_up(ctx, self, numbers, i);
            return;
        }
        numbers[i] = b->number;
    }
    hark_future bill =
        hark_ask(ctx, self->bank, pay, .who = msg->who, .cents = msg->cents);
    if (hark_await(ctx, bill, paid) == NULL) {
        give_up(ctx, self, numbers, STEPS);
        return;
    }
    hark_reply(ctx, trip, .flight = numbers[0], .room = numbers[1], .car = numbers[2]);
}
// Many trips at once: while one waits, the next begins.
HARK_ACTOR_WITH(agent, (interleave), take_trip)

// ---- the program ----

static int64_t
count_free(hark_ctx *me, hark_ref of)
{
    const free_places *f = hark_await(me, hark_ask(me, of, get_free), free_places);

    return f != NULL ? f->count : -1;
}

// Every other traveller is poor.
static int64_t
cents_of(int traveller)
{
    return traveller % 2 == 0 ? 50000 : 100;
}

static int
run(hark_ctx *me, int travellers)
{
    hark_ref flights = hark_spawn(me, service, .free = 100);
    hark_ref rooms = hark_spawn(me, service, .free = 100);
    hark_ref cars = hark_spawn(me, service, .free = 5);
    hark_ref office = hark_spawn(me, agent, .services = {flights, rooms, cars},
                                 .bank = hark_spawn(me, bank));
    hark_future *trips = calloc((size_t)travellers, sizeof *trips);
    int taken = 0;

    if (trips == NULL) {
        fprintf(stderr, "saga: no memory\n");
        return 1;
    }
    for (int i = 0; i < travellers; i++) {
        hark_str who = hark_format(me, "traveller %d", i);

        trips[i] = hark_ask(me, office, take_trip, .who = who, .cents = cents_of(i));
    }
    for (int i = 0; i < travellers; i++) {
        const trip *t = hark_await(me, trips[i], trip);

        if (t != NULL) {
            taken++;
            printf("traveller %d: flight %" PRId64 ", room %" PRId64 ", car %" PRId64
                   "\n",
                   i, t->flight, t->room, t->car);
        } else {
            printf("traveller %d stays at home: %s\n", i, hark_error_of(me)->text);
        }
    }
    free(trips);
    int64_t left[STEPS] = {count_free(me, flights), count_free(me, rooms),
                           count_free(me, cars)};
    bool adds_up =
        left[0] == 100 - taken && left[1] == 100 - taken && left[2] == 5 - taken;
    printf("%d trips; left: %" PRId64 " flights, %" PRId64 " rooms, %" PRId64
           " cars: %s\n",
           taken, left[0], left[1], left[2], adds_up ? "nothing is lost" : "WRONG");
    return adds_up ? 0 : 1;
}

int
main(int argc, char **argv)
{
    int travellers = argc > 1 ? atoi(argv[1]) : 20;

    if (argc > 2 || travellers < 1 || travellers > MAX_TRAVELLERS) {
        fprintf(stderr, "usage: saga [TRAVELLERS], from 1 to %d\n", MAX_TRAVELLERS);
        return 2;
    }
    hark_system *system = hark_start(NULL);
    hark_ctx *me = hark_attach(system);
    if (me == NULL) {
        fprintf(stderr, "saga: cannot start\n");
        return 1;
    }
    int status = run(me, travellers);
    return hark_stop(system, HARK_SECONDS(5)) == HARK_OK ? status : 1;
}
