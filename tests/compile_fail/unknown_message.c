// Only a message that was declared can be told.
// expect: deposti_type.*undeclared|undeclared identifier 'deposti_type'

#include <hark/hark.h>

HARK_MESSAGE(deposit, (i64, amount))

void pay(hark_ctx *ctx, hark_ref to);

void
pay(hark_ctx *ctx, hark_ref to)
{
#ifdef FIXED
    hark_tell(ctx, to, deposit, .amount = 1);
#else
    hark_tell(ctx, to, deposti, .amount = 1);
#endif
}
