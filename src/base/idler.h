// Idler: where an idle worker waits for what comes from outside the process.
//
// The seam between whoever polls descriptors and whoever has threads to spare: a worker
// that would sleep waits in here instead, and deals with what comes on its own thread,
// with no other thread to wake on the way (docs/adr/0004). One worker at a time.

#ifndef BASE_IDLER_H
#define BASE_IDLER_H

#include <stdbool.h>
#include <stdint.h>

struct worker;

struct idler {
    // Waits until something has come, wake is called, or until_ns (INT64_MAX: no
    // limit). True: something has come, and poll should look at it.
    bool (*wait)(struct idler *idler, int64_t until_ns);
    // Deals with what has come, on worker's thread. Never waits.
    void (*poll)(struct idler *idler, struct worker *worker);
    // Ends the wait that is under way, or the next one. Any thread.
    void (*wake)(struct idler *idler);
    // The worker that waited has found something to do, perhaps for long: not after
    // each wait, but before it goes.
    void (*leave)(struct idler *idler);
};

#endif // BASE_IDLER_H
