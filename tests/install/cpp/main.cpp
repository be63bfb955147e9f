// A user of an installed hark, in C++: the macros of the API, in accounts and an auditor.

#include <cstdio>

#include <hark/actors/dead_letter_log.h>
#include <hark/hark.h>

HARK_MESSAGE(deposit, (i64, amount), (str, memo))
HARK_MESSAGE(coins, (list, i64, values), (message, deposit, rest))
HARK_MESSAGE(get_balance)
HARK_MESSAGE(balance, (i64, amount))
HARK_MESSAGE(open_another)
HARK_MESSAGE(opened, (ref, other))
HARK_MESSAGE(audit)

namespace {

// ---- an account ----

struct account {
    int64_t amount;
};

HARK_ON(account, deposit) {
    self->amount += msg->amount;
}

HARK_ON(account, coins) {
    for (size_t i = 0; i < msg->values.count; i++) {
        self->amount += msg->values.items[i];
    }
    self->amount += msg->rest.amount;
}

HARK_ON(account, get_balance) {
    if (self->amount < 0) {
        hark_refuse(ctx, HARK_EUSER, "overdrawn by %d",
                    static_cast<int>(-self->amount));
        return;
    }
    hark_reply(ctx, balance, .amount = self->amount);
}

HARK_ACTOR_DECLARE(account)

HARK_ON(account, open_another) {
    hark_reply(ctx, opened, .other = hark_spawn(ctx, account, .amount = self->amount));
}

HARK_ACTOR(account, deposit, coins, get_balance, open_another)

// ---- an auditor of two accounts ----

struct auditor {
    hark_ref first = {};
    hark_ref second = {};
    hark_promise owed = {};
    hark_future looks[2] = {};
    bool has_started = false;
};

HARK_HOOK(auditor, start) {
    self->has_started = true;
}

HARK_HOOK(auditor, stop) {
    self->has_started = false;
}

HARK_THEN(auditor, looked, hark_all_done) {
    int64_t sum = 0;

    for (uint32_t i = 0; i < msg->count; i++) {
        sum += hark_future_get(ctx, self->looks[i], balance)->amount;
    }
    hark_fulfil(ctx, self->owed, balance, .amount = self->has_started ? sum : -1);
}

HARK_ELSE(auditor, looked) {
    hark_break(ctx, self->owed, error->code, "audit: %s", error->text);
}

HARK_CONTINUATION(auditor, looked, hark_all_done)

HARK_ON(auditor, audit) {
    self->owed = hark_defer(ctx);
    self->looks[0] = hark_ask(ctx, self->first, get_balance);
    self->looks[1] = hark_ask_within(ctx, HARK_SECONDS(1.5), self->second, get_balance);
    if (hark_then(ctx, hark_all(ctx, self->looks, 2), auditor, looked, nullptr)
        != HARK_OK) {
        hark_break(ctx, self->owed, HARK_ENOMEM, "no memory");
    }
}

HARK_ACTOR_WITH(auditor, (start, stop), audit)

// ---- blocking work ----

HARK_BLOCKING(halve, const int64_t) {
    hark_reply(ctx, balance, .amount = *arg / 2);
}

// Of 84, on the system's threads and on others.
int64_t
half(hark_ctx *me)
{
    const int64_t whole = 84;
    hark_executor *executor = hark_executor_new(hark_system_of(me), nullptr);
    hark_blocking_options options = {};

    options.timeout_ms = HARK_SECONDS(20);
    hark_future futures[] = {hark_blocking(me, halve, &whole),
                             hark_blocking_with(me, &options, halve, &whole),
                             hark_blocking_on(me, executor, halve, &whole)};
    int64_t sum = 0;
    for (hark_future future : futures) {
        const balance *reply = hark_await(me, future, balance);

        sum += reply != nullptr ? reply->amount : 0;
    }
    return sum / 3;
}

// ---- the user ----

// An overdrawn account refuses to say what it holds.
bool
is_refused(hark_ctx *me)
{
    hark_ref poor = hark_spawn(me, account, .amount = -1);
    hark_future future = hark_ask(me, poor, get_balance);

    return hark_await(me, future, balance) == nullptr
           && hark_error_of(me)->code == HARK_EUSER;
}

// ---- futures made of futures ----

HARK_MAP(doubled, balance)
{
    hark_result(ctx, balance, .amount = 2 * msg->amount);
}
HARK_RECOVER(healed)
{
    hark_result(ctx, balance, .amount = error->code);
}
HARK_TAP(seen, balance)
{
    ++*static_cast<int *>(arg);
}
HARK_FINALLY(ended)
{
    ++*static_cast<int *>(arg);
}
HARK_JOB(look)
{
    hark_result_future(ctx, hark_ask(ctx, *static_cast<hark_ref *>(arg), get_balance));
}

bool
is_doubled(hark_ctx *me)
{
    hark_ref rich = hark_spawn(me, account, .amount = 21);
    hark_retry_options options = {};
    int count = 0;

    options.attempts = 2;
    hark_future future = hark_retry(me, look, &rich, &options);
    future = hark_recover(me, hark_map(me, future, doubled, nullptr), healed, nullptr);
    future = hark_finally(me, hark_tap(me, future, seen, &count), ended, &count);
    const balance *reply = hark_await(me, future, balance);
    return reply != nullptr && reply->amount == 42 && count == 2;
}

int64_t
ask_sum(hark_ctx *me)
{
    const int64_t values[] = {1, 2, 3};
    hark_spawn_options named = {};

    named.name = "till";
    hark_ref first = hark_spawn(me, account, .amount = 30);
    hark_ref second = hark_spawn_with(me, &named, account);
    hark_ref who =
        hark_spawn(me, auditor, .first = first, .second = hark_lookup(me, "till"));
    hark_future twin = hark_ask(me, first, open_another);

    if (hark_await(me, twin, opened) == nullptr) {
        return -1;
    }

    hark_tell(me, first, deposit, .amount = 2, .memo = HARK_STR("pocket money"));
    hark_tell(me, second, coins, .values = {values, 3}, .rest = {.amount = 4});
    // Asks the second one itself, so that the auditor comes after the coins.
    hark_future future = hark_ask(me, second, get_balance);
    const balance *reply = hark_await(me, future, balance);

    if (reply == nullptr || reply->amount != 10) {
        return -1;
    }
    future = hark_ask(me, who, audit);
    reply = hark_await(me, future, balance);
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
    hark_dead_letter_log(me, nullptr);
    bool is_fine = is_refused(me) && is_doubled(me) && half(me) == 42;
    int64_t amount = is_fine ? ask_sum(me) : -1;

    std::printf("%lld\n", static_cast<long long>(amount));
    hark_detach(me);
    return hark_stop(system, HARK_SECONDS(5)) == HARK_OK && amount == 42 ? 0 : 1;
}
