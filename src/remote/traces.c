#include "remote/traces.h"

#include <stdlib.h>
#include <string.h>

// ---- ours ----

void
hark__traces_out_fini(struct traces_out *out)
{
    free(out->declared);
}

// The last count rows of a trace that are not declared, the first of them last.
struct missing {
    uint16_t numbers[TRACE_DEPTH];
    uint32_t count;
};

static void
find_missing(const struct traces_out *out, const struct traces *traces, uint16_t number,
             struct missing *missing)
{
    missing->count = 0;
    while (number != 0 && missing->count < TRACE_DEPTH
           && !hark__traces_out_has(out, number)) {
        missing->numbers[missing->count++] = number;
        number = hark__trace_row(traces, number)->parent;
    }
}

uint32_t
hark__traces_out_count(const struct traces_out *out, const struct traces *traces,
                       uint16_t number)
{
    struct missing missing;

    find_missing(out, traces, number, &missing);
    return missing.count;
}

// Room for the bit of each number in missing.
static bool
reserve(struct traces_out *out, const struct missing *missing)
{
    uint32_t most = 0;

    for (uint32_t i = 0; i < missing->count; i++) {
        most = missing->numbers[i] > most ? missing->numbers[i] : most;
    }
    if (most / 64 < out->words) {
        return true;
    }
    uint32_t words = most / 64 * 2 + 4;
    uint64_t *declared = realloc(out->declared, words * sizeof *declared);
    if (declared == NULL) {
        return false;
    }
    memset(declared + out->words, 0, (words - out->words) * sizeof *declared);
    out->declared = declared;
    out->words = words;
    return true;
}

// Cut at the front, as a place's end tells more.
static hark_str
end_of(const char *text)
{
    size_t size = text != NULL ? strlen(text) : 0;
    size_t cut = size > TRACE_TEXT ? size - TRACE_TEXT : 0;

    return (hark_str){text != NULL ? text + cut : "", size - cut};
}

static hark_str
start_of(const char *text)
{
    return (hark_str){text != NULL ? text : "",
                      text != NULL ? strnlen(text, TRACE_TEXT) : 0};
}

static void
put(struct bytes *bytes, const struct trace *row, uint16_t number)
{
    hark__entry_trace(bytes, &(struct trace_decl){
                                 .number = number,
                                 .parent = row->parent,
                                 .kind = row->kind,
                                 .who = start_of(row->who),
                                 .in = start_of(row->in),
                                 .site = end_of(row->site),
                                 .node = start_of(row->node),
                             });
}

bool
hark__traces_out_declare(struct traces_out *out, const struct traces *traces,
                         uint16_t number, struct bytes *bytes)
{
    size_t start = bytes->size;
    struct missing missing;

    find_missing(out, traces, number, &missing);
    if (!reserve(out, &missing)) {
        return false;
    }
    for (uint32_t i = missing.count; i-- > 0;) {
        put(bytes, hark__trace_row(traces, missing.numbers[i]), missing.numbers[i]);
    }
    if (bytes->failed) {
        hark__bytes_truncate(bytes, start);
        return false;
    }
    for (uint32_t i = 0; i < missing.count; i++) {
        out->declared[missing.numbers[i] / 64] |= UINT64_C(1)
                                                  << missing.numbers[i] % 64;
    }
    return true;
}

// ---- theirs ----

void
hark__traces_in_fini(struct traces_in *in)
{
    free(in->rows);
}

static bool
grow(struct traces_in *in, uint32_t number)
{
    if (number < in->count) {
        return true;
    }
    uint32_t count = number < 32 ? 64 : number * 2;
    count = count <= TRACE_NUMBER_MOST ? count : TRACE_NUMBER_MOST + 1;
    uint16_t *rows = realloc(in->rows, count * sizeof *rows);
    if (rows == NULL) {
        return false;
    }
    memset(rows + in->count, 0, (count - in->count) * sizeof *rows);
    in->rows = rows;
    in->count = count;
    return true;
}

// A peer's text, fit to be printed in one line. NULL: it is empty.
static const char *
take_text(hark_str text, bool wants_end, char out[TRACE_TEXT + 1])
{
    size_t cut = text.len > TRACE_TEXT ? text.len - TRACE_TEXT : 0;
    size_t size = text.len - cut;

    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text.ptr[i + (wants_end ? cut : 0)];

        out[i] = byte < 0x20 || byte == 0x7f ? '?' : (char)byte;
    }
    out[size] = '\0';
    return size > 0 ? out : NULL;
}

void
hark__traces_in_declare(struct traces_in *in, const struct trace_source *source,
                        const struct trace_decl *declared)
{
    char site[TRACE_TEXT + 1], who[TRACE_TEXT + 1], type[TRACE_TEXT + 1];
    char node[TRACE_TEXT + 1];
    struct trace row = {
        .site = take_text(declared->site, true, site),
        .who = take_text(declared->who, false, who),
        .in = take_text(declared->in, false, type),
        .node = take_text(declared->node, false, node),
        .parent = hark__traces_in_find(in, declared->parent),
        .kind = declared->kind,
    };

    if (row.node == NULL) {
        row.node = take_text(hark_str_of(source->there), false, node);
        row.node = row.node != NULL ? row.node : "without a name";
    } else if (strcmp(row.node, source->here) == 0) {
        row.node = NULL;
    }
    if (grow(in, declared->number)) {
        in->rows[declared->number] =
            hark__traces_find_foreign(source->traces, &row, source->room);
    }
}
