// What is to block is defined by HARK_BLOCKING; a function alone has no drop and no name.
// expect: read_size_work.*undeclared|undeclared identifier 'read_size_work

#include <hark/hark.h>

HARK_MESSAGE(size, (i64, bytes))

#ifdef FIXED
HARK_BLOCKING(read_size, char) {
    hark_reply(ctx, size, .bytes = arg[0]);
}
#else
void read_size(hark_ctx *ctx, char *arg);

void
read_size(hark_ctx *ctx, char *arg)
{
    hark_reply(ctx, size, .bytes = arg[0]);
}

static inline void *
read_size_arg_(char *arg)
{
    return arg;
}
#endif

hark_future start(hark_ctx *ctx, char *path);

hark_future
start(hark_ctx *ctx, char *path)
{
    return hark_blocking(ctx, read_size, path);
}
