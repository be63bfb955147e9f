// HARK_CONTINUATION promises the reply that HARK_THEN takes.
// expect: teller_resume_asked.*undeclared|undeclared identifier 'teller_resume_asked

#include <hark/hark.h>

HARK_MESSAGE(balance, (i64, amount))
HARK_MESSAGE(receipt, (str, text))

typedef struct {
    int64_t seen;
} teller;

HARK_THEN(teller, asked, balance) {
    self->seen = msg->amount;
}

HARK_ELSE(teller, asked) {
    self->seen = -1;
}

#ifdef FIXED
HARK_CONTINUATION(teller, asked, balance)
#else
HARK_CONTINUATION(teller, asked, receipt)
#endif

const hark_continuation *used(void);

const hark_continuation *
used(void)
{
    return &teller_asked;
}
