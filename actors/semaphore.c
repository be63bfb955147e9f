// Semaphore, mutex, read-write lock and limit: permits, one line, first come first
// served.

#include <stdlib.h>

#include "gate.h"

typedef struct {
    struct gate gate;
    struct line line;
    uint32_t total, available;
    hark_ref target; // of a limit
} semaphore;

static void
grant(hark_ctx *ctx, semaphore *self, struct visit *visit)
{
    uint32_t count = visit->amount;
    bool is_had;

    if (hark_ref_is_null(self->target)) {
        const hark_permit permit = {
            .of = hark_self(ctx),
            .count = count,
            .number = hark__gate_number(&self->gate, visit),
            .owner = visit->handle.owner,
            .hold = visit->handle.id,
        };
        is_had = hark__gate_admit(ctx, &self->gate, visit, &hark_permit_type, &permit);
    } else {
        const hark_pass pass = {self->target, 0};
        is_had = hark__gate_admit(ctx, &self->gate, visit, &hark_pass_type, &pass);
    }
    if (is_had) {
        self->available -= count;
    }
}

static void
serve(hark_ctx *ctx, semaphore *self)
{
    struct visit *first;

    while ((first = hark__gate_first(&self->gate, &self->line)) != NULL
           && first->amount <= self->available) {
        grant(ctx, self, first);
    }
}

// For the ask in hand.
static void
want(hark_ctx *ctx, semaphore *self, uint32_t count, bool at_once, hark_future handle)
{
    struct visit *visit = hark__gate_visit(ctx, &self->gate);

    if (visit == NULL) {
        return;
    }
    if (count == 0 || count > self->total) {
        hark_refuse(ctx, HARK_EINVAL, "%s \"%s\" has %u permits: %u cannot be had",
                    self->gate.kind, self->gate.name, self->total, count);
        return;
    }
    visit->amount = count;
    visit->handle = handle;
    if (self->line.count == 0 && count <= self->available) {
        grant(ctx, self, visit);
    } else if (at_once) {
        hark_refuse(ctx, HARK_ELIMIT,
                    "%s \"%s\": not free: %u of %u available, %u wait", self->gate.kind,
                    self->gate.name, self->available, self->total, self->line.count);
    } else {
        (void)hark__gate_wait(ctx, &self->gate, visit, &self->line);
    }
}

HARK_ON(semaphore, hark_hold) {
    hark__gate_hold(ctx, &self->gate);
}

HARK_ON(semaphore, hark_acquire_permit) {
    if (!hark_ref_is_null(self->target)) {
        hark_refuse(ctx, HARK_ENOHANDLER, "%s \"%s\" gives no permits: ask through it",
                    self->gate.kind, self->gate.name);
        return;
    }
    want(ctx, self, msg->count, msg->at_once, (hark_future){msg->owner, msg->hold});
}

HARK_ON(semaphore, hark_enter) {
    if (hark_ref_is_null(self->target)) {
        hark_refuse(ctx, HARK_ENOHANDLER, "%s \"%s\" has no target: acquire it",
                    self->gate.kind, self->gate.name);
        return;
    }
    want(ctx, self, 1, false, (hark_future){0, 0});
}

HARK_ON(semaphore, hark_permit_back) {
    struct visit *visit = hark__gate_find(ctx, &self->gate, msg->number);

    if (visit != NULL && visit->state == VISIT_INSIDE) {
        self->available += visit->amount;
        visit->amount = 0;
        serve(ctx, self);
    }
}

HARK_ON(semaphore, gate_gone) {
    struct visit was;

    if (hark__gate_gone(ctx, &self->gate, msg, &was)) {
        self->available += was.state == VISIT_INSIDE ? was.amount : 0;
        serve(ctx, self);
    }
}

HARK_ON(semaphore, hark_permits_read) {
    hark_reply(ctx, hark_permits, .available = self->available,
               .held = self->total - self->available, .waiting = self->line.count);
}

HARK_HOOK(semaphore, stop) {
    hark__gate_fini(ctx, &self->gate);
}

HARK_ACTOR_WITH(semaphore, (stop), hark_hold, hark_acquire_permit, hark_enter,
                hark_permit_back, gate_gone, hark_permits_read)

static hark_ref
spawn(hark_ctx *ctx, const char *kind, const hark_semaphore_options *options,
      hark_ref target)
{
    semaphore state = {
        .total = options->permits, .available = options->permits, .target = target};

    if (options->permits == 0) {
        hark_error_set(ctx, HARK_EINVAL, "%s \"%.63s\": no permits", kind,
                       options->name != NULL ? options->name : "");
        return (hark_ref){0, 0};
    }
    hark__gate_init(&state.gate, kind, options->name, options->waiting_limit);
    hark__line_init(&state.line);
    return hark_spawn_ref(ctx, &semaphore_behavior, &state, NULL);
}

static const hark_ref no_target = {0, 0};

hark_ref
hark_semaphore(hark_ctx *ctx, const hark_semaphore_options *options)
{
    if (options == NULL) {
        hark_error_set(ctx, HARK_EINVAL, "hark_semaphore: null argument");
        return no_target;
    }
    return spawn(ctx, "semaphore", options, no_target);
}

static hark_ref
spawn_lock(hark_ctx *ctx, const char *kind, const hark_lock_options *options,
           uint32_t permits)
{
    hark_semaphore_options all = {.permits = permits};

    if (options != NULL) {
        all.name = options->name;
        all.waiting_limit = options->waiting_limit;
    }
    return spawn(ctx, kind, &all, no_target);
}

hark_ref
hark_mutex(hark_ctx *ctx, const hark_lock_options *options)
{
    return spawn_lock(ctx, "mutex", options, 1);
}

hark_ref
hark_rwlock(hark_ctx *ctx, const hark_lock_options *options)
{
    return spawn_lock(ctx, "read-write lock", options, HARK_WRITE);
}

hark_ref
hark_limit(hark_ctx *ctx, const hark_limit_options *options)
{
    if (options == NULL || hark_ref_is_null(options->target)) {
        hark_error_set(ctx, HARK_EINVAL, "hark_limit: null argument");
        return no_target;
    }
    return spawn(ctx, "limit",
                 &(hark_semaphore_options){options->name, options->at_most,
                                           options->waiting_limit},
                 options->target);
}

// ---- the asking side ----

static hark_future
acquire(hark_ctx *ctx, const char *site, uint32_t timeout_ms, hark_ref object,
        hark_acquire_permit *wanted, bool keep, const hark_step *step, void *arg)
{
    hark_future hold = hark__gate_ask_hold(ctx, site, object);

    wanted->owner = hold.owner;
    wanted->hold = hold.id;
    hark_future future =
        hark_ask_at(ctx, site, timeout_ms, object, &hark_acquire_permit_type, wanted);
    if (step != NULL) {
        future = hark_step_at(ctx, site, future, step, arg);
    }
    return hark_holding_at(ctx, site, future, hold, keep);
}

hark_future
hark_acquire_at(hark_ctx *ctx, const char *site, uint32_t timeout_ms, hark_ref object,
                uint32_t count)
{
    return acquire(ctx, site, timeout_ms, object,
                   &(hark_acquire_permit){.count = count}, true, NULL, NULL);
}

hark_future
hark_try_acquire_at(hark_ctx *ctx, const char *site, hark_ref object, uint32_t count)
{
    return acquire(ctx, site, 0, object,
                   &(hark_acquire_permit){.count = count, .at_once = true}, true, NULL,
                   NULL);
}

hark_err
hark_release(hark_ctx *ctx, const hark_permit *permit)
{
    char of[128];

    if (ctx == NULL || permit == NULL) {
        return hark_error_set(ctx, HARK_EINVAL, "hark_release: null argument");
    }
    hark_future hold = {permit->owner, permit->hold};
    const hark_error *error = hark_future_error(ctx, hold);
    if (error == NULL) {
        // Should it not arrive, the end of the hold says the same.
        (void)hark_tell(ctx, permit->of, hark_permit_back, .number = permit->number);
        hark_future_drop(ctx, hold);
        return HARK_OK;
    }
    hark_err code = (hark_err)error->code;
    hark_ref_print(ctx, permit->of, of, sizeof of);
    if (code == HARK_ESTALE) {
        return hark_error_set(
            ctx, code,
            "hark_release: the permit of %s was released before, or was "
            "not acquired by this actor or thread",
            of);
    }
    hark_future_drop(ctx, hold);
    return hark_error_set(ctx, code, "hark_release: %s has ended meanwhile", of);
}

// ---- a job with a permit ----

struct guarded {
    const hark_job *job;
    void *arg;
};

static void
run_guarded(hark_ctx *ctx, const void *reply, void *arg)
{
    const struct guarded *guarded = arg;

    (void)reply;
    guarded->job->run(ctx, 0, guarded->arg);
}

static void
drop_guarded(void *arg)
{
    struct guarded *guarded = arg;

    if (guarded->job->drop != NULL) {
        guarded->job->drop(guarded->arg);
    }
    free(guarded);
}

hark_future
hark_with_permit_at(hark_ctx *ctx, const char *site, uint32_t timeout_ms,
                    hark_ref object, uint32_t count, const hark_job *job, void *arg)
{
    static const hark_step step = {
        .type = &hark_permit_type, .on_reply = run_guarded, .drop = drop_guarded};
    bool is_job = ctx != NULL && job != NULL && job->run != NULL;
    struct guarded *guarded = is_job ? malloc(sizeof *guarded) : NULL;

    if (guarded == NULL) {
        if (job != NULL && job->drop != NULL) {
            job->drop(arg);
        }
        hark_error_set(ctx, is_job ? HARK_ENOMEM : HARK_EINVAL,
                       is_job ? "hark_with_permit: no memory"
                              : "hark_with_permit: null argument");
        return (hark_future){0, 0};
    }
    *guarded = (struct guarded){job, arg};
    return acquire(ctx, site, timeout_ms, object,
                   &(hark_acquire_permit){.count = count}, false, &step, guarded);
}
