// Combine: what makes a computed future; see hark/async.h for what each means.
//
// Each gives the result, which belongs to the table. NULL or an error: nothing has
// changed (HARK_ENOMEM, or HARK_ELIMIT if the table is full), and args are still the
// caller's. The result may be settled already, but nobody was told.

#ifndef FUTURE_COMBINE_H
#define FUTURE_COMBINE_H

#include "future/computed.h"

// all.c

enum all_mode {
    ALL_CANCEL,  // the first failure closes those that are open
    ALL_GO_ON,   // it leaves them
    ALL_SETTLED, // no failure counts
};

// The members become kept, and stay until the result is closed. HARK_ESTALE: one is not
// there, or is watched already.
HARK_CHECKED hark_err hark__all_open(struct futures *futures, struct pool *pool,
                                     const hark_future *members, size_t count,
                                     enum all_mode mode, struct future **out_future);

// first.c

enum first_mode { FIRST_END, FIRST_SUCCESS };

// HARK_ESTALE as above.
HARK_CHECKED hark_err hark__first_open(struct futures *futures, void *turn,
                                       const hark_future *members, size_t count,
                                       enum first_mode mode,
                                       struct future **out_future);

// step.c

struct future *hark__step_open(struct futures *futures, struct pool *pool,
                               struct future *input, const hark_step *step, void *arg);

// holding.c: input and held differ.

struct future *hark__holding_open(struct futures *futures, struct pool *pool,
                                  struct future *input, struct future *held, bool keep);

// timed.c

// Of more than limit_ms it fails when those are over.
struct future *hark__delay_open(struct futures *futures, struct pool *pool, uint32_t ms,
                                uint32_t limit_ms);
struct future *hark__timeout_open(struct futures *futures, struct pool *pool,
                                  struct future *input, uint32_t ms);

// retry.c, hedge.c, each.c: the defaults of the options are filled in. The job is run.

struct future *hark__retry_open(struct futures *futures, void *turn,
                                const hark_retry_options *options, const hark_job *job,
                                void *arg);
struct future *hark__hedge_open(struct futures *futures, void *turn,
                                const hark_hedge_options *options, const hark_job *job,
                                void *arg);

// What an each goes over.
struct each_range {
    size_t count;
    uint32_t at_most;
    bool keep_going;
    bool keep_ends; // the members stay until the result is closed
};

struct future *hark__each_open(struct futures *futures, void *turn,
                               const struct each_range *range, const hark_job *job,
                               void *arg);

// ---- jobs ----

// A job with its argument, which is dropped once.
struct work {
    const hark_job *job; // NULL: dropped
    void *arg;
};

// Runs the job; a future that it gives becomes input. One that gives nothing has failed
// with HARK_ENOREPLY. computed is busy. False: the result was closed meanwhile.
HARK_CHECKED bool hark__work_run(const struct work *work, struct computed *computed,
                                 struct input *input, size_t index,
                                 struct outcome *out_outcome, void *turn);
void hark__work_drop(struct work *work);

#endif // FUTURE_COMBINE_H
