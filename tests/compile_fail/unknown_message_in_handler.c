// Only a message that was declared can be handled.
// expect: unknown type name 'deposti'

#include <hark/hark.h>

HARK_MESSAGE(deposit, (i64, amount))

typedef struct {
    int64_t balance;
} account;

#ifdef FIXED
HARK_ON(account, deposit) {
    self->balance += msg->amount;
}
HARK_ACTOR(account, deposit)
#else
HARK_ON(account, deposti) {
    self->balance += msg->amount;
}
HARK_ACTOR(account, deposti)
#endif

const hark_behavior *used(void);

const hark_behavior *
used(void)
{
    return &account_behavior;
}
