// Report: what the program prints at its end.

#ifndef WORDCOUNT_REPORT_H
#define WORDCOUNT_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "words.h"

struct totals {
    uint64_t words;
    uint64_t distinct;
    uint64_t files;
    uint64_t skipped;
    uint64_t bytes;
    uint64_t chunks;
    uint64_t retried;
    uint64_t lost;
    double seconds;
};

// The top words and the totals.
void report_summary(FILE *out, const struct word **sorted, size_t top,
                    const struct totals *totals);

// Every word, as "count word" lines.
void report_all(FILE *out, const struct word **sorted, size_t count);

#endif // WORDCOUNT_REPORT_H
