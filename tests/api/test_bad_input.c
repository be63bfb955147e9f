// What must not be: null arguments, malformed endpoints and names, refs and futures of
// nobody. Nothing crashes, and each error says which call it was.

#include "api/world.h"

HARK_MESSAGE(question, (i64, n))
HARK_MESSAGE(reply, (i64, n))
HARK_MESSAGE(word, (str, text))
HARK_MESSAGE(page, (str, text), (bytes, data), (list, u32, numbers),
             (list, message, word, words))
HARK_MESSAGE(get_bad_page)

typedef struct {
    char unused;
} clerk;

HARK_ON(clerk, question) {
    hark_reply(ctx, reply, .n = msg->n);
}
HARK_ON(clerk, page) {
    hark_reply(ctx, reply, .n = (int64_t)msg->text.len);
}
HARK_ON(clerk, get_bad_page) {
    hark_reply(ctx, page, .text = {NULL, 1});
}
HARK_ACTOR(clerk, question, page, get_bad_page)

static int
setup(void **state)
{
    *state = world_open(REACH_LOCAL, &(hark_options){.connect_ms = 300});
    return 0;
}

// The call's value must be `expected`, and hark_error_of must name it.
#define ASSERT_REFUSED(w, call, expected, name)                                        \
    do {                                                                               \
        assert_int_equal(call, expected);                                              \
        world_assert_error(w, HARK_EINVAL, name);                                      \
    } while (0)

static void
null_arguments_of_an_actors_calls_are_named(void **state)
{
    struct world *w = *state;
    hark_ctx *me = w->here;
    hark_ref c = hark_spawn(me, clerk);
    const hark_ref nobody = {0, 0};
    const question q = {.n = 1};
    hark_ref out = nobody;

    ASSERT_REFUSED(w, hark_spawn_value(me, NULL, NULL, NULL, &out), HARK_EINVAL,
                   "hark_spawn");
    ASSERT_REFUSED(w, hark_spawn_value(me, &clerk_behavior, NULL, NULL, NULL),
                   HARK_EINVAL, "hark_spawn");
    ASSERT_REFUSED(w, hark_spawn_ref(me, NULL, NULL, NULL).actor, 0, "hark_spawn");
    ASSERT_REFUSED(w, hark_tell_value(me, c, NULL, &q), HARK_EINVAL, "hark_tell");
    ASSERT_REFUSED(w, hark_tell_value(me, c, &question_type, NULL), HARK_EINVAL,
                   "hark_tell");
    ASSERT_REFUSED(w, hark_send(me, c, NULL), HARK_EINVAL, "hark_send");
    ASSERT_REFUSED(w, hark_actor_stop(me, nobody), HARK_EINVAL, "hark_actor_stop");
    ASSERT_REFUSED(w, hark_register(me, NULL, c), HARK_EINVAL, "hark_register");
    ASSERT_REFUSED(w, hark_lookup(me, NULL).actor, 0, "hark_lookup");
    ASSERT_REFUSED(w, hark_send_after_value(me, 1, c, NULL, &q).id, 0,
                   "hark_send_after");
    ASSERT_REFUSED(w, hark_send_after_value(me, 1, c, &question_type, NULL).id, 0,
                   "hark_send_after");
    ASSERT_REFUSED(w, hark_reply_value(me, NULL, &q), HARK_EINVAL, "hark_reply");
    ASSERT_REFUSED(w, hark_refuse(me, HARK_OK, "fine"), HARK_EINVAL, "hark_refuse");
    ASSERT_REFUSED(w, hark_fulfil_value(me, (hark_promise){0, 0}, NULL, &q),
                   HARK_EINVAL, "hark_fulfil");
    ASSERT_REFUSED(w, hark_break(me, (hark_promise){0, 0}, 0, "fine"), HARK_EINVAL,
                   "hark_break");
    ASSERT_REFUSED(w, hark_listen(me, NULL, NULL, 0), HARK_EINVAL, "hark_listen");
    ASSERT_REFUSED(w, hark_listen(me, "tcp://127.0.0.1:0", NULL, 5), HARK_EINVAL,
                   "hark_listen");
    ASSERT_REFUSED(w, hark_connect(me, NULL), HARK_EINVAL, "hark_connect");
    ASSERT_REFUSED(w, hark_dead_letters_subscribe(me, nobody), HARK_EINVAL,
                   "hark_dead_letters_subscribe");
    assert_int_equal(hark_unregister(me, NULL), HARK_ENONAME);
}

static void
null_arguments_of_asks_end_them(void **state)
{
    struct world *w = *state;
    hark_ctx *me = w->here;
    hark_ref c = hark_spawn(me, clerk);
    const hark_future none = {0, 0};

    assert_null(hark_await(me, hark_ask_value(me, c, NULL, NULL, NULL), reply));
    assert_int_equal(hark_error_of(me)->code, HARK_EINVAL);
    assert_null(hark_await(me, hark_request(me, c, NULL, NULL), reply));
    assert_int_equal(hark_error_of(me)->code, HARK_EINVAL);
    assert_null(hark_await(me, hark_lookup_ask(me, NULL, 0), hark_found));
    world_assert_error(w, HARK_EINVAL, "hark_lookup");
    assert_null(hark_await(me, none, reply));
    assert_int_equal(hark_error_of(me)->code, HARK_ESTALE);
    assert_null(hark_await_value(me, hark_ask(me, c, question), NULL));
    assert_int_equal(hark_error_of(me)->code, HARK_EINVAL);
    assert_null(hark_future_value(me, none, &reply_type));
    assert_true(hark_future_done(me, none));
    assert_int_equal(hark_future_keep(me, none), HARK_ESTALE);
    hark_future_drop(me, none);
    assert_int_equal(hark_then_value(me, none, NULL, NULL), HARK_EINVAL);
    world_assert_error(w, HARK_EINVAL, "hark_then");
    assert_int_equal(hark_all(me, NULL, 3).id, 0);
    world_assert_error(w, HARK_EINVAL, "hark_all");
    assert_null(hark_message_keep(me)); // nothing is in hand
    assert_int_equal(hark_defer(me).id, 0);
    world_assert_error(w, HARK_ENOASK, "hark_defer");
}

static void
null_ctx_is_an_error_everywhere(void **state)
{
    struct world *w = *state;
    hark_ref c = hark_spawn(w->here, clerk);
    const question q = {.n = 1};
    const hark_future none = {0, 0};
    hark_ref out = {0, 0};
    char text[64];

    assert_int_equal(hark_spawn_value(NULL, &clerk_behavior, NULL, NULL, &out),
                     HARK_EINVAL);
    assert_true(hark_ref_is_null(hark_spawn_ref(NULL, &clerk_behavior, NULL, NULL)));
    assert_true(hark_ref_is_null(hark_self(NULL)));
    assert_true(hark_ref_is_null(hark_sender(NULL)));
    assert_null(hark_system_of(NULL));
    assert_int_equal(hark_tell_value(NULL, c, &question_type, &q), HARK_EINVAL);
    assert_int_equal(hark_send(NULL, c, NULL), HARK_EINVAL);
    assert_null(hark_message_keep(NULL));
    assert_int_equal(hark_actor_stop(NULL, c), HARK_EINVAL);
    hark_exit(NULL);
    assert_false(hark_is_alive(NULL, c));
    assert_int_equal(hark_register(NULL, "x", c), HARK_EINVAL);
    assert_int_equal(hark_unregister(NULL, "x"), HARK_EINVAL);
    assert_true(hark_ref_is_null(hark_lookup(NULL, "x")));
    assert_int_equal(hark_send_after_value(NULL, 1, c, &question_type, &q).id, 0);
    assert_false(hark_timer_cancel(NULL, (hark_timer){1}));
    assert_null(hark_alloc(NULL, 10));
    assert_int_equal(hark_format(NULL, "x%d", 1).len, 0);
    assert_true(hark_ref_print(NULL, c, text, sizeof text) > 0);
    assert_true(hark_error_print(NULL, hark_error_of(w->here), text, sizeof text) > 0);
    assert_true(hark_error_line(NULL, hark_error_of(w->here), text, sizeof text) > 0);
    assert_int_equal(hark_error_line(NULL, NULL, text, sizeof text), 8);
    assert_string_equal(text, "no error");
    assert_int_equal(hark_error_print(NULL, NULL, text, sizeof text), 8);
    assert_int_equal(hark_send_after_at(NULL, NULL, 1, c, &question_type, &q).id, 0);
    assert_true(
        hark_ref_is_null(hark_spawn_at(NULL, HARK_HERE, &clerk_behavior, NULL, NULL)));
    assert_int_equal(hark_error_of(NULL)->code, HARK_EINVAL);
    assert_int_equal(hark_ask_value(NULL, c, &question_type, &q, NULL).id, 0);
    assert_int_equal(hark_ask_at(NULL, NULL, 0, c, &question_type, &q).id, 0);
    assert_int_equal(hark_request(NULL, c, NULL, NULL).id, 0);
    assert_int_equal(hark_lookup_ask(NULL, "x", 0).id, 0);
    assert_int_equal(hark_reply_value(NULL, &question_type, &q), HARK_EINVAL);
    assert_int_equal(hark_refuse(NULL, HARK_EINVAL, "x"), HARK_EINVAL);
    assert_int_equal(hark_defer(NULL).id, 0);
    assert_int_equal(hark_fulfil_value(NULL, (hark_promise){0, 0}, &question_type, &q),
                     HARK_EINVAL);
    assert_int_equal(hark_break(NULL, (hark_promise){0, 0}, HARK_EINVAL, "x"),
                     HARK_EINVAL);
    assert_int_equal(hark_then_value(NULL, none, NULL, NULL), HARK_EINVAL);
    assert_null(hark_await_value(NULL, none, &reply_type));
    assert_null(hark_future_value(NULL, none, &reply_type));
    assert_true(hark_future_done(NULL, none));
    assert_int_equal(hark_future_keep(NULL, none), HARK_ESTALE);
    hark_future_drop(NULL, none);
    assert_int_equal(hark_all(NULL, NULL, 0).id, 0);
    assert_null(hark_message_new(NULL, &question_type, &q));
    hark_message_free(NULL, NULL);
    hark_detach(NULL);
    assert_null(hark_receive(NULL, 0));
    assert_int_equal(hark_listen(NULL, "tcp://127.0.0.1:0", NULL, 0), HARK_EINVAL);
    assert_int_equal(hark_connect(NULL, "tcp://127.0.0.1:1"), HARK_EINVAL);
    assert_int_equal(hark_dead_letters_subscribe(NULL, c), HARK_EINVAL);
}

static void
null_objects_are_harmless(void **state)
{
    hark_stats stats = {.actors = 7};

    (void)state;
    assert_null(hark_attach(NULL));
    assert_int_equal(hark_stop(NULL, 0), HARK_OK);
    hark_stats_read(NULL, &stats);
    assert_int_equal(stats.actors, 0);
    hark_stats_read(NULL, NULL);
    hark_hub_free(NULL);
    hark_buffer_release(NULL);
    assert_int_equal(hark_str_of(NULL).len, 0);
    assert_null(hark_message_as(NULL, &question_type));
}

static void
malformed_names_of_actors_are_refused(void **state)
{
    static const char *const bad[] = {
        "://",
        "tcp://",
        "tcp:///",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1/x",
        "tcp://127.0.0.1:/x",
        "tcp://127.0.0.1:0/x",
        "tcp://127.0.0.1:-1/x",
        "tcp://127.0.0.1:65536/x",
        "tcp://127.0.0.1:99999999999999999999/x",
        "tcp://127.0.0.1:0x50/x",
        "tcp://127.0.0.1: 80/x",
        "tcp://*:80/x",
        "tcp://:80/x",
        "tcp://127.0.0.1:80/",
        "TCP://127.0.0.1:80/x",
        "udp://127.0.0.1:80/x",
        "inproc://x/y",
        "pgm://x/y",
        "ipc://",
        "ipc:///",
        "mem:///x",
        " tcp://127.0.0.1:80/x",
        "%s%n://%s/%n",
    };
    struct world *w = *state;
    char text[400];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (!hark_ref_is_null(hark_lookup(w->here, bad[i]))
            || hark_error_of(w->here)->code != HARK_EENDPOINT) {
            fail_msg("\"%s\": %s", bad[i], world_error(w));
        }
        assert_null(
            hark_await(w->here, hark_lookup_ask(w->here, bad[i], 0), hark_found));
        assert_int_equal(hark_error_of(w->here)->code, HARK_EENDPOINT);
    }
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memcpy(text, "tcp://", 6);
    text[sizeof text - 3] = '/';
    assert_true(hark_ref_is_null(hark_lookup(w->here, text)));
    assert_int_equal(hark_error_of(w->here)->code, HARK_EENDPOINT);
    assert_int_equal(hark_connect(w->here, text), HARK_EENDPOINT);
    assert_int_equal(hark_listen(w->here, text, NULL, 0), HARK_EENDPOINT);
}

static void
endpoints_that_cannot_be_listened_at_are_refused(void **state)
{
    static const struct {
        const char *endpoint;
        hark_err err;
    } bad[] = {
        {"tcp://192.0.2.1:0", HARK_EENDPOINT}, // an address for documentation
        {"tcp://127.0.0.1:99999", HARK_EENDPOINT},
        {"tcp://[::1:0", HARK_EENDPOINT},
        {"ipc:///no/such/folder/socket", HARK_EENDPOINT},
        {"ipc:///etc/passwd", HARK_EEXIST}, // a file, and it must stay
        {"mem://", HARK_EENDPOINT},
        {"carrier-pigeon://loft", HARK_EENDPOINT},
        {"tcp", HARK_EENDPOINT},
    };
    char bound[64] = "untouched";

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct world *w = world_open(REACH_LOCAL, NULL);
        hark_err err = hark_listen(w->here, bad[i].endpoint, bound, sizeof bound);

        if (err != bad[i].err) {
            fail_msg("\"%s\": %s, not %s", bad[i].endpoint, hark_err_name(err),
                     hark_err_name(bad[i].err));
        }
        world_assert_error(w, err, bad[i].endpoint);
        assert_string_equal(bound, "untouched");
        world_close(w);
    }
}

static void
port_in_use_is_refused_and_named(void **state)
{
    struct world *w = *state;
    char bound[64];

    assert_int_equal(hark_listen(w->here, "tcp://127.0.0.1:0", bound, sizeof bound),
                     HARK_OK);
    assert_int_equal(hark_listen(w->here, bound, NULL, 0), HARK_EEXIST);
    world_assert_error(w, HARK_EEXIST, bound);
}

static void
bound_endpoint_is_cut_to_its_room(void **state)
{
    struct world *w = *state;
    char bound[8];

    memset(bound, 'x', sizeof bound);
    assert_int_equal(hark_listen(w->here, "tcp://127.0.0.1:0", bound, sizeof bound),
                     HARK_OK);
    assert_string_equal(bound, "tcp://1");
}

static void
null_pointers_with_a_length_are_refused(void **state)
{
    struct world *w = *state;
    hark_ctx *me = w->here;
    hark_ref c = hark_spawn(me, clerk);
    const word nameless = {{NULL, 2}};
    const page pages[] = {
        {.text = {NULL, 1}},  {.data = {NULL, 1, NULL}}, {.numbers = {NULL, 1}},
        {.words = {NULL, 1}}, {.words = {&nameless, 1}}, {.text = {NULL, SIZE_MAX}},
    };

    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        ASSERT_REFUSED(w, hark_tell_value(me, c, &page_type, &pages[i]), HARK_EINVAL,
                       "hark_tell: page: ");
        ASSERT_REFUSED(w, hark_send_after_value(me, 1, c, &page_type, &pages[i]).id, 0,
                       "hark_send_after: page: ");
        assert_null(hark_message_new(me, &page_type, &pages[i]));
        world_assert_error(w, HARK_EINVAL, "hark_message_new: page: ");
        hark_future f = hark_ask_value(me, c, &page_type, &pages[i], NULL);
        assert_null(hark_await(me, f, reply));
        world_assert_error(w, HARK_EINVAL, "hark_ask: page: ");
        assert_string_equal(hark_error_of(me)->type, "page");
    }
    assert_null(hark_await(me, hark_ask(me, c, get_bad_page), page));
    world_assert_error(w, HARK_EINVAL, "hark_reply: page: ");
}

static void
refs_of_nobody_are_errors(void **state)
{
    struct world *w = *state;
    hark_ctx *me = w->here;
    hark_ref ended = hark_spawn(me, clerk);
    hark_ref self = hark_self(me);
    const hark_ref bad[] = {
        {0, 0},
        {self.node, 0},
        {self.node, UINT64_MAX},
        {self.node, UINT64_C(2) << 32}, // even: of nobody
        {self.node, self.actor + (UINT64_C(2) << 32)},
        {self.node, self.actor + 1000000},
        {self.node + 1, self.actor},
        {UINT64_MAX, UINT64_MAX},
        ended,
    };

    assert_int_equal(hark_actor_stop(me, ended), HARK_OK);
    while (hark_is_alive(me, ended)) {
        assert_null(hark_receive(me, 1));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        hark_err err = hark_tell(me, bad[i], question);

        assert_true(err == HARK_EINVAL || err == HARK_ENOACTOR || err == HARK_ENONODE);
        assert_false(hark_is_alive(me, bad[i]));
        assert_null(hark_await(me, hark_ask(me, bad[i], question), reply));
        int code = hark_error_of(me)->code;
        assert_true(code == HARK_EINVAL || code == HARK_ENOACTOR
                    || code == HARK_ENONODE);
        assert_int_equal(hark_error_of(me)->stage, HARK_STAGE_NOT_SENT);
        assert_int_not_equal(hark_actor_stop(me, bad[i]), HARK_OK);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(null_arguments_of_an_actors_calls_are_named),
        TEST(null_arguments_of_asks_end_them),
        TEST(null_ctx_is_an_error_everywhere),
        TEST(null_objects_are_harmless),
        TEST(malformed_names_of_actors_are_refused),
        cmocka_unit_test(endpoints_that_cannot_be_listened_at_are_refused),
        TEST(port_in_use_is_refused_and_named),
        TEST(bound_endpoint_is_cut_to_its_room),
        TEST(null_pointers_with_a_length_are_refused),
        TEST(refs_of_nobody_are_errors),
    };
    return cmocka_run_group_tests_name("api/bad_input", tests, NULL, NULL);
}
