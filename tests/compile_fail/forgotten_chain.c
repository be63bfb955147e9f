// A future that was made of another must be looked at too.
// expect: ignoring return value

#include <hark/hark.h>

HARK_MESSAGE(balance, (i64, amount))

HARK_TAP(seen, balance)
{
    (void)msg->amount;
}

hark_future look(hark_ctx *ctx, hark_future future);

hark_future
look(hark_ctx *ctx, hark_future future)
{
#ifdef FIXED
    return hark_tap(ctx, future, seen, NULL);
#else
    hark_tap(ctx, future, seen, NULL);
    return future;
#endif
}
