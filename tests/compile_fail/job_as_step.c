// A job has no input: it starts something, and is retried, hedged or run for each.
// expect: incompatible pointer type|incompatible pointer types

#include <hark/hark.h>

HARK_MESSAGE(balance, (i64, amount))

HARK_JOB(look)
{
    hark_result(ctx, balance, .amount = (int64_t)index);
}

hark_future try_it(hark_ctx *ctx, hark_future future);

hark_future
try_it(hark_ctx *ctx, hark_future future)
{
    hark_future_drop(ctx, future);
#ifdef FIXED
    return hark_retry(ctx, look, NULL, NULL);
#else
    return hark_step_at(ctx, HARK_HERE, future, &look_job, NULL);
#endif
}
