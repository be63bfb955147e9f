// What the parts of the bank say to each other.

#ifndef BANK_BANK_H
#define BANK_BANK_H

#include <hark/hark.h>

// To an account. A negative amount takes money out. Answered by balance, or refused with
// BANK_OVERDRAWN.
HARK_MESSAGE(deposit, (i64, amount), (str, memo))
// To an account. Answered by balance.
HARK_MESSAGE(get_balance)
HARK_MESSAGE(balance, (i64, amount))

// To a teller. Answered by transferred once the money has moved, or refused with the
// account's own reason; then no money has moved.
HARK_MESSAGE(transfer, (ref, from), (ref, to), (i64, amount))
HARK_MESSAGE(transferred, (i64, left), (i64, there))

// The bank's own reasons to refuse.
enum {
    BANK_OVERDRAWN = HARK_EUSER,
    BANK_BUSY,
};

// Opens an account with amount in it. A null ref on error: hark_error_of(ctx).
hark_ref account_open(hark_ctx *ctx, int64_t amount);

// Hires a teller. A null ref on error: hark_error_of(ctx).
hark_ref teller_hire(hark_ctx *ctx);

#endif // BANK_BANK_H
