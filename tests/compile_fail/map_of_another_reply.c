// HARK_MAP says what its function gets.
// expect: no member named .amount

#include <hark/hark.h>

HARK_MESSAGE(balance, (i64, amount))
HARK_MESSAGE(receipt, (str, text))

#ifdef FIXED
HARK_MAP(doubled, balance)
#else
HARK_MAP(doubled, receipt)
#endif
{
    hark_result(ctx, balance, .amount = 2 * msg->amount);
}

const hark_step *used(void);

const hark_step *
used(void)
{
    return &doubled_map;
}
