// Types: which small numbers stand for which message types on a link.
//
// Each side numbers what it sends, by itself. Not locked: types_out is under its link's
// lock, types_in the poller's.

#ifndef REMOTE_TYPES_H
#define REMOTE_TYPES_H

#include "message/registry.h"
#include "wire/bytes.h"
#include "wire/entry.h"

enum { TYPES_LIMIT = 65536, TYPE_NAME = 256, TYPE_WHY = 160 };

// Types that we have declared to the peer.
struct types_out {
    const hark_type **types; // by number
    uint32_t count, capacity;
    uint32_t *table;       // numbers by descriptor's address; open, half full at most
    const hark_type *last; // of the last call: most often the next one's too
    uint32_t last_number;
};

void hark__types_out_fini(struct types_out *types);
// The number of a type; declares it, and what is nested in it, into out if it is new.
// HARK_ENOMEM, HARK_ELIMIT.
HARK_CHECKED hark_err hark__types_out_number(struct types_out *types, struct bytes *out,
                                             const hark_type *type,
                                             uint32_t *out_number);
// Takes declarations back until count are left.
void hark__types_out_truncate(struct types_out *types, uint32_t count);

// A type that the peer has declared.
struct type_in {
    const hark_type *local; // NULL: we cannot read it
    uint16_t guess;         // of its messages' size (wire/payload.h)
    char name[TYPE_NAME];
    char why[TYPE_WHY]; // of local NULL
};

struct types_in {
    struct type_in **types;
    uint32_t count, capacity;
    bool *readable; // by the registry's number: the last declaration of that name is
    uint32_t known; // numbers in readable
};

void hark__types_in_fini(struct types_in *types);
// Takes in a declaration. HARK_EPROTO: numbers out of order. HARK_ELIMIT, HARK_ENOMEM.
HARK_CHECKED hark_err hark__types_in_declare(struct types_in *types,
                                             struct registry *registry,
                                             struct types *declared);
// NULL: never declared.
static inline struct type_in *
hark__types_in_find(const struct types_in *types, uint32_t number)
{
    return number < types->count ? types->types[number] : NULL;
}

#endif // REMOTE_TYPES_H
