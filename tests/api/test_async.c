// Futures made of futures: each combinator, in an actor and in an attached thread, with
// the other side on this node and behind links.
//
// A recipe makes one future, whose reply is an `answer`, of a ctx and a server. expect_n
// and expect_error have it made by a thread, which awaits it, and by an actor, which
// continues it, and compare.

#include "api/world.h"

HARK_MESSAGE(question, (i64, n))
HARK_MESSAGE(answer, (i64, n))
HARK_MESSAGE(stall)
HARK_MESSAGE(unstall)
HARK_MESSAGE(flaky, (i64, failures), (i32, code))
HARK_MESSAGE(cook, (ref, whom), (i32, dish))
HARK_MESSAGE(cooked, (i64, n), (i32, code), (str, text))
HARK_MESSAGE(leave, (ref, whom))
HARK_MESSAGE(touch)

// ---- whom is asked ----

typedef struct {
    hark_promise held[64];
    size_t count;
    int64_t failed;
} server;

HARK_ON(server, question) {
    if (msg->n < 0) {
        hark_refuse(ctx, HARK_EUSER, "negative: %d", (int)msg->n);
        return;
    }
    hark_reply(ctx, answer, .n = msg->n + 1);
}
HARK_ON(server, stall) {
    self->held[self->count++ % 64] = hark_defer(ctx);
}
HARK_ON(server, unstall) {
    while (self->count > 0) {
        (void)hark_fulfil(ctx, self->held[--self->count], answer, .n = 77);
    }
    hark_reply(ctx, answer);
}
HARK_ON(server, flaky) { // fails so many times, and then answers how many
    if (self->failed < msg->failures) {
        self->failed++;
        hark_refuse(ctx, msg->code, "failure %d", (int)self->failed);
        return;
    }
    hark_reply(ctx, answer, .n = self->failed);
    self->failed = 0;
}
HARK_ACTOR(server, question, stall, unstall, flaky)

// ---- what callbacks leave behind ----

// Written by whoever runs the turn; atomic for what ends without telling.
static _Atomic(int) drops;     // destructors run
static _Atomic(int) calls;     // callbacks run, of those that count
static _Atomic(int) in_flight; // of many inputs
static _Atomic(int) most_in_flight;
static hark_future made[16]; // what a recipe made on its way
static hark_ref whom;        // the server, for jobs

static void
count_drop(void *arg)
{
    (void)arg;
    drops++;
}

static hark_future
ask_n(hark_ctx *ctx, hark_ref to, int64_t n)
{
    return hark_ask(ctx, to, question, .n = n);
}

// ---- steps ----

HARK_MAP_WITH(twice, answer, count_drop)
{
    hark_result(ctx, answer, .n = msg->n * 2);
}
HARK_MAP(as_stall, stall)
{
    hark_result(ctx, answer, .n = -1);
}
HARK_MAP_WITH(silent, answer, count_drop)
{
    calls++;
}
HARK_MAP_WITH(refuse, answer, count_drop)
{
    hark_fail_with(ctx, HARK_EUSER + 3, "no %d", (int)msg->n);
}
HARK_MAP_WITH(ask_again, answer, count_drop)
{
    hark_result_future(ctx, ask_n(ctx, whom, msg->n));
}
HARK_MAP_WITH(ask_in_vain, answer, count_drop)
{
    hark_result_future(ctx, ask_n(ctx, whom, -1));
}
HARK_MAP(answer_twice, answer)
{
    assert_int_equal(hark_result(ctx, answer, .n = 1), HARK_OK);
    assert_int_equal(hark_result(ctx, answer, .n = 2), HARK_ENOASK);
    assert_int_equal(hark_fail_with(ctx, HARK_EUSER, "late"), HARK_ENOASK);
    hark_future f = hark_future_of(ctx, answer, .n = 3);
    assert_int_equal(hark_result_future(ctx, f), HARK_ENOASK);
    hark_future_drop(ctx, f);
}
HARK_MAP(wait_inside, answer)
{
    hark_future f = ask_n(ctx, whom, 1);
    assert_null(hark_await(ctx, f, answer));
    assert_int_equal(hark_error_of(ctx)->code, HARK_ENOTSUP);
    assert_null(hark_receive(ctx, 0));
    assert_int_equal(hark_error_of(ctx)->code, HARK_ENOTSUP);
    hark_future_drop(ctx, f);
    hark_result(ctx, answer, .n = 5);
}
HARK_MAP(nest, answer)
{ // a whole chain inside
    hark_future f = hark_map(ctx, ask_n(ctx, whom, msg->n), twice, NULL);
    hark_result_future(ctx, hark_map(ctx, f, twice, NULL));
}
HARK_MAP_WITH(drop_own_result, answer, count_drop)
{
    hark_future_drop(ctx, made[0]);
    assert_int_equal(drops, arg != NULL ? 1 : 0); // not ours while we are at work
    assert_int_equal(msg->n, 2);
    hark_result(ctx, answer, .n = 1);
}
HARK_RECOVER_WITH(heal, count_drop)
{
    hark_result(ctx, answer, .n = error->code);
}
HARK_RECOVER_WITH(heal_stale_only, count_drop)
{
    if (error->code == HARK_ESTALE) {
        hark_result(ctx, answer, .n = error->code);
    }
}
HARK_RECOVER_WITH(ask_instead, count_drop)
{
    hark_result_future(ctx, ask_n(ctx, whom, 10));
}
HARK_RECOVER(check_origin)
{
    assert_string_equal(error->type, "question");
    assert_non_null(strstr(error->site, "test_async.c:"));
    assert_string_equal(error->text, "negative: -1");
    assert_int_equal(error->stage, HARK_STAGE_RUNNING);
    assert_true(hark_ref_equal(error->target, whom));
    hark_result(ctx, answer, .n = 1);
}
HARK_TAP_WITH(look, answer, count_drop)
{
    calls += (int)msg->n;
    hark_result(ctx, answer, .n = 1000); // for nothing
}
HARK_TAP(look_and_fail, answer)
{
    hark_fail_with(ctx, HARK_EUSER + 1, "looked, and failed");
}
HARK_TAP(look_and_ask, answer)
{
    hark_result_future(ctx, ask_n(ctx, whom, 1));
}
HARK_FINALLY_WITH(clean_up, count_drop)
{
    calls += error != NULL ? 100 : 1;
}
HARK_FINALLY(clean_up_slowly)
{
    hark_result_future(ctx, hark_delay(ctx, 1));
}
HARK_FINALLY(clean_up_and_fail)
{
    hark_fail_with(ctx, HARK_EUSER + 2, "cannot clean up");
}

static void
both_on_reply(hark_ctx *ctx, const void *reply, void *arg)
{
    (void)arg;
    hark_result(ctx, answer, .n = ((const answer *)reply)->n + 500);
}

static void
both_on_error(hark_ctx *ctx, const hark_error *error, void *arg)
{
    (void)arg;
    hark_result(ctx, answer, .n = error->code + 500);
}

static const hark_step both_step = {
    .type = &answer_type,
    .on_reply = both_on_reply,
    .on_error = both_on_error,
    .drop = count_drop,
};

static hark_future
both_after_a_reply(hark_ctx *ctx, hark_ref to)
{
    return hark_step_at(ctx, HARK_HERE, ask_n(ctx, to, 1), &both_step, NULL);
}

static hark_future
both_after_a_failure(hark_ctx *ctx, hark_ref to)
{
    return hark_step_at(ctx, HARK_HERE, ask_n(ctx, to, -1), &both_step, NULL);
}

static hark_future
map_once(hark_ctx *ctx, hark_ref to)
{
    return hark_map(ctx, ask_n(ctx, to, 20), twice, &drops);
}

static hark_future
map_of_a_failure(hark_ctx *ctx, hark_ref to)
{
    return hark_map(ctx, ask_n(ctx, to, -1), twice, &drops);
}

static hark_future
map_of_another_type(hark_ctx *ctx, hark_ref to)
{
    return hark_map(ctx, ask_n(ctx, to, 1), as_stall, NULL);
}

static hark_future
map_without_a_result(hark_ctx *ctx, hark_ref to)
{
    return hark_map(ctx, ask_n(ctx, to, 1), silent, NULL);
}

static hark_future
map_that_fails(hark_ctx *ctx, hark_ref to)
{
    return hark_map(ctx, ask_n(ctx, to, 1), refuse, NULL);
}

static hark_future
map_to_a_future(hark_ctx *ctx, hark_ref to)
{
    return hark_map(ctx, ask_n(ctx, to, 1), ask_again, NULL);
}

static hark_future
map_to_a_failing_future(hark_ctx *ctx, hark_ref to)
{
    return hark_map(ctx, ask_n(ctx, to, 1), ask_in_vain, NULL);
}

static hark_future
map_that_answers_twice(hark_ctx *ctx, hark_ref to)
{
    return hark_map(ctx, ask_n(ctx, to, 1), answer_twice, NULL);
}

static hark_future
map_that_waits(hark_ctx *ctx, hark_ref to)
{
    return hark_map(ctx, ask_n(ctx, to, 1), wait_inside, NULL);
}

static hark_future
map_nested(hark_ctx *ctx, hark_ref to)
{
    return hark_map(ctx, ask_n(ctx, to, 1), nest, NULL);
}

static hark_future
map_of_nothing(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    (void)hark_reply(ctx, answer); // leaves no error behind
    return hark_map(ctx, hark_future_failed(ctx, HARK_EUSER + 9, "as %s", "made"),
                    twice, NULL);
}

static hark_future
recover_a_failure(hark_ctx *ctx, hark_ref to)
{
    return hark_recover(ctx, ask_n(ctx, to, -1), heal, NULL);
}

static hark_future
recover_a_reply(hark_ctx *ctx, hark_ref to)
{
    return hark_recover(ctx, ask_n(ctx, to, 1), heal, NULL);
}

static hark_future
recover_another_failure(hark_ctx *ctx, hark_ref to)
{
    return hark_recover(ctx, ask_n(ctx, to, -1), heal_stale_only, NULL);
}

static hark_future
recover_with_a_future(hark_ctx *ctx, hark_ref to)
{
    return hark_recover(ctx, ask_n(ctx, to, -1), ask_instead, NULL);
}

static hark_future
recover_after_steps(hark_ctx *ctx, hark_ref to)
{
    hark_future f = hark_map(ctx, ask_n(ctx, to, -1), twice, NULL);
    f = hark_timeout(ctx, f, HARK_SECONDS(60));
    f = hark_race(ctx, &f, 1);
    f = hark_finally(ctx, hark_tap(ctx, f, look, NULL), clean_up, NULL);
    f = hark_all(ctx, &f, 1);
    return hark_recover(ctx, f, check_origin, NULL);
}

static hark_future
tap_a_reply(hark_ctx *ctx, hark_ref to)
{
    return hark_tap(ctx, ask_n(ctx, to, 6), look, NULL);
}

static hark_future
tap_that_fails(hark_ctx *ctx, hark_ref to)
{
    return hark_tap(ctx, ask_n(ctx, to, 6), look_and_fail, NULL);
}

static hark_future
tap_that_asks(hark_ctx *ctx, hark_ref to)
{
    return hark_tap(ctx, ask_n(ctx, to, 6), look_and_ask, NULL);
}

static hark_future
finally_after_a_reply(hark_ctx *ctx, hark_ref to)
{
    return hark_finally(ctx, ask_n(ctx, to, 1), clean_up, NULL);
}

static hark_future
finally_after_a_failure(hark_ctx *ctx, hark_ref to)
{
    return hark_finally(ctx, ask_n(ctx, to, -1), clean_up, NULL);
}

static hark_future
finally_that_takes_time(hark_ctx *ctx, hark_ref to)
{
    return hark_finally(ctx, ask_n(ctx, to, -1), clean_up_slowly, NULL);
}

static hark_future
finally_that_fails(hark_ctx *ctx, hark_ref to)
{
    return hark_finally(ctx, ask_n(ctx, to, 1), clean_up_and_fail, NULL);
}

static hark_future
step_whose_input_is_dropped(hark_ctx *ctx, hark_ref to)
{
    hark_future f = hark_ask(ctx, to, stall);
    hark_future g = hark_recover(ctx, f, heal_stale_only, NULL);

    hark_future_drop(ctx, f);
    assert_false(hark_future_done(ctx, g));
    return g;
}

// ---- many at once ----

HARK_MAP(count_of_all, hark_all_done)
{
    hark_result(ctx, answer, .n = msg->count);
}
HARK_MAP(sum_of_all, hark_all_done)
{ // the members stay until we return
    int64_t sum = 0;

    for (uint32_t i = 0; i < 4; i++) {
        const answer *a = hark_future_get(ctx, made[i], answer);
        sum += a != NULL ? a->n : 100;
        const hark_error *error = hark_future_error(ctx, made[i]);
        sum += error != NULL ? error->code : 0;
        hark_future m = hark_future_member(ctx, made[8], i);
        assert_true(m.id == made[i].id && m.owner == made[i].owner);
    }
    assert_int_equal(hark_future_member(ctx, made[8], 4).id, 0);
    hark_result(ctx, answer, .n = sum);
}
HARK_RECOVER(look_at_the_rest)
{ // of the four, the third failed, the fourth is open
    int64_t open = 0;

    for (int i = 0; i < 4; i++) {
        open += !hark_future_done(ctx, made[i]);
    }
    hark_result(ctx, answer, .n = open * 10000 + error->code);
}

static void
ask_four(hark_ctx *ctx, hark_ref to, bool third_fails, bool fourth_stalls)
{
    made[0] = ask_n(ctx, to, 0);
    made[1] = ask_n(ctx, to, 1);
    made[2] = ask_n(ctx, to, third_fails ? -1 : 2);
    made[3] = fourth_stalls ? hark_ask(ctx, to, stall) : ask_n(ctx, to, 3);
}

static hark_future
all_succeed(hark_ctx *ctx, hark_ref to)
{
    ask_four(ctx, to, false, false);
    made[8] = hark_all(ctx, made, 4);
    return hark_map(ctx, made[8], sum_of_all, NULL);
}

static hark_future
all_with_a_failure(hark_ctx *ctx, hark_ref to)
{
    ask_four(ctx, to, true, true);
    return hark_recover(ctx, hark_all(ctx, made, 4), look_at_the_rest, NULL);
}

static hark_future
all_that_goes_on(hark_ctx *ctx, hark_ref to)
{
    ask_four(ctx, to, true, true);
    return hark_recover(
        ctx, hark_all_with(ctx, made, 4, &(hark_all_options){.keep_going = true}),
        look_at_the_rest, NULL);
}

static hark_future
all_of_none(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_map(ctx, hark_all_with(ctx, NULL, 0, NULL), count_of_all, NULL);
}

static hark_future
settled_with_a_failure(hark_ctx *ctx, hark_ref to)
{
    ask_four(ctx, to, true, false);
    made[8] = hark_all_settled(ctx, made, 4);
    return hark_map(ctx, made[8], sum_of_all, NULL);
}

static hark_future
settled_of_none(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_map(ctx, hark_all_settled(ctx, NULL, 0), count_of_all, NULL);
}

static hark_future
settled_with_dropped_and_twice(hark_ctx *ctx, hark_ref to)
{
    ask_four(ctx, to, false, true);
    made[4] = made[0];
    hark_future f = hark_all_settled(ctx, made, 5);
    hark_future_drop(ctx, made[3]);
    return hark_map(ctx, f, count_of_all, NULL);
}

static hark_future
any_with_a_success(hark_ctx *ctx, hark_ref to)
{
    made[0] = ask_n(ctx, to, -1);
    made[1] = hark_ask(ctx, to, stall);
    made[2] = ask_n(ctx, to, 30);
    return hark_any(ctx, made, 3);
}

static hark_future
any_of_failures(hark_ctx *ctx, hark_ref to)
{
    made[0] = ask_n(ctx, to, -1);
    made[1] = made[0];
    made[2] = ask_n(ctx, to, -2);
    made[3] = hark_ask(ctx, to, stall);
    hark_future f = hark_any(ctx, made, 4);
    hark_future_drop(ctx, made[3]);
    return f;
}

static hark_future
any_of_none(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_any(ctx, NULL, 0);
}

static hark_future
race_won_by_a_reply(hark_ctx *ctx, hark_ref to)
{
    made[0] = hark_ask(ctx, to, stall);
    made[1] = ask_n(ctx, to, 40);
    made[2] = made[0];
    return hark_race(ctx, made, 3);
}

static hark_future
race_won_by_a_failure(hark_ctx *ctx, hark_ref to)
{
    made[0] = hark_ask(ctx, to, stall);
    made[1] = ask_n(ctx, to, -40);
    return hark_race(ctx, made, 2);
}

static hark_future
race_of_none(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_race(ctx, NULL, 0);
}

static hark_future
race_of_done_ones(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    made[0] = hark_future_of(ctx, answer, .n = 8);
    made[1] = hark_future_of(ctx, answer, .n = 9);
    return hark_race(ctx, made, 2);
}

// ---- time ----

HARK_MAP(unit_to_answer, hark_unit)
{
    hark_result(ctx, answer, .n = 3);
}

static hark_future
delay_once(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_map(ctx, hark_delay(ctx, 5), unit_to_answer, NULL);
}

static hark_future
delay_of_nothing(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_map(ctx, hark_delay(ctx, 0), unit_to_answer, NULL);
}

static hark_future
timeout_in_time(hark_ctx *ctx, hark_ref to)
{
    return hark_timeout(ctx, ask_n(ctx, to, 4), HARK_SECONDS(60));
}

static hark_future
timeout_too_late(hark_ctx *ctx, hark_ref to)
{
    made[0] = hark_ask_within(ctx, HARK_SECONDS(60), to, stall);
    return hark_timeout(ctx, made[0], 10);
}

static hark_future
timeout_of_what_is_there(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_timeout(ctx, hark_future_of(ctx, answer, .n = 6), 0);
}

static hark_future
timeouts_in_timeouts(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    made[0] = hark_timeout(ctx, hark_delay(ctx, HARK_FOREVER), HARK_SECONDS(60));
    return hark_timeout(ctx, hark_timeout(ctx, made[0], HARK_SECONDS(50)), 10);
}

static hark_future
timeout_recovered(hark_ctx *ctx, hark_ref to)
{
    return hark_recover(ctx, timeout_too_late(ctx, to), heal, NULL);
}

static hark_future
timeout_forever(hark_ctx *ctx, hark_ref to)
{
    return hark_timeout(ctx, ask_n(ctx, to, -4), HARK_FOREVER);
}

HARK_JOB_WITH(try_flaky, count_drop)
{
    calls++;
    hark_result_future(ctx,
                       hark_ask(ctx, whom, flaky, .failures = 2, .code = HARK_ELIMIT));
}
HARK_JOB_WITH(try_bad, count_drop)
{
    calls++;
    hark_result_future(ctx, ask_n(ctx, whom, -1));
}
HARK_JOB_WITH(try_stall, count_drop)
{
    calls++;
    hark_result_future(ctx, hark_ask_within(ctx, HARK_SECONDS(60), whom, stall));
}
HARK_JOB_WITH(third_time_at_once, count_drop)
{
    if (index < 2) {
        hark_fail_with(ctx, HARK_ENONODE, "attempt %zu", index);
    } else {
        hark_result(ctx, answer, .n = (int64_t)index);
    }
}
HARK_JOB_WITH(give_nothing, count_drop)
{
    calls++;
}

static bool
retry_all_but_limits(const hark_error *error, void *arg)
{
    (void)arg;
    return error->code != HARK_ELIMIT;
}

static const hark_retry_options quick = {.delay_ms = 1,
                                         .jitter_percent = HARK_JITTER_NONE};

static hark_future
retry_until_it_works(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_retry(ctx, try_flaky, NULL, &quick);
}

static hark_future
retry_what_is_hopeless(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_retry(ctx, try_bad, NULL, &quick);
}

static hark_future
retry_as_the_user_likes(hark_ctx *ctx, hark_ref to)
{
    hark_retry_options options = quick;

    (void)to;
    options.attempts = 5;
    options.is_retryable = retry_all_but_limits;
    return hark_retry(ctx, try_bad, NULL, &options);
}

static hark_future
retry_within_a_budget(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_retry(ctx, try_stall, NULL, &(hark_retry_options){.budget_ms = 10});
}

static hark_future
retry_results_at_once(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_retry(ctx, third_time_at_once, NULL, &quick);
}

static hark_future
retry_of_nothing(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_retry(ctx, give_nothing, NULL, &quick);
}

HARK_JOB_WITH(slow_then_quick, count_drop)
{
    calls++;
    if (index == 0) {
        hark_result_future(ctx, hark_ask(ctx, whom, stall));
    } else {
        hark_result_future(ctx, ask_n(ctx, whom, (int64_t)index));
    }
}
HARK_JOB_WITH(quick, count_drop)
{
    calls++;
    hark_result_future(ctx, ask_n(ctx, whom, 60));
}

static hark_future
hedge_won_by_the_second(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_hedge(ctx, slow_then_quick, NULL, &(hark_hedge_options){.delay_ms = 5});
}

static hark_future
hedge_that_needs_no_second(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_hedge(ctx, quick, NULL,
                      &(hark_hedge_options){.delay_ms = HARK_FOREVER});
}

static hark_future
hedge_of_failures(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_hedge(ctx, try_bad, NULL,
                      &(hark_hedge_options){.delay_ms = HARK_FOREVER, .attempts = 3});
}

static hark_future
hedge_of_results_at_once(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_hedge(ctx, third_time_at_once, NULL,
                      &(hark_hedge_options){.attempts = 3});
}

// ---- many inputs ----

HARK_FINALLY(leave_flight)
{
    in_flight--;
}
HARK_JOB_WITH(ask_index, count_drop)
{
    int now = ++in_flight;
    most_in_flight = now > most_in_flight ? now : most_in_flight;
    hark_result_future(
        ctx, hark_finally(ctx, ask_n(ctx, whom, (int64_t)index), leave_flight, NULL));
}
HARK_JOB_WITH(every_third_fails, count_drop)
{
    calls++;
    if (index % 3 == 2) {
        hark_result_future(ctx, ask_n(ctx, whom, -(int64_t)index));
    } else if (index % 3 == 1) {
        hark_result(ctx, answer, .n = (int64_t)index + 1);
    } else {
        hark_result_future(ctx, ask_n(ctx, whom, (int64_t)index));
    }
}
HARK_JOB_WITH(fail_at_once, count_drop)
{
    calls++;
    if (index == 3) {
        hark_fail_with(ctx, HARK_EUSER + 8, "input %zu", index);
    } else {
        hark_result(ctx, answer, .n = (int64_t)index);
    }
}
HARK_JOB(stall_or_fail)
{
    if (index == 2) {
        hark_result_future(ctx, ask_n(ctx, whom, -2));
    } else {
        hark_result_future(ctx, made[index] = hark_ask(ctx, whom, stall));
    }
}

HARK_MAP(counts, hark_each_done)
{
    hark_result(ctx, answer, .n = (int64_t)(msg->count * 1000 + msg->failed));
}
HARK_MAP(in_order, hark_each_done)
{
    for (size_t i = 0; i < msg->count; i++) {
        hark_future m = hark_future_member(ctx, made[8], i);
        const answer *a = hark_future_get(ctx, m, answer);
        assert_non_null(a);
        assert_int_equal(a->n, i + 1);
        assert_null(hark_future_error(ctx, m));
    }
    assert_int_equal(hark_future_member(ctx, made[8], msg->count).id, 0);
    hark_result(ctx, answer, .n = most_in_flight);
}
HARK_MAP(some_failed, hark_each_done)
{
    for (size_t i = 0; i < msg->count; i++) {
        hark_future m = hark_future_member(ctx, made[8], i);
        const hark_error *error = hark_future_error(ctx, m);
        if (i % 3 == 2) {
            assert_int_equal(error->code, HARK_EUSER);
        } else {
            assert_null(error);
            assert_int_equal(hark_future_get(ctx, m, answer)->n, i + 1);
        }
    }
    hark_result(ctx, answer, .n = (int64_t)msg->failed);
}
HARK_RECOVER(see_those_in_flight_closed)
{
    assert_int_equal(hark_future_error(ctx, made[0])->code, HARK_ESTALE);
    assert_int_equal(hark_future_error(ctx, made[1])->code, HARK_ESTALE);
    assert_string_equal(error->text, "negative: -2");
    hark_result(ctx, answer, .n = 4);
}

static hark_future
for_each_of_many(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_map(ctx, hark_for_each(ctx, 500, ask_index, NULL, NULL), counts, NULL);
}

static hark_future
for_each_of_none(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_map(ctx, hark_for_each(ctx, 0, ask_index, NULL, NULL), counts, NULL);
}

static hark_future
for_each_that_goes_on(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_map(ctx,
                    hark_for_each(ctx, 30, every_third_fails, NULL,
                                  &(hark_each_options){.keep_going = true}),
                    counts, NULL);
}

static hark_future
for_each_that_fails_at_once(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_for_each(ctx, 1000, fail_at_once, NULL, NULL);
}

static hark_future
for_each_that_fails_later(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_recover(ctx, hark_for_each(ctx, 3, stall_or_fail, NULL, NULL),
                        see_those_in_flight_closed, NULL);
}

static hark_future
map_each_in_order(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    made[8] =
        hark_map_each(ctx, 100, ask_index, NULL, &(hark_each_options){.at_most = 3});
    return hark_map(ctx, made[8], in_order, NULL);
}

static hark_future
map_each_that_goes_on(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    made[8] = hark_map_each(ctx, 30, every_third_fails, NULL,
                            &(hark_each_options){.at_most = 4, .keep_going = true});
    return hark_map(ctx, made[8], some_failed, NULL);
}

static hark_future
map_each_that_fails_at_once(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_map_each(ctx, 1000, fail_at_once, NULL, NULL);
}

static hark_future
map_each_that_fails_later(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_recover(ctx, hark_map_each(ctx, 3, stall_or_fail, NULL, NULL),
                        see_those_in_flight_closed, NULL);
}

static hark_future
map_each_of_none(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_map(ctx, hark_map_each(ctx, 0, ask_index, NULL, NULL), counts, NULL);
}

// ---- who cooks ----

typedef hark_future recipe(hark_ctx *ctx, hark_ref to);
static recipe *dish;

typedef struct {
    hark_promise owed;
} kitchen;

HARK_THEN(kitchen, served, answer) {
    hark_fulfil(ctx, self->owed, cooked, .n = msg->n);
}
HARK_ELSE(kitchen, served) {
    hark_fulfil(ctx, self->owed, cooked, .code = error->code,
                .text = hark_str_of(error->text));
}
HARK_CONTINUATION(kitchen, served, answer)

HARK_ON(kitchen, cook) {
    self->owed = hark_defer(ctx);
    assert_int_equal(hark_then(ctx, dish(ctx, msg->whom), kitchen, served, NULL),
                     HARK_OK);
}
HARK_ON(kitchen, leave) { // with all kinds of futures open
    hark_future f = hark_map(ctx, hark_ask(ctx, msg->whom, stall), twice, NULL);
    f = hark_recover(ctx, hark_tap(ctx, f, look, NULL), heal, NULL);
    f = hark_finally(ctx, hark_timeout(ctx, f, HARK_SECONDS(60)), clean_up, NULL);
    assert_int_equal(hark_then(ctx, f, kitchen, served, NULL), HARK_OK);
    f = hark_retry(ctx, try_stall, NULL, NULL);
    assert_int_equal(hark_future_keep(ctx, f), HARK_OK);
    f = hark_hedge(ctx, try_stall, NULL, NULL); // left to itself
    assert_int_not_equal(f.id, 0);
    f = hark_map_each(ctx, 40, try_stall, NULL, NULL);
    assert_int_equal(hark_future_keep(ctx, f), HARK_OK);
    f = hark_map(ctx, hark_future_of(ctx, answer), twice, NULL); // done already
    assert_int_equal(hark_future_keep(ctx, f), HARK_OK);
    hark_reply(ctx, answer);
    hark_exit(ctx);
}
HARK_ON(kitchen, touch) {
    hark_reply(ctx, answer);
}
HARK_ACTOR(kitchen, cook, leave, touch)

// ---- fixture ----

struct fixture {
    struct world *w;
    hark_ref kitchen;
};

static enum reach reach;

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->w = world_open(reach, NULL);
    whom = world_reach(f->w, "server", hark_spawn(f->w->there, server));
    f->kitchen = hark_spawn(f->w->here, kitchen);
    drops = calls = in_flight = most_in_flight = 0;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    world_close(f->w);
    free(f);
    return 0;
}

static cooked
by_thread(struct fixture *f, recipe *what, char *text, size_t size)
{
    hark_ctx *me = f->w->here;
    hark_future future = what(me, whom);
    const answer *a = hark_await(me, future, answer);
    cooked result = {.n = a != NULL ? a->n : 0};

    if (a == NULL) {
        result.code = hark_error_of(me)->code;
        snprintf(text, size, "%s", hark_error_of(me)->text);
    }
    hark_future_drop(me, future);
    return result;
}

static cooked
by_actor(struct fixture *f, recipe *what, char *text, size_t size)
{
    dish = what;
    hark_future future = hark_ask(f->w->here, f->kitchen, cook, .whom = whom);
    const cooked *c = hark_await(f->w->here, future, cooked);

    if (c == NULL) {
        fail_msg("%s", world_error(f->w));
    }
    cooked result = *c;
    snprintf(text, size, "%s", c->text.len > 0 ? c->text.ptr : "");
    hark_future_drop(f->w->here, future);
    return result;
}

static void
expect_n(void **state, recipe *what, int64_t n)
{
    char text[1024] = "";
    cooked c = by_thread(*state, what, text, sizeof text);

    if (c.code != 0 || c.n != n) {
        fail_msg("thread: %d, %d: %s", (int)c.n, c.code, text);
    }
    c = by_actor(*state, what, text, sizeof text);
    if (c.code != 0 || c.n != n) {
        fail_msg("actor: %d, %d: %s", (int)c.n, c.code, text);
    }
}

static void
expect_error(void **state, recipe *what, int code, const char *part)
{
    char text[1024] = "";
    cooked c = by_thread(*state, what, text, sizeof text);

    if (c.code != code || strstr(text, part) == NULL) {
        fail_msg("thread: %d, %d: %s", (int)c.n, c.code, text);
    }
    c = by_actor(*state, what, text, sizeof text);
    if (c.code != code || strstr(text, part) == NULL) {
        fail_msg("actor: %d, %d: %s", (int)c.n, c.code, text);
    }
}

// The destructors that must have run by now; both the thread's and the actor's.
static void
expect_drops(void **state, int count)
{
    struct fixture *f = *state;

    // The actor's turn, whose end lets go of things, is over.
    hark_future future = hark_ask(f->w->here, f->kitchen, touch);
    assert_non_null(hark_await(f->w->here, future, answer));
    assert_int_equal(drops, count);
}

// ---- steps ----

static void
map_makes_another_reply(void **state)
{
    expect_n(state, map_once, 42);
    expect_drops(state, 2);
}

static void
map_lets_an_error_pass(void **state)
{
    expect_error(state, map_of_a_failure, HARK_EUSER, "negative: -1");
    expect_error(state, map_of_nothing, HARK_EUSER + 9, "as made");
    expect_drops(state, 4);
}

static void
map_of_another_type_fails_with_etype(void **state)
{
    expect_error(state, map_of_another_type, HARK_ETYPE,
                 "the reply is answer, not stall");
}

static void
map_that_gives_nothing_fails_with_enoreply(void **state)
{
    expect_error(state, map_without_a_result, HARK_ENOREPLY, "no result");
    expect_drops(state, 2);
    assert_int_equal(calls, 2);
}

static void
map_may_fail(void **state)
{
    expect_error(state, map_that_fails, HARK_EUSER + 3, "no 2");
    expect_drops(state, 2);
}

static void
map_to_a_future_goes_on_with_that(void **state)
{
    expect_n(state, map_to_a_future, 3);
    expect_error(state, map_to_a_failing_future, HARK_EUSER, "negative: -1");
    expect_n(state, map_nested, 12);
    expect_drops(state, 8);
}

static void
a_callback_gives_one_result(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;

    expect_n(state, map_that_answers_twice, 1);
    assert_int_equal(hark_result(me, answer), HARK_ENOASK);
    assert_int_equal(hark_fail_with(me, HARK_EUSER, "no"), HARK_ENOASK);
    assert_int_equal(hark_fail_with(me, 0, "no"), HARK_EINVAL);
    assert_int_equal(hark_result_future(me, (hark_future){0, 0}), HARK_ENOASK);
}

static void
a_callback_must_not_wait(void **state)
{
    expect_n(state, map_that_waits, 5);
}

static void
recover_makes_a_reply_of_an_error(void **state)
{
    expect_n(state, recover_a_failure, HARK_EUSER);
    expect_n(state, recover_a_reply, 2);
    expect_n(state, recover_with_a_future, 11);
    expect_drops(state, 6);
}

static void
recover_that_gives_nothing_lets_the_error_pass(void **state)
{
    expect_error(state, recover_another_failure, HARK_EUSER, "negative: -1");
}

static void
an_error_keeps_its_origin_through_a_chain(void **state)
{
    expect_n(state, recover_after_steps, 1);
}

static void
tap_sees_a_reply_and_lets_it_pass(void **state)
{
    expect_n(state, tap_a_reply, 7);
    assert_int_equal(calls, 14);
    expect_n(state, tap_that_asks, 7);
    expect_error(state, tap_that_fails, HARK_EUSER + 1, "looked, and failed");
    expect_drops(state, 2);
}

static void
finally_runs_whichever_way_it_ended(void **state)
{
    expect_n(state, finally_after_a_reply, 2);
    expect_error(state, finally_after_a_failure, HARK_EUSER, "negative: -1");
    assert_int_equal(calls, 202);
    expect_error(state, finally_that_takes_time, HARK_EUSER, "negative: -1");
    expect_error(state, finally_that_fails, HARK_EUSER + 2, "cannot clean up");
    expect_drops(state, 4);
}

static void
a_step_may_have_both_functions(void **state)
{
    expect_n(state, both_after_a_reply, 502);
    expect_n(state, both_after_a_failure, HARK_EUSER + 500);
    expect_drops(state, 4);
}

static void
a_dropped_input_has_failed_with_estale(void **state)
{
    expect_n(state, step_whose_input_is_dropped, HARK_ESTALE);
    expect_drops(state, 2);
}

static void
dropping_the_last_of_a_chain_drops_each(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future first = hark_ask(me, whom, stall);
    hark_future last = first;

    for (int i = 0; i < 10; i++) {
        last = hark_map(me, last, twice, NULL);
    }
    assert_int_equal(drops, 0);
    hark_future_drop(me, last);
    assert_int_equal(drops, 10);
    assert_true(hark_future_done(me, last));
    assert_int_equal(hark_future_keep(me, first), HARK_ESTALE);
}

static void
a_result_may_be_dropped_in_its_own_callback(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;

    made[0] = hark_map(me, ask_n(me, whom, 1), drop_own_result, NULL);
    hark_future after = ask_n(me, whom, 0);
    assert_non_null(hark_await(me, after, answer));
    assert_int_equal(hark_future_keep(me, made[0]), HARK_ESTALE);
    assert_int_equal(drops, 1);
    drops = 0; // or what is made of it
    made[0] = hark_map(me, ask_n(me, whom, 1), drop_own_result, &drops);
    made[0] = hark_finally(me, made[0], clean_up, NULL);
    after = ask_n(me, whom, 0);
    assert_non_null(hark_await(me, after, answer));
    assert_int_equal(drops, 2);
    assert_int_equal(calls, 0);
}

static void
futures_that_are_stale_or_foreign_or_none_are_refused(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_ctx *other = hark_attach(f->w->here_system);
    hark_future stale = ask_n(me, whom, 1);
    hark_future foreign = hark_future_of(other, answer);
    hark_future taken = ask_n(me, whom, 1);
    hark_future result = hark_map(me, taken, twice, NULL);

    hark_future_drop(me, stale);
    hark_future bad[] = {stale, foreign, taken};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hark_map(me, bad[i], twice, NULL).id, 0);
        assert_int_equal(hark_error_of(me)->code, HARK_ESTALE);
        assert_int_equal(drops, i + 1); // arg was taken
        assert_int_equal(hark_timeout(me, bad[i], 10).id, 0);
        assert_int_equal(hark_error_of(me)->code, HARK_ESTALE);
        assert_int_equal(hark_all_settled(me, &bad[i], 1).id, 0);
        assert_int_equal(hark_any(me, &bad[i], 1).id, 0);
        assert_int_equal(hark_race(me, &bad[i], 1).id, 0);
        assert_int_equal(hark_error_of(me)->code, HARK_ESTALE);
        assert_int_equal(hark_future_complete(me, bad[i], answer), HARK_ESTALE);
    }
    assert_int_equal(hark_future_error(me, stale)->code, HARK_ESTALE);
    assert_int_equal(hark_all_settled(me, NULL, 1).id, 0);
    assert_int_equal(hark_error_of(me)->code, HARK_EINVAL);
    // Why there was none stays the reason, through the chain.
    hark_future none = hark_map(me, hark_future_failed(me, 0, "no code"), twice, NULL);
    none = hark_timeout(me, hark_recover(me, none, heal, NULL), 10);
    assert_int_equal(none.id, 0);
    assert_int_equal(hark_error_of(me)->code, HARK_EINVAL);
    assert_int_equal(hark_step_at(me, NULL, result, &(hark_step){0}, NULL).id, 0);
    assert_int_equal(hark_error_of(me)->code, HARK_EINVAL);
    hark_detach(other);
}

static void
a_null_ctx_is_refused(void **state)
{
    hark_future none = {0, 0};

    (void)state;
    assert_int_equal(hark_future_new(NULL).id, 0);
    assert_int_equal(hark_future_of(NULL, answer).id, 0);
    assert_int_equal(hark_future_failed(NULL, 1, "x").id, 0);
    assert_int_equal(hark_map(NULL, none, twice, NULL).id, 0);
    assert_int_equal(hark_delay(NULL, 1).id, 0);
    assert_int_equal(hark_timeout(NULL, none, 1).id, 0);
    assert_int_equal(hark_any(NULL, NULL, 0).id, 0);
    assert_int_equal(hark_all_settled(NULL, NULL, 0).id, 0);
    assert_int_equal(hark_retry(NULL, quick, NULL, NULL).id, 0);
    assert_int_equal(hark_hedge(NULL, quick, NULL, NULL).id, 0);
    assert_int_equal(hark_for_each(NULL, 1, quick, NULL, NULL).id, 0);
    assert_int_equal(hark_result(NULL, answer), HARK_ENOASK);
    assert_int_equal(hark_future_fail(NULL, none, 1, "x"), HARK_EINVAL);
    assert_int_equal(hark_future_error(NULL, none)->code, HARK_EINVAL);
    assert_int_equal(drops, 4);
}

// ---- many at once ----

static void
all_keeps_each_reply(void **state)
{
    expect_n(state, all_succeed, 1 + 2 + 3 + 4);
    expect_n(state, all_of_none, 0);
}

static void
all_closes_the_rest_with_the_first_failure(void **state)
{
    expect_n(state, all_with_a_failure, HARK_EUSER);
}

static void
all_may_leave_the_rest(void **state)
{
    expect_n(state, all_that_goes_on, 10000 + HARK_EUSER);
}

static void
all_settled_succeeds_with_failures(void **state)
{
    expect_n(state, settled_with_a_failure, 1 + 2 + 100 + HARK_EUSER + 4);
    expect_n(state, settled_of_none, 0);
    expect_n(state, settled_with_dropped_and_twice, 4);
}

static void
any_is_the_first_success(void **state)
{
    struct fixture *f = *state;

    expect_n(state, any_with_a_success, 31);
    assert_true(hark_future_done(f->w->here, made[1])); // closed
}

static void
any_of_failures_tells_them_all(void **state)
{
    char text[1024] = "";
    cooked c = by_thread(*state, any_of_failures, text, sizeof text);

    assert_true(c.code == HARK_EUSER || c.code == HARK_ESTALE);
    assert_non_null(strstr(text, "all 3 failed; "));
    assert_non_null(strstr(text, "HARK_EUSER: negative: -1"));
    assert_non_null(strstr(text, "HARK_EUSER: negative: -2"));
    assert_non_null(strstr(text, "HARK_ESTALE"));
    expect_error(state, any_of_none, HARK_EINVAL, "no futures");
}

static void
race_is_the_first_end(void **state)
{
    struct fixture *f = *state;

    expect_n(state, race_won_by_a_reply, 41);
    expect_error(state, race_won_by_a_failure, HARK_EUSER, "negative: -40");
    assert_true(hark_future_done(f->w->here, made[0])); // closed
    expect_n(state, race_of_done_ones, 8);
    expect_error(state, race_of_none, HARK_EINVAL, "no futures");
}

// ---- time ----

static void
delay_succeeds_after_its_time(void **state)
{
    expect_n(state, delay_once, 3);
    expect_n(state, delay_of_nothing, 3);
}

static void
timeout_ends_what_takes_too_long(void **state)
{
    struct fixture *f = *state;

    expect_n(state, timeout_in_time, 5);
    expect_error(state, timeout_too_late, HARK_ETIMEOUT, "timed out");
    assert_true(hark_future_done(f->w->here, made[0])); // closed
    expect_error(state, timeout_forever, HARK_EUSER, "negative: -4");
    hark_future g = timeout_too_late(f->w->here, whom);
    assert_null(hark_await(f->w->here, g, answer));
    const hark_error *error = hark_error_of(f->w->here);
    assert_string_equal(error->type, "stall");
    assert_non_null(strstr(error->site, "test_async.c:"));
    assert_true(error->elapsed_ms >= 10);
    expect_n(state, timeout_of_what_is_there, 6);
}

static void
a_timeout_may_give_a_reply_instead(void **state)
{
    expect_n(state, timeout_recovered, HARK_ETIMEOUT);
    expect_drops(state, 2);
}

static hark_future
try_once(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_retry(ctx, try_bad, NULL, &(hark_retry_options){.attempts = 1});
}

static hark_future
try_what_gives_at_once(hark_ctx *ctx, hark_ref to)
{
    (void)to;
    return hark_retry(ctx, quick, NULL, &(hark_retry_options){.attempts = 1});
}

static void
a_job_may_be_tried_once(void **state)
{
    expect_error(state, try_once, HARK_EUSER, "negative: -1");
    expect_n(state, try_what_gives_at_once, 61);
}

static hark_future
either_then_twice(hark_ctx *ctx, hark_ref to)
{
    made[0] = hark_ask_within(ctx, HARK_SECONDS(60), to, stall);
    made[1] = ask_n(ctx, to, 20);
    return hark_map(ctx, hark_race(ctx, made, 2), twice, NULL);
}

static void
a_map_goes_on_with_either(void **state)
{
    struct fixture *f = *state;

    expect_n(state, either_then_twice, 42);
    assert_true(hark_future_done(f->w->here, made[0])); // closed
}

static void
a_timeout_of_no_ask_tells_how_long_it_took(void **state)
{
    struct fixture *f = *state;
    char line[256];
    unsigned took = 0;
    int end = 0;

    expect_error(state, timeouts_in_timeouts, HARK_ETIMEOUT, "timed out");
    assert_true(hark_future_done(f->w->here, made[0])); // closed
    hark_future g = timeouts_in_timeouts(f->w->here, whom);
    assert_null(hark_await(f->w->here, g, hark_unit));
    hark_error_line(f->w->here, hark_error_of(f->w->here), line, sizeof line);
    assert_int_equal(
        sscanf(line, "HARK_ETIMEOUT: timed out after %u ms at %n", &took, &end), 1);
    assert_true(took >= 10 && end != 0);
    assert_non_null(strstr(line + end, "test_async.c:"));
    assert_null(strstr(line, "stage")); // there was nothing to get anywhere
}

static void
retry_goes_on_until_it_works(void **state)
{
    expect_n(state, retry_until_it_works, 2);
    assert_int_equal(calls, 6);
    expect_n(state, retry_results_at_once, 2);
    expect_drops(state, 4);
}

static void
retry_gives_up_on_what_is_not_retryable(void **state)
{
    expect_error(state, retry_what_is_hopeless, HARK_EUSER, "negative: -1");
    assert_int_equal(calls, 2);
    expect_error(state, retry_of_nothing, HARK_ENOREPLY, "");
    assert_int_equal(calls, 4);
    expect_error(state, retry_as_the_user_likes, HARK_EUSER, "negative: -1");
    assert_int_equal(calls, 14);
    expect_drops(state, 6);
}

static void
retry_ends_with_its_budget(void **state)
{
    expect_error(state, retry_within_a_budget, HARK_ETIMEOUT,
                 "the budget of 10 ms ended in attempt 1");
    expect_drops(state, 2);
}

static void
retry_refuses_options_that_cannot_be(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;

    assert_int_equal(
        hark_retry(me, quick, NULL, &(hark_retry_options){.factor = 0.5}).id, 0);
    assert_int_equal(
        hark_retry(me, quick, NULL, &(hark_retry_options){.factor = -1}).id, 0);
    assert_int_equal(
        hark_retry(me, quick, NULL, &(hark_retry_options){.jitter_percent = 101}).id,
        0);
    assert_int_equal(
        hark_hedge(me, quick, NULL, &(hark_hedge_options){.attempts = 17}).id, 0);
    assert_int_equal(hark_error_of(me)->code, HARK_EINVAL);
    assert_int_equal(drops, 4);
    assert_int_equal(calls, 0);
}

static void
an_await_of_no_future_tells_why_there_is_none(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_retry_options wrong = {.factor = 0.5};
    hark_future g = hark_retry(me, quick, NULL, &wrong);

    g = hark_timeout(me, hark_map(me, g, twice, NULL), 10);
    assert_null(hark_await(me, g, answer));
    world_assert_error(f->w, HARK_EINVAL, "hark_retry: a factor under 1");
    // An error of something else is not why.
    assert_int_equal(hark_future_fail(me, g, 0, "none"), HARK_EINVAL);
    assert_null(hark_await(me, g, answer));
    world_assert_error(f->w, HARK_ESTALE, "the future has ended");
}

HARK_MAP(add_both, answer)
{
    const answer *more = arg;

    hark_result(ctx, answer, .n = msg->n + more[0].n + more[1].n);
}

static void
arguments_may_be_literals_with_commas(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future g = hark_race(
        me, (hark_future[]){hark_delay(me, HARK_FOREVER), ask_n(me, whom, 1)}, 2);

    g = hark_any(me, (hark_future[]){g, hark_delay(me, HARK_FOREVER)}, 2);
    g = hark_map(me, g, add_both, (answer[]){{.n = 10}, {.n = 100}});
    const answer *a = hark_await(me, g, answer);
    assert_non_null(a);
    assert_int_equal(a->n, 112);
}

static void
hedge_takes_the_first_success(void **state)
{
    expect_n(state, hedge_won_by_the_second, 2);
    assert_int_equal(calls, 4);
    expect_n(state, hedge_that_needs_no_second, 61);
    assert_int_equal(calls, 6);
    expect_n(state, hedge_of_results_at_once, 2);
    expect_drops(state, 6);
}

static void
hedge_starts_the_next_as_soon_as_one_has_failed(void **state)
{
    expect_error(state, hedge_of_failures, HARK_EUSER, "negative: -1");
    assert_int_equal(calls, 6);
    expect_drops(state, 2);
}

// ---- many inputs ----

static void
for_each_counts_all(void **state)
{
    expect_n(state, for_each_of_many, 500000);
    assert_int_equal(most_in_flight, 16);
    assert_int_equal(in_flight, 0);
    expect_n(state, for_each_of_none, 0);
    expect_n(state, for_each_that_goes_on, 30010);
    expect_drops(state, 6);
}

static void
for_each_ends_with_the_first_failure(void **state)
{
    expect_error(state, for_each_that_fails_at_once, HARK_EUSER + 8, "input 3");
    assert_int_equal(calls, 8);
    expect_n(state, for_each_that_fails_later, 4);
    expect_drops(state, 2);
}

static void
map_each_keeps_the_order_and_its_limit(void **state)
{
    expect_n(state, map_each_in_order, 3);
    expect_n(state, map_each_of_none, 0);
    expect_drops(state, 4);
}

static void
map_each_may_collect_failures(void **state)
{
    expect_n(state, map_each_that_goes_on, 10);
    assert_int_equal(calls, 60);
    expect_drops(state, 2);
}

static void
map_each_ends_with_the_first_failure(void **state)
{
    expect_error(state, map_each_that_fails_at_once, HARK_EUSER + 8, "input 3");
    expect_n(state, map_each_that_fails_later, 4);
    expect_drops(state, 2);
}

// ---- one's own futures ----

static void
an_own_future_is_completed_once(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future own = hark_future_new(me);
    hark_future result = hark_map(me, own, twice, NULL);

    assert_int_equal(hark_future_complete_value(me, own, &answer_type, NULL),
                     HARK_EINVAL);
    assert_int_equal(hark_future_complete(me, own, answer, .n = 4), HARK_OK);
    assert_int_equal(hark_future_complete(me, own, answer, .n = 5), HARK_ESTALE);
    assert_int_equal(hark_future_fail(me, own, HARK_EUSER, "late"), HARK_ESTALE);
    assert_int_equal(drops, 0); // nothing runs inside the call
    const answer *a = hark_await(me, result, answer);
    assert_int_equal(a->n, 8);
    assert_int_equal(drops, 1);

    own = hark_future_new(me);
    assert_int_equal(hark_future_fail(me, own, HARK_EUSER + 1, "%s", "mine"), HARK_OK);
    assert_null(hark_await(me, own, answer));
    world_assert_error(f->w, HARK_EUSER + 1, "mine");
    assert_non_null(strstr(hark_error_of(me)->site, "test_async.c:"));
    assert_non_null(strstr(world_error(f->w), " at "));
}

static void
only_own_futures_can_be_completed(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future asked = hark_ask(me, whom, stall);
    hark_future made_one = hark_map(me, asked, twice, NULL);

    assert_int_equal(hark_future_complete(me, asked, answer), HARK_ESTALE);
    assert_int_equal(hark_future_complete(me, made_one, answer), HARK_ESTALE);
    assert_int_equal(hark_future_fail(me, made_one, 1, "no"), HARK_ESTALE);
    hark_future done = hark_future_of(me, answer, .n = 1);
    assert_true(hark_future_done(me, done));
    assert_int_equal(hark_future_get(me, done, answer)->n, 1);
    assert_int_equal(hark_future_complete(me, done, answer), HARK_ESTALE);
    assert_int_equal(hark_future_member(me, done, 0).id, 0);
    assert_int_equal(hark_future_member(me, made_one, 0).id, 0);
}

// ---- ends ----

static void
what_an_actor_leaves_open_is_dropped_once(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future g = hark_ask(me, f->kitchen, leave, .whom = whom);

    assert_non_null(hark_await(me, g, answer));
    while (hark_is_alive(me, f->kitchen)) {
        g = ask_n(me, whom, 0);
        assert_non_null(hark_await(me, g, answer));
        hark_future_drop(me, g);
    }
    hark_stats stats; // its end is over when its slot is given back
    do {
        hark_stats_read(f->w->here_system, &stats);
    } while (stats.actors > (f->w->here == f->w->there ? 2U : 1U));
    // twice, look, heal, clean_up; retry, hedge, map_each; and twice of what was done
    assert_int_equal(drops, 8);
    assert_int_equal(calls, 1 + 1 + 16);
}

static void
what_a_thread_leaves_open_is_dropped_once(void **state)
{
    struct fixture *f = *state;
    hark_ctx *other = hark_attach(f->w->here_system);
    hark_future g = hark_map(other, hark_future_new(other), twice, NULL);

    g = hark_recover(other, g, heal, NULL);
    hark_future each = hark_for_each(other, 40, try_stall, NULL, NULL);
    assert_true(g.id != 0 && each.id != 0);
    hark_detach(other);
    assert_int_equal(drops, 3);
}

// ---- chains ----

HARK_MAP(add_one, answer)
{
    hark_result(ctx, answer, .n = msg->n + 1);
}

enum { LINKS = 1000000 };

static hark_future
long_chain(hark_ctx *me, hark_future first)
{
    hark_future last = first;

    for (int i = 0; i < LINKS; i++) {
        last = hark_map(me, last, add_one, NULL);
        assert_int_not_equal(last.id, 0);
    }
    return last;
}

static void
a_chain_of_a_million_links_needs_no_stack(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future first = hark_future_new(me);
    hark_future last = long_chain(me, first);

    assert_int_equal(hark_future_complete(me, first, answer, .n = 1), HARK_OK);
    const answer *a = hark_await(me, last, answer);
    assert_non_null(a);
    assert_int_equal(a->n, LINKS + 1);
    hark_future_drop(me, last);

    first = hark_future_new(me);
    last = long_chain(me, first);
    assert_int_equal(hark_future_fail(me, first, HARK_EUSER, "first"), HARK_OK);
    assert_null(hark_await(me, last, answer));
    world_assert_error(f->w, HARK_EUSER, "first");
    hark_future_drop(me, last);
}

static void
a_chain_of_a_million_open_links_is_dropped_without_a_stack(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future first = hark_future_new(me);
    hark_future last = long_chain(me, first);

    hark_future_drop(me, last);
    assert_true(hark_future_done(me, first));
    (void)long_chain(me, hark_future_new(me)); // for the end of the thread
}

// A loop of futures: each step gives the next one.
HARK_MAP(count_down, answer)
{
    if (msg->n == 0) {
        hark_result(ctx, answer, .n = 99);
        return;
    }
    hark_future next = hark_future_of(ctx, answer, .n = msg->n - 1);
    hark_result_future(ctx, hark_map(ctx, next, count_down, NULL));
}

static void
a_loop_of_futures_needs_no_stack(void **state)
{
    struct fixture *f = *state;
    hark_ctx *me = f->w->here;
    hark_future first = hark_future_of(me, answer, .n = 100000);
    hark_future last = hark_map(me, first, count_down, NULL);

    assert_int_equal(hark_await(me, last, answer)->n, 99);
}

// ---- limits ----

static recipe *const recipes[] = {
    map_to_a_future,
    recover_after_steps,
    all_succeed,
    settled_with_a_failure,
    any_with_a_success,
    race_won_by_a_reply,
    delay_once,
    timeout_in_time,
    retry_until_it_works,
    hedge_won_by_the_second,
    for_each_that_goes_on,
    map_each_that_goes_on,
};

static void
a_full_table_is_told_and_loses_nothing(void **state)
{
    (void)state;
    for (uint32_t limit = 1; limit < 14; limit++) {
        // A hedge that has no room for its second ask waits for the first, to its end.
        struct world *w =
            world_open(REACH_LOCAL,
                       &(hark_options){.future_limit = limit, .ask_timeout_ms = 1000});

        whom = hark_spawn(w->here, server);
        for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
            // In a ctx of its own: what could not be made into more is left over.
            hark_ctx *me = hark_attach(w->here_system);

            memset(made, 0, sizeof made);
            hark_future f = recipes[i](me, whom);
            if (f.id == 0) {
                int code = hark_error_of(me)->code;
                assert_true(code == HARK_ELIMIT || code == HARK_ESTALE);
            } else {
                (void)!hark_await(me, f, answer); // or fails with a limit inside
            }
            hark_detach(me);
        }
        world_close(w);
    }
}

// ---- failures that nobody saw ----

struct unseen {
    _Atomic(int) count;
    char text[1024];
};

static void
note_unseen(hark_ctx *ctx, const hark_error *error, void *arg)
{
    struct unseen *unseen = arg;

    hark_error_line(ctx, error, unseen->text, sizeof unseen->text);
    unseen->count++;
}

static void
a_failure_that_nobody_saw_is_told_once_with_its_place(void **state)
{
    struct unseen unseen = {0};
    struct world *w =
        world_open(REACH_LOCAL, &(hark_options){.on_unseen_failure = note_unseen,
                                                .on_unseen_failure_arg = &unseen});
    hark_ctx *me = w->here;
    hark_ref s = hark_spawn(me, server);

    (void)state;
    whom = s;
    // Seen in one way or another.
    hark_future f = ask_n(me, s, -1);
    assert_null(hark_await(me, f, answer));
    hark_future_drop(me, f);
    f = hark_recover(me, ask_n(me, s, -1), heal, NULL);
    assert_non_null(hark_await(me, f, answer));
    hark_future_drop(me, f);
    f = hark_future_failed(me, HARK_EUSER, "looked at");
    assert_int_equal(hark_future_error(me, f)->code, HARK_EUSER);
    hark_future_drop(me, f);
    made[0] = ask_n(me, s, -1);
    made[1] = ask_n(me, s, 1);
    f = hark_any(me, made, 2);
    assert_non_null(hark_await(me, f, answer));
    hark_future_drop(me, f);
    assert_int_equal(unseen.count, 0);

    // Nobody looks at the end of the chain.
    f = hark_map(me, hark_map(me, ask_n(me, s, -5), twice, NULL), twice, NULL);
    while (!hark_future_done(me, f)) {
        assert_null(hark_receive(me, 1));
    }
    hark_future_drop(me, f);
    assert_int_equal(unseen.count, 1);
    assert_non_null(strstr(unseen.text, "negative: -5"));
    assert_non_null(strstr(unseen.text, "test_async.c:"));
    hark_stats stats;
    hark_stats_read(w->here_system, &stats);
    assert_int_equal(stats.failures_unseen, 1);

    f = hark_future_failed(me, HARK_EUSER, "left at the end");
    assert_int_not_equal(f.id, 0);
    world_close(w);
    assert_int_equal(unseen.count, 2);
    assert_non_null(strstr(unseen.text, "left at the end"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static int
over(enum reach how, const char *name)
{
    const struct CMUnitTest tests[] = {
        TEST(map_makes_another_reply),
        TEST(map_lets_an_error_pass),
        TEST(map_of_another_type_fails_with_etype),
        TEST(map_that_gives_nothing_fails_with_enoreply),
        TEST(map_may_fail),
        TEST(map_to_a_future_goes_on_with_that),
        TEST(a_callback_gives_one_result),
        TEST(a_callback_must_not_wait),
        TEST(recover_makes_a_reply_of_an_error),
        TEST(recover_that_gives_nothing_lets_the_error_pass),
        TEST(an_error_keeps_its_origin_through_a_chain),
        TEST(tap_sees_a_reply_and_lets_it_pass),
        TEST(finally_runs_whichever_way_it_ended),
        TEST(a_step_may_have_both_functions),
        TEST(a_dropped_input_has_failed_with_estale),
        TEST(dropping_the_last_of_a_chain_drops_each),
        TEST(a_result_may_be_dropped_in_its_own_callback),
        TEST(futures_that_are_stale_or_foreign_or_none_are_refused),
        TEST(all_keeps_each_reply),
        TEST(all_closes_the_rest_with_the_first_failure),
        TEST(all_may_leave_the_rest),
        TEST(all_settled_succeeds_with_failures),
        TEST(any_is_the_first_success),
        TEST(any_of_failures_tells_them_all),
        TEST(race_is_the_first_end),
        TEST(timeout_ends_what_takes_too_long),
        TEST(a_timeout_may_give_a_reply_instead),
        TEST(a_job_may_be_tried_once),
        TEST(a_map_goes_on_with_either),
        TEST(a_timeout_of_no_ask_tells_how_long_it_took),
        TEST(retry_goes_on_until_it_works),
        TEST(retry_gives_up_on_what_is_not_retryable),
        TEST(retry_ends_with_its_budget),
        TEST(hedge_takes_the_first_success),
        TEST(hedge_starts_the_next_as_soon_as_one_has_failed),
        TEST(for_each_counts_all),
        TEST(for_each_ends_with_the_first_failure),
        TEST(map_each_keeps_the_order_and_its_limit),
        TEST(map_each_may_collect_failures),
        TEST(map_each_ends_with_the_first_failure),
        TEST(what_an_actor_leaves_open_is_dropped_once),
        TEST(what_a_thread_leaves_open_is_dropped_once),
    };

    reach = how;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

// What does not depend on where the other side is.
static int
here(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_null_ctx_is_refused),
        TEST(delay_succeeds_after_its_time),
        TEST(retry_refuses_options_that_cannot_be),
        TEST(an_await_of_no_future_tells_why_there_is_none),
        TEST(arguments_may_be_literals_with_commas),
        TEST(an_own_future_is_completed_once),
        TEST(only_own_futures_can_be_completed),
        TEST(a_chain_of_a_million_links_needs_no_stack),
        TEST(a_chain_of_a_million_open_links_is_dropped_without_a_stack),
        TEST(a_loop_of_futures_needs_no_stack),
        cmocka_unit_test(a_full_table_is_told_and_loses_nothing),
        cmocka_unit_test(a_failure_that_nobody_saw_is_told_once_with_its_place),
    };

    reach = REACH_LOCAL;
    return cmocka_run_group_tests_name("api/async", tests, NULL, NULL);
}

int
main(void)
{
    return over(REACH_LOCAL, "api/async/local") + over(REACH_MEMORY, "api/async/mem")
           + over(REACH_TCP, "api/async/tcp") + here();
}
