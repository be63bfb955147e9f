// hark_tell takes the fields of that message only.
// expect: no member named 'amuont'|'amuont' does not refer to any field

#include <hark/hark.h>

HARK_MESSAGE(deposit, (i64, amount))

void pay(hark_ctx *ctx, hark_ref to);

void
pay(hark_ctx *ctx, hark_ref to)
{
#ifdef FIXED
    hark_tell(ctx, to, deposit, .amount = 1);
#else
    hark_tell(ctx, to, deposit, .amuont = 1);
#endif
}
