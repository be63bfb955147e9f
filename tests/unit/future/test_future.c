#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "future/combine.h"
#include "future/future.h"
#include "message/failure.h"

#define MS INT64_C(1000000)

enum { LIMIT = 64 };

// A waiter that counts what it is told.
struct watcher {
    struct waiter waiter; // first member
    unsigned told, dropped;
    int code;
    void *turn;
};

// An environment whose clock stands still. The coarse clock is behind by LAG.
#define LAG INT64_C(7)

static int64_t now_ns;

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
    *out_lag_ns = LAG;
    return now_ns - LAG;
}

static const struct env_ops clock_ops = {
    .now_ns = read_clock,
    .now_coarse_ns = read_coarse_clock,
};

static struct env clock_env = {&clock_ops};

// Fixture: a table of futures, and one watcher more than any test needs.
struct fixture {
    struct depot *depot;
    struct pool *pool;
    struct futures *futures;
    struct watcher watcher[4];
};

static void
on_complete(struct waiter *waiter, void *turn, struct future *future)
{
    struct watcher *watcher = (struct watcher *)waiter;

    watcher->told++;
    watcher->code = future->code;
    watcher->turn = turn;
}

static void
on_drop(struct waiter *waiter, void *turn, struct future *future)
{
    struct watcher *watcher = (struct watcher *)waiter;

    (void)future;
    watcher->dropped++;
    watcher->turn = turn;
}

// What the room above lends: turns are fixtures or NULL, so the pool stands here.
static struct pool *the_pool;
static unsigned unseen;

static struct pool *
pool_of(void *turn)
{
    (void)turn;
    return the_pool;
}

static void
count_unseen(struct futures *futures, void *turn, const struct future *future)
{
    (void)futures;
    (void)turn;
    (void)future;
    unseen++;
}

static const struct futures_host test_host = {pool_of, count_unseen};

static int
setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof *f);

    f->depot = hark__depot_open();
    f->pool = hark__pool_open(f->depot);
    the_pool = f->pool;
    unseen = 0;
    f->futures = hark__futures_new(LIMIT, &clock_env, &test_host);
    for (int i = 0; i < 4; i++) {
        f->watcher[i].waiter = (struct waiter){on_complete, on_drop};
    }
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    if (f->futures != NULL) {
        hark__futures_free(f->futures, f->pool, NULL);
    }
    hark__pool_close(f->pool);
    hark__depot_close(f->depot);
    test_free(f);
    return 0;
}

// The turn ends at that moment. Returns when the first of its futures runs out.
static int64_t
start_at(struct fixture *f, int64_t moment_ns)
{
    now_ns = moment_ns;
    return hark__futures_start(f->futures, &clock_env, NULL);
}

static struct future *
open_future(struct fixture *f, uint32_t timeout_ms)
{
    struct future *future = hark__future_open(f->futures, f->pool, timeout_ms);

    assert_non_null(future);
    return future;
}

static void
complete(struct fixture *f, struct future *future, int code)
{
    hark__future_complete(f->futures, f, future, NULL, code, HARK_STAGE_QUEUED, 5);
}

// What the end of a turn does.
static void
tell_ready(struct fixture *f)
{
    hark__futures_tell_ready(f->futures, f);
}

static void
watch(struct fixture *f, struct future *future, int which)
{
    hark__future_watch(f->futures, future, &f->watcher[which].waiter);
}

// ---- one future ----

static void
an_open_future_is_found_by_its_id(void **state)
{
    struct fixture *f = *state;
    struct future *future = open_future(f, 100);

    assert_int_not_equal(future->id, 0);
    assert_int_equal(future->state, FUTURE_OPEN);
    assert_ptr_equal(hark__future_find(f->futures, future->id), future);
}

static void
the_id_of_a_closed_future_is_stale_even_when_its_place_serves_again(void **state)
{
    struct fixture *f = *state;
    struct future *future = open_future(f, 100);
    uint64_t id = future->id;

    hark__future_close(f->futures, f->pool, f, future);
    assert_null(hark__future_find(f->futures, id));
    future = open_future(f, 100);
    assert_int_equal((uint32_t)future->id, (uint32_t)id);
    assert_null(hark__future_find(f->futures, id));
    assert_non_null(hark__future_find(f->futures, future->id));
}

static void
an_id_that_never_was_is_not_found(void **state)
{
    struct fixture *f = *state;

    assert_null(hark__future_find(NULL, 1));
    assert_null(hark__future_find(f->futures, 0));
    open_future(f, 100);
    assert_null(hark__future_find(f->futures, 0));
    assert_null(hark__future_find(f->futures, UINT64_MAX));
    assert_null(hark__future_find(f->futures, 1)); // a place without its generation
}

static void
futures_up_to_the_limit_are_open_at_once(void **state)
{
    struct fixture *f = *state;
    struct future *last = NULL;

    for (int i = 0; i < LIMIT; i++) {
        last = open_future(f, 100);
    }
    assert_null(hark__future_open(f->futures, f->pool, 100));
    hark__future_close(f->futures, f->pool, f, last);
    open_future(f, 100);
}

static void
completing_tells_the_waiter_once_in_the_turn(void **state)
{
    struct fixture *f = *state;
    struct future *future = open_future(f, 100);

    watch(f, future, 0);
    assert_true(future->looked_at);
    complete(f, future, HARK_ETIMEOUT);
    assert_int_equal(f->watcher[0].told, 1);
    assert_int_equal(f->watcher[0].code, HARK_ETIMEOUT);
    assert_ptr_equal(f->watcher[0].turn, f);
    assert_int_equal(future->state, FUTURE_DONE);
    hark__future_close(f->futures, f->pool, f, future);
    assert_int_equal(f->watcher[0].told, 1);
    assert_int_equal(f->watcher[0].dropped, 0);
}

static void
a_failure_message_gives_the_future_its_code_and_stage(void **state)
{
    struct fixture *f = *state;
    struct future *future = open_future(f, 100);
    struct hark_message *failure = hark__failure_new(f->pool, future->id, HARK_ENOREPLY,
                                                     HARK_STAGE_RUNNING, "silent", 6);

    hark__future_complete(f->futures, f, future, failure, HARK_OK, HARK_STAGE_SENT, 9);
    assert_int_equal(future->code, HARK_ENOREPLY);
    assert_int_equal(future->stage, HARK_STAGE_RUNNING);
    assert_ptr_equal(future->message, failure);
    assert_true(future->ended_ns == 9);
}

static void
closing_an_open_future_drops_its_waiter(void **state)
{
    struct fixture *f = *state;
    struct future *future = open_future(f, 100);

    watch(f, future, 0);
    hark__future_close(f->futures, f->pool, f, future);
    assert_int_equal(f->watcher[0].told, 0);
    assert_int_equal(f->watcher[0].dropped, 1);
}

static void
the_waiter_of_a_done_future_is_told_later_and_once(void **state)
{
    struct fixture *f = *state;
    struct future *future = open_future(f, 100);

    complete(f, future, HARK_OK);
    watch(f, future, 0);
    assert_int_equal(f->watcher[0].told, 0);
    hark__futures_tell_ready(f->futures, f);
    hark__futures_tell_ready(f->futures, f);
    assert_int_equal(f->watcher[0].told, 1);
}

static void
a_done_future_that_is_closed_before_it_is_told_drops_its_waiter(void **state)
{
    struct fixture *f = *state;
    struct future *future = open_future(f, 100);

    complete(f, future, HARK_OK);
    watch(f, future, 0);
    hark__future_close(f->futures, f->pool, f, future);
    hark__futures_tell_ready(f->futures, f);
    assert_int_equal(f->watcher[0].told, 0);
    assert_int_equal(f->watcher[0].dropped, 1);
}

static void
the_end_of_the_table_only_drops_waiters(void **state)
{
    struct fixture *f = *state;
    struct future *done = open_future(f, 100);

    complete(f, done, HARK_OK);
    watch(f, done, 0);
    watch(f, open_future(f, HARK_FOREVER), 1);
    start_at(f, MS);
    hark__futures_free(f->futures, f->pool, f);
    f->futures = NULL;
    assert_int_equal(f->watcher[0].dropped + f->watcher[1].dropped, 2);
    assert_int_equal(f->watcher[0].told + f->watcher[1].told, 0);
}

static void
what_nobody_watches_or_keeps_is_closed_with_its_turn(void **state)
{
    struct fixture *f = *state;
    struct future *mine = open_future(f, 100);
    struct future *kept = open_future(f, 100);
    struct future *detached = open_future(f, 100);
    struct future *ended = open_future(f, 100);

    (void)open_future(f, 100);
    watch(f, mine, 1);
    kept->kept = true;
    hark__future_adopt(f->futures, detached, &f->watcher[0].waiter);
    complete(f, ended, HARK_OK);
    (void)hark__futures_start(f->futures, &clock_env, f);
    assert_int_equal(f->futures->open_count, 3);
    assert_ptr_equal(mine->waiter, &f->watcher[1].waiter);
    assert_null(kept->waiter);
    assert_ptr_equal(detached->waiter, &f->watcher[0].waiter);
    assert_false(detached->looked_at);
}

static void
a_settled_future_is_told_with_the_ready(void **state)
{
    struct fixture *f = *state;
    struct future *future = open_future(f, 100);

    watch(f, future, 0);
    hark__future_settle(f->futures, future, NULL, HARK_ENOREPLY, HARK_STAGE_RUNNING, 0);
    assert_int_equal(f->watcher[0].told, 0);
    tell_ready(f);
    assert_int_equal(f->watcher[0].told, 1);
    assert_int_equal(f->watcher[0].code, HARK_ENOREPLY);
}

static void
a_failure_is_unseen_if_nobody_watched_it_before_it_was_closed(void **state)
{
    struct fixture *f = *state;
    struct future *seen = open_future(f, 100);
    struct future *failed = open_future(f, 100);
    struct future *good = open_future(f, 100);

    watch(f, seen, 0);
    complete(f, seen, HARK_ETIMEOUT);
    complete(f, failed, HARK_ETIMEOUT);
    complete(f, good, HARK_OK);
    hark__future_close(f->futures, f->pool, f, seen);
    hark__future_close(f->futures, f->pool, f, good);
    hark__future_close(f->futures, f->pool, f, open_future(f, 100));
    assert_int_equal(unseen, 0);
    hark__future_close(f->futures, f->pool, f, failed);
    assert_int_equal(unseen, 1);
}

static void
a_failure_that_is_left_when_the_table_ends_is_unseen_too(void **state)
{
    struct fixture *f = *state;

    complete(f, open_future(f, 100), HARK_ETIMEOUT);
    hark__futures_free(f->futures, f->pool, f);
    f->futures = NULL;
    assert_int_equal(unseen, 1);
}

// ---- timeouts ----

static void
a_future_counts_from_the_end_of_its_turn(void **state)
{
    struct fixture *f = *state;
    struct future *future = open_future(f, 100);

    assert_true(hark__futures_next_ns(f->futures) == INT64_MAX);
    assert_true(start_at(f, 1000 * MS) == 1100 * MS);
    assert_true(future->started_ns == 1000 * MS);
    assert_true(hark__futures_next_ns(f->futures) == 1100 * MS);
    assert_null(hark__futures_overdue(f->futures, 1100 * MS - 1));
    assert_ptr_equal(hark__futures_overdue(f->futures, 1100 * MS), future);
}

static void
a_second_turn_leaves_older_futures_alone(void **state)
{
    struct fixture *f = *state;
    struct future *older = open_future(f, 100);

    start_at(f, 1000 * MS);
    struct future *newer = open_future(f, 100);
    start_at(f, 1050 * MS);
    assert_true(older->started_ns == 1000 * MS);
    assert_true(newer->started_ns == 1050 * MS);
}

static void
a_short_timeout_is_counted_by_the_exact_clock_and_none_is_early(void **state)
{
    struct fixture *f = *state;
    struct future *brief = open_future(f, 10);
    struct future *lengthy = open_future(f, 60000);

    assert_true(start_at(f, 1000 * MS) == 1010 * MS);
    assert_true(brief->started_ns == 1000 * MS);
    // However far the coarse clock is behind within its lag.
    assert_in_range(lengthy->started_ns, 1000 * MS, 1000 * MS + LAG);
}

static void
a_future_without_a_timeout_is_never_overdue(void **state)
{
    struct fixture *f = *state;

    open_future(f, HARK_FOREVER);
    start_at(f, MS);
    assert_true(hark__futures_next_ns(f->futures) == INT64_MAX);
    assert_null(hark__futures_overdue(f->futures, INT64_MAX));
}

static void
a_done_or_closed_future_is_not_overdue(void **state)
{
    struct fixture *f = *state;
    struct future *done = open_future(f, 100);
    struct future *closed = open_future(f, 100);
    struct future *done_before = open_future(f, 100);

    complete(f, done_before, HARK_OK);
    start_at(f, MS);
    complete(f, done, HARK_OK);
    hark__future_close(f->futures, f->pool, f, closed);
    assert_true(hark__futures_next_ns(f->futures) == INT64_MAX);
    assert_null(hark__futures_overdue(f->futures, 1000 * MS));
}

static void
overdue_futures_come_until_none_is_left(void **state)
{
    struct fixture *f = *state;
    struct future *future;
    unsigned overdue = 0;

    for (uint32_t i = 0; i < 30; i++) {
        open_future(f, 10 + i % 3 * 10);
    }
    start_at(f, 100 * MS);
    while ((future = hark__futures_overdue(f->futures, 120 * MS)) != NULL) {
        complete(f, future, HARK_ETIMEOUT);
        overdue++;
    }
    assert_int_equal(overdue, 20);
    assert_true(hark__futures_next_ns(f->futures) == 130 * MS);
}

static void
more_lengths_than_lists_still_come_in_order(void **state)
{
    struct fixture *f = *state;
    int64_t before = 0;

    for (uint32_t i = 0; i < 40; i++) { // 40 lengths, in no order
        open_future(f, (i * 17 % 40 + 1) * 10);
        start_at(f, 100 * MS + i);
    }
    for (int i = 0; i < 40; i++) {
        int64_t next = hark__futures_next_ns(f->futures);

        assert_true(next > before);
        before = next;
        assert_null(hark__futures_overdue(f->futures, next - 1));
        complete(f, hark__futures_overdue(f->futures, next), HARK_ETIMEOUT);
    }
    assert_true(hark__futures_next_ns(f->futures) == INT64_MAX);
}

// The earliest of those that are there.
static struct future *
earliest_of(struct future *const *open, size_t count)
{
    struct future *first = NULL;

    for (size_t i = 0; i < count; i++) {
        if (open[i] != NULL
            && (first == NULL || open[i]->expires_ns < first->expires_ns)) {
            first = open[i];
        }
    }
    return first;
}

static void
the_earliest_is_found_while_futures_of_any_length_come_and_go(void **state)
{
    struct fixture *f = *state;
    struct future *open[LIMIT / 2] = {NULL};
    uint64_t random = 1;

    for (int64_t i = 0; i < 20000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        struct future **place = &open[random >> 33 & (LIMIT / 2 - 1)];

        if (*place == NULL) { // no two expire at once
            *place = open_future(f, (uint32_t)(random >> 40) % 1000 + 1);
            start_at(f, i * MS + i);
        } else {
            if (random >> 63) {
                complete(f, *place, HARK_OK);
            }
            hark__future_close(f->futures, f->pool, f, *place);
            *place = NULL;
        }
        if (random >> 61 & 1) { // else several changes come together
            assert_ptr_equal(hark__futures_overdue(f->futures, INT64_MAX - 1),
                             earliest_of(open, LIMIT / 2));
        }
    }
}

// ---- all ----

static hark_future
handle(const struct future *future)
{
    return (hark_future){.id = future->id};
}

// Opens an `all` over two, watched by watcher 0.
static struct future *
open_all(struct fixture *f, struct future *a, struct future *b)
{
    const hark_future members[] = {handle(a), handle(b)};
    struct future *all = NULL;

    assert_int_equal(hark__all_open(f->futures, f->pool, members, 2, ALL_CANCEL, &all),
                     HARK_OK);
    watch(f, all, 0);
    return all;
}

static void
all_succeeds_when_the_last_one_has(void **state)
{
    struct fixture *f = *state;
    struct future *a = open_future(f, 100), *b = open_future(f, 100);
    struct future *all = open_all(f, a, b);

    complete(f, b, HARK_OK);
    assert_int_equal(f->watcher[0].told, 0);
    complete(f, a, HARK_OK);
    assert_int_equal(f->watcher[0].told, 0); // at the end of the turn only
    tell_ready(f);
    assert_int_equal(f->watcher[0].told, 1);
    assert_int_equal(f->watcher[0].code, HARK_OK);
    const hark_all_done *done = hark_message_as(all->message, &hark_all_done_type);
    assert_int_equal(done->count, 2);
    assert_true(a->kept && b->kept);
}

static void
all_fails_with_the_first_that_fails_and_only_once(void **state)
{
    struct fixture *f = *state;
    struct future *a = open_future(f, 100), *b = open_future(f, 100);
    uint64_t other = a->id;
    struct future *all = open_all(f, a, b);

    complete(f, b, HARK_ETIMEOUT);
    assert_null(hark__future_find(f->futures, other));
    tell_ready(f);
    assert_int_equal(f->watcher[0].told, 1);
    assert_int_equal(f->watcher[0].code, HARK_ETIMEOUT);
    assert_true(all->blame == b->id);
}

static void
all_over_none_is_done_at_once(void **state)
{
    struct fixture *f = *state;
    struct future *all = NULL;

    assert_int_equal(hark__all_open(f->futures, f->pool, NULL, 0, ALL_CANCEL, &all),
                     HARK_OK);
    assert_int_equal(all->state, FUTURE_DONE);
    assert_int_equal(all->code, HARK_OK);
}

static void
all_over_done_ones_is_told_with_the_ready(void **state)
{
    struct fixture *f = *state;
    struct future *a = open_future(f, 100), *b = open_future(f, 100);

    complete(f, a, HARK_OK);
    complete(f, b, HARK_OK);
    open_all(f, a, b);
    assert_int_equal(f->watcher[0].told, 0);
    hark__futures_tell_ready(f->futures, f);
    assert_int_equal(f->watcher[0].told, 1);
}

static void
all_counts_one_that_is_named_twice_once(void **state)
{
    struct fixture *f = *state;
    struct future *a = open_future(f, 100);

    open_all(f, a, a);
    complete(f, a, HARK_OK);
    tell_ready(f);
    assert_int_equal(f->watcher[0].told, 1);
    assert_int_equal(f->watcher[0].code, HARK_OK);
}

static void
all_refuses_stale_or_watched_ones_and_a_full_table(void **state)
{
    struct fixture *f = *state;
    struct future *a = open_future(f, 100), *b = open_future(f, 100);
    hark_future member = {.id = 12345};
    struct future *all = NULL;

    assert_int_equal(hark__all_open(f->futures, f->pool, &member, 1, ALL_CANCEL, &all),
                     HARK_ESTALE);
    watch(f, a, 1);
    member = handle(a);
    assert_int_equal(hark__all_open(f->futures, f->pool, &member, 1, ALL_CANCEL, &all),
                     HARK_ESTALE);
    for (int i = 2; i < LIMIT; i++) {
        open_future(f, 100);
    }
    member = handle(b);
    assert_int_equal(hark__all_open(f->futures, f->pool, &member, 1, ALL_CANCEL, &all),
                     HARK_ELIMIT);
    assert_null(all);
    assert_false(b->kept);
}

static void
closing_all_closes_its_members(void **state)
{
    struct fixture *f = *state;
    struct future *a = open_future(f, 100), *b = open_future(f, 100);
    uint64_t ids[] = {a->id, b->id};
    struct future *all = open_all(f, a, b);

    complete(f, a, HARK_OK);
    hark__future_close(f->futures, f->pool, f, all);
    assert_null(hark__future_find(f->futures, ids[0]));
    assert_null(hark__future_find(f->futures, ids[1]));
    assert_int_equal(f->watcher[0].dropped, 1);
    assert_int_equal(f->watcher[0].told, 0);
}

static void
closing_a_member_fails_all(void **state)
{
    struct fixture *f = *state;
    struct future *a = open_future(f, 100), *b = open_future(f, 100);

    open_all(f, a, b);
    hark__future_close(f->futures, f->pool, f, a);
    assert_int_equal(f->watcher[0].told, 0); // not inside the call that closed it
    tell_ready(f);
    assert_int_equal(f->watcher[0].told, 1);
    assert_int_equal(f->watcher[0].code, HARK_ESTALE);
}

static void
the_end_of_the_table_drops_the_waiter_of_all_and_tells_it_nothing(void **state)
{
    struct fixture *f = *state;
    struct future *a = open_future(f, 100), *b = open_future(f, 100);

    open_all(f, a, b);
    hark__futures_free(f->futures, f->pool, f);
    f->futures = NULL;
    assert_int_equal(f->watcher[0].told, 0);
    assert_int_equal(f->watcher[0].dropped, 1);
}

// ---- cancelling ----

static int unwanted_count, left_count, last_words;

static bool is_dumb; // what is unwanted cannot be told

static bool
on_unwanted(void *turn, struct future *future)
{
    assert_non_null(turn);
    assert_int_equal(future->state, FUTURE_OPEN);
    unwanted_count++;
    return !is_dumb;
}

static void
on_last_word(void *turn, struct future *future)
{
    struct fixture *f = turn;

    hark__pool_free(f->pool, future, future->size_class);
    last_words++;
}

static void
on_leave(void *turn, struct future *future)
{
    assert_non_null(turn);
    assert_non_null(future->parent);
    left_count++;
}

static const struct futures_hooks hooks = {on_unwanted, on_last_word, on_leave};

static void
hook(struct fixture *f)
{
    unwanted_count = left_count = last_words = 0;
    is_dumb = false;
    f->futures->hooks = &hooks;
}

static void
a_cancelled_future_fails_at_once_and_its_waiter_is_told_later(void **state)
{
    struct fixture *f = *state;
    struct future *future = open_future(f, 100);

    hook(f);
    watch(f, future, 0);
    start_at(f, 1 * MS);
    hark__future_cancel(f->futures, f, future, HARK_STAGE_SENT, 2 * MS);
    assert_int_equal(future->state, FUTURE_DONE);
    assert_int_equal(future->code, HARK_ECANCELLED);
    assert_int_equal(f->watcher[0].told, 0);
    assert_null(hark__futures_overdue(f->futures, INT64_MAX));
    assert_true(hark__futures_are_unsettled(f->futures));
    hark__futures_tell_ready(f->futures, f);
    assert_int_equal(f->watcher[0].told, 1);
    assert_int_equal(f->watcher[0].code, HARK_ECANCELLED);
    hark__future_close(f->futures, f->pool, f, future);
    assert_int_equal(unwanted_count, 1);
}

static void
only_an_open_future_is_unwanted_when_it_is_closed(void **state)
{
    struct fixture *f = *state;
    struct future *open = open_future(f, 100), *done = open_future(f, 100);

    hook(f);
    complete(f, done, HARK_ETIMEOUT);
    hark__future_close(f->futures, f->pool, f, done);
    assert_int_equal(unwanted_count, 0);
    hark__future_close(f->futures, f->pool, f, open);
    assert_int_equal(unwanted_count, 1);
    open_future(f, 100);
    hark__futures_free(f->futures, f->pool, f);
    f->futures = NULL;
    assert_int_equal(unwanted_count, 2);
}

static void
what_could_not_be_told_is_told_with_the_memory_of_what_is_closed(void **state)
{
    struct fixture *f = *state;
    struct future *open = open_future(f, 100), *cancelled = open_future(f, 100);

    hook(f);
    is_dumb = true;
    hark__future_close(f->futures, f->pool, f, open);
    assert_int_equal(last_words, 1);
    hark__future_cancel(f->futures, f, cancelled, HARK_STAGE_SENT, 2 * MS);
    assert_int_equal(last_words, 1);
    is_dumb = false;
    hark__future_close(f->futures, f->pool, f, cancelled);
    assert_int_equal(last_words, 2);
    assert_int_equal(unwanted_count, 2);
}

static void
a_child_leaves_its_parent_when_it_is_closed(void **state)
{
    struct fixture *f = *state;
    struct future *child = open_future(f, 100);

    hook(f);
    child->parent = f;
    complete(f, child, HARK_OK);
    assert_int_equal(left_count, 0);
    hark__future_close(f->futures, f->pool, f, child);
    assert_int_equal(left_count, 1);
}

static void
a_future_may_count_from_before_the_end_of_its_turn(void **state)
{
    struct fixture *f = *state;
    struct future *future = open_future(f, 100);

    hark__future_count_from(future, 3 * MS);
    assert_int_equal(start_at(f, 50 * MS), 103 * MS);
    assert_null(hark__futures_overdue(f->futures, 102 * MS));
    assert_ptr_equal(hark__futures_overdue(f->futures, 103 * MS), future);
    future = open_future(f, HARK_FOREVER);
    hark__future_count_from(future, 3 * MS);
    assert_int_equal(start_at(f, 60 * MS), INT64_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_open_future_is_found_by_its_id),
        TEST(the_id_of_a_closed_future_is_stale_even_when_its_place_serves_again),
        TEST(an_id_that_never_was_is_not_found),
        TEST(futures_up_to_the_limit_are_open_at_once),
        TEST(completing_tells_the_waiter_once_in_the_turn),
        TEST(a_failure_message_gives_the_future_its_code_and_stage),
        TEST(closing_an_open_future_drops_its_waiter),
        TEST(the_waiter_of_a_done_future_is_told_later_and_once),
        TEST(a_done_future_that_is_closed_before_it_is_told_drops_its_waiter),
        TEST(the_end_of_the_table_only_drops_waiters),
        TEST(what_nobody_watches_or_keeps_is_closed_with_its_turn),
        TEST(a_settled_future_is_told_with_the_ready),
        TEST(a_failure_is_unseen_if_nobody_watched_it_before_it_was_closed),
        TEST(a_failure_that_is_left_when_the_table_ends_is_unseen_too),
        TEST(a_future_counts_from_the_end_of_its_turn),
        TEST(a_second_turn_leaves_older_futures_alone),
        TEST(a_short_timeout_is_counted_by_the_exact_clock_and_none_is_early),
        TEST(a_future_without_a_timeout_is_never_overdue),
        TEST(a_done_or_closed_future_is_not_overdue),
        TEST(overdue_futures_come_until_none_is_left),
        TEST(more_lengths_than_lists_still_come_in_order),
        TEST(the_earliest_is_found_while_futures_of_any_length_come_and_go),
        TEST(all_succeeds_when_the_last_one_has),
        TEST(all_fails_with_the_first_that_fails_and_only_once),
        TEST(all_over_none_is_done_at_once),
        TEST(all_over_done_ones_is_told_with_the_ready),
        TEST(all_counts_one_that_is_named_twice_once),
        TEST(all_refuses_stale_or_watched_ones_and_a_full_table),
        TEST(closing_all_closes_its_members),
        TEST(closing_a_member_fails_all),
        TEST(the_end_of_the_table_drops_the_waiter_of_all_and_tells_it_nothing),
        TEST(a_cancelled_future_fails_at_once_and_its_waiter_is_told_later),
        TEST(only_an_open_future_is_unwanted_when_it_is_closed),
        TEST(what_could_not_be_told_is_told_with_the_memory_of_what_is_closed),
        TEST(a_child_leaves_its_parent_when_it_is_closed),
        TEST(a_future_may_count_from_before_the_end_of_its_turn),
    };
    return cmocka_run_group_tests_name("future/future", tests, NULL, NULL);
}
