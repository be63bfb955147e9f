// Senders race with links that go and come: a guest connects again and again as the same
// node, is told something all the time, and goes in the middle of it. Its links share
// their memory, one after the other; each must start from nothing.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>

#include <cmocka.h>

#include <hark/hark.h>

#include "net/net.h"
#include "wire/entry.h"
#include "wire/frame.h"

#define ENDPOINT "mem://stress-links"
#define GUEST UINT64_C(0x1234567)    // its incarnation
#define WAIT_NS INT64_C(50000000000) // of one round: the machine may be busy

HARK_MESSAGE(news, (u64, number), (str, text))

enum {
    SENDERS = 2,
    ROUNDS = 300,
    ENOUGH = 40, // messages of a round
    LEAST_TOLD = ROUNDS * ENOUGH,
};

// A guest, by hand. Its sink's functions run on one thread at a time.
struct guest {
    struct sink sink; // first
    struct net *net;
    uint64_t seq;
    uint32_t types, told;
    bool closed;              // this round's pipe
    _Atomic(uint32_t) rounds; // that are over
    _Atomic(uint32_t) faults;
};

struct fixture {
    struct hark_hub *hub;
    hark_system *system;
    struct guest guest;
    _Atomic(bool) ending;
    _Atomic(uint64_t) taken; // tells that the link took
};

// ---- the guest ----

static void
fault(struct guest *guest)
{
    // relaxed: looked at when all is over.
    atomic_fetch_add_explicit(&guest->faults, 1, memory_order_relaxed);
}

static void
take_envelope(struct guest *guest, const struct envelope *envelope)
{
    if (envelope->kind != ENVELOPE_TELL) {
        return;
    }
    if (envelope->type >= guest->types || envelope->target != 7) {
        fault(guest);
    }
    guest->told++;
}

static void
take_batch(struct guest *guest, struct frame *frame)
{
    struct entry entry = {0};
    char error[200];
    hark_err err;

    if (frame->seq != ++guest->seq) {
        fault(guest);
    }
    while (hark__entry_next(&frame->entries, &entry, &err, error, sizeof error)) {
        if (err != HARK_OK || (entry.kind == ENTRY_TYPES && entry.types.first != 0)) {
            fault(guest);
        } else if (entry.kind == ENTRY_TYPES) {
            guest->types += entry.types.left;
        } else if (entry.kind == ENTRY_ENVELOPE) {
            take_envelope(guest, &entry.envelope);
        }
    }
}

static void
leave(struct guest *guest, struct pipe *pipe)
{
    hark__pipe_close(pipe);
    guest->closed = true;
    atomic_fetch_add(&guest->rounds, 1);
}

static void
on_begin(struct sink *sink, void *where)
{
    (void)sink;
    (void)where;
}

static void
on_frame(struct sink *sink, struct pipe *pipe, struct arrival *arrival)
{
    const uint8_t *data = arrival->data;
    size_t size = arrival->size;
    struct guest *guest = (struct guest *)sink;
    struct frame frame;
    char error[200];

    if (guest->closed) {
        return;
    }
    if (hark__frame_decode(data, size, &frame, error, sizeof error) != HARK_OK) {
        fault(guest);
    } else if (frame.kind == FRAME_BATCH) {
        take_batch(guest, &frame);
    }
    if (guest->told >= ENOUGH) {
        leave(guest, pipe);
    }
}

static void
on_gone(struct sink *sink, struct pipe *pipe, hark_err err, const char *why)
{
    (void)err;
    (void)why;
    fault((struct guest *)sink); // it is always we who go
    leave((struct guest *)sink, pipe);
}

static int64_t
on_tick(struct sink *sink)
{
    (void)sink;
    return INT64_MAX;
}

static void
say_hello(struct guest *guest)
{
    const struct hello hello = {
        .version_min = WIRE_VERSION,
        .version_max = WIRE_VERSION,
        .node_name = HARK_STR("guest"),
        .incarnation = GUEST,
        .flags = HELLO_GUEST | HELLO_REPEATS,
        .heartbeat_ms = 60000,
        .max_frame_bytes = 100000,
    };
    struct bytes frame;
    struct pipe *pipe;
    char error[200];

    // No pipe of ours is open: nobody calls the sink.
    guest->seq = guest->types = guest->told = 0;
    guest->closed = false;
    if (hark__net_connect(guest->net, ENDPOINT, NULL, &pipe, error, sizeof error)
        != HARK_OK) {
        fail_msg("%s", error);
    }
    hark__bytes_init(&frame);
    hark__frame_hello(&frame, FRAME_HELLO, &hello);
    assert_int_equal(hark__pipe_send(pipe, frame.data, frame.size), HARK_OK);
    hark__bytes_fini(&frame);
}

// ---- the senders ----

static void *
send_on_and_on(void *arg)
{
    struct fixture *f = arg;
    hark_ctx *me = hark_attach(f->system);
    uint64_t number = 0;

    while (!atomic_load(&f->ending)) {
        hark_err err = hark_tell(me, ((hark_ref){GUEST, 7}), news, .number = number++,
                                 .text = HARK_STR("what has happened"));

        // relaxed: a count.
        atomic_fetch_add_explicit(&f->taken, err == HARK_OK, memory_order_relaxed);
        if (err != HARK_OK) {
            sched_yield();
        }
    }
    hark_detach(me);
    return NULL;
}

// ---- the test ----

static int
setup(void **state)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;

    f->hub = hark_hub_new();
    assert_non_null(f->hub);
    f->system = hark_start(&(hark_options){.hub = f->hub, .workers = 2});
    assert_non_null(f->system);
    f->guest.sink = (struct sink){on_begin, on_frame, on_gone, on_tick};
    f->guest.net = hark__net_open(&(struct net_options){
        .env = hark__env_real(),
        .sink = &f->guest.sink,
        .frame_limit_bytes = 1000000,
        .hub = f->hub,
    });
    assert_non_null(f->guest.net);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    hark__net_close(f->guest.net, 0);
    hark_stop(f->system, 5000);
    hark_hub_free(f->hub);
    return 0;
}

static void
each_link_starts_from_nothing_whoever_is_sending(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = hark_attach(f->system);
    pthread_t threads[SENDERS];

    assert_int_equal(hark_listen(me, ENDPOINT, NULL, 0), HARK_OK);
    for (int i = 0; i < SENDERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, send_on_and_on, f), 0);
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        int64_t deadline = hark__env_now(hark__env_real()) + WAIT_NS;

        say_hello(&f->guest);
        while (atomic_load(&f->guest.rounds) == round) {
            if (hark__env_now(hark__env_real()) > deadline) {
                fail_msg("round %u of %u does not end", round + 1, ROUNDS);
            }
            sched_yield();
        }
    }
    atomic_store(&f->ending, true);
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(threads[i], NULL);
    }
    hark_detach(me);
    assert_int_equal(atomic_load(&f->guest.faults), 0);
    assert_true(atomic_load(&f->taken) >= LEAST_TOLD);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            each_link_starts_from_nothing_whoever_is_sending, setup, teardown),
    };

    return cmocka_run_group_tests_name("links", tests, NULL, NULL);
}
