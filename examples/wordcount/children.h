// Children: the worker processes that we started. Used by one thread at a time.

#ifndef WORDCOUNT_CHILDREN_H
#define WORDCOUNT_CHILDREN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { MOST_WORKERS = 64 };

struct children {
    pid_t pids[MOST_WORKERS]; // 0: ended and waited for
    uint32_t count;
};

// Starts one more: `wordcount worker ENDPOINT INDEX`. False: see errno.
bool children_start(struct children *children, const char *endpoint);

// True while child index runs.
bool children_runs(struct children *children, uint32_t index);

// Kills child index as a crash would: at once, without a goodbye.
void children_kill(struct children *children, uint32_t index);

// Waits until all have ended; kills those that have not after grace_ms.
void children_wait(struct children *children, uint32_t grace_ms);

#endif // WORDCOUNT_CHILDREN_H
