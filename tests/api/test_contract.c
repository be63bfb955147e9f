// What holds between two actors wherever they are: the same tests over one node, an
// in-memory link, tcp and ipc.

#include "api/world.h"

HARK_MESSAGE(echo, (i64, n), (str, text))
HARK_MESSAGE(echoed, (i64, n), (str, text))
HARK_MESSAGE(refuse_me, (i32, code))
HARK_MESSAGE(say_nothing)
HARK_MESSAGE(wait_for_me)
HARK_MESSAGE(release)
HARK_MESSAGE(append, (i64, n), (bytes, ballast))
HARK_MESSAGE(get_order)
HARK_MESSAGE(order, (list, i64, numbers))
HARK_MESSAGE(leave)
HARK_MESSAGE(unknown_here)
HARK_MESSAGE(call_back, (ref, whom), (i64, n))
HARK_MESSAGE(point, (f64, x), (f64, y))
HARK_MESSAGE(everything, (bool, a), (i8, b), (i16, c), (i32, d), (i64, e), (u8, f),
             (u16, g), (u32, h), (u64, i), (f32, j), (f64, k), (str, l), (bytes, m),
             (ref, n), (list, str, o), (list, u32, p), (message, point, q),
             (list, message, point, r), (list, ref, s), (list, bytes, t))
HARK_MESSAGE(blob, (bytes, data))
HARK_MESSAGE(sum, (u64, value), (u64, size))
HARK_MESSAGE(album, (str, title), (bytes, cover), (list, bytes, pages), (ref, owner),
             (u32, tail))

enum { MOST = 4096 };

typedef struct {
    int64_t numbers[MOST];
    size_t count;
    hark_promise promises[32];
    size_t promise_count;
} target;

HARK_ON(target, echo) {
    hark_reply(ctx, echoed, .n = msg->n, .text = msg->text);
}
HARK_ON(target, refuse_me) {
    hark_refuse(ctx, msg->code, "refused with %d", msg->code);
}
HARK_ON(target, say_nothing) {
}
HARK_ON(target, wait_for_me) {
    self->promises[self->promise_count++] = hark_defer(ctx);
}
HARK_ON(target, release) {
    for (size_t i = 0; i < self->promise_count; i++) {
        if (i % 2 == 0) {
            hark_fulfil(ctx, self->promises[i], echoed, .n = (int64_t)i);
        } else {
            hark_break(ctx, self->promises[i], HARK_EUSER + 7, "broken %zu", i);
        }
    }
    self->promise_count = 0;
}
HARK_ON(target, append) {
    self->numbers[self->count++ % MOST] = msg->n;
}
HARK_ON(target, get_order) {
    hark_reply(ctx, order, .numbers = {self->numbers, self->count});
}
HARK_ON(target, leave) {
    hark_exit(ctx);
}
HARK_ON(target, call_back) {
    hark_tell(ctx, msg->whom, echoed, .n = msg->n + 1);
}
HARK_ON(target, everything) {
    hark_reply_value(ctx, &everything_type, msg);
}
HARK_ON(target, album) {
    hark_reply_value(ctx, &album_type, msg);
}
HARK_ON(target, blob) {
    const uint8_t *data = msg->data.ptr;
    uint64_t value = 0;

    for (size_t i = 0; i < msg->data.len; i++) {
        value += data[i];
    }
    hark_reply(ctx, sum, .value = value, .size = msg->data.len);
}
HARK_ACTOR(target, echo, refuse_me, say_nothing, wait_for_me, release, append,
           get_order, leave, call_back, everything, blob, album)

static enum reach reach;

static int
setup(void **state)
{
    *state = world_open(reach, NULL);
    return 0;
}

static hark_ref
reach_target(struct world *w)
{
    return world_reach(w, "target", hark_spawn(w->there, target));
}

// Waits for a failure and checks it.
static void
assert_fails(struct world *w, hark_future f, int code, hark_stage stage,
             const char *text)
{
    assert_null(hark_await(w->here, f, echoed));
    const hark_error *error = hark_error_of(w->here);

    if (error->code != code || error->stage != stage
        || strstr(error->text, text) == NULL) {
        fail_msg("expected %s, stage %s, \"%s\", got %s", hark_err_name(code),
                 hark_stage_name(stage), text, world_error(w));
    }
}

static void
ask_gets_its_reply(void **state)
{
    struct world *w = *state;
    hark_ref t = reach_target(w);
    hark_future f = hark_ask(w->here, t, echo, .n = 42, .text = HARK_STR("hello"));
    const echoed *reply = hark_await(w->here, f, echoed);

    if (reply == NULL) {
        fail_msg("%s", world_error(w));
    }
    assert_int_equal(reply->n, 42);
    assert_true(hark_str_equal(reply->text, HARK_STR("hello")));
    hark_future_drop(w->here, f);
}

static void
many_asks_in_flight_each_get_their_own_reply(void **state)
{
    struct world *w = *state;
    hark_ref t = reach_target(w);
    enum { COUNT = 1000 };
    hark_future f[COUNT];

    for (int i = 0; i < COUNT; i++) {
        f[i] = hark_ask(w->here, t, echo, .n = i);
    }
    for (int i = 0; i < COUNT; i++) {
        const echoed *reply = hark_await(w->here, f[i], echoed);

        assert_non_null(reply);
        assert_int_equal(reply->n, i);
        hark_future_drop(w->here, f[i]);
    }
}

static void
messages_arrive_in_the_order_sent_whatever_their_size(void **state)
{
    struct world *w = *state;
    hark_ref t = reach_target(w);
    static const char ballast[200000];

    for (int i = 0; i < 1000; i++) {
        size_t size = i % 50 == 0 ? sizeof ballast : (size_t)i % 100;

        assert_int_equal(
            hark_tell(w->here, t, append, .n = i, .ballast = {ballast, size, NULL}),
            HARK_OK);
    }
    const order *o = hark_await(w->here, hark_ask(w->here, t, get_order), order);

    assert_non_null(o);
    assert_int_equal(o->numbers.count, 1000);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(o->numbers.items[i], i);
    }
}

static void
refusal_brings_its_code_and_text(void **state)
{
    struct world *w = *state;
    hark_future f =
        hark_ask(w->here, reach_target(w), refuse_me, .code = HARK_EUSER + 5);

    assert_fails(w, f, HARK_EUSER + 5, HARK_STAGE_RUNNING, "refused with 1005");
}

static void
handler_that_does_not_answer_ends_the_ask_at_once(void **state)
{
    struct world *w = *state;

    assert_fails(w, hark_ask(w->here, reach_target(w), say_nothing), HARK_ENOREPLY,
                 HARK_STAGE_RUNNING, "without answering");
}

static void
message_without_handler_fails_the_ask(void **state)
{
    struct world *w = *state;

    assert_fails(w, hark_ask(w->here, reach_target(w), unknown_here), HARK_ENOHANDLER,
                 HARK_STAGE_RUNNING, "no handler");
}

static void
ask_times_out_and_says_after_how_long_and_from_where(void **state)
{
    struct world *w = *state;
    hark_future f = hark_ask_within(w->here, 30, reach_target(w), wait_for_me);

    assert_null(hark_await(w->here, f, echoed));
    const hark_error *error = hark_error_of(w->here);

    assert_int_equal(error->code, HARK_ETIMEOUT);
    assert_in_range(error->elapsed_ms, 30, 10000);
    assert_string_equal(error->type, "wait_for_me");
    assert_non_null(strstr(error->site, "test_contract.c:"));
    assert_non_null(strstr(world_error(w), "HARK_ETIMEOUT: timed out after "));
    assert_non_null(strstr(world_error(w), " ms: ask wait_for_me to "));
}

static void
reply_after_the_timeout_is_a_dead_letter(void **state)
{
    struct world *w = *state;
    hark_ref t = reach_target(w);
    uint32_t time_ms = 10;
    uint64_t before;
    hark_stats stats;

    // On a busy machine its time may be over before it is looked at; then nobody replies.
    hark_stats_read(w->there_system, &stats);
    do {
        time_ms *= 2;
        before = stats.expired;
        hark_future f = hark_ask_within(w->here, time_ms, t, wait_for_me);
        assert_null(hark_await(w->here, f, echoed));
        assert_non_null(hark_await(w->here, hark_ask(w->here, t, echo), echoed));
        hark_stats_read(w->there_system, &stats);
    } while (stats.expired != before);
    hark_tell(w->here, t, release);
    do { // the late reply comes before the answer to this
        assert_non_null(hark_await(w->here, hark_ask(w->here, t, echo), echoed));
        hark_stats_read(w->here_system, &stats);
    } while (stats.dead_letters == 0);
    assert_int_equal(stats.dead_letters, 1);
}

static void
deferred_replies_come_later_well_or_not(void **state)
{
    struct world *w = *state;
    hark_ref t = reach_target(w);
    hark_future good = hark_ask(w->here, t, wait_for_me);
    hark_future bad = hark_ask(w->here, t, wait_for_me);

    assert_non_null(hark_await(w->here, hark_ask(w->here, t, echo), echoed));
    assert_false(hark_future_done(w->here, good));
    hark_tell(w->here, t, release);
    assert_non_null(hark_await(w->here, good, echoed));
    assert_fails(w, bad, HARK_EUSER + 7, HARK_STAGE_RUNNING, "broken 1");
}

static void
deferred_replies_fail_when_the_actor_ends(void **state)
{
    struct world *w = *state;
    hark_ref t = reach_target(w);
    hark_future f = hark_ask(w->here, t, wait_for_me);

    hark_tell(w->here, t, leave);
    assert_fails(w, f, HARK_ESTOPPED, HARK_STAGE_RUNNING, "ended before it answered");
}

static void
ask_of_an_actor_that_ended_fails(void **state)
{
    struct world *w = *state;
    hark_ref t = reach_target(w);
    hark_future last = hark_ask(w->here, t, wait_for_me);

    hark_tell(w->here, t, leave);
    assert_null(hark_await(w->here, last, echoed)); // it has ended by now
    hark_future f = hark_ask(w->here, t, echo);
    assert_null(hark_await(w->here, f, echoed));
    assert_int_equal(hark_error_of(w->here)->code, HARK_ENOACTOR);
}

static void
stopping_an_actor_fails_the_asks_in_its_mailbox(void **state)
{
    struct world *w = *state;
    hark_ref local = hark_spawn(w->there, target);
    hark_ref t = world_reach(w, "target", local);
    hark_future f[20];

    for (int i = 0; i < 20; i++) {
        f[i] = hark_ask(w->here, t, wait_for_me);
    }
    assert_int_equal(hark_actor_stop(w->there, local), HARK_OK);
    for (int i = 0; i < 20; i++) {
        assert_null(hark_await(w->here, f[i], echoed));
        int code = hark_error_of(w->here)->code;
        assert_true(code == HARK_ESTOPPED || code == HARK_ENOACTOR);
    }
}

static void
tell_to_an_actor_that_ended_becomes_a_dead_letter(void **state)
{
    struct world *w = *state;
    hark_ref t = reach_target(w);
    hark_stats before;
    hark_stats after;

    hark_tell(w->here, t, leave);
    assert_null(hark_await(w->here, hark_ask(w->here, t, say_nothing), echoed));
    hark_stats_read(w->there_system, &before);
    hark_tell(w->here, t, append, .n = 1);
    // An ask behind it on the same way shows that it has arrived.
    assert_null(hark_await(w->here, hark_ask(w->here, t, say_nothing), echoed));
    hark_stats_read(w->there_system, &after);
    assert_int_equal(after.dead_letters, before.dead_letters + 1);
}

static void
refs_in_messages_work_on_the_other_side(void **state)
{
    struct world *w = *state;
    hark_ref t = reach_target(w);

    hark_tell(w->here, t, call_back, .whom = hark_self(w->here), .n = 6);
    hark_message *m = hark_receive(w->here, HARK_SECONDS(10));

    assert_non_null(m);
    const echoed *e = hark_message_as(m, &echoed_type);
    assert_non_null(e);
    assert_int_equal(e->n, 7);
    assert_true(hark_ref_equal(hark_message_sender(m), t));
    hark_message_free(w->here, m);
}

static void
fields_of_all_kinds_travel_unchanged(void **state)
{
    struct world *w = *state;
    const hark_str names[] = {HARK_STR("one"), HARK_STR(""), HARK_STR("three")};
    const uint32_t numbers[] = {0, 1, UINT32_MAX};
    const point points[] = {{1.5, -2.5}, {0, 1e300}};
    const hark_ref refs[] = {hark_self(w->here), {0, 0}};
    const hark_bytes parts[] = {{"ab", 2, NULL}, {"", 0, NULL}};
    hark_future f =
        hark_ask(w->here, reach_target(w), everything, .a = true, .b = INT8_MIN,
                 .c = INT16_MIN, .d = INT32_MIN, .e = INT64_MIN, .f = UINT8_MAX,
                 .g = UINT16_MAX, .h = UINT32_MAX, .i = UINT64_MAX, .j = 1.5F,
                 .k = -1e-300, .l = HARK_STR("h\xc3\xa9"), .m = {"\0\1\2", 3, NULL},
                 .n = hark_self(w->here), .o = {names, 3}, .p = {numbers, 3},
                 .q = {3, 4}, .r = {points, 2}, .s = {refs, 2}, .t = {parts, 2});
    const everything *e = hark_await(w->here, f, everything);

    if (e == NULL) {
        fail_msg("%s", world_error(w));
    }
    assert_true(e->a && e->b == INT8_MIN && e->c == INT16_MIN && e->d == INT32_MIN
                && e->e == INT64_MIN && e->f == UINT8_MAX && e->g == UINT16_MAX
                && e->h == UINT32_MAX && e->i == UINT64_MAX);
    assert_true(e->j == 1.5F && e->k == -1e-300);
    assert_string_equal(e->l.ptr, "h\xc3\xa9");
    assert_int_equal(e->m.len, 3);
    assert_memory_equal(e->m.ptr, "\0\1\2", 3);
    assert_true(hark_ref_equal(e->n, hark_self(w->here)));
    assert_int_equal(e->o.count, 3);
    assert_string_equal(e->o.items[2].ptr, "three");
    assert_int_equal(e->p.items[2], UINT32_MAX);
    assert_true(e->q.x == 3 && e->q.y == 4);
    assert_true(e->r.count == 2 && e->r.items[1].y == 1e300);
    assert_true(hark_ref_equal(e->s.items[0], hark_self(w->here)));
    assert_true(hark_ref_is_null(e->s.items[1]));
    assert_true(e->t.count == 2 && e->t.items[0].len == 2 && e->t.items[1].len == 0);
}

static void
large_payload_arrives_whole(void **state)
{
    struct world *w = *state;
    size_t size = 8 << 20;
    hark_buffer *buffer = hark_buffer_new(size);
    uint64_t value = 0;

    assert_non_null(buffer);
    uint8_t *data = hark_buffer_data(buffer);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(i * 7 >> 3);
        value += data[i];
    }
    hark_future f =
        hark_ask(w->here, reach_target(w), blob, .data = hark_bytes_of_buffer(buffer));
    hark_buffer_release(buffer);
    const sum *s = hark_await(w->here, f, sum);

    if (s == NULL) {
        fail_msg("%s", world_error(w));
    }
    assert_int_equal(s->size, size);
    assert_int_equal(s->value, value);
}

// Bytes that share a buffer of their own, which the message alone holds from then on.
static hark_bytes
new_page(size_t size)
{
    hark_buffer *buffer = hark_buffer_new(size);

    assert_non_null(buffer);
    uint8_t *data = hark_buffer_data(buffer);
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)(i * 7 + size);
    }
    return hark_bytes_of_buffer(buffer);
}

static void
assert_page(hark_bytes page, size_t size)
{
    const uint8_t *data = page.ptr;

    assert_int_equal(page.len, size);
    for (size_t i = 0; i < size; i++) {
        if (data[i] != (uint8_t)(i * 7 + size)) {
            fail_msg("byte %zu of %zu is wrong", i, size);
        }
    }
}

static void
many_large_bytes_in_one_message_come_back_as_they_were(void **state)
{
    enum { PAGES = 24 }; // more than go beside a frame
    struct world *w = *state;
    hark_bytes pages[PAGES], cover = new_page(100000);
    hark_ref t = reach_target(w);

    for (size_t i = 0; i < PAGES; i++) {
        pages[i] = new_page(i % 3 == 2 ? i : 32000 + i * 1000);
    }
    for (int round = 0; round < 3; round++) { // the types are known by then
        hark_future f =
            hark_ask(w->here, t, album, .title = HARK_STR("holidays"), .cover = cover,
                     .pages = {pages, PAGES}, .owner = hark_self(w->here), .tail = 77);
        const album *a = hark_await(w->here, f, album);

        if (a == NULL) {
            fail_msg("%s", world_error(w));
        }
        assert_string_equal(a->title.ptr, "holidays");
        assert_true(hark_ref_equal(a->owner, hark_self(w->here)));
        assert_int_equal(a->tail, 77);
        assert_page(a->cover, 100000);
        assert_int_equal(a->pages.count, PAGES);
        for (size_t i = 0; i < PAGES; i++) {
            assert_page(a->pages.items[i], i % 3 == 2 ? i : 32000 + i * 1000);
        }
        hark_future_drop(w->here, f);
    }
    hark_buffer_release(cover.buffer);
    for (size_t i = 0; i < PAGES; i++) {
        hark_buffer_release(pages[i].buffer);
    }
}

static void
shared_and_small_messages_keep_their_order(void **state)
{
    enum { MESSAGES = 600 };
    struct world *w = *state;
    hark_bytes large = new_page(40000);
    hark_ref t = reach_target(w);

    for (int64_t i = 0; i < MESSAGES; i++) {
        hark_bytes ballast = i % 5 < 2 ? large : (hark_bytes){"small", 5, NULL};

        assert_int_equal(hark_tell(w->here, t, append, .n = i, .ballast = ballast),
                         HARK_OK);
    }
    hark_buffer_release(large.buffer);
    const order *o = hark_await(w->here, hark_ask(w->here, t, get_order), order);
    if (o == NULL) {
        fail_msg("%s", world_error(w));
    }
    assert_int_equal(o->numbers.count, MESSAGES);
    for (int64_t i = 0; i < MESSAGES; i++) {
        assert_int_equal(o->numbers.items[i], i);
    }
}

static void
lookup_of_an_unknown_name_says_which(void **state)
{
    struct world *w = *state;

    (void)reach_target(w);
    assert_true(hark_ref_is_null(hark_lookup(w->here, world_name(w, "nobody"))));
    assert_int_equal(hark_error_of(w->here)->code, HARK_ENONAME);
    assert_non_null(strstr(hark_error_of(w->here)->text, "\"nobody\""));
}

static void
reply_of_another_type_is_an_error(void **state)
{
    struct world *w = *state;
    hark_future f = hark_ask(w->here, reach_target(w), echo);

    assert_null(hark_await(w->here, f, order));
    assert_int_equal(hark_error_of(w->here)->code, HARK_ETYPE);
    assert_non_null(strstr(hark_error_of(w->here)->text, "echoed"));
}

// ---- continuations ----

HARK_MESSAGE(begin, (ref, whom), (i32, code))
HARK_MESSAGE(outcome, (i64, n), (i32, code), (str, text))

typedef struct {
    hark_promise promise;
} client;

HARK_THEN(client, answer, echoed) {
    hark_fulfil(ctx, self->promise, outcome, .n = msg->n);
}
HARK_ELSE(client, answer) {
    hark_fulfil(ctx, self->promise, outcome, .code = error->code,
                .text = hark_str_of(error->text));
}
HARK_CONTINUATION(client, answer, echoed)
HARK_ON(client, begin) {
    hark_future f = msg->code != 0
                        ? hark_ask(ctx, msg->whom, refuse_me, .code = msg->code)
                        : hark_ask(ctx, msg->whom, echo, .n = 5);

    self->promise = hark_defer(ctx);
    assert_int_equal(hark_then(ctx, f, client, answer, NULL), HARK_OK);
}
HARK_ACTOR(client, begin)

static void
continuation_runs_with_the_reply_or_the_failure(void **state)
{
    struct world *w = *state;
    hark_ref t = reach_target(w);
    hark_ref c = hark_spawn(w->here, client);
    const outcome *o =
        hark_await(w->here, hark_ask(w->here, c, begin, .whom = t), outcome);

    assert_non_null(o);
    assert_int_equal(o->n, 5);
    o = hark_await(w->here, hark_ask(w->here, c, begin, .whom = t, .code = 1234),
                   outcome);
    assert_non_null(o);
    assert_int_equal(o->code, 1234);
    assert_true(hark_str_equal(o->text, HARK_STR("refused with 1234")));
}

static void
all_succeeds_with_all_and_fails_with_the_first(void **state)
{
    struct world *w = *state;
    hark_ref t = reach_target(w);
    hark_future f[3] = {hark_ask(w->here, t, echo, .n = 1),
                        hark_ask(w->here, t, echo, .n = 2),
                        hark_ask(w->here, t, echo, .n = 3)};
    hark_future all = hark_all(w->here, f, 3);
    const hark_all_done *done = hark_await(w->here, all, hark_all_done);

    assert_non_null(done);
    assert_int_equal(done->count, 3);
    assert_int_equal(hark_future_get(w->here, f[2], echoed)->n, 3);
    hark_future_drop(w->here, all);
    assert_true(hark_future_done(w->here, f[0])); // gone with it

    hark_future g[2] = {hark_ask(w->here, t, echo),
                        hark_ask(w->here, t, refuse_me, .code = HARK_EUSER)};
    all = hark_all(w->here, g, 2);
    assert_null(hark_await(w->here, all, hark_all_done));
    assert_int_equal(hark_error_of(w->here)->code, HARK_EUSER);
    assert_string_equal(hark_error_of(w->here)->type, "refuse_me");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ask_gets_its_reply),
        TEST(many_asks_in_flight_each_get_their_own_reply),
        TEST(messages_arrive_in_the_order_sent_whatever_their_size),
        TEST(refusal_brings_its_code_and_text),
        TEST(handler_that_does_not_answer_ends_the_ask_at_once),
        TEST(message_without_handler_fails_the_ask),
        TEST(ask_times_out_and_says_after_how_long_and_from_where),
        TEST(reply_after_the_timeout_is_a_dead_letter),
        TEST(deferred_replies_come_later_well_or_not),
        TEST(deferred_replies_fail_when_the_actor_ends),
        TEST(ask_of_an_actor_that_ended_fails),
        TEST(stopping_an_actor_fails_the_asks_in_its_mailbox),
        TEST(tell_to_an_actor_that_ended_becomes_a_dead_letter),
        TEST(refs_in_messages_work_on_the_other_side),
        TEST(fields_of_all_kinds_travel_unchanged),
        TEST(large_payload_arrives_whole),
        TEST(many_large_bytes_in_one_message_come_back_as_they_were),
        TEST(shared_and_small_messages_keep_their_order),
        TEST(lookup_of_an_unknown_name_says_which),
        TEST(reply_of_another_type_is_an_error),
        TEST(continuation_runs_with_the_reply_or_the_failure),
        TEST(all_succeeds_with_all_and_fails_with_the_first),
    };
    static const char *const names[] = {"contract/local", "contract/memory",
                                        "contract/tcp", "contract/ipc"};
    int failed = 0;

    for (reach = REACH_LOCAL; reach <= REACH_IPC; reach++) {
        failed += cmocka_run_group_tests_name(names[reach], tests, NULL, NULL);
    }
    return failed;
}
