// Blocking work: functions that run beside the workers, and their futures.

#include "api/gate.h"

HARK_MESSAGE(question, (i64, n))
HARK_MESSAGE(text, (str, s))
HARK_MESSAGE(begin, (i64, n))
HARK_MESSAGE(outcome, (i64, n), (i32, code))
HARK_MESSAGE(note, (i64, n))
HARK_MESSAGE(poke)

// ---- the work ----

HARK_BLOCKING_WITH(refused, int64_t, drop_number) {
    hark_refuse(ctx, HARK_EUSER + 7, "no such file: %d", (int)*arg);
}
HARK_BLOCKING_WITH(silent, int64_t, drop_number) {
}
HARK_BLOCKING_WITH(other_type, int64_t, drop_number) {
    hark_reply(ctx, text, .s = HARK_STR("text"));
}
HARK_BLOCKING(format_text, const char) {
    hark_reply(ctx, text, .s = hark_format(ctx, "%s, %s", arg, arg));
}
// Speaks for itself: asks, awaits, tells.
typedef struct {
    hark_ref server;
    int64_t n;
} errand;
HARK_BLOCKING_WITH(run_errand, errand, free) {
    hark_future f = hark_ask(ctx, arg->server, question, .n = arg->n);
    const answer *a = hark_await(ctx, f, answer);

    if (a == NULL) {
        hark_refuse(ctx, hark_error_of(ctx)->code, "%s", hark_error_of(ctx)->text);
        return;
    }
    hark_tell(ctx, hark_sender(ctx), note, .n = a->n);
    hark_reply(ctx, answer, .n = a->n);
}
HARK_BLOCKING(defers, void) {
    hark_promise p = hark_defer(ctx);

    hark_detach(ctx); // is not its to end
    hark_reply(ctx, answer, .n = p.id == 0 ? hark_error_of(ctx)->code : 0);
}
HARK_BLOCKING(who_am_i, hark_ref) {
    *arg = hark_self(ctx);
    hark_reply(ctx, answer, .n = hark_is_alive(ctx, *arg));
}
HARK_BLOCKING_WITH(nested, int64_t, free) {
    hark_future f = hark_blocking(ctx, twice, number(*arg));
    const answer *a = hark_await(ctx, f, answer);

    hark_reply(ctx, answer, .n = a != NULL ? a->n * 2 : -1);
}

// ---- results and failures ----

static void
a_function_gives_its_result(void **state)
{
    struct world *w = open_with(0, 0);

    (void)state;
    assert_int_equal(get(w, hark_blocking(w->here, twice, number(21))), 42);
    gate_until(&gate.dropped, 1);
    world_close(w);
    assert_int_equal(gate.dropped, 1);
}

static void
a_result_may_hold_memory_of_the_functions_own_turn(void **state)
{
    struct world *w = open_with(0, 0);
    hark_future f = hark_blocking(w->here, format_text, "hark");
    const text *t = hark_await(w->here, f, text);

    (void)state;
    assert_non_null(t);
    assert_string_equal(t->s.ptr, "hark, hark");
    world_close(w);
}

static void
a_refusal_carries_code_and_text_and_site(void **state)
{
    struct world *w = open_with(0, 0);
    hark_future f = hark_blocking(w->here, refused, number(3));
    char line[300];

    (void)state;
    assert_null(hark_await(w->here, f, answer));
    world_assert_error(w, HARK_EUSER + 7, "no such file: 3");
    assert_int_equal(hark_error_of(w->here)->stage, HARK_STAGE_RUNNING);
    hark_error_line(w->here, hark_error_of(w->here), line, sizeof line);
    assert_non_null(strstr(line, "test_blocking.c:"));
    assert_non_null(strstr(line, "stage: running"));
    world_close(w);
}

static void
a_function_that_does_not_answer_fails_its_future(void **state)
{
    struct world *w = open_with(0, 0);

    (void)state;
    assert_fails(w, hark_blocking(w->here, silent, number(0)), HARK_ENOREPLY,
                 HARK_STAGE_RUNNING, "silent returned without an answer");
    world_close(w);
}

static void
a_result_of_another_type_is_an_error(void **state)
{
    struct world *w = open_with(0, 0);
    hark_future f = hark_blocking(w->here, other_type, number(0));

    (void)state;
    assert_null(hark_await(w->here, f, answer));
    world_assert_error(w, HARK_ETYPE, "text");
    world_close(w);
}

static void
null_arguments_are_errors_and_the_argument_is_dropped(void **state)
{
    struct world *w = open_with(0, 0);
    struct world *other = world_open(REACH_LOCAL, NULL);
    hark_executor *foreign = hark_executor_new(other->here_system, NULL);
    const hark_blocking_work nothing = {"nothing", NULL, drop_number};

    (void)state;
    assert_non_null(foreign);
    hark_future none = hark_blocking(NULL, twice, number(1));
    assert_int_equal(none.id, 0);
    assert_fails(w, hark_blocking_at(w->here, HARK_HERE, NULL, &nothing, number(1)),
                 HARK_EINVAL, HARK_STAGE_NOT_SENT, "no function");
    assert_fails(w, hark_blocking_at(w->here, HARK_HERE, NULL, NULL, NULL), HARK_EINVAL,
                 HARK_STAGE_NOT_SENT, "no function");
    assert_fails(w, hark_blocking_on(w->here, foreign, twice, number(1)), HARK_EINVAL,
                 HARK_STAGE_NOT_SENT, "another system");
    assert_int_equal(gate.dropped, 3);
    assert_false(hark_blocking_cancelled(NULL));
    assert_false(hark_blocking_cancelled(w->here));
    assert_null(hark_executor_new(NULL, NULL));
    hark_executor_free(NULL);
    world_close(other);
    world_close(w);
}

static void
a_future_limit_drops_the_argument_too(void **state)
{
    struct world *w;

    (void)state;
    w = open_with(0, 0);
    world_close(w);
    w = world_open(REACH_LOCAL, &(hark_options){.future_limit = 1});
    hark_future f = hark_blocking(w->here, twice, number(2));
    hark_future none = hark_blocking(w->here, twice, number(2));
    assert_int_equal(none.id, 0);
    world_assert_error(w, HARK_ELIMIT, "too many open futures");
    assert_int_equal(get(w, f), 4);
    gate_until(&gate.dropped, 2);
    world_close(w);
}

// ---- the function's own ctx ----

typedef struct {
    int64_t seen;
} server;
HARK_ON(server, question) {
    hark_reply(ctx, answer, .n = msg->n + 1);
}
HARK_ACTOR(server, question)

static void
a_function_may_ask_and_await_and_tell(void **state)
{
    struct world *w = open_with(0, 0);
    errand *e = malloc(sizeof *e);

    (void)state;
    assert_non_null(e);
    *e = (errand){hark_spawn(w->here, server), 9};
    assert_int_equal(get(w, hark_blocking(w->here, run_errand, e)), 10);
    hark_message *m = hark_receive(w->here, HARK_SECONDS(10));
    const note *told = hark_message_as(m, &note_type);
    assert_non_null(told);
    assert_int_equal(told->n, 10);
    hark_message_free(w->here, m);
    world_close(w);
}

static void
a_ctx_is_of_one_piece_of_work_alone(void **state)
{
    struct world *w = open_with(1, 0);
    hark_ref first;
    hark_ref second;

    (void)state;
    assert_int_equal(get(w, hark_blocking(w->here, who_am_i, &first)), 1);
    assert_int_equal(get(w, hark_blocking(w->here, who_am_i, &second)), 1);
    assert_false(hark_ref_equal(first, second));
    while (hark_is_alive(w->here, second)) {
        sched_yield();
    }
    assert_int_equal(hark_tell(w->here, second, poke), HARK_ENOACTOR);
    world_close(w);
}

static void
a_function_answers_itself_and_cannot_defer(void **state)
{
    struct world *w = open_with(0, 0);

    (void)state;
    assert_int_equal(get(w, hark_blocking(w->here, defers, NULL)), HARK_ENOTSUP);
    world_close(w);
}

static void
blocking_work_may_have_blocking_work_done(void **state)
{
    struct world *w = open_with(2, 0);

    (void)state;
    assert_int_equal(get(w, hark_blocking(w->here, nested, number(5))), 20);
    world_close(w);
}

// ---- futures that end early ----

static hark_future
within(struct world *w, uint32_t timeout_ms, int64_t n)
{
    return hark_blocking_with(w->here,
                              &(hark_blocking_options){.timeout_ms = timeout_ms},
                              at_gate, number(n));
}

static void
work_that_times_out_while_it_waits_is_never_run(void **state)
{
    struct world *w = open_with(1, 0);
    hark_future first = hark_blocking(w->here, at_gate, number(1));

    (void)state;
    gate_until(&gate.waiting, 1);
    assert_fails(w, within(w, 20, 2), HARK_ETIMEOUT, HARK_STAGE_QUEUED, "timed out");
    assert_int_equal(gate.dropped, 1);
    assert_int_equal(world_stats(w->here_system).blocking_waiting, 0);
    gate_allow(1);
    assert_int_equal(get(w, first), 1);
    world_close(w);
    assert_int_equal(gate.passed, 1);
    assert_int_equal(gate.dropped, 2);
}

static void
work_that_times_out_while_it_runs_can_tell(void **state)
{
    struct world *w = open_with(1, 0);

    (void)state;
    hark_future f = within(w, 20, 1);
    gate_until(&gate.waiting, 1);
    assert_fails(w, f, HARK_ETIMEOUT, HARK_STAGE_RUNNING, "timed out");
    assert_int_equal(gate.dropped, 0);
    gate_allow(1);
    gate_until(&gate.dropped, 1);
    assert_int_equal(gate.cancelled, 1);
    assert_int_equal(world_stats(w->here_system).dead_letters, 0);
    world_close(w);
}

static void
a_future_that_is_dropped_takes_its_work_along(void **state)
{
    struct world *w = open_with(1, 0);
    hark_future running = hark_blocking(w->here, at_gate, number(1));
    hark_future waiting = hark_blocking(w->here, at_gate, number(2));

    (void)state;
    gate_until(&gate.waiting, 1);
    hark_future_drop(w->here, waiting);
    assert_int_equal(gate.dropped, 1);
    hark_future_drop(w->here, running);
    gate_allow(1);
    gate_until(&gate.dropped, 2);
    assert_int_equal(gate.cancelled, 1);
    world_close(w);
    assert_int_equal(gate.passed, 1);
}

static void
a_future_that_is_cancelled_takes_its_work_along(void **state)
{
    struct world *w = open_with(1, 0);
    hark_future running = hark_blocking(w->here, at_gate, number(1));
    hark_future waiting = hark_blocking(w->here, at_gate, number(2));

    (void)state;
    gate_until(&gate.waiting, 1);
    assert_int_equal(hark_cancel(w->here, waiting), HARK_OK);
    assert_int_equal(gate.dropped, 1);
    assert_fails(w, waiting, HARK_ECANCELLED, HARK_STAGE_QUEUED, "");
    assert_int_equal(hark_cancel(w->here, running), HARK_OK);
    assert_fails(w, running, HARK_ECANCELLED, HARK_STAGE_RUNNING, "");
    gate_allow(1);
    gate_until(&gate.dropped, 2);
    assert_int_equal(gate.cancelled, 1);
    world_close(w);
    assert_int_equal(gate.passed, 1);
}

HARK_BLOCKING(time_left, void) {
    hark_reply(ctx, answer, .n = hark_cancelled(ctx) ? 0 : hark_remaining_ms(ctx));
}

static void
a_function_knows_how_much_time_it_has(void **state)
{
    struct world *w = open_with(1, 0);
    hark_blocking_options minute = {.timeout_ms = 60000};
    hark_blocking_options forever = {.timeout_ms = HARK_FOREVER};

    (void)state;
    assert_in_range(get(w, hark_blocking_with(w->here, &minute, time_left, NULL)), 1,
                    61000); // the coarse clock lags
    assert_int_equal(get(w, hark_blocking_with(w->here, &forever, time_left, NULL)),
                     HARK_FOREVER);
    world_close(w);
}

// A reply that was under way when its future ended.
HARK_BLOCKING_WITH(late, int64_t, drop_number) {
    gate_pass(*arg);
    hark_reply(ctx, answer, .n = *arg);
}

static void
a_reply_that_comes_too_late_is_a_dead_letter(void **state)
{
    struct world *w = open_with(1, 0);
    hark_future f = hark_blocking(w->here, late, number(1));

    (void)state;
    gate_until(&gate.waiting, 1);
    hark_future_drop(w->here, f);
    gate_allow(1);
    while (world_stats(w->here_system).dead_letters == 0) {
        hark_message *none = hark_receive(w->here, 0);
        assert_null(none);
    }
    world_close(w);
    assert_int_equal(gate.dropped, 1);
}

// ---- from actors ----

enum { AWAIT, THEN, LEAVE };

typedef struct {
    int64_t kind;
    hark_ref report_to;
} worker_actor;

HARK_THEN(worker_actor, done, answer) {
    hark_tell(ctx, self->report_to, outcome, .n = msg->n);
}
HARK_ELSE(worker_actor, done) {
    hark_tell(ctx, self->report_to, outcome, .code = error->code);
}
HARK_CONTINUATION(worker_actor, done, answer)

HARK_ON(worker_actor, begin) {
    hark_future f = hark_blocking(ctx, at_gate, number(msg->n));

    if (self->kind == THEN) {
        hark_err err = hark_then(ctx, f, worker_actor, done, NULL);
        assert_int_equal(err, HARK_OK);
    } else if (self->kind == AWAIT) {
        const answer *a = hark_await(ctx, f, answer);
        hark_tell(ctx, self->report_to, outcome, .n = a != NULL ? a->n : -1,
                  .code = a != NULL ? 0 : hark_error_of(ctx)->code);
    } else {
        hark_future_keep(ctx, f);
    }
}
HARK_ON(worker_actor, poke) {
    hark_tell(ctx, self->report_to, outcome, .n = -5);
}
HARK_ACTOR(worker_actor, begin, poke)

static hark_ref
worker_of(struct world *w, int64_t kind)
{
    return hark_spawn(w->here, worker_actor, .kind = kind,
                      .report_to = hark_self(w->here));
}

static outcome
next_outcome(struct world *w)
{
    hark_message *m = hark_receive(w->here, HARK_SECONDS(20));
    const outcome *o = hark_message_as(m, &outcome_type);

    assert_non_null(o);
    outcome copy = *o;
    hark_message_free(w->here, m);
    return copy;
}

static void
an_actor_awaits_its_blocking_work_and_its_worker_goes_on(void **state)
{
    enum { ACTORS = 20 };
    struct world *w = open_with(ACTORS, 0);
    int64_t sum = 0;

    (void)state;
    for (int i = 1; i <= ACTORS; i++) {
        hark_tell(w->here, worker_of(w, AWAIT), begin, .n = i);
    }
    gate_until(&gate.waiting, ACTORS); // with two workers
    gate_allow(ACTORS);
    for (int i = 1; i <= ACTORS; i++) {
        sum += next_outcome(w).n;
    }
    assert_int_equal(sum, ACTORS * (ACTORS + 1) / 2);
    world_close(w);
}

static void
an_actor_continues_and_handles_others_meanwhile(void **state)
{
    struct world *w = open_with(1, 0);
    hark_ref a = worker_of(w, THEN);

    (void)state;
    hark_tell(w->here, a, begin, .n = 7);
    gate_until(&gate.waiting, 1);
    hark_tell(w->here, a, poke);
    assert_int_equal(next_outcome(w).n, -5);
    gate_allow(1);
    assert_int_equal(next_outcome(w).n, 7);
    world_close(w);
}

static void
an_actor_that_ends_takes_its_work_along(void **state)
{
    struct world *w = open_with(1, 0);
    hark_ref running = worker_of(w, LEAVE);
    hark_ref waiting = worker_of(w, THEN);

    (void)state;
    hark_tell(w->here, running, begin, .n = 1);
    gate_until(&gate.waiting, 1);
    hark_tell(w->here, waiting, begin, .n = 2);
    while (world_stats(w->here_system).blocking_waiting == 0) {
        sched_yield();
    }
    assert_int_equal(hark_actor_stop(w->here, waiting), HARK_OK);
    gate_until(&gate.dropped, 1);
    assert_int_equal(hark_actor_stop(w->here, running), HARK_OK);
    while (hark_is_alive(w->here, running)) {
        sched_yield();
    }
    // It still counts as cancelled a moment after its owner has no name any more.
    while (world_stats(w->here_system).actors > 2) { // this thread, and the work
        sched_yield();
    }
    gate_allow(1);
    gate_until(&gate.dropped, 2);
    assert_int_equal(gate.cancelled, 1);
    world_close(w);
    assert_int_equal(gate.passed, 1);
}

static void
a_cancelled_request_cancels_the_work_done_for_its_sake(void **state)
{
    struct world *w = open_with(1, 0);
    hark_future f = hark_ask(w->here, worker_of(w, AWAIT), begin, .n = 1);

    (void)state;
    gate_until(&gate.waiting, 1);
    assert_int_equal(hark_cancel(w->here, f), HARK_OK);
    assert_int_equal(next_outcome(w).code, HARK_ECANCELLED);
    gate_allow(1);
    gate_until(&gate.dropped, 1);
    assert_int_equal(gate.cancelled, 1);
    world_close(w);
}

// ---- from threads ----

static void *
call_from_a_thread(void *arg)
{
    hark_ctx *me = hark_attach(arg);
    int64_t sum = 0;

    for (int64_t i = 0; i < 50; i++) {
        hark_future f = hark_blocking(me, twice, number(i));
        const answer *a = hark_await(me, f, answer);

        sum += a != NULL ? a->n : -1000000;
        hark_future_drop(me, f);
    }
    hark_detach(me);
    return (void *)(intptr_t)sum;
}

static void
many_threads_share_the_pool(void **state)
{
    struct world *w = open_with(2, 0);
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(
            pthread_create(&threads[i], NULL, call_from_a_thread, w->here_system), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *sum;

        pthread_join(threads[i], &sum);
        assert_int_equal((intptr_t)sum, 49 * 50);
    }
    world_close(w);
    assert_int_equal(gate.dropped, 200);
}

static void *
leave_while_it_waits(void *arg)
{
    hark_ctx *me = hark_attach(arg);
    hark_future running = hark_blocking(me, at_gate, number(1));
    hark_future waiting = hark_blocking(me, at_gate, number(2));

    assert_int_not_equal(running.id, 0);
    assert_int_not_equal(waiting.id, 0);
    gate_until(&gate.waiting, 1);
    hark_detach(me);
    return NULL;
}

static void
a_thread_that_detaches_takes_its_work_along(void **state)
{
    struct world *w = open_with(1, 0);
    pthread_t thread;

    (void)state;
    assert_int_equal(
        pthread_create(&thread, NULL, leave_while_it_waits, w->here_system), 0);
    pthread_join(thread, NULL);
    assert_int_equal(gate.dropped, 1);
    gate_allow(1);
    gate_until(&gate.dropped, 2);
    assert_int_equal(gate.cancelled, 1);
    world_close(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_function_gives_its_result),
        cmocka_unit_test(a_result_may_hold_memory_of_the_functions_own_turn),
        cmocka_unit_test(a_refusal_carries_code_and_text_and_site),
        cmocka_unit_test(a_function_that_does_not_answer_fails_its_future),
        cmocka_unit_test(a_result_of_another_type_is_an_error),
        cmocka_unit_test(null_arguments_are_errors_and_the_argument_is_dropped),
        cmocka_unit_test(a_future_limit_drops_the_argument_too),
        cmocka_unit_test(a_function_may_ask_and_await_and_tell),
        cmocka_unit_test(a_ctx_is_of_one_piece_of_work_alone),
        cmocka_unit_test(a_function_answers_itself_and_cannot_defer),
        cmocka_unit_test(blocking_work_may_have_blocking_work_done),
        cmocka_unit_test(work_that_times_out_while_it_waits_is_never_run),
        cmocka_unit_test(work_that_times_out_while_it_runs_can_tell),
        cmocka_unit_test(a_future_that_is_dropped_takes_its_work_along),
        cmocka_unit_test(a_future_that_is_cancelled_takes_its_work_along),
        cmocka_unit_test(a_function_knows_how_much_time_it_has),
        cmocka_unit_test(a_reply_that_comes_too_late_is_a_dead_letter),
        cmocka_unit_test(an_actor_awaits_its_blocking_work_and_its_worker_goes_on),
        cmocka_unit_test(an_actor_continues_and_handles_others_meanwhile),
        cmocka_unit_test(an_actor_that_ends_takes_its_work_along),
        cmocka_unit_test(a_cancelled_request_cancels_the_work_done_for_its_sake),
        cmocka_unit_test(many_threads_share_the_pool),
        cmocka_unit_test(a_thread_that_detaches_takes_its_work_along),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
