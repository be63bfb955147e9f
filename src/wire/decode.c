// Decode: a payload into the one block of its message.
//
// How large the block must be is known only when the message has been read. So a
// message is first read into a block as large as the last one of its type needed, if
// that was small: most fit. If not, one walk reads its struct onto the stack; its text
// and bytes are views into the input. Then the block's size is known, and they move
// there. A message with lists, or with a very large struct, is only measured by that
// walk, and read by a second one into its block.

#include "wire/decoder.h"

#define NEAR_BYTES 512 // of a struct that is read onto the stack
#define GUESS_MOST 256 // of a payload whose block is guessed; so no more can be wasted

// Moves text and bytes of a struct without lists from the input to `end`. Gives the end
// of what is there then.
static uint8_t *
settle(const hark_type *type, uint8_t *value, uint8_t *end)
{
    for (uint16_t i = 0; i < type->count; i++) {
        const hark_field *field = &type->fields[i];
        void *at = value + field->offset;

        if (field->kind == HARK_KIND_str) {
            hark_str *str = at;

            *str = copy_str(*str, (char *)end);
            end += str_size(*str);
        } else if (field->kind == HARK_KIND_bytes) {
            hark_bytes *bytes = at;

            if (bytes->buffer != NULL) {
                hark_buffer_retain(bytes->buffer);
            } else {
                *bytes = copy_bytes(*bytes, end);
                end += bytes->len;
            }
        } else if (field->kind == HARK_KIND_message && !field->type->flat) {
            end = settle(field->type, at, end);
        }
    }
    return end;
}

// Fills the block, which has room for it. near: what the first walk read; NULL: it only
// measured.
static hark_err
fill(struct decoder *decoder, struct hark_message *message, const uint8_t *near)
{
    const hark_type *type = message->type;
    uint8_t *payload = hark__message_payload(message);

    if (near == NULL) {
        return hark__decoder_walk(decoder, type, payload, payload);
    }
    memcpy(payload, near, type->size);
    settle(type, payload, payload + type->size);
    return HARK_OK;
}

// Reads the input into a block with room for so many bytes. NULL: they were too few, or
// anything else is wrong; that is for decode to say. The reader may stand anywhere
// then.
static inline struct hark_message *
decode_into(struct decoder *decoder, struct pool *pool, const hark_type *type,
            size_t room, size_t more)
{
    struct hark_message *message = hark__message_alloc_roomy(pool, type, room, more);

    if (message == NULL) {
        return NULL;
    }
    decoder->block = hark__message_payload(message);
    if (!hark__decoder_read(decoder, type, decoder->block)) {
        hark__message_free(pool, message);
        return NULL;
    }
    message->size = (uint32_t)decoder->used;
    return message;
}

// As decode, into a block of the size that is most likely. NULL: use decode.
static struct hark_message *
decode_guessed(struct pool *pool, const hark_type *type, struct reader *in,
               const struct payload_options *options)
{
    // Nothing is shared: what is large enough for that does not fit. No error is told.
    static const struct payload_options silent = {.error_size = 0};
    size_t room = type->flat ? type->size : *options->guess;
    struct decoder decoder;

    if (room < type->size || room > options->limit_bytes) {
        return NULL;
    }
    decoder.in = *in;
    decoder.options = &silent;
    decoder.limit = room;
    decoder.used = type->size;
    decoder.depth = 0;
    decoder.share_least = SIZE_MAX;
    struct hark_message *message =
        decode_into(&decoder, pool, type, room, options->room);
    if (message != NULL) {
        in->at = decoder.in.at;
    }
    return message;
}

// Notes what room the next message of the type should have: all of this one's last
// cache line, and no more than may be wasted. Blocks come in whole lines.
static inline void
guess_next(const struct hark_message *message, uint16_t *guess)
{
    uint32_t line = 1u << POOL_CLASS_SHIFT;
    uint32_t bytes = (message->size + line - 1) & ~(line - 1);

    *guess = bytes <= GUESS_MOST ? (uint16_t)bytes : 0;
}

// Gives a block with what the input holds. The reader may stand anywhere after an
// error.
static hark_err
decode(struct decoder *decoder, struct pool *pool, const hark_type *type,
       struct hark_message **out_message)
{
    const uint8_t *start = decoder->in.at;
    _Alignas(max_align_t) uint8_t room[NEAR_BYTES];
    uint8_t *near = type->size <= sizeof room && !type->flat ? room : NULL;
    hark_err err = type->flat ? HARK_OK : hark__decoder_walk(decoder, type, NULL, near);

    if (err != HARK_OK) {
        return err;
    }
    if (decoder->has_items) {
        near = NULL;
    }

    struct hark_message *message =
        hark__message_alloc_roomy(pool, type, decoder->used, decoder->options->room);

    if (message == NULL) {
        return HARK_ENOMEM;
    }
    if (near == NULL) {
        decoder->in.at = start;
    }
    err = fill(decoder, message, near);
    if (err != HARK_OK) {
        hark__message_free(pool, message);
        return err;
    }
    message->has_buffers = decoder->has_buffers;
    *out_message = message;
    return HARK_OK;
}

// The general case of hark__payload_decode.
static __attribute__((noinline)) hark_err
decode_any(struct pool *pool, const hark_type *type, struct reader *in,
           const struct payload_options *options, struct hark_message **out_message)
{
    struct decoder decoder = {
        .in = *in,
        .options = options,
        .limit = options->limit_bytes < UINT32_MAX ? options->limit_bytes : UINT32_MAX,
        .used = type->size,
        .share_least = options->share != NULL ? options->share_least : SIZE_MAX,
    };

    if (type->size > decoder.limit) {
        hark__decoder_too_big(&decoder, type);
        return HARK_ETOOBIG;
    }
    hark_err err = decode(&decoder, pool, type, out_message);
    if (err == HARK_OK) {
        in->at = decoder.in.at;
    }
    return err;
}

hark_err
hark__payload_decode(struct pool *pool, const hark_type *type, struct reader *in,
                     const struct payload_options *options,
                     struct hark_message **out_message)
{
    struct hark_message *message = NULL;

    if (options->guess != NULL) {
        message = decode_guessed(pool, type, in, options);
    }
    if (message == NULL) {
        hark_err err = decode_any(pool, type, in, options, &message);

        if (err != HARK_OK) {
            return err;
        }
    }
    if (options->guess != NULL) {
        guess_next(message, options->guess);
    }
    *out_message = message;
    return HARK_OK;
}
