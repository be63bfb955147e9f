// Waits that let the own request's messages in, and circles of handlers that wait for each
// other: on one node, and with every second actor on another.

#include "api/world.h"

#include <stdatomic.h>

enum { LONGEST = 24 };

HARK_MESSAGE(question, (i64, n))
HARK_MESSAGE(answer, (i64, n))
HARK_MESSAGE(note, (i64, n))
HARK_MESSAGE(notes, (list, i64, seen))
HARK_MESSAGE(hold)
HARK_MESSAGE(let_go)
HARK_MESSAGE(walk, (list, ref, path), (list, i32, how), (u32, at))
HARK_MESSAGE(result, (i64, n), (i32, code), (str, text))
HARK_MESSAGE(visit, (ref, gate), (ref, host), (i32, mode))
HARK_MESSAGE(favour, (ref, gate))
HARK_MESSAGE(meet, (ref, gate), (ref, other), (i32, mode))
HARK_MESSAGE(nest, (ref, gate))
HARK_MESSAGE(several, (ref, gate), (list, ref, others), (i32, how))
HARK_MESSAGE(feed, (ref, whom), (u64, size))
HARK_MESSAGE(item, (bytes, bytes))
HARK_MESSAGE(pay_later, (ref, gate), (ref, other))

static enum reach reach;

// ---- a gate ----

typedef struct {
    hark_promise held[64];
    size_t count;
} gate;

HARK_ON(gate, hold) {
    self->held[self->count++] = hark_defer(ctx);
}
HARK_ON(gate, let_go) {
    for (size_t i = 0; i < self->count; i++) {
        hark_fulfil(ctx, self->held[i], answer, .n = 1);
    }
    self->count = 0;
}
HARK_ON(gate, question) {
    hark_reply(ctx, answer, .n = (int64_t)self->count);
}
HARK_ACTOR(gate, hold, let_go, question)

// ---- who walks along a path of actors ----

// How one of a path waits for the next: its mode, and by what.
enum {
    BY_AWAIT = 0,
    BY_ALL = 16,       // two at once
    BY_MAP = 32,       // what a function makes of it
    BY_THEN = 48,      // it does not wait at all
    BY_BLOCKING = 64,  // a thread beside the workers asks
    BY_REQUEST = 80,   // with a message made before
    BY_SECOND = 96,    // it is not the first that this handler asks
    BY_FOLLOWED = 112, // a function that makes it of another asks
    BY_EACH = 128,     // for each of one
    BY_SCOPE = 144,    // it joins a scope
    MODES = 15,
};

typedef struct {
    int64_t walked;
    hark_promise promises[LONGEST]; // the last one is fulfilled first
    size_t owed;
    int64_t seen[16];
    size_t count;
} walker;

static void
report_error(hark_ctx *ctx)
{
    const hark_error *error = hark_error_of(ctx);

    hark_reply(ctx, result, .code = error->code, .text = hark_str_of(error->text));
}

static void
report(hark_ctx *ctx, const result *r)
{
    if (r != NULL) {
        hark_reply(ctx, result, .n = r->n, .code = r->code, .text = r->text);
    } else {
        report_error(ctx);
    }
}

HARK_THEN(walker, walked, result) {
    hark_fulfil(ctx, self->promises[--self->owed], result, .n = msg->n,
                .code = msg->code, .text = msg->text);
}
HARK_ELSE(walker, walked) {
    hark_fulfil(ctx, self->promises[--self->owed], result, .code = error->code,
                .text = hark_str_of(error->text));
}
HARK_CONTINUATION(walker, walked, result)

static hark_future
ask_next(hark_ctx *ctx, const walk *msg)
{
    return hark_ask(ctx, msg->path.items[msg->at + 1], walk, .path = msg->path,
                    .how = msg->how, .at = msg->at + 1);
}

HARK_MAP(same, result)
{
    hark_result(ctx, result, .n = msg->n, .code = msg->code, .text = msg->text);
}

HARK_BLOCKING(walk_on, const walk) {
    report(ctx, hark_await(ctx, ask_next(ctx, arg), result));
}

static void
wait_for_all(hark_ctx *ctx, const walk *msg)
{
    hark_future both[2] = {ask_next(ctx, msg),
                           hark_ask(ctx, msg->path.items[msg->at + 1], question)};

    if (hark_await(ctx, hark_all(ctx, both, 2), hark_all_done) == NULL) {
        report_error(ctx);
    } else {
        report(ctx, hark_future_get(ctx, both[0], result));
    }
}

static void
request_next(hark_ctx *ctx, const walk *msg)
{
    hark_message *message = hark_message_new(
        ctx, &walk_type,
        &(walk){.path = msg->path, .how = msg->how, .at = msg->at + 1});

    report(ctx, hark_await(
                    ctx, hark_request(ctx, msg->path.items[msg->at + 1], message, NULL),
                    result));
}

HARK_MAP(ask_on, answer)
{
    hark_result_future(ctx, ask_next(ctx, arg));
}

HARK_JOB(ask_each)
{
    hark_result_future(ctx, ask_next(ctx, arg));
}

static void
wait_for_each(hark_ctx *ctx, const walk *msg)
{
    hark_future each = hark_map_each(ctx, 1, ask_each, (void *)(uintptr_t)msg, NULL);

    if (hark_await(ctx, each, hark_each_done) == NULL) {
        report_error(ctx);
    } else {
        report(ctx, hark_future_get(ctx, hark_future_member(ctx, each, 0), result));
    }
}

static void
wait_for_scope(hark_ctx *ctx, const walk *msg)
{
    hark_scope scope = hark_scope_open(ctx, NULL);
    hark_future f = hark_scope_add(ctx, scope, ask_next(ctx, msg));

    if (hark_scope_join(ctx, scope) == HARK_OK) {
        report(ctx, hark_future_get(ctx, f, result));
    } else {
        report_error(ctx);
    }
}

static void
go_on(hark_ctx *ctx, walker *self, const walk *msg, int by)
{
    hark_future f;

    switch (by) {
    case BY_ALL:
        wait_for_all(ctx, msg);
        break;
    case BY_MAP:
        report(ctx,
               hark_await(ctx, hark_map(ctx, ask_next(ctx, msg), same, NULL), result));
        break;
    case BY_THEN:
        self->promises[self->owed++] = hark_defer(ctx);
        f = ask_next(ctx, msg);
        assert_int_equal(hark_then(ctx, f, walker, walked, NULL), HARK_OK);
        break;
    case BY_BLOCKING:
        report(ctx, hark_await(ctx, hark_blocking(ctx, walk_on, (void *)(uintptr_t)msg),
                               result));
        break;
    case BY_REQUEST:
        request_next(ctx, msg);
        break;
    case BY_FOLLOWED:
        f = hark_ask(ctx, msg->path.items[msg->at + 1], question);
        f = hark_map(ctx, f, ask_on, (void *)(uintptr_t)msg);
        report(ctx, hark_await(ctx, f, result));
        break;
    case BY_EACH:
        wait_for_each(ctx, msg);
        break;
    case BY_SCOPE:
        wait_for_scope(ctx, msg);
        break;
    case BY_SECOND:
        f = hark_ask(ctx, msg->path.items[msg->at + 1], question);
        report(ctx, hark_await(ctx, ask_next(ctx, msg), result));
        hark_future_drop(ctx, f);
        break;
    default:
        report(ctx, hark_await(ctx, ask_next(ctx, msg), result));
        break;
    }
}

HARK_ON(walker, walk) {
    self->walked++;
    if (msg->at + 1 == msg->path.count) {
        hark_reply(ctx, result, .n = self->walked);
        return;
    }
    int32_t how = msg->how.items[msg->at];
    assert_int_equal(hark_wait_mode(ctx, (hark_wait)(how & MODES)), HARK_OK);
    go_on(ctx, self, msg, how & ~MODES);
}
HARK_ON(walker, question) {
    hark_reply(ctx, answer, .n = self->walked);
}
HARK_ON(walker, note) {
    self->seen[self->count++] = msg->n;
}
HARK_ON(walker, notes) {
    hark_reply(ctx, notes, .seen = {self->seen, self->count});
}
// Waits for the gate, and then for the other one.
HARK_ON(walker, meet) {
    assert_int_equal(hark_wait_mode(ctx, (hark_wait)msg->mode), HARK_OK);
    if (hark_await(ctx, hark_ask(ctx, msg->gate, hold), answer) == NULL) {
        report_error(ctx);
        return;
    }
    const answer *a = hark_await(ctx, hark_ask(ctx, msg->other, question), answer);
    if (a != NULL) {
        hark_reply(ctx, result, .n = a->n);
    } else {
        report_error(ctx);
    }
}
// Waits for the gate, and then for a favour of a guest.
HARK_ON(walker, visit) {
    assert_int_equal(hark_wait_mode(ctx, (hark_wait)msg->mode), HARK_OK);
    assert_non_null(hark_await(ctx, hark_ask(ctx, msg->gate, hold), answer));
    const answer *a =
        hark_await(ctx, hark_ask(ctx, msg->host, favour, .gate = msg->gate), answer);
    if (a != NULL) {
        hark_reply(ctx, result, .n = a->n);
    } else {
        report_error(ctx);
    }
}
// Lets nobody in while it waits.
HARK_ON(walker, nest) {
    assert_int_equal(hark_wait_mode(ctx, HARK_WAIT_EXCLUSIVE), HARK_OK);
    assert_non_null(hark_await(ctx, hark_ask(ctx, msg->gate, hold), answer));
    self->seen[self->count++] = -1;
    hark_reply(ctx, answer, .n = 1);
}
// Waits for the gate, and then for others at once.
HARK_ON(walker, several) {
    hark_future f[2];

    assert_non_null(hark_await(ctx, hark_ask(ctx, msg->gate, hold), answer));
    for (size_t i = 0; i < 2; i++) {
        f[i] = hark_ask(ctx, msg->others.items[i], question);
    }
    if (hark_await(ctx, hark_all(ctx, f, 2), hark_all_done) != NULL) {
        hark_reply(ctx, result, .n = 1);
    } else {
        report_error(ctx);
    }
}
HARK_ACTOR(walker, walk, question, note, notes, meet, visit, nest, several)

// ---- a guest, who needs its host ----

typedef struct {
    char nothing;
} guest;

HARK_ON(guest, favour) {
    hark_ref host = hark_sender(ctx);

    hark_tell(ctx, host, note, .n = 100);
    const answer *a = hark_await(ctx, hark_ask(ctx, host, question), answer);
    if (a == NULL) {
        hark_refuse(ctx, hark_error_of(ctx)->code, "%s", hark_error_of(ctx)->text);
        return;
    }
    hark_reply(ctx, answer, .n = a->n);
}
HARK_ACTOR(guest, favour)

// Has its host nest, and tells it something meanwhile.
typedef guest nester;
HARK_ON(nester, favour) {
    hark_ref host = hark_sender(ctx);
    hark_future nested = hark_ask(ctx, host, nest, .gate = msg->gate);

    hark_tell(ctx, host, note, .n = 7);
    hark_tell(ctx, host, note, .n = 8);
    assert_non_null(hark_await(ctx, nested, answer));
    const notes *seen = hark_await(ctx, hark_ask(ctx, host, notes), notes);
    hark_reply(ctx, answer, .n = seen != NULL ? (int64_t)seen->seen.count : -1);
}
HARK_ACTOR(nester, favour)

// Owes an answer while it waits for another.
typedef struct {
    hark_promise held;
    int64_t count;
} debtor;
HARK_ON(debtor, hold) {
    self->held = hark_defer(ctx);
    self->count++;
}
HARK_ON(debtor, meet) {
    const answer *a = hark_await(ctx, hark_ask(ctx, msg->other, question), answer);

    if (a != NULL) {
        hark_reply(ctx, result, .n = a->n);
    } else {
        report_error(ctx);
    }
    hark_fulfil(ctx, self->held, answer, .n = 1);
}
HARK_ON(debtor, question) {
    hark_reply(ctx, answer, .n = self->count);
}
HARK_ACTOR(debtor, hold, meet, question)

// Has deferred an answer that a callback gives, while it waits for another.
typedef struct {
    hark_promise held;
    int64_t count;
} late_payer;
HARK_ON(late_payer, hold) {
    self->held = hark_defer(ctx);
    self->count++;
}
HARK_MAP(pay, answer)
{
    assert_int_equal(hark_fulfil(ctx, ((late_payer *)arg)->held, answer, .n = 1),
                     HARK_OK);
    hark_result(ctx, answer, .n = 1);
}
HARK_ON(late_payer, pay_later) {
    hark_future f = hark_map(ctx, hark_ask(ctx, msg->gate, hold), pay, self);
    const answer *a = hark_await(ctx, hark_ask(ctx, msg->other, question), answer);

    if (a != NULL) {
        hark_reply(ctx, result, .n = 1);
    } else {
        report_error(ctx);
    }
    hark_future_drop(ctx, f);
}
HARK_ON(late_payer, question) {
    hark_reply(ctx, answer, .n = self->count);
}
HARK_ACTOR(late_payer, hold, pay_later, question)

// ---- choices and streams ----

enum { ANY, RACE, LARGE = 300 * 1000 };

// Waits for one of several, each of which asks it back, or is a gate.
HARK_MESSAGE(back)
typedef guest chooser;
HARK_ON(chooser, several) {
    hark_future f[2];
    hark_future one;

    for (size_t i = 0; i < 2; i++) {
        f[i] = hark_ref_equal(msg->others.items[i], msg->gate)
                   ? hark_ask(ctx, msg->gate, hold)
                   : hark_ask(ctx, msg->others.items[i], back);
    }
    one = msg->how == ANY ? hark_any(ctx, f, 2) : hark_race(ctx, f, 2);
    if (hark_await(ctx, one, answer) != NULL) {
        hark_reply(ctx, result, .n = 1);
    } else {
        report_error(ctx);
    }
}
HARK_ON(chooser, question) {
    hark_reply(ctx, answer, .n = 1);
}
HARK_ACTOR(chooser, several, question)

typedef guest returner;
HARK_ON(returner, back) {
    const answer *a =
        hark_await(ctx, hark_ask(ctx, hark_sender(ctx), question), answer);

    if (a != NULL) {
        hark_reply(ctx, answer, .n = a->n);
    } else {
        hark_refuse(ctx, hark_error_of(ctx)->code, "%s", hark_error_of(ctx)->text);
    }
}
HARK_ACTOR(returner, back)

// Gives an item, if it has a size, and then waits for a favour of whom.
typedef guest feeder;
HARK_ON(feeder, feed) {
    static const char bytes[LARGE];
    hark_sink out = hark_stream_begin(ctx);

    if (msg->size > 0) {
        (void)hark_stream_write(ctx, out, item,
                                .bytes = {.ptr = bytes, .len = msg->size});
    }
    const answer *a = hark_await(ctx, hark_ask(ctx, msg->whom, favour), answer);
    if (a != NULL) {
        hark_stream_end(ctx, out);
    } else {
        hark_stream_fail(ctx, out, hark_error_of(ctx)->code, "%s",
                         hark_error_of(ctx)->text);
    }
}
HARK_ACTOR(feeder, feed)

// Does a favour by asking whom it eats for.
typedef struct {
    hark_ref eater;
} asker;
HARK_ON(asker, favour) {
    const answer *a = hark_await(ctx, hark_ask(ctx, self->eater, question), answer);

    if (a != NULL) {
        hark_reply(ctx, answer, .n = 1);
    } else {
        hark_refuse(ctx, hark_error_of(ctx)->code, "%s", hark_error_of(ctx)->text);
    }
}
HARK_ACTOR(asker, favour)

// Takes one item of a feeder that needs whom; how: as a future, or at once.
typedef guest eater;
HARK_ON(eater, several) {
    hark_stream s =
        hark_stream_open(ctx, msg->others.items[0], feed, .whom = msg->others.items[1],
                         .size = msg->gate.actor == 0 ? 0 : LARGE);
    const item *i = msg->how == 0 ? hark_stream_await(ctx, s, item)
                                  : hark_await(ctx, hark_stream_next(ctx, s), item);

    if (i != NULL) {
        hark_reply(ctx, result, .n = (int64_t)i->bytes.len);
    } else {
        report_error(ctx);
    }
}
HARK_ON(eater, question) {
    hark_reply(ctx, answer, .n = 1);
}
HARK_ACTOR(eater, several, question)

// ---- a host that is busy until its guest has spoken ----

static _Atomic(bool) is_inside, may_speak, has_spoken;

typedef guest talker;
HARK_ON(talker, favour) {
    while (!atomic_load(&may_speak)) {
    }
    hark_tell(ctx, hark_sender(ctx), note, .n = 1);
    hark_tell(ctx, hark_sender(ctx), note, .n = 2);
    atomic_store(&has_spoken, true);
    hark_reply(ctx, answer, .n = 1);
}
HARK_ACTOR(talker, favour)

typedef struct {
    int64_t held, noted;
} busy;
HARK_ON(busy, visit) {
    hark_future f = hark_ask(ctx, msg->host, favour, .gate = msg->gate);

    assert_int_equal(hark_wait_mode(ctx, (hark_wait)msg->mode), HARK_OK);
    atomic_store(&is_inside, true);
    while (!atomic_load(&has_spoken)) {
    }
    assert_non_null(hark_await(ctx, hark_ask(ctx, msg->gate, hold), answer));
    assert_non_null(hark_await(ctx, f, answer));
    hark_reply(ctx, result, .n = self->noted);
}
HARK_ON(busy, note) {
    self->noted++;
}
HARK_ON(busy, hold) {
    self->held++;
    hark_reply(ctx, answer, .n = 1);
}
HARK_ON(busy, question) {
    hark_reply(ctx, answer, .n = self->held);
}
HARK_ACTOR_WITH(busy, (chain), visit, note, hold, question)

// ---- the tests' side ----

static struct world *w;
static hark_ref stops[LONGEST];
static size_t stop_count;

static int
setup(void **state)
{
    (void)state;
    w = world_open(reach, NULL);
    stop_count = 0;
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    world_close(w);
    return 0;
}

// Gives a new actor, at here's side if it is an even one.
#define PLACE(actor)                                                                   \
    place(stop_count % 2 == 0 ? hark_spawn(w->here, actor)                             \
                              : hark_spawn(w->there, actor))

static hark_ref
place(hark_ref made)
{
    char name[32];

    if (stop_count % 2 == 1) {
        snprintf(name, sizeof name, "stop%zu", stop_count);
        made = world_reach(w, name, made);
    }
    stops[stop_count++] = made;
    return made;
}

static result
take(hark_future f)
{
    const result *r = hark_await(w->here, f, result);

    if (r == NULL) {
        fail_msg("%s", world_error(w));
    }
    return *r;
}

// Walks along those of stops that turns name, as how says.
static result
walk_along(const size_t *turns, const int32_t *how, size_t count)
{
    hark_ref path[LONGEST];

    for (size_t i = 0; i < count; i++) {
        path[i] = stops[turns[i]];
    }
    return take(
        hark_ask(w->here, path[0], walk, .path = {path, count}, .how = {how, count}));
}

static void
until_held(hark_ref whom, int64_t count)
{
    const answer *a;

    do {
        a = hark_await(w->here, hark_ask(w->here, whom, question), answer);
        assert_non_null(a);
    } while (a->n < count);
}

static void
check_notes(hark_ref who, const int64_t *expected, size_t count)
{
    const notes *seen;

    do { // what was told may still be on its way
        seen = hark_await(w->here, hark_ask(w->here, who, notes), notes);
        assert_non_null(seen);
    } while (seen->seen.count < count);
    assert_int_equal(seen->seen.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(seen->seen.items[i], expected[i]);
    }
}

// ---- circles ----

static void
circle_of_any_length_ends(void **state)
{
    size_t turns[LONGEST];
    int32_t how[LONGEST] = {HARK_WAIT_EXCLUSIVE};

    (void)state;
    for (size_t i = 0; i + 1 < LONGEST; i++) {
        PLACE(walker);
        turns[i] = i;
    }
    for (size_t length = 1; length < LONGEST; length++) {
        turns[length] = 0;
        result r = walk_along(turns, how, length + 1);
        assert_int_equal(r.code, HARK_EDEADLK);
        turns[length] = length;
    }
    // And they live on. What closed a circle was asked, or cancelled first.
    assert_in_range(walk_along(turns, how, 1).n, LONGEST, 2 * LONGEST);
}

static void
circle_says_who_and_where(void **state)
{
    static const size_t turns[] = {0, 1, 2, 0};
    static const int32_t how[] = {0, 0, 0, 0};
    const char *const nodes[] = {
        " at here", reach == REACH_LOCAL ? " at here" : " at there", " at here"};
    char name[128];

    (void)state;
    for (int i = 0; i < 3; i++) {
        PLACE(walker);
    }
    result r = walk_along(turns, how, 4);
    assert_int_equal(r.code, HARK_EDEADLK);
    for (size_t i = 0; i < 3; i++) {
        hark_ref_print(NULL, stops[i], name, sizeof name);
        char *hit = strstr(r.text.ptr, strchr(name, '<'));
        if (hit == NULL) {
            fail_msg("\"%s\" does not name %s", r.text.ptr, name);
        }
        if (reach != REACH_LOCAL) {
            hit = strchr(hit, '>') + 1;
            assert_memory_equal(hit, nodes[i], strlen(nodes[i]));
        }
    }
    assert_non_null(strstr(r.text.ptr, "walker<"));
    assert_non_null(strstr(r.text.ptr, " waits for walker<"));
}

static void
circle_not_from_its_beginning_ends(void **state)
{
    static const size_t turns[] = {0, 1, 2, 3, 4, 2};
    static const int32_t how[] = {0, 0, 0, 0, 0, 0};

    (void)state;
    for (int i = 0; i < 5; i++) {
        PLACE(walker);
    }
    assert_int_equal(walk_along(turns, how, 6).code, HARK_EDEADLK);
}

static void
circle_of_futures_made_of_others_ends(void **state)
{
    static const size_t turns[] = {0, 1, 2, 1};
    static const int32_t by[] = {BY_ALL,   BY_MAP,      BY_REQUEST, BY_SECOND,
                                 BY_AWAIT, BY_FOLLOWED, BY_EACH,    BY_SCOPE};

    (void)state;
    for (int i = 0; i < 3; i++) {
        PLACE(walker);
    }
    for (size_t i = 0; i < sizeof by / sizeof by[0]; i++) {
        for (size_t j = 1; j < 3; j++) {
            int32_t how[] = {0, 0, 0, 0};

            how[j] = by[i];
            assert_int_equal(walk_along(turns, how, 4).code, HARK_EDEADLK);
        }
    }
}

static void
circle_through_one_who_lets_others_in_ends(void **state)
{
    static const size_t turns[] = {0, 1, 0};
    static const int32_t how[] = {HARK_WAIT_EXCLUSIVE, HARK_WAIT_INTERLEAVE, 0};

    (void)state;
    PLACE(walker);
    PLACE(walker);
    assert_int_equal(walk_along(turns, how, 3).code, HARK_EDEADLK);
}

// Two requests that come to meet each other from both ends; in each mode.
static void
circle_of_two_requests_ends(void **state)
{
    (void)state;
    hark_ref door = PLACE(gate);
    hark_ref a = PLACE(walker), b = PLACE(walker);
    for (int i = 0; i < 100; i++) {
        int32_t mode = i % 2 == 0 ? HARK_WAIT_EXCLUSIVE : HARK_WAIT_CHAIN;
        hark_future f =
            hark_ask(w->here, a, meet, .gate = door, .other = b, .mode = mode);
        hark_future g =
            hark_ask(w->here, b, meet, .gate = door, .other = a, .mode = mode);

        until_held(door, 2);
        hark_tell(w->here, door, let_go);
        result r = take(f), s = take(g);
        // One of them is found out, or both, or one was through before the other began.
        assert_true(r.code == HARK_EDEADLK || r.code == HARK_OK);
        assert_true(s.code == HARK_EDEADLK || s.code == HARK_OK);
    }
}

static void
circle_of_two_requests_that_wait_for_several_ends(void **state)
{
    (void)state;
    hark_ref door = PLACE(gate);
    hark_ref a = PLACE(walker), b = PLACE(walker), c = PLACE(walker);
    for (int i = 0; i < 100; i++) {
        hark_future f = hark_ask(w->here, a, several, .gate = door,
                                 .others = {(hark_ref[]){b, c}, 2});
        hark_future g = hark_ask(w->here, b, several, .gate = door,
                                 .others = {(hark_ref[]){a, c}, 2});

        until_held(door, 2);
        hark_tell(w->here, door, let_go);
        result r = take(f), s = take(g);
        assert_true(r.code == HARK_EDEADLK || r.code == HARK_OK);
        assert_true(s.code == HARK_EDEADLK || s.code == HARK_OK);
    }
}

static void
check_choice(int32_t how, bool has_way_out)
{
    hark_ref door = PLACE(gate);
    hark_ref who = PLACE(chooser), a = PLACE(returner), b = PLACE(returner);
    hark_ref others[] = {a, has_way_out ? door : b};
    hark_future f = hark_ask(w->here, who, several, .gate = door, .how = how,
                             .others = {others, 2});

    if (has_way_out) {
        until_held(door, 1);
        hark_tell(w->here, door, let_go);
    }
    assert_int_equal(take(f).code, has_way_out ? HARK_OK : HARK_EDEADLK);
}

static void
circle_of_a_choice_ends_if_all_of_it_are_blocked(void **state)
{
    (void)state;
    check_choice(ANY, false);
    check_choice(RACE, false);
}

static void
choice_with_a_way_out_is_no_circle(void **state)
{
    (void)state;
    check_choice(ANY, true);
    check_choice(RACE, true);
}

static result
eat(hark_ref who, hark_ref from, int32_t how, bool with_item)
{
    hark_ref favoured = hark_spawn(w->here, asker, .eater = who);

    return take(hark_ask(w->here, who, several,
                         .gate = with_item ? who : (hark_ref){0, 0},
                         .others = {(hark_ref[]){from, favoured}, 2}, .how = how));
}

static void
circle_of_an_item_ends(void **state)
{
    (void)state;
    hark_ref who = PLACE(eater), from = PLACE(feeder);
    for (int32_t how = 0; how < 2; how++) {
        assert_int_equal(eat(who, from, how, false).code, HARK_EDEADLK);
    }
}

static void
item_on_its_way_is_no_circle(void **state)
{
    (void)state;
    hark_ref who = PLACE(eater), from = PLACE(feeder);
    for (int32_t i = 0; i < 20; i++) {
        result r = eat(who, from, i % 2, true);
        if (r.code != HARK_OK) {
            fail_msg("%s", r.text.ptr);
        }
        assert_int_equal(r.n, LARGE);
    }
}

static void
deferred_answer_that_a_callback_gives_is_no_circle(void **state)
{
    (void)state;
    hark_ref door = PLACE(gate), who = PLACE(walker), payer = PLACE(late_payer);
    hark_future f = hark_ask(w->here, who, nest, .gate = payer);
    until_held(payer, 1);
    hark_future g = hark_ask(w->here, payer, pay_later, .gate = door, .other = who);
    until_held(door, 1);
    hark_tell(w->here, door, let_go);
    assert_int_equal(take(g).code, HARK_OK);
    assert_non_null(hark_await(w->here, f, answer));
}

static void
circle_through_a_deferred_answer_ends(void **state)
{
    (void)state;
    hark_ref a = PLACE(walker), b = PLACE(debtor);
    hark_future f = hark_ask(w->here, a, meet, .gate = b, .other = b);
    until_held(b, 1);
    hark_future g = hark_ask(w->here, b, meet, .other = a);
    result r = take(f), s = take(g);
    assert_true(r.code == HARK_EDEADLK || s.code == HARK_EDEADLK);
    assert_true(r.code == HARK_OK || r.code == HARK_EDEADLK);
    assert_true(s.code == HARK_OK || s.code == HARK_EDEADLK);
}

// ---- the mode chain ----

static void
request_comes_back_as_often_as_it_likes(void **state)
{
    static const size_t turns[] = {0, 1, 0, 1, 2, 1, 0, 0, 2, 0};
    static const int32_t by[] = {BY_AWAIT,  BY_ALL,      BY_MAP,
                                 BY_THEN,   BY_BLOCKING, BY_REQUEST,
                                 BY_SECOND, BY_FOLLOWED, BY_EACH};
    int32_t how[10];

    (void)state;
    for (int i = 0; i < 3; i++) {
        PLACE(walker);
    }
    for (size_t i = 0; i < sizeof by / sizeof by[0]; i++) {
        for (size_t j = 0; j < 10; j++) {
            how[j] = HARK_WAIT_CHAIN | (j % 2 == 0 ? by[i] : BY_AWAIT);
        }
        result r = walk_along(turns, how, 10);
        if (r.code != HARK_OK) {
            fail_msg("by %d: %s", by[i], r.text.ptr);
        }
        assert_int_equal(r.n, 5 * ((int64_t)i + 1));
    }
}

static void
own_request_is_let_in_and_others_wait(void **state)
{
    (void)state;
    hark_ref host = PLACE(walker), other = PLACE(guest), door = PLACE(gate);
    hark_future f = hark_ask(w->here, host, visit, .gate = door, .host = other,
                             .mode = HARK_WAIT_CHAIN);
    until_held(door, 1);
    hark_tell(w->here, host, note, .n = 1);
    hark_tell(w->here, host, note, .n = 2);
    hark_future q = hark_ask(w->here, host, question);
    hark_tell(w->here, door, let_go);
    assert_int_equal(take(f).code, HARK_OK);
    assert_non_null(hark_await(w->here, q, answer));
    check_notes(host, (const int64_t[]){100, 1, 2}, 3);
}

static void
exclusive_wait_lets_not_even_the_own_request_in(void **state)
{
    (void)state;
    hark_ref host = PLACE(walker), other = PLACE(guest), door = PLACE(gate);
    hark_future f = hark_ask(w->here, host, visit, .gate = door, .host = other,
                             .mode = HARK_WAIT_EXCLUSIVE);
    until_held(door, 1);
    hark_tell(w->here, host, note, .n = 1);
    hark_tell(w->here, door, let_go);
    assert_int_equal(take(f).code, HARK_EDEADLK);
    check_notes(host, (const int64_t[]){1, 100}, 2);
}

static void
what_an_exclusive_wait_inside_holds_up_comes_after_it(void **state)
{
    (void)state;
    hark_ref host = PLACE(walker), other = PLACE(nester), door = PLACE(gate);
    hark_future f = hark_ask(w->here, host, visit, .gate = door, .host = other,
                             .mode = HARK_WAIT_CHAIN);
    until_held(door, 1);
    hark_tell(w->here, door, let_go);
    until_held(door, 1); // of nest
    hark_tell(w->here, host, note, .n = 1);
    hark_tell(w->here, door, let_go);
    assert_int_equal(take(f).n, 3);
    check_notes(host, (const int64_t[]){-1, 7, 8, 1}, 4);
}

typedef struct {
    bool is_waiting;
    int64_t notes;
} idler;
HARK_ON(idler, hold) {
    self->is_waiting = true;
    assert_non_null(hark_await(ctx, hark_delay(ctx, 20), hark_unit));
    self->is_waiting = false;
}
HARK_ON(idler, note) {
    assert_false(self->is_waiting);
    self->notes++;
}
HARK_ON(idler, question) {
    assert_false(self->is_waiting);
    hark_reply(ctx, answer, .n = self->notes);
}
HARK_ACTOR_WITH(idler, (chain), hold, note, question)

static void
wait_without_a_chain_lets_nobody_in(void **state)
{
    (void)state;
    PLACE(gate);
    hark_ref who = PLACE(idler);
    hark_tell(w->here, who, hold);
    hark_tell(w->here, who, note);
    hark_tell(w->here, who, hold);
    hark_tell(w->here, who, note);
    until_held(who, 2);
}

static void
check_cancelled_ask(int32_t mode)
{
    atomic_store(&is_inside, false);
    atomic_store(&may_speak, false);
    atomic_store(&has_spoken, false);
    hark_ref host = PLACE(busy), other = PLACE(talker), door = PLACE(gate);
    hark_future f =
        hark_ask(w->here, host, visit, .gate = door, .host = other, .mode = mode);
    while (!atomic_load(&is_inside)) {
    }
    hark_future e = hark_ask(w->here, host, hold);
    hark_future_drop(w->here, e); // the host has not looked at it
    atomic_store(&may_speak, true);
    until_held(door, 1);
    hark_tell(w->here, door, let_go);
    assert_int_equal(take(f).n, mode == HARK_WAIT_CHAIN ? 2 : 0);
    const answer *a = hark_await(w->here, hark_ask(w->here, host, question), answer);
    assert_non_null(a);
    assert_int_equal(a->n, 0);
}

static void
cancelled_ask_is_not_run_though_others_have_passed_it(void **state)
{
    (void)state;
    check_cancelled_ask(HARK_WAIT_CHAIN);
    PLACE(gate); // so that the next host is here
    check_cancelled_ask(HARK_WAIT_EXCLUSIVE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(circle_of_any_length_ends),
        TEST(circle_says_who_and_where),
        TEST(circle_not_from_its_beginning_ends),
        TEST(circle_of_futures_made_of_others_ends),
        TEST(circle_through_one_who_lets_others_in_ends),
        TEST(circle_of_two_requests_ends),
        TEST(circle_of_two_requests_that_wait_for_several_ends),
        TEST(circle_of_a_choice_ends_if_all_of_it_are_blocked),
        TEST(choice_with_a_way_out_is_no_circle),
        TEST(circle_of_an_item_ends),
        TEST(item_on_its_way_is_no_circle),
        TEST(deferred_answer_that_a_callback_gives_is_no_circle),
        TEST(circle_through_a_deferred_answer_ends),
        TEST(request_comes_back_as_often_as_it_likes),
        TEST(own_request_is_let_in_and_others_wait),
        TEST(exclusive_wait_lets_not_even_the_own_request_in),
        TEST(what_an_exclusive_wait_inside_holds_up_comes_after_it),
        TEST(wait_without_a_chain_lets_nobody_in),
        TEST(cancelled_ask_is_not_run_though_others_have_passed_it),
    };
    static const char *const names[] = {"chain/local", "chain/memory", "chain/tcp"};
    int failed = 0;

    for (reach = REACH_LOCAL; reach <= REACH_TCP; reach++) {
        failed += cmocka_run_group_tests_name(names[reach], tests, NULL, NULL);
    }
    return failed;
}
