// A handler written for another actor's state is no handler of this one.
// expect: counter_run_bump.*undeclared|undeclared identifier 'counter_run_bump'

#include <hark/hark.h>

HARK_MESSAGE(bump, (i64, by))

typedef struct {
    int64_t sum;
} counter;

typedef struct {
    int64_t sum;
} meter;

#ifdef FIXED
HARK_ON(counter, bump)
#else
HARK_ON(meter, bump)
#endif
{
    self->sum += msg->by;
}

HARK_ACTOR(counter, bump)

const hark_behavior *used(void);

const hark_behavior *
used(void)
{
    return &counter_behavior;
}
