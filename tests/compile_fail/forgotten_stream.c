// A stream that is opened must be used.
// expect: ignoring return value

#include <hark/hark.h>

HARK_MESSAGE(list)

void ask(hark_ctx *ctx, hark_ref shop);

void
ask(hark_ctx *ctx, hark_ref shop)
{
#ifdef FIXED
    hark_stream s = hark_stream_open(ctx, shop, list);
    hark_stream_close(ctx, s);
#else
    hark_stream_open(ctx, shop, list);
#endif
}
