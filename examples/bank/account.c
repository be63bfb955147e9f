// An account: one number that only its own handlers touch, so it needs no lock.

#include "bank.h"

#include <inttypes.h>

typedef struct {
    int64_t amount; // never negative
} account;

HARK_ON(account, deposit) {
    int64_t after = 0;

    if (__builtin_add_overflow(self->amount, msg->amount, &after)) {
        hark_refuse(ctx, HARK_EINVAL, "more money than an account can hold");
        return;
    }
    if (after < 0) {
        hark_refuse(ctx, BANK_OVERDRAWN, "would overdraw by %" PRIu64,
                    0 - (uint64_t)after);
        return;
    }
    self->amount = after;
    hark_reply(ctx, balance, .amount = after);
}
HARK_ON(account, get_balance) {
    hark_reply(ctx, balance, .amount = self->amount);
}
HARK_ACTOR(account, deposit, get_balance)

hark_ref
account_open(hark_ctx *ctx, int64_t amount)
{
    return hark_spawn(ctx, account, .amount = amount);
}
