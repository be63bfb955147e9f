// hark_spawn takes first values for fields that the state has.
// expect: no member named 'balanec'|'balanec' does not refer to any field

#include <hark/hark.h>

HARK_MESSAGE(deposit, (i64, amount))

typedef struct {
    int64_t balance;
} account;

HARK_ON(account, deposit) {
    self->balance += msg->amount;
}

HARK_ACTOR(account, deposit)

hark_ref start(hark_ctx *ctx);

hark_ref
start(hark_ctx *ctx)
{
#ifdef FIXED
    return hark_spawn(ctx, account, .balance = 10);
#else
    return hark_spawn(ctx, account, .balanec = 10);
#endif
}
