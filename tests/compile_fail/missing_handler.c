// Each message that HARK_ACTOR names needs a HARK_ON.
// expect: counter_run_clear.*undeclared|undeclared identifier 'counter_run_clear'

#include <hark/hark.h>

HARK_MESSAGE(bump, (i64, by))
HARK_MESSAGE(clear)

typedef struct {
    int64_t sum;
} counter;

HARK_ON(counter, bump) {
    self->sum += msg->by;
}

#ifdef FIXED
HARK_ON(counter, clear) {
    self->sum = 0;
}
#endif

HARK_ACTOR(counter, bump, clear)

const hark_behavior *used(void);

const hark_behavior *
used(void)
{
    return &counter_behavior;
}
