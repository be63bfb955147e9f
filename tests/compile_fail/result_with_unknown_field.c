// hark_result builds the message that it names.
// expect: has no member named .total|field designator .total. does not refer

#include <hark/hark.h>

HARK_MESSAGE(balance, (i64, amount))

HARK_MAP(doubled, balance)
{
#ifdef FIXED
    hark_result(ctx, balance, .amount = 2 * msg->amount);
#else
    hark_result(ctx, balance, .total = 2 * msg->amount);
#endif
}

const hark_step *used(void);

const hark_step *
used(void)
{
    return &doubled_map;
}
