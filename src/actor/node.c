#include "actor/node.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "actor/blocking.h"
#include "actor/ctx.h"
#include "actor/letters.h"
#include "actor/names.h"

// While it stops, a node is looked at again after a pause that doubles between these:
// deaths are too many to be announced one by one.
#define FIRST_LOOK_NS INT64_C(50000)
#define LAST_LOOK_NS INT64_C(2000000)
#define STOP_PASS_NS INT64_C(100000000)

// ---- seats ----

struct seat *
hark__seat_open(struct node *node)
{
    struct seat *seat = calloc(1, sizeof *seat);

    if (seat == NULL) {
        return NULL;
    }
    seat->node = node;
    seat->flush = 1;
    for (int i = 0; i < TRACE_CACHE; i++) {
        seat->traces[i].about = TRACE_UNKNOWN;
    }
    seat->pool = hark__pool_open(node->depot);
    if (seat->pool == NULL) {
        free(seat);
        return NULL;
    }
    pthread_mutex_lock(&node->lock);
    seat->next = node->seats;
    node->seats = seat;
    pthread_mutex_unlock(&node->lock);
    return seat;
}

static uint64_t
read_count(const _Atomic(uint64_t) *counter)
{
    // relaxed: a count of the recent past; node_stop has its own reasons.
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void
add_count(_Atomic(uint64_t) *to, const _Atomic(uint64_t) *from)
{
    // relaxed: under the node's lock.
    atomic_store_explicit(to, read_count(to) + read_count(from), memory_order_relaxed);
}

// The lock is held. What the seat had counted stays counted.
static void
fold(struct node *node, struct seat *seat)
{
    struct seat **at = &node->seats;

    while (*at != seat) {
        at = &(*at)->next;
    }
    *at = seat->next;
    add_count(&node->retired.born, &seat->born);
    add_count(&node->retired.ended, &seat->ended);
    add_count(&node->retired.dead_letters, &seat->dead_letters);
    add_count(&node->retired.failures_unseen, &seat->failures_unseen);
    add_count(&node->retired.cancelled, &seat->cancelled);
    add_count(&node->retired.expired, &seat->expired);
}

void
hark__seat_close(struct seat *seat)
{
    struct node *node = seat->node;

    hark__slots_return(&node->slots, &seat->cache);
    hark__pool_close(seat->pool);
    pthread_mutex_lock(&node->lock);
    fold(node, seat);
    pthread_mutex_unlock(&node->lock);
    free(seat);
}

void
hark__seat_retire(struct seat *seat)
{
    struct node *node = seat->node;

    hark__slots_return(&node->slots, &seat->cache);
    hark__pool_close(seat->pool);
    pthread_mutex_lock(&node->lock);
    fold(node, seat);
    hark__seat_count(&node->retired.ended);
    // release: pairs with wait_for_ends.
    atomic_fetch_add_explicit(&node->ending, 1, memory_order_release);
    node->env->ops->wake(node->env, &node->ending);
    pthread_mutex_unlock(&node->lock);
    free(seat);
}

// ---- opening ----

static uint64_t
new_id(struct env *env)
{
    uint64_t id;

    do {
        id = env->ops->random(env);
    } while (id == 0);
    return id;
}

static bool
open_parts(struct node *node, const struct node_options *options)
{
    node->depot = hark__depot_open();
    node->names = hark__names_new();
    node->letters = hark__letters_new();
    node->executor = hark__executor_new(node, &options->blocking);
    if (node->depot == NULL || node->names == NULL || node->letters == NULL
        || node->executor == NULL || !hark__traces_init(&node->traces)
        || !hark__slots_init(&node->slots, options->actor_limit)) {
        return false;
    }
    node->last_seat = hark__seat_open(node);
    for (uint32_t i = 0; i < node->workers && node->last_seat != NULL; i++) {
        node->worker_seats[i] = hark__seat_open(node);
        if (node->worker_seats[i] == NULL) {
            return false;
        }
    }
    return node->last_seat != NULL;
}

static hark_err
open_sched(struct node *node, const struct node_options *what)
{
    void *locals[SCHED_MAX_WORKERS];
    struct sched_options options = {
        .env = node->env,
        .workers = node->workers,
        .locals = locals,
        .stack_bytes = what->stack_bytes,
        .stack_limit = what->stack_limit,
        .reports_overflow = what->reports_overflow,
        .print_task = hark__actor_print,
        .pass = hark__seat_pass,
    };

    for (uint32_t i = 0; i < node->workers; i++) {
        locals[i] = node->worker_seats[i];
    }
    hark_err err = hark__sched_open(&options, &node->sched);
    if (err == HARK_OK) {
        hark__node_watch_surplus(node);
    }
    return err;
}

hark_err
hark__node_open(const struct node_options *options, struct node **out_node)
{
    struct node *node = calloc(1, sizeof *node);

    if (node == NULL) {
        return HARK_ENOMEM;
    }
    node->env = options->env;
    node->id = new_id(options->env);
    node->name = options->name;
    if (node->name == NULL) {
        snprintf(node->own_name, sizeof node->own_name, "node-%04" PRIx64,
                 node->id >> 48);
        node->name = node->own_name;
    }
    node->system = options->system;
    node->registry = options->registry;
    node->limits = options->limits;
    node->on_unseen_failure = options->on_unseen_failure;
    node->on_unseen_failure_arg = options->on_unseen_failure_arg;
    node->workers = options->workers;
    pthread_mutex_init(&node->lock, NULL);
    pthread_mutex_init(&node->last_seat_lock, NULL);
    hark__list_init(&node->threads);
    hark__list_init(&node->executors);
    hark__targets_init(&node->targets);
    hark_err err = open_parts(node, options) ? open_sched(node, options) : HARK_ENOMEM;
    if (err != HARK_OK) {
        hark__node_close(node);
        return err;
    }
    *out_node = node;
    return HARK_OK;
}

// ---- stopping ----

// True: everybody who was born has ended.
static bool
is_empty(struct node *node)
{
    uint64_t born = 0;
    uint64_t ended = 0;

    pthread_mutex_lock(&node->lock);
    ended += read_count(&node->retired.ended);
    for (struct seat *seat = node->seats; seat != NULL; seat = seat->next) {
        // acquire: what was born before that end is counted below.
        ended += atomic_load_explicit(&seat->ended, memory_order_acquire);
    }
    born += read_count(&node->retired.born);
    for (struct seat *seat = node->seats; seat != NULL; seat = seat->next) {
        // seq_cst: pairs with announce in spawn.c.
        born += atomic_load_explicit(&seat->born, memory_order_seq_cst);
    }
    pthread_mutex_unlock(&node->lock);
    return born == ended;
}

// Tells everybody who lives now to stop.
static void
stop_all(hark_ctx *ctx)
{
    struct node *node = ctx->node;
    // acquire: pairs with growth.
    uint32_t count = atomic_load_explicit(&node->slots.count, memory_order_acquire);

    for (uint32_t i = hark__slots_next(&node->slots, 0, count); i < count;
         i = hark__slots_next(&node->slots, i + 1, count)) {
        struct slot *slot = hark__slot_at(&node->slots, i);
        // relaxed: who is born after this is told in the next pass.
        uint32_t generation =
            atomic_load_explicit(&slot->generation, memory_order_relaxed);

        if (hark__generation_lives(generation)) {
            (void)hark__send_system(
                ctx, (hark_ref){node->id, hark__slot_name(i, generation)}, SYSTEM_STOP);
        }
    }
}

// Waits until all have ended, but not beyond until_ns.
static bool
wait_for_ends(struct node *node, int64_t until_ns)
{
    for (int64_t look_ns = FIRST_LOOK_NS;;) {
        // acquire: pairs with seat_retire; its counts are seen.
        uint32_t seen = atomic_load_explicit(&node->ending, memory_order_acquire);
        int64_t now_ns = hark__env_now(node->env);

        if (is_empty(node)) {
            return true;
        }
        if (now_ns >= until_ns) {
            return false;
        }
        int64_t next_ns = now_ns + look_ns < until_ns ? now_ns + look_ns : until_ns;
        node->env->ops->wait(node->env, &node->ending, seen, next_ns);
        look_ns = look_ns * 2 < LAST_LOOK_NS ? look_ns * 2 : LAST_LOOK_NS;
    }
}

// Tells all to stop and waits a while: the longer the telling took, the longer.
static bool
stop_pass(hark_ctx *ctx, int64_t pass_ns, int64_t deadline_ns)
{
    struct env *env = ctx->node->env;
    int64_t start_ns = hark__env_now(env);

    stop_all(ctx);
    int64_t now_ns = hark__env_now(env);
    int64_t until_ns = now_ns + pass_ns + 4 * (now_ns - start_ns);
    return wait_for_ends(ctx->node, until_ns < deadline_ns ? until_ns : deadline_ns);
}

hark_err
hark__node_stop(struct node *node, int64_t deadline_ns)
{
    bool stopped = false;
    int64_t pass_ns = STOP_PASS_NS;

    hark__thread_detach_own(node);
    hark_ctx *ctx = hark__service_open(node);
    if (ctx == NULL) {
        return HARK_ENOMEM;
    }
    // seq_cst: see announce in spawn.c.
    atomic_store_explicit(&node->stopping, true, memory_order_seq_cst);
    hark__executors_stop(ctx);
    do { // again, for who was born meanwhile
        stopped = stop_pass(ctx, pass_ns, deadline_ns);
        pass_ns *= 2;
    } while (!stopped && hark__env_now(node->env) < deadline_ns);
    hark__service_close(ctx);
    return stopped ? HARK_OK : HARK_ETIMEOUT;
}

void
hark__node_halt(struct node *node)
{
    hark__executors_close(node);
    hark__sched_stop(node->sched);
}

// ---- closing ----

static void
free_chain(struct pool *pool, struct hark_message *message)
{
    while (message != NULL) {
        // relaxed: nothing runs any more.
        struct hark_message *next =
            atomic_load_explicit(&message->next, memory_order_relaxed);

        hark__message_free(pool, message);
        message = next;
    }
}

// What senders put into free slots after the workers ended.
static void
drain(struct node *node, struct pool *pool)
{
    // relaxed, here and below: nothing runs any more.
    uint32_t count = atomic_load_explicit(&node->slots.count, memory_order_relaxed);

    for (uint32_t i = hark__slots_next(&node->slots, 0, count); i < count;
         i = hark__slots_next(&node->slots, i + 1, count)) {
        struct slot *slot = hark__slot_at(&node->slots, i);

        free_chain(pool, hark__mailbox_take_system(&slot->box));
        if (slot->current == NULL) {
            free_chain(pool,
                       atomic_load_explicit(&slot->box.first, memory_order_relaxed));
        } else {
            free_chain(pool, slot->current);
        }
    }
}

// An action of a timer that will not fire.
static void
timer_dropped(void *arg, struct timer_action *action)
{
    if (action->data != NULL) {
        hark__message_free(arg, action->data);
    }
}

static void
close_spare_seats(struct node *node)
{
    struct seat *seat;

    while ((seat = node->spare_seats) != NULL) {
        node->spare_seats = seat->next_spare;
        hark__seat_close(seat);
    }
    if (node->last_seat != NULL) {
        hark__seat_close(node->last_seat);
    }
}

void
hark__node_close(struct node *node)
{
    struct seat *seat = node->worker_seats[0];

    hark__executors_close(node);
    close_spare_seats(node);
    if (node->sched != NULL) {
        hark__node_unwatch_surplus(node);
        drain(node, seat->pool);
        hark__sched_free(node->sched, timer_dropped, seat->pool);
    }
    for (uint32_t i = 0; i < node->workers; i++) {
        if (node->worker_seats[i] != NULL) {
            hark__seat_close(node->worker_seats[i]);
        }
    }
    if (node->slots.base != NULL) {
        hark__slots_fini(&node->slots);
    }
    if (node->traces.count > 0) {
        hark__traces_fini(&node->traces);
    }
    hark__targets_fini(&node->targets);
    hark__letters_free(node->letters);
    hark__names_free(node->names);
    if (node->depot != NULL) {
        hark__depot_close(node->depot);
    }
    pthread_mutex_destroy(&node->last_seat_lock);
    pthread_mutex_destroy(&node->lock);
    free(node);
}

static void
add_seat(const struct seat *seat, hark_stats *stats)
{
    uint64_t ended = read_count(&seat->ended);
    uint64_t born = read_count(&seat->born);

    stats->spawned += born;
    stats->actors += born - ended; // an actor may end in another seat: the sum is right
    stats->dead_letters += read_count(&seat->dead_letters);
    stats->failures_unseen += read_count(&seat->failures_unseen);
    stats->cancelled += read_count(&seat->cancelled);
    stats->expired += read_count(&seat->expired);
}

void
hark__node_stats(struct node *node, hark_stats *out_stats)
{
    struct sched_stats sched;

    hark__sched_stats_read(node->sched, &sched);
    out_stats->steals = sched.steals;
    out_stats->parks = sched.parks;
    hark__executors_stats(node, out_stats);
    pthread_mutex_lock(&node->lock);
    add_seat(&node->retired, out_stats);
    for (const struct seat *seat = node->seats; seat != NULL; seat = seat->next) {
        add_seat(seat, out_stats);
    }
    pthread_mutex_unlock(&node->lock);
}
