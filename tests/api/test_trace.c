// The asynchronous call stack: by which calls something came about, through any number of
// nodes.

#include "api/world.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

HARK_MESSAGE(get_balance)
HARK_MESSAGE(balance, (i64, amount))
HARK_MESSAGE(transfer, (ref, from))
HARK_MESSAGE(told, (str, text))
HARK_MESSAGE(bounce, (ref, to), (i32, more))
HARK_MESSAGE(later, (ref, whom))
HARK_MESSAGE(go)

typedef struct {
    hark_promise owed;
} account;

HARK_ON(account, get_balance) {
    self->owed = hark_defer(ctx); // and is never redeemed
}
HARK_ACTOR(account, get_balance)

#define TEXT 2048

// ---- who asks whom ----

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
        hark_error_print(ctx, hark_error_of(ctx), self->text, sizeof self->text);
    }
    hark_reply(ctx, told, .text = hark_str_of(self->text));
}
HARK_ON(teller, balance) {
    self->asked = hark_defer(ctx);
    hark_future f = hark_ask(ctx, hark_self(ctx), transfer); // of a null ref: refused
    assert_int_equal(hark_then(ctx, f, teller, answered, NULL), HARK_OK);
}
HARK_ACTOR(teller, get_balance, transfer, balance)

// Passes on what its teller says; or, if that fails, refuses with all there is to tell.
typedef struct {
    hark_ref teller;
} branch;

HARK_ON(branch, transfer) {
    const told *t =
        hark_await(ctx, hark_ask(ctx, self->teller, transfer, .from = msg->from), told);
    char text[TEXT];

    if (t != NULL) {
        hark_reply(ctx, told, .text = t->text);
        return;
    }
    hark_error_print(ctx, hark_error_of(ctx), text, sizeof text);
    hark_refuse(ctx, HARK_EUSER, "%s", text);
}
HARK_ON(branch, get_balance) {
    const told *t = hark_await(ctx, hark_ask(ctx, self->teller, get_balance), told);

    hark_reply(ctx, told, .text = t != NULL ? t->text : HARK_STR("lost"));
}
HARK_ACTOR(branch, transfer, get_balance)

typedef struct {
    int64_t waited;
} waits;

HARK_ON(waits, transfer) {
    hark_future f = hark_ask_within(ctx, HARK_FOREVER, msg->from, get_balance);

    self->waited += hark_await(ctx, f, balance) == NULL;
}
HARK_ACTOR(waits, transfer)

// ---- what is checked ----

// The lines of text, without what differs from run to run: "at .../test_trace.c:61".
static void
check_lines(const char *text, const char *const *expected, size_t count)
{
    const char *all = text;

    for (size_t i = 0; i < count; i++) {
        const char *end = strchr(text, '\n');
        size_t size = end != NULL ? (size_t)(end - text) : strlen(text);
        const char *found = strstr(text, expected[i]);

        if (found == NULL || found > text + size) {
            fail_msg("line %zu should have \"%s\" in:\n%s", i, expected[i], all);
        }
        text += end != NULL ? size + 1 : size;
    }
    if (*text != '\0') {
        fail_msg("there are more than %zu lines in:\n%s", count, all);
    }
}

#define CHECK_LINES(text, ...)                                                         \
    check_lines(text, (const char *const[]){__VA_ARGS__},                              \
                sizeof(const char *const[]){__VA_ARGS__} / sizeof(const char *))

static bool
ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);

    return size >= end_size && strcmp(text + size - end_size, end) == 0;
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

#define FOR_EACH_REACH(reach)                                                          \
    for (enum reach reach = REACH_LOCAL; reach <= REACH_IPC; reach++)

// ---- errors ----

static void
an_error_tells_the_calls_that_led_to_it(void **state)
{
    (void)state;
    FOR_EACH_REACH(reach)
    {
        struct world *w = world_open(reach, NULL);
        hark_ref there =
            hark_spawn(w->there, branch, .teller = hark_spawn(w->there, teller));
        hark_ref to = world_reach(w, "branch", there);
        hark_future f =
            hark_ask(w->here, to, transfer, .from = hark_spawn(w->here, account));
        const char *text = ask_for_text(w, f);

        CHECK_LINES(text, "HARK_ETIMEOUT: ", "  asked by teller<",
                    "  asked by branch in transfer at ", "  asked by main at ");
        // The place is told once, by the call that it is of.
        assert_null(strstr(text, "test_trace.c:57, stage"));
        assert_int_equal(ends_with(text, ", node here"), reach != REACH_LOCAL);
        world_close(w);
    }
}

static void
a_call_of_which_nothing_is_known_is_not_told(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    char text[300];

    (void)state;
    assert_true(hark_ref_is_null(hark_lookup(w->here, "nobody")));
    hark_error_print(w->here, hark_error_of(w->here), text, sizeof text);
    assert_non_null(strstr(text, "HARK_ENONAME"));
    assert_null(strstr(text, "asked by"));
    assert_true(hark_ref_is_null(hark_lookup(w->here, "tcp://127.0.0.1:99999/x")));
    hark_error_print(w->here, hark_error_of(w->here), text, sizeof text);
    assert_non_null(strstr(text, "HARK_EENDPOINT"));
    assert_null(strstr(text, "asked by"));
    world_close(w);
}

static void
a_line_tells_the_place_and_no_more(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref a = hark_spawn(w->here, account);
    hark_future f = hark_ask_within(w->here, 10, a, get_balance);
    char line[TEXT], text[TEXT], small[10];

    (void)state;
    assert_null(hark_await(w->here, f, balance));
    size_t size = hark_error_line(w->here, hark_error_of(w->here), line, sizeof line);
    assert_int_equal(size, strlen(line));
    CHECK_LINES(line, " ms: ask get_balance to account<");
    assert_non_null(strstr(line, "test_trace.c:"));
    assert_true(ends_with(line, ", stage: queued"));
    size = hark_error_print(w->here, hark_error_of(w->here), text, sizeof text);
    assert_int_equal(size, strlen(text));
    CHECK_LINES(text, ", stage: queued", "  asked by main at ");
    assert_int_equal(
        hark_error_print(w->here, hark_error_of(w->here), small, sizeof small), size);
    assert_int_equal(strlen(small), 9);
    // An error that is not of an ask has no calls.
    assert_true(hark_ref_is_null(hark_lookup(w->here, "nobody")));
    hark_error_print(w->here, hark_error_of(w->here), text, sizeof text);
    CHECK_LINES(text, "HARK_ENONAME: ");
    world_close(w);
}

// ---- three nodes ----

// A third node, which the one that is there reaches.
struct third {
    hark_system *system;
    hark_ctx *ctx;
    char endpoint[256];
};

static void
third_open(struct third *third, struct world *w)
{
    third->system = hark_start(&(hark_options){.hub = w->hub,
                                               .workers = 2,
                                               .name = "third",
                                               .connect_ms = WORLD_PATIENCE_MS,
                                               .heartbeat_ms = WORLD_PATIENCE_MS});
    assert_non_null(third->system);
    third->ctx = hark_attach(third->system);
    assert_non_null(third->ctx);
    assert_int_equal(hark_listen(third->ctx, world_wish(w->reach, "third"),
                                 third->endpoint, sizeof third->endpoint),
                     HARK_OK);
}

// As the node that is there sees it.
static hark_ref
third_reach(const struct third *third, struct world *w, const char *name,
            hark_ref actor)
{
    char path[320];

    assert_int_equal(hark_register(third->ctx, name, actor), HARK_OK);
    snprintf(path, sizeof path, "%s/%s", third->endpoint, name);
    hark_ref found = hark_lookup(w->there, path);
    assert_false(hark_ref_is_null(found));
    return found;
}

static void
a_chain_goes_through_three_nodes(void **state)
{
    (void)state;
    for (enum reach reach = REACH_MEMORY; reach <= REACH_IPC; reach++) {
        struct world *w = world_open(reach, NULL);
        struct third third;

        third_open(&third, w);
        hark_ref far = third_reach(&third, w, "teller", hark_spawn(third.ctx, teller));
        hark_ref to =
            world_reach(w, "branch", hark_spawn(w->there, branch, .teller = far));
        hark_ref from = world_reach(w, "account", hark_spawn(w->there, account));

        for (int i = 0; i < 3; i++) { // and again, when all is declared
            CHECK_LINES(ask_for_text(w, hark_ask(w->here, to, transfer, .from = from)),
                        "HARK_ETIMEOUT: ", "  asked by teller<",
                        "  asked by branch in transfer", "  asked by main at ");
            const char *text = ask_for_text(w, hark_ask(w->here, to, get_balance));
            CHECK_LINES(text, " in get_balance", "  asked by branch in get_balance",
                        "  asked by main at ", "  teller was spawned by main");
            assert_non_null(strstr(text, ", node there\n"));
            assert_non_null(strstr(text, ", node here\n"));
        }
        assert_int_equal(hark_stop(third.system, HARK_SECONDS(10)), HARK_OK);
        world_close(w);
    }
}

// The ask in the middle fails, and its handler refuses: each of the two errors tells what
// led to it, up to the first node.
static void
a_refusal_onward_tells_the_chain_at_each_node(void **state)
{
    (void)state;
    for (enum reach reach = REACH_MEMORY; reach <= REACH_TCP; reach++) {
        struct world *w = world_open(reach, NULL);
        struct third third;
        char text[2 * TEXT];

        third_open(&third, w);
        hark_ref far =
            third_reach(&third, w, "account", hark_spawn(third.ctx, account));
        hark_ref to =
            world_reach(w, "branch", hark_spawn(w->there, branch, .teller = far));

        assert_null(hark_await(w->here, hark_ask(w->here, to, transfer), told));
        hark_error_print(w->here, hark_error_of(w->here), text, sizeof text);
        CHECK_LINES(text, ": HARK_ENOHANDLER: ", "  asked by branch<",
                    "  asked by main at ", "  asked by main at ");
        assert_non_null(strstr(text, ", node here after ")); // of the one in the middle
        assert_false(ends_with(text, ", node here"));
        assert_int_equal(hark_stop(third.system, HARK_SECONDS(10)), HARK_OK);
        world_close(w);
    }
}

// Two that ask each other again and again, each in the handler of the other's ask.
typedef struct {
    char text[TEXT];
} bouncer;

HARK_ON(bouncer, bounce) {
    if (msg->more == 0) {
        hark_backtrace(ctx, self->text, sizeof self->text);
        hark_reply(ctx, told, .text = hark_str_of(self->text));
        return;
    }
    const told *t = hark_await(
        ctx,
        hark_ask(ctx, msg->to, bounce, .to = hark_self(ctx), .more = msg->more - 1),
        told);
    hark_reply(ctx, told, .text = t != NULL ? t->text : HARK_STR("lost"));
}
HARK_ACTOR_WITH(bouncer, (interleave), bounce)

static void
calls_in_a_circle_over_two_nodes_get_no_longer(void **state)
{
    (void)state;
    FOR_EACH_REACH(reach)
    {
        struct world *w = world_open(reach, NULL);
        hark_ref to = world_reach(w, "bouncer", hark_spawn(w->there, bouncer));
        hark_ref back = hark_spawn(w->here, bouncer);
        hark_future f = hark_ask(w->here, to, bounce, .to = back, .more = 41);
        const char *text = ask_for_text(w, f);

        CHECK_LINES(text, " in bounce", "  asked by bouncer in bounce",
                    "  asked by main", "  bouncer was spawned by main");
        world_close(w);
    }
}

// Asks the same question from one place, again from there, and from another one, so that
// the first two only may go as one and its repeat.
typedef struct {
    hark_ref teller;
} twins;

HARK_ON(twins, get_balance) {
    hark_future f[3];
    const char *texts[3];

    for (int i = 0; i < 2; i++) {
        f[i] = hark_ask(ctx, self->teller, get_balance);
    }
    f[2] = hark_ask(ctx, self->teller, get_balance);
    for (int i = 0; i < 3; i++) {
        const told *t = hark_await(ctx, f[i], told);
        texts[i] = t != NULL ? strstr(t->text.ptr, "asked by") : "lost";
    }
    bool fits = strcmp(texts[0], texts[1]) == 0 && strcmp(texts[1], texts[2]) != 0;
    hark_reply(ctx, told, .text = hark_str_of(fits ? texts[2] : "all are the same"));
}
HARK_ACTOR(twins, get_balance)

static void
asks_of_two_places_in_one_batch_keep_their_own(void **state)
{
    (void)state;
    FOR_EACH_REACH(reach)
    {
        struct world *w = world_open(reach, NULL);
        hark_ref t = world_reach(w, "teller", hark_spawn(w->there, teller));
        hark_ref a = hark_spawn(w->here, twins, .teller = t);

        CHECK_LINES(ask_for_text(w, hark_ask(w->here, a, get_balance)),
                    "asked by twins in get_balance at ", "  asked by main at ",
                    "  teller was spawned by main at ");
        world_close(w);
    }
}

static void
a_node_that_comes_back_is_told_the_calls_again(void **state)
{
    (void)state;
    for (enum reach reach = REACH_MEMORY; reach <= REACH_TCP; reach++) {
        struct world *w = world_open(reach, NULL);

        for (int i = 0; i < 3; i++) {
            hark_ref to = world_reach(w, "teller", hark_spawn(w->there, teller));

            const char *text = ask_for_text(w, hark_ask(w->here, to, get_balance));
            CHECK_LINES(text, " in get_balance", "  asked by main at ",
                        "  teller was spawned by main at ");
            assert_non_null(strstr(text, ", node here\n"));
            assert_int_equal(hark_stop(w->there_system, HARK_SECONDS(10)), HARK_OK);
            while (hark_is_alive(w->here, to)) { // until it is known to be gone
            }
            w->there_system =
                hark_start(&(hark_options){.hub = w->hub,
                                           .workers = 2,
                                           .name = "there",
                                           .heartbeat_ms = WORLD_PATIENCE_MS});
            assert_non_null(w->there_system);
            w->there = hark_attach(w->there_system);
            assert_int_equal(hark_listen(w->there, world_wish(reach, "there"),
                                         w->endpoint, sizeof w->endpoint),
                             HARK_OK);
        }
        world_close(w);
    }
}

// ---- backtraces ----

static void
a_handler_can_tell_who_asked(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref to = hark_spawn(w->here, teller);
    char small[8], text[TEXT];

    (void)state;
    CHECK_LINES(ask_for_text(w, hark_ask(w->here, to, get_balance)), " in get_balance",
                "  asked by main at ", "  teller was spawned by main at ");
    hark_future f = hark_ask(w->here, to, balance);
    CHECK_LINES(ask_for_text(w, f), "teller<", "  asked by teller in balance at ",
                "  asked by main at ", "  teller was spawned by main at ");
    hark_backtrace(w->here, text, sizeof text);
    CHECK_LINES(text, "thread<");
    assert_int_equal(hark_backtrace(w->here, small, sizeof small), strlen(text));
    assert_int_equal(strlen(small), 7);
    assert_string_equal((hark_backtrace(NULL, text, sizeof text), text), "nobody");
    world_close(w);
}

struct asking {
    struct world *world;
    hark_ref to;
    char text[TEXT];
};

static void *
ask_in_thread(void *arg)
{
    struct asking *asking = arg;
    hark_ctx *ctx = hark_attach(asking->world->here_system);

    pthread_setname_np(pthread_self(), "clerk 7");
    const told *t = hark_await(ctx, hark_ask(ctx, asking->to, get_balance), told);
    snprintf(asking->text, sizeof asking->text, "%s", t != NULL ? t->text.ptr : "lost");
    hark_detach(ctx);
    return NULL;
}

static void
a_thread_is_told_by_its_name(void **state)
{
    (void)state;
    FOR_EACH_REACH(reach)
    {
        struct world *w = world_open(reach, NULL);
        struct asking asking = {.world = w};
        pthread_t thread;

        asking.to = world_reach(w, "teller", hark_spawn(w->there, teller));
        assert_int_equal(pthread_create(&thread, NULL, ask_in_thread, &asking), 0);
        pthread_join(thread, NULL);
        CHECK_LINES(asking.text, " in get_balance", "  asked by clerk 7 at ",
                    "  teller was spawned by main at ");
        world_close(w);
    }
}

HARK_BLOCKING(read_meter, hark_ref) {
    const told *t = hark_await(ctx, hark_ask(ctx, *arg, get_balance), told);

    hark_reply(ctx, told, .text = t != NULL ? t->text : HARK_STR("lost"));
}

static void
blocking_work_is_told_by_its_name(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref to = hark_spawn(w->here, teller);

    (void)state;
    CHECK_LINES(ask_for_text(w, hark_blocking(w->here, read_meter, &to)),
                " in get_balance", "  asked by read_meter at ", "  asked by main at ",
                "  teller was spawned by main at ");
    world_close(w);
}

// ---- spawned ----

// Asks as soon as it lives, and is asked for what it was told then.
typedef struct {
    hark_ref teller;
    char asked[TEXT];
    char failed[TEXT];
} child;

HARK_HOOK(child, start) {
    hark_backtrace(ctx, self->asked, sizeof self->asked);
    hark_future f = hark_ask_within(ctx, 10, self->teller, get_balance);
    if (hark_await(ctx, f, balance) == NULL) {
        hark_error_print(ctx, hark_error_of(ctx), self->failed, sizeof self->failed);
    }
}
HARK_ON(child, get_balance) {
    hark_reply(ctx, told, .text = hark_str_of(self->asked));
}
HARK_ON(child, balance) {
    hark_reply(ctx, told, .text = hark_str_of(self->failed));
}
HARK_ACTOR_WITH(child, (start), get_balance, balance)

typedef struct {
    hark_ref account;
    hark_ref child;
} parent;

HARK_ON(parent, get_balance) {
    self->child = hark_spawn(ctx, child, .teller = self->account);
    const told *t = hark_await(ctx, hark_ask(ctx, self->child, get_balance), told);
    hark_reply(ctx, told, .text = t != NULL ? t->text : HARK_STR("lost"));
}
HARK_ON(parent, balance) {
    const told *t = hark_await(ctx, hark_ask(ctx, self->child, balance), told);
    hark_reply(ctx, told, .text = t != NULL ? t->text : HARK_STR("lost"));
}
HARK_ACTOR(parent, get_balance, balance)

// What a start hook asks, it asks because of the spawn; here that was asked for from
// another node.
static void
a_start_hook_tells_who_has_spawned_it(void **state)
{
    (void)state;
    FOR_EACH_REACH(reach)
    {
        struct world *w = world_open(reach, NULL);
        hark_ref lazy = hark_spawn(w->there, account);
        hark_ref to =
            world_reach(w, "parent", hark_spawn(w->there, parent, .account = lazy));

        CHECK_LINES(ask_for_text(w, hark_ask(w->here, to, get_balance)), "child<",
                    "  spawned by parent in get_balance at ", "  asked by main at ");
        const char *text = ask_for_text(w, hark_ask(w->here, to, balance));
        CHECK_LINES(text, "HARK_ETIMEOUT", "  asked by child<",
                    "  spawned by parent in get_balance at ", "  asked by main at ");
        assert_int_equal(ends_with(text, ", node here"), reach != REACH_LOCAL);
        world_close(w);
    }
}

// Without a macro there is no place, but all else.
static void
a_spawn_without_a_place_is_told_too(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref refs[2] = {hark_spawn_ref(w->here, &teller_behavior, NULL, NULL)};

    (void)state;
    assert_int_equal(hark_spawn_value(w->here, &teller_behavior, NULL, NULL, &refs[1]),
                     HARK_OK);
    for (int i = 0; i < 2; i++) {
        const char *text = ask_for_text(w, hark_ask(w->here, refs[i], get_balance));

        assert_true(ends_with(text, "\n  teller was spawned by main"));
    }
    hark_scope scope = hark_scope_open(w->here, NULL);
    hark_ref s = hark_scope_spawn(w->here, scope, teller);
    CHECK_LINES(ask_for_text(w, hark_ask(w->here, s, get_balance)), " in get_balance",
                "  asked by main at ", "  teller was spawned by main at ");
    assert_int_equal(hark_scope_close(w->here, scope), HARK_OK);
    world_close(w);
}

// ---- armed ----

// Has itself told later, and then asks.
typedef struct {
    hark_ref whom;
    hark_promise owed;
    char text[TEXT];
} clocked;

HARK_ON(clocked, later) {
    self->whom = msg->whom;
    self->owed = hark_defer(ctx);
    hark_send_after(ctx, 1, hark_self(ctx), go);
}
HARK_ON(clocked, go) {
    const told *t = hark_await(ctx, hark_ask(ctx, self->whom, get_balance), told);

    hark_fulfil(ctx, self->owed, told, .text = t != NULL ? t->text : HARK_STR("lost"));
}
HARK_ACTOR(clocked, later, go)

static void
what_a_timer_leads_to_tells_who_has_armed_it(void **state)
{
    (void)state;
    FOR_EACH_REACH(reach)
    {
        struct world *w = world_open(reach, NULL);
        hark_ref to = world_reach(w, "clocked", hark_spawn(w->there, clocked));
        hark_ref t = hark_spawn(w->here, teller);
        const char *text = ask_for_text(w, hark_ask(w->here, to, later, .whom = t));

        CHECK_LINES(text, " in get_balance", "  asked by clocked in go at ",
                    "  armed by clocked in later at ", "  asked by main at ",
                    "  teller was spawned by main at ");
        // Of these the first two are calls of the other node; the third came back.
        assert_int_equal(strstr(text, ", node there") != NULL, reach != REACH_LOCAL);
        assert_null(strstr(text, ", node here"));
        world_close(w);
    }
}

// A timer's message that goes to another node by itself.
typedef struct {
    hark_ref owner;
    char text[TEXT];
} listener;

HARK_ON(listener, go) {
    hark_backtrace(ctx, self->text, sizeof self->text);
    hark_tell(ctx, self->owner, told, .text = hark_str_of(self->text));
}
HARK_ACTOR(listener, go)

static void
a_timers_message_tells_who_has_armed_it(void **state)
{
    (void)state;
    FOR_EACH_REACH(reach)
    {
        struct world *w = world_open(reach, NULL);
        hark_ref there = hark_spawn(w->there, listener, .owner = hark_self(w->there));
        hark_ref to = world_reach(w, "listener", there);
        hark_scope scope = hark_scope_open(w->here, NULL);

        for (int i = 0; i < 3; i++) {
            if (i == 0) {
                hark_send_after(w->here, 1, to, go);
            } else if (i == 1) {
                hark_scope_timer(w->here, scope, 1, to, go);
            } else {
                hark_tell(w->here, to, go); // has no trace
            }
            hark_message *m = hark_receive(w->there, HARK_SECONDS(5));
            const told *t = hark_message_as(m, &told_type);
            assert_non_null(t);
            if (i < 2) {
                CHECK_LINES(t->text.ptr, " in go", "  armed by main at ",
                            "  listener was spawned by main at ");
            } else if (reach == REACH_LOCAL) {
                CHECK_LINES(t->text.ptr, " in go",
                            "  listener was spawned by main at ");
            } else {
                CHECK_LINES(t->text.ptr, " in go", "  told by ",
                            "  listener was spawned by main at ");
            }
            hark_message_free(w->there, m);
        }
        assert_int_equal(hark_scope_close(w->here, scope), HARK_OK);
        world_close(w);
    }
}

// One that was received and is sent on is a new message.
static void
a_message_that_is_sent_on_is_not_the_timers_any_more(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref to = hark_spawn(w->here, listener, .owner = hark_self(w->here));

    (void)state;
    hark_send_after(w->here, 1, hark_self(w->here), go);
    hark_message *m = hark_receive(w->here, HARK_SECONDS(5));
    assert_non_null(m);
    assert_int_equal(hark_send(w->here, to, m), HARK_OK);
    m = hark_receive(w->here, HARK_SECONDS(5));
    const told *t = hark_message_as(m, &told_type);
    assert_non_null(t);
    CHECK_LINES(t->text.ptr, " in go", "  listener was spawned by main at ");
    hark_message_free(w->here, m);
    world_close(w);
}

// ---- futures made of futures ----

typedef struct {
    hark_ref teller;
    hark_promise owed;
} planner;

HARK_MAP(again, told)
{
    const hark_ref *to = arg;

    (void)msg;
    hark_result_future(ctx, hark_ask(ctx, *to, get_balance));
}

HARK_JOB(attempt)
{
    const hark_ref *to = arg;

    if (index == 0) {
        hark_fail_with(ctx, HARK_EUSER, "not yet");
    } else {
        hark_result_future(ctx, hark_ask(ctx, *to, get_balance));
    }
}

static bool
is_always_retryable(const hark_error *error, void *arg)
{
    (void)error;
    (void)arg;
    return true;
}

HARK_THEN(planner, waited, hark_unit) {
    const told *t = hark_await(ctx, hark_ask(ctx, self->teller, get_balance), told);

    (void)msg;
    hark_fulfil(ctx, self->owed, told, .text = t != NULL ? t->text : HARK_STR("lost"));
}
HARK_ELSE(planner, waited) {
    hark_break(ctx, self->owed, error->code, "%s", error->text);
}
HARK_CONTINUATION(planner, waited, hark_unit)

HARK_ON(planner, get_balance) { // after a map
    hark_future f = hark_ask(ctx, self->teller, get_balance);
    const told *t = hark_await(ctx, hark_map(ctx, f, again, &self->teller), told);
    hark_reply(ctx, told, .text = t != NULL ? t->text : HARK_STR("lost"));
}
HARK_ON(planner, balance) { // in the second attempt
    const hark_retry_options options = {
        .delay_ms = 1,
        .is_retryable = is_always_retryable,
    };
    hark_future f = hark_retry(ctx, attempt, &self->teller, &options);
    const told *t = hark_await(ctx, f, told);
    hark_reply(ctx, told, .text = t != NULL ? t->text : HARK_STR("lost"));
}
HARK_ON(planner, go) { // after a pause
    self->owed = hark_defer(ctx);
    hark_future f = hark_delay(ctx, 1);
    assert_int_equal(hark_then(ctx, f, planner, waited, NULL), HARK_OK);
}
HARK_ACTOR(planner, get_balance, balance, go)

static void
what_a_combinator_asks_tells_for_whom(void **state)
{
    (void)state;
    FOR_EACH_REACH(reach)
    {
        struct world *w = world_open(reach, NULL);
        hark_ref t = hark_spawn(w->there, teller);
        hark_ref to =
            world_reach(w, "planner", hark_spawn(w->there, planner, .teller = t));

        CHECK_LINES(ask_for_text(w, hark_ask(w->here, to, get_balance)),
                    " in get_balance", "  asked by planner at ",
                    "  asked by planner in get_balance at ", "  asked by main at ",
                    "  teller was spawned by main at ");
        CHECK_LINES(ask_for_text(w, hark_ask(w->here, to, balance)), " in get_balance",
                    "  asked by planner at ", "  asked by main at ",
                    "  teller was spawned by main at ");
        CHECK_LINES(ask_for_text(w, hark_ask(w->here, to, go)), " in get_balance",
                    "  asked by planner at ", "  armed by planner in go at ",
                    "  asked by main at ", "  teller was spawned by main at ");
        world_close(w);
    }
}

// ---- dumps ----

static size_t
count_lines(const char *text)
{
    size_t lines = 0;

    while ((text = strchr(text, '\n')) != NULL) {
        lines++;
        text++;
    }
    return lines;
}

// Enough of them for many rounds of asking.
static void
a_dump_lists_who_waits(void **state)
{
    enum { PAIRS = 300, LINES = PAIRS * (4 + 3) };
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref asked = hark_spawn(w->here, account);
    static char text[PAIRS * TEXT];
    size_t lines;

    (void)state;
    assert_int_equal(hark_dump(w->here, text, sizeof text), 0);
    assert_string_equal(text, "");
    for (int i = 0; i < PAIRS; i++) {
        hark_ref to = hark_spawn(w->here, branch, .teller = hark_spawn(w->here, waits));
        hark_future f = hark_ask(w->here, to, transfer, .from = asked);
        assert_false(hark_future_done(w->here, f));
    }
    do { // until all wait
        size_t size = hark_dump(w->here, text, sizeof text);
        assert_true(size < sizeof text);
        lines = count_lines(text);
    } while (lines < LINES);
    assert_int_equal(lines, LINES);
    assert_non_null(strstr(text, " in transfer waits "));
    assert_non_null(strstr(text, " ms for get_balance of account<"));
    assert_non_null(strstr(text, "\n  asked by branch in transfer at "));
    assert_non_null(strstr(text, "\n  branch was spawned by main at "));
    assert_true(hark_dump(w->here, text, 10) > 100);
    assert_int_equal(strlen(text), 9);
    world_close(w);
}

// Dumps until that can be read in it.
static void
dump_until(struct world *w, char *text, const char *what)
{
    do {
        hark_dump(w->here, text, TEXT);
    } while (strstr(text, what) == NULL);
}

static _Atomic(bool) is_closed; // `bounce` waits until it is not

// Asks and goes on later, with no handler that waits.
typedef struct {
    hark_ref account;
} patient;

HARK_THEN(patient, answered, balance) {
    (void)msg;
}
HARK_ELSE(patient, answered) {
    (void)error;
}
HARK_CONTINUATION(patient, answered, balance)
HARK_ON(patient, transfer) {
    hark_future f = hark_ask_within(ctx, HARK_FOREVER, msg->from, get_balance);

    assert_int_equal(hark_then(ctx, f, patient, answered, NULL), HARK_OK);
    // For its effect only: nobody waits for it.
    f = hark_ask_within(ctx, HARK_FOREVER, msg->from, get_balance);
    assert_int_equal(hark_future_detach(ctx, f), HARK_OK);
}
HARK_ON(patient, go) {
    hark_exit(ctx);
}
HARK_ON(patient, bounce) { // runs until it may return
    for (int i = 0; i < msg->more; i++) {
        hark_future f = hark_ask_within(ctx, HARK_FOREVER, msg->to, get_balance);
        assert_int_equal(hark_future_keep(ctx, f), HARK_OK);
    }
    while (atomic_load(&is_closed)) {
        sched_yield();
    }
}
HARK_ACTOR(patient, transfer, go, bounce)

static void
a_dump_lists_continuations_too(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref p = hark_spawn(w->here, patient);
    hark_ref from = hark_spawn(w->here, account);
    static char text[TEXT];

    (void)state;
    hark_tell(w->here, p, transfer, .from = from);
    dump_until(w, text, "patient<");
    CHECK_LINES(text, " ms for get_balance of account<",
                "  patient was spawned by main at ", "");
    assert_int_equal(count_lines(text), 2);
    hark_tell(w->here, p, go);
    do { // it has ended, and nothing is left of it
        hark_dump(w->here, text, sizeof text);
    } while (text[0] != '\0');
    world_close(w);
}

HARK_MESSAGE(wait_for_it)

typedef struct {
    void (*wait)(hark_ctx *ctx);
} waiter;

HARK_ON(waiter, wait_for_it) {
    self->wait(ctx);
}
HARK_ACTOR(waiter, wait_for_it)

static void
wait_for_delay(hark_ctx *ctx)
{
    assert_null(hark_await(ctx, hark_delay(ctx, HARK_FOREVER), hark_unit));
}

static void
wait_for_timeout(hark_ctx *ctx)
{
    hark_future f = hark_timeout(ctx, hark_future_new(ctx), HARK_SECONDS(3600));

    assert_null(hark_await(ctx, f, hark_unit));
}

HARK_BLOCKING(napping, char) {
    (void)arg;
    while (!hark_blocking_cancelled(ctx)) {
        usleep(1000);
    }
}

static void
wait_for_blocking(hark_ctx *ctx)
{
    hark_future f = hark_blocking_with(
        ctx, (&(hark_blocking_options){.timeout_ms = HARK_FOREVER}), napping, NULL);

    assert_null(hark_await(ctx, f, hark_unit));
}

static void
a_dump_names_what_is_no_ask(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    static char text[TEXT];

    (void)state;
    hark_tell(w->here, hark_spawn(w->here, waiter, .wait = wait_for_delay),
              wait_for_it);
    hark_tell(w->here, hark_spawn(w->here, waiter, .wait = wait_for_timeout),
              wait_for_it);
    hark_tell(w->here, hark_spawn(w->here, waiter, .wait = wait_for_blocking),
              wait_for_it);
    dump_until(w, text, " ms for hark_delay at ");
    dump_until(w, text, " ms for hark_timeout at ");
    dump_until(w, text, " ms for blocking work napping at ");
    world_close(w);
}

static void
a_dump_tells_whom_it_could_not_ask(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref p = hark_spawn(w->here, patient);
    hark_ref from = hark_spawn(w->here, account);
    static char text[20 * TEXT];

    (void)state;
    atomic_store(&is_closed, true);
    hark_tell(w->here, p, bounce, .to = from, .more = 20);
    do {
        hark_dump(w->here, text, sizeof text);
    } while (text[0] == '\0');
    CHECK_LINES(text, " runs: what waits there is not known", "");
    atomic_store(&is_closed, false);
    do {
        hark_dump(w->here, text, sizeof text);
    } while (strstr(text, "waits") == NULL);
    assert_int_equal(count_lines(text), 16 * 2 + 1);
    assert_true(ends_with(text, "\nand for 4 others\n"));
    world_close(w);
}

struct resting {
    hark_system *system;
    hark_ref asked;
    hark_ref self;
};

static void *
rest_in_thread(void *arg)
{
    struct resting *resting = arg;
    hark_ctx *ctx = hark_attach(resting->system);

    pthread_setname_np(pthread_self(), "night shift");
    resting->self = hark_self(ctx);
    hark_message *m = hark_receive(ctx, HARK_FOREVER);
    hark_message_free(ctx, m);
    hark_future f = hark_ask_within(ctx, HARK_FOREVER, resting->asked, get_balance);
    assert_null(hark_await(ctx, f, balance)); // when the system stops
    hark_detach(ctx);
    return NULL;
}

HARK_BLOCKING(drill, hark_ref) {
    hark_future f = hark_ask_within(ctx, HARK_FOREVER, *arg, get_balance);

    assert_null(hark_await(ctx, f, balance)); // as above
}

static void
a_dump_lists_threads_that_wait(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    struct resting resting = {.system = w->here_system,
                              .asked = hark_spawn(w->here, account)};
    static char text[TEXT];
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, rest_in_thread, &resting), 0);
    dump_until(w, text, "thread<");
    CHECK_LINES(text, " (night shift) waits ", "");
    assert_non_null(strstr(text, " ms for a message\n"));
    hark_tell(w->here, resting.self, go); // written before it waited
    dump_until(w, text, "get_balance of account<");
    CHECK_LINES(text, " (night shift) waits ", "");
    hark_future f = hark_blocking(w->here, drill, &resting.asked);
    dump_until(w, text, "(drill)");
    assert_non_null(strstr(strstr(text, "(drill)"), "\n  asked by main at "));
    hark_future_drop(w->here, f);
    assert_int_equal(hark_stop(w->here_system, HARK_SECONDS(10)), HARK_OK);
    pthread_join(thread, NULL);
    w->here_system = w->there_system = NULL;
    world_close(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_tells_the_calls_that_led_to_it),
        cmocka_unit_test(a_line_tells_the_place_and_no_more),
        cmocka_unit_test(a_call_of_which_nothing_is_known_is_not_told),
        cmocka_unit_test(a_chain_goes_through_three_nodes),
        cmocka_unit_test(a_refusal_onward_tells_the_chain_at_each_node),
        cmocka_unit_test(calls_in_a_circle_over_two_nodes_get_no_longer),
        cmocka_unit_test(asks_of_two_places_in_one_batch_keep_their_own),
        cmocka_unit_test(a_node_that_comes_back_is_told_the_calls_again),
        cmocka_unit_test(a_handler_can_tell_who_asked),
        cmocka_unit_test(a_thread_is_told_by_its_name),
        cmocka_unit_test(blocking_work_is_told_by_its_name),
        cmocka_unit_test(a_start_hook_tells_who_has_spawned_it),
        cmocka_unit_test(a_spawn_without_a_place_is_told_too),
        cmocka_unit_test(what_a_timer_leads_to_tells_who_has_armed_it),
        cmocka_unit_test(a_timers_message_tells_who_has_armed_it),
        cmocka_unit_test(a_message_that_is_sent_on_is_not_the_timers_any_more),
        cmocka_unit_test(what_a_combinator_asks_tells_for_whom),
        cmocka_unit_test(a_dump_lists_who_waits),
        cmocka_unit_test(a_dump_lists_continuations_too),
        cmocka_unit_test(a_dump_names_what_is_no_ask),
        cmocka_unit_test(a_dump_tells_whom_it_could_not_ask),
        cmocka_unit_test(a_dump_lists_threads_that_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
