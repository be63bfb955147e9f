// Attached threads, and the system's end.

#include <pthread.h>
#include <semaphore.h>

#include "api/world.h"
#include "cpu.h"

HARK_MESSAGE(question, (i64, n))
HARK_MESSAGE(answer, (i64, n))
HARK_MESSAGE(never)
HARK_MESSAGE(note, (i64, n))

typedef struct {
    hark_promise last;
} server;

HARK_ON(server, question) {
    hark_reply(ctx, answer, .n = msg->n * 2);
}
HARK_ON(server, never) {
    self->last = hark_defer(ctx);
}
HARK_ACTOR(server, question, never)

static int
setup(void **state)
{
    *state = world_open(REACH_LOCAL, NULL);
    return 0;
}

struct asker {
    hark_system *system;
    hark_ref server;
    int64_t good;
};

static void *
ask_many(void *arg)
{
    struct asker *asker = arg;
    hark_ctx *me = hark_attach(asker->system);

    for (int64_t i = 0; i < 2000; i++) {
        hark_future f = hark_ask(me, asker->server, question, .n = i);
        const answer *a = hark_await(me, f, answer);

        asker->good += a != NULL && a->n == 2 * i;
        hark_future_drop(me, f);
    }
    hark_detach(me);
    return NULL;
}

static void
many_threads_ask_one_actor(void **state)
{
    struct world *w = *state;
    hark_ref s = hark_spawn(w->here, server);
    struct asker askers[6];
    pthread_t threads[6];

    for (int i = 0; i < 6; i++) {
        askers[i] = (struct asker){w->here_system, s, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_many, &askers[i]), 0);
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(askers[i].good, 2000);
    }
}

static void *
send_notes(void *arg)
{
    struct asker *asker = arg;
    hark_ctx *me = hark_attach(asker->system);

    for (int64_t i = 0; i < 5000; i++) {
        hark_tell(me, asker->server, note, .n = i);
    }
    hark_detach(me);
    return NULL;
}

static void
thread_receives_what_it_is_told_in_order(void **state)
{
    struct world *w = *state;
    struct asker asker = {w->here_system, hark_self(w->here), 0};
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, send_notes, &asker), 0);
    for (int64_t i = 0; i < 5000; i++) {
        hark_message *m = hark_receive(w->here, HARK_SECONDS(20));
        assert_non_null(m);
        const note *n = hark_message_as(m, &note_type);
        assert_non_null(n);
        assert_int_equal(n->n, i);
        hark_message_free(w->here, m);
    }
    pthread_join(thread, NULL);
}

static void
receive_gives_up_in_time(void **state)
{
    struct world *w = *state;

    assert_null(hark_receive(w->here, 0));
    assert_int_equal(hark_error_of(w->here)->code, HARK_ETIMEOUT);
    assert_null(hark_receive(w->here, 30));
}

static void
asking_a_thread_fails_at_once(void **state)
{
    struct world *w = *state;
    hark_ctx *other = hark_attach(w->here_system);
    hark_future f = hark_ask(w->here, hark_self(other), question, .n = 1);

    assert_null(hark_receive(other, 0));
    assert_null(hark_await(w->here, f, answer));
    assert_int_equal(hark_error_of(w->here)->code, HARK_ENOHANDLER);
    hark_detach(other);
}

static void
messages_to_a_detached_thread_are_dead_letters(void **state)
{
    struct world *w = *state;
    hark_ctx *other = hark_attach(w->here_system);
    hark_ref ref = hark_self(other);
    hark_stats stats;

    assert_int_equal(hark_tell(w->here, ref, note, .n = 1), HARK_OK);
    hark_detach(other);
    assert_int_equal(hark_tell(w->here, ref, note, .n = 2), HARK_ENOACTOR);
    hark_stats_read(w->here_system, &stats);
    assert_int_equal(stats.dead_letters, 2);
}

static void
stale_and_foreign_futures_are_errors(void **state)
{
    struct world *w = *state;
    hark_ref s = hark_spawn(w->here, server);
    hark_ctx *other = hark_attach(w->here_system);
    hark_future f = hark_ask(w->here, s, question, .n = 1);

    assert_null(hark_await(other, f, answer));
    assert_int_equal(hark_error_of(other)->code, HARK_ESTALE);
    assert_non_null(hark_await(w->here, f, answer));
    hark_future_drop(w->here, f);
    assert_null(hark_await(w->here, f, answer));
    assert_int_equal(hark_error_of(w->here)->code, HARK_ESTALE);
    assert_null(hark_await(w->here, ((hark_future){0, 0}), answer));
    assert_true(hark_future_done(w->here, f));
    assert_int_equal(hark_future_keep(w->here, f), HARK_ESTALE);
    hark_future_drop(w->here, f);
    hark_detach(other);
}

static void
future_limit_is_kept(void **state)
{
    (void)state;
    hark_system *sys = hark_start(&(hark_options){.workers = 1, .future_limit = 3});
    hark_ctx *me = hark_attach(sys);
    hark_ref s = hark_spawn(me, server);

    for (int i = 0; i < 3; i++) {
        assert_true(hark_ask(me, s, never).id != 0);
    }
    assert_int_equal(hark_ask(me, s, never).id, 0);
    assert_int_equal(hark_error_of(me)->code, HARK_ELIMIT);
    assert_int_equal(hark_stop(sys, HARK_SECONDS(10)), HARK_OK);
}

static void *
await_forever(void *arg)
{
    struct asker *asker = arg;
    hark_ctx *me = hark_attach(asker->system);
    hark_future f = hark_ask_within(me, HARK_FOREVER, asker->server, never);

    hark_tell(me, asker->server, note); // says that it is about to wait
    asker->good =
        hark_await(me, f, answer) == NULL && (hark_error_of(me)->code == HARK_ESTOPPED);
    hark_detach(me);
    return NULL;
}

static void
stop_ends_the_waits_of_other_threads(void **state)
{
    (void)state;
    hark_system *sys = hark_start(NULL);
    hark_ctx *me = hark_attach(sys);
    struct asker asker = {sys, hark_spawn(me, server), 0};
    pthread_t thread;
    hark_stats stats;

    assert_int_equal(pthread_create(&thread, NULL, await_forever, &asker), 0);
    do {
        hark_stats_read(sys, &stats);
    } while (stats.dead_letters == 0); // the note had no handler
    assert_int_equal(hark_stop(sys, HARK_SECONDS(10)), HARK_OK);
    pthread_join(thread, NULL);
    assert_true(asker.good);
}

// A thread that stays attached until it may go.
struct guest {
    hark_system *system;
    sem_t attached, may_detach;
};

static void *
stay_attached(void *arg)
{
    struct guest *guest = arg;
    hark_ctx *me = hark_attach(guest->system);

    sem_post(&guest->attached);
    sem_wait(&guest->may_detach);
    hark_detach(me);
    return NULL;
}

static void
stop_reports_a_thread_that_does_not_detach_and_can_be_called_again(void **state)
{
    (void)state;
    struct guest guest = {.system = hark_start(NULL)};
    pthread_t thread;

    assert_non_null(guest.system);
    sem_init(&guest.attached, 0, 0);
    sem_init(&guest.may_detach, 0, 0);
    pthread_create(&thread, NULL, stay_attached, &guest);
    sem_wait(&guest.attached);
    assert_int_equal(hark_stop(guest.system, 50), HARK_ETIMEOUT);
    assert_null(hark_attach(guest.system));
    sem_post(&guest.may_detach);
    pthread_join(thread, NULL);
    assert_int_equal(hark_stop(guest.system, HARK_SECONDS(10)), HARK_OK);
    sem_destroy(&guest.attached);
    sem_destroy(&guest.may_detach);
}

static void
stop_detaches_its_thread_as_often_as_it_is_attached(void **state)
{
    (void)state;
    hark_system *sys = hark_start(NULL);

    assert_non_null(hark_attach(sys));
    assert_non_null(hark_attach(sys));
    assert_int_equal(hark_stop(sys, HARK_SECONDS(10)), HARK_OK);
}

static void
thread_is_not_stopped_like_an_actor(void **state)
{
    struct world *w = *state;
    hark_ctx *other = hark_attach(w->here_system);
    hark_ref ref = hark_self(other);

    assert_int_equal(hark_actor_stop(w->here, ref), HARK_ENOTSUP);
    assert_true(hark_is_alive(w->here, ref));
    hark_detach(other);
    assert_int_equal(hark_actor_stop(w->here, ref), HARK_ENOACTOR);
}

static void
idle_system_uses_no_cpu(void **state)
{
    struct world *w = *state;

    (void)hark_spawn(w->here, server);
    assert_null(hark_receive(w->here, 300)); // all settles
    int64_t before_us = cpu_used_us();
    assert_null(hark_receive(w->here, 1000));
    assert_in_range(cpu_used_us() - before_us, 0, 10000);
}

static void
kept_message_outlives_its_receipt_and_can_be_forwarded(void **state)
{
    struct world *w = *state;
    hark_message *m = hark_message_new(w->here, &note_type, &(note){.n = 9});

    assert_non_null(m);
    assert_ptr_equal(hark_message_type(m), &note_type);
    assert_int_equal(hark_send(w->here, hark_self(w->here), m), HARK_OK);
    m = hark_receive(w->here, HARK_SECONDS(10));
    assert_non_null(m);
    assert_int_equal(hark_send(w->here, hark_self(w->here), m), HARK_OK);
    m = hark_receive(w->here, HARK_SECONDS(10));
    assert_non_null(m);
    assert_int_equal(((const note *)hark_message_value(m))->n, 9);
    hark_message_free(w->here, m);
}

static void
memory_of_a_turn_is_there(void **state)
{
    struct world *w = *state;
    char *p = hark_alloc(w->here, 100000);

    assert_non_null(p);
    memset(p, 1, 100000);
    hark_str s = hark_format(w->here, "%s-%d", "a", 7);
    assert_string_equal(s.ptr, "a-7");
    assert_int_equal(s.len, 3);
}

static void
invalid_options_are_refused(void **state)
{
    (void)state;
    assert_null(hark_start(&(hark_options){.workers = 65}));
    assert_null(hark_start(&(hark_options){.type_count = 1}));
    assert_null(hark_start(&(hark_options){.frame_limit_bytes = 10}));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_threads_ask_one_actor),
        TEST(thread_receives_what_it_is_told_in_order),
        TEST(receive_gives_up_in_time),
        TEST(asking_a_thread_fails_at_once),
        TEST(messages_to_a_detached_thread_are_dead_letters),
        TEST(stale_and_foreign_futures_are_errors),
        cmocka_unit_test(future_limit_is_kept),
        cmocka_unit_test(stop_ends_the_waits_of_other_threads),
        cmocka_unit_test(
            stop_reports_a_thread_that_does_not_detach_and_can_be_called_again),
        cmocka_unit_test(stop_detaches_its_thread_as_often_as_it_is_attached),
        TEST(thread_is_not_stopped_like_an_actor),
        TEST(idle_system_uses_no_cpu),
        TEST(kept_message_outlives_its_receipt_and_can_be_forwarded),
        TEST(memory_of_a_turn_is_there),
        cmocka_unit_test(invalid_options_are_refused),
    };
    return cmocka_run_group_tests_name("api/thread", tests, NULL, NULL);
}
