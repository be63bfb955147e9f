// Failure: what a FAILURE message carries instead of a reply. One that found no memory
// has no payload, and no text: its code and stage stand in the header.

#ifndef MESSAGE_FAILURE_H
#define MESSAGE_FAILURE_H

#include "message/message.h"

struct failure {
    int32_t code;
    uint32_t stage; // hark_stage
    uint32_t size;  // of text, without its NUL
    char text[];
};

// Gives a FAILURE message to the future `correlation`. text is copied, cut at 1,000
// bytes. NULL: no memory.
struct hark_message *hark__failure_new(struct pool *pool, uint64_t correlation,
                                       int code, hark_stage stage, const char *text,
                                       size_t size);

// Makes a FAILURE message without payload of a block of that class, and no less than a
// header's size.
void hark__failure_in(struct hark_message *block, uint8_t size_class,
                      uint64_t correlation, int code, hark_stage stage);

// Borrows the failure in a FAILURE message; NULL: it has no payload.
static inline const struct failure *
hark__failure_of(const struct hark_message *message)
{
    return message->size > 0 ? (const struct failure *)(const void *)(message + 1)
                             : NULL;
}

// Of a FAILURE message.
static inline int
hark__failure_code(const struct hark_message *message)
{
    const struct failure *failure = hark__failure_of(message);

    return failure != NULL ? failure->code : (int)(message->deadline_ns >> 8);
}

// Of a FAILURE message.
static inline hark_stage
hark__failure_stage(const struct hark_message *message)
{
    const struct failure *failure = hark__failure_of(message);

    return (hark_stage)(failure != NULL ? failure->stage
                                        : (uint32_t)(message->deadline_ns & 0xff));
}

// The text of a FAILURE message; NULL: it has none.
static inline const char *
hark__failure_text(const struct hark_message *message)
{
    const struct failure *failure = hark__failure_of(message);

    return failure != NULL && failure->size > 0 ? failure->text : NULL;
}

#endif // MESSAGE_FAILURE_H
