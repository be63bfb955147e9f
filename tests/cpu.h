// Cpu: what this process has used so far, for tests that nothing runs when nothing is to do.

#ifndef TESTS_CPU_H
#define TESTS_CPU_H

#include <stdint.h>
#include <time.h>

// Microseconds of processors, by all threads.
static inline int64_t
cpu_used_us(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

#endif // TESTS_CPU_H
