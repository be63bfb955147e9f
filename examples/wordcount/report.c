#include "report.h"

#include <inttypes.h>

void
report_summary(FILE *out, const struct word **sorted, size_t top,
               const struct totals *totals)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"words", totals->words},
        {"distinct", totals->distinct},
        {"files", totals->files},
        {"skipped", totals->skipped},
        {"bytes", totals->bytes},
        {"chunks", totals->chunks},
        {"retried chunks", totals->retried},
        {"workers lost", totals->lost},
    };
    const double mb = (double)totals->bytes / 1e6;

    for (size_t i = 0; i < top && i < totals->distinct; i++) {
        fprintf(out, "%12" PRIu64 " ", sorted[i]->count);
        fwrite(sorted[i]->text, 1, sorted[i]->len, out);
        putc('\n', out);
    }
    putc('\n', out);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fprintf(out, "%-14s %12" PRIu64 "\n", rows[i].name, rows[i].value);
    }
    fprintf(out, "%-14s %12.2f\n", "seconds", totals->seconds);
    fprintf(out, "%-14s %12.1f\n", "MB/s",
            totals->seconds > 0 ? mb / totals->seconds : 0.0);
}

void
report_all(FILE *out, const struct word **sorted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "%" PRIu64 " ", sorted[i]->count);
        fwrite(sorted[i]->text, 1, sorted[i]->len, out);
        putc('\n', out);
    }
}
