// Who asks must look at the future: an ask that nobody waits for should be a tell.
// expect: unused-result

#include <hark/hark.h>

HARK_MESSAGE(get_balance)

void pay(hark_ctx *ctx, hark_ref to);

void
pay(hark_ctx *ctx, hark_ref to)
{
#ifdef FIXED
    hark_tell(ctx, to, get_balance);
#else
    hark_ask(ctx, to, get_balance);
#endif
}
