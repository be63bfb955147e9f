// A field takes values of its own type.
// expect: integer from pointer|from 'char \*'|pointer to integer conversion

#include <hark/hark.h>

HARK_MESSAGE(deposit, (i64, amount))

hark_future pay(hark_ctx *ctx, hark_ref to);

hark_future
pay(hark_ctx *ctx, hark_ref to)
{
#ifdef FIXED
    return hark_ask(ctx, to, deposit, .amount = 1);
#else
    return hark_ask(ctx, to, deposit, .amount = "1");
#endif
}
