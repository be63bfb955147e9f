// The asynchronous call stack: by which calls an ask came about.

#include "api/world.h"

HARK_MESSAGE(get_balance)
HARK_MESSAGE(balance, (i64, amount))
HARK_MESSAGE(transfer, (ref, from))
HARK_MESSAGE(told, (str, text))

typedef struct {
    hark_promise owed;
} account;

HARK_ON(account, get_balance) {
    self->owed = hark_defer(ctx); // and is never redeemed
}
HARK_ACTOR(account, get_balance)

#define TEXT 1024

typedef struct {
    char text[TEXT];
    hark_promise asked;
} teller;

HARK_THEN(teller, answered, balance) {
    (void)msg;
}
HARK_ELSE(teller, answered) {
    char text[TEXT];

    // What a continuation asks, it asks because of what it continues.
    hark_backtrace(ctx, text, sizeof text);
    hark_fulfil(ctx, self->asked, told, .text = hark_str_of(text));
    (void)error;
}
HARK_CONTINUATION(teller, answered, balance)
HARK_ON(teller, get_balance) {
    hark_backtrace(ctx, self->text, sizeof self->text);
    hark_reply(ctx, told, .text = hark_str_of(self->text));
}
HARK_ON(teller, transfer) {
    hark_future f = hark_ask_within(ctx, 20, msg->from, get_balance);

    if (hark_await(ctx, f, balance) == NULL) {
        hark_error_trace(ctx, hark_error_of(ctx), self->text, sizeof self->text);
    }
    hark_reply(ctx, told, .text = hark_str_of(self->text));
}
HARK_ON(teller, balance) {
    self->asked = hark_defer(ctx);
    hark_future f = hark_ask(ctx, hark_self(ctx), transfer); // of a null ref: refused
    assert_int_equal(hark_then(ctx, f, teller, answered, NULL), HARK_OK);
}
HARK_ACTOR(teller, get_balance, transfer, balance)

typedef struct {
    hark_ref teller;
} branch;

HARK_ON(branch, transfer) {
    const told *t =
        hark_await(ctx, hark_ask(ctx, self->teller, transfer, .from = msg->from), told);

    hark_reply(ctx, told, .text = t != NULL ? t->text : HARK_STR("lost"));
}
HARK_ACTOR(branch, transfer)

typedef struct {
    int64_t waited;
} waits;

HARK_ON(waits, transfer) {
    hark_future f = hark_ask_within(ctx, HARK_FOREVER, msg->from, get_balance);

    self->waited += hark_await(ctx, f, balance) == NULL;
}
HARK_ACTOR(waits, transfer)

// The lines of text, without what differs from run to run: "at .../test_trace.c:61".
static void
check_lines(const char *text, const char *const *expected, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *end = strchr(text, '\n');
        size_t size = end != NULL ? (size_t)(end - text) : strlen(text);
        const char *found = strstr(text, expected[i]);

        if (found == NULL || found > text + size) {
            fail_msg("line %zu should have \"%s\" in:\n%s", i, expected[i], text);
        }
        text += end != NULL ? size + 1 : size;
    }
    assert_string_equal(text, "");
}

static const char *
ask_for_text(struct world *w, hark_future f)
{
    const told *t = hark_await(w->here, f, told);

    if (t == NULL) {
        fail_msg("%s", world_error(w));
    }
    return t->text.ptr;
}

static void
an_error_tells_the_calls_that_led_to_it(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref to = hark_spawn(w->here, branch, .teller = hark_spawn(w->here, teller));
    hark_future f =
        hark_ask(w->here, to, transfer, .from = hark_spawn(w->here, account));

    (void)state;
    check_lines(ask_for_text(w, f),
                (const char *[]){
                    "HARK_ETIMEOUT: timed out after",
                    "  asked by teller in transfer at ",
                    "  asked by branch in transfer at ",
                    "  asked by a thread at ",
                },
                4);
    world_close(w);
}

static void
a_handler_can_tell_who_asked(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref to = hark_spawn(w->here, teller);
    char small[8], text[TEXT];

    (void)state;
    check_lines(ask_for_text(w, hark_ask(w->here, to, get_balance)),
                (const char *[]){" in get_balance", "  asked by a thread at "}, 2);
    hark_future f = hark_ask(w->here, to, balance);
    check_lines(ask_for_text(w, f),
                (const char *[]){"teller<", "  asked by teller in balance at ",
                                 "  asked by a thread at "},
                3);
    hark_backtrace(w->here, text, sizeof text);
    check_lines(text, (const char *[]){"thread<"}, 1);
    assert_int_equal(hark_backtrace(w->here, small, sizeof small), strlen(text));
    assert_int_equal(strlen(small), 7);
    assert_string_equal((hark_backtrace(NULL, text, sizeof text), text), "nobody");
    world_close(w);
}

static void
a_call_from_another_node_says_so(void **state)
{
    (void)state;
    for (enum reach reach = REACH_MEMORY; reach <= REACH_IPC; reach++) {
        struct world *w = world_open(reach, NULL);
        hark_ref to = world_reach(w, "teller", hark_spawn(w->there, teller));

        check_lines(ask_for_text(w, hark_ask(w->here, to, get_balance)),
                    (const char *[]){" in get_balance", "of another node"}, 2);
        world_close(w);
    }
}

// Enough of them for a list that grows.
static void
a_dump_lists_who_waits(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref asked = hark_spawn(w->here, account);
    static char text[100 * TEXT];
    size_t lines;

    (void)state;
    assert_int_equal(hark_dump(w->here, text, sizeof text), 0);
    assert_string_equal(text, "");
    for (int i = 0; i < 100; i++) {
        hark_ref to = hark_spawn(w->here, branch, .teller = hark_spawn(w->here, waits));
        hark_future f = hark_ask(w->here, to, transfer, .from = asked);
        assert_false(hark_future_done(w->here, f));
    }
    do { // until all wait
        lines = 0;
        size_t size = hark_dump(w->here, text, sizeof text);
        assert_true(size < sizeof text);
        for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) {
            lines++;
        }
    } while (lines < 100 * (3 + 2));
    assert_int_equal(lines, 100 * (3 + 2));
    assert_non_null(strstr(text, " in transfer waits "));
    assert_non_null(strstr(text, " ms for get_balance of account<"));
    assert_non_null(strstr(text, "\n  asked by branch in transfer at "));
    assert_true(hark_dump(w->here, text, 10) > 100);
    assert_int_equal(strlen(text), 9);
    world_close(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_tells_the_calls_that_led_to_it),
        cmocka_unit_test(a_handler_can_tell_who_asked),
        cmocka_unit_test(a_call_from_another_node_says_so),
        cmocka_unit_test(a_dump_lists_who_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
