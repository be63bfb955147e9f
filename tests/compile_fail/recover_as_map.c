// What is written to recover is no map: it gets no reply.
// expect: healed_map.*undeclared|undeclared identifier 'healed_map

#include <hark/hark.h>

HARK_MESSAGE(balance, (i64, amount))

HARK_RECOVER(healed)
{
    hark_result(ctx, balance, .amount = error->code);
}

hark_future heal(hark_ctx *ctx, hark_future future);

hark_future
heal(hark_ctx *ctx, hark_future future)
{
#ifdef FIXED
    return hark_recover(ctx, future, healed, NULL);
#else
    hark_future same = hark_recover(ctx, future, healed, NULL);
    return hark_map(ctx, same, healed, NULL);
#endif
}
