// The message that hark_await names is the type of its result.
// expect: incompatible (return|pointer) type

#include <hark/hark.h>

HARK_MESSAGE(balance, (i64, amount))
HARK_MESSAGE(receipt, (str, text))

const balance *wait_for_it(hark_ctx *ctx, hark_future future);

const balance *
wait_for_it(hark_ctx *ctx, hark_future future)
{
#ifdef FIXED
    return hark_await(ctx, future, balance);
#else
    return hark_await(ctx, future, receipt);
#endif
}
