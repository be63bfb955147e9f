// Mailboxes under fire: senders on all sides, readers that change between turns.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include <cmocka.h>

#include "actor/mailbox.h"
#include "base/env.h"

#define RUN_NS INT64_C(1200000000) // senders stop then

enum {
    BOXES = 3,
    USERS = 3,
    SENDERS = USERS + 1, // the last one sends system messages
    READERS = 2,
    BUDGET = 5,      // messages a turn
    AHEAD = 2000,    // messages in flight at most
    ROUNDS = 200000, // of each sender at most
    CHAIN_MOST = 4,  // letters that are pushed at once
};

struct letter {
    struct hark_message message; // first member
    unsigned sender;
    uint32_t number;
};

// A mailbox and what only its reader of the moment touches: a second one would be a
// race.
struct box {
    struct mailbox mailbox;
    struct hark_message *current;
    uint32_t expected[SENDERS];
    uint64_t received;
};

struct post {
    struct box boxes[BOXES];
    pthread_mutex_t lock;     // guards queue and queued
    struct box *queue[BOXES]; // each box at most once
    unsigned queued;
    _Atomic(uint64_t) sent, received;
    _Atomic(uint32_t) mistakes;
    _Atomic(bool) ending;
    int64_t deadline_ns;
};

struct sender {
    struct post *post;
    unsigned index;
};

static void
mistake(struct post *post)
{
    // relaxed: read after all threads were joined.
    atomic_fetch_add_explicit(&post->mistakes, 1, memory_order_relaxed);
}

static void
schedule(struct post *post, struct box *box)
{
    pthread_mutex_lock(&post->lock);
    if (post->queued == BOXES) {
        mistake(post); // one of them is in it twice
    } else {
        post->queue[post->queued++] = box;
    }
    pthread_mutex_unlock(&post->lock);
}

static struct box *
take(struct post *post)
{
    struct box *box = NULL;

    pthread_mutex_lock(&post->lock);
    if (post->queued > 0) {
        box = post->queue[0];
        post->queued--;
        for (unsigned i = 0; i < post->queued; i++) {
            post->queue[i] = post->queue[i + 1];
        }
    }
    pthread_mutex_unlock(&post->lock);
    return box;
}

static void
receive(struct post *post, struct box *box, struct hark_message *message)
{
    struct letter *letter = (struct letter *)message;

    if (letter->number != box->expected[letter->sender]++) {
        mistake(post);
    }
    box->received++;
    // relaxed: a count, and the end waits for it to be whole.
    atomic_fetch_add_explicit(&post->received, 1, memory_order_relaxed);
}

static void
receive_system(struct post *post, struct box *box)
{
    struct hark_message *message = hark__mailbox_take_system(&box->mailbox);

    while (message != NULL) {
        // relaxed: the chain is ours.
        struct hark_message *next =
            atomic_load_explicit(&message->next, memory_order_relaxed);
        receive(post, box, message);
        free(message);
        message = next;
    }
}

// Puts the box to sleep. True: it must go on.
static bool
stay_awake(struct box *box, struct hark_message **current)
{
    struct hark_message *last = *current;

    box->current = NULL; // from ASLEEP on the box may be somebody else's
    enum mailbox_end end = hark__mailbox_sleep(&box->mailbox, last);
    if (end == MAILBOX_MORE) {
        return true;
    }
    free(last);
    *current = NULL;
    return end == MAILBOX_SYSTEM;
}

static void
turn(struct post *post, struct box *box)
{
    struct hark_message *current = box->current;

    for (int budget = BUDGET; budget > 0; budget--) {
        receive_system(post, box);
        struct hark_message *next = hark__mailbox_next(&box->mailbox, current);

        if (next != NULL) {
            free(current);
            current = next;
            receive(post, box, current);
        } else if (!stay_awake(box, &current)) {
            return;
        }
    }
    box->current = current;
    schedule(post, box);
}

static void *
reader_main(void *arg)
{
    struct post *post = arg;

    // acquire: pairs with the end's release.
    while (!atomic_load_explicit(&post->ending, memory_order_acquire)) {
        struct box *box = take(post);

        if (box != NULL) {
            turn(post, box);
        } else {
            sched_yield();
        }
    }
    return NULL;
}

static struct hark_message *
letter_new(unsigned sender, uint32_t number)
{
    struct letter *letter = malloc(sizeof *letter);

    if (letter != NULL) {
        letter->sender = sender;
        letter->number = number;
    }
    return letter != NULL ? &letter->message : NULL;
}

// Gives `count` letters, chained, but for the last one's next. NULL: no memory.
static struct hark_message *
chain_new(unsigned sender, uint32_t number, uint32_t count,
          struct hark_message **out_last)
{
    struct hark_message *first = letter_new(sender, number);
    struct hark_message *last = first;

    for (uint32_t i = 1; i < count && last != NULL; i++) {
        struct hark_message *next = letter_new(sender, number + i);

        // relaxed: the chain is still ours.
        atomic_store_explicit(&last->next, next, memory_order_relaxed);
        last = next;
    }
    *out_last = last;
    return last != NULL ? first : NULL;
}

// Pushes that many letters at once; a system message goes alone.
static bool
push(struct post *post, unsigned sender, uint32_t number, uint32_t count,
     struct box *box)
{
    struct hark_message *last;
    struct hark_message *first = chain_new(sender, number, count, &last);

    if (first == NULL) {
        return false;
    }
    // relaxed: a count; exact once this thread was joined.
    atomic_fetch_add_explicit(&post->sent, count, memory_order_relaxed);
    bool idle = sender == USERS ? hark__mailbox_push_system(&box->mailbox, first)
                : count == 1    ? hark__mailbox_push(&box->mailbox, first)
                                : hark__mailbox_push_chain(&box->mailbox, first, last);
    if (idle) {
        schedule(post, box);
    }
    return true;
}

static bool
is_far_ahead(struct post *post)
{
    // relaxed: a bound for memory, not exact.
    return atomic_load_explicit(&post->sent, memory_order_relaxed)
           > atomic_load_explicit(&post->received, memory_order_relaxed) + AHEAD;
}

static void *
sender_main(void *arg)
{
    const struct sender *sender = arg;
    struct post *post = sender->post;
    struct env *env = hark__env_real();

    uint32_t number = 0;

    for (uint32_t round = 0; round < ROUNDS; round++) {
        // Chains of one letter to CHAIN_MOST.
        uint32_t count = sender->index == USERS ? 1 : 1 + round % CHAIN_MOST;

        for (unsigned i = 0; i < BOXES; i++) {
            if (!push(post, sender->index, number, count, &post->boxes[i])) {
                mistake(post);
            }
        }
        number += count;
        while (is_far_ahead(post)) {
            sched_yield();
        }
        // Often let the mailboxes fall asleep: that is where the difficulty is.
        if (round % 8 == sender->index) {
            sched_yield();
        }
        if (round % 64 == 0 && hark__env_now(env) > post->deadline_ns) {
            break;
        }
    }
    return NULL;
}

// Waits until all has arrived, or five seconds: then something was lost.
static void
wait_for_the_rest(struct post *post)
{
    struct env *env = hark__env_real();
    int64_t deadline = hark__env_now(env) + INT64_C(5000000000);

    // relaxed: only the number counts.
    while (atomic_load_explicit(&post->received, memory_order_relaxed)
               < atomic_load_explicit(&post->sent, memory_order_relaxed)
           && hark__env_now(env) < deadline) {
        sched_yield();
    }
    // release: pairs with reader_main.
    atomic_store_explicit(&post->ending, true, memory_order_release);
}

static void
every_message_arrives_once_and_in_order_while_the_reader_moves(void **state)
{
    struct post *post = test_calloc(1, sizeof *post);
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS + READERS];

    (void)state;
    pthread_mutex_init(&post->lock, NULL);
    post->deadline_ns = hark__env_now(hark__env_real()) + RUN_NS;
    for (int i = 0; i < BOXES; i++) {
        hark__mailbox_init(&post->boxes[i].mailbox);
    }
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){post, i};
        assert_int_equal(pthread_create(&threads[i], NULL, sender_main, &senders[i]),
                         0);
    }
    for (unsigned i = SENDERS; i < SENDERS + READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, reader_main, post), 0);
    }
    for (unsigned i = 0; i < SENDERS + READERS; i++) {
        if (i == SENDERS) {
            wait_for_the_rest(post);
        }
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(post->mistakes, 0);
    assert_true(post->sent > SENDERS * BOXES);
    assert_true(post->received == post->sent);
    for (int i = 0; i < BOXES; i++) {
        free(post->boxes[i].current); // received, and not asleep yet
    }
    pthread_mutex_destroy(&post->lock);
    test_free(post);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            every_message_arrives_once_and_in_order_while_the_reader_moves),
    };
    return cmocka_run_group_tests_name("stress/mailbox", tests, NULL, NULL);
}
