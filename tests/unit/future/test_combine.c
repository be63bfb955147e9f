// Combinators on a bare table: what they close and free, whatever fails or is closed
// when. The turn is the fixture, and so is the ctx that callbacks get.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "future/combine.h"
#include "message/failure.h"
#include "unit/scarce.h"

HARK_MESSAGE(number, (i64, n))

#define MS INT64_C(1000000)

enum { LIMIT = 3000000, INPUTS = 8 };

// ---- fixture ----

struct fixture {
    struct depot *depot;
    struct pool *pool;
    struct futures *futures;
    uint64_t inputs[INPUTS]; // what the combinator under test was given, or its jobs
    size_t input_count;
    int drops, runs, told, code;
    uint64_t close_in_drop; // a future that the destructor closes
};

static int64_t now_ns;
static struct fixture *current;

static int64_t
read_clock(struct env *env)
{
    (void)env;
    return now_ns;
}

static int64_t
read_coarse_clock(struct env *env, int64_t *out_lag_ns)
{
    (void)env;
    *out_lag_ns = 0;
    return now_ns;
}

static uint64_t
give_random(struct env *env)
{
    (void)env;
    return UINT64_MAX / 2;
}

static const struct env_ops ops = {
    .now_ns = read_clock,
    .random = give_random,
    .now_coarse_ns = read_coarse_clock,
};
static struct env env = {&ops};

static struct pool *
pool_of(void *turn)
{
    (void)turn;
    return current->pool;
}

static void
ignore_unseen(struct futures *futures, void *turn, const struct future *future)
{
    (void)futures;
    (void)turn;
    (void)future;
}

static const struct futures_host host = {pool_of, ignore_unseen};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    f->depot = hark__depot_open();
    f->pool = hark__pool_open(f->depot);
    f->futures = hark__futures_new(LIMIT, &env, &host);
    now_ns = MS;
    current = f;
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    hark__futures_free(f->futures, f->pool, f);
    hark__pool_close(f->pool);
    hark__depot_close(f->depot);
    free(f);
    return 0;
}

static struct future *
open_future(struct fixture *f)
{
    return hark__future_open(f->futures, f->pool, HARK_FOREVER);
}

static void
close_future(struct fixture *f, uint64_t id)
{
    struct future *future = hark__future_find(f->futures, id);

    if (future != NULL) {
        hark__future_close(f->futures, f->pool, f, future);
    }
}

static struct hark_message *
new_number(struct fixture *f, int64_t n)
{
    struct hark_message *message =
        hark__message_new(f->pool, &number_type, &(number){.n = n});

    if (message != NULL) {
        message->kind = MESSAGE_REPLY;
    }
    return message;
}

// As an answer that came.
static void
answer(struct fixture *f, uint64_t id, int64_t n)
{
    struct future *future = hark__future_find(f->futures, id);
    struct hark_message *message = new_number(f, n);

    if (future == NULL || future->state == FUTURE_DONE || message == NULL) {
        if (message != NULL) {
            hark__message_free(f->pool, message);
        }
        return;
    }
    hark__future_complete(f->futures, f, future, message, HARK_OK, HARK_STAGE_RUNNING,
                          now_ns);
}

static void
fail_with(struct fixture *f, uint64_t id, int code)
{
    struct future *future = hark__future_find(f->futures, id);

    if (future != NULL && future->state == FUTURE_OPEN) {
        hark__future_complete(f->futures, f, future, NULL, code, HARK_STAGE_RUNNING,
                              now_ns);
    }
}

// The end of a turn.
static void
end_turn(struct fixture *f)
{
    while (hark__futures_are_unsettled(f->futures)) {
        hark__futures_tell_ready(f->futures, f);
        (void)hark__futures_start(f->futures, &env, NULL);
    }
}

static void
pass_time(struct fixture *f, int64_t ms)
{
    struct future *future;

    now_ns += ms * MS;
    while ((future = hark__futures_overdue(f->futures, now_ns)) != NULL) {
        hark__future_complete(f->futures, f, future, NULL, HARK_ETIMEOUT,
                              HARK_STAGE_SENT, now_ns);
    }
    end_turn(f);
}

// ---- what callbacks do ----

static void
drop(void *arg)
{
    struct fixture *f = arg;

    f->drops++;
    close_future(f, f->close_in_drop);
}

static void
give_number(struct fixture *f, int64_t n)
{
    struct outcome *outcome = f->futures->outcome;

    outcome->message = new_number(f, n);
    outcome->kind = outcome->message != NULL ? OUTCOME_REPLY : OUTCOME_FAILURE;
    outcome->code = outcome->message != NULL ? HARK_OK : HARK_ENOMEM;
}

static void
give_failure(struct fixture *f, int code)
{
    struct outcome *outcome = f->futures->outcome;

    outcome->message =
        hark__failure_new(f->pool, 0, code, HARK_STAGE_RUNNING, "given", 5);
    outcome->kind = OUTCOME_FAILURE;
    outcome->code = code;
}

// A new one, which stands among the inputs.
static void
give_future(struct fixture *f)
{
    struct outcome *outcome = f->futures->outcome;
    struct future *future = open_future(f);

    if (future == NULL) {
        give_failure(f, HARK_ENOMEM);
        return;
    }
    f->inputs[f->input_count++ % INPUTS] = future->id;
    outcome->kind = OUTCOME_FUTURE;
    hark__computed_watch(outcome->computed, outcome->input, future);
}

static void
reply_to_number(hark_ctx *ctx, const void *reply, void *arg)
{
    (void)ctx;
    ((struct fixture *)arg)->runs++;
    give_number(arg, ((const number *)reply)->n + 1);
}

static void
reply_to_future(hark_ctx *ctx, const void *reply, void *arg)
{
    (void)ctx;
    (void)reply;
    give_future(arg);
}

static void
error_to_number(hark_ctx *ctx, const hark_error *error, void *arg)
{
    (void)ctx;
    give_number(arg, error->code);
}

static const hark_step map_step = {
    .type = &number_type, .on_reply = reply_to_number, .drop = drop};
static const hark_step follow_step = {
    .type = NULL, .on_reply = reply_to_future, .drop = drop};
static const hark_step follow_tap_step = {
    .type = NULL, .on_reply = reply_to_future, .drop = drop, .only_looks = true};
static const hark_step recover_step = {.on_error = error_to_number, .drop = drop};

// Fails, gives a number, and gives futures.
static void
do_something(hark_ctx *ctx, size_t index, void *arg)
{
    (void)ctx;
    ((struct fixture *)arg)->runs++;
    if (index == 0) {
        give_failure(arg, HARK_ELIMIT);
    } else if (index == 1) {
        give_number(arg, 1);
    } else {
        give_future(arg);
    }
}

static void
ask(hark_ctx *ctx, size_t index, void *arg)
{
    (void)ctx;
    (void)index;
    ((struct fixture *)arg)->runs++;
    give_future(arg);
}

static const hark_job mixed_job = {.run = do_something, .drop = drop};
static const hark_job ask_job = {.run = ask, .drop = drop};

// ---- combinators under test: each gives its result; NULL: refused ----

static bool
open_inputs(struct fixture *f, size_t count, hark_future *out)
{
    f->input_count = count;
    for (size_t i = 0; i < count; i++) {
        struct future *future = open_future(f);

        if (future == NULL) {
            return false;
        }
        f->inputs[i] = future->id;
        out[i] = (hark_future){0, future->id};
    }
    return true;
}

static struct future *
make_step(struct fixture *f, const hark_step *step)
{
    hark_future input;

    if (!open_inputs(f, 1, &input)) {
        return NULL;
    }
    return hark__step_open(f->futures, f->pool, hark__future_find(f->futures, input.id),
                           step, f);
}

static struct future *
make_map(struct fixture *f)
{
    return make_step(f, &map_step);
}

static struct future *
make_follow(struct fixture *f)
{
    return make_step(f, &follow_step);
}

static struct future *
make_follow_tap(struct fixture *f)
{
    return make_step(f, &follow_tap_step);
}

static struct future *
make_recover(struct fixture *f)
{
    return make_step(f, &recover_step);
}

static struct future *
make_all(struct fixture *f)
{
    hark_future inputs[3];
    struct future *future = NULL;

    if (!open_inputs(f, 3, inputs)
        || hark__all_open(f->futures, f->pool, inputs, 3, ALL_CANCEL, &future)
               != HARK_OK) {
        return NULL;
    }
    return future;
}

static struct future *
make_settled(struct fixture *f)
{
    hark_future inputs[3];
    struct future *future = NULL;

    if (!open_inputs(f, 3, inputs)
        || hark__all_open(f->futures, f->pool, inputs, 3, ALL_SETTLED, &future)
               != HARK_OK) {
        return NULL;
    }
    return future;
}

static struct future *
make_any(struct fixture *f)
{
    hark_future inputs[3];
    struct future *future = NULL;

    if (!open_inputs(f, 3, inputs)
        || hark__first_open(f->futures, f, inputs, 3, FIRST_SUCCESS, &future)
               != HARK_OK) {
        return NULL;
    }
    return future;
}

static struct future *
make_race(struct fixture *f)
{
    hark_future inputs[3];
    struct future *future = NULL;

    if (!open_inputs(f, 3, inputs)
        || hark__first_open(f->futures, f, inputs, 3, FIRST_END, &future) != HARK_OK) {
        return NULL;
    }
    return future;
}

static struct future *
make_delay(struct fixture *f)
{
    return hark__delay_open(f->futures, f->pool, 5, HARK_FOREVER);
}

static struct future *
make_timeout(struct fixture *f)
{
    hark_future input;

    if (!open_inputs(f, 1, &input)) {
        return NULL;
    }
    return hark__timeout_open(f->futures, f->pool,
                              hark__future_find(f->futures, input.id), 5);
}

static const hark_retry_options retry_options = {
    .attempts = 4,
    .delay_ms = 5,
    .factor = 2,
    .max_delay_ms = 50,
    .jitter_percent = 50,
    .budget_ms = 100,
    .is_retryable = hark_is_retryable,
};

static struct future *
make_retry(struct fixture *f)
{
    return hark__retry_open(f->futures, f, &retry_options, &ask_job, f);
}

static struct future *
make_mixed_retry(struct fixture *f)
{
    return hark__retry_open(f->futures, f, &retry_options, &mixed_job, f);
}

static struct future *
make_hedge(struct fixture *f)
{
    const hark_hedge_options options = {.attempts = 3, .delay_ms = 5};

    return hark__hedge_open(f->futures, f, &options, &ask_job, f);
}

static struct future *
make_for_each(struct fixture *f)
{
    const struct each_range range = {.count = 6, .at_most = 2, .keep_going = true};

    return hark__each_open(f->futures, f, &range, &mixed_job, f);
}

static struct future *
make_map_each(struct fixture *f)
{
    const struct each_range range = {
        .count = 6, .at_most = 2, .keep_going = true, .keep_ends = true};

    return hark__each_open(f->futures, f, &range, &mixed_job, f);
}

static struct future *
make_map_each_that_fails(struct fixture *f)
{
    const struct each_range range = {.count = 6, .at_most = 2, .keep_ends = true};

    return hark__each_open(f->futures, f, &range, &mixed_job, f);
}

static const struct kind {
    const char *name;
    struct future *(*make)(struct fixture *f);
    bool has_arg;
} kinds[] = {
    {"map", make_map, true},
    {"map to a future", make_follow, true},
    {"tap with a future", make_follow_tap, true},
    {"recover", make_recover, true},
    {"all", make_all, false},
    {"all settled", make_settled, false},
    {"any", make_any, false},
    {"race", make_race, false},
    {"delay", make_delay, false},
    {"timeout", make_timeout, false},
    {"retry", make_retry, true},
    {"retry of many kinds", make_mixed_retry, true},
    {"hedge", make_hedge, true},
    {"for each", make_for_each, true},
    {"map each", make_map_each, true},
    {"map each that fails", make_map_each_that_fails, true},
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

// What happens to the inputs, again and again, until nothing is open any more.
enum weather { FAIR, FOUL, MIXED, SLOW };

static void
let_it_happen(struct fixture *f, enum weather weather)
{
    for (size_t round = 0; round < 12; round++) {
        end_turn(f);
        for (size_t i = 0; i < INPUTS; i++) {
            if (weather == FAIR || (weather == MIXED && i % 2 == 1)) {
                answer(f, f->inputs[i], (int64_t)i);
            } else if (weather != SLOW) {
                fail_with(f, f->inputs[i], HARK_ENONODE);
            }
        }
        end_turn(f);
        pass_time(f, 60);
    }
}

// ---- whatever happens ----

// Ends the fixture, and returns how often its argument was dropped.
static int
finish(struct fixture *f)
{
    hark__futures_free(f->futures, f->pool, f);
    int drops = f->drops;
    f->futures = hark__futures_new(LIMIT, &env, &host);
    teardown((void **)&f);
    return drops;
}

static struct fixture *
begin(void)
{
    struct fixture *f;

    setup((void **)&f);
    return f;
}

// One run in which the allocation after `count` others fails. Returns the drops.
static int
run_short_of_memory(const struct kind *kind, enum weather weather, long count)
{
    struct fixture *f = begin();

    scarce_begin(count, SCARCE_HERE);
    struct future *future = kind->make(f);
    if (future == NULL && kind->has_arg) {
        assert_int_equal(f->drops, 0); // it is the caller's still
        f->drops = 1;
    }
    let_it_happen(f, weather);
    (void)scarce_end();
    return finish(f);
}

static void
each_allocation_may_fail_and_nothing_is_lost(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        for (enum weather weather = FAIR; weather <= SLOW; weather++) {
            long count = 0;

            do {
                int drops = run_short_of_memory(&kinds[k], weather, count++);

                if (drops != (kinds[k].has_arg ? 1 : 0)) {
                    fail_msg("%s, weather %d: %d drops when %ld failed", kinds[k].name,
                             (int)weather, drops, count - 1);
                }
            } while (atomic_load(&scarce_has_failed));
            assert_true(count > 1);
        }
    }
}

static void
count_told(struct waiter *waiter, void *turn, struct future *future)
{
    struct fixture *f = turn;

    (void)waiter;
    f->told++;
    f->code = future->code;
}

static void
count_nothing(struct waiter *waiter, void *turn, struct future *future)
{
    (void)waiter;
    (void)turn;
    (void)future;
}

static struct waiter waiter = {count_told, count_nothing};

static void
each_ends_once_whatever_its_inputs_do(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        for (enum weather weather = FAIR; weather <= SLOW; weather++) {
            struct fixture *f = begin();

            hark__future_watch(f->futures, kinds[k].make(f), &waiter);
            let_it_happen(f, weather);
            if (f->told > 1 || (weather != SLOW && f->told != 1)) {
                fail_msg("%s, weather %d: told %d times", kinds[k].name, (int)weather,
                         f->told);
            }
            assert_int_equal(finish(f), kinds[k].has_arg ? 1 : 0);
        }
    }
}

static void
what_a_result_was_made_of_is_closed_with_it(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        for (int turns = 0; turns < 3; turns++) {
            struct fixture *f = begin();
            uint64_t id = kinds[k].make(f)->id;

            for (int i = 0; i < turns; i++) {
                end_turn(f);
                answer(f, f->inputs[i], 1);
            }
            close_future(f, id);
            for (size_t i = 0; i < INPUTS; i++) {
                close_future(f, f->inputs[i]); // its own input, at most
            }
            assert_int_equal(f->drops, kinds[k].has_arg ? 1 : 0);
            assert_int_equal(f->futures->open_count, 0);
            (void)finish(f);
        }
    }
}

static void
nothing_is_left_when_a_result_has_ended_and_is_closed(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct fixture *f = begin();
        uint64_t id = kinds[k].make(f)->id;

        let_it_happen(f, MIXED);
        close_future(f, id);
        if (f->futures->open_count != 0) {
            fail_msg("%s: %u left", kinds[k].name, f->futures->open_count);
        }
        (void)finish(f);
    }
}

static void
inputs_may_be_closed_by_others(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct fixture *f = begin();

        hark__future_watch(f->futures, kinds[k].make(f), &waiter);
        for (int round = 0; round < 8; round++) {
            end_turn(f);
            for (size_t i = 0; i < INPUTS; i++) {
                close_future(f, f->inputs[i]);
            }
            int told = f->told; // nothing is told inside the call that closes
            end_turn(f);
            assert_true(f->told >= told);
            pass_time(f, 60);
        }
        if (f->told != 1) {
            fail_msg("%s: told %d times", kinds[k].name, f->told);
        }
        assert_int_equal(finish(f), kinds[k].has_arg ? 1 : 0);
    }
}

// The destructor closes the result of what its argument worked for, or another input.
static void
a_destructor_may_close_anything(void **state)
{
    (void)state;
    for (size_t k = 0; k < KINDS; k++) {
        struct fixture *f = begin();
        struct future *inner = make_map(f);
        uint64_t in = f->inputs[0];
        struct future *all = NULL;
        struct future *result = kinds[k].make(f);
        hark_future members[] = {{0, inner->id}, {0, result->id}};

        assert_int_equal(
            hark__all_open(f->futures, f->pool, members, 2, ALL_CANCEL, &all), HARK_OK);
        f->close_in_drop = all->id; // while all closes its members
        fail_with(f, in, HARK_ENONODE);
        let_it_happen(f, FOUL);
        assert_int_equal(finish(f), kinds[k].has_arg ? 2 : 1);
    }
}

// ---- single facts ----

static void
callbacks_do_not_run_before_the_turn_ends(void **state)
{
    struct fixture *f = *state;
    struct future *result =
        hark__step_open(f->futures, f->pool, make_map(f), &map_step, f);

    answer(f, f->inputs[0], 1);
    assert_int_equal(f->runs, 1); // as the answer came: it is a turn of the owner
    assert_int_equal(result->state, FUTURE_OPEN);
    end_turn(f);
    assert_int_equal(f->runs, 2);
    assert_int_equal(result->state, FUTURE_DONE);
    const number *n = hark_message_as(result->message, &number_type);
    assert_int_equal(n->n, 3);
    assert_int_equal(f->drops, 2);
    assert_int_equal(f->futures->open_count, 1);
}

// Its place among those of the turn was taken when it was woken.
static void
a_result_whose_input_was_lost_in_its_first_turn_is_closed_with_it(void **state)
{
    struct fixture *f = *state;
    struct future *open = make_settled(f);

    close_future(f, f->inputs[0]);
    struct future *failed = make_timeout(f);
    close_future(f, f->inputs[0]);
    hark__futures_tell_ready(f->futures, f);
    assert_int_equal(open->state, FUTURE_OPEN);
    assert_int_equal(failed->state, FUTURE_DONE);
    (void)hark__futures_start(f->futures, &env, f);
    assert_int_equal(f->futures->open_count, 0);
}

static void
retry_pauses_longer_each_time_and_less_by_its_jitter(void **state)
{
    struct fixture *f = *state;
    hark_retry_options options = retry_options;

    options.budget_ms = 0;
    options.delay_ms = 10;
    options.max_delay_ms = 30;
    (void)hark__retry_open(f->futures, f, &options, &ask_job, f);
    static const int64_t pauses[] = {8, 15, 23}; // 10, 20, 30 less a quarter
    for (int i = 0; i < 3; i++) {
        end_turn(f);
        assert_int_equal(f->runs, i + 1);
        fail_with(f, f->inputs[i], HARK_ETIMEOUT);
        end_turn(f);
        pass_time(f, pauses[i] - 2);
        assert_int_equal(f->runs, i + 1);
        pass_time(f, 2);
        assert_int_equal(f->runs, i + 2);
    }
    fail_with(f, f->inputs[3], HARK_ETIMEOUT); // the last one
    end_turn(f);
    pass_time(f, 1000);
    assert_int_equal(f->runs, 4);
    assert_int_equal(f->drops, 1);
}

static void
hedge_starts_one_after_each_delay(void **state)
{
    struct fixture *f = *state;
    struct future *result = make_hedge(f);

    end_turn(f);
    assert_int_equal(f->runs, 1);
    pass_time(f, 4);
    assert_int_equal(f->runs, 1);
    pass_time(f, 1);
    assert_int_equal(f->runs, 2);
    pass_time(f, 5);
    assert_int_equal(f->runs, 3);
    pass_time(f, 50);
    assert_int_equal(f->runs, 3);
    answer(f, f->inputs[1], 7);
    assert_int_equal(result->state, FUTURE_DONE);
    assert_null(hark__future_find(f->futures, f->inputs[0]));
    assert_null(hark__future_find(f->futures, f->inputs[2]));
}

static void
a_chain_of_a_million_links_is_told_and_closed_in_a_flat_way(void **state)
{
    struct fixture *f = *state;
    enum { LINKS = 1000000 };

    for (int how = 0; how < 4; how++) { // answered, failed, closed, left to the end
        struct future *last = open_future(f);
        uint64_t first = last->id;

        f->drops = 0;
        for (int i = 0; i < LINKS; i++) {
            last = hark__step_open(f->futures, f->pool, last, &map_step, f);
            assert_non_null(last);
        }
        if (how == 0) {
            answer(f, first, 1);
            end_turn(f);
            const number *n = hark_message_as(last->message, &number_type);
            assert_int_equal(n->n, LINKS + 1);
        } else if (how == 1) {
            fail_with(f, first, HARK_ENONODE);
            end_turn(f);
            assert_int_equal(last->code, HARK_ENONODE);
        }
        if (how != 3) {
            close_future(f, last->id);
            assert_int_equal(f->drops, LINKS);
            assert_int_equal(f->futures->open_count, 0);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_may_fail_and_nothing_is_lost),
        cmocka_unit_test(each_ends_once_whatever_its_inputs_do),
        cmocka_unit_test(what_a_result_was_made_of_is_closed_with_it),
        cmocka_unit_test(nothing_is_left_when_a_result_has_ended_and_is_closed),
        cmocka_unit_test(inputs_may_be_closed_by_others),
        cmocka_unit_test(a_destructor_may_close_anything),
        TEST(callbacks_do_not_run_before_the_turn_ends),
        TEST(a_result_whose_input_was_lost_in_its_first_turn_is_closed_with_it),
        TEST(retry_pauses_longer_each_time_and_less_by_its_jitter),
        TEST(hedge_starts_one_after_each_delay),
        TEST(a_chain_of_a_million_links_is_told_and_closed_in_a_flat_way),
    };
    return cmocka_run_group_tests_name("future/combine", tests, NULL, NULL);
}
