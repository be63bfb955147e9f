// Overflow: says whose stack has overflowed, before the process ends.
//
// A turn that needs more stack than it has touches the closed pages below it, and the
// process ends by SIGSEGV without a word. Who asks for it gets one: this is the only
// place in hark that handles a signal, and it does only while a scheduler is open that
// was told to (sched_options.reports_overflow).

#ifndef SCHED_OVERFLOW_H
#define SCHED_OVERFLOW_H

#include <stdbool.h>

struct overflow_thread;
struct worker;

// Begins to handle the signal, with the first who wants it. Any thread.
void hark__overflow_open(void);
// The last one puts back what was there before.
void hark__overflow_close(void);

// The calling thread is worker's, and needs a stack of its own for signals. NULL: no
// memory; then its overflows end without a word.
struct overflow_thread *hark__overflow_enter(struct worker *worker);
void hark__overflow_leave(struct overflow_thread *thread);

#endif // SCHED_OVERFLOW_H
