// Streams: many answers to one request, in order, with room for them, and one end.

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

#include "api/world.h"

HARK_MESSAGE(numbers, (i64, count)) // answered by so many `number`s
HARK_MESSAGE(number, (i64, n))
HARK_MESSAGE(fill) // numbers without end, as many as fit
HARK_MESSAGE(break_off, (i64, count), (i32, code)) // so many, and then fails
HARK_MESSAGE(leave, (i64, count))                  // so many, and then the actor ends
HARK_MESSAGE(texts, (i64, count), (u32, size))
HARK_MESSAGE(text, (i64, n), (str, words), (bytes, data))
HARK_MESSAGE(once, (i64, n)) // answered by one reply
HARK_MESSAGE(refuse_it)
HARK_MESSAGE(forget) // a sink that is never written to
HARK_MESSAGE(later)  // a sink for `write_later`
HARK_MESSAGE(write_later, (i64, n))
HARK_MESSAGE(end_later)
HARK_MESSAGE(misuse) // all that a sink refuses
HARK_MESSAGE(unsendable)
HARK_MESSAGE(mixed)                    // items of two types
HARK_MESSAGE(by_futures, (i64, count)) // written by continuations
HARK_MESSAGE(code_was, (i32, code))
HARK_MESSAGE(is_cancelled)

// Shared by all systems of this process.
static _Atomic(int) written;   // by the last stream
static _Atomic(int) full;      // `fill` has found no room; that many were written then
static _Atomic(int) last_code; // with which a producer's write ended
static _Atomic(int) ended;     // producers that saw their end
static _Atomic(int) misused;   // checks of `misuse` that held

// A wait that does not end fails the test, which says more than a test that hangs.
enum { PATIENCE_S = 60 };

static void
wait_until(_Atomic(int) *counter, int value)
{
    time_t until = time(NULL) + PATIENCE_S;

    while (atomic_load(counter) != value) {
        if (time(NULL) > until) {
            fail_msg("waited for %d, and it is %d", value, atomic_load(counter));
        }
        sched_yield();
    }
}

static void
note_end(int code)
{
    atomic_store(&last_code, code);
    atomic_fetch_add(&ended, 1);
}

// ---- producers ----

typedef struct {
    hark_sink out;
    int64_t left; // of by_futures
    int64_t next;
} shop;

static hark_err
write_numbers(hark_ctx *ctx, hark_sink out, int64_t count)
{
    hark_err err = HARK_OK;

    for (int64_t i = 0; i < count && err == HARK_OK; i++) {
        err = hark_stream_write(ctx, out, number, .n = i);
        atomic_fetch_add(&written, err == HARK_OK);
    }
    return err;
}

HARK_ON(shop, numbers) {
    hark_sink out = hark_stream_begin(ctx);
    hark_err err = write_numbers(ctx, out, msg->count);

    note_end(err == HARK_OK ? hark_stream_end(ctx, out) : err);
}
HARK_ON(shop, fill) {
    hark_sink out = hark_stream_begin(ctx);
    hark_err err;

    do {
        while (
            (err = hark_stream_try_write(ctx, out, number, .n = atomic_load(&written)))
            == HARK_OK) {
            atomic_fetch_add(&written, 1);
        }
        if (err == HARK_EAGAIN) {
            atomic_store(&full, atomic_load(&written));
            hark_future ready = hark_stream_ready(ctx, out);
            const hark_stream_room *room = hark_await(ctx, ready, hark_stream_room);
            err = room != NULL ? HARK_OK : (hark_err)hark_error_of(ctx)->code;
            assert_true(room == NULL || room->items > 0);
        }
    } while (err == HARK_OK);
    note_end(err);
}
HARK_ON(shop, break_off) {
    hark_sink out = hark_stream_begin(ctx);

    assert_int_equal(write_numbers(ctx, out, msg->count), HARK_OK);
    note_end(hark_stream_fail(ctx, out, msg->code, "out of %s", "stock"));
}
HARK_ON(shop, leave) {
    hark_sink out = hark_stream_begin(ctx);

    assert_int_equal(write_numbers(ctx, out, msg->count), HARK_OK);
    hark_exit(ctx);
}
HARK_ON(shop, texts) {
    hark_sink out = hark_stream_begin(ctx);
    uint8_t *data = malloc(msg->size);

    assert_non_null(data);
    for (int64_t i = 0; i < msg->count; i++) {
        memset(data, (int)i, msg->size);
        assert_int_equal(hark_stream_write(ctx, out, text, .n = i,
                                           .words = hark_format(ctx, "item %d", (int)i),
                                           .data = {data, msg->size, NULL}),
                         HARK_OK);
    }
    free(data);
    assert_int_equal(hark_stream_end(ctx, out), HARK_OK);
}
HARK_ON(shop, once) {
    hark_reply(ctx, number, .n = msg->n);
}
HARK_ON(shop, refuse_it) {
    hark_refuse(ctx, HARK_EUSER + 2, "not today");
}
HARK_ON(shop, forget) {
    self->out = hark_stream_begin(ctx);
    note_end(HARK_OK);
}
HARK_ON(shop, later) {
    self->out = hark_stream_begin(ctx);
    note_end(HARK_OK);
}
HARK_ON(shop, write_later) {
    hark_reply(ctx, code_was,
               .code = hark_stream_try_write(ctx, self->out, number, .n = msg->n));
}
HARK_ON(shop, end_later) {
    hark_reply(ctx, code_was, .code = hark_stream_end(ctx, self->out));
}
HARK_ON(shop, is_cancelled) {
    hark_reply(ctx, code_was, .code = hark_stream_cancelled(ctx, self->out));
}
HARK_ON(shop, misuse) {
    hark_sink none = {0, 0};
    hark_sink out = hark_stream_begin(ctx);
    hark_sink again = hark_stream_begin(ctx);
    int held = 0;

    held += again.id == 0 && hark_error_of(ctx)->code == HARK_ENOASK;
    held += hark_reply(ctx, number, .n = 1) == HARK_ENOASK;
    held += hark_stream_write_value(ctx, out, NULL, NULL) == HARK_EINVAL;
    held += hark_stream_fail(ctx, out, 0, "no error") == HARK_EINVAL;
    held += hark_stream_write(ctx, none, number, .n = 1) == HARK_ESTALE;
    held += hark_stream_end(ctx, none) == HARK_ESTALE;
    held += !hark_stream_cancelled(ctx, out);
    held += hark_stream_write(ctx, out, number, .n = 7) == HARK_OK;
    held += hark_stream_end(ctx, out) == HARK_OK;
    held += hark_stream_end(ctx, out) == HARK_ESTALE;
    held += hark_stream_write(ctx, out, number, .n = 8) == HARK_ESTALE;
    held += hark_stream_fail(ctx, out, HARK_EUSER, "late") == HARK_ESTALE;
    held += hark_stream_cancelled(ctx, out);
    hark_future ready = hark_stream_ready(ctx, out);
    held += hark_await(ctx, ready, hark_stream_room) == NULL
            && hark_error_of(ctx)->code == HARK_ESTALE;
    atomic_store(&misused, held);
}
enum { MISUSES = 14 };

HARK_ON(shop, unsendable) {
    hark_sink out = hark_stream_begin(ctx);

    assert_int_equal(hark_stream_write(ctx, out, text, .n = 1), HARK_OK);
    assert_int_equal(hark_stream_write(ctx, out, text, .words = {NULL, 5}),
                     HARK_EINVAL);
    note_end(hark_stream_write(ctx, out, text, .n = 3));
}
HARK_ON(shop, mixed) {
    hark_sink out = hark_stream_begin(ctx);

    hark_stream_write(ctx, out, number, .n = 1);
    hark_stream_write(ctx, out, text, .n = 2);
    hark_stream_write(ctx, out, number, .n = 3);
    hark_stream_end(ctx, out);
}

static void go_on(hark_ctx *ctx, shop *self);

HARK_THEN(shop, more, hark_stream_room) {
    go_on(ctx, self);
}
HARK_ELSE(shop, more) {
    note_end(error->code);
}
HARK_CONTINUATION(shop, more, hark_stream_room)

static void
go_on(hark_ctx *ctx, shop *self)
{
    hark_err err = HARK_OK;

    while (self->left > 0
           && (err = hark_stream_try_write(ctx, self->out, number, .n = self->next))
                  == HARK_OK) {
        self->next++;
        self->left--;
    }
    if (err == HARK_EAGAIN) {
        hark_future ready = hark_stream_ready(ctx, self->out);
        assert_int_equal(hark_then(ctx, ready, shop, more, NULL), HARK_OK);
    } else {
        note_end(err == HARK_OK ? hark_stream_end(ctx, self->out) : err);
    }
}
HARK_ON(shop, by_futures) {
    self->out = hark_stream_begin(ctx);
    self->left = msg->count;
    self->next = 0;
    go_on(ctx, self);
}
HARK_ACTOR_WITH(shop, (interleave), numbers, fill, break_off, leave, texts, once,
                refuse_it, forget, later, write_later, end_later, is_cancelled, misuse,
                unsendable, mixed, by_futures)

// ---- consumers that are actors ----

HARK_MESSAGE(sum_up, (i64, count))
HARK_MESSAGE(summed, (i64, sum), (i64, count), (i32, code))
HARK_MESSAGE(open_and_return, (bool, keep))
HARK_MESSAGE(take_one)
HARK_MESSAGE(open_and_exit)
HARK_MESSAGE(sum_by_futures, (i64, count))
HARK_MESSAGE(pass_on, (i64, count))
HARK_MESSAGE(open_and_go)
HARK_MESSAGE(open_after)

typedef struct {
    hark_ref shop;
    hark_stream in;
    hark_promise promise;
    int64_t sum;
    int64_t count;
} reader;

HARK_ON(reader, sum_up) {
    hark_stream in = hark_stream_open_with(ctx, &(hark_stream_options){.window = 4},
                                           self->shop, numbers, .count = msg->count);
    const number *item;
    int64_t sum = 0;
    int64_t count = 0;

    while ((item = hark_stream_await(ctx, in, number)) != NULL) {
        sum += item->n;
        count++;
    }
    hark_reply(ctx, summed, .sum = sum, .count = count,
               .code = hark_error_of(ctx)->code);
}
HARK_ON(reader, open_and_return) {
    self->in = hark_stream_open(ctx, self->shop, fill);
    const number *item = hark_stream_await(ctx, self->in, number);

    assert_non_null(item);
    if (msg->keep) {
        assert_int_equal(hark_stream_keep(ctx, self->in), HARK_OK);
    }
    hark_reply(ctx, number, .n = item->n);
}
HARK_ON(reader, take_one) {
    const number *item = hark_stream_await(ctx, self->in, number);

    hark_reply(ctx, number,
               .n = item != NULL ? item->n : -(int64_t)hark_error_of(ctx)->code);
}
HARK_ON(reader, open_and_exit) {
    self->in = hark_stream_open(ctx, self->shop, fill);
    assert_non_null(hark_stream_await(ctx, self->in, number));
    assert_int_equal(hark_stream_keep(ctx, self->in), HARK_OK);
    hark_exit(ctx);
}

static void take_by_future(hark_ctx *ctx, reader *self);

HARK_THEN(reader, taken, number) {
    self->sum += msg->n;
    self->count++;
    take_by_future(ctx, self);
}
HARK_ELSE(reader, taken) {
    hark_fulfil(ctx, self->promise, summed, .sum = self->sum, .count = self->count,
                .code = error->code);
    hark_stream_close(ctx, self->in);
}
HARK_CONTINUATION(reader, taken, number)

static void
take_by_future(hark_ctx *ctx, reader *self)
{
    hark_future next = hark_stream_next(ctx, self->in);

    assert_int_equal(hark_then(ctx, next, reader, taken, NULL), HARK_OK);
}
HARK_ON(reader, sum_by_futures) {
    self->sum = self->count = 0;
    self->in = hark_stream_open(ctx, self->shop, by_futures, .count = msg->count);
    assert_int_equal(hark_stream_keep(ctx, self->in), HARK_OK);
    self->promise = hark_defer(ctx);
    take_by_future(ctx, self);
}
HARK_ON(reader, open_and_go) { // the stream is closed, and so `taken` fails
    self->sum = self->count = 0;
    self->in = hark_stream_open(ctx, self->shop, later);
    self->promise = hark_defer(ctx);
    take_by_future(ctx, self);
}

// A continuation that opens a stream and waits for no item of it.
HARK_THEN(reader, opens, number) {
    self->sum = self->count = 0;
    self->in = hark_stream_open(ctx, self->shop, later);
    take_by_future(ctx, self);
}
HARK_ELSE(reader, opens) {
}
HARK_CONTINUATION(reader, opens, number)
HARK_ON(reader, open_after) {
    hark_future first = hark_future_of(ctx, number, .n = 1);

    self->promise = hark_defer(ctx);
    assert_int_equal(hark_then(ctx, first, reader, opens, NULL), HARK_OK);
}
HARK_ON(reader, pass_on) {
    hark_sink out = hark_stream_begin(ctx);
    hark_stream in =
        hark_stream_open_with(ctx, &(hark_stream_options){.item_ms = HARK_FOREVER},
                              self->shop, numbers, .count = msg->count);
    const number *item;

    while ((item = hark_stream_await(ctx, in, number)) != NULL) {
        if (hark_stream_write(ctx, out, number, .n = item->n * 2) != HARK_OK) {
            return; // and `in` is closed with this handler
        }
    }
    const hark_error *error = hark_error_of(ctx);
    if (error->code == HARK_EEND) {
        hark_stream_end(ctx, out);
    } else {
        hark_stream_fail(ctx, out, error->code, "%s", error->text);
    }
}
HARK_ON(reader, forget) { // asks for a request that may be given up
    hark_stream in = hark_stream_open_with(
        ctx, &(hark_stream_options){.item_ms = HARK_FOREVER}, self->shop, fill);
    const number *item;

    do {
        item = hark_stream_await(ctx, in, number);
    } while (item != NULL);
    hark_reply(ctx, code_was, .code = hark_error_of(ctx)->code);
}
HARK_ACTOR(reader, sum_up, open_and_return, take_one, open_and_exit, sum_by_futures,
           pass_on, open_and_go, open_after, forget)

// ---- the fixture ----

static enum reach reach;

struct fixture {
    struct world *w;
    hark_ref shop;
};

static void
reset(void)
{
    atomic_store(&written, 0);
    atomic_store(&full, 0);
    atomic_store(&last_code, -1);
    atomic_store(&ended, 0);
    atomic_store(&misused, 0);
}

static int
setup(void **state)
{
    static struct fixture fixture;

    reset();
    fixture.w = world_open(reach, NULL);
    fixture.shop = world_reach(fixture.w, "shop", hark_spawn(fixture.w->there, shop));
    *state = &fixture;
    return 0;
}

static int
teardown(void **state)
{
    world_close(((struct fixture *)*state)->w);
    return 0;
}

static void
assert_takes(struct fixture *f, hark_stream s, int64_t n)
{
    const number *item = hark_stream_await(f->w->here, s, number);

    if (item == NULL) {
        fail_msg("item %d: %s", (int)n, world_error(f->w));
    }
    assert_int_equal(item->n, n);
}

static void
assert_ends(struct fixture *f, hark_stream s, int code, const char *says)
{
    assert_null(hark_stream_await(f->w->here, s, number));
    world_assert_error(f->w, code, says);
}

static int
code_of(struct fixture *f, hark_future future)
{
    const code_was *reply = hark_await(f->w->here, future, code_was);

    if (reply == NULL) {
        fail_msg("%s", world_error(f->w));
    }
    return reply->code;
}

static hark_stream
open_small(struct fixture *f, uint32_t window, int64_t count)
{
    return hark_stream_open_with(f->w->here, &(hark_stream_options){.window = window},
                                 f->shop, numbers, .count = count);
}

// ---- items and their end ----

static void
items_come_in_order_and_the_end_behind_them(void **state)
{
    struct fixture *f = *state;
    hark_stream s = hark_stream_open(f->w->here, f->shop, numbers, .count = 500);

    for (int64_t i = 0; i < 500; i++) {
        assert_takes(f, s, i);
    }
    assert_ends(f, s, HARK_EEND, "end of the stream");
    assert_ends(f, s, HARK_EEND, "end of the stream"); // as often as one asks
    wait_until(&ended, 1); // the end is here before its sender's call returns there
    assert_int_equal(atomic_load(&last_code), HARK_OK);
    assert_int_equal(hark_stream_close(f->w->here, s), HARK_OK);
    world_assert_no_dead_letters(f->w);
}

static void
stream_without_items_only_ends(void **state)
{
    struct fixture *f = *state;
    hark_stream s = hark_stream_open(f->w->here, f->shop, numbers, .count = 0);

    assert_ends(f, s, HARK_EEND, "");
}

static void
window_of_one_passes_items_one_by_one(void **state)
{
    struct fixture *f = *state;
    hark_stream s = open_small(f, 1, 50);

    for (int64_t i = 0; i < 50; i++) {
        assert_true(atomic_load(&written) <= i + 1);
        assert_takes(f, s, i);
    }
    assert_ends(f, s, HARK_EEND, "");
}

static void
hundred_thousand_items_come_in_order(void **state)
{
    enum { ITEMS = 100000 };
    struct fixture *f = *state;
    hark_stream s = hark_stream_open_with(
        f->w->here, &(hark_stream_options){.item_ms = HARK_SECONDS(60)}, f->shop,
        numbers, .count = ITEMS);

    for (int64_t i = 0; i < ITEMS; i++) {
        assert_takes(f, s, i);
    }
    assert_ends(f, s, HARK_EEND, "");
    world_assert_no_dead_letters(f->w);
}

static void
items_with_strings_and_large_bytes_come_whole(void **state)
{
    enum { ITEMS = 40, SIZE = 200000 };
    struct fixture *f = *state;
    hark_stream s =
        hark_stream_open_with(f->w->here, &(hark_stream_options){.window = 4}, f->shop,
                              texts, .count = ITEMS, .size = SIZE);
    const text *item;
    char words[32];
    int64_t n = 0;

    while ((item = hark_stream_await(f->w->here, s, text)) != NULL) {
        const uint8_t *data = item->data.ptr;

        snprintf(words, sizeof words, "item %d", (int)n);
        assert_string_equal(item->words.ptr, words);
        assert_int_equal(item->data.len, SIZE);
        assert_int_equal(data[0], n);
        assert_int_equal(data[SIZE - 1], n);
        n++;
    }
    assert_int_equal(n, ITEMS);
    world_assert_error(f->w, HARK_EEND, "");
}

static void
two_streams_of_one_producer_do_not_mix(void **state)
{
    struct fixture *f = *state;
    hark_stream a = open_small(f, 4, 100);
    hark_stream b = open_small(f, 8, 100);

    for (int64_t i = 0; i < 100; i++) {
        assert_takes(f, a, i);
        assert_takes(f, b, i);
    }
    assert_ends(f, b, HARK_EEND, "");
    assert_ends(f, a, HARK_EEND, "");
}

// ---- credits ----

static void
producer_writes_as_much_as_the_window_and_no_more(void **state)
{
    struct fixture *f = *state;
    hark_stream s = hark_stream_open_with(
        f->w->here, &(hark_stream_options){.window = 8}, f->shop, fill);

    wait_until(&full, 8);
    for (int64_t i = 0; i < 4; i++) {
        assert_int_equal(atomic_load(&written), 8);
        assert_takes(f, s, i);
    }
    wait_until(&full, 12); // half a window was taken, and has come back
    for (int64_t i = 4; i < 8; i++) {
        assert_int_equal(atomic_load(&written), 12);
        assert_takes(f, s, i);
    }
    wait_until(&full, 16);
    assert_int_equal(hark_stream_close(f->w->here, s), HARK_OK);
    wait_until(&ended, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
}

static void
slow_consumer_makes_its_producer_wait(void **state)
{
    struct fixture *f = *state;
    hark_stream s = open_small(f, 6, 600);

    for (int64_t i = 0; i < 600; i++) {
        assert_true(atomic_load(&written) <= i + 6);
        assert_takes(f, s, i);
        if (i % 50 == 0) {
            sched_yield();
        }
    }
    assert_ends(f, s, HARK_EEND, "");
}

static void
producer_of_continuations_and_consumer_of_futures_need_no_wait(void **state)
{
    struct fixture *f = *state;
    hark_ref r = hark_spawn(f->w->here, reader, .shop = f->shop);
    hark_future sum =
        hark_ask_within(f->w->here, HARK_SECONDS(60), r, sum_by_futures, .count = 1000);
    const summed *reply = hark_await(f->w->here, sum, summed);

    assert_non_null(reply);
    assert_int_equal(reply->code, HARK_EEND);
    assert_int_equal(reply->count, 1000);
    assert_int_equal(reply->sum, 499500);
}

// ---- futures for items ----

static void
futures_taken_ahead_get_their_items_in_order(void **state)
{
    enum { AHEAD = 20, ITEMS = 15 };
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_stream s = open_small(f, 4, ITEMS);
    hark_future next[AHEAD];

    for (int i = 0; i < AHEAD; i++) {
        next[i] = hark_stream_next(me, s);
        assert_true(next[i].id != 0);
    }
    for (int i = 0; i < ITEMS; i++) {
        const number *item = hark_await(me, next[i], number);
        assert_non_null(item);
        assert_int_equal(item->n, i);
    }
    for (int i = ITEMS; i < AHEAD; i++) {
        assert_null(hark_await(me, next[i], number));
        world_assert_error(f->w, HARK_EEND, "");
    }
    assert_int_equal(world_stats(f->w->here_system).failures_unseen, 0);
}

static void
item_for_a_future_that_was_dropped_goes_to_the_next(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_stream s = hark_stream_open(me, f->shop, later);
    hark_future a = hark_stream_next(me, s);
    hark_future b = hark_stream_next(me, s);
    hark_future c = hark_stream_next(me, s);

    hark_future_drop(me, a);
    assert_int_equal(hark_cancel(me, b), HARK_OK);
    wait_until(&ended, 1);
    assert_int_equal(code_of(f, hark_ask(me, f->shop, write_later, .n = 5)), HARK_OK);
    const number *item = hark_await(me, c, number);
    assert_non_null(item);
    assert_int_equal(item->n, 5);
}

static void
wait_for_an_item_that_times_out_loses_nothing(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_stream s = hark_stream_open_with(me, &(hark_stream_options){.item_ms = 20},
                                          f->shop, later);

    assert_ends(f, s, HARK_ETIMEOUT, "timed out");
    assert_string_equal(hark_error_of(me)->type, "later");
    assert_true(hark_ref_equal(hark_error_of(me)->target, f->shop));
    assert_ends(f, s, HARK_ETIMEOUT, "timed out");
    assert_int_equal(code_of(f, hark_ask(me, f->shop, write_later, .n = 5)), HARK_OK);
    assert_takes(f, s, 5);
    assert_int_equal(code_of(f, hark_ask(me, f->shop, end_later)), HARK_OK);
    assert_ends(f, s, HARK_EEND, "");
    world_assert_no_dead_letters(f->w);
}

static void
closing_a_stream_ends_the_futures_that_wait_for_items(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_stream s = hark_stream_open(me, f->shop, later);
    hark_future next = hark_stream_next(me, s);

    assert_int_equal(hark_stream_close(me, s), HARK_OK);
    assert_null(hark_await(me, next, number));
    world_assert_error(f->w, HARK_ECANCELLED, "cancelled");
}

// ---- ends before the end ----

static void
error_of_the_producer_comes_behind_its_items(void **state)
{
    struct fixture *f = *state;
    hark_stream s = hark_stream_open(f->w->here, f->shop, break_off, .count = 3,
                                     .code = HARK_EUSER + 1);

    for (int64_t i = 0; i < 3; i++) {
        assert_takes(f, s, i);
    }
    assert_ends(f, s, HARK_EUSER + 1, "out of stock");
    assert_string_equal(hark_error_of(f->w->here)->type, "break_off");
    assert_non_null(strstr(hark_error_of(f->w->here)->site, "test_stream.c:"));
    assert_ends(f, s, HARK_EUSER + 1, "out of stock");
    hark_future next = hark_stream_next(f->w->here, s);
    assert_null(hark_await(f->w->here, next, number));
    world_assert_error(f->w, HARK_EUSER + 1, "out of stock");
}

static void
failure_that_nobody_looks_at_is_counted(void **state)
{
    struct fixture *f = *state;
    hark_ctx *other = hark_attach(f->w->here_system);
    hark_stream closed = hark_stream_open(other, f->shop, refuse_it);
    hark_stream s = hark_stream_open(other, f->shop, refuse_it);
    hark_future behind = hark_ask(other, f->shop, once, .n = 1);

    assert_true(s.id != 0);
    assert_non_null(hark_await(other, behind, number)); // so the refusals are here, too
    assert_int_equal(hark_stream_close(other, closed), HARK_OK); // who closes it knows
    hark_detach(other);
    assert_int_equal(world_stats(f->w->here_system).failures_unseen, 1);
}

static void
producer_hears_that_its_stream_is_closed(void **state)
{
    struct fixture *f = *state;
    hark_stream s = open_small(f, 8, INT64_MAX);

    for (int64_t i = 0; i < 20; i++) {
        assert_takes(f, s, i);
    }
    assert_int_equal(hark_stream_close(f->w->here, s), HARK_OK);
    wait_until(&ended, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
    assert_int_equal(hark_stream_close(f->w->here, s), HARK_ESTALE);
}

static void
sink_whose_consumer_has_closed_says_so_in_later_turns(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_stream s = hark_stream_open(me, f->shop, later);

    wait_until(&ended, 1);
    assert_int_equal(code_of(f, hark_ask(me, f->shop, is_cancelled)), false);
    assert_int_equal(hark_stream_close(me, s), HARK_OK);
    assert_int_equal(code_of(f, hark_ask(me, f->shop, is_cancelled)), true);
    assert_int_equal(code_of(f, hark_ask(me, f->shop, write_later)), HARK_ECANCELLED);
    assert_int_equal(code_of(f, hark_ask(me, f->shop, write_later)), HARK_ESTALE);
}

static void
end_of_the_producer_ends_the_stream(void **state)
{
    struct fixture *f = *state;
    hark_stream s = hark_stream_open(f->w->here, f->shop, leave, .count = 3);

    for (int64_t i = 0; i < 3; i++) {
        assert_takes(f, s, i);
    }
    assert_ends(f, s, HARK_ESTOPPED, "ended before it answered");
}

static void
producer_that_is_stopped_while_it_waits_for_room_ends_the_stream(void **state)
{
    struct fixture *f = *state;
    hark_ref mine = hark_spawn(f->w->there, shop);
    hark_ref shop_ref = world_reach(f->w, "mine", mine);
    hark_stream s = hark_stream_open_with(
        f->w->here, &(hark_stream_options){.window = 2}, shop_ref, fill);

    wait_until(&full, 2);
    assert_int_equal(hark_actor_stop(f->w->there, mine), HARK_OK);
    wait_until(&ended, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ESTOPPED);
    assert_takes(f, s, 0);
    assert_takes(f, s, 1);
    assert_ends(f, s, HARK_ESTOPPED, "");
}

static void
end_of_a_consumer_ends_its_producer(void **state)
{
    struct fixture *f = *state;
    hark_ref r = hark_spawn(f->w->here, reader, .shop = f->shop);

    assert_int_equal(hark_tell(f->w->here, r, open_and_exit), HARK_OK);
    wait_until(&ended, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
}

static void
thread_that_detaches_closes_its_streams(void **state)
{
    struct fixture *f = *state;
    hark_ctx *other = hark_attach(f->w->here_system);
    hark_stream s = hark_stream_open(other, f->shop, fill);

    assert_non_null(hark_stream_await(other, s, number));
    hark_detach(other);
    wait_until(&ended, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
}

static void
stop_of_the_producers_node_ends_the_stream(void **state)
{
    struct fixture *f = *state;
    hark_stream s = hark_stream_open(f->w->here, f->shop, fill);

    assert_takes(f, s, 0);
    if (reach != REACH_LOCAL) {
        assert_int_equal(hark_stop(f->w->there_system, HARK_SECONDS(10)), HARK_OK);
        f->w->there_system = NULL;
        const number *item;
        do {
            item = hark_stream_await(f->w->here, s, number);
        } while (item != NULL);
        int code = hark_error_of(f->w->here)->code;
        assert_true(code == HARK_ESTOPPED || code == HARK_ENONODE);
    }
}

// ---- the handler that opens it ----

static void
stream_of_a_handler_is_closed_when_that_returns(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_ref r = hark_spawn(me, reader, .shop = f->shop);
    hark_future first = hark_ask(me, r, open_and_return, .keep = false);

    assert_non_null(hark_await(me, first, number));
    wait_until(&ended, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
    hark_future next = hark_ask(me, r, take_one);
    const number *item = hark_await(me, next, number);
    assert_non_null(item);
    assert_int_equal(item->n, -HARK_ESTALE);
}

static void
futures_of_a_stream_that_is_closed_with_its_handler_fail(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_ref r = hark_spawn(me, reader, .shop = f->shop);

    for (int i = 0; i < 2; i++) {
        hark_future asked =
            i == 0 ? hark_ask(me, r, open_and_go) : hark_ask(me, r, open_after);
        const summed *reply = hark_await(me, asked, summed);
        assert_non_null(reply);
        assert_int_equal(reply->code, HARK_ECANCELLED);
        assert_int_equal(reply->count, 0);
    }
}

static void
stream_that_is_kept_goes_on_in_later_handlers(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_ref r = hark_spawn(me, reader, .shop = f->shop);
    hark_future first = hark_ask(me, r, open_and_return, .keep = true);

    assert_non_null(hark_await(me, first, number));
    for (int64_t i = 1; i < 100; i++) {
        hark_future next = hark_ask(me, r, take_one);
        const number *item = hark_await(me, next, number);
        assert_non_null(item);
        assert_int_equal(item->n, i);
    }
    assert_int_equal(atomic_load(&ended), 0);
}

static void
items_pass_the_bound_of_a_mailbox(void **state)
{
    struct fixture *f = *state;
    hark_ref r = hark_spawn_with(f->w->here, &(hark_spawn_options){.mailbox_limit = 1},
                                 reader, .shop = f->shop);
    hark_future sum = hark_ask(f->w->here, r, sum_up, .count = 100);
    const summed *reply = hark_await(f->w->here, sum, summed);

    assert_non_null(reply);
    assert_int_equal(reply->sum, 4950);
    assert_int_equal(reply->count, 100);
    assert_int_equal(reply->code, HARK_EEND);
    world_assert_no_dead_letters(f->w);
}

static void
actor_that_passes_a_stream_on_is_slowed_by_its_own_consumer(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_ref r = hark_spawn(me, reader, .shop = f->shop);
    hark_stream s = hark_stream_open_with(me, &(hark_stream_options){.window = 4}, r,
                                          pass_on, .count = 1000);

    for (int64_t i = 0; i < 200; i++) {
        assert_takes(f, s, i * 2);
        assert_true(atomic_load(&written) <= i + 1 + 4 + 1 + 64);
    }
    assert_int_equal(hark_stream_close(me, s), HARK_OK); // which closes the other one
    wait_until(&ended, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
}

static void
stream_has_no_more_time_than_the_request_it_is_for(void **state)
{
    struct fixture *f = *state;
    hark_ref r = hark_spawn(f->w->here, reader, .shop = f->shop);
    uint32_t time_ms = 25;

    // On a busy machine all of it may be over before the shop hears of the stream, and
    // then nothing is there to end.
    do {
        time_ms *= 2;
        hark_future asked = hark_ask_within(f->w->here, time_ms, r, forget);
        const code_was *reply = hark_await(f->w->here, asked, code_was);
        // The handler hears of it when its asker does, and may be the quicker one.
        assert_int_equal(reply != NULL ? reply->code : hark_error_of(f->w->here)->code,
                         HARK_ETIMEOUT);
    } while (atomic_load(&written) == 0);
    world_until(&ended, 1); // the one before may have been begun, too
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
}

static void
stream_is_cancelled_with_the_request_it_is_for(void **state)
{
    struct fixture *f = *state;
    hark_ref r = hark_spawn(f->w->here, reader, .shop = f->shop);
    hark_future asked = hark_ask_within(f->w->here, HARK_FOREVER, r, forget);

    world_until(&written, 500);
    assert_int_equal(hark_cancel(f->w->here, asked), HARK_OK);
    wait_until(&ended, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
}

// ---- misuse, and the other side's kind of answer ----

static void
single_reply_is_a_stream_of_one_item(void **state)
{
    struct fixture *f = *state;
    hark_stream s = hark_stream_open(f->w->here, f->shop, once, .n = 9);

    assert_takes(f, s, 9);
    assert_ends(f, s, HARK_EEND, "");
}

static void
refusal_is_the_streams_error(void **state)
{
    struct fixture *f = *state;
    hark_stream s = hark_stream_open(f->w->here, f->shop, refuse_it);

    assert_ends(f, s, HARK_EUSER + 2, "not today");
}

static void
plain_ask_is_refused_by_a_handler_that_streams(void **state)
{
    struct fixture *f = *state;
    hark_future asked = hark_ask(f->w->here, f->shop, numbers, .count = 3);

    assert_null(hark_await(f->w->here, asked, number));
    world_assert_error(f->w, HARK_ENOTSUP, "hark_stream_open");
    wait_until(&ended, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ESTALE); // of its first write
}

static void
tell_cannot_be_answered_by_a_stream(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(hark_tell(f->w->here, f->shop, numbers, .count = 3), HARK_OK);
    wait_until(&ended, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ESTALE);
}

static void
sink_refuses_what_makes_no_sense(void **state)
{
    struct fixture *f = *state;
    hark_stream s = hark_stream_open(f->w->here, f->shop, misuse);

    assert_takes(f, s, 7);
    assert_ends(f, s, HARK_EEND, "");
    wait_until(&misused, MISUSES);
}

static void
stream_refuses_what_makes_no_sense(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_stream none = {0, 0};
    hark_ctx *other = hark_attach(f->w->here_system);
    hark_stream s = hark_stream_open(me, f->shop, later);

    assert_ends(f, none, HARK_ESTALE, "closed, or is not of this actor or thread");
    assert_int_equal(hark_stream_keep(me, none), HARK_ESTALE);
    assert_int_equal(hark_stream_close(me, none), HARK_ESTALE);
    hark_future next = hark_stream_next(me, none);
    assert_null(hark_await(me, next, number));
    world_assert_error(f->w, HARK_ESTALE, "hark_stream_next");
    // Another's stream, and a future that is none.
    assert_null(hark_stream_await(other, s, number));
    assert_int_equal(hark_error_of(other)->code, HARK_ESTALE);
    assert_int_equal(hark_stream_close(other, s), HARK_ESTALE);
    hark_future plain = hark_ask(me, f->shop, once, .n = 1);
    hark_stream odd = {plain.owner, plain.id};
    assert_ends(f, odd, HARK_ESTALE, "");
    assert_null(hark_stream_await_value(me, s, NULL));
    world_assert_error(f->w, HARK_EINVAL, "null argument");
    assert_int_equal(hark_stream_open_at(NULL, NULL, NULL, f->shop, NULL, NULL).id, 0);
    hark_stream bad = hark_stream_open_at(me, NULL, NULL, f->shop, NULL, NULL);
    assert_ends(f, bad, HARK_EINVAL, "");
    assert_int_equal(hark_stream_close(me, s), HARK_OK);
    assert_ends(f, s, HARK_ESTALE, "");
    hark_detach(other);
}

static void
stream_of_an_actor_that_is_gone_fails(void **state)
{
    struct fixture *f = *state;
    hark_ref gone = f->shop;

    gone.actor += UINT64_C(2) << 32; // a later one there
    hark_stream s = hark_stream_open(f->w->here, gone, numbers, .count = 1);
    assert_ends(f, s, HARK_ENOACTOR, "");
    s = hark_stream_open(f->w->here, f->shop, number, .n = 1);
    assert_ends(f, s, HARK_ENOHANDLER, "");
}

static void
item_of_another_type_is_skipped_with_an_error(void **state)
{
    struct fixture *f = *state;
    hark_stream s = hark_stream_open(f->w->here, f->shop, mixed);

    assert_takes(f, s, 1);
    assert_ends(f, s, HARK_ETYPE, "the item is text, not number");
    assert_takes(f, s, 3);
    assert_ends(f, s, HARK_EEND, "");
}

static void
item_that_cannot_be_sent_fails_the_stream(void **state)
{
    struct fixture *f = *state;
    hark_stream s = hark_stream_open(f->w->here, f->shop, unsendable);

    assert_non_null(hark_stream_await(f->w->here, s, text));
    assert_ends(f, s, HARK_EINVAL, "an item text could not be sent");
    wait_until(&ended, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ESTALE);
}

// ---- nodes that are lost ----

// The other process. It answers with a stream, and takes one, until it is killed.
static void
be_killed(int endpoint_from, int endpoint_to)
{
    char endpoint[256] = "";
    char name[300];

    if (read(endpoint_from, endpoint, sizeof endpoint - 1) <= 0) {
        _exit(1);
    }
    hark_system *system = hark_start(&(hark_options){.workers = 1});
    hark_ctx *me = hark_attach(system);
    snprintf(name, sizeof name, "%s/shop", endpoint);
    hark_ref theirs = hark_lookup(me, name);
    (void)hark_spawn_with(me, &(hark_spawn_options){.name = "shop"}, shop);
    if (hark_listen(me, "tcp://127.0.0.1:0", endpoint, sizeof endpoint) != HARK_OK) {
        _exit(1);
    }
    hark_stream s = hark_stream_open(me, theirs, fill);
    if (hark_stream_await(me, s, number) == NULL
        || write(endpoint_to, endpoint, strlen(endpoint)) <= 0) {
        _exit(1);
    }
    // Until it is killed; a parent that fails closes the pipe.
    (void)!read(endpoint_from, endpoint, sizeof endpoint - 1);
    _exit(2);
}

static void
loss_of_a_node_ends_its_streams_at_both_ends(void **state)
{
    int to_child[2];
    int from_child[2];
    char endpoint[256] = "";
    char name[300];

    (void)state;
    reset();
    assert_int_equal(pipe(to_child), 0);
    assert_int_equal(pipe(from_child), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(to_child[1]);
        be_killed(to_child[0], from_child[1]);
    }
    hark_system *system = hark_start(&(hark_options){.workers = 2});
    hark_ctx *me = hark_attach(system);
    (void)hark_spawn_with(me, &(hark_spawn_options){.name = "shop"}, shop);
    assert_int_equal(hark_listen(me, "tcp://127.0.0.1:0", endpoint, sizeof endpoint),
                     HARK_OK);
    assert_true(write(to_child[1], endpoint, strlen(endpoint)) > 0);
    memset(endpoint, 0, sizeof endpoint);
    assert_true(read(from_child[0], endpoint, sizeof endpoint - 1) > 0);
    snprintf(name, sizeof name, "%s/shop", endpoint);
    hark_ref theirs = hark_lookup(me, name);
    assert_false(hark_ref_is_null(theirs));
    hark_stream s = hark_stream_open(me, theirs, fill);
    assert_non_null(hark_stream_await(me, s, number));
    assert_int_equal(kill(child, SIGKILL), 0);
    const number *item;
    do {
        item = hark_stream_await(me, s, number);
    } while (item != NULL);
    assert_int_equal(hark_error_of(me)->code, HARK_ENONODE);
    wait_until(&ended, 1);
    assert_int_equal(atomic_load(&last_code), HARK_ECANCELLED);
    assert_int_equal(waitpid(child, NULL, 0), child);
    for (int i = 0; i < 2; i++) {
        close(to_child[i]);
        close(from_child[i]);
    }
    assert_int_equal(hark_stop(system, HARK_SECONDS(10)), HARK_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(items_come_in_order_and_the_end_behind_them),
        TEST(stream_without_items_only_ends),
        TEST(window_of_one_passes_items_one_by_one),
        TEST(hundred_thousand_items_come_in_order),
        TEST(items_with_strings_and_large_bytes_come_whole),
        TEST(two_streams_of_one_producer_do_not_mix),
        TEST(producer_writes_as_much_as_the_window_and_no_more),
        TEST(slow_consumer_makes_its_producer_wait),
        TEST(producer_of_continuations_and_consumer_of_futures_need_no_wait),
        TEST(futures_taken_ahead_get_their_items_in_order),
        TEST(item_for_a_future_that_was_dropped_goes_to_the_next),
        TEST(wait_for_an_item_that_times_out_loses_nothing),
        TEST(closing_a_stream_ends_the_futures_that_wait_for_items),
        TEST(error_of_the_producer_comes_behind_its_items),
        TEST(failure_that_nobody_looks_at_is_counted),
        TEST(producer_hears_that_its_stream_is_closed),
        TEST(sink_whose_consumer_has_closed_says_so_in_later_turns),
        TEST(end_of_the_producer_ends_the_stream),
        TEST(producer_that_is_stopped_while_it_waits_for_room_ends_the_stream),
        TEST(end_of_a_consumer_ends_its_producer),
        TEST(thread_that_detaches_closes_its_streams),
        TEST(stop_of_the_producers_node_ends_the_stream),
        TEST(stream_of_a_handler_is_closed_when_that_returns),
        TEST(futures_of_a_stream_that_is_closed_with_its_handler_fail),
        TEST(stream_that_is_kept_goes_on_in_later_handlers),
        TEST(items_pass_the_bound_of_a_mailbox),
        TEST(actor_that_passes_a_stream_on_is_slowed_by_its_own_consumer),
        TEST(stream_has_no_more_time_than_the_request_it_is_for),
        TEST(stream_is_cancelled_with_the_request_it_is_for),
        TEST(single_reply_is_a_stream_of_one_item),
        TEST(refusal_is_the_streams_error),
        TEST(plain_ask_is_refused_by_a_handler_that_streams),
        TEST(tell_cannot_be_answered_by_a_stream),
        TEST(sink_refuses_what_makes_no_sense),
        TEST(stream_refuses_what_makes_no_sense),
        TEST(stream_of_an_actor_that_is_gone_fails),
        TEST(item_of_another_type_is_skipped_with_an_error),
        TEST(item_that_cannot_be_sent_fails_the_stream),
    };
    const struct CMUnitTest lost[] = {
        cmocka_unit_test(loss_of_a_node_ends_its_streams_at_both_ends),
    };
    static const char *const names[] = {"stream/local", "stream/memory", "stream/tcp",
                                        "stream/ipc"};
    // First: the process that it forks must have no other threads.
    int failed = cmocka_run_group_tests_name("stream/lost", lost, NULL, NULL);

    for (reach = REACH_LOCAL; reach <= REACH_IPC; reach++) {
        failed += cmocka_run_group_tests_name(names[reach], tests, NULL, NULL);
    }
    return failed;
}
