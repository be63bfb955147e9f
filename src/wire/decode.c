// The same walk runs twice, as in message/copy.c: first with no block, to check the
// input and learn the size, then to fill the block. A flat type's size is known, and
// that of a small message without lists has a near bound, so they are filled in one walk.

#include <float.h>
#include <stdio.h>

#include "message/type.h"
#include "wire/payload.h"

#define LIST_ALIGN 8
#define BOUNDED_BYTES 4096 // larger payloads are measured exactly

struct decoder {
    struct reader *in;
    const struct payload_options *options;
    size_t limit;
    uint8_t *block; // NULL while measuring
    size_t used;
    int depth;
    hark_err err; // the first one; the walk ends with it
};

// Where a value stands, for the error's text.
struct place {
    const hark_type *type;
    const hark_field *field; // NULL: the message itself
    size_t index;            // in a list, or NO_INDEX
};

#define NO_INDEX SIZE_MAX

// Always false, so that it can be returned.
static __attribute__((cold, noinline)) bool
fail(struct decoder *decoder, const struct place *place, hark_err err, const char *what,
     const char *found)
{
    char index[24] = "";

    decoder->err = err;
    if (decoder->options->error_size == 0) {
        return false;
    }
    if (place->index != NO_INDEX) {
        snprintf(index, sizeof index, "[%zu]", place->index);
    }
    snprintf(decoder->options->error, decoder->options->error_size, "%s%s%s%s: %s%s",
             place->type->name, place->field != NULL ? "." : "",
             place->field != NULL ? place->field->name : "", index, what, found);
    return false;
}

// The value at hand is not what it should be.
static __attribute__((cold, noinline)) bool
fail_kind(struct decoder *decoder, const struct place *place, const char *what)
{
    char text[64];

    snprintf(text, sizeof text, "expected %s, found ", what);
    return fail(decoder, place, HARK_EDECODE, text,
                hark__item_name(hark__reader_kind(decoder->in)));
}

// Reserves size bytes in the block; *out_at is NULL while measuring.
static bool
take(struct decoder *decoder, const struct place *place, uint64_t size, size_t align,
     void **out_at)
{
    size_t start = (decoder->used + align - 1) & ~(align - 1);

    if (start > decoder->limit || size > decoder->limit - start) {
        return fail(decoder, place, HARK_ETOOBIG, "the message is over the size limit",
                    "");
    }
    decoder->used = start + (size_t)size;
    *out_at = decoder->block != NULL ? decoder->block + start : NULL;
    return true;
}

// What a field is that the sender did not have. The struct is zero already; but text
// always points somewhere.
static void
set_empty(const hark_type *type, uint8_t *to)
{
    if (to == NULL || type->flat) {
        return;
    }
    for (uint16_t i = 0; i < type->count; i++) {
        const hark_field *field = &type->fields[i];
        void *at = to + field->offset;

        if (field->kind == HARK_KIND_str) {
            ((hark_str *)at)->ptr = "";
        } else if (field->kind == HARK_KIND_bytes) {
            ((hark_bytes *)at)->ptr = "";
        } else if (field->kind == HARK_KIND_message) {
            set_empty(field->type, at);
        }
    }
}

// What an integer's field holds.
struct range {
    int64_t min;
    uint64_t max;
    size_t size;
};

static const struct range ranges[] = {
    [HARK_KIND_i8] = {INT8_MIN, INT8_MAX, sizeof(int8_t)},
    [HARK_KIND_i16] = {INT16_MIN, INT16_MAX, sizeof(int16_t)},
    [HARK_KIND_i32] = {INT32_MIN, INT32_MAX, sizeof(int32_t)},
    [HARK_KIND_i64] = {INT64_MIN, INT64_MAX, sizeof(int64_t)},
    [HARK_KIND_u8] = {0, UINT8_MAX, sizeof(uint8_t)},
    [HARK_KIND_u16] = {0, UINT16_MAX, sizeof(uint16_t)},
    [HARK_KIND_u32] = {0, UINT32_MAX, sizeof(uint32_t)},
    [HARK_KIND_u64] = {0, UINT64_MAX, sizeof(uint64_t)},
};

static void
store_int(size_t size, uint64_t number, void *to)
{
    switch (size) {
    case 1:
        *(uint8_t *)to = (uint8_t)number;
        break;
    case 2:
        *(uint16_t *)to = (uint16_t)number;
        break;
    case 4:
        *(uint32_t *)to = (uint32_t)number;
        break;
    default:
        *(uint64_t *)to = number;
        break;
    }
}

static bool
get_int(struct decoder *decoder, const struct place *place, uint8_t kind, void *to)
{
    const struct range *range = &ranges[kind];
    struct integer integer;

    if (!hark__reader_int(decoder->in, &integer)) {
        return fail_kind(decoder, place, "an integer");
    }
    if (integer.is_negative ? (int64_t)integer.number < range->min
                            : integer.number > range->max) {
        return fail(decoder, place, HARK_EDECODE, "the number is out of range for ",
                    hark__kind_name(kind));
    }
    if (to != NULL) {
        store_int(range->size, integer.number, to);
    }
    return true;
}

static bool
get_bool(struct decoder *decoder, const struct place *place, bool *to)
{
    bool value;

    if (!hark__reader_bool(decoder->in, &value)) {
        return fail_kind(decoder, place, "a bool");
    }
    if (to != NULL) {
        *to = value;
    }
    return true;
}

// An integer will do: many languages write 1.0 as 1.
static bool
read_number(struct reader *in, double *out_value)
{
    struct integer integer;

    if (hark__reader_f64(in, out_value)) {
        return true;
    }
    if (!hark__reader_int(in, &integer)) {
        return false;
    }
    *out_value =
        integer.is_negative ? (double)(int64_t)integer.number : (double)integer.number;
    return true;
}

static bool
get_float(struct decoder *decoder, const struct place *place, uint8_t kind, void *to)
{
    double value;

    if (!read_number(decoder->in, &value)) {
        return fail_kind(decoder, place, "a number");
    }
    if (kind == HARK_KIND_f64) {
        if (to != NULL) {
            *(double *)to = value;
        }
        return true;
    }

    // Infinity and NaN pass; a finite double may be too large for a float.
    bool is_finite = value >= -DBL_MAX && value <= DBL_MAX;

    if (is_finite && (value > (double)FLT_MAX || value < -(double)FLT_MAX)) {
        return fail(decoder, place, HARK_EDECODE, "the number is out of range for ",
                    "f32");
    }
    if (to != NULL) {
        *(float *)to = (float)value;
    }
    return true;
}

static bool
get_ref(struct decoder *decoder, const struct place *place, hark_ref *to)
{
    hark_ref ref;

    if (!hark__reader_ref(decoder->in, &ref)) {
        return fail_kind(decoder, place, "a ref");
    }
    if (to != NULL) {
        *to = ref;
    }
    return true;
}

static bool
get_str(struct decoder *decoder, const struct place *place, hark_str *to)
{
    void *text = NULL;
    hark_str view;

    if (!hark__reader_str(decoder->in, &view)) {
        return fail_kind(decoder, place, "a string");
    }
    if (view.len > 0 && !take(decoder, place, (uint64_t)view.len + 1, 1, &text)) {
        return false;
    }
    if (to != NULL) {
        *to = (hark_str){"", 0};
    }
    if (text != NULL && to != NULL) {
        memcpy(text, view.ptr, view.len);
        ((char *)text)[view.len] = '\0';
        *to = (hark_str){text, view.len};
    }
    return true;
}

static bool
get_bytes(struct decoder *decoder, const struct place *place, hark_bytes *to)
{
    void *data = NULL;
    hark_bytes view;

    if (!hark__reader_bin(decoder->in, &view)) {
        return fail_kind(decoder, place, "bytes");
    }
    if (view.len > 0 && !take(decoder, place, view.len, 1, &data)) {
        return false;
    }
    if (to != NULL) {
        *to = (hark_bytes){.ptr = ""};
    }
    if (data != NULL && to != NULL) {
        memcpy(data, view.ptr, view.len);
        *to = (hark_bytes){.ptr = data, .len = view.len};
    }
    return true;
}

static bool get_value(struct decoder *decoder, const struct place *place, uint8_t kind,
                      void *to);

// Enters an array. False: it is none, or too deep.
static bool
enter(struct decoder *decoder, const struct place *place, uint32_t *out_count)
{
    if (!hark__reader_array(decoder->in, out_count)) {
        return fail_kind(decoder, place, "an array");
    }
    if (decoder->depth == PAYLOAD_DEPTH) {
        return fail(decoder, place, HARK_EDECODE, "nested too deep", "");
    }
    decoder->depth++;
    return true;
}

static __attribute__((noinline)) bool
get_list(struct decoder *decoder, const struct place *place, hark_list *to)
{
    const hark_field *field = place->field;
    size_t stride = hark__kind_size(field->element, field->type);
    void *items = NULL;
    uint32_t count;

    if (!enter(decoder, place, &count)) {
        return false;
    }
    // A count is at most the bytes at hand, and 32 bits; a stride is 32 bits.
    if (count > 0
        && !take(decoder, place, count * (uint64_t)stride, LIST_ALIGN, &items)) {
        return false;
    }
    if (to != NULL) {
        *to = (hark_list){.items = items, .count = count};
    }
    for (uint32_t i = 0; i < count; i++) {
        struct place at = {place->type, field, i};

        if (!get_value(decoder, &at, field->element,
                       items != NULL ? (uint8_t *)items + i * stride : NULL)) {
            return false;
        }
    }
    decoder->depth--;
    return true;
}

static bool
skip_rest(struct decoder *decoder, const hark_type *type, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!hark__reader_skip(decoder->in)) {
            return fail(decoder, &(struct place){type, NULL, NO_INDEX}, HARK_EDECODE,
                        "a field behind the last is cut off", "");
        }
    }
    return true;
}

static __attribute__((noinline)) bool
get_message(struct decoder *decoder, const struct place *place, const hark_type *type,
            uint8_t *to)
{
    uint32_t count;

    if (!enter(decoder, place, &count)) {
        return false;
    }
    if (to != NULL) {
        memset(to, 0, type->size);
    }
    if (count < type->count) {
        set_empty(type, to);
    }

    uint32_t known = count < type->count ? count : type->count;

    for (uint32_t i = 0; i < known; i++) {
        const hark_field *field = &type->fields[i];
        struct place at = {type, field, NO_INDEX};

        if (!get_value(decoder, &at, field->kind,
                       to != NULL ? to + field->offset : NULL)) {
            return false;
        }
    }
    decoder->depth--;
    return skip_rest(decoder, type, count - known);
}

// Reads one value into `to`, which is NULL while measuring. One arm a kind.
static bool
get_value(struct decoder *decoder, const struct place *place, uint8_t kind, void *to)
{
    switch (kind) {
    case HARK_KIND_bool:
        return get_bool(decoder, place, to);
    case HARK_KIND_f32:
    case HARK_KIND_f64:
        return get_float(decoder, place, kind, to);
    case HARK_KIND_ref:
        return get_ref(decoder, place, to);
    case HARK_KIND_str:
        return get_str(decoder, place, to);
    case HARK_KIND_bytes:
        return get_bytes(decoder, place, to);
    case HARK_KIND_message:
        return get_message(decoder, place, place->field->type, to);
    case HARK_KIND_list:
        return get_list(decoder, place, to);
    default:
        return get_int(decoder, place, kind, to);
    }
}

// One walk over the payload. `to` is the block, or NULL to measure.
static hark_err
walk(struct decoder *decoder, const hark_type *type, uint8_t *to)
{
    struct place place = {type, NULL, NO_INDEX};

    decoder->block = to;
    decoder->used = type->size;
    decoder->depth = 0;
    decoder->err = HARK_OK;
    get_message(decoder, &place, type, to);
    return decoder->err;
}

// Every value of such a type is not larger than its struct and its bytes on the wire
// together, with a NUL behind each string. So it needs no walk to be measured.
static bool
is_bounded(const hark_type *type)
{
    for (uint16_t i = 0; i < type->count; i++) {
        uint8_t kind = type->fields[i].kind;

        if (kind == HARK_KIND_list
            || (kind == HARK_KIND_message && !type->fields[i].type->flat)) {
            return false;
        }
    }
    return true;
}

// At least the block's size. The reader stands where it was.
static hark_err
measure(struct decoder *decoder, const hark_type *type, size_t *out_size)
{
    if (type->size > decoder->limit) {
        const struct place place = {type, NULL, NO_INDEX};

        (void)fail(decoder, &place, HARK_ETOOBIG, "the message is over the size limit",
                   "");
        return HARK_ETOOBIG;
    }
    if (type->flat) {
        *out_size = type->size;
        return HARK_OK;
    }

    size_t left = hark__reader_left(decoder->in);
    if (is_bounded(type) && left <= BOUNDED_BYTES
        && type->size + left + type->count <= decoder->limit) {
        *out_size = type->size + left + type->count;
        return HARK_OK;
    }

    const uint8_t *start = decoder->in->at;
    hark_err err = walk(decoder, type, NULL);

    decoder->in->at = start;
    *out_size = decoder->used;
    return err;
}

hark_err
hark__payload_decode(struct pool *pool, const hark_type *type, struct reader *in,
                     const struct payload_options *options,
                     struct hark_message **out_message)
{
    const uint8_t *start = in->at;
    struct decoder decoder = {.in = in, .options = options};
    size_t size;

    decoder.limit =
        options->limit_bytes < UINT32_MAX ? options->limit_bytes : UINT32_MAX;

    hark_err err = measure(&decoder, type, &size);

    if (err != HARK_OK) {
        return err;
    }

    struct hark_message *message = hark__message_alloc(pool, type, size);

    if (message == NULL) {
        return HARK_ENOMEM;
    }
    err = walk(&decoder, type, hark__message_payload(message));
    if (err != HARK_OK) {
        hark__message_free(pool, message);
        in->at = start;
        return err;
    }
    *out_message = message;
    return HARK_OK;
}
