// A handler that HARK_ACTOR does not name would never run: the compiler says so.
// expect: counter_run_clear.*defined but not used|unused function 'counter_run_clear'

#include <hark/hark.h>

HARK_MESSAGE(bump, (i64, by))
HARK_MESSAGE(clear)

typedef struct {
    int64_t sum;
} counter;

HARK_ON(counter, bump) {
    self->sum += msg->by;
}

HARK_ON(counter, clear) {
    self->sum = 0;
}

#ifdef FIXED
HARK_ACTOR(counter, bump, clear)
#else
HARK_ACTOR(counter, bump)
#endif

const hark_behavior *used(void);

const hark_behavior *
used(void)
{
    return &counter_behavior;
}
