// A future is no scope.
// expect: incompatible type for argument 2 of|passing 'hark_future'

#include <hark/hark.h>

hark_err leave(hark_ctx *ctx, hark_scope scope, hark_future future);

hark_err
leave(hark_ctx *ctx, hark_scope scope, hark_future future)
{
#ifdef FIXED
    (void)future;
    return hark_scope_join(ctx, scope);
#else
    (void)scope;
    return hark_scope_join(ctx, future);
#endif
}
