// Await inside actors: a handler that waits goes on where it was, and what its actor
// does meanwhile.

#include "api/world.h"

HARK_MESSAGE(question, (i64, n))
HARK_MESSAGE(answer, (i64, n))
HARK_MESSAGE(hold, (i64, n))
HARK_MESSAGE(let_go)
HARK_MESSAGE(count_held)
HARK_MESSAGE(count_cancelled)
HARK_MESSAGE(plan, (ref, whom), (i64, n), (i32, what), (str, memo))
HARK_MESSAGE(outcome, (i64, n), (i32, code), (str, text))
HARK_MESSAGE(note, (i64, n))
HARK_MESSAGE(notes, (list, i64, seen))

// ---- who is asked ----

typedef struct {
    hark_promise held[64];
    int64_t numbers[64];
    size_t count;
} server;

HARK_ON(server, question) {
    if (msg->n < 0) {
        hark_refuse(ctx, HARK_EUSER, "negative: %d", (int)msg->n);
        return;
    }
    hark_reply(ctx, answer, .n = msg->n + 1);
}
HARK_ON(server, hold) {
    self->numbers[self->count] = msg->n;
    self->held[self->count++] = hark_defer(ctx);
}
HARK_ON(server, let_go) {
    for (size_t i = 0; i < self->count; i++) {
        hark_fulfil(ctx, self->held[i], answer, .n = self->numbers[i]);
    }
    self->count = 0;
}
HARK_ON(server, count_held) {
    hark_reply(ctx, answer, .n = (int64_t)self->count);
}
HARK_ON(server, count_cancelled) {
    int64_t cancelled = 0;

    for (size_t i = 0; i < self->count; i++) {
        cancelled += hark_promise_cancelled(ctx, self->held[i]);
    }
    hark_reply(ctx, answer, .n = cancelled);
}
HARK_ACTOR(server, question, hold, let_go, count_held, count_cancelled)

// Waits until so many asks are held there, without sleeping.
static void
until_held(struct world *w, hark_ref s, int64_t count)
{
    for (;;) {
        hark_future f = hark_ask(w->here, s, count_held);
        const answer *a = hark_await(w->here, f, answer);
        assert_non_null(a);
        bool enough = a->n >= count;
        hark_future_drop(w->here, f);
        if (enough) {
            return;
        }
    }
}

// ---- who waits ----

enum {
    ASK,         // and answer with what came
    ASK_HELD,    // somebody else lets it go
    SUM,         // n asks, one after the other
    BOTH,        // two asks at once, then both replies
    READY,       // waits for a future that is done
    TWICE,       // waits twice for the same one
    CONTINUED,   // waits for one that is continued
    FOREIGN,     // waits for one of somebody else
    WRONG_TYPE,  // expects another type
    INTERLEAVED, // as ASK_HELD, and others may run meanwhile
    SHORT,       // a timeout that runs out
    RECURSE,     // deep in its stack
    SELF,        // asks itself
    MAPPED,      // a future made of futures, while another is waited for
    RACED,       // all, any and race over asks
    SHIELDED,    // as ASK_HELD, in a shield
    NOT_CHILD,   // waits for a future that no ask stands behind
    BUSY,        // runs on and on, with checkpoints, until somebody stops it
};

typedef struct {
    int64_t seen[64];
    size_t count;
} waiter;

static hark_future foreign;

HARK_ON(waiter, note) {
    self->seen[self->count++] = msg->n;
}
HARK_ON(waiter, notes) {
    hark_reply(ctx, notes, .seen = {self->seen, self->count});
}
HARK_ON(waiter, question) {
    hark_reply(ctx, answer, .n = msg->n + 1000);
}

HARK_THEN(waiter, noted, answer) {
    self->seen[self->count++] = msg->n;
}
HARK_ELSE(waiter, noted) {
    self->seen[self->count++] = -error->code;
}
HARK_CONTINUATION(waiter, noted, answer)

static void
report_error(hark_ctx *ctx)
{
    const hark_error *error = hark_error_of(ctx);

    hark_reply(ctx, outcome, .code = error->code, .text = hark_str_of(error->text));
}

// Answers with what f brings.
static void
report(hark_ctx *ctx, hark_future f)
{
    const answer *a = hark_await(ctx, f, answer);

    if (a == NULL) {
        report_error(ctx);
    } else {
        hark_reply(ctx, outcome, .n = a->n);
    }
}

static int64_t
sum(hark_ctx *ctx, hark_ref whom, int64_t n)
{
    int64_t total = 0;

    for (int64_t i = 0; i < n; i++) {
        const answer *a =
            hark_await(ctx, hark_ask(ctx, whom, question, .n = i), answer);

        if (a == NULL) {
            return -1;
        }
        total += a->n;
    }
    return total;
}

// Each level's frame is checked after its wait.
static int64_t
recurse(hark_ctx *ctx, hark_ref whom, int64_t depth)
{
    volatile int64_t frame[32];

    for (int64_t i = 0; i < 32; i++) {
        frame[i] = depth * 32 + i;
    }
    const answer *a =
        hark_await(ctx, hark_ask(ctx, whom, question, .n = depth), answer);
    int64_t below = depth > 0 ? recurse(ctx, whom, depth - 1) : 0;
    for (int64_t i = 0; i < 32; i++) {
        if (frame[i] != depth * 32 + i) {
            return INT64_MIN;
        }
    }
    return a != NULL ? below + a->n : INT64_MIN;
}

static void
wait_for_both(hark_ctx *ctx, const plan *msg)
{
    hark_future first = hark_ask(ctx, msg->whom, question, .n = msg->n);
    hark_future second = hark_ask(ctx, msg->whom, question, .n = msg->n * 10);
    const answer *b = hark_await(ctx, second, answer);
    const answer *a = hark_await(ctx, first, answer);

    hark_reply(ctx, outcome, .n = a != NULL && b != NULL ? a->n + b->n : -1);
}

static void
wait_when_ready(hark_ctx *ctx, const plan *msg)
{
    hark_future f = hark_ask(ctx, msg->whom, question, .n = msg->n);
    const answer *a = hark_await(ctx, f, answer);
    const answer *again = hark_await(ctx, f, answer);

    hark_reply(ctx, outcome, .n = a != NULL && a == again ? a->n : -1);
}

static void
wait_for_continued(hark_ctx *ctx, const plan *msg)
{
    hark_future f = hark_ask(ctx, msg->whom, question, .n = msg->n);

    assert_int_equal(hark_then(ctx, f, waiter, noted, NULL), HARK_OK);
    report(ctx, f);
}

HARK_MAP(ten_times, answer)
{
    hark_result(ctx, answer, .n = msg->n * 10);
}

HARK_MAP(wait_inside, answer)
{
    hark_future f = hark_future_of(ctx, answer, .n = msg->n);

    assert_null(hark_await(ctx, f, answer));
    hark_result(ctx, answer, .n = hark_error_of(ctx)->code);
}

// The first is done, with its callback, while the second is waited for; and is still ours.
static void
wait_for_mapped(hark_ctx *ctx, const plan *msg)
{
    hark_future first =
        hark_map(ctx, hark_ask(ctx, msg->whom, question, .n = msg->n), ten_times, NULL);
    hark_future wrong = hark_map(ctx, hark_ask(ctx, msg->whom, question, .n = msg->n),
                                 wait_inside, NULL);
    int64_t all = sum(ctx, msg->whom, 20);
    bool was_done = hark_future_done(ctx, first);
    const answer *a = hark_await(ctx, first, answer);
    const answer *b = hark_await(ctx, wrong, answer);

    hark_reply(ctx, outcome, .n = a != NULL ? a->n + all : -1,
               .code = was_done && b != NULL ? (int32_t)b->n : -1);
}

static void
wait_for_raced(hark_ctx *ctx, const plan *msg)
{
    hark_future asked[3];
    int64_t total = 0;

    for (int i = 0; i < 3; i++) {
        asked[i] = hark_ask(ctx, msg->whom, question, .n = i);
    }
    hark_future all = hark_all(ctx, asked, 3);
    if (hark_await(ctx, all, hark_all_done) == NULL) {
        report_error(ctx);
        return;
    }
    for (int i = 0; i < 3; i++) {
        total += hark_future_get(ctx, asked[i], answer)->n;
    }
    hark_future ends[2] = {hark_ask(ctx, msg->whom, hold, .n = 1),
                           hark_ask(ctx, msg->whom, question, .n = 99)};
    report(ctx, hark_map(ctx, hark_any(ctx, ends, 2), ten_times, NULL));
    assert_int_equal(total, 6);
}

HARK_ON(waiter, plan) {
    char *kept = hark_alloc(ctx, 16);

    memcpy(kept, "kept", 5);
    switch (msg->what) {
    case ASK:
        report(ctx, hark_ask(ctx, msg->whom, question, .n = msg->n));
        break;
    case ASK_HELD: {
        hark_future f = hark_ask(ctx, msg->whom, hold, .n = msg->n);

        assert_int_equal(hark_future_keep(ctx, f), HARK_OK); // held, whoever waits
        report(ctx, f);
        break;
    }
    case INTERLEAVED:
        assert_int_equal(hark_wait_mode(ctx, HARK_WAIT_INTERLEAVE), HARK_OK);
        report(ctx, hark_ask(ctx, msg->whom, hold, .n = msg->n));
        break;
    case SUM:
        hark_reply(ctx, outcome, .n = sum(ctx, msg->whom, msg->n));
        break;
    case RECURSE:
        hark_reply(ctx, outcome, .n = recurse(ctx, msg->whom, msg->n));
        break;
    case BOTH:
        wait_for_both(ctx, msg);
        break;
    case READY:
        wait_when_ready(ctx, msg);
        break;
    case CONTINUED:
        wait_for_continued(ctx, msg);
        break;
    case FOREIGN:
        report(ctx, foreign);
        break;
    case WRONG_TYPE: {
        hark_future f = hark_ask(ctx, msg->whom, question, .n = msg->n);
        if (hark_await(ctx, f, outcome) == NULL) {
            report_error(ctx);
        }
        break;
    }
    case SHORT:
        report(ctx, hark_ask_within(ctx, 20, msg->whom, hold, .n = msg->n));
        break;
    case MAPPED:
        wait_for_mapped(ctx, msg);
        break;
    case RACED:
        wait_for_raced(ctx, msg);
        break;
    case SHIELDED:
        assert_int_equal(hark_shield(ctx, HARK_FOREVER), HARK_OK);
        report(ctx, hark_ask(ctx, msg->whom, hold, .n = msg->n));
        self->seen[self->count++] = msg->n;
        hark_shield_end(ctx);
        break;
    case NOT_CHILD: {
        const answer *a = hark_await(ctx, hark_future_new(ctx), answer);
        self->seen[self->count++] = a != NULL ? -1 : hark_error_of(ctx)->code;
        a = hark_await(ctx, hark_ask(ctx, msg->whom, question), answer);
        self->seen[self->count++] = a != NULL ? -1 : hark_error_of(ctx)->code;
        break;
    }
    case BUSY: {
        hark_err err;
        do {
            err = hark_checkpoint(ctx);
        } while (err == HARK_OK);
        self->seen[self->count++] = err;
        break;
    }
    case SELF:
        report(ctx, hark_ask_within(ctx, 20, hark_self(ctx), question));
        break;
    default:
        break;
    }
    // What a turn is given lives until it ends.
    assert_string_equal(kept, "kept");
    assert_string_equal(msg->memo.ptr, "a memo");
}
HARK_ACTOR(waiter, note, notes, question, plan)

typedef waiter sharer;
HARK_ON(sharer, note) {
    self->seen[self->count++] = msg->n;
}
HARK_ON(sharer, notes) {
    hark_reply(ctx, notes, .seen = {self->seen, self->count});
}
HARK_ON(sharer, plan) {
    report(ctx, hark_ask(ctx, msg->whom, hold, .n = msg->n));
}
HARK_ACTOR_WITH(sharer, (interleave), note, notes, plan)

// ---- circles ----

HARK_MESSAGE(walk, (list, ref, path), (u32, at))
HARK_MESSAGE(meet, (ref, gate), (ref, other))

typedef struct {
    int64_t walked;
} walker;

HARK_ON(walker, question) {
    hark_reply(ctx, answer, .n = msg->n);
}
HARK_ON(walker, walk) {
    self->walked++;
    if (msg->at + 1 >= msg->path.count) {
        hark_reply(ctx, outcome, .n = self->walked);
        return;
    }
    hark_future f = hark_ask(ctx, msg->path.items[msg->at + 1], walk, .path = msg->path,
                             .at = msg->at + 1);
    const outcome *o = hark_await(ctx, f, outcome);
    if (o != NULL) {
        hark_reply(ctx, outcome, .n = o->n, .code = o->code, .text = o->text);
    } else {
        report_error(ctx);
    }
}
// Waits until the gate opens, and then for the other one.
HARK_ON(walker, meet) {
    hark_future opened = hark_ask(ctx, msg->gate, hold);
    if (hark_await(ctx, opened, answer) == NULL) {
        report_error(ctx);
        return;
    }
    report(ctx, hark_ask(ctx, msg->other, question, .n = 5));
}
HARK_ACTOR(walker, question, walk, meet)

// ---- the tests' side ----

static hark_future
give(struct world *w, hark_ref who, hark_ref whom, int32_t what, int64_t n)
{
    return hark_ask(w->here, who, plan, .whom = whom, .what = what, .n = n,
                    .memo = HARK_STR("a memo"));
}

static outcome
take(struct world *w, hark_future f)
{
    const outcome *o = hark_await(w->here, f, outcome);

    if (o == NULL) {
        fail_msg("%s", world_error(w));
    }
    return *o;
}

// Asks until so many are there: continuations, and what was set aside, may still be to
// come, and a mailbox may be full.
static void
check_notes(struct world *w, hark_ref who, const int64_t *expected, size_t count)
{
    const notes *seen;
    hark_future f = {0, 0};

    do {
        hark_future_drop(w->here, f);
        f = hark_ask(w->here, who, notes);
        seen = hark_await(w->here, f, notes);
        if (seen == NULL && hark_error_of(w->here)->code != HARK_ELIMIT) {
            fail_msg("%s", world_error(w));
        }
    } while (seen == NULL || seen->seen.count < count);
    assert_int_equal(seen->seen.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(seen->seen.items[i], expected[i]);
    }
}

// Runs test with a waiter here and a server there.
static void
everywhere(void (*test)(struct world *w, hark_ref who, hark_ref whom))
{
    for (enum reach reach = REACH_LOCAL; reach <= REACH_IPC; reach++) {
        struct world *w = world_open(reach, NULL);
        hark_ref whom = world_reach(w, "server", hark_spawn(w->there, server));

        test(w, hark_spawn(w->here, waiter), whom);
        world_close(w);
    }
}

static void
answer_comes(struct world *w, hark_ref who, hark_ref whom)
{
    assert_int_equal(take(w, give(w, who, whom, ASK, 41)).n, 42);
    assert_int_equal(take(w, give(w, who, whom, SUM, 100)).n, 5050);
    assert_int_equal(take(w, give(w, who, whom, BOTH, 2)).n, 3 + 21);
    assert_int_equal(take(w, give(w, who, whom, READY, 5)).n, 6);
}

static void
a_handler_goes_on_with_the_answer(void **state)
{
    (void)state;
    everywhere(answer_comes);
}

static void
failure_comes(struct world *w, hark_ref who, hark_ref whom)
{
    outcome o = take(w, give(w, who, whom, ASK, -3));
    assert_int_equal(o.code, HARK_EUSER);
    assert_string_equal(o.text.ptr, "negative: -3");
    assert_int_equal(take(w, give(w, who, whom, SHORT, 1)).code, HARK_ETIMEOUT);
    assert_int_equal(take(w, give(w, who, whom, WRONG_TYPE, 1)).code, HARK_ETYPE);
    assert_int_equal(take(w, give(w, who, whom, ASK, 1)).n, 2); // and it goes on
}

static void
a_handler_goes_on_with_the_failure(void **state)
{
    (void)state;
    everywhere(failure_comes);
}

static void
messages_wait(struct world *w, hark_ref who, hark_ref whom)
{
    hark_future f = give(w, who, whom, ASK_HELD, 7);

    until_held(w, whom, 1);
    for (int64_t i = 1; i <= 5; i++) {
        hark_tell(w->here, who, note, .n = i);
    }
    hark_future g = give(w, who, whom, ASK, 9);
    hark_tell(w->here, who, note, .n = 6);
    hark_future asked = hark_ask(w->here, who, question, .n = 1);
    assert_int_equal(take(w, give(w, hark_spawn(w->here, waiter), whom, ASK, 1)).n, 2);
    assert_false(hark_future_done(w->here, f));
    assert_false(hark_future_done(w->here, asked));
    hark_tell(w->here, whom, let_go);
    assert_int_equal(take(w, f).n, 7);
    assert_int_equal(take(w, g).n, 10);
    const answer *a = hark_await(w->here, asked, answer);
    assert_non_null(a);
    assert_int_equal(a->n, 1001);
    check_notes(w, who, (const int64_t[]){1, 2, 3, 4, 5, 6}, 6);
}

static void
other_messages_wait_and_keep_their_order(void **state)
{
    (void)state;
    everywhere(messages_wait);
}

static void
messages_pass(struct world *w, hark_ref who, hark_ref whom)
{
    hark_ref mine = hark_spawn(w->here, sharer);
    hark_future f = give(w, who, whom, INTERLEAVED, 7);
    hark_future g = give(w, mine, whom, 0, 8);

    until_held(w, whom, 2);
    hark_tell(w->here, who, note, .n = 1);
    hark_tell(w->here, mine, note, .n = 2);
    check_notes(w, who, (const int64_t[]){1}, 1);
    check_notes(w, mine, (const int64_t[]){2}, 1);
    hark_future h = give(w, mine, whom, 0, 9); // another handler that waits
    until_held(w, whom, 3);
    assert_false(hark_future_done(w->here, f));
    hark_tell(w->here, whom, let_go);
    assert_int_equal(take(w, h).n, 9);
    assert_int_equal(take(w, f).n, 7);
    assert_int_equal(take(w, g).n, 8);
}

static void
other_messages_pass_a_handler_that_interleaves(void **state)
{
    (void)state;
    everywhere(messages_pass);
}

static void
an_exclusive_wait_also_holds_up_those_that_interleave(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref first = hark_spawn(w->here, server);
    hark_ref second = hark_spawn(w->here, server);
    hark_ref who = hark_spawn(w->here, waiter);

    (void)state;
    hark_future f = give(w, who, first, INTERLEAVED, 1);
    until_held(w, first, 1);
    hark_future g = give(w, who, second, ASK_HELD, 2);
    until_held(w, second, 1);
    hark_tell(w->here, first, let_go);
    until_held(w, first, 0); // its answer is on its way, before what we tell now
    hark_tell(w->here, who, note, .n = 3);
    assert_int_equal(take(w, give(w, hark_spawn(w->here, waiter), first, ASK, 1)).n, 2);
    assert_false(hark_future_done(w->here, f));
    hark_tell(w->here, second, let_go);
    assert_int_equal(take(w, g).n, 2);
    assert_int_equal(take(w, f).n, 1);
    check_notes(w, who, (const int64_t[]){3}, 1);
    world_close(w);
}

static void
futures_made_of_futures_end(struct world *w, hark_ref who, hark_ref whom)
{
    outcome o = take(w, give(w, who, whom, MAPPED, 4));

    assert_int_equal(o.n, 50 + 210);
    assert_int_equal(o.code, HARK_ENOTSUP);
    assert_int_equal(take(w, give(w, who, whom, RACED, 4)).n, 1000);
}

static void
futures_made_of_futures_end_while_a_handler_waits(void **state)
{
    (void)state;
    everywhere(futures_made_of_futures_end);
}

static void
a_future_that_is_not_there_is_refused(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref whom = hark_spawn(w->here, server);
    hark_ref who = hark_spawn(w->here, waiter);

    (void)state;
    foreign = (hark_future){0, 0};
    assert_int_equal(take(w, give(w, who, whom, FOREIGN, 1)).code, HARK_ESTALE);
    foreign = hark_ask(w->here, whom, question, .n = 1);
    assert_int_equal(take(w, give(w, who, whom, FOREIGN, 1)).code, HARK_ESTALE);
    outcome o = take(w, give(w, who, whom, CONTINUED, 1));
    assert_int_equal(o.code, HARK_ESTALE);
    assert_non_null(strstr(o.text.ptr, "continued"));
    check_notes(w, who, (const int64_t[]){2}, 1);
    world_close(w);
}

// ---- cancels ----

static void
a_cancel_ends_waits(struct world *w, hark_ref who, hark_ref whom)
{
    hark_future f = give(w, who, whom, ASK_HELD, 7);

    until_held(w, whom, 1);
    hark_future aside = hark_ask(w->here, who, question, .n = 1);
    hark_future kept = hark_ask(w->here, who, question, .n = 2);
    hark_future_drop(w->here, aside);
    assert_int_equal(hark_cancel(w->here, f), HARK_OK);
    assert_null(hark_await(w->here, f, outcome));
    world_assert_error(w, HARK_ECANCELLED, "");
    const answer *a = hark_await(w->here, kept, answer); // its handler has returned
    assert_non_null(a);
    assert_int_equal(a->n, 1002);
    // The ask behind it was cancelled in turn.
    hark_future held;
    do {
        held = hark_ask(w->here, whom, count_cancelled);
        a = hark_await(w->here, held, answer);
        assert_non_null(a);
    } while (a->n < 1);
}

static void
a_cancel_ends_the_wait_and_what_it_waits_for(void **state)
{
    (void)state;
    everywhere(a_cancel_ends_waits);
}

// In whatever order: also those that are not found at once among the others.
static void
asks_that_were_set_aside_are_not_run_when_they_are_cancelled(void **state)
{
    enum { ASKS = 3000 };
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref whom = hark_spawn(w->here, server);
    hark_ref who = hark_spawn(w->here, waiter);
    hark_future f = give(w, who, whom, ASK_HELD, 7);
    static hark_future asks[ASKS];
    hark_stats stats;

    (void)state;
    until_held(w, whom, 1);
    for (int i = 0; i < ASKS; i++) {
        asks[i] = hark_ask_within(w->here, HARK_FOREVER, who, question, .n = i);
    }
    // A third from behind, and one as they come; the rest is to be answered.
    for (int i = 0; i < ASKS / 3; i++) {
        hark_future_drop(w->here, asks[ASKS - 1 - i]);
        hark_future_drop(w->here, asks[i]);
    }
    hark_tell(w->here, whom, let_go);
    assert_int_equal(take(w, f).code, 0);
    for (int i = ASKS / 3; i < ASKS - ASKS / 3; i++) {
        const answer *a = hark_await(w->here, asks[i], answer);

        assert_non_null(a);
        assert_int_equal(a->n, 1000 + i);
    }
    hark_future last = hark_ask(w->here, who, question, .n = 1);
    assert_non_null(
        hark_await(w->here, last, answer)); // so all before it was looked at
    hark_stats_read(w->here_system, &stats);
    assert_int_equal(stats.cancelled, ASKS / 3 * 2);
    world_close(w);
}

static void
a_shield_waits_on(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref whom = hark_spawn(w->here, server);
    hark_ref who = hark_spawn(w->here, waiter);

    (void)state;
    hark_future f = give(w, who, whom, SHIELDED, 7);
    until_held(w, whom, 1);
    hark_future_drop(w->here, f);
    assert_int_equal(take(w, give(w, hark_spawn(w->here, waiter), whom, ASK, 1)).n, 2);
    hark_tell(w->here, whom, let_go);
    check_notes(w, who, (const int64_t[]){7}, 1);
    world_close(w);
}

static void
a_wait_for_no_ask_ends_too(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref whom = hark_spawn(w->here, server);
    hark_ref who = hark_spawn(w->here, waiter);

    (void)state;
    hark_future f = give(w, who, whom, NOT_CHILD, 7);
    hark_future_drop(w->here, f);
    // It began, or was removed before: then there are no notes, and the next ask is.
    hark_future g = give(w, who, whom, NOT_CHILD, 7);
    hark_future h = hark_ask(w->here, who, question);
    assert_int_equal(hark_cancel(w->here, g), HARK_OK);
    assert_non_null(hark_await(w->here, h, answer));
    world_close(w);
}

static void
a_checkpoint_lets_others_run(void **state)
{
    struct world *w = world_open(REACH_LOCAL, &(hark_options){.workers = 1});
    hark_ref whom = hark_spawn(w->here, server);
    hark_ref who = hark_spawn(w->here, waiter);
    hark_ref other = hark_spawn(w->here, waiter);

    (void)state;
    hark_future f = give(w, who, whom, BUSY, 0);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(take(w, give(w, other, whom, ASK, i)).n, i + 1);
    }
    assert_int_equal(hark_cancel(w->here, f), HARK_OK);
    check_notes(w, who, (const int64_t[]){HARK_ECANCELLED}, 1);
    hark_future g = give(w, who, whom, BUSY, 0);
    assert_int_equal(take(w, give(w, other, whom, ASK, 1)).n, 2);
    assert_int_equal(hark_actor_stop(w->here, who), HARK_OK);
    assert_null(hark_await(w->here, g, outcome));
    world_close(w);
}

// ---- circles ----

static outcome
walk_along(struct world *w, const hark_ref *path, size_t count)
{
    return take(w, hark_ask(w->here, path[0], walk, .path = {path, count}));
}

static void
a_circle_ends_at_once_and_says_who(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref path[40];
    char names[256];

    (void)state;
    for (size_t length = 1; length < 40; length = length * 2 + 1) {
        for (size_t i = 0; i < length; i++) {
            path[i] = hark_spawn(w->here, walker);
        }
        path[length] = path[0];
        outcome o = walk_along(w, path, length + 1);
        assert_int_equal(o.code, HARK_EDEADLK);
        size_t size = hark_ref_print(w->here, path[length - 1], names, sizeof names);
        if (length == 3) { // the last to wait has found it
            snprintf(names + size, sizeof names - size, " waits for ");
            size += strlen(" waits for ");
            hark_ref_print(w->here, path[0], names + size, sizeof names - size);
            assert_non_null(strstr(o.text.ptr, names));
        }
        assert_int_equal(walk_along(w, path, 1).n, 2); // and it lives on
    }
    world_close(w);
}

static void
a_circle_of_two_requests_ends(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref gate = hark_spawn(w->here, server);

    (void)state;
    for (int i = 0; i < 100; i++) {
        hark_ref a = hark_spawn(w->here, walker);
        hark_ref b = hark_spawn(w->here, walker);
        hark_future f = hark_ask(w->here, a, meet, .gate = gate, .other = b);
        hark_future g = hark_ask(w->here, b, meet, .gate = gate, .other = a);

        until_held(w, gate, 2);
        hark_tell(w->here, gate, let_go);
        outcome o = take(w, f), p = take(w, g);
        // One of them is found out, or both, or one was through before the other began.
        assert_true(o.code == HARK_EDEADLK || (o.code == HARK_OK && o.n == 5));
        assert_true(p.code == HARK_EDEADLK || (p.code == HARK_OK && p.n == 5));
    }
    world_close(w);
}

static void
a_way_back_that_interleaves_is_no_circle(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref gate = hark_spawn(w->here, server);
    hark_ref a = hark_spawn(w->here, sharer);
    hark_ref b = hark_spawn(w->here, walker);

    (void)state;
    hark_future f = give(w, a, gate, 0, 3);
    until_held(w, gate, 1);
    hark_future g = hark_ask(w->here, b, meet, .gate = gate, .other = a);
    until_held(w, gate, 2);
    hark_tell(w->here, gate, let_go);
    assert_int_equal(take(w, f).n, 3);
    assert_int_equal(take(w, g).code, HARK_ENOHANDLER); // it got there
    world_close(w);
}

// ---- stops ----

static void
a_stop_ends_the_wait_and_what_was_set_aside(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref whom = hark_spawn(w->here, server);
    hark_ref who = hark_spawn(w->here, waiter);
    hark_stats stats;

    (void)state;
    hark_future f = give(w, who, whom, ASK_HELD, 1);
    until_held(w, whom, 1);
    hark_future g = hark_ask(w->here, who, question, .n = 1);
    hark_tell(w->here, who, note, .n = 1);
    // These are known to be set aside, or in the mailbox: both must end the same way.
    assert_int_equal(take(w, give(w, hark_spawn(w->here, waiter), whom, ASK, 1)).n, 2);
    assert_int_equal(hark_actor_stop(w->here, who), HARK_OK);
    outcome o = take(w, f);
    assert_int_equal(o.code, HARK_ESTOPPED);
    assert_null(hark_await(w->here, g, answer));
    world_assert_error(w, HARK_ESTOPPED, "stopped before it looked");
    do {
        hark_stats_read(w->here_system, &stats);
    } while (stats.dead_letters < 1);
    assert_false(hark_is_alive(w->here, who));
    world_close(w);
}

static void
the_system_stops_with_handlers_that_wait(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref whom = hark_spawn(w->here, server);

    (void)state;
    for (int i = 0; i < 20; i++) {
        hark_ref who = hark_spawn(w->here, waiter);
        hark_future f = give(w, who, whom, i % 2 == 0 ? ASK_HELD : INTERLEAVED, i);
        assert_false(hark_future_done(w->here, f));
        hark_tell(w->here, who, note, .n = i);
    }
    until_held(w, whom, 20);
    world_close(w);
}

// ---- hooks and continuations ----

typedef struct {
    hark_ref whom;
    hark_ref owner;
    int64_t at_start;
} careful;

HARK_HOOK(careful, start) {
    self->at_start = sum(ctx, self->whom, 10);
}
HARK_HOOK(careful, stop) {
    hark_tell(ctx, self->owner, note, .n = sum(ctx, self->whom, 20));
}
HARK_ON(careful, question) {
    hark_reply(ctx, answer, .n = self->at_start);
}
HARK_ACTOR_WITH(careful, (start, stop), question)

static void
hooks_may_wait(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref whom = hark_spawn(w->here, server);
    hark_ref who =
        hark_spawn(w->here, careful, .whom = whom, .owner = hark_self(w->here));
    const answer *a = hark_await(w->here, hark_ask(w->here, who, question), answer);

    (void)state;
    assert_non_null(a);
    assert_int_equal(a->n, 55);
    assert_int_equal(hark_actor_stop(w->here, who), HARK_OK);
    hark_message *message = hark_receive(w->here, HARK_SECONDS(10));
    assert_non_null(message);
    const note *n = hark_message_as(message, &note_type);
    assert_int_equal(n->n, 210);
    hark_message_free(w->here, message);
    world_close(w);
}

typedef struct {
    hark_ref whom;
    hark_promise promise;
    int64_t told;
} chainer;

HARK_THEN(chainer, first, answer) {
    int64_t below = sum(ctx, self->whom, msg->n);

    hark_fulfil(ctx, self->promise, answer, .n = below * 1000 + self->told);
}
HARK_ELSE(chainer, first) {
    hark_break(ctx, self->promise, error->code, "%s", error->text);
}
HARK_CONTINUATION(chainer, first, answer)
HARK_ON(chainer, question) {
    self->promise = hark_defer(ctx);
    hark_future f = hark_ask(ctx, self->whom, question, .n = msg->n);
    assert_int_equal(hark_then(ctx, f, chainer, first, NULL), HARK_OK);
}
HARK_ON(chainer, note) {
    self->told += msg->n;
}
HARK_ACTOR(chainer, question, note)

static void
a_continuation_may_wait(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref whom = hark_spawn(w->here, server);
    hark_ref who = hark_spawn(w->here, chainer, .whom = whom);

    (void)state;
    const answer *a =
        hark_await(w->here, hark_ask(w->here, who, question, .n = 9), answer);
    assert_non_null(a);
    assert_int_equal(a->n, 55000);
    world_close(w);
}

HARK_MESSAGE(both, (ref, slow), (ref, quick))

typedef struct {
    int64_t seen[4];
    size_t count;
} orderly;

HARK_THEN(orderly, seen, answer) {
    self->seen[self->count++] = msg->n;
}
HARK_ELSE(orderly, seen) {
    self->seen[self->count++] = error->code;
}
HARK_CONTINUATION(orderly, seen, answer)
HARK_ON(orderly, both) {
    hark_future quick = hark_ask(ctx, msg->quick, question, .n = 1);
    assert_int_equal(hark_then(ctx, quick, orderly, seen, NULL), HARK_OK);
    sum(ctx, msg->quick, 10); // its answer has come by now: it was asked first
    hark_future slow = hark_ask(ctx, msg->slow, hold, .n = 5);
    const answer *a = hark_await(ctx, slow, answer);
    assert_non_null(a);
    self->seen[self->count++] = a->n;
    hark_reply(ctx, answer, .n = (int64_t)self->count);
}
HARK_ON(orderly, notes) {
    hark_reply(ctx, notes, .seen = {self->seen, self->count});
}
HARK_ACTOR(orderly, both, notes)

static void
a_continuation_runs_after_the_handler_that_waits(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref slow = hark_spawn(w->here, server);
    hark_ref quick = hark_spawn(w->here, server);
    hark_ref who = hark_spawn(w->here, orderly);

    (void)state;
    hark_future f = hark_ask(w->here, who, both, .slow = slow, .quick = quick);
    until_held(w, slow, 1);
    hark_tell(w->here, slow, let_go);
    const answer *a = hark_await(w->here, f, answer);
    assert_non_null(a);
    assert_int_equal(a->n, 1); // its own, and not the continuation's
    check_notes(w, who, (const int64_t[]){5, 2}, 2);
    world_close(w);
}

// ---- many, and much ----

static void
a_deep_stack_is_as_it_was(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref whom = hark_spawn(w->here, server);
    hark_future f[8];

    (void)state;
    for (int i = 0; i < 8; i++) {
        f[i] = give(w, hark_spawn(w->here, waiter), whom, RECURSE, 60);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(take(w, f[i]).n, 61 * 62 / 2);
    }
    assert_in_range(hark_stack_deepest(w->here_system), 16 * 1024, 4 * 64 * 1024);
    world_close(w);
}

#define MANY ((size_t)2000)

static void
many_wait_at_once(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref *servers = calloc(MANY, sizeof *servers);
    hark_future *f = calloc(MANY, sizeof *f);
    int64_t total = 0;

    (void)state;
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < MANY; i++) {
            servers[i] = round == 0 ? hark_spawn(w->here, server) : servers[i];
            f[i] = give(w, hark_spawn(w->here, waiter), servers[i], ASK_HELD, 1);
        }
        for (size_t i = 0; i < MANY; i++) {
            until_held(w, servers[i], 1);
        }
        for (size_t i = 0; i < MANY; i++) {
            hark_tell(w->here, servers[i], let_go);
        }
        for (size_t i = 0; i < MANY; i++) {
            total += take(w, f[i]).n;
        }
    }
    assert_int_equal(total, 2 * MANY);
    free(servers);
    free(f);
    world_close(w);
}

static void
more_than_the_limit_are_told_so(void **state)
{
    struct world *w = world_open(REACH_LOCAL, &(hark_options){.waiting_limit = 64});
    hark_ref whom = hark_spawn(w->here, server);
    hark_ref other = hark_spawn(w->here, server);
    hark_future f[70];
    int refused = 0;

    (void)state;
    for (int i = 0; i < 70; i++) {
        hark_ref who = hark_spawn(w->here, waiter);
        f[i] = give(w, who, i < 60 ? whom : other, ASK_HELD, 1);
    }
    until_held(w, whom, 60);
    until_held(w, other, 10);
    hark_tell(w->here, whom, let_go);
    hark_tell(w->here, other, let_go);
    for (int i = 0; i < 70; i++) {
        outcome o = take(w, f[i]);
        refused += o.code == HARK_ELIMIT;
    }
    assert_in_range(refused, 70 - 66,
                    70 - 62); // a worker's stack counts, free ones too
    world_close(w);
}

static void
a_full_mailbox_counts_what_is_set_aside(void **state)
{
    struct world *w = world_open(REACH_LOCAL, NULL);
    hark_ref whom = hark_spawn(w->here, server);
    hark_ref who =
        hark_spawn_with(w->here, &(hark_spawn_options){.mailbox_limit = 3}, waiter);

    (void)state;
    hark_future f = give(w, who, whom, ASK_HELD, 1);
    until_held(w, whom, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hark_tell(w->here, who, note, .n = i), HARK_OK);
    }
    assert_int_equal(hark_tell(w->here, who, note, .n = 3), HARK_ELIMIT);
    hark_tell(w->here, whom, let_go); // the answer is not refused
    assert_int_equal(take(w, f).n, 1);
    check_notes(w, who, (const int64_t[]){0, 1, 2}, 3);
    world_close(w);
}

#define TEST(name) cmocka_unit_test(name)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_handler_goes_on_with_the_answer),
        TEST(a_handler_goes_on_with_the_failure),
        TEST(other_messages_wait_and_keep_their_order),
        TEST(other_messages_pass_a_handler_that_interleaves),
        TEST(an_exclusive_wait_also_holds_up_those_that_interleave),
        TEST(futures_made_of_futures_end_while_a_handler_waits),
        TEST(a_future_that_is_not_there_is_refused),
        TEST(a_cancel_ends_the_wait_and_what_it_waits_for),
        TEST(asks_that_were_set_aside_are_not_run_when_they_are_cancelled),
        TEST(a_shield_waits_on),
        TEST(a_wait_for_no_ask_ends_too),
        TEST(a_checkpoint_lets_others_run),
        TEST(a_circle_ends_at_once_and_says_who),
        TEST(a_circle_of_two_requests_ends),
        TEST(a_way_back_that_interleaves_is_no_circle),
        TEST(a_stop_ends_the_wait_and_what_was_set_aside),
        TEST(the_system_stops_with_handlers_that_wait),
        TEST(hooks_may_wait),
        TEST(a_continuation_may_wait),
        TEST(a_continuation_runs_after_the_handler_that_waits),
        TEST(a_deep_stack_is_as_it_was),
        TEST(many_wait_at_once),
        TEST(more_than_the_limit_are_told_so),
        TEST(a_full_mailbox_counts_what_is_set_aside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
