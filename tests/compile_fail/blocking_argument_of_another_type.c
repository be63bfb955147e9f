// Blocking work gets an argument of the type that its function takes.
// expect: incompatible pointer type

#include <hark/hark.h>

HARK_MESSAGE(size, (i64, bytes))

struct path {
    char text[100];
};

struct address {
    char text[100];
};

HARK_BLOCKING(read_size, struct path) {
    hark_reply(ctx, size, .bytes = arg->text[0]);
}

hark_future start(hark_ctx *ctx, struct path *path, struct address *address);

hark_future
start(hark_ctx *ctx, struct path *path, struct address *address)
{
    (void)path;
    (void)address;
#ifdef FIXED
    return hark_blocking(ctx, read_size, path);
#else
    return hark_blocking(ctx, read_size, address);
#endif
}
