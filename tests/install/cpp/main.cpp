// A user of an installed hark, in C++: asks an actor for a sum.

#include <cstdio>

#include <hark/hark.h>

HARK_MESSAGE(deposit, (i64, amount), (str, memo))
HARK_MESSAGE(get_balance)
HARK_MESSAGE(balance, (i64, amount))

namespace {

struct account {
    int64_t balance;
};

HARK_ON(account, deposit) {
    self->balance += msg->amount;
}

HARK_ON(account, get_balance) {
    hark_reply(ctx, balance, .amount = self->balance);
}

HARK_ACTOR(account, deposit, get_balance)

int64_t
ask_balance(hark_ctx *me)
{
    hark_ref to = hark_spawn(me, account, .balance = 40);

    hark_tell(me, to, deposit, .amount = 2, .memo = HARK_STR("pocket money"));

    hark_future future = hark_ask(me, to, get_balance);
    const balance *reply = hark_await(me, future, balance);

    return reply != nullptr ? reply->amount : -1;
}

} // namespace

int
main()
{
    hark_options options = {};
    options.workers = 2;
    hark_system *system = hark_start(&options);

    if (system == nullptr) {
        return 1;
    }
    hark_ctx *me = hark_attach(system);
    int64_t amount = ask_balance(me);

    std::printf("%lld\n", static_cast<long long>(amount));
    hark_detach(me);
    return hark_stop(system, HARK_SECONDS(5)) == HARK_OK && amount == 42 ? 0 : 1;
}
