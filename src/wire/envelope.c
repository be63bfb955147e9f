#include "wire/envelope.h"

#include <stdio.h>

#include "wire/pack.h"

#define ELEMENTS 10
#define PROBE_ELEMENTS 5
#define STAGE_MAX 255 // a later version may know more than we do

void
hark__envelope_begin(struct bytes *out, const struct envelope *envelope)
{
    uint8_t *at = hark__bytes_open(out, ELEMENTS * PACK_MOST);

    if (at == NULL) {
        return; // the outbox says so
    }
    at = hark__pack_array_head(at, ELEMENTS);
    at = hark__pack_u64(at, envelope->kind);
    at = hark__pack_u64(at, envelope->target);
    at = hark__pack_ref(at, envelope->sender);
    at = hark__pack_u64(at, envelope->correlation);
    at = hark__pack_u64(at, envelope->remaining_ms);
    at = hark__pack_u64(at, envelope->trace);
    at = hark__pack_u64(at, envelope->credits);
    at = hark__pack_u64(at, envelope->chain);
    at = envelope->type == TYPE_NONE ? hark__pack_nil(at)
                                     : hark__pack_u64(at, envelope->type);
    hark__bytes_close(out, at);
}

static void
put_failure(struct bytes *out, const struct envelope *envelope)
{
    hark__bytes_put_array(out, 3);
    hark__bytes_put_i64(out, envelope->code);
    hark__bytes_put_u64(out, envelope->stage);
    hark__bytes_put_str(out, envelope->text);
}

static void
put_probe(struct bytes *out, const struct envelope *envelope)
{
    // Items are at the end, and left out if there are none.
    hark__bytes_put_array(out, PROBE_ELEMENTS + (envelope->items > 0));
    hark__bytes_put_ref(out, envelope->found);
    hark__bytes_put_u64(out, envelope->wait);
    hark__bytes_put_u64(out, envelope->nonce);
    hark__bytes_put_u64(out, envelope->hops);
    hark__bytes_put_str(out, envelope->text);
    if (envelope->items > 0) {
        hark__bytes_put_u64(out, envelope->items);
    }
}

void
hark__envelope_encode(struct bytes *out, const struct envelope *envelope)
{
    hark__envelope_begin(out, envelope);
    switch (envelope->kind) {
    case ENVELOPE_FAILURE:
        put_failure(out, envelope);
        break;
    case ENVELOPE_LOOKUP:
        hark__bytes_put_array(out, 1);
        hark__bytes_put_str(out, envelope->text);
        break;
    case ENVELOPE_FOUND:
        hark__bytes_put_array(out, envelope->text.len > 0 ? 2 : 1);
        hark__bytes_put_ref(out, envelope->found);
        if (envelope->text.len > 0) {
            hark__bytes_put_str(out, envelope->text);
        }
        break;
    case ENVELOPE_PROBE:
        put_probe(out, envelope);
        break;
    default:
        if (hark__reader_left(&envelope->payload) == 0) {
            hark__bytes_put_nil(out);
        } else {
            hark__bytes_append(out, envelope->payload.at,
                               hark__reader_left(&envelope->payload));
        }
        break;
    }
}

static hark_err
fail(char *error, size_t error_size, const char *element)
{
    snprintf(error, error_size, "envelope: malformed %s", element);
    return HARK_EDECODE;
}

static bool
get_kind(struct reader *in, uint8_t *out_kind)
{
    uint64_t kind;

    if (!hark__reader_u64(in, &kind) || kind == 0 || kind > UINT8_MAX) {
        return false;
    }
    *out_kind = (uint8_t)kind;
    return true;
}

static bool
get_type(struct reader *in, uint32_t *out_type)
{
    *out_type = TYPE_NONE;
    return hark__reader_nil(in) || hark__reader_u32(in, out_type);
}

// What stands before the payload, in order. NULL, or the element that is wrong.
static const char *
get_head(struct reader *in, struct envelope *envelope)
{
    if (!get_kind(in, &envelope->kind)) {
        return "kind";
    }
    if (!hark__reader_u64(in, &envelope->target)) {
        return "target";
    }
    if (!hark__reader_ref(in, &envelope->sender)) {
        return "sender";
    }
    if (!hark__reader_u64(in, &envelope->correlation)) {
        return "correlation";
    }
    if (!hark__reader_u32(in, &envelope->remaining_ms)) {
        return "remaining time";
    }
    if (!hark__reader_u64(in, &envelope->trace)) {
        return "trace";
    }
    if (!hark__reader_u64(in, &envelope->credits)) {
        return "credits";
    }
    if (!hark__reader_u64(in, &envelope->chain)) {
        return "chain id";
    }
    return get_type(in, &envelope->type) ? NULL : "type";
}

static bool
get_failure(struct reader *in, struct envelope *envelope)
{
    uint32_t count;
    uint64_t stage;
    int64_t code;

    if (!hark__reader_array(in, &count) || count < 3 || !hark__reader_i64(in, &code)
        || code < INT32_MIN || code > INT32_MAX || !hark__reader_u64(in, &stage)
        || stage > STAGE_MAX || !hark__reader_str(in, &envelope->text)) {
        return false;
    }
    envelope->code = (int32_t)code;
    envelope->stage = (uint32_t)stage;
    return true;
}

static bool
get_probe(struct reader *in, struct envelope *envelope)
{
    uint32_t count;

    envelope->items = 0; // which older nodes do not tell
    return hark__reader_array(in, &count) && count >= PROBE_ELEMENTS
           && hark__reader_ref(in, &envelope->found)
           && hark__reader_u64(in, &envelope->wait)
           && hark__reader_u64(in, &envelope->nonce)
           && hark__reader_u32(in, &envelope->hops)
           && hark__reader_str(in, &envelope->text)
           && (count == PROBE_ELEMENTS || hark__reader_u32(in, &envelope->items))
           && !hark_ref_is_null(envelope->found);
}

// A call: what most envelopes need stays small.
static __attribute__((noinline)) bool
get_found(struct reader *in, struct envelope *envelope)
{
    uint32_t count;

    return hark__reader_array(in, &count) && count >= 1
           && hark__reader_ref(in, &envelope->found)
           && !hark_ref_is_null(envelope->found)
           && (count == 1 || hark__reader_nil(in)
               || hark__reader_str(in, &envelope->text));
}

// The payloads whose form the protocol itself fixes.
static bool
get_own_payload(struct envelope *envelope)
{
    struct reader in = envelope->payload;
    uint32_t count;

    switch (envelope->kind) {
    case ENVELOPE_FAILURE:
        return get_failure(&in, envelope);
    case ENVELOPE_LOOKUP:
        return hark__reader_array(&in, &count) && count >= 1
               && hark__reader_str(&in, &envelope->text);
    case ENVELOPE_FOUND:
        return get_found(&in, envelope);
    case ENVELOPE_PROBE:
        return get_probe(&in, envelope);
    default:
        return true;
    }
}

hark_err
hark__envelope_decode(struct reader in, struct envelope *out_envelope,
                      uint32_t *out_behind, char *error, size_t error_size)
{
    struct envelope *envelope = out_envelope;
    uint32_t count;

    // What only some kinds have; get_head sets the rest.
    envelope->stage = 0;
    envelope->code = 0;
    envelope->text = (hark_str){NULL, 0};
    envelope->found = (hark_ref){0, 0};

    if (!hark__reader_array(&in, &count) || count < ELEMENTS) {
        return fail(error, error_size, "array");
    }

    const char *wrong = get_head(&in, envelope);

    if (wrong != NULL) {
        return fail(error, error_size, wrong);
    }
    envelope->payload = in;
    *out_behind = count - ELEMENTS;
    return get_own_payload(envelope) ? HARK_OK : fail(error, error_size, "payload");
}
