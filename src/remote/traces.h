// Traces over a link: how what is sent came about (actor/trace.h).
//
// Each side declares its rows on the link before it sends their numbers, once and
// parents first, and the other side keeps them as rows of its own. Nothing here is
// trusted: texts are cut, and a peer has only so many rows of ours, for as long as it
// lives. Neither locked: traces_out is under its link's lock, traces_in the poller's.

#ifndef REMOTE_TRACES_H
#define REMOTE_TRACES_H

#include "actor/trace.h"
#include "wire/bytes.h"
#include "wire/entry.h"

enum {
    TRACES_OF_PEER = 4096, // rows that one peer may add to ours
    TRACE_TEXT = 200,      // bytes of a text that are sent, or kept
    TRACE_ENTRY = 1024,    // bytes that one declaration takes at most
};

// Rows of ours that we have declared to the peer.
struct traces_out {
    uint64_t *declared; // a bit for each number; NULL: none yet
    uint32_t words;     // in declared
};

void hark__traces_out_fini(struct traces_out *out);

static inline bool
hark__traces_out_has(const struct traces_out *out, uint16_t number)
{
    return number / 64u < out->words && (out->declared[number / 64] >> number % 64 & 1);
}

// How many rows are to be declared before number may be sent.
uint32_t hark__traces_out_count(const struct traces_out *out,
                                const struct traces *traces, uint16_t number);
// Declares those to bytes. False: no memory, and nothing is declared.
bool hark__traces_out_declare(struct traces_out *out, const struct traces *traces,
                              uint16_t number, struct bytes *bytes);

// The peer's rows.
struct traces_in {
    uint16_t *rows; // of ours, by its numbers; 0: unknown
    uint32_t count; // in rows
};

void hark__traces_in_fini(struct traces_in *in);
// Who declares, and where.
struct trace_source {
    struct traces *traces;
    const char *here;  // our node's name: what comes back is ours
    const char *there; // the peer's
    uint32_t *room;    // rows that it may still add
};
// Takes in a declaration. Without memory or room its number stays unknown.
void hark__traces_in_declare(struct traces_in *in, const struct trace_source *source,
                             const struct trace_decl *declared);

// 0: unknown.
static inline uint16_t
hark__traces_in_find(const struct traces_in *in, uint64_t number)
{
    return number < in->count ? in->rows[number] : 0;
}

#endif // REMOTE_TRACES_H
