// A handler borrows its message and must not change it.
// expect: read-only object|with const-qualified type

#include <hark/hark.h>

HARK_MESSAGE(deposit, (i64, amount))

typedef struct {
    int64_t balance;
} account;

HARK_ON(account, deposit) {
#ifdef FIXED
    self->balance += msg->amount;
#else
    self->balance += msg->amount++;
#endif
}

HARK_ACTOR(account, deposit)

const hark_behavior *used(void);

const hark_behavior *
used(void)
{
    return &account_behavior;
}
