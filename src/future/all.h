// All: one future over many of the same table.
//
// It succeeds when each has, and fails with the first that fails. It keeps the others,
// so that their replies can be read, until it is closed itself; then they are too.

#ifndef FUTURE_ALL_H
#define FUTURE_ALL_H

#include "future/future.h"

// Gives an open future over those, or one that is done if count is 0. They become kept.
// HARK_ESTALE: one is not there, or is watched already. HARK_ELIMIT, HARK_ENOMEM.
HARK_CHECKED hark_err hark__all_open(struct futures *futures, struct pool *pool,
                                     const hark_future *members, size_t count,
                                     struct future **out_future);

#endif // FUTURE_ALL_H
