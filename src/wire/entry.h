// Entry: one of the values in a batch.
//
//     envelope                                   kinds 1 to 99
//     [100, first, [[name, hash, [[field, kind, element, nested]...]]...]]   types
//     [101, incarnation, name, endpoint]                                   a third node
//     [102, correlation, payload]                                          a repeat
//     [103, number, parent, kind, who, in, site, node]       how something came about
//     [104, actor]                                  the question what an actor is called
//     [105, actor, name]                                                   and its answer
//
// A repeat stands for the last envelope before it in the batch, with another
// correlation and payload. Most messages of a turn go the same way, and so need not say
// it each time. Types are numbered by each sender on its own, in the order of its
// declarations, and must be declared before an envelope names them. Views point into
// the frame.

#ifndef WIRE_ENTRY_H
#define WIRE_ENTRY_H

#include "wire/envelope.h"

enum entry_kind {
    ENTRY_ENVELOPE,
    ENTRY_TYPES,
    ENTRY_NODE,
    ENTRY_TRACE,
    ENTRY_WHO,
    ENTRY_CALLED,
    ENTRY_UNKNOWN, // a later version's; to be ignored
};

// A repeat begins with these bytes: an array of 3, and its code.
#define ENTRY_REPEAT_HEAD 0x93
#define ENTRY_REPEAT_CODE 102
#define ENTRY_REPEAT_LEAST 4 // bytes of a whole one

// Declared types, to be read with hark__types_next.
struct types {
    uint32_t first; // number of the first that is left
    uint32_t left;
    struct reader in;
};

// One declared type; its fields are read with hark__fields_next.
struct type_decl {
    hark_str name;
    uint64_t hash;
    uint32_t left; // fields
    struct reader in;
};

struct field_decl {
    hark_str name;
    uint8_t kind, element; // hark_kind, or a later version's
    hark_str nested;       // the message type's name; empty: none
};

struct node_decl {
    uint64_t incarnation;
    hark_str name;
    hark_str endpoint;
};

// One call of a trace. Empty texts are nil on the wire.
struct trace_decl {
    uint32_t number; // 1 to TRACE_NUMBER_MOST
    uint32_t parent; // as number; 0: it is the first
    uint8_t kind;    // enum trace_kind of the room above, or a later version's
    hark_str who, in, site;
    hark_str node; // empty: the sender
};

// An actor of the receiver that the sender asks about; or one of the sender, with what
// it is called.
struct called_decl {
    uint64_t actor; // never 0
    hark_str name;  // of ENTRY_CALLED
};

#define TRACE_NUMBER_MOST 65535

// Starts as {0} and is kept from one entry of a batch to the next.
struct entry {
    enum entry_kind kind;
    bool is_repeatable; // envelope is such that it may be repeated
    bool is_repeat;  // the last entry read was one; the envelope is otherwise the same
    bool is_open;    // envelope's payload, and what is behind it, is not passed
    uint32_t behind; // values that belong to envelope behind its payload
    const uint8_t *start;     // of envelope's payload
    struct envelope envelope; // ENTRY_ENVELOPE. Else the last one of the batch
    union {
        struct types types;
        struct node_decl node;
        struct trace_decl trace;
        struct called_decl called; // ENTRY_WHO, ENTRY_CALLED
    };
};

// Starts a declaration of `count` types, the first of which gets the number `first`.
// Exactly that many calls of hark__entry_type must follow.
void hark__entry_types(struct bytes *out, uint32_t first, uint32_t count);
void hark__entry_type(struct bytes *out, const hark_type *type);
void hark__entry_node(struct bytes *out, const struct node_decl *node);
void hark__entry_trace(struct bytes *out, const struct trace_decl *trace);
void hark__entry_who(struct bytes *out, uint64_t actor);
void hark__entry_called(struct bytes *out, const struct called_decl *called);
// The general case of hark__entry_repeat.
void hark__entry_repeat_any(struct bytes *out, uint64_t correlation);

// Appends all of a repeat but the payload. Exactly one value must follow.
static inline void
hark__entry_repeat(struct bytes *out, uint64_t correlation)
{
    const uint8_t head[] = {ENTRY_REPEAT_HEAD, ENTRY_REPEAT_CODE, (uint8_t)correlation};

    if (correlation < 0x80 && hark__bytes_reserve(out, sizeof head)) { // one byte
        memcpy(out->data + out->size, head, sizeof head);
        out->size += sizeof head;
    } else {
        hark__entry_repeat_any(out, correlation);
    }
}

// Tells whether an envelope of that kind may be repeated.
static inline bool
hark__is_repeatable(uint8_t kind)
{
    return (kind >= ENVELOPE_TELL && kind <= ENVELOPE_REPLY) || kind == ENVELOPE_ITEM;
}

// The general case of hark__entry_next.
bool hark__entry_next_any(struct reader *entries, struct entry *entry,
                          hark_err *out_err, char *error, size_t error_size);

// Reads what comes behind an envelope whose payload was decoded, if it is a repeat of
// the usual form. False: it has changed nothing.
static inline bool
hark__entry_next_repeat(struct entry *entry)
{
    struct reader in = entry->envelope.payload;

    if (!entry->is_open || entry->behind > 0 || in.at == entry->start
        || !entry->is_repeatable || hark__reader_left(&in) < ENTRY_REPEAT_LEAST
        || in.at[0] != ENTRY_REPEAT_HEAD || in.at[1] != ENTRY_REPEAT_CODE) {
        return false;
    }
    in.at += 2;
    if (!hark__reader_u64(&in, &entry->envelope.correlation)) {
        return false;
    }
    entry->kind = ENTRY_ENVELOPE;
    entry->is_repeat = true;
    entry->start = in.at;
    entry->envelope.payload.at = in.at;
    return true;
}

// True while there are entries left: reads the next one. *out_err is HARK_OK; or
// HARK_EDECODE when this entry is malformed, and then error says how, and the next call
// goes on behind it (or ends, when its end cannot be found).
//
// Of an envelope it reads no payload. Who decodes that moves envelope.payload behind
// it; if nobody does, the next call skips it, and then is the one to say that it has no
// end.
static inline bool
hark__entry_next(struct reader *entries, struct entry *entry, hark_err *out_err,
                 char *error, size_t error_size)
{
    if (hark__entry_next_repeat(entry)) {
        *out_err = HARK_OK;
        return true;
    }
    return hark__entry_next_any(entries, entry, out_err, error, error_size);
}

// False: none is left. They cannot fail: hark__entry_next has checked the whole entry.
bool hark__types_next(struct types *types, struct type_decl *out_type);
bool hark__fields_next(struct type_decl *type, struct field_decl *out_field);

// Tells whether messages of our type and of the peer's declaration can be exchanged:
// the same name, and the shorter list of fields begins the longer one, by name, kind,
// element and nested type's name. (Equal hashes say the same at once, nested types
// included.) The caller must ask for nested types too. False: why says which field
// differs.
bool hark__types_compatible(const hark_type *local, const struct type_decl *declared,
                            char *why, size_t why_size);

#endif // WIRE_ENTRY_H
