#include "message/failure.h"

#include <string.h>

enum { TEXT_LIMIT = 1000 };

struct hark_message *
hark__failure_new(struct pool *pool, uint64_t correlation, int code, hark_stage stage,
                  const char *text, size_t size)
{
    if (size > TEXT_LIMIT) {
        size = TEXT_LIMIT;
    }
    struct hark_message *message =
        hark__message_alloc(pool, NULL, sizeof(struct failure) + size + 1);
    if (message == NULL) {
        return NULL;
    }
    struct failure *failure = hark__message_payload(message);
    message->kind = MESSAGE_FAILURE;
    message->correlation = correlation;
    failure->code = code;
    failure->stage = stage;
    failure->size = (uint32_t)size;
    if (size > 0) {
        memcpy(failure->text, text, size);
    }
    failure->text[size] = '\0';
    return message;
}

void
hark__failure_in(struct hark_message *block, uint8_t size_class, uint64_t correlation,
                 int code, hark_stage stage)
{
    *block = (struct hark_message){
        .correlation = correlation,
        .deadline_ns = (int64_t)code << 8 | (int64_t)stage,
        .kind = MESSAGE_FAILURE,
        .size_class = size_class,
    };
}
