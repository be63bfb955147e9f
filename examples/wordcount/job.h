// Job: what main prepares and the coordinator works on. main does not touch it between
// its ask `run` and the answer.

#ifndef WORDCOUNT_JOB_H
#define WORDCOUNT_JOB_H

#include <stdatomic.h>

#include "children.h"
#include "reader.h"
#include "words.h"

// Silence after which a worker counts as lost, and the other way round. One that dies
// closes its connection, and is found at once.
enum { JOB_HEARTBEAT_MS = 10000 };

struct job {
    struct reader reader;     // where the text comes from
    uint64_t expected_bytes;  // that will come, as far as we know
    struct words words;       // what was found
    struct children children; // who works
    uint32_t in_flight;       // chunks under way at each worker
    bool kills_one;           // kill one worker on the way
    bool shows_progress;
    const _Atomic(bool) *interrupted; // a signal writes, the coordinator reads: give up
};

#endif // WORDCOUNT_JOB_H
