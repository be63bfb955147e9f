#include "wire/frame.h"

#include <stdio.h>

#define MAGIC HARK_STR("hark")
#define HELLO_ELEMENTS 12

static void
put_head(struct bytes *out, size_t elements, enum frame_kind kind, uint64_t seq,
         uint64_t ack)
{
    hark__bytes_put_array(out, elements);
    hark__bytes_put_u64(out, kind);
    hark__bytes_put_wide_u64(out, seq);
    hark__bytes_put_wide_u64(out, ack);
}

void
hark__frame_hello(struct bytes *out, enum frame_kind kind, const struct hello *hello)
{
    hark__bytes_put_array(out, HELLO_ELEMENTS);
    hark__bytes_put_u64(out, kind);
    hark__bytes_put_u64(out, 0);
    hark__bytes_put_u64(out, 0);
    hark__bytes_put_str(out, MAGIC);
    hark__bytes_put_u64(out, hello->version_min);
    hark__bytes_put_u64(out, hello->version_max);
    hark__bytes_put_str(out, hello->node_name);
    hark__bytes_put_u64(out, hello->incarnation);
    hark__bytes_put_u64(out, hello->flags);
    hark__bytes_put_u64(out, hello->heartbeat_ms);
    hark__bytes_put_str(out, hello->endpoint);
    hark__bytes_put_u64(out, hello->max_frame_bytes);
}

void
hark__frame_goodbye(struct bytes *out, uint64_t seq, uint64_t ack, int code,
                    hark_str text)
{
    put_head(out, 5, FRAME_GOODBYE, seq, ack);
    hark__bytes_put_i64(out, code);
    hark__bytes_put_str(out, text);
}

void
hark__frame_batch(struct bytes *out, uint64_t seq, uint64_t ack)
{
    put_head(out, 3, FRAME_BATCH, seq, ack);
}

void
hark__frame_heartbeat(struct bytes *out, uint64_t seq, uint64_t ack)
{
    put_head(out, 3, FRAME_HEARTBEAT, seq, ack);
}

void
hark__frame_stamp(uint8_t *frame, uint64_t seq, uint64_t ack)
{
    hark__bytes_store_u64(frame + 3, seq);
    hark__bytes_store_u64(frame + 12, ack);
}

static hark_err
fail(char *error, size_t error_size, hark_err err, const char *what)
{
    snprintf(error, error_size, "frame: %s", what);
    return err;
}

static bool
get_hello(struct reader *in, struct hello *hello)
{
    return hark__reader_u32(in, &hello->version_min)
           && hark__reader_u32(in, &hello->version_max)
           && hello->version_min <= hello->version_max
           && hark__reader_str(in, &hello->node_name)
           && hark__reader_u64(in, &hello->incarnation) && hello->incarnation != 0
           && hark__reader_u32(in, &hello->flags)
           && hark__reader_u32(in, &hello->heartbeat_ms)
           && hark__reader_str(in, &hello->endpoint)
           && hark__reader_u64(in, &hello->max_frame_bytes);
}

static bool
get_goodbye(struct reader *in, struct frame *frame)
{
    int64_t code;

    if (!hark__reader_i64(in, &code) || code < INT32_MIN || code > INT32_MAX) {
        return false;
    }
    frame->code = (int32_t)code;
    return hark__reader_str(in, &frame->text);
}

static hark_err
get_body(struct reader *in, uint32_t count, struct frame *frame, char *error,
         size_t error_size)
{
    hark_str magic;

    switch (frame->kind) {
    case FRAME_HELLO:
    case FRAME_WELCOME:
        if (!hark__reader_str(in, &magic) || !hark_str_equal(magic, MAGIC)) {
            return fail(error, error_size, HARK_EPROTO, "the peer does not speak hark");
        }
        if (count < HELLO_ELEMENTS || !get_hello(in, &frame->hello)) {
            return fail(error, error_size, HARK_EDECODE, "malformed hello");
        }
        return HARK_OK;
    case FRAME_GOODBYE:
        if (count < 5 || !get_goodbye(in, frame)) {
            return fail(error, error_size, HARK_EDECODE, "malformed goodbye");
        }
        return HARK_OK;
    case FRAME_BATCH:
        if (!hark__reader_skip_rest(in, count, 3)) {
            return fail(error, error_size, HARK_EDECODE, "malformed batch");
        }
        frame->entries = *in;
        return HARK_OK;
    default:
        return HARK_OK;
    }
}

hark_err
hark__frame_decode(const uint8_t *data, size_t size, struct frame *out_frame,
                   char *error, size_t error_size)
{
    struct reader in = hark__reader_of(data, size);
    struct frame frame = {0};
    uint32_t count;
    uint64_t kind;

    if (!hark__reader_array(&in, &count) || count < 3 || !hark__reader_u64(&in, &kind)
        || kind == 0 || kind > UINT8_MAX || !hark__reader_u64(&in, &frame.seq)
        || !hark__reader_u64(&in, &frame.ack)) {
        return fail(error, error_size, HARK_EDECODE, "malformed head");
    }
    frame.kind = (uint8_t)kind;

    hark_err err = get_body(&in, count, &frame, error, error_size);

    if (err == HARK_OK) {
        *out_frame = frame;
    }
    return err;
}

uint32_t
hark__version_choose(const struct hello *ours, const struct hello *theirs)
{
    uint32_t max = ours->version_max < theirs->version_max ? ours->version_max
                                                           : theirs->version_max;
    uint32_t min = ours->version_min > theirs->version_min ? ours->version_min
                                                           : theirs->version_min;

    return max >= min ? max : 0;
}
