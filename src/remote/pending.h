// Pending: requests that went to other nodes and are not answered yet.
//
// A request's number on the wire names its row here; whatever ends it takes the row
// out: the answer, the link's end, or the sweep long after the asker's own clock. Rows
// are of one table for all links, since an answer may come over another link to the
// same peer. Any thread; locked.
//
// A row that may be taken has a spare block, so that its asker can be told of a failure
// when there is no memory (docs/adr/0021). The block stays with the row, until that is
// taken to fail; then a new one is needed before the row is given out again.
//
//   BARE --prepare: a block--> READY --add--> (in use) --take--> READY
//     ^                                          |
//     +----- take_to_fail: the block leaves -----+

#ifndef REMOTE_PENDING_H
#define REMOTE_PENDING_H

#include <pthread.h>

#include "message/message.h"

struct link;

enum pending_kind {
    PENDING_ASK,     // ends with REPLY or FAILURE
    PENDING_STREAM,  // the same, after ITEMs
    PENDING_LOOKUP,  // ends with FOUND or FAILURE
    PENDING_CONNECT, // ends when the link is up; never on the wire
};

// What it takes to ask once more, on another link (redial.c).
struct pending_lookup {
    int64_t started_ns;
    uint32_t size;
    char name[]; // of a LOOKUP; size bytes
};

struct pending {
    enum pending_kind kind;
    union {
        uint32_t credits;   // STREAM: ITEMs that may still come
        uint32_t next_free; // of a free row
    };
    struct link *link;             // NULL: the row is free
    hark_ref asker;                // an actor or thread of this node
    uint64_t correlation;          // its future
    int64_t expiry_ns;             // after this nobody waits
    struct pending_lookup *lookup; // of malloc's, the row's own; NULL: not asked again
    uint32_t generation;
    struct hark_message *spare; // an empty block; the table's, but of a row taken to
                                // fail. NULL: there is none (any more)
};

struct pendings {
    pthread_mutex_t lock; // guards all below
    struct pending *rows;
    uint32_t count;
    uint32_t ready; // the first free row with a spare
    uint32_t bare;  // the first without
};

void hark__pendings_init(struct pendings *pendings);
// pool frees the spares; it may be NULL if no row was ever prepared.
void hark__pendings_fini(struct pendings *pendings, struct pool *pool);

// Makes some rows ready, with spares from pool. False: none is ready, for want of
// memory.
bool hark__pendings_prepare(struct pendings *pendings, struct pool *pool);
// Gives some spares back, of free rows that lay idle longest, if there are many.
void hark__pendings_trim(struct pendings *pendings, struct pool *pool);

// Adds a row; pending's generation, next_free and spare are not looked at, and its
// lookup is taken. 0: none is ready (hark__pendings_prepare), and lookup is still the
// caller's.
uint64_t hark__pending_add(struct pendings *pendings, const struct pending *pending);
// Takes a row out that was answered, but for its lookup, which is freed. False: there is
// none of that number.
bool hark__pending_take(struct pendings *pendings, uint64_t number,
                        struct pending *out_pending);
// The same for one that is to fail: its spare is the caller's.
bool hark__pending_take_to_fail(struct pendings *pendings, uint64_t number,
                                struct pending *out_pending);
// Takes the spare alone: the asker fails, and the row stays. NULL: it has none, or
// there is no such row.
struct hark_message *hark__pending_take_spare(struct pendings *pendings,
                                              uint64_t number);
// Looks at a row without taking it.
bool hark__pending_read(struct pendings *pendings, uint64_t number,
                        struct pending *out_pending);
// Looks at a row without taking it, for an ITEM that has come. Gives the row as it was,
// and has one credit less in it if there were any.
bool hark__pending_spend(struct pendings *pendings, uint64_t number,
                         struct pending *out_pending);
// Adds credits to a row of that link. False: there is none.
bool hark__pending_credit(struct pendings *pendings, uint64_t number,
                          const struct link *link, uint32_t credits);
// Which rows are meant.
struct pending_filter {
    const struct link *link; // of this link; NULL: of any, if expired
    int64_t now_ns;          // link NULL: what expired before
    bool connects_only;
    bool lookups_only; // those that can be asked again
};

// Takes the next such row to fail, from *cursor on (which starts at 0). False: no more.
bool hark__pending_take_next(struct pendings *pendings, uint32_t *cursor,
                             const struct pending_filter *filter,
                             struct pending *out_pending);
// Looks at the next such row without taking it. *out_number names it. Its lookup stays
// the row's; only who takes such rows may use it.
bool hark__pending_see_next(struct pendings *pendings, uint32_t *cursor,
                            const struct pending_filter *filter, uint64_t *out_number,
                            struct pending *out_pending);
// The request of a row goes on over another link.
void hark__pending_move(struct pendings *pendings, uint64_t number, struct link *link);

#endif // REMOTE_PENDING_H
