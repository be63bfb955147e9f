// Failure: what a FAILURE message carries instead of a reply.

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

// Borrows the failure in a FAILURE message.
static inline const struct failure *
hark__failure_of(const struct hark_message *message)
{
    return (const struct failure *)(const void *)(message + 1);
}

#endif // MESSAGE_FAILURE_H
