// Nets: two nets of one process and what came to each, for tests that must hold over
// every transport.

#ifndef UNIT_NET_NETS_H
#define UNIT_NET_NETS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "net/net.h"

enum { NETS_LIMIT_BYTES = 32 * 1024 * 1024, NETS_WAIT_S = 20, TICK_MS = 50 };

enum carrier { OVER_MEM, OVER_IPC, OVER_TCP };

// A sink that notes what comes. Each frame's first 8 bytes are its number.
struct place {
    struct sink sink; // first
    struct net *net;
    pthread_mutex_t lock; // guards all below
    pthread_cond_t moved;
    struct pipe *pipe; // of the last frame
    struct kept kept;  // a frame's memory, while the next one comes
    size_t kept_bytes;
    uint64_t kept_frames;
    uint64_t frames, bytes, next, disorder, bad;
    uint64_t gone, ticks;
    const void *where;     // of the poll in hand
    uint64_t guest_frames; // those that a guest polled
    uint64_t guest_run;    // of them, since our own thread had one
    char why[128];
    bool echoes;      // sends each frame back
    bool closes;      // closes the pipe with the next frame
    bool keeps;       // does not close a pipe that is gone
    struct pipe *end; // to be closed with the next tick
    int64_t tick_ns;  // between ticks that nobody asks for
};

struct nets {
    enum carrier carrier;
    struct hark_hub *hub;
    struct place here, there;
    char endpoint[256]; // of there
};

static inline bool
place_is_filled(const uint8_t *data, size_t size)
{
    for (size_t i = 8; i < size; i++) {
        if (data[i] != (uint8_t)(i * 7)) {
            return false;
        }
    }
    return true;
}

// Gives a frame with that number.
static inline uint8_t *
place_frame(uint64_t number, size_t size)
{
    uint8_t *data = malloc(size);

    assert_non_null(data);
    memcpy(data, &number, sizeof number);
    for (size_t i = 8; i < size; i++) {
        data[i] = (uint8_t)(i * 7);
    }
    return data;
}

static inline void
place_on_begin(struct sink *sink, void *where)
{
    struct place *place = (struct place *)sink;

    pthread_mutex_lock(&place->lock);
    place->where = where;
    pthread_mutex_unlock(&place->lock);
}

// What was kept of a frame before is as it was.
static inline void
place_let_go(struct place *place)
{
    if (place->kept.handle != NULL) {
        place->bad += !place_is_filled(place->kept.data, place->kept_bytes);
        place->kept.release(place->kept.handle);
        place->kept = (struct kept){NULL, NULL, NULL};
    }
}

static inline void
place_on_frame(struct sink *sink, struct pipe *pipe, struct arrival *arrival)
{
    struct place *place = (struct place *)sink;
    const uint8_t *data = arrival->data;
    size_t size = arrival->size;
    uint64_t number = UINT64_MAX;

    if (size >= sizeof number) {
        memcpy(&number, data, sizeof number);
    }
    pthread_mutex_lock(&place->lock);
    place_let_go(place);
    if (number % 2 == 0 && arrival->keep(arrival, 0, &place->kept)) {
        place->bad += place->kept.data != data;
        place->kept_bytes = size;
        place->kept_frames++;
    }
    place->pipe = pipe;
    place->frames++;
    place->guest_frames += place->where != NULL;
    place->guest_run = place->where != NULL ? place->guest_run + 1 : 0;
    place->bytes += size;
    place->disorder += number != place->next;
    place->next = number + 1;
    place->bad += !place_is_filled(data, size);
    bool echoes = place->echoes;
    bool closes = place->closes;
    place->closes = false;
    pthread_cond_broadcast(&place->moved);
    pthread_mutex_unlock(&place->lock);
    if (echoes) {
        (void)hark__pipe_send(pipe, data, size);
    }
    if (closes) {
        hark__pipe_close(pipe);
    }
}

// From now on the place does not close its pipes by itself.
static inline void
place_keep(struct place *place)
{
    pthread_mutex_lock(&place->lock);
    place->keeps = true;
    pthread_mutex_unlock(&place->lock);
}

static inline void
place_on_gone(struct sink *sink, struct pipe *pipe, hark_err err, const char *why)
{
    struct place *place = (struct place *)sink;

    (void)err;
    pthread_mutex_lock(&place->lock);
    place->gone++;
    snprintf(place->why, sizeof place->why, "%s", why);
    place->end = place->end == pipe ? NULL : place->end;
    bool keeps = place->keeps;
    pthread_cond_broadcast(&place->moved);
    pthread_mutex_unlock(&place->lock);
    if (!keeps) {
        hark__pipe_close(pipe);
    }
}

static inline int64_t
place_on_tick(struct sink *sink)
{
    struct place *place = (struct place *)sink;

    pthread_mutex_lock(&place->lock);
    struct pipe *end = place->end;
    place->end = NULL;
    place->ticks++;
    int64_t tick_ns = place->tick_ns;
    pthread_cond_broadcast(&place->moved);
    pthread_mutex_unlock(&place->lock);
    if (end != NULL) {
        hark__pipe_close(end);
    }
    return hark__env_now(hark__env_real()) + tick_ns;
}

// Sets one of its flags, which the poller reads.
static inline void
place_set(struct place *place, bool *flag)
{
    pthread_mutex_lock(&place->lock);
    *flag = true;
    pthread_mutex_unlock(&place->lock);
}

static inline void
place_clear(struct place *place, bool *flag)
{
    pthread_mutex_lock(&place->lock);
    *flag = false;
    pthread_mutex_unlock(&place->lock);
}

// The number that the next frame should have.
static inline void
place_expect(struct place *place, uint64_t next)
{
    pthread_mutex_lock(&place->lock);
    place->next = next;
    pthread_mutex_unlock(&place->lock);
}

// One of its counts, which the poller writes.
static inline uint64_t
place_get(struct place *place, const uint64_t *count)
{
    pthread_mutex_lock(&place->lock);
    uint64_t value = *count;
    pthread_mutex_unlock(&place->lock);
    return value;
}

static inline struct pipe *
place_pipe(struct place *place)
{
    pthread_mutex_lock(&place->lock);
    struct pipe *pipe = place->pipe;
    pthread_mutex_unlock(&place->lock);
    return pipe;
}

// Waits until *count is at least `least`; fails the test after NETS_WAIT_S.
static inline void
place_wait(struct place *place, const uint64_t *count, uint64_t least)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += NETS_WAIT_S;
    pthread_mutex_lock(&place->lock);
    int late = 0;
    while (*count < least && late == 0) {
        late = pthread_cond_timedwait(&place->moved, &place->lock, &until);
    }
    uint64_t got = *count;
    pthread_mutex_unlock(&place->lock);
    if (got < least) {
        fail_msg("waited for %llu, got %llu", (unsigned long long)least,
                 (unsigned long long)got);
    }
}

static inline void
place_open(struct place *place, struct hark_hub *hub, uint32_t tick_ms)
{
    place->sink =
        (struct sink){place_on_begin, place_on_frame, place_on_gone, place_on_tick};
    pthread_mutex_init(&place->lock, NULL);
    pthread_cond_init(&place->moved, NULL);
    place->tick_ns = tick_ms * INT64_C(1000000);
    place->net = hark__net_open(&(struct net_options){
        .env = hark__env_real(),
        .sink = &place->sink,
        .frame_limit_bytes = NETS_LIMIT_BYTES,
        .hub = hub,
    });
    assert_non_null(place->net);
    hark__net_kick(place->net); // for the first one
}

static inline void
place_close(struct place *place)
{
    if (place->net != NULL) {
        hark__net_close(place->net, 200);
        place->net = NULL;
    }
}

static inline void
place_fini(struct place *place)
{
    place_close(place);
    place_let_go(place); // kept memory outlives the net
    pthread_cond_destroy(&place->moved);
    pthread_mutex_destroy(&place->lock);
}

// Closes a pipe in its poller thread.
static inline void
place_end(struct place *place, struct pipe *pipe)
{
    pthread_mutex_lock(&place->lock);
    place->end = pipe;
    uint64_t ticks = place->ticks;
    pthread_mutex_unlock(&place->lock);
    hark__net_kick(place->net);
    place_wait(place, &place->ticks, ticks + 1);
}

// Sends one frame: an even one as a copy, an odd one with its memory. False: refused.
static inline bool
place_send(struct pipe *pipe, uint64_t number, size_t size)
{
    uint8_t *data = place_frame(number, size);

    if (number % 2 == 1) {
        return hark__pipe_give(pipe, data, size) == HARK_OK;
    }
    hark_err err = hark__pipe_send(pipe, data, size);
    free(data);
    return err == HARK_OK;
}

static inline const char *
nets_wish(enum carrier carrier)
{
    static char ipc[128];

    snprintf(ipc, sizeof ipc, "ipc://@hark-unit-net-%ld", (long)getpid());
    return carrier == OVER_MEM   ? "mem://there"
           : carrier == OVER_IPC ? ipc
                                 : "tcp://127.0.0.1:0";
}

// Two nets, of which there listens.
static inline struct nets *
nets_open(enum carrier carrier)
{
    struct nets *nets = calloc(1, sizeof *nets);
    char error[256] = "";

    assert_non_null(nets);
    nets->carrier = carrier;
    nets->hub = hark__hub_new();
    assert_non_null(nets->hub);
    place_open(&nets->here, nets->hub, TICK_MS);
    place_open(&nets->there, nets->hub, TICK_MS);
    if (hark__net_listen(nets->there.net, nets_wish(carrier), nets->endpoint,
                         sizeof nets->endpoint, error, sizeof error)
        != HARK_OK) {
        fail_msg("%s", error);
    }
    return nets;
}

static inline struct pipe *
nets_connect(struct nets *nets)
{
    struct pipe *pipe = NULL;
    char error[256] = "";

    if (hark__net_connect(nets->here.net, nets->endpoint, NULL, &pipe, error,
                          sizeof error)
        != HARK_OK) {
        fail_msg("%s", error);
    }
    return pipe;
}

static inline void
nets_close(struct nets *nets)
{
    place_fini(&nets->here);
    place_fini(&nets->there);
    hark__hub_release(nets->hub);
    free(nets);
}

#endif // UNIT_NET_NETS_H
