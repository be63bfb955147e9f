// A scope that nobody holds can't be joined.
// expect: unused-result

#include <hark/hark.h>

void open_one(hark_ctx *ctx);

void
open_one(hark_ctx *ctx)
{
#ifdef FIXED
    hark_scope scope = hark_scope_open(ctx, NULL);

    (void)hark_scope_join(ctx, scope);
#else
    hark_scope_open(ctx, NULL);
#endif
}
