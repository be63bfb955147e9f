// A user of an installed hark: asks an actor for a sum.

#include <inttypes.h>
#include <stdio.h>

#include <hark/hark.h>

HARK_MESSAGE(deposit, (i64, amount), (str, memo))
HARK_MESSAGE(get_balance)
HARK_MESSAGE(balance, (i64, amount))

typedef struct {
    int64_t balance;
} account;

HARK_ON(account, deposit) {
    self->balance += msg->amount;
}

HARK_ON(account, get_balance) {
    hark_reply(ctx, balance, .amount = self->balance);
}

HARK_ACTOR(account, deposit, get_balance)

static int64_t
ask_balance(hark_ctx *me)
{
    hark_ref to = hark_spawn(me, account, .balance = 40);

    hark_tell(me, to, deposit, .amount = 2, .memo = HARK_STR("pocket money"));

    hark_future future = hark_ask(me, to, get_balance);
    const balance *reply = hark_await(me, future, balance);

    return reply != NULL ? reply->amount : -1;
}

int
main(void)
{
    hark_system *system = hark_start(&(hark_options){.workers = 2});

    if (system == NULL) {
        return 1;
    }
    hark_ctx *me = hark_attach(system);
    int64_t amount = ask_balance(me);

    printf("%" PRId64 "\n", amount);
    hark_detach(me);
    return hark_stop(system, HARK_SECONDS(5)) == HARK_OK && amount == 42 ? 0 : 1;
}
