// measure.h - what every benchmark program shares: a clock, failing, figures, options.
//
// A figure is one number of one workload; measured in several rounds, its median is
// printed. The programs print nothing but lines of `peer workload@workers metric value
// unit` on stdout. For one thread, but for measure_now and fail.

#ifndef BENCH_SUPPORT_MEASURE_H
#define BENCH_SUPPORT_MEASURE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FIGURES_MAX = 16, ROUNDS_MAX = 101 };

struct figure {
    const char *metric;
    const char *unit;
    int rounds; // values that are filled
    double values[ROUNDS_MAX];
};

// The figures of one workload.
struct figures {
    int count;
    struct figure list[FIGURES_MAX];
};

// The command line: PROGRAM WORKLOAD [--workers N] [--rounds N]
struct bench_options {
    const char *workload;
    const char *argument; // a second word, for helper processes; NULL: none
    int workers;
    int rounds;
};

// Says what went wrong and ends the process with status 1. Any thread.
__attribute__((noreturn, format(printf, 1, 2))) static inline void
fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    _exit(1); // other threads are running: no exit handlers
}

// Fails unless a count is what it must be.
static inline void
expect_count(const char *what, long long got, long long wanted)
{
    if (got != wanted) {
        fail("%s: got %lld, wanted %lld", what, got, wanted);
    }
}

// Seconds of the monotonic clock. Any thread.
static inline double
measure_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// A zeroed array; fails without memory. Gives it: free() it.
static inline void *
new_array(size_t count, size_t size)
{
    void *array = calloc(count, size);

    if (array == NULL) {
        fail("no memory for %zu items of %zu bytes", count, size);
    }
    return array;
}

// Adds one round's value of a figure. Borrows metric and unit for good: literals.
static inline void
figure_add(struct figures *figures, const char *metric, double value, const char *unit)
{
    struct figure *figure = figures->list;
    struct figure *end = figures->list + figures->count;

    while (figure < end && strcmp(figure->metric, metric) != 0) {
        figure++;
    }
    if (figure == end) {
        if (figures->count == FIGURES_MAX) {
            fail("more than %d figures", FIGURES_MAX);
        }
        figures->count++;
        *figure = (struct figure){.metric = metric, .unit = unit};
    }
    if (figure->rounds < ROUNDS_MAX) {
        figure->values[figure->rounds++] = value;
    }
}

// Adds a rate: count things since began (of measure_now).
static inline void
figure_add_rate(struct figures *figures, double count, double began, const char *unit)
{
    figure_add(figures, "throughput", count / (measure_now() - began), unit);
}

static inline int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

// Adds p50, p99 and p999 of count latencies in microseconds, which are sorted for
// that.
static inline void
figure_add_latencies(struct figures *figures, double *latencies_us, size_t count)
{
    qsort(latencies_us, count, sizeof *latencies_us, compare_doubles);
    figure_add(figures, "p50", latencies_us[count / 2], "us");
    figure_add(figures, "p99", latencies_us[count * 99 / 100], "us");
    figure_add(figures, "p999", latencies_us[count * 999 / 1000], "us");
}

static inline double
figure_median(struct figure *figure)
{
    int middle = figure->rounds / 2;

    qsort(figure->values, (size_t)figure->rounds, sizeof figure->values[0],
          compare_doubles);
    if (figure->rounds % 2 == 0) {
        return (figure->values[middle - 1] + figure->values[middle]) / 2;
    }
    return figure->values[middle];
}

// Prints a line for each figure: its median.
static inline void
figures_print(struct figures *figures, const char *peer,
              const struct bench_options *options)
{
    for (int i = 0; i < figures->count; i++) {
        struct figure *figure = &figures->list[i];

        printf("%s %s@%d %s %.2f %s\n", peer, options->workload, options->workers,
               figure->metric, figure_median(figure), figure->unit);
    }
    fflush(stdout);
}

// Reads the number behind an option; false if it is none, or not from 1 to limit.
static inline bool
parse_number(const char *text, int limit, int *out_number)
{
    char *end;
    long number = text == NULL ? 0 : strtol(text, &end, 10);

    if (number < 1 || number > limit || *end != '\0') {
        return false;
    }
    *out_number = (int)number;
    return true;
}

// Takes one word that is no option; false if there were two already.
static inline bool
parse_word(const char *word, struct bench_options *options)
{
    if (*word == '-' || options->argument != NULL) {
        return false;
    }
    if (options->workload == NULL) {
        options->workload = word;
    } else {
        options->argument = word;
    }
    return true;
}

// Reads the command line; false if it makes no sense. Borrows argv for good.
static inline bool
parse_options(char **argv, struct bench_options *out_options)
{
    bool good = true;

    *out_options = (struct bench_options){.workers = 1, .rounds = 1};
    for (char **word = argv + 1; good && *word != NULL; word++) {
        if (strcmp(*word, "--workers") == 0) {
            good = parse_number(*++word, 64, &out_options->workers);
        } else if (strcmp(*word, "--rounds") == 0) {
            good = parse_number(*++word, ROUNDS_MAX, &out_options->rounds);
        } else {
            good = parse_word(*word, out_options);
        }
    }
    return good && out_options->workload != NULL;
}

#endif // BENCH_SUPPORT_MEASURE_H
