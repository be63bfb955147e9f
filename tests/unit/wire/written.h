// Written: the bytes that each test of a file writes, none before it and freed after it.

#ifndef UNIT_WIRE_WRITTEN_H
#define UNIT_WIRE_WRITTEN_H

#include "unit/wire/values.h"

static struct bytes bytes;

static inline int
setup(void **state)
{
    (void)state;
    hark__bytes_init(&bytes);
    return 0;
}

static inline int
teardown(void **state)
{
    (void)state;
    hark__bytes_fini(&bytes);
    return 0;
}

#endif // UNIT_WIRE_WRITTEN_H
