// The message that hark_stream_await names is the type of its result.
// expect: incompatible (return|pointer) type

#include <hark/hark.h>

HARK_MESSAGE(article, (i64, id))
HARK_MESSAGE(receipt, (str, text))

const article *take(hark_ctx *ctx, hark_stream stream);

const article *
take(hark_ctx *ctx, hark_stream stream)
{
#ifdef FIXED
    return hark_stream_await(ctx, stream, article);
#else
    return hark_stream_await(ctx, stream, receipt);
#endif
}
