// A payload against each type: the first byte chooses, the rest is decoded. What is
// taken is encoded again, decoded again, and must not have changed.

#include "fuzz.h"

#include <string.h>

#include "wire/payload.h"

// The frame has two parts: one that can be shared, and one that must be copied.
static bool
find_part(void *arg, uint16_t number, hark_bytes *out_bytes)
{
    static hark_buffer *buffer; // for good

    (void)arg;
    if (buffer == NULL) {
        buffer = hark_buffer_new(1000);
        FUZZ_HOLDS(buffer != NULL);
        memset(hark_buffer_data(buffer), 'x', 1000);
    }
    *out_bytes = hark_bytes_of_buffer(buffer);
    if (number == 2) {
        out_bytes->buffer = NULL;
        out_bytes->len = 10;
    }
    return number == 1 || number == 2;
}

static struct hark_message *
decode(const hark_type *type, struct reader *in)
{
    static uint16_t guess; // of whatever came before
    char error[FUZZ_TEXT] = "";
    struct payload_options options = {.limit_bytes = FUZZ_LIMIT_BYTES,
                                      .guess = &guess,
                                      .find_part = find_part,
                                      .error = error,
                                      .error_size = sizeof error};
    struct hark_message *message = NULL;
    const uint8_t *start = in->at;
    hark_err err = hark__payload_decode(fuzz_pool(), type, in, &options, &message);

    if (err != HARK_OK) {
        FUZZ_HOLDS(err == HARK_EDECODE || err == HARK_ETOOBIG || err == HARK_ENOMEM);
        FUZZ_HOLDS(message == NULL && in->at == start);
        FUZZ_HOLDS(err == HARK_ENOMEM || error[0] != '\0');
        return NULL;
    }
    FUZZ_HOLDS(message->size <= FUZZ_LIMIT_BYTES && in->at <= in->end
               && in->at > start);
    return message;
}

static void
encode(struct bytes *out, const struct hark_message *message)
{
    hark__bytes_init(out);
    FUZZ_HOLDS(hark__payload_encode(out, message->type, message + 1, NULL) == HARK_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char printed[FUZZ_TEXT];
    struct bytes once, twice;

    if (size == 0) {
        return 0;
    }
    const hark_type *type = fuzz_types[data[0] % FUZZ_TYPES];
    struct reader in = hark__reader_of(data + 1, size - 1);
    struct hark_message *message = decode(type, &in);
    if (message == NULL) {
        return 0;
    }
    (void)hark_print(printed, sizeof printed, type, message + 1);
    encode(&once, message);
    hark__message_free(fuzz_pool(), message);

    struct reader again = hark__reader_of(once.data, once.size);
    message = decode(type, &again);
    FUZZ_HOLDS(message != NULL && hark__reader_left(&again) == 0);
    encode(&twice, message);
    FUZZ_HOLDS(once.size == twice.size
               && memcmp(once.data, twice.data, once.size) == 0);
    hark__message_free(fuzz_pool(), message);
    hark__bytes_fini(&once);
    hark__bytes_fini(&twice);
    return 0;
}
