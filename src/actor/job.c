// Job: what is run again (hark_retry), beside itself (hark_hedge), or over and over
// (hark_for_each, hark_map_each): arguments and options, with their defaults.

#include "actor/async.h"
#include "future/combine.h"

enum {
    DEFAULT_ATTEMPTS = 3,
    DEFAULT_DELAY_MS = 100,
    DEFAULT_MAX_DELAY_MS = 10 * 1000,
    DEFAULT_JITTER_PERCENT = 50,
    DEFAULT_HEDGE_ATTEMPTS = 2,
    MOST_HEDGE_ATTEMPTS = 16,
    DEFAULT_AT_MOST = 16,
};

static hark_future
drop_job(const hark_job *job, void *arg)
{
    if (job != NULL && job->drop != NULL) {
        job->drop(arg);
    }
    return no_future;
}

// NULL: the job cannot be run; arg is dropped.
static struct futures *
take_job(hark_ctx *ctx, const hark_job *job, void *arg, const char *call)
{
    if (ctx == NULL || job == NULL || job->run == NULL) {
        hark__async_refuse_null(ctx, call);
        drop_job(job, arg);
        return NULL;
    }
    struct futures *futures = hark__own_futures(ctx);
    if (futures == NULL) {
        hark__async_refuse_full(ctx, call);
        drop_job(job, arg);
    }
    return futures;
}

// future: NULL: it could not be opened.
static hark_future
give_or_drop(hark_ctx *ctx, struct future *future, const char *site,
             const hark_job *job, void *arg, const char *call)
{
    if (future == NULL) {
        hark__async_refuse_full(ctx, call);
        return drop_job(job, arg);
    }
    return hark__async_give(ctx, future, site);
}

bool
hark_is_retryable(const hark_error *error, void *arg)
{
    (void)arg;
    return error->code == HARK_ETIMEOUT || error->code == HARK_ENONODE
           || error->code == HARK_ELIMIT || error->code == HARK_ENOMEM;
}

static uint32_t
or_default(uint32_t value, uint32_t preset)
{
    return value != 0 ? value : preset;
}

// False: an option that cannot be.
static bool
fill_in_retry(hark_retry_options *options)
{
    options->attempts = or_default(options->attempts, DEFAULT_ATTEMPTS);
    options->delay_ms = or_default(options->delay_ms, DEFAULT_DELAY_MS);
    options->max_delay_ms = or_default(options->max_delay_ms, DEFAULT_MAX_DELAY_MS);
    options->jitter_percent =
        or_default(options->jitter_percent, DEFAULT_JITTER_PERCENT);
    if (options->jitter_percent == HARK_JITTER_NONE) {
        options->jitter_percent = 0;
    }
    if (options->factor < 1 && options->factor > 0) {
        return false;
    }
    options->factor = options->factor > 0 ? options->factor : 2;
    options->is_retryable =
        options->is_retryable != NULL ? options->is_retryable : hark_is_retryable;
    return options->jitter_percent <= 100;
}

hark_future
hark_retry_at(hark_ctx *ctx, const char *site, const hark_job *job, void *arg,
              const hark_retry_options *given)
{
    hark_retry_options options = given != NULL ? *given : (hark_retry_options){0};
    struct futures *futures = take_job(ctx, job, arg, "hark_retry");

    if (futures == NULL) {
        return no_future;
    }
    if (!(options.factor >= 0) || !fill_in_retry(&options)) {
        hark__async_refuse(ctx, HARK_EINVAL, "hark_retry",
                           "a factor under 1, or a jitter over 100");
        return drop_job(job, arg);
    }
    return give_or_drop(ctx, hark__retry_open(futures, ctx, &options, job, arg), site,
                        job, arg, "hark_retry");
}

hark_future
hark_hedge_at(hark_ctx *ctx, const char *site, const hark_job *job, void *arg,
              const hark_hedge_options *given)
{
    hark_hedge_options options = given != NULL ? *given : (hark_hedge_options){0};
    struct futures *futures = take_job(ctx, job, arg, "hark_hedge");

    if (futures == NULL) {
        return no_future;
    }
    options.attempts = or_default(options.attempts, DEFAULT_HEDGE_ATTEMPTS);
    options.delay_ms = or_default(options.delay_ms, DEFAULT_DELAY_MS);
    if (options.attempts > MOST_HEDGE_ATTEMPTS) {
        hark__async_refuse(ctx, HARK_EINVAL, "hark_hedge", "over 16 attempts");
        return drop_job(job, arg);
    }
    return give_or_drop(ctx, hark__hedge_open(futures, ctx, &options, job, arg), site,
                        job, arg, "hark_hedge");
}

static hark_future
open_each(hark_ctx *ctx, const char *site, size_t count, const hark_each_options *given,
          bool keep_ends, const hark_job *job, void *arg, const char *call)
{
    hark_each_options options = given != NULL ? *given : (hark_each_options){0};
    struct futures *futures = take_job(ctx, job, arg, call);
    struct each_range range = {
        .count = count,
        .at_most = or_default(options.at_most, DEFAULT_AT_MOST),
        .keep_going = options.keep_going,
        .keep_ends = keep_ends,
    };

    if (futures == NULL) {
        return no_future;
    }
    return give_or_drop(ctx, hark__each_open(futures, ctx, &range, job, arg), site, job,
                        arg, call);
}

hark_future
hark_for_each_at(hark_ctx *ctx, const char *site, size_t count, const hark_job *job,
                 void *arg, const hark_each_options *options)
{
    return open_each(ctx, site, count, options, false, job, arg, "hark_for_each");
}

hark_future
hark_map_each_at(hark_ctx *ctx, const char *site, size_t count, const hark_job *job,
                 void *arg, const hark_each_options *options)
{
    return open_each(ctx, site, count, options, true, job, arg, "hark_map_each");
}
