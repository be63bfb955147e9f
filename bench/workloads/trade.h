// trade.h - actors that answer each other: concdict, bank.
//
// The definitions are those of the Savina suite; both run longer than there, so that
// the time can be measured.

#ifndef BENCH_WORKLOADS_TRADE_H
#define BENCH_WORKLOADS_TRADE_H

#include "bench.h"

// ---- concdict: 20 actors read and write one dictionary ----

enum {
    READERS = 20,
    LOOKUPS = 100000, // by each
    WRITE_PERCENT = 10,
    KEYS = 524288,    // 0 to KEYS - 1
    TABLE = 2 * KEYS, // never more than half full
};

HARK_MESSAGE(put, (u32, key), (u32, value))
HARK_MESSAGE(get, (u32, key))
HARK_MESSAGE(entry, (u32, key), (u32, value), (bool, found))

struct cell {
    uint32_t key; // plus 1; 0: empty
    uint32_t value;
};

// A hash table with linear probing, as large as it may ever need.
typedef struct {
    struct cell *cells;
} dictionary;

static struct cell *
find_cell(const dictionary *self, uint32_t key)
{
    uint32_t at = key * 2654435761u % TABLE;

    while (self->cells[at].key != 0 && self->cells[at].key != key + 1) {
        at = (at + 1) % TABLE;
    }
    return &self->cells[at];
}

HARK_ON(dictionary, put) {
    struct cell *cell = find_cell(self, msg->key);

    *cell = (struct cell){msg->key + 1, msg->value};
    hark_tell(ctx, hark_sender(ctx), entry, .key = msg->key, .value = msg->value,
              .found = true);
}

HARK_ON(dictionary, get) {
    const struct cell *cell = find_cell(self, msg->key);

    hark_tell(ctx, hark_sender(ctx), entry, .key = msg->key, .value = cell->value,
              .found = cell->key != 0);
}

HARK_ACTOR(dictionary, put, get)

typedef struct {
    hark_ref dictionary;
    hark_ref owner;
    uint32_t random; // state of the generator
    int64_t answered;
} reader;

static uint32_t
next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8; // low bits are poor
}

// What is written under a key, always; so every answer can be checked.
static uint32_t
value_of(uint32_t key)
{
    return key * 7 + 1;
}

static void
look_up_next(hark_ctx *ctx, reader *self)
{
    bool write = next_random(&self->random) % 100 < WRITE_PERCENT;
    uint32_t key = next_random(&self->random) % KEYS;

    if (write) {
        hark_tell(ctx, self->dictionary, put, .key = key, .value = value_of(key));
    } else {
        hark_tell(ctx, self->dictionary, get, .key = key);
    }
}

HARK_ON(reader, go) {
    look_up_next(ctx, self);
}

HARK_ON(reader, entry) {
    expect_count("value", msg->value, msg->found ? value_of(msg->key) : 0);
    if (++self->answered == LOOKUPS) {
        hark_tell(ctx, self->owner, done, .value = self->answered);
    } else {
        look_up_next(ctx, self);
    }
}

HARK_ACTOR(reader, go, entry)

static void
run_concdict(struct bench *bench)
{
    hark_ctx *me = bench->me;
    struct cell *cells = new_array(TABLE, sizeof *cells);
    hark_ref shelf = need_actor(me, hark_spawn(me, dictionary, .cells = cells));
    double began = measure_now();

    for (uint32_t i = 0; i < READERS; i++) {
        hark_ref from =
            need_actor(me, hark_spawn(me, reader, .dictionary = shelf,
                                      .owner = hark_self(me), .random = i + 1));

        hark_tell(me, from, go);
    }
    expect_count("answers", await_done(bench, READERS), READERS * LOOKUPS);
    figure_add_rate(bench->figures, READERS * LOOKUPS, began, "op/s");
    free(cells); // nobody is told anything any more
}

// ---- bank: a teller has accounts pay each other ----

enum {
    ACCOUNTS = 1000,
    TRANSACTIONS = 500000,
    OPEN_TRANSACTIONS = 50000, // at once
    FIRST_BALANCE = 1000000,
};

HARK_MESSAGE(pay, (i64, amount), (ref, recipient))
HARK_MESSAGE(collect, (i64, amount))
HARK_MESSAGE(paid, (i64, amount))
HARK_MESSAGE(get_balance)
HARK_MESSAGE(balance, (i64, amount))

typedef struct {
    int64_t balance;
} account;

// The recipient has it, so the teller may know. arg is the promise to the teller.
HARK_THEN(account, collected, paid) {
    hark_promise *owed = arg;

    if (hark_fulfil(ctx, *owed, paid, .amount = msg->amount) != HARK_OK) {
        fail("the teller does not wait for its answer");
    }
    free(owed);
}

HARK_ELSE(account, collected) {
    fail_with_error(ctx, error, "collect");
}

HARK_CONTINUATION(account, collected, paid)

HARK_ON(account, pay) {
    hark_promise *owed = new_array(1, sizeof *owed);
    hark_future collected;

    self->balance -= msg->amount;
    *owed = hark_defer(ctx);
    collected = hark_ask_within(ctx, BENCH_PATIENCE, msg->recipient, collect,
                                .amount = msg->amount);
    if (hark_then(ctx, collected, account, collected, owed) != HARK_OK) {
        fail("cannot continue an ask");
    }
}

HARK_ON(account, collect) {
    self->balance += msg->amount;
    hark_reply(ctx, paid, .amount = msg->amount);
}

HARK_ON(account, get_balance) {
    hark_reply(ctx, balance, .amount = self->balance);
}

HARK_ACTOR(account, pay, collect, get_balance)

typedef struct {
    const hark_ref *accounts;
    hark_ref owner;
    uint32_t random; // state of the generator
    int64_t begun;
    int64_t ended;
} cashier;

static void begin_transaction(hark_ctx *ctx, cashier *self);

HARK_THEN(cashier, settled, paid) {
    expect_count("amount", msg->amount, (intptr_t)arg);
    if (++self->ended == TRANSACTIONS) {
        hark_tell(ctx, self->owner, done, .value = self->ended);
    } else if (self->begun < TRANSACTIONS) {
        begin_transaction(ctx, self);
    }
}

HARK_ELSE(cashier, settled) {
    fail_with_error(ctx, error, "pay");
}

HARK_CONTINUATION(cashier, settled, paid)

// From one of the lower accounts to a higher one, as in the suite: there an account
// waits for the recipient, and none must wait for itself.
static void
begin_transaction(hark_ctx *ctx, cashier *self)
{
    uint32_t from = next_random(&self->random) % (ACCOUNTS / 10 * 8);
    uint32_t to = from + 1 + next_random(&self->random) % (ACCOUNTS - from - 1);
    int64_t amount = 1 + next_random(&self->random) % 1000;
    hark_future settled;

    self->begun++;
    settled = hark_ask_within(ctx, BENCH_PATIENCE, self->accounts[from], pay,
                              .amount = amount, .recipient = self->accounts[to]);
    if (hark_then(ctx, settled, cashier, settled, (void *)(intptr_t)amount)
        != HARK_OK) {
        fail("cannot continue an ask");
    }
}

HARK_ON(cashier, go) {
    for (int i = 0; i < OPEN_TRANSACTIONS; i++) {
        begin_transaction(ctx, self);
    }
}

HARK_ACTOR(cashier, go)

// What all accounts hold together.
static int64_t
sum_balances(hark_ctx *me, const hark_ref *accounts)
{
    int64_t sum = 0;

    for (int i = 0; i < ACCOUNTS; i++) {
        hark_future answer = hark_ask(me, accounts[i], get_balance);
        const balance *held = hark_await(me, answer, balance);

        if (held == NULL) {
            fail_with_error(me, hark_error_of(me), "get_balance");
        }
        sum += held->amount;
        hark_future_drop(me, answer);
    }
    return sum;
}

static void
run_bank(struct bench *bench)
{
    hark_ctx *me = bench->me;
    hark_ref *accounts = new_array(ACCOUNTS, sizeof *accounts);
    hark_ref from;
    double began;

    for (int i = 0; i < ACCOUNTS; i++) {
        accounts[i] = need_actor(me, hark_spawn(me, account, .balance = FIRST_BALANCE));
    }
    from = need_actor(me, hark_spawn(me, cashier, .accounts = accounts,
                                     .owner = hark_self(me), .random = 1));
    began = measure_now();
    hark_tell(me, from, go);
    expect_count("transactions", await_done(bench, 1), TRANSACTIONS);
    figure_add_rate(bench->figures, TRANSACTIONS, began, "transaction/s");
    expect_count("money", sum_balances(me, accounts),
                 (long long)ACCOUNTS * FIRST_BALANCE);
    free(accounts);
}

#endif // BENCH_WORKLOADS_TRADE_H
