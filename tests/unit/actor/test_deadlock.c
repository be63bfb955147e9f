// Probes from other nodes that lie, or are of no use: they end no wait, and do no harm.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "actor/probe.h"
#include "hark/hark.h"

enum { LIES = 5000 };

HARK_MESSAGE(hold)
HARK_MESSAGE(let_go)
HARK_MESSAGE(tally)
HARK_MESSAGE(answer, (i64, n))
HARK_MESSAGE(work, (ref, whom))

typedef struct {
    hark_promise held;
    int64_t count;
} gate;
HARK_ON(gate, hold) {
    self->held = hark_defer(ctx);
    self->count++;
}
HARK_ON(gate, let_go) {
    hark_fulfil(ctx, self->held, answer, .n = self->count);
}
HARK_ON(gate, tally) {
    hark_reply(ctx, answer, .n = self->count);
}
HARK_ACTOR(gate, hold, let_go, tally)

typedef struct {
    char nothing;
} worker;
HARK_ON(worker, work) {
    const answer *a = hark_await(ctx, hark_ask(ctx, msg->whom, hold), answer);

    hark_reply(ctx, answer, .n = a != NULL ? a->n : -hark_error_of(ctx)->code);
}
HARK_ACTOR(worker, work)

static int64_t
take(hark_ctx *me, hark_future f)
{
    const answer *a = hark_await(me, f, answer);

    return a != NULL ? a->n : INT64_MIN;
}

// Waits until the gate has been asked so often.
static void
until(hark_ctx *me, hark_ref whom, int64_t count)
{
    while (take(me, hark_ask(me, whom, tally)) < count) {
    }
}

// Whatever a peer says about the ask `asked` of asker to `to`.
static void
lie(hark_ctx *peer, hark_ref to, hark_ref asker, uint64_t asked)
{
    for (uint64_t i = 0; i < LIES; i++) {
        hark__probe_from(peer, to, asker,
                         &(struct probe){.origin = i % 2 == 0 ? to : asker,
                                         .wait = (i % 7 + 1) << 32 | i % 5,
                                         .nonce = i * i,
                                         .asked = asked,
                                         .hops = (uint32_t)(i % 3 == 0 ? i : 1)},
                         i % 4 == 0 ? HARK_STR("") : HARK_STR("x waits for "));
    }
}

static void
lies_end_no_wait(void **state)
{
    hark_system *system =
        hark_start(&(hark_options){.workers = 2, .ask_timeout_ms = HARK_SECONDS(55)});
    hark_ctx *me = hark_attach(system);
    hark_ctx *peer = hark__service_open(hark__ctx_node(me));
    hark_ref whom = hark_spawn(me, gate), who = hark_spawn(me, worker);

    (void)state;
    hark_future f = hark_ask(me, who, work, .whom = whom);
    until(me, whom, 1);
    hark_future aside = hark_ask(me, who, work, .whom = whom);
    lie(peer, who, hark_self(me), aside.id);        // is set aside
    lie(peer, who, hark_self(me), f.id);            // is in hand
    lie(peer, who, (hark_ref){77, 1}, 1);           // never was
    lie(peer, whom, who, UINT64_C(1) << 32);        // is deferred, if that is its name
    lie(peer, hark_self(me), who, 1);               // of a thread
    lie(peer, (hark_ref){who.node, 99999}, who, 1); // of nobody
    hark_tell(me, whom, let_go);
    assert_int_equal(take(me, f), 1);
    until(me, whom, 2);
    lie(peer, who, hark_self(me), aside.id);
    hark_tell(me, whom, let_go);
    assert_int_equal(take(me, aside), 2);
    // What came is looked at, and counts no more: more may come.
    for (int i = 0; i < 100; i++) {
        lie(peer, who, hark_self(me), 1);
        until(me, whom, 2);
    }
    hark__service_close(peer);
    assert_int_equal(hark_stop(system, HARK_SECONDS(10)), HARK_OK);
}

static void
a_long_path_is_cut(void **state)
{
    static char text[3000];
    hark_system *system =
        hark_start(&(hark_options){.workers = 1, .ask_timeout_ms = HARK_SECONDS(55)});
    hark_ctx *me = hark_attach(system);
    hark_ctx *peer = hark__service_open(hark__ctx_node(me));
    hark_ref whom = hark_spawn(me, gate), who = hark_spawn(me, worker);

    (void)state;
    memset(text, 'x', sizeof text);
    hark_future f = hark_ask(me, who, work, .whom = whom);
    until(me, whom, 1);
    for (uint32_t size = 0; size < sizeof text; size += 7) {
        hark__probe_from(peer, who, hark_self(me),
                         &(struct probe){.origin = {1, 2}, .asked = f.id, .wait = size},
                         (hark_str){text, size});
    }
    hark_tell(me, whom, let_go);
    assert_int_equal(take(me, f), 1);
    hark__service_close(peer);
    assert_int_equal(hark_stop(system, HARK_SECONDS(10)), HARK_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lies_end_no_wait),
        cmocka_unit_test(a_long_path_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
