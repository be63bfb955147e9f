// A teller moves money between two accounts, which may be on other nodes. It never
// waits: each step asks an account and names the continuation that goes on from there,
// so one teller has many transfers under way.
//
//     transfer -> take from one -> give to the other -> transferred
//                      |                  |
//                   refused           give back -> refused

#include "bank.h"

#include <stdio.h>

enum { MOST = 256 };

// One transfer under way.
struct job {
    bool is_open;
    hark_promise promise; // the answer that we owe
    hark_ref from;
    hark_ref to;
    int64_t amount;
    int64_t left; // with the payer, after it was taken
    int code;     // why it could not be given
    char why[128];
};

typedef struct {
    struct job jobs[MOST];
} teller;

// Ends a job that moved no money.
static void
fail(hark_ctx *ctx, struct job *job, int code, const char *why)
{
    hark_break(ctx, job->promise, code, "%s", why);
    job->is_open = false;
}

// ---- step 3, only if step 2 failed: give it back ----

HARK_THEN(teller, give_back, balance) {
    struct job *job = arg;

    fail(ctx, job, job->code, job->why);
}
HARK_ELSE(teller, give_back) {
    struct job *job = arg;

    // Real banks write this to a journal first.
    hark_break(ctx, job->promise, error->code, "money is lost: %s", error->text);
    job->is_open = false;
}
HARK_CONTINUATION(teller, give_back, balance)

// ---- step 2: give it to the other ----

HARK_THEN(teller, give, balance) {
    struct job *job = arg;

    hark_fulfil(ctx, job->promise, transferred, .left = job->left,
                .there = msg->amount);
    job->is_open = false;
}
HARK_ELSE(teller, give) {
    struct job *job = arg;
    hark_future f = hark_ask(ctx, job->from, deposit, .amount = job->amount,
                             .memo = HARK_STR("returned"));

    job->code = error->code;
    snprintf(job->why, sizeof job->why, "%s", error->text);
    if (hark_then(ctx, f, teller, give_back, job) != HARK_OK) {
        fail(ctx, job, HARK_ENOMEM, "money is lost: no memory");
    }
}
HARK_CONTINUATION(teller, give, balance)

// ---- step 1: take it from one ----

HARK_THEN(teller, take, balance) {
    struct job *job = arg;
    hark_future f = hark_ask(ctx, job->to, deposit, .amount = job->amount,
                             .memo = HARK_STR("transfer in"));

    job->left = msg->amount;
    if (hark_then(ctx, f, teller, give, job) != HARK_OK) {
        fail(ctx, job, HARK_ENOMEM, "money is lost: no memory");
    }
}
HARK_ELSE(teller, take) {
    fail(ctx, arg, error->code, error->text);
}
HARK_CONTINUATION(teller, take, balance)

static struct job *
job_open(teller *self)
{
    for (size_t i = 0; i < MOST; i++) {
        if (!self->jobs[i].is_open) {
            return &self->jobs[i];
        }
    }
    return NULL;
}

HARK_ON(teller, transfer) {
    struct job *job = job_open(self);

    if (job == NULL) {
        hark_refuse(ctx, BANK_BUSY, "%d transfers are under way", MOST);
        return;
    }
    if (msg->amount <= 0) {
        hark_refuse(ctx, HARK_EINVAL, "only a positive amount can be transferred");
        return;
    }
    *job = (struct job){
        .is_open = true,
        .promise = hark_defer(ctx), // the answer comes after this handler
        .from = msg->from,
        .to = msg->to,
        .amount = msg->amount,
    };
    hark_future f = hark_ask(ctx, job->from, deposit, .amount = -job->amount,
                             .memo = HARK_STR("transfer out"));

    if (hark_then(ctx, f, teller, take, job) != HARK_OK) {
        fail(ctx, job, HARK_ENOMEM, "no memory");
    }
}
HARK_ACTOR(teller, transfer)

hark_ref
teller_hire(hark_ctx *ctx)
{
    return hark_spawn(ctx, teller);
}
